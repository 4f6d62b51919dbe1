"""The one core file that names an array library.

Everything above works on "sizes": Python integers of any magnitude, or arrays of one library. This module decides
which library a call is in, checks sizes, multiplies them without silent overflow, and lends the few operations whose
best form differs between libraries. A backend is a row in :data:`BACKENDS`; libraries without a row go through the
array API standard (by array-api-compat) and need none.

The imports inside functions are on purpose: no optional library is loaded before an array of it is seen, and tracing
compilers follow them where they would warn about a cache.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import array_api_compat
import numpy as np

from hwcost.errors import InvalidValueError, MixedLibrariesError

Array: TypeAlias = Any
"""An array of any supported library (numpy, torch, JAX, or anything that follows the array API standard)."""

Size: TypeAlias = Any
"""A Python integer (exact at any magnitude), an integer array (a sweep), or a float array (a soft width)."""

_T = TypeVar("_T")


# ---------------------------------------------------------------- backends


def _numpy() -> Any:
    return np


def _numpy_is_float(x: Array) -> bool:
    return bool(x.dtype.kind == "f")


def _torch() -> Any:
    import array_api_compat.torch as xp

    return xp


def _torch_sigmoid(x: Array) -> Array:
    import torch

    return torch.sigmoid(x)


def _torch_log_sigmoid(x: Array) -> Array:
    import torch

    return torch.nn.functional.logsigmoid(x)


def _torch_is_float(x: Array) -> bool:
    return bool(x.dtype.is_floating_point)


def _torch_clip(x: Array, low: float, high: float | None) -> Array:
    import torch

    return torch.clamp(x, low, high)


def _torch_unstack(x: Array) -> Sequence[Array]:
    return x.unbind()  # type: ignore[no-any-return]


def _torch_stop_gradient(x: Array) -> Array:
    return x.detach()


def _torch_is_compiling() -> bool:
    import torch

    return torch.compiler.is_compiling()


def _torch_constant(values: Sequence[int | float], like: Array) -> Array:
    import torch

    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _jax() -> Any:
    import jax.numpy as xp

    return xp


def _jax_sigmoid(x: Array) -> Array:
    import jax

    return jax.nn.sigmoid(x)


def _jax_log_sigmoid(x: Array) -> Array:
    import jax

    return jax.nn.log_sigmoid(x)


def _jax_stop_gradient(x: Array) -> Array:
    import jax

    return jax.lax.stop_gradient(x)


def _strict() -> Any:
    import array_api_strict

    return array_api_strict


def _standard_is_float(x: Array) -> bool:
    return bool(namespace(x).isdtype(x.dtype, "real floating"))


def _standard_sigmoid(x: Array) -> Array:
    return 0.5 * namespace(x).tanh(0.5 * x) + 0.5


def _standard_log_sigmoid(x: Array) -> Array:
    xp = namespace(x)
    return xp.clip(x, max=0.0) - xp.log1p(xp.exp(-xp.abs(x)))


def _standard_clip(x: Array, low: float, high: float | None) -> Array:
    return namespace(x).clip(x, low, high)


def _standard_unstack(x: Array) -> Sequence[Array]:
    return namespace(x).unstack(x)  # type: ignore[no-any-return]


def _identity(x: Array) -> Array:
    return x


def _never() -> bool:
    return False


def _constant(values: Sequence[int | float], like: Array) -> Array:
    xp = namespace(like)
    return xp.asarray(values, dtype=like.dtype, device=array_api_compat.device(like))


@dataclass(frozen=True)
class Backend:
    """What one array library does in a way of its own.

    Attributes:
        namespace: gives the module whose functions follow the array API standard.
        is_float: whether an array's dtype is a real floating-point one.
        sigmoid: 1 / (1 + exp(-x)), never overflowing.
        log_sigmoid: its logarithm, never overflowing.
        clip: values limited to [low, high].
        unstack: the arrays along the first axis.
        stop_gradient: the same values, cut off from differentiation.
        is_compiling: whether a compiler is tracing, so that values must not be looked at.
        constant: numbers as an array with the dtype and device of another.
        checks_float_values: whether the values of float arrays are checked at construction; where gradients flow they
            are not, since a look at them stalls an accelerator.
        mixes_kinds: whether integer and float arrays meet in one operation; the standard leaves that open.
    """

    namespace: Callable[[], Any]
    is_float: Callable[[Array], bool] = _standard_is_float
    sigmoid: Callable[[Array], Array] = _standard_sigmoid
    log_sigmoid: Callable[[Array], Array] = _standard_log_sigmoid
    clip: Callable[[Array, float, float | None], Array] = _standard_clip
    unstack: Callable[[Array], Sequence[Array]] = _standard_unstack
    stop_gradient: Callable[[Array], Array] = _identity
    is_compiling: Callable[[], bool] = _never
    constant: Callable[[Sequence[int | float], Array], Array] = _constant
    checks_float_values: bool = True
    mixes_kinds: bool = False


_TORCH_ROW = Backend(
    _torch,
    is_float=_torch_is_float,
    sigmoid=_torch_sigmoid,
    log_sigmoid=_torch_log_sigmoid,
    clip=_torch_clip,
    unstack=_torch_unstack,
    stop_gradient=_torch_stop_gradient,
    is_compiling=_torch_is_compiling,
    constant=_torch_constant,
    checks_float_values=False,
    mixes_kinds=True,
)
_JAX_ROW = Backend(
    _jax,
    sigmoid=_jax_sigmoid,
    log_sigmoid=_jax_log_sigmoid,
    stop_gradient=_jax_stop_gradient,
    checks_float_values=False,
    mixes_kinds=True,
)

BACKENDS = MappingProxyType(
    {
        "numpy": Backend(_numpy, is_float=_numpy_is_float, mixes_kinds=True),
        "torch": _TORCH_ROW,
        "jax": _JAX_ROW,
        "jaxlib": _JAX_ROW,
        "array_api_strict": Backend(_strict),
    }
)
"""Backends by the top-level module that defines the type of an array."""


def _root(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def backend_of(array: Array) -> Backend:
    """The row of the library of ``array``; a row made from the standard where the library has none."""
    row = BACKENDS.get(_root(array))
    return Backend(functools.partial(_namespace_without_row, array)) if row is None else row


def _namespace_without_row(*arrays: Array) -> Any:
    try:
        return array_api_compat.array_namespace(*arrays)
    except TypeError:
        kinds = sorted({f"{type(array).__module__}.{type(array).__qualname__}" for array in arrays})
        raise MixedLibrariesError(
            f"sizes of different or unknown libraries met in one call: {', '.join(kinds)}; allowed: Python integers "
            "together with arrays of one library (numpy, torch, JAX, array API); convert them to one library first"
        ) from None


def is_number(value: object) -> bool:
    """True for Python and numpy scalars, as opposed to arrays."""
    return isinstance(value, (int, float, np.generic))


def is_plain(value: object) -> bool:
    """True for Python's own values (numbers, text, truth values, None), which compare at once to one answer."""
    return value is None or isinstance(value, (bool, int, float, str))


