"""A target for the author's search: lambda follows it, and the network found keeps within it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hwcost.torch import LatencyLoss
from nas_plugin.methods.gates import Alphas
from nas_plugin.methods.latency import LatencyTerm
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import Costs, reference_cycles, within
from nas_plugin.space.targets import LEAST, Target

__all__ = ["Limit"]

GAIN = 0.02
"""How fast lambda follows a target: a step at twice the target multiplies it by exp(GAIN)."""
PULL = 1.0
"""Added to lambda at twice the target, and subtracted at zero cycles, so that a search that fell short comes back."""


class Limit:
    """A target in the cycles of its judge: the exact model, or the latency term of a search that does not know it.

    Args:
        arch: the search space.
        term: the latency term of the search.
        target: the limit.
        exact: whether the exact model is the judge.
    """

    def __init__(self, arch: ArchDef, term: LatencyTerm, target: Target, *, exact: bool) -> None:
        self.arch = arch
        self.costs = Costs(arch) if exact else term.costs()
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
