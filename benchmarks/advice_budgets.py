"""How good the widths for a budget are, and what it takes to find them.

    python benchmarks/advice_budgets.py

For each network, array and budget: the MACs that the best widths found keep, the bound on what others could keep in
addition, and the CPU time of the solver. The rival is a walk by hand: always the next cheaper size of the width that
loses the fewest MACs for each cycle saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from common import real_models
from common.side_by_side import report
from hwcost import Network, SystolicArray, from_torch, load_device, network_cost
from hwcost.advice import advise

ARRAYS: Mapping[str, Callable[[], SystolicArray]] = {
    "16 x 16": lambda: SystolicArray(16, 16),
    "128 x 128": lambda: SystolicArray(128, 128),
    "tpu-v5e/array": lambda: load_device("tpu-v5e/array"),
    "gemmini": lambda: load_device("gemmini"),
}
CASES = {"resnet18": tuple(ARRAYS), "mobilenet_v2": tuple(ARRAYS), "densenet121": ("16 x 16",)}
BUDGETS = (0.9, 0.75, 0.5)
MOST_BY_HAND = 20  # widths: a step of the walk prices each of them


def walk_by_hand(network: Network, array: SystolicArray, limit: float) -> int:
    """The MACs that are left when the budget is met one step at a time."""
    now = network
    while network_cost(now, array).total.cycles > limit:
        steps = {each.name: each.cheaper for each in advise(now, array).widths if each.cheaper is not None}
        name, step = max(steps.items(), key=lambda each: each[1].saved / max(each[1].macs, 1))
        layers = now.at({name: step.size})
        operations = {key: dataclasses.replace(each, layer=layers[key]) for key, each in now.operations.items()}
        widths = {**now.widths, name: dataclasses.replace(now.widths[name], size=step.size)}
        now = Network(now.name, operations, widths)
    return now.macs


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    models = real_models.loaded("torchvision")
    rows: list[dict[str, Any]] = []
    for name, labels in CASES.items():
        network = from_torch(getattr(models, name)(), (1, 3, 224, 224))
        few = len(advise(network, SystolicArray(16, 16)).widths) < MOST_BY_HAND
        for label in labels:
            array = ARRAYS[label]()
            for budget in BUDGETS:
                begun = time.process_time()
                found = advise(network, array, budget=budget).budget
                seconds = time.process_time() - begun
                rows.append(
                    {
                        "network": name,
                        "array": label,
                        "budget": budget,
                        "macs": found.macs / found.macs_today,
                        "cycles": found.cycles / found.cycles_today,
                        "gap": found.gap,
                        "by hand": walk_by_hand(network, array, found.limit) / found.macs_today if few else None,
                        "sizes": found.of_options,
                        "combined": found.options,
                        "cpu_seconds": seconds,
                    }
                )
                print(*rows[-1].values(), flush=True)
    ideal = [row for row in rows if row["network"] == "resnet18" and " x " in row["array"]]
    figures = {
        "resnet18: budgets that are not proven": sum(row["gap"] > 0 for row in ideal),
        "resnet18: most CPU seconds": max(row["cpu_seconds"] for row in ideal),
        "budgets where the walk by hand is better": sum(
            row["by hand"] is not None and row["by hand"] > row["macs"] for row in rows
        ),
        "budgets with a bound above 1 %": sum(row["gap"] > 0.01 for row in rows),
    }
    goals = {
        "resnet18: budgets that are not proven": ("<=", 0.0),
        "resnet18: most CPU seconds": ("<=", 5.0),
        "budgets where the walk by hand is better": ("<=", 0.0),
    }
    sys.exit(0 if report("advice_budgets", {"budgets": list(BUDGETS)}, figures, goals, more={"rows": rows}) else 1)


if __name__ == "__main__":
    main()
