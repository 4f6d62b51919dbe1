"""The tile of outputs that a machine works on at a time, and what it reads for it.

A tile is h x w positions of the output image and d filters. Its accumulators and inputs are held next to the array, two
of each, so that one is filled while the other is worked on. Of the tiles that fit, the one that moves least is taken:

    patch  = ((h - 1) * s + k1) * ((w - 1) * s + k2)              inputs of a channel that h x w outputs need
    room   : 2 * patch * channels at once <= memory - banks,  8 * h * w * d <= banks
    moved  = ceil(n / d) * patch * c * H * W / (h * w)  +  k1 * k2 * c * n * ceil(H / h) * ceil(W / w)

with H x W outputs, s the stride, d a multiple of the channels that move together. The width w enters linearly and is
solved for; h, d and the banks are tried. So the time of a layer is not monotone in its filters: one more can be one
tile more, and eight more can lie next to each other in memory.

A product knows how many outputs it has and not their shape: the images are taken to be square. Sizes choose a tile
without a gradient; what follows from it has one.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from hwcost.arrays import (
    Size,
    backend_of,
    ceil_divide,
    floor_divide,
    is_float,
    is_number,
    maximum,
    namespace,
    product,
    true_divide,
)
from hwcost.machine.array import SystolicArray
from hwcost.model.gemm import Gemm, share
from hwcost.model.sums import where
from hwcost.relaxation import Relaxation

__all__ = ["Tile", "patched", "side", "tile_of"]

_HEIGHTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Heights that are tried, in patches."""
_FILTERS = (1, 2, 3, 4, 6, 8)
"""Filters that are tried, in multiples of the channels that move together."""
_BYTES = 8
"""Of an accumulator: four, twice."""
_MOST = 1_000_000
"""Tiles of all products that are tried at once."""


class Tile(NamedTuple):
    """A tile of outputs and what it needs.

    Attributes:
        height, width, filters: of the tile.
        first: filters whose weights arrive together, in whole columns.
        patch: inputs of one channel that it needs.
        at_once: channels of the inputs that arrive together.
        positions: tiles that the image takes.
        readings: how often inputs are read, for overlapping patches and for each tile of filters.
        read_run, write_run: elements of inputs and outputs that lie next to each other.
    """

    height: Size
    width: Size
    filters: Size
    first: Size
    patch: Size
    at_once: Size
    positions: Size
    readings: Size
    read_run: Size
    write_run: Size


class _Sizes(NamedTuple):
    """What the tile of a product depends on; a channel of a depthwise convolution is one of n filters with c = 1."""

    out: Size
    inp: Size
    kernel: Size
    stride: Size
    channels: Size
    filters: Size
    depthwise: Any
    shares: Any


def side(positions: Size) -> Any:
    """The side of a square of so many positions.

    >>> side(784), side(np.array([49, 64])).tolist()
    (28.0, [7.0, 8.0])
    """
    if is_number(positions):
        return math.sqrt(positions)
    soft = _soft(positions)
    return namespace(soft).sqrt(soft)


def patched(positions: Size, array: SystolicArray, relaxation: Relaxation) -> Size:
    """Positions of the outputs with height and width padded to whole patches."""
    height, width = array.patch_height, array.patch_width
    if type(height) is int and type(width) is int and height == width == 1:
        return positions
    edge = side(positions)
    padded = [where(size == 1, edge, product(relaxation.ceil_div(edge, size), size)) for size in (height, width)]
    whole = product(*padded, what="the output positions")
    return where((height == 1) & (width == 1), positions, whole)


def tile_of(gemm: Gemm, array: SystolicArray, relaxation: Relaxation, *, shares: Any, is_depthwise: Any) -> Tile:
    """The tile of a product.

    Args:
        gemm: the product, with the channels of a depthwise convolution along its columns if the machine lays them so.
        array, relaxation: the machine, and how ceilings are taken.
        shares: whether positions of the kernel share the rows of the array.
        is_depthwise: whether it is a depthwise convolution whose channels lie along the columns.
    """
    sizes, fields = _sizes(gemm, shares, is_depthwise), _fields(array)
    if all(map(is_number, (*sizes[:6], *fields))):
        numbers = _Sizes(*sizes[:6], depthwise=bool(sizes.depthwise), shares=bool(sizes.shares))
        height, width, filters = _chosen(numbers, fields)
    else:
        height, width, filters = _best(_Sizes(*map(_stopped, sizes)), fields)
    return _tile(sizes, fields, relaxation, height, width, filters)


