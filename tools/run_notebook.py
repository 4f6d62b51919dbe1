"""Runs examples/tutorial.ipynb and writes it with what it prints as a page: docs/notebook.md.

    python tools/run_notebook.py

The notebook itself is kept without outputs. Tables stay HTML, which a page of Markdown may hold; pictures are files in
docs/images. A test runs the notebook again and compares the page.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOK = PROJECT / "examples" / "tutorial.ipynb"
PAGE = PROJECT / "docs" / "notebook.md"
FROM = "A notebook with what it prints: [examples/tutorial.ipynb](../examples/tutorial.ipynb), to run and to change."
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_LINK = re.compile(r"\]\(\.\./docs/")
_PLAIN = "image/png", "text/html", "text/plain"


def executed() -> Any:
    """The notebook with its outputs."""
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


def page_of(notebook: Any) -> tuple[str, dict[str, bytes]]:
    """The page in Markdown, and its pictures by the name of the file."""
    pictures: dict[str, bytes] = {}
    blocks: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            blocks.append(_LINK.sub("](", cell.source))
            continue
        blocks.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            blocks += _shown(output, pictures)
    blocks.insert(1, FROM)
    return "\n\n".join(blocks) + "\n", pictures


def _shown(output: Any, pictures: dict[str, bytes]) -> Iterator[str]:
    """An output as a block of the page."""
    if output.output_type == "stream":
        yield f"```none\n{output.text.rstrip()}\n```"
        return
    kind = next(kind for kind in _PLAIN if kind in output.data)
    if kind == "image/png":
        name = f"notebook-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(output.data[kind])
        yield f"![what the cell draws](images/{name})"
    elif kind == "text/html":
        lines = _STYLE.sub("", output.data[kind]).splitlines()
        yield "\n".join(line for line in lines if line.strip())
    else:
        yield f"```none\n{output.data[kind]}\n```"


def main() -> None:
    text, pictures = page_of(executed())
    PAGE.write_text(text, encoding="utf-8")
    for name, content in pictures.items():
        (PAGE.parent / "images" / name).write_bytes(content)


if __name__ == "__main__":
    main()
