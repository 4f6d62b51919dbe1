"""The result of a sweep: one column per figure, and the Pareto front."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Value, product, true_divide
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
    """The points that no other point dominates in cycles, PEs and utilization.

    Utilization needs no column: for one network it is MACs over cycles x PEs, so a point with fewer cycles on no more
    PEs, or equal cycles on fewer, always has the higher one. The front of all three is therefore that of cycles and
    PEs, which one sort finds. Equal points are all on it.

    Args:
        cycles, pes: one number per point.

    Returns:
        Their indices, fewest PEs first; equal points in the given order.

    >>> pareto_front(np.array([10, 5, 5, 7, 10]), np.array([1, 4, 4, 9, 2])).tolist()
    [0, 1, 2]
    """
    order = np.lexsort((cycles, pes))
    ordered, sizes = cycles[order], pes[order]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    # points that equal one of the front follow it directly
    leader = np.maximum.accumulate(np.where(kept, np.arange(len(order)), 0))
    return np.asarray(order[(ordered == ordered[leader]) & (sizes == sizes[leader])])


@dataclass(frozen=True, eq=False)
class Sweep(Value):
    """A network on every array of a space; each column holds one number per point.

    Attributes:
        base: the array whose rows, columns and dataflow are swept; its other fields hold for all points.
        dataflows: the dataflows swept: names, or rows of the caller's.
        rows, cols: the size of the array in PEs.
        flow: the index of the dataflow in ``dataflows``.
        cycles: of the whole network; int64 if the array has only whole cycles, else float64.
        macs: multiply-accumulates of the network.
        unsupported: names of layers that could not be priced and that every figure leaves out.
        pe_budget: the most PEs, or None.
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
        """Processing elements: rows x columns x arrays."""
        return np.asarray(product(self.rows, self.cols, self.base.arrays, what="the number of PEs"))

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
        """The indices of the points on the :func:`pareto_front`, fewest PEs first."""
        return pareto_front(self.cycles, self.pes)

    @functools.cached_property
    def ranked(self) -> Column:
        """The indices of all points, fastest first; equally fast ones by PEs."""
        return np.lexsort((self.pes, self.cycles))

    def fastest(self, pes: int | None = None) -> int:
        """The index of the fastest point with at most ``pes`` PEs; of equally fast ones, that with the fewest.

        Raises:
            InvalidValueError: all points have more PEs.
        """
        front = self.front if pes is None else self.front[self.pes[self.front] <= pes]
        if not len(front):
            raise InvalidValueError("pes", pes, f"at least {int(self.pes.min())}, the smallest array of the sweep")
        # along the front, cycles fall as PEs grow, and equal points are adjacent
        return int(front[np.argmin(self.cycles[front])])

    def array(self, index: int) -> SystolicArray:
        """The array of a point."""
        rows, cols = int(self.rows[index]), int(self.cols[index])
        return adapt(self.base, rows=rows, cols=cols, dataflow=self.dataflows[self.flow[index]]).array

    def points(self, indices: Column | Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """The points, all or those of the indices, as dictionaries of Python numbers; computed block by block."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        for start in range(0, len(chosen), _BLOCK):
            block = self.at(chosen[start : start + _BLOCK])
            columns = [getattr(block, name).tolist() for name in COLUMNS]
            for row in zip(*columns, strict=True):
                yield dict(zip(COLUMNS, row, strict=True))

    def at(self, indices: Column) -> Sweep:
        """The sweep with only these points."""
        return replace(self, **{name: getattr(self, name)[indices] for name in ("rows", "cols", "flow", "cycles")})

    def settings(self) -> dict[str, Any]:
        """The settings of all points as JSON values; None instead of an infinite number."""
        array = {name: value for name, value in self.base.as_dict().items() if name not in ("rows", "cols", "dataflow")}
        return {
            "dataflows": list(map(str, self.dataflows)),
            "pe_budget": self.pe_budget,
            "macs": self.macs,
            "unsupported": list(self.unsupported),
            "array": {name: None if value == math.inf else value for name, value in array.items()},
        }

    def as_dict(self) -> dict[str, Any]:
        """Settings, every column as a list, and the indices of the front, as JSON values."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "settings": self.settings(),
            "columns": {name: getattr(self, name).tolist() for name in COLUMNS},
            "front": self.front.tolist(),
        }
