"""What is found while a graph is followed: the operations in order, and the network that they are in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from hwcost.errors import InvalidValueError
from hwcost.importers.attention import name_attention
from hwcost.importers.graph.values import GraphCall, GraphValue, GraphValues
from hwcost.importers.lowered import CannotPriceError, LoweredLayer, Sources, Step, named, sources_by_name
from hwcost.importers.naming import UniqueNames
from hwcost.importers.rules import Handler
from hwcost.network.axes import Axis
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, SizeExpression, Unsupported, Width
from hwcost.network.run import Ends

__all__ = [
    "Made", "Operations", "ends_between", "layers_of", "moved", "network_of", "origin_of", "sources_of",
]  # fmt: skip

Made: TypeAlias = tuple[Step, Axis | None]
"""An operation, and the width that is named after it."""


class Operations:
    """The operations that were found, in order.

    Args:
        same: constants that are another one, by name.
    """

    def __init__(self, same: Mapping[str, str] | None = None) -> None:
        self._made: list[Made] = []
        self._same = same or {}

    def mark(self) -> int:
        """The place that the next operation gets."""
        return len(self._made)

    def take_back(self, mark: int) -> list[Made]:
        """Removes and returns the operations from a place on."""
        made = self._made[mark:]
        del self._made[mark:]
        return made

    def give_back(self, made: Iterable[Made]) -> None:
        """Adds operations that were taken back."""
        self._made += made

    def add(
        self, named_as: Callable[[str], tuple[str, str]], lowered: LoweredLayer, sources: Sources | None = None
    ) -> Step:
        """Adds an operation that reads what was made by these.

        Args:
            named_as: its name and the path of its module, as a part of an operator or, with "", as all of it.
            lowered: the operation.
            sources: what made that which it reads.
        """
        name, path = named_as(lowered.part)
        own = "" if lowered.weight is None else lowered.weight.origin
        is_whole = bool(own) and lowered.weight.name == own
        weights = self._same.get(own, own) if is_whole else ""
        step = Step(name, lowered.kind, path, lowered.layer, lowered.sizes, weights, sources)
        has_weight = bool(own)
        is_product = not (has_weight or lowered.part or isinstance(lowered.layer, (MemoryOnly, Unsupported)))
        if is_product and lowered.kind.lower() in name.lower():  # else it has a name of its own in the file
            step.named_as = lambda part: named_as(part)[0]
        self._made.append((step, lowered.output_axis if has_weight else None))
        return step

    def named(self, values: GraphValues) -> dict[str, Operation]:
        """All operations in order, by a name of their own."""
        unique = UniqueNames()
        name_attention([step for step, _ in self._made])
        for step, output_axis in self._made:
            step.name = unique(step.name)
            if output_axis is not None:
                values.widths.call(output_axis, step.name)
        return named([step for step, _ in self._made], values.widths)

    def outputs(self, values: Iterable[GraphValue]) -> tuple[str, ...] | None:
        """The names of the operations that make these values; None if one is unknown."""
        places = {step: place for place, (step, _) in enumerate(self._made)}
        found = sources_by_name(sources_of(values), places)
        return found and tuple(filter(None, found))


def sources_of(values: Iterable[GraphValue]) -> Sources:
    """The operations that made some of these values, each once."""
    return tuple(dict.fromkeys(source for value in values for source in value.sources))


def layers_of(
    call: GraphCall, handler: Handler, reason: str, *, is_row: bool, is_own: bool
) -> tuple[tuple[LoweredLayer, ...], str]:
    """The layers of a call, and why it is not supported.

    Args:
        call: of an operator.
        handler: which states the axes of its outputs.
        reason: why it is known not to be supported; empty if it is not.
        is_row: whether the handler prices it.
        is_own: whether the handler is the caller's own.
    """
    layers: tuple[LoweredLayer, ...] = ()
    try:
        layers = tuple(handler(call) or ())
    except (CannotPriceError, InvalidValueError) as error:
        is_refused = isinstance(error, InvalidValueError)  # a layer that cannot be
        if is_refused and is_own:
            raise
        is_empty = is_refused and any(0 in (value.shape or ()) for value in (*call.inputs, *call.outputs))
        if (is_row or is_refused) and not is_empty:  # without elements nothing is multiplied
            reason = str(error)
        call.fix(*call.inputs, *call.outputs)
    call.fix_new_outputs()
    return layers, reason


def moved(call: GraphCall, *, is_view: bool, is_look_up: bool) -> MemoryOnly:
    """The elements that a call without products reads and writes, if shapes are known."""
    if is_view:
        return MemoryOnly(call.kind)
    if any(value.shape is None for value in (*call.inputs, *call.outputs)):
        call.note("where a shape depends on values, reads and writes are not counted")
    return call.moved(call.kind, is_look_up=is_look_up)


def ends_between(inputs: Iterable[GraphValue], outputs: Iterable[GraphValue]) -> Ends | None:
    """What a graph takes and gives; None if a shape is not known."""
    sides = [[value.shape for value in side] for side in (inputs, outputs)]
    if any(shape is None for side in sides for shape in side):
        return None
    return Ends(*(sum(math.prod(shape or ()) for shape in side) for side in sides))


def origin_of(inputs: Sequence[GraphValue]) -> str:
    """The parameter that outputs are made of: the first, if all inputs are parameters; empty if not, or without any."""
    return inputs[0].origin if inputs and all(value.origin for value in inputs) else ""


def network_of(
    name: str,
    where: str,
    operations: Mapping[str, Operation],
    parameters: Mapping[str, tuple[SizeExpression, ...]],
    values: GraphValues,
    outputs: tuple[str, ...] | None = None,
) -> Network:
    """The network of a graph that was followed to its end.

    Raises:
        InvalidValueError: it multiplies nothing.
    """
    widths = _in_use(values.widths.table(), operations, parameters)
    network = Network(
        name,
        operations,
        widths,
        parameters,
        notes=tuple(values.notes),
        source=where,
        ends=values.ends,
        outputs=outputs,
    )
    if not network.priced and not network.unsupported:
        allowed = "pass a graph with a convolution or a matrix product"
        raise InvalidValueError("the model", where, allowed, reason=f"{where} multiplies nothing")
    return network


def _in_use(
    widths: Mapping[str, Width],
    operations: Mapping[str, Operation],
    parameters: Mapping[str, tuple[SizeExpression, ...]],
) -> dict[str, Width]:
    """The widths that some layer or parameter follows."""
    used = {name for operation in operations.values() for name in operation.widths}
    used |= {name for rules in parameters.values() for rule in rules for name, _ in rule}
    return {name: width for name, width in widths.items() if name in used}
