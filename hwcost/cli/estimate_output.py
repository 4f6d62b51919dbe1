"""How results are printed: a block for one point, a table for a sweep, JSON, CSV. Long ones are written as they go."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import numpy as np

from hwcost._version import __version__
from hwcost.cli.estimate_figures import Figures
from hwcost.cli.formula import formula
from hwcost.cli.shared.progress import progress_of
from hwcost.cli.shared.workload import Workload
from hwcost.machine.array import SystolicArray
from hwcost.model.layers import Conv2d
from hwcost.relaxation import Relaxation

if TYPE_CHECKING:
    from hwcost.cli.explain import Sentence

__all__ = ["SCHEMA", "describe", "write"]

SCHEMA = "hwcost.estimate/1"

_BLOCK = 4096
_ROWS_WITH_PROGRESS = 20_000
_SIZES = ("k1", "k2", "c", "f", "h", "w", "batch", "stride_h", "stride_w", "groups", "s1", "s2")
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_CLOCKS = ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"))

Columns: TypeAlias = Mapping[str, Any]


def write(
    workload: Workload, smooth: Relaxation, figures: Figures, form: str, *, terms: Sequence[Sentence] = ()
) -> None:
    """Prints the figures of a workload as ``text``, ``json`` or ``csv``, with the terms in words if they are given."""
    if form == "text" and not workload.is_sweep:
        click.echo(_point(workload, smooth, figures, terms))
        return
    if form == "json":
        blocks = _json(workload, smooth, figures, terms)
    else:
        blocks = (_table if form == "text" else _csv)(workload, smooth, figures)
    for text in _with_progress(blocks, workload.points):
        click.echo(text, nl=False)


def describe(relaxation: Relaxation) -> str:
    """A relaxation in words: its name and the options that are set.

    >>> from hwcost import RELAXATIONS
    >>> describe(RELAXATIONS["logistic"])
    'logistic, temperature 20'
    """
    options = (f"{name} {value:g}" for name, value in relaxation.options.items() if value not in (None, False))
    return ", ".join((relaxation.name, *options))


# ---------------------------------------------------------------- one point


def _point(workload: Workload, smooth: Relaxation, figures: Figures, terms: Sequence[Sentence]) -> str:
    layer, array = workload.layer(), workload.array()
    flow, timing = array.dataflow_row, f"{array.fold_timing} folds"
    scale, unit = _unit(figures["seconds"], _TIMES)
    hertz, clock_unit = _unit(array.clock_hz, _CLOCKS)
    device = "" if workload.device_file is None else f"{workload.device_file.name}: "
    lines = {
        "cycles": _cycles(figures["cycles"]),
        "smooth": f"{_smooth_format(figures).format(figures['smooth_cycles'])} cycles ({describe(smooth)})",
        "folds": _folds(layer, array, figures),
        "utilization": f"{100 * figures['utilization']:.2f} %",
        "time": f"{figures['seconds'] / scale:.6g} {unit} at {array.clock_hz / hertz:.6g} {clock_unit}",
        "MACs": str(figures["macs"]),
        "array": f"{device}{array.rows} x {array.cols}, {flow.summary}, {timing}",
    }
    if figures["memory_cycles"] or figures["overhead_cycles"]:
        parts = " + ".join(
            f"{_cycles(figures[f'{name}_cycles'])} {name}" for name in ("compute", "overhead", "waiting")
        )
        lines["bound"] = f"{figures['bound']} (cycles = {parts} for memory)"
    if (text := formula(layer, array)) is not None:
        lines["formula"] = text
    lines |= {f"  {term.name}": term.text for term in terms}
    return "\n".join(f"{name:<13}{text}" for name, text in lines.items())


def _folds(layer: Conv2d, array: SystolicArray, figures: Figures) -> str:
    (gemm,) = layer.gemms()
    lowered = array.lowering_row.lower(gemm)
    flow = array.dataflow_row
    rows, cols = getattr(lowered, flow.rows), getattr(lowered, flow.cols)
    what = "groups" if lowered.count == gemm.count else "products"
    groups = f"{lowered.count} {what} x " if lowered.count > 1 else ""
    in_time = f" x {_cycles(figures['folds_in_time'])}" if array.max_streamed is not None else ""
    along = f"{_cycles(figures['folds_along_rows'])} x {_cycles(figures['folds_along_cols'])}{in_time}"
    whole = f"{groups}{along} = {_cycles(figures['folds'])}"
    return f"{whole} ({rows} along {array.rows} rows, {cols} along {array.cols} columns)"


def _cycles(value: Any) -> str:
    """An integer as it is, another number with two decimals where it has any."""
    if isinstance(value, int) or value >= 1e15:
        return str(value) if isinstance(value, int) else f"{value:.9e}"
    return f"{value:.2f}".removesuffix(".00")


def _unit(largest: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    return next((unit for unit in units if largest >= unit[0]), units[-1])


def _smooth_format(figures: Figures) -> str:
    return "{:.2f}" if np.max(figures["smooth_cycles"]) < 1e15 else "{:.9e}"


# ---------------------------------------------------------------- sweeps


def _rows(columns: Columns, workload: Workload) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The points in order, block by block, as tuples of Python numbers; numbers stand in every row."""
    flats = [
        value if _is_constant(value) else np.broadcast_to(value, workload.shape).flat for value in columns.values()
    ]
    for start in range(0, workload.points, _BLOCK):
        stop = min(start + _BLOCK, workload.points)
        yield zip(
            *(
                itertools.repeat(flat, stop - start) if _is_constant(flat) else flat[start:stop].tolist()
                for flat in flats
            ),
            strict=True,
        )


