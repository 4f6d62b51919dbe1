"""What named layers cost on an array: in total, and layer by layer."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from hwcost import arrays
from hwcost.arrays import Size, product
from hwcost.errors import InvalidValueError, NoTileError, look_up
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.cost import Cost
from hwcost.model.formula import as_array, check_layer, price
from hwcost.model.gemm import Gemm, has_array
from hwcost.model.layers import Layer, is_layer
from hwcost.model.layout import is_zero
from hwcost.model.moves import move_cost, moves_of, reading_cost
from hwcost.model.pricing import Pricing
from hwcost.network.besides import bytes_besides
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Unsupported
from hwcost.network.residency import Plan, Step, plan_of
from hwcost.network.run import RUN, Run, RunLayers, run_of
from hwcost.network.shown import document_of, records_of, words_of
from hwcost.relaxation import EXACT, Relaxation, as_relaxation
from hwcost.tables import Document, Records

__all__ = ["LayerCost", "Report", "check_layers", "check_network", "moves_by_layer", "network_cost", "price_network"]

Layers: TypeAlias = Mapping[str, Layer] | Iterable[Layer]


class LayerCost(NamedTuple):
    """A row of a report: a layer and its cost."""

    name: str
    cost: Cost


@dataclass(frozen=True, repr=False)
class Report(Records):
    """The cost of a network: prints as a table, iterates over layers and costs; ``report["conv1"]`` is a cost.

    Attributes:
        total: the sum over all priced layers, and what a run takes on top of them.
        unsupported: names of layers that could not be priced and are missing in the total; empty unless
            ``network_cost`` skips them.
        run: what a run takes on top of its layers; None on a machine without such terms.
        plan: the activations that stay in the buffer; None unless they were asked to.

    ``layers`` gives the cost of each layer.
    """

    total: Cost
    unsupported: tuple[str, ...]
    _names: tuple[str, ...] = dataclasses.field(repr=False)
    _costs: Sequence[Cost] | Cost = dataclasses.field(repr=False)
    _owners: tuple[int, ...] = dataclasses.field(repr=False)
    run: Run | None = None
    _moved: Mapping[str, Cost] = dataclasses.field(default_factory=dict, repr=False)
    plan: Plan | None = dataclasses.field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Report, tuple(getattr(self, each.name) for each in dataclasses.fields(self))

    @functools.cached_property
    def layers(self) -> Mapping[str, Cost]:
        """The cost of every priced layer by name, in order."""
        costs = [Cost()] * len(self._names)
        for index, owner in enumerate(self._owners):
            costs[owner] = costs[owner] + self._cost(index)
        named = dict(zip(self._names, costs, strict=True))
        return MappingProxyType(named | {name: named[name] + moved for name, moved in self._moved.items()})

    def document(self) -> Document:
        """A table with a line for each layer."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """The totals on one line."""
        return words_of(self)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each layer: its name, and every figure of its cost."""
        return records_of(self)

    def as_dict(self) -> dict[str, Any]:
        """The total, the records, and the names of what could not be priced."""
        return {"total": self.total.as_dict(), "layers": self.records(), "unsupported": list(self.unsupported)}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[LayerCost]:
        return itertools.starmap(LayerCost, self.layers.items())

    def __contains__(self, name: object) -> bool:
        return name in self.layers

    def __getitem__(self, name: str) -> Cost:
        return look_up(self.layers, name, "the report", "layer", "list(report)")

    def of(self, name: str) -> Cost:
        """The cost of a layer, or of the constants and ends of a run by its name there."""
        return self.run.ends if name == RUN and self.run is not None else self.layers[name]

    def _cost(self, index: int) -> Cost:
        if not isinstance(self._costs, Cost):
            return self._costs[index]
        axes = _axes(self._costs.cycles)
        return self._costs.map(lambda figure: figure if _axes(figure) < axes else figure[index, ...])


