"""``hwcost model``: the report as text, JSON, CSV and files, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
from pathlib import Path

import pytest
from nets import LENET, ODD, TREE, residual

from hwcost import SystolicArray, network_cost
from hwcost.cli.compare import compare
from hwcost.cli.model import SORTS, model
from hwcost.cli.model_output import SORTS as KEYS
from hwcost.cli.shared import networks
from hwcost.console import run_command
from hwcost.devices import read_device
from hwcost.errors import InvalidValueError
from hwcost.network.network import Network
from hwcost.network.operations import Unsupported
from hwcost.reports import summarise

NETWORKS = {
    "lenet": Network.of_layers("lenet", LENET),
    "residual": Network.of_layers("residual", residual()),
    "tree": TREE,
    "odd": ODD,
}
ARRAY = SystolicArray(16, 16, clock_hz=700e6)
ON = ("--s1", "16", "--s2", "16", "--clock", "700MHz")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """The command on the networks above, in an empty folder."""

    def read(source, inputs, dims):
        if source not in NETWORKS:
            raise InvalidValueError("model", source, "one of the networks")
        return NETWORKS[source]

    monkeypatch.setattr("hwcost.cli.model.read_model", read)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = run_command(model, "hwcost model", [str(arg) for arg in args])
        return code, *capsys.readouterr()

    return call


def good(run, *args):
    code, out, err = run(*args)
    assert (code, err) == (0, "")
    return out


# ---------------------------------------------------------------- text


def test_the_report_of_a_small_network(run):
    head, table, totals = good(run, "lenet", *ON).split("\n\n")
    assert head == "lenet on 16 x 16, weight stationary, ideal folds"
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [re.sub(" {2,}", " | ", line) for line in lines] == [
        "operation | shape | cycles | time[us] | share[%] | util[%] | folds | rows[%] | cols[%] | fill[%]",
        "conv1 | 1 -> 6, 5 x 5, 28 x 28 | 1568 | 2.240 | 55.6 | 29.3 | 2 | 8.2 | 62.5 | 0.0",
        "conv2 | 6 -> 16, 5 x 5, 14 x 14 -> 10 x 10 | 1000 | 1.429 | 35.4 | 93.8 | 10 | 6.2 | 0.0 | 0.0",
        "fc1 | 400 -> 120 | 200 | 0.286 | 7.1 | 93.8 | 200 | 0.0 | 6.2 | 0.0",
        "fc2 | 120 -> 84 | 48 | 0.069 | 1.7 | 82.0 | 48 | 5.5 | 12.5 | 0.0",
        "fc3 | 84 -> 10 | 6 | 0.009 | 0.2 | 54.7 | 6 | 7.8 | 37.5 | 0.0",
    ]
    assert totals.splitlines() == [
        "total        5 layers, 416520 MACs: 2822 cycles, 4.03143 us at 700 MHz, 57.66 % utilization",
        "PE-cycles    57.7 % useful, 6.9 % ragged rows, 35.5 % ragged columns",
        "bytes        weights 61.47 kB, inputs 2.564 kB, outputs 6.518 kB",
    ]


def operations(out):
    """The first cells of the table, indents kept."""
    lines = out.split("\n\n")[1].splitlines()
    return [re.split(r"(?<=\S)  +", line)[0] for line in lines[1:]]


def test_modules_are_a_tree_with_subtotals(run):
    out = good(run, "tree", *ON)
    assert operations(out) == [
        "stem", "body", "  0", "    attn", "      bmm", "      bmm (2)", "    fc", "  1.fc", "head",
    ]  # fmt: skip
    assert "note         read with care" in out
    assert "memory-only  1 operation, 2.048 kB moved, no cycles of the array" in out


def test_all_shows_what_only_moves_memory(run):
    out = good(run, "tree", *ON, "--all")
    assert operations(out)[:3] == ["stem", "  stem", "  relu"]
    assert "2.048 kB" in next(line for line in out.splitlines() if line.startswith("  relu"))


def test_depth_folds_modules_into_their_subtotal(run):
    assert operations(good(run, "tree", *ON, "--depth", "1")) == ["stem", "body", "head"]
    out = good(run, "tree", *ON, "--depth", "2")
    assert operations(out) == ["stem", "body", "  0", "  1.fc", "head"]
    assert "(3 layers)" in out
    cycles = [int(line.split("layers)")[1].split()[0]) for line in out.splitlines() if "(3 layers)" in line]
    summary = summarise(TREE, ARRAY)
    assert cycles == [sum(row.cost.cycles for row in summary.rows if row.name.startswith("body.0"))]


def test_sort_makes_a_list_and_top_says_how_many_are_left_out(run):
    out = good(run, "residual", *ON, "--top", "3")
    summary = summarise(NETWORKS["residual"], ARRAY)
    worst = sorted(summary.rows, key=lambda row: -row.cost.cycles)[:3]
    assert operations(out) == [*(row.name for row in worst), "... and 51 more"]
    assert operations(good(run, "tree", *ON, "--sort", "name", "--depth", "2")) == [
        "body.0",
        "body.1.fc",
        "head",
        "stem",
    ]


@pytest.mark.parametrize("key", SORTS)
def test_every_order_has_the_worst_first(run, key):
    rows = json.loads(good(run, "residual", *ON, "--sort", key, "--json"))["rows"]
    figures = {
        "cycles": lambda row: -row["cycles"],
        "time": lambda row: -row["seconds"],
        "macs": lambda row: -row["macs"],
        "utilization": lambda row: row["utilization"],
        "waste": lambda row: row["pe_cycles"]["useful"] - sum(row["pe_cycles"].values()),
        "name": lambda row: row["name"],
        "order": lambda row: list(NETWORKS["residual"]).index(row["name"]),
    }
    assert rows == sorted(rows, key=figures[key])
    assert len(rows) == 54
    assert tuple(KEYS) == SORTS


def test_a_device_with_a_memory_says_what_bounds_a_layer(run):
    code, out, err = run("residual", "--device", "tpu-v1", "--depth", "1")
    assert (code, err) == (0, "")
    assert out.startswith("residual on tpu-v1: 256 x 256, weight stationary, double-buffered folds\n")
    assert re.search(r"^layer4 .* memory +\d+ ", out, flags=re.MULTILINE)
    assert re.search(
        r"^bound +by compute [\d.]+ % of the time, by memory [\d.]+ % of the time$", out, flags=re.MULTILINE
    )
    assert "wait[%]" in out


def test_beyond_what_a_device_was_measured_with_is_one_line(run):
    device, total = read_device("edge-tpu"), len(LENET)
    found = [each for layer in LENET.values() for each in device.beyond(*_sizes(layer))]
    code, _, err = run("lenet", "--device", "edge-tpu")
    assert code == 0
    assert err == (
        f"Note: an extrapolation: {total} of {total} layers of lenet are beyond those that edge-tpu was measured with, "
        f"like conv1: {found[0]}\n"
    )


def _sizes(layer):
    (gemm,) = layer.gemms()
    return gemm.m, gemm.n, gemm.k, gemm.count


# ---------------------------------------------------------------- terminals


def test_on_a_terminal_there_are_colours_and_bars_and_nothing_wider_than_it(run, monkeypatch):
    monkeypatch.setattr("hwcost.cli.model_output.is_terminal", lambda: True)
    monkeypatch.setattr("hwcost.cli.model_output.terminal_width", lambda: 100)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    out = good(run, "lenet", *ON)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert out != plain
    assert "█" in plain
    table = plain.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 100
    assert "shape" not in table[0]
    monkeypatch.setattr("hwcost.cli.model_output.terminal_width", lambda: 200)
    assert "1 -> 6, 5 x 5, 28 x 28" in good(run, "lenet", *ON)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch, name, value):
    from hwcost.cli.shared import tables

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert tables.is_terminal()
    monkeypatch.setenv(name, value)
    assert not tables.is_terminal()


# ---------------------------------------------------------------- JSON and CSV


def test_json_holds_all_that_is_printed_and_adds_up(run):
    document = json.loads(good(run, "tree", *ON, "--json"))
    assert document["schema"] == "hwcost.model/1"
    assert document["settings"]["rows"] == 16
    assert document["settings"]["clock_hz"] == 700e6
    total = network_cost(TREE, ARRAY).total
    assert document["total"]["cycles"] == total.cycles == sum(row["cycles"] for row in document["rows"])
    assert [row["name"] for row in document["rows"]] == [name for name in TREE if name != "stem:relu"]
    assert [each["path"] for each in document["modules"]] == ["stem", "body", "body.0", "body.0.attn"]
    assert document["memory_only"] == {"operations": 1, "bytes": 2048}
    assert (document["left_out"], document["missing"]) == (0, [])
    everything = json.loads(good(run, "tree", *ON, "--json", "--all"))
    assert [row["name"] for row in everything["rows"]] == list(TREE)
    cut = json.loads(good(run, "tree", *ON, "--json", "--top", "2"))
    assert (len(cut["rows"]), cut["left_out"], cut["total"]) == (2, 4, document["total"])
    folded = json.loads(good(run, "tree", *ON, "--json", "--depth", "1", "--sort", "order"))
    assert [(row["name"], row["state"]) for row in folded["rows"]] == [
        ("stem", "priced"),
        ("body", "module"),
        ("head", "priced"),
    ]


def test_csv_holds_the_same_rows(run):
    rows = list(csv.DictReader(io.StringIO(good(run, "tree", *ON, "--csv", "--all"))))
    document = json.loads(good(run, "tree", *ON, "--json", "--all"))
    assert [row["name"] for row in rows] == list(TREE)
    for row, expected in zip(rows, document["rows"], strict=True):
        assert row["schema"] == "hwcost.model/1"
        assert (int(row["cycles"]), float(row["utilization"])) == (expected["cycles"], expected["utilization"])
        assert int(row["pe_cycles_ragged_rows"]) == expected["pe_cycles"]["ragged_rows"]
        assert int(row["input_bytes"]) == expected["bytes"]["input"]


def test_the_settings_say_the_array(run):
    settings = json.loads(good(run, "lenet", "--device", "gemmini", "--dataflow", "os", "--json"))["settings"]
    array = dataclasses.replace(read_device("gemmini").array, dataflow="os")
    assert settings["device"] == "gemmini"
    assert {name: settings[name] for name in array.as_dict()} == array.as_dict()


# ---------------------------------------------------------------- what is missing


def test_what_is_not_supported_is_an_error_that_names_it_and_the_way_out(run):
    code, out, err = run("odd", *ON)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "a.fft: fft (no <b>product</b>)" in err
    assert "--skip-unsupported" in err


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_totals_say_what_is_missing(run, form):
    code, out, err = run("odd", *ON, "--skip-unsupported", *form)
    text = "1 operation is not in these totals: a.fft: fft (no <b>product</b>)"
    assert code == 0
    assert text in (err if form else out)
    assert "\x1b" not in out + err
    if form == ("--json",):
        assert [row["name"] for row in json.loads(out)["missing"]] == ["a.fft"]


def test_many_that_are_missing_are_counted(run, monkeypatch):
    many = dict(LENET) | {f"op{i}": Unsupported("fft", "no product") for i in range(30)}
    monkeypatch.setitem(NETWORKS, "many", Network.of_layers("many", many))
    out = good(run, "many", *ON, "--skip-unsupported")
    assert "30 operations are not in these totals: op0: fft (no product); " in out
    assert "; and 20 more" in out


# ---------------------------------------------------------------- files


def test_pictures_and_pages_are_written_beside_the_report(run, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = run("tree", *ON, "--plot", "a.svg", "--html", "a.html")
    assert code == 0
    assert err == "wrote a.svg\nwrote a.html\n"
    assert out == good(run, "tree", *ON)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 3


def test_layers_are_written_by_the_importers(run, tmp_path, monkeypatch):
    lists = pytest.importorskip("hwcost.importers.lists")
    for option, path in (("--to-csv", "layers.csv"), ("--to-scalesim", "topology.csv")):
        code, _, err = run("lenet", *ON, option, path)
        assert code == 0
        assert f"wrote {path}\n" in err
        again = lists.read_layers(str(tmp_path / path))
        assert network_cost(again, ARRAY).total.cycles == 2822
    monkeypatch.setattr(lists, "write_layers", lambda path, network: ("it is not so",))
    assert run("lenet", *ON, "--to-csv", "b.csv")[2] == "wrote b.csv\nNote: it is not so\n"


def test_a_file_becomes_a_report(capsys, tmp_path):
    pytest.importorskip("hwcost.importers.lists")
    path = tmp_path / "net.csv"
    path.write_text(
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
        "Conv1, 60, 60, 3, 3, 3, 64, 1,\n"
        "Conv2, 58, 58, 3, 3, 64, 64, 1,\n",
        encoding="utf-8",
    )
    assert run_command(model, "hwcost model", [str(path), "--s1", "32", "--s2", "32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["rows"]] == ["Conv1", "Conv2"]
    assert document["total"]["macs"] == 58 * 58 * 27 * 64 + 56 * 56 * 576 * 64


def test_a_module_becomes_a_report(capsys, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("hwcost.importers.torch")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class LeNet(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),\n"
        "            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),\n"
        "            nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10))\n",
        encoding="utf-8",
    )
    args = [f"{tmp_path / 'net.py'}:LeNet", "--input", "1,1,28,28", *ON]
    assert run_command(model, "hwcost model", args) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "5 layers, 416520 MACs: 2822 cycles" in out


# ---------------------------------------------------------------- the page about it

PAGE = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("number", "options"), [(0, ["--depth", "1"]), (1, ["--sort", "waste", "--top", "4"])])
def test_the_page_shows_what_is_printed(run, monkeypatch, number, options):
    monkeypatch.setitem(NETWORKS, "net.onnx", Network.of_layers("resnet-50", residual()))
    assert good(run, "net.onnx", "--device", "tpu-v1", *options) == SHOWN[number]
    assert " ".join(options) in PAGE


def test_the_page_names_every_option_that_makes_a_report():
    own = {param.opts[0] for param in model.params} - {param.opts[0] for param in compare.params}
    assert own >= {"--sort", "--top", "--depth", "--all", "--html"}
    assert not {option for option in own - {"source"} if option not in PAGE} - {"--to-csv", "--to-scalesim"}


# ---------------------------------------------------------------- bad input

BAD = [
    (["lenet"], "--s1"),
    (["lenet", "--s1", "8"], "--s2"),
    (["lenet", "--device", "no-such"], "--device"),
    (["lenet", "--s1", "0", "--s2", "8"], "--s1"),
    (["lenet", *ON, "--dataflow", "rs"], "--dataflow"),
    (["lenet", *ON, "--sort", "size"], "--sort"),
    (["lenet", *ON, "--top", "0"], "--top"),
    (["lenet", *ON, "--top", "1e3"], "--top"),
    (["lenet", *ON, "--top", "9" * 400], "--top"),
    (["lenet", *ON, "--depth", "-1"], "--depth"),
    (["lenet", *ON, "--depth", "\u0663"], "--depth"),
    (["lenet", *ON, "--json", "--csv"], "--csv"),
    (["lenet", *ON, "--plot", "a.jpg"], "--plot"),
    (["lenet", *ON, "--plot", "missing/a.png"], "--plot"),
    (["lenet", *ON, "--html", "a.txt"], "--html"),
    (["lenet", *ON, "--html", "missing/a.html"], "--html"),
    (["lenet", *ON, "--html", "folder.html"], "--html"),
    (["lenet", *ON, "--to-csv", "a.txt"], "--to-csv"),
    (["lenet", *ON, "--to-scalesim", "a"], "--to-scalesim"),
    (["nothing", *ON], "model"),
    ([], "MODEL"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value)[:60] if type(value) is list else "")
def test_bad_input_is_one_line_exit_code_2_and_no_file(run, tmp_path, args, field):
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.html").mkdir()
    code, _, err = run(*args)
    errors = [line for line in err.splitlines() if not line.startswith("wrote")]
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert field in errors[0]
    assert os.listdir(tmp_path) == ["folder.html"]


@pytest.mark.parametrize("source", ["no/such.csv", "net.onnx.bak", "net.pt", "net.py", "net.py:9", ""])
def test_sources_that_cannot_be_read_are_one_line(capsys, tmp_path, monkeypatch, source):
    pytest.importorskip("hwcost.importers.lists")
    monkeypatch.chdir(tmp_path)
    assert run_command(model, "hwcost model", [source, *ON]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1


def test_without_matplotlib_a_picture_says_what_to_install(run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run("lenet", *ON, "--html", "a.html")
    assert code == 2
    assert err == 'Error: a plot needs matplotlib; install it with: pip install "hwcost[plot]"\n'


def test_options_of_the_array_change_a_device():
    array, file = networks.read_array("tpu-v1", "64", None, dataflow="os", clock="1GHz")
    expected = dataclasses.replace(file.array, rows=64, dataflow="os", clock_hz=1e9)
    assert array == expected
