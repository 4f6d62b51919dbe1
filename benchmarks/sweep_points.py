"""Points (an array with a dataflow) per second: a sweep of ResNet-50 against a Python loop over ``network_cost``.

    python benchmarks/sweep_points.py

Each round prices the whole space by ``sweep`` and a sample of its points one by one. Every point of the sample has to
have the same cycles in both, and the front of the sweep is compared with one that is found by looking at all pairs of
a part of the points. The front is part of the sweep's time.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc

import numpy as np

from common.side_by_side import in_turn, ratio, report
from hwcost import Conv2d, Linear, network_cost
from hwcost.sweep import Sweep, sweep

ROWS, COLS = range(8, 324), range(8, 325)  # 316 x 317 arrays
FLOWS = ("ws", "os", "is")
PEAK = "memory of the sweep at its peak, MiB"


def resnet_50() -> dict[str, Conv2d | Linear]:
    """The 54 layers with weights of a ResNet-50 on an image of 224 x 224."""
    layers: dict[str, Conv2d | Linear] = {"conv1": Conv2d(3, 64, 7, 224, 224, stride=2, padding=3)}
    channels, size = 64, 56
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), 1):
        for block in range(blocks):
            stride, path = 2 if block == 0 and stage > 1 else 1, f"layer{stage}.{block}"
            after = size // stride
            layers[f"{path}.conv1"] = Conv2d(channels, width, 1, size, size)
            layers[f"{path}.conv2"] = Conv2d(width, width, 3, size, size, stride=stride, padding=1)
            layers[f"{path}.conv3"] = Conv2d(width, 4 * width, 1, after, after)
            if block == 0:
                layers[f"{path}.downsample"] = Conv2d(channels, 4 * width, 1, size, size, stride=stride)
            channels, size = 4 * width, after
    return layers | {"fc": Linear(2048, 1000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sample", type=int, default=400, help="points that the loop prices in each round")
    options = parser.parse_args()
    network = resnet_50()
    found = _swept()
    chosen = np.random.default_rng(0).choice(len(found), options.sample, replace=False)
    arrays = [found.array(index) for index in chosen.tolist()]

    def loop() -> list[int]:
        return [network_cost(network, array).total.cycles for array in arrays]

    seconds = in_turn({"sweep": _swept, "loop": loop}, options.rounds)
    once = {name: min(values) for name, values in seconds.items()}
    size = len(found) / options.sample
    figures = {
        "points": len(found),
        "sweep, seconds": once["sweep"],
        "sweep, points a second": len(found) / once["sweep"],
        "loop, points a second": options.sample / once["loop"],
        "sweep / loop, points a second": size * ratio(seconds, "loop", "sweep"),
        "points of the sample that differ": int(np.sum(found.cycles[chosen] != np.asarray(loop()))),
        "points of the front": len(found.front),
        "points that a look at all pairs puts elsewhere": _misplaced(found),
        PEAK: _peak() / 2**20,
    }
    goals = {
        "sweep, seconds": ("<=", 10.0),
        "sweep / loop, points a second": (">=", 100.0),
        "points of the sample that differ": ("<=", 0.0),
        "points that a look at all pairs puts elsewhere": ("<=", 0.0),
        PEAK: ("<=", 256.0),
    }
    settings = {
        "network": "ResNet-50, one image of 224 x 224",
        "rows": f"{ROWS[0]}:{ROWS[-1]}",
        "cols": f"{COLS[0]}:{COLS[-1]}",
        "dataflows": list(FLOWS),
        "fold_timing": "ideal",
        "rounds": options.rounds,
        "sample": options.sample,
        "seed": 0,
    }
    sys.exit(0 if report("sweep_points", settings, figures, goals) else 1)


def _swept() -> Sweep:
    found = sweep(resnet_50(), rows=ROWS, cols=COLS, dataflows=FLOWS)
    found.front.sum()  # worked out when it is asked for
    return found


def _misplaced(found: Sweep) -> int:
    """Of a part of the points, those that are on the front of that part by one way and not by the other."""
    part = found.at(np.random.default_rng(1).choice(len(found), 3000, replace=False))
    columns = np.stack([part.cycles, part.pes, -part.utilization])
    no_worse = np.all(columns[:, :, None] <= columns[:, None, :], axis=0)
    better = np.any(columns[:, :, None] < columns[:, None, :], axis=0)
    beaten = np.any(no_worse & better, axis=0)
    on_front = np.zeros(len(part), dtype=bool)
    on_front[part.front] = True
    return int(np.sum(on_front == beaten))


def _peak() -> float:
    """Bytes that Python and numpy hold at once at most while the space is swept, its result among them."""
    tracemalloc.start()
    try:
        _swept()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
