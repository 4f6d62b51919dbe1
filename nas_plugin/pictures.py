"""Pictures: the course of a search, its winner on the stairs, and the accuracy and cycles of a sweep's winners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost import network_cost
from hwcost.errors import InvalidValueError
from hwcost.plot.canvas import Canvas, canvas
from hwcost.plot.style import COLOURS, GREY, legend_above, load_matplotlib, reach_of
from hwcost.units import number, plural
from nas_plugin.runs.comparison import TOLERANCE, Comparison, SearchRow
from nas_plugin.runs.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["search_figure", "sweep_figure", "winner_figure"]

BLUE, ORANGE, GREEN = COLOURS[:3]
TRAINED = {"fine-tuning": ("fine-tuned", ORANGE), "trial": ("from scratch", GREEN), "random": ("trained", ORANGE)}
MARKERS = "osD^vP*Xhd<"
"""Eleven, so that with six colours no two of 66 methods look alike."""
_RATIO = "cycles, reference = 1"
Log = list[dict[str, Any]]


def search_figure(result: SearchResult, *, ax: Any = None) -> Any:
    """The course of the search; None if its log holds nothing that is drawn.

    Of the author's search: latency and accuracy over the epochs, and the probabilities of every decision as heat maps.
    Of the others: the losses of the super-network, if there is one, and every network that was scored or trained.

    Args:
        result: of :func:`nas_plugin.search`.
        ax: an Axes for each of these panels, in this order; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than the result of a search, or another number of axes.
    """
    _check("result", result, SearchResult, "what nas_plugin.search(...) or nas_plugin.read_run(folder) returns")
    log = [record for record in result.log if record["stage"] == "search"]
    if not log or not log[0].keys() & {"probabilities", "losses", "objective", "best_objective"}:
        return None
    array, settings, decisions = result.arch.array, result.settings, result.arch.decisions
    rows = -(-len(decisions) // 2)
    if is_darts := "probabilities" in log[0]:
        names, size = ("latency", "accuracy", *decisions), (11.0, 3.2 + 2.0 * rows)
    else:
        names, size = (("losses", "choice") if any(map(_is_of_training, log)) else ("choice",)), (10.0, 4.8)

    def arranged(figure: Figure) -> list[Axes]:
        if not is_darts:
            return list(figure.subplots(1, len(names), squeeze=False)[0])
        grid = figure.add_gridspec(1 + rows, 2, height_ratios=[1.5] + [1] * rows)
        return [figure.add_subplot(grid[index]) for index in range(len(names))]

    with canvas(ax, names, size, arranged) as drawing:
        (_draw_epochs if is_darts else _draw_trials)(drawing.panels, result, log)
        method = f"{settings.latency} latency" if is_darts else settings.method
        where = f"{result.arch.name} on an array of {array.size_in_words}"
        limit = settings.limit if settings.target is None else f"target {settings.target}"
        _title(drawing, f"Search of {where}: {method}, {limit}, seed {settings.seed}")
    return drawing.drawn


def _check(field: str, given: object, kind: type, makes: str) -> None:
    if not isinstance(given, kind):
        raise InvalidValueError(field, given, makes)


def _title(drawing: Canvas, text: str, size: float = 12) -> None:
    """A title above all panels of a figure of its own; the caller's axes keep the titles of the panels."""
    if drawing.figure is not None:
        drawing.title(text, size)


def _is_of_training(record: dict[str, Any]) -> bool:
    return record.get("part") == "super-network"


def _over_epochs(axes: Axes, count: int) -> None:
    """The x axis of a number of epochs: whole epochs, with half of one at each end as in a heat map."""
    axes.set(xlabel="epoch", xlim=(0.5, count + 0.5))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)


