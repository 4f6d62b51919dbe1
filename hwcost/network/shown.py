"""A network, and what it costs, as documents and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hwcost.arrays import is_number
from hwcost.model.columns import cost_columns, terms_of
from hwcost.model.cost import Cost
from hwcost.model.layout import is_zero
from hwcost.model.shapes import layer_shape
from hwcost.model.words import bytes_text, energy_text
from hwcost.tables import Column, Document
from hwcost.units import TIMES, in_unit, number, percent, plural, printable

__all__ = [
    "document_of", "network_document", "network_records", "network_words", "records_of", "widths_document", "words_of",
]  # fmt: skip

Network_: TypeAlias = Any
"""A Network, whose module imports this one."""
Report_: TypeAlias = Any
"""A Report, whose module imports this one."""

_FEW = 8


# ---------------------------------------------------------------- a network


def network_document(network: Network_) -> Document:
    """A line for each operation that is priced or unsupported: shape, MACs, weights, and the widths that it follows."""
    rows = [each for each in network_records(network) if each["state"] != "memory-only"]
    columns = [
        Column[Any]("operation", lambda row: printable(row["name"]), to_the_left=True),
        Column[Any]("shape", lambda row: printable(row["shape"]), to_the_left=True),
        Column[Any]("MACs", lambda row: _count(row["macs"])),
        Column[Any]("weights", lambda row: _count(row["weights"])),
        Column[Any]("follows", lambda row: printable(row["widths"]), to_the_left=True, rank=1),
    ]
    below = {"total": network_words(network)}
    if network.options:
        below["open"] = ", ".join(f"{name}: {_options(own)}" for name, own in network.options.items())
    below |= {f" note {index}": f"{'note':<13}{note}" for index, note in enumerate(network.notes)}
    missing = ", ".join(map(printable, network.unsupported))
    alert = f"MISSING      not supported: {missing}" if missing else ""
    terms = {"weights": "elements", "follows": "the widths that its sizes follow"}
    return Document(printable(network.name), columns, rows, below=below, terms=terms, alert=alert)


def _count(value: Any) -> str:
    return "an array" if not is_number(value) else number(value) if value else ""


def _options(sizes: Sequence[int]) -> str:
    own = list(sizes)
    return ", ".join(map(str, own)) if len(own) <= _FEW else f"{len(own)} sizes from {min(own)} to {max(own)}"


def widths_document(widths: Mapping[str, Any]) -> Document:
    """A line for each width: its size today, what sizes it may take, or why it cannot change."""
    columns = [
        Column[str]("width", printable, to_the_left=True),
        Column[str]("size", lambda name: number(widths[name].size)),
        Column[str]("multiple of", lambda name: number(widths[name].multiple)),
        Column[str]("fixed", lambda name: printable(widths[name].fixed), to_the_left=True),
    ]
    changeable = sum(not width.fixed for width in widths.values())
    heading = f"{plural(len(widths), 'width')}, {changeable} of which can change"
    return Document(heading, columns, list(widths), terms={"fixed": "why it cannot change"})


def network_words(network: Network_) -> str:
    """What it has on one line."""
    records = network_records(network)
    macs, weights = (sum(each[name] for each in records) for name in ("macs", "weights"))
    counts = f"{number(macs)} MACs, {number(weights)} weights" if is_number(macs) else "whose sizes are arrays"
    free = len(network.memory_only)
    return (
        f"{network.name}: {plural(len(network.priced), 'layer')}, {counts}"
        f"{f', {free} operations that only move memory' if free else ''}"
        f"{f', {len(network.unsupported)} not supported' if network.unsupported else ''}"
    )


def network_records(network: Network_) -> list[dict[str, Any]]:
    """A dictionary for each operation."""
    found = []
    for name, operation in network.operations.items():
        layer = operation.layer
        gemms = layer.gemms() if operation.is_priced else ()
        state = "priced" if operation.is_priced else "unsupported" if name in network.unsupported else "memory-only"
        found.append({
            "name": name, "path": operation.path, "kind": operation.kind, "state": state,
            "shape": layer_shape(layer) if operation.is_priced else str(layer),
            "macs": sum(gemm.macs for gemm in gemms),
            "weights": sum(gemm.elements("weights") for gemm in gemms if is_zero(gemm.of_activations)),
            "widths": ", ".join(operation.widths),
        })  # fmt: skip
    return found


# ---------------------------------------------------------------- its cost


def document_of(report: Report_) -> Document:
    """A line for each layer; the heading alone if costs are arrays."""
    if not is_number(report.total.cycles):
        return Document(words_of(report))
    rows = [name for name, cost in report.layers.items() if cost.cycles or cost.dram_bytes]
    costs = cost_columns(rows, report.layers.__getitem__, report.total)
    columns = [Column[str]("operation", printable, to_the_left=True), *costs.values()]
    figures = report.total.memory_figures
    below = {"total": _totals(report.total), "bytes": bytes_text(figures, report.total.dram_activation_weight_bytes)}
    if report.total.energy_joules is not None:
        below["energy"] = energy_text(figures)
    missing = ", ".join(map(printable, report.unsupported))
    alert = f"MISSING      not in these totals: {missing}" if missing else ""
    return Document(words_of(report), columns, rows, below=below, terms=terms_of(columns), alert=alert)


def words_of(report: Report_) -> str:
    """The totals on one line."""
    cost = report.total
    if is_number(cost.cycles):
        layers = plural(sum(bool(each.macs) for each in report.layers.values()), "layer")
        return f"{layers}: {number(cost.cycles)} cycles, {in_unit(cost.seconds, TIMES)}, {_used(cost)}"
    shape = tuple(getattr(cost.cycles, "shape", ()))
    return f"{plural(len(report.layers), 'operation')}: costs are {type(cost.cycles).__name__}s of shape {shape}"


def _totals(cost: Cost) -> str:
    return f"{number(cost.macs)} MACs, {number(cost.cycles)} cycles, {in_unit(cost.seconds, TIMES)}, {_used(cost)}"


def _used(cost: Cost) -> str:
    return f"{percent(cost.utilization)} % utilization"


def records_of(report: Report_) -> list[dict[str, Any]]:
    """A dictionary for each layer: its name, and every figure of its cost."""
    return [{"name": name} | cost.as_dict() for name, cost in report.layers.items()]
