"""The formula: against the author's, against the twin, over every kind of number, with gradient and compiled."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
import warnings

import numpy as np
import pytest
import twin
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trying import tried

import hwcost
from hwcost import (
    DATAFLOWS,
    EXACT,
    FOLD_TIMINGS,
    RELAXATIONS,
    Conv2d,
    Cost,
    Gemm,
    InvalidValueError,
    Linear,
    SystolicArray,
    arrays,
    layer_cost,
    runtime,
)
from hwcost.model.formula import layer_cycles
from hwcost.model.layout import lay_out

LETTERS = ("k1", "k2", "c", "f", "h", "w", "batch", "s1", "s2")
HUGE = st.integers(min_value=1, max_value=2**80)
SMALL = st.integers(min_value=1, max_value=300)
SMOOTH = [name for name, row in RELAXATIONS.items() if row.slope(0.3) != 0 and row.value(0.3) != math.ceil(0.3)]
"""Rows whose value has the slope that it says it has; the ceilings' has it nowhere or only for training."""


def author(k1, k2, c, f, h, w, batch, s1, s2):
    """The author's formula, in Python integers of any size."""
    rows, last = divmod(k1 * k2 * c, s1)
    cols, last_cols = divmod(f, s2)
    return (rows + (last > 0)) * (cols + (last_cols > 0)) * h * w * batch


# ---------------------------------------------------------------- integers


@given(st.tuples(*[HUGE] * 9))
def test_equals_the_formula_at_any_magnitude(sizes):
    cycles = runtime(**dict(zip(LETTERS, sizes, strict=True)))
    assert type(cycles) is int
    assert cycles == author(*sizes)


@given(st.tuples(*[SMALL] * 9))
def test_equals_the_formula_at_sizes_of_networks(sizes):
    assert runtime(**dict(zip(LETTERS, sizes, strict=True))) == author(*sizes)


def test_documented_figures():
    assert runtime(k1=5, k2=5, c=6, f=16, s1=8, s2=8) == 19 * 2
    assert runtime(k1=5, k2=5, c=6, f=16, h=10, w=10, batch=3, s1=8, s2=8) == 19 * 2 * 300
    assert [runtime(k1=1, k2=1, c=1, f=f, s1=1, s2=64) for f in (64, 65, 128, 129)] == [1, 2, 2, 3]


def test_keywords_only():
    with pytest.raises(TypeError):
        runtime(1, 1, 1, 1, s1=1, s2=1)


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("bad", [0, -3, True, 2.5, math.nan, math.inf, "3", None, [1], 1j])
def test_bad_size_is_named_by_its_letter(letter, bad):
    sizes = dict.fromkeys(LETTERS, 2) | {letter: bad}
    with pytest.raises(InvalidValueError) as caught:
        runtime(**sizes)
    assert letter in caught.value.field
    assert "allowed: " in str(caught.value)


# ---------------------------------------------------------------- the twin


