"""Bar charts with one bar per layer of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.plot.style import BEYOND, COLOURS, GREY, HOLLOW, LIGHT, legend_outside, percent_limits
from hwcost.units import TIMES, Units, marked, percent, shorten_name, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BOUNDS",
    "draw_stacked",
    "draw_time",
    "draw_utilization",
    "draw_waste",
    "name_layers",
]

BOUNDS = {"compute": COLOURS[0], "memory": COLOURS[1], "overhead": COLOURS[3]}
"""The colour of each bound, in all pictures."""

_WASTE = {
    "useful": COLOURS[0],
    "ragged_rows": COLOURS[4],
    "ragged_cols": COLOURS[2],
    "ragged_arrays": GREY,
    "slow_rows": LIGHT,
    "fill_and_drain": COLOURS[5],
    "overhead": COLOURS[3],
    "waiting": COLOURS[1],
}
_MOST_NAMES = 64


def _bars(axes: Axes, places: Any, heights: Any, **look: Any) -> None:
    """Draws bars that the layout engine skips, because thousands of them make it slow."""
    for patch in axes.bar(places, heights, **look):
        patch.set_in_layout(False)


def _two_kinds(axes: Axes, layers: Any, where: Any, heights: Any, colour: str) -> None:
    """Draws bars in a colour, those of layers beyond what was measured hollow."""
    looks: dict[bool, dict[str, Any]] = {False: {"color": colour}, True: {"edgecolor": colour, **HOLLOW}}
    for is_beyond, look in looks.items():
        if own := [i for i in where if layers[i]["extrapolated"] is is_beyond]:
            _bars(axes, own, np.asarray(heights)[own], width=_width(layers), **look)


def _legend_of(axes: Axes, layers: Any, colours: Mapping[str, str]) -> None:
    """The legend of bars: a colour each, and what hollow ones are."""
    from matplotlib.patches import Patch

    handles = [line for line in axes.get_legend_handles_labels()[0] if not hasattr(line, "patches")]
    handles += [Patch(color=colour, label=label) for label, colour in colours.items()]
    if any(layer["extrapolated"] for layer in layers):
        handles.append(Patch(edgecolor=GREY, label=BEYOND, **HOLLOW))
    if handles:
        legend_outside(axes, handles=handles)


def draw_time(axes: Axes, data: Mapping[str, Any]) -> None:
    """Draws the time of each layer as a bar in the colour of what bounds it."""
    layers = data["layers"]
    seconds = np.array([layer["seconds"] for layer in layers], dtype=float)
    scale, unit = unit_of(float(seconds.max()), TIMES)
    colours = {}
    for bound, colour in BOUNDS.items():
        where = [i for i, layer in enumerate(layers) if layer["bound"] == bound]
        if where:
            colours[f"bound by {bound}"] = colour
            _two_kinds(axes, layers, where, seconds / scale, colour)
    axes.set_ylabel(f"time [{unit}]")
    axes.grid(visible=False, axis="x")
    _legend_of(axes, layers, colours)


def draw_utilization(axes: Axes, data: Mapping[str, Any]) -> None:
    """Draws the utilization of each layer, and that of the network as a line."""
    layers = data["layers"]
    used = [100 * layer["utilization"] for layer in layers]
    _two_kinds(axes, layers, range(len(layers)), used, "#9A9A9A")
    if data["utilization"] is not None:
        label = marked(f"{percent(data['utilization'])} %", any(layer["extrapolated"] for layer in layers))
        axes.axhline(
            100 * data["utilization"], color="black", linewidth=1.2, linestyle=(0, (4, 2)), label=f"network: {label}"
        )
    axes.set_ylabel("utilization [%]")
    percent_limits(axes, max(used))
    axes.grid(visible=False, axis="x")
    _legend_of(axes, layers, {})


def draw_waste(axes: Axes, data: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Draws the shares of the PE-cycles of each layer as stacked bars, and those of the network after a gap."""
    layers = data["layers"]
    total = dict.fromkeys(kinds, 0.0) if data["total"] is None else data["total"]
    places = np.append(np.arange(len(layers)), _place_of_total(layers))
    widths = np.append(np.full(len(layers), _width(layers)), _width_of_total(layers))
    below = np.zeros(len(places))
    for kind, name in kinds.items():
        shares = 100 * np.array([*(layer["shares"][kind] for layer in layers), total[kind]], dtype=float)
        # shares are negative if the array does not count its last fold
        shares = np.maximum(shares, 0.0)
        if shares.any():
            label = name if data["total"] is None else f"{name}: {percent(total[kind])} %"
            _bars(axes, places, shares, width=widths, bottom=below, color=_WASTE[kind], label=label)
        below += shares
    axes.set_ylabel("PE-cycles [%]")
    axes.set_ylim(0, 100)
    axes.grid(visible=False)
    handles, labels = axes.get_legend_handles_labels()
    title = "" if data["total"] is None else "all layers"
    if handles:
        legend_outside(axes, handles=handles[::-1], labels=labels[::-1], title=title, alignment="left")


