"""The widths that fit a share of today's cycles at the least loss of MACs, by a mixed-integer program.

Each width takes one of its options: the sizes at the right end of a stair of any layer that follows it, because every
other size loses MACs for nothing (all sizes if stairs move with another width). Layers that follow the same widths
make one table of cycles and MACs over the options of all of them. The program picks one option of each width, and with
them one entry of each table:

    maximise      sum of the MACs of the entries
    subject to    sum of their cycles <= share * today's cycles

If there are too many options, the program is solved over some of them, and again over those around its result, until
nothing better turns up.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hwcost.advice.program import SolverResult, Table, load_solver, pick
from hwcost.advice.tables import Figures, Numbers, candidates, changeable, followers, over, over_each
from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import network_cost

__all__ = ["Budget", "solve", "thin"]

MOST_IN_ONE_TABLE = 4096
LEAST_OPTIONS = 8
HELD = "its layers follow too many other widths to tabulate them"
ROUNDS = 6
WORTH_A_ROUND = 1e-4


@dataclass(frozen=True)
class Budget:
    """Widths that fit a budget.

    Attributes:
        share: of today's cycles, as given.
        limit: the same in cycles.
        sizes: the new size of every width that changes.
        cycles, macs: of the network with these widths.
        cycles_today, macs_today: of the network today.
        gap: the most by which other widths among these options could be better, as a share of the MACs: 0 if these
            are proven optimal, more if ``max_nodes`` ended the search.
        options, of_options: the number of sizes that the program chose from, of all that may be worth taking.
        held: the widths that stay at today's size, with the reason.
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
        """Whether the widths are proven optimal, over all sizes that may be worth taking."""
        return not self.gap and self.options == self.of_options and not self.held

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        return dataclasses.asdict(self) | {"is_proven": self.is_proven}


class _Problem(NamedTuple):
    """What all rounds share: operations by the widths that they follow, and the sizes of each width worth taking."""

    network: Network
    array: SystolicArray
    operations: Mapping[tuple[str, ...], Sequence[Operation]]
    edges: Mapping[str, Figures]
    most_entries: int

    def tables(self, options: Mapping[str, Figures]) -> list[Table]:
        """Cycles and MACs over the options, one table per set of widths."""
        tables = []
        for widths, operations in self.operations.items():
            axes = np.meshgrid(*(options[width] for width in widths), indexing="ij", sparse=True)
            sizes = dict(zip(widths, axes, strict=True))
            tables.append(Table(widths, *over(operations, self.network, self.array, sizes)))
        return tables


def solve(
    network: Network,
    array: SystolicArray,
    operations: Mapping[str, Operation],
    share: float,
    max_nodes: int,
    *,
    most_entries: int = 8000,
) -> Budget:
    """The widths that fit ``share`` of today's cycles; ``most_entries`` limits the tables of one program.

    Raises:
        InvalidValueError: a share that is out of range or that no widths fit.
        MissingDependencyError: scipy is not installed.
    """
    if not is_real(share) or not 0 < share < 1:
        raise InvalidValueError("budget", share, "a share of today's cycles above 0 and below 1, like 0.9")
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, int) or max_nodes < 1:
        raise InvalidValueError("max_nodes", max_nodes, "an integer of at least 1")
    load_solver()
    cost = network_cost({name: each.layer for name, each in operations.items()}, array).total
    limit = share * cost.cycles
    edges = {name: _edges(name, network, array, operations) for name in changeable(network)}
    held = _hold_wide_tables(_Problem(network, array, _group(operations, edges), edges, most_entries))
    free = {name: sizes for name, sizes in edges.items() if name not in held}
    problem = _Problem(network, array, _group(operations, free), free, most_entries)
    _check_reachable(problem, limit, share, cost.cycles)
    found, options = _search(problem, limit, max_nodes)
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


def _edges(name: str, network: Network, array: SystolicArray, operations: Mapping[str, Operation]) -> Figures:
    """The sizes up to today's that may be worth taking, ascending, today's among them.

    They are the right ends of the stairs of any layer, or all sizes if stairs move with another width: after a
    concatenation, and if memory may bound a layer.
    """
    own = followers(operations, name)
    sizes = candidates(network, name, network.widths[name].size)
    if array.has_memory_limit or any(_is_in_a_sum(name, each, network) for each in own.values()):
        return sizes
    tables = over_each(own, network, array, {name: sizes}).values()
    is_end = np.any([cycles[1:] != cycles[:-1] for cycles, _ in tables], axis=0)
    return np.asarray(sizes[np.append(is_end, True)])


