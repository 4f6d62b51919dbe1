"""Networks on arrays, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.bars import legend_outside
from hwcost.plot.style import BEYOND, COLOURS, GREY, HOLLOW, new_figure, percent_limits, plain_ticks
from hwcost.units import ENERGIES, TIMES, Units, shorten_name, unit_of

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
    *,
    joules: Sequence[Sequence[float]] | None = None,
) -> Figure:
    """Time and utilization of networks on arrays, and their energy where it is known, as grouped bars.

    Args:
        networks, arrays: their names.
        seconds, utilization: a row per network with a figure per array; NaN for one that is not shown.
        extrapolated: which figures are, in part, beyond what the array was measured with; none by default.
        joules: the energy in the same form, with NaN where it is not known; without it there is no such panel.

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
    energy = np.full(shape, np.nan) if joules is None else np.asarray(joules, dtype=float)
    if 0 in shape or {times.shape, used.shape, beyond.shape, energy.shape} != {shape} or np.any(times < 0):
        raise InvalidValueError("seconds", seconds, f"{shape[0]} rows of {shape[1]} figures, as utilization too")
    # the shorter list becomes the bars of a group, so that few colours suffice
    groups, bars = (networks, arrays) if len(arrays) <= len(networks) else (arrays, networks)
    if groups is arrays:
        times, used, beyond, energy = times.T, used.T, beyond.T, energy.T
    is_known = bool(np.any(~np.isnan(energy)))
    width = min(14.0, 4.5 + 0.32 * len(groups) * (len(bars) + 0.6))
    with new_figure(max(7.0, width), 7.6 if is_known else 5.4) as figure:
        heights = (3, 2, 2) if is_known else (3, 2)
        above, *more, below = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
        _draw_amounts(above, "time", times, TIMES, bars, beyond)
        for axes in more:
            words = np.where(np.isnan(times), BEYOND, "no figures of energy")
            _draw_amounts(axes, "energy", energy, ENERGIES, bars, beyond, words)
        _draw(below, 100 * used, bars, beyond)
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


def _draw_amounts(
    axes: Axes, name: str, figures: Any, units: Units, bars: Sequence[str], beyond: Any, words: Any = BEYOND
) -> None:
    """Draws figures in a unit that suits them, on a logarithmic axis if they are far apart."""
    known = figures[~np.isnan(figures)] if np.any(~np.isnan(figures)) else np.zeros(1)
    scale, unit = unit_of(float(known.max()), units)
    _draw(axes, figures / scale, bars, beyond, words)
    axes.set_ylabel(f"{name} [{unit}]")
    if known.min() > 0 and known.max() > _FAR_APART * known.min():
        axes.set(yscale="log", ylim=(10.0 ** np.floor(np.log10(0.8 * known.min() / scale)), None))
        plain_ticks(axes.yaxis)


def _look(i: int) -> dict[str, Any]:
    colour, hatch = COLOURS[i % len(COLOURS)], _HATCHES[i // len(COLOURS) % len(_HATCHES)]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}


def _draw(axes: Axes, figures: Any, bars: Sequence[str], beyond: Any, words: Any = BEYOND) -> None:
    """Draws one bar per name in each group: hollow beyond what was measured, and words in the place of NaN."""
    wide, texts = 0.8 / len(bars), np.broadcast_to(words, figures.shape)
    for i in range(len(bars)):
        places = np.arange(len(figures)) + wide * (i - (len(bars) - 1) / 2)
        shown = ~np.isnan(figures[:, i])
        looks: dict[bool, dict[str, Any]] = {False: _look(i), True: {"edgecolor": _look(i)["facecolor"], **HOLLOW}}
        for is_beyond, look in looks.items():
            where = shown & (beyond[:, i] == is_beyond)
            if np.any(where):
                axes.bar(places[where], figures[where, i], width=wide, **look)
        for place, text in zip(places[~shown], texts[~shown, i], strict=True):
            style: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 7, "color": GREY}
            axes.text(place, 0, f" {text}", transform=axes.get_xaxis_transform(), **style)
    axes.grid(visible=False, axis="x")


def _legend(axes: Axes, bars: Sequence[str], *, hollow: bool) -> None:
    from matplotlib.patches import Patch

    named = bars if len(bars) > 1 else ()
    handles = [Patch(label=shorten_name(name), **_look(i)) for i, name in enumerate(named)]
    if hollow:
        handles.append(Patch(label=BEYOND, edgecolor=GREY, **HOLLOW))
    if handles:
        legend_outside(axes, handles=handles)
