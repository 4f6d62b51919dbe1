"""Pictures: the course of a search, its winner on the stairs, and the accuracy and cycles of a sweep's winners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost import network_cost
from hwcost.plot.style import COLOURS, GREY, STYLE, load_matplotlib
from hwcost.units import plural
from nas_plugin.runs.comparison import TOLERANCE, Comparison, SearchRow
from nas_plugin.runs.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["search_figure", "sweep_figure", "winner_figure"]

BLUE, ORANGE, GREEN = COLOURS[:3]
MARKERS = "osD^vP*Xhd<"
"""Eleven, so that with six colours no two of 66 methods look alike."""
Log = list[dict[str, Any]]


def search_figure(result: SearchResult) -> Figure:
    """The course of the search.

    Of the author's search: latency and accuracy over the epochs, and the probabilities of every decision as heat maps.
    Of the others: the losses of the super-network, if there is one, and every network that was scored or trained.
    """
    log = [record for record in result.log if record["stage"] == "search"]
    array, settings = result.arch.array, result.settings
    limit = f"lambda {settings.weight:g}" if settings.target is None else f"target {settings.target}"
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure: Figure = matplotlib.figure.Figure(layout="constrained")
        if "probabilities" in log[0]:
            _draw_epochs(figure, result, log)
            method = f"{settings.latency} latency"
        else:
            _draw_trials(figure, result, log)
            method = str(settings.method)
        where = f"{result.arch.name} on a {array.rows} x {array.cols} array"
        figure.suptitle(f"Search of {where}: {method}, {limit}, seed {settings.seed}")
    return figure


def _draw_epochs(figure: Figure, result: SearchResult, log: Log) -> None:
    decisions = result.arch.decisions
    rows = -(-len(decisions) // 2)
    figure.set_size_inches(11, 3.2 + 2.0 * rows)
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[1.5] + [1] * rows)
    latency, right, *tables = (figure.add_subplot(grid[index]) for index in range(2 + len(decisions)))
    epochs = np.array([record["epoch"] for record in log])
    latency.plot(epochs, [record["soft_latency"] for record in log], color=ORANGE, label="soft, of the probabilities")
    exact = [record["exact_latency"] for record in log]
    latency.step(epochs, exact, where="mid", color=BLUE, label="exact, of the largest alphas")
    latency.axhline(1, color=GREY, linewidth=1, linestyle=":", label="reference network")
    if (limit := result.target_cycles) is not None:
        share = limit / float(result.cost(result.reference).total.cycles)
        latency.axhline(share, color=GREEN, linewidth=1, linestyle="--", label="target")
    latency.set(xlabel="epoch", ylabel="cycles / reference's", ylim=(0, None), title="Latency")
    latency.legend(fontsize=8)
    accuracy = [100 * record["accuracy"] for record in log]
    right.plot(epochs, accuracy, color=GREEN)
    right.set(xlabel="epoch", ylabel="accuracy (%)", title="Held-out accuracy of the largest alphas' network")
    right.annotate(
        f"{accuracy[-1]:.1f} %", (epochs[-1], accuracy[-1]), (0, -14), textcoords="offset points", ha="right"
    )
    for axes, (name, options) in zip(tables, decisions.items(), strict=True):
        image = _draw_alphas(axes, name, options, log, result)
    for axes in figure.axes:
        axes.locator_params(axis="x", integer=True)
    figure.colorbar(image, ax=tables, label="probability", shrink=0.8, pad=0.01)


def _draw_alphas(axes: Axes, name: str, options: tuple[int, ...], log: Log, result: SearchResult) -> Any:
    table = np.array([record["probabilities"][name] for record in log]).T
    extent = (0.5, len(log) + 0.5, -0.5, len(options) - 0.5)
    image = axes.imshow(table, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1, cmap="viridis")
    ticks = np.unique(np.linspace(0, len(options) - 1, min(len(options), 6)).round().astype(int))
    axes.set_yticks(ticks, [str(options[tick]) for tick in ticks])
    found = options.index(result.derived[name])
    axes.plot([len(log) + 0.5], [found], "<", color=ORANGE, markersize=7, clip_on=False)
    axes.set(xlabel="epoch", xlim=extent[:2], title=f"{name}: {result.derived[name]} found")
    axes.grid(visible=False)
    return image


def _draw_trials(figure: Figure, result: SearchResult, log: Log) -> None:
    """Losses of the super-network over its epochs, and the best held-out loss over the steps of the choice."""
    parts: dict[str, Log] = {}
    for record in log:
        parts.setdefault(record.get("part", ""), []).append(record)
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    if epochs := parts.get("super-network"):
        for name, colour in (("widest", BLUE), ("random", GREY), ("narrowest", ORANGE)):
            losses = [record["losses"][name] for record in epochs]
            left.plot(range(1, len(epochs) + 1), losses, "o-", markersize=3, color=colour, label=f"{name} network")
        left.set(xlabel="epoch", ylabel="loss (nats)", title="Training of the super-network")
        left.legend(fontsize=8)
        left.locator_params(axis="x", integer=True)
    else:
        left.set_axis_off()
        left.text(0.5, 0.5, "no super-network was trained", ha="center", color=GREY, transform=left.transAxes)
    numbers = [0, *(record["scored"] for record in parts.get("scores", []))]
    if scores := [record["held_out_loss"] for record in parts.get("scores", [])]:
        right.plot(numbers[1:], scores, "o-", color=BLUE, label="best, with the super-network's weights")
    start, groups = numbers[-1], list(_trained(parts))
    for colour, (label, trained) in zip((ORANGE, GREEN), groups, strict=False):
        after, places = np.array([record["loss"] for record in trained]), start + np.arange(1, len(trained) + 1)
        right.plot(places, after, "o", color=colour, label=label)
        start += len(trained)
        if trained is groups[-1][1]:
            found = np.array([record["tried"] == result.derived for record in trained])
            ring: dict[str, Any] = {"color": "none", "markeredgecolor": "black", "markersize": 11}
            right.plot(places[found], after[found], "o", **ring, label="the network found")
    right.set(xlabel="networks scored, then trained", ylabel="held-out loss (nats)", title="The choice")
    if right.get_legend_handles_labels()[0]:
        right.legend(fontsize=8)
    right.locator_params(axis="x", integer=True)


def _trained(parts: dict[str, Log]) -> Iterator[tuple[str, Log]]:
    """The networks that the search trained, by how it trained them."""
    for part, name in (("fine-tuning", "fine-tuned for"), ("trial", "trained from scratch for")):
        if records := parts.get(part):
            yield f"{name} {records[0]['epochs']} epochs", records
    if "random" in parts:
        yield "trained a little", parts["random"]


def winner_figure(result: SearchResult) -> Figure:
    """The exact cycles of the whole network against each width, with the winner and the network found marked."""
    blocks, array = result.arch.blocks, result.arch.array
    rows = -(-len(blocks) // 2)
    reference = result.cost(result.reference).total.cycles
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure: Figure = matplotlib.figure.Figure(figsize=(10, 0.6 + 2.9 * rows), layout="constrained")
        for index, block in enumerate(blocks):
            axes = figure.add_subplot(rows, 2, index + 1)
            name, size = block.width_decision, result.winner.choice[block.width_decision]
            widths = np.arange(1, block.widths[-1] + 1)
            layers = result.arch.space.at(result.winner.choice | {name: widths})
            linear, exact = (
                network_cost(layers, array, relaxation=relaxation).total.cycles / reference
                for relaxation in ("linear", "exact")
            )
            axes.plot(widths, linear, color=GREY, linewidth=1.0, label="proportional to MACs")
            axes.step(widths, exact, where="mid", color=BLUE, linewidth=1.8, label="exact")
            axes.axvline(result.derived[name], color=ORANGE, linewidth=1, linestyle="--", label="found by the search")
            axes.plot([size], [result.cycles_ratio], "o", color=ORANGE, markersize=7, label="winner, rounded up")
            axes.set(xlabel=f"width of {block.name}", ylabel="cycles / reference's", ylim=(0, None))
            axes.set_title(f"{block.name}: {size}")
        figure.axes[0].legend(fontsize=8)
        figure.suptitle(
            f"The winner on the stairs of a {array.rows} x {array.cols} array (other widths as in the winner)"
        )
    return figure


def sweep_figure(comparison: Comparison) -> Figure:
    """Accuracy against exact cycles for each array, and below the accuracy of each method at each limit.

    Small marks are the winners of single searches, each the mean over its trainings; large ones are a method's mean
    over search seeds at one limit, with bars from its worst to its best seed. The grey band reaches from the reference
    network's accuracy to the tolerance below.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        return _draw_sweep(comparison, matplotlib.figure.Figure(layout="constrained"))


