"""The author's search: weights and alpha in turn, epoch by epoch; and the network that alpha then stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwcost.torch import LatencyLoss
from nas_plugin.arch_def import ArchDef
from nas_plugin.candidates import Costs, options_of, reference_cycles, within
from nas_plugin.data import Dataset, split
from nas_plugin.gates import Alphas
from nas_plugin.latency import LatencyTerm
from nas_plugin.networks import SuperNetwork, one_hot
from nas_plugin.settings import Settings, generator
from nas_plugin.targets import LEAST, Target
from nas_plugin.training import Descent, Record, batches, held_out, seeded

__all__ = ["DartsSearch"]

GAIN = 0.02
"""How fast lambda follows a target: a step at twice the target multiplies it by exp(GAIN)."""
PULL = 1.0
"""What is added to lambda at twice the target, and taken off where nothing of it is used: a search that fell short
comes back."""


class _Limit:
    """A target, in the cycles of whoever judges it: the exact model, or the latency term of a search without it.

    Attributes:
        cycles: the limit.
        expected: gives the expected cycles under probabilities.
        costs: of whole networks.
    """

    def __init__(self, arch: ArchDef, term: LatencyTerm, target: Target, exact: bool) -> None:
        self.costs = Costs(arch) if exact else term.costs()
        self.expected = LatencyLoss(arch.space, arch.array, reference=1.0) if exact else term.loss
        reference = reference_cycles(arch)
        self.cycles = target.cycles(arch) * (reference if exact else term.reference) / reference


class DartsSearch:
    """The search: weights by SGD on their share of the images, then alpha by Adam on the rest, each epoch.

    The weight step sees the loss on the images alone; the alpha step sees L_data + lambda * L_latency. With a target,
    lambda is a price that rises while the expected cycles are above the target and falls while they are below (dual
    ascent on its logarithm, with a pull that is proportional to the distance), and the network is the most probable one
    whose exact cost is within the target.

    Args:
        arch: the search space.
        settings: of the run.
        train: the training images, which are split here.
    """

    def __init__(self, arch: ArchDef, settings: Settings, train: Dataset) -> None:
        self.arch, self.settings = arch, settings
        self.latency = LatencyTerm(arch, settings.latency, utilization=settings.utilization)
        self.costs = Costs(arch)
        self.reference = reference_cycles(arch)
        target = None if settings.target is None else Target.parse(settings.target)
        self.limit = None if target is None else _Limit(arch, self.latency, target, settings.snaps)
        self.weight = settings.weight
        self.network: SuperNetwork = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        self.alphas = Alphas(arch)
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.alpha_data = train.take(weights), train.take(rest)
        self.batches = -(-len(weights) // settings.batch)
        self.descent = Descent(self.network.parameters(), settings, settings.epochs * self.batches)
        self.optimiser = torch.optim.Adam([self.alphas.alpha], lr=settings.alpha_lr)
        self.epoch = 0

    @property
    def steps(self) -> int:
        """Epochs in all."""
        return self.settings.epochs

    @property
    def done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.steps

    def run_epoch(self) -> Record:
        """One epoch; returns what is logged of it."""
        random = generator(self.settings.seed, "search", self.epoch)
        tau = self.settings.tau(self.epoch)
        weight_loss = self._train_weights(tau, random)
        trains_alpha = self.epoch >= self.settings.weight_only_epochs
        alpha_loss = self._train_alpha(tau, random) if trains_alpha else None
        self.epoch += 1
        return self._record(tau, weight_loss, alpha_loss)

    def _train_weights(self, tau: float, random: torch.Generator) -> float:
        total = 0.0
        for step, (images, labels) in enumerate(batches(self.weight_data, self.settings.batch, random)):
            with torch.no_grad():
                gates = self.alphas.split(self.alphas.sample(tau, random))
            loss = F.cross_entropy(self.network(images, gates), labels)
            self.descent.step(loss, self.epoch * self.batches + step)
            total += float(loss.detach()) * len(labels)
        return total / len(self.weight_data)

    def _train_alpha(self, tau: float, random: torch.Generator) -> float:
        total = 0.0
        for images, labels in batches(self.alpha_data, self.settings.alpha_batch, random):
            total += self.alpha_step(images, labels, self.alphas.sample(tau, random)) * len(labels)
        return total / len(self.alpha_data)

    def alpha_step(self, images: Tensor, labels: Tensor, row: Tensor) -> float:
        """One step of alpha on L_data + lambda * L_latency, with the gates in a row; returns L_data.

        The latency comes before the network: there its small operations find those of the gates still in the caches,
        and take a fifth less time.
        """
        probabilities = self.alphas.probabilities()
        penalty = self.latency.add(torch.zeros(()), row, probabilities, self._price(probabilities))
        data_loss = F.cross_entropy(self.network(images, self.alphas.split(row)), labels)
        (self.alphas.alpha.grad,) = torch.autograd.grad(data_loss + penalty, [self.alphas.alpha])
        self.optimiser.step()
        return float(data_loss.detach())

    def _price(self, probabilities: Tensor) -> float:
        """The weight of the latency in this step; with a target it follows the expected cycles."""
        if self.limit is None:
            return self.weight
        with torch.no_grad():
            off = float(self.limit.expected.cycles(probabilities)) / self.limit.cycles - 1
        off = min(max(off, -1.0), 1.0)
        self.weight = min(max(self.weight, 1e-4) * math.exp(GAIN * off), 1e3)
        return self.weight + PULL * off

    def _record(self, tau: float, weight_loss: float, alpha_loss: float | None) -> Record:
        choice = self.alphas.choice()
        gates = one_hot(self.arch, choice)
        with torch.no_grad():
            probabilities = self.alphas.probabilities()
            soft = float(self.latency.of(probabilities))
        exact = float(self.costs.of(self.costs.rows([choice]))[0])
        return {
            "epoch": self.epoch,
            "tau": tau,
            "lambda": self.weight,
            "weight_loss": weight_loss,
            "alpha_loss": alpha_loss,
            "soft_latency": soft,
            "exact_latency": exact / self.reference,
            "exact_cycles": int(exact) if exact.is_integer() else exact,
            "entropy": self.alphas.entropy(),
            "accuracy": held_out(lambda images: self.network(images, gates), self.alpha_data)[1],
            "choice": choice,
            "probabilities": {name: p.tolist() for name, p in self.alphas.split(probabilities).items()},
        }

    def derived(self) -> dict[str, int]:
        """The largest alpha of every decision; with a target the most probable network that is within it."""
        if self.limit is None:
            return self.alphas.choice()
        limit, costs = self.limit.cycles, self.limit.costs
        rows = within(costs, options_of(self.arch), limit, least=LEAST * limit)
        with torch.no_grad():
            shares = self.alphas.split(self.alphas.probabilities().double().clamp_min(1e-30).log())
        score = np.zeros(len(rows))
        for column, name in enumerate(costs.names):
            places = np.searchsorted(self.arch.decisions[name], rows[:, column])
            score += shares[name].numpy()[places]
        return costs.choice(rows[score.argmax()])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on."""
        return {
            "epoch": self.epoch,
            "weight": self.weight,
            "network": self.network.state_dict(),
            "alphas": self.alphas.state_dict(),
            "sgd": self.descent.optimiser.state_dict(),
            "adam": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.epoch, self.weight = state["epoch"], state["weight"]
        self.network.load_state_dict(state["network"])
        self.alphas.load_state_dict(state["alphas"])
        self.descent.optimiser.load_state_dict(state["sgd"])
        self.optimiser.load_state_dict(state["adam"])
