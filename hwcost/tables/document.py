"""What is shown of a value: a heading, a table, lines below it, and what its terms mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import click

from hwcost.tables.text import Column, bar, fitted, is_terminal, table, terminal_width
from hwcost.units import labelled, number, printable

__all__ = ["BLANK", "Document", "Documents"]

_WIDEST = 120
"""Characters of a line of words."""
_BAR = 3
"""The rank of bars, whose column says the same."""
_LABEL = len(labelled("", ""))
BLANK = "\u2007"
"""As wide as a digit."""
_STYLE = """
.hwcost{font:13px/1.35 system-ui,sans-serif;max-width:100%;overflow-x:auto}
.hwcost table{border-collapse:collapse;border:0;margin:.4em 0}
.hwcost th,.hwcost td{padding:.1em .6em;text-align:right;white-space:nowrap;border:0;background-color:transparent;
font-variant-numeric:tabular-nums}
.hwcost th{font-weight:600;border-bottom:1px solid rgba(128,128,128,.6)}
.hwcost tr:nth-child(even) td{background-color:rgba(128,128,128,.07)}
.hwcost .l{text-align:left}.hwcost .w{white-space:normal;max-width:50em}
.hwcost .b{background:linear-gradient(90deg,rgba(86,140,215,.45) var(--w),transparent 0) no-repeat}
.hwcost p{margin:.2em 0}.hwcost .k{display:inline-block;min-width:7em;font-weight:600}
.hwcost details{margin:.3em 0;opacity:.85}
"""
"""Colours that are half transparent, so that they go with the light and the dark theme of a page."""


@dataclass(frozen=True)
class Document:
    """What is shown of a value.

    Args:
        heading: one line; none if it is empty.
        columns, rows: of the table; no columns, no table.
        left_out: rows that are not shown.
        below: lines below the table, by label; a label that begins with a space is not printed.
        terms: what the terms of the table mean: those of a column that is not shown are left out.
        alert: a line that must not be missed.
        hidden: names of columns that did not fit into a table that was printed before, in blocks.

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

    heading: str = ""
    columns: Sequence[Column[Any]] = ()
    rows: Sequence[Any] = ()
    left_out: int = 0
    below: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)
    alert: str = ""
    hidden: Sequence[str] = ()

    def __str__(self) -> str:
        return str(Documents((self,)))

    def for_stdout(self, elsewhere: str = "--csv") -> str:
        """The text as wide and as colourful as the terminal is; plain and whole if there is none.

        Args:
            elsewhere: an option that prints all columns on any terminal.
        """
        return Documents((self,)).for_stdout(elsewhere)

    def lines(self, *, coloured: bool = False, width: int | None = None, elsewhere: str = "") -> Iterator[str]:
        """The text line by line.

        Args:
            coloured: with colours, and with the bars of columns.
            width: of the terminal; if lines would be longer, long names are cut, and columns with a rank are left out,
                which a line names.
            elsewhere: what shows all columns at any width.
        """
        return Documents((self,)).lines(coloured=coloured, width=width, elsewhere=elsewhere)

    def _table(self, coloured: bool, width: int | None) -> tuple[list[str], list[Column[Any]]]:
        """The lines of the table, and the columns that are left out of it."""
        found: list[Column[Any]] = []
        for column in self.columns:
            found.append(column)
            if coloured and column.share is not None and column.has_bar:
                found.append(Column("", _bar_of(column), True, lambda _: {"fg": "blue"}, rank=_BAR))
        gone: list[Column[Any]] = []
        if found and width is not None:
            found, gone = fitted(found, self.rows, width)
        lines = list(table(found, self.rows, coloured=coloured)) if found else []
        if self.left_out:
            lines.append(f"... and {number(self.left_out)} more")
        return lines, [column for column in gone if column.title]

    def _below(self, coloured: bool, width: int | None) -> Iterator[str]:
        for label, text in self.below.items():
            own = printable(text)
            yield from _within(own if label.startswith(" ") else labelled(label, own), width)
        if self.alert:
            for line in _within(printable(self.alert), width):
                yield click.style(line, fg="red", bold=True) if coloured else line

    def html(self) -> str:
        """A compact table with bars, for a notebook: no script, colours for light and dark pages."""
        parts = [f'<div class="hwcost"><style>{_STYLE}</style><p><b>{_text(self.heading)}</b></p>']
        if self.columns:
            parts.append("<table>")
            if any(each.title for each in self.columns):
                heads = (_cell("th", each.title, each.to_the_left, words=each.words) for each in self.columns)
                parts += ["<thead><tr>", *heads, "</tr></thead>"]
            parts.append("<tbody>")
            texts = zip(*(each.texts(self.rows) for each in self.columns), strict=True)
            for row, cells in zip(self.rows, texts, strict=True):
                parts.append("<tr>")
                parts += [
                    _cell("td", text, each.to_the_left, each.bar_of(row), wraps=each.wraps)
                    for each, text in zip(self.columns, cells, strict=True)
                ]
                parts.append("</tr>")
            parts.append("</tbody></table>")
        if self.left_out:
            parts.append(f"<p>... and {number(self.left_out)} more</p>")
        for label, text in self.below.items():
            shown = "" if label.startswith(" ") else f'<span class="k">{_text(label)}</span> '
            parts.append(f"<p>{shown}{_text(text)}</p>")
        if self.alert:
            parts.append(f"<p><b>{_text(self.alert)}</b></p>")
        if self.terms:
            words = "; ".join(f"<b>{_text(name)}</b>: {_text(text)}" for name, text in self.terms.items())
            parts.append(f"<details><summary>what the columns mean</summary>{words}</details>")
        return "".join([*parts, "</div>"])


