"""The result of a sweep: one column per figure, and the Pareto front."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Table, Value, is_number, product, true_divide
from hwcost.errors import InvalidValueError, look_up
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import Dataflow
from hwcost.machine.energies import EnergyTable
from hwcost.model.cost import Cost
from hwcost.model.words import CHARGES, FREE, uncharged
from hwcost.sweep.fields import BUFFERS, machine_at, names_of
from hwcost.sweep.front import nondominated, pareto_front
from hwcost.sweep.objectives import DEFAULT, OBJECTIVES
from hwcost.sweep.pricing import FIGURES, Column
from hwcost.sweep.shown import document_of, words_of
from hwcost.tables import Document, Records, as_dataframe
from hwcost.units import ENDS

if TYPE_CHECKING:
    import pandas

__all__ = ["SCHEMA", "Sweep"]

SCHEMA = "hwcost.sweep/1"
_BLOCK = 4096


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Value, Records):
    """A network on every array of a space; each column holds one number per point.

    Attributes:
        base: the array whose rows, columns, dataflow and ``fields`` are swept; its other fields hold for all points.
        dataflows: the dataflows swept: names, or rows of the caller's.
        rows, cols: the size of the array in PEs.
        flow: the index of the dataflow in ``dataflows``.
        cycles: of the whole network; int64 if the arrays have only whole cycles, else float64.
        macs: multiply-accumulates of the network.
        unsupported: names of layers that could not be priced and that every figure leaves out.
        pe_budget: the most PEs, or None.
        dram_bytes, sram_bytes: of the whole network; None if they were not asked for.
        energy_joules: of the whole network; None on a base without figures of energy.
        fields: the values of each further field that is swept, by its name.
        codes: for each of them, the index of the value of every point.
        energy: the table of the figures of energy, if these differ from point to point.
        objectives: names in :data:`hwcost.sweep.OBJECTIVES`, of which the front is.
        left_out: the number of arrays that are no points, because no tile fits their buffers.
        idle: fields that have no effect on some machines, which have its neutral value; each with their dataflows.
        name: of the network; empty for layers without one.
        device: the name of the device that the base is of; empty for an array that is none.
        extrapolated: whether each point is beyond what the device was measured with: its layers, or its array; None for
            a device that was not fitted.
        seconds_90_low, seconds_90_high: the ends between which the latency lies with 90 %, on the device as it was
            fitted; NaN on other points, and None if nothing is known.

    ``sweep["cycles"]`` is a column, and ``sweep[0]`` a point.
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
    sram_bytes: Column | None = field(default=None, repr=False)
    fields: Mapping[str, tuple[Any, ...]] = Table()
    codes: Mapping[str, Column] = field(default=Table(), repr=False)
    energy: str | EnergyTable | None = None
    objectives: tuple[str, ...] = DEFAULT
    left_out: int = 0
    idle: Mapping[str, tuple[str, ...]] = Table()
    name: str = ""
    device: str = ""
    extrapolated: Column | None = field(default=None, repr=False)
    seconds_90_low: Column | None = field(default=None, repr=False)
    seconds_90_high: Column | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.cycles)

    def document(self) -> Document:
        """The fastest points of the front."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """How many points there are, and of what the front is."""
        return words_of(self)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each point, as ``hwcost sweep --csv`` has them."""
        flags, constants = self.on_front.tolist(), self.constants
        return [constants | point | {"on_front": flag} for point, flag in zip(self.points(), flags, strict=True)]

    def to_dataframe(self) -> pandas.DataFrame:
        """The points as a DataFrame of pandas, column by column.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        constants = {name: [value] * len(self) for name, value in self.constants.items()}
        return as_dataframe(constants | {name: self[name] for name in self.columns} | {"on_front": self.on_front})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.points()

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self.column(look_up({name: name for name in self.columns}, key, "the sweep", "column"))
        (point,) = self.points([range(len(self))[operator.index(key)]])
        return point

    @property
    def constants(self) -> dict[str, Any]:
        """What all points share, and rows of files repeat."""
        base = self.base
        found = {"network": self.name or None, "device": self.device or None, "fold_timing": str(base.fold_timing),
                 "clock_hz": base.clock_hz, "macs": self.macs}  # fmt: skip
        return {name: value for name, value in found.items() if name not in self.fields}

    @property
    def on_front(self) -> Column:
        """Whether each point is on the front."""
        found = np.zeros(len(self), dtype=bool)
        found[self.front] = True
        return found

    def column(self, name: str) -> Column:
        """A column by its name: a swept field, or an attribute.

        Raises:
            InvalidValueError: a name that is not in ``columns``.

        >>> from hwcost import Linear
        >>> from hwcost.sweep import sweep
        >>> sweep([Linear(64, 64)], rows=8, cols=8, fields={"overlap": [0, 1]}, base=SystolicArray(
        ...     8, 8, dram_bytes_per_s=1e9)).column("overlap")
        array([0., 1.])
        """
        if name in self.fields:
            values = self.fields[name]
            return np.asarray(values)[self.codes[name]]
        if name not in self.columns:
            raise InvalidValueError("name", name, self.columns)
        return np.asarray(getattr(self, name))

    @property
    def is_beyond(self) -> Column:
        """Whether each point is beyond what the device was measured with; none is on one that was not fitted."""
        return np.zeros(len(self), dtype=bool) if self.extrapolated is None else self.extrapolated

    def values_of(self, name: str) -> Any:
        """The values of a field of the machine: a column if it is swept, else the one of the base."""
        return self.column(name) if name in self.fields else getattr(self.base, name)

    @property
    def pes(self) -> Column:
        """Processing elements: rows x columns x arrays."""
        return np.asarray(product(self.rows, self.cols, self.values_of("arrays"), what="the number of PEs"))

    @property
    def dataflow(self) -> Column:
        """The name of the dataflow of each point."""
        return np.asarray(list(map(str, self.dataflows)))[self.flow]

    @property
    def seconds(self) -> Column:
        """The cycles at the clock of each point."""
        return np.asarray(true_divide(self.cycles, self.values_of("clock_hz"), what="the cycles"))

    @property
    def utilization(self) -> Column:
        """MACs over cycles x PEs, from 0 to 1."""
        pe_cycles = product(self.cycles.astype(np.float64), self.pes, what="cycles * PEs")
        return np.asarray(Cost(macs=self.macs, pe_cycles=pe_cycles).utilization)

    @property
    def average_watts(self) -> Column:
        """Energy over time.

        Raises:
            InvalidValueError: there are no figures of energy.
        """
        return np.asarray(self._energy / self.seconds)

    @property
    def energy_delay(self) -> Column:
        """Energy times latency (EDP) in joule seconds.

        Raises:
            InvalidValueError: there are no figures of energy.
        """
        return np.asarray(self._energy * self.seconds)

    @property
    def _energy(self) -> Column:
        if self.energy_joules is None:
            reason = "there are no figures of energy"
            raise InvalidValueError("base", self.base, "pass energy= to sweep(...)", reason=reason)
        return self.energy_joules

    @property
    def all_buffer_bytes(self) -> Column:
        """The bytes of all buffers of each machine together; infinite without a limit."""
        shared, *own = (np.asarray(self._buffer(name)) for name in BUFFERS)
        apart = functools.reduce(np.add, (np.where(np.isnan(size), 0.0, size) for size in own))
        is_shared = functools.reduce(np.logical_or, map(np.isnan, own))
        return np.broadcast_to(apart + np.where(is_shared, shared, 0.0), (len(self),))

    def _buffer(self, name: str) -> Any:
        """The sizes of a buffer; NaN for an operand without one of its own."""
        if name not in self.fields:
            size = getattr(self.base, name)
            return math.nan if size is None else size
        return np.asarray([math.nan if size is None else size for size in self.fields[name]])[self.codes[name]]

    @property
    def time(self) -> Column:
        """What is compared where points are faster or slower: cycles or, if clocks differ, seconds."""
        return self.seconds if "clock_hz" in self.fields else self.cycles

    @functools.cached_property
    def front(self) -> Column:
        """The indices of the points that no other point dominates in the objectives, fewest PEs first.

        Those that are dominated by no other point in time and PEs have the highest utilization too, at one clock.
        """
        if set(self.objectives) == {"time", "pes"}:
            return pareto_front(self.time, self.pes)
        front = nondominated([getattr(self, OBJECTIVES[name].column) for name in self.objectives])
        return np.asarray(front[np.lexsort((self.time[front], self.pes[front]))])

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a point."""
        more = (name for name in FIGURES if name != "cycles" and getattr(self, name) is not None)
        derived = () if self.energy_joules is None else ("average_watts", "energy_delay")
        measured = (name for name in ("extrapolated", *ENDS) if getattr(self, name) is not None)
        first = ("rows", "cols", "dataflow", *self.fields, "pes", "cycles", "seconds", "utilization")
        return (*first, *more, *derived, *measured)

    @functools.cached_property
    def ranked(self) -> Column:
        """The indices of all points, fastest first; equally fast ones by PEs."""
        return np.lexsort((self.pes, self.time))

    def fastest(self, pes: int | None = None) -> int:
        """The index of the fastest point with at most ``pes`` PEs; of equals by the objectives that follow.

        Raises:
            InvalidValueError: all points have more PEs.
        """
        others = (getattr(self, OBJECTIVES[name].column) for name in self.objectives if name not in DEFAULT)
        return self._least(pes, self.time, self.pes, *others)

    def most_frugal(self, pes: int | None = None) -> int:
        """The index of the point with the least energy and at most ``pes`` PEs; of several, the fastest.

        Raises:
            InvalidValueError: the base has no figures of energy, or all points have more PEs.
        """
        return self._least(pes, self._energy, self.time, self.pes)

    def busiest(self) -> int:
        """The index of the point with the highest utilization; of several, the fastest."""
        return self._least(None, -self.utilization, self.time, self.pes)

    def _least(self, pes: int | None, *columns: Column) -> int:
        """The first point that is least in some columns, the first of which counts most."""
        left = np.arange(len(self)) if pes is None else np.flatnonzero(self.pes <= pes)
        if not len(left):
            raise InvalidValueError("pes", pes, f"at least {int(self.pes.min())}, the smallest array of the sweep")
        for column in columns:
            own = column[left]
            left = left[own == own.min()]
        return int(left[0])

    def array(self, index: int) -> SystolicArray:
        """The array of a point."""
        sizes = {"rows": int(self.rows[index]), "cols": int(self.cols[index])}
        values = {name: each[self.codes[name][index]] for name, each in self.fields.items()}
        return machine_at(self.base, self.dataflows[self.flow[index]], values, self.energy, **sizes)[0]

    @property
    def uncharged(self) -> tuple[str, ...]:
        """What the times of some points leave out, so that they are lower bounds; nothing on a device that was fitted.

        >>> from hwcost import Linear
        >>> from hwcost.sweep import sweep
        >>> sweep([Linear(64, 64)], rows=[8, 16], cols=8, fields={"dram_bytes_per_s": [1e9, math.inf]}).uncharged
        ('memory', 'fill and drain')
        """
        if self.extrapolated is not None:
            return ()
        kinds = np.zeros(len(self) if CHARGES & self.fields.keys() else 1, dtype=np.int64)
        for name in CHARGES & self.fields.keys():
            kinds = kinds * len(self.fields[name]) + self.codes[name]
        _, firsts = np.unique(kinds, return_index=True)
        found = {name for index in firsts.tolist() for name in uncharged(self.array(index))}
        return tuple(name for name in FREE if name in found)

    def points(self, indices: Column | Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """The points, all or those of the indices, as dictionaries of Python numbers; computed block by block."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        names = self.columns
        for start in range(0, len(chosen), _BLOCK):
            block = self.at(chosen[start : start + _BLOCK])
            for row in zip(*(block._listed(name) for name in names), strict=True):
                yield dict(zip(names, row, strict=True))

    def _listed(self, name: str) -> list[Any]:
        """A column as Python values: rows of tables by their name, None for what is not known."""
        if name in ENDS:
            return [None if math.isnan(end) else end for end in self.column(name).tolist()]
        if name not in self.fields:
            return self.column(name).tolist()  # type: ignore[no-any-return]
        values = [str(value) if not (value is None or is_number(value)) else value for value in self.fields[name]]
        values = [own if isinstance(own, bool) else each for own, each in zip(self.fields[name], values, strict=True)]
        return [values[code] for code in self.codes[name].tolist()]

    def at(self, indices: Column) -> Sweep:
        """The sweep with only these points."""
        more = (*FIGURES, "extrapolated", *ENDS)
        own = ["rows", "cols", "flow", *(name for name in more if getattr(self, name) is not None)]
        codes = Table({name: code[indices] for name, code in self.codes.items()})
        return replace(self, codes=codes, **{name: getattr(self, name)[indices] for name in own})

    def settings(self) -> dict[str, Any]:
        """The settings of all points as JSON values; None instead of an infinite number."""
        swept = ("rows", "cols", "dataflow", *self.fields)
        array = {name: value for name, value in self.base.as_dict().items() if name not in swept}
        return {
            "network": self.name or None,
            "device": self.device or None,
            "dataflows": list(map(str, self.dataflows)),
            "pe_budget": self.pe_budget,
            "macs": self.macs,
            "unsupported": list(self.unsupported),
            "array": {name: None if value == math.inf else value for name, value in array.items()},
            "fields": {name: names_of(values) for name, values in self.fields.items()},
            "energy": None if self.energy is None else str(self.energy),
            "objectives": list(self.objectives),
            "left_out": self.left_out,
            "uncharged": list(self.uncharged),
        }

    def as_dict(self) -> dict[str, Any]:
        """Settings, every column as a list, and the indices of the front, as JSON values."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "settings": self.settings(),
            "columns": {
                name: names_of(self._listed(name)) if name in self.fields else self._listed(name)
                for name in self.columns
            },
            "front": self.front.tolist(),
        }
