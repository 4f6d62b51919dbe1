"""What the measurements of a calibrated device tell of the points of a sweep on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hwcost.devices import DeviceFile
from hwcost.machine.energies import without_energy
from hwcost.model.layers import is_layer
from hwcost.network.operations import MemoryOnly
from hwcost.network.pricing import network_cost
from hwcost.network.run import Ends, Spilled
from hwcost.sweep.points import Sweep
from hwcost.sweep.pricing import Column

__all__ = ["layers_beyond", "with_device"]


def with_device(found: Sweep, device: DeviceFile, network: Mapping[str, Any]) -> Sweep:
    """A sweep with the name of the device of its base, and what is known from the measurements of one that was fitted.

    Args:
        found: the sweep; its base may have other values than the device.
        device: the device.
        network: the layers by name.
    """
    found = dataclasses.replace(found, device=device.name)
    if device.fit is None:
        return found
    fitted = _is_fitted(found, device)
    interval = _interval(found, device, network)
    low, high = (None, None) if interval is None else (np.where(fitted, end, np.nan) for end in interval)
    beyond = ~fitted | bool(layers_beyond(device, network))
    return dataclasses.replace(found, extrapolated=beyond, seconds_90_low=low, seconds_90_high=high)


def layers_beyond(device: DeviceFile, network: Mapping[str, Any]) -> int:
    """The number of layers beyond what the device was measured with."""
    priced = (each for each in network.values() if is_layer(each) and not isinstance(each, MemoryOnly))
    return sum(bool(device.beyond(each)) for each in priced)


def _interval(found: Sweep, device: DeviceFile, network: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends between which the latency on the device as it was fitted lies with 90 %; None if it has none."""
    same = {name: getattr(device.array, name) for name in ("rows", "cols", "dataflow", *found.fields)}
    if without_energy(dataclasses.replace(found.base, **same)) != without_energy(device.array):
        return None
    report = network_cost(network, device.array, skip_unsupported=True)
    parts = [(network[name], cost) for name, cost in report]
    if report.run is not None:
        parts += [(Ends(0, 0), report.run.ends), (Spilled(0), report.run.spill)]
    return device.interval([(layer, cost.seconds) for layer, cost in parts if cost.cycles])


def _is_fitted(found: Sweep, device: DeviceFile) -> Column:
    """Whether each point is the array that was fitted."""
    fitted = device.array
    flows = np.asarray([name == fitted.dataflow for name in found.dataflows])[found.flow]
    same = (found.rows == fitted.rows) & (found.cols == fitted.cols) & flows
    for name, values in found.fields.items():
        same &= np.asarray([value == getattr(fitted, name) for value in values])[found.codes[name]]
    return np.asarray(same)
