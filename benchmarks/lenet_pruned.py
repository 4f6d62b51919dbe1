"""LeNet cut from the widest network of its space: accuracy at the two limits that searches from scratch have missed.

    nice -n 5 python benchmarks/lenet_pruned.py --folder lenet_pruned          # seed by seed; goes on where it stopped
    python benchmarks/lenet_pruned.py --folder lenet_pruned --summary          # of the seeds that are done
    python benchmarks/lenet_pruned.py --folder other --seed 14                 # one seed, perhaps on another machine

The tasks are those of ``nas-plugin sweep --methods prune``, but of two of its four cells only: 8 x 8 at 0.75 of
LeNet-5's cycles, and 16 x 16 at half of them. For each seed the widest network is trained once, on 80 % of the images;
each search chooses by the other 20 %; the network found is trained on from what it keeps, on all training images; and
the test images are looked at once. The rules were made on other seeds. LeNet-5 is that of ``search_full.json``, trained
three times with the same recipe.

The result file keeps the networks of seeds that a folder does not have.

Passes are those of one image through a network, forwards; a step of a training counts as three.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.side_by_side import RESULTS, report
from hwcost import SystolicArray
from nas_plugin import SearchSettings, load_arch_def
from nas_plugin.methods.finding import search_macs
from nas_plugin.runs.folders import only_one
from nas_plugin.runs.settings import SweepSettings
from nas_plugin.runs.sweep import SearchSweep, size_of
from nas_plugin.runs.task import Task, perform
from nas_plugin.sources import FULL

CELLS = {("8x8", "0.75"): 0.2, ("16x16", "0.5"): 0.4}
"""An array and a target, and how many points below LeNet-5 still count."""
SEEDS = tuple(range(10, 15))
IMAGES, STEP = 60_000, 3
FEW = {"candidates": 60, "finalists": 4}


def begun(folder: Path, seeds: Sequence[int]) -> SearchSweep:
    """The sweep of some seeds in a folder, new or not."""
    if folder.exists():
        return SearchSweep.open(folder, to_go_on=True)
    settings = SweepSettings.of_sweep(
        FULL, IMAGES, ["prune"], train_seeds=1, given=FEW, seeds=seeds, targets=("0.5", "0.75")
    )
    arrays = [SystolicArray(side, side) for side in (16, 8)]
    return SearchSweep.create(folder, load_arch_def(), arrays, settings)


def cells(sweep: SearchSweep, seed: int) -> Iterator[Task]:
    """The searches of a seed in the two cells."""
    for _, task in sweep.searches():
        if task.settings.seed == seed and (size_of(task.arch.array), task.settings.target) in CELLS:
            yield task


def run(sweep: SearchSweep) -> None:
    """Does all that is left, seed by seed."""

    def on_step(task: Task, step: int, steps: int, record: Any) -> None:
        print(f"{task.label}: {step} of {steps}", flush=True)

    with only_one(sweep.path) as owner:
        for seed in sweep.settings.seeds:
            searches = list(cells(sweep, seed))
            for task in [searches[0].super_network, *searches]:
                assert task is not None
                print(perform(task, owner, on_step), flush=True)
            for search in searches:
                print(perform(sweep.trainings(search.read()["winner"], search)[0], owner, on_step), flush=True)


def passes(search: Task) -> dict[str, float]:
    """Image passes of a search and of the training of its winner, and the same in passes of LeNet-5 by MACs."""
    arch, settings, macs = search.arch, search.settings, search.arch.macs
    weights = round(IMAGES * settings.share)
    kernels = {block.kernel_decision: block.kernels for block in arch.blocks if block.kind.on_maps}
    largest = {name: sizes[-1] for name, sizes in macs.sizes.items()}
    drawn = [largest | dict(zip(kernels, own, strict=True)) for own in itertools.product(*kernels.values())]
    winner = macs.one(search.read()["winner"])
    each: list[tuple[float, int]] = [
        (statistics.fmean(map(macs.one, drawn)), STEP * settings.epochs * weights),
        (macs.one(largest), weights + IMAGES),  # whose outputs are learned from: one pass for each image
    ]
    for score in search.read()["scores"]:
        tuned = STEP * settings.finalist_epochs * weights if score["tuned_loss"] is not None else 0
        each.append((macs.one(score["choice"]), IMAGES - weights + tuned))
    each.append((winner, STEP * settings.train_epochs * IMAGES))
    whole = macs.one(arch.reference) * STEP * settings.train_epochs * IMAGES
    return {"passes": sum(n for _, n in each), "trainings_of_lenet": sum(m * n for m, n in each) / whole}


def rows_of(sweep: SearchSweep) -> list[dict[str, Any]]:
    """A row for each network of a folder that is done."""
    rows = []
    for seed in sweep.settings.seeds:
        for search in (task for task in cells(sweep, seed) if task.done):
            found = search.read()
            (training,) = sweep.trainings(found["winner"], search)
            if training.done:
                row = {"array": size_of(search.arch.array), "target": search.settings.target, "seed": seed}
                row |= {"choice": found["winner"], "cycles": found["cycles"], "cycles_ratio": found["cycles_ratio"]}
                rows.append(row | {"accuracy": training.read()["test_accuracy"]} | passes(search))
    return rows


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracies against that of LeNet-5."""
    known = json.loads((RESULTS / "search_full.json").read_text(encoding="utf-8"))
    lenet = 100 * statistics.fmean(known["reference"]["accuracies"])
    figures: dict[str, Any] = {"LeNet-5, mean of three trainings": lenet}
    for (array, target), points in CELLS.items():
        own = [100 * row["accuracy"] - lenet for row in rows if (row["array"], row["target"]) == (array, target)]
        where = f"{array} at {target}"
        figures[f"{where}: seeds"] = len(own)
        if own:
            figures[f"{where}: points above LeNet-5, mean"] = statistics.fmean(own)
            figures[f"{where}: seeds within {points} points"] = sum(each >= -points - 1e-9 for each in own)
    return figures | {
        f"{where}: search by one-shot, trainings of LeNet-5": trainings for where, trainings in one_shot().items()
    }


