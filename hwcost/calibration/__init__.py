"""Calibration: measured latencies in, a device out.

The device is a :class:`hwcost.SystolicArray` like any other, priced by the same formula and differentiable. A fit
changes the numbers in its fields, and reports how well they predict layers that it was not fitted to.

>>> from hwcost import Linear, SystolicArray, layer_cost
>>> from hwcost.calibration import Measurement, fit
>>> truth = SystolicArray(16, 16, cycles_per_row=1.5, cycles_per_layer=800.0)
>>> layers = [Linear(k, n, batch=m) for k in (40, 100, 300) for n in (16, 60) for m in (20, 90, 400)]
>>> measured = [Measurement((layer,), layer_cost(layer, truth).seconds) for layer in layers]
>>> found = fit(SystolicArray(16, 16), measured, free=["cycles_per_row", "cycles_per_layer"], prior=None)
>>> {name: round(value, 3) for name, value in found.values.items()}
{'cycles_per_row': 1.5, 'cycles_per_layer': 800.0}
>>> found.device.cycles_per_row == found.values["cycles_per_row"], round(found.scores.mape, 6)
(True, 0.0)
"""

from __future__ import annotations

from typing import Any

from hwcost.calibration.files import device_file
from hwcost.calibration.fitting import fit
from hwcost.calibration.forms import FORMS, Form
from hwcost.calibration.measurements import Measurement, medians_of_repeats
from hwcost.calibration.reading import BadRowsError, read_measurements
from hwcost.calibration.result import Calibration, Estimate, Scores, scores
from hwcost.calibration.settings import FIT_PARAMETERS, FitParameter, largest_machine
from hwcost.devices import ExtrapolationWarning as ExtrapolationWarning  # where it was before

__all__ = [
    "FIT_PARAMETERS",
    "FORMS",
    "BadRowsError",
    "Calibration",
    "Estimate",
    "FitParameter",
    "Form",
    "Measurement",
    "Scores",
    "device_file",
    "fit",
    "largest_machine",
    "medians_of_repeats",
    "read_measurements",
    "scores",
]

__dir__ = [*__all__, "vela"].copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """The package inside is loaded when it is asked for."""
    if name == "vela":
        import hwcost.calibration.vela

        return hwcost.calibration.vela
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
