"""Means over seeds of the runs of ``benchmarks/pruning.py``, as figures, tables for a page, and a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

__all__ = ["TABLES", "differences", "drawn", "means", "table"]

Row = Mapping[str, Any]
HONEST = ("MACs, filled", "uniform, filled")
METHODS = (
    "curves", "taylor", "MACs, filled", "uniform, filled", "Torch-Pruning", "uniform", "random", "advise --budget",
    "curves, from scratch",
)  # fmt: skip
_HALF = [f"resnet/{size}/0.5" for size in (16, 32, 64)] + [f"mobilenet/{size}/0.5" for size in (16, 32)]
_THREE_QUARTERS = ["resnet/32/0.75", "resnet/64/0.75", "mobilenet/32/0.75"]
_OTHERS = ["resnet/32/0.35", "resnet/32-serial/0.5", "mobilenet/16-serial/0.5", "resnet/gemmini/0.75"]
LOWEST = -14.0
WORDS = {"short": "6,000 images once", "long": "8,000 images, four times"}
TABLES: Mapping[str, tuple[Sequence[str], str]] = {
    "half, short": (_HALF, "short"),
    "half, long": (_HALF, "long"),
    "three quarters, short": (_THREE_QUARTERS, "short"),
    "three quarters, long": (_THREE_QUARTERS, "long"),
    "others, short": (_OTHERS, "short"),
}
"""The tables of the page: cells, and which fine-tuning."""


def means(lines: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each cell and method: means over seeds, least and most; the same of the originals of these seeds."""
    originals: dict[tuple[str, str], float] = {}
    by: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for line in lines:
        name, machine, *rest = line["run"].split("/")
        if machine == "original":
            originals[name, rest[0]] = line["long"]
        else:
            by[f"{name}/{machine}/{rest[0]}", line["method"]].append(line)
    rows = []
    for (cell, method), own in by.items():
        of_seeds = [originals[cell.partition("/")[0], line["run"].rpartition("/")[2]] for line in own]
        row: dict[str, Any] = {"cell": cell, "method": method, "seeds": len(own)} | _spread("original", of_seeds)
        for figure in ("cycles", "macs", "parameters", "cut", "short", "long"):
            row |= _spread(figure, [line[figure] for line in own if figure in line])
        rows.append(row)
    return rows


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: mean(values), f"{name}, least": min(values), f"{name}, most": max(values)} if values else {}


def differences(rows: Sequence[Row]) -> dict[str, float]:
    """Points of accuracy between "curves" and all others, cell by cell, and against the best honest rival of each."""
    at = {(row["cell"], row["method"]): row for row in rows}
    found: dict[str, float] = {}
    best: dict[str, list[float]] = {"short": [], "long": []}
    for cell in [cell for cell, method in at if method == "curves"]:
        ours = at[cell, "curves"]
        found[f"{cell}: curves, least share of the limit"] = ours["cycles, least"] / float(cell.rpartition("/")[2])
        for figure in ("short", "long"):
            if figure not in ours:
                continue
            if figure == "long":
                found[f"{cell}: curves - original trained on, long"] = ours["long"] - ours["original"]
            for method in METHODS[1:]:
                if figure in at.get((cell, method), ()):
                    found[f"{cell}: curves - {method}, {figure}"] = ours[figure] - at[cell, method][figure]
            rivals = [at[cell, each][figure] for each in HONEST if figure in at.get((cell, each), ())]
            best[figure] += [ours[figure] - max(rivals)] if len(rivals) == len(HONEST) else []
    for figure, values in best.items():
        if values:
            found[f"curves - the best honest rival of each cell, {figure}"] = mean(values)
    return found


def table(rows: Sequence[Row], cells: Sequence[str], figure: str) -> list[str]:
    """A table for a page: a row for each method, a column for each cell, means with least and most."""
    at = {(row["cell"], row["method"]): row for row in rows}
    lines = [["method", *map(heading, cells)]]
    if figure == "long":
        lines.append(["original, trained on", *(_cell(at.get((cell, "curves"), {}), "original") for cell in cells)])
    for method in METHODS:
        found = [_cell(at.get((cell, method), {}), figure) for cell in cells]
        lines += [[method, *found]] if any(found) else []
    return ["| " + " | ".join(line) + " |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]


def heading(cell: str) -> str:
    """A cell in words.

    >>> heading("resnet/32-serial/0.5")
    'ResNet, 32 x 32, serial folds, 0.5'
    """
    name, machine, target = cell.split("/")
    size, _, timing = machine.partition("-")
    where = f"{size} x {size}" if size.isdigit() else size
    name = {"resnet": "ResNet", "mobilenet": "MobileNet"}[name]
    return ", ".join([name, where, *([f"{timing} folds"] if timing else []), target])


def _cell(row: Row, figure: str) -> str:
    if figure not in row:
        return ""
    return f"{row[figure]:.1f} ({row[f'{figure}, least']:.1f} to {row[f'{figure}, most']:.1f})"


def drawn(rows: Sequence[Row], save: Callable[[Any], object]) -> None:
    """Draws what each method loses against the original, at half of the cycles."""
    from hwcost.plot.style import COLOURS, GREY, MARGINS, STYLE, load_matplotlib

    matplotlib = load_matplotlib()
    at = {(row["cell"], row["method"]): row for row in rows}
    methods = [method for method in METHODS if method not in ("taylor", "curves, from scratch")]
    shapes = dict(zip(methods, "osD^vPX", strict=True))
    colours = dict(zip(methods, (*COLOURS, GREY), strict=True))
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(9.6, 5.0), layout="constrained")
        figure.get_layout_engine().set(**MARGINS)
        panels = figure.subplots(1, 2)
        for axes, length in zip(panels, ("short", "long"), strict=True):
            cells = [cell for cell in _HALF if length in at.get((cell, "curves"), ())]
            for index, method in enumerate(methods):
                found = {place: at.get((cell, method), {}) for place, cell in enumerate(cells)}
                own = {place: row for place, row in found.items() if length in row}
                x = [place + 0.1 * (index - (len(methods) - 1) / 2) for place in own]
                y = [row[length] - row["original"] for row in own.values()]
                spread = [[row[length] - row[f"{length}, least"] for row in own.values()],
                          [row[f"{length}, most"] - row[length] for row in own.values()]]  # fmt: skip
                axes.errorbar(
                    x, y, spread, fmt=shapes[method], color=colours[method], label=method, markersize=5, elinewidth=1
                )
                for place, value in zip(x, y, strict=True):
                    if value < LOWEST:
                        axes.annotate(f"{value:.0f}", (place, LOWEST), color=colours[method], ha="center", va="bottom")
            axes.axhline(0, color=GREY, linewidth=1)
            axes.set_xticks(range(len(cells)), [heading(cell).rpartition(",")[0].replace(", ", "\n") for cell in cells])
            axes.set_xlim(-0.5, len(cells) - 0.5)
            axes.grid(visible=False, axis="x")
            axes.set_title(f"fine-tuning: {WORDS[length]}")
        panels[0].set_ylim(bottom=LOWEST)
        panels[0].set_ylabel("accuracy minus the original's [points]")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        save(figure)
