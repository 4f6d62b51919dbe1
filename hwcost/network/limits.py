"""A limit on the cost of a network, as people give it: a share of a reference, cycles, seconds, or joules."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from hwcost.arrays import is_real
from hwcost.errors import MISSING, InvalidValueError

__all__ = ["FILL", "Limit", "Target"]

FILL = 0.97
"""A network uses at least this share of a limit, if any does."""


class Limit(NamedTuple):
    """A limit on the cycles of a network, which are seconds or joules where costs are counted in them.

    Attributes:
        cycles: at most.
        today: the cycles that count as a share of 1.
        field, value: what the caller gave.

    >>> Limit.of(2_000, 1e9, target=0.75).cycles
    1500.0
    """

    cycles: float
    today: float
    field: str
    value: float

    @property
    def asked(self) -> str:
        """What the caller gave, in words."""
        return f"{self.field} {self.value:g}"

    @classmethod
    def of(
        cls,
        today: float,
        clock_hz: float | None,
        measure: str = "cycles",
        /,
        *,
        target: float | None = None,
        cycles: float | None = None,
        seconds: float | None = None,
        joules: float | None = None,
    ) -> Limit:
        """The limit that one of the four gives.

        Args:
            today: the cost that counts as 1.
            clock_hz: cycles per second, if they are known.
            measure: what costs are counted in: "cycles", "seconds" or "energy_joules".
            target: a share of ``today``.
            cycles, seconds, joules: in these units.

        Raises:
            InvalidValueError: none or several of them, one that is not a positive number, or that cannot be converted.
        """
        given = {"target": target, "cycles": cycles, "seconds": seconds, "joules": joules}
        factors = {"target": today} | _factors(measure, clock_hz)
        names = [name for name, value in given.items() if value is not None]
        if len(names) != 1:
            allowed = f"one of target (a share of today's), {' and '.join(list(factors)[1:])}"
            raise InvalidValueError("target", names or MISSING, allowed)
        (name,) = names
        value = given[name]
        if not is_real(value) or not 0 < value < math.inf:  # type: ignore[operator]
            raise InvalidValueError(name, value, "a number above 0")
        if name not in factors:
            reason = f"costs are in {list(factors)[1]}"
            raise InvalidValueError(name, value, f"pass {' or '.join(factors)}", reason=reason)
        return cls(float(value) * float(factors[name]), today, name, float(value))  # type: ignore[arg-type]


def _factors(measure: str, clock_hz: float | None) -> dict[str, float]:
    """What a measure is in units that a limit may have."""
    if measure == "cycles":
        return {"cycles": 1.0} | ({} if clock_hz is None else {"seconds": clock_hz})
    return {"seconds": 1.0} if measure == "seconds" else {"joules": 1.0}


_FORM = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*(cycles|ms)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """A limit as people write it.

    Attributes:
        amount: above 0.
        unit: "" for a share of a reference's cycles, "cycles" or "ms".

    >>> str(Target.parse("2100 cycles")), Target.parse(0.75), Target.parse("0.002ms").given
    ('2100cycles', Target(amount=0.75, unit=''), {'seconds': 2e-06})
    """

    amount: float
    unit: str = ""

    @classmethod
    def parse(cls, text: str | float) -> Target:
        """The target in a text; raises InvalidValueError for an unknown unit, or no positive finite number."""
        match = None if isinstance(text, bool) else _FORM.fullmatch(str(text))
        if match is None or not 0 < float(match[1]) < math.inf:
            allowed = "a positive number (of the reference's cycles), or one with a unit, like 2100cycles or 0.002ms"
            raise InvalidValueError("target", text, allowed)
        return cls(float(match[1]), (match[2] or "").lower())

    def __str__(self) -> str:
        short = f"{self.amount:g}"
        return f"{short if float(short) == self.amount else self.amount}{self.unit}"

    @property
    def given(self) -> dict[str, float]:
        """The same as one argument by name: ``target``, ``cycles`` or ``seconds``."""
        name, scale = {"": ("target", 1.0), "cycles": ("cycles", 1.0), "ms": ("seconds", 1e-3)}[self.unit]
        return {name: self.amount * scale}
