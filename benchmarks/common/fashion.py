"""Fashion-MNIST for benchmarks that prune: some images to train on, some held out, and trainings of small networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hwcost.pruning.batches import Task
from hwcost.pruning.tuning import Tuning
from nas_plugin.images import load
from nas_plugin.sources import FULL

__all__ = ["EXAMPLE", "IMAGES", "Data", "new", "task_of", "trained", "tuned"]

EXAMPLE = torch.zeros(1, 1, 28, 28)
IMAGES, HELD_OUT = 12_000, 2_000


class Batches:
    """Images and labels in random order, by PyTorch's generator."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, size: int) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.images))
        for start in range(0, len(order), self.size):
            yield self.images[order[start : start + self.size]], self.labels[order[start : start + self.size]]


class Data:
    """The images of one seed: for weights, held out, and for the test."""

    def __init__(self, seed: int) -> None:
        train, test = load(FULL, classes=10, shape=(28, 28))
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        self.images = train.images[order[: IMAGES + HELD_OUT]].contiguous()
        self.labels = train.labels[order[: IMAGES + HELD_OUT]]
        self.test = test.images.contiguous(), test.labels

    def batches(self, count: int = IMAGES, size: int = 125) -> Batches:
        """Of the first images to train on."""
        return Batches(self.images[:count], self.labels[:count], size)

    def loader(self, size: int = 125) -> DataLoader[Any]:
        """Of all images to train on, as PyTorch's own."""
        return DataLoader(TensorDataset(self.images[:IMAGES], self.labels[:IMAGES]), size, shuffle=True)

    @property
    def held_out(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The other images, in batches."""
        return list(zip(self.images[IMAGES:].split(250), self.labels[IMAGES:].split(250), strict=True))

    def tested(self, model: nn.Module) -> float:
        """The accuracy on the test images, in percent."""
        images, labels = self.test
        with torch.no_grad():
            found = torch.cat([model(part).argmax(1) for part in images.split(1000)])
        return 100 * float((found == labels).float().mean())


def task_of(batches: Batches) -> Task:
    return Task(batches, F.cross_entropy)


def trained(model: nn.Module, data: Data, seed: int, epochs: int, images: int = IMAGES) -> nn.Module:
    """A module trained in place."""
    tuning = Tuning(model, None, task_of(data.batches(images)), epochs, make_optimizer=_optimizer, seed=seed)
    while tuning.epoch < epochs:
        tuning.run_epoch()
    return model.eval()


def new(model: nn.Module, seed: int) -> nn.Module:
    """A copy of a module with new weights."""
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def _optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


def tuned(model: nn.Module, teacher: nn.Module, data: Data, seed: int, images: int, epochs: int) -> nn.Module:
    """A copy of a pruned network, fine-tuned."""
    model = copy.deepcopy(model)
    tuning = Tuning(model, teacher, task_of(data.batches(images, 100)), epochs, seed=seed)
    while tuning.epoch < epochs:
        tuning.run_epoch()
    return model.eval()
