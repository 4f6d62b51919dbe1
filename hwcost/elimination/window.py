"""The choice of the most worth whose cycles are between two limits, exactly.

Three eliminations say of every partial choice what its best completion is worth at a price of cycles, and the fewest
and the most cycles that a completion takes. Partial choices grow one width at a time, against the order of elimination,
the most promising first; those that cannot end between the limits, or with more worth than the best choice known, are
out. Of two that no later table tells apart and that take the same cycles, the one of more worth stays. If effort ends
before all are grown, their best completions bound what was not found.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hwcost.elimination.factors import Factor, Figures
from hwcost.elimination.prices import TOLERANCE, Choice, Program, best_price

__all__ = ["Between", "best_between"]

FIRST, MOST = 1 << 10, 1 << 18
"""Partial choices that grow together: until one choice is known, and then."""


class Between(NamedTuple):
    """What was found between two limits.

    Attributes:
        choice: the one of the most worth; None if none was found.
        bound: on the worth of every choice between the limits; minus infinity if there is none.
    """

    choice: Choice | None
    bound: float


def best_between(program: Program, least: float, effort: float = math.inf) -> Between:
    """The choice of the most worth that takes from ``least`` cycles to the limit.

    Nothing else is worth more but for a share of 1e-9, if the effort is enough.

    Args:
        program: what to choose from, and the limit.
        least: cycles.
        effort: the most partial choices to look at.
    """
    most_worth = program.at(program.eliminated(0.0).best)
    cycles = most_worth.cycles
    if least <= cycles <= program.limit:
        return Between(most_worth.choice, most_worth.worth)
    if cycles < least:  # then ``least`` is what binds: the same with fewer cycles as more
        costs = [each._replace(cycles=-each.cycles) for each in program.costs]
        program, least = program._replace(costs=costs, limit=-least), -program.limit
    return _Search(program, least).result(effort)


class _Rows(NamedTuple):
    """Partial choices.

    Attributes:
        options: of the widths in the order of elimination, shape (count, widths).
        values: of the best completion by each elimination, shape (3, count).
    """

    options: Figures
    values: Figures

    def take(self, rows: Figures) -> _Rows:
        """Some of the rows."""
        return _Rows(self.options[rows], self.values[:, rows])


class _Search:
    def __init__(self, program: Program, least: float) -> None:
        self.program, self.least = program, least
        self.price = best_price(program).price
        self.parts = (program.eliminated(self.price), program.of_cycles(-1.0), program.of_cycles(1.0))
        self.place = {name: index for index, name in enumerate(program.order)}
        self.room = TOLERANCE * max(abs(program.limit), abs(self.parts[1].value), 1.0)  # for rounded sums
        self.best: Choice | None = None
        self.worth = -np.inf
        below: set[int] = set()
        self.kept: list[list[int]] = []  # for each width, those after it that tables before it follow
        for index, factors in enumerate(self.parts[0].factors):
            self.kept.append(sorted(place for place in below if place >= index))
            below |= {self.place[name] for each in factors for name in each.widths}

    def result(self, effort: float) -> Between:
        """Grows the most promising partial choices first, and drops the others when a better choice is known."""
        count = len(self.place)
        whole = _Rows(np.zeros((1, count), dtype=np.int32), np.array([[each.value] for each in self.parts]))
        left = [(count, whole)]
        while left:
            index, rows = left.pop()
            rows = rows.take(self._may_win(rows.values))
            if not len(rows.options):
                continue
            if index == 0:
                self._finish(rows)
                continue
            effort -= len(rows.options) * self.program.counts[self.program.order[index - 1]]
            if effort < 0:
                left.append((index, rows))
                break
            rows = self._grown(index - 1, rows)
            most = FIRST if self.best is None else MOST
            step = max(1, most // self.program.counts[self.program.order[max(index - 2, 0)]])
            starts = reversed(range(0, len(rows.options), step))
            left += [(index - 1, _Rows(rows.options[at : at + step], rows.values[:, at : at + step])) for at in starts]
        open_values = [each.values[0].max() for _, each in left]
        bound = max(open_values, default=-np.inf) + self.price * self.program.limit
        return Between(self.best, float(max(bound, self.worth)))

    def _may_win(self, values: Figures) -> Figures:
        """Where a completion can be between the limits and worth more than the best choice known."""
        limit = self.program.limit
        more = -np.inf if self.best is None else self.worth + TOLERANCE * max(1.0, abs(self.worth))
        return np.asarray(
            (values[0] > more - self.price * limit)
            & (values[1] >= -limit - self.room)
            & (values[2] >= self.least - self.room)
        )

    def _grown(self, index: int, rows: _Rows) -> _Rows:
        """The rows with each option of one more width, the most promising first."""
        values = np.stack([self._values(each.factors[index], index, rows) for each in self.parts])
        values += (rows.values - [self._message(each.messages[index], rows) for each in self.parts])[:, :, None]
        row, option = np.nonzero(self._may_win(values))
        values, options = values[:, row, option], rows.options[row]
        options[:, index] = option
        order = np.lexsort((-values[0], values[1], *options[:, self.kept[index]].T))
        told = np.column_stack((values[1, order], options[order][:, self.kept[index]]))
        order = order[np.append(True, (told[1:] != told[:-1]).any(axis=1))[: len(order)]]
        return _Rows(options, values).take(order[np.argsort(-values[0, order], kind="stable")])

    def _values(self, factors: list[Factor], index: int, rows: _Rows) -> Figures:
        """The sum of the factors of a width, one column for each of its options."""
        name = self.program.order[index]
        total = np.zeros((len(rows.options), self.program.counts[name]))
        for widths, values in factors:
            others = tuple(rows.options[:, self.place[each]] for each in widths if each != name)
            total += np.moveaxis(values, widths.index(name), -1)[others]
        return total

    def _message(self, message: Factor, rows: _Rows) -> Figures:
        values: Figures = message.values[tuple(rows.options[:, self.place[name]] for name in message.widths)]
        return np.broadcast_to(values, len(rows.options))

    def _finish(self, rows: _Rows) -> None:
        """Takes the best of whole choices between the limits, their cycles and worth added up anew."""
        choice = {name: rows.options[:, place] for name, place in self.place.items()}
        at = [(each, tuple(choice[name] for name in each.widths)) for each in self.program.costs]
        cycles = np.sum([np.broadcast_to(each.cycles[index], len(rows.options)) for each, index in at], axis=0)
        worth = np.sum([np.broadcast_to(each.worth[index], len(rows.options)) for each, index in at], axis=0)
        worth = np.where((cycles <= self.program.limit) & (cycles >= self.least), worth, -np.inf)
        row = int(worth.argmax())
        if worth[row] > self.worth:
            self.worth = float(worth[row])
            self.best = {name: int(own[row]) for name, own in choice.items()}
