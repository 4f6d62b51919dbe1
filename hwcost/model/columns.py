"""Columns of tables of costs: cycles, time, share, utilization, bound, folds, bytes and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hwcost.model.cost import Cost
from hwcost.tables import Column
from hwcost.units import BYTES, ENERGIES, TIMES, Units, number, percent, unit_of

__all__ = ["TERMS", "cost_columns", "scaled", "terms_of"]

_T = TypeVar("_T")
_OF_BOUND = {"compute": "blue", "memory": "red", "overhead": "magenta"}
_SMALLEST = 1e-3
TERMS = {
    "share": "of all cycles",
    "util": "MACs over all that the processing elements could have done (cycles x PEs)",
    "bound": "the longest of compute, memory and overhead",
    "folds": "passes over the array",
    "rows, cols": "PE-cycles on rows or columns that a fold leaves empty (ragged)",
    "arrays": "the same of whole arrays",
    "slow": "PE-cycles that rows take in addition",
    "fill": "PE-cycles in which folds fill and drain",
    "over": "PE-cycles of start-up and other overhead",
    "wait": "PE-cycles in which the array waits for memory",
    "DRAM": "bytes to and from DRAM",
}
"""What the columns mean."""


def terms_of(columns: Iterable[Column[Any]]) -> dict[str, str]:
    """The terms among the titles of columns, with their meaning."""
    titles = {column.title.partition("[")[0] for column in columns}
    return {name: words for name, words in TERMS.items() if titles & set(name.split(", "))}


def scaled(value: float, scale: float) -> str:
    """A figure in the unit of its column: four digits, and none that are beyond a thousandth of the unit.

    >>> scaled(0.0061, 1e-3), scaled(2.84e-9, 1e-3), scaled(0.0, 1e-3)
    ('6.1', '<0.001', '0')
    """
    found = value / scale
    return f"<{_SMALLEST:g}" if 0 < found < _SMALLEST else f"{found:.4g}"


def cost_columns(
    rows: Sequence[_T],
    cost: Callable[[_T], Cost],
    whole: Cost,
    shown: Callable[..., Callable[[_T], str]] | None = None,
) -> dict[str, Column[_T]]:
    """Columns of the costs of rows, by what they show; without those that the whole has nothing of.

    Args:
        rows: of the table.
        cost: that of a row.
        whole: of which shares are.
        shown: makes the text of a row from a function of its cost, the name of the column, and ``of_total`` if the
            whole tells it too.
    """

    def plain(text: Callable[[Cost], str], **_: bool) -> Callable[[_T], str]:
        return lambda row: text(cost(row)) if cost(row).cycles else ""

    figure = shown or plain
    scale, unit = unit_of(max((cost(row).seconds for row in rows), default=0.0), TIMES)

    def share(row: _T) -> float | None:
        return cost(row).cycles / whole.cycles if whole.cycles and cost(row).cycles else None

    def used(row: _T) -> float | None:
        return cost(row).utilization if cost(row).macs else None

    def share_text(own: Cost) -> str:
        return percent(own.cycles / whole.cycles) if whole.cycles else ""

    def used_text(own: Cost) -> str:
        return percent(own.utilization) if own.macs else ""

    found = {
        "cycles": Column[_T]("cycles", figure(lambda own: number(own.cycles))),
        "time": Column[_T](f"time[{unit}]", figure(lambda own: scaled(own.seconds, scale))),
        "share": Column[_T](
            "share[%]", figure(share_text, of_total=True), share=share, has_bar=True, words=TERMS["share"]
        ),
        "util": Column[_T](
            "util[%]", figure(used_text), colour=lambda row: _by_use(cost(row)), share=used, words=TERMS["util"]
        ),
    }
    if whole.memory_cycles or whole.overhead_cycles:
        found["bound"] = Column[_T](
            "bound", figure(lambda own: str(own.bound), mark=False), True,
            lambda row: {"fg": _OF_BOUND[str(cost(row).bound)]}, words=TERMS["bound"], rank=1,
        )  # fmt: skip
    found["folds"] = Column[_T](
        "folds", lambda row: number(cost(row).folds) if cost(row).cycles else "", words=TERMS["folds"], rank=2
    )
    found["DRAM"] = _of_units("DRAM", rows, lambda row: cost(row).dram_bytes, BYTES)
    if whole.energy_joules is not None:
        found["energy"] = _of_units("energy", rows, lambda row: cost(row).energy_joules, ENERGIES)
    return found


def _of_units(title: str, rows: Sequence[_T], value: Callable[[_T], Any], units: Units) -> Column[_T]:
    scale, unit = unit_of(max((value(row) or 0.0 for row in rows), default=0.0), units)
    return Column(f"{title}[{unit}]", lambda row: scaled(value(row), scale) if value(row) else "")


def _by_use(cost: Cost) -> dict[str, Any]:
    used = cost.utilization
    return {"fg": "green" if used >= 0.6 else "yellow" if used >= 0.25 else "red"}
