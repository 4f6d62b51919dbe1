"""What a result follows from: a loss, as a text that is the same in every process, and versions."""

from __future__ import annotations

import functools
import platform
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from hwcost._version import __version__
from hwcost.files import digest
from hwcost.pruning.weights import bytes_of

__all__ = ["identity_of", "made_with"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_DEEPEST = 10


def identity_of(value: Any, depth: int = _DEEPEST) -> str:
    """What a function follows from, as far as it can be told: its name, code, defaults and the values that it holds.

    Functions with different texts differ. Two with the same text may differ in objects that they hold, or in other
    functions that they call.

    >>> def power(by):
    ...     return lambda outputs, targets: ((outputs - targets).abs() ** by).mean()
    >>> identity_of(power(2)) == identity_of(power(2)), identity_of(power(2)) == identity_of(power(3))
    (True, False)
    """
    if isinstance(value, _PLAIN):
        return repr(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    parts = next((own(value) for kind, own in _PARTS if isinstance(value, kind)), ()) if depth else ()
    return f"{name}({', '.join(identity_of(each, depth - 1) for each in parts)})"


def _of_module(module: nn.Module) -> tuple[Any, ...]:
    own = sorted(each for each in vars(module).items() if not each[0].startswith("_"))
    return (*own, *module.state_dict().items(), *module.children())


def _of_function(function: types.FunctionType) -> tuple[Any, ...]:
    named = (function.__kwdefaults__ or {}).items()
    return (function.__code__, function.__defaults__, *named, *_held(function))


def _held(function: types.FunctionType) -> Iterator[Any]:
    """The values of the variables around a function, as far as they have any."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None


_PARTS: tuple[tuple[type, Callable[[Any], tuple[Any, ...]]], ...] = (
    (tuple, tuple),
    (frozenset, lambda own: tuple(sorted(own, key=repr))),
    (Tensor, lambda own: (str(own.dtype), tuple(own.shape), digest(bytes_of(own)))),
    (nn.Module, _of_module),
    (functools.partial, lambda own: (own.func, *own.args, *sorted(own.keywords.items()))),
    (types.MethodType, lambda own: (own.__func__, own.__self__)),
    (types.CodeType, lambda own: (own.co_code, own.co_names, own.co_consts)),
    (types.FunctionType, _of_function),
)
"""The kinds of values that are more than their name, and what they follow from."""


def made_with(device: torch.device | str = "cpu") -> dict[str, str]:
    """Versions and device: what a figure in a result file depends on besides the settings."""
    versions = {"hwcost": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    of_machine = {"python": platform.python_version(), "machine": platform.machine(), "device": str(device)}
    return versions | of_machine
