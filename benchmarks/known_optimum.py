"""Regret of every latency estimator in a search whose optimum is known: no images, no training, only the estimator.

    python benchmarks/known_optimum.py

A chain of four convolutions has an open width each. What a network loses on data is a known function that falls with
every width, sum_l a_l (w_l / w_max)^-b_l, scaled so that it is 1 for the narrowest network and 0 for the widest. The
objective is

    J(w) = data(w) + lambda * cycles(w) / cycles(reference)

with exact cycles; its minimum over all choices is found by dynamic programming along the chain. Each estimator then
searches as a DARTS-like search does: Adam on architecture parameters, probabilities by softmax or by a Gumbel sample,
and the options with the largest parameters at the end. Only the latency term differs between estimators, and each is
divided by its own cost of the reference network. Noise on the data term is that of searches on images.

    regret = (J(found) - J*) / (J(a network drawn at random, on average) - J*)

All instances, lambdas and noises are rows of one batch.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.estimators import DATA_TERMS, ESTIMATORS, Condition, Search
from common.problems import KERNELS, LAMBDAS, MAP, SETTINGS, SIGNALS, Setting
from common.progress import tell
from common.regret import best_combinations, evaluate, over_counts
from common.side_by_side import report

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "known-optimum.png"

# ---------------------------------------------------------------- tables and pictures


def table(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], figure: str) -> list[str]:
    """Lines of a Markdown table: an estimator a row, a setting and noise a column, each in what suits it best."""
    places = list(dict.fromkeys((row["setting"], row["signal"]) for row in rows))
    heads = [f"{setting}, {'no noise' if signal is None else f'signal {signal:g}'}" for setting, signal in places]
    lines = [f"| {' | '.join(['estimator', 'searches with', *heads])} |", f"|{' --- |' * (len(heads) + 2)}"]
    for name, way in best.items():
        own = {(row["setting"], row["signal"]): row for row in rows if _is_of(row, name, way)}
        cells = [_cell(own[place], figure) for place in places]
        sampling = "Gumbel" if way["gumbel"] else "softmax"
        lines.append(f"| {' | '.join([name, sampling + ', ' + way['data'], *cells])} |")
    return lines


PLACES = ("widths at a full tile", "widths up to 1/4 tile past one", "widths up to 1/4 tile short of one")


def places_table(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], setting: str) -> list[str]:
    """The same for where widths lie, of one setting without noise; "none" has none between the ends of the options."""
    lines = [f"| {' | '.join(['estimator', *PLACES])} |", f"|{' --- |' * (len(PLACES) + 1)}"]
    for name, way in best.items():
        (row,) = (r for r in rows if _is_of(r, name, way) and (r["setting"], r["signal"]) == (setting, None))
        if row[PLACES[0]] is not None:
            lines.append(f"| {' | '.join([name, *(f'{100 * row[place]:.0f} %' for place in PLACES)])} |")
    return lines


def _is_of(row: Mapping[str, Any], name: str, way: Mapping[str, Any]) -> bool:
    return row["estimator"] == name and row["gumbel"] == way["gumbel"] and row["data"] == way["data"]


def _cell(row: Mapping[str, Any], figure: str) -> str:
    spread = f" ± {row['deviation']:.3f}" if figure == "regret" else ""
    return f"{row[figure]:.3f}{spread}"


def draw(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of regret with the spread over instances, a panel for each setting; "none" is left out: too long a bar."""
    from hwcost.plot import save
    from hwcost.plot.style import COLOURS, GREY, MARGINS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    names = [name for name in best if name != "none"]
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(10.0, 4.4), layout="constrained")
        for axes, setting in zip(
            figure.subplots(1, len(settings), sharey=True, squeeze=False)[0], settings, strict=True
        ):
            rounded_label: str | None = "after rounding up at equal cycles"
            for index, signal in enumerate(SIGNALS):
                level = None if math.isinf(signal) else signal
                own = [
                    next(r for r in rows if _is_of(r, n, best[n]) and (r["setting"], r["signal"]) == (setting, level))
                    for n in names
                ]
                places = np.arange(len(names)) + 0.26 * (index - 1)
                label = "no noise" if level is None else f"mean / rms of the gradient {level:g}"
                means = [row["regret"] for row in own]
                least = [min(row["regret"], row["deviation"]) for row in own]
                axes.bar(places, means, 0.24, color=COLOURS[index], label=label)
                spread = [least, [row["deviation"] for row in own]]
                axes.errorbar(places, means, spread, fmt="none", ecolor=GREY, elinewidth=1.2, capsize=2)
                rounded = [row["regret, rounded up"] for row in own]
                axes.plot(places, rounded, "o", mfc="white", mec="black", markersize=5, zorder=5, label=rounded_label)
                rounded_label = None
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
            axes.set_title(f"{setting}")
            axes.grid(visible=False, axis="x")
        figure.axes[0].set_ylabel("regret (0: the optimum, 1: a random network)")
        figure.axes[-1].legend(loc="upper right")
        figure.get_layout_engine().set(**MARGINS)
        save(figure, path)


