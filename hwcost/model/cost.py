"""What a layer or a network costs, as a value that adds and scales."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from hwcost.arrays import Size, is_number, product, to_numpy, total, true_divide
from hwcost.errors import InvalidValueError

__all__ = ["PARTS", "Cost"]

PARTS = ("compute", "memory", "overhead")
"""What can bound a layer."""


@dataclass(frozen=True)
class Cost:
    """Sums over layers; ratios are derived from the sums and never averaged.

    Attributes:
        macs: multiply-accumulates that the layer needs.
        cycles: clock cycles on the array.
        seconds: the same at the array's clock.
        folds: passes over the array.
        pe_cycles: cycles times processing elements: what could have been computed in that time.
        compute_cycles: what the folds take.
        memory_cycles: what moving weights, inputs and outputs takes, most of which hides behind computing; 0 where
            nothing limits it.
        overhead_cycles: what layers take before and besides both: starting up, a constant.

    ``cycles`` is compute + overhead + what is left to wait for memory (:attr:`waiting_cycles`).
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

    __array_ufunc__: ClassVar[None] = None  # so that numpy leaves ``array * cost`` to the cost

    @property
    def waiting_cycles(self) -> Size:
        """The cycles in which the array waits for memory: those that are neither compute nor overhead."""
        return total(self.cycles, -self.compute_cycles, -self.overhead_cycles, what="the waiting cycles")

    @property
    def bound(self) -> Any:
        """Which of compute, memory and overhead takes longest: its name, or an array of names for a sweep.

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

    def __add__(self, other: object) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(*(total(getattr(self, f.name), getattr(other, f.name), what=f.name) for f in fields(self)))

    def __radd__(self, other: object) -> Cost:
        return self if is_number(other) and other == 0 else NotImplemented

    def __mul__(self, factor: Any) -> Cost:
        if isinstance(factor, Cost):
            return NotImplemented
        if is_number(factor) and not factor >= 0:
            raise InvalidValueError("the factor of a Cost", factor, "a number of at least 0")
        if isinstance(factor, np.ndarray) and not np.all(factor >= 0):
            raise InvalidValueError("the factor of a Cost", factor.min().item(), "numbers of at least 0")
        return Cost(*(product(getattr(self, f.name), factor, what=f.name) for f in fields(self)))

    __rmul__ = __mul__

    def as_dict(self) -> dict[str, Size]:
        """Every figure by name, those derived included; needs values, which a tracing compiler does not have."""
        derived = ("waiting_cycles", "bound", "utilization")
        return {name: getattr(self, name) for name in (*(f.name for f in fields(self)), *derived)}
