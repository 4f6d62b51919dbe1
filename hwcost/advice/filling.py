"""The sizes that are worth most of those that use a limit, where some do.

The best set within a limit may leave much of it unused: where stairs are long, or where a measured cost falls with the
size. The window between a share of the limit and the limit is then searched exactly if all options can be combined.
What is not proven has a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from hwcost.advice.choices import Table, total_at
from hwcost.advice.search import MOST_OF_A_PART, PROVEN, Result, combined, entries_of, reachable, search
from hwcost.advice.tables import Figures
from hwcost.elimination.prices import Choice, Program
from hwcost.elimination.window import Between, best_between

__all__ = ["best_that_fills"]

Options: TypeAlias = Mapping[str, Figures]
Tables: TypeAlias = Callable[[Options], Sequence[Table]]

PARTIAL = 16  # choices to look at in a window for each row of effort
STEPS_TO_FILL = 12
FINEST = 2**20


def best_that_fills(options: Options, tables: Tables, most: int, limit: float, effort: int, fill: float) -> Result:
    """The best choice that takes at least the share ``fill`` of the limit; or without one, the best within it.

    Args:
        options, tables, most, limit, effort: as for :func:`hwcost.advice.search.search`.
        fill: from 0 to 1.

    Returns:
        A choice, whose bound is on those that take as much of the limit.
    """
    found, least = search(options, tables, most, limit, effort), fill * limit
    if found.cycles >= least:
        return found
    is_small = all(len(own) <= most for own in options.values())
    inside = _window(tables(options), options, least, limit, effort) if is_small else Between(None, math.inf)
    if inside.bound == -math.inf:
        return found
    bound, best = min(inside.bound, found.bound), None
    if inside.choice is not None:
        best = _at(options, tables, inside.choice)
    if best is None or bound > best.worth * (1 + PROVEN):
        priced, lower = _by_price(options, tables, most, limit, effort, least, found)
        bound = min(bound, lower) if is_small else bound
        if priced is not None and (best is None or priced.worth > best.worth):
            best = priced
    if best is None:
        return found
    return best._replace(bound=max(bound, best.worth), combined=found.combined)


def _window(tables: Sequence[Table], options: Options, least: float, limit: float, effort: int) -> Between:
    """The best choice between two limits, as far as the effort goes; the bound is infinite if there is no room."""
    counts = {name: len(own) for name, own in options.items()}
    if entries_of([set(table.widths) for table in tables], counts) > MOST_OF_A_PART:
        return Between(None, math.inf)
    costs = combined(tables, dict.fromkeys(counts, 0), {name: np.arange(count) for name, count in counts.items()})
    return best_between(Program.of(costs, counts, reachable(tables, limit)), least, PARTIAL * effort)


def _by_price(
    options: Options, tables: Tables, most: int, limit: float, effort: int, least: float, found: Result
) -> tuple[Result | None, float]:
    """A choice that takes ``least`` cycles, and a bound on the worth of all that do.

    Cycles get a worth of their own, which rises until they are enough; what is above the limit is worth no more. At
    each price, what takes enough cycles has the worth of ``least`` of them at least.
    """
    price = found.worth / limit / 2**STEPS_TO_FILL
    highest = found.worth / min(1.0, limit / FINEST)  # a cycle, or the finest share of the limit, is worth everything
    bound = math.inf
    while price <= highest:

        def with_price(some: Options, price: float = price) -> list[Table]:
            return [each._replace(worth=each.worth + price * np.minimum(each.cycles, limit)) for each in tables(some)]

        filled = search(options, with_price, most, limit, effort)
        bound = min(bound, filled.bound - price * least)
        if filled.cycles >= least:
            return _at(options, tables, filled.choice), bound
        price *= 4
    return None, bound


def _at(options: Options, tables: Tables, choice: Choice) -> Result:
    own = tables({name: options[name][[index]] for name, index in choice.items()})
    cycles, worth = total_at(own, dict.fromkeys(options, 0))
    return Result(choice, float(cycles), float(worth))
