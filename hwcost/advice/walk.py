"""A set of widths within a limit, by a greedy walk and local moves over the stairs. It takes milliseconds.

The walk narrows one width after the other, always where most cycles are saved for each MAC lost, until the limit is
met. Then one or two widths at a time move to any other of their options, as long as worth is gained.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hwcost.advice.choices import Table, total_at
from hwcost.advice.tables import Figures
from hwcost.elimination.prices import Choice

__all__ = ["Walk"]

MOST_PAIRS = 2000
MOVES_AT_A_TIME = 20


class _Line(NamedTuple):
    """What changes at each option of one width, sorted by cycles, with the best option up to each of them."""

    cycles: Figures
    worth: Figures
    up_to: Figures
    best: Figures
    option: Figures


class Walk:
    """Moves over the options of all widths.

    Args:
        tables: of all operations.
        counts: the number of options of each width.
    """

    def __init__(self, tables: Sequence[Table], counts: Mapping[str, int]) -> None:
        self._tables, self._counts = tables, counts
        self._own = {name: [table for table in tables if name in table.widths] for name in counts}
        meeting = {pair for table in tables for pair in itertools.combinations(sorted(table.widths), 2)}
        pairs = list(itertools.combinations(sorted(counts), 2))
        few = pairs if len(pairs) <= MOST_PAIRS else []
        self._meeting = [pair for pair in few if pair in meeting]
        self._apart = [pair for pair in few if pair not in meeting]

    def down(self, choice: Choice, limit: float) -> Choice:
        """The choice narrowed until it is within the limit, or until nothing takes fewer cycles."""
        choice = dict(choice)
        over = total_at(self._tables, choice)[0] - limit
        while over > 0:
            rated = [(*self._rate(name, choice, over), name) for name in self._counts]
            rate, index, name = max(rated, key=lambda each: each[0])
            if rate <= 0:
                break
            choice[name] = index
            over = total_at(self._tables, choice)[0] - limit
        return choice

    def _rate(self, name: str, choice: Choice, over: float) -> tuple[float, int]:
        """The most cycles that an option saves for each MAC lost, up to those over the limit, and that option."""
        cycles, worth = self._change(name, choice)
        saved, lost = np.minimum(-cycles, over), np.maximum(-worth, 1e-9)
        rates = np.where(cycles < 0, saved / lost, 0.0)
        index = int(np.argmax(rates))
        return float(rates[index]), index

    def _change(self, name: str, choice: Choice) -> tuple[Figures, Figures]:
        """What each option of a width changes in cycles and worth."""
        cycles, worth = total_at(self._own[name], choice | {name: np.arange(self._counts[name])})
        return cycles - cycles[choice[name]], worth - worth[choice[name]]

    def up(self, choice: Choice, limit: float) -> Choice:
        """The choice, which is within the limit, after all moves of one or two widths that gain worth within it."""
        choice = dict(choice)
        cycles, worth = total_at(self._tables, choice)
        while True:
            before = worth
            moves = sorted(self._moves(choice, limit - cycles), key=lambda each: -each[0])
            for _, move in moves[:MOVES_AT_A_TIME]:
                tried = choice | move
                new_cycles, new_worth = total_at(self._tables, tried)
                if new_cycles <= limit and new_worth > worth:
                    choice, cycles, worth = tried, new_cycles, new_worth
            if worth == before:
                return choice

    def _moves(self, choice: Choice, slack: float) -> Iterator[tuple[float, Choice]]:
        """The best move of each pair of widths, and the worth that it gains."""
        lines = {name: _line(*self._change(name, choice)) for name in self._counts}
        for name, line in lines.items():
            last = int(np.searchsorted(line.cycles, slack, side="right")) - 1
            if last >= 0:
                yield float(line.up_to[last]), {name: int(line.option[line.best[last]])}
        for one, other in self._apart:
            yield _best_of_two(one, lines[one], other, lines[other], slack)
        for pair in self._meeting:
            yield self._best_of_pair(pair, choice, slack)

    def _best_of_pair(self, pair: tuple[str, str], choice: Choice, slack: float) -> tuple[float, Choice]:
        """The best move of two widths that meet in a table."""
        one, other = pair
        tables = [*self._own[one], *(table for table in self._own[other] if one not in table.widths)]
        mesh = {one: np.arange(self._counts[one])[:, np.newaxis], other: np.arange(self._counts[other])}
        cycles, worth = total_at(tables, choice | mesh)
        at = choice[one], choice[other]
        gains = np.where(cycles - cycles[at] <= slack, worth - worth[at], -np.inf)
        best = np.unravel_index(int(np.argmax(gains)), gains.shape)
        return float(gains[best]), {one: int(best[0]), other: int(best[1])}


def _line(cycles: Figures, worth: Figures) -> _Line:
    order = np.lexsort((-worth, cycles))
    sorted_worth = worth[order]
    up_to = np.maximum.accumulate(sorted_worth)
    best = np.maximum.accumulate(np.where(sorted_worth == up_to, np.arange(len(order)), 0))
    return _Line(cycles[order], sorted_worth, up_to, best, order)


def _best_of_two(one: str, line: _Line, other: str, second: _Line, slack: float) -> tuple[float, Choice]:
    """The best move of two widths whose changes add up."""
    last = np.searchsorted(second.cycles, slack - line.cycles, side="right") - 1
    gains = np.where(last >= 0, line.worth + second.up_to[last], -np.inf)
    index = int(np.argmax(gains))
    best = int(second.option[second.best[last[index]]])
    return float(gains[index]), {one: int(line.option[index]), other: best}
