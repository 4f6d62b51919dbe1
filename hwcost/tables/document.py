"""What is shown of a value: a heading, a table, lines below it, and what its terms mean."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import click

from hwcost.tables.text import LONGEST, Column, bar, is_terminal, table, terminal_width
from hwcost.units import labelled, printable

__all__ = ["Document"]

_WIDEST = 120
"""Characters of a line of words."""
_STYLE = """
.hwcost{font:13px/1.35 system-ui,sans-serif;max-width:100%;overflow-x:auto}
.hwcost table{border-collapse:collapse;border:0;margin:.4em 0}
.hwcost th,.hwcost td{padding:.1em .6em;text-align:right;white-space:nowrap;border:0;background-color:transparent}
.hwcost th{font-weight:600;border-bottom:1px solid rgba(128,128,128,.6)}
.hwcost tr:nth-child(even) td{background-color:rgba(128,128,128,.07)}
.hwcost .l{text-align:left}
.hwcost .b{background:linear-gradient(90deg,rgba(86,140,215,.45) var(--w),transparent 0) no-repeat}
.hwcost p{margin:.2em 0}.hwcost .k{display:inline-block;min-width:7em;font-weight:600}
.hwcost details{margin:.3em 0;opacity:.85}
"""
"""Colours that are half transparent, so that they go with the light and the dark theme of a page."""


@dataclass(frozen=True)
class Document:
    """What is shown of a value.

    Args:
        heading: one line.
        columns, rows: of the table; no columns, no table.
        left_out: rows that are not shown.
        below: lines below the table, by label; a label that begins with a space is not printed.
        terms: what the terms of the table mean.
        alert: a line that must not be missed.

    >>> columns = [Column("name", str, to_the_left=True), Column("length", lambda text: str(len(text)))]
    >>> document = Document("two words", columns, ["conv", "linear"], below={"total": "10 letters"})
    >>> print(document)
    two words
    <BLANKLINE>
    name    length
    conv         4
    linear       6
    <BLANKLINE>
    total        10 letters
    >>> "<td>6</td>" in document.html()
    True
    """

    heading: str
    columns: Sequence[Column[Any]] = ()
    rows: Sequence[Any] = ()
    left_out: int = 0
    below: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)
    alert: str = ""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def for_stdout(self) -> str:
        """The text as wide and as colourful as the terminal is; plain if there is none."""
        return "\n".join(self.lines(coloured=is_terminal(), width=terminal_width()))

    def lines(self, *, coloured: bool = False, width: int | None = None) -> Iterator[str]:
        """The text line by line.

        Args:
            coloured: with colours, and with the bars of columns.
            width: of the terminal; columns with a rank are left out if lines would be longer, and long names are cut.
        """
        longest = None if width is None else LONGEST
        yield printable(self.heading)
        if self.columns:
            yield ""
            yield from table(self._columns(coloured, width), self.rows, coloured=coloured, longest=longest)
        if self.left_out:
            yield f"... and {self.left_out:,} more"
        if self.below or self.alert:
            yield ""
        for label, text in self.below.items():
            yield printable(text) if label.startswith(" ") else labelled(label, printable(text))
        if self.alert:
            alert = printable(self.alert)
            yield click.style(alert, fg="red", bold=True) if coloured else alert
        if self.terms:
            yield ""
            for line in wrap("; ".join(f"{name}: {words}" for name, words in self.terms.items()), width or _WIDEST):
                yield click.style(line, dim=True) if coloured else line

    def _columns(self, coloured: bool, width: int | None) -> list[Column[Any]]:
        found: list[Column[Any]] = []
        for column in self.columns:
            found.append(column)
            if coloured and column.share is not None and column.has_bar:
                found.append(Column("", _bar_of(column), True, lambda _: {"fg": "blue"}, rank=1))
        while width is not None and (rank := max(column.rank for column in found)):
            if all(len(line) <= width for line in table(found, self.rows, longest=LONGEST)):
                break
            last = max(index for index, column in enumerate(found) if column.rank == rank)
            del found[last]
        return found

    def html(self) -> str:
        """A compact table with bars, for a notebook: no script, colours for light and dark pages."""
        parts = [f'<div class="hwcost"><style>{_STYLE}</style><p><b>{_text(self.heading)}</b></p>']
        if self.columns:
            parts.append("<table><thead><tr>")
            parts += [_cell("th", each.title, to_the_left=each.to_the_left, words=each.words) for each in self.columns]
            parts.append("</tr></thead><tbody>")
            for row in self.rows:
                parts.append("<tr>")
                parts += [_cell("td", each.text(row), each.to_the_left, _share(each, row)) for each in self.columns]
                parts.append("</tr>")
            parts.append("</tbody></table>")
        if self.left_out:
            parts.append(f"<p>... and {self.left_out:,} more</p>")
        for label, text in self.below.items():
            shown = "" if label.startswith(" ") else f'<span class="k">{_text(label)}</span> '
            parts.append(f"<p>{shown}{_text(text)}</p>")
        if self.alert:
            parts.append(f"<p><b>{_text(self.alert)}</b></p>")
        if self.terms:
            words = "; ".join(f"<b>{_text(name)}</b>: {_text(text)}" for name, text in self.terms.items())
            parts.append(f"<details><summary>what the columns mean</summary>{words}</details>")
        return "".join([*parts, "</div>"])


def _bar_of(column: Column[Any]) -> Any:
    share = column.share
    assert share is not None
    return lambda row: bar(share(row) or 0.0)


def _share(column: Column[Any], row: Any) -> float | None:
    return None if column.share is None else column.share(row)


def _text(text: str) -> str:
    return html.escape(printable(text))


def _cell(tag: str, text: str, to_the_left: bool = False, share: float | None = None, words: str = "") -> str:
    classes = [*(["l"] if to_the_left else []), *(["b"] if share else [])]
    named = f' class="{" ".join(classes)}"' if classes else ""
    filled = f' style="--w:{100 * min(max(share, 0.0), 1.0):.1f}%"' if share else ""
    title = f' title="{html.escape(words)}"' if words else ""
    indent = len(text) - len(text.lstrip(" "))
    shown = "&nbsp;" * indent + _text(text.lstrip(" "))
    return f"<{tag}{named}{filled}{title}>{shown}</{tag}>"
