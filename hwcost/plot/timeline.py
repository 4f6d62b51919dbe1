"""A network along time: when each layer runs, what bounds it, how busy the array is, and the memory in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.machine.fields import is_finite
from hwcost.plot.bars import BOUNDS
from hwcost.plot.canvas import canvas, size_in_points, stacked
from hwcost.plot.given import check_summary
from hwcost.plot.style import BEYOND, BLACK, COLOURS, HOLLOW, LIGHT, percent_limits
from hwcost.units import BYTES, SIZES, TIMES, in_unit, layer_name, marked, number, percent, shorten_name, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["timeline_data", "timeline_figure"]

_WIDTH, _LETTER = 11.0, 0.012
"""Inches of the picture, and the share of its axis that a name on its side takes."""
_THIN, _EDGED = 0.01, 0.003
"""Shares of an axis: below the first one a block is too flat to be seen, below the second too narrow for an edge."""


def timeline_data(summary: Any) -> dict[str, Any]:
    """The data that :func:`timeline_figure` draws.

    Args:
        summary: from :func:`hwcost.report` or :func:`hwcost.reports.summarise`.

    Returns:
        ``layers``: in order, for each that takes time its name, when it ``starts`` and ``ends`` in seconds, its
        ``bound``, ``utilization``, ``alive``, bytes of all activations that are alive (None if that is unknown),
        ``kept``, bytes of those in the buffer (None if none may stay), and whether it is ``extrapolated``; ``buffer``
        in bytes, None without one; ``of_the_chip``, whether it is the memory that a chip states.

    >>> from hwcost import Linear, SystolicArray
    >>> from hwcost.reports import summarise
    >>> data = timeline_data(summarise({"a": Linear(16, 8), "b": Linear(16, 8)}, SystolicArray(8, 8)))
    >>> [(layer["name"], layer["starts"], layer["ends"]) for layer in data["layers"]]
    [('a', 0.0, 2e-09), ('b', 2e-09, 4e-09)]
    """
    check_summary(summary)
    rows = [row for row in summary.rows if row.cost.cycles]
    ends = np.cumsum([float(row.cost.seconds) for row in rows]).tolist()
    alive = {} if summary.peak is None else summary.peak.activations
    steps = {} if summary.plan is None else summary.plan.steps
    buffer = None if summary.peak is None else summary.peak.buffer
    return {
        "layers": [
            {
                "name": row.name,
                "starts": start,
                "ends": end,
                "bound": row.cost.bound,
                "utilization": float(row.cost.utilization),
                "alive": alive.get(row.name),
                "kept": steps[row.name].resident if row.name in steps else None,
                "extrapolated": bool(row.beyond),
            }
            for row, start, end in zip(rows, [0.0, *ends], ends, strict=False)
        ],
        "buffer": buffer if buffer is not None and is_finite(buffer) else None,
        "of_the_chip": summary.peak is not None and summary.peak.is_stated,
    }


def timeline_figure(summary: Any, title: str = "", *, ax: Any = None) -> Any:
    """The layers of a network along time; if it is known, the memory in use below.

    A layer is a block from its start to its end, as high as its utilization, so that its area is its work; its colour
    says what bounds it. Memory is known on a machine with a buffer, for networks of which it is known which layer
    reads what.

    Args:
        summary: as for :func:`timeline_data`.
        title: above the picture; the network on its machine by default.
        ax: an Axes for the layers and, if it is known, one for the memory; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear, SystolicArray
    >>> from hwcost.reports import summarise
    >>> figure = timeline_figure(summarise({"a": Linear(16, 8), "b": Linear(8, 8)}, SystolicArray(8, 8)))
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['time [ns]']
    """
    data = timeline_data(summary)
    layers = data["layers"]
    scale, unit = unit_of(layers[-1]["ends"] if layers else 0.0, TIMES)
    has_memory = any(layer["alive"] is not None for layer in layers)
    panels, heights = (("layers", "memory"), (3, 2)) if has_memory else (("layers",), (1,))
    with canvas(ax, panels, (_WIDTH, 5.8 if has_memory else 3.8), stacked(*heights)) as drawing:
        clear = _draw_layers(drawing.panels[0], layers, scale)
        for axes in drawing.panels[1:]:
            _draw_memory(axes, data, scale)
        for axes in drawing.panels:
            axes.set_xlim(0, layers[-1]["ends"] / scale if layers else 1.0)
        for axes in drawing.lowest(drawing.panels):
            axes.set_xlabel(f"time [{unit}]")
            axes.xaxis.set_major_formatter(lambda value, _: number(value))
        drawing.legend(drawing.panels, 6)
        drawing.title(title or _title(summary), clear=clear)
    return drawing.drawn


def _title(summary: Any) -> str:
    time = marked(in_unit(float(summary.cost.seconds), TIMES), summary.extrapolated_share)
    total = "" if summary.is_withheld() else f": {time}"
    return f"{shorten_name(summary.name, 60)} on {shorten_name(summary.label, 90)}{total}"


def _draw_layers(axes: Axes, layers: Any, scale: float) -> float:
    """Draws a block for each layer, with the names of those that are wide enough: the points that these reach above."""
    starts = np.array([layer["starts"] for layer in layers]) / scale
    wide = np.array([layer["ends"] for layer in layers]) / scale - starts
    used = np.array([100 * layer["utilization"] for layer in layers])
    axes.set_ylabel("utilization [%]")
    axes.grid(visible=False, axis="x")
    if not layers:
        axes.text(0.5, 0.5, "no layer takes any time", ha="center", transform=axes.transAxes)
        return 0.0
    percent_limits(axes, float(used.max()))
    ends, low = starts + wide, _THIN * axes.get_ylim()[1]
    for bound, colour in BOUNDS.items():
        known = [i for i, each in enumerate(layers) if each["bound"] == bound and not each["extrapolated"]]
        flat = [i for i in known if used[i] < low]
        axes.hlines([0.0] * len(flat), starts[flat], ends[flat], color=colour, linewidth=4, zorder=2)
        for is_beyond in (False, True):
            own = [i for i, each in enumerate(layers) if (each["bound"], each["extrapolated"]) == (bound, is_beyond)]
            if own:
                edges = [colour if wide[i] < _EDGED * ends[-1] else "white" for i in own]
                look: Mapping[str, Any] = HOLLOW | {"edgecolor": colour} if is_beyond else {
                    "color": colour, "edgecolor": edges, "linewidth": 0.4}  # fmt: skip
                label = f"bound by {bound}" + (f", {BEYOND}" if is_beyond else "")
                axes.bar(starts[own], used[own], wide[own], align="edge", label=label, **look)
    whole, above, (_, high) = float(wide.sum()), 0.0, size_in_points(axes)
    for layer, start, width, height in zip(layers, starts, wide, used, strict=True):
        if width >= _LETTER * whole:
            share = percent(float(width / whole))
            text = f"{layer_name(layer['name'], 22)}, {share} %"
            axes.annotate(
                text, (start + width / 2, height), (0, 3),
                textcoords="offset points", rotation=90, ha="center", va="bottom", fontsize=7, parse_math=False,
            )  # fmt: skip
            above = max(above, 4.5 * len(text) + 3 - 0.7 * high * (1 - height / axes.get_ylim()[1]))
    return above


def _draw_memory(axes: Axes, data: Mapping[str, Any], scale: float) -> None:
    """Draws the bytes that are alive, and those of them in the buffer, as steps; what is unknown stays as it was."""
    layers = data["layers"]
    edges = np.array([0.0, *(layer["ends"] for layer in layers)]) / scale
    parts = {"alive": ("activations that are alive", LIGHT), "kept": ("of these, in the buffer", COLOURS[2])}
    most = [data["buffer"] or 0.0]
    for key, (label, colour) in parts.items():
        if any(layer[key] is not None for layer in layers):
            known = [0.0]
            for layer in layers:
                known.append(known[-1] if layer[key] is None else float(layer[key]))
            axes.stairs(known[1:], edges, fill=True, color=colour, label=label)
            most.append(max(known))
    if data["buffer"] is not None:
        what = "memory of the chip" if data["of_the_chip"] else "buffer"
        label = f"{what}, {in_unit(data['buffer'], SIZES, 4)}"
        axes.axhline(data["buffer"], color=BLACK, linewidth=1.4, linestyle=(0, (4, 2)), label=label)
    axes.set_ylim(0, 1.1 * max(most) or 1.0)
    axes.yaxis.set_major_formatter(lambda value, _: in_unit(value, BYTES, 3) if value else "0")
    axes.set_ylabel("memory")
    axes.grid(visible=False, axis="x")
