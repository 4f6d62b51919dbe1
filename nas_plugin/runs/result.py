"""What a run found, as values: the same in Python as in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from hwcost import Report, network_cost
from hwcost.pruning.weights import saved_weights
from hwcost.tables import Document, Facts, Shown
from hwcost.units import number, percent
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record
from nas_plugin.runs.folders import save
from nas_plugin.runs.shown import document_of
from nas_plugin.runs.sweep import SearchSweep
from nas_plugin.runs.task import read_weights
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.networks import TrainableNetwork

__all__ = ["Outcome", "SearchResult", "result_of", "write_result"]


@dataclass(frozen=True, repr=False)
class Outcome(Facts):
    """A network that was trained to completion.

    Attributes:
        choice: its sizes.
        network: the trained network.
        test_accuracy: on the test images, evaluated once.
    """

    choice: dict[str, int]
    network: TrainableNetwork
    test_accuracy: float

    @property
    def in_words(self) -> str:
        """The accuracy and the sizes on one line."""
        sizes = ", ".join(f"{name} {size}" for name, size in self.choice.items())
        return f"{percent(self.test_accuracy)} % of the test images; {sizes}"

    def facts(self) -> dict[str, str]:
        """The accuracy, the number of parameters, and the sizes."""
        return {
            "test accuracy": f"{percent(self.test_accuracy)} %",
            "parameters": number(self.network.parameter_count),
            **{name: number(size) for name, size in self.choice.items()},
        }


@dataclass(frozen=True, repr=False)
class SearchResult(Shown):
    """What a run found; prints as ``nas-plugin search`` does.

    Attributes:
        arch: the search space on its array.
        settings: of the run.
        derived: the network that the search chose.
        winner: that choice with its free capacity used, trained; and ``reference``: LeNet-5, trained in the same way.
        log: a record for each epoch of each stage.
        made_with: versions and device.
    """

    arch: ArchDef
    settings: SearchSettings
    derived: dict[str, int]
    winner: Outcome
    reference: Outcome
    log: list[Record]
    made_with: Mapping[str, str]

    def document(self) -> Document:
        """Winner and reference side by side, and what the winner takes of the limit."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """What the winner takes and reaches on one line."""
        points = 100 * (self.winner.test_accuracy - self.reference.test_accuracy)
        return (
            f"{self.arch.name}: {self.cycles_ratio:.3f} of the reference's cycles at {points:+.1f} points of accuracy"
        )

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """Winner and reference by name."""
        return {"winner": self.winner, "reference": self.reference}

    @property
    def rounded(self) -> dict[str, tuple[int, int]]:
        """Widths that grew at equal cycles: from, to."""
        sizes = self.winner.choice.items()
        return {name: (self.derived[name], size) for name, size in sizes if size != self.derived[name]}

    def cost(self, outcome: Outcome) -> Report:
        """The exact cost of a network on the run's array."""
        return network_cost(self.arch.space.at(outcome.choice), self.arch.array)

    @property
    def cycles_ratio(self) -> float:
        """Exact cycles of the winner in units of the reference's."""
        return float(self.cost(self.winner).total.cycles / self.cost(self.reference).total.cycles)

    @property
    def target_cycles(self) -> float | None:
        """The limit on the winner's cycles; None without a target."""
        target = self.settings.target
        return None if target is None else self.arch.limit(target)

    @property
    def largest_alphas(self) -> float | None:
        """Exact cycles of the largest alphas at the end of "darts", reference = 1; None for other methods.

        With a target the network is the most probable one within it; this shows where the search itself ended.
        """
        ends = [record["exact_latency"] for record in self.log if "exact_latency" in record]
        return float(ends[-1]) if ends else None

    def as_dict(self) -> dict[str, Any]:
        """Everything but weights and log, for JSON."""
        target = None
        if (limit := self.target_cycles) is not None:
            share = float(self.cost(self.winner).total.cycles) / limit
            target = {"cycles": limit, "share_of_target": share, "largest_alphas_cycles_ratio": self.largest_alphas}
        return {
            "schema": "nas_plugin.result/1",
            "made_with": dict(self.made_with),
            "seed": self.settings.seed,
            "settings": self.settings.as_dict(),
            "network": self.arch.name,
            "array": self.arch.array.as_dict(),
            "derived": self.derived,
            "rounded_up": {name: list(ends) for name, ends in self.rounded.items()},
            "cycles_ratio": self.cycles_ratio,
            "target": target,
            **{name: self._outcome(outcome) for name, outcome in self.outcomes.items()},
        }

    def _outcome(self, outcome: Outcome) -> dict[str, Any]:
        report = self.cost(outcome)
        return {
            "choice": outcome.choice,
            "test_accuracy": outcome.test_accuracy,
            "parameters": outcome.network.parameter_count,
            **report.total.as_dict(),
            "cycles_by_layer": {name: cost.cycles for name, cost in report.layers.items()},
        }


def result_of(run: SearchSweep) -> SearchResult:
    """The result of a finished run. Raises RunError for a sweep of several, or a run that has not ended."""
    search = run.only_search()
    found = run.finished(search)
    tasks = {"winner": run.trainings(found["winner"], search)[0], "reference": run.trainings(run.arch.reference)[0]}
    outcomes = {}
    for stage, task in tasks.items():
        content = run.finished(task)
        network = TrainableNetwork(run.arch, content["choice"])
        network.load_state_dict(read_weights(task))
        outcomes[stage] = Outcome(content["choice"], network, content["test_accuracy"])
    log = [{"stage": stage} | record for stage, task in {"search": search, **tasks}.items() for record in task.log()]
    return SearchResult(search.arch, search.settings, found["derived"], **outcomes, log=log, made_with=run.made_with)


def write_result(path: Path, result: SearchResult) -> None:
    """Writes what people look for in a finished run: result.json, winner.toml, log.jsonl and the weights."""
    content = result.as_dict()
    keys = ("test_accuracy", "cycles", "seconds", "utilization", "macs", "parameters")
    winner = {"schema": "nas_plugin.winner/1"} | {name: content[name] for name in ("network", "seed", "array")}
    winner |= {"choice": result.winner.choice, "made_with": content["made_with"]}
    winner |= {name: {key: content[name][key] for key in keys} for name in result.outcomes}
    save(path / "result.json", content)
    save(path / "winner.toml", tomli_w.dumps(winner).encode())
    save(path / "log.jsonl", result.log)
    for stage, outcome in result.outcomes.items():
        save(path / f"{stage}.safetensors", saved_weights(outcome.network))
