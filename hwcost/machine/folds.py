"""The folds of a product on an array, and what they cost: a table of timings.

A fold is one pass over the array. A timing charges what it costs on top of streaming, or hides it behind another fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hwcost.arrays import Size, Table, maximum, product, total
from hwcost.machine.dataflow import Dataflow
from hwcost.machine.rows import Row, table

__all__ = ["FOLD_TIMINGS", "FoldTexts", "FoldTiming", "Folds", "last_fold"]


class Folds(NamedTuple):
    """The folds of one product on one array, as a fold timing sees them.

    Attributes:
        count: the number of such products.
        along_rows, along_cols, in_time: the folds that the three extents need.
        rows_extent, cols_extent: the extents along rows and columns, S_R and S_C.
        streamed: cycles in which the extent in time streams: T, if a row takes one.
        most_streamed: cycles of the longest stream of one fold; None if nothing limits it: then ``in_time`` is 1.
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
        """The first fold alone: as full as a fold of this product gets; less than one if there is less than one."""
        streamed = self.streamed if self.most_streamed is None else self.minimum(self.streamed, self.most_streamed)
        return self._replace(
            count=1,
            along_rows=_at_most_one(self.along_rows),
            along_cols=_at_most_one(self.along_cols),
            in_time=1,
            rows_extent=self.minimum(self.rows_extent, self.rows),
            cols_extent=self.minimum(self.cols_extent, self.cols),
            streamed=streamed,
            most_streamed=None,
        )


def _at_most_one(folds: Size) -> Size:
    return -maximum(-folds, -1)


class FoldTexts(NamedTuple):
    """The numbers of a :class:`Folds` as text, for the formula that the command line prints.

    Attributes:
        along_rows, along_cols, in_time: the folds; ``in_time`` is empty if nothing limits the stream.
        rows_extent, rows: the extent along rows, and the rows.
        streamed, most_streamed: T, and its limit; empty if there is none.
        fill_and_drain: the cycles of one fill and drain.
    """

    along_rows: str
    along_cols: str
    in_time: str
    rows_extent: str
    rows: str
    streamed: str
    most_streamed: str
    fill_and_drain: str


@dataclass(frozen=True)
class FoldTiming(Row):
    """A row of :data:`hwcost.FOLD_TIMINGS`, or one of the caller's.

    Args:
        name: what a device calls it.
        cycles: a function of :class:`Folds` that returns the cycles of all folds of one product.
        summary: one line for people.
        fills_and_drains: whether each fold pays for filling and draining the array.
        formula: the same cycles as text, a function of :class:`FoldTexts`; None: ``hwcost estimate`` prints no formula.

    Raises:
        InvalidValueError: an empty name, or something that cannot be called.
    """

    functions = Table({"cycles": "Folds that returns cycles"})
    cycles: Callable[[Folds], Size]
    summary: str
    fills_and_drains: bool = False
    formula: Callable[[FoldTexts], str] | None = None


def _ideal(folds: Folds) -> Size:
    return product(folds.along_rows, folds.along_cols, folds.streamed, what="the cycles")


def _serial(folds: Folds) -> Size:
    fill_and_drain = product(folds.in_time, folds.dataflow.fill_and_drain(folds.rows, folds.cols))
    fold = total(folds.streamed, fill_and_drain, what="the cycles of a fold")
    return product(folds.along_rows, folds.along_cols, fold, what="the cycles")


def _double_buffered(folds: Folds) -> Size:
    """While one fold streams, the rows of the next are loaded. A ragged last fold loads only its own rows."""
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
    """The size of the last fold; at least 0, since smooth folds can add up to more than the extent."""
    return maximum(total(size, total(extent, -product(folds, size))), 0)


# ---------------------------------------------------------------- the same as text


def _ideal_text(folds: FoldTexts) -> str:
    return f"{folds.along_rows} * {folds.along_cols} * {folds.streamed}"


def _serial_text(folds: FoldTexts) -> str:
    once = folds.fill_and_drain
    all_of_them = f"{folds.in_time} * ({once})" if folds.in_time else once
    return f"{folds.along_rows} * {folds.along_cols} * ({folds.streamed} + {all_of_them})"


def _double_buffered_text(folds: FoldTexts) -> str:
    along, rows = folds.along_rows, folds.rows

    def of_a_column(streamed: str) -> str:
        ragged_rows = f"{rows} + {folds.rows_extent} - {along} * {rows}"
        return f"({along} - 1) * (max({streamed}, {rows}) + 1) + max({streamed}, {ragged_rows}) + 1"

    if not folds.in_time:
        return f"{folds.along_cols} * ({of_a_column(folds.streamed)})"
    ragged = f"{folds.most_streamed} + {folds.streamed} - {folds.in_time} * {folds.most_streamed}"
    whole = f"({folds.in_time} - 1) * ({of_a_column(folds.most_streamed)})"
    return f"{folds.along_cols} * ({whole} + {of_a_column(ragged)})"


FOLD_TIMINGS: Mapping[str, FoldTiming] = table(
    FoldTiming(
        "ideal", _ideal, "T cycles per fold: filling and draining are free (the author's formula)", formula=_ideal_text
    ),
    FoldTiming(
        "serial",
        _serial,
        "T + fill and drain cycles per fold: every fold pays for both in full",
        fills_and_drains=True,
        formula=_serial_text,
    ),
    FoldTiming(
        "double-buffered", _double_buffered, "max(T, rows loaded) + 1 cycles per fold", formula=_double_buffered_text
    ),
)
"""Every fold timing that ships, by name. A new one is a function of :class:`Folds`, and a row here."""
