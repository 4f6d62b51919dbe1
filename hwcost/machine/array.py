"""The accelerator, as a value made of its parts.

:class:`SystolicArray` inherits the fields of its parts: each is declared once, the constructor is flat with a real
signature, and ``array.rows`` reads as it is written. ``array.part(Grid)`` is one of its parts as a value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from hwcost.arrays import Size, is_number, is_plain, product
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.buffers import Buffers
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.machine.energy import Energy
from hwcost.machine.fields import (
    COUNT,
    POSITIVE,
    RATE,
    SHARE,
    STEPS,
    Kind,
    Need,
    Part,
    Start,
    declare,
    is_finite,
    is_stated,
    part,
)
from hwcost.machine.memory import Memory
from hwcost.machine.rows import called, resolved
from hwcost.machine.run import Run
from hwcost.machine.terms import SHIPPED, Term, Transfer
from hwcost.machine.tiler import Tiler
from hwcost.machine.tiles import Tiles
from hwcost.machine.timing import Timing
from hwcost.tables import Facts
from hwcost.units import SIZES, in_unit, with_unit

__all__ = ["Adapted", "Clock", "Grid", "IdleFieldError", "SystolicArray", "adapt"]

_P = TypeVar("_P", bound=Part)
_WEIGHT = "1 charges whole tiles, 0 fractional tiles"
_STAIRS = Start(0.8, "0.8", spread=2.0)
_NO_TABLE = Need("a machine without col_table", lambda array: not array.col_table)


@part
class Grid(Part):
    """A rows x cols array of processing elements (PE), each doing one multiply-accumulate (MAC) per cycle.

    >>> Grid(16, 8).pes
    128
    """

    rows: Size = declare(COUNT, "PE", "height of the array", "s1 in the author's formula")
    cols: Size = declare(COUNT, "PE", "width of the array", "s2 in the author's formula")
    _: KW_ONLY
    row_stairs: Size = declare(SHARE, "1", "weight of the ceiling along rows", _WEIGHT, default=1.0, start=_STAIRS)
    col_stairs: Size = declare(
        SHARE, "1", "weight of the ceiling along columns", _WEIGHT, default=1.0, start=_STAIRS, need=_NO_TABLE
    )
    col_table: tuple[float, ...] = declare(
        STEPS, "1", "folds along the columns for extents of 1, 2, ... as a list",
        "a larger extent takes whole lists and what is left; they need not grow", default=(),
    )  # fmt: skip
    arrays: Size = declare(
        COUNT, "1", "arrays of this size that share each product",
        "cut along filters, output positions, input channels or groups, whichever is fastest", default=1,
    )  # fmt: skip

    @property
    def size_in_words(self) -> str:
        """Rows and columns as text, and the number of arrays if there are several.

        >>> Grid(16, 8).size_in_words, Grid(128, 128, arrays=4).size_in_words
        ('16 x 8', '4 arrays of 128 x 128')
        """
        size = f"{self.rows} x {self.cols}"
        return f"{self.arrays} arrays of {size}" if is_stated(self, "arrays") else size

    @property
    def pes(self) -> Size:
        """The number of processing elements of all arrays."""
        return product(self.rows, self.cols, self.arrays, what="the number of PEs")


@part
class Clock(Part):
    """The clock of the array.

    >>> Clock()
    Clock(clock_hz=1e9)
    """

    clock_hz: Size = declare(POSITIVE, "Hz", "cycles per second", "at 1 GHz a cycle is a nanosecond", default=1e9)


class IdleFieldError(InvalidValueError):
    """A field is set that has no effect on its machine, or that excludes another field."""


def _terms(value: Any, place: str, unit: str) -> tuple[Term | Transfer, ...]:
    if not isinstance(value, (tuple, list)) or not all(isinstance(term, (Term, Transfer)) for term in value):
        raise InvalidValueError(place, value, "a tuple of Term and Transfer")
    names = [term.name for term in value]
    if len(set(names)) < len(names):
        raise InvalidValueError(place, ", ".join(names), "terms whose names differ")
    for term in value:
        if term.name in SHIPPED:
            allowed = f"a name other than those that ship: {', '.join(SHIPPED)}"
            raise InvalidValueError(f"{type(term).__name__}.name", term.name, allowed)
        place = f"{type(term).__name__}.reads"
        if isinstance(term.reads, str):
            raise InvalidValueError(place, term.reads, "a tuple of fields of the machine")
        for name in term.reads:
            check_one_of(place, name, SystolicArray.declarations, what="field")
    return tuple(value)


@part
class SystolicArray(Energy, Run, Buffers, Memory, Tiles, Timing, Tiler, Clock, Grid, Facts):
    """A rows x cols array of processing elements (PE), each doing one multiply-accumulate (MAC) per cycle.

    The first five fields define the array. All others default to the author's formula, which
    :mod:`hwcost.model.formula` documents.

    Args:
        {fields}

    Every number may be an array for a sweep.

    Raises:
        InvalidValueError: a size that is not a positive integer, a quantity out of its range, an unknown name, a field
            without effect on this machine, a Transfer whose bandwidth is not above 0.

    >>> SystolicArray(8, 8)
    SystolicArray(rows=8, cols=8, clock_hz=1e9, dataflow='ws', fold_timing='ideal')
    >>> SystolicArray(16, 16, dataflow="os").pes
    256
    >>> array = SystolicArray(16, 16, dram_bytes_per_s=16e9, overlap=0.3)
    >>> array
    SystolicArray(rows=16, cols=16, clock_hz=1e9, dataflow='ws', fold_timing='ideal',
                  dram_bytes_per_s=1.6e10, overlap=0.3)
    >>> array.part(Memory)
    Memory(dram_bytes_per_s=1.6e10, overlap=0.3)
    >>> SystolicArray(8, 8, overlap=0.5)
    Traceback (most recent call last):
    ...
    hwcost.machine.array.IdleFieldError: SystolicArray.overlap cannot be used: it has no effect on this machine; it
    needs a finite bandwidth, such as dram_bytes_per_s
    """

    _: KW_ONLY
    terms: tuple[Term | Transfer, ...] = declare(
        Kind(_terms, rows=(Term, Transfer)), "", "terms of your own", "on top of those that ship", default=()
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for term in self.terms:
            if isinstance(term, Transfer):
                RATE.check(
                    called(term, "bytes_per_s", self), f"Transfer.bytes_per_s of {term.name!r}", "bytes per second"
                )

    def _check_needs(self, needing: Sequence[tuple[str, Need]]) -> None:
        for name, need in needing:
            if not need.is_met(self) and not any(name in term.reads for term in self.terms):
                needed = f"it needs {need.words}"
                raise IdleFieldError(f"SystolicArray.{name}", getattr(self, name), needed, reason=need.reason(self))

    def part(self, kind: type[_P]) -> _P:
        """One of its parts, like ``Grid``, ``Memory`` or ``Energy``, as a value."""
        return kind(**{name: getattr(self, name) for name in kind.declarations})

    @property
    def dataflow_row(self) -> Dataflow:
        """The dataflow as a row; one that drains its outputs if the array does."""
        row = resolved(DATAFLOWS, self.dataflow)
        return row.drained() if self.drains_outputs else row

    @property
    def in_words(self) -> str:
        """The machine on one line.

        >>> SystolicArray(8, 16, buffer_bytes=65536.0).in_words
        '8 x 16, weight stationary, ideal folds, buffer of 64 KiB'
        """
        words = [self.size_in_words, self.dataflow_row.summary, f"{self.fold_timing} folds"]
        if is_number(self.buffer_bytes) and is_finite(self.buffer_bytes):
            words.append(f"buffer of {in_unit(self.buffer_bytes, SIZES, 4)}")
        return ", ".join(words)

    def facts(self) -> dict[str, str]:
        """The fields that are stated, in people's units, by what they are."""
        facts = {}
        for name, value in self.as_dict().items():
            field = self.declarations[name]
            facts[field.words] = with_unit(value, field.unit) if is_plain(value) else "an array"
        return facts

    @property
    def has_memory_limit(self) -> bool:
        """Whether any bandwidth is finite, or a Transfer is given."""
        return self.is_limited or any(isinstance(term, Transfer) for term in self.terms)


