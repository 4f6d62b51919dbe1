"""Smooth stand-ins for every non-smooth step of the model.

The exact model takes ceilings, which have no useful gradient. A :class:`Relaxation` is one value: the stand-ins for
``ceil(extent / size)`` and for ``max(a, b)``, and the closed-form slope of the first. The smooth ones are ladders, sums
of smooth steps, one per whole number:

    f(x) = sum_i S(x - w_i),        S a step from 0 to 1,        w_i = 0, 1, 2, ...

which :mod:`hwcost.relaxation.ladder` evaluates in a window around x, at a cost independent of the number of steps.

Sources: the logistic ladder is the one of the author's model, f_{T,w}(x) = sum_i 1 / (1 + exp(-T (x - w_i))). The
generalized one is that of U-Boost NAS (Yuzuguler et al., ECCV 2022), Richards' curve with B = 20, C = 0.2, v = 0.5.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hwcost import arrays
from hwcost.arrays import Array, Size, Table
from hwcost.errors import HwcostError, InvalidValueError, check_one_of, raised
from hwcost.relaxation.ladder import Ladder, generalized_step, logistic_step, positive

__all__ = ["EXACT", "RELAXATIONS", "Relaxation", "SmoothCeiling", "as_relaxation", "smooth_ceil"]


class SmoothCeiling(NamedTuple):
    """The functions of a relaxation: elementwise functions of x = extent / size, and the maximum of two costs.

    ``is_ceiling``: the value is the exact ceiling, so that integers need no floating point. ``is_ladder``: the value
    takes many operations, so that a few numbers are better passed together.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    maximum: Callable[[Size, Size], Size] = arrays.maximum
    is_ceiling: bool = False
    is_ladder: bool = False


_CURVES = ("value", "slope", "maximum")


@dataclass(frozen=True)
class Relaxation:
    """One way to treat the non-smooth steps of the model: a row of :data:`RELAXATIONS`, with its options filled in.

    >>> RELAXATIONS["shifted"].with_options(temperature=40.0).options["temperature"]
    40.0
    >>> round(RELAXATIONS["logistic"].ceil_div(12, 8), 3)
    2.0
    """

    name: str
    summary: str
    make: Callable[..., SmoothCeiling] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    _curve: SmoothCeiling = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InvalidValueError("Relaxation.name", self.name, "a text that is not empty")
        if not isinstance(self.options, Mapping):
            raise InvalidValueError("Relaxation.options", self.options, "values by the names of arguments of make")
        place = f"Relaxation.make of {self.name!r}"
        try:
            curve = self.make(**self.options)
        except InvalidValueError:  # about the value of an option
            raise
        except Exception as error:
            raise raised(place, self.make, error) from error
        if not isinstance(curve, SmoothCeiling):
            raise InvalidValueError(f"the result of {place}", curve, "a SmoothCeiling")
        value, slope, maximum = (
            _guarded(f"the {name} of relaxation {self.name!r}", getattr(curve, name)) for name in _CURVES
        )
        object.__setattr__(self, "options", Table(dict(self.options)))
        object.__setattr__(self, "_curve", curve._replace(value=value, slope=slope, maximum=maximum))

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.options)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Relaxation, (self.name, self.summary, self.make, self.options)

    def with_options(self, **options: Any) -> Relaxation:
        """The same relaxation with other options; the names are those of :attr:`options`.

        Raises:
            InvalidValueError: an unknown option, or a value that the option does not allow.
        """
        for name in options:
            check_one_of(f"relaxation {self.name!r}", name, self.options, what="option")
        return Relaxation(self.name, self.summary, self.make, {**self.options, **options})

    def value(self, x: Array | float) -> Any:
        """The stand-in for ceil(x), elementwise; a number gives a Python float.

        >>> RELAXATIONS["exact"].value(2.3)
        3.0
        """
        return _apply(self._curve.value, x)

    def slope(self, x: Array | float) -> Any:
        """The closed-form derivative of :meth:`value`, for use without automatic differentiation.

        >>> RELAXATIONS["linear"].slope(2.3)
        1.0
        """
        return _apply(self._curve.slope, x)

    def ceil_div(self, extent: Size, size: Size) -> Size:
        """The stand-in for ceil(extent / size); ``exact`` and ``straight-through`` keep integers exact integers.

        >>> EXACT.ceil_div(2**70 + 1, 2)
        590295810358705651713
        """
        if self._curve.is_ceiling and not (arrays.is_float(extent) or arrays.is_float(size)):
            return arrays.ceil_divide(extent, size)
        return self.value(arrays.true_divide(extent, size))

    def ceil_divs(self, extents: Sequence[Size], sizes: Sequence[Size]) -> list[Size]:
        """:meth:`ceil_div` of several extents; a few soft ones of the same shape go through the ladder in one call."""
        together = self._curve.is_ladder and all(map(arrays.is_float, extents)) and arrays.are_few(extents)
        if not together or any(not arrays.is_number(size) for size in sizes):
            return [self.ceil_div(extent, size) for extent, size in zip(extents, sizes, strict=True)]
        xp, unstack = arrays.namespace(*extents), arrays.backend_of(extents[0]).unstack
        if all(size == sizes[0] for size in sizes):
            return list(unstack(self.ceil_div(xp.stack(extents), sizes[0])))
        quotients = [arrays.true_divide(extent, size) for extent, size in zip(extents, sizes, strict=True)]
        return list(unstack(self.value(xp.stack(quotients))))

    @property
    def sharpness(self) -> str | None:
        """The name of the option that sets this relaxation's temperature, if it has one.

        >>> RELAXATIONS["generalized"].sharpness, RELAXATIONS["linear"].sharpness
        ('b', None)
        """
        return next((name for name in ("temperature", "b") if name in self.options), None)

    def at_temperature(self, temperature: float) -> Relaxation:
        """The same relaxation at a temperature, whatever the name of its option.

        Raises:
            InvalidValueError: a relaxation without a temperature, or a temperature that it does not allow.

        >>> RELAXATIONS["generalized"].at_temperature(30.0).options["b"]
        30.0
        """
        if self.sharpness is None:
            reason = f"relaxation {self.name!r} has no temperature"
            raise InvalidValueError("temperature", temperature, "leave it out", reason=reason)
        return self.with_options(**{self.sharpness: temperature})

    def maximum(self, a: Size, b: Size) -> Size:
        """The stand-in for max(a, b): the maximum itself, or a smooth upper bound with a gradient on both sides."""
        return self._curve.maximum(a, b)

    @property
    def is_ceiling(self) -> bool:
        """Whether :meth:`value` is the exact ceiling.

        >>> RELAXATIONS["straight-through"].is_ceiling, RELAXATIONS["linear"].is_ceiling
        (True, False)
        """
        return self._curve.is_ceiling

    @property
    def passes_gradient(self) -> bool:
        """Whether the slope between steps is above 0: a gradient passes through ceilings.

        >>> RELAXATIONS["straight-through"].passes_gradient, EXACT.passes_gradient
        (True, False)
        """
        return bool(self.slope(0.5) > 0)

    @property
    def smooths_maximum(self) -> bool:
        """Whether :meth:`maximum` is a smooth upper bound.

        >>> RELAXATIONS["shifted"].smooths_maximum, RELAXATIONS["linear"].smooths_maximum
        (True, False)
        """
        return self._curve.maximum is not arrays.maximum


