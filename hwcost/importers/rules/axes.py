"""What operators without products do to the axes of their tensors.

Each rule takes the call, and whatever the operator's arguments add. Unless a rule has an argument for it, the tensor
that it is about is the first input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from hwcost.importers.rules.call import Axes, Call
from hwcost.importers.rules.copies import plain, repeat_copies, reshape_copies
from hwcost.network.axes import Axis

__all__ = [
    "channel_norm", "concatenation", "elementwise", "embedding", "expand", "free", "gate", "group_norm", "keep_axes",
    "layer_norm", "lookup", "map_elements", "permute", "position", "reduction", "reshape", "resizing", "same", "split",
    "squeeze", "stack", "unsqueeze",
]  # fmt: skip

_MOST_PIECES = 1000


def free(call: Call) -> None:
    """Nothing is known about the axes: none of the inputs and outputs can change."""
    call.fix_all()


def position(call: Call, tensor: Any, dim: int) -> int:
    """An axis as a number from 0, also if it is counted from the end."""
    return dim % max(1, len(call.shape(tensor)))


def elementwise(call: Call) -> None:
    """Tensors meet element by element, with their ends aligned."""
    if len(call.inputs) == 1 and {call.shape(call.first)}.issuperset(map(call.tensors.shape, call.outputs)):
        same(call)
        return
    shaped = [tensor for tensor in call.inputs if call.tensors.shape(tensor)]
    wide = _broadcast([call.shape(tensor) for tensor in shaped])
    shapes = [call.tensors.shape(tensor) for tensor in call.outputs]
    if wide is None or any(shape is not None and shape != wide for shape in shapes):
        call.fix_all()
        return
    axes = call.widths.join_broadcast([call.axes(tensor) for tensor in shaped], call.kind)
    is_known = None not in map(call.tensors.shape, call.inputs)
    for index, (tensor, shape) in enumerate(zip(call.outputs, shapes, strict=True)):
        if shape == wide or (shape is None and is_known and not index):
            call.give(tensor, axes)


def map_elements(call: Call) -> None:
    """One tensor element by element, as by a cast, a copy or a scale: equal elements stay equal."""
    elementwise(call)
    copies, shape = call.copies(call.first), call.tensors.shape(call.first)
    if copies is not None and all(math.prod(call.tensors.shape(each) or (2,)) == 1 for each in call.inputs[1:]):
        for tensor in call.outputs:
            if call.tensors.shape(tensor) == shape:
                call.give_copies(tensor, copies)


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of tensors that meet element by element; None if they do not fit."""
    if all(shape == shapes[0] for shape in shapes):  # nearly always
        return shapes[0] if shapes else ()
    import numpy as np

    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        return None


def same(call: Call) -> None:
    """Outputs of the input's shape have its axes: softmax, dropout, sorting."""
    shape = call.shape(call.first)
    for index, tensor in enumerate(call.outputs):
        own = call.tensors.shape(tensor)
        if own == shape or (own is None and not index):
            call.give(tensor, call.axes(call.first))


def resizing(call: Call) -> None:
    """Axes whose size stays are kept, others cannot change: pooling, padding, resizing."""
    axes = call.axes(call.first)
    for tensor in call.outputs:
        shape = call.shape(tensor)
        if len(shape) != len(axes):
            call.fix_all()
            return
        call.give(tensor, keep_axes(call, axes, shape))


def keep_axes(call: Call, axes: Sequence[Axis], shape: Sequence[int]) -> Axes:
    """The axes whose size stays, with fixed ones in place of the others, which cannot change."""
    return tuple(_keep_axis(call, axis, size) for axis, size in zip(axes, shape, strict=True))


def _keep_axis(call: Call, axis: Axis, size: int) -> Axis:
    if call.widths.size(axis) == size:
        return axis
    call.widths.fix(axis, call.kind)
    return call.widths.fixed(size, call.kind)


def channel_norm(call: Call) -> None:
    """A norm whose parameters, the other inputs, have an element for each channel, which is axis 1."""
    call.shape(call.first, 2)
    _norm(call, call.axes(call.first)[1:2])


def group_norm(call: Call, groups: int) -> None:
    """A norm over groups of channels; channels cannot change if the number of groups is 0, that is unknown."""
    call.shape(call.first, 2)
    channels = call.axes(call.first)[1]
    if groups:
        call.widths.multiple(channels, groups, "groups of a norm")
    else:
        call.widths.fix(channels, call.kind)
    channel_norm(call)


def layer_norm(call: Call, start: int) -> None:
    """A norm whose parameters, the other inputs, have the shape of the axes from ``start`` on."""
    _norm(call, call.axes(call.first)[position(call, call.first, start) :])


def _norm(call: Call, axes: Axes) -> None:
    shape = tuple(map(call.widths.size, axes))
    for parameter in call.inputs[1:]:
        if call.tensors.shape(parameter) == shape:
            call.give(parameter, axes)
    same(call)


def reshape(call: Call, *, apart: bool = False) -> None:
    """The same elements in another shape; ``apart`` as for :meth:`hwcost.network.axes.AxisTracker.reshape`."""
    _reshaped(call, call.widths.reshape(call.axes(call.first), call.shape(call.out), "a reshape", apart=apart))


def _reshaped(call: Call, axes: Sequence[Axis]) -> None:
    call.give(call.out, axes)
    copies = call.copies(call.first)
    if copies is not None:
        call.give_copies(call.out, reshape_copies(copies, call.shape(call.out)))


def squeeze(call: Call, dims: Iterable[int] | None = None) -> None:
    """Some axes of size 1 are left out, all by default: they have to stay 1."""
    axes = call.axes(call.first)
    asked = {position(call, call.first, dim) for dim in (range(len(axes)) if dims is None else dims)}
    gone = {i for i, axis in enumerate(axes) if i in asked and call.widths.size(axis) == 1}
    for i in gone:
        call.widths.fix(axes[i], "a squeeze")
    _reshaped(call, [axis for i, axis in enumerate(axes) if i not in gone])


