"""How many one-token changes of the files that hold the numbers no test catches.

    pip install "cosmic-ray>=8.7" "coverage>=7.6"
    python benchmarks/mutation.py [--seed 0 --seed 1] [--per-area 40]

Cosmic Ray makes the mutants: another operator, another number, a flag turned over, a decorator less. It would start a
process for each; mutmut forks, but leaves decorators, properties, and the tables of modules and classes as they are. So
they run here: tests that cover the line, in a fork of a process with the libraries loaded, until one fails. A mutant
that none of them catches survives, unless ``mutation_reasons.toml`` states why nothing need catch it.

What was measured is kept in build/mutation: a run that was stopped goes on, and after a change of tests only survivors
run again. Writes benchmarks/results/mutation.json with the survivors of each area and seed.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import click

from common.covering import Covering, digest
from common.mutants import Mutant, drawn
from common.progress import tell
from common.side_by_side import report

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "mutation"
REASONS = Path(__file__).with_name("mutation_reasons.toml")


def _files(folder: str, names: str) -> tuple[str, ...]:
    return tuple(f"hwcost/{folder}/{name}.py" for name in names.split())


AREAS = {
    "runtime, dataflow and cost": (
        *_files("model", "formula pricing choice runtime cost traffic gemm layers layout sums breakdown"),
        *_files("machine", "array dataflow folds terms tiler memory timing fields"),
        *_files("arrays", "arithmetic sizes backends batches values"),
        *_files("relaxation", "ladder relaxations"),
        *_files("network", "pricing"),
    ),
    "widths": _files("network", "operations space network axes channels"),
    "advice": (
        *_files("advice", "budget choices exact measured search steps tables tabulating walk"),
        *_files("elimination", "factors prices window"),
    ),
    "axes of the PyTorch importer": (
        *_files("importers/rules", "axes call contraction copies products"),
        *_files("importers/torch", "calls composites operators resize table values"),
    ),
}
"""The files that hold the numbers. Rules of axes and products are those of both importers."""

OTHER_TESTS = (
    "adapters agreement bad_options calibration check_gradient cli compare docs examples explain files from_torch_real "
    "fuzz help how_true html imports known_optimum model_command nni onnx onnx_random plot prune_command pruning "
    "pruning_complaints recipes release scalesim search_results search_the_array sweep_cluster sweep_command "
    "sweep_plot user_input"
)
"""Test files that are left out: those of other rooms, slow ones, and those that start processes."""

OF_IMPORTS = ("tests/test_laws.py::test_values_are_frozen",)
"""Tests of what an import made."""

SLOWEST = 8.0
"""The seconds of a test; slower ones are left out."""

STAGES = (10.0, 60.0)
"""The seconds of all tests of a mutant together, when nothing is changed: at first, and for what survives."""


@click.command()
@click.option("--seed", "seeds", default=(0, 1), show_default=True, multiple=True, help="one sample for each")
@click.option(
    "--per-area", default=40, show_default=True, help="mutants, shared out over the files, at least 2 of each"
)
def main(seeds: tuple[int, ...], per_area: int) -> None:
    """Runs the samples and writes what survives."""
    WORK.mkdir(parents=True, exist_ok=True)
    left_out = {f"test_{name}.py" for name in OTHER_TESTS.split()}
    sources = [file for files in AREAS.values() for file in files]
    tests = [f"tests/{path.name}" for path in sorted((ROOT / "tests").glob("test_*.py")) if path.name not in left_out]
    doctests = [file for file in sources if ">>> " in (ROOT / file).read_text("utf-8")]
    covering = Covering(ROOT, WORK / "copy", WORK / "coverage.json", sources, [*tests, *doctests], OF_IMPORTS, SLOWEST)
    done = Outcomes(
        WORK / "outcomes.jsonl", covering.copy, digest(*(covering.copy / test for test in (*tests, *doctests)))
    )
    known = {
        f"{file} {change}": why
        for file, own in tomllib.loads(REASONS.read_text("utf-8")).items()
        for change, why in own.items()
    }
    covering.check()
    samples = [
        (seed, area, mutant)
        for seed in seeds
        for area, files in AREAS.items()
        for file in files
        for mutant in drawn(covering.copy, file, max(2, -(-per_area // len(files))), seed)
    ]
    counts: dict[tuple[int, str], Counter[str]] = {(seed, area): Counter() for seed in seeds for area in AREAS}
    survivors: list[str] = []
    for index, (seed, area, mutant) in enumerate(samples):
        outcome = "reason" if mutant.key in known else done.of(mutant) or done.add(mutant, run(mutant, covering))
        counts[seed, area] += Counter([outcome])
        if outcome == "survived":
            survivors.append(f"seed {seed}, {mutant.key}")
        tell(f"{index + 1} of {len(samples)}: {outcome:10} {mutant.key}")
    figures: dict[str, Any] = {}
    goals: dict[str, tuple[str, float]] = {}
    for (seed, area), own in counts.items():
        for outcome in ("killed", "timeout", "reason", "survived"):
            figures[f"seed {seed}: {area}: {outcome}"] = own[outcome]
        figures[f"seed {seed}: {area}: share that survived"] = own["survived"] / own.total()
        goals[f"seed {seed}: {area}: share that survived"] = ("<=", 0.05)
    settings = {"seeds": list(seeds), "mutants per area": per_area, "seconds of a mutant's tests": STAGES[-1]}
    reasons = {mutant.key: known[mutant.key] for _, _, mutant in samples if mutant.key in known}
    more = {"survivors": survivors, "reasons": reasons}
    sys.exit(not report("mutation", settings, figures, goals, more=more, packages=("cosmic-ray", "coverage", "pytest")))


def run(mutant: Mutant, covering: Covering) -> str:
    """Runs the tests that cover a mutant, one of each function first."""
    done: set[str] = set()
    for stage, seconds in enumerate(STAGES):
        names = covering.tests(mutant.file, mutant.line, seconds, one_of_each=not stage)
        names = [name for name in names if name not in done]
        outcome = covering.outcome({mutant.file: mutant.source}, names, 60 + 5 * seconds)
        if outcome != "survived":
            break
        done.update(names)
    return outcome


class Outcomes:
    """What became of mutants before: a line of JSON for each, which holds while its file is the same."""

    def __init__(self, path: Path, root: Path, tests: str) -> None:
        self.path, self.root, self.tests = path, root, tests
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.known = {(each["mutant"], each["file"]): each for each in map(json.loads, lines)}

    def of(self, mutant: Mutant) -> str | None:
        """The outcome, if it is known; one that survived other tests may not survive these."""
        found = self.known.get((mutant.key, digest(self.root / mutant.file)))
        if found is None or (found["outcome"] == "survived" and found["tests"] != self.tests):
            return None
        return str(found["outcome"])

    def add(self, mutant: Mutant, outcome: str) -> str:
        """Keeps an outcome, and returns it."""
        record = {
            "mutant": mutant.key,
            "file": digest(self.root / mutant.file),
            "tests": self.tests,
            "outcome": outcome,
        }
        with self.path.open("a", encoding="utf-8") as file:
            print(json.dumps(record), file=file)
        return outcome


if __name__ == "__main__":
    main()
