"""The fit of a device to measurements, and its validation on measurements that it has not seen."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Table
from hwcost.calibration.forms import AUTO, FORMS, Form, chosen_forms, forms_of
from hwcost.calibration.measurements import Measurement, median_of, repeats_of
from hwcost.calibration.mixing import Labelled, mixed
from hwcost.calibration.peaks import check_peak, chip_hint, is_too_fast
from hwcost.calibration.result import Calibration, Estimate, Scores, estimates, folds, margin, scores
from hwcost.calibration.search import Candidate, FitResult, Tick, best_fits
from hwcost.calibration.settings import (
    FIT_PARAMETERS,
    Settings,
    check_grid,
    fit_parameters,
    grid_values,
    largest_machine,
    machines_of,
)
from hwcost.calibration.stack import Stack
from hwcost.devices import Range, read_device
from hwcost.devices.measured import MEASURED
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import as_array
from hwcost.units import be, plural

__all__ = ["fit"]

Progress: TypeAlias = Callable[[int, int], None]
_FEWEST, _FEW = 3, 12
_ROW = "cycles_per_row"


def fit(
    device: SystolicArray | str,
    measurements: Sequence[Measurement],
    *,
    free: Sequence[str | Form] | Form | str = AUTO,
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
        measurements: repeats count once, by median. At least three; for named numbers at least as many as there are
            folds, and more than numbers.
        free: "auto" chooses among :data:`hwcost.calibration.FORMS` by cross-validation inside the measurements that a
            fit sees; or one of them by name, or a :class:`Form` of your own, or several of both to choose among; or
            names of :data:`hwcost.calibration.FIT_PARAMETERS`, at most eight. Of a form all numbers start from the
            device, slower or faster by one factor that the measurements show; named numbers start from the device
            itself. All other fields stay as they are; those without effect next to the fitted ones return to their
            neutral value.
        grid: values to try for unknown sizes and names: ``{"size": (32, 64)}`` for rows and columns alike, or any count
            or table row of the array, like "rows", "max_streamed" or "dataflow".
        prior: how far the numbers may stray from those of the device: the standard deviation of a logarithm, times the
            spread of the number. None: no limit.
        robust: log residuals above this count linearly.
        starts: starting points; the first is the device itself, the others are drawn around it.
        folds: parts of the cross-validation, by group of measurements.
        fold_seeds: one cross-validation for each.
        seed: of the starting points.
        progress: called with the searches done and the searches to do: one for each form and machine of the grid, and
            as many more if a form is chosen.

    Raises:
        InvalidValueError: too few measurements, one that is faster than the array's peak, an unknown name, a free
            number without effect on the device, or a setting out of its range.
    """
    array = as_array(device, "device")
    if array.sweeps:
        raise InvalidValueError("device", device, "a SystolicArray of plain numbers, or the name or path of a device")
    tried = check_grid(grid or {})
    forms = forms_of(free)
    given: Any = free
    named = free if isinstance(free, str) else tuple(form.name for form in forms) or tuple(given)
    settings = Settings(named, Table(tried), prior, robust, starts, folds, tuple(fold_seeds), seed)
    hint = "" if isinstance(device, SystolicArray) else chip_hint(read_device(device))
    repeats = repeats_of(_checked(measurements, largest_machine(array, tried), hint))
    used = list(map(median_of, repeats))
    groups = [(one.group, 0) if one.group else ("", index) for index, one in enumerate(used)]
    if forms:
        settings = dataclasses.replace(settings, folds=min(settings.folds, max(2, len(set(groups)))))
        tried_forms = [form.for_measurements(used) for form in _forms(forms, used, len(set(groups)), settings)]
    else:
        tried_forms = [Form("", "", tuple(row.name for row in fit_parameters(named)))]
        settings = _enough(len(used), len(set(groups)), settings)
    machines = list(machines_of(array, tried))
    able = [each for each in machines if not any(is_too_fast(one, each) for one in used)]
    candidates = dict(_candidates(tried_forms, able, used, follows=bool(forms)))
    if not candidates:
        raise InvalidValueError("free", free, "another form", reason="none of its numbers has an effect on the device")
    found = _calibration(candidates, repeats, groups, settings, progress or (lambda done, of: None))
    beaten = tuple(Table(grid_values(each, settings.grid)) for each in machines if each not in able)
    fields = next((form.fields for form in tried_forms if form.name == found.form), {})
    return dataclasses.replace(found, beaten=beaten, fields=Table(dict(fields)))


