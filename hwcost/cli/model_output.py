"""The output of ``hwcost model`` for programs: its lines as JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import Machine
from hwcost.reports import Summary
from hwcost.reports.lines import Line, line_dict
from hwcost.reports.rows import flattened

__all__ = ["as_csv", "as_json", "settings_of"]

SCHEMA = "hwcost.model/1"


def settings_of(summary: Summary, machine: Machine) -> dict[str, Any]:
    """The array as plain data, and where its figures of energy are from; an infinite bandwidth is null."""
    figures = summary.array.as_dict()
    return {"device": machine.name, **machine.energy_settings} | {
        name: None if value == float("inf") else value for name, value in figures.items()
    }


def as_json(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any], *, left_out: int) -> str:
    """One document: settings, totals, what is missing, the lines, and the subtotals of all modules."""
    free = summary.of("memory-only")
    content = (
        {"settings": settings}
        | summary.as_dict()
        | {
            "memory_only": {"operations": len(free), "bytes": sum(row.traffic.bytes() for row in free)},
            "rows": [line_dict(summary, line) for line in lines],
            "left_out": left_out,
        }
    )
    return json_document(SCHEMA, content)


def as_csv(summary: Summary, lines: Sequence[Line], settings: Mapping[str, Any]) -> str:
    """The lines as comma-separated values, with a header."""
    head: dict[str, Any] = {"network": summary.name}
    head |= {name: settings[name] for name in ("device", "rows", "cols", "dataflow", "fold_timing", "clock_hz")}
    names = (*head, "name", "path", "kind", "state", "shape", "reason", *flattened(summary.figures()), "extrapolated")
    return csv_document(SCHEMA, [head | flattened(line_dict(summary, line)) for line in lines], names)
