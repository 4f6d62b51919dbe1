"""ONNX's operators, by name: each row translates the inputs and attributes of a node into a call of a shared rule.

A free operator that is not listed states nothing for sure: none of its inputs and outputs can change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from hwcost.importers import rules
from hwcost.importers.onnx.calls import Node
from hwcost.importers.onnx.composite import ATTENTION, RECURRENT
from hwcost.importers.onnx.free import ELEMENTWISE, LOOK_UPS, OTHERS, VIEWS
from hwcost.importers.onnx.shapes import Value
from hwcost.importers.rules import CannotPriceError, Handler, LoweredLayer
from hwcost.model.layers import Linear, MatMul
from hwcost.network.axes import Axis

__all__ = ["AXES", "FREE", "PRODUCTS"]


def _axis(call: Node, default: int) -> int:
    return int(call.attributes.get("axis", default))


def _group_norm(call: Node) -> None:
    rules.group_norm(call, call.attributes.get("num_groups", call.attributes.get("groups", 0)))


def _skip_layer_norm(call: Node) -> None:
    """Two tensors are added, and maybe a bias, before the norm."""
    call.widths.join_broadcast([call.axes(call[0]), call.axes(call[1])], call.kind)
    rules.layer_norm(call, -1)


def _quantization(call: Node) -> None:
    """Scales and zero points have one element, or one for each place along an axis."""
    x = call[0]
    axes = call.axes(x)
    for value in call.inputs[1:3]:
        if value.shape and len(value.shape) == 1 and value.shape[0] > 1:
            axis = axes[rules.position(call, x, _axis(call, 1))]
            if call.widths.size(axis) == value.shape[0]:
                call.give(value, (axis,))
            else:
                call.fix(x)
        elif value.shape and len(value.shape) > 1:
            call.fix(x, value)
    rules.same(call)


def _fixed_norm(call: Node) -> None:
    """Channels come last, and none of them can change."""
    call.fix(*call.inputs)
    rules.same(call)


def _quantized_pair(call: Node) -> None:
    """Two tensors, each with its scale and zero point, meet element by element; none of their axes can change."""
    shape = np.broadcast_shapes(call.shape(call[0]), call.shape(call[3]))
    call.fix(*call.inputs)
    call.give(call.out, call.fixed(shape))


def _quantized_pool(call: Node) -> None:
    """The mean of a map, whose axes cannot change; channels may come last."""
    batch, *shape = call.shape(call[0], 3)
    call.fix(*call.inputs)
    ones, last = [1] * (len(shape) - 1), call.attributes.get("channels_last")
    call.give(call.out, call.fixed([batch, *ones, shape[-1]] if last else [batch, shape[0], *ones]))


def _quantized_concatenation(call: Node) -> None:
    """Tensors one after the other, each with its scale and zero point; none of their axes can change."""
    shapes = [call.shape(value) for value in call.inputs[2::3]]
    call.fix(*call.inputs)
    axis = _axis(call, 0) % len(shapes[0])
    size = sum(shape[axis] for shape in shapes)
    call.give(call.out, call.fixed([*shapes[0][:axis], size, *shapes[0][axis + 1 :]]))


def _in_sequence(call: Node) -> None:
    """Tensors become part of a sequence, or one is taken out; if it is unknown which, none of them can change."""
    made, items = call.out, [item for value in call.inputs for item in value.items or ()]
    if made.items is None and made.constant is None and all(made is not item for item in items):
        call.fix(*call.inputs)


def _of_sequence(call: Node) -> None:
    """The tensors of a sequence one after the other, or side by side along a new axis."""
    if call.attributes.get("new_axis"):
        rules.stack(call, _axis(call, 0))
    else:
        rules.concatenation(call, call.inputs, _axis(call, 0))


def _to_sequence(call: Node) -> None:
    """Pieces along an axis, which may be gone if they have one element."""
    axes, axis = call.axes(call[0]), rules.position(call, call[0], _axis(call, 0))
    if len(call.shape(call.out)) == len(axes):
        rules.split(call, axis)
        return
    call.widths.fix(axes[axis], call.kind)
    for value in call.outputs:
        call.give(value, (*axes[:axis], *axes[axis + 1 :]))


def _transpose(call: Node) -> None:
    rules.permute(call, call.attributes.get("perm") or range(len(call.axes(call[0])))[::-1])


def _slice(call: Node) -> None:
    """A piece along axes: between its ends if those are known and steps are 1."""
    x, shape = call[0], call.shape(call.out)
    cuts = _cuts(call, x) or {}
    axes: list[Axis] = []
    for index, (axis, size) in enumerate(zip(call.axes(x), shape, strict=True)):
        whole = call.widths.size(axis)
        if 0 < size < whole and index in cuts and not call.widths.is_fixed(axis):
            start = cuts[index]
            sizes = [each for each in (start, size, whole - start - size) if each]
            axes.append(call.widths.pieces(axis, sizes, call.kind)[1 if start else 0])
        else:
            axes += rules.keep_axes(call, [axis], [size])
    call.give(call.out, axes)


def _cuts(call: Node, x: Value) -> dict[int, int] | None:
    """The start of the piece along each axis; None if it is unknown, or elements are skipped."""
    shape = call.shape(x)

    def known(name: str, place: int, default: Sequence[int] | None) -> Sequence[int] | None:
        return call.attributes.get(name, default) if call.get(place) is None else call.constant(place)

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


def _blocks(call: Node) -> None:
    """Blocks of a map become channels, or the other way round."""
    call.shape(call[0], 2)
    batch, channels, *axes = call.axes(call[0])
    factor = Fraction(call.attributes.get("blocksize", 1) ** 2)
    if call.kind == "DepthToSpace":
        call.widths.multiple(channels, int(factor), call.kind)
        factor = 1 / factor
    kept = rules.keep_axes(call, axes, call.shape(call.out)[2:])
    call.give(call.out, (batch, call.widths.scaled(channels, factor), *kept))


def _dims(call: Node) -> Sequence[int] | None:
    """The axes that an attribute, in later opsets the second input, lists; None if it is left out or unknown."""
    given: Sequence[int] | None = call.attributes.get("axes")
    return call.constant(1) if given is None and call.get(1) is not None else given


def _reduction(call: Node) -> None:
    dims = _dims(call)
    if dims is None and call.get(1) is not None:
        call.fix_all()
        return
    rules.reduction(call, dims or (() if call.attributes.get("noop_with_empty_axes") else None))


def _squeeze(call: Node) -> None:
    dims = _dims(call)
    if dims is None and call.get(1) is not None:
        rules.reshape(call)
    else:
        rules.squeeze(call, dims or None)


def _unsqueeze(call: Node) -> None:
    dims = _dims(call)
    if dims is None:
        rules.reshape(call)
    else:
        rules.unsqueeze(call, dims)


def _all(handler: Handler, names: str) -> dict[str, Handler]:
    return dict.fromkeys(names.split(), handler)


AXES: Mapping[str, Handler] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, rules.elementwise),
        **_all(rules.map_elements, "Cast Identity Mul Div"),
        **_all(
            rules.same,
            "Softmax LogSoftmax Hardmax LRN LpNormalization MeanVarianceNormalization CastLike Bernoulli "
            "RandomNormalLike RandomUniformLike CumSum CumProd Trilu ReverseSequence DynamicQuantizeLinear "
            "RotaryEmbedding BiasSoftmax QLinearSigmoid QLinearLeakyRelu QLinearSoftmax ScatterElements ScatterND "
            "TensorScatter",
        ),
        **_all(rules.resizing, "AveragePool MaxPool LpPool MaxUnpool Resize Upsample Pad CenterCropPad"),
        **_all(rules.channel_norm, "BatchNormalization InstanceNormalization"),
        "GroupNormalization": _group_norm,
        "GroupNorm": _fixed_norm,
        **_all(
            lambda call: rules.layer_norm(call, _axis(call, -1)),
            "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
        ),
        **_all(_skip_layer_norm, "SkipLayerNormalization SkipSimplifiedLayerNormalization"),
        **_all(_quantization, "QuantizeLinear DequantizeLinear"),
        **_all(_quantized_pair, "QLinearAdd QLinearMul"),
        "QLinearGlobalAveragePool": _quantized_pool,
        **_all(rules.reshape, "Reshape Flatten"),
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        **_all(
            _in_sequence,
            "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength",
        ),
        **_all(lambda _: None, "Shape Size"),  # only the shape goes on, and is followed as a constant
        "Transpose": _transpose,
        **_all(rules.expand, "Expand Tile"),
        "Concat": lambda call: rules.concatenation(call, call.inputs, _axis(call, 0)),
        "ConcatFromSequence": _of_sequence,
        "SplitToSequence": _to_sequence,
        "QLinearConcat": _quantized_concatenation,
        "Split": lambda call: rules.split(call, _axis(call, 0), stay_equal=True),
        "Slice": _slice,
        "Gather": lambda call: rules.lookup(call, _axis(call, 0), call.axes(call[1])),
        **_all(_blocks, "DepthToSpace SpaceToDepth"),
        **_all(
            lambda call: rules.reduction(call, range(2, len(call.shape(call[0])))),
            "GlobalAveragePool GlobalMaxPool GlobalLpPool",
        ),
        **_all(
            _reduction,
            "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
            "ReduceSumSquare ArgMax ArgMin",
        ),
    }
)
"""Operators that are known to be free, whose axes are known, by name."""

FREE = OTHERS | VIEWS | LOOK_UPS | AXES.keys()
"""All operators that are known to be free."""


def _convolution(x_at: int, weight_at: int, bias_at: int | None) -> Handler:
    """A convolution whose operands are these inputs; inputs after the bias are added to its output."""

    def handler(call: Node) -> tuple[LoweredLayer]:
        x, weight = call[x_at], call[weight_at]
        window = _window(call, len(call.shape(weight)) - 2)
        uneven = window.before != window.after and not window.same
        if uneven and len(window.stride) < 3 and min(*window.before, *window.after) >= 0:
            call.note("padding that differs between both ends is counted as part of the input")
        added = () if bias_at is None else call.places[bias_at + 1 :]
        return rules.convolution(call, x, weight, call.get(bias_at), window, added)

    return handler


def _window(call: Node, axes: int) -> rules.Window:
    stated, ones = call.attributes, (1,) * axes
    how = stated.get("auto_pad") or "NOTSET"
    if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CannotPriceError(f"auto_pad is {how!r}")
    pads = tuple((stated.get("pads") if how == "NOTSET" else None) or (0,) * (2 * axes))
    return rules.Window(
        tuple(stated.get("strides") or ones),
        tuple(stated.get("dilations") or ones),
        pads[:axes],
        pads[axes:],
        stated.get("group", 1),
        how.startswith("SAME"),
    )


def _gemm(b_at: int, bias_at: int) -> Handler:
    """A product of two matrices, to which something may be added."""

    def handler(call: Node) -> tuple[LoweredLayer]:
        a, b = call[0], call[b_at]
        if len(call.shape(a)) != 2 or len(call.shape(b)) != 2:
            raise CannotPriceError("its operands are not matrices")
        return rules.matmul(call, a, b, call.get(bias_at), _swapped(call))

    return handler


def _swapped(call: Node) -> tuple[bool, bool]:
    return bool(call.attributes.get("transA")), bool(call.attributes.get("transB"))


def _matmul(b_at: int, bias_at: int | None = None) -> Handler:
    """Products as numpy makes them, to which something may be added."""

    def handler(call: Node) -> tuple[LoweredLayer]:
        if call.attributes.get("transBatchA") or call.attributes.get("transBatchB"):
            raise CannotPriceError("its batches are transposed")
        return rules.matmul(call, call[0], call[b_at], call.get(bias_at), _swapped(call))

    return handler


def _deformable(call: Node) -> tuple[LoweredLayer]:
    """A convolution whose inputs are taken at places that are computed, which is no product."""
    call.fix(call[2], call.get(4))
    return rules.convolution(call, call[0], call[1], call.get(3), _window(call, len(call.shape(call[1])) - 2))


def _affine_grid(call: Node) -> tuple[LoweredLayer]:
    """Each place of a map times the matrix of its image."""
    batch, axes, inner = call.shape(call[0], 3)[:3]
    call.fix_all()
    places = math.prod(call.shape(call.out)[1:-1])
    return (LoweredLayer(MatMul(places, axes, inner, batch), "affine grid"),)


def _nbits(call: Node) -> tuple[LoweredLayer]:
    """A fully connected layer whose weights are packed, several to a byte."""
    columns, inner = call.attributes.get("N"), call.attributes.get("K")
    shape = call.shape(call[0], 1)
    if not columns or shape[-1] != inner:
        raise CannotPriceError("its sizes K and N do not go with its input")
    call.fix(*call.inputs)
    call.give(call.out, call.fixed([*shape[:-1], columns]))
    return (LoweredLayer(Linear(inner, columns, batch=math.prod(shape[:-1])), "linear", {}, call[1]),)


PRODUCTS: Mapping[str, Handler] = MappingProxyType(
    {
        "Conv": _convolution(0, 1, 2),
        "ConvInteger": _convolution(0, 1, None),
        "QLinearConv": _convolution(0, 3, 8),
        "ConvTranspose": lambda call: rules.transposed_convolution(
            call, call[0], call[1], call.get(2), call.attributes.get("group", 1)
        ),
        "Gemm": _gemm(1, 2),
        "MatMul": _matmul(1),
        "MatMulInteger": _matmul(1),
        "QLinearMatMul": _matmul(3),
        "AffineGrid": _affine_grid,
        "DeformConv": _deformable,
        "Einsum": lambda call: rules.einsum(call, str(call.attributes.get("equation", ""))),
        "com.microsoft::FusedConv": _convolution(0, 1, 2),
        "com.microsoft::FusedGemm": _gemm(1, 2),
        "com.microsoft::FusedMatMul": _matmul(1),
        "com.microsoft::QGemm": _gemm(3, 6),
        "com.microsoft::DynamicQuantizeMatMul": _matmul(1, 4),
        "com.microsoft::MatMulIntegerToFloat": _matmul(1, 6),
        "com.microsoft::MatMulNBits": _nbits,
        **ATTENTION,
        **RECURRENT,
    }
)
"""Operators that multiply, by name, with their domain if it is not ONNX's own."""
