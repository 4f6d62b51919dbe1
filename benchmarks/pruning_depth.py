"""Pruned to the same exact cycles: by widths alone, and by dropping residual blocks as well.

    python benchmarks/pruning_depth.py            # all runs; goes on where it was stopped
    python benchmarks/pruning_depth.py --summary  # of the runs that are there

A ResNet of 16, 32 and 64 channels with three blocks a stage, half of its cycles on 32 x 32, Fashion-MNIST. Both methods
begin with the same trained network and are fine-tuned alike, with the original as a teacher: briefly (6,000 images
once), and for long (8,000 images, four times). Blocks and widths are chosen by training images and those held out; the
test images are looked at once, for the figures of the finished networks. Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from common.fashion import EXAMPLE, IMAGES, Data, trained, tuned
from common.progress import tell
from common.side_by_side import RESULTS, report
from common.small_nets import ResNet
from hwcost import SystolicArray
from hwcost.torch import prune

ARRAY, TARGET, BLOCKS, TRAINED = SystolicArray(32, 32), 0.5, 3, 4
SEEDS = (0, 1, 2)
METHODS = {"widths": False, "widths and blocks": True}
TUNINGS = {"short": (6000, 1), "long": (8000, 4)}


def lines_of(seed: int, done: set[str]) -> Iterator[dict[str, Any]]:
    """A line for the original and for each method that is not done."""
    data = Data(seed)
    torch.manual_seed(seed)
    model = trained(ResNet(BLOCKS), data, seed, TRAINED)
    if "original" not in done:
        on = data.tested(tuned(model, model, data, seed, *TUNINGS["long"]))
        yield {"method": "original", "before": data.tested(model), "long": on}
    for method, depth in METHODS.items():
        if method in done:
            continue
        result = prune(
            model, EXAMPLE, ARRAY, target=TARGET, data=data.batches(), held_out=data.held_out, depth=depth, seed=seed
        )
        yield {
            "method": method,
            "dropped": list(result.dropped),
            "cycles": result.report.after.cycles / result.report.before.cycles,
            "cut": data.tested(result.model.eval()),
            **{name: data.tested(tuned(result.model, model, data, seed, *tuning)) for name, tuning in TUNINGS.items()},
        }


def figures_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds that have all methods, and differences with their least and most."""
    by = {(line["seed"], line["method"]): line for line in lines}
    seeds = [seed for seed in SEEDS if all((seed, method) in by for method in ("original", *METHODS))]
    found: dict[str, Any] = {"seeds": len(seeds)}
    if not seeds:
        return found
    for figure in ("cut", *TUNINGS):
        for method in METHODS:
            found[f"{method}, {figure}"] = statistics.fmean(by[seed, method][figure] for seed in seeds)
        more = [by[seed, "widths and blocks"][figure] - by[seed, "widths"][figure] for seed in seeds]
        found[f"blocks - widths alone, {figure}"] = statistics.fmean(more)
        found |= {f"blocks - widths alone, {figure}, {end.__name__}": end(more) for end in (min, max)}
    found["original trained on, long"] = statistics.fmean(by[seed, "original"]["long"] for seed in seeds)
    found["least share of the limit"] = min(by[seed, method]["cycles"] for seed in seeds for method in METHODS) / TARGET
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RESULTS / "pruning_depth_runs.jsonl")
    parser.add_argument("--summary", action="store_true", help="only sum up the runs that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [json.loads(line) for line in options.runs.read_text().splitlines()] if options.runs.exists() else []
    for seed in () if options.summary else SEEDS:
        done = {line["method"] for line in lines if line["seed"] == seed}
        for found in () if len(done) > len(METHODS) else lines_of(seed, done):
            lines.append({"seed": seed, **found})
            with options.runs.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            tell(json.dumps(lines[-1]))
    tunings = {name: math.prod(tuning) for name, tuning in TUNINGS.items()}
    settings = {"seeds": list(SEEDS), "images": IMAGES, "array": ARRAY.as_dict(), "target": TARGET, "blocks": BLOCKS}
    settings |= {"trained": TRAINED, "images of fine-tuning": tunings}
    report("pruning_depth", settings, figures_of(lines), {}, more={"networks": lines})


if __name__ == "__main__":
    main()
