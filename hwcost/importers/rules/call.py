"""What a rule sees of an operator: its tensors, their axes, and what may be stated about them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from hwcost.importers.lowered import CannotPriceError, LoweredLayer
from hwcost.importers.rules.copies import Copies, distinct, plain
from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly

__all__ = ["Axes", "Call", "Handler", "Tensors"]

Axes: TypeAlias = tuple[Axis, ...]

Handler: TypeAlias = Callable[[Any], Iterable[LoweredLayer] | None]
"""A row of a table of operators: takes the call, states the axes, and returns the layers that it comes down to."""


class Tensors(ABC):
    """What a reader knows about the tensors of its graph.

    Attributes:
        widths: the axes.
        copies: which elements repeat, by the identity of their tensor.
    """

    def __init__(self) -> None:
        self.widths = AxisTracker()
        self.copies: dict[int, Copies] = {}

    @abstractmethod
    def name(self, tensor: Any) -> str:
        """A name for messages."""

    @abstractmethod
    def shape(self, tensor: Any) -> tuple[int, ...] | None:
        """The shape; None if it is unknown."""

    def elements(self, tensor: Any) -> int:
        """The number of elements; 0 if it is unknown."""
        shape = self.shape(tensor)
        return 0 if shape is None else math.prod(shape)

    @abstractmethod
    def axes(self, tensor: Any) -> Axes:
        """The axes of a tensor of known shape; new ones if none were stated."""

    @abstractmethod
    def stated(self, tensor: Any) -> Axes | None:
        """The axes, if they were stated or asked for before."""

    @abstractmethod
    def is_parameter(self, tensor: Any) -> bool:
        """Whether a tensor is a parameter, or made of parameters alone."""

    @abstractmethod
    def give(self, tensor: Any, axes: Axes, reason: str) -> None:
        """States the axes of a tensor; if it has axes already, the two are joined."""

    def fix(self, tensor: Any, reason: str) -> None:
        """Nothing about a tensor can change; one of unknown shape is skipped."""
        if self.shape(tensor) is not None:
            for axis in self.axes(tensor):
                self.widths.fix(axis, reason)


class Call:
    """One call of an operator.

    Args:
        kind: the operator's name, without its library.
        inputs, outputs: its tensors, without those that are left out.
        tensors: what is known about them.
    """

    def __init__(self, kind: str, inputs: Sequence[Any], outputs: Sequence[Any], tensors: Tensors) -> None:
        self.kind, self.inputs, self.outputs, self.tensors = kind, inputs, outputs, tensors
        self.widths = tensors.widths

    @property
    def first(self) -> Any:
        """The first input."""
        if not self.inputs:
            raise CannotPriceError("its input 1 is missing")
        return self.inputs[0]

    @property
    def out(self) -> Any:
        """The first output."""
        if not self.outputs:
            raise CannotPriceError("it has no output")
        return self.outputs[0]

    def shape(self, tensor: Any, least: int = 0) -> tuple[int, ...]:
        """The shape of a tensor.

        Raises:
            CannotPriceError: it is unknown, or has fewer than ``least`` axes.
        """
        shape = self.tensors.shape(tensor)
        if shape is None:
            raise CannotPriceError(f"the shape of {self.tensors.name(tensor)!r} is not known")
        if len(shape) < least:
            raise CannotPriceError(f"{self.tensors.name(tensor)!r} has {len(shape)} axes, and needs {least}")
        return shape

    def axes(self, tensor: Any) -> Axes:
        """The axes of a tensor."""
        return self.tensors.axes(tensor)

    def is_parameter(self, tensor: Any) -> bool:
        """Whether a tensor is a parameter, or made of parameters alone."""
        return self.tensors.is_parameter(tensor)

    def give(self, tensor: Any, axes: Sequence[Axis]) -> None:
        """States the axes of a tensor, unless it is None; if it has axes already, the two are joined."""
        if tensor is not None:
            self.tensors.give(tensor, tuple(axes), self.kind)

    def copies(self, tensor: Any) -> Copies | None:
        """Which elements of a tensor repeat; None if none are known to."""
        return self.tensors.copies.get(id(tensor))

    def give_copies(self, tensor: Any, copies: Copies | None) -> None:
        """States which elements of a tensor repeat."""
        if copies is not None and any(repeats for axis in copies for _, repeats in axis):
            self.tensors.copies[id(tensor)] = copies

    def matrices(self, tensor: Any, axes: Iterable[int]) -> int:
        """The number of places along some axes of a tensor whose elements are not copies of those at others."""
        copies = self.copies(tensor) or plain(self.shape(tensor))
        return distinct(copies[axis] for axis in axes)

    @property
    def repeats(self) -> bool:
        """Whether elements repeat in both its first input and its first output; a device then needs each once."""
        ends = (*self.inputs[:1], *self.outputs[:1])
        return len(ends) == 2 and all(self.copies(each) is not None for each in ends)

    def _distinct(self, tensor: Any) -> int:
        copies = self.copies(tensor)
        return self.tensors.elements(tensor) if copies is None else distinct(copies)

    def moved(self, kind: str, *, is_look_up: bool = False) -> MemoryOnly:
        """What it reads and writes without products; a look-up reads no more of its table than it returns."""
        repeats = bool(self.tensors.copies) and self.repeats
        count = self._distinct if repeats else self.tensors.elements
        outputs = self.outputs[:1] if self.kind.endswith("_with_indices") else self.outputs  # nobody reads the indices
        reads, writes = sum(map(count, self.inputs)), sum(map(count, outputs))
        return MemoryOnly(kind, min(reads, 2 * writes) if is_look_up else reads, writes)

    def fixed(self, shape: Iterable[int], reason: str = "") -> Axes:
        """Axes that cannot change; the operator is the reason by default."""
        fixed, why = self.widths.fixed, reason or self.kind
        return tuple([fixed(size, why) for size in shape])

    def fix(self, *tensors: Any) -> None:
        """Nothing about these tensors can change; those that are None or of unknown shape are skipped."""
        for tensor in tensors:
            if tensor is not None:
                self.tensors.fix(tensor, self.kind)

    def fix_all(self) -> None:
        """Nothing about the inputs and outputs can change."""
        self.fix(*self.inputs)
        self.fix_new_outputs()

    def fix_new_outputs(self) -> None:
        """Outputs of known shape about which nothing was stated cannot change."""
        for tensor in self.outputs:
            shape = self.tensors.shape(tensor)
            if shape is not None and self.tensors.stated(tensor) is None:
                self.give(tensor, self.fixed(shape))

    def open(self, **sizes: Axis) -> dict[str, Axis]:
        """The axes that can change: rows and batches seldom can, and then need no rule."""
        return {name: axis for name, axis in sizes.items() if not self.widths.is_fixed(axis)}

    def merge(self, axes: Sequence[Axis]) -> Axis:
        """Several axes as one; if more than one of them could change, none can."""
        if len(axes) == 1:
            return axes[0]
        moving = [axis for axis in axes if not self.widths.is_fixed(axis)]
        if len(moving) > 1:
            for axis in moving:
                self.widths.fix(axis, self.kind)
        size = math.prod(map(self.widths.size, axes))
        if len(moving) != 1 or not size:
            return self.widths.fixed(size, self.kind)
        return self.widths.scaled(moving[0], size // self.widths.size(moving[0]))
