"""The two things that learn, each advancing by whole epochs and each able to stop and go on from its state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_plugin.arch_def import ArchDef, Choice
from nas_plugin.data import Dataset, split
from nas_plugin.gates import Alphas
from nas_plugin.latency import latency_loss
from nas_plugin.networks import Network, SuperNetwork, one_hot
from nas_plugin.settings import Settings, cosine, generator

__all__ = ["Search", "Training", "accuracy"]

Record = dict[str, Any]


def accuracy(logits: Callable[[Tensor], Tensor], data: Dataset, batch: int = 1000) -> float:
    """The share of images whose largest logit is that of their label."""
    hits = 0
    with torch.no_grad():
        for index in range(0, len(data), batch):
            part = data.take(slice(index, index + batch))
            hits += int((logits(part.images).argmax(1) == part.labels).sum())
    return hits / len(data)


def _batches(data: Dataset, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(data), generator=random)
    for start in range(0, len(data), size):
        part = data.take(order[start : start + size])
        yield part.images, part.labels


def _seeded(seed: int, purpose: str, build: Callable[[], nn.Module]) -> Any:
    """A module whose initial weights are a function of seed and purpose; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, purpose).initial_seed())
        return build()


class _Descent:
    """SGD with momentum, a cosine over all its steps, and clipped gradients."""

    def __init__(self, parameters: Iterator[nn.Parameter], settings: Settings, steps: int) -> None:
        self.parameters, self.settings, self.steps = list(parameters), settings, steps
        self.optimiser = torch.optim.SGD(
            self.parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )

    def step(self, loss: Tensor, number: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * cosine(number, self.steps)
        for parameter, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimiser.step()


class Search:
    """The search, epoch by epoch: weights by SGD on their share of the images, then alpha by Adam on the rest.

    The weight step sees the loss on the images alone; the alpha step sees L_data + lambda * L_latency.

    Args:
        arch: the search space.
        settings: of the run.
        train: the training images, which are split here.
    """

    def __init__(self, arch: ArchDef, settings: Settings, train: Dataset) -> None:
        self.arch, self.settings = arch, settings
        self.latency = latency_loss(arch, settings.latency, settings.weight)
        self.network: SuperNetwork = _seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        self.alphas = Alphas(arch)
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.alpha_data = train.take(weights), train.take(rest)
        self.steps = -(-len(weights) // settings.batch)
        self.descent = _Descent(self.network.parameters(), settings, settings.epochs * self.steps)
        self.optimiser = torch.optim.Adam([self.alphas.alpha], lr=settings.alpha_lr)
        self.epoch = 0

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
        for step, (images, labels) in enumerate(_batches(self.weight_data, self.settings.batch, random)):
            with torch.no_grad():
                gates = self.alphas.split(self.alphas.sample(tau, random))
            loss = F.cross_entropy(self.network(images, gates), labels)
            self.descent.step(loss, self.epoch * self.steps + step)
            total += float(loss.detach()) * len(labels)
        return total / len(self.weight_data)

    def _train_alpha(self, tau: float, random: torch.Generator) -> float:
        total = 0.0
        for images, labels in _batches(self.alpha_data, self.settings.alpha_batch, random):
            total += self.alpha_step(images, labels, self.alphas.sample(tau, random)) * len(labels)
        return total / len(self.alpha_data)

    def alpha_step(self, images: Tensor, labels: Tensor, row: Tensor) -> float:
        """One step of alpha on L_data + lambda * L_latency, with the gates in a row; returns L_data.

        The latency comes before the network: there its small operations find those of the gates still in the caches,
        and take a fifth less time.
        """
        cycles = self.latency.cycles(row)
        data_loss = F.cross_entropy(self.network(images, self.alphas.split(row)), labels)
        loss = torch.add(data_loss, cycles, alpha=self.settings.weight / self.latency.reference)
        (self.alphas.alpha.grad,) = torch.autograd.grad(loss, [self.alphas.alpha])
        self.optimiser.step()
        return float(data_loss.detach())

    def _record(self, tau: float, weight_loss: float, alpha_loss: float | None) -> Record:
        choice = self.alphas.choice()
        gates = one_hot(self.arch, choice)
        with torch.no_grad():
            probabilities = self.alphas.probabilities()
            soft = float(self.latency(probabilities))
        exact = int(self.latency.exact(choice).total.cycles)
        return {
            "epoch": self.epoch,
            "tau": tau,
            "weight_loss": weight_loss,
            "alpha_loss": alpha_loss,
            "soft_latency": soft,
            "exact_latency": exact / self.latency.reference,
            "exact_cycles": exact,
            "entropy": self.alphas.entropy(),
            "accuracy": accuracy(lambda images: self.network(images, gates), self.alpha_data),
            "choice": choice,
            "probabilities": {name: p.tolist() for name, p in self.alphas.split(probabilities).items()},
        }

    @property
    def done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.settings.epochs

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "alphas": self.alphas.state_dict(),
            "sgd": self.descent.optimiser.state_dict(),
            "adam": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.alphas.load_state_dict(state["alphas"])
        self.descent.optimiser.load_state_dict(state["sgd"])
        self.optimiser.load_state_dict(state["adam"])


class Training:
    """The training of one plain network from scratch on all training images.

    Args:
        arch: the search space that the network is from.
        choice: its sizes.
        settings: of the run.
        train: all training images.
    """

    def __init__(self, arch: ArchDef, choice: Choice, settings: Settings, train: Dataset) -> None:
        self.settings, self.train = settings, train
        self.network: Network = _seeded(settings.seed, "training", lambda: Network(arch, choice))
        self.steps = -(-len(train) // settings.batch)
        self.descent = _Descent(self.network.parameters(), settings, settings.train_epochs * self.steps)
        self.epoch = 0

    def run_epoch(self) -> Record:
        """One epoch; returns what is logged of it."""
        random = generator(self.settings.seed, "training", self.epoch)
        total, hits = 0.0, 0
        for step, (images, labels) in enumerate(_batches(self.train, self.settings.batch, random)):
            logits = self.network(images)
            loss = F.cross_entropy(logits, labels)
            self.descent.step(loss, self.epoch * self.steps + step)
            total += float(loss.detach()) * len(labels)
            hits += int((logits.detach().argmax(1) == labels).sum())
        self.epoch += 1
        return {"epoch": self.epoch, "loss": total / len(self.train), "train_accuracy": hits / len(self.train)}

    @property
    def done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.settings.train_epochs

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "sgd": self.descent.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.descent.optimiser.load_state_dict(state["sgd"])
