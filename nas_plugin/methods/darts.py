"""The author's search, top to bottom.

    L = L_data + lambda * L_latency

1. The super-network holds all networks of the search space; widths are chosen by masks (DMasking).
2. In each epoch the weights train on 80 % of the training images by SGD, on L_data alone.
3. Then the Gumbel-softmax parameters alpha train on the other 20 % by Adam, on L.
4. The network found is the largest alpha of every decision; with a target, the most probable network within it.

L_latency comes out of hwcost; there is no hardware arithmetic here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hwcost.torch import TargetWeight, space_tables
from hwcost.torch.alphas import Alphas
from hwcost.torch.choosing import most_probable
from hwcost.torch.term import SpaceTerm
from nas_plugin.images import Dataset, split
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import LATENCIES, Latency
from nas_plugin.methods.training import Descent, Record, Resumable, batches, generator, held_out, seeded
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.networks import SuperNetwork

__all__ = ["DartsSearch", "LatencyTerm", "judge_of"]


class LatencyTerm(SpaceTerm):
    """lambda * latency + mu * (1 - utilization), as one row of the latencies estimates it; the reference is 1."""

    def __init__(self, arch: ArchDef, latency: Latency, *, utilization: float = 0.0) -> None:
        array = arch.array if latency.array is None else latency.array(arch.array)
        super().__init__(arch.space, array, latency.relaxation, arch.reference, utilization)
        self.estimator = latency

    def add(self, loss: Tensor, sample: Tensor, probabilities: Tensor, weight: float) -> Tensor:
        """The sum of a scalar loss and the term, with ``weight`` as lambda; below 0 it asks for more cycles."""
        row = sample if self.estimator.of == "sample" else probabilities
        return self.added(loss, row, weight * self.estimator.counts)


def judge_of(arch: ArchDef, settings: SearchSettings) -> LatencyTerm:
    """What a target limits: the exact cycles, or the latency term of a search that does not know them."""
    return LatencyTerm(arch, LATENCIES["expectation"] if settings.snaps else settings.latency_row)


class DartsSearch(Resumable):
    """Weights and alpha in turn, epoch by epoch."""

    STATE = ("step", "target", "network", "alphas", "descent", "optimiser")

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch, self.settings, self.steps, self.step = arch, settings, settings.epochs, 0
        weights, rest = split(len(train), settings.seed, settings.share)  # 80 % and 20 %
        self.weight_data, self.alpha_data = train.take(weights), train.take(rest)
        self.network: SuperNetwork = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        self.descent = Descent(self.network, settings, len(weights), settings.epochs)  # SGD
        self.alphas = Alphas(arch.decisions)
        self.optimiser = torch.optim.Adam([self.alphas.alpha], lr=settings.alpha_lr)
        self.latency = LatencyTerm(arch, settings.latency_row, utilization=settings.utilization)
        self.judge, self.target = judge_of(arch, settings), None
        if settings.target is not None:  # in the cycles of the judge
            target = arch.limit(settings.target) * self.judge.reference / arch.reference_cycles
            self.target = TargetWeight(target, weight=settings.weight)

    def run_epoch(self) -> Record:
        """Trains the weights, then alpha; returns the epoch's log record."""
        random = generator(self.settings.seed, "search", self.step)
        tau = self.settings.tau(self.step)
        weight_loss = self.train_weights(tau, random)
        trains_alpha = self.step >= self.settings.weight_only_epochs
        alpha_loss = self.train_alpha(tau, random) if trains_alpha else None
        self.step += 1
        return self._record(tau, weight_loss, alpha_loss)

    def train_weights(self, tau: float, random: torch.Generator) -> float:
        """SGD on L_data over the images for the weights; returns the mean of L_data."""
        total = 0.0
        for images, labels in batches(self.weight_data, self.settings.batch, random):
            with torch.no_grad():
                gates = self.alphas.split(self.alphas.sample(tau, random))
            loss = F.cross_entropy(self.network(images, gates), labels)
            total += self.descent.descend(loss) * len(labels)
        return total / len(self.weight_data)

    def train_alpha(self, tau: float, random: torch.Generator) -> float:
        """Adam on L over the other images; returns the mean of L_data."""
        total = 0.0
        for images, labels in batches(self.alpha_data, self.settings.alpha_batch, random):
            total += self.alpha_step(images, labels, self.alphas.sample(tau, random)) * len(labels)
        return total / len(self.alpha_data)

    def alpha_step(self, images: Tensor, labels: Tensor, row: Tensor) -> float:
        """One step of alpha on L = L_data + lambda * L_latency, with the gates in a row; returns L_data.

        The latency comes before the network: its small operations then find those of the gates still in the caches and
        take a fifth less time.
        """
        probabilities = self.alphas.probabilities()
        penalty = self.latency.add(torch.zeros(()), row, probabilities, self.price(probabilities))
        data_loss = F.cross_entropy(self.network(images, self.alphas.split(row)), labels)
        (self.alphas.alpha.grad,) = torch.autograd.grad(data_loss + penalty, [self.alphas.alpha])
        self.optimiser.step()
        return float(data_loss.detach())

    def price(self, probabilities: Tensor) -> float:
        """The weight of the latency in this step: lambda, which follows the target if there is one."""
        if self.target is None:
            return self.settings.weight
        with torch.no_grad():
            return self.target.step(self.judge.loss.cycles(probabilities))

    def derived(self) -> dict[str, int]:
        """The largest alpha of every decision; with a target the most probable network within it."""
        if self.target is None:
            return self.alphas.choice()
        tables = space_tables(self.arch.space, self.judge.array, relaxation=self.judge.relaxation).values()
        found = most_probable(tables, self.alphas.split(self.alphas.probabilities()), self.target.target)
        return {name: self.arch.decisions[name][index] for name, index in (found or {}).items()}

    @torch.no_grad()
    def _record(self, tau: float, weight_loss: float, alpha_loss: float | None) -> Record:
        choice, probabilities = self.alphas.choice(), self.alphas.probabilities()
        exact = self.arch.cycles(choice)
        return {
            "epoch": self.step,
            "tau": tau,
            "lambda": self.settings.weight if self.target is None else self.target.weight,
            "weight_loss": weight_loss,
            "alpha_loss": alpha_loss,
            "soft_latency": float(self.latency.of(probabilities)),
            "exact_latency": exact / self.arch.reference_cycles,
            "exact_cycles": exact,
            "entropy": self.alphas.entropy(),
            "accuracy": held_out(lambda images: self.network.at(images, choice), self.alpha_data)[1],
            "choice": choice,
            "probabilities": {name: p.tolist() for name, p in self.alphas.split(probabilities).items()},
        }
