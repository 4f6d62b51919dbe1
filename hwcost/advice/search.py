"""The search behind a budget: a walk over all options, then the exact solver over those that it has room for."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.advice.choices import Table, total_at
from hwcost.advice.exact import best_within
from hwcost.advice.tables import Figures
from hwcost.advice.walk import Walk
from hwcost.elimination.factors import Elimination, Factor, elimination_order
from hwcost.elimination.prices import Choice, Costs, Program, Set, best_price, least_bound, worth_keeping

__all__ = ["Result", "combined", "entries_of", "least_cycles", "reachable", "search", "thin"]

MOST_ENTRIES = 100_000_000
MOST_OF_A_PART = 10_000_000
LEAST_OPTIONS = 8
ROUNDS = 8
PROVEN = 1e-9
ROUNDING = 1e-12  # of sums of cycles that are not whole
SHRINKS = 0.95


class Result(NamedTuple):
    """The best choice found.

    Attributes:
        choice: the index of the option of every width.
        cycles, worth: of this choice.
        bound: on the worth of every choice within the limit.
        combined: the number of options that the exact solver combined.
    """

    choice: Choice
    cycles: float
    worth: float
    bound: float = math.inf
    combined: int = 0

    def beats(self, other: Result, limit: float) -> bool:
        """Whether it has more worth within the limit, or fewer cycles if the other one is not within it."""
        if other.cycles > limit:
            return self.cycles < other.cycles
        return self.cycles <= limit and self.worth > other.worth


def search(
    options: Mapping[str, Figures],
    tables_over: Callable[[Mapping[str, Figures]], Sequence[Table]],
    most: int,
    limit: float,
    effort: int,
) -> Result:
    """The choice with the most worth within a limit of cycles, or with the fewest cycles if none was found within it.

    Args:
        options: the sizes of each width, ascending; the last one is today's.
        tables_over: prices some of them.
        most: the number of options of a width to price at a time; if there are more, those used lie close together
            around the best choice.
        limit: on the cycles.
        effort: the most rows of the exact solver.
    """
    today = {name: len(own) - 1 for name, own in options.items()}
    best: Result | None = None
    for _ in range(ROUNDS):
        choice = today if best is None else best.choice
        used = {name: thin(len(own), most, choice[name]) for name, own in options.items()}
        tables = tables_over({name: options[name][own] for name, own in used.items()})
        here = {name: int(np.searchsorted(own, choice[name])) for name, own in used.items()}
        found = _Search(tables, {name: len(own) for name, own in used.items()}, limit, effort).run(here)
        is_complete = all(len(used[name]) == len(own) for name, own in options.items())
        found = found._replace(
            choice={name: int(used[name][index]) for name, index in found.choice.items()},
            bound=found.bound
            if is_complete
            else total_at(tables, {name: len(own) - 1 for name, own in used.items()})[1],
        )
        gains = best is None or found.beats(best, limit)
        best = found if best is None or gains else best
        if is_complete or not gains:
            break
    assert best is not None
    return best


def least_cycles(tables: Sequence[Table], counts: Mapping[str, int]) -> float:
    """The fewest cycles of any choice; a bound on them where there is no room to combine all options."""
    if entries_of([set(table.widths) for table in tables], counts) > MOST_OF_A_PART:
        return float(sum(table.cycles.min() for table in tables))
    costs = combined(tables, dict.fromkeys(counts, 0), {name: np.arange(count) for name, count in counts.items()})
    order = elimination_order((each.widths for each in costs), counts)[0]
    return -Elimination([Factor(each.widths, -each.cycles) for each in costs], order, counts).value


def thin(count: int, most: int, around: int) -> Figures:
    """About ``most`` of ``count`` indices, the first, the last and ``around`` among them: half of them around it."""
    if count <= most:
        return np.arange(count)
    adjacent = np.arange(around - most // 4, around + most // 4 + 1).clip(0, count - 1)
    spread = np.round(np.linspace(0, count - 1, max(2, most // 2))).astype(int)
    return np.unique(np.concatenate([adjacent, spread]))


class _Search:
    """The search over tables of all options that are used."""

    def __init__(self, tables: Sequence[Table], counts: Mapping[str, int], limit: float, effort: int) -> None:
        self.tables, self.counts, self.effort = tables, counts, effort
        self.limit = reachable(tables, limit)
        self.step = _common_step([table.worth for table in tables])
        self.walk = Walk(tables, counts)
        self.weights: dict[str, float] = defaultdict(float)
        today = {name: count - 1 for name, count in counts.items()}
        for table in tables:
            for name in table.widths:
                self.weights[name] += float(table.at(today)[0])

    def run(self, choice: Choice) -> Result:
        """The best choice that walk and exact solver find from one of today."""
        best, combined = self._walked(choice), 0
        tried: Counter[str] = Counter()
        for _ in range(ROUNDS):
            kept = self._part(best.choice, tried)
            found = self._solved(best, kept)
            gains = found.beats(best, self.limit)
            best = found if gains else best
            combined = sum(map(len, kept.values()))
            tried.update(list(kept))
            if combined == sum(self.counts.values()):
                return best._replace(bound=max(found.bound, best.worth), combined=combined)
            if not gains and len(tried) == len(self.counts):
                break
        return best._replace(bound=max(self._loose_bound(), best.worth), combined=combined)

    def _loose_bound(self) -> float:
        """The bound if each table could choose its own options."""

        def best(price: float) -> tuple[float, Set]:
            values = [table.worth - price * table.cycles for table in self.tables]
            at = [np.unravel_index(int(np.argmax(each)), each.shape) for each in values]
            return sum(float(each.max()) for each in values), _set(self.tables, at)

        least = [np.unravel_index(int(np.argmin(table.cycles)), table.cycles.shape) for table in self.tables]
        return least_bound(best, _set(self.tables, least), self.limit).bound

    def _walked(self, choice: Choice) -> Result:
        """What the walk makes of a choice."""
        choice = self.walk.down(choice, self.limit)
        if total_at(self.tables, choice)[0] <= self.limit:
            choice = self.walk.up(choice, self.limit)
        cycles, worth = total_at(self.tables, choice)
        return Result(choice, float(cycles), float(worth))

    def _part(self, choice: Choice, tried: Counter[str]) -> dict[str, Figures]:
        """The options to combine, of the widths that are not held.

        Of widths that meet in a layer, after a concatenation of many, those are held that were tried most often, and of
        these the ones whose layers take the fewest cycles.
        """
        few = {name: min(count, LEAST_OPTIONS) for name, count in self.counts.items()}
        scopes = [set(table.widths) for table in self.tables]
        if entries_of(scopes, self.counts) <= MOST_ENTRIES:
            return {name: np.arange(count) for name, count in self.counts.items()}
        while entries_of(scopes, few) > MOST_OF_A_PART:
            largest = max(scopes, key=lambda scope: math.prod(few[name] for name in scope))
            held = min(largest, key=lambda name: (-tried[name], self.weights[name], name))
            for scope in scopes:
                scope.discard(held)
        free = sorted(set().union(*scopes))
        most = max((self.counts[name] for name in free), default=1)
        while True:
            kept = {name: thin(self.counts[name], most, choice[name]) for name in free}
            entries = entries_of(scopes, {name: len(own) for name, own in kept.items()})
            if entries <= MOST_OF_A_PART or most <= LEAST_OPTIONS:
                return kept
            most = most * 3 // 4

    def _solved(self, best: Result, kept: Mapping[str, Figures]) -> Result:
        """The better one of the best choice known and the best one of a part."""
        start = best.choice
        counts = {name: len(own) for name, own in kept.items()}
        program = Program.of(combined(self.tables, start, kept), counts, self.limit)
        effort = self.effort if len(kept) == len(self.counts) else max(1, self.effort // 10)
        price, bound = 0.0, math.inf

        def better(choice: Choice) -> Result:
            found = self._walked(start | {name: int(kept[name][index]) for name, index in choice.items()})
            return found if found.beats(best, self.limit) else best

        while True:
            found = best_price(program)
            if found.bound < bound * (1 - PROVEN):
                price, bound = found.price, found.bound
            for choice in found.closest:
                best = better(choice)
            if best.cycles > self.limit:
                break
            least, before = best.worth + self.step, sum(program.counts.values())
            left = worth_keeping(program, price, least)
            if bound < least or not all(map(len, left.values())):
                bound = -math.inf
                break
            program, kept = program.over(left), {name: kept[name][left[name]] for name in kept}
            if sum(program.counts.values()) < SHRINKS * before:
                continue
            exact = best_within(program, price, least, effort)
            bound, worth = min(bound, max(exact.worth, exact.left_out)), best.worth
            best = best if exact.choice is None else better(exact.choice)
            if bound <= best.worth * (1 + PROVEN) or best.worth == worth:
                break
        return best._replace(bound=max(bound, best.worth))


def combined(tables: Iterable[Table], choice: Choice, kept: Mapping[str, Figures]) -> list[Costs]:
    """Tables over the options of a part, one for each set of widths; all other widths stay at their choice."""
    merged: dict[tuple[str, ...], Costs] = {}
    for table in tables:
        widths = tuple(sorted(name for name in table.widths if name in kept))
        mesh = dict(zip(widths, np.ix_(*(kept[name] for name in widths)), strict=True))
        shape = tuple(len(kept[name]) for name in widths)
        before = merged.get(widths, Costs(widths, np.zeros(shape), np.zeros(shape)))
        cycles, worth = table.at(choice | mesh)
        merged[widths] = Costs(widths, before.cycles + cycles, before.worth + worth)
    return list(merged.values())


def _set(tables: Sequence[Table], places: Sequence[Any]) -> Set:
    """The cycles and worth of one entry of each table."""
    cycles, worth = zip(
        *((each.cycles[at], each.worth[at]) for each, at in zip(tables, places, strict=True)), strict=True
    )
    return Set(float(sum(cycles)), float(sum(worth)), {})


def _common_step(values: Sequence[Figures]) -> int:
    """The largest number of which all differences within each of some arrays are multiples; 0 unless all are whole."""
    differences = [np.unique(each - each.flat[0]) for each in values]
    if any((each != np.rint(each)).any() for each in differences):
        return 0
    return int(np.gcd.reduce(np.concatenate(differences).astype(np.int64)))


def reachable(tables: Sequence[Table], limit: float) -> float:
    """The most cycles that sums of whole ones can have within a limit; of others, the limit less their rounding."""
    one = float(sum(table.cycles.flat[0] for table in tables))
    step = _common_step([table.cycles for table in tables])
    return one + math.floor((limit - one) / step) * step if step else limit * (1 - ROUNDING)


def entries_of(scopes: Sequence[set[str]], counts: Mapping[str, int]) -> float:
    """The entries of all tables of an elimination, or of the largest scope if that alone is too many."""
    largest = max(math.prod(float(counts[name]) for name in scope) for scope in scopes)
    return largest if largest > MOST_ENTRIES else elimination_order(scopes, counts)[1]
