"""Bounds on the worth of all sets of widths within a limit of cycles, by a price of cycles.

For any price of a cycle, the maximum of worth - price * (cycles - limit) over all sets of widths is at least the best
worth within the limit. Elimination finds this maximum and, for each option, the maximum over the sets that contain it:
options whose bound is below the best set known are out. (Everett, Generalized Lagrange Multiplier Method, 1963.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from hwcost.elimination.factors import Elimination, Factor, Figures, elimination_order, maximum

__all__ = ["Choice", "Costs", "Price", "Program", "Set", "best_price", "least_bound", "worth_keeping"]

Choice: TypeAlias = "dict[str, int]"
"""The index of the option of every width."""

TOLERANCE = 1e-9
PRICES = (1.0, 0.6, 1.6)


class Costs(NamedTuple):
    """Cycles and worth over the options of some widths, one axis for each."""

    widths: tuple[str, ...]
    cycles: Figures
    worth: Figures

    def priced(self, price: float) -> Factor:
        """Worth less the price of the cycles."""
        return Factor(self.widths, self.worth - price * self.cycles)

    def over(self, kept: Mapping[str, Figures]) -> Costs:
        """The same over some of the options."""
        index = np.ix_(*(kept[name] for name in self.widths))
        return Costs(self.widths, self.cycles[index], self.worth[index])

    def at(self, choice: Choice) -> tuple[float, float]:
        """Cycles and worth of one option of each width."""
        index = tuple(choice[name] for name in self.widths)
        return float(self.cycles[index]), float(self.worth[index])


class Set(NamedTuple):
    """A choice with its cycles and worth."""

    cycles: float
    worth: float
    choice: Choice


class Program(NamedTuple):
    """What one call of the exact solver chooses from.

    Attributes:
        costs: of all operations; worth minus infinity rules out a combination.
        counts: the number of options of each width.
        limit: on the cycles.
        order: in which to eliminate the widths.
    """

    costs: Sequence[Costs]
    counts: Mapping[str, int]
    limit: float
    order: Sequence[str]

    @classmethod
    def of(cls, costs: Sequence[Costs], counts: Mapping[str, int], limit: float) -> Program:
        """The program in the order that takes the smallest tables."""
        return cls(costs, counts, limit, elimination_order((each.widths for each in costs), counts)[0])

    def over(self, kept: Mapping[str, Figures]) -> Program:
        """The same over some of the options."""
        counts = {name: len(own) for name, own in kept.items()}
        return Program.of([each.over(kept) for each in self.costs], counts, self.limit)

    def eliminated(self, price: float) -> Elimination:
        """The elimination of all widths at a price of cycles."""
        return Elimination([each.priced(price) for each in self.costs], self.order, self.counts)

    def of_cycles(self, sign: float) -> Elimination:
        """The elimination of all widths for the sign times the cycles, without what is worth minus infinity."""
        costs = self.costs
        factors = [Factor(each.widths, np.where(each.worth == -np.inf, -np.inf, sign * each.cycles)) for each in costs]
        return Elimination(factors, self.order, self.counts)

    def at(self, choice: Choice) -> Set:
        """One choice with its cycles and worth."""
        cycles, worth = zip(*(each.at(choice) for each in self.costs), strict=True)
        return Set(sum(cycles), sum(worth), choice)

    def threshold(self, price: float, least: float) -> float:
        """What a set within the limit with ``least`` worth has at least, less the price of its cycles."""
        return least - price * self.limit - TOLERANCE * abs(least)


class Price(NamedTuple):
    """The price of a cycle in worth with the least bound.

    Attributes:
        price: in worth.
        bound: on the worth of any set within the limit.
        closest: the best sets at two prices, on either side of the limit if there are any.
    """

    price: float
    bound: float
    closest: list[Choice]


def best_price(program: Program) -> Price:
    """The price with the least bound; the bound is minus infinity if no set is within the limit."""

    def best(found: Elimination) -> tuple[float, Set]:
        return found.value, program.at(found.best)

    _, fewest = best(program.of_cycles(-1.0))
    return least_bound(lambda price: best(program.eliminated(price)), fewest, program.limit)


def least_bound(best: Callable[[float], tuple[float, Set]], fewest: Set, limit: float) -> Price:
    """The price with the least bound.

    Two sets, one on either side of the limit, suggest a price: the worth between them over the cycles between them. The
    best set at this price replaces one of them, until both are best at their price.

    Args:
        best: the largest worth less the price of the cycles, and the set that has them.
        fewest: the set with the fewest cycles.
        limit: on the cycles.
    """
    if fewest.cycles > limit:
        return Price(0.0, -np.inf, [fewest.choice])
    within = fewest
    bound, over = best(0.0)
    price = 0.0
    while over.cycles > limit and over.worth > within.worth:
        tried = (over.worth - within.worth) / (over.cycles - within.cycles)
        value, found = best(tried)
        if value + tried * limit < bound:
            price, bound = tried, value + tried * limit
        if value - (over.worth - tried * over.cycles) <= TOLERANCE * abs(over.worth):
            break
        over, within = (found, within) if found.cycles > limit else (over, found)
    return Price(price, bound, [within.choice, over.choice])


def worth_keeping(program: Program, price: float, least: float) -> dict[str, Figures]:
    """The indices of the options that a set within the limit that is worth at least ``least`` may contain."""
    kept = {name: np.full(program.counts[name], True) for name in program.order}
    for tried in (price * factor for factor in PRICES):
        forward, threshold = program.eliminated(tried), program.threshold(tried, least)
        for name, factors, outside in zip(program.order, forward.factors, forward.outside(), strict=True):
            kept[name] &= maximum([*factors, outside], (name,), program.counts).values >= threshold
    return {name: np.flatnonzero(each) for name, each in kept.items()}
