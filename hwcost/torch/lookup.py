"""The costs of networks by the thousand, and the networks that use all the capacity their cycles pay for.

Costs are looked up in the tables of the layers over every width between the first and the last option: widths between
the options are networks too, and the best ones are often there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.torch.tables import space_tables
from hwcost.units import number

__all__ = ["MOST", "Choice", "Costs", "Rows", "within"]

Choice = Mapping[str, int]
"""A size for every decision."""
Rows = NDArray[np.int64]
"""Networks, shape (count, decisions), with sizes in the order of the decisions."""
MOST = 2_000_000
"""Sets of up to this many combinations are enumerated; larger ones are sampled with a fixed seed."""


class Costs:
    """The cost of any network of a space by look-up.

    Args:
        space: a network with open widths and kernel sizes.
        array: the accelerator.
        relaxation: the estimate at whole sizes; "exact" for the exact cycles.

    >>> from hwcost import Linear, Operation
    >>> first, last = Operation(Linear(8, 16), {"out_features": "w"}), Operation(Linear(16, 4), {"in_features": "w"})
    >>> costs = Costs(Network("net", {"first": first, "last": last}).space({"w": (8, 32)}), SystolicArray(8, 8))
    >>> costs.of(costs.rows([{"w": 16}, {"w": 17}])).tolist(), len(costs.sizes["w"])
    ([4.0, 6.0], 25)
    """

    def __init__(self, space: Network, array: SystolicArray, relaxation: str = "exact") -> None:
        kernels = {name for name in space.options if space.widths[name].is_kernel}
        self.sizes: dict[str, tuple[int, ...]] = {  # those of widths are whole ranges
            name: tuple(options) if name in kernels else tuple(range(options[0], options[-1] + 1))
            for name, options in space.options.items()
        }
        self.names = tuple(self.sizes)
        self.widths = tuple(index for index, name in enumerate(self.names) if name not in kernels)
        found = space_tables(space.space(self.sizes), array, relaxation=relaxation)
        self._tables = [
            (table.values.numpy(), [self.names.index(name) for name in table.decisions]) for table in found.values()
        ]
        self._places = [np.full(max(values) + 2, -1) for values in self.sizes.values()]
        for places, values in zip(self._places, self.sizes.values(), strict=True):
            places[list(values)] = np.arange(len(values))

    def rows(self, choices: Sequence[Choice]) -> Rows:
        """Choices as rows."""
        return np.array([[choice[name] for name in self.names] for choice in choices], dtype=np.int64)

    def choice(self, row: NDArray[np.int64]) -> dict[str, int]:
        """A row as a choice."""
        return dict(zip(self.names, row.tolist(), strict=True))

    def of(self, rows: Rows) -> NDArray[np.float64]:
        """The cost of every network; infinite if a decision may not have the size."""
        places = [lookup[np.clip(rows[:, column], 0, len(lookup) - 1)] for column, lookup in enumerate(self._places)]
        total = np.zeros(len(rows))
        for values, columns in self._tables:
            total += values[tuple(places[column] for column in columns)]
        outside = np.any([place < 0 for place in places], axis=0)
        return np.where(outside, np.inf, total)

    def one(self, choice: Choice) -> float:
        """The cost of one network."""
        return float(self.of(self.rows([choice]))[0])

    def tread_ends(self) -> dict[str, tuple[int, ...]]:
        """For every width the sizes after which some layer's stair rises; others waste capacity. And all kernels."""
        grid = dict(self.sizes)
        for column in self.widths:
            sizes = grid[self.names[column]]
            rises = np.arange(len(sizes)) == len(sizes) - 1
            for values, columns in self._tables:
                if column in columns:
                    moved = np.moveaxis(values, columns.index(column), 0)
                    rises[:-1] |= (moved[1:] != moved[:-1]).any(axis=tuple(range(1, moved.ndim)))
            grid[self.names[column]] = tuple(itertools.compress(sizes, rises))
        return grid

    def saturated(self, rows: Rows) -> Rows:
        """Every network with its widths grown at equal cost, until no width can grow by one for free."""
        grown, cost = rows.copy(), self.of(rows)
        changed = True
        while changed:
            changed = False
            for column in reversed(self.widths):
                active = np.arange(len(grown))
                while len(active):
                    tried = grown[active]
                    tried[:, column] += 1
                    active = active[self.of(tried) <= cost[active]]
                    grown[active, column] += 1
                    changed |= bool(len(active))
        return grown


def within(
    costs: Costs, grid: Mapping[str, Sequence[int]], limit: float, *, least: float = 0.0, most: int = MOST
) -> Rows:
    """All networks of a grid of sizes that cost from ``least`` to ``limit``.

    If there are none, those of the largest cost below. A grid of more than ``most`` combinations is sampled, with a
    fixed seed.

    Raises:
        InvalidValueError: not even the cheapest network is within the limit.
    """
    lengths = [len(grid[name]) for name in costs.names]
    count = int(np.prod(lengths, dtype=object))
    if count <= most:
        places = np.unravel_index(np.arange(count), lengths)
    else:
        random = np.random.default_rng(0)
        places = tuple(random.integers(0, length, most) for length in lengths)
    rows = np.stack([np.asarray(grid[name])[place] for name, place in zip(costs.names, places, strict=True)], axis=1)
    cost = costs.of(rows)
    if not (cost <= limit).any():
        smallest = {name: min(values) for name, values in grid.items()}
        if (fewest := costs.one(smallest)) > limit:
            allowed = f"at least {number(round(fewest))} cycles, which the smallest network takes"
            raise InvalidValueError("target", f"{number(round(limit))} cycles", allowed)
        return costs.rows([smallest])
    inside = (cost <= limit) & (cost >= least)
    if not inside.any():
        inside = cost == cost[cost <= limit].max()
    return rows[inside]
