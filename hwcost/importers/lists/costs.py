"""Tables of measured costs as CSV files: a row for each layer, input width and output width.

    layer,in,out,ms
    conv1,3,16,0.021
    conv1,3,24,0.020

The cost is in one of the columns ``s``, ``ms``, ``us`` and ``cycles``. With a column of time and one of cycles, the
cycles count if one clock explains all of them. If none does, the time counts, and a warning says so.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np

from hwcost.advice.measured import LARGEST_SIDE, MeasuredCosts
from hwcost.errors import MISSING, InvalidValueError, unknown, warn_caller
from hwcost.files import write_given
from hwcost.importers.lists.rows import by_column, csv_rows, read_number, read_size
from hwcost.units import as_cell, of_cell

__all__ = ["costs_csv", "read_costs", "write_costs"]

_KEYS = ("layer", "in", "out")
_TIMES = {"s": 1.0, "ms": 1e3, "us": 1e6}
"""How many of a unit are a second."""
_COLUMNS = (*_KEYS, *_TIMES, "cycles")
_CLOCK_TOLERANCE = 1e-6


def read_costs(path: str | os.PathLike[str]) -> MeasuredCosts:
    """The measured costs in a CSV file with the columns layer, in, out and one of s, ms, us and cycles.

    Args:
        path: of the file. Layers are named as :func:`hwcost.from_torch` names them, which is as in the module.

    Raises:
        InvalidValueError: a file that cannot be read, a column that is missing or unknown, and, with the line: a size
            that is no integer of at least 1, a cost that is no number of at least 0, sizes that are there twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "costs.csv")
    ...     write_costs(path, MeasuredCosts({"fc": {(8, 4): 2e-6, (8, 2): 1.5e-6}}))
    ...     read_costs(path)
    <MeasuredCosts: 1 layer, 2 rows in seconds>
    """
    name = os.fspath(path)
    rows = csv_rows(name, "the table of costs")
    header = next(rows, (0, []))[1]
    time = _check_header(name, header)
    lines: dict[tuple[str, int, int], int] = {}
    found: dict[str, list[tuple[float, ...]]] = {}
    for line, cells in rows:
        source = f"{name}, line {line}"
        row = by_column(header, cells, source)
        layer = of_cell(row["layer"])
        if not layer:
            raise InvalidValueError(f"{source}: layer", MISSING, "the name of a layer")
        sizes = _side(row["in"], f"{source}: in"), _side(row["out"], f"{source}: out")
        key = (layer, *sizes)
        if key in lines:
            reason = f"line {lines[key]} has {layer!r} with in {sizes[0]} and out {sizes[1]} as well"
            raise InvalidValueError(source, row["layer"], "leave one of them out", reason=reason)
        lines[key] = line
        costs = (_cost(row[column], f"{source}: {column}") for column in (time, "cycles") if column in header)
        found.setdefault(layer, []).append((*sizes, *costs))
    if not found:
        raise InvalidValueError("the table of costs", name, "write rows below its header", reason=f"{name} has no rows")
    table = _costs({layer: np.array(own, dtype=np.float64) for layer, own in found.items()}, time)
    if time and "cycles" in header and table.measure == "seconds":
        text = f"{time} and cycles of {name} disagree: no one clock explains both; {time} counts, and cycles do not"
        warn_caller(text)
    return table


def _costs(tables: Mapping[str, np.ndarray], time: str | None) -> MeasuredCosts:
    if time is None:
        return MeasuredCosts(tables, "cycles")
    of_a_second = _TIMES[time]
    seconds = {layer: np.column_stack([own[:, :2], own[:, 2] / of_a_second]) for layer, own in tables.items()}
    every = np.concatenate(list(tables.values()))
    if every.shape[1] == 4 and every[:, 2].sum() > 0:
        clock = every[:, 3].sum() / (every[:, 2].sum() / of_a_second)
        if clock > 0 and np.allclose(every[:, 2] / of_a_second * clock, every[:, 3], rtol=_CLOCK_TOLERANCE, atol=0):
            cycles = {layer: own[:, [0, 1, 3]] for layer, own in tables.items()}
            return MeasuredCosts(cycles, "cycles", float(clock))
    return MeasuredCosts(seconds)


def _check_header(name: str, header: Sequence[str]) -> str | None:
    """The column of time, if any; raises if a column is missing or unknown."""
    where, shown = f"{name}: the header", ", ".join(header)
    needed = "the columns layer, in, out, and one of s, ms, us and cycles"
    if len(header) == 1 and header[0] not in _COLUMNS:  # as of semicolons
        raise InvalidValueError(where, shown, f"{needed}, between commas")
    for column in header:
        if column not in _COLUMNS:
            raise InvalidValueError(name, column, _COLUMNS, form=unknown("column"))
    missing = [column for column in _KEYS if column not in header]
    times = [column for column in header if column in _TIMES]
    if missing or not (times or "cycles" in header):
        raise InvalidValueError(where, shown, needed)
    if len(times) > 1:
        reason = f"the columns {times[0]!r} and {times[1]!r} are both times"
        raise InvalidValueError(where, shown, "keep one of them", reason=reason)
    return times[0] if times else None


def _side(text: str, place: str) -> int:
    size = read_size(text, place)
    if not 1 <= size <= LARGEST_SIDE:
        raise InvalidValueError(place, text, f"an integer from 1 to {LARGEST_SIDE}")
    return size


def _cost(text: str, place: str) -> float:
    cost = read_number(text, place)
    if cost < 0:
        raise InvalidValueError(place, text, "a number of at least 0")
    return cost


def costs_csv(costs: MeasuredCosts) -> str:
    """A table as the text of a CSV file: ms, and cycles if these are known; names that look like formulas escaped."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = costs.columns
    writer.writerow(columns)
    for layer in costs.layers:
        if not layer.isprintable() or layer != layer.strip():
            raise InvalidValueError("the name of a layer", layer, "printable text without spaces around it")
    cells = (map(as_cell, column) if name == "layer" else _texts(column) for name, column in columns.items())
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue()


def _texts(figures: np.ndarray) -> np.ndarray:
    """Numbers in the fewest digits that read back as the same number; whole ones without a point."""
    is_whole = (figures == np.rint(figures)) & (np.abs(figures) < 2**53)
    return np.array(
        [str(int(each)) if whole else repr(float(each)) for each, whole in zip(figures, is_whole, strict=True)]
    )


def write_costs(path: str | os.PathLike[str], costs: MeasuredCosts) -> None:
    """Writes a table that :func:`read_costs` reads back.

    Raises:
        InvalidValueError: a name that a file cannot hold, a path that cannot be written.
    """
    write_given(path, costs_csv(costs).encode(), "the file")
