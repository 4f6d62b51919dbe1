"""What a caller passes in: terms, and rows of the tables of the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import Conv2d, InvalidValueError, Linear, SystolicArray, layer_cost, network_cost
from hwcost.machine.terms import Term

SIZES = st.integers(1, 60)
LAYERS = {"conv": Conv2d(20, 36, 3, height=10, width=12, padding=1, groups=4), "fc": Linear(400, 120)}


@given(m=SIZES, n=SIZES, k=SIZES, launch=st.integers(1, 500))
def test_an_overhead_is_added(m, n, k, launch):
    layer, term = Linear(k, n, batch=m), Term("launch", lambda work: launch * work.gemm.count, "launching a product")
    bare, cost = layer_cost(layer, SystolicArray(8, 8)), layer_cost(layer, SystolicArray(8, 8, terms=(term,)))
    assert cost.cycles == bare.cycles + launch
    assert (cost.overhead_cycles, cost.compute_cycles) == (launch, bare.compute_cycles)


@pytest.mark.parametrize("array", [SystolicArray(8, 8), SystolicArray(8, 8, dram_bytes_per_s=1e9, overlap=0.5)])
def test_memory_joins_the_transfer(array):
    import dataclasses

    slow = dataclasses.replace(array, terms=(Term("link", lambda work: 7 * work.gemm.m, "a link", kind="memory"),))
    bare, cost = layer_cost(LAYERS["fc"], array), layer_cost(LAYERS["fc"], slow)
    assert cost.memory_cycles == bare.memory_cycles + 7
    longer, shorter = max(cost.compute_cycles, cost.memory_cycles), min(cost.compute_cycles, cost.memory_cycles)
    assert cost.cycles == longer + array.overlap * shorter


def test_networks_price_the_term_for_each_product():
    term = Term("windows", lambda work: 3 * work.gemm.positions * work.gemm.count, "a step for each kernel position")
    array = SystolicArray(8, 8, terms=(term,))
    total = network_cost(LAYERS, array).total
    assert total.overhead_cycles == 3 * 9 * 4 + 3
    assert total.cycles == sum(layer_cost(layer, array).cycles for layer in LAYERS.values())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Term("", lambda work: 1, ""), "Term.name"),
        (lambda: Term("a", 3, ""), "Term.cycles"),
        (lambda: Term("a", lambda work: 1, "", "both"), "Term.kind"),
        (lambda: SystolicArray(8, 8, terms=3), "SystolicArray.terms"),
        (lambda: SystolicArray(8, 8, terms=("constant",)), "SystolicArray.terms"),
        (lambda: SystolicArray(8, 8, terms=(Term("a", int, ""),) * 2), "SystolicArray.terms"),
        (lambda: layer_cost(LAYERS["fc"], SystolicArray(8, 8, terms=(Term("weights", int, ""),))), "Term.name"),
    ],
)
def test_terms_are_checked(make, field):
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert caught.value.field == field
