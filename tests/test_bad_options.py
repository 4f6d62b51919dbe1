"""Every option of every command, with bad values: one line that names the option, and no word of Python."""

from __future__ import annotations

import re
import sys

import click
import pytest

from hwcost.cli import cli

ARRAY = "--s1 8 --s2 8"
BASES = {
    "advise": f"lenet.csv {ARRAY}",
    "calibrate": "measured.csv --device gemmini",
    "compare": f"lenet.csv {ARRAY}",
    "devices": "",
    "devices show": "gemmini",
    "estimate": f"--k 5 --c 6 --f 16 {ARRAY}",
    "model": f"lenet.csv {ARRAY}",
    "plot ceiling": "",
    "plot memory": f"modules.py:Plain --input 1,3,8,8 {ARRAY}",
    "plot stairs": "",
    "plot timeline": f"modules.py:Plain --input 1,3,8,8 {ARRAY}",
    "prune": f"modules.py:Plain --input 1,3,8,8 {ARRAY} --target 0.75",
    "sweep": "lenet.csv --rows 8 --cols 8",
    "table": f"lenet.csv {ARRAY}",
}
"""Arguments with which each command works."""

SIZE = ["", "0", "-1", "1.5", "x", "8x8x8"]
COUNT = [*SIZE, "10001"]
SIZES = [*SIZE, "5:1", "1,", "1:5:0"]
NAME = ["", "nope"]
DEVICE = [*NAME, "no/such.toml", "."]
NUMBER = ["", "0", "-1", "nan", "1e999", "x"]
TEXT = ["", " "]
SHAPE = ["", "x", "1,x", "1,3:float99"]
FILE = ["", "a", "a.txt", "no/such/folder/a"]
MEMBER = ["", "nope", "modules.py", "no.py:a", "modules.py:nope"]
BAD = {
    **dict.fromkeys(("--k", "--k1", "--k2", "--c", "--f", "--h", "--w", "--batch", "--stride", "--groups"), SIZES),
    **dict.fromkeys(("--s1", "--s2", "--arrays", "--top", "--depth", "--effort", "--multiple", "--jobs"), SIZE),
    "--pe-budget": SIZE,
    **dict.fromkeys(("--rows", "--cols"), SIZES),
    **dict.fromkeys(("--starts", "--shuffles", "--folds"), COUNT),
    **dict.fromkeys(("--temperature", "--max", "--robust", "--prior", "--clock", "--buffer", "--bandwidth"), NUMBER),
    **dict.fromkeys(("--dataflow", "--fold-timing", "--relaxation", "--sort", "--engine", "--energy", "--for"), NAME),
    "--vary": [*TEXT, "x", "x=", "=1", "nope=1", "overlap=", "overlap=2", "arrays=1.5", "rows=8"],
    "--front": [*NAME, "time,", "time,time", "energy", "buffer"],
    **dict.fromkeys(("--device", "--devices"), DEVICE),
    **dict.fromkeys(("--plot", "--html", "--to-csv", "--to-scalesim", "--output", "--out"), FILE),
    **dict.fromkeys(("--source", "--licence"), TEXT),
    "--step": SIZE,
    **dict.fromkeys(("--from", "--accelerator"), NAME),
    "--table": ["", "no.csv", "."],
    "--widths": [*NAME, "conv1.channels,nope"],
    "--seed": ["", "-1", "x", "10001"],
    "--budget": [*NUMBER, "1", "2"],
    "--least": ["", "-1", "nan", "1e999", "x", "1.1", "0x0", "0 0"],
    "--take": ["", "x", "x=", "=3", "x=0", "nope=3"],
    "--input": ["", "x", "1,x", "0,3", "1,3:float99"],
    "--dim": ["", "x", "x=", "=3", "x=-1", "x=0", "x=1"],
    "--padding": ["", "-1", "x", "1x", "1,2"],
    "--name": ["", " "],
    "calibrate --name": ["", "a b", "a/b"],
    "--free": ["", "nope", "overlap,nope"],
    "--grid": ["", "size", "nope=3", "size=0", "dataflow=xs", "lowering=x"],
    "--scalesim-topology": ["no.csv", "."],
    "--scalesim-config": ["no.cfg", "."],
    "--scalesim-report": ["", "reports"],
    **dict.fromkeys(("--data", "--held-out", "--loss"), MEMBER),
    "--target": [*NUMBER, "1", "1.1"],
    "--distil": ["", "-1", "nan", "x", "1.1"],
    "--cycles": [*NUMBER, "1e9"],
    "--seconds": [*NUMBER, "1e9"],
    "--weights": ["", "no.safetensors", "modules.py"],
    "--importance": NAME,
    "--keep": NAME,
    "--fine-tune": COUNT,
    "--learning-rate": NUMBER,
    "--onnx": FILE,
    **dict.fromkeys(("prune --input", "plot memory --input", "plot timeline --input"), SHAPE),
    "--torch-device": ["", "nowhere", "cuda:x"],
    "prune --out": ["", " ", ".", "lenet.csv"],
}
"""Values that no command takes for its option of that name, or one command for it."""

