"""Masks on the channels of any module: each counts by the probability of the sizes that keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from hwcost.importers.torch.resize import tensors_of
from hwcost.network.channels import channels_along
from hwcost.network.network import Network
from hwcost.pruning.curves import best_channels
from hwcost.pruning.slicing import swapped

__all__ = ["Masked"]


class Masked(nn.Module):
    """A module whose channels are masked by the probabilities of the sizes of its widths.

    A channel's mask is the sum of the probabilities of the sizes that keep it. It is multiplied onto the weights that
    read the channel, so that each layer sees it once, behind norms and activations; where no weight reads a width, onto
    all that follow it. If one size of each width has a probability of 1, the outputs are those of the module that is
    cut to these sizes, unless a norm goes over the channels. Source: Wan et al., FBNetV2, CVPR 2020.

    Args:
        model: the module that the network was imported from.
        space: what was read from it, with open widths.
        scores: of the channels of each open width; of every size, the best ones stay.

    Attributes:
        probs: by width the probabilities of its options; by default all of the last one.
    """

    def __init__(self, model: nn.Module, space: Network, scores: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self.probs: Mapping[str, Tensor] = {}
        self._keeps = {
            name: torch.from_numpy(_keeps(scores[name], space.widths[name].multiple, sizes))
            for name, sizes in space.options.items()
        }
        self._axes = dict(_masked_axes(model, space))

    def forward(self, *args: Any, **named: Any) -> Any:
        """The outputs under the probabilities."""
        places, tensors = tensors_of(self.model), dict[str, Tensor]()
        masks = {name: self._mask(name, each) for name, each in self.probs.items()}
        known: dict[int, Tensor] = {}
        for name, axes in self._axes.items():
            tensor = places[name][2]
            if id(tensor) not in known:
                known[id(tensor)] = _times(tensor, axes, masks)
            tensors[name] = known[id(tensor)]
        with swapped(self.model, tensors):
            return self.model(*args, **named)

    def _mask(self, name: str, probs: Tensor) -> Tensor:
        """The mask of each channel, and a 1 for entries that belong to other widths."""
        mask = probs @ self._keeps[name].to(probs)
        return torch.cat([mask, mask.new_ones(1)])


def _keeps(scores: Any, parts: int, sizes: Sequence[int]) -> Any:
    """Which channels each size keeps: a row for each size."""
    rows = np.zeros((len(sizes), len(scores)), dtype=np.float32)
    for row, size in zip(rows, sizes, strict=True):
        row[best_channels(scores, parts, size)] = 1
    return rows


Axes = list[tuple[int, dict[str, Tensor]]]
"""The axes of a parameter that are masked, each with the channel of every entry, by width; a row for each group."""


def _masked_axes(model: nn.Module, space: Network) -> Iterator[tuple[str, Axes]]:
    """The parameters that are masked."""
    places = tensors_of(model)
    names = [name for name in space.parameters if isinstance(places[name][2], nn.Parameter)]
    followed: dict[str, list[tuple[str, int]]] = {name: [] for name in space.options}
    for name in names:
        for axis, rule in enumerate(space.parameters[name]):
            for width, _ in rule:
                if width in followed:
                    followed[width].append((name, axis))
    masked = set()
    for width, own in followed.items():
        reads = [each for each in own if each[1] == _reading_axis(places[each[0]][0], each[1])]
        masked |= {(*each, width) for each in reads or own}
    for name in names:
        axes: Axes = []
        for axis, rule in enumerate(space.parameters[name]):
            widths = [width for width, _ in rule if (name, axis, width) in masked]
            along = {width: torch.from_numpy(channels_along(rule, space.widths, width)) for width in widths}
            if along:
                axes.append((axis, along))
        if axes:
            yield name, axes


def _reading_axis(owner: nn.Module, axis: int) -> int:
    """Which axis of a weight is along what it reads: any but the first, or the first of transposed convolutions."""
    return 0 if isinstance(owner, _ConvTransposeNd) else max(axis, 1)


def _times(tensor: Tensor, axes: Axes, masks: Mapping[str, Tensor]) -> Tensor:
    """A parameter times the masks of its axes."""
    for axis, along in axes:
        for width, channels in along.items():
            if width in masks:
                factor = masks[width][channels.to(tensor.device)]
                groups, entries = factor.shape
                if groups > 1:  # equal parts of axis 0, each with its own mask
                    factor = factor.repeat_interleave(tensor.shape[0] // groups, 0)
                shape = [len(factor) if groups > 1 else 1, *[1] * (tensor.dim() - 1)]
                shape[axis] = entries
                tensor = tensor * factor.reshape(shape)
    return tensor
