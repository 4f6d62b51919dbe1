"""How a matrix product lies on the array.

A product (m x k)(k x n) has three extents. A dataflow lays one along the rows of the array and one along the columns;
the third streams in time:

    ws   weight stationary    rows k   columns n   time m
    os   output stationary    rows m   columns n   time k
    is   input stationary     rows k   columns m   time n

The extents of fill and drain are those that SCALE-Sim counts (Samajdar et al., ISPASS 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwcost.arrays import Size, Table, product, total
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.rows import Row, table

__all__ = ["DATAFLOWS", "REUSE_LETTER", "Dataflow", "Letter", "Operand"]

Letter = Literal["m", "n", "k"]
Operand = Literal["weights", "inputs", "outputs"]

REUSE_LETTER: Mapping[Operand, Letter] = Table({"weights": "m", "inputs": "n", "outputs": "k"})
"""The letter of the product that each operand lacks, along which it is used again."""


@dataclass(frozen=True)
class Dataflow(Row):
    """A row of :data:`hwcost.DATAFLOWS`, or one of the caller's.

    Args:
        name: the field's abbreviation.
        rows, cols, time: the letter of the product that lies along the rows, along the columns, and in time.
        row_passes: crossings of the height of the array per fold, in addition to streaming: one to load the stationary
            operand, one for the skew of the stream over the rows.
        summary: one line for people.
        drain_passes: further crossings to shift out stationary outputs; charged on a machine with ``drains_outputs``.

    Raises:
        InvalidValueError: an empty name, letters that are not m, n and k, passes that are not integers in their
            range.

    >>> DATAFLOWS["ws"].fill_and_drain(8, 8)
    22
    """

    rows: Letter
    cols: Letter
    time: Letter
    row_passes: int
    summary: str
    drain_passes: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        left = ["m", "n", "k"]
        for name in ("rows", "cols", "time"):
            check_one_of(f"Dataflow.{name}", getattr(self, name), left, ", each of m, n and k once")
            left.remove(getattr(self, name))
        for name, least in (("row_passes", 1), ("drain_passes", 0)):
            passes = getattr(self, name)
            if type(passes) is not int or passes < least:
                raise InvalidValueError(f"Dataflow.{name}", passes, f"an integer of at least {least}")

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
        """Cycles of one fold on top of streaming, on a rows x cols array: row_passes * R + C - 2."""
        return total(product(self.row_passes, rows), cols, -2, what="the fill and drain cycles")


DATAFLOWS: Mapping[str, Dataflow] = table(
    Dataflow("ws", rows="k", cols="n", time="m", row_passes=2, summary="weight stationary"),
    Dataflow("os", rows="m", cols="n", time="k", row_passes=1, summary="output stationary", drain_passes=1),
    Dataflow("is", rows="k", cols="m", time="n", row_passes=2, summary="input stationary"),
)
"""Every dataflow that ships, by name. A new one is a row here."""
