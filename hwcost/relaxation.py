"""Smooth stand-ins for every non-smooth step of the model.

The exact model takes ceilings, which have no useful gradient. A :class:`Relaxation` is one value that says what stands
in for ``ceil(extent / size)`` and for ``max(a, b)``, together with the closed-form slope of the first. The smooth
ones are ladders, sums of smooth steps, one step a whole number:

    f(x) = sum_i S(x - w_i),        S a step from 0 to 1,        w_i = 0, 1, 2, ...

Far from its riser a step is 0 or 1 to rounding, so only the few steps around x are summed and the ones below are
counted; how many follows from the sharpness of the step and the precision of the numbers. Value and gradient are those
of the full ladder to rounding, at a cost that does not depend on how many steps there are.

Sources: the logistic ladder is the one of the author's model, f_{T,w}(x) = sum_i 1 / (1 + exp(-T (x - w_i))). The
generalized one is that of U-Boost NAS (Yuzuguler et al., ECCV 2022), Richards' curve with B = 20, C = 0.2, v = 0.5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hwcost import _arrays
from hwcost._arrays import Array, Size
from hwcost.errors import InvalidValueError

__all__ = ["EXACT", "RELAXATIONS", "Curve", "Relaxation", "as_relaxation", "smooth_ceil"]


class Curve(NamedTuple):
    """What a relaxation computes: elementwise functions of x = extent / size, and the maximum of two costs.

    ``is_ceiling`` says that the value is the ceiling itself, so that integers need not pass through floating point.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    maximum: Callable[[Size, Size], Size] = _arrays.maximum
    is_ceiling: bool = False


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
    make: Callable[..., Curve] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    _curve: Curve = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "_curve", self.make(**self.options))

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.options)))

    def with_options(self, **options: Any) -> Relaxation:
        """The same relaxation with other options; the names are those of :attr:`options`.

        Raises:
            InvalidValueError: an unknown option, or a value outside of what the option allows.
        """
        for name in options:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise InvalidValueError(f"option of relaxation {self.name!r}", name, f"one of: {known}")
        return Relaxation(self.name, self.summary, self.make, {**self.options, **options})

    def value(self, x: Array | float) -> Any:
        """The stand-in for ceil(x), elementwise; a number gives a Python float.

        >>> RELAXATIONS["exact"].value(2.3)
        3.0
        """
        return _apply(self._curve.value, x)

    def slope(self, x: Array | float) -> Any:
        """The closed-form derivative of :meth:`value`, for those who have no automatic one.

        >>> RELAXATIONS["linear"].slope(2.3)
        1.0
        """
        return _apply(self._curve.slope, x)

    def ceil_div(self, extent: Size, size: Size) -> Size:
        """The stand-in for ceil(extent / size); ``exact`` and ``straight-through`` keep integers exact integers.

        >>> EXACT.ceil_div(2**70 + 1, 2)
        590295810358705651713
        """
        if self._curve.is_ceiling and not (_arrays.is_float(extent) or _arrays.is_float(size)):
            return _arrays.ceil_divide(extent, size)
        return self.value(_arrays.true_divide(extent, size))

    def maximum(self, a: Size, b: Size) -> Size:
        """The stand-in for max(a, b): the maximum itself, or a smooth upper bound with a gradient on both sides."""
        return self._curve.maximum(a, b)


def _apply(function: Callable[[Array], Array], x: Array) -> Any:
    if _arrays.is_number(x):
        return float(function(np.asarray([x], dtype=np.float64))[0])
    xp = _arrays.namespace(x)
    if not _arrays.is_float(x):
        if not xp.isdtype(x.dtype, "integral"):
            raise InvalidValueError("x", f"an array of {_arrays.dtype_name(x)}", "real numbers")
        return function(x / 1)
    if xp.finfo(x.dtype).bits < 32:
        return xp.astype(function(xp.astype(x, xp.float32)), x.dtype)
    return function(x)


