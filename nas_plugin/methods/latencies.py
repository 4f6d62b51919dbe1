"""The latency terms by name. It loads no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from hwcost import SystolicArray

__all__ = ["LATENCIES", "Latency"]


@dataclass(frozen=True)
class Latency:
    """A row of :data:`LATENCIES`.

    Attributes:
        name: as people write it.
        relaxation: of hwcost, at the expected widths; None for the exact expectation over all choices.
        summary: what it is, in words.
        of: whether it prices the Gumbel sample of a step, as the images see it, or the probabilities behind it.
        array: what it knows of the accelerator; None if all of it.
        counts: whether it enters the loss at all.
    """

    name: str
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
    names = ("dram_bytes_per_s", "weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s")
    element = array.bytes_per_element
    stated = {name: getattr(array, name) for name in names} if array.has_memory_limit else {}
    edge = {"dram_bytes_per_s": array.cols * element * array.clock_hz}
    return dataclasses.replace(_without_stairs(array), bytes_per_element=element, **(stated or edge))


LATENCIES: Mapping[str, Latency] = MappingProxyType(
    {
        row.name: row
        for row in (
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
    }
)
"""What ``--latency`` may be."""
