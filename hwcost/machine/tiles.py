"""Tiles of outputs: what a machine works on at a time, and what that reads from memory.

A machine that computes its outputs tile by tile keeps the accumulators of a tile, and the inputs that it needs, next to
the array. What fits there decides how often inputs are read again, so that a layer with more filters can take fewer
cycles than one with less. :mod:`hwcost.model.tiles` chooses the tile.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.fields import (
    COUNT,
    POSITIVE,
    QUANTITY,
    RATE,
    SWITCH,
    Need,
    Part,
    Start,
    declare,
    is_finite,
    is_stated,
    part,
)

__all__ = ["Tiles"]


def _shares_rows(array: Any) -> bool:
    return bool(array.lowering == "kernel-position" and array.dataflow_row.rows == "k")


_BY_POSITION = Need('lowering "kernel-position", and a dataflow with k along the rows ("ws", "is")', _shares_rows)
_LIMIT = Need(
    "a finite bandwidth, such as dram_bytes_per_s, and one array",
    lambda array: array.has_memory_limit and not is_stated(array, "arrays"),
)
_TILES = Need("tile_bytes", lambda array: is_stated(array, "tile_bytes"))
_FIRST = Need(
    "tile_bytes, starts_up and a finite bandwidth for weights",
    lambda a: is_stated(a, "tile_bytes") and a.starts_up and is_finite(a.effective("weight_bytes_per_s")),
)
_APART = Need("a finite bandwidth, and not parallel_operands", lambda a: a.has_memory_limit and not a.parallel_operands)


@part
class Tiles(Part):
    """What of the outputs is worked on together, and the memory next to the array that holds it.

    >>> Tiles(patch_height=2, patch_width=2).patch_height
    2
    """

    _: KW_ONLY
    patch_height: Size = declare(
        COUNT, "1", "rows of the output image worked on together", "its height is padded to a multiple", default=1
    )
    patch_width: Size = declare(
        COUNT, "1", "columns of the output image worked on together", "its width is padded to a multiple", default=1
    )
    positions_at_once: Size = declare(
        COUNT, "1", "positions of the kernel that share the rows of the array", "wherever that takes fewer folds",
        default=1, need=_BY_POSITION,
    )  # fmt: skip
    depthwise_columns: bool = declare(
        SWITCH, "", "channels of a depthwise convolution lie along the columns",
        "as one product with a column for each, and not as products one after the other", default=False,
    )  # fmt: skip
    cycles_per_output: Size = declare(
        QUANTITY, "cycle", "cycles to write an output", "while the next are computed: the longer of the two counts",
        default=0.0, start=Start(0.5, "0.5"),
    )  # fmt: skip
    tile_bytes: Size = declare(
        RATE, "B", "memory for tiles of outputs, next to the array",
        "the accumulators (4 bytes each) of two tiles, and their inputs", default=math.inf, need=_LIMIT,
    )  # fmt: skip
    bank_bytes: Size | None = declare(
        POSITIVE, "B", "banks of that memory", "accumulators take whole ones, inputs have the rest; if it is not set, "
        "half of the memory", default=None, need=_TILES,
    )  # fmt: skip
    burst_bytes: Size = declare(
        QUANTITY, "B", "bytes of a burst", "shorter runs of inputs and outputs take as long", default=0.0, need=_TILES
    )
    run_channels: Size | None = declare(
        COUNT, "1", "channels that move in one run, unless a tile has them all", "tiles have a multiple of it of "
        "filters; if it is not set, of the columns", default=None, need=_TILES,
    )  # fmt: skip
    weights_apart: bool = declare(
        SWITCH, "", "weights have a memory of their own, and move while inputs and outputs do",
        "those that several tiles use are read again from the memory of the inputs", default=False, need=_APART,
    )  # fmt: skip
    weights_ahead: bool = declare(
        SWITCH, "", "weights of the first tile arrive before the layer starts", "while the layer before it runs",
        default=False, need=_FIRST,
    )  # fmt: skip

    @property
    def has_tiles(self) -> bool:
        """Whether outputs are computed tile by tile."""
        return "tile_bytes" in self.stated_names
