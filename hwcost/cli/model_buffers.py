"""``hwcost model`` over several sizes of the buffer: a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.model.columns import unit_column
from hwcost.model.words import lower_bound
from hwcost.network.buffers import BufferPoint, enough_for
from hwcost.tables import Column, Document, even
from hwcost.units import BYTES, ENERGIES, SIZES, TIMES, in_unit, layer_name, printable, shortlist

if TYPE_CHECKING:
    from hwcost.machine.array import SystolicArray
    from hwcost.network.network import Network

__all__ = ["as_csv", "as_json", "document_of"]

SCHEMA = "hwcost.model-buffers/1"
_NAMED = 2
"""Layers that a line names."""
_ENOUGH = 5
"""Layers of which the buffer is named with which they read nothing again."""
_LONGEST = 60
_TERMS = {
    "DRAM": "bytes to and from DRAM",
    "again": "those of operands that cross DRAM more than once, and of partial sums",
    "kept": "results that stay in the buffer between layers",
}


def _row(point: BufferPoint) -> dict[str, Any]:
    cost = point.cost
    return {
        "buffer_bytes": point.buffer_bytes, "cycles": cost.cycles, "seconds": cost.seconds,
        "utilization": cost.utilization, **cost.memory_figures,
        "dram_activation_weight_bytes": cost.dram_activation_weight_bytes,
        "again_bytes": point.again_bytes, "kept": point.kept,
    }  # fmt: skip


def document_of(
    points: Sequence[BufferPoint], network: Network, array: SystolicArray, head: str, *, left_out: Iterable[str] = ()
) -> Document:
    """The table, what times leave out, and the buffers with which the largest layers read each operand once."""
    cycles = even(point.cost.cycles for point in points)
    columns = [
        Column[BufferPoint]("buffer", lambda point: in_unit(point.buffer_bytes, SIZES, 4)),
        Column[BufferPoint]("cycles", lambda point: cycles(point.cost.cycles), rank=1),
        unit_column("time", points, lambda point: point.cost.seconds, TIMES),
        unit_column("DRAM", points, lambda point: point.cost.dram_bytes, BYTES),
        unit_column("again", points, lambda point: point.again_bytes or None, BYTES, "-"),
    ]
    if points[0].cost.energy_joules is not None:
        columns.append(unit_column("energy", points, lambda point: point.cost.energy_joules, ENERGIES))
    if any(point.kept for point in points):
        columns.append(Column("kept", lambda point: str(point.kept), rank=2))
    columns.append(Column("layers that read again", _again, to_the_left=True))
    why = lower_bound(left_out)
    enough = list(enough_for(network, array).items())
    named = ", ".join(f"{layer_name(name, _LONGEST)} with {in_unit(size, SIZES, 4)}" for name, size in enough[:_ENOUGH])
    others = "; all others with less" if len(enough) > _ENOUGH else ""
    below = {"lower bound": why} if why else {}
    below[" enough"] = f"buffers with which a layer reads each operand once: {named}{others}"
    titles = {column.name for column in columns}
    terms = {name: words for name, words in _TERMS.items() if name in titles}
    return Document(printable(head), columns, points, below=below, terms=terms)


def _again(point: BufferPoint) -> str:
    if not point.again:
        return "none"
    names = shortlist([layer_name(name, _LONGEST) for name in point.again], _NAMED)
    return f"{len(point.again)} ({names})"


def as_json(points: Sequence[BufferPoint], network: Network, array: SystolicArray, settings: Mapping[str, Any]) -> str:
    """One document: settings, a row for each size, and the buffer with which each layer reads its operands once."""
    rows = [_row(point) | {"again": list(point.again)} for point in points]
    enough = enough_for(network, array)
    return json_document(SCHEMA, {"settings": settings, "network": network.name, "rows": rows, "enough_bytes": enough})


def as_csv(points: Sequence[BufferPoint], network: Network) -> str:
    """A row for each size."""
    return csv_document(SCHEMA, [{"network": network.name} | _row(point) for point in points])
