"""Values print as one line, as a block of lines, and as a table in a notebook; none is a dump of its fields."""

import dataclasses
import json
import pickle
import re
import warnings

import numpy as np
import pytest

import hwcost
from hwcost import Conv2d, Linear, Network, Operation, SystolicArray, layer_cost, network_cost
from hwcost.calibration.reading import read_measurements
from hwcost.devices import device_names, load_device, read_device
from hwcost.network.operations import Width

LAYERS = {
    "first": Operation(Conv2d(3, 65, 3, height=28, width=28, padding=1), {"out_channels": "w"}),
    "second": Operation(Conv2d(65, 128, 3, height=28, width=28, padding=1), {"in_channels": "w"}),
}
NETWORK = Network("two", LAYERS)
ARRAY = load_device("gemmini")
MEASURED = "name,kind,k,c,f,h,w,seconds\n" + "".join(
    f"layer {size},conv2d,3,16,{size},28,28,{size * 1e-4}\n" for size in range(8, 72)
)


def make(folder):
    report, advice = hwcost.report(NETWORK, "gemmini"), hwcost.advise(NETWORK, ARRAY, budget=0.8)
    (folder / "measured.csv").write_text(MEASURED, encoding="utf-8")
    yield "a cost", report.total if hasattr(report, "total") else report.cost
    yield "the cost of a layer", network_cost(NETWORK, ARRAY)["first"]
    yield "a row", report["first"]
    yield "a module", report.tree
    yield "a breakdown", report.breakdown
    yield "advice on a width", advice["w"]
    yield "a step", advice["w"].better
    yield "a budget", advice.budget
    yield "widths", NETWORK.widths
    yield "an array", ARRAY
    yield "a device", read_device("gemmini-firesim")
    yield "a fit", read_device("gemmini-firesim").fit
    yield "measurements", read_measurements(folder / "measured.csv", ARRAY)
    torch = pytest.importorskip("torch")
    assert torch
    from hwcost.torch import LatencyLoss, space_tables
    from nas_plugin import load_arch_def

    space = NETWORK.space({"w": [16, 32, 65]})
    yield "tables", space_tables(space, ARRAY)
    yield "a loss", LatencyLoss(space, ARRAY)
    yield "a search space", load_arch_def()
    pytest.importorskip("scipy")
    from measuring import START, measure

    from hwcost.calibration import fit
    from hwcost.torch import prune

    truth = dataclasses.replace(START, cycles_per_layer=12345.0, dram_bytes_per_s=3e9)
    yield "a calibration", fit(START, measure(truth, noise=0.02), free=["cycles_per_layer"], fold_seeds=(0,))
    layers = torch.nn.Conv2d(3, 65, 3), torch.nn.ReLU(), torch.nn.Conv2d(65, 128, 3)
    with warnings.catch_warnings(action="ignore"):  # there are no data
        yield "a pruning", prune(torch.nn.Sequential(*layers), torch.zeros(1, 3, 32, 32), ARRAY, target=0.75)


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    return dict(make(tmp_path_factory.mktemp("values")))


