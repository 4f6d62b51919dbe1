"""The tables of agreement_measured.py from the results of its fits, and the goals of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.fits import (
    AUTO_MODELS,
    BOOSTING,
    FEW,
    HWCOST,
    PARTS,
    SEEDS,
    Array,
    Key,
    edge_models,
    gemmini_models,
    rtl_models,
)
from common.measured_data import AUTO, BEST, EDGE_FEW_SIZES, EDGE_SIZES, TILERS, Form, edge_networks
from hwcost.calibration import scores
from hwcost.calibration.result import Scores

# ---------------------------------------------------------------- tables

FIGURES = Scores.names()


def row_of(model: str, results: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """The mean of each figure over the seeds, and each seed's."""
    by_seed = [scores(one["measured"], one["predicted"]) for one in results]
    mean = Scores.mean(by_seed)
    figures = {name: getattr(mean, name) for name in FIGURES}
    seeds = [{name: getattr(each, name) for name in FIGURES} for each in by_seed]
    return {"model": model, "count": mean.count, **figures, "by_seed": seeds, **more}


def of(found: Mapping[Key, Mapping[str, Any]], table: str, model: str) -> list[Mapping[str, Any]]:
    return [result for key, result in found.items() if key[:2] == (table, model)]


def fitted_table(
    found: Mapping[Key, Mapping[str, Any]], table: str, models: Mapping[str, Form | None]
) -> list[dict[str, Any]]:
    return [
        row_of(model, of(found, table, model), settings=BOOSTING if form is None else form.described())
        for model, form in models.items()
        if of(found, table, model)
    ]


def pooled(found: Mapping[Key, Mapping[str, Any]], model: str, tables: Sequence[str]) -> list[dict[str, Any]]:
    """Seed by seed the measurements of several tables as one."""
    parts = [of(found, table, model) for table in tables]
    return [
        {side: tuple(value for part in each for value in part[side]) for side in ("measured", "predicted")}
        for each in zip(*parts, strict=True)
    ]


def rtl_table(
    found: Mapping[Key, Mapping[str, Any]], others: Mapping[str, Array], suffix: str = ""
) -> list[dict[str, Any]]:
    tables = [tiler + suffix for tiler in TILERS]
    rows = []
    for model, form in rtl_models().items():
        if not of(found, tables[0], model):
            continue
        settings = BOOSTING if form is None else form.described()
        for tiler, table in zip(TILERS, tables, strict=True):
            rows.append(row_of(model, of(found, table, model), tiler=tiler, settings=settings))
        rows.append(row_of(model, pooled(found, model, tables), tiler="all", settings=settings))
    lengths = [len(of(found, table, HWCOST)[0]["measured"]) for table in tables]
    for model, cycles in others.items():
        ends = np.cumsum([0, *lengths])
        measured = np.array(pooled(found, HWCOST, tables)[0]["measured"])
        for tiler, low, high in (*zip(TILERS, ends[:-1], ends[1:], strict=True), ("all", 0, ends[-1])):
            part = {"measured": measured[low:high], "predicted": cycles[low:high] / 1e9}
            rows.append(row_of(model, [part], tiler=tiler, settings={"fitted": "nothing"}))
    return rows


