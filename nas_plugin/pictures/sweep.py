"""The picture of a sweep: accuracy against exact cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.plot.style import COLOURS
from nas_plugin.pictures.style import GREY, new_figure, quiet
from nas_plugin.runs.comparison import TOLERANCE, Comparison, SearchRow, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["sweep_figure"]

MARKERS = "osD^vP*Xhd<"
"""Eleven, so that with six colours no two of 66 methods look alike."""


def sweep_figure(comparison: Comparison) -> Figure:
    """Accuracy against exact cycles for each array, and below the accuracy of each method at each limit.

    Small marks are the winners of single searches, each the mean over its trainings; large ones are a method's mean
    over search seeds at one limit, with bars from its worst to its best seed. The grey band reaches from the reference
    network's accuracy to the tolerance below.
    """
    arrays, methods = comparison.arrays, comparison.sweep.settings.methods
    limits = list(dict.fromkeys(one.limit for one in comparison.found))
    rows = len(methods) * (len(limits) + 1)
    figure = new_figure(1.5 + 5.2 * len(arrays), 5.4 + 0.9 + 0.14 * rows)
    upper, lower = figure.subplots(
        2, len(arrays), squeeze=False, sharex="row", sharey="row", height_ratios=[4.4, 0.9 + 0.14 * rows]
    )
    reference = 100 * comparison.reference_accuracy
    spread = [100 * accuracy for accuracy in comparison.reference]
    band = (reference - 100 * TOLERANCE, reference)
    for array, cloud, strips in zip(arrays, upper, lower, strict=True):
        cloud.axhspan(*band, color=GREY, alpha=0.15, linewidth=0)
        strips.axvspan(*band, color=GREY, alpha=0.15, linewidth=0)
        bars = [[reference - min(spread)], [max(spread) - reference]]
        cloud.errorbar([1], [reference], bars, fmt="*", color="black", markersize=13, label="reference network")
        for index, method in enumerate(methods):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            _draw_method(cloud, comparison.of(array, method), method, colour, marker)
            for place, limit in enumerate(limits):
                height = index * (len(limits) + 1) + place
                _draw_strip(strips, comparison.of(array, method, limit), limit, height, colour, marker)
        cloud.set(xlabel="exact cycles / reference's", title=f"{array} array")
        strips.set(xlabel="test accuracy (%)")
        strips.margins(0.12, 0.2 / len(methods))
        strips.set_yticks(np.arange(len(methods)) * (len(limits) + 1) + (len(limits) - 1) / 2, methods)
        quiet(cloud)
        quiet(strips)
    upper[0].set_ylabel("test accuracy (%)")
    lower[0].invert_yaxis()
    handles, labels = upper[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False, fontsize=9)
    settings = comparison.sweep.settings
    figure.suptitle(
        f"Winners of {comparison.sweep.arch.name} searches, {counted(len(settings.seeds), 'search seed')}, "
        f"{counted(len(settings.train_seeds), 'training')} each, {counted(settings.count, 'training image')}",
        fontsize=12 if len(arrays) > 1 else 9,
    )
    return figure


def _draw_strip(axes: Axes, found: list[SearchRow], limit: str, height: int, colour: str, marker: str) -> None:
    accuracy = np.array([100 * one.accuracy for one in found])
    axes.plot(accuracy, np.full(len(accuracy), height), marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    reach = np.array([_reach(accuracy)]).T
    axes.errorbar(
        [accuracy.mean()], [height], xerr=reach, fmt=marker, color=colour, markersize=6, linewidth=1, capsize=2
    )
    axes.annotate(
        limit, (accuracy.max(), height), (6, 0), textcoords="offset points", va="center", fontsize=6, color=GREY
    )


def _draw_method(axes: Axes, found: list[SearchRow], method: str, colour: str, marker: str) -> None:
    groups: dict[str, list[SearchRow]] = {}
    for one in found:
        groups.setdefault(one.limit, []).append(one)
    means = []
    for group in groups.values():
        cycles = np.array([one.cycles_ratio for one in group])
        accuracy = np.array([100 * one.accuracy for one in group])
        axes.plot(cycles, accuracy, marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
        means.append((cycles.mean(), accuracy.mean(), *_reach(cycles), *_reach(accuracy)))
    x, y, left, right, down, up = np.array(sorted(means)).T
    axes.errorbar(
        x, y, [down, up], [left, right], f"{marker}-", color=colour, markersize=7, linewidth=1, capsize=2, label=method
    )


def _reach(values: Any) -> tuple[float, float]:
    mean = values.mean()
    return max(mean - values.min(), 0.0), max(values.max() - mean, 0.0)
