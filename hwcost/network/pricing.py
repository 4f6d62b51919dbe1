"""Named layers, and what they cost together."""

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
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Layer, is_layer
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["Report", "network_cost"]

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


def _all_numbers(gemms: list[Gemm]) -> bool:
    return all(arrays.is_number(size) for gemm in gemms for size in (gemm.m, gemm.n, gemm.k, gemm.count))


def _stacked(gemms: list[Gemm], array: SystolicArray) -> Gemm:
    """All products as one whose sizes have a leading axis over them, without what this array does not ask for."""
    asked = {"window": array.lowering != "im2col" or array.terms, "inputs": array.has_memory_limit or array.terms}
    without = [name for name, is_asked in asked.items() if not is_asked]
    return Gemm.stack(gemms, functools.partial(arrays.stack, broadcast_with=array.sweeps), without)


def _summed(figure: Size, axes: int, layers: int) -> Size:
    """The sum over the leading axis; a figure without it is the same for every layer."""
    return figure * layers if _axes(figure) < axes else arrays.total_over_first_axis(figure)


def _axes(figure: Size) -> int:
    return 0 if arrays.is_number(figure) else len(figure.shape)
