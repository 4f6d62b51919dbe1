"""For each width of a network: the next cheaper size, the best one, and the largest at today's cycles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.advice.budget import Budget, solve
from hwcost.advice.tables import Numbers, candidates, changeable, checked, followers, number, over_each
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.network.network import Network
from hwcost.network.operations import Operation, Width
from hwcost.network.pricing import Report, network_cost

__all__ = ["Advice", "Step", "WidthAdvice", "advise"]


def _ratio(before: Numbers, after: Numbers) -> float:
    """How many times as fast; infinite where nothing is left, as on arrays that do not count their last fold."""
    return before / after if after else math.inf


@dataclass(frozen=True)
class Step:
    """Another size of a width, and what it changes.

    Attributes:
        size: the other size.
        removed: channels fewer than today.
        saved: cycles fewer than today, of all layers that follow the width.
        macs: the MACs that are lost.
        network_speed_up: of the whole network.
        layers: the cycles of every layer that follows the width, with the other size.
    """

    size: int
    removed: int
    saved: Numbers
    macs: int
    network_speed_up: float
    layers: Mapping[str, Numbers]

    @property
    def saved_per_channel(self) -> float:
        """Cycles saved per channel removed."""
        return self.saved / self.removed

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        own["network_speed_up"] = None if math.isinf(self.network_speed_up) else self.network_speed_up
        return own | {"layers": dict(self.layers), "saved_per_channel": self.saved_per_channel}


@dataclass(frozen=True)
class WidthAdvice:
    """What is to be said of one width.

    Attributes:
        name: of the width: the first layer that makes it.
        width: its size today, and what sizes may be.
        layers: the cycles of every priced layer that follows it.
        cheaper: the largest size that takes fewer cycles; None where there is none.
        best: the size, at least half of today's, that saves most cycles per channel removed.
        free: the largest size at today's cycles, not below today's.
        bound: how many of its layers each of compute, memory and overhead bounds.
    """

    name: str
    width: Width
    layers: Mapping[str, Numbers]
    cheaper: Step | None
    best: Step | None
    free: int
    bound: Mapping[str, int]

    @property
    def cycles(self) -> Numbers:
        """Of its layers together."""
        return sum(self.layers.values())

    def speed_up(self, layer: str) -> float:
        """Of one of its layers by the next cheaper size; 1 where there is none."""
        return 1.0 if self.cheaper is None else _ratio(self.layers[layer], self.cheaper.layers[layer])

    @property
    def is_memory_bound(self) -> bool:
        """Whether memory bounds all of its layers: stairs then do nothing, and cycles follow the bytes moved."""
        return self.bound.get("memory", 0) == len(self.layers)

    @property
    def remark(self) -> str:
        """What people should know before they change it; empty where there is nothing."""
        memory = self.bound.get("memory", 0)
        if self.is_memory_bound:
            return "memory-bound: the width does not help to fill the array, time follows the bytes moved"
        if memory:
            return f"{memory} of {len(self.layers)} layers are memory-bound: the width does not help there"
        return "" if self.cheaper else "no smaller size takes fewer cycles"

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        steps = {
            name: None if step is None else step.as_dict()
            for name, step in (("cheaper", self.cheaper), ("best", self.best))
        }
        return {
            "name": self.name,
            "size": self.width.size,
            "multiple": self.width.multiple,
            "free": self.free,
            **steps,
            "cycles": self.cycles,
            "layers": dict(self.layers),
            "bound": dict(self.bound),
            "remark": self.remark,
        }


@dataclass(frozen=True)
class Advice:
    """What is to be said of the widths of a network on an array.

    Attributes:
        name: of the network.
        array: the accelerator.
        total: what the network costs today.
        layers: the cycles of every priced layer today, in order.
        widths: one for each width that can change, most cycles saved per channel removed first.
        fixed: every priced layer that no width can change, with the reason.
        budget: the set of widths for a budget, where one was asked for.
        unsupported: names of operations that are missing in every figure.
        notes: what the importer had to say.
    """

    name: str
    array: SystolicArray
    total: Cost
    layers: Mapping[str, Numbers]
    widths: tuple[WidthAdvice, ...]
    fixed: Mapping[str, str]
    budget: Budget | None = None
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, width: str) -> WidthAdvice:
        return {each.name: each for each in self.widths}[width]

    @property
    def by_layer(self) -> dict[str, list[WidthAdvice]]:
        """What is to be said of each priced layer that a width can change: of those that it follows."""
        found = {layer: [each for each in self.widths if layer in each.layers] for layer in self.layers}
        return {layer: own for layer, own in found.items() if own}

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        return {
            "network": self.name,
            "array": self.array.as_dict(),
            "total": self.total.as_dict(),
            "layers": dict(self.layers),
            "widths": [each.as_dict() for each in self.widths],
            "fixed": dict(self.fixed),
            "budget": None if self.budget is None else self.budget.as_dict(),
            "unsupported": list(self.unsupported),
            "notes": list(self.notes),
        }


def advise(
    network: Network,
    array: SystolicArray,
    *,
    budget: float | None = None,
    skip_unsupported: bool = False,
    time_limit_s: float = 30.0,
) -> Advice:
    """Where a network's widths lie on the stairs of an array, and what other widths would buy.

    Args:
        network: as an importer or :meth:`hwcost.network.network.Network.of_layers` makes it.
        array: the accelerator, exact.
        budget: a share of today's cycles, below 1, to be reached at the least loss of MACs.
        skip_unsupported: leave out operations that cannot be priced, and name them, instead of raising.
        time_limit_s: after so many seconds the search for the budget's set ends with the best that it has.

    Raises:
        InvalidValueError: operations that cannot be priced, an array that is a sweep, a budget that cannot be reached.
        MissingDependencyError: a budget is asked for, and scipy is not installed.

    >>> from hwcost import Conv2d
    >>> network = Network.of_layers("one", {"conv": Conv2d(16, 65, 3, height=8, width=8, padding=1)})
    >>> width = advise(network, SystolicArray(16, 64))["conv.out_channels"]
    >>> width.cheaper.size, width.cheaper.network_speed_up, width.free
    (64, 2.0, 128)
    """
    operations = checked(network, array, skip_unsupported)
    report = network_cost(network, array, skip_unsupported=skip_unsupported)
    names = changeable(network)
    widths = [_width_advice(name, network, array, operations, report) for name in names]
    found = None if budget is None else solve(network, array, operations, budget, time_limit_s)
    return Advice(
        name=network.name,
        array=array,
        total=report.total,
        layers={name: report.layers[name].cycles for name in operations},
        widths=tuple(sorted(widths, key=_most_per_channel)),
        fixed=_fixed(network, operations),
        budget=found,
        unsupported=report.unsupported,
        notes=network.notes,
    )


def _most_per_channel(advice: WidthAdvice) -> tuple[float, str]:
    return (-advice.cheaper.saved_per_channel if advice.cheaper else 0.0, advice.name)


def _fixed(network: Network, operations: Mapping[str, Operation]) -> dict[str, str]:
    """The layers that follow no width that can change, each with the first reason."""
    reasons = {}
    for name, operation in operations.items():
        widths = [network.widths[width] for width in operation.widths]
        if all(width.fixed for width in widths):
            reasons[name] = next((width.fixed for width in widths), "its sizes follow no width of the network")
    return reasons


def _width_advice(
    name: str, network: Network, array: SystolicArray, operations: Mapping[str, Operation], report: Report
) -> WidthAdvice:
    width, own = network.widths[name], followers(operations, name)
    # a fold more begins within one array length of what is allowed; groups share the channels, and are in the multiple
    most = width.size + (max(array.rows, array.cols) + 1) * width.multiple
    sizes = candidates(width.size, width.multiple, most)
    tables = over_each(own, network, array, {name: sizes})
    cycles, macs = (np.sum([table[i] for table in tables.values()], axis=0) for i in (0, 1))
    today = int(np.searchsorted(sizes, width.size))
    costs = {layer: report.layers[layer] for layer in own}
    bounds = [cost.bound for cost in costs.values()]

    def step(index: int) -> Step:
        saved = number(cycles[today] - cycles[index])
        return Step(
            size=int(sizes[index]),
            removed=width.size - int(sizes[index]),
            saved=saved,
            macs=int(macs[today] - macs[index]),
            network_speed_up=_ratio(report.total.cycles, report.total.cycles - saved),
            layers={layer: number(table[0][index]) for layer, table in tables.items()},
        )

    below = np.flatnonzero(cycles[:today] < cycles[today])
    halved = below[2 * sizes[below] >= width.size]
    rates = (cycles[today] - cycles[halved]) / (width.size - sizes[halved])
    same = today + int(np.argmin(np.append(cycles[today:] == cycles[today], False))) - 1
    return WidthAdvice(
        name=name,
        width=width,
        layers={layer: cost.cycles for layer, cost in costs.items()},
        cheaper=step(int(below[-1])) if len(below) else None,
        best=step(int(halved[np.flatnonzero(rates == rates.max())[-1]])) if len(halved) else None,
        free=int(sizes[same]),
        bound={bound: bounds.count(bound) for bound in dict.fromkeys(bounds)},
    )
