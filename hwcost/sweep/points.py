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
_OF_MEMORY = ("dram_bytes", "energy_joules")
"""Columns that only some machines have."""
_BLOCK = 4096


def pareto_front(cycles: Column, pes: Column, energy: Column | None = None) -> Column:
    """The points that no other point dominates in cycles, PEs, utilization and, if it is given, energy.

    Utilization needs no column: for one network it is MACs over cycles x PEs, so a point with fewer cycles on no more
    PEs, or equal cycles on fewer, always has the higher one. The front of all three is therefore that of cycles and
    PEs, which one sort finds. Equal points are all on it.

    Args:
        cycles, pes, energy: one number per point.

    Returns:
        Their indices, fewest PEs first; equal points in the given order.

    >>> cycles, pes = np.array([10, 5, 5, 7, 10]), np.array([1, 4, 4, 9, 2])
    >>> pareto_front(cycles, pes).tolist(), pareto_front(cycles, pes, np.array([3, 2, 3, 1, 2])).tolist()
    ([0, 1, 2], [0, 4, 1, 3])
    """
    if energy is not None:
        return _front_of_three(cycles, pes, energy)
    order = np.lexsort((cycles, pes))
    ordered, sizes = cycles[order], pes[order]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    # points that equal one of the front follow it directly
    leader = np.maximum.accumulate(np.where(kept, np.arange(len(order)), 0))
    return np.asarray(order[(ordered == ordered[leader]) & (sizes == sizes[leader])])


def _front_of_three(cycles: Column, pes: Column, energy: Column) -> Column:
    """The points that no other dominates in three columns: those of as many PEs together, fewest PEs first.

    ``fast`` and ``frugal`` are the cycles and energies of the front of all points with fewer PEs: cycles rise along it,
    and energies fall.
    """
    order = np.lexsort((energy, cycles, pes))
    starts = np.flatnonzero(np.diff(pes[order], prepend=-1))
    fast, frugal = np.empty(0), np.empty(0)
    kept = []
    for own in np.split(order, starts[1:]):
        c, e = cycles[own], energy[own]
        before = np.searchsorted(fast, c, side="right")  # those that are as fast or faster
        least = np.append(np.inf, frugal)[before]
        lowest = np.append(np.inf, np.minimum.accumulate(e)[:-1])
        leader = e < np.minimum(least, lowest)
        first = np.maximum.accumulate(np.where(leader, np.arange(len(own)), -1))
        equal = (first >= 0) & (c == c[first]) & (e == e[first])
        kept.append(own[equal])
        if leader.any():
            fast, frugal = _merged(np.append(fast, c[leader]), np.append(frugal, e[leader]))
    return np.concatenate(kept)


def _merged(cycles: Column, energy: Column) -> tuple[Column, Column]:
    """The front of points in two columns, fewest cycles first."""
    order = np.lexsort((energy, cycles))
    cycles, energy = cycles[order], energy[order]
    kept = energy < np.append(np.inf, np.minimum.accumulate(energy)[:-1])
    return cycles[kept], energy[kept]


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
        dram_bytes: of the whole network; None on a base without buffers.
        energy_joules: of the whole network; None on a base without figures of energy.
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
    dram_bytes: Column | None = field(default=None, repr=False)
    energy_joules: Column | None = field(default=None, repr=False)

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
        return pareto_front(self.cycles, self.pes, self.energy_joules)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a point."""
        return (*COLUMNS, *(name for name in _OF_MEMORY if getattr(self, name) is not None))

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
        return int(front[np.lexsort((self.pes[front], self.cycles[front]))[0]])

    def most_frugal(self, pes: int | None = None) -> int:
        """The index of the point with the least energy and at most ``pes`` PEs; of several, the fastest.

        Raises:
            InvalidValueError: the base has no figures of energy, or all points have more PEs.
        """
        if self.energy_joules is None:
            reason = "there are no figures of energy"
            raise InvalidValueError("base", self.base, "a machine with them, as with_energy makes it", reason=reason)
        self.fastest(pes)  # raises if all points have more
        front = self.front if pes is None else self.front[self.pes[self.front] <= pes]
        order = np.lexsort((self.pes[front], self.cycles[front], self.energy_joules[front]))
        return int(front[order[0]])

    def array(self, index: int) -> SystolicArray:
        """The array of a point."""
        rows, cols = int(self.rows[index]), int(self.cols[index])
        return adapt(self.base, rows=rows, cols=cols, dataflow=self.dataflows[self.flow[index]]).array

    def points(self, indices: Column | Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """The points, all or those of the indices, as dictionaries of Python numbers; computed block by block."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        for start in range(0, len(chosen), _BLOCK):
            block = self.at(chosen[start : start + _BLOCK])
            columns = [getattr(block, name).tolist() for name in self.columns]
            for row in zip(*columns, strict=True):
                yield dict(zip(self.columns, row, strict=True))

    def at(self, indices: Column) -> Sweep:
        """The sweep with only these points."""
        own = {"rows", "cols", "flow", "cycles", *self.columns} - {"dataflow", "pes", "seconds", "utilization"}
        return replace(self, **{name: getattr(self, name)[indices] for name in own})

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
            "columns": {name: getattr(self, name).tolist() for name in self.columns},
            "front": self.front.tolist(),
        }
