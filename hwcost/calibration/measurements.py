"""Measurements as values, and as the rows of a CSV file.

A file has a header. Column ``kind`` says what a row is, the sizes are named as on the command line:

    conv2d      k (or k1, k2), c, f, h, w; batch, stride (or stride_h, stride_w), padding, groups, dilation
    depthwise   k (or k1, k2), c, h, w; f (the same as c), batch, stride, padding, dilation
    linear      c, f; batch
    gemm        m, n, k; count

and one of ``cycles``, ``seconds``, ``ms``, ``us``, ``ns`` holds what was measured. ``name`` is free text. Rows with the
same ``network`` were measured together, one after the other, and give the same figure (or all but one leave it empty);
where one was measured several times, ``run`` tells the times apart. Rows with the same ``group`` are held out together
when the fit is validated. A column that is named like a field of the device (``rows``, ``accumulators``...) says on
which machine a row was measured.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple

from hwcost._arrays import as_quantity, is_number, is_real
from hwcost.device import SystolicArray
from hwcost.errors import InvalidValueError
from hwcost.layers import Conv2d, Gemm, Layer, Linear, is_layer

__all__ = ["MeasuredFile", "Measurement", "check_peak", "read_measurements"]

_MOST_ROWS = 1_000_000
_SHOWN = 10
_UNITS = {"cycles": None, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_FIELDS = tuple(f.name for f in fields(SystolicArray) if f.type in ("Size", "Size | None"))
_TEXTS = ("kind", "name", "network", "run", "group")
_OF_ALL = tuple(f.name for f in fields(SystolicArray) if f.name not in _FIELDS)
_LARGEST = 10**15


@dataclass(frozen=True)
class Measurement:
    """Layers that were run one after the other, and how long that took.

    Args:
        layers: one or more layers of plain numbers.
        seconds: their latency.
        name: what people call it.
        group: measurements of one group are held out together when a fit is validated; empty: this one is its own.
        device: fields of the device on which it was measured, where they differ from the one that is fitted.
        source: where it stands, for errors, as "measured.csv, line 3".

    Raises:
        InvalidValueError: no layers, something that is none, seconds that are no finite number above 0, an unknown
            field.

    >>> Measurement((Linear(400, 120),), seconds=3e-6, name="fc1").seconds
    3e-06
    """

    layers: tuple[Layer, ...]
    seconds: float
    name: str = ""
    group: str = ""
    device: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (tuple, list)) or not self.layers:
            raise InvalidValueError(self._field("layers"), self.layers, "a sequence of at least one layer")
        object.__setattr__(self, "layers", tuple(self.layers))
        for layer in self.layers:
            if not is_layer(layer) or not all(map(_is_plain, layer.gemms())):
                raise InvalidValueError(self._field("layers"), layer, "layers whose sizes are single integers")
        if not is_real(self.seconds):
            raise InvalidValueError(self._field("seconds"), self.seconds, "a finite number of seconds above 0")
        seconds = as_quantity(self.seconds, self._field("seconds"), unit="seconds", above_0=True)
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "device", MappingProxyType(dict(self.device)))
        self._check_device()

    def _check_device(self) -> None:
        for name, value in self.device.items():
            if name not in _FIELDS:
                raise InvalidValueError(self._field("device"), name, f"one of: {', '.join(_FIELDS)}")
            if not is_real(value) or (value > _LARGEST and name in ("rows", "cols", "max_streamed", "accumulators")):
                raise InvalidValueError(self._field(name), value, f"a number, integers up to {_LARGEST:g}")
            try:
                changes: dict[str, Any] = {name: value}
                dataclasses.replace(SystolicArray(1, 1), **changes)
            except InvalidValueError as error:
                raise InvalidValueError(self._field(name), error.value, error.allowed) from None

    def __reduce__(self) -> tuple[Any, ...]:
        values = (self.layers, self.seconds, self.name, self.group, dict(self.device), self.source)
        return Measurement, values

    def _field(self, name: str) -> str:
        return f"{self.source}: {name}" if self.source else f"Measurement.{name}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all its layers."""
        return sum(gemm.macs for layer in self.layers for gemm in layer.gemms())


