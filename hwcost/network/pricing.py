"""Named layers, what they cost together, and networks some of whose sizes are still to be decided."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from hwcost import arrays
from hwcost.arrays import Size
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.cost import Cost
from hwcost.model.formula import gemm_cost, gemm_cycles
from hwcost.model.layers import Gemm, Layer, is_layer
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["Report", "SearchSpace", "SearchedLayer", "network_cost"]

Layers: TypeAlias = Mapping[str, Layer] | Iterable[Layer]


@dataclass(frozen=True)
class Report:
    """What a network costs.

    Attributes:
        total: the sum over all priced layers.
        unsupported: names of layers that could not be priced and are missing in the total; empty unless
            ``network_cost`` was told to skip them.

    ``layers`` gives the costs one by one.
    """

    total: Cost
    unsupported: tuple[str, ...]
    _names: tuple[str, ...] = dataclasses.field(repr=False)
    _costs: Sequence[Cost] | Cost = dataclasses.field(repr=False)
    _owners: tuple[int, ...] = dataclasses.field(repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Report, (self.total, self.unsupported, self._names, self._costs, self._owners)

    @functools.cached_property
    def layers(self) -> Mapping[str, Cost]:
        """The cost of every priced layer by name, in order."""
        costs = [Cost()] * len(self._names)
        for index, owner in enumerate(self._owners):
            costs[owner] = costs[owner] + self._cost(index)
        return MappingProxyType(dict(zip(self._names, costs, strict=True)))

    def _cost(self, index: int) -> Cost:
        if not isinstance(self._costs, Cost):
            return self._costs[index]
        figures = [getattr(self._costs, f.name) for f in dataclasses.fields(Cost)]
        axes = _axes(self._costs.cycles)
        return Cost(*(figure if _axes(figure) < axes else figure[index, ...] for figure in figures))


def network_cost(
    layers: Layers,
    array: SystolicArray,
    *,
    relaxation: Relaxation | str = EXACT,
    skip_unsupported: bool = False,
) -> Report:
    """What a network costs on the array, in total and layer by layer.

    Where sizes are arrays or tensors, all layers are priced in one vectorised call.

    Args:
        layers: a mapping from names to layers, or layers in order (then named by their position).
        array: the accelerator.
        relaxation: how ceilings and maxima are taken.
        skip_unsupported: leave out what is no layer, and name it in the report, instead of raising.

    Raises:
        InvalidValueError: nothing to price, or something that is no layer.

    >>> from hwcost import Conv2d, Linear
    >>> layers = {"conv": Conv2d(6, 16, 5, height=14, width=14), "fc": Linear(400, 120)}
    >>> report = network_cost(layers, SystolicArray(8, 8))
    >>> report.total.cycles, {name: cost.cycles for name, cost in report.layers.items()}
    (4550, {'conv': 3800, 'fc': 750})
    """
    if not isinstance(array, SystolicArray):
        raise InvalidValueError("array", array, "a SystolicArray")
    relaxation = as_relaxation(relaxation)
    names, gemms, owners, unsupported = _collect(layers, skip_unsupported)
    if _all_numbers(gemms):
        costs = [gemm_cost(gemm, array, relaxation) for gemm in gemms]
        return Report(sum(costs, start=Cost()), unsupported, names, costs, owners)
    stacked = gemm_cost(_stacked(gemms, array), array, relaxation)
    axes = _axes(stacked.cycles)
    total = Cost(*(_summed(getattr(stacked, f.name), axes, len(gemms)) for f in dataclasses.fields(Cost)))
    return Report(total, unsupported, names, stacked, owners)


def network_cycles(layers: Layers, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Just the total cycles of :func:`network_cost`, by the same lines: for inner loops that need nothing else."""
    gemms = _collect(layers, skip=False)[1]
    if _all_numbers(gemms):
        return arrays.total(*(gemm_cycles(gemm, array, relaxation) for gemm in gemms), what="the cycles")
    return arrays.total_over_first_axis(gemm_cycles(_stacked(gemms, array), array, relaxation))


def _collect(layers: Layers, skip: bool) -> tuple[tuple[str, ...], list[Gemm], tuple[int, ...], tuple[str, ...]]:
    """Names, all products in order, the index of the name that owns each product, and the names left out."""
    named = layers.items() if isinstance(layers, Mapping) else ((str(i), layer) for i, layer in enumerate(layers))
    names: list[str] = []
    gemms: list[Gemm] = []
    owners: list[int] = []
    unsupported: list[str] = []
    for name, layer in named:
        if is_layer(layer):
            own = layer.gemms()
            gemms.extend(own)
            owners.extend([len(names)] * len(own))
            names.append(name)
        elif skip:
            unsupported.append(name)
        else:
            raise InvalidValueError(
                f"layer {name!r}",
                layer,
                "a layer: something with gemms(); or pass skip_unsupported=True to leave it out",
            )
    if not gemms:
        raise InvalidValueError("layers", tuple(unsupported), "at least one layer that can be priced")
    return tuple(names), gemms, tuple(owners), tuple(unsupported)


def _sizes(gemm: Gemm) -> tuple[Size, ...]:
    return gemm.m, gemm.n, gemm.k, gemm.count


def _all_numbers(gemms: list[Gemm]) -> bool:
    return all(arrays.is_number(size) for gemm in gemms for size in _sizes(gemm))


