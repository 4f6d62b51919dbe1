"""The output of ``hwcost estimate``: lines for a point, a table for a sweep, JSON or CSV, streamed in blocks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Size
from hwcost.cli.formula import formula, split_text
from hwcost.cli.shared.workload import Workload
from hwcost.model.columns import TERMS as COST_TERMS
from hwcost.model.layout import Work, lowered
from hwcost.model.pricing import Pricing
from hwcost.model.traffic import bytes_of, skipped_inputs
from hwcost.model.words import bytes_text, energy_text, lower_bound, not_counted_text, partial_folds
from hwcost.relaxation import Relaxation
from hwcost.tables import Column, Document, even, even_percent, even_unit, fitted, terminal_width
from hwcost.units import BYTES, CLOCKS, ENDS, ENERGIES, TIMES, between, in_unit, labelled, marked, number, percent

if TYPE_CHECKING:
    from hwcost.cli.explain import Sentence
    from hwcost.tables.figures import Text

__all__ = ["Figures", "of_measurements", "write"]

SCHEMA = "hwcost.estimate/1"

_TERMS = {
    "smooth": "cycles with a smooth function in place of each step",
    "folds": "passes over the array",
    "utilization": COST_TERMS["util"],
    "bound": COST_TERMS["bound"],
    "DRAM": COST_TERMS["DRAM"],
}
"""What the lines and columns mean."""
_RANKS = {"MACs": 5, "DRAM": 4, "folds": 3, "bound": 2, "90 % from": 1, "90 % to": 1}
"""In which order a narrow terminal leaves columns out, the highest first."""
_BLOCK = 4096
_ROWS_WITH_PROGRESS = 20_000
_MOST_VALUES = 2**16
_SIZES = ("k1", "k2", "c", "f", "h", "w", "batch", "stride_h", "stride_w", "groups", "s1", "s2")

Figures: TypeAlias = dict[str, Size]
"""Numbers, or arrays along the axes of the sweep that they depend on."""
Columns: TypeAlias = Mapping[str, Any]


def write(
    workload: Workload,
    smooth: Relaxation,
    figures: Figures,
    form: str,
    *,
    pricing: Pricing,
    terms: Sequence[Sentence] = (),
) -> None:
    """Prints the figures of a workload as "text", "json" or "csv", with the terms in words if they are given.

    ``pricing`` is what they come from: how a single point lies on the array, and what it moves.
    """
    if form == "text" and not workload.is_sweep:
        click.echo(_point(workload, smooth, figures, pricing, terms))
        return
    if form == "json":
        blocks = _json(workload, smooth, figures, terms)
    else:
        blocks = (_table if form == "text" else _csv)(workload, smooth, figures)
    for text in _with_progress(blocks, workload.points):
        click.echo(text, nl=False)


def _described(relaxation: Relaxation) -> str:
    """The name of a relaxation and the options that are set, like "logistic, temperature 20"."""
    options = (f"{name} {value:g}" for name, value in relaxation.options.items() if value not in (None, False))
    return ", ".join((relaxation.name, *options))


# ---------------------------------------------------------------- one point


def _point(
    workload: Workload, smooth: Relaxation, figures: Figures, pricing: Pricing, terms: Sequence[Sentence]
) -> str:
    layer, array, work = workload.layer(), workload.array(), pricing.work
    ends = between(_ends(figures))

    def known(text: str) -> str:
        return marked(text, figures.get("extrapolated"))

    lines = {
        "cycles": known(number(figures["cycles"])),
        "smooth": f"{known(number(figures['smooth_cycles']))} cycles ({_described(smooth)})",
        "folds": _folds(work, figures),
        "utilization": known(f"{percent(figures['utilization'], 2)} %"),
        "time": f"{known(in_unit(figures['seconds'], TIMES))}{ends} at {in_unit(array.clock_hz, CLOCKS)}",
        "MACs": number(figures["macs"]),
        "array": workload.machine._replace(array=array).label,
        **_bound(workload),
    }
    if figures["memory_cycles"] or figures["overhead_cycles"]:
        parts = " + ".join(f"{number(figures[f'{name}_cycles'])} {name}" for name in ("compute", "overhead", "waiting"))
        lines["bound"] = f"{figures['bound']} (cycles = {parts} for memory)"
    skipped = sum(skipped_inputs(pricing.moved, pricing.traffic, array).values())
    lines["bytes"] = bytes_text(figures)
    if left_out := not_counted_text(bytes_of(skipped, array.bytes_per_element)):
        lines["not counted"] = left_out
    if "energy_joules" in figures:
        lines["energy"] = energy_text(figures)
    if array.arrays > 1:
        lines["split"] = split_text(work)
    if (text := formula(layer, array, figures)) is not None:
        lines["formula"] = text
    lines |= {f" {term.name}": labelled(f"  {term.name}", term.text) for term in terms}
    if workload.legend:
        lines[" legend"] = workload.legend
    return Document(below=lines, terms={} if terms else _terms_of(lines)).for_stdout()


def _terms_of(names: Iterable[str]) -> dict[str, str]:
    """What lines or columns mean, by their titles."""
    found = set(map(_title, names))
    return {name: words for name, words in _TERMS.items() if name in found}


def _title(name: str) -> str:
    """The title of a column without its unit, and without what it is of."""
    return name.partition("[")[0].partition("(")[0]


def _bound(workload: Workload) -> dict[str, str]:
    """The line that says why times are lower bounds; none if they are not."""
    text = lower_bound(workload.machine.uncharged)
    return {"lower bound": text} if text else {}


def _ends(figures: Figures) -> tuple[float, float] | None:
    """The interval of a single point."""
    return (figures[ENDS[0]], figures[ENDS[1]]) if ENDS[0] in figures else None


def of_measurements(workload: Workload, figures: Figures) -> Figures:
    """On a calibrated device: whether a point is beyond what was measured, and the ends of its interval of seconds.

    Both are arrays for a sweep. There are no ends if a point is on another array than the fitted one.
    """
    beyond = workload.is_beyond()
    found: dict[str, Any] = {} if beyond is None else {"extrapolated": beyond}
    ends = workload.interval(figures["seconds"])
    return found if ends is None else found | dict(zip(ENDS, ends, strict=True))


def _folds(work: Work, figures: Figures) -> str:
    array, gemm = work.array, work.part
    flow, laid = array.dataflow_row, lowered(gemm, array)
    rows, cols = getattr(laid, flow.rows), getattr(laid, flow.cols)
    what = "groups" if laid.count == gemm.count else "products"
    groups = f"{number(laid.count)} {what} x " if laid.count > 1 else ""
    in_time = f" x {number(figures['folds_in_time'])}" if array.max_streamed is not None else ""
    along = f"{number(figures['folds_along_rows'])} x {number(figures['folds_along_cols'])}{in_time}"
    whole = f"{groups}{along} = {number(figures['folds'])}"
    why = f"; {text}" if (text := partial_folds(array)) else ""
    return f"{whole} ({rows} along {array.rows} rows, {cols} along {array.cols} columns{why})"


# ---------------------------------------------------------------- sweeps


def _rows(columns: Columns, workload: Workload) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The points in order, block by block, as tuples of Python numbers; a constant column repeats in every row."""
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
    unit, time = even_unit(_values(figures["seconds"]), TIMES)
    swept = {id(axis): axis.option.removeprefix("--") for axis in workload.axes}
    table: dict[str, tuple[Any, Any]] = {
        swept[id(sizes)]: (workload.values[name], number)
        for name, sizes in workload.sizes.items()
        if id(sizes) in swept
    }
    table |= {
        "cycles": _counts(figures["cycles"]),
        f"cycles({smooth.name})": _counts(figures["smooth_cycles"]),
        "folds(rows)": _counts(figures["folds_along_rows"]),
        "folds(cols)": _counts(figures["folds_along_cols"]),
        "util[%]": (figures["utilization"], even_percent(_values(figures["utilization"]))),
        f"time[{unit}]": (figures["seconds"], time),
        "MACs": _counts(figures["macs"]),
    }
    for name, key in zip(("from", "to"), ENDS, strict=True):
        if key in figures:
            table[f"90 % {name}[{unit}]"] = (figures[key], time)
    if np.any(figures["memory_cycles"]) or np.any(figures["overhead_cycles"]):
        table["bound"] = (figures["bound"], str)
    for name, key, units in (("DRAM", "dram_bytes", BYTES), ("energy", "energy_joules", ENERGIES)):
        if key in figures:
            unit, text = even_unit(_values(figures[key]), units)
            table[f"{name}[{unit}]"] = (figures[key], text)
    beyond = figures.get("extrapolated", False)
    marks = [name for name in table if np.any(beyond) and name.startswith(("cycles", "util", "time"))]
    sizes = {
        name: max(len(name), (name in marks) + max(map(len, map(text, _longest(column)))))
        for name, (column, text) in table.items()
    }
    left_out = _too_wide(sizes)
    table = {name: each for name, each in table.items() if name not in left_out}
    widths, is_marked = [sizes[name] for name in table], [name in marks for name in table]
    texts = [lru_cache(_BLOCK)(text) for _, text in table.values()]
    yield "  ".join(name.rjust(width) for name, width in zip(table, widths, strict=True)) + "\n"
    rows = _rows({name: column for name, (column, _) in table.items()} | {"": beyond}, workload)
    yield from _lines(rows, texts, widths, is_marked)
    if any(is_marked):
        yield f"{workload.legend}\n"
    hidden = [name.partition("[")[0] for name in left_out]
    yield f"\n{Document(below=_bound(workload), terms=_terms_of(table), hidden=hidden).for_stdout()}\n"


