"""What a caller passes in: terms, and rows of the tables of the machine."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    Conv2d,
    InvalidValueError,
    Linear,
    SystolicArray,
    layer_cost,
    network_cost,
)
from hwcost.cli.explain import explain
from hwcost.cli.formula import formula
from hwcost.machine import Dataflow, FoldTiming, Lowering, Term, Transfer
from hwcost.machine.terms import SHIPPED
from hwcost.model.formula import price
from hwcost.model.overheads import OVERHEADS
from hwcost.model.traffic import MEMORY, OPERANDS
from hwcost.plot import network_data
from hwcost.relaxation import Relaxation, SmoothCeiling
from hwcost.reports import summarise
from hwcost.sweep import sweep

SIZES = st.integers(1, 60)
UNLIMITED = lambda array: math.inf  # noqa: E731
LAYERS = {"conv": Conv2d(20, 36, 3, height=10, width=12, padding=1, groups=4), "fc": Linear(400, 120)}


@given(m=SIZES, n=SIZES, k=SIZES, launch=st.integers(1, 500))
def test_an_overhead_is_added(m, n, k, launch):
    layer, term = Linear(k, n, batch=m), Term("launch", lambda work: launch * work.gemm.count, "launching a product")
    bare, cost = layer_cost(layer, SystolicArray(8, 8)), layer_cost(layer, SystolicArray(8, 8, terms=(term,)))
    assert cost.cycles == bare.cycles + launch
    assert (cost.overhead_cycles, cost.compute_cycles) == (launch, bare.compute_cycles)


@pytest.mark.parametrize("array", [SystolicArray(8, 8), SystolicArray(8, 8, dram_bytes_per_s=1e9, overlap=0.5)])
def test_memory_joins_the_transfer(array):
    link = Transfer("link", lambda work: 7 * work.gemm.m, lambda array: array.clock_hz, "a link")
    slow = dataclasses.replace(array, terms=(link,))
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
        (lambda: Transfer("a", 3, float, ""), "Transfer.elements"),
        (lambda: Transfer("a", int, 3, ""), "Transfer.bytes_per_s"),
        (lambda: Transfer("a", int, float, "", "scales"), "Transfer.operand"),
        (lambda: Transfer("a", int, float, "", "inputs", ""), "Transfer.level"),
        (lambda: SystolicArray(8, 8, terms=3), "SystolicArray.terms"),
        (lambda: SystolicArray(8, 8, terms=("constant",)), "SystolicArray.terms"),
        (lambda: SystolicArray(8, 8, terms=(Term("a", int, ""),) * 2), "SystolicArray.terms"),
        (lambda: SystolicArray(8, 8, terms=(Term("weights", int, ""),)), "Term.name"),
        (lambda: SystolicArray(8, 8, terms=(Transfer("blocks", int, UNLIMITED, ""),)), "Transfer.name"),
    ],
)
def test_terms_are_checked(make, field):
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert caught.value.field == field


def test_the_names_that_ship_are_taken_when_a_machine_is_made():
    assert {row.name for row in (*OVERHEADS, *MEMORY)} == set(SHIPPED)
    for name in SHIPPED:
        for term in (Term(name, int, ""), Transfer(name, int, UNLIMITED, "")):
            with pytest.raises(InvalidValueError) as caught:
                SystolicArray(8, 8, terms=(term,))
            assert (caught.value.field, caught.value.value) == (f"{type(term).__name__}.name", name)


# ---------------------------------------------------------------- rows of the tables

WT = Dataflow("wt", rows="n", cols="k", time="m", row_passes=2, summary="weight stationary, transposed")
SLOW = FoldTiming("slow", lambda folds: 2 * FOLD_TIMINGS["ideal"].cycles(folds), "each row takes two cycles")
ROWS = Lowering("rows", lambda gemm: gemm.by_position() if gemm.window else gemm, "by position if there is a kernel")


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
def test_rows_go_in_by_argument(layer):
    (gemm,) = layer.gemms()
    bare = layer_cost(layer, SystolicArray(8, 16))
    folds = math.ceil(gemm.n / 8) * math.ceil(gemm.k / 16)
    assert layer_cost(layer, SystolicArray(8, 16, dataflow=WT)).cycles == gemm.count * folds * gemm.m
    assert layer_cost(layer, SystolicArray(8, 16, fold_timing=SLOW)).cycles == 2 * bare.cycles
    shipped = SystolicArray(8, 16, lowering="kernel-position")
    assert layer_cost(layer, SystolicArray(8, 16, lowering=ROWS)).cycles == layer_cost(layer, shipped).cycles


def test_a_machine_shows_the_names_of_rows():
    term = Term("launch", lambda work: 9, "launching")
    array = SystolicArray(8, 8, dataflow=WT, fold_timing=SLOW, lowering=ROWS, terms=(term,))
    shown = array.as_dict()
    assert (shown["dataflow"], shown["fold_timing"], shown["lowering"]) == ("wt", "slow", "rows")
    assert shown["terms"] == ("launch",)
    assert "dataflow='wt'" in repr(array)
    json.dumps(shown)
    assert (array.dataflow_row, array.fold_timing_row, array.lowering_row) == (WT, SLOW, ROWS)
    assert SystolicArray(8, 8, dataflow=DATAFLOWS["os"]) == SystolicArray(8, 8, dataflow="os")


def test_a_sweep_takes_rows():
    found = sweep(LAYERS, rows=(4, 8), cols=(8, 16), dataflows=("ws", WT), base=SystolicArray(1, 1, fold_timing=SLOW))
    assert set(found.dataflow.tolist()) == {"ws", "wt"}
    for index in range(len(found)):
        array = found.array(index)
        assert found.cycles[index] == network_cost(LAYERS, array).total.cycles
    assert json.loads(json.dumps(found.as_dict()))["settings"]["dataflows"] == ["ws", "wt"]


def test_reports_and_explanations_show_rows():
    array = SystolicArray(8, 16, dataflow=WT, fold_timing=SLOW, terms=(Term("launch", lambda work: 9, "launching"),))
    sentences = {each.name: each for each in explain(price(*LAYERS["conv"].gemms(), array))}
    assert "weight stationary, transposed" in sentences["layout"].text
    assert "each row takes two cycles" in sentences["compute"].text
    assert sentences["launch"].cycles == 9
    assert sentences["total"].cycles == layer_cost(LAYERS["conv"], array).cycles
    assert formula(LAYERS["conv"], array, {}) is None
    summary = summarise(LAYERS, array)
    assert sum(row.cost.cycles for row in summary.rows) == network_cost(LAYERS, array).total.cycles
    json.dumps(summary.as_dict())


def test_a_term_gives_the_fields_that_it_reads_an_effect():
    term = Term("spill", lambda work: work.array.accumulators, "spilling", reads=("accumulators",))
    assert layer_cost(LAYERS["fc"], SystolicArray(8, 8, accumulators=64, terms=(term,))).overhead_cycles == 64


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: dataclasses.replace(WT, time="k"), "Dataflow.time"),
        (lambda: dataclasses.replace(WT, cols="n"), "Dataflow.cols"),
        (lambda: dataclasses.replace(WT, rows=["n"]), "Dataflow.rows"),
        (lambda: dataclasses.replace(WT, name=""), "Dataflow.name"),
        (lambda: dataclasses.replace(WT, row_passes=0), "Dataflow.row_passes"),
        (lambda: dataclasses.replace(WT, drain_passes=0.5), "Dataflow.drain_passes"),
        (lambda: FoldTiming("a", 3, ""), "FoldTiming.cycles"),
        (lambda: FoldTiming(3, int, ""), "FoldTiming.name"),
        (lambda: Lowering("a", None, ""), "Lowering.lower"),
        (lambda: SystolicArray(8, 8, dataflow=dataclasses.replace(WT, name="ws")), "SystolicArray.dataflow.name"),
        (lambda: SystolicArray(8, 8, dataflow=SLOW), "SystolicArray.dataflow"),
        (lambda: SystolicArray(8, 8, terms=(Term("a", int, "", reads=("speed",)),)), "Term.reads"),
        (lambda: SystolicArray(8, 8, terms=(Transfer("a", int, UNLIMITED, "", reads="rows"),)), "Transfer.reads"),
        (lambda: sweep(LAYERS, rows=8, cols=8, dataflows=(SLOW,)), "dataflows"),
    ],
)
def test_rows_are_checked(make, field):
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert caught.value.field == field


WRONG = [-5, -0.5, math.nan, math.inf, "a", None, True, 1j, np.array([1.0, -1.0])]
OWN = {
    "Term.cycles of 'mine'": lambda wrong: {"terms": (Term("mine", lambda work: wrong, ""),)},
    "Transfer.elements of 'mine'": lambda wrong: {"terms": (Transfer("mine", lambda work: wrong, UNLIMITED, ""),)},
    "FoldTiming.cycles of 'mine'": lambda wrong: {"fold_timing": FoldTiming("mine", lambda folds: wrong, "")},
    "Lowering.lower of 'mine'": lambda wrong: {"lowering": Lowering("mine", lambda gemm: wrong, "")},
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("field", OWN)
def test_results_of_the_callers_functions_are_checked(field, wrong):
    array = SystolicArray(8, 8, **OWN[field](wrong))
    with pytest.raises(InvalidValueError) as caught:
        layer_cost(LAYERS["fc"], array)
    assert caught.value.field == field


def _raises(argument):
    return argument.no_such_field


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("Term.cycles of 'mine'", lambda: {"terms": (Term("mine", _raises, ""),)}),
        ("Transfer.elements of 'mine'", lambda: {"terms": (Transfer("mine", _raises, UNLIMITED, ""),)}),
        ("Transfer.bytes_per_s of 'mine'", lambda: {"terms": (Transfer("mine", lambda work: 1, _raises, ""),)}),
        ("FoldTiming.cycles of 'mine'", lambda: {"fold_timing": FoldTiming("mine", _raises, "")}),
        ("Lowering.lower of 'mine'", lambda: {"lowering": Lowering("mine", _raises, "")}),
    ],
)
def test_an_error_in_a_function_of_a_row_names_the_row(field, changes):
    with pytest.raises(InvalidValueError) as caught:
        layer_cost(LAYERS["fc"], SystolicArray(8, 8, **changes()))
    assert (caught.value.field, caught.value.value) == (field, _raises)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert "AttributeError" in caught.value.reason


LINE = lambda x: x  # noqa: E731


@pytest.mark.parametrize(
    ("make", "options", "field"),
    [
        (lambda: LINE, {}, "the result of Relaxation.make of 'mine'"),
        (lambda height: SmoothCeiling(LINE, LINE), {"hight": 1.0}, "Relaxation.make of 'mine'"),
        (lambda: SmoothCeiling(LINE, 3), {}, "the slope of relaxation 'mine'"),
        (lambda: SmoothCeiling(_raises, LINE), {}, "the value of relaxation 'mine'"),
        (lambda: SmoothCeiling(lambda x: None, LINE), {}, "the result of the value of relaxation 'mine'"),
        (lambda: SmoothCeiling(lambda x: 1.0, LINE), {}, "the result of the value of relaxation 'mine'"),
        (lambda: SmoothCeiling(LINE, LINE, lambda a, b: _raises(a)), {}, "the maximum of relaxation 'mine'"),
        (None, {}, "Relaxation.make of 'mine'"),
        (lambda: SmoothCeiling(LINE, LINE), ["height"], "Relaxation.options"),
    ],
)
def test_errors_of_a_relaxation_name_it(make, options, field):
    array = SystolicArray(8, 8, dram_bytes_per_s=1e9)
    with pytest.raises(InvalidValueError) as caught:
        layer_cost(LAYERS["fc"], array, relaxation=Relaxation("mine", "", make, options))
    assert caught.value.field == field


@pytest.mark.parametrize("wrong", [0, 0.0, *(value for value in WRONG if value is not math.inf)], ids=str)
def test_the_bandwidth_of_a_transfer_is_checked_with_its_machine(wrong):
    with pytest.raises(InvalidValueError) as caught:
        SystolicArray(8, 8, terms=(Transfer("mine", lambda work: 1, lambda array: wrong, ""),))
    assert caught.value.field == "Transfer.bytes_per_s of 'mine'"


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("own", [1e8, 8e9, math.inf])
@pytest.mark.parametrize("shared", [2e9, math.inf])
def test_a_transfer_on_a_level_that_ships_has_a_slope(operand, own, shared):
    """The roofline keeps it apart from the transfer that ships, and no layer is above the slopes."""
    term = Transfer("scales", lambda work: 500 * work.gemm.n, lambda array: own, "per filter", operand)
    array = SystolicArray(8, 8, dram_bytes_per_s=shared, terms=(term,))
    data = network_data(summarise(LAYERS, array))
    slopes = {name: slope["bytes_per_s"] for slope in data["slopes"] for name in slope["operands"]}
    limited = dict.fromkeys(OPERANDS, shared) | {"scales": own}
    assert slopes == {name: rate for name, rate in limited.items() if rate < math.inf}
    for layer, (gemm,) in zip(data["layers"], (each.gemms() for each in LAYERS.values()), strict=True):
        moved = {name: gemm.elements(name) for name in OPERANDS} | {"scales": 500 * gemm.n}
        assert layer["bytes"] == sum(moved[name] for name in slopes or OPERANDS) + (not slopes) * moved["scales"]
        fastest = max(slopes.values(), default=math.inf)
        assert layer["macs"] / layer["seconds"] <= fastest * layer["macs"] / layer["bytes"] * (1 + 1e-9)
