"""ONNX's convolutions and matrix products: the layers that they are, and what they say about axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from hwcost.importers.onnx.attention import ATTENTION
from hwcost.importers.onnx.calls import Axes, Call, CannotPriceError, LoweredLayer, ProductHandler
from hwcost.importers.onnx.einsum import einsum
from hwcost.importers.onnx.matrices import Matrix, matrix_product
from hwcost.importers.onnx.recurrent import RECURRENT
from hwcost.importers.onnx.shapes import Value
from hwcost.model.layers import Conv2d, Gemm
from hwcost.network.axes import Axis

__all__ = ["PRODUCTS"]

# ---------------------------------------------------------------- convolutions


@dataclass(frozen=True)
class _Window:
    """How a kernel goes over a map: sizes along each axis of the map."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    same: bool
    groups: int


def _window(call: Call, weight: Value) -> _Window:
    said, kernel = call.attributes, call.shape(weight)[2:]
    ones = (1,) * len(kernel)
    how = said.get("auto_pad") or "NOTSET"
    if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise CannotPriceError(f"auto_pad is {how!r}")
    pads = said.get("pads") if how == "NOTSET" else None
    pads = list(pads or [0] * (2 * len(kernel)))
    return _Window(
        kernel,
        tuple(said.get("strides") or ones),
        tuple(said.get("dilations") or ones),
        tuple(pads[: len(kernel)]),
        tuple(pads[len(kernel) :]),
        how.startswith("SAME"),
        said.get("group", 1),
    )


def _convolution(x_at: int, weight_at: int, bias_at: int | None) -> ProductHandler:
    """A convolution whose operands are these inputs."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        x, weight = call[x_at], call[weight_at]
        window = _window(call, weight)
        output_axis, sizes = _convolution_axes(call, x, weight, window)
        positions = call.fixed(call.shape(call.out, 3)[2:], "positions of a map")
        call.give(call.out, (call.axes(x)[0], output_axis, *positions))
        if bias_at is not None and call.get(bias_at) is not None:
            call.give(call.get(bias_at), (output_axis,))
        for value in (*call.inputs[len(call.inputs) if bias_at is None else bias_at + 1 :],):
            _residual(call, value)
        layer, axes = _convolution_layer(call, x, weight, window)
        named = output_axis if weight.origin else None
        yield LoweredLayer(layer, _kind_of(window, x), sizes if axes else {}, weight, named)

    return handler


def _residual(call: Call, value: Value | None) -> None:
    """What a fused convolution adds to its output."""
    if value is not None and value.shape == call.out.shape:
        call.widths.join_broadcast([call.axes(call.out), call.axes(value)], call.kind)


def _kind_of(window: _Window, x: Value) -> str:
    if len(window.kernel) == 3:
        return "3-d convolution"
    channels = x.shape[1] if x.shape else 0
    if window.groups == 1:
        return "convolution"
    return "depthwise convolution" if window.groups == channels else "grouped convolution"


def _convolution_axes(call: Call, x: Value, weight: Value, window: _Window) -> tuple[Axis, dict[str, Axis]]:
    """The axis of the output channels, and the axes of the layer's fields."""
    widths, groups, filters = call.widths, window.groups, call.shape(weight, 3)[0]
    channels = call.axes(x)[1]
    kernel = call.fixed(window.kernel, "a kernel")
    if groups == call.shape(x, 3)[1] > 1:
        output_axis = widths.scaled(channels, Fraction(filters, groups))
        call.give(weight, (output_axis, call.fixed((1,), "a kernel")[0], *kernel))
        return output_axis, {"in_channels": channels, "out_channels": output_axis, "groups": channels}
    output_axis = widths.new(filters) if weight.axes is None else weight.axes[0]
    if groups > 1:
        widths.multiple(channels, groups, "groups")
        widths.multiple(output_axis, groups, "groups")
    call.give(weight, (output_axis, widths.scaled(channels, Fraction(1, groups)), *kernel))
    return output_axis, {"in_channels": channels, "out_channels": output_axis}