def _draw_sweep(comparison: Comparison, figure: Figure) -> Figure:
    arrays, settings = comparison.arrays, comparison.sweep.settings
    methods, limits = settings.methods, list(dict.fromkeys(row.limit for row in comparison.found))
    lines = len(limits) + 1  # of a method in a strip
    height = 0.9 + 0.14 * lines * len(methods)
    figure.set_size_inches(1.5 + 5.2 * len(arrays), 5.4 + height)
    grid: dict[str, Any] = {"squeeze": False, "sharex": "row", "sharey": "row", "height_ratios": [4.4, height]}
    upper, lower = figure.subplots(2, len(arrays), **grid)
    reference, spread = 100 * comparison.reference_accuracy, 100 * np.array([comparison.reference])
    band = (reference - 100 * TOLERANCE, reference)
    for array, cloud, strips in zip(arrays, upper, lower, strict=True):
        cloud.axhspan(*band, color=GREY, alpha=0.15, linewidth=0)
        strips.axvspan(*band, color=GREY, alpha=0.15, linewidth=0)
        cloud.errorbar(
            [1], [reference], _reach(spread), fmt="*", color="black", markersize=13, label="reference network"
        )
        for index, method in enumerate(methods):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            groups = [comparison.of(array, method, limit) for limit in limits]
            _draw_method(cloud, groups, method, colour, marker)
            for place, (limit, group) in enumerate(zip(limits, groups, strict=True)):
                _draw_strip(strips, group, limit, index * lines + place, colour, marker)
        cloud.set(xlabel="exact cycles / reference's", title=f"{array} array")
        strips.set(xlabel="test accuracy (%)")
        strips.margins(0.12, 0.2 / len(methods))
        strips.set_yticks(np.arange(len(methods)) * lines + (len(limits) - 1) / 2, methods)
    upper[0].set_ylabel("test accuracy (%)")
    lower[0].invert_yaxis()
    handles, labels = upper[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), fontsize=9)
    figure.suptitle(
        f"Winners of {comparison.sweep.arch.name} searches, {plural(len(settings.seeds), 'search seed')}, "
        f"{plural(len(settings.train_seeds), 'training')} each, {settings.count:,} training images",
        fontsize=12 if len(arrays) > 1 else 9,
    )
    return figure


