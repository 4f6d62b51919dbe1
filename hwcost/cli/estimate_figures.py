"""The figures of a workload, for all points of a sweep at once."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from hwcost.arrays import Size
from hwcost.cli.shared.workload import SWEEP_LIMIT, Workload
from hwcost.errors import InvalidValueError, MixedLibrariesError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import Pricing, layer_cycles, price
from hwcost.model.layers import Conv2d
from hwcost.relaxation import Relaxation

__all__ = ["Figures", "figures_of"]

Figures: TypeAlias = dict[str, Size]
"""Numbers, or arrays along the axes of the sweep that they depend on."""

_OF_THE_COST = (
    "folds", "utilization", "seconds", "macs", "compute_cycles", "memory_cycles", "overhead_cycles", "waiting_cycles",
    "bound",
)  # fmt: skip
_FINITE = "a number above 0, below 1.8e308; use other sizes, another --clock, --relaxation or --temperature"


def figures_of(workload: Workload, smooth: Relaxation) -> tuple[Figures, Pricing]:
    """All figures that are printed, for all points of a sweep at once, and the pricing that they come from."""
    layer, array = workload.layer(), workload.array()
    with np.errstate(all="ignore"):
        try:
            (gemm,) = layer.gemms()
            pricing = price(gemm, array)
            figures = _figures(pricing, _smooth_cycles(layer, array, smooth))
        except InvalidValueError as error:
            if not workload.is_sweep:
                raise
            raise InvalidValueError(error.field, error.value, SWEEP_LIMIT) from None
        _check_finite("the seconds at this --clock", figures["seconds"])
        _check_finite(f"the cycles by relaxation {smooth.name}", figures["smooth_cycles"])
    return figures, pricing


def _figures(pricing: Pricing, smooth_cycles: Size) -> Figures:
    exact, folds = pricing.cost, pricing.work.folds
    return {
        "cycles": exact.cycles,
        "smooth_cycles": smooth_cycles,
        **{f"folds_{name}": getattr(folds, name) for name in ("along_rows", "along_cols", "in_time")},
        **{name: getattr(exact, name) for name in _OF_THE_COST},
    }


def _smooth_cycles(layer: Conv2d, array: SystolicArray, smooth: Relaxation) -> Size:
    """Cycles by the relaxation, as floats; NaN if it overflows."""
    try:
        return 1.0 * layer_cycles(layer, array, smooth)
    except (OverflowError, MixedLibrariesError):  # the latter: complex numbers, roots of sizes that became negative
        return math.nan


def _check_finite(what: str, figure: Size) -> None:
    good = np.isfinite(figure) & (np.asarray(figure) > 0)
    if not np.all(good):
        raise InvalidValueError(what, np.asarray(figure)[~good].flat[0].item(), _FINITE)
