"""THE formula. Every price in the project comes out of these lines; nothing else multiplies folds by cycles.

For a product (m x k)(k x n), laid on an R x C array so that its extents S_R, S_C lie along rows and columns
and T streams:

    folds   = ceil(S_R / R) * ceil(S_C / C)
    compute = count * folds * (T + what the fold timing adds)
    memory  = bytes of weights, inputs and outputs over their bandwidths
    cycles  = overhead + max(compute, memory) + overlap * min(compute, memory)

with every ceiling and maximum taken by a relaxation. A bare array has no memory limit and no overhead, so that for a
convolution on a weight-stationary one with ideal folds it is the author's formula:

    RUNTIME = ceil(k1 * k2 * c / s1) * ceil(f / s2) * h * w * B.

What an array may add, each term by a field of :class:`hwcost.SystolicArray`:

    lowering            k goes along the array whole, or for each position of the kernel by itself
    row_, col_stairs    ceil(x) becomes alpha * ceil(x) + (1 - alpha) * x: hardware that hides part of the step
    max_streamed        T is cut into folds of at most so many rows
    min_streamed        T is at least so many rows: the next fold has to load
    cycles_per_row      T takes that many times as long
    cycles_per_fold     each fold takes that much longer
    cycles_per_layer    overhead: a constant
    cycles_per_block    overhead: for each block of outputs that the accumulators hold, in whole blocks of R x C
    starts_up           overhead: the first fold's operand arrives from memory and is loaded, a cycle a row
    counts_last_fold    where not, the stream of one fold is left out
    bandwidths          memory, where inputs are read again for every filter_block filters, max(1, n / filter_block)
                        times
    rereads_inputs      memory: accumulators set such a block too, max(C, accumulators / m) filters
    reread_bytes_per_s  memory: the bandwidth of all readings but the first
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from hwcost._arrays import Size, in_blocks, is_number, product, total, true_divide
from hwcost.cost import Cost
from hwcost.dataflow import LACKS, Folds
from hwcost.device import SystolicArray
from hwcost.errors import InvalidValueError
from hwcost.layers import Conv2d, Gemm, Layer, is_layer
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["gemm_cost", "lay_out", "layer_cost", "runtime"]


def lay_out(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Folds:
    """How the product folds over the array: its extents along rows and in time, and the folds along rows and columns.

    >>> folds = lay_out(Gemm(m=1, n=16, k=150), SystolicArray(8, 8))
    >>> folds.along_rows, folds.along_cols, folds.streamed
    (19, 2, 1)
    """
    flow, lowered = array.dataflow_row, gemm.by_position() if array.lowering_row.by_position else gemm
    rows_extent, cols_extent, streamed = (getattr(lowered, letter) for letter in (flow.rows, flow.cols, flow.time))
    along_rows, along_cols = relaxation.ceil_divs((rows_extent, cols_extent), (array.rows, array.cols))
    most = array.max_streamed
    passing = streamed if _is_zero(array.min_streamed) else relaxation.maximum(streamed, array.min_streamed)
    return Folds(
        count=lowered.count,
        along_rows=_partly(along_rows, rows_extent, array.rows, array.row_stairs),
        along_cols=_partly(along_cols, cols_extent, array.cols, array.col_stairs),
        in_time=1 if most is None else relaxation.ceil_div(streamed, most),
        rows_extent=rows_extent,
        cols_extent=cols_extent,
        streamed=_times(array.cycles_per_row, passing),
        most_streamed=None if most is None else _times(array.cycles_per_row, most),
        rows=array.rows,
        cols=array.cols,
        dataflow=flow,
        maximum=relaxation.maximum,
    )


def _partly(folds: Size, extent: Size, size: Size, stairs: Size) -> Size:
    """Alpha * ceil(x) + (1 - alpha) * x: the folds where hardware hides part of the step."""
    if is_number(stairs) and stairs == 1:
        return folds
    return total(product(stairs, folds), product(1 - stairs, true_divide(extent, size)))


def _times(factor: Size, size: Size) -> Size:
    return size if is_number(factor) and factor == 1 else product(factor, size)


class Parts(NamedTuple):
    """The cycles of a product, and what they are made of; the parts that a bare array does not have are 0."""

    cycles: Size
    compute: Size
    memory: Size
    overhead: Size


def gemm_parts(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT, folds: Folds | None = None) -> Parts:
    """The cycles of one product (or of a whole stack of them); ``folds`` where its lay-out is known already."""
    folds = lay_out(gemm, array, relaxation) if folds is None else folds
    compute, overhead = _compute(folds, array), _overhead(gemm, folds, array, relaxation)
    if not array.has_memory_limit:
        cycles = compute if _is_zero(overhead) else total(compute, overhead, what="the cycles")
        return Parts(cycles, compute, 0, overhead)
    memory, start_up = _memory(gemm, array, relaxation), _start_up(folds, array)
    busy = compute if _is_zero(start_up) else total(compute, start_up)  # it is over before the folds can start
    longer = relaxation.maximum(busy, memory)
    hidden = product(array.overlap, total(busy, memory, -longer))
    cycles = total(overhead, -start_up, longer, hidden, what="the cycles")
    return Parts(cycles, compute, memory, overhead)


def _is_zero(size: Size) -> bool:
    return is_number(size) and size == 0


def _compute(folds: Folds, array: SystolicArray) -> Size:
    of_folds = array.fold_timing_row.cycles
    cycles = of_folds(folds)
    if not _is_zero(array.cycles_per_fold):
        cycles = total(cycles, product(array.cycles_per_fold, folds.of_one_product))
    cycles = product(folds.count, cycles, what="the cycles")
    return cycles if array.counts_last_fold else total(cycles, -of_folds(folds.first))


def _overhead(gemm: Gemm, folds: Folds, array: SystolicArray, relaxation: Relaxation) -> Size:
    terms = [] if _is_zero(array.cycles_per_layer) else [array.cycles_per_layer]
    if not _is_zero(array.cycles_per_block):
        terms.append(product(array.cycles_per_block, _blocks(gemm, array, relaxation)))
    if array.starts_up:
        terms.append(_start_up(folds, array))
    return total(*terms, what="the overhead") if terms else 0


def _blocks(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Size:
    """Blocks of outputs that the accumulators hold, one after the other; the outputs lie in whole blocks of R x C."""
    if array.accumulators is None:
        return gemm.count
    along_rows, along_cols = relaxation.ceil_divs((gemm.m, gemm.n), (array.rows, array.cols))
    outputs = product(along_rows, array.rows, along_cols, array.cols)
    return product(gemm.count, relaxation.ceil_div(outputs, array.accumulators))


def _start_up(folds: Folds, array: SystolicArray) -> Size:
    """The first fold's stationary operand arrives from memory and is loaded, a cycle a row."""
    if not array.starts_up or folds.dataflow.stationary == "outputs":
        return 0
    first, rate = folds.first, dict(zip(LACKS, array.bytes_per_cycle, strict=True))[folds.dataflow.stationary]
    if is_number(rate) and rate == math.inf:
        return first.rows_extent
    arrival = true_divide(product(array.bytes_per_element, first.rows_extent, first.cols_extent), rate)
    return total(first.rows_extent, arrival)


