"""One operator of a TFLite graph, as the rules see it, and what is known about the tensors of a graph.

TFLite's channels come last. The rules of convolutions expect them behind the batch: a :class:`Turned` tensor is one
whose axes are read in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.importers.graph.values import GraphCall, GraphValue, GraphValues
from hwcost.importers.rules import Axes, Call, CannotPriceError
from hwcost.importers.tflite.loading import Operator, Tensor

__all__ = ["OperatorCall", "Turned", "Value", "Values", "constant_of"]

_MOST_ELEMENTS = 4096
"""Elements up to which a constant keeps its values: it may be the target of a reshape."""
_NUMBERS = {
    "BOOL": np.bool_, "FLOAT32": np.float32, "FLOAT64": np.float64, "INT8": np.int8, "INT16": np.int16,
    "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8, "UINT32": np.uint32,
}  # fmt: skip


@dataclass(eq=False)
class Value(GraphValue):
    """A tensor of the graph; its type is a name of the schema."""

    @property
    def is_integer(self) -> bool:
        """Whether it holds 64-bit integers, truth values or texts: sizes and places, not weights."""
        return self.type in ("INT64", "UINT64", "BOOL", "STRING")


def constant_of(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """The elements of a constant, if they are few."""
    kind = _NUMBERS.get(tensor.type)
    if kind is None or tensor.is_sparse or np.prod(tensor.shape, dtype=object) > _MOST_ELEMENTS:
        return None
    data = b"" if tensor.data is None else tensor.data.tobytes()
    return np.frombuffer(data, kind).reshape(tensor.shape)


@dataclass(frozen=True)
class Turned:
    """A tensor whose axes are read in another order.

    Args:
        value: the tensor.
        order: the axis of the tensor at each place.
    """

    value: Value
    order: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return self.value.name

    @property
    def origin(self) -> str:
        """The parameter that it is made of."""
        return self.value.origin


class Values(GraphValues):
    """What is known about the tensors of a graph, also of turned ones."""

    def name(self, value: Value | Turned) -> str:
        """The name of a tensor."""
        return _plain(value).name

    def is_parameter(self, value: Value | Turned) -> bool:
        """Whether a tensor is made of constants alone."""
        return bool(value.origin)

    def shape(self, value: Value | Turned) -> tuple[int, ...] | None:
        """The shape of a tensor; None if it is unknown."""
        return _turned(value, super().shape(_plain(value)))

    def stated(self, value: Value | Turned) -> Axes | None:
        """The axes of a tensor, if it has any yet."""
        return _turned(value, super().stated(_plain(value)))

    def axes(self, value: Value | Turned) -> Axes:
        """The axes of a tensor; see :class:`GraphValues`."""
        axes = _turned(value, super().axes(_plain(value)))
        return () if axes is None else axes

    def give(self, value: Value | Turned, axes: Axes, reason: str) -> None:
        """States the axes of a tensor; see :class:`GraphValues`."""
        if isinstance(value, Turned):
            axes = tuple(axes[value.order.index(place)] for place in range(len(axes)))
        super().give(_plain(value), axes, reason)


def _plain(value: Value | Turned) -> Value:
    return value.value if isinstance(value, Turned) else value


def _turned(value: Value | Turned, found: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return tuple(found[place] for place in value.order) if found is not None and isinstance(value, Turned) else found


class OperatorCall(GraphCall):
    """A call of an operator; ``places`` are its inputs in order, None for one that is left out."""

    def __init__(
        self, operator: Operator, places: Sequence[Value | None], outputs: Sequence[Value], values: Values
    ) -> None:
        super().__init__(operator.kind, places, outputs, operator.options, values)

    def turn(self, value: Value, order: Sequence[int]) -> Turned:
        """A tensor whose axes are read in another order.

        Raises:
            CannotPriceError: it has another number of axes.
        """
        if value.shape is not None and len(value.shape) != len(order):
            raise CannotPriceError(f"{value.name!r} has {len(value.shape)} axes, and needs {len(order)}")
        return Turned(value, tuple(order))

    def about(self, *inputs: Any, outputs: Sequence[Any] | None = None) -> Call:
        """The same call with other inputs, and other outputs if they are given."""
        return Call(self.kind, inputs, self.outputs if outputs is None else outputs, self.tensors)

    def option(self, name: str, default: int = 0) -> int:
        """A number among the attributes."""
        found = self.attributes.get(name, default)
        return default if found is None else int(found)

    def one_of(self, index: int) -> int:
        """The one integer that an input holds.

        Raises:
            CannotPriceError: it is unknown, or there are several.
        """
        known = self.constant(index)
        if known is None or len(known) != 1:
            raise CannotPriceError(f"its input {index + 1} is not one known number")
        return known[0]
