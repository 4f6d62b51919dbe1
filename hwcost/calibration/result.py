"""The result of a calibration: the fitted device, and how far to trust it."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwcost.calibration.settings import Settings
from hwcost.calibration.validation import Estimate, Scores
from hwcost.devices import Range, beyond_ranges
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cost
from hwcost.model.layers import Layer

__all__ = ["Calibration", "ExtrapolationWarning"]


class ExtrapolationWarning(UserWarning):
    """A prediction for a layer outside of the measured sizes."""


@dataclass(frozen=True)
class Calibration:
    """A fitted device, with its errors and estimates.

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
        chosen: for each name of the grid, how many folds chose each value.
        settings: the settings of the fit.
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
                name: dataclasses.asdict(found) | ({} if math.isfinite(found.deviation) else {"deviation": None})
                for name, found in self.estimates.items()
            },
            "range": {name: [ends.low, ends.high] for name, ends in self.ranges.items()},
            "chosen": {name: {str(value): n for value, n in counts.items()} for name, counts in self.chosen.items()},
            "settings": self.settings.as_dict(),
            "measurements": [
                {"name": name, "seconds": seconds, "predicted_seconds": predicted}
                for name, seconds, predicted in zip(self.names, self.measured, self.predicted, strict=True)
            ],
        }
