"""The picture of ``hwcost sweep``: maps of rows and columns or, if other fields are swept, curves over one of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hwcost.cli.sweep_context import Context
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.model.words import lower_bound
from hwcost.plot import save
from hwcost.plot.fields import MOST_CURVES, Quantity, fields_figure
from hwcost.plot.sweep import sweep_figure
from hwcost.sweep.shown import objectives_text, title_of, value_text
from hwcost.units import BYTES, ENERGIES, TIMES

__all__ = ["draw"]


def draw(path: str, context: Context) -> None:
    """Draws the points of a sweep into a file."""
    save(_curves(context) if context.varied else _maps(context), path)


def _maps(context: Context) -> Any:
    found: Any = context.found
    flows = np.asarray([DATAFLOWS[str(name)].summary for name in found.dataflows])[found.flow]
    columns = (found.rows, found.cols, flows, found.seconds, found.utilization)
    options = {"pe_budget": found.pe_budget, "title": _title(context), "arrays": found.base.arrays}
    beyond = context.extrapolated(np.arange(len(found)))
    return sweep_figure(*columns, found.front, **options, extrapolated=beyond)


def _curves(context: Context) -> Any:
    """Curves over the field with the most numbers, or else the most names; below, time by energy, PEs or bytes."""
    found = context.found
    name = max(context.varied, key=lambda each: (sum(map(_is_number, found.fields[each])), len(found.fields[each])))
    known = {value_text(name, value): value if _is_number(value) else None for value in found.fields[name]}
    quantities = [Quantity("time", found.seconds.tolist(), TIMES)]
    rivals = [Quantity("PEs", found.pes.tolist())]
    if found.dram_bytes is not None:
        quantities.append(Quantity("bytes of DRAM", found.dram_bytes.tolist(), BYTES))
        rivals.append(quantities[-1])
    if found.energy_joules is not None:
        quantities.append(Quantity("energy", found.energy_joules.tolist(), ENERGIES))
        rivals.insert(0, quantities[-1])
    against = next((each for each in rivals if len(set(each.column)) > 1), rivals[0])
    return fields_figure(
        title_of(name), found.codes[name].tolist(), known, _names(context, name), quantities, against,
        found.front.tolist(), title=_title(context, f"front of {objectives_text(context.found)}"),
        extrapolated=context.extrapolated(np.arange(len(found))),
    )  # fmt: skip


def _title(context: Context, *more: str) -> str:
    """The lines of the title, with the reason if times are lower bounds."""
    why = lower_bound(context.uncharged)
    return "\n".join([context.title, *more, *([f"lower bound: {why}"] if why else [])])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _names(context: Context, field: str) -> list[str]:
    """The curve of each point: by all that differs, or as much of it as few curves can show."""
    found = context.found
    parts = {"dataflow": found.dataflow} if len(found.dataflows) > 1 else {}
    for name in context.varied:
        if name != field:
            parts[name] = np.asarray([f"{title_of(name)} {value_text(name, value)}" for value in found.fields[name]])[
                found.codes[name]
            ]
    sizes = np.asarray(
        [f"{rows} x {cols}" for rows, cols in zip(found.rows.tolist(), found.cols.tolist(), strict=True)]
    )
    parts = {"array": sizes, **parts}
    while parts and len(set(zip(*(column.tolist() for column in parts.values()), strict=True))) > MOST_CURVES:
        parts.pop(max(parts, key=lambda name: len(set(parts[name].tolist()))))
    if not parts:
        return ["all"] * len(found)
    return [", ".join(texts) for texts in zip(*(column.tolist() for column in parts.values()), strict=True)]
