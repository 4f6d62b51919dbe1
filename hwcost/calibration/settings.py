"""The settings of a fit, and the machines of a grid."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.fields import COUNT, plain

__all__ = ["GRIDS", "Settings", "check_grid", "grid_values", "largest_machine", "machines_of"]

GRIDS = {"size": ("rows", "cols")} | {
    name: (name,)
    for name, declared in SystolicArray.declarations.items()
    if declared.kind is COUNT or declared.kind.types == (str,)
}
"""What a grid may try, counts and rows of tables, and the fields that it sets."""


@dataclass(frozen=True)
class Settings:
    """The settings of a fit: the same settings, measurements and machine give the same numbers.

    The attributes are the arguments of :func:`hwcost.calibration.fit`.

    Raises:
        InvalidValueError: a number out of its range, or no fold seed.
    """

    free: tuple[str, ...]
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
        if name not in GRIDS:
            raise InvalidValueError("grid", name, f"one of: {', '.join(GRIDS)}")
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
    sizes = {name: max(grid[name]) for name in ("size", "rows", "cols") if grid.get(name)}
    changes: dict[str, Any] = {field: size for name, size in sizes.items() for field in GRIDS[name]}
    return dataclasses.replace(device, **changes)
