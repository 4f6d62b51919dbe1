"""Values whose figures add and scale one by one: the base of costs, breakdowns and traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np

from hwcost.arrays import (
    Size,
    Value,
    check_plain_array,
    frozen,
    has_library,
    is_float,
    is_number,
    namespace,
    product,
    total,
    true_divide,
)
from hwcost.errors import InvalidValueError
from hwcost.model.gemm import holds

__all__ = ["Sums", "where"]


class Sums(Value):
    """Base of frozen dataclasses of figures, each a number or an array."""

    __array_ufunc__: ClassVar[None] = None  # so that numpy leaves ``array * cost`` to the cost

    def figures(self) -> Mapping[Any, Size]:
        """The figures by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def of(self, figures: Mapping[Any, Size]) -> Self:
        """The same kind of value with other figures."""
        return type(self)(**figures)

    def map(self, function: Callable[[Size], Size]) -> Self:
        """The value with a function applied to each of its figures."""
        return self.of({name: function(figure) for name, figure in self.figures().items()})

    def where(self, condition: Size, other: Self) -> Self:
        """The figures of this value where a condition holds, else those of the other."""
        own, others = self.figures(), other.figures()
        return self.of({name: where(condition, own.get(name, 0), others.get(name, 0)) for name in {**own, **others}})

    def __add__(self, other: object) -> Self:
        if not isinstance(other, type(self)):
            return NotImplemented
        own, others = self.figures(), other.figures()
        both = {name: total(size, others[name], what=str(name)) for name, size in own.items() if name in others}
        return self.of({**own, **others, **both})

    def __radd__(self, other: object) -> Self:
        return self if is_number(other) and other == 0 else NotImplemented

    def __mul__(self, factor: Any) -> Self:
        if isinstance(factor, Sums):
            return NotImplemented
        field = f"the factor of a {type(self).__name__}"
        if is_number(factor):
            if not factor >= 0:
                raise InvalidValueError(field, factor, "a number of at least 0")
        elif not has_library(factor):
            return NotImplemented
        else:
            check_plain_array(factor, field)
            if not holds(factor >= 0):
                raise InvalidValueError(field, factor, "numbers of at least 0")
            factor = frozen(factor)
        return self.of({name: product(size, factor, what=str(name)) for name, size in self.figures().items()})

    __rmul__ = __mul__


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where a condition holds, else ``b``; sizes, or two :class:`Sums` of one kind.

    >>> where(np.array([True, False]), 3, 4.5)
    array([3. , 4.5])
    """
    if isinstance(condition, (bool, np.bool_)):
        return a if condition else b
    if isinstance(a, Sums):
        return a.where(condition, b)
    xp = namespace(condition, a, b)
    if is_number(a) and is_number(b):  # xp.where takes at most one of them
        of_kind = "integral" if isinstance(a, int) and isinstance(b, int) else "real floating"
        zeros = xp.zeros_like(condition, dtype=xp.__array_namespace_info__().default_dtypes()[of_kind])
        return xp.where(condition, zeros + a, zeros + b)
    if any(isinstance(each, float) or is_float(each) for each in (a, b)):
        a, b = (each if is_number(each) or is_float(each) else true_divide(each, 1) for each in (a, b))
    return xp.where(condition, a, b)
