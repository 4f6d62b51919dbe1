"""Tiles of outputs and tables of columns against loops, and what they do to widths."""

from __future__ import annotations

import dataclasses
import itertools
import math

import machines
import numpy as np
import pytest
import tiled
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from trying import tried

from hwcost import RELAXATIONS, Conv2d, InvalidValueError, Linear, SystolicArray, layer_cost
from hwcost.devices import read_device, write_device
from hwcost.devices.values import DeviceFile, Entry
from hwcost.machine.terms import START_UP
from hwcost.model.breakdown import layer_breakdown
from hwcost.model.formula import price
from hwcost.model.layout import Work, lay_out, tabled

TILES = machines.RICH["tiles"]
WIDTHS = st.sampled_from([1, 3, 5, 8, 12, 15, 16, 24, 31, 40, 64, 100])
TABLES = st.lists(st.sampled_from([0.5, 1.0, 1.25, 2.0, 3.0]), min_size=1, max_size=9).map(tuple)


@given(
    c=WIDTHS, n=WIDTHS, kernel=st.sampled_from([1, 3, 5]), size=st.integers(1, 33), stride=st.sampled_from([1, 2]),
    depthwise=st.booleans(), memory=st.sampled_from([4000.0, 20480.0, 40960.0]),
    bank=st.sampled_from([None, 1500.0, 8192.0]), patch=st.sampled_from([(1, 1), (1, 2), (2, 2), (3, 2)]),
)  # fmt: skip
@tried(60)
def test_the_tile_is_the_best_of_all_that_fit(c, n, kernel, size, stride, depthwise, memory, bank, patch):
    array = dataclasses.replace(
        TILES, tile_bytes=memory, bank_bytes=bank, patch_height=patch[0], patch_width=patch[1]
    )  # fmt: skip
    groups, filters = (c, c) if depthwise else (1, n)
    layer = Conv2d(c, filters, kernel, size, size, stride=stride, padding="same", groups=groups)
    expected = tiled.tiled(layer, array)
    if expected is None:  # not even the smallest fits
        return
    (gemm,) = layer.gemms()
    tile = Work.of(gemm, array).tile
    (out, _), (high, wide, deep) = tiled.sides(layer), expected.tile
    columns = filters if depthwise else n
    assert (tile.height, tile.width, tile.filters) == (min(high, out), min(wide, out), min(deep, columns))
    assert (tile.read_run, tile.write_run, tile.positions) == (expected.read_run, expected.write_run, expected.uses)
    assert tile.readings * c * size * size == pytest.approx(max(expected.inputs, c * size * size))


def test_more_filters_can_be_faster():
    cycles = {n: layer_cost(Conv2d(32, n, 3, 28, 28, padding="same"), TILES).cycles for n in (15, 16)}
    assert cycles[16] < cycles[15]


def test_the_tile_of_a_stack_is_that_of_each():
    layers = [Conv2d(c, n, 3, 20, 20, padding="same") for c, n in itertools.product((3, 16, 50), (8, 24, 90))]
    sizes = np.array([[layer.in_channels, layer.out_channels] for layer in layers])
    stacked = layer_cost(Conv2d(sizes[:, 0], sizes[:, 1], 3, 20, 20, padding="same"), TILES).cycles
    assert stacked == pytest.approx([layer_cost(layer, TILES).cycles for layer in layers])


def test_channels_of_a_depthwise_convolution_lie_along_the_columns():
    layer = Conv2d(20, 20, 3, 6, 6, padding="same", groups=20)
    array = SystolicArray(16, 8, depthwise_columns=True)
    assert layer_cost(layer, array).cycles == 36 * math.ceil(20 / 8)
    assert layer_cost(layer, SystolicArray(16, 8)).cycles == 36 * 20
    assert layer_cost(Conv2d(20, 20, 3, 6, 6, padding="same", groups=4), array).cycles == 36 * 4 * math.ceil(45 / 16)
    assert layer_breakdown(layer, array).pe_cycles == layer_cost(layer, array).pe_cycles


@given(channels=st.integers(1, 70), kernel=st.sampled_from([1, 3, 5]), at_once=st.integers(1, 9))
def test_positions_share_the_rows_where_that_takes_fewer_folds(channels, kernel, at_once):
    alone = shared = 0
    for _ in range(kernel * kernel):
        alone += len(range(0, channels, 16))
    for start in range(0, kernel * kernel, at_once):
        together = min(at_once, kernel * kernel)
        shared += len(range(0, together * channels, 16))
        assert start < kernel * kernel
    array = SystolicArray(16, 8, lowering="kernel-position", positions_at_once=at_once)
    layer = Conv2d(channels, 8, kernel, 4, 4, padding="same")
    assert layer_cost(layer, array).cycles == pytest.approx(16 * min(alone, shared))


