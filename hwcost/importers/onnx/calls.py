"""One node of an ONNX graph, as the tables of operators see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hwcost.importers.onnx.shapes import Value
from hwcost.network.axes import Axis, AxisTracker

if TYPE_CHECKING:
    from hwcost.importers.onnx.tracer import Tracer

__all__ = ["Axes", "Call", "CannotPriceError", "LoweredLayer", "ProductHandler"]

Axes: TypeAlias = tuple[Axis, ...]
ProductHandler: TypeAlias = "Callable[[Call], Iterator[LoweredLayer]]"


class CannotPriceError(Exception):
    """A node of a known kind that is not understood; the message says why."""


@dataclass(frozen=True)
class LoweredLayer:
    """A layer that a node is, with the axes that its fields follow.

    Attributes:
        layer: what is priced.
        kind: as people call it.
        sizes: the axes of its fields.
        weight: the operand that is a parameter, if one is.
        output_axis: the width that it makes.
        part: of the node, where that is several layers.
    """

    layer: Any
    kind: str
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weight: Value | None = None
    output_axis: Axis | None = None
    part: str = ""


@dataclass
class Call:
    """A node with its values.

    Attributes:
        kind: the operator, without its domain.
        attributes: as Python's values.
        inputs: in order; None where an optional one is left out.
        outputs: those that have a name.
        tracer: what is known of the graph.
    """

    kind: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]
    outputs: Sequence[Value]
    tracer: Tracer

    @property
    def widths(self) -> AxisTracker:
        """The register of widths."""
        return self.tracer.widths

    @property
    def given(self) -> list[Value]:
        """The inputs that are there."""
        return [value for value in self.inputs if value is not None]

    def get(self, index: int) -> Value | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def __getitem__(self, index: int) -> Value:
        value = self.get(index)
        if value is None:
            raise CannotPriceError(f"its input {index + 1} is missing")
        return value

    @property
    def out(self) -> Value:
        """The first output."""
        if not self.outputs:
            raise CannotPriceError("nothing comes out of it")
        return self.outputs[0]

    def shape(self, value: Value, least: int = 0) -> tuple[int, ...]:
        """The shape of a value.

        Raises:
            CannotPriceError: it is not known, or has fewer than ``least`` axes.
        """
        if value.shape is None:
            raise CannotPriceError(f"the shape of {value.name!r} is not known")
        if len(value.shape) < least:
            raise CannotPriceError(f"{value.name!r} has {len(value.shape)} axes, and needs {least}")
        return value.shape

    def axes(self, value: Value) -> Axes:
        """The axes of a value whose shape is known."""
        return self.tracer.axes(value)

    def fixed(self, shape: Sequence[int], reason: str) -> Axes:
        """Axes that cannot change."""
        return tuple(self.widths.fixed(size, reason) for size in shape)

    def give(self, value: Value | None, axes: Sequence[Axis]) -> None:
        """Says what the axes of a value are, where it is there; where some were said already, both are the same."""
        if value is not None:
            self.tracer.give(value, tuple(axes), self.kind)

    def fix(self, *values: Value | None) -> None:
        """Nothing about these values can change."""
        for value in values:
            if value is not None and value.shape is not None:
                for axis in self.axes(value):
                    self.widths.fix(axis, self.kind)

    def fix_all(self) -> None:
        """Nothing about inputs and outputs can change."""
        self.fix(*self.inputs)
        for value in self.outputs:
            if value.shape is not None and value.axes is None:
                self.give(value, self.fixed(value.shape, self.kind))

    def open(self, sizes: Mapping[str, Axis | None]) -> dict[str, Axis]:
        """Those of the axes that can change: rows and batches seldom do, and then need no rule."""
        return {name: axis for name, axis in sizes.items() if axis is not None and not self.widths.is_fixed(axis)}

    def merged(self, axes: Sequence[Axis]) -> Axis:
        """Several axes as one; where more than one of them could change, none can."""
        moving = [axis for axis in axes if not self.widths.is_fixed(axis)]
        if len(moving) > 1:
            for axis in moving:
                self.widths.fix(axis, self.kind)
        size = math.prod(map(self.widths.size, axes))
        if len(moving) != 1:
            return self.widths.fixed(size, self.kind)
        return self.widths.scaled(moving[0], size // self.widths.size(moving[0]))
