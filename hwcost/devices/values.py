"""What a device file says, as values: entries with their sources, and the array that is made of them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from hwcost.arrays import Size, if_concrete, is_number, is_real, to_numpy
from hwcost.devices.checks import (
    as_plain,
    check_number,
    check_one_of,
    check_text,
    checked_table,
    checked_texts,
)
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.layers import Gemm

__all__ = [
    "FACT_UNITS",
    "FIELD_UNITS",
    "MEASURED",
    "STATUSES",
    "UNITS",
    "DeviceFile",
    "Entry",
    "Fit",
    "Range",
    "beyond_ranges",
]

Value: TypeAlias = bool | int | float | str

SCHEMA = "hwcost.device/1"
STATUSES = ("published", "derived", "assumed")
"""Where a number comes from: somebody published it, it follows from numbers that were, or nobody did."""

FIELDS = {name: each for name, each in SystolicArray.declarations.items() if each.kind.types}
"""The fields of an array that a file can hold."""
REQUIRED = tuple(f.name for f in dataclasses.fields(SystolicArray) if not f.kw_only)

FIELD_UNITS: Mapping[str, str] = MappingProxyType({name: each.unit for name, each in FIELDS.items()})
"""The unit of each field of an array; names and switches have the empty one."""

FACT_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "arrays_per_chip": "1",
        "peak_ops_per_s": "op/s",
        "on_chip_bytes": "B",
        "dram_bytes": "B",
        "dram_bytes_per_s": "B/s",
    }
)
"""Facts that mean the same in every file. Peak and bandwidth are the chip's; a MAC is two operations."""

UNITS = ("", "1", "PE", "row", "filter", "cycle", "Hz", "s", "B", "B/s", "op/s", "m2", "V", "W", "J")
"""Every unit that a fact may have; the empty one stands beside text and truth values."""

_SCALED = ("Hz", "B", "B/s", "op/s")
_PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))

