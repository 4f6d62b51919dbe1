"""A device file as values: entries with their sources, and the array that they make."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from hwcost.arrays import Table
from hwcost.devices.checks import FIELDS, as_plain, check_number, check_text, checked_table, checked_texts
from hwcost.devices.measured import Fit, beyond_ranges, doubts, error_in_words, is_beyond, margin_at, unfitted
from hwcost.errors import MISSING, Faults, InvalidValueError, check_one_of, did_you_mean, unknown
from hwcost.machine.array import SystolicArray
from hwcost.tables import Column, Document, Documents, Lines, as_dataframe
from hwcost.units import with_unit

__all__ = ["FACT_UNITS", "FIELD_UNITS", "STATUSES", "UNITS", "DeviceFile", "Entry", "check_device_name"]

Value: TypeAlias = bool | int | float | str | tuple[float, ...]

SCHEMA = "hwcost.device/1"
STATUSES = ("published", "derived", "assumed")
"""Where a number comes from: it was published, it follows from published numbers, or it is a guess."""

REQUIRED = tuple(f.name for f in dataclasses.fields(SystolicArray) if not f.kw_only)
ENTRY = "a table of value, unit, status and source"

FIELD_UNITS: Mapping[str, str] = Table({name: each.unit for name, each in FIELDS.items()})
"""The unit of each field of an array; empty for names and switches."""

FACT_UNITS: Mapping[str, str] = Table(
    {
        "arrays_per_chip": "1",
        "peak_ops_per_s": "op/s",
        "on_chip_bytes": "B",
        "dram_bytes": "B",
        "dram_bytes_per_s": "B/s",
    }
)
"""Facts that mean the same in every file. Peak and bandwidth are those of the chip; a MAC is two operations."""

UNITS = ("", "1", "PE", "row", "filter", "cycle", "Hz", "s", "B", "B/s", "op/s", "m2", "V", "W", "J", "J/B")
"""The units of facts; empty for text and truth values."""

MOST_BYTES = 2**20
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_MORE = re.compile(r", or an array of them|; or a \w+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/array)?")


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Entry:
    """A value of a device file, with its source.

    Args:
        value: a number in the unit, a list of numbers, a text, or a truth value.
        unit: a unit of :data:`hwcost.devices.UNITS`.
        status: one of :data:`hwcost.devices.STATUSES`.
        source: the publication, or the derivation.

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
        given: Any = self.value
        numbers = tuple(map(as_plain, given)) if isinstance(given, (tuple, list)) else None
        object.__setattr__(self, "value", as_plain(given) if numbers is None else numbers)
        faults = Faults()
        with faults.caught():
            self._check_value(numbers)
        with faults.caught():
            check_one_of("Entry.unit", self.unit, UNITS)
        with faults.caught():
            check_one_of("Entry.status", self.status, STATUSES)
        with faults.caught():
            check_text(self.source, "Entry.source")
        faults.check()

    def _check_value(self, numbers: tuple[Any, ...] | None) -> None:
        if numbers is not None:
            for index, number in enumerate(numbers):
                check_number(number, f"Entry.value[{index}]")
        elif isinstance(self.value, str):
            check_text(self.value, "Entry.value")
        elif not isinstance(self.value, bool):
            check_number(self.value, "Entry.value", finite=False)

    @property
    def in_words(self) -> str:
        """The value with a prefix and its unit.

        >>> Entry(819e9, "B/s", "published", "a page").in_words
        '819 GB/s'
        """
        return with_unit(self.value, self.unit)

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values for JSON; infinity is "inf"."""
        return dataclasses.asdict(self) | {"value": "inf" if self.value == math.inf else self.value}


@dataclass(frozen=True, repr=False)
class DeviceFile(Lines):
    """A device file. The array is built from the entries, so each of its numbers has a source. It prints all of them.

    Args:
        name: letters, digits, dots, dashes, underscores; that of one array of a chip ends in "/array".
        summary: one line.
        notes: limits of the model for this device.
        entries: fields of :class:`hwcost.SystolicArray`; the positional ones are needed, others have a default.
        facts: facts about the chip; :data:`FACT_UNITS` lists those that mean the same in every file.
        fit: for calibrated devices.

    Attributes:
        array: the machine.

    Raises:
        InvalidValueError: an unknown field, a missing one, a wrong type or unit, a value that the array refuses.

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
        for name, check in TEXTS.items():
            check(getattr(self, name), f"DeviceFile.{name}")
        object.__setattr__(self, "notes", tuple(self.notes))
        entries = _checked_entries(self.entries)
        facts = _checked_facts(self.facts)
        if self.fit is not None and not isinstance(self.fit, Fit):
            raise InvalidValueError("DeviceFile.fit", self.fit, "a Fit, or None")
        object.__setattr__(self, "entries", Table(entries))
        object.__setattr__(self, "facts", Table(facts))
        object.__setattr__(self, "array", array_of(entries))

    def lines(self, width: int = 100) -> Iterator[str]:
        """Every number with its source, as ``hwcost devices show`` prints them, in lines of a width."""
        yield f"{self.name}: {self.summary}"
        for title, entries in (("the array", self.entries), ("the chip", self.facts)):
            if entries:
                yield ""
                yield title
            for name, entry in entries.items():
                yield f"  {name:<20} {entry.in_words:<18} {entry.status}"
                yield from _wrapped(entry.source, width, 23)
        if self.fit is not None:
            yield ""
            yield "calibrated"
            yield from _wrapped(f"to {self.fit.data}; {self.fit.source}; licence: {self.fit.licence}", width, 2)
            for name, text in (error_in_words(*each) for each in self.fit.errors.items()):
                yield f"  {name:<30} {text}"
            for name, ends in self.fit.ranges.items():
                yield f"  measured {name:<21} {ends.in_words}"
            yield f"  {'determined by the data':<30} {', '.join(self.fit.identified) or 'nothing'}"
            yield f"  {'not determined by the data':<30} {', '.join(self.fit.not_identified) or 'nothing'}"
        if self.notes:
            yield ""
            yield "notes"
        for note in self.notes:
            yield from _wrapped(note, width, 4, bullet="- ")

    def document(self) -> Documents:
        """Every number with its source, as a table; what it was fitted to; notes."""
        columns = [
            Column[tuple[str, Entry]]("", lambda row: row[0], to_the_left=True),
            Column[tuple[str, Entry]]("value", lambda row: row[1].in_words, to_the_left=True),
            Column[tuple[str, Entry]]("status", lambda row: row[1].status, to_the_left=True),
            Column[tuple[str, Entry]]("source", lambda row: row[1].source, to_the_left=True, wraps=True),
        ]
        parts = [
            Document(title, columns, list(entries.items()))
            for title, entries in (("the array", self.entries), ("the chip", self.facts))
            if entries
        ]
        if self.fit is not None:
            parts.append(dataclasses.replace(self.fit.document(), heading=f"calibrated {self.fit.in_words}"))
        notes = Document(below={f" {index}": f"- {note}" for index, note in enumerate(self.notes)})
        return Documents([Document(f"{self.name}: {self.summary}"), *parts, notes])

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each number: of what it is, its name, value, unit, status and source."""
        return [
            {"of": of, "name": name, **entry.as_dict()}
            for of, entries in (("array", self.entries), ("chip", self.facts))
            for name, entry in entries.items()
        ]

    def to_dataframe(self) -> Any:
        """The records as a DataFrame of pandas.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return as_dataframe(self.records())

    @property
    def in_words(self) -> str:
        """The device on one line."""
        calibrated = "" if self.fit is None else ", calibrated"
        return f"{self.name}: {self.summary}; {self.array.in_words}{calibrated}"

    @property
    def memory_bytes(self) -> float | None:
        """The memory on the chip that the file states; None if it does not."""
        stated: Any = self.facts["on_chip_bytes"].value if "on_chip_bytes" in self.facts else None
        return None if stated is None else float(stated)

    def as_dict(self) -> dict[str, Any]:
        """The file as plain values, in reading order."""
        return {
            "name": self.name,
            "summary": self.summary,
            "notes": list(self.notes),
            "array": {name: entry.as_dict() for name, entry in self.entries.items()},
            "facts": {name: entry.as_dict() for name, entry in self.facts.items()},
            "fit": None if self.fit is None else self.fit.as_dict(),
        }

    @property
    def doubts(self) -> list[str]:
        """Sentences on why the fit is not to be believed; empty if it may be, or the numbers were not fitted."""
        return [] if self.fit is None else [*doubts(self.fit.errors), *self.fit.doubts]

    def interval(self, parts: Iterable[tuple[Any, Any]]) -> tuple[Any, Any] | None:
        """The ends between which 9 of 10 latencies lie; None for a device without held-out measurements.

        Args:
            parts: layers with their seconds; several are a network, and their errors are taken to go together. Sizes
                and seconds may be arrays, and so are then the ends.

        >>> from hwcost import Conv2d, layer_cost
        >>> from hwcost.devices import read_device
        >>> device, layer = read_device("gemmini-firesim"), Conv2d(64, 64, 3, height=28, width=28, padding=1)
        >>> [round(end, 2) for end in device.interval([(layer, 1.0)])]
        [0.73, 1.36]
        """
        low: Any = 0.0
        high: Any = 0.0
        for layer, seconds in parts:
            margin = None if self.fit is None else margin_at(self.fit.errors, self.fit.ranges, layer)
            if margin is None:
                return None
            low, high = low + seconds * np.exp(-margin), high + seconds * np.exp(margin)
        if np.ndim(high):
            return low, high
        return (float(low), float(high)) if high else None

    def beyond(self, layer: Any) -> list[str]:
        """Sentences on why a layer is beyond what was measured; empty if it is not, or nothing was measured.

        A size is outside of the measured ranges; or a layer without products, like :class:`hwcost.network.run.Ends`,
        is limited by a field that is neither published nor fitted.
        """
        if self.fit is None:
            return []
        if layer.gemms():
            return beyond_ranges(self.fit.ranges, layer)
        fields = (
            name
            for move in getattr(layer, "moves", tuple)()
            for name in (move.rate, move.cycles)
            if name in self.entries
        )
        published = (name for name, entry in self.entries.items() if entry.status == "published")
        return unfitted(fields, self.fit.identified, published)

    def is_beyond(self, layer: Any) -> Any:
        """Whether a layer is outside of the measured ranges, an array for sizes that are arrays.

        None for a device that was not fitted to measurements.
        """
        return None if self.fit is None else is_beyond(self.fit.ranges, layer)