def _forms(forms: Sequence[Form], used: Sequence[Measurement], groups: int, settings: Settings) -> Sequence[Form]:
    """Of several forms those that so many measurements can tell apart; one is taken as it is."""
    count, depths = len(used), {one.depth for one in used}
    if min(count, groups) < _FEWEST:
        allowed = f"at least {_FEWEST}, in as many groups; fewer cannot be held out"
        raise InvalidValueError("the number of measurements", min(count, groups), allowed)
    if len(forms) == 1:
        if forms[0].of_runs and len(depths) == 1:
            reason = (
                f"all measurements have {plural(depths.pop(), 'layer')}: those of a run cannot be told from a layer's"
            )
            allowed = "measure networks of another depth, or another form"
            raise InvalidValueError("free", forms[0].name, allowed, reason=reason)
        return forms
    seen = count - math.ceil(count / settings.folds)
    known = [form for form in forms if len(depths) > 1 or not form.of_runs]
    able = [form for form in known if len(form.free) < max(2, seen)]
    if not able:
        fewest = min((len(form.free) for form in known), default=0)
        reason = f"the forms have {fewest} numbers and more, and {plural(seen, 'measurement')} {be(seen)} seen by a fit"
        raise InvalidValueError("free", [form.name for form in forms], "forms of fewer numbers", reason=reason)
    return able


def _candidates(
    forms: Sequence[Form], machines: Sequence[SystolicArray], used: Sequence[Measurement], *, follows: bool
) -> Iterator[tuple[str, list[Candidate]]]:
    """The candidates of each form; forms whose numbers have no effect on a machine are left out of a choice."""
    stacks = [Stack.of(used, machine) for machine in machines]
    for form in forms:
        rows = fit_parameters(form.free)
        try:
            pairs = zip(machines, stacks, strict=True)
            yield form.name, [Candidate.of(*pair, rows, form.fields, follows=follows) for pair in pairs]
        except InvalidValueError as error:
            if len(forms) == 1 or (error.field != "free" and form.name not in FORMS):
                raise


def _calibration(
    candidates: Mapping[str, Sequence[Candidate]],
    repeats: Sequence[Sequence[Measurement]],
    groups: Sequence[tuple[str, int]],
    settings: Settings,
    progress: Progress,
) -> Calibration:
    """The fit to all measurements, and a cross-validation for each fold seed; the form is chosen anew in each fold."""
    used = list(map(median_of, repeats))
    measured = np.array([one.seconds for one in used])
    parts = [(i, p) for i, seed in enumerate(settings.fold_seeds) for p in folds(groups, settings.folds, seed)]
    seen = np.ones((len(parts) + 1, len(used)), dtype=bool)  # the last row is the fit to all of them
    for row, (_, part) in zip(seen, parts, strict=False):
        row[part] = False
    tick = _ticks(sum(map(len, candidates.values())) * (2 if len(candidates) > 1 else 1), progress)
    choices = chosen_forms(candidates, groups, settings, seen, tick)
    names, fits = [name for name, _ in choices], dict[int, FitResult]()
    for name, own in candidates.items():
        which = [index for index, chosen in enumerate(names) if chosen == name]
        if which:
            fits |= zip(which, best_fits(own, settings, seen[which], tick), strict=True)
        else:
            tick(len(own))
    held_out = np.empty((len(settings.fold_seeds), len(used)))
    for index, (shuffle, part) in enumerate(parts):
        held_out[shuffle, part] = fits[index].seconds(part)
    final = fits[len(parts)]
    (form, errors), best = choices[-1], final.candidate
    by_seed = tuple(scores(measured, predicted) for predicted in held_out)
    values, predicted = final.values, final.seconds()
    known = estimates(values, [row.is_share for row in best.free], final.slopes(), np.log(predicted / measured))
    chosen = _chosen([fits[index].candidate.machine for index in range(len(parts))], settings.grid)
    return Calibration(
        device=final.device,
        values=Table(values | grid_values(best.machine, settings.grid)),
        scores=Scores.mean(by_seed),
        scores_by_seed=by_seed,
        scores_seen=scores(measured, predicted),
        estimates=Table(known),
        names=tuple(one.name or one.source or str(index) for index, one in enumerate(used)),
        measured=tuple(measured.tolist()),
        predicted=tuple(held_out[0].tolist()),
        ranges=Table(_ranges(used)),
        chosen=Table(chosen | ({"form": Table(dict(Counter(names[:-1])))} if form else {})),
        settings=settings,
        margin=_margin(np.log(held_out / measured)),
        busiest=_busiest(used, best.machine),
        form=form,
        forms=Table(errors),
        form_words=Table({name: (len(FORMS[name].free), FORMS[name].summary) for name in errors if name in FORMS}),
        mixed=tuple(mixed(_labelled(repeats, np.log(held_out).mean(0)))),
        clock_factor=_clock_factor(best, known),
        depth=used[0].depth if len({one.depth for one in used}) == 1 else None,
    )