def estimates_table(found: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The fitted numbers with their standard deviations: of the logarithm, of the log-odds for shares."""
    fits = [("best", HWCOST), ("auto", HWCOST), ("edge", "hwcost, sharper loss, no priors")]
    rows = []
    for table, model in (*fits, *((tiler, HWCOST) for tiler in TILERS)):
        for result in of(found, table, model)[:1]:
            for name, estimate in result["estimates"].items():
                rows.append({"data": table, "number": name, **estimate})
    return rows


def session_table(folder: Path, found: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Session 2 of the Edge TPU, by fits to session 1 that have not seen the network in question."""
    second = {one.name: one.seconds for one in edge_networks(folder, 2)}
    names = [one.name for one in edge_networks(folder)]
    first = {one.name: one.seconds for one in edge_networks(folder)}
    both = [index for index, name in enumerate(names) if name in second]
    rows = []
    for model in edge_models():
        results = [
            {
                "measured": [second[names[index]] for index in both],
                "predicted": [result["predicted"][index] for index in both],
            }
            for result in of(found, "edge", model)
        ]
        rows.append(row_of(model, results))
    repeat = {
        "measured": [second[names[i]] for i in both],
        "predicted": [first[names[i]] for i in both],
    }
    return [*rows, row_of("session 1 itself, as measured", [repeat])]


def chosen_sizes(found: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often each size was chosen in the folds."""
    rows = []
    for model in ("the same, size from a grid", "the same, size from a finer grid"):
        total: dict[str, int] = {}
        for result in of(found, "edge", model):
            for size, times in result["chosen"]["size"].items():
                total[size] = total.get(size, 0) + times
        rows.append({"model": model, "chosen": dict(sorted(total.items()))})
    return rows


def stairs_table(found: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The share of the stair that each data set feels, with its standard deviation in log-odds."""
    rows = []
    for data in dict.fromkeys(key[1] for key in found if key[0] == "stairs"):
        results = of(found, "stairs", data)
        share = results[0]["estimates"]["stairs"]
        rows.append(row_of("stairs free", results, data=data, share=share["value"], deviation=share["deviation"]))
    return rows


def larger_table(found: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every data set's layers that are four times as large as any that was seen."""
    models = {"best": gemmini_models(BEST), "auto": gemmini_models(AUTO) | AUTO_MODELS, "edge": edge_models()}
    models |= dict.fromkeys(TILERS, rtl_models())
    rows = []
    for data, own in models.items():
        results = {model: of(found, f"{data} larger", model) for model in own}
        rows += [row_of(model, each, data=data) for model, each in results.items() if each]
    return rows


# ---------------------------------------------------------------- goals


def goal_figures(tables: Mapping[str, list[dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, tuple[str, float]]]:
    """The figures that have a goal, and the goals."""
    figures: dict[str, Any] = {}
    goals: dict[str, tuple[str, float]] = {}

    def add(table: str, title: str, wanted: Mapping[str, tuple[str, float]], **which: str) -> None:
        for row in tables.get(table, []):
            if all(row[name] == value for name, value in which.items()):
                for name, goal in wanted.items():
                    figures[f"{title}, {name}"], goals[f"{title}, {name}"] = row[name], goal

    add(
        "best",
        "Gemmini best mappings",
        {"mape": ("<=", 0.11), "median": ("<=", 0.065), "spearman": (">=", 0.97)},
        model=HWCOST,
    )
    add("auto", "Gemmini default tiler", {"mape": ("<=", 0.21), "spearman": (">=", 0.965)}, model=HWCOST)
    add("few", f"Gemmini best mappings from {FEW} layers", {"mape": ("<=", 0.15)}, model=HWCOST)
    edge = {"mape": ("<=", 0.037), "median": ("<=", 0.023)}
    for model in (HWCOST, "hwcost, sharper loss, no priors", "the same, size from a grid"):
        add("edge", f"Edge TPU, {model}", edge, model=model)
    for tiler in (*TILERS, "all"):
        title = f"Gemmini builds, {tiler}"
        add("rtl", title, {"mape": ("<=", 0.22), "spearman": (">=", 0.95)}, model=HWCOST, tiler=tiler)
    for layers in ("convolutions", "depthwise"):
        wanted = {"median": ("<=", 0.001), "mean": ("<=", 0.005), "max": ("<=", 0.08)}
        add("uboost", f"U-Boost NAS's simulator, {layers}", wanted, model=HWCOST, layers=layers)
    if "edge sizes" in tables:
        sizes = tables["edge sizes"]
        figures["Edge TPU, size of least training cost"] = min(sizes, key=lambda row: row["cost"])["size"]
        for row, grid in zip(tables["edge chosen"], (EDGE_FEW_SIZES, EDGE_SIZES), strict=True):
            title = f"Edge TPU, folds of {len(SEEDS) * PARTS} that choose 64 from {len(grid)} sizes"
            figures[title] = row["chosen"].get("64", 0)
            if grid == EDGE_FEW_SIZES:
                goals[title] = (">=", len(SEEDS) * PARTS)
    return figures, goals