def network_cost(
    layers: Layers,
    array: SystolicArray | str,
    *,
    relaxation: Relaxation | str = EXACT,
    skip_unsupported: bool = False,
    keep_activations: bool = False,
) -> Report:
    """The cost of a network on an array, in total and layer by layer.

    If sizes are arrays or tensors, all layers are priced in one vectorised call.

    Args:
        layers: a mapping from names to layers, or layers in order (then named by their position).
        array: the accelerator, or the name of a device.
        relaxation: stand-in for ceilings and maxima; exact by default.
        skip_unsupported: leave out what is not a layer, and name it in the report, instead of raising.
        keep_activations: results stay in the buffer between layers where that moves less, as
            :mod:`hwcost.network.residency` chooses; for a network whose edges are known, with numbers as sizes.

    Raises:
        InvalidValueError: nothing to price, or something that is not a layer; activations that cannot be kept.

    >>> from hwcost import Conv2d, Linear
    >>> layers = {"conv": Conv2d(6, 16, 5, height=14, width=14), "fc": Linear(400, 120)}
    >>> report = network_cost(layers, SystolicArray(8, 8))
    >>> report.total.cycles, {name: cost.cycles for name, cost in report.layers.items()}
    (4550, {'conv': 3800, 'fc': 750})
    """
    array = as_array(array)
    relaxation = as_relaxation(relaxation)
    found = _collect(layers, skip_unsupported)
    gemms, network = found.gemms, layers if isinstance(layers, Mapping) else found.layers
    if keep_activations and (array.sweeps or not _all_numbers(gemms) or relaxation is not EXACT):
        allowed = "numbers as sizes, one array, and the exact relaxation"
        raise InvalidValueError("keep_activations", keep_activations, allowed)
    plan = plan_of(network, array) if keep_activations else None
    moved = moves_by_layer(found.layers, array, network, plan)
    costs: Sequence[Cost] | Cost
    if _all_numbers(gemms):
        costs = [priced.cost for priced in _each(found, array, relaxation, plan)]
        total = functools.reduce(operator.add, costs)
    else:
        costs = price(_stacked(gemms, array, counts_bytes=True), array, relaxation).cost
        axes = _axes(costs.cycles)
        total = costs.map(lambda each: _summed(each, axes, len(gemms)))
    run = run_of(found.layers, array, relaxation)
    for more in (*moved.values(), *(() if run is None else (run.cost,))):
        total = total + more
    return Report(total, found.unsupported, tuple(found.layers), costs, found.owners, run, moved, plan)


def network_figure(
    layers: Layers, array: SystolicArray, relaxation: Relaxation = EXACT, figure: str = "cycles"
) -> Size:
    """One figure of the total of :func:`network_cost` only, for inner loops, which mostly ask for the cycles."""
    if figure != "cycles":
        return getattr(network_cost(layers, array, relaxation=relaxation).total, figure)
    found = _collect(layers, skip=False)
    gemms, run = found.gemms, run_of(found.layers, array, relaxation)
    more = [each.cycles for each in moves_by_layer(found.layers, array).values()]
    more += [] if run is None else [run.cost.cycles]
    if _all_numbers(gemms):
        own = (priced.cycles for priced in _each(found, array, relaxation))
        return arrays.total(*own, *more, what="the cycles")
    cycles = arrays.total_over_first_axis(price(_stacked(gemms, array), array, relaxation).cycles)
    return arrays.total(cycles, *more, what="the cycles") if more else cycles


def _each(found: _Products, array: SystolicArray, relaxation: Relaxation, plan: Plan | None = None) -> list[Pricing]:
    """The products of layers one by one; of those for which no tile fits, the error names the one that needs most."""
    names = tuple(found.layers)
    if plan is not None:
        owned = zip(found.gemms, found.owners, strict=True)
        return [resident_price(plan, names[owner], gemm, array) for gemm, owner in owned]
    try:
        return [price(gemm, array, relaxation) for gemm in found.gemms]
    except NoTileError:
        errors = []
        for gemm, owner in zip(found.gemms, found.owners, strict=True):
            try:
                price(gemm, array, relaxation)
            except NoTileError as error:
                errors.append((error, names[owner]))
        most, name = max(errors, key=lambda each: each[0].needed)
        named = NoTileError(most.field, most.value, most.allowed, reason=f"{most.reason} for {name!r}")
        named.needed = most.needed
        raise named from None