GEMMS = st.fixed_dictionaries({letter: st.integers(1, 7) for letter in "mnk"} | {"count": st.integers(1, 3)})


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(sizes=GEMMS, rows=st.integers(1, 5), cols=st.integers(1, 5))
@tried(40)
def test_equals_the_walk_over_the_tiles(dataflow, timing, sizes, rows, cols):
    walked = twin.simulate(sizes, rows, cols, dataflow, timing)
    cost = layer_cost(Gemm(**sizes), SystolicArray(rows, cols, dataflow=dataflow, fold_timing=timing))
    assert (cost.cycles, cost.folds, cost.macs) == (walked.cycles, walked.folds, walked.macs)
    assert cost.pe_cycles == walked.cycles * rows * cols
    assert cost.utilization == walked.macs / (walked.cycles * rows * cols)


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(sizes=GEMMS, rows=st.integers(1, 5), cols=st.integers(1, 5), most=st.integers(1, 4), drains=st.booleans())
@tried(40)
def test_equals_the_walk_over_short_streams_and_drained_outputs(dataflow, timing, sizes, rows, cols, most, drains):
    drains = drains and (dataflow, timing) == ("os", "serial")
    walked = twin.simulate(sizes, rows, cols, dataflow, timing, most=most, drains=drains)
    array = SystolicArray(rows, cols, dataflow=dataflow, fold_timing=timing, max_streamed=most, drains_outputs=drains)
    cost = layer_cost(Gemm(**sizes), array)
    assert (cost.cycles, cost.folds, cost.macs) == (walked.cycles, walked.folds, walked.macs)


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_equals_the_walk_over_the_tiles_of_larger_products(dataflow, timing):
    for sizes in ({"m": 49, "n": 70, "k": 27, "count": 1}, {"m": 3, "n": 16, "k": 130, "count": 2}):
        walked = twin.simulate(sizes, 16, 8, dataflow, timing, multiply=False)
        cost = layer_cost(Gemm(**sizes), SystolicArray(16, 8, dataflow=dataflow, fold_timing=timing))
        assert (cost.cycles, cost.folds, cost.macs) == (walked.cycles, walked.folds, walked.macs)


def test_every_row_of_the_model_has_a_twin():
    assert set(twin.LETTERS) == set(twin.STATIONARY_IS_LOADED) == set(DATAFLOWS)
    assert set(twin.CYCLES) == set(FOLD_TIMINGS)


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(sizes=GEMMS, rows=SMALL, cols=SMALL, scale=st.sampled_from([1, 10, 10**6]))
def test_no_array_does_more_than_it_has(dataflow, timing, sizes, rows, cols, scale):
    sizes = {name: size if name == "count" else size * scale for name, size in sizes.items()}
    array = SystolicArray(rows, cols, dataflow=dataflow, fold_timing=timing)
    cost = layer_cost(Gemm(**sizes), array)
    assert 0 < cost.utilization <= 1
    assert cost.macs <= cost.pe_cycles
    ideal = layer_cost(Gemm(**sizes), SystolicArray(rows, cols, dataflow=dataflow))
    assert cost.cycles >= ideal.cycles
    assert cost.folds == ideal.folds


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(sizes=GEMMS, rows=st.integers(1, 9), cols=st.integers(1, 9), letter=st.sampled_from(["m", "n", "k", "count"]))
def test_more_work_never_costs_less(dataflow, timing, sizes, rows, cols, letter):
    array = SystolicArray(rows, cols, dataflow=dataflow, fold_timing=timing)
    less, more = (layer_cost(Gemm(**(sizes | {letter: sizes[letter] + more})), array) for more in (0, 1))
    assert more.cycles >= less.cycles
    assert more.folds >= less.folds
    assert more.macs > less.macs


def test_rows_of_the_dataflows():
    laid = {name: lay_out(Gemm(m=30, n=20, k=10), SystolicArray(4, 8, dataflow=name)) for name in ("ws", "os", "is")}
    assert {name: (f.along_rows, f.along_cols, f.streamed) for name, f in laid.items()} == {
        "ws": (3, 3, 30),
        "os": (8, 3, 10),
        "is": (3, 4, 20),
    }
    assert {name: DATAFLOWS[name].fill_and_drain(4, 8) for name in laid} == {"ws": 14, "os": 10, "is": 14}


@pytest.mark.parametrize("row", DATAFLOWS.values(), ids=list(DATAFLOWS))
def test_outputs_are_shifted_out_once(row):
    drained = row.drained()
    assert drained.drained() == drained
    assert drained.fill_and_drain(4, 8) == row.fill_and_drain(4, 8) + 4 * row.drain_passes


@pytest.mark.parametrize("table", [DATAFLOWS, FOLD_TIMINGS, RELAXATIONS], ids=["dataflows", "timings", "relaxations"])
def test_tables_are_read_only_and_say_what_they_hold(table):
    for name, row in table.items():
        assert row.name == name
        assert row.summary
    with pytest.raises(TypeError):
        table["new"] = None


