"""What the channels of each width are worth, by the parameters that follow them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hwcost.errors import InvalidValueError, unknown
from hwcost.network.channels import channels_along
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Task
from hwcost.pruning.norms import evaluated

__all__ = ["SCORES", "Figures", "Score", "check_kind", "check_scores", "put_in_order", "scores_of"]

Figures: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class Channels(NamedTuple):
    """The parameters that follow a width.

    Attributes:
        norms: weights and biases of batch norms over its channels.
        own: all others whose filters, along axis 0, make its channels.
        all: every parameter that follows it.
    """

    norms: list[tuple[str, int]]
    own: list[tuple[str, int]]
    all: list[tuple[str, int]]


class Scored:
    """A module, and what the channels of its widths add up from its parameters."""

    def __init__(self, model: nn.Module, network: Network, names: Iterable[str]) -> None:
        self.network = network
        self.tensors = dict(model.named_parameters(remove_duplicate=False))
        norms = {
            f"{path}.{own}" if path else own
            for path, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            for own in ("weight", "bias")
        }
        self.widths = {name: self._followers(name, norms) for name in names}

    def _followers(self, name: str, norms: set[str]) -> Channels:
        found = Channels([], [], [])
        seen = set()
        for parameter, rules in self.network.parameters.items():
            tensor = self.tensors.get(parameter)
            if tensor is None or not tensor.is_floating_point():
                continue
            for axis, rule in enumerate(rules):
                if any(width == name for width, _ in rule) and (id(tensor), axis) not in seen:
                    seen.add((id(tensor), axis))
                    found.all.append((parameter, axis))
                    if parameter in norms:
                        found.norms.append((parameter, axis))
                    elif axis == 0:
                        found.own.append((parameter, axis))
        return found

    def added_up(self, name: str, followers: Iterable[tuple[str, int]], values: Mapping[str, Tensor]) -> Figures:
        """The sum over all entries that belong to each channel of a width; ``values`` are of the parameters' shapes."""
        total = np.zeros(self.network.widths[name].size)
        for parameter, axis in followers:
            own = values[parameter]
            along = channels_along(self.network.parameters[parameter][axis], self.network.widths, name)
            for part, channels in zip(own.chunk(len(along)), along, strict=True):
                sums = part.movedim(axis, 0).reshape(part.shape[axis], -1).sum(1).double().cpu().numpy()
                belongs = channels >= 0
                np.add.at(total, channels[belongs], sums[belongs])
        return total


Batches: TypeAlias = Callable[[], Iterator[Batch]] | None
Score: TypeAlias = Callable[[Scored, Task | None, Batches, nn.Module], dict[str, Figures]]


def _taylor(scored: Scored, task: Task | None, batches: Any, model: nn.Module) -> dict[str, Figures]:
    """What the loss would change if a channel were 0, to first order: the mean over batches of its absolute value.

    Over the batch norms of a width's channels, weight times gradient plus bias times gradient; if it has none, over
    the filters that make them. Source: Shen et al., Structural pruning via latency-saliency knapsack (HALP), NeurIPS
    2022, after Molchanov et al., CVPR 2019.
    """
    assert task is not None
    parameters = {id(each): each for each in scored.tensors.values() if each.is_floating_point()}
    total: dict[str, Figures] = defaultdict(lambda: np.zeros(1))
    wanted = {each: each.requires_grad for each in parameters.values()}
    count = 0
    try:
        for each in wanted:
            each.requires_grad_(True)
        with evaluated(model), torch.enable_grad():
            for batch in batches():
                _, loss = task.of(model, batch)
                gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                of = dict(zip(parameters, gradients, strict=True))
                values = {
                    name: torch.zeros_like(tensor) if of.get(id(tensor)) is None else tensor.detach() * of[id(tensor)]
                    for name, tensor in scored.tensors.items()
                }
                for name, followers in scored.widths.items():
                    own = followers.norms or followers.own or followers.all
                    total[name] = total[name] + np.abs(scored.added_up(name, own, values))
                count += 1
    finally:
        for each, before in wanted.items():
            each.requires_grad_(before)
    return {name: each / count for name, each in total.items()}


