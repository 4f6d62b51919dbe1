"""The elements of small tensors that a graph computes shapes and numbers of runs from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from hwcost.importers.rules import CannotPriceError
from hwcost.importers.tflite.calls import OperatorCall, Value
from hwcost.importers.tflite.cuts import cuts_of

__all__ = ["fold"]

Array: TypeAlias = np.ndarray[Any, Any]
_MOST = 4096
_MOST_AXES = 32
"""Elements of a tensor that is computed, and its axes."""


def fold(call: OperatorCall) -> None:
    """Computes the elements of the outputs, if all inputs that they depend on are known, and they are few."""
    out = call.outputs[0] if call.outputs else None
    if out is None or out.shape is None or out.size > _MOST or len(out.shape) > _MOST_AXES:
        return
    if call.kind in ("SHAPE", "RANK"):
        shape = None if call.get(0) is None else call[0].shape
        if shape is not None:
            _set(out, np.asarray(shape if call.kind == "SHAPE" else len(shape), np.int64))
        return
    compute = _FOLDED.get(call.kind)
    arrays = [value.constant for value in call.inputs]
    if compute is None or not arrays or any(each is None for each in arrays):
        return
    try:
        with np.errstate(all="ignore"):
            found = compute(call, *arrays)
    except (CannotPriceError, ArithmeticError, LookupError, TypeError, ValueError):  # then they are unknown
        return
    for value, array in zip(call.outputs, found if isinstance(found, list) else [found], strict=False):
        _set(value, np.asarray(array))


def _set(value: Value, array: Array) -> None:
    if array.shape == value.shape:
        value.constant = array


def _elementwise(compute: Callable[..., Any], inputs: int = 2) -> Callable[..., Any]:
    def computed(call: OperatorCall, *arrays: Array) -> Any:
        if len(arrays) != inputs:  # numpy would take one more for the place of the result
            raise CannotPriceError(f"it has {len(arrays)} inputs, not {inputs}")
        return compute(*arrays)

    return computed


def _divide(a: Array, b: Array) -> Array:
    """A quotient, which for integers is cut off towards 0."""
    found: Array = a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(a.dtype)
    return found


def _reduction(compute: Callable[..., Any]) -> Callable[..., Any]:
    return lambda call, x, dims: compute(x, axis=tuple(map(int, dims.ravel())), keepdims=bool(call.option("KeepDims")))


def _cut(call: OperatorCall, x: Array, *_: Array) -> Array:
    places: list[Any] = []
    for start, step, size, special in cuts_of(call):
        stop = start + step * size
        span = slice(start, stop if stop >= 0 else None, step)
        places.append(None if special == "new" else start if special == "shrink" else span)
    return np.asarray(x[tuple(places)])


def _gather(call: OperatorCall, x: Array, places: Array) -> Array:
    if call.option("BatchDims"):
        raise CannotPriceError("a look-up in batches")
    return np.asarray(np.take(x, places, axis=call.option("Axis")))


def _to_shape(call: OperatorCall, x: Array, *_: Array) -> Array:
    return x.reshape(call.out.shape)


def _range(call: OperatorCall, start: Array, stop: Array, step: Array) -> Array:
    return np.asarray(range(int(start), int(stop), int(step)))


_FOLDED: Mapping[str, Callable[..., Array | Sequence[Array]]] = MappingProxyType(
    {
        "ABS": _elementwise(np.abs, 1),
        "ADD": _elementwise(np.add),
        "CAST": _elementwise(lambda x: x if x.dtype.kind != "f" else np.trunc(x), 1),
        "DIV": _elementwise(_divide),
        "EQUAL": _elementwise(np.equal),
        "FLOOR_DIV": _elementwise(np.floor_divide),
        "FLOOR_MOD": _elementwise(np.mod),
        "GREATER": _elementwise(np.greater),
        "GREATER_EQUAL": _elementwise(np.greater_equal),
        "LESS": _elementwise(np.less),
        "LESS_EQUAL": _elementwise(np.less_equal),
        "LOGICAL_AND": _elementwise(np.logical_and),
        "LOGICAL_NOT": _elementwise(np.logical_not, 1),
        "LOGICAL_OR": _elementwise(np.logical_or),
        "MAXIMUM": _elementwise(np.maximum),
        "MINIMUM": _elementwise(np.minimum),
        "MUL": _elementwise(np.multiply),
        "NEG": _elementwise(np.negative, 1),
        "NOT_EQUAL": _elementwise(np.not_equal),
        "SELECT_V2": _elementwise(np.where, 3),
        "SUB": _elementwise(np.subtract),
        "SUM": _reduction(np.sum),
        "REDUCE_PROD": _reduction(np.prod),
        "REDUCE_MAX": _reduction(np.max),
        "REDUCE_MIN": _reduction(np.min),
        "REDUCE_ALL": _reduction(np.all),
        "REDUCE_ANY": _reduction(np.any),
        "CONCATENATION": lambda call, *arrays: np.concatenate(arrays, axis=call.option("Axis")),
        "PACK": lambda call, *arrays: np.stack(arrays, axis=call.option("Axis")),
        "UNPACK": lambda call, x: list(np.moveaxis(x, call.option("Axis"), 0)),
        "GATHER": _gather,
        **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _cut),
        **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _to_shape),
        "BROADCAST_TO": lambda call, x, shape: np.broadcast_to(x, call.out.shape),
        "FILL": lambda call, shape, x: np.broadcast_to(x, call.out.shape),
        "RANGE": _range,
        "TILE": lambda call, x, times: np.tile(x, tuple(map(int, times))),
        "TRANSPOSE": lambda call, x, order: np.transpose(x, tuple(map(int, order))),
    }
)
"""Operators that compute shapes and conditions: functions of the call and the elements of its inputs."""
