"""Fields of a machine and their values as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.units import SIZES, in_unit, with_unit

__all__ = ["differences", "title_of", "value_text"]

_TITLES = {"buffer_bytes": "buffer", "dram_bytes_per_s": "bandwidth", "clock_hz": "clock"}
_UNITS = ("Hz", "B", "B/s", "J", "J/B", "W")
"""Units that values are shown with; others follow from the name of the field."""


def title_of(name: str) -> str:
    """A field as people call it: by the option that gives it."""
    return _TITLES.get(name, name)


def value_text(name: str, value: Any) -> str:
    """A value of a field in people's units.

    >>> value_text("buffer_bytes", 65536.0), value_text("dram_bytes_per_s", math.inf), value_text("max_streamed", None)
    ('64 KiB', 'no limit', 'none')
    """
    unit = SystolicArray.declarations[name].unit
    if value is None:
        return "none"
    if value == math.inf:
        return "no limit"
    if unit == "B" and value >= SIZES[-2][0]:
        return in_unit(value, SIZES, 4)
    return with_unit(value if isinstance(value, (bool, int, float)) else str(value), unit if unit in _UNITS else "")


def differences(arrays: Sequence[SystolicArray]) -> Iterator[str]:
    """For each of some arrays, in words, the fields in which they are not all the same; empty if they are.

    >>> list(differences([SystolicArray(8, 8), SystolicArray(8, 8, clock_hz=2e9)]))
    ['clock 1 GHz', 'clock 2 GHz']
    """
    names = [
        name
        for name in SystolicArray.declarations
        if any(getattr(each, name) != getattr(arrays[0], name) for each in arrays)
    ]
    for each in arrays:
        yield ", ".join(f"{title_of(name)} {value_text(name, getattr(each, name))}" for name in names)
