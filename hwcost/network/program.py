"""The layers of a network in order, with the results that each reads and makes.

An operation without products is part of the layer that makes the latest of its inputs, as compilers fuse it, unless
the machine has a ``vector_bytes_per_s``: then it is a step that reads and writes. What a fused operation reads in
addition (the other side of a residual sum) is read from DRAM unless it stays. It takes energy, and no time, as the
operation itself takes none. On a machine with a buffer these bytes count whether or not anything may stay
(:mod:`hwcost.network.besides`), so that both costs are of one kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hwcost.arrays import Size, product
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.network.flow import INPUT, reads_of, tensors_of
from hwcost.network.operations import MemoryOnly

__all__ = ["Place", "Result", "program_of"]


class Result(NamedTuple):
    """A result.

    Attributes:
        name: the operation that makes it; "" for the inputs of the network.
        bytes: its size.
        made, last: the places that make it, and read it last; -1 before the first.
        is_output: whether the network returns it.
    """

    name: str
    bytes: Size
    made: int
    last: int
    is_output: bool


class Place(NamedTuple):
    """A layer in its place in the order, with the operations that are fused with it.

    Attributes:
        name, layer: of the layer.
        operands: the results that are inputs and weights of its product, by number.
        besides: the results that it reads in addition.
        makes: the results that it makes.
    """

    name: str
    layer: Any
    operands: tuple[tuple[str, int], ...]
    besides: tuple[int, ...]
    makes: tuple[int, ...]


def program_of(layers: Mapping[str, Any], array: SystolicArray) -> tuple[list[Place], list[Result]]:
    """The layers in order and their results, with operations without products fused where they take no time.

    Args:
        layers: a network whose edges are known.
        array: with the bytes of an element, and a ``vector_bytes_per_s`` if such operations take time.

    Raises:
        InvalidValueError: it is not known which layer reads what.

    >>> from hwcost import Linear, Network
    >>> layers = {"a": Linear(4, 8), "b": Linear(8, 2)}
    >>> places, results = program_of(Network.of_layers("two", layers, is_chain=True), SystolicArray(8, 8))
    >>> [(result.name, result.bytes, result.made, result.last) for result in results]
    [('', 4.0, -1, 0), ('a', 8.0, 0, 1), ('b', 2.0, 1, 1)]
    >>> places[1].operands, places[1].makes
    ((('inputs', 1),), (2,))
    """
    tensors, flow = tensors_of(layers), reads_of(layers)
    if tensors is None or flow is None:
        reason = "it is not known which layer reads what"
        allowed = "a PyTorch module, an ONNX or TFLite file, or Network.of_layers(..., is_chain=True)"
        raise InvalidValueError("network", getattr(layers, "name", "layers"), allowed, reason=reason)
    is_fused = not is_finite(array.vector_bytes_per_s)
    order = [name for name, layer in layers.items() if not (is_fused and isinstance(layer, MemoryOnly))]
    places = {name: place for place, name in enumerate(order)} | {INPUT: -1}
    fused: dict[int, list[str]] = {}
    for name in layers:  # fused ones run with what makes the latest of their inputs
        if name not in places:
            places[name] = max([places[each] for each in flow.inputs.get(name) or ()], default=-1)
            fused.setdefault(places[name], []).append(name)
    results: list[Result] = []
    numbers: dict[str, int] = {}
    makes: dict[int, tuple[int, ...]] = {}
    for tensor in tensors:
        made = places[tensor.producer]
        readers = [places[name] for name in tensor.consumers if places[name] != made]
        if readers or (tensor.is_output and made >= 0):
            last = len(order) - 1 if tensor.is_output and not readers else max([made, *readers])
            number = numbers[tensor.producer] = len(results)
            makes[made] = (*makes.get(made, ()), number)
            size = product(array.bytes_per_element, tensor.elements, what="the bytes")
            results.append(Result(tensor.producer, size, made, last, tensor.is_output))

    def read(name: str) -> list[int]:
        return [numbers[each] for each in flow.inputs.get(name) or () if each in numbers]

    program = []
    for place, name in enumerate(order):
        operands, besides = _operands(layers[name], read(name))
        others = {number for other in fused.get(place, ()) for number in read(other) if results[number].made != place}
        program.append(Place(name, layers[name], operands, tuple(sorted(others | set(besides))), makes.get(place, ())))
    return program, results


def _operands(layer: Any, own: Sequence[int]) -> tuple[tuple[tuple[str, int], ...], Sequence[int]]:
    """The results that a layer with one product has as inputs and weights, and those that it reads besides."""
    if isinstance(layer, MemoryOnly):
        return (), own
    if len(layer.gemms()) != 1:  # its products have all of them as operands
        return (), ()
    return tuple(zip(("inputs", "weights"), own, strict=False)), own[2:]
