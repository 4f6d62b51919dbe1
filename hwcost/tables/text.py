"""Tables for people: aligned, plain if piped, coloured on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Generic, TypeVar

import click

from hwcost.tables.figures import lined_up
from hwcost.units import NOT_SHOWN, printable, shorten_name

__all__ = [
    "LONGEST", "Column", "bar", "fitted", "is_terminal", "markdown_table", "table", "terminal_width", "text_table",
]  # fmt: skip

_T = TypeVar("_T")
LONGEST = 100
"""Characters of a cell on a terminal, where longer names are cut in the middle."""
_SHORTEST = 12
"""Characters to which words are cut at most on a narrow terminal."""
_GAP = 2
"""Blanks between columns."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Column(Generic[_T]):
    """A column of a table.

    Attributes:
        title: its heading.
        text: the text of a row.
        to_the_left: left-aligned rather than right-aligned.
        colour: the keyword arguments of ``click.style`` for a row, used on a terminal.
        share: of a bar, from 0 to 1, for a row; None for no bar.
        has_bar: on a terminal too, next to the column.
        rank: columns of the highest rank above 0 are left out first if lines would be longer than the terminal is wide.
        words: what the title means.
        short: a shorter text of a row, for a terminal on which lines would be longer than it is wide.
        wraps: whether HTML may break its texts, which may be long.
    """

    title: str
    text: Callable[[_T], str]
    to_the_left: bool = False
    colour: Callable[[_T], dict[str, Any]] | None = None
    share: Callable[[_T], float | None] | None = None
    has_bar: bool = False
    rank: int = 0
    words: str = ""
    short: Callable[[_T], str] | None = None
    wraps: bool = False

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.partition("[")[0]

    def texts(self, rows: Sequence[_T]) -> list[str]:
        """The cells; the points of figures line up."""
        cells = [self.text(row) for row in rows]
        return cells if self.to_the_left else lined_up(cells)

    def bar_of(self, row: _T) -> float | None:
        """The share of the bar of a row; None for no bar, as where its figure is not shown."""
        return None if self.share is None or _is_blank(self.text(row)) else self.share(row)


def table(
    columns: Sequence[Column[_T]], rows: Sequence[_T], *, coloured: bool = False, longest: int | None = None
) -> Iterator[str]:
    """The lines of a table, headings first.

    Args:
        columns, rows: of the table.
        coloured: with the colours of columns.
        longest: characters of a cell, of which longer ones are cut in the middle; None: no cell is cut, as in a pipe.

    >>> columns = [Column("name", str, to_the_left=True), Column("length", lambda text: str(len(text)))]
    >>> for line in table(columns, ["conv", "linear"]):
    ...     print(line)
    name    length
    conv         4
    linear       6
    """
    cells = [_cells(column, rows, longest) for column in columns]
    widths = [_widest(column, own) for column, own in zip(columns, cells, strict=True)]
    title = _line(columns, widths, [column.title for column in columns], [None] * len(columns))
    if title:
        yield click.style(title, dim=True) if coloured else title
    for i, row in enumerate(rows):
        styles = [None if column.colour is None or not coloured else column.colour(row) for column in columns]
        yield _line(columns, widths, [own[i] for own in cells], styles)


def fitted(columns: Sequence[Column[_T]], rows: Sequence[_T], width: int) -> tuple[list[Column[_T]], list[Column[_T]]]:
    """The columns of a table whose lines are at most ``width`` wide if that can be, and those that are left out.

    Long names are cut, texts are shortened where a column has shorter ones, then columns are left out, those of the
    highest rank first and of these the last; in the end words are cut.

    >>> columns = [Column("name", str, to_the_left=True), Column("length", lambda text: str(len(text)), rank=1)]
    >>> shown, left_out = fitted(columns, ["conv", "linear"], 12)
    >>> [column.title for column in shown], [column.title for column in left_out]
    (['name'], ['length'])
    """
    left, out = [_cut(column, LONGEST) for column in columns], []
    widths = [_widest(column, _cells(column, rows)) for column in left]
    places = list(range(len(left)))

    def excess() -> int:
        return sum(widths) + _GAP * (len(widths) - 1) - width

    for i, column in enumerate(left):
        if column.short is not None and excess() > 0:
            left[i] = _cut(replace(column, text=column.short), LONGEST)
            widths[i] = _widest(left[i], _cells(left[i], rows))
    while excess() > 0 and (rank := max(column.rank for column in left)):
        last = max(i for i, column in enumerate(left) if column.rank == rank)
        out.append(places.pop(last))
        del left[last], widths[last]
    for i in sorted((i for i, column in enumerate(left) if column.to_the_left), key=lambda i: -widths[i]):
        if excess() > 0 and widths[i] > _SHORTEST:
            widths[i] = max(widths[i] - excess(), _SHORTEST, _width(left[i].title))
            left[i] = _cut(left[i], widths[i])
    return left, [columns[i] for i in sorted(out)]


def _cut(column: Column[_T], most: int) -> Column[_T]:
    text = column.text
    return replace(column, text=lambda row: shorten_name(text(row), most))


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose first column is left-aligned and whose cells are given as texts."""
    columns = [Column[Sequence[str]](title, itemgetter(i), to_the_left=i == 0) for i, title in enumerate(titles)]
    return table(columns, [list(map(printable, row)) for row in rows])


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of rows, the first of which is its head.

    >>> print(markdown_table([["name", "cycles"], ["conv", "38"]]))
    | name | cycles |
    | ---- | ------ |
    | conv | 38     |
    """
    lengths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[text.ljust(length) for text, length in zip(row, lengths, strict=True)] for row in rows]
    lines.insert(1, ["-" * length for length in lengths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(column: Column[_T], rows: Sequence[_T], longest: int | None = None) -> list[str]:
    return [shorten_name(text, longest) for text in column.texts(rows)]


def _is_blank(cell: str) -> bool:
    """Whether a cell shows no figure, so that no bar and no colour may tell it."""
    return cell.strip() in {"", NOT_SHOWN}


def _widest(column: Column[Any], cells: Sequence[str]) -> int:
    return max(map(_width, (column.title, *cells)))


def _line(columns: Sequence[Column[Any]], widths: Sequence[int], texts: Sequence[str], styles: Sequence[Any]) -> str:
    parts = []
    for column, width, text, style in zip(columns, widths, texts, styles, strict=True):
        blank = " " * (width - _width(text))
        shown = click.style(text, **style) if style and not _is_blank(text) else text
        parts.append(shown + blank if column.to_the_left else blank + shown)
    return (_GAP * " ").join(parts).rstrip()


def _width(text: str) -> int:
    """Terminal columns that a text takes: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    import unicodedata  # seldom needed, and part of every start

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def is_terminal() -> bool:
    """Whether stdout is a terminal that shows colours and bars, and ``NO_COLOR`` is not set."""
    letters = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    return letters and sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """The number of columns of the terminal; None if stdout is not one."""
    if not sys.stdout.isatty():
        return None
    import shutil  # it loads libraries of compression

    return shutil.get_terminal_size((100, 24)).columns


def bar(share: float, width: int = 8) -> str:
    """A bar that fills a share of ``width`` characters.

    >>> bar(0.5, 4), bar(0.03125, 4)
    ('██', '▏')
    """
    whole, eighths = divmod(round(8 * width * min(max(share, 0.0), 1.0)), 8)
    return ("█" * whole + _EIGHTHS[eighths]).rstrip()
