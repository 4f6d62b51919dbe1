"""The machines of a sweep: every combination of rows, columns, dataflows and the values of further fields.

Machines are cut into groups that one vectorised call prices: a group has one dataflow and one value of every field that
cannot be an array, and columns of the others. A value that turns something off, like an infinite bandwidth, has a group
of its own, because a machine without it takes another path. A field that has no effect on the machines of a group takes
its neutral value there, and machines that are then the same are taken once.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.machine.array import IdleFieldError, SystolicArray, adapt
from hwcost.machine.dataflow import Dataflow
from hwcost.machine.energies import EnergyTable, with_energy
from hwcost.machine.energy import Energy
from hwcost.sweep.fields import MOST_POINTS, READ_BY_TABLES, in_order, machine_at
from hwcost.sweep.pricing import Column

__all__ = ["Group", "Space", "space_of", "within"]

_ONE_BY_ONE = ("arrays",)
"""Fields that may be arrays, but not here: the number of PEs depends on them."""
# ---------------------------------------------------------------- groups


class Group(NamedTuple):
    """Machines that are priced by the same calls.

    Attributes:
        flow: the index of the dataflow.
        array: one of them, with a single row and column.
        values: of every swept field; one where all machines have the same, else several.
        energy: the table of their figures, if these differ.
        rows, cols: the sizes of the arrays, one pair for each.
    """

    flow: int
    array: SystolicArray
    values: dict[str, tuple[Any, ...]]
    energy: str | EnergyTable | None
    rows: Column
    cols: Column

    def __len__(self) -> int:
        return len(self.rows) * math.prod(map(len, self.values.values()))

    @property
    def columns(self) -> dict[str, Column]:
        """The fields with several values, each as an array."""
        return {name: np.asarray(values) for name, values in self.values.items() if len(values) > 1}

    def places(self, start: int, stop: int) -> tuple[Column, dict[str, Column]]:
        """Of some machines, the indices of their sizes and of the values of each field with several.

        Machines of one size are next to each other, since some of them share their tilings.
        """
        sizes, settings = np.divmod(np.arange(start, min(stop, len(self))), len(self) // len(self.rows))
        columns = self.columns
        indices = np.unravel_index(settings, [len(values) for values in columns.values()]) if columns else ()
        return sizes, dict(zip(columns, indices, strict=True))

    def machines(self, start: int, stop: int) -> SystolicArray:
        """Some of the machines, as one whose fields are arrays."""
        sizes, indices = self.places(start, stop)
        fields = {name: values[indices[name]] for name, values in self.columns.items()}
        changes: dict[str, Any] = {"rows": self.rows[sizes], "cols": self.cols[sizes], **fields}
        made = dataclasses.replace(self.array, **changes)
        if self.energy is None:
            return made
        if isinstance(self.energy, EnergyTable):
            figures = {name: getattr(with_energy(made, self.energy), name) for name in Energy.declarations}
        else:
            figures = self._figures(indices)
        return dataclasses.replace(made, **{name: each for name, each in figures.items() if name not in self.values})

    def _figures(self, indices: Mapping[str, Column]) -> dict[str, Any]:
        """The figures of a table that ships, worked out machine by machine where they differ: to the same last bit."""
        read = [name for name in indices if name in READ_BY_TABLES]
        if not read:
            return {}
        lengths = [len(self.values[name]) for name in read]
        made = []
        for chosen in itertools.product(*(self.values[name] for name in read)):
            changed = dataclasses.replace(self.array, **dict(zip(read, chosen, strict=True)))
            made.append(with_energy(changed, self.energy))  # type: ignore[arg-type]
        places = np.ravel_multi_index([indices[name] for name in read], lengths)
        known = {name: [getattr(each, name) for each in made] for name in Energy.declarations}
        return {name: np.asarray(each)[places] for name, each in known.items() if each[0] is not None}


class Space(NamedTuple):
    """The groups of a sweep, and what they share.

    Attributes:
        groups: of machines.
        fields: the values of each swept field: those that were given and, where it has no effect, the neutral one.
        idle: fields that some machines have at their neutral value because they have no effect there, each with the
            dataflows of these machines.
    """

    groups: list[Group]
    fields: dict[str, tuple[Any, ...]]
    idle: dict[str, list[str]]

    def __len__(self) -> int:
        return sum(map(len, self.groups))


def space_of(
    base: SystolicArray,
    flows: Sequence[str | Dataflow],
    fields: Mapping[str, tuple[Any, ...]],
    energy: str | EnergyTable | None,
    sizes: tuple[Column, Column],
    budget: int | None,
) -> Space:
    """The machines of a sweep; ``fields`` and ``sizes`` are checked.

    Raises:
        InvalidValueError: a field that has no effect on any machine, too many points, a budget that no array fits.
    """
    if math.prod(map(len, fields.values())) * len(flows) > MOST_POINTS:
        raise _too_many(math.prod(map(len, fields.values())) * len(flows))
    grid_of = functools.cache(functools.partial(_grid, *sizes, budget))
    groups: dict[Any, Group] = {}
    idle: dict[str, list[str]] = {}
    has_effect: set[str] = set()
    parts = [list(_parts(name, values)) for name, values in fields.items()]
    for (flow, dataflow), *chosen in itertools.product(enumerate(flows), *parts):
        values = dict(zip(fields, chosen, strict=True))
        array, dropped = machine_at(base, dataflow, {name: each[0] for name, each in values.items()}, energy)
        has_effect |= {name for name, each in values.items() if _matters(name, each, array)}
        for name in dropped:
            values[name] = (SystolicArray.declarations[name].neutral,)
            idle.setdefault(name, [])
            if str(dataflow) not in idle[name]:
                idle[name].append(str(dataflow))
        rows, cols = grid_of(array.arrays)
        key = (flow, *values.values())
        if key not in groups and len(rows):
            groups[key] = Group(flow, array, values, energy, rows, cols)
    for name in fields:
        if name not in has_effect:
            raise _without_effect(
                base, flows, {each: _one_of(each, values) for each, values in fields.items()}, name, energy
            )
    found = list(groups.values())
    if not found:
        smallest = int(sizes[0][0]) * int(sizes[1][0]) * min(fields.get("arrays", (base.arrays,)))
        raise InvalidValueError("pe_budget", budget, f"at least {smallest}, the smallest array of the sweep")
    if (points := sum(map(len, found))) > MOST_POINTS:
        raise _too_many(points)
    known = {name: in_order([*values, *(group.values[name][0] for group in found)]) for name, values in fields.items()}
    return Space(found, known, idle)


def _too_many(points: int) -> InvalidValueError:
    return InvalidValueError("the number of points", points, f"at most {MOST_POINTS}; give shorter ranges")


def _parts(name: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Values that are priced together; those with which a machine takes another path are alone."""
    declared = SystolicArray.declarations[name]
    if not declared.kind.sweeps or name in _ONE_BY_ONE:
        yield from ((value,) for value in values)
        return
    alone = [value for value in values if value is None or value in (0, math.inf, declared.neutral)]
    yield from ((value,) for value in alone)
    if rest := tuple(value for value in values if value not in alone):
        yield rest


