"""A report as a document: the table of its lines, and what stands below it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hwcost.devices.measured import PRINTS_IT
from hwcost.model.breakdown import KINDS
from hwcost.model.columns import cost_columns, terms_of
from hwcost.model.cost import Cost
from hwcost.model.traffic import bytes_of, skipped_inputs
from hwcost.model.words import (
    bytes_text,
    energy_text,
    lower_bound,
    missing_text,
    not_counted_text,
    padding_text,
    partial_folds,
)
from hwcost.network.network import UNCONNECTED
from hwcost.reports.lines import Line, lines_of
from hwcost.reports.tree import Module
from hwcost.tables import Column, Document, even_percent, even_unit
from hwcost.units import (
    BYTES,
    CLOCKS,
    NOT_SHOWN,
    SIZES,
    TIMES,
    between,
    in_unit,
    layer_name,
    marked,
    number,
    percent,
    plural,
    printable,
    shorten_name,
)

__all__ = ["WASTE", "document_of", "missing_of", "notes_of", "withheld_text"]

Summary_: TypeAlias = Any
"""A Summary, whose module imports this one."""

WASTE = {
    "ragged_rows": "rows", "ragged_cols": "cols", "ragged_arrays": "arrays", "slow_rows": "slow",
    "fill_and_drain": "fill", "overhead": "over", "waiting": "wait",
}  # fmt: skip
"""Titles of the columns of PE-cycles that are not useful."""


def document_of(
    summary: Summary_, lines: Sequence[Line] | None = None, *, flat: bool = False, left_out: int = 0
) -> Document:
    """The report for people: an indented tree, or full names if it is flat."""
    shown = lines_of(summary) if lines is None else lines
    columns = _columns(summary, shown, flat)
    return Document(
        heading=f"{shorten_name(printable(summary.name), 100)} on {summary.label}",
        columns=columns,
        rows=shown,
        left_out=left_out,
        below=_below(summary),
        terms=terms_of(columns),
        alert=f"MISSING      {missing_of(summary)}" if summary.missing else "",
    )


def _columns(summary: Summary_, lines: Sequence[Line], flat: bool) -> list[Column[Line]]:
    def name(line: Line) -> str:
        return printable(line.name) if flat else "  " * line.depth + printable(line.label)

    def figure(text: Callable[[Cost], str], *, of_total: bool = False, mark: bool = True) -> Callable[[Line], str]:
        """A figure of time, marked if it is beyond what was measured; none for a line that takes no cycles."""
        return _known(summary, lambda line: text(line.part.cost), of_total=of_total, mark=mark)

    costs = cost_columns(lines, lambda line: line.part.cost, summary.cost, figure)
    moved = _bytes_column(summary, lines, costs.pop("DRAM"))
    energy = [costs.pop("energy")] if "energy" in costs else []
    if summary.measured and summary.cost.idle_joules:
        energy = [dataclasses.replace(each, text=_known(summary, each.text)) for each in energy]
    if summary.is_withheld():
        costs["share"] = dataclasses.replace(costs["share"], share=None, has_bar=False)
    wasted = [
        Column[Line](f"{short}[%]", _known(summary, _share_of(kind, lines), mark=False), words=KINDS[kind], rank=3)
        for kind, short in WASTE.items()
        if kind not in ("ragged_arrays", "slow_rows", "overhead", "waiting") or getattr(summary.breakdown, kind)
    ]
    return [
        Column[Line]("operation", name, True, lambda line: {"bold": isinstance(line.part, Module)}),
        Column[Line]("shape", _shape, to_the_left=True, rank=4),
        *costs.values(), *wasted, moved, *energy,
    ]  # fmt: skip


def _known(
    summary: Summary_, text: Callable[[Line], str], *, of_total: bool = False, mark: bool = True
) -> Callable[[Line], str]:
    def shown(line: Line) -> str:
        if not line.part.cost.cycles:
            return ""
        if summary.is_withheld(line.part) or (of_total and summary.is_withheld()):
            return NOT_SHOWN
        return marked(text(line), mark and summary.share_beyond(line.part))

    return shown


def _bytes_column(summary: Summary_, lines: Sequence[Line], plain: Column[Line]) -> Column[Line]:
    """Bytes to and from DRAM; in parentheses those of operations that are fused with others and move none."""
    unit, text = even_unit((line.part.cost.dram_bytes or summary.fused_bytes(line.part) for line in lines), BYTES)

    def shown(line: Line) -> str:
        if size := line.part.cost.dram_bytes:
            return text(size)
        own = summary.fused_bytes(line.part)
        return f"({text(own)})" if own else ""

    return dataclasses.replace(plain, title=f"DRAM[{unit}]", text=shown)


def _share_of(kind: str, lines: Sequence[Line]) -> Callable[[Line], str]:
    text = even_percent(line.part.breakdown.shares[kind] for line in lines)
    return lambda line: text(line.part.breakdown.shares[kind])


def _shape(line: Line) -> str:
    part = line.part
    if isinstance(part, Module):
        count = sum(row.state == "priced" for row in part.rows)
        return "" if line.is_open else f"({plural(count, 'layer')})"
    if part.state == "unsupported":
        return f"NOT SUPPORTED: {printable(part.reason)}"
    return printable(part.shape or part.kind)


# ---------------------------------------------------------------- below the table


def _below(summary: Summary_) -> dict[str, str]:
    cost, priced = summary.cost, summary.of("priced")
    texts = {"total": f"{plural(len(priced), 'layer')}, {number(cost.macs)} MACs: {_total(summary)}"}
    if why := lower_bound(summary.uncharged):
        texts["lower bound"] = why
    if not summary.is_withheld():
        texts |= _parts_of_time(summary)
    texts["bytes"] = bytes_text(cost.memory_figures, cost.dram_activation_weight_bytes)
    if text := _uncounted(summary):
        texts["not counted"] = text
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
    if summary.legend:
        texts[" legend"] = summary.legend
    if notes := notes_of(summary):
        texts["note"] = notes[0]
        texts |= {f" note {index}": f"{'note':<13}{note}" for index, note in enumerate(notes[1:])}
    return texts


def _uncounted(summary: Summary_) -> str:
    """What the bytes leave out on a machine without buffers."""
    rows = (row for row in summary.of("priced") if row.moved)
    gaps = sum(size for row in rows for size in skipped_inputs(row.moved, row.traffic, summary.array).values())
    return not_counted_text(bytes_of(gaps, summary.array.bytes_per_element), summary.at_hand)


def _memory_text(summary: Summary_) -> str:
    """What the network needs at once, whether it fits, and what stays in the buffer."""
    peak, plan = summary.peak, summary.plan
    assert peak is not None
    needed = f"{in_unit(peak.bytes, BYTES, 4)} of activations at {layer_name(peak.layer, 100)}"
    fits = "all of it fits" if peak.fits else "not all of it fits"
    room = f"the {in_unit(peak.buffer, SIZES, 4)} that the chip states" if peak.is_stated else "the buffer"
    weights = f"{in_unit(peak.weights, BYTES, 4)} of weights{padding_text(summary.array)}"
    text = f"at most {needed}, {weights}; {fits} into {room}"
    if plan is None:
        return text
    kept = f"{plural(len(plan.kept), 'result')} stay in it" if len(plan.kept) != 1 else "1 result stays in it"
    alone = in_unit(plan.bytes_alone, BYTES, 4)
    return (
        f"{text}; {kept}: {100 * plan.saved:.1f} % fewer bytes of DRAM than the {alone} of layers and sums one by one"
    )


def _total(summary: Summary_) -> str:
    cost, beyond = summary.cost, summary.extrapolated_share
    if summary.is_withheld():
        return withheld_text(summary)
    share = f", {percent(beyond)} % of it beyond what was measured" if beyond else ""
    return (
        f"{marked(number(cost.cycles), beyond)} cycles, {marked(in_unit(cost.seconds, TIMES), beyond)}"
        f"{between(summary.seconds_90)} at {in_unit(summary.array.clock_hz, CLOCKS)}, "
        f"{marked(f'{100 * cost.utilization:.2f} %', beyond)} utilization{share}"
    )


def withheld_text(summary: Summary_) -> str:
    """Why there is no total, and what gives it."""
    return f"{summary.withheld}; {PRINTS_IT}"


def _parts_of_time(summary: Summary_) -> dict[str, str]:
    shares = summary.breakdown.shares
    texts = {
        "PE-cycles": ", ".join(
            f"{percent(share)} % {KINDS[kind]}" for kind, share in shares.items() if getattr(summary.breakdown, kind)
        )
    }
    if summary.cost.memory_cycles or summary.cost.overhead_cycles:
        texts["bound"] = ", ".join(
            f"by {name} {percent(seconds / summary.cost.seconds)} % of the time"
            for name, seconds in summary.seconds_by_bound.items()
            if seconds
        )
    return texts


def notes_of(summary: Summary_) -> list[str]:
    """The notes on the network, except that its layers are not connected, which no cost depends on."""
    return [note for note in summary.notes if note != UNCONNECTED]


def missing_of(summary: Summary_) -> str:
    """The operations that are not in the totals, in words."""
    return missing_text({row.name: row.reason for row in summary.of("unsupported")})
