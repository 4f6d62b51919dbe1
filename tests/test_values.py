"""Public values are values: they pickle, copy and compare, tables and their rows included."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
from nets import LENET

import hwcost
import nas_plugin
from hwcost import Conv2d, Gemm, Linear, MatMul, Network, SystolicArray, advise, layer_cost, load_device, network_cost
from hwcost.arrays import Table
from hwcost.calibration import Measurement
from hwcost.devices import device_names, read_device
from hwcost.model.breakdown import layer_breakdown
from hwcost.reports import summarise
from hwcost.sweep import sweep

ARRAY = SystolicArray(8, 8, dram_bytes_per_s=1e9)
NETWORK = Network.of_layers("lenet", LENET)
ROOMS = ("hwcost", "hwcost.calibration", "hwcost.devices", "hwcost.machine", "hwcost.sweep", "nas_plugin")


def tables():
    """The public tables by name."""
    for room in map(importlib.import_module, ROOMS):
        yield from ((f"{room.__name__}.{n}", t) for n in room.__all__ if isinstance(t := getattr(room, n), Mapping))


TABLES = dict(tables())
ROWS = {f"{table}[{name}]": row for table, rows in TABLES.items() for name, row in rows.items()}
VALUES = {
    "array": ARRAY,
    "array of several": SystolicArray(np.array([8, 16]), 8),
    "convolution": Conv2d(3, 8, 3, height=8, width=8, padding="same"),
    "layer of several": Linear(np.array([3, 4]), 5),
    "products": (Gemm(2, 3, 4), MatMul(2, 3, 4)),
    "relaxation with options": hwcost.RELAXATIONS["shifted"].with_options(temperature=40.0),
    "network": NETWORK,
    "space": NETWORK.space({next(iter(NETWORK.widths)): (4, 8)}),
    "operation": NETWORK.operations["conv1"],
    "cost": layer_cost(Linear(4, np.array([3, 40])), ARRAY),
    "breakdown": layer_breakdown(Linear(4, 4), ARRAY),
    "report": network_cost(NETWORK, ARRAY),
    "summary": summarise(NETWORK, ARRAY),
    "advice": advise(NETWORK, ARRAY),
    "advice on a budget": advise(NETWORK, ARRAY, budget=0.8),
    "sweep": sweep(NETWORK, rows=[8, 16], cols=8),
    "measurement": Measurement((Linear(4, 4),), 0.1, device={"rows": 8}),
    "search settings": nas_plugin.SearchSettings("images"),
    **{f"device {name}": read_device(name) for name in device_names()},
    **{f"array of {name}": load_device(name) for name in device_names()},
}


@pytest.mark.parametrize("value", (TABLES | ROWS | VALUES).values(), ids=(TABLES | ROWS | VALUES).keys())
def test_it_pickles_copies_and_compares(value):
    for other in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert type(other) is type(value)
        assert other == value
        assert repr(other) == repr(value)


def test_a_search_space_pickles_and_compares():
    pytest.importorskip("torch")
    arch = nas_plugin.load_arch_def()
    assert pickle.loads(pickle.dumps(arch)) == copy.deepcopy(arch) == arch


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_table_cannot_be_changed(table):
    before = dict(table)
    changes = [
        lambda: table.__setitem__("new", 1),
        lambda: table.__delitem__(next(iter(table))),
        lambda: table.__ior__({"new": 1}),
        lambda: table.update(new=1),
        lambda: table.setdefault("new", 1),
        lambda: table.pop(next(iter(table))),
        table.popitem,
        table.clear,
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert table == before


def test_the_types_of_public_values_are_public():
    for name in ("Advice", "Dataflow", "DeviceFile", "FoldTiming", "Lowering", "Width"):
        assert name in hwcost.__all__
    rows = (hwcost.DATAFLOWS, hwcost.FOLD_TIMINGS, hwcost.LOWERINGS, NETWORK.widths)
    types = (hwcost.Dataflow, hwcost.FoldTiming, hwcost.Lowering, hwcost.Width)
    assert [type(next(iter(table.values()))) for table in rows] == list(types)
    assert isinstance(VALUES["advice"], hwcost.Advice)
    assert isinstance(read_device("gemmini"), hwcost.DeviceFile)


def test_tables_hash_by_content():
    assert hash(Table({"a": 1, "b": 2})) == hash(Table({"b": 2, "a": 1}))
    assert {read_device("gemmini"): 1}[read_device("gemmini")] == 1


def test_a_copied_row_is_the_row():
    """So that an array made on another machine names what ships rather than holding it."""
    dataflow = copy.deepcopy(hwcost.DATAFLOWS["os"])
    assert SystolicArray(8, 8, dataflow=dataflow) == SystolicArray(8, 8, dataflow="os")
    method = copy.deepcopy(nas_plugin.METHODS["darts"])
    assert nas_plugin.SearchSettings("images", method=method).method == "darts"
