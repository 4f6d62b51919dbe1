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

Products that share an operand are laid out apart or as one larger product, whichever takes fewer cycles. Several
``arrays`` share a product in the fastest of the ways of :mod:`hwcost.model.splits`: compute is that of the longest
part; memory is that of the whole product, or of this part if every array has the bandwidths for itself.

The fields of :class:`hwcost.SystolicArray` state what an array may add. In the letters of this page:

    row_, col_stairs    ceil(x) becomes alpha * ceil(x) + (1 - alpha) * x: hardware that hides part of the step
    filter_block        inputs are read max(1, n / filter_block) times
    rereads_inputs      accumulators set such a block too: max(C, accumulators / m) filters; without them it is C
    reread_stairs       as row_stairs, for n / filter_block
    channel_multiple    c becomes the next multiple, in k and in the bytes of weights and inputs
    pipeline_cycles     overlap is P / (P + longer) of the rest in addition: small products are serial
    parallel_operands   memory = the longest of the three operands, each on a channel of its own
    weights_apart       memory = the longer of weights, and of inputs and outputs
    col_table           ceil(n / C) becomes a table of n
    patch_height, _width    height and width of the outputs become the next multiples, in T
    positions_at_once   k1 * k2 * ceil(c / R) folds become ceil(k1 * k2 / p) * ceil(p * c / R), if those are fewer
    cycles_per_output   compute is at least this times the outputs
    fold_latency        compute is at least this for all blocks of R x C outputs of all folds, over those that fit into
                        the accumulators: Little's law (Operations Research 9, 1961)
    readers             inputs take this times as long if m is at most single_block and n above it, weights if n is at
                        most it and m above
    tile_bytes          inputs are read as the tiles of :mod:`hwcost.model.tiles` do
    weights_ahead       the start-up of a layer is without the weights of its first tile
    burst_bytes         runs of b bytes take max(1, burst / b) times as long
    counts_last_fold    if False, one fold, as full as the first, is left out

A processing element does one MAC per cycle, whatever the fields of a machine: cycles are never fewer than
MACs / (R * C), those of the longest part on one array. What fields leave out of that counts as compute.

