"""Measurements that are faster than every PE of a device allows: a wrong unit, or another device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hwcost.calibration.measurements import Measurement
from hwcost.devices import DeviceFile
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.tables import text_table
from hwcost.units import TIMES, be, in_unit, number

__all__ = ["TooFast", "check_peak", "chip_hint", "is_too_fast", "least_seconds", "summary_of", "table_of"]

_SHOWN = 40


class TooFast(NamedTuple):
    """A measurement that takes less than its multiply-accumulates do on all PEs.

    Attributes:
        where: its place.
        macs: multiply-accumulates.
        seconds: measured.
        least: what they take on all PEs, busy in every cycle.
    """

    where: str
    macs: int
    seconds: float
    least: float

    @property
    def ratio(self) -> float:
        """Measured over least: the same for all rows if a unit is wrong."""
        return self.seconds / self.least


def least_seconds(one: Measurement, device: SystolicArray) -> float:
    """What the multiply-accumulates take on all PEs, busy in every cycle."""
    rows, cols, arrays = (one.device.get(name, getattr(device, name)) for name in ("rows", "cols", "arrays"))
    return float(one.macs / (rows * cols * arrays * device.clock_hz))


def is_too_fast(one: Measurement, device: SystolicArray) -> bool:
    """Whether a measurement beats the peak of a device."""
    return one.seconds < least_seconds(one, device) * (1 - 1e-9)


def check_peak(one: Measurement, device: SystolicArray, hint: str = "") -> None:
    """Checks that a measurement is not faster than the peak of the device; a hint on the device ends the error.

    Raises:
        InvalidValueError: it is; most often cycles and seconds, or the device, were mixed up.
    """
    if is_too_fast(one, device):
        rows, cols, arrays = (one.device.get(name, getattr(device, name)) for name in ("rows", "cols", "arrays"))
        least = least_seconds(one, device)
        size = f"{rows:g} x {cols:g} PEs" if arrays == 1 else f"{arrays:g} arrays of {rows:g} x {cols:g} PEs"
        where = one.source or (f"measurement {one.name!r}" if one.name else "a measurement")
        raise InvalidValueError(
            f"{where}: the latency in cycles",
            float(f"{one.seconds * device.clock_hz:.6g}"),
            f"at least {least * device.clock_hz:.6g}, which {one.macs} MACs take on {size} (at "
            f"{device.clock_hz / 1e6:.6g} MHz, {least:.6g} s); are unit, device and its number of arrays right?{hint}",
        )


def chip_hint(file: DeviceFile) -> str:
    """What to do with measurements of a chip, if a device is only some of its arrays; else empty.

    >>> import dataclasses
    >>> from hwcost.devices import Entry, read_device
    >>> facts = {"arrays_per_chip": Entry(8, "1", "published", "the maker")}
    >>> chip_hint(dataclasses.replace(read_device("gemmini"), facts=facts))
    ' gemmini is 1 of the 8 arrays of a chip; if the chip was measured, start from all of them: grid arrays=8'
    """
    fact = file.facts.get("arrays_per_chip")
    if fact is None or not isinstance(fact.value, (int, float)) or fact.value <= file.array.arrays:
        return ""
    chip = file.name.removesuffix("/array")
    instead = chip if chip != file.name else f"all of them: grid arrays={fact.value:g}"
    return (
        f" {file.name} is {file.array.arrays} of the {fact.value:g} arrays of a chip; if the chip was measured, start "
        f"from {instead}"
    )


def summary_of(found: Sequence[TooFast]) -> str:
    """How far off they are, in one clause.

    >>> summary_of([TooFast("line 2", 10, 1e-9, 1e-6), TooFast("line 3", 10, 2e-9, 1e-6)])
    '2 are faster than every PE of the device, 0.001 to 0.002 of the least that is possible'
    """
    low, high = (f"{end(each.ratio for each in found):.3g}" for end in (min, max))
    ends = low if low == high else f"{low} to {high}"
    return f"{len(found)} {be(len(found))} faster than every PE of the device, {ends} of the least that is possible"


def table_of(found: Sequence[TooFast]) -> Iterator[str]:
    """The lines of a table, a row each."""
    rows = [
        [where, number(macs), *(in_unit(each, TIMES, 4) for each in times), f"{times[0] / times[1]:.3g}"]
        for where, macs, *times in found[:_SHOWN]
    ]
    yield from text_table(["too fast", "MACs", "measured", "least", "measured / least"], rows)
    if len(found) > _SHOWN:
        yield f"... and {len(found) - _SHOWN} more"
