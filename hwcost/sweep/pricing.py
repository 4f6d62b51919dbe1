"""The cycles of a network on a chunk of arrays, and what else is asked for."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Table, is_float, product, total
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.array import SystolicArray
from hwcost.model import formula
from hwcost.model.cost import BYTES, JOULES
from hwcost.model.gemm import Gemm
from hwcost.model.layout import padded
from hwcost.model.least import tiling_of
from hwcost.relaxation import EXACT

__all__ = ["CHUNK", "FIGURES", "Chunk", "Column", "UniqueGemms", "check_figures", "chunk_size", "figures_of", "price"]

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FIGURES = Table({
    "cycles": ("cycles",),
    "dram_bytes": tuple(f"dram_{kind}_bytes" for kind in BYTES),
    "sram_bytes": tuple(f"sram_{kind}_bytes" for kind in BYTES),
    "energy_joules": tuple(f"{kind}_joules" for kind in JOULES),
})  # fmt: skip
"""What may be priced, each with the figures of a cost of which it is the sum."""
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


def figures_of(*arrays: SystolicArray) -> tuple[str, ...]:
    """The figures that a sweep over machines has by default, on top of those that follow from them.

    Bytes and joules are worked out if any machine has buffers, on which bytes depend, or all have figures of energy.

    >>> figures_of(SystolicArray(1, 1)), figures_of(SystolicArray(1, 1, buffer_bytes=4096.0))
    (('cycles',), ('cycles', 'dram_bytes', 'sram_bytes'))
    """
    has_energy = all(array.has_energy for array in arrays)
    if not (has_energy or any(array.has_buffers for array in arrays)):
        return ("cycles",)
    return tuple(name for name in FIGURES if name != "energy_joules" or has_energy)


def check_figures(
    chosen: Collection[str] | None, arrays: Sequence[SystolicArray], needed: Collection[str]
) -> tuple[str, ...]:
    """The figures to price: those chosen, or that :func:`figures_of` names, and those that are needed."""
    if chosen is None:
        own = set(figures_of(*arrays))
    else:
        if isinstance(chosen, str):
            raise InvalidValueError("figures", chosen, f"a list of some of: {', '.join(FIGURES)}")
        for name in chosen:
            check_one_of("figures", name, FIGURES)
        own = {"cycles", *chosen}
        if "energy_joules" in own and not all(array.has_energy for array in arrays):
            reason = "there are no figures of energy"
            raise InvalidValueError(
                "figures",
                "energy_joules",
                "figures of energy: those of the machine, or of a table (energy=, --energy)",
                reason=reason,
            )
    return tuple(name for name in FIGURES if name in own or name in needed)


class Chunk(NamedTuple):
    """Machines that are priced together, with all that pricing needs: a chunk can be sent to another machine.

    Attributes:
        place: the index of the chunk in the sweep.
        version: of the package that made it.
        work: the products.
        array: its rows and cols, and other fields that are swept, are columns with one number per machine.
        figures: names in ``FIGURES``.
        more: costs on top of the products: figures by name, each a number or a column.
    """

    place: int
    version: str
    work: UniqueGemms
    array: SystolicArray
    figures: tuple[str, ...] = ("cycles",)
    more: tuple[Mapping[str, Any], ...] = ()

    def only(self, kept: Any) -> Chunk:
        """Some of the machines."""
        columns = {name: value[kept] for name, value in self.array.stated() if isinstance(value, np.ndarray)}
        more = tuple(
            {name: value[kept] if isinstance(value, np.ndarray) else value for name, value in each.items()}
            for each in self.more
        )
        return self._replace(array=dataclasses.replace(self.array, **columns), more=more)


def chunk_size(work: UniqueGemms, figures: Collection[str] = ("cycles",)) -> int:
    """The number of arrays to price together: the figures of all distinct products take at most 64 MiB.

    >>> chunk_size(UniqueGemms.of([Gemm(1, 2, 3)]))
    16384
    """
    columns = sum(len(FIGURES[name]) for name in figures)
    return max(1, min(CHUNK, _MOST_BYTES // (8 * columns * len(work.products))))


def price(chunk: Chunk) -> tuple[int, tuple[Column, ...]]:
    """The place of a chunk, and the figures of all its work on each of its machines; -1 where no tile fits a buffer.

    Integer cycles are multiplied by the number of times that a product occurs. Everything else is added in the order of
    the network, part by part, so that it equals that of ``network_cost`` on each machine to the last bit.

    Raises:
        InvalidValueError: a total that integers of 64 bits do not hold, or a chunk that another version made.
    """
    if chunk.version != __version__:
        raise InvalidValueError("the version of hwcost on a worker", __version__, f"that of the sweep, {chunk.version}")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # what is not finite is an error anyway
        return chunk.place, _that_fit(chunk)


def _that_fit(chunk: Chunk) -> tuple[Column, ...]:
    """The figures of each machine; -1 where no tile fits."""
    try:
        return _priced(chunk)
    except InvalidValueError:
        fits = _fits(chunk)
        if fits.all():
            raise
    if not fits.any():
        return tuple(np.full(fits.shape, -1) for _ in chunk.figures)
    found = []
    for figure in _priced(chunk.only(fits)):
        column = np.full(fits.shape, -1, dtype=figure.dtype)
        column[fits] = figure
        found.append(column)
    return tuple(found)


def _fits(chunk: Chunk) -> Any:
    """Whether the buffers of each machine hold a tile of every product."""
    array = chunk.array
    fits = np.ones(array.rows.shape, dtype=bool)
    for gemm in chunk.work.products if array.has_buffers else ():
        tiling = tiling_of(padded(gemm, array), array, EXACT, gemm.on_chip, must_fit=False)
        fits &= np.isfinite(tiling.weighed)
    return fits


def _priced(chunk: Chunk) -> tuple[Column, ...]:
    work, array = chunk.work, chunk.array
    parts = [part for name in chunk.figures[1:] for part in FIGURES[name]]
    cycles: list[Any] = []
    each: dict[str, list[Any]] = {part: [] for part in parts}
    for gemm in work.products:
        pricing = formula.price(gemm, array)  # not kept: its intermediate columns take far more room than its figures
        cycles.append(pricing.cycles)
        cost = pricing.cost if parts else None
        for part in parts:
            each[part].append(1.0 * getattr(cost, part))
    sums = {
        part: functools.reduce(_add, [*(figures[i] for i in work.order), *(more[part] for more in chunk.more)])
        for part, figures in each.items()
    }
    found = [_cycles(cycles, work, chunk.more)]
    found += [total(*(sums[part] for part in FIGURES[name])) for name in chunk.figures[1:]]
    return tuple(np.broadcast_to(figure, array.rows.shape) for figure in found)


def _cycles(cycles: list[Any], work: UniqueGemms, more: tuple[Mapping[str, Any], ...]) -> Any:
    if any(map(is_float, cycles)):
        summed = functools.reduce(_add, (cycles[i] for i in work.order))
    else:
        times = Counter(work.order)
        summed = functools.reduce(_add, (product(times[i], each, what="the cycles") for i, each in enumerate(cycles)))
    return functools.reduce(_add, (each["cycles"] for each in more), summed)
