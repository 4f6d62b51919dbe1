"""What goes into a figure, in words: each term of the model that this array has, and those that it leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hwcost.dataflow import LACKS, Folds
from hwcost.device import SystolicArray
from hwcost.layers import Conv2d, Gemm
from hwcost.runtime import gemm_cost, lay_out

__all__ = ["Term", "explain"]


class Term(NamedTuple):
    """A term of the model: what it is called, what it says, and its cycles where it has any."""

    name: str
    text: str
    cycles: float | None = None


def explain(layer: Conv2d, array: SystolicArray) -> list[Term]:
    """The terms of the cycles of a convolution on an array.

    >>> for term in explain(Conv2d(6, 16, 5, 14, 14), SystolicArray(8, 8)):
    ...     print(term.name, term.text, sep=": ")
    lowering: one product with k = kernel height * kernel width * channels: 1 of (100 x 150)(150 x 16)
    layout: weight stationary: k = 150 along 8 rows, n = 16 along 8 columns, m = 100 streams
    folds: ceil(150 / 8) = 19 along rows, ceil(16 / 8) = 2 along columns
    compute: T cycles a fold: filling and draining are free (the author's formula): 3800 cycles
    total: 3800 cycles, bound by compute
    left out: filling and draining, memory, start-up, constant overhead
    """
    (gemm,) = layer.gemms()
    folds, cost = lay_out(gemm, array), gemm_cost(gemm, array)
    flow, lowered = array.dataflow_row, gemm.by_position() if array.lowering_row.by_position else gemm
    extents = {letter: getattr(lowered, letter) for letter in "mnk"}
    terms = [
        Term("lowering", f"{array.lowering_row.summary}: {lowered.count} of {_shape(lowered)}"),
        Term(
            "layout",
            f"{flow.summary}: {flow.rows} = {extents[flow.rows]} along {array.rows} rows, {flow.cols} = "
            f"{extents[flow.cols]} along {array.cols} columns, {flow.time} = {extents[flow.time]} streams",
        ),
        Term("folds", _folds(folds, array, extents[flow.time])),
        Term("compute", f"{_timing(array)}: {_number(cost.compute_cycles)} cycles", cost.compute_cycles),
        *_memory(gemm, array),
    ]
    if cost.memory_cycles:
        terms.append(Term("memory", f"one after the other: {_number(cost.memory_cycles)} cycles", cost.memory_cycles))
    if cost.overhead_cycles:
        terms.append(
            Term("overhead", f"{_overhead(array)}: {_number(cost.overhead_cycles)} cycles", cost.overhead_cycles)
        )
    terms.append(Term("total", f"{_joined(array)}{_number(cost.cycles)} cycles, bound by {cost.bound}", cost.cycles))
    terms.append(Term("left out", ", ".join(_left_out(array)) or "nothing that the model knows of"))
    return terms


def _shape(gemm: Gemm) -> str:
    return f"({gemm.m} x {gemm.k})({gemm.k} x {gemm.n})"


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _folds(folds: Folds, array: SystolicArray, streamed: int) -> str:
    parts = [
        _ceiling(folds.rows_extent, array.rows, folds.along_rows, array.row_stairs, "rows"),
        _ceiling(folds.cols_extent, array.cols, folds.along_cols, array.col_stairs, "columns"),
    ]
    if array.max_streamed is not None:
        parts.append(
            f"ceil({streamed} / {array.max_streamed}) = {folds.in_time} in time, "
            f"since at most {array.max_streamed} rows go into one"
        )
    return ", ".join(parts)


def _ceiling(extent: int, size: int, folds: Any, stairs: float, along: str) -> str:
    if stairs == 1:
        return f"ceil({extent} / {size}) = {folds} along {along}"
    share = f"{stairs:g} * ceil({extent} / {size}) + {1 - stairs:.4g} * {extent} / {size}"
    return f"{share} = {_number(folds)} along {along}, where the hardware hides part of the step"


def _timing(array: SystolicArray) -> str:
    text = array.fold_timing_row.summary
    if array.drains_outputs and array.dataflow_row.stationary == "outputs":
        text += ", and the outputs are shifted out after each fold"
    if array.cycles_per_row != 1:
        text += f", a streamed row taking {array.cycles_per_row:g} cycles"
    if array.cycles_per_fold:
        text += f", and {array.cycles_per_fold:g} cycles more a fold"
    if not array.counts_last_fold:
        text += ", the stream of the last fold left out"
    return text


def _memory(gemm: Gemm, array: SystolicArray) -> Iterator[Term]:
    for operand, rate in zip(LACKS, array.bytes_per_cycle, strict=True):
        if rate == math.inf:
            continue
        again = max(1.0, gemm.n / array.filter_block) if operand == "inputs" else 1.0
        moved = gemm.elements(operand) * array.bytes_per_element * again
        note = f", read again for every {array.filter_block:g} of {gemm.n} filters" if again > 1 else ""
        cycles = moved / rate
        yield Term(operand, f"{moved:.6g} bytes at {rate:.4g} a cycle{note}: {_number(cycles)} cycles", cycles)


def _overhead(array: SystolicArray) -> str:
    parts = []
    if array.starts_up and array.dataflow_row.stationary != "outputs":
        parts.append(f"the {array.dataflow_row.stationary} of the first fold arrive and are loaded, a cycle a row")
    if array.cycles_per_layer:
        parts.append(f"a constant of {array.cycles_per_layer:g} for each layer")
    return ", and ".join(parts)


def _joined(array: SystolicArray) -> str:
    if not array.has_memory_limit:
        return ""
    if array.overlap == 0:
        return "the longer of compute and memory: "
    if array.overlap == 1:
        return "compute and memory one after the other: "
    return f"the longer of compute and memory and {array.overlap:g} of the shorter: "


def _left_out(array: SystolicArray) -> Iterator[str]:
    if array.fold_timing == "ideal" and not array.cycles_per_fold:
        yield "filling and draining"
    if not array.has_memory_limit:
        yield "memory"
    if not array.starts_up:
        yield "start-up"
    if not array.cycles_per_layer:
        yield "constant overhead"
