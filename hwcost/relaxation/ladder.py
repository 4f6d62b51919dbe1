"""Sums of smooth steps, evaluated in a window around x.

A ladder is f(x) = sum_i S(x - w_i), with S a step from 0 to 1. Far from its riser a step is 0 or 1 to rounding, so only
the few steps around x are summed, and those below are counted. The width of that window follows from the sharpness of
the step and the precision of the numbers. Value and gradient equal those of the full ladder to rounding, at a cost that
does not depend on the number of steps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hwcost import arrays
from hwcost.arrays import Array
from hwcost.errors import InvalidValueError

__all__ = ["Ladder", "Step", "generalized_step", "logistic_step", "positive"]


_WIDEST = 10_000  # steps in a window: beyond that a ladder has long been a line
_STEEPEST = 1e9


class Step(NamedTuple):
    """A smooth step from 0 to 1: value and slope at the distance z from its riser, and where it is flat.

    ``value`` and ``slope`` take the scaled distance u = scale * z; the slope is the derivative with respect to z.
    ``sharpness`` is the name of the option that sets the scale. ``reach(c)`` returns (above, below): for z > above the
    step is within exp(-c) of 1, for z < -below within exp(-c) of 0.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    reach: Callable[[float], tuple[float, float]]
    scale: float
    sharpness: str


class Ladder:
    """sum_i S(x - w_i) over the window of steps that are not flat at x.

    Args:
        step: the smooth step S.
        offset: added to every whole number, w_i = i + offset.
        steps: number of steps; None for no end.
        positions: the risers w_i, in any order, instead of whole numbers; excludes ``steps``.
        floor: whether step 0 always counts, so that the value is never below one.
    """

    _ALL_AT_ONCE = 2**12  # window elements up to which one wide operation beats one operation a step

    def __init__(
        self,
        step: Step,
        *,
        offset: float = 0.0,
        steps: int | None = None,
        positions: Sequence[float] | None = None,
        floor: bool = False,
    ) -> None:
        self.step, self.offset, self.first = step, offset, int(floor)
        self.steps = _check_steps(steps)
        self.positions = None if positions is None else _check_positions(positions, steps)
        width = sum(step.reach(_cutoff(2.0**-52)))
        if width > _WIDEST:
            allowed = f"larger values, at which steps are at most {_WIDEST:,} wide (these are {width:.3g} wide)"
            raise InvalidValueError(step.sharpness, step.scale, allowed)

    def value(self, x: Array) -> Array:
        """The sum of the steps at x."""
        low, distances = self._window(x)
        return low + self._sum(self.step.value, x, distances)

    def slope(self, x: Array) -> Array:
        """Its derivative."""
        return self._sum(self.step.slope, x, self._window(x)[1])

    def _sum(self, function: Callable[[Array], Array], x: Array, distances: _Distances) -> Array:
        if distances.count == 0:
            return 0 * x
        if distances.count > 1 and math.prod(x.shape) * distances.count <= self._ALL_AT_ONCE:
            return arrays.namespace(x).sum(function(distances.all_at_once()), axis=-1)
        return functools.reduce(
            lambda total, j: total + function(distances[j]), range(1, distances.count), function(distances[0])
        )

    def _window(self, x: Array) -> tuple[Array, _Distances]:
        """The number of steps below the window, and the distances of x from the risers in it."""
        backend = arrays.backend_of(x)
        flat = backend.stop_gradient(x)
        xp = arrays.namespace(x)
        above, below = self.step.reach(_cutoff(float(xp.finfo(x.dtype).eps)))
        if self.positions is not None:
            return self._window_of_positions(xp, x, flat, above, below)
        down = max(1, math.floor(above + self.offset) + 1)
        up = max(1, math.floor(below - self.offset) + 1)
        count, last = down + up, None
        if self.steps is not None:
            count = max(0, min(count, self.steps - self.first))
            last = float(max(self.first, self.steps - count))
        base = xp.floor(flat)
        low = backend.clip(base if down == 1 else base - (down - 1), float(self.first), last)
        finite = backend.clip(low, float(self.first), float(xp.finfo(x.dtype).max))  # infinity is beyond every step
        return low, _Distances(self.step.scale * (x - finite), self.step.scale, self.offset, count)

    def _window_of_positions(
        self, xp: Any, x: Array, flat: Array, above: float, below: float
    ) -> tuple[Array, _Distances]:
        assert self.positions is not None
        count = min(_most_within(self.positions, above + below) + 1, len(self.positions))
        risers = arrays.backend_of(x).constant(list(self.positions), x)
        index = xp.searchsorted(risers, xp.reshape(flat - above, (-1,)))
        index = xp.reshape(xp.clip(index, 0, len(self.positions) - count), x.shape)
        low = xp.astype(index, x.dtype)
        return low, _Distances(
            x,
            self.step.scale,
            0.0,
            count,
            lambda j: xp.reshape(xp.take(risers, xp.reshape(index + j, (-1,)), axis=0), x.shape),
        )


