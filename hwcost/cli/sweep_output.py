"""How a sweep is printed: what there is to choose from as text, every point as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from hwcost._version import __version__
from hwcost.cli.model_output import CLOCKS, TIMES
from hwcost.cli.shared.tables import Column, alike, figure_text, is_terminal, printable, table, unit_of
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.sweep import SCHEMA, Sweep

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile
    from hwcost.network.network import Network

__all__ = ["Context", "as_csv_blocks", "as_json_blocks", "as_text", "say_missing"]

_NAMED = 5
_BLOCK = 4096
Points = Any


@dataclass(frozen=True, eq=False)
class Context:
    """A sweep, and what it was made from.

    Attributes:
        network: what was priced.
        source: where it was read from.
        file: the device that the sweep started from; None for a bare array.
        found: the points.
    """

    network: Network
    source: str
    file: DeviceFile | None
    found: Sweep

    @property
    def title(self) -> str:
        """The network and what all arrays have, on one line."""
        base = self.found.base
        hertz, clock = unit_of(base.clock_hz, CLOCKS)
        device = "" if self.file is None else f"{self.file.name}, "
        timing = f"{base.fold_timing} folds, {base.clock_hz / hertz:.6g} {clock}"
        return f"{printable(self.network.name)}: {device}{timing}"


# ---------------------------------------------------------------- text


def as_text(context: Context, *, top: int | None, most: int, front_only: bool) -> str:
    """What there is to choose from.

    Args:
        context: the sweep.
        top: rows of the front at most.
        most: the same where ``top`` is not given and there is more to see than the front.
        front_only: leave out all but the front.
    """
    found = context.found
    limit = top if top is not None or front_only else most
    front = found.front[found.at(found.front).ranked]
    shown = front[:limit]
    parts = [] if front_only else ["\n".join(_head(context)), "\n".join(_budgets(found))]
    title = f"{_counted(len(front), 'point')} that no other beats in time, utilization and PEs"
    if len(shown) < len(front):
        title += f"; the {len(shown)} fastest" if len(shown) > 1 else "; the fastest"
    return "\n\n".join([*parts, "\n".join([title, *_table(found, shown)])])


def _head(context: Context) -> Iterator[str]:
    found = context.found
    arrays = len(found) // len(found.dataflows)
    flows = ", ".join(DATAFLOWS[name].summary for name in found.dataflows)
    within = "" if found.pe_budget is None else f", at most {found.pe_budget} PEs"
    layers, points = _counted(len(context.network.priced), "layer"), _counted(len(found), "point")
    texts = {
        "network": f"{context.title}; {layers}, {found.macs} MACs",
        "arrays": f"{arrays} of {_span(found.rows)} x {_span(found.cols)}{within}; {flows}: {points}",
        "fastest": _point(found, found.fastest()),
        "busiest": _point(found, _busiest(found)),
    }
    return (f"{name:<13}{text}" for name, text in texts.items())


def _span(sizes: Any) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}-{high}"


def _busiest(found: Sweep) -> int:
    """The point of the highest utilization; of equals the fastest, which is on the front."""
    front = found.at(found.front)
    return int(found.front[np.lexsort((front.pes, front.cycles, -front.utilization))[0]])


def _point(found: Sweep, index: int) -> str:
    (point,) = found.points(np.array([index]))
    scale, unit = unit_of(point["seconds"], TIMES)
    return (
        f"{point['rows']} x {point['cols']}, {DATAFLOWS[point['dataflow']].summary}: {figure_text(point['cycles'])} "
        f"cycles, {point['seconds'] / scale:.6g} {unit}, {100 * point['utilization']:.2f} % of {point['pes']} PEs"
    )


def _budgets(found: Sweep) -> Iterator[str]:
    """The fastest point within each power of two of PEs, and within all of the sweep."""
    pes = found.pes[found.front]
    least, largest = int(pes.min()), int(found.pes.max())
    powers = [2**i for i in range(least.bit_length() - 1, largest.bit_length()) if least <= 2**i < largest]
    best = [(budget, found.fastest(budget)) for budget in [*powers, largest]]
    yield "the fastest within so many PEs"
    yield from _table(found, np.array([index for _, index in best]), [budget for budget, _ in best])


def _table(found: Sweep, indices: Any, budgets: list[int] | None = None) -> Iterator[str]:
    points = list(found.points(indices))
    scale, unit = unit_of(max(point["seconds"] for point in points), TIMES)
    cycles = alike(point["cycles"] for point in points)
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


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def say_missing(network: Network) -> None:
    """Says on stderr what is not in the figures."""
    missing = network.unsupported
    if not missing:
        return
    named = "; ".join(f"{printable(name)}: {printable(str(each.layer))}" for name, each in [*missing.items()][:_NAMED])
    more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    count = "1 operation is" if len(missing) == 1 else f"{len(missing)} operations are"
    click.echo(f"Note: {printable(network.name)}: {count} not in these figures: {named}{more}", err=True)


# ---------------------------------------------------------------- JSON and CSV


def _blocks(found: Sweep, chosen: Any) -> Iterator[list[dict[str, Any]]]:
    on_front = np.zeros(len(found), dtype=bool)
    on_front[found.front] = True
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        flags = on_front[block].tolist()
        yield [point | {"on_front": flag} for point, flag in zip(found.points(block), flags, strict=True)]


def as_json_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """One document, in pieces: settings, the number of points, and the chosen ones as rows."""
    import json

    head = {
        "schema": SCHEMA,
        "version": __version__,
        "settings": {
            "network": context.network.name,
            "source": context.source,
            "device": None if context.file is None else context.file.name,
            **context.found.settings(),
        },
        "points": len(context.found),
        "points_on_front": len(context.found.front),
    }
    yield json.dumps(head, indent=2, allow_nan=False)[:-2] + ',\n  "rows": ['
    encode, separator = json.JSONEncoder(allow_nan=False).encode, "\n    "
    for rows in _blocks(context.found, chosen):
        yield separator + ",\n    ".join(map(encode, rows))
        separator = ",\n    "
    yield "\n  ]\n}\n"


def as_csv_blocks(context: Context, chosen: Any) -> Iterator[str]:
    """A header and a line for each chosen point, in pieces."""
    base = context.found.base
    same = {
        "schema": SCHEMA,
        "version": __version__,
        "network": printable(context.network.name),
        "device": "" if context.file is None else context.file.name,
        "fold_timing": base.fold_timing,
        "clock_hz": base.clock_hz,
        "macs": context.found.macs,
    }
    header = True
    for rows in _blocks(context.found, chosen):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if header:
            writer.writerow([*same, *rows[0]])
        header = False
        writer.writerows([*same.values(), *row.values()] for row in rows)
        yield text.getvalue()
