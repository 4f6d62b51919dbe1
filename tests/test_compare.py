"""``hwcost compare``: networks on arrays side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os

import pytest
from nets import LENET, residual

from hwcost import SystolicArray, load_device, network_cost
from hwcost.importers import read_network
from hwcost.reports import summarise

DEVICES = ("tpu-v1", "gemmini")
BOTH = ("--devices", ",".join(DEVICES))
LAYERS = {"lenet.csv": LENET, "residual.csv": residual()}
ODD = ("modules.py:Odd", "--input", "1,40")
ON = ("--s1", 16, "--s2", 16)
pytestmark = pytest.mark.usefixtures("networks")


@pytest.fixture
def rows_of(good):
    """The rows of the JSON document."""

    def call(*args):
        document = json.loads(good("compare", *args, "--json"))
        assert document["schema"] == "hwcost.compare/1"
        return document["rows"]

    return call


def test_every_network_on_every_device_is_what_it_costs_there(rows_of):
    rows = rows_of("lenet.csv", "residual.csv", *BOTH)
    pairs = [(source, device) for source in ("lenet.csv", "residual.csv") for device in DEVICES]
    assert [(row["source"], row["device"]) for row in rows] == pairs
    for row, (source, device) in zip(rows, pairs, strict=True):
        array = load_device(device)
        total, summary = network_cost(LAYERS[source], array).total, summarise(LAYERS[source], array)
        assert (row["cycles"], row["seconds"], row["utilization"]) == (total.cycles, total.seconds, total.utilization)
        assert row["ratio"] == pytest.approx(total.seconds / rows[0]["seconds"])
        assert row["mostly_bound"] == summary.mostly_bound
        assert row["seconds_bound_by_memory"] == summary.seconds_by_bound["memory"]
        assert row["array"]["rows"] == array.rows
    assert {row["mostly_bound"] for row in rows} == {"memory", "compute"}


def test_options_of_the_array_hold_for_every_device(rows_of):
    rows = rows_of("lenet.csv", *BOTH, "--dataflow", "os", "--rows", "32", "--clock", "1GHz")
    for row, device in zip(rows, DEVICES, strict=True):
        array = dataclasses.replace(load_device(device), dataflow="os", rows=32, clock_hz=1e9)
        assert row["cycles"] == network_cost(LENET, array).total.cycles
        assert (row["rows"], row["dataflow"], row["clock_hz"]) == (32, "os", 1e9)


def test_the_table_is_for_people(good):
    title, _, head, first, second, _, bound, _, *terms = good("compare", "lenet.csv", "residual.csv", *ON).splitlines()
    assert title == "2 networks on 1 machine"
    assert bound == "lower bound  without a bandwidth memory takes no time; ideal folds fill and drain for free"
    assert terms[0].startswith("time/first: below 1 it is faster than the first line; util: MACs over ")
    assert head.split("  ")[0] == "network"
    assert "MISSING" not in head
    shown = "lenet 16 x 16, weight stationary, ideal folds 2822 0.0028 1 57.7 0.071 compute (100 %)"
    assert " ".join(first.split()) == shown
    cycles = network_cost(residual(), SystolicArray(16, 16)).total.cycles
    assert second.split()[0] == "residual"
    assert f" {cycles:,} " in second


def test_csv_holds_the_same(good, rows_of):
    rows = list(csv.DictReader(io.StringIO(good("compare", "lenet.csv", "residual.csv", *BOTH, "--csv"))))
    assert len(rows) == 4
    for row, figures in zip(rows, rows_of("lenet.csv", "residual.csv", *BOTH), strict=True):
        assert float(row["cycles"]) == figures["cycles"]
        assert float(row["ratio"]) == figures["ratio"]
        assert row["device"] == figures["device"]


def test_what_is_missing_is_counted_and_named(hwcost, refused):
    assert "--skip-unsupported" in refused("compare", "lenet.csv", *ODD, *ON)
    code, out, err = hwcost("compare", "lenet.csv", *ODD, *ON, "--skip-unsupported")
    assert code == 0
    assert out.splitlines()[2].endswith("MISSING")
    assert out.splitlines()[4].endswith(" 1")
    assert err.startswith("Note: Odd: 1 operation is not in these totals: fft_r2c: ")
    _, out, _ = hwcost("compare", *ODD, *ON, "--skip-unsupported", "--json")
    assert json.loads(out)["rows"][0]["missing"] == ["fft_r2c"]


def graph(path, name):
    """An ONNX graph with one layer and one dynamic size."""
    make = pytest.importorskip("onnx.helper")
    x, y = (make.make_tensor_value_info(each, 1, [name, size]) for each, size in (("x", 4), ("y", 8)))
    weight = make.make_tensor("fc.weight", 1, (8, 4), [0.0] * 32)
    node = make.make_node("Gemm", ["x", "fc.weight"], ["y"], name="fc", transB=1)
    path.write_bytes(make.make_model(make.make_graph([node], path.stem, [x], [y], [weight])).SerializeToString())
    return path.name


def test_dynamic_sizes_go_to_the_graphs_that_have_them(rows_of, refused, networks):
    one, two = graph(networks / "one.onnx", "batch"), graph(networks / "two.onnx", "length")
    rows = rows_of("lenet.csv", one, two, *ON, "--dim", "batch=3", "--dim", "length=5")
    read = read_network(one, dims={"batch": 3}), read_network(two, dims={"length": 5})
    costs = [network_cost(each, SystolicArray(16, 16)).total for each in read]
    assert [row["macs"] for row in rows[1:]] == [cost.macs for cost in costs] == [96, 160]
    assert "'height'" in refused("compare", one, two, *ON, "--dim", "batch=3", "--dim", "length=5", "--dim", "height=1")
    assert "--dim" in refused("compare", "lenet.csv", *ON, "--dim", "batch=1")
    assert "--input" in refused("compare", one, two, *ON, "--input", "1,4", "--dim", "batch=3", "--dim", "length=5")


def test_the_picture_is_written(hwcost, networks):
    pytest.importorskip("matplotlib")
    code, _, err = hwcost("compare", "lenet.csv", "residual.csv", *BOTH, "--plot", "a.svg")
    assert (code, err) == (0, "wrote a.svg\n")
    assert (networks / "a.svg").read_text(encoding="utf-8").startswith("<?xml")


BAD = [
    (["lenet.csv"], "--s1"),
    (["lenet.csv", *BOTH, "--device", "tpu-v1"], "--device"),
    (["lenet.csv", "--devices", "tpu-v1,,gemmini"], "--devices"),
    (["lenet.csv", "--devices", "tpu-v1,tpu-v1"], "--devices"),
    (["lenet.csv", "--devices", ""], "--devices"),
    (["lenet.csv", "--devices", "tpu-v1,no-such"], "--device"),
    (["lenet.csv", *BOTH, "--dataflow", "rs"], "--dataflow"),
    (["lenet.csv", *BOTH, "--json", "--csv"], "--csv"),
    (["lenet.csv", *BOTH, "--plot", "a.jpg"], "--plot"),
    (["lenet.csv", *BOTH, "--input", "1,3,8,8"], "--input"),
    (["lenet.csv", "nothing.csv", *BOTH], "nothing.csv"),
    (["lenet.txt", *BOTH], "model"),
    (["lenet.csv"] * 6000 + list(BOTH), "the number of pairs"),
    (["--device", "gemmini"], "MODEL"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value)[:60] if type(value) is list else "")
def test_bad_input_is_one_line_exit_code_2_and_no_file(refused, args, field):
    before = sorted(os.listdir())
    assert field in refused("compare", *args)
    assert sorted(os.listdir()) == before
