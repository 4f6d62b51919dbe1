"""A term of the model as a value: cycles that a machine adds to those of its folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwcost.arrays import Size
from hwcost.errors import InvalidValueError

__all__ = ["Term", "check_name"]

_KINDS = ("overhead", "memory")


@dataclass(frozen=True)
class Term:
    """Cycles on top of those of the folds.

    ``OVERHEADS`` and ``MEMORY`` of :mod:`hwcost.model.formula` are the terms that ship; a machine
    takes more of them as ``SystolicArray(..., terms=(Term(...),))``.

    Args:
        name: what reports call it.
        cycles: a function of a ``Work`` (:mod:`hwcost.model.formula`): the cycles of all its products, or 0.
        summary: one line for people.
        kind: "overhead" is added to the rest; "memory" is part of the transfer that overlaps with compute.
        reads: fields of the machine that the function reads, which then have an effect.

    Raises:
        InvalidValueError: an empty name, something that cannot be called, an unknown kind.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> launch = Term("launch", lambda work: 50 * work.gemm.count, "launching a product")
    >>> layer_cost(Linear(12, 6), SystolicArray(8, 8, terms=(launch,))).overhead_cycles
    50
    """

    name: str
    cycles: Callable[[Any], Size]
    summary: str
    kind: str = "overhead"
    reads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "Term.name")
        if not callable(self.cycles):
            raise InvalidValueError("Term.cycles", self.cycles, "a function of a Work that returns cycles")
        if self.kind not in _KINDS:
            raise InvalidValueError("Term.kind", self.kind, f"one of: {', '.join(_KINDS)}")


def check_name(value: object, place: str) -> None:
    """Raises unless the value is a name that reports can print."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(place, value, "a text that is not empty")
