"""Device files: found by name or path, read, checked, and written."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hwcost.devices.checks import FIELDS, checked_table, errors_at
from hwcost.devices.chips import PART, one_array
from hwcost.devices.measured import MEASURED, Fit, Range
from hwcost.devices.values import (
    ENTRY,
    MOST_BYTES,
    REQUIRED,
    SCHEMA,
    TEXTS,
    DeviceFile,
    Entry,
    array_of,
    check_fact,
    check_field,
)
from hwcost.errors import (
    MISSING,
    Faults,
    InvalidValueError,
    MissingDependencyError,
    check_one_of,
    did_you_mean,
    faults_of,
    together,
)
from hwcost.files import read_given, toml_of, write_given
from hwcost.machine.array import SystolicArray

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["device_names", "load_device", "named_device", "read_device", "write_device"]

_V = TypeVar("_V", Entry, Range)

# ---------------------------------------------------------------- reading


def device_names() -> tuple[str, ...]:
    """The devices that ship with the package, sorted; one array of a chip of several is ``NAME/array``.

    >>> [name for name in device_names() if "v5e" in name or "v1" in name]
    ['tpu-v1', 'tpu-v5e', 'tpu-v5e/array']
    """
    found = {file.name.removesuffix(".toml"): file for file in _shipped().iterdir() if _is_toml(file.name)}
    chips = (name for name, file in found.items() if b"[array.arrays]" in file.read_bytes())
    return tuple(sorted([*found, *(f"{name}{PART}" for name in chips)]))


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


def read_device(name_or_path: str | os.PathLike[str], *, field: str = "device") -> DeviceFile:
    """A device file, checked.

    Args:
        name_or_path: a name of :func:`device_names`, or a path: a path object, or any other text with a path separator
            or the ending ``.toml``.
        field: the name of the argument in errors.

    Raises:
        InvalidValueError: an unknown name, a file that cannot be read, a missing or unknown key, a value that is not
            allowed; the error gives file and key.

    >>> read_device("tpu-v1").summary
    'Google TPU v1 (2015): one 256 x 256 weight-stationary array of 8-bit MACs, for inference'
    >>> read_device("tpu-v11")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: device is 'tpu-v11' (did you mean 'tpu-v1'?); allowed: one of: edge-tpu, ...;
    or the path of a .toml file
    """
    text = name_or_path if isinstance(name_or_path, str) else _path_text(name_or_path, field)
    names, chip = device_names(), text.removesuffix(PART)
    has_mark = chip not in names and any(mark in text for mark in (os.sep, os.altsep) if mark)
    if not isinstance(name_or_path, str) or _is_toml(text) or has_mark:
        return _parsed(read_given(text, MOST_BYTES, "device file"), text)
    check_one_of(field, text, names, "; or the path of a .toml file")
    device = _of_the_package(f"{chip}.toml")
    return device if chip == text else one_array(device)


def named_device(given: Any, field: str = "array") -> DeviceFile | None:
    """The device whose name or path is given in the place of an array; None for anything else.

    >>> named_device("gemmini").memory_bytes
    327680.0
    """
    return read_device(given, field=field) if isinstance(given, (str, os.PathLike)) else None


@functools.cache
def _of_the_package(name: str) -> DeviceFile:
    return _parsed(_shipped().joinpath(name).read_bytes(), name)


def _shipped() -> Traversable:
    from importlib import resources

    return resources.files("hwcost").joinpath("devices")


def _is_toml(name: str) -> bool:
    return name.lower().endswith(".toml")


def _path_text(path: Any, field: str) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise InvalidValueError(field, path, "the name of a device, or the path of a .toml file")
    return text


def _parsed(content: bytes, where: str) -> DeviceFile:
    document = toml_of(content, where)
    try:
        return _device_of(document)
    except InvalidValueError as error:
        places = [(each, each.field.removeprefix("DeviceFile.")) for each in faults_of(error)]
        own = (each.at(where if place == "the file" else f"{where}: {place}") for each, place in places)
        raise together(own) from None


def _device_of(document: dict[str, Any]) -> DeviceFile:
    faults = Faults()
    if (schema := document.get("schema", MISSING)) != SCHEMA:
        faults.add(InvalidValueError("schema", schema, repr(SCHEMA)))
    with faults.caught():
        _check_keys(
            document, "the file", needed=("schema", "name", "summary", "array"), others=("notes", "facts", "fit")
        )
    for name, check in TEXTS.items():
        if name in document:
            with faults.caught():
                check(document[name], name)
    entries: dict[str, Entry] = {}
    facts: dict[str, Entry] = {}
    fit: Fit | None = None
    if "array" in document:
        with faults.caught():
            entries = _entries_of(document["array"])
            array_of(entries)
    with faults.caught():
        facts = _values(Entry, document.get("facts", {}), "facts", check_fact)
    if "fit" in document:
        with faults.caught():
            fit = _fit_of(document["fit"])
    faults.check()
    return DeviceFile(
        name=document["name"],
        summary=document["summary"],
        notes=document.get("notes", ()),
        entries=entries,
        facts=facts,
        fit=fit,
    )


def _entries_of(content: Any) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    faults = Faults()
    with faults.caught():
        entries = _values(Entry, content, "array", check_field)
    for each in _missing(checked_table(content, "array"), FIELDS, REQUIRED, "array.", ENTRY):
        faults.add(each)
    faults.check()
    return entries


def _check_keys(table: Any, place: str, *, needed: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raises for every key that is not known, and every one that is needed and missing."""
    checked, known, faults = checked_table(table, place), (*needed, *others), Faults()
    for key in checked:
        with faults.caught():
            check_one_of(place, key, known, what="key")
    prefix = "" if place == "the file" else f"{place}."
    for each in _missing(checked, known, needed, prefix, f"a value; {place} needs all of: {', '.join(needed)}"):
        faults.add(each)
    faults.check()


