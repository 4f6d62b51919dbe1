"""When does a smooth ceiling help, and when not: three searches with known optima, with and without it.

    python benchmarks/when_smooth_helps.py

widths    a real number for each width, no options: the relaxations at several temperatures, straight-through and FLOPs,
          from the same starts, then whole by three ways of rounding
options   probabilities over options: estimators that see only the effective widths, at several temperatures,
          next to the exact expectation, which needs all probabilities
array     rows and columns of the array as variables together with the widths (examples/search_the_array.py)

Problems and regret of the first two are those of known_optimum.py, the regret of the third is J over the optimum's J.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.estimators import Condition, Search, at_expected_widths, by_expectation, rounded_up
from common.problems import KERNELS, LAMBDAS, SETTINGS, Problems, Setting, optimum, problems
from common.progress import tell
from common.regret import evaluate
from common.side_by_side import report
from hwcost import RELAXATIONS, Relaxation, network_cost

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import search_the_array

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "when-smooth-helps.png"
SHARPNESSES: Mapping[str, tuple[float, float]] = {
    "5": (5.0, 5.0),
    "10": (10.0, 10.0),
    "20": (20.0, 20.0),
    "40": (40.0, 40.0),
    "2 to 40": (2.0, 40.0),
    "10 to 80": (10.0, 80.0),
}
"""The temperature of the steps at the beginning and at the end."""

FIXED = tuple(label for label, (first, last) in SHARPNESSES.items() if first == last)
SMOOTH = ("logistic", "shifted", "generalized")
OTHERS = ("straight-through", "linear")
LOWEST = {"shifted": 10.0}
"""Temperatures below which a relaxation is not defined at its default options."""


@dataclass(frozen=True)
class Way:
    """A relaxation and how sharp it is at the beginning and the end; None if it has no temperature."""

    relaxation: str
    sharpness: str | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The temperature at the beginning and at the end."""
        return SHARPNESSES[self.sharpness] if self.sharpness else (20.0, 20.0)

    def at(self, progress: float) -> Relaxation:
        """The relaxation at that part of the search, from 0 to 1."""
        row, (first, last) = RELAXATIONS[self.relaxation], self.ends
        return row.at_temperature(first * (last / first) ** progress) if self.sharpness else row


def ways() -> list[Way]:
    """Every smooth relaxation at every temperature that it allows, and those without a temperature."""
    smooth = [
        Way(name, label)
        for name in SMOOTH
        for label, (first, _) in SHARPNESSES.items()
        if first >= LOWEST.get(name, 0.0)
    ]
    return smooth + [Way(name) for name in OTHERS]


# ---------------------------------------------------------------- widths without options


def whole(setting: Setting) -> Setting:
    """The same setting with every whole width between the ends as an option."""
    return Setting(setting.name, tuple(range(setting.options[0], setting.options[-1] + 1)), setting.array)


def search_widths(given: Problems, setting: Setting, way: Way, starts: Tensor, steps: int) -> Tensor:
    """Adam on the widths themselves, in units of the array's columns, (batch, layers)."""
    space, unit = setting.space, float(setting.array.cols)
    low, high = setting.options[0] / unit, setting.options[-1] / unit
    widths = (starts / unit).clone().requires_grad_()
    optimiser = torch.optim.Adam([widths], lr=0.01)

    def cycles(sizes: Tensor, relaxation: Relaxation) -> Tensor:
        layers = space.at({f"w{index}": column for index, column in enumerate(sizes.unbind(1))})
        found: Tensor = network_cost(layers, setting.array, relaxation=relaxation).total.cycles
        return found

    middle = torch.tensor([[setting.reference[f"w{index}"] for index in range(len(KERNELS))]], dtype=torch.float64)
    for step in range(steps):
        relaxation = way.at(step / max(1, steps - 1))
        own = cycles(middle, relaxation)
        latency = cycles(widths * unit, relaxation) / own
        loss = (given.losses(widths * unit).sum(1) + given.weight * latency).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            widths.clamp_(low, high)
    return widths.detach() * unit


def polished(given: Problems, choice: Tensor, reach: int) -> Tensor:
    """One width at a time moved by up to ``reach`` options to where the exact J is smallest, until none moves."""
    before = None
    while before is None or not torch.equal(before, choice):
        before = choice.clone()
        for layer in range(choice.shape[1]):
            moves = torch.arange(-reach, reach + 1)
            tried = choice[:, None, :].repeat(1, len(moves), 1)
            tried[:, :, layer] = (tried[:, :, layer] + moves).clamp(0, len(given.options) - 1)
            scores = torch.stack([given.objective(one) for one in tried.unbind(1)], 1)
            here = scores[:, reach, None]
            better = scores.argmin(1).where((scores < here - 1e-12).any(1), reach)
            choice = tried[torch.arange(len(choice)), better]
    return choice


