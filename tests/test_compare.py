"""``hwcost compare``: networks on arrays side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os

import pytest
from nets import LENET, ODD, TREE, residual

from hwcost import SystolicArray, load_device, network_cost
from hwcost.cli.compare import compare
from hwcost.console import run_command
from hwcost.errors import InvalidValueError
from hwcost.network.network import Network
from hwcost.reports import summarise

NETWORKS = {
    "lenet.csv": Network.of_layers("lenet", LENET),
    "residual.csv": Network.of_layers("residual", residual()),
    "tree.onnx": TREE,
    "odd.csv": ODD,
}
DEVICES = ("tpu-v1", "gemmini")
BOTH = ("--devices", ",".join(DEVICES))


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """The command on the networks above, in an empty folder."""

    def read(source, inputs, dims):
        if dims and not source.endswith(".onnx"):
            raise InvalidValueError("--dim", ", ".join(dims), f"nothing for {source}")
        if inputs:
            raise InvalidValueError("--input", ", ".join(inputs), f"nothing for {source}")
        if source not in NETWORKS:
            raise InvalidValueError("model", source, "one of the networks")
        return NETWORKS[source]

    monkeypatch.setattr("hwcost.cli.compare.read_model", read)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = run_command(compare, "hwcost compare", [str(arg) for arg in args])
        return code, *capsys.readouterr()

    return call


def rows_of(run, *args):
    code, out, err = run(*args, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == "hwcost.compare/1"
    return document["rows"]


def test_every_network_on_every_device_is_what_it_costs_there(run):
    rows = rows_of(run, "lenet.csv", "residual.csv", *BOTH)
    pairs = [(source, device) for source in ("lenet.csv", "residual.csv") for device in DEVICES]
    assert [(row["source"], row["device"]) for row in rows] == pairs
    for row, (source, device) in zip(rows, pairs, strict=True):
        array = load_device(device)
        total, summary = network_cost(NETWORKS[source], array).total, summarise(NETWORKS[source], array)
        assert (row["cycles"], row["seconds"], row["utilization"]) == (total.cycles, total.seconds, total.utilization)
        assert row["ratio"] == pytest.approx(total.seconds / rows[0]["seconds"])
        assert row["mostly_bound"] == summary.mostly_bound
        assert row["seconds_bound_by_memory"] == summary.seconds_by_bound["memory"]
        assert row["array"]["rows"] == array.rows
    assert {row["mostly_bound"] for row in rows} == {"memory", "compute"}


def test_options_of_the_array_hold_for_every_device(run):
    rows = rows_of(run, "lenet.csv", *BOTH, "--dataflow", "os", "--rows", "32", "--clock", "1GHz")
    for row, device in zip(rows, DEVICES, strict=True):
        array = dataclasses.replace(load_device(device), dataflow="os", rows=32, clock_hz=1e9)
        assert row["cycles"] == network_cost(LENET, array).total.cycles
        assert (row["rows"], row["dataflow"], row["clock_hz"]) == (32, "os", 1e9)


def test_the_table_is_for_people(run):
    code, out, err = run("lenet.csv", "residual.csv", "--s1", 16, "--s2", 16)
    assert (code, err) == (0, "")
    head, first, second = out.splitlines()
    assert head.split("  ")[0] == "network"
    assert "MISSING" not in head
    shown = "lenet 16 x 16, weight stationary, ideal folds 2822 0.002822 1.000 57.7 compute (100 %)"
    assert " ".join(first.split()) == shown
    cycles = network_cost(NETWORKS["residual.csv"], SystolicArray(16, 16)).total.cycles
    assert second.split()[0] == "residual"
    assert f" {cycles} " in second


def test_csv_holds_the_same(run):
    code, out, err = run("lenet.csv", "residual.csv", *BOTH, "--csv")
    assert (code, err) == (0, "")
    expected = rows_of(run, "lenet.csv", "residual.csv", *BOTH)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 4
    for row, figures in zip(rows, expected, strict=True):
        assert float(row["cycles"]) == figures["cycles"]
        assert float(row["ratio"]) == figures["ratio"]
        assert row["device"] == figures["device"]


def test_what_is_missing_is_counted_and_named(run):
    code, out, err = run("lenet.csv", "odd.csv", "--s1", 16, "--s2", 16)
    assert (code, out) == (2, "")
    assert "--skip-unsupported" in err
    code, out, err = run("lenet.csv", "odd.csv", "--s1", 16, "--s2", 16, "--skip-unsupported")
    assert code == 0
    assert out.splitlines()[0].endswith("MISSING")
    assert out.splitlines()[2].endswith(" 1")
    assert err == "Note: odd <&\"': 1 operation is not in these totals: a.fft: fft (no <b>product</b>)\n"
    assert rows_of_quietly(run, "odd.csv")[0]["missing"] == ["a.fft"]


def rows_of_quietly(run, source):
    return json.loads(run(source, "--s1", 16, "--s2", 16, "--skip-unsupported", "--json")[1])["rows"]


def test_dimensions_go_to_the_models_that_have_some(run):
    rows = rows_of(run, "lenet.csv", "tree.onnx", "--s1", 16, "--s2", 16, "--dim", "batch=1")
    assert [row["network"] for row in rows] == ["lenet", "tree"]
    code, _, err = run("lenet.csv", "--s1", 16, "--s2", 16, "--dim", "batch=1")
    assert code == 2
    assert "--dim" in err


def test_extrapolations_are_said_once_a_network(run):
    code, _, err = run("lenet.csv", "residual.csv", "--devices", "tpu-v1,edge-tpu")
    assert code == 0
    assert [line.partition(" are ")[0] for line in err.splitlines()] == [
        "Note: an extrapolation: 5 of 5 layers of lenet",
        "Note: an extrapolation: 54 of 54 layers of residual",
    ]


def test_the_picture_is_written(run, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, err = run("lenet.csv", "residual.csv", *BOTH, "--plot", "a.svg")
    assert (code, err) == (0, "wrote a.svg\n")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")


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
    (["lenet.csv", "nothing.csv", *BOTH], "model"),
    (["lenet.txt", *BOTH], "model"),
    (["lenet.csv"] * 6000 + list(BOTH), "the number of pairs"),
    ([], "MODEL"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value)[:60] if type(value) is list else "")
def test_bad_input_is_one_line_exit_code_2_and_no_file(run, tmp_path, args, field):
    pytest.importorskip("matplotlib")
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert field in err
    assert os.listdir(tmp_path) == []
