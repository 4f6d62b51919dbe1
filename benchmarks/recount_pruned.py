"""Cycles of pruned networks counted again by SCALE-Sim 3.0.0 itself, layer by layer: equal to hwcost's or not.

    python benchmarks/recount_pruned.py          # the widths that "curves" chose in benchmarks/pruning.py

Each network of ``results/pruning_runs.jsonl`` is counted on the array that it was pruned for, with its weights
stationary and serial folds: what SCALE-Sim simulates. A run on ideal folds is counted with serial ones as well. The
figures go into benchmarks/results, and a difference ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from agreement_scalesim import interpreter, run_simulator
from common.side_by_side import RESULTS, report
from common.small_nets import NETS
from hwcost import from_torch
from recount_scalesim import Network, compared, serial, write_case

METHOD = "curves"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RESULTS / "pruning_runs.jsonl")
    parser.add_argument("--python", default=os.environ.get("SCALESIM_PYTHON"), help="an interpreter that has scalesim")
    options = parser.parse_args()
    original = {name: from_torch(make(), example_inputs=torch.zeros(1, 1, 28, 28)) for name, make in NETS.items()}
    networks, priced = [], []
    for line in map(json.loads, options.runs.read_text("utf-8").splitlines()):
        if line.get("method") == METHOD and not line["run"].split("/")[1].startswith("gemmini"):
            name, machine, *_ = line["run"].split("/")
            side = int(machine.partition("-")[0])
            networks.append(Network(line["sizes"], side, side, line["run"]))
            layers = original[name].at(line["sizes"])
            priced.append({layer: layers[layer] for layer in original[name].priced})
    with tempfile.TemporaryDirectory() as folder:
        python = interpreter(options.python, Path(folder) / "environment")
        made = [
            write_case(Path(folder) / f"network{index}", layers, serial(network))
            for index, (network, layers) in enumerate(zip(networks, priced, strict=True))
        ]
        versions = run_simulator(python, made)["versions"]
        rows = [
            compared(network, layers, case.folder / "simulated")
            for network, layers, case in zip(networks, priced, made, strict=True)
        ]
    for row in rows:
        print(row["origin"], row["cycles by hwcost"], row["cycles by SCALE-Sim"], "" if row["equal"] else "DIFFERENT")
    pairs = [counts for row in rows for counts in row["layers"].values()]
    differ = sum(counts["hwcost"] != counts["SCALE-Sim"] for counts in pairs)
    figures = {"networks": len(rows), "layers": len(pairs), "layers whose cycles differ": differ}
    settings = {"runs": options.runs.name, "method": METHOD, "fold_timing": "serial", "simulator": versions}
    goals = {"layers whose cycles differ": ("<=", 0.0)}
    return 0 if report("recount_pruned", settings, figures, goals, more={"networks": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
