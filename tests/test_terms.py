"""The terms that a device adds to the formula: counted by hand, with gradient, in every kind of number."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
from fractions import Fraction

import machines
import numpy as np
import pytest
import tiled
import twin
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import LOWERINGS, RELAXATIONS, Conv2d, Cost, Gemm, InvalidValueError, Linear, SystolicArray, layer_cost
from hwcost.machine import Buffers, Clock, Energy, Grid, Memory, Run, Term, Tiler, Tiles, Timing, Transfer
from hwcost.machine.dataflow import REUSE_LETTER
from hwcost.model.formula import price
from hwcost.model.layout import lay_out

over_machines = pytest.mark.parametrize("array", machines.ALL.values(), ids=list(machines.ALL))
over_rich = pytest.mark.parametrize("array", machines.RICH.values(), ids=list(machines.RICH))
over_smooth = pytest.mark.parametrize(
    "array", [each for each in machines.RICH.values() if not each.has_buffers],
    ids=[name for name, each in machines.RICH.items() if not each.has_buffers],
)  # fmt: skip
"""Machines whose every step is smooth; test_tilings.py has the bars of a soft minimum over tilings."""
SMOOTH = ("logistic", "shifted", "generalized", "linear")
SIZES = st.integers(1, 40)
LAYER = Conv2d(20, 36, 3, height=10, width=12, padding=1, batch=2)


# ---------------------------------------------------------------- by hand


@given(m=SIZES, n=SIZES, k=SIZES, count=st.integers(1, 3), window=st.integers(1, 3))
def test_by_position_walks_the_kernel(m, n, k, count, window):
    gemm = Gemm(m, n, k * window * window, count, window=(window, window))
    array = SystolicArray(8, 16, fold_timing="serial", lowering="kernel-position")
    each = layer_cost(Gemm(m, n, k), SystolicArray(8, 16, fold_timing="serial")).cycles
    assert layer_cost(gemm, array).cycles == sum(each for _ in range(count) for _ in range(window * window))
    assert layer_cost(gemm, array).macs == m * n * k * window * window * count


def test_lowerings_agree_without_a_kernel():
    for lowering in LOWERINGS:
        array = SystolicArray(8, 8, lowering=lowering)
        assert layer_cost(Linear(20, 30, batch=3), array).cycles == 3 * 4 * 3
        assert layer_cost(Conv2d(20, 30, 1, height=3, width=1), array).cycles == 3 * 4 * 3


@given(extent=st.integers(1, 300), size=st.integers(1, 40), stairs=st.floats(0, 1))
def test_partial_stairs_lie_between_the_line_and_the_stair(extent, size, stairs):
    array = SystolicArray(size, size, row_stairs=stairs)
    folds = lay_out(Gemm(1, 1, extent), array)
    assert folds.along_cols == 1
    assert folds.along_rows == pytest.approx(stairs * math.ceil(extent / size) + (1 - stairs) * extent / size)
    folds = lay_out(Gemm(1, extent, 1), dataclasses.replace(array, row_stairs=1.0, col_stairs=stairs))
    assert folds.along_cols == pytest.approx(stairs * math.ceil(extent / size) + (1 - stairs) * extent / size)


@given(m=SIZES, n=SIZES, k=SIZES, least=st.floats(0.5, 60))
def test_a_fold_takes_the_time_of_some_rows_at_least(m, n, k, least):
    cycles = sum(max(m, least) for _ in itertools.product(range(0, k, 8), range(0, n, 4)))
    assert layer_cost(Gemm(m, n, k), SystolicArray(8, 4, min_streamed=least)).cycles == pytest.approx(cycles)


@given(m=SIZES, k=SIZES, least=st.integers(1, 60), most=st.integers(1, 20))
def test_every_fold_takes_the_time_of_some_rows_at_least(m, k, least, most):
    cycles = 0
    for _ in range(0, k, 8):
        for start in range(0, m, most):
            cycles += max(len(range(start, min(start + most, m))), least)
    array = SystolicArray(8, 4, min_streamed=float(least), max_streamed=most)
    assert layer_cost(Gemm(m, 4, k), array).cycles == pytest.approx(cycles)


def test_reading_again_costs_its_own_bandwidth():
    gemm, array = Linear(64, 640, batch=64), SystolicArray(8, 8, reread_bytes_per_s=1e8, filter_block=8.0)
    assert layer_cost(gemm, array).memory_cycles == pytest.approx(79 * 64 * 64 / 0.1)


def test_a_fraction_of_a_fold_that_is_left_out_still_takes_the_cycles_of_its_macs():
    array = SystolicArray(16, 16, row_stairs=0.2, counts_last_fold=False)
    assert layer_cost(Linear(4, 16, batch=100), array).cycles == 4 * 16 * 100 / 256
    assert layer_cost(Linear(40, 16, batch=100), array).cycles == 40 * 16 * 100 / 256


def test_bandwidths_beyond_all_numbers_limit_nothing():
    cost = layer_cost(Linear(10, 10), SystolicArray(8, 8, clock_hz=1e-300, dram_bytes_per_s=1e300))
    assert (cost.cycles, cost.memory_cycles) == (4, 0)


@given(m=SIZES, n=SIZES, k=SIZES, count=st.integers(1, 3), row=st.floats(1, 3), fold=st.floats(0, 50))
def test_cycles_per_row_and_per_fold_are_charged(m, n, k, count, row, fold):
    cycles = 0.0
    for _, _, _ in itertools.product(range(count), range(0, k, 8), range(0, n, 4)):
        cycles += m * row + fold
    array = SystolicArray(8, 4, cycles_per_row=row, cycles_per_fold=fold)
    assert layer_cost(Gemm(m, n, k, count), array).cycles == pytest.approx(cycles)


@pytest.mark.parametrize("per_row", [0.5, 1e-3, 5e-324])
def test_rows_that_stream_faster_than_the_elements_multiply_take_the_time_of_their_macs(per_row):
    cost = layer_cost(Gemm(64, 8, 16, 2), SystolicArray(8, 8, cycles_per_row=per_row))
    assert (cost.cycles, cost.utilization) == (2 * 64 * 8 * 16 / 64, 1)


def memory_by_hand(layer, array):
    """Bytes counted tensor by tensor, from what a convolution is."""
    height, width = layer.out_size
    k1, k2 = layer.kernel_size
    channels = layer.in_channels // layer.groups
    if layer.groups == 1:
        channels = next(size for size in itertools.count(channels) if size % array.channel_multiple == 0)
    weights = layer.out_channels * channels * k1 * k2
    inputs = layer.batch * channels * layer.groups * layer.height * layer.width
    outputs = layer.batch * layer.out_channels * height * width
    filters = layer.out_channels // layer.groups
    room = array.filter_block
    if array.rereads_inputs:
        held = 0 if array.accumulators is None else array.accumulators / (layer.batch * height * width)
        room = min(room, max(array.cols, held))
    blocks = 0
    while blocks * room < filters:
        blocks += 1
    read = array.reread_stairs * blocks + (1 - array.reread_stairs) * filters / room
    again = inputs * (max(1, read) - 1)
    by_tile = None
    if array.tile_bytes != math.inf:
        by_tile = tiled.tiled(layer, array)
        again = max(again, by_tile.inputs - inputs)
    if array.bandwidth_per_array:  # the longest part has all of an operand that lacks the letter of the cut
        (gemm,) = layer.gemms()
        letter = price(gemm, array).work.letter
        part = Fraction(max(map(len, twin.dealt(getattr(gemm, letter), array.arrays))), getattr(gemm, letter))
        weights, inputs, outputs = (
            size * (1 if letter == lacks else part) for size, lacks in ((weights, "m"), (inputs, "n"), (outputs, "k"))
        )
    rates = [
        array.dram_bytes_per_s if own is None else own
        for own in (array.weight_bytes_per_s, array.input_bytes_per_s, array.output_bytes_per_s)
    ]
    partials = 0
    if array.has_buffers:  # which tilings there are is the matter of test_tilings.py
        (gemm,) = layer.gemms()
        tiling = price(gemm, array).work.tiling
        weights, inputs, partials = weights + tiling.weights_again, tiling.inputs, tiling.partials
        again = tiling.inputs_again
    sizes = (array.bytes_per_element, array.bytes_per_element, array.bytes_per_output or array.bytes_per_element)
    seconds = [e * size / rate for e, size, rate in zip((weights, inputs, outputs), sizes, rates, strict=True)]
    seconds[2] += partials * array.partial_bytes / rates[2]
    seconds[1] += again * array.bytes_per_element / (array.reread_bytes_per_s or rates[1])
    positions = layer.batch * height * width
    if array.single_block is not None:
        single = [filters <= array.single_block < positions, positions <= array.single_block < filters]
        seconds[:2] = [size * (array.readers if alone else 1) for size, alone in zip(seconds, single, strict=False)]
    if by_tile is not None and array.burst_bytes:
        for operand, run in ((1, by_tile.read_run), (2, by_tile.write_run)):
            seconds[operand] *= max(1, array.burst_bytes / (run * array.bytes_per_element))
    if array.weights_apart:
        uses = by_tile.uses if by_tile.uses > 1 else 0
        others = seconds[1] + seconds[2] + uses * weights * array.bytes_per_element / rates[1]
        return max(seconds[0], others) * array.clock_hz
    return (max(seconds) if array.parallel_operands else sum(seconds)) * array.clock_hz


def blocks_by_hand(layer, array):
    """Blocks of outputs that the accumulators hold."""
    places = array.rows * array.cols * output_blocks_by_hand(layer, array)
    return layer.groups * (1 if array.accumulators is None else len(range(0, places, array.accumulators)))


def constant_by_hand(layer, array):
    of_blocks = array.cycles_per_output_block * layer.groups * output_blocks_by_hand(layer, array)
    return array.cycles_per_layer + array.cycles_per_block * blocks_by_hand(layer, array) + of_blocks


def output_blocks_by_hand(layer, array):
    """Blocks of rows x cols outputs of one group."""
    height, width = layer.out_size
    padded = [range(0, extent, size) for extent, size in (
        (layer.batch * height * width, array.rows), (layer.out_channels // layer.groups, array.cols)
    )]  # fmt: skip
    return sum(1 for _ in itertools.product(*padded))


@over_machines
@pytest.mark.parametrize("groups", [1, 4])
def test_memory_and_how_it_joins(array, groups):
    layer = dataclasses.replace(LAYER, groups=groups)
    cost = layer_cost(layer, array)
    memory = memory_by_hand(layer, array)
    assert cost.memory_cycles == pytest.approx(memory)
    constant = constant_by_hand(layer, array)
    busy = cost.compute_cycles + cost.overhead_cycles - constant
    longer = max(busy, memory)
    share = array.overlap
    if array.pipeline_cycles:
        share += (1 - share) * array.pipeline_cycles / (array.pipeline_cycles + longer)
    joined = longer + share * min(busy, memory) if memory else busy
    assert cost.cycles == pytest.approx(constant + joined)
    assert cost.waiting_cycles == pytest.approx(cost.cycles - cost.compute_cycles - cost.overhead_cycles)
    assert cost.waiting_cycles >= 0
    assert cost.seconds == pytest.approx(cost.cycles / array.clock_hz)
    longest = max((cost.compute_cycles, "compute"), (cost.memory_cycles, "memory"), (cost.overhead_cycles, "overhead"))
    assert cost.bound == longest[1]


@pytest.mark.parametrize(("dataflow", "rows", "elements"), [("ws", 8, 8 * 16), ("is", 8, 8 * 10)])
def test_starting_up_loads_what_stays(dataflow, rows, elements):
    gemm = Gemm(m=10, n=20, k=30)
    bare = layer_cost(gemm, SystolicArray(8, 16, dataflow=dataflow))
    cost = layer_cost(gemm, SystolicArray(8, 16, dataflow=dataflow, starts_up=True))
    assert cost.overhead_cycles == rows == cost.cycles - bare.cycles
    limited = layer_cost(gemm, SystolicArray(8, 16, dataflow=dataflow, starts_up=True, dram_bytes_per_s=4e9))
    assert limited.overhead_cycles == rows + elements / 4
    small = layer_cost(Gemm(m=3, n=3, k=3), SystolicArray(8, 16, dataflow=dataflow, starts_up=True))
    assert small.overhead_cycles == 3


def test_folds_follow_one_another_as_the_accumulators_have_room():
    """Little's law: each fold keeps its blocks of outputs for a latency, and so many blocks fit."""
    array = SystolicArray(8, 8, accumulators=4 * 8 * 8, fold_latency=500.0)
    for m, n, k, blocks in ((8, 8, 8, 1), (9, 8, 8, 2), (8, 17, 20, 9), (40, 40, 16, 50)):
        assert layer_cost(Gemm(m, n, k), array).cycles == max(m * -(-n // 8) * -(-k // 8), blocks * 500 / 4)
    outputs_stay = dataclasses.replace(array, dataflow="os")
    assert layer_cost(Gemm(16, 8, 640), outputs_stay).cycles == 2 * 640
    assert layer_cost(Gemm(16, 8, 64), outputs_stay).cycles == 2 * 500 / 4


def test_an_operand_of_a_single_block_has_one_reader():
    array = SystolicArray(512, 256, readers=8, single_block=512, dram_bytes_per_s=1e9)
    moved = {
        (m, n): [price(Gemm(m, n, 64), array).memory[operand] for operand in ("weights", "inputs", "outputs")]
        for m, n in ((512, 512), (512, 513), (513, 512), (513, 513))
    }
    assert moved[512, 512] == [512 * 64, 512 * 64, 512 * 512]
    assert moved[512, 513] == [513 * 64, 8 * 512 * 64, 512 * 513]
    assert moved[513, 512] == [8 * 512 * 64, 513 * 64, 512 * 513]
    assert moved[513, 513] == [513 * 64, 513 * 64, 513 * 513]


def test_the_last_fold_left_out():
    gemm = Gemm(m=50, n=20, k=30, count=2)
    for timing, fold in (("ideal", 50), ("serial", 50 + 2 * 8 + 16 - 2), ("double-buffered", 51)):
        array = SystolicArray(8, 16, fold_timing=timing)
        whole, without = (
            layer_cost(gemm, dataclasses.replace(array, counts_last_fold=counts)).cycles for counts in (True, False)
        )
        assert whole - without == fold


def test_overlap_goes_from_hidden_to_one_after_the_other():
    costs = [
        layer_cost(LAYER, SystolicArray(8, 8, dram_bytes_per_s=1e9, overlap=overlap)) for overlap in (0.0, 0.5, 1.0)
    ]
    compute, memory = costs[0].compute_cycles, costs[0].memory_cycles
    assert [cost.cycles for cost in costs] == pytest.approx(
        [max(compute, memory), max(compute, memory) + min(compute, memory) / 2, compute + memory]
    )


# ---------------------------------------------------------------- bounds


def test_bounds_of_a_sweep():
    layer = Linear(np.array([1, 64, 512]), 64, batch=np.array([[1], [4096]]))
    array = SystolicArray(16, 16, weight_bytes_per_s=1e9, cycles_per_layer=100.0)
    bound = layer_cost(layer, array).bound
    assert bound.tolist() == [["overhead", "memory", "memory"], ["compute"] * 3]
    for index, name in np.ndenumerate(bound):
        row, col = index
        one = Linear(int(layer.in_features[col]), 64, batch=int(layer.batch[row, 0]))
        assert layer_cost(one, array).bound == name


def test_bounds_of_tensors():
    torch = pytest.importorskip("torch")
    array = SystolicArray(16, 16, weight_bytes_per_s=1e9)
    width = torch.tensor([1.0, 512.0], requires_grad=True)
    assert layer_cost(Linear(width, 64), array, relaxation="shifted").bound.tolist() == ["memory", "memory"]
    assert layer_cost(Linear(width, 64), SystolicArray(16, 16)).bound.tolist() == ["compute", "compute"]


def test_costs_of_layers_bound_by_different_things_add():
    array = SystolicArray(16, 16, weight_bytes_per_s=1e9)
    a, b = layer_cost(Linear(512, 512), array), layer_cost(Linear(16, 16, batch=4096), array)
    assert (a.bound, b.bound) == ("memory", "compute")
    assert (a + b).waiting_cycles == a.waiting_cycles + b.waiting_cycles
    assert (a + 3 * b).bound == "memory"
    assert (a + 100 * b).bound == "compute"
    assert Cost().bound == "compute"


@pytest.mark.parametrize("factor", [np.array([1, -1]), -0.5, np.float64(-1)])
def test_costs_are_not_scaled_below_zero(factor):
    with pytest.raises(InvalidValueError, match="factor of a Cost"):
        factor * Cost(cycles=3)
    with pytest.raises(InvalidValueError, match="factor of a Cost"):
        Cost(cycles=3) * factor


def test_an_array_times_a_cost_is_a_cost():
    assert (np.array([1, 2]) * Cost(cycles=3)).cycles.tolist() == [3, 6]


# ---------------------------------------------------------------- every kind of number


@over_rich
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_sweeps_are_their_points(array, relaxation):
    channels, filters = np.arange(1, 60, 7), np.array([[3], [40]])
    swept = layer_cost(Conv2d(channels, filters, 3, height=9, width=9, padding=1), array, relaxation=relaxation)
    for row, col in ((0, 0), (1, 4), (0, 8)):
        layer = Conv2d(int(channels[col]), int(filters[row, 0]), 3, height=9, width=9, padding=1)
        point = layer_cost(layer, array, relaxation=relaxation)
        for name in ("cycles", "compute_cycles", "memory_cycles", "overhead_cycles", "folds"):
            figure = np.broadcast_to(getattr(swept, name), (2, 9))[row, col]
            assert figure == pytest.approx(getattr(point, name), rel=1e-12), name


QUANTITIES = {
    "row_stairs": [0.2, 1.0], "col_stairs": [0.0, 0.7], "cycles_per_row": [1.0, 2.5], "cycles_per_fold": [0.0, 9.0],
    "cycles_per_layer": [0.0, 90.0], "bytes_per_element": [1.0, 2.0], "dram_bytes_per_s": [1e9, 1e12],
    "weight_bytes_per_s": [1e9, math.inf], "input_bytes_per_s": [1e9, 7e10], "output_bytes_per_s": [1e8, 1e9],
    "reread_bytes_per_s": [1e9, 2e10], "accumulators": [64, 4000], "cycles_per_block": [0.0, 8.0],
    "min_streamed": [0.0, 400.0], "filter_block": [4.0, math.inf], "overlap": [0.1, 0.9], "max_streamed": [3, 500],
    "arrays": [1, 6],
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTITIES)
def test_devices_sweep(name):
    """Each entry of an array in a field is a separate device, in a layer and in a network."""
    from hwcost import network_cost

    base = SystolicArray(8, 8, fold_timing="double-buffered", dram_bytes_per_s=5e9, overlap=0.5, filter_block=9.0)
    if name == "accumulators":
        base = dataclasses.replace(base, rereads_inputs=True, cycles_per_block=3.0, accumulators=9)
    swept = dataclasses.replace(base, **{name: np.array(QUANTITIES[name])})
    layers = {"conv": LAYER, "fc": Linear(300, np.array([[10], [20], [30]]))}
    report = network_cost(layers, swept)
    for index, value in enumerate(QUANTITIES[name]):
        one = dataclasses.replace(base, **{name: value})
        assert layer_cost(LAYER, swept).cycles[index] == pytest.approx(layer_cost(LAYER, one).cycles)
        expected = network_cost(layers, one)
        assert report.total.cycles[:, index] == pytest.approx(expected.total.cycles.reshape(-1))
        for layer in layers:
            for figure in ("cycles", "overhead_cycles", "memory_cycles"):
                got = np.broadcast_to(getattr(report.layers[layer], figure), (3, 2))[:, index]
                one_by_one = np.reshape(getattr(expected.layers[layer], figure), (-1,))
                assert got == pytest.approx(np.broadcast_to(one_by_one, 3)), figure


@over_smooth
@pytest.mark.parametrize("relaxation", SMOOTH)
def test_gradients_are_those_of_the_values(array, relaxation):
    torch = pytest.importorskip("torch")
    start = torch.tensor([24.3, 40.9], dtype=torch.float64, requires_grad=True)

    def cycles(widths):
        layer = Conv2d(widths[0], widths[1], 3, height=10, width=10, padding=1)
        return layer_cost(layer, array, relaxation=relaxation).cycles

    assert torch.autograd.gradcheck(cycles, (start,), eps=1e-6, rtol=1e-3)
    (slope,) = torch.autograd.grad(cycles(start), (start,))
    assert torch.isfinite(slope).all()
    assert (slope > -1e-9).all()


@over_smooth
def test_the_relaxed_cost_tends_to_the_exact_one(array):
    exact = layer_cost(LAYER, array).cycles
    sharp = layer_cost(LAYER, array, relaxation=RELAXATIONS["shifted"].with_options(temperature=3000.0, epsilon=1e-6))
    assert sharp.cycles == pytest.approx(exact, rel=2e-3)


@over_rich
def test_quantities_may_carry_gradients(array):
    torch = pytest.importorskip("torch")
    overlap = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    limited = dataclasses.replace(array, overlap=overlap, dram_bytes_per_s=1e9, output_bytes_per_s=None)
    cost = layer_cost(LAYER, limited)
    (slope,) = torch.autograd.grad(cost.cycles, (overlap,))
    constant = constant_by_hand(LAYER, array)
    busy = cost.compute_cycles + cost.overhead_cycles - constant
    filling = array.pipeline_cycles
    full = 1 - filling / (filling + max(cost.memory_cycles, busy)) if filling else 1
    assert slope.item() == pytest.approx(min(cost.memory_cycles, busy) * full)


@over_machines
def test_devices_are_values(array):
    assert pickle.loads(pickle.dumps(array)) == array
    assert repr(pickle.loads(pickle.dumps(array))) == repr(array)
    assert eval(repr(array), {"SystolicArray": SystolicArray, "inf": math.inf}) == array
    for part in map(array.part, (Grid, Clock, Tiler, Timing, Tiles, Memory, Buffers, Run, Energy)):
        assert eval(repr(part), {type(part).__name__: type(part), "inf": math.inf}) == part
        assert all(getattr(array, name) == value for name, value in part.as_dict().items())
    assert hash(array) == hash(dataclasses.replace(array))


@given(m=SIZES, n=SIZES, k=SIZES, count=st.integers(1, 3))
@tried(30)
def test_operands_are_what_their_letters_span(m, n, k, count):
    sizes = {"m": m, "n": n, "k": k}
    for operand, lacks in REUSE_LETTER.items():
        elements = sum(1 for _ in itertools.product(*(range(s) for letter, s in sizes.items() if letter != lacks)))
        assert Gemm(m, n, k, count).elements(operand) == count * elements


@over_rich
@pytest.mark.parametrize("relaxation", ["exact", "shifted"])
def test_every_library_agrees(array, relaxation, library):
    def cost(channels, filters):
        return layer_cost(Conv2d(channels, filters, 3, height=9, width=9, padding=1), array, relaxation=relaxation)

    channels, filters = [24.0, 30.0, 7.0], [40.0, 50.0, 64.0]
    ours, numpys = (cost(make(channels), make(filters)) for make in (library.array, np.array))
    for name in ("cycles", "compute_cycles", "memory_cycles", "overhead_cycles"):
        figure = getattr(ours, name)
        got = np.asarray(figure) if isinstance(figure, (int, float)) else library.numpy(figure)
        np.testing.assert_allclose(got, getattr(numpys, name), rtol=1e-9)
    assert ours.bound.tolist() == numpys.bound.tolist()
    counted = cost(*(library.array(np.array(sizes, dtype=int), "int64") for sizes in (channels, filters)))
    if relaxation == "exact":
        np.testing.assert_allclose(library.numpy(counted.cycles), numpys.cycles, rtol=1e-6)  # torch divides in float32


def few_with_every_field():
    """Names of some of the rich machines that state every field between them: a compiler traces for seconds each."""
    stated = {name: {field for field, _ in array.stated()} for name, array in machines.RICH.items()}
    missing, found = set().union(*stated.values()), []
    while missing:
        found.append(max(stated, key=lambda name: len(stated[name] & missing)))
        missing -= stated[found[-1]]
    return found


@pytest.mark.parametrize("name", few_with_every_field())
def test_a_compiler_traces_every_term(name, compiled):
    torch = pytest.importorskip("torch")

    def cycles(widths):
        return layer_cost(Conv2d(widths[0], widths[1], 3, 10, 10), machines.RICH[name], relaxation="shifted").cycles

    widths = torch.tensor([24.3, 40.9], dtype=torch.float64)
    torch.testing.assert_close(compiled(cycles)(widths), cycles(widths))


@over_rich
def test_the_search_sees_every_term(array):
    torch = pytest.importorskip("torch")
    from hwcost import Network, Operation
    from hwcost.torch import LatencyLoss

    conv = Operation(Conv2d(1, 8, 5, height=28, width=28, padding="same"), {"out_channels": "width"})
    fc = Operation(Linear(8 * 784, 10), {"in_features": ("width", 784)})
    space = Network("two", {"conv": conv, "fc": fc}).space({"width": (4, 8, 16)})
    for relaxation in (None, "shifted", "linear"):
        loss = LatencyLoss(space, array, relaxation=relaxation, reference={"width": 8})
        for index, width in enumerate((4, 8, 16)):
            probs = torch.eye(3, dtype=torch.float64)[index].requires_grad_()
            value = loss({"width": probs})
            if relaxation is None:
                exact = loss.exact({"width": width}).total.cycles / loss.reference
                assert value.item() == pytest.approx(exact, rel=1e-9)
            value.backward()
            assert torch.isfinite(probs.grad).all()


@pytest.mark.parametrize("cycles", [-5, float("nan"), "a", None])
def test_a_term_of_the_callers_gives_cycles(cycles):
    array = SystolicArray(8, 8, terms=(Term("mine", lambda work: cycles, "a term of the caller's"),))
    with pytest.raises(InvalidValueError) as caught:
        layer_cost(Linear(12, 6), array)
    assert caught.value.field == "Term.cycles of 'mine'"
    assert caught.value.value is cycles or caught.value.value == cycles


def test_a_transfer_does_not_cross_the_sram():
    with pytest.raises(InvalidValueError) as caught:
        Transfer("mine", lambda work: 1, lambda array: 1e9, "words", "weights", "sram")
    assert caught.value.field == "Transfer.level"


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_soft_work_of_less_than_a_cycle_takes_less_than_a_cycle(relaxation):
    array = SystolicArray(8, 8, counts_last_fold=False)
    for rows in (1.0, 0.25):
        cost = layer_cost(Gemm(np.array([rows]), np.array([1.0]), 1), array, relaxation=relaxation)
        assert cost.cycles.tolist() == [rows / 64]
