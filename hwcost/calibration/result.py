"""The result of a calibration: the fitted device, its errors on held-out measurements, and how far to trust it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import Table
from hwcost.calibration.settings import Settings
from hwcost.calibration.shown import document_of, records_of
from hwcost.devices import ExtrapolationWarning, Range, beyond_ranges
from hwcost.devices.measured import COVERAGE, MARGIN, doubts
from hwcost.errors import MissingDependencyError, warn_caller
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cost
from hwcost.model.layers import Layer
from hwcost.tables import Documents, Records
from hwcost.units import CLOCKS, in_unit, percent, plural

try:
    from scipy import stats
except ImportError as error:
    raise MissingDependencyError("scipy", "fit", "hwcost.calibration") from error

__all__ = ["Calibration", "Estimate", "Scores", "estimates", "folds", "scores"]

Array = np.ndarray[Any, Any]

_USUAL = 1.5
"""The factor up to which a device is slower or faster than stated without a question."""
_FASTER = 0.8
"""Cycles of a row below which the array is asked about."""
_ALONE, _FAR = 10.0, 3.0
"""A row is asked about if its error is so many times the median, and a factor of more than the second."""
_OF_A_RUN = ("cycles_per_run", "host_bytes_per_s")
_UNKNOWN = 7.0
"""Standard deviation (a factor of 1,000) from which a number is unknown."""
_DETERMINED = 0.5
"""Largest standard deviation of a logarithm at which a number counts as determined: a factor of about 1.65."""


@dataclass(frozen=True)
class Scores:
    """How predictions compare with measurements.

    Attributes:
        mape: mean of the absolute relative errors; 0.1 is 10 %.
        median: their median.
        spearman, kendall: rank correlations: whether the order of the layers is right.
        count: the number of measurements.
    """

    mape: float
    median: float
    spearman: float
    kendall: float
    count: int

    @classmethod
    def mean(cls, several: Sequence[Scores]) -> Scores:
        """Each figure's mean."""
        mean: dict[str, Any] = {name: float(np.mean([getattr(each, name) for each in several])) for name in cls.names()}
        return dataclasses.replace(several[0], **mean)

    @staticmethod
    def names() -> tuple[str, ...]:
        """The figures in order."""
        return ("mape", "median", "spearman", "kendall")


def scores(measured: Any, predicted: Any) -> Scores:
    """The scores of predictions.

    Args:
        measured, predicted: seconds or cycles, arrays of the same length.

    >>> found = scores([1.0, 2.0, 4.0], [1.1, 2.0, 3.0])
    >>> round(found.mape, 4), round(found.median, 4), found.spearman
    (0.1167, 0.1, 1.0)
    """
    measured, predicted = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    errors = np.abs(predicted / measured - 1)
    spearman, kendall = (_rank(c, measured, predicted) for c in (stats.spearmanr, stats.kendalltau))
    return Scores(float(errors.mean()), float(np.median(errors)), spearman, kendall, len(measured))


def _rank(correlation: Any, measured: Array, predicted: Array) -> float:
    """The correlation of ranks; 0 if all values are the same."""
    if len(measured) < 2 or np.ptp(measured) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return float(correlation(measured, predicted)[0])


def margin(residuals: Array) -> float:
    """Half the width of an interval that holds a new residual with 90 %, by those that were held out.

    The smallest absolute residual that at least 0.9 * (n + 1) of n do not exceed; infinite for fewer than nine.

    >>> margin(np.array([0.1, -0.3, 0.2, 0.0, 0.1, -0.1, 0.2, 0.05, -0.15]))
    0.3
    """
    rank = math.ceil(COVERAGE * (len(residuals) + 1))
    return math.inf if rank > len(residuals) else float(np.sort(np.abs(residuals))[rank - 1])


def folds(groups: Sequence[Any], parts: int, seed: int) -> Iterator[Array]:
    """Positions of the measurements that are held out, part by part; those of one group are held out together.

    >>> [part.tolist() for part in folds(["a", "b", "b", "c"], 3, seed=0)]
    [[3], [0], [1, 2]]
    """
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([names[group] for group in groups])
    for part in np.array_split(np.random.default_rng(seed).permutation(len(names)), parts):
        yield np.flatnonzero(np.isin(numbers, part))


@dataclass(frozen=True)
class Estimate:
    """A fitted number, and how well the data determine it.

    Attributes:
        value: in the unit of the field; for measurements on several machines, the number of the device itself.
        deviation: standard deviation of its logarithm (of its log-odds for a share) by the data alone.
        is_determined: whether the deviation is small enough for the number alone to be meaningful.
        goes_with: another number that can compensate for a change of this one; empty if there is none.
        is_share: whether it lies between 0 and 1.
    """

    value: float
    deviation: float
    is_determined: bool
    goes_with: str = ""
    is_share: bool = False

    @property
    def deviation_in_words(self) -> str:
        """The standard deviation as a factor.

        >>> Estimate(1.5, 0.1, True).deviation_in_words, Estimate(0.5, 0.3, True, is_share=True).deviation_in_words
        ('a factor of 1.11', '0.3 in log-odds')
        """
        if not self.deviation < _UNKNOWN:
            return "unknown"
        return f"{self.deviation:.2g} in log-odds" if self.is_share else f"a factor of {math.exp(self.deviation):.3g}"


