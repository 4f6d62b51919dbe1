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
from nets import LENET, residual

from hwcost import SystolicArray, load_device, network_cost
from hwcost.cli.shared.progress import progress_of
from hwcost.importers import read_network
from hwcost.sweep import sweep
from hwcost.sweep.pricing import price

SMALL = ("--rows", "8:16:4", "--cols", "8,32", "--dataflow", "ws,os")
LIST = ("sweep", "lenet.csv")
ODD = ("sweep", "modules.py:Odd", "--input", "1,40")
pytestmark = pytest.mark.usefixtures("networks")


@pytest.fixture
def rows_of(good):
    """The rows of the JSON document."""

    def call(*args):
        document = json.loads(good(*args, "--json"))
        assert document["schema"] == "hwcost.sweep/1"
        return document["rows"]

    return call


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


# ---------------------------------------------------------------- output


def test_the_text(good):
    head, budgets, front, terms = good(*LIST, *SMALL, "--clock", "700MHz").split("\n\n")
    assert terms.startswith("fastest: the shortest time; busiest: the highest utilization; PEs: processing elements;")
    assert head.splitlines() == [
        "network      lenet: ideal folds, 700 MHz; 5 layers, 416,520 MACs",
        "arrays       6 of 8-16 x 8-32; weight stationary, output stationary: 12 points",
        "fastest      16 x 32, weight stationary: 2698 cycles, 3.85429 us, 30.15 % of 512 PEs",
        "busiest      8 x 8, weight stationary: 7873 cycles, 11.2471 us, 82.66 % of 64 PEs",
        "lower bound  without a bandwidth memory takes no time; ideal folds fill and drain for free",
    ]
    lines = [re.sub(" {2,}", " | ", line.strip()) for line in budgets.splitlines()]
    assert lines[:3] == [
        "the fastest within a budget of PEs",
        "budget | array | dataflow | PEs | cycles | time[us] | util[%]",
        "64 | 8 x 8 | ws | 64 | 7873 | 11.25 | 82.7",
    ]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["64", "128", "256", "512"]
    title, header, *rows = front.splitlines()
    assert re.fullmatch(r"\d+ points on the Pareto front of time, utilization and PEs", title)
    assert len(rows) == int(title.split()[0])
    assert len({len(line) for line in (header, *rows)}) == 1


def test_the_figures_are_those_of_network_cost(rows_of):
    rows = rows_of(*LIST, *SMALL, "--fold-timing", "serial")
    assert len(rows) == 12
    for row in rows:
        array = SystolicArray(row["rows"], row["cols"], dataflow=row["dataflow"], fold_timing="serial")
        total = network_cost(LENET, array).total
        assert (row["cycles"], row["pes"]) == (total.cycles, array.pes)
        assert row["seconds"] == pytest.approx(total.seconds, rel=1e-12)
        assert row["utilization"] == pytest.approx(total.utilization, rel=1e-12)


def test_the_front_is_marked(rows_of):
    rows = rows_of(*LIST, *SMALL)
    for row in rows:
        beaten = any(
            other["cycles"] <= row["cycles"]
            and other["pes"] <= row["pes"]
            and (other["cycles"], other["pes"]) != (row["cycles"], row["pes"])
            for other in rows
        )
        assert row["on_front"] is not beaten


def test_csv_holds_the_same_as_json(good, rows_of):
    out = good(*LIST, *SMALL, "--csv")
    assert out.splitlines()[0].startswith("schema,version,network,device,fold_timing,clock_hz,macs,rows,cols,dataflow")
    rows = rows_of(*LIST, *SMALL)
    assert [{name: each[name] for name in rows[0]} for each in from_csv(out)] == rows


def test_settings_of_a_device(hwcost):
    out = json.loads(hwcost(*LIST, "--rows", "16", "--cols", "8:32:8", "--device", "gemmini", "--json")[1])
    device = load_device("gemmini")
    settings = out["settings"]
    assert settings["device"] == "gemmini"
    assert settings["dataflows"] == [device.dataflow]
    kept = {name: value for name, value in device.as_dict().items() if name not in ("rows", "cols", "dataflow")}
    assert settings["array"] == {name: None if value == float("inf") else value for name, value in kept.items()}
    at_home = next(row for row in out["rows"] if row["cols"] == device.cols)
    assert at_home["cycles"] == network_cost(LENET, device).total.cycles


@pytest.mark.parametrize("top", [1, 3, 100])
@pytest.mark.parametrize("front", [True, False])
def test_the_fastest_points(rows_of, top, front):
    rows = rows_of(*LIST, *SMALL)
    chosen = [row for row in rows if row["on_front"] or not front]
    expected = sorted(chosen, key=lambda row: (row["cycles"], row["pes"]))[:top]
    options = ("--front-only",) if front else ()
    assert rows_of(*LIST, *SMALL, "--top", top, *options) == expected