def _too_wide(sizes: Mapping[str, int]) -> list[str]:
    """The columns that are left out on a terminal that is too narrow for all of them, whose widths are given."""
    width = terminal_width()
    if width is None:
        return []
    columns = [Column(name, _as_wide_as(size), rank=_RANKS.get(_title(name), 0)) for name, size in sizes.items()]
    return [column.title for column in fitted(columns, [None], width)[1]]


def _as_wide_as(size: int) -> Callable[[None], str]:
    return lambda _: "x" * size


def _lines(
    blocks: Iterable[Iterable[Any]], texts: Sequence[Any], widths: Sequence[int], marks: Sequence[bool]
) -> Iterator[str]:
    """Lines of rows whose last value says whether figures get a mark."""
    line = ("  ".join(f"{{:>{width}}}" for width in widths) + "\n").format
    for rows in blocks:
        cells = (([text(cell) for text, cell in zip(texts, row[:-1], strict=True)], row[-1]) for row in rows)
        yield "".join(line(*(map(marked, own, marks) if is_beyond else own)) for own, is_beyond in cells)


def _counts(column: Any) -> tuple[Any, Text]:
    return column, even(_values(column))


def _values(column: Any) -> list[float]:
    """The different values of a column, thinned out if there are very many."""
    found = np.unique(column)
    own: list[float] = found[np.unique(np.linspace(0, len(found) - 1, _MOST_VALUES).astype(int))].tolist()
    return own


