"""All faults of a command line are told at once, before a library that takes long to load."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from running import python

from hwcost.importers.written_inputs import TYPES, parse_input

MODULE = {"modules.py:Plain": "no.py:Net", "--input 1,3,8,8": "--input 3xx"}
LIST = {"lenet.csv": "no.csv"}
ARRAY = {"--device gemmini": "--device gemini", "--clock 1GHz": "--clock fast"}
PICTURE = {"--plot a.png": "--plot a.foo"}
FAULTS = {
    "advise": {**MODULE, **ARRAY, "--top 3": "--top 0", "--budget 0.5": "--budget 2", "--to-csv a.csv": "--to-csv a"},
    "calibrate": {"measured.csv": "no.csv", **ARRAY, "-o a.toml": "-o a.ini", "--folds 5": "--folds 1", **PICTURE},
    "compare": {
        "modules.py:Plain modules.py:Tree": "no.py:Net modules.py:Plane", "--input 1,3,8,8": "--input 3xx",
        "--devices gemmini,tpu-v1": "--devices gemini,tpu-v11", **PICTURE,
    },
    "devices show": {"gemmini": "gemini"},
    "estimate": {
        "--k 3": "--k 0", "--c 8": "--c x", "--f 8": "", **ARRAY, "--padding same": "--padding x",
        "--relaxation linear": "--relaxation lin",
    },
    "model": {
        **MODULE, **ARRAY, "--top 3": "--top 0", "--sort time": "--sort times", **PICTURE,
        "--html a.html": "--html no/a.html", "--dataflow ws": "--dataflow wss",
    },
    "plot ceiling": {"--relaxation linear": "--relaxation lin", "--max 5": "--max nan", "-o a.png": "-o a"},
    "plot memory": {**MODULE, **ARRAY, "--buffer 64k": "--buffer 0", "-o a.png": "-o a"},
    "plot stairs": {
        "--f 1:64": "--f 64:1", "--c 3": "--c -1", "--relaxation linear": "--relaxation lin", "-o a.png": "-o a",
    },
    "plot timeline": {**MODULE, **ARRAY, "--buffer 64k": "--buffer inf", "-o a.png": "-o a"},
    "prune": {
        **MODULE, **ARRAY, "--target 0.5": "--target 1e9", "--data modules.py:batches": "--data modules.py:batch",
        "--weights modules.py": "--weights no.safetensors", "--seed 1": "--seed x", **PICTURE,
        "--onnx a.onnx": "--onnx a.csv", "--out run": "--out lenet.csv",
    },
    "sweep": {
        **LIST, "--device gemmini": "--device gemini", "--rows 8:16": "--rows 16:8", "--cols 8": "",
        "--dataflow ws,os": "--dataflow ws,oss", "--front time,pes": "--top 0", "--engine serial": "--engine cereal",
        "--vary overlap=0,1": "--vary overlapp=0,1", "-o a.csv": "-o a.txt", **PICTURE,
    },
    "table": {**MODULE, **ARRAY, "--step 8": "--step 0", "--least 0.5": "--least 2", "--out a.csv": "--out a"},
}  # fmt: skip
"""Of each command the parts of a command line that works, and what is wrong instead of each."""

SPACE = {
    "--device gemmini": "--device gemini", "--arch-def arch.toml": "--arch-def no.toml",
    "--dataflow ws": "--dataflow xs", "--data fashion-mnist-cut": "--data no", "--images 100": "--images 1",
    "--out run": "--out lenet.csv",
}  # fmt: skip
OWN = {
    "modules.py:Plain": "modules.py:Plane", "--input 1,3,8,8": "--input 3xx", "--data modules.py:batches": "--data no",
    "--device gemmini": "--device gemini", "--target 0.5": "--target much", "--weights modules.py": "--weights no",
    "--least 0.5": "--least 2", "--multiple 2": "--multiple 0", "--held-out modules.py:batches": "--held-out no.py:a",
}  # fmt: skip
SEARCHES = [
    ("search", {**SPACE, "--epochs 3": "--epochs 0", "--target 0.5": "--target much", "--lambda 1": "--lambda -1"}),
    ("search", {"--resume .": "--resume no", "": "--seed 1", " ": "--out run"}),
    ("search", {**OWN, "--method prune": "--method random"}),
    ("search", OWN),
    ("search", {**OWN, "--input 1,3,8,8": "", "--target 0.5": "", "--seed 1": "--latency flops"}),
    (
        "sweep",
        {**SPACE, "--methods prune": "--methods prun", "--targets 0.5": "--targets 0,5", "--seeds 0": "--seeds x",
         "--train-seeds 1": "--train-seeds 0", "--jobs 1": "--jobs 0", "--engine serial": "--engine cereal"},
    ),
]  # fmt: skip
"""The same of the search."""

HEAVY = ("torch", "onnx", "scipy", "matplotlib", "tflite", "distributed", "joblib", "rich")
LOADED = f"""
import importlib, json, sys
code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
sys.exit(code)
"""


def words_of(part, wrong):
    """What the errors of a part name: its option, or the files that are given."""
    words = (wrong or part).split()
    if words[0].startswith("-"):
        return [{"-o": "--out"}.get(words[0], words[0])]
    return [word.partition(":")[0] for word in words]


def line_of(command, wrong, faults):
    """A command line with some parts wrong."""
    parts = (bad if part in wrong else part for part, bad in faults.items())
    return [*command.split(), *(word for each in parts for word in each.split())]


@pytest.fixture
def here(networks):
    """A folder with networks, modules and measurements."""
    (networks / "measured.csv").write_text("kind,m,n,k,cycles\ngemm,8,8,8,100\n")
    (networks / "arch.toml").write_text("")
    return networks


@pytest.mark.parametrize("command", FAULTS)
def test_two_faults_are_both_told(hwcost, here, command):
    for pair in itertools.combinations(FAULTS[command], min(2, len(FAULTS[command]))):
        code, out, err = hwcost(*line_of(command, pair, FAULTS[command]))
        assert (code, out) == (2, ""), pair
        words = [words_of(part, FAULTS[command][part]) for part in pair]
        for own in words:
            assert all(word in err for word in own), err
        assert all(any(word in line for word in itertools.chain(*words)) for line in err.splitlines()), err
    assert not list(here.glob("a.*"))


@pytest.mark.parametrize(
    ("program", "command", "faults"),
    [*(("hwcost.cli", *row) for row in FAULTS.items()), *(("nas_plugin.cli", *row) for row in SEARCHES)],
)
def test_all_faults_are_told_before_anything_slow_is_loaded(here, program, command, faults):
    done = python(LOADED, program, *line_of(command, faults, faults))
    assert done.returncode == 2, done.stderr
    for part, wrong in faults.items():
        assert all(word in done.stderr for word in words_of(part, wrong)), (part, done.stderr)
    assert json.loads(done.stdout) == []


def test_the_table_has_every_command():
    from test_bad_options import COMMANDS

    assert set(FAULTS) == set(COMMANDS) - {"devices"}


def test_a_fault_of_a_list_of_layers_is_told_with_those_of_options(hwcost, here):
    (here / "bad.csv").write_text("kind,c,f\nlinear,4,0\n")
    code, _, err = hwcost("model", "bad.csv", "--device", "gemini")
    assert code == 2
    assert err.count("\n") == 2
    assert "line 2: Linear.out_features is 0" in err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.csv",
            "kind,c,f\nlinear,4,0\nlinr,4,5\nlinear,x,5\n",
            ["line 2: Linear.out", "line 3: kind", "line 4: c is"],
        ),
        ("a.csv", "kind,c,f,strid,grp\nlinear,4,0,1,1\n", ["'strid'", "'grp'"]),
        ("a.toml", '[[layer]]\nkind = "linr"\n[[layer]]\nkind = "linear"\nc = 3\nd = 1\n', ["layer 1: kind", "'d'"]),
        (
            "a.csv",
            "kind,c,f\n" + "".join(f"linear,4,-{n}\n" for n in range(50)),
            [f"line {line}: " for line in range(2, 22)],
        ),
    ],
)
def test_all_faults_of_a_list_of_layers_are_told(hwcost, here, name, content, words):
    (here / name).write_text(content)
    code, _, err = hwcost("model", name, "--device", "gemmini")
    assert code == 2
    assert all(word in line for word, line in zip(words, err.splitlines(), strict=True)), err


def test_the_methods_for_a_network_of_ones_own_are_those_of_the_search():
    within = pytest.importorskip("hwcost.pruning.within")
    from nas_plugin.cli.search import OWN_METHODS

    assert tuple(within.EPOCHS) == OWN_METHODS


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("class Net: ...\nnet = Net()\nSIZE = 3\n_own = Net()\n", "Nett", "(did you mean 'Net'?); known: Net, net\n"),
        ("import torch\n", "Net", "the file has no model"),
        ("class Net(\n", "Net", "line 1 raises SyntaxError"),
    ],
)
def test_a_name_is_looked_for_without_running_the_file(hwcost, here, content, name, words):
    (here / "net.py").write_text(f"open('ran', 'w')\n{content}" if "(\n" not in content else content)
    code, _, err = hwcost("model", f"net.py:{name}", "--device", "gemini")
    assert code == 2
    assert words in err
    assert "--input is missing" in err
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        "from torch import nn\nglobals()['Net'] = lambda: nn.Linear(4, 2)\n",
        "from other import *\n",
        "if True:\n    from other import Net\n",
        "import torch\ndef __getattr__(name):\n    return torch.nn.Linear(4, 2)\n",
        "for Net in [__import__('other').Net]:\n    pass\n",
        "import sys, other\nsys.modules[__name__].Net = other.Net\n",
    ],
)
def test_a_name_that_a_file_makes_as_it_runs_is_found(good, here, content):
    pytest.importorskip("torch")
    other = "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n"
    (here / "other.py").write_text(other)
    (here / "net.py").write_text(content)
    good("model", "net.py:Net", "--input", "1,4", "--device", "gemmini")


def test_the_types_of_inputs_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    names = {name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)}
    assert {name for name in names if re.fullmatch("[a-z]+[0-9]*", name)} <= TYPES
    assert parse_input("--input", "x=1,3:int8") == ((1, 3), "int8", "x")


def test_notes_are_said_once(hwcost, here):
    code, _, err = hwcost("model", "lenet.csv", "--s1", 8, "--s2", 8, "--clock", "700")
    assert code == 0
    assert err.count("700MHz") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model lenet.csv --s1 8 --s2 8 --to-csv a.csv --to-scalesim a.csv --html a", ["--html", "--to-scalesim"]),
        ("sweep lenet.csv --rows 8 --cols 8 --out lenet.csv --plot a", ["--plot", "--out"]),
        ("advise lenet.csv --table no.csv --s1 8 --for energy", ["--for", "--s1", "--table"]),
        ("advise lenet.csv --s1 8 --s2 8 --apply --budget 2", ["--budget", "--apply"]),
        ("compare lenet.csv --devices gemmini --device tpu-v1 --name a --name b", ["--device", "--name"]),
        ("estimate --scalesim-topology no.csv --scalesim-config no.cfg --k 3", ["--k", "-topology", "-config"]),
        (
            "prune modules.py:Plain --s1 8 --s2 8 --target 0.5 --cycles 3 --distil 0.5",
            ["--input", "--cycles", "--distil"],
        ),
        ("model lenet.csv other.csv --s1 8 --s2 8 --top 0", ["--top", "other.csv"]),
    ],
)
def test_faults_of_several_options_do_not_hide_each_other(hwcost, here, line, words):
    code, out, err = hwcost(*line.split())
    assert (code, out) == (2, "")
    assert all(word in told for word, told in zip(words, err.splitlines(), strict=True)), err


@pytest.mark.parametrize(
    ("command", "option", "wrong"),
    [
        ("sweep lenet.csv --cols 8 --rows", "--rows", "8:a,0,4:2,b"),
        ("sweep lenet.csv --rows 8 --cols 8 --dataflow", "--dataflow", "xs,ys"),
        ("sweep lenet.csv --rows 8 --cols 8 --buffer", "--buffer", "1x,64k:2k,y"),
        ("sweep lenet.csv --rows 8 --cols 8 --vary overlap=", "--vary overlap", "a,b,1:0"),
        ("sweep lenet.csv --rows 8 --cols 8 --vary fold_timing=", "--vary fold_timing", "xs,ys"),
        ("sweep lenet.csv --rows 8 --cols 8 --front", "--front", "speed,size"),
        ("compare lenet.csv --devices", "--devices", "xs,ys"),
        ("model lenet.csv --device gemmini --buffer", "--buffer", "1x,0,y"),
        ("estimate --s1 8 --s2 8 --k 3 --c 8 --f", "--f", "a,0,b"),
    ],
)
def test_all_values_of_an_option_that_are_wrong_are_told(hwcost, here, command, option, wrong):
    *words, last = command.split()
    own = [last + wrong] if last.endswith("=") else [last, wrong]
    code, out, err = hwcost(*words, *own)
    assert (code, out) == (2, "")
    assert [line.partition(";")[0].partition(" (")[0] for line in err.splitlines()] == [
        f"Error: {option} is '{value}'" for value in wrong.split(",")
    ]


def test_all_values_of_an_option_of_the_search_that_are_wrong_are_told(tmp_path):
    words = {"--methods": "xs,ys", "--targets": "x,y", "--seeds": "a,1:0", "--lambdas": "p,q", "--array": "8,x8"}
    done = python("import sys; from nas_plugin.cli import main; sys.exit(main(sys.argv[1:]))", "sweep",
                  *(word for pair in words.items() for word in pair))  # fmt: skip
    assert done.returncode == 2
    for option, values in words.items():
        for value in values.split(","):
            assert f"{option} is '{value}'" in done.stderr