def check_device_name(name: object, place: str) -> None:
    """Raises unless a device may have the name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidValueError(place, name, "letters, digits, dots, dashes and underscores")


def _check_summary(summary: object, place: str) -> None:
    check_text(summary, place, one_line=True)


TEXTS: dict[str, Callable[[Any, str], Any]] = {
    "name": check_device_name, "summary": _check_summary, "notes": checked_texts,
}  # fmt: skip
"""The texts of a device, and what raises for one that is not allowed, from the text and its place."""


def _checked_entries(given: Any) -> dict[str, Entry]:
    entries = checked_table(given, "DeviceFile.array")
    for name in REQUIRED:
        if name not in entries:
            raise InvalidValueError(f"DeviceFile.array.{name}", MISSING, ENTRY)
    _check_each(entries, "DeviceFile.array", check_field)
    return entries


def _checked_facts(given: Any) -> dict[str, Entry]:
    facts = checked_table(given, "DeviceFile.facts")
    _check_each(facts, "DeviceFile.facts", check_fact)
    return facts


def _check_each(entries: Mapping[str, Any], table: str, check: Callable[[str, str, Any, Any], None]) -> None:
    for name, entry in entries.items():
        if not isinstance(entry, Entry):
            raise InvalidValueError(f"{table}.{name}", entry, "an Entry: value, unit, status and source")
        check(table, name, entry.value, entry.unit)


def check_field(table: str, name: str, value: Any, unit: Any) -> None:
    """Raises unless a field of an array takes a value of a table, in its unit."""
    if name not in FIELDS:
        raise InvalidValueError(table, name, tuple(FIELDS), form=unknown("key").replace("{closest}", _meant(name)))
    known, place = FIELDS[name], f"{table}.{name}"
    if type(value) not in known.kind.types:
        raise InvalidValueError(f"{place}.value", value, known.kind.allowed)
    if unit != known.unit:
        raise InvalidValueError(f"{place}.unit", unit, repr(known.unit))
    try:
        known.check(value, name)
    except InvalidValueError as error:
        raise _in_a_file(error, f"{place}.value") from None


_CLOSE = 0.8
"""From which likeness on a key is meant as a field's name, or as a word of what it is."""


