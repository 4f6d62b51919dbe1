"""Pricing a network operation by operation, and what is known from the measurements of a device."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hwcost.devices import DeviceFile, ExtrapolationWarning, read_device
from hwcost.errors import InvalidValueError, shorten, warn_caller
from hwcost.machine.array import SystolicArray
from hwcost.machine.energies import without_energy
from hwcost.model.breakdown import CycleBreakdown, breakdown
from hwcost.model.cost import Cost
from hwcost.model.formula import check_layer
from hwcost.model.layers import is_layer
from hwcost.model.pricing import Pricing
from hwcost.model.shapes import layer_shape
from hwcost.model.traffic import Traffic
from hwcost.network.besides import bytes_at_hand
from hwcost.network.flow import tensors_of
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported
from hwcost.network.peak import peak_of
from hwcost.network.pricing import Layers, check_layers, moves_by_layer, price_network
from hwcost.network.residency import plan_of
from hwcost.network.run import RUN, SPILLED, Ends, RunLayers, Spilled, run_of
from hwcost.reports.rows import Summary
from hwcost.reports.run import run_rows, waiting_of
from hwcost.reports.tree import Row
from hwcost.units import plural, printable, shortlist

__all__ = ["summarise", "with_device"]

NAMED = 5
"""Operations that an error names."""


def summarise(
    network: Layers,
    array: SystolicArray | DeviceFile | str,
    *,
    skip_unsupported: bool = False,
    extrapolate: bool = False,
    keep_activations: bool = False,
) -> Summary:
    """The cost of a network on an array, operation by operation.

    Args:
        network: of an importer, or any mapping from names to layers; points in its names make modules.
        array: the accelerator, with one number in every field; or a device by name, path or
            :func:`hwcost.devices.read_device`, of which the summary then also knows what it was measured with.
        skip_unsupported: leave out what cannot be priced, and name it, instead of raising.
        extrapolate: give figures of totals of which more than half is beyond what the device was measured with.
        keep_activations: results stay in the buffer between layers where that moves less.

    Raises:
        InvalidValueError: nothing to price, an operation that is not supported, sizes that are arrays, activations that
            cannot be kept.

    Warns:
        ExtrapolationWarning: more than half of the total is beyond what the device was measured with.

    >>> from hwcost import Linear
    >>> summary = summarise({"a": Linear(64, 40), "b": Linear(40, 8)}, SystolicArray(8, 8))
    >>> summary.cost.cycles, summary.breakdown.idle, summary.missing
    (45, 0, ())
    """
    network = _as_network(network, skip_unsupported=skip_unsupported)
    if not isinstance(array, SystolicArray):
        device = _as_device(array)
        summary = summarise(network, device.array, skip_unsupported=skip_unsupported, keep_activations=keep_activations)
        summary = with_device(summary, device, network, extrapolate=extrapolate)
        if summary.withheld:
            warn_caller(f"no total: {summary.withheld}; {summary.legend}", ExtrapolationWarning)
        return summary
    missing = [f"{name}: {each.layer}" for name, each in network.unsupported.items()]
    if missing and not skip_unsupported:
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        what = f"{plural(len(missing), 'operation')} of {printable(network.name)} {verb} not supported"
        reason = f"{what}: {shortlist(missing, NAMED, ';')}"
        allowed = f"pass skip_unsupported=True to leave {them} out of all totals"
        raise InvalidValueError("network", network.name, allowed, reason=reason, form="{reason}; {allowed}")
    plan = plan_of(network, array) if keep_activations else None
    priced = price_network(network, array, skip_unsupported=skip_unsupported, plan=plan)
    costs = {name: [each.cost for each in products] for name, products in priced.items()}
    layers = RunLayers.like(network, ((name, each.layer) for name, each in network.operations.items()))
    moved, run = moves_by_layer(layers, array, network, plan), run_of(layers, array)
    total = itertools.chain(*costs.values(), moved.values(), () if run is None else (run.cost,))
    cost = sum(total, start=Cost())  # in the order of network_cost
    for name, each in moved.items():
        costs[name] = [*costs.get(name, ()), each]
    named = network.operations.items()
    rows = tuple(_row(name, each, array, priced.get(name, ()), costs.get(name, ())) for name, each in named)
    rows += tuple(run_rows(layers, array))
    return Summary(
        name=network.name,
        array=array,
        rows=rows,
        cost=cost,
        breakdown=sum((row.breakdown for row in rows), start=CycleBreakdown()),
        notes=network.notes,
        plan=plan,
        peak=peak_of(network, array) if array.has_buffers and tensors_of(network) is not None else None,
        at_hand=bytes_at_hand(network, array),
        label=array.in_words,
        source=network.source,
    )


def _as_device(given: object) -> DeviceFile:
    if isinstance(given, DeviceFile):
        return given
    if isinstance(given, (str, os.PathLike)):
        return read_device(given, field="array")
    raise InvalidValueError("array", given, "a DeviceFile, a SystolicArray, or the name of a device")


def with_device(summary: Summary, device: DeviceFile, network: Mapping[str, Any], *, extrapolate: bool) -> Summary:
    """A summary with what is known from the measurements that a device was fitted to.

    Args:
        summary: of the array of the device, or of one with another clock, size or dataflow.
        device: the device.
        network: the layers by the names of the rows.
        extrapolate: give totals of which more than half is beyond what was measured.
    """
    summary = dataclasses.replace(summary, device=device.name, label=f"{device.name}: {summary.array.in_words}")
    if summary.peak is None and device.memory_bytes is not None and tensors_of(network) is not None:
        summary = dataclasses.replace(summary, peak=peak_of(network, summary.array, device.memory_bytes))
    if device.fit is None:
        return summary
    layers = {**network, RUN: Ends(0, 0), SPILLED: Spilled(0)}
    priced = [(layers[row.name], row.cost.seconds) for row in summary.rows if row.cost.cycles]
    rows = (
        dataclasses.replace(row, beyond=tuple(device.beyond(layers[row.name])))
        if row.cost.cycles or row.state == "priced"
        else row
        for row in summary.rows
    )
    return dataclasses.replace(
        summary,
        rows=tuple(rows),
        seconds_90=device.interval(priced) if without_energy(device.array) == without_energy(summary.array) else None,
        measured=device.name,
        ranges=device.fit.ranges,
        extrapolate=extrapolate,
    )


def _as_network(layers: Layers, *, skip_unsupported: bool) -> Network:
    if isinstance(layers, Network):
        return layers
    check_layers(layers, "network")
    named = layers.items() if isinstance(layers, Mapping) else enumerate(layers)
    return Network(
        "network", {str(name): Operation(_known(str(name), layer, skip_unsupported)) for name, layer in named}
    )


def _known(name: str, layer: Any, skip: bool) -> Any:
    if isinstance(layer, Mapping):
        allowed = "pass one network; hwcost.compare takes several by name"
        raise InvalidValueError("network", name, allowed, reason=f"{name!r} in it is a network of its own, not a layer")
    if is_layer(layer) or isinstance(layer, Unsupported):
        return layer
    if not skip:
        check_layer(layer, f"layer {name!r}")
    return Unsupported(shorten(layer), "not a layer")


def _row(
    name: str, operation: Operation, array: SystolicArray, products: Sequence[Pricing], costs: Sequence[Cost]
) -> Row:
    layer, size = operation.layer, array.bytes_per_element
    row = functools.partial(Row, name, operation.path, operation.kind)
    if isinstance(layer, MemoryOnly):
        moved = {("dram", "inputs"): layer.reads, ("dram", "outputs"): layer.writes}
        cost = sum(costs, start=Cost())
        return row("memory-only", "", cost, waiting_of(cost), Traffic(moved, size))
    if not is_layer(layer):
        return row("unsupported", "", Cost(), CycleBreakdown(), Traffic({}, size), reason=str(layer))
    transfers = [each.moved for each in products]
    return row(
        "priced",
        layer_shape(layer),
        sum(costs, start=Cost()),
        sum(map(breakdown, products), start=CycleBreakdown()),
        sum((each.traffic for each in products), start=Traffic({}, size)),
        {name: sum(each.get(name, 0) for each in transfers) for name in itertools.chain(*transfers)},
    )
