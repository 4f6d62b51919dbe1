"""The cycles of a network on a chunk of arrays."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import is_float, product, total
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model import formula
from hwcost.model.gemm import Gemm

__all__ = ["CHUNK", "FIGURES", "Chunk", "Column", "UniqueGemms", "chunk_size", "price"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FIGURES = ("cycles", "dram_bytes", "energy_joules")
"""What is priced: cycles always, the others where they differ from array to array."""
CHUNK = 16_384
"""The most arrays that are priced together: few enough for the intermediate columns to stay in the cache."""
_MOST_BYTES = 64 * 2**20
_add = functools.partial(total, what="the cycles")


class UniqueGemms(NamedTuple):
    """The products of a network without duplicates.

    Attributes:
        products: the distinct products.
        order: for each product of the network, in order, its index in ``products``.
    """

    products: tuple[Gemm, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, gemms: list[Gemm]) -> UniqueGemms:
        """Removes the duplicates.

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
        figure: one of ``FIGURES``.
    """

    place: int
    version: str
    work: UniqueGemms
    array: SystolicArray
    figure: str = FIGURES[0]


def chunk_size(work: UniqueGemms) -> int:
    """The number of arrays to price together: the cycles of all distinct products take at most 64 MiB.

    >>> chunk_size(UniqueGemms.of([Gemm(1, 2, 3)]))
    16384
    """
    return max(1, min(CHUNK, _MOST_BYTES // (8 * len(work.products))))


def price(chunk: Chunk) -> tuple[int, Column]:
    """The place of a chunk, and a figure of all its work on each of its arrays.

    Integer cycles are multiplied by the number of times that a product occurs. Floating-point cycles are added in the
    order of the network, so that they equal those of ``network_cost`` on each array to the last bit.

    Raises:
        InvalidValueError: a total that integers of 64 bits do not hold, or a chunk that another version made.
    """
    if chunk.version != __version__:
        raise InvalidValueError("the version of hwcost on a worker", __version__, f"that of the sweep, {chunk.version}")
    work, array = chunk.work, chunk.array
    if chunk.figure != FIGURES[0]:
        figures = [1.0 * getattr(formula.price(gemm, array).cost, chunk.figure) for gemm in work.products]
        summed = functools.reduce(_add, (figures[i] for i in work.order))
        return chunk.place, np.broadcast_to(summed, array.rows.shape)
    cycles = [formula.price(gemm, array).cycles for gemm in work.products]
    if any(map(is_float, cycles)):
        summed = functools.reduce(_add, (cycles[i] for i in work.order))
    else:
        times = Counter(work.order)
        summed = functools.reduce(_add, (product(times[i], each, what="the cycles") for i, each in enumerate(cycles)))
    return chunk.place, np.broadcast_to(summed, array.rows.shape)
