"""How the arrays of a chip share a product: every way to cut it along one of its letters.

    count    whole products: groups of a convolution, heads, a batch
    n        filters; every array reads all inputs
    m        output positions; every array reads all weights
    k        input channels, in 2, 4, 8 ... parts; the sums of every part are outputs of their own

The longest part has ceil(extent / arrays) of the letter and decides the time. A product may also stay whole, on one
array. :mod:`hwcost.model.choice` prices every way and takes the fastest.

The powers of two are those of a tree that adds sums in pairs; a chip may leave arrays without work where fewer parts
of k are faster, so that more arrays are never slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hwcost.arrays import Size, if_concrete, is_plain, maximum, namespace, product, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.model.gemm import Gemm, share
from hwcost.model.sums import where
from hwcost.relaxation import Relaxation

__all__ = ["Split", "splits_of"]

_UNKNOWN = 2**16
"""The arrays for which k is cut if a library traces the number of arrays, and its value is not known."""


class Split(NamedTuple):
    """One way to cut a product.

    Attributes:
        letter: "count", "n", "m" or "k".
        parts: the number of parts; 1 where there is nothing to cut.
        part: the longest of them.
    """

    letter: str
    parts: Size
    part: Gemm


def splits_of(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Iterator[Split]:
    """The ways to cut a product into at most as many parts as there are arrays; none for a single array.

    >>> from hwcost.relaxation import EXACT
    >>> for letter, parts, part in splits_of(Gemm(m=49, n=512, k=3), SystolicArray(8, 8, arrays=4), EXACT):
    ...     print(letter, parts, part)
    n 4 Gemm(m=49, n=128, k=3, count=1)
    m 4 Gemm(m=13, n=512, k=3, count=1)
    k 2 Gemm(m=49, n=512, k=2, count=1)
    k 3 Gemm(m=49, n=512, k=1, count=1)
    """
    arrays = array.arrays
    ways = [("count", arrays), ("n", arrays), ("m", arrays), *(("k", parts) for parts in _powers(arrays))]
    for letter, most in ways:
        unit = gemm.positions if letter == "k" else 1
        extent = share(getattr(gemm, letter), unit)
        parts = _minimum(most, extent)
        if not _is_whole(parts):
            yield Split(letter, parts, _part(gemm, letter, product(unit, relaxation.ceil_div(extent, most))))


def _is_whole(parts: Size) -> bool:
    """Whether no product is cut."""
    if is_plain(parts):
        return bool(parts == 1)
    return if_concrete(parts, lambda: bool(namespace(parts).all(parts == 1))) is True


def _powers(arrays: Size) -> list[Size]:
    """2, 4, 8 ... up to the number of arrays; 1 instead where an array of them has fewer."""
    if is_plain(arrays):
        return [2**i for i in range(1, int(arrays).bit_length())]
    largest = if_concrete(arrays, lambda: int(namespace(arrays).max(arrays))) or _UNKNOWN
    return [where(arrays >= power, power, 1) for power in _powers(largest)]


def _part(gemm: Gemm, letter: str, size: Size) -> Gemm:
    """The product with another size along a letter, and its share of the input tensor."""
    sizes: dict[str, Any] = {letter: size}
    whole, inputs = getattr(gemm, letter), size
    if letter == "count" and gemm.shares_operands:  # each array reads all operands that any of its products needs
        read = {name: share(whole, getattr(gemm, name)) for name in ("weights_shared_by", "inputs_shared_by")}
        own = {name: _minimum(size, several) for name, several in read.items()}
        sizes |= {name: true_divide(size, several) for name, several in own.items()}
        whole, inputs = read["inputs_shared_by"], own["inputs_shared_by"]
    if gemm.inputs and letter != "n":
        sizes["inputs"] = (product(true_divide(gemm.elements("inputs"), whole), inputs),)
    return gemm.with_sizes(**sizes)


def _minimum(a: Size, b: Size) -> Size:
    return -maximum(-a, -b)
