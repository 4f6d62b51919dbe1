"""Traffic: what crosses the memory is what is charged, printed and drawn; shared operands cross it once."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import operator
import pickle
import sys

import machines
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import LENET, MIXED

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    RELAXATIONS,
    Conv2d,
    Gemm,
    InvalidValueError,
    Linear,
    MatMul,
    SystolicArray,
    layer_cost,
    load_device,
    network_cost,
)
from hwcost.cli import main
from hwcost.devices import device_names
from hwcost.model.breakdown import layer_breakdown
from hwcost.model.formula import layer_cycles, layer_traffic
from hwcost.model.traffic import OPERANDS, Traffic, skipped_inputs
from hwcost.plot import network_data
from hwcost.reports import summarise
from hwcost.units import BYTES, in_unit

ARRAYS = machines.ALL | {name: load_device(name) for name in device_names()}
over_layers = pytest.mark.parametrize("layer", MIXED.values(), ids=list(MIXED))
over_arrays = pytest.mark.parametrize("array", ARRAYS.values(), ids=list(ARRAYS))


def seconds_of(figures, array):
    """Seconds in which bytes as a report prints them cross the memory, at the bandwidths as a device states them."""
    rates = [
        array.dram_bytes_per_s if own is None else own
        for own in (array.weight_bytes_per_s, array.input_bytes_per_s, array.output_bytes_per_s)
    ]
    moved = dict(figures["bytes"])
    moved["output"] += moved.pop("partial")
    seconds = [size / rate for size, rate in zip(moved.values(), rates, strict=True)]
    if array.reread_bytes_per_s is not None:  # from a nearer memory than DRAM
        seconds[1] += figures["reread_bytes"] / array.reread_bytes_per_s
    return max(seconds) if array.parallel_operands else sum(seconds)


# ---------------------------------------------------------------- what is charged is what is printed


@over_arrays
@over_layers
def test_printed_bytes_over_the_bandwidths_are_the_memory_cycles(layer, array):
    summary = summarise({"layer": layer}, array)
    figures = summary.figures(summary.rows[0])
    if array.bandwidth_per_array:  # the longest part, which is at least as long as the others
        assert seconds_of(figures, array) * array.clock_hz <= figures["memory_cycles"] * array.arrays * (1 + 1e-12)
    elif not array.has_tiles and array.single_block is None:  # bytes do not show bursts, and who reads
        assert seconds_of(figures, array) * array.clock_hz == pytest.approx(figures["memory_cycles"])
    assert list(figures["bytes"]) == ["weight", "input", "output", "partial"]


@over_arrays
def test_sums_of_a_network_are_what_it_is_charged(array):
    summary = summarise(MIXED | LENET, array)
    for part in (None, *summary.tree.modules):
        figures = summary.figures(part)
        if array.has_tiles or array.single_block is not None:
            continue
        if array.bandwidth_per_array:
            assert seconds_of(figures, array) * array.clock_hz <= figures["memory_cycles"] * array.arrays * (1 + 1e-9)
        elif array.parallel_operands or array.has_run:  # the longest of each layer; what a run moves on top of them
            assert seconds_of(figures, array) * array.clock_hz <= figures["memory_cycles"] * (1 + 1e-9)
        else:
            assert seconds_of(figures, array) * array.clock_hz == pytest.approx(figures["memory_cycles"])


@over_arrays
@over_layers
def test_the_roofline_counts_the_same_bytes(layer, array):
    (point,) = (each for each in network_data(summarise({"layer": layer}, array))["layers"] if each["macs"])
    memory = layer_cost(layer, array).memory_cycles
    if memory:
        rates = {slope["bytes_per_s"] for slope in network_data(summarise({"layer": layer}, array))["slopes"]}
        seconds = memory / array.clock_hz
        is_slower = array.bandwidth_per_array or array.has_tiles or array.single_block is not None
        least = 0 if is_slower else min(rates) * (1 - 1e-9)
        assert least <= point["bytes"] / seconds <= max(rates) * (1 + 1e-9)
    else:
        assert point["bytes"] == layer_traffic(layer, array).bytes()


def test_inputs_that_are_read_again_are_printed():
    array = load_device("gemmini-firesim")
    (row,) = summarise({"fc": Linear(512, 4096, batch=512)}, array).rows
    assert row.traffic.bytes("inputs") == pytest.approx(64 * 512 * 512, rel=1e-5)
    assert row.traffic.bytes("inputs", "dram") == 512 * 512
    assert round(row.cost.memory_cycles) == 1_265_972


@over_layers
def test_without_a_bandwidth_every_operand_crosses_once(layer):
    traffic = layer_traffic(layer, SystolicArray(8, 8))
    (gemm,) = layer.gemms()
    for operand in OPERANDS:
        assert traffic.bytes(operand) == gemm.elements(operand)
        assert type(traffic.bytes(operand)) is int
    assert traffic.bytes(level="reread") == 0


# ---------------------------------------------------------------- SRAM


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(
    m=st.integers(1, 6), n=st.integers(1, 6), k=st.integers(1, 6), count=st.integers(1, 2),
    rows=st.integers(1, 4), cols=st.integers(1, 4), most=st.one_of(st.none(), st.integers(1, 4)),
)  # fmt: skip
def test_every_fold_touches_each_element_that_it_works_with_once(dataflow, m, n, k, count, rows, cols, most):
    row = DATAFLOWS[dataflow]
    extents = {"m": m, "n": n, "k": k}
    steps = {row.rows: rows, row.cols: cols, row.time: most or 6}
    tally = dict.fromkeys(("kn", "mk", "mn"), 0)
    starts = [range(0, extents[letter], steps[letter]) for letter in steps]
    for place in itertools.product(range(count), *starts):
        fold = {
            letter: range(start, min(start + steps[letter], extents[letter]))
            for letter, start in zip(steps, place[1:], strict=True)
        }
        for operand in tally:
            tally[operand] += math.prod(len(fold[letter]) for letter in operand)
    array = SystolicArray(rows, cols, dataflow=dataflow, max_streamed=most)
    found = layer_traffic(Gemm(m, n, k, count), array).elements
    assert [found["sram", operand] for operand in OPERANDS] == list(tally.values())


# ---------------------------------------------------------------- the value


def test_traffic_adds_and_scales():
    array = dataclasses.replace(load_device("gemmini-firesim"), bytes_per_element=2.0)
    a, b = (layer_traffic(MIXED[name], array) for name in ("fc", "conv"))
    assert sum([a, b]) == a + b
    assert (a + b).bytes() == a.bytes() + b.bytes()
    assert (3 * a).bytes("inputs", "reread") == 3 * a.bytes("inputs", "reread") > 0
    assert Traffic() + a == a
    assert pickle.loads(pickle.dumps(a)) == a
    with pytest.raises(InvalidValueError, match="bytes_per_element"):
        a + layer_traffic(MIXED["fc"], SystolicArray(8, 8))
    with pytest.raises(InvalidValueError, match="factor of a Traffic"):
        -1 * a
    same = layer_traffic(MIXED["fc"], dataclasses.replace(array, bytes_per_element=float("2.0")))
    assert (a + same).bytes() == 2 * a.bytes()


def test_traffic_is_exact_in_integers_and_has_gradients():
    assert layer_traffic(Linear(2**70 + 1, 3), SystolicArray(2, 2)).bytes("weights") == 3 * (2**70 + 1)
    torch = pytest.importorskip("torch")
    width = torch.tensor(24.0, dtype=torch.float64, requires_grad=True)
    array = SystolicArray(8, 8, dram_bytes_per_s=1e9, filter_block=4.0)
    moved = layer_traffic(Linear(width, 40, batch=10), array).bytes()
    (slope,) = torch.autograd.grad(moved, width)
    assert moved.item() == 24 * 40 + 10 * 24 * 10 + 10 * 40
    assert slope.item() == 40 + 10 * 10


def test_a_sweep_moves_what_each_of_its_layers_moves():
    widths = np.array([1, 24, 300])
    for array in machines.RICH.values():
        swept = layer_traffic(Linear(widths, 40, batch=10), array)
        for i, width in enumerate(widths.tolist()):
            one = layer_traffic(Linear(width, 40, batch=10), array)
            for key, elements in one.elements.items():
                assert np.broadcast_to(swept.elements[key], 3)[i] == pytest.approx(elements)


# ---------------------------------------------------------------- operands that products share


def grouped_queries(shared=4):
    """One new token on 4,096 old ones: 32 query heads on 8 heads of keys and values."""
    return {
        "scores": MatMul(m=1, n=4096, k=128, batch=32, weights_shared_by=shared),
        "values": MatMul(m=1, n=128, k=4096, batch=32, weights_shared_by=shared),
    }


def test_grouped_queries_read_their_keys_and_values_once():
    tpu = load_device("tpu-v5e/array")
    moved = [sum(row.traffic.bytes("weights") for row in summarise(grouped_queries(s), tpu).rows) for s in (4, 1)]
    assert moved == [2 * 8 * 4096 * 128 * 2, 4 * moved[0]]
    array = SystolicArray(128, 128, dram_bytes_per_s=800e9)
    assert round(network_cost(grouped_queries(), array).total.cycles) == 10_824
    assert round(network_cost(grouped_queries(1), array).total.cycles) == 42_281


SHARED = {
    "weights": Gemm(m=3, n=40, k=50, count=24, weights_shared_by=6),
    "inputs": Gemm(m=40, n=3, k=50, count=24, inputs_shared_by=6),
}
TIME = ("macs", "cycles", "seconds", "folds", "pe_cycles", "compute_cycles", "memory_cycles", "overhead_cycles")
over_shared = pytest.mark.parametrize("name", SHARED)


def layouts(gemm):
    """The products apart, without sharing, and each group as one larger product."""
    taller, wider = gemm.weights_shared_by, gemm.inputs_shared_by
    apart = Gemm(gemm.m, gemm.n, gemm.k, gemm.count)
    return apart, Gemm(gemm.m * taller, gemm.n * wider, gemm.k, gemm.count // (taller * wider))


@over_shared
@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("flow", DATAFLOWS)
def test_an_array_takes_the_cheaper_of_two_layouts(name, timing, flow):
    gemm, array = SHARED[name], SystolicArray(16, 8, dataflow=flow, fold_timing=timing)
    costs = [layer_cost(each, array).figures() for each in layouts(gemm)]
    expected = min(costs, key=operator.itemgetter("cycles"))
    found = layer_cost(gemm, array).figures()
    assert {name: found[name] for name in TIME} == {name: expected[name] for name in TIME}
    breakdown = layer_breakdown(gemm, array)
    assert breakdown.pe_cycles == layer_cost(gemm, array).pe_cycles
    assert min(breakdown.figures().values()) >= 0


@over_shared
@pytest.mark.parametrize("relaxation", RELAXATIONS)
@over_arrays
def test_a_sweep_takes_the_cheaper_layout_of_each_entry(name, array, relaxation):
    field, widths = ("m", "n")[name == "inputs"], np.array([1, 7, 64, 200])
    swept = layer_cost(dataclasses.replace(SHARED[name], **{field: widths}), array, relaxation=relaxation)
    report = network_cost(
        [Linear(9, widths), dataclasses.replace(SHARED[name], **{field: widths})], array, relaxation=relaxation
    )
    alone = layer_cost(Linear(9, widths), array, relaxation=relaxation)
    np.testing.assert_allclose(report.layers["0"].cycles, np.broadcast_to(alone.cycles, 4), rtol=1e-12)
    for i, width in enumerate(widths.tolist()):
        one = layer_cost(dataclasses.replace(SHARED[name], **{field: width}), array, relaxation=relaxation)
        for figure in ("cycles", "compute_cycles", "memory_cycles", "overhead_cycles", "folds"):
            got = np.broadcast_to(getattr(swept, figure), 4)[i]
            assert got == pytest.approx(getattr(one, figure), rel=1e-12), figure
            together = np.broadcast_to(getattr(report.layers["1"], figure), 4)[i]
            assert together == pytest.approx(getattr(one, figure), rel=1e-12), figure


@over_shared
@over_arrays
def test_merging_never_costs_more(name, array):
    apart, merged = layouts(SHARED[name])
    cycles = layer_cycles(SHARED[name], array)
    assert cycles <= layer_cycles(apart, array) * (1 + 1e-12)
    assert cycles <= layer_cycles(merged, array) * (1 + 1e-12)
    assert layer_cost(SHARED[name], array).macs == layer_cost(apart, array).macs
    assert layer_traffic(SHARED[name], array).bytes() <= layer_traffic(apart, array).bytes() * (1 + 1e-12)


@pytest.mark.parametrize("relaxation", ["logistic", "shifted", "generalized", "linear"])
@pytest.mark.parametrize("name", machines.ALL)
def test_shared_products_have_gradients(name, relaxation):
    torch = pytest.importorskip("torch")
    start = torch.tensor([24.3, 40.9], dtype=torch.float64, requires_grad=True)

    def cycles(sizes):
        gemm = MatMul(m=3, n=sizes[0], k=sizes[1], batch=24, weights_shared_by=6)
        return layer_cost(gemm, machines.ALL[name], relaxation=relaxation).cycles

    if not machines.ALL[name].has_buffers:  # the gradient of the best tilings is not that of which are the best
        assert torch.autograd.gradcheck(cycles, (start,), eps=1e-6, rtol=1e-3)
    (slope,) = torch.autograd.grad(cycles(start), (start,))
    assert torch.isfinite(slope).all()
    assert (slope > -1e-9).all()


# ---------------------------------------------------------------- each product is priced once


def test_a_report_prices_every_product_once():
    """Calls of the formula, by those of the fold timing: its pictures and its page take what was priced."""
    formula, calls = FOLD_TIMINGS["ideal"].cycles.__code__, 0

    def count(frame, event, _):
        nonlocal calls
        calls += event == "call" and frame.f_code is formula

    array = SystolicArray(8, 8, dram_bytes_per_s=1e9)
    sys.setprofile(count)
    try:
        summary = summarise(LENET, array)
        json.dumps(summary.as_dict())
        network_data(summary)
    finally:
        sys.setprofile(None)
    assert calls == len(LENET)


# ---------------------------------------------------------------- a further field


@dataclasses.dataclass(frozen=True, repr=False)
class Sparse(Gemm):
    """A product of which only a share of the MACs is needed."""

    density: float = 1.0

    @property
    def macs(self):
        """The MACs that are needed."""
        return self.density * super().macs


def test_a_further_field_of_a_product_reaches_the_vectorised_paths():
    widths, array = np.array([8, 16]), SystolicArray(8, 8, dram_bytes_per_s=1e9)
    layers = {"dense": Linear(8, widths), "sparse": Sparse(4, widths, 8, density=0.25)}
    report = network_cost(layers, array)
    assert report.layers["sparse"].macs.tolist() == [0.25 * 4 * 8 * 8, 0.25 * 4 * 16 * 8]
    assert report.layers["dense"].macs.tolist() == [64, 128]
    for change in (lambda gemm: gemm.map(lambda size: size), Gemm.by_position, Gemm.merged):
        assert change(Sparse(4, 8, 8, density=0.25)).density == 0.25


def test_a_further_field_of_a_product_reaches_a_calibration_and_a_sweep():
    from hwcost.calibration.measurements import Measurement
    from hwcost.calibration.stack import Stack
    from hwcost.sweep.pricing import UniqueGemms

    gemms = [Sparse(4, 8, 8, density=share) for share in (0.25, 0.5)]
    stack = Stack.of([Measurement((gemm,), 1.0) for gemm in (*gemms, Gemm(1, 2, 3))], SystolicArray(8, 8))
    assert stack.gemm.density.tolist() == [0.25, 0.5, 1.0]
    assert UniqueGemms.of(gemms).products == tuple(gemms)


@dataclasses.dataclass(frozen=True, repr=False)
class Blocked(Gemm):
    """A product with fields of several types."""

    block: tuple[int, ...] = (1, 1)
    label: str = ""
    sparse: bool = False

    @property
    def macs(self):
        """The MACs of whole blocks."""
        return self.block[0] * self.block[1] * super().macs


TORCH = lambda values: pytest.importorskip("torch").tensor(values)  # noqa: E731


@pytest.mark.parametrize(
    "sizes",
    [8, np.array([8, 16]), 8.5, np.array([8.5, 16.25]), TORCH],
    ids=["size", "sizes", "soft", "soft sizes", "torch"],
)
@pytest.mark.parametrize("other", [Blocked(1, 2, 3, block=(4, 5)), Linear(3, 2)], ids=["of its kind", "plain"])
def test_further_fields_of_any_type_are_priced(sizes, other):
    sizes = sizes([8.5, 16.5]) if callable(sizes) else sizes
    blocked = Blocked.of_checked(m=4, n=sizes, k=8, count=1, block=(2, 3), label="", sparse=False)
    report = network_cost([blocked, other], SystolicArray(8, 8, dram_bytes_per_s=1e9))
    for name, expected in (("0", 6 * 4 * 8 * sizes), ("1", other.gemms()[0].macs)):
        same = report.layers[name].macs == expected
        assert same if isinstance(same, bool) else same.all()
    assert blocked.map(lambda size: 2 * size).block == (4, 6)


def test_an_array_in_a_tuple_is_seen():
    blocked = Blocked(4, 8, 8, block=(np.array([1, 2]), 3))
    assert network_cost([blocked, Linear(3, 2)], SystolicArray(8, 8)).layers["0"].macs.tolist() == [768, 1536]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"label": "b"}, "Blocked.label"), ({"sparse": True}, "Blocked.sparse"), ({"block": (1, 2, 3)}, "Blocked.block")],
)
def test_a_field_that_cannot_be_stacked_is_refused(change, field):
    widths, array = np.array([8, 16]), SystolicArray(8, 8)
    layers = [Blocked(4, widths, 8), Blocked(4, 8, 8, **change)]
    with pytest.raises(InvalidValueError) as caught:
        network_cost(layers, array)
    assert caught.value.field == field
    assert network_cost([Blocked(4, 8, 8), layers[1]], array).total.cycles == 8


def test_two_kinds_of_products_are_not_mixed_in_one_array():
    layers = [Blocked(4, np.array([8, 16]), 8), Sparse(4, 8, 8)]
    with pytest.raises(InvalidValueError) as caught:
        network_cost(layers, SystolicArray(8, 8))
    assert caught.value.value is layers[1]


@pytest.mark.parametrize("by", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["logistic", "shifted", "generalized"])
def test_products_that_share_take_the_smooth_minimum(name, by):
    relaxation, array = RELAXATIONS[name], SystolicArray(8, 8)
    apart = layer_cost(Gemm(20, 21, 22, count=12), array, relaxation=name).cycles
    merged = layer_cost(Gemm(20 * by, 21, 22, count=12 // by), array, relaxation=name).cycles
    least = apart + merged - relaxation.maximum(apart, merged) if by > 1 else apart
    assert layer_cost(Gemm(20, 21, 22, count=12, weights_shared_by=by), array, relaxation=name).cycles == least


STRIDED = (
    Conv2d(8, 8, 1, height=14, width=14, stride=2), Conv2d(8, 8, 3, height=56, width=55, stride=2),
    Conv2d(6, 9, 2, height=31, width=30, stride=(3, 2), dilation=(1, 2), groups=3),
    Conv2d(4, 4, 1, height=9, width=9, padding=1),
)  # fmt: skip


@pytest.mark.parametrize("layer", STRIDED, ids=repr)
def test_pixels_that_a_stride_leaves_out_are_read_nowhere(layer):
    """With and without a buffer, and on memory with a limit, whose cycles count whole tensors."""
    sides = zip(
        layer.out_size, layer.stride, layer.kernel_size, layer.padding, (layer.height, layer.width), strict=True
    )
    rows, columns = (
        {place * stride + tap - padding for place in range(outputs) for tap in range(kernel)} & set(range(size))
        for outputs, stride, kernel, padding, size in sides
    )
    plain, roomy = SystolicArray(8, 8), SystolicArray(8, 8, buffer_bytes=1e9)
    found = layer_cost(layer, plain).dram_input_bytes
    assert found == layer_cost(layer, roomy).dram_input_bytes
    assert found <= layer.in_channels * layer.height * layer.width
    if layer.dilation == (1, 1):  # pixels between taps count as read
        assert found == layer.in_channels * len(rows) * len(columns)
    slow = SystolicArray(8, 8, dram_bytes_per_s=1e8)
    cost, whole = layer_cost(layer, slow), layer.gemms()[0].elements("inputs")
    assert cost.dram_input_bytes == layer_traffic(layer, slow).bytes("inputs") == found
    others = cost.dram_weight_bytes + cost.dram_output_bytes
    assert cost.memory_cycles == pytest.approx(10 * (whole + others))
    again = layer_cost(layer, SystolicArray(8, 8, dram_bytes_per_s=1e8, filter_block=2.0))
    assert again.dram_input_bytes > found
    swept = layer_cost(layer, SystolicArray(8, 8, dram_bytes_per_s=np.array([1e8, 1e9])))
    assert swept.dram_input_bytes == found
    network = network_cost([layer, Conv2d(3, 4, 3, height=np.array([9, 12]), width=9)], plain)
    assert (network.layers["0"].dram_input_bytes == found).all()


@pytest.mark.parametrize("fields", [{}, {"filter_block": 2.0}], ids=["once", "again"])
@pytest.mark.parametrize("layer", STRIDED, ids=repr)
def test_bytes_that_take_cycles_and_are_not_among_those_of_a_layer_are_told(layer, fields):
    array = SystolicArray(8, 8, dram_bytes_per_s=1e8, **fields)
    summary = summarise({"layer": layer}, array)
    gaps = summary.cost.memory_cycles / 10 - sum(row.traffic.bytes() for row in summary.rows)
    skipped = sum(skipped_inputs(summary.rows[0].moved, summary.rows[0].traffic, array).values())
    assert skipped == pytest.approx(gaps, abs=1e-6)
    told = f"{in_unit(skipped, BYTES, 4)} of inputs that strides leave out"
    assert (told in summary.document().below.get("not counted", "")) == (skipped > 0)
    for free in ({"buffer_bytes": 1e6}, {"input_bytes_per_s": math.inf}):
        other = summarise({"layer": layer}, dataclasses.replace(array, filter_block=math.inf, **free))
        assert "not counted" not in other.document().below


def test_an_estimate_tells_what_its_bytes_leave_out(capsys):
    line = "estimate --k 1 --c 20 --f 36 --h 32 --w 32 --device gemmini --stride"
    assert main([*line.split(), "2"]) == 0
    text = capsys.readouterr().out
    assert "inputs 5.12 kB" in text
    assert "not counted  15.36 kB of inputs that strides leave out, which take memory cycles" in text
    assert main([*line.split(), "1"]) == 0
    assert "not counted" not in capsys.readouterr().out


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(1, 300)] * 3), st.integers(2, 9), st.sampled_from(["ws", "os", "is"]),
    st.sampled_from([{}, {"buffer_bytes": 6000.0}, {"dram_bytes_per_s": 1e9}, {"bytes_per_output": 4.0},
                     {"dram_bytes_per_s": 1e8, "bandwidth_per_array": True}]),
)  # fmt: skip
def test_what_crosses_dram_crosses_the_memories_of_several_arrays_too(sizes, arrays, flow, fields):
    cost = layer_cost(Gemm(*sizes), SystolicArray(8, 8, arrays=arrays, dataflow=flow, **fields))
    for operand in ("weight", "input", "output", "partial"):
        assert getattr(cost, f"sram_{operand}_bytes") >= getattr(cost, f"dram_{operand}_bytes")
    assert cost.sram_output_bytes == 2 * cost.dram_output_bytes  # each is written by an array, and read for DRAM


@pytest.mark.parametrize("fields", [{}, {"dram_bytes_per_s": 1e9}, {"buffer_bytes": 1e5}])
def test_sizes_of_elements_may_be_an_array(fields):
    sizes = np.array([1.0, 1.5, 4.0])
    layer = Linear(150, 16, batch=100)
    cost = layer_cost(layer, SystolicArray(8, 8, bytes_per_element=sizes, **fields))
    for index, size in enumerate(sizes.tolist()):
        one = layer_cost(layer, SystolicArray(8, 8, bytes_per_element=size, **fields))
        for name in ("dram_bytes", "sram_bytes"):
            assert getattr(cost, name)[index] == getattr(one, name)