def _draw_strip(axes: Axes, group: list[SearchRow], limit: str, height: int, colour: str, marker: str) -> None:
    accuracy = np.array([[100 * row.accuracy for row in group]])
    axes.plot(accuracy[0], np.full(len(group), height), marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 6, "linewidth": 1, "capsize": 2}
    axes.errorbar(accuracy.mean(1), [height], xerr=_reach(accuracy), **style)
    right = (accuracy.max(), height)
    axes.annotate(limit, right, (6, 0), textcoords="offset points", va="center", fontsize=6, color=GREY)


def _draw_method(axes: Axes, groups: list[list[SearchRow]], method: str, colour: str, marker: str) -> None:
    """The winners of a method at each limit, and their means from the fewest cycles to the most."""
    points = np.array([[(row.cycles_ratio, 100 * row.accuracy) for row in group] for group in groups])
    axes.plot(*points.reshape(-1, 2).T, marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    cycles, accuracy = np.moveaxis(points[np.argsort(points[..., 0].mean(1))], 2, 0)
    style: dict[str, Any] = {"color": colour, "markersize": 7, "linewidth": 1, "capsize": 2, "label": method}
    axes.errorbar(cycles.mean(1), accuracy.mean(1), _reach(accuracy), _reach(cycles), fmt=f"{marker}-", **style)


def _reach(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How far the least and the largest value of each row lie from its mean; shape (2, rows)."""
    mean = values.mean(1)
    return np.maximum([mean - values.min(1), values.max(1) - mean], 0.0)
