"""The layers that operators with products come down to, and what they do to the axes of their tensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from hwcost.importers.lowered import CannotPriceError, LoweredLayer
from hwcost.importers.rules.call import Axes, Call
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Linear, MatMul
from hwcost.network.axes import Axis

__all__ = [
    "EQUAL_SHARES", "Matrix", "Window", "attention", "convolution", "matmul", "matrix_product", "routed",
    "transposed_convolution",
]  # fmt: skip

EQUAL_SHARES = "rows that are routed, as tokens to experts, are priced in equal shares: the real ones depend on values"
"""A note on networks that have such products."""


class Window(NamedTuple):
    """How a kernel moves over a map: a number for each axis of the map.

    Args:
        stride, dilation: of the kernel.
        before, after: padding at both ends.
        groups: of channels.
        same: whether the padding gives ceil(size / stride) outputs.
    """

    stride: Sequence[int]
    dilation: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]
    groups: int = 1
    same: bool = False


def convolution(
    call: Call, x: Any, weight: Any, bias: Any, window: Window, added: Iterable[Any] = ()
) -> tuple[LoweredLayer]:
    """A convolution over a sequence, a map or a volume.

    Args:
        call: whose output is batch x filters x positions.
        x: batch x channels x map.
        weight: filters x channels of a group x kernel.
        bias: an element for each filter, or None.
        window: how the kernel moves.
        added: tensors of the output's shape that a fused operator adds.
    """
    size, groups = call.shape(x, 3)[2:], window.groups
    output_axis, sizes = _convolution_axes(call, x, weight, groups)
    named = (weight, output_axis) if call.is_parameter(weight) else (None, None)
    if len(size) == 3:
        _give_output(call, x, bias, output_axis, call.shape(call.out, 3)[2:])
        call.fix(x, call.out)
        return (LoweredLayer(_volume(call, x, weight, window), "3-d convolution", {}, *named),)
    if len(size) not in (1, 2):
        raise CannotPriceError(f"a convolution over {len(size)} axes")
    if min(window.before) < 0 or min(window.after) < 0:
        raise CannotPriceError("negative padding")
    layer, shape = _map(call, x, weight, window), call.tensors.shape(call.out)
    _give_output(call, x, bias, output_axis, layer.out_size[-len(size) :] if shape is None else shape[2:])
    for tensor in added:
        if tensor is not None and call.tensors.shape(tensor) == call.shape(call.out):
            call.widths.join_broadcast([call.axes(call.out), call.axes(tensor)], call.kind)
    of_groups = "depthwise convolution" if groups == call.shape(x)[1] else "grouped convolution"
    return (LoweredLayer(layer, of_groups if groups > 1 else "convolution", sizes, *named),)


def _give_output(call: Call, x: Any, bias: Any, output_axis: Axis, positions: Sequence[int]) -> None:
    """States the axes of a convolution's output and bias."""
    call.give(call.out, (call.axes(x)[0], output_axis, *call.fixed(positions, "positions of a map")))
    call.give(bias, (output_axis,))


def _convolution_axes(call: Call, x: Any, weight: Any, groups: int) -> tuple[Axis, dict[str, Axis]]:
    """The axis of the filters, and the axes of the layer's fields."""
    widths, shape, channels = call.widths, call.shape(weight), call.axes(x)[1]
    kernel = call.fixed(shape[2:], "a kernel")
    if groups == call.shape(x)[1] > 1:
        output_axis = widths.scaled(channels, Fraction(shape[0], groups))
        call.give(weight, (output_axis, *call.fixed([1], "a kernel"), *kernel))
        return output_axis, {"in_channels": channels, "out_channels": output_axis, "groups": channels}
    stated = call.tensors.stated(weight)
    output_axis = widths.new(shape[0]) if stated is None else stated[0]
    _keep_groups(call, groups, channels, output_axis)
    of_group = channels if groups == 1 else widths.scaled(channels, Fraction(1, groups))
    call.give(weight, (output_axis, of_group, *kernel))
    return output_axis, {"in_channels": channels, "out_channels": output_axis}


