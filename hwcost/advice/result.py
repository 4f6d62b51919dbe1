"""Advice as values: other sizes of a width and what they change, for each width of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hwcost.advice.budget import Budget
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.shown import document_of
from hwcost.advice.tables import Numbers
from hwcost.devices.measured import legend, withheld
from hwcost.errors import look_up
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.network.operations import AN_INPUT, AN_OUTPUT, Width
from hwcost.network.run import RUN
from hwcost.network.space import not_a_width
from hwcost.tables import Document, Facts, Records
from hwcost.units import be, number, percent, plural, printable

__all__ = ["Advice", "Faster", "Step", "WidthAdvice", "ratio"]


def ratio(before: Numbers, after: Numbers) -> float:
    """The speed-up; infinite if nothing is left, as on arrays that do not count their last fold."""
    return before / after if after else math.inf


@dataclass(frozen=True, repr=False)
class Step(Facts):
    """Another size of a width, and what it changes.

    Attributes:
        size: the other size.
        removed: channels removed.
        saved: cycles saved, over all layers that follow the width.
        macs: MACs lost.
        network_speed_up: of the whole network.
        layers: the cycles of every layer that follows the width, at this size.
        extrapolated: whether one of these layers is beyond what a calibrated device was measured with, today or at
            this size; None if the device was not fitted.
    """

    size: int
    removed: int
    saved: Numbers
    macs: int
    network_speed_up: float
    layers: Mapping[str, Numbers]
    extrapolated: bool | None = None

    @property
    def in_words(self) -> str:
        """The size, what it gains and what it loses, on one line."""
        return f"to {number(self.size)}: network {self.network_speed_up:.3f}x, {number(self.macs)} MACs fewer"

    def facts(self) -> dict[str, str]:
        """What it changes; costs are in the measure of the advice, cycles by default."""
        return {
            "size": number(self.size),
            "removed": number(self.removed),
            "network": f"{self.network_speed_up:.3f}x",
            "MACs": f"{number(self.macs)} fewer",
            "layers": ", ".join(map(printable, self.layers)),
        }

    @property
    def saved_per_channel(self) -> float:
        """Cycles saved per channel removed."""
        return self.saved / self.removed

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        speed_up = None if math.isinf(self.network_speed_up) else self.network_speed_up
        return asdict(self) | {"network_speed_up": speed_up, "saved_per_channel": self.saved_per_channel}


@dataclass(frozen=True, repr=False)
class WidthAdvice(Facts):
    """The advice on one width.

    Attributes:
        name: of the width.
        width: its size today, and what sizes it may take.
        layers: the cycles of every priced layer that follows it.
        cheaper: the largest size that takes fewer cycles, if any.
        best: the size of at least half of today's that saves most cycles per channel removed, if any saves some.
        free: the largest size at today's cycles.
        bound: the number of its layers that each of compute, memory and overhead bounds.
    """

    name: str
    width: Width
    layers: Mapping[str, Numbers]
    cheaper: Step | None
    best: Step | None
    free: int
    bound: Mapping[str, int]

    @property
    def in_words(self) -> str:
        """The width, the better size and what that gains, on one line."""
        free = f"; free up to {number(self.free)}" if self.free > self.width.size else ""
        step = "no smaller size takes less" if self.better is None else self.better.in_words
        return f"{self.name}: {number(self.width.size)} {step}{free}"

    def facts(self) -> dict[str, str]:
        """What is known of the width: sizes, what the better one changes, and the layers that follow it."""
        step = self.better
        saves = (
            {}
            if step is None
            else {
                "to": number(step.size),
                "saves": f"{percent(step.saved / self.cycles)} % of its layers" if self.cycles else "nothing",
                "network": f"{step.network_speed_up:.3f}x",
                "MACs": f"{number(step.macs)} fewer",
            }
        )
        more = {} if self.cheaper is None else {"next": number(self.cheaper.size)}
        facts = {"size": number(self.width.size), **saves, **more, "free up to": number(self.free)}
        facts |= {"layers": ", ".join(map(printable, self.layers)), "remark": self.remark}
        return {name: text for name, text in facts.items() if text}

    @property
    def better(self) -> Step | None:
        """The step that saves most per channel; the next cheaper size if that is none of at least half of today's."""
        return self.best or self.cheaper

    def record(self, measure: str) -> dict[str, Any]:
        """The advice as flat data; costs are in ``measure``."""
        step, next_step = self.better, self.cheaper
        return {
            "width": self.name,
            "size": self.width.size,
            "multiple": self.width.multiple,
            "free": self.free,
            "to": None if step is None else step.size,
            "extrapolated": None if step is None else step.extrapolated,
            f"saved_{measure}": 0 if step is None else step.saved,
            "saved_per_channel": 0 if step is None else step.saved_per_channel,
            "network_speed_up": 1 if step is None else step.network_speed_up,
            "macs_lost": 0 if step is None else step.macs,
            "cheaper": None if next_step is None else next_step.size,
            f"saved_{measure}_by_cheaper": 0 if next_step is None else next_step.saved,
            "layers": len(self.layers),
            measure: self.cycles,
            "remark": self.remark,
        }

    @property
    def cycles(self) -> Numbers:
        """The total cycles of its layers."""
        return sum(self.layers.values())

    def speed_up(self, layer: str) -> float:
        """The speed-up of one of its layers at the better size; 1 if no size is cheaper."""
        return 1.0 if self.better is None else ratio(self.layers[layer], self.better.layers[layer])

    @property
    def is_memory_bound(self) -> bool:
        """Whether memory bounds all of its layers: then cycles follow the bytes moved, without stairs."""
        return self.bound.get("memory", 0) == len(self.layers)

    @property
    def remark(self) -> str:
        """What to know before changing the width; empty if there is nothing."""
        memory = self.bound.get("memory", 0)
        if self.is_memory_bound:
            return "memory-bound: time follows the bytes moved, not how full the array is"
        if memory:
            return (
                f"{memory} of {len(self.layers)} layers {be(memory)} memory-bound: there time follows the bytes moved"
            )
        return "" if self.cheaper else "no smaller size takes fewer cycles"

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        return {
            "name": self.name,
            "size": self.width.size,
            "multiple": self.width.multiple,
            "free": self.free,
            "cheaper": self.cheaper and self.cheaper.as_dict(),
            "best": self.best and self.best.as_dict(),
            "cycles": self.cycles,
            "layers": dict(self.layers),
            "bound": dict(self.bound),
            "remark": self.remark,
        }