def _guarded(place: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a relaxation, whose errors and results name it."""
    if function is arrays.maximum:
        return function
    if not callable(function):
        raise InvalidValueError(place, function, "a function")

    def guarded(*given: Array) -> Any:
        try:
            result = function(*given)
        except HwcostError:  # about what was given
            raise
        except Exception as error:
            raise raised(place, function, error) from error
        if len(given) == 1 and getattr(result, "shape", None) != given[0].shape:
            raise InvalidValueError(f"the result of {place}", result, "an array of the shape of its argument")
        return result

    return guarded


def _apply(function: Callable[[Array], Array], x: Array) -> Any:
    if arrays.is_number(x):
        return _apply_to_number(function, x)
    arrays.check_plain_array(x, "x")
    if isinstance(x, np.ndarray) and x.ndim == 0:  # numpy's arithmetic turns it into a number
        return np.asarray(_apply(function, x.reshape(1))[0])
    xp = arrays.namespace(x)
    if not arrays.is_float(x):
        if not xp.isdtype(x.dtype, "integral"):
            raise InvalidValueError("x", x, "real numbers")
        return function(arrays.true_divide(x, 1))
    if xp.finfo(x.dtype).bits < 32:
        return xp.astype(function(xp.astype(x, xp.float32)), x.dtype)
    return function(x)


@arrays.constant_while_tracing
def _apply_to_number(function: Callable[[Array], Array], x: float) -> float:
    return float(function(np.asarray([x], dtype=np.float64))[0])


def _smooth_maximum(sharpness: float) -> Callable[[Size, Size], Size]:
    """The p-norm (a^p + b^p)^(1/p) of two positive costs: never below the maximum, at most 2^(1/p) times it."""

    def maximum(a: Size, b: Size) -> Size:
        larger, smaller = arrays.true_divide(arrays.maximum(a, b), 1), -arrays.maximum(-a, -b)
        return larger * (1 + arrays.true_divide(smaller, larger) ** sharpness) ** (1 / sharpness)

    return maximum


def _exact() -> SmoothCeiling:
    return SmoothCeiling(
        lambda x: arrays.namespace(x).ceil(x), lambda x: arrays.namespace(x).zeros_like(x), is_ceiling=True
    )


def _logistic(
    temperature: float = 20.0, steps: int | None = None, positions: Sequence[float] | None = None
) -> SmoothCeiling:
    t = positive("temperature", temperature)
    ladder = Ladder(logistic_step(t), steps=steps, positions=positions)
    return SmoothCeiling(ladder.value, ladder.slope, _smooth_maximum(t), is_ladder=True)


def _shifted(temperature: float = 20.0, steps: int | None = None, epsilon: float = 0.01) -> SmoothCeiling:
    t, e = positive("temperature", temperature), positive("epsilon", epsilon)
    lowest = 2 * math.asinh(1 / (2 * e))
    if t < lowest:
        allowed = f"at least {lowest:.4g} for the shifted ladder at epsilon {e:g}"
        raise InvalidValueError("temperature", temperature, allowed)
    offset = max(0.0, -math.log(e * -math.expm1(-t)) / t)
    ladder = Ladder(logistic_step(t), offset=offset, steps=steps, floor=True)
    return SmoothCeiling(ladder.value, ladder.slope, _smooth_maximum(t), is_ladder=True)


def _generalized(
    b: float = 20.0, c: float = 0.2, v: float = 0.5, floor: bool = False, steps: int | None = None
) -> SmoothCeiling:
    if not isinstance(floor, bool):
        raise InvalidValueError("floor", floor, "True or False")
    step = generalized_step(positive("b", b), positive("v", v))
    ladder = Ladder(step, offset=-math.log(positive("c", c)) / b, steps=steps, floor=floor)
    return SmoothCeiling(ladder.value, ladder.slope, _smooth_maximum(b), is_ladder=True)


def _straight_through() -> SmoothCeiling:
    def value(x: Array) -> Array:
        stop, xp = arrays.backend_of(x).stop_gradient, arrays.namespace(x)
        finite = xp.where(xp.isinf(x), xp.zeros_like(x), x)
        return stop(xp.ceil(x)) + (finite - stop(finite))

    return SmoothCeiling(value, _one, is_ceiling=True)


def _linear() -> SmoothCeiling:
    return SmoothCeiling(lambda x: x, _one)


def _one(x: Array) -> Array:
    return arrays.namespace(x).ones_like(x)


def _defaults(make: Callable[..., SmoothCeiling]) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(make).parameters.items()}


RELAXATIONS: Mapping[str, Relaxation] = Table(
    {
        name: Relaxation(name, summary, make, _defaults(make))
        for name, make, summary in (
            ("exact", _exact, "the ceiling itself; no gradient"),
            ("logistic", _logistic, "the author's ladder of logistic steps; half a step too high at whole multiples"),
            (
                "shifted",
                _shifted,
                "the logistic ladder moved right: within epsilon of n at every whole n, never below one",
            ),
            ("generalized", _generalized, "the asymmetric ladder of U-Boost NAS; 0.028 too high at whole multiples"),
            ("straight-through", _straight_through, "exact value, slope of the linear one"),
            ("linear", _linear, "x itself: the cost that FLOPs assume"),
        )
    }
)
"""Every relaxation by name. A new one is a function that returns a :class:`SmoothCeiling`, and a row here; its options
are the arguments of the function, with their defaults."""

EXACT: Relaxation = RELAXATIONS["exact"]
"""The model itself: integers in, exact integers out."""


def as_relaxation(value: Relaxation | str) -> Relaxation:
    """A relaxation, or the row with that name.

    >>> as_relaxation("linear").name
    'linear'
    """
    if isinstance(value, Relaxation):
        return value
    check_one_of("relaxation", value, RELAXATIONS, "; or a Relaxation")
    return RELAXATIONS[value]


def smooth_ceil(x: Array | float, *, temperature: float = 20.0, kind: str = "logistic", **options: Any) -> Any:
    """A smooth stand-in for ceil(x): by default the author's ladder f_{T,w}(x) = sum_i 1 / (1 + exp(-T (x - w_i))).

    Args:
        x: a number, or an array of any shape and library; gradients flow if the library has them.
        temperature: the sharpness T of the steps; larger is closer to the ceiling. ``generalized`` calls it ``b``;
            ``exact``, ``straight-through`` and ``linear`` have none.
        kind: a name in :data:`RELAXATIONS`.
        options: of that row, for example ``steps=300`` or ``positions=[0, 2, 4]`` of ``logistic``.

    Returns:
        A float for a number, else an array of the shape and floating dtype of ``x``.

    Raises:
        InvalidValueError: an unknown kind or option, or a value it does not allow.

    >>> round(smooth_ceil(2.5), 4)
    3.0
    >>> round(smooth_ceil(2.0), 4)          # half a step too high at whole multiples, as specified
    2.5
    >>> round(smooth_ceil(2.0, kind="shifted"), 4)
    2.0099
    """
    relaxation = as_relaxation(kind)
    if relaxation.sharpness is not None:
        options.setdefault(relaxation.sharpness, temperature)
    elif temperature != 20.0:
        return relaxation.at_temperature(temperature).value(x)  # which raises
    return relaxation.with_options(**options).value(x)
