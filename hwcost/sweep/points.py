"""What a sweep found: a column for each figure, and the points that no other beats."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import product, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import Dataflow
from hwcost.model.cost import Cost
from hwcost.sweep.pricing import Column

__all__ = ["COLUMNS", "SCHEMA", "Sweep", "pareto_front"]

SCHEMA = "hwcost.sweep/1"
COLUMNS = ("rows", "cols", "dataflow", "pes", "cycles", "seconds", "utilization")
_BLOCK = 4096


def pareto_front(cycles: Column, pes: Column) -> Column:
    """The points that no other beats in cycles, PEs and utilization: all those where each other one is worse in one.

    Utilization needs no column: of one network it is MACs over cycles x PEs, so that a point with fewer cycles on no
    more PEs, or as many on fewer, has the higher one in any case. A point is therefore on the front of all three
    exactly if it is on that of cycles and PEs, which one sorting finds. Equal points are all kept.

    Args:
        cycles, pes: a number for each point.

    Returns:
        Their indices, by PEs from the fewest on; equal points in the order in which they were given.

    >>> pareto_front(np.array([10, 5, 5, 7, 10]), np.array([1, 4, 4, 9, 2])).tolist()
    [0, 1, 2]
    """
    order = np.lexsort((cycles, pes))
    ordered, sizes = cycles[order], pes[order]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    # what is equal to a point of the front stands right behind it
    leader = np.maximum.accumulate(np.where(kept, np.arange(len(order)), 0))
    return np.asarray(order[(ordered == ordered[leader]) & (sizes == sizes[leader])])


@dataclass(frozen=True, eq=False)
class Sweep:
    """A network on every array of a space; each column holds a number for each point, and all are equally long.

    Attributes:
        base: the array whose rows, columns and dataflow are swept; everything else of it holds for all points.
        dataflows: those that were swept: names, or rows of the caller's.
        rows, cols: the size of the array in PEs.
        flow: the index of the dataflow in ``dataflows``.
        cycles: of the whole network; int64 where the array has whole cycles only, else float64.
        macs: multiply-accumulates of the network.
        unsupported: names of layers that could not be priced and are missing in every figure.
        pe_budget: the most PEs; None where nothing limits them.
    """

    base: SystolicArray
    dataflows: tuple[str | Dataflow, ...]
    rows: Column = field(repr=False)
    cols: Column = field(repr=False)
    flow: Column = field(repr=False)
    cycles: Column = field(repr=False)
    macs: int
    unsupported: tuple[str, ...] = ()
    pe_budget: int | None = None

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def pes(self) -> Column:
        """Processing elements: rows x columns."""
        return np.asarray(product(self.rows, self.cols, what="the number of PEs"))

    @property
    def dataflow(self) -> Column:
        """The name of the dataflow of each point."""
        return np.asarray(list(map(str, self.dataflows)))[self.flow]

    @property
    def seconds(self) -> Column:
        """The cycles at the clock of the base."""
        return np.asarray(true_divide(self.cycles, self.base.clock_hz, what="the cycles"))

    @property
    def utilization(self) -> Column:
        """MACs over cycles x PEs, from 0 to 1."""
        pe_cycles = product(self.cycles.astype(np.float64), self.pes, what="cycles * PEs")
        return np.asarray(Cost(macs=self.macs, pe_cycles=pe_cycles).utilization)

    @functools.cached_property
    def front(self) -> Column:
        """The indices of the points that no other beats in time, utilization and PEs, from the fewest PEs on.

        See :func:`pareto_front`.
        """
        return pareto_front(self.cycles, self.pes)

    @functools.cached_property
    def ranked(self) -> Column:
        """The indices of all points from the fastest on; of equally fast ones that with fewer PEs comes first."""
        return np.lexsort((self.pes, self.cycles))

    def fastest(self, pes: int | None = None) -> int:
        """The index of the fastest point with at most so many PEs; of equally fast ones that with the fewest PEs.

        Raises:
            InvalidValueError: no point has so few.
        """
        front = self.front if pes is None else self.front[self.pes[self.front] <= pes]
        if not len(front):
            raise InvalidValueError("pes", pes, f"at least {int(self.pes.min())}, the smallest array of the sweep")
        # the cycles of the front fall as the PEs grow, and equal points stand in a row
        return int(front[np.argmin(self.cycles[front])])

    def array(self, index: int) -> SystolicArray:
        """The array of a point."""
        rows, cols = int(self.rows[index]), int(self.cols[index])
        return adapt(self.base, rows=rows, cols=cols, dataflow=self.dataflows[self.flow[index]]).array

    def points(self, indices: Column | Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """The points as dictionaries of Python numbers, all or those of the indices; worked out block by block."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        for start in range(0, len(chosen), _BLOCK):
            block = self.at(chosen[start : start + _BLOCK])
            columns = [getattr(block, name).tolist() for name in COLUMNS]
            for row in zip(*columns, strict=True):
                yield dict(zip(COLUMNS, row, strict=True))

    def at(self, indices: Column) -> Sweep:
        """The sweep with these points alone."""
        return replace(self, **{name: getattr(self, name)[indices] for name in ("rows", "cols", "flow", "cycles")})

    def settings(self) -> dict[str, Any]:
        """What holds for all points, in values that JSON knows; what nothing limits is None."""
        array = {name: value for name, value in self.base.as_dict().items() if name not in ("rows", "cols", "dataflow")}
        return {
            "dataflows": list(map(str, self.dataflows)),
            "pe_budget": self.pe_budget,
            "macs": self.macs,
            "unsupported": list(self.unsupported),
            "array": {name: None if value == math.inf else value for name, value in array.items()},
        }

    def as_dict(self) -> dict[str, Any]:
        """Settings, every column as a list, and the indices of the front, in values that JSON knows."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "settings": self.settings(),
            "columns": {name: getattr(self, name).tolist() for name in COLUMNS},
            "front": self.front.tolist(),
        }
