"""Bytes and joules of a sweep: those of every array alone, and a front of time, PEs and energy."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from hwcost import Conv2d, InvalidValueError, Linear, Network, SystolicArray, network_cost
from hwcost.importers.lists import write_layers
from hwcost.machine.energies import with_energy
from hwcost.sweep import figures_of, pareto_front, sweep

LAYERS = {"conv": Conv2d(12, 40, 3, height=14, width=14, padding=1), "fc": Linear(400, 120)}
BUFFERED = SystolicArray(1, 1, buffer_bytes=16384.0, dram_bytes_per_s=4e9)
BASE = with_energy(BUFFERED, "45nm-textbook")
SPACE = {"rows": [4, 8, 12, 32], "cols": [4, 8, 16], "dataflows": ["ws", "os"]}


def test_figures_are_those_of_each_array(tmp_path):
    found = sweep(LAYERS, base=BASE, keep=tmp_path / "chunks", chunk=5, **SPACE)
    again = sweep(LAYERS, base=BASE, keep=tmp_path / "chunks", chunk=5, **SPACE)
    names = ("dram_bytes", "sram_bytes", "energy_joules", "average_watts", "energy_delay")
    assert (found.columns[-5:], len(found)) == (names, 24)
    assert found.average_watts.tolist() == (found.energy_joules / found.seconds).tolist()
    assert found.energy_delay.tolist() == (found.energy_joules * found.seconds).tolist()
    for index, point in enumerate(found.points()):
        total = network_cost(LAYERS, found.array(index)).total
        assert point["cycles"] == total.cycles
        for name in ("dram_bytes", "sram_bytes", "energy_joules"):
            assert point[name] == getattr(total, name)
    for name in ("cycles", "dram_bytes", "sram_bytes", "energy_joules"):
        assert np.array_equal(getattr(found, name), getattr(again, name))
    least = found.most_frugal()
    assert found.energy_joules[least] == found.energy_joules.min()
    assert set(found.as_dict()["columns"]) == set(found.columns)


def test_a_machine_without_buffers_or_figures_has_fewer_columns():
    assert figures_of(SystolicArray(8, 8)) == ("cycles",)
    assert figures_of(BUFFERED) == ("cycles", "dram_bytes", "sram_bytes")
    bare = sweep(LAYERS, rows=[4, 8], cols=8)
    assert (bare.dram_bytes, bare.energy_joules) == (None, None)
    with pytest.raises(InvalidValueError, match="no figures of energy"):
        bare.most_frugal()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("span", [3, 9, 1000])
def test_no_point_of_the_front_is_dominated_and_no_other_is_missing(seed, span):
    rng = np.random.default_rng(seed)
    cycles, pes, energy = (rng.integers(1, span + 1, 300) for _ in range(3))
    points = np.stack([cycles, pes, energy], axis=1)
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    expected = np.flatnonzero(~(no_worse & better).any(axis=0))
    front = pareto_front(cycles, pes, energy.astype(float))
    assert sorted(front.tolist()) == expected.tolist()
    assert (np.diff(pes[front]) >= 0).all()


def test_the_command_prints_them(hwcost, networks):
    write_layers("net.csv", Network.of_layers("net", LAYERS))
    space = ("--rows", "4,8,32", "--cols", "4,16", "--buffer", "16k", "--energy", "45nm-textbook")
    code, out, err = hwcost("sweep", "net.csv", *space)
    assert (code, err) == (0, "")
    assert "on the Pareto front of time, utilization, PEs and energy" in out
    assert "most frugal" in out
    assert "energy[uJ]" in out
    document = json.loads(hwcost("sweep", "net.csv", *space, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(hwcost("sweep", "net.csv", *space, "--csv")[1])))
    assert [float(row["energy_joules"]) for row in rows] == [row["energy_joules"] for row in document["rows"]]
    assert {row["on_front"] for row in document["rows"]} == {True, False}
    code, _, err = hwcost("sweep", "net.csv", "--rows", "4", "--cols", "4", "--buffer", "20")
    assert code == 2
    assert err.startswith("Error: --buffer")
