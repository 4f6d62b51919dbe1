"""What goes into a figure, in words: each term of the model that this array has, and those that it leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import REUSE_LETTER
from hwcost.model.formula import MEMORY, OVERHEADS, START_UP, CycleTerms, Work, gemm_cost, gemm_parts, lay_out, terms_of
from hwcost.model.layers import Conv2d, Gemm
from hwcost.relaxation import EXACT

__all__ = ["Sentence", "explain"]


class Sentence(NamedTuple):
    """A term of the model: what it is called, what it says, and its cycles where it has any."""

    name: str
    text: str
    cycles: float | None = None


def explain(layer: Conv2d, array: SystolicArray) -> list[Sentence]:
    """The terms of the cycles of a convolution on an array.

    >>> for sentence in explain(Conv2d(6, 16, 5, 14, 14), SystolicArray(8, 8)):
    ...     print(sentence.name, sentence.text, sep=": ")
    lowering: one product with k = kernel height * kernel width * channels: 1 of (100 x 150)(150 x 16)
    layout: weight stationary: k = 150 along 8 rows, n = 16 along 8 columns, m = 100 streams
    folds: ceil(150 / 8) = 19 along rows, ceil(16 / 8) = 2 along columns
    compute: T cycles a fold: filling and draining are free (the author's formula): 3800 cycles
    total: 3800 cycles, bound by compute
    left out: filling and draining; memory; start-up; a constant
    """
    (gemm,) = layer.gemms()
    work = Work(gemm, array, lay_out(gemm, array), EXACT)
    parts, cost = gemm_parts(work), gemm_cost(gemm, array)
    return [
        *_shape(work),
        Sentence("compute", f"{_compute(array)}: {_number(parts.compute)} cycles", parts.compute),
        *_beside(parts, array),
        Sentence("total", f"{_joined(parts, array)}{_number(cost.cycles)} cycles, bound by {cost.bound}", cost.cycles),
        Sentence("left out", "; ".join(_left_out(parts, array)) or "nothing that the model knows of"),
    ]


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


# ---------------------------------------------------------------- folds


def _shape(work: Work) -> Iterator[Sentence]:
    array, folds = work.array, work.folds
    flow, lowered = array.dataflow_row, array.lowering_row.lower(work.gemm)
    extents = {letter: getattr(lowered, letter) for letter in "mnk"}
    yield Sentence("lowering", f"{array.lowering_row.summary}: {lowered.count} of {_product(lowered)}")
    yield Sentence(
        "layout",
        f"{flow.summary}: {flow.rows} = {extents[flow.rows]} along {array.rows} rows, {flow.cols} = "
        f"{extents[flow.cols]} along {array.cols} columns, {flow.time} = {extents[flow.time]} streams",
    )
    parts = [
        _ceiling(folds.rows_extent, array.rows, folds.along_rows, array.row_stairs, "rows"),
        _ceiling(folds.cols_extent, array.cols, folds.along_cols, array.col_stairs, "columns"),
    ]
    if array.max_streamed is not None:
        most, streamed = array.max_streamed, extents[flow.time]
        parts.append(f"ceil({streamed} / {most}) = {folds.in_time} in time, at most {most} rows going into one")
    yield Sentence("folds", ", ".join(parts))


def _product(gemm: Gemm) -> str:
    return f"({gemm.m} x {gemm.k})({gemm.k} x {gemm.n})"


def _ceiling(extent: int, size: int, folds: Any, stairs: float, along: str) -> str:
    if stairs == 1:
        return f"ceil({extent} / {size}) = {folds} along {along}"
    share = f"{stairs:g} * ceil({extent} / {size}) + {1 - stairs:.4g} * {extent} / {size}"
    return f"{share} = {_number(folds)} along {along}, where the hardware hides part of the step"


def _compute(array: SystolicArray) -> str:
    text = array.fold_timing_row.summary
    if _drains(array):
        text += ", and the outputs are shifted out after each fold"
    if array.min_streamed:
        text += f", a fold taking the time of {array.min_streamed:g} rows at least"
    if array.cycles_per_row != 1:
        text += f", a streamed row taking {array.cycles_per_row:g} cycles"
    if array.cycles_per_fold:
        text += f", and {array.cycles_per_fold:g} cycles more a fold"
    if not array.counts_last_fold:
        text += ", one fold, as full as the first, left out as the last"
    return text


def _drains(array: SystolicArray) -> bool:
    return (
        array.drains_outputs and array.dataflow_row.stationary == "outputs" and array.fold_timing_row.fills_and_drains
    )


# ---------------------------------------------------------------- beside the folds


def _beside(parts: CycleTerms, array: SystolicArray) -> Iterator[Sentence]:
    """The memory and the overhead terms, each with its cycles."""
    rates = dict(zip(REUSE_LETTER, array.bytes_per_cycle, strict=True))
    for term in terms_of(MEMORY, array):
        if term.name in parts.memory:
            cycles = parts.memory[term.name]
            rate = rates.get(term.name, _rate_again(array))
            moved = f"{cycles * rate:.6g} bytes at {rate:.4g} a cycle"
            yield Sentence(term.name, f"{term.summary}: {moved}: {_number(cycles)} cycles", cycles)
    if len(parts.memory) > 1:
        moving = sum(parts.memory.values())
        yield Sentence("memory", f"all of that, one after the other: {_number(moving)} cycles", moving)
    for term in terms_of(OVERHEADS, array):
        if term.name in parts.overhead:
            cycles = parts.overhead[term.name]
            yield Sentence(term.name, f"{_words(term.name, term.summary, array)}: {_number(cycles)} cycles", cycles)


def _rate_again(array: SystolicArray) -> float:
    nearer = array.reread_bytes_per_s
    return float(array.bytes_per_cycle[1] if nearer is None else nearer / array.clock_hz)


def _words(name: str, summary: str, array: SystolicArray) -> str:
    if name == "blocks" and array.accumulators is None:
        return "for each product"
    if name == "blocks":
        return f"{summary}, {array.accumulators} at once"
    return f"{summary} ({array.dataflow_row.stationary})" if name == START_UP else summary


def _joined(parts: CycleTerms, array: SystolicArray) -> str:
    """How the terms come together, in the order in which they stand in the formula."""
    before = [name for name in parts.overhead if name != START_UP]
    if not parts.memory:
        return f"{' + '.join(['compute', *parts.overhead])}: " if parts.overhead else ""
    busy = f"({START_UP} + compute)" if START_UP in parts.overhead else "compute"
    joined = f"the longer of {busy} and memory"
    if array.overlap == 1:
        joined = f"{busy} + memory, one after the other"
    elif array.overlap:
        joined += f" + {array.overlap:g} of the shorter"
    return f"{' + '.join([*before, joined])}: "


def _left_out(parts: CycleTerms, array: SystolicArray) -> Iterator[str]:
    if not array.fold_timing_row.fills_and_drains:
        yield "filling and draining" + (" (hidden behind the fold before)" if array.fold_timing != "ideal" else "")
    elif array.dataflow_row.stationary == "outputs" and not array.drains_outputs:
        yield "shifting the outputs out"
    missing = [name for name, rate in zip(REUSE_LETTER, array.bytes_per_cycle, strict=True) if rate == math.inf]
    if missing:
        yield "memory" if len(missing) == len(REUSE_LETTER) and not parts.memory else f"moving {' and '.join(missing)}"
    if START_UP not in parts.overhead:
        yield START_UP
    if not array.cycles_per_layer:
        yield "a constant"
