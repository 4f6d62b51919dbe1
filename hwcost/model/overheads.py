"""Cycles that belong to no fold: for the layer, for blocks of outputs, and until the first fold can begin."""

from __future__ import annotations

from hwcost.arrays import Size, product, total, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.machine.rows import figure
from hwcost.machine.terms import BLOCKS, CONSTANT, OUTPUT_BLOCKS, START_UP, Term
from hwcost.model.layout import Work, is_zero, output_blocks
from hwcost.model.sums import where
from hwcost.model.tiles import Tile
from hwcost.model.traffic import memory_cycles

__all__ = ["OVERHEADS", "overhead_cycles", "overheads_of"]


def _blocks(work: Work) -> Size:
    array = work.array
    if is_zero(array.cycles_per_block):
        return 0
    blocks: Size = 1
    if array.accumulators is not None:
        outputs = product(output_blocks(work.part, array, work.relaxation), array.rows, array.cols)
        blocks = work.relaxation.ceil_div(outputs, array.accumulators)
    return product(array.cycles_per_block, work.part.count, blocks)


def _output_blocks(work: Work) -> Size:
    if is_zero(work.array.cycles_per_output_block):
        return 0
    blocks = output_blocks(work.part, work.array, work.relaxation)
    return product(work.array.cycles_per_output_block, work.part.count, blocks)


def _start_up(work: Work) -> Size:
    array = work.array
    if not array.starts_up or (operand := work.folds.dataflow.stationary) == "outputs":
        return 0
    if work.tile is not None:
        return _first_tile(work, work.tile)
    first = work.folds.first
    arrival = memory_cycles({operand: product(first.rows_extent, first.cols_extent)}, array)
    return total(first.rows_extent, *arrival.values(), array.start_up_cycles)


def _first_tile(work: Work, tile: Tile) -> Size:
    """Weights and inputs of the first tile arrive, and the outputs of the last one leave, with nothing next to them.

    On a machine with ``weights_ahead`` the weights are there before.
    """
    array, gemm = work.array, work.padded
    outputs = product(tile.height, tile.width, tile.filters)
    moved: dict[str, Size] = {"inputs": product(tile.patch, tile.at_once), "outputs": outputs}
    if not array.weights_ahead:
        per_column = true_divide(gemm.elements("weights"), product(gemm.n, gemm.count))
        moved["weights"] = product(per_column, tile.first, where(tile.positions > 1, 1, 0))
    arrival = memory_cycles(moved, array, tile)
    leaving = product(array.cycles_per_output, outputs)
    return total(*arrival.values(), leaving, array.start_up_cycles, what="the start-up cycles")


OVERHEADS = (
    Term(CONSTANT, lambda work: work.array.cycles_per_layer, "for each layer"),
    Term(BLOCKS, _blocks, "for each block of outputs that the accumulators hold"),
    Term(OUTPUT_BLOCKS, _output_blocks, "for each rows x cols outputs"),
    Term(START_UP, _start_up, "the first fold's stationary operand arrives and is loaded at one row per cycle"),
)
"""The overheads that ship. A machine takes more of them as ``terms``."""


def overheads_of(array: SystolicArray) -> tuple[Term, ...]:
    """The overheads that ship, and the machine's own."""
    return (*OVERHEADS, *(term for term in array.terms if isinstance(term, Term))) if array.terms else OVERHEADS


def overhead_cycles(work: Work) -> dict[str, Size]:
    """The cycles of each overhead by name; those that the machine does not have are left out."""
    found = {}
    for term in overheads_of(work.array):
        cycles = figure(term, "cycles", work) if work.array.terms else term.cycles(work)
        if not is_zero(cycles):
            found[term.name] = cycles
    return found
