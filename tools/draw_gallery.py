"""Draws the pictures of docs/gallery.md with the code of that page.

    python tools/draw_gallery.py [--to FOLDER]

The blocks run in order. A picture is the value of ``figure`` after the block above it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "examples"))

from hwcost.plot import save  # noqa: E402

BLOCK = re.compile(r"^```python\n((?:(?!```).*\n)*)```(?:\n\n!\[.*\]\(images/gallery/(.*)\))?$", re.MULTILINE)


def figures() -> Iterator[tuple[str, Any]]:
    """The pictures of the page: the name of the file, and the figure."""
    known: dict[str, Any] = {}
    for code, name in BLOCK.findall((PROJECT / "docs" / "gallery.md").read_text(encoding="utf-8")):
        exec(code, known)  # noqa: S102  # a page of this project
        if name:
            yield name, known["figure"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "images" / "gallery")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures():
        save(figure, folder / name)


if __name__ == "__main__":
    main()
