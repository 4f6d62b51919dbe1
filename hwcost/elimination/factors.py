"""Maximising a sum of tables that share widths, by eliminating one width after the other.

Eliminating a width adds up the tables that follow it, and keeps the maximum over its options: a message, a table over
the widths that it met. What is left at the end is the maximum. Messages that travel back give, for each option of each
width, the maximum over all sets of widths that contain it. (Bertele and Brioschi, Nonserial Dynamic Programming, 1972.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = ["Elimination", "Factor", "Figures", "at_least", "elimination_order"]

Figures: TypeAlias = np.ndarray[Any, np.dtype[Any]]

BLOCK = 1 << 20


class Factor(NamedTuple):
    """Values over the options of some widths, one axis for each."""

    widths: tuple[str, ...]
    values: Figures


def elimination_order(scopes: Iterable[Iterable[str]], counts: Mapping[str, int]) -> tuple[list[str], float]:
    """The widths in the order in which to eliminate them, and the entries of all tables.

    The smallest table comes first; of tables of one size, the one with the smallest message.
    """
    left = [frozenset(scope) for scope in scopes]
    names = sorted(frozenset().union(*left))
    order, entries = [], 0.0

    def joined(name: str) -> frozenset[str]:
        return frozenset().union(*(scope for scope in left if name in scope))

    def size(name: str) -> float:
        return math.prod(float(counts[each]) for each in joined(name))

    sizes = {name: size(name) for name in names}
    while sizes:
        name = min(sizes, key=lambda each: (sizes[each], -counts[each], each))
        entries += sizes.pop(name)
        met = joined(name) - {name}
        left = [*{scope for scope in left if name not in scope}, met]
        sizes |= {each: size(each) for each in met}
        order.append(name)
    return order, entries


def maximum(factors: Sequence[Factor], keep: tuple[str, ...], counts: Mapping[str, int]) -> Factor:
    """The maximum of the sum of factors over all widths but ``keep``, in blocks of bounded memory."""
    rest = tuple(dict.fromkeys(name for each in factors for name in each.widths if name not in keep))
    scope = (*sorted(rest, key=lambda name: -counts[name]), *keep)
    arrays = [_aligned(each, scope) for each in factors]
    shape = [counts[name] for name in scope]
    kept = np.full(shape[len(rest) :], -np.inf)
    length = shape[0] if rest else 1
    step = max(1, BLOCK * length // max(1, math.prod(shape)))
    for start in range(0, length, step):
        block = np.zeros([1] * len(rest) + shape[len(rest) :])
        for array in arrays:
            block = block + (array[start : start + step] if rest and array.shape[0] > 1 else array)
        kept = np.maximum(kept, block.max(tuple(range(len(rest)))))
    return Factor(keep, kept)


def at_least(
    factors: Sequence[Factor], scope: tuple[str, ...], counts: Mapping[str, int], threshold: float
) -> tuple[tuple[Figures, ...], Figures]:
    """The options of the widths of ``scope`` at which the sum of factors reaches a threshold, and these sums."""
    arrays = [_aligned(each, scope) for each in factors]
    shape = [counts[name] for name in scope]
    step = max(1, BLOCK * shape[0] // math.prod(shape))
    found, values = [], []
    for start in range(0, shape[0], step):
        block = np.zeros([min(step, shape[0] - start), *shape[1:]])
        for array in arrays:
            block += array[start : start + step] if array.shape[0] > 1 else array
        at = np.nonzero(block >= threshold)
        found.append((at[0] + start, *at[1:]))
        values.append(block[at])
    return tuple(map(np.concatenate, zip(*found, strict=True))), np.concatenate(values)


def _aligned(factor: Factor, scope: tuple[str, ...]) -> Figures:
    """The values with one axis for each width of a scope, of length 1 for those that it does not follow."""
    own = [name for name in scope if name in factor.widths]
    values = factor.values.transpose([factor.widths.index(name) for name in own])
    return values[tuple(slice(None) if name in own else np.newaxis for name in scope)]


class Elimination:
    """The elimination of all widths of some factors.

    Attributes:
        order: the widths as they are eliminated.
        parents: for each, the place in ``order`` at which its message arrives; None if it is a number.
        factors: for each, the factors and messages that follow it.
        messages: for each, the maximum over its options.
        outside: for each, the maximum of everything that is not in its factors, over the widths of its message.
        value: the maximum of the sum of all factors.
    """

    def __init__(self, factors: Sequence[Factor], order: Sequence[str], counts: Mapping[str, int]) -> None:
        self.order, self.counts = list(order), counts
        place = {name: index for index, name in enumerate(self.order)}
        self.factors: list[list[Factor]] = [[] for _ in self.order]
        self.value = 0.0
        for factor in factors:
            if factor.widths:
                self.factors[min(place[name] for name in factor.widths)].append(factor)
            else:
                self.value += float(factor.values)
        self.parents: list[int | None] = []
        self.messages: list[Factor] = []
        for index, name in enumerate(self.order):
            met = {each for factor in self.factors[index] for each in factor.widths} - {name}
            message = maximum(self.factors[index], tuple(sorted(met, key=place.__getitem__)), counts)
            self.messages.append(message)
            self.parents.append(place[message.widths[0]] if met else None)
            if met:
                self.factors[place[message.widths[0]]].append(message)
            else:
                self.value += float(message.values)

    @property
    def best(self) -> dict[str, int]:
        """The indices of the options at the maximum."""
        found: dict[str, int] = {}
        for name, factors in zip(reversed(self.order), reversed(self.factors), strict=True):
            index: dict[str, Any] = {**found, name: slice(None)}
            values = [each.values[tuple(index[width] for width in each.widths)] for each in factors]
            found[name] = int(np.argmax(np.sum(values, axis=0)))
        return found

    def outside(self) -> list[Factor]:
        """For each width, the maximum of everything that is not below it, over the widths of its message."""
        found: list[Factor | None] = [None] * len(self.order)
        for index in reversed(range(len(self.order))):
            message, parent = self.messages[index], self.parents[index]
            if parent is None:
                found[index] = Factor((), np.asarray(self.value - float(message.values)))
            else:
                others = [each for each in self.factors[parent] if each is not message]
                above = found[parent]
                assert above is not None  # parents come later in the order
                found[index] = maximum([*others, above], message.widths, self.counts)
        return [each for each in found if each is not None]
