"""The best sizes within a limit where weights that do not fit take time, which belongs to no table.

They are searched in two ways. The first leaves these weights out of the tables. The second counts the bytes of all
weights as if none fitted, less those for which there is room: never more than what spills, but close to it where most
of them do. Each sets part of the limit aside for the rest (:mod:`hwcost.elimination.aside`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hwcost.advice.search import Result
from hwcost.elimination.aside import best_with_aside
from hwcost.elimination.prices import Choice

__all__ = ["best_with_spill"]


class _Search(Protocol):
    def __call__(self, limit: float, *, spilled: bool) -> Result: ...


class _Tried(NamedTuple):
    """A result with all its cycles, and those of them that the tables lacked."""

    found: Result
    more: float


def best_with_spill(
    search: _Search, cycles_of: Callable[[Choice], tuple[float, float]], limit: float, room: float
) -> Result:
    """The best choice within a limit, weights that do not fit included; else the one with the fewest cycles found.

    Args:
        search: the best choice within a limit on the cycles of tables, in which weights count as if none fitted if they
            are ``spilled``; or the one with the fewest.
        cycles_of: the cycles of a choice without weights that do not fit, and those of these weights.
        limit: on both.
        room: the cycles of as many weights as there is room for.
    """
    tried: list[_Tried] = []

    def within(limit: float, *, spilled: bool) -> _Tried | None:
        found = search(limit + room * spilled, spilled=spilled)
        bare, spill = cycles_of(found.choice)
        more = bare + spill - (found.cycles - room) if spilled else spill
        tried.append(_Tried(found._replace(cycles=bare + spill if spill else bare), more))
        return tried[-1] if found.cycles <= limit + room * spilled else None

    best, bounds = [], []
    for spilled in (False, True):
        first = len(tried)
        way = functools.partial(within, spilled=spilled)
        best.append(best_with_aside(way, limit, lambda each: each.more, lambda each: each.found.worth))
        bounds.append(tried[first].found.bound)
        if not tried[0].more:
            break
    good = [each.found for each in best if each is not None]
    chosen = max(good, key=lambda found: found.worth) if good else min((e.found for e in tried), key=lambda f: f.cycles)
    return chosen._replace(bound=max(min(bounds), chosen.worth))