def _missing(
    table: Mapping[str, Any], known: Collection[str], needed: Sequence[str], prefix: str, allowed: str
) -> Iterator[InvalidValueError]:
    """The keys that are needed and missing, unless one that is not known looks like a misspelt one."""
    unknown = [key for key in table if key not in known]
    for key in needed:
        if key not in table and not any(did_you_mean(other, [key]) for other in unknown):
            yield InvalidValueError(f"{prefix}{key}", MISSING, allowed)


def _values(
    kind: type[_V], content: Any, place: str, check: Callable[[str, str, Any, Any], None] | None = None
) -> dict[str, _V]:
    """A table of tables, each as a value of a dataclass; value and unit are checked before."""
    found, needed, faults = {}, [field.name for field in dataclasses.fields(kind)], Faults()
    for key, value in checked_table(content, place).items():
        with faults.caught():
            _check_keys(value, f"{place}.{key}", needed=needed)
        if not isinstance(value, Mapping):
            continue
        if check is not None and {"value", "unit"} <= value.keys():
            with faults.caught():
                check(place, key, value["value"], value["unit"])
        if value.keys() == set(needed):
            with faults.caught(), errors_at(f"{place}.{key}."):
                found[key] = kind(**value)
    faults.check()
    return found


def _fit_of(content: Any) -> Fit:
    others, faults = ("identified", "not_identified", "range", "doubts"), Faults()
    table = checked_table(content, "fit")
    ranges: dict[str, Range] = {}
    with faults.caught():
        _check_keys(table, "fit", needed=("data", "source", "licence", "errors"), others=others)
    with faults.caught():
        _check_keys(table.get("range", {}), "fit.range", needed=(), others=MEASURED)
    with faults.caught():
        ranges = _values(Range, table.get("range", {}), "fit.range")
    faults.check()
    values = {key: value for key, value in table.items() if key != "range"}
    with errors_at("fit."):
        return Fit(**values, ranges=ranges)


# ---------------------------------------------------------------- writing


def write_device(path: str | os.PathLike[str], device: DeviceFile) -> None:
    """Writes a device file atomically; :func:`read_device` returns an equal device.

    Args:
        path: of the file; an existing one is replaced.
        device: the device.

    Raises:
        InvalidValueError: something other than a DeviceFile, or a path that cannot be written.
        MissingDependencyError: tomli-w is not installed.

    >>> import tempfile
    >>> device = read_device("gemmini")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_device(f"{folder}/mine.toml", device)
    ...     read_device(f"{folder}/mine.toml") == device
    True
    """
    if not isinstance(device, DeviceFile):
        raise InvalidValueError("device", device, "a DeviceFile, as from read_device")
    try:
        import tomli_w
    except ImportError:
        raise MissingDependencyError("tomli-w", "fit", "hwcost.devices.write_device") from None
    text = _path_text(path, "device")
    content = tomli_w.dumps(_document(device)).encode()
    write_given(text, content, "device file")


def _document(device: DeviceFile) -> dict[str, Any]:
    """The content of the file: TOML can write infinity, but not None."""
    content = {name: value for name, value in device.as_dict().items() if value is not None}
    entries = {"array": device.entries, "facts": device.facts}
    tables = {name: {key: dataclasses.asdict(entry) for key, entry in of.items()} for name, of in entries.items()}
    return {"schema": SCHEMA, **content, **tables}
