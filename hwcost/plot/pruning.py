"""A pruning: what stays of every width and block, and every layer before and after."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.bars import name_layers
from hwcost.plot.canvas import canvas
from hwcost.plot.style import BEYOND, BLACK, COLOURS, GREY, HOLLOW, LIGHT, legend_outside, percent_limits
from hwcost.units import marked, number, percent, shorten_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pruning_data", "pruning_figure"]

_WIDTH = 11.0
_BEFORE, _AFTER = LIGHT, COLOURS[0]
_NUMBERED = 40
"""Bars up to which there is room for numbers."""


def pruning_data(report: Any) -> dict[str, Any]:
    """The data that :func:`pruning_figure` draws.

    Args:
        report: of a pruning: what :func:`hwcost.torch.prune` returns, its report, or the plain data that this makes.

    Returns:
        ``title``; ``widths``: for each its name, its size ``before`` and ``after``; ``blocks``: the names of those that
        were dropped; ``layers``: for each its name, and for both ``cycles`` and ``utilization`` the figures before and
        after, of which the second utilization is nan for a layer that was dropped, and whether both are
        ``extrapolated``; ``utilization`` of the network.

    Raises:
        InvalidValueError: no such report, or one in which nothing changed.
    """
    own = getattr(report, "report", report)
    content = own if isinstance(own, Mapping) else {} if isinstance(own, type) else getattr(own, "as_dict", dict)()
    blocks = (content.get("depth") or {}).get("dropped", [])
    if not (content.get("widths") or blocks) or not content.get("layers"):
        allowed = "what hwcost.torch.prune(...) returns, with at least one width or block that changed"
        raise InvalidValueError("report", report, allowed)
    before, after = content["before"], content["after"]
    share = after["cycles"] / before["cycles"]
    first, second = (marked(number(each["cycles"]), each.get("extrapolated")) for each in (before, after))
    cycles = f"{first} to {second} cycles ({percent(share, 2)} %)"
    return {
        "title": f"{shorten_name(content['network'], 40)}: {cycles} on {content['array']}",
        "widths": [{"name": name, **sizes} for name, sizes in content["widths"].items()],
        "blocks": list(blocks),
        "layers": [_layer(each) for each in content["layers"]],
        "utilization": (before["utilization"], after["utilization"]),
    }


def _layer(content: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a layer before and after; without work there is no utilization."""
    of_both = content["before"], content["after"]
    shares = tuple(each["utilization"] if each["cycles"] else math.nan for each in of_both)
    more = {key: tuple(each[key] for each in of_both) for key in ("cycles", "seconds")}
    beyond = tuple(content.get("extrapolated") or (False, False))
    return {"name": content["name"], "utilization": shares, **more, "extrapolated": beyond}


def pruning_figure(report: Any, *, ax: Any = None) -> Any:
    """What stays of every width, which blocks do not, and every layer before and after, on one page.

    Args:
        report: as for :func:`pruning_data`.
        ax: three Axes, for the widths, the cycles and the utilization; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: as :func:`pruning_data`, or another number of axes.
        MissingDependencyError: matplotlib is not installed.
    """
    data = pruning_data(report)
    with canvas(ax, ("widths", "cycles", "utilization"), (_WIDTH, 9.0), _arranged) as drawing:
        widths, cycles, used = drawing.panels
        blocks = [{"name": name, "before": 1, "after": 0} for name in data["blocks"]]
        _draw_widths(widths, [*data["widths"], *blocks])
        _draw_cycles(cycles, data["layers"])
        _draw_utilization(used, data)
        seconds = [{"name": each["name"], "seconds": each["seconds"][0]} for each in data["layers"]]
        for axes in drawing.lowest((cycles, used)):
            name_layers(axes, {"layers": seconds}, with_total=False)
        drawing.title(shorten_name(data["title"], 130))
    return drawing.drawn


def _arranged(figure: Any) -> Any:
    panels = figure.subplots(3, 1, gridspec_kw={"height_ratios": (1.1, 1.4, 1.2)})
    panels[2].sharex(panels[1])
    panels[1].tick_params(axis="x", labelbottom=False)
    return panels


def _draw_widths(axes: Axes, widths: Any) -> None:
    """Draws the share of each width that stays, and of each dropped block nothing; with sizes where there is room."""
    places = np.arange(len(widths))
    stays = np.array([100 * each["after"] / each["before"] for each in widths])
    wide = 0.82 if len(widths) > 10 else 0.6
    axes.bar(places, 100.0, width=wide, color=LIGHT, alpha=0.55, label="before")
    axes.bar(places, stays, width=wide, color=_AFTER, label="stays")
    if len(widths) <= _NUMBERED:
        size = float(np.clip(11.0 - len(widths) / 8.0, 6.0, 9.0))
        for place, each in enumerate(widths):
            words = f"{each['after']} of {each['before']}" if each["after"] else "dropped"
            axes.text(place, 102, words, ha="center", va="bottom", fontsize=size, rotation=90 if len(widths) > 8 else 0)
    axes.set_ylim(0, 100 if len(widths) > _NUMBERED else 112 if len(widths) <= 8 else 138)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("channels [%]")
    axes.grid(visible=False, axis="x")
    names = [{"name": each["name"], "seconds": float(each["before"])} for each in widths]
    name_layers(axes, {"layers": names}, with_total=False)
    legend_outside(axes)


def _draw_cycles(axes: Axes, layers: Any) -> None:
    """Draws the cycles of each layer before and, in front of them, after."""
    before, after = np.array([each["cycles"] for each in layers], dtype=float).T
    places, wide = np.arange(len(layers)), 0.86 if len(layers) > 10 else 0.64
    beyond = np.array([each["extrapolated"] for each in layers], dtype=bool)
    for which, (heights, thick, colour) in enumerate(((before, wide, _BEFORE), (after, 0.6 * wide, _AFTER))):
        bars = axes.bar(places, heights, width=thick, color=colour, label=("before", "after")[which])
        for bar in itertools.compress(bars, beyond[:, which]):
            bar.set(**HOLLOW, edgecolor=colour)
    if beyond.any():
        axes.bar(0, 0, edgecolor=GREY, label=BEYOND, **HOLLOW)
    axes.set_ylabel("cycles")
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(visible=False, axis="x")
    legend_outside(axes)


def _draw_utilization(axes: Axes, data: Mapping[str, Any]) -> None:
    """Draws the utilization of each layer before and after as two points on a line."""
    before, after = 100 * np.array([each["utilization"] for each in data["layers"]], dtype=float).T
    places = np.arange(len(before))
    size = 6.0 if len(places) <= 20 else 4.5
    axes.vlines(places, before, after, color=LIGHT, linewidth=2)
    rings: dict[str, Any] = {
        "markerfacecolor": "none",
        "markeredgecolor": BLACK,
        "markersize": size + 4,
    }  # around a point that stayed
    axes.plot(places, before, "o", label="before", **rings)
    axes.plot(places, after, "o", color=_AFTER, markersize=size, label="after")
    for share, colour, name in zip(data["utilization"], (BLACK, _AFTER), ("before", "after"), strict=True):
        words = f"network {name}: {percent(share)} %"
        axes.axhline(100 * share, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), label=words)
    axes.set_ylabel("utilization [%]")
    percent_limits(axes, float(np.nanmax([before, after])))
    axes.grid(visible=False, axis="x")
    legend_outside(axes)
