"""Named tables of energy figures, which a user chooses for a machine that has none of its own.

Published figures for one operation differ 5 times (a multiply-accumulate) to 11 times (a byte of DRAM), so no machine
has any by default, and results say which table they come from:

>>> from hwcost import SystolicArray
>>> array = with_energy(SystolicArray(16, 16, buffer_bytes=65536.0), "45nm-textbook")
>>> array.joules_per_mac, round(array.joules_per_sram_byte * 1e12, 2)
(2.3e-13, 3.35)
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hwcost.arrays import Size, Table, is_number, maximum, true_divide
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import Grid, SystolicArray, adapt
from hwcost.machine.energy import NEEDED, Energy
from hwcost.machine.fields import is_finite
from hwcost.machine.rows import Row, called, resolved, row_of, table
from hwcost.units import SIZES, in_unit

__all__ = ["ENERGIES", "EnergyTable", "Figure", "check_energy", "figures_of", "with_energy", "without_energy"]


class Figure(NamedTuple):
    """A figure of energy, in the unit of the field that it is for.

    Attributes:
        value: in joules, joules per byte or watts.
        status: "published", "derived" or "assumed".
        source: the publication, or the derivation.
    """

    value: Size
    status: str
    source: str


@dataclass(frozen=True)
class EnergyTable(Row):
    """A row of :data:`ENERGIES`.

    Args:
        name: of the table.
        node: the technology.
        source: the publication.
        figures: a function of the machine that returns a :class:`Figure` for each field of
            :class:`hwcost.machine.Energy` that the table knows; the three that energy needs among them.
        summary: one line for people.

    Raises:
        InvalidValueError: an empty name, something that cannot be called.

    >>> each = {name: Figure(1e-12, "assumed", "a guess") for name in NEEDED}
    >>> mine = EnergyTable("mine", "5 nm", "none", lambda array: each, "a picojoule for everything")
    >>> with_energy(SystolicArray(8, 8), mine).joules_per_dram_byte
    1e-12
    """

    functions = Table({"figures": "the machine that returns figures by field"})
    node: str
    source: str
    figures: Callable[[SystolicArray], Mapping[str, Figure]]
    summary: str


def with_energy(array: SystolicArray, energy: str | EnergyTable, *, memory_bytes: float | None = None) -> SystolicArray:
    """The machine with the figures of a table in place of its own.

    Args:
        array: the machine.
        energy: a name in :data:`ENERGIES`, or a row of your own.
        memory_bytes: the size of the memory next to an array that states no buffer.

    Raises:
        InvalidValueError: an unknown name, or a machine to which the table does not apply: it states no buffer or one
            that is too large, or has elements of another width.
    """
    if not isinstance(array, SystolicArray):
        raise InvalidValueError("array", array, "a SystolicArray; hwcost.load_device(name) is that of a device")
    figures = figures_of(array, energy, memory_bytes=memory_bytes)
    return dataclasses.replace(without_energy(array), **{name: each.value for name, each in figures.items()})


def figures_of(
    array: SystolicArray, energy: str | EnergyTable, *, memory_bytes: float | None = None
) -> dict[str, Figure]:
    """The figures of a table for a machine, by field, each with its status and source; arguments as for the machine.

    >>> figures_of(SystolicArray(16, 16, buffer_bytes=65536.0), "40nm-accelergy")["joules_per_dram_byte"].status
    'published'
    """
    row = resolved(ENERGIES, _ROW.check(energy, "energy", ""))
    if memory_bytes is not None and not array.has_buffers:  # fields for what is read again exclude a buffer
        kept = dict(array.part(Grid).as_dict(), bytes_per_element=array.bytes_per_element)
        array = SystolicArray(**kept, buffer_bytes=memory_bytes)
    figures = row.figures(array) if row.name in ENERGIES else called(row, "figures", array)
    if not isinstance(figures, Mapping) or not set(NEEDED) <= set(figures) <= set(Energy.declarations):
        allowed = f"figures of {', '.join(NEEDED)}, and of other fields of Energy"
        raise InvalidValueError(f"EnergyTable.figures of {row.name!r}", figures, allowed)
    return {name: Figure(*each) for name, each in figures.items()}


def without_energy(array: SystolicArray) -> SystolicArray:
    """The machine without figures of energy: what its time follows from.

    >>> without_energy(with_energy(SystolicArray(8, 8, buffer_bytes=8192.0), "45nm-textbook"))
    SystolicArray(rows=8, cols=8, clock_hz=1e9, dataflow='ws', fold_timing='ideal', buffer_bytes=8192.0)
    """
    if not array.has_energy:
        return array
    return adapt(array, **{name: declared.neutral for name, declared in Energy.declarations.items()}).array


def check_energy(array: SystolicArray) -> SystolicArray:
    """The machine; raises InvalidValueError if it has no figures of energy.

    >>> check_energy(with_energy(SystolicArray(8, 8, buffer_bytes=8192.0), "45nm-textbook")).has_energy
    True
    """
    if not array.has_energy:
        allowed = f"from hwcost import with_energy; with_energy(array, {next(iter(ENERGIES))!r}) gives it some"
        raise InvalidValueError("array", array, allowed, reason="there are no figures of energy")
    return array


# ---------------------------------------------------------------- rows


def _kilobytes(array: SystolicArray, table: str) -> Any:
    """Of the largest buffer that is not for outputs alone."""
    rooms = [room for room, operands in array.rooms if operands != ("outputs",)]
    if not rooms:
        allowed = f"the bytes of the memory next to the array, from which {table} has the energy of a byte"
        raise InvalidValueError("SystolicArray.buffer_bytes", MISSING, allowed)
    return true_divide(functools.reduce(maximum, rooms), 1024)


def _by_width(array: SystolicArray, name: str) -> Figure:
    size, known = array.bytes_per_element, _WIDTHS[name]
    if not is_number(size) or size not in known:
        tables = [other for other, widths in _WIDTHS.items() if is_number(size) and size in widths]
        widths = " or ".join(map(str, known))
        allowed = f"use {' or '.join(tables) or 'a table of your own'}, or a machine with elements of {_bytes(widths)}"
        raise InvalidValueError("energy", name, allowed, reason=f"the machine has elements of {_bytes(_text(size))}")
    return known[int(size)]


def _text(size: Size) -> str:
    return f"{size:g}" if is_number(size) else "several sizes in"


def _bytes(count: str) -> str:
    return f"{count} byte{'' if count == '1' else 's'}"


_HOROWITZ = 'M. Horowitz, "Computing\'s energy problem", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V'
_INTEGERS = {
    1: Figure(0.23e-12, "derived", f"int8: 0.2 pJ to multiply + 0.03 pJ to add; {_HOROWITZ}"),
    2: Figure(
        (math.sqrt(0.2 * 3.1) + math.sqrt(0.03 * 0.1)) * 1e-12, "derived",
        f"int16: geometric means of 8 and 32 bits, to multiply and to add; {_HOROWITZ}",
    ),
    4: Figure(3.2e-12, "derived", f"int32: 3.1 pJ to multiply + 0.1 pJ to add; {_HOROWITZ}"),
}  # fmt: skip
_FLOATS = {
    2: Figure(1.5e-12, "derived", f"float16: 1.1 pJ to multiply + 0.4 pJ to add; {_HOROWITZ}"),
    4: Figure(4.6e-12, "derived", f"float32: 3.7 pJ to multiply + 0.9 pJ to add; {_HOROWITZ}"),
}
_CACHE = f"power law through 10 pJ at 8 kB and 100 pJ at 1 MB for 64 bits{{beyond}}; {_HOROWITZ}"
_EXPONENT = math.log(10) / math.log(128)
_DRAM = Figure(math.sqrt(1.3 * 2.6) / 8 * 1e-9, "derived", f"geometric mean of 1.3 and 2.6 nJ for 64 bits; {_HOROWITZ}")


def _textbook(name: str) -> Callable[[SystolicArray], Mapping[str, Figure]]:
    def of_size(kilobytes: Any) -> Figure:
        is_between = not is_number(kilobytes) or 8 <= kilobytes <= 1024
        source = _CACHE.format(beyond="" if is_between else ", here beyond them")
        return Figure(1.25e-12 * (kilobytes / 8) ** _EXPONENT, "derived" if is_between else "assumed", source)

    def figures(array: SystolicArray) -> dict[str, Figure]:
        found = {
            "joules_per_mac": _by_width(array, name),
            "joules_per_sram_byte": of_size(_kilobytes(array, name)),
            "joules_per_dram_byte": _DRAM,
        }
        own: Any = array.output_buffer_bytes
        return found | ({"joules_per_accumulator_byte": of_size(own / 1024)} if is_finite(own) else {})

    return figures


_ACCELERGY = "Accelergy (Wu et al., ICCAD 2019) at 40 nm, as DOSA (Hong et al., MICRO 2023) uses it for Gemmini"


_OF_GEMMINI = {
    1: Figure((0.5608 + 0.48746) * 1e-12, "derived", f"int8: 0.5608 pJ + 0.48746 pJ of its register; {_ACCELERGY}")
}
_WIDTHS = {"45nm-textbook": _INTEGERS, "45nm-textbook-fp": _FLOATS, "40nm-accelergy": _OF_GEMMINI}
"""A multiply-accumulate by the bytes of its operands, for each table."""


def _accelergy(array: SystolicArray) -> dict[str, Figure]:
    name = "40nm-accelergy"
    mac, kilobytes = _by_width(array, name), _kilobytes(array, name)
    own: Any = array.output_buffer_bytes
    if is_number(kilobytes) and kilobytes > 1024:
        size = in_unit(kilobytes * 1024, SIZES, 4)
        reason = f"it has figures of scratchpads of 127 to 261 kB, and the memory has {size}"
        raise InvalidValueError("energy", name, "use 45nm-textbook, or a buffer of at most 1 MiB", reason=reason)
    found = {
        "joules_per_mac": mac,
        "joules_per_sram_byte": Figure(
            (0.02513 * kilobytes + 0.49) * 1e-12, "derived", f"(0.02513 for each kB + 0.49) pJ; {_ACCELERGY}"
        ),
        "joules_per_dram_byte": Figure(100e-12, "published", _ACCELERGY),
    }
    if is_finite(own):
        words = f"(0.1005 for each kB of one of 16 banks + 1.94) pJ for 4 bytes; {_ACCELERGY}"
        value = (0.1005 * own / 1024 / 16 + 1.94) / 4 * 1e-12
        found["joules_per_accumulator_byte"] = Figure(value, "derived", words)
    return found


ENERGIES: Mapping[str, EnergyTable] = table(
    EnergyTable(
        "45nm-textbook", "45 nm", _HOROWITZ, _textbook("45nm-textbook"),
        "integers by the bytes of an element; caches by the size of the buffer; DRAM at 230 pJ a byte",
    ),
    EnergyTable(
        "45nm-textbook-fp", "45 nm", _HOROWITZ, _textbook("45nm-textbook-fp"),
        "the same with floating-point numbers of 16 and 32 bits",
    ),
    EnergyTable(
        "40nm-accelergy", "40 nm", _ACCELERGY, _accelergy,
        "int8 on a Gemmini; scratchpads by the size of the buffer; DRAM at 100 pJ a byte",
    ),
)  # fmt: skip
"""Tables of energy figures that ship, by name."""

_ROW = row_of(ENERGIES, EnergyTable)
