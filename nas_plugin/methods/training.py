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

from hwcost.pruning.tuning import distance
from nas_plugin.errors import RunError
from nas_plugin.images import Dataset, split
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.space.arch_def import ArchDef, Choice
from nas_plugin.space.networks import SuperNetwork, TrainableNetwork

__all__ = ["Descent", "Record", "Resumable", "SuperNetworkTraining", "Training", "generator", "held_out", "seeded"]

DISTIL = 0.7  # the share of a loss that is the distance to a teacher's outputs
Record = dict[str, Any]
"""The log of one step, in values that JSON knows."""


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Randomness as a function of seed, purpose and epoch.

    A resumed run needs no stored state of a random number generator: the epoch it repeats draws the same numbers.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def held_out(logits: Callable[[Tensor], Tensor], data: Dataset, batch: int = 1000) -> tuple[float, float]:
    """The mean cross-entropy in nats, and the accuracy, on images that the weights were not trained on."""
    total, hits = 0.0, 0
    with torch.no_grad():
        for images, labels in zip(torch.split(data.images, batch), torch.split(data.labels, batch), strict=True):
            found = logits(images)
            total += float(F.cross_entropy(found, labels, reduction="sum"))
            hits += int((found.argmax(1) == labels).sum())
    return total / len(data), hits / len(data)


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


class Descent(torch.optim.SGD):
    """SGD with momentum, a cosine over all steps of ``epochs``, and clipped gradients."""

    def __init__(self, network: nn.Module, settings: SearchSettings, images: int, epochs: int) -> None:
        self.trained, self.settings = list(network.parameters()), settings
        self.steps = epochs * -(-images // settings.batch)
        lr, momentum, decay = settings.lr, settings.momentum, settings.weight_decay
        super().__init__([{"params": self.trained, "number": 0}], lr, momentum, weight_decay=decay)

    def descend(self, loss: Tensor) -> float:
        """One step down the gradient of a loss, which is returned. Raises RunError if the training has diverged."""
        (group,) = self.param_groups
        if not math.isfinite(value := float(loss.detach())):
            step = group["number"]
            raise RunError(f"the training diverged: the loss is {value} at step {step}; lower lr or the clip")
        group["lr"] = self.settings.lr * (0.5 * (1 + math.cos(math.pi * group["number"] / self.steps)))
        group["number"] += 1
        for parameter, gradient in zip(self.trained, torch.autograd.grad(loss, self.trained), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.trained, self.settings.clip)
        self.step()
        return value


class Resumable:
    """Work in steps, each done by a method ``run_epoch()`` that returns its log record.

    ``STATE`` names the attributes that change, plain values or parts with a state, so that the work can stop and go on
    between steps; ``steps`` is their number, and ``step`` the number done.
    """

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


class Training(Resumable):
    """The training of one plain network at the sizes of a choice.

    ``start`` is the network to train, in place; None draws new weights from the seed. ``taught`` are the logits of a
    teacher for every image, from which the network then learns more than from the labels.
    """

    STATE = ("step", "network", "descent")

    def __init__(
        self,
        arch: ArchDef,
        choice: Choice,
        settings: SearchSettings,
        train: Dataset,
        start: TrainableNetwork | None = None,
        taught: Tensor | None = None,
    ) -> None:
        self.settings, self.train, self.steps, self.step = settings, train, settings.train_epochs, 0
        self.taught = taught
        new = start or seeded(settings.seed, "training", lambda: TrainableNetwork(arch, choice))
        self.network: TrainableNetwork = new
        self.descent = Descent(self.network, settings, len(train), self.steps)

    def run_epoch(self) -> Record:
        """Runs one epoch; returns its log record."""
        random = generator(self.settings.seed, "training", self.step)
        total, hits = 0.0, 0
        for index in torch.split(torch.randperm(len(self.train), generator=random), self.settings.batch):
            part = self.train.take(index)
            logits = self.network(part.images)
            loss = F.cross_entropy(logits, part.labels)
            if self.taught is not None:
                loss = DISTIL * distance(logits, self.taught[index]) + (1 - DISTIL) * loss
            total += self.descent.descend(loss) * len(index)
            hits += int((logits.detach().argmax(1) == part.labels).sum())
        self.step += 1
        return {"epoch": self.step, "loss": total / len(self.train), "train_accuracy": hits / len(self.train)}

    def finish(self, rest: Dataset) -> tuple[float, float]:
        """Runs all epochs; returns loss in nats and accuracy on the rest of the images."""
        while not self.done:
            self.run_epoch()
        return held_out(self.network, rest)


class SuperNetworkTraining(Resumable):
    """The training of a super-network that knows no array and no limit, by the sandwich rule.

    Each step trains the widest network on the labels, and the narrowest and two random ones on the labels and on the
    widest one's soft output. Its weights then rank networks without any training.

    Sources: Yu and Huang, Universally slimmable networks, ICCV 2019 (sandwich rule, in-place distillation); Cai et al.,
    Once-for-all, ICLR 2020 (nested kernels).
    """

    STATE = ("step", "network", "descent")
    KIND = "super-network"
    TRAINED: ClassVar[tuple[str, ...]] = ("widest", "narrowest", "random", "random")

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch, self.settings, self.steps, self.step = arch, settings, settings.epochs, 0
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.held_out = train.take(weights), train.take(rest)
        self.network: SuperNetwork = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        self.descent = Descent(self.network, settings, len(weights), settings.epochs)
        self._sizes = arch.costs().sizes
        self.widest = {name: sizes[-1] for name, sizes in self._sizes.items()}
        self.narrowest = {name: sizes[0] for name, sizes in self._sizes.items()}

    def run_epoch(self) -> Record:
        """Runs one epoch; returns its log record."""
        random = generator(self.settings.seed, "super-network", self.step)
        totals: dict[str, float] = dict.fromkeys(self.TRAINED, 0.0)
        for images, labels in batches(self.weight_data, self.settings.batch, random):
            losses = self._losses(images, labels, random)
            self.descent.descend(torch.stack(losses).sum())
            for name, loss in zip(self.TRAINED, losses, strict=True):
                totals[name] += float(loss.detach()) * len(labels)
        self.step += 1
        means = {name: total / len(self.weight_data) / self.TRAINED.count(name) for name, total in totals.items()}
        watched = self._watched()
        accuracy = held_out(lambda images: self.network.at(images, watched), self.held_out)[1]
        return {"part": "super-network", "epoch": self.step, "losses": means, "accuracy": accuracy}

    def _watched(self) -> Choice:
        """The network whose accuracy is in the log: at the reference's sizes."""
        return {name: min(size, self.widest[name]) for name, size in self.arch.reference.items()}

    def _losses(self, images: Tensor, labels: Tensor, random: torch.Generator) -> list[Tensor]:
        widest = self.network.at(images, self.widest)
        soft = widest.detach().softmax(1)
        sizes = (self.narrowest, self._random(random), self._random(random))
        others = (self.network.at(images, each) for each in sizes)
        halves = [(F.cross_entropy(logits, labels) + F.cross_entropy(logits, soft)) / 2 for logits in others]
        return [F.cross_entropy(widest, labels), *halves]

    def _random(self, random: torch.Generator) -> dict[str, int]:
        draws = torch.rand(len(self._sizes), generator=random).tolist()
        sizes = self._sizes.items()
        return {name: s[min(int(u * len(s)), len(s) - 1)] for u, (name, s) in zip(draws, sizes, strict=True)}
