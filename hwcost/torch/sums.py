"""Sizes that follow several decisions: the sums that they can reach, as one axis of a cost table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwcost.network.network import Network
from hwcost.network.operations import SizeExpression, size_at

__all__ = ["Axis", "SumAxis", "Sums", "axis_groups"]

Axis: TypeAlias = "str | SumAxis"
"""The name of a decision, or the sums that several reach."""

Sizes: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SumAxis:
    """The axis of sizes that follow several decisions by their sum.

    Attributes:
        first: the axis of all these decisions but the last one.
        decision: the last one.
        places: where on this axis entry i of ``first`` and option j of ``decision`` lead, shape (len(first), options).
        length: of this axis.
    """

    first: Axis
    decision: str
    places: Tensor
    length: int

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions that the sum is made of."""
        before = (self.first,) if isinstance(self.first, str) else self.first.decisions
        return (*before, self.decision)


class Sums:
    """The axes of a network's sizes; those of sums that begin with the same terms are made once."""

    def __init__(self, network: Network) -> None:
        self.options = {name: np.asarray(sizes, dtype=np.int64) for name, sizes in network.options.items()}
        self._today = {name: width.size for name, width in network.widths.items()}
        self._chains: dict[Any, tuple[Axis, Sizes]] = {}

    def axis(self, rules: Sequence[SizeExpression]) -> tuple[Axis, list[Sizes]]:
        """One axis for sizes that share decisions, and each of these sizes along it."""
        names = tuple(dict.fromkeys(name for rule in rules for name, _ in rule if name in self.options))
        axis, reached = self._chain(tuple((name, tuple(_only(rule, {name}) for rule in rules)) for name in names))
        rests = [_only(rule, self._today.keys() - self.options.keys()) for rule in rules]
        return axis, [column + size_at(rest, self._today) for column, rest in zip(reached.T, rests, strict=True)]

    def _chain(self, terms: tuple[tuple[str, tuple[SizeExpression, ...]], ...]) -> tuple[Axis, Sizes]:
        """The axis of a sum, and the sizes along it: one row for each entry, one column for each size."""
        if terms not in self._chains:
            *before, (name, rules) = terms
            options = self.options[name]
            added = np.stack([size_at(rule, {name: options}) + 0 * options for rule in rules], axis=1)
            if not before:
                return name, added
            first, reached = self._chain(tuple(before))
            pairs = (reached[:, None] + added).reshape(-1, added.shape[1])
            rows, places = np.unique(pairs, axis=0, return_inverse=True)
            where = torch.from_numpy(places.reshape(len(reached), len(added)))
            self._chains[terms] = SumAxis(first, name, where, len(rows)), rows
        return self._chains[terms]


def _only(rule: SizeExpression, names: Any) -> SizeExpression:
    """The terms of an expression that are among these names."""
    return tuple(term for term in rule if term[0] in names)


def axis_groups(rules: Mapping[str, SizeExpression], options: Mapping[str, Any]) -> list[dict[str, SizeExpression]]:
    """The fields that follow open widths, in groups that share none, in order."""
    groups: list[tuple[set[str], dict[str, SizeExpression]]] = []
    for field, rule in rules.items():
        names = {name for name, _ in rule if name in options}
        if names:
            meeting = [group for group in groups if group[0] & names]
            groups = [group for group in groups if not group[0] & names]
            fields = {name: each for _, own in meeting for name, each in own.items()}
            groups.append((names.union(*(own for own, _ in meeting)), fields | {field: rule}))
    order = list(rules)
    return sorted((fields for _, fields in groups), key=lambda fields: order.index(next(iter(fields))))
