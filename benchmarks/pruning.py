"""Pruned to the same exact cycles: this package against Torch-Pruning and other ways to choose widths.

    python benchmarks/pruning.py                        # all runs; goes on where it was stopped
    python benchmarks/pruning.py --only resnet/32 --summary

A run is a network, a machine, a target and a seed. All methods of a run begin with the same trained network, meet the
same limit, and are fine-tuned alike, with the original as a teacher: briefly (6,000 images once), and for long (8,000
images, four times; not the methods of ONLY_SHORT, and not the runs of BRIEF, which are of fewer methods). The original,
trained on for as long, is the yardstick. The widths that "curves" found are also trained from scratch, with as many
images as the original and its fine-tuning together. Widths are chosen by training images; the test images are looked at
once, for the figures of the finished networks. Runs are kept in a file of lines, one for each network that was tested.

Fashion-MNIST, 12,000 training images: Debian's package dataset-fashion-mnist. Torch-Pruning: pip install torch-pruning.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.fashion import EXAMPLE, IMAGES, Data, new, task_of, trained, tuned
from common.progress import tell
from common.pruning_rivals import RIVALS, Problem
from common.pruning_summary import TABLES, differences, drawn, means, table
from common.side_by_side import RESULTS, report
from common.small_nets import NETS
from hwcost import SystolicArray, from_torch, load_device, network_cost
from hwcost.plot import save
from hwcost.pruning.batches import seeded
from hwcost.pruning.norms import re_estimate
from hwcost.torch import prune

OURS = {"curves": "curves", "taylor": "taylor"}
TRAINED = {"resnet": 5, "mobilenet": 4}
SHORT, LONG = (6000, 1), (8000, 4)
MACHINES = {
    **{str(size): SystolicArray(size, size) for size in (16, 32, 64)},
    **{f"{size}-serial": SystolicArray(size, size, fold_timing="serial") for size in (16, 32)},
    "gemmini": load_device("gemmini"),
}
CELLS = [
    *(("resnet", machine, 0.5) for machine in ("16", "32", "64")),
    *(("mobilenet", machine, 0.5) for machine in ("16", "32")),
    *(("resnet", machine, 0.75) for machine in ("32", "64")),
    ("mobilenet", "32", 0.75),
    ("resnet", "32", 0.35),
    ("resnet", "32-serial", 0.5), ("mobilenet", "16-serial", 0.5), ("resnet", "gemmini", 0.75),
]  # fmt: skip
SEEDS = (0, 1, 2)
SCRATCH = "curves, from scratch"
OF_SCRATCH = ("resnet/16/0.5", "resnet/32/0.5", "resnet/64/0.5")
ONLY_SHORT = {"taylor", "uniform", "advise --budget", "random"}
BRIEF = ("resnet/32/0.35", "resnet/32-serial/", "mobilenet/16-serial/", "resnet/gemmini/")
BRIEFLY = ("curves", "Torch-Pruning", "uniform, filled", "MACs, filled")
GOALS = {
    **{f"resnet/{size}/0.5: curves - original trained on, long": -1.2 for size in (32, 64)},
    "resnet/64/0.5: curves - Torch-Pruning, long": 1.0,
    "resnet/32/0.5: curves - Torch-Pruning, long": 0.3,
    "resnet/16/0.5: curves - Torch-Pruning, long": 0.0,
    "resnet/16/0.5: curves - Torch-Pruning, short": 1.0,
    "resnet/32/0.5: curves - Torch-Pruning, short": 1.0,
    "resnet/64/0.5: curves - Torch-Pruning, short": 4.0,
    "mobilenet/16/0.5: curves - Torch-Pruning, short": 2.0,
    "mobilenet/32/0.5: curves - Torch-Pruning, short": 2.0,
    **{f"resnet/{size}/0.75: curves - original trained on, long": -0.5 for size in (32, 64)},
    "mobilenet/32/0.75: curves - original trained on, long": -0.5,
    **{f"curves - the best honest rival of each cell, {figure}": -0.2 for figure in ("short", "long")},
}


def methods_of(
    problem: Problem, data: Data, seed: int, wanted: set[str]
) -> Iterator[tuple[str, nn.Module, Mapping[str, int] | None]]:
    """The networks that each method cuts, all within the limit, and the sizes of their widths if it gives them."""
    for name, importance in OURS.items():
        if not wanted & {name, SCRATCH if name == "curves" else name}:
            continue
        result = prune(
            problem.model, EXAMPLE, problem.array, target=problem.target, data=data.batches(), held_out=data.held_out,
            importance=importance, seed=seed, least=0.0,
        )  # fmt: skip
        yield name, result.model, result.sizes
    for name, rival in RIVALS.items():
        if name not in wanted:
            continue
        with seeded(None, seed, name):
            found = rival(problem)
        yield (name, found, None) if isinstance(found, nn.Module) else (name, problem.cut(found), found)


def run(problem: Problem, key: str, data: Data, done: set[str]) -> Iterator[dict[str, Any]]:
    """A line for each method that is not done."""
    model, seed, of_scratch = problem.model, problem.seed, key.startswith(OF_SCRATCH)
    is_brief = key.startswith(BRIEF)
    wanted = {*(BRIEFLY if is_brief else (*OURS, *RIVALS)), *([SCRATCH] if of_scratch else [])} - done
    for method, small, sizes in methods_of(problem, data, seed, wanted):
        cost = network_cost(from_torch(small, example_inputs=EXAMPLE), problem.array).total
        assert cost.cycles <= problem.limit, (method, cost.cycles, problem.limit)
        if method == "curves" and SCRATCH in wanted:
            epochs = TRAINED["resnet"] + LONG[1] - 1
            scratch = trained(
                new(small, seed), data, seed, epochs, (TRAINED["resnet"] * IMAGES + math.prod(LONG)) // epochs
            )
            yield {"method": SCRATCH, "long": data.tested(scratch)}
        if method not in wanted:
            continue
        with seeded(None, seed, "norms"):
            re_estimate(small, itertools.islice(problem.task.batches(torch.device("cpu")), 16))
        line = {
            "method": method,
            "sizes": sizes and {width: int(size) for width, size in sizes.items()},
            "cycles": float(cost.cycles) / problem.today,
            "macs": cost.macs / problem.network.macs,
            "parameters": _parameters(small) / _parameters(model),
            "cut": data.tested(small.eval()),
            "short": data.tested(tuned(small, model, data, seed, *SHORT)),
        }
        long = {} if is_brief or method in ONLY_SHORT else {"long": data.tested(tuned(small, model, data, seed, *LONG))}
        yield line | long


def _parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="runs whose network/machine/target/seed begins like this")
    parser.add_argument("--runs", type=Path, default=RESULTS / "pruning_runs.jsonl")
    parser.add_argument("--summary", action="store_true", help="only sum up the runs that are there")
    parser.add_argument("--plot", type=Path, help="draw half of the cycles")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in options.runs.read_text().splitlines()] if options.runs.exists() else []
    for seed, name in itertools.product(() if options.summary else SEEDS, NETS):
        cells = {
            f"{name}/{machine}/{target:g}/{seed}": (machine, target)
            for network, machine, target in CELLS
            if network == name and f"{name}/{machine}/{target:g}/{seed}".startswith(options.only)
        }
        if cells:
            for line in lines_of(name, seed, cells, list(lines)):
                lines.append(line)
                with options.runs.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                tell(json.dumps(line))
    sys.exit(0 if summed_up(lines, options.plot) else 1)


def lines_of(
    name: str, seed: int, cells: Mapping[str, tuple[str, float]], before: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The lines of one network and seed that are missing."""
    data = Data(seed)
    torch.manual_seed(seed)
    model = trained(NETS[name](), data, seed, TRAINED[name])
    original = f"{name}/original/{seed}"
    if original not in {line["run"] for line in before}:
        on = tuned(model, model, data, seed, *LONG)
        yield {"run": original, "before": data.tested(model), "long": data.tested(on)}
    for key, (machine, target) in cells.items():
        done = {line["method"] for line in before if line["run"] == key}
        problem = Problem(model, EXAMPLE, MACHINES[machine], target, task_of(data.batches()), data.held_out, seed)
        for found in run(problem, key, data, done):
            yield {"run": key, **found}


def summed_up(lines: Sequence[Mapping[str, Any]], picture: Path | None) -> bool:
    """Writes means over seeds by cell and method; prints the tables of the page; returns whether the goals are met."""
    rows = means(lines)
    for name, (cells, figure) in TABLES.items():
        print(f"<!-- {name} -->", "", *table(rows, cells, figure), "", sep="\n")
    if picture is not None:
        drawn(rows, lambda figure: save(figure, picture))
    settings = {"seeds": list(SEEDS), "short": SHORT, "long": LONG, "trained": TRAINED, "images": IMAGES}
    figures = differences(rows)
    goals = {key: (">=", bound) for key, bound in GOALS.items() if key in figures}
    return report("pruning", settings, figures, goals, more={"rows": rows}, packages=("torch-pruning",))


if __name__ == "__main__":
    main()