def _convolution_layer(call: Call, x: Value, weight: Value, window: _Window) -> tuple[Any, bool]:
    """The layer, and whether its channels may follow widths."""
    size = call.shape(x)[2:]
    if len(size) == 3:
        call.fix(x, call.out)
        return _volume(call, x, weight, window), False
    if len(size) not in (1, 2):
        raise CannotPriceError(f"a convolution over {len(size)} axes")
    if min(*window.before, *window.after) < 0:
        raise CannotPriceError("negative padding")
    layer = _map(call, x, weight, window)
    if layer.out_size[-len(size) :] != call.shape(call.out)[2:]:
        raise CannotPriceError(f"its output is {call.out.shape}, not {layer.out_size}")
    return layer, True


def _map(call: Call, x: Value, weight: Value, window: _Window) -> Conv2d:
    """A convolution over a map, or over a sequence, which is a map of one row.

    Padding that differs between both ends of an axis is part of the input.
    """
    shape = call.shape(x)
    size, padding = [], []
    for length, before, after in zip(shape[2:], window.before, window.after, strict=True):
        size.append(length if before == after else length + before + after)
        padding.append(before if before == after else 0)
    if window.before != window.after and not window.same:
        call.tracer.note("padding that differs between both ends is counted as part of the input")
    kernel, strides, dilations = window.kernel, window.strides, window.dilations
    if len(size) == 1:
        size, padding = [1, *size], [0, *padding]
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
    along: dict[str, Any] = {"kernel_size": kernel, "stride": strides, "dilation": dilations, "padding": tuple(padding)}
    return Conv2d(
        shape[1],
        call.shape(weight)[0],
        height=size[0],
        width=size[1],
        batch=shape[0],
        groups=window.groups,
        **along | ({"padding": "same"} if window.same else {}),
    )


def _volume(call: Call, x: Value, weight: Value, window: _Window) -> Gemm:
    """A convolution over a volume, as the product that it comes down to."""
    out, filters = call.shape(call.out), call.shape(weight)
    return Gemm(
        m=out[0] * math.prod(out[2:]),
        n=filters[0] // window.groups,
        k=math.prod(filters[1:]),
        count=window.groups,
        window=window.kernel,
        inputs=call.shape(x),
    )


