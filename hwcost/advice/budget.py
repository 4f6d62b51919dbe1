"""The widths that fit a limit of cycles and are worth most.

Each width takes one of its options, and layers that follow the same widths are one table over them:

    maximise      sum of what the tables are worth: MACs, or values that the caller gives for the sizes of each width
    subject to    sum of their cycles <= limit

A greedy walk with local moves finds a good set. An exact solver improves on it and bounds what may be left: over all
options if there is room for them, or else over some around the best set, until nothing better turns up. Effort is
counted in rows of tables, so that the result does not depend on the speed of the machine.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hwcost.advice.choices import Table, ends_of_stairs, most_options, options_worth_taking, tables_over, total_at
from hwcost.advice.filling import best_that_fills
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.search import Result, least_cycles
from hwcost.advice.spilling import best_with_spill
from hwcost.advice.tables import (
    Allowed,
    CostSource,
    Figures,
    Numbers,
    changeable,
    cost_report,
    machine_of,
    measure_of,
    over_each,
    spill_over,
)
from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError, unknown
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.run import cost_of_room
from hwcost.tables import Facts
from hwcost.units import number, percent, plural, printable

__all__ = ["Best", "Budget", "best_sizes", "check_values", "floor_of", "solve", "whole_values"]

MOST_ENTRIES = 20_000_000
PROVEN = 1e-5
ROUNDING = 1e-9
VALUE, TIES = 1e9, 1e4  # values are whole numbers of this sum, so that sums are exact; MACs break ties


@dataclass(frozen=True, repr=False)
class Budget(Facts):
    """Widths that fit a budget. Cycles are seconds or joules where costs are counted in them.

    Attributes:
        share: of today's cycles, as given.
        limit: the same in cycles.
        sizes: the new size of every width that changes.
        cycles, macs: of the network with these widths.
        cycles_today, macs_today: of the network today.
        gap: the most MACs that any other set of widths within the limit could have in addition, as a share of ``macs``;
            of values, if the caller gave some.
        options, of_options: the number of sizes that the exact solver tried in combination, of all worth taking.
        floor: the cycles with every width at its least size, or the fewest cycles of any sizes measured: what no
            widths can save.
        extrapolated: whether a layer is beyond what a calibrated device was measured with, today or with these widths;
            None if the device was not fitted.
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
    floor: Numbers = 0
    extrapolated: bool | None = None

    @property
    def in_words(self) -> str:
        """What is left with the widths of the budget, on one line."""
        left, macs = (percent(part, 2) for part in (self.cycles / self.cycles_today, self.macs / self.macs_today))
        widths = plural(len(self.sizes), "width")
        return f"{self.share:g}: {left} % of today's cost, with {macs} % of the MACs; {widths} changed"

    def facts(self) -> dict[str, str]:
        """The new sizes, and what they leave."""
        proven = "no other widths within the budget keep more MACs"
        return {
            "cost": f"{percent(self.cycles / self.cycles_today, 2)} % of today's",
            "MACs": f"{number(self.macs)} of {number(self.macs_today)}",
            "proven": proven if self.is_proven else f"no: others may keep up to {percent(self.gap)} % more MACs",
            **{printable(name): number(size) for name, size in self.sizes.items()},
        }

    @property
    def is_proven(self) -> bool:
        """Whether no other set of widths within the limit has more MACs, but for at most 0.001 % of them."""
        return self.gap <= PROVEN

    def as_dict(self) -> dict[str, Any]:
        """All fields and derived figures as plain values."""
        return dataclasses.asdict(self) | {"is_proven": self.is_proven}


