"""hwcost against measured chips and against a simulator, beside rivals on the same folds.

Every figure is of layers that the fit has not seen. Rivals are a line through MACs, the roofline, the same fit without
stairs, and gradient boosting (which needs scikit-learn: ``pip install hwcost[bench]``). They get the same folds; all
but boosting are fitted by the same lines of hwcost with the same loss.

Two things that the figures do not show. The forms of the model were chosen by looking at cross-validation on these same
rows; no untouched data are left. And figures by fold seed are of the same rows split anew, not of new data.

A data set that is not there is left out, and said to be.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the work is spread over processes

import numpy as np

from common import agreement_tables
from common.measured_data import (
    AUTO,
    BEST,
    DATA,
    EDGE,
    EDGE_CLOCK_HZ,
    EDGE_FEW_SIZES,
    EDGE_SHARP,
    EDGE_SIZES,
    FILES,
    RTL,
    TILERS,
    Form,
    edge_networks,
    features,
    gemmini_layers,
    macs_line,
    missing,
    predict,
    roofline,
    rows_of,
    rtl_products,
    scaled_formula,
    with_free_stairs,
    without_stairs,
)
from common.side_by_side import RESULTS, report
from hwcost import Conv2d, HwcostError, SystolicArray, layer_cost, load_device, smooth_ceil
from hwcost.calibration import Measurement, scores
from hwcost.calibration.validation import Scores, folds
from hwcost.model.formula import gemm_cycles
from hwcost.scalesim import TopologyLayer, counts, serial_array

Array = np.ndarray[Any, Any]
Tables = dict[str, list[dict[str, Any]]]

PARTS = 5
SEEDS = (0, 1, 2)
FURTHER_SEEDS = tuple(range(3, 23))
FEW = 16
FEW_SEEDS = tuple(range(6))
BOOSTING = {"n_estimators": 300, "learning_rate": 0.05, "subsample": 0.7, "random_state": 0}
HWCOST, BOOSTED = "hwcost", "gradient boosting"
LINE, SCALED = "line through MACs", "the author's formula, scaled"

# ---------------------------------------------------------------- models and splits


def boosted(train: Sequence[Measurement], test: Sequence[Measurement]) -> Array:
    """Seconds by gradient boosting of log latency on logarithms of sizes."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(**BOOSTING)
    model.fit([features(one) for one in train], np.log([one.seconds for one in train]))
    return np.exp(model.predict([features(one) for one in test]))


def trained(form: Form | None, train: Sequence[Measurement], test: Sequence[Measurement]) -> Array:
    """Seconds of some measurements by a form (None: boosting) that was fitted to others."""
    if form is None:
        return boosted(train, test)
    found = form.fitted(train, folds=2, fold_seeds=(0,))  # two folds: its own validation is of no interest here
    return predict(form, found, test)


def held_out(form: Form | None, measurements: Sequence[Measurement], seed: int) -> dict[str, Any]:
    """Every measurement as predicted by a fit to the other folds."""
    if form is not None:
        found = form.fitted(measurements, folds=PARTS, fold_seeds=(seed,))
        keys = ("values", "estimates", "chosen", "range", "scores_seen")
        whole = found.as_dict()
        return {"measured": found.measured, "predicted": found.predicted} | {key: whole[key] for key in keys}
    groups = [one.group or str(index) for index, one in enumerate(measurements)]
    predicted = np.empty(len(measurements))
    for part in folds(groups, PARTS, seed):
        train = [one for index, one in enumerate(measurements) if index not in set(part.tolist())]
        predicted[part] = boosted(train, [measurements[index] for index in part])
    return {"measured": tuple(one.seconds for one in measurements), "predicted": tuple(predicted.tolist())}


def few(form: Form | None, measurements: Sequence[Measurement], seed: int) -> dict[str, Any]:
    """All but a few as predicted by a fit to the few."""
    order = np.random.default_rng(seed).permutation(len(measurements))
    train, test = ([measurements[index] for index in part] for part in (order[:FEW], order[FEW:]))
    return _pairs(test, trained(form, train, test))


