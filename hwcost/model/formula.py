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
    min_streamed        each fold takes the time of so many rows at least: the next one has to load
    cycles_per_row      T takes that many times as long
    cycles_per_fold     each fold takes that much longer
    cycles_per_layer    overhead: a constant
    cycles_per_block    overhead: for each block of outputs that the accumulators hold, in whole blocks of R x C
    starts_up           overhead: the first fold's operand arrives from memory and is loaded, a cycle a row
    counts_last_fold    where not, one fold is left out, as full as the first
    bandwidths          memory, where inputs are read again for every filter_block filters, max(1, n / filter_block)
                        times
    rereads_inputs      memory: accumulators set such a block too, max(C, accumulators / m) filters
    reread_bytes_per_s  memory: the bandwidth of all readings but the first
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from hwcost.arrays import Size, in_blocks, is_number, maximum, product, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import REUSE_LETTER, Operand
from hwcost.machine.folds import Folds, last_fold
from hwcost.machine.terms import Term
from hwcost.model.cost import Cost
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Layer, is_layer
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["MEMORY", "OVERHEADS", "Work", "gemm_cost", "gemm_parts", "lay_out", "layer_cost", "runtime", "terms_of"]


def lay_out(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Folds:
    """How the product folds over the array: its extents along rows and in time, and the folds along rows and columns.

    >>> folds = lay_out(Gemm(m=1, n=16, k=150), SystolicArray(8, 8))
    >>> folds.along_rows, folds.along_cols, folds.streamed
    (19, 2, 1)
    """
    flow, lowered = array.dataflow_row, array.lowering_row.lower(gemm)
    rows_extent, cols_extent, streamed = (getattr(lowered, letter) for letter in (flow.rows, flow.cols, flow.time))
    along_rows, along_cols = relaxation.ceil_divs((rows_extent, cols_extent), (array.rows, array.cols))
    in_time = 1 if array.max_streamed is None else relaxation.ceil_div(streamed, array.max_streamed)
    streamed, most = _lengthened(streamed, in_time, array, relaxation)
    return Folds(
        count=lowered.count,
        along_rows=_partly(along_rows, rows_extent, array.rows, array.row_stairs),
        along_cols=_partly(along_cols, cols_extent, array.cols, array.col_stairs),
        in_time=in_time,
        rows_extent=rows_extent,
        cols_extent=cols_extent,
        streamed=_times(array.cycles_per_row, streamed),
        most_streamed=None if most is None else _times(array.cycles_per_row, most),
        rows=array.rows,
        cols=array.cols,
        dataflow=flow,
        maximum=relaxation.maximum,
    )


def _lengthened(
    streamed: Size, in_time: Size, array: SystolicArray, relaxation: Relaxation
) -> tuple[Size, Size | None]:
    """The rows that all folds in time take the time of, and the longest of them; each takes min_streamed at least."""
    most, least = array.max_streamed, array.min_streamed
    if _is_zero(least):
        return streamed, most
    if most is None:
        return relaxation.maximum(streamed, least), None
    whole, last = (relaxation.maximum(rows, least) for rows in (most, last_fold(in_time, most, streamed)))
    return total(product(total(in_time, -1), whole), last), whole


def _partly(folds: Size, extent: Size, size: Size, stairs: Size) -> Size:
    """Alpha * ceil(x) + (1 - alpha) * x: the folds where hardware hides part of the step."""
    if is_number(stairs) and stairs == 1:
        return folds
    return total(product(stairs, folds), product(1 - stairs, true_divide(extent, size)))


def _times(factor: Size, size: Size) -> Size:
    return size if is_number(factor) and factor == 1 else product(factor, size)


class Work(NamedTuple):
    """What a term sees: a product (or a whole stack of them) and how it lies on an array."""

    gemm: Gemm
    array: SystolicArray
    folds: Folds
    relaxation: Relaxation


class CycleTerms(NamedTuple):
    """The cycles of a product, and what they are made of; the terms that an array does not have are left out."""

    cycles: Size
    compute: Size
    memory: dict[str, Size]
    overhead: dict[str, Size]


def gemm_parts(work: Work) -> CycleTerms:
    """The cycles of one product (or of a whole stack of them), and of each term."""
    compute, overhead, memory = _compute(work.folds, work.array), _present(OVERHEADS, work), _present(MEMORY, work)
    if not memory:
        cycles = total(compute, *overhead.values(), what="the cycles") if overhead else compute
        return CycleTerms(cycles, compute, memory, overhead)
    before = {name: cycles for name, cycles in overhead.items() if name != START_UP}
    # starting up is over before the folds begin, and goes on beside the rest of the transfer
    busy = total(compute, overhead[START_UP]) if START_UP in overhead else compute
    moving = total(*memory.values(), what="the memory cycles")
    cycles = longer = work.relaxation.maximum(busy, moving)
    if not _is_zero(work.array.overlap):
        cycles = total(longer, product(work.array.overlap, total(busy, moving, -longer)))
    return CycleTerms(total(*before.values(), cycles, what="the cycles"), compute, memory, overhead)


def terms_of(table: tuple[Term, ...], array: SystolicArray) -> tuple[Term, ...]:
    """The rows of :data:`OVERHEADS` or :data:`MEMORY`, and the machine's own terms of the same kind.

    Raises:
        InvalidValueError: one of the machine's own has the name of a term that ships.
    """
    if not array.terms:
        return table
    shipped = [term.name for term in (*OVERHEADS, *MEMORY)]
    for term in array.terms:
        if term.name in shipped:
            raise InvalidValueError("Term.name", term.name, f"a name other than those that ship: {', '.join(shipped)}")
    return table + tuple(term for term in array.terms if term.kind == table[0].kind)


def _present(table: tuple[Term, ...], work: Work) -> dict[str, Size]:
    found = ((term.name, term.cycles(work)) for term in terms_of(table, work.array))
    return {name: cycles for name, cycles in found if not _is_zero(cycles)}


def _is_zero(size: Size) -> bool:
    return is_number(size) and size == 0


def _compute(folds: Folds, array: SystolicArray) -> Size:
    of_folds = array.fold_timing_row.cycles
    cycles = of_folds(folds)
    if not _is_zero(array.cycles_per_fold):
        cycles = total(cycles, product(array.cycles_per_fold, folds.of_one_product))
    cycles = product(folds.count, cycles, what="the cycles")
    # partial and smooth folds can be less than the one that is left out
    return cycles if array.counts_last_fold else maximum(total(cycles, -of_folds(folds.first)), 0)


# ---------------------------------------------------------------- overhead


def _blocks(work: Work) -> Size:
    gemm, array, relaxation = work.gemm, work.array, work.relaxation
    if _is_zero(array.cycles_per_block):
        return 0
    blocks: Size = 1
    if array.accumulators is not None:
        along_rows, along_cols = relaxation.ceil_divs((gemm.m, gemm.n), (array.rows, array.cols))
        outputs = product(along_rows, array.rows, along_cols, array.cols)
        blocks = relaxation.ceil_div(outputs, array.accumulators)
    return product(array.cycles_per_block, gemm.count, blocks)


def _start_up(work: Work) -> Size:
    array, operand = work.array, work.folds.dataflow.stationary
    if not array.starts_up or operand == "outputs":
        return 0
    first, rate = work.folds.first, _rate(array, operand)
    if _is_unlimited(rate):
        return first.rows_extent
    arrival = true_divide(product(array.bytes_per_element, first.rows_extent, first.cols_extent), rate)
    return total(first.rows_extent, arrival)


START_UP = "start-up"
OVERHEADS = (
    Term("constant", lambda work: work.array.cycles_per_layer, "for each layer"),
    Term("blocks", _blocks, "for each block of outputs that the accumulators hold"),
    Term(START_UP, _start_up, "the operand that stays arrives for the first fold and is loaded, a cycle a row"),
)
"""Every kind of overhead. A new one is a function of :class:`Work`, and a row here."""


# ---------------------------------------------------------------- memory


def _once(operand: Operand) -> Callable[[Work], Size]:
    def cycles(work: Work) -> Size:
        rate = _rate(work.array, operand)
        if _is_unlimited(rate):
            return 0
        return true_divide(product(work.array.bytes_per_element, work.gemm.elements(operand)), rate)

    return cycles


def _again(work: Work) -> Size:
    array, relaxation = work.array, work.relaxation
    blocks = [] if _is_unlimited(array.filter_block) else [true_divide(work.gemm.n, array.filter_block)]
    if array.rereads_inputs:
        room = relaxation.maximum(true_divide(array.accumulators, work.gemm.m), array.cols)
        blocks.append(true_divide(work.gemm.n, room))
    nearer = array.reread_bytes_per_s
    rate = _rate(array, "inputs") if nearer is None else true_divide(nearer, array.clock_hz)
    if not blocks or _is_unlimited(rate):
        return 0
    again = total(functools.reduce(relaxation.maximum, blocks, 1), -1)
    return true_divide(product(array.bytes_per_element, work.gemm.elements("inputs"), again), rate)


def _rate(array: SystolicArray, operand: Operand) -> Size:
    return dict(zip(REUSE_LETTER, array.bytes_per_cycle, strict=True))[operand]


def _is_unlimited(rate: Size) -> bool:
    return is_number(rate) and rate == math.inf


MEMORY = (
    Term("weights", _once("weights"), "once", "memory"),
    Term("inputs", _once("inputs"), "once", "memory"),
    Term("inputs again", _again, "for every further block of filters that is worked on at once", "memory"),
    Term("outputs", _once("outputs"), "once", "memory"),
)
"""What goes through memory, one after the other. A new kind is a function of :class:`Work`, and a row here."""


# ---------------------------------------------------------------- cost


def _work(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Work:
    return Work(gemm, array, lay_out(gemm, array, relaxation), relaxation)


def gemm_cycles(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Just the cycles of :func:`gemm_cost`, by the same lines."""
    return gemm_parts(_work(gemm, array, relaxation)).cycles


def gemm_cost(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Cost:
    """The cost of one product (or of a whole stack of them, its sizes being arrays)."""
    work = _work(gemm, array, relaxation)
    cycles, compute, memory, overhead = gemm_parts(work)
    return Cost(
        macs=gemm.macs,
        cycles=cycles,
        seconds=true_divide(cycles, array.clock_hz, what="the cycles"),
        folds=product(work.folds.count, work.folds.of_one_product, what="the folds"),
        pe_cycles=product(cycles, array.pes, what="cycles * PEs"),
        compute_cycles=compute,
        memory_cycles=total(*memory.values(), what="the memory cycles") if memory else 0,
        overhead_cycles=total(*overhead.values(), what="the overhead cycles") if overhead else 0,
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
        raise error.at(_LETTERS[error.field]) from None
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
