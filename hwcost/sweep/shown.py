"""The points of a sweep as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from hwcost.machine.words import title_of, value_text
from hwcost.model.columns import TERMS as COST_TERMS
from hwcost.model.columns import unit_column
from hwcost.model.words import lower_bound
from hwcost.sweep.objectives import OBJECTIVES
from hwcost.tables import Column, Document, even, even_percent, even_unit
from hwcost.units import (
    BYTES,
    ENERGIES,
    NOT_SHOWN,
    TIMES,
    Units,
    in_unit,
    marked,
    number,
    percent,
    plural,
)

__all__ = ["TERMS", "document_of", "objectives_text", "point_columns", "terms_of", "words_of"]

Sweep_: TypeAlias = Any
"""A Sweep, whose module imports this one."""

Point = dict[str, Any]
TERMS = {
    "fastest": "the shortest time",
    "busiest": "the highest utilization",
    "most frugal": "the least energy",
    "PEs": "processing elements",
    "util": COST_TERMS["util"],
    "DRAM": COST_TERMS["DRAM"],
    "SRAM": "bytes to and from the buffers on the chip",
    "90 %": "the ends between which the time lies with 90 %",
}
"""What the lines and columns mean."""
_OF_MEMORY: dict[int, tuple[str, str, Units]] = {
    3: ("dram_bytes", "DRAM", BYTES), 4: ("sram_bytes", "SRAM", BYTES), 2: ("energy_joules", "energy", ENERGIES),
}  # fmt: skip
"""The columns of memory, by the rank by which a narrow terminal leaves them out."""
_MOST = 20


def point_columns(points: Sequence[Point], varied: Iterable[str]) -> list[Column[Point]]:
    """Columns of points as dictionaries, with those of the fields that vary."""

    def known(text: Callable[[Point], str]) -> Callable[[Point], str]:
        return lambda point: marked(text(point), point.get("extrapolated"))

    cycles, used = even(point["cycles"] for point in points), even_percent(point["utilization"] for point in points)
    unit, time = even_unit((point["seconds"] for point in points), TIMES)
    return [
        Column("array", lambda point: f"{point['rows']} x {point['cols']}"),
        Column("dataflow", lambda point: point["dataflow"], to_the_left=True),
        *(_field(name) for name in varied),
        Column("PEs", lambda point: number(point["pes"])),
        Column("cycles", known(lambda point: cycles(point["cycles"]))),
        Column(f"time[{unit}]", known(lambda point: time(point["seconds"])), rank=1),
        Column("util[%]", known(lambda point: used(point["utilization"])), share=lambda point: point["utilization"]),
        *(_of_memory(points, *each, rank) for rank, each in _OF_MEMORY.items() if points and each[0] in points[0]),
    ]


def _field(name: str) -> Column[Point]:
    return Column(title_of(name), lambda point: value_text(name, point[name]))


def _of_memory(points: Sequence[Point], name: str, title: str, units: Units, rank: int) -> Column[Point]:
    return unit_column(title, points, lambda point: point[name], units, NOT_SHOWN, rank=rank)


def terms_of(columns: Iterable[Column[Any]], lines: Iterable[str] = ()) -> dict[str, str]:
    """What columns and lines mean, as far as they are there."""
    there = {*(column.name for column in columns), *lines}
    return {name: words for name, words in TERMS.items() if name in there}


def document_of(found: Sweep_) -> Document:
    """The fastest points of the front."""
    front = found.front[found.at(found.front).ranked]
    points = list(found.points(front[:_MOST]))
    varied = [name for name, values in found.fields.items() if len(values) > 1]
    below = {"fastest": _best(found, found.fastest()), "busiest": _best(found, found.busiest())}
    if found.energy_joules is not None:
        below["most frugal"] = _best(found, found.most_frugal())
    if why := lower_bound(found.uncharged):
        below["lower bound"] = why
    if found.left_out:
        below["left out"] = f"{plural(found.left_out, 'point')} with buffers that are too small for any tile"
    columns = point_columns(points, varied)
    return Document(words_of(found), columns, points, len(front) - len(points), below, terms_of(columns, below))


def words_of(found: Sweep_) -> str:
    """How many points there are, and of what the front is."""
    those = "" if len(found) == 1 else f"{number(len(found.front))} of them "
    return f"{plural(len(found), 'point')}, {those}on the Pareto front of {objectives_text(found)}"


def _best(found: Sweep_, index: int) -> str:
    (point,) = found.points([index])
    used = percent(point["utilization"])
    return f"{point['rows']} x {point['cols']} {point['dataflow']}, {in_unit(point['seconds'], TIMES, 4)}, {used} %"


def objectives_text(found: Sweep_) -> str:
    """What the front is of; at one clock, that of time and PEs is that of utilization too."""
    words = [OBJECTIVES[name].words for name in found.objectives]
    if {"time", "pes"} <= set(found.objectives) and found.objectives[0] == "time" and "clock_hz" not in found.fields:
        words.insert(1, "utilization")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
