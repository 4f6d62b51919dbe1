"""ONNX Runtime's own operators (domain com.microsoft): what comes out of them.

The onnx library does not know them. Those that are a standard one with something fused to it are looked at as that one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import onnx
import onnx.helper

from hwcost.importers.onnx.free import names_of

__all__ = ["BROADCAST", "SAME_AS_FIRST", "like_standard", "microsoft_shapes", "transposed"]

Shape: TypeAlias = tuple[int, ...] | None

SAME_AS_FIRST = names_of(
    """
    BiasAdd BiasDropout BiasGelu BiasSoftmax DequantizeLinear FastGelu Gelu GroupNorm LayerNormalization
    QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QuantizeLinear QuickGelu RotaryEmbedding
    SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization
    """
)
"""Operators without products whose first output has the shape of the first input."""

BROADCAST = frozenset({"QLinearAdd", "QLinearMul"})
"""Two tensors that meet element by element: the first and the fourth input."""

_STANDARD: Mapping[str, tuple[str, tuple[int, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "FusedConv": ("Conv", (0, 1, 2), ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")),
        "FusedGemm": ("Gemm", (0, 1, 2), ("alpha", "beta", "transA", "transB")),
        "QGemm": ("Gemm", (0, 3), ("transA", "transB")),
    }
)
"""The standard operator that one is, the inputs that count, and the attributes that both have."""


def like_standard(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The standard operator whose shape a node has; None where there is none."""
    if node.op_type not in _STANDARD:
        return None
    kind, places, kept = _STANDARD[node.op_type]
    inputs = [node.input[place] for place in places if place < len(node.input)]
    same = onnx.helper.make_node(kind, inputs, node.output[:1], name=node.name)
    same.attribute.extend(attribute for attribute in node.attribute if attribute.name in kept)
    return same


def microsoft_shapes(node: onnx.NodeProto, shapes: Sequence[Shape]) -> list[Shape]:
    """The shapes of the outputs that are known."""
    if not shapes or shapes[0] is None:
        return []
    if node.op_type in SAME_AS_FIRST:
        return [shapes[0]]
    if node.op_type in BROADCAST:
        return [_broadcast(shapes[0], shapes[3] if len(shapes) > 3 else None)]
    found = _SHAPES.get(node.op_type)
    said = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return [] if found is None else [found(said, shapes)]


def _broadcast(a: Shape, b: Shape) -> Shape:
    import numpy as np

    if a is None or b is None:
        return None
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def transposed(shape: Sequence[int], swapped: bool) -> tuple[int, ...]:
    """A shape with its last two sizes swapped, where that is asked for.

    >>> transposed((2, 3, 4), True)
    (2, 4, 3)
    """
    return (*shape[:-2], shape[-1], shape[-2]) if swapped and len(shape) >= 2 else tuple(shape)


def _fused_matmul(said: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    a, b = shapes[:2] if len(shapes) > 1 else (None, None)
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    a, b = transposed(a, said.get("transA", 0)), transposed(b, said.get("transB", 0))
    batch = _broadcast(a[:-2], b[:-2])
    return None if batch is None or a[-1] != b[-2] else (*batch, a[-2], b[-1])


def _nbits(said: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    return None if shapes[0] is None or "N" not in said else (*shapes[0][:-1], int(said["N"]))


def _attention(said: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    x, weight = shapes[0], shapes[1] if len(shapes) > 1 else None
    if x is None or weight is None or len(x) != 3:
        return None
    sizes = said.get("qkv_hidden_sizes")
    return (*x[:2], int(sizes[2]) if sizes else weight[-1] // 3)


def _multi_head(said: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    query, value = shapes[0], shapes[2] if len(shapes) > 2 else None
    if query is None or value is None or len(query) != 3:
        return None
    return (*query[:2], value[2] if len(value) == 3 else math.prod(value[1::2]))


def _global_pool(said: Mapping[str, Any], shapes: Sequence[Shape]) -> Shape:
    x = shapes[0]
    if x is None or len(x) < 3:
        return None
    ones = (1,) * (len(x) - 2)
    return (x[0], *ones, x[-1]) if said.get("channels_last") else (*x[:2], *ones)


_SHAPES: Mapping[str, Callable[[Mapping[str, Any], Sequence[Shape]], Shape]] = MappingProxyType(
    {
        "FusedMatMul": _fused_matmul,
        "MatMulNBits": _nbits,
        "Attention": _attention,
        "MultiHeadAttention": _multi_head,
        "QLinearGlobalAveragePool": _global_pool,
    }
)
