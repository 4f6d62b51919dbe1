"""Figures beyond what a calibrated device was measured with: marked everywhere, and no total that is mostly of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import math
import re
import warnings

import click
import drawn
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import LENET, TREE

from hwcost import Conv2d, Gemm, Linear, SystolicArray, advise, compare, network_cost, report
from hwcost.devices import Entry, ExtrapolationWarning, Fit, Range, device_names, read_device, write_device
from hwcost.importers.lists import write_layers
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Width
from hwcost.plot import (
    network_data,
    network_figure,
    pruning_data,
    pruning_figure,
    stairs_data,
    stairs_figure,
    sweep_figure,
)
from hwcost.reports import Module, summarise
from hwcost.reports.html import html_report
from hwcost.reports.html.stairs import stairs_of
from hwcost.sweep import sweep
from hwcost.units import number

pytest.importorskip("tomli_w")
RANGES = {"m": Range(16, 1000), "n": Range(4, 100), "k": Range(8, 900)}
SEEN, FAR = Gemm(m=400, n=60, k=300), Gemm(m=400, n=60, k=9000)
SIZES = st.integers(1, 3000)


def device(ranges=RANGES, **errors):
    fit = Fit("a few layers", "us", "CC0-1.0", errors, (), (), ranges)
    return dataclasses.replace(read_device("gemmini"), name="mine", fit=fit)


def of(network):
    """The summary on the device, without the warning."""
    return summarise(network, device(), extrapolate=True)


@pytest.fixture
def mine(tmp_path):
    write_device(tmp_path / "mine.toml", device(log_margin_90=0.1))
    return str(tmp_path / "mine.toml")


def from_csv(text):
    """What each row says about being extrapolated."""
    return [row["extrapolated"] for row in csv.DictReader(io.StringIO(text))]


def listed(tmp_path, name, **layers):
    """A file of products (m, n, k)."""
    rows = [f"{key},gemm,{layer.m},{layer.n},{layer.k}" for key, layer in layers.items()]
    (tmp_path / name).write_text("\n".join(["name,kind,m,n,k", *rows]) + "\n")
    return str(tmp_path / name)


def linear(tmp_path, **layers):
    """A file of linear layers, whose widths can change."""
    list(write_layers(tmp_path / "net.csv", Network.of_layers("net", layers)))
    return str(tmp_path / "net.csv")


# ---------------------------------------------------------------- which layers


@given(m=SIZES, n=SIZES, k=SIZES)
def test_a_layer_is_beyond_if_a_size_is_outside(m, n, k):
    layer = Gemm(m=m, n=n, k=k)
    inside = 16 <= m <= 1000 and 4 <= n <= 100 and 8 <= k <= 900
    assert device().is_beyond(layer) is not inside
    assert bool(device().beyond(layer)) is not inside


@given(st.lists(SIZES, min_size=1, max_size=5), st.lists(SIZES, min_size=1, max_size=5))
def test_arrays_of_sizes_are_judged_one_by_one(outs, sizes):
    layer = Conv2d(8, np.array(outs), 3, height=np.array(sizes)[:, None], width=7, padding=1)
    found = np.broadcast_to(device().is_beyond(layer), (len(sizes), len(outs)))
    one = [[device().is_beyond(Conv2d(8, f, 3, height=h, width=7, padding=1)) for f in outs] for h in sizes]
    assert found.tolist() == one


def test_a_device_without_measurements_says_nothing():
    assert read_device("gemmini").is_beyond(FAR) is None
    summary = summarise({"a": FAR}, "gemmini")
    assert (summary.extrapolated_share, summary.withheld, summary.legend) == (None, "", "")
    assert summary.as_dict()["rows"][0]["extrapolated"] is None
    assert summary.as_dict()["total"] is not None


# ---------------------------------------------------------------- shares and totals


@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=6))
def test_the_share_is_that_of_the_time(sizes):
    layers = {f"a.{i}" if i % 2 else f"b{i}": Gemm(m=m, n=20, k=k) for i, (m, k) in enumerate(sizes)}
    summary = of(layers)
    seconds = {name: cost.seconds for name, cost in network_cost(layers, device().array).layers.items()}
    beyond = sum(seconds[name] for name, layer in layers.items() if device().beyond(layer))
    assert summary.extrapolated_share == pytest.approx(beyond / sum(seconds.values()))
    assert not summary.is_withheld()
    careful = dataclasses.replace(summary, extrapolate=False)
    assert careful.is_withheld() is (summary.extrapolated_share > 0.5) is (careful.as_dict()["total"] is None)
    for _, _, part in careful.tree.walk():
        figures = careful.figures(part)
        hidden = isinstance(part, Module) and careful.share_beyond(part) > 0.5
        assert (figures["seconds"] is None) is (figures["cycles"] is None) is hidden
        assert figures["macs"] == part.cost.macs


def test_python_is_warned_unless_it_asks():
    layers = {"a": SEEN, "b": FAR}
    with pytest.warns(ExtrapolationWarning, match=r"no total: \d+ % of it .* k is 9000, but layers of 8 to 900"):
        summary = summarise(layers, device())
    assert summary.as_dict()["total_withheld"] == summary.withheld
    assert summary.cost == network_cost(layers, device().array).total  # what is there is not lost
    assert summarise(layers, device(), extrapolate=True).as_dict()["total"]["cycles"] == summary.cost.cycles
    assert summarise({"a": SEEN}, device()).extrapolated_share == 0.0


WITHHELD = {
    "report": lambda: report({"b": FAR}, device()),
    "summarise": lambda: summarise({"b": FAR}, device()),
    "compare": lambda: compare({"net": {"b": FAR}}, [device()]),
    "advise": lambda: advise(Network.of_layers("net", {"b": Linear(9000, 60)}), device()),
}


@pytest.mark.parametrize("call", WITHHELD.values(), ids=WITHHELD)
def test_the_warning_is_on_the_line_of_the_caller_who_reads_what_prints_the_total(call):
    with pytest.warns(ExtrapolationWarning) as caught:
        found = call()
    assert caught[0].filename == __file__
    assert "extrapolate=True (--extrapolate) prints it" in str(found)


def test_a_plain_array_was_not_measured():
    assert summarise({"a": FAR}, SystolicArray(8, 8)).extrapolated_share is None


# ---------------------------------------------------------------- the command line


def test_a_report_marks_the_layer_and_the_total(hwcost, tmp_path, mine):
    net = listed(tmp_path, "net.csv", **{"a": SEEN, "s.b": SEEN, "s.c": Gemm(m=2, n=60, k=300)})
    code, out, err = hwcost("model", net, "--device", mine)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert ["~" in lines[name] for name in ("a", "s", "b", "c", "total")] == [False, True, False, True, True]
    assert lines["~"].startswith(
        "~ an extrapolation: 1 of 3 layers beyond what mine was measured with, like s.c: m is 2"
    )
    rows = json.loads(hwcost("model", net, "--device", mine, "--json")[1])
    assert [row["extrapolated"] for row in rows["rows"]] == [False, False, True]
    assert 0 < rows["extrapolated_share"] == rows["total"]["extrapolated_share"] < 0.5
    assert from_csv(hwcost("model", net, "--device", mine, "--csv")[1]) == ["False", "False", "True"]


def test_a_total_that_is_mostly_beyond_is_printed_if_asked_for(hwcost, tmp_path, mine):
    net = listed(tmp_path, "net.csv", **{"s.a": FAR, "s.b": SEEN, "c": SEEN})
    args = ("model", net, "--device", mine)
    code, out, err = hwcost(*args)
    assert (code, err) == (0, "")
    withheld = r"9\d % of it is beyond what was measured; extrapolate=True \(--extrapolate\) prints it"
    assert re.search(rf"^total +3 layers, [\d,]+ MACs: {withheld}$", out, re.M)
    assert not re.search(r"^PE-cycles", out, re.M)
    assert re.search(r"^s +(- +)+", out, re.M)
    content = json.loads(hwcost(*args, "--json")[1])
    assert content["total"] is None
    assert "beyond what was measured" in content["total_withheld"]
    assert [each["seconds"] for each in content["modules"] if each["path"] == "s"] == [None]
    asked = json.loads(hwcost(*args, "--json", "--extrapolate")[1])
    assert asked["total"]["seconds"] > 0
    assert asked["total_withheld"] is None
    assert re.search(
        r"^total .*: ~[\d,]+ cycles, ~[\d.]+ [mun]?s .*9\d(\.\d)? % of it beyond",
        hwcost(*args, "--extrapolate")[1],
        re.M,
    )


def test_a_comparison_leaves_out_the_time_that_is_mostly_beyond(hwcost, tmp_path, mine):
    near, far = listed(tmp_path, "near.csv", a=SEEN), listed(tmp_path, "far.csv", a=FAR)
    code, out, err = hwcost("compare", near, far, "--devices", f"gemmini,{mine}")
    assert (code, err) == (0, "")
    table, below, terms = out.split("\n\n")[1:]
    last, (legend, reason) = table.splitlines()[-1], below.splitlines()
    assert terms.startswith("time/first: ")
    assert re.search(r"( -){5}", re.sub(" +", " ", last))
    assert legend.startswith("far on mine: ~ an extrapolation: 1 of 1 layer")
    assert (
        reason
        == "far: no total on mine: 100 % of it is beyond what was measured; extrapolate=True (--extrapolate) prints it"
    )
    rows = json.loads(hwcost("compare", near, far, "--devices", f"gemmini,{mine}", "--json")[1])["rows"]
    assert [row["seconds"] is None for row in rows] == [False, False, False, True]
    assert [row["extrapolated_share"] for row in rows] == [None, 0.0, None, 1.0]
    asked = hwcost("compare", near, far, "--devices", mine, "--extrapolate")[1].splitlines()
    assert ["~" in line for line in asked if line.startswith(("near", "far"))] == [False, True, True]
    first = json.loads(hwcost("compare", far, near, "--devices", mine, "--json")[1])["rows"]
    assert [row["ratio"] for row in first] == [None, 1.0]


def test_an_estimate_marks_its_figures(hwcost, mine):
    args = ["estimate", "--k", "1", "--c", "64", "--h", "20", "--w", "20", "--device", mine, "--f"]
    code, out, err = hwcost(*args, "999")
    assert (code, err) == (0, "")
    figures = out.split("\n\n")[0].splitlines()
    marks = {line.split()[0]: "~" in line for line in figures}
    assert [marks[name] for name in ("cycles", "smooth", "utilization", "time", "MACs")] == [True] * 4 + [False]
    assert figures[-1] == "~ an extrapolation: n is 999, but layers of 4 to 100 were measured on mine"
    assert "~" not in hwcost(*args, "64")[1]
    table = hwcost(*args, "64,100,101")[1].split("\n\n")[0].splitlines()
    assert [line.count("~") for line in table] == [0, 0, 0, 4, 1]
    assert len({len(line) for line in table[:4]}) == 1
    rows = json.loads(hwcost(*args, "64,100,101", "--json")[1])["rows"]
    assert [row["extrapolated"] for row in rows] == [False, False, True]
    assert from_csv(hwcost(*args, "64,101", "--csv")[1]) == ["False", "True"]


def test_a_sweep_marks_arrays_that_were_not_measured(hwcost, tmp_path, mine):
    net = listed(tmp_path, "net.csv", a=SEEN)
    args = ("sweep", net, "--device", mine, "--rows", "8,16", "--cols", "16")
    rows = json.loads(hwcost(*args, "--json")[1])["rows"]
    assert {row["rows"]: row["extrapolated"] for row in rows} == {8: True, 16: False}
    code, out, err = hwcost(*args)
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if re.search(r"\d x 16[ ,] ", line)]
    assert [bool(re.search(r"\b8 x 16\b", line)) for line in lines] == ["~" in line for line in lines]
    assert "~ an extrapolation: mine was measured at 16 x 16; at other sizes" in out
    assert "~" not in hwcost(*args[:-4], "--rows", "16", "--cols", "16")[1]


def test_a_sweep_has_the_interval_of_the_fitted_array(hwcost, tmp_path, mine):
    net = listed(tmp_path, "net.csv", a=SEEN)
    args = ("sweep", net, "--device", mine, "--rows", "8,16", "--cols", "16")
    rows = {row["rows"]: row for row in json.loads(hwcost(*args, "--json")[1])["rows"]}
    assert rows[8]["seconds_90_low"] is rows[8]["seconds_90_high"] is None
    assert rows[16]["seconds_90_low"] == pytest.approx(rows[16]["seconds"] * math.exp(-0.1))
    assert rows[16]["seconds_90_high"] == pytest.approx(rows[16]["seconds"] * math.exp(0.1))
    table = csv.DictReader(io.StringIO(hwcost(*args, "--csv")[1]))
    assert [row["seconds_90_low"] == "" for row in table] == [True, False]
    lines = [line for line in hwcost(*args)[1].splitlines() if re.search(r"\d x 16[ ,] ", line)]
    assert [bool(re.search(r"\b8 x 16\b", line)) for line in lines] == [" to " not in line for line in lines]


def test_a_sweep_of_layers_has_an_interval_a_row(hwcost, mine):
    args = ["estimate", "--k", "1", "--c", "64", "--h", "20", "--w", "20", "--device", mine, "--f", "64,400"]
    rows = json.loads(hwcost(*args, "--json")[1])["rows"]
    margins = [math.log(row["seconds_90_high"] / row["seconds"]) for row in rows]
    assert margins == pytest.approx([0.1, 0.1 + 0.25 * 2])  # 400 filters are two doublings beyond 100
    assert [math.log(row["seconds"] / row["seconds_90_low"]) for row in rows] == pytest.approx(margins)
    title, *lines = hwcost(*args)[1].splitlines()
    assert "90 % from[" in title
    assert "90 % to[" in title
    assert len({len(line) for line in (title, *lines[:2])}) == 1
    for other in (["--s1", "8"], ["--s1", "8,16"], ["--dataflow", "is"]):
        assert "seconds_90_low" not in json.loads(hwcost(*args, *other, "--json")[1])["rows"][0]


def test_advice_marks_its_figures_and_has_an_interval(hwcost, tmp_path, mine):
    net = linear(tmp_path, a=Linear(300, 60, batch=400), b=Linear(300, 64, batch=400), c=Linear(300, 60, batch=2))
    args = ("advise", net, "--device", mine, "--budget", "0.9")
    code, out, err = hwcost(*args)
    assert (code, err) == (0, "")
    assert re.search(r": ~[\d.,]+ cycles, ~[\d.]+ us \(90 %: [\d.]+ us to [\d.]+ us\), ~[\d.]+ % utiliz", out, re.M)
    rows = {line.split()[0]: line for line in out.splitlines() if re.match(r"[abc]\.\w+ +\d", line)}
    assert {name[0]: line.count("~") for name, line in rows.items() if "in_f" in name} == {"a": 1, "b": 1, "c": 3}
    assert re.search(r"^budget 0.9: ~", out, re.M)
    assert "~ an extrapolation: 1 of 3 layers beyond what mine was measured with, like c: m is 2" in out
    content = json.loads(hwcost(*args, "--json")[1])
    assert content["beyond"] == {"c": ["m is 2, but layers of 16 to 1000 were measured"]}
    assert 0 < content["extrapolated_share"] < 0.5
    model = json.loads(hwcost("model", net, "--device", mine, "--json")[1])["total"]
    assert content["seconds_90"] == pytest.approx(model["seconds_90"])
    steps = {each["name"]: each["cheaper"]["extrapolated"] for each in content["widths"] if each["cheaper"]}
    assert steps["a.in_features"] is False
    assert steps["c.in_features"] is True
    assert "~" in hwcost(*args[:-2], "--layers")[1]
    assert " us" not in hwcost("advise", net, "--s1", "8", "--s2", "8")[1].splitlines()[0]


def test_advice_on_what_was_not_measured_has_no_total(hwcost, tmp_path, mine):
    near, far = Linear(300, 60, batch=400), Linear(9000, 60, batch=400)
    net = linear(tmp_path, a=near, b=far)
    code, out, err = hwcost("advise", net, "--device", mine, "--budget", "0.9")
    assert (code, err) == (0, "")
    assert re.search(
        r": no total: \d+ % of it is beyond what was measured; extrapolate=True \(--extrapolate\) prints it$", out, re.M
    )
    assert re.search(r"^budget 0.9: ~\d+.\d+ % of today's", out, re.M)
    assert json.loads(hwcost("advise", net, "--device", mine, "--json")[1])["total"] is None
    asked = json.loads(hwcost("advise", net, "--device", mine, "--json", "--extrapolate")[1])
    assert asked["total"]["cycles"] > 0
    network = Network.of_layers("net", {"a": near, "b": far})
    with pytest.warns(ExtrapolationWarning, match=r"no total: \d+ % of it"):
        found = advise(network, device())
    assert found.as_dict()["total"] is None
    assert advise(network, device(), extrapolate=True).as_dict()["total"]["cycles"] == asked["total"]["cycles"]


def test_a_size_may_be_beyond_where_today_is_not():
    network = Network.of_layers("net", {"a": Linear(300, 17, batch=400)})
    found = advise(network, device({"n": Range(17, 100)}))["a.out_features"]
    assert found.cheaper.size == 16
    assert found.cheaper.extrapolated


def test_what_a_run_takes_is_beyond_unless_it_was_fitted_or_published():
    def share(status, identified):
        known = read_device("gemmini")
        entry = Entry(1e9, "B/s", status, "a test")
        fit = Fit("a few layers", "us", "CC0-1.0", {}, identified, (), RANGES)
        chip = dataclasses.replace(known, entries={**known.entries, "host_bytes_per_s": entry}, fit=fit)
        summary = summarise({"a": SEEN}, chip, extrapolate=True)
        run = next(row for row in summary.rows if row.state == "run")
        assert bool(run.beyond) is (summary.extrapolated_share > 0) is ("(run)" in summary.legend)
        assert advise(Network.of_layers("n", {"a": SEEN}), chip, extrapolate=True).extrapolated_share == pytest.approx(
            summary.extrapolated_share
        )
        return summary.extrapolated_share

    assert share("assumed", ()) > 0
    assert share("derived", ()) > 0
    assert share("published", ()) == 0
    assert share("derived", ("host_bytes_per_s",)) == 0


# ---------------------------------------------------------------- pictures and pages


def test_stairs_are_hatched_beyond_what_was_measured_and_have_the_interval():
    pytest.importorskip("matplotlib")
    of = (Conv2d(64, 1, 1, height=20, width=20), device(log_margin_90=0.1), "out_channels", range(60, 141))
    layer, chip, along, widths = of
    data = stairs_data(layer, chip.array, along, widths, device=chip)
    assert data["extrapolated"] == [width > 100 for width in widths]
    low, high = (np.array(ends) / data["exact"]["cycles"] for ends in data["cycles_90"])
    assert high[:41] == pytest.approx(math.exp(0.1))
    assert low * high == pytest.approx(1)
    assert all(high[41:] > high[0])
    figure = stairs_figure(layer, chip.array, along, widths, device=chip)
    assert [len([each for each in axes.patches if each.get_hatch()]) for axes in figure.axes] == [1, 1]
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"beyond what was measured", "90 % interval"} <= set(words)
    bare = stairs_data(layer, SystolicArray(8, 8), along, widths)
    assert (bare["extrapolated"], bare["cycles_90"]) == (None, None)


def test_the_front_of_a_sweep_is_hollow_beyond_what_was_measured():
    pytest.importorskip("matplotlib")
    figure = sweep_figure(drawn.sweep([8, 8], [8, 16], [4.0, 2.0]), extrapolated=[True, False])
    for axes in (figure.axes[0], *figure.axes[1:3]):
        faces = [line.get_markerfacecolor() for line in axes.get_lines() if len(line.get_xdata()) == 1]
        assert sorted(face == "white" for face in faces) == [False, True]


def test_a_pruning_marks_its_figures(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from hwcost.torch import prune

    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8))
    write_device(tmp_path / "mine.toml", device({"n": Range(40, 100)}, log_margin_90=0.1))
    with pytest.warns(UserWarning, match="no data"):
        report = prune(model, torch.zeros(1, 64), str(tmp_path / "mine.toml"), target=0.8).report
    content = report.as_dict()
    assert [each["extrapolated"][0] for each in content["layers"]] == [False, True]
    assert content["before"]["extrapolated"] is content["after"]["extrapolated"] is True
    low, high = content["before"]["seconds_90"]
    assert low < content["before"]["seconds"] < high
    text = str(report)
    assert re.search(r"^cycles +~[\d.]+ +~[\d.]+ +~", text, re.M)
    assert re.search(r"^ +90 % from ", text, re.M)
    assert "~ an extrapolation: " in text
    data = pruning_data(report)
    assert " to ~" in data["title"]
    assert [bar for bar in pruning_figure(report).axes[1].patches if bar.get_hatch()]
    with pytest.warns(UserWarning, match="no data"):
        bare = prune(model, torch.zeros(1, 64), SystolicArray(8, 8), target=0.8).report
    assert "~" not in str(bare)
    assert bare.as_dict()["layers"][0]["extrapolated"] is None


def test_bars_beyond_what_was_measured_are_hollow():
    pytest.importorskip("matplotlib")
    summary = of(LENET)
    data = network_data(summary)
    assert [layer["extrapolated"] for layer in data["layers"]] == [bool(row.beyond) for row in summary.rows]
    assert {True, False} == {layer["extrapolated"] for layer in data["layers"]}
    time = network_figure(summary).axes[0]
    hollow = [bar for bars in time.containers for bar in bars if bar.get_hatch()]
    assert len(hollow) == sum(layer["extrapolated"] for layer in data["layers"])
    assert "beyond what was measured" in [text.get_text() for text in time.get_legend().get_texts()]
    careful = network_data(dataclasses.replace(of({"a": FAR}), extrapolate=False))
    assert (careful["total"], careful["utilization"]) == (None, None)
    assert network_figure(dataclasses.replace(of({"a": FAR}), extrapolate=False)).axes


def test_a_page_marks_figures_and_has_no_total_that_is_mostly_beyond(hwcost, tmp_path, mine):
    pytest.importorskip("matplotlib")
    net = listed(tmp_path, "net.csv", **{"s.a": FAR, "s.b": SEEN})
    for more in ([], ["--extrapolate"]):
        page = tmp_path / "net.html"
        assert hwcost("model", net, "--device", mine, "--html", str(page), *more)[0] == 0
        text = page.read_text()
        assert ("(--extrapolate) prints it" in text) is not more
        assert bool(re.search(r"<dt>time</dt><dd>~[\d.]+ ", text)) is bool(more)
        assert re.search(r'data-value="[\d.e-]+">~[\d.]+<', text)
        assert "an extrapolation: 1 of 2 layers beyond what mine was measured with" in text


FREE = Operation(MemoryOnly("relu", 8, 8), kind="relu", path="s.only")
SHARED = {"s.only.0": Operation(FAR, path="s.only"), "s.only.1": FREE, "s.b": Operation(SEEN, path="s")}
LAYERS = {"a": Linear(300, 60, batch=400), "b": Linear(60, 40, batch=400), "c": Linear(9000, 60, batch=400)}
SLIDING = Network("slides", {
    name: Operation(layer, rules) for (name, layer), rules in zip(
        LAYERS.items(), ({"out_features": "w"}, {"in_features": "w", "out_features": "v"}, {"out_features": "w"}),
        strict=True,
    )
}, {"w": Width(60), "v": Width(40)})  # fmt: skip


def test_a_module_with_one_layer_has_the_figures_of_that_layer():
    summary = dataclasses.replace(of(Network("t", {**SHARED, "far": Operation(FAR)})), extrapolate=False)
    whole = next(each for each in summary.tree.modules if each.path == "s")
    only = whole.modules[0]
    assert [summary.is_withheld(each) for each in (None, whole, only)] == [True, True, False]
    assert summary.figures(only)["cycles"] == summary["s.only.0"].cost.cycles
    page = html_report(summary)
    cycles = re.findall(r'<tr class="([\w ]+)"[^>]*>(.*?)</tr>', page)
    cell = f">~{number(summary['s.only.0'].cost.cycles)}"
    assert [cell in row for _, row in cycles[:4]] == [False, True, True, False]
    assert cycles[1][0] == "module single"
    assert '<span class="of-layer"><span class="short">only.<wbr>0</span>' in cycles[1][1]
    assert "  only.0 " in str(summary), "the page has the name that the text has"


def test_a_figure_that_is_not_shown_is_no_bar_and_no_number_of_the_page():
    summary = dataclasses.replace(of(Network("t", {**SHARED, "far": Operation(FAR)})), extrapolate=False)
    page, notebook = html_report(summary), summary.document().html()
    hidden = re.findall(r"<td([^>]*)>-\u2007*</td>", page)
    assert len(hidden) > 20
    assert {each.replace("number", "").strip() for each in hidden} <= {"", 'class=""', 'class="extra"'}
    assert not re.search(r"--w:[^>]*>-", notebook)
    lines = list(summary.document().lines(coloured=True))
    shown = next(line for line in lines if re.match(r"s +-", click.unstyle(line)))
    assert "█" not in shown
    assert not any(re.search(r"\x1b\[3\dm *-", line) for line in lines)


def test_the_rest_of_a_row_is_marked_or_hidden_like_its_time():
    page = html_report(dataclasses.replace(of(Network("t", SHARED)), extrapolate=False))
    rows = [re.findall(r'<td class="extra">(.*?)</td>', row) for row in re.findall(r"<tr class.*?</tr>", page)]
    titles = re.findall(r'class="extra">([^<]*)</th>', page)
    of_time = [title.endswith("cycles") for title in titles]
    assert 0 < sum(of_time) < len(titles)
    for name, look in {"s": "-", "s.only": "~", "s.b": ""}.items():
        cells = rows[["s", "s.only", "s.only.0", "s.only.1", "s.b"].index(name)]
        for is_time, text in zip(of_time, cells, strict=True):
            assert not text or re.fullmatch(rf"{look if is_time else ''}([\d,.]+.*)?", text), (name, text)


def test_the_slider_marks_sizes_that_were_not_measured():
    summary, own = of(SLIDING), device()
    made = stairs_of(SLIDING, summary.array, summary.ranges)
    today = {name: each.size for name, each in SLIDING.widths.items()}
    marks = set()
    for width in made.widths:
        sizes = made.sizes[width["sizes"]]
        every = [name for _, names, _ in width["rows"] for name in names]
        for _, names, index in width["rows"]:
            cycles, used, moved = (filled(each) for each in made.series[index])
            for place, size in enumerate(sizes):
                layers = (SLIDING.operations[name].at(today | {width["name"]: size}) for name in names or every)
                is_beyond = any(own.is_beyond(layer) for layer in layers)
                shown = [text[place].startswith("~") for text in (cycles, used, moved)]
                assert shown == [is_beyond, is_beyond, False], (names, size)
                marks.add(is_beyond)
    assert marks == {True, False}
    assert "~" not in "".join(text for each in stairs_of(SLIDING, summary.array).series for text in each)
    page = html_report(summary, SLIDING)
    assert "~ an extrapolation: sizes that mine was not measured with." in page
    assert made.text() in page


def filled(joined):
    """The texts of a series, each over all sizes."""
    return list(itertools.accumulate(joined.split("|"), lambda last, text: text or last))


def test_a_tree_keeps_its_operations_that_are_not_priced():
    network = Network("t", TREE.operations)
    assert [row.beyond for row in of(network).rows if row.state == "memory-only"] == [()]


@pytest.mark.parametrize("name", [name for name in device_names() if read_device(name).fit is not None])
def test_a_sweep_has_the_interval_of_the_report_where_it_is_the_device(name):
    array, network = read_device(name).array, Network.of_layers("lenet", LENET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        expected = summarise(network, name).seconds_90
    sizes = {"rows": [array.rows, 2 * array.rows], "cols": array.cols, "dataflows": (array.dataflow,)}
    here, other = sweep(network, base=name, **sizes).points()
    assert (here["seconds_90_low"], here["seconds_90_high"]) == pytest.approx(expected, rel=1e-12)
    assert other["seconds_90_low"] is other["seconds_90_high"] is None
