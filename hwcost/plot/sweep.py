"""A network on every array of a design space: a map of its time, and the arrays on the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.rows import resolved
from hwcost.plot.canvas import canvas
from hwcost.plot.given import check_sweep
from hwcost.plot.style import BEYOND, BLACK, COLOURS, percent_limits, plain_ticks
from hwcost.units import TIMES, number, plural, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm

__all__ = ["sweep_data", "sweep_figure"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_MOST_CELLS = 600
_FEW = 16
_LEFT_OUT = "#E8E8E8"
_DASHES: Any = (0, (4, 2))


class _Axis(NamedTuple):
    """An axis of the map: the sizes drawn, and where their cells begin and end."""

    sizes: Column
    places: Column
    edges: Column

    @property
    def is_listed(self) -> bool:
        """Whether each size has a cell of the same width, labelled with the size."""
        return bool(self.places[0] == 0 and len(self.sizes) <= _FEW)

    def place(self, size: Any) -> Any:
        """The place of a size, whether it has a cell or not."""
        if self.is_listed:  # lists often double from size to size
            return np.interp(np.log(size), np.log(self.sizes), self.places)
        return np.interp(size, self.sizes, self.places)


def sweep_data(found: Any) -> dict[str, Any]:
    """Seconds by rows and columns of the array, one map per dataflow.

    Args:
        found: from :func:`hwcost.sweep.sweep`.

    Returns:
        ``rows`` and ``cols``: the sizes drawn, at most about 600 evenly spaced ones and the largest. ``seconds``: for
        each dataflow a list of rows, each a list of columns, with NaN for combinations without a point; the least over
        the values of other fields that are swept.

    Raises:
        InvalidValueError: something else than a sweep.

    >>> from hwcost import Linear
    >>> from hwcost.sweep import sweep
    >>> sweep_data(sweep([Linear(64, 64, batch=8)], rows=[8, 16], cols=[8, 16], pe_budget=128))["seconds"]
    {'ws': [[5.12e-07, 2.56e-07], [2.56e-07, nan]]}
    """
    check_sweep(found)
    high, wide, times = found.rows, found.cols, found.seconds
    drawn_rows, drawn_cols = _thin(high), _thin(wide)
    at_rows, at_cols = np.searchsorted(drawn_rows, high), np.searchsorted(drawn_cols, wide)
    is_drawn = (drawn_rows[at_rows] == high) & (drawn_cols[at_cols] == wide)
    maps = {}
    for index, name in enumerate(map(str, found.dataflows)):
        cells, own = np.full((len(drawn_rows), len(drawn_cols)), np.nan), is_drawn & (found.flow == index)
        np.fmin.at(cells, (at_rows[own], at_cols[own]), times[own])
        maps[name] = cells.tolist()
    return {"rows": drawn_rows.tolist(), "cols": drawn_cols.tolist(), "seconds": maps}


def _thin(sizes: Column) -> Column:
    """The distinct sizes, at most one per pixel."""
    each = np.unique(sizes)
    return np.unique(np.append(each[:: -(-len(each) // _MOST_CELLS)], each[-1]))


def sweep_figure(found: Any, title: str = "", *, extrapolated: Sequence[bool] | None = None, ax: Any = None) -> Any:
    """The time of a network by rows and columns of the array, one map per dataflow; below, the best arrays by PEs.

    Diamonds on the maps are points of the front; beyond the dashed line, arrays exceed the PE budget. The plots below
    show, for each dataflow, the least time within a number of PEs and the utilization of the arrays that reach it, and
    the front of all dataflows.

    Args:
        found: from :func:`hwcost.sweep.sweep`. Of other fields that are swept, maps show the value with the least time;
            :func:`fields_figure` draws curves over one of them.
        title: of the figure.
        extrapolated: whether each point is beyond what the machine was measured with, and hollow; as the sweep says by
            default.
        ax: an Axes for each map, and two for the time and the utilization by PEs; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than a sweep, or another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear
    >>> from hwcost.sweep import sweep
    >>> figure = sweep_figure(sweep([Linear(64, 64, batch=8)], rows=[8, 16], cols=[8, 16]))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['rows', 'time [ns], log scale', 'utilization [%]', 'time [ns], log scale']
    """
    data = sweep_data(found)
    beyond = found.is_beyond if extrapolated is None else np.broadcast_to(np.asarray(extrapolated, bool), (len(found),))
    scale, unit = unit_of(float(found.seconds.max()), TIMES)
    names = [resolved(DATAFLOWS, each).summary for each in found.dataflows]
    size = 3.1 * max(2, len(names)) + 1.6, 7.4
    with canvas(
        ax, [*names, "time by PEs", "utilization by PEs"], size, lambda figure: _arranged(figure, len(names))
    ) as drawing:
        *panels, left, right = drawing.panels
        norm = _log_norm(found.seconds / scale)
        axes_of_map = _axis(data["rows"]), _axis(data["cols"])
        for index, (axes, cells) in enumerate(zip(panels, data["seconds"].values(), strict=True)):
            own = found.front[found.flow[found.front] == index]
            image = _draw_map(axes, np.asarray(cells) / scale, axes_of_map, norm)
            _draw_budget(axes, axes_of_map, found.pe_budget and found.pe_budget // found.base.arrays)
            for is_beyond in (False, True):
                shown = own[beyond[own] == is_beyond]
                if len(shown):  # matplotlib cannot place an unclipped line without points
                    places = axes_of_map[1].place(found.cols[shown]), axes_of_map[0].place(found.rows[shown])
                    axes.plot(*places, clip_on=False, **_look(is_beyond))
            axes.set_title(names[index])
        panels[0].set_ylabel("rows")
        bar = panels[0].figure.colorbar(image, ax=panels, label=f"time [{unit}]", pad=0.02)
        _draw_best(left, right, found, names, scale)
        _draw_front(left, right, found, scale, beyond)
        left.set_ylabel(f"time [{unit}]")
        plain_ticks(bar.ax.yaxis, left.xaxis, left.yaxis, right.xaxis)
        if found.pe_budget is not None:
            label = f"budget: {number(found.pe_budget)} PEs"
            for axes in (left, right):
                axes.axvline(found.pe_budget, color=BLACK, linestyle=_DASHES, linewidth=1, label=label)
        drawing.legend([left], 5)
        drawing.title(title or "Time by rows and columns of the array")
    return drawing.drawn


def _look(is_beyond: bool) -> dict[str, Any]:
    """A point of the front, in no colour of a dataflow; hollow beyond what was measured."""
    face, edge, width = ("white", BLACK, 0.7) if is_beyond else (BLACK, "white", 0.35)
    look = {"linestyle": "none", "marker": "D", "markersize": 4, "color": BLACK}
    return look | {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}


def _arranged(figure: Any, count: int) -> list[Any]:
    """Maps next to each other, and two panels below."""
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2), squeeze=False).flat
    maps = above.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    return [*maps, *below.subplots(1, 2)]


def _log_norm(times: Column) -> LogNorm:
    from matplotlib.colors import LogNorm

    low, high = float(times.min()), float(times.max())
    return LogNorm(low, high if high > 1.001 * low else 1.1 * low)


def _axis(sizes: Sequence[int]) -> _Axis:
    """An axis with equal cells for few sizes, to scale for many."""
    column = np.asarray(sizes, dtype=float)
    places = np.arange(len(column), dtype=float) if len(column) <= _FEW else column
    steps = np.diff(places) if len(column) > 1 else np.ones(1)
    middles = places[:-1] + np.diff(places) / 2
    return _Axis(column, places, np.concatenate([[places[0] - steps[0] / 2], middles, [places[-1] + steps[-1] / 2]]))


def _draw_map(axes: Axes, cells: Column, axes_of_map: tuple[_Axis, _Axis], norm: LogNorm) -> Any:
    along_rows, along_cols = axes_of_map
    axes.set_facecolor(_LEFT_OUT)
    image = axes.pcolormesh(
        along_cols.edges, along_rows.edges, np.ma.masked_invalid(cells), norm=norm, cmap="viridis_r", rasterized=True
    )
    axes.grid(visible=False)
    axes.set_xlabel("columns")
    for axis, own in ((axes.xaxis, along_cols), (axes.yaxis, along_rows)):
        if own.is_listed:
            axis.set_ticks(own.places.tolist(), [f"{size:.0f}" for size in own.sizes])
    if along_cols.is_listed and len(along_cols.sizes) > 8:
        axes.tick_params(axis="x", rotation=90)
    axes.set(xlim=(along_cols.edges[0], along_cols.edges[-1]), ylim=(along_rows.edges[0], along_rows.edges[-1]))
    return image


def _draw_budget(axes: Axes, axes_of_map: tuple[_Axis, _Axis], pe_budget: int | None) -> None:
    along_rows, along_cols = axes_of_map
    if pe_budget is not None:
        sizes = np.geomspace(along_cols.sizes[0], along_cols.sizes[-1], 400)
        most = pe_budget / sizes
        seen = (most >= along_rows.sizes[0]) & (most <= along_rows.sizes[-1])
        x, y = along_cols.place(sizes[seen]), along_rows.place(most[seen])
        axes.plot(x, y, color=BLACK, linestyle=_DASHES, linewidth=1)


def _draw_best(left: Axes, right: Axes, found: Any, names: Sequence[str], scale: float) -> None:
    """Draws the least time within a number of PEs by dataflow, and the utilization of those arrays."""
    pes, times, used = found.pes, found.seconds / scale, 100 * found.utilization
    for index, (name, colour) in enumerate(zip(names, COLOURS * len(names), strict=False)):
        own = np.flatnonzero(found.flow == index)
        order = own[np.lexsort((times[own], pes[own]))]
        if not len(order):
            continue
        least = np.minimum.accumulate(times[order])
        left.plot(pes[order], least, drawstyle="steps-post", color=colour, linewidth=1.4, label=name)
        faster = order[np.append(True, least[1:] < least[:-1])]
        right.plot(pes[faster], used[faster], color=colour, linewidth=1.0, marker=".", markersize=3)
    left.set(xscale="log", yscale="log", xlabel="PEs", title="least time within a number of PEs")
    right.set(xscale="log", xlabel="PEs", ylabel="utilization [%]", title="utilization of those arrays")
    percent_limits(right, float(used.max()))


def _draw_front(left: Axes, right: Axes, found: Any, scale: float, beyond: Column) -> None:
    """Draws the points of the front, below the curves."""
    for is_beyond in (False, True):
        own = found.front[beyond[found.front] == is_beyond]
        left.plot(found.pes[own], found.seconds[own] / scale, zorder=1, **_look(is_beyond))
        right.plot(found.pes[own], 100 * found.utilization[own], zorder=1, **_look(is_beyond))
    left.plot([], [], **_look(False), label=f"front: {plural(len(found.front), 'point')}")
    if beyond.any():
        left.plot([], [], **_look(True), label=f"hollow: {BEYOND}")