def estimates(values: dict[str, float], shares: Sequence[bool], slopes: Array, residuals: Array) -> dict[str, Estimate]:
    """How well the data determine each number, from the slopes of the log predictions at the fit.

    Args:
        values: the fitted numbers by name.
        shares: which of them lie between 0 and 1.
        slopes: one row per measurement, one column per number: d log(prediction) / dx.
        residuals: of the logarithms.
    """
    names, (rows, columns) = list(values), slopes.shape
    # the median of the errors, since a robust fit leaves a few measurements far off
    noise = max(1.4826 * float(np.median(np.abs(residuals))), 1e-9) * np.sqrt(rows / max(rows - columns, 1))
    _, sizes, directions = np.linalg.svd(slopes, full_matrices=False)
    seen = sizes > 1e-9 * max(sizes.max(initial=0.0), 1e-300)
    covariance = (directions[seen].T / sizes[seen] ** 2) @ directions[seen] * noise**2
    unseen = np.any(np.abs(directions[~seen]) > 1e-6, axis=0) if rows >= columns else np.ones(columns, dtype=bool)
    scale = np.sqrt(np.diag(covariance))
    deviations = np.where(unseen, np.inf, scale)
    with np.errstate(all="ignore"):
        likeness = np.nan_to_num(np.abs(covariance) / np.outer(scale, scale), posinf=0.0)
    np.fill_diagonal(likeness, 0)
    found = {}
    for name, deviation, is_share, row in zip(names, deviations.tolist(), shares, likeness, strict=True):
        limit = _DETERMINED * (2 if is_share else 1)
        goes_with = names[int(np.argmax(row))] if row.max() > 0.9 else ""
        found[name] = Estimate(values[name], deviation, deviation <= limit, goes_with, is_share)
    return found


# ---------------------------------------------------------------- the result


