"""The best tilings of many products: of equal problems once, and of large arrays block by block."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from hwcost.arrays import namespace
from hwcost.model.given import Given

__all__ = ["each_once", "in_blocks"]

_Found = TypeVar("_Found", bound=tuple[Any, ...])


def each_once(given: Given, best_of: Callable[[Given], _Found], block: int) -> _Found:
    """The best tilings, of equal problems once: machines with other bandwidths or clocks have the same.

    Args:
        given: problems.
        best_of: a function that returns arrays for problems.
        block: the most problems that it takes at once.
    """
    sizes = given.sizes
    if not all(isinstance(size, np.ndarray) for size in sizes):
        return in_blocks(given, best_of, block)
    shape = _shape_of(sizes)
    columns = [np.broadcast_to(size, shape).ravel() for size in sizes if size.size > 1]
    if not columns:
        return in_blocks(given, best_of, block)
    order = np.lexsort(columns)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = functools.reduce(np.logical_or, (np.diff(column[order]) != 0 for column in columns))
    firsts = order[is_first]
    if 2 * len(firsts) > len(order):  # not worth the copies
        return in_blocks(given, best_of, block)
    few = given.map(lambda size: np.broadcast_to(size, shape).ravel()[firsts] if size.size > 1 else size)
    found = in_blocks(few, best_of, block)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.cumsum(is_first) - 1
    return _like(found, (each[places].reshape(shape) for each in found))


def in_blocks(given: Given, best_of: Callable[[Given], _Found], block: int) -> _Found:
    """The best tilings, of large arrays block by block; arguments as for :func:`each_once`."""
    sizes = given.sizes
    xp, shape = namespace(*sizes), _shape_of(sizes)
    if math.prod(shape) <= block:
        return best_of(given)
    given = given.map(lambda size: xp.reshape(xp.broadcast_to(size, shape), (-1,)) if size.shape else size)
    parts = []
    for start in range(0, math.prod(shape), block):
        part = slice(start, start + block)
        parts.append(best_of(given.map(functools.partial(_cut, part))))
    return _like(parts[0], (xp.reshape(xp.concat(each), shape) for each in zip(*parts, strict=True)))


def _like(found: _Found, columns: Any) -> _Found:
    """Columns as a named tuple of the kind of another one."""
    return type(found)(*columns)


def _cut(part: slice, size: Any) -> Any:
    return size[part] if size.shape else size


def _shape_of(sizes: list[Any]) -> tuple[int, ...]:
    """The shape to which arrays broadcast."""
    lengths: list[int] = []
    for size in sizes:
        own = tuple(size.shape)
        lengths = [1] * (len(own) - len(lengths)) + lengths
        for axis in range(1, len(own) + 1):
            lengths[-axis] = max(lengths[-axis], own[-axis])
    return tuple(lengths)
