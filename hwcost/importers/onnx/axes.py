"""What ONNX's operators without products say about the axes of their tensors.

An operator that is not listed here says nothing for sure: what goes in and comes out of it cannot change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from hwcost.importers.onnx.calls import Call
from hwcost.importers.onnx.free import ELEMENTWISE
from hwcost.importers.onnx.shapes import Value
from hwcost.network.axes import Axis

__all__ = ["AXES"]

Handler: TypeAlias = Callable[[Call], None]


def _elementwise(call: Call) -> None:
    """Tensors meet with their ends aligned."""
    values = [value for value in call.given if value.shape]
    try:
        wide = np.broadcast_shapes(*(value.shape or () for value in values))
    except ValueError:
        call.fix_all()
        return
    axes = call.widths.join_broadcast([call.axes(value) for value in values], call.kind)
    for out in call.outputs:
        if out.shape == wide:
            call.give(out, axes)


def _same(call: Call) -> None:
    """Outputs with the axes of the first input, if they have its shape."""
    x = call[0]
    for out in call.outputs:
        if out.shape == x.shape:
            call.give(out, call.axes(x))


def _kept(call: Call) -> None:
    """Axes of the first input that have the same size in the output stay what they are; others cannot change."""
    x, out = call[0], call.out
    own, shape = call.axes(x), call.shape(out)
    if len(own) != len(shape):
        call.fix_all()
        return
    for each in call.outputs:
        if each.shape == shape:
            call.give(each, tuple(_kept_axis(call, axis, size) for axis, size in zip(own, shape, strict=True)))


def _kept_axis(call: Call, axis: Axis, size: int) -> Axis:
    if call.widths.size(axis) == size:
        return axis
    call.widths.fix(axis, call.kind)
    return call.widths.fixed(size, call.kind)


def _axis(call: Call, value: Value, default: int) -> int:
    rank = max(1, len(call.shape(value)))
    return int(call.attributes.get("axis", default)) % rank


# ---------------------------------------------------------------- norms and quantization


def _by_channel(*places: int) -> Handler:
    """A norm whose parameters have an element for each channel, which is axis 1."""

    def handler(call: Call) -> None:
        call.shape(call[0], 2)
        axes = call.axes(call[0])
        for place in places:
            value = call.get(place)
            if value is not None and value.shape == (call.widths.size(axes[1]),):
                call.give(value, axes[1:2])
        _same(call)

    return handler


def _group_norm(call: Call) -> None:
    call.shape(call[0], 2)
    axes = call.axes(call[0])
    groups = call.attributes.get("num_groups", call.attributes.get("groups", 0))
    if groups:
        call.widths.multiple(axes[1], groups, "groups of a norm")
    else:
        call.widths.fix(axes[1], call.kind)
    _by_channel(1, 2)(call)


def _layer_norm(call: Call) -> None:
    """Parameters have the shape of the last axes, from the one that is named on."""
    x = call[0]
    axes = call.axes(x)
    last = axes[_axis(call, x, -1) :]
    for value in call.given[1:]:
        if value.shape == tuple(map(call.widths.size, last)):
            call.give(value, last)
    _same(call)


def _skip_layer_norm(call: Call) -> None:
    """Two tensors are added, and maybe a bias, before the norm; parameters have the shape of the last axis."""
    x, second = call[0], call[1]
    axes = call.widths.join_broadcast([call.axes(x), call.axes(second)], call.kind)
    for value in call.given[2:]:
        if value.shape == (call.widths.size(axes[-1]),):
            call.give(value, axes[-1:])
    _same(call)


def _quantization(call: Call) -> None:
    """Scales and zero points have one element, or one for each place along an axis."""
    x = call[0]
    axes = call.axes(x)
    for value in call.given[1:3]:
        if value.shape and len(value.shape) == 1 and value.shape[0] > 1:
            axis = axes[_axis(call, x, 1)]
            if call.widths.size(axis) == value.shape[0]:
                call.give(value, (axis,))
            else:
                call.fix(x)
        elif value.shape and len(value.shape) > 1:
            call.fix(x, value)
    _same(call)


# ---------------------------------------------------------------- shapes


def _nothing(_call: Call) -> None:
    """The shape alone goes on, and what becomes of it is seen there."""


def _reshape(call: Call) -> None:
    call.give(call.out, call.widths.reshape(call.axes(call[0]), call.shape(call.out), "a reshape"))


def _transpose(call: Call) -> None:
    axes = call.axes(call[0])
    order = call.attributes.get("perm") or range(len(axes))[::-1]
    call.give(call.out, tuple(axes[i] for i in order))


def _expand(call: Call) -> None:
    own, shape = call.axes(call[0]), call.shape(call.out)
    axes: list[Axis] = [call.widths.fixed(size, call.kind) for size in shape]
    for index, axis in enumerate(reversed(own), start=1):
        axes[-index] = _kept_axis(call, axis, shape[-index])
    call.give(call.out, axes)


def _concat(call: Call) -> None:
    dim = _axis(call, call.out, 0)
    columns = list(zip(*(call.axes(value) for value in call.given), strict=True))
    axes: list[Axis] = []
    for index, column in enumerate(columns):
        if index == dim:
            axes.append(call.widths.concatenated(column))
            continue
        for axis in column[1:]:
            call.widths.join(column[0], axis, "a concatenation")
        axes.append(column[0])
    call.give(call.out, axes)


def _split(call: Call) -> None:
    x = call[0]
    dim, axes = _axis(call, x, 0), call.axes(x)
    sizes = [call.shape(out)[dim] for out in call.outputs]
    pieces = _pieces(call, axes[dim], sizes) if sum(sizes) == call.shape(x)[dim] else None
    for index, out in enumerate(call.outputs):
        piece = call.widths.fixed(sizes[index], call.kind) if pieces is None else pieces[index]
        call.give(out, (*axes[:dim], piece, *axes[dim + 1 :]))
    if pieces is None:
        call.widths.fix(axes[dim], call.kind)


def _pieces(call: Call, axis: Axis, sizes: Sequence[int]) -> tuple[Axis, ...]:
    if call.widths.is_fixed(axis):
        return call.fixed(sizes, call.kind)
    return call.widths.pieces(axis, sizes, call.kind)


def _slice(call: Call) -> None:
    """A piece along axes: between its ends where those are known, and where steps are 1."""
    x, out = call[0], call.shape(call.out)
    cuts = _cuts(call, x)
    axes: list[Axis] = []
    for index, (axis, size) in enumerate(zip(call.axes(x), out, strict=True)):
        whole = call.widths.size(axis)
        if size == whole:
            axes.append(axis)
        elif cuts is not None and index in cuts and not call.widths.is_fixed(axis) and size:
            start = cuts[index]
            sizes = [start, size, whole - start - size]
            at = 1 if start else 0
            axes.append(_pieces(call, axis, [each for each in sizes if each])[at])
        else:
            axes.append(_kept_axis(call, axis, size))
    call.give(call.out, axes)


def _cuts(call: Call, x: Value) -> dict[int, int] | None:
    """Where the piece starts along each axis; None where that is not known, or not every element is taken."""
    said, shape = call.attributes, call.shape(x)

    def known(name: str, place: int, default: Sequence[int] | None) -> Sequence[int] | None:
        value = call.get(place)
        if value is None:
            given: Sequence[int] | None = said.get(name, default)
            return given
        return None if value.constant is None else [int(each) for each in value.constant.ravel()]

    starts = known("starts", 1, None)
    if starts is None:
        return None
    axes, steps = known("axes", 3, range(len(starts))), known("steps", 4, [1] * len(starts))
    if axes is None or steps is None or any(step != 1 for step in steps):
        return None
    found = {}
    for axis, start in zip(axes, starts, strict=True):
        size = shape[axis % len(shape)]
        found[axis % len(shape)] = min(max(start + size if start < 0 else start, 0), size)
    return found


def _gather(call: Call) -> None:
    """Places along one axis: it is fixed, the others stay; the axes of the places stand in its stead."""
    data, places = call[0], call[1]
    dim, axes = _axis(call, data, 0), call.axes(data)
    call.widths.fix(axes[dim], "a look-up")
    call.give(call.out, (*axes[:dim], *call.axes(places), *axes[dim + 1 :]))


def _depth_to_space(call: Call) -> None:
    block = call.attributes.get("blocksize", 1) ** 2
    call.shape(call[0], 2)
    axes, shape = call.axes(call[0]), call.shape(call.out)
    call.widths.multiple(axes[1], block, call.kind)
    channels = call.widths.scaled(axes[1], Fraction(1, block))
    call.give(
        call.out, (axes[0], channels, *(_kept_axis(call, *each) for each in zip(axes[2:], shape[2:], strict=True)))
    )


def _space_to_depth(call: Call) -> None:
    call.shape(call[0], 2)
    axes, shape = call.axes(call[0]), call.shape(call.out)
    channels = call.widths.scaled(axes[1], call.attributes.get("blocksize", 1) ** 2)
    call.give(
        call.out, (axes[0], channels, *(_kept_axis(call, *each) for each in zip(axes[2:], shape[2:], strict=True)))
    )


# ---------------------------------------------------------------- sums


def _reduced(call: Call) -> None:
    """Sums and means: axes that are summed over are gone, or 1."""
    x, said = call[0], call.attributes
    rank = len(call.shape(x))
    given = said.get("axes")
    if given is None and call.get(1) is not None:
        if call[1].constant is None:
            call.fix_all()
            return
        given = [int(each) for each in call[1].constant.ravel()]
    if given is None or not given:
        given = () if said.get("noop_with_empty_axes") else range(rank)
    gone = {axis % max(1, rank) for axis in given}
    one = call.widths.fixed(1, "a sum")
    kept = said.get("keepdims", 1)
    axes = [one if index in gone else axis for index, axis in enumerate(call.axes(x)) if kept or index not in gone]
    call.give(call.out, axes)


def _global_pool(call: Call) -> None:
    axes = call.axes(call[0])
    call.give(call.out, (*axes[:2], *call.fixed(call.shape(call.out)[2:], "a sum")))


def _all(handler: Handler, names: str) -> dict[str, Handler]:
    return dict.fromkeys(names.split(), handler)


AXES: Mapping[str, Handler] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, _elementwise),
        **_all(_same, "Softmax LogSoftmax Hardmax Identity LRN LpNormalization MeanVarianceNormalization"),
        **_all(_same, "CastLike Bernoulli RandomNormalLike RandomUniformLike CumSum CumProd"),
        **_all(_same, "Trilu ReverseSequence DynamicQuantizeLinear RotaryEmbedding BiasSoftmax QLinearSigmoid"),
        **_all(_same, "QLinearLeakyRelu QLinearSoftmax ScatterElements ScatterND TensorScatter"),
        **_all(_kept, "AveragePool MaxPool LpPool MaxUnpool Resize Upsample Pad Tile CenterCropPad"),
        "BatchNormalization": _by_channel(1, 2, 3, 4),
        "InstanceNormalization": _by_channel(1, 2),
        **_all(_group_norm, "GroupNormalization"),
        **_all(_layer_norm, "LayerNormalization RMSNormalization SimplifiedLayerNormalization"),
        **_all(_skip_layer_norm, "SkipLayerNormalization SkipSimplifiedLayerNormalization"),
        **_all(_quantization, "QuantizeLinear DequantizeLinear"),
        **_all(_reshape, "Reshape Flatten Squeeze Unsqueeze"),
        **_all(_nothing, "Shape Size"),
        "Transpose": _transpose,
        "Expand": _expand,
        "Concat": _concat,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "DepthToSpace": _depth_to_space,
        "SpaceToDepth": _space_to_depth,
        **_all(_global_pool, "GlobalAveragePool GlobalMaxPool GlobalLpPool"),
        **_all(_reduced, "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"),
        **_all(_reduced, "ReduceSum ReduceSumSquare ArgMax ArgMin"),
    }
)
"""By the name of the operator."""
