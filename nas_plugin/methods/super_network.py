"""A super-network that knows no array and no limit, trained by the sandwich rule.

Each step trains the widest network on the labels, and the narrowest and two random ones on the labels and on the widest
one's soft output. Its weights then rank networks without any training.

Sources: Yu and Huang, Universally slimmable networks, ICCV 2019 (sandwich rule, in-place distillation); Cai et al.,
Once-for-all, ICLR 2020 (nested kernels).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_plugin.data import Dataset, split
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Epochs, Record, batches, generator, held_out, seeded
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import Costs
from nas_plugin.space.networks import SuperNetwork

__all__ = ["SuperNetworkTraining"]


class SuperNetworkTraining(Epochs):
    """The training of a super-network.

    Args:
        arch: the search space.
        settings: of the run.
        train: its images; those for the weights are taken here.
    """

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch = arch
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.held_out = train.take(weights), train.take(rest)
        network = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        super().__init__(network, settings, self.weight_data, settings.epochs)
        self._sizes = Costs(arch).sizes
        self.widest = {name: sizes[-1] for name, sizes in self._sizes.items()}
        self.narrowest = {name: sizes[0] for name, sizes in self._sizes.items()}

    def run_epoch(self) -> Record:
        """Runs one epoch; returns its log record."""
        random = generator(self.settings.seed, "super-network", self.step)
        totals = np.zeros(3)
        for number, (images, labels) in enumerate(batches(self.weight_data, self.settings.batch, random)):
            losses = self._losses(images, labels, random)
            self.descent.step(torch.stack(losses).sum(), self.step * self.batches + number)
            widest, narrowest, *others = (float(loss.detach()) for loss in losses)
            totals += np.array([widest, narrowest, sum(others) / len(others)]) * len(labels)
        self.step += 1
        means = dict(zip(("widest", "narrowest", "random"), (totals / len(self.weight_data)).tolist(), strict=True))
        known = {name: min(size, self.widest[name]) for name, size in self.arch.reference.items()}
        reference = held_out(lambda images: self.network.at(images, known), self.held_out)
        return {"part": "super-network", "epoch": self.step, "losses": means, "accuracy": reference[1]}

    def _losses(self, images: Tensor, labels: Tensor, random: torch.Generator) -> list[Tensor]:
        widest = self.network.at(images, self.widest)
        soft = widest.detach().softmax(1)
        losses = [F.cross_entropy(widest, labels)]
        for choice in (self.narrowest, self._random(random), self._random(random)):
            logits = self.network.at(images, choice)
            losses.append((F.cross_entropy(logits, labels) + F.cross_entropy(logits, soft)) / 2)
        return losses

    def _random(self, random: torch.Generator) -> dict[str, int]:
        draws = torch.rand(len(self._sizes), generator=random).tolist()
        sizes = self._sizes.items()
        return {name: s[min(int(u * len(s)), len(s) - 1)] for u, (name, s) in zip(draws, sizes, strict=True)}
