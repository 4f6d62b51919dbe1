"""``hwcost sweep``: what it prints and writes, what it refuses, and how it goes on."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from nets import LENET, ODD, TREE, residual

from hwcost import SystolicArray, load_device, network_cost
from hwcost.cli import sweep as module
from hwcost.cli.shared.progress import progress_of
from hwcost.console import run_command
from hwcost.errors import InvalidValueError
from hwcost.network.network import Network
from hwcost.network.operations import Unsupported
from hwcost.sweep import engines, sweep

command = module.sweep
NETWORKS = {
    "lenet": Network.of_layers("lenet", LENET),
    "residual": Network.of_layers("residual", residual()),
    "tree": TREE,
    "odd": ODD,
    "nothing": Network.of_layers("nothing", {"a": Unsupported("fft", "no product")}),
}
SMALL = ("--rows", "8:16:4", "--cols", "8,32", "--dataflow", "ws,os")


def read(source, inputs=(), dims=()):
    if source not in NETWORKS:
        raise InvalidValueError("model", source, "one of the networks")
    return NETWORKS[source]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """The command on the networks above, in an empty folder."""
    monkeypatch.setattr(module, "read_model", read)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = run_command(command, "hwcost sweep", [str(arg) for arg in args])
        return code, *capsys.readouterr()

    return call


def good(run, *args):
    code, out, err = run(*args)
    assert (code, err) == (0, "")
    return out


def rows_of(run, *args):
    document = json.loads(good(run, *args, "--json"))
    assert document["schema"] == "hwcost.sweep/1"
    return document["rows"]


def from_csv(text):
    return [
        {
            **{name: int(row[name]) for name in ("rows", "cols", "pes", "macs")},
            **{name: float(row[name]) for name in ("cycles", "seconds", "utilization", "clock_hz")},
            "dataflow": row["dataflow"],
            "on_front": {"True": True, "False": False}[row["on_front"]],
        }
        for row in csv.DictReader(io.StringIO(text))
    ]


# ---------------------------------------------------------------- what is printed


def test_the_text(run):
    head, budgets, front = good(run, "lenet", *SMALL, "--clock", "700MHz").split("\n\n")
    assert head.splitlines() == [
        "network      lenet: ideal folds, 700 MHz; 5 layers, 416520 MACs",
        "arrays       6 of 8-16 x 8-32; weight stationary, output stationary: 12 points",
        "fastest      16 x 32, weight stationary: 2698 cycles, 3.85429 us, 30.15 % of 512 PEs",
        "busiest      8 x 8, weight stationary: 7873 cycles, 11.2471 us, 82.66 % of 64 PEs",
    ]
    lines = [re.sub(" {2,}", " | ", line.strip()) for line in budgets.splitlines()]
    assert lines[:3] == [
        "the fastest within so many PEs",
        "budget | array | dataflow | PEs | cycles | time[us] | util[%]",
        "64 | 8 x 8 | ws | 64 | 7873 | 11.247 | 82.7",
    ]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["64", "128", "256", "512"]
    title, header, *rows = front.splitlines()
    assert re.fullmatch(r"\d+ points that no other beats in time, utilization and PEs", title)
    assert len(rows) == int(title.split()[0])
    assert len({len(line) for line in (header, *rows)}) == 1


def test_the_figures_are_those_of_network_cost(run):
    rows = rows_of(run, "lenet", *SMALL, "--fold-timing", "serial")
    assert len(rows) == 12
    for row in rows:
        array = SystolicArray(row["rows"], row["cols"], dataflow=row["dataflow"], fold_timing="serial")
        total = network_cost(LENET, array).total
        assert (row["cycles"], row["pes"]) == (total.cycles, array.pes)
        assert row["seconds"] == pytest.approx(total.seconds, rel=1e-12)
        assert row["utilization"] == pytest.approx(total.utilization, rel=1e-12)


def test_the_front_is_marked(run):
    rows = rows_of(run, "lenet", *SMALL)
    for row in rows:
        beaten = any(
            other["cycles"] <= row["cycles"]
            and other["pes"] <= row["pes"]
            and (other["cycles"], other["pes"]) != (row["cycles"], row["pes"])
            for other in rows
        )
        assert row["on_front"] is not beaten


def test_csv_says_the_same_as_json(run):
    out = good(run, "lenet", *SMALL, "--csv")
    assert out.splitlines()[0].startswith("schema,version,network,device,fold_timing,clock_hz,macs,rows,cols,dataflow")
    rows = rows_of(run, "lenet", *SMALL)
    assert [{name: each[name] for name in rows[0]} for each in from_csv(out)] == rows


def test_settings_of_a_device(run):
    out = json.loads(run("lenet", "--rows", "16", "--cols", "8:32:8", "--device", "gemmini", "--json")[1])
    device = load_device("gemmini")
    settings = out["settings"]
    assert settings["device"] == "gemmini"
    assert settings["dataflows"] == [device.dataflow]
    kept = {name: value for name, value in device.as_dict().items() if name not in ("rows", "cols", "dataflow")}
    assert settings["array"] == {name: None if value == float("inf") else value for name, value in kept.items()}
    at_home = next(row for row in out["rows"] if row["cols"] == device.cols)
    assert at_home["cycles"] == network_cost(LENET, device).total.cycles


def test_a_calibrated_device_says_what_is_assumed(run):
    note = "Note: edge-tpu was measured at 64 x 64; at other sizes its bandwidths and constants are an assumption"
    code, out, err = run("lenet", "--rows", "64", "--cols", "32,64", "--device", "edge-tpu")
    assert code == 0
    assert out.startswith("network      lenet: edge-tpu, ")
    assert note in err.splitlines()
    code, _, err = run("lenet", "--rows", "64", "--cols", "64", "--device", "edge-tpu")
    assert code == 0
    assert note not in err


@pytest.mark.parametrize("top", [1, 3, 100])
@pytest.mark.parametrize("front", [True, False])
def test_the_fastest_points(run, top, front):
    rows = rows_of(run, "lenet", *SMALL)
    chosen = [row for row in rows if row["on_front"] or not front]
    expected = sorted(chosen, key=lambda row: (row["cycles"], row["pes"]))[:top]
    options = ("--front-only",) if front else ()
    assert rows_of(run, "lenet", *SMALL, "--top", top, *options) == expected


def test_the_front_alone_as_text(run):
    out = good(run, "lenet", "--rows", "1:16", "--cols", "1:16", "--front-only")
    title, _, *rows = out.splitlines()
    assert len(rows) == int(title.split()[0]) > 20
    assert "fastest" not in title
    few = good(run, "lenet", "--rows", "1:16", "--cols", "1:16", "--front-only", "--top", "2")
    assert few.splitlines()[0] == f"{title}; the 2 fastest"
    assert len(few.splitlines()) == 4
    whole = good(run, "lenet", "--rows", "1:16", "--cols", "1:16")
    assert f"{title}; the 20 fastest" in whole


def test_one_point(run):
    out = good(run, "lenet", "--rows", "16", "--cols", "16")
    assert "arrays       1 of 16 x 16; weight stationary: 1 point\n" in out
    assert "\n1 point that no other beats" in out


def test_a_budget(run):
    rows = rows_of(run, "lenet", "--rows", "1:40", "--cols", "1:40", "--pe-budget", "100")
    assert {(row["rows"], row["cols"]) for row in rows} == {
        (r, c) for r in range(1, 41) for c in range(1, 41) if r * c <= 100
    }
    assert ", at most 100 PEs; " in good(run, "lenet", "--rows", "1:40", "--cols", "1:40", "--pe-budget", "100")


def test_what_is_missing_is_said(run):
    code, out, err = run("odd", *SMALL, "--skip-unsupported", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["unsupported"] == ["a.fft"]
    assert err.splitlines() == [
        "Note: odd <&\"': 1 operation is not in these figures: a.fft: fft (no <b>product</b>)",
    ]


def test_memory_only_operations_take_no_cycles(run):
    (row,) = rows_of(run, "tree", "--rows", "8", "--cols", "8")
    assert row["cycles"] == network_cost(TREE, SystolicArray(8, 8)).total.cycles


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_files_hold_what_is_printed(run, engine):
    if engine == "processes":
        pytest.importorskip("joblib")
    for ending in ("csv", "json"):
        code, _, err = run("lenet", *SMALL, "--out", f"points.{ending}", "--engine", engine)
        assert (code, err) == (0, f"wrote points.{ending}\n")
        assert Path(f"points.{ending}").read_text() == good(run, "lenet", *SMALL, f"--{ending}")
    assert sorted(os.listdir()) == ["points.csv", "points.json"]


def test_files_of_the_front(run):
    run("lenet", *SMALL, "-o", "front.JSON", "--front-only", "--top", "2", "--csv")
    assert json.loads(Path("front.JSON").read_text())["rows"] == rows_of(
        run, "lenet", *SMALL, "--front-only", "--top", "2"
    )


def test_a_picture(run):
    pytest.importorskip("matplotlib")
    for name in ("heat.png", "again.png"):
        code, _, err = run("lenet", *SMALL, "--pe-budget", "300", "--plot", name)
        assert (code, err) == (0, f"wrote {name}\n")
    assert Path("heat.png").read_bytes() == Path("again.png").read_bytes()
    assert Path("heat.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("nobody", *SMALL), "model is 'nobody'"),
        (("lenet", "--rows", "8"), "--cols"),
        (("lenet", "--cols", "8"), "--rows"),
        (("lenet", "--rows", "8:", "--cols", "8"), "--rows is ''; allowed: a range with an integer"),
        (("lenet", "--rows", "0", "--cols", "8"), "--rows is '0'"),
        (("lenet", "--rows", "1:99999999999", "--cols", "8"), "--rows is '1:99999999999'; allowed: at most 50000000"),
        (("lenet", "--rows", str(2**63), "--cols", "8"), "--rows is '9223372036854775808'; allowed"),
        (("lenet", "--rows", "1:30000", "--cols", "1:30000"), "the number of points is 900000000"),
        ((*("lenet", "--rows", "8", "--cols", "8"), "--dataflow", "ws,xs"), "--dataflow is 'xs'"),
        ((*("lenet", "--rows", "8", "--cols", "8"), "--dataflow", ""), "--dataflow is ''"),
        (("lenet", *SMALL, "--pe-budget", "63"), "--pe-budget is 63; allowed: at least 64"),
        (("lenet", *SMALL, "--pe-budget", "many"), "--pe-budget is 'many'"),
        (("lenet", *SMALL, "--pe-budget", "1:9"), "--pe-budget is '1:9'; allowed: one integer"),
        (("lenet", *SMALL, "--top", "0"), "--top is '0'"),
        (("lenet", *SMALL, "--jobs", "2"), "--jobs is 2; allowed: only with engine processes"),
        (("lenet", *SMALL, "--jobs", "x", "--engine", "processes"), "--jobs is 'x'"),
        (("lenet", *SMALL, "--engine", "slurm"), "--engine is 'slurm'; allowed: one of: serial, processes, dask://"),
        (("lenet", *SMALL, "--engine", "dask://no.json"), "--engine is 'dask://no.json'"),
        (("lenet", *SMALL, "--device", "abacus"), "--device is 'abacus'"),
        (("lenet", *SMALL, "--fold-timing", "slow"), "--fold-timing is 'slow'"),
        (("lenet", *SMALL, "--clock", "fast"), "--clock is 'fast'"),
        (("lenet", *SMALL, "--json", "--csv"), "--csv is given; allowed: not together with --json"),
        (("lenet", *SMALL, "-o", "points.txt"), "--out is 'points.txt'; allowed: a file name ending in .csv or .json"),
        (("lenet", *SMALL, "-o", "no/such/points.csv"), "--out is 'no/such/points.csv"),
        (("lenet", *SMALL, "-o", "folder.csv"), "file"),
        (("lenet", *SMALL, "--plot", "heat.bmp"), "--plot is 'heat.bmp'"),
        (("odd", *SMALL), "or pass --skip-unsupported to leave it out"),
        (("nothing", *SMALL, "--skip-unsupported"), "at least one layer that can be priced"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(run, args, text):
    os.mkdir("folder.csv")
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: ")
    assert text in err
    assert os.listdir() == ["folder.csv"]


def test_nobody_answers(run, monkeypatch):
    pytest.importorskip("distributed")
    pytest.importorskip("joblib")
    monkeypatch.setattr(engines, "MOST_SECONDS", 0.5)
    code, out, err = run("lenet", *SMALL, "--engine", "dask://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: --engine is 'dask://127.0.0.1:9'; allowed: the address of a Dask scheduler")


# ---------------------------------------------------------------- going on

PROGRAM = """
import sys, time
sys.path.insert(0, {tests!r})
import test_sweep_command as t
from hwcost.sweep import engines
price = engines.price
def slow(chunk):
    if chunk.place >= 2:
        print("at work", flush=True)
        time.sleep(3600)
    return price(chunk)