@arrays.constant_while_tracing
def _most_within(positions: tuple[float, ...], span: float) -> int:
    """The most sorted positions within any interval of length ``span``."""
    risers = np.asarray(positions)
    ends = np.searchsorted(risers, risers + span, side="right")
    return int(np.max(ends - np.arange(len(risers))))


@dataclass
class _Distances:
    """Scaled distances of x from the risers of its window, computed on access.

    For whole-numbered risers ``base`` is the scaled place of x in its window; for others it is x.
    """

    base: Array
    scale: float
    offset: float
    count: int
    riser: Callable[[int], Array] | None = None

    def __getitem__(self, j: int) -> Array:
        if self.riser is not None:
            return self.scale * (self.base - self.riser(j))
        return self.base - self.scale * (j + self.offset) if j + self.offset else self.base

    def all_at_once(self) -> Array:
        xp = arrays.namespace(self.base)
        if self.riser is not None:
            return xp.stack([self[j] for j in range(self.count)], axis=-1)
        offsets = [self.scale * (j + self.offset) for j in range(self.count)]
        return xp.expand_dims(self.base, axis=-1) - arrays.backend_of(self.base).constant(offsets, self.base)


def _cutoff(eps: float) -> float:
    """The c at which exp(-c) is below rounding at a machine epsilon: 37 in float64, 17 in float32."""
    return float(math.ceil(-math.log(eps / 2)))


def _check_steps(steps: int | None) -> int | None:
    if steps is None:
        return None
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise InvalidValueError("steps", steps, "an integer of at least 1, or None for no end")
    return int(steps)


def _check_positions(positions: Sequence[float], steps: int | None) -> tuple[float, ...]:
    if steps is not None:
        raise InvalidValueError("steps", steps, "None together with positions, which set the number of steps")
    try:
        risers = sorted(float(position) for position in positions)
    except (TypeError, ValueError):
        raise InvalidValueError("positions", positions, "a sequence of finite numbers") from None
    if not risers or not all(math.isfinite(riser) for riser in risers):
        raise InvalidValueError("positions", positions, "a sequence of at least one finite number")
    return tuple(risers)


def logistic_step(temperature: float) -> Step:
    """1 / (1 + exp(-T z))."""

    def value(u: Array) -> Array:
        return arrays.backend_of(u).sigmoid(u)

    def slope(u: Array) -> Array:
        s = value(u)
        return temperature * s * (1 - s)

    return Step(value, slope, lambda c: (c / temperature, c / temperature), temperature, "temperature")


def generalized_step(b: float, v: float) -> Step:
    """Richards' curve (1 / (1 + exp(-B z)))^(1/v).

    With C it is (C / (C + exp(-B z)))^(1/v), the same moved right by -ln(C) / B. Written over the sigmoid, nothing
    overflows.
    """
    power = 1 / v

    def value(u: Array) -> Array:
        backend = arrays.backend_of(u)
        if 1 <= power <= 4:
            return backend.sigmoid(u) ** power
        # a root has no finite slope if the sigmoid underflows, a high power amplifies rounding; logarithms avoid both
        return arrays.namespace(u).exp(power * backend.log_sigmoid(u))

    def slope(u: Array) -> Array:
        rest = arrays.namespace(u).exp(arrays.backend_of(u).log_sigmoid(-u))  # accurate in the tail
        return b * power * value(u) * rest

    def reach(cutoff: float) -> tuple[float, float]:
        return (cutoff + max(0.0, math.log(power))) / b, cutoff / power / b

    return Step(value, slope, reach, b, "b")


def positive(name: str, value: float) -> float:
    """Checks an option of a step: a number above 0 that float32 can represent."""
    if not arrays.is_real(value) or not 0 < value <= _STEEPEST:
        raise InvalidValueError(name, value, f"a number above 0, up to {_STEEPEST:g}")
    return float(value)