def unsqueeze(call: Call, dims: Iterable[int]) -> None:
    """New axes of size 1, at places in the output."""
    added, axes = {position(call, call.out, dim) for dim in dims}, iter(call.axes(call.first))
    one = call.widths.fixed(1, "an unsqueeze")
    _reshaped(call, [one if i in added else next(axes) for i in range(len(call.shape(call.out)))])


def permute(call: Call, order: Iterable[int]) -> None:
    """The axes in another order."""
    axes, copies, order = call.axes(call.first), call.copies(call.first), list(order)
    call.give(call.out, [axes[i] for i in order])
    if copies is not None:
        call.give_copies(call.out, tuple(copies[i] for i in order))


def expand(call: Call) -> None:
    """Axes are repeated as a whole, as those of 1 are when they are stretched, and new ones added in front."""
    axes, shape = call.axes(call.first), call.shape(call.out)
    new = len(shape) - len(axes)
    _repeat(call)
    call.give(call.out, (*call.fixed(shape[:new]), *keep_axes(call, axes, shape[new:])))


def _repeat(call: Call) -> None:
    """The elements of the output are those of the first input, over and over."""
    old, new = call.shape(call.first), call.shape(call.out)
    if 0 not in new:
        call.give_copies(call.out, repeat_copies(call.copies(call.first), old, new))


def split(call: Call, dim: int, *, stay_equal: bool = False) -> None:
    """The outputs are pieces along one axis, in order; if they are neither all of it nor empty, it cannot change.

    Pieces that ``stay_equal`` have no sizes written into the code, only their number.
    """
    dim, axes = position(call, call.first, dim), call.axes(call.first)
    sizes = [call.shape(tensor)[dim] for tensor in call.outputs]
    if sum(sizes) == call.widths.size(axes[dim]):
        pieces = call.widths.pieces(axes[dim], sizes, call.kind, stay_equal=stay_equal)
    else:
        if any(sizes):
            call.widths.fix(axes[dim], call.kind)
        pieces = call.fixed(sizes)
    for tensor, piece in zip(call.outputs, pieces, strict=True):
        call.give(tensor, (*axes[:dim], piece, *axes[dim + 1 :]))


def concatenation(call: Call, tensors: Sequence[Any], dim: int) -> None:
    """Tensors one after the other along one axis; if all are the same one, it is repeated."""
    dim = position(call, call.out, dim)
    axes: list[Axis] = []
    for index, column in enumerate(zip(*map(call.axes, tensors), strict=True)):
        if index == dim:
            axes.append(_side_by_side(call, column))
            continue
        for axis in column[1:]:
            call.widths.join(column[0], axis, "a concatenation")
        axes.append(column[0])
    call.give(call.out, axes)
    if len(tensors) > 1 and all(tensor is tensors[0] for tensor in tensors):
        _repeat(call)


def _side_by_side(call: Call, axes: Sequence[Axis]) -> Axis:
    """Several axes as one; if it is of more pieces than anybody would change, it cannot."""
    if sum(map(len, axes)) <= _MOST_PIECES:
        return tuple(itertools.chain.from_iterable(axes))
    for axis in axes:
        call.widths.fix(axis, call.kind)
    return call.widths.fixed(sum(map(call.widths.size, axes)), call.kind)


def stack(call: Call, dim: int) -> None:
    """The inputs side by side along a new axis; if all are the same one, it is repeated."""
    dim = position(call, call.out, dim)
    axes = call.widths.join_broadcast(map(call.axes, call.inputs), "a stack")
    call.give(call.out, (*axes[:dim], *call.fixed([len(call.inputs)], "a stack"), *axes[dim:]))
    if len(call.inputs) > 1 and all(tensor is call.first for tensor in call.inputs):
        copies = call.copies(call.first) or plain(call.shape(call.first))
        call.give_copies(call.out, (*copies[:dim], ((len(call.inputs), True),), *copies[dim:]))


def reduction(call: Call, dims: Iterable[int] | None = None) -> None:
    """Sums, means and the like over some axes, all by default: those are gone, or 1."""
    axes = call.axes(call.first)
    gone = {position(call, call.first, dim) for dim in (range(len(axes)) if dims is None else dims)}
    one = call.widths.fixed(1, "a sum")
    for tensor in call.outputs:
        keeps = len(call.shape(tensor)) == len(axes)
        call.give(tensor, [one if i in gone else axis for i, axis in enumerate(axes) if keeps or i not in gone])


def gate(call: Call, dim: int) -> None:
    """One half of an axis is multiplied by a function of the other."""
    dim, axes = position(call, call.first, dim), call.axes(call.first)
    half = call.shape(call.out)[dim]
    one, other = call.widths.pieces(axes[dim], (half, half), call.kind, stay_equal=True)
    call.widths.join(one, other, call.kind)
    call.give(call.out, (*axes[:dim], one, *axes[dim + 1 :]))


def lookup(call: Call, dim: int, places: Axes = ()) -> None:
    """Elements at places along one axis, which cannot change; the axes of the places replace it."""
    dim, axes = position(call, call.first, dim), call.axes(call.first)
    call.widths.fix(axes[dim], "a look-up")
    for tensor in call.outputs:
        call.give(tensor, (*axes[:dim], *places, *axes[dim + 1 :]))


def embedding(call: Call, table: Any, places: Any) -> None:
    """Rows of a table, whose number cannot change."""
    rows, features = call.axes(table)[:2]
    call.widths.fix(rows, "a look-up")
    call.give(call.out, (*call.axes(places), features))