def draw_stacked(
    axes: Axes, data: Mapping[str, Any], figure: str, parts: Mapping[str, str], units: Units, label: str
) -> None:
    """Draws a figure of each layer as a bar of its parts.

    Args:
        axes: where.
        data: with the layers.
        figure: the key of the parts in a layer, which may be None there.
        parts: the parts and what the legend calls them; those that are 0 everywhere are left out.
        units: of the figure.
        label: of the axis.
    """
    layers = data["layers"]
    heights = {part: np.array([(layer[figure] or {}).get(part, 0.0) for layer in layers]) for part in parts}
    scale, unit = unit_of(float(np.max(np.sum(list(heights.values()), axis=0))), units)
    below = np.zeros(len(layers))
    for (part, name), colour in zip(parts.items(), COLOURS, strict=False):
        if heights[part].any():
            own = heights[part] / scale
            _bars(axes, np.arange(len(layers)), own, width=_width(layers), bottom=below, color=colour, label=name)
            below += own
    axes.set_ylabel(f"{label} [{unit}]")
    axes.grid(visible=False, axis="x")
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend_outside(axes, handles=handles[::-1], labels=labels[::-1])


def name_layers(axes: Axes, data: Mapping[str, Any], *, with_total: bool) -> None:
    """Names the bars: all of them, or as many as stay readable, the slowest layers first."""
    layers = data["layers"]
    apart = max(1.0, (len(layers) + 1) / _MOST_NAMES)
    named: list[int] = []
    for i in sorted(range(len(layers)), key=lambda i: -layers[i]["seconds"]):
        if all(abs(i - other) >= apart for other in named):
            named.append(i)
    named.sort()
    size = float(np.clip(11.0 - len(named) / 12.0, 6.0, 9.0))
    ticks, labels = [float(i) for i in named], [shorten_name(layers[i]["name"]) for i in named]
    last = _place_of_total(layers) + _width_of_total(layers) / 2 if with_total else len(layers) - 0.5
    if with_total:
        ticks.append(_place_of_total(layers))
        labels.append("all layers")
    upright = len(layers) <= 10 and max(map(len, labels)) <= 90 // len(labels)
    axes.set_xticks(ticks, labels, rotation=0 if upright else 90, fontsize=size, parse_math=False)
    axes.tick_params(axis="x", length=2, color=GREY)
    axes.set_xlim(-0.5 - 0.01 * len(layers), last + 0.01 * len(layers))


def _width(layers: Any) -> float:
    return 0.82 if len(layers) < 60 else 0.9


def _width_of_total(layers: Any) -> float:
    return max(0.82, 0.03 * len(layers))


def _place_of_total(layers: Any) -> float:
    return float(len(layers) - 0.5 + _width_of_total(layers))
