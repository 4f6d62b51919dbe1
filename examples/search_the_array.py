"""Search the shape of the array and the widths of the network together, by gradient.

    python examples/search_the_array.py [--picture array-search.png]

Rows and columns are tensors, like the widths: LeNet-5's four widths and an array of at most 1,024 PEs are searched at
once. A known function that falls with every width stands in for the loss on data, so that the result can be checked
against the minimum of the same objective over all integer rows, columns and widths. The search uses smooth cycles (Adam
on the logarithms of all six numbers, increasingly sharp steps, several starts at once); the reported cycles are exact.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwcost import RELAXATIONS, Conv2d, Linear, Network, Operation, SystolicArray, layer_cost, network_cost

BUDGET, SMALLEST, LARGEST = 1024, 4, 256
WEIGHT = 0.3
WORTH = {
    "conv1": 0.5,
    "conv2": 0.4,
    "fc1": 0.08,
    "fc2": 0.02,
}  # LeNet-5 is nearly optimal if cycles are proportional to MACs
SHARPNESS = (10.0, 80.0)
CHAIN = ("conv1", "conv2", "fc1", "fc2")
LENET_5 = {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}
SPACE = Network(
    "LeNet-5",
    {
        "conv1": Operation(Conv2d(1, 6, 5, height=28, width=28, padding="same"), {"out_channels": "conv1"}),
        "conv2": Operation(Conv2d(6, 16, 5, height=14, width=14), {"in_channels": "conv1", "out_channels": "conv2"}),
        "fc1": Operation(Linear(400, 120), {"in_features": ("conv2", 25), "out_features": "fc1"}),
        "fc2": Operation(Linear(120, 84), {"in_features": "fc1", "out_features": "fc2"}),
        "fc3": Operation(Linear(84, 10), {"in_features": "fc2"}),
    },
).space({"conv1": range(2, 17), "conv2": range(4, 41), "fc1": range(16, 161), "fc2": range(12, 113)})
REFERENCE = network_cost(SPACE, SystolicArray(32, 32)).total.cycles


def loss_of_width(name: str, width: Any) -> Any:
    """The stand-in for the loss on data due to one width: it falls with the width and sums to 1 for LeNet-5."""
    return WORTH[name] * (width / LENET_5[name]) ** -0.5


def objective(widths: Mapping[str, Any], rows: Any, cols: Any, relaxation: str = "exact", sharpness: float = 0) -> Any:
    """J = data + lambda * cycles / (cycles of LeNet-5 on 32 x 32), for numbers, arrays or tensors with gradient."""
    row = RELAXATIONS[relaxation]
    row = row.at_temperature(sharpness) if row.sharpness else row
    cycles = network_cost(SPACE.at(widths), SystolicArray(rows, cols), relaxation=row).total.cycles
    return sum(loss_of_width(name, width) for name, width in widths.items()) + WEIGHT * cycles / REFERENCE


# ---------------------------------------------------------------- exhaustive search


def best_of_arrays(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest J on each array over all integer widths, shape (arrays,), and these widths, shape (arrays, 4).

    By dynamic programming: the cost of a layer depends only on two neighbouring widths of the chain.
    """
    parts = [_best_of_part(rows[i : i + 128], cols[i : i + 128]) for i in range(0, len(rows), 128)]
    values, widths = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(widths)


