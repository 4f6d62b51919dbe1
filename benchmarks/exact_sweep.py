"""The exact model over 3,000,000 layers against the bare numpy expression of the formula.

    python benchmarks/exact_sweep.py

hwcost checks every size and guards against overflow; the bare expression does neither.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from common.side_by_side import in_turn, ratio, report
from hwcost import runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    k1, k2 = (random.integers(1, 8, options.count) for _ in range(2))
    c, f = (random.integers(1, 2049, options.count) for _ in range(2))
    h, w = (random.integers(1, 225, options.count) for _ in range(2))
    batch, s1, s2 = 2, 16, 16

    def bare() -> np.ndarray:
        return -(-(k1 * k2 * c) // s1) * -(-f // s2) * h * w * batch

    def ours() -> np.ndarray:
        return runtime(k1=k1, k2=k2, c=c, f=f, h=h, w=w, batch=batch, s1=s1, s2=s2)

    seconds = in_turn({"bare": bare, "hwcost": ours}, options.rounds)
    figures = {
        "hwcost / bare expression, time": ratio(seconds, "hwcost", "bare"),
        "layers that differ": int((bare() != ours()).sum()),
    }
    goals = {"hwcost / bare expression, time": ("<=", 1.75), "layers that differ": ("<=", 0.0)}
    settings = {"count": options.count, "rounds": options.rounds, "seed": 0}
    sys.exit(0 if report("exact_sweep", settings, figures, goals) else 1)


if __name__ == "__main__":
    main()
