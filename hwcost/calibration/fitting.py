"""The fit itself: robust least squares of log latencies over a few named numbers of a device.

Residuals are logarithms of predicted over measured latency, so that a factor of two counts the same at every size. A
soft L1 loss makes an outlier pull linearly. The prior keeps each number near what the device said before, as far as the
measurements do not say otherwise: a Gaussian in the logarithm, whose width is ``prior`` times the spread of the number.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Size
from hwcost.calibration.measurements import Measurement, check_peak
from hwcost.calibration.parameters import DEFAULT_FREE, FitParameter, checked_free
from hwcost.calibration.stack import Stack, medians_of_repeats
from hwcost.calibration.validation import Array, Estimate, Scores, estimates, folds, scores
from hwcost.devices import beyond_ranges, load_device
from hwcost.devices.values import MEASURED
from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cost
from hwcost.model.layers import Layer

try:
    from scipy.optimize import least_squares
except ImportError as error:
    raise MissingDependencyError("scipy", "fit", "hwcost.calibration") from error

__all__ = ["Calibration", "ExtrapolationWarning", "Settings", "fit"]

Progress: TypeAlias = Callable[[int, int], None]

_FARTHEST = 12.0
_FARTHEST_SHARE = 7.0
_GRIDS = {"size": ("rows", "cols"), "rows": ("rows",), "cols": ("cols",)} | {
    name: (name,) for name in ("max_streamed", "accumulators", "lowering", "fold_timing", "dataflow")
}
"""What a grid may try, and the fields that it sets."""


class ExtrapolationWarning(UserWarning):
    """A prediction for a layer that is larger or smaller than all that were measured."""


@dataclass(frozen=True)
class Settings:
    """How a fit was made: the same settings, measurements and machine give the same numbers.

    Attributes:
        free: names of :data:`hwcost.calibration.FIT_PARAMETERS`.
        grid: for sizes and names that were searched by trying, what was tried.
        prior: width of the prior; None for no prior.
        robust: size of a log residual from which on it counts linearly.
        starts: starting points, the device itself first.
        folds: parts of the cross-validation.
        fold_seeds: of the shuffles, one cross-validation each.
        seed: of the starting points.
    """

    free: tuple[str, ...]
    grid: Mapping[str, tuple[Any, ...]]
    prior: float | None
    robust: float
    starts: int
    folds: int
    fold_seeds: tuple[int, ...]
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"grid": {name: list(tried) for name, tried in self.grid.items()}}


@dataclass(frozen=True)
class Calibration:
    """A fitted device and what is known of it.

    Attributes:
        device: the machine with its fitted numbers: a value like any other.
        values: the fitted numbers, and what was chosen from a grid, by name.
        scores: errors on held-out measurements, mean over the fold seeds.
        scores_by_seed: the same for each fold seed.
        scores_seen: errors on the measurements that the final fit saw, for comparison.
        estimates: how well the data determine each number.
        names, measured, predicted: of the measurements in order (repeats once): seconds, held out by the first seed's
            folds.
        ranges: smallest and largest m, n, k and MACs of a measured layer.
        chosen: for each name of the grid how often each value was chosen in the folds.
        settings: how it was made.
    """

    device: SystolicArray
    values: Mapping[str, Any]
    scores: Scores
    scores_by_seed: tuple[Scores, ...]
    scores_seen: Scores
    estimates: Mapping[str, Estimate]
    names: tuple[str, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    ranges: Mapping[str, tuple[float, float]]
    chosen: Mapping[str, Mapping[Any, int]]
    settings: Settings

    def beyond(self, layer: Layer) -> list[str]:
        """The sizes of a layer that lie outside of what was measured, in words; empty where none does."""
        return [sentence for gemm in layer.gemms() for sentence in beyond_ranges(self.ranges, gemm)]

    def predict(self, layer: Layer) -> float:
        """Seconds of a layer of plain numbers on the fitted device.

        Warns:
            ExtrapolationWarning: the layer lies outside of what was measured. At four times the size the prediction can
                be off by half or more, though the order of layers mostly holds.
        """
        if beyond := self.beyond(layer):
            warnings.warn(
                f"the prediction is an extrapolation: {'; '.join(beyond)}", ExtrapolationWarning, stacklevel=2
            )
        return float(layer_cost(layer, self.device).seconds)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "device": self.device.as_dict(),
            "values": dict(self.values),
            "scores": dataclasses.asdict(self.scores),
            "scores_by_seed": [dataclasses.asdict(each) for each in self.scores_by_seed],
            "scores_seen": dataclasses.asdict(self.scores_seen),
            "estimates": {
                name: {**dataclasses.asdict(found), "deviation": _finite(found.deviation)}
                for name, found in self.estimates.items()
            },
            "range": {name: list(ends) for name, ends in self.ranges.items()},
            "chosen": {name: {str(value): n for value, n in counts.items()} for name, counts in self.chosen.items()},
            "settings": self.settings.as_dict(),
            "measurements": [
                {"name": name, "seconds": seconds, "predicted_seconds": predicted}
                for name, seconds, predicted in zip(self.names, self.measured, self.predicted, strict=True)
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def fit(
    device: SystolicArray | str,
    measurements: Sequence[Measurement],
    *,
    free: Sequence[str] = DEFAULT_FREE,
    grid: Mapping[str, Sequence[Any]] | None = None,
    prior: float | None = 0.5,
    robust: float = 0.1,
    starts: int = 6,
    folds: int = 5,
    fold_seeds: Sequence[int] = (0, 1, 2),
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Fits a device to measurements, and validates it on measurements that it has not seen.

    Args:
        device: where the search starts: an array, or the name or path of a device.
        measurements: at least as many as there are folds, and more than free numbers; repeats count once, by median.
        free: names of :data:`hwcost.calibration.FIT_PARAMETERS`, at most eight; all other fields stay as they are.
        grid: sizes or names that are unknown, with what to try: ``{"size": (32, 64)}`` for rows and columns alike,
            "rows", "cols", "max_streamed", "accumulators", "lowering", "fold_timing", "dataflow".
        prior: how far the numbers may stray from the device's as long as the data do not pull: the standard deviation
            of a logarithm, times the spread of the number. None: as far as they like.
        robust: log residuals beyond this count linearly.
        starts: starting points; the first is the device itself, the others are drawn around it.
        folds: parts of the cross-validation, by group of measurements.
        fold_seeds: one cross-validation for each.
        seed: of the starting points.
        progress: called with the fits done and the fits to do.

    Raises:
        InvalidValueError: too few measurements, one that is faster than the array's peak, an unknown name, or a setting
            out of its range.
    """
    if not fold_seeds:
        raise InvalidValueError("fold_seeds", fold_seeds, "at least one integer")
    array = load_device(device) if isinstance(device, str) else device
    if not isinstance(array, SystolicArray) or array.sweeps:
        raise InvalidValueError("device", device, "a SystolicArray of plain numbers, or the name or path of a device")
    rows = checked_free(free)
    tried = _checked_grid(grid or {})
    settings = Settings(
        tuple(free), MappingProxyType(tried), _checked_prior(prior), _positive("robust", robust),
        _count("starts", starts, 1), _count("folds", folds, 2), tuple(_count("fold_seeds", s, 0) for s in fold_seeds),
        _count("seed", seed, 0),
    )  # fmt: skip
    machines = [dataclasses.replace(array, **choice) for choice in _choices(tried)]
    used = medians_of_repeats(_checked(measurements, largest_machine(array, tried)))
    groups = [(one.group, 0) if one.group else ("", index) for index, one in enumerate(used)]
    _check_enough(len(used), len(set(groups)), settings)
    stacks = [Stack.of(used, machine) for machine in machines]
    search = _Search(rows, machines, stacks, settings)
    return search.calibrated(used, groups, progress or (lambda done, of: None))


