"""A network over sizes of the buffer: what crosses DRAM, how long that takes, and which layers read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hwcost.errors import InvalidValueError, NoTileError
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.formula import as_array
from hwcost.model.layout import padded
from hwcost.model.least import tiling_of
from hwcost.model.rooms import room_to_read_once
from hwcost.network.pricing import network_cost
from hwcost.network.residency import Step
from hwcost.relaxation import EXACT

__all__ = ["BufferPoint", "buffer_curve", "curve_of", "enough_for"]


@dataclass(frozen=True)
class BufferPoint:
    """A network on a machine with a buffer.

    Attributes:
        buffer_bytes: its size.
        cost: of the network.
        again_bytes: bytes of operands that cross DRAM more than once, and of partial sums.
        again: the layers that read again, the one that reads most first.
        kept: results that stay in the buffer between layers.
    """

    buffer_bytes: float
    cost: Cost
    again_bytes: float
    again: tuple[str, ...]
    kept: int = 0


def buffer_curve(
    layers: Mapping[str, Any],
    array: SystolicArray,
    sizes: Iterable[float],
    *,
    keep_activations: bool = False,
    skip_unsupported: bool = False,
) -> tuple[BufferPoint, ...]:
    """A network on a machine with each of some sizes of the buffer; sizes are left out for which no tile fits.

    Args:
        layers: the network, with numbers as sizes.
        array: the machine, whose ``buffer_bytes`` is replaced.
        sizes: bytes, each above 0.
        keep_activations, skip_unsupported: as for :func:`hwcost.network_cost`.

    Raises:
        InvalidValueError: no sizes; no tile fits with any; what :func:`hwcost.network_cost` raises.

    >>> from hwcost import Linear
    >>> layers = {"a": Linear(512, 512, batch=196), "b": Linear(512, 10, batch=196)}
    >>> for point in buffer_curve(layers, SystolicArray(16, 16), [32768, 262144]):
    ...     print(point.buffer_bytes, point.cost.dram_bytes, point.again)
    32768.0 1356712.0 ('a',)
    262144.0 570280.0 ()
    """
    array = as_array(array)
    machines = [dataclasses.replace(array, buffer_bytes=float(size)) for size in sizes]
    return curve_of(layers, machines, keep_activations=keep_activations, skip_unsupported=skip_unsupported)


def curve_of(
    layers: Mapping[str, Any],
    machines: Iterable[SystolicArray],
    *,
    keep_activations: bool = False,
    skip_unsupported: bool = False,
) -> tuple[BufferPoint, ...]:
    """The same on machines that may differ in more than the size of the buffer, as in its energy."""
    found, refused = [], []
    for machine in machines:
        try:
            report = network_cost(layers, machine, keep_activations=keep_activations, skip_unsupported=skip_unsupported)
        except NoTileError as error:
            refused.append((machine.buffer_bytes, error))
            continue
        steps = {} if report.plan is None else report.plan.steps
        again = {name: _again(layers[name], machine, steps.get(name)) for name in report.layers if layers[name].gemms()}
        again = {name: size for name, size in again.items() if size > 0}
        found.append(
            BufferPoint(
                machine.buffer_bytes,
                report.total,
                sum(again.values()),
                tuple(sorted(again, key=lambda name: -again[name])),
                0 if report.plan is None else len(report.plan.kept),
            )
        )
    if refused and not found:
        raise max(refused, key=lambda each: each[0])[1]
    if not found:
        raise InvalidValueError("sizes", (), "at least one size of the buffer")
    return tuple(found)


def _again(layer: Any, array: SystolicArray, step: Step | None) -> float:
    """Bytes of weights and inputs that a layer reads more than once, and of its partial sums."""
    machine = array if step is None else dataclasses.replace(array, buffer_bytes=step.room)
    on_chip = () if step is None else step.operands
    moved = 0.0
    for own in layer.gemms():
        tiling = tiling_of(padded(own, machine), machine, EXACT, on_chip)
        again = {"inputs": tiling.inputs_again, "weights": tiling.weights_again}
        elements = sum(float(size) for operand, size in again.items() if operand not in on_chip)
        moved += float(array.bytes_per_element) * elements + float(array.partial_bytes) * float(tiling.partials)
    return moved


def enough_for(layers: Mapping[str, Any], array: SystolicArray) -> dict[str, float]:
    """Bytes of a shared buffer with which each layer reads each operand once, the largest first.

    >>> from hwcost import Linear
    >>> enough_for({"a": Linear(64, 64, batch=49), "b": Linear(512, 512, batch=49)}, SystolicArray(16, 16))
    {'b': 28480.0, 'a': 4288.0}
    """
    rooms = {
        name: max(room_to_read_once(padded(gemm, array), array) for gemm in layer.gemms())
        for name, layer in layers.items()
        if hasattr(layer, "gemms") and layer.gemms()
    }
    return dict(sorted(rooms.items(), key=lambda item: -item[1]))
