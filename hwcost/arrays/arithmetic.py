"""Arithmetic of sizes: exact for integers, without silent overflow in arrays, in any array library.

Numbers take a short way through each function, since most calls have nothing else.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from hwcost.arrays.backends import NUMBERS, Array, Size, backend_of, is_number, namespace
from hwcost.arrays.sizes import if_concrete, is_float
from hwcost.errors import InvalidValueError

__all__ = [
    "ceil_divide", "floor_divide", "maximum", "product", "promote", "remainder", "total", "total_over_first_axis",
    "true_divide",
]  # fmt: skip


def product(*factors: Size, what: str = "the product of the sizes") -> Size:
    """The product of sizes; integer arrays that would overflow raise instead of wrapping around.

    >>> product(2**40, 2**40) == 2**80
    True

    Raises:
        InvalidValueError: an integer product that the arrays' dtype cannot hold.
        MixedLibrariesError: arrays of two libraries.
    """
    try:
        for factor in factors:
            if not isinstance(factor, (int, float)):
                break
        else:
            return math.prod(factors)
        factors = tuple(factor for factor in factors if not (isinstance(factor, int) and factor == 1)) or (1,)
        return functools.reduce(operator.mul, promote(factors, what, math.prod if len(factors) > 1 else None))
    except OverflowError:
        raise _too_large(what, factors) from None


def total(*terms: Size, what: str = "the sum of the sizes") -> Size:
    """The sum of sizes, checked like :func:`product`.

    >>> total(2**80, -1) == 2**80 - 1
    True
    """
    try:
        for term in terms:
            if not isinstance(term, (int, float)):
                break
        else:
            return functools.reduce(operator.add, terms, 0)
        return functools.reduce(operator.add, promote(terms, what, sum if len(terms) > 1 else None))
    except OverflowError:
        raise _too_large(what, terms) from None


def total_over_first_axis(stacked: Array, *, what: str = "the sum of the sizes") -> Array:
    """The sum over the first axis, checked like :func:`product`."""
    length = stacked.shape[0]
    promote((stacked,), what, lambda bounds: length * sum(bounds))
    return namespace(stacked).sum(stacked, axis=0)


def true_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Any:
    """The quotient as a float: a Python float for numbers, correctly rounded at any magnitude."""
    try:
        if isinstance(numerator, NUMBERS) and isinstance(denominator, NUMBERS):
            return numerator / denominator
        numerator, denominator = promote((numerator, denominator), what)
        if not (is_float(numerator) or is_float(denominator)):
            numerator, denominator = (promote((size, 1.0), what)[0] for size in (numerator, denominator))
        return numerator / denominator
    except OverflowError:
        raise _too_large(what, (numerator, denominator)) from None


def floor_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """Floor of the quotient; exact for integers, without a gradient for floats."""
    if isinstance(numerator, NUMBERS) and isinstance(denominator, NUMBERS):
        return numerator // denominator
    numerator, denominator = promote((numerator, denominator), what)
    is_soft = is_float(numerator) or is_float(denominator)
    return namespace(numerator, denominator).floor(numerator / denominator) if is_soft else numerator // denominator


def ceil_divide(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """Ceiling of the quotient; exact for integers at any magnitude, without a gradient for floats."""
    if isinstance(numerator, NUMBERS) and isinstance(denominator, NUMBERS):
        return -(-numerator // denominator)
    return -floor_divide(-numerator, denominator, what=what)


def remainder(numerator: Size, denominator: Size, *, what: str = "a size") -> Size:
    """What is left of the numerator after whole denominators."""
    numerator, denominator = promote((numerator, denominator), what)
    return numerator % denominator


def maximum(a: Size, b: Size) -> Size:
    """The elementwise larger of two sizes."""
    if isinstance(a, NUMBERS) and isinstance(b, NUMBERS):
        return max(a, b)
    a, b = promote((a, b), "a size")
    if any(isinstance(size, float) for size in (a, b)):
        a, b = (size if is_number(size) or is_float(size) else true_divide(size, 1) for size in (a, b))
    like = a if not is_number(a) else b
    a, b = (backend_of(like).constant(v, like) if is_number(v) else v for v in (a, b))
    return namespace(like).maximum(a, b)


def promote(sizes: Sequence[Size], what: str, combine: Callable[[list[int]], int] | None = None) -> Sequence[Size]:
    """Sizes in a form that an operator of their library takes.

    Python integers that no array holds become floats next to float arrays, and raise next to integer ones; integer
    arrays become floats next to floats if the library does not do so.

    Args:
        sizes: numbers, and arrays of one library.
        what: the result, for the error.
        combine: the operation, if its result can overflow in integer arrays. It is tried on the largest magnitude of
            each size: sizes are positive, and negative numbers are those of a difference.

    Raises:
        InvalidValueError: a result, or a Python integer, that the integer arrays cannot hold.
        MixedLibrariesError: arrays of two libraries.
    """
    arrays = [size for size in sizes if not isinstance(size, NUMBERS)]
    if not arrays:
        return sizes
    xp, row = namespace(*arrays), backend_of(arrays[0])
    floats = [array for array in arrays if row.is_float(array)]
    if floats or any(isinstance(size, float) for size in sizes):
        if not row.mixes_kinds:
            dtype = floats[0].dtype if floats else xp.__array_namespace_info__().default_dtypes()["real floating"]
            sizes = [size if is_number(size) or is_float(size) else xp.astype(size, dtype) for size in sizes]
        return [float(size) if isinstance(size, int) and abs(size) >= 2**63 else size for size in sizes]
    limit = min([int(xp.iinfo(dtype).max) for dtype in {array.dtype for array in arrays}])
    if combine is not None and all([0 not in array.shape for array in arrays]):  # noqa: C419  (faster as a list)

        def bound() -> int:
            return combine([abs(size) if isinstance(size, NUMBERS) else abs(int(xp.max(size))) for size in sizes])

        largest = if_concrete(arrays[0], bound)
        if largest is not None and largest > limit:
            allowed = f"at most {limit} in integer arrays; use Python integers (exact at any size) or float arrays"
            raise InvalidValueError(what, largest, allowed)
    for size in sizes:
        if isinstance(size, NUMBERS) and abs(size) > limit:
            raise InvalidValueError(what, size, f"at most {limit} next to integer arrays")
    return sizes


def _too_large(what: str, sizes: Sequence[Size]) -> InvalidValueError:
    value = max((size for size in sizes if is_number(size)), default=sizes[0])
    return InvalidValueError(what, value, "a number below 1.8e308 next to floating point")
