"""The widths that fit a share of today's cycles at the least loss of MACs.

Each width takes one of its options, and layers that follow the same widths are one table of cycles and MACs over them:

    maximise      sum of the MACs of the tables
    subject to    sum of their cycles <= share * today's cycles

A greedy walk with local moves finds a good set. An exact solver improves on it and bounds what may be left: over all
options if there is room for them, or else over some around the best set, until nothing better turns up. Effort is
counted in rows of tables, so that the result does not depend on the speed of the machine.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hwcost.advice.choices import ends_of_stairs, most_options, options_worth_taking, tables_over
from hwcost.advice.search import search
from hwcost.advice.tables import Allowed, Numbers, changeable
from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import network_cost

__all__ = ["Budget", "solve"]

MOST_ENTRIES = 20_000_000
PROVEN = 1e-5
ROUNDING = 1e-9


@dataclass(frozen=True)
class Budget:
    """Widths that fit a budget.

    Attributes:
        share: of today's cycles, as given.
        limit: the same in cycles.
        sizes: the new size of every width that changes.
        cycles, macs: of the network with these widths.
        cycles_today, macs_today: of the network today.
        gap: the most MACs that any other set of widths within the limit could have in addition, as a share of ``macs``.
        options, of_options: the number of sizes that the exact solver tried in combination, of all worth taking.
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

    @property
    def is_proven(self) -> bool:
        """Whether no other set of widths within the limit has more MACs, but for at most 0.001 % of them."""
        return self.gap <= PROVEN

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        return dataclasses.asdict(self) | {"is_proven": self.is_proven}


def solve(
    network: Network,
    array: SystolicArray,
    operations: Mapping[str, Operation],
    share: float,
    effort: int,
    allowed: Allowed,
    *,
    most_entries: int = MOST_ENTRIES,
) -> Budget:
    """The widths that fit ``share`` of today's cycles; ``most_entries`` limits the tables.

    Raises:
        InvalidValueError: a share that is out of range or that no widths fit.
    """
    if not is_real(share) or not 0 < share < 1:
        raise InvalidValueError("budget", share, "a share of today's cycles above 0 and below 1, like 0.9")
    if isinstance(effort, bool) or not isinstance(effort, int) or effort < 1:
        raise InvalidValueError("effort", effort, "an integer of at least 1")
    today = network_cost({name: each.layer for name, each in operations.items()}, array).total
    limit = float(share * today.cycles)
    options = {name: options_worth_taking(name, network, array, operations, allowed) for name in changeable(network)}
    if not options:
        reasons = dict.fromkeys(width.fixed for width in network.widths.values() if width.fixed)
        reason = f"no width of this network can change ({', '.join(list(reasons)[:3]) or 'it has none'})"
        raise InvalidValueError("budget", share, "leave it out", reason=reason)
    tables = partial(tables_over, network=network, array=array, operations=operations)
    most = most_options(options, operations, most_entries)
    if all(len(own) <= most for own in options.values()):
        options = ends_of_stairs(options, tables(options))
    found = search(options, tables, most, limit, effort)
    if found.cycles > limit:
        lowest = math.ceil(1e4 * found.cycles / today.cycles) / 1e4
        raise InvalidValueError("budget", share, f"at least {lowest:g}, the smallest share of today's cycles found")
    sizes = {name: int(options[name][index]) for name, index in found.choice.items()}
    sizes = {name: size for name, size in sizes.items() if size != network.widths[name].size}
    changed = network.at(sizes)
    after = network_cost({name: changed[name] for name in operations}, array).total
    gap = found.bound / found.macs - 1
    return Budget(
        share=float(share),
        limit=limit,
        sizes=sizes,
        cycles=after.cycles,
        macs=int(after.macs),
        cycles_today=today.cycles,
        macs_today=int(today.macs),
        gap=gap if gap > ROUNDING else 0.0,
        options=found.combined,
        of_options=sum(map(len, options.values())),
    )
