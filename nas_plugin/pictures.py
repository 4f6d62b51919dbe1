"""Pictures of a run (how the search went, where its winner stands on the stairs) and of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost import network_cost
from hwcost.plot import save
from hwcost.plot.style import COLOURS
from nas_plugin.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nas_plugin.comparison import Comparison, Found

__all__ = ["save", "search_figure", "sweep_figure", "winner_figure"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _quiet(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def search_figure(result: SearchResult) -> Figure:
    """How the search went.

    Of the author's search latency and accuracy over the epochs, and below the probabilities of every decision as heat
    maps; of the others the super-network's losses, where there is one, and every network that was looked at.
    """
    log = [record for record in result.log if record["stage"] == "search"]
    return _alphas_figure(result, log) if result.settings.method == "darts" else _trials_figure(result, log)


def _alphas_figure(result: SearchResult, log: list[dict[str, Any]]) -> Figure:
    decisions = list(result.arch.decisions.items())
    columns = 2
    rows = -(-len(decisions) // columns)
    figure = _figure(11, 3.2 + 2.0 * rows)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.5] + [1] * rows)
    epochs = np.array([record["epoch"] for record in log])
    _draw_latency(figure.add_subplot(grid[0, 0]), epochs, log, result)
    _draw_accuracy(figure.add_subplot(grid[0, 1]), epochs, log, result)
    image = None
    for index, (name, options) in enumerate(decisions):
        axes = figure.add_subplot(grid[1 + index // columns, index % columns])
        image = _draw_alphas(axes, name, options, log, result)
    assert image is not None
    figure.colorbar(image, ax=figure.axes[2:], label="probability", shrink=0.8, pad=0.01)
    array, settings = result.arch.array, result.settings
    figure.suptitle(
        f"Search of {result.arch.name} on a {array.rows} x {array.cols} array: "
        f"{settings.latency} latency, {_limit(result)}, seed {settings.seed}"
    )
    return figure


def _limit(result: SearchResult) -> str:
    settings = result.settings
    return f"lambda {settings.weight:g}" if settings.target is None else f"target {settings.target}"


def _trials_figure(result: SearchResult, log: list[dict[str, Any]]) -> Figure:
    """Losses of the super-network over its epochs, and the best held-out loss over the steps of the choice."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in log:
        parts.setdefault(record["part"], []).append(record)
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    if epochs := parts.get("super-network"):
        for name, colour in (("widest", BLUE), ("random", GREY), ("narrowest", ORANGE)):
            left.plot(
                np.arange(1, len(epochs) + 1),
                [record["losses"][name] for record in epochs],
                "o-",
                markersize=3,
                color=colour,
                label=f"{name} network",
            )
        left.set(xlabel="epoch", ylabel="loss (nats)", title="Training of the super-network")
        left.legend(frameon=False, fontsize=8)
    else:
        left.set_axis_off()
        left.text(0.5, 0.5, "no super-network was trained", ha="center", color=GREY, transform=left.transAxes)
    if scored := parts.get("scores"):
        losses = [record["held_out_loss"] for record in scored]
        right.plot(
            [record["scored"] for record in scored],
            losses,
            "o-",
            color=BLUE,
            label="best, with the super-network's weights",
        )
    start = parts["scores"][-1]["scored"] if "scores" in parts else 0
    ring: dict[str, Any] = {"color": "none", "markeredgecolor": "black", "markersize": 11}
    groups = list(_trained(parts))
    for colour, (label, trained) in zip((ORANGE, GREEN), groups, strict=False):
        after = np.array([record["loss"] for record in trained])
        places = start + np.arange(1, len(trained) + 1)
        right.plot(places, after, "o", color=colour, label=label)
        start += len(trained)
        found = np.array([record["tried"] == result.derived for record in trained])
        if trained is groups[-1][1]:
            right.plot(places[found], after[found], "o", **ring, label="the network found")
    right.set(xlabel="networks scored, then trained", ylabel="held-out loss (nats)", title="The choice")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        _quiet(axes)
    array, settings = result.arch.array, result.settings
    figure.suptitle(
        f"Search of {result.arch.name} on a {array.rows} x {array.cols} array: "
        f"{settings.method}, {_limit(result)}, seed {settings.seed}"
    )
    return figure