@dataclass(frozen=True)
class Faster:
    """The same network on the same machine with another dataflow.

    Attributes:
        dataflow: its name.
        cost: of the network, in the measure of the advice.
        ratio: how many times less that is.
    """

    dataflow: str
    cost: Numbers
    ratio: float


@dataclass(frozen=True, repr=False)
class Advice(Records):
    """The advice on the widths of a network on an array: prints as a table, and iterates over widths.

    Cycles are seconds or joules where costs are counted in them.

    Attributes:
        name: of the network.
        array: the accelerator, or the table of measured costs.
        total: what the network costs today.
        layers: the cycles of every priced layer today, in order.
        widths: one per width that can change, most cycles saved per channel removed first.
        fixed: for every priced layer the sides that cannot change, ``input`` or ``output``, each with the reason.
        budget: the widths that fit the budget, if one was given.
        unsupported: the names of operations that every figure leaves out.
        notes: of the network.
        measured: the name of the calibrated device; empty for an array that was not fitted to measurements.
        beyond: for each layer beyond what it was measured with, why.
        extrapolated_share: their share of the time; None if nothing was measured.
        seconds_90: the ends between which the latency today lies with 90 %, on a calibrated device as it was fitted.
        extrapolate: whether a total of which more than half is beyond what was measured is among the figures.
        measure: what costs are counted in: "cycles", "seconds" or "energy_joules".
        buffers: for each layer that reads operands more than once, the bytes of a shared buffer with which it reads
            each once, by what it reads again, most first; empty on a machine without buffers.
        faster: another dataflow with which the network takes clearly less, if there is one; on calibrated devices and
            tables of costs nothing is known of others.
        multiple: that all new sizes are multiples of.
        is_open: whether only widths that are open to choice change, and only to their options.
        label: the machine in words.
    """

    name: str
    array: SystolicArray | MeasuredCosts
    total: Cost
    layers: Mapping[str, Numbers]
    widths: tuple[WidthAdvice, ...]
    fixed: Mapping[str, Mapping[str, str]]
    budget: Budget | None = None
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measured: str = ""
    beyond: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extrapolated_share: float | None = None
    seconds_90: tuple[float, float] | None = None
    extrapolate: bool = False
    measure: str = "cycles"
    buffers: Mapping[str, float] = field(default_factory=dict)
    faster: Faster | None = None
    multiple: int = 1
    is_open: bool = False
    label: str = ""

    def document(self) -> Document:
        """A row for each width, with the step that saves most per channel."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """The advice on one line."""
        return f"{self.document().heading}; {plural(len(self.widths), 'width')} can change"

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each width, as ``hwcost advise --csv`` has them: ``taken`` is the size within the budget."""
        taken = {} if self.budget is None else self.budget.sizes
        return [each.record(self.measure) | {"taken": taken.get(each.name, each.width.size)} for each in self.widths]

    def __len__(self) -> int:
        return len(self.widths)

    def __iter__(self) -> Iterator[WidthAdvice]:
        return iter(self.widths)

    def __contains__(self, width: object) -> bool:
        return any(each.name == width for each in self.widths)

    def __getitem__(self, width: str) -> WidthAdvice:
        found = {each.name: each for each in self.widths}
        if width not in found and width in self.layers:
            followed = [name for name, each in found.items() if width in each.layers]
            raise not_a_width(width, followed, f"width {width!r}")
        return look_up(found, width, "the advice", "width", "advice.widths")

    @property
    def withheld(self) -> str:
        """Why there is no total; empty if there is one."""
        return "" if self.extrapolate else withheld(self.extrapolated_share)

    @property
    def legend(self) -> str:
        """What is beyond what the device was measured with, in words; empty if nothing is."""
        return legend(self.measured, len({*self.layers, *self.beyond} - ({RUN} - self.beyond.keys())), self.beyond)

    def fixed_for_people(self) -> Iterator[tuple[str, str, list[str]]]:
        """Layers whose sides cannot change, with a reason and the sides that have it.

        An end of the network goes without saying if the other side can.
        """
        changeable = self.by_layer
        for name, sides in self.fixed.items():
            for reason in dict.fromkeys(sides.values()):
                if reason not in (AN_INPUT, AN_OUTPUT) or name not in changeable:
                    yield name, reason, [side for side in sides if sides[side] == reason]

    @property
    def by_layer(self) -> dict[str, list[WidthAdvice]]:
        """For each priced layer that can change, the advice on the widths that it follows."""
        found = {layer: [each for each in self.widths if layer in each.layers] for layer in self.layers}
        return {layer: own for layer, own in found.items() if own}

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        return {
            "network": self.name,
            "array": self.array.as_dict(),
            "measure": self.measure,
            "total": None if self.withheld else self.total.as_dict(),
            "total_withheld": self.withheld or None,
            "seconds_90": None if self.withheld else self.seconds_90,
            "extrapolated_share": self.extrapolated_share,
            "beyond": {name: list(sentences) for name, sentences in self.beyond.items()},
            "layers": dict(self.layers),
            "widths": [each.as_dict() for each in self.widths],
            "buffers": dict(self.buffers),
            "faster": self.faster and asdict(self.faster),
            "fixed": {layer: dict(sides) for layer, sides in self.fixed.items()},
            "budget": self.budget and self.budget.as_dict(),
            "unsupported": list(self.unsupported),
            "notes": list(self.notes),
        }
