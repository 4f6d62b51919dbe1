"""For each width of a network: the next cheaper size, the best one, and the largest at today's cycles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwcost.advice.budget import Budget, solve
from hwcost.advice.measured import LARGEST_SIDE, MeasuredCosts
from hwcost.advice.tables import (
    Allowed,
    CostSource,
    Numbers,
    candidates,
    changeable,
    check_source,
    cost_report,
    followers,
    measure_of,
    number,
    over_each,
)
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.model.cost import Cost
from hwcost.network.network import Network
from hwcost.network.operations import Operation, Width
from hwcost.network.pricing import Report
from hwcost.network.space import not_a_width

__all__ = ["Advice", "Step", "WidthAdvice", "advise"]


MOST_AHEAD = 4096
MOST_CHANNELS = 2**50
NEUTRAL = {"multiple": 1, "least": 0}


def _ratio(before: Numbers, after: Numbers) -> float:
    """The speed-up; infinite if nothing is left, as on arrays that do not count their last fold."""
    return before / after if after else math.inf


@dataclass(frozen=True)
class Step:
    """Another size of a width, and what it changes.

    Attributes:
        size: the other size.
        removed: channels removed.
        saved: cycles saved, over all layers that follow the width.
        macs: MACs lost.
        network_speed_up: of the whole network.
        layers: the cycles of every layer that follows the width, at this size.
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
        """All fields and derived figures as plain values."""
        speed_up = None if math.isinf(self.network_speed_up) else self.network_speed_up
        return asdict(self) | {"network_speed_up": speed_up, "saved_per_channel": self.saved_per_channel}


@dataclass(frozen=True)
class WidthAdvice:
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
    def cycles(self) -> Numbers:
        """The total cycles of its layers."""
        return sum(self.layers.values())

    def speed_up(self, layer: str) -> float:
        """The speed-up of one of its layers at the next cheaper size; 1 if no size is cheaper."""
        return 1.0 if self.cheaper is None else _ratio(self.layers[layer], self.cheaper.layers[layer])

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
            return f"{memory} of {len(self.layers)} layers are memory-bound: the width does not help there"
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
class Advice:
    """The advice on the widths of a network on an array.

    Cycles are seconds where the costs were measured in seconds.

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
    """

    name: str
    array: CostSource
    total: Cost
    layers: Mapping[str, Numbers]
    widths: tuple[WidthAdvice, ...]
    fixed: Mapping[str, Mapping[str, str]]
    budget: Budget | None = None
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, width: str) -> WidthAdvice:
        found = {each.name: each for each in self.widths}
        if width not in found and width in self.layers:
            followed = [name for name, each in found.items() if width in each.layers]
            raise not_a_width(width, followed, f"width {width!r}")
        check_one_of("the advice", width, found, what="width")
        return found[width]

    @property
    def measure(self) -> str:
        """What costs are counted in: "cycles", or "seconds"."""
        return measure_of(self.array)

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
            "total": self.total.as_dict(),
            "layers": dict(self.layers),
            "widths": [each.as_dict() for each in self.widths],
            "fixed": {layer: dict(sides) for layer, sides in self.fixed.items()},
            "budget": self.budget and self.budget.as_dict(),
            "unsupported": list(self.unsupported),
            "notes": list(self.notes),
        }


def advise(
    network: Network,
    array: CostSource | str,
    *,
    budget: float | None = None,
    skip_unsupported: bool = False,
    multiple: int = 1,
    least: float = 0.0,
    keep: Iterable[str] = (),
    value: Mapping[str, Sequence[float]] | None = None,
    effort: int = 300_000,
) -> Advice:
    """Where a network's widths lie on the stairs of an array, and what other widths would save.

    Args:
        network: as an importer or :meth:`hwcost.network.network.Network.of_layers` makes it. If some of its widths are
            open (:meth:`hwcost.network.network.Network.space`), only these change, and only to their options.
        array: the accelerator, or the name of a device; or :class:`MeasuredCosts`, with which widths take only sizes
            that were measured.
        budget: a share of today's cycles, below 1; finds the widths that fit it at the least loss of MACs.
        skip_unsupported: leave out operations that cannot be priced, and list them, instead of raising.
        multiple: all new sizes are multiples of this number.
        least: all new sizes are at least this share of today's. Open widths take neither of the two.
        keep: widths that stay as they are.
        value: what the budget keeps instead of MACs: for each width that may change the value of every size from 1 to
            today's, which does not fall with the size. Widths without values stay as they are.
        effort: the most partial solutions that the budget's solver keeps at a time. Where it has to leave some out, the
            widths may not be the best ones; its ``gap`` bounds what is lost.

    Raises:
        InvalidValueError: unsupported operations, an array that is a sweep, a table of costs of another network, a
            budget that no widths fit.

    >>> from hwcost import Conv2d, SystolicArray
    >>> network = Network.of_layers("one", {"conv": Conv2d(16, 65, 3, height=8, width=8, padding=1)})
    >>> width = advise(network, SystolicArray(16, 64))["conv.out_channels"]
    >>> width.cheaper.size, width.cheaper.network_speed_up, width.free
    (64, 2.0, 128)
    """
    array = check_source(network, array, skip_unsupported=skip_unsupported)
    allowed = Allowed.checked(multiple, least, keep)
    for field, given in (("multiple", multiple), ("least", least)):
        if given > NEUTRAL[field] and network.options:
            raise InvalidValueError(field, given, "leave it out", reason="open widths change only to their options")
    if value is not None and budget is None:
        raise InvalidValueError("value", value, "add a budget, or leave it out", reason="it is for a budget")
    operations = network.priced
    report = cost_report(network, array, skip_unsupported=skip_unsupported)
    widths = [
        _width_advice(name, network, array, operations, report, allowed) for name in changeable(network, allowed.keep)
    ]
    widths.sort(key=lambda each: (-each.cheaper.saved_per_channel if each.cheaper else 0.0, each.name))
    return Advice(
        name=network.name,
        array=array,
        total=report.total,
        layers={name: getattr(report.layers[name], measure_of(array)) for name in operations},
        widths=tuple(widths),
        fixed=_fixed(network, operations),
        budget=None if budget is None else solve(network, array, operations, budget, effort, allowed, value=value),
        unsupported=report.unsupported,
        notes=(*network.notes, *(array.notes(network) if isinstance(array, MeasuredCosts) else ())),
    )