def _longest(column: Any) -> list[Any]:
    """Values among which is the one with the longest text: the smallest two, since one may be zero, and the largest."""
    found = np.unique(column)
    if found.dtype.kind == "U":
        return list(found)
    return [*found[:2].tolist(), *found[-1:].tolist()]


def _csv(workload: Workload, smooth: Relaxation, figures: Figures) -> Iterator[str]:
    from hwcost.cli.shared.documents import csv_blocks

    settings = _settings(workload, smooth)
    padding, options = settings["padding"], settings["relaxation"]["options"]
    device = workload.machine.array
    columns: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        **{name: workload.values[name] for name in _SIZES},
        "padding": padding if isinstance(padding, str) else "x".join(map(str, padding)),
        "device": settings["device"] or "",
        "dataflow": device.dataflow,
        "fold_timing": device.fold_timing,
        "clock_hz": device.clock_hz,
        "relaxation": smooth.name,
        "relaxation_options": " ".join(f"{name}={value}" for name, value in options.items()),
        **figures,
    }
    return csv_blocks({}, tuple(columns), _rows(columns, workload))


def _json(workload: Workload, smooth: Relaxation, figures: Figures, terms: Sequence[Sentence]) -> Iterator[str]:
    from hwcost.cli.shared.documents import json_blocks

    head: dict[str, Any] = {"settings": _settings(workload, smooth)}
    if not workload.is_sweep and (ends := _ends(figures)):
        head["seconds_90"] = ends
    if terms:
        head["terms"] = [term._asdict() for term in terms]
    columns = {name: workload.values[name] for name in _SIZES} | dict(figures)
    return json_blocks(SCHEMA, head, tuple(columns), _rows(columns, workload))


def _settings(workload: Workload, smooth: Relaxation) -> dict[str, Any]:
    padding = workload.padding
    return {
        "padding": padding if isinstance(padding, str) else [padding, padding] if isinstance(padding, int) else padding,
        "device": workload.machine.name,
        **{name: value for name, value in workload.machine.energy_settings.items() if value is not None},
        **{name: value for name, value in workload.machine.array.as_dict().items() if name not in ("rows", "cols")},
        "uncharged": workload.machine.uncharged,
        "relaxation": {
            "name": smooth.name,
            "options": {name: value for name, value in smooth.options.items() if value is not None},
        },
    }


def _with_progress(blocks: Iterable[str], points: int) -> Iterator[str]:
    """The blocks; shows progress if a long output is piped and stderr is a terminal."""
    if points <= _ROWS_WITH_PROGRESS or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from blocks
        return
    from hwcost.cli.shared.progress import progress_of

    with progress_of(points, "rows") as advance:
        for block in blocks:
            yield block
            advance(_BLOCK)
