"""Calibration: mistakes that the data show: a clock or unit that is wrong, rows of several machines in one file."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

pytest.importorskip("scipy")
from hypothesis import given
from hypothesis import strategies as st
from measuring import START, measure, run, some_layers, write
from refusals import refused

from hwcost import Conv2d, SystolicArray, layer_cost, load_device
from hwcost.calibration import Measurement, device_file, fit
from hwcost.calibration.mixing import FEWEST_ROWS, LEAST_FACTOR, MOST_VALUES, Labelled, mixed
from hwcost.calibration.peaks import chip_hint
from hwcost.devices import Entry, read_device, write_device
from hwcost.devices.measured import doubts

QUICK = {"fold_seeds": (0,), "starts": 1, "folds": 3}

# ---------------------------------------------------------------- the clock


def random_layers(count=40, seed=0):
    """Layers of 16 to 256 channels and 16 to 200 filters, 1 x 1 at 14 and 3 x 3 at 7."""
    sizes = np.random.default_rng(seed).integers([16, 16], [257, 201], (count, 2)).tolist()
    return [Conv2d(c, f, 1, 14, 14) if i % 2 else Conv2d(c, f, 3, 7, 7, padding=1) for i, (c, f) in enumerate(sizes)]


CLOCKS = [(4, 0.005, "auto", {}), (10, 0.01, "auto", {})]
WITH_A_CONSTANT = {"cycles_per_layer": 500.0, "fold_timing": "double-buffered"}
CLOCKS += [
    (factor, 0.01, free, fields)
    for factor in (1, 2, 4, 10, 1000)
    for free, fields in (("scaled", {}), ("compute", WITH_A_CONSTANT))
]


@pytest.mark.parametrize(("factor", "error", "free", "fields"), CLOCKS)
def test_a_clock_that_is_wrong_is_found_and_asked_about(factor, error, free, fields):
    truth = SystolicArray(16, 16, 1e9, **fields)
    measured = [Measurement((layer,), layer_cost(layer, truth).seconds) for layer in random_layers()]
    found = fit(dataclasses.replace(truth, clock_hz=factor * 1e9), measured, free=free, **QUICK)
    assert found.scores.mape <= error
    assert found.clock_factor == pytest.approx(factor, rel=0.02)
    assert found.as_dict()["clock_factor"] == found.clock_factor
    if factor == 1:
        assert found.questions == []
        return
    (question,) = found.questions
    assert f"{found.clock_factor:.3g} times" in question
    assert f"{factor} GHz" in question
    assert found.as_dict()["questions"] == [question]
    made = device_file(found, truth, name="mine", data="d", source="s", licence="l")
    assert f"To check: {question}" in made.notes


def test_a_clock_that_no_row_shows_is_not_asked_about():
    truth = dataclasses.replace(START, dram_bytes_per_s=2e6)  # all wait for memory
    found = fit(truth, measure(truth), free=["cycles_per_row", "dram_bytes_per_s"], **QUICK)
    assert found.clock_factor is None
    assert found.questions == []


# ---------------------------------------------------------------- several machines in one file


def rows(residuals, **columns):
    return [
        Labelled({name: values[i] for name, values in columns.items()}, i, each) for i, each in enumerate(residuals)
    ]


@given(st.integers(0, 10_000), st.floats(1.5, 5), st.integers(2, 4))
def test_a_column_that_explains_the_residuals_is_named(seed, factor, values):
    random = np.random.default_rng(seed)
    which = [i % values for i in range(40)]
    residuals = [math.log(factor) * (w == 1) + 0.05 * random.standard_normal() for w in which]
    (sentence,) = mixed(rows(residuals, tiler=[f"t{w}" for w in which]))
    assert sentence.startswith("rows with tiler = t1 take ")


@given(st.integers(0, 10_000), st.floats(0.01, 0.1))
def test_a_factor_that_does_not_matter_is_not_named(seed, spread):
    random = np.random.default_rng(seed)
    residuals = [0.5 * math.log(LEAST_FACTOR) * (i % 2) + spread * (i % 5 - 2) / 4 for i in range(60)]
    assert mixed(rows(random.permutation(residuals).tolist(), tiler=["a", "b"] * 30)) == []


def test_columns_without_effect_are_named_as_rarely_as_stated():
    named = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        columns = {name: list(map(str, random.integers(0, 2 + i, 40))) for i, name in enumerate("abcd")}
        named += bool(mixed(rows(random.standard_normal(40).tolist(), **columns)))
    assert named <= 10  # 1 % of 400, and two standard deviations


def test_what_is_no_category_is_not_looked_at():
    residuals = [float(i >= 30) for i in range(60)]
    names = [f"row {i}" for i in range(60)]
    assert mixed(rows(residuals, comment=names)) == []
    many = [str(i * (MOST_VALUES + 1) // 60) for i in range(60)]
    assert mixed(rows(residuals, comment=many)) == []
    few = ["rare" if i >= 60 - FEWEST_ROWS + 1 else "usual" for i in range(60)]
    assert mixed(rows(residuals, comment=few)) == []
    assert mixed(rows([0.0] * 60, comment=["a", "b"] * 30)) == []


def two_tilers(share=0.5, factor=2.0):
    """Measurements of two machines, one of them slower, as if they were one."""
    slow = dataclasses.replace(START, cycles_per_row=factor)
    layers = some_layers()
    return [
        dataclasses.replace(one, labels={"tiler": "slow" if is_slow else "fast", "day": str(i % 3)})
        for is_slow in (False, True)
        for i, one in enumerate(measure(slow if is_slow else START, layers[:: int(1 / share)] if is_slow else layers))
    ]


@pytest.mark.parametrize("share", [1, 0.5])
def test_mixed_tilers_are_a_doubt_that_stays_with_the_device(share, tmp_path):
    pytest.importorskip("tomli_w")
    found = fit(START, two_tilers(share), free="scaled", **QUICK)
    (doubt,) = [each for each in found.doubts if "tiler" in each]
    assert doubt.startswith("rows with tiler = slow take ")
    assert not any("day" in each for each in found.doubts)
    made = device_file(found, START, name="mine", data="d", source="s", licence="l")
    write_device(tmp_path / "mine.toml", made)
    again = read_device(tmp_path / "mine.toml")
    assert again == made
    assert doubt in again.doubts
    alone = [one for one in two_tilers(share) if one.labels["tiler"] == "slow"]
    assert fit(START, alone, free="scaled", **QUICK).doubts == []


def test_the_command_reads_the_columns_that_it_does_not_use(tmp_path, capsys):
    slow = dataclasses.replace(load_device("gemmini"), cycles_per_row=2.0)
    lines = [
        f"conv2d,{one.kernel_size[0]},{one.in_channels},{one.out_channels},{one.height},{one.width},"
        f"{layer_cost(one, slow if i % 2 else 'gemmini').cycles},{'ab'[i % 2]}"
        for i, one in enumerate(some_layers())
    ]
    path = write(tmp_path, "kind,k,c,f,h,w,cycles,tiler", *lines)
    code, out, err = run(capsys, str(path), "--device", "gemmini", "--free", "scaled", "--shuffles", "1")
    assert code == 0
    assert "in doubt: rows with tiler = b take " in out
    assert "In doubt: rows with tiler = b take " in err
    code, out, _ = run(capsys, str(path), "--device", "gemmini", "--free", "scaled", "--shuffles", "1", "--json")
    assert any("tiler = b" in doubt for doubt in json.loads(out)["doubts"])


# ---------------------------------------------------------------- faster than every PE


def conv_rows(array, factor=1.0):
    """Rows of a file, whose cycles are those of an array times a factor."""
    return [
        f"conv2d,{one.kernel_size[0]},{one.in_channels},{one.out_channels},{one.height},{one.width},"
        f"{factor * layer_cost(one, array).cycles}"
        for one in some_layers()
    ]


def test_rows_that_are_all_off_by_one_factor_are_seen_at_once(tmp_path, capsys):
    array = load_device("gemmini")
    path = str(write(tmp_path, "kind,k,c,f,h,w,cycles", *conv_rows(array, 1e-3)))
    code, _, err = run(capsys, path, "--device", "gemmini")
    head, *table, error = err.splitlines()
    assert code == 2
    assert head.split("  ")[-1].strip() == "measured / least"
    assert len(table) == len(some_layers())
    ratios = [float(line.split()[-1]) for line in table]
    assert min(ratios) >= 0.001
    assert "30 are faster than every PE of the device, 0.001" in error
    assert len(error) < 600
    good, bad = conv_rows(array)[:12], conv_rows(array, 1e-3)[12:14]
    path = str(write(tmp_path, "kind,k,c,f,h,w,cycles", *good, *bad))
    code, out, err = run(capsys, path, "--device", "gemmini", "--free", "scaled", "--shuffles", "1", "--skip-bad-rows")
    assert code == 0
    assert len([line for line in err.splitlines() if line.endswith((" 0.001", "measured / least"))]) >= 1
    assert out.startswith("12 measurements")


def chip(of=8):
    file = read_device("gemmini")
    entry = Entry(of, "1", "published", "the maker")
    return dataclasses.replace(file, name="part", facts={**file.facts, "arrays_per_chip": entry})


def test_measurements_of_a_chip_name_its_arrays(tmp_path, capsys):
    pytest.importorskip("tomli_w")
    whole = dataclasses.replace(chip().array, arrays=8)
    write_device(tmp_path / "part.toml", chip())
    layers = [Conv2d(c, f, 1, 60, 60) for c in (128, 200, 256, 300) for f in (256, 300, 512)]
    measured = [Measurement((layer,), layer_cost(layer, whole).seconds) for layer in layers]
    with refused("a measurement: the latency in cycles", allowed="part is 1 of the 8 arrays of a chip"):
        fit(tmp_path / "part.toml", measured)
    rows = [f"{one.in_channels},{one.out_channels},{layer_cost(one, whole).cycles}" for one in layers]
    path = str(write(tmp_path, "kind,k,h,w,c,f,cycles", *(f"conv2d,1,60,60,{row}" for row in rows)))
    args = (path, "--device", str(tmp_path / "part.toml"), "--free", "scaled", "--shuffles", "1")
    code, _, err = run(capsys, *args)
    assert code == 2
    assert (
        "part is 1 of the 8 arrays of a chip; if the chip was measured, start from all of them: --grid arrays=8" in err
    )
    code, out, _ = run(capsys, *args, "--grid", "arrays=8", "--json")
    assert code == 0
    assert json.loads(out)["device"]["arrays"] == 8
    assert json.loads(out)["scores"]["mape"] < 0.01


def test_an_array_that_ships_names_its_chip():
    assert chip_hint(read_device("tpu-v4/array")).endswith("start from tpu-v4")


def test_a_device_of_all_arrays_has_no_hint():
    assert chip_hint(read_device("tpu-v4")) == ""
    assert chip_hint(chip(1)) == chip_hint(read_device("gemmini")) == ""


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("fields", [{}, {"cycles_per_layer": 100.0}])
def test_no_candidate_of_a_grid_is_beaten_by_a_measurement(size, fields):
    truth = dataclasses.replace(START, rows=size, cols=size, **fields)
    found = fit(START, measure(truth), grid={"size": (4, 8, 16, 32)}, free="compute", **QUICK)
    for one in measure(truth):
        assert layer_cost(one.layers[0], found.device).utilization <= 1 + 1e-9
    assert {values["size"] for values in found.beaten} >= {4, 8} & {s for s in (4, 8) if s * 3 < size}
    assert found.values["size"] not in {values["size"] for values in found.beaten}
    assert found.as_dict()["beaten"] == [dict(values) for values in found.beaten]


def test_what_was_left_out_of_the_grid_is_said(tmp_path, capsys):
    array = dataclasses.replace(load_device("gemmini"), rows=32, cols=32)
    path = str(write(tmp_path, "kind,k,c,f,h,w,cycles", *conv_rows(array)))
    args = (path, "--device", "gemmini", "--free", "scaled", "--shuffles", "1", "--grid", "size=8,16,32")
    code, out, _ = run(capsys, *args)
    assert code == 0
    assert "left out of the grid, since a measurement is faster than all PEs: size 8" in out


# ---------------------------------------------------------------- what is asked


ARRAY = SystolicArray(16, 8, 4e8, dataflow="os")


def _asked(measured, device=START, **options):
    return fit(device, measured, fold_seeds=(0,), starts=1, folds=3, **options)


@pytest.mark.parametrize("factor", [1000.0, 50.0])
def test_a_single_row_far_off_is_asked_about(factor):
    measured = measure(dataclasses.replace(START, cycles_per_layer=700.0), noise=0.02)
    off = dataclasses.replace(measured[4], seconds=measured[4].seconds * factor)
    found = _asked([*measured[:4], off, *measured[5:]], free=["cycles_per_row", "cycles_per_layer"], prior=None)
    assert any(text.startswith("4 takes") and "unit" in text for text in found.questions)
    assert not any("takes" in text for text in _asked(measured, free="compute").questions if text[0] == "4")


def test_rows_faster_than_the_array_are_asked_about():
    layers = [Conv2d(17, 17, 3, height=size, width=size, padding="same") for size in (7, 14, 20, 28, 30, 40)]
    truth = dataclasses.replace(START, rows=32, cols=32)
    measured = [dataclasses.replace(one, seconds=one.seconds * 1.3) for one in measure(truth, layers)]
    found = _asked(measured, free=["cycles_per_row"], prior=None)
    assert found.device.cycles_per_row < 0.5
    assert found.clock_factor is None  # the least cycles of the MACs count, which no number of cycles for a row changes
    assert any("larger" in text and "16 x 16" in text for text in found.questions)


def test_an_interval_of_more_than_a_factor_of_four_is_a_doubt():
    assert doubts({"log_margin_90": 2.0}) == ["9 of 10 layers are only known to a factor of 7.39"]
    assert doubts({"log_margin_90": 1.0}) == []


def test_one_wrong_row_does_not_choose_the_form():
    truth = dataclasses.replace(START, cycles_per_layer=20000.0)
    measured = measure(truth)
    off = dataclasses.replace(measured[7], seconds=measured[7].seconds * 50)
    found = _asked([*measured[:7], off, *measured[8:]], free=["scaled", "compute"])
    assert found.form == "compute"


def test_an_array_needs_no_device_file(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    layers = [layer for layer in some_layers() if layer.kernel_size == (3, 3)]
    sizes = [f"{each.in_channels},{each.out_channels},{each.height},{each.width}" for each in layers]
    rows = [f"conv2d,3,{own},{1.3 * layer_cost(each, ARRAY).cycles}" for own, each in zip(sizes, layers, strict=True)]
    path.write_text("\n".join(["kind,k,c,f,h,w,cycles", *rows]) + "\n")
    quick = ["--free", "scaled", "--shuffles", "1", "--starts", "1"]
    out = tmp_path / "mine.toml"
    options = ["--s1", "16", "--s2", "8", "--dataflow", "os", "--clock", "400MHz", "-o", str(out)]
    code, text, _ = run(capsys, str(path), *options, *quick)
    assert (code, "cycles_per_row" in text) == (0, True)
    made = read_device(out)
    assert (made.array.rows, made.array.cols, made.array.dataflow, made.array.clock_hz) == (16, 8, "os", 4e8)
    assert made.array.cycles_per_row == pytest.approx(1.3, rel=1e-3)
    assert made.entries["rows"].status == "assumed"
    for missing in ([], ["--s1", "16"]):
        code, _, text = run(capsys, str(path), *missing, *quick)
        assert (code, "--s2" in text) == (2, True)
