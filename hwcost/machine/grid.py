"""The size of the array, and its clock."""

from __future__ import annotations

from dataclasses import KW_ONLY

from hwcost.arrays import Size, product
from hwcost.machine.fields import COUNT, FREQUENCY, SHARE, Part, Start, declare, part

__all__ = ["Clock", "Grid"]

_WEIGHT = "1 charges whole tiles, 0 fractional tiles"
_STAIRS = Start(0.8, "0.8", spread=2.0)


@part
class Grid(Part):
    """A rows x cols array of processing elements (PE), each doing one multiply-accumulate (MAC) per cycle.

    >>> Grid(16, 8).pes
    128
    """

    rows: Size = declare(COUNT, "PE", "height of the array", "s1 in the author's formula")
    cols: Size = declare(COUNT, "PE", "width of the array", "s2 in the author's formula")
    _: KW_ONLY
    row_stairs: Size = declare(SHARE, "1", "weight of the ceiling along rows", _WEIGHT, default=1.0, start=_STAIRS)
    col_stairs: Size = declare(SHARE, "1", "weight of the ceiling along columns", _WEIGHT, default=1.0, start=_STAIRS)

    @property
    def pes(self) -> Size:
        """The number of processing elements."""
        return product(self.rows, self.cols, what="the number of PEs")


@part
class Clock(Part):
    """The clock of the array.

    >>> Clock()
    Clock(clock_hz=1000000000.0)
    """

    clock_hz: float = declare(FREQUENCY, "Hz", "cycles per second", "at 1 GHz a cycle is a nanosecond", default=1e9)