def solve(
    network: Network,
    array: CostSource,
    operations: Mapping[str, Operation],
    share: float,
    effort: int,
    allowed: Allowed,
    *,
    value: Mapping[str, Sequence[float]] | None = None,
    most_entries: int = MOST_ENTRIES,
) -> Budget:
    """The widths that fit ``share`` of today's cycles; ``most_entries`` limits the tables.

    Raises:
        InvalidValueError: a share that is out of range or that no widths fit.
    """
    if not is_real(share) or not 0 < share < 1:
        raise InvalidValueError("budget", share, "a share of today's cost above 0 and below 1, like 0.9")
    if isinstance(effort, bool) or not isinstance(effort, int) or effort < 1:
        raise InvalidValueError("effort", effort, "an integer of at least 1")
    today = cost_report(network, array, skip_unsupported=True).total
    measure = measure_of(array)
    cycles_today = getattr(today, measure)
    limit = float(share * cycles_today)
    names = changeable(network, allowed.keep)
    if not names:
        reasons = dict.fromkeys(width.fixed for width in network.widths.values() if width.fixed)
        reason = f"no width of this network can change ({', '.join(list(reasons)[:3]) or 'it has none'})"
        raise InvalidValueError("budget", share, "leave it out", reason=reason)
    values = None if value is None else check_values(network, value, names)
    found = best_sizes(network, array, operations, limit, effort, allowed, value=values, most_entries=most_entries)
    if found.cycles > limit:
        lowest = math.ceil(1e4 * found.cycles / cycles_today) / 1e4
        if lowest >= 1:
            raise InvalidValueError("budget", share, "leave it out", reason="no sizes that may be taken save anything")
        raise InvalidValueError("budget", share, f"at least {lowest:g}, the smallest share of today's cost found")
    after = cost_report(network.at(found.sizes), array, skip_unsupported=True).total
    return Budget(
        share=float(share),
        limit=limit,
        sizes=found.sizes,
        cycles=getattr(after, measure),
        macs=int(after.macs),
        cycles_today=cycles_today,
        macs_today=int(today.macs),
        gap=found.gap,
        options=found.options,
        of_options=found.of_options,
        floor=found.floor,
    )


class Best(NamedTuple):
    """The widths found.

    Attributes:
        sizes: the new size of every width that changes.
        cycles: of the network with these widths; above the limit if no set of widths was found within it.
        gap: what any other set of widths within the limit could be worth in addition, as a share; if the sets had to
            use a share of the limit and this one does, of those that do.
        options, of_options: the number of sizes that the exact solver tried in combination, of all worth taking.
        floor: the cycles with every width at its least size, or the fewest cycles of any sizes measured: what no
            widths can save.
    """

    sizes: Mapping[str, int]
    cycles: float
    gap: float
    options: int
    of_options: int
    floor: float


def best_sizes(
    network: Network,
    array: CostSource,
    operations: Mapping[str, Operation],
    limit: float,
    effort: int,
    allowed: Allowed,
    *,
    value: Mapping[str, Figures] | None = None,
    fill: float = 0.0,
    most_entries: int = MOST_ENTRIES,
) -> Best:
    """The widths within a limit of cycles that are worth most.

    Args:
        network: with widths that can change.
        array: the accelerator, or measured costs, which need not rise with the sizes.
        operations: those of the network that cost something.
        limit: on the cycles of the network.
        effort: the most partial solutions that the exact solver keeps at a time.
        allowed: the sizes that widths may take.
        value: of each size of each width, from 1 to today's, as :func:`check_values` returns them; widths without
            values stay as they are. The MACs if it is None.
        fill: a share of the limit; of sets that reach it, if there are any, the one that is worth most is taken.
        most_entries: of all tables.
    """
    names = [name for name in changeable(network, allowed.keep) if value is None or name in value]
    options = {name: options_worth_taking(name, network, array, operations, allowed) for name in names}
    most = most_options(options, operations, most_entries)

    def tables(some: Mapping[str, Figures], *, spilled: bool = False) -> list[Table]:
        own = tables_over(some, network, array, operations, spilled=spilled)
        return own if value is None else _with_values(own, some, value, network.macs)

    if all(len(own) <= most for own in options.values()):
        options = ends_of_stairs(options, tables(options))

    def search(limit: float, *, spilled: bool = False) -> Result:
        return best_that_fills(options, functools.partial(tables, spilled=spilled), most, limit, effort, fill)

    def cycles_of(choice: Mapping[str, int]) -> tuple[float, float]:
        own = {name: options[name][[index]] for name, index in choice.items()}
        spilled = spill_over(network, array, {name: int(size[0]) for name, size in own.items()})
        return float(total_at(tables(own), dict.fromkeys(own, 0))[0]), float(spilled)

    if isinstance(array, MeasuredCosts) or not machine_of(array).may_spill:
        found = search(limit)
    else:
        room = cost_of_room(machine_of(array), measure_of(array))
        found = best_with_spill(search, cycles_of, limit, room)
    sizes = {name: int(options[name][index]) for name, index in found.choice.items()}
    floor = floor_of(options, network, array, operations, most_entries)
    gap = found.bound / found.worth - 1 if found.worth else 0.0
    return Best(
        sizes={name: size for name, size in sizes.items() if size != network.widths[name].size},
        cycles=found.cycles,
        gap=gap if gap > ROUNDING else 0.0,
        options=found.combined,
        of_options=sum(map(len, options.values())),
        floor=min(floor, found.cycles),
    )


