"""Checks of sizes and quantities, and looks at their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from hwcost.arrays.backends import BACKENDS, NUMBERS, Array, Size, backend_of, has_library, is_number, namespace
from hwcost.errors import InvalidValueError

__all__ = [
    "as_quantity", "as_size", "check_finite", "constant_while_tracing", "frozen", "if_concrete", "is_float", "is_plain",
    "is_real", "to_numpy",
]  # fmt: skip

_T = TypeVar("_T")


def is_plain(value: object) -> bool:
    """True for Python's own values (numbers, text, truth values, None): comparing them gives one answer."""
    return value is None or isinstance(value, (bool, int, float, str))


def is_real(value: object) -> bool:
    """True for Python and numpy scalars that are real numbers, truth values excluded."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_float(value: Any) -> bool:
    """True for floating-point arrays: soft sizes, as opposed to counted ones."""
    return not isinstance(value, NUMBERS) and backend_of(value).is_float(value)


def frozen(value: _T) -> _T:
    """A copy of an array that can be changed, which is read-only if its library can do that; anything else as it is.

    Tensors with a gradient stay as they are: a soft width is what is trained.
    """
    if isinstance(value, np.ndarray):
        return _read_only(value.copy()) if value.flags.writeable else value
    if is_plain(value) or is_number(value) or not has_library(value):
        return value
    copied: _T = backend_of(value).copy(value)
    return copied


def _read_only(array: Array) -> Array:
    if isinstance(array, np.ndarray):
        array.flags.writeable = False
    return array


def check_plain_array(value: object, field: str) -> None:
    """Raises for numpy arrays with another arithmetic: ``np.matrix`` multiplies matrices, masks leave elements out.

    Arrays of a library that has a row of its own in ``BACKENDS`` pass.
    """
    if not isinstance(value, np.ndarray) or type(value) in (np.ndarray, np.memmap):
        return
    if type(value).__module__.partition(".")[0] not in BACKENDS.keys() - {"numpy"}:
        raise InvalidValueError(field, value, f"a plain array: np.asarray(...), not {type(value).__name__}")


def check_finite(figure: Size, what: str) -> None:
    """Raises unless a result is finite; on an accelerator, which a look would stall, or under a tracer it passes."""
    if type(figure) is int:
        return
    if is_number(figure):
        bad = None if -math.inf < figure < math.inf else figure
    elif is_float(figure) and not (row := backend_of(figure)).is_compiling() and row.is_at_hand(figure):
        values = row.stop_gradient(figure)
        bad = if_concrete(values, lambda: _first_not_finite(values))
    else:
        return
    if bad is not None:
        advice = "use smaller sizes, a wider floating-point type, or a clock and bandwidths that are less extreme"
        raise InvalidValueError("the cost", bad, advice, reason=f"its {what} are not finite")


def _first_not_finite(values: Array) -> float | None:
    if values.shape == ():  # by far the fastest look
        return None if math.isfinite(value := float(values)) else value
    return _first_that_fails(values, namespace(values).isfinite(values))


def as_size(value: Any, field: str, *, minimum: int = 1) -> Size:
    """``value``, checked and in the form that the model computes with.

    Numbers become Python integers, and so do numpy's integer arrays without axes, whose arithmetic would leave the
    arrays anyway. Integer arrays become the library's default integer if they are narrower, so that products do not
    wrap at 2**31; half precision becomes float32, because bfloat16 cannot hold 257. Arrays are copied, so that no later
    change of them passes the checks, but for tensors with a gradient.

    Raises:
        InvalidValueError: zero, negative, bool, NaN, a fractional number, or not a number.
    """
    if type(value) is int and value >= minimum:
        return value
    allowed = f"an integer of at least {minimum}, or an array of them"
    if isinstance(value, (bool, np.bool_)):
        raise InvalidValueError(field, bool(value), allowed)
    if is_real(value):
        is_integer = isinstance(value, (int, np.integer))
        if value < minimum or not (is_integer or float(value).is_integer()):
            hint = "" if is_integer else " (a soft width is a float array or tensor)"
            raise InvalidValueError(field, int(value) if is_integer else float(value), allowed + hint)
        return int(value)
    has_shape = hasattr(value, "dtype") and hasattr(value, "shape")
    if isinstance(value, np.generic) or not has_library(value) or not has_shape:
        raise InvalidValueError(field, value, allowed)
    check_plain_array(value, field)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu":
        return as_size(int(value), field, minimum=minimum)
    size = _as_float_size(value, field) if is_float(value) else _as_integer_size(value, field, minimum, allowed)
    return frozen(size) if size is value else _read_only(size)


def _as_float_size(array: Array, field: str) -> Array:
    xp = namespace(array)
    if xp.finfo(array.dtype).bits < 32:
        array = xp.astype(array, xp.float32)
    if backend_of(array).checks_float_values:
        _check_all(array, xp.isfinite(array) & (array > 0), field, "finite numbers above 0 in a float array")
    return array


def _as_integer_size(array: Array, field: str, minimum: int, allowed: str) -> Array:
    xp = namespace(array)
    integer = xp.__array_namespace_info__().default_dtypes()["integral"]
    is_default = array.dtype == integer
    if not is_default and not xp.isdtype(array.dtype, "integral"):
        raise InvalidValueError(field, array, allowed)
    cast = array if is_default else xp.astype(array, integer)
    ends = _ends(array, cast)
    if ends is not None and ends[1] and ends[1] > xp.iinfo(integer).max:
        raise InvalidValueError(field, ends[1], f"integers from {minimum} to {xp.iinfo(integer).max} in an array")
    if ends is not None and ends[0] < minimum:
        raise InvalidValueError(field, ends[0], allowed)
    return cast


def as_quantity(
    value: Any,
    field: str,
    *,
    unit: str = "",
    above_0: bool = False,
    at_most: float | None = None,
    may_be_infinite: bool = False,
) -> Size:
    """A measured quantity (seconds, bytes, a share), checked: a Python float, or a float array.

    Args:
        value: a number of at least 0, or an array of them.
        field: the name of the argument, for the error.
        unit: what it counts, for the error.
        above_0: whether 0 is refused.
        at_most: the largest number allowed.
        may_be_infinite: whether infinity is allowed.

    Raises:
        InvalidValueError: not a real number, or out of the range.
    """
    ends = "above 0" if above_0 else "from 0" if at_most is not None else "not below 0"
    limit = "" if at_most is None else f" to {at_most:g}"
    of_what = f" of {unit}" if unit else ""
    allowed = f"a {'' if may_be_infinite else 'finite '}number{of_what} {ends}{limit}"
    high = math.inf if at_most is None else at_most
    if is_real(value):
        try:
            number = float(value)
        except OverflowError:
            raise InvalidValueError(field, value, allowed) from None
        if not (0 <= number <= high) or (above_0 and number == 0) or (number == math.inf and not may_be_infinite):
            raise InvalidValueError(field, number, allowed)
        return number
    if is_number(value) or not has_library(value):
        raise InvalidValueError(field, value, allowed)
    check_plain_array(value, field)
    xp = namespace(value)
    array = (
        value if is_float(value) else xp.astype(value, xp.__array_namespace_info__().default_dtypes()["real floating"])
    )
    if backend_of(array).checks_float_values:
        good = (array > 0 if above_0 else array >= 0) & (array <= high)
        _check_all(array, good if may_be_infinite else good & xp.isfinite(array), field, allowed)
    return frozen(array) if array is value else _read_only(array)


def _check_all(array: Array, good: Array, field: str, allowed: str) -> None:
    """Raises with the first element of ``array`` that is not good."""
    if (bad := _first_that_fails(array, good)) is not None:
        raise InvalidValueError(field, bad, allowed)


def _first_that_fails(array: Array, good: Array) -> float | None:
    xp = namespace(array)
    if bool(xp.all(good)):
        return None
    index = int(xp.argmax(xp.astype(xp.reshape(~good, (-1,)), xp.int8)))
    return float(xp.reshape(array, (-1,))[index])


def _ends(array: Array, cast: Array) -> tuple[int, int] | None:
    """Smallest and largest element of an integer array; None if it is empty or its values are not known.

    The largest is 0 if ``cast``, the same as default integers, holds every value of the dtype. Unsigned elements are
    looked at as cast, where those too large have wrapped around to below zero: not every library can compare the
    unsigned ones.
    """
    xp = namespace(array)
    if 0 in array.shape:
        return None
    if cast is array or (own := xp.iinfo(array.dtype)).max <= (default := xp.iinfo(cast.dtype)).max:
        return if_concrete(cast, lambda: (int(xp.min(cast)), 0))
    if own.min < 0:
        return if_concrete(array, lambda: (int(xp.min(array)), int(xp.max(array))))
    least = if_concrete(cast, lambda: int(xp.min(cast)))
    return None if least is None else (least, least + 2 ** int(default.bits) if least < 0 else 0)


def if_concrete(array: Array, look: Callable[[], _T]) -> _T | None:
    """The result of ``look``, which reads the values of ``array``; None if it has none, as under a tracer."""
    if backend_of(array).is_compiling():
        return None
    try:
        return look()
    except (RuntimeError, TypeError):  # raised by torch.vmap, the meta device and JAX when values are read
        return None


def to_numpy(value: Size) -> np.ndarray[Any, Any]:
    """The values of a size as a numpy array, without their gradient."""
    if is_number(value) or isinstance(value, np.ndarray):
        return np.asarray(value)
    detached = backend_of(value).stop_gradient(value)
    return np.asarray(detached.cpu() if hasattr(detached, "cpu") else detached)


def constant_while_tracing(function: Callable[..., _T]) -> Callable[..., _T]:
    """Marks a function of plain numbers: a tracing compiler takes its result as a constant.

    It sets what ``torch.compiler.assume_constant_result`` sets, without importing torch.
    """
    function.__dict__["_dynamo_marked_constant"] = True
    return function
