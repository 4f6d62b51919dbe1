"""The product of two operands of an ONNX node, as a layer: fully connected where one is a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwcost.importers.onnx.calls import Call, LoweredLayer
from hwcost.importers.onnx.shapes import Value
from hwcost.model.layers import Linear, MatMul
from hwcost.network.axes import Axis

__all__ = ["Matrix", "matrix_product"]


@dataclass(frozen=True)
class Matrix:
    """An operand: its value, the axes of its batch, and the one that is not summed over."""

    value: Value
    batch: Sequence[Axis]
    free: Axis


def matrix_product(call: Call, a: Matrix, b: Matrix, inner: Axis) -> LoweredLayer:
    """(m x k)(k x n), as often as the batches of both say together.

    An operand without a batch is the same for all of the other's, whose batch then is more rows (or columns) of one
    product: so it is with the weights of a fully connected layer.
    """
    of_a, of_b = bool(a.value.origin) and not b.value.origin, bool(b.value.origin)
    if of_b and _is_one(call, b.batch):
        return _linear(call, call.merged((*a.batch, a.free)), inner, b)
    if of_a and _is_one(call, a.batch):
        return _linear(call, call.merged((*b.batch, b.free)), inner, a)
    if _is_one(call, b.batch):
        return _products(call, call.merged((*a.batch, a.free)), inner, b.free, (), a.value if of_a else None)
    batch = call.widths.join_broadcast((a.batch, b.batch), call.kind)
    return _products(call, a.free, inner, b.free, batch, b.value if of_b else a.value if of_a else None)


def _is_one(call: Call, batch: Sequence[Axis]) -> bool:
    return math.prod(map(call.widths.size, batch)) == 1


def _linear(call: Call, rows: Axis, inner: Axis, weight: Matrix) -> LoweredLayer:
    size = call.widths.size
    sizes = call.open({"batch": rows}) | {"in_features": inner, "out_features": weight.free}
    layer = Linear(size(inner), size(weight.free), batch=size(rows))
    return LoweredLayer(layer, "linear", sizes, weight.value, weight.free)


def _products(
    call: Call, rows: Axis, inner: Axis, columns: Axis, batch: Sequence[Axis], weight: Value | None
) -> LoweredLayer:
    size, together = call.widths.size, call.merged(batch)
    sizes = call.open({"m": rows, "batch": together}) | {"k": inner, "n": columns}
    return LoweredLayer(MatMul(size(rows), size(columns), size(inner), size(together)), call.kind, sizes, weight)
