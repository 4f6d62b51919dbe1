"""``hwcost compare``: networks on arrays side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import LENET, residual

from hwcost import InvalidValueError, Linear, Network, SystolicArray, compare, load_device, network_cost, report
from hwcost.importers import read_network
from hwcost.importers.lists import write_layers
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


# ---------------------------------------------------------------- what tells rows apart


def test_networks_of_one_name_are_told_by_their_files(rows_of, good, networks):
    (networks / "b").mkdir()
    write_layers("b/lenet.csv", Network.of_layers("lenet", LENET))
    text = good("compare", "lenet.csv", "b/lenet.csv", *ON)
    assert text.startswith("2 networks on 1 machine\n")
    rows = rows_of("lenet.csv", "b/lenet.csv", *ON)
    assert [row["network"] for row in rows] == ["lenet (lenet.csv)", "lenet (b/lenet.csv)"]
    assert [row["source"] for row in rows] == ["lenet.csv", "b/lenet.csv"]
    assert all(row["network"] in text for row in rows)


def test_modules_of_one_class_get_numbers_or_the_names_given():
    nn = pytest.importorskip("torch").nn
    pair = [nn.Sequential(nn.Linear(64, size)) for size in (32, 64)]
    found = compare(pair, "gemmini", input_size=(1, 64))
    assert found.in_words == "2 networks on 1 machine"
    assert [each.summary.name for each in found] == ["Sequential (1)", "Sequential (2)"]
    for named in (compare(pair, "gemmini", input_size=(1, 64), name=["a", "b"]),
                  compare({"a": pair[0], "b": pair[1]}, "gemmini", input_size=(1, 64))):  # fmt: skip
        assert [each.summary.name for each in named] == ["a", "b"]
        assert named["b"].summary.cost == found[1].summary.cost
    assert report(pair[0], "gemmini", input_size=(1, 64), name="a").in_words.startswith("a on gemmini")


ARRAYS = {
    "slow": SystolicArray(16, 16),
    "fast": SystolicArray(16, 16, clock_hz=2e9),
    "fed": SystolicArray(16, 16, dram_bytes_per_s=1e9),
    "shared": SystolicArray(16, 16, dram_bytes_per_s=1e9, overlap=0.5),
}


def test_machines_of_one_label_are_told_by_the_fields_that_differ():
    found = compare(LENET, list(ARRAYS.values()))
    assert found.in_words == "1 network on 4 machines"
    labels = [each.summary.label.removeprefix("16 x 16, weight stationary, ideal folds, ") for each in found]
    assert labels == [
        "clock 1 GHz, bandwidth no limit, overlap 0",
        "clock 2 GHz, bandwidth no limit, overlap 0",
        "clock 1 GHz, bandwidth 1 GB/s, overlap 0",
        "clock 1 GHz, bandwidth 1 GB/s, overlap 0.5",
    ]
    assert [row["machine"] for row in found.records()] == [each.summary.label for each in found]
    bounds = [line for line in str(found).splitlines() if line.startswith("lower bound")]
    assert [[each.summary.label in line for each in found] for line in bounds] == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_machines_given_by_name_are_called_so():
    found = compare({"lenet": LENET}, ARRAYS)
    assert [each.summary.device for each in found] == list(ARRAYS)
    assert found["fed"].summary.array == found["lenet", "fed"].summary.array == ARRAYS["fed"]
    assert "fed: 16 x 16" in str(found)


def test_a_row_given_twice_is_counted_twice():
    assert compare(LENET, [ARRAYS["slow"]] * 2).in_words == "1 network on 1 machine: 2 rows"


@given(st.lists(st.sampled_from(sorted(ARRAYS)), min_size=1, max_size=4, unique=True), st.integers(1, 3))
def test_no_two_rows_of_different_cost_have_one_name(machines, count):
    networks = [{"fc": Linear(64, 8 * (place + 1))} for place in range(count)]
    found = compare(networks, [ARRAYS[name] for name in machines])
    assert len({(each.summary.name, each.summary.label) for each in found}) == len(found) == count * len(machines)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"networks": LENET, "name": ["a", "b"]}, ("name", "1 network")),
        ({"networks": [LENET, LENET], "name": "a"}, ("name", "2 networks")),
        ({"networks": {"a": LENET}, "name": "b"}, ("name", "given by name")),
        ({"networks": {}}, ("networks", "at least one")),
        ({"networks": {"a": 3}}, ("Network",)),
    ],
)
def test_bad_names_are_refused(given, words):
    with pytest.raises(InvalidValueError) as caught:
        compare(**given, arrays="gemmini")
    assert all(word in str(caught.value) for word in words)


def test_what_is_wrong_with_one_of_several_networks_begins_with_its_name(refused):
    both = refused("compare", "modules.py:Tree", "modules.py:Plain", "--input", "1,5,8,8", *ON)
    assert both.startswith("Error: modules.py:Tree: module ")
    alone = refused("compare", "modules.py:Tree", "--input", "1,5,8,8", *ON)
    assert alone == both.replace("modules.py:Tree: ", "")


@pytest.mark.parametrize(
    ("networks", "name"),
    [
        ({"good": LENET, "bad": 3}, "bad: "),
        ([LENET, 3], "network 2: "),
        ([LENET, "no.csv"], "the list of layers 'no.csv'"),
        (3, "network is 3"),
    ],
)
def test_what_is_wrong_with_one_of_several_networks_names_it_in_python(networks, name):
    with pytest.raises(InvalidValueError, match=re.escape(name)) as caught:
        compare(networks, "gemmini")
    assert str(caught.value).startswith(name)


def test_modules_among_several_networks_are_named_by_their_class():
    nn = pytest.importorskip("torch").nn
    with pytest.raises(InvalidValueError, match=r"^Linear: "):
        compare([nn.Sequential(nn.Linear(3, 4)), nn.Linear(4, 4)], "gemmini", input_size=(1, 3))


def test_a_network_within_a_network_is_no_operation_to_skip():
    with pytest.raises(InvalidValueError, match=r"hwcost\.compare") as caught:
        report({"a": LENET}, "gemmini")
    assert "skip_unsupported" not in str(caught.value)


def test_a_name_that_no_row_has_is_told_with_those_that_are_there():
    found = compare({"lenet": LENET}, list(DEVICES))
    with pytest.raises(KeyError) as caught:
        found["gemini"]
    for word in ("gemini", "did you mean 'gemmini'", "tpu-v1", "lenet"):
        assert word in str(caught.value)
    with pytest.raises(InvalidValueError, match="2 of its rows"):
        found["lenet"]


# ---------------------------------------------------------------- what can be trusted


def test_ratios_relate_to_the_first_row_that_is_no_extrapolation(rows_of, hwcost):
    _, out, _ = hwcost("compare", "lenet.csv", "--devices", "all", "--json")
    document = json.loads(out)
    first = document["rows"][document["reference"]]
    before = document["rows"][: document["reference"]]
    assert before
    assert all(row["extrapolated_share"] for row in before)
    assert not first["extrapolated_share"]
    assert first["ratio"] == 1.0
    for row in document["rows"]:
        assert row["ratio"] == (None if row["withheld"] else pytest.approx(row["seconds"] / first["seconds"]))
    _, text, _ = hwcost("compare", "lenet.csv", "--devices", "all")
    assert f"below 1 it is faster than lenet on {first['device']}, the first line" in " ".join(text.split())
    alone = rows_of("lenet.csv", "--device", "edge-tpu")
    assert [row["ratio"] for row in alone] == [1.0]


def test_one_line_tells_each_reason_with_all_machines_that_have_it(hwcost):
    _, out, _ = hwcost("compare", "lenet.csv", "--devices", "all")
    below = [line for line in out.splitlines() if line.startswith("lenet") and "beyond what was measured" in line]
    reasons = [line.partition(" an extrapolation: ")[2] for line in below if " an extrapolation: " in line]
    assert len(set(reasons)) == len(reasons) <= 4
    assert len(below) == len(reasons) + 1
    for name in ("edge-tpu", "ethos-u55-128", "ethos-u85-256-network", "gemmini-firesim"):
        assert sum(name in line for line in below) >= 1


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
