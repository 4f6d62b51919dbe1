"""What is known about the tensors of a run: their axes, and the parameters that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hwcost.errors import InvalidValueError
from hwcost.importers import rules
from hwcost.importers.rules import Axes
from hwcost.importers.torch.inputs import without_data
from hwcost.importers.torch.makers import Makers
from hwcost.importers.torch.values import Values
from hwcost.network.axes import Axis
from hwcost.network.operations import SizeExpression

__all__ = ["A_CONSTANT", "Tensors"]

A_CONSTANT = "a constant"


@dataclass(slots=True)
class _Known:
    """What is known about a tensor, which is held so that its identity stays its own; the shape is that of then."""

    tensor: Tensor
    axes: Axes | None = None
    origin: str = ""
    shape: torch.Size = field(init=False)

    def __post_init__(self) -> None:
        self.shape = self.tensor.shape


class Tensors(rules.Tensors):
    """A register of tensors by identity, from the stand-ins for parameters and ``buffers``, by name.

    Attributes:
        values: that are known.
        makers: the operations that made what tensors hold.
        held: the axes whose size is a number that a module holds, by its name.
        heads: the widths that are numbers of attention heads.
        opened: by the module that took them apart, each such width, and the shape that it made.
        used: the names of numbers that the code computes with.
    """

    def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values, self.makers = Values(), Makers()
        self.parameters, self._buffers = dict(parameters), buffers.keys()
        for name, value in buffers.items():
            self.values.add_given(parameters[name], value)
        self._known: dict[int, _Known] = {}
        self.held: dict[str, Axis] = {}
        self.heads: set[int] = set()
        self.opened: dict[str, list[tuple[Axis, tuple[int, ...]]]] = {}
        self.used: set[str] = set()
        for name, tensor in parameters.items():
            self._known.setdefault(id(tensor), _Known(tensor, origin=name))

    def name(self, tensor: Tensor) -> str:
        """The parameter that a tensor is made of."""
        return self.origin([tensor]) or "a tensor"

    def names(self, origin: str) -> list[str]:
        """All names of a parameter: several modules may share it."""
        shared = self.parameters.get(origin)
        return [name for name, tensor in self.parameters.items() if tensor is shared] or [origin]

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tensor.shape

    def elements(self, tensor: Tensor) -> int:
        """The number of elements."""
        return tensor.numel()

    def origin(self, tensors: Iterable[Tensor]) -> str:
        """The first parameter that tensors are made of; empty if they are not made of parameters alone."""
        first = ""
        for tensor in tensors:
            known = self._known.get(id(tensor))
            if known is None or not known.origin:
                return ""
            first = first or known.origin
        return first

    def whole(self, tensor: Tensor) -> str:
        """The parameter that a tensor is all of, or a view of all of it; empty if it is none, or a part of one."""
        origin = self.origin([tensor])
        own = self.parameters.get(origin)
        if own is None or own.numel() != tensor.numel():
            return ""
        return origin if own.untyped_storage()._cdata == tensor.untyped_storage()._cdata else ""

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter, or made of nothing else."""
        return bool(self.origin([tensor]))

    def stated(self, tensor: Tensor) -> Axes | None:
        """The axes of a tensor, if it has any yet."""
        known = self._known.get(id(tensor))
        return None if known is None else known.axes

    def axes(self, tensor: Tensor) -> Axes:
        """The axes of a tensor; a parameter seen for the first time gets new ones, those of others cannot change.

        A buffer is a table that somebody computed, unless it was given axes before, as the statistics of a norm are.
        """
        known = self._known.get(id(tensor))
        if known is None:
            known = self._known[id(tensor)] = _Known(tensor)
        if known.axes is None:
            if known.origin and known.origin not in self._buffers:
                known.axes = tuple(map(self.widths.new, tensor.shape))
            else:
                known.axes = tuple(self.widths.fixed(size, A_CONSTANT) for size in tensor.shape)
        return known.axes

    def give(self, tensor: Tensor, axes: Axes, reason: str) -> None:
        """States the axes of a tensor; if it has axes already, the two are joined."""
        if len(axes) != tensor.dim():
            field = f"the number of axes given for {self.name(tensor)!r}"
            raise InvalidValueError(field, len(axes), f"{tensor.dim()}, one for each size of {tuple(tensor.shape)}")
        known = self._known.get(id(tensor))
        if known is None:
            self._known[id(tensor)] = _Known(tensor, axes)
            return
        if known.axes is None:
            known.axes = axes
        if known.axes is axes:
            return
        for old, new in zip(known.axes, axes, strict=True):
            self.widths.join(old, new, reason)

    def add(self, tensor: Tensor, origin: str) -> None:
        """A new tensor; its identity may have been that of one that nobody followed."""
        self._known[id(tensor)] = _Known(tensor, None, origin)
        self.copies.pop(id(tensor), None)

    def forget_origin(self, written: Iterable[Tensor]) -> None:
        """Tensors were written to: those that share their memory are not made of parameters alone any more."""
        memory = {each.untyped_storage()._cdata for each in written if self.is_parameter(each)}
        for known in self._known.values() if memory else ():
            if known.origin and known.tensor.untyped_storage()._cdata in memory:
                known.origin = ""

    def fix_all(self, reason: str) -> None:
        """Nothing about any tensor can change."""
        for known in list(self._known.values()):
            self.fix(known.tensor, reason)

    def forget_copies(self, tensor: Tensor) -> None:
        """A tensor was written to, and so were all that share its memory: equal elements may differ now."""
        memory = tensor.untyped_storage()._cdata
        for key in list(self.copies):
            if self._known[key].tensor.untyped_storage()._cdata == memory:
                del self.copies[key]

    def forget_reshaped(self, tensors: Iterable[Tensor], reason: str) -> None:
        """If the data of a tensor were replaced by others, its old axes cannot change, and new ones are fixed."""
        for tensor in tensors:
            known = self._known.get(id(tensor))
            if known is not None and known.shape != tensor.shape:
                for axis in known.axes or ():
                    self.widths.fix(axis, reason)
                fixed = tuple(self.widths.fixed(size, reason) for size in tensor.shape)
                self._known[id(tensor)] = _Known(tensor, fixed)

    def before_moved(self, tensor: Tensor) -> Tensor:
        """A stand-in for what a tensor was before it was given other axes in place; the tensor is now a new one."""
        known = self._known.get(id(tensor)) or _Known(tensor)
        before = torch.empty(known.shape, dtype=tensor.dtype, device="meta")
        self._known[id(before)] = _Known(before, known.axes, known.origin)
        if known.origin:  # a module with other sizes has it in the old order
            self.give(before, tuple(self.widths.fixed(size, "moved in place") for size in before.shape), "")
        if id(tensor) in self.copies:
            self.copies[id(before)] = self.copies[id(tensor)]
        self.add(tensor, known.origin)
        return before

    def on_meta(self, tensor: Tensor) -> Tensor:
        """A tensor without data for a constant that the model made elsewhere, always the same one."""
        if tensor.is_meta:
            return tensor
        self._known.setdefault(id(tensor), _Known(tensor))
        key = -id(tensor)  # no identity is negative
        if key not in self._known:
            self._known[key] = _Known(without_data(tensor))
            self.values.add(self._known[key].tensor, tensor)
            self.makers.stands_for(self._known[key].tensor, tensor)
        return self._known[key].tensor

    def hold(self, name: str, axis: Axis) -> None:
        """States that a number held in a module, called ``name`` with the module's path, is the size of an axis."""
        self.widths.join(self.held.setdefault(name, axis), axis, "a number in a module")

    def numbers(self) -> dict[str, SizeExpression]:
        """The rules of the numbers in modules that can change; those that the code computes with cannot."""
        for name in self.used & self.held.keys():
            self.widths.fix(self.held[name], "a number that the code computes with")
        found = {name: axis for name, axis in self.held.items() if not self.widths.is_fixed(axis)}
        return {name: self.widths.rule(axis) for name, axis in found.items()}

    def rules(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of every parameter; those of an unused one cannot change."""
        found = {}
        of_axes: dict[int, tuple[SizeExpression, ...]] = {}  # the parameters of a norm have the same
        for name, tensor in self.parameters.items():
            axes = self.stated(tensor)
            if axes is None:
                axes = tuple(self.widths.fixed(size, "not used") for size in tensor.shape)
                self.give(tensor, axes, "")
            if id(axes) not in of_axes:
                of_axes[id(axes)] = tuple(map(self.widths.rule, axes))
            found[name] = of_axes[id(axes)]
        return found