def _best_of_part(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    array = SystolicArray(rows[:, None, None], cols[:, None, None])
    options = {name: np.asarray(SPACE.options[name]) for name in CHAIN}
    best, came_from = np.zeros((len(rows), 1)), []
    for name, layer in SPACE.operations.items():  # the axes are: array, width before, width after
        sizes = {decision: options[decision][:, None] for decision in layer.widths if decision != name}
        own = options.get(name, np.zeros(1))
        sizes |= {name: own} if name in options else {}
        cost = WEIGHT * layer_cost(layer.at(sizes), array).cycles / REFERENCE
        both = best[:, :, None] + cost
        came_from.append(both.argmin(1))
        best = both.min(1) + (loss_of_width(name, own) if name in options else 0)
    arrays, index, chosen = np.arange(len(rows)), np.zeros(len(rows), dtype=int), []
    for name, previous in zip(reversed(CHAIN), reversed(came_from), strict=False):
        index = previous[arrays, index]
        chosen.append(options[name][index])
    return best[:, 0], np.stack(chosen[::-1], axis=1)


def all_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of every array within the budget."""
    rows, cols = np.meshgrid(np.arange(SMALLEST, LARGEST + 1), np.arange(SMALLEST, LARGEST + 1), indexing="ij")
    fits = rows * cols <= BUDGET
    return rows[fits], cols[fits]


# ---------------------------------------------------------------- search by gradient


@dataclass(frozen=True)
class Found:
    """The results of all starts, best first.

    Attributes:
        rows, cols, widths: integer sizes.
        values: exact J of these sizes.
        rounded: exact J before the sizes were polished.
        paths: rows and columns during the search, shape (steps, starts, 2).
    """

    rows: np.ndarray
    cols: np.ndarray
    widths: np.ndarray
    values: np.ndarray
    rounded: np.ndarray
    paths: np.ndarray


def search(relaxation: str, starts: int, steps: int, sharpness: tuple[float, float] = SHARPNESS) -> Found:
    """Adam from several array shapes at once; rows x columns always equals the budget.

    ``sharpness`` is the temperature of the relaxation at the start and at the end.
    """
    first = torch.linspace(math.log(SMALLEST), math.log(BUDGET / SMALLEST), starts + 2, dtype=torch.float64)[1:-1]
    log_rows = first.clone().requires_grad_()
    log_widths = torch.tensor([[math.log(LENET_5[name])] * starts for name in CHAIN], dtype=torch.float64)
    log_widths.requires_grad_()
    ends = torch.tensor([[SPACE.options[name][0], SPACE.options[name][-1]] for name in CHAIN]).log()
    optimiser = torch.optim.Adam([log_rows, log_widths], lr=0.02)
    path = []
    for step in range(steps):
        rows, cols, widths = log_rows.exp(), BUDGET / log_rows.exp(), log_widths.exp()
        path.append(torch.stack([rows, cols], 1).detach().numpy())
        sharp = sharpness[0] * (sharpness[1] / sharpness[0]) ** (step / max(1, steps - 1))
        loss = objective(dict(zip(CHAIN, widths, strict=True)), rows, cols, relaxation, sharp).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            log_rows.clamp_(math.log(SMALLEST), math.log(BUDGET / SMALLEST))
            log_widths.clamp_(ends[:, :1], ends[:, 1:])
    return _whole(log_rows.detach().exp(), log_widths.detach().exp(), np.asarray(path))


def _whole(rows: Tensor, widths: Tensor, paths: np.ndarray) -> Found:
    """Integer sizes: rounded, then polished."""
    height = rows.round().long().numpy()
    sizes = np.stack([height, BUDGET // height, *widths.round().long().numpy()], axis=1)
    polished = np.stack([polish(row) for row in sizes])
    values = exact(polished)
    order = np.argsort(values, kind="stable")
    rounded, polished = exact(sizes)[order], polished[order]
    return Found(polished[:, 0], polished[:, 1], polished[:, 2:], values[order], rounded, paths[:, order])


def exact(sizes: np.ndarray) -> np.ndarray:
    """J of rows, columns and four widths, which are the last axis of ``sizes``."""
    rows, cols, *widths = np.moveaxis(sizes, -1, 0)
    found: np.ndarray = objective(dict(zip(CHAIN, widths, strict=True)), rows, cols)
    return found


def polish(sizes: np.ndarray) -> np.ndarray:
    """Moves one size by up to two while J falls, the best move first; columns follow rows within the budget."""
    lows = np.array([SMALLEST, SMALLEST, *(SPACE.options[name][0] for name in CHAIN)])
    highs = np.array([LARGEST, LARGEST, *(SPACE.options[name][-1] for name in CHAIN)])
    while True:
        moved = [sizes]
        for axis in (0, 2, 3, 4, 5):
            for by in (-2, -1, 1, 2):
                trial = sizes.copy()
                trial[axis] += by
                if lows[axis] <= trial[axis] <= highs[axis]:
                    trial[1] = min(BUDGET // trial[0], LARGEST)
                    moved.append(trial)
        best = int(exact(np.stack(moved)).argmin())
        if best == 0:
            return sizes
        sizes = moved[best]


# ---------------------------------------------------------------- output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relaxation", default="logistic", choices=[n for n in RELAXATIONS if n != "exact"])
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--picture", help="where to draw the landscape and the paths")
    options = parser.parse_args()
    if min(options.starts, options.steps) < 1:
        parser.error("--starts and --steps are integers of at least 1")
    torch.set_num_threads(1)

    start = time.perf_counter()
    found = search(options.relaxation, options.starts, options.steps)
    searched = time.perf_counter() - start
    print(f"by gradient, {options.relaxation}, {options.starts} starts, {searched:.1f} s:")
    for index in range(min(3, options.starts)):
        print(_line(found.rows[index], found.cols[index], found.widths[index], found.values[index]))

    start = time.perf_counter()
    rows, cols = all_arrays()
    values, widths = best_of_arrays(rows, cols)
    order = np.argsort(values, kind="stable")
    print(f"of all {len(rows):,} arrays with all widths, {time.perf_counter() - start:.1f} s:")
    for index in order[:3]:
        print(_line(rows[index], cols[index], widths[index], values[index]))

    best = values[order[0]]
    square = values[(rows == 32) & (cols == 32)][0]
    print(
        f"J over the optimum's: best start {found.values[0] / best - 1:.2%}, "
        f"median {np.median(found.values) / best - 1:.2%}"
    )
    print(f"  only rounded, not moved: best {found.rounded.min() / best - 1:.2%}")
    print(f"  on 32 x 32 with the best widths for it: {square / best - 1:.2%}")
    if options.picture:
        draw(found, rows, cols, values, options.picture)


def _line(rows: int, cols: int, widths: np.ndarray, value: float) -> str:
    cycles = network_cost(
        SPACE.at(dict(zip(CHAIN, map(int, widths), strict=True))), SystolicArray(int(rows), int(cols))
    )
    sizes = "-".join(map(str, widths))
    return f"  {rows:3} x {cols:3}  widths {sizes:14}  {cycles.total.cycles:6,} cycles  J = {value:.4f}"


def draw(found: Found, rows: np.ndarray, cols: np.ndarray, values: np.ndarray, path: str) -> None:
    """The smallest J on every array, next to the path of each start."""
    from hwcost.plot import save
    from hwcost.plot.style import COLOURS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    grid, best = np.full((LARGEST + 1, LARGEST + 1), np.nan), values.argmin()
    grid[rows, cols] = 100 * (values / values[best] - 1)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(11.0, 5.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (5, 4)})
        edges = np.arange(SMALLEST, LARGEST + 2) - 0.5
        mesh = left.pcolormesh(edges, edges, grid[SMALLEST:, SMALLEST:], cmap="cividis_r", vmax=60, rasterized=True)
        figure.colorbar(mesh, ax=left, label="exact J over the optimum's, best widths [%]", extend="max")
        left.plot(found.paths[0, :, 1], found.paths[0, :, 0], ".", color=COLOURS[1], label="starts")
        left.plot(found.cols, found.rows, "x", color="black", label="ends, whole")
        left.plot(found.cols[0], found.rows[0], "s", mfc="none", mec="black", markersize=12, label="the best end")
        left.plot(cols[best], rows[best], "*", color=COLOURS[3], markersize=12, label="the optimum")
        left.set(xscale="log", yscale="log", xlabel="columns, log scale", ylabel="rows, log scale")
        left.set_title(f"LeNet on every array of at most {BUDGET:,} PEs")
        left.legend(loc="upper right")
        right.plot(found.paths[:, 1:, 0], color=COLOURS[1], linewidth=0.9)
        right.plot(found.paths[:, 0, 0], color="black", linewidth=1.6, label="the best start")
        right.axhline(rows[best], color=COLOURS[3], linewidth=1.6, linestyle=(0, (4, 2)), label="the optimum")
        right.set(xlabel="step", title="rows during the search, all starts")
        right.legend(loc="lower right")
        ticks = [SMALLEST * 2**i for i in range(7)]
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(matplotlib.ticker.NullLocator())
        save(figure, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