def _ticks(of: int, progress: Progress) -> Tick:
    """A function that takes the number of searches done since the last call."""
    done = 0

    def tick(more: int = 1) -> None:
        nonlocal done
        done += more
        progress(done, of)

    return tick


def _labelled(repeats: Sequence[Sequence[Measurement]], logs: Sequence[float]) -> list[Labelled]:
    """Every row with its residual; the logarithms are those of the predictions of the repeats."""
    return [
        Labelled(one.labels, layer, math.log(one.seconds) - predicted)
        for layer, (same, predicted) in enumerate(zip(repeats, logs, strict=True))
        for one in same
    ]


def _clock_factor(best: Candidate, known: Mapping[str, Estimate]) -> float | None:
    """How many times as long as stated a row takes; None if the data do not determine it."""
    found = known.get(_ROW)
    if found is None or not found.is_determined:
        return None
    return float(found.value / FIT_PARAMETERS[_ROW].start_of(best.machine))


def _chosen(machines: Sequence[SystolicArray], grid: Mapping[str, Any]) -> dict[str, Mapping[Any, int]]:
    chosen = [grid_values(machine, grid) for machine in machines]
    return {name: Table(dict(Counter(values[name] for values in chosen))) for name in grid}


def _margin(residuals: Any) -> float | None:
    """The width of intervals, a mean over the shuffles; none for too few measurements."""
    mean = float(np.mean([margin(row) for row in residuals]))
    return mean if math.isfinite(mean) else None


def _busiest(measurements: Sequence[Measurement], machine: SystolicArray) -> float:
    """The largest share of the array's multiply-accumulates that a measurement needed."""

    def share(one: Measurement) -> float:
        sizes = (one.device.get(name, getattr(machine, name)) for name in ("rows", "cols", "arrays"))
        return float(one.macs / (one.seconds * math.prod(sizes) * machine.clock_hz))

    return max(map(share, measurements))


def _ranges(measurements: Sequence[Measurement]) -> dict[str, Range]:
    gemms = [gemm for one in measurements for layer in one.layers for gemm in layer.gemms()]
    columns = {name: [getattr(gemm, name) for gemm in gemms] for name in MEASURED if gemms}
    return {name: Range(min(sizes), max(sizes)) for name, sizes in columns.items()}


# ---------------------------------------------------------------- checks


def _checked(measurements: Sequence[Measurement], largest: SystolicArray, hint: str) -> Sequence[Measurement]:
    for one in measurements:
        if not isinstance(one, Measurement):
            raise InvalidValueError("measurements", one, "a sequence of Measurement")
        check_peak(one, largest, hint)
    return measurements


def _enough(count: int, groups: int, settings: Settings) -> Settings:
    """The settings for named numbers: with a prior a few measurements suffice, in fewer folds."""
    if settings.prior is not None and _FEWEST <= min(count, groups) < _FEW:
        return dataclasses.replace(settings, folds=min(settings.folds, groups))
    training, free = count - math.ceil(count / settings.folds), len(settings.free)
    if training <= free:
        needed = math.ceil((free + 1) * settings.folds / (settings.folds - 1))
        allowed = f"at least {needed}, to fit {free} numbers to all but one of {settings.folds} folds"
        raise InvalidValueError("the number of measurements", count, f"{allowed}; measure more, or free fewer")
    if groups < settings.folds:
        raise InvalidValueError("folds", settings.folds, f"at most {groups}, the number of groups of measurements")
    return settings
