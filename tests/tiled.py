"""The slow twin of the tiles: every tile that fits is laid over the image, and its inputs are counted."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass


@dataclass
class Tiled:
    """What one product reads: ``inputs`` and ``weights`` elements in all, runs, and the tile that was taken."""

    tile: tuple[float, float, float]
    moved: float
    inputs: float
    uses: int
    read_run: float
    write_run: float


def whole(size, multiple):
    """The next multiple, by counting up."""
    return next(found for found in itertools.count(multiple, multiple) if found >= size - 1e-9)


def steps(extent, size):
    """Tiles that cover an extent, one after the other."""
    count, covered = 0, 0.0
    while covered < extent - 1e-9:
        count, covered = count + 1, covered + size
    return count


def tiles_that_fit(layer, array):
    """Every height, width and filters that fits, in the order of banks, filters and heights."""
    channels, filters = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    depthwise = array.depthwise_columns and channels == 1 < layer.groups
    kernel, (out, inp) = math.sqrt(math.prod(layer.kernel_size)), sides(layer)
    stride = max(1, round(inp / out))
    if depthwise:
        filters = layer.out_channels
    run = array.run_channels or array.cols
    bank = array.bank_bytes or array.tile_bytes / 2
    banks = 1
    while banks == 1 or (banks < 8 and banks * bank < array.tile_bytes):
        for runs, patches in itertools.product((1, 2, 3, 4, 6, 8), (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)):
            deep = min(runs * run, whole(filters, array.cols))
            high = min(patches * array.patch_height, whole(out, array.patch_height))
            at_once = channels_at_once(layer, array, deep)
            rows = whole((high - 1) * stride + kernel, array.patch_height)
            wide = 0
            for width in itertools.count(array.patch_width, array.patch_width):
                held = 2 * rows * ((width - 1) * stride + kernel) * at_once * array.bytes_per_element
                if held > array.tile_bytes - banks * bank + 1e-9 or 8 * high * width * deep > banks * bank + 1e-9:
                    break
                wide = width
                if width >= out:
                    break
            if wide:
                yield high, wide, deep, stride, kernel, at_once
        banks += 1


def sides(layer):
    """Edges of squares with as many outputs and inputs."""
    outputs = layer.batch * math.prod(layer.out_size)
    return math.sqrt(outputs), math.sqrt(layer.batch * layer.height * layer.width)


def channels_at_once(layer, array, deep):
    channels = layer.in_channels // layer.groups
    if array.depthwise_columns and channels == 1 < layer.groups:
        return deep
    positions = math.prod(layer.kernel_size)
    together = min(positions, array.positions_at_once)
    alone = positions * steps(channels, array.rows)
    shared = steps(positions, together) * steps(together * channels, array.rows)
    most = (array.run_channels or array.cols) if shared < alone else array.rows
    return min(whole(channels, array.cols), most)


def tiled(layer, array):
    """What a layer reads on a machine with tiles, by trying all of them."""
    channels, filters = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    depthwise, (out, inp) = array.depthwise_columns and channels == 1 < layer.groups, sides(layer)
    copies = layer.groups
    if depthwise:
        channels, filters, copies = layer.in_channels, layer.out_channels, 1
    best = None
    for high, wide, deep, stride, kernel, at_once in tiles_that_fit(layer, array):
        line = whole((wide - 1) * stride + kernel, array.patch_width)
        rows = whole((high - 1) * stride + kernel, array.patch_height)
        readings = 1 if depthwise else steps(filters, deep)
        uses = steps(out, high) * steps(out, wide)
        moved = readings * rows * line * channels * out * out / (high * wide)
        moved += kernel**2 * (1 if depthwise else channels) * filters * uses
        if best is None or moved < best.moved - 1e-9 * moved:
            run = array.run_channels or array.cols
            best = Tiled(
                tile=(high, wide, deep),
                moved=moved,
                inputs=copies * channels * min(rows, inp) * min(line, inp) * uses * readings,
                uses=uses,
                read_run=channels * line if at_once == channels else at_once,
                write_run=filters * wide if filters == deep <= run else min(run, deep),
            )
    return best