def floor_of(
    options: Mapping[str, Figures],
    network: Network,
    array: CostSource,
    operations: Mapping[str, Operation],
    most_entries: int = MOST_ENTRIES,
) -> float:
    """The cycles with every width at its least size; of measured costs, which need not rise, the fewest of any set."""
    if isinstance(array, MeasuredCosts):
        counts = {name: len(own) for name, own in options.items()}
        if max(counts.values()) > most_options(options, operations, most_entries):
            return array.least
        return least_cycles(tables_over(options, network, array, operations), counts)
    least = {name: own[:1] for name, own in options.items()}
    spilled = float(np.max(spill_over(network, array, least)))
    return spilled + sum(float(cost[0]) for cost, _ in over_each(operations, network, array, least).values())


def check_values(network: Network, value: Any, names: Sequence[str]) -> dict[str, Figures]:
    """The values of sizes that a caller gives, as whole numbers of one large sum, so that sums are exact.

    Args:
        network: with the widths.
        value: for each width the value of every size from 1 to today's, which does not fall.
        names: the widths that can change.

    Raises:
        InvalidValueError: a width that is unknown or cannot change, values of another number or that fall, nothing that
            is worth anything.
    """
    if not isinstance(value, Mapping) or not value:
        raise InvalidValueError("value", value, "for each width the value of every size from 1 to today's")
    found = {}
    for name, given in value.items():
        if name not in names:
            raise InvalidValueError("value", name, list(names), form=unknown("width that can change"))
        size, own = network.widths[name].size, np.asarray(given, dtype=object)
        allowed = f"{size} finite numbers that do not fall: the value of every size from 1 to {size}"
        try:
            own = own.astype(np.float64)
        except (TypeError, ValueError):
            raise InvalidValueError(f"value[{name!r}]", given, allowed) from None
        if own.shape != (size,) or not np.isfinite(own).all() or (np.diff(own) < 0).any():
            raise InvalidValueError(f"value[{name!r}]", given, allowed)
        found[name] = own - own[0]
    total = sum(float(own[-1]) for own in found.values())
    if not 0 < total < math.inf:
        raise InvalidValueError("value", total, "values that rise with the size of some width")
    return whole_values(found)


def whole_values(values: Mapping[str, Figures]) -> dict[str, Figures]:
    """Values of sizes, from 0 at the smallest one, as whole numbers of one large sum, so that sums are exact."""
    from_0 = {name: own - own[0] for name, own in values.items()}
    total = sum(float(own[-1]) for own in from_0.values())
    return {name: np.rint(own * (VALUE / total if total else 0.0)) for name, own in from_0.items()}


def _with_values(
    tables: Sequence[Table], options: Mapping[str, Figures], value: Mapping[str, Figures], macs: int
) -> list[Table]:
    """Tables that are worth the values of widths; the share of ``macs`` decides between sets of one value."""
    priced = [table._replace(worth=np.rint(table.worth * (TIES / macs))) for table in tables]
    none = {name: np.zeros(len(own)) for name, own in options.items()}
    own = [
        Table(({name: np.arange(len(sizes))},), none[name], value[name][sizes - 1]) for name, sizes in options.items()
    ]
    return [*priced, *own]
