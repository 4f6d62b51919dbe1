"""The widths that reach a share of today's cycles at the least loss of MACs, by a mixed-integer program.

Each width takes one of its options: the sizes at the right end of a stair of any layer that follows it, since every
other size loses MACs for nothing (all sizes where stairs move with another width). Layers that follow the same widths
make one table over the options of all of them; its entries are cycles and MACs as the runtime says them. The program
picks one option for each width, which picks one entry of each table:

    maximise    sum of the MACs of the entries
    so that     sum of their cycles <= share * today's cycles

Where there are too many options, they are thinned out, the best set is found, and the options around it are taken
in again until nothing better turns up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.advice.program import SolverResult, Table, load_solver, pick
from hwcost.advice.tables import Figures, Numbers, candidates, changeable, followers, over, over_each, rising
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import network_cost

__all__ = ["Budget", "solve"]

MOST_ENTRIES = 8000
MOST_IN_ONE_TABLE = 4096
LEAST_OPTIONS = 8
HELD = "layers follow it together with many others, more than can be tabulated"
ROUNDS = 6
WORTH_A_ROUND = 1e-4


@dataclass(frozen=True)
class Budget:
    """A set of widths.

    Attributes:
        share: of today's cycles that was asked for.
        limit: the same in cycles.
        sizes: every width that changes, with its new size.
        cycles, macs: of the network with these widths, priced anew.
        cycles_today, macs_today: of the network as it is.
        gap: by which share of its MACs another set of these options could be better at most: 0 where the set is
            proven to be the best, more where the time limit ended the search.
        options, of_options: how many sizes the set was picked from, of how many that may be worth taking.
        held: widths that were held at today's size, with the reason.
    """

    share: float
    limit: float
    sizes: Mapping[str, int]
    cycles: Numbers
    macs: int
    cycles_today: Numbers
    macs_today: int
    gap: float
    options: int
    of_options: int
    held: Mapping[str, str]

    @property
    def is_proven(self) -> bool:
        """Whether no set of widths at all is better: every size that may be worth taking was looked at, to the end."""
        return not self.gap and self.options == self.of_options and not self.held

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        tables = {"sizes": dict(self.sizes), "held": dict(self.held)}
        own = {name: tables.get(name, getattr(self, name)) for name in self.__dataclass_fields__}
        return own | {"is_proven": self.is_proven}


def solve(
    network: Network, array: SystolicArray, operations: Mapping[str, Operation], share: float, time_limit_s: float
) -> Budget:
    """The best set of widths.

    Raises:
        InvalidValueError: a share that is none, or cannot be reached.
        MissingDependencyError: scipy is not installed.
    """
    if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share < 1:
        raise InvalidValueError("budget", share, "a share of today's cycles above 0 and below 1, like 0.9")
    if not 0 < time_limit_s < math.inf:
        raise InvalidValueError("time_limit_s", time_limit_s, "a number of seconds above 0")
    load_solver()
    cost = network_cost({name: each.layer for name, each in operations.items()}, array).total
    limit = share * cost.cycles
    edges = {name: _edges(name, network, array, operations) for name in changeable(network)}
    groups = _groups(operations, edges)
    held = _hold_wide_tables(groups, edges, network, array)
    free = {name: sizes for name, sizes in edges.items() if name not in held}
    _check_reachable(groups, network, array, free, limit, share, cost.cycles)
    found, options = _rounds(groups, network, array, free, limit, time_limit_s)
    sizes = {name: size for name, size in found.sizes.items() if size != network.widths[name].size}
    changed = network.at(sizes)
    after = network_cost({name: changed[name] for name in operations}, array).total
    return Budget(
        share=float(share),
        limit=float(limit),
        sizes=sizes,
        cycles=after.cycles,
        macs=int(after.macs),
        cycles_today=cost.cycles,
        macs_today=int(cost.macs),
        gap=found.gap,
        options=options,
        of_options=sum(map(len, edges.values())),
        held=held,
    )


# ---------------------------------------------------------------- options and tables


def _edges(name: str, network: Network, array: SystolicArray, operations: Mapping[str, Operation]) -> Figures:
    """The sizes up to today's that may be worth taking, ascending; today's is always one.

    They are the right ends of the stairs of any layer, but all sizes where stairs move with another width: behind a
    concatenation, and where memory may be what takes longer.
    """
    width, own = network.widths[name], followers(operations, name)
    sizes = candidates(width.size, width.multiple, width.size)
    if array.has_memory_limit or any(_is_in_a_sum(name, each, network) for each in own.values()):
        return sizes
    each = over_each(own, network, array, {name: sizes})
    return sizes[rising([cycles for cycles, _ in each.values()])]


def _is_in_a_sum(name: str, operation: Operation, network: Network) -> bool:
    rules = ([width for width, _ in rule if not network.widths[width].fixed] for rule in operation.sizes.values())
    return any(name in rule and len(rule) > 1 for rule in rules)


def _groups(
    operations: Mapping[str, Operation], edges: Mapping[str, Figures]
) -> dict[tuple[str, ...], list[Operation]]:
    """The operations by the widths that they follow and that can change."""
    groups: dict[tuple[str, ...], list[Operation]] = defaultdict(list)
    for operation in operations.values():
        groups[tuple(sorted(width for width in operation.widths if width in edges))].append(operation)
    return groups


def _hold_wide_tables(
    groups: Mapping[tuple[str, ...], Sequence[Operation]],
    edges: Mapping[str, Figures],
    network: Network,
    array: SystolicArray,
) -> dict[str, str]:
    """Widths to leave alone, so that tables are small enough with a few options each.

    Of those that meet in a layer behind a concatenation of many, they are the ones with the fewest cycles.
    """
    weight: dict[str, float] = defaultdict(float)
    for widths, operations in groups.items():
        cycles = float(over(operations, network, array, {})[0])
        for width in widths:
            weight[width] += cycles
    left = {widths: set(widths) for widths in groups}
    held: dict[str, str] = {}
    while True:
        sizes = {
            widths: math.prod(min(len(edges[width]), LEAST_OPTIONS) for width in own) for widths, own in left.items()
        }
        widest = max(sizes, key=lambda widths: sizes[widths])
        if sizes[widest] <= MOST_IN_ONE_TABLE and sum(sizes.values()) <= MOST_ENTRIES:
            return {name: held[name] for name in edges if name in held}
        width = min(left[widest], key=lambda width: (weight[width], width))
        held[width] = HELD
        for own in left.values():
            own.discard(width)


def _tables(
    groups: Mapping[tuple[str, ...], Sequence[Operation]],
    network: Network,
    array: SystolicArray,
    options: Mapping[str, Figures],
) -> list[Table]:
    """One table for each set of open widths."""
    merged: dict[tuple[str, ...], list[Operation]] = defaultdict(list)
    for widths, operations in groups.items():
        merged[tuple(width for width in widths if width in options)] += operations
    tables = []
    for widths, operations in merged.items():
        axes = np.meshgrid(*(options[width] for width in widths), indexing="ij", sparse=True)
        cycles, macs = over(operations, network, array, dict(zip(widths, axes, strict=True)))
        tables.append(Table(widths, cycles, macs))
    return tables


def _check_reachable(
    groups: Mapping[tuple[str, ...], Sequence[Operation]],
    network: Network,
    array: SystolicArray,
    free: Mapping[str, Figures],
    limit: float,
    share: float,
    today: Numbers,
) -> None:
    least = {name: sizes[:1] for name, sizes in free.items()}
    lowest = sum(float(table.cycles.sum()) for table in _tables(groups, network, array, least))
    if not free:
        reasons = dict.fromkeys(width.fixed for width in network.widths.values() if width.fixed)
        allowed = f"none: no width of this network can change ({', '.join(list(reasons)[:3]) or 'it has none'})"
        raise InvalidValueError("budget", share, allowed)
    if lowest > limit:
        share_of_lowest = math.ceil(1e4 * lowest / today) / 1e4
        allowed = f"at least {share_of_lowest:g}: what remains with every width at its smallest"
        raise InvalidValueError("budget", share, allowed)


# ---------------------------------------------------------------- rounds


def _rounds(
    groups: Mapping[tuple[str, ...], Sequence[Operation]],
    network: Network,
    array: SystolicArray,
    edges: Mapping[str, Figures],
    limit: float,
    time_limit_s: float,
) -> tuple[SolverResult, int]:
    """The best set that was found, and how many options it was picked from."""
    around: dict[str, int] | None = None
    best: SolverResult | None = None
    count, of_all = 0, sum(map(len, edges.values()))
    for _ in range(ROUNDS):
        chosen = _thinned(groups, edges, around)
        options = {name: edges[name][chosen[name]] for name in edges}
        found = pick(_tables(groups, network, array, options), options, limit, time_limit_s / ROUNDS)
        before = 0.0 if best is None else best.macs
        if found is not None and found.macs > before:
            best, count = found, sum(map(len, options.values()))
            around = {name: int(np.searchsorted(edges[name], size)) for name, size in found.sizes.items()}
        if count == of_all or found is None or found.macs <= before * (1 + WORTH_A_ROUND):
            break
    if best is None:
        raise InvalidValueError("time_limit_s", time_limit_s, "more seconds: no set of widths was found in these")
    return best, count


def _thinned(
    groups: Mapping[tuple[str, ...], Sequence[Operation]],
    edges: Mapping[str, Figures],
    around: Mapping[str, int] | None,
) -> dict[str, Figures]:
    """Which of the ends of stairs to take: all, or as many as the tables may hold, spread evenly or around a place."""
    most = max(map(len, edges.values()), default=1)
    while True:
        chosen = {name: _some(len(own), most, None if around is None else around[name]) for name, own in edges.items()}
        sizes = [math.prod(len(chosen[width]) for width in widths if width in chosen) for widths in groups]
        if most <= 2 or (sum(sizes) <= MOST_ENTRIES and max(sizes) <= MOST_IN_ONE_TABLE):
            return chosen
        most = max(2, most * 3 // 4)


def _some(count: int, most: int, around: int | None) -> Figures:
    if count <= most:
        return np.arange(count)
    if around is None or most < 8:  # closer together near today's size, which is the last
        spread = (count - 1) * (1 - np.linspace(1, 0, most) ** 1.5)
        return np.unique(np.round(spread).astype(int))
    # half of them right beside, the rest spread over all the others
    beside = np.arange(around - most // 4, around + most // 4 + 1).clip(0, count - 1)
    spread = np.round(np.linspace(0, count - 1, most // 2)).astype(int)
    return np.unique(np.concatenate([beside, spread]))