# ---------------------------------------------------------------- costs


def some_costs():
    a = layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8))
    b = layer_cost(Linear(400, 120), SystolicArray(16, 4, dataflow="os", fold_timing="serial", clock_hz=2e8))
    return a, b


def test_costs_add_and_scale():
    a, b = some_costs()
    assert (a + b).cycles == a.cycles + b.cycles
    assert sum([a, b, a]).macs == 2 * a.macs + b.macs
    assert (3 * a) == (a * 3) == a + a + a
    assert (a + b).seconds == pytest.approx(a.cycles / 1e9 + b.cycles / 2e8)
    assert (a + Cost()) == a
    assert 0 * a == Cost()
    assert (a * 0.5).cycles == a.cycles / 2


def test_utilization_is_a_ratio_of_sums_across_layers_and_arrays():
    a, b = some_costs()
    expected = (a.macs + b.macs) / (a.cycles * 64 + b.cycles * 64)
    assert (a + b).utilization == expected != (a.utilization + b.utilization) / 2
    small = layer_cost(Linear(400, 120), SystolicArray(4, 4))
    large = layer_cost(Linear(400, 120), SystolicArray(128, 128))
    assert sum([small, large]).utilization == 2 * 48000 / (small.cycles * 16 + large.cycles * 16384)
    assert Cost().utilization == 0.0
    of_time = {name: figure for name, figure in a.as_dict().items() if "bytes" not in name and "joules" not in name}
    assert of_time == {
        "macs": a.macs, "cycles": a.cycles, "seconds": a.seconds, "folds": a.folds, "pe_cycles": a.pe_cycles,
        "compute_cycles": a.cycles, "memory_cycles": 0, "overhead_cycles": 0, "waiting_cycles": 0, "bound": "compute",
        "utilization": a.utilization, "average_watts": None, "energy_delay": None,
    }  # fmt: skip
    assert a.as_dict()["dram_bytes"] == a.dram_weight_bytes + a.dram_input_bytes + a.dram_output_bytes
    assert a.as_dict()["energy_joules"] is None


@pytest.mark.parametrize("other", [1, None, "cost", 2.0])
def test_costs_add_to_costs_alone(other):
    with pytest.raises(TypeError):
        some_costs()[0] + other
    with pytest.raises(TypeError):
        some_costs()[0] * some_costs()[1]
    if other is not None and other != "cost":
        with pytest.raises(TypeError):
            other + some_costs()[0]


@pytest.mark.parametrize("factor", [-1, -0.5, math.nan])
def test_costs_scale_by_what_can_be(factor):
    with pytest.raises(InvalidValueError, match="factor"):
        some_costs()[0] * factor


def test_cost_is_frozen():
    with pytest.raises(AttributeError):
        some_costs()[0].cycles = 3


def test_seconds_come_from_the_clock():
    assert layer_cost(Linear(8, 8, batch=50), SystolicArray(8, 8, clock_hz=5e8)).seconds == 1e-7


def test_clocks_may_be_an_array():
    clocks = np.array([2e8, 1e9, 3e9])
    array = SystolicArray(8, 8, clock_hz=clocks, dram_bytes_per_s=2e9, weight_bytes_per_s=math.inf)
    cost = layer_cost(Linear(150, 16, batch=100), array)
    for clock, cycles, seconds in zip(clocks.tolist(), cost.cycles.tolist(), cost.seconds.tolist(), strict=True):
        one = layer_cost(Linear(150, 16, batch=100), dataclasses.replace(array, clock_hz=clock))
        assert (cycles, seconds) == (one.cycles, one.seconds)
    bare = layer_cost(Linear(150, 16), SystolicArray(8, 8, clock_hz=clocks))
    assert bare.cycles == layer_cost(Linear(150, 16), SystolicArray(8, 8)).cycles
    assert bare.seconds.tolist() == (bare.cycles / clocks).tolist()


