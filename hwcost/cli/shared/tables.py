"""Tables as text: aligned columns, plain where they are piped, coloured on a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

__all__ = [
    "Column",
    "alike",
    "bar",
    "bytes_text",
    "figure_text",
    "is_terminal",
    "printable",
    "table",
    "terminal_width",
    "unit_of",
]

_T = TypeVar("_T")
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Column(Generic[_T]):
    """A column of a table.

    Attributes:
        title: above it.
        text: of a row.
        to_the_left: how it is aligned.
        colour: what :func:`click.style` takes, on a terminal, for a row.
    """

    title: str
    text: Callable[[_T], str]
    to_the_left: bool = False
    colour: Callable[[_T], dict[str, Any]] | None = None


def table(columns: Sequence[Column[_T]], rows: Sequence[_T], *, coloured: bool = False) -> Iterator[str]:
    """The lines of a table, the titles first.

    >>> columns = [Column("name", str, to_the_left=True), Column("length", lambda text: str(len(text)))]
    >>> for line in table(columns, ["conv", "linear"]):
    ...     print(line)
    name    length
    conv         4
    linear       6
    """
    cells = [[column.text(row) for row in rows] for column in columns]
    widths = [max(map(_width, (column.title, *own))) for column, own in zip(columns, cells, strict=True)]
    title = _line(columns, widths, [column.title for column in columns])
    yield click.style(title, dim=True) if coloured else title
    for i, row in enumerate(rows):
        styles = [None if column.colour is None or not coloured else column.colour(row) for column in columns]
        yield _line(columns, widths, [own[i] for own in cells], styles)


def _line(
    columns: Sequence[Column[Any]], widths: Sequence[int], texts: Sequence[str], styles: Sequence[Any] = ()
) -> str:
    parts = []
    for i, (column, width, text) in enumerate(zip(columns, widths, texts, strict=True)):
        blank = " " * (width - _width(text))
        last = i == len(columns) - 1
        shown = click.style(text, **styles[i]) if styles and styles[i] and text else text
        parts.append((shown if last else shown + blank) if column.to_the_left else blank + shown)
    return "  ".join(parts).rstrip()


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: letters of East Asia two, those that combine with another none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def is_terminal() -> bool:
    """Whether the results go to a terminal that shows colours and bars; ``NO_COLOR`` says that it should not."""
    letters = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    return letters and sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """How wide the terminal is; None where results do not go to one."""
    import shutil

    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else None


def printable(name: str) -> str:
    r"""A name on one line, whatever its letters are.

    >>> printable("a\n\x1b[31mb")
    'a\\n\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def figure_text(value: float) -> str:
    """An integer as it is, another number with two decimals where it has any.

    >>> figure_text(38), figure_text(38.0), figure_text(37.5), figure_text(1.25e18)
    ('38', '38', '37.50', '1.250000000e+18')
    """
    if isinstance(value, int) or value >= 1e15:
        return str(value) if isinstance(value, int) else f"{value:.9e}"
    return f"{value:.2f}".removesuffix(".00")


def alike(values: Iterable[float]) -> Callable[[float], str]:
    """How the figures of a column are written, so that their points stand below each other.

    >>> text = alike([38, 37.5])
    >>> text(38), text(37.5), alike([38, 9])(38)
    ('38.00', '37.50', '38')
    """
    values = list(values)
    if all(isinstance(value, int) or value == int(value) for value in values) or max(values) >= 1e15:
        return figure_text
    return lambda value: f"{value:.2f}"


def bytes_text(value: float) -> str:
    """Bytes in the unit that people would take.

    >>> bytes_text(512), bytes_text(25_600_000)
    ('512 B', '25.6 MB')
    """
    scale, unit = next((each for each in _BYTES if value >= each[0]), (1.0, "B"))
    return f"{value / scale:.4g} {unit}"


def unit_of(largest: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The largest unit that does not make a figure smaller than one.

    >>> unit_of(0.02, ((1.0, "s"), (1e-3, "ms")))
    (0.001, 'ms')
    """
    return next((unit for unit in units if largest >= unit[0]), units[-1])


def bar(share: float, width: int = 8) -> str:
    """A bar that is so much of its width long.

    >>> bar(0.5, 4), bar(0.03125, 4)
    ('██', '▏')
    """
    whole, eighths = divmod(round(8 * width * min(max(share, 0.0), 1.0)), 8)
    return ("█" * whole + _EIGHTHS[eighths]).rstrip()