FINISHES: Mapping[str, Callable[[Problems, Tensor, Setting], Tensor]] = {
    "nearest whole width": lambda given, choice, setting: choice,
    "then rounded up at equal cycles": lambda given, choice, setting: rounded_up(given, choice.clone()),
    "then moved by up to 1/4 tile": lambda given, choice, setting: polished(
        given, choice, int(setting.array.cols) // 4
    ),
}


def widths_experiment(setting: Setting, instances: int, starts: int, steps: int, seed: int) -> list[dict[str, Any]]:
    """Mean regret of each way over instances, lambdas and starts: the middle of the range, and random widths."""
    setting = whole(setting)
    once = problems(setting, instances, seed)
    _, least = optimum(once)
    given, least = once.repeated(starts), least.repeat(starts)
    unit = given.of_random - least
    random = torch.Generator().manual_seed(seed)
    low, high = setting.options[0], setting.options[-1]
    first = low + (high - low) * torch.rand(given.scale.shape, generator=random, dtype=torch.float64)
    first[: len(once.weight)] = (low + high) / 2
    rows = []
    for way in ways():
        choice = (search_widths(given, setting, way, first, steps).round() - low).long()
        row: dict[str, Any] = {"setting": setting.name, "relaxation": way.relaxation, "temperature": way.sharpness}
        for name, finish in FINISHES.items():
            regret = (given.objective(finish(given, choice, setting)) - least) / unit
            by_instance = regret.reshape(starts, instances, -1).mean((0, 2))
            row[name] = regret.mean().item()
            row[f"{name}, deviation between instances"] = by_instance.std().item() if instances > 1 else 0.0
        rows.append(row)
    return rows


# ---------------------------------------------------------------- options


def options_experiment(setting: Setting, instances: int, steps: int, seed: int) -> list[dict[str, Any]]:
    """Regret with effective widths alone against all probabilities; Gumbel samples, data at the expected width."""
    smooth = {
        f"{way.relaxation}, T = {way.sharpness}" if way.sharpness else way.relaxation: at_expected_widths(way.at(0))
        for way in ways()
        if way.sharpness is None or way.sharpness in FIXED
    }
    estimators = smooth | {"expectation, all probabilities": by_expectation}
    conditions = [Condition(name, gumbel=True, data="expected width") for name in estimators]
    how = Search(steps, 0.01 * Search.steps / steps)
    kept = ("setting", "estimator", "regret", "deviation", "worst", "regret, rounded up")
    found = evaluate(setting, (float("inf"),), how, instances, seed, conditions, estimators)
    return [{name: row[name] for name in kept} for row in found]


# ---------------------------------------------------------------- the array


def array_experiment(starts: int, steps: int) -> list[dict[str, Any]]:
    """J over the optimum's, less 1, for the best and the median start; and what looking at every array gives."""
    began = time.process_time()
    rows, cols = search_the_array.all_arrays()
    values, _ = search_the_array.best_of_arrays(rows, cols)
    least, seconds = values.min(), time.process_time() - began
    square = values[(rows == 32) & (cols == 32)][0]
    found = [
        {"search": "every array, every width", "best start": 0.0, "CPU seconds": seconds},
        {"search": "every width on 32 x 32", "best start": float(square / least - 1)},
    ]
    for way in ways():
        began = time.process_time()
        one = search_the_array.search(way.relaxation, starts, steps, way.ends)
        found.append(
            {
                "search": way.relaxation,
                "temperature": way.sharpness,
                "best start": float(one.values[0] / least - 1),
                "median start": float(np.median(one.values) / least - 1),
                "best start, rounded only": float(one.rounded.min() / least - 1),
                "median start, rounded only": float(np.median(one.rounded) / least - 1),
                "CPU seconds": time.process_time() - began,
            }
        )
    return found


# ---------------------------------------------------------------- what comes out