INSTEAD = {
    "--table": "--s1 --s2",
    "--k1": "--k",
    "--k2": "--k",
    "--scalesim-topology": "--k --c --f --s1 --s2",
    "--scalesim-config": "--k --c --f --s1 --s2",
    "--scalesim-report": "--k --c --f --s1 --s2",
    "--devices": "--s1 --s2",
    "--cycles": "--target",
    "--seconds": "--target",
}
"""Options that a base command line must not have next to an option."""

WITH = {
    "--scalesim-topology": "--scalesim-config array.cfg",
    "--scalesim-config": "--scalesim-topology topology.csv",
    "--take": "--to-csv smaller.csv",
    "--loss": "--data modules.py:batches",
    "--energy": "--buffer 64k",
    "--k1": "--k2 3",
    "--k2": "--k1 3",
}
"""Options without which an option has no effect."""

PYTHON = re.compile(
    r"\b(None|NoneType|True|False|tuple|dict|str|int|float|Path|Dataflow|FoldTiming|Lowering|Relaxation|SystolicArray"
    r"|Conv2d|Linear|Gemm|Network|skip_unsupported|[a-z]+(_[a-z]+)*=True)\b"
)


def leaves(command, *names):
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            yield from leaves(command.get_command(None, name), *names, name)
    if not isinstance(command, click.Group) or not command.invoke_without_command or getattr(command, "listing", False):
        yield " ".join(names), command


COMMANDS = dict(leaves(cli))
OPTIONS = [
    (name, next(option for option in param.opts if option.startswith("--")))
    for name, command in COMMANDS.items()
    for param in command.params
    if isinstance(param, click.Option) and not param.is_flag
]
FLAGS = [
    (name, param.opts[0])
    for name, command in COMMANDS.items()
    for param in command.params
    if isinstance(param, click.Option) and param.is_flag
]


@pytest.fixture
def files(networks):
    """Networks, measurements and files of SCALE-Sim."""
    rows = [f"gemm,{m},{n},32,{m * n}" for m in (8, 16, 32, 64) for n in (16, 32, 64)]
    (networks / "measured.csv").write_text("\n".join(["kind,m,n,k,cycles", *rows]) + "\n")
    header = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    (networks / "topology.csv").write_text(header + "Conv1, 9, 9, 3, 3, 3, 8, 1,\n")
    (networks / "array.cfg").write_text("[architecture_presets]\nArrayHeight = 8\nArrayWidth = 8\nDataflow = ws\n")
    return networks


def base_of(command, option):
    """The command line without an option, and with what the option goes with."""
    words = BASES[command].split()
    for other in (option, *INSTEAD.get(option, "").split()):
        if other in words:
            at = words.index(other)
            del words[at : at + 2]
    return [*command.split(), *words, *WITH.get(option, "").split()]


