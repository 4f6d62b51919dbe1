"""Whether a loss reaches the parameters that it has to train, in one line."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hwcost.errors import InvalidValueError, NoGradientError, shorten
from hwcost.units import shortlist

__all__ = ["GradientCheck", "check_gradient"]

Parameters: TypeAlias = Mapping[str, Tensor] | Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Tensor


@dataclass(frozen=True)
class GradientCheck:
    """The result of :func:`check_gradient`; ``str()`` is one line, and it is true if every parameter is reached.

    Attributes:
        slopes: for each parameter that is reached, the slope of the loss that is largest in magnitude, signed.
        missed: for each parameter that is not, why.
        no_graph: why the loss cannot reach any parameter; empty if it can.
    """

    slopes: Mapping[str, float]
    missed: Mapping[str, str]
    no_graph: str = ""

    def __bool__(self) -> bool:
        return not self.missed

    def __str__(self) -> str:
        count = len(self.slopes) + len(self.missed)
        reached = f"{len(self.slopes) or 'none'} of {count} parameter{'s' * (count != 1)}"
        if self.no_graph:
            return f"the loss reaches {reached}: {self.no_graph}"
        parts = [f"the loss reaches {reached}"]
        if self.slopes:
            name = max(self.slopes, key=lambda name: abs(self.slopes[name]))
            parts.append(f"largest slope {self.slopes[name]:.3g} at {shorten(name)}")
        for reason in dict.fromkeys(self.missed.values()):
            names = [shorten(name) for name, why in self.missed.items() if why == reason]
            parts.append(f"not {shortlist(names, 4)} ({reason})")
        return "; ".join(parts)


def check_gradient(loss: Tensor | float, parameters: Parameters) -> GradientCheck:
    """Whether a loss, a latency term for example, reaches the architecture parameters that it is to train.

    ``print(check_gradient(loss, alphas))`` prints one line: how many parameters are reached, the largest slope and its
    place, and which are missed and why. A parameter is reached if its slopes are finite and not all 0. The graph of the
    loss stays usable, and no ``.grad`` is touched.

    Args:
        loss: one number. A Python number is accepted too and reaches nothing: some hosts turn a penalty into one.
        parameters: by name, or pairs of a name and a tensor (``module.named_parameters()``), or a sequence of tensors,
            which are then named by their positions. Anything that the loss may depend on, probabilities included.

    Raises:
        InvalidValueError: no parameter, something that is not a tensor, a repeated name; a loss that is not one number.
        NoGradientError: a loss whose graph has been freed, by ``backward()`` for example.

    >>> alphas = {"width": torch.zeros(2, requires_grad=True), "kernel": torch.zeros(2, requires_grad=True)}
    >>> loss = (alphas["width"].softmax(0) * torch.tensor([8.0, 16.0])).sum()
    >>> print(check_gradient(loss, alphas))
    the loss reaches 1 of 2 parameters; largest slope -2 at 'width'; not 'kernel' (the loss does not depend on it)
    >>> bool(check_gradient(loss, {"width": alphas["width"]}))
    True
    >>> print(check_gradient(loss.item(), alphas))
    the loss reaches none of 2 parameters: it is a plain number, without a graph
    """
    named = _named(parameters)
    no_graph = _no_graph(loss)
    if no_graph:
        return GradientCheck({}, dict.fromkeys(named, no_graph), no_graph)
    open_ones = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    found = dict(zip(open_ones, _slopes(loss, list(open_ones.values())), strict=True))
    reached = {name: _largest(found[name]) if name in found else "requires_grad is False" for name in named}
    slopes = {name: slope for name, slope in reached.items() if not isinstance(slope, str)}
    return GradientCheck(slopes, {name: why for name, why in reached.items() if isinstance(why, str)})


def _named(parameters: Any) -> dict[str, Tensor]:
    if isinstance(parameters, Tensor):  # its rows would be new tensors, on which the loss does not depend
        parameters = [parameters]
    if not isinstance(parameters, Iterable):
        raise InvalidValueError("parameters", parameters, "tensors, by name or in a sequence")
    items = parameters.items() if isinstance(parameters, Mapping) else parameters
    pairs = [item if isinstance(item, tuple) else (str(i), item) for i, item in enumerate(items)]
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise InvalidValueError("parameters", pair, "tensors, by name or in a sequence")
    named = {str(name): tensor for name, tensor in pairs}
    if not named or len(named) != len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidValueError("parameters", names, "at least one tensor, and names that differ")
    return named


def _no_graph(loss: Any) -> str:
    """Why the loss has no graph; empty if it has one."""
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise InvalidValueError("loss", tuple(loss.shape), "a tensor of one number; sum it first")
        return "" if loss.requires_grad else "it has no graph (detached, or computed without gradient)"
    if not isinstance(loss, numbers.Real):
        raise InvalidValueError("loss", loss, "a tensor of one number")
    return "it is a plain number, without a graph"


def _slopes(loss: Any, tensors: list[Tensor]) -> tuple[Tensor | None, ...]:
    if not tensors:
        return ()
    try:
        return torch.autograd.grad(loss, tensors, torch.ones_like(loss), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise NoGradientError(
            "the graph of the loss has been freed; check it before backward(), or call backward(retain_graph=True)"
        ) from error


def _largest(slopes: Tensor | None) -> float | str:
    """The slope that is largest in magnitude, or why the parameter is not reached."""
    if slopes is None:
        return "the loss does not depend on it"
    values = slopes.detach().to_dense().flatten()
    if not torch.isfinite(values).all():
        return "slopes are not finite"
    return float(values[values.abs().argmax()]) if values.count_nonzero() else "all slopes are 0: a plateau"