:mod:`hwcost.model.traffic` counts what crosses the memory, :mod:`hwcost.model.overheads` has what is added once, and
:mod:`hwcost.model.choice` takes the cheapest of several layouts.
"""

from __future__ import annotations

import functools
import operator
import os

from hwcost.arrays import Size, ceil_divide, check_finite, is_float, maximum, product, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.folds import FoldTiming
from hwcost.machine.rows import figure
from hwcost.machine.terms import START_UP
from hwcost.model.choice import cheaper, fastest_cut
from hwcost.model.cost import Cost
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Layer, is_layer
from hwcost.model.layout import Work, is_zero, lowered, output_blocks
from hwcost.model.moves import move_cost, move_cycles, moves_of
from hwcost.model.overheads import overhead_cycles
from hwcost.model.pricing import Pricing
from hwcost.model.splits import Split
from hwcost.model.traffic import Traffic, memory_cycles, moved_elements, moving_cycles
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = [
    "as_array",
    "check",
    "check_layer",
    "layer_cost",
    "layer_traffic",
    "price",
]


# ---------------------------------------------------------------- cycles


def _compute(work: Work) -> Size:
    folds, array = work.folds, work.array
    of_folds, own = array.fold_timing_row.cycles, array.fold_timing
    if isinstance(own, FoldTiming):
        of_folds = functools.partial(figure, own, "cycles")
    cycles = of_folds(folds)
    if not is_zero(array.cycles_per_fold):
        cycles = total(cycles, product(array.cycles_per_fold, folds.of_one_product))
    cycles = product(folds.count, cycles, what="the cycles")
    if not array.counts_last_fold:  # smooth folds can be less than the one that is left out
        cycles = maximum(total(cycles, -of_folds(folds.first)), 0)
    if not is_zero(array.fold_latency):
        cycles = folds.maximum(cycles, _with_room(work))
    if is_zero(array.cycles_per_output):
        return cycles
    writing = product(array.cycles_per_output, work.part.elements("outputs"), what="the cycles")
    return folds.maximum(cycles, writing)


def _with_room(work: Work) -> Size:
    """Cycles of folds each of which occupies accumulators from its start to its last output."""
    folds, array = work.folds, work.array
    flow, laid = folds.dataflow, lowered(work.part, array)
    sums = {flow.rows: folds.along_rows, flow.cols: folds.along_cols, flow.time: folds.in_time}["k"]
    blocks = product(folds.count, sums, output_blocks(laid, array, work.relaxation))
    held = true_divide(array.accumulators, product(array.rows, array.cols))
    return product(array.fold_latency, true_divide(blocks, held), what="the cycles")


def may_be_too_few(array: SystolicArray) -> bool:
    """Whether the cycles of the folds may be fewer than the MACs need."""
    per_row = array.cycles_per_row
    is_slow = type(per_row) is float and per_row >= 1
    is_known = array.counts_last_fold and isinstance(array.fold_timing, str) and not array.col_table
    return not (is_slow and is_known)


def _missing(cycles: Size, gemm: Gemm, array: SystolicArray) -> Size:
    """What cycles lack of those in which the processing elements can do the MACs; whole ones if sizes are."""
    macs, pes = lowered(gemm, array).macs, product(array.rows, array.cols)
    divide = true_divide if is_float(macs) or is_float(pes) else ceil_divide
    return maximum(total(divide(macs, pes, what="the MACs"), -cycles), 0)


def price(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Pricing:
    """Prices a product on an array; products that share an operand in the cheaper of two layouts.

    >>> from hwcost import MatMul
    >>> (scores,) = MatMul(m=1, n=4096, k=128, batch=32, weights_shared_by=4).gemms()
    >>> apart = price(scores, SystolicArray(8, 8, fold_timing="serial"))
    >>> apart.work.gemm
    Gemm(m=4, n=4096, k=128, count=8)
    """
    best = _price if type(array.arrays) is int and array.arrays == 1 else functools.partial(fastest_cut, _price)
    apart = best(gemm, array, relaxation)
    if gemm.shares_operands:
        merged = best(gemm.merged(), array, relaxation)
        shared = product(gemm.weights_shared_by, gemm.inputs_shared_by) > 1
        apart = cheaper(apart, merged, merged.cycles < apart.cycles, shared, relaxation)
    check_finite(apart.cycles, "cycles")
    return apart


def _price(gemm: Gemm, array: SystolicArray, relaxation: Relaxation, split: Split | None = None) -> Pricing:
    work = Work.of(gemm, array, relaxation, split)
    compute = _compute(work)
    overhead = overhead_cycles(work)
    moved = moved_elements(work) if array.has_memory_limit else {}
    own = moved_elements(work.alone) if array.bandwidth_per_array and moved else moved
    memory = memory_cycles(own, array, work.tile, work.gemm) if moved else {}
    if not memory:
        cycles = total(compute, *overhead.values(), what="the cycles") if overhead else compute
        return _whole(Pricing(work, cycles, compute, 0, memory, overhead, moved))
    before = [cycles for name, cycles in overhead.items() if name != START_UP]
    # start-up ends before the folds begin, and overlaps with the rest of the transfer
    busy = total(compute, overhead[START_UP]) if START_UP in overhead else compute
    moving = moving_cycles(memory, work)
    cycles = longer = relaxation.maximum(busy, moving)
    if not (is_zero(array.overlap) and is_zero(array.pipeline_cycles)):
        cycles = total(longer, product(_share_that_adds(array, longer), total(busy, moving, -longer)))
    waiting = total(cycles, -busy, what="the waiting cycles")
    return _whole(Pricing(work, total(*before, cycles, what="the cycles"), compute, waiting, memory, overhead, moved))


def _share_that_adds(array: SystolicArray, longer: Size) -> Size:
    """The share of the shorter of compute and memory that adds to the longer, which a pipeline has to fill for."""
    if is_zero(array.pipeline_cycles):
        return array.overlap
    filling = true_divide(array.pipeline_cycles, total(array.pipeline_cycles, longer))
    return total(array.overlap, product(total(1, product(-1, array.overlap)), filling))


def _whole(pricing: Pricing) -> Pricing:
    """The same with at least the cycles that the MACs need."""
    gemm, array = pricing.work.part, pricing.work.array
    if not may_be_too_few(array):
        return pricing
    missing = _missing(pricing.cycles, gemm, array)
    return pricing._replace(cycles=total(pricing.cycles, missing), compute=total(pricing.compute, missing))


# ---------------------------------------------------------------- cost


def layer_cost(layer: Layer, array: SystolicArray | str, *, relaxation: Relaxation | str = EXACT) -> Cost:
    """The cost of one layer on an array.

    Args:
        layer: anything with ``gemms()``: :class:`Conv2d`, :class:`Linear`, :class:`MatMul`, :class:`Gemm`, your own.
        array: the accelerator, or the name of a device.
        relaxation: stand-in for ceilings and maxima; exact by default.

    Raises:
        InvalidValueError: something that is not a layer, or a total too large for the integer arrays it is computed in.

    >>> from hwcost import Conv2d
    >>> layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8)).cycles
    3800
    """
    array = check(layer, array)
    relaxation = as_relaxation(relaxation)
    costs = [price(gemm, array, relaxation).cost for gemm in layer.gemms()]
    costs += [move_cost(move, array) for move in moves_of(layer)]
    return functools.reduce(operator.add, costs) if costs else Cost()


def layer_traffic(layer: Layer, array: SystolicArray | str) -> Traffic:
    """The elements of a layer that cross each level of the memory.

    Args:
        layer: anything with ``gemms()``.
        array: the accelerator, or the name of a device. Without bandwidths every operand crosses "dram" once.

    Raises:
        InvalidValueError: something that is not a layer, or a total too large for the integer arrays it is computed in.

    >>> from hwcost import Linear
    >>> traffic = layer_traffic(Linear(150, 16, batch=100), SystolicArray(8, 8))
    >>> traffic.bytes(), traffic.elements["sram", "outputs"]
    (19000, 30400)
    """
    array = check(layer, array)
    return sum((price(gemm, array).traffic for gemm in layer.gemms()), start=Traffic({}, array.bytes_per_element))


def layer_figure(layer: Layer, array: SystolicArray, relaxation: Relaxation, figure: str) -> Size:
    """A figure of :func:`layer_cost` only; 0 for one that a layer without any work does not have."""
    if figure == "cycles":
        return layer_cycles(layer, array, relaxation)
    found = getattr(layer_cost(layer, array, relaxation=relaxation), figure)
    return 0.0 if found is None else found


def layer_cycles(layer: Layer, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """The cycles of :func:`layer_cost` only."""
    moving = (cycles for move in moves_of(layer) for cycles in move_cycles(move, array))
    return total(*(price(gemm, array, relaxation).cycles for gemm in layer.gemms()), *moving, what="the cycles")


def check(layer: object, array: object) -> SystolicArray:
    """The array; raises unless the first is a layer and the second an array or the name of one."""
    if not is_layer(layer):
        check_layer(layer)
    return as_array(array)


def check_layer(layer: object, field: str = "layer") -> None:
    """Raises unless something is a layer."""
    if hasattr(layer, "named_modules"):
        allowed = "hwcost.from_torch(module, input_size) reads it; or write it as hwcost.Conv2d(...) or Linear(...)"
        raise InvalidValueError(field, type(layer).__name__, allowed, reason="a PyTorch module is no layer yet")
    if not is_layer(layer):
        allowed = "a layer: hwcost.Conv2d(...), Linear(...), MatMul(...), or a value of your own with gemms()"
        raise InvalidValueError(field, layer, allowed)


def as_array(given: object, field: str = "array") -> SystolicArray:
    """An array as a caller gives it: itself, or the name or path of a device.

    Args:
        given: what was given.
        field: the name of the argument in errors.

    Raises:
        InvalidValueError: neither; an unknown device, with those that there are.

    >>> as_array("gemmini").rows
    16
    """
    if isinstance(given, SystolicArray):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise InvalidValueError(field, given, "a SystolicArray, or the name of a device")
    from hwcost.devices import read_device  # loaded for names only

    return read_device(given, field=field).array