def test_the_table_covers_every_command_and_option():
    assert set(COMMANDS) == set(BASES)
    assert {option for _, option in OPTIONS} == {name for name in BAD if " " not in name}


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=": ".join)
def test_a_bad_value_names_its_option(refused, files, command, option):
    if command == "prune":
        pytest.importorskip("torch")
    for value in BAD.get(f"{command} {option}", BAD[option]):
        line = refused(*base_of(command, option), f"{option}={value}")
        assert option in line
        assert not PYTHON.search(line), line
    assert not list(files.glob("smaller.csv"))


@pytest.mark.parametrize(("command", "option"), FLAGS, ids=": ".join)
def test_a_flag_takes_no_value(refused, command, option):
    assert option in refused(*command.split(), f"{option}=x")


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=": ".join)
def test_an_option_of_one_value_is_given_once(hwcost, command, option):
    param = next(param for param in COMMANDS[command].params if option in param.opts)
    if not param.multiple:
        _, _, err = hwcost(*command.split(), f"{option}=1", f"{option}=2")
        assert f"{option} cannot be used: it is given more than once" in err


def test_several_devices_have_an_option_of_their_own(refused, networks):
    line = refused("compare", "lenet.csv", "--device", "gemmini", "--device", "tpu-v1")
    assert "--device" in line
    assert "--devices" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_option_is_answered_with_the_closest(refused, command):
    for name, option in OPTIONS:
        if name == command and len(option) > 6:
            assert f"'{option}'" in refused(*command.split(), option[:-1] + "x")


@pytest.mark.parametrize(
    ("args", "names"),
    [
        ("model modules.py:Tree --s1 8 --s2 8 --input foo=1,3,8,8", ["'foo'"]),
        ("model modules.py:Tree --s1 8 --s2 8 --input 1,3", ["1x3 "]),
        ("model modules.py:Tree --s1 8 --s2 8", ["--input"]),
        ("model modules.py:Tre --s1 8 --s2 8 --input 1,3", ["'Tre'", "'Tree'"]),
        ("compare lenet.csv --devices gemmini,gemini", ["--devices", "'gemini'", "'gemmini'"]),
        ("compare lenet.csv --devices gemmini --device tpu-v1", ["--device ", "--devices"]),
        ("devices show gemini", ["'gemini'", "'gemmini'"]),
        ("estimate --k 3 --c 3 --f 3 --device gemini", ["--device", "'gemmini'"]),
        ("estimate --k 3 --c 3 --f 3 --s1 8 --s2 8 --dataflow WS", ["--dataflow", "'ws'"]),
        (
            "estimate --scalesim-topology topology.csv --scalesim-config array.cfg --explain",
            ["--explain", "--scalesim-topology"],
        ),
        ("calibrate measured.csv --device gemmini -o b@d.toml", ["--output", "'b@d'"]),
        ("sweep lenet.csv --rows 8 --cols 8 --engine dask://host", ["--engine", "'dask://host'", "port"]),
        ("sweep lenet.csv --rows 8 --cols 8 --jobs 3", ["--jobs", "serial", "--engine processes"]),
        ("sweep lenet.csv --rows 8 --cols 8 --vary buffer_byte=1k", ["--vary", "'buffer_byte'", "'buffer_bytes'"]),
        ("sweep lenet.csv --rows 8 --cols 8 --vary cols=8", ["--vary", "--cols"]),
        ("sweep lenet.csv --rows 8 --cols 8 --vary buffer_bytes=1k --buffer 2k", ["--vary", "--buffer"]),
        ("sweep lenet.csv --rows 8 --cols 8 --vary fold_timing=seriall", ["--vary fold_timing", "'serial'"]),
        ("sweep lenet.csv --rows 8 --cols 8 --vary overlap=0.5", ["--vary overlap", "finite bandwidth"]),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer 2M:64k", ["--buffer", "64k:2M"]),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer 1k:2k:0", ["--buffer", "'0'"]),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer 1:9999:0.01", ["--buffer", "100000 values"]),
        ("sweep lenet.csv --rows 8 --cols 8 --clock 1:2:3:4", ["--clock", "LOW:HIGH"]),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer 10,20", ["--buffer", "no tile fits"]),
        ("sweep lenet.csv --rows 8 --cols 8 --front time,energi", ["--front", "'energy'"]),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer 1M:4M --energy 40nm-accelergy", ["--energy", "2 MiB"]),
        ("devices gemmini", ["'gemmini'", "hwcost devices show gemmini"]),
        ("devices mine.toml", ["'mine.toml'", "hwcost devices show mine.toml"]),
        ("estimate --k 3 --c 3 --f 8:64:0 --s1 8 --s2 8", ["--f", "'8:64:0'", "step"]),
        ("estimate --k 3 --c 3 --f 8:x --s1 8 --s2 8", ["--f", "'8:x'"]),
        ("estimate --k 3 --c 3 --f 8 --h 2 --padding valid --s1 8 --s2 8", ["--k", "room for 2"]),
        ("sweep lenet.csv --rows 8 --cols 8 --engine serrial", ["--engine", "'serrial'", "serial"]),
        ("plot stairs --f 16", ["--f", "16", "--c"]),
        ("plot stairs --f 1:9 --c 1:9", ["--c", "--f"]),
        ("plot stairs --f 1:9 --h 1:9", ["--h", "--f"]),
        ("estimat", ["'estimat'", "'estimate'"]),
    ],
)
def test_an_error_of_values_that_do_not_go_together(refused, files, args, names):
    if "modules.py" in args:
        pytest.importorskip("torch")
    line = refused(*args.split())
    assert all(name in line for name in names), line
    assert not PYTHON.search(line), line