_ARGUMENTS = (
    f"{name}: {declared.text}{f' [{declared.unit}]' if declared.unit not in ('', '1') else ''}."
    for name, declared in SystolicArray.declarations.items()
)
SystolicArray.__doc__ = (SystolicArray.__doc__ or "").replace("{fields}", "\n        ".join(_ARGUMENTS))


class Adapted(NamedTuple):
    """A machine with some of its fields changed, and the names of those that the change left without effect."""

    array: SystolicArray
    dropped: tuple[str, ...]


def adapt(array: SystolicArray, optional: Mapping[str, Any] = MappingProxyType({}), /, **changes: Any) -> Adapted:
    """The machine with some fields changed; other fields that then have no effect return to their neutral value.

    ``dataclasses.replace`` refuses such a change instead.

    Args:
        array: the machine.
        optional: further changes, each of which is left out if it has no effect.
        changes: fields and their values.

    Raises:
        InvalidValueError: a change that is not allowed, or one of ``changes`` without effect.

    >>> drained = SystolicArray(8, 8, dataflow="os", fold_timing="serial", drains_outputs=True)
    >>> adapt(drained, dataflow="ws")
    Adapted(array=SystolicArray(rows=8, cols=8, clock_hz=1e9, dataflow='ws', fold_timing='serial'),
            dropped=('drains_outputs',))
    """
    fields, dropped = {**optional, **changes}, list[str]()
    while True:
        try:
            return Adapted(dataclasses.replace(array, **fields), tuple(dropped))
        except IdleFieldError as error:
            name = error.field.partition(".")[2]
            if name in changes:
                raise
            fields[name] = SystolicArray.declarations[name].neutral
            dropped.append(name)
