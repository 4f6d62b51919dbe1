"""Weights over the candidate operations of each block: ProxylessNAS, FBNet."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hwcost import arrays
from hwcost.arrays import Size, Table, is_real
from hwcost.errors import InvalidValueError, unknown
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import as_array
from hwcost.model.layers import is_layer
from hwcost.network.pricing import network_cost
from hwcost.torch.choosing import most_probable
from hwcost.torch.tables import CostTable, contracted, probability

__all__ = ["BlockCosts"]

Candidates: TypeAlias = Mapping[Hashable, Any] | Sequence[Any]
Blocks: TypeAlias = Mapping[str, Candidates] | Sequence[Candidates]


@dataclass(frozen=True)
class BlockCosts:
    """The exact cycles of every candidate of every block, for hosts that choose among whole operations.

    ``BlockCosts.of`` prices them. As lists of numbers, which is how FBNet and ProxylessNAS hold their tables,
    ``{name: table.values.tolist() for name, table in costs.tables.items()}``.

    Attributes:
        tables: for each block a vector of cycles, one entry per candidate.
        candidates: for each block the names of its candidates (their positions if they have none), in order.

    Source: Cai et al., "ProxylessNAS", ICLR 2019; Wu et al., "FBNet", CVPR 2019.

    >>> from hwcost import Conv2d
    >>> costs = BlockCosts.of(
    ...     {
    ...         "block1": {
    ...             "conv3": Conv2d(8, 8, 3, height=4, width=4, padding="same"),
    ...             "separable": [
    ...                 Conv2d(8, 8, 3, height=4, width=4, padding="same", groups=8),
    ...                 Conv2d(8, 8, 1, height=4, width=4),
    ...             ],
    ...             "skip": None,
    ...         },
    ...     },
    ...     SystolicArray(8, 8),
    ... )
    >>> costs.tables["block1"].values
    tensor([144., 272.,   0.], dtype=torch.float64)
    >>> costs.cycles({"block1": torch.tensor([0.5, 0.0, 0.5], requires_grad=True)})
    tensor(72., grad_fn=<DotBackward0>)
    >>> costs.choose({"block1": torch.tensor([0.5, 0.4, 0.1])}, limit=100)
    {'block1': 'skip'}
    """

    tables: Mapping[str, CostTable]
    candidates: Mapping[str, tuple[Hashable, ...]]

    @classmethod
    def of(cls, blocks: Blocks, array: SystolicArray | str) -> BlockCosts:
        """Prices blocks of several candidates each; both by name, or in a row and then named by their positions.

        Args:
            blocks: the candidates of each. A candidate is a layer of any kind that has ``gemms()``; several that run
                one after the other, in a row or by name (a network of ``hwcost.from_torch`` is one too); or ``None`` or
                ``nn.Identity()`` for nothing.
            array: the accelerator, or the name of a device.

        Raises:
            InvalidValueError: no blocks, a block without candidates, a candidate that cannot be priced.
        """
        array = as_array(array)
        named = {name: _named(block, f"block {name!r}") for name, block in _named(blocks, "blocks").items()}
        tables = {}
        for name, block in named.items():
            place = f"of block {name!r}"
            cycles = [_candidate_cycles(ops, array, f"candidate {key!r} {place}") for key, ops in block.items()]
            tables[str(name)] = CostTable(torch.tensor(cycles, dtype=torch.float64), (str(name),))
        return cls(Table(tables), Table({str(name): tuple(ops) for name, ops in named.items()}))

    def cycles(self, weights: Mapping[str, Tensor] | Iterable[Tensor]) -> Tensor:
        """The expected cycles of all blocks: the sum over blocks of weights times cycles, a scalar with gradient.

        Args:
            weights: for each block the weights that the host mixes its candidates by (after its softmax, sigmoid or
                Gumbel sample; they need not sum to 1), by name or in the order of the blocks. The rows of a matrix, one
                per block, are in order too. Blocks that share their weights take the same tensor.

        Raises:
            InvalidValueError: a block without weights, weights without a block, or of another length.
        """
        weights = self._named(weights)
        device = next((weight.device for weight in weights.values() if isinstance(weight, Tensor)), torch.device("cpu"))
        tables = [table._replace(values=table.values.to(device)) for table in self.tables.values()]
        with torch.autocast(device.type, enabled=False):  # half precision would blur the cycles
            return contracted(tables, weights)

    def _named(self, weights: Mapping[str, Tensor] | Iterable[Tensor]) -> Mapping[str, Tensor]:
        if not isinstance(weights, Mapping):
            row = list(weights)
            if len(row) != len(self.tables):
                raise InvalidValueError("the number of weights", len(row), f"{len(self.tables)}, one for each block")
            weights = dict(zip(self.tables, row, strict=True))
        for name in weights:
            if name not in self.tables:
                raise InvalidValueError("weights", name, map(str, self.tables), form=unknown("block"))
        return weights

    def choose(self, weights: Mapping[str, Tensor] | Iterable[Tensor], limit: float) -> dict[str, Hashable] | None:
        """The candidate of each block in the network with the largest product of weights within a limit of cycles.

        Of those that use at least 97 % of the limit, if there are any.

        Args:
            weights: as for :meth:`cycles`; blocks with the same tensor get candidates of the same position.
            limit: in cycles, as that of a :class:`hwcost.torch.TargetWeight`.

        Returns:
            The names of the candidates; None if no network is within the limit, which is then below :attr:`floor`.

        Raises:
            InvalidValueError: as :meth:`cycles`; a limit that is no number above 0.
        """
        if not is_real(limit) or not limit > 0:
            raise InvalidValueError("limit", limit, "cycles above 0")
        given = self._named(weights)
        own = {name: probability(given, name, len(self.candidates[name])) for name in self.tables}
        leads = {name: next(first for first in own if own[first] is own[name]) for name in own}
        tables = [table._replace(axes=(leads[name],)) for name, table in self.tables.items()]
        found = most_probable(tables, {name: own[name] for name in leads.values()}, limit)
        return None if found is None else {name: self.candidates[name][found[lead]] for name, lead in leads.items()}

    @property
    def floor(self) -> float:
        """The cycles of the cheapest network."""
        return sum(float(table.values.min()) for table in self.tables.values())


def _named(items: Any, field: str) -> dict[Hashable, Any]:
    """Items by name; those of a row by position."""
    if not isinstance(items, (Mapping, Sequence)) or isinstance(items, str) or not len(items):
        raise InvalidValueError(field, items, "a mapping or a sequence that is not empty")
    return dict(items.items() if isinstance(items, Mapping) else enumerate(items))


def _candidate_cycles(operations: Any, array: SystolicArray, field: str) -> Size:
    alone = operations is None or isinstance(operations, nn.Module) or is_layer(operations)
    listed = _named([operations] if alone else operations, field).values()
    layers = [layer for layer in listed if layer is not None and type(layer) is not nn.Identity]
    for layer in layers:
        if not is_layer(layer):
            allowed = "a layer, several, or None for no operation (hwcost.from_torch makes layers of a module)"
            raise InvalidValueError(field, layer, allowed)
    if not any(layer.gemms() for layer in layers):  # all are known to be free
        return 0
    cycles = network_cost(layers, array).total.cycles
    if not arrays.is_number(cycles):
        raise InvalidValueError(field, operations, "layers of plain sizes, on one array")
    return cycles
