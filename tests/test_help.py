"""The help of every command: whole summaries, a sentence for every option, and examples that work."""

from __future__ import annotations

import re
import shlex
import shutil

import click
import pytest

from hwcost.cli import cli


def commands(command, *names):
    yield " ".join(names), command
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            yield from commands(command.get_command(None, name), *names, name)


COMMANDS = dict(commands(cli))
EXAMPLES = [
    line.strip()
    for command in COMMANDS.values()
    for line in (command.epilog or "").splitlines()
    if line.startswith("  hwcost ") and "dask://" not in line
]

NET = """
import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        convs = nn.Conv2d(3, 33, 3, padding=1), nn.ReLU(), nn.Conv2d(33, 16, 3, padding=1)
        super().__init__(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


data = [(torch.zeros(4, 3, 8, 8), torch.arange(4)) for _ in range(2)]
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_is_whole_sentences(good, name):
    text = good(*name.split(), "--help")
    command = COMMANDS[name]
    for child in getattr(command, "commands", {}):
        summary = COMMANDS[f"{name} {child}".strip()].help.partition("\n")[0]
        assert re.search(rf"^  {child} +{re.escape(summary)}$", text, flags=re.MULTILINE)
    assert re.match(r"[A-Z][^\n]*\.\n", command.help + "\n")
    for param in command.params:
        if isinstance(param, click.Option):
            assert re.fullmatch(r"[A-Z].*\.(  \[default: .*\])?", param.help), param.help


@pytest.fixture
def files(networks):
    """The files that the examples name."""
    onnx = pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    (networks / "net.py").write_text(NET)
    shapes = {"0.weight": (33, 3, 3, 3), "0.bias": (33,), "2.weight": (16, 33, 3, 3), "2.bias": (16,)}
    shapes |= {"5.weight": (10, 16), "5.bias": (10,)}
    safetensors.save_file({name: torch.ones(shape) for name, shape in shapes.items()}, "w.safetensors")
    for name in ("net.csv", "layers.csv", "small.csv", "large.csv"):
        shutil.copy("lenet.csv", name)
    rows = [f"gemm,{m},{n},{k},{m * k * n // 64 + 100}" for m in (8, 16, 64) for n in (16, 64) for k in (32, 70)]
    (networks / "measured.csv").write_text("\n".join(["kind,m,n,k,cycles", *rows]) + "\n")
    (networks / "costs.csv").write_text("layer,in,out,ms\n0,3,33,8\n0,3,32,4\n2,33,16,2\n2,32,16,1\n5,16,10,1\n")
    header = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    (networks / "topology.csv").write_text(header + "Conv1, 9, 9, 3, 3, 3, 8, 1,\n")
    (networks / "array.cfg").write_text("[architecture_presets]\nArrayHeight = 8\nArrayWidth = 8\nDataflow = ws\n")
    make = onnx.helper
    for name, batch in (("net.onnx", 1), ("dynamic.onnx", "batch")):
        weights = [
            make.make_tensor(weight, 1, shape, bytes(4 * shape[0] * shape[1]), raw=True)
            for weight, shape in (("a", (8, 33)), ("b", (33, 4)))
        ]
        nodes = [make.make_node("MatMul", ["x", "a"], ["h"]), make.make_node("MatMul", ["h", "b"], ["y"])]
        x, y = make.make_tensor_value_info("x", 1, [batch, 8]), make.make_tensor_value_info("y", 1, None)
        model = make.make_model(make.make_graph(nodes, "net", [x], [y], weights))
        (networks / name).write_bytes(model.SerializeToString())
    return networks


@pytest.mark.parametrize(
    ("command", "option", "offered"),
    [
        ("estimate", "--kernel", ["--k"]),
        ("estimate", "--channels", ["--c"]),
        ("estimate", "--filters", ["--f"]),
        ("estimate", "--bufer", ["--buffer"]),
        ("advise", "--plot", []),
        ("model", "--zzz", []),
    ],
)
def test_an_option_that_is_not_there_is_offered_as_one_that_is_meant(refused, command, option, offered):
    error = refused(command, option, "3")
    assert re.findall(r"'(--\w+)'", error) == [option, *offered]


@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if not isinstance(each, click.Group)])
def test_a_misspelt_option_is_offered_as_it_is_written(refused, name):
    options = [param.opts[0] for param in COMMANDS[name].params]
    longs = [option for option in options if option.startswith("--") and len(option) > 6]
    for option in longs:
        wrong = f"{option[:4]}{option[5]}{option[4]}{option[6:]}"
        if wrong not in longs and wrong != option:
            assert repr(option) in refused(*name.split(), wrong).partition("did you mean")[2]


def test_there_are_examples():
    assert len(EXAMPLES) >= 15
    assert {line.split()[1] for line in EXAMPLES} == set(cli.list_commands(None))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_work(hwcost, line):
    if "plot" in line or "--html" in line:
        pytest.importorskip("matplotlib")
    if "--onnx" in line:
        pytest.importorskip("onnxscript")
    if line.startswith("hwcost calibrate") or "--budget" in line:
        pytest.importorskip("scipy")
        pytest.importorskip("tomli_w")
    fast = ["--shuffles", 1, "--starts", 1] if "calibrate" in line else []
    code, out, err = hwcost(*shlex.split(line)[1:], *fast)
    assert code == 0, err
    assert out
