"""Networks on arrays, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.plot.canvas import canvas, size_in_points, stacked
from hwcost.plot.given import check_has
from hwcost.plot.style import BEYOND, COLOURS, GREY, HOLLOW, legend_outside, percent_limits, plain_ticks
from hwcost.units import ENERGIES, TIMES, Units, in_unit, number, percent, shorten_name, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["comparison_figure"]

_HATCHES = ("", "//", "..", "xx")
_MARKERS = "osD^"
_ELSEWHERE = "not shown"
"""Stands below a time that is not shown, which says why: it has room for more words."""
_FAR_APART = 30.0
"""The ratio of figures from which on they are dots on a logarithmic axis, where bars have no length."""
_HIGH, _LETTER = 8.0, 4.3
"""Points of a value: from line to line, and of each letter."""


def comparison_figure(comparison: Any, *, ax: Any = None) -> Any:
    """Time and utilization of networks on arrays, and their energy where it is known, as grouped bars with values.

    Figures that are far apart are dots on a logarithmic axis; those beyond what a device was measured with are hollow.

    Args:
        comparison: from :func:`hwcost.compare`.
        ax: an Axes for each panel: the time, the energy if one is known, the utilization; by default those of a new
            figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than a comparison of every network on every machine, or another number of
            axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear
    >>> from hwcost.reports import compare_networks
    >>> figure = comparison_figure(compare_networks({"fc": Linear(64, 40)}, ["gemmini", "tpu-v1"]))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['time [ns]', 'utilization [%]']
    """
    check_has("comparison", comparison, ("grid", "pairs"), "what hwcost.compare(networks, arrays) returns")
    rows = comparison.grid
    networks = [row[0].summary.name for row in rows]
    arrays = [pair.summary.device or pair.summary.array.size_in_words for pair in rows[0]]
    if len(set(arrays)) < len(arrays):
        arrays = [pair.summary.label for pair in rows[0]]
    times, used, energy = (
        np.array([[_shown(pair, name) for pair in row] for row in rows])
        for name in ("seconds", "utilization", "energy_joules")
    )
    beyond = np.array([[bool(pair.summary.extrapolated_share) for pair in row] for row in rows])
    # the shorter list becomes the bars of a group, so that few colours suffice
    groups, bars = (networks, arrays) if len(arrays) <= len(networks) else (arrays, networks)
    if groups is arrays:
        times, used, beyond, energy = times.T, used.T, beyond.T, energy.T
    is_known = bool(np.any(~np.isnan(energy)))
    size = float(np.clip(4.5 + 0.32 * len(groups) * (len(bars) + 0.6), 7.0, 14.0)), 7.6 if is_known else 5.4
    panels, heights = (("time", "energy", "utilization"), (3, 2, 2)) if is_known else (("time", "utilization"), (3, 2))
    with canvas(ax, panels, size, stacked(*heights)) as drawing:
        above, *more, below = drawing.panels
        _draw_amounts(above, "time", times, TIMES, bars, beyond)
        for axes in more:
            words = np.where(np.isnan(times), _ELSEWHERE, "no figures of energy")
            _draw_amounts(axes, "energy", energy, ENERGIES, bars, beyond, words)
        _draw(below, 100 * used, bars, beyond, words=_ELSEWHERE, text=lambda value: percent(value / 100))
        below.set_ylabel("utilization [%]")
        percent_limits(below, 100 * float(np.nan_to_num(used).max()))
        labels = [shorten_name(name, 24) for name in groups]
        for axes in drawing.lowest(drawing.panels):
            axes.set_xticks(range(len(groups)), labels, parse_math=False)
        for axes in drawing.panels:
            axes.set_xlim(-0.6, len(groups) - 0.4)
            _room_for_values(axes)
        if len(bars) > 1 or np.any(beyond):
            hollow = bool(np.any(beyond & ~np.isnan(times)))
            _legend(above, bars, hollow=hollow, has_dots=any(axes.get_yscale() == "log" for axes in drawing.panels))
        if len(bars) == 1:
            above.set_title(shorten_name(bars[0], 60), parse_math=False)
    return drawing.drawn


def _shown(pair: Any, name: str) -> float:
    """A figure, or NaN if it is unknown or most of it is beyond what was measured."""
    value = pair.summary.figures()[name]
    return float("nan") if value is None else float(value)


def _draw_amounts(
    axes: Axes, name: str, figures: Any, units: Units, bars: Sequence[str], beyond: Any, words: Any = BEYOND
) -> None:
    """Draws figures in a unit that suits them, on a logarithmic axis if they are far apart."""
    known = figures[~np.isnan(figures)] if np.any(~np.isnan(figures)) else np.zeros(1)
    scale, unit = unit_of(float(known.max()), units)
    is_log = bool(known.min() > 0 and known.max() > _FAR_APART * known.min())
    if is_log:
        low, high = known.min() / scale, known.max() / scale
        axes.set(yscale="log", ylim=(0.5 * low, 1.5 * high))
    each = (lambda value: in_unit(scale * value, units, 3)) if is_log else lambda value: number(float(f"{value:.3g}"))
    _draw(axes, figures / scale, bars, beyond, words=words, text=each)
    axes.set_ylabel(f"{name} [{unit}]")
    if is_log:
        plain_ticks(axes.yaxis)


def _look(i: int) -> dict[str, Any]:
    colour, hatch = COLOURS[i % len(COLOURS)], _HATCHES[i // len(COLOURS) % len(_HATCHES)]
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}


def _draw(
    axes: Axes, figures: Any, bars: Sequence[str], beyond: Any, *, words: Any, text: Callable[[float], str]
) -> None:
    """Draws one bar per name in each group, or a dot on a logarithmic axis, with its value where there is room.

    Those beyond what was measured are hollow, and words stand in the place of NaN.
    """
    wide, texts = 0.8 / len(bars), np.broadcast_to(words, figures.shape)
    room = size_in_points(axes)[0] * wide / (len(figures) + 0.2)
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7}
    upright: dict[str, Any] = style | {"rotation": 90}
    longest = max((len(text(value)) for value in figures[~np.isnan(figures)]), default=0)
    look = style if room >= _LETTER * longest else upright
    for i in range(len(bars)):
        places = np.arange(len(figures)) + wide * (i - (len(bars) - 1) / 2)
        shown = ~np.isnan(figures[:, i])
        for is_beyond in (False, True):
            where = shown & (beyond[:, i] == is_beyond)
            if np.any(where):
                _draw_row(axes, places[where], figures[where, i], i, wide, is_beyond=is_beyond)
        for place, value in zip(places[shown], figures[shown, i], strict=True) if room >= _HIGH else ():
            axes.annotate(text(value), (place, value), (0, 4), textcoords="offset points", **look)
        for place, word in zip(places[~shown], texts[~shown, i], strict=True):
            axes.text(place, 0, f" {word}", transform=axes.get_xaxis_transform(), color=GREY, **upright)
    axes.grid(visible=False, axis="x")


def _draw_row(axes: Axes, places: Any, heights: Any, i: int, wide: float, *, is_beyond: bool) -> None:
    """Draws the bars of one name, or dots on a logarithmic axis."""
    look = _look(i)
    if axes.get_yscale() == "log":
        colour, marker = look["facecolor"], _MARKERS[i // len(COLOURS) % len(_MARKERS)]
        face = "white" if is_beyond else colour
        axes.plot(places, heights, marker, markersize=6, color=colour, markerfacecolor=face, clip_on=False)
    else:
        axes.bar(places, heights, wide, **({"edgecolor": look["facecolor"], **HOLLOW} if is_beyond else look))


def _room_for_values(axes: Axes) -> None:
    """Makes the vertical axis longer where values stand above bars and dots."""
    values = [each for each in axes.texts if hasattr(each, "xy")]
    if values:
        high = size_in_points(axes)[1]
        points = max(_LETTER * len(each.get_text()) if each.get_rotation() else _HIGH for each in values) + 6
        share = min(0.6, points / high)
        to_axis = axes.transScale.transform
        low, top = (float(to_axis((1.0, end))[1]) for end in axes.get_ylim())
        axes.set_ylim(top=float(axes.transScale.inverted().transform((1.0, low + (top - low) / (1 - share)))[1]))


def _legend(axes: Axes, bars: Sequence[str], *, hollow: bool, has_dots: bool) -> None:
    """The names, and what is hollow: bars and, on a logarithmic axis, dots."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    named = bars if len(bars) > 1 else ()
    handles: list[Any] = [Patch(label=shorten_name(name), **_look(i)) for i, name in enumerate(named)]
    if hollow:
        bar = Patch(edgecolor=GREY, **HOLLOW)
        dot = Line2D([], [], color=GREY, marker=_MARKERS[0], markersize=6, markerfacecolor="white", linestyle="")
        handles.append((bar, dot) if has_dots else bar)
    if handles:
        labels = [*map(shorten_name, named), *([BEYOND] if hollow else [])]
        legend_outside(axes, handles=handles, labels=labels, handler_map={tuple: HandlerTuple(ndivide=None)})
