"""Results are data: one convention of iterating and looking up, and data frames with what the commands print as CSV."""

from __future__ import annotations

import collections
import io
import json
import pickle
import re

import pytest

import hwcost
from hwcost import Conv2d, Linear, MeasuredCosts, Network, SystolicArray, advise, load_device, network_cost, tabulate
from hwcost.errors import InvalidValueError, KeyNotFoundError
from hwcost.importers import read_network
from hwcost.sweep import sweep

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.usefixtures("networks")
ON = "--s1 16 --s2 16"
ARRAY = SystolicArray(16, 16)
FED = SystolicArray(1, 1, dram_bytes_per_s=1e9)


def lenet():
    return read_network("lenet.csv")


FRAMES = {
    f"model lenet.csv {ON} --all": lambda: hwcost.report("lenet.csv", ARRAY),
    "model lenet.csv --device edge-tpu --all": lambda: hwcost.report("lenet.csv", "edge-tpu"),
    "model lenet.csv --device gemmini-firesim --all --extrapolate": lambda: hwcost.report(
        "lenet.csv", "gemmini-firesim", extrapolate=True
    ),
    "model lenet.csv --device gemmini --all --name small": lambda: hwcost.report("lenet.csv", "gemmini", name="small"),
    "compare lenet.csv residual.csv --devices gemmini,tpu-v1,edge-tpu": lambda: hwcost.compare(
        ["lenet.csv", "residual.csv"], ["gemmini", "tpu-v1", "edge-tpu"]
    ),
    f"advise lenet.csv {ON}": lambda: advise(lenet(), ARRAY),
    f"advise lenet.csv {ON} --budget 0.8": lambda: advise(lenet(), ARRAY, budget=0.8),
    "sweep lenet.csv --rows 8,16 --cols 8:32:8 --dataflow ws,os": lambda: sweep(
        lenet(), rows=[8, 16], cols=range(8, 33, 8), dataflows=["ws", "os"]
    ),
    "sweep lenet.csv --rows 8 --cols 8,16 --device gemmini": lambda: sweep(
        lenet(), rows=8, cols=[8, 16], base="gemmini"
    ),
    "sweep lenet.csv --rows 16,32 --cols 8 --device ethos-u55-128": lambda: sweep(
        lenet(), rows=[16, 32], cols=8, base="ethos-u55-128"
    ),
    "sweep lenet.csv --rows 8,16 --cols 16 --device gemmini-firesim --clock 1GHz,2GHz": lambda: sweep(
        lenet(), rows=[8, 16], cols=16, base="gemmini-firesim", fields={"clock_hz": [1e9, 2e9]}
    ),
    "sweep lenet.csv --rows 8,16 --cols 8 --bandwidth 1e9,inf --clock 1GHz,2GHz": lambda: sweep(
        lenet(), rows=[8, 16], cols=8, fields={"dram_bytes_per_s": [1e9, float("inf")], "clock_hz": [1e9, 2e9]}
    ),
    f"table lenet.csv {ON}": lambda: tabulate(lenet(), ARRAY),
}


@pytest.mark.filterwarnings("ignore::hwcost.devices.ExtrapolationWarning")
@pytest.mark.parametrize("command", FRAMES)
def test_a_data_frame_has_the_columns_and_values_of_the_file(hwcost, command):
    value = FRAMES[command]()
    code, out, err = hwcost(*command.split(), *([] if command.startswith("table") else ["--csv"]))
    assert code == 0, err
    file = pandas.read_csv(io.StringIO(out)).drop(columns=["schema", "version"], errors="ignore")
    frame = value.to_dataframe()
    again = pandas.read_csv(io.StringIO(frame.to_csv(index=False)))
    pandas.testing.assert_frame_equal(again, file, check_dtype=False, rtol=1e-15)
    assert len(value) == len(file) == len(value.records()) == len(list(value))


# ---------------------------------------------------------------- one convention


def values():
    costs = MeasuredCosts({"fc": {(8, 4): 2e-6, (8, 2): 1.5e-6}, "conv": {(3, 16): 1e-3}})
    layers = {"conv": Linear(64, 32), "fc": Linear(32, 16)}
    network = Network.of_layers("small", layers)
    return {
        "cost": (network_cost(network, ARRAY), "conv"),
        "report": (hwcost.report(network, ARRAY), "conv"),
        "advice": (advise(network, ARRAY), "conv.out_features"),
        "comparison": (hwcost.compare(network, ["gemmini", "tpu-v1"]), "gemmini"),
        "sweep": (sweep(network, rows=[8, 16], cols=[8]), "cycles"),
        "costs": (costs, "conv"),
    }


VALUES = values()
each_value = pytest.mark.parametrize(("value", "name"), VALUES.values(), ids=VALUES)


@each_value
def test_iterating_gives_rows_and_in_takes_names(value, name):
    rows = list(value)
    assert rows
    assert len(rows) == len(value)
    assert not any(isinstance(row, str) for row in rows)
    assert name in value
    assert "nothing" not in value
    assert 3.5 not in value
    value[name]


