"""The windowed smooth ceiling against the full ladder written with torch operations, and against one sigmoid.

    python benchmarks/smooth_ceiling.py

Forward and backward of 1,000,000 float32 numbers at T = 20 on one thread. Memory is the peak of a separate process,
above that of one that holds only the numbers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from common.side_by_side import in_turn, ratio, report
from hwcost import RELAXATIONS

TEMPERATURE = 20.0
STEPS = 300


def full_ladder(x: Tensor) -> Tensor:
    return torch.sigmoid(TEMPERATURE * (x[:, None] - torch.arange(STEPS, dtype=x.dtype))).sum(-1)


def windowed(steps: int | None) -> Callable[[Tensor], Tensor]:
    return RELAXATIONS["logistic"].with_options(temperature=TEMPERATURE, steps=steps).value


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "windowed, no end": windowed(None),
    "windowed, 300 steps": windowed(STEPS),
    "windowed, 1,000,000 steps": windowed(1_000_000),
    "full ladder, 300 steps": full_ladder,
}


def numbers(count: int) -> Tensor:
    x = torch.rand(count, generator=torch.Generator().manual_seed(0)) * (STEPS - 2)
    return x.requires_grad_()


def forward_backward(function: Callable[[Tensor], Tensor], x: Tensor, ones: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(function(x), x, ones)
    return gradient


def high_water() -> int:
    """Peak resident bytes of this process; not getrusage's, which a process inherits from the one that started it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def peak_bytes(case: str, count: int) -> int:
    """Peak memory of a process that runs one case once."""
    command = [sys.executable, __file__, "--count", str(count), "--peak-of", case]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x = numbers(options.count)
    ones = torch.ones_like(x)
    if options.peak_of is not None:
        if options.peak_of:
            forward_backward(CASES[options.peak_of], x, ones)
        print(high_water())
        return

    difference = (full_ladder(x[:100_000]) - windowed(STEPS)(x[:100_000])).abs().max().item()
    quick = {name: case for name, case in CASES.items() if "full" not in name}
    often = in_turn({n: lambda c=c: forward_backward(c, x, ones) for n, c in quick.items()}, 40, warm_up=5)
    seldom = in_turn({n: lambda c=c: forward_backward(c, x, ones) for n, c in CASES.items()}, options.rounds)
    base = peak_bytes("", options.count)
    memory = {
        name: peak_bytes(name, options.count) - base for name in ("full ladder, 300 steps", "windowed, 300 steps")
    }
    figures = {
        "full ladder / windowed, time": ratio(seldom, "full ladder, 300 steps", "windowed, 300 steps"),
        "windowed / sigmoid, time": ratio(often, "windowed, no end", "sigmoid"),
        "windowed / full ladder, peak memory": memory["windowed, 300 steps"] / memory["full ladder, 300 steps"],
        "1,000,000 steps / 300 steps, time": ratio(often, "windowed, 1,000,000 steps", "windowed, 300 steps"),
        "largest difference to the full ladder": difference,
        "peak memory of the full ladder (MB)": memory["full ladder, 300 steps"] / 1e6,
        "peak memory of the windowed one (MB)": memory["windowed, 300 steps"] / 1e6,
    }
    goals = {
        "full ladder / windowed, time": (">=", 400.0),
        "windowed / sigmoid, time": ("<=", 4.0),
        "windowed / full ladder, peak memory": ("<=", 1 / 20),
        "1,000,000 steps / 300 steps, time": ("<=", 1.1),
        "largest difference to the full ladder": ("<=", 1e-4),
    }
    settings = {"count": options.count, "temperature": TEMPERATURE, "dtype": "float32", "threads": 1, "seed": 0}
    sys.exit(0 if report("smooth_ceiling", settings | {"rounds": [40, options.rounds]}, figures, goals) else 1)


if __name__ == "__main__":
    main()
