"""From a pruned module on to a smaller one: widths, scores and sizes of the module that the first step began with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from hwcost.errors import InvalidValueError
from hwcost.network.network import Network
from hwcost.pruning.batches import device_of
from hwcost.pruning.choosing import Choice
from hwcost.pruning.importance import Figures, check_scores
from hwcost.pruning.result import Pruned

__all__ = ["at_sizes", "check_after", "of_the_part", "of_the_whole", "weights_of"]


def check_after(after: Any, model: nn.Module) -> Pruned:
    """The result of an earlier pruning of a module.

    Raises:
        InvalidValueError: another object, or the result of another module.
    """
    if not isinstance(after, Pruned) or after.original is not model:
        raise InvalidValueError("after", type(after).__name__, "a result of prune for the same module")
    return after


def at_sizes(network: Network, sizes: Mapping[str, int]) -> Network:
    """The network with other sizes of widths, and the same rules.

    A module of these sizes that is read anew may have other rules: a grouped convolution with one channel for each
    group is read as a depthwise one, whose groups may go.

    >>> from hwcost import Linear
    >>> at_sizes(Network.of_layers("one", {"fc": Linear(4, 8)}), {"fc.out_features": 6})["fc"].out_features
    6
    """
    layers = network.at(sizes)
    operations = {
        name: dataclasses.replace(each, layer=layers[name]) if each.sizes else each
        for name, each in network.operations.items()
    }
    widths = {name: dataclasses.replace(each, size=sizes.get(name, each.size)) for name, each in network.widths.items()}
    return dataclasses.replace(network, operations=operations, widths=widths)


def of_the_part(after: Pruned, scores: Mapping[str, Any], names: list[str]) -> dict[str, Figures]:
    """A caller's own scores of all channels as those of the channels that are left."""
    checked = check_scores(scores, after.network, names)
    return {name: own[after.kept[name]] if name in after.kept else own for name, own in checked.items()}


def of_the_whole(after: Pruned, choice: Choice, scores: Mapping[str, Figures]) -> tuple[Choice, dict[str, Figures]]:
    """A choice and scores for the pruned module as those of the module that was pruned; channels that went have -1."""
    sizes = {**after.sizes, **choice.sizes}
    found = dict(scores)
    for name, kept in after.kept.items():
        found[name] = np.full(after.network.widths[name].size, -1.0)
        found[name][kept] = scores.get(name, 1.0)
    return choice._replace(sizes=sizes, floor=min(choice.floor, after.report.floor)), found


def weights_of(after: Pruned) -> nn.Module:
    """The module that was pruned with the weights of the smaller one, frozen where those are, and on its device."""
    whole = after.undo().to(device_of(after.model))
    named = dict(whole.named_parameters(remove_duplicate=False))
    for name, each in after.model.named_parameters(remove_duplicate=False):
        named[name].requires_grad_(each.requires_grad)
    return whole
