"""The author's search, top to bottom.

    L = L_data + lambda * L_latency

1. The super-network holds all networks of the search space; widths are chosen by masks (DMasking).
2. In each epoch the weights train on 80 % of the training images by SGD, on L_data alone.
3. Then the Gumbel-softmax parameters alpha train on the other 20 % by Adam, on L.
4. The network found is the largest alpha of every decision; with a target, the most probable network within it.

L_latency comes out of hwcost; there is no hardware arithmetic here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwcost import SystolicArray, network_cost
from hwcost.torch import LatencyLoss
from hwcost.torch.lookup import Costs, within
from nas_plugin.images import Dataset, split
from nas_plugin.methods.settings import LEAST, SearchSettings, Target
from nas_plugin.methods.table import Latency
from nas_plugin.methods.training import Descent, Record, Resumable, batches, generator, held_out, seeded
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.networks import Alphas, SuperNetwork, one_hot

__all__ = ["DartsSearch", "LatencyTerm", "Limit"]


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
        return self.arch.costs(self.array, self.estimator.relaxation or "exact")


class Limit:
    """A target in the cycles of its judge: lambda follows it, and the network found keeps within it.

    The judge is the exact model if ``exact``, and else the latency term of a search that does not know it.
    """

    def __init__(self, arch: ArchDef, term: LatencyTerm, target: Target, *, exact: bool) -> None:
        self.arch = arch
        self.costs = arch.costs() if exact else term.costs()
        self.expected = LatencyLoss(arch.space, arch.array, reference=1.0) if exact else term.loss
        reference = arch.reference_cycles
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


class DartsSearch(Resumable):
    """Weights and alpha in turn, epoch by epoch."""

    STATE = ("step", "weight", "network", "alphas", "descent", "optimiser")

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch, self.settings, self.steps, self.step = arch, settings, settings.epochs, 0
        weights, rest = split(len(train), settings.seed, settings.share)  # 80 % and 20 %
        self.weight_data, self.alpha_data = train.take(weights), train.take(rest)
        self.network: SuperNetwork = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        self.descent = Descent(self.network, settings, len(weights), settings.epochs)  # SGD
        self.alphas = Alphas(arch)
        self.optimiser = torch.optim.Adam([self.alphas.alpha], lr=settings.alpha_lr)
        self.latency = LatencyTerm(arch, settings.latency_row, utilization=settings.utilization)
        self.weight = settings.weight  # lambda
        target, exact = settings.target, settings.snaps
        self.limit = None if target is None else Limit(arch, self.latency, Target.parse(target), exact=exact)
        self.costs = arch.costs()  # for the log

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
        penalty = self.latency.add(torch.zeros(()), row, probabilities, self._price(probabilities))
        data_loss = F.cross_entropy(self.network(images, self.alphas.split(row)), labels)
        (self.alphas.alpha.grad,) = torch.autograd.grad(data_loss + penalty, [self.alphas.alpha])
        self.optimiser.step()
        return float(data_loss.detach())

    def _price(self, probabilities: Tensor) -> float:
        """The weight of the latency in this step: lambda, which follows the target if there is one."""
        if self.limit is None:
            return self.weight
        self.weight, price = self.limit.price(self.weight, probabilities)
        return price

    def derived(self) -> dict[str, int]:
        """The largest alpha of every decision; with a target the most probable network within it."""
        return self.alphas.choice() if self.limit is None else self.limit.most_probable(self.alphas)

    def _record(self, tau: float, weight_loss: float, alpha_loss: float | None) -> Record:
        choice = self.alphas.choice()
        gates = one_hot(self.arch, choice)
        with torch.no_grad():
            probabilities = self.alphas.probabilities()
            soft = float(self.latency.of(probabilities))
        exact = self.costs.one(choice)
        return {
            "epoch": self.step,
            "tau": tau,
            "lambda": self.weight,
            "weight_loss": weight_loss,
            "alpha_loss": alpha_loss,
            "soft_latency": soft,
            "exact_latency": exact / self.arch.reference_cycles,
            "exact_cycles": int(exact) if exact.is_integer() else exact,
            "entropy": self.alphas.entropy(),
            "accuracy": held_out(lambda images: self.network(images, gates), self.alpha_data)[1],
            "choice": choice,
            "probabilities": {name: p.tolist() for name, p in self.alphas.split(probabilities).items()},
        }
