"""An optimizer of a smaller module that goes on where one of the larger module is."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from hwcost.errors import InvalidValueError
from hwcost.importers.torch.resize import cut_tensor

__all__ = ["mapped"]

_ALLOWED = "an optimizer with a state for each parameter, as SGD and Adam, or a new one for the smaller module"
_STATE = ("defaults", "state", "param_groups")
_OF_SCHEDULERS = "_opt_called"


def mapped(
    optimizer: Optimizer,
    names: Mapping[int, str],
    parameters: Mapping[str, nn.Parameter],
    stays_of: Callable[[str], Mapping[int, Any]],
) -> Optimizer:
    """An optimizer of the same class and settings over other parameters, with the states cut as they are.

    It has neither the hooks nor the learning rate schedulers of the first one, which move that one.

    Args:
        optimizer: it is not changed.
        names: of its parameters, by their ids.
        parameters: the smaller ones, by name; what is not among them is left out.
        stays_of: from a name to the masks of what stays, by axis.

    Raises:
        InvalidValueError: tensors that belong to no one parameter, as those of LBFGS.
    """
    kind = type(optimizer)
    plain = {}
    for name, value in vars(optimizer).items():
        if name not in _STATE and _has_tensors(value):
            reason = f"{kind.__name__} keeps tensors of all parameters as {name!r}"
            raise InvalidValueError("optimizer", kind.__name__, _ALLOWED, reason=reason)
        if isinstance(value, (bool, int, float, str, type(None))) and name != _OF_SCHEDULERS:
            plain[name] = value
    state: defaultdict[Tensor, Any] = defaultdict(dict)
    groups = []
    for group in optimizer.param_groups:
        for old in group["params"]:
            name = names[id(old)]
            if old in optimizer.state and name in parameters:
                stays = stays_of(name)
                state[parameters[name]] = {
                    key: _cut(kind.__name__, key, value, old, stays) for key, value in optimizer.state[old].items()
                }
        own = [parameters[name] for old in group["params"] if (name := names[id(old)]) in parameters]
        settings = {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
        groups.append(settings | {"params": own})
    found = kind.__new__(kind)
    vars(found).update(plain)
    found.__setstate__({"defaults": copy.deepcopy(optimizer.defaults), "state": state, "param_groups": groups})
    return found


def _has_tensors(value: Any) -> bool:
    return any(isinstance(leaf, (Tensor, Optimizer)) for leaf in tree_leaves(value))


def _cut(kind: str, key: str, value: Any, parameter: Tensor, stays: Mapping[int, Any]) -> Any:
    """A part of the state of a parameter, whose axes are those of the parameter, or 1 as in factors of its square."""
    if not isinstance(value, Tensor) and not _has_tensors(value):
        return copy.deepcopy(value)
    if isinstance(value, Tensor) and ((value.numel() == 1 and value.dim() < 2) or not stays):
        return value.detach().clone()
    if isinstance(value, Tensor) and value.dim() == parameter.dim():
        own = {axis: rows for axis, rows in stays.items() if value.shape[axis] > 1}
        fits = all(size in (1, whole) for size, whole in zip(value.shape, parameter.shape, strict=True))
        if fits and (value.shape[0] > 1 or all(len(rows) == 1 for rows in own.values())):
            with torch.no_grad():
                return cut_tensor(value, own).clone()
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    reason = f"{kind} keeps {key!r} of {shape} for a parameter of {tuple(parameter.shape)}"
    raise InvalidValueError("optimizer", kind, _ALLOWED, reason=reason)