def is_real(value: object) -> bool:
    """True for Python and numpy scalars that measure something: real, and no truth values."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def namespace(*values: Any) -> Any:
    """The array API namespace of the arrays among ``values``; None when all are numbers.

    Raises:
        MixedLibrariesError: two libraries, or something that is no array.
    """
    row: Backend | None = None
    for value in values:
        if is_number(value):
            continue
        own = BACKENDS.get(_root(value))
        if own is None or (row is not None and own is not row):
            return _namespace_without_row(*(value for value in values if not is_number(value)))
        row = own
    return None if row is None else row.namespace()


# ---------------------------------------------------------------- sizes


def dtype_name(array: Array) -> str:
    """``float32`` for any library's 32-bit float, and so on."""
    return str(array.dtype).rpartition(".")[2]


def is_float(value: Any) -> bool:
    """True for floating-point arrays: soft sizes, as opposed to counted ones."""
    return not is_number(value) and backend_of(value).is_float(value)


def as_size(value: Any, field: str, *, minimum: int = 1) -> Size:
    """``value`` checked and in the form that the model computes with.

    Numbers become Python integers, and so do numpy's integer arrays without axes, whose arithmetic would leave the
    arrays anyway. Integer arrays become the library's default integer where they are narrower, so that products do not
    wrap at 2**31; half precision becomes float32, since bfloat16 cannot hold 257.

    Raises:
        InvalidValueError: zero, negative, bool, NaN, a fractional number, or no number at all.
    """
    if type(value) is int and value >= minimum:
        return value
    allowed = f"an integer of at least {minimum}, or an array of them"
    if isinstance(value, (bool, np.bool_)):
        raise InvalidValueError(field, bool(value), allowed)
    if isinstance(value, (int, np.integer)):
        if value < minimum:
            raise InvalidValueError(field, int(value), allowed)
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value) or value != int(value) or value < minimum:
            raise InvalidValueError(field, float(value), f"{allowed} (a soft width is a float array or tensor)")
        return int(value)
    known = _root(value) in BACKENDS or array_api_compat.is_array_api_obj(value)
    if isinstance(value, np.generic) or not known or not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise InvalidValueError(field, value, allowed)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu":
        return as_size(int(value), field, minimum=minimum)
    return _as_size_array(value, field, minimum, allowed)


