"""A network on every array of a design space: a map of its time, and the arrays on the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.canvas import canvas
from hwcost.plot.style import BEYOND, BLACK, COLOURS, LIGHT, percent_limits, plain_ticks
from hwcost.units import TIMES, number, unit_of

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


def sweep_data(
    rows: Sequence[int], cols: Sequence[int], dataflow: Sequence[str], seconds: Sequence[float]
) -> dict[str, Any]:
    """Seconds by rows and columns of the array, one map per dataflow.

    Args:
        rows, cols, dataflow, seconds: one value per point.

    Returns:
        ``rows`` and ``cols``: the sizes drawn, at most about 600 evenly spaced ones and the largest. ``seconds``: for
        each dataflow a list of rows, each a list of columns, with NaN for combinations without a point.

    Raises:
        InvalidValueError: empty columns or columns of different lengths; times that are not above 0.

    >>> sweep_data([8, 8, 16], [8, 16, 8], ["ws", "ws", "ws"], [4.0, 2.0, 3.0])["seconds"]["ws"]
    [[4.0, 2.0], [3.0, nan]]
    """
    high, wide, flows, times = _check_columns(rows, cols, dataflow, seconds)
    drawn_rows, drawn_cols = _thin(high), _thin(wide)
    at_rows, at_cols = np.searchsorted(drawn_rows, high), np.searchsorted(drawn_cols, wide)
    is_drawn = (drawn_rows[at_rows] == high) & (drawn_cols[at_cols] == wide)
    maps = {}
    for name in dict.fromkeys(flows.tolist()):
        cells, own = np.full((len(drawn_rows), len(drawn_cols)), np.nan), is_drawn & (flows == name)
        cells[at_rows[own], at_cols[own]] = times[own]
        maps[name] = cells.tolist()
    return {"rows": drawn_rows.tolist(), "cols": drawn_cols.tolist(), "seconds": maps}


def _check_columns(*columns: Any) -> list[Column]:
    """Rows, columns, dataflows, seconds and further figures as arrays."""
    arrays = [np.asarray(column) for column in columns]
    if not arrays[0].size or any(array.shape != (arrays[0].size,) for array in arrays):
        raise InvalidValueError("the columns", [array.size for array in arrays], "columns of one length above 0")
    if not np.all(arrays[3] > 0) or not np.all(np.isfinite(arrays[3])):
        raise InvalidValueError("seconds", float(arrays[3].min()), "finite numbers above 0")
    return arrays


def _thin(sizes: Column) -> Column:
    """The distinct sizes, at most one per pixel."""
    each = np.unique(sizes)
    return np.unique(np.append(each[:: -(-len(each) // _MOST_CELLS)], each[-1]))


def sweep_figure(
    rows: Sequence[int],
    cols: Sequence[int],
    dataflow: Sequence[str],
    seconds: Sequence[float],
    utilization: Sequence[float],
    front: Sequence[int] = (),
    *,
    pe_budget: int | None = None,
    title: str = "",
    arrays: int = 1,
    extrapolated: Sequence[bool] | None = None,
    ax: Any = None,
) -> Any:
    """The time of a network by rows and columns of the array, one map per dataflow; below, the best arrays by PEs.

    Dots on the maps are points of the front; beyond the dashed line, arrays exceed the PE budget. The plots below show,
    for each dataflow, the least time within a number of PEs and the utilization of the arrays that reach it, and the
    front of all dataflows.

    Args:
        rows, cols, dataflow, seconds, utilization: one value per point.
        front: indices of the points that no other point dominates.
        pe_budget: the most PEs, if limited.
        title: of the figure.
        arrays: of these rows and columns in each machine.
        extrapolated: whether each point is beyond what the machine was measured with; its dots are then hollow.
        ax: an Axes for each map, and two for the time and the utilization by PEs; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: as :func:`sweep_data`, an index of ``front`` that is out of range, another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> points = {"rows": [8, 8, 16], "cols": [8, 16, 8], "dataflow": ["ws", "ws", "ws"], "seconds": [4.0, 2.0, 3.0]}
    >>> figure = sweep_figure(**points, utilization=[0.5, 0.5, 0.33], front=[0, 1])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['rows', 'time [s], log scale', 'utilization [%]', 'time [s], log scale']
    """
    high, wide, flows, times, used = _check_columns(rows, cols, dataflow, seconds, utilization)
    best = np.asarray(front, dtype=np.int64)
    if len(best) and not (best.min() >= 0 and best.max() < len(high)):
        raise InvalidValueError("front", [int(best.min()), int(best.max())], f"indices from 0 to {len(high) - 1}")
    best = best[np.lexsort((times[best], high[best] * wide[best]))]
    beyond = np.broadcast_to(np.asarray(False if extrapolated is None else extrapolated, dtype=bool), high.shape)
    data = sweep_data(high, wide, flows, times)  # type: ignore[arg-type]
    scale, unit = unit_of(float(times.max()), TIMES)
    names = list(data["seconds"])
    size = 3.1 * max(2, len(names)) + 1.6, 7.4
    with canvas(
        ax, [*names, "time by PEs", "utilization by PEs"], size, lambda figure: _arranged(figure, len(names))
    ) as drawing:
        *panels, left, right = drawing.panels
        norm = _log_norm(times / scale)
        axes_of_map = _axis(data["rows"]), _axis(data["cols"])
        for axes, name in zip(panels, names, strict=True):
            own = best[flows[best] == name]
            image = _draw_map(axes, np.asarray(data["seconds"][name]) / scale, axes_of_map, norm)
            _draw_budget(axes, axes_of_map, pe_budget and pe_budget // arrays)
            for is_beyond in (False, True):
                shown = own[beyond[own] == is_beyond]
                _draw_front(axes, high[shown], wide[shown], axes_of_map, is_beyond=is_beyond)
            axes.set_title(name)
        panels[0].set_ylabel("rows")
        bar = panels[0].figure.colorbar(image, ax=panels, label=f"time [{unit}]", pad=0.02)
        _draw_best(left, right, high * wide * arrays, times / scale, 100 * used, flows, best)
        left.set_ylabel(f"time [{unit}]")
        plain_ticks(bar.ax.yaxis, left.xaxis, left.yaxis, right.xaxis)
        if pe_budget is not None:
            for axes in (left, right):
                axes.axvline(
                    pe_budget, color=BLACK, linestyle=_DASHES, linewidth=1, label=f"budget: {number(pe_budget)} PEs"
                )
        if beyond.any():
            left.plot([], [], "o", markersize=4, color=COLOURS[1], markerfacecolor="white", label=f"hollow: {BEYOND}")
        drawing.legend([left], 5)
        drawing.title(title or "Time by rows and columns of the array")
    return drawing.drawn


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


def _draw_front(axes: Axes, high: Column, wide: Column, axes_of_map: tuple[_Axis, _Axis], *, is_beyond: bool) -> None:
    along_rows, along_cols = axes_of_map
    face, edge = ("white", COLOURS[1]) if is_beyond else (COLOURS[1], "white")
    if not len(high):  # matplotlib cannot place an unclipped line without points
        return
    axes.plot(
        along_cols.place(wide), along_rows.place(high), "o",
        markersize=4, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=0.6, clip_on=False,
    )  # fmt: skip


def _draw_best(left: Axes, right: Axes, pes: Column, times: Column, used: Column, flows: Column, best: Column) -> None:
    """Draws the least time within a number of PEs by dataflow, the utilization of those arrays, and the front below."""
    for name, colour in zip(dict.fromkeys(flows.tolist()), COLOURS * len(flows), strict=False):
        own = np.flatnonzero(flows == name)
        order = own[np.lexsort((times[own], pes[own]))]
        least = np.minimum.accumulate(times[order])
        left.plot(pes[order], least, drawstyle="steps-post", color=colour, linewidth=1.4, label=name)
        faster = order[np.append(True, least[1:] < least[:-1])]
        right.plot(pes[faster], used[faster], color=colour, linewidth=1.0, marker=".", markersize=3)
    left.plot(pes[best], times[best], "o", markersize=6, color=LIGHT, zorder=1, label=f"front: {len(best)} points")
    right.plot(pes[best], used[best], "o", markersize=6, color=LIGHT, zorder=1)
    left.set(xscale="log", yscale="log", xlabel="PEs", title="least time within a number of PEs")
    right.set(xscale="log", xlabel="PEs", ylabel="utilization [%]", title="utilization of those arrays")
    percent_limits(right, float(used.max()))
