"""Rows of a report on what a run takes on top of its layers."""

from __future__ import annotations

from collections.abc import Iterator

from hwcost.arrays import total, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.model.breakdown import CycleBreakdown
from hwcost.model.cost import Cost
from hwcost.model.traffic import Traffic, bytes_of
from hwcost.model.words import padding_text
from hwcost.network.run import RUN, SPILLED, RunLayers, ends_of, run_of, stored_by_layer
from hwcost.reports.tree import Row
from hwcost.units import BYTES, in_unit, shortlist

__all__ = ["run_rows", "waiting_of"]

NAMED = 5
"""Layers that a row names."""


def run_rows(layers: RunLayers, array: SystolicArray) -> Iterator[Row]:
    """The way to the host with the constant of a run, and weights that do not fit; none that takes no time."""
    run, size = run_of(layers, array), array.bytes_per_element
    if run is None:
        return
    ends = ends_of(layers)
    sides = " and ".join(in_unit(bytes_of(each, size), BYTES, 3) for each in (ends.inputs, ends.outputs))
    stored = total(0, *stored_by_layer(layers, array).values())
    spilled, stored = (in_unit(bytes_of(each, size), BYTES, 3) for each in (run.spilled_elements, stored))
    padded = padding_text(array)
    room = in_unit(array.weight_capacity_bytes, BYTES, 3) if run.spill.cycles else ""
    shapes = {
        RUN: f"{sides} from and to the host" if run.ends.memory_cycles else "once for all layers",
        SPILLED: f"{spilled} of {shortlist(run.spilled, NAMED)} do not fit: {stored} stored{padded}, room for {room}",
    }
    for name, cost in ((RUN, run.ends), (SPILLED, run.spill)):
        if cost.cycles:
            yield Row(name, "", "run", "run", shapes[name], cost, waiting_of(cost), Traffic({}, size))


def waiting_of(cost: Cost) -> CycleBreakdown:
    """The PE-cycles of what is laid on no array."""
    pes = true_divide(cost.pe_cycles, cost.cycles) if cost.cycles else 0
    return CycleBreakdown(overhead=cost.overhead_cycles * pes, waiting=cost.waiting_cycles * pes)
