"""The table of the page: the columns of the text, a total, and what else a row shows when it is opened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from hwcost.model.columns import TERMS
from hwcost.model.cost import AS_WEIGHTS, MOVED, Cost
from hwcost.reports.html.inline import text_of
from hwcost.reports.lines import Line, lines_of
from hwcost.reports.shown import WASTE, document_of
from hwcost.reports.tree import Module, Row
from hwcost.tables import BLANK, Column
from hwcost.units import BYTES, ENERGIES, NOT_SHOWN, in_unit, marked, number

__all__ = ["html_table"]

Summary_: TypeAlias = Any
"""A Summary, whose module imports shown, as this one does."""

_HELP = "Tap a row for the rest of its figures."
_LONGEST_PART = 24
"""Letters of a part of a name up to which it is not broken."""
_KEYS = {"operation": "name", "util": "utilization", "DRAM": "bytes"}
"""What columns are called in the address, where it is not their title: the keys of ``hwcost model --sort``."""
_SORTED: Mapping[str, tuple[str, Callable[[Row], Any]]] = {
    "macs": ("MACs", lambda row: row.cost.macs),
    "waste": ("waste", lambda row: row.breakdown.idle),
}
"""What rows are sorted by, the largest first, that is in none of the columns: the rest of the keys of ``--sort``."""
_FIRST = ("name", "time", "share", "bound", "cycles", "utilization", "bytes", "energy", "shape", "folds")
"""The columns that a narrow screen keeps; the last are the first to go."""
_WORDS = {
    "operation": "a layer or another operation, or a module with the sum of all that is in it",
    "shape": "channels or features in -> out, kernel, image in -> out",
    "cycles": "clock cycles of the array",
    "time": "cycles at the clock of the array",
    "energy": "of multiply-accumulates, memories, DRAM, and idle power",
    "MACs": "multiply-accumulates",
    "PE-cycles": "cycles x processing elements (PEs): what the array could have done",
    f"DRAM: {AS_WEIGHTS}": "second operands of products of two activations: keys and values of attention",
    "near memory": "bytes that the memories next to the array read and write",
}
"""What terms mean that the text does not explain."""
_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "cycles": lambda part: part.cost.cycles,
    "time": lambda part: part.cost.seconds,
    "share": lambda part: part.cost.cycles,
    "utilization": lambda part: part.cost.utilization if part.cost.macs else None,
    "folds": lambda part: part.cost.folds,
    "bytes": lambda part: part.cost.dram_bytes,
    "energy": lambda part: part.cost.energy_joules,
    "macs": lambda part: part.cost.macs,
} | {short: lambda part, kind=kind: part.breakdown.shares[kind] for kind, short in WASTE.items()}
"""What columns are sorted by; the others by their text."""


class _Figure(NamedTuple):
    """A figure that only an opened row shows; one that is of time is marked, or not shown, like the time itself."""

    title: str
    value: Callable[[Cost], Any]
    text: Callable[[Any], str]
    is_of_time: bool = False


def _bytes(size: float) -> str:
    return in_unit(size, BYTES, 4)


def _joules(energy: float) -> str:
    return in_unit(energy, ENERGIES, 4)


def _moved(words: str) -> _Figure:
    return _Figure(f"DRAM: {words}", lambda cost: cost.dram_parts[words], _bytes)


_MORE = (
    _Figure("MACs", lambda cost: cost.macs, number),
    _Figure("PE-cycles", lambda cost: cost.pe_cycles, number, is_of_time=True),
    _Figure("compute cycles", lambda cost: cost.compute_cycles, number, is_of_time=True),
    _Figure("memory cycles", lambda cost: cost.memory_cycles, number, is_of_time=True),
    _Figure("overhead cycles", lambda cost: cost.overhead_cycles, number, is_of_time=True),
    *map(_moved, (*MOVED.values(), AS_WEIGHTS)),
    _Figure("near memory", lambda cost: cost.sram_bytes, _bytes),
    _Figure("energy: MACs", lambda cost: cost.mac_joules, _joules),
    _Figure("energy: near memory", lambda cost: cost.sram_joules, _joules),
    _Figure("energy: DRAM", lambda cost: cost.dram_joules, _joules),
    _Figure("energy: idle", lambda cost: cost.idle_joules, _joules, is_of_time=True),
)


def html_table(summary: Summary_, widths: Mapping[str, int]) -> Iterator[str]:
    """The tools, the table and its terms; ``widths`` are those that the slider offers, by the names of rows."""
    lines, of_text = lines_of(summary, everything=True), lines_of(summary)
    labels = {id(line.part): line.label for line in of_text}
    total = Line(summary.tree, "total", 0, is_open=False)
    document = document_of(summary, of_text)  # whose units and decimals are those of the page
    columns = [_lined_up(column, [*lines, total]) for column in document.columns]
    more = [each for each in _MORE if each.value(summary.cost)]
    yield from _tools(columns, lines)
    yield '<div class="wide"><table id="layers"><thead><tr>'
    yield from map(_head, columns)
    yield from (f'<th scope="col" class="extra">{text_of(each.title)}</th>' for each in more)
    yield "</tr></thead><tbody>"
    for line in lines:
        yield _row(line, columns, _further(line, summary, more), widths, labels)
    yield f"</tbody><tfoot>{_row(total, columns, _further(total, summary, more), {}, {})}</tfoot></table></div>"
    words = {column.title.partition("[")[0]: column.words for column in columns if column.words}
    yield from _terms({name: text for name, text in _WORDS.items() if name in words or _is_shown(name, columns, more)}
                      | dict(document.terms))  # fmt: skip


def _is_shown(name: str, columns: Sequence[Column[Line]], more: Sequence[_Figure]) -> bool:
    return name in {each.title.partition("[")[0] for each in columns} | {each.title for each in more}


def _terms(terms: Mapping[str, str]) -> Iterator[str]:
    yield '<details class="terms"><summary>What the columns mean</summary><dl>'
    yield from (f"<div><dt>{text_of(name)}</dt><dd>{text_of(words)}</dd></div>" for name, words in terms.items())
    yield "</dl></details>"


def _tools(columns: Sequence[Column[Line]], lines: Sequence[Line]) -> Iterator[str]:
    yield '<div class="tools" hidden><label>filter '
    yield '<input type="search" id="filter" placeholder="conv, memory, 3 x 3"></label>'
    yield '<label>sort by <select id="sort"><option value="">the tree</option>'
    yield from (f'<option value="{_key(each)}">{text_of(_title(each)[0])}</option>' for each in columns)
    yield from (f'<option value="{key}">{title}</option>' for key, (title, _) in _SORTED.items())
    yield '</select></label> <button id="open">open all</button> <button id="shut">shut all</button>'
    if any(not _shown_rows(line) for line in lines):
        yield '<label><input type="checkbox" id="free"> operations that only move memory</label>'
    yield f'<span id="found" role="status"></span><span>{_HELP}</span></div>'


def _title(column: Column[Line]) -> tuple[str, str]:
    """The title and the unit of a column."""
    title, _, unit = column.title.partition("[")
    return title, unit.removesuffix("]")


def _key(column: Column[Line]) -> str:
    title = _title(column)[0]
    return _KEYS.get(title, title)


def _head(column: Column[Line]) -> str:
    (title, unit), key = _title(column), _key(column)
    words = column.words or TERMS.get(title) or _WORDS.get(title, "")
    rank = _FIRST.index(key) if key in _FIRST else len(_FIRST)
    shown = f"{text_of(title)} <small>[{text_of(unit)}]</small>" if unit else text_of(title)
    left = ' class="left"' if column.to_the_left else ""
    return (
        f'<th scope="col" data-key="{text_of(key)}" data-rank="{rank}"{left} title="{text_of(words)}">'
        f"<button>{shown}</button></th>"
    )


def _shown_rows(line: Line) -> list[Row]:
    """The rows of a line that the text has too: all but those that only move memory, and take no time."""
    rows = line.part.rows if isinstance(line.part, Module) else (line.part,)
    return [row for row in rows if row.state != "memory-only" or row.cost.cycles]


def _row(
    line: Line,
    columns: Sequence[Column[Line]],
    further: Iterable[str],
    widths: Mapping[str, int],
    labels: Mapping[int, str],
) -> str:
    """A line; a module with one layer is that layer, under the name that it has in the text, until all rows show."""
    part, layers = line.part, _shown_rows(line)
    is_single = isinstance(part, Module) and [row.state for row in layers] == ["priced"]
    state = "module" if isinstance(part, Module) else part.state
    own = labels.get(id(layers[0])) if is_single else None  # the total of a network is not a layer's
    cells = [_name(line, None if own is None else line._replace(part=layers[0], label=own))]
    for column in columns[1:]:
        of_layer = is_single and column.title == "shape"
        cells.append(_cell(column, line._replace(part=layers[0], is_open=False) if of_layer else line))
    cells.extend(f'<td class="extra">{text}</td>' for text in further)
    look = f"{state}{'' if layers else ' free'}{' single' * is_single}"
    width = widths.get(layers[0].name if is_single else line.name)
    moved = "" if width is None else f' data-width="{width}"'
    if isinstance(part, Row) and part.cost.cycles:
        moved += "".join(f' data-{key}="{value(part)}"' for key, (_, value) in _SORTED.items())
    return f'<tr class="{look}" data-depth="{line.depth}"{moved}>{"".join(cells)}</tr>'


def _name(line: Line, layer: Line | None) -> str:
    """The name of a line, and of the layer that stands in its place."""
    fold = '<button class="fold" aria-expanded="true"></button>' if line.is_open else ""
    label = _names(line)
    if layer is not None:
        label = f'<span class="of-module">{label}</span><span class="of-layer">{_names(layer)}</span>'
    part = (layer or line).part
    kind = "" if isinstance(part, Module) else text_of(part.kind)
    names = [each.name or each.label for each in (line, layer) if each is not None]
    is_long = max(len(word) for name in names for word in re.split(r"[._]", name)) > _LONGEST_PART
    look = "name long" if is_long else "name"
    return f'<th scope="row" class="{look}" data-kind="{kind}" style="--depth:{line.depth}">{fold}{label}</th>'


def _names(line: Line) -> str:
    full = line.name or line.label
    return f'<span class="short">{_broken(line.label)}</span><span class="full">{_broken(full)}</span>'


def _broken(name: str) -> str:
    """A name whose lines break between its parts."""
    return text_of(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _lined_up(column: Column[Line], lines: Sequence[Line]) -> Column[Line]:
    """The column with blanks behind its figures, so that their points line up."""
    if column.to_the_left:
        return column
    texts = {id(line): text for line, text in zip(lines, column.texts(lines), strict=True)}
    return dataclasses.replace(column, text=lambda line: texts[id(line)])


def _cell(column: Column[Line], line: Line) -> str:
    text, key = column.text(line), _key(column)
    share, is_shown = column.bar_of(line), text.strip() not in {"", NOT_SHOWN}
    value = _VALUES[key](line.part) if is_shown and key in _VALUES else None
    classes = [*([] if column.to_the_left else ["number"]), *(["bar"] if share is not None else [])]
    if key == "bound" and is_shown:
        classes.append(text_of(text))
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    if share is not None:
        attributes += f' style="--bar:{100 * min(max(share, 0.0), 1.0):.1f}%"'
    if value is not None:
        attributes += f' data-value="{value if isinstance(value, int) else float(value)!r}"'
    return f"<td{attributes}>{text_of(text.rstrip())}{BLANK * (len(text) - len(text.rstrip()))}</td>"


def _further(line: Line, summary: Summary_, figures: Sequence[_Figure]) -> Iterator[str]:
    """What an opened row shows of figures; nothing of those that are zero."""
    is_withheld, beyond = summary.is_withheld(line.part), summary.share_beyond(line.part)
    for figure in figures:
        text = ""
        if value := figure.value(line.part.cost):  # the energy of what takes no time is None
            text = NOT_SHOWN if figure.is_of_time and is_withheld else figure.text(value)
            text = marked(text, figure.is_of_time and beyond)
        yield text_of(text)
