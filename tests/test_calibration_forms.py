"""Calibration: the form that is chosen, fits in doubt, and intervals."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import drawn
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy")
from measuring import START, measure, run, some_layers
from refusals import refused

from hwcost import InvalidValueError, Linear, SystolicArray, layer_cost
from hwcost.calibration import (
    FIT_PARAMETERS,
    FORMS,
    Form,
    device_file,
    fit,
)
from hwcost.calibration.forms import AUTO
from hwcost.cli import main
from hwcost.devices import read_device, write_device

# ---------------------------------------------------------------- forms that are chosen

QUICK = {"fold_seeds": (0,), "starts": 1, "folds": 3}


def truths():
    """A machine for each form, with its numbers, and the form that is enough for it."""
    again = {"rereads_inputs": True, "reread_stairs": 1.0, "output_bytes_per_s": 2e9, "weight_bytes_per_s": 3e9}
    return {
        "scaled": {"cycles_per_row": 3.0},
        "compute": {"cycles_per_row": 3.0, "cycles_per_layer": 900.0},
        "folds": {"cycles_per_row": 2.0, "cycles_per_layer": 400.0, "cycles_per_fold": 60.0},
        "roof": {"cycles_per_layer": 300.0, "dram_bytes_per_s": 4e8, "overlap": 0.2},
        "channels": again | {"input_bytes_per_s": 1e9, "parallel_operands": True, "cycles_per_layer": 300.0},
    }


@pytest.mark.parametrize("name", truths())
def test_a_form_is_chosen_that_predicts_what_it_has_not_seen(name):
    truth = dataclasses.replace(START, **truths()[name])
    found = fit(START, measure(truth, noise=0.01), **QUICK)
    assert found.scores.mape < (0.08 if name == "channels" else 0.025)  # six numbers of twenty measurements
    assert len(FORMS[found.form].free) <= len(FORMS[name].free)
    assert set(found.forms) <= set(FORMS)
    assert sum(found.chosen["form"].values()) == 3
    times = found.chosen["form"]
    for each in found.forms:
        by = [f"in {times[each]} of 3 folds"] if each in times else []
        by += ["by this fit"] if each == found.form else []
        words = f"{found.form_words[each][1]}{', chosen ' if by else ''}{' and '.join(by)}"
        assert any(line.startswith(f"{each} ") and line.endswith(f"  {words}") for line in str(found).splitlines())
    assert found.as_dict()["form"] == found.form
    assert not found.doubts


@pytest.mark.parametrize("factor", [4, 10])
def test_a_clock_that_is_stated_wrong_is_found(factor):
    truth = SystolicArray(16, 16, 1e9)
    found = fit(dataclasses.replace(truth, clock_hz=factor * 1e9), measure(truth), **QUICK)
    assert found.scores.mape < 0.005
    assert found.values["cycles_per_row"] == pytest.approx(factor, rel=0.005)


def test_the_form_of_a_fold_does_not_know_what_is_held_out():
    truth = dataclasses.replace(START, cycles_per_row=1.3, cycles_per_layer=700.0)
    measured = measure(truth, noise=0.02)
    spoilt = [
        dataclasses.replace(one, seconds=one.seconds * 3 if i == 4 else one.seconds) for i, one in enumerate(measured)
    ]
    first, second = (fit(START, each, **QUICK) for each in (measured, spoilt))
    assert first.predicted[4] == second.predicted[4]
    assert first.predicted != second.predicted


@pytest.mark.parametrize("count", [3, 5, 11])
def test_few_measurements_choose_among_few_numbers(count):
    found = fit(START, measure(dataclasses.replace(START, cycles_per_row=2.0))[:count], starts=1, fold_seeds=(0,))
    assert len(found.estimates) < count
    assert found.settings.folds == min(count, 5)
    assert found.scores.mape < 0.01


def test_no_form_has_the_name_of_a_number():
    assert not set(FORMS) & {AUTO, *FIT_PARAMETERS}


def test_fewer_than_three_measurements_are_refused():
    with refused("the number of measurements", 2, "at least 3"):
        fit(START, measure(START)[:2])
    with refused("free", "shape", "auto"):
        fit(START, measure(START), free="shape")


def test_a_form_by_name_is_fitted_alone():
    found = fit(START, measure(dataclasses.replace(START, cycles_per_layer=700.0)), free="compute", **QUICK)
    assert (found.form, dict(found.forms), found.chosen["form"]) == ("compute", {}, {"compute": 3})


# ---------------------------------------------------------------- fits in doubt


def spoilt_seconds(how):
    random = np.random.default_rng(1)
    measured = measure(START)
    change = {
        "a thousand times": lambda one: 1000 * one.seconds,
        "random": lambda one: math.exp(random.normal(0, 2)),
        "the reciprocal": lambda one: 1e-6 / one.seconds,
        "constant": lambda one: 0.1,
    }[how]
    return [dataclasses.replace(one, seconds=change(one)) for one in measured]


@pytest.mark.parametrize("how", ["a thousand times", "random", "the reciprocal", "constant"])
def test_a_fit_to_nonsense_is_in_doubt(how, tmp_path):
    found = fit(START, spoilt_seconds(how), **QUICK)
    assert found.doubts
    made = device_file(found, START, name="mine", data="d", source="s", licence="l")
    write_device(tmp_path / "mine.toml", made)
    again = read_device(tmp_path / "mine.toml")
    assert again.doubts == found.doubts
    assert [note for note in again.notes if note.startswith("In doubt: ")]


def test_one_row_that_is_wrong_is_named():
    measured = [dataclasses.replace(one, name=f"layer {i}") for i, one in enumerate(measure(START))]
    measured[7] = dataclasses.replace(measured[7], seconds=1000 * measured[7].seconds)
    found = fit(START, measured, free="compute", **QUICK)
    assert found.worst[0][0] == "layer 7"
    assert found.worst[0][1] < 0.01
    assert len(found.worst) == 3


def test_no_device_is_written_from_a_fit_in_doubt(measured_csv, tmp_path, capsys):
    slow = tmp_path / "slow.csv"
    head, *rows = Path(measured_csv).read_text().splitlines()
    slow.write_text("\n".join([head, *(f"{row}000" for row in (line.partition(".")[0] for line in rows))]))
    output = tmp_path / "mine.toml"
    args = (str(slow), "--device", "gemmini", "-o", str(output), "--free", "scaled", "--shuffles", "1", "--starts", "1")
    code, out, err = run(capsys, *args)
    assert (code, output.exists()) == (2, False)
    assert "predicted worst" in out  # the report is not lost
    assert "pass --force" in err.splitlines()[-1]
    code, _, err = run(capsys, *args, "--force")
    assert (code, output.exists()) == (0, True)
    assert "In doubt: " in err
    main(["estimate", "--k", "3", "--c", "8", "--f", "8", "--device", str(output)])
    assert "mine is in doubt" in capsys.readouterr().err


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("spread", [0.02, 0.15])
def test_nine_of_ten_latencies_lie_in_the_interval(spread):
    layers = some_layers() + [Linear(k, n, batch=m) for k in (40, 300) for n in (20, 90) for m in (8, 50, 400)]
    slow = dataclasses.replace(START, cycles_per_row=2.0)  # so that noise makes none faster than the array
    found = fit(slow, measure(slow, layers, noise=spread), free=["cycles_per_row"], fold_seeds=(0, 1), starts=1)
    assert 0.85 <= found.coverage <= 1
    new = measure(slow, layers, noise=spread, seed=9)
    ends = [
        device_of(found).interval([(one.layers[0], layer_cost(one.layers[0], found.device).seconds)]) for one in new
    ]
    assert 0.8 <= np.mean([low <= one.seconds <= high for one, (low, high) in zip(new, ends, strict=True)]) <= 1


def device_of(found):
    return device_file(found, START, name="mine", data="d", source="s", licence="l")


def test_an_interval_is_wider_beyond_the_measured_range_and_adds_up():
    found = fit(START, measure(START, noise=0.05), free=["cycles_per_row"], fold_seeds=(0,), starts=1)
    device, inside = device_of(found), Linear(100, 50, batch=100)
    low, high = device.interval([(inside, 1.0)])
    assert (low, high) == pytest.approx((math.exp(-found.margin), math.exp(found.margin)))
    widths = []
    for batch in (4, 8):
        low, high = device.interval([(Linear(100, 50, batch=int(found.ranges["m"].high) * batch), 1.0)])
        widths.append(math.log(high))
        assert low == pytest.approx(1 / high)
    assert widths == pytest.approx([found.margin + 0.5, found.margin + 0.75])
    several = device.interval([(inside, 1.0), (inside, 3.0)])
    assert several == pytest.approx([4 * math.exp(-found.margin), 4 * math.exp(found.margin)])


def test_eight_measurements_give_no_interval():
    found = fit(START, measure(START)[:8], free=["cycles_per_row"], folds=2, starts=1)
    assert (found.margin, found.coverage) == (None, None)
    assert device_of(found).interval([(Linear(8, 8), 1.0)]) is None


def test_intervals_are_printed(measured_csv, tmp_path, capsys):
    output = str(tmp_path / "mine.toml")
    args = ("--device", "gemmini", "-o", output, "--free", "compute", "--shuffles", "1", "--starts", "1")
    assert "90 % interval" in run(capsys, measured_csv, *args)[1]
    point = ["estimate", "--k", "3", "--c", "20", "--f", "33", "--h", "14", "--w", "14", "--device", output]
    main(point)
    assert " (90 %: " in capsys.readouterr().out
    main([*point, "--json"])
    document = json.loads(capsys.readouterr().out)
    low, high = document["seconds_90"]
    assert low <= document["rows"][0]["seconds"] <= high
    main([*point, "--clock", "2e9"])
    assert " (90 %: " not in capsys.readouterr().out
    net = tmp_path / "net.csv"
    net.write_text("name,kind,k,c,f,h,w\na,conv2d,3,20,33,14,14\nb,conv2d,1,20,33,14,14\n")
    main(["model", str(net), "--device", output])
    assert " (90 %: " in capsys.readouterr().out
    main(["compare", str(net), "--devices", f"{output},gemmini", "--json"])
    mine, bare = json.loads(capsys.readouterr().out)["rows"]
    assert mine["seconds_90_low"] <= mine["seconds"] <= mine["seconds_90_high"]
    assert bare["seconds_90_low"] is None


# ---------------------------------------------------------------- forms of the caller's own

SOFT = Form("soft", "a quarter of each step", ["cycles_per_layer"], {"row_stairs": 0.25, "col_stairs": 0.25})


@pytest.mark.parametrize("free", [SOFT, [SOFT], ["scaled", SOFT], (FORMS["compute"], SOFT)], ids=repr)
def test_a_form_of_the_callers_own_is_fitted_or_chosen(free):
    truth = dataclasses.replace(START, row_stairs=0.25, col_stairs=0.25, cycles_per_layer=700.0)
    found = fit(START, measure(truth), free=free, **QUICK)
    assert found.form == "soft"
    assert found.scores.mape < 0.01
    assert (found.device.row_stairs, found.fields["col_stairs"]) == (0.25, 0.25)
    made = device_file(found, START, name="mine", data="d", source="s", licence="l")
    assert made.entries["row_stairs"].source == "Set by the form 'soft' of the calibration"
    json.dumps(found.as_dict())


def test_several_names_are_a_choice_among_them(measured_csv, capsys):
    args = ("--device", "gemmini", "--shuffles", "1", "--starts", "1", "--free", "scaled, compute")
    code, out, _ = run(capsys, measured_csv, *args, "--json")
    assert code == 0
    content = json.loads(out)
    assert set(content["forms"]) == {"scaled", "compute"}
    assert content["settings"]["free"] == ["scaled", "compute"]


def test_a_form_whose_name_has_a_comma_is_one_form():
    from hwcost.cli.calibrate import _settings

    assert all(_settings(name, (), shuffles=1)["free"] == name for name in [AUTO, *FORMS])


@pytest.mark.parametrize(
    ("free", "value"),
    [(["compute", "overlap"], "overlap"), ([SOFT, "nope"], "nope"), ([SOFT, SOFT], ["soft"]), (3, 3),
     ([Form("", "", ["overlap"]), SOFT], ["", "soft"])],
    ids=repr,
)  # fmt: skip
def test_what_is_no_form_is_refused(free, value):
    with refused("free", value):
        fit(START, measure(START), free=free, **QUICK)


@pytest.mark.parametrize(
    ("args", "field"),
    [(("auto", "", ["overlap"]), "Form.name"), (("a", "", []), "Form.free"), (("a", "", ["speed"]), "Form.free"),
     (("a", "", ["overlap"], {"speed": 1}), "Form.fields")],
)  # fmt: skip
def test_a_form_is_checked_at_birth(args, field):
    with refused(field):
        Form(*args)


def test_a_bad_value_of_an_own_form_is_not_passed_over():
    bad = Form("bad", "", ["cycles_per_row"], {"row_stairs": 7.0})
    with pytest.raises(InvalidValueError, match="row_stairs"):
        fit(START, measure(START), free=["scaled", bad], **QUICK)


def test_forms_with_more_numbers_than_measurements_are_refused():
    with refused("free", ["operands", "roof"], "fewer numbers"):
        fit(START, measure(START)[:4], free=["operands", "roof"], **QUICK)


# ---------------------------------------------------------------- few measurements, and the picture of the intervals


@pytest.mark.parametrize("count", [3, 5, 8])
def test_named_numbers_are_fitted_to_three_measurements_and_more(count, measured_csv, tmp_path, capsys):
    truth = dataclasses.replace(START, cycles_per_row=1.4)
    free = ["cycles_per_row", "cycles_per_layer"]
    found = fit(START, measure(truth)[:count], free=free, starts=1, fold_seeds=(0,))
    assert found.settings.folds == min(count, 5)
    (limit,) = found.limits
    assert f"from {count} measurements there is no 90 % interval" in limit
    assert found.as_dict()["limits"] == [limit]
    made = device_file(found, START, name="mine", data="d", source="s", licence="l")
    assert f"Few data: {limit}." in made.notes
    with refused("the number of measurements", 3):
        fit(START, measure(truth)[:3], free=free, prior=None)
    lines = Path(measured_csv).read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[: count + 1]) + "\n")
    args = ("--device", "gemmini", "--free", ",".join(free), "--shuffles", "1", "--starts", "1")
    code, out, _ = run(capsys, str(tmp_path / "few.csv"), *args)
    assert code == 0
    assert f"few data: from {count} measurements" in out


def test_measurements_outside_of_the_interval_have_a_colour_and_the_worst_have_names():
    pytest.importorskip("matplotlib")
    from hwcost.plot import calibration_figure

    measured = np.geomspace(1e-6, 1e-3, 40)
    predicted = measured * np.where(np.arange(40) % 10 == 3, 1.5 + 0.01 * np.arange(40), 1.02)
    found = drawn.calibration(measured, predicted, margin=0.1)
    left, right = calibration_figure(found).axes
    counts = [len(line.get_xdata()) for line in left.lines if line.get_marker() == "o"]
    assert counts == [36, 4]
    words = [text.get_text() for text in right.get_legend().get_texts()]
    assert words == ["90 % interval: 36 of 40 within", "4 outside"]
    assert [text.get_text() for text in right.texts] == ["layer 33", "layer 23", "layer 13"]
    assert calibration_figure(drawn.calibration(measured, predicted)).axes[1].get_legend() is None


@given(st.lists(st.floats(0.5, 2.0), min_size=9, max_size=30), st.floats(0.01, 0.7))
def test_text_picture_and_data_count_the_same(ratios, margin):
    pytest.importorskip("matplotlib")
    from hwcost.plot import calibration_figure

    found = drawn.calibration([1e-3] * len(ratios), [1e-3 * ratio for ratio in ratios], margin)
    within = sum(abs(math.log(1e-3 * ratio / 1e-3)) <= margin for ratio in ratios)
    assert f"{within} of {len(ratios)} held-out ones {'is' if within == 1 else 'are'} within" in str(found)
    legend = calibration_figure(found).axes[1].get_legend()
    assert legend.get_texts()[0].get_text() == f"90 % interval: {within} of {len(ratios)} within"
    assert found.as_dict()["coverage_90"] == pytest.approx(within / len(ratios))
