"""The latency in the loss of the author's search, and the target that its weight follows; no hardware arithmetic."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hwcost import SystolicArray, network_cost
from hwcost.torch import LatencyLoss
from hwcost.torch.lookup import Costs, within
from nas_plugin.methods.latencies import Latency
from nas_plugin.methods.settings import LEAST, Target
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import costs_of, reference_cycles
from nas_plugin.space.networks import Alphas

__all__ = ["LatencyTerm", "Limit"]

GAIN = 0.02  # how fast lambda follows a target: a step at twice the target multiplies it by exp(GAIN)
# added to lambda at twice the target, and subtracted at zero cycles, so that a search that fell short comes back
PULL = 1.0


class LatencyTerm:
    """lambda * latency + mu * (1 - utilization), as one row of the latencies estimates it.

    Every latency is divided by its own value for the reference network. Utilization is MACs / (estimated cycles * PEs),
    which is always 1 for an estimator without stairs.
    """

    def __init__(self, arch: ArchDef, latency: Latency, *, utilization: float = 0.0) -> None:
        self.arch, self.estimator, self.utilization = arch, latency, utilization
        self.array = arch.array if latency.array is None else latency.array(arch.array)
        self.loss = LatencyLoss(arch.space, self.array, relaxation=latency.relaxation, reference=1.0)
        relaxation = None if latency.relaxation is None else "linear"
        self.macs = LatencyLoss(arch.space, SystolicArray(1, 1), relaxation=relaxation, reference=1.0)
        # the widths of the reference need not be options
        soft = {name: torch.tensor(float(size)) for name, size in arch.reference.items()}
        layers = arch.space.at(arch.reference if latency.relaxation is None else soft)
        report = network_cost(layers, self.array, relaxation=latency.relaxation or "exact")
        self.reference = float(report.total.cycles)

    def of(self, row: Tensor) -> Tensor:
        """The estimated latency, reference network = 1, of gates or probabilities in a row."""
        return self.loss.cycles(row) / self.reference

    def add(self, loss: Tensor, sample: Tensor, probabilities: Tensor, weight: float) -> Tensor:
        """The sum of a scalar loss and the term, with ``weight`` as lambda; below 0 it asks for more cycles."""
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
        return costs_of(self.arch, self.array, self.estimator.relaxation or "exact")


class Limit:
    """A target in the cycles of its judge: lambda follows it, and the network found keeps within it.

    The judge is the exact model if ``exact``, and else the latency term of a search that does not know it.
    """

    def __init__(self, arch: ArchDef, term: LatencyTerm, target: Target, *, exact: bool) -> None:
        self.arch = arch
        self.costs = costs_of(arch) if exact else term.costs()
        self.expected = LatencyLoss(arch.space, arch.array, reference=1.0) if exact else term.loss
        reference = reference_cycles(arch)
        self.cycles = target.cycles(arch) * (reference if exact else term.reference) / reference

    def price(self, weight: float, probabilities: Tensor) -> tuple[float, float]:
        """Lambda after a step, and the weight of the latency in that step.

        Lambda rises while the expected cycles exceed the target and falls while they are below: dual ascent on its
        logarithm, with a pull that is proportional to the distance.
        """
        with torch.no_grad():
            off = float(self.expected.cycles(probabilities)) / self.cycles - 1
        off = min(max(off, -1.0), 1.0)
        weight = min(max(weight, 1e-4) * math.exp(GAIN * off), 1e3)
        return weight, weight + PULL * off

    def most_probable(self, alphas: Alphas) -> dict[str, int]:
        """The most probable network whose cost is within the target, and uses it up if one does."""
        rows = within(self.costs, self.arch.decisions, self.cycles, least=LEAST * self.cycles)
        with torch.no_grad():
            shares = alphas.split(alphas.probabilities().double().clamp_min(1e-30).log())
        score = np.zeros(len(rows))
        for column, name in enumerate(self.costs.names):
            score += shares[name].numpy()[np.searchsorted(self.arch.decisions[name], rows[:, column])]
        return self.costs.choice(rows[score.argmax()])
