"""The stairs of the page: what layers cost at other sizes of a width, as texts that a slider picks from."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwcost.arrays import Table
from hwcost.devices.measured import Range, is_beyond
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.formula import layer_cost
from hwcost.network.besides import read_besides, result_cost
from hwcost.network.network import Network
from hwcost.network.operations import Operation, Width, terms_of
from hwcost.units import BYTES, in_unit, marked, number, percent, shortlist

__all__ = ["Stairs", "sizes_of", "stairs_of"]

_EVERY, _COARSE = 512, 64
"""Up to which size every one is there, and into how many steps those above are cut."""
_MOST = 800_000
"""Characters of texts above which widths are left out."""
_MOST_PRICED = 400
"""Different layers that are priced over sizes, above which widths are left out."""
_NO_RANGES: Mapping[str, Range] = Table({})


class Stairs(NamedTuple):
    """Texts of cycles, utilization and bytes over the sizes of widths.

    Attributes:
        sizes: different lists of sizes.
        series: for different layers the texts of cycles, utilization in percent and bytes at these sizes, joined by
            "|"; a text that equals the one before it is left out.
        widths: for each width its ``name``, its list of ``sizes``, the place of ``today`` in it, and ``rows`` of a
            label, the names of layers, and their series.
        left_out: the number of widths that are not there.
    """

    sizes: Sequence[Sequence[int]]
    series: Sequence[Sequence[str]]
    widths: Sequence[Mapping[str, Any]]
    left_out: int = 0

    def of_layers(self) -> dict[str, int]:
        """The place of a width for each layer that follows any: of its outputs, if it has such a width."""
        found: dict[str, int] = {}
        for place, width in enumerate(self.widths):
            for layer in (layer for _, layers, _ in width["rows"] for layer in layers):
                is_own = width["name"] in {layer, f"{layer}.out_channels", f"{layer}.out_features"}
                found[layer] = place if is_own else found.get(layer, place)
        return found

    def text(self) -> str:
        """As JSON that can stand inside of a page."""
        content = {"sizes": self.sizes, "series": self.series, "widths": self.widths}
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def stairs_of(network: Network, array: SystolicArray, ranges: Mapping[str, Range] = _NO_RANGES) -> Stairs:
    """The stairs of the widths of a network that can change, the costliest first; none if it has no widths.

    Figures of time of layers outside of ``ranges``, the sizes that a device was measured with, are marked.

    >>> from hwcost import Linear
    >>> one = Network("one", {"a": Operation(Linear(8, 3), {"out_features": "a"})}, {"a": Width(3)})
    >>> stairs = stairs_of(one, SystolicArray(8, 2))
    >>> stairs.sizes, [cycles for cycles, *_ in stairs.series]
    ([[1, 2, 3, 4, 5, 6]], ['1||2||3|'])
    """
    followers: dict[str, dict[str, Operation]] = {}
    besides = read_besides(network, array)
    for layer, operation in network.priced.items():
        for name in dict.fromkeys(name for each in (operation, *besides.get(layer, ())) for name in each.widths):
            if name in network.options or not network.widths[name].fixed:
                followers.setdefault(name, {})[layer] = operation
    today = {layer: layer_cost(operation.layer, array).cycles for layer, operation in network.priced.items()}
    maker, left_out = _Maker(network, array, besides, ranges), 0
    for name in sorted(followers, key=lambda name: -sum(today[each] for each in followers[name])):
        if maker.is_full:
            left_out += 1
            continue
        try:
            maker.add(name, followers[name])
        except InvalidValueError:  # a size that no layer can have, or with which nothing fits the memory of the array
            left_out += 1
    return Stairs(maker.sizes, maker.series, maker.widths, left_out)


class _Maker:
    """Collects widths; one vectorised call for each different layer."""

    def __init__(
        self,
        network: Network,
        array: SystolicArray,
        besides: Mapping[str, Sequence[Operation]],
        ranges: Mapping[str, Range],
    ):
        self.network, self.array, self.besides, self.ranges = network, array, besides, ranges
        self.sizes: list[list[int]] = []
        self.series: list[list[str]] = []
        self.widths: list[dict[str, Any]] = []
        self._known: dict[Any, Cost] = {}
        self._today = {name: each.size for name, each in network.widths.items()}

    @property
    def is_full(self) -> bool:
        return len(self._known) > _MOST_PRICED or sum(len(text) for each in self.series for text in each) > _MOST

    def add(self, name: str, operations: Mapping[str, Operation]) -> None:
        sizes = sizes_of(self.network.widths[name], self.network.options.get(name, ()))
        costs = [
            self._over(operation, self.besides.get(layer, ()), name, sizes) for layer, operation in operations.items()
        ]
        at = self._today | {name: sizes}
        beyond = [
            np.broadcast_to(is_beyond(self.ranges, operation.at(at)), sizes.shape) for operation in operations.values()
        ]
        rows: dict[int, list[str]] = {}
        for layer, cost, own in zip(operations, costs, beyond, strict=True):
            rows.setdefault(_place(self.series, _texts(cost, sizes, own)), []).append(layer)
        listed: list[Any] = [[shortlist(names, 2), names, index] for index, names in rows.items()]
        if len(costs) > 1:
            whole = functools.reduce(operator.add, costs)
            listed.insert(0, ["together", [], _place(self.series, _texts(whole, sizes, np.any(beyond, axis=0)))])
        self.widths.append({
            "name": name,
            "sizes": _place(self.sizes, sizes.tolist()),
            "today": int(np.searchsorted(sizes, self._today[name])),
            "rows": listed,
        })  # fmt: skip

    def _over(self, operation: Operation, besides: Sequence[Operation], width: str, sizes: NDArray[np.int64]) -> Cost:
        """The cost of a layer, and of the results that it reads besides its operands, over the sizes of a width."""
        own = (operation, *besides)
        factors = ((name, terms_of(rule).get(width)) for each in own for name, rule in each.sizes.items())
        key = tuple(each.layer for each in own), tuple(factors), sizes.tobytes()
        if key not in self._known:
            at = self._today | {width: sizes}
            read = (result_cost(each.at(at), self.array) for each in besides)
            self._known[key] = sum(read, start=layer_cost(operation.at(at), self.array))
        return self._known[key]


def sizes_of(width: Width, options: Sequence[int] = ()) -> NDArray[np.int64]:
    """The sizes that a slider has: the options of an open width, or all up to twice today's, coarser above 512.

    >>> sizes_of(Width(4, multiple=2)).tolist(), len(sizes_of(Width(2048)))
    ([2, 4, 6, 8], 578)
    """
    if options:
        return np.unique([*options, width.size]).astype(np.int64)
    first, most = width.above + width.multiple, 2 * width.size
    every = np.arange(first, max(first, most) + 1, width.multiple, dtype=np.int64)
    fine, above = every[every <= _EVERY], every[every > _EVERY]
    coarse = above[:: max(1, -(-len(above) // _COARSE))]
    return np.union1d(np.concatenate([fine, coarse, every[-1:]]), [width.size])


def _texts(cost: Cost, sizes: NDArray[np.int64], beyond: NDArray[np.bool_]) -> list[str]:
    def texts(figure: Any, writer: Callable[[Any], str]) -> Iterator[str]:
        return map(writer, np.broadcast_to(np.asarray(figure), sizes.shape).tolist())

    of_time = ((cost.cycles, number), (cost.utilization, percent))
    return [
        *(_joined(map(marked, texts(figure, writer), beyond)) for figure, writer in of_time),
        _joined(texts(cost.dram_bytes, lambda size: in_unit(size, BYTES, 4))),
    ]


def _joined(texts: Iterator[str]) -> str:
    found = list(texts)
    return "|".join("" if i and text == found[i - 1] else text for i, text in enumerate(found))


def _place(known: list[Any], value: Any) -> int:
    """The place of a value in a list, which it is put into if it is not there."""
    if value not in known:
        known.append(value)
    return known.index(value)