def _keep_groups(call: Call, groups: int, *axes: Axis) -> None:
    for axis in axes if groups > 1 else ():
        call.widths.group(axis, groups, "groups")


def _map(call: Call, x: Any, weight: Any, window: Window) -> Conv2d:
    """A convolution over a map, or over a sequence, which is a map of one row.

    Padding that differs between both ends of an axis is part of the input.
    """
    batch, channels, *size = call.shape(x)
    filters, _, *kernel = call.shape(weight)
    padding = list(window.before)
    for axis, (before, after) in enumerate(zip(window.before, window.after, strict=True)):
        if before != after:
            size[axis] += before + after
            padding[axis] = 0
    row, no = ((1,), (0,)) if len(size) == 1 else ((), ())
    return _conv2d(
        channels,
        filters,
        (*row, *kernel),
        (*row, *size),
        batch,
        (*row, *window.stride),
        "same" if window.same else (*no, *padding),
        (*row, *window.dilation),
        window.groups,
    )


@functools.lru_cache(maxsize=1024)
def _conv2d(
    channels: int,
    filters: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    batch: int,
    stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
    groups: int,
) -> Conv2d:
    """The layer, which is a value: networks repeat the same many times."""
    height, width = size
    return Conv2d(channels, filters, kernel, height, width, batch, stride, padding, dilation, groups)


def _volume(call: Call, x: Any, weight: Any, window: Window) -> Gemm:
    """A convolution over a volume, as the product that it comes down to."""
    out, filters, groups = call.shape(call.out), call.shape(weight), window.groups
    return Gemm(
        m=out[0] * math.prod(out[2:]),
        n=filters[0] // groups,
        k=math.prod(filters[1:]),
        count=groups,
        window=tuple(filters[2:]),
        inputs=tuple(call.shape(x)),
    )


