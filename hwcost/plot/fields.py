"""A network over the values of a field of the machine: curves of time, bytes and energy, and points of the front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.words import title_of, value_text
from hwcost.plot.canvas import canvas
from hwcost.plot.given import check_sweep
from hwcost.plot.style import BEYOND, BLACK, COLOURS, GREY, LIGHT, plain_ticks
from hwcost.units import BYTES, ENERGIES, TIMES, plural, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fields_data", "fields_figure"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST_CURVES = len(COLOURS)
"""The most curves that stay apart."""
_MOST_LABELS = 8
_MOST_DOTS = 20_000
_FAR_APART = 8.0
"""The ratio of the ends of an axis from which on it is logarithmic."""


class _Quantity(NamedTuple):
    """A figure of every point: its name on the axis, that of its column, and the units it is shown in."""

    name: str
    column: Column
    units: Sequence[tuple[float, str]] = ()


def fields_data(found: Any, field: str | None = None) -> dict[str, Any]:
    """The least time, bytes and energy of a sweep over the values of a field.

    Args:
        found: from :func:`hwcost.sweep.sweep`, with several values of some field.
        field: one of these; by default the one with the most numbers, or else the most names.

    Returns:
        ``field``; ``values``: its values in order; ``seconds`` and, where they are known, ``dram_bytes`` and
        ``energy_joules``: for each curve the least at each value, with NaN where it has no point. A curve is what the
        points share in all else that differs, or as much of it as few curves can show.

    Raises:
        InvalidValueError: something else than a sweep, no field with several values, or another field.

    >>> from hwcost import Linear
    >>> from hwcost.sweep import sweep
    >>> found = sweep([Linear(64, 64, batch=8)], rows=[8, 16], cols=8, fields={"clock_hz": [1e9, 2e9]})
    >>> fields_data(found)["seconds"]
    {'8 x 8': [5.12e-07, 2.56e-07], '16 x 8': [2.56e-07, 1.28e-07]}
    """
    field = _field_of(found, field)
    codes, names = found.codes[field], np.asarray(_curves_of(found, field))
    data: dict[str, Any] = {"field": field, "values": list(found.fields[field])}
    for name in ("seconds", "dram_bytes", "energy_joules"):
        if (column := getattr(found, name)) is not None:
            data[name] = {}
            for curve, own in _least(codes, names, column).items():
                least = np.full(len(data["values"]), np.nan)
                least[codes[own]] = column[own]
                data[name][curve] = least.tolist()
    return data


def fields_figure(
    found: Any, field: str | None = None, title: str = "", *, extrapolated: Sequence[bool] | None = None, ax: Any = None
) -> Any:
    """The least time, bytes and energy over the values of a field; below, the time of all points by another figure.

    Args:
        found, field: as for :func:`fields_data`.
        title: of the figure.
        extrapolated: whether each point is beyond what the machine was measured with, and its dots hollow; as the sweep
            says by default.
        ax: an Axes for the time, the bytes of DRAM and the energy, as far as these are known, and one for the time of
            all points; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: as :func:`fields_data`, or another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear
    >>> from hwcost.sweep import sweep
    >>> found = sweep([Linear(64, 64, batch=8)], rows=[8, 16], cols=8, fields={"clock_hz": [1e9, 2e9]})
    >>> [axes.get_ylabel() for axes in fields_figure(found).axes]
    ['time [ns]', 'time [ns]']
    """
    field = _field_of(found, field)
    at, names, best = found.codes[field], np.asarray(_curves_of(found, field)), found.front
    quantities, against = _quantities(found)
    lines = [_least(at, names, quantity.column) for quantity in quantities]
    beyond = found.is_beyond if extrapolated is None else np.broadcast_to(np.asarray(extrapolated, bool), at.shape)
    known = {value_text(field, value): value if _is_number(value) else None for value in found.fields[field]}
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
            _name_values(axes, title_of(field), list(known), places, is_log=is_log)
        _draw_points(lower, quantities[0], against, names, best, colours, beyond)
        if beyond.any():
            lower.plot([], [], "o", markersize=5, color=GREY, markerfacecolor="white", label=f"hollow: {BEYOND}")
        drawing.legend([lower], 4 if width > 8 else 2)
        drawing.title(title or f"Time over {title_of(field)}")
    return drawing.drawn


def _field_of(found: Any, field: str | None) -> str:
    """The field that curves are drawn over."""
    check_sweep(found)
    varied = _varied(found)
    if not varied:
        reason = "no field of the machine has several values"
        raise InvalidValueError("found", found, "sweep_figure(found) draws rows and columns", reason=reason)
    if field is None:
        return max(varied, key=lambda each: (sum(map(_is_number, found.fields[each])), len(found.fields[each])))
    check_one_of("field", field, varied)
    return field


def _varied(found: Any) -> list[str]:
    return [name for name, values in found.fields.items() if len(values) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _curves_of(found: Any, field: str) -> list[str]:
    """The curve of each point: by all that differs, or as much of it as few curves can show."""
    sizes = zip(found.rows.tolist(), found.cols.tolist(), strict=True)
    parts = {"array": np.asarray([f"{rows} x {cols}" for rows, cols in sizes])}
    if len(found.dataflows) > 1:
        parts["dataflow"] = found.dataflow
    for name in _varied(found):
        if name != field:
            texts = [f"{title_of(name)} {value_text(name, value)}" for value in found.fields[name]]
            parts[name] = np.asarray(texts)[found.codes[name]]
    while parts and len(set(zip(*(column.tolist() for column in parts.values()), strict=True))) > MOST_CURVES:
        parts.pop(max(parts, key=lambda name: len(set(parts[name].tolist()))))
    if not parts:
        return ["all"] * len(found)
    return [", ".join(texts) for texts in zip(*(column.tolist() for column in parts.values()), strict=True)]


def _quantities(found: Any) -> tuple[list[_Quantity], _Quantity]:
    """The figures over the field, and what the time of all points is drawn against: energy, PEs or bytes."""
    quantities = [_Quantity("time", found.seconds, TIMES)]
    rivals = [_Quantity("PEs", found.pes)]
    if found.dram_bytes is not None:
        quantities.append(_Quantity("bytes of DRAM", found.dram_bytes, BYTES))
        rivals.append(quantities[-1])
    if found.energy_joules is not None:
        quantities.append(_Quantity("energy", found.energy_joules, ENERGIES))
        rivals.insert(0, quantities[-1])
    return quantities, next((each for each in rivals if len(np.unique(each.column)) > 1), rivals[0])


def _least(at: Column, names: Column, figures: Column) -> dict[str, list[int]]:
    """For each curve the points with the least figure at each value that it has, as indices in the order of values."""
    found = {}
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name)
        order = own[np.lexsort((figures[own], at[own]))]
        found[name] = order[np.append(True, np.diff(at[order]) != 0)].tolist()
    return found


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


def _scaled(quantity: _Quantity) -> tuple[Column, str]:
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
    quantity: _Quantity,
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
    axes: Axes,
    time: _Quantity,
    against: _Quantity,
    names: Column,
    best: Column,
    colours: Mapping[str, str],
    beyond: Any,
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
