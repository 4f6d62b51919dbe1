"""What an operator comes down to: layers with the axes that their sizes follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation, Unsupported, check_layer

__all__ = ["MADE_ONCE", "CannotPriceError", "LoweredLayer", "Step", "larger_of", "size_of", "times_over"]

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
    """

    layer: Any
    kind: str
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weight: Any = None
    output_axis: Axis | None = None
    part: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_layer(self.layer, "LoweredLayer.layer")


@dataclass(slots=True)
class Step:
    """An operation whose sizes are axes still, not yet sums of named widths."""

    name: str
    kind: str
    path: str
    layer: Any
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weights: str = ""

    def operation(self, widths: AxisTracker) -> Operation:
        """The operation, once all widths have their names."""
        sizes = {name: widths.rule(axis) for name, axis in self.sizes.items()}
        return Operation(self.layer, sizes, self.kind, self.path, self.weights)


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
        yield dataclasses.replace(step, layer=MemoryOnly(layer.kind, times * layer.reads, times * layer.writes))
    elif isinstance(layer, Unsupported):
        yield step
    else:
        gemms = layer.gemms()
        weights = step.weights if len(gemms) == 1 else ""
        for gemm in gemms:
            inputs = (times * gemm.inputs[0], *gemm.inputs[1:]) if gemm.inputs else ()
            own = dataclasses.replace(gemm, count=times * gemm.count, inputs=inputs)
            yield dataclasses.replace(step, layer=own, sizes={}, weights=weights)
