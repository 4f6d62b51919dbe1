"""The fit of a device to measurements, and its validation on measurements that it has not seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Table
from hwcost.calibration.measurements import Measurement, check_peak, medians_of_repeats
from hwcost.calibration.result import Calibration, Scores, estimates, folds, scores
from hwcost.calibration.search import Candidate, FitResult, Stack, best_fit
from hwcost.calibration.settings import (
    DEFAULT_FREE,
    Settings,
    check_grid,
    fit_parameters,
    grid_values,
    largest_machine,
    machines_of,
)
from hwcost.devices import Range
from hwcost.devices.measured import MEASURED
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import as_array

__all__ = ["fit"]

Progress: TypeAlias = Callable[[int, int], None]


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
        free: names of :data:`hwcost.calibration.FIT_PARAMETERS`, at most eight. All other fields stay as they are;
            those without effect next to the fitted ones return to their neutral value.
        grid: values to try for unknown sizes and names: ``{"size": (32, 64)}`` for rows and columns alike, or any count
            or table row of the array, like "rows", "max_streamed" or "dataflow".
        prior: how far the numbers may stray from those of the device: the standard deviation of a logarithm, times the
            spread of the number. None: no limit.
        robust: log residuals above this count linearly.
        starts: starting points; the first is the device itself, the others are drawn around it.
        folds: parts of the cross-validation, by group of measurements.
        fold_seeds: one cross-validation for each.
        seed: of the starting points.
        progress: called with the fits done and the fits to do.

    Raises:
        InvalidValueError: too few measurements, one that is faster than the array's peak, an unknown name, a free
            number without effect on the device, or a setting out of its range.
    """
    array = as_array(device, "device")
    if array.sweeps:
        raise InvalidValueError("device", device, "a SystolicArray of plain numbers, or the name or path of a device")
    rows, tried = fit_parameters(free), check_grid(grid or {})
    settings = Settings(tuple(free), Table(tried), prior, robust, starts, folds, tuple(fold_seeds), seed)
    used = medians_of_repeats(_checked(measurements, largest_machine(array, tried)))
    groups = [(one.group, 0) if one.group else ("", index) for index, one in enumerate(used)]
    _check_enough(len(used), len(set(groups)), settings)
    machines = machines_of(array, tried)
    candidates = [Candidate.of(machine, Stack.of(used, machine), rows) for machine in machines]
    return _calibration(candidates, used, groups, settings, progress or (lambda done, of: None))


def _calibration(
    candidates: Sequence[Candidate],
    used: Sequence[Measurement],
    groups: Sequence[tuple[str, int]],
    settings: Settings,
    progress: Progress,
) -> Calibration:
    """The fit to all measurements, and a cross-validation for each fold seed."""
    measured, everything = candidates[0].stack.seconds, np.arange(len(used))
    held_out = np.empty((len(settings.fold_seeds), len(used)))
    parts = [(i, p) for i, seed in enumerate(settings.fold_seeds) for p in folds(groups, settings.folds, seed)]
    fits: list[FitResult] = []
    for shuffle, part in parts:
        found = best_fit(candidates, settings, np.setdiff1d(everything, part))
        held_out[shuffle, part] = candidates[found.index].seconds(part)(found.x)
        fits.append(found)
        progress(len(fits), len(parts) + 1)
    final = best_fit(candidates, settings, everything)
    progress(len(parts) + 1, len(parts) + 1)
    best, by_seed = candidates[final.index], tuple(scores(measured, predicted) for predicted in held_out)
    values, seen = best.values(final.x), best.seconds()(final.x)
    known = estimates(values, [row.is_share for row in best.free], best.slopes(final.x), np.log(seen / measured))
    return Calibration(
        device=best.device(final.x),
        values=Table(values | grid_values(best.machine, settings.grid)),
        scores=Scores.mean(by_seed),
        scores_by_seed=by_seed,
        scores_seen=scores(measured, seen),
        estimates=Table(known),
        names=tuple(one.name or one.source or str(index) for index, one in enumerate(used)),
        measured=tuple(measured.tolist()),
        predicted=tuple(held_out[0].tolist()),
        ranges=Table(_ranges(used)),
        chosen=Table(_chosen([candidates[each.index].machine for each in fits], settings.grid)),
        settings=settings,
    )


def _chosen(machines: Sequence[SystolicArray], grid: Mapping[str, Any]) -> dict[str, Mapping[Any, int]]:
    chosen = [grid_values(machine, grid) for machine in machines]
    return {name: Table(dict(Counter(values[name] for values in chosen))) for name in grid}


def _ranges(measurements: Sequence[Measurement]) -> dict[str, Range]:
    gemms = [gemm for one in measurements for layer in one.layers for gemm in layer.gemms()]
    columns = {name: [getattr(gemm, name) for gemm in gemms] for name in MEASURED if gemms}
    return {name: Range(min(sizes), max(sizes)) for name, sizes in columns.items()}


# ---------------------------------------------------------------- checks


def _checked(measurements: Sequence[Measurement], largest: SystolicArray) -> Sequence[Measurement]:
    for one in measurements:
        if not isinstance(one, Measurement):
            raise InvalidValueError("measurements", one, "a sequence of Measurement")
        check_peak(one, largest)
    return measurements


def _check_enough(count: int, groups: int, settings: Settings) -> None:
    training, free = count - math.ceil(count / settings.folds), len(settings.free)
    if training <= free:
        needed = math.ceil((free + 1) * settings.folds / (settings.folds - 1))
        allowed = f"at least {needed}, to fit {free} numbers to all but one of {settings.folds} folds"
        raise InvalidValueError("the number of measurements", count, f"{allowed}; measure more, or free fewer")
    if groups < settings.folds:
        raise InvalidValueError("folds", settings.folds, f"at most {groups}, the number of groups of measurements")
