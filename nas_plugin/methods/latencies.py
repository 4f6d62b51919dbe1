"""The latency terms by name. It loads no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hwcost import SystolicArray
from hwcost.machine import Memory, Transfer, adapt
from hwcost.machine.rows import Row, table

__all__ = ["LATENCIES", "Latency"]


@dataclass(frozen=True)
class Latency(Row):
    """A row of :data:`LATENCIES`.

    Attributes:
        name: as people write it.
        relaxation: of hwcost, at the expected widths; None for the exact expectation over all choices.
        summary: what it is, in words.
        of: whether it prices the Gumbel sample of a step, as the images see it, or the probabilities behind it.
        array: what it knows of the accelerator; None if all of it.
        counts: whether it enters the loss at all.
    """

    relaxation: Any
    summary: str
    of: Literal["sample", "probabilities"] = "sample"
    array: Callable[[SystolicArray], SystolicArray] | None = None
    counts: bool = True


def _without_stairs(array: SystolicArray) -> SystolicArray:
    """The array as a FLOP count sees it: a number of PEs, never idle."""
    return SystolicArray(array.rows, array.cols, array.clock_hz)


def _with_memory(array: SystolicArray) -> SystolicArray:
    """PEs that are never idle behind the array's memory; if it has no bandwidth, one row of weights enters a cycle."""
    memory = {name for name, declared in Memory.declarations.items() if declared.unit in ("B", "B/s")}
    transfers = tuple(term for term in array.terms if isinstance(term, Transfer))
    memory.update(*(transfer.reads for transfer in transfers))
    kept = {name: value for name, value in array.stated() if name in memory} | {"terms": transfers}
    bare = adapt(_without_stairs(array), kept).array
    edge = array.cols * array.bytes_per_element * array.clock_hz
    return bare if bare.has_memory_limit else dataclasses.replace(bare, dram_bytes_per_s=edge)


LATENCIES: Mapping[str, Latency] = table(
    Latency("logistic", "logistic", "the author's smooth ceiling at the expected widths"),
    Latency("shifted", "shifted", "the same moved right, so that a full tile costs what it costs"),
    Latency("generalized", "generalized", "the asymmetric smooth ceiling of U-Boost NAS"),
    Latency("straight-through", "straight-through", "the exact stairs with the slope of a line"),
    Latency("expectation", None, "expected exact cycles over all choices, not smoothed", of="probabilities"),
    Latency("expectation-sample", None, "the same under the Gumbel sample of each step"),
    Latency("flops", "linear", "no stairs: proportional to MACs, for comparison", array=_without_stairs),
    Latency("roofline", "linear", "no stairs: MACs or bytes, the longer, for comparison", array=_with_memory),
    Latency("none", None, "no latency at all, for comparison", of="probabilities", counts=False),
)
"""What ``--latency`` may be."""
