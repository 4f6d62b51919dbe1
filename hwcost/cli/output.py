"""How results are printed: a block for one point, a table for a sweep, JSON, CSV. Long ones are written as they go."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import click
import numpy as np

from hwcost import __version__
from hwcost.cli.formula import formula
from hwcost.cli.pricing import Figures
from hwcost.cli.workload import Workload
from hwcost.relaxation import Relaxation

__all__ = ["SCHEMA", "describe", "write"]

SCHEMA = "hwcost.estimate/1"

_BLOCK = 4096
_ROWS_WITH_PROGRESS = 20_000
_SIZES = ("k1", "k2", "c", "f", "h", "w", "batch", "stride_h", "stride_w", "groups", "s1", "s2")
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_CLOCKS = ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"))

Columns: TypeAlias = Mapping[str, Any]


def write(workload: Workload, smooth: Relaxation, figures: Figures, form: str) -> None:
    """Prints the figures of a workload as ``text``, ``json`` or ``csv``."""
    if form == "text" and not workload.is_sweep:
        click.echo(_point(workload, smooth, figures))
        return
    writer = {"text": _table, "json": _json, "csv": _csv}[form]
    for text in _with_progress(writer(workload, smooth, figures), workload.points):
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


def _point(workload: Workload, smooth: Relaxation, figures: Figures) -> str:
    layer, array = workload.layer(), workload.array()
    (gemm,) = layer.gemms()
    flow = array.dataflow_row
    rows, cols = getattr(gemm, flow.rows), getattr(gemm, flow.cols)
    groups = f"{gemm.count} groups x " if gemm.count > 1 else ""
    scale, unit = _unit(figures["seconds"], _TIMES)
    hertz, clock_unit = _unit(array.clock_hz, _CLOCKS)
    lines = {
        "cycles": str(figures["cycles"]),
        "smooth": f"{_smooth_format(figures).format(figures['smooth_cycles'])} cycles ({describe(smooth)})",
        "folds": f"{groups}{figures['folds_along_rows']} x {figures['folds_along_cols']} = {figures['folds']}"
        f" ({rows} along {array.rows} rows, {cols} along {array.cols} columns)",
        "utilization": f"{100 * figures['utilization']:.2f} %",
        "time": f"{figures['seconds'] / scale:.6g} {unit} at {array.clock_hz / hertz:.6g} {clock_unit}",
        "MACs": str(figures["macs"]),
        "array": f"{array.rows} x {array.cols}, {flow.summary}, {array.fold_timing} folds",
        "formula": formula(layer, array),
    }
    return "\n".join(f"{name:<13}{text}" for name, text in lines.items())


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
        "cycles": (figures["cycles"], "{}"),
        f"cycles({smooth.name})": (figures["smooth_cycles"], _smooth_format(figures)),
        "folds(rows)": (figures["folds_along_rows"], "{}"),
        "folds(cols)": (figures["folds_along_cols"], "{}"),
        "utilization[%]": (100 * figures["utilization"], "{:.2f}"),
        f"time[{unit}]": (figures["seconds"] / scale, "{:.6g}"),
        "MACs": (figures["macs"], "{}"),
    }
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


def _largest(column: Any) -> Any:
    return np.max(column).item() if isinstance(column, np.ndarray) else column


def _csv(workload: Workload, smooth: Relaxation, figures: Figures) -> Iterator[str]:
    settings = _settings(workload, smooth)
    padding, options = settings["padding"], settings["relaxation"]["options"]
    columns: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        **{name: workload.values[name] for name in _SIZES},
        "padding": padding if isinstance(padding, str) else "x".join(map(str, padding)),
        "dataflow": workload.dataflow,
        "fold_timing": workload.fold_timing,
        "clock_hz": workload.clock_hz,
        "relaxation": smooth.name,
        "relaxation_options": " ".join(f"{name}={value}" for name, value in options.items()),
        **figures,
    }
    yield ",".join(columns) + "\n"
    for rows in _rows(columns, workload):
        yield "".join(",".join(map(str, row)) + "\n" for row in rows)


def _json(workload: Workload, smooth: Relaxation, figures: Figures) -> Iterator[str]:
    import json

    head = {"schema": SCHEMA, "version": __version__, "settings": _settings(workload, smooth)}
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
        "dataflow": workload.dataflow,
        "fold_timing": workload.fold_timing,
        "clock_hz": workload.clock_hz,
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
    advance, close = _progress(points)
    try:
        for block in blocks:
            yield block
            advance(_BLOCK)
    finally:
        close()


def _progress(points: int) -> tuple[Callable[[int], None], Callable[[], None]]:
    """A bar where rich is installed, else a line for every tenth: how to advance and how to close it."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        return _plain_progress(points), lambda: None
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("rows", total=points)
    bar.start()
    return lambda rows: bar.advance(task, rows), bar.stop


def _plain_progress(points: int) -> Callable[[int], None]:
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        before, done = done, min(done + rows, points)
        if 10 * done // points > 10 * before // points:
            click.echo(f"{100 * done // points} % of {points} rows", err=True)

    return advance