def _magnitude(scored: Scored, task: Any, batches: Any, model: nn.Module) -> dict[str, Figures]:
    """The norm of all weights that follow a channel, over the mean of its width: no width is favoured as a whole.

    Source: Li et al., Pruning filters for efficient convnets, ICLR 2017; over groups, Fang et al., DepGraph, CVPR 2023.
    """
    squares = {name: tensor.detach().square() for name, tensor in scored.tensors.items()}
    found = {name: np.sqrt(scored.added_up(name, own.all, squares)) for name, own in scored.widths.items()}
    return {name: each / (each.mean() or 1.0) for name, each in found.items()}


def _norm(scored: Scored, task: Any, batches: Any, model: nn.Module) -> dict[str, Figures]:
    """The absolute weights of the batch norms over a channel; widths without any count as 1 each.

    Source: Liu et al., Learning efficient convolutional networks through network slimming, ICCV 2017.
    """
    weights = {name: tensor.detach().abs() for name, tensor in scored.tensors.items()}
    found = {}
    for name, own in scored.widths.items():
        scales = [each for each in own.norms if each[0].endswith("weight")]
        found[name] = scored.added_up(name, scales, weights) if scales else np.ones(scored.network.widths[name].size)
    return found


SCORES: Mapping[str, tuple[Score, bool]] = MappingProxyType(
    {"taylor": (_taylor, True), "magnitude": (_magnitude, False), "norm": (_norm, False)}
)
"""Scores of channels by name, and whether they need data."""


def scores_of(
    method: str,
    model: nn.Module,
    network: Network,
    names: Iterable[str],
    task: Task | None = None,
    batches: Callable[[], Iterator[Batch]] | None = None,
) -> dict[str, Figures]:
    """The score of every channel of some widths.

    Args:
        method: a name of :data:`SCORES`.
        model: with its weights.
        network: what was read from it.
        names: of the widths.
        task, batches: for the scores that need data: a loss, and the batches of one pass.
    """
    score, needs_data = SCORES[method]
    if needs_data and (task is None or batches is None):
        raise InvalidValueError("importance", method, "pass data, or use one of 'magnitude' and 'norm'")
    found = score(Scored(model, network, names), task, batches, model)
    for name, own in found.items():
        if not np.isfinite(own).all():
            allowed = "data, weights and a loss without nan and infinity"
            raise InvalidValueError(f"the scores of the channels of {name!r}", "not finite", allowed)
    return found


@torch.no_grad()
def put_in_order(model: nn.Module, network: Network, scores: Mapping[str, Figures]) -> None:
    """Puts the channels of some widths in the order of their scores, the best first; what the module computes stays.

    Args:
        model: changed in place; it has the parameters of the network, by the same names.
        network: with its rules.
        scores: of the channels of each width, none of which follows groups.
    """
    for parameter, rules in network.parameters.items():
        target = model.get_parameter(parameter)
        for axis, rule in enumerate(rules):
            for name in scores.keys() & {width for width, _ in rule}:
                channels = channels_along(rule, network.widths, name)[0]
                order = np.argsort(-scores[name][channels], kind="stable")
                target.copy_(target.index_select(axis, torch.from_numpy(order).to(target.device)))


def check_kind(importance: Any) -> None:
    """Raises unless an importance is a name, scores by width, or a function."""
    if not isinstance(importance, (str, Mapping)) and not callable(importance):
        allowed = "a name like 'taylor', a mapping from widths to scores, or a function that returns one"
        raise InvalidValueError("importance", importance, allowed)


def check_scores(given: Mapping[str, Any], network: Network, names: Iterable[str]) -> dict[str, Figures]:
    """A caller's own scores, checked.

    Raises:
        InvalidValueError: a width that is unknown or cannot change, scores of another number, negative or not finite.
    """
    found, known = {}, list(names)
    for name, scores in given.items():
        if name not in known:
            raise InvalidValueError("importance", name, known, form=unknown("width that can change"))
        size = network.widths[name].size
        allowed = f"{size} finite numbers of at least 0, one for each channel"
        try:
            own = np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidValueError(f"importance[{name!r}]", scores, allowed) from None
        if own.shape != (size,) or not np.isfinite(own).all() or own.min() < 0:
            raise InvalidValueError(f"importance[{name!r}]", scores, allowed)
        found[name] = own
    if not found:
        raise InvalidValueError("importance", given, "scores of the channels of at least one width")
    return found
