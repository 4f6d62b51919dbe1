"""What a run of a network takes on top of its layers: a constant, the way to the host, weights that do not fit.

    run     = cycles_per_run + bytes of the network's inputs and outputs / host_bytes_per_s + spilled
    spilled = bytes of the layers that do not fit / spill_bytes_per_s

The weights of a layer are stored with its filters padded to ``filter_multiple``. Layers are stored in the order in
which they run, and whole ones leave from the end until the others fit into ``weight_capacity_bytes``: those up to
which the sum of stored bytes is above the capacity. A smooth relaxation takes max(stored, capacity) - capacity, less
than whole layers. Products of two activations have no weights. Weights that several layers share are stored once, with
the first of them, if the importer knows it (the ``weights`` of an :class:`hwcost.network.operations.Operation`).

Source: the terms were found on the Coral Edge TPU (Jorgitou98/EdgeTPU-QuantRL-Evaluation), whose compiler states the
bytes of weights that it leaves off the chip.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hwcost.arrays import Size, product, total
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.gemm import Gemm, share
from hwcost.model.layout import is_zero
from hwcost.model.moves import Move, move_cost, move_figure
from hwcost.model.sums import where
from hwcost.relaxation import EXACT, Relaxation

__all__ = [
    "RUN", "SPILLED", "Ends", "Run", "RunLayers", "Spilled", "cost_if_spilled", "cost_of_room", "ends_of", "run_of",
    "sides_of", "spill_cost", "spill_move", "spilled_weights", "stored_by_layer", "stored_elements", "tied_layers",
]  # fmt: skip

RUN, SPILLED = "(run)", "(weights)"
"""What reports call what a run takes on top of its layers: its constant and ends, and weights that do not fit."""


@dataclass(frozen=True)
class Ends:
    """What goes between the host and the chip: a layer without products, once in a run.

    Args:
        inputs, outputs: elements of all inputs and of all outputs of the network.

    >>> Ends(3072, 10).moves()
    (Move(elements=3082, rate='host_bytes_per_s', cycles='cycles_per_run', dram=''),)
    """

    inputs: Size
    outputs: Size

    def gemms(self) -> tuple[Gemm, ...]:
        """None."""
        return ()

    def moves(self) -> tuple[Move, ...]:
        """Both, one after the other."""
        return (Move(total(self.inputs, self.outputs), "host_bytes_per_s", "cycles_per_run"),)


class Spilled(NamedTuple):
    """Weights that do not fit: a layer without products, once in a run.

    Args:
        elements: of these weights.
    """

    elements: Size

    def gemms(self) -> tuple[Gemm, ...]:
        """None."""
        return ()

    def moves(self) -> tuple[Move, ...]:
        """Their way onto the chip."""
        return (spill_move(self.elements),)


class RunLayers(dict[str, Any]):
    """Layers by name, with what is known of their network.

    Attributes:
        ends: of the network.
        weights: the parameters of weights, by layer.
        flow: its :class:`hwcost.network.flow.Flow`.
    """

    def __init__(
        self,
        layers: Iterable[tuple[str, Any]] = (),
        *,
        ends: Ends | None = None,
        weights: Mapping[str, str] | None = None,
        flow: Any = None,
    ) -> None:
        super().__init__(layers)
        self.ends, self.weights, self.flow = ends, dict(weights or {}), flow

    @classmethod
    def like(cls, network: Any, layers: Iterable[tuple[str, Any]] = ()) -> RunLayers:
        """Layers of a network, not all of them perhaps: of it this knows the ends and weights, and not the flow."""
        return cls(layers, ends=getattr(network, "ends", None), weights=getattr(network, "weights", None))

    def only(self, names: Iterable[str]) -> RunLayers:
        """Some of the layers of the same network."""
        return self.like(self, ((name, self[name]) for name in names))


def ends_of(layers: Mapping[str, Any]) -> Ends:
    """The ends of a network; if it does not state them, the inputs of its first layer and the outputs of its last.

    >>> from hwcost import Linear
    >>> ends_of({"a": Linear(64, 32), "b": Linear(32, 10)})
    Ends(inputs=64, outputs=10)
    """
    known = getattr(layers, "ends", None)
    if known is not None:
        return known  # type: ignore[no-any-return]
    first, last = (next(filter(None, map(sides_of, order)), (0, 0)) for order in _both_ways(layers))
    return Ends(first[0], last[1])


def _both_ways(layers: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    own = list(layers.values())
    return own, own[::-1]


def sides_of(layer: Any) -> tuple[Size, Size] | None:
    """The elements that a layer takes and gives; None if it moves nothing, or is not known."""
    gemms = layer.gemms() if hasattr(layer, "gemms") else ()
    if gemms:
        return gemms[0].elements("inputs"), gemms[-1].elements("outputs")
    reads, writes = (getattr(layer, name, 0) for name in ("reads", "writes"))
    return None if is_zero(reads) and is_zero(writes) else (reads, writes)


# ---------------------------------------------------------------- weights


def stored_elements(layer: Any, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Elements of the weights of a layer as they are stored: filters padded to a multiple.

    >>> from hwcost import Conv2d
    >>> array = SystolicArray(8, 8, weight_capacity_bytes=8e6, spill_bytes_per_s=1e8, filter_multiple=64)
    >>> stored_elements(Conv2d(16, 65, 3, height=8, width=8), array) == 9 * 16 * 128
    True
    """
    return total(0, *(_stored(gemm, array, relaxation) for gemm in layer.gemms()))


