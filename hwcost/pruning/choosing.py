"""The limit of a pruning, and the widths within it that are worth most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from hwcost.advice.budget import best_sizes, floor_of, whole_values
from hwcost.advice.choices import ends_of_stairs, options_worth_taking, tables_over
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.tables import Allowed, CostSource, changeable, cost_report, measure_of, operations_of
from hwcost.errors import InvalidValueError
from hwcost.model.cost import Cost
from hwcost.network.limits import FILL, Limit
from hwcost.network.network import Network
from hwcost.network.operations import whole
from hwcost.pruning.importance import Figures
from hwcost.units import number, plural, shortlist

__all__ = [
    "Choice", "below_the_floor", "check_floor", "check_room", "choose", "effort_of", "kept_widths", "least_cost",
    "limit_of", "stairs",
]  # fmt: skip

_NAMED = 3
_ROUNDING = 1e-9  # of sums of seconds


def limit_of(network: Network, array: CostSource, **given: float | None) -> Limit:
    """The limit that one of target, cycles and seconds gives, in seconds where costs were measured in seconds.

    Raises:
        InvalidValueError: as :meth:`hwcost.network.limits.Limit.of`; or a limit that the network meets.
    """
    total, measure = cost_report(network, array).total, measure_of(array)
    limit = Limit.of(float(getattr(total, measure)), array.clock_hz, measure, **given)
    if limit.cycles >= limit.today:
        allowed = f"less than it takes today: {spent(total)}"
        allowed = "a share below 1, like 0.5" if limit.field == "target" else allowed
        raise InvalidValueError(limit.field, limit.value, allowed)
    return limit


def spent(cost: Cost) -> str:
    """The cycles and the time of a network, as far as they are known.

    >>> spent(Cost(cycles=38, seconds=38e-9)), spent(Cost(seconds=2e-3))
    ('38 cycles, 3.8e-08 s', '0.002 s')
    """
    known = [f"{number(cost.cycles)} cycles"] if cost.cycles else []
    return ", ".join([*known, *([f"{float(cost.seconds):.4g} s"] if cost.seconds else [])])


class Choice(NamedTuple):
    """The sizes chosen.

    Attributes:
        sizes: of every width that changes.
        cycles: of the network with these widths.
        floor: the cycles with every width at its least size; or the fewest of any sizes that were measured.
        gap: what any other sizes within the limit, or that use as much of it, could be worth in addition at most, as a
            share; None if no bound is known.
    """

    sizes: Mapping[str, int]
    cycles: float
    floor: float
    gap: float | None


def kept_widths(network: Network, keep: Iterable[str]) -> tuple[str, ...]:
    """The widths that stay: those of these names, and all widths named after layers inside a module of that name.

    Raises:
        InvalidValueError: a name that is neither.
    """
    found: dict[str, None] = {}
    names = changeable(network)
    for each in keep:
        own = [name for name in names if name == each or name.startswith(f"{each}.")]
        if not own and each not in network.widths:
            raise InvalidValueError("keep", each, f"names of widths or modules: {', '.join(names)}")
        found.update(dict.fromkeys(own))
    return tuple(found)


def check_room(network: Network, allowed: Allowed, options_of: Callable[[Allowed], Mapping[str, Figures]]) -> None:
    """Raises if what a caller allows leaves no width a smaller size: an error about the one that is to blame.

    Args:
        network: with the widths.
        allowed: with widths in ``keep``, and no modules.
        options_of: from what is allowed to the sizes of each width, today's last.

    Raises:
        InvalidValueError: a ``keep`` that names every width, a ``least`` or a ``multiple`` that is too large.
    """

    def room(tried: Allowed) -> dict[str, Figures]:
        return {name: own for name, own in options_of(tried).items() if len(own) > 1}

    names = changeable(network)
    if not names:
        return
    if not changeable(network, allowed.keep):
        allowed_here = f"leave out at least one of: {shortlist(names, _NAMED)}"
        raise InvalidValueError("keep", shortlist(names, _NAMED), allowed_here, reason="every width would stay")
    if room(allowed):
        return
    if found := room(allowed._replace(least=0.0)):
        shares = {name: own[-2] / own[-1] for name, own in found.items()}
        name = max(shares, key=shares.__getitem__)
        most = f"at most {math.floor(1000 * shares[name]) / 1000:g}, with which {name!r} may have {found[name][-2]}"
        reason = f"with {allowed.least:g} no width has a smaller size"
        raise InvalidValueError("least", allowed.least, f"{most} instead of {found[name][-1]}", reason=reason)
    if allowed.multiple > 1 and room(allowed._replace(least=0.0, multiple=1)):
        most = f"less than {max(network.widths[name].size for name in names)}, the size of the largest width"
        raise InvalidValueError(
            "multiple", allowed.multiple, most, reason=f"no width has a smaller multiple of {allowed.multiple}"
        )


def _options(network: Network, array: CostSource, allowed: Allowed) -> dict[str, Figures]:
    """The sizes that each width may take, today's last."""
    names = changeable(network, allowed.keep)
    operations = operations_of(network, array)
    return {name: options_worth_taking(name, network, array, operations, allowed) for name in names}