def as_quantity(
    value: Any,
    field: str,
    *,
    unit: str = "",
    above_0: bool = False,
    at_most: float | None = None,
    may_be_infinite: bool = False,
) -> Size:
    """A measured quantity (seconds, bytes, a share) checked: a Python float, or a float array.

    Args:
        value: a number, or an array of numbers.
        field: where it stands.
        unit: what it counts, for the error.
        above_0: whether 0 itself is refused; nothing below it is ever taken.
        at_most: the largest number allowed.
        may_be_infinite: whether infinity is one of the values.

    Raises:
        InvalidValueError: no real number, or one out of the range.
    """
    ends = "above 0" if above_0 else "from 0" if at_most is not None else "not below 0"
    limit = "" if at_most is None else f" to {at_most:g}"
    of_what = f" of {unit}" if unit else ""
    allowed = f"a {'' if may_be_infinite else 'finite '}number{of_what} {ends}{limit}"
    if is_real(value):
        try:
            number = float(value)
        except OverflowError:
            raise InvalidValueError(field, value, allowed) from None
        high = math.inf if at_most is None else at_most
        if not (0 <= number <= high) or (above_0 and number == 0) or (number == math.inf and not may_be_infinite):
            raise InvalidValueError(field, number, allowed)
        return number
    if is_number(value) or not array_api_compat.is_array_api_obj(value):
        raise InvalidValueError(field, value, allowed)
    array = true_divide(value, 1)
    if backend_of(array).checks_float_values:
        xp = namespace(array)
        good = (array > 0 if above_0 else array >= 0) & (array <= (math.inf if at_most is None else at_most))
        good = good if may_be_infinite else good & xp.isfinite(array)
        if not bool(xp.all(good)):
            raise InvalidValueError(field, _first(array, ~good), allowed)
    return array


def _first(array: Array, where: Array) -> float:
    """The first element of ``array`` at which ``where`` holds."""
    xp = namespace(array)
    index = int(xp.argmax(xp.astype(xp.reshape(where, (-1,)), xp.int8)))
    return float(xp.reshape(array, (-1,))[index])


