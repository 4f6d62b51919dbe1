"""Points per second of a sweep over buffers, bandwidths and clocks with energy, against a Python loop; and fronts.

    python benchmarks/sweep_fields.py

Each round sweeps the whole space and prices a sample of its points one by one by ``network_cost``, whose cycles, bytes
and joules have to be equal to the last bit. Fronts are those of a million random points in three and five figures; a
part of the points is compared with a look at all pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from common.side_by_side import in_turn, ratio, report
from hwcost import SystolicArray, network_cost
from hwcost.sweep import Sweep, nondominated, sweep
from sweep_points import resnet_50

SIZES = range(8, 65, 8)
FIELDS = {
    "buffer_bytes": [2.0**power for power in range(15, 22)],
    "dram_bytes_per_s": [4e9, 8e9, 16e9],
    "clock_hz": [5e8, 1e9],
}
FIGURES = ("cycles", "dram_bytes", "sram_bytes", "energy_joules")
ENERGY = "45nm-textbook"
POINTS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=40, help="points that the loop prices in each round")
    options = parser.parse_args()
    network, found = resnet_50(), _swept()
    chosen = np.random.default_rng(0).choice(len(found), options.sample, replace=False)
    arrays = [found.array(index) for index in chosen.tolist()]

    def loop() -> list[Any]:
        return [network_cost(network, array).total for array in arrays]

    seconds = in_turn({"sweep": _swept, "loop": loop}, options.rounds, 1)
    once = {name: min(values) for name, values in seconds.items()}
    priced = [tuple(getattr(cost, name) for name in FIGURES) for cost in loop()]
    columns = zip(*(getattr(found, name)[chosen].tolist() for name in FIGURES), strict=True)
    figures = {
        "points": len(found),
        "points left out": found.left_out,
        "sweep, points a second": len(found) / once["sweep"],
        "loop, points a second": options.sample / once["loop"],
        "sweep / loop, points a second": len(found) / options.sample * ratio(seconds, "loop", "sweep"),
        "points of the sample that differ": sum(a != b for a, b in zip(priced, columns, strict=True)),
        "points of the front": len(found.front),
        **{f"front of a million points in {count} figures, seconds": _front_seconds(count) for count in (3, 5)},
        "points that a look at all pairs puts elsewhere": sum(_misplaced(count) for count in (3, 4, 5)),
    }
    goals = {
        "sweep / loop, points a second": (">=", 10.0),
        "points of the sample that differ": ("<=", 0.0),
        "front of a million points in 5 figures, seconds": ("<=", 10.0),
        "points that a look at all pairs puts elsewhere": ("<=", 0.0),
    }
    settings = {
        "network": "ResNet-50, one image of 224 x 224",
        "rows and cols": f"{SIZES[0]}:{SIZES[-1]}:{SIZES.step}",
        "fields": FIELDS,
        "energy": ENERGY,
        "rounds": options.rounds,
        "sample": options.sample,
        "seed": 0,
    }
    sys.exit(0 if report("sweep_fields", settings, figures, goals) else 1)


def _swept() -> Sweep:
    found = sweep(resnet_50(), rows=SIZES, cols=SIZES, base=SystolicArray(1, 1), fields=FIELDS, energy=ENERGY)
    found.front.sum()  # worked out when it is asked for
    return found


def _random(count: int, points: int) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(count).random((count, points)))


def _front_seconds(count: int) -> float:
    columns = _random(count, POINTS)
    start = time.perf_counter()
    nondominated(columns)
    return time.perf_counter() - start


def _misplaced(count: int) -> int:
    points = np.stack(_random(count, 3000))
    no_worse = np.all(points[:, :, None] <= points[:, None, :], axis=0)
    better = np.any(points[:, :, None] < points[:, None, :], axis=0)
    beaten = np.any(no_worse & better, axis=0)
    on_front = np.zeros(points.shape[1], dtype=bool)
    on_front[nondominated(list(points))] = True
    return int(np.sum(on_front == beaten))


if __name__ == "__main__":
    main()
