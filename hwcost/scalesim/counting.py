"""What SCALE-Sim 3.0.0 counts for a product without stalls, derived from hwcost's cycles.

hwcost's own cycles with serial folds are F * L: F folds of L cycles each. SCALE-Sim differs from them in

    total cycles     F * L - 1: it prints the index of the last cycle instead of their number
    compute util     divides by L + C - 1 for "ws" and "is", as if columns were skewed once more; by L for "os"
    output writes    M * N + F * (R + C) for "os": the size of each fold's block is added to its elements

It gives utilizations in per cent. Letters: R x C array, extents S_R, S_C along rows and columns and T in time,
F = ceil(S_R / R) * ceil(S_C / C), product (M x K)(K x N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwcost.arrays import Size, product, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import price
from hwcost.model.gemm import Gemm, holds
from hwcost.model.traffic import sram_accesses

__all__ = ["Counts", "counts", "one_of", "serial_array"]


def serial_array(rows: Size, cols: Size, dataflow: str = "ws") -> SystolicArray:
    """The array that SCALE-Sim simulates: folds one after the other, each paying for fill and drain in full.

    Raises:
        InvalidValueError: a size that is not a positive integer, an unknown dataflow.

    >>> serial_array(8, 8).fold_timing
    'serial'
    """
    return SystolicArray(rows, cols, dataflow=dataflow, fold_timing="serial")


@dataclass(frozen=True)
class Counts:
    """What SCALE-Sim reports of one product, under the names of hwcost.

    Attributes:
        total_cycles: "Total Cycles".
        overall_util, mapping_eff, compute_util: "Overall Util", "Mapping Efficiency" and "Compute Util" in per cent.
        sram_input_reads, sram_weight_reads: "SRAM IFMAP Reads" and "SRAM Filter Reads".
        sram_output_writes: "SRAM OFMAP Writes".
    """

    total_cycles: Size
    overall_util: Size
    mapping_eff: Size
    compute_util: Size
    sram_input_reads: Size
    sram_weight_reads: Size
    sram_output_writes: Size


def counts(gemm: Gemm, array: SystolicArray) -> Counts:
    """What SCALE-Sim counts for one of the products, stall-free.

    Args:
        gemm: the product; its ``count`` is ignored, since SCALE-Sim reports each product on a separate row. Sizes may
            be arrays, which broadcast.
        array: as from :func:`serial_array`; rows and columns may be arrays.

    Raises:
        InvalidValueError: an array whose folds are not serial, figures that integer arrays cannot hold, or a product
            that takes one cycle, of which SCALE-Sim has no utilization since it counts 0.

    >>> found = counts(Gemm(m=9, n=1, k=9), serial_array(8, 8, "os"))
    >>> found.total_cycles, found.overall_util, found.sram_output_writes
    (45, 2.8125, 41)
    """
    check_serial(array)
    gemm = one_of(gemm)
    priced = price(gemm, array)
    folds, cycles = priced.work.folds, priced.cycles
    passes = product(folds.along_rows, folds.along_cols, what="the folds")
    last = total(cycles, -1)
    if not holds(last > 0):
        raise InvalidValueError("the cycles that SCALE-Sim counts", 0, "at least 1, to state a utilization")
    accesses, blocks = sram_accesses(priced.work), 0
    if folds.dataflow.stationary == "outputs":
        blocks = product(passes, total(array.rows, array.cols), what="the output writes")
    return Counts(
        total_cycles=last,
        overall_util=_per_cent(gemm.macs, product(last, array.pes)),
        mapping_eff=_per_cent(product(folds.rows_extent, folds.cols_extent), product(passes, array.pes)),
        compute_util=_per_cent(gemm.macs, product(utilization_cycles(cycles, passes, array), array.pes)),
        sram_input_reads=accesses["inputs"],
        sram_weight_reads=accesses["weights"],
        sram_output_writes=total(accesses["outputs"], blocks),
    )


def one_of(gemm: Gemm) -> Gemm:
    """One of the products of a row, which SCALE-Sim simulates one by one."""
    return gemm.with_sizes(count=1, weights_shared_by=1, inputs_shared_by=1)


def utilization_cycles(cycles: Size, passes: Size, array: SystolicArray) -> Size:
    """The cycles that "Compute Util" divides by: C - 1 more for each fold than hwcost has, except for "os"."""
    if array.dataflow_row.stationary == "outputs":
        return cycles
    return total(cycles, product(passes, total(array.cols, -1)), what="the cycles")


def check_serial(array: SystolicArray) -> None:
    """Raises unless the folds of the array are those of SCALE-Sim."""
    if array.fold_timing != "serial":
        raise InvalidValueError("fold_timing of the array", array.fold_timing, '"serial", as SCALE-Sim has it')
    more = array.as_dict().keys() - serial_array(1, 1).as_dict().keys()
    if more:
        raise InvalidValueError(
            "the array", array, f"one without what SCALE-Sim does not have: {', '.join(sorted(more))}"
        )


def _per_cent(part: Size, whole: Size) -> Any:
    return true_divide(product(100, part), whole)
