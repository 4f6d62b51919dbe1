"""The cost of a layer or a network, as a value that adds and scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import Size, check_finite, frozen, is_number, to_numpy, true_divide
from hwcost.model.sums import Sums

__all__ = ["PARTS", "Cost"]

PARTS = ("compute", "memory", "overhead")
"""The parts of a cost that can bound a layer."""


@dataclass(frozen=True, eq=False)
class Cost(Sums):
    """Sums over layers; ratios are derived from the sums and never averaged.

    Attributes:
        macs: multiply-accumulates that the layer needs.
        cycles: clock cycles on the array.
        seconds: the same at the array's clock.
        folds: passes over the array; if several share a layer, over the one that has the most to do.
        pe_cycles: cycles times processing elements: the MACs that the array could have done in that time.
        compute_cycles: cycles of the folds.
        memory_cycles: cycles in which weights, inputs and outputs move, most of which hide behind compute; 0 without a
            memory limit.
        overhead_cycles: cycles on top of both: start-up, blocks, a constant.
        waiting_cycles: cycles in which the array waits for memory, neither compute nor overhead.

    ``cycles`` is compute + overhead + waiting, to the rounding of floats.
    Each is a number, or an array for a sweep or a soft width. Costs add, and scale by a number:

    >>> layer = Cost(macs=2400, cycles=38, seconds=38e-9, folds=38, pe_cycles=2432)
    >>> (layer + layer).cycles, (3 * layer).macs, sum([layer, layer]).folds
    (76, 7200, 76)
    >>> round(layer.utilization, 4)
    0.9868
    """

    macs: Size = 0
    cycles: Size = 0
    seconds: Size = 0.0
    folds: Size = 0
    pe_cycles: Size = 0
    compute_cycles: Size = 0
    memory_cycles: Size = 0
    overhead_cycles: Size = 0
    waiting_cycles: Size = 0

    def __post_init__(self) -> None:
        for name, figure in vars(self).items():
            if type(figure) is not int:
                check_finite(figure, name)
                if not is_number(figure):
                    object.__setattr__(self, name, frozen(figure))

    @property
    def bound(self) -> Any:
        """The longest of compute, memory and overhead: its name, or an array of names for a sweep.

        >>> Cost(cycles=10, compute_cycles=4, memory_cycles=9, overhead_cycles=1).bound
        'memory'
        """
        parts = [getattr(self, f"{name}_cycles") for name in PARTS]
        if all(map(is_number, parts)):
            return PARTS[parts.index(max(parts))]
        columns = np.broadcast_arrays(*map(to_numpy, parts))
        return np.asarray(PARTS)[np.argmax(np.stack(columns), axis=0)]

    @property
    def utilization(self) -> Size:
        """MACs over cycles x PEs: the share of the array's work that was needed; 0 for no work at all."""
        if is_number(self.pe_cycles) and self.pe_cycles == 0:
            return 0.0
        return true_divide(self.macs, self.pe_cycles, what="the MACs")

    def as_dict(self) -> dict[str, Size]:
        """Every figure by name, derived ones included; needs values, which a tracing compiler does not have."""
        return {**self.figures(), "bound": self.bound, "utilization": self.utilization}