def _draw_epochs(panels: Sequence[Axes], result: SearchResult, log: Log) -> None:
    decisions, epochs = result.arch.decisions, np.arange(1, len(log) + 1)
    latency, right, *tables = panels
    style: dict[str, Any] = {"marker": "o", "markersize": 3 if len(log) <= 20 else 0}
    soft, exact, accuracy = ([record[name] for record in log] for name in ("soft_latency", "exact_latency", "accuracy"))
    latency.plot(epochs, soft, color=ORANGE, label="soft, of the probabilities", **style)
    latency.step(epochs, exact, where="mid", color=BLUE, label="exact, of the largest alphas", **style)
    latency.axhline(1, color=GREY, linewidth=1, linestyle=":", label="reference network")
    if (limit := result.target_cycles) is not None:
        share = limit / float(result.cost(result.reference).total.cycles)
        latency.axhline(share, color=GREEN, linewidth=1, linestyle="--", label="target")
    latency.set(ylabel=_RATIO, ylim=(0, 1.05 * max(*soft, *exact, 1)), title="Latency")
    legend_above(latency)
    right.plot(epochs, 100 * np.array(accuracy), color=GREEN, **style)
    right.set(ylabel="accuracy [%]", title=f"Held-out accuracy of the largest alphas: {100 * accuracy[-1]:.1f} %")
    for axes, (name, options) in zip(tables, decisions.items(), strict=True):
        image = _draw_alphas(axes, name, options, log, result)
    for axes in panels:
        _over_epochs(axes, len(log))
    latency.figure.colorbar(image, ax=tables, label="probability", shrink=0.8, pad=0.01)


def _draw_alphas(axes: Axes, name: str, options: tuple[int, ...], log: Log, result: SearchResult) -> Any:
    table = np.array([record["probabilities"][name] for record in log]).T
    # the root makes small probabilities visible, as those among many widths are
    norm = load_matplotlib().colors.PowerNorm(0.5, 0, 1)
    extent = (0.5, len(log) + 0.5, -0.5, len(options) - 0.5)
    image = axes.imshow(table, origin="lower", aspect="auto", extent=extent, norm=norm, cmap="viridis")
    ticks = np.unique(np.linspace(0, len(options) - 1, min(len(options), 6)).round().astype(int))
    axes.set_yticks(ticks, [str(options[tick]) for tick in ticks])
    axes.plot(extent[1], options.index(result.derived[name]), "<", color=ORANGE, markersize=7, clip_on=False)
    axes.set_title(f"{name}: {result.derived[name]} found")
    axes.grid(visible=False)
    return image


def _draw_trials(panels: Sequence[Axes], result: SearchResult, log: Log) -> None:
    """Losses of what networks are cut from over epochs, and what they are ranked by over the steps of the choice."""
    source = "the widest network" if result.settings.method_row.keeps_weights else "the super-network"
    parts: dict[str, Log] = {}
    for record in log:
        parts.setdefault(record.get("part", ""), []).append(record)
    epochs = parts.get("super-network", [])
    *left, right = panels
    for axes in left:
        for name in epochs[0]["losses"]:
            colour = {"widest": BLUE, "random": GREY}.get(name, ORANGE)
            losses = [record["losses"][name] for record in epochs]
            axes.plot(range(1, len(epochs) + 1), losses, "o-", markersize=3, color=colour, label=f"{name} network")
        axes.set(ylabel="loss [nats]", title=f"Training of {source}")
        _over_epochs(axes, len(epochs))
        legend_above(axes)
    scores = parts.get("scores", [])
    numbers = [record["scored"] for record in scores]
    if scores:
        best = [record["best_objective"] for record in scores]
        right.plot(numbers, best, "o-", color=BLUE, label=f"best by {source}")
    start, found, lowest = max(numbers, default=0), None, ""
    for part, (how, colour) in TRAINED.items():
        if trained := parts.get(part):
            objectives = [record["objective"] for record in trained]
            label = f"{how}, {plural(trained[0]['epochs'], 'epoch')}"
            right.plot(start + np.arange(1, len(trained) + 1), objectives, "o", color=colour, label=label)
            lowest = f"found: the lowest {how}"
            found = [(start + i, r["objective"]) for i, r in enumerate(trained, 1) if r["tried"] == result.derived]
            start += len(trained)
    if found:
        ring: dict[str, Any] = {"color": "none", "markeredgecolor": "black", "markersize": 11}
        right.plot(*zip(*found, strict=True), "o", **ring, label=lowest)
    right.set(xlabel="networks scored, then trained", title="The choice", xlim=(0, 1.03 * start + 0.5))
    right.set_ylabel(f"{log[-1].get('ranked_by', '')} [nats]")
    right.locator_params(axis="x", integer=True)
    legend_above(right)