engines.price = slow
t.module.read_model = t.read
sys.exit(t.run_command(t.command, "hwcost sweep", sys.argv[1:]))
"""
SPACE = ("--rows", "1:200", "--cols", "1:300")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.usefixtures("deliverable_sigint")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_a_sweep_that_was_broken_off_goes_on(run, monkeypatch, how):
    program = [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parent))]
    with subprocess.Popen(
        [*program, "lenet", *SPACE, "-o", "points.csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline() == "at work\n"
        running.send_signal(getattr(signal, how))
        _, err = running.communicate(timeout=600)
    assert running.returncode == (130 if how == "SIGINT" else -signal.SIGKILL)
    said = "Note: finished chunks are in points.csv.chunks; the same command goes on from there"
    assert err.strip() == (said if how == "SIGINT" else "")
    assert sorted(os.listdir("points.csv.chunks")) == ["chunk-000000.npz", "chunk-000001.npz", "sweep.json"]

    other = run("lenet", "--rows", "1:201", "--cols", "1:300", "-o", "points.csv")
    assert other[0] == 2
    assert other[2].splitlines()[-1].startswith("Error: --out is 'points.csv.chunks'; allowed: no chunks of another")

    priced = []
    price = engines.price
    monkeypatch.setattr(engines, "price", lambda chunk: (priced.append(chunk.place), price(chunk))[1])
    code, out, err = run("lenet", *SPACE, "-o", "points.csv", "--csv")
    assert code == 0
    assert priced == [2, 3]
    assert err == "Note: goes on with the finished chunks in points.csv.chunks\nwrote points.csv\n"
    assert os.listdir() == ["points.csv"]
    assert Path("points.csv").read_text() == out
    found = sweep(LENET, rows=range(1, 201), cols=range(1, 301))
    assert [row["cycles"] for row in from_csv(out)] == found.cycles.tolist()


# ---------------------------------------------------------------- progress


def test_long_sweeps_say_how_far_they_have_come(run, monkeypatch):
    monkeypatch.setattr(module, "_LONG", 10)
    monkeypatch.setattr(module, "_VERY_LONG", 10)
    code, out, err = run("lenet", *SPACE, "--csv")
    assert code == 0
    assert err.splitlines() == [f"{done} % of 60000 points" for done in (27, 54, 81, 100)]
    assert len(out.splitlines()) == 60_001


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("only", [True, False])
def test_progress(capsys, monkeypatch, rich, terminal, only):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress_of(40, "points", only_on_terminals=only) as advance:
        advance(20)
        advance(20)
    out, err = capsys.readouterr()
    assert out == ""
    if terminal and rich:
        assert "points" in err
        assert "50 % of" not in err
    elif terminal or not only:
        assert err.splitlines() == ["50 % of 40 points", "100 % of 40 points"]
    else:
        assert err == ""


def test_a_hundred_thousand_arrays(run):
    started = time.process_time()
    code, out, _ = run("residual", "--rows", "8:256", "--cols", "8:410", "--dataflow", "ws,os,is")
    assert code == 0
    assert ": 301041 points\n" in out
    # seconds, not minutes: a loop over the points takes about ten
    assert time.process_time() - started < 120
    random = np.random.default_rng(0)
    found = sweep(residual(), rows=range(8, 257), cols=range(8, 411), dataflows=("ws", "os", "is"))
    for index in random.integers(0, len(found), 5).tolist():
        assert found.cycles[index] == network_cost(residual(), found.array(index)).total.cycles