def _sizes(gemm: Gemm, shares: Any, is_depthwise: Any) -> _Sizes:
    channels = _soft(share(gemm.k, gemm.positions))
    out = inp = side(gemm.m)
    if gemm.inputs:
        images = product(channels, share(gemm.count, gemm.inputs_shared_by), where(is_depthwise, gemm.n, 1))
        inp = side(true_divide(product(*gemm.inputs), images))
    stride = maximum(floor_divide(true_divide(inp, out) + 0.5, 1.0), 1.0)
    return _Sizes(out, inp, side(gemm.positions), stride, channels, _soft(gemm.n), is_depthwise, shares)


def _soft(size: Size) -> Any:
    """The size as a float, or as an array of them."""
    return float(size) if is_number(size) else size if is_float(size) else true_divide(size, 1)


def _stopped(size: Any) -> Any:
    """The size without its gradient."""
    return size if isinstance(size, (bool, float, np.generic)) else backend_of(size).stop_gradient(size)


class _Fields(NamedTuple):
    """What the tile depends on of a machine."""

    patch_height: Size
    patch_width: Size
    memory: Size
    bank: Size
    run: Size
    rows: Size
    cols: Size
    bytes_per_element: Size


def _fields(array: SystolicArray) -> _Fields:
    bank = true_divide(array.tile_bytes, 2) if array.bank_bytes is None else array.bank_bytes
    run = array.cols if array.run_channels is None else array.run_channels
    patch = array.patch_height, array.patch_width
    sizes = *patch, array.tile_bytes, bank, run, array.rows, array.cols, array.bytes_per_element
    return _Fields(*map(_soft, sizes))


# ---------------------------------------------------------------- the choice


def _whole(size: Size, multiple: Size) -> Size:
    """The next multiple."""
    return ceil_divide(size, multiple) * multiple


def _least(a: Size, b: Size) -> Size:
    return -maximum(-a, -b)


def _at_once(sizes: _Sizes, fields: _Fields, filters: Size) -> Size:
    """Channels of the inputs that arrive together."""
    like = 0.0 * sizes.channels  # of the same kind as the channels
    most = where(sizes.shares, fields.run + like, fields.rows + like)
    return where(sizes.depthwise, filters, _least(_whole(sizes.channels, fields.cols), most))


def _patch(sizes: _Sizes, outputs: Size, size: Size) -> Size:
    """Inputs along one axis that so many outputs need."""
    return _whole((outputs - 1) * sizes.stride + sizes.kernel, size)


def _moved(sizes: _Sizes, fields: _Fields, tried: tuple[Any, Any, Any]) -> tuple[Size, Size, Size, Size]:
    """Elements that tiles of some height, filters and banks move, at the largest width that fits; infinite if none."""
    patches, runs, banks = tried
    out, stride, kernel = sizes.out, sizes.stride, sizes.kernel
    filters = _least(runs * fields.run, _whole(sizes.filters, fields.cols))
    height = _least(patches * fields.patch_height, _whole(out, fields.patch_height))
    rows = _patch(sizes, height, fields.patch_height)
    held, room = banks * fields.bank, fields.memory - banks * fields.bank
    at_once = _at_once(sizes, fields, filters) * fields.bytes_per_element
    widest = true_divide(true_divide(room, 2 * rows * at_once) + stride - kernel, stride)
    widest = _least(widest, true_divide(held, _BYTES * height * filters))
    width = _least(floor_divide(widest, fields.patch_width) * fields.patch_width, _whole(out, fields.patch_width))
    fits = (width > 0) & (room > 0)
    width = maximum(width, 1.0)
    patch = rows * _patch(sizes, width, fields.patch_width)
    again = where(sizes.depthwise, 1.0, ceil_divide(sizes.filters, filters))
    channels = where(sizes.depthwise, sizes.filters, sizes.channels)
    inputs = again * patch * channels * true_divide(out * out, height * width)
    weights = kernel * kernel * where(sizes.depthwise, 1.0, sizes.channels) * sizes.filters
    moved = inputs + weights * ceil_divide(out, height) * ceil_divide(out, width)
    return where(fits, moved, math.inf), height, width, filters