def others(form: Form | None, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Each network's layers, or each build's, as predicted by a fit to those of all others.

    The first word of the name says which. A layer that two networks share belongs to the first.
    """
    owners = [one.name.split()[0] for one in measurements]
    predicted = np.empty(len(measurements))
    for owner in dict.fromkeys(owners):
        inside = [index for index, own in enumerate(owners) if own == owner]
        train = [one for one, own in zip(measurements, owners, strict=True) if own != owner]
        predicted[inside] = trained(form, train, [measurements[index] for index in inside])
    return _pairs(measurements, predicted)


def larger(form: Form | None, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Layers of at least four times the MACs of any layer that the fit has seen.

    Seen are those of the smaller half that leave something to predict.
    """
    order = sorted(measurements, key=lambda one: one.macs)
    train = [one for one in order[: len(order) // 2] if 4 * one.macs <= order[-1].macs]
    test = [one for one in order if one.macs >= 4 * train[-1].macs]
    return _pairs(test, trained(form, train, test))


def _pairs(measurements: Sequence[Measurement], predicted: Array) -> dict[str, Any]:
    return {"measured": tuple(one.seconds for one in measurements), "predicted": tuple(predicted.tolist())}


def edge_size(form: Form, measurements: Sequence[Measurement], size: int) -> dict[str, Any]:
    """How well arrays of one size explain the sweep: the cost of training on all rows, and held-out errors."""
    scaled = form.with_device(rows=size, cols=size, clock_hz=EDGE_CLOCK_HZ * (64 / size) ** 2)
    found = scaled.fitted(measurements, folds=PARTS, fold_seeds=SEEDS)
    far = np.log(predict(scaled, found, measurements) / np.array(found.measured)) / form.options["robust"]
    cost = float(np.sum(np.sqrt(1 + far * far) - 1))
    return {"size": size, "cost": cost, "mape": found.scores.mape, "median": found.scores.median}


# ---------------------------------------------------------------- the work, job by job

Key = tuple[str, ...]
Job = Callable[[], dict[str, Any]]


def gemmini_jobs(folder: Path) -> dict[Key, Job]:
    jobs: dict[Key, Job] = {}
    for name, column, form in (("best", "best_cycles", BEST), ("auto", "auto_cycles_med", AUTO)):
        measurements = gemmini_layers(folder, column)
        models = gemmini_models(form) | (AUTO_MODELS if name == "auto" else {})
        for model, own in models.items():
            for seed in SEEDS:
                jobs[name, model, f"seed {seed}"] = functools.partial(held_out, own, measurements, seed)
            jobs[f"{name} larger", model, "seed 0"] = functools.partial(larger, own, measurements)
            if name == "best":
                jobs["network", model, "seed 0"] = functools.partial(others, own, measurements)
                for seed in FEW_SEEDS:
                    jobs["few", model, f"seed {seed}"] = functools.partial(few, own, measurements, seed)
        if name == "best":
            for seed in FURTHER_SEEDS:
                jobs["further", HWCOST, f"seed {seed}"] = functools.partial(held_out, form, measurements, seed)
    return jobs


def gemmini_models(form: Form) -> dict[str, Form | None]:
    return {
        HWCOST: form,
        "hwcost without priors": form.with_options(prior=None),
        "hwcost without stairs": without_stairs(form),
        "roofline": roofline(),
        "roofline and a constant": roofline(constant=True),
        LINE: macs_line(),
        SCALED: scaled_formula(),
        BOOSTED: None,
    }


AUTO_MODELS: dict[str, Form | None] = {
    "the form of the best mappings": BEST,
    "hwcost, inputs read again at the same bandwidth": AUTO.without("reread_bytes_per_s"),
}


def edge_models() -> dict[str, Form | None]:
    size = (64, 64, EDGE_CLOCK_HZ)
    return {
        HWCOST: EDGE,
        "hwcost, sharper loss, no priors": EDGE_SHARP,
        "the same, size from a grid": EDGE_SHARP.with_options(grid={"size": EDGE_FEW_SIZES}),
        "the same, size from a finer grid": EDGE_SHARP.with_options(grid={"size": EDGE_SIZES}),
        "the same without stairs": without_stairs(EDGE_SHARP),
        "the same with whole stairs": EDGE_SHARP.without("stairs").with_device(row_stairs=1.0, col_stairs=1.0),
        "roofline": roofline(*size).with_options(robust=0.02),
        "roofline and a constant": roofline(*size, constant=True).with_options(robust=0.02),
        LINE: macs_line(*size).with_options(robust=0.02),
        SCALED: scaled_formula(*size).with_options(robust=0.02),
        BOOSTED: None,
    }


def edge_jobs(folder: Path) -> dict[Key, Job]:
    measurements = edge_networks(folder)
    jobs: dict[Key, Job] = {
        ("edge", model, f"seed {seed}"): functools.partial(held_out, form, measurements, seed)
        for model, form in edge_models().items()
        for seed in SEEDS
    }
    for model, form in edge_models().items():
        jobs["edge larger", model, "seed 0"] = functools.partial(larger, form, measurements)
    for size in EDGE_SIZES:
        jobs["edge sizes", str(size), "all"] = functools.partial(edge_size, EDGE_SHARP, measurements, size)
    return jobs


def rtl_models() -> dict[str, Form | None]:
    return {
        HWCOST: RTL,
        "hwcost without priors": RTL.with_options(prior=None),
        "hwcost without stairs": without_stairs(RTL),
        "hwcost without stairs and blocks": without_stairs(RTL).without("cycles_per_block"),
        "roofline": roofline(),
        "roofline and a constant": roofline(constant=True),
        LINE: macs_line(),
        SCALED: scaled_formula(),
        BOOSTED: None,
    }


def rtl_jobs(folder: Path) -> dict[Key, Job]:
    jobs: dict[Key, Job] = {}
    for tiler in TILERS:
        for model, form in rtl_models().items():
            told = "bus" if model.startswith("roofline") else "size" if model in (LINE, SCALED) else "all"
            measurements = rtl_products(folder, tiler, told)
            for seed in SEEDS:
                jobs[tiler, model, f"seed {seed}"] = functools.partial(held_out, form, measurements, seed)
            jobs[f"{tiler} larger", model, "seed 0"] = functools.partial(larger, form, measurements)
            jobs[f"{tiler} by build", model, "seed 0"] = functools.partial(others, form, measurements)
    return jobs


def _done(key: Key, job: Job) -> dict[str, Any]:
    try:
        return job()
    except HwcostError as error:  # whatever the error holds, its words arrive
        raise RuntimeError(f"{', '.join(key)}: {error}") from None


def stairs_jobs(folder: Path, left_out: Mapping[str, str]) -> dict[Key, Job]:
    """What share of the stair each data set feels."""
    sets: dict[str, tuple[str, Form, Callable[[], list[Measurement]]]] = {
        "best": ("gemmini", BEST, functools.partial(gemmini_layers, folder, "best_cycles")),
        "edge": ("edge", EDGE_SHARP, functools.partial(edge_networks, folder)),
        **{tiler: ("rtl", RTL, functools.partial(rtl_products, folder, tiler)) for tiler in TILERS},
    }
    return {
        ("stairs", data, f"seed {seed}"): functools.partial(held_out, with_free_stairs(form), measurements(), seed)
        for data, (file, form, measurements) in sets.items()
        if file not in left_out
        for seed in SEEDS
    }


def run(jobs: Mapping[Key, Job], workers: int) -> dict[Key, dict[str, Any]]:
    """The results of all jobs, in the order of the jobs."""
    found: dict[Key, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers) as pool:
        running = {pool.submit(_done, key, job): key for key, job in jobs.items()}
        for done in as_completed(running):
            found[running[done]] = done.result()
            print(f"\r{len(found)} of {len(jobs)} fits  ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {key: found[key] for key in jobs}


# ---------------------------------------------------------------- what needs no fit


def uboost_layers(folder: Path) -> Iterator[tuple[str, Array, dict[str, Array]]]:
    """For convolutions and depthwise ones the cycles of U-Boost NAS's simulator, and those of models by name."""
    for kind, label in (("Conv2d", "convolutions"), ("DepthwiseConv2d", "depthwise")):
        own = [row for row in rows_of(folder, "uboost") if row["kind"] == kind]
        c = {name: np.array([int(row[name]) for row in own]) for name in ("h", "w", "k1", "k2", "c", "f")}
        groups = c["c"] if kind == "DepthwiseConv2d" else 1
        layer = Conv2d(c["c"], c["f"], (c["k1"], c["k2"]), c["h"], c["w"], padding="same", groups=groups)
        plain = SystolicArray(128, 128)
        if kind == "Conv2d":
            smooth = layer_cost(layer, plain, relaxation="generalized").cycles
        else:  # its model has no columns there: one filter of each group
            smooth = smooth_ceil(c["k1"] * c["k2"] / 128, kind="generalized") * c["c"] * c["h"] * c["w"]
        models = {
            HWCOST: layer_cost(layer, UBOOST_ARRAY).cycles,
            "the author's formula": layer_cost(layer, plain).cycles,
            "U-Boost NAS's smooth model": smooth,
        }
        yield label, np.array([float(row["cycles"]) for row in own]), models


def uboost(folder: Path) -> list[dict[str, Any]]:
    """U-Boost NAS's cycle simulator beside hwcost, the author's formula, and U-Boost NAS's own smooth model."""
    rows = []
    everything: dict[str, list[tuple[Array, Array]]] = {}
    for label, simulated, models in uboost_layers(folder):
        for model, cycles in models.items():
            rows.append(simulator_row(label, model, simulated, np.asarray(cycles, dtype=float)))
            everything.setdefault(model, []).append((simulated, np.asarray(cycles, dtype=float)))
    together = {model: map(np.concatenate, zip(*pairs, strict=True)) for model, pairs in everything.items()}
    return rows + [simulator_row("both", model, *pair) for model, pair in together.items()]


UBOOST_ARRAY = load_device("uboost-csim")


def simulator_row(kind: str, model: str, simulated: Array, cycles: Array) -> dict[str, Any]:
    errors = np.abs(cycles / simulated - 1)
    return {
        "layers": kind,
        "model": model,
        "count": len(simulated),
        "median": float(np.median(errors)),
        "mean": float(errors.mean()),
        "max": float(errors.max()),
        "within_one_cycle": float(np.mean(np.abs(cycles - simulated) <= 1)),
        "spearman": scores(simulated, cycles).spearman,
    }


def scalesim(folder: Path) -> list[dict[str, Any]]:
    """The author's formula (ideal folds) and serial folds beside SCALE-Sim's cycles, by the size of square arrays."""
    pairs: dict[int, list[tuple[float, float, float]]] = {}
    for row in rows_of(folder, "scalesim"):
        if row["array_h"] != row["array_w"]:
            continue
        names = ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride_h", "stride_w")
        size, dataflow = int(row["array_h"]), row["dataflow"]
        (gemm,) = TopologyLayer("one", *(int(row[name]) for name in names)).gemms()
        ideal = gemm_cycles(gemm, SystolicArray(size, size, dataflow=dataflow))
        serial = counts(gemm, serial_array(size, size, dataflow)).total_cycles
        pairs.setdefault(size, []).append((float(row["total_cycles"]), ideal, serial))
    found = []
    for size, triples in sorted(pairs.items()):
        simulated, ideal, serial = np.array(triples).T
        found.append(
            {
                "size": size,
                "count": len(simulated),
                "ideal_median_ratio": float(np.median(ideal / simulated)),
                "ideal_lowest_ratio": float((ideal / simulated).min()),
                "ideal_spearman": scores(simulated, ideal).spearman,
                "serial_equal": float(np.mean(serial == simulated)),
            }
        )
    return found


def scalesim_on_rtl(folder: Path) -> dict[str, Array]:
    """SCALE-Sim's cycles of the products that were run on Gemmini's builds, in the order of the tilers."""
    measurements = [one for tiler in TILERS for one in rtl_products(folder, tiler)]
    sizes = [int(one.device["rows"]) for one in measurements]

    def cycles(dataflow: str) -> Array:
        pairs = zip(measurements, sizes, strict=True)
        found = (counts(one.layers[0], serial_array(size, size, dataflow)) for one, size in pairs)
        return np.array([each.total_cycles for each in found])

    return {f"SCALE-Sim, {dataflow}": cycles(dataflow) for dataflow in ("ws", "os")}


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


# ---------------------------------------------------------------- the run


def all_tables(
    folder: Path, workers: int, *, with_boosting: bool
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Every table, and for each data set that is left out why."""
    left_out = {name: why for name in FILES if (why := missing(folder, name))}
    for why in left_out.values():
        print(f"left out: {why}")
    jobs: dict[Key, Job] = {}
    for name, make in (("gemmini", gemmini_jobs), ("edge", edge_jobs), ("rtl", rtl_jobs)):
        jobs |= {} if name in left_out else make(folder)
    jobs |= stairs_jobs(folder, left_out)
    found = run({key: job for key, job in jobs.items() if with_boosting or key[1] != BOOSTED}, workers)
    tables: Tables = {}
    if "gemmini" not in left_out:
        for table, form in (("best", BEST), ("auto", AUTO), ("few", BEST), ("network", BEST)):
            models = gemmini_models(form) | (AUTO_MODELS if table == "auto" else {})
            tables[table] = fitted_table(found, table, models)
        tables["further"] = fitted_table(found, "further", {HWCOST: BEST})
    if "edge" not in left_out:
        tables["edge"] = fitted_table(found, "edge", edge_models())
        tables["edge sizes"] = [result for key, result in found.items() if key[0] == "edge sizes"]
        tables["edge chosen"] = chosen_sizes(found)
        tables["edge session 2"] = session_table(folder, found)
    if "rtl" not in left_out:
        tables["rtl"] = rtl_table(found, scalesim_on_rtl(folder))
        tables["rtl by build"] = rtl_table(found, {}, " by build")
    tables["stairs"] = stairs_table(found)
    tables["larger"] = larger_table(found)
    tables["estimates"] = estimates_table(found)
    if "uboost" not in left_out:
        tables["uboost"] = uboost(folder)
    if "scalesim" not in left_out:
        tables["scalesim"] = scalesim(folder)
    return tables, left_out


def has_boosting() -> bool:
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError:
        print("left out: gradient boosting, which needs scikit-learn (pip install hwcost[bench])")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown as well")
    args = parser.parse_args()
    start = time.perf_counter()
    tables, left_out = all_tables(args.data, args.jobs, with_boosting=has_boosting())
    figures, goals = goal_figures(tables)
    settings = {
        "folds": PARTS,
        "fold seeds": list(SEEDS),
        "further fold seeds": list(FURTHER_SEEDS),
        f"seeds of the {FEW} layers": list(FEW_SEEDS),
        "seed of the starting points": 0,
        "gradient boosting": BOOSTING,
        "left out": left_out,
    }
    met = report(
        "agreement_measured", settings, figures, goals, more={"tables": tables}, packages=("scipy", "scikit-learn")
    )
    agreement_tables.write(RESULTS)
    if args.markdown:
        print((RESULTS / "agreement_measured.md").read_text())
    print(f"{math.ceil(time.perf_counter() - start)} seconds", file=sys.stderr)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