def one_shot() -> dict[str, float]:
    """What the one-shot search took in the same cells, without the training of its winner; the author's is its unit."""
    known = json.loads((RESULTS / "search_compute_full.json").read_text(encoding="utf-8"))["figures"]
    arch = load_arch_def()
    darts = SearchSettings.for_size(IMAGES, data=FULL, method="darts")
    weights = round(IMAGES * darts.share)
    lenet = arch.macs.one(arch.reference) * darts.train_epochs * IMAGES
    unit = search_macs(arch, darts, weights, IMAGES - weights) / lenet
    places = {f"{array} at {target}" for array, target in CELLS}
    return {
        place: unit * (known["super-network / the author's search"] + known[f"{place}: choice / the author's search"])
        for place in sorted(places)
    }


def _place(row: Mapping[str, Any]) -> tuple[int, str]:
    return row["seed"], row["array"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the sweep, which is made if it is not there")
    parser.add_argument("--summary", action="store_true", help="write the result file of what is done")
    parser.add_argument("--seed", type=int, action="append", choices=SEEDS, help="of a new folder; all by default")
    options = parser.parse_args()
    sweep = begun(options.folder, options.seed or SEEDS)
    if not options.summary:
        run(sweep)
    known = json.loads((RESULTS / "lenet_pruned.json").read_text(encoding="utf-8"))["networks"]
    rows = sorted([*(row for row in known if row["seed"] not in sweep.settings.seeds), *rows_of(sweep)], key=_place)
    figures = figures_of(rows)
    goals: dict[str, tuple[str, float]] = {
        "8x8 at 0.75: seeds within 0.2 points": (">=", 4),
        "16x16 at 0.5: seeds within 0.4 points": (">=", 3),
    }
    if len(rows) < len(CELLS) * len(SEEDS):
        goals = {}  # they are about all seeds
    report("lenet_pruned", {"data": FULL, "seeds": list(SEEDS), **FEW}, figures, goals, more={"networks": rows})


if __name__ == "__main__":
    main()
