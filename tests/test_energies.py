"""Named tables of energy figures: what they hold, what they need, and that results say where a figure is from."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hwcost import Conv2d, InvalidValueError, SystolicArray, layer_cost, load_device
from hwcost.cli import main
from hwcost.devices import STATUSES
from hwcost.machine import Energy
from hwcost.machine.energies import ENERGIES, EnergyTable, Figure, figures_of, with_energy, without_energy
from hwcost.machine.energy import NEEDED

LAYER = Conv2d(20, 36, 3, height=10, width=12, padding=1)
WIDTHS = {"45nm-textbook": (1, 2, 4), "45nm-textbook-fp": (2, 4), "40nm-accelergy": (1,)}
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
    assert caught.value.field == "SystolicArray.bytes_per_element"
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
    with pytest.raises(InvalidValueError, match=r"45nm-textbook.*did you mean"):
        with_energy(SystolicArray(8, 8), "45nm-textbok")


ESTIMATE = ("estimate", "--k", "3", "--c", "20", "--f", "36", "--h", "10", "--w", "12")


@over_all
def test_a_command_takes_a_table_and_says_so(name, capsys):
    array = ("--s1", "16", "--s2", "16", "--buffer", "64k", "--energy", name)
    status = main([*ESTIMATE, *array])
    text = capsys.readouterr()
    if 1 not in WIDTHS[name]:
        assert status == 2
        assert "bytes_per_element" in text.err
        return
    assert status == 0
    assert f"energy of {name}" in text.out
    assert main([*ESTIMATE, *array, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    cost = layer_cost(Conv2d(20, 36, 3, height=10, width=12, padding="same"), with_energy(machine(name), name))
    assert row["energy_joules"] == cost.energy_joules
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
