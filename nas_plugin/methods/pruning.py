"""Pruning: the widest network is trained, networks are cut from it, and the best of them is trained on.

The channels of the widest network are put in the order of their worth, so that the networks of the search space, which
use the first channels and the centre of the kernels, are what is left of it when the others are cut.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hwcost import from_torch
from hwcost.pruning.batches import Task
from hwcost.pruning.importance import put_in_order, scores_of
from nas_plugin.images import Dataset
from nas_plugin.methods.one_shot import OneShotSearch
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record, SuperNetworkTraining, Training
from nas_plugin.space.arch_def import ArchDef, Choice
from nas_plugin.space.networks import SuperNetwork

__all__ = ["PruneSearch", "WidestTraining", "tuned"]

BATCHES = 16  # that the worth of channels is estimated on


class WidestTraining(SuperNetworkTraining):
    """The training of the widest network alone, after which the channels of each width are in order of their worth.

    The worth is the Taylor score of :func:`hwcost.torch.prune`. Kernels are drawn at random in each step: where only
    the largest are trained, their centres alone are worth nothing.
    """

    KIND = "widest-network"
    TRAINED: ClassVar[tuple[str, ...]] = ("widest",)

    def run_epoch(self) -> Record:
        """Runs one epoch, the last of which also puts the channels in order; returns its log record."""
        record = super().run_epoch()
        if self.done:
            sort_channels(self.network, self.weight_data, self.settings.batch)
        return record

    def _losses(self, images: Tensor, labels: Tensor, random: torch.Generator) -> list[Tensor]:
        drawn, maps = self._random(random), (block for block in self.arch.blocks if block.kind.on_maps)
        choice = self.widest | {block.kernel_decision: drawn[block.kernel_decision] for block in maps}
        return [F.cross_entropy(self.network.at(images, choice), labels)]

    def _watched(self) -> Choice:
        return self.widest


def sort_channels(network: SuperNetwork, data: Dataset, batch: int) -> None:
    """Puts the channels of all widths in the order of their Taylor scores, the best first; the outputs stay.

    A score is |sum of gradient * weight| over all weights and biases that make a channel.
    """
    arch = network.arch
    whole = network.slice({name: sizes[-1] for name, sizes in arch.decisions.items()})
    read = from_torch(whole, (1, arch.channels, arch.height, arch.width))
    batches = list(zip(torch.split(data.images, batch), torch.split(data.labels, batch), strict=True))[:BATCHES]
    task = Task(batches, F.cross_entropy)
    names = [f"blocks.{block.name}" for block in arch.blocks]
    scores = scores_of("taylor", whole, read, names, task, lambda: task.batches(torch.device("cpu")))
    put_in_order(network, read, scores)


def tuned(
    arch: ArchDef, choice: Choice, settings: SearchSettings, train: Dataset, weights: Mapping[str, Tensor]
) -> Training:
    """The training of a network that is cut from the widest one, on labels and on the outputs of the widest one."""
    network = SuperNetwork(arch)
    network.load_state_dict(weights)
    return Training(arch, choice, settings, train, network.slice(choice), taught_by(network, train))


@torch.no_grad()
def taught_by(network: SuperNetwork, train: Dataset) -> Tensor:
    """The logits of the widest network for all images."""
    widest = {name: sizes[-1] for name, sizes in network.arch.decisions.items()}
    return torch.cat([network.at(images, widest) for images in torch.split(train.images, 1000)])


class PruneSearch(OneShotSearch):
    """Trains the widest network, scores what can be cut from it, trains the best on for a while, and takes the best.

    Candidates and scores are those of the one-shot search. In the final every network is trained on from the weights
    that it keeps, on the labels and on the outputs of the widest network.
    """

    TRAINING = WidestTraining
    SECOND = 0

    @functools.cached_property
    def _taught(self) -> Tensor:
        return taught_by(self.training.network, self.training.weight_data)

    def _training(self, choice: Choice, settings: SearchSettings, tunes: bool) -> Training:
        start, data = self.training.network.slice(choice), self.training.weight_data
        return Training(self.arch, choice, settings, data, start, self._taught)

    def weights(self) -> SuperNetwork:
        """The widest network, from which the winner is cut."""
        return self.training.network
