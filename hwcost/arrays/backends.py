"""Array libraries: one row of functions each, and what finds the row of an array.

A library without a row goes through the array API standard. The imports inside functions are on purpose: an optional
library is loaded when an array of it is seen, and tracing compilers follow imports where they would warn about a cache.
"""

# ruff: noqa: PLW0108  (a lambda delays the import of a library)
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import MixedLibrariesError

__all__ = ["BACKENDS", "NUMBERS", "Array", "Backend", "Size", "backend_of", "has_library", "is_number", "namespace"]

Array: TypeAlias = Any
"""An array of any supported library (numpy, torch, JAX, or anything that follows the array API standard)."""

Size: TypeAlias = Any
"""A Python integer (exact at any magnitude), an integer array (a sweep), or a float array (a soft width)."""


def _log_sigmoid(x: Array) -> Array:
    xp = namespace(x)
    return xp.clip(x, max=0.0) - xp.log1p(xp.exp(-xp.abs(x)))


def _constant(values: Sequence[int | float], like: Array) -> Array:
    import array_api_compat

    return namespace(like).asarray(values, dtype=like.dtype, device=array_api_compat.device(like))


class Backend(NamedTuple):
    """The operations whose best form differs between array libraries; by default those of the standard.

    Attributes:
        namespace: returns the module whose functions follow the array API standard.
        is_float: whether the dtype of an array is a real floating-point one.
        sigmoid: 1 / (1 + exp(-x)) without overflow.
        log_sigmoid: its logarithm without overflow.
        clip: the values limited to [low, high].
        unstack: the arrays along the first axis.
        stop_gradient: the same values, without a gradient.
        is_compiling: whether a compiler is tracing, so that no code may look at values.
        constant: numbers as an array with the dtype and device of another.
        checks_float_values: whether the values of float arrays are checked at construction. Libraries with gradients
            skip the check, because it stalls an accelerator.
        is_at_hand: whether the values of an array can be looked at without stalling an accelerator; then those of
            results are checked.
        mixes_kinds: whether an operation takes an integer and a float array; the standard leaves that open.
        copy: an array that does not change with the given one, if that has no gradient.
    """

    namespace: Callable[[], Any]
    is_float: Callable[[Array], bool] = lambda x: namespace(x).isdtype(x.dtype, "real floating")
    sigmoid: Callable[[Array], Array] = lambda x: 0.5 * namespace(x).tanh(0.5 * x) + 0.5
    log_sigmoid: Callable[[Array], Array] = _log_sigmoid
    clip: Callable[[Array, float, float | None], Array] = lambda x, low, high: namespace(x).clip(x, low, high)
    unstack: Callable[[Array], Sequence[Array]] = lambda x: namespace(x).unstack(x)
    stop_gradient: Callable[[Array], Array] = lambda x: x
    is_compiling: Callable[[], bool] = lambda: False
    constant: Callable[[Sequence[int | float], Array], Array] = _constant
    checks_float_values: bool = True
    is_at_hand: Callable[[Array], bool] = lambda x: True
    mixes_kinds: bool = False
    copy: Callable[[Array], Array] = lambda x: namespace(x).asarray(x, copy=True)


def _torch() -> Any:
    import torch

    return torch


def _torch_namespace() -> Any:
    import array_api_compat.torch as xp

    return xp


def _jax() -> Any:
    import jax

    return jax


def _jax_namespace() -> Any:
    import jax.numpy as xp

    return xp


def _strict() -> Any:
    import array_api_strict

    return array_api_strict


_TORCH_ROW = Backend(
    _torch_namespace,
    is_float=lambda x: x.dtype.is_floating_point,
    sigmoid=lambda x: x.sigmoid(),
    log_sigmoid=lambda x: _torch().nn.functional.logsigmoid(x),
    clip=lambda x, low, high: x.clamp(low, high),
    unstack=lambda x: x.unbind(),
    stop_gradient=lambda x: x.detach(),
    is_compiling=lambda: _torch().compiler.is_compiling(),
    constant=lambda values, like: _torch().tensor(values, dtype=like.dtype, device=like.device),
    checks_float_values=False,
    is_at_hand=lambda x: x.device.type == "cpu" and not _torch().jit.is_tracing(),
    mixes_kinds=True,
    copy=lambda x: x if x.requires_grad else x.clone(),
)
_JAX_ROW = Backend(
    _jax_namespace,
    sigmoid=lambda x: _jax().nn.sigmoid(x),
    log_sigmoid=lambda x: _jax().nn.log_sigmoid(x),
    stop_gradient=lambda x: _jax().lax.stop_gradient(x),
    checks_float_values=False,
    is_at_hand=lambda x: not isinstance(x, _jax().core.Tracer) and x.platform() == "cpu",
    mixes_kinds=True,
    copy=lambda x: x,  # it cannot be changed
)

BACKENDS = MappingProxyType(
    {
        "numpy": Backend(
            lambda: np,
            is_float=lambda x: x.dtype.kind == "f",
            constant=lambda values, like: np.asarray(values, dtype=like.dtype),
            mixes_kinds=True,
        ),
        "torch": _TORCH_ROW,
        "jax": _JAX_ROW,
        "jaxlib": _JAX_ROW,
        "array_api_strict": Backend(_strict),
    }
)
"""Backends by the top-level module that defines the type of an array."""


def _root(value: object) -> str:
    return type(value).__module__.partition(".")[0]


NUMBERS: Any = (int, float, np.generic)
"""The types of :func:`is_number`, for tests in line: a call costs as much as the arithmetic of two numbers."""


def is_number(value: object) -> bool:
    """True for Python and numpy scalars, as opposed to arrays."""
    return isinstance(value, NUMBERS)


def has_library(value: object) -> bool:
    """True for arrays of a library that has a row or follows the array API standard."""
    if _root(value) in BACKENDS:
        return True
    import array_api_compat

    return array_api_compat.is_array_api_obj(value)


def backend_of(array: Array) -> Backend:
    """The row of the library of ``array``, or a row of the standard's operations if it has none."""
    row = BACKENDS.get(_root(array))
    return Backend(functools.partial(_standard_namespace, array)) if row is None else row


def namespace(*values: Any) -> Any:
    """The array API namespace of the arrays among ``values``; None if all are numbers.

    Raises:
        MixedLibrariesError: arrays of two libraries, or a value that is neither number nor array.
    """
    row: Backend | None = None
    seen: type | None = None
    for value in values:
        if isinstance(value, NUMBERS) or type(value) is seen:
            continue
        seen, own = type(value), BACKENDS.get(_root(value))
        if own is None or (row is not None and own is not row):
            return _standard_namespace(*(value for value in values if not is_number(value)))
        row = own
    return None if row is None else row.namespace()


def _standard_namespace(*arrays: Array) -> Any:
    import array_api_compat

    try:
        return array_api_compat.array_namespace(*arrays)
    except TypeError:
        kinds = sorted({f"{type(array).__module__}.{type(array).__qualname__}" for array in arrays})
        raise MixedLibrariesError(
            f"one call got sizes of different or unknown libraries: {', '.join(kinds)}; allowed: Python integers "
            "together with arrays of one library (numpy, torch, JAX, array API); convert them to one library first"
        ) from None
