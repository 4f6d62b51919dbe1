"""Costs and MACs of layers over the sizes of the widths that they follow: one call per different layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.advice.measured import MeasuredCosts, sides_of
from hwcost.arrays import Size, is_real
from hwcost.elimination.factors import Figures
from hwcost.errors import InvalidValueError, unknown
from hwcost.machine.array import SystolicArray
from hwcost.machine.energies import check_energy
from hwcost.model.formula import layer_figure
from hwcost.network.besides import read_besides, reading_figure
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import Report, check_network, network_cost
from hwcost.network.run import cost_if_spilled, spill_cost
from hwcost.relaxation import EXACT

__all__ = [
    "Allowed", "CostSource", "EnergyCosts", "Figures", "Numbers", "candidates", "changeable", "check_source",
    "cost_report", "followers", "machine_of", "measure_of", "number", "operations_of", "over_each", "pricer",
    "spill_over",
]  # fmt: skip


class EnergyCosts(NamedTuple):
    """The energy that a machine takes, in place of its cycles."""

    machine: SystolicArray

    @property
    def measure(self) -> str:
        """The figure of a cost that is counted."""
        return "energy_joules"

    @property
    def clock_hz(self) -> Size:
        """That of the machine."""
        return self.machine.clock_hz


CostSource: TypeAlias = SystolicArray | EnergyCosts | MeasuredCosts
"""What says how much a layer costs."""

Numbers: TypeAlias = "int | float"

MOST_CANDIDATES = 10_000_000


def changeable(network: Network, keep: Iterable[str] = ()) -> list[str]:
    """The widths that can change and that any priced layer follows, in order: the open ones, if any are open.

    Raises:
        InvalidValueError: one of those to ``keep`` is unknown.
    """
    for name in keep:
        if name not in network.widths:
            raise InvalidValueError("keep", name, network.widths, form=unknown("width"))
    followed = {name for operation in network.priced.values() for name in operation.widths}
    own = network.options or {name for name, each in network.widths.items() if not each.fixed and not each.is_kernel}
    return [name for name in network.widths if name in followed and name in own and name not in keep]


def operations_of(network: Network, source: CostSource) -> dict[str, Operation]:
    """The operations that cost something: by a table of measured costs those with products."""
    return network.priced if isinstance(source, MeasuredCosts) else network.costing(machine_of(source))


def machine_of(source: SystolicArray | EnergyCosts) -> SystolicArray:
    """The machine of a source that has one."""
    return source.machine if isinstance(source, EnergyCosts) else source


def spill_over(network: Network, source: CostSource, sizes: Mapping[str, Any]) -> Any:
    """The cost that weights which do not fit take at sizes of widths, arrays that broadcast; 0 if all weights fit.

    They belong to no operation: whether those of one fit depends on all others.
    """
    if isinstance(source, MeasuredCosts) or not machine_of(source).may_spill:
        return 0.0
    return spill_cost(network.at(sizes), machine_of(source), figure=measure_of(source))


def followers(operations: Mapping[str, Operation], width: str) -> dict[str, Operation]:
    """The operations that follow a width."""
    return {name: each for name, each in operations.items() if width in each.widths}


def measure_of(source: CostSource) -> str:
    """What costs are counted in: "cycles", "seconds" or "energy_joules", a figure of :class:`hwcost.Cost`."""
    return "cycles" if isinstance(source, SystolicArray) else source.measure


def check_source(network: Network, source: CostSource | str, *, skip_unsupported: bool) -> CostSource:
    """The array, or that of the device of this name, or the table of measured costs of this network.

    Raises:
        InvalidValueError: none of them, or a network that it cannot price.
    """
    if isinstance(source, EnergyCosts):
        return EnergyCosts(check_energy(check_network(network, source.machine, skip_unsupported=skip_unsupported)))
    if not isinstance(source, MeasuredCosts):
        return check_network(network, source, skip_unsupported=skip_unsupported)
    check_network(network, SystolicArray(1, 1), skip_unsupported=skip_unsupported)
    source.check(network)
    return source


def cost_report(layers: Mapping[str, Any], source: CostSource, *, skip_unsupported: bool = False) -> Report:
    """What named layers cost, in total and layer by layer."""
    if isinstance(source, MeasuredCosts):
        return source.report(layers, skip_unsupported=skip_unsupported)
    return network_cost(layers, machine_of(source), skip_unsupported=skip_unsupported)


def pricer(
    source: CostSource, network: Network, *, spilled: bool = False, tied: Collection[str] = ()
) -> Callable[[str, Operation, Mapping[str, Any]], tuple[Any, Any]]:
    """A function from an operation with its name, and sizes of widths, to its cost and MACs there.

    It is for one set of sizes: operations that cost the same are priced once. An array prices layers, whatever they
    are called; a table of measured costs has a row for each name. Energy has what is read besides operands, of which
    the network knows. With ``spilled``, as if no weights fit on the chip; those of ``tied`` operations are those of
    others.
    """
    known: dict[Any, tuple[Any, Any]] = {}
    is_table, measure = isinstance(source, MeasuredCosts), measure_of(source)
    besides = read_besides(network, source.machine) if isinstance(source, EnergyCosts) else {}

    def price(name: str, operation: Operation, sizes: Mapping[str, Any]) -> tuple[Any, Any]:
        key = operation.layer, tuple(operation.sizes.items()), name if is_table or name in besides else name in tied
        if key not in known:
            layer = operation.at(sizes)
            if isinstance(source, MeasuredCosts):
                cost = source.at(name, *sides_of(layer).at(layer))
            else:
                machine = machine_of(source)
                cost = layer_figure(layer, machine, EXACT, measure)
                cost = cost + cost_if_spilled(layer, machine, measure) if spilled and name not in tied else cost
                for each in besides.get(name, ()):
                    cost = cost + reading_figure(each.at(sizes), machine, measure)
            known[key] = cost, sum(gemm.macs for gemm in layer.gemms())
        return known[key]

    return price


def over_each(
    operations: Mapping[str, Operation], network: Network, source: CostSource, sizes: Mapping[str, Figures]
) -> dict[str, tuple[Figures, Figures]]:
    """Cost and MACs of each operation at ``sizes``, arrays that broadcast; all other widths keep their size."""
    at: dict[str, Any] = {name: width.size for name, width in network.widths.items()} | dict(sizes)
    shape = np.broadcast_shapes(*(size.shape for size in sizes.values()))
    price = pricer(source, network)
    found = {}
    for name, operation in operations.items():
        cost, macs = price(name, operation, at)
        found[name] = np.broadcast_to(cost, shape), np.broadcast_to(macs, shape)
    return found


class Allowed(NamedTuple):
    """The sizes that widths may take, in addition to today's: multiples of a number, from a share of today's.

    Widths of ``keep`` stay as they are. The share is one of the sizes in ``whole`` instead, if they are given.
    """

    multiple: int = 1
    least: float = 0.0
    keep: tuple[str, ...] = ()
    whole: Mapping[str, int] = MappingProxyType({})

    @classmethod
    def checked(cls, multiple: Any, least: Any, keep: Any) -> Allowed:
        """What a caller gives.

        Raises:
            InvalidValueError: no integer of at least 1, no share, no names in a list.
        """
        if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
            raise InvalidValueError("multiple", multiple, "an integer of at least 1")
        if not is_real(least) or not 0 <= least <= 1:
            raise InvalidValueError("least", least, "a share of today's sizes, from 0 to 1")
        if isinstance(keep, str) or not isinstance(keep, Iterable):
            raise InvalidValueError("keep", keep, "names of widths in a list")
        return cls(multiple, float(least), tuple(keep))


def candidates(network: Network, name: str, most: int, allowed: Allowed, source: CostSource) -> Figures:
    """The sizes up to ``most`` that a width may take, today's among them: its options if it is open, or multiples.

    With a table of measured costs, only sizes that were measured.

    Raises:
        InvalidValueError: too many sizes, as on an array of billions of rows or columns.
    """
    width = network.widths[name]
    most = max(most, width.size)
    measured = source.sizes(network, name) if isinstance(source, MeasuredCosts) else None
    if name in network.options:
        sizes = np.unique([*network.options[name], width.size])
        sizes = sizes if measured is None else np.union1d(np.intersect1d(sizes, measured), [width.size])
        return sizes[sizes <= most]
    step = math.lcm(width.multiple, allowed.multiple)
    first = max(1, math.ceil(allowed.least * allowed.whole.get(name, width.size) / step))
    if measured is not None:
        fits = (measured % step == 0) & (measured >= first * step) & (measured <= most)
        return np.union1d(measured[fits], [width.size])
    count = most // step
    if count > MOST_CANDIDATES:
        raise InvalidValueError(f"the number of sizes of width {name!r}", count, f"at most {MOST_CANDIDATES}")
    return np.union1d(step * np.arange(first, count + 1, dtype=np.int64), [width.size])


def number(figure: Any) -> Numbers:
    """A Python number: an integer if it is whole."""
    return int(figure) if float(figure).is_integer() else float(figure)
