"""The latency term by name: which of hwcost's estimates prices the expected network. No hardware arithmetic here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from hwcost import InvalidValueError, SystolicArray, network_cost
from hwcost.torch import LatencyLoss
from nas_plugin.arch_def import ArchDef, Choice
from nas_plugin.candidates import Costs

__all__ = ["LATENCIES", "Latency", "LatencyTerm"]


def _as_it_is(array: SystolicArray) -> SystolicArray:
    return array


def _without_stairs(array: SystolicArray) -> SystolicArray:
    """So many processing elements, always fed: what a count of operations knows of an array."""
    return SystolicArray(array.rows, array.cols, array.clock_hz)


def _with_memory(array: SystolicArray) -> SystolicArray:
    """The same beside the array's memory; where it states none, one row of weights a cycle through the array's edge."""
    names = ("dram_bytes_per_s", "weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s")
    element = array.bytes_per_element
    stated = {name: getattr(array, name) for name in names} if array.has_memory_limit else {}
    edge = {"dram_bytes_per_s": array.cols * element * array.clock_hz}
    return dataclasses.replace(_without_stairs(array), bytes_per_element=element, **(stated or edge))


@dataclass(frozen=True)
class Latency:
    """A row of :data:`LATENCIES`.

    Attributes:
        relaxation: of hwcost, at the expected widths; or None for the exact expectation over all choices.
        summary: what it is, in words.
        of: whether it sees the Gumbel sample of a step, as the images do, or the probabilities behind it.
        array: what it knows of the accelerator.
        counts: whether it enters the loss at all.
    """

    relaxation: str | None
    summary: str
    of: Literal["sample", "probabilities"] = "sample"
    array: Callable[[SystolicArray], SystolicArray] = _as_it_is
    counts: bool = True


LATENCIES: Mapping[str, Latency] = MappingProxyType(
    {
        "logistic": Latency("logistic", "the author's smooth ceiling at the expected widths"),
        "shifted": Latency("shifted", "the same moved right, so that a full tile costs what it costs"),
        "generalized": Latency("generalized", "the asymmetric smooth ceiling of U-Boost NAS"),
        "straight-through": Latency("straight-through", "the exact stairs with the slope of a line"),
        "expectation": Latency(
            None, "the expected exact cycles over all choices; nothing is smoothed", of="probabilities"
        ),
        "expectation-sample": Latency(None, "the same under the Gumbel sample of each step"),
        "flops": Latency("linear", "no stairs: proportional to MACs, for comparison", array=_without_stairs),
        "roofline": Latency("linear", "no stairs: the longer of MACs and bytes, for comparison", array=_with_memory),
        "none": Latency(None, "no latency at all, for comparison", of="probabilities", counts=False),
    }
)
"""What ``--latency`` may be."""


class LatencyTerm:
    """lambda * latency + mu * (1 - utilization), as an estimator sees it.

    All estimators have the same unit: the latency is divided by what the same estimator says of the reference network.

    Args:
        arch: the search space on its array.
        latency: a name in :data:`LATENCIES`.
        utilization: mu, the weight of what is left of the array: 1 - MACs / (estimated cycles * PEs). An estimator
            without stairs sees none of it.

    Raises:
        InvalidValueError: an unknown latency.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> from nas_plugin.networks import one_hot
    >>> arch = load_arch_def()
    >>> term = LatencyTerm(arch, "shifted")
    >>> with torch.no_grad():
    ...     round(term.of(torch.cat([*one_hot(arch, arch.reference).values()])).item(), 3)
    1.0
    """

    def __init__(self, arch: ArchDef, latency: str, *, utilization: float = 0.0) -> None:
        if latency not in LATENCIES:
            raise InvalidValueError("latency", latency, f"one of: {', '.join(LATENCIES)}")
        self.arch, self.estimator, self.utilization = arch, LATENCIES[latency], utilization
        self.array = self.estimator.array(arch.array)
        self.loss = LatencyLoss(arch.space, self.array, relaxation=self.estimator.relaxation, reference=1.0)
        relaxation = None if self.estimator.relaxation is None else "linear"
        self.macs = LatencyLoss(arch.space, SystolicArray(1, 1), relaxation=relaxation, reference=1.0)
        self.reference = self._cycles_of(arch.reference)

    def _cycles_of(self, choice: Choice) -> float:
        """What the estimator says of one network; its widths need not be options, as those of a reference."""
        relaxation = self.estimator.relaxation
        sizes = choice if relaxation is None else {name: torch.tensor(float(size)) for name, size in choice.items()}
        layers = self.arch.space.at(sizes)
        return float(network_cost(layers, self.array, relaxation=relaxation or "exact").total.cycles)

    def of(self, row: Tensor) -> Tensor:
        """The estimated latency, reference network = 1, of gates or probabilities in a row."""
        return self.loss.cycles(row) / self.reference

    def add(self, loss: Tensor, sample: Tensor, probabilities: Tensor, weight: float) -> Tensor:
        """``loss`` with the term on top.

        Args:
            loss: a scalar.
            sample: the Gumbel sample of the step, all decisions in a row.
            probabilities: those behind it.
            weight: lambda; below 0 it asks for more cycles.
        """
        row = sample if self.estimator.of == "sample" else probabilities
        priced = self.estimator.counts and weight != 0
        if not priced and self.utilization == 0:
            return loss
        cycles = self.loss.cycles(row)
        if priced:
            loss = torch.add(loss, cycles, alpha=weight / self.reference)
        if self.utilization > 0:
            used = self.macs.cycles(row) / (cycles * float(self.array.pes))
            loss = torch.add(loss, 1 - used, alpha=self.utilization)
        return loss

    def costs(self) -> Costs:
        """What the estimator says of every whole network, in its own cycles."""
        return Costs(self.arch, self.array, self.estimator.relaxation or "exact")
