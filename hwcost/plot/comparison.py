"""Networks on arrays, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.bars import legend_outside
from hwcost.plot.style import COLOURS, new_figure, percent_limits, plain_ticks
from hwcost.units import TIMES, shorten_name, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison_figure"]

_HATCHES = ("", "//", "..", "xx")
_FAR_APART = 30.0


def comparison_figure(
    networks: Sequence[str],
    arrays: Sequence[str],
    seconds: Sequence[Sequence[float]],
    utilization: Sequence[Sequence[float]],
) -> Figure:
    """Time and utilization of networks on arrays, as grouped bars.

    Args:
        networks, arrays: their names.
        seconds, utilization: a row per network with a figure per array.

    Raises:
        InvalidValueError: rows or columns that do not match the names.
        MissingDependencyError: matplotlib is not installed.

    >>> figure = comparison_figure(["lenet"], ["a", "b"], [[1e-3, 2e-3]], [[0.5, 0.25]])
    >>> len(figure.axes)
    2
    """
    times, used = np.asarray(seconds, dtype=float), np.asarray(utilization, dtype=float)
    shape = (len(networks), len(arrays))
    if 0 in shape or times.shape != shape or used.shape != shape or np.any(times < 0):
        raise InvalidValueError("seconds", seconds, f"{shape[0]} rows of {shape[1]} figures, as utilization too")
    # the shorter list becomes the bars of a group, so that few colours suffice
    groups, bars = (networks, arrays) if len(arrays) <= len(networks) else (arrays, networks)
    if groups is arrays:
        times, used = times.T, used.T
    width = min(14.0, 4.5 + 0.32 * len(groups) * (len(bars) + 0.6))
    with new_figure(max(7.0, width), 5.4) as figure:
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
        scale, unit = unit_of(float(times.max()), TIMES)
        _draw(above, times / scale, bars)
        _draw(below, 100 * used, bars)
        above.set_ylabel(f"time [{unit}]")
        if times.min() > 0 and times.max() > _FAR_APART * times.min():
            above.set(yscale="log", ylim=(10.0 ** np.floor(np.log10(0.8 * times.min() / scale)), None))
            plain_ticks(above.yaxis)
        below.set_ylabel("utilization [%]")
        percent_limits(below, 100 * float(used.max()))
        labels = [shorten_name(name, 24) for name in groups]
        upright = sum(map(len, labels)) <= 60
        below.set_xticks(range(len(groups)), labels, rotation=0 if upright else 90, parse_math=False)
        if len(bars) > 1:
            legend_outside(above)
        else:
            above.set_title(shorten_name(bars[0], 60), parse_math=False)
    return figure


def _draw(axes: Axes, figures: np.ndarray[tuple[int, ...], np.dtype[np.float64]], bars: Sequence[str]) -> None:
    """Draws one bar per name in each group."""
    wide = 0.8 / len(bars)
    for i, name in enumerate(bars):
        places = np.arange(len(figures)) + wide * (i - (len(bars) - 1) / 2)
        look: dict[str, Any] = {"label": shorten_name(name), "edgecolor": "white", "linewidth": 0.4}
        look |= {"color": COLOURS[i % len(COLOURS)], "hatch": _HATCHES[i // len(COLOURS) % len(_HATCHES)]}
        axes.bar(places, figures[:, i], width=wide, **look)
    axes.grid(visible=False, axis="x")