@dataclass(frozen=True)
class _FitResult:
    """The best fit to some measurements: which machine of the grid, the numbers as distances, and the cost."""

    machine: int
    x: Array
    cost: float


@dataclass(frozen=True)
class _Search:
    free: tuple[FitParameter, ...]
    machines: list[SystolicArray]
    stacks: list[Stack]
    settings: Settings

    def calibrated(
        self, used: Sequence[Measurement], groups: Sequence[tuple[str, int]], progress: Progress
    ) -> Calibration:
        settings, count = self.settings, len(used)
        to_do = len(settings.fold_seeds) * settings.folds + 1
        measured = self.stacks[0].seconds
        by_seed, held_out, chosen, done = [], [], [], 0
        for fold_seed in settings.fold_seeds:
            predicted = np.empty(count)
            for part in folds(groups, settings.folds, fold_seed):
                found = self.best(np.setdiff1d(np.arange(count), part))
                predicted[part] = self.predict(found, part)
                chosen.append(found.machine)
                done += 1
                progress(done, to_do)
            held_out.append(predicted)
            by_seed.append(scores(measured, predicted))
        everything = np.arange(count)
        final = self.best(everything)
        seen = self.predict(final, everything)
        progress(to_do, to_do)
        values = self.values(final)
        return Calibration(
            device=self.device(final),
            values=MappingProxyType(values | self._grid_values(final.machine)),
            scores=Scores.mean(by_seed),
            scores_by_seed=tuple(by_seed),
            scores_seen=scores(measured, seen),
            estimates=MappingProxyType(self._estimates(final, values, np.log(seen / measured))),
            names=tuple(one.name or one.source or str(index) for index, one in enumerate(used)),
            measured=tuple(measured.tolist()),
            predicted=tuple(held_out[0].tolist()),
            ranges=MappingProxyType(_ranges(used)),
            chosen=MappingProxyType(self._chosen(chosen)),
            settings=settings,
        )

    # ------------------------------------------------------------ numbers

    def values(self, found: _FitResult) -> dict[str, float]:
        """The numbers of the device itself, by name."""
        machine = self.machines[found.machine]
        return {row.name: float(row.value(row.start_of(machine), x)) for row, x in zip(self.free, found.x, strict=True)}

    def device(self, found: _FitResult) -> SystolicArray:
        """The machine with its fitted numbers."""
        changes: dict[str, Size] = {}
        for row, value in zip(self.free, self.values(found).values(), strict=True):
            changes |= row.settings(value)
        return dataclasses.replace(self.machines[found.machine], **changes)

    def _priced(self, machine: SystolicArray, stack: Stack) -> Callable[[Array], Array]:
        """Seconds of a stack's measurements as a function of the distances."""
        whole = stack.machine(machine)
        own = [any(name in stack.fields for name in row.fields) for row in self.free]  # which builds say each their own
        starts = [row.start_of(whole if each else machine) for row, each in zip(self.free, own, strict=True)]

        def seconds(x: Array) -> Array:
            changes: dict[str, Size] = {}
            for row, start, distance in zip(self.free, starts, x, strict=True):
                changes |= row.settings(row.value(start, float(distance)))
            return stack.predict(dataclasses.replace(whole, **changes))

        return seconds

    def predict(self, found: _FitResult, which: Array) -> Array:
        """Seconds of some of the measurements."""
        return self._priced(self.machines[found.machine], self.stacks[found.machine].at(which))(found.x)

    # ------------------------------------------------------------ search

    def best(self, which: Array) -> _FitResult:
        """The best fit to some of the measurements, over the machines of the grid and the starts."""
        fits = (
            self._least(index, machine, stack.at(which))
            for index, (machine, stack) in enumerate(zip(self.machines, self.stacks, strict=True))
        )
        return min(fits, key=lambda found: found.cost)

    def _least(self, index: int, machine: SystolicArray, stack: Stack) -> _FitResult:
        seconds, measured = self._priced(machine, stack), np.log(stack.seconds)
        widths = np.array([self._width(row) for row in self.free])
        farthest = np.array([_FARTHEST_SHARE if row.is_share else _FARTHEST for row in self.free])
        robust = self.settings.robust

        def residuals(x: Array) -> Array:
            far = (np.log(seconds(x)) - measured) / robust
            data = np.sign(far) * np.sqrt(2 * (np.sqrt(1 + far * far) - 1))  # squared: the soft L1 loss
            return np.concatenate([data, x / widths])

        results = (
            least_squares(residuals, start, bounds=(-farthest, farthest), method="trf", max_nfev=200)
            for start in self._starts(farthest)
        )
        found = min(results, key=lambda result: float(result.cost))
        return _FitResult(index, found.x, float(found.cost))

    def _width(self, row: FitParameter) -> float:
        return math.inf if self.settings.prior is None else self.settings.prior * row.spread

    def _starts(self, farthest: Array) -> Iterator[Array]:
        random = np.random.default_rng(self.settings.seed)
        for index in range(self.settings.starts):
            drawn = random.standard_normal(len(self.free)) if index else np.zeros(len(self.free))
            yield np.clip(drawn, -farthest + 1e-6, farthest - 1e-6)

    # ------------------------------------------------------------ report

    def _estimates(self, found: _FitResult, values: dict[str, float], residuals: Array) -> dict[str, Estimate]:
        seconds = self._priced(self.machines[found.machine], self.stacks[found.machine])
        step = 1e-4
        slopes = np.stack(
            [
                (np.log(seconds(found.x + step * unit)) - np.log(seconds(found.x - step * unit))) / (2 * step)
                for unit in np.eye(len(self.free))
            ],
            axis=1,
        )
        return estimates(values, [row.is_share for row in self.free], slopes, residuals)

    def _grid_values(self, machine: int) -> dict[str, Any]:
        return {name: getattr(self.machines[machine], _GRIDS[name][0]) for name in self.settings.grid}

    def _chosen(self, machines: Sequence[int]) -> dict[str, Mapping[Any, int]]:
        chosen: dict[str, dict[Any, int]] = {name: {} for name in self.settings.grid}
        for machine in machines:
            for name, value in self._grid_values(machine).items():
                chosen[name][value] = chosen[name].get(value, 0) + 1
        return {name: MappingProxyType(counts) for name, counts in chosen.items()}


