"""Where PE-cycles go: they add up to those of the cost on every array, and a slow twin counts them PE by PE."""

from __future__ import annotations

import dataclasses
import pickle

import machines
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, SystolicArray, layer_cost
from hwcost.devices import device_names, load_device
from hwcost.model.breakdown import KINDS, CycleBreakdown, layer_breakdown

SHORT = {
    "fast rows": SystolicArray(8, 16, fold_timing="serial", cycles_per_row=0.3, cycles_per_layer=40.0),
    "table below": SystolicArray(8, 4, cycles_per_row=0.5, col_table=(0.4, 0.9, 1.0, 1.1), dram_bytes_per_s=4e9),
    "left out": SystolicArray(8, 16, fold_timing="serial", counts_last_fold=False, cycles_per_layer=7.0, arrays=3),
}
"""Arrays whose folds may take less than their useful and ragged PE-cycles."""
ARRAYS = machines.ALL | SHORT | {name: load_device(name) for name in device_names()}
WHOLE = set(machines.BARE) | {"drained"}

small = st.integers(1, 60)
gemms = st.builds(Gemm, m=small, n=small, k=small, count=st.integers(1, 4))
convolutions = st.builds(
    lambda c, f, kernel, size, stride, groups: Conv2d(
        c * groups, f * groups, kernel, size, size + 1, stride=stride, padding="same", groups=groups
    ),
    *(st.integers(1, 9), st.integers(1, 40), st.integers(1, 3), st.integers(1, 12), st.integers(1, 2)),
    st.sampled_from([1, 2, 5]),
)
layers = st.one_of(gemms, convolutions)


@dataclasses.dataclass(frozen=True)
class Two:
    """A layer of several products, of somebody else's."""

    first: Gemm
    second: Gemm

    def gemms(self):
        return (self.first, self.second)


# ---------------------------------------------------------------- sums


@pytest.mark.parametrize("name", ARRAYS)
@tried(20)
@given(layer=layers)
def test_all_kinds_add_up_to_the_pe_cycles_of_the_cost(name, layer):
    array = ARRAYS[name]
    waste, cost = layer_breakdown(layer, array), layer_cost(layer, array)
    if name in WHOLE:
        assert type(waste.pe_cycles) is int
        assert all(type(value) is int for value in waste.figures().values())
        assert waste.pe_cycles == cost.pe_cycles
    assert waste.pe_cycles == pytest.approx(cost.pe_cycles, rel=1e-12)
    assert waste.useful == cost.macs
    assert waste.idle == pytest.approx(cost.pe_cycles - cost.macs, rel=1e-12, abs=1e-6)
    others = (cost.overhead_cycles + cost.waiting_cycles) * array.pes
    useful_meanwhile = max(cost.macs - cost.compute_cycles * array.pes, 0)
    near = pytest.approx(others - useful_meanwhile, rel=1e-9, abs=1e-9 * cost.pe_cycles)
    assert waste.overhead + waste.waiting == near
    if not useful_meanwhile:
        assert waste.overhead == pytest.approx(cost.overhead_cycles * array.pes)
        assert waste.waiting == pytest.approx(cost.waiting_cycles * array.pes, abs=1e-9 * cost.pe_cycles)


@pytest.mark.parametrize("name", ARRAYS)
@tried(20)
@given(layer=layers)
def test_no_kind_is_below_zero(name, layer):
    array = ARRAYS[name]
    waste = layer_breakdown(layer, array)
    assert not {kind: value for kind, value in waste.figures().items() if value < 0}
    cost = layer_cost(layer, array)
    parts = (cost.compute_cycles, cost.overhead_cycles, cost.waiting_cycles)
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(cost.cycles, rel=1e-12)


@pytest.mark.parametrize("change", [{"counts_last_fold": False}, {"cycles_per_row": 0.4}])
@given(layer=layers)
def test_what_folds_take_less_is_missing_in_all_that_is_not_useful(change, layer):
    whole = SystolicArray(8, 16, fold_timing="serial")
    short = dataclasses.replace(whole, **change)
    with_it, without = layer_breakdown(layer, whole), layer_breakdown(layer, short)
    left_out = layer_cost(layer, whole).pe_cycles - layer_cost(layer, short).pe_cycles
    assert with_it.idle - without.idle == pytest.approx(left_out)
    assert with_it.useful == without.useful
    for kind in ("ragged_rows", "ragged_cols"):
        before, after = getattr(with_it, kind), getattr(without, kind)
        assert 0 <= after <= before
        if without.fill_and_drain > 1e-6 * without.pe_cycles:
            assert after == before
    ragged = with_it.ragged_rows + with_it.ragged_cols
    if ragged:
        kept = (without.ragged_rows + without.ragged_cols) / ragged
        assert without.ragged_rows == pytest.approx(kept * with_it.ragged_rows, abs=1e-6)


@given(layer=layers, per_row=st.floats(1.01, 9))
def test_slow_rows_are_apart_from_fill_and_drain(layer, per_row):
    bare = SystolicArray(8, 16, fold_timing="serial")
    slow = dataclasses.replace(bare, cycles_per_row=per_row)
    before, after = layer_breakdown(layer, bare), layer_breakdown(layer, slow)
    assert before.slow_rows == 0
    streaming = before.useful + before.ragged_rows + before.ragged_cols
    assert after.slow_rows == pytest.approx((per_row - 1) * streaming)
    same = dataclasses.replace(after, slow_rows=0, fill_and_drain=0)
    assert same == dataclasses.replace(before, fill_and_drain=0)
    assert after.fill_and_drain == pytest.approx(before.fill_and_drain, rel=1e-6, abs=1e-6 * after.pe_cycles)


