"""How much memory a network needs at once: its activations while each layer runs, and all of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.network.program import program_of
from hwcost.network.run import stored_elements

__all__ = ["Peak", "peak_of"]


@dataclass(frozen=True)
class Peak:
    """The memory of a network.

    Attributes:
        activations: bytes of all results that are alive, by layer: from the one that makes each to the last that reads
            it. Operations that are fused with a layer have no results of their own.
        weights: bytes of all weights.
        buffer: bytes of the machine's buffers, all together, or of the memory that its chip states; infinite if there
            are none, or one of them is.
        is_stated: whether it is that of the chip.
    """

    activations: Mapping[str, float]
    weights: float
    buffer: float
    is_stated: bool = False

    @property
    def layer(self) -> str:
        """The layer at which most is alive."""
        return max(self.activations, key=lambda name: self.activations[name])

    @property
    def bytes(self) -> float:
        """Bytes of activations at that layer."""
        return self.activations[self.layer]

    @property
    def fits(self) -> bool:
        """Whether these and all weights fit into it."""
        return self.bytes + self.weights <= self.buffer


def peak_of(layers: Mapping[str, Any], array: SystolicArray, memory_bytes: float | None = None) -> Peak:
    """The memory that a network needs at once on a machine.

    Args:
        layers: a network whose edges are known.
        array: with its bytes of an element, and its buffer.
        memory_bytes: on the chip of a machine that states no buffer.

    Raises:
        InvalidValueError: edges that are unknown.

    >>> from hwcost import Linear, Network
    >>> network = Network.of_layers("two", {"a": Linear(64, 32), "b": Linear(32, 8)}, is_chain=True)
    >>> peak = peak_of(network, SystolicArray(8, 8, buffer_bytes=2048.0))
    >>> peak.layer, peak.bytes, peak.weights, peak.fits
    ('a', 96.0, 2304.0, False)
    """
    program, results = program_of(layers, array)
    size = float(array.bytes_per_element)
    weights = sum(stored_elements(layer, array) for layer in layers.values() if hasattr(layer, "gemms"))
    return Peak(
        {
            layer.name: sum(each.bytes for each in results if each.made <= place <= each.last)
            for place, layer in enumerate(program)
        },
        size * float(weights),
        _room(array) if array.has_buffers or memory_bytes is None else float(memory_bytes),
        not array.has_buffers and memory_bytes is not None,
    )


def _room(array: SystolicArray) -> float:
    covered = {operand for _, operands in array.rooms for operand in operands}
    is_all = covered == {"weights", "inputs", "outputs"}
    return sum(float(room) for room, _ in array.rooms) if is_all else float("inf")
