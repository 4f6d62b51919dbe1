"""What a pruning did: before and after, layer by layer, and what was left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hwcost.model.cost import Cost
from hwcost.pruning.batches import Measured
from hwcost.tables import text_table
from hwcost.units import TIMES, exact, in_unit

__all__ = ["PrunedLayer", "PruningReport", "Stage"]


class PrunedLayer(NamedTuple):
    """A priced layer before and after."""

    name: str
    before: Cost
    after: Cost
    shapes: tuple[str, str]


class Stage(NamedTuple):
    """Loss and accuracy on the held-out examples at one point of the work."""

    name: str
    measured: Measured


@dataclass
class PruningReport:
    """What a pruning did.

    Attributes:
        name: of the network.
        array: the accelerator, in words.
        asked: the limit, as it was given.
        limit: in cycles.
        floor: the cycles with every width at its least size: what no widths can save.
        before, after: the cost of the network, the second one priced anew from the new module.
        parameters: the number of parameters before and after.
        sizes: for every width that changed its size before and after.
        layers: before and after.
        left_alone: the widths that did not change, each with the reason.
        stages: loss and accuracy on the held-out examples.
        gap: what any other sizes within the limit could be worth in addition at most, as a share; by the values that
            were used, which are no accuracies.
        notes: what else to know.
        settings: of the pruning, with the version and the device.
    """

    name: str
    array: str
    asked: str
    limit: float
    floor: float
    before: Cost
    after: Cost
    parameters: tuple[int, int]
    sizes: Mapping[str, tuple[int, int]]
    layers: tuple[PrunedLayer, ...]
    left_alone: Mapping[str, str]
    gap: float
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> float:
        """The share of the limit that is used."""
        return float(self.after.cycles) / self.limit

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The report for people."""
        before, after = self.before, self.after
        share = float(after.cycles) / float(before.cycles)
        yield f"{self.name} on {self.array}"
        floor = self.floor / float(before.cycles)
        yield f"floor: with every width at its least size {floor:.2%} of the cycles are left; no widths save more"
        yield f"limit: {self.asked}, {exact(self.limit)} cycles; used {self.used:.2%} of it"
        for note in self.notes:
            yield f"note: {note}"
        yield ""
        rows = [
            ("cycles", exact(before.cycles), exact(after.cycles), f"{share:.2%}"),
            ("time", in_unit(float(before.seconds), TIMES, 4), in_unit(float(after.seconds), TIMES, 4), f"{share:.2%}"),
            ("MACs", exact(before.macs), exact(after.macs), f"{float(after.macs) / float(before.macs):.2%}"),
            ("parameters", *map(exact, self.parameters), f"{self.parameters[1] / self.parameters[0]:.2%}"),
            ("utilization", f"{float(before.utilization):.2%}", f"{float(after.utilization):.2%}", ""),
        ]
        yield from text_table(["", "before", "after", "left"], rows)
        if self.stages:
            yield ""
            scored = any(stage.measured.accuracy is not None for stage in self.stages)
            titles = ["held-out examples", "loss", *(["accuracy"] if scored else [])]
            yield from text_table(titles, [_stage_row(stage, scored) for stage in self.stages])
        yield ""
        widths = [(name, str(old), str(new), f"{new / old:.2%}") for name, (old, new) in self.sizes.items()]
        yield from text_table(["width", "before", "after", "stays"], widths)
        yield ""
        layers = [
            (each.name, *each.shapes, exact(each.before.cycles), exact(each.after.cycles),
             f"{float(each.before.utilization):.1%}", f"{float(each.after.utilization):.1%}")
            for each in self.layers
        ]  # fmt: skip
        titles = ["layer", "shape", "after", "cycles", "after", "utilization", "after"]
        yield from text_table(titles, layers)
        if self.left_alone:
            yield ""
            yield from text_table(["left alone", "why"], list(self.left_alone.items()))

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "network": self.name,
            "array": self.array,
            "asked": self.asked,
            "limit_cycles": self.limit,
            "floor_cycles": self.floor,
            "used_share_of_limit": self.used,
            "before": self.before.as_dict() | {"parameters": self.parameters[0]},
            "after": self.after.as_dict() | {"parameters": self.parameters[1]},
            "widths": {name: {"before": old, "after": new} for name, (old, new) in self.sizes.items()},
            "layers": [
                {"name": each.name, "before": each.before.as_dict(), "after": each.after.as_dict()}
                for each in self.layers
            ],
            "left_alone": dict(self.left_alone),
            "stages": [{"name": each.name, **each.measured._asdict()} for each in self.stages],
            "gap": self.gap,
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }


def _stage_row(stage: Stage, scored: bool) -> tuple[str, ...]:
    accuracy = stage.measured.accuracy
    shown = () if not scored else ("-" if accuracy is None else f"{accuracy:.2%}",)
    return (stage.name, f"{stage.measured.loss:.4f}", *shown)
