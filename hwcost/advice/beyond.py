"""How far advice is beyond what a calibrated device was measured with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.result import Advice, Step, WidthAdvice
from hwcost.advice.tables import operations_of
from hwcost.devices import DeviceFile
from hwcost.model.formula import layer_cycles
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.run import SPILLED, Spilled

__all__ = ["with_device"]


def with_device(advice: Advice, device: DeviceFile, network: Network, *, extrapolate: bool = False) -> Advice:
    """Advice with what is known from the measurements that a device was fitted to.

    Args:
        advice: on the array of the device, or on one with another clock, size or dataflow.
        device: the device.
        network: the one of the advice.
        extrapolate: give a total of which more than half is beyond what was measured.

    >>> from hwcost import Linear, advise
    >>> from hwcost.devices import read_device
    >>> network, device = Network.of_layers("net", {"fc": Linear(64, 10)}), read_device("gemmini-firesim")
    >>> with_device(advise(network, device.array), device, network).beyond["fc"][0]
    'n is 10, but layers of 36 to 2048 were measured'
    """
    array = advice.array
    if device.fit is None or isinstance(array, MeasuredCosts):
        return advice
    operations = operations_of(network, array)
    layers: dict[str, Any] = {name: each.layer for name, each in operations.items()}
    cycles = {name: layer_cycles(layer, array) for name, layer in layers.items()}
    seconds = {name: float(each) / array.clock_hz for name, each in cycles.items()}
    if (rest := float(advice.total.seconds) - sum(seconds.values())) > 1e-12 * float(advice.total.seconds):
        layers[SPILLED], seconds[SPILLED] = Spilled(0), rest
    beyond = {name: found for name, layer in layers.items() if (found := tuple(device.beyond(layer)))}
    known = _Known(device, network, operations, beyond)
    whole = sum(seconds.values())
    budget = advice.budget
    return dataclasses.replace(
        advice,
        widths=tuple(map(known.width, advice.widths)),
        budget=budget and dataclasses.replace(budget, extrapolated=known.at(budget.sizes, operations)),
        measured=device.name,
        beyond=beyond,
        extrapolated_share=sum(seconds[name] for name in beyond) / whole if whole else 0.0,
        seconds_90=device.interval((layers[name], seconds[name]) for name in layers) if device.array == array else None,
        extrapolate=extrapolate,
    )


@dataclasses.dataclass(frozen=True)
class _Known:
    """What is known of other sizes of a network's widths."""

    device: DeviceFile
    network: Network
    operations: Mapping[str, Operation]
    beyond: Mapping[str, tuple[str, ...]]  # layers at today's sizes

    def at(self, sizes: Mapping[str, int], names: Iterable[str]) -> bool:
        """Whether one of some layers is beyond what was measured, today or at sizes of widths."""
        whole = {name: width.size for name, width in self.network.widths.items()} | dict(sizes)
        return any(name in self.beyond or self.device.beyond(self.operations[name].at(whole)) for name in names)

    def step(self, name: str, step: Step | None) -> Step | None:
        return step and dataclasses.replace(step, extrapolated=self.at({name: step.size}, step.layers))

    def width(self, each: WidthAdvice) -> WidthAdvice:
        return dataclasses.replace(
            each, cheaper=self.step(each.name, each.cheaper), best=self.step(each.name, each.best)
        )
