"""The output of ``hwcost sweep``: a selection of points as text, every point as JSON or CSV."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost._version import __version__
from hwcost.cli.shared.documents import csv_blocks, json_blocks
from hwcost.cli.shared.machines import ENDS, between
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.energies import without_energy
from hwcost.sweep import SCHEMA, Sweep
from hwcost.tables import Column, is_terminal, table
from hwcost.units import (
    BYTES,
    CLOCKS,
    ENERGIES,
    MARK,
    TIMES,
    Units,
    column_format,
    exact,
    in_unit,
    labelled,
    marked,
    plural,
    printable,
    shorten_name,
    unit_of,
)

if TYPE_CHECKING:
    from hwcost.cli.shared.machines import Machine
    from hwcost.devices import DeviceFile
    from hwcost.network.network import Network

__all__ = ["Context", "as_csv_blocks", "as_json_blocks", "as_text"]

_BLOCK = 4096
Points = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """The points found in a sweep of a network, read from a source, on a machine except for its rows and columns."""

    network: Network
    source: str
    machine: Machine
    found: Sweep

    @functools.cached_property
    def layers_beyond(self) -> int:
        """The number of layers beyond what the device was measured with."""
        file = self.machine.file
        return 0 if file is None else sum(bool(file.beyond(each.layer)) for each in self.network.priced.values())

    @functools.cached_property
    def seconds_90(self) -> tuple[float, float] | None:
        """The ends between which the latency on the device as it was fitted lies with 90 %; None if it has none."""
        from hwcost.reports import summarise

        file = self.machine.file
        if file is None or file.fit is None:
            return None
        same = {name: getattr(file.array, name) for name in ("rows", "cols", "dataflow")}
        if without_energy(dataclasses.replace(self.machine.array, **same)) != without_energy(file.array):
            return None
        return summarise(self.network, file, skip_unsupported=True, extrapolate=True).seconds_90

    def _is_fitted(self, file: DeviceFile, indices: Any) -> Any:
        """Whether each of some points is the array that was fitted."""
        found, fitted = self.found, file.array
        flows = np.asarray([name == fitted.dataflow for name in found.dataflows])[found.flow[indices]]
        return (found.rows[indices] == fitted.rows) & (found.cols[indices] == fitted.cols) & flows

    def extrapolated(self, indices: Any) -> list[bool] | None:
        """Whether each of some points is beyond what a calibrated device was measured with: its layers, or its array.

        None for a device that was not fitted to measurements.
        """
        file = self.machine.file
        if file is None or file.fit is None:
            return None
        beyond: list[bool] = (~self._is_fitted(file, indices) | bool(self.layers_beyond)).tolist()
        return beyond

    def points(self, indices: Any) -> list[dict[str, Any]]:
        """Points; on a calibrated device with what is known from its measurements."""
        points, file = list(self.found.points(indices)), self.machine.file
        beyond = self.extrapolated(indices)
        if beyond is not None:
            points = [point | {"extrapolated": flag} for point, flag in zip(points, beyond, strict=True)]
        if file is None or self.seconds_90 is None:
            return points
        ends = dict(zip(ENDS, self.seconds_90, strict=True))
        fitted = self._is_fitted(file, indices).tolist()
        return [
            point | (ends if is_fitted else dict.fromkeys(ENDS))
            for point, is_fitted in zip(points, fitted, strict=True)
        ]

    @property
    def legend(self) -> Iterator[str]:
        """What the mark before figures says; nothing if no point has one."""
        file = self.machine.file
        if file is not None and any(self.extrapolated(np.arange(len(self.found))) or ()):
            yield (
                f"{MARK} an extrapolation: {file.name} was measured at {file.array.rows} x {file.array.cols}; at other "
                f"sizes its bandwidths and constants are an assumption; {self.layers_beyond} of "
                f"{plural(len(self.network.priced), 'layer')} are beyond the measured ones"
            )

    @property
    def title(self) -> str:
        """The network and the settings that all arrays share, on one line."""
        base = self.found.base
        device = "" if self.machine.name is None else f"{self.machine.name}, "
        arrays = f"{base.arrays} arrays, " if base.arrays > 1 else ""
        timing = f"{arrays}{base.fold_timing} folds, {in_unit(base.clock_hz, CLOCKS)}"
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
    parts = [] if front_only else ["\n".join(_head(context)), "\n".join(_budgets(context))]
    of = "time, utilization and PEs" if found.energy_joules is None else "time, utilization, PEs and energy"
    title = f"{plural(len(front), 'point')} on the Pareto front of {of}"
    if len(shown) < len(front):
        title += f"; the {len(shown)} fastest" if len(shown) > 1 else "; the fastest"
    return "\n\n".join([*parts, "\n".join([title, *_table(context, shown)]), *context.legend])


def _head(context: Context) -> Iterator[str]:
    found = context.found
    arrays = len(found) // len(found.dataflows)
    flows = ", ".join(DATAFLOWS[str(name)].summary for name in found.dataflows)
    within = "" if found.pe_budget is None else f", at most {found.pe_budget} PEs"
    layers, points = plural(len(context.network.priced), "layer"), plural(len(found), "point")
    texts = {
        "network": f"{context.title}; {layers}, {found.macs} MACs",
        "arrays": f"{arrays} of {_span(found.rows)} x {_span(found.cols)}{within}; {flows}: {points}",
        "fastest": _point(context, found.fastest()),
        "busiest": _point(context, found.busiest()),
    } | ({} if found.energy_joules is None else {"most frugal": _point(context, found.most_frugal())})
    return (labelled(name, text) for name, text in texts.items())


def _span(sizes: Any) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low}-{high}"


def _interval(point: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = (point.get(name) for name in ENDS)
    return None if low is None or high is None else (low, high)


def _point(context: Context, index: int) -> str:
    (point,) = context.points(np.array([index]))
    cycles, seconds = exact(point["cycles"]), in_unit(point["seconds"], TIMES)
    used = f"{100 * point['utilization']:.2f} %"
    return (
        f"{point['rows']} x {point['cols']}, {DATAFLOWS[point['dataflow']].summary}: "
        f"{marked(cycles, point.get('extrapolated'))} cycles, {marked(seconds, point.get('extrapolated'))}"
        f"{between(_interval(point))}, "
        f"{marked(used, point.get('extrapolated'))} of {point['pes']} PEs"
        f"{_more(point)}"
    )


def _more(point: Mapping[str, Any]) -> str:
    units = {"dram_bytes": BYTES, "energy_joules": ENERGIES}
    texts = (in_unit(point[name], unit, 4) for name, unit in units.items() if name in point)
    return "".join(f", {text}" for text in texts)


def _budgets(context: Context) -> Iterator[str]:
    """The fastest point within each power of two of PEs, and in the whole sweep."""
    found = context.found
    pes = found.pes[found.front]
    least, largest = int(pes.min()), int(found.pes.max())
    powers = [2**i for i in range(least.bit_length() - 1, largest.bit_length()) if least <= 2**i < largest]
    best = [(budget, found.fastest(budget)) for budget in [*powers, largest]]
    yield "the fastest within a budget of PEs"
    yield from _table(context, np.array([index for _, index in best]), [budget for budget, _ in best])


def _table(context: Context, indices: Any, budgets: list[int] | None = None) -> Iterator[str]:
    points = context.points(indices)
    scale, unit = unit_of(max(point["seconds"] for point in points), TIMES)
    cycles = column_format(point["cycles"] for point in points)
    columns = [
        Column[Points]("array", lambda p: f"{p['rows']} x {p['cols']}"),
        Column[Points]("dataflow", lambda p: p["dataflow"], to_the_left=True),
        Column[Points]("PEs", lambda p: str(p["pes"])),
        Column[Points]("cycles", lambda p: marked(cycles(p["cycles"]), p.get("extrapolated"))),
        Column[Points](f"time[{unit}]", lambda p: marked(f"{p['seconds'] / scale:.5g}", p.get("extrapolated"))),
        Column[Points]("util[%]", lambda p: marked(f"{100 * p['utilization']:.1f}", p.get("extrapolated"))),
    ]
    for name, title, units in (("dram_bytes", "DRAM", BYTES), ("energy_joules", "energy", ENERGIES)):
        if name in points[0]:
            columns.append(_scaled(points, name, title, units))
    if any(map(_interval, points)):
        columns.insert(5, Column[Points]("90 %", lambda p: between(_interval(p))[8:-1]))
    if budgets is not None:
        points = [point | {"budget": budget} for point, budget in zip(points, budgets, strict=True)]
        columns.insert(0, Column[Points]("budget", lambda p: str(p["budget"])))
    return table(columns, points, coloured=is_terminal())


def _scaled(points: list[Points], name: str, title: str, units: Units) -> Column[Points]:
    scale, unit = unit_of(max(point[name] for point in points), units)
    return Column[Points](f"{title}[{unit}]", lambda point: f"{point[name] / scale:.5g}")


# ---------------------------------------------------------------- JSON and CSV


def _blocks(context: Context, chosen: Any) -> Iterator[list[tuple[Any, ...]]]:
    found = context.found
    on_front = np.zeros(len(found), dtype=bool)
    on_front[found.front] = True
    for start in range(0, len(chosen), _BLOCK):
        block = chosen[start : start + _BLOCK]
        flags = on_front[block].tolist()
        points = (point.values() for point in context.points(block))
        yield [(*values, flag) for values, flag in zip(points, flags, strict=True)]


def _names(context: Context) -> tuple[str, ...]:
    (point,) = context.points(context.found.front[:1])
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
    return json_blocks(SCHEMA, head, _names(context), _blocks(context, chosen))


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
    return csv_blocks(constants, _names(context), _blocks(context, chosen))
