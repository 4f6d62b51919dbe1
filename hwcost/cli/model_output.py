"""How a network on an array is printed: a tree of modules or a sorted list, as text, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hwcost._version import __version__
from hwcost.cli.shared.tables import (
    Column,
    alike,
    bar,
    bytes_text,
    figure_text,
    is_terminal,
    printable,
    table,
    terminal_width,
    unit_of,
)
from hwcost.model.breakdown import KINDS
from hwcost.network.network import UNCONNECTED
from hwcost.reports import Module, Row, Summary

__all__ = [
    "SORTS",
    "Line",
    "as_csv",
    "as_json",
    "as_text",
    "html_lines",
    "lines_of",
    "missing_text",
    "said",
    "settings_of",
]

SCHEMA = "hwcost.model/1"
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
CLOCKS = ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"))
_SHORT = {"ragged_rows": "rows", "ragged_cols": "cols", "fill_and_drain": "fill", "overhead": "over", "waiting": "wait"}
_NAMED = 10


@dataclass(frozen=True, eq=False)
class Line:
    """A line of the report: an operation, or a module with its subtotal.

    Attributes:
        part: the row or module.
        label: what it is called in the tree.
        depth: in the tree.
        is_open: whether what is in it has lines of its own.
    """

    part: Row | Module
    label: str
    depth: int
    is_open: bool

    @property
    def name(self) -> str:
        """With the modules that it is in."""
        return self.part.name if isinstance(self.part, Row) else self.part.path


SORTS: Mapping[str, Callable[[Line], Any]] = {
    "cycles": lambda line: -line.part.cost.cycles,
    "time": lambda line: -line.part.cost.seconds,
    "macs": lambda line: -line.part.cost.macs,
    "utilization": lambda line: line.part.cost.utilization if line.part.cost.cycles else 2.0,
    "waste": lambda line: -line.part.breakdown.idle,
    "name": lambda line: line.name,
    "order": lambda line: 0,
}
"""What lines are sorted by, the worst first."""


def lines_of(summary: Summary, *, depth: int | None, everything: bool) -> list[Line]:
    """The tree as lines.

    Args:
        summary: of the network.
        depth: how deep modules are opened; None for all.
        everything: with the operations that only move memory.
    """
    shown = [row for row in summary.rows if everything or row.state != "memory-only"]
    found = list(summary.tree.only(shown).walk())
    kept = [each for each in found if depth is None or each[0] < depth]
    return [
        Line(part, label, level, isinstance(part, Module) and (depth is None or level + 1 < depth))
        for level, label, part in kept
    ]


# ---------------------------------------------------------------- text


def as_text(summary: Summary, lines: Sequence[Line], label: str, *, flat: bool, left_out: int) -> Iterator[str]:
    """The report for people.

    Args:
        summary: of the network.
        lines: of the table.
        label: of the array.
        flat: names with their modules, without indents.
        left_out: how many lines there would be more.
    """
    coloured = is_terminal()
    yield f"{printable(summary.name)} on {label}"
    yield ""
    columns = _columns(summary, lines, flat)
    found = list(table(columns, lines, coloured=coloured))
    width = terminal_width()
    if width is not None:
        if coloured:
            columns.insert(1, Column("", lambda line: bar(summary.share(line.part)), to_the_left=True, colour=_blue))
        if any(len(line) > width for line in table(columns, lines)):
            columns = [column for column in columns if column.title != "shape"]
        found = list(table(columns, lines, coloured=coloured))
    yield from found
    if left_out:
        yield f"... and {left_out} more"
    yield ""
    yield from _totals(summary, coloured)


def _columns(summary: Summary, lines: Sequence[Line], flat: bool) -> list[Column[Line]]:
    cycles, folds = (alike(getattr(line.part.cost, name) for line in lines) for name in ("cycles", "folds"))
    scale, unit = unit_of(max((line.part.cost.seconds for line in lines), default=0.0), TIMES)
    names = Column[Line]("operation", _indented if not flat else _full, to_the_left=True, colour=_bold)
    columns = [
        names,
        Column[Line]("shape", _shape, to_the_left=True),
        Column[Line]("cycles", _priced(lambda part: cycles(part.cost.cycles))),
        Column[Line](f"time[{unit}]", _priced(lambda part: f"{part.cost.seconds / scale:.3f}")),
        Column[Line]("share[%]", _priced(lambda part: f"{100 * summary.share(part):.1f}")),
        Column[Line]("util[%]", _priced(lambda part: f"{100 * part.cost.utilization:.1f}"), colour=_by_use),
    ]
    if summary.cost.memory_cycles or summary.cost.overhead_cycles:
        columns.append(
            Column[Line]("bound", _priced(lambda part: str(part.cost.bound)), to_the_left=True, colour=_by_bound)
        )
    columns.append(Column[Line]("folds", _priced(lambda part: folds(part.cost.folds))))
    columns.extend(
        Column[Line](f"{short}[%]", _priced(_share_of(kind)))
        for kind, short in _SHORT.items()
        if kind not in ("overhead", "waiting") or getattr(summary.breakdown, kind)
    )
    if any(isinstance(line.part, Row) and line.part.state == "memory-only" for line in lines):
        columns.append(Column[Line]("bytes", lambda line: bytes_text(_moved(line.part))))
    return columns


def _share_of(kind: str) -> Callable[[Row | Module], str]:
    return lambda part: f"{100 * part.breakdown.shares[kind]:.1f}"


def _priced(text: Callable[[Row | Module], str]) -> Callable[[Line], str]:
    """Nothing for what takes no cycles."""
    return lambda line: text(line.part) if line.part.cost.macs else ""


def _indented(line: Line) -> str:
    return "  " * line.depth + printable(line.label)


def _full(line: Line) -> str:
    return printable(line.name)


def _shape(line: Line) -> str:
    part = line.part
    if isinstance(part, Module):
        count = sum(row.state == "priced" for row in part.rows)
        return "" if line.is_open else f"({count} {'layer' if count == 1 else 'layers'})"
    if part.state == "unsupported":
        return f"NOT SUPPORTED: {printable(part.reason)}"
    return printable(part.shape or part.kind)


def _moved(part: Row | Module) -> float:
    return part.weight_bytes + part.input_bytes + part.output_bytes


def _bold(line: Line) -> dict[str, Any]:
    return {"bold": isinstance(line.part, Module)}


def _blue(_: Line) -> dict[str, Any]:
    return {"fg": "blue"}


def _by_use(line: Line) -> dict[str, Any]:
    used = line.part.cost.utilization
    return {"fg": "green" if used >= 0.6 else "yellow" if used >= 0.25 else "red"}


def _by_bound(line: Line) -> dict[str, Any]:
    return {"fg": {"compute": "blue", "memory": "red", "overhead": "magenta"}[line.part.cost.bound]}


def _totals(summary: Summary, coloured: bool) -> Iterator[str]:
    cost, array = summary.cost, summary.array
    (scale, unit), (hertz, clock) = unit_of(cost.seconds, TIMES), unit_of(array.clock_hz, CLOCKS)
    count = len(summary.of("priced"))
    texts = {
        "total": f"{count} {'layer' if count == 1 else 'layers'}, {cost.macs} MACs: {figure_text(cost.cycles)} cycles, "
        f"{cost.seconds / scale:.6g} {unit} at {array.clock_hz / hertz:.6g} {clock}, "
        f"{100 * cost.utilization:.2f} % utilization",
        "PE-cycles": ", ".join(
            f"{100 * share:.1f} % {KINDS[kind]}"
            for kind, share in summary.breakdown.shares.items()
            if getattr(summary.breakdown, kind)
        ),
    }
    if cost.memory_cycles or cost.overhead_cycles:
        texts["bound"] = ", ".join(
            f"by {name} {100 * seconds / cost.seconds:.1f} % of the time"
            for name, seconds in summary.seconds_by_bound.items()
            if seconds
        )
    priced = summary.of("priced")
    texts["bytes"] = ", ".join(
        f"{name}s {bytes_text(sum(getattr(row, f'{name}_bytes') for row in priced))}"
        for name in ("weight", "input", "output")
    )
    if free := summary.of("memory-only"):
        moved = bytes_text(sum(map(_moved, free)))
        operations = f"{len(free)} {'operation' if len(free) == 1 else 'operations'}"
        texts["memory-only"] = f"{operations}, {moved} moved, no cycles of the array"
    for name, text in texts.items():
        yield f"{name:<13}{text}"
    for note in said(summary):
        yield f"{'note':<13}{printable(note)}"
    if summary.missing:
        text = f"{'MISSING':<13}{missing_text(summary)}"
        yield click.style(text, fg="red", bold=True) if coloured else text


def said(summary: Summary) -> list[str]:
    """The notes, without what is no news to somebody who asks for the cost alone."""
    return [note for note in summary.notes if note != UNCONNECTED]


def missing_text(summary: Summary) -> str:
    """What is not in the totals, in words."""
    missing = summary.of("unsupported")
    named = "; ".join(f"{printable(row.name)}: {printable(row.reason)}" for row in missing[:_NAMED])
    more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    count = "1 operation is" if len(missing) == 1 else f"{len(missing)} operations are"
    return f"{count} not in these totals: {named}{more}"


# ---------------------------------------------------------------- JSON and CSV


def settings_of(summary: Summary, device: str | None) -> dict[str, Any]:
    """The array, as plain data; what nothing limits is null."""
    figures = summary.array.as_dict()
    return {"device": device} | {name: None if value == float("inf") else value for name, value in figures.items()}


def as_json(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any], *, left_out: int) -> str:
    """One document: settings, totals, what is missing, the lines, and the subtotals of all modules."""
    import json

    document = summary.as_dict()
    free = summary.of("memory-only")
    return json.dumps(
        {"schema": SCHEMA, "version": __version__, "settings": settings}
        | document
        | {
            "memory_only": {"operations": len(free), "bytes": sum(map(_moved, free))},
            "rows": [_line_dict(summary, line) for line in lines],
            "left_out": left_out,
        },
        indent=2,
        allow_nan=False,
    )


def as_csv(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any]) -> str:
    """The lines as comma-separated values, with a header."""
    head: dict[str, Any] = {"schema": SCHEMA, "version": __version__, "network": summary.name}
    head |= {name: settings[name] for name in ("device", "rows", "cols", "dataflow", "fold_timing", "clock_hz")}
    figures = _flattened(summary.figures())
    words = ("name", "path", "kind", "state", "shape", "reason")
    text = io.StringIO()
    writer = csv.DictWriter(text, [*head, *words, *figures], restval="", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        row: dict[str, Any] = head | _flattened(_line_dict(summary, line))
        writer.writerow(
            {name: printable(v) if isinstance(v, str) else "" if v is None else v for name, v in row.items()}
        )
    return text.getvalue()


def html_lines(summary: Summary) -> list[dict[str, Any]]:
    """The whole tree as data, from the top down, for the page that a browser shows."""
    lines = lines_of(summary, depth=None, everything=True)
    return [
        {"label": line.label, "depth": line.depth, "is_free": all(row.state == "memory-only" for row in _rows_of(line))}
        | _line_dict(summary, line)
        for line in lines
    ]


def _rows_of(line: Line) -> tuple[Row, ...]:
    return line.part.rows if isinstance(line.part, Module) else (line.part,)


def _line_dict(summary: Summary, line: Line) -> dict[str, Any]:
    if isinstance(line.part, Row):
        return summary.row_dict(line.part)
    words = {"name": line.part.path, "path": line.part.path, "kind": "module", "state": "module", "shape": ""}
    return words | summary.figures(line.part)


def _flattened(figures: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name == "pe_cycles":
            flat |= {f"pe_cycles_{kind}": each for kind, each in value.items()}
        elif name == "bytes":
            flat |= {f"{kind}_bytes": each for kind, each in value.items()}
        else:
            flat[name] = value
    return flat
