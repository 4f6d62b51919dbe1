"""Named tables of energy figures: what they hold, what they need, and that results say where a figure is from."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from hwcost import Conv2d, InvalidValueError, Network, SystolicArray, layer_cost, load_device
from hwcost.cli import main
from hwcost.devices import STATUSES, Entry, device_names, read_device, write_device
from hwcost.importers.lists import write_layers
from hwcost.machine import Energy
from hwcost.machine.energies import ENERGIES, EnergyTable, Figure, figures_of, with_energy, without_energy
from hwcost.machine.energy import NEEDED

LAYER = Conv2d(20, 36, 3, height=10, width=12, padding=1)
WIDTHS = {"45nm-textbook": (1, 2, 4), "45nm-textbook-fp": (2, 4), "40nm-accelergy": (1,)}
UNITS = [Energy.declarations[name].unit for name in NEEDED]
over_all = pytest.mark.parametrize("name", ENERGIES)


def machine(name, **fields):
    return SystolicArray(16, 16, **{"buffer_bytes": 65536.0, "bytes_per_element": float(WIDTHS[name][0])} | fields)


@over_all
def test_every_table_gives_what_energy_needs_with_a_source(name):
    for width in WIDTHS[name]:
        array = machine(name, bytes_per_element=float(width), output_buffer_bytes=8192.0)
        figures = figures_of(array, name)
        assert set(NEEDED) <= set(figures) <= set(Energy.declarations)
        for each in figures.values():
            assert each.status in STATUSES
            assert "45 nm" in each.source or "40 nm" in each.source
            assert 0 < each.value < 1e-9
        made = with_energy(array, name)
        assert made.has_energy
        assert without_energy(made) == array
        assert layer_cost(LAYER, made).cycles == layer_cost(LAYER, array).cycles


@over_all
def test_a_machine_of_another_width_or_without_a_buffer_is_refused(name):
    other = next(size for size in (1.0, 2.0, 3.0) if size not in WIDTHS[name])
    with pytest.raises(InvalidValueError) as caught:
        with_energy(machine(name, bytes_per_element=other), name)
    assert caught.value.field == "energy"
    assert f"elements of {other:g} byte" in caught.value.reason
    with pytest.raises(InvalidValueError) as caught:
        with_energy(SystolicArray(8, 8, bytes_per_element=float(WIDTHS[name][0])), name)
    assert caught.value.field == "SystolicArray.buffer_bytes"
    assert name in caught.value.allowed


def test_published_points_lie_on_the_textbook_s_line():
    for kilobytes, picojoules, far in ((8, 1.25, 1e-9), (32, 2.5, 0.05), (1024, 12.5, 1e-9)):
        made = with_energy(machine("45nm-textbook", buffer_bytes=1024.0 * kilobytes), "45nm-textbook")
        assert made.joules_per_sram_byte == pytest.approx(picojoules * 1e-12, rel=far)
    beyond = figures_of(machine("45nm-textbook", buffer_bytes=2.0**25), "45nm-textbook")["joules_per_sram_byte"]
    assert beyond.status == "assumed"


def test_a_table_takes_the_place_of_the_figures_of_a_machine():
    own = dataclasses.replace(with_energy(machine("40nm-accelergy"), "40nm-accelergy"), idle_watts=2.0)
    assert with_energy(own, "45nm-textbook") == with_energy(machine("45nm-textbook"), "45nm-textbook")


def test_a_device_without_a_buffer_has_a_memory_of_a_size():
    device = load_device("tpu-v1")
    made = with_energy(device, "45nm-textbook", memory_bytes=2.0**20)
    assert made.joules_per_sram_byte == pytest.approx(12.5e-12)
    assert without_energy(made) == device


def test_a_table_of_the_caller_s():
    figures = dict.fromkeys(NEEDED, Figure(1e-12, "assumed", "a guess"))
    mine = EnergyTable("mine", "5 nm", "none", lambda array: figures, "the same for everything")
    assert with_energy(SystolicArray(8, 8), mine).joules_per_mac == 1e-12
    for bad in ({}, {"joules_per_mac": figures["joules_per_mac"]}, figures | {"rows": 3}, None):
        wrong = EnergyTable("mine", "5 nm", "none", lambda array, bad=bad: bad, "wrong")
        with pytest.raises(InvalidValueError, match="mine"):
            with_energy(SystolicArray(8, 8), wrong)
    with pytest.raises(InvalidValueError, match=r"did you mean '45nm-textbook'"):
        with_energy(SystolicArray(8, 8), "45nm-textbok")


ESTIMATE = ("estimate", "--k", "3", "--c", "20", "--f", "36", "--h", "10", "--w", "12")


def read_settings(command, capsys):
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["settings"]


@over_all
def test_a_command_takes_a_table_and_says_so(name, capsys):
    array = ("--s1", "16", "--s2", "16", "--buffer", "64k", "--energy", name)
    status = main([*ESTIMATE, *array])
    text = capsys.readouterr()
    if 1 not in WIDTHS[name]:
        assert status == 2
        assert "--energy cannot be used" in text.err
        return
    assert status == 0
    assert f"energy of {name}" in text.out
    assert main([*ESTIMATE, *array, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    cost = layer_cost(Conv2d(20, 36, 3, height=10, width=12, padding="same"), with_energy(machine(name), name))
    assert row["energy_joules"] == cost.energy_joules
    settings, figures = read_settings([*ESTIMATE, *array], capsys), figures_of(machine(name), name)
    assert settings["energy"] == name
    assert settings["energy_source"]["node"] == ENERGIES[name].node
    told = settings["energy_source"]["figures"]
    assert {field: (each["value"], each["status"], each["source"]) for field, each in told.items()} == {
        field: tuple(each) for field, each in figures.items()
    }
    assert {each["unit"] for each in told.values()} == {"J", "J/B"}
    assert row["mac_joules"] + row["sram_joules"] + row["dram_joules"] == pytest.approx(cost.energy_joules)
    assert (row["average_watts"], row["energy_delay"]) == (cost.average_watts, cost.energy_delay)


def test_no_energy_is_no_column_and_the_size_of_a_memory_is_asked_for(capsys):
    assert main([*ESTIMATE, "--device", "tpu-v1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert not [name for name in row if "joules" in name]
    assert (
        row["dram_bytes"]
        == layer_cost(Conv2d(20, 36, 3, height=10, width=12, padding="same"), load_device("tpu-v1")).dram_bytes
    )
    assert main([*ESTIMATE, "--s1", "8", "--s2", "8", "--energy", "45nm-textbook"]) == 2
    assert "--buffer is missing" in capsys.readouterr().err


def test_figures_have_a_source_wherever_they_are_told(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_layers("net.csv", Network.of_layers("net", {"a": LAYER}))
    array = ("--s1", "16", "--s2", "16", "--buffer", "64k", "--energy", "45nm-textbook")
    known = read_settings([*ESTIMATE, *array], capsys)["energy_source"]
    assert read_settings(["model", "net.csv", *array], capsys)["energy_source"] == known
    over = ["model", "net.csv", *array[:4], "--buffer", "32k,64k", *array[6:]]
    assert read_settings(over, capsys)["energy_source"] == known
    assert main(["compare", "net.csv", *array, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["array"]["energy_source"] == known
    assert main(["model", "net.csv", *array, "--html", "net.html"]) == 0
    page = (tmp_path / "net.html").read_text(encoding="utf-8")
    for name, each in known["figures"].items():
        assert f"source of {name}" in page
        assert each["status"] in page
    assert "Horowitz" in page
    bare = read_settings(["model", "net.csv", "--device", "gemmini"], capsys)
    assert (bare["energy"], bare["energy_source"]) == (None, None)


def test_a_device_with_figures_of_its_own_says_where_they_are_from(capsys, tmp_path):
    own = {name: Entry(1e-12, unit, "assumed", "a guess") for name, unit in zip(NEEDED, UNITS, strict=True)}
    file = read_device("gemmini")
    path = tmp_path / "mine.toml"
    write_device(path, dataclasses.replace(file, name="mine", entries={**file.entries, **own}))
    source = read_settings([*ESTIMATE, "--device", str(path)], capsys)["energy_source"]
    assert source["source"] == "the device mine"
    assert {name: each["source"] for name, each in source["figures"].items()} == dict.fromkeys(NEEDED, "a guess")


@pytest.mark.parametrize("device", device_names())
def test_what_a_refusal_says_to_do_works(device, capsys):
    """Every device with every table, with a buffer and without: done as the message says, the command works."""

    def run(*options):
        capsys.readouterr()
        status = main([*ESTIMATE, "--device", device, *options])
        return status, capsys.readouterr().err.partition("Error: ")[2]

    for name in ENERGIES:
        for buffer in ((), ("--buffer", "64k"), ("--buffer", "4M")):
            status, error = run("--energy", name, *buffer)
            if status == 0:
                continue
            assert status == 2
            if error.startswith("--buffer is missing"):
                status, error = run("--energy", name, "--buffer", "256k")
            if status and "buffer of at most 1 MiB" in error:
                assert run("--energy", "45nm-textbook", *buffer)[0] == 0
                status, error = run("--energy", name, "--buffer", "1M")
            if status:
                assert error.startswith("--energy cannot be used")
                others = [other for other in ENERGIES if re.search(rf"{other}(?!-)", error)]
                assert others
                for other in others:
                    assert run("--energy", other, "--buffer", "256k")[0] == 0


def test_a_device_with_its_own_model_of_memory_takes_a_buffer_for_the_energy_alone(capsys):
    device = ("--device", "gemmini-firesim", "--buffer", "256k")
    assert main([*ESTIMATE, *device, "--energy", "45nm-textbook", "--json"]) == 0
    text = capsys.readouterr()
    assert "--buffer is for --energy alone on gemmini-firesim: " in text.err
    document = json.loads(text.out)
    (row,), settings = document["rows"], document["settings"]
    assert settings["energy_source"]["memory_bytes"] == 2.0**18
    layer = Conv2d(20, 36, 3, height=10, width=12, padding="same")
    plain = layer_cost(layer, load_device("gemmini-firesim"))
    assert (row["cycles"], row["dram_bytes"]) == (plain.cycles, plain.dram_bytes)
    assert row["energy_joules"] > 0
    assert main([*ESTIMATE, *device]) == 2
    assert "two models of the same memory" in capsys.readouterr().err


def test_several_sizes_of_a_buffer_have_no_effect_on_such_a_device(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_layers("net.csv", Network.of_layers("net", {"a": LAYER}))
    machine = ("--device", "gemmini-firesim", "--energy", "45nm-textbook", "--buffer")
    for command in (("model", "net.csv"), ("sweep", "net.csv", "--rows", "16", "--cols", "16")):
        assert main([*command, *machine, "64k,256k"]) == 2
        message = capsys.readouterr().err
        assert "--buffer cannot be used" in message
        assert "one size" in message
        assert main([*command, *machine, "256k"]) == 0
