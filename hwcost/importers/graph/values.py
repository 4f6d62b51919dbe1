"""The values of a graph in a file, their axes, and one call of an operator with its inputs by number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from hwcost.importers.lowered import Sources
from hwcost.importers.rules import Axes, Call, CannotPriceError, Tensors
from hwcost.network.axes import Axis
from hwcost.network.operations import SizeExpression
from hwcost.network.run import Ends

__all__ = ["GraphCall", "GraphValue", "GraphValues"]

_A_CONSTANT = "a constant"


@dataclass(eq=False)
class GraphValue:
    """A tensor of the graph.

    Attributes:
        name: as the graph has it.
        type: as the format has it; None if unknown.
        shape: None unless all of it is known.
        constant: its elements, if they are known and few.
        origin: the parameter or constant that it is made of; empty if it depends on an input.
        axes: its axes, once they are stated.
        sources: the operations that made it: none for a constant, several for the branches of a sequence.
    """

    name: str
    type: Any = None
    shape: tuple[int, ...] | None = None
    constant: np.ndarray[Any, Any] | None = None
    origin: str = ""
    axes: tuple[Axis, ...] | None = None
    sources: Sources = ()

    def set_shape(self, shape: tuple[int, ...]) -> None:
        """States a shape that was unknown."""
        self.shape = shape

    def unknown(self, origin: str = "") -> Self:
        """The same without its elements, and made of another parameter."""
        return dataclasses.replace(self, constant=None, origin=origin)

    @property
    def size(self) -> int:
        """The number of elements; 0 if it is unknown."""
        return math.prod(self.shape) if self.shape is not None else 0

    @property
    def is_integer(self) -> bool:
        """Whether it holds 64-bit integers, truth values or texts: sizes and places, not weights."""
        return False


class GraphValues(Tensors):
    """What is known about the values of a graph.

    Attributes:
        notes: remarks on how the graph was interpreted, each once.
        ends: what the graph takes and gives, once it was followed and if it is known.
    """

    ends: Ends | None = None

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, None] = {}

    def name(self, value: Any) -> str:
        """The name of a value."""
        return str(value.name)

    def shape(self, value: Any) -> tuple[int, ...] | None:
        """The shape of a value; None if it is unknown."""
        shape: tuple[int, ...] | None = value.shape
        return shape

    def stated(self, value: Any) -> Axes | None:
        """The axes of a value, if it has any yet."""
        axes: Axes | None = value.axes
        return axes

    def is_parameter(self, value: Any) -> bool:
        """Whether a value is made of parameters and constants alone."""
        return bool(value.origin)

    def axes(self, value: Any) -> Axes:
        """The axes of a value.

        A parameter gets new ones, except for axes of 1, which are there to be stretched, and for tables of integers.
        Vectors among parameters get new ones each time: exporters keep equal ones once, and two layers whose biases are
        all zeros need not be as wide as each other.

        Raises:
            CannotPriceError: the shape is unknown.
        """
        if value.axes is not None and not _is_vector(value):
            return tuple(value.axes)
        if value.shape is None:
            raise CannotPriceError(f"the shape of {value.name!r} is not known")
        own = bool(value.origin) and not value.is_integer
        axes = tuple(
            self.widths.new(size) if own and size > 1 else self.widths.fixed(size, _A_CONSTANT) for size in value.shape
        )
        if not _is_vector(value):
            value.axes = axes
        return axes

    def give(self, value: Any, axes: Axes, reason: str) -> None:
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

    def join(self, a: GraphValue, b: GraphValue, reason: str) -> None:
        """Two values that take the same place have the same axes, if their shapes are the same."""
        if a.shape is None or a.shape != b.shape:
            self.fix(a, "another shape elsewhere")
            self.fix(b, "another shape elsewhere")
            return
        for x, y in zip(self.axes(a), self.axes(b), strict=True):
            self.widths.join(x, y, reason)

    def rules_of(self, parameters: Mapping[str, GraphValue]) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of parameters, by name, as far as any were stated."""
        return {
            name: tuple(map(self.widths.rule, value.axes))
            for name, value in parameters.items()
            if value.axes and not value.is_integer and 0 not in (value.shape or ())
        }


def _is_vector(value: GraphValue) -> bool:
    """Whether a value is a parameter along one axis: a bias, a scale."""
    return bool(value.origin and value.shape is not None) and sum(size > 1 for size in value.shape or ()) <= 1


class GraphCall(Call):
    """A call in the graph.

    Args:
        kind: the operator.
        places: its inputs in order, None for one that is left out.
        outputs: its outputs, without those that are left out.
        attributes: of the call, by name.
        values: of the graph.
    """

    def __init__(
        self,
        kind: str,
        places: Sequence[Any],
        outputs: Sequence[Any],
        attributes: Mapping[str, Any],
        values: GraphValues,
    ) -> None:
        super().__init__(kind, [each for each in places if each is not None], outputs, values)
        self.attributes = attributes
        self.places, self.values = places, values

    def get(self, index: int | None) -> Any:
        """An input that may be left out."""
        return None if index is None or index >= len(self.places) else self.places[index]

    def __getitem__(self, index: int) -> Any:
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
        self.values.notes[text] = None
