"""``hwcost sweep`` over buffers, bandwidths, clocks and other fields: what it prints, writes and draws."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import drawn
import numpy as np
import pytest
from nets import LENET
from refusals import refused

from hwcost import InvalidValueError, SystolicArray, load_device, network_cost
from hwcost.cli.sweep_fields import parse_rate, parse_several, parse_vary, swept_fields
from hwcost.machine.energies import with_energy
from hwcost.plot import fields_data, fields_figure

LIST = ("sweep", "lenet.csv", "--rows", "8,16", "--cols", "8,32")
ENERGY = ("--buffer", "8k:32k", "--bandwidth", "2e9,4GB/s", "--energy", "45nm-textbook")
pytestmark = pytest.mark.usefixtures("networks")


def document(good, *args):
    found = json.loads(good(*LIST, *args, "--json"))
    return found["settings"], found["rows"]


# ---------------------------------------------------------------- figures


def test_the_figures_are_those_of_each_machine(good):
    settings, rows = document(good, *ENERGY, "--clock", "500MHz,1GHz", "--vary", "overlap=0,0.5")
    assert len(rows) == 4 * 3 * 2 * 2 * 2
    assert settings["fields"] == {
        "buffer_bytes": [8192, 16384, 32768], "dram_bytes_per_s": [2e9, 4e9], "clock_hz": [5e8, 1e9],
        "overlap": [0, 0.5],
    }  # fmt: skip
    assert settings["energy"] == "45nm-textbook"
    assert settings["energy_source"]["node"] == "45 nm"
    for row in rows[::7]:
        fields = {name: row[name] for name in settings["fields"]}
        array = with_energy(SystolicArray(row["rows"], row["cols"], **fields), "45nm-textbook")
        total = network_cost(LENET, array).total
        assert row["cycles"] == total.cycles
        assert (row["dram_bytes"], row["sram_bytes"]) == (total.dram_bytes, total.sram_bytes)
        assert row["energy_joules"] == total.energy_joules
        assert row["seconds"] == pytest.approx(total.seconds, rel=1e-12)


def test_one_value_of_an_option_holds_for_all_points(good):
    settings, rows = document(good, "--buffer", "64k", "--bandwidth", "2e9", "--clock", "700MHz")
    assert settings["fields"] == {}
    assert "buffer_bytes" not in rows[0]
    array = {"buffer_bytes": 65536.0, "dram_bytes_per_s": 2e9, "clock_hz": 7e8}
    assert array.items() <= settings["array"].items()
    assert rows[0]["cycles"] == network_cost(LENET, SystolicArray(8, 8, **array)).total.cycles
    assert good(*LIST, "--buffer", "64k", "--bandwidth", "2e9").startswith(
        "network      lenet: ideal folds, 1 GHz, buffer 64 KiB, 2 GB/s; "
    )


def test_a_device_keeps_what_is_not_swept(good):
    settings, rows = document(good, "--device", "tpu-v1", "--clock", "350MHz,700MHz")
    device = load_device("tpu-v1")
    assert settings["array"]["weight_bytes_per_s"] == device.weight_bytes_per_s
    for row in rows:
        array = SystolicArray(**device.as_dict() | {name: row[name] for name in ("rows", "cols", "clock_hz")})
        assert row["cycles"] == network_cost(LENET, array).total.cycles


def test_csv_has_a_column_for_each_field(good):
    args = ("--clock", "500MHz,1GHz", "--vary", "dram_bytes_per_s=1e9,inf", "--vary", "fold_timing=serial,ideal")
    rows = list(csv.DictReader(io.StringIO(good(*LIST, *args, "--csv"))))
    _, expected = document(good, *args)
    assert len(rows) == len(expected) == 32
    for row, other in zip(rows, expected, strict=True):
        assert float(row["clock_hz"]) == other["clock_hz"]
        assert row["fold_timing"] == other["fold_timing"]
        assert row["dram_bytes_per_s"] == ("inf" if other["dram_bytes_per_s"] is None else "1000000000.0")
    assert {row["dram_bytes_per_s"] for row in rows} == {"inf", "1000000000.0"}


def test_bytes_on_demand(good):
    _, rows = document(good, "--bytes")
    for row in rows:
        total = network_cost(LENET, SystolicArray(row["rows"], row["cols"])).total
        assert (row["dram_bytes"], row["sram_bytes"]) == (total.dram_bytes, total.sram_bytes)
    assert "dram_bytes" not in document(good)[1][0]
    text = good(*LIST, "--bytes")
    assert "DRAM[" in text
    assert "SRAM[" in text


# ---------------------------------------------------------------- text


def test_the_text_says_what_is_swept(good):
    head, budgets, front, terms = good(*LIST, *ENERGY).split("\n\n")
    assert "most frugal: the least energy" in terms
    lines = head.splitlines()
    assert lines[0].startswith("network      lenet: ideal folds, 1 GHz, energy of 45nm-textbook; ")
    assert "; buffer 8 KiB, 16 KiB, 32 KiB; bandwidth 2 GB/s, 4 GB/s: 24 points" in lines[1]
    assert re.search(r", buffer \d+ KiB, bandwidth 4 GB/s: ", lines[2])
    assert "array  dataflow  buffer  bandwidth" in re.sub(" +", " ", budgets).replace(" ", "  ")
    title, header, *rows = front.splitlines()
    assert title.startswith(
        f"{len(rows)} points on the Pareto front of time, utilization, PEs, energy and bytes of buff"
    )
    assert "energy[" in header
    assert max(map(len, rows)) < 120


def test_the_front_is_of_what_is_chosen(good):
    text = good(*LIST, *ENERGY, "--front", "dram, buffer")
    assert "on the Pareto front of bytes of DRAM and bytes of buffers" in text
    _, rows = document(good, *ENERGY, "--front", "dram,buffer")
    for row in rows:
        beaten = any(
            other["dram_bytes"] <= row["dram_bytes"] and other["buffer_bytes"] <= row["buffer_bytes"]
            and (other["dram_bytes"], other["buffer_bytes"]) != (row["dram_bytes"], row["buffer_bytes"])
            for other in rows
        )  # fmt: skip
        assert row["on_front"] is not beaten
    assert "of time and PEs" in good(*LIST, "--clock", "1GHz,2GHz")
    assert "of energy" in good(*LIST, *ENERGY, "--front", "energy")


def test_what_has_no_effect_or_room_is_said(hwcost):
    args = ("--dataflow", "ws,os", "--vary", "drains_outputs=no,yes", "--vary", "fold_timing=serial")
    code, out, err = hwcost(*LIST, *args)
    assert (code, err.count("\n")) == (0, 1)
    assert "drains_outputs has no effect on some machines of dataflow ws" in err
    assert ": 12 points" in out
    code, out, _ = hwcost(*LIST, "--buffer", "500,64k")
    assert code == 0
    assert re.search(r"left out     \d points? with buffers that are too small for any tile", out)


def test_an_interrupted_sweep_of_fields_resumes(hwcost, good, networks):
    from hwcost.sweep import sweep

    fields = {"buffer_bytes": [8192, 32768], "dram_bytes_per_s": [1e9, 2e9]}
    sweep(LENET, rows=[8, 16], cols=[8, 32], fields=fields, keep=networks / "points.csv.chunks")
    args = ("--buffer", "8k,32k", "--bandwidth", "1e9,2e9", "--csv")
    assert hwcost(*LIST, "--buffer", "8k,16k", "--bandwidth", "1e9,2e9", "-o", "points.csv")[0] == 2
    code, out, err = hwcost(*LIST, *args, "-o", "points.csv")
    assert code == 0
    assert "resuming from the finished chunks" in err
    assert out == good(*LIST, *args) == (networks / "points.csv").read_text()


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("buffer_bytes=1k:4k", (1024, 2048, 4096)),
        ("buffer_bytes=1k:5k,inf", (1024, 2048, 4096, math.inf)),
        ("buffer_bytes=1k:3k:1k", (1024, 2048, 3072)),
        ("output_buffer_bytes=none,1k", (None, 1024)),
        ("dram_bytes_per_s=1GB/s, 500M", (5e8, 1e9)),
        ("weight_bytes_per_s=none,inf,1e9", (None, 1e9, math.inf)),
        ("clock_hz=500MHz:1GHz:250MHz", (5e8, 7.5e8, 1e9)),
        ("overlap=0:1:0.1", tuple(i / 10 for i in range(11))),
        ("arrays=1:4", (1, 2, 3, 4)),
        ("max_streamed=none,64:128:64", (None, 64, 128)),
        ("double_buffered=Yes,no", (True, False)),
        ("lowering=im2col,kernel-position", ("im2col", "kernel-position")),
        ("cycles_per_layer=5,5,1e2", (5, 100)),
    ],
)
def test_values_of_fields(text, values):
    assert parse_vary("--vary", text) == (text.partition("=")[0], values)


@pytest.mark.parametrize("text", ["1x", "GB/s", "1e999", "-1", "1 2", "1kk", "0", "inf"])
def test_bad_rates(text):
    with pytest.raises(InvalidValueError, match=r"--bandwidth is .*; allowed: a number of bytes per second above 0"):
        parse_rate("--bandwidth", text)


def test_a_field_is_given_once():
    with pytest.raises(InvalidValueError, match="overlap is given twice"):
        swept_fields({}, ["overlap=0", "overlap=1"])
    assert parse_several("--buffer", "2:2", lambda _, text: float(text)) == (2.0,)
    assert len(parse_several("--buffer", "1e-300:1e300", lambda _, text: float(text))) == 1994


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "args",
    [
        ENERGY, ("--clock", "500MHz:4GHz"), ("--vary", "fold_timing=serial,ideal", "--dataflow", "ws,os", "--bytes"),
        ("--device", "gemmini-firesim", "--vary", "cycles_per_layer=0:1000:10"),
    ],
)  # fmt: skip
def test_a_picture(hwcost, networks, args):
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        code, _, err = hwcost(*LIST, *args, "--plot", name)
        assert (code, err) == (0, f"wrote {name}\n")
    assert (networks / "a.svg").read_bytes() == (networks / "b.svg").read_bytes()


def test_curves_have_the_least_at_each_value_and_the_front_has_rings():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    codes, rows, seconds = rng.integers(0, 5, 200), rng.choice([8, 16], 200), rng.random(200) + 1
    values = [1024.0 * 2**i for i in range(5)]
    found = drawn.over("buffer_bytes", values, codes, seconds, rows, dram_bytes=rng.random(200))
    data = fields_data(found)
    assert (data["field"], data["values"]) == ("buffer_bytes", values)
    for size in (8, 16):
        for code in range(5):
            alike = (codes == code) & (rows == size)
            assert data["seconds"][f"{size} x 8"][code] == found.seconds[alike].min()
            assert data["dram_bytes"][f"{size} x 8"][code] == found.dram_bytes[alike].min()
    above, _, below = fields_figure(found).axes
    assert (above.get_xscale(), above.get_xlabel()) == ("log", "buffer, log scale")
    assert above.get_ylabel() == "least time [s]"
    rings = [line for line in below.get_lines() if line.get_marker() == "o" and line.get_color() == "#000000"]
    assert sum(len(line.get_xdata()) for line in rings) == len(found.front)


def test_names_are_not_joined_as_numbers_are():
    pytest.importorskip("matplotlib")
    found = drawn.over("fold_timing", ["serial", "ideal"], [0, 1], [2.0, 1.0])
    above, below = fields_figure(found, extrapolated=[True, False]).axes
    assert above.get_xscale() == "linear"
    assert [label.get_text() for label in above.get_xticklabels()] == ["serial", "ideal"]
    assert (above.get_ylabel(), below.get_xlabel()) == ("time [s]", "PEs")


def test_the_field_of_the_curves_is_one_of_several_values():
    found = drawn.over("buffer_bytes", [1024.0, 2048.0], [0, 1], [2.0, 1.0])
    assert fields_data(found, "buffer_bytes") == fields_data(found)
    with refused("field", "clock"):
        fields_data(found, "clock")
    with pytest.raises(InvalidValueError, match="sweep_figure"):
        fields_data(drawn.sweep([8], [8], [1.0]))
