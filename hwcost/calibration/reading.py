"""Measurements as the rows of a CSV file.

A file has a header. Column ``kind`` and the sizes describe the layer of a row (see ``hwcost.importers.lists.rows``);
one of ``cycles``, ``seconds``, ``ms``, ``us``, ``ns`` holds its latency; ``name`` is free text. Rows with the same
``network`` were measured together, one after the other, and give the same figure (or all but one leave it empty);
``run`` distinguishes repeats of a network. Rows with the same ``group`` are held out together when the fit is
validated. A column with the name of a field of the device (``rows``, ``accumulators``...) describes the machine of
that row.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hwcost.calibration.measurements import FIELDS, Measurement
from hwcost.calibration.peaks import TooFast, check_peak, least_seconds, summary_of
from hwcost.errors import MISSING, InvalidValueError
from hwcost.importers.lists.rows import (
    KINDS,
    SIZES,
    by_column,
    csv_rows,
    kinds_of_faults,
    read_number,
    read_row,
    with_others,
)
from hwcost.machine.array import SystolicArray
from hwcost.model.columns import unit_column
from hwcost.model.formula import as_array
from hwcost.tables import Column, Document, Records
from hwcost.units import TIMES, number, plural, printable, shortlist

__all__ = ["BadRowsError", "MeasuredFile", "read_measurements"]

_SHOWN = 10
_UNITS = {"cycles": None, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TEXTS = ("kind", "name", "network", "run", "group")
_OF_ALL = tuple(name for name in SystolicArray.declarations if name not in FIELDS)
_KNOWN = {*SIZES, *_TEXTS, *_UNITS, *FIELDS}


_FEW = 20
"""Measurements that are printed."""


@dataclass(frozen=True, repr=False)
class MeasuredFile(Records):
    """The content of a file.

    Attributes:
        measurements: in order.
        left_out: the error of each bad row that was left out.
        ignored: columns that a calibration does not use.
        too_fast: those of the bad rows that are faster than the peak of the device.
    """

    measurements: tuple[Measurement, ...]
    left_out: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    too_fast: tuple[TooFast, ...] = ()

    @property
    def in_words(self) -> str:
        """How many measurements there are, of how many layers, on one line."""
        layers = sum(len(each.layers) for each in self.measurements)
        left = f", {plural(len(self.left_out), 'bad row')} left out" if self.left_out else ""
        return f"{plural(len(self.measurements), 'measurement')} of {plural(layers, 'layer')}{left}"

    def document(self) -> Document:
        """A row for each of the first measurements."""
        shown = self.measurements[:_FEW]
        columns = [
            Column[Measurement]("measurement", lambda each: printable(each.name or each.source), to_the_left=True),
            Column[Measurement]("layers", lambda each: number(len(each.layers))),
            Column[Measurement]("MACs", lambda each: number(each.macs)),
            unit_column("time", shown, lambda each: each.seconds, TIMES),
        ]
        below = {"left out": plural(len(self.left_out), "bad row")} if self.left_out else {}
        if self.ignored:
            below["ignored"] = f"columns {', '.join(map(printable, self.ignored))}"
        return Document(self.in_words, columns, shown, len(self.measurements) - len(shown), below)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each measurement."""
        return [
            {
                "name": each.name, "group": each.group, "source": each.source, "layers": len(each.layers),
                "macs": each.macs, "seconds": each.seconds,
            }
            for each in self.measurements
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.measurements)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)


class BadRowsError(InvalidValueError):
    """Rows of a file that cannot be used.

    Attributes:
        too_fast: those that are faster than the peak of the device.
    """

    too_fast: tuple[TooFast, ...] = ()


def read_measurements(
    path: str | os.PathLike[str],
    device: SystolicArray | str,
    *,
    fastest: SystolicArray | None = None,
    skip_bad_rows: bool = False,
    hint: str = "",
) -> MeasuredFile:
    """The measurements of a CSV file.

    Args:
        path: of the file, as the module describes it.
        device: the measured device, or its name; its clock turns cycles into seconds.
        fastest: the largest candidate if the size is searched; the device itself by default.
        skip_bad_rows: leave bad rows out and list them, instead of raising.
        hint: on the device, for errors of rows that are too fast for it.

    Raises:
        BadRowsError: bad rows, with their lines.
        InvalidValueError: a file that cannot be read, a header without a needed column.
    """
    device, name = as_array(device, "device"), os.fspath(path)
    rows = csv_rows(name, "the file of measurements")
    header = next(rows, (0, []))[1]
    unit = _unit(name, header)
    bad: list[str] = []
    read: list[_Row] = []
    for line, row in rows:
        source = f"{name}, line {line}"
        try:
            read.append(_read_row(by_column(header, row, source), unit, source, device))
        except InvalidValueError as error:
            bad.append(str(error))
    good: list[Measurement] = []
    too_fast: list[TooFast] = []
    for one in _joined(read, bad):
        try:
            check_peak(one, fastest or device)
            good.append(one)
        except InvalidValueError as error:
            bad.append(str(error))
            too_fast.append(TooFast(one.source, one.macs, one.seconds, least_seconds(one, fastest or device)))
    if bad and (not skip_bad_rows or not good):
        what, count = ("measurements", 0) if skip_bad_rows else ("bad rows", len(bad))
        allowed = "at least one row that can be used" if skip_bad_rows else "0"
        named = bad
        if len(too_fast) > 1:
            allowed += f"; {summary_of(too_fast)}: are unit, device and its number of arrays right?{hint}"
            named = bad[: len(bad) - len(too_fast) + 1]  # one of them as an example
        named = [with_others(named[index], others) for index, others in kinds_of_faults(named).items()]
        raised = BadRowsError(f"{name}: the number of {what}", count, f"{allowed}; {shortlist(named, _SHOWN, ';')}")
        raised.too_fast = tuple(too_fast)
        raise raised
    if not good:
        raise InvalidValueError(f"{name}: the number of measurements", 0, "at least one row that can be used")
    ignored = tuple(column for column in header if column not in _KNOWN)
    return MeasuredFile(tuple(good), tuple(bad), ignored, tuple(too_fast))


