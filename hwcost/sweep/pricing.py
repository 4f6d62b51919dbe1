"""The cycles of a network on a chunk of arrays."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Size, is_float, product, total
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model import formula
from hwcost.model.gemm import Gemm

__all__ = ["CHUNK", "Chunk", "Column", "UniqueGemms", "chunk_size", "price"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CHUNK = 16_384
"""The most arrays that are priced together: few enough for the intermediate columns to stay in the cache."""
_MOST_BYTES = 64 * 2**20


class UniqueGemms(NamedTuple):
    """The products of a network, each distinct one once.

    Attributes:
        products: the distinct ones.
        order: of all products in the order of the network, the index of each in ``products``.
    """

    products: tuple[Gemm, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, gemms: list[Gemm]) -> UniqueGemms:
        """The distinct ones of some products.

        >>> UniqueGemms.of([Gemm(1, 2, 3), Gemm(4, 5, 6), Gemm(1, 2, 3)]).order
        (0, 1, 0)
        """
        index = {gemm: i for i, gemm in enumerate(dict.fromkeys(gemms))}
        return cls(tuple(index), tuple(index[gemm] for gemm in gemms))


class Chunk(NamedTuple):
    """Arrays that are priced together, with all that pricing needs: a chunk can be sent to another machine.

    Attributes:
        place: the index of the chunk in the sweep.
        version: of the package that made it.
        work: the products.
        array: its rows and cols are columns with one number per array of the chunk.
    """

    place: int
    version: str
    work: UniqueGemms
    array: SystolicArray


def chunk_size(work: UniqueGemms) -> int:
    """The number of arrays that are priced together: the cycles of all distinct products take 64 MiB at most.

    >>> chunk_size(UniqueGemms.of([Gemm(1, 2, 3)]))
    16384
    """
    return max(1, min(CHUNK, _MOST_BYTES // (8 * len(work.products))))


def price(chunk: Chunk) -> tuple[int, Column]:
    """The place of a chunk, and the cycles of all of the work on each of its arrays.

    The cycles of whole numbers are multiplied by how often a product occurs. Those of floating point are added in the
    order of the network, so that they equal those of ``network_cost`` for each array, to the last bit.

    Raises:
        InvalidValueError: a total that integers of 64 bits do not hold, or a chunk that another version made.
    """
    if chunk.version != __version__:
        raise InvalidValueError("the version of hwcost on a worker", __version__, f"that of the sweep, {chunk.version}")
    work, array = chunk.work, chunk.array
    cycles = [formula.price(gemm, array).cycles for gemm in work.products]
    if any(map(is_float, cycles)):
        summed = functools.reduce(_plus, (cycles[i] for i in work.order))
    else:
        times = Counter(work.order)
        summed = functools.reduce(_plus, (product(times[i], each, what="the cycles") for i, each in enumerate(cycles)))
    return chunk.place, np.broadcast_to(summed, array.rows.shape)


def _plus(a: Size, b: Size) -> Size:
    return total(a, b, what="the cycles")
