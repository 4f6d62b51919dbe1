"""The rows of a report as lines: a tree of modules with subtotals, or a list, sorted and cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from hwcost.reports.tree import Module, Row

__all__ = ["SORTS", "Line", "line_dict", "lines_of"]

Summary_: TypeAlias = Any
"""A Summary, whose module imports this one."""


class Line(NamedTuple):
    """A line of the report: an operation, or a module with its subtotal.

    Attributes:
        part: the row or module.
        label: its name in the tree.
        depth: its depth in the tree.
        is_open: whether the operations of a module have lines of their own.
    """

    part: Row | Module
    label: str
    depth: int
    is_open: bool

    @property
    def name(self) -> str:
        """The full name, with those of its modules."""
        return self.part.name if isinstance(self.part, Row) else self.part.path


SORTS: Mapping[str, Callable[[Line], Any]] = {
    "cycles": lambda line: -line.part.cost.cycles,
    "time": lambda line: -line.part.cost.seconds,
    "macs": lambda line: -line.part.cost.macs,
    "utilization": lambda line: line.part.cost.utilization if line.part.cost.cycles else 2.0,
    "waste": lambda line: -line.part.breakdown.idle,
    "bytes": lambda line: -line.part.cost.dram_bytes,
    "energy": lambda line: -(line.part.cost.energy_joules or 0.0),
    "name": lambda line: line.name,
    "order": lambda line: 0,
}
"""The keys that lines are sorted by, worst first."""


def lines_of(summary: Summary_, *, depth: int | None = None, everything: bool = False) -> list[Line]:
    """The tree as lines, collapsed below a depth; with everything, operations that only move memory are included."""
    shown = [row for row in summary.rows if everything or row.state != "memory-only" or row.cost.cycles]
    found = list(summary.tree.only(shown).walk())
    kept = [each for each in found if depth is None or each[0] < depth]
    return [
        Line(part, label, level, isinstance(part, Module) and (depth is None or level + 1 < depth))
        for level, label, part in kept
    ]


def line_dict(summary: Summary_, line: Line) -> dict[str, Any]:
    """A line as plain data."""
    if isinstance(line.part, Row):
        return dict(summary.row_dict(line.part))
    words = {"name": line.part.path, "path": line.part.path, "kind": "module", "state": "module", "shape": ""}
    return words | dict(summary.figures(line.part))
