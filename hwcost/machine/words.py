"""Fields of a machine and their values as people write them."""

from __future__ import annotations

import math
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.units import SIZES, in_unit, with_unit

__all__ = ["title_of", "value_text"]

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
