"""Devices by name: files that say what a machine is, with a unit, a status and a source beside each number.

>>> from hwcost.presets import load_device
>>> array = load_device("tpu-v1")
>>> array.rows, array.cols, array.clock_hz
(256, 256, 700000000.0)

A device file is TOML. ``[array.FIELD]`` gives a field of :class:`hwcost.SystolicArray`, ``[facts.NAME]`` a number that
is no field (the published peak, how many arrays the chip has), ``[fit]`` what a calibrated device was fitted to. Files
that ship with the package lie in ``hwcost/devices``; a new one there is found, and tested, by its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from hwcost._arrays import Size, inspect, is_number, is_real, to_numpy
from hwcost.device import SystolicArray
from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.layers import Gemm

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = [
    "FACT_UNITS",
    "FIELD_UNITS",
    "STATUSES",
    "UNITS",
    "DeviceFile",
    "Entry",
    "Fit",
    "Range",
    "device_names",
    "load_device",
    "read_device",
    "write_device",
]

Value: TypeAlias = bool | int | float | str

SCHEMA = "hwcost.device/1"
STATUSES = ("published", "derived", "assumed")
"""Where a number comes from: somebody published it, it follows from numbers that were, or nobody did."""

# ---------------------------------------------------------------- tables

_INTEGER = ((int,), "an integer")
_NUMBER = ((int, float), "a number")
_NAME = ((str,), "a text in quotes")
_SWITCH = ((bool,), "true or false")
_FIELDS: Mapping[str, tuple[str, tuple[tuple[type, ...], str]]] = {
    "rows": ("PE", _INTEGER),
    "cols": ("PE", _INTEGER),
    "clock_hz": ("Hz", _NUMBER),
    "dataflow": ("", _NAME),
    "fold_timing": ("", _NAME),
    "lowering": ("", _NAME),
    "row_stairs": ("1", _NUMBER),
    "col_stairs": ("1", _NUMBER),
    "max_streamed": ("row", _INTEGER),
    "min_streamed": ("row", _NUMBER),
    "drains_outputs": ("", _SWITCH),
    "starts_up": ("", _SWITCH),
    "counts_last_fold": ("", _SWITCH),
    "cycles_per_row": ("cycle", _NUMBER),
    "cycles_per_fold": ("cycle", _NUMBER),
    "cycles_per_layer": ("cycle", _NUMBER),
    "accumulators": ("1", _INTEGER),
    "cycles_per_block": ("cycle", _NUMBER),
    "rereads_inputs": ("", _SWITCH),
    "bytes_per_element": ("B", _NUMBER),
    "dram_bytes_per_s": ("B/s", _NUMBER),
    "weight_bytes_per_s": ("B/s", _NUMBER),
    "input_bytes_per_s": ("B/s", _NUMBER),
    "output_bytes_per_s": ("B/s", _NUMBER),
    "reread_bytes_per_s": ("B/s", _NUMBER),
    "filter_block": ("filter", _NUMBER),
    "overlap": ("1", _NUMBER),
}
_REQUIRED = ("rows", "cols", "clock_hz", "dataflow", "fold_timing")

FIELD_UNITS: Mapping[str, str] = MappingProxyType({name: unit for name, (unit, _) in _FIELDS.items()})
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

_MEASURED = ("m", "n", "k", "macs")
_MOST_BYTES = 2**20
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# ---------------------------------------------------------------- checks


class _Words(str):
    """What an error shows without quotes where a value would stand."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_MISSING = _Words("missing")


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Puts errors from inside where they belong: what was wrong with ``Entry.unit`` is now with ``PLACE.unit``."""
    try:
        yield
    except InvalidValueError as error:
        raise InvalidValueError(place + error.field.partition(".")[2], error.value, error.allowed) from None


def _check_text(value: Any, place: str, *, one_line: bool = False) -> None:
    allowed = f"a text in quotes that is not empty{', on one line' if one_line else ''}"
    if not isinstance(value, str) or not value.strip() or (one_line and len(value.splitlines()) > 1):
        raise InvalidValueError(place, value, allowed)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(place, value, f"{allowed}, of characters that UTF-8 can hold") from None


def _check_one_of(value: Any, place: str, names: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in names:
        raise InvalidValueError(place, value, f"one of: {', '.join(name or repr(name) for name in names)}")


def _checked_table(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValueError(place, value, "a table")
    for key in value:
        if not isinstance(key, str):
            raise InvalidValueError(f"a key of {place}", key, "a text")
    return dict(value)


def _checked_texts(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValueError(place, value, "an array of texts")
    for index, text in enumerate(value):
        _check_text(text, f"{place}[{index}]")
    return tuple(value)


def _as_plain(value: Any) -> Any:
    """Numpy's numbers as Python's, which is what files hold; everything else as it is."""
    if is_real(value) and type(value) not in (int, float):
        return int(value) if hasattr(value, "__index__") else float(value)
    return value


def _check_number(value: Any, place: str, *, finite: bool = True) -> None:
    allowed = f"a {'finite ' if finite else ''}number of at least 0"
    if type(value) is int:
        if not 0 <= value < 2**63:
            raise InvalidValueError(place, value, f"{allowed}, integers in 64 bits")
    elif type(value) is not float or not 0 <= value <= math.inf or (finite and value == math.inf):
        raise InvalidValueError(place, value, allowed)


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Entry:
    """A value of a device file, and why it should be believed.

    Args:
        value: a number in the unit, a text, or a truth value.
        unit: a unit of :data:`UNITS`.
        status: one of :data:`STATUSES`.
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
        object.__setattr__(self, "value", _as_plain(self.value))
        if isinstance(self.value, str):
            _check_text(self.value, "Entry.value")
        elif not isinstance(self.value, bool):
            _check_number(self.value, "Entry.value", finite=False)
        _check_one_of(self.unit, "Entry.unit", UNITS)
        _check_one_of(self.status, "Entry.status", STATUSES)
        _check_text(self.source, "Entry.source")


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
            object.__setattr__(self, name, _as_plain(getattr(self, name)))
            _check_number(getattr(self, name), f"Range.{name}")
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
            _check_text(getattr(self, name), f"Fit.{name}")
        errors = {key: _as_plain(value) for key, value in _checked_table(self.errors, "Fit.errors").items()}
        for key, value in errors.items():
            _check_text(key, "Fit.errors", one_line=True)
            _check_number(abs(value) if is_real(value) else value, f"Fit.errors.{key}")  # correlations may be below 0
        for name in ("identified", "not_identified"):
            fields = _checked_texts(getattr(self, name), f"Fit.{name}")
            for index, text in enumerate(fields):
                _check_one_of(text, f"Fit.{name}[{index}]", tuple(FIELD_UNITS))
            object.__setattr__(self, name, fields)
        ranges = _checked_table(self.ranges, "Fit.range")
        for key, value in ranges.items():
            _check_one_of(key, "Fit.range", _MEASURED)
            if not isinstance(value, Range):
                raise InvalidValueError(f"Fit.range.{key}", value, "a Range")
        object.__setattr__(self, "errors", MappingProxyType(errors))
        object.__setattr__(self, "ranges", MappingProxyType(ranges))

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
        if not isinstance(self.name, str) or not _DEVICE_NAME.fullmatch(self.name):
            raise InvalidValueError("DeviceFile.name", self.name, "letters, digits, dots, dashes and underscores")
        _check_text(self.summary, "DeviceFile.summary", one_line=True)
        object.__setattr__(self, "notes", _checked_texts(self.notes, "DeviceFile.notes"))
        entries, facts = (
            _checked_table(self.entries, "DeviceFile.array"),
            _checked_table(self.facts, "DeviceFile.facts"),
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

    def beyond(self, m: Size, n: Size, k: Size, count: Size = 1) -> list[str]:
        """What of a product lies outside of the layers that the device was fitted to.

        Args:
            m, n, k, count: of :class:`hwcost.Gemm`, as a layer's ``gemms()`` give them; arrays are a sweep.

        Returns:
            A sentence for each size that does; none where all were measured, or where the file does not say what was.

        Raises:
            InvalidValueError: a size that is no positive integer, nor an array of them.

        >>> read_device("tpu-v1").beyond(m=1, n=1, k=1)
        []
        """
        gemm = Gemm(m, n, k, count)
        ranges = {} if self.fit is None else self.fit.ranges
        found = ((name, _ends(getattr(gemm, name)), measured) for name, measured in ranges.items())
        return [
            f"{name} {_said(*ends)}, but layers of {measured.low} to {measured.high} were measured"
            for name, ends, measured in found
            if ends is not None and not (measured.low <= ends[0] and ends[1] <= measured.high)
        ]


def _check_entries(entries: dict[str, Any]) -> None:
    for name in entries:
        _check_one_of(name, "DeviceFile.a key of array", tuple(_FIELDS))
    for name in _REQUIRED:
        if name not in entries:
            raise InvalidValueError(f"DeviceFile.array.{name}", _MISSING, "a table of value, unit, status and source")
    for name, entry in entries.items():
        place = f"DeviceFile.array.{name}"
        _check_entry(entry, place)
        unit, (types, allowed) = _FIELDS[name]
        if type(entry.value) not in types:
            raise InvalidValueError(f"{place}.value", entry.value, allowed)
        if entry.unit != unit:
            raise InvalidValueError(f"{place}.unit", entry.unit, repr(unit))


def _check_facts(facts: dict[str, Any]) -> None:
    for name, entry in facts.items():
        place = f"DeviceFile.facts.{name}"
        if not _WORD.fullmatch(name):
            raise InvalidValueError("DeviceFile.a key of facts", name, "lower-case letters, digits and underscores")
        _check_entry(entry, place)
        has_unit = not isinstance(entry.value, (bool, str))
        if has_unit or name in FACT_UNITS:
            _check_number(entry.value, f"{place}.value")
        units = (FACT_UNITS[name],) if name in FACT_UNITS else UNITS[1:] if has_unit else UNITS[:1]
        _check_one_of(entry.unit, f"{place}.unit", units)


def _check_entry(entry: Any, place: str) -> None:
    if not isinstance(entry, Entry):
        raise InvalidValueError(place, entry, "an Entry: value, unit, status and source")


def _array_of(entries: Mapping[str, Entry]) -> SystolicArray:
    values: dict[str, Any] = {name: entry.value for name, entry in entries.items()}
    try:
        return SystolicArray(**values)
    except InvalidValueError as error:
        place = f"DeviceFile.array.{error.field.partition('.')[2]}.value"
        raise InvalidValueError(place, error.value, error.allowed.replace(", or an array of them", "")) from None


def _ends(size: Size) -> tuple[Any, Any] | None:
    """The smallest and the largest value; None where there are none, or where a compiler traces."""
    if is_number(size):
        return size, size

    def look() -> tuple[Any, Any] | None:
        values = to_numpy(size)
        return (values.min().item(), values.max().item()) if values.size else None

    return inspect(size, look)


def _said(low: Any, high: Any) -> str:
    return f"is {low}" if low == high else f"runs from {low} to {high}"


# ---------------------------------------------------------------- reading


def device_names() -> tuple[str, ...]:
    """The devices that ship with the package, sorted.

    >>> "tpu-v1" in device_names()
    True
    """
    return tuple(sorted(file.name.removesuffix(".toml") for file in _shipped().iterdir() if _is_toml(file.name)))


def load_device(name_or_path: str | os.PathLike[str]) -> SystolicArray:
    """The array of a device: :func:`read_device` without the sources.

    Args:
        name_or_path: a name of :func:`device_names`, or the path of a device file.

    Raises:
        InvalidValueError: as :func:`read_device`.

    >>> load_device("gemmini").lowering
    'kernel-position'
    """
    return read_device(name_or_path).array


def read_device(name_or_path: str | os.PathLike[str]) -> DeviceFile:
    """A device file, checked.

    Args:
        name_or_path: a name of :func:`device_names`, or a path: whatever has a path separator, ends in ``.toml``, or is
            a path object.

    Raises:
        InvalidValueError: an unknown name, a file that cannot be read, a key that is missing, unknown or holds what is
            not allowed; it says which file and key.

    >>> read_device("tpu-v1").summary
    'Google TPU v1 (2015): one 256 x 256 weight-stationary array of 8-bit MACs, for inference'
    >>> read_device("tpu-v11")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: device is 'tpu-v11'; allowed: one of: eyeriss, ..., tpu-v6e; or the path of a .toml
    file. Did you mean 'tpu-v1'?
    """
    text = name_or_path if isinstance(name_or_path, str) else _path_text(name_or_path)
    if not isinstance(name_or_path, str) or _is_toml(text) or any(mark in text for mark in (os.sep, os.altsep) if mark):
        return _parsed(_file_content(text), text)
    names = device_names()
    if text not in names:
        raise InvalidValueError("device", text, f"one of: {', '.join(names)}; or the path of a .toml file{_hint(text)}")
    return _parsed(_shipped().joinpath(f"{text}.toml").read_bytes(), f"{text}.toml")


def _shipped() -> Traversable:
    from importlib import resources

    return resources.files("hwcost").joinpath("devices")


def _is_toml(name: str) -> bool:
    return name.lower().endswith(".toml")


def _hint(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), device_names(), n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _path_text(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise InvalidValueError("device", path, "the name of a device, or the path of a .toml file")
    return text


def _file_content(path: str) -> bytes:
    if "\0" not in path and os.path.exists(path) and not os.path.isfile(path):
        raise InvalidValueError("device file", path, "a file, which this is not")
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidValueError("device file", path, f"a file that can be read ({error.strerror})") from None
    except ValueError as error:  # a null byte, or characters that no file name can have
        raise InvalidValueError("device file", path, f"a file that can be read ({error})") from None
    if len(content) > _MOST_BYTES:
        raise InvalidValueError("device file", path, f"a file of at most {_MOST_BYTES} bytes")
    return content


def _parsed(content: bytes, where: str) -> DeviceFile:
    import tomllib

    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidValueError(
            where, _Words("not UTF-8"), f"UTF-8; byte {error.start}, on line {line}, is not"
        ) from None
    except (ValueError, RecursionError) as error:  # bad syntax; numbers of thousands of digits; tables too deep
        raise InvalidValueError(where, _Words("no valid TOML"), f"a TOML document ({error})") from None
    try:
        return _device_of(document)
    except InvalidValueError as error:
        place = f"{where}: {error.field.removeprefix('DeviceFile.')}"
        raise InvalidValueError(place, error.value, error.allowed) from None


def _device_of(document: dict[str, Any]) -> DeviceFile:
    if document.get("schema", _MISSING) != SCHEMA:
        raise InvalidValueError("schema", document.get("schema", _MISSING), repr(SCHEMA))
    _check_keys(document, "the file", needed=("schema", "name", "summary", "array"), others=("notes", "facts", "fit"))
    return DeviceFile(
        name=document["name"],
        summary=document["summary"],
        notes=document.get("notes", ()),
        entries=_tables(document["array"], "array", _entry_of),
        facts=_tables(document.get("facts", {}), "facts", _entry_of),
        fit=_fit_of(document["fit"]) if "fit" in document else None,
    )


def _check_keys(table: Any, place: str, *, needed: Sequence[str], others: Sequence[str] = ()) -> None:
    checked = _checked_table(table, place)
    for key in checked:
        _check_one_of(key, f"a key of {place}", (*needed, *others))
    for key in needed:
        if key not in checked:
            prefix = "" if place == "the file" else f"{place}."
            raise InvalidValueError(f"{prefix}{key}", _MISSING, f"a value; {place} needs all of: {', '.join(needed)}")


def _tables(content: Any, place: str, read: Callable[[Any, str], Any]) -> dict[str, Any]:
    return {key: read(value, f"{place}.{key}") for key, value in _checked_table(content, place).items()}


def _entry_of(content: Any, place: str) -> Entry:
    _check_keys(content, place, needed=("value", "unit", "status", "source"))
    with _at(f"{place}."):
        return Entry(**content)


def _range_of(content: Any, place: str) -> Range:
    _check_keys(content, place, needed=("low", "high"))
    with _at(f"{place}."):
        return Range(**content)


def _fit_of(content: Any) -> Fit:
    others = ("identified", "not_identified", "range")
    _check_keys(content, "fit", needed=("data", "source", "licence", "errors"), others=others)
    values = {key: value for key, value in content.items() if key != "range"}
    _check_keys(content.get("range", {}), "fit.range", needed=(), others=_MEASURED)
    ranges = _tables(content.get("range", {}), "fit.range", _range_of)
    with _at("fit."):
        return Fit(**values, ranges=ranges)


# ---------------------------------------------------------------- writing


def write_device(path: str | os.PathLike[str], device: DeviceFile) -> None:
    """Writes a device file, whole or not at all; :func:`read_device` gives an equal device back.

    Args:
        path: where to; a file that is there already is replaced at once, when the new one is complete.
        device: what to write.

    Raises:
        InvalidValueError: something that is no device file, or a path that cannot be written.
        MissingDependencyError: tomli-w is not installed.

    >>> import tempfile
    >>> device = read_device("gemmini")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_device(f"{folder}/mine.toml", device)
    ...     read_device(f"{folder}/mine.toml") == device
    True
    """
    if not isinstance(device, DeviceFile):
        raise InvalidValueError("device", device, "a DeviceFile, as read_device gives")
    try:
        import tomli_w
    except ImportError:
        raise MissingDependencyError("tomli-w", "fit", "hwcost.presets.write_device") from None
    text = _path_text(path)
    content = tomli_w.dumps(_document(device)).encode()
    try:
        _write_whole(text, content)
    except OSError as error:
        _fail_to_write(text, error.strerror)
    except ValueError as error:
        _fail_to_write(text, error)


def _fail_to_write(path: str, reason: object) -> NoReturn:
    raise InvalidValueError("device file", path, f"a file that can be written ({reason})") from None


def _write_whole(path: str, content: bytes) -> None:
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(beside)


def _document(device: DeviceFile) -> dict[str, Any]:
    """What the file holds, in the order in which people read it."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": device.name,
        "summary": device.summary,
        "notes": list(device.notes),
        "array": {name: dataclasses.asdict(entry) for name, entry in device.entries.items()},
        "facts": {name: dataclasses.asdict(entry) for name, entry in device.facts.items()},
    }
    if device.fit is not None:
        fit = device.fit
        document["fit"] = {
            "data": fit.data,
            "source": fit.source,
            "licence": fit.licence,
            "identified": list(fit.identified),
            "not_identified": list(fit.not_identified),
            "errors": dict(fit.errors),
            "range": {name: dataclasses.asdict(ends) for name, ends in fit.ranges.items()},
        }
    return document