NAMES = [
    "a cost", "the cost of a layer", "a row", "a module", "a breakdown", "advice on a width", "a step", "a budget",
    "widths", "an array", "a device", "a fit", "measurements", "tables", "a loss", "a search space",
    "a calibration", "a pruning",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_values_print_in_peoples_words(values, name):
    value = values[name]
    line, text, html = repr(value), str(value), value._repr_html_()
    assert "\n" not in line
    assert len(line) <= (150 if name == "an array" else 120)
    assert "\n" in text
    for shown in (line if name != "an array" else "", text):
        assert not re.search(r"(?<![\w.,])\d{5,}(?![\w.])|\de\+\d", shown), shown
        assert "Fraction" not in shown
    assert html.startswith('<div class="hwcost">')
    assert "<table>" in html
    assert "<pre" not in html


@pytest.mark.parametrize("name", [each for each in NAMES if each not in ("tables", "a loss", "a pruning")])
def test_they_are_values_as_before(values, name):
    value = values[name]
    again = pickle.loads(pickle.dumps(value))  # our own
    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_costs_of_arrays_are_one_line():
    cost = layer_cost(Linear(np.arange(3, 9), 5), SystolicArray(2, 2))
    assert repr(cost) == "<Cost: arrays of shape (6,)>"
    assert str(cost) == "arrays of shape (6,)"
    assert "<table>" not in cost._repr_html_()


def test_a_cost_has_its_parts_with_units():
    cost = network_cost(NETWORK, "tpu-v5e").total
    lines = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in str(cost).splitlines()[2:])
    assert lines["MACs"] == f"{cost.macs:,}"
    assert lines["bound"] == f"by {cost.bound}"
    assert {"time", "utilization", "folds", "DRAM", "weights", "inputs", "outputs", "next to the array"} <= set(lines)


def test_widths_read_as_they_are_made():
    assert repr(Width(8)) == "Width(8)"
    assert repr(Width(9, 3, fixed="an input")) == "Width(9, multiple=3, fixed='an input')"
    for width in NETWORK.widths.values():
        assert eval(repr(width)) == width
    assert dict(NETWORK.widths) == NETWORK.widths


@pytest.mark.parametrize("name", device_names())
def test_devices_read_as_they_are_made_and_show_every_field(name):
    array = load_device(name)
    if all(isinstance(value, (int, float, str, bool)) for value in array.as_dict().values()):
        assert eval(repr(array)) == array
    assert len(array.facts()) == len(array.as_dict())
    file = read_device(name)
    records = file.records()
    assert [each["name"] for each in records] == [*file.entries, *file.facts]
    json.dumps(records)
    html = file._repr_html_()
    assert html.count("<tr>") >= len(records)
    if file.fit is not None:
        assert not re.search(r"mape|log_margin", file.fit._repr_html_() + str(file.fit))
        assert "mean error" in str(file)


@pytest.mark.parametrize("name", ["a calibration", "a pruning", "measurements"])
def test_collections_have_records(values, name):
    pandas = pytest.importorskip("pandas")
    value = values[name]
    frame = value.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert len(value) == len(frame) == len(value.records()) == len(list(value)) > 1
    assert list(frame) == list(value.records()[0])


def test_a_calibration_shows_values_in_units_and_records_what_was_predicted(values):
    found = values["a calibration"]
    assert re.search(r"cycles_per_layer +1\d,\d{3} cycle ", str(found))
    assert "MACs" in str(found).splitlines()[-1] or "MACs" in str(found)
    assert [each["measured_seconds"] for each in found.records()] == list(found.measured)
    assert all(each["ratio"] == each["predicted_seconds"] / each["measured_seconds"] for each in found.records())


def test_a_pruning_has_bars_of_utilization_and_records_of_layers(values):
    found = values["a pruning"]
    assert found._repr_html_().count('class="b"') >= 2
    first = found.records()[0]
    assert first["cycles_before"] > first["cycles_after"] > 0
    assert sum(each["macs_before"] for each in found.records()) == found.report.before.macs


def test_measurements_are_a_collection(values):
    measured = values["measurements"]
    assert len(measured) == len(list(measured)) == len(measured.records()) == 64
    assert "... and 44 more" in str(measured)
    assert len(repr(measured.measurements[0])) < 150


def test_modules_with_numbers_print_them():
    pytest.importorskip("torch")
    from hwcost.torch import LatencyLoss, TargetWeight

    assert repr(TargetWeight(20500.0)) == "TargetWeight(target 20,500; weight 0.1)"
    loss = LatencyLoss(NETWORK.space({"w": [16, 65]}), ARRAY)
    assert f"reference {hwcost.units.number(float(loss.reference))} cycles" in repr(loss)
    assert "16, 65" in str(loss)
