"""The results of a sweep: winners by array, method and limit, and two figures that compare whole methods.

Both sum up a method's winners over all limits, for each search seed: the hypervolume of (cycles, error), which is the
area that the winners dominate below the worst point of all methods on the same array, as a share of the rectangle from
there to the best values; and the fewest cycles of a winner whose accuracy is at most :data:`TOLERANCE` below the
reference network's, or 1 if there is none, since the reference itself is always there.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwcost.pruning.identity import made_with
from hwcost.tables import markdown_table
from hwcost.units import plural
from nas_plugin.runs.sweep import SearchSweep, size_of
from nas_plugin.runs.task import SCHEMA, Task, key_of
from nas_plugin.space.arch_def import Choice

__all__ = ["TOLERANCE", "Comparison", "SearchRow", "compare"]

TOLERANCE = 0.002
"""Accuracy, as a share, that a network may lose and still count as accurate as the reference."""


@dataclass(frozen=True)
class SearchRow:
    """One search of a sweep, and its winner.

    Attributes:
        array: "ROWSxCOLS".
        method: a name in :data:`nas_plugin.SWEEP_METHODS`, or of a row of your own.
        limit: the target or lambda.
        seed: of the search.
        winner: its sizes.
        cycles: exact, and as ``cycles_ratio`` in units of the reference's.
        share_of_target: cycles in units of the target's; None with lambda.
        accuracies: on the test images, one for each training seed.
    """

    array: str
    method: str
    limit: str
    seed: int
    winner: dict[str, int]
    cycles: float
    cycles_ratio: float
    share_of_target: float | None
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """The mean over training seeds."""
        return statistics.fmean(self.accuracies)

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON; the winner as ``choice``."""
        return {"choice" if name == "winner" else name: each for name, each in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Comparison:
    """All searches of a finished sweep, and the reference network."""

    sweep: SearchSweep
    found: tuple[SearchRow, ...] = field(repr=False)
    reference: tuple[float, ...]

    @property
    def reference_accuracy(self) -> float:
        """The mean over training seeds."""
        return statistics.fmean(self.reference)

    @property
    def arrays(self) -> tuple[str, ...]:
        """As ROWSxCOLS, in the sweep's order."""
        return tuple(size_of(array) for array in self.sweep.arrays)

    def of(self, array: str, method: str, limit: str | None = None) -> list[SearchRow]:
        """The searches of a method on an array, at one limit or at all."""
        return [f for f in self.found if (f.array, f.method) == (array, method) and limit in (None, f.limit)]

    def winners(self) -> Iterator[dict[str, Any]]:
        """A row for each array, method and limit: means and spreads over search seeds."""
        limits = dict.fromkeys(row.limit for row in self.found)
        for array, method, limit in itertools.product(self.arrays, self.sweep.settings.methods, limits):
            group = self.of(array, method, limit)
            ratios, accuracies = [row.cycles_ratio for row in group], [row.accuracy for row in group]
            yield {
                "array": array,
                "method": method,
                "limit": limit,
                "cycles_ratio": statistics.fmean(ratios),
                "cycles_ratio_range": [min(ratios), max(ratios)],
                "accuracy": statistics.fmean(accuracies),
                "accuracy_range": [min(accuracies), max(accuracies)],
                "accuracy_deviation": _deviation(accuracies),
                "within_tolerance": sum(map(self._is_within, accuracies)),
                "seeds": len(group),
                "different_winners": len({key_of(row.winner) for row in group}),
            }

    def methods(self) -> Iterator[dict[str, Any]]:
        """A row for each array and method: hypervolume and cycles at iso-accuracy, by search seed."""
        for array in self.arrays:
            on_array = [(row.cycles_ratio, 1 - row.accuracy) for row in self.found if row.array == array]
            points = np.array([*on_array, (1.0, 1 - self.reference_accuracy)])
            worst, best = points.max(axis=0), points.min(axis=0)
            for method in self.sweep.settings.methods:
                rows = self.of(array, method)
                by_seed = [[row for row in rows if row.seed == seed] for seed in self.sweep.settings.seeds]
                volumes = [_hypervolume(group, worst, best) for group in by_seed]
                good = ([row.cycles_ratio for row in group if self._is_within(row.accuracy)] for group in by_seed)
                fewest = [min(ratios, default=None) for ratios in good]
                yield {
                    "array": array,
                    "method": method,
                    "hypervolume": statistics.fmean(volumes),
                    "hypervolume_deviation": _deviation(volumes),
                    "hypervolume_by_seed": volumes,
                    "iso_accuracy_cycles": statistics.fmean(1.0 if ratio is None else ratio for ratio in fewest),
                    "iso_accuracy_cycles_by_seed": fewest,
                    "reference_point": worst.tolist(),
                }

    def _is_within(self, accuracy: float) -> bool:
        return accuracy >= self.reference_accuracy - TOLERANCE - 1e-9  # a tie does not depend on rounding

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        settings = self.sweep.settings
        short = {"methods": list(settings.methods), "train_seeds": len(settings.train_seeds)}
        return {
            "schema": f"{SCHEMA}/results",
            "made_with": made_with(),
            "settings": settings.as_dict() | short,
            "arrays": [array.as_dict() for array in self.sweep.arrays],
            "network": self.sweep.arch.name,
            "reference": {"choice": self.sweep.arch.reference, "accuracies": list(self.reference)},
            "tolerance": TOLERANCE,
            "methods": list(self.methods()),
            "winners": list(self.winners()),
            "searches": [row.as_dict() for row in self.found],
        }

    def tables(self) -> str:
        """A line on the reference, two Markdown tables, and notes."""
        points, seeds = f"within {100 * TOLERANCE:g} points", len(self.sweep.settings.seeds)
        reference = f"{self.sweep.arch.name}'s reference network: {100 * self.reference_accuracy:.2f} %"
        reference += f" (mean of {plural(len(self.reference), 'training')}, {_percents(self.reference)})"
        head = ["array", "method", "hypervolume", "deviation over seeds", f"cycles {points}", "seeds that reach it"]
        methods = [head]
        for row in self.methods():
            spread = "-" if seeds == 1 else f"{row['hypervolume_deviation']:.3f}"
            cycles, missed = f"{row['iso_accuracy_cycles']:.3f}", row["iso_accuracy_cycles_by_seed"].count(None)
            figures = [f"{row['hypervolume']:.3f}", spread, cycles, f"{seeds - missed} of {seeds}"]
            methods.append([row["array"], row["method"], *figures])
        head = ["array", "method", "limit", "cycles, reference = 1", "accuracy", "range over seeds", points]
        winners = [[*head, "different winners"]]
        for row in self.winners():
            figures = [f"{row['cycles_ratio']:.3f}", f"{100 * row['accuracy']:.2f} %", _percents(row["accuracy_range"])]
            figures += [f"{row['within_tolerance']} of {seeds}", str(row["different_winners"])]
            winners.append([row["array"], row["method"], row["limit"], *figures])
        mean = "a mean over search seeds, in which a seed without such a winner counts 1."
        fewest = "the fewest of a winner this close to the reference's accuracy, reference = 1"
        notes = [f"Cycles {points}: {fewest}; {mean}"]
        if any((row.share_of_target or 0) > 1 for row in self.found):
            notes.append("`flops` does not know the array and does not keep the limit.")
        return "\n\n".join([reference, markdown_table(methods), markdown_table(winners), *notes]) + "\n"


def _hypervolume(found: Sequence[SearchRow], worst: np.ndarray[Any, Any], best: np.ndarray[Any, Any]) -> float:
    import moocore  # type: ignore[import-untyped]

    points = np.array([(f.cycles_ratio, 1 - f.accuracy) for f in found])
    whole = float(np.prod(worst - best))
    return float(moocore.hypervolume(points, ref=worst)) / whole if whole > 0 else 0.0


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _percents(shares: Sequence[float]) -> str:
    return f"{100 * min(shares):.2f} to {100 * max(shares):.2f} %"


def compare(sweep: SearchSweep) -> Comparison:
    """Reads the results of a finished sweep. Raises RunError if something is still to be done."""

    def accuracies(choice: Choice, search: Task | None = None) -> tuple[float, ...]:
        return tuple(sweep.finished(task)["test_accuracy"] for task in sweep.trainings(choice, search))

    def row(method: str, task: Task) -> SearchRow:
        result, settings = sweep.finished(task), task.settings
        figures: dict[str, Any] = {name: result.get(name) for name in ("cycles", "cycles_ratio", "share_of_target")}
        figures |= {"winner": result["winner"], "accuracies": accuracies(result["winner"], task)}
        return SearchRow(size_of(task.arch.array), method, settings.limit, settings.seed, **figures)

    return Comparison(sweep, tuple(row(*each) for each in sweep.searches()), accuracies(sweep.arch.reference))
