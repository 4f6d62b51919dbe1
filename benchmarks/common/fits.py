"""The fits of agreement_measured.py: models, splits of the data, and the jobs that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from common.measured_data import (
    AUTO,
    BEST,
    EDGE,
    EDGE_CLOCK_HZ,
    EDGE_FEW_SIZES,
    EDGE_SHARP,
    EDGE_SIZES,
    RTL,
    TILERS,
    Form,
    edge_networks,
    features,
    gemmini_layers,
    macs_line,
    predict,
    roofline,
    rtl_products,
    scaled_formula,
    with_free_stairs,
    without_stairs,
)
from common.progress import progress_of
from hwcost import HwcostError
from hwcost.calibration import Measurement
from hwcost.calibration.result import folds

Array = np.ndarray[Any, Any]

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

    The first word of the name is the network or the build. A layer that two networks share belongs to the first.
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
        "hwcost without stairs and blocks": without_stairs(RTL)
        .without("cycles_per_block")
        .with_device(cycles_per_block=0.0, accumulators=None),
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
            known = "bus" if model.startswith("roofline") else "size" if model in (LINE, SCALED) else "all"
            measurements = rtl_products(folder, tiler, known)
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
    with ProcessPoolExecutor(workers) as pool, progress_of(len(jobs), "fits") as advance:
        running = {pool.submit(_done, key, job): key for key, job in jobs.items()}
        for done in as_completed(running):
            found[running[done]] = done.result()
            advance(1)
    return {key: found[key] for key in jobs}
