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
        limit: in cycles, or in seconds if ``measure`` says so.
        floor: the same with every width at its least size, or at the cheapest sizes measured: what no widths can save.
        before, after: the cost of the network, the second one priced anew from the new module.
        parameters: the number of parameters before and after.
        sizes: for every width that changed its size before and after.
        layers: before and after.
        left_alone: the widths that did not change, each with the reason.
        stages: loss and accuracy on the held-out examples.
        gap: what any other sizes within the limit could be worth in addition at most, as a share; by the values that
            were used, which are no accuracies. None if no bound is known.
        notes: what else to know.
        settings: of the pruning, with the version and the device.
        measure: what the limit is in: "cycles", or "seconds" where a table of measured costs has times.
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
    gap: float | None
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)
    measure: str = "cycles"

    @property
    def used(self) -> float:
        """The share of the limit that is used."""
        return self._figure(self.after) / self.limit

    def _figure(self, cost: Cost) -> float:
        return float(getattr(cost, self.measure))

    def _text(self, figure: Any) -> str:
        return in_unit(figure, TIMES, 4) if self.measure == "seconds" else exact(figure)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The report for people."""
        before, after, text = self.before, self.after, self._text
        share = self._figure(after) / self._figure(before)
        is_timed, of_array = self.measure == "seconds", bool(before.pe_cycles)
        unit, whole = ("", "time") if is_timed else (" cycles", "cycles")
        yield f"{self.name} on {self.array}"
        least = "with every width at its least size" if of_array else "at the cheapest sizes measured"
        yield f"floor: {least} {self.floor / self._figure(before):.2%} of the {whole} are left; no widths save more"
        yield f"limit: {self.asked}, {text(self.limit)}{unit}; used {self.used:.2%} of it"
        for note in self.notes:
            yield f"note: {note}"
        yield ""
        macs = f"{float(after.macs) / float(before.macs):.2%}"
        rows = [
            ("MACs", exact(before.macs), exact(after.macs), macs),
            ("parameters", *map(exact, self.parameters), f"{self.parameters[1] / self.parameters[0]:.2%}"),
        ]
        if before.seconds:
            rows.insert(
                0, ("time", *(in_unit(float(each.seconds), TIMES, 4) for each in (before, after)), f"{share:.2%}")
            )
        if not is_timed:
            rows.insert(0, ("cycles", exact(before.cycles), exact(after.cycles), f"{share:.2%}"))
        if of_array:
            rows.append(("utilization", f"{float(before.utilization):.2%}", f"{float(after.utilization):.2%}", ""))
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
        titles = ["layer", "shape", "after", whole, "after", *(["utilization", "after"] if of_array else [])]
        yield from text_table(titles, [self._layer_row(each, of_array) for each in self.layers])
        if self.left_alone:
            yield ""
            yield from text_table(["left alone", "why"], list(self.left_alone.items()))

    def _layer_row(self, layer: PrunedLayer, of_array: bool) -> tuple[str, ...]:
        of_both = layer.before, layer.after
        shares = [f"{float(each.utilization):.1%}" for each in of_both] if of_array else []
        figures = [getattr(each, self.measure) for each in of_both]
        texts = [self._text(each) if each or of_array else "-" for each in figures]  # not in the table
        return (layer.name, *layer.shapes, *texts, *shares)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "network": self.name,
            "array": self.array,
            "asked": self.asked,
            "measure": self.measure,
            f"limit_{self.measure}": self.limit,
            f"floor_{self.measure}": self.floor,
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