def moves_by_layer(
    layers: Mapping[str, Any],
    array: SystolicArray,
    network: Mapping[str, Any] | None = None,
    plan: Plan | None = None,
) -> dict[str, Cost]:
    """The cost of what layers move without products; layers that move nothing are left out.

    Args:
        layers: those that are priced.
        array: the machine.
        network: all layers, of which it may be known which reads what; cycles alone need none.
        plan: of the activations that stay in the buffer.
    """
    found, is_free = {}, not is_finite(array.vector_bytes_per_s)
    for name, layer in layers.items():
        if is_free and isinstance(layer, MemoryOnly):
            continue
        costs = [cost for move in moves_of(layer) if not is_zero((cost := move_cost(move, array)).cycles)]
        if costs:
            found[name] = functools.reduce(operator.add, costs)
    more: Mapping[str, Size] = {} if network is None else bytes_besides(network, array)
    if plan is not None:
        more = {step.name: step.more_bytes for step in plan.steps.values() if step.more_bytes}
        for name in [name for name in found if isinstance(layers[name], MemoryOnly)]:  # its time, and fewer bytes
            found[name] = _with_bytes(found[name], plan.steps[name], array)
            more.pop(name, None)
    return found | {name: found.get(name, Cost()) + reading_cost(size, array) for name, size in more.items()}


def _with_bytes(cost: Cost, step: Step, array: SystolicArray) -> Cost:
    """The cost of an operation without products whose operands stay in part."""
    joules = cost.dram_joules and product(step.bytes, array.joules_per_dram_byte)
    written = step.bytes - step.more_bytes
    return dataclasses.replace(cost, dram_input_bytes=step.more_bytes, dram_output_bytes=written, dram_joules=joules)


def resident_price(plan: Plan, name: str, gemm: Gemm, array: SystolicArray) -> Pricing:
    """The price of a product of a layer that finds some operands in the buffer, and leaves some there."""
    step = plan.steps[name]
    machine = dataclasses.replace(array, buffer_bytes=step.room)
    return price(gemm.with_sizes(on_chip=step.operands), machine)


def price_network(
    layers: Layers, array: SystolicArray | str, *, skip_unsupported: bool = False, plan: Plan | None = None
) -> dict[str, tuple[Pricing, ...]]:
    """Every product of each layer, priced once: for reports, which read its cost, breakdown and traffic.

    Args:
        layers: as for :func:`network_cost`, with numbers as sizes.
        array: the accelerator (or the name of a device), with numbers in all fields.
        skip_unsupported: leave out what is not a layer instead of raising.
        plan: of the activations that stay in the buffer.

    Raises:
        InvalidValueError: nothing to price, something that is not a layer, sizes or an array that are arrays.

    >>> from hwcost import Linear
    >>> [each.compute for each in price_network([Linear(400, 120)], SystolicArray(8, 8))["0"]]
    [750]
    """
    array = as_array(array)
    if array.sweeps:
        raise InvalidValueError("array", array, "one array: a number in every field")
    own = _collect(layers, skip_unsupported)
    if not _all_numbers(own.gemms):
        raise InvalidValueError("network", layers, "layers with numbers as sizes")
    names = tuple(own.layers)
    found: dict[str, tuple[Pricing, ...]] = dict.fromkeys(names, ())
    for priced, owner in zip(_each(own, array, EXACT, plan), own.owners, strict=True):
        found[names[owner]] += (priced,)
    return found


def check_network(network: Any, array: object, *, skip_unsupported: bool, is_space: bool = False) -> SystolicArray:
    """The one machine that ``array`` is or names.

    Raises:
        InvalidValueError: it is none; a network that cannot be priced or, if ``is_space``, has no open widths.
    """
    how = "network.space({...}) or network.space(step=8) opens widths to choice"
    if not isinstance(network, Network):
        _check_is_read(network, "network", ", and .space(step=8) opens its widths" if is_space else "")
        made = f"with open widths; {how}" if is_space else "as from_torch or Network.of_layers makes it"
        raise InvalidValueError("network", network, f"a Network, {made}")
    if is_space and not network.options:
        raise InvalidValueError("network", network.name, how, reason=f"no width of {network.name!r} is open")
    machine = as_array(array)
    if machine.sweeps:
        raise InvalidValueError("array", machine, "one SystolicArray whose sizes are numbers")
    if not skip_unsupported:
        for name, operation in network.unsupported.items():
            raise _unsupported(name, operation.layer)
    if not network.priced:
        allowed = "pass a network with at least one layer that can be priced"
        raise InvalidValueError("network", network.name, allowed, reason=f"{network.name!r} multiplies nothing")
    return machine