# ---------------------------------------------------------------- checks


def _checked_grid(grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    checked = {}
    for name, values in grid.items():
        if name not in _GRIDS:
            raise InvalidValueError("grid", name, f"one of: {', '.join(_GRIDS)}")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InvalidValueError(f"grid[{name!r}]", values, "a sequence of at least one value to try")
        checked[name] = tuple(values)
    if "size" in checked and ("rows" in checked or "cols" in checked):
        raise InvalidValueError("grid", ", ".join(checked), "either size, or rows and cols")
    return checked


def _choices(grid: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        choice: dict[str, Any] = {}
        for name, value in zip(grid, values, strict=True):
            choice |= dict.fromkeys(_GRIDS[name], value)
        yield choice


def largest_machine(device: SystolicArray, grid: Mapping[str, Sequence[Any]]) -> SystolicArray:
    """The machine of the grid with the most PEs, which no measurement can be faster than."""
    sizes = {name: max(grid[name]) for name in ("size", "rows", "cols") if grid.get(name)}
    changes: dict[str, Any] = {field: size for name, size in sizes.items() for field in _GRIDS[name]}
    return dataclasses.replace(device, **changes)


def _checked(measurements: Sequence[Measurement], largest: SystolicArray) -> Sequence[Measurement]:
    for one in measurements:
        if not isinstance(one, Measurement):
            raise InvalidValueError("measurements", one, "a sequence of Measurement")
        check_peak(one, largest)
    return measurements


def _check_enough(count: int, groups: int, settings: Settings) -> None:
    training = count - math.ceil(count / settings.folds)
    least = len(settings.free) + 1
    if groups < settings.folds or training < least:
        needed = math.ceil(least * settings.folds / (settings.folds - 1))
        raise InvalidValueError(
            "measurements",
            f"{count} in {groups} groups",
            f"enough to fit {len(settings.free)} numbers to all but one of {settings.folds} folds, "
            f"{needed} of them in {settings.folds} groups at least; measure more, or free fewer",
        )


def _checked_prior(prior: float | None) -> float | None:
    return None if prior is None else _positive("prior", prior)


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidValueError(name, value, "a finite number above 0")
    return float(value)


def _count(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidValueError(name, value, f"an integer of at least {least}")
    return int(value)


def _ranges(measurements: Sequence[Measurement]) -> dict[str, tuple[float, float]]:
    gemms = [gemm for one in measurements for layer in one.layers for gemm in layer.gemms()]
    return {name: (min(sizes), max(sizes)) for name in MEASURED if (sizes := [getattr(gemm, name) for gemm in gemms])}