def markdown(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows as a Markdown table; deviations follow their means."""
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(_text(row, name) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, float):
        return "" if value is None else str(value)
    deviation = row.get(f"{name}, deviation between instances", row.get("deviation") if name == "regret" else None)
    return f"{value:.3f}" if deviation is None else f"{value:.3f} ± {deviation:.3f}"


def draw(widths: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Regret of continuous widths by temperature: how each relaxation does before and after an exact finish."""
    from hwcost.plot import save
    from hwcost.plot.style import COLOURS, MARGINS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    settings = list(dict.fromkeys(row["setting"] for row in widths))
    labels = list(SHARPNESSES)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(10.0, 6.4), layout="constrained")
        grid = figure.subplots(len(settings), len(FINISHES), sharex=True, sharey="row", squeeze=False)
        for index, (panels, setting) in enumerate(zip(grid, settings, strict=True)):
            for axes, finish in zip(panels, FINISHES, strict=True):
                for colour, name in zip(COLOURS, (*SMOOTH, *OTHERS), strict=False):
                    own = [row for row in widths if row["setting"] == setting and row["relaxation"] == name]
                    heights = [row[finish] for row in own]
                    if name in OTHERS:
                        axes.axhline(heights[0], color=colour, linewidth=1.4, linestyle=(0, (4, 2)), label=name)
                    else:
                        fixed = [row["temperature"] in FIXED for row in own]
                        places = np.asarray([labels.index(row["temperature"]) for row in own])
                        for style, part in (("o-", np.flatnonzero(fixed)), ("D", np.flatnonzero(np.invert(fixed)))):
                            label = name if style == "o-" else None
                            axes.plot(
                                places[part], np.take(heights, part), style, color=colour, markersize=5, label=label
                            )
                axes.set_xticks(range(len(labels)), labels, rotation=30)
                axes.set_ylim(bottom=0)
                if index == 0:
                    axes.set_title(finish)
                if index == len(settings) - 1:
                    axes.set_xlabel("temperature T (or b)")
            panels[0].set_ylabel(f"{setting}: regret")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        figure.get_layout_engine().set(**MARGINS)
        save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=12, help="random data terms (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=8, help="of continuous widths (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="of continuous widths (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    widths, probabilities = [], []
    for setting in SETTINGS[:2]:
        widths += widths_experiment(setting, options.instances, options.starts, options.steps, options.seed)
        probabilities += options_experiment(setting, options.instances, Search.steps, options.seed)
        tell(f"{setting.name}: {time.process_time() - began:.0f} s")
    array = array_experiment(starts=24, steps=600)
    names = ("best start", "median start", "best start, rounded only", "median start, rounded only")
    print("widths\n", markdown(widths, ("setting", "relaxation", "temperature", *FINISHES)), "", sep="\n")
    print("options\n", markdown(probabilities, ("setting", "estimator", "regret", "regret, rounded up")), "", sep="\n")
    print("array\n", markdown(array, ("search", "temperature", *names, "CPU seconds")), "", sep="\n")
    draw(widths, IMAGE)
    settings = {
        "seed": options.seed,
        "instances": options.instances,
        "starts": options.starts,
        "steps": options.steps,
        "lambdas": list(LAMBDAS),
        "temperatures": {label: list(ends) for label, ends in SHARPNESSES.items()},
        "steps of a search over options": Search.steps,
        "starts and steps of a search of the array": [24, 600],
    }
    figures = _figures(widths, probabilities, array) | {"CPU seconds": time.process_time() - began}
    more = {"widths": widths, "options": probabilities, "array": array}
    return 0 if report("when_smooth_helps", settings, figures, {}, more=more) else 1


def _figures(
    widths: Sequence[Mapping[str, Any]], probabilities: Sequence[Mapping[str, Any]], array: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The best of the smooth ways, and what stands against it."""
    figures: dict[str, Any] = {}
    for setting in SETTINGS[:2]:
        own = [row for row in widths if row["setting"] == setting.name]
        for finish in FINISHES:
            smooth = min((row for row in own if row["relaxation"] in SMOOTH), key=lambda row: row[finish])
            way = f"{smooth['relaxation']}, T = {smooth['temperature']}"
            figures[f"{setting.name}, widths, {finish}: best smooth ({way})"] = smooth[finish]
            for name in OTHERS:
                (row,) = (row for row in own if row["relaxation"] == name)
                figures[f"{setting.name}, widths, {finish}: {name}"] = row[finish]
        of_options = [row for row in probabilities if row["setting"] == setting.name]
        *by_width, by_option = of_options
        best = min(by_width, key=lambda row: row["regret"])
        figures[f"{setting.name}, options: best of effective widths ({best['estimator']})"] = best["regret"]
        figures[f"{setting.name}, options: {by_option['estimator']}"] = by_option["regret"]
    for row in array:
        if "median start" in row and row["temperature"] in (None, "10 to 80"):
            figures[f"array, {row['search']}: J over the optimum's, best start"] = row["best start"]
            figures[f"array, {row['search']}: J over the optimum's, median start"] = row["median start"]
    return figures


if __name__ == "__main__":
    sys.exit(main())
