"""``hwcost model``: the report as text, JSON, CSV and files, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from nets import residual

from hwcost import SystolicArray, network_cost
from hwcost.cli import cli
from hwcost.devices import FIELD_UNITS, DeviceFile, Entry, read_device, write_device
from hwcost.importers import read_network
from hwcost.importers.lists import write_layers
from hwcost.network.network import Network
from hwcost.reports import summarise
from hwcost.reports.lines import SORTS
from hwcost.units import BYTES, in_unit

ARRAY = SystolicArray(16, 16, clock_hz=700e6)
ON = ("--s1", "16", "--s2", "16", "--clock", "700MHz")
TREE = ("model", "modules.py:Tree", "--input", "1,3,8,8")
ODD = ("model", "modules.py:Odd", "--input", "1,40")
MANY = ("model", "modules.py:Many", "--input", "1,4")
LIST, RESIDUAL = ("model", "lenet.csv"), ("model", "residual.csv")
pytestmark = pytest.mark.usefixtures("networks")


@pytest.fixture
def tree():
    """The network in modules.py, as it is read."""
    from hwcost.importers.torch import InputSpec

    return read_network("modules.py:Tree", inputs=[InputSpec.parse("1,3,8,8")])


# ---------------------------------------------------------------- text


def test_the_report_of_a_small_network(good):
    head, table, totals, terms = good(*LIST, *ON).split("\n\n")
    assert head == "lenet on 16 x 16, weight stationary, ideal folds"
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [re.sub(" {2,}", " | ", line) for line in lines] == [
        "operation | shape | cycles | time[us] | share[%] | util[%] | folds | rows[%] | cols[%] | fill[%] | DRAM[kB]",
        "conv1 | 1 -> 6, 5 x 5, 28 x 28 | 1568 | 2.240 | 55.6 | 29.3 | 2 | 8.2 | 62.5 | 0 | 5.64",
        "conv2 | 6 -> 16, 5 x 5, 14 x 14 -> 10 x 10 | 1000 | 1.429 | 35.4 | 93.8 | 10 | 6.2 | 0 | 0 | 5.18",
        "fc1 | 400 -> 120 | 200 | 0.286 | 7.1 | 93.8 | 200 | 0 | 6.2 | 0 | 48.52",
        "fc2 | 120 -> 84 | 48 | 0.069 | 1.7 | 82.0 | 48 | 5.5 | 12.5 | 0 | 10.28",
        "fc3 | 84 -> 10 | 6 | 0.0086 | 0.2 | 54.7 | 6 | 7.8 | 37.5 | 0 | 0.93",
    ]
    assert totals.splitlines() == [
        "total        5 layers, 416,520 MACs: 2822 cycles, 4.03143 us at 700 MHz, 57.66 % utilization",
        "lower bound  without a bandwidth memory takes no time; ideal folds fill and drain for free",
        "PE-cycles    57.7 % useful, 6.9 % ragged rows, 35.5 % ragged columns",
        "bytes        70.55 kB to and from DRAM: weights 61.47 kB, inputs 2.564 kB, outputs 6.518 kB; "
        "358.1 kB next to the array",
    ]
    assert terms.startswith("share: of all cycles; util: MACs over")


def operations(out):
    """The first cells of the table, indents kept."""
    lines = out.split("\n\n")[1].splitlines()
    return [re.split(r"(?<=\S)  +", line)[0] for line in lines[1:]]


def test_modules_are_a_tree_with_subtotals(good, tree):
    out = good(*TREE, *ON)
    assert operations(out) == [
        "stem", "body", "  0", "    attn", "      bmm", "      bmm (2)", "    fc", "  1.fc", "head",
    ]  # fmt: skip
    moved = sum(each.layer.reads + each.layer.writes for each in tree.memory_only.values())
    assert f"memory-only  2 operations, {moved / 1000:g} kB fused with the layers before them, no cycles" in out


def test_bytes_are_those_of_the_cost_everywhere(good, tree, tmp_path):
    """Operations without products are fused with others, unless the machine has a bandwidth for them."""
    apart = dataclasses.replace(ARRAY, vector_bytes_per_s=1e9)
    entries = {name: Entry(value, FIELD_UNITS[name], "assumed", "a test") for name, value in apart.as_dict().items()}
    write_device(tmp_path / "apart.toml", DeviceFile("apart", "With passes of their own", (), entries))
    for options, array in ((ON, ARRAY), (("--device", str(tmp_path / "apart.toml")), apart)):
        text, content = good(*TREE, *options), json.loads(good(*TREE, *options, "--json", "--all"))
        line = next(line for line in text.splitlines() if line.startswith("bytes"))
        total = network_cost(tree, array).total
        assert content["total"]["dram_bytes"] == total.dram_bytes == sum(content["total"]["bytes"].values())
        for name, size in content["total"]["bytes"].items():
            assert size == getattr(total, f"dram_{name}_bytes")
            assert size == sum(row["bytes"][name] for row in content["rows"] if row["state"] != "module")
            shown = size - (total.dram_activation_weight_bytes if name == "weight" else 0)
            if shown:
                assert f"{name}s {in_unit(shown, BYTES, 4)}" in line
        as_weights = content["total"]["activation_weight_bytes"]
        assert as_weights == total.dram_activation_weight_bytes > 0
        assert f"activations as weights {in_unit(as_weights, BYTES, 4)}" in line
        free = [row for row in content["rows"] if row["state"] == "memory-only"]
        key = "fused_bytes" if array is ARRAY else "dram_bytes"
        assert content["memory_only"]["bytes"] == sum(row[key] for row in free) > 0
        assert {row[name] for row in free for name in ("fused_bytes", "dram_bytes") if name != key} == {0}
    stem = next(each for each in content["modules"] if each["path"] == "stem")
    inner = [row for row in content["rows"] if row["state"] != "module" and row["path"] == "stem"]
    assert stem["bytes"]["input"] == sum(row["bytes"]["input"] for row in inner)


def test_all_shows_what_only_moves_memory(good):
    out = good(*TREE, *ON, "--all")
    assert operations(out)[:3] == ["stem", "  stem", "  relu"]
    assert "(2.05)" in next(line for line in out.splitlines() if line.startswith("  relu"))


def test_depth_collapses_modules_into_their_subtotal(good, tree):
    assert operations(good(*TREE, *ON, "--depth", "1")) == ["stem", "body", "head"]
    out = good(*TREE, *ON, "--depth", "2")
    assert operations(out) == ["stem", "body", "  0", "  1.fc", "head"]
    cycles = [int(line.split("layers)")[1].split()[0]) for line in out.splitlines() if "(3 layers)" in line]
    summary = summarise(tree, ARRAY)
    assert cycles == [sum(row.cost.cycles for row in summary.rows if row.name.startswith("body.0"))]


def test_a_list_is_sorted_and_top_counts_the_lines_left_out(good):
    out = good(*RESIDUAL, *ON, "--top", "3")
    summary = summarise(residual(), ARRAY)
    worst = sorted(summary.rows, key=lambda row: -row.cost.cycles)[:3]
    assert operations(out) == [*(row.name for row in worst), "... and 51 more"]
    assert operations(good(*TREE, *ON, "--sort", "name", "--depth", "2")) == ["body.0", "body.1.fc", "head", "stem"]


@pytest.mark.parametrize("key", SORTS)
def test_every_order_has_the_worst_first(good, key):
    energy = ("--buffer", "64k", "--energy", "45nm-textbook")
    rows = json.loads(good(*RESIDUAL, *ON, *energy, "--sort", key, "--json"))["rows"]
    figures = {
        "cycles": lambda row: -row["cycles"],
        "time": lambda row: -row["seconds"],
        "macs": lambda row: -row["macs"],
        "utilization": lambda row: row["utilization"],
        "waste": lambda row: row["pe_cycles"]["useful"] - sum(row["pe_cycles"].values()),
        "bytes": lambda row: -row["dram_bytes"],
        "energy": lambda row: -row["energy_joules"],
        "name": lambda row: row["name"],
        "order": lambda row: list(residual()).index(row["name"]),
    }
    assert rows == sorted(rows, key=figures[key])
    assert len(rows) == 54


def test_a_device_with_a_memory_states_the_bound_of_a_layer(good):
    out = good(*RESIDUAL, "--device", "tpu-v1", "--depth", "1")
    assert out.startswith("residual on tpu-v1: 256 x 256, weight stationary, double-buffered folds\n")
    assert re.search(r"^layer4 .* memory +\d+ ", out, flags=re.MULTILINE)
    assert re.search(
        r"^bound +by compute [\d.]+ % of the time, by memory [\d.]+ % of the time$", out, flags=re.MULTILINE
    )
    assert "wait[%]" in out


# ---------------------------------------------------------------- terminals


def test_a_terminal_gets_colours_and_bars_and_no_line_that_is_too_long(good, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    out = good(*LIST, *ON)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert out != plain
    assert "█" in plain
    table = plain.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 100
    assert "shape" not in table[0]
    monkeypatch.setenv("COLUMNS", "200")
    assert "1 -> 6, 5 x 5, 28 x 28" in good(*LIST, *ON)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(good, monkeypatch, name, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = good(*LIST, *ON)
    assert "\x1b" not in out
    assert "█" not in out


# ---------------------------------------------------------------- JSON and CSV


def test_json_holds_all_that_is_printed_and_adds_up(good, tree):
    document = json.loads(good(*TREE, *ON, "--json"))
    assert document["schema"] == "hwcost.model/1"
    assert document["settings"]["rows"] == 16
    assert document["settings"]["clock_hz"] == 700e6
    total = network_cost(tree, ARRAY).total
    assert document["total"]["cycles"] == total.cycles == sum(row["cycles"] for row in document["rows"])
    assert [row["name"] for row in document["rows"]] == list(tree.priced)
    assert [each["path"] for each in document["modules"]] == ["stem", "body", "body.0", "body.0.attn"]
    moved = sum(each.layer.reads + each.layer.writes for each in tree.memory_only.values())
    assert document["memory_only"] == {"operations": 2, "bytes": moved}
    assert (document["left_out"], document["missing"]) == (0, [])
    everything = json.loads(good(*TREE, *ON, "--json", "--all"))
    assert [row["name"] for row in everything["rows"]] == list(tree)
    cut = json.loads(good(*TREE, *ON, "--json", "--top", "2"))
    assert (len(cut["rows"]), cut["left_out"], cut["total"]) == (2, 4, document["total"])
    folded = json.loads(good(*TREE, *ON, "--json", "--depth", "1", "--sort", "order"))
    assert [(row["name"], row["state"]) for row in folded["rows"]] == [
        ("stem", "priced"),
        ("body", "module"),
        ("head", "priced"),
    ]


def test_csv_holds_the_same_rows(good, tree):
    rows = list(csv.DictReader(io.StringIO(good(*TREE, *ON, "--csv", "--all"))))
    document = json.loads(good(*TREE, *ON, "--json", "--all"))
    assert [row["name"] for row in rows] == list(tree)
    for row, expected in zip(rows, document["rows"], strict=True):
        assert row["schema"] == "hwcost.model/1"
        assert (int(row["cycles"]), float(row["utilization"])) == (expected["cycles"], expected["utilization"])
        assert int(row["pe_cycles_ragged_rows"]) == expected["pe_cycles"]["ragged_rows"]
        assert int(row["input_bytes"]) == expected["bytes"]["input"]


def test_the_settings_describe_the_array(good):
    settings = json.loads(good(*LIST, "--device", "gemmini", "--dataflow", "os", "--json"))["settings"]
    array = dataclasses.replace(read_device("gemmini").array, dataflow="os")
    assert settings["device"] == "gemmini"
    assert {name: settings[name] for name in array.as_dict()} == array.as_dict()


def test_options_of_the_array_change_a_device(good):
    settings = json.loads(good(*LIST, "--device", "tpu-v1", "--rows", "64", "--clock", "1GHz", "--json"))["settings"]
    expected = dataclasses.replace(read_device("tpu-v1").array, rows=64, clock_hz=1e9)
    assert {name: settings[name] for name in expected.as_dict()} == expected.as_dict()


# ---------------------------------------------------------------- what is missing


def test_an_unsupported_operation_is_an_error_that_gives_the_way_out(refused):
    err = refused(*ODD, *ON)
    assert err.startswith("Error: 1 operation of Odd is not supported: ")
    assert "aten::_fft_r2c" in err
    assert "--skip-unsupported" in err


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_totals_state_what_is_missing(hwcost, form):
    code, out, err = hwcost(*ODD, *ON, "--skip-unsupported", *form)
    assert code == 0
    assert "1 operation is not in these totals: fft_r2c: aten::_fft_r2c" in (err if form else out)
    assert "\x1b" not in out + err
    if form == ("--json",):
        assert [row["name"] for row in json.loads(out)["missing"]] == ["fft_r2c"]


def test_many_missing_operations_are_counted(good):
    out = good(*MANY, *ON, "--skip-unsupported")
    assert "30 operations are not in these totals: fft_r2c: " in out
    assert "; and 20 more" in out


# ---------------------------------------------------------------- files


def test_pictures_and_pages_are_written_with_the_report(hwcost, good, networks):
    pytest.importorskip("matplotlib")
    code, out, err = hwcost(*TREE, *ON, "--plot", "a.svg", "--html", "a.html")
    assert (code, err) == (0, "wrote a.svg\nwrote a.html\n")
    assert out == good(*TREE, *ON)
    assert (networks / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    page = (networks / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<figure") == 4


@pytest.mark.parametrize("option", ["--to-csv", "--to-scalesim"])
def test_layers_are_written_as_lists(hwcost, option):
    code, _, err = hwcost(*LIST, *ON, option, "again.csv")
    assert code == 0
    assert "wrote again.csv\n" in err
    assert network_cost(read_network("again.csv"), ARRAY).total.cycles == 2822


def test_notes_on_a_written_list_are_printed(hwcost):
    code, _, err = hwcost(*TREE, *ON, "--to-csv", "tree.csv")
    assert code == 0
    assert err.startswith("wrote tree.csv\nNote: ")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system that refuses new files")
@pytest.mark.parametrize("option", ["--plot", "--html", "--to-csv", "--to-scalesim"])
def test_a_file_that_cannot_be_written_is_one_line(hwcost, option):
    path = f"/proc/a.{ {'--plot': 'svg', '--html': 'html'}.get(option, 'csv') }"
    code, _, err = hwcost(*LIST, *ON, option, path)
    assert code == 2
    assert err.startswith(f"Error: {option} '{path}' cannot be written")
    assert err.count("\n") == 1


def test_a_topology_becomes_a_report(good, networks):
    (networks / "net.csv").write_text(
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
        "Conv1, 60, 60, 3, 3, 3, 64, 1,\n"
        "Conv2, 58, 58, 3, 3, 64, 64, 1,\n",
        encoding="utf-8",
    )
    document = json.loads(good("model", "net.csv", "--s1", "32", "--s2", "32", "--json"))
    assert [row["name"] for row in document["rows"]] == ["Conv1", "Conv2"]
    assert document["total"]["macs"] == 58 * 58 * 27 * 64 + 56 * 56 * 576 * 64


def test_a_module_becomes_a_report(good):
    lenet = Path(__file__).parent / "models" / "lenet.py"
    assert "5 layers, 416,520 MACs: 2822 cycles" in good("model", f"{lenet}:LeNet", "--input", "1,1,28,28", *ON)


# ---------------------------------------------------------------- the page about it

PAGE = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("number", "options"), [(0, ["--depth", "1"]), (1, ["--sort", "waste", "--top", "4"])])
def test_the_page_shows_what_is_printed(good, number, options):
    write_layers("resnet-50.csv", Network.of_layers("resnet-50", residual()))
    assert good("model", "resnet-50.csv", "--device", "tpu-v1", *options) == SHOWN[number]
    assert " ".join(options) in PAGE


def test_the_page_names_every_option_that_makes_a_report():
    model, compare = (cli.get_command(None, name) for name in ("model", "compare"))
    own = {param.opts[0] for param in model.params} - {param.opts[0] for param in compare.params}
    assert own >= {"--sort", "--top", "--depth", "--all", "--html"}
    assert not {option for option in own - {"source"} if option not in PAGE} - {"--to-csv", "--to-scalesim"}


# ---------------------------------------------------------------- bad input

BAD = [
    (["lenet.csv"], "--s1"),
    (["lenet.csv", "--s1", "8"], "--s2"),
    (["lenet.csv", "--device", "no-such"], "--device"),
    (["lenet.csv", "--s1", "0", "--s2", "8"], "--s1"),
    (["lenet.csv", *ON, "--dataflow", "rs"], "--dataflow"),
    (["lenet.csv", *ON, "--sort", "size"], "--sort"),
    (["lenet.csv", *ON, "--top", "0"], "--top"),
    (["lenet.csv", *ON, "--top", "1e3"], "--top"),
    (["lenet.csv", *ON, "--top", "9" * 400], "--top"),
    (["lenet.csv", *ON, "--depth", "-1"], "--depth"),
    (["lenet.csv", *ON, "--depth", "\u0663"], "--depth"),
    (["lenet.csv", *ON, "--json", "--csv"], "--csv"),
    (["lenet.csv", *ON, "--plot", "a.jpg"], "--plot"),
    (["lenet.csv", *ON, "--plot", "missing/a.png"], "--plot"),
    (["lenet.csv", *ON, "--html", "a.txt"], "--html"),
    (["lenet.csv", *ON, "--html", "missing/a.html"], "--html"),
    (["lenet.csv", *ON, "--html", "folder.html"], "--html"),
    (["lenet.csv", *ON, "--to-csv", "a.txt"], "--to-csv"),
    (["lenet.csv", *ON, "--to-csv", "./lenet.csv"], "--to-csv"),
    (["lenet.csv", *ON, "--to-scalesim", "a"], "--to-scalesim"),
    (["lenet.csv", *ON, "--input", "1,3,8,8"], "--input"),
    (["lenet.csv", *ON, "--dim", "batch=1"], "--dim"),
    *(([source, *ON], "") for source in ("no/such.csv", "net.onnx.bak", "net.pt", "net.py:9", "")),
    (["net.py", "--input", "1,3", *ON], "net.py"),
    (["--device", "gemmini"], "MODEL"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value)[:60] if type(value) is list else "")
def test_bad_input_is_one_line_exit_code_2_and_no_file(refused, networks, args, field):
    (networks / "folder.html").mkdir()
    before = sorted(os.listdir())
    assert field in refused("model", *args)
    assert sorted(os.listdir()) == before


def test_without_matplotlib_a_picture_states_what_to_install(hwcost, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = hwcost(*LIST, *ON, "--html", "a.html")
    assert code == 2
    assert 'pip install "hwcost[plot]"' in err


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "gemmini:"),
        (("--s1", 8), "gemmini with 8 rows:"),
        (("--s1", 16, "--s2", 16), "gemmini:"),
        (("--s2", 4, "--clock", "2MHz"), "gemmini with 4 columns, 2 MHz:"),
        (("--fold-timing", "ideal", "--dataflow", "os"), "gemmini with dataflow os, ideal folds:"),
    ],
)
def test_what_differs_from_the_device_is_named(hwcost, networks, options, name):
    code, out, _ = hwcost("model", "lenet.csv", "--device", "gemmini", *options)
    assert code == 0
    assert f" on {name} " in out.splitlines()[0]


@pytest.mark.parametrize(("clock", "hint"), [("700", "700MHz"), ("0.9", "0.9MHz"), ("700Hz", ""), ("1e9", "")])
def test_a_clock_of_a_few_hertz_is_noted(hwcost, networks, clock, hint):
    code, out, err = hwcost("model", "lenet.csv", "--s1", 8, "--s2", 8, "--clock", clock)
    assert code == 0
    assert out
    assert (f"--clock {hint}" in err) if hint else err == ""