def _meant(name: str) -> str:
    """A question that offers the field of a close name, or else the first with a close word in its words."""
    import difflib

    for known, each in FIELDS.items() if not difflib.get_close_matches(name, FIELDS, 1, _CLOSE) else ():
        if difflib.get_close_matches(name, re.findall("[a-z]{5,}", each.words.lower()), 1, _CLOSE):
            return f" (did you mean {known!r}, {each.words}?)"
    return did_you_mean(name, FIELDS)


def check_fact(table: str, name: str, value: Any, unit: Any) -> None:
    """Raises unless a value and its unit make a fact of a table."""
    if not _WORD.fullmatch(name):
        raise InvalidValueError(f"a key of {table}", name, "lower-case letters, digits and underscores")
    has_unit = not isinstance(value, (bool, str))
    if has_unit or name in FACT_UNITS:
        check_number(value, f"{table}.{name}.value")
    units = (FACT_UNITS[name],) if name in FACT_UNITS else UNITS[1:] if has_unit else UNITS[:1]
    check_one_of(f"{table}.{name}.unit", unit, units)


def array_of(entries: Mapping[str, Entry]) -> SystolicArray:
    values: dict[str, Any] = {name: entry.value for name, entry in entries.items()}
    try:
        return SystolicArray(**values)
    except InvalidValueError as error:
        raise _in_a_file(error, f"DeviceFile.array.{error.field.partition('.')[2]}.value") from None


def _in_a_file(error: InvalidValueError, place: str) -> InvalidValueError:
    """The error of a field, of which a file holds neither arrays nor rows of the caller's."""
    allowed = _MORE.sub("", error.allowed)
    return InvalidValueError(place, error.value, allowed, reason=error.reason, names=error.names)


def _wrapped(text: str, width: int, indent: int, bullet: str = "") -> list[str]:
    import textwrap

    blank = " " * indent
    first = blank[len(bullet) :] + bullet
    return textwrap.wrap(text, max(width, 40), initial_indent=first, subsequent_indent=blank)
