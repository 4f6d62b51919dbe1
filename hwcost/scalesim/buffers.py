"""What the double-buffered memories of SCALE-Sim 3.0.0 do in calculated-bandwidth mode, in closed form.

Nothing stalls in this mode: the simulator computes afterwards which bandwidth the memories would have needed. Three
rules of the simulator determine what they do.

Read memory: it is filled with the requested elements that it does not hold, in sets of one per cent of its size, and
emptied as a whole as soon as 50 sets are full. The first fill is fetched before the first cycle at 10 elements a cycle.

Write memory: half of it, D elements, is drained as soon as one more has been written, in lines of C elements, a line a
cycle. A line that is not full at that moment is closed, and unless it is the last of its drain, its gap is counted as
if it had been written. No drain ever holds up the array: the next D elements take at least as long as a drain.

End: the rest is drained after the last cycle. "Total Cycles (incl. prefetch)" runs from the first fetch to that end.

All functions work on integers and integer arrays, which broadcast.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Size, as_size, product
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import price
from hwcost.model.gemm import Gemm
from hwcost.model.pricing import Pricing
from hwcost.model.traffic import sram_accesses
from hwcost.scalesim.counting import check_serial, one_of
from hwcost.scalesim.layers import TopologyLayer

__all__ = ["cycles_with_prefetch", "dram_output_writes", "dram_weight_reads"]

Integers: TypeAlias = Any
"""A numpy array of int64."""

_SETS = 50  # that fill a read memory: half of the hundred that make its size
_FETCHED_PER_CYCLE = 10


def dram_weight_reads(gemm: Gemm, array: SystolicArray, sram_kb: Size = 64) -> Size:
    """Weights read from memory, "DRAM Filter Reads", for one of the products.

    Weights that are used once are read once. Otherwise let a group be the weights that go by again and again: all k * n
    for "is", the k x C of a column of folds for "os". With room for B elements,

        a group of B or more is read again each time;
        a smaller one is read once, and if the memory is emptied on the way, the part before that once more.

    Args:
        gemm: the product.
        array: as from :func:`hwcost.scalesim.serial_array`.
        sram_kb: size of the filter memory in units of 1024 elements.

    >>> from hwcost.scalesim import serial_array
    >>> dram_weight_reads(Gemm(m=225, n=256, k=128), serial_array(128, 128, "os"))
    49134
    """
    check_serial(array)
    work, room = price(one_of(gemm), array).work, _SETS * (_memory(sram_kb) // 100)
    flow = work.folds.dataflow
    elements, all_reads = _integers(product(gemm.k, gemm.n), sram_accesses(work)["weights"])
    if flow.time == "m":
        return _plain(np.broadcast_arrays(elements, all_reads, room)[0])
    if flow.cols == "m":
        return _plain(np.where(elements >= room, all_reads, elements))
    k, n, cols, passes = _integers(gemm.k, gemm.n, array.cols, work.folds.along_rows)
    return _plain(_grouped_reads(k, n, cols, passes, room))


def _grouped_reads(k: Integers, n: Integers, cols: Integers, passes: Integers, room: Integers) -> Integers:
    """Reads of groups of k * cols weights, each going by ``passes`` times; the last group has what is left of n."""
    cols = np.minimum(cols, n)
    group, whole, rest = k * cols, n // cols, k * (n % cols)
    all_again = group >= room
    again = passes > 1
    # small groups: after the n-th group the memory is full; the one that fills it stays, so that n - 1 more fill it
    fill = np.maximum(-(-room // group), 2)
    emptied = np.where(again, np.maximum(whole - 1, 0) // (fill - 1), 0)
    reads = np.where(all_again, group * whole * passes, group * whole + emptied * (room - (fill - 1) * group))
    held = np.where(all_again, reads % room, group * (whole - emptied * (fill - 1)))
    last = np.where(rest >= room, rest * passes, rest + np.where(again & (held + rest >= room), room - held, 0))
    return reads + last


def dram_output_writes(gemm: Gemm, array: SystolicArray, sram_kb: Size = 64) -> Size:
    """Outputs written to memory, "DRAM OFMAP Writes", for one of the products: all output writes, and perhaps one gap.

    Args:
        gemm: the product.
        array: as from :func:`hwcost.scalesim.serial_array`.
        sram_kb: size of the output memory in units of 1024 elements.

    >>> from hwcost.scalesim import serial_array
    >>> dram_output_writes(Gemm(m=3136, n=64, k=64), serial_array(128, 128, "is"))
    200831
    """
    check_serial(array)
    written, cols = _integers(sram_accesses(price(one_of(gemm), array).work)["outputs"], array.cols)
    half = _memory(sram_kb) // 2
    # if lines fill half the memory exactly, the element that starts a drain is alone on a line, closed early; later
    # lines then always end with a drain. A line that is a whole drain has no line behind it.
    gap = (half % cols == 0) & (half > cols) & (written > half + 1)
    return _plain(written + np.where(gap, cols - 1, 0))


def cycles_with_prefetch(
    layer: TopologyLayer, array: SystolicArray, *, input_kb: Size = 64, weight_kb: Size = 64, output_kb: Size = 64
) -> Size:
    """Cycles from the first fetch to the last drain, "Total Cycles (incl. prefetch)", for one layer of a row.

    Args:
        layer: the row.
        array: as from :func:`hwcost.scalesim.serial_array`.
        input_kb, weight_kb, output_kb: sizes of the memories in units of 1024 elements.

    >>> from hwcost.scalesim import serial_array
    >>> cycles_with_prefetch(TopologyLayer.product("fc", m=9, n=1, k=9), serial_array(8, 8, "os"))
    112
    """
    check_serial(array)
    (gemm,) = layer.gemms()
    inputs, weights, rows, k = _integers(layer.touched_inputs, product(gemm.k, gemm.n), array.rows, gemm.k)
    stationary = array.dataflow_row.stationary
    # a stationary operand is loaded from the last row up, the other one follows when the rows are full
    first = {"outputs": (rows * 0, rows * 0), "weights": (rows, rows - np.minimum(k, rows))}.get(
        stationary, (rows - np.minimum(k, rows), rows)
    )
    start = np.minimum(_fetch_start(inputs, first[0], input_kb), _fetch_start(weights, first[1], weight_kb))
    return _plain(_drain_end(price(one_of(gemm), array), _memory(output_kb) // 2) - start)


def _fetch_start(elements: Integers, first_use: Integers, sram_kb: Size) -> Integers:
    """The cycle, before 0, at which the first fill begins to arrive: whole sets, in time for the first use."""
    in_set = _memory(sram_kb) // 100
    fits = elements < _SETS * in_set
    sets = np.where(fits, -(-elements // in_set), _SETS)
    return np.where(fits, 0, first_use) - (-(-(sets * in_set) // _FETCHED_PER_CYCLE))


def _drain_end(priced: Pricing, half: Integers) -> Integers:
    """The cycle in which the last line of outputs leaves the write memory."""
    written, cols, cycles = _integers(sram_accesses(priced.work)["outputs"], priced.work.array.cols, priced.cycles)
    lines = -(-half // cols)
    exact = half % cols == 0
    # exact lines: element j * D starts drain j and is alone on a line the first time; else every D + 1 elements do
    drains = np.where(exact, np.maximum(written - 1, 0) // half, written // (half + 1))
    all_lines = np.where(exact & (drains > 0), lines + 1 - (-(written - half - 1) // cols), 0)
    left = np.where(
        exact,
        np.where(drains > 0, all_lines - drains * lines, -(-written // cols)),
        -(-(written - drains * (half + 1)) // cols),
    )
    begun_by = np.where(exact, drains * half, drains * (half + 1) - 1)
    last_drain = _write_cycle(priced, np.maximum(begun_by, 0)) + lines - 1
    afterwards = np.where(left > 0, cycles - 1 + left - 1, 0)
    return np.maximum(np.where(drains > 0, last_drain, 0), afterwards)


def _write_cycle(priced: Pricing, index: Integers) -> Integers:
    """The cycle in which output number ``index`` (from 0) is written.

    Folds run down a column of folds, then along. Each writes a block of rows x columns, a column one cycle behind the
    one before it: the block's anti-diagonals, one per cycle.
    """
    folds = priced.work.folds
    drains_itself = folds.dataflow.stationary == "outputs"
    rows, cols, along_rows, along_cols = _integers(folds.rows, folds.cols, folds.along_rows, folds.along_cols)
    rows_extent, cols_extent, streamed = _integers(folds.rows_extent, folds.cols_extent, folds.streamed)
    of_fold = _integers(priced.cycles)[0] // (along_rows * along_cols)
    tall = rows if drains_itself else streamed
    of_column = rows_extent if drains_itself else streamed * along_rows
    column, rest = np.divmod(index, of_column * cols)
    wide = np.minimum(cols, cols_extent - column * cols)
    row, rest = np.divmod(rest, tall * wide)
    height = np.minimum(rows, rows_extent - row * rows) if drains_itself else tall
    # outputs that were computed in place leave from the last row up, so that rows without work go first
    before = streamed - 1 + rows - height if drains_itself else 2 * rows - 1
    return (column * along_rows + row) * of_fold + before + _diagonal(rest, height, wide)


def _diagonal(index: Integers, height: Integers, width: Integers) -> Integers:
    """The anti-diagonal on which element ``index`` of a height x width block lies, counted diagonal by diagonal."""
    short, long = np.minimum(height, width), np.maximum(height, width)
    corner = short * (short + 1) // 2
    growing = _triangle(index)
    steady = short + (index - corner) // short
    shrinking = height + width - 2 - _triangle(np.maximum(height * width - 1 - index, 0))
    return np.where(index < corner, growing, np.where(index < corner + short * (long - short), steady, shrinking))


def _triangle(index: Integers) -> Integers:
    """The largest t with t * (t + 1) / 2 <= index; the root is off by one at most, which is put right."""
    root = ((np.sqrt(8.0 * index + 1) - 1) / 2).astype(np.int64)
    root = np.where(root * (root + 1) // 2 > index, root - 1, root)
    return np.where((root + 1) * (root + 2) // 2 <= index, root + 1, root)


def _memory(sram_kb: Size) -> Integers:
    """Elements of a memory; SCALE-Sim takes each for a byte."""
    return 1024 * _integers(as_size(sram_kb, "sram_kb"))[0]


def _integers(*sizes: Size) -> list[Integers]:
    arrays = [np.asarray(size) for size in sizes]
    for array in arrays:
        if array.dtype.kind not in "iu":
            raise InvalidValueError("a size", array.dtype.name, "integers that 64 bits hold")
    return [array.astype(np.int64) for array in arrays]


def _plain(array: Integers) -> Size:
    return int(array) if array.shape == () else array
