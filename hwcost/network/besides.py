"""What layers read from DRAM besides their operands: the other side of a residual sum that is fused with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwcost.arrays import Size, product, total
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.moves import reading_cost
from hwcost.network.flow import tensors_of
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation
from hwcost.network.program import Result, program_of
from hwcost.network.run import ends_of, sides_of

__all__ = ["bytes_at_hand", "bytes_besides", "read_besides", "reading_figure", "result_cost"]


def bytes_besides(layers: Mapping[str, Any], array: SystolicArray) -> dict[str, Size]:
    """Bytes that layers read from DRAM on top of their operands if nothing stays: the other side of residual sums.

    Args:
        layers: a network; where it is not known which layer reads what, nothing is.
        array: on one without buffers everything that is not an operand of a product is taken to stay.

    >>> from hwcost.network.network import Network
    >>> from hwcost import Linear
    >>> fc, add = Linear(8, 8), MemoryOnly("add", 16, 8)
    >>> operations = {"a": Operation(fc, inputs=("",)), "sum": Operation(add, inputs=("a", ""))}
    >>> bytes_besides(Network("one", operations, outputs=("sum",)), SystolicArray(8, 8, buffer_bytes=1024.0))
    {'a': 8.0}
    """
    return _bytes(*_program(layers, array)) if array.has_buffers else {}


def bytes_at_hand(layers: Mapping[str, Any], array: SystolicArray) -> Size:
    """All of these bytes on an array without buffers, where they do not count; 0 on one with buffers."""
    return 0 if array.has_buffers else total(0, *_bytes(*_program(layers, array)).values())


def read_besides(network: Network, array: SystolicArray) -> dict[str, tuple[Operation, ...]]:
    """For each layer the operations whose results :func:`bytes_besides` has, which follow widths of their own.

    The inputs of the network are an operation without widths.
    """
    results, besides = _program(network, array) if array.has_buffers else ([], {})
    inputs = Operation(MemoryOnly("inputs", 0, ends_of(network).inputs))
    makers = {name: network.operations.get(name, inputs) for name in [each.name for each in results]}
    return {name: tuple(makers[results[number].name] for number in numbers) for name, numbers in besides.items()}


def result_cost(layer: Any, array: SystolicArray) -> Cost:
    """The cost of reading the result of a layer besides operands."""
    elements = (sides_of(layer) or (0, 0))[1]
    return reading_cost(product(array.bytes_per_element, elements, what="the bytes"), array)


def reading_figure(layer: Any, array: SystolicArray, figure: str) -> Size:
    """A figure of :func:`result_cost`; 0 for one that it does not have."""
    found = getattr(result_cost(layer, array), figure)
    return 0.0 if found is None else found


def _bytes(results: Sequence[Result], besides: Mapping[str, Sequence[int]]) -> dict[str, Size]:
    return {name: total(*(results[number].bytes for number in numbers)) for name, numbers in besides.items()}


def _program(layers: Mapping[str, Any], array: SystolicArray) -> tuple[list[Result], dict[str, tuple[int, ...]]]:
    if tensors_of(layers) is None:
        return [], {}
    program, results = program_of(layers, array)
    has_products = (layer for layer in program if layer.besides and not isinstance(layer.layer, MemoryOnly))
    return results, {layer.name: layer.besides for layer in has_products}