# ---------------------------------------------------------------- rows


def _unit(name: str, header: Sequence[str]) -> str:
    """The column of the latency; raises for a header without one, or with columns that cannot be used."""
    units = [column for column in header if column in _UNITS]
    if len(units) != 1:
        allowed = f"1, one of: {', '.join(_UNITS)}"
        raise InvalidValueError(f"{name}: the number of columns with a latency", len(units), allowed)
    if "kind" not in header:
        raise InvalidValueError(f"{name}: a column 'kind'", MISSING, f"in each row one of: {', '.join(KINDS)}")
    for column in header:
        if column in _OF_ALL:
            allowed = f"a field that may differ between rows; not one of: {', '.join(_OF_ALL)}"
            raise InvalidValueError(f"{name}: a column", column, allowed)
    return units[0]


class _Row(NamedTuple):
    """A row as a measurement of one second; the latency of a network may be in another of its rows."""

    one: Measurement
    seconds: float | None
    network: str
    run: str


def _read_row(row: Mapping[str, str], unit: str, source: str, device: SystolicArray) -> _Row:
    layer = read_row(row, source)
    fields_of_row = {name: _field(row[name], f"{source}: {name}") for name in FIELDS if row.get(name)}
    labels = {name: text for name, text in row.items() if name not in _KNOWN and text}
    one = Measurement((layer,), 1.0, row.get("name", ""), row.get("group", ""), fields_of_row, source, labels)
    seconds = _seconds(row[unit], unit, source, device) if row[unit] else None
    if seconds is None and not row.get("network"):
        raise InvalidValueError(f"{source}: {unit}", row[unit], "a finite number above 0")
    return _Row(one, seconds, row.get("network", ""), row.get("run", ""))


def _seconds(text: str, unit: str, source: str, device: SystolicArray) -> float:
    number = read_number(text, f"{source}: {unit}")
    scale = _UNITS[unit]
    seconds = number / device.clock_hz if scale is None else number * scale
    if not 0 < seconds < math.inf:
        raise InvalidValueError(f"{source}: {unit}", text, "a finite number above 0")
    return seconds


def _field(text: str, place: str) -> float | int:
    number = read_number(text, place)
    return int(number) if number == math.floor(number) else number


def _joined(read: Sequence[_Row], bad: list[str]) -> Iterator[Measurement]:
    """The rows of each network as one measurement, in the order of their first; errors go to ``bad``."""
    networks: dict[Any, list[_Row]] = {}
    for index, row in enumerate(read):
        networks.setdefault((row.network, row.run) if row.network else index, []).append(row)
    for rows in networks.values():
        first, network = rows[0].one, rows[0].network
        given = {row.seconds for row in rows if row.seconds is not None}
        groups = {row.one.group for row in rows if row.one.group}
        if len(given) != 1:
            shown = ", ".join(f"{seconds:.6g} s" for seconds in sorted(given)[:4]) or "nothing"
            allowed = "one figure for all of its rows, or a column run that distinguishes repeats"
            bad.append(f"{first.source}: network {network!r} takes {shown}; allowed: {allowed}")
        elif any(row.one.device != first.device for row in rows) or len(groups) > 1:
            what = "groups" if len(groups) > 1 else "devices"
            bad.append(f"{first.source}: network {network!r} lies in several {what}; allowed: one for all of its rows")
        else:
            layers, group = tuple(row.one.layers[0] for row in rows), next(iter(groups), "")
            labels = {
                name: text
                for name, text in first.labels.items()
                if all(row.one.labels.get(name) == text for row in rows)
            }
            yield Measurement(layers, given.pop(), network or first.name, group, first.device, first.source, labels)
