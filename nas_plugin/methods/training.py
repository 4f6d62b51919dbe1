"""Training loops; each advances by one step and can be checkpointed in between. Randomness is a function of seeds."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_plugin.data import Dataset
from nas_plugin.errors import RunError
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.space.arch_def import ArchDef, Choice
from nas_plugin.space.networks import TrainableNetwork

__all__ = ["Descent", "Epochs", "Record", "Resumable", "Training", "generator", "held_out", "seeded", "trial"]

Record = dict[str, Any]
"""The log of one step, in values that JSON knows."""


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Randomness as a function of seed, purpose and epoch.

    A resumed run needs no stored state of a random number generator: the epoch it repeats draws the same numbers.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def cosine(step: int, steps: int) -> float:
    """The factor of the learning rate: 1 at the first step, towards 0 at the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


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
    """The share of images with the largest logit at their label."""
    return held_out(logits, data)[1]


def batches(data: Dataset, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in random order, as batches of images and labels."""
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

    def __init__(self, parameters: Iterator[nn.Parameter], settings: SearchSettings, steps: int) -> None:
        self.parameters, self.settings, self.steps = list(parameters), settings, steps
        self.optimiser = torch.optim.SGD(
            self.parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )

    def step(self, loss: Tensor, number: int) -> None:
        """One step down the gradient of a loss; ``number`` counts the steps along the cosine.

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

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimiser."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.optimiser.load_state_dict(state)


class Resumable:
    """Work in steps, of which :attr:`STATE` names the attributes that change: plain values, or parts with a state."""

    STATE: ClassVar[tuple[str, ...]] = ()
    steps: int
    step: int

    @property
    def done(self) -> bool:
        """Whether all steps have run."""
        return self.step >= self.steps

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the work depends on."""
        parts = {name: getattr(self, name) for name in self.STATE}
        return {name: part.state_dict() if hasattr(part, "state_dict") else part for name, part in parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        for name, value in state.items():
            part = getattr(self, name)
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(value)
            else:
                setattr(self, name, copy.copy(value))


class Epochs(Resumable):
    """The training of one network, epoch by epoch.

    Args:
        network: the network to train.
        settings: of the run.
        data: the training images.
        epochs: their number.
    """

    STATE = ("step", "network", "descent")

    def __init__(self, network: nn.Module, settings: SearchSettings, data: Dataset, epochs: int) -> None:
        self.network: Any = network
        self.settings, self.steps, self.step = settings, epochs, 0
        self.batches = -(-len(data) // settings.batch)
        self.descent = Descent(network.parameters(), settings, epochs * self.batches)


class Training(Epochs):
    """The training of one plain network.

    Args:
        arch: the search space of the network.
        choice: its sizes.
        settings: of the run.
        train: the training images.
        start: the network to train, in place; None draws new weights from the seed.
    """

    def __init__(
        self,
        arch: ArchDef,
        choice: Choice,
        settings: SearchSettings,
        train: Dataset,
        start: TrainableNetwork | None = None,
    ) -> None:
        self.train = train
        if start is None:
            start = seeded(settings.seed, "training", lambda: TrainableNetwork(arch, choice))
        super().__init__(start, settings, train, settings.train_epochs)

    def run_epoch(self) -> Record:
        """Runs one epoch; returns its log record."""
        random = generator(self.settings.seed, "training", self.step)
        total, hits = 0.0, 0
        for number, (images, labels) in enumerate(batches(self.train, self.settings.batch, random)):
            logits = self.network(images)
            loss = F.cross_entropy(logits, labels)
            self.descent.step(loss, self.step * self.batches + number)
            total += float(loss.detach()) * len(labels)
            hits += int((logits.detach().argmax(1) == labels).sum())
        self.step += 1
        return {"epoch": self.step, "loss": total / len(self.train), "train_accuracy": hits / len(self.train)}


def trial(training: Training, rest: Dataset) -> tuple[float, float]:
    """Runs a training; returns the network's loss in nats and its accuracy on the rest of the images.

    Raises:
        RunError: the training has diverged.
    """
    while not training.done:
        training.run_epoch()
    return held_out(training.network, rest)
