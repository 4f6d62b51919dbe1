"""Calibration: true numbers are found again, undetermined ones are reported, and bad rows are listed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

pytest.importorskip("scipy")
from measuring import START, measure, run, some_layers, some_networks, write
from refusals import refused

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, SystolicArray, layer_cost, load_device
from hwcost.calibration import (
    FIT_PARAMETERS,
    Measurement,
    Scores,
    device_file,
    fit,
    medians_of_repeats,
    read_measurements,
    scores,
)
from hwcost.calibration import stack as stack_module
from hwcost.calibration.descent import minimise
from hwcost.calibration.result import folds
from hwcost.calibration.stack import Stack
from hwcost.cli import main
from hwcost.devices import ExtrapolationWarning, read_device, write_device
from hwcost.machine import adapt

TRUTH = {
    "cycles_per_row": 1.3, "cycles_per_fold": 25.0, "min_streamed": 40.0, "cycles_per_layer": 700.0,
    "cycles_per_block": 90.0, "weight_bytes_per_s": 3e9, "input_bytes_per_s": 2e9, "output_bytes_per_s": 1e9,
    "activation_bytes_per_s": 1.5e9, "reread_bytes_per_s": 6e9, "dram_bytes_per_s": 1.2e9, "filter_block": 40.0,
    "overlap": 0.35, "row_stairs": 0.6, "col_stairs": 0.7, "stairs": 0.65, "vector_bytes_per_s": 8e8,
    "cycles_per_output_block": 80.0, "fold_latency": 900.0,
    "pipeline_cycles": 3000.0, "cycles_per_output": 0.3, "start_up_cycles": 600.0,
     "cycles_per_run": 4000.0, "host_bytes_per_s": 6e8, "spill_bytes_per_s": 3e8,
}  # fmt: skip
NEXT_TO_IT = {
    "cycles_per_block": {"accumulators": 2048, "cycles_per_block": 100.0},
    "fold_latency": {"accumulators": 1024, "fold_latency": 600.0},
    "reread_bytes_per_s": {"filter_block": 20.0, "input_bytes_per_s": 5e8},
    "filter_block": {"input_bytes_per_s": 5e8},
    "overlap": {"dram_bytes_per_s": 1e9},
    "pipeline_cycles": {"dram_bytes_per_s": 1e9},
    "start_up_cycles": {"starts_up": True, "start_up_cycles": 100.0},
    "spill_bytes_per_s": {"weight_capacity_bytes": 2e4, "filter_multiple": 16, "spill_bytes_per_s": 1e9},
} | {
    f"{what}_bytes_per_s": {"overlap": 1.0, f"{field}_bytes_per_s": 8e9}
    for what, field in [("activation", "input"), *((each, each) for each in ("weight", "input", "output", "dram"))]
}
"""Other fields of the device from which the fit of a number starts."""
OF_NETWORKS = ("vector_bytes_per_s", "cycles_per_run", "host_bytes_per_s", "spill_bytes_per_s")


def truth_of(name, value, base=START):
    return dataclasses.replace(base, **dict.fromkeys(FIT_PARAMETERS[name].fields, value))


# ---------------------------------------------------------------- true numbers are found


def test_every_number_is_tried():
    assert set(TRUTH) == set(FIT_PARAMETERS)


@pytest.mark.parametrize("name", FIT_PARAMETERS)
def test_one_number_is_found(name):
    base = dataclasses.replace(START, **NEXT_TO_IT.get(name, {}))
    array = truth_of(name, TRUTH[name], base)
    layers = some_networks() if name in OF_NETWORKS else some_layers()
    found = fit(base, measure(array, layers), free=[name], prior=None, starts=3, folds=3, fold_seeds=(0,))
    assert found.values[name] == pytest.approx(TRUTH[name], rel=1e-4)
    assert found.scores.mape < 1e-4
    assert found.scores.spearman > 0.999
    assert found.estimates[name].is_determined
    for field in FIT_PARAMETERS[name].fields:
        assert getattr(found.device, field) == pytest.approx(TRUTH[name], rel=1e-4)
    assert type(found.device) is SystolicArray


@pytest.mark.parametrize("depths", [(1, 2, 3), (2,)])
def test_numbers_of_a_run_need_networks_of_several_depths(depths):
    array = dataclasses.replace(START, cycles_per_run=4000.0, cycles_per_layer=300.0)
    layers = some_layers()
    networks = [tuple(layers[i : i + depths[i % len(depths)]]) for i in range(len(layers) - 3)]
    found = fit(START, measure(array, networks), free=["cycles_per_run"], starts=2, folds=2, fold_seeds=(0,))
    asked = [text for text in found.questions if "cycles_per_run" in text]
    assert bool(asked) == (len(depths) == 1)
    if len(depths) == 1:
        with refused("free", "run"):
            fit(START, measure(array, networks), free="run")
    else:
        both = ["cycles_per_run", "cycles_per_layer"]
        found = fit(START, measure(array, networks), free=both, prior=None, starts=2, folds=2, fold_seeds=(0,))
        assert [found.values[name] for name in both] == pytest.approx([4000.0, 300.0], rel=1e-3)


def test_several_numbers_are_found_in_noise():
    truth = dataclasses.replace(
        START, cycles_per_row=1.2, cycles_per_layer=900.0, weight_bytes_per_s=2e9, input_bytes_per_s=1e9,
        output_bytes_per_s=1e9, overlap=0.4,
    )  # fmt: skip
    free = ["cycles_per_row", "cycles_per_layer", "weight_bytes_per_s", "activation_bytes_per_s", "overlap"]
    found = fit(START, measure(truth, noise=0.02), free=free, fold_seeds=(0, 1))
    assert found.scores.mape < 0.03
    assert found.scores_seen.mape < found.scores.mape
    for name in free:
        true = getattr(truth, FIT_PARAMETERS[name].fields[0])
        each = found.estimates[name]
        assert each.is_determined
        distance = math.log(each.value / true)
        if FIT_PARAMETERS[name].is_share:
            distance = math.log(each.value / (1 - each.value)) - math.log(true / (1 - true))
        assert abs(distance) < 5 * each.deviation + 0.02, name


def test_an_unknown_width_is_found_by_trying():
    truth = dataclasses.replace(START, rows=24, cols=24)
    found = fit(START, measure(truth), free=["cycles_per_layer"], grid={"size": (8, 16, 24, 32)}, starts=2)
    assert (found.device.rows, found.device.cols, found.values["size"]) == (24, 24, 24)
    assert dict(found.chosen["size"]) == {24: 15}
    found = fit(
        dataclasses.replace(START, lowering="im2col"), measure(START), free=["cycles_per_layer"], starts=2, folds=2,
        grid={"lowering": ("im2col", "kernel-position"), "cols": (8, 16)},
    )  # fmt: skip
    assert (found.device.lowering, found.device.cols) == ("kernel-position", 16)


def test_the_stairs_earn_their_place():
    """On a machine with stairs, the same fit without them is worse on layers that it has not seen."""
    measured = measure(dataclasses.replace(START, cycles_per_layer=50.0), noise=0.02)
    free = ["cycles_per_layer", "cycles_per_fold"]
    with_stairs = fit(START, measured, free=free).scores
    without = fit(dataclasses.replace(START, row_stairs=0.0, col_stairs=0.0), measured, free=free).scores
    assert with_stairs.mape < 0.6 * without.mape


def test_outliers_do_not_pull_far():
    measured = measure(dataclasses.replace(START, cycles_per_row=1.5), noise=0.01)
    spoilt = [dataclasses.replace(m, seconds=m.seconds * (8 if i % 10 == 0 else 1)) for i, m in enumerate(measured)]
    found = fit(START, spoilt, free=["cycles_per_row"], prior=None)
    assert found.values["cycles_per_row"] == pytest.approx(1.5, rel=0.03)
    assert found.scores.median < 0.03 < found.scores.mape


def test_numbers_that_the_data_do_not_determine_are_marked():
    layers = [Linear(64, 64, batch=b) for b in range(100, 1000, 30)]  # nothing of these tells weights from a constant
    array = dataclasses.replace(START, cycles_per_layer=500.0, weight_bytes_per_s=1e9, overlap=1.0)
    found = fit(
        dataclasses.replace(START, overlap=1.0, weight_bytes_per_s=8e9), measure(array, layers, noise=0.01), prior=None,
        free=["cycles_per_row", "cycles_per_layer", "weight_bytes_per_s", "row_stairs"],
    )  # fmt: skip
    assert not found.estimates["cycles_per_layer"].is_determined
    assert not found.estimates["weight_bytes_per_s"].is_determined
    assert not found.estimates["row_stairs"].is_determined
    assert found.estimates["row_stairs"].deviation > 5
    assert found.estimates["row_stairs"].deviation_in_words == "unknown"


def test_a_prior_keeps_undetermined_numbers():
    found = fit(START, measure(START), free=["cycles_per_row", "row_stairs"], fold_seeds=(0,))
    narrow = fit(truth_of("cycles_per_row", 2.0), measure(START), free=["cycles_per_row"], prior=1e-3)
    assert found.values["cycles_per_row"] == pytest.approx(1.0, rel=0.05)
    assert narrow.values["cycles_per_row"] == pytest.approx(2.0, rel=0.1)


def test_measurements_of_several_builds_share_their_numbers():
    measured = []
    for rows, bus in ((8, 1e9), (16, 2e9), (32, 4e9)):
        own = dataclasses.replace(
            START, rows=rows, cols=rows, weight_bytes_per_s=0.6 * bus, cycles_per_fold=20.0, overlap=1.0
        )
        for one in measure(own):
            fields = {"rows": rows, "cols": rows, "weight_bytes_per_s": bus}
            measured.append(dataclasses.replace(one, device=fields, group=one.name))
    base = dataclasses.replace(START, weight_bytes_per_s=1e9, overlap=1.0)
    found = fit(base, measured, free=["cycles_per_fold", "weight_bytes_per_s"], prior=None)
    assert found.values["cycles_per_fold"] == pytest.approx(20.0, rel=1e-3)
    assert found.values["weight_bytes_per_s"] == pytest.approx(0.6e9, rel=1e-3)  # of the device that the fit began with
    assert found.scores.mape < 1e-3


# ---------------------------------------------------------------- repeatable


def test_the_same_again():
    measured = measure(dataclasses.replace(START, cycles_per_row=1.4), noise=0.05)
    first, second = (fit(START, measured, free=["cycles_per_row", "cycles_per_layer"], folds=3) for _ in range(2))
    assert first == second
    assert json.dumps(first.as_dict()) == json.dumps(second.as_dict())
    other = fit(START, measured, free=["cycles_per_row", "cycles_per_layer"], folds=3, fold_seeds=(7,))
    assert other.scores != first.scores
    assert other.values == first.values


def test_progress_goes_to_the_end():
    for free, grid, searches in ((["cycles_per_row"], {"size": (16, 24)}, 2), (["scaled", "compute"], {}, 4)):
        seen = []
        options = {"starts": 1, "folds": 3, "fold_seeds": (0,), "progress": lambda *at: seen.append(at)}  # noqa: B023
        fit(START, measure(START), free=free, grid=grid, **options)
        assert seen == [(done, searches) for done in range(1, searches + 1)]


def test_repeats_count_once_by_their_median():
    layer, other = Linear(64, 64), Linear(64, 65)
    repeats = [Measurement((layer,), s) for s in (3.0, 1.0, 2.0)] + [Measurement((other,), 5.0)]
    assert [(m.layers[0], m.seconds) for m in medians_of_repeats(repeats)] == [(layer, 2.0), (other, 5.0)]
    on_two = [Measurement((layer,), 1.0, device={"rows": 8}), Measurement((layer,), 2.0)]
    assert len(medians_of_repeats(on_two)) == 2


@given(st.lists(st.integers(0, 6), min_size=5, max_size=40), st.integers(2, 5), st.integers(0, 9))
@tried(40)
def test_every_measurement_is_held_out_once_with_its_group(groups, parts, seed):
    held_out = list(folds(groups, parts, seed))
    assert sorted(np.concatenate(held_out).tolist()) == list(range(len(groups)))
    for part in held_out:
        inside = {groups[i] for i in part}
        assert not inside & {group for i, group in enumerate(groups) if i not in part}


def test_held_out_predictions_do_not_know_their_measurement():
    """A measurement that is spoilt changes the predictions of others, not its own in its fold."""
    measured = measure(dataclasses.replace(START, cycles_per_row=1.4), noise=0.02)
    spoilt = list(measured)
    spoilt[3] = dataclasses.replace(measured[3], seconds=measured[3].seconds * 50)
    found, changed = (fit(START, m, free=["cycles_per_row"], fold_seeds=(0,), robust=10.0) for m in (measured, spoilt))
    assert changed.predicted[3] == found.predicted[3]
    assert changed.predicted != found.predicted


# ---------------------------------------------------------------- the search for the least squares


def bent_curves(count, numbers):
    """Residuals of problems with kinks, of bad scale, with data that no numbers explain: points, widths, a function."""
    random = np.random.default_rng(numbers)
    slopes = random.normal(size=(count, 12, numbers)) * np.geomspace(1, 1e-2, numbers)
    data = random.normal(size=(count, 12)) + np.exp(np.minimum(slopes @ np.ones(numbers), 3))

    def residuals(which, x):
        bent = np.maximum(np.exp(np.minimum((slopes[which] @ x[:, :, None])[:, :, 0], 3)), 0.2)
        return bent - data[which]

    return residuals, random.normal(size=(count, numbers)), np.full((count, numbers), 2.0)


@pytest.mark.parametrize("numbers", [1, 3, 6])
def test_many_problems_at_once_reach_what_each_reaches_alone(numbers):
    from scipy.optimize import least_squares

    residuals, start, widths = bent_curves(40, numbers)
    farthest = np.full(numbers, 1.5)
    found = minimise(residuals, start, widths, farthest, 1e-10)
    assert (np.abs(found.x) <= farthest).all()
    worse = []
    for index, (own, width) in enumerate(zip(np.clip(start, -1.5 + 1e-9, 1.5 - 1e-9), widths, strict=True)):
        which = np.array([index])
        alone = least_squares(
            lambda x, which=which, width=width: np.concatenate([residuals(which, x[None])[0], x / width]),
            own, bounds=(-farthest, farthest), xtol=1e-10, ftol=1e-10,
        )  # fmt: skip
        worse.append(found.cost[index] / alone.cost)
        (again,) = minimise(lambda _, x, which=which: residuals(np.repeat(which, len(x)), x), start[which],
                            widths[which], farthest, 1e-10).cost  # fmt: skip
        assert again == found.cost[index]  # problems do not see each other
    assert np.median(worse) == pytest.approx(1, abs=1e-6)
    assert np.mean(np.array(worse) < 1 + 1e-6) > 0.9  # two searches may end in two minima


# ---------------------------------------------------------------- the device that comes out


def test_the_stack_prices_as_the_runtime_does(monkeypatch):
    array = dataclasses.replace(
        START, cycles_per_row=1.1, dram_bytes_per_s=1e9, overlap=0.2, filter_block=30.0, row_stairs=0.7,
        accumulators=4096, rereads_inputs=True, cycles_per_block=9.0, min_streamed=12.0,
    )  # fmt: skip
    measured = [
        Measurement((Linear(100, 70, batch=9), Conv2d(7, 9, 3, 8, 8)), 1.0),
        Measurement((Gemm(5, 6, 7, 8),), 1.0, device={"rows": 8}),
        Measurement((Conv2d(12, 12, 3, 8, 8, groups=12, padding=1),), 1.0),
    ]
    stack = Stack.of(measured, array)
    rates = np.geomspace(1e8, 1e10, 7)
    expected = [
        [
            sum(layer_cost(layer, dataclasses.replace(array, dram_bytes_per_s=rate, **one.device)).seconds
                for layer in one.layers)
            for one in measured
        ]
        for rate in rates.tolist()
    ]  # fmt: skip
    machine = adapt(array, stack.fields).array
    assert stack.predict(machine, {"dram_bytes_per_s": rates[:, None]}) == pytest.approx(np.array(expected), rel=1e-12)
    monkeypatch.setattr(stack_module, "_MOST", 9)  # two rows at a time
    assert stack.predict(machine, {"dram_bytes_per_s": rates[:, None]}) == pytest.approx(np.array(expected), rel=1e-12)


def test_the_device_is_differentiable():
    torch = pytest.importorskip("torch")
    start = dataclasses.replace(START, dram_bytes_per_s=1e9)
    found = fit(start, measure(dataclasses.replace(start, cycles_per_row=1.4)), free=["cycles_per_row", "overlap"])
    width = torch.tensor(40.3, requires_grad=True)
    cycles = layer_cost(Linear(width, 64, batch=50), found.device, relaxation="shifted").cycles
    (slope,) = torch.autograd.grad(cycles, (width,))
    assert torch.isfinite(slope)
    assert slope >= 0


def test_extrapolation_is_warned_about():
    found = fit(START, measure(START), free=["cycles_per_row"], folds=3, fold_seeds=(0,))
    inside = some_layers()[5]
    assert found.beyond(inside) == []
    assert found.predict(inside) == pytest.approx(layer_cost(inside, found.device).seconds)
    with pytest.warns(ExtrapolationWarning, match="k is 40,000, but layers of"):
        found.predict(Linear(40000, 64, batch=50))


def test_a_calibration_becomes_a_device_file(tmp_path):
    pytest.importorskip("tomli_w")
    base = read_device("gemmini")
    measured = measure(dataclasses.replace(base.array, cycles_per_layer=900.0))
    found = fit("gemmini", measured, free=["cycles_per_layer", "stairs"], grid={"size": (8, 16)}, starts=2)
    made = device_file(found, base, name="mine", data="layers", source="bench", licence="CC0-1.0", notes=("a note",))
    write_device(tmp_path / "mine.toml", made)
    again = read_device(tmp_path / "mine.toml")
    assert again == made
    assert again.array == found.device == load_device(str(tmp_path / "mine.toml"))
    assert again.entries["cycles_per_layer"].status == again.entries["rows"].status == "derived"
    assert again.entries["clock_hz"] == base.entries["clock_hz"]
    assert again.facts == base.facts
    assert again.fit.ranges == found.ranges
    assert set(again.fit.identified) | set(again.fit.not_identified) == {"cycles_per_layer", "row_stairs", "col_stairs"}
    assert again.beyond(Gemm(10**6, 10, 10))
    from_array = device_file(found, START, name="mine", data="layers", source="bench", licence="CC0-1.0")
    assert from_array.entries["clock_hz"].status == "assumed"


# ---------------------------------------------------------------- refused settings


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"free": []}, "free"), ({"free": "overlap"}, "free"), ({"free": ["speed"]}, "free"),
     ({"free": ["overlap", "overlap"]}, "free"), ({"free": ["stairs", "row_stairs"]}, "free"),
     ({"free": [3]}, "free"),
     ({"free": ["cycles_per_row", "cycles_per_fold", "cycles_per_layer", "min_streamed", "overlap", "stairs",
                "weight_bytes_per_s", "activation_bytes_per_s", "reread_bytes_per_s"]}, "free"),
     ({"grid": {"colour": (1,)}}, "grid"), ({"grid": {"size": ()}}, "grid['size']"),
     ({"grid": {"size": (8,), "rows": (8,)}}, "grid"), ({"grid": {"rows": (0,)}}, "SystolicArray.rows"),
     ({"grid": {"lowering": ("im3col",)}}, "SystolicArray.lowering"),
     ({"prior": 0}, "prior"), ({"prior": -1}, "prior"), ({"prior": math.nan}, "prior"), ({"robust": 0}, "robust"),
     ({"starts": 0}, "starts"), ({"folds": 1}, "folds"), ({"folds": 2.5}, "folds"), ({"seed": -1}, "seed"),
     ({"fold_seeds": ("a",)}, "fold_seeds"), ({"folds": 100}, "folds"),
     ({"free": ["cycles_per_rwo"]}, "free"), ({"fold_seeds": ()}, "fold_seeds")],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range(changes, field):
    with pytest.raises(InvalidValueError) as caught:
        fit(START, measure(START), **({"free": ["cycles_per_row"]} | changes))
    assert caught.value.field == field


def test_few_groups_of_many_measurements_are_enough():
    """As of a handful of builds, each with all of the layers."""
    measured = measure(dataclasses.replace(START, cycles_per_row=1.4))
    grouped = [dataclasses.replace(one, group=str(index % 3)) for index, one in enumerate(measured)]
    found = fit(START, grouped, free=["cycles_per_row", "cycles_per_fold", "cycles_per_layer"], folds=3, prior=None)
    assert found.scores.mape < 1e-3


def test_too_few_measurements_and_what_is_none():
    few, free = measure(START)[:3], ["cycles_per_row", "overlap"]
    for arguments, field, value, allowed in [
        ((START, few), "the number of measurements", 3, "at least 5, to fit 2 numbers"),
        ((START, [1.0] * 20), "measurements", 1.0, "a sequence of Measurement"),
        ((3, few), "device", 3, "a SystolicArray"),
        (("gemini", few), "device", "gemini", "gemmini"),
    ]:
        with pytest.raises(InvalidValueError) as caught:
            fit(*arguments, free=free, folds=3, prior=None)
        assert (caught.value.field, caught.value.value) == (field, value)
        assert allowed in caught.value.allowed


def test_faster_than_every_pe_working():
    measured = measure(START)
    measured[4] = dataclasses.replace(measured[4], seconds=1e-12, source="x.csv, line 6")
    with refused("x.csv, line 6: the latency in cycles", allowed="at least"):
        fit(START, measured, free=["cycles_per_row"])
    larger = measure(dataclasses.replace(START, rows=32, cols=32))
    fit(START, larger, free=["cycles_per_row"], grid={"size": (16, 32)})


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "1", None, np.array([1.0])])
def test_latencies_that_are_none(bad):
    with pytest.raises(InvalidValueError, match=r"Measurement\.seconds"):
        Measurement((Linear(8, 8),), bad)


@pytest.mark.parametrize("bad", [(), None, (3,), (Linear(np.array([8, 9]), 8),), Linear(8, 8)])
def test_layers_that_are_none(bad):
    with pytest.raises(InvalidValueError, match=r"Measurement\.layers"):
        Measurement(bad, 1.0)


def test_fields_that_are_none():
    with refused("Measurement.device", "speed"):
        Measurement((Linear(8, 8),), 1.0, device={"speed": 3})


@pytest.mark.parametrize("device", [{"rows": -3}, {"rows": "x"}, {"overlap": 2.0}, {"rows": 10**30}, {"cols": True}])
def test_measured_machines_are_checked(device):
    with pytest.raises(InvalidValueError, match=r"Measurement\."):
        Measurement((Linear(8, 8),), 1.0, device=device)


def test_a_machine_that_only_some_measurements_name():
    measured = measure(START)
    some = [dataclasses.replace(m, device={"weight_bytes_per_s": 1e9} if i % 2 else {}) for i, m in enumerate(measured)]
    fit(dataclasses.replace(START, dram_bytes_per_s=2e9), some, free=["cycles_per_row"], folds=2, starts=1)
    some = [dataclasses.replace(m, device={"max_streamed": 64} if i % 2 else {}) for i, m in enumerate(measured)]
    with pytest.raises(InvalidValueError, match=r"max_streamed.* a number in every measurement"):
        fit(START, some, free=["cycles_per_row"], folds=2, starts=1)
    base = dataclasses.replace(START, dram_bytes_per_s=2e9)
    shares = [
        dataclasses.replace(measure(dataclasses.replace(base, overlap=share), [layer])[0], device={"overlap": share})
        for layer in some_layers() for share in (0.0, 1.0)
    ]  # fmt: skip
    assert fit(base, shares, free=["overlap"], folds=2, starts=1).scores.mape < 1e-3  # what they say is what they are


def test_groups_are_no_positions():
    measured = measure(START)
    named = [dataclasses.replace(measured[0], group="5"), *measured[1:]]
    plain = fit(START, measured, free=["cycles_per_row"], fold_seeds=(0,), starts=1)
    assert fit(START, named, free=["cycles_per_row"], fold_seeds=(0,), starts=1).predicted == plain.predicted


def test_repeated_runs_of_a_network(tmp_path):
    rows = [f"n,{run},linear,8,9,{us}" for run, us in ((1, 5), (2, 7), (3, 6)) for _ in range(2)]
    found = read_measurements(write(tmp_path, "network,run,kind,c,f,us", *rows), START).measurements
    assert [len(one.layers) for one in found] == [2, 2, 2]
    (one,) = medians_of_repeats(found)
    assert one.seconds == pytest.approx(6e-6)


def test_rows_are_compared_with_the_largest_machine_of_the_grid(tmp_path, capsys):
    array = dataclasses.replace(load_device("gemmini"), rows=64, cols=64)
    lines = [
        f"conv2d,1,{c},{f},30,30,{layer_cost(Conv2d(c, f, 1, 30, 30), array).cycles}"
        for c in (64, 128, 200, 256) for f in (64, 128, 160)
    ]  # fmt: skip
    path = str(write(tmp_path, "kind,k,c,f,h,w,cycles", *lines))
    args = ("--device", "gemmini", "--free", "cycles_per_row", "--shuffles", "1", "--starts", "1")
    code, _, err = run(capsys, path, *args)
    assert code == 2
    assert "are unit, device and its number of arrays right?" in err
    code, out, _ = run(capsys, path, *args, "--grid", "size=16,32,64", "--json")
    assert code == 0
    assert json.loads(out)["values"]["size"] == 64


def test_a_fit_that_starts_from_a_fit_is_noted(measured_csv, tmp_path, capsys):
    first, second = (str(tmp_path / name) for name in ("first.toml", "second.toml"))
    args = ("--free", "cycles_per_row", "--shuffles", "1", "--starts", "1")
    assert run(capsys, measured_csv, "--device", "gemmini", "-o", first, *args)[0] == 0
    code, _, err = run(capsys, measured_csv, "--device", first, "-o", second, *args)
    assert code == 0
    assert "Note: first was itself fitted" in err
    assert any("which was itself fitted" in note for note in read_device(second).notes)


def test_measurements_are_values():
    one = Measurement([Linear(8, 8)], 1, name="a", device={"rows": 8})
    assert pickle.loads(pickle.dumps(one)) == one
    assert (one.layers, one.seconds) == ((Linear(8, 8),), 1.0)


# ---------------------------------------------------------------- scores


def test_scores_by_hand():
    found = scores([1.0, 2.0, 4.0, 8.0], [1.1, 1.8, 6.0, 4.0])
    assert found.mape == pytest.approx((0.1 + 0.1 + 0.5 + 0.5) / 4)
    assert found.median == pytest.approx(0.3)
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(2 / 3)
    assert scores([1.0, 1.0], [1.0, 2.0]).spearman == 0.0
    mean = Scores.mean([found, scores([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0])])
    assert mean.mape == pytest.approx(0.15)
    assert mean.count == 4


# ---------------------------------------------------------------- files


HEADER = "name,kind,k,c,f,h,w,stride,groups,cycles"
ROWS = [
    "a,conv2d,3,8,16,14,14,1,1,40000",
    "b,depthwise,3,8,,14,14,2,,9000",
    'c,linear,,100,64,,,,,"3000"',
    "d,conv2d,1,8,16,14,14,,2,8000.5",
]


def test_rows_become_layers(tmp_path):
    found = read_measurements(write(tmp_path, HEADER, *ROWS[:2], "", ",,,,,,,,,", *ROWS[2:]), START)
    assert [one.layers[0] for one in found.measurements] == [
        Conv2d(8, 16, 3, height=14, width=14, padding="same"),
        Conv2d(8, 8, 3, height=14, width=14, padding="same", stride=2, groups=8),
        Linear(100, 64),
        Conv2d(8, 16, 1, height=14, width=14, padding="same", groups=2),
    ]
    assert [one.seconds * START.clock_hz for one in found.measurements] == pytest.approx([40000, 9000, 3000, 8000.5])
    assert [one.name for one in found.measurements] == ["a", "b", "c", "d"]
    assert [one.source.rpartition(" ")[2] for one in found.measurements] == ["2", "3", "6", "7"]


def test_products_units_and_machines(tmp_path):
    text = "kind,m,n,k,count,ms,rows,accumulators,group,remark"
    path = write(tmp_path, text, "gemm,10,20,30,2,1.5,8,,x,hello", "gemm,10,20,30,,2,,512,,")
    found = read_measurements(path, START)
    first, second = found.measurements
    assert (first.layers, first.seconds, dict(first.device), first.group) == (
        (Gemm(10, 20, 30, 2),), 0.0015, {"rows": 8}, "x"
    )  # fmt: skip
    assert dict(second.device) == {"accumulators": 512}
    assert found.ignored == ("remark",)


def test_networks_are_measured_together(tmp_path):
    path = write(
        tmp_path, "network,kind,c,f,us", "n,linear,8,9,5", "n,linear,9,10,", "other,linear,8,8,4", "n,linear,10,3,5",
    )  # fmt: skip
    first, second = read_measurements(path, START).measurements
    assert (first.layers, first.name) == ((Linear(8, 9), Linear(9, 10), Linear(10, 3)), "n")
    assert (first.seconds, second.seconds) == (pytest.approx(5e-6), pytest.approx(4e-6))
    bad = write(tmp_path, "network,kind,c,f,us", "n,linear,8,9,5", "n,linear,9,10,6", "m,linear,8,8,")
    with pytest.raises(InvalidValueError) as caught:
        read_measurements(bad, START)
    assert "line 2: network 'n' takes 5e-06 s, 6e-06 s" in str(caught.value)
    assert "line 4: network 'm' takes nothing" in str(caught.value)


BAD = [
    ("a,conv3d,3,8,16,14,14,1,1,40000", "line 2: kind is 'conv3d' (did you mean 'conv2d'?); allowed: one of: conv2d,"),
    ("a,conv2d,3,8,16,14,14,1,1,-4", "line 2: cycles is '-4'; allowed: a finite number above 0"),
    ("a,conv2d,3,8,16,14,14,1,1,nan", "line 2: cycles is 'nan'"),
    ("a,conv2d,3,8,16,14,14,1,1,0", "line 2: cycles is '0'"),
    ("a,conv2d,3,8,16,14,14,1,1,", "line 2: cycles is ''"),
    ("a,conv2d,3,8,16,14,14,1,1,fast", "line 2: cycles is 'fast'"),
    ("a,conv2d,3,8,16,14,14,1,1,1_0", "line 2: cycles is '1_0'"),
    ("a,conv2d,3,8,16,14,14,1,1,1e400", "line 2: cycles is '1e400'"),
    ("a,conv2d,3,0,16,14,14,1,1,40000", "line 2: Conv2d.in_channels is 0"),
    ("a,conv2d,3,8.5,16,14,14,1,1,40000", "line 2: c is '8.5'; allowed: an integer"),
    ("a,conv2d,3,8,,14,14,1,1,40000", "line 2: f is missing"),
    ("a,conv2d,,8,16,14,14,1,1,40000", "line 2: k1 is missing"),
    ("a,conv2d,3,8,16,14,14,1,3,40000", "line 2: Conv2d.in_channels is 8; allowed: a multiple of groups (3)"),
    ("a,conv2d,3,8,16,14,14,1,1", "line 2: the number of cells is 9; allowed: 10"),
    ("a,conv2d,3,800,1600,14,14,1,1,10", "at least"),
    ("a,linear,,100,64,7,,,,3000", "line 2: h cannot be used: linear does not have it"),
    ("a,depthwise,3,8,9,14,14,2,,9000", "line 2: f is '9'; allowed: 8"),
    ("a,conv2d,3,1e300,16,14,14,1,1,40000", "line 2: c is '1e300'; allowed: an integer up to 1e+15"),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[row for row, _ in BAD])
def test_bad_rows_are_named(tmp_path, row, message):
    with pytest.raises(InvalidValueError) as caught:
        read_measurements(write(tmp_path, HEADER, row, *ROWS), START)
    assert message in str(caught.value)
    assert "measured.csv" in str(caught.value)
    found = read_measurements(write(tmp_path, HEADER, row, *ROWS), START, skip_bad_rows=True)
    assert len(found.measurements) == 4
    assert len(found.left_out) == 1
    assert message in found.left_out[0]


def test_a_fault_of_many_rows_is_told_once(tmp_path):
    rows = ["a,conv9d,3,8,16,14,14,1,1,4", "a,conv2d,3,8,16,14,14,1,1,-4"] * 12
    with pytest.raises(InvalidValueError) as caught:
        read_measurements(write(tmp_path, HEADER, *rows), START)
    assert caught.value.value == 24
    assert str(caught.value).count("kind is 'conv9d'") == str(caught.value).count("cycles is '-4'") == 1
    assert "line 2 and 11 more: kind is 'conv9d'" in str(caught.value)
    assert "line 3 and 11 more: cycles is '-4'" in str(caught.value)


def test_all_bad_rows_are_listed_at_once(tmp_path):
    with pytest.raises(InvalidValueError) as caught:
        read_measurements(write(tmp_path, HEADER, *(f"a,conv2d,3,8,16,14,14,1,1,-{n}" for n in range(14))), START)
    assert caught.value.field.endswith(": the number of bad rows")
    assert caught.value.value == 14
    assert str(caught.value).count("cycles is '-") == 10
    assert "and 4 more" in str(caught.value)
    with pytest.raises(InvalidValueError, match="the number of measurements is 0"):
        read_measurements(write(tmp_path, HEADER, "a,conv2d,3,8,16,14,14,1,1,-4"), START, skip_bad_rows=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [(["name,cycles", "a,3"], "a column 'kind'"), (["kind,m,n,k", "gemm,1,1,1"], "a latency is 0; allowed: 1, one of"),
     (["kind,m,n,k,ms,us", "gemm,1,1,1,1,1"], "columns with a latency is 2"), ([""], "columns with a latency is 0"),
     (["kind,kind,ms", "gemm,gemm,1"], "twice"), (["kind,,ms", "gemm,1,1"], "no name"),
     (["kind,m,n,k,ms"], "the number of measurements is 0"), (['kind,"m,n'], "line"),
     (["kind,m,n,k,ms,rows", "gemm,1,1,1,1,0"], "line 2: rows is 0"),
     (["kind,m,n,k,ms,rows", "gemm,1,1,1,1,1e300"], "line 2: rows is an integer of 997 bits"),
     (["kind,m,n,k,ms,clock_hz", "gemm,1,1,1,1,1e9"], "a column is 'clock_hz'"),
     (["kind,c,f,k,k1,h,w,ms", "conv2d,1,1,3,3,5,5,1"], "line 2: k1 cannot be used: k is given")],
)  # fmt: skip
def test_files_without_measurements(tmp_path, lines, message):
    with pytest.raises(InvalidValueError) as caught:
        read_measurements(write(tmp_path, *lines), START)
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.csv").write_bytes("kind,ms\nk\xf6nig,1\n".encode("latin-1"))
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "latin.csv", "a\0b"):
        with pytest.raises(InvalidValueError, match=r"cannot be (read|used)"):
            read_measurements(path, START)


@given(st.text(max_size=200), st.booleans())
@tried(80)
def test_any_text_is_read_or_refused(tmp_path_factory, text, headed):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(((HEADER + "\n" if headed else "") + text).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InvalidValueError):  # anything else is a failure
        read_measurements(path, START)


# ---------------------------------------------------------------- the command line


def test_calibrate_from_the_command_line(measured_csv, tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "mine.toml")
    args = ("--device", "gemmini", "--free", "cycles_per_row,cycles_per_layer", "--shuffles", "1")
    code, text, progress = run(capsys, measured_csv, *args, "-o", out)
    assert code == 0
    assert "30 measurements, 2 numbers fitted" in text
    assert progress == ""
    assert run(capsys, measured_csv, *args, "--grid", "size=16,32")[2] == ""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "rich.console", None)
        patch.setattr(sys.stderr, "isatty", lambda: True)
        assert "100 % of 2 searches" in run(capsys, measured_csv, *args, "--grid", "size=16,32")[2]
    assert text.splitlines()[-1] == out
    found = read_device(out)
    assert found.array.cycles_per_layer == pytest.approx(900, rel=1e-2)
    assert found.fit.errors["mape"] < 0.01
    code, priced, note = (
        main(["estimate", "--device", out, "--k", "3", "--c", "40", "--f", "9999"]),
        *capsys.readouterr(),
    )
    assert code == 0
    assert note == ""
    assert "; n is 9999, but layers of 12 to 100 were measured on mine" in priced
    assert re.match(r"cycles +~\d", priced)


def test_calibrate_as_json_with_a_picture(measured_csv, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "residuals.png"
    code, text, _ = run(
        capsys, measured_csv, "--device", "gemmini", "--free", "cycles_per_row", "--grid", "size=8,16",
        "--prior", "none", "--shuffles", "2", "--plot", str(picture), "--json",
    )  # fmt: skip
    assert code == 0
    content = json.loads(text)
    assert content["schema"] == "hwcost.calibrate/1"
    assert content["values"]["size"] == 16
    assert content["chosen"]["size"] == {"16": 10}
    assert len(content["measurements"]) == 30
    assert content["settings"]["fold_seeds"] == [0, 1]
    assert picture.stat().st_size > 5000


def test_title_text_and_repr_have_one_mean_error_of_all_shuffles(measured_csv, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    from hwcost import calibration, plot

    titles, found = [], []
    monkeypatch.setattr(plot, "save", lambda figure, path: titles.append(figure.get_suptitle()))
    fitted = calibration.fit
    monkeypatch.setattr(calibration, "fit", lambda *args, **more: found.append(fitted(*args, **more)) or found[0])
    _, text, _ = run(
        capsys, measured_csv, "--device", "gemmini", "--free", "cycles_per_row", "--prior", "none", "--shuffles", "3",
        "--starts", "1", "--plot", str(tmp_path / "a.png"),
    )  # fmt: skip
    (shown,) = re.findall(r"^mean error +([\d.]+ %)", text, re.M)
    assert f"mean error {shown} on held-out" in titles[0]
    assert f"mean error {shown} held out" in repr(found[0])
    assert len({round(each.mape, 12) for each in found[0].scores_by_seed}) > 1


@pytest.mark.parametrize(
    ("args", "message"),
    [([], "--device is missing"), (["--device", "gemini"], "--device is 'gemini'"),
     (["--device", "gemmini", "--free", "speed"], "unknown number 'speed' in --free"),
     (["--device", "gemmini", "--grid", "size"], "--grid is 'size'"),
     (["--device", "gemmini", "--grid", "speed=1"], "unknown field 'speed' in --grid"),
     (["--device", "gemmini", "--grid", "size=1:9999"], "at most 1000 values"),
     (["--device", "gemmini", "--grid", "size=8", "--grid", "size=16"], "--grid is 'size'; allowed: each name once"),
     (["--device", "gemmini", "--grid", "rows=99999999999999999999"], "none above 1e9"),
     (["--device", "gemmini", "--plot", "/no/such/folder/a.png"], "--plot is '/no/such/folder/a.png'"),
     (["--device", "gemmini", "--prior", "wide"], "--prior is 'wide'"),
     (["--device", "gemmini", "--starts", "1:3"], "--starts is '1:3'"),
     (["--device", "gemmini", "--folds", "1"], "--folds is '1'"),
     (["--device", "gemmini", "--folds", "90", "--free", "stairs"], "--folds is 90; allowed: at most 30"),
     (["--device", "gemmini", "-o", "mine.csv"], "--output is 'mine.csv'"),
     (["--device", "gemmini", "--plot", "a.jpg"], "--plot is 'a.jpg'"),
     (["--device", "gemmini", "--clock", "fast"], "--clock is 'fast'"),
     (["--device", "gemmini", "-o", "/no/such/folder/a.toml", "--free", "stairs"], "--output is"),
     (["--device", "gemmini", "-o", "x.toml", "--name", "a b", "--free", "stairs"], "--name is 'a b'"),
     (["--device", "gemmini", "--source", "", "--free", "stairs"], "--source is ''")],
)  # fmt: skip
def test_calibrate_refuses(measured_csv, capsys, args, message):
    code, out, err = run(capsys, measured_csv, *args)
    assert code == 2
    assert out == ""
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("Error: ")


def test_bad_rows_on_the_command_line(measured_csv, capsys):
    with open(measured_csv, "a") as file:
        file.write("conv4d,3,8,8,7,7,3\n")
    code, _, err = run(capsys, measured_csv, "--device", "gemmini")
    assert code == 2
    assert "line 32: kind is 'conv4d'" in err
    args = ("--device", "gemmini", "--free", "stairs", "--shuffles", "1", "--skip-bad-rows", "--json")
    code, out, err = run(capsys, measured_csv, *args)
    assert code == 0
    assert "Left out: " in err
    assert "line 32: kind is 'conv4d'" in json.loads(out)["left_out"][0]


def test_scipy_is_asked_for_by_name():
    code = "import sys; sys.modules['scipy'] = None; import hwcost.calibration"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "hwcost[fit]"' in done.stderr


def test_the_file_and_the_command_of_the_page_work(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    text = (Path(__file__).parent.parent / "docs" / "calibration.md").read_text("utf-8")
    (content,) = re.findall(r"^```text\n(name,kind.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^\$ hwcost (calibrate measured.csv .*)$", text, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("measured.csv").write_text(content, encoding="utf-8")
    assert main(shlex.split(command)) == 0
    assert Path("residuals.png").exists()
    assert read_device("mine.toml").fit.errors["mape"] < 0.1