def test_seconds_of_a_huge_layer():
    assert layer_cost(Linear(2**80, 1), SystolicArray(1, 1)).seconds == 2.0**80 / 1e9
    with pytest.raises(InvalidValueError, match=r"1\.8e308"):
        layer_cost(Linear(2**2000, 1), SystolicArray(1, 1))
    with pytest.raises(InvalidValueError, match=r"1\.8e308"):
        runtime(k1=1, k2=1, c=2, f=2, h=2**2000, s1=1, s2=1, relaxation="linear")
    assert runtime(k1=1, k2=1, c=2**2000, f=1, s1=1, s2=1) == 2**2000


@pytest.mark.parametrize("what", [3, "layer", None, Linear, object()])
def test_not_a_layer(what):
    with pytest.raises(InvalidValueError, match="gemms"):
        layer_cost(what, SystolicArray(8, 8))


@pytest.mark.parametrize("what", [3, None, SystolicArray])
def test_not_an_array(what):
    with pytest.raises(InvalidValueError, match="SystolicArray"):
        layer_cost(Linear(3, 4), what)


def test_every_row_prices_the_same_formula():
    """Relaxed ceilings enter where the exact ones do, and nowhere else."""
    for row in RELAXATIONS.values():
        cycles = runtime(k1=5, k2=5, c=6, f=20, h=3, s1=8, s2=8, relaxation=row)
        assert cycles == pytest.approx(row.value(150 / 8) * row.value(20 / 8) * 3, rel=1e-14)
        assert cycles == runtime(k1=5, k2=5, c=6, f=20, h=3, s1=8, s2=8, relaxation=row.name)


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_every_combination_of_rows_is_priced_near_the_exact(dataflow, timing, relaxation):
    array = SystolicArray(16, 8, dataflow=dataflow, fold_timing=timing)
    layer = Conv2d(24, 40, 3, height=12, width=12)
    exact, relaxed = layer_cost(layer, array), layer_cost(layer, array, relaxation=relaxation)
    assert relaxed.macs == exact.macs
    assert 0.8 * exact.cycles < relaxed.cycles < 1.3 * exact.cycles
    assert relaxed.pe_cycles == pytest.approx(relaxed.cycles * 128)
    assert layer_cycles(layer, array, RELAXATIONS[relaxation]) == relaxed.cycles


@pytest.mark.parametrize("bad", ["nope", None, 3])
def test_unknown_relaxation(bad):
    with pytest.raises(InvalidValueError, match="one of: exact"):
        runtime(k1=1, k2=1, c=1, f=1, s1=1, s2=1, relaxation=bad)


# ---------------------------------------------------------------- numpy


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4, min_side=1),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_arrays_broadcast_to_what_a_loop_gives(shapes, s2, random):
    rng = np.random.default_rng(random.randrange(2**32))
    c, f, s1 = (rng.integers(1, 200, shape) for shape in shapes.input_shapes)
    cycles = runtime(k1=3, k2=3, c=c, f=f, s1=s1, s2=s2)
    grid = np.broadcast_arrays(c, f, s1)
    expected = [
        author(3, 3, int(a), int(b), 1, 1, 1, int(r), s2) for a, b, r in zip(*(g.flat for g in grid), strict=True)
    ]
    assert np.shape(cycles) == shapes.result_shape
    assert np.ravel(cycles).tolist() == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_narrow_integers_do_not_wrap(dtype):
    c = np.array([1, 100, 127], dtype=dtype)
    cycles = runtime(k1=c, k2=c, c=c, f=c, h=c, w=c, batch=c, s1=1, s2=1)
    assert cycles.tolist() == [1, 100**7, 127**7]
    layer = Linear(np.array([120], dtype=dtype), np.array([120], dtype=dtype), batch=np.array([120], dtype=dtype))
    assert layer_cost(layer, SystolicArray(1, 1)).macs.tolist() == [120**3]