@functools.lru_cache(maxsize=4096)
def _chosen(sizes: _Sizes, fields: _Fields) -> tuple[float, float, float]:
    """The tile of numbers."""
    _, *tile = _best_of(sizes, fields, _tried(fields), np.zeros(()))
    height, width, filters = (float(np.ravel(size)[0]) for size in tile)
    return height, width, filters


def _best(sizes: _Sizes, fields: _Fields) -> tuple[Size, Size, Size]:
    """The tiles of arrays, with as many tried at once as memory allows."""
    known = [size for size in (*sizes[:6], *fields) if not is_number(size)]
    lengths = [1] * max([len(each.shape) for each in known])
    for each in known:
        for axis, length in enumerate(reversed(each.shape)):
            lengths[axis] = max(lengths[axis], length)
    tried, at_once = _tried(fields), max(1, _MOST // max(math.prod(lengths), 1))
    best: Any = None
    for start in range(0, len(tried), at_once):
        found = _best_of(sizes, fields, tried[start : start + at_once], known[0])
        is_less = True if best is None else found[0] < best[0]
        best = tuple(where(is_less, new, old) for new, old in zip(found, best or found, strict=True))
    return best[1:]  # type: ignore[no-any-return]


def _best_of(sizes: _Sizes, fields: _Fields, tried: list[tuple[float, ...]], like: Any) -> tuple[Any, ...]:
    """What the best of some tiles moves, and the tile; the first of equals."""
    xp, constant = namespace(like), backend_of(like).constant
    axes = max([len(size.shape) for size in (*sizes, *fields) if hasattr(size, "shape")], default=0)
    columns = [constant([each[index] for each in tried], like) for index in range(3)]
    moved = _moved(sizes, fields, tuple([xp.reshape(each, (-1, *(1,) * axes)) for each in columns]))[0]
    best = xp.argmin(moved, axis=0)
    taken = [xp.reshape(xp.take(each, xp.reshape(best, (-1,)), axis=0), best.shape) for each in columns]
    return _moved(sizes, fields, tuple(taken))


def _tried(fields: _Fields) -> list[tuple[float, ...]]:
    """Height in patches, filters in runs, and banks of the tiles that are tried."""
    return [(float(h), float(d), float(b)) for b in _banks(fields) for d in _FILTERS for h in _HEIGHTS]


def _banks(fields: _Fields) -> range:
    if not (is_number(fields.memory) and is_number(fields.bank)):
        return range(1, 8)  # those without room are left out one by one
    return range(1, max(2, min(8, math.ceil(fields.memory / fields.bank))))


# ---------------------------------------------------------------- what follows from it


def _tile(sizes: _Sizes, fields: _Fields, relaxation: Relaxation, height: Size, width: Size, filters: Size) -> Tile:
    patch = [
        _least(_patch(sizes, size, step), sizes.inp)
        for size, step in ((height, fields.patch_height), (width, fields.patch_width))
    ]
    at_once = _at_once(sizes, fields, filters)
    channels = where(sizes.depthwise, sizes.filters, sizes.channels)
    again = where(sizes.depthwise, 1.0, maximum(relaxation.ceil_div(sizes.filters, filters), 1.0))
    positions = ceil_divide(sizes.out, height) * ceil_divide(sizes.out, width)
    read = product(*patch, positions, again)
    line = channels * _patch(sizes, width, fields.patch_width)
    is_line = (filters <= fields.run) & (sizes.filters == filters)
    return Tile(
        height=_least(height, sizes.out),
        width=_least(width, sizes.out),
        filters=_least(filters, sizes.filters),
        first=_least(filters, fields.run),
        patch=product(*patch),
        at_once=_least(at_once, channels),
        positions=positions,
        readings=maximum(true_divide(read, sizes.inp * sizes.inp), 1.0),
        read_run=where(channels == at_once, line, at_once),
        write_run=where(is_line, sizes.filters * width, _least(fields.run, filters)),
    )
