"""Puts what commands print now, and the tables of the package, into the pages that show them.

    python tools/refresh_pages.py [docs/command-line.md ...]

A command is a line ``$ hwcost ...`` in a fenced block, with its output up to the end of the block. Blocks without
output stay as they are. A block of Python without prompts is run too, if a block of text follows, which holds what it
prints. Commands of docs/command-line.md find the files that this page shows; others the examples.
A table stands between two comments (docs/page_tables.py).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "docs"))

from hwcost.cli import main as hwcost  # noqa: E402
from page_tables import filled  # noqa: E402  # found by the path above

BLOCK = re.compile(r"^\$ hwcost (.*)\n((?!```|\$ ).+\n(?:(?!\$ ).*\n)*?)```", re.MULTILINE)
PYTHON = re.compile(r"^(```python\n((?:(?!```|>>>).*\n)+)```\n\n```text\n)(?:(?!```).*\n)*```$", re.MULTILINE)
FILES = re.compile(r"^`([\w.-]+)`:\n\n```text\n(.*?)```", re.MULTILINE | re.DOTALL)


def refreshed(text: str) -> str:
    """The page with its tables and with what its commands print now."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.symlink(PROJECT / "examples", "examples")
        for name, content in FILES.findall(text):
            Path(name).write_text(content, encoding="utf-8")
        return filled(PYTHON.sub(_print, BLOCK.sub(_run, text)))


def _run(block: re.Match[str]) -> str:
    line, shown = block[1], block[2]
    command, _, head = line.partition(" | head -")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        hwcost(shlex.split(command))
    lines = (out.getvalue() or err.getvalue()).splitlines()[: int(head) if head else None]
    if "..." in shown.splitlines():  # only a part of it is on the page
        return block[0]
    return "\n".join([f"$ hwcost {line}", *lines, "```"])


def _print(block: re.Match[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(block[2], {})  # noqa: S102  # pages of this project
    return f"{block[1]}{out.getvalue()}```"


def main() -> None:
    pages = [Path(each) for each in sys.argv[1:]] or [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    for page in pages:
        before = page.read_text(encoding="utf-8")
        after = refreshed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
