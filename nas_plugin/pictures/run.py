"""Pictures of a run: the course of the search, and the winner on the stairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost import network_cost
from nas_plugin.pictures.style import BLUE, GREEN, GREY, ORANGE, new_figure, quiet
from nas_plugin.runs.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["search_figure", "winner_figure"]


def search_figure(result: SearchResult) -> Figure:
    """The course of the search.

    Of the author's search: latency and accuracy over the epochs, and the probabilities of every decision as heat maps.
    Of the others: the losses of the super-network, if there is one, and every network that was scored or trained.
    """
    log = [record for record in result.log if record["stage"] == "search"]
    return _alphas_figure(result, log) if "probabilities" in log[0] else _trials_figure(result, log)


def _alphas_figure(result: SearchResult, log: list[dict[str, Any]]) -> Figure:
    decisions = list(result.arch.decisions.items())
    columns = 2
    rows = -(-len(decisions) // columns)
    figure = new_figure(11, 3.2 + 2.0 * rows)
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
    _title(figure, result, f"{result.settings.latency} latency")
    return figure


def _title(figure: Figure, result: SearchResult, method: str) -> None:
    array, settings = result.arch.array, result.settings
    limit = f"lambda {settings.weight:g}" if settings.target is None else f"target {settings.target}"
    where = f"{result.arch.name} on a {array.rows} x {array.cols} array"
    figure.suptitle(f"Search of {where}: {method}, {limit}, seed {settings.seed}")


def _trials_figure(result: SearchResult, log: list[dict[str, Any]]) -> Figure:
    """Losses of the super-network over its epochs, and the best held-out loss over the steps of the choice."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in log:
        parts.setdefault(record.get("part", ""), []).append(record)
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    if epochs := parts.get("super-network"):
        for name, colour in (("widest", BLUE), ("random", GREY), ("narrowest", ORANGE)):
            losses = [record["losses"][name] for record in epochs]
            left.plot(range(1, len(epochs) + 1), losses, "o-", markersize=3, color=colour, label=f"{name} network")
        left.set(xlabel="epoch", ylabel="loss (nats)", title="Training of the super-network")
        left.legend(frameon=False, fontsize=8)
    else:
        left.set_axis_off()
        left.text(0.5, 0.5, "no super-network was trained", ha="center", color=GREY, transform=left.transAxes)
    if scored := parts.get("scores"):
        losses = [record["held_out_loss"] for record in scored]
        numbers = [record["scored"] for record in scored]
        right.plot(numbers, losses, "o-", color=BLUE, label="best, with the super-network's weights")
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
    if right.get_legend_handles_labels()[0]:
        right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        quiet(axes)
    _title(figure, result, result.settings.method)
    return figure


def _trained(parts: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The networks that the search trained, by how it trained them."""
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
    quiet(axes)


def _draw_accuracy(axes: Axes, epochs: Any, log: list[dict[str, Any]], result: SearchResult) -> None:
    accuracy = [100 * record["accuracy"] for record in log]
    axes.plot(epochs, accuracy, color=GREEN)
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title="Held-out accuracy of the largest alphas' network")
    axes.annotate(f"{accuracy[-1]:.1f} %", (epochs[-1], accuracy[-1]), (0, -14), textcoords="offset points", ha="right")
    quiet(axes)


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
    """The exact cycles of the whole network against each width, with the winner and the network found marked."""
    blocks = result.arch.blocks
    columns = 2
    figure = new_figure(10, 0.6 + 2.9 * -(-len(blocks) // columns))
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
        quiet(axes)
    array = result.arch.array
    figure.suptitle(f"The winner on the stairs of a {array.rows} x {array.cols} array (other widths as in the winner)")
    return figure
