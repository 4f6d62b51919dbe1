"""Terms of the model as values: cycles on top of those of the folds, and transfers through memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hwcost.arrays import Size, Table
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.dataflow import REUSE_LETTER, Operand
from hwcost.machine.rows import Row, check_name

__all__ = [
    "AGAIN", "BLOCKS", "CONSTANT", "OUTPUT_BLOCKS", "PARTIAL_SUMS", "SHIPPED", "SIZES", "START_UP", "WEIGHTS_AGAIN",
    "Term", "Transfer",
]  # fmt: skip

CONSTANT, BLOCKS, START_UP, AGAIN = "constant", "blocks", "start-up", "inputs again"
OUTPUT_BLOCKS, WEIGHTS_AGAIN, PARTIAL_SUMS = "output blocks", "weights again", "partial sums"
SHIPPED = (CONSTANT, BLOCKS, OUTPUT_BLOCKS, START_UP, *REUSE_LETTER, AGAIN, WEIGHTS_AGAIN, PARTIAL_SUMS)
"""The names of the terms and transfers that ship, which no other term may take."""
SIZES = ("bytes_per_element", "bytes_per_output", "partial_bytes")
"""The fields of a machine with the bytes of an element."""


@dataclass(frozen=True)
class Term(Row):
    """Overhead: cycles on top of those of the folds.

    ``OVERHEADS`` of :mod:`hwcost.model.overheads` are the terms that ship; a machine takes more of them as
    ``SystolicArray(..., terms=(Term(...),))``.

    Args:
        name: what reports call it; not one of ``SHIPPED``.
        cycles: a function of a ``Work`` (:mod:`hwcost.model.layout`): the cycles of all its products, at least 0.
        summary: one line for people.
        reads: fields of the machine that the function reads, which then have an effect.

    Raises:
        InvalidValueError: an empty name, something that cannot be called.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> launch = Term("launch", lambda work: 50 * work.gemm.count, "launching a product")
    >>> layer_cost(Linear(12, 6), SystolicArray(8, 8, terms=(launch,))).overhead_cycles
    50
    """

    functions = Table({"cycles": "a Work that returns cycles"})
    cycles: Callable[[Any], Size]
    summary: str
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer(Row):
    """Elements that move through memory, part of the transfer that overlaps with compute.

    ``MEMORY`` of :mod:`hwcost.model.traffic` are the transfers that ship; a machine takes more of them as ``terms``.

    Args:
        name: what reports call it; not one of ``SHIPPED``.
        elements: a function of a ``Work`` (:mod:`hwcost.model.layout`): the elements of all its products, at least 0.
        bytes_per_s: a function of the machine: the bandwidth, above 0; infinite if nothing limits the transfer.
        summary: one line for people.
        operand: the column of a report that the elements count in: "weights", "inputs", "outputs" or "partials".
        level: the level of the memory that they cross: "dram", "reread" or a name of your choice.
        reads: fields of the machine that the functions read, which then have an effect.
        size: the field of the machine with the bytes of an element.

    Raises:
        InvalidValueError: an empty name or level, something that cannot be called, an unknown operand.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> scales = Transfer("scales", lambda work: 4 * work.gemm.n, lambda array: 1e9, "one per filter", "weights")
    >>> layer_cost(Linear(12, 6), SystolicArray(8, 8, terms=(scales,))).memory_cycles
    24.0
    """

    functions = Table({"elements": "a Work that returns elements", "bytes_per_s": "the machine"})
    elements: Callable[[Any], Size]
    bytes_per_s: Callable[[Any], Size]
    summary: str
    operand: Operand | Literal["partials"] = "inputs"
    level: str = "dram"
    reads: tuple[str, ...] = ()
    size: str = "bytes_per_element"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.level, "Transfer.level")
        if self.level == "sram":
            raise InvalidValueError("Transfer.level", self.level, "another level; the array fills its SRAM itself")
        check_one_of("Transfer.operand", self.operand, (*REUSE_LETTER, "partials"))
        check_one_of("Transfer.size", self.size, SIZES)