def test_the_front_alone_as_text(good):
    out = good(*LIST, "--rows", "1:16", "--cols", "1:16", "--front-only")
    (title, _, *rows), (terms, *_) = (part.splitlines() for part in out.split("\n\n"))
    assert "busiest" not in terms
    assert len(rows) == int(title.split()[0]) > 20
    assert "fastest" not in title
    few = good(*LIST, "--rows", "1:16", "--cols", "1:16", "--front-only", "--top", "2")
    assert few.splitlines()[0] == f"{title}; the 2 fastest"
    assert len(few.partition("\n\n")[0].splitlines()) == 4
    whole = good(*LIST, "--rows", "1:16", "--cols", "1:16")
    assert f"{title}; the 20 fastest" in whole


def test_one_point(good):
    out = good(*LIST, "--rows", "16", "--cols", "16")
    assert "arrays       1 of 16 x 16; weight stationary: 1 point\n" in out
    assert "\n1 point on the Pareto front" in out


def test_a_budget(good, rows_of):
    rows = rows_of(*LIST, "--rows", "1:40", "--cols", "1:40", "--pe-budget", "100")
    assert {(row["rows"], row["cols"]) for row in rows} == {
        (r, c) for r in range(1, 41) for c in range(1, 41) if r * c <= 100
    }
    assert ", at most 100 PEs; " in good(*LIST, "--rows", "1:40", "--cols", "1:40", "--pe-budget", "100")


