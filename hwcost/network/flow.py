"""Which operation reads which result, how large results are, and when each is alive.

A result is one tensor, however many the operator returns. What moves nothing (a view: reads and writes are 0) makes
none: who reads it reads what it is a view of. So an exported graph, which has views, has the tensors of its module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hwcost.arrays import Size
from hwcost.errors import InvalidValueError
from hwcost.model.layers import MatMul
from hwcost.model.layout import is_zero
from hwcost.network.operations import MemoryOnly, is_nonzero
from hwcost.network.run import ends_of, sides_of

__all__ = [
    "INPUT", "Flow", "Tensor", "check_chain", "check_flow", "flow_without", "liveness", "reads_of", "tensors_of",
]  # fmt: skip

INPUT = ""
"""What stands for the inputs of the network among what operations read."""


class Flow(NamedTuple):
    """The edges of a network.

    Attributes:
        inputs: the operations whose results each operation reads, :data:`INPUT` for an input of the network; None if
            they are unknown.
        outputs: the operations whose results the network returns; None if they are unknown.
    """

    inputs: Mapping[str, tuple[str, ...] | None]
    outputs: tuple[str, ...] | None


@dataclass(frozen=True)
class Tensor:
    """The result of an operation, or all inputs of the network.

    Args:
        producer: the operation; :data:`INPUT` for the inputs of the network.
        elements: of all that the operation returns, as its layer has them: a number, or an array if sizes are arrays.
        consumers: the operations that read it, in order.
        is_output: whether the network returns it.
    """

    producer: str
    elements: Size
    consumers: tuple[str, ...]
    is_output: bool


def tensors_of(layers: Mapping[str, Any]) -> tuple[Tensor, ...] | None:
    """The tensors of a network in the order in which they are made.

    Args:
        layers: a Network, or its layers at other sizes (:meth:`hwcost.network.network.Network.at`).

    Returns:
        None if not all edges are known, or not all sizes of results that are read. The elements are those that the
        layer itself has: the outputs of its last product, of a transposed convolution before overlaps are added, or
        what an operation without products writes.

    >>> from hwcost import Linear, Network
    >>> network = Network.of_layers("two", {"a": Linear(4, 8), "b": Linear(8, 2)}, is_chain=True)
    >>> for tensor in tensors_of(network):
    ...     print(tensor)
    Tensor(producer='', elements=4, consumers=('a',), is_output=False)
    Tensor(producer='a', elements=8, consumers=('b',), is_output=False)
    Tensor(producer='b', elements=2, consumers=(), is_output=True)
    >>> [tensor.elements for tensor in tensors_of(network.at({"a.out_features": 6}))]
    [4, 6, 2]
    """
    known = reads_of(layers)
    if known is None:
        return None
    readers: dict[str, list[str]] = {name: [] for name in known.inputs}
    for name, reads in known.inputs.items():
        for each in reads or ():
            readers.setdefault(each, []).append(name)
    outputs = set(known.outputs or ())
    found = []
    for producer in ([INPUT] if INPUT in readers else []) + [name for name in layers if name in readers]:
        elements = ends_of(layers).inputs if producer == INPUT else _elements(layers[producer])
        consumers = tuple(readers[producer])
        if is_zero(elements) and (consumers or producer in outputs):
            return None
        if not is_zero(elements):
            found.append(Tensor(producer, elements, consumers, producer in outputs))
    return tuple(found)


def reads_of(layers: Mapping[str, Any]) -> Flow | None:
    """The edges of a network without its views; None if not all of them are known.

    >>> from hwcost.network.operations import MemoryOnly
    >>> from hwcost.network.run import RunLayers
    >>> layers = RunLayers({"view": MemoryOnly("view"), "relu": MemoryOnly("relu", 4, 4)}.items())
    >>> layers.flow = Flow({"view": ("",), "relu": ("view",)}, ("relu",))
    >>> reads_of(layers)
    Flow(inputs={'relu': ('',)}, outputs=('relu',))
    """
    flow: Flow | None = getattr(layers, "flow", None)
    if flow is None or flow.outputs is None:
        return None
    views: dict[str, tuple[str, ...]] = {}
    found: dict[str, tuple[str, ...] | None] = {}
    for name, layer in layers.items():
        reads = flow.inputs.get(name)
        if reads is None:
            return None
        (views if _is_view(layer) else found)[name] = tuple(dict.fromkeys(_through(reads, views)))
    return Flow(found, tuple(_through(flow.outputs, views)))


def liveness(layers: Mapping[str, Any]) -> dict[str, tuple[Tensor, ...]] | None:
    """The tensors that are alive while each operation runs, by its name; None as for :func:`tensors_of`.

    A tensor is alive from the operation that makes it to the last one that reads it, both included: an input of the
    network from the first operation on, an output up to the last one.

    >>> from hwcost import Linear, Network
    >>> layers = {"a": Linear(4, 8), "b": Linear(8, 8), "c": Linear(8, 2)}
    >>> alive = liveness(Network.of_layers("three", layers, is_chain=True))
    >>> {name: [tensor.producer for tensor in tensors] for name, tensors in alive.items()}
    {'a': ['', 'a'], 'b': ['a', 'b'], 'c': ['b', 'c']}
    >>> max(sum(tensor.elements for tensor in tensors) for tensors in alive.values())  # the peak
    16
    """
    tensors = tensors_of(layers)
    if tensors is None:
        return None
    names = list(layers)
    places = {name: place for place, name in enumerate(names)} | {INPUT: 0}
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for tensor in tensors:
        ends = (tensor.producer, *tensor.consumers[-1:], *(names[-1:] if tensor.is_output else ()))
        for name in names[places[tensor.producer] : max(places[each] for each in ends) + 1]:
            found[name].append(tensor)
    return {name: tuple(alive) for name, alive in found.items()}


def _is_view(layer: Any) -> bool:
    return isinstance(layer, MemoryOnly) and sides_of(layer) is None


def _elements(layer: Any) -> Size:
    """The elements of a result; 0 if they are unknown."""
    sides = sides_of(layer)
    return 0 if sides is None else sides[1]


def _through(names: Iterable[str], others: Mapping[str, tuple[str, ...]]) -> list[str]:
    """tuple[str, ...], with what stands for some of them in their place."""
    return [own for name in names for own in others.get(name, (name,))]


# ---------------------------------------------------------------- edges


def check_flow(flow: Flow) -> None:
    """Raises unless operations read what ran before them, and outputs are operations."""
    earlier: dict[str, None] = {}
    for name, reads in flow.inputs.items():
        for each in reads or ():
            if each not in earlier and each != INPUT:
                raise _not_there(f"what {name!r} reads", each, earlier, "an operation before it", '"" for an input')
        earlier[name] = None
    for each in flow.outputs or ():
        if each not in earlier:
            raise _not_there("Network.outputs", each, earlier, "an operation of the network")


def _not_there(field: str, name: str, names: Iterable[str], *allowed: str) -> InvalidValueError:
    return InvalidValueError(field, name, " or ".join(allowed), names=names)


def check_chain(layers: Mapping[str, Any]) -> Flow:
    """The flow of layers of which each reads the result of the former.

    Raises:
        InvalidValueError: a layer that reads another number of elements, a product of two results, one whose sizes are
            unknown.
    """
    former, given = INPUT, None
    inputs: dict[str, tuple[str, ...] | None] = {}
    for name, layer in layers.items():
        sides = sides_of(layer)
        if isinstance(layer, MatMul):
            reason = "it reads two results, and in a chain each layer reads one"
            raise InvalidValueError(f"layer {name!r}", layer, "leave out is_chain", reason=reason)
        if sides is None:
            reason = "the elements that it reads and writes are unknown"
            raise InvalidValueError(f"layer {name!r}", layer, "leave out is_chain", reason=reason)
        if given is not None and is_nonzero(sides[0] != given):
            allowed = f"{given}, the outputs of {former!r}; or leave out is_chain"
            raise InvalidValueError(f"the elements that layer {name!r} reads", sides[0], allowed)
        inputs[name] = (former,)
        former, given = name, sides[1]
    return Flow(inputs, (former,) if layers else ())


def flow_without(flow: Flow, gone: Collection[str]) -> Flow:
    """The flow when some operations are left out and what they read is handed on.

    An edge to one that read several results is unknown.

    >>> flow = Flow({"a": ("",), "b": ("a",), "add": ("a", "b"), "c": ("add",)}, ("c",))
    >>> flow_without(flow, ["b", "add"])
    Flow(inputs={'a': ('',), 'c': ('a',)}, outputs=('c',))
    """
    handed: dict[str, tuple[str, ...] | None] = {}

    def outside(reads: tuple[str, ...] | None) -> tuple[str, ...] | None:
        parts = [handed.get(each, (each,)) for each in reads or ()]
        if reads is None or None in parts:
            return None
        return tuple(dict.fromkeys(name for part in parts for name in part or ()))

    def left(reads: tuple[str, ...] | None) -> tuple[str, ...] | None:
        is_known = all(len(handed[each] or ()) < 2 for each in reads or () if each in handed)
        return outside(reads) if is_known else None

    inputs = {}
    for name, reads in flow.inputs.items():
        if name in gone:
            handed[name] = outside(reads)
        else:
            inputs[name] = left(reads)
    return Flow(inputs, left(flow.outputs))
