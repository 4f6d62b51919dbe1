"""PyTorch's operators that multiply: the layers that they are, and what they say about the axes of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from hwcost.model.layers import Conv2d, Gemm, Linear, MatMul
from hwcost.network.axes import Axis
from hwcost.network.operations import MemoryOnly

if TYPE_CHECKING:
    from torch import Tensor

    from hwcost.importers.torch.tracer import Call

__all__ = ["PRODUCTS", "LoweredLayer", "repeated"]

Axes: TypeAlias = tuple[Axis, ...]
Handler: TypeAlias = "Callable[[Call], Iterator[LoweredLayer]]"


@dataclass(frozen=True)
class LoweredLayer:
    """A layer that an operator is, with the axes that its fields follow.

    Attributes:
        layer: what is priced.
        kind: as people call it.
        sizes: the axes of its fields.
        weight: the operand that is a parameter, if one is.
        output_axis: the width that it makes.
    """

    layer: Any
    kind: str
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weight: Tensor | None = None
    output_axis: Axis | None = None


# ---------------------------------------------------------------- convolutions


def _convolution(call: Call) -> Iterator[LoweredLayer]:
    x, weight, out = call["input"], call["weight"], call.outputs[0]
    axes, output_axis = (_transposed_axes if call["transposed"] else _convolution_axes)(call)
    positions = call.fixed(out.shape[2:], "positions of a map")
    call.tracer.give(out, (call.axes(x)[0], output_axis, *positions))
    call.tracer.give(call["bias"], (output_axis,), "a convolution")
    names_its_width = output_axis if call.tracer.is_parameter(weight) else None
    origin = weight if call.tracer.is_parameter(weight) else None
    if call["transposed"]:
        yield LoweredLayer(_transposed(call), "transposed convolution", axes, origin, names_its_width)
    elif weight.dim() == 5:
        call.tracer.fix((x, out), "a 3-d convolution")
        yield LoweredLayer(_volume(call), "3-d convolution", {}, origin)
    else:
        yield LoweredLayer(_map(call), _kind_of(call), axes, origin, names_its_width)


def _kind_of(call: Call) -> str:
    groups, channels = call["groups"], call["input"].shape[1]
    return "convolution" if groups == 1 else "depthwise convolution" if groups == channels else "grouped convolution"


def _convolution_axes(call: Call) -> tuple[dict[str, Axis], Axis]:
    """The axes of the layer's fields, and that of its output channels."""
    tracer, widths, groups = call.tracer, call.widths, call["groups"]
    x, weight = call["input"], call["weight"]
    channels = call.axes(x)[1]
    kernel = call.fixed(weight.shape[2:], "a kernel")
    seen = tracer.has_axes(weight)
    if groups == x.shape[1] > 1:
        output_axis = call.axes(weight)[0] if seen else widths.scaled(channels, Fraction(weight.shape[0], groups))
        if seen:
            widths.join(
                output_axis, widths.scaled(channels, Fraction(weight.shape[0], groups)), "a depthwise convolution"
            )
        tracer.give(weight, (output_axis, call.fixed((1,), "a kernel")[0], *kernel))
        return {"in_channels": channels, "out_channels": output_axis, "groups": channels}, output_axis
    output_axis = call.axes(weight)[0] if seen else widths.new(weight.shape[0])
    if groups > 1:
        widths.multiple(channels, groups, "groups")
        widths.multiple(output_axis, groups, "groups")
    tracer.give(weight, (output_axis, widths.scaled(channels, Fraction(1, groups)), *kernel), "a convolution")
    return {"in_channels": channels, "out_channels": output_axis}, output_axis


def _transposed_axes(call: Call) -> tuple[dict[str, Axis], Axis]:
    tracer, widths, groups = call.tracer, call.widths, call["groups"]
    x, weight = call["input"], call["weight"]
    channels, kernel = call.axes(x)[1], call.fixed(weight.shape[2:], "a kernel")
    output_axis = (
        widths.scaled(call.axes(weight)[1], groups) if tracer.has_axes(weight) else widths.new(call.outputs[0].shape[1])
    )
    if groups > 1:
        widths.multiple(channels, groups, "groups")
        widths.multiple(output_axis, groups, "groups")
    tracer.give(
        weight, (channels, widths.scaled(output_axis, Fraction(1, groups)), *kernel), "a transposed convolution"
    )
    positions = math.prod(weight.shape[2:])
    return {
        "k": widths.scaled(channels, Fraction(1, groups)),
        "n": widths.scaled(output_axis, Fraction(positions, groups)),
    }, output_axis


def _map(call: Call) -> Conv2d:
    """A convolution over a map, or over a sequence, which is a map of one row."""
    x, weight = call["input"], call["weight"]
    stride, padding, dilation = (list(call[name]) for name in ("stride", "padding", "dilation"))
    size, kernel = list(x.shape[2:]), list(weight.shape[2:])
    stride, dilation = ([*each, *each][: len(size)] if len(each) == 1 else each for each in (stride, dilation))
    padding = [*padding, *padding][: len(size)] if len(padding) == 1 else padding
    row = len(size) == 1
    return Conv2d(
        x.shape[1],
        weight.shape[0],
        (1, kernel[0]) if row else tuple(kernel),
        height=1 if row else size[0],
        width=size[-1],
        batch=x.shape[0],
        stride=(1, stride[0]) if row else tuple(stride),
        padding=(0, padding[0]) if row else tuple(padding),
        dilation=(1, dilation[0]) if row else tuple(dilation),
        groups=call["groups"],
    )