WIDE = st.one_of(st.integers(1, 100), st.integers(1, 2**33), st.integers(2**58, 2**63 - 1), st.integers(1, 2**70))


@given(
    st.tuples(*[WIDE] * 4), st.sets(st.sampled_from(["k1", "c", "f", "s1"]), min_size=1), st.sampled_from([(), (1,)])
)
@tried(200)
def test_products_of_arrays_are_right_or_raise(values, in_arrays, shape):
    sizes = dict(zip(("k1", "c", "f", "s1"), values, strict=True))
    exact = author(k2=3, h=2, w=1, batch=1, s2=7, **sizes)
    try:
        given_sizes = {n: np.full(shape, v, np.int64) if n in in_arrays else v for n, v in sizes.items()}
    except OverflowError:
        return
    fits = max(sizes["k1"] * sizes["c"] * 3, sizes["f"], sizes["s1"], exact) < 2**63
    try:
        cycles = runtime(k2=3, h=2, s2=7, **given_sizes)
    except InvalidValueError:
        assert not fits
    else:
        assert np.ravel(cycles).tolist() == [exact]


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(st.tuples(*[WIDE] * 5))
@tried(60)
def test_costs_of_arrays_are_right_or_raise(dataflow, timing, values):
    values = [min(value, 2**63 - 1) for value in values]
    exact = layer_cost(Gemm(*values[:3]), SystolicArray(*values[3:], dataflow=dataflow, fold_timing=timing))
    arrays = [np.array([value]) for value in values]
    try:
        array = SystolicArray(*arrays[3:], dataflow=dataflow, fold_timing=timing)
        cost = layer_cost(Gemm(*arrays[:3]), array)
        double = cost + cost
    except InvalidValueError:
        biggest = 2 * max(exact.pe_cycles, exact.macs, 2 * values[3] + values[4] + max(values[:3]))
        assert biggest > 2**63 - 1
    else:
        assert (cost.cycles[0], cost.folds[0], cost.macs[0], cost.pe_cycles[0]) == (
            exact.cycles, exact.folds, exact.macs, exact.pe_cycles,
        )  # fmt: skip
        assert double.pe_cycles[0] == 2 * exact.pe_cycles


def test_sums_and_multiples_of_arrays_raise_rather_than_wrap():
    cost = layer_cost(Linear(np.array([2**31]), 2**30), SystolicArray(1, 1))
    with pytest.raises(InvalidValueError, match="macs"):
        sum([cost] * 8)
    with pytest.raises(InvalidValueError, match="macs"):
        8 * cost
    with pytest.raises(InvalidValueError, match="integer arrays"):
        hwcost.network_cost([Linear(np.array([2**31]), 2**30)] * 8, SystolicArray(1, 1))


def test_arrays_without_axes_are_numbers():
    assert runtime(k1=np.array(2**30), k2=np.array(2**30), c=1, f=np.array(2**30), s1=1, s2=1) == 2**90
    soft = runtime(k1=1, k2=1, c=np.array(12.5), f=1, s1=8, s2=1)
    assert float(soft) == 2.0


def test_numpy_scalars_are_numbers():
    cycles = runtime(k1=np.int8(100), k2=np.int8(100), c=np.uint8(200), f=np.float64(3.0), s1=np.int32(7), s2=2)
    assert type(cycles) is int
    assert cycles == author(100, 100, 200, 3, 1, 1, 1, 7, 2)


