"""How far the figures of a network come from layers beyond those that a calibrated device was measured with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwcost.reports.tree import Row

__all__ = ["share_beyond", "without_total"]

_OF_TIME = ("cycles", "seconds", "share", "utilization", "bound")


def share_beyond(rows: Sequence[Row]) -> float:
    """The share of the time of rows that is beyond."""
    whole = float(sum(row.cost.seconds for row in rows))
    return float(sum(row.cost.seconds for row in rows if row.beyond)) / whole if whole else 0.0


def without_total(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a network or module without those that its time would tell."""
    idles = ("energy_joules", "idle_joules") if figures["idle_joules"] else ()
    names = (*_OF_TIME, "average_watts", "energy_delay", *idles)
    hidden = {name: None for name in figures if name in names or name.endswith("_cycles")}
    return figures | hidden | {"pe_cycles": dict.fromkeys(figures["pe_cycles"])}