def _is_in_a_sum(name: str, operation: Operation, network: Network) -> bool:
    sums = ([width for width, _ in each if not network.widths[width].fixed] for each in operation.sizes.values())
    return any(name in each and len(each) > 1 for each in sums)


def _group(operations: Mapping[str, Operation], edges: Collection[str]) -> dict[tuple[str, ...], list[Operation]]:
    """The operations by the widths of ``edges`` that they follow."""
    groups: dict[tuple[str, ...], list[Operation]] = defaultdict(list)
    for operation in operations.values():
        groups[tuple(sorted(width for width in operation.widths if width in edges))].append(operation)
    return groups


def _hold_wide_tables(problem: _Problem) -> dict[str, str]:
    """Widths to keep, so that tables with a few options per width are small enough.

    Of the widths that meet in a layer, after a concatenation of many, they are those with the fewest cycles.
    """
    edges = problem.edges
    weight: dict[str, float] = defaultdict(float)
    for widths, operations in problem.operations.items():
        cycles = float(over(operations, problem.network, problem.array, {})[0])
        for width in widths:
            weight[width] += cycles
    left = [set(widths) for widths in problem.operations]
    held: set[str] = set()
    while True:
        sizes = [math.prod(min(len(edges[width]), LEAST_OPTIONS) for width in group) for group in left]
        if max(sizes) <= MOST_IN_ONE_TABLE and sum(sizes) <= problem.most_entries:
            return {name: HELD for name in edges if name in held}
        width = min(left[sizes.index(max(sizes))], key=lambda width: (weight[width], width))
        held.add(width)
        for group in left:
            group.discard(width)


def _check_reachable(problem: _Problem, limit: float, share: float, today: Numbers) -> None:
    if not problem.edges:
        reasons = dict.fromkeys(width.fixed for width in problem.network.widths.values() if width.fixed)
        reason = f"no width of this network can change ({', '.join(list(reasons)[:3]) or 'it has none'})"
        raise InvalidValueError("budget", share, "leave it out", reason=reason)
    least = {name: sizes[:1] for name, sizes in problem.edges.items()}
    lowest = sum(float(table.cycles.sum()) for table in problem.tables(least))
    if lowest > limit:
        share_of_lowest = math.ceil(1e4 * lowest / today) / 1e4
        allowed = f"at least {share_of_lowest:g}, the share with every width at its smallest size"
        raise InvalidValueError("budget", share, allowed)


def _search(problem: _Problem, limit: float, max_nodes: int) -> tuple[SolverResult, int]:
    """The best options found, and the number of options that they were picked from."""
    edges = problem.edges
    around: dict[str, int] = {}
    best: SolverResult | None = None
    count, of_all = 0, sum(map(len, edges.values()))
    for _ in range(ROUNDS):
        chosen = _thin_all(problem, around)
        options = {name: edges[name][chosen[name]] for name in edges}
        found = pick(problem.tables(options), options, limit, max_nodes)
        before = 0.0 if best is None else best.macs
        if found is not None and found.macs > before:
            best, count = found, sum(map(len, options.values()))
            around = {name: int(np.searchsorted(edges[name], size)) for name, size in found.sizes.items()}
        if count == of_all or found is None or found.macs <= before * (1 + WORTH_A_ROUND):
            break
    if best is None:
        raise InvalidValueError("max_nodes", max_nodes, "a larger number: these nodes found no widths that fit")
    return best, count


def _thin_all(problem: _Problem, around: Mapping[str, int]) -> dict[str, Figures]:
    """The indices of the ends of stairs to use: all, or as many as the tables may hold, spread or around a result."""
    most = max(map(len, problem.edges.values()))
    while True:
        chosen = {name: thin(len(own), most, around.get(name)) for name, own in problem.edges.items()}
        sizes = [math.prod(len(chosen[width]) for width in widths) for widths in problem.operations]
        if most <= 2 or (sum(sizes) <= problem.most_entries and max(sizes) <= MOST_IN_ONE_TABLE):
            return chosen
        most = max(2, most * 3 // 4)


def thin(count: int, most: int, around: int | None) -> Figures:
    """At most ``most`` (+ 1) of ``count`` indices, the first and the last among them; more near ``around``."""
    if count <= most:
        return np.arange(count)
    if around is None or most < 8:  # closer together near today's size, which is the last
        spread = (count - 1) * (1 - np.linspace(1, 0, most) ** 1.5)
        return np.unique(np.round(spread).astype(int))
    # half of them adjacent, the rest spread over all others
    adjacent = np.arange(around - most // 4, around + most // 4 + 1).clip(0, count - 1)
    spread = np.round(np.linspace(0, count - 1, most // 2)).astype(int)
    return np.unique(np.concatenate([adjacent, spread]))