def test_empty_arrays():
    assert runtime(k1=1, k2=1, c=np.array([], dtype=np.int64), f=2, s1=1, s2=1).shape == (0,)
    assert runtime(k1=1, k2=1, c=np.empty((3, 0)), f=2, s1=1, s2=1, relaxation="shifted").shape == (3, 0)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize(
    "shapes", [((41,), (41,)), ((9, 1), (1, 7)), ((1, 7), (9, 1)), ((5, 1, 3), (4, 3)), ((1, 41), (1,)), ((8,), ()),
               ((9,), (9,)), ((16, 1), (16, 2)), ((3,), (11, 3))],
)  # fmt: skip
def test_large_sweeps_go_in_blocks_that_change_nothing(relaxation, shapes):
    rng = np.random.default_rng(1)
    c, f = (rng.integers(1, 100, shape) for shape in shapes)
    sizes = {"k1": 3, "k2": 1, "c": c, "f": f, "s1": 8, "s2": 16}
    price = functools.partial(runtime, relaxation=relaxation)
    whole = price(**sizes)
    for block in (1, 2, 4, 8, 20):
        blocks = arrays.in_blocks(price, sizes, block=block)
        assert blocks.dtype == whole.dtype
        assert blocks.shape == whole.shape
        np.testing.assert_allclose(blocks, whole, rtol=0 if relaxation == "exact" else 1e-14)


def test_the_real_block_size_is_crossed():
    block = 2**17
    c = np.arange(1, 2 * block + 3)
    cycles = runtime(k1=3, k2=3, c=c, f=5, s1=16, s2=4)
    at = [0, block - 1, block, 2 * block, len(c) - 1]
    assert cycles.shape == c.shape
    assert cycles[at].tolist() == [author(3, 3, i + 1, 5, 1, 1, 1, 16, 4) for i in at]


def test_blocks_are_blocks():
    seen = []
    out = arrays.in_blocks(lambda *, x, y: (seen.append(np.broadcast(x, y).size), x * y)[1],
                           {"x": np.arange(10), "y": 3}, block=4)  # fmt: skip
    assert out.tolist() == list(range(0, 30, 3))
    assert seen == [4, 4, 2]


@pytest.mark.parametrize("bad", [0, -1])
def test_an_error_in_a_later_block_is_raised(bad):
    c = np.arange(1, 101)
    c[90] = bad
    with pytest.raises(InvalidValueError, match=rf"c is {bad}; allowed"):
        arrays.in_blocks(runtime, {"k1": 1, "k2": 1, "c": c, "f": 1, "s1": 1, "s2": 1}, block=8)
    soft = np.linspace(1, 9, 100)
    soft[90] = math.nan
    with pytest.raises(InvalidValueError, match="s1 is nan; allowed"):
        arrays.in_blocks(runtime, {"k1": 1, "k2": 1, "c": 3, "f": 1, "s1": soft, "s2": 1}, block=8)


def test_an_overflow_in_a_later_block_is_raised():
    f = np.ones(100, dtype=np.int64)
    f[95] = 2**62
    with pytest.raises(InvalidValueError, match="integer arrays"):
        arrays.in_blocks(runtime, {"k1": 1, "k2": 1, "c": 8, "f": f, "s1": 1, "s2": 1}, block=8)


def test_arguments_are_not_written_to():
    c = np.arange(1, 50)
    arrays.in_blocks(runtime, {"k1": 1, "k2": 1, "c": c, "f": 1, "s1": 4, "s2": 1}, block=4)
    assert c.tolist() == list(range(1, 50))


# ---------------------------------------------------------------- torch


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_tensors_carry_gradients_in_every_dtype(relaxation, dtype):
    torch = pytest.importorskip("torch")
    row = RELAXATIONS[relaxation]
    c = torch.tensor([4.0, 9.0, 32.5], dtype=getattr(torch, dtype), requires_grad=True)
    f = torch.tensor(20.0, dtype=getattr(torch, dtype), requires_grad=True)
    cycles = runtime(k1=3, k2=3, c=c, f=f, h=7, s1=16, s2=8, relaxation=relaxation)
    assert cycles.shape == (3,)
    assert bool(torch.isfinite(cycles).all())
    # half precision is computed in float32, which is finer than its own rounding
    rel = 1e-12 if dtype == "float64" else 2e-6
    c64, f64 = c.detach().double().numpy(), float(f.detach())
    expected = row.value(c64 * 9 / 16) * row.value(f64 / 8) * 7
    np.testing.assert_allclose(cycles.detach().double().numpy(), expected, rtol=rel)
    if relaxation == "exact":
        return
    cycles.sum().backward()
    expected = row.slope(c64 * 9 / 16) * 9 / 16 * row.value(f64 / 8) * 7
    tolerance = {"float64": 1e-9, "float32": 1e-4}.get(dtype, 1e-2)
    np.testing.assert_allclose(c.grad.double().numpy(), expected, rtol=tolerance, atol=1e-6)
    assert f.grad.dtype == f.dtype


