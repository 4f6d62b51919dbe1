"""Many small problems of least squares, solved at once: the method of Levenberg and Marquardt over arrays of problems.

A calibration fits a few numbers to a few measurements hundreds of times: for every form, part that is held out and
starting point. One call that prices all of them costs little more than a call that prices one, so the problems advance
together, each with a damping of its own, and leave when they have converged.

Source: Marquardt, SIAM J. Appl. Math. 11 (1963); damping by the gain as in Nielsen, IMM-REP-1999-05; scaling by the
largest curvature seen as in Moré, Numerical Analysis, LNM 630 (1978).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hwcost.calibration.result import Array

__all__ = ["Minima", "minimise"]

_MOST = 200
_STEP = 1e-7
_GRADIENT = 1e-8
_DAMPING, _LEAST_DAMPING, _LEAST_SCALE = 1e-2, 1e-10, 1e-4
_TRUSTED = 0.25
"""The share of the predicted gain from which a small gain is the end of a search, and not of a bad model."""


class Minima(NamedTuple):
    """The points found, a row for each problem, and their costs."""

    x: Array
    cost: Array


def minimise(
    residuals: Callable[[Array, Array], Array], start: Array, widths: Array, farthest: Array, tolerance: float
) -> Minima:
    """The minima of some problems: sum over i of r_i(x)^2 / 2 + sum over j of (x_j / w_j)^2 / 2.

    Args:
        residuals: a function of problems, by number, and of a point for each, that returns a row r for each.
        start: a point for each problem, (problems, n).
        widths: w, of the same shape; infinite for no pull towards 0.
        farthest: -farthest <= x <= farthest, (n,).
        tolerance: the relative change of cost or point at which a problem is solved.

    >>> data = np.array([[1.0, 2.0], [5.0, 5.0]])
    >>> found = minimise(lambda which, x: np.exp(x) - data[which], np.zeros((2, 1)), np.full((2, 1), np.inf),
    ...                  np.full(1, 9.0), 1e-10)
    >>> np.exp(found.x).round(6).tolist(), found.cost.round(6).tolist()
    ([[1.5], [5.0]], [0.25, 0.0])
    """
    x = np.clip(start, -farthest, farthest)
    costs = np.empty(len(x))
    state = _State.of(residuals, np.arange(len(x)), x, widths**-2.0, farthest)
    damping, growth, scale = np.full(len(x), _DAMPING), np.full(len(x), 2.0), np.zeros_like(x)
    for _ in range(_MOST):
        scale = np.maximum(scale, np.diagonal(state.curvature, axis1=1, axis2=2))
        tried = np.clip(state.x + state.step(damping, scale), -farthest, farthest)
        new = _State.of(residuals, state.which, tried, state.weights, farthest)
        gain, expected = state.cost - new.cost, state.expected_gain(tried)
        better, share = gain > 0, gain / np.maximum(expected, 1e-300)
        moved, length = (np.linalg.norm(each, axis=1) for each in (tried - state.x, state.x))
        is_small = better & (gain < tolerance * state.cost) & (share > _TRUSTED)
        state = state.where(better, new)
        x[state.which], costs[state.which] = state.x, state.cost
        is_flat = np.abs(state.gradient).max(axis=1, initial=0.0) <= _GRADIENT
        going = ~(is_small | is_flat | (moved < tolerance * (tolerance + length)))
        if not going.any():
            break
        softer = np.maximum(1 / 3, 1 - (2 * np.clip(share, 0, 1) - 1) ** 3)
        damping = np.clip(np.where(better, damping * softer, damping * growth), _LEAST_DAMPING, None)[going]
        growth, scale, state = np.where(better, 2, 2 * growth)[going], scale[going], state.at(going)
    return Minima(x, costs)


class _State(NamedTuple):
    """Problems that are not solved yet: where they are, and the quadratic model of their costs there.

    Attributes:
        which: their numbers.
        weights: of the pull towards 0.
        x, cost, curvature: the points, their costs, and the second derivatives of the model.
        gradient: of the cost, 0 along axes that lead out of the bounds.
    """

    which: Array
    weights: Array
    x: Array
    cost: Array
    gradient: Array
    curvature: Array

    @classmethod
    def of(
        cls, residuals: Callable[[Array, Array], Array], which: Array, x: Array, weights: Array, farthest: Array
    ) -> _State:
        problems, n = x.shape
        around = np.concatenate([np.zeros((1, n)), _STEP * np.eye(n), -_STEP * np.eye(n)])
        found = residuals(np.repeat(which, 2 * n + 1), (x[:, None, :] + around).reshape(-1, n))
        own, above, below = np.split(found.reshape(problems, 2 * n + 1, -1), [1, n + 1], axis=1)
        own, slopes = own[:, 0], (above - below) / (2 * _STEP)
        cost = 0.5 * ((own * own).sum(axis=1) + (weights * x * x).sum(axis=1))
        gradient = (slopes @ own[:, :, None])[:, :, 0] + weights * x
        curvature = slopes @ slopes.swapaxes(1, 2) + weights[:, :, None] * np.eye(n)
        leads_out = (np.abs(x) >= farthest) & (gradient * x < 0)
        inside = ~leads_out[:, :, None] & ~leads_out[:, None, :]
        return cls(which, weights, x, cost, np.where(leads_out, 0, gradient), np.where(inside, curvature, 0))

    def at(self, these: Array) -> _State:
        """Some of the problems."""
        return _State(*(each[these] for each in self))

    def where(self, better: Array, new: _State) -> _State:
        """The new state of problems that got better."""
        pairs = zip(new, self, strict=True)
        return _State(*(np.where(better.reshape(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs))

    def step(self, damping: Array, scale: Array) -> Array:
        """The steps to the minima of the damped models."""
        least = np.maximum(_LEAST_SCALE * scale.max(axis=1, keepdims=True, initial=0.0), 1e-300)
        added = damping[:, None] * np.maximum(scale, least)
        damped = self.curvature + added[:, :, None] * np.eye(scale.shape[1])
        return -np.linalg.solve(damped, self.gradient[:, :, None])[:, :, 0]

    def expected_gain(self, tried: Array) -> Array:
        """By how much the models say that the costs fall."""
        step = tried - self.x
        bent: Array = 0.5 * (self.curvature @ step[:, :, None])[:, :, 0]
        return -((self.gradient + bent) * step).sum(axis=1)  # type: ignore[no-any-return]
