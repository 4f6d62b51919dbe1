"""``hwcost model`` over several sizes of the buffer: a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.model.words import lower_bound
from hwcost.network.buffers import BufferPoint, enough_for
from hwcost.tables import Column, table
from hwcost.units import BYTES, ENERGIES, SIZES, TIMES, in_unit, labelled, number, printable, shortlist

if TYPE_CHECKING:
    from hwcost.machine.array import SystolicArray
    from hwcost.network.network import Network

__all__ = ["as_csv", "as_json", "as_text"]

SCHEMA = "hwcost.model-buffers/1"
_NAMED = 2
"""Layers that a line names."""
_ENOUGH = 5
"""Layers of which the buffer is named with which they read nothing again."""


def _row(point: BufferPoint) -> dict[str, Any]:
    cost = point.cost
    return {
        "buffer_bytes": point.buffer_bytes, "cycles": cost.cycles, "seconds": cost.seconds,
        "utilization": cost.utilization, **cost.memory_figures,
        "dram_activation_weight_bytes": cost.dram_activation_weight_bytes,
        "again_bytes": point.again_bytes, "kept": point.kept,
    }  # fmt: skip


def as_text(
    points: Sequence[BufferPoint], network: Network, array: SystolicArray, head: str, *, left_out: Iterable[str] = ()
) -> Iterator[str]:
    """The table, what times leave out, and the buffers with which the largest layers read each operand once."""
    columns = [
        Column[BufferPoint]("buffer", lambda point: in_unit(point.buffer_bytes, SIZES, 4)),
        Column[BufferPoint]("cycles", lambda point: number(point.cost.cycles)),
        Column[BufferPoint]("time", lambda point: in_unit(point.cost.seconds, TIMES, 4)),
        Column[BufferPoint]("DRAM", lambda point: in_unit(point.cost.dram_bytes, BYTES, 4)),
        Column[BufferPoint]("again", lambda point: in_unit(point.again_bytes, BYTES, 4) if point.again_bytes else "-"),
    ]
    if points[0].cost.energy_joules is not None:
        columns.append(Column("energy", lambda point: in_unit(point.cost.energy_joules or 0.0, ENERGIES, 4)))
    if any(point.kept for point in points):
        columns.append(Column("kept", lambda point: str(point.kept)))
    columns.append(Column("layers that read again", _again, to_the_left=True))
    yield printable(head)
    yield ""
    yield from table(columns, points)
    yield ""
    if why := lower_bound(left_out):
        yield labelled("lower bound", why)
    enough = list(enough_for(network, array).items())
    named = ", ".join(f"{printable(name)} {in_unit(size, SIZES, 4)}" for name, size in enough[:_ENOUGH])
    yield f"each operand can be read once with: {named}{'; all others with less' if len(enough) > _ENOUGH else ''}"


def _again(point: BufferPoint) -> str:
    if not point.again:
        return "none"
    return f"{len(point.again)}: {shortlist([printable(name) for name in point.again], _NAMED, ',')}"


def as_json(points: Sequence[BufferPoint], network: Network, array: SystolicArray, settings: Mapping[str, Any]) -> str:
    """One document: settings, a row for each size, and the buffer with which each layer reads its operands once."""
    rows = [_row(point) | {"again": list(point.again)} for point in points]
    enough = enough_for(network, array)
    return json_document(SCHEMA, {"settings": settings, "network": network.name, "rows": rows, "enough_bytes": enough})


def as_csv(points: Sequence[BufferPoint], network: Network) -> str:
    """A row for each size."""
    return csv_document(SCHEMA, [{"network": network.name} | _row(point) for point in points])