@given(first=gemms, second=gemms)
def test_products_of_a_layer_add_up(first, second):
    array = machines.BARE["os-serial"]
    assert layer_breakdown(Two(first, second), array) == layer_breakdown(first, array) + layer_breakdown(second, array)


# ---------------------------------------------------------------- a twin that counts


def counted(gemm, array):
    """Idle PEs of ideal folds, counted fold by fold and PE by PE."""
    flow = array.dataflow_row
    rows, cols, time = (getattr(gemm, letter) for letter in (flow.rows, flow.cols, flow.time))
    found = dict.fromkeys(KINDS, 0)
    for _ in range(gemm.count):
        for first_row in range(0, rows, array.rows):
            for first_col in range(0, cols, array.cols):
                for row in range(first_row, first_row + array.rows):
                    for col in range(first_col, first_col + array.cols):
                        kind = "ragged_cols" if col >= cols else "ragged_rows" if row >= rows else "useful"
                        found[kind] += time
    return found


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
@given(
    gemm=st.builds(Gemm, m=st.integers(1, 9), n=st.integers(1, 9), k=st.integers(1, 9), count=st.integers(1, 2)),
    rows=st.integers(1, 5),
    cols=st.integers(1, 5),
)
def test_idle_pes_are_those_that_one_counts(flow, gemm, rows, cols):
    array = SystolicArray(rows, cols, dataflow=flow)
    assert layer_breakdown(gemm, array).figures() == counted(gemm, array)


@given(gemm=gemms)
def test_fill_and_drain_are_those_cycles_of_every_fold(gemm):
    array = SystolicArray(8, 16, fold_timing="serial")
    folds = gemm.count * -(-gemm.k // 8) * -(-gemm.n // 16)
    assert layer_breakdown(gemm, array).fill_and_drain == folds * (2 * 8 + 16 - 2) * 8 * 16


def test_a_limit_of_memory_is_waiting_and_nothing_else_changes():
    layer, bare = Linear(1000, 1000), SystolicArray(16, 16)
    slow = dataclasses.replace(bare, dram_bytes_per_s=1e9)
    waits, free = layer_breakdown(layer, slow), layer_breakdown(layer, bare)
    assert waits.waiting == 256 * (1_002_000 - layer_cost(layer, bare).cycles)
    assert dataclasses.replace(waits, waiting=0) == free
    assert (free.waiting, free.overhead) == (0, 0)


# ---------------------------------------------------------------- sweeps


@pytest.mark.parametrize("name", machines.ALL)
def test_a_stack_of_layers_is_each_of_them(name):
    array, filters = machines.ALL[name], np.array([1, 7, 16, 33])
    stacked = layer_breakdown(Conv2d(3, filters, 3, 9, 9), array)
    for i, f in enumerate(filters.tolist()):
        one = layer_breakdown(Conv2d(3, f, 3, 9, 9), array)
        for kind, value in stacked.figures().items():
            assert np.broadcast_to(value, 4)[i] == pytest.approx(getattr(one, kind), rel=1e-12, abs=1e-6), kind


def test_a_sweep_of_arrays_is_each_of_them():
    rows, cols = np.arange(1, 12)[:, None], np.array([4, 8, 100])
    waste = layer_breakdown(Linear(30, 20, batch=3), SystolicArray(rows, cols, fold_timing="serial"))
    assert waste.pe_cycles.dtype.kind == "i"
    assert waste.shares["useful"].shape == (11, 3)
    for i in range(11):
        for j, c in enumerate(cols.tolist()):
            one = layer_breakdown(Linear(30, 20, batch=3), SystolicArray(i + 1, c, fold_timing="serial"))
            assert {kind: np.broadcast_to(v, (11, 3))[i, j] for kind, v in waste.figures().items()} == one.figures()


# ---------------------------------------------------------------- the value


def test_sums_scale_and_shares_come_from_them():
    a, b = (layer_breakdown(Linear(n, 10), SystolicArray(8, 8)) for n in (3, 100))
    assert sum([a, b]) == a + b == b + a
    assert (2 * a).pe_cycles == 2 * a.pe_cycles
    assert sum((a + b).shares.values()) == pytest.approx(1)
    assert (a + b).shares["useful"] == (30 + 1000) / (a + b).pe_cycles
    assert set(CycleBreakdown().shares.values()) == {0.0}
    assert pickle.loads(pickle.dumps(a)) == a
    assert tuple(KINDS) == tuple(field.name for field in dataclasses.fields(CycleBreakdown))


def test_huge_integers_stay_exact():
    waste, cost = (f(Linear(2**70 + 1, 3), SystolicArray(2, 2)) for f in (layer_breakdown, layer_cost))
    assert waste.pe_cycles == cost.pe_cycles == (2**69 + 1) * 2 * 4


@pytest.mark.parametrize(
    "wrong", [lambda: layer_breakdown("conv", SystolicArray(8, 8)), lambda: layer_breakdown(Gemm(1, 1, 1), 8)]
)
def test_what_is_no_layer_or_array_is_refused(wrong):
    with pytest.raises(InvalidValueError):
        wrong()


@pytest.mark.parametrize("other", [1, "x"])
def test_only_wastes_add(other):
    with pytest.raises(TypeError):
        CycleBreakdown() + other
    with pytest.raises(TypeError):
        CycleBreakdown() * CycleBreakdown()
