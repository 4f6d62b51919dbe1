"""The fields of a machine that a sweep may vary: their values, checked, and the machine that has some of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from hwcost.arrays import as_size, is_real
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import Dataflow
from hwcost.machine.energies import EnergyTable, with_energy
from hwcost.machine.energy import Energy
from hwcost.machine.fields import Declaration, plain
from hwcost.sweep.pricing import Column

__all__ = [
    "BUFFERS", "MOST_POINTS", "READ_BY_TABLES", "SWEPT", "check_fields", "check_sizes", "in_order", "machine_at",
    "names_of", "own_rows",
]  # fmt: skip

MOST_POINTS = 50_000_000
"""The most points of one sweep: their results take 25 bytes each."""
BUFFERS = tuple(name for name in SystolicArray.declarations if name.endswith("buffer_bytes"))
"""The fields that hold the size of a buffer."""
READ_BY_TABLES = (*BUFFERS, "bytes_per_element")
"""The fields from which the energy tables that ship take figures."""
_ARGUMENTS = {"rows": "rows", "cols": "cols", "dataflow": "dataflows"}
"""The fields that are arguments of their own."""


def _is_swept(name: str, declared: Declaration) -> bool:
    kind = declared.kind
    has_rows = bool(kind.types) and kind.types in ((bool,), (str,))
    return name not in _ARGUMENTS and (kind.sweeps or has_rows)


SWEPT: tuple[str, ...] = tuple(
    name for name, declared in SystolicArray.declarations.items() if _is_swept(name, declared)
)
"""The fields that can be swept on top of rows, columns and dataflows: numbers, names and switches."""


# ---------------------------------------------------------------- checks


def check_sizes(sizes: int | Iterable[int], field: str) -> Column:
    """Sizes as a sorted column without duplicates."""
    if isinstance(sizes, range) and len(sizes) > MOST_POINTS:
        raise InvalidValueError(f"the number of {field}", len(sizes), f"at most {MOST_POINTS}")
    if not isinstance(sizes, (range, np.ndarray)):
        sizes = [as_size(size, field) for size in (sizes if isinstance(sizes, Iterable) else [sizes])]
    if len(sizes) == 0:
        raise InvalidValueError(field, sizes, "at least one integer of at least 1")
    if not isinstance(sizes, np.ndarray) and max(sizes) >= 2**63:
        raise InvalidValueError(field, max(sizes), f"at most {2**63 - 1}")
    column = np.asarray(as_size(np.asarray(sizes), field))
    if column.dtype.kind not in "iu":
        raise InvalidValueError(field, column.flat[0], "integers of at least 1")
    return np.unique(column.astype(np.int64))


def check_fields(fields: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    """Fields with their values in final form, each once: numbers ascending, the neutral None first.

    Raises:
        InvalidValueError: a name that is no field or one that cannot be swept, no values, one that is not allowed.

    >>> check_fields({"buffer_bytes": [2048, 1024, 2048], "fold_timing": "serial"})
    {'buffer_bytes': (1024.0, 2048.0), 'fold_timing': ('serial',)}
    """
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise InvalidValueError("fields", fields, 'a mapping from fields to values, like {"buffer_bytes": [65536]}')
    return {name: _check_values(name, values) for name, values in fields.items()}


def _check_values(name: str, values: Any) -> tuple[Any, ...]:
    if name in _ARGUMENTS:
        reason = f"{name} has an argument of its own"
        raise InvalidValueError("fields", name, f"pass it as {_ARGUMENTS[name]}=", reason=reason)
    if name not in SWEPT:
        allowed = "a field of SystolicArray that holds a number, a name or a switch"
        form = "unknown field {value} in {field}{closest}; allowed: {allowed}"
        raise InvalidValueError("fields", name, allowed, names=(*SWEPT, *_ARGUMENTS), form=form)
    declared = SystolicArray.declarations[name]
    given = values.tolist() if isinstance(values, np.ndarray) else values
    several = isinstance(given, Iterable) and not isinstance(given, str)
    neutral, found = declared.neutral, []
    for value in given if several else (given,):
        is_one = is_real(value) or not declared.kind.sweeps
        if not (value is None and neutral is None) and not is_one:
            raise InvalidValueError(name, value, "numbers")
        found.append(value if value is None and neutral is None else declared.check(value, name))
    if not found:
        raise InvalidValueError(name, (), "at least one value")
    if len(found) > MOST_POINTS:
        raise InvalidValueError(f"the number of {name}", len(found), f"at most {MOST_POINTS}")
    return in_order(found)


def in_order(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values, each once; numbers ascending behind None."""
    distinct = list(dict.fromkeys(values))
    if all(value is None or is_real(value) for value in distinct):
        distinct.sort(key=lambda value: -math.inf if value is None else value)
    return tuple(distinct)


# ---------------------------------------------------------------- one machine


def machine_at(
    base: SystolicArray,
    dataflow: str | Dataflow,
    values: Mapping[str, Any],
    energy: str | EnergyTable | None = None,
    **sizes: int,
) -> tuple[SystolicArray, tuple[str, ...]]:
    """A machine of a sweep, and the fields among the values that have no effect on it.

    Args:
        base: the machine without what is swept.
        dataflow: the mapping.
        values: of the swept fields.
        energy: the table that has the figures of energy of this machine; else the base has them, if any has.
        sizes: rows and columns.
    """
    late = Energy.declarations.keys() if energy is not None else ()
    found = adapt(base, {name: value for name, value in values.items() if name not in late}, dataflow=dataflow, **sizes)
    array, dropped = found
    if energy is not None:
        array = with_energy(array, energy)
        array, more = adapt(array, {name: value for name, value in values.items() if name in late})
        dropped = (*dropped, *more)
    return array, tuple(name for name in dropped if name in values)


def names_of(values: Iterable[Any]) -> list[Any]:
    """Values of a field for JSON: rows of tables by their name, None for infinity."""
    return [None if value == math.inf else plain(value) for value in values]


def own_rows(values: Collection[Any]) -> list[str]:
    """The names of rows of the caller's own among some values."""
    return [str(value) for value in values if not isinstance(value, (str, bool, int, float, type(None)))]