def _as_size_array(array: Array, field: str, minimum: int, allowed: str) -> Array:
    xp = namespace(array)
    if is_float(array):
        if xp.finfo(array.dtype).bits < 32:
            array = xp.astype(array, xp.float32)
        if backend_of(array).checks_float_values and (worst := _worst_float(array)):
            raise InvalidValueError(field, worst[0], "finite numbers above 0 in a float array")
        return array
    if not xp.isdtype(array.dtype, "integral"):
        raise InvalidValueError(field, f"an array of {dtype_name(array)}", allowed)
    integer = xp.__array_namespace_info__().default_dtypes()["integral"]
    cast = array if array.dtype == integer else xp.astype(array, integer)
    ends = _ends(array, cast)
    if ends is not None and ends[1] > xp.iinfo(integer).max:
        raise InvalidValueError(field, ends[1], f"integers from {minimum} to {xp.iinfo(integer).max} in an array")
    if ends is not None and ends[0] < minimum:
        raise InvalidValueError(field, ends[0], allowed)
    return cast


def _worst_float(array: Array) -> list[float]:
    """The first element that is no finite number above 0, in a list; empty when there is none."""
    xp = namespace(array)
    good = xp.isfinite(array) & (array > 0)
    return [] if bool(xp.all(good)) else [_first(array, ~good)]


def _ends(array: Array, cast: Array) -> tuple[int, int] | None:
    """Smallest and largest element of an integer array; None where there is none or it cannot be looked at.

    The largest is looked for just where ``cast``, the same as default integers, may not hold it, and is 0 elsewhere.
    Unsigned elements are looked at as cast, where those too large have wrapped around to below zero: not every library
    can compare the unsigned ones.
    """
    xp = namespace(array)
    if 0 in array.shape:
        return None
    own, default = xp.iinfo(array.dtype), xp.iinfo(cast.dtype)
    if own.max <= default.max:
        return if_concrete(cast, lambda: (int(xp.min(cast)), 0))
    if own.min < 0:
        return if_concrete(array, lambda: (int(xp.min(array)), int(xp.max(array))))
    least = if_concrete(cast, lambda: int(xp.min(cast)))
    return None if least is None else (least, least + 2 ** int(default.bits) if least < 0 else 0)


def if_concrete(array: Array, look: Callable[[], _T]) -> _T | None:
    """What ``look`` finds in the values of ``array``; None where something traces, or where there are no values."""
    if backend_of(array).is_compiling():
        return None
    try:
        return look()
    except (RuntimeError, TypeError):  # what torch.vmap and the meta device, and JAX, raise on a look at values
        return None


def to_numpy(value: Size) -> np.ndarray[Any, Any]:
    """The values of a size as a numpy array, without their gradient."""
    if is_number(value) or isinstance(value, np.ndarray):
        return np.asarray(value)
    detached = backend_of(value).stop_gradient(value)
    return np.asarray(detached.cpu() if hasattr(detached, "cpu") else detached)


def constant_while_tracing(function: Callable[..., _T]) -> Callable[..., _T]:
    """Marks a function of plain numbers whose result a tracing compiler takes as it comes, without tracing inside.

    It sets what ``torch.compiler.assume_constant_result`` sets, which cannot be called here: torch may not be there.
    """
    function.__dict__["_dynamo_marked_constant"] = True
    return function


def product(*factors: Size, what: str = "the product of the sizes") -> Size:
    """The product of sizes; integer arrays that would overflow raise instead of wrapping around.

    >>> product(2**40, 2**40) == 2**80
    True

    Raises:
        InvalidValueError: an integer product that the arrays' dtype cannot hold.
        MixedLibrariesError: arrays of two libraries.
    """
    factors = tuple(factor for factor in factors if not (isinstance(factor, int) and factor == 1)) or (1,)
    if len(factors) > 1:
        _check_bound(math.prod, factors, what)
    try:
        return functools.reduce(operator.mul, _promote(factors, what))
    except OverflowError:
        raise _too_large(what, factors) from None


def total(*terms: Size, what: str = "the sum of the sizes") -> Size:
    """The sum of sizes, checked like :func:`product`.

    >>> total(2**80, -1) == 2**80 - 1
    True
    """
    if len(terms) > 1:
        _check_bound(sum, terms, what)
    return functools.reduce(operator.add, _promote(terms, what))


