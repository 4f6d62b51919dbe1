"""The output of ``hwcost sweep``: a selection of points as text, every point as JSON or CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hwcost._version import __version__
from hwcost.cli.shared.documents import csv_blocks, json_blocks
from hwcost.cli.sweep_context import Context
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.energies import ENERGIES as TABLES
from hwcost.machine.words import title_of, value_text
from hwcost.model.words import lower_bound
from hwcost.sweep import SCHEMA
from hwcost.sweep.shown import objectives_text, point_columns, terms_of
from hwcost.tables import Column, Document, Documents
from hwcost.units import (
    BYTES,
    ENDS,
    ENERGIES,
    TIMES,
    between,
    in_unit,
    marked,
    number,
    plural,
)  # fmt: skip

__all__ = ["as_csv_blocks", "as_json_blocks", "document_of"]

_BLOCK = 4096
Points = Any


# ---------------------------------------------------------------- text


def document_of(context: Context, *, top: int | None, most: int, front_only: bool) -> Documents:
    """The fastest arrays within budgets of PEs, unless only the front is asked for, and the Pareto front.

    Rows of the front: at most ``top``; ``most`` if that is None and the front is not all that is printed.
    """
    found = context.found
    limit = top if top is not None or front_only else most
    front = found.front[found.at(found.front).ranked]
    shown = front[:limit]
    head = {} if front_only else _head(context)
    parts = [Document(below=head), *([] if front_only else [_budgets(context)])]
    title = f"{plural(len(front), 'point')} on the Pareto front of {objectives_text(found)}"
    if len(shown) < len(front):
        title += f"; the {number(len(shown))} fastest" if len(shown) > 1 else "; the fastest"
    legend = {f" {index}": text for index, text in enumerate(context.legend)}
    parts.append(replace(_table(context, title, shown), below=legend))
    terms = terms_of((column for part in parts for column in part.columns), head)
    return Documents([*parts[:-1], replace(parts[-1], terms=terms)])


def _head(context: Context) -> dict[str, str]:
    found = context.found
    arrays = len(np.unique(found.rows * (int(found.cols.max()) + 1) + found.cols)) if found.fields else _arrays(context)
    flows = ", ".join(DATAFLOWS[str(name)].summary for name in found.dataflows)
    within = "" if found.pe_budget is None else f", at most {number(found.pe_budget)} PEs"
    over = f"; {context.over}" if found.fields else ""
    layers, points = plural(len(context.network.priced), "layer"), plural(len(found), "point")
    texts = {
        "network": f"{context.title}; {layers}, {number(found.macs)} MACs",
        "arrays": f"{number(arrays)} of {_span(found.rows)} x {_span(found.cols)}{within}; {flows}{over}: {points}",
        "fastest": _point(context, found.fastest()),
        "busiest": _point(context, found.busiest()),
    } | ({} if found.energy_joules is None else {"most frugal": _point(context, found.most_frugal())})
    if why := lower_bound(found.uncharged):
        texts["lower bound"] = why
    if found.left_out:
        texts["left out"] = f"{plural(found.left_out, 'point')} with buffers that are too small for any tile"
    return texts


def _arrays(context: Context) -> int:
    """The number of sizes: those of each dataflow, of which none is left out on a machine without buffers."""
    found = context.found
    return int(np.bincount(found.flow).max())


def _span(sizes: Any) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}-{high}"


def _interval(point: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = (point.get(name) for name in ENDS)
    return None if low is None or high is None else (low, high)


def _point(context: Context, index: int) -> str:
    (point,) = context.found.points(np.array([index]))
    cycles, seconds = number(point["cycles"]), in_unit(point["seconds"], TIMES)
    used = f"{100 * point['utilization']:.2f} %"
    return (
        f"{point['rows']} x {point['cols']}, {DATAFLOWS[point['dataflow']].summary}"
        f"{''.join(f', {title_of(name)} {value_text(name, point[name])}' for name in context.varied)}: "
        f"{marked(cycles, point.get('extrapolated'))} cycles, {marked(seconds, point.get('extrapolated'))}"
        f"{between(_interval(point))}, "
        f"{marked(used, point.get('extrapolated'))} of {number(point['pes'])} PEs"
        f"{_more(point)}"
    )


def _more(point: Mapping[str, Any]) -> str:
    units = {"dram_bytes": BYTES, "energy_joules": ENERGIES}
    texts = (in_unit(point[name], unit, 4) for name, unit in units.items() if name in point)
    return "".join(f", {text}" for text in texts)


def _budgets(context: Context) -> Document:
    """The fastest point within each power of two of PEs, and in the whole sweep."""
    found = context.found
    least, largest = int(found.pes.min()), int(found.pes.max())
    powers = [2**i for i in range(least.bit_length() - 1, largest.bit_length()) if least <= 2**i < largest]
    best = [(budget, found.fastest(budget)) for budget in [*powers, largest]]
    indices = np.array([index for _, index in best])
    return _table(context, "the fastest within a budget of PEs", indices, [budget for budget, _ in best])


def _table(context: Context, title: str, indices: Any, budgets: list[int] | None = None) -> Document:
    points = list(context.found.points(indices))
    columns = point_columns(points, context.varied)
    if any(map(_interval, points)):
        columns.insert(5 + len(context.varied), Column[Points]("90 %", lambda p: between(_interval(p))[8:-1], rank=2))
    if budgets is not None:
        points = [point | {"budget": budget} for point, budget in zip(points, budgets, strict=True)]
        columns.insert(0, Column[Points]("budget", lambda p: number(p["budget"])))
    return Document(title, columns, points)


# ---------------------------------------------------------------- JSON and CSV


def _blocks(context: Context, chosen: Any, no_limit: float | None = None) -> Iterator[list[tuple[Any, ...]]]:
    """The points, block by block, with a value in place of an infinite one, which JSON has not."""
    on_front = context.found.on_front
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        flags = on_front[block].tolist()
        points = (
            [no_limit if value == math.inf else value for value in each.values()]
            for each in context.found.points(block)
        )
        yield [(*values, flag) for values, flag in zip(points, flags, strict=True)]


def _names(context: Context) -> tuple[str, ...]:
    return (*context.found.columns, "on_front")


def as_json_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """One document, in pieces: settings, the number of points, and the chosen ones as rows."""
    found = context.found
    head = {
        "settings": {
            "network": context.network.name,
            "source": context.source,
            **found.settings(),
            **_energy(context),
        },
        "points": len(found),
        "points_on_front": len(found.front),
    }
    return json_blocks(SCHEMA, head, _names(context), _blocks(context, chosen))


def _energy(context: Context) -> dict[str, Any]:
    """Where the figures of energy are from; those that follow the fields are at no place listed one by one."""
    name = context.found.energy
    if name is None:
        return context.machine.energy_settings
    row = TABLES[str(name)]
    return {"energy": row.name, "energy_source": {"node": row.node, "source": row.source}}


def as_csv_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """A header and a line for each chosen point, in pieces."""
    constants = {"schema": SCHEMA, "version": __version__, **context.found.constants}
    return csv_blocks(constants, _names(context), _blocks(context, chosen, math.inf))
