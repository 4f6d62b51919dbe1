"""The roofline of an array: what it computes and what its memory moves at most, and every layer under both."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.plot.bars import BOUNDS
from hwcost.plot.canvas import size_in_points
from hwcost.plot.style import BEYOND, BLACK, GREY, legend_outside, plain_ticks
from hwcost.units import BYTES, in_unit, layer_name, percent, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_roofline"]

_MARKS, _LINES, _ENTRY = "ABCDEFGH", 45.0, 25.5
"""The marks of points that are named, and the height in the legend of what is above their names, and of each name.

Numbers would pass for names of layers."""
_DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)))
# rough size of the picture on a page in points, how far from a point its letter may be, and in which directions
_PAGE = np.array([500.0, 270.0])
_STEPS = (7.0, 13.0, 20.0, 28.0, 40.0)
_DIRECTIONS = np.stack([np.sin(np.pi * np.arange(16) / 8), np.cos(np.pi * np.arange(16) / 8)], axis=1)
_CHARACTER = 8.0
"""Points of a character of a label, with what the legend takes of narrow axes."""
_RATES = ((1e12, "TMAC/s"), (1e9, "GMAC/s"), (1e6, "MMAC/s"), (1e3, "kMAC/s"), (1.0, "MAC/s"))


def draw_roofline(axes: Axes, data: Mapping[str, Any]) -> None:
    """Every layer by MACs for each byte moved and MACs attained a second; the area of a point is its share of the time.

    Layers at one place are one point. The roof is that of all PEs busy in every cycle, and each slope a bandwidth.
    """
    from matplotlib.colors import to_rgba

    points = _points(data["layers"])
    if not points:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no layer takes any time", ha="center")
        return
    named = int(np.clip((size_in_points(axes)[1] - _LINES) / _ENTRY, 1, len(_MARKS)))
    points = _named_first(points, named)
    scale, unit = unit_of(data["roof"], _RATES)
    roof = data["roof"] / scale
    x = np.array([point["x"] for point in points])
    y = np.array([point["y"] for point in points]) / scale
    low, high = _ends(x, data)
    frame = (low, high, min(y.min() / 2.5, roof / 10), 2.2 * roof)
    axes.plot(
        [low, high], [roof, roof], color=BLACK, linewidth=1.4, label=f"all PEs busy: {in_unit(data['roof'], _RATES, 4)}"
    )
    for slope, dashes in zip(data["slopes"], _DASHES, strict=False):
        rate = slope["bytes_per_s"] / scale
        ends = np.array([low, roof / rate])
        label = f"{_listed(slope['operands'])}: {in_unit(slope['bytes_per_s'], BYTES, 4)}/s"
        axes.plot(ends, rate * ends, color=GREY, linewidth=1.4, linestyle=dashes, label=label)
    for bound, colour in BOUNDS.items():
        where = [i for i, point in enumerate(points) if point["bound"] == bound]
        if where:
            face = [(1.0, 1.0, 1.0, 0.6) if points[i]["extrapolated"] else to_rgba(colour, 0.75) for i in where]
            edge = [colour if points[i]["extrapolated"] else "white" for i in where]
            look: dict[str, Any] = {"facecolors": face, "edgecolors": edge, "linewidth": 1.0, "zorder": 3}
            axes.scatter(x[where], y[where], s=[_area(points[i]) for i in where], **look)
    axes.set(xscale="log", yscale="log", xlim=frame[:2], ylim=frame[2:])
    _mark(axes, points, np.stack([x, y]), named, np.log(frame).reshape(2, 2))
    plain_ticks(axes.xaxis, axes.yaxis)
    _legend(axes, points, named, has_total=data["total"] is not None)
    label = f"MACs per byte of {_listed(data['operands'])}"
    axes.set_xlabel(textwrap.fill(label, max(16, int(size_in_points(axes)[0] / _CHARACTER))))
    axes.set_ylabel(f"attained [{unit}]")


def _points(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Layers at one place as one point: that of the slowest layer first, then those that take the longest together."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for layer in layers:
        if not (layer["macs"] and layer["seconds"] and layer["bytes"]):
            continue
        x, y = layer["macs"] / layer["bytes"], layer["macs"] / layer["seconds"]
        same = {"bound": layer["bound"], "extrapolated": layer["extrapolated"]}
        place = (float(f"{x:.3g}"), float(f"{y:.3g}"), *same.values())
        point = found.setdefault(place, {"x": x, "y": y, **same, "share": 0.0, "layers": {}})
        point["share"] += layer["share"]
        point["layers"][layer["name"]] = layer["share"]
    slowest = max((layer["share"] for layer in layers), default=0.0)
    return sorted(found.values(), key=lambda point: (slowest not in point["layers"].values(), -point["share"]))


def _named_first(points: list[dict[str, Any]], named: int) -> list[dict[str, Any]]:
    """The points that have letters, and the others; the first of what each part bounds has one."""
    of_bound: dict[str, int] = {}
    for i, point in enumerate(points):
        of_bound.setdefault(point["bound"], i)
    leading = [*of_bound.values(), *(i for i in range(len(points)) if i not in of_bound.values())][:named]
    return [points[i] for i in sorted(range(len(points)), key=lambda i: (i not in leading, i))]


def _ends(x: np.ndarray[Any, Any], data: Mapping[str, Any]) -> tuple[float, float]:
    """From left of all points to right of them, and of the ridges."""
    ridges = [data["roof"] / slope["bytes_per_s"] for slope in data["slopes"]]
    near = [ridge for ridge in ridges if ridge < 1e3 * x.max()]
    return min([x.min(), *near]) / 2.5, max([x.max(), *near]) * 2.5


def _mark(
    axes: Axes, points: Sequence[Mapping[str, Any]], places: np.ndarray[Any, Any], named: int, frame: Any
) -> None:
    """A letter next to each point, as clear of others and of all points as can be; a line leads to it from afar."""
    from matplotlib.patheffects import withStroke

    on_page = (np.log(places.T) - frame[:, 0]) / (frame[:, 1] - frame[:, 0]) * _PAGE
    reach = np.array([np.sqrt(_area(point)) / 2 for point in points])
    taken = np.empty((0, 2))
    for i, letter in enumerate(_MARKS[: min(named, len(points))]):
        moves = np.array([to * (reach[i] + step) for step in _STEPS for to in _DIRECTIONS])
        ends = on_page[i] + moves
        to_points = np.linalg.norm(ends[:, None] - on_page, axis=-1) - reach
        to_letters = np.linalg.norm(ends[:, None] - taken, axis=-1)
        clear = np.minimum(to_points.min(1), to_letters.min(1, initial=np.inf) - _STEPS[0])
        clear[np.any((ends < _STEPS[0]) | (ends > _PAGE - _STEPS[0]), axis=1)] -= _STEPS[-1]
        move = moves[np.argmax(np.minimum(clear, 0.9 * _STEPS[0]))]
        taken = np.append(taken, [on_page[i] + move], axis=0)
        is_far = np.linalg.norm(move) > reach[i] + 1.5 * _STEPS[0]
        axes.annotate(
            letter,
            tuple(places[:, i]),
            tuple(move),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            fontweight="bold",
            zorder=4,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 5, "shrinkB": 0}
            if is_far
            else None,
        )


def _area(point: Mapping[str, Any]) -> float:
    """Of the mark, in square points."""
    return 30.0 + 900.0 * float(point["share"])


def _legend(axes: Axes, points: Sequence[Mapping[str, Any]], named: int, *, has_total: bool) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    for bound, colour in BOUNDS.items():
        if any(point["bound"] == bound for point in points):
            handles.append(Line2D([], [], marker="o", linestyle="none", color=colour))
            labels.append(f"bound by {bound}")
    for point, letter in zip(points, _MARKS[:named], strict=False):
        # an edge would smear the letter
        look: dict[str, Any] = {"marker": rf"$\mathbf{{{letter}}}$", "markersize": 7, "markeredgewidth": 0}
        handles.append(Line2D([], [], linestyle="none", color=BLACK, **look))
        labels.append(_name_of(point, has_total=has_total))
    if any(point["extrapolated"] for point in points):
        handles.append(Line2D([], [], marker="o", linestyle="none", markerfacecolor="white", markeredgecolor=GREY))
        labels.append(BEYOND)
    if len(points) > named and has_total:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(f"all others: {percent(sum(point['share'] for point in points[named:]))} %")
    title = "layers by their share of the time" if has_total else "layers, the slowest first"
    legend_outside(axes, handles=handles, labels=labels, title=title, alignment="left", fontsize=9, labelspacing=0.4)


def _name_of(point: Mapping[str, Any], *, has_total: bool) -> str:
    """The slowest layer of a point by itself, and how many are at the same place."""
    slowest = max(point["layers"], key=lambda name: point["layers"][name])
    own, others = point["layers"][slowest], len(point["layers"]) - 1
    name = layer_name(slowest, 24) + (f": {percent(own)} %" if has_total else "")
    rest = f": {percent(point['share'] - own)} %" if has_total else ""
    return f"{name}\n{others} like it{rest}" if others else name


def _listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence.

    >>> _listed(["weights", "inputs", "outputs"])
    'weights, inputs and outputs'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