@given(height=st.integers(1, 5), width=st.integers(1, 5), size=st.integers(1, 20))
def test_outputs_are_padded_to_whole_patches(height, width, size):
    positions = sum(height * width for _ in itertools.product(range(0, size, height), range(0, size, width)))
    array = SystolicArray(8, 8, patch_height=height, patch_width=width)
    assert layer_cost(Conv2d(8, 8, 1, size, size), array).cycles == positions


# ---------------------------------------------------------------- tables


@given(table=TABLES, extent=st.integers(1, 40))
def test_a_table_is_walked(table, extent):
    folds, left = 0.0, extent
    while left > len(table):
        folds, left = folds + table[-1], left - len(table)
    folds += table[left - 1]
    array = SystolicArray(8, 4, col_table=table)
    assert lay_out(Linear(8, extent).gemms()[0], array).along_cols == pytest.approx(folds)
    assert tabled(np.array([extent]), table)[0] == pytest.approx(folds)


def test_a_table_of_ones_is_the_ceiling():
    widths = np.arange(1, 50)
    table = layer_cost(Linear(30, widths, batch=4), SystolicArray(8, 8, col_table=(1.0,) * 8))
    assert table.cycles.tolist() == layer_cost(Linear(30, widths, batch=4), SystolicArray(8, 8)).cycles.tolist()


@pytest.mark.parametrize("relaxation", [name for name in RELAXATIONS if name != "exact"])
def test_a_table_has_the_gradient_of_its_relaxation(relaxation):
    torch = pytest.importorskip("torch")
    width = torch.tensor([5.3, 20.7], dtype=torch.float64, requires_grad=True)
    table = (1.0,) * 4 + (3.0,) * 4 + (2.0,) * 4
    found = tabled(width, table, RELAXATIONS[relaxation])
    (slope,) = torch.autograd.grad(found.sum(), width)
    assert torch.isfinite(slope).all()
    if relaxation == "straight-through":
        assert found.tolist() == [3.0, 2.0 + 2.0]
        assert slope[1].item() == pytest.approx(2 / 12)


@pytest.mark.parametrize("bad", [(), (1, 0), (1, math.inf), ("1",), (True,), 3, None], ids=repr)
def test_what_is_no_table_is_refused(bad):
    if bad == ():
        assert SystolicArray(8, 8, col_table=()) == SystolicArray(8, 8)
        return
    if bad == 3:
        assert SystolicArray(8, 8, col_table=3).col_table == (3.0,)
        return
    with refused("SystolicArray.col_table"):
        SystolicArray(8, 8, col_table=bad)


def test_a_device_file_holds_a_table(tmp_path):
    values = {"rows": 8, "cols": 4, "clock_hz": 1e9, "dataflow": "ws", "fold_timing": "ideal", "col_table": [1, 2.5, 2]}
    units = {"rows": "PE", "cols": "PE", "clock_hz": "Hz", "col_table": "1"}
    entries = {name: Entry(value, units.get(name, ""), "assumed", "a test") for name, value in values.items()}
    pytest.importorskip("tomli_w")
    device = DeviceFile("table", "a table", (), entries)
    write_device(tmp_path / "table.toml", device)
    assert read_device(tmp_path / "table.toml") == device
    assert device.array.col_table == (1.0, 2.5, 2.0)
    with pytest.raises(InvalidValueError):
        Entry([1.0, -2.0], "1", "assumed", "a test")


@pytest.mark.parametrize("bank", [512.0, 1024.0, 4096.0])
@pytest.mark.parametrize("memory", [8192.0, 32768.0])
def test_tiles_of_arrays_are_those_of_numbers(memory, bank):
    layer = Conv2d(64, 64, 3, height=28, width=28, padding=1)
    one, swept = (
        layer_cost(layer, SystolicArray(8, 8, dram_bytes_per_s=1e9, tile_bytes=size, bank_bytes=bank)).cycles
        for size in (memory, np.array([memory, memory]))
    )
    assert swept.tolist() == [one, one]


def test_a_patch_of_one_pads_nothing():
    for layer in (Linear(8, 8, batch=5), Conv2d(3, 4, 3, height=9, width=9, batch=2)):
        bare = layer_cost(layer, SystolicArray(8, 8)).cycles
        swept = layer_cost(layer, SystolicArray(8, 8, patch_height=np.array([1, 1]))).cycles
        assert swept.tolist() == [bare, bare]


@pytest.mark.parametrize(("size", "tiles"), [(28, "several"), (2, "one")])
def test_weights_ahead_leave_the_start_up_without_those_of_the_first_tile(size, tiles):
    layer = Conv2d(16, 40, 3, size, size, padding="same")
    (gemm,) = layer.gemms()
    plain, ahead = (price(gemm, dataclasses.replace(TILES, weights_ahead=is_ahead)) for is_ahead in (False, True))
    tile = plain.work.tile
    first = 9 * 16 * tile.first if tiles == "several" else 0
    assert (tile.positions > 1) is (tiles == "several")
    saved = plain.overhead[START_UP] - ahead.overhead[START_UP]
    assert saved == pytest.approx(first / TILES.weight_bytes_per_s * TILES.clock_hz)
    assert ahead.memory == plain.memory
