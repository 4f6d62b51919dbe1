"""What a run found, as values: the same in Python as in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import tomli_w
from torch import Tensor

from hwcost import Report, SystolicArray, network_cost
from nas_plugin.arch_def import ArchDef
from nas_plugin.networks import Network
from nas_plugin.settings import Settings
from nas_plugin.targets import Target

__all__ = ["Outcome", "SearchResult", "array_dict", "result_from", "winner_toml"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A network that was trained to completion.

    Attributes:
        choice: its sizes.
        network: itself, trained.
        test_accuracy: on the test images, which it met once.
    """

    choice: dict[str, int]
    network: Network
    test_accuracy: float

    @classmethod
    def rebuilt(
        cls, arch: ArchDef, *, choice: dict[str, int], weights: Mapping[str, Tensor], test_accuracy: float
    ) -> Outcome:
        """From sizes and weights."""
        network = Network(arch, choice)
        network.load_state_dict(weights)
        return cls(dict(choice), network, test_accuracy)

    def weights(self) -> bytes:
        """The weights as the content of a safetensors file."""
        state = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        content: bytes = safetensors.torch.save(state)
        return content


@dataclass(frozen=True)
class SearchResult:
    """What a run found.

    Attributes:
        arch: the search space on its array.
        settings: of the run.
        derived: the network that the search chose.
        winner: that choice with its free capacity used, trained; and ``reference``: LeNet-5, trained the same way.
        log: a record for each epoch of each stage.
        made_with: versions and device.
    """

    arch: ArchDef
    settings: Settings
    derived: dict[str, int]
    winner: Outcome
    reference: Outcome
    log: list[Record]
    made_with: Mapping[str, str]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """Winner and reference by name."""
        return {"winner": self.winner, "reference": self.reference}

    @property
    def rounded(self) -> dict[str, tuple[int, int]]:
        """Widths that grew at equal cycles: from, to."""
        return {
            name: (self.derived[name], size) for name, size in self.winner.choice.items() if size != self.derived[name]
        }

    def cost(self, outcome: Outcome) -> Report:
        """The exact cost of a network on the run's array."""
        return network_cost(self.arch.space.at(outcome.choice), self.arch.array)

    @property
    def cycles_ratio(self) -> float:
        """Exact cycles of the winner in units of the reference's."""
        return float(self.cost(self.winner).total.cycles / self.cost(self.reference).total.cycles)

    @property
    def target_cycles(self) -> float | None:
        """What the winner was allowed to take; None without a target."""
        target = self.settings.target
        return None if target is None else Target.parse(target).cycles(self.arch)

    @property
    def largest_alphas(self) -> float | None:
        """Exact cycles of the largest alphas at the end of "darts", reference = 1; None of other methods.

        With a target the network is the most probable one within it. How far these are from the target says how far the
        search itself had come.
        """
        ends = [record["exact_latency"] for record in self.log if "exact_latency" in record]
        return float(ends[-1]) if ends else None

    def _target(self) -> dict[str, Any] | None:
        if (limit := self.target_cycles) is None:
            return None
        share = float(self.cost(self.winner).total.cycles) / limit
        return {"cycles": limit, "share_of_target": share, "largest_alphas_cycles_ratio": self.largest_alphas}

    def as_dict(self) -> dict[str, Any]:
        """Everything but weights and log, for JSON."""
        return {
            "schema": "nas_plugin.result/1",
            "made_with": dict(self.made_with),
            "seed": self.settings.seed,
            "settings": self.settings.as_dict(),
            "network": self.arch.name,
            "array": array_dict(self.arch.array),
            "derived": self.derived,
            "rounded_up": {name: list(ends) for name, ends in self.rounded.items()},
            "cycles_ratio": self.cycles_ratio,
            "target": self._target(),
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


def array_dict(array: SystolicArray) -> dict[str, Any]:
    """The array by its constructor's names; those left at their default are left out."""
    return array.as_dict()


def result_from(
    arch: ArchDef,
    settings: Settings,
    derived: dict[str, int],
    outcomes: Mapping[str, Outcome],
    log: list[Record],
    made_with: Mapping[str, str],
) -> SearchResult:
    """The result of a run all of whose stages are done."""
    return SearchResult(arch, settings, dict(derived), outcomes["winner"], outcomes["reference"], log, made_with)


def winner_toml(result: SearchResult) -> str:
    """The winner as a file that people read: sizes, exact cost and accuracy beside the reference's."""
    content = result.as_dict()
    keys = ("test_accuracy", "cycles", "seconds", "utilization", "macs", "parameters")
    document = {
        "schema": "nas_plugin.winner/1",
        "network": content["network"],
        "seed": content["seed"],
        "array": content["array"],
        "choice": content["winner"]["choice"],
        "winner": {key: content["winner"][key] for key in keys},
        "reference": {key: content["reference"][key] for key in keys},
        "made_with": content["made_with"],
    }
    return tomli_w.dumps(document)