def _volume(call: Call) -> Gemm:
    """A convolution over a volume, as the product that it comes down to."""
    x, weight, out, groups = call["input"], call["weight"], call.outputs[0], call["groups"]
    return Gemm(
        m=out.shape[0] * math.prod(out.shape[2:]),
        n=weight.shape[0] // groups,
        k=math.prod(weight.shape[1:]),
        count=groups,
        window=tuple(weight.shape[2:]),
        inputs=tuple(x.shape),
    )


def _transposed(call: Call) -> Gemm:
    """A transposed convolution: each input position times the whole kernel; what overlaps is added up outside."""
    x, weight, groups = call["input"], call["weight"], call["groups"]
    return Gemm(
        m=x.shape[0] * math.prod(x.shape[2:]),
        n=math.prod(weight.shape[1:]),
        k=weight.shape[0] // groups,
        count=groups,
    )


# ---------------------------------------------------------------- matrix products


def _matrices(first: str, second: str, added: str | None = None) -> Handler:
    """(m x k)(k x n), or a batch of those, to which something may be added."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        a, b, out = call[first], call[second], call.outputs[0]
        a_axes, b_axes = call.axes(a), call.axes(b)
        call.widths.join(a_axes[-1], b_axes[-2], "a matrix product")
        batch = call.widths.join_broadcast((a_axes[:-2], b_axes[:-2]), "a batch of products")
        axes = (*batch, a_axes[-2], b_axes[-1])[-out.dim() :]
        if added is not None:
            _add(call, call[added], axes)
        call.tracer.give(out, axes)
        yield _product(call, a, b, a_axes, b_axes)

    return handler


def _add(call: Call, bias: Tensor, axes: Axes) -> None:
    if call.tracer.is_parameter(bias) and not call.tracer.has_axes(bias) and bias.dim() == 1:
        call.tracer.give(bias, axes[-1:])
    else:
        call.widths.join_broadcast((axes, call.axes(bias)), "an addition")


def _product(call: Call, a: Tensor, b: Tensor, a_axes: Axes, b_axes: Axes) -> LoweredLayer:
    """The product of two matrices: a fully connected layer where one is a parameter, else one of two activations."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch = a.shape[0] if a.dim() == 3 else 1
    rows, inner, columns = a_axes[-2], a_axes[-1], b_axes[-1]
    of_a, of_b = call.tracer.is_parameter(a), call.tracer.is_parameter(b)
    if batch == 1 and of_b:
        sizes = _open(call, {"batch": rows}) | {"in_features": inner, "out_features": columns}
        return LoweredLayer(Linear(k, n, batch=m), "linear", sizes, b, columns)
    if batch == 1 and of_a:
        sizes = _open(call, {"batch": columns}) | {"in_features": inner, "out_features": rows}
        return LoweredLayer(Linear(k, m, batch=n), "linear", sizes, a, rows)
    sizes = _open(call, {"m": rows}) | {"k": inner, "n": columns}
    if a.dim() == 3:
        sizes |= _open(call, {"batch": a_axes[0]})
    return LoweredLayer(MatMul(m, n, k, batch), call.kind, sizes, b if of_b else a if of_a else None)


def _open(call: Call, sizes: dict[str, Axis]) -> dict[str, Axis]:
    """Those that can change: rows and batches seldom do, and then need no rule."""
    return {name: axis for name, axis in sizes.items() if not call.widths.is_fixed(axis)}


def _vector(matrix: str, vector: str, added: str | None = None) -> Handler:
    """(m x k) times a vector."""

    def handler(call: Call) -> Iterator[LoweredLayer]:
        a, x, out = call[matrix], call[vector], call.outputs[0]
        a_axes, (inner,) = call.axes(a), call.axes(x)
        call.widths.join(a_axes[-1], inner, "a matrix product")
        call.tracer.give(out, a_axes[:1])
        if added is not None:
            _add(call, call[added], a_axes[:1])
        m, k = a.shape
        weight = a if call.tracer.is_parameter(a) else None
        sizes = {"in_features": inner, "out_features": a_axes[0]}
        yield LoweredLayer(Linear(k, m), "linear" if weight is not None else call.kind, sizes, weight, a_axes[0])

    return handler


def _inner(call: Call) -> Iterator[LoweredLayer]:
    """The inner product of two vectors."""
    a, b = call.inputs[:2]
    call.widths.join(call.axes(a)[0], call.axes(b)[0], "an inner product")
    weight = next((each for each in (b, a) if call.tracer.is_parameter(each)), None)
    yield LoweredLayer(Linear(a.shape[0], 1), call.kind, {"in_features": call.axes(a)[0]}, weight)


# ---------------------------------------------------------------- attention