@pytest.mark.parametrize(
    ("args", "module", "extra"),
    [
        ("model lenet.csv --s1 8 --s2 8 --plot a.png", "matplotlib", "plot"),
        ("model lenet.csv --s1 8 --s2 8 --html a.html", "matplotlib", "plot"),
        ("compare lenet.csv --device gemmini --plot a.png", "matplotlib", "plot"),
        ("sweep lenet.csv --rows 8 --cols 8 --plot a.png", "matplotlib", "plot"),
        ("calibrate measured.csv --device gemmini --plot a.png", "matplotlib", "plot"),
        ("plot ceiling", "matplotlib", "plot"),
        ("plot stairs", "matplotlib", "plot"),
        ("calibrate measured.csv --device gemmini", "scipy", "fit"),
        ("calibrate measured.csv --device gemmini -o a.toml", "tomli_w", "fit"),
        ("sweep lenet.csv --rows 8 --cols 8 --engine processes", "joblib", "cluster"),
        ("sweep lenet.csv --rows 8 --cols 8 --engine dask://h:1", "distributed", "cluster"),
        (f"prune {BASES['prune']}", "torch", "torch"),
        (f"prune {BASES['prune']} --plot a.png", "matplotlib", "plot"),
        (f"prune {BASES['prune']} --onnx a.onnx", "onnxscript", "export"),
        (f"prune {BASES['prune']} --weights a.safetensors", "safetensors", "torch"),
        (f"prune {BASES['prune']} --out run", "safetensors", "torch"),
    ],
)
def test_a_missing_library_is_named_before_any_work(refused, files, monkeypatch, calls_of, args, module, extra):
    from hwcost.model.formula import price

    monkeypatch.setitem(sys.modules, module, None)
    (files / "a.safetensors").write_bytes(b"x")
    before = sorted(files.iterdir())
    with calls_of(price) as calls:
        line = refused(*args.split())
    assert f'pip install "hwcost[{extra}]"' in line
    assert module.replace("_", "-") in line
    assert not calls
    assert sorted(files.iterdir()) == before
