"""Which elements of a tensor are copies of others: repetitions leave them, and products need not read them again.

The grouped queries of attention repeat each head of keys and values, and weights are expanded over a batch. What is
known about a tensor is, for each axis, the factors of its size, outer ones first, and whether each only repeats
elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

__all__ = ["Copies", "distinct", "plain", "repeat_copies", "reshape_copies"]

Copies: TypeAlias = tuple[tuple[tuple[int, bool], ...], ...]
"""For each axis, the size of each of its factors, and whether the factor only repeats elements."""


def plain(shape: Sequence[int]) -> Copies:
    """A tensor without copies."""
    return tuple(((size, False),) for size in shape)


def repeat_copies(copies: Copies | None, old: Sequence[int], new: Sequence[int]) -> Copies:
    """Axes are repeated as a whole until they have the new sizes; new ones in front only repeat.

    >>> repeat_copies(None, (8, 1, 5), (2, 8, 4, 10))
    (((2, True),), ((8, False),), ((4, True),), ((2, True), (5, False)))
    """
    front = len(new) - len(old)
    kept = zip(copies or plain(old), old, new[front:], strict=True)
    axes = (
        axis if before == after else ((after // before, True), *(factor for factor in axis if factor[0] != 1))
        for axis, before, after in kept
    )
    return (*(((size, True),) for size in new[:front]), *axes)


def reshape_copies(copies: Copies, shape: Sequence[int]) -> Copies | None:
    """The same elements in another shape; None if a new axis cuts a factor into parts that do not fit.

    >>> reshape_copies((((8, False),), ((4, True),), ((6, False),)), (16, 2, 6))
    (((8, False), (2, True)), ((2, True),), ((6, False),))
    >>> reshape_copies((((8, False),), ((4, True),)), (2, 16))
    (((2, False),), ((4, False), (4, True)))
    """
    left = [factor for axis in copies for factor in axis if factor[0] != 1][::-1]
    found = []
    for size in shape:
        axis: list[tuple[int, bool]] = []
        missing = size
        while missing > 1 and left:
            have, repeats = left.pop()
            taken = math.gcd(have, missing)
            if taken not in (have, missing):
                return None
            if taken < have:
                left.append((have // taken, repeats))
            axis.append((taken, repeats))
            missing //= taken
        found.append(tuple(axis))
    return tuple(found)


def distinct(axes: Iterable[tuple[tuple[int, bool], ...]]) -> int:
    """The number of elements, or of matrices along the axes of a batch, that are not copies.

    >>> distinct((((8, False), (4, True)), ((5, False),)))
    40
    """
    return math.prod(size for axis in axes for size, repeats in axis if not repeats)
