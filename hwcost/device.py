"""The accelerator, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwcost._arrays import Size, as_size, is_real, product
from hwcost.dataflow import DATAFLOWS, FOLD_TIMINGS, Dataflow, FoldTiming
from hwcost.errors import InvalidValueError

__all__ = ["SystolicArray"]


@dataclass(frozen=True)
class SystolicArray:
    """A rows x cols array of processing elements (PE), each doing one multiply-accumulate (MAC) a cycle.

    Args:
        rows: height of the array in PEs, s1 in the author's formula; an integer, or an array for a sweep.
        cols: width of the array in PEs, s2.
        clock_hz: cycles a second. The default, 1 GHz, makes a cycle a nanosecond.
        dataflow: a name in :data:`hwcost.DATAFLOWS`: "ws", "os" or "is".
        fold_timing: a name in :data:`hwcost.dataflow.FOLD_TIMINGS`: "ideal", "serial" or "double-buffered".

    Raises:
        InvalidValueError: a size that is not a positive integer, a clock that is not positive, an unknown name.

    >>> SystolicArray(8, 8)
    SystolicArray(rows=8, cols=8, clock_hz=1000000000.0, dataflow='ws', fold_timing='ideal')
    >>> SystolicArray(16, 16, dataflow="os").pes
    256
    """

    rows: Size
    cols: Size
    clock_hz: float = 1e9
    dataflow: str = "ws"
    fold_timing: str = "ideal"

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, as_size(getattr(self, name), f"SystolicArray.{name}"))
        clock = self.clock_hz
        if not is_real(clock) or not 0 < clock < math.inf:
            raise InvalidValueError("SystolicArray.clock_hz", clock, "a finite number of hertz above 0")
        for name, table in (("dataflow", DATAFLOWS), ("fold_timing", FOLD_TIMINGS)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in table:
                raise InvalidValueError(f"SystolicArray.{name}", getattr(self, name), f"one of: {', '.join(table)}")

    @property
    def pes(self) -> Size:
        """The number of processing elements."""
        return product(self.rows, self.cols, what="the number of PEs")

    @property
    def dataflow_row(self) -> Dataflow:
        """The row of :data:`hwcost.DATAFLOWS` that is named."""
        return DATAFLOWS[self.dataflow]

    @property
    def fold_timing_row(self) -> FoldTiming:
        """The row of :data:`hwcost.dataflow.FOLD_TIMINGS` that is named."""
        return FOLD_TIMINGS[self.fold_timing]