def transposed_convolution(call: Call, x: Any, weight: Any, bias: Any, groups: int = 1) -> tuple[LoweredLayer]:
    """A transposed convolution: each input position times the whole kernel; overlaps are added outside of the array.

    Args:
        call: whose output is batch x filters x positions.
        x: batch x channels x map.
        weight: channels x filters of a group x kernel.
        bias: an element for each filter, or None.
        groups: of channels.
    """
    shape, filters, widths = call.shape(x, 3), call.shape(weight, 3), call.widths
    channels, stated = call.axes(x)[1], call.tensors.stated(weight)
    output_axis = widths.new(filters[1] * groups) if stated is None else widths.scaled(stated[1], groups)
    _keep_groups(call, groups, channels, output_axis)
    of_group = widths.scaled(output_axis, Fraction(1, groups))
    call.give(weight, (channels, of_group, *call.fixed(filters[2:], "a kernel")))
    _give_output(call, x, bias, output_axis, call.shape(call.out, 3)[2:])
    layer = Gemm(m=shape[0] * math.prod(shape[2:]), n=math.prod(filters[1:]), k=filters[0] // groups, count=groups)
    sizes = {
        "k": widths.scaled(channels, Fraction(1, groups)),
        "n": widths.scaled(output_axis, Fraction(math.prod(filters[2:]), groups)),
    }
    named = (weight, output_axis) if call.is_parameter(weight) else (None, None)
    return (LoweredLayer(layer, "transposed convolution", sizes, *named),)


def matmul(
    call: Call, a: Any, b: Any, added: Any = None, swapped: tuple[Any, Any] = (False, False)
) -> tuple[LoweredLayer]:
    """(m x k)(k x n) as numpy multiplies: batches are broadcast, vectors are rows or columns.

    Args:
        call: whose output it is.
        a, b: the operands.
        added: what is added to the product, or None.
        swapped: whether the last two axes of ``a`` and ``b`` are swapped.
    """
    a_axes, b_axes = (
        (*axes[:-2], axes[-1], axes[-2]) if by and len(axes) > 1 else axes
        for axes, by in zip(map(call.axes, (a, b)), swapped, strict=True)
    )
    if not a_axes or not b_axes:
        raise CannotPriceError("one of its operands is a number")
    rows = (*call.fixed([1], "a vector"), *a_axes) if len(a_axes) == 1 else a_axes
    columns = (*b_axes, *call.fixed([1], "a vector")) if len(b_axes) == 1 else b_axes
    inner, other = rows[-1], columns[-2]
    if call.widths.size(inner) != call.widths.size(other):
        sizes = f"{call.widths.size(inner)} and {call.widths.size(other)}"
        raise CannotPriceError(f"its operands do not go together: {sizes}")
    call.widths.join(inner, other, call.kind)
    batch = call.widths.join_broadcast((rows[:-2], columns[:-2]), call.kind)
    ends = (rows[-2:-1] if len(a_axes) > 1 else ()) + (columns[-1:] if len(b_axes) > 1 else ())
    axes, shape = (*batch, *ends), call.tensors.shape(call.out)
    if shape is not None:
        axes = axes[len(axes) - len(shape) :]  # some operators sum over the batch
    if added is not None:
        _join_added(call, added, axes)
    call.give(call.out, axes)
    left = Matrix(a, rows[:-2], rows[-2], call.matrices(a, range(len(rows) - 2)))
    right = Matrix(b, columns[:-2], columns[-1], call.matrices(b, range(len(columns) - 2)))
    return (matrix_product(call, left, right, inner),)


def _join_added(call: Call, bias: Any, axes: Axes) -> None:
    is_new = call.is_parameter(bias) and call.tensors.stated(bias) is None
    if is_new and call.tensors.shape(bias) == (call.widths.size(axes[-1]),):
        call.give(bias, axes[-1:])
    else:
        call.widths.join_broadcast((axes, call.axes(bias)), call.kind)


@dataclass(frozen=True)
class Matrix:
    """An operand of a matrix product.

    Args:
        tensor: the operand; None if it is made of activations and has no tensor.
        batch: the axes of its matrices.
        free: the axis of each that is not summed over.
        distinct: the number of its matrices that are not copies of others.
    """

    tensor: Any
    batch: Sequence[Axis]
    free: Axis
    distinct: int


def matrix_product(call: Call, a: Matrix, b: Matrix, inner: Axis) -> LoweredLayer:
    """(m x k)(k x n) for each element of the batches.

    An operand without a batch is the same for all of the other's, whose batch then gives more rows (or columns) of one
    product: that is a fully connected layer if the operand is a parameter.

    Args:
        call: whose product it is.
        a, b: the operands.
        inner: the axis that is summed over.
    """
    of_a, of_b = (each.tensor is not None and call.is_parameter(each.tensor) for each in (a, b))
    of_a = of_a and not of_b
    if of_b and _is_one(call, b.batch):
        return _linear(call, call.merge((*a.batch, a.free)), inner, b)
    if of_a and _is_one(call, a.batch):
        return _linear(call, call.merge((*b.batch, b.free)), inner, a)
    if of_a and _is_one(call, b.batch):  # matrices of weights times the same are one tall matrix
        return _linear(call, b.free, inner, Matrix(a.tensor, (), call.merge((*a.batch, a.free)), 1))
    weight = b.tensor if of_b else a.tensor if of_a else None
    if _is_one(call, b.batch):
        return _products(call, call.merge((*a.batch, a.free)), inner, b.free, (), weight)
    batch = call.widths.join_broadcast((a.batch, b.batch), call.kind)
    count = math.prod(map(call.widths.size, batch))
    sharing = (count // a.distinct, count // b.distinct) if count else (1, 1)
    return _products(call, a.free, inner, b.free, batch, weight, sharing, are_weights=of_b)


def _is_one(call: Call, batch: Sequence[Axis]) -> bool:
    return math.prod(map(call.widths.size, batch)) == 1


def _linear(call: Call, rows: Axis, inner: Axis, weight: Matrix) -> LoweredLayer:
    size = call.widths.size
    sizes = call.open(batch=rows) | {"in_features": inner, "out_features": weight.free}
    layer = Linear(size(inner), size(weight.free), batch=size(rows))
    return LoweredLayer(layer, "linear", sizes, weight.tensor, weight.free)


def _products(
    call: Call,
    rows: Axis,
    inner: Axis,
    columns: Axis,
    batch: Sequence[Axis],
    weight: Any,
    sharing: tuple[int, int] = (1, 1),
    *,
    are_weights: bool = False,
) -> LoweredLayer:
    """Products of matrices, of which the second ones may be weights."""
    size, together = call.widths.size, call.merge(batch)
    opened = call.open(m=rows, batch=together)
    sizes = opened | {"k": inner, "n": columns}
    m, n = size(rows), size(columns)
    # a batch that changes need not stay a multiple
    of_a, of_b = (of if "batch" not in opened or call.widths.stays_multiple(together, of) else 1 for of in sharing)
    # if products share both operands, the sharing counts that saves more
    shared = (of_b, 1) if n * (of_b - 1) * of_a >= m * (of_a - 1) * of_b else (1, of_a)
    if not are_weights:
        return LoweredLayer(MatMul(m, n, size(inner), size(together), *shared), call.kind, sizes, weight)
    of_b, of_a = shared
    layer = Gemm(m, n, size(inner), size(together), weights_shared_by=of_b, inputs_shared_by=of_a)
    sizes = {"count" if name == "batch" else name: axis for name, axis in sizes.items()}
    return LoweredLayer(layer, call.kind, sizes, weight)


def routed(call: Call, a: Any, b: Any) -> tuple[LoweredLayer, ...]:
    """Each row of ``a`` times one of several matrices: as many products as matrices, each with a share of the rows.

    Args:
        call: whose output is rows x columns.
        a: rows x inner.
        b: matrices x inner x columns.
    """
    (rows, inner), (_, other, columns) = call.axes(a), call.axes(b)
    call.widths.join(inner, other, call.kind)
    call.give(call.out, (rows, columns))
    size, of = call.widths.size, call.shape(b)[0]
    call.widths.fix(rows, call.kind)
    share, more = divmod(size(rows), of)
    weight = b if call.is_parameter(b) else None
    product = MatMul if weight is None else Gemm
    return tuple(
        LoweredLayer(
            product(m, size(columns), size(inner), batch),
            "routed product",
            {"k": inner, "n": columns},
            weight,
            columns if weight is not None else None,
            note=EQUAL_SHARES,
            reads=call.inputs,
        )
        for m, batch in ((share + 1, more), (share, of - more))
        if m and batch
    )


def attention(
    reads: Sequence[Any],
    values: Sequence[Any],
    /,
    *,
    batch: int,
    tokens: int,
    keys: int,
    width: int,
    out: int,
    shared_by: tuple[int, int] = (1, 1),
) -> tuple[LoweredLayer, LoweredLayer]:
    """Scores of queries and keys, and the weighted sum of values; both in full, whatever a mask leaves out.

    Args:
        reads: what the scores are made of: queries, keys and masks.
        values: what is weighted and summed.
        batch: images or sentences times heads of queries.
        tokens, keys: rows of queries, and of keys and values.
        width, out: of a head of queries and keys, and of one of values.
        shared_by: heads of queries that share their keys, and that share their values.
    """
    products = MatMul(tokens, keys, width, batch, shared_by[0]), MatMul(tokens, out, keys, batch, shared_by[1])
    scores = LoweredLayer(products[0], "attention scores", part="scores", reads=reads)
    return scores, LoweredLayer(products[1], "attention values", part="values", reads=(scores, *values))
