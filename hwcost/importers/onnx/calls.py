"""One node of an ONNX graph, as the rules see it, and what is known about the values of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from hwcost.importers.onnx.shapes import Value, attributes_of
from hwcost.importers.rules import Axes, Call, CannotPriceError, Tensors

__all__ = ["Node", "Values"]

_A_CONSTANT = "a constant"


class Values(Tensors):
    """What is known about the values of a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, None] = {}
        self.by_name: dict[str, Value] = {}

    def name(self, value: Value) -> str:
        """The name of a value."""
        return value.name

    def shape(self, value: Value) -> tuple[int, ...] | None:
        """The shape of a value; None if it is unknown."""
        return value.shape

    def stated(self, value: Value) -> Axes | None:
        """The axes of a value, if it has any yet."""
        return value.axes

    def fix(self, value: Value, reason: str) -> None:
        """Nothing about a value can change, or about those that it holds as a sequence."""
        super().fix(value, reason)
        for item in value.items or ():
            super().fix(item, reason)

    def is_parameter(self, value: Value) -> bool:
        """Whether a value is made of initializers and constants alone."""
        return bool(value.origin)

    def axes(self, value: Value) -> Axes:
        """The axes of a value.

        A parameter gets new ones, except for axes of 1, which are there to be stretched, and for tables of integers.
        Vectors among parameters get new ones each time: exporters keep equal ones once, and two layers whose biases are
        all zeros need not be as wide as each other.

        Raises:
            CannotPriceError: the shape is unknown.
        """
        if value.axes is not None and not _is_vector(value):
            return value.axes
        if value.shape is None:
            raise CannotPriceError(f"the shape of {value.name!r} is not known")
        own = bool(value.origin) and not value.is_integer
        axes = tuple(
            self.widths.new(size) if own and size > 1 else self.widths.fixed(size, _A_CONSTANT) for size in value.shape
        )
        if not _is_vector(value):
            value.axes = axes
        return axes

    def give(self, value: Value, axes: Axes, reason: str) -> None:
        """States the axes of a value, and its shape if that is unknown.

        Raises:
            CannotPriceError: the value has another shape.
        """
        sizes = tuple(map(self.widths.size, axes))
        if value.shape is None:
            value.set_shape(sizes)
        if value.shape != sizes:
            raise CannotPriceError(f"{value.name!r} has the shape {value.shape}, not {'x'.join(map(str, sizes))}")
        if value.axes is None or _is_vector(value):
            value.axes = axes
            return
        for old, new in zip(value.axes, axes, strict=True):
            self.widths.join(old, new, reason)


def _is_vector(value: Value) -> bool:
    """Whether a value is a parameter along one axis: a bias, a scale."""
    return bool(value.origin and value.shape is not None) and sum(size > 1 for size in value.shape or ()) <= 1


class Node(Call):
    """A node of the graph; ``places`` are its inputs in order, None for one that is left out."""

    def __init__(
        self, node: onnx.NodeProto, places: Sequence[Value | None], outputs: Sequence[Value], values: Values
    ) -> None:
        super().__init__(str(node.op_type), [each for each in places if each is not None], outputs, values)
        self.attributes: Mapping[str, Any] = attributes_of(node)
        self.places, self._values = places, values

    def get(self, index: int | None) -> Value | None:
        """An input that may be left out."""
        return None if index is None or index >= len(self.places) else self.places[index]

    def __getitem__(self, index: int) -> Value:
        value = self.get(index)
        if value is None:
            raise CannotPriceError(f"its input {index + 1} is missing")
        return value

    def constant(self, index: int) -> list[int] | None:
        """The integers that an input holds; None if they are unknown."""
        elements = self[index].constant
        return None if elements is None else [int(each) for each in elements.ravel()]

    def note(self, text: str) -> None:
        """A remark on how the graph was interpreted, made once."""
        self._values.notes[text] = None
