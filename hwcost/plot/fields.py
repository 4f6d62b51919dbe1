"""A network over the values of a field of the machine: curves of time, bytes and energy, and points of the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.canvas import canvas
from hwcost.plot.style import BEYOND, BLACK, COLOURS, GREY, LIGHT, plain_ticks
from hwcost.units import plural, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_CURVES", "Quantity", "fields_data", "fields_figure"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST_CURVES = len(COLOURS)
"""The most curves that stay apart."""
_MOST_LABELS = 8
_MOST_DOTS = 20_000
_FAR_APART = 8.0
"""The ratio of the ends of an axis from which on it is logarithmic."""


class Quantity(NamedTuple):
    """A figure of every point.

    Attributes:
        name: on the axis.
        column: one number per point.
        units: in which it is shown; empty for plain numbers.
    """

    name: str
    column: Sequence[float]
    units: Sequence[tuple[float, str]] = ()


def fields_data(values: Sequence[int], curves: Sequence[str], column: Sequence[float]) -> dict[str, list[int]]:
    """For each curve the points with the least figure at each value that it has, as indices in the order of values.

    Args:
        values: the index of the value of the field at each point.
        curves: the curve of each point.
        column: the figure of each point.

    Raises:
        InvalidValueError: empty columns or columns of different lengths.

    >>> fields_data([0, 1, 1, 0], ["a", "a", "a", "b"], [3.0, 2.0, 1.0, 5.0])
    {'a': [0, 2], 'b': [3]}
    """
    at, names, figures = np.asarray(values), np.asarray(curves), np.asarray(column)
    if not at.size or {at.shape, names.shape, figures.shape} != {(at.size,)}:
        raise InvalidValueError("the columns", [at.size, names.size, figures.size], "columns of one length above 0")
    found = {}
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name)
        order = own[np.lexsort((figures[own], at[own]))]
        found[name] = order[np.append(True, np.diff(at[order]) != 0)].tolist()
    return found


def fields_figure(
    field: str,
    values: Sequence[int],
    known: Mapping[str, float | None],
    curves: Sequence[str],
    quantities: Sequence[Quantity],
    against: Quantity,
    front: Sequence[int] = (),
    *,
    title: str = "",
    extrapolated: Sequence[bool] | None = None,
    ax: Any = None,
) -> Any:
    """The least time, bytes and energy over the values of a field; below, the time of all points by another figure.

    Args:
        field: its name on the axis.
        values: for each point, the index of its value in ``known``.
        known: the values of the field, by their texts; None where it is no number, or one without an end.
        curves: the curve that each point belongs to: the least of its points at each value is drawn.
        quantities: what is drawn over the field; the first is the time.
        against: what the time is drawn against below.
        front: indices of the points that no other dominates, which get a ring.
        title: of the figure.
        extrapolated: whether each point is beyond what the machine was measured with; its dots are then hollow.
        ax: an Axes for each quantity, and one for the time of all points; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: as :func:`fields_data`, an index of ``front`` that is out of range, another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> time, pes = Quantity("time", [4e-3, 2e-3], [(1e-3, "ms")]), Quantity("PEs", [64, 64])
    >>> figure = fields_figure("buffer", [0, 1], {"1 KiB": 1024.0, "2 KiB": 2048.0}, ["ws", "ws"], [time], pes, [1])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['time [ms]', 'time [ms]']
    """
    best = np.asarray(front, dtype=np.int64)
    at, names = np.asarray(values), np.asarray(curves)
    if len(best) and not (best.min() >= 0 and best.max() < len(at)):
        raise InvalidValueError("front", [int(best.min()), int(best.max())], f"indices from 0 to {len(at) - 1}")
    lines = [fields_data(values, curves, quantity.column) for quantity in quantities]
    beyond = np.broadcast_to(np.asarray(False if extrapolated is None else extrapolated, dtype=bool), at.shape)
    places, is_log = _places(list(known.values()))
    style = "-" if any(value is not None for value in known.values()) else ":"  # nothing lies between names
    is_least = sum(map(len, lines[0].values())) < len(at)
    colours = dict(zip(lines[0], COLOURS * len(lines[0]), strict=False))
    width = max(7.5, 4.0 * len(quantities))
    panels = (*(quantity.name for quantity in quantities), "all points")
    with canvas(ax, panels, (width, 8.0), lambda figure: _arranged(figure, len(quantities))) as drawing:
        *upper, lower = drawing.panels
        for axes, quantity, own in zip(upper, quantities, lines, strict=True):
            _draw_curves(axes, quantity, own, places[at], colours, beyond, style)
            if is_least:
                axes.set_ylabel(f"least {axes.get_ylabel()}")
            _name_values(axes, field, list(known), places, is_log=is_log)
        _draw_points(lower, quantities[0], against, names, best, colours, beyond)
        if beyond.any():
            lower.plot([], [], "o", markersize=5, color=GREY, markerfacecolor="white", label=f"hollow: {BEYOND}")
        drawing.legend([lower], 4 if width > 8 else 2)
        drawing.title(title or f"Time over {field}")
    return drawing.drawn


def _arranged(figure: Any, count: int) -> list[Any]:
    """Panels of quantities next to each other, and one below."""
    above, below = figure.subfigures(2, 1, squeeze=False).flat
    return [*above.subplots(1, count, squeeze=False)[0], below.subplots()]


def _places(known: Sequence[float | None]) -> tuple[Column, bool]:
    """Where values lie on the axis, and whether it is logarithmic; one after the other if one of them is no number."""
    numbers = np.asarray([np.nan if value is None else value for value in known], dtype=float)
    if not np.all(np.isfinite(numbers)):
        return np.arange(len(known), dtype=float), False
    return numbers, bool(numbers.min() > 0 and numbers.max() >= _FAR_APART * numbers.min())


def _scaled(quantity: Quantity) -> tuple[Column, str]:
    """A figure in its unit, and the label of its axis."""
    column = np.asarray(quantity.column, dtype=float)
    if not quantity.units:
        return column, quantity.name
    scale, unit = unit_of(float(column.max()), quantity.units)
    return column / scale, f"{quantity.name} [{unit}]"


def _scale(axis: Any, column: Column) -> None:
    """A logarithmic axis for figures that are far apart, and one from 0 for others."""
    low, high = float(column.min()), float(column.max())
    axes, letter = axis.axes, axis.axis_name
    if low > 0 and high > _FAR_APART * low:
        axes.set(**{f"{letter}scale": "log"})
        plain_ticks(axis)
    else:
        axes.set(**{f"{letter}lim": (0, 1.08 * high or 1.0)})


def _draw_curves(
    axes: Axes,
    quantity: Quantity,
    lines: Mapping[str, list[int]],
    x: Column,
    colours: Mapping[str, str],
    beyond: Any,
    style: str,
) -> None:
    """Draws a figure along the field; earlier curves are wider, so that they are seen below equal ones."""
    y, label = _scaled(quantity)
    for more, (name, own) in zip(range(len(lines) - 1, -1, -1), lines.items(), strict=True):
        axes.plot(x[own], y[own], color=colours[name], linewidth=1.2 + 0.7 * more, linestyle=style)
        for is_beyond in (False, True):
            shown = [index for index in own if beyond[index] == is_beyond]
            face = "white" if is_beyond else colours[name]
            axes.plot(x[shown], y[shown], "o", markersize=4 + more, color=colours[name], markerfacecolor=face)
    axes.set_ylabel(label)
    _scale(axes.yaxis, np.concatenate([y[own] for own in lines.values()]))


def _name_values(axes: Axes, field: str, texts: Sequence[str], places: Column, *, is_log: bool) -> None:
    """Names values below the axis, as many as have room."""
    if is_log:
        axes.set_xscale("log")
        axes.xaxis.minorticks_off()
    step = -(-len(texts) // _MOST_LABELS)
    axes.set_xticks(places[::step], list(texts)[::step], rotation=90 if len(texts) > 4 else 0, parse_math=False)
    axes.set_xlabel(field, parse_math=False)


def _draw_points(
    axes: Axes, time: Quantity, against: Quantity, names: Column, best: Column, colours: Mapping[str, str], beyond: Any
) -> None:
    """Draws all points, or as many as can be told apart, and those of the front in the colours of their curves."""
    (x, along), (y, up) = _scaled(against), _scaled(time)
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_DOTS)).astype(np.int64))
    axes.plot(x[some], y[some], ".", markersize=3, color=LIGHT, label=plural(len(x), "point"), zorder=1)
    for name, colour in colours.items():
        own = best[names[best] == name]
        axes.plot([], [], "-o", markersize=5, color=colour, label=name)
        for is_beyond in (False, True):
            shown = own[beyond[own] == is_beyond]
            face = "white" if is_beyond else colour
            axes.plot(x[shown], y[shown], "o", markersize=6, color=BLACK, markerfacecolor=face, markeredgewidth=0.9)
    ring = {"markersize": 6, "color": BLACK, "markerfacecolor": "none"}
    axes.plot([], [], "o", label=f"ring: front of {plural(len(best), 'point')}", **ring)  # type: ignore[arg-type]
    axes.set(xlabel=along, ylabel=up)
    _scale(axes.xaxis, x)
    _scale(axes.yaxis, y)