@dataclass(frozen=True, repr=False)
class Calibration(Records):
    """A fitted device, with its errors and estimates; prints as the report of ``hwcost calibrate``.

    Attributes:
        device: the machine with its fitted numbers: a value like any other.
        values: the fitted numbers, and the choices from a grid, by name.
        scores: errors on held-out measurements, mean over the fold seeds.
        scores_by_seed: the same for each fold seed.
        scores_seen: errors on the measurements that the final fit saw, for comparison.
        estimates: how well the data determine each number.
        names, measured, predicted: the measurements in order (repeats once) in seconds; predictions are held out by the
            folds of the first seed.
        ranges: smallest and largest m, n, k and MACs of a measured layer.
        chosen: for each name of the grid, how many folds chose each value; for "form" the same of forms.
        settings: the settings of the fit.
        margin: half the width of an interval that holds 9 of 10 held-out latencies, as a logarithm (conformal; Vovk et
            al., Algorithmic Learning in a Random World, 2005); None for fewer than nine measurements.
        busiest: the largest utilization of a measurement.
        fields: fields of the machine that the form sets.
        form: the name of the form, if it was chosen.
        forms: the mean error of each form by cross-validation among all measurements: what the choice went by.
        form_words: for each of these that ships the numbers that it frees, and what it is in words.
        mixed: a sentence for each label by which the held-out residuals differ.
        depth: the number of layers of every measured network, if it is the same for all.
        clock_factor: how many times as long as stated a row takes; None if the data do not determine it.
        beaten: values of the grid whose machine cannot be as fast as a measurement is, and was left out.
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
    ranges: Mapping[str, Range]
    chosen: Mapping[str, Mapping[Any, int]]
    settings: Settings
    margin: float | None = None
    busiest: float = 1.0
    form: str = ""
    forms: Mapping[str, float] = Table({})
    mixed: tuple[str, ...] = ()
    form_words: Mapping[str, tuple[int, str]] = Table({})
    clock_factor: float | None = None
    depth: int | None = None
    beaten: tuple[Mapping[str, Any], ...] = ()
    fields: Mapping[str, Any] = Table({})

    def document(self) -> Documents:
        """Errors, numbers and how far the data determine them, forms, doubts."""
        return document_of(self)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each measurement, with its held-out prediction."""
        return records_of(self)

    @property
    def in_words(self) -> str:
        """How much was fitted to what, and the error, on one line."""
        fitted = f"{plural(self.scores.count, 'measurement')}, {plural(len(self.estimates), 'number')} fitted"
        return f"{fitted}, mean error {percent(self.scores.mape, 2)} % held out"

    @property
    def errors(self) -> dict[str, float]:
        """The figures by which the fit is judged: scores on held-out measurements, and ``busiest``."""
        return (
            {name: getattr(self.scores, name) for name in (*self.scores.names(), "count")}
            | {"utilization": self.busiest}
            | ({} if self.margin is None else {MARGIN: self.margin})
        )

    @property
    def doubts(self) -> list[str]:
        """Sentences on why the fit is not to be believed; empty if it may be."""
        return [*doubts(self.errors), *self.mixed]

    @property
    def questions(self) -> list[str]:
        """Sentences on what is unusual, and may be a mistake in the device or in the measurements."""
        return [*self._of_depth(), *self._of_worst(), *self._of_clock()]

    def _of_depth(self) -> Iterator[str]:
        constants = [name for name in (*_OF_A_RUN, "cycles_per_layer") if name in self.values]
        if self.depth is not None and constants and (self.depth > 1 or constants[0] in _OF_A_RUN):
            yield (
                f"every measured network has {plural(self.depth, 'layer')}: what a run takes cannot be told from what "
                f"its layers take ({', '.join(constants)})"
            )

    def _of_worst(self) -> Iterator[str]:
        errors = np.abs(np.log(np.array(self.predicted) / np.array(self.measured)))
        if errors.max() > max(_ALONE * float(np.median(errors)), math.log(_FAR)):
            name, ratio = self.worst[0]
            yield f"{name} takes {1 / ratio:.3g} times as long as the others predict: is its unit right?"

    def _of_clock(self) -> Iterator[str]:
        factor, clock = self.clock_factor, in_unit(self.device.clock_hz, CLOCKS)
        if factor is not None and not 1 / _USUAL <= factor <= _USUAL:
            yield (
                f"a row takes {factor:.3g} times as long as the device states: are its clock ({clock}) and the unit of "
                "the measurements right?"
            )
        elif "cycles_per_row" in self.values and self.device.cycles_per_row < _FASTER:
            yield (
                f"rows stream in {self.device.cycles_per_row:.3g} cycles, which no array of {self.device.rows} x "
                f"{self.device.cols} does: is it larger? A grid of sizes tries others"
            )

    @property
    def limits(self) -> list[str]:
        """Sentences on what so few measurements do not tell; empty for nine and more."""
        if self.margin is not None:
            return []
        count = self.scores.count
        return [
            f"from {count} measurements there is no 90 % interval (nine are the fewest), and the held-out error is a "
            f"mean of {count} figures; what they do not determine is taken from the device"
        ]

    @property
    def _ranked(self) -> tuple[Array, Array]:
        """Predicted over measured, and the indices of the measurements, the one predicted worst first."""
        ratios = np.array(self.predicted) / np.array(self.measured)
        return ratios, np.argsort(-np.abs(np.log(ratios)), kind="stable")

    @property
    def worst(self) -> list[tuple[str, float]]:
        """Names of the three measurements that were predicted worst, and predicted over measured."""
        ratios, order = self._ranked
        return [(self.names[index], float(ratios[index])) for index in order[:3]]

    @property
    def outside(self) -> list[int] | None:
        """The indices of the measurements beyond the 90 % interval around their prediction, the worst first."""
        if self.margin is None:
            return None
        ratios, order = self._ranked
        return [int(index) for index in order if abs(math.log(ratios[index])) > self.margin]

    @property
    def coverage(self) -> float | None:
        """The share of the held-out latencies within the interval; None for fewer than nine measurements."""
        return None if self.outside is None else 1 - len(self.outside) / len(self.measured)

    def beyond(self, layer: Layer) -> list[str]:
        """A sentence for each size of a layer outside of the measured range."""
        return beyond_ranges(self.ranges, layer)

    def predict(self, layer: Layer) -> float:
        """Seconds of a layer of plain numbers on the fitted device.

        Warns:
            ExtrapolationWarning: the layer is outside of the measured range. At four times the size the prediction can
                be off by half or more, though the order of layers mostly holds.
        """
        if beyond := self.beyond(layer):
            warn_caller(f"the prediction is an extrapolation: {'; '.join(beyond)}", ExtrapolationWarning)
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
                name: dataclasses.asdict(found) | ({} if math.isfinite(found.deviation) else {"deviation": None})
                for name, found in self.estimates.items()
            },
            "range": {name: [ends.low, ends.high] for name, ends in self.ranges.items()},
            "chosen": {name: {str(value): n for value, n in counts.items()} for name, counts in self.chosen.items()},
            "beaten": [dict(values) for values in self.beaten],
            "doubts": self.doubts,
            "questions": self.questions,
            "limits": self.limits,
            "clock_factor": self.clock_factor,
            "worst": [{"name": name, "predicted_over_measured": ratio} for name, ratio in self.worst],
            "log_margin_90": self.margin,
            "coverage_90": self.coverage,
            "utilization": self.busiest,
            "form": self.form or None,
            "forms": dict(self.forms),
            "settings": self.settings.as_dict(),
            "measurements": [
                {"name": name, "seconds": seconds, "predicted_seconds": predicted}
                for name, seconds, predicted in zip(self.names, self.measured, self.predicted, strict=True)
            ],
        }