def test_a_row_says_what_it_is_of():
    for value in (VALUES["cost"][0], VALUES["report"][0]):
        assert {row.name: row.cost.cycles for row in value} == {"conv": 8, "fc": 2}
        assert value["conv"] in (row if value is VALUES["report"][0] else row.cost for row in value)
    name, cost = next(iter(VALUES["cost"][0]))
    assert VALUES["cost"][0][name] == cost


def test_a_network_is_a_mapping_of_names():
    network = Network.of_layers("small", {"conv": Linear(64, 32), "fc": Linear(32, 16)})
    assert list(network) == ["conv", "fc"]
    assert dict(network) == {"conv": Linear(64, 32), "fc": Linear(32, 16)}
    assert isinstance(network, collections.abc.Mapping)
    assert (network.get("nope"), network.get("nope", 3), network.get("fc")) == (None, 3, Linear(32, 16))
    assert "nope" not in network
    with pytest.raises(KeyError, match=r"unknown operation 'con' .*did you mean 'conv'.*known: conv, fc"):
        network["con"]


@each_value
def test_a_missing_name_is_told_with_those_that_are_there(value, name):
    wrong = name[:-1] + "x"
    for kind in (KeyError, InvalidValueError):
        with pytest.raises(kind) as caught:
            value[wrong]
        assert isinstance(caught.value, KeyNotFoundError)
        assert name in str(caught.value)
        assert repr(wrong) in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert str(caught.value.at("the place")).count("the place") == 1


@each_value
def test_a_number_is_an_index_or_is_told_what_takes_one(value, name):
    if name in ("gemmini", "cycles"):
        assert value[0] == next(iter(value))
        return
    with pytest.raises(KeyNotFoundError, match="takes names, not 0") as caught:
        value[0]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    (words,) = re.findall(r"use (\S+)\[0\]", str(caught.value))
    (owner,) = re.findall(r"report|advice|costs", words)
    assert eval(words, {owner: value})[0] == next(iter(value))


def test_a_report_has_the_modules_that_it_prints():
    nn = pytest.importorskip("torch").nn
    block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    found = hwcost.report(nn.Sequential(block, nn.Sequential(nn.Linear(8, 4))), ARRAY, input_size=(1, 8))
    modules = [part for _, _, part in found.tree.walk() if part not in found.rows]
    assert [each.path for each in modules] == ["0"]
    assert found["0"] is modules[0]
    assert found["0"].cost == found["0.0"].cost + found["0.2"].cost
    assert found["1"].cost == found["1.0"].cost
    assert "0" in found
    assert "" not in found
    assert found["0.0"] in found.rows
    with pytest.raises(KeyError, match=r"unknown operation or module '2'"):
        found["2"]


def test_a_sweep_has_columns_and_points():
    found = VALUES["sweep"][0]
    assert found["cycles"].tolist() == found.cycles.tolist() == [row["cycles"] for row in found]
    assert found[0] == next(iter(found))
    assert found[-1] == list(found)[-1]
    with pytest.raises(IndexError):
        found[2]
    assert found.as_dict()["settings"]["network"] == "small"
    assert sweep([Linear(8, 8)], rows=8, cols=8).records()[0]["network"] is None


def test_a_sweep_on_a_fitted_device_says_what_was_measured():
    device = load_device("ethos-u55-128-network")
    near = {"conv": Conv2d(64, 64, 3, height=16, width=16, padding=1)}
    found = sweep(near, rows=[device.rows, 64], cols=device.cols, base="ethos-u55-128-network")
    expected = hwcost.report(near, "ethos-u55-128-network", extrapolate=True)
    assert [row["seconds_90_low"] for row in found] == [expected.seconds_90[0], None]
    assert [row["seconds_90_high"] for row in found] == [expected.seconds_90[1], None]
    assert found["extrapolated"].tolist() == [bool(expected.extrapolated_share), True]
    assert found.is_beyond.tolist() == found["extrapolated"].tolist()
    assert found.uncharged == ()
    assert sweep(near, rows=8, cols=8, base="gemmini").extrapolated is None


def test_a_network_is_plain_data():
    network = Network.of_layers("small", {"conv": Linear(64, 32)}).space({"conv.out_features": (16, 32)})
    data = json.loads(json.dumps(network.as_dict()))
    assert data["network"] == "small"
    assert data["operations"] == network.records()
    assert data["widths"]["conv.out_features"]["size"] == 32
    assert data["options"] == {"conv.out_features": [16, 32]}


def test_measured_costs_print_and_are_rows():
    costs = VALUES["costs"][0]
    assert list(costs) == costs.records()
    assert costs.records()[0] == {"layer": "fc", "in": 8, "out": 2, "ms": pytest.approx(1.5e-3)}
    assert costs["fc"].tolist() == [[8.0, 2.0, 1.5e-6], [8.0, 4.0, 2e-6]]
    assert str(costs).splitlines()[0] == "2 layers, 3 rows in seconds"
    many = MeasuredCosts({"fc": {(8, size): 3 for size in range(1, 101)}}, "cycles", 2e3)
    assert "80 more" in str(many)
    assert many.to_dataframe().columns.tolist() == ["layer", "in", "out", "ms", "cycles"]
    assert many.to_dataframe()["ms"].unique().tolist() == [1.5]