def _is_constant(value: Any) -> bool:
    return isinstance(value, (int, float, str))


def _table(workload: Workload, smooth: Relaxation, figures: Figures) -> Iterator[str]:
    scale, unit = _unit(np.max(figures["seconds"]), _TIMES)
    swept = {id(axis): axis.option.removeprefix("--") for axis in workload.axes}
    inputs: dict[str, Any] = {}
    for name, sizes in workload.sizes.items():
        if id(sizes) in swept:
            inputs.setdefault(swept[id(sizes)], workload.values[name])
    table: dict[str, tuple[Any, str]] = {name: (column, "{}") for name, column in inputs.items()} | {
        "cycles": (figures["cycles"], _exact_format(figures["cycles"])),
        f"cycles({smooth.name})": (figures["smooth_cycles"], _smooth_format(figures)),
        "folds(rows)": (figures["folds_along_rows"], _exact_format(figures["folds_along_rows"])),
        "folds(cols)": (figures["folds_along_cols"], _exact_format(figures["folds_along_cols"])),
        "utilization[%]": (100 * figures["utilization"], "{:.2f}"),
        f"time[{unit}]": (figures["seconds"] / scale, "{:.6g}"),
        "MACs": (figures["macs"], "{}"),
    }
    if np.any(figures["memory_cycles"]) or np.any(figures["overhead_cycles"]):
        table["bound"] = (figures["bound"], "{}")
    widths = [
        max(len(name), 13 if spec == "{:.6g}" else len(spec.format(_largest(column))))
        for name, (column, spec) in table.items()
    ]
    yield "  ".join(name.rjust(width) for name, width in zip(table, widths, strict=True)) + "\n"
    cells = (
        f"{{:>{width}{spec[2:]}" if ":" in spec else f"{{:>{width}}}"
        for width, (_, spec) in zip(widths, table.values(), strict=True)
    )
    line = ("  ".join(cells) + "\n").format
    for rows in _rows({name: column for name, (column, _) in table.items()}, workload):
        yield "".join(itertools.starmap(line, rows))


def _exact_format(column: Any) -> str:
    return "{}" if np.asarray(column).dtype.kind != "f" else "{:.2f}"


def _largest(column: Any) -> Any:
    if isinstance(column, np.ndarray) and column.dtype.kind == "U":
        return max(column.flat, key=len)
    return np.max(column).item() if isinstance(column, np.ndarray) else column


def _csv(workload: Workload, smooth: Relaxation, figures: Figures) -> Iterator[str]:
    settings = _settings(workload, smooth)
    padding, options = settings["padding"], settings["relaxation"]["options"]
    columns: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        **{name: workload.values[name] for name in _SIZES},
        "padding": padding if isinstance(padding, str) else "x".join(map(str, padding)),
        "device": settings["device"] or "",
        "dataflow": workload.device.dataflow,
        "fold_timing": workload.device.fold_timing,
        "clock_hz": workload.device.clock_hz,
        "relaxation": smooth.name,
        "relaxation_options": " ".join(f"{name}={value}" for name, value in options.items()),
        **figures,
    }
    yield ",".join(columns) + "\n"
    for rows in _rows(columns, workload):
        yield "".join(",".join(map(str, row)) + "\n" for row in rows)


def _json(workload: Workload, smooth: Relaxation, figures: Figures, terms: Sequence[Sentence]) -> Iterator[str]:
    import json

    head: dict[str, Any] = {"schema": SCHEMA, "version": __version__, "settings": _settings(workload, smooth)}
    if terms:
        head["terms"] = [term._asdict() for term in terms]
    columns = {name: workload.values[name] for name in _SIZES} | dict(figures)
    yield json.dumps(head, indent=2)[:-2] + ',\n  "rows": ['
    names, encode, separator = tuple(columns), json.JSONEncoder().encode, "\n    "
    for rows in _rows(columns, workload):
        yield separator + ",\n    ".join(encode(dict(zip(names, row, strict=True))) for row in rows)
        separator = ",\n    "
    yield "\n  ]\n}\n"


def _settings(workload: Workload, smooth: Relaxation) -> dict[str, Any]:
    padding = workload.padding
    return {
        "padding": padding if isinstance(padding, str) else [padding, padding] if isinstance(padding, int) else padding,
        "device": None if workload.device_file is None else workload.device_file.name,
        **{name: value for name, value in workload.device.as_dict().items() if name not in ("rows", "cols")},
        "relaxation": {
            "name": smooth.name,
            "options": {name: value for name, value in smooth.options.items() if value is not None},
        },
    }


# ---------------------------------------------------------------- progress


def _with_progress(blocks: Iterable[str], points: int) -> Iterator[str]:
    """The blocks; on a terminal that they do not go to, stderr says how far a long output has come."""
    if points <= _ROWS_WITH_PROGRESS or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from blocks
        return
    with progress_of(points, "rows") as advance:
        for block in blocks:
            yield block
            advance(_BLOCK)