def _fixed(network: Network, operations: Mapping[str, Operation]) -> dict[str, dict[str, str]]:
    """The sides of layers that cannot change, each with the first reason."""
    names, found = set(changeable(network)), {}
    for name, operation in operations.items():
        fields = dict(zip(("input", "output"), getattr(operation.layer, "WIDTHS", ()), strict=False))
        fields = fields or {field: field for field in operation.sizes} or {"every side": ""}
        sides = {}
        for side, field in fields.items():
            widths = [width for width, _ in operation.sizes.get(field, ())]
            if names.isdisjoint(widths):
                why = "none of its widths is open" if widths else "it follows no width of the network"
                sides[side] = next(filter(None, (network.widths[width].fixed for width in widths)), why)
        if sides:
            found[name] = sides
    return found


def _width_advice(
    name: str,
    network: Network,
    array: CostSource,
    operations: Mapping[str, Operation],
    report: Report,
    allowed: Allowed,
) -> WidthAdvice:
    width, own = network.widths[name], followers(operations, name)
    step_size = math.lcm(width.multiple, allowed.multiple)
    # the next fold begins within one array length; groups share the channels, and are part of the multiple
    is_table = isinstance(array, MeasuredCosts)
    ahead = 0 if isinstance(array, MeasuredCosts) else (max(array.rows, array.cols) + 1) * step_size
    most = LARGEST_SIDE if is_table else width.size + min(ahead, MOST_AHEAD * step_size)
    sizes = candidates(network, name, most, allowed, array)
    tables = over_each(own, network, array, {name: sizes})
    cycles, macs = (np.sum([table[i] for table in tables.values()], axis=0) for i in (0, 1))
    today = int(np.searchsorted(sizes, width.size))
    costs = {layer: report.layers[layer] for layer in own}
    bounds = [] if is_table else [cost.bound for cost in costs.values()]
    measure = measure_of(array)
    total = getattr(report.total, measure)

    def step(index: int) -> Step:
        saved = number(cycles[today] - cycles[index])
        return Step(
            size=int(sizes[index]),
            removed=width.size - int(sizes[index]),
            saved=saved,
            macs=int(macs[today] - macs[index]),
            network_speed_up=_ratio(total, total - saved),
            layers={layer: number(table[0][index]) for layer, table in tables.items()},
        )

    below = np.flatnonzero(cycles[:today] < cycles[today])
    halved = below[2 * sizes[below] >= width.size]
    rates = (cycles[today] - cycles[halved]) / (width.size - sizes[halved])
    same = today + int(np.argmin(np.append(cycles[today:] == cycles[today], False))) - 1
    free = int(sizes[same])
    if same == len(sizes) - 1 and name not in network.options and ahead > MOST_AHEAD * step_size:
        free = _last_free(own, network, array, name, free, min(free + ahead, MOST_CHANNELS), step_size)
    return WidthAdvice(
        name=name,
        width=width,
        layers={layer: getattr(cost, measure) for layer, cost in costs.items()},
        cheaper=step(int(below[-1])) if len(below) else None,
        best=step(int(halved[np.flatnonzero(rates == rates.max())[-1]])) if len(halved) else None,
        free=free,
        bound={bound: bounds.count(bound) for bound in dict.fromkeys(bounds)},
    )


def _last_free(
    own: Mapping[str, Operation],
    network: Network,
    array: CostSource,
    name: str,
    free: int,
    above: int,
    step: int,
) -> int:
    """The largest size from ``free`` to ``above`` at the cycles of ``free``, by bisection, as cycles rise."""
    while above - free > step:
        sizes = np.unique(free + step * np.linspace(0, (above - free) // step, 64).astype(np.int64))
        cycles = np.sum([each for each, _ in over_each(own, network, array, {name: sizes}).values()], axis=0)
        last = int(np.flatnonzero(cycles == cycles[0])[-1])
        free, above = int(sizes[last]), int(sizes[min(last + 1, len(sizes) - 1)])
    return free
