"""``hwcost advise``: what it prints, in every form, what it writes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from hwcost import Conv2d, Linear, Network, SystolicArray, advise, network_cost, read_costs
from hwcost.importers import read_network
from hwcost.importers.lists import write_layers

MODELS = Path(__file__).parent / "models"
LENET = f"{MODELS / 'lenet.py'}:LeNet --input 1,1,28,28"
LIST = "kind,name,k,c,f,h,w,batch\nconv2d,conv,3,16,65,8,8,1\nlinear,fc,,64,10,,,1\n"


@pytest.fixture
def run(hwcost, tmp_path, monkeypatch):
    """The command in an empty folder with a list of layers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text(LIST)
    return lambda command: hwcost("advise", *shlex.split(command))


@pytest.fixture
def run_module(run, tmp_path):
    """The command on a module of some layers and a forward, with the rest of the line."""
    pytest.importorskip("torch")

    def call(layers, forward, line):
        body = "".join(f"        self.{name} = nn.{layer}\n" for name, layer in layers.items())
        (tmp_path / "own.py").write_text(
            "import torch\nfrom torch import nn\n\n\nclass Own(nn.Module):\n    def __init__(self):\n"
            f"        super().__init__()\n{body}\n    def forward(self, x):\n        return {forward}\n"
        )
        return run(f"own.py:Own --s1 4 --s2 4 {line}")

    return call


TABLE = "layer,in,out,us\nconv,16,65,90\nconv,16,64,40\nconv,16,32,50\nfc,64,10,5\nfc,32,10,4\n"


@pytest.fixture
def by_table(run, tmp_path):
    """The command on a list of layers and a table of measured times, with the rest of the line."""
    (tmp_path / "costs.csv").write_text(TABLE)
    return lambda line: run(f"net.csv --table costs.csv {line}")


def test_measured_costs_in_place_of_an_array(by_table, tmp_path):
    code, out, err = by_table("--budget 0.6 --to-csv small.csv")
    assert (code, err) == (0, "")
    assert "net on costs.csv: measured costs, 5 rows of 2 layers: 95 us\n" in out
    assert "budget 0.6: 45 us, 47.37 % of today's" in out
    assert "saves[cycles]" not in out
    found = json.loads(by_table("--budget 0.6 --json")[1])
    network = read_network("net.csv")
    twin = advise(network, read_costs(tmp_path / "costs.csv"), budget=0.6)
    assert found["measure"] == twin.measure == "seconds"
    assert found["budget"]["sizes"] == {"conv.out_channels": 64} == dict(twin.budget.sizes)
    rows = list(csv.DictReader(io.StringIO(by_table("--csv")[1])))
    assert float(rows[0]["saved_seconds"]) == pytest.approx(50e-6)
    assert read_network("small.csv")["conv"].out_channels == 64


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--device gemmini", "--device"),
        ("--s1 8", "--s1"),
        ("--budget 0.1", "--budget"),
        ("--table net.csv", "--table"),
    ],
)
def test_what_does_not_go_with_measured_costs(by_table, line, words):
    code, out, err = by_table(line)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_table_of_another_network_is_refused(by_table, tmp_path):
    (tmp_path / "costs.csv").write_text("layer,in,out,us\nkonv,3,65,90\n")
    code, _, err = by_table("")
    assert (code, err) == (2, "Error: unknown layer 'konv' in --table (did you mean 'conv'?); known: conv, fc\n")


def test_a_module_is_rebuilt_by_measured_costs(run, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))\n"
    )
    (tmp_path / "costs.csv").write_text("layer,in,out,ms\n0,8,6,3\n0,8,4,1\n2,6,2,1\n2,4,2,1\n")
    line = "own.py:make --input 1,8 --table costs.csv --budget 0.6 --apply"
    code, out, err = run(line)
    assert (code, err) == (0, "")
    assert "applied: predicted 2 ms, rebuilt and priced 2 ms\n  0: out_features 6 -> 4\n" in out
    applied = json.loads(run(f"{line} --json")[1])["applied"]
    assert applied["predicted_seconds"] == applied["rebuilt_seconds"] == pytest.approx(2e-3)


def test_a_row_for_each_width(run):
    code, out, err = run("net.csv --s1 16 --s2 64")
    assert (code, err) == (0, "")
    (row,) = [line.split() for line in out.splitlines() if line.startswith("conv.out")]
    assert row[1:3] == ["65", "64"]
    assert row[-1] == "128"  # free up to
    assert "connect" in out


def test_a_row_for_each_layer(run):
    _, out, _ = run("net.csv --s1 16 --s2 64 --layers")
    rows = [line.split() for line in out.splitlines()]
    assert ["conv", "1152", "conv.out_channels", "65", "64", "2.000x"] in [row[:6] for row in rows]


