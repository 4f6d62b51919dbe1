"""The command line: figures against the core, every output form, bad input of every kind, and how the process ends."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import click
import pytest
from running import python

from hwcost import DATAFLOWS, FOLD_TIMINGS, RELAXATIONS, Conv2d, SystolicArray, __version__, layer_cost
from hwcost.cli import cli
from hwcost.cli.formula import formula
from hwcost.cli.shared.values import parse_clock, parse_sizes
from hwcost.console import run_command
from hwcost.model.formula import price
from hwcost.model.layout import lay_out
from hwcost.units import number

POINT = ["estimate", "--k", "5", "--c", "6", "--f", "16", "--s1", "8", "--s2", "8"]
REQUIRED = {"--k": "5", "--c": "6", "--f": "16", "--s1": "8", "--s2": "8"}


@pytest.fixture
def rows(good):
    """The rows of the JSON document of an estimate."""
    return lambda *args: json.loads(good("estimate", *args, "--json"))["rows"]


def estimate_with(**changes):
    """The command line of the example with some options changed, added, or (None) left out."""
    options = REQUIRED | {"--" + name.replace("_", "-"): value for name, value in changes.items()}
    return ["estimate", *itertools.chain.from_iterable((k, v) for k, v in options.items() if v is not None)]


# ---------------------------------------------------------------- one point


def test_the_example_prints_38_cycles_and_how_they_come_about(hwcost):
    code, out, err = hwcost(*POINT)
    assert (code, err) == (0, "")
    figures, terms = out.split("\n\n")
    assert "folds: passes over the array" in terms
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in figures.splitlines())
    assert lines["cycles"] == "38"
    assert lines["folds"].startswith("19 x 2 = 38")
    assert lines["utilization"] == "98.68 %"
    assert lines["time"] == "38 ns at 1 GHz"
    assert lines["MACs"] == "2400"
    assert lines["formula"] == "ceil(5*5*6 / 8) * ceil(16 / 8) * 1 * 1 * 1 = 19 * 2 * 1 = 38 cycles"
    smooth = layer_cost(Conv2d(6, 16, 5, 1, 1, padding="same"), SystolicArray(8, 8), relaxation="logistic").cycles
    assert lines["smooth"] == f"{smooth:.2f} cycles (logistic, temperature 20)"


def value_of(text):
    """The value of one side of a printed formula, computed by Python."""
    exact = re.sub(r"\b(\d+)\b", r"Fraction(\1)", text)
    return eval(exact, {"Fraction": Fraction, "ceil": math.ceil, "max": max})


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_formula_in_numbers_is_the_cost(dataflow, timing, groups, stride):
    layer = Conv2d(6, 18, (3, 2), 9, 7, batch=2, stride=stride, padding="same", groups=groups)
    array = SystolicArray(8, 4, dataflow=dataflow, fold_timing=timing)
    folds = lay_out(*layer.gemms(), array)
    figures = {f"folds_{name}": getattr(folds, name) for name in ("along_rows", "along_cols", "in_time")}
    figures["cycles"] = layer_cost(layer, array).cycles
    spelt, short, cycles = formula(layer, array, figures).removesuffix(" cycles").split(" = ")
    assert value_of(spelt) == value_of(short) == int(cycles) == layer_cost(layer, array).cycles
    assert "3*2*" in spelt.replace(" ", "")
    assert "ceil(" not in short


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_points_and_sweeps_agree_with_the_core(rows, dataflow, timing, relaxation):
    args = ("--k1", 3, "--k2", "2", "--c", 4, "--f", "2,8:24:8", "--groups", "1,2", "--h", 9, "--w", 7, "--batch", 2)
    args += ("--s1", "4,8", "--s2", 8, "--stride", "1x2", "--padding", "1x2", "--clock", "700MHz")
    args += ("--dataflow", dataflow, "--fold-timing", timing, "--relaxation", relaxation)
    found = rows(*args)
    assert [(row["f"], row["groups"], row["s1"]) for row in found] == list(
        itertools.product((2, 8, 16, 24), (1, 2), (4, 8))
    )
    for row in found:
        layer = Conv2d(4, row["f"], (3, 2), 9, 7, 2, stride=(1, 2), padding=(1, 2), groups=row["groups"])
        array = SystolicArray(row["s1"], 8, 700e6, dataflow, timing)
        exact, smooth = layer_cost(layer, array), layer_cost(layer, array, relaxation=relaxation)
        assert (row["cycles"], row["macs"], row["folds"]) == (exact.cycles, exact.macs, exact.folds)
        assert row["folds_along_rows"] * row["folds_along_cols"] * row["groups"] == exact.folds
        assert row["seconds"] == pytest.approx(exact.seconds, rel=1e-14)
        assert row["utilization"] == pytest.approx(exact.utilization, rel=1e-14)
        assert row["smooth_cycles"] == pytest.approx(smooth.cycles, rel=1e-9)


@pytest.mark.parametrize(("option", "field"), [("--temperature=40", "temperature"), ("--temperature=4e1", "b")])
def test_the_temperature_goes_to_the_relaxation(hwcost, option, field):
    name = {"temperature": "shifted", "b": "generalized"}[field]
    code, out, _ = hwcost(*POINT, "--json", "--relaxation", name, option)
    document = json.loads(out)
    assert code == 0
    assert document["settings"]["relaxation"]["name"] == name
    assert document["settings"]["relaxation"]["options"][field] == 40.0
    expected = layer_cost(
        Conv2d(6, 16, 5, 1, 1, padding="same"),
        SystolicArray(8, 8),
        relaxation=RELAXATIONS[name].with_options(**{field: 40.0}),
    )
    assert document["rows"][0]["smooth_cycles"] == pytest.approx(expected.cycles, rel=1e-12)


@pytest.mark.parametrize("exponent", [62, 63, 64, 70, 300, 900])
def test_single_points_are_exact_at_any_size(rows, hwcost, exponent):
    size = 2**exponent
    args = ("--k", 1, "--c", size + 1, "--f", 1, "--s1", 2, "--s2", 1)
    (row,) = rows(*args)
    assert row["cycles"] == size // 2 + 1
    assert row["macs"] == size + 1
    code, out, _ = hwcost("estimate", *args)
    assert code == 0
    assert f"= {number(size // 2 + 1)} cycles" in out


def test_rows_and_cols_are_other_names_of_s1_and_s2(rows):
    sizes = ("--k", 5, "--c", 6, "--f", 16)
    assert rows(*sizes, "--rows", 4, "--cols", 32) == rows(*sizes, "--s1", 4, "--s2", 32)
    assert rows(*sizes, "--rows", 4, "--cols", 32)[0]["folds_along_rows"] == 38


@pytest.mark.parametrize(
    ("padding", "outputs"), [("same", 25), ("valid", 9), ("0", 9), ("1", 25), ("2x1", 35), ("0x1", 15)]
)
def test_padding(rows, padding, outputs):
    (row,) = rows("--k", 3, "--c", 1, "--f", 1, "--s1", 16, "--s2", 16, "--h", 5, "--w", 5, "--padding", padding)
    assert row["cycles"] == outputs


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("1e9", 1e9), ("1GHz", 1e9), ("700MHz", 7e8), ("700 mhz", 7e8), ("2.5e3kHz", 2.5e6), ("50Hz", 50)],
)
def test_clock(rows, text, hertz):
    assert parse_clock("--clock", text) == hertz
    (row,) = rows(*POINT[1:], "--clock", text)
    assert row["seconds"] == 38 / hertz


@pytest.mark.parametrize(
    ("clock", "time"), [("1Hz", "38 s at 1 Hz"), ("1kHz", "38 ms"), ("10MHz", "3.8 us"), ("100GHz", "0.38 ns")]
)
def test_time_is_printed_in_peoples_units(hwcost, clock, time):
    code, out, _ = hwcost(*POINT, "--clock", clock)
    assert code == 0
    assert f"time         {time}" in out


# ---------------------------------------------------------------- sweeps


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("8,16,32", [8, 16, 32]),
        ("1:4", [1, 2, 3, 4]),
        ("1:9:4", [1, 5, 9]),
        ("1:8:4", [1, 5]),
        ("3:3", [3]),
        ("1:2,7,7,10:20:5", [1, 2, 7, 7, 10, 15, 20]),
    ],
)
def test_lists_and_ranges(rows, text, numbers):
    sizes = parse_sizes("--f", text)
    assert (list(sizes.numbers()), sizes.points, sizes.largest) == (numbers, len(numbers), max(numbers))
    assert [row["f"] for row in rows(*estimate_with(f=text)[1:])] == numbers


def test_the_last_swept_option_is_the_fastest(rows):
    assert [(row["c"], row["f"]) for row in rows("--k", 1, "--c", "1:2", "--f", "8,9", "--s1", 8, "--s2", 8)] == [
        (1, 8), (1, 9), (2, 8), (2, 9)
    ]  # fmt: skip
    assert [(row["c"], row["f"]) for row in rows("--k", 1, "--f", "8,9", "--c", "1:2", "--s1", 8, "--s2", 8)] == [
        (1, 8), (2, 8), (1, 9), (2, 9)
    ]  # fmt: skip


SWEPT = {"--k": "1,3", "--c": "4,8", "--f": "4,8", "--s1": "4,8", "--s2": "4,8", "--h": "5,6", "--w": "5,6"}
SWEPT |= {"--batch": "1,2", "--stride": "1,2", "--groups": "1,2,4", "--k1": "1,2", "--k2": "1,2"}


@pytest.mark.parametrize("option", SWEPT)
def test_every_size_can_be_swept(rows, option):
    fixed = {"--k": "3", "--c": "4", "--f": "8", "--s1": "4", "--s2": "4", "--h": "5", "--w": "5"}
    if option in ("--k1", "--k2"):
        fixed = {"--k1": "3", "--k2": "3"} | {name: value for name, value in fixed.items() if name != "--k"}
    values = SWEPT[option].split(",")
    swept = rows(*itertools.chain.from_iterable((fixed | {option: SWEPT[option]}).items()))
    single = [rows(*itertools.chain.from_iterable((fixed | {option: value}).items()))[0] for value in values]
    numbers = [{name: value for name, value in row.items() if name != "bound"} for row in swept]
    bounds = [row.pop("bound") for row in single]
    assert numbers == [pytest.approx(row, rel=1e-9) for row in single]
    assert [row["bound"] for row in swept] == bounds
    assert len({tuple(row.items()) for row in swept}) == len(values)


def test_a_sweep_is_priced_in_one_call(rows, calls_of):
    with calls_of(price) as calls:
        assert len(rows(*estimate_with(f="1:300", c="1:10")[1:])) == 3000
    assert len(calls) == 2  # exact and smooth


def test_a_point_is_priced_once_however_much_is_printed(hwcost, calls_of):
    with calls_of(price) as calls:
        code, out, _ = hwcost("estimate", "--k", "3", "--c", "20", "--f", "36", "--device", "gemmini", "--explain")
    assert code == 0
    assert "left out" in out
    assert len(calls) == 2  # exact and smooth


def figures_of(line):
    return [float(cell.replace(",", "")) for cell in line.split()]


def test_a_table_has_a_header_and_aligned_columns(hwcost):
    code, out, err = hwcost(*estimate_with(f="1:256", s2="8,16"))
    assert (code, err) == (0, "")
    (header, *lines), (bound,), terms = (part.splitlines() for part in out.split("\n\n"))
    assert bound.split("  ")[0] == "lower bound"
    assert terms[0].startswith("folds: passes over the array")
    assert header.split() == [
        "f", "s2", "cycles", "cycles(logistic)", "folds(rows)", "folds(cols)", "util[%]", "time[ns]", "MACs",
        "DRAM[kB]",
    ]  # fmt: skip
    assert len(lines) == 512
    assert {len(line) for line in lines} == {len(header)}
    for line in lines:
        f, s2, cycles, _, folds_rows, folds_cols, utilization, time, macs, moved = figures_of(line)
        cost = layer_cost(Conv2d(6, int(f), 5, 1, 1, padding="same"), SystolicArray(8, int(s2)))
        assert (cycles, folds_rows * folds_cols, macs) == (cost.cycles, cost.folds, cost.macs)
        assert utilization == pytest.approx(100 * cost.utilization, abs=0.051)
        assert time == pytest.approx(1e9 * cost.seconds, rel=1e-5)
        assert moved == pytest.approx(cost.dram_bytes / 1000, abs=0.0051)


def test_long_tables_go_on_over_all_blocks(hwcost):
    code, out, _ = hwcost(*estimate_with(f="1:10000"))
    assert code == 0
    assert [figures_of(line)[0] for line in out.partition("\n\n")[0].splitlines()[1:]] == list(range(1, 10_001))


# ---------------------------------------------------------------- JSON and CSV


@pytest.mark.parametrize("f", ["16", "1:5000"])
def test_json_is_one_document_with_schema_and_settings(good, f):
    args = estimate_with(k="3", f=f, h="5", w="5", padding="1", fold_timing="serial")
    document = json.loads(good(*args, "--json"))
    assert (document["schema"], document["version"]) == ("hwcost.estimate/1", __version__)
    assert document["settings"] == {
        "padding": [1, 1],
        "device": None,
        "dataflow": "ws",
        "fold_timing": "serial",
        "clock_hz": 1e9,
        "uncharged": ["memory"],
        "relaxation": {"name": "logistic", "options": {"temperature": 20.0}},
    }
    assert len(document["rows"]) == (1 if f == "16" else 5000)


def test_csv_holds_the_same_as_json(hwcost):
    args = estimate_with(f="1:5000", h="14", padding="0x2", w="9", k="3")
    _, text, _ = hwcost(*args, "--csv")
    _, document, _ = hwcost(*args, "--json")
    table = list(csv.DictReader(io.StringIO(text)))
    found = json.loads(document)
    assert len(table) == len(found["rows"]) == 5000
    for line, row in zip(table, found["rows"], strict=True):
        assert {name: type(value)(line[name]) for name, value in row.items()} == row
        assert line["schema"] == found["schema"]
        assert (line["padding"], line["dataflow"], line["relaxation_options"]) == ("0x2", "ws", "temperature=20.0")


# ---------------------------------------------------------------- bad input

HUGE = str(10**400)
BAD_SIZES = ["0", "-1", "1.5", "1e3", "text", "", "nan", "inf", "1_000", "0x10", "٣", HUGE, "-" + HUGE]
BAD_SIZES += [
    ":",
    "1:",
    ":5",
    "5:1",
    "1:5:0",
    "1:5:-1",
    "1:5:x",
    "1:2:3:4",
    "0:5",
    "1,,2",
    "1,",
    ",",
    "1,0",
    "1,a",
    "1 2",
]
BAD_SIZES += ["1:" + HUGE, "9223372036854775808,1", "1:9223372036854775808:9223372036854775807"]
SIZE_OPTIONS = ["--k", "--c", "--f", "--s1", "--s2", "--h", "--w", "--batch", "--stride", "--groups"]

BAD = [
    (estimate_with(padding="-1"), "--padding"),
    (estimate_with(padding="1,2"), "--padding"),
    (estimate_with(padding="1x"), "--padding"),
    (estimate_with(padding="1x2x3"), "--padding"),
    (estimate_with(padding="Same"), "--padding"),
    (estimate_with(padding="1.5"), "--padding"),
    (estimate_with(padding="9223372036854775808", f="1,2"), "cycles"),
    (estimate_with(stride="1x0"), "--stride"),
    (estimate_with(stride="1x2,3"), "--stride"),
    (estimate_with(stride="x"), "--stride"),
    (estimate_with(dataflow="rs"), "--dataflow"),
    (estimate_with(fold_timing="free"), "--fold-timing"),
    (estimate_with(relaxation="smooth"), "--relaxation"),
    (estimate_with(relaxation="logistic,shifted"), "--relaxation"),
    (estimate_with(temperature="9", relaxation="shifted"), "--temperature"),
    (estimate_with(temperature="20", relaxation="exact"), "--temperature"),
    (estimate_with(temperature="20", relaxation="linear"), "--temperature"),
    (estimate_with(temperature="20", relaxation="straight-through"), "--temperature"),
    *(
        (estimate_with(temperature=t), "--temperature")
        for t in ("0", "-1", "nan", "inf", "1e400", "x", "", "1e-9", "2_0")
    ),
    *(
        (estimate_with(clock=c), "--clock")
        for c in ("0", "-1", "nan", "inf", "MHz", "1 mile", "1e", "", "1e308GHz", "1_0")
    ),
    (estimate_with(clock="5e-324"), "--clock"),
    (estimate_with(k1="3"), "--k"),
    (estimate_with(k2="3"), "--k"),
    (estimate_with(k=None), "--k"),
    (estimate_with(k=None, k1="3"), "--k2"),
    (estimate_with(k=None, k2="3"), "--k1"),
    *((estimate_with(**{name: None}), f"--{name}") for name in ("c", "f", "s1", "s2")),
    (estimate_with(padding="valid"), "--k"),
    (estimate_with(padding="valid", k=None, k1="1", k2="3"), "--k2"),
    (estimate_with(padding="1", h="2", w="9"), "--k"),
    (estimate_with(padding="1", h="1:9", w="9"), "--k"),
    (estimate_with(groups="4"), "--c"),
    (estimate_with(groups="3"), "--f"),
    (estimate_with(groups="1:3"), "--f"),
    (estimate_with(c="4,6,7,8", groups="2"), "--c"),
    ([*POINT, "--f", "17"], "--f"),
    ([*POINT, "--rows", "8"], "--s1"),
    ([*POINT, "--json", "--csv"], "--json"),
    ([*POINT, "--bogus"], "--bogus"),
    ([*POINT, "extra"], "extra"),
    (POINT[:-1], "--s2"),
    (["bogus"], "bogus"),
    (["plot", "bogus"], "bogus"),
    (estimate_with(f="1:5000001"), "number of points"),
    (estimate_with(f="1:5000", c="1:5000"), "number of points"),
    (estimate_with(f="1:1000000000000000000", c="1:1000000000000000000"), "number of points"),
    (estimate_with(c=str(2**62), f="4,5"), "cycles"),
    (estimate_with(c=str(10**290), f=str(10**290)), "cycles"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value)[-60:] if type(value) is list else "")
def test_bad_input_is_one_line_and_exit_code_2(refused, args, field):
    assert field in refused(*args)


@pytest.mark.parametrize("option", SIZE_OPTIONS)
def test_bad_sizes_are_one_line_and_exit_code_2(refused, option):
    for text in BAD_SIZES:
        args = dict(zip(estimate_with()[1::2], estimate_with()[2::2], strict=True)) | {option: text}
        assert option in refused("estimate", *itertools.chain.from_iterable(args.items()))


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"c": "0"}, ["--c is '0'", "an integer of at least 1", "8,16,32", "1:256"]),
        ({"f": "16,15,14", "groups": "1:3"}, ["--f is 16", "a multiple of groups (3)"]),
        ({"k": None, "k1": "1", "k2": "1:9", "padding": "1", "h": "3", "w": "4"}, ["--k2 is 7", "the padded input"]),
        ({"c": None}, ["--c is missing", "an integer of at least 1"]),
        ({"s1": None}, ["--s1 is missing", "--device"]),
    ],
    ids=str,
)
def test_an_error_names_the_option_the_value_and_what_is_allowed(refused, changes, facts):
    err = refused(*estimate_with(**changes))
    assert all(fact in err for fact in facts), err


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("option", ["--s1", "--s2", "--c", "--f", "--h", "--batch"])
@pytest.mark.parametrize("power", [31, 32, 53, 60, 61, 62, 63])
def test_a_sweep_near_the_end_of_64_bits_is_exact_or_refused(hwcost, timing, option, power):
    args = {"--k": "1", "--c": "3", "--f": "3", "--s1": "2", "--s2": "1"} | {option: f"1,{2**power - 1}"}
    code, out, err = hwcost("estimate", *itertools.chain.from_iterable(args.items()), "--json", "--fold-timing", timing)
    if code == 2:
        assert err.count("\n") == 1
        assert power >= 53 or option in ("--s1", "--s2")  # cycles x PEs grow with the square of these
        return
    for row in json.loads(out)["rows"]:
        layer = Conv2d(row["c"], row["f"], 1, row["h"], row["w"], row["batch"], padding="same")
        exact = layer_cost(layer, SystolicArray(row["s1"], row["s2"], fold_timing=timing))
        assert (row["cycles"], row["macs"]) == (exact.cycles, exact.macs)


def test_smooth_cycles_that_are_no_number_are_refused(good, refused):
    # 1.2e308 cycles are a float, 1.5 * 1.5 times as many are not
    args = estimate_with(k="1", c="8", f="8", h=str(12 * 10**199), w=str(10**108))
    good(*args, "--relaxation", "exact")
    assert "the cycles by relaxation logistic" in refused(*args)


def test_running_out_of_memory_is_one_line(capsys):
    @click.command()
    def exhausted():
        raise MemoryError

    assert run_command(exhausted, "exhausted", []) == 2
    assert re.fullmatch(r"Error: .*memory.*\n", capsys.readouterr().err)


# ---------------------------------------------------------------- the process


def test_no_command_shows_the_help_and_version_the_version(hwcost):
    for args in ([], ["--help"]):
        code, out, err = hwcost(*args)
        assert (code, err) == (0, "")
        assert "estimate" in out
        assert "plot" in out
    assert hwcost("--version") == (0, f"hwcost {__version__}\n", "")
    assert "stairs" in hwcost("plot")[1]


def test_every_option_has_a_help_text():
    def commands(command):
        yield command
        for name in getattr(command, "commands", {}):
            yield from commands(command.commands[name])

    for command in commands(cli):
        assert all(param.help for param in command.params if isinstance(param, click.Option)), command.name


def test_estimate_loads_no_heavy_module():
    heavy = ["torch", "matplotlib", "scipy", "rich", "jax", "pandas", "importlib.metadata", "json", "html", "shutil"]
    heavy += ["hwcost.plot", "hwcost.cli.shared.outputs"]
    code = "import sys; from hwcost.cli import main; code = main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code, *POINT], capture_output=True, text=True, timeout=600, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "hwcost.model.formula" in loaded
    assert not loaded & set(heavy)


def test_a_reader_that_goes_away_ends_it_quietly():
    with subprocess.Popen(
        [sys.executable, "-m", "hwcost", *estimate_with(f="1:200000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout.readline().startswith("      f   cycles")
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=600) == 141


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.usefixtures("deliverable_sigint")
def test_ctrl_c_is_exit_code_130_without_a_traceback():
    with subprocess.Popen(
        [sys.executable, "-m", "hwcost", *estimate_with(f="1:1000000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=600)
    assert running.returncode == 130
    assert err.strip() == ""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("error", ["ImportError", "SystemExit", "KeyboardInterrupt", "RuntimeError"])
def test_an_interrupt_that_an_import_turns_into_an_error_is_an_interrupt(error):
    code = (
        "import signal, sys\nfrom hwcost.__main__ import guarded\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def run():\n"
        "    try: signal.raise_signal(signal.SIGINT)\n"
        f"    except KeyboardInterrupt: raise {error}('masked')\n"
        "sys.exit(guarded(run))"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_command_is_guarded_before_its_libraries_are_imported():
    done = python("import sys, hwcost.__main__, nas_plugin.__main__\nprint(*sys.modules)")
    assert not {"numpy", "click", "torch"} & set(done.stdout.split())


@pytest.mark.skipif(os.name == "nt", reason="no descriptors to close")
@pytest.mark.parametrize("command", [["estimate", "--f", "16"], ["devices"], ["--help"], ["--version"]])
def test_a_closed_stdout_is_one_line(command):
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'hwcost', *sys.argv[1:]])"
    if command[0] == "estimate":
        command = estimate_with(f="16")
    done = python(code, *command)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("Error: ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("f", ["16", "1:9000"])
def test_a_full_disk_is_one_line(f):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hwcost", *estimate_with(f=f)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("rich", [True, False])
def test_progress_goes_to_a_terminal_on_stderr_alone(hwcost, good, monkeypatch, rich):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    quiet = good(*estimate_with(f="1:25000"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = hwcost(*estimate_with(f="1:25000"))
    assert (code, out) == (0, quiet)
    assert err != ""
    assert rich or err.splitlines()[-1] == "100 % of 25,000 rows"
    good(*estimate_with(f="1:9"))


# ---------------------------------------------------------------- the page about it

PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.-]+)`:\n\n```text\n(.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL))
EXAMPLES = re.findall(r"^\$ hwcost (.*)\n((?!```).+\n(?:.*\n)*?)```", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_the_page_shows_what_is_printed(hwcost, tmp_path, monkeypatch, command, shown):
    monkeypatch.chdir(tmp_path)
    if command.startswith("plot"):
        pytest.importorskip("matplotlib")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command, _, head = command.partition(" | head -")
    code, out, err = hwcost(*shlex.split(command))
    assert code == (0 if out else 2)
    lines = _rounded(out + err).splitlines()
    assert lines[: int(head) if head else None] == _rounded(shown).splitlines()


def _rounded(text):
    """Without the digits that differ between machines, and without the version."""
    text = re.sub(r"\d+\.\d{9,}", lambda number: f"{float(number[0]):.9g}", text)
    return re.sub(r'"version": "[^"]*"', "", text)


def test_the_page_has_examples_and_names_every_option():
    assert len(EXAMPLES) >= 8
    for command in (cli.get_command(None, name) for name in cli.list_commands(None)):
        options = [param for c in _leaves(command) for param in c.params]
        missing = {p.opts[0] for p in options if isinstance(p, click.Option) and p.opts[0] not in PAGE}
        assert not missing - {"-h", "--help"}


def _leaves(command):
    subcommands = getattr(command, "commands", None)
    return [command] if subcommands is None else [leaf for c in subcommands.values() for leaf in _leaves(c)]


@pytest.mark.parametrize(
    ("command", "fact"),
    [
        ("model net.csv --s1 8 --s2 8 --to-csv net.csv", "the model"),
        ("model net.csv --s1 8 --s2 8 --to-csv ./net.csv", "the model"),
        ("model net.csv --s1 8 --s2 8 --to-csv a.csv --to-scalesim a.csv", "--to-csv"),
        ("sweep net.csv --rows 4 --cols 4:8 --out net.csv", "the model"),
    ],
)
def test_no_file_takes_the_place_of_another(refused, tmp_path, monkeypatch, command, fact):
    monkeypatch.chdir(tmp_path)
    content = "kind,name,c,f\nlinear,fc,4,4\n"
    (tmp_path / "net.csv").write_text(content)
    assert fact in refused(*shlex.split(command))
    assert (tmp_path / "net.csv").read_text() == content
    assert not (tmp_path / "a.csv").exists()


# ---------------------------------------------------------------- what takes its time


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_shows_what_takes_its_time_and_a_pipe_nothing(hwcost, networks, monkeypatch, rich):
    args = ("model", "modules.py:Tree", "--input", "1,3,8,8", "--s1", "8", "--s2", "8")
    code, quiet, err = hwcost(*args)
    assert (code, err) == (0, "")
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = hwcost(*args)
    assert (code, out) == (0, quiet)
    assert rich or err.splitlines() == ["starting PyTorch ...", "reading modules.py:Tree with PyTorch ..."]


COSTLY = {
    "model lenet.csv --s1 8 --s2 8 --plot a.svg --html a.html": ["writing a.svg", "writing a.html"],
    "compare lenet.csv --devices gemmini,tpu-v1 --plot a.svg": ["writing a.svg"],
    "sweep lenet.csv --rows 8,16 --cols 8 --plot a.svg --out a.csv": ["writing a.csv", "writing a.svg"],
    "plot stairs --k 3 --c 8 --f 1:8 --s1 8 --s2 8 -o a.svg": ["writing a.svg"],
    "prune modules.py:Tree --input 1,3,8,8 --s1 8 --s2 8 --target 0.9 --plot a.svg": [
        "starting PyTorch", "reading modules.py:Tree with PyTorch", "choosing channels", "writing a.svg",
    ],
    "advise modules.py:Tree --input 1,3,8,8 --s1 8 --s2 8": [
        "starting PyTorch", "reading modules.py:Tree with PyTorch", "looking for better widths",
    ],
}  # fmt: skip


@pytest.mark.parametrize("command", COSTLY)
def test_every_step_that_takes_its_time_is_named_on_a_terminal_alone(hwcost, networks, monkeypatch, command):
    code, quiet, err = hwcost(*command.split())
    assert code == 0, err
    assert not [line for line in err.splitlines() if line.endswith(" ...")]
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = hwcost(*command.split())
    assert (code, out) == (0, quiet)
    assert [line for line in err.splitlines() if line.endswith(" ...")] == [f"{step} ..." for step in COSTLY[command]]
