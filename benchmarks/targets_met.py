"""Whether targets are met: 20 runs a method and array, over seeds and targets from 0.4 to 1.0 of LeNet-5's cycles.

    python benchmarks/targets_met.py

For every run the exact cycles of the winner (after rounding up) are counted by ``network_cost`` and divided by the
target's. What the weights learn plays no part in whether a limit is kept, so the searches are short and see few images.
Of those that descend a gradient the figures also give how far the expected cycles of the probabilities were from the
target in the end, which is what lambda was moved for.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np
import torch

from common.progress import tell
from common.side_by_side import report
from hwcost import SystolicArray, network_cost
from hwcost.torch import LatencyLoss
from nas_plugin import SearchSettings, load_arch_def
from nas_plugin.images import load
from nas_plugin.methods.darts import DartsSearch
from nas_plugin.methods.finding import searcher, winner_of
from nas_plugin.methods.table import METHODS, SWEEP_METHODS
from nas_plugin.sources import CUT

ARRAYS = ((8, 8), (16, 16))
EXACT = [name for name in SWEEP_METHODS if name != "flops"]
"""All but the rival that does not know the array."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="a method and array")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lenet = load_arch_def()
    train, _ = load(CUT, classes=lenet.classes, shape=(lenet.height, lenet.width), images=options.images)
    figures, runs = {}, []
    for rows, cols in ARRAYS:
        arch = dataclasses.replace(lenet, array=SystolicArray(rows, cols))
        for name in EXACT:
            shares, distances = [], []
            for seed, target in enumerate(np.linspace(0.4, 1.0, options.runs).round(3).tolist()):
                given = {"epochs": options.epochs, "candidates": 20, "finalists": 1, "finalist_epochs": 1}
                method = METHODS[SWEEP_METHODS[name]["method"]]
                given = {setting: value for setting, value in given.items() if method.reads(setting, given)}
                settings = SearchSettings.for_size(
                    options.images,
                    data=CUT,
                    images=options.images,
                    seed=seed,
                    target=target,
                    **given,
                    **SWEEP_METHODS[name],
                )
                work = searcher(arch, settings, train)
                while not work.done:
                    work.run_epoch()
                winner = winner_of(arch, settings, work.derived())
                limit = arch.limit(target)
                shares.append(network_cost(arch.space.at(winner), arch.array).total.cycles / limit)
                if isinstance(work, DartsSearch):
                    exact = LatencyLoss(arch.space, arch.array, reference=limit).eval()
                    distances.append(abs(float(exact(work.alphas.probabilities().detach())) - 1))
                runs.append({"array": f"{rows}x{cols}", "method": name, "seed": seed, "target": target} | winner)
                runs[-1]["share_of_target"] = shares[-1]
            where = f"{name} on {rows}x{cols}"
            figures[f"{where}: largest share of the target"] = max(shares)
            figures[f"{where}: smallest share of the target"] = min(shares)
            if distances:
                figures[f"{where}: expected cycles off the target, median"] = float(np.median(distances))
            tell(f"{where}: {min(shares):.4f} to {max(shares):.4f}")
    goals = {key: ("<=", 1.0) for key in figures if "largest" in key}
    goals |= {key: (">=", 0.97) for key in figures if "smallest" in key}
    settings = {"runs": options.runs, "images": options.images, "epochs": options.epochs, "data": CUT, "threads": 1}
    sys.exit(0 if report("targets_met", settings, figures, goals, more={"runs": runs}) else 1)


if __name__ == "__main__":
    main()
