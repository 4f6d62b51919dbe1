"""Networks on arrays, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.bars import legend_outside
from hwcost.plot.style import BEYOND, COLOURS, GREY, HOLLOW, new_figure, percent_limits, plain_ticks
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
    extrapolated: Sequence[Sequence[bool]] | None = None,
) -> Figure:
    """Time and utilization of networks on arrays, as grouped bars.

    Args:
        networks, arrays: their names.
        seconds, utilization: a row per network with a figure per array; NaN for one that is not shown.
        extrapolated: which figures are, in part, beyond what the array was measured with; none by default.

    Raises:
        InvalidValueError: rows or columns that do not match the names.
        MissingDependencyError: matplotlib is not installed.

    >>> figure = comparison_figure(["lenet"], ["a", "b"], [[1e-3, 2e-3]], [[0.5, 0.25]])
    >>> len(figure.axes)
    2
    """
    times, used = np.asarray(seconds, dtype=float), np.asarray(utilization, dtype=float)
    shape = (len(networks), len(arrays))
    beyond = np.zeros(shape, dtype=bool) if extrapolated is None else np.asarray(extrapolated, dtype=bool)
    if 0 in shape or {times.shape, used.shape, beyond.shape} != {shape} or np.any(times < 0):
        raise InvalidValueError("seconds", seconds, f"{shape[0]} rows of {shape[1]} figures, as utilization too")
    # the shorter list becomes the bars of a group, so that few colours suffice
    groups, bars = (networks, arrays) if len(arrays) <= len(networks) else (arrays, networks)
    if groups is arrays:
        times, used, beyond = times.T, used.T, beyond.T
    width = min(14.0, 4.5 + 0.32 * len(groups) * (len(bars) + 0.6))
    with new_figure(max(7.0, width), 5.4) as figure:
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
        known = times[~np.isnan(times)] if np.any(~np.isnan(times)) else np.zeros(1)
        scale, unit = unit_of(float(known.max()), TIMES)
        _draw(above, times / scale, bars, beyond)
        _draw(below, 100 * used, bars, beyond)
        above.set_ylabel(f"time [{unit}]")
        if known.min() > 0 and known.max() > _FAR_APART * known.min():
            above.set(yscale="log", ylim=(10.0 ** np.floor(np.log10(0.8 * known.min() / scale)), None))
            plain_ticks(above.yaxis)
        below.set_ylabel("utilization [%]")
        percent_limits(below, 100 * float(np.nan_to_num(used).max()))
        labels = [shorten_name(name, 24) for name in groups]
        upright = sum(map(len, labels)) <= 60
        below.set_xticks(range(len(groups)), labels, rotation=0 if upright else 90, parse_math=False)
        if len(bars) > 1 or np.any(beyond):
            _legend(above, bars, hollow=bool(np.any(beyond & ~np.isnan(times))))
        if len(bars) == 1:
            above.set_title(shorten_name(bars[0], 60), parse_math=False)
    return figure


def _look(i: int) -> dict[str, Any]:
    colour, hatch = COLOURS[i % len(COLOURS)], _HATCHES[i // len(COLOURS) % len(_HATCHES)]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}


def _draw(axes: Axes, figures: Any, bars: Sequence[str], beyond: Any) -> None:
    """Draws one bar per name in each group: hollow beyond what was measured, and words in the place of NaN."""
    wide = 0.8 / len(bars)
    for i in range(len(bars)):
        places = np.arange(len(figures)) + wide * (i - (len(bars) - 1) / 2)
        shown = ~np.isnan(figures[:, i])
        looks: dict[bool, dict[str, Any]] = {False: _look(i), True: {"edgecolor": _look(i)["facecolor"], **HOLLOW}}
        for is_beyond, look in looks.items():
            where = shown & (beyond[:, i] == is_beyond)
            if np.any(where):
                axes.bar(places[where], figures[where, i], width=wide, **look)
        for place in places[~shown]:
            words: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 7, "color": GREY}
            axes.text(place, 0, f" {BEYOND}", transform=axes.get_xaxis_transform(), **words)
    axes.grid(visible=False, axis="x")


def _legend(axes: Axes, bars: Sequence[str], *, hollow: bool) -> None:
    from matplotlib.patches import Patch

    named = bars if len(bars) > 1 else ()
    handles = [Patch(label=shorten_name(name), **_look(i)) for i, name in enumerate(named)]
    if hollow:
        handles.append(Patch(label=BEYOND, edgecolor=GREY, **HOLLOW))
    if handles:
        legend_outside(axes, handles=handles)
