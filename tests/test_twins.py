"""What commands do, in Python: modules, files and networks alike, and a table of commands and functions."""

from __future__ import annotations

import functools
import inspect
import re
from pathlib import Path

import click
import pytest
from refusals import refused

import hwcost
import nas_plugin
from hwcost import InvalidValueError, Linear, Network, SystolicArray, twins
from hwcost.calibration import read_measurements
from hwcost.cli import cli
from hwcost.devices import device_names
from hwcost.importers.lists import write_layers
from hwcost.sweep import sweep
from nas_plugin.cli import group

torch = pytest.importorskip("torch")

PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
SIZE = (1, 3, 16, 16)
TWINS = {
    "advise": lambda network, **inputs: hwcost.advise(network, "gemmini", **inputs).as_dict(),
    "tabulate": lambda network, **inputs: {
        name: rows.tolist() for name, rows in hwcost.tabulate(network, "gemmini", **inputs).layers.items()
    },
    "sweep": lambda network, **inputs: sweep(network, rows=[8, 16], cols=8, **inputs).as_dict(),
    "report": lambda network, **inputs: hwcost.report(network, "gemmini", **inputs).as_dict(),
    "compare": lambda network, **inputs: hwcost.compare(network, "gemmini", **inputs).as_dict(),
}


def module():
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 40, 3, padding=1))


def test_all_of_them_are_tried():
    assert TWINS.keys() == set(twins.__all__)
    assert all(getattr(hwcost, name) is getattr(twins, name) for name in TWINS if name != "sweep")
    assert sweep is twins.sweep


@pytest.mark.parametrize("name", TWINS)
def test_a_module_is_as_good_as_its_network(name):
    run = TWINS[name]
    expected = run(hwcost.from_torch(module(), SIZE))
    assert run(module(), input_size=SIZE) == expected
    assert run(module(), example_inputs=torch.rand(SIZE)) == expected
    with pytest.raises(InvalidValueError, match="input_size"):
        run(module())
    with pytest.raises(InvalidValueError, match="leave it out"):
        run(hwcost.from_torch(module(), SIZE), input_size=SIZE)


@pytest.mark.parametrize("name", TWINS)
def test_a_file_is_as_good_as_its_network(name, tmp_path):
    path = tmp_path / "net.csv"
    write_layers(path, Network.of_layers("net", {"a": Linear(64, 40), "b": Linear(40, 8)}))
    assert TWINS[name](path) == TWINS[name](hwcost.read_network(str(path)))


@pytest.mark.parametrize("name", twins.__all__)
def test_the_inputs_of_modules_are_in_signature_and_help(name):
    function = getattr(twins, name)
    parameters = inspect.signature(function).parameters
    assert {"input_size", "example_inputs"} <= parameters.keys()
    assert "input_size, example_inputs: of" in function.__doc__.partition("Raises:")[0]


def test_a_comparison_takes_modules_among_networks(tmp_path):
    path = tmp_path / "net.csv"
    write_layers(path, Network.of_layers("net", {"a": Linear(64, 40)}))
    found = hwcost.compare([module(), hwcost.from_torch(module(), SIZE, name="read"), path], "gemmini", input_size=SIZE)
    assert [pair.summary.name for pair in found] == ["Sequential", "read", "net"]
    assert found[0].summary.cost == found[1].summary.cost
    with pytest.raises(InvalidValueError, match="input_size cannot be used"):
        hwcost.compare([path], "gemmini", input_size=SIZE)


def test_all_devices_are_a_word():
    found = hwcost.compare({"fc": Linear(8, 8)}, "all", extrapolate=True)
    assert [pair.summary.device for pair in found] == list(device_names())


def test_measurements_take_the_name_of_a_device(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("kind,c,f,us\nlinear,512,512,60\n")
    assert read_measurements(path, "gemmini") == read_measurements(path, hwcost.load_device("gemmini"))
    with refused("device", 3):
        read_measurements(path, 3)


# ---------------------------------------------------------------- errors say what to do


CALLS = {
    "network_cost": lambda given: hwcost.network_cost(given, "gemmini"),
    "a layer of network_cost": lambda given: hwcost.network_cost({"a": given}, "gemmini"),
    "a layer of report": lambda given: hwcost.report({"a": given}, "gemmini"),
    "layer_cost": lambda given: hwcost.layer_cost(given, "gemmini"),
    "advice.advise": lambda given: hwcost.advice.advise(given, "gemmini"),
    "LatencyLoss": lambda given: hwcost.torch.LatencyLoss(given, "gemmini"),
    "EnergyLoss": lambda given: hwcost.torch.EnergyLoss(given, "gemmini"),
    "EnergyDelayLoss": lambda given: hwcost.torch.EnergyDelayLoss(given, "gemmini"),
    "memory_figure": lambda given: hwcost.plot.memory_figure(given, "gemmini"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_module_that_is_not_read_is_told_how(name):
    with pytest.raises(InvalidValueError, match=r"hwcost\.from_torch\(module, input_size\)") as caught:
        CALLS[name](torch.nn.Conv2d(3, 8, 3))
    assert ("space(step=8)" in str(caught.value)) == name.endswith("Loss")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("given", [3, None, object(), SystolicArray(8, 8)], ids=["number", "None", "object", "array"])
def test_what_is_no_layer_cannot_be_skipped(name, given):
    with pytest.raises(InvalidValueError) as caught:
        CALLS[name](given)
    assert "skip_unsupported" not in str(caught.value)


def test_the_hint_on_energy_is_a_line_that_runs():
    network = hwcost.from_torch(module(), SIZE).space(step=8)
    array = SystolicArray(8, 8, buffer_bytes=65536.0)
    with pytest.raises(InvalidValueError) as caught:
        hwcost.torch.EnergyLoss(network, array)
    names = {"array": array}
    exec(re.search(r"from hwcost import \w+", str(caught.value)).group(), names)
    made = eval(re.search(r"with_energy\(.*?\)", str(caught.value)).group(), names)
    assert hwcost.torch.EnergyLoss(network, made).reference > 0


# ---------------------------------------------------------------- the table of the page


def commands(of, name):
    context = click.Context(of)
    for each in of.list_commands(context):
        command = of.get_command(context, each)
        yield from commands(command, f"{name} {each}") if isinstance(command, click.Group) else [f"{name} {each}"]


def rows():
    text = PAGE.partition("## In Python\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| `(.*) \|$", text, flags=re.MULTILINE):
        command, _, functions = line.partition("` | ") if "` | " in line else line.partition(" | ")
        yield command.strip("`"), re.findall(r"`((?:hwcost|nas_plugin)\.[\w.]+)", functions)


def test_every_command_has_a_function():
    known = {*commands(cli, "hwcost"), *commands(group, "nas-plugin")}
    on_page = [command for command, _ in rows()]
    shown = {name.removesuffix(" list").removesuffix(" show") for name in known}
    assert {command for command in on_page if command in shown} == shown


@pytest.mark.parametrize("command", [command for command, _ in rows()])
def test_every_function_of_the_table_is_there(command):
    names = dict(rows())[command]
    assert names
    for name in names:
        package, *path = name.split(".")
        assert callable(functools.reduce(getattr, path, {"hwcost": hwcost, "nas_plugin": nas_plugin}[package])), name
