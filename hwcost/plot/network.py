"""A network on an array: time layer by layer, where the PE-cycles go, and every layer under the array's roof."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwcost.errors import InvalidValueError, check_one_of
from hwcost.model.breakdown import KINDS
from hwcost.model.cost import AS_WEIGHTS, JOULES, MOVED, Cost
from hwcost.model.shown import SPENT
from hwcost.model.traffic import MEMORY, OPERANDS, transfers_of
from hwcost.plot.bars import draw_stacked, draw_time, draw_utilization, draw_waste, name_layers
from hwcost.plot.canvas import Canvas, canvas, stacked
from hwcost.plot.given import check_summary
from hwcost.plot.roofline import draw_roofline
from hwcost.units import BYTES, ENERGIES, shorten_name

__all__ = ["PICTURES", "network_data", "network_figure"]

PICTURES = ("time", "waste", "memory", "roofline")
"""What :func:`network_figure` can draw."""

_PANELS = {"time": {"time": 2.5, "utilization": 1.3}, "waste": {"waste": 2.4}, "memory": {"DRAM": 1.6, "energy": 1.6}}
_MOVED = {words: words for words in (*MOVED.values(), AS_WEIGHTS)}
_NAMES = 1.5
_ROOFLINE = 4.4
_WIDTH = 11.0


def network_data(summary: Any) -> dict[str, Any]:
    """The data that :func:`network_figure` draws.

    Args:
        summary: from :func:`hwcost.reports.summarise`; operations without products are left out.

    Returns:
        ``layers``: for each its name, ``seconds``, ``share`` of the time, ``utilization``, ``bound``, ``macs``,
        ``bytes`` of the transfers in ``operands``, ``shares`` of the PE-cycles, ``dram_bytes`` by what moves,
        ``joules`` by what takes them (None without figures of energy), and whether it is ``extrapolated``;
        ``total``: the shares of all layers, and ``utilization``, None if most of the time is beyond what was measured;
        ``roof``: the most MACs per second; ``slopes``: bytes per second from and to memory, by transfers.

    >>> from hwcost import Linear, SystolicArray
    >>> from hwcost.reports import summarise
    >>> data = network_data(summarise({"fc": Linear(12, 8)}, SystolicArray(8, 8)))
    >>> data["layers"][0]["shares"]["ragged_rows"], data["roof"], data["slopes"]
    (0.25, 64000000000.0, [])
    """
    check_summary(summary)
    array, rows = summary.array, [row for row in summary.rows if row.state == "priced" or row.cost.cycles]
    limited, slopes, channels = set[str](), dict[float, list[str]](), dict[str, float]()
    for each in transfers_of(array):
        rate = float(each.bytes_per_s(array)) * (array.arrays if array.bandwidth_per_array else 1)
        if rate != math.inf and any(each.name in row.moved for row in rows):
            limited.add(each.name)
            channels[each.operand] = max(rate, channels.get(each.operand, 0.0))
            names = slopes.setdefault(rate, [])
            if each not in MEMORY or each.operand not in names:  # what is read again at the same rate is the same slope
                names.append(each.name)
    operands = [name for rate in sorted(slopes, reverse=True) for name in slopes[rate]] or list(OPERANDS)
    if (array.parallel_operands or array.weights_apart) and len(channels) > 1:
        slopes[sum(channels.values())] = ["all at once"]
    rates = sorted(slopes, reverse=True)
    sizes = {each.name: float(array.effective(each.size)) for each in transfers_of(array) if each.name in limited}
    return {
        "layers": [_layer_data(row, summary.cost, sizes) for row in rows],
        "total": None if summary.is_withheld() else summary.breakdown.shares,
        "utilization": None if summary.is_withheld() else summary.cost.utilization,
        "operands": operands,
        "roof": float(array.pes * array.clock_hz),
        "slopes": [{"bytes_per_s": rate, "operands": slopes[rate]} for rate in rates],
    }


def _layer_data(row: Any, total: Cost, sizes: Mapping[str, float]) -> dict[str, Any]:
    cost = row.cost
    moved = sum(size * row.moved.get(name, 0) for name, size in sizes.items()) if sizes else row.traffic.bytes()
    return {
        "name": row.name,
        "seconds": cost.seconds,
        "share": float(cost.cycles / total.cycles) if total.cycles else 0.0,
        "utilization": cost.utilization,
        "bound": cost.bound,
        "macs": float(cost.macs),
        "bytes": float(moved),
        "shares": row.breakdown.shares,
        "dram_bytes": {words: float(size) for words, size in cost.dram_parts.items()},
        "joules": None if cost.energy_joules is None else {each: getattr(cost, f"{each}_joules") for each in JOULES},
        "extrapolated": bool(row.beyond),
    }


def network_figure(summary: Any, title: str = "", *, pictures: str | Sequence[str] = PICTURES, ax: Any = None) -> Any:
    """A network on an array, on one page.

    Args:
        summary: from :func:`hwcost.reports.summarise`.
        title: above all pictures.
        pictures: one or some of :data:`PICTURES`: time and utilization of every layer; where its PE-cycles go, and
            those of the whole network; the bytes to and from DRAM of every layer and, if it is known, its energy; every
            layer under the roof of the array and of its memory.
        ax: an Axes for each panel, in that order; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: an unknown picture, or another number of axes.
        MissingDependencyError: matplotlib is not installed.
    """
    pictures = (pictures,) if isinstance(pictures, str) else tuple(pictures)
    for each in pictures:
        check_one_of("pictures", each, PICTURES)
    if not pictures:
        raise InvalidValueError("pictures", pictures, f"some of: {', '.join(PICTURES)}")
    data = network_data(summary)
    panels = {name: height for each, own in _PANELS.items() if each in pictures for name, height in own.items()}
    if not any(layer["joules"] is not None for layer in data["layers"]):
        panels.pop("energy", None)
    above = sum(panels.values()) + _NAMES if panels else 0.0
    is_roofline = "roofline" in pictures
    heights = [height for height in (above, _ROOFLINE if is_roofline else 0.0) if height]
    names = [*panels, *(["roofline"] if is_roofline else [])]

    def arranged(figure: Any) -> list[Any]:
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        found = list(stacked(*panels.values())(parts[0])) if panels else []
        return [*found, parts[-1].subplots()] if is_roofline else found

    with canvas(ax, names, (_WIDTH, sum(heights) + 0.4), arranged) as drawing:
        _draw_panels(drawing, data, list(panels), with_total="waste" in pictures and data["total"] is not None)
        if is_roofline:
            draw_roofline(drawing.panels[-1], data)
        if title:
            drawing.title(shorten_name(title, 120), 13)
    return drawing.drawn


def _draw_panels(drawing: Canvas, data: Mapping[str, Any], panels: Sequence[str], *, with_total: bool) -> None:
    """The pictures that have a place for every layer, below each other."""
    for axes, name in zip(drawing.panels, panels, strict=False):
        _DRAWN[name](axes, data)
    for axes in drawing.lowest(drawing.panels[: len(panels)]):
        name_layers(axes, data, with_total=with_total)


_DRAWN: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "time": draw_time,
    "utilization": draw_utilization,
    "waste": lambda axes, data: draw_waste(axes, data, KINDS),
    "DRAM": lambda axes, data: draw_stacked(axes, data, "dram_bytes", _MOVED, BYTES, "DRAM"),
    "energy": lambda axes, data: draw_stacked(axes, data, "joules", SPENT, ENERGIES, "energy"),
}
