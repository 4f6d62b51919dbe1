"""The set of widths of the most worth within a limit of cycles, exactly.

An elimination keeps, for each choice of the widths that a message follows, the pairs of cycles and worth that no other
pair dominates and whose bound, at a price of cycles, reaches the best set known. With room for all of them, the result
is optimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hwcost.advice.tables import Figures
from hwcost.elimination.factors import Factor, at_least
from hwcost.elimination.prices import Choice, Costs, Program

__all__ = ["Found", "best_within"]

PAIRS = 8


class Found(NamedTuple):
    """The best set among those that were kept.

    Attributes:
        choice: its options; None if no set with at least the worth asked for was left.
        worth: of this set, or minus infinity.
        left_out: the bound on the worth of all sets for which there was no room; minus infinity without any.
    """

    choice: Choice | None
    worth: float
    left_out: float


class _Rows(NamedTuple):
    """Partial choices: of the widths below a message, and of the widths that the message follows.

    Attributes:
        key: the options of the widths of the message, as one number.
        cycles, worth: of everything below.
        option: of the width that was eliminated.
        below: for each message that arrived, the row in its own partial choices.
    """

    key: Figures
    cycles: Figures
    worth: Figures
    option: Figures
    below: tuple[Figures, ...] = ()

    def take(self, rows: Figures) -> _Rows:
        """Some of the rows."""
        key, cycles, worth, option = (each[rows] for each in (self.key, self.cycles, self.worth, self.option))
        return _Rows(key, cycles, worth, option, tuple(each[rows] for each in self.below))

    def joined(self, child: _Rows, at: Figures) -> _Rows:
        """Every row with the row of a child that is given for it."""
        return self._replace(
            cycles=self.cycles + child.cycles[at], worth=self.worth + child.worth[at], below=(*self.below, at)
        )

    def followed_by(self, other: _Rows) -> _Rows:
        """The rows of both."""
        below = tuple(map(np.append, self.below, other.below))
        return _Rows(*map(np.append, self[:4], other[:4]), below)  # type: ignore[arg-type, call-arg]

    def undominated(self) -> _Rows:
        """The rows that have more worth than every row of their key that takes no more cycles, sorted by key."""
        order = np.lexsort((-self.worth, self.cycles, self.key))
        rank = np.unique(self.worth, return_inverse=True)[1][order]
        starts = np.append(True, np.diff(self.key[order]) != 0)[: len(order)]
        rising = (np.cumsum(starts) - 1) * (len(order) + 1) + rank + 1  # one scale for all keys
        highest = np.maximum.accumulate(rising)
        return self.take(order[np.append(True, rising[1:] > highest[:-1])[: len(order)]])


def best_within(program: Program, price: float, least: float, effort: int) -> Found:
    """The set with the most worth within the limit among those with at least ``least``.

    Args:
        program: what to choose from.
        price: of a cycle, for the bounds.
        least: worth.
        effort: the most partial choices to keep at a time; those with the largest bounds stay.
    """
    return _Search(program, price, least, effort).result()


class _Search:
    """The second elimination; ``left_out`` is the largest bound of what there was no room for."""

    def __init__(self, program: Program, price: float, least: float, effort: int) -> None:
        costs, self.counts, self.limit, order = program
        self.order, self.price, self.effort = order, price, effort
        self.forward = program.eliminated(price)
        self.outside = self.forward.outside()
        self.threshold = program.threshold(price, least)
        self.left_out = -np.inf
        place = {name: index for index, name in enumerate(order)}
        self.last = len(order) - 1  # here everything meets, also what shares no width
        self.own: list[list[Costs]] = [[] for _ in order]
        self.children: list[list[int]] = [[] for _ in order]
        for each in costs:
            self.own[min((place[name] for name in each.widths), default=self.last)].append(each)
        for index, parent in enumerate(self.forward.parents[:-1]):
            self.children[self.last if parent is None else parent].append(index)
        self.rows: list[_Rows] = []

    def result(self) -> Found:
        """The best row that everything leads to."""
        for index in range(self.last):
            options = self._options(index)
            rows = self._joined(index, self.children[index], options, self.outside[index])
            self.rows.append(self._message_rows(rows, options, self.forward.messages[index]))
        options = self._options(self.last)
        children = self.children[self.last]
        children.sort(key=lambda child: len(self.rows[child].key))
        rows = self._joined(self.last, children[:-1], options, Factor((), np.asarray(0.0)))
        rows = rows._replace(option=options[self.order[self.last]][rows.key])
        for child in children[-1:]:
            keys = _key(self.forward.messages[child].widths, options, self.counts)
            rows = self._best_pairs(rows, self.rows[child], keys)
        fits = np.flatnonzero(rows.cycles <= self.limit)
        if not len(fits):
            return Found(None, -np.inf, self.left_out)
        row = int(fits[np.argmax(rows.worth[fits])])
        worth = float(rows.worth[row])
        self.rows.append(rows)
        return Found(self._choice(row), worth, self.left_out)

    def _options(self, index: int) -> dict[str, Figures]:
        """The options of a width and of those that its message follows whose bound reaches the threshold."""
        scope = (self.order[index], *self.forward.messages[index].widths)
        factors = [*self.forward.factors[index], self.outside[index]]
        at, values = at_least(factors, scope, self.counts, self.threshold)
        if len(values) > self.effort:
            some = self._best(values)
            at = tuple(each[some] for each in at)
        return dict(zip(scope, at, strict=True))

    def _best_pairs(self, rows: _Rows, child: _Rows, keys: Figures) -> _Rows:
        """Every row with the one row of a child that is worth most within the limit; without pairs that exceed it."""
        rising = np.lexsort((child.cycles, child.key))  # of one key: more cycles, more worth
        key, cycles = child.key[rising], child.cycles[rising]
        first, last = (np.searchsorted(key, keys[rows.key], side) for side in ("left", "right"))
        fitting = _count_at_least(-cycles, first, last, rows.cycles - self.limit)
        some = np.flatnonzero(fitting)
        return rows.take(some).joined(child, rising[first[some] + fitting[some] - 1])

    def _best(self, values: Figures) -> Figures:
        """The rows with the largest values that there is room for, in order."""
        order = np.argsort(-values, kind="stable")
        self._leave_out(values[order[self.effort]])
        return np.sort(order[: self.effort])

    def _leave_out(self, value: float) -> None:
        self.left_out = max(self.left_out, float(value) + self.price * self.limit)

    def _joined(self, index: int, children: Sequence[int], options: Mapping[str, Figures], outside: Factor) -> _Rows:
        """The partial choices of messages that arrive, for each of the options given; ``key`` counts these."""
        count = _length(options)
        cycles, worth = np.zeros(count), np.zeros(count)
        for each in self.own[index]:
            place = tuple(options[name] for name in each.widths)
            cycles, worth = cycles + each.cycles[place], worth + each.worth[place]
        rows = _Rows(np.arange(count), cycles, worth, np.zeros(count, dtype=np.int64))
        messages = [self.forward.messages[child] for child in self.children[index]]
        rest = sum((_values(each, options) for each in (outside, *messages)), np.zeros(count))
        for child in children:
            message = self.forward.messages[child]
            rest = rest - _values(message, options)
            rows = self._join(rows, self.rows[child], _key(message.widths, options, self.counts), rest)
        return rows

    def _join(self, rows: _Rows, child: _Rows, keys: Figures, rest: Figures) -> _Rows:
        """Every row with every row of a child that has its key, if their bound reaches the threshold."""
        value = child.worth - self.price * child.cycles
        first, last = (np.searchsorted(child.key, keys[rows.key], side) for side in ("left", "right"))
        so_far = rows.worth - self.price * rows.cycles + rest[rows.key]
        count = _count_at_least(value, first, last, self.threshold - so_far)
        if count.sum() > PAIRS * self.effort:
            most = _most_each(count, PAIRS * self.effort)
            cut = np.flatnonzero(count > most)
            self._leave_out((so_far[cut] + value[first[cut] + most]).max())
            count = np.minimum(count, most)
        first_pair, pairs = np.cumsum(count) - count, int(count.sum())
        none = np.arange(0)
        joined = rows.take(none).joined(child, none)
        for start in range(0, pairs, self.effort):
            pair = np.arange(start, min(start + self.effort, pairs))
            row = np.searchsorted(first_pair, pair, side="right") - 1
            other = first[row] + pair - first_pair[row]
            joined = joined.followed_by(rows.take(row).joined(child, other)).undominated()
        if len(joined.key) > self.effort:
            joined = joined.take(self._best(joined.worth - self.price * joined.cycles + rest[joined.key]))
        return joined

    def _message_rows(self, rows: _Rows, options: Mapping[str, Figures], message: Factor) -> _Rows:
        """The same by the options of the widths of the message, sorted by them, the best value first."""
        keys = _key(message.widths, options, self.counts)[rows.key]
        rows = rows._replace(key=keys, option=next(iter(options.values()))[rows.key])
        rows = rows.undominated()
        return rows.take(np.lexsort((self.price * rows.cycles - rows.worth, rows.key)))

    def _choice(self, row: int) -> Choice:
        """The options of all widths that made a row of the last width."""
        found: Choice = {}
        left = [(self.last, row)]
        while left:
            index, row = left.pop()
            own = self.rows[index]
            found[self.order[index]] = int(own.option[row])
            left += zip(self.children[index], (int(each[row]) for each in own.below), strict=True)
        return found


def _length(options: Mapping[str, Figures]) -> int:
    """The number of choices; without any width there is one."""
    return len(next(iter(options.values()), np.zeros(1)))


def _values(factor: Factor, options: Mapping[str, Figures]) -> Figures:
    return factor.values[tuple(options[name] for name in factor.widths)]


def _key(widths: tuple[str, ...], options: Mapping[str, Figures], counts: Mapping[str, int]) -> Figures:
    """Options of several widths as one number."""
    key = np.zeros(_length(options), dtype=np.int64)
    for name in widths:
        key = key * counts[name] + options[name]
    return key


def _count_at_least(values: Figures, first: Figures, last: Figures, least: Figures) -> Figures:
    """How many of ``values[first:last]``, which fall, are at least ``least``; for each row, by bisection."""
    low, high = first.copy(), last.copy()
    while (open_rows := low < high).any():
        middle = (low + high) // 2
        reaches = open_rows & (values[np.minimum(middle, len(values) - 1)] >= least)
        low = np.where(reaches, middle + 1, low)
        high = np.where(open_rows & ~reaches, middle, high)
    return low - first


def _most_each(count: Figures, total: int) -> int:
    """The largest number m such that the sum of min(count, m) is at most ``total``."""
    ordered = np.sort(count)
    before = np.cumsum(ordered) - ordered
    rows = len(count) - np.arange(len(count))
    fits = before + ordered * rows <= total  # with m = ordered[i]
    index = int(np.argmin(fits))
    return int((total - before[index]) // rows[index])