def _transposed(call: Call) -> Iterator[LoweredLayer]:
    """A transposed convolution: each input position times the whole kernel; what overlaps is added up outside."""
    x, weight, groups = call[0], call[1], call.attributes.get("group", 1)
    shape, filters, widths = call.shape(x, 3), call.shape(weight, 3), call.widths
    channels = call.axes(x)[1]
    output_axis = widths.new(filters[1] * groups) if weight.axes is None else widths.scaled(weight.axes[1], groups)
    if groups > 1:
        widths.multiple(channels, groups, "groups")
        widths.multiple(output_axis, groups, "groups")
    kernel = call.fixed(filters[2:], "a kernel")
    call.give(weight, (channels, widths.scaled(output_axis, Fraction(1, groups)), *kernel))
    call.give(call.out, (call.axes(x)[0], output_axis, *call.fixed(call.shape(call.out, 3)[2:], "positions of a map")))
    call.give(call.get(2), (output_axis,))
    layer = Gemm(m=shape[0] * math.prod(shape[2:]), n=math.prod(filters[1:]), k=filters[0] // groups, count=groups)
    sizes = {
        "k": widths.scaled(channels, Fraction(1, groups)),
        "n": widths.scaled(output_axis, Fraction(math.prod(filters[2:]), groups)),
    }
    yield LoweredLayer(layer, "transposed convolution", sizes, weight, output_axis if weight.origin else None)


# ---------------------------------------------------------------- matrix products


def _swapped(axes: Sequence[Any], swapped: Any) -> tuple[Any, ...]:
    return (*axes[:-2], axes[-1], axes[-2]) if swapped else tuple(axes)


def _gemm(b_at: int, bias_at: int | None) -> ProductHandler:
    """(m x k)(k x n), each of which may be given the other way round, to which something may be added."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        a, b = call[0], call[b_at]
        if len(call.shape(a)) != 2 or len(call.shape(b)) != 2:
            raise CannotPriceError("its operands are no matrices")
        (rows, inner) = _swapped(call.axes(a), call.attributes.get("transA"))
        (other, columns) = _swapped(call.axes(b), call.attributes.get("transB"))
        _join(call, inner, other)
        axes: Axes = (rows, columns)
        _add(call, None if bias_at is None else call.get(bias_at), axes)
        call.give(call.out, axes)
        yield matrix_product(call, Matrix(a, (), rows), Matrix(b, (), columns), inner)

    return handler


def _join(call: Call, a: Axis, b: Axis) -> None:
    """What a product sums over is the same in both operands."""
    if call.widths.size(a) != call.widths.size(b):
        raise CannotPriceError(f"its operands do not go together: {call.widths.size(a)} and {call.widths.size(b)}")
    call.widths.join(a, b, call.kind)


def _add(call: Call, bias: Value | None, axes: Axes) -> None:
    if bias is None:
        return
    if bias.origin and bias.axes is None and bias.shape == (call.widths.size(axes[-1]),):
        call.give(bias, axes[-1:])
    else:
        call.widths.join_broadcast([axes, call.axes(bias)], call.kind)


def _matmul(b_at: int) -> ProductHandler:
    """Products as numpy makes them: batches go together, vectors are rows or columns."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        said = call.attributes
        if said.get("transBatchA") or said.get("transBatchB"):
            raise CannotPriceError("its batches are transposed")
        a, b = call[0], call[b_at]
        a_axes = _swapped(call.axes(a), said.get("transA") and len(call.shape(a)) > 1)
        b_axes = _swapped(call.axes(b), said.get("transB") and len(call.shape(b)) > 1)
        if not a_axes or not b_axes:
            raise CannotPriceError("one of its operands is a number")
        one = call.fixed((1,), "a vector")
        rows = (*one, *a_axes) if len(a_axes) == 1 else a_axes
        columns = (*b_axes, *one) if len(b_axes) == 1 else b_axes
        _join(call, rows[-1], columns[-2])
        batch = call.widths.join_broadcast((rows[:-2], columns[:-2]), call.kind)
        ends = (rows[-2:-1] if len(a_axes) > 1 else ()) + (columns[-1:] if len(b_axes) > 1 else ())
        call.give(call.out, (*batch, *ends))
        yield matrix_product(call, Matrix(a, rows[:-2], rows[-2]), Matrix(b, columns[:-2], columns[-1]), rows[-1])

    return handler


def _nbits(call: Call) -> Iterator[LoweredLayer]:
    """A fully connected layer whose weights are packed, several to a byte."""
    from hwcost.model.layers import Linear

    x, columns, inner = call[0], call.attributes.get("N"), call.attributes.get("K")
    shape = call.shape(x, 1)
    if not columns or shape[-1] != inner:
        raise CannotPriceError("its sizes K and N do not go with its input")
    call.fix_all()
    yield LoweredLayer(Linear(inner, columns, batch=math.prod(shape[:-1])), "linear", {}, call[1])


PRODUCTS: Mapping[tuple[str, str], ProductHandler] = MappingProxyType(
    {
        ("", "Conv"): _convolution(0, 1, 2),
        ("", "ConvInteger"): _convolution(0, 1, None),
        ("", "QLinearConv"): _convolution(0, 3, 8),
        ("", "ConvTranspose"): _transposed,
        ("", "Gemm"): _gemm(1, 2),
        ("", "MatMul"): _matmul(1),
        ("", "MatMulInteger"): _matmul(1),
        ("", "QLinearMatMul"): _matmul(3),
        ("", "Einsum"): einsum,
        ("com.microsoft", "FusedConv"): _convolution(0, 1, 2),
        ("com.microsoft", "FusedGemm"): _gemm(1, 2),
        ("com.microsoft", "FusedMatMul"): _matmul(1),
        ("com.microsoft", "QGemm"): _gemm(3, 6),
        ("com.microsoft", "MatMulNBits"): _nbits,
        **ATTENTION,
        **RECURRENT,
    }
)
"""Every operator that multiplies, by domain and name: the layers that one node is."""