def test_top_counts_the_rows_left_out(run):
    _, out, _ = run("net.csv --s1 16 --s2 64 --top 1")
    assert "... and" in out


def test_json_holds_what_is_printed(run):
    code, out, err = run("net.csv --s1 16 --s2 64 --budget 0.7 --json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["schema"] == "hwcost.advise/1"
    assert content["array"]["rows"] == 16
    widths = {each["name"]: each for each in content["widths"]}
    (name,) = [name for name in widths if widths[name]["size"] == 65]
    assert widths[name]["cheaper"]["size"] == 64
    assert widths[name]["free"] == 128
    assert content["budget"]["sizes"] == {name: 64}
    assert content["budget"]["cycles"] <= content["budget"]["limit"]
    assert content["budget"]["cycles_today"] == content["total"]["cycles"]


def test_the_side_of_a_layer_that_cannot_change_is_printed(run, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.stem, self.qkv, self.head = nn.Linear(8, 16), nn.Linear(16, 24), nn.Linear(16, 4)\n"
        "    def forward(self, x):\n        y = self.stem(x)\n"
        "        q, k, v = self.qkv(y).reshape(len(x), 3, 8).unbind(1)\n        return self.head(y), q @ k.mT @ v\n"
    )
    arguments = f"{tmp_path}/net.py:Net --input 5,8 --s1 4 --s2 4"
    out = run(arguments)[1]
    assert "output of qkv" in out
    assert "input of qkv" not in out
    assert "output of head" not in out
    fixed = json.loads(run(f"{arguments} --json")[1])["fixed"]
    assert list(fixed["qkv"]) == ["output"]
    assert fixed["head"] == {"output": "an output of the network"}


def test_csv_has_a_row_for_each_width(run):
    _, out, _ = run("net.csv --s1 16 --s2 64 --csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["schema"] for row in rows} == {"hwcost.advise/1"}
    assert next(row for row in rows if row["size"] == "65")["free"] == "128"


def test_the_advised_layers_are_written(run, tmp_path):
    code, out, _ = run("net.csv --s1 16 --s2 64 --budget 0.7 --to-csv smaller.csv")
    assert code == 0
    assert out.splitlines()[-1] == "smaller.csv"
    written = read_network(str(tmp_path / "smaller.csv"))
    assert written["conv"] == Conv2d(16, 64, 3, height=8, width=8, padding="same")
    assert written["fc"] == Linear(64, 10)
    before = network_cost(read_network(str(tmp_path / "net.csv")), SystolicArray(16, 64)).total.cycles
    assert network_cost(written, SystolicArray(16, 64)).total.cycles <= 0.7 * before


def test_applied_advice_is_priced_again(run):
    pytest.importorskip("torch")
    code, out, err = run(f"{LENET} --s1 16 --s2 16 --budget 0.75 --apply --json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    applied = content["applied"]
    assert applied["predicted_cycles"] == applied["rebuilt_cycles"] == content["budget"]["cycles"] <= 0.75 * 2822
    assert applied["sizes"] == content["budget"]["sizes"]
    assert applied["changes"]["features.0"]["out_channels"] == [6, applied["sizes"]["features.0"]]
    _, out, _ = run(f"{LENET} --s1 16 --s2 16 --budget 0.75 --apply")
    assert "applied: predicted" in out


def test_widths_of_ones_own_are_applied(run):
    pytest.importorskip("torch")
    code, out, _ = run(f"{LENET} --s1 16 --s2 16 --take features.3=12 --take classifier.0=100 --apply --json")
    assert code == 0
    applied = json.loads(out)["applied"]
    assert applied["sizes"] == {"features.3": 12, "classifier.0": 100}
    assert applied["changes"]["classifier.0"] == {"in_features": [400, 300], "out_features": [120, 100]}
    assert applied["predicted_cycles"] == applied["rebuilt_cycles"]


TWO = {"a": "Linear(4, 8)", "b": "Linear(8, 3)"}


def test_the_report_is_printed_also_if_the_rebuilt_module_does_not_run(run_module):
    code, out, err = run_module(TWO, "self.b(self.a(x).view(1, 8))", "--input 1,4 --take a=4 --apply")
    assert code == 2
    assert "saves[cycles]" in out
    assert "applied:" not in out
    assert "sizes written into it" in err
    assert err.count("\n") == 1


def test_a_rebuilt_module_that_differs_is_named_with_the_layer_that_differs(run_module):
    forward = "self.b(y if (y := self.a(x)).shape[1] == 8 else y[:0])"
    code, out, err = run_module(TWO, forward, "--input 2,4 --take a=4 --apply")
    assert code == 2
    assert "saves[cycles]" in out
    assert "'b'" in err


def test_unsupported_operations_are_refused_or_named(run_module):
    odd = ({"a": "Linear(4, 8)"}, "torch.fft.fft(self.a(x)).real")
    code, _, err = run_module(*odd, "--input 1,4")
    assert code == 2
    assert "fft" in err
    assert "--skip-unsupported" in err
    code, out, _ = run_module(*odd, "--input 1,4 --skip-unsupported")
    assert code == 0
    assert "NOT COUNTED" in out


def test_csv_states_the_sizes_taken(run):
    _, out, _ = run("net.csv --s1 16 --s2 64 --budget 0.7 --csv")
    taken = {row["width"]: (row["size"], row["taken"]) for row in csv.DictReader(io.StringIO(out))}
    assert taken["conv.out_channels"] == ("65", "64")


def test_an_embedding_before_a_recurrent_net_is_rebuilt(run_module):
    layers = {"ids": "Embedding(20, 12)", "net": "LSTM(12, 8, batch_first=True)", "fc": "Linear(8, 3)"}
    forward, line = "self.fc(self.net(self.ids(x))[0][:, -1])", "--input 2,5:int64 --take ids=8 --apply --json"
    code, out, err = run_module(layers, forward, line)
    assert (code, err) == (0, "")
    applied = json.loads(out)["applied"]
    assert applied["changes"] == {"ids": {"embedding_dim": [12, 8]}, "net": {"input_size": [12, 8]}}
    assert applied["predicted_cycles"] == applied["rebuilt_cycles"]


def test_what_a_model_prints_is_no_result(run, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "loud.py").write_text("print('hello')\nfrom torch import nn\n\nnet = nn.Linear(4, 2)\n")
    code, out, err = run("loud.py:net --input 1,4 --s1 4 --s2 4 --json")
    assert code == 0
    assert json.loads(out)["network"] == "net"
    assert "hello" in err


BAD = {
    "nothing": "--device gemmini",
    "the model itself": "net.csv --s1 8 --s2 8 --take conv.out_channels=3 --to-csv net.csv",
    "take twice": "net.csv --s1 8 --s2 8 --take conv.out_channels=3 --take conv.out_channels=4 --to-csv o.csv",
    "layers as csv": "net.csv --s1 8 --s2 8 --layers --csv",
    "layers as json": "net.csv --s1 8 --s2 8 --layers --json",
    "no array": "net.csv",
    "one size": "net.csv --s1 8",
    "a huge array": f"net.csv --s1 {10**40} --s2 8",
    "a sweep of arrays": "net.csv --s1 8,16 --s2 8",
    "no file": "nowhere.csv --s1 8 --s2 8",
    "no kind of file": "net.txt --s1 8 --s2 8",
    "a folder": ". --s1 8 --s2 8",
    "unknown device": "net.csv --device tpu-v11",
    "budget 0": "net.csv --s1 8 --s2 8 --budget 0",
    "budget 1": "net.csv --s1 8 --s2 8 --budget 1",
    "budget in percent": "net.csv --s1 8 --s2 8 --budget 90%",
    "budget too small": "net.csv --s1 8 --s2 8 --budget 0.0001",
    "effort": "net.csv --s1 8 --s2 8 --budget 0.9 --effort 0",
    "apply to a list": "net.csv --s1 8 --s2 8 --budget 0.9 --apply",
    "to-csv alone": "net.csv --s1 8 --s2 8 --to-csv out.csv",
    "take alone": "net.csv --s1 8 --s2 8 --take conv.out_channels=3",
    "take nothing": "net.csv --s1 8 --s2 8 --take conv --to-csv out.csv",
    "take unknown": "net.csv --s1 8 --s2 8 --take nowhere=3 --to-csv out.csv",
    "take a range": "net.csv --s1 8 --s2 8 --take conv.out_channels=3:5 --to-csv out.csv",
    "unwritable": "net.csv --s1 8 --s2 8 --take conv.out_channels=3 --to-csv nowhere/out.csv",
    "json and csv": "net.csv --s1 8 --s2 8 --json --csv",
    "top 0": "net.csv --s1 8 --s2 8 --top 0",
    "input for a list": "net.csv --input 1,2 --s1 8 --s2 8",
    "dim for a list": "net.csv --dim a=2 --s1 8 --s2 8",
    "dataflow": "net.csv --s1 8 --s2 8 --dataflow xs",
    "unknown option": "net.csv --s1 8 --s2 8 --frobnicate",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line(run, refused, name):  # run makes the folder
    refused("advise", *shlex.split(BAD[name]))


def test_names_that_are_numbers_are_names_of_layers(good, tmp_path):
    path = tmp_path / "net.csv"
    layers = {"0": Linear(512, 512, batch=196), "2": Linear(512, 300, batch=196)}
    write_layers(str(path), Network.of_layers("net", layers, is_chain=True))
    text = good("advise", path, "--s1", "16", "--s2", "16", "--buffer", "16k")
    assert "with a larger buffer it would not: layer " in text
    assert not re.search(r"[:,] \d+ [\d.]+ KiB", text)