MEASURED = ("m", "n", "k", "macs")
MOST_BYTES = 2**20
_WORD = re.compile(r"[a-z][a-z0-9_]*")
DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Entry:
    """A value of a device file, and why it should be believed.

    Args:
        value: a number in the unit, a text, or a truth value.
        unit: a unit of :data:`hwcost.devices.UNITS`.
        status: one of :data:`hwcost.devices.STATUSES`.
        source: where it stands, or how it was worked out.

    Raises:
        InvalidValueError: a number that is negative or NaN, an integer that 64 bits do not hold, an unknown unit or
            status, an empty source.

    >>> Entry(700e6, "Hz", "published", "Jouppi et al., ISCA 2017, table 2").unit
    'Hz'
    """

    value: Value
    unit: str
    status: str
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", as_plain(self.value))
        if isinstance(self.value, str):
            check_text(self.value, "Entry.value")
        elif not isinstance(self.value, bool):
            check_number(self.value, "Entry.value", finite=False)
        check_one_of(self.unit, "Entry.unit", UNITS)
        check_one_of(self.status, "Entry.status", STATUSES)
        check_text(self.source, "Entry.source")

    @property
    def in_words(self) -> str:
        """The value in the unit that people read.

        >>> Entry(819e9, "B/s", "published", "a page").in_words
        '819 GB/s'
        """
        value, unit = self.value, self.unit
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return value
        if unit in _SCALED and math.isfinite(value):
            scale, prefix = next(((scale, prefix) for scale, prefix in _PREFIXES if value >= scale), (1, ""))
            return f"{value / scale:.6g} {prefix}{unit}"
        return f"{value:.6g} {unit}" if unit not in ("", "1") else f"{value:.6g}"

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values that JSON holds too: infinity is "inf"."""
        return dataclasses.asdict(self) | {"value": "inf" if self.value == math.inf else self.value}


@dataclass(frozen=True)
class Range:
    """The smallest and the largest size among the measured layers.

    Raises:
        InvalidValueError: an end that is no finite number of at least 0, or the low one above the high one.

    >>> Range(16, 12544)
    Range(low=16, high=12544)
    """

    low: int | float
    high: int | float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, as_plain(getattr(self, name)))
            check_number(getattr(self, name), f"Range.{name}")
        if self.low > self.high:
            raise InvalidValueError("Range.low", self.low, f"at most {self.high}, where the range ends")


@dataclass(frozen=True)
class Fit:
    """What a calibrated device was fitted to, and how well.

    Args:
        data: what was measured.
        source: where the measurements come from.
        licence: theirs.
        errors: figures by name, as relative errors are: 0.05 is 5 %.
        identified: fields of the array that the data determine.
        not_identified: fields that were left at a default, or that other values would fit as well.
        ranges: the sizes m, n, k and the macs of the measured layers; any of the four.

    Raises:
        InvalidValueError: an empty text, a field that an array does not have, a figure that is no number.

    >>> import dataclasses
    >>> from hwcost.devices import read_device
    >>> fit = Fit("40 layers", "our test bench", "CC0-1.0", {"median": 0.04}, ranges={"k": Range(27, 4608)})
    >>> machine = read_device("gemmini")
    >>> dataclasses.replace(machine, fit=fit).beyond(m=100, n=64, k=9216)
    ['k is 9216, but layers of 27 to 4608 were measured']
    """

    data: str
    source: str
    licence: str
    errors: Mapping[str, int | float]
    identified: tuple[str, ...] = ()
    not_identified: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("data", "source", "licence"):
            check_text(getattr(self, name), f"Fit.{name}")
        errors = {key: as_plain(value) for key, value in checked_table(self.errors, "Fit.errors").items()}
        for key, value in errors.items():
            check_text(key, "Fit.errors", one_line=True)
            check_number(abs(value) if is_real(value) else value, f"Fit.errors.{key}")  # correlations may be below 0
        for name in ("identified", "not_identified"):
            fields = checked_texts(getattr(self, name), f"Fit.{name}")
            for index, text in enumerate(fields):
                check_one_of(text, f"Fit.{name}[{index}]", tuple(FIELD_UNITS))
            object.__setattr__(self, name, fields)
        ranges = checked_table(self.ranges, "Fit.range")
        for key, value in ranges.items():
            check_one_of(key, "Fit.range", MEASURED)
            if not isinstance(value, Range):
                raise InvalidValueError(f"Fit.range.{key}", value, "a Range")
        object.__setattr__(self, "errors", MappingProxyType(errors))
        object.__setattr__(self, "ranges", MappingProxyType(ranges))

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "data": self.data,
            "source": self.source,
            "licence": self.licence,
            "identified": list(self.identified),
            "not_identified": list(self.not_identified),
            "errors": dict(self.errors),
            "range": {name: dataclasses.asdict(ends) for name, ends in self.ranges.items()},
        }

    def __reduce__(self) -> tuple[Any, ...]:  # mapping proxies can be neither copied nor pickled
        values = (self.data, self.source, self.licence, dict(self.errors))
        return Fit, (*values, self.identified, self.not_identified, dict(self.ranges))


@dataclass(frozen=True)
class DeviceFile:
    """All that a device file says. The array is made of its entries, so that no number of it is without a source.

    Args:
        name: letters, digits, dots, dashes, underscores.
        summary: one line.
        notes: limits of the model for this device.
        entries: fields of :class:`hwcost.SystolicArray`, rows, cols, clock_hz, dataflow and fold_timing among them;
            what is not there is the constructor's default.
        facts: what else is known; :data:`FACT_UNITS` names those that mean the same everywhere.
        fit: for calibrated devices.

    Attributes:
        array: the machine.

    Raises:
        InvalidValueError: an unknown field, one that is required and missing, one of another type or unit, a value
            that the array refuses.

    >>> from hwcost.devices import read_device
    >>> device = read_device("tpu-v1")
    >>> device.entries["clock_hz"].status, device.facts["peak_ops_per_s"].value
    ('published', 92000000000000.0)
    """

    name: str
    summary: str
    notes: tuple[str, ...]
    entries: Mapping[str, Entry]
    facts: Mapping[str, Entry] = field(default_factory=dict)
    fit: Fit | None = None
    array: SystolicArray = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not DEVICE_NAME.fullmatch(self.name):
            raise InvalidValueError("DeviceFile.name", self.name, "letters, digits, dots, dashes and underscores")
        check_text(self.summary, "DeviceFile.summary", one_line=True)
        object.__setattr__(self, "notes", checked_texts(self.notes, "DeviceFile.notes"))
        entries, facts = (
            checked_table(self.entries, "DeviceFile.array"),
            checked_table(self.facts, "DeviceFile.facts"),
        )
        _check_entries(entries)
        _check_facts(facts)
        if self.fit is not None and not isinstance(self.fit, Fit):
            raise InvalidValueError("DeviceFile.fit", self.fit, "a Fit, or None")
        object.__setattr__(self, "entries", MappingProxyType(entries))
        object.__setattr__(self, "facts", MappingProxyType(facts))
        object.__setattr__(self, "array", _array_of(entries))

    def __reduce__(self) -> tuple[Any, ...]:
        return DeviceFile, (self.name, self.summary, self.notes, dict(self.entries), dict(self.facts), self.fit)

    def as_dict(self) -> dict[str, Any]:
        """All that the file says, as plain values, in the order in which people read it."""
        return {
            "name": self.name,
            "summary": self.summary,
            "notes": list(self.notes),
            "array": {name: entry.as_dict() for name, entry in self.entries.items()},
            "facts": {name: entry.as_dict() for name, entry in self.facts.items()},
            "fit": None if self.fit is None else self.fit.as_dict(),
        }

    def beyond(self, m: Size, n: Size, k: Size, count: Size = 1) -> list[str]:
        """What of a product lies outside of the layers that the device was fitted to.

        Args:
            m, n, k, count: of :class:`hwcost.Gemm`, as a layer's ``gemms()`` give them; arrays are a sweep.

        Returns:
            A sentence for each size that does; none where all were measured, or where the file does not say what was.

        Raises:
            InvalidValueError: a size that is no positive integer, nor an array of them.

        >>> from hwcost.devices import read_device
        >>> read_device("tpu-v1").beyond(m=1, n=1, k=1)
        []
        """
        ranges = {} if self.fit is None else self.fit.ranges
        return beyond_ranges({name: (ends.low, ends.high) for name, ends in ranges.items()}, Gemm(m, n, k, count))


def beyond_ranges(ranges: Mapping[str, tuple[float, float]], gemm: Gemm) -> list[str]:
    """A sentence for each size of a product that lies outside of the range of the measured ones.

    >>> beyond_ranges({"m": (16, 100)}, Gemm(m=400, n=8, k=8))
    ['m is 400, but layers of 16 to 100 were measured']
    """
    found = ((name, _ends(getattr(gemm, name)), low, high) for name, (low, high) in ranges.items())
    return [
        f"{name} {_said(*ends)}, but layers of {low} to {high} were measured"
        for name, ends, low, high in found
        if ends is not None and not (low <= ends[0] and ends[1] <= high)
    ]


def _check_entries(entries: dict[str, Any]) -> None:
    for name in entries:
        check_one_of(name, "DeviceFile.a key of array", tuple(FIELDS))
    for name in REQUIRED:
        if name not in entries:
            raise InvalidValueError(f"DeviceFile.array.{name}", MISSING, "a table of value, unit, status and source")
    for name, entry in entries.items():
        place = f"DeviceFile.array.{name}"
        _check_entry(entry, place)
        known = FIELDS[name]
        if type(entry.value) not in known.kind.types:
            raise InvalidValueError(f"{place}.value", entry.value, known.kind.allowed)
        if entry.unit != known.unit:
            raise InvalidValueError(f"{place}.unit", entry.unit, repr(known.unit))


def _check_facts(facts: dict[str, Any]) -> None:
    for name, entry in facts.items():
        place = f"DeviceFile.facts.{name}"
        if not _WORD.fullmatch(name):
            raise InvalidValueError("DeviceFile.a key of facts", name, "lower-case letters, digits and underscores")
        _check_entry(entry, place)
        has_unit = not isinstance(entry.value, (bool, str))
        if has_unit or name in FACT_UNITS:
            check_number(entry.value, f"{place}.value")
        units = (FACT_UNITS[name],) if name in FACT_UNITS else UNITS[1:] if has_unit else UNITS[:1]
        check_one_of(entry.unit, f"{place}.unit", units)


def _check_entry(entry: Any, place: str) -> None:
    if not isinstance(entry, Entry):
        raise InvalidValueError(place, entry, "an Entry: value, unit, status and source")


def _array_of(entries: Mapping[str, Entry]) -> SystolicArray:
    values: dict[str, Any] = {name: entry.value for name, entry in entries.items()}
    try:
        return SystolicArray(**values)
    except InvalidValueError as error:
        place = f"DeviceFile.array.{error.field.partition('.')[2]}.value"
        # a file holds neither arrays nor rows of the caller's
        raise error.at(
            place, allowed=error.allowed.replace(", or an array of them", "").partition("; or a ")[0]
        ) from None


def _ends(size: Size) -> tuple[Any, Any] | None:
    """The smallest and the largest value; None where there are none, or where a compiler traces."""
    if is_number(size):
        return size, size

    def look() -> tuple[Any, Any] | None:
        values = to_numpy(size)
        return (values.min().item(), values.max().item()) if values.size else None

    return if_concrete(size, look)


def _said(low: Any, high: Any) -> str:
    return f"is {low}" if low == high else f"runs from {low} to {high}"