# ---------------------------------------------------------------- the ladder


class _Step(NamedTuple):
    """A smooth step from 0 to 1: value and slope at the distance z from its riser, and where it is flat.

    ``reach(c)`` gives (above, below): beyond z > above the step is within exp(-c) of 1, beyond z < -below of 0.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    reach: Callable[[float], tuple[float, float]]


class _Ladder:
    """sum_i S(x - w_i) over the window of steps that are not flat at x.

    Args:
        step: the smooth step S.
        offset: added to every whole number, w_i = i + offset.
        steps: how many steps there are; None for no end.
        positions: other risers w_i than the whole numbers (any order); excludes ``steps``.
        floor: step 0 counts as taken, so that the value is never below one.
    """

    _ALL_AT_ONCE = 2**15  # window elements up to which one wide operation beats one operation a step

    def __init__(
        self,
        step: _Step,
        *,
        offset: float = 0.0,
        steps: int | None = None,
        positions: Sequence[float] | None = None,
        floor: bool = False,
    ) -> None:
        self.step, self.offset, self.first = step, offset, int(floor)
        self.steps = _checked_steps(steps)
        self.positions = None if positions is None else _checked_positions(positions, steps)

    def value(self, x: Array) -> Array:
        low, distances = self._window(x)
        return low + self._sum(self.step.value, x, distances)

    def slope(self, x: Array) -> Array:
        return self._sum(self.step.slope, x, self._window(x)[1])

    def _sum(self, function: Callable[[Array], Array], x: Array, distances: _Distances) -> Array:
        if distances.count == 0:
            return 0 * x
        if distances.count > 2 and math.prod(x.shape) * distances.count <= self._ALL_AT_ONCE:
            return _arrays.namespace(x).sum(function(distances.all_at_once()), axis=-1)
        return functools.reduce(
            lambda total, j: total + function(distances[j]), range(1, distances.count), function(distances[0])
        )

    def _window(self, x: Array) -> tuple[Array, _Distances]:
        """How many steps lie wholly below the window, and the distances of x from those in it."""
        flat = _arrays.backend_of(x).stop_gradient(x)
        xp = _arrays.namespace(x)
        above, below = self.step.reach(_cutoff(xp, x))
        if self.positions is not None:
            return self._window_of_positions(xp, x, flat, above, below)
        down = max(1, math.floor(above + self.offset) + 1)
        up = max(1, math.floor(below - self.offset) + 1)
        count, last = down + up, None
        if self.steps is not None:
            count = max(0, min(count, self.steps - self.first))
            last = float(max(self.first, self.steps - count))
        low = xp.clip(xp.floor(flat) - (down - 1), float(self.first), last)
        return low, _Distances(x - low, self.offset, count)

    def _window_of_positions(
        self, xp: Any, x: Array, flat: Array, above: float, below: float
    ) -> tuple[Array, _Distances]:
        assert self.positions is not None
        ends = np.searchsorted(self.positions, self.positions + (above + below), side="right")
        count = int(np.max(ends - np.arange(len(self.positions))))
        count = min(count + 1, len(self.positions))
        risers = _arrays.backend_of(x).constant(self.positions.tolist(), x)
        index = xp.searchsorted(risers, xp.reshape(flat - above, (-1,)))
        index = xp.reshape(xp.clip(index, 0, len(self.positions) - count), x.shape)
        low = xp.astype(index, x.dtype)
        return low, _Distances(
            x, 0.0, count, lambda j: xp.reshape(xp.take(risers, xp.reshape(index + j, (-1,)), axis=0), x.shape)
        )


@dataclass(frozen=True)
class _Distances:
    """Distances of x from the risers of its window, made when they are asked for."""

    base: Array
    offset: float
    count: int
    riser: Callable[[int], Array] | None = None

    def __getitem__(self, j: int) -> Array:
        if self.riser is not None:
            return self.base - self.riser(j)
        return self.base - (j + self.offset) if j + self.offset else self.base

    def all_at_once(self) -> Array:
        xp = _arrays.namespace(self.base)
        if self.riser is not None:
            return xp.stack([self[j] for j in range(self.count)], axis=-1)
        offsets = [j + self.offset for j in range(self.count)]
        return xp.expand_dims(self.base, axis=-1) - _arrays.backend_of(self.base).constant(offsets, self.base)


def _cutoff(xp: Any, x: Array) -> float:
    """C such that exp(-c) is below the rounding of x's dtype: 37 for float64, 17 for float32."""
    return float(math.ceil(-math.log(float(xp.finfo(x.dtype).eps) / 2)))


