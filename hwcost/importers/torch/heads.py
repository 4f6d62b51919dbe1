"""Attention heads: features that a module takes apart into heads of a size of their own, of which whole ones can go.

A reshape opens heads if the code gets their number and their size from where a smaller module has them too: a size
that is computed (-1), or a number that a module holds (``self.num_heads``), which is changed when it is cut. While a
module is read, the integers that it holds are :class:`Number` objects, so that a reshape shows where its sizes come
from. Where the code computes them from an input (``C // self.num_heads``), or as ``nn.MultiheadAttention`` does, they
cannot change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from torch import nn

from hwcost.importers.torch.calls import OperatorCall
from hwcost.importers.torch.composites import given_sizes
from hwcost.importers.torch.tensors import Tensors
from hwcost.network.axes import Axis

__all__ = [
    "Number", "are_joined", "follow_numbers", "hold_part", "hold_sizes", "is_held", "opened", "stay_equal",
    "taken_apart",
]  # fmt: skip

COMPUTED = "attention heads, whose sizes the code computes"
OF_TORCH = "attention heads of nn.MultiheadAttention, as wide as its input"


class Number(int):
    """An integer that a module holds, by its name with the module's path.

    Products of two are known as such, and have no name. Whatever else the code computes with one is not: ``used`` then
    has its name.

    >>> used = set()
    >>> heads, size = Number.of(6, "attn.num_heads", used), Number.of(4, "attn.head_dim", used)
    >>> (heads * size).factors, type(24 // heads), used
    (('attn.num_heads', 'attn.head_dim'), <class 'int'>, {'attn.num_heads'})
    """

    factors: tuple[str, ...]
    used: set[str]

    @classmethod
    def of(cls, value: int, name: str, used: set[str]) -> Number:
        """The number of this name."""
        return cls._made(value, (name,), used)

    @classmethod
    def _made(cls, value: int, factors: tuple[str, ...], used: set[str]) -> Number:
        found = cls(value)
        found.factors, found.used = factors, used
        return found

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Number):
            return self._made(int(self) * int(other), (*self.factors, *other.factors), self.used)
        return self._computed(int.__mul__, other)

    __rmul__ = __mul__

    def _computed(self, operation: Callable[[int, Any], Any], other: Any) -> Any:
        self.used.update(self.factors)
        return operation(int(self), other)


def _computed(name: str) -> Callable[[Number, Any], Any]:
    operation = getattr(int, name)
    return lambda self, other: self._computed(operation, other)


for _name in (
    "__add__", "__radd__", "__sub__", "__rsub__", "__floordiv__", "__rfloordiv__", "__truediv__", "__rtruediv__",
    "__mod__", "__rmod__", "__divmod__", "__rdivmod__", "__pow__", "__rpow__",
):  # fmt: skip
    setattr(Number, _name, _computed(_name))


def follow_numbers(named: Iterable[tuple[str, nn.Module]], used: set[str]) -> None:
    """Puts a :class:`Number` in place of each integer that a module of somebody else than PyTorch holds."""
    for path, module in named:
        own = vars(module)
        if not type(module).__module__.startswith("torch."):
            for name, value in own.items():
                if type(value) is int:
                    own[name] = Number.of(value, f"{path}.{name}" if path else name, used)


def taken_apart(old: Sequence[int], new: Sequence[int]) -> Sequence[int]:
    """The sizes that the last axis was split into, as features into heads; none if it was not.

    >>> taken_apart((64, 49, 96), (64, 49, 3, 32)), taken_apart((3136, 96), (64, 49, 96))
    ((3, 32), ())
    """
    for start in range(len(new) - 2, -1, -1):
        if old and math.prod(new[start:]) == old[-1] and 1 not in new[start:]:
            return tuple(new[start:])
    return ()


def opened(call: OperatorCall) -> bool:
    """Whether an axis can be taken apart: into heads, which are opened here, or as it was put together before."""
    given = given_sizes()
    if given is None:  # inside of an operator of PyTorch, which has all sizes from its tensors
        return True
    old, new, widths = call.shape(call.first), call.shape(call.out), call.widths
    sizes = taken_apart(old, new)
    axis = call.axes(call.first)[-1] if old else ()
    if len(sizes) not in (2, 3) or widths.is_fixed(axis):
        return False
    count, each = given[-2:] if len(given) == len(new) else (None, None)
    if not (_is_known(count) and _is_known(each)):
        if isinstance(call.module, nn.MultiheadAttention):
            widths.fix(axis, OF_TORCH)
        elif isinstance(count, Number) or _is_known(each):
            widths.fix(axis, COMPUTED)
        return False
    part = widths.made_of_parts(axis, sizes[0] if len(sizes) == 3 else 1, sizes[-1])
    widths.rename(part, f"{call.path}.heads" if call.path else "heads")
    tensors = cast("Tensors", call.tensors)
    tensors.heads.update(width for width, _ in part)
    tensors.opened.setdefault(call.path, []).append((part, new))
    return True


def _is_known(size: Any) -> bool:
    """Whether a size is computed, or a number that a module holds."""
    return isinstance(size, Number) or size == -1


def are_joined(call: OperatorCall) -> bool:
    """Whether a reshape joins heads into features of a size that its code computes; then they are fixed."""
    given, old, new = given_sizes() or (), call.shape(call.first), call.shape(call.out)
    if len(given) != len(new) or not old or new[-1:] == old[-1:] or _is_known(given[-1]):
        return False
    tensors = cast("Tensors", call.tensors)
    own = [axis for axis in call.axes(call.first) if call.widths.consists_of(axis, tensors.heads)]
    for axis in own:
        call.widths.fix(axis, COMPUTED)
    return bool(own)


def hold_sizes(call: OperatorCall) -> None:
    """States which numbers of modules a reshape gets sizes from."""
    given, axes = given_sizes() or (), call.axes(call.out)
    for axis, size in zip(axes, given, strict=True) if len(given) == len(axes) else ():
        if isinstance(size, Number) and not call.widths.is_fixed(axis):
            _hold(call, size, axis)


def is_held(size: Any) -> bool:
    """Whether a size is a number that a module holds."""
    return isinstance(size, Number)


def stay_equal(call: OperatorCall) -> bool:
    """Whether a split is into equal parts, whose size is a number that a module holds."""
    size = (given_sizes() or (None,))[0]
    return isinstance(size, Number) and not call.shape(call.first)[call["dim"]] % int(size)


def hold_part(call: OperatorCall) -> None:
    """States which number of a module is the size of each part of such a split."""
    for size in given_sizes() or ():
        if isinstance(size, Number):
            _hold(call, size, call.axes(call.out)[call["dim"]])


def _hold(call: OperatorCall, number: Number, axis: Axis) -> None:
    """States that a number is the size of an axis; a product has to be of one that follows a width."""
    tensors = cast("Tensors", call.tensors)
    if len(number.factors) == 1:
        tensors.hold(number.factors[0], axis)
    elif not any(name in tensors.held for name in number.factors):
        call.widths.fix(axis, COMPUTED)