def tied_layers(layers: Mapping[str, Any]) -> set[str]:
    """The layers whose weights are those of an earlier one.

    >>> from hwcost import Linear
    >>> fc = Linear(4, 4)
    >>> tied_layers(RunLayers({"a": fc, "b": fc, "c": fc}.items(), weights={"a": "w", "c": "w"}))
    {'c'}
    """
    first: dict[str, str] = {}
    known = getattr(layers, "weights", {})
    return {name for name in layers if name in known and first.setdefault(known[name], name) != name}


def stored_by_layer(layers: Mapping[str, Any], array: SystolicArray, relaxation: Relaxation = EXACT) -> dict[str, Size]:
    """The elements that are stored for each layer: none where its weights are those of an earlier one."""
    tied = tied_layers(layers)
    return {
        name: 0 if name in tied else stored_elements(layer, array, relaxation)
        for name, layer in layers.items()
        if hasattr(layer, "gemms")
    }


def _stored(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Size:
    if not is_zero(gemm.of_activations):
        return 0
    multiple = array.filter_multiple
    filters = product(gemm.n, share(gemm.count, gemm.weights_shared_by))
    if not (type(multiple) is int and multiple == 1):
        filters = product(relaxation.ceil_div(filters, multiple), multiple)
    return product(gemm.k, filters, what="the weights")


def spilled_weights(
    layers: Mapping[str, Any], array: SystolicArray, relaxation: Relaxation = EXACT
) -> tuple[tuple[str, ...], Size]:
    """The layers whose weights do not fit, and the elements of those weights.

    Args:
        layers: by name, in order.
        array: with a ``weight_capacity_bytes``; else nothing spills.
        relaxation: a smooth one gives the elements that are above the capacity, and no names.

    Returns:
        Names only where all sizes are numbers.

    >>> from hwcost import Linear
    >>> array = SystolicArray(8, 8, weight_capacity_bytes=150.0, spill_bytes_per_s=1e8)
    >>> spilled_weights({name: Linear(10, 7) for name in "abc"}, array)
    (('c',), 70)
    """
    if not array.may_spill:
        return (), 0
    stored = stored_by_layer(layers, array, relaxation)
    room = array.weight_capacity_bytes / array.bytes_per_element
    if relaxation.smooths_maximum:
        return (), total(relaxation.maximum(total(0, *stored.values()), room), -room)
    names, spilled, until = [], [], 0
    for name, elements in stored.items():
        until = total(until, elements)
        leaves = until > room
        spilled.append(where(leaves, elements, 0 * elements))
        if isinstance(leaves, bool) and leaves and elements:
            names.append(name)
    return tuple(names), total(0, *spilled)


def spill_move(elements: Size) -> Move:
    """The way of weights that do not fit onto the chip."""
    return Move(elements, "spill_bytes_per_s", dram="weight")


def cost_if_spilled(layer: Any, array: SystolicArray, figure: str = "cycles") -> Size:
    """The cycles, or another figure of a cost, in which the weights of a layer arrive if they do not fit."""
    return move_figure(spill_move(stored_elements(layer, array)), array, figure)


def cost_of_room(array: SystolicArray, figure: str = "cycles") -> float:
    """The same of as many weights as there is room for."""
    moved = array.weight_capacity_bytes / array.bytes_per_element
    return float(move_figure(spill_move(moved), array, figure))


def spill_cost(
    layers: Mapping[str, Any], array: SystolicArray, relaxation: Relaxation = EXACT, figure: str = "cycles"
) -> Size:
    """The same of weights that do not fit; 0 if all fit."""
    if not array.may_spill:
        return 0
    elements = spilled_weights(layers, array, relaxation)[1]
    return move_figure(spill_move(elements), array, figure)


# ---------------------------------------------------------------- a run


class Run(NamedTuple):
    """What a run takes on top of its layers.

    Attributes:
        ends: the cost of the constant and of the way to the host.
        spill: the cost of weights that do not fit.
        spilled: the layers whose weights these are, where sizes are numbers.
        spilled_elements: of these weights.
    """

    ends: Cost
    spill: Cost
    spilled: tuple[str, ...] = ()
    spilled_elements: Size = 0

    @property
    def cost(self) -> Cost:
        """All of it."""
        return self.ends + self.spill


def run_of(layers: Mapping[str, Any], array: SystolicArray, relaxation: Relaxation = EXACT) -> Run | None:
    """What a run of these layers takes on top of them; None on a machine that asks for nothing.

    >>> from hwcost import Linear
    >>> array = SystolicArray(8, 8, cycles_per_run=500.0, host_bytes_per_s=1e9)
    >>> run_of({"a": Linear(64, 32), "b": Linear(32, 10)}, array).cost.cycles
    574.0
    """
    if not array.has_run:
        return None
    names, elements = spilled_weights(layers, array, relaxation)
    ends = (move_cost(move, array) for move in ends_of(layers).moves())
    return Run(
        functools.reduce(operator.add, ends),
        move_cost(spill_move(elements), array),
        names,
        elements,
    )
