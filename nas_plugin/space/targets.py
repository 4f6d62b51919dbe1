"""Limits on the exact cost: ``0.75`` of the reference, ``2100cycles`` or ``0.002ms``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwcost import InvalidValueError

if TYPE_CHECKING:  # a command reads the tables, and with them this module, without torch
    from nas_plugin.space.arch_def import ArchDef

__all__ = ["LEAST", "Target"]

LEAST = 0.97
"""A network uses at least this share of a target, if the search space has one that does."""

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
        """The target in a text such as ``--target`` takes.

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
        short = f"{self.amount:g}"
        return f"{short if float(short) == self.amount else self.amount}{self.unit}"

    def cycles(self, arch: ArchDef) -> float:
        """The limit in cycles of the search space's array.

        >>> from nas_plugin import load_arch_def
        >>> [round(Target.parse(text).cycles(load_arch_def()), 1) for text in ("0.75", "0.002ms", "2100cycles")]
        [2116.5, 2000.0, 2100.0]
        """
        if self.unit == "cycles":
            return self.amount
        if self.unit == "ms":
            return self.amount * 1e-3 * arch.array.clock_hz
        return self.amount * float(arch.cycles(arch.reference))
