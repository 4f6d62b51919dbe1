"""Two pictures of a run: how the search went, and where its winner stands on the stairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost import network_cost
from hwcost.plot import save
from nas_plugin.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["save", "search_figure", "winner_figure"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _quiet(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def search_figure(result: SearchResult) -> Figure:
    """Latency and accuracy over the epochs, and below the probabilities of every decision as heat maps."""
    log = [record for record in result.log if record["stage"] == "search"]
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
        f"{settings.latency} latency, lambda {settings.weight:g}, seed {settings.seed}"
    )
    return figure


def _draw_latency(axes: Axes, epochs: Any, log: list[dict[str, Any]], result: SearchResult) -> None:
    axes.plot(epochs, [record["soft_latency"] for record in log], color=ORANGE, label="soft, of the probabilities")
    exact = [record["exact_latency"] for record in log]
    axes.step(epochs, exact, where="mid", color=BLUE, label="exact, of the largest alphas")
    axes.axhline(1, color=GREY, linewidth=1, linestyle=":", label="reference network")
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
    axes.set(xlabel="epoch")
    axes.set_title(f"{name}: {result.derived[name]}", fontsize=10)
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