def _memory(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Size:
    """Cycles that the bytes of all three operands take, one after the other."""
    terms = []
    for operand, rate in zip(LACKS, array.bytes_per_cycle, strict=True):
        if is_number(rate) and rate == math.inf:
            continue
        once = true_divide(product(array.bytes_per_element, gemm.elements(operand)), rate)
        again = _readings_again(gemm, array, relaxation) if operand == "inputs" else 0
        if not _is_zero(again):
            nearer = array.reread_bytes_per_s
            slower = 1 if nearer is None else true_divide(product(rate, array.clock_hz), nearer)
            once = product(once, total(1, product(again, slower)))
        terms.append(once)
    return total(*terms, what="the memory cycles")


def _readings_again(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Size:
    """How often the inputs are read after the first time: for every block of filters that is worked on at once."""
    blocks = []
    if not (is_number(array.filter_block) and array.filter_block == math.inf):
        blocks.append(true_divide(gemm.n, array.filter_block))
    if array.rereads_inputs and array.accumulators is not None:
        room = relaxation.maximum(true_divide(array.accumulators, gemm.m), array.cols)
        blocks.append(true_divide(gemm.n, room))
    return total(functools.reduce(relaxation.maximum, blocks, 1), -1) if blocks else 0


def gemm_cycles(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Just the cycles of :func:`gemm_cost`, by the same lines."""
    return gemm_parts(gemm, array, relaxation).cycles


def gemm_cost(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Cost:
    """The cost of one product (or of a whole stack of them, its sizes being arrays)."""
    folds = lay_out(gemm, array, relaxation)
    cycles, compute, memory, overhead = gemm_parts(gemm, array, relaxation, folds)
    return Cost(
        macs=gemm.macs,
        cycles=cycles,
        seconds=true_divide(cycles, array.clock_hz, what="the cycles"),
        folds=product(folds.count, folds.of_one_product, what="the folds"),
        pe_cycles=product(cycles, array.pes, what="cycles * PEs"),
        compute_cycles=compute,
        memory_cycles=memory,
        overhead_cycles=overhead,
    )


def layer_cost(layer: Layer, array: SystolicArray, *, relaxation: Relaxation | str = EXACT) -> Cost:
    """What one layer costs on the array.

    Args:
        layer: anything with ``gemms()``: :class:`Conv2d`, :class:`Linear`, :class:`MatMul`, :class:`Gemm`, your own.
        array: the accelerator.
        relaxation: how ceilings and maxima are taken; exact by default.

    Raises:
        InvalidValueError: something that is no layer, or a total too large for the integer arrays it is computed in.

    >>> layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8)).cycles
    3800
    """
    _check(layer, array)
    relaxation = as_relaxation(relaxation)
    return sum((gemm_cost(gemm, array, relaxation) for gemm in layer.gemms()), start=Cost())


def layer_cycles(layer: Layer, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Just the cycles of :func:`layer_cost`, by the same lines."""
    cycles = [gemm_cycles(gemm, array, relaxation) for gemm in layer.gemms()]
    return total(*cycles, what="the cycles")


def _check(layer: object, array: object) -> None:
    if not is_layer(layer):
        raise InvalidValueError("layer", layer, "a layer: something with gemms(), like Conv2d, Linear or MatMul")
    if not isinstance(array, SystolicArray):
        raise InvalidValueError("array", array, "a SystolicArray")


def runtime(
    *,
    k1: Size,
    k2: Size,
    c: Size,
    f: Size,
    h: Size = 1,
    w: Size = 1,
    batch: Size = 1,
    s1: Size,
    s2: Size,
    relaxation: Relaxation | str = EXACT,
) -> Size:
    """The author's formula: ceil(k1*k2*c / s1) * ceil(f / s2) * h * w * B cycles.

    It is a ``Conv2d`` with "same" padding on a weight-stationary array with ideal folds, and is computed as one.

    Args:
        k1, k2: kernel height and width.
        c, f: input channels and filters.
        h, w: height and width of the input, equal to those of the output; output positions in general.
        batch: images at once, B in the formula.
        s1, s2: rows and columns of the array.
        relaxation: how ceilings are taken.

    Returns:
        Integers in, an exact integer out; arrays broadcast; tensors carry gradients.

    Raises:
        InvalidValueError: a size that is not a positive integer or an array of positive numbers (the values of float
            tensors of torch and JAX are not looked at).
        MixedLibrariesError: arrays of two libraries.

    >>> runtime(k1=5, k2=5, c=6, f=16, s1=8, s2=8)
    38
    >>> runtime(k1=1, k2=1, c=2**70, f=1, s1=2, s2=1)
    590295810358705651712
    """
    relaxation = as_relaxation(relaxation)
    sizes = {"k1": k1, "k2": k2, "c": c, "f": f, "h": h, "w": w, "batch": batch, "s1": s1, "s2": s2}
    return in_blocks(functools.partial(_runtime, relaxation), sizes)


def _runtime(
    relaxation: Relaxation, *, k1: Size, k2: Size, c: Size, f: Size, h: Size, w: Size, batch: Size, s1: Size, s2: Size
) -> Size:
    try:
        layer = Conv2d(c, f, (k1, k2), height=h, width=w, batch=batch, padding="same")
        array = SystolicArray(s1, s2)
    except InvalidValueError as error:
        raise InvalidValueError(_LETTERS[error.field], error.value, error.allowed) from None
    return layer_cycles(layer, array, relaxation)


_LETTERS = {
    "Conv2d.in_channels": "c",
    "Conv2d.out_channels": "f",
    "Conv2d.kernel_size": "k1 or k2",
    "Conv2d.height": "h",
    "Conv2d.width": "w",
    "Conv2d.batch": "batch",
    "SystolicArray.rows": "s1",
    "SystolicArray.cols": "s2",
}
