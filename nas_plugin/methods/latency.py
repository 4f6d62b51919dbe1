"""The latency term of the loss: lambda * latency + mu * (1 - utilization). No hardware arithmetic here."""

from __future__ import annotations

import torch
from torch import Tensor

from hwcost import SystolicArray, network_cost
from hwcost.torch import LatencyLoss
from nas_plugin.methods.latencies import Latency
from nas_plugin.space.arch_def import ArchDef, Choice
from nas_plugin.space.costs import Costs

__all__ = ["LatencyTerm"]


class LatencyTerm:
    """lambda * latency + mu * (1 - utilization), as one estimator sees it.

    All estimators have the same unit: each latency is divided by the same estimator's value for the reference network.

    Args:
        arch: the search space on its array.
        latency: a row of :data:`nas_plugin.methods.latencies.LATENCIES`, or one of your own.
        utilization: mu, the weight of the idle share of the array: 1 - MACs / (estimated cycles * PEs). An estimator
            without stairs sees none of it.

    >>> from nas_plugin import LATENCIES, load_arch_def
    >>> from nas_plugin.space.networks import one_hot
    >>> arch = load_arch_def()
    >>> term = LatencyTerm(arch, LATENCIES["shifted"])
    >>> with torch.no_grad():
    ...     round(term.of(torch.cat([*one_hot(arch, arch.reference).values()])).item(), 3)
    1.0
    """

    def __init__(self, arch: ArchDef, latency: Latency, *, utilization: float = 0.0) -> None:
        self.arch, self.estimator, self.utilization = arch, latency, utilization
        self.array = arch.array if latency.array is None else latency.array(arch.array)
        self.loss = LatencyLoss(arch.space, self.array, relaxation=latency.relaxation, reference=1.0)
        relaxation = None if latency.relaxation is None else "linear"
        self.macs = LatencyLoss(arch.space, SystolicArray(1, 1), relaxation=relaxation, reference=1.0)
        self.reference = self._cycles_of(arch.reference)

    def _cycles_of(self, choice: Choice) -> float:
        """The estimate for one network, whose widths need not be options."""
        relaxation = self.estimator.relaxation
        sizes = choice if relaxation is None else {name: torch.tensor(float(size)) for name, size in choice.items()}
        layers = self.arch.space.at(sizes)
        return float(network_cost(layers, self.array, relaxation=relaxation or "exact").total.cycles)

    def of(self, row: Tensor) -> Tensor:
        """The estimated latency, reference network = 1, of gates or probabilities in a row."""
        return self.loss.cycles(row) / self.reference

    def add(self, loss: Tensor, sample: Tensor, probabilities: Tensor, weight: float) -> Tensor:
        """The sum of ``loss`` and the term.

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
        """The estimate for every whole network, in the estimator's own cycles."""
        return Costs(self.arch, self.array, self.estimator.relaxation or "exact")
