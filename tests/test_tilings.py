"""Tilings: the least that a product moves through buffers, against a search over everything and other tools."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from common.every_tiling import case_of, least_bytes, least_of_classes
from common.measured_data import DATA
from common.traffic_data import (
    ACCELFORGE,
    CUT_TO_WORDS,
    TIMELOOP,
    ZIGZAG,
    accelforge_bytes,
    accelforge_machine,
    layer_of,
    rows_of,
    timeloop_layer,
    timeloop_machine,
    zigzag_bytes,
    zigzag_machine,
)
from hwcost import EXACT, RELAXATIONS, Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, layer_cost
from hwcost.machine.array import IdleFieldError
from hwcost.model import least
from hwcost.model.least import tiling_of
from hwcost.model.tilings import TILINGS
from hwcost.network.pricing import network_cost


def bytes_of(gemm, array, relaxation=EXACT):
    """All bytes that cross the memory but those of complete outputs."""
    found = tiling_of(gemm, array, relaxation)
    weights = gemm.elements("weights") + found.weights_again
    return found.inputs + found.inputs_again + weights + array.partial_bytes * found.partials


def random_product(rng):
    if rng.random() < 0.7:
        return Gemm(*(int(np.exp(rng.uniform(np.log(3), np.log(120)))) for _ in "mnk"))
    channels, filters = (int(np.exp(rng.uniform(np.log(3), np.log(48)))) for _ in range(2))
    kernel, side = int(rng.choice([3, 5])), int(rng.integers(5, 16))
    stride, batch = int(rng.choice([1, 2])), int(rng.choice([1, 1, 2, 3, 5]))
    return Conv2d(channels, filters, kernel, height=side, width=side, stride=stride, batch=batch).gemms()[0]


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_no_tiling_of_any_order_moves_less(flow):
    rng = np.random.default_rng(3)
    for _ in range(12):
        gemm, side = random_product(rng), int(rng.choice([4, 8]))
        room = float(int(np.exp(rng.uniform(np.log(900), np.log(9000)))))
        array = SystolicArray(side, side, dataflow=flow, buffer_bytes=room, reload_weight=0.0)
        expected = least_bytes(case_of(gemm, array))
        if np.isinf(expected):
            with pytest.raises(InvalidValueError, match="no tile fits"):
                tiling_of(gemm, array, EXACT)
        else:
            assert bytes_of(gemm, array) == pytest.approx(expected, rel=1e-12), (gemm, array)


def many_units(rng, side):
    """A product that is 40 to 400 times what an array takes of each letter."""
    rows, filters, channels = (int(np.exp(rng.uniform(np.log(40), np.log(400)))) for _ in range(3))
    if rng.random() < 0.6:
        return Gemm(rows * side, filters * side, channels * side)
    kernel, stride, width = int(rng.choice([3, 5])), int(rng.choice([1, 2])), int(rng.integers(7, 60))
    batch = int(np.exp(rng.uniform(-1, np.log(40)))) or 1
    rows = max(kernel, rows * stride // batch)
    return Conv2d(channels, filters, kernel, height=rows, width=width, stride=stride, batch=batch).gemms()[0]


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_products_of_many_units_in_small_buffers_move_hardly_more_than_the_least(flow):
    rng = np.random.default_rng(4)
    for _ in range(60):
        side = int(rng.choice([4, 8, 16]))
        gemm = many_units(rng, side)
        array = SystolicArray(side, side, dataflow=flow, buffer_bytes=1.0, reload_weight=0.0)
        case = case_of(gemm, array)
        rows, filters, channels = case.granules
        lines = (
            math.ceil(rows / case.of_image) * case.height
            if rows > case.of_image
            else (rows - 1) * case.step + case.reach
        )
        one = case.width * channels * lines + case.sum_at_once * filters
        room = float(int((one + 4 * case.positions * rows * filters) * np.exp(rng.uniform(-0.05, 4))))
        array = dataclasses.replace(array, buffer_bytes=room)
        expected = least_of_classes(case._replace(room=room))
        if np.isinf(expected):
            with pytest.raises(InvalidValueError, match="no tile fits"):
                tiling_of(gemm, array, EXACT)
        else:
            exact = bytes_of(gemm, array)
            assert expected * (1 - 1e-12) <= exact <= expected * 1.07, (gemm, array)
            assert exact / 4 < bytes_of(gemm, array, RELAXATIONS["linear"]) < exact * 1.5, (gemm, array)


def test_the_classes_hold_the_least_of_everything():
    rng = np.random.default_rng(5)
    for flow in ("ws", "os", "is"):
        for _ in range(3):
            array = SystolicArray(8, 8, dataflow=flow, buffer_bytes=float(rng.integers(900, 9000)))
            case = case_of(random_product(rng), array)
            assert least_of_classes(case) == least_bytes(case)


def test_tiles_of_one_unit_are_tried():
    array = SystolicArray(16, 16, dataflow="os", buffer_bytes=1163.0)  # room for 16 x 16 sums and their operands: 1056
    found = layer_cost(Linear(237, 423, batch=1348), array)
    assert found.dram_bytes == 1348 * 237 * 27 + 237 * 423 * 85 + 1348 * 423
    array = SystolicArray(32, 32, buffer_bytes=10291.0)
    assert layer_cost(Conv2d(165, 34, 3, height=61, width=61, padding=1), array).dram_bytes == 5_028_169


def test_a_convolution_of_one_pixel_is_a_product_without_the_pixels_between_strides():
    array = SystolicArray(16, 16, buffer_bytes=8192.0)
    strided = Conv2d(128, 256, 1, height=27, width=27, stride=2).gemms()[0]
    plain = Gemm(m=14 * 14, n=256, k=128)
    assert bytes_of(strided, array) == bytes_of(plain, array)
    assert tiling_of(strided, array, EXACT).inputs == 14 * 14 * 128


def test_inputs_of_a_convolution_are_read_again_where_strips_overlap():
    layer = Conv2d(128, 128, 3, height=30, width=30)
    found = tiling_of(layer.gemms()[0], SystolicArray(16, 16, buffer_bytes=65_536.0), EXACT)
    assert (TILINGS[found.row].stays, found.m) == ("inputs", 3)
    assert found.inputs + found.inputs_again == 128 * 30 * (30 + 2 * 2)


sizes = st.integers(1, 300)


@given(m=sizes, n=sizes, k=sizes, room=st.floats(2500, 50_000), more=st.floats(1, 3), doubled=st.booleans())
@tried(40)
def test_a_larger_buffer_never_moves_more(m, n, k, room, more, doubled):
    gemm = Gemm(m=m, n=n, k=k)
    small = SystolicArray(8, 8, buffer_bytes=room, double_buffered=doubled, reload_weight=0.0)
    large = dataclasses.replace(small, buffer_bytes=room * more)
    all_once = gemm.elements("weights") + gemm.elements("inputs")
    # counts above 32 are not all tried
    assert all_once <= bytes_of(gemm, large) <= bytes_of(gemm, small) * 1.1
    assert tiling_of(gemm, small, EXACT).room <= room * (1 + 1e-6)
    if not doubled:
        assert bytes_of(gemm, small) <= bytes_of(gemm, dataclasses.replace(small, double_buffered=True)) * 1.1


@given(
    layer=st.builds(
        Conv2d, st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 5]), height=st.integers(5, 12),
        width=st.integers(5, 12), stride=st.integers(1, 2), batch=st.integers(1, 9),
    ),
    flow=st.sampled_from(["ws", "os", "is"]), rooms=st.tuples(*[st.integers(200, 20_000)] * 2),
    apart=st.sampled_from([None, "weight_buffer_bytes", "input_buffer_bytes", "output_buffer_bytes"]),
    doubled=st.booleans(),
)  # fmt: skip
@tried(150)
def test_tiles_fit_and_cover_all_images(layer, flow, rooms, apart, doubled):
    fields = {"buffer_bytes": float(rooms[0])} | ({apart: float(rooms[1])} if apart else {})
    array = SystolicArray(4, 8, dataflow=flow, double_buffered=doubled, **fields)
    gemm = layer.gemms()[0]
    found = tiling_of(gemm, array, EXACT, must_fit=False)
    if np.isfinite(found.weighed):
        assert found.room <= sum(fields.values()) * (1 + 1e-9)
        # tiles have whole images, or each image is cut in as many
        assert found.m <= layer.batch or found.m % layer.batch == 0 or layer.kernel_size == (1, 1)


def test_tiles_of_several_images_take_whole_ones():
    layer = Conv2d(128, 256, 3, height=28, width=28, stride=2, padding=1, batch=8)
    array = SystolicArray(16, 16, buffer_bytes=131_072.0)  # two images take 215.3 kB, so weights stay instead
    found = tiling_of(layer.gemms()[0], array, EXACT)
    assert (found.m, found.n, layer_cost(layer, array).dram_bytes) == (1, 3, 3_104_768)
    assert found.room <= array.buffer_bytes
    gemm = Conv2d(8, 31, 3, height=9, width=9, batch=3).gemms()[0]
    assert bytes_of(gemm, SystolicArray(4, 4, dataflow="is", buffer_bytes=1258.0)) == 8064


def test_what_is_held_as_a_whole_is_held_once():
    gemm = Gemm(m=64, n=64, k=64)
    room = 64 * 64 + 2 * (64 * 8 + 4 * 8 * 64)  # all inputs; weights and sums of 8 filters, twice
    array = SystolicArray(8, 8, buffer_bytes=float(room), double_buffered=True, reload_weight=0.0)
    assert bytes_of(gemm, array) == 2 * 64 * 64


def test_operands_with_buffers_of_their_own_do_not_share_room():
    gemm = Gemm(m=512, n=512, k=512)
    apart = SystolicArray(16, 16, buffer_bytes=2e4, output_buffer_bytes=4e4)
    together = SystolicArray(16, 16, buffer_bytes=6e4)
    assert bytes_of(gemm, apart) > bytes_of(gemm, together)
    assert bytes_of(gemm, SystolicArray(16, 16, buffer_bytes=6e4, output_buffer_bytes=6e4)) < bytes_of(gemm, apart)
    endless = SystolicArray(16, 16, buffer_bytes=4e4, output_buffer_bytes=1e12)
    assert bytes_of(gemm, endless) < bytes_of(gemm, apart)
    assert tiling_of(gemm, endless, EXACT).partials == 0


LAYERS = [
    Conv2d(64, 128, 3, height=30, width=30), Linear(384, 1152, batch=197), MatMul(m=197, n=197, k=64, batch=6),
    Conv2d(32, 32, 3, height=28, width=28, groups=32, padding="same"),
]  # fmt: skip


@pytest.mark.parametrize("fields", [{}, {"double_buffered": True}, {"weight_buffer_bytes": 9e3}])
def test_arrays_are_cut_as_numbers_are(fields):
    array = SystolicArray(16, 16, buffer_bytes=40_000.0, dram_bytes_per_s=8e9, **fields)
    report = network_cost({str(i): layer for i, layer in enumerate(LAYERS)}, array)
    batches = np.array([1, 2, 3])
    stacked = network_cost([dataclasses.replace(LAYERS[1], batch=197 * batches), *LAYERS[2:3]], array)
    for i, layer in enumerate(LAYERS):
        assert report.layers[str(i)] == layer_cost(layer, array)
    for i, times in enumerate(batches):
        one = layer_cost(dataclasses.replace(LAYERS[1], batch=int(197 * times)), array)
        assert np.asarray(stacked.layers["0"].dram_bytes)[i] == one.dram_bytes
        assert np.asarray(stacked.layers["0"].cycles)[i] == pytest.approx(one.cycles, rel=1e-12)


@pytest.mark.parametrize("times", [1, 2, 7])
def test_equal_problems_are_cut_once_and_alike(monkeypatch, times):
    rng = np.random.default_rng(0)
    m, n, k = (rng.integers(1, 400, 30) for _ in range(3))
    rooms = rng.choice([6e3, 2e4, 1e5], 30)
    seen = []
    exactly = least._exactly
    monkeypatch.setattr(least, "_exactly", lambda given: seen.append(max(map(np.size, given.sizes))) or exactly(given))
    once = tiling_of(Gemm(m, n, k), SystolicArray(8, 8, buffer_bytes=rooms), EXACT)
    shape = (times, 30)
    sizes = [np.broadcast_to(size, shape).copy() for size in (m, n, k)]
    several = tiling_of(Gemm(*sizes), SystolicArray(8, 8, buffer_bytes=rooms), EXACT)
    assert sum(seen) == 60
    for one, more in zip(once, several, strict=True):
        assert np.array_equal(np.broadcast_to(one, shape), more)


def test_tensors_are_cut_as_numbers_are():
    torch = pytest.importorskip("torch")
    array = SystolicArray(16, 16, buffer_bytes=30_000.0)
    sizes = torch.tensor([60.0, 200.0, 700.0], dtype=torch.float64)
    found = layer_cost(Linear(384, sizes, batch=197), array).dram_bytes
    assert found.tolist() == [layer_cost(Linear(384, int(n), batch=197), array).dram_bytes for n in sizes]


def test_a_shared_operand_is_cut_as_one_product():
    array = SystolicArray(16, 16, buffer_bytes=65536.0)
    shared = MatMul(m=1, n=512, k=128, batch=32, weights_shared_by=4)
    merged = MatMul(m=4, n=512, k=128, batch=8)
    assert layer_cost(shared, array).dram_bytes == layer_cost(merged, array).dram_bytes


def test_gradients_have_the_sign_and_size_of_a_secant():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    m, n, k = (np.exp(rng.uniform(np.log(16), np.log(2000), 200)).astype(int) for _ in range(3))
    array = SystolicArray(16, 16, buffer_bytes=65536.0)

    def total(gemm, relaxation):
        return bytes_of(gemm, array, relaxation) + gemm.elements("outputs")

    for index in range(3):
        soft = [torch.tensor(size, dtype=torch.float64, requires_grad=True) for size in (m, n, k)]
        total(Gemm(*soft), RELAXATIONS["linear"]).sum().backward()
        low, high = [m, n, k], [m, n, k]
        low[index], high[index] = ((low[index] * factor).round().astype(int) for factor in (0.75, 1.25))
        secant = (total(Gemm(*high), EXACT) - total(Gemm(*low), EXACT)) / (high[index] - low[index])
        ratio = soft[index].grad.numpy() / secant
        assert (ratio > 0).all()
        assert np.mean((ratio > 0.5) & (ratio < 2)) >= 0.95


def test_a_larger_buffer_has_a_gradient_too():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    m, n, k = (np.exp(rng.uniform(np.log(200), np.log(2000), 100)).astype(int) for _ in range(3))
    gemm, few, many = Gemm(m, n, k), np.full(100, 20_000.0), np.full(100, 60_000.0)
    low, high = (bytes_of(gemm, SystolicArray(16, 16, buffer_bytes=rooms)) for rooms in (few, many))
    for relaxation in ("linear", "shifted", "straight-through"):
        room = torch.full((100,), 40_000.0, dtype=torch.float64, requires_grad=True)
        moved = bytes_of(
            gemm.map(lambda size: torch.tensor(np.array(size, float)) if np.ndim(size) else size),
            SystolicArray(16, 16, buffer_bytes=room),
            RELAXATIONS[relaxation],
        )
        moved.sum().backward()
        assert np.mean(room.grad.numpy()[high < low] < 0) > 0.9
        assert (room.grad <= 1e-9).numpy().mean() > 0.95
    gemm, room = Gemm(m=512, n=512, k=512), torch.tensor(40_000.0, dtype=torch.float64)
    exact = bytes_of(gemm, SystolicArray(16, 16, buffer_bytes=40_000.0))
    through = bytes_of(gemm, SystolicArray(16, 16, buffer_bytes=room), RELAXATIONS["straight-through"])
    assert float(through) == pytest.approx(exact, rel=1e-12)


def test_buffers_and_other_rules_of_reading_again_exclude_each_other():
    for fields in ({"rereads_inputs": True}, {"filter_block": 8.0}, {"tile_bytes": 5e4}):
        with pytest.raises(IdleFieldError, match=next(iter(fields))):
            SystolicArray(8, 8, dram_bytes_per_s=1e9, buffer_bytes=5e4, **fields)


# ---------------------------------------------------------------- other tools


def rows_of_file(name):
    rows = rows_of(DATA, name)
    if not rows:
        pytest.skip("needs the reference data")
    return rows


def test_never_more_bytes_than_accelforge_and_its_energy():
    for row in rows_of_file(ACCELFORGE):
        cost = layer_cost(layer_of(row), accelforge_machine(row))
        assert cost.dram_bytes <= 1.001 * accelforge_bytes(row), row["name"]
        if cost.dram_bytes > 0.999 * accelforge_bytes(row) and "197" not in (row["oh"], row["c"], row["n"]):
            assert cost.energy_joules == pytest.approx(float(row["energy_pj"]) * 1e-12, rel=0.01), row["name"]
            assert cost.cycles == pytest.approx(float(row["latency_cycles"]), rel=0.015), row["name"]


def test_hardly_more_bytes_than_zigzag():
    for row in rows_of_file(ZIGZAG):
        ratio = layer_cost(layer_of(row), zigzag_machine(row)).dram_bytes / zigzag_bytes(row)
        assert ratio <= (1.0066 if row["name"] in CUT_TO_WORDS else 1.006), row["name"]


def test_no_more_energy_than_timeloop_for_its_mappings():
    for row in rows_of_file(TIMELOOP):
        energy = layer_cost(timeloop_layer(row), timeloop_machine(row)).energy_joules
        assert energy <= 1.01e-6 * float(row["timeloop_energy_uJ"]), row


def test_padding_is_not_read():
    array = SystolicArray(16, 16, buffer_bytes=1e6)
    assert layer_cost(Conv2d(8, 8, 1, height=4, width=4, padding=1), array).dram_input_bytes == 8 * 4 * 4


def test_what_arrives_again_is_loaded_again():
    gemm = Gemm(m=512, n=512, k=4096)
    for flow in ("ws", "is", "os"):
        cost = layer_cost(gemm, SystolicArray(8, 8, dataflow=flow, buffer_bytes=1e4))
        for operand in ("weight", "input"):
            arrived = getattr(cost, f"dram_{operand}_bytes")
            assert getattr(cost, f"sram_{operand}_bytes") >= 2 * arrived  # written once, and read at least once