def test_what_is_missing_is_named(hwcost):
    code, out, err = hwcost(*ODD, *SMALL, "--skip-unsupported", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["unsupported"] == ["fft_r2c"]
    assert err.startswith("Note: Odd: 1 operation is not in these totals: fft_r2c: ")
    assert err.count("\n") == 1


def test_memory_only_operations_take_no_cycles(rows_of):
    from hwcost.importers.torch import InputSpec

    (row,) = rows_of("sweep", "modules.py:Tree", "--input", "1,3,8,8", "--rows", "8", "--cols", "8")
    tree = read_network("modules.py:Tree", inputs=[InputSpec.parse("1,3,8,8")])
    assert row["cycles"] == network_cost(tree, SystolicArray(8, 8)).total.cycles


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_files_hold_what_is_printed(hwcost, good, engine):
    if engine == "processes":
        pytest.importorskip("joblib")
    for ending in ("csv", "json"):
        code, _, err = hwcost(*LIST, *SMALL, "--out", f"points.{ending}", "--engine", engine)
        assert (code, err) == (0, f"wrote points.{ending}\n")
        assert Path(f"points.{ending}").read_text() == good(*LIST, *SMALL, f"--{ending}")
    assert {"points.csv", "points.json"} == {name for name in os.listdir() if name.startswith("points")}


def test_files_of_the_front(hwcost, rows_of):
    hwcost(*LIST, *SMALL, "-o", "front.JSON", "--front-only", "--top", "2", "--csv")
    assert json.loads(Path("front.JSON").read_text())["rows"] == rows_of(*LIST, *SMALL, "--front-only", "--top", "2")


def test_a_picture(hwcost):
    pytest.importorskip("matplotlib")
    for name in ("heat.png", "again.png"):
        code, _, err = hwcost(*LIST, *SMALL, "--pe-budget", "300", "--plot", name)
        assert (code, err) == (0, f"wrote {name}\n")
    assert Path("heat.png").read_bytes() == Path("again.png").read_bytes()
    assert Path("heat.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- bad input


BAD = [
    (("nobody.csv", *SMALL), "nobody.csv"),
    (("lenet.csv", "--rows", "8"), "--cols"),
    (("lenet.csv", "--cols", "8"), "--rows"),
    (("lenet.csv", "--rows", "8:", "--cols", "8"), "--rows is '8:'"),
    (("lenet.csv", "--rows", "0", "--cols", "8"), "--rows is '0'"),
    (("lenet.csv", "--rows", "1:99999999999", "--cols", "8"), "50000000"),
    (("lenet.csv", "--rows", str(2**63), "--cols", "8"), "--rows is '9223372036854775808'"),
    (("lenet.csv", "--rows", "1:30000", "--cols", "1:30000"), "900000000"),
    ((*("lenet.csv", "--rows", "8", "--cols", "8"), "--dataflow", "ws,xs"), "--dataflow is 'xs'"),
    ((*("lenet.csv", "--rows", "8", "--cols", "8"), "--dataflow", ""), "--dataflow is ''"),
    (("lenet.csv", *SMALL, "--pe-budget", "63"), "--pe-budget is 63; allowed: at least 64"),
    (("lenet.csv", *SMALL, "--pe-budget", "many"), "--pe-budget is 'many'"),
    (("lenet.csv", *SMALL, "--pe-budget", "1:9"), "--pe-budget is '1:9'"),
    (("lenet.csv", *SMALL, "--top", "0"), "--top is '0'"),
    (("lenet.csv", *SMALL, "--jobs", "2"), "--jobs"),
    (("lenet.csv", *SMALL, "--jobs", "x", "--engine", "processes"), "--jobs is 'x'"),
    (("lenet.csv", *SMALL, "--engine", "slurm"), "serial, processes, dask://"),
    (("lenet.csv", *SMALL, "--engine", "dask://no.json"), "--engine is 'dask://no.json'"),
    (("lenet.csv", *SMALL, "--device", "abacus"), "--device is 'abacus'"),
    (("lenet.csv", *SMALL, "--fold-timing", "slow"), "--fold-timing is 'slow'"),
    (("lenet.csv", *SMALL, "--clock", "fast"), "--clock is 'fast'"),
    (("lenet.csv", *SMALL, "--json", "--csv"), "--csv"),
    (("lenet.csv", *SMALL, "-o", "points.txt"), ".csv or .json"),
    (("lenet.csv", *SMALL, "-o", "no/such/points.csv"), "--out is 'no/such/points.csv"),
    (("lenet.csv", *SMALL, "-o", "folder.csv"), "--out is 'folder.csv'"),
    (("lenet.csv", *SMALL, "-o", "lenet.csv"), "--out is 'lenet.csv'"),
    (("lenet.csv", *SMALL, "--plot", "heat.bmp"), "--plot is 'heat.bmp'"),
    ((*ODD[1:], *SMALL), "--skip-unsupported"),
    (("modules.py:Nothing", "--input", "1,4", *SMALL, "--skip-unsupported"), "can be priced"),
]


@pytest.mark.parametrize(("args", "text"), BAD, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_bad_input_is_one_line_and_no_file(refused, args, text):
    os.mkdir("folder.csv")
    before = sorted(os.listdir())
    assert text in refused("sweep", *args)
    assert sorted(os.listdir()) == before


def test_nobody_answers(refused):
    pytest.importorskip("distributed")
    err = refused(*LIST, *SMALL, "--engine", "dask://nonsense://127.0.0.1:9")
    assert "--engine is 'dask://nonsense://127.0.0.1:9'" in err
    assert "scheduler" in err


# ---------------------------------------------------------------- going on

PROGRAM = """
import sys, time
from hwcost.cli import main
from hwcost.sweep import running
price = running.price
def slow(chunk):
    if chunk.place >= 2:
        print("at work", flush=True)
        time.sleep(3600)
    return price(chunk)
running.price = slow
sys.exit(main(sys.argv[1:]))
"""
SPACE = ("--rows", "1:200", "--cols", "1:300")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.usefixtures("deliverable_sigint")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_an_interrupted_sweep_resumes(hwcost, networks, calls_of, how):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *LIST, *SPACE, "-o", "points.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout.readline() == "at work\n"
        running.send_signal(getattr(signal, how))
        _, err = running.communicate(timeout=600)
    assert running.returncode == (130 if how == "SIGINT" else -signal.SIGKILL)
    assert ("points.csv.chunks" in err) is (how == "SIGINT")
    chunks = networks / "points.csv.chunks"
    assert sorted(os.listdir(chunks)) == ["chunk-000000.bin", "chunk-000001.bin", "sweep.json"]

    other = hwcost(*LIST, "--rows", "1:201", "--cols", "1:300", "-o", "points.csv")
    assert other[0] == 2
    assert "--out is 'points.csv.chunks'" in other[2]

    with calls_of(price) as priced:
        code, out, err = hwcost(*LIST, *SPACE, "-o", "points.csv", "--csv")
    assert (code, len(priced)) == (0, 2)
    assert err.splitlines()[0].endswith("points.csv.chunks")
    assert not chunks.exists()
    assert Path("points.csv").read_text() == out
    found = sweep(LENET, rows=range(1, 201), cols=range(1, 301))
    assert [row["cycles"] for row in from_csv(out)] == found.cycles.tolist()


# ---------------------------------------------------------------- progress


def test_long_sweeps_show_progress_on_a_terminal(hwcost, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Path("one.csv").write_text("kind,name,c,f\nlinear,fc,4,4\n")
    code, _, err = hwcost("sweep", "one.csv", "--rows", "1:2300", "--cols", "1:2200", "--front-only")
    assert code == 0
    assert len(err.splitlines()) == 10
    assert err.splitlines()[-1] == "100 % of 5,060,000 points"
    assert hwcost(*LIST, *SPACE, "--front-only")[2] == ""


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_progress(capsys, monkeypatch, rich, terminal):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress_of(40, "points") as advance:
        advance(20)
        advance(20)
    out, err = capsys.readouterr()
    assert out == ""
    if terminal and rich:
        assert "points" in err
        assert "50 % of" not in err
    elif terminal:
        assert err.splitlines() == ["50 % of 40 points", "100 % of 40 points"]
    else:
        assert err == ""


def test_a_hundred_thousand_arrays(good):
    started = time.process_time()
    out = good("sweep", "residual.csv", "--rows", "8:256", "--cols", "8:410", "--dataflow", "ws,os,is")
    assert ": 301,041 points\n" in out
    # seconds, not minutes: a loop over the points takes about ten
    assert time.process_time() - started < 120
    random = np.random.default_rng(0)
    found = sweep(residual(), rows=range(8, 257), cols=range(8, 411), dataflows=("ws", "os", "is"))
    for index in random.integers(0, len(found), 5).tolist():
        assert found.cycles[index] == network_cost(residual(), found.array(index)).total.cycles
