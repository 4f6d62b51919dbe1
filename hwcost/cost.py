"""What a layer or a network costs, as a value that adds and scales."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hwcost._arrays import Size, is_number, product, total, true_divide
from hwcost.errors import InvalidValueError

__all__ = ["Cost"]


@dataclass(frozen=True)
class Cost:
    """Sums over layers; ratios are derived from the sums and never averaged.

    Attributes:
        macs: multiply-accumulates that the layer needs.
        cycles: clock cycles on the array.
        seconds: the same at the array's clock.
        folds: passes over the array.
        pe_cycles: cycles times processing elements: what could have been computed in that time.

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
        return Cost(*(product(getattr(self, f.name), factor, what=f.name) for f in fields(self)))

    __rmul__ = __mul__

    def as_dict(self) -> dict[str, Size]:
        """Every figure by name, utilization included."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"utilization": self.utilization}
