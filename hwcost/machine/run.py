"""What a run of a network takes on top of its layers: a constant, the way to the host, and weights that do not fit."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.fields import COUNT, QUANTITY, RATE, Need, Part, Start, declare, is_finite, part

__all__ = ["Run"]


def _byte_per_cycle(array: Any) -> Any:
    return array.clock_hz


_SPILLS = Need("a finite spill_bytes_per_s", lambda array: is_finite(array.spill_bytes_per_s))
_FILLS = Need("a finite weight_capacity_bytes", lambda array: is_finite(array.weight_capacity_bytes))


@part
class Run(Part):
    """What a run of a network takes once, whatever its layers are; a layer alone has none of it.

    >>> Run(cycles_per_run=100.0)
    Run(cycles_per_run=100.0)
    """

    _: KW_ONLY
    cycles_per_run: Size = declare(
        QUANTITY, "cycle", "extra cycles per run of a network", "once, however many layers it has", default=0.0,
        start=Start(100_000.0, "100000", spread=2.0),
    )  # fmt: skip
    host_bytes_per_s: Size = declare(
        RATE, "B/s", "bandwidth to the host", "for the inputs and the outputs of a network, not between its layers",
        default=math.inf, start=Start(_byte_per_cycle, "one byte per cycle", spread=2.0),
    )  # fmt: skip
    weight_capacity_bytes: Size = declare(
        RATE, "B", "weights that stay on the chip from run to run",
        "whole layers leave, the last ones first, until the others fit", default=math.inf, need=_SPILLS,
    )  # fmt: skip
    filter_multiple: Size = declare(
        COUNT, "1", "filters are stored in multiples of this number", "counts for weight_capacity_bytes", default=1,
        need=_FILLS,
    )  # fmt: skip
    spill_bytes_per_s: Size = declare(
        RATE, "B/s", "bandwidth for weights that do not fit", "they arrive anew in each run", default=math.inf,
        need=_FILLS, start=Start(_byte_per_cycle, "one byte per cycle", spread=2.0),
    )  # fmt: skip

    @property
    def may_spill(self) -> bool:
        """Whether weights have limited room."""
        return is_finite(self.weight_capacity_bytes)

    @property
    def has_run(self) -> bool:
        """Whether a run takes more than its layers."""
        constant = self.cycles_per_run
        return self.may_spill or is_finite(self.host_bytes_per_s) or not (type(constant) is float and constant == 0.0)