# ---------------------------------------------------------------- the run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=12, help="random data terms (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=Search.steps, help="of every search (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few and short searches without noise; writes nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        rows = [row for setting in SETTINGS[:2] for row in quick(setting, options.seed)]
        print("\n".join(table(rows, best_combinations(rows), "regret")))
        return 0
    start = time.process_time()
    how = Search(options.steps)
    rows = []
    for setting in SETTINGS:  # those with memory without noise: they are there for the roofline's sake
        signals = SIGNALS if setting in SETTINGS[:2] else SIGNALS[:1]
        rows += evaluate(setting, signals, how, options.instances, options.seed)
        tell(f"{setting.name}: {time.process_time() - start:.0f} s")
    return 0 if write(rows, how, options, time.process_time() - start) else 1


def quick(setting: Setting, seed: int = 0, names: Sequence[str] = tuple(ESTIMATORS)) -> list[dict[str, Any]]:
    """A few short searches by some estimators without noise: seconds."""
    conditions = [Condition(name, gumbel, data) for gumbel in (False, True) for data in DATA_TERMS for name in names]
    return evaluate(setting, SIGNALS[:1], Search(500, 0.05), instances=3, seed=seed, conditions=conditions)


def write(rows: list[dict[str, Any]], how: Search, options: argparse.Namespace, seconds: float) -> bool:
    named = {setting.name for setting in SETTINGS[:2]}
    main_rows = [row for row in rows if row["setting"] in named]
    best = best_combinations(main_rows)
    memory = [row for row in rows if row["setting"] not in named]
    for part, figure in ((main_rows, "regret"), (main_rows, "regret, rounded up"), (memory, "regret")):
        print(f"\n{figure}\n", *table(part, best, figure), "", sep="\n")
    draw(main_rows, best, IMAGE)
    figures: dict[str, Any] = {"CPU seconds": seconds}
    goals = {}
    for setting in SETTINGS:
        quiet = [row for row in rows if row["setting"] == setting.name and row["signal"] is None]
        worst = max(row["regret"] for row in quiet if row["estimator"] == "expectation")
        rival = min(row["regret"] for row in quiet if row["estimator"] not in ("expectation", "none"))
        figures[f"{setting.name}: regret of expectation, worst of its combinations"] = worst
        figures[f"{setting.name}: regret of the best other estimator, best combination"] = rival
        goals[f"{setting.name}: regret of expectation, worst of its combinations"] = ("<=", 0.05)
    settings = {
        "seed": options.seed,
        "instances": options.instances,
        "lambdas": list(LAMBDAS),
        "signals": [None if math.isinf(signal) else signal for signal in SIGNALS],
        "widths": {setting.name: list(setting.options) for setting in SETTINGS},
        "arrays": {setting.name: setting.array.as_dict() for setting in SETTINGS},
        "kernels": list(KERNELS),
        "map": MAP,
        "search": asdict(how) | {"optimiser": "Adam"},
    }
    more = {
        "best combination": best,
        "over-count at full tiles": {setting.name: over_counts(setting) for setting in SETTINGS[:2]},
        "rows": rows,
    }
    return report("known_optimum", settings, figures, goals, more=more)


if __name__ == "__main__":
    sys.exit(main())