def total_over_first_axis(stacked: Array, *, what: str = "the sum of the sizes") -> Array:
    """The sum over the first axis, checked like :func:`product`."""
    length = stacked.shape[0]
    _check_bound(lambda bounds: length * sum(bounds), (stacked,), what)
    return namespace(stacked).sum(stacked, axis=0)


def _check_bound(combine: Callable[[list[int]], int], sizes: Sequence[Size], what: str) -> None:
    """Raises where integer arrays would overflow, judged by the largest magnitude in each.

    Sizes are positive, so that the largest is the largest magnitude; negative numbers are those of a difference.
    """
    arrays = [size for size in sizes if not is_number(size)]
    if not arrays or any(isinstance(size, float) or is_float(size) for size in sizes):
        return
    xp = namespace(*arrays)
    if any(0 in array.shape for array in arrays):
        return
    limit = min(int(xp.iinfo(array.dtype).max) for array in arrays)

    def bound() -> int:
        return combine([abs(size) if is_number(size) else abs(int(xp.max(size))) for size in sizes])

    largest = if_concrete(arrays[0], bound)
    if largest is not None and largest > limit:
        raise InvalidValueError(
            what,
            largest,
            f"at most {limit} in integer arrays; use Python integers (exact at any size) or float arrays",
        )


def _promote(sizes: Sequence[Size], what: str) -> Sequence[Size]:
    """Sizes in a form that an operator of their library takes.

    Python integers that no array holds become floats beside float arrays, and raise beside integer ones; integer arrays
    become floats beside floats where the library does not do so itself.

    Raises:
        InvalidValueError: a Python integer that the integer arrays beside it cannot hold.
        MixedLibrariesError: arrays of two libraries.
    """
    arrays = [size for size in sizes if not is_number(size)]
    if not arrays:
        return sizes
    xp = namespace(*arrays)
    floats = [array for array in arrays if is_float(array)]
    if floats or any(isinstance(size, float) for size in sizes):
        if not backend_of(arrays[0]).mixes_kinds:
            dtype = floats[0].dtype if floats else xp.__array_namespace_info__().default_dtypes()["real floating"]
            sizes = [size if is_number(size) or is_float(size) else xp.astype(size, dtype) for size in sizes]
        return [float(size) if isinstance(size, int) and abs(size) >= 2**63 else size for size in sizes]
    for size in sizes:
        if is_number(size) and abs(size) >= 2**31:
            limit = min(int(xp.iinfo(array.dtype).max) for array in arrays)
            if abs(size) > limit:
                raise InvalidValueError(what, size, f"at most {limit} beside integer arrays")
    return sizes


def _too_large(what: str, sizes: Sequence[Size]) -> InvalidValueError:
    value = max((size for size in sizes if is_number(size)), default=sizes[0])
    return InvalidValueError(what, value, "a number below 1.8e308 where floating point is used")


# ---------------------------------------------------------------- arithmetic that depends on the kind of number


def true_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Any:
    """The quotient as a float: of numbers a Python float, correctly rounded at any magnitude."""
    try:
        if is_number(numerator) and is_number(denominator):
            return numerator / denominator
        numerator, denominator = _promote((numerator, denominator), what)
        if not (is_float(numerator) or is_float(denominator)):
            numerator, _ = _promote((numerator, 1.0), what)
            denominator, _ = _promote((denominator, 1.0), what)
        return numerator / denominator
    except OverflowError:
        raise _too_large(what, (numerator, denominator)) from None


def floor_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """Floor of the quotient; exact for integers, without a gradient for floats."""
    numerator, denominator = _promote((numerator, denominator), what)
    if is_float(numerator) or is_float(denominator):
        return namespace(numerator, denominator).floor(numerator / denominator)
    return numerator // denominator


