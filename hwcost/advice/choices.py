"""What a budget chooses from: the options of each width, and tables of the cost and worth of operations over them.

What a choice is worth are its MACs, or values that a caller gives for the sizes of each width. An axis of a table is
one width, or the sum of several, as behind a concatenation. Tables therefore grow with the number of sums, not with the
number of combinations.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.advice.tables import Allowed, CostSource, Figures, candidates, followers, over_each, pricer
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.run import tied_layers

__all__ = ["Table", "ends_of_stairs", "most_options", "options_worth_taking", "tables_over", "total_at"]

Axis: TypeAlias = tuple[tuple[str, Fraction], ...]
"""Widths with their factors, the first of which is 1."""


class Table(NamedTuple):
    """Cycles and MACs of operations over the options of the widths that they follow.

    Attributes:
        axes: for each axis, the widths that it follows with the place of each of their options on it. The places of
            several widths add up.
        cycles, worth: float64, one axis for each entry of ``axes``. Cycles are seconds with costs measured in them.
    """

    axes: tuple[Mapping[str, Figures], ...]
    cycles: Figures
    worth: Figures

    @property
    def widths(self) -> tuple[str, ...]:
        """The widths that it follows, each once."""
        return tuple(dict.fromkeys(name for axis in self.axes for name in axis))

    def at(self, choice: Mapping[str, Any]) -> tuple[Figures, Figures]:
        """Cycles and MACs at the indices of options: integers, or arrays that broadcast."""
        index = tuple(sum(places[choice[name]] for name, places in axis.items()) for axis in self.axes)
        return self.cycles[index], self.worth[index]


def total_at(tables: Iterable[Table], choice: Mapping[str, Any]) -> tuple[Any, Any]:
    """Cycles and MACs of all tables together."""
    cycles: Any = 0.0
    worth: Any = 0.0
    for table in tables:
        own = table.at(choice)
        cycles, worth = cycles + own[0], worth + own[1]
    return cycles, worth


def options_worth_taking(
    name: str, network: Network, array: CostSource, operations: Mapping[str, Operation], allowed: Allowed
) -> Figures:
    """The sizes up to today's that may be worth taking, ascending, today's among them.

    If nothing but the product of ceilings counts, they are the right ends of the stairs of any layer, as every other
    size loses MACs for nothing; or else all sizes, since stairs may move with another width, and measured costs need
    not have any.
    """
    own = followers(operations, name)
    sizes = candidates(network, name, network.widths[name].size, allowed, array)
    if not isinstance(array, SystolicArray):
        return sizes
    bare = SystolicArray(array.rows, array.cols, dataflow=array.dataflow, clock_hz=array.clock_hz)
    if (
        array != bare
        or not isinstance(array.dataflow, str)
        or any(_is_in_a_sum(name, each, network) for each in own.values())
    ):
        return sizes
    tables = over_each(own, network, array, {name: sizes}).values()
    is_end = np.any([cycles[1:] != cycles[:-1] for cycles, _ in tables], axis=0)
    return np.asarray(sizes[np.append(is_end, True)])


def _is_in_a_sum(name: str, operation: Operation, network: Network) -> bool:
    sums = ([width for width, _ in each if not network.widths[width].fixed] for each in operation.sizes.values())
    return any(name in each and len(each) > 1 for each in sums)


def ends_of_stairs(options: Mapping[str, Figures], tables: Iterable[Table]) -> dict[str, Figures]:
    """The options at which the cycles of any table change before the next one, whatever the other widths are."""
    changes = {name: np.full(len(sizes), False) for name, sizes in options.items()}
    for table in tables:
        for index, axis in enumerate(table.axes):
            for name in axis:
                if len(axis) > 1:
                    changes[name][:] = True
                else:
                    others = tuple(each for each in range(len(table.axes)) if each != index)
                    changes[name][:-1] |= (np.diff(table.cycles, axis=index) != 0).any(others)
    return {name: sizes[changes[name] | (sizes == sizes[-1])] for name, sizes in options.items()}


def tables_over(
    options: Mapping[str, Figures],
    network: Network,
    array: CostSource,
    operations: Mapping[str, Operation],
    *,
    spilled: bool = False,
) -> list[Table]:
    """One table for all operations that follow the same axes; all other widths keep their size.

    With ``spilled``, as if no weights fit on the chip.
    """
    groups: dict[tuple[Axis, ...], dict[str, Operation]] = defaultdict(dict)
    for name, operation in operations.items():
        groups[_axes(operation, options)][name] = operation
    price = pricer(array, network, spilled=spilled, tied=tied_layers(network) if spilled else ())
    return [_table(axes, own, options, network, price) for axes, own in groups.items()]


def most_options(options: Mapping[str, Figures], operations: Mapping[str, Operation], most_entries: int) -> int:
    """How many options of each width the tables of all operations have room for."""
    axes = {_axes(operation, options) for operation in operations.values()}
    most = max(map(len, options.values()))
    while most > 2:
        lengths = ([_length(axis, options, most) for axis in each] for each in axes)
        if sum(map(math.prod, lengths)) <= most_entries:
            break
        most = most * 3 // 4
    return most


def _length(axis: Axis, options: Mapping[str, Figures], most: int) -> int:
    """About how long an axis is with some of the options of each width."""
    if len(axis) == 1:
        return min(most, len(options[axis[0][0]]))
    return 1 + sum(int(factor) * int(options[name][-1] - options[name][0]) for name, factor in axis)


def _axes(operation: Operation, options: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of an operation: sums of widths if each width is in one sum only, or else single widths."""
    sums: dict[Axis, None] = {}
    for rule in operation.sizes.values():
        terms = [(name, factor) for name, factor in rule if name in options]
        if terms:
            sums[tuple((name, factor / terms[0][1]) for name, factor in terms)] = None
    names = [name for axis in sums for name, _ in axis]
    if len(set(names)) == len(names) and all(factor.denominator == 1 for axis in sums for _, factor in axis):
        return tuple(sums)
    return tuple(((name, Fraction(1)),) for name in dict.fromkeys(names))


def _table(
    axes: tuple[Axis, ...],
    operations: Mapping[str, Operation],
    options: Mapping[str, Figures],
    network: Network,
    price: Callable[..., tuple[Any, Any]],
) -> Table:
    places: list[dict[str, Figures]] = []
    sizes: dict[str, Any] = {name: width.size for name, width in network.widths.items()}
    shape = []
    for index, axis in enumerate(axes):
        first, *others = (name for name, _ in axis)
        if others:
            terms = {name: int(factor) * (options[name] - options[name][0]) for name, factor in axis}
            step = int(np.gcd.reduce(np.concatenate(list(terms.values())))) or 1
            places.append({name: each // step for name, each in terms.items()})
            length = 1 + sum(int(each[-1]) for each in places[-1].values())
            along = options[first][0] + step * np.arange(length, dtype=np.int64)  # it stands in for the whole sum
        else:
            along = options[first]
            places.append({first: np.arange(len(along))})
        shape.append(len(along))
        sizes |= {name: int(options[name][0]) for name in others}
        sizes[first] = along.reshape(-1, *[1] * (len(axes) - index - 1))
    cycles, worth = np.zeros(shape), np.zeros(shape)
    for name, operation in operations.items():
        own_cycles, own_worth = price(name, operation, sizes)
        cycles += own_cycles
        worth += own_worth
    return Table(tuple(places), cycles, worth)
