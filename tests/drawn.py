"""Results with chosen figures, for pictures of them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from hwcost import Linear, SystolicArray, layer_cost
from hwcost.arrays import Table
from hwcost.model.cost import JOULES, Cost
from hwcost.reports import Comparison, summarise
from hwcost.sweep.points import Sweep

ARRAY = SystolicArray(8, 8)


@functools.cache
def _fit():
    from hwcost.calibration import Measurement, fit

    layers = [Linear(8 * n, 8 * n, batch=n) for n in range(1, 7)]
    measured = [Measurement((each,), layer_cost(each, ARRAY).seconds) for each in layers]
    return fit(ARRAY, measured, free=["cycles_per_row"])


def calibration(measured, predicted, margin=None, error=0.1):
    """A calibration with these latencies."""
    scores = dataclasses.replace(_fit().scores, mape=error, count=len(measured))
    names = tuple(f"layer {i}" for i in range(len(measured)))
    return dataclasses.replace(
        _fit(), measured=tuple(measured), predicted=tuple(predicted), names=names, margin=margin, scores=scores
    )


def comparison(networks, arrays, seconds, utilization, joules=None, extrapolated=None):
    """A comparison with these figures, which have a row for each network and a column for each array.

    A time that is NaN is one that is not shown, since the device was not measured with such layers.
    """
    whole = summarise({"fc": Linear(8, 8)}, ARRAY)

    def summary(i, j):
        time, used = float(seconds[i][j]), float(utilization[i][j])
        is_hidden = np.isnan(time)
        time, used = (1e-3, 0.5) if is_hidden else (time, used)
        energy = np.nan if joules is None else joules[i][j]
        cost = dataclasses.replace(
            Cost(), macs=1e9 * used * time, pe_cycles=1e9 * time, cycles=1e9 * time, seconds=time,
            **{} if np.isnan(energy) else {f"{each}_joules": energy / 4 for each in JOULES},
        )  # fmt: skip
        is_beyond = is_hidden or (extrapolated is not None and extrapolated[i][j])
        row = dataclasses.replace(whole.rows[0], cost=cost, beyond=("far",) if is_beyond else ())
        names = {"name": networks[i], "device": arrays[j], "label": arrays[j], "measured": arrays[j]}
        return dataclasses.replace(whole, **names, cost=cost, rows=(row,), extrapolate=not is_hidden)

    return Comparison.of(summary(i, j) for i in range(len(networks)) for j in range(len(arrays)))


def sweep(rows, cols, seconds, flow=0, dataflows=("ws",), **more):
    """A sweep with these columns; half of the PEs of the busiest array are used."""
    rows, cols, seconds = np.asarray(rows), np.asarray(cols), np.asarray(seconds, dtype=float)
    base = SystolicArray(1, 1)
    macs = int(0.5 * base.clock_hz * (seconds * rows * cols).min())
    flow = np.broadcast_to(np.asarray(flow), rows.shape)
    return Sweep(base, dataflows, rows, cols, flow, seconds * base.clock_hz, macs, **more)


def over(field, values, codes, seconds, rows=8, **more):
    """A sweep over the values of a field, of which the points have those with these indices."""
    rows = np.broadcast_to(np.asarray(rows), np.shape(codes))
    more = {"fields": Table({field: tuple(values)}), "codes": Table({field: np.asarray(codes)}), **more}
    return sweep(rows, np.full_like(rows, 8), seconds, **more)
