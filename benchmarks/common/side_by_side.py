"""Cases timed in turn in one run and compared by ratios, and a result file that records how.

Absolute times on shared machines are noise; the ratio of two cases timed one right after the other is not. Each round
runs every case once; a ratio is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from common.progress import progress_of

RESULTS = Path(__file__).parents[1] / "results"


def in_turn(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every case in every round; ``time.process_time`` counts those of this process alone."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with progress_of(warm_up + rounds, "rounds") as advance:
        for index in range(warm_up + rounds):
            for name, case in cases.items():
                start = clock()
                case()
                if index >= warm_up:
                    seconds[name].append(clock() - start)
            advance(1)
    return seconds


def ratio(seconds: Mapping[str, list[float]], numerator: str, denominator: str) -> float:
    """The median over rounds of one case's time over another's."""
    return statistics.median(a / b for a, b in zip(seconds[numerator], seconds[denominator], strict=True))


def report(
    name: str,
    settings: dict[str, Any],
    figures: dict[str, Any],
    goals: dict[str, tuple[str, float]],
    *,
    more: Mapping[str, Any] | None = None,
    packages: tuple[str, ...] = (),
) -> bool:
    """Prints figures with their goals, writes benchmarks/results/NAME.json, and returns whether all goals are met.

    A goal is ("<=" or ">=", bound) for a figure. ``more`` is written with the figures, but not printed;
    ``packages`` are those whose versions matter in addition to the usual ones.
    """
    met = {}
    for key, value in figures.items():
        text = f"{value:.4g}" if isinstance(value, float) else value
        if key in goals:
            sign, bound = goals[key]
            met[key] = value <= bound if sign == "<=" else value >= bound
            text = f"{text}  (goal {sign} {bound:g}: {'met' if met[key] else 'MISSED'})"
        print(f"{key:60} {text}")
    versions = {package: _version(package) for package in ("hwcost", "numpy", "torch", "click", *packages)}
    RESULTS.mkdir(exist_ok=True)
    content = {
        "schema": "hwcost.benchmark/1",
        "benchmark": name,
        "settings": settings,
        "figures": figures,
        "goals": {key: f"{sign} {bound:g}" for key, (sign, bound) in goals.items()},
        "met": met,
        **(more or {}),
        "made_with": {package: version for package, version in versions.items() if version}
        | {"python": platform.python_version(), "machine": platform.machine(), "device": "cpu"},
    }
    target = RESULTS / f"{name}.json"
    partial = target.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(target)
    return all(met.values())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