def winner_figure(result: SearchResult, *, ax: Any = None) -> Any:
    """The exact cycles of the network against each width, with the winner and the widths from which it grew for free.

    Args:
        result: of :func:`nas_plugin.search`.
        ax: an Axes for each block; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than the result of a search, or another number of axes.
    """
    _check("result", result, SearchResult, "what nas_plugin.search(...) or nas_plugin.read_run(folder) returns")
    blocks, array = result.arch.blocks, result.arch.array
    rows = -(-len(blocks) // 2)
    reference = result.cost(result.reference).total.cycles
    names, size = [block.name for block in blocks], (10.0, 1.0 + 2.9 * rows)

    def arranged(figure: Figure) -> list[Axes]:
        return [figure.add_subplot(rows, 2, index + 1) for index in range(len(blocks))]

    with canvas(ax, names, size, arranged) as drawing:
        for axes, block in zip(drawing.panels, blocks, strict=True):
            name, wide = block.width_decision, result.winner.choice[block.width_decision]
            widths = np.arange(1, block.widths[-1] + 1)
            layers = result.arch.space.at(result.winner.choice | {name: widths})
            reports = (network_cost(layers, array, relaxation=relaxation) for relaxation in ("linear", "exact"))
            linear, exact = (report.total.cycles / reference for report in reports)
            axes.plot(widths, linear, color=GREY, linewidth=1.0, label="proportional to MACs")
            axes.step(widths, exact, where="pre", color=BLUE, linewidth=1.8, label="exact")  # as hwcost plot stairs
            if name in result.rounded:
                before, _ = result.rounded[name]
                label = "found by the search, before it grew at equal cycles"
                axes.axvline(before, color=ORANGE, linewidth=1, linestyle="--", label=label)
            axes.plot([wide], [result.cycles_ratio], "o", color=ORANGE, markersize=7, label="winner", clip_on=False)
            axes.set(xlabel=f"width of {block.name}", ylabel=_RATIO, ylim=(0, None))
            axes.set_title(f"{block.name}: {wide} wide")
            axes.locator_params(axis="x", integer=True)
        drawing.legend(drawing.panels)
        _title(drawing, f"The winner on the stairs of an array of {array.size_in_words}, one width at a time")
    return drawing.drawn


def sweep_figure(comparison: Comparison, *, ax: Any = None) -> Any:
    """Accuracy against exact cycles for each array, and below the accuracy of each method at each limit.

    Small marks are the winners of single searches, each the mean over its trainings; large ones are a method's mean
    over search seeds at one limit, with bars from its worst to its best seed. The grey band reaches from the reference
    network's accuracy to the tolerance below.

    Args:
        comparison: of :func:`nas_plugin.sweep`.
        ax: an Axes for each array, and one for each below; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than the result of a sweep, or another number of axes.
    """
    _check("comparison", comparison, Comparison, "what nas_plugin.sweep(...) or nas_plugin.read_sweep(folder) returns")
    arrays, settings = comparison.arrays, comparison.sweep.settings
    height = 0.9 + 0.14 * (len(settings.limits) + 1) * len(settings.methods)
    names = [f"{what} on {array}" for what in ("winners", "accuracy") for array in arrays]
    grid: dict[str, Any] = {"squeeze": False, "sharex": "row", "sharey": "row", "height_ratios": [4.4, height]}
    size = 1.5 + 5.2 * len(arrays), 5.4 + height
    with canvas(ax, names, size, lambda figure: figure.subplots(2, len(arrays), **grid).flat) as drawing:
        upper, lower = drawing.panels[: len(arrays)], drawing.panels[len(arrays) :]
        _draw_sweep(comparison, upper, lower)
        drawing.legend(upper, 5)
        seeds = f"{plural(len(settings.seeds), 'search seed')}, {plural(len(settings.train_seeds), 'training')} each"
        title = f"Winners of {comparison.sweep.arch.name} searches, {seeds}, {number(settings.count)} training images"
        _title(drawing, title, 12 if len(arrays) > 1 else 9)
    return drawing.drawn


def _draw_sweep(comparison: Comparison, upper: Sequence[Axes], lower: Sequence[Axes]) -> None:
    arrays, methods = comparison.arrays, tuple(comparison.sweep.settings.methods)
    limits = list(dict.fromkeys(row.limit for row in comparison.found))
    lines = len(limits) + 1  # of a method in a strip
    reference, spread = 100 * comparison.reference_accuracy, 100 * np.array([comparison.reference])
    band = (reference - 100 * TOLERANCE, reference)
    for array, cloud, strips in zip(arrays, upper, lower, strict=True):
        cloud.axhspan(*band, color=GREY, alpha=0.15, linewidth=0)
        strips.axvspan(*band, color=GREY, alpha=0.15, linewidth=0)
        star: dict[str, Any] = {"fmt": "*", "color": "black", "markersize": 13, "label": "reference network"}
        cloud.errorbar([1], [reference], reach_of(spread), **star)
        for index, method in enumerate(methods):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            groups = [comparison.of(array, method, limit) for limit in limits]
            _draw_method(cloud, groups, method, colour, marker)
            for place, (limit, group) in enumerate(zip(limits, groups, strict=True)):
                _draw_strip(strips, group, limit, index * lines + place, colour, marker)
        cloud.set(xlabel=f"exact {_RATIO}", title=f"{array} array")
        strips.set(xlabel="test accuracy [%]")
        strips.margins(0.12, 0.2 / len(methods))
        strips.set_yticks(np.arange(len(methods)) * lines + (len(limits) - 1) / 2, methods)
    upper[0].set_ylabel("test accuracy [%]")
    lower[0].invert_yaxis()


def _draw_strip(axes: Axes, group: list[SearchRow], limit: str, height: int, colour: str, marker: str) -> None:
    accuracy = np.array([[100 * row.accuracy for row in group]])
    axes.plot(accuracy[0], np.full(len(group), height), marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 6, "linewidth": 1, "capsize": 2}
    axes.errorbar(accuracy.mean(1), [height], xerr=reach_of(accuracy), **style)
    right = (accuracy.max(), height)
    axes.annotate(limit, right, (6, 0), textcoords="offset points", va="center", fontsize=6, color=GREY)


def _draw_method(axes: Axes, groups: list[list[SearchRow]], method: str, colour: str, marker: str) -> None:
    """The winners of a method at each limit, and their means from the fewest cycles to the most."""
    points = np.array([[(row.cycles_ratio, 100 * row.accuracy) for row in group] for group in groups])
    axes.plot(*points.reshape(-1, 2).T, marker, color=colour, markersize=3, alpha=0.45, linewidth=0)
    cycles, accuracy = np.moveaxis(points[np.argsort(points[..., 0].mean(1))], 2, 0)
    style: dict[str, Any] = {"color": colour, "markersize": 7, "linewidth": 1, "capsize": 2, "label": method}
    axes.errorbar(cycles.mean(1), accuracy.mean(1), reach_of(accuracy), reach_of(cycles), fmt=f"{marker}-", **style)
