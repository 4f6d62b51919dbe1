"""What the sizes of widths are worth, measured: the loss on held-out examples with one width alone cut.

A width is cut to several sizes at the ends of its stairs, with the statistics of batch norms of each batch, so that a
cut is not judged by statistics of another network. No training is needed, any loss and any module will do, and nothing
has to be assumed of what a channel is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from hwcost.importers.torch.resize import cut_in_place
from hwcost.network.channels import Channels
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Task
from hwcost.pruning.importance import Figures
from hwcost.pruning.norms import of_the_batch

__all__ = ["best_channels", "measured_values", "sizes_to_measure", "summed_values"]


def best_channels(scores: Figures, parts: int, size: int) -> Channels:
    """The channels with the largest scores, in order: equally many of each of ``parts`` equal parts.

    >>> best_channels(np.array([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]), 2, 4).tolist()
    [0, 2, 3, 5]
    """
    rows = scores.reshape(parts, -1)
    best = np.argsort(-rows, axis=1, kind="stable")[:, : size // parts]
    return np.sort((best + rows.shape[1] * np.arange(parts)[:, np.newaxis]).ravel())


def summed_values(scores: Figures, parts: int) -> Figures:
    """The value of every size from 1 on: the sum of the scores of the channels that stay.

    Sizes that are no multiple of ``parts`` have the value of the next smaller one that is.
    """
    rows = -np.sort(-scores.reshape(parts, -1), axis=1)
    sums = np.append(0.0, np.cumsum(rows.sum(0)))
    return sums[np.arange(1, len(scores) + 1) // parts]


def sizes_to_measure(options: Figures, most: int) -> list[int]:
    """At most ``most`` of the sizes of a width below today's, which is the last one, spread over all of them."""
    below = options[:-1]
    if len(below) <= most:
        return [int(size) for size in below]
    places = np.unique(np.round(np.linspace(0, len(below) - 1, most)).astype(int))
    return [int(size) for size in below[places]]


def measured_values(
    model: nn.Module,
    network: Network,
    scores: Mapping[str, Figures],
    sizes: Mapping[str, Sequence[int]],
    task: Task,
    batches: Sequence[Batch],
    advance: Callable[[int], Any],
    known: dict[str, dict[int, float]],
    prefix: str = "",
) -> dict[str, Figures]:
    """The value of every size of each width, which is minus the loss.

    Between two sizes that were measured the value is on the line through both. More channels are never worth less than
    fewer: the loss of a size is at most that of every smaller one.

    Args:
        model: with its weights; it is cut in place for each measurement, and afterwards as it was.
        network: what was read from it.
        scores: of the channels of each width; of every size, the best ones stay.
        sizes: that are measured, of each width; ascending, and below today's.
        task: with the loss.
        batches: held-out examples.
        advance: called with 1 after each measurement.
        known: losses that were measured before, by width and size; new ones are added. The key ``""`` is for the
            module as it is.
        prefix: of all keys in ``known``, for a module without some of its blocks.
    """

    def loss_of(width: str, size: int) -> float:
        own = known.setdefault(f"{prefix}{width}", {})
        if size not in own:
            keep = {width: best_channels(scores[width], network.widths[width].multiple, size)} if width else {}
            with cut_in_place(model, network, keep), of_the_batch(model):
                own[size] = task.measured(model, batches).loss
        advance(1)
        return own[size]

    today = loss_of("", 0)
    found = {}
    for name, own in sizes.items():
        width = network.widths[name]
        losses = [loss_of(name, size) for size in own]
        rising = np.maximum.accumulate(-np.array([*losses, today]))
        found[name] = np.interp(np.arange(1, width.size + 1), [*own, width.size], rising)
    return found
