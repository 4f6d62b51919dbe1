"""Robust least squares of log latencies over a few named numbers of a machine.

Residuals are logarithms of predicted over measured latency, so that a factor of two counts the same at every size. A
soft L1 loss makes an outlier pull linearly. The prior keeps each number near that of the device unless the measurements
pull it away: a Gaussian in the logarithm, whose width is ``prior`` times the spread of the number.

Fits of one machine to several selections of the measurements, from several starting points, are made together: a
selection is a row of truth values, and all rows are priced in one call.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Size
from hwcost.calibration.descent import minimise
from hwcost.calibration.result import Array
from hwcost.calibration.settings import FitParameter, Settings
from hwcost.calibration.stack import Stack
from hwcost.errors import InvalidValueError
from hwcost.machine.array import IdleFieldError, SystolicArray, adapt
from hwcost.machine.fields import COUNT

__all__ = ["Candidate", "FitResult", "Tick", "best_fits", "fits_from"]

Tick: TypeAlias = Callable[..., None]
"""A function that is called after each candidate."""
_FARTHEST = 12.0
_FARTHEST_SHARE = 7.0
_STEP = 1e-4
_SCALINGS = 3
_BELIEVED = 1.5
"""The factor up to which a device is taken to be as fast as stated: its numbers differ, and not its clock."""
_PULLED, _LOOSER = 2.0, 10.0


@dataclass(frozen=True)
class Candidate:
    """A machine of the grid, with its free numbers at their start, and the measurements priced on it.

    Numbers are given as their distances x from the start. Where ``follows`` is set, the start is that of a machine that
    is slower or faster by one factor, which :meth:`scales` finds, and the prior does not hold numbers against the data.
    """

    machine: SystolicArray
    stack: Stack
    free: tuple[FitParameter, ...]
    follows: bool = False

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
            # what only the measurements give: sizes of which the machine has none
            known = {name: own[0] for name, own in stack.fields.items() if getattr(machine, name) is None}
            counts = {name: int(size) for name, size in known.items() if SystolicArray.declarations[name].kind is COUNT}
            started = adapt(machine, counts, **changes).array
            made = cls(started, stack, free, follows)
            dataclasses.replace(made._start[0], **_changes(free, made._start[1]))  # numbers that rows leave idle
        except IdleFieldError as error:
            field = error.field.partition(".")[2]
            name = next((row.name for row in free if field in row.fields), field)
            raise InvalidValueError("free", name, f"{field}: {error.allowed}", reason=error.reason) from None
        return made

    def scales(self, seen: Array) -> Array:
        """For each selection the factor by which the start is slower, by the median of its measurements."""
        found = np.ones(len(seen))
        for _ in range(_SCALINGS if self.follows else 0):
            ratios = self.stack.seconds / self.seconds(np.zeros((len(seen), len(self.free))), found)
            medians = [np.median(row[own]) for row, own in zip(ratios, seen, strict=True)]
            found = np.clip(found * medians, 1e-9, 1e9)
        if len(self.free) == 1:  # nothing but the factor is fitted
            return found
        return np.where((found >= 1 / _BELIEVED) & (found <= _BELIEVED), 1.0, found)

    def seconds(self, x: Array, scales: Array) -> Array:
        """Seconds of all measurements, a row for each point x and the factor of its start."""
        whole, starts = self._start
        triples = zip(self.free, starts, x.T, strict=True)
        numbers = [row.value(at * scales[:, None] ** row.power, far[:, None]) for row, at, far in triples]
        return self.stack.predict(whole, _changes(self.free, numbers))

    @functools.cached_property
    def _start(self) -> tuple[SystolicArray, list[Size]]:
        """The machine with the fields that differ between measurements, from whose value such numbers start."""
        whole, own = adapt(self.machine, self.stack.fields).array, self.stack.fields
        return whole, [row.start_of(whole if own.keys() & row.fields else self.machine) for row in self.free]


def _changes(free: Sequence[FitParameter], numbers: Sequence[Size]) -> dict[str, Any]:
    return {field: number for row, number in zip(free, numbers, strict=True) for field in row.fields}


@dataclass(frozen=True)
class FitResult:
    """The best fit to some measurements.

    Attributes:
        candidate: the machine.
        x: the distances from its start.
        scale: the factor by which this start is slower.
        cost: what the fit made least.
    """

    candidate: Candidate
    x: Array
    scale: float
    cost: float

    @property
    def values(self) -> dict[str, float]:
        """The numbers of the device itself, by name."""
        free, machine = self.candidate.free, self.candidate.machine
        starts = [row.start_of(machine) * self.scale**row.power for row in free]
        return {row.name: float(row.value(at, x)) for row, at, x in zip(free, starts, self.x.tolist(), strict=True)}

    @property
    def device(self) -> SystolicArray:
        """The machine with its fitted numbers."""
        free, machine = self.candidate.free, self.candidate.machine
        return dataclasses.replace(machine, **_changes(free, list(self.values.values())))

    def seconds(self, which: Array | slice = slice(None)) -> Array:
        """Seconds of some of the measurements, or of all."""
        return self._at(self.x[None])[0, which]

    def slopes(self) -> Array:
        """D log(seconds) / dx: one row per measurement, one column per number."""
        steps = _STEP * np.eye(len(self.x))
        above, below = np.log(self._at(self.x + steps)), np.log(self._at(self.x - steps))
        return (above - below).T / (2 * _STEP)

    def _at(self, x: Array) -> Array:
        return self.candidate.seconds(x, np.full(len(x), self.scale))


def best_fits(
    candidates: Sequence[Candidate],
    settings: Settings,
    seen: Array,
    tick: Tick,
    tolerance: float = 1e-8,
) -> list[FitResult]:
    """The best fit to each selection of the measurements, over all candidates and starting points.

    Args:
        candidates: the machines.
        settings: of the fit.
        seen: a row of truth values for each selection.
        tick: called after each candidate.
        tolerance: of the search; a comparison of forms needs less than a fit.
    """
    found: list[FitResult] = []
    for each in candidates:
        random = np.random.default_rng(settings.seed)
        drawn = random.standard_normal((settings.starts - 1, len(each.free)))
        starts = np.repeat(np.vstack([np.zeros(len(each.free)), drawn]), len(seen), axis=0)
        scales = np.tile(each.scales(seen), settings.starts)
        found += fits_from(each, settings, np.tile(seen, (settings.starts, 1)), starts, scales, tolerance)
        tick()
    return [min(found[index :: len(seen)], key=lambda fit: fit.cost) for index in range(len(seen))]


def fits_from(
    candidate: Candidate, settings: Settings, seen: Array, start: Array, scales: Array, tolerance: float
) -> list[FitResult]:
    """The fit of a candidate to each selection of the measurements from a starting point of its own.

    Args:
        candidate, settings, seen, tolerance: as for :func:`best_fits`.
        start: distances, a row for each selection.
        scales: the factor of the start for each.
    """
    free, measured = candidate.free, np.log(candidate.stack.seconds)
    prior = math.inf if settings.prior is None else settings.prior
    widths = np.tile([prior * row.start.spread for row in free], (len(seen), 1))
    farthest = np.array([_FARTHEST_SHARE if row.is_share else _FARTHEST for row in free])

    def residuals(which: Array, x: Array) -> Array:
        far = (np.log(candidate.seconds(x, scales[which])) - measured) / settings.robust
        data = far * np.sqrt(2 / (np.sqrt(1 + far * far) + 1))  # squared: the soft L1 loss
        return np.where(seen[which], data, 0)

    found = minimise(residuals, start, widths, farthest, tolerance)
    pulled = np.abs(found.x) > _PULLED * widths
    if candidate.follows and pulled.any():  # the data pull against the prior: it must not win unseen
        found = minimise(residuals, found.x, np.where(pulled, _LOOSER * widths, widths), farthest, tolerance)
    ends = zip(found.x, scales.tolist(), found.cost.tolist(), strict=True)
    return [FitResult(candidate, *end) for end in ends]
