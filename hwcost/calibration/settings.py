"""What a fit may change: numbers that are set free, values of a grid, and the settings of the search.

A positive number is searched as start * exp(x), a share between 0 and 1 as 1 / (1 + exp(-(logit(start) + x))), so that
x = 0 is the number of the device before any measurement. If the device has none (no bandwidth, no overhead), the field
declares a start of the order that such machines have.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import Size, Table, is_number
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.fields import COUNT, Start, plain

__all__ = [
    "FIT_PARAMETERS",
    "GRIDS",
    "FitParameter",
    "Settings",
    "check_grid",
    "fit_parameters",
    "grid_values",
    "largest_machine",
    "machines_of",
]

MOST_FREE = 8
"""Measurements of layers do not determine more numbers."""
_EDGE = 1e-6
"""The smallest distance from 0 and 1 at which a share starts that differs between measurements."""


@dataclass(frozen=True)
class FitParameter:
    """A row of :data:`FIT_PARAMETERS`.

    Attributes:
        name: what a fit calls it: mostly a field of the device.
        fields: the fields that it sets.
        words: a noun phrase.
        start: where the search starts if the device has no number that can be scaled, and how far it may stray.
        is_share: whether it lies between 0 and 1.
        power: 1 if it grows with the time that everything takes, as cycles, -1 if it falls, as bandwidths, else 0.
    """

    name: str
    fields: tuple[str, ...]
    words: str
    start: Start
    is_share: bool = False
    power: int = 0

    @property
    def summary(self) -> str:
        """One line for people, with the start."""
        return f"{self.words}; starts from {self.start.words}"

    def start_of(self, array: SystolicArray) -> Size:
        """The number of the device, or the declared start if the device has none that can be scaled."""
        value, start = getattr(array, self.fields[0]), self.start.value
        if value is None or (is_number(value) and not 0 < value < (1 if self.is_share else math.inf)):
            return start(array) if callable(start) else start
        return np.clip(value, _EDGE, 1 - _EDGE) if self.is_share and not is_number(value) else value

    def value(self, start: Size, x: Size) -> Size:
        """The number at a distance x from its start; both may be arrays.

        >>> FIT_PARAMETERS["overlap"].value(0.5, np.array([0.0, np.log(3.0)]))
        array([0.5 , 0.75])
        """
        if not self.is_share:
            return start * np.exp(x)
        odds = start / (1 - start) * np.exp(x)
        return odds / (1 + odds)


_TIED = {
    "activation_bytes_per_s": ("bandwidth for inputs and outputs alike", ("input_bytes_per_s", "output_bytes_per_s")),
    "stairs": ("weight of the ceiling along rows and columns alike", ("row_stairs", "col_stairs")),
}
"""Numbers that set several fields of the same kind."""
_POWERS = {"cycle": 1, "B/s": -1}


def _rows() -> Iterator[FitParameter]:
    declared = SystolicArray.declarations
    own = {name: (each.words, (name,)) for name, each in declared.items()}
    for name, (words, fields) in (own | _TIED).items():
        first = declared[fields[0]]
        if first.start is not None:
            yield FitParameter(name, fields, words, first.start, first.kind.is_share, _POWERS.get(first.unit, 0))


FIT_PARAMETERS: Mapping[str, FitParameter] = Table({row.name: row for row in _rows()})
"""Every number that can be fitted, by name."""


def fit_parameters(names: Sequence[str]) -> tuple[FitParameter, ...]:
    """The rows of the names.

    Raises:
        InvalidValueError: no name, an unknown one, one twice, two that set the same field, or more than eight.
    """
    if isinstance(names, str) or not names:
        raise InvalidValueError("free", names, f"a sequence of at least one of: {', '.join(FIT_PARAMETERS)}")
    taken: dict[str, str] = {}
    for name in names:
        check_one_of("free", name, FIT_PARAMETERS, what="number")
        for field in FIT_PARAMETERS[name].fields:
            if field in taken:
                raise InvalidValueError("free", name, f"a name that does not set {field}, as {taken[field]!r} does")
            taken[field] = name
    if len(names) > MOST_FREE:
        raise InvalidValueError("free", tuple(names), f"at most {MOST_FREE} names: measurements do not determine more")
    return tuple(FIT_PARAMETERS[name] for name in names)


# ---------------------------------------------------------------- settings


GRIDS = {"size": ("rows", "cols")} | {
    name: (name,)
    for name, declared in SystolicArray.declarations.items()
    if declared.kind is COUNT or declared.kind.names
}
"""What a grid may try, counts and rows of tables, and the fields that it sets."""


@dataclass(frozen=True)
class Settings:
    """The settings of a fit: the same settings, measurements and machine give the same numbers.

    The attributes are the arguments of :func:`hwcost.calibration.fit`.

    Raises:
        InvalidValueError: a number out of its range, or no fold seed.
    """

    free: tuple[str, ...] | str
    grid: Mapping[str, tuple[Any, ...]]
    prior: float | None
    robust: float
    starts: int
    folds: int
    fold_seeds: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        for name in ("robust",) if self.prior is None else ("prior", "robust"):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        for name, least in (("starts", 1), ("folds", 2), ("seed", 0)):
            object.__setattr__(self, name, _count(name, getattr(self, name), least))
        if not self.fold_seeds:
            raise InvalidValueError("fold_seeds", self.fold_seeds, "at least one integer")
        object.__setattr__(self, "fold_seeds", tuple(_count("fold_seeds", seed, 0) for seed in self.fold_seeds))

    def with_starts(self, starts: int) -> Settings:
        """The same with another number of starting points."""
        return dataclasses.replace(self, starts=starts)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"grid": {name: list(map(plain, tried)) for name, tried in self.grid.items()}}


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidValueError(name, value, "a finite number above 0")
    return float(value)


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidValueError(name, value, f"an integer of at least {least}")
    return int(value)


# ---------------------------------------------------------------- grids


def check_grid(grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The grid with tuples for values.

    Raises:
        InvalidValueError: an unknown name, no values, or names that set the same field.
    """
    checked = {}
    for name, values in grid.items():
        check_one_of("grid", name, GRIDS, what="field")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InvalidValueError(f"grid[{name!r}]", values, "a sequence of at least one value to try")
        checked[name] = tuple(values)
    if "size" in checked and ("rows" in checked or "cols" in checked):
        raise InvalidValueError("grid", ", ".join(checked), "either size, or rows and cols")
    return checked


def machines_of(device: SystolicArray, grid: Mapping[str, tuple[Any, ...]]) -> Iterator[SystolicArray]:
    """The device with each combination of the values of a grid."""
    for values in itertools.product(*grid.values()):
        changes = {field: value for name, value in zip(grid, values, strict=True) for field in GRIDS[name]}
        yield adapt(device, **changes).array


def grid_values(machine: SystolicArray, grid: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a machine for the names of a grid."""
    return {name: plain(getattr(machine, GRIDS[name][0])) for name in grid}


def largest_machine(device: SystolicArray, grid: Mapping[str, Sequence[Any]]) -> SystolicArray:
    """The machine of the grid with the most PEs, which no measurement can be faster than."""
    sizes = {name: max(grid[name]) for name in ("size", "rows", "cols", "arrays") if grid.get(name)}
    changes: dict[str, Any] = {field: size for name, size in sizes.items() for field in GRIDS[name]}
    return dataclasses.replace(device, **changes)