def ceil_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """Ceiling of the quotient; exact for integers at any magnitude, without a gradient for floats."""
    numerator, denominator = _promote((numerator, denominator), what)
    if is_float(numerator) or is_float(denominator):
        return namespace(numerator, denominator).ceil(numerator / denominator)
    return -(-numerator // denominator)


def remainder(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """What is left of the numerator after whole denominators."""
    numerator, denominator = _promote((numerator, denominator), what)
    return numerator % denominator


def are_few(arrays: Sequence[Array]) -> bool:
    """Whether arrays are of one shape and so small that a call costs more than its arithmetic."""
    return all(array.shape == arrays[0].shape for array in arrays) and math.prod(arrays[0].shape) <= 1024


def maximum(a: Size, b: Size) -> Size:
    """The elementwise larger of two sizes."""
    a, b = _promote((a, b), "a size")
    xp = namespace(a, b)
    if xp is None:
        return max(a, b)
    if any(isinstance(size, float) for size in (a, b)):
        a, b = (size if is_number(size) or is_float(size) else true_divide(size, 1) for size in (a, b))
    like = a if not is_number(a) else b
    a, b = (backend_of(like).constant(v, like) if is_number(v) else v for v in (a, b))
    return xp.maximum(a, b)


_BLOCK = 2**17  # elements; a handful of intermediates of this size stay in a core's cache


def in_blocks(function: Callable[..., Size], sizes: Mapping[str, Size]) -> Size:
    """``function(**sizes)`` for an elementwise function; large numpy arrays go through it block by block.

    The intermediates of a sweep of millions then stay in the cache instead of travelling through memory: about three
    times faster. Other libraries have compilers for that.
    """
    arrays = {name: size for name, size in sizes.items() if isinstance(size, np.ndarray)}
    others = {name: size for name, size in sizes.items() if name not in arrays}
    if not arrays or not all(is_number(size) for size in others.values()):
        return function(**sizes)
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    if math.prod(shape) <= 2 * _BLOCK:
        return function(**sizes)
    arrays = {name: array.reshape((1,) * (len(shape) - array.ndim) + array.shape) for name, array in arrays.items()}
    step = max(1, _BLOCK * shape[0] // math.prod(shape))
    out: Any = None
    for start in range(0, shape[0], step):
        block = {name: array if len(array) == 1 else array[start : start + step] for name, array in arrays.items()}
        result = function(**others, **block)
        if out is None:
            out = np.empty(shape, dtype=result.dtype)
        out[start : start + step] = result
    return out


def stack(columns: Sequence[Sequence[Size]], beside: Sequence[Size] = ()) -> list[Size]:
    """Each column of sizes as one array with a new leading axis, or as the one integer that all of it is.

    Sizes ``beside`` the columns broadcast with each of their entries: behind the leading axis the columns get axes for
    them, and no column stays a number where any of them is an array.
    """
    arrays = [value for column in columns for value in column if not is_number(value)]
    xp = namespace(*arrays)
    like = next((array for array in arrays if is_float(array)), arrays[0])
    constant = backend_of(like).constant
    sweeps = [size for size in beside if not is_number(size)]
    stacked: list[Size] = []
    for sizes in columns:
        column = [_promote((size, like), "a size")[0] if is_number(size) else size for size in sizes]
        if all(is_number(value) for value in column):
            same = isinstance(column[0], int) and all(value == column[0] for value in column)
            stacked.append(column[0] if same and not sweeps else constant(column, like))
        else:
            parts = [constant([v], like)[0] if is_number(v) else xp.astype(v, like.dtype, copy=False) for v in column]
            same_shape = all(part.shape == parts[0].shape for part in parts)
            stacked.append(xp.stack(parts if same_shape else xp.broadcast_arrays(*parts)))
    return _aligned(stacked, max([0, *[len(sweep.shape) for sweep in sweeps]]))


def _aligned(stacked: list[Size], least: int) -> list[Size]:
    """Axes of length one behind the leading axis of columns that have fewer than another (or than ``least``)."""
    axes = max([least + 1, *[len(array.shape) for array in stacked if not is_number(array)]])

    def align(array: Size) -> Size:
        if is_number(array) or len(array.shape) == axes:
            return array
        shape = array.shape
        return namespace(array).reshape(array, (*shape[:1], *(1,) * (axes - len(shape)), *shape[1:]))

    return [align(array) for array in stacked]
