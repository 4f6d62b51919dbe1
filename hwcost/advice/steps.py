"""For each width of a network: the next cheaper size, the best one, and the largest at today's cycles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hwcost.advice.beyond import with_device
from hwcost.advice.budget import solve
from hwcost.advice.measured import LARGEST_SIDE, MeasuredCosts
from hwcost.advice.result import Advice, Faster, Step, WidthAdvice, ratio
from hwcost.advice.tables import (
    Allowed,
    CostSource,
    EnergyCosts,
    Figures,
    Numbers,
    candidates,
    changeable,
    check_source,
    cost_report,
    followers,
    machine_of,
    measure_of,
    number,
    operations_of,
    over_each,
    spill_over,
)
from hwcost.devices import DeviceFile, ExtrapolationWarning
from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError, check_one_of, warn_caller
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.fields import is_finite
from hwcost.model.cost import Cost
from hwcost.network.buffers import curve_of, enough_for
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import Report
from hwcost.network.run import RUN

__all__ = ["advise"]

OBJECTIVES = ("time", "energy")
EQUAL = 1e-3
"""How much less two sizes may save per channel that count as equal, as where time follows bytes."""
CLEARLY = 1.25
"""How many times less another dataflow has to take to be named."""
MOST_AHEAD = 4096
MOST_CHANNELS = 2**50
NEUTRAL = {"multiple": 1, "least": 0}


def advise(
    network: Network,
    array: SystolicArray | MeasuredCosts | DeviceFile | str,
    *,
    objective: str = "time",
    budget: float | None = None,
    skip_unsupported: bool = False,
    multiple: int = 1,
    least: float = 0.0,
    keep: Iterable[str] = (),
    value: Mapping[str, Sequence[float]] | None = None,
    effort: int = 300_000,
    extrapolate: bool = False,
) -> Advice:
    """Where a network's widths lie on the stairs of an array, and what other widths would save.

    Args:
        network: as an importer or :meth:`hwcost.network.network.Network.of_layers` makes it. If some of its widths are
            open (:meth:`hwcost.network.network.Network.space`), only these change, and only to their options.
        array: the accelerator; a device by name, path or :func:`hwcost.devices.read_device`, of which the advice then
            also knows what it was measured with; or :class:`MeasuredCosts`, with which widths take only sizes that
            were measured.
        objective: what to save: "time", or "energy" on a machine with figures of it.
        budget: a share of today's cycles (or energy), below 1; finds the widths that fit it at the least loss of MACs.
        skip_unsupported: leave out operations that cannot be priced, and list them, instead of raising.
        multiple: all new sizes are multiples of this number.
        least: all new sizes are at least this share of today's. Open widths take neither of the two.
        keep: widths that stay as they are.
        value: what the budget keeps instead of MACs: for each width that may change the value of every size from 1 to
            today's, which does not fall with the size. Widths without values stay as they are.
        effort: the most partial solutions that the budget's solver keeps at a time. Where it has to leave some out, the
            widths may not be the best ones; its ``gap`` bounds what is lost.
        extrapolate: give a total of which more than half is beyond what the device was measured with.

    Raises:
        InvalidValueError: unsupported operations, an array that is a sweep, a table of costs of another network, an
            energy that is not known, a budget that no widths fit.

    Warns:
        ExtrapolationWarning: more than half of the total is beyond what the device was measured with.

    >>> from hwcost import Conv2d, SystolicArray
    >>> network = Network.of_layers("one", {"conv": Conv2d(16, 65, 3, height=8, width=8, padding=1)})
    >>> width = advise(network, SystolicArray(16, 64))["conv.out_channels"]
    >>> width.cheaper.size, width.cheaper.network_speed_up, width.free
    (64, 2.0, 128)
    """
    device = array if isinstance(array, DeviceFile) else named_device(array)
    given = _counted(array if device is None else device.array, objective)
    source = check_source(network, given, skip_unsupported=skip_unsupported)
    allowed = Allowed.checked(multiple, least, keep)
    for field, given in (("multiple", multiple), ("least", least)):
        if given > NEUTRAL[field] and network.options:
            raise InvalidValueError(field, given, "leave it out", reason="open widths change only to their options")
    if value is not None and budget is None:
        raise InvalidValueError("value", value, "add a budget, or leave it out", reason="it is for a budget")
    operations = operations_of(network, source)
    report = cost_report(network, source, skip_unsupported=skip_unsupported)
    widths = [
        _width_advice(name, network, source, operations, report, allowed) for name in changeable(network, allowed.keep)
    ]
    widths.sort(key=lambda each: (-each.better.saved_per_channel if each.better else 0.0, each.name))
    found = Advice(
        name=network.name,
        array=source if isinstance(source, MeasuredCosts) else machine_of(source),
        total=report.total,
        layers={name: _figure(report.of(name), measure_of(source)) for name in operations},
        widths=tuple(widths),
        fixed=_fixed(network, operations),
        budget=None if budget is None else solve(network, source, operations, budget, effort, allowed, value=value),
        unsupported=report.unsupported,
        notes=(*network.notes, *(source.notes(network) if isinstance(source, MeasuredCosts) else ())),
        measure=measure_of(source),
        buffers=_buffers(network, source),
        faster=None if device is not None and device.fit is not None else _faster(network, source, report),
        multiple=allowed.multiple,
        is_open=bool(network.options),
        label=_label(source, device),
    )
    if device is None:
        return found
    found = with_device(found, device, network, extrapolate=extrapolate)
    if found.withheld:
        warn_caller(f"no total: {found.withheld}; {found.legend}", ExtrapolationWarning)
    return found


def _counted(array: Any, objective: str) -> Any:
    """What says how much layers cost, for an objective."""
    check_one_of("objective", objective, OBJECTIVES)
    if objective == "time":
        return array
    if isinstance(array, MeasuredCosts):
        reason = f"the table has costs in {array.measure}"
        raise InvalidValueError("objective", objective, "leave it out", reason=reason)
    return EnergyCosts(array)


def _figure(cost: Cost, measure: str) -> Numbers:
    """A figure of a cost; 0 for the energy of what takes no time."""
    found: Numbers | None = getattr(cost, measure)
    return 0.0 if found is None else found


def _label(source: CostSource, device: DeviceFile | None) -> str:
    if isinstance(source, MeasuredCosts):
        return repr(source)
    words = machine_of(source).in_words
    return words if device is None else f"{device.name}: {words}"


def _faster(network: Network, source: CostSource, report: Report) -> Faster | None:
    """The dataflow with which the same array takes least, if that is clearly less."""
    if isinstance(source, MeasuredCosts) or not isinstance(machine_of(source).dataflow, str):
        return None
    machine, measure = machine_of(source), measure_of(source)
    today, found = getattr(report.total, measure), []
    for name in DATAFLOWS:
        if name != machine.dataflow:
            other = adapt(machine, dataflow=name).array
            own = EnergyCosts(other) if isinstance(source, EnergyCosts) else other
            found.append((getattr(cost_report(network, own, skip_unsupported=True).total, measure), name))
    least, name = min(found)
    return Faster(name, least, today / least) if least and today / least >= CLEARLY else None


def _buffers(network: Network, source: CostSource) -> dict[str, float]:
    """The buffer with which each layer that reads operands more than once reads each once, by what it reads again."""
    if isinstance(source, MeasuredCosts) or not is_finite(machine_of(source).buffer_bytes):
        return {}
    priced = {name: each.layer for name, each in network.priced.items()}
    enough = enough_for(priced, machine_of(source))
    (point,) = curve_of(priced, [machine_of(source)])
    return {name: enough[name] for name in point.again if enough[name] > point.buffer_bytes}


def _fixed(network: Network, operations: Mapping[str, Operation]) -> dict[str, dict[str, str]]:
    """The sides of layers that cannot change, each with the first reason."""
    names, found = set(changeable(network)), {}
    for name, operation in operations.items():
        if name == RUN:
            continue
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
    source: CostSource,
    operations: Mapping[str, Operation],
    report: Report,
    allowed: Allowed,
) -> WidthAdvice:
    width, own = network.widths[name], followers(operations, name)
    step_size = math.lcm(width.multiple, allowed.multiple)
    # the next fold begins within the length of all arrays; groups share the channels, and are part of the multiple
    is_table = isinstance(source, MeasuredCosts)
    array = SystolicArray(1, 1) if isinstance(source, MeasuredCosts) else machine_of(source)
    ahead = 0 if is_table else (max(array.rows, array.cols) * array.arrays + 1) * step_size
    most = LARGEST_SIDE if is_table else width.size + min(ahead, MOST_AHEAD * step_size)
    sizes = candidates(network, name, most, allowed, source)
    tables = over_each(own, network, source, {name: sizes})
    cycles, macs = (np.sum([table[i] for table in tables.values()], axis=0) for i in (0, 1))
    cycles = cycles + spill_over(network, source, {name: sizes})
    today = int(np.searchsorted(sizes, width.size))
    costs = {layer: report.of(layer) for layer in own}
    bounds = [] if is_table else [cost.bound for cost in costs.values()]
    measure = measure_of(source)
    total = getattr(report.total, measure)

    def step(index: int) -> Step:
        saved = number(cycles[today] - cycles[index])
        return Step(
            size=int(sizes[index]),
            removed=width.size - int(sizes[index]),
            saved=saved,
            macs=int(macs[today] - macs[index]),
            network_speed_up=ratio(total, total - saved),
            layers={layer: number(table[0][index]) for layer, table in tables.items()},
        )

    below = np.flatnonzero(cycles[:today] < cycles[today])
    halved = below[2 * sizes[below] >= width.size]
    rates = (cycles[today] - cycles[halved]) / (width.size - sizes[halved])
    same = today + int(np.argmin(np.append(cycles[today:] == cycles[today], False))) - 1
    free = int(sizes[same])
    if same == len(sizes) - 1 and name not in network.options and ahead > MOST_AHEAD * step_size:
        free = _last_free(own, network, source, name, free, min(free + ahead, MOST_CHANNELS), step_size)
    return WidthAdvice(
        name=name,
        width=width,
        layers={layer: _figure(cost, measure) for layer, cost in costs.items()},
        cheaper=step(int(below[-1])) if len(below) else None,
        best=step(_best_of(halved, sizes, rates, width.size)) if len(halved) else None,
        free=free,
        bound={bound: bounds.count(bound) for bound in dict.fromkeys(bounds)},
    )


def _best_of(indices: Figures, sizes: Figures, rates: Figures, today: int) -> int:
    """The index of the size that saves most per channel; of equals the largest that removes an eighth, if any does."""
    equal = indices[rates >= rates.max() * (1 - EQUAL)]
    clear = equal[8 * sizes[equal] <= 7 * today]
    return int((clear if len(clear) else equal)[-1])


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
        cycles = cycles + spill_over(network, array, {name: sizes})
        last = int(np.flatnonzero(cycles == cycles[0])[-1])
        free, above = int(sizes[last]), int(sizes[min(last + 1, len(sizes) - 1)])
    return free
