"""The shapes of outputs, from those of inputs: needed where a file has sizes that are open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from hwcost.importers.rules import CannotPriceError
from hwcost.importers.tflite.calls import OperatorCall
from hwcost.importers.tflite.cuts import cuts_of, dims_of, known_integers
from hwcost.importers.tflite.free import ELEMENTWISE, SAME

__all__ = ["shapes_of"]

Shape: TypeAlias = tuple[int, ...]
_SAME, _VALID = 0, 1


def shapes_of(call: OperatorCall) -> Sequence[Shape] | None:
    """The shapes of the outputs, one for all if they are the same; None if they are not known from the inputs."""
    find = _SHAPES.get(call.kind)
    if find is None:
        return None
    try:
        return find(call)
    except (CannotPriceError, ArithmeticError, LookupError, ValueError):  # sizes or numbers that are unknown or wrong
        return None


def _positions(call: OperatorCall, sizes: Shape, kernel: Shape, strides: str, dilations: str, names: str) -> Shape:
    """The sizes of a map behind a kernel; the attributes of each axis begin or end with a letter of its name."""
    how, found = call.option("Padding", _SAME), []
    for size, of_kernel, letter in zip(sizes, kernel, names, strict=True):
        stride, dilation = call.option(strides.format(letter), 1), call.option(dilations.format(letter), 1)
        spare = size - 1 if how == _SAME else size - 1 - dilation * (of_kernel - 1)
        if how not in (_SAME, _VALID) or stride < 1 or dilation < 1 or spare < 0:
            raise CannotPriceError("its window does not go with its input")
        found.append(spare // stride + 1)
    return tuple(found)


def _convolution(call: OperatorCall) -> list[Shape]:
    (batch, *size, _), kernel = call.shape(call[0], 4), call.shape(call[1], 4)
    filters = kernel[3] if call.kind == "DEPTHWISE_CONV_2D" else kernel[0]
    found = _positions(call, tuple(size), kernel[1:3], "Stride{}", "Dilation{}Factor", "HW")
    return [(batch, *found, filters)]


def _volume(call: OperatorCall) -> list[Shape]:
    (batch, *size, _), kernel = call.shape(call[0], 5), call.shape(call[1], 5)
    found = _positions(call, tuple(size), kernel[:3], "Stride{}", "Dilation{}Factor", "DHW")
    return [(batch, *found, kernel[4])]


def _pool(call: OperatorCall) -> list[Shape]:
    batch, *size, channels = call.shape(call[0], 4)
    kernel = (call.option("FilterHeight", 1), call.option("FilterWidth", 1))
    return [(batch, *_positions(call, tuple(size), kernel, "Stride{}", "", "HW"), channels)]


def _stated(index: int) -> Callable[[OperatorCall], list[Shape]]:
    """The shape that an input holds."""
    return lambda call: [tuple(known_integers(call, index))]


def _fully_connected(call: OperatorCall) -> list[Shape]:
    shape, (columns, inner) = call.shape(call[0]), call.shape(call[1], 2)
    if call.option("KeepNumDims"):
        return [(*shape[:-1], columns)]
    rows, rest = divmod(math.prod(shape), inner)
    if rest:
        raise CannotPriceError(f"{math.prod(shape)} elements are no rows of {inner}")
    return [(rows, columns)]


def _products(call: OperatorCall) -> list[Shape]:
    a, b = call.shape(call[0], 2), call.shape(call[1], 2)
    rows, columns = a[-1 if call.option("AdjX") else -2], b[-2 if call.option("AdjY") else -1]
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)]


def _reshape(call: OperatorCall) -> list[Shape]:
    stated = None if call.get(1) is None else call.constant(1)
    if stated is None:
        stated = list(call.attributes.get("NewShape", ()))
        if call.get(1) is not None and not stated:
            raise CannotPriceError("its shape is not known")
    rest = math.prod(size for size in stated if size != -1)
    if stated.count(-1) == 1:
        stated[stated.index(-1)] = math.prod(call.shape(call[0])) // rest
    if math.prod(stated) != math.prod(call.shape(call[0])) or min(stated, default=0) < 0:
        raise CannotPriceError("its shape does not go with its input")
    return [tuple(stated)]


def _squeeze(call: OperatorCall) -> list[Shape]:
    shape = call.shape(call[0])
    gone = {dim % len(shape) for dim in call.attributes.get("SqueezeDims", ())}
    return [tuple(size for place, size in enumerate(shape) if (place not in gone if gone else size != 1))]


def _expand_dims(call: OperatorCall) -> list[Shape]:
    shape = list(call.shape(call[0]))
    shape.insert(call.one_of(1) % (len(shape) + 1), 1)
    return [tuple(shape)]


def _concatenation(call: OperatorCall) -> list[Shape]:
    shapes = [call.shape(value) for value in call.inputs]
    axis = call.option("Axis") % len(shapes[0])
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _pack(call: OperatorCall) -> list[Shape]:
    shape = list(call.shape(call[0]))
    shape.insert(call.option("Axis") % (len(shape) + 1), len(call.inputs))
    return [tuple(shape)]


def _unpack(call: OperatorCall) -> list[Shape]:
    shape = call.shape(call[0])
    axis = call.option("Axis") % len(shape)
    return [shape[:axis] + shape[axis + 1 :]] * len(call.outputs)


def _split(call: OperatorCall) -> list[Shape]:
    shape = call.shape(call[1])
    axis, count = call.one_of(0) % len(shape), len(call.outputs)
    return [(*shape[:axis], shape[axis] // count, *shape[axis + 1 :])] * count


def _split_v(call: OperatorCall) -> list[Shape]:
    shape, sizes = call.shape(call[0]), known_integers(call, 1)
    axis = call.one_of(2) % len(shape)
    rest = shape[axis] - sum(size for size in sizes if size != -1)
    return [(*shape[:axis], rest if size == -1 else size, *shape[axis + 1 :]) for size in sizes]


def _slice(call: OperatorCall) -> list[Shape]:
    return [tuple(size for _, _, size, special in cuts_of(call) if special != "shrink")]


def _gather(call: OperatorCall) -> list[Shape]:
    shape, places = call.shape(call[0]), call.shape(call[1])
    axis, batch = call.option("Axis") % len(shape), call.option("BatchDims") % max(len(places), 1)
    return [(*shape[:axis], *places[batch:], *shape[axis + 1 :])]


def _reduction(call: OperatorCall) -> list[Shape]:
    shape, gone, keeps = call.shape(call[0]), set(dims_of(call, 1, call[0])), call.option("KeepDims")
    return [tuple(1 if place in gone else size for place, size in enumerate(shape) if keeps or place not in gone)]


def _pad(call: OperatorCall) -> list[Shape]:
    shape, around = call.shape(call[0]), known_integers(call, 1)
    pairs = zip(shape, around[::2], around[1::2], strict=True)
    return [tuple(before + size + after for size, before, after in pairs)]


def _resize(call: OperatorCall) -> list[Shape]:
    batch, _, _, channels = call.shape(call[0], 4)
    return [(batch, *known_integers(call, 1), channels)]


def _transpose(call: OperatorCall) -> list[Shape]:
    shape = call.shape(call[0])
    return [tuple(shape[dim] for dim in known_integers(call, 1))]


def _blocks(call: OperatorCall) -> list[Shape]:
    (batch, height, width, channels), by = call.shape(call[0], 4), call.option("BlockSize", 1)
    if call.kind == "SPACE_TO_DEPTH":
        return [(batch, height // by, width // by, channels * by * by)]
    return [(batch, height * by, width * by, channels // (by * by))]


def _broadcast(call: OperatorCall) -> list[Shape]:
    return [tuple(map(int, np.broadcast_shapes(*(call.shape(value) for value in call.inputs))))]


def _space_to_batch(call: OperatorCall) -> list[Shape]:
    (batch, *rest), sides, around = call.shape(call[0]), known_integers(call, 1), known_integers(call, 2)
    pairs = list(zip(around[::2], around[1::2], strict=True))
    if call.kind == "SPACE_TO_BATCH_ND":
        batch *= math.prod(sides)
        size = [(of + sum(pair)) // side for of, side, pair in zip(rest, sides, pairs, strict=False)]
    else:
        batch //= math.prod(sides)
        size = [of * side - sum(pair) for of, side, pair in zip(rest, sides, pairs, strict=False)]
    return [(batch, *size, *rest[len(sides) :])]


def _recurrent(call: OperatorCall) -> list[Shape]:
    """The features of the state in place of those of the input."""
    *shape, _ = call.shape(call[0])
    if call.kind == "SVDF":
        return [(*shape, call.shape(call[1], 2)[0] // call.option("Rank", 1))]
    if call.kind.endswith("RNN"):
        return [(*shape, call.shape(call[1], 2)[0])]
    return [(*shape, call.shape(call[7], 2)[1])]


def _range(call: OperatorCall) -> list[Shape]:
    return [(len(range(call.one_of(0), call.one_of(1), call.one_of(2))),)]


def _embedding(call: OperatorCall) -> list[Shape]:
    return [(*call.shape(call[0]), *call.shape(call[1])[1:])]


_SHAPES: Mapping[str, Callable[[OperatorCall], Sequence[Shape]]] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, _broadcast),
        **dict.fromkeys(SAME, lambda call: [call.shape(call[0])]),
        **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
        "CONV_3D": _volume,
        **dict.fromkeys(("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "FILL"), _stated(0)),
        "BROADCAST_TO": _stated(1),
        "FULLY_CONNECTED": _fully_connected,
        "BATCH_MATMUL": _products,
        **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _pool),
        "RESHAPE": _reshape,
        "SQUEEZE": _squeeze,
        "EXPAND_DIMS": _expand_dims,
        "CONCATENATION": _concatenation,
        "PACK": _pack,
        "UNPACK": _unpack,
        "SPLIT": _split,
        "SPLIT_V": _split_v,
        **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
        "GATHER": _gather,
        **dict.fromkeys(
            (
                "ARG_MAX",
                "ARG_MIN",
                "MEAN",
                "REDUCE_ALL",
                "REDUCE_ANY",
                "REDUCE_MAX",
                "REDUCE_MIN",
                "REDUCE_PROD",
                "SUM",
            ),
            _reduction,
        ),
        **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
        **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
        "TRANSPOSE": _transpose,
        **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
        **dict.fromkeys(("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"), _space_to_batch),
        **dict.fromkeys(("RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "SVDF"), _recurrent),
        "RANGE": _range,
        "EMBEDDING_LOOKUP": _embedding,
        "TILE": lambda call: [
            tuple(size * times for size, times in zip(call.shape(call[0]), known_integers(call, 1), strict=True))
        ],
        "SHAPE": lambda call: [(len(call.shape(call[0])),)],
        "RANK": lambda call: [()],
    }
)