def _matters(name: str, values: tuple[Any, ...], array: SystolicArray) -> bool:
    """Whether a machine has the first of some values of a field, or the field is without a need."""
    declared = SystolicArray.declarations[name]
    return declared.need is None or (getattr(array, name) == values[0] and name in array.stated_names)


def _one_of(name: str, values: tuple[Any, ...]) -> Any:
    """One of some values of a field, if possible not the neutral one."""
    return next((value for value in values if value != SystolicArray.declarations[name].neutral), values[0])


def _without_effect(
    base: SystolicArray,
    flows: Sequence[str | Dataflow],
    values: dict[str, Any],
    name: str,
    energy: str | EnergyTable | None,
) -> InvalidValueError:
    """The error about a field that has no effect on any machine of a sweep, with the reason that the machine gives."""
    own = values.pop(name)
    array, _ = machine_at(base, flows[0], values, energy)
    try:
        adapt(array, **{name: own})
    except IdleFieldError as error:
        return error.at(name)
    return InvalidValueError(name, own, "leave it out, or add other values", reason="with this value it does nothing")


# ---------------------------------------------------------------- sizes within a budget


def within(rows: Column, cols: Column, budget: int | None, arrays: int) -> Column:
    """For each number of rows, how many of the columns (smallest first) fit the budget."""
    if budget is None:
        return np.full(len(rows), len(cols), dtype=np.int64)
    return np.searchsorted(cols, min(budget // arrays, 2**63 - 1) // rows, side="right")


def _grid(rows: Column, cols: Column, budget: int | None, arrays: int) -> tuple[Column, Column]:
    """Every array within the budget, as two columns of equal length."""
    most = within(rows, cols, budget, arrays)
    if (count := int(most.sum())) > MOST_POINTS:
        raise _too_many(count)
    if not count:
        return rows[:0], cols[:0]
    ends = np.cumsum(most)
    along = np.arange(ends[-1]) - np.repeat(ends - most, most)
    return np.repeat(rows, most), cols[along]
