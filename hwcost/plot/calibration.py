"""The quality of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.plot.canvas import canvas
from hwcost.plot.given import check_has
from hwcost.plot.style import COLOURS, GREY, LIGHT, plain_ticks
from hwcost.units import TIMES, percent, shorten_name, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_figure"]

_NAMED = 3
"""Measurements outside of the interval that are named."""


def calibration_figure(found: Any, name: str = "", *, ax: Any = None) -> Any:
    """Predicted against measured latency of held-out measurements, and the relative error of each prediction.

    With nine measurements and more, the interval that holds nine of ten, and those outside of it in another colour;
    the worst of these have their names.

    Args:
        found: from :func:`hwcost.calibration.fit`.
        name: of the device.
        ax: two Axes, for the latencies and the errors; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than a calibration, or another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> from hwcost.calibration import Measurement, fit
    >>> array = SystolicArray(8, 8)
    >>> layers = [Linear(8 * n, 8 * n, batch=n) for n in range(1, 7)]
    >>> measured = [Measurement((layer,), 1.2 * layer_cost(layer, array).seconds) for layer in layers]
    >>> figure = calibration_figure(fit(array, measured, free=["cycles_per_row"]), "mine")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['predicted, held out [ns], log scale', 'predicted / measured - 1 [%]']
    """
    check_has("found", found, ("measured", "predicted", "outside"), "what hwcost.calibration.fit(...) returns")
    x, y = np.asarray(found.measured), np.asarray(found.predicted)
    scale, unit = unit_of(float(np.median(x)), TIMES)
    x, y = x / scale, y / scale
    panels = "predicted latency", "error"
    with canvas(ax, panels, (9.0, 4.2), lambda figure: figure.subplots(1, 2)) as drawing:
        left, right = drawing.panels
        ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
        left.plot(ends, ends, color=GREY, linewidth=1)
        off = 100 * (y / x - 1)
        right.axhline(0, color=GREY, linewidth=1)
        worst = list(found.outside or ())
        outside = np.isin(np.arange(len(x)), worst)
        if found.margin is not None:
            within = f"{len(x) - len(worst)} of {len(x)} within"
            _draw_band(left, right, ends, found.margin, f"90 % interval: {within}")
        for where, colour, label in (
            (~outside, COLOURS[0], ""),
            (outside, COLOURS[1], f"{len(worst)} outside" if worst else ""),
        ):
            look: dict[str, Any] = {"color": colour, "markersize": 4, "alpha": 0.75, "linestyle": "none", "marker": "o"}
            left.plot(x[where], y[where], **look)
            right.plot(x[where], off[where], **look, label=label)
        left.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        left.set(xlabel=f"measured latency [{unit}]", ylabel=f"predicted, held out [{unit}]")
        most = max(10.0, 1.15 * np.abs(off).max())
        right.set(xscale="log", xlabel=f"measured latency [{unit}]", ylabel="predicted / measured - 1 [%]")
        right.set_ylim(-most, most)
        middle = float(np.sqrt(x.min() * x.max()))
        for index in worst[:_NAMED]:
            side, shift = ("right", -5) if x[index] > middle else ("left", 5)
            text = shorten_name(found.names[index], 24)
            right.annotate(
                text, (x[index], off[index]), (shift, 0),
                textcoords="offset points", ha=side, va="center", fontsize=7, parse_math=False,
            )  # fmt: skip
        if found.margin is not None:
            right.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        plain_ticks(left.xaxis, left.yaxis, right.xaxis)
        error = percent(found.scores.mape, 2)
        drawing.title(f"{name or 'fitted device'}: mean error {error} % on held-out measurements")
    return drawing.drawn


def _draw_band(left: Axes, right: Axes, ends: Any, margin: float, label: str) -> None:
    """The band around a prediction that holds 90 % of what is measured."""
    low, high = float(np.exp(-margin)), float(np.exp(margin))
    look: dict[str, Any] = {"color": LIGHT, "alpha": 0.4, "linewidth": 0}
    left.fill_between(ends, low * ends, high * ends, **look)
    right.axhspan(100 * (low - 1), 100 * (high - 1), **look, label=label)
