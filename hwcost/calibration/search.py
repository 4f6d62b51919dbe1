"""Robust least squares of log latencies over a few named numbers of a machine.

Residuals are logarithms of predicted over measured latency, so that a factor of two counts the same at every size. A
soft L1 loss makes an outlier pull linearly. The prior keeps each number near that of the device unless the measurements
pull it away: a Gaussian in the logarithm, whose width is ``prior`` times the spread of the number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hwcost.arrays import Size
from hwcost.calibration.result import Array
from hwcost.calibration.settings import FitParameter, Settings
from hwcost.calibration.stack import Stack
from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.machine.array import IdleFieldError, SystolicArray, adapt

try:
    from scipy.optimize import least_squares
except ImportError as error:
    raise MissingDependencyError("scipy", "fit", "hwcost.calibration") from error

__all__ = ["Candidate", "FitResult", "best_fit"]

_FARTHEST = 12.0
_FARTHEST_SHARE = 7.0
_STEP = 1e-4
_SCALINGS = 3
_PULLED, _LOOSER = 2.0, 10.0


@dataclass(frozen=True)
class Candidate:
    """A machine of the grid, with its free numbers at their start, and the measurements priced on it.

    Numbers are given as their distances x from the start. Where ``follows`` is set, the start is that of a machine that
    is slower or faster by one factor, which :meth:`scaled` finds, and the prior does not hold numbers against the data.
    """

    machine: SystolicArray
    stack: Stack
    free: tuple[FitParameter, ...]
    follows: bool = False
    scale: float | None = None

    @classmethod
    def of(
        cls,
        machine: SystolicArray,
        stack: Stack,
        free: tuple[FitParameter, ...],
        fields: Mapping[str, Any] = MappingProxyType({}),
        *,
        follows: bool = False,
    ) -> Candidate:
        """The machine at the start; its fields without effect next to the free ones return to their neutral value.

        Args:
            machine, stack, free, follows: of the candidate.
            fields: of the machine that are set.

        Raises:
            InvalidValueError: a free number that has no effect on the machine.
        """
        try:
            changes = {**fields, **_changes(free, [row.start_of(machine) for row in free])}
            started = adapt(machine, **changes).array
        except IdleFieldError as error:
            field = error.field.partition(".")[2]
            name = next((row.name for row in free if field in row.fields), field)
            raise InvalidValueError("free", name, f"{field}: {error.allowed}", reason=error.reason) from None
        return cls(started, stack, free, follows)

    def scaled(self, which: Array) -> Candidate:
        """The candidate whose start is as slow as some of the measurements are, by their median; found once."""
        if self.scale is not None:
            return self
        scale, measured, still = 1.0, self.stack.seconds[which], np.zeros(len(self.free))
        for _ in range(_SCALINGS if self.follows else 0):
            predicted = dataclasses.replace(self, scale=scale).seconds(which)(still)
            scale = min(max(scale * float(np.median(measured / predicted)), 1e-9), 1e9)
        return dataclasses.replace(self, scale=scale)

    def _starts(self, machine: SystolicArray) -> list[Size]:
        scale = 1.0 if self.scale is None else self.scale
        return [row.start_of(machine) * scale**row.power for row in self.free]

    def values(self, x: Array) -> dict[str, float]:
        """The numbers of the device itself, by name."""
        triples = zip(self.free, self._starts(self.machine), x, strict=True)
        return {row.name: float(row.value(start, distance)) for row, start, distance in triples}

    def device(self, x: Array) -> SystolicArray:
        """The machine with its fitted numbers."""
        return dataclasses.replace(self.machine, **_changes(self.free, list(self.values(x).values())))

    def seconds(self, which: Array | None = None) -> Callable[[Array], Array]:
        """Seconds of some of the measurements, or of all, as a function of the distances."""
        stack = self.stack if which is None else self.stack.at(which)
        whole = adapt(self.machine, stack.fields).array
        # a number that differs between measurements is scaled from the value of each
        pairs = zip(self.free, self._starts(whole), self._starts(self.machine), strict=True)
        starts = [own if any(name in stack.fields for name in row.fields) else of_all for row, own, of_all in pairs]

        def predict(x: Array) -> Array:
            triples = zip(self.free, starts, x, strict=True)
            numbers = [row.value(start, float(distance)) for row, start, distance in triples]
            return stack.predict(dataclasses.replace(whole, **_changes(self.free, numbers)))

        return predict

    def slopes(self, x: Array) -> Array:
        """D log(seconds) / dx: one row per measurement, one column per number."""
        seconds = self.seconds()
        sides = ((np.log(seconds(x + _STEP * u)), np.log(seconds(x - _STEP * u))) for u in np.eye(len(self.free)))
        return np.stack([(above - below) / (2 * _STEP) for above, below in sides], axis=1)


def _changes(free: Sequence[FitParameter], numbers: Sequence[Size]) -> dict[str, Any]:
    return {field: number for row, number in zip(free, numbers, strict=True) for field in row.fields}


@dataclass(frozen=True)
class FitResult:
    """The best fit to some measurements: its candidate, the distances from the candidate's start, and the cost."""

    candidate: Candidate
    x: Array
    cost: float


def best_fit(
    candidates: Sequence[Candidate],
    settings: Settings,
    which: Array,
    start: Array | None = None,
    tolerance: float = 1e-8,
) -> FitResult:
    """The best fit to some of the measurements, over all candidates and starting points.

    Args:
        candidates: the machines.
        settings: of the fit.
        which: positions of the measurements.
        start: the first starting point; that of the machine by default.
        tolerance: of the search; a comparison of forms needs less than a fit.
    """
    fits = (found for each in candidates for found in _local_fits(each, settings, which, start, tolerance))
    return min(fits, key=lambda found: found.cost)


def _local_fits(
    candidate: Candidate, settings: Settings, which: Array, first: Array | None, tolerance: float
) -> Iterator[FitResult]:
    candidate = candidate.scaled(which)
    free, seconds, measured = candidate.free, candidate.seconds(which), np.log(candidate.stack.seconds[which])
    prior = math.inf if settings.prior is None else settings.prior
    widths = np.array([prior * row.start.spread for row in free])
    farthest = np.array([_FARTHEST_SHARE if row.is_share else _FARTHEST for row in free])

    def residuals(x: Array, widths: Array) -> Array:
        far = (np.log(seconds(x)) - measured) / settings.robust
        data = np.sign(far) * np.sqrt(2 * (np.sqrt(1 + far * far) - 1))  # squared: the soft L1 loss
        return np.concatenate([data, x / widths])

    def fitted(start: Array, widths: Array) -> Any:
        start = np.clip(start, -farthest + 1e-6, farthest - 1e-6)
        bounds = -farthest, farthest
        return least_squares(
            residuals, start, bounds=bounds, args=(widths,), ftol=tolerance, xtol=tolerance, method="trf", max_nfev=200
        )

    random = np.random.default_rng(settings.seed)
    origin = np.zeros(len(free)) if first is None else first
    for index in range(settings.starts):
        drawn = random.standard_normal(len(free)) if index else origin
        found = fitted(drawn, widths)
        pulled = np.abs(found.x) > _PULLED * widths
        if candidate.follows and pulled.any():  # the data pull against the prior: it must not win unseen
            found = fitted(found.x, np.where(pulled, _LOOSER * widths, widths))
        yield FitResult(candidate, found.x, float(found.cost))
