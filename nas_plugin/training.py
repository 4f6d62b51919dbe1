"""The training of one network, and what all that learns shares; each advances by epochs and can stop and go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_plugin.arch_def import ArchDef, Choice
from nas_plugin.data import Dataset
from nas_plugin.errors import RunError
from nas_plugin.networks import Network
from nas_plugin.settings import Settings, cosine, generator

__all__ = ["Descent", "Epochs", "Record", "Training", "accuracy", "batches", "held_out", "seeded", "trial"]

Record = dict[str, Any]


def held_out(logits: Callable[[Tensor], Tensor], data: Dataset, batch: int = 1000) -> tuple[float, float]:
    """The mean cross-entropy in nats, and the accuracy, on images that the weights were not trained on."""
    total, hits = 0.0, 0
    with torch.no_grad():
        for index in range(0, len(data), batch):
            part = data.take(slice(index, index + batch))
            found = logits(part.images)
            total += float(F.cross_entropy(found, part.labels, reduction="sum"))
            hits += int((found.argmax(1) == part.labels).sum())
    return total / len(data), hits / len(data)


def accuracy(logits: Callable[[Tensor], Tensor], data: Dataset) -> float:
    """The share of images whose largest logit is that of their label."""
    return held_out(logits, data)[1]


def batches(data: Dataset, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in a random order, by batches of images and labels."""
    order = torch.randperm(len(data), generator=random)
    for start in range(0, len(data), size):
        part = data.take(order[start : start + size])
        yield part.images, part.labels


def seeded(seed: int, purpose: str, build: Callable[[], nn.Module]) -> Any:
    """A module whose initial weights are a function of seed and purpose; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, purpose).initial_seed())
        return build()


class Descent:
    """SGD with momentum, a cosine over all its steps, and clipped gradients."""

    def __init__(self, parameters: Iterator[nn.Parameter], settings: Settings, steps: int) -> None:
        self.parameters, self.settings, self.steps = list(parameters), settings, steps
        self.optimiser = torch.optim.SGD(
            self.parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )

    def step(self, loss: Tensor, number: int) -> None:
        """One step down the gradient of a loss; ``number`` says where on the cosine.

        Raises:
            RunError: the training has diverged.
        """
        if not math.isfinite(value := float(loss.detach())):
            raise RunError(f"the loss is {value} at step {number}: the training diverged; lower lr or the clip")
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * cosine(number, self.steps)
        for parameter, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimiser.step()


class Epochs:
    """Something whose one network learns by epochs, and that can stop and go on between them.

    Args:
        network: what learns.
        settings: of the run.
        data: the images that it learns from.
        epochs: how many there are.
    """

    def __init__(self, network: nn.Module, settings: Settings, data: Dataset, epochs: int) -> None:
        self.settings, self.epochs, self.epoch = settings, epochs, 0
        self.batches = -(-len(data) // settings.batch)
        self.descent = Descent(network.parameters(), settings, epochs * self.batches)
        self._network = network

    @property
    def done(self) -> bool:
        """Whether all epochs have run."""
        return self.epoch >= self.epochs

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on."""
        return {
            "epoch": self.epoch,
            "network": self._network.state_dict(),
            "sgd": self.descent.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.epoch = state["epoch"]
        self._network.load_state_dict(state["network"])
        self.descent.optimiser.load_state_dict(state["sgd"])


class Training(Epochs):
    """The training of one plain network.

    Args:
        arch: the search space that the network is from.
        choice: its sizes.
        settings: of the run.
        train: the images that it learns from.
        start: the network to train, in place; None makes one whose weights are drawn by the seed.
    """

    def __init__(
        self, arch: ArchDef, choice: Choice, settings: Settings, train: Dataset, start: Network | None = None
    ) -> None:
        self.train = train
        if start is None:
            start = seeded(settings.seed, "training", lambda: Network(arch, choice))
        self.network: Network = start
        super().__init__(self.network, settings, train, settings.train_epochs)

    def run_epoch(self) -> Record:
        """One epoch; returns what is logged of it."""
        random = generator(self.settings.seed, "training", self.epoch)
        total, hits = 0.0, 0
        for step, (images, labels) in enumerate(batches(self.train, self.settings.batch, random)):
            logits = self.network(images)
            loss = F.cross_entropy(logits, labels)
            self.descent.step(loss, self.epoch * self.batches + step)
            total += float(loss.detach()) * len(labels)
            hits += int((logits.detach().argmax(1) == labels).sum())
        self.epoch += 1
        return {"epoch": self.epoch, "loss": total / len(self.train), "train_accuracy": hits / len(self.train)}


def trial(
    arch: ArchDef, choice: Choice, settings: Settings, weights: Dataset, rest: Dataset, start: Network | None = None
) -> tuple[float, float]:
    """A network trained on the images for the weights: its loss in nats, and the share of right answers, on the rest.

    Raises:
        RunError: the training has diverged.
    """
    training = Training(arch, choice, settings, weights, start)
    while not training.done:
        training.run_epoch()
    return held_out(training.network, rest)