def leaves(torch, *, ceiling):
    """Sizes as double leaves; away from the risers where the value is a ceiling."""
    c = torch.tensor([3.0, 5.3, 8.0, 17.9] if not ceiling else [3.1, 5.3, 9.9], dtype=torch.float64)
    return tuple(t.requires_grad_() for t in (c, torch.tensor(11.3, dtype=torch.float64)))


@pytest.mark.parametrize("relaxation", SMOOTH)
def test_first_and_second_derivatives(relaxation):
    torch = pytest.importorskip("torch")

    def price(c, f):
        return runtime(k1=1, k2=1, c=c, f=f, s1=4, s2=8, relaxation=relaxation)

    inputs = leaves(torch, ceiling=False)
    assert torch.autograd.gradcheck(price, inputs)
    assert torch.autograd.gradgradcheck(price, inputs)


@pytest.mark.parametrize("relaxation", [name for name in RELAXATIONS if name not in SMOOTH])
def test_derivatives_of_ceilings(relaxation):
    """Flat but for the slope that the row says it lends."""
    torch = pytest.importorskip("torch")
    c, f = leaves(torch, ceiling=True)
    runtime(k1=1, k2=1, c=c, f=f, s1=4, s2=8, relaxation=relaxation).sum().backward()
    row = RELAXATIONS[relaxation]
    np.testing.assert_allclose(c.grad, row.slope(c.detach() / 4) / 4 * row.value(11.3 / 8))
    assert row.value(c.detach() / 4).tolist() == torch.ceil(c.detach() / 4).tolist()


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("relaxation", SMOOTH)
def test_derivatives_on_every_array(relaxation, dataflow, timing):
    torch = pytest.importorskip("torch")
    array = SystolicArray(8, 8, dataflow=dataflow, fold_timing=timing)

    def price(width, rows):
        layer = Conv2d(width, 2 * width, 3, height=rows, width=6, padding="same")
        return layer_cost(layer, array, relaxation=relaxation).cycles

    inputs = tuple(torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([3.3, 8.0], 5.1))
    assert torch.autograd.gradcheck(price, inputs)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, on jvp
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_torch_func(relaxation):
    torch = pytest.importorskip("torch")

    def price(c):
        return runtime(k1=3, k2=3, c=c, f=24, s1=8, s2=8, relaxation=relaxation)

    soft, counted = torch.linspace(1, 9, 7), torch.arange(1, 8)
    torch.testing.assert_close(torch.func.vmap(price)(soft), price(soft))
    torch.testing.assert_close(torch.func.vmap(price)(counted), price(counted))
    x = soft.clone().requires_grad_()
    if relaxation != "exact":
        price(x).sum().backward()
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(price))(soft), x.grad)
        torch.testing.assert_close(torch.func.jvp(price, (soft,), (torch.ones_like(soft),))[1], x.grad)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_compiles_without_graph_breaks(relaxation, compiled):
    torch = pytest.importorskip("torch")

    def price(c, f):
        return runtime(k1=3, k2=3, c=c, f=f, h=4, s1=8, s2=16, relaxation=relaxation)

    pairs = []
    for call in (price, compiled(price)):
        c, f = (torch.tensor(v, requires_grad=True) for v in ([4.0, 9.5, 31.0], [6.5, 16.0, 100.0]))
        cycles = call(c, f)
        if cycles.requires_grad:
            cycles.sum().backward()
        pairs.append((cycles.detach(), c.grad, f.grad))
    for eager, traced in zip(*pairs, strict=True):
        torch.testing.assert_close(traced, eager)


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_compiles_with_numbers_among_the_tensors(relaxation, compiled):
    torch = pytest.importorskip("torch")

    def price(c):
        return runtime(k1=3, k2=3, c=c, f=20, s1=8, s2=16, relaxation=relaxation)

    c = torch.tensor([4.0, 9.5, 31.0], requires_grad=True)
    torch.testing.assert_close(compiled(price)(c), price(c))