def _stacked(gemms: list[Gemm], array: SystolicArray) -> Gemm:
    """All products as one whose sizes have a leading axis over them; with no more than this array asks for."""
    more = {}
    if array.lowering_row.by_position:
        more["window"] = [gemm.positions for gemm in gemms]
    if array.has_memory_limit:
        more["inputs"] = [gemm.elements("inputs") for gemm in gemms]
    columns = [*zip(*map(_sizes, gemms), strict=True), *more.values()]
    m, n, k, count, *rest = arrays.stack(columns, beside=array.sweeps)
    return Gemm(m, n, k, count, **{name: (column,) for name, column in zip(more, rest, strict=True)})


def _summed(figure: Size, axes: int, layers: int) -> Size:
    """The sum over the leading axis; a figure without it is the same for every layer."""
    return figure * layers if _axes(figure) < axes else arrays.total_over_first_axis(figure)


def _axes(figure: Size) -> int:
    return 0 if arrays.is_number(figure) else len(figure.shape)


# ---------------------------------------------------------------- networks with open decisions


@dataclass(frozen=True)
class SearchedLayer:
    """A layer some of whose sizes are still to be decided.

    Attributes:
        layer: the template; sizes that are decided elsewhere may hold anything valid.
        sizes: which field follows which decision, as ``{"out_channels": "conv1.width"}``; a pair multiplies the decided
            size by a constant, as ``{"in_features": ("conv2.width", 25)}`` behind a flattened 5 x 5 map.
    """

    layer: Layer
    sizes: Mapping[str, str | tuple[str, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        known = getattr(self.layer, "__dataclass_fields__", None)
        if known is None or not is_layer(self.layer):
            raise InvalidValueError("SearchedLayer.layer", self.layer, "a layer: a dataclass with gemms()")
        for name, rule in self.sizes.items():
            if name not in known:
                raise InvalidValueError("SearchedLayer.sizes", name, f"one of: {', '.join(known)}")
            _check_rule(rule, f"SearchedLayer.sizes[{name!r}]")
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchedLayer, (self.layer, dict(self.sizes))

    @property
    def decisions(self) -> tuple[str, ...]:
        """The names of the decisions that this layer's cost depends on, each once."""
        return tuple(dict.fromkeys(name for name, _ in self._rules().values()))

    def at(self, sizes: Mapping[str, Size]) -> Layer:
        """The layer with its open sizes filled in: numbers, arrays of options, or soft widths."""
        filled = {
            field: sizes[name] if factor == 1 else arrays.product(arrays.as_size(sizes[name], name), factor)
            for field, (name, factor) in self._rules().items()
        }
        layer: Layer = dataclasses.replace(self.layer, **filled)  # type: ignore[type-var]
        return layer

    def _rules(self) -> dict[str, tuple[str, int]]:
        return {field: (rule, 1) if isinstance(rule, str) else rule for field, rule in self.sizes.items()}


def _check_rule(rule: Any, field: str) -> None:
    if isinstance(rule, str):
        return
    if not isinstance(rule, tuple) or len(rule) != 2 or not isinstance(rule[0], str):
        raise InvalidValueError(field, rule, "the name of a decision, or a pair of a name and a factor")
    arrays.as_size(rule[1], field)


@dataclass(frozen=True)
class SearchSpace:
    """A network with open decisions: each a name with the sizes that it may take.

    >>> from hwcost import Conv2d, Linear
    >>> space = SearchSpace(
    ...     decisions={"width": (4, 8, 12)},
    ...     layers={
    ...         "conv": SearchedLayer(Conv2d(1, 4, 5, height=28, width=28, padding="same"), {"out_channels": "width"}),
    ...         "fc": SearchedLayer(Linear(4, 10), {"in_features": ("width", 784)}),
    ...     },
    ... )
    >>> network_cost(space.at({"width": 8}), SystolicArray(8, 8)).total.cycles
    4704
    """

    decisions: Mapping[str, tuple[int, ...]]
    layers: Mapping[str, SearchedLayer]

    def __post_init__(self) -> None:
        options = {}
        for name, values in self.decisions.items():
            if not isinstance(values, (tuple, list)) or not values:
                raise InvalidValueError(f"decision {name!r}", values, "a sequence of at least one size")
            options[name] = tuple(arrays.as_size(value, f"decision {name!r}") for value in values)
            if len(set(options[name])) != len(values):
                raise InvalidValueError(f"decision {name!r}", values, "sizes that differ from each other")
        object.__setattr__(self, "decisions", MappingProxyType(options))
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        for layer_name, searched in self.layers.items():
            if not isinstance(searched, SearchedLayer):
                raise InvalidValueError(f"layer {layer_name!r}", searched, "a SearchedLayer")
            for name in searched.decisions:
                if name not in options:
                    raise InvalidValueError(f"a size of layer {layer_name!r}", name, f"one of: {', '.join(options)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchSpace, (dict(self.decisions), dict(self.layers))

    def at(self, sizes: Mapping[str, Size]) -> dict[str, Layer]:
        """The layers with every open size filled in; any sizes are taken, options or not.

        Raises:
            InvalidValueError: a decision without a size, or a name that is no decision.
        """
        self.check_names(sizes)
        return {name: searched.at(sizes) for name, searched in self.layers.items()}

    def check_names(self, given: Mapping[str, Any]) -> None:
        """Raises unless ``given`` has exactly the decisions of this space."""
        for name in (*self.decisions, *given):
            if name not in given or name not in self.decisions:
                kind = "missing" if name not in given else "unknown"
                raise InvalidValueError(f"decisions ({kind})", name, f"exactly: {', '.join(self.decisions)}")
