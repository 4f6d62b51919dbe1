"""Tables of the cost of every layer over its input and output widths, from an array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hwcost.advice.measured import MeasuredCosts, side_terms, sides_of, undetermined
from hwcost.advice.tables import changeable
from hwcost.elimination.factors import Figures
from hwcost.errors import InvalidValueError, unknown
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cycles
from hwcost.network.network import Network
from hwcost.network.operations import Operation
from hwcost.network.pricing import check_network
from hwcost.network.space import by_step

__all__ = ["MOST_ROWS", "tabulate"]

MOST_ROWS = 1_000_000


def tabulate(
    network: Network,
    array: SystolicArray | str,
    *,
    widths: Iterable[str] | None = None,
    step: int = 8,
    least: float = 0.25,
    skip_unsupported: bool = False,
) -> MeasuredCosts:
    """The cycles of every layer over the sizes of its widths, as tools with a table of latencies take them.

    A layer has a row for each pair of an input and an output width that sizes of the network's widths give. A width
    that changes a layer in more than these two, as the number of heads of a product, keeps its size.

    Args:
        network: with widths.
        array: the accelerator, or the name of a device.
        widths: names of those that change; by default all that can. Of open widths, only the options.
        step: sizes are multiples of this number, and of what the width has to be a multiple of; and today's.
        least: the smallest size, as a share of today's.
        skip_unsupported: leave out operations that cannot be priced instead of raising.

    Raises:
        InvalidValueError: a width that is unknown or cannot change, more than a million rows.

    >>> from hwcost import Linear
    >>> network = Network.of_layers("one", {"fc": Linear(32, 10)})
    >>> tabulate(network, SystolicArray(8, 8), step=16).layers["fc"].tolist()
    [[16.0, 10.0, 4.0], [32.0, 10.0, 8.0]]
    """
    array = check_network(network, array, skip_unsupported=skip_unsupported)
    names = changeable(network)
    if isinstance(widths, str):
        raise InvalidValueError("widths", widths, "names of widths in a list")
    for name in widths or ():
        if name not in names:
            raise InvalidValueError("widths", name, names, form=unknown("width that can change"))
    held = {name for each in network.priced.values() for name in undetermined(each)}
    own = [name for name in (names if widths is None else widths) if name not in held]
    stepped = by_step(network.operations, network.widths, step, least)
    options = {**stepped, **network.options}
    sizes = {
        name: np.unique([*options[name], network.widths[name].size]).astype(np.int64) for name in own if name in options
    }
    layers: dict[str, Figures] = {}
    known: dict[Any, Figures] = {}
    rows = 0
    for name, operation in network.priced.items():
        key = operation.layer, tuple(operation.sizes.items())
        if key not in known:
            known[key] = _rows(operation, network, array, sizes, MOST_ROWS - rows)
        layers[name] = known[key]
        rows += len(layers[name])
        if rows > MOST_ROWS:
            raise _too_many(rows)
    return MeasuredCosts(layers, "cycles", float(array.clock_hz))


def _rows(
    operation: Operation, network: Network, array: SystolicArray, sizes: Mapping[str, Figures], most: int
) -> Figures:
    """Input width, output width and cycles of one layer, for each pair that sizes of its widths give.

    Pairs are made width by width, and each is kept once, with sizes that give it.
    """
    inputs, outputs = side_terms(operation)
    pairs = np.zeros((1, 2))
    taken: dict[str, Figures] = {}
    for name in (each for each in operation.widths if each in sizes):
        own = sizes[name]
        if len(pairs) * len(own) > most:
            raise _too_many(len(pairs) * len(own))
        change = np.stack([own * float(inputs.get(name, 0)), own * float(outputs.get(name, 0))], axis=1)
        every = (pairs[:, np.newaxis] + change).reshape(-1, 2)
        pairs, first = np.unique(every, axis=0, return_index=True)
        taken = {each: values[first // len(own)] for each, values in taken.items()} | {name: own[first % len(own)]}
    today: dict[str, Any] = {name: width.size for name, width in network.widths.items()}
    layer = operation.at(today | taken)
    columns = (*sides_of(layer).at(layer), layer_cycles(layer, array))
    return np.stack([np.broadcast_to(np.asarray(each, dtype=np.float64), len(pairs)) for each in columns], axis=1)


def _too_many(rows: int) -> InvalidValueError:
    allowed = f"at most {MOST_ROWS}: pass a larger step or least, or fewer widths"
    return InvalidValueError("the number of rows", rows, allowed)
