"""Sets of sizes within an exact limit that use it, drawn at random, and those that are close to good ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hwcost.advice.choices import most_options, tables_over, total_at
from hwcost.advice.tables import CostSource, Figures, operations_of, spill_over
from hwcost.network.network import Network
from hwcost.pruning.curves import sizes_to_measure

__all__ = ["Pool", "Sizes", "lowest"]

Sizes: TypeAlias = tuple[int, ...]
"""The size of each width, in order."""

MOST_ENTRIES = 20_000_000
DRAWN = 10  # sets that are drawn for each one that is measured
PARENTS, ROUNDS = 4, 4
CHANGED = 0.3
HALVINGS = 16


class Pool:
    """Sets of sizes within a limit: none of their widths can grow by one option.

    Args:
        options: the sizes of each width, ascending.
        network: with the widths.
        array: what says how much a layer costs.
        limit: on the cost of the network.
        first: a set of sizes that it has in any case, even if only some of many options fit into the tables.
    """

    def __init__(
        self, options: Mapping[str, Figures], network: Network, array: CostSource, limit: float, first: Sizes = ()
    ) -> None:
        operations = operations_of(network, array)
        most = most_options(options, operations, MOST_ENTRIES)
        self.options = {name: np.array([*sizes_to_measure(own, most - 1), own[-1]]) for name, own in options.items()}
        for name, size in zip(options, first, strict=False):
            self.options[name] = np.union1d(self.options[name], size)
        self.limit = limit
        self._tables = tables_over(self.options, network, array, operations)
        self._network, self._array = network, array
        self._last = np.array([len(own) - 1 for own in self.options.values()])

    def cost(self, rows: Any) -> Figures:
        """The cost of networks whose sizes are given as places of options: shape (count, widths)."""
        places = {name: rows[:, column] for column, name in enumerate(self.options)}
        sizes = {name: own[places[name]] for name, own in self.options.items()}
        cost = total_at(self._tables, places)[0] + spill_over(self._network, self._array, sizes)
        return np.broadcast_to(cost, len(rows))

    def drawn(self, count: int, random: np.random.Generator) -> Any:
        """Different random sets of sizes within the limit, at most ``count`` of them."""
        shares = random.uniform(0.0, 1.0, (count, len(self._last))) ** random.uniform(0.2, 1.0, (count, 1))
        return self._within(shares * self._last, random)

    def close_to(self, sets: Sequence[Sizes], count: int, random: np.random.Generator) -> Any:
        """Different sets of sizes within the limit that differ from one of ``sets`` in some widths."""
        rows = self._places(sets)
        rows = rows[random.integers(len(rows), size=count)]
        changes = random.random(rows.shape) < CHANGED
        steps = random.normal(0.0, 1.0 + 0.1 * self._last, rows.shape)
        return self._within(np.clip(rows + changes * steps, 0, self._last), random)

    def grown(self, sizes: Sizes, random: np.random.Generator) -> Sizes:
        """The first set of sizes, or another one of the pool, whose widths grow as far as they can within the limit."""
        return self.sizes(self._filled(self._places([sizes]), random))[0]

    def _places(self, sets: Sequence[Sizes]) -> Any:
        """Sizes as places of options, which have them."""
        columns = [np.searchsorted(own, [each[column] for each in sets])
                   for column, own in enumerate(self.options.values())]  # fmt: skip
        return np.stack(columns, axis=1)

    def _within(self, places: Figures, random: np.random.Generator) -> Any:
        """Sets at about these places of options, scaled until they are within the limit, and then filled."""
        low, high = np.zeros(len(places)), np.ones(len(places))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            fits = self.cost(self._at(places, middle)) <= self.limit
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        whole = self.cost(self._at(places, np.ones(len(places)))) <= self.limit
        rows = self._at(places, np.where(whole, 1.0, low))
        return np.unique(self._filled(rows[self.cost(rows) <= self.limit], random), axis=0)

    def _at(self, places: Figures, scale: Figures) -> Any:
        return np.rint(places * scale[:, np.newaxis]).astype(int)

    def _filled(self, rows: Any, random: np.random.Generator) -> Any:
        """Sets whose widths grow by one option at a time, in random order, while the limit holds."""
        grows = len(rows) > 0
        while grows:
            grows = False
            for column in random.permutation(len(self._last)):
                tried = rows.copy()
                tried[:, column] += 1
                fits = tried[:, column] <= self._last[column]
                tried[~fits] = rows[~fits]
                fits &= self.cost(tried) <= self.limit
                rows = np.where(fits[:, np.newaxis], tried, rows)
                grows |= bool(fits.any())
        return rows

    def sizes(self, rows: Any) -> list[Sizes]:
        """Places of options as sizes."""
        columns = [own[rows[:, column]] for column, own in enumerate(self.options.values())]
        return [tuple(map(int, each)) for each in zip(*columns, strict=True)]


def lowest(
    pool: Pool,
    first: Sizes,
    least: float,
    worth: Mapping[str, Figures],
    loss_of: Callable[[Sizes], float],
    count: int,
    seed: int,
) -> Sizes:
    """The set of sizes with the lowest loss, of ``count`` that are measured.

    The first one is given. Half of the others are those of random sets that are worth most by the values of their
    widths, and the rest is close to the best ones so far.

    Args:
        pool: the sets within the limit.
        first: a set of sizes within it.
        least: the cost that the others have at least.
        worth: the value of every size of each width, from 1 on.
        loss_of: measures one set.
        count: of measurements.
        seed: of what is drawn.
    """
    random = np.random.default_rng(seed)
    known = {first: loss_of(first)}
    half = 1 + (count - 1) // 2
    for number in range(1 + ROUNDS):
        wanted = half if number == 0 else half + (count - half) * number // ROUNDS
        if wanted > len(known):
            best = sorted(known, key=known.__getitem__)[:PARENTS]
            asked = DRAWN * (wanted - len(known))
            rows = pool.drawn(asked, random) if number == 0 else pool.close_to(best, asked, random)
            for each in _worth_most(pool, rows[pool.cost(rows) >= least], worth, known, wanted - len(known)):
                known[each] = loss_of(each)
    return min(known, key=known.__getitem__)


def _worth_most(
    pool: Pool, rows: Any, worth: Mapping[str, Figures], known: Mapping[Sizes, float], count: int
) -> list[Sizes]:
    """The sets that are worth most of those that are not known."""
    values = np.zeros(len(rows))
    for column, (name, own) in enumerate(pool.options.items()):
        values += worth[name][own[rows[:, column]] - 1]
    ranked = pool.sizes(rows[np.argsort(-values, kind="stable")])
    return [each for each in ranked if each not in known][:count]