def test_compiles_integers(compiled):
    torch = pytest.importorskip("torch")

    def price(c):
        return layer_cost(Conv2d(c, 16, 3, height=9, width=9, stride=2), SystolicArray(8, 8)).cycles

    c = torch.arange(1, 40)
    assert compiled(price)(c).tolist() == price(c).tolist()


def test_compiles_with_the_default_compiler(compiled):
    torch = pytest.importorskip("torch")
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler here")

    def price(c):
        return runtime(k1=3, k2=3, c=c, f=20, s1=8, s2=16, relaxation="shifted").sum()

    c, again = (torch.linspace(1, 50, 20, requires_grad=True) for _ in range(2))
    with warnings.catch_warnings():
        # what the compiler says of the machine and of its own age is not ours
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        cycles = compiled(price, backend="inductor")(c)
        cycles.backward()
    expected = price(again)
    expected.backward()
    torch.testing.assert_close(cycles, expected)
    torch.testing.assert_close(c.grad, again.grad)


def test_values_are_not_looked_at_where_there_are_none():
    torch = pytest.importorskip("torch")
    c = torch.ones(5, dtype=torch.int64, device="meta")
    assert runtime(k1=3, k2=3, c=c, f=4, s1=8, s2=8).shape == (5,)


def has_cuda():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@pytest.mark.skipif(not has_cuda(), reason="no CUDA device here")
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_on_a_gpu(relaxation):
    import torch

    def price(c):
        return runtime(k1=3, k2=3, c=c, f=24, s1=8, s2=8, relaxation=relaxation)

    for c in (torch.linspace(1, 99, 50), torch.arange(1, 99)):
        on_gpu = price(c.cuda())
        assert on_gpu.is_cuda
        torch.testing.assert_close(on_gpu.cpu(), price(c))
    x, y = (torch.linspace(1, 99, 50, device=device, requires_grad=True) for device in ("cpu", "cuda"))
    if relaxation != "exact":
        price(x).sum().backward()
        price(y).sum().backward()
        torch.testing.assert_close(y.grad.cpu(), x.grad)


def test_the_default_is_exact():
    assert EXACT.name == "exact"
    assert runtime(k1=1, k2=1, c=9, f=9, s1=8, s2=8) == 4


@tried(200)
@given(
    st.sampled_from(sorted(RELAXATIONS)),
    st.sampled_from(sorted(DATAFLOWS)),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([1, 7, 8, 256, 2**20, 2**31]),
)
def test_smooth_double_buffered_costs_are_positive_numbers(kind, dataflow, m, n, k, rows):
    """Smooth folds can be more than the rows fill, and next to nothing on a huge array."""
    array = SystolicArray(rows, 8, dataflow=dataflow, fold_timing="double-buffered")
    cycles = layer_cost(Gemm(m, n, k), array, relaxation=kind).cycles
    assert isinstance(cycles, (int, float))
    assert 0 < cycles < math.inf
    if kind == "linear":
        flow = DATAFLOWS[dataflow]
        extents = {"m": m, "n": n, "k": k}
        folds = extents[flow.rows] / rows * extents[flow.cols] / 8
        assert cycles == pytest.approx(folds * (max(extents[flow.time], rows) + 1), rel=1e-6)
