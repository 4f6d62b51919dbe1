"""Laws that hold on every machine that can be made, and numbers at the ends of what floats hold."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import pkgutil
import random

import numpy as np
import pytest
from refusals import refused

import hwcost
from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    LOWERINGS,
    RELAXATIONS,
    Conv2d,
    Cost,
    Gemm,
    InvalidValueError,
    Linear,
    MatMul,
    SystolicArray,
    layer_cost,
    smooth_ceil,
)
from hwcost.arrays.values import _are_equal
from hwcost.machine.array import IdleFieldError
from hwcost.machine.folds import FoldTiming

_RATES = ("dram", "weight", "input", "output", "reread", "vector", "host", "spill")
BANDWIDTHS = [f"{name}_bytes_per_s" for name in _RATES]
FIELDS = {
    "dataflow": list(DATAFLOWS),
    "fold_timing": list(FOLD_TIMINGS),
    "lowering": list(LOWERINGS),
    "row_stairs": [0, 0.3, 0.71],
    "col_stairs": [0, 0.5, 0.99],
    "max_streamed": [1, 3, 64],
    "min_streamed": [1, 16.0, 100.5],
    "accumulators": [1, 64, 4096],
    "filter_block": [1, 3.5, 64],
    "rereads_inputs": [True],
    "drains_outputs": [True],
    "counts_last_fold": [False],
    "starts_up": [True],
    "cycles_per_row": [0.1, 0.5, 1.5],
    "cycles_per_fold": [3, 100.5],
    "cycles_per_layer": [3, 100.5],
    "cycles_per_block": [3, 100.5],
    "cycles_per_output_block": [3, 100.5],
    "fold_latency": [30, 5000],
    "readers": [2, 8],
    "single_block": [16, 512],
    "overlap": [0.3, 1],
    "reread_stairs": [0.3, 1],
    "channel_multiple": [2, 4, 32],
    "parallel_operands": [True],
    "arrays": [2, 3, 8],
    "bandwidth_per_array": [True],
    "cycles_per_run": [3, 100.5],
    "weight_capacity_bytes": [1e3, 1e5],
    "filter_multiple": [3, 64],
    "patch_height": [1, 2, 5],
    "patch_width": [1, 4],
    "positions_at_once": [2, 4, 9],
    "depthwise_columns": [True],
    "spreads_vectors": [True],
    "pipeline_cycles": [3, 500.5],
    "cycles_per_output": [0.25, 30],
    "burst_bytes": [32, 128],
    "run_channels": [4, 16],
    "tile_bytes": [3000, 40960],
    "bank_bytes": [1000, 16384],
    "weights_apart": [True],
    "weights_ahead": [True],
    "start_up_cycles": [3, 100.5],
    "col_table": [(1.0, 3.0, 2.0), (0.01,)],
    **{name: [1e8, 1e9, 1e10] for name in BANDWIDTHS},
    "bytes_per_output": [2.0, 4.0],
    "partial_bytes": [1.0, 2.0],
    **{f"{name}buffer_bytes": [1e5, 1e7] for name in ("", "weight_", "input_", "output_")},
    "double_buffered": [True],
    "reload_weight": [0.0, 0.3],
    "joules_per_mac": [1e-12],
    "joules_per_sram_byte": [2e-12],
    "joules_per_sram_byte_written": [1e-12],
    "joules_per_accumulator_byte": [3e-12],
    "joules_per_dram_byte": [1e-10],
    "idle_watts": [0.5],
}


def machine_of(rng):
    fields = {name: rng.choice(values) for name, values in FIELDS.items() if rng.random() < 0.3}
    fields |= {name: rng.choice([1, 2, 8, 37, 64]) for name in ("rows", "cols")}
    while True:
        try:
            return SystolicArray(**fields)
        except IdleFieldError as error:
            del fields[error.field.partition(".")[2]]


@pytest.mark.parametrize("seed", range(4))
def test_work_takes_time_and_no_more_of_the_array_than_there_is(seed):
    rng = random.Random(seed)
    for _ in range(500):
        array = machine_of(rng)
        sizes = {letter: rng.choice([1, 2, 4, 14, 100, 300]) for letter in "mnk"} | {"count": rng.choice([1, 3, 58])}
        cost = layer_cost(Gemm(**sizes), array)
        assert 0 < cost.utilization <= 1 + 1e-12, (array, sizes)
        parts = cost.compute_cycles + cost.overhead_cycles + cost.waiting_cycles
        assert cost.cycles == pytest.approx(parts, rel=1e-12)
        assert min(cost.compute_cycles, cost.overhead_cycles, cost.waiting_cycles) >= 0
        if array.col_table or array.tile_bytes < math.inf:  # a larger layer may take less time
            continue
        letter = rng.choice("mnk")
        larger = layer_cost(Gemm(**sizes | {letter: sizes[letter] + rng.choice([1, 7, 100])}), array)
        assert larger.cycles >= cost.cycles * (1 - 1e-12), (array, sizes, letter)


@pytest.mark.parametrize(
    ("gemm", "fields"),
    [
        (Gemm(100, 4, 4, count=3), {"row_stairs": 0, "col_stairs": 0, "counts_last_fold": False}),
        (Gemm(8, 8, 8), {"counts_last_fold": False}),
        (Gemm(64, 8, 16, 2), {"cycles_per_row": 5e-324}),
        (Gemm(64, 8, 16, 2), {"fold_timing": FoldTiming("free", lambda folds: 0 * folds.streamed, "no cycles at all")}),
    ],
)
def test_a_machine_takes_at_least_the_cycles_of_the_macs(gemm, fields):
    cost = layer_cost(gemm, SystolicArray(8, 8, **fields))
    assert (cost.cycles, cost.utilization) == (gemm.macs / 64, 1)
    swept = layer_cost(dataclasses.replace(gemm, m=np.array([gemm.m])), SystolicArray(8, 8, **fields))
    assert swept.cycles.tolist() == [cost.cycles]


@pytest.mark.parametrize(
    "fields",
    [
        {"clock_hz": 5e-324},
        {"cycles_per_row": 1e308},
        {"dram_bytes_per_s": 5e-324},
        {"clock_hz": 1e308, "dram_bytes_per_s": 1e-20},
        {"filter_block": 8.0, "reread_bytes_per_s": 5e-324},
        {"dram_bytes_per_s": 1e9, "bytes_per_element": 1e308},
        {"dram_bytes_per_s": 1e9, "bytes_per_element": np.array([1.0, 1e308])},
        {"cycles_per_layer": 1.7e308, "cycles_per_fold": 1.7e308},
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_machine_on_which_a_result_is_not_finite_is_refused(fields):
    with refused("the cost"):
        layer_cost(Gemm(8, 64, 8), SystolicArray(8, 8, **fields))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_soft_sizes_beyond_a_float_are_refused(dtype):
    size = np.array([1.0, np.finfo(dtype).max / 4], dtype=dtype)
    with refused("the cost"):
        layer_cost(Gemm(size, size, size), SystolicArray(8, 8))


def test_integers_beyond_a_float_are_refused_where_floats_meet_them():
    with pytest.raises(InvalidValueError):
        layer_cost(Gemm(10**200, 10**200, 8), SystolicArray(8, 8, cycles_per_layer=0.5))


@pytest.mark.parametrize("kind", RELAXATIONS)
def test_ladders_end_where_the_ceiling_does(kind, library):
    row = RELAXATIONS[kind]
    x = library.array([math.inf, 2.5])
    assert library.numpy(smooth_ceil(x, kind=kind))[0] == math.inf == smooth_ceil(math.inf, kind=kind)
    assert not math.isnan(smooth_ceil(-math.inf, kind=kind))
    assert not np.isnan(library.numpy(row.slope(x))).any()


def test_a_ladder_of_some_steps_ends_at_their_number():
    assert smooth_ceil(math.inf, steps=7) == 7
    assert smooth_ceil(math.inf, positions=[0, 2, 4]) == 3


# ---------------------------------------------------------------- frozen values

STATES = {"Pruned", "PruningReport", "_Distances", "_Entry", "_Known", "Step", "SuperNet", "GraphValue", "Value"}
"""Dataclasses that a run, a training or a fine-tuning fills in; all others are values."""


def test_values_are_frozen():
    kinds = set()
    for module in pkgutil.walk_packages(hwcost.__path__, "hwcost."):
        if module.name != "hwcost.__main__":
            with contextlib.suppress(ImportError):  # an optional library
                kinds.update(filter(dataclasses.is_dataclass, vars(importlib.import_module(module.name)).values()))
    kinds = {kind for kind in kinds if isinstance(kind, type) and kind.__module__.startswith("hwcost")}
    assert {"Conv2d", "Cost", "SystolicArray", "Network"} <= {kind.__name__ for kind in kinds}
    assert {kind.__name__ for kind in kinds if not kind.__dataclass_params__.frozen} <= STATES


# ---------------------------------------------------------------- arrays in frozen values

KINDS = {
    "Linear": lambda a: Linear(a, 5),
    "Conv2d": lambda a: Conv2d(3, a, (3, a), height=8, width=8),
    "MatMul": lambda a: MatMul(a, 2, 3),
    "Gemm": lambda a: Gemm(4, a, 6, window=(2,), inputs=(a, 2)),
    "SystolicArray": lambda a: SystolicArray(a, 8, min_streamed=a / 2),
    "Cost": lambda a: Cost(cycles=a, macs=3),
}
make_each = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


@pytest.mark.parametrize("values", [[5, 6], [5.0, 6.0]], ids=["counts", "soft"])
@make_each
def test_values_do_not_change_with_the_arrays_that_they_were_made_of(make, values, library):
    base = library.array(values)
    value = make(base)
    with contextlib.suppress(TypeError):  # an array that cannot change
        base[0] = -3
    assert value == make(library.array(values))


@make_each
def test_arrays_of_values_are_read_only(make):
    base = np.array([5, 6])
    value = make(base)
    assert base.flags.writeable
    for held in vars(value).values():
        for each in held if isinstance(held, tuple) else [held]:
            assert not (isinstance(each, np.ndarray) and each.flags.writeable)


def test_soft_widths_that_are_trained_stay_as_they_are():
    torch = pytest.importorskip("torch")
    width = torch.tensor([5.0, 6.0], requires_grad=True)
    assert Linear(width, 5).in_features is width


@make_each
def test_values_of_arrays_compare_and_hash_by_content(make, library):
    one, same, other = (make(library.array(values)) for values in ([5, 6], [5, 6], [5, 7]))
    assert one == same
    assert one != other
    assert hash(one) == hash(same)
    assert len({one, same, other}) == 2
    assert one != make(5)
    assert make(5) == make(5)


@pytest.mark.parametrize("kind", [np.matrix, np.ma.MaskedArray, np.rec.array])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_arrays_with_another_arithmetic_are_refused(kind):
    odd = kind([[5, 6], [7, 8]])
    for make in (lambda: Linear(odd, 5), lambda: SystolicArray(8, 8, min_streamed=odd), lambda: smooth_ceil(odd)):
        with pytest.raises(InvalidValueError):
            make()
    with pytest.raises((InvalidValueError, TypeError)):
        Cost(cycles=3) * odd


def test_costs_scale_by_factors_from_0(library):
    with pytest.raises(InvalidValueError):
        Cost(cycles=3) * library.array([1, -1])
    assert library.numpy((Cost(cycles=3) * library.array([1, 0])).cycles).tolist() == [3, 0]


def test_a_tuple_equals_no_number_and_no_text():
    for value in (3, "ab", None, {"a": 1}):
        assert not _are_equal((1, 2), value)
        assert not _are_equal(value, (1, 2))
    assert _are_equal((1, (2, np.array([3]))), (1, (2, np.array([3]))))