def stairs(network: Network, array: CostSource, allowed: Allowed) -> dict[str, Figures]:
    """For every width that may change the sizes at the ends of its stairs, today's last."""
    operations = operations_of(network, array)
    options = _options(network, array, allowed)
    alone = {}
    for name, own in options.items():
        tables = tables_over(
            {name: own}, network, array, {key: each for key, each in operations.items() if name in each.widths}
        )
        alone[name] = ends_of_stairs({name: own}, tables)[name]
    return alone


def effort_of(given: int) -> int:
    """The effort of the solver; an InvalidValueError if it is no integer of at least 1."""
    return whole(given, "effort")


def choose(
    network: Network, array: CostSource, limit: Limit, allowed: Allowed, values: Mapping[str, Figures], effort: int
) -> Choice:
    """The sizes within a limit that are worth most, of those that use at least 97 % of it if any do.

    Args:
        values: of every size of each width, from 1 on, which do not fall.

    Raises:
        InvalidValueError: no sizes are within the limit.
    """
    best = best_sizes(
        network,
        array,
        operations_of(network, array),
        limit.cycles,
        effort,
        allowed,
        value=whole_values(values),
        fill=FILL,
    )
    if best.cycles > limit.cycles:
        raise below_the_floor(network, array, limit, best.floor, allowed)
    return Choice(best.sizes, best.cycles, best.floor, best.gap)


def check_floor(network: Network, array: CostSource, limit: Limit, allowed: Allowed) -> float:
    """The cost with every width at its least size; raises if it is above the limit: before anything is measured."""
    floor = least_cost(network, array, allowed)
    if floor > limit.cycles:
        raise below_the_floor(network, array, limit, floor, allowed)
    return floor


def least_cost(network: Network, array: CostSource, allowed: Allowed) -> float:
    """The cost with every width at its least size."""
    options = _options(network, array, allowed)
    if not options:
        return float(getattr(cost_report(network, array).total, measure_of(array)))
    return floor_of(options, network, array, operations_of(network, array))


def below_the_floor(
    network: Network, array: CostSource, limit: Limit, floor: float, allowed: Allowed, blocks: int | None = None
) -> InvalidValueError:
    """The error about a limit that no widths can meet, with what may help.

    Args:
        network, array, limit: what was to be cut to what.
        floor: the cost at the least sizes.
        allowed: with the names of widths or modules that stay.
        blocks: how many blocks were dropped for it; None if none were looked for.
    """
    share, cost = f"{_share_above(floor, limit.today):g}", "time" if measure_of(array) == "seconds" else "cycles"
    is_table = isinstance(array, MeasuredCosts)
    least = "at the cheapest sizes that were measured" if is_table else "with every width at its least size"
    least += f" and without {plural(blocks, 'block')}" if blocks else ""
    least += f", but for {shortlist(allowed.keep, _NAMED)}," if allowed.keep else ""
    ways = [f"at least {share} of today's {cost}"]
    ways += ["a smaller least"] if allowed.least else []
    ways += ["fewer widths that stay"] if allowed.keep else []
    ways += ["prune with depth=True (--depth), which may drop whole blocks"] if blocks is None else []
    what = "nothing" if blocks else "no widths"
    reason = f"{least} {network.name} still takes {share} of its {cost}: {what} can save the rest"
    return InvalidValueError(limit.field, limit.value, ", or ".join(ways), reason=reason)


def _share_above(floor: float, today: float) -> float:
    """The smallest share of four decimals, which as a target is not below the floor.

    >>> _share_above(25.0, 100.0), _share_above(30921.0, 100_000.0)
    (0.25, 0.3093)
    """
    floor *= 1.0 if float(floor).is_integer() else 1.0 + _ROUNDING
    steps = math.floor(1e4 * floor / today)
    return next(each for each in (steps / 1e4, (steps + 1) / 1e4, (steps + 2) / 1e4) if each * today >= floor)
