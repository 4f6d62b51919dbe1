"""The terms of a figure in words: those that this array has, and those that it leaves out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hwcost.cli.formula import split_text
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import REUSE_LETTER
from hwcost.machine.terms import START_UP
from hwcost.model.layout import Work, lowered
from hwcost.model.least import Chosen
from hwcost.model.overheads import overheads_of
from hwcost.model.pricing import Pricing
from hwcost.model.tilings import TILINGS
from hwcost.model.traffic import bytes_of, transfers_of
from hwcost.units import BYTES, in_unit, number

__all__ = ["Sentence", "explain"]


class Sentence(NamedTuple):
    """A term of the model: its name, what it is in words, and its cycles if it has any."""

    name: str
    text: str
    cycles: float | None = None


def explain(pricing: Pricing) -> list[Sentence]:
    """The terms of the cycles of a product on an array.

    >>> from hwcost import Conv2d
    >>> from hwcost.model.formula import price
    >>> (gemm,) = Conv2d(6, 16, 5, 14, 14).gemms()
    >>> for sentence in explain(price(gemm, SystolicArray(8, 8))):
    ...     print(sentence.name, sentence.text, sep=": ")
    lowering: one product with k = kernel height * kernel width * channels: 1 of (100 x 150)(150 x 16)
    layout: weight stationary: k = 150 along 8 rows, n = 16 along 8 columns, m = 100 streams
    folds: ceil(150 / 8) = 19 along rows, ceil(16 / 8) = 2 along columns
    compute: T cycles per fold: filling and draining are free (the author's formula): 3800 cycles
    total: 3800 cycles, bound by compute
    left out: filling and draining; memory; start-up; a constant
    """
    parts, array, cost = pricing, pricing.work.array, pricing.cost
    return [
        *_shape(parts.work),
        *_tiling(parts.work.tiling),
        Sentence("compute", f"{_streaming(array)}: {number(parts.compute)} cycles", parts.compute),
        *_terms(parts, array),
        Sentence("total", f"{_joined(parts, array)}{number(cost.cycles)} cycles, bound by {cost.bound}", cost.cycles),
        *_fields(array),
        Sentence("left out", "; ".join(_left_out(parts, array)) or "nothing that the model knows of"),
    ]


# ---------------------------------------------------------------- folds


def _shape(work: Work) -> Iterator[Sentence]:
    array, folds = work.array, work.folds
    flow, laid = array.dataflow_row, lowered(work.gemm, array)
    of_each = f"({number(laid.m)} x {number(laid.k)})({number(laid.k)} x {number(laid.n)})"
    yield Sentence("lowering", f"{array.lowering_row.summary}: {number(laid.count)} of {of_each}")
    part = lowered(work.part, array)
    if array.arrays > 1:
        yield Sentence("split", split_text(work))
    extents = {letter: number(getattr(part, letter)) for letter in "mnk"}
    yield Sentence(
        "layout",
        f"{flow.summary}: {flow.rows} = {extents[flow.rows]} along {array.rows} rows, {flow.cols} = "
        f"{extents[flow.cols]} along {array.cols} columns, {flow.time} = {extents[flow.time]} streams",
    )
    parts = [
        _ceiling(folds.rows_extent, array.rows, folds.along_rows, array.row_stairs, "rows"),
        f"{number(folds.along_cols)} along columns by the table for {number(folds.cols_extent)}"
        if array.col_table
        else _ceiling(folds.cols_extent, array.cols, folds.along_cols, array.col_stairs, "columns"),
    ]
    if array.max_streamed is not None:
        parts.append(_ceiling(getattr(part, flow.time), array.max_streamed, folds.in_time, 1, "time"))
    yield Sentence("folds", ", ".join(parts))


def _ceiling(extent: Any, size: Any, folds: Any, stairs: Any, along: str) -> str:
    if stairs == 1:
        return f"ceil({number(extent)} / {size}) = {number(folds)} along {along}"
    share = f"{stairs:g} * ceil({number(extent)} / {size}) + {1 - stairs:.4g} * {number(extent)} / {size}"
    return f"{share} = {number(folds)} along {along}"


def _streaming(array: SystolicArray) -> str:
    """The fold timing in words, and how long a row takes if it is not a cycle."""
    per_row = array.cycles_per_row
    return array.fold_timing_row.summary + ("" if per_row == 1 else f"; T is the rows at {per_row:g} cycles each")


# ---------------------------------------------------------------- memory, overheads, and the machine


def _tiling(chosen: Chosen | None) -> Iterator[Sentence]:
    """The tiling that moves least: its parts, what it holds, and what it moves more than once."""
    if chosen is None:
        return
    parts = " x ".join(number(getattr(chosen, letter)) for letter in "mnk")
    again = {
        "weights": chosen.weights_again,
        "inputs": chosen.inputs_again,
        "partial sums": chosen.partials,
    }
    moved = " and ".join(f"{number(elements)} {name}" for name, elements in again.items() if elements)
    words = f"moved again: {moved}" if moved else "nothing moves twice"
    size = in_unit(chosen.room, BYTES, 4)
    yield Sentence("tiling", f"{TILINGS[chosen.row].summary}: {parts} parts of m x n x k, {size} held; {words}")


def _terms(parts: Pricing, array: SystolicArray) -> Iterator[Sentence]:
    """The memory and the overhead terms, each with its cycles."""
    for transfer in transfers_of(array):
        if transfer.name in parts.memory:
            cycles, rate = parts.memory[transfer.name], transfer.bytes_per_s(array) / array.clock_hz
            size = bytes_of(parts.moved[transfer.name], array.effective(transfer.size))
            moved = f"{number(size)} bytes at {rate:.4g} a cycle"
            read = parts.traffic.elements.get((transfer.level, transfer.operand), size)
            if read < parts.moved[transfer.name]:
                own = bytes_of(read, array.effective(transfer.size))
                moved += f", {number(own)} of them read (strides leave out the rest, which takes its time)"
            moved += " for each array, and the longest part" if array.bandwidth_per_array else ""
            yield Sentence(transfer.name, f"{transfer.summary}: {moved}: {number(cycles)} cycles", cycles)
    if len(parts.memory) > 1:
        moving = parts.memory_cycles
        how = "the longest of weights, inputs and outputs" if array.parallel_operands else "the sum of the transfers"
        how = "the longer of weights, and of inputs and outputs" if array.weights_apart else how
        yield Sentence("memory", f"{how}: {number(moving)} cycles", moving)
    for term in overheads_of(array):
        if term.name in parts.overhead:
            cycles = parts.overhead[term.name]
            yield Sentence(term.name, f"{term.summary}: {number(cycles)} cycles", cycles)


def _fields(array: SystolicArray) -> Iterator[Sentence]:
    """The numbers and switches on top of the positional fields, in the words of their declarations."""
    from hwcost.devices import Entry

    further = {f.name for f in dataclasses.fields(array) if f.kw_only}
    known = ((array.declarations[name], value) for name, value in array.stated() if name in further)
    stated = ((each, value) for each, value in known if each.kind.types and not each.kind.names)
    texts = [f"{each.words}: {Entry(value, each.unit, 'assumed', each.words).in_words}" for each, value in stated]
    if texts:
        yield Sentence("fields", "; ".join(texts))


def _joined(parts: Pricing, array: SystolicArray) -> str:
    """How the terms come together, in the order of the formula."""
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


def _left_out(parts: Pricing, array: SystolicArray) -> Iterator[str]:
    if not array.fold_timing_row.fills_and_drains:
        yield "filling and draining" + (" (hidden behind the fold before)" if array.fold_timing != "ideal" else "")
    elif array.dataflow_row.stationary == "outputs" and not array.drains_outputs:
        yield "shifting the outputs out"
    missing = [name for name, rate in zip(REUSE_LETTER, array.rates, strict=True) if rate == math.inf]
    if missing:
        yield "memory" if len(missing) == len(REUSE_LETTER) and not parts.memory else f"moving {' and '.join(missing)}"
    if START_UP not in parts.overhead:
        yield START_UP
    if not array.cycles_per_layer:
        yield "a constant"
