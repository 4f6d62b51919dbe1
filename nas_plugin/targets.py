"""How long a network may take: ``0.75`` of the reference, ``2100cycles`` or ``0.002ms``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hwcost import InvalidValueError
from nas_plugin.arch_def import ArchDef

__all__ = ["LEAST", "Target"]

LEAST = 0.97
"""The share of a target that a network has to use, where the search space has one that does."""

ALLOWED = "a positive number (of the reference network's cycles), or one with a unit, as 2100cycles or 0.002ms"
_FORM = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(cycles|ms)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A limit on the exact cost.

    Attributes:
        amount: above 0.
        unit: "" for a share of the reference network's cycles, "cycles" or "ms".

    >>> str(Target.parse("2100 cycles")), Target.parse(0.75)
    ('2100cycles', Target(amount=0.75, unit=''))
    """

    amount: float
    unit: str = ""

    @classmethod
    def parse(cls, text: str | float) -> Target:
        """From what stands behind ``--target``.

        Raises:
            InvalidValueError: no positive finite number, or an unknown unit.
        """
        match = None if isinstance(text, bool) else _FORM.fullmatch(str(text))
        try:
            amount = float(match[1]) if match else math.nan
        except ValueError:
            amount = math.nan
        if match is None or not 0 < amount < math.inf:
            raise InvalidValueError("target", text, ALLOWED)
        return cls(amount, (match[2] or "").lower())

    def __str__(self) -> str:
        return (
            f"{self.amount:g}{self.unit}" if self.amount == float(f"{self.amount:g}") else f"{self.amount}{self.unit}"
        )

    def cycles(self, arch: ArchDef) -> float:
        """The same in cycles of the search space's array.

        >>> from nas_plugin.arch_def import load_arch_def
        >>> [round(Target.parse(text).cycles(load_arch_def()), 1) for text in ("0.75", "0.002ms", "2100cycles")]
        [2116.5, 2000.0, 2100.0]
        """
        if self.unit == "cycles":
            return self.amount
        if self.unit == "ms":
            return self.amount * 1e-3 * arch.array.clock_hz
        return self.amount * float(arch.cycles(arch.reference))