def _is_plain(gemm: Gemm) -> bool:
    return all(is_number(size) for size in (gemm.m, gemm.n, gemm.k, gemm.count, *gemm.window, *gemm.inputs))


def check_peak(one: Measurement, device: SystolicArray) -> None:
    """Raises where a measurement is faster than every PE working in every cycle.

    Raises:
        InvalidValueError: then; most often cycles and seconds, or the device, were mixed up.
    """
    rows, cols = (one.device.get(name, getattr(device, name)) for name in ("rows", "cols"))
    least = one.macs / (rows * cols * device.clock_hz)
    if one.seconds < least * (1 - 1e-9):
        cycles = f"{one.seconds * device.clock_hz:.6g} cycles"
        where = one.source or (f"measurement {one.name!r}" if one.name else "a measurement")
        raise InvalidValueError(
            f"{where}: the latency",
            f"{one.seconds:.6g} s, {cycles}",
            f"at least {least:.6g} s, which {one.macs} MACs take on {rows:g} x {cols:g} PEs at "
            f"{device.clock_hz / 1e6:.6g} MHz; are unit and device right?",
        )


@dataclass(frozen=True)
class MeasuredFile:
    """What a file holds.

    Attributes:
        measurements: in order.
        left_out: for each bad row that was left out what is wrong with it; empty unless that was asked for.
        ignored: columns that say nothing to a calibration.
    """

    measurements: tuple[Measurement, ...]
    left_out: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_measurements(
    path: str | os.PathLike[str],
    device: SystolicArray,
    *,
    fastest: SystolicArray | None = None,
    skip_bad_rows: bool = False,
) -> MeasuredFile:
    """The measurements of a CSV file.

    Args:
        path: of the file, as the module describes it.
        device: on which it was measured; its clock turns cycles into seconds.
        fastest: the largest machine that it may have been, where the size is to be found; the device itself otherwise.
        skip_bad_rows: leave bad rows out, and say so, instead of raising.

    Raises:
        InvalidValueError: a file that cannot be read, a header without what is needed, or bad rows: each is named with
            its line.
    """
    name = os.fspath(path)
    rows = _rows(name)
    header = next(rows, (0, []))[1]
    unit, ignored = _unit(name, header), tuple(c for c in header if c not in _KNOWN)
    if "kind" not in header:
        raise InvalidValueError(f"{name}: the header", ", ".join(header), f"a column 'kind' ({', '.join(_KINDS)})")
    for column in header:
        if column in _OF_ALL:
            raise InvalidValueError(
                f"{name}: a column", column, f"one of the same for all rows; not {', '.join(_OF_ALL)}"
            )
    bad: list[str] = []
    read: list[_Row] = []
    for line, row in rows:
        source = f"{name}, line {line}"
        try:
            read.append(_read_row(_by_column(header, row, source), unit, source, device))
        except InvalidValueError as error:
            bad.append(str(error))
    good: list[Measurement] = []
    for one in _joined(read, bad):
        try:
            check_peak(one, fastest or device)
            good.append(one)
        except InvalidValueError as error:
            bad.append(str(error))
    if bad and not skip_bad_rows:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise _BadRowsError(f"{name}: bad rows", len(bad), f"none: {'; '.join(bad[:_SHOWN])}{more}")
    if not good:
        allowed = "at least one row that can be used" + "".join(f"; {text}" for text in bad[:_SHOWN])
        raise InvalidValueError(f"{name}: the number of measurements", 0, allowed)
    return MeasuredFile(tuple(good), tuple(bad), ignored)


class _BadRowsError(InvalidValueError):
    """Bad rows, told one by one."""


# ---------------------------------------------------------------- rows


