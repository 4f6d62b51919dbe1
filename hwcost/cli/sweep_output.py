"""The output of ``hwcost sweep``: a selection of points as text, every point as JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hwcost._version import __version__
from hwcost.cli.shared.documents import csv_blocks, json_blocks
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.sweep import SCHEMA, Sweep
from hwcost.tables import Column, is_terminal, table
from hwcost.units import (
    CLOCKS,
    TIMES,
    column_format,
    exact,
    in_unit,
    labelled,
    plural,
    printable,
    shorten_name,
    unit_of,
)

if TYPE_CHECKING:
    from hwcost.cli.shared.machines import Machine
    from hwcost.network.network import Network

__all__ = ["Context", "as_csv_blocks", "as_json_blocks", "as_text"]

_BLOCK = 4096
Points = Any


class Context(NamedTuple):
    """The points found in a sweep of a network, read from a source, on a machine except for its rows and columns."""

    network: Network
    source: str
    machine: Machine
    found: Sweep

    @property
    def title(self) -> str:
        """The network and the settings that all arrays share, on one line."""
        base = self.found.base
        device = "" if self.machine.name is None else f"{self.machine.name}, "
        timing = f"{base.fold_timing} folds, {in_unit(base.clock_hz, CLOCKS)}"
        return f"{shorten_name(printable(self.network.name), 100)}: {device}{timing}"


# ---------------------------------------------------------------- text


def as_text(context: Context, *, top: int | None, most: int, front_only: bool) -> str:
    """The fastest arrays within budgets of PEs, unless only the front is asked for, and the Pareto front.

    Rows of the front: at most ``top``; ``most`` if that is None and the front is not all that is printed.
    """
    found = context.found
    limit = top if top is not None or front_only else most
    front = found.front[found.at(found.front).ranked]
    shown = front[:limit]
    parts = [] if front_only else ["\n".join(_head(context)), "\n".join(_budgets(found))]
    title = f"{plural(len(front), 'point')} on the Pareto front of time, utilization and PEs"
    if len(shown) < len(front):
        title += f"; the {len(shown)} fastest" if len(shown) > 1 else "; the fastest"
    return "\n\n".join([*parts, "\n".join([title, *_table(found, shown)])])


def _head(context: Context) -> Iterator[str]:
    found = context.found
    arrays = len(found) // len(found.dataflows)
    flows = ", ".join(DATAFLOWS[str(name)].summary for name in found.dataflows)
    within = "" if found.pe_budget is None else f", at most {found.pe_budget} PEs"
    layers, points = plural(len(context.network.priced), "layer"), plural(len(found), "point")
    texts = {
        "network": f"{context.title}; {layers}, {found.macs} MACs",
        "arrays": f"{arrays} of {_span(found.rows)} x {_span(found.cols)}{within}; {flows}: {points}",
        "fastest": _point(found, found.fastest()),
        "busiest": _point(found, _busiest(found)),
    }
    return (labelled(name, text) for name, text in texts.items())


def _span(sizes: Any) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}-{high}"


def _busiest(found: Sweep) -> int:
    """The point with the highest utilization; if several have it, the fastest of them, which is on the front."""
    front = found.at(found.front)
    return int(found.front[np.lexsort((front.pes, front.cycles, -front.utilization))[0]])


def _point(found: Sweep, index: int) -> str:
    (point,) = found.points(np.array([index]))
    return (
        f"{point['rows']} x {point['cols']}, {DATAFLOWS[point['dataflow']].summary}: {exact(point['cycles'])} "
        f"cycles, {in_unit(point['seconds'], TIMES)}, {100 * point['utilization']:.2f} % of {point['pes']} PEs"
    )


def _budgets(found: Sweep) -> Iterator[str]:
    """The fastest point within each power of two of PEs, and in the whole sweep."""
    pes = found.pes[found.front]
    least, largest = int(pes.min()), int(found.pes.max())
    powers = [2**i for i in range(least.bit_length() - 1, largest.bit_length()) if least <= 2**i < largest]
    best = [(budget, found.fastest(budget)) for budget in [*powers, largest]]
    yield "the fastest within a budget of PEs"
    yield from _table(found, np.array([index for _, index in best]), [budget for budget, _ in best])


def _table(found: Sweep, indices: Any, budgets: list[int] | None = None) -> Iterator[str]:
    points = list(found.points(indices))
    scale, unit = unit_of(max(point["seconds"] for point in points), TIMES)
    cycles = column_format(point["cycles"] for point in points)
    columns = [
        Column[Points]("array", lambda p: f"{p['rows']} x {p['cols']}"),
        Column[Points]("dataflow", lambda p: p["dataflow"], to_the_left=True),
        Column[Points]("PEs", lambda p: str(p["pes"])),
        Column[Points]("cycles", lambda p: cycles(p["cycles"])),
        Column[Points](f"time[{unit}]", lambda p: f"{p['seconds'] / scale:.5g}"),
        Column[Points]("util[%]", lambda p: f"{100 * p['utilization']:.1f}"),
    ]
    if budgets is not None:
        points = [point | {"budget": budget} for point, budget in zip(points, budgets, strict=True)]
        columns.insert(0, Column[Points]("budget", lambda p: str(p["budget"])))
    return table(columns, points, coloured=is_terminal())


# ---------------------------------------------------------------- JSON and CSV


def _blocks(found: Sweep, chosen: Any) -> Iterator[list[tuple[Any, ...]]]:
    on_front = np.zeros(len(found), dtype=bool)
    on_front[found.front] = True
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        flags = on_front[block].tolist()
        yield [(*point.values(), flag) for point, flag in zip(found.points(block), flags, strict=True)]


def _names(found: Sweep) -> tuple[str, ...]:
    (point,) = found.points(found.front[:1])
    return (*point, "on_front")


def as_json_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """One document, in pieces: settings, the number of points, and the chosen ones as rows."""
    found = context.found
    head = {
        "settings": {
            "network": context.network.name,
            "source": context.source,
            "device": context.machine.name,
            **found.settings(),
        },
        "points": len(found),
        "points_on_front": len(found.front),
    }
    return json_blocks(SCHEMA, head, _names(found), _blocks(found, chosen))


def as_csv_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """A header and a line for each chosen point, in pieces."""
    base = context.found.base
    constants = {
        "schema": SCHEMA,
        "version": __version__,
        "network": printable(context.network.name),
        "device": context.machine.name or "",
        "fold_timing": base.fold_timing,
        "clock_hz": base.clock_hz,
        "macs": context.found.macs,
    }
    return csv_blocks(constants, _names(context.found), _blocks(context.found, chosen))
