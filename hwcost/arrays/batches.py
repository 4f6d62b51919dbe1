"""Many sizes at once: a large sweep in blocks, and columns of sizes stacked into arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hwcost.arrays.arithmetic import promote, true_divide
from hwcost.arrays.backends import Array, Size, backend_of, is_number, namespace
from hwcost.arrays.sizes import is_float

__all__ = ["are_few", "in_blocks", "stack"]


def are_few(arrays: Sequence[Array]) -> bool:
    """Whether arrays have one shape and are so small that a call costs more than its arithmetic."""
    return all(array.shape == arrays[0].shape for array in arrays) and math.prod(arrays[0].shape) <= 1024


def in_blocks(function: Callable[..., Size], sizes: Mapping[str, Size], *, block: int = 2**17) -> Size:
    """``function(**sizes)`` for an elementwise function; large numpy arrays go through it block by block.

    The intermediates of millions of sizes then stay in the cache, which is about three times faster: a handful of
    arrays of ``block`` elements fit into that of a core. Other libraries have compilers for that.
    """
    arrays = {name: size for name, size in sizes.items() if isinstance(size, np.ndarray)}
    others = {name: size for name, size in sizes.items() if name not in arrays}
    if not arrays or not all(is_number(size) for size in others.values()):
        return function(**sizes)
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    if math.prod(shape) <= 2 * block:
        return function(**sizes)
    arrays = {name: array.reshape((1,) * (len(shape) - array.ndim) + array.shape) for name, array in arrays.items()}
    step = max(1, block * shape[0] // math.prod(shape))
    out: Any = None
    for start in range(0, shape[0], step):
        part = {name: array if len(array) == 1 else array[start : start + step] for name, array in arrays.items()}
        for array in part.values():
            array.flags.writeable = False  # of the view: a size that can be changed would be copied
        result = function(**others, **part)
        if out is None:
            out = np.empty(shape, dtype=result.dtype)
        out[start : start + step] = result
    return out


def stack(columns: Sequence[Sequence[Size]], broadcast_with: Sequence[Size] = ()) -> list[Size]:
    """Each column of sizes as one array with a new leading axis, or as one integer if all its entries are equal.

    The columns get axes behind the leading one, so that each of their entries broadcasts with the sizes
    ``broadcast_with``; if any of those is an array, no column stays a number.
    """
    arrays = [value for column in columns for value in column if not is_number(value)]
    xp = namespace(*arrays)
    like = next((array for array in arrays if is_float(array)), arrays[0])
    constant = backend_of(like).constant
    sweeps = [size for size in broadcast_with if not is_number(size)]
    stacked: list[Size] = []
    for sizes in columns:
        column = [promote((size, like), "a size")[0] if is_number(size) else size for size in sizes]
        kind = true_divide(like, 1) if any(isinstance(size, float) for size in sizes) else like
        if all(is_number(value) for value in column):
            same = isinstance(column[0], int) and all(value == column[0] for value in column)
            stacked.append(column[0] if same and not sweeps else constant(column, kind))
        else:
            parts = [constant([v], kind)[0] if is_number(v) else xp.astype(v, kind.dtype, copy=False) for v in column]
            same_shape = all(part.shape == parts[0].shape for part in parts)
            stacked.append(xp.stack(parts if same_shape else xp.broadcast_arrays(*parts)))
    return _aligned(stacked, max([0, *[len(sweep.shape) for sweep in sweeps]]))


def _aligned(stacked: list[Size], least: int) -> list[Size]:
    """The columns with axes of length one behind the leading one: as many as the longest has, at least ``least``."""
    axes = max([least + 1, *[len(array.shape) for array in stacked if not is_number(array)]])

    def align(array: Size) -> Size:
        if is_number(array) or len(array.shape) == axes:
            return array
        shape = array.shape
        return namespace(array).reshape(array, (*shape[:1], *(1,) * (axes - len(shape)), *shape[1:]))

    return [align(array) for array in stacked]