def _attention(call: Call) -> Iterator[LoweredLayer]:
    """Scores of queries and keys, and the weighted sum of values; both in full, whatever a mask leaves out."""
    query, key, value = (call[name] for name in ("query", "key", "value"))
    call.tracer.fix((query, key, value), "attention")
    for tensor in call.outputs:
        call.tracer.give(tensor, call.fixed(tensor.shape, "attention"))
    batch = math.prod(query.shape[:-2])
    tokens, width = query.shape[-2:]
    keys, out = key.shape[-2], value.shape[-1]
    yield LoweredLayer(MatMul(tokens, keys, width, batch), "attention scores")
    yield LoweredLayer(MatMul(tokens, out, keys, batch), "attention values")


def _native_attention(call: Call) -> Iterator[LoweredLayer]:
    """Multi-head attention as one operator, which some devices have: four projections, scores and values."""
    query, key, width = call["query"], call["key"], call["embed_dim"]
    call.tracer.fix(call.inputs, "attention")
    for tensor in call.outputs:
        call.tracer.give(tensor, call.fixed(tensor.shape, "attention"))
    yield from _projections_and_heads(query, key, width, call["num_head"], call["qkv_weight"], call["proj_weight"])


def _native_encoder(call: Call) -> Iterator[LoweredLayer]:
    """A whole encoder layer as one operator: attention, and the feed-forward part behind it."""
    source, width = call["src"], call["embed_dim"]
    call.tracer.fix(call.inputs, "attention")
    for tensor in call.outputs:
        call.tracer.give(tensor, call.fixed(tensor.shape, "attention"))
    yield from _projections_and_heads(source, source, width, call["num_heads"], call["qkv_weight"], call["proj_weight"])
    rows = source.numel() // source.shape[-1]
    for name in ("ffn_weight_1", "ffn_weight_2"):
        weight = call[name]
        yield LoweredLayer(Linear(weight.shape[1], weight.shape[0], batch=rows), "linear", {}, weight)


def _projections_and_heads(
    query: Tensor, key: Tensor, width: int, heads: int, joint: Tensor, last: Tensor
) -> Iterator[LoweredLayer]:
    rows, keys = (tensor.numel() // tensor.shape[-1] for tensor in (query, key))
    yield LoweredLayer(Linear(width, width, batch=rows), "linear", {}, joint)
    yield LoweredLayer(Linear(width, 2 * width, batch=keys), "linear", {}, joint)
    batch = query.shape[0] * heads
    tokens, sources = query.shape[1], key.shape[1]
    yield LoweredLayer(MatMul(tokens, sources, width // heads, batch), "attention scores")
    yield LoweredLayer(MatMul(tokens, width // heads, sources, batch), "attention values")
    yield LoweredLayer(Linear(width, width, batch=rows), "linear", {}, last)


PRODUCTS: Mapping[str, Handler] = MappingProxyType(
    {
        "convolution": _convolution,
        "convolution_overrideable": _convolution,
        "mm": _matrices("self", "mat2"),
        "bmm": _matrices("self", "mat2"),
        "addmm": _matrices("mat1", "mat2", "self"),
        "_addmm_activation": _matrices("mat1", "mat2", "self"),
        "baddbmm": _matrices("batch1", "batch2", "self"),
        "addbmm": _matrices("batch1", "batch2", "self"),
        "mv": _vector("self", "vec"),
        "addmv": _vector("mat", "vec", "self"),
        "dot": _inner,
        "vdot": _inner,
        "_scaled_dot_product_flash_attention": _attention,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_efficient_attention": _attention,
        "_scaled_dot_product_cudnn_attention": _attention,
        "_scaled_dot_product_fused_attention_overrideable": _attention,
        "_scaled_dot_product_attention_math_for_mps": _attention,
        "_native_multi_head_attention": _native_attention,
        "_transformer_encoder_layer_fwd": _native_encoder,
    }
)
"""Every operator that multiplies, by its name: the layers that one call is."""


# ---------------------------------------------------------------- recurrent nets


def repeated(
    layer: Linear | MemoryOnly, sizes: Mapping[str, Axis], times: int, at_once: bool
) -> tuple[Any, dict[str, Axis]]:
    """A layer of one step of a recurrent net for all steps.

    The products with the input know all steps beforehand and are one; those with the state wait for each other.

    >>> repeated(Linear(8, 64, batch=2), {}, 10, at_once=True)[0]
    Linear(in_features=8, out_features=64, batch=20)
    >>> repeated(Linear(16, 64, batch=2), {}, 10, at_once=False)[0]
    Gemm(m=2, n=64, k=16, count=10)
    """
    if times == 1:
        return layer, dict(sizes)
    if isinstance(layer, MemoryOnly):
        return MemoryOnly(layer.kind, times * layer.reads, times * layer.writes), dict(sizes)
    if at_once:
        return Linear(layer.in_features, layer.out_features, batch=times * layer.batch), dict(sizes)
    letters = {"in_features": "k", "out_features": "n", "batch": "m"}
    gemm = Gemm(m=layer.batch, n=layer.out_features, k=layer.in_features, count=times)
    return gemm, {letters[name]: axis for name, axis in sizes.items()}