def _trained(parts: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Networks that were trained in a search, with a name for how."""
    for part, name in (("fine-tuning", "fine-tuned for"), ("trial", "trained from scratch for")):
        if records := parts.get(part):
            yield f"{name} {records[0]['epochs']} epochs", records
    if "random" in parts:
        yield "trained a little", parts["random"]


def _draw_latency(axes: Axes, epochs: Any, log: list[dict[str, Any]], result: SearchResult) -> None:
    axes.plot(epochs, [record["soft_latency"] for record in log], color=ORANGE, label="soft, of the probabilities")
    exact = [record["exact_latency"] for record in log]
    axes.step(epochs, exact, where="mid", color=BLUE, label="exact, of the largest alphas")
    axes.axhline(1, color=GREY, linewidth=1, linestyle=":", label="reference network")
    if (limit := result.target_cycles) is not None:
        share = limit / float(result.cost(result.reference).total.cycles)
        axes.axhline(share, color=GREEN, linewidth=1, linestyle="--", label="target")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="epoch", ylabel="cycles / reference's", ylim=(0, None), title="Latency")
    axes.legend(frameon=False, fontsize=8)
    _quiet(axes)


def _draw_accuracy(axes: Axes, epochs: Any, log: list[dict[str, Any]], result: SearchResult) -> None:
    accuracy = [100 * record["accuracy"] for record in log]
    axes.plot(epochs, accuracy, color=GREEN)
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title="Held-out accuracy of the largest alphas' network")
    axes.annotate(f"{accuracy[-1]:.1f} %", (epochs[-1], accuracy[-1]), (0, -14), textcoords="offset points", ha="right")
    _quiet(axes)


def _draw_alphas(
    axes: Axes, name: str, options: tuple[int, ...], log: list[dict[str, Any]], result: SearchResult
) -> Any:
    table = np.array([record["probabilities"][name] for record in log]).T
    extent = (0.5, len(log) + 0.5, -0.5, len(options) - 0.5)
    image = axes.imshow(table, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1, cmap="viridis")
    ticks = np.unique(np.linspace(0, len(options) - 1, min(len(options), 6)).round().astype(int))
    axes.set_yticks(ticks, [str(options[tick]) for tick in ticks])
    found = options.index(result.derived[name])
    axes.plot([len(log) + 0.5], [found], "<", color=ORANGE, markersize=7, clip_on=False)
    axes.set(xlabel="epoch", xlim=extent[:2])
    axes.locator_params(axis="x", integer=True)
    axes.set_title(f"{name}: {result.derived[name]} found", fontsize=10)
    return image


def winner_figure(result: SearchResult) -> Figure:
    """For every width the exact cycles of the whole network if only that width changed, and where the winner stands."""
    blocks = result.arch.blocks
    columns = 2
    figure = _figure(10, 0.6 + 2.9 * -(-len(blocks) // columns))
    reference = result.cost(result.reference).total.cycles
    for index, block in enumerate(blocks):
        axes = figure.add_subplot(-(-len(blocks) // columns), columns, index + 1)
        name, size = block.width_decision, result.winner.choice[block.width_decision]
        widths = np.arange(1, block.widths[-1] + 1)
        for relaxation, colour, width in (("linear", GREY, 1.0), ("exact", BLUE, 1.8)):
            layers = result.arch.space.at(result.winner.choice | {name: widths})
            cycles = network_cost(layers, result.arch.array, relaxation=relaxation).total.cycles / reference
            label = "exact" if relaxation == "exact" else "proportional to MACs"
            style = "steps-mid" if relaxation == "exact" else "default"
            axes.plot(widths, cycles, color=colour, linewidth=width, drawstyle=style, label=label)
        axes.axvline(result.derived[name], color=ORANGE, linewidth=1, linestyle="--", label="found by the search")
        axes.plot([size], [result.cycles_ratio], "o", color=ORANGE, markersize=7, label="winner, rounded up")
        axes.set(xlabel=f"width of {block.name}", ylabel="cycles / reference's", ylim=(0, None))
        axes.set_title(f"{block.name}: {size}", fontsize=10)
        if index == 0:
            axes.legend(frameon=False, fontsize=8)
        _quiet(axes)
    array = result.arch.array
    figure.suptitle(f"The winner on the stairs of a {array.rows} x {array.cols} array (other widths as in the winner)")
    return figure


# ---------------------------------------------------------------- sweeps

MARKERS = "osD^vP*Xhd<"
"""Eleven, so that with six colours no two of 66 methods look alike."""


def sweep_figure(comparison: Comparison) -> Figure:
    """Accuracy against exact cycles for each array, and below the accuracy of each method at each limit.

    Small marks are the winners of single searches, each the mean over its trainings; large ones are a method's mean
    over search seeds at one limit, with bars from its worst to its best seed. The grey band reaches from the reference
    network's accuracy to the tolerance below.
    """
    from nas_plugin.comparison import TOLERANCE, counted

    arrays, methods = comparison.arrays, comparison.sweep.settings.methods
    limits = list(dict.fromkeys(one.limit for one in comparison.found))
    rows = len(methods) * (len(limits) + 1)
    figure = _figure(1.5 + 5.2 * len(arrays), 5.4 + 0.9 + 0.14 * rows)
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
        _quiet(cloud)
        _quiet(strips)
    upper[0].set_ylabel("test accuracy (%)")
    lower[0].invert_yaxis()
    handles, labels = upper[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False, fontsize=9)
    settings = comparison.sweep.settings
    figure.suptitle(
        f"Winners of {comparison.sweep.arch.name} searches, {counted(len(settings.seeds), 'search seed')}, "
        f"{counted(settings.train_seeds, 'training')} each, {counted(settings.count, 'training image')}",
        fontsize=12 if len(arrays) > 1 else 9,
    )
    return figure


def _draw_strip(axes: Axes, found: list[Found], limit: str, height: int, colour: str, marker: str) -> None:
    accuracy = np.array([100 * one.accuracy for one in found])
    axes.plot(accuracy, np.full(len(accuracy), height), marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    reach = np.array([_reach(accuracy)]).T
    axes.errorbar(
        [accuracy.mean()], [height], xerr=reach, fmt=marker, color=colour, markersize=6, linewidth=1, capsize=2
    )
    axes.annotate(
        limit, (accuracy.max(), height), (6, 0), textcoords="offset points", va="center", fontsize=6, color=GREY
    )


def _draw_method(axes: Axes, found: list[Found], method: str, colour: str, marker: str) -> None:
    groups: dict[str, list[Found]] = {}
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
