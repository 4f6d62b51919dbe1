"""Pruned networks counted again by others: SCALE-Sim 3.0.0, layer by layer, and Vela, the compiler of Arm's Ethos-U.

    python benchmarks/recount_pruned.py          # the widths that "curves" chose in benchmarks/pruning.py

Each network of ``results/pruning_runs.jsonl`` is counted on the array that it was pruned for, with its weights
stationary and serial folds: what SCALE-Sim simulates. A run on ideal folds is counted with serial ones as well. The
cycles of every layer have to be equal. Vela estimates the layers of the networks pruned for 16 x 16 on ethos-u55-256,
which multiplies as many numbers in a cycle, but is another machine: what is left of the original's cycles is reported.

SCALE-Sim runs in an environment of its own, which is made if none is named; Vela comes with the extra ``vela``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from agreement_scalesim import interpreter, run_simulator
from common.side_by_side import RESULTS, report
from common.small_nets import NETS
from hwcost import Conv2d, Layer, from_torch
from hwcost.calibration.vela.pricing import priced as vela
from hwcost.calibration.vela.writing import Step
from recount_scalesim import Network, compared, serial, write_case

METHOD, ACCELERATOR, SIDE = "curves", "ethos-u55-256", 16
Layers = Mapping[str, Layer]


def of_vela(layer: Any) -> Step:
    """A layer as Vela takes it; a linear one is a convolution of one position, which Vela prices the same."""
    if isinstance(layer, Conv2d):
        return Step.of(layer)
    return Step.of(Conv2d(layer.in_features, layer.out_features, 1, height=1, width=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RESULTS / "pruning_runs.jsonl")
    parser.add_argument("--python", default=os.environ.get("SCALESIM_PYTHON"), help="an interpreter that has scalesim")
    options = parser.parse_args()
    read = {name: from_torch(make(), example_inputs=torch.zeros(1, 1, 28, 28)) for name, make in NETS.items()}

    def layers_of(name: str, sizes: Mapping[str, int]) -> Layers:
        layers = read[name].at(sizes)
        return {layer: layers[layer] for layer in read[name].priced}

    networks, priced = [], []
    for line in map(json.loads, options.runs.read_text("utf-8").splitlines()):
        if line.get("method") == METHOD and not line["run"].split("/")[1].startswith("gemmini"):
            name, machine, *_ = line["run"].split("/")
            side = int(machine.partition("-")[0])
            networks.append(Network(line["sizes"], side, side, line["run"]))
            priced.append(layers_of(name, line["sizes"]))
    with tempfile.TemporaryDirectory() as made_in:
        folder = Path(made_in)
        python = interpreter(options.python, folder / "environment")
        made = [
            write_case(folder / f"network{index}", layers, serial(network))
            for index, (network, layers) in enumerate(zip(networks, priced, strict=True))
        ]
        versions = run_simulator(python, made)["versions"]
        rows = [
            compared(network, layers, case.folder / "simulated")
            for network, layers, case in zip(networks, priced, made, strict=True)
        ]
        at_side = [index for index, network in enumerate(networks) if network.rows == SIDE]
        originals = [layers_of(name, {}) for name in NETS]
    for_vela = [*originals, *(priced[index] for index in at_side)]
    by_vela = vela([[of_vela(layer) for layer in each.values()] for each in for_vela], ACCELERATOR)
    counted = by_vela.cycles
    of_original = dict(zip(NETS, counted, strict=False))
    shares: dict[str, list[float]] = {}
    for index, cycles in zip(at_side, counted[len(originals) :], strict=True):
        name, machine, target, _ = networks[index].origin.split("/")
        rows[index]["share of the original's cycles by Vela"] = cycles / of_original[name]
        shares.setdefault(f"{name}/{machine}/{target}", []).append(cycles / of_original[name])
    for row in rows:
        print(row["origin"], row["cycles by hwcost"], row["cycles by SCALE-Sim"], "" if row["equal"] else "DIFFERENT")
    pairs = [counts for row in rows for counts in row["layers"].values()]
    differ = sum(counts["hwcost"] != counts["SCALE-Sim"] for counts in pairs)
    figures = {"networks": len(rows), "layers": len(pairs), "layers whose cycles differ": differ}
    figures |= {f"{cell}: share of the original's cycles by Vela": mean(own) for cell, own in shares.items()}
    versions = {**versions, "ethos-u-vela": by_vela.settings["version"]}
    settings = {"runs": options.runs.name, "method": METHOD, "fold_timing": "serial", "simulators": versions}
    goals = {"layers whose cycles differ": ("<=", 0.0)}
    return 0 if report("recount_pruned", settings, figures, goals, more={"networks": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
