"""What an operator comes down to: layers with the axes that their sizes follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation, Unsupported, check_layer

__all__ = [
    "MADE_ONCE", "CannotPriceError", "LoweredLayer", "Sources", "Step", "add_layers", "larger_of", "named", "size_of",
    "sources_by_name", "stand_for", "times_over",
]  # fmt: skip

MADE_ONCE = "products of weights alone are computed once, when a model is loaded, and not counted"
"""A note on networks that have such products."""


class CannotPriceError(Exception):
    """An operator of a known kind that cannot be priced; the message gives the reason."""


@dataclass(frozen=True)
class LoweredLayer:
    """A layer that an operator comes down to.

    Args:
        layer: what is priced.
        kind: the operator, in words for people.
        sizes: the axes that fields of the layer follow, by field.
        weight: the operand that is a parameter, if one is: the operation takes its name.
        output_axis: the width that the layer makes, named after the operation.
        part: of the operator, if that is several layers.
        note: a remark on how it was interpreted, for the notes of the network.
        reads: what it reads: inputs of the call, and layers that the call comes down to as well. By default the first
            layer reads all inputs, and each further one the layer before it.
    """

    layer: Any
    kind: str
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weight: Any = None
    output_axis: Axis | None = None
    part: str = ""
    note: str = ""
    reads: Sequence[Any] = ()

    def __post_init__(self) -> None:
        check_layer(self.layer, "LoweredLayer.layer")


@dataclass(slots=True, eq=False)
class Step:
    """An operation whose sizes are axes still, not yet sums of named widths.

    Attributes:
        sources: what made that which it reads; None if it is unknown.
        named_as: its name as a part of attention, which a product of two activations may turn out to be.
        became: the last of the operations that took its place, when a body was counted as often as it runs.
    """

    name: str
    kind: str
    path: str
    layer: Any
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weights: str = ""
    sources: Sources | None = None
    named_as: Callable[[str], str] | None = None
    became: Step | None = None

    def operation(self, widths: AxisTracker, inputs: tuple[str, ...] | None = None) -> Operation:
        """The operation, once all widths have their names; ``inputs`` are the operations that it reads."""
        sizes = {name: widths.rule(axis) for name, axis in self.sizes.items()}
        return Operation(self.layer, sizes, self.kind, self.path, self.weights, inputs)


Sources: TypeAlias = tuple[Step | None, ...]
"""The operations that made something; None is an input of the network."""


def add_layers(
    layers: Sequence[LoweredLayer],
    inputs: Sequence[Any],
    sources_of: Callable[[Iterable[Any]], Sources],
    add: Callable[[LoweredLayer, Sources], Step],
) -> Sources:
    """Adds the layers of a call; returns those whose results are the call's: which no other layer of it reads.

    Args:
        layers: that the call comes down to.
        inputs: of the call.
        sources_of: what made some of them.
        add: adds a layer that reads what was made by these.
    """
    if len(layers) == 1:
        return (add(layers[0], sources_of(inputs)),)
    made: dict[int, Step] = {}
    last: dict[Step | None, None] = {}
    for index, lowered in enumerate(layers):
        sources: dict[Step | None, None] = {}
        for each in lowered.reads or (layers[index - 1 : index] if index else inputs):
            own = made.get(id(each))
            sources |= dict.fromkeys(sources_of((each,)) if own is None else (own,))
            last.pop(own, None)
        step = made[id(lowered)] = add(lowered, tuple(sources))
        last[step] = None
    return tuple(last)


def stand_for(steps: Sequence[Step], step: Step) -> None:
    """Puts one operation in the place of those of a body, which are not there any more."""
    inside, sources = set(steps), dict[Step | None, None]()
    for each in steps:
        sources |= dict.fromkeys(each.sources or ())
        each.became = step
    is_known = all(each.sources is not None for each in steps)
    step.sources = tuple(each for each in sources if each is None or each not in inside) if is_known else None


def named(steps: Sequence[Step], widths: AxisTracker) -> dict[str, Operation]:
    """The operations that steps are, by their names, which differ."""
    places = {step: place for place, step in enumerate(steps)}
    return {step.name: step.operation(widths, sources_by_name(step.sources, places, step)) for step in steps}


def sources_by_name(
    sources: Sources | None, places: Mapping[Step, int], reader: Step | None = None
) -> tuple[str, ...] | None:
    """The names of operations, each once; None if one is unknown, as it is not there any more.

    What a reader gets from a later one is of the former run of a loop, and left out.
    """
    if sources is None:
        return None
    found: dict[str, None] = {}
    until = len(places) if reader is None else places[reader]
    for source in sources:
        own = source
        while own is not None and own.became is not None:
            own = own.became
        if own is None:
            found[""] = None
        elif own not in places:
            return None
        elif places[own] < until:
            found[own.name] = None
    return tuple(found)


def size_of(layers: Iterable[Any]) -> tuple[int, int]:
    """The MACs of layers, and the elements that those without products move."""
    known = [each for each in layers if not isinstance(each, Unsupported)]
    moved = sum(each.reads + each.writes for each in known if isinstance(each, MemoryOnly))
    return sum(gemm.macs for each in known for gemm in each.gemms()), moved


def larger_of(sizes: Mapping[str, tuple[int, int]]) -> tuple[str, str]:
    """The names of two branches, the larger one first; as they are given, if none is larger."""
    larger, smaller = sorted(sizes, key=sizes.__getitem__, reverse=True)
    return larger, smaller


def times_over(step: Step, times: int, widths: AxisTracker, reason: str) -> Iterator[Step]:
    """An operation of a body as often as that runs, one time after the other; its sizes cannot change."""
    for axis in step.sizes.values():
        widths.fix(axis, reason)
    layer = step.layer
    if isinstance(layer, MemoryOnly):
        own = MemoryOnly(layer.kind, times * layer.reads, times * layer.writes)
        step.became = dataclasses.replace(step, layer=own, became=None)
        yield step.became
    elif isinstance(layer, Unsupported):
        yield step
    else:
        gemms, sources = layer.gemms(), step.sources
        weights = step.weights if len(gemms) == 1 else ""
        for gemm in gemms:
            inputs = (times * gemm.inputs[0], *gemm.inputs[1:]) if gemm.inputs else ()
            own = dataclasses.replace(gemm, count=times * gemm.count, inputs=inputs)
            step.became = dataclasses.replace(step, layer=own, sizes={}, weights=weights, sources=sources, became=None)
            sources = (step.became,)
            yield step.became
