"""Columns of tables of costs: cycles, time, share, utilization, bound, folds, bytes and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hwcost.model.cost import Cost
from hwcost.tables import Column, even, even_percent, even_unit
from hwcost.units import BYTES, ENERGIES, TIMES, Units, number

__all__ = ["TERMS", "cost_columns", "terms_of", "unit_column"]

_T = TypeVar("_T")
_OF_BOUND = {"compute": "blue", "memory": "red", "overhead": "magenta"}
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
    costs = [cost(row) for row in rows]
    cycles, (unit, time) = even(own.cycles for own in costs), even_unit((own.seconds for own in costs), TIMES)
    shares = even_percent(own.cycles / whole.cycles for own in costs if whole.cycles)
    uses = even_percent(own.utilization for own in costs if own.macs)

    def share(row: _T) -> float | None:
        return cost(row).cycles / whole.cycles if whole.cycles and cost(row).cycles else None

    def used(row: _T) -> float | None:
        return cost(row).utilization if cost(row).macs else None

    def share_text(own: Cost) -> str:
        return shares(own.cycles / whole.cycles) if whole.cycles else ""

    def used_text(own: Cost) -> str:
        return uses(own.utilization) if own.macs else ""

    found = {
        "cycles": Column[_T]("cycles", figure(lambda own: cycles(own.cycles))),
        "time": Column[_T](f"time[{unit}]", figure(lambda own: time(own.seconds))),
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
    found["DRAM"] = unit_column("DRAM", rows, lambda row: cost(row).dram_bytes, BYTES)
    if whole.energy_joules is not None:
        found["energy"] = unit_column("energy", rows, lambda row: cost(row).energy_joules, ENERGIES)
    return found


def unit_column(
    title: str,
    rows: Sequence[_T],
    value: Callable[[_T], Any],
    units: Units,
    missing: str | None = None,
    *,
    rank: int = 0,
) -> Column[_T]:
    """A column of figures in the unit of the largest: ``missing`` for None, or nothing for None and zero without it."""
    unit, text = even_unit((value(row) or 0.0 for row in rows), units)

    def shown(row: _T) -> str:
        figure = value(row)
        if missing is not None:
            return missing if figure is None else text(figure)
        return text(figure) if figure else ""

    return Column(f"{title}[{unit}]", shown, rank=rank)


def _by_use(cost: Cost) -> dict[str, Any]:
    used = cost.utilization
    return {"fg": "green" if used >= 0.6 else "yellow" if used >= 0.25 else "red"}
