"""The slow twin of the cost model: it walks what the closed forms count.

Nothing here divides or takes a ceiling. A product is laid on the array tile by tile; in every tile every processing
element multiplies what streams past it, and the product that comes out is compared with the real one, so that each
multiply-accumulate is known to have been done once and in one place. The cycles of a tile are those of a clock that is
watched while the operands move through the array. A convolution's product is found by sliding the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

STATIONARY_IS_LOADED = {"ws": True, "os": False, "is": True}
LETTERS = {"ws": ("k", "n", "m"), "os": ("m", "n", "k"), "is": ("k", "m", "n")}
"""What lies along rows, along columns and in time, written down a second time."""


def tiles(extent: int, size: int) -> Iterator[range]:
    """Ranges of at most ``size`` indices that cover ``extent`` indices, found by filling one after the other."""
    start, length = 0, 0
    for index in range(extent):
        if length == size:
            yield range(start, index)
            start, length = index, 0
        length += 1
    yield range(start, extent)


def dealt(extent: int, hands: int) -> list[list[int]]:
    """Indices dealt out one after the other, as cards are: what each of several arrays gets."""
    found: list[list[int]] = [[] for _ in range(hands)]
    for index in range(extent):
        found[index % hands].append(index)
    return found


@dataclass(frozen=True)
class Tile:
    """One fold as the clock sees it: the rows in use, the rows streamed, and the whole array around them."""

    rows_used: int
    streamed: int
    rows: int
    cols: int
    loads: bool
    drains: bool = False


def ideal(tile: Tile) -> int:
    """One streamed row per cycle, filling and draining free."""
    cycles = 0
    for _ in range(tile.streamed):
        cycles += 1
    return cycles


def serial(tile: Tile) -> int:
    """Loading takes a cycle a row of the array; then step t meets PE (r, c) r + c cycles after it set out."""
    loading = 0
    if tile.loads:
        for _ in range(tile.rows):
            loading += 1
    last_busy = 0
    for r in range(tile.rows):
        for c in range(tile.cols):
            for t in range(tile.streamed):
                last_busy = max(last_busy, t + r + c)
    draining = 0
    if tile.drains:
        for _ in range(tile.rows):
            draining += 1
    return loading + last_busy + 1 + draining


def double_buffered(tile: Tile) -> int:
    """Streaming and loading as many rows run side by side; the fold ends, a cycle later, when both are through."""
    cycles = 0
    streaming, loading = tile.streamed, tile.rows_used
    while streaming > 0 or loading > 0:
        streaming, loading, cycles = streaming - 1, loading - 1, cycles + 1
    return cycles + 1


CYCLES: dict[str, Callable[[Tile], int]] = {"ideal": ideal, "serial": serial, "double-buffered": double_buffered}
"""The cycles of one fold, by the name of its timing."""


@dataclass
class Count:
    cycles: int = 0
    folds: int = 0
    macs: int = 0


def simulate(
    sizes: dict[str, int], rows: int, cols: int, dataflow: str, timing: str, *, multiply: bool = True,
    most: int | None = None, drains: bool = False,
) -> Count:  # fmt: skip
    """Runs ``sizes["count"]`` products (m x k)(k x n) on the array and counts what happened.

    With ``multiply`` every PE does its work on real numbers, and the product is checked against numpy's. ``most`` rows
    are streamed in a fold at most; with ``drains`` stationary outputs are shifted out after each.
    """
    along_rows, along_cols, in_time = LETTERS[dataflow]
    rng = np.random.default_rng(0)
    count = Count()
    for _ in range(sizes["count"]):
        left = rng.integers(-9, 9, (sizes["m"], sizes["k"]))
        right = rng.integers(-9, 9, (sizes["k"], sizes["n"]))
        out = np.zeros((sizes["m"], sizes["n"]), dtype=np.int64)
        for row_tile in tiles(sizes[along_rows], rows):
            for col_tile in tiles(sizes[along_cols], cols):
                for time_tile in tiles(sizes[in_time], sizes[in_time] if most is None else most):
                    assert len(row_tile) <= rows
                    assert len(col_tile) <= cols
                    count.folds += 1
                    loads, drained = STATIONARY_IS_LOADED[dataflow], drains and in_time == "k"
                    count.cycles += CYCLES[timing](Tile(len(row_tile), len(time_tile), rows, cols, loads, drained))
                    if not multiply:
                        count.macs += sum(len(col_tile) * len(time_tile) for _ in row_tile)
                        continue
                    for r in row_tile:
                        for c in col_tile:
                            for t in time_tile:
                                at = {along_rows: r, along_cols: c, in_time: t}
                                out[at["m"], at["n"]] += left[at["m"], at["k"]] * right[at["k"], at["n"]]
                                count.macs += 1
        if multiply:
            np.testing.assert_array_equal(out, left @ right)
    return count


def window_starts(size: int, kernel: int, stride: int, padding: int | str, dilation: int) -> list[int]:
    """Where the window stands along one axis, its first tap at that pixel of the input (negative in the padding)."""
    if padding == "same":  # one output for each pixel that a stride lands on
        return [pixel for pixel in range(size) if pixel % stride == 0]
    pad = 0 if padding == "valid" else int(padding)
    starts, start = [], -pad
    while start + dilation * (kernel - 1) < size + pad:
        starts.append(start)
        start += stride
    return starts


def convolution(
    *, in_channels: int, out_channels: int, kernel_size: tuple[int, int], height: int, width: int, batch: int,
    stride: tuple[int, int], padding: tuple[int, int] | str, dilation: tuple[int, int], groups: int,
) -> dict[str, int]:  # fmt: skip
    """The products of a convolution, by enumerating output positions, the filters of a group and the taps of one."""
    pads = (padding, padding) if isinstance(padding, str) else padding
    axes = [
        window_starts(size, kernel_size[i], stride[i], pads[i], dilation[i]) for i, size in enumerate((height, width))
    ]
    positions = [(image, y, x) for image in range(batch) for y in axes[0] for x in axes[1]]
    members: dict[int, list[int]] = {}
    per_group = len(range(0, in_channels, groups))
    for channel in range(in_channels):
        members.setdefault(channel // per_group, []).append(channel)
    filters: dict[int, list[int]] = {}
    per_group = len(range(0, out_channels, groups))
    for filter_ in range(out_channels):
        filters.setdefault(filter_ // per_group, []).append(filter_)
    assert len(members) == len(filters) == groups
    taps = [(channel, y, x) for channel in members[0] for y in range(kernel_size[0]) for x in range(kernel_size[1])]
    return {"m": len(positions), "n": len(filters[0]), "k": len(taps), "count": len(members)}