@dataclass(frozen=True)
class Documents:
    """Several documents as one text, as the tables of one value: what their terms mean is said once, in the end.

    Args:
        parts: the documents; the heading of all but the first is right above its table.

    >>> words = Column("word", str, to_the_left=True)
    >>> print(Documents((Document("words", [words], ["conv"]), Document("more of them", [words], ["linear"]))))
    words
    <BLANKLINE>
    word
    conv
    <BLANKLINE>
    more of them
    word
    linear
    """

    parts: Sequence[Document]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    @property
    def heading(self) -> str:
        """That of the first document."""
        return self.parts[0].heading

    def for_stdout(self, elsewhere: str = "--csv") -> str:
        """As that of a document."""
        return "\n".join(self.lines(coloured=is_terminal(), width=terminal_width(), elsewhere=elsewhere))

    def lines(self, *, coloured: bool = False, width: int | None = None, elsewhere: str = "") -> Iterator[str]:
        """As those of a document."""
        blocks: list[list[str]] = []
        shown: dict[str, None] = {}
        gone: dict[str, None] = {}
        terms: dict[str, str] = {}
        for each in self.parts:
            lines, left_out = each._table(coloured, width)
            head = list(_within(printable(each.heading), width, indent=2)) if each.heading else []
            blocks += [head, lines] if not blocks else [[*head, *lines]]
            blocks.append(list(each._below(coloured, width)))
            gone |= dict.fromkeys([*each.hidden, *(column.name for column in left_out)])
            shown |= dict.fromkeys(column.name for column in each.columns if column not in left_out)
            terms |= each.terms
        if gone:
            how = f"a wider terminal{f' or {elsewhere}' if elsewhere else ''} shows them"
            blocks.append(list(_within(labelled("not shown", f"{', '.join(gone)}; {how}"), width)))
        if terms := _of_shown(terms, gone.keys() - shown.keys()):
            text = "; ".join(f"{name}: {words}" for name, words in terms.items())
            blocks.append([click.style(line, dim=True) if coloured else line for line in wrap(text, width or _WIDEST)])
        for index, block in enumerate(filter(None, blocks)):
            yield from ["", *block] if index else block

    def html(self) -> str:
        """One after the other, for a notebook."""
        return "".join(each.html() for each in self.parts)


def _of_shown(terms: Mapping[str, str], gone: Set[str]) -> dict[str, str]:
    """The terms without columns that are nowhere shown; a term may name several."""
    found = {", ".join(own for own in name.split(", ") if own not in gone): words for name, words in terms.items()}
    return {name: words for name, words in found.items() if name}


def _within(line: str, width: int | None, indent: int = _LABEL) -> Iterator[str]:
    """A line broken at blanks to fit into a width, whose other parts are indented: by default as far as labels go."""
    if width is None or len(line) <= width:
        yield line
    else:
        yield from wrap(line, width, subsequent_indent=indent * " ", break_long_words=False, break_on_hyphens=False)


def _bar_of(column: Column[Any]) -> Any:
    return lambda row: bar(column.bar_of(row) or 0.0)


def _text(text: str) -> str:
    from html import escape

    return escape(printable(text))


def _cell(
    tag: str, text: str, to_the_left: bool = False, share: float | None = None, words: str = "", wraps: bool = False
) -> str:
    classes = [*(["l"] if to_the_left else []), *(["w"] if wraps else []), *(["b"] if share else [])]
    named = f' class="{" ".join(classes)}"' if classes else ""
    filled = f' style="--w:{100 * min(max(share, 0.0), 1.0):.1f}%"' if share else ""
    title = f' title="{_text(words)}"' if words else ""
    own = text.strip(" ")
    indent, behind = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    shown = "&nbsp;" * indent + _text(own) + BLANK * (behind if own else 0)
    return f"<{tag}{named}{filled}{title}>{shown}</{tag}>"