def _checked_steps(steps: int | None) -> int | None:
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise InvalidValueError("steps", steps, "an integer of at least 1, or None for no end")
    return steps


def _checked_positions(positions: Sequence[float], steps: int | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    if steps is not None:
        raise InvalidValueError("steps", steps, "None where positions are given (they say how many steps there are)")
    try:
        risers = np.sort(np.asarray(positions, dtype=np.float64))
    except (TypeError, ValueError):
        raise InvalidValueError("positions", positions, "a sequence of finite numbers") from None
    if risers.ndim != 1 or risers.size == 0 or not np.all(np.isfinite(risers)):
        raise InvalidValueError("positions", positions, "a sequence of at least one finite number")
    return risers


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidValueError(name, value, "a finite number above 0")
    return float(value)


# ---------------------------------------------------------------- the rows


def _logistic_step(temperature: float) -> _Step:
    def value(z: Array) -> Array:
        return _arrays.backend_of(z).sigmoid(temperature * z)

    def slope(z: Array) -> Array:
        s = value(z)
        return temperature * s * (1 - s)

    return _Step(value, slope, lambda c: (c / temperature, c / temperature))


def _generalized_step(b: float, c: float, v: float) -> _Step:
    """Richards' curve (C / (C + exp(-B z)))^(1/v), written as exp(log_sigmoid(B z + ln C) / v): nothing overflows."""
    shift, power = math.log(c), 1 / v

    def value(z: Array) -> Array:
        xp = _arrays.namespace(z)
        return xp.exp(power * _arrays.backend_of(z).log_sigmoid(b * z + shift))

    def slope(z: Array) -> Array:
        return b * power * value(z) * _arrays.backend_of(z).sigmoid(-(b * z + shift))

    def reach(cutoff: float) -> tuple[float, float]:
        above = (cutoff + max(0.0, math.log(power)) - shift) / b
        below = (cutoff / power + shift) / b
        return max(above, 0.0), max(below, 0.0)

    return _Step(value, slope, reach)


def _smooth_maximum(sharpness: float) -> Callable[[Size, Size], Size]:
    """The p-norm (a^p + b^p)^(1/p) of two positive costs: never below the maximum, at most 2^(1/p) times it."""

    def maximum(a: Size, b: Size) -> Size:
        larger = _arrays.maximum(a, b)
        smaller = a + b - larger
        return larger * (1 + (_arrays.true_divide(smaller, larger)) ** sharpness) ** (1 / sharpness)

    return maximum


def _exact() -> Curve:
    return Curve(lambda x: _arrays.namespace(x).ceil(x), lambda x: 0 * x, is_ceiling=True)


def _logistic(temperature: float = 20.0, steps: int | None = None, positions: Sequence[float] | None = None) -> Curve:
    t = _positive("temperature", temperature)
    ladder = _Ladder(_logistic_step(t), steps=steps, positions=positions)
    return Curve(ladder.value, ladder.slope, _smooth_maximum(t))


def _shifted(temperature: float = 20.0, epsilon: float = 0.01, steps: int | None = None) -> Curve:
    t, e = _positive("temperature", temperature), _positive("epsilon", epsilon)
    lowest = 2 * math.asinh(1 / (2 * e))
    if t < lowest:
        raise InvalidValueError(
            "temperature", temperature, f"at least {lowest:.4g} for the shifted ladder at epsilon {e:g}"
        )
    offset = max(0.0, -math.log(e * -math.expm1(-t)) / t)
    ladder = _Ladder(_logistic_step(t), offset=offset, steps=steps, floor=True)
    return Curve(ladder.value, ladder.slope, _smooth_maximum(t))


def _generalized(
    b: float = 20.0,
    c: float = 0.2,
    v: float = 0.5,
    floor: bool = False,
    steps: int | None = None,
) -> Curve:
    if not isinstance(floor, bool):
        raise InvalidValueError("floor", floor, "True or False")
    step = _generalized_step(_positive("b", b), _positive("c", c), _positive("v", v))
    ladder = _Ladder(step, steps=steps, floor=floor)
    return Curve(ladder.value, ladder.slope, _smooth_maximum(b))


def _straight_through() -> Curve:
    def value(x: Array) -> Array:
        stop = _arrays.backend_of(x).stop_gradient
        return stop(_arrays.namespace(x).ceil(x)) + (x - stop(x))

    return Curve(value, lambda x: 0 * x + 1, is_ceiling=True)


def _linear() -> Curve:
    return Curve(lambda x: x, lambda x: 0 * x + 1)


_LADDER = {"temperature": 20.0, "steps": None}

RELAXATIONS: Mapping[str, Relaxation] = MappingProxyType(
    {
        row.name: row
        for row in (
            Relaxation("exact", "the ceiling itself; no gradient", _exact),
            Relaxation(
                "logistic",
                "the author's ladder of logistic steps; half a step too high at whole multiples",
                _logistic,
                _LADDER | {"positions": None},
            ),
            Relaxation(
                "shifted",
                "the logistic ladder moved right: within epsilon of n at every whole n, never below one",
                _shifted,
                _LADDER | {"epsilon": 0.01},
            ),
            Relaxation(
                "generalized",
                "the asymmetric ladder of U-Boost NAS; 0.028 too high at whole multiples",
                _generalized,
                {"b": 20.0, "c": 0.2, "v": 0.5, "floor": False, "steps": None},
            ),
            Relaxation("straight-through", "exact value, slope of the linear one", _straight_through),
            Relaxation("linear", "x itself: what costs like FLOPs assume", _linear),
        )
    }
)
"""Every relaxation by name. A new one is a function that returns a :class:`Curve`, and a row here."""

EXACT: Relaxation = RELAXATIONS["exact"]
"""The model itself: integers in, exact integers out."""


def as_relaxation(value: Relaxation | str) -> Relaxation:
    """A relaxation, or the row with that name.

    >>> as_relaxation("linear").name
    'linear'
    """
    if isinstance(value, Relaxation):
        return value
    if isinstance(value, str) and value in RELAXATIONS:
        return RELAXATIONS[value]
    raise InvalidValueError("relaxation", value, f"a Relaxation, or one of: {', '.join(RELAXATIONS)}")


def smooth_ceil(x: Array | float, *, temperature: float = 20.0, kind: str = "logistic", **options: Any) -> Any:
    """A smooth stand-in for ceil(x): by default the author's ladder f_{T,w}(x) = sum_i 1 / (1 + exp(-T (x - w_i))).

    Args:
        x: a number, or an array of any shape and library; gradients flow where the library has them.
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
    2.01
    """
    relaxation = as_relaxation(kind)
    sharpness = {"temperature": "temperature", "b": "b"}
    named = next((sharpness[name] for name in relaxation.options if name in sharpness), None)
    if named is not None:
        options.setdefault(named, temperature)
    elif temperature != 20.0:
        raise InvalidValueError("temperature", temperature, f"not given for {kind!r}, which has no temperature")
    return relaxation.with_options(**options).value(x)
