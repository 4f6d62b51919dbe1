"""Cycles and MACs of layers over the sizes of the widths that they follow: one call per different layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError, unknown
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cycles
from hwcost.network.network import Network
from hwcost.network.operations import Operation

__all__ = ["Allowed", "Figures", "Numbers", "changeable", "followers", "over_each"]

Figures: TypeAlias = np.ndarray[Any, np.dtype[Any]]
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


def followers(operations: Mapping[str, Operation], width: str) -> dict[str, Operation]:
    """The operations that follow a width."""
    return {name: each for name, each in operations.items() if width in each.widths}


def over_each(
    operations: Mapping[str, Operation], network: Network, array: SystolicArray, sizes: Mapping[str, Figures]
) -> dict[str, tuple[Figures, Figures]]:
    """Cycles and MACs of each operation at ``sizes``, arrays that broadcast; all other widths keep their size."""
    today: dict[str, Any] = {name: width.size for name, width in network.widths.items()}
    shape = np.broadcast_shapes(*(size.shape for size in sizes.values()))
    priced: dict[Any, tuple[Figures, Figures]] = {}
    found = {}
    for name, operation in operations.items():
        key = (operation.layer, tuple(operation.sizes.items()))
        if key not in priced:
            layer = operation.at(today | dict(sizes))
            figures = layer_cycles(layer, array), sum(gemm.macs for gemm in layer.gemms())
            priced[key] = (np.broadcast_to(figures[0], shape), np.broadcast_to(figures[1], shape))
        found[name] = priced[key]
    return found


class Allowed(NamedTuple):
    """The sizes that widths may take, in addition to today's: multiples of a number, from a share of today's.

    Widths of ``keep`` stay as they are.
    """

    multiple: int = 1
    least: float = 0.0
    keep: tuple[str, ...] = ()


def candidates(network: Network, name: str, most: int, allowed: Allowed) -> Figures:
    """The sizes up to ``most`` that a width may take, today's among them: its options if it is open, or multiples.

    Raises:
        InvalidValueError: too many sizes, as on an array of billions of rows or columns.
    """
    width = network.widths[name]
    if name in network.options:
        sizes = np.unique([*network.options[name], width.size])
        return sizes[sizes <= max(most, width.size)]
    step = math.lcm(width.multiple, allowed.multiple)
    count = max(most, width.size) // step
    if count > MOST_CANDIDATES:
        raise InvalidValueError(f"the number of sizes of width {name!r}", count, f"at most {MOST_CANDIDATES}")
    first = max(1, math.ceil(allowed.least * width.size / step))
    return np.union1d(step * np.arange(first, count + 1, dtype=np.int64), [width.size])


def number(figure: Any) -> Numbers:
    """A Python number: an integer if it is whole."""
    return int(figure) if float(figure).is_integer() else float(figure)
