"""The points of a sweep that no other beats: of any number of figures, less of each being better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwcost.sweep.pricing import Column

__all__ = ["nondominated", "pareto_front"]

_BLOCK = 2**17
"""Points that are looked at together, so that memory does not grow with their number."""
_FIRST, _MOST = 32, 512
"""The number of points that are compared with all others at once: few at first, since those remove most."""
_SLAB = 2**12


def pareto_front(cycles: Column, pes: Column, *more: Column) -> Column:
    """The points that no other point dominates in cycles, PEs and further figures, such as the energy.

    Utilization needs no column: for one network it is MACs over cycles x PEs, so a point with fewer cycles on no more
    PEs, or equal cycles on fewer, always has the higher one. The front of all three is therefore that of cycles and
    PEs, which one sort finds. Equal points are all on it.

    Args:
        cycles, pes: one number per point.
        more: further columns, of which less is better.

    Returns:
        Their indices, fewest PEs first; equal points in the given order.

    >>> cycles, pes = np.array([10, 5, 5, 7, 10]), np.array([1, 4, 4, 9, 2])
    >>> pareto_front(cycles, pes).tolist(), pareto_front(cycles, pes, np.array([3, 2, 3, 1, 2])).tolist()
    ([0, 1, 2], [0, 4, 1, 3])
    """
    if more:
        front = nondominated([cycles, pes, *more])
        return np.asarray(front[np.lexsort((*(column[front] for column in more), cycles[front], pes[front]))])
    order = np.lexsort((cycles, pes))
    ordered, sizes = cycles[order], pes[order]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    # points that equal one of the front follow it directly
    leader = np.maximum.accumulate(np.where(kept, np.arange(len(order)), 0))
    return np.asarray(order[(ordered == ordered[leader]) & (sizes == sizes[leader])])


def nondominated(columns: Sequence[Column]) -> Column:
    """The points that no other dominates: is at most as large in every column and smaller in one.

    Exact for any number of columns. Blocks of points first lose those that are dominated within their block; a point
    that is dominated at all is dominated by one that is left.

    Args:
        columns: one number per point, of which less is better; infinite ones are allowed.

    Returns:
        Their indices in ascending order; equal points are all among them.

    >>> nondominated([np.array([1, 2, 3, 1]), np.array([3, 2, 2, 3]), np.array([5.0, 5.0, 4.0, 5.0])]).tolist()
    [0, 1, 2, 3]
    """
    length = len(columns[0])
    left = np.arange(length)
    while len(left) > _BLOCK:
        parts = [left[start : start + _BLOCK] for start in range(0, len(left), _BLOCK)]
        kept = np.concatenate([part[_of_block([column[part] for column in columns])] for part in parts])
        if len(kept) > len(left) // 2:  # most points are on the front, whatever the blocks
            left = kept
            break
        left = kept
    return np.asarray(left[_of_block([column[left] for column in columns])])


def _of_block(columns: Sequence[Column]) -> Any:
    """Whether each point is dominated by no other of the block."""
    ranks = [np.unique(column, return_inverse=True)[1].astype(np.int32) for column in columns]
    order = np.lexsort(ranks)
    ordered = [rank[order] for rank in ranks]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = np.any([np.diff(rank) != 0 for rank in ordered], axis=0)
    distinct = np.empty(len(order), dtype=np.int64)
    distinct[order] = np.cumsum(starts) - 1
    return _of_distinct([rank[starts] for rank in ordered])[distinct]


def _of_distinct(ranks: list[Column]) -> Any:
    """The same for points of which no two are equal.

    In the order of the sum of ranks no point dominates an earlier one: the first points that are left and do not
    dominate each other are on the front, and remove all others that they dominate.
    """
    weights = [rank / max(1, int(rank.max())) for rank in ranks]
    left = np.lexsort((*ranks, np.sum(weights, axis=0)))
    kept = np.zeros(len(left), dtype=bool)
    size = _FIRST
    while len(left):
        first, left = left[:size], left[size:]
        first = first[~_dominated([rank[first] for rank in ranks], [rank[first] for rank in ranks], itself=True)]
        kept[first] = True
        by = [rank[first] for rank in ranks]
        slabs = [left[start : start + _SLAB] for start in range(0, len(left), _SLAB)]
        left = np.concatenate([left[:0], *(slab[~_dominated(by, [rank[slab] for rank in ranks])] for slab in slabs)])
        size = min(2 * size, _MOST)
    return kept


def _dominated(by: list[Column], points: list[Column], *, itself: bool = False) -> Any:
    """Whether each point is dominated by one of others, or of the same points."""
    beaten = by[0][:, None] <= points[0]
    for mine, theirs in zip(by[1:], points[1:], strict=True):
        beaten &= mine[:, None] <= theirs
    if itself:
        np.fill_diagonal(beaten, val=False)
    return beaten.any(axis=0)