def _unsupported(name: str, layer: Any) -> InvalidValueError:
    """The error about an operation that cannot be priced; raises if it is not even one."""
    if not isinstance(layer, Unsupported):
        check_layer(layer, f"layer {name!r}")
    allowed = "pass skip_unsupported=True to leave it out, or a row for it as operators= to the importer"
    return InvalidValueError(f"operation {name!r}", layer, allowed, reason=f"it is unsupported: {layer}")


def check_layers(given: object, field: str = "layers") -> None:
    """Raises unless something holds layers: a class or a module of PyTorch does not."""
    if isinstance(given, type):
        reason = f"{given.__name__} is a class"
        raise InvalidValueError(field, given.__name__, f"call it: {given.__name__}()", reason=reason)
    _check_is_read(given, field)
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        allowed = "a Network, a mapping from names to layers, or layers in order; hwcost.from_torch reads a module"
        raise InvalidValueError(field, given, allowed)


def _check_is_read(given: object, field: str, more: str = "") -> None:
    """Raises if something is a module of PyTorch."""
    if hasattr(given, "named_modules"):
        allowed = f"hwcost.from_torch(module, input_size) reads it{more}"
        raise InvalidValueError(field, type(given).__name__, allowed, reason="a PyTorch module is no network yet")


class _Products(NamedTuple):
    """Layers by name, all their products in order, the index of the layer of each product, and the names left out."""

    layers: RunLayers
    gemms: list[Gemm]
    owners: tuple[int, ...]
    unsupported: tuple[str, ...]


def _collect(layers: Layers, skip: bool) -> _Products:
    check_layers(layers)
    named = layers.items() if isinstance(layers, Mapping) else ((str(i), layer) for i, layer in enumerate(layers))
    found = RunLayers.like(layers)
    gemms: list[Gemm] = []
    owners: list[int] = []
    unsupported: list[str] = []
    for name, layer in named:
        if is_layer(layer):
            own = layer.gemms()
            gemms.extend(own)
            owners.extend([len(found)] * len(own))
            found[name] = layer
        elif skip:
            unsupported.append(name)
        else:
            raise _unsupported(name, layer)
    if not gemms:
        raise InvalidValueError("layers", tuple(unsupported), "at least one layer that can be priced")
    return _Products(found, gemms, tuple(owners), tuple(unsupported))


def _all_numbers(gemms: list[Gemm]) -> bool:
    """Whether no size is an array."""
    return not any(has_array(value) for gemm in gemms for value in vars(gemm).values())


def _stacked(gemms: list[Gemm], array: SystolicArray, *, counts_bytes: bool = False) -> Gemm:
    """All products as one whose sizes have a leading axis over them, without what this array does not ask for."""
    by_channels = any(type(size) is not int or size > 1 for size in (array.channel_multiple, array.arrays))
    asked = {
        "window": array.lowering != "im2col"
        or array.terms
        or by_channels
        or array.has_tiles
        or array.has_buffers
        or array.depthwise_columns,
        "inputs": counts_bytes or array.has_memory_limit or array.terms,
        "image": counts_bytes or array.has_buffers,
        "of_activations": counts_bytes,
    }
    without = [name for name, is_asked in asked.items() if not is_asked]
    return Gemm.stack(gemms, functools.partial(arrays.stack, broadcast_with=array.sweeps), without)


def _summed(figure: Size, axes: int, layers: int) -> Size:
    """The sum over the leading axis; a figure without it is the same for every layer."""
    return figure * layers if _axes(figure) < axes else arrays.total_over_first_axis(figure)


def _axes(figure: Size) -> int:
    return 0 if arrays.is_number(figure) else len(figure.shape)
