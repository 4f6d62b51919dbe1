"""The quality of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.canvas import canvas
from hwcost.plot.style import COLOURS, GREY, LIGHT, plain_ticks
from hwcost.units import TIMES, percent, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_figure"]


def calibration_figure(
    measured: Sequence[float],
    predicted: Sequence[float],
    name: str = "",
    error: float | None = None,
    margin: float | None = None,
    *,
    ax: Any = None,
) -> Any:
    """Predicted against measured latency, and the relative error of each prediction.

    With a margin, the band that holds nine of ten, and in another colour the measurements outside of it.

    Args:
        measured, predicted: seconds of the same measurements; predictions should be of held-out ones.
        name: of the device.
        error: the mean absolute relative error, for the title.
        margin: half the width of the 90 % interval, as a logarithm.
        ax: two Axes, for the latencies and the errors; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: no measurements, or another number of predictions or of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> figure = calibration_figure([1e-3, 2e-3], [1.1e-3, 1.9e-3], "mine", 0.075)
    >>> len(figure.axes)
    2
    """
    x, y = (np.asarray(seconds, dtype=float) for seconds in (measured, predicted))
    if x.shape != y.shape or x.ndim != 1 or not len(x) or not (np.all(x > 0) and np.all(y > 0)):
        raise InvalidValueError("predicted", predicted, "as many latencies above 0 as there are measured ones")
    scale, unit = unit_of(float(np.median(x)), TIMES)
    x, y = x / scale, y / scale
    names = "predicted latency", "error"
    with canvas(ax, names, (9.0, 4.2), lambda figure: figure.subplots(1, 2)) as drawing:
        left, right = drawing.panels
        ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
        left.plot(ends, ends, color=GREY, linewidth=1)
        outside = np.zeros(len(x), dtype=bool) if margin is None else np.abs(np.log(y / x)) > margin
        off = 100 * (y / x - 1)
        right.axhline(0, color=GREY, linewidth=1)
        if margin is not None:
            _draw_band(left, right, ends, margin)
        for where, colour, label in (
            (~outside, COLOURS[0], ""),
            (outside, COLOURS[1], f"{outside.sum()} of {len(x)} outside"),
        ):
            look: dict[str, Any] = {"color": colour, "markersize": 4, "alpha": 0.75, "linestyle": "none", "marker": "o"}
            left.plot(x[where], y[where], **look)
            right.plot(x[where], off[where], **look, label=label)
        left.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        left.set(xlabel=f"measured latency [{unit}]", ylabel=f"predicted, held out [{unit}]")
        most = max(10.0, 1.15 * np.abs(off).max())
        right.set(xscale="log", xlabel=f"measured latency [{unit}]", ylabel="predicted / measured - 1 [%]")
        right.set_ylim(-most, most)
        if margin is not None:
            right.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        plain_ticks(left.xaxis, left.yaxis, right.xaxis)
        mean = "" if error is None else f": mean error {percent(error, 2)} % on held-out measurements"
        drawing.title(f"{name or 'fitted device'}{mean}")
    return drawing.drawn


def _draw_band(left: Axes, right: Axes, ends: Any, margin: float) -> None:
    """The band around a prediction that holds 90 % of what is measured."""
    low, high = float(np.exp(-margin)), float(np.exp(margin))
    look: dict[str, Any] = {"color": LIGHT, "alpha": 0.4, "linewidth": 0}
    left.fill_between(ends, low * ends, high * ends, **look)
    right.axhspan(100 * (low - 1), 100 * (high - 1), **look, label="90 % interval")
