"""How a matrix product lies on the array, and what one pass over the array costs: three tables of rows.

A product (m x k)(k x n) has three extents. A dataflow says which of them lies along the rows of the array, which along
the columns, and which streams through in time:

    ws   weight stationary    rows k   columns n   time m
    os   output stationary    rows m   columns n   time k
    is   input stationary     rows k   columns m   time n

One pass over the array is a fold. What a fold costs besides streaming, and whether one fold hides behind the next, is
its timing. The extents of fill and drain are those that SCALE-Sim counts (Samajdar et al., ISPASS 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from hwcost.arrays import Size, maximum, product, total

__all__ = ["DATAFLOWS", "FOLD_TIMINGS", "LOWERINGS", "Dataflow", "FoldTiming", "Folds", "Lowering", "last_fold"]

Letter = Literal["m", "n", "k"]
Operand = Literal["weights", "inputs", "outputs"]

REUSE_LETTER: Mapping[Operand, Letter] = MappingProxyType({"weights": "m", "inputs": "n", "outputs": "k"})
"""For each operand of a product the letter that it lacks: along that one it is used again."""


@dataclass(frozen=True)
class Dataflow:
    """A row of :data:`DATAFLOWS`.

    Attributes:
        name: the field's abbreviation.
        rows, cols, time: the letter of the product that lies along the rows, along the columns, and in time.
        row_passes: how often the height of the array is crossed besides streaming: loading the stationary operand and
            skewing the stream over the rows are one crossing each; where nothing is loaded it is one.
        drain_passes: one more crossing where the stationary operand is the output, which has to be shifted out; charged
            where the array says that it drains its outputs.
        summary: one line for people.

    >>> DATAFLOWS["ws"].fill_and_drain(8, 8)
    22
    """

    name: str
    rows: Letter
    cols: Letter
    time: Letter
    row_passes: int
    summary: str
    drain_passes: int = 0

    @property
    def stationary(self) -> Operand:
        """The operand that stays in the array while a fold streams: the one without the letter of time.

        >>> DATAFLOWS["is"].stationary
        'inputs'
        """
        return next(operand for operand, letter in REUSE_LETTER.items() if letter == self.time)

    def drained(self) -> Dataflow:
        """The same dataflow with its outputs shifted out after every fold."""
        return dataclasses.replace(self, row_passes=self.row_passes + self.drain_passes, drain_passes=0)

    def fill_and_drain(self, rows: Size, cols: Size) -> Size:
        """Cycles of one fold besides streaming on a rows x cols array: row_passes * R + C - 2."""
        return total(product(self.row_passes, rows), cols, -2, what="the fill and drain cycles")


DATAFLOWS: Mapping[str, Dataflow] = MappingProxyType(
    {
        row.name: row
        for row in (
            Dataflow("ws", rows="k", cols="n", time="m", row_passes=2, summary="weight stationary"),
            Dataflow("os", rows="m", cols="n", time="k", row_passes=1, summary="output stationary", drain_passes=1),
            Dataflow("is", rows="k", cols="m", time="n", row_passes=2, summary="input stationary"),
        )
    }
)
"""Every dataflow by name. A new one is a row here."""


# ---------------------------------------------------------------- lowering


@dataclass(frozen=True)
class Lowering:
    """A row of :data:`LOWERINGS`: how a convolution becomes products.

    Attributes:
        name: what the device file calls it.
        lower: a function of a :class:`hwcost.Gemm` whose k spans the whole kernel; returns the Gemm laid on the array.
        summary: one line for people.
    """

    name: str
    lower: Callable[[Any], Any]
    summary: str


def _whole(gemm: Any) -> Any:
    return gemm


def _by_position(gemm: Any) -> Any:
    return gemm.by_position()


LOWERINGS: Mapping[str, Lowering] = MappingProxyType(
    {
        row.name: row
        for row in (
            Lowering("im2col", _whole, "one product with k = kernel height * kernel width * channels"),
            Lowering("kernel-position", _by_position, "a product with k = channels for each position of the kernel"),
        )
    }
)
"""Every lowering by name."""


# ---------------------------------------------------------------- folds


@dataclass(frozen=True)
class Folds:
    """The folds of one product on one array, as a fold timing sees them.

    Attributes:
        count: how many such products there are.
        along_rows, along_cols, in_time: how many folds the three extents need.
        rows_extent, cols_extent: the extents along rows and columns, S_R and S_C.
        streamed: cycles that the extent in time takes to stream: T, where a row takes one.
        most_streamed: cycles of the longest stream of one fold; None where nothing limits it, and ``in_time`` is 1.
        rows, cols: the size of the array, R and C.
        dataflow: the row that laid the product out.
        maximum: the relaxation's maximum.
    """

    count: Size
    along_rows: Size
    along_cols: Size
    in_time: Size
    rows_extent: Size
    cols_extent: Size
    streamed: Size
    most_streamed: Size | None
    rows: Size
    cols: Size
    dataflow: Dataflow
    maximum: Callable[[Size, Size], Size]

    @property
    def of_one_product(self) -> Size:
        """Folds of one of the products."""
        return product(self.along_rows, self.along_cols, self.in_time, what="the folds")

    def minimum(self, a: Size, b: Size) -> Size:
        """The smaller of two sizes, as smooth as the maximum."""
        return total(a, b, -self.maximum(a, b))

    @property
    def first(self) -> Folds:
        """The first fold alone: as full as a fold of this product gets."""
        streamed = self.streamed if self.most_streamed is None else self.minimum(self.streamed, self.most_streamed)
        return dataclasses.replace(
            self,
            count=1,
            along_rows=1,
            along_cols=1,
            in_time=1,
            rows_extent=self.minimum(self.rows_extent, self.rows),
            cols_extent=self.minimum(self.cols_extent, self.cols),
            streamed=streamed,
            most_streamed=None,
        )


@dataclass(frozen=True)
class FoldTiming:
    """A row of :data:`FOLD_TIMINGS`: the cycles of all folds of one product, and the same in words.

    Attributes:
        name: what a device calls it.
        cycles: of all folds of one product.
        summary: one line for people.
        fills_and_drains: whether each fold pays for filling and draining the array.
    """

    name: str
    cycles: Callable[[Folds], Size]
    summary: str
    fills_and_drains: bool = False


def _ideal(folds: Folds) -> Size:
    return product(folds.along_rows, folds.along_cols, folds.streamed, what="the cycles")


def _serial(folds: Folds) -> Size:
    fill_and_drain = product(folds.in_time, folds.dataflow.fill_and_drain(folds.rows, folds.cols))
    fold = total(folds.streamed, fill_and_drain, what="the cycles of a fold")
    return product(folds.along_rows, folds.along_cols, fold, what="the cycles")


def _double_buffered(folds: Folds) -> Size:
    """While one fold streams, the next one's rows are loaded. A ragged last fold has just the rows it has to do."""
    rows, ragged_rows = folds.rows, last_fold(folds.along_rows, folds.rows, folds.rows_extent)

    def of_a_column(streamed: Size) -> Size:
        whole = total(folds.maximum(streamed, rows), 1, what="the cycles of a fold")
        last = total(folds.maximum(streamed, ragged_rows), 1)
        return total(product(total(folds.along_rows, -1), whole), last)

    if folds.most_streamed is None:
        return product(folds.along_cols, of_a_column(folds.streamed), what="the cycles")
    ragged = last_fold(folds.in_time, folds.most_streamed, folds.streamed)
    whole = product(total(folds.in_time, -1), of_a_column(folds.most_streamed))
    return product(folds.along_cols, total(whole, of_a_column(ragged)), what="the cycles")


def last_fold(folds: Size, size: Size, extent: Size) -> Size:
    """What is left for the last fold; not below 0, since smooth folds can be so many that none would be left."""
    return maximum(total(size, total(extent, -product(folds, size))), 0)


FOLD_TIMINGS: Mapping[str, FoldTiming] = MappingProxyType(
    {
        row.name: row
        for row in (
            FoldTiming("ideal", _ideal, "T cycles a fold: filling and draining are free (the author's formula)"),
            FoldTiming("serial", _serial, "T + fill and drain cycles a fold: every fold pays for both in full", True),
            FoldTiming("double-buffered", _double_buffered, "max(T, rows loaded) + 1 cycles a fold"),
        )
    }
)
"""Every fold timing by name. A new one is a function of :class:`Folds`, and a row here."""