def _rows(name: str) -> Iterator[tuple[int, list[str]]]:
    """The header, in small letters, and all rows that hold anything, each with its line."""
    if "\0" not in name and os.path.exists(name) and not os.path.isfile(name):
        raise InvalidValueError("the measurements", name, "a file, which this is not")
    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header: list[str] = []
            for count, cells in enumerate(reader):
                texts = [cell.strip() for cell in cells]
                if not any(texts):
                    continue
                if count > _MOST_ROWS:
                    raise InvalidValueError(f"{name}: the number of rows", count, f"at most {_MOST_ROWS}")
                if not header:
                    texts = header = [text.lower() for text in texts]
                    _check_header(name, header)
                yield reader.line_num, texts
    except OSError as error:
        raise InvalidValueError("the measurements", name, f"a file that can be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InvalidValueError("the measurements", name, "a file in UTF-8") from None
    except csv.Error as error:
        raise InvalidValueError(f"{name}, line {reader.line_num}", str(error), "comma-separated values") from None
    except ValueError as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError("the measurements", name, f"a file that can be read ({error})") from None


def _by_column(header: Sequence[str], row: Sequence[str], source: str) -> dict[str, str]:
    if len(row) != len(header):
        raise InvalidValueError(source, f"{len(row)} cells", f"{len(header)} cells, as the header has")
    return dict(zip(header, row, strict=True))


def _check_header(name: str, header: list[str]) -> None:
    twice = [column for column in header if header.count(column) > 1 or not column]
    if twice:
        raise InvalidValueError(f"{name}: the header", twice[0], "names of columns, each once")


def _unit(name: str, header: Sequence[str]) -> str:
    units = [column for column in header if column in _UNITS]
    if len(units) != 1:
        raise InvalidValueError(
            f"{name}: the columns that hold what was measured", ", ".join(units) or "none",
            f"exactly one of: {', '.join(_UNITS)}",
        )  # fmt: skip
    return units[0]


class _Row(NamedTuple):
    """A row as it stands; the seconds of a network may stand in another one of its rows."""

    layer: Layer
    seconds: float | None
    name: str
    group: str
    network: str
    run: str
    device: dict[str, float]
    source: str


def _read_row(row: Mapping[str, str], unit: str, source: str, device: SystolicArray) -> _Row:
    layer = _layer(row, source)
    fields_of_row = {name: _field(row[name], f"{source}: {name}") for name in _FIELDS if row.get(name)}
    Measurement((layer,), 1.0, device=fields_of_row, source=source)  # which checks both
    seconds = _seconds(row[unit], unit, source, device) if row[unit] else None
    if seconds is None and not row.get("network"):
        raise InvalidValueError(f"{source}: {unit}", row[unit], "a finite number above 0")
    name, group, network, run = (row.get(text, "") for text in ("name", "group", "network", "run"))
    return _Row(layer, seconds, name, group, network, run, fields_of_row, source)


def _layer(row: Mapping[str, str], source: str) -> Layer:
    kind = row["kind"].lower()
    if kind not in _KINDS:
        raise InvalidValueError(f"{source}: kind", row["kind"], f"one of: {', '.join(_KINDS)}")
    needed, optional, make = _KINDS[kind]
    for name, text in row.items():
        if text and name in _SIZES and name not in (*needed, *optional):
            raise InvalidValueError(f"{source}: {name}", text, f"nothing: {kind} does not have it")
    given = [name for name in (*needed, *optional) if row.get(name) and name != "padding"]
    sizes: dict[str, Any] = {name: _integer(row[name], f"{source}: {name}") for name in given}
    if "k1" in optional:
        needed = (*_spread_kernel(sizes, row, source), *(name for name in needed if name != "k"))
    for name in needed:
        if name not in sizes:
            raise InvalidValueError(f"{source}: {name}", row.get(name, ""), f"an integer: {kind} needs it")
    if kind == "depthwise" and sizes.get("f", sizes["c"]) != sizes["c"]:
        raise InvalidValueError(f"{source}: f", row["f"], "nothing, or the same as c: depthwise has a filter a channel")
    if row.get("padding"):
        sizes["padding"] = _padding(row["padding"], f"{source}: padding")
    try:
        return make(sizes)
    except InvalidValueError as error:
        raise InvalidValueError(f"{source}: {error.field}", error.value, error.allowed) from None


def _spread_kernel(sizes: dict[str, Any], row: Mapping[str, str], source: str) -> tuple[str, str]:
    """Both sides of a kernel from the one that is given; the names of the two."""
    for part in ("k1", "k2"):
        if part in sizes and "k" in sizes:
            raise InvalidValueError(f"{source}: {part}", row[part], "nothing beside k, which is both k1 and k2")
        if "k" in sizes:
            sizes[part] = sizes["k"]
    return "k1", "k2"


def _seconds(text: str, unit: str, source: str, device: SystolicArray) -> float:
    number = _float(text, f"{source}: {unit}")
    scale = _UNITS[unit]
    seconds = number / device.clock_hz if scale is None else number * scale
    if not 0 < seconds < math.inf:
        raise InvalidValueError(f"{source}: {unit}", text, "a finite number above 0")
    return seconds


def _integer(text: str, place: str) -> int:
    number = _float(text, place)
    if number != math.floor(number) or number > _LARGEST:
        raise InvalidValueError(place, text, f"an integer up to {_LARGEST:g}")
    return int(number)


def _float(text: str, place: str) -> float:
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValueError(place, text, "a finite number")
    return number


def _field(text: str, place: str) -> float | int:
    number = _float(text, place)
    return int(number) if number == math.floor(number) else number


def _padding(text: str, place: str) -> str | int:
    return text if text in ("same", "valid") else _integer(text, place)


def _joined(read: Sequence[_Row], bad: list[str]) -> Iterator[Measurement]:
    """The rows of each network as one measurement, in the order of their first; ``bad`` takes what does not fit."""
    networks: dict[Any, list[_Row]] = {}
    for index, row in enumerate(read):
        networks.setdefault((row.network, row.run) if row.network else index, []).append(row)
    for rows in networks.values():
        first, network = rows[0], rows[0].network
        given = {row.seconds for row in rows if row.seconds is not None}
        groups = {row.group for row in rows if row.group}
        if len(given) != 1:
            shown = ", ".join(f"{seconds:.6g} s" for seconds in sorted(given)[:4]) or "nothing"
            allowed = "one figure for all of its rows, or a column run that tells repeats apart"
            bad.append(f"{first.source}: network {network!r} takes {shown}; allowed: {allowed}")
        elif any(row.device != first.device for row in rows) or len(groups) > 1:
            what = "groups" if len(groups) > 1 else "devices"
            bad.append(f"{first.source}: network {network!r} lies in several {what}; allowed: one for all of its rows")
        else:
            layers, group = tuple(row.layer for row in rows), next(iter(groups), "")
            yield Measurement(layers, given.pop(), network or first.name, group, first.device, first.source)


# ---------------------------------------------------------------- kinds


def _conv(sizes: dict[str, Any]) -> Layer:
    stride = (sizes.get("stride_h", sizes.get("stride", 1)), sizes.get("stride_w", sizes.get("stride", 1)))
    return Conv2d(
        sizes["c"],
        sizes["f"],
        (sizes["k1"], sizes["k2"]),
        height=sizes["h"],
        width=sizes["w"],
        batch=sizes.get("batch", 1),
        stride=stride,
        padding=sizes.get("padding", "same"),
        dilation=sizes.get("dilation", 1),
        groups=sizes.get("groups", 1),
    )


def _depthwise(sizes: dict[str, Any]) -> Layer:
    return _conv(sizes | {"f": sizes["c"], "groups": sizes["c"]})


def _linear(sizes: dict[str, Any]) -> Layer:
    return Linear(sizes["c"], sizes["f"], batch=sizes.get("batch", 1))


def _gemm(sizes: dict[str, Any]) -> Layer:
    return Gemm(sizes["m"], sizes["n"], sizes["k"], sizes.get("count", 1))


_STRIDES = ("stride", "stride_h", "stride_w")
_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[dict[str, Any]], Layer]]] = {
    "conv2d": (("k", "c", "f", "h", "w"), ("k1", "k2", "batch", *_STRIDES, "groups", "dilation", "padding"), _conv),
    "depthwise": (("k", "c", "h", "w"), ("k1", "k2", "f", "batch", *_STRIDES, "dilation", "padding"), _depthwise),
    "linear": (("c", "f"), ("batch",), _linear),
    "gemm": (("m", "n", "k"), ("count",), _gemm),
}
_SIZES = {"padding"}.union(*((*needed, *more) for needed, more, _ in _KINDS.values()))
_KNOWN = {*_SIZES, *_TEXTS, *_UNITS, *_FIELDS}
