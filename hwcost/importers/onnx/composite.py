"""ONNX's operators that are several products: attention, also that of ONNX Runtime, and recurrent nets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from hwcost.importers.onnx.calls import Node
from hwcost.importers.onnx.shapes import Value
from hwcost.importers.rules import CannotPriceError, Handler, LoweredLayer, attention
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Linear

__all__ = ["ATTENTION", "RECURRENT"]


def _heads(call: Node, value: Value, name: str) -> tuple[int, int, int, int]:
    """Batch, heads, tokens and width of a head; heads have an own axis, or are part of the last one."""
    shape = call.shape(value)
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    heads = call.attributes.get(name, 0)
    if len(shape) != 3 or not heads or shape[2] % heads:
        raise CannotPriceError(f"{value.name!r} has no number of heads")
    return shape[0], heads, shape[1], shape[2] // heads


def _attention(call: Node) -> tuple[LoweredLayer, ...]:
    """Attention of ONNX: keys and values may be for several heads of queries each, and have a past."""
    batch, heads, tokens, width = _heads(call, call[0], "q_num_heads")
    _, key_heads, keys, _ = _heads(call, call[1], "kv_num_heads")
    out = _heads(call, call[2], "kv_num_heads")[3]
    keys += _past(call, 4, 2)
    call.fix_all()
    if heads % max(key_heads, 1):
        raise CannotPriceError(f"its {heads} heads of queries do not share {key_heads} heads of keys evenly")
    of_keys, of_values = (heads // key_heads * _repeats(call, index) for index in (1, 2))
    sizes = {"batch": batch * heads, "tokens": tokens, "keys": keys, "width": width, "out": out}
    return attention(*_operands(call, (2, 5)), **sizes, shared_by=(of_keys, of_values))


def _operands(call: Node, values: tuple[int, ...]) -> tuple[list[Value], list[Value]]:
    """What scores are made of, and values with those of earlier tokens, whose inputs these are.

    Queries, keys and values that are packed into one are both.
    """
    places = enumerate(call.places)
    scores = [value for place, value in places if value is not None and (place not in values or not place)]
    return scores, [value for value in map(call.get, values) if value is not None] or [call[0]]


def _repeats(call: Node, index: int) -> int:
    """How often each head of keys or values is there; once if it is not known, or others come before it."""
    shape = call.shape(call[index])
    is_known = len(shape) == 4 and call.get(index + 3) is None
    return math.prod(shape[:2]) // call.matrices(call[index], range(2)) if is_known else 1


def _multi_head(call: Node) -> tuple[LoweredLayer, ...]:
    """Attention whose projections are other nodes."""
    heads, query, key, value = call.attributes.get("num_heads", 0), call[0], call.get(1), call.get(2)
    if key is None or value is None or len(call.shape(query)) != 3:
        raise CannotPriceError("queries, keys and values are packed into one")
    batch, tokens, width = call.shape(query)
    keys, out = (_tokens_and_width(call, each) for each in (key, value))
    if not heads or width % heads or out[1] % heads:
        raise CannotPriceError(f"{heads} heads do not go with {width} features")
    rows = keys[0] + _past(call, 6, 2)
    call.fix(*call.inputs)
    call.give(call.out, call.fixed([batch, tokens, out[1]]))
    sizes = {"batch": batch * heads, "tokens": tokens, "keys": rows, "width": width // heads, "out": out[1] // heads}
    return attention(*_operands(call, (2, 7)), **sizes)


def _grouped(call: Node) -> tuple[LoweredLayer, ...]:
    """Attention whose heads of queries share those of keys, with a past that may be kept in a longer buffer."""
    heads, key_heads = (call.attributes.get(name, 0) for name in ("num_heads", "kv_num_heads"))
    shape, packed = call.shape(call[0]), call.get(1) is None
    parts = heads + 2 * key_heads if packed else heads
    if len(shape) != 3 or not heads or not key_heads or heads % key_heads or shape[2] % parts:
        raise CannotPriceError(f"its {heads} and {key_heads} heads do not go with its queries")
    batch, tokens, width = shape[0], shape[1], shape[2] // parts
    past = _past(call, 3, 2)
    total = None if call.get(6) is None else call.constant(6)
    keys = total[0] if total else past + tokens
    call.fix(*call.inputs)
    call.give(call.out, call.fixed([batch, tokens, heads * width]))
    for value in call.outputs[1:3]:
        call.give(value, call.fixed([batch, key_heads, max(past, keys), width]))
    shared_by = (heads // key_heads,) * 2
    sizes = {"batch": batch * heads, "tokens": tokens, "keys": keys, "width": width, "out": width}
    return attention(*_operands(call, (0, 4) if packed else (2, 4)), **sizes, shared_by=shared_by)


def _past(call: Node, index: int, axis: int) -> int:
    """The keys of earlier tokens, which are an axis of an input that may be left out."""
    past = call.get(index)
    return 0 if past is None else call.shape(past, axis + 2)[axis]


def _tokens_and_width(call: Node, value: Value) -> tuple[int, int]:
    shape = call.shape(value)
    if len(shape) == 3:
        return shape[1], shape[2]
    if len(shape) == 4:
        return shape[2], shape[1] * shape[3]
    raise CannotPriceError("keys and values are packed into one")


def _with_projection(past_at: int) -> Handler:
    """Attention with the projection of its input to queries, keys and values, but not that of its output."""
    return lambda call: _projected(call, past_at)


def _projected(call: Node, past_at: int) -> tuple[LoweredLayer, ...]:
    x, weight, heads = call[0], call[1], call.attributes.get("num_heads", 0)
    shape, (inner, columns) = call.shape(x, 3), call.shape(weight, 2)[:2]
    sizes = tuple(call.attributes.get("qkv_hidden_sizes") or (columns // 3,) * 3)
    fits = len(shape) == 3 and shape[2] == inner and sum(sizes) == columns
    if not fits or not heads or any(each % heads for each in sizes):
        raise CannotPriceError("its heads and sizes do not go with its input")
    batch, tokens, _ = shape
    call.fix(*call.inputs)
    call.give(call.out, call.fixed([batch, tokens, sizes[2]]))
    width, out = sizes[0] // heads, sizes[2] // heads
    layer, keys = Linear(inner, columns, batch=batch * tokens), tokens + _past(call, past_at, 3)
    own = weight if call.is_parameter(weight) else None
    projection = LoweredLayer(layer, "linear", {}, own, part="projection", reads=(x, weight))
    more = [value for value in call.inputs if value is not x and value is not weight]
    past = [value for value in (call.get(past_at),) if value is not None]
    of = {"batch": batch * heads, "tokens": tokens, "keys": keys, "width": width, "out": out}
    return projection, *attention((projection, *more), (projection, *past), **of)


ATTENTION: Mapping[str, Handler] = MappingProxyType(
    {
        "Attention": _attention,
        "com.microsoft::Attention": _with_projection(4),
        "com.microsoft::GroupQueryAttention": _grouped,
        "com.microsoft::MultiHeadAttention": _multi_head,
        "com.microsoft::QAttention": _with_projection(8),
    }
)
"""The operators that are attention, by domain and name."""


_GRU = 3


def _recurrent(gates: int, *, is_turned: bool = False) -> Handler:
    """A net with this number of gates: the products with all inputs at once, and those with the state step by step.

    The rows of its weights are gates, or their columns, if they are turned.
    """

    def handler(call: Node) -> list[LoweredLayer]:
        x, weight, state = call[0], call[1], call[2]
        steps, batch, features = call.shape(x, 3)[:3]
        if call.attributes.get("layout", 0):
            steps, batch = batch, steps
        directions, *sizes = call.shape(weight, 3)[:3]
        rows, inner = sizes[::-1] if is_turned else sizes
        hidden = call.shape(state, 3)[1 if is_turned else 2]
        if directions != 1 + (call.attributes.get("direction") == "bidirectional"):
            raise CannotPriceError(f"its weights {weight.shape} do not go with its direction")
        if inner != features or rows != gates * hidden:
            raise CannotPriceError(f"its weights {weight.shape} do not go with {gates} gates and {features} features")
        shapes = [(steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2]
        call.fix_all()
        for value, shape in zip(call.outputs, shapes, strict=False):
            if value.shape is None:
                call.give(value, call.fixed(shape))
        # a state that one gate is multiplied into first has its product after those of the gates
        apart = gates == _GRU and not call.attributes.get("linear_before_reset", 0)
        linear = Linear(features, rows, batch=steps * batch)
        products = [Gemm(m=batch, n=n * hidden, k=hidden, count=steps) for n in ((gates - 1, 1) if apart else (gates,))]
        return directions * [
            LoweredLayer(linear, f"{call.kind} input", {}, weight, part="input", reads=call.inputs),
            *(LoweredLayer(gemm, f"{call.kind} state", {}, state, part="state") for gemm in products),
        ]

    return handler


RECURRENT: Mapping[str, Handler] = MappingProxyType(
    {
        "RNN": _recurrent(1),
        "GRU": _recurrent(_GRU),
        "LSTM": _recurrent(4),
        "com.microsoft::DynamicQuantizeLSTM": _recurrent(4, is_turned=True),
    }
)
"""The recurrent operators, by name."""
