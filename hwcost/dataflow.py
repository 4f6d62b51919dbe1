"""How a matrix product lies on the array, and what one pass over the array costs: two tables of rows.

A product (m x k)(k x n) has three extents. A dataflow says which of them lies along the rows of the array, which along
the columns, and which streams through in time:

    ws   weight stationary    rows k   columns n   time m
    os   output stationary    rows m   columns n   time k
    is   input stationary     rows k   columns m   time n

One pass over the array is a fold. What a fold costs besides streaming, and whether one fold hides behind the next, is
its timing. The extents of fill and drain are those that SCALE-Sim counts (Samajdar et al., ISPASS 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from hwcost._arrays import Size, maximum, product, total

__all__ = ["DATAFLOWS", "FOLD_TIMINGS", "Dataflow", "FoldTiming", "Folds"]

Letter = Literal["m", "n", "k"]


@dataclass(frozen=True)
class Dataflow:
    """A row of :data:`DATAFLOWS`.

    Attributes:
        name: the field's abbreviation.
        rows, cols, time: the letter of the product that lies along the rows, along the columns, and in time.
        row_passes: how often the height of the array is crossed besides streaming: loading the stationary operand and
            skewing the stream over the rows are one crossing each; where nothing is loaded it is one.
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

    def fill_and_drain(self, rows: Size, cols: Size) -> Size:
        """Cycles of one fold besides streaming on a rows x cols array: row_passes * R + C - 2."""
        return total(product(self.row_passes, rows), cols, -2, what="the fill and drain cycles")


DATAFLOWS: Mapping[str, Dataflow] = MappingProxyType(
    {
        row.name: row
        for row in (
            Dataflow("ws", rows="k", cols="n", time="m", row_passes=2, summary="weight stationary"),
            Dataflow("os", rows="m", cols="n", time="k", row_passes=1, summary="output stationary"),
            Dataflow("is", rows="k", cols="m", time="n", row_passes=2, summary="input stationary"),
        )
    }
)
"""Every dataflow by name. A new one is a row here."""


@dataclass(frozen=True)
class Folds:
    """The folds of one product on one array, as a fold timing sees them.

    Attributes:
        along_rows, along_cols: how many folds the two extents need.
        rows_extent: the extent along the rows, S_R.
        streamed: the extent in time, T: rows streamed through in each fold.
        rows, cols: the size of the array, R and C.
        dataflow: the row that laid the product out.
        maximum: the relaxation's maximum.
    """

    along_rows: Size
    along_cols: Size
    rows_extent: Size
    streamed: Size
    rows: Size
    cols: Size
    dataflow: Dataflow
    maximum: Callable[[Size, Size], Size]


@dataclass(frozen=True)
class FoldTiming:
    """A row of :data:`FOLD_TIMINGS`: the cycles of all folds of one product, and the same in words."""

    name: str
    cycles: Callable[[Folds], Size]
    summary: str


def _ideal(folds: Folds) -> Size:
    return product(folds.along_rows, folds.along_cols, folds.streamed, what="the cycles")


def _serial(folds: Folds) -> Size:
    fold = total(folds.streamed, folds.dataflow.fill_and_drain(folds.rows, folds.cols), what="the cycles of a fold")
    return product(folds.along_rows, folds.along_cols, fold, what="the cycles")


def _double_buffered(folds: Folds) -> Size:
    """While one fold streams, the next one's rows are loaded. A ragged last fold loads just the rows it has."""
    beyond = total(folds.rows_extent, -product(folds.along_rows, folds.rows))  # minus the rows that the last fold lacks
    ragged_rows = maximum(total(folds.rows, beyond), 0)  # smooth folds can be so many that none would be left
    whole = total(folds.maximum(folds.streamed, folds.rows), 1, what="the cycles of a fold")
    saved = total(whole, -1, -folds.maximum(folds.streamed, ragged_rows))
    return product(folds.along_cols, total(product(folds.along_rows, whole), -saved), what="the cycles")


FOLD_TIMINGS: Mapping[str, FoldTiming] = MappingProxyType(
    {
        row.name: row
        for row in (
            FoldTiming("ideal", _ideal, "T cycles a fold: filling and draining are free (the author's formula)"),
            FoldTiming("serial", _serial, "T + fill and drain cycles a fold: every fold pays for both in full"),
            FoldTiming("double-buffered", _double_buffered, "max(T, rows loaded) + 1 cycles a fold"),
        )
    }
)
"""Every fold timing by name. A new one is a function of :class:`Folds`, and a row here."""
