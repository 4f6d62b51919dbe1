"""Costs that were measured: a table of layers over their input and output widths, in place of an array.

Nothing is interpolated. A size that some layer was not measured at is never chosen, and costs need not rise with the
width: on real machines a wider layer may be faster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.arrays import Table, is_real
from hwcost.elimination.factors import Figures
from hwcost.errors import InvalidValueError, check_one_of, look_up, unknown
from hwcost.model.cost import Cost
from hwcost.model.layers import is_layer
from hwcost.network.network import Network
from hwcost.network.operations import Operation, terms_of
from hwcost.network.pricing import Report
from hwcost.tables import Column, Document, Records
from hwcost.units import number, plural, printable, shortlist

__all__ = ["LARGEST_SIDE", "MEASURES", "MeasuredCosts", "Sides", "side_terms", "sides_of", "undetermined"]

Terms: TypeAlias = "dict[str, Fraction]"

MEASURES = ("seconds", "cycles")
LARGEST_SIDE = 2**31 - 1
"""The largest input or output width: two of them make one key of 62 bits."""
UNMEASURED = 1000
_NAMED = 8
_SHOWN = 20
"""Rows that are printed."""


class Sides(NamedTuple):
    """The fields of a layer that are its input and its output width; empty for layers that have none."""

    inputs: str
    outputs: str

    def at(self, layer: Any) -> tuple[Any, Any]:
        """Both sizes: integers, or arrays; 1 for a layer that does not have them."""
        return tuple(getattr(layer, field) if field else 1 for field in self)  # type: ignore[return-value]


def sides_of(layer: Any) -> Sides:
    """The input and output width of a layer: what its type names as ``WIDTHS``, or k and n of a product."""
    fields = getattr(layer, "WIDTHS", ("k", "n"))
    return Sides(*fields) if all(hasattr(layer, field) for field in fields) else Sides("", "")


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredCosts(Records):
    """What layers cost, as measured: a value that stands in for an array in advice and pruning.

    It prints as a table and iterates over its rows; ``costs["fc"]`` is an array of those of a layer.

    Args:
        layers: for each layer the costs by input and output width, as ``{(3, 16): 0.2e-3}``; or an array with the
            columns in, out and cost.
        measure: "seconds" or "cycles".
        clock_hz: for cycles, the clock; without one nothing is known of time.

    Raises:
        InvalidValueError: no layers or costs, a size that is no integer of at least 1, a pair of sizes twice, a cost
            that is negative or not finite.

    >>> costs = MeasuredCosts({"fc": {(8, 4): 2e-6, (8, 2): 3e-6}})
    >>> costs.at("fc", 8, np.array([2, 4])).tolist()
    [3e-06, 2e-06]
    """

    layers: Mapping[str, Any]
    measure: str = "seconds"
    clock_hz: float | None = None

    def __post_init__(self) -> None:
        check_one_of("MeasuredCosts.measure", self.measure, MEASURES)
        clock = self.clock_hz
        if clock is not None and (self.measure == "seconds" or not is_real(clock) or not 0 < clock < math.inf):
            raise InvalidValueError("MeasuredCosts.clock_hz", clock, "a number above 0, for a table of cycles, or None")
        given: object = self.layers
        if not isinstance(given, Mapping) or not given:
            raise InvalidValueError("MeasuredCosts.layers", given, 'costs by layer, as {"fc": {(8, 4): 2e-6}}')
        object.__setattr__(self, "layers", Table({str(name): _sorted(name, own) for name, own in given.items()}))

    def __reduce__(self) -> tuple[Any, ...]:
        return MeasuredCosts, (dict(self.layers), self.measure, self.clock_hz)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MeasuredCosts):
            return NotImplemented
        same = (self.measure, self.clock_hz, set(self.layers)) == (other.measure, other.clock_hz, set(other.layers))
        return same and all(np.array_equal(own, other.layers[name]) for name, own in self.layers.items())

    __hash__ = None  # type: ignore[assignment]

    @property
    def in_words(self) -> str:
        """How much was measured, on one line."""
        return f"{plural(len(self.layers), 'layer')}, {plural(self.rows, 'row')} in {self.measure}"

    def document(self) -> Document:
        """The first rows."""
        columns = [_column(name) for name in self.columns]
        shown = list(itertools.islice(self, _SHOWN))
        return Document(self.in_words, columns, shown, left_out=self.rows - len(shown))

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of :func:`hwcost.write_costs` by name: layer, in, out, ms, cycles, as far as they are known."""
        rows = np.concatenate(list(self.layers.values()))
        names = np.repeat(np.array(list(self.layers), dtype=object), list(map(len, self.layers.values())))
        found = {"layer": names, "in": rows[:, 0].astype(np.int64), "out": rows[:, 1].astype(np.int64)}
        if self.measure == "seconds" or self.clock_hz is not None:
            found["ms"] = rows[:, 2] * 1e3 / (self.clock_hz or 1.0)
        return found | ({"cycles": rows[:, 2]} if self.measure == "cycles" else {})

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each row, as ``hwcost table`` prints them."""
        return list(self)

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names, columns = zip(*self.columns.items(), strict=True)
        return (dict(zip(names, row, strict=True)) for row in zip(*(each.tolist() for each in columns), strict=True))

    def __contains__(self, name: object) -> bool:
        return name in self.layers

    def __getitem__(self, name: str) -> Figures:
        rows: Figures = look_up(self.layers, name, "the table of costs", "layer", "list(costs)")
        return rows

    def as_dict(self) -> dict[str, Any]:
        """What the table is, as plain values: its rows are its own."""
        return {"measure": self.measure, "clock_hz": self.clock_hz, "layers": list(self.layers), "rows": self.rows}

    @property
    def rows(self) -> int:
        """The number of costs."""
        return sum(map(len, self.layers.values()))

    @property
    def unmeasured(self) -> float:
        """A finite cost that no set of sizes can have, for sizes that were not measured."""
        return UNMEASURED * math.fsum(float(own[:, 2].max()) for own in self.layers.values()) or 1.0

    @property
    def least(self) -> float:
        """The sum of the least cost of each layer, which all sets of sizes have."""
        return math.fsum(float(own[:, 2].min()) for own in self.layers.values())

    def at(self, name: str, inputs: Any, outputs: Any) -> Figures:
        """The costs of a layer at its input and output widths, arrays that broadcast; :attr:`unmeasured` if missing.

        A layer that the table does not have costs nothing.
        """
        wanted = _keys(_within(inputs), _within(outputs))
        if name not in self.layers:
            return np.zeros(wanted.shape)
        own = self.layers[name]
        keys = _keys(own[:, 0].astype(np.int64), own[:, 1].astype(np.int64))
        index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.asarray(np.where(keys[index] == wanted, own[index, 2], self.unmeasured))

    def check(self, network: Network) -> None:
        """Raises unless the table is of this network, and has the sizes that its layers have today.

        Raises:
            InvalidValueError: a layer that the network does not have, sizes that are missing.
        """
        for name in self.layers:
            if name not in network.priced:
                raise InvalidValueError("the table of costs", name, list(network.priced), form=unknown("layer"))
        self.report(network, skip_unsupported=True)

    def notes(self, network: Network) -> tuple[str, ...]:
        """The layers that the table does not have, in words."""
        names = [name for name in network.priced if name not in self.layers]
        listed = shortlist(names, _NAMED)
        return (f"the table has no costs of {listed}: they count as nothing",) if names else ()

    def report(self, layers: Mapping[str, Any], *, skip_unsupported: bool = False) -> Report:
        """The cost of layers at their sizes, in total and layer by layer; only MACs, seconds and cycles are known.

        Raises:
            InvalidValueError: something that is not a layer, sizes that were not measured.
        """
        found: dict[str, Cost] = {}
        figures, left_out = [], []
        for name, layer in layers.items():
            if not is_layer(layer):
                if not skip_unsupported:
                    allowed = "pass skip_unsupported=True to leave it out"
                    raise InvalidValueError(f"operation {name!r}", layer, allowed, reason=f"it is unsupported: {layer}")
                left_out.append(name)
                continue
            figures.append(self._measured(name, layer))
            found[name] = self._cost(figures[-1], sum(gemm.macs for gemm in layer.gemms()))
        total = self._cost(math.fsum(figures), sum(int(cost.macs) for cost in found.values()))
        return Report(total, tuple(left_out), tuple(found), tuple(found.values()), tuple(range(len(found))))

    def _measured(self, name: str, layer: Any) -> float:
        if name not in self.layers:
            return 0.0
        sides = sides_of(layer).at(layer)
        cost = float(self.at(name, *sides))
        if cost == self.unmeasured:
            reason = f"it has no row with in {sides[0]} and out {sides[1]}"
            raise InvalidValueError(f"the table of costs of {name!r}", sides, "measure these sizes too", reason=reason)
        return cost

    def _cost(self, figure: float, macs: Any) -> Cost:
        if self.measure == "seconds":
            return Cost(macs=macs, seconds=figure)
        cycles = int(figure) if figure.is_integer() else figure
        return Cost(macs=macs, cycles=cycles, seconds=figure / self.clock_hz if self.clock_hz else 0.0)

    def sizes(self, network: Network, width: str) -> Figures:
        """The sizes of a width that all layers of the table that follow it were measured at, ascending.

        Today's alone, for a width that no layer of the table follows, or that changes a layer in more than its input
        and output width.
        """
        today = network.widths[width].size
        found: Figures | None = None
        for name, operation in network.priced.items():
            if width not in operation.widths or name not in self.layers:
                continue
            if width in undetermined(operation):
                return np.array([today])
            for own in self._of_side(name, operation, network, width):
                found = own if found is None else np.intersect1d(found, own, assume_unique=True)
        return np.array([today]) if found is None else found

    def _of_side(self, name: str, operation: Operation, network: Network, width: str) -> Iterator[Figures]:
        """The sizes of a width at which each side that follows it alone was measured."""
        rows = self.layers[name]
        rules = side_terms(operation)
        today = sides_of(operation.layer).at(operation.layer)
        for column, terms in enumerate(rules):
            if all(network.widths[each].fixed for each in terms):
                rows = rows[rows[:, column] == today[column]]
        for column, terms in enumerate(rules):
            if width in terms:
                factor = terms[width]
                sides = np.unique(rows[:, column].astype(np.int64)) * factor.denominator
                if len(terms) == 1:
                    yield sides[sides % factor.numerator == 0] // factor.numerator
                else:  # of a sum, any that is not above the whole
                    yield np.arange(1, int(sides.max(initial=0)) // factor.numerator + 1)


def _column(name: str) -> Column[Any]:
    if name == "layer":
        return Column(name, lambda row: printable(row[name]), to_the_left=True)
    return Column(name, lambda row: number(row[name]))


def undetermined(operation: Operation) -> set[str]:
    """The widths that change a layer in more than its input and output width, as the number of heads of a product."""
    rules = side_terms(operation)
    alone = {name for terms in rules if len(terms) == 1 for name in terms}
    sides = sides_of(operation.layer)
    found: set[str] = set()
    for field, rule in operation.sizes.items():
        terms = terms_of(rule)
        if field not in sides and not any(_proportional(terms, each) for each in rules):
            found |= terms.keys() - alone
    return found


def side_terms(operation: Operation) -> tuple[Terms, Terms]:
    """The factors of the widths that the input and the output width of an operation follow."""
    inputs, outputs = (terms_of(operation.sizes.get(field, ())) for field in sides_of(operation.layer))
    return inputs, outputs


def _proportional(one: Terms, other: Terms) -> bool:
    ratios = {one[name] / other[name] for name in one if name in other}
    return len(ratios) == 1 and set(one) == set(other)


def _within(size: Any) -> Figures:
    """Sizes, of which those that no table can have are one that none has."""
    none = LARGEST_SIDE + 1
    return np.asarray(np.minimum(size, none) if isinstance(size, np.ndarray) else min(size, none), dtype=np.int64)


def _keys(inputs: Figures, outputs: Figures) -> Figures:
    return (inputs << 31) | outputs


def _sorted(name: Any, given: Any) -> Figures:
    """Read-only rows of in, out and cost, sorted by the first two."""
    field = f"MeasuredCosts.layers[{name!r}]"
    allowed = "costs by pairs of sizes, as {(8, 4): 2e-6}, or an array with the columns in, out and cost"
    try:
        rows = [(*pair, cost) for pair, cost in given.items()] if isinstance(given, Mapping) else given
        found = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidValueError(field, given, allowed) from None
    if found.ndim != 2 or found.shape[1] != 3 or not len(found):
        raise InvalidValueError(field, given, allowed)
    sizes, costs = found[:, :2], found[:, 2]
    good = (sizes >= 1) & (sizes <= LARGEST_SIDE) & (sizes == np.floor(sizes))
    if not good.all():
        raise InvalidValueError(field, float(sizes[~good][0]), f"sizes that are integers from 1 to {LARGEST_SIDE}")
    good = np.isfinite(costs) & (costs >= 0)
    if not good.all():
        raise InvalidValueError(field, float(costs[~good][0]), "costs that are finite numbers of at least 0")
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    twice = np.flatnonzero((np.diff(found[:, :2], axis=0) == 0).all(1))
    if len(twice):
        pair = tuple(map(int, found[twice[0], :2]))
        reason = f"in {pair[0]}, out {pair[1]} is there twice"
        raise InvalidValueError(field, pair, "give one cost of each pair of sizes", reason=reason)
    found.flags.writeable = False
    return found
