"""The output of ``hwcost model``: a tree of modules or a sorted list, as text, JSON or CSV."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

from hwcost.cli.formula import partial_folds
from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import Machine, between
from hwcost.cli.shared.networks import missing_text, withheld_text
from hwcost.cli.shared.spent import bytes_text, energy_text
from hwcost.model.breakdown import KINDS
from hwcost.network.network import UNCONNECTED
from hwcost.reports import Module, Row, Summary
from hwcost.tables import Column, bar, is_terminal, table, terminal_width
from hwcost.units import (
    BYTES,
    CLOCKS,
    ENERGIES,
    NOT_SHOWN,
    TIMES,
    column_format,
    exact,
    in_unit,
    labelled,
    marked,
    plural,
    printable,
    shorten_name,
    unit_of,
)

__all__ = [
    "SORTS", "Line", "as_csv", "as_json", "as_text", "html_lines", "lines_of", "missing_of", "notes_of", "settings_of",
]  # fmt: skip

SCHEMA = "hwcost.model/1"
_OF_BOUND = {"compute": "blue", "memory": "red", "overhead": "magenta"}
_SHORT = {
    "ragged_rows": "rows", "ragged_cols": "cols", "ragged_arrays": "arrays", "slow_rows": "slow",
    "fill_and_drain": "fill", "overhead": "over", "waiting": "wait",
}  # fmt: skip


class Line(NamedTuple):
    """A line of the report: an operation, or a module with its subtotal.

    Attributes:
        part: the row or module.
        label: its name in the tree.
        depth: its depth in the tree.
        is_open: whether the operations of a module have lines of their own.
    """

    part: Row | Module
    label: str
    depth: int
    is_open: bool

    @property
    def name(self) -> str:
        """The full name, with those of its modules."""
        return self.part.name if isinstance(self.part, Row) else self.part.path


SORTS: Mapping[str, Callable[[Line], Any]] = {
    "cycles": lambda line: -line.part.cost.cycles,
    "time": lambda line: -line.part.cost.seconds,
    "macs": lambda line: -line.part.cost.macs,
    "utilization": lambda line: line.part.cost.utilization if line.part.cost.cycles else 2.0,
    "waste": lambda line: -line.part.breakdown.idle,
    "bytes": lambda line: -line.part.cost.dram_bytes,
    "energy": lambda line: -(line.part.cost.energy_joules or 0.0),
    "name": lambda line: line.name,
    "order": lambda line: 0,
}
"""The keys that lines are sorted by, worst first."""


def lines_of(summary: Summary, *, depth: int | None, everything: bool) -> list[Line]:
    """The tree as lines, collapsed below a depth; with everything, operations that only move memory are included."""
    shown = [row for row in summary.rows if everything or row.state != "memory-only" or row.cost.cycles]
    found = list(summary.tree.only(shown).walk())
    kept = [each for each in found if depth is None or each[0] < depth]
    return [
        Line(part, label, level, isinstance(part, Module) and (depth is None or level + 1 < depth))
        for level, label, part in kept
    ]


# ---------------------------------------------------------------- text


def as_text(summary: Summary, lines: Sequence[Line], label: str, *, flat: bool, left_out: int) -> Iterator[str]:
    """The report for people: an indented tree, or full names if it is flat."""
    coloured, width = is_terminal(), terminal_width()
    yield f"{shorten_name(printable(summary.name), 100)} on {label}"
    yield ""
    columns = _columns(summary, lines, flat)
    if width is not None and coloured and not summary.is_withheld():
        columns.insert(1, Column("", lambda line: bar(summary.share(line.part)), True, lambda _: {"fg": "blue"}))
    if width is not None and any(len(line) > width for line in table(columns, lines)):
        columns = [column for column in columns if column.title != "shape"]
    yield from table(columns, lines, coloured=coloured)
    if left_out:
        yield f"... and {left_out} more"
    yield ""
    yield from _totals(summary, coloured)


def _columns(summary: Summary, lines: Sequence[Line], flat: bool) -> list[Column[Line]]:
    cycles, folds = (column_format(getattr(line.part.cost, name) for line in lines) for name in ("cycles", "folds"))
    scale, unit = unit_of(max((line.part.cost.seconds for line in lines), default=0.0), TIMES)

    def name(line: Line) -> str:
        return printable(line.name) if flat else "  " * line.depth + printable(line.label)

    def figure(
        text: Callable[[Row | Module], str], *, of_total: bool = False, mark: bool = True
    ) -> Callable[[Line], str]:
        """A figure of time, marked if it is beyond what was measured; none for a line that takes no cycles."""

        def shown(line: Line) -> str:
            if not line.part.cost.cycles:
                return ""
            if summary.is_withheld(line.part) or (of_total and summary.is_withheld()):
                return NOT_SHOWN
            return marked(text(line.part), mark and summary.share_beyond(line.part))

        return shown

    columns = [
        Column[Line]("operation", name, True, lambda line: {"bold": isinstance(line.part, Module)}),
        Column[Line]("shape", _shape, to_the_left=True),
        Column[Line]("cycles", figure(lambda part: cycles(part.cost.cycles))),
        Column[Line](f"time[{unit}]", figure(lambda part: f"{part.cost.seconds / scale:.3f}")),
        Column[Line]("share[%]", figure(lambda part: f"{100 * summary.share(part):.1f}", of_total=True)),
        Column[Line]("util[%]", figure(_used), colour=_by_use),
    ]
    if summary.cost.memory_cycles or summary.cost.overhead_cycles:
        bound = figure(lambda part: str(part.cost.bound), mark=False)
        columns.append(Column[Line]("bound", bound, True, lambda line: {"fg": _OF_BOUND[str(line.part.cost.bound)]}))
    columns.append(Column[Line]("folds", _priced(lambda part: folds(part.cost.folds))))
    columns.extend(
        Column[Line](f"{short}[%]", figure(_share_of(kind), mark=False))
        for kind, short in _SHORT.items()
        if kind not in ("ragged_arrays", "slow_rows", "overhead", "waiting") or getattr(summary.breakdown, kind)
    )
    columns.append(_bytes_column(summary, lines))
    if summary.cost.energy_joules is not None:
        columns.append(_energy_column(lines))
    return columns


def _bytes_column(summary: Summary, lines: Sequence[Line]) -> Column[Line]:
    """Bytes to and from DRAM; in parentheses those of operations that are fused with others and move none."""
    moved = [(line.part.cost.dram_bytes, summary.fused_bytes(line.part)) for line in lines]
    scale, unit = unit_of(max(itertools.chain(*moved), default=0.0), BYTES)

    def shown(line: Line) -> str:
        if size := line.part.cost.dram_bytes:
            return f"{size / scale:.4g}"
        fused = summary.fused_bytes(line.part)
        return f"({fused / scale:.4g})" if fused else ""

    return Column[Line](f"DRAM[{unit}]", shown)


def _energy_column(lines: Sequence[Line]) -> Column[Line]:
    scale, unit = unit_of(max((line.part.cost.energy_joules or 0.0 for line in lines), default=0.0), ENERGIES)
    return Column[Line](
        f"energy[{unit}]", lambda line: f"{energy / scale:.4g}" if (energy := line.part.cost.energy_joules) else ""
    )


def _share_of(kind: str) -> Callable[[Row | Module], str]:
    return lambda part: f"{100 * part.breakdown.shares[kind]:.1f}"


def _priced(text: Callable[[Row | Module], str]) -> Callable[[Line], str]:
    """An empty cell for a line that takes no cycles."""
    return lambda line: text(line.part) if line.part.cost.cycles else ""


def _used(part: Row | Module) -> str:
    return f"{100 * part.cost.utilization:.1f}" if part.cost.macs else ""


def _shape(line: Line) -> str:
    part = line.part
    if isinstance(part, Module):
        count = sum(row.state == "priced" for row in part.rows)
        return "" if line.is_open else f"({plural(count, 'layer')})"
    if part.state == "unsupported":
        return f"NOT SUPPORTED: {printable(part.reason)}"
    return printable(part.shape or part.kind)


def _by_use(line: Line) -> dict[str, Any]:
    used = line.part.cost.utilization
    return {"fg": "green" if used >= 0.6 else "yellow" if used >= 0.25 else "red"}


def _totals(summary: Summary, coloured: bool) -> Iterator[str]:
    cost, priced = summary.cost, summary.of("priced")
    texts = {"total": f"{plural(len(priced), 'layer')}, {cost.macs} MACs: {_total(summary)}"}
    if not summary.is_withheld():
        texts |= _parts_of_time(summary)
    texts["bytes"] = bytes_text(cost.memory_figures)
    if cost.energy_joules is not None and not (cost.idle_joules and summary.is_withheld()):
        texts["energy"] = energy_text(cost.memory_figures)
    if summary.peak is not None:
        texts["memory"] = _memory_text(summary)
    if free := summary.of("memory-only"):
        moved = in_unit(sum(row.traffic.bytes() for row in free), BYTES, 4)
        time = in_unit(sum(row.cost.seconds for row in free), TIMES) if any(row.cost.cycles for row in free) else ""
        how = f"of these bytes, {time}" if time else "fused with the layers before them, no cycles of the array"
        texts["memory-only"] = f"{plural(len(free), 'operation')}, {moved} {how}"
    if why := partial_folds(summary.array):
        texts["folds"] = why
    for name, text in texts.items():
        yield labelled(name, text)
    if summary.legend:
        yield printable(summary.legend)
    for note in notes_of(summary):
        yield labelled("note", printable(note))
    if summary.missing:
        text = labelled("MISSING", missing_of(summary))
        yield click.style(text, fg="red", bold=True) if coloured else text


def _memory_text(summary: Summary) -> str:
    """What the network needs at once, whether it fits, and what stays in the buffer."""
    peak, plan = summary.peak, summary.plan
    assert peak is not None
    needed = f"{in_unit(peak.bytes, BYTES, 4)} of activations at {printable(peak.layer)}"
    fits = "fits" if peak.fits else "does not fit"
    text = f"at most {needed}, {in_unit(peak.weights, BYTES, 4)} of weights; all of it {fits} into the buffer"
    if plan is None:
        return text
    kept = f"{plural(len(plan.kept), 'result')} stay in it" if len(plan.kept) != 1 else "1 result stays in it"
    alone = in_unit(plan.bytes_alone, BYTES, 4)
    return (
        f"{text}; {kept}: {100 * plan.saved:.1f} % fewer bytes of DRAM than the {alone} of layers and sums one by one"
    )


def _total(summary: Summary) -> str:
    cost, beyond = summary.cost, summary.extrapolated_share
    if summary.is_withheld():
        return withheld_text(summary)
    share = f", {100 * beyond:.0f} % of it beyond what was measured" if beyond else ""
    return (
        f"{marked(exact(cost.cycles), beyond)} cycles, {marked(in_unit(cost.seconds, TIMES), beyond)}"
        f"{between(summary.seconds_90)} at {in_unit(summary.array.clock_hz, CLOCKS)}, "
        f"{marked(f'{100 * cost.utilization:.2f} %', beyond)} utilization{share}"
    )


def _parts_of_time(summary: Summary) -> dict[str, str]:
    shares = summary.breakdown.shares
    texts = {
        "PE-cycles": ", ".join(
            f"{100 * share:.1f} % {KINDS[kind]}" for kind, share in shares.items() if getattr(summary.breakdown, kind)
        )
    }
    if summary.cost.memory_cycles or summary.cost.overhead_cycles:
        texts["bound"] = ", ".join(
            f"by {name} {100 * seconds / summary.cost.seconds:.1f} % of the time"
            for name, seconds in summary.seconds_by_bound.items()
            if seconds
        )
    return texts


def notes_of(summary: Summary) -> list[str]:
    """The notes on the network, except that its layers are not connected, which no cost depends on."""
    return [note for note in summary.notes if note != UNCONNECTED]


def missing_of(summary: Summary) -> str:
    """The operations that are not in the totals, in words."""
    return missing_text({row.name: row.reason for row in summary.of("unsupported")})


# ---------------------------------------------------------------- JSON and CSV


def settings_of(summary: Summary, machine: Machine) -> dict[str, Any]:
    """The array as plain data, and where its figures of energy are from; an infinite bandwidth is null."""
    figures = summary.array.as_dict()
    return {"device": machine.name, **machine.energy_settings} | {
        name: None if value == float("inf") else value for name, value in figures.items()
    }


def as_json(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any], *, left_out: int) -> str:
    """One document: settings, totals, what is missing, the lines, and the subtotals of all modules."""
    free = summary.of("memory-only")
    content = (
        {"settings": settings}
        | summary.as_dict()
        | {
            "memory_only": {"operations": len(free), "bytes": sum(row.traffic.bytes() for row in free)},
            "rows": [_line_dict(summary, line) for line in lines],
            "left_out": left_out,
        }
    )
    return json_document(SCHEMA, content)


def as_csv(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any]) -> str:
    """The lines as comma-separated values, with a header."""
    head: dict[str, Any] = {"network": summary.name}
    head |= {name: settings[name] for name in ("device", "rows", "cols", "dataflow", "fold_timing", "clock_hz")}
    names = (*head, "name", "path", "kind", "state", "shape", "reason", *_flattened(summary.figures()), "extrapolated")
    return csv_document(SCHEMA, [head | _flattened(_line_dict(summary, line)) for line in lines], names)


def html_lines(summary: Summary) -> list[dict[str, Any]]:
    """The whole tree as data, from the top down, for the HTML page."""
    return [_html_line(summary, line) for line in lines_of(summary, depth=None, everything=True)]


def _html_line(summary: Summary, line: Line) -> dict[str, Any]:
    found = {"label": line.label, "depth": line.depth} | _line_dict(summary, line)
    layers = [row for row in _rows_of(line) if row.state != "memory-only"]
    is_single = isinstance(line.part, Module) and [row.state for row in layers] == ["priced"]
    return found | {
        "is_beyond": bool(summary.share_beyond(line.part)),
        "is_free": not layers,
        "is_single": is_single,
        "shape": layers[0].shape if is_single else found["shape"],
    }


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
