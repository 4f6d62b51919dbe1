"""Arrays that share a product: every way to cut it, against a twin that deals out indices one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import twin
from hypothesis import given
from hypothesis import strategies as st
from nets import MIXED
from trying import tried

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    RELAXATIONS,
    Conv2d,
    Gemm,
    InvalidValueError,
    SystolicArray,
    layer_cost,
    load_device,
    network_cost,
)
from hwcost.model.breakdown import layer_breakdown
from hwcost.model.formula import layer_traffic, price
from hwcost.sweep import sweep

over_layers = pytest.mark.parametrize("layer", MIXED.values(), ids=list(MIXED))
machines = st.builds(
    SystolicArray, st.integers(1, 6), st.integers(1, 6), dataflow=st.sampled_from(list(DATAFLOWS)),
    fold_timing=st.sampled_from(list(FOLD_TIMINGS)), arrays=st.integers(1, 7),
)  # fmt: skip
small = st.integers(1, 12)
gemms = st.builds(Gemm, m=small, n=small, k=small, count=st.integers(1, 5))


# ---------------------------------------------------------------- a twin


def ways(gemm, arrays):
    """Every way to deal the indices of one letter to the arrays, one after the other: a list of sizes for each."""
    whole = {letter: getattr(gemm, letter) for letter in ("m", "n", "k", "count")}
    yield "", [whole]
    for letter, extent in whole.items():
        hands = [arrays] if letter != "k" else [p for p in range(2, arrays + 1) if bin(p).count("1") == 1]
        for number in hands:
            yield letter, [{**whole, letter: len(hand)} for hand in twin.dealt(extent, number) if hand]


def elements(sizes, operand):
    """The elements of an operand, one by one."""
    letters = {"weights": "kn", "inputs": "mk", "outputs": "mn"}[operand]
    return sum(1 for _ in itertools.product(*(range(sizes[letter]) for letter in (*letters, "count"))))


def crossing(letter, parts, whole, operand, *, per_array):
    """What crosses a memory: that of every array, that of an operand that is sent to all once, or one part of it."""
    if per_array:
        return max(elements(sizes, operand) for sizes in parts)
    lacks = {"weights": "m", "inputs": "n", "outputs": "k"}[operand]
    if letter == lacks and operand != "outputs":
        return elements(whole, operand)
    return sum(elements(sizes, operand) for sizes in parts)


@given(gemm=gemms, array=machines)
@tried(150)
def test_the_best_way_is_that_of_the_twin(gemm, array):
    found = []
    for letter, parts in ways(gemm, array.arrays):
        runs = [
            twin.simulate(sizes, array.rows, array.cols, array.dataflow, array.fold_timing, multiply=False)
            for sizes in parts
        ]
        assert sum(run.macs for run in runs) == gemm.macs
        found.append((max(run.cycles for run in runs), letter))
    cost = layer_cost(gemm, array)
    assert cost.cycles == min(found)[0]
    assert type(cost.cycles) is int
    assert (cost.cycles, price(gemm, array).work.letter) in found


@pytest.mark.parametrize("per_array", [False, True])
@given(gemm=gemms, rate=st.sampled_from([5e8, 2e9, 8e9]), overlap=st.sampled_from([0.0, 0.4]), data=st.data())
def test_the_best_way_with_a_memory_is_that_of_the_twin(per_array, gemm, rate, overlap, data):
    arrays, flow = data.draw(st.integers(2, 7)), data.draw(st.sampled_from(list(DATAFLOWS)))
    array = SystolicArray(
        2, 3, dataflow=flow, arrays=arrays, dram_bytes_per_s=rate, overlap=overlap, bandwidth_per_array=per_array
    )
    found = []
    for letter, parts in ways(gemm, arrays):
        compute = max(twin.simulate(sizes, 2, 3, flow, "ideal", multiply=False).cycles for sizes in parts)
        whole = {name: getattr(gemm, name) for name in ("m", "n", "k", "count")}
        moved = [
            crossing(letter, parts, whole, operand, per_array=per_array) for operand in ("weights", "inputs", "outputs")
        ]
        memory = sum(moved) / (rate / 1e9)
        found.append(max(compute, memory) + overlap * min(compute, memory))
    assert layer_cost(gemm, array).cycles == pytest.approx(min(found), rel=1e-12)


# ---------------------------------------------------------------- laws


@over_layers
@pytest.mark.parametrize("fields", [{}, {"dram_bytes_per_s": 2e9}, {"output_bytes_per_s": 1e8}, {
    "fold_timing": "double-buffered", "lowering": "kernel-position", "channel_multiple": 4, "dram_bytes_per_s": 9e9,
    "rereads_inputs": True, "reread_stairs": 1.0, "overlap": 0.3,
}], ids=["bare", "memory", "outputs", "more"])  # fmt: skip
def test_more_arrays_are_never_slower(layer, fields):
    cycles = [layer_cost(layer, SystolicArray(8, 8, arrays=arrays, **fields)).cycles for arrays in range(1, 20)]
    assert cycles[0] == layer_cost(layer, SystolicArray(8, 8, **fields)).cycles
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(cycles))
    swept = layer_cost(layer, SystolicArray(8, 8, arrays=np.arange(1, 20), **fields)).cycles
    assert swept.tolist() == pytest.approx(cycles, rel=1e-12)


@over_layers
def test_a_bandwidth_for_each_array_is_never_slower_than_one_for_all(layer):
    shared, own = (
        layer_cost(layer, SystolicArray(8, 8, arrays=4, dram_bytes_per_s=1e9, bandwidth_per_array=each)).cycles
        for each in (False, True)
    )
    assert own <= shared
    assert layer_cost(layer, SystolicArray(8, 8, dram_bytes_per_s=1e9)).cycles >= own


@given(gemm=st.builds(Gemm, m=small, n=small, k=small), arrays=st.integers(1, 9))
def test_as_many_products_as_arrays_take_the_time_of_one(gemm, arrays):
    several = Gemm(gemm.m, gemm.n, gemm.k, count=arrays)
    one = layer_cost(gemm, SystolicArray(3, 4)).cycles
    assert layer_cost(several, SystolicArray(3, 4, arrays=arrays)).cycles <= one
    apart = SystolicArray(3, 4, arrays=arrays, dram_bytes_per_s=1e9, bandwidth_per_array=arrays > 1)
    assert layer_cost(several, apart).cycles <= layer_cost(gemm, SystolicArray(3, 4, dram_bytes_per_s=1e9)).cycles


@given(gemm=gemms, array=machines)
def test_pe_cycles_add_up_and_idle_arrays_are_counted(gemm, array):
    waste, cost = layer_breakdown(gemm, array), layer_cost(gemm, array)
    assert waste.pe_cycles == cost.pe_cycles == cost.cycles * array.rows * array.cols * array.arrays
    assert (waste.useful, cost.utilization <= 1) == (gemm.macs, True)
    assert min(waste.figures().values()) >= 0


def test_an_array_without_work_is_a_ragged_one():
    waste = layer_breakdown(Gemm(1, 1, 1), SystolicArray(1, 1, arrays=5))
    assert (waste.useful, waste.ragged_arrays, waste.pe_cycles) == (1, 4, 5)


# ---------------------------------------------------------------- traffic


def test_an_operand_that_all_need_crosses_a_shared_memory_once():
    gemm = Gemm(m=64, n=4, k=4)
    shared = SystolicArray(4, 4, arrays=4, dram_bytes_per_s=1e9)
    own = SystolicArray(4, 4, arrays=4, dram_bytes_per_s=1e9, bandwidth_per_array=True)
    assert price(gemm, shared).work.letter == "m"
    weights = [layer_traffic(gemm, array).elements["dram", "weights"] for array in (shared, own)]
    assert weights == [16, 4 * 16]
    assert layer_cost(gemm, own).memory_cycles == 16 + 64 + 64
    assert layer_traffic(gemm, own).elements["sram", "weights"] == 4 * 16


def test_products_of_one_array_read_what_they_share_once():
    gemm = Gemm(m=8, n=1, k=8, count=8, weights_shared_by=4)
    array = SystolicArray(8, 1, arrays=4, dram_bytes_per_s=1e9, bandwidth_per_array=True)
    pricing = price(gemm, SystolicArray(8, 1, arrays=4, weight_bytes_per_s=1e9, bandwidth_per_array=True))
    assert pricing.memory["weights"] == 2 * 8  # those of both groups at most, or of two merged products
    assert layer_cost(gemm, array).memory_cycles <= 2 * 8 + 2 * 8 * 8 + 2 * 8


def test_sums_that_several_arrays_share_are_outputs_of_each():
    gemm, array = Gemm(m=2, n=2, k=512), SystolicArray(4, 4, arrays=4, dram_bytes_per_s=100e9)
    pricing = price(gemm, array)
    assert (pricing.work.letter, pricing.work.parts, pricing.cycles) == ("k", 4, 512 / 4 / 4 * 2)
    assert pricing.moved["outputs"] == 4 * 4
    narrow = SystolicArray(4, 4, arrays=4, output_bytes_per_s=0.05e9)
    assert price(gemm, narrow).work.letter != "k"


# ---------------------------------------------------------------- in every kind of number


@over_layers
@pytest.mark.parametrize("fields", [{}, {"bandwidth_per_array": True, "dram_bytes_per_s": 3e9}], ids=["bare", "own"])
def test_sharp_relaxations_come_close(layer, fields):
    array = SystolicArray(8, 8, arrays=4, **{"dram_bytes_per_s": 3e9} | fields)
    exact = layer_cost(layer, array).cycles
    assert layer_cost(layer, array, relaxation="straight-through").cycles == pytest.approx(exact)
    sharp = RELAXATIONS["shifted"].with_options(temperature=5000.0, epsilon=1e-6)
    assert layer_cost(layer, array, relaxation=sharp).cycles == pytest.approx(exact, rel=0.01)


def test_gradients_reach_every_size():
    torch = pytest.importorskip("torch")
    sizes = torch.tensor([30.5, 40.5, 50.5], dtype=torch.float64, requires_grad=True)
    m, n, k = sizes
    array = SystolicArray(8, 8, arrays=4, dram_bytes_per_s=2e9)
    cycles = layer_cost(Gemm(m, n, k, count=2), array, relaxation="shifted").cycles
    (slopes,) = torch.autograd.grad(cycles, sizes)
    assert torch.isfinite(slopes).all()
    assert (slopes > 0).all()


# ---------------------------------------------------------------- measurements of a chip


def test_measurements_of_a_whole_chip_are_calibrated():
    pytest.importorskip("scipy")
    from hwcost.calibration import Measurement, fit

    chip = load_device("tpu-v4")
    sizes = itertools.product((64, 256, 512), (128, 384), (7, 28))
    layers = [Conv2d(c, f, 3, height=h, width=h, padding=1, batch=8) for c, f, h in sizes]
    measured = [Measurement((layer,), 1.5 * layer_cost(layer, chip).seconds) for layer in layers]
    found = fit("tpu-v4", measured, free="scaled", fold_seeds=(0,))
    assert found.device.arrays == 8
    assert found.scores.mape < 0.1  # loading rows does not slow down with the rows that stream
    assert 0 < found.busiest <= 1
    with pytest.raises(InvalidValueError, match="arrays"):  # faster than all PEs of one array
        fit("tpu-v4/array", measured, free="scaled")


# ---------------------------------------------------------------- sweeps and commands


def test_a_sweep_of_sizes_keeps_the_number_of_arrays():
    layers, base = list(MIXED.values()), SystolicArray(1, 1, arrays=4, dram_bytes_per_s=4e9)
    found = sweep(layers, rows=[4, 8], cols=[8, 16], base=base, pe_budget=4 * 8 * 8)
    assert found.pes.tolist() == [128, 256, 256]
    for index, point in enumerate(found.points()):
        total = network_cost(layers, found.array(index)).total
        assert (point["cycles"], point["utilization"]) == pytest.approx((total.cycles, total.utilization))
    with pytest.raises(InvalidValueError) as caught:
        sweep(layers, rows=4, cols=8, base=base, pe_budget=127)
    assert "128" in caught.value.allowed


def test_commands_take_a_number_of_arrays(hwcost):
    layer = ("--k", "3", "--c", "64", "--f", "64", "--h", "28", "--w", "28", "--padding", "same")
    code, out, _ = hwcost("estimate", *layer, "--device", "tpu-v4/array", "--arrays", "8", "--explain")
    whole = hwcost("estimate", *layer, "--device", "tpu-v4")[1]
    assert code == 0
    assert "tpu-v4/array with 8 arrays: 8 arrays of 128 x 128" in out
    split = "m over 8 of 8 arrays: at most (98 x 576)(576 x 64) on each"
    assert out.count(split) == 2
    assert split in whole
    assert hwcost("estimate", *layer, "--device", "tpu-v4", "--arrays", "1")[1].count("split") == 0
    code, _, err = hwcost("estimate", *layer, "--device", "tpu-v4", "--arrays", "0")
    assert (code, "--arrays" in err) == (2, True)


def test_one_array_of_a_chip_gives_a_fitted_device_a_name(hwcost, tmp_path):
    pytest.importorskip("scipy")
    path = tmp_path / "m.csv"
    path.write_text("kind,m,n,k,ms\n" + "".join(f"gemm,{m},{n},512,1\n" for m in (64, 128) for n in (128, 512)))
    command = ("calibrate", str(path), "--device", "tpu-v4/array", "--free", "scaled", "--shuffles", "1", "--json")
    code, out, _ = hwcost(*command)
    assert code == 0
    assert "tpu-v4-array-fitted" in out


def test_a_sweep_of_layers_prints_the_folds_of_the_best_way(hwcost):
    import json

    options = ("--k", "3", "--f", "64", "--h", "28", "--w", "28", "--s1", "32", "--s2", "32", "--arrays", "3", "--json")
    swept = json.loads(hwcost("estimate", "--c", "1:40", *options)[1])["rows"]
    for row in swept[::13]:
        (one,) = json.loads(hwcost("estimate", "--c", str(row["c"]), *options)[1])["rows"]
        assert row == pytest.approx(one)
