"""A network row by row: sums, the tree of its modules, what moves only memory, what is missing."""

from __future__ import annotations

import dataclasses
import json
import math

import machines
import numpy as np
import pytest
from nets import LENET, ODD, TREE, residual

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, layer_cost, network_cost
from hwcost.model.breakdown import layer_breakdown
from hwcost.model.traffic import OPERANDS
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported
from hwcost.reports import Module, Row, layer_shape, summarise
from hwcost.units import BYTES, in_unit

ARRAY = SystolicArray(8, 8, fold_timing="serial")
over_arrays = pytest.mark.parametrize("array", machines.ALL.values(), ids=list(machines.ALL))


# ---------------------------------------------------------------- sums


@over_arrays
def test_rows_are_the_layers_and_the_total_is_that_of_the_network(array):
    layers = residual((1, 1, 1, 1))
    summary, report = summarise(layers, array), network_cost(layers, array)
    assert summary.cost == report.total
    of_layers = [row for row in summary.rows if row.state != "run"]
    assert (len(of_layers) < len(summary.rows)) == array.has_run
    for row, (name, layer) in zip(of_layers, layers.items(), strict=True):
        assert (row.name, row.state) == (name, "priced")
        assert row.cost == layer_cost(layer, array)
        assert row.breakdown == layer_breakdown(layer, array)
    cycles = sum(row.cost.cycles for row in summary.rows)
    if isinstance(cycles, int):
        assert cycles == report.total.cycles == summary.tree.cost.cycles
        assert summary.breakdown.pe_cycles == report.total.pe_cycles
    assert cycles == pytest.approx(report.total.cycles, rel=1e-12)
    assert summary.breakdown.pe_cycles == pytest.approx(report.total.pe_cycles, rel=1e-12)
    assert sum(map(summary.share, summary.rows)) == pytest.approx(1)
    assert sum(summary.seconds_by_bound.values()) == pytest.approx(report.total.seconds)


def modules(module):
    yield module
    for each in module.modules:
        yield from modules(each)


@over_arrays
def test_subtotals_are_sums_of_what_is_in_a_module(array):
    summary = summarise(TREE, array)
    for module in modules(summary.tree):
        inside = [row for row in summary.rows if not module.path or f"{row.path}.".startswith(f"{module.path}.")]
        assert [row.name for row in module.rows] == [row.name for row in inside]
        assert module.cost.cycles == pytest.approx(sum(row.cost.cycles for row in inside), rel=1e-12)
        assert module.breakdown.idle == pytest.approx(sum(row.breakdown.idle for row in inside))
        moved = sum(row.traffic.bytes("inputs") for row in inside)
        assert module.traffic.bytes("inputs") == pytest.approx(moved, rel=1e-12)
        if module.cost.pe_cycles:
            used = sum(row.cost.macs for row in inside) / sum(row.cost.pe_cycles for row in inside)
            assert module.cost.utilization == pytest.approx(used, rel=1e-12)


def operand_bytes(row):
    return tuple(row.traffic.bytes(operand) for operand in OPERANDS)


def test_bytes_are_elements_times_their_size():
    (row,) = summarise({"conv": Conv2d(6, 16, 5, 14, 14)}, dataclasses.replace(ARRAY, bytes_per_element=2.0)).rows
    assert operand_bytes(row) == (2 * 2400, 2 * 6 * 196, 2 * 1600)
    assert type(row.traffic.bytes("weights")) is int
    (half,) = summarise({"fc": Linear(3, 5)}, dataclasses.replace(ARRAY, bytes_per_element=0.5)).rows
    assert operand_bytes(half) == (7.5, 1.5, 2.5)


def test_what_only_moves_memory_takes_no_cycles():
    summary = summarise(TREE, ARRAY)
    (relu,) = summary.of("memory-only")
    assert (relu.name, operand_bytes(relu)) == ("stem:relu", (0, 1024, 1024))
    assert relu.cost.cycles == relu.breakdown.pe_cycles == 0
    assert summary.share(relu) == 0.0
    without = {name: layer for name, layer in TREE.items() if not isinstance(layer, MemoryOnly)}
    assert summary.cost == network_cost(without, ARRAY).total


def test_what_takes_longest_bounds_a_network():
    layers = {"a": Linear(1000, 1000), "b": Conv2d(64, 64, 3, 56, 56, padding=1)}
    slow = SystolicArray(64, 64, dram_bytes_per_s=1e6)
    assert summarise(layers, slow).mostly_bound == "memory"
    assert summarise(layers, ARRAY).seconds_by_bound["memory"] == 0
    assert summarise(layers, ARRAY).mostly_bound == "compute"


# ---------------------------------------------------------------- the tree


def shown(module):
    return [(depth, label, type(part).__name__) for depth, label, part in module.walk()]


def test_a_module_of_one_row_is_that_row_and_names_are_within_their_module():
    assert shown(summarise(TREE, ARRAY).tree) == [
        (0, "stem", "Module"),
        (1, "stem", "Row"),
        (1, "relu", "Row"),
        (0, "body", "Module"),
        (1, "0", "Module"),
        (2, "attn", "Module"),
        (3, "bmm", "Row"),
        (3, "bmm (2)", "Row"),
        (2, "fc", "Row"),
        (1, "1.fc", "Row"),
        (0, "head", "Row"),
    ]


def test_a_tree_can_be_cut_to_some_rows():
    summary = summarise(TREE, ARRAY)
    tree = summary.tree.only(summary.of("priced"))
    assert [label for _, label, _ in tree.walk()][:2] == ["stem", "body"]
    assert len(tree.rows) == len(TREE) - 1


@pytest.mark.parametrize("name", ["a..b", ".a", "a.", ".", "a." * 3000 + "z"])
def test_odd_names_make_a_tree_all_the_same(name):
    summary = summarise({name: Linear(3, 3), f"{name}x": Linear(3, 3), "plain": Linear(3, 3)}, ARRAY)
    assert [row.name for row in summary.tree.rows] == [name, f"{name}x", "plain"]
    assert len(list(summary.tree.walk())) >= 3


def test_layers_in_order_are_named_by_their_position():
    assert [row.name for row in summarise([Linear(3, 3), Linear(3, 4)], ARRAY).rows] == ["0", "1"]


# ---------------------------------------------------------------- what is missing


def test_what_is_not_supported_is_an_error_that_names_it():
    with pytest.raises(InvalidValueError, match=r"a\.fft: fft \(no <b>product</b>\)") as caught:
        summarise(ODD, ARRAY)
    assert "skip_unsupported" in str(caught.value)
    many = {f"op{i}": Unsupported("fft", "no product") for i in range(9)} | {"fc": Linear(3, 3)}
    with pytest.raises(InvalidValueError, match=r"^9 operations .* and 4 more"):
        summarise(many, ARRAY)


def test_what_is_left_out_is_named():
    summary = summarise(ODD, ARRAY, skip_unsupported=True)
    assert summary.missing == ("a.fft",)
    assert summary.of("unsupported")[0].reason == "fft (no <b>product</b>)"
    priced = {name: layer for name, layer in ODD.items() if not isinstance(layer, Unsupported)}
    assert summary.cost == network_cost(priced, ARRAY).total
    assert summarise({"a": Linear(3, 3), "b": "what"}, ARRAY, skip_unsupported=True).missing == ("b",)


@pytest.mark.parametrize(
    ("layers", "array", "field"),
    [
        ({}, ARRAY, "layers"),
        ({"relu": MemoryOnly("relu", 3, 3)}, ARRAY, "layers"),
        ({"fc": Linear(np.array([3, 4]), 3)}, ARRAY, "network"),
        (LENET, SystolicArray(np.array([3, 4]), 3), "array"),
        (LENET, "tpu", "array"),
    ],
)
def test_what_has_no_rows_is_refused(layers, array, field):
    with pytest.raises(InvalidValueError) as caught:
        summarise(layers, array)
    assert caught.value.field == field


# ---------------------------------------------------------------- words and data


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Conv2d(8, 16, 3, 9, 7), "8 -> 16, 3 x 3, 9 x 7 -> 7 x 5"),
        (Conv2d(8, 16, (3, 1), 9, 7, padding="same", groups=4), "8 -> 16, 3 x 1, 4 groups, 9 x 7"),
        (Conv2d(8, 16, 3, 9, 9, groups=8, dilation=2), "8 -> 16 depthwise, 3 x 3, dilation 2 x 2, 9 x 9 -> 5 x 5"),
        (MatMul(2, 3, 4), "(2 x 4)(4 x 3)"),
        (Gemm(2, 3, 4, count=5), "5 x (2 x 4)(4 x 3)"),
        (MatMul(2, 3, 4, batch=6, weights_shared_by=2), "6 x (2 x 4)(4 x 3), 2 share weights"),
        (Gemm(2, 3, 4, count=6, inputs_shared_by=3), "6 x (2 x 4)(4 x 3), 3 share inputs"),
        (MemoryOnly("relu"), ""),
        ("what", ""),
    ],
)
def test_shapes_in_words(layer, words):
    assert layer_shape(layer) == words


def test_a_layer_of_several_products_shows_all():
    class Two:
        def gemms(self):
            return (Gemm(1, 2, 3), Gemm(4, 5, 6))

    assert layer_shape(Two()) == "(1 x 3)(3 x 2) + (4 x 6)(6 x 5)"


@over_arrays
def test_the_document_is_plain_data_that_holds_all(array):
    summary = summarise(TREE, array)
    document = json.loads(json.dumps(summary.as_dict(), allow_nan=False))
    assert document["total"]["cycles"] == summary.cost.cycles
    assert [row["name"] for row in document["rows"]] == [*TREE, *(row.name for row in summary.of("run"))]
    assert [module["path"] for module in document["modules"]] == ["stem", "body", "body.0", "body.0.attn"]
    stem = document["modules"][0]
    assert (stem["rows"], stem["cycles"]) == (2, sum(row.cost.cycles for row in summary.rows[:2]))
    assert sum(document["rows"][0]["pe_cycles"].values()) == pytest.approx(summary.rows[0].cost.pe_cycles)
    assert document["notes"] == ["read with care"]
    missing = summarise(ODD, array, skip_unsupported=True).as_dict()["missing"]
    assert [row["name"] for row in missing] == ["a.fft"]


def test_a_network_of_an_importer_keeps_its_kinds_and_paths():
    network = Network("n", {"x:bmm": Operation(MatMul(2, 2, 2), kind="bmm", path="x")})
    (row,) = summarise(network, ARRAY).rows
    assert (row.kind, row.path) == ("bmm", "x")
    assert isinstance(row, Row)
    assert isinstance(summarise(network, ARRAY).tree, Module)


# ---------------------------------------------------------------- what bytes leave out


def skipping():
    """A network in which a sum reads the result of a strided layer, and a product is that of all of it."""
    layers = {
        "stem": Operation(Conv2d(3, 8, 1, height=17, width=15, stride=2), kind="conv", inputs=("",)),
        "a": Operation(Conv2d(8, 8, 3, height=9, width=8, padding=1), kind="conv", inputs=("stem",)),
        "sum": Operation(MemoryOnly("add", 2 * 576, 576), kind="add", inputs=("a", "stem")),
        "b": Operation(Conv2d(8, 4, 2, height=9, width=8, stride=3), kind="conv", inputs=("sum",)),
    }
    return Network("skip", layers, outputs=("b",))


@pytest.mark.parametrize("rate", [math.inf, 2e9])
@pytest.mark.parametrize("size", [1.0, 2.0])
def test_a_report_says_what_bytes_leave_out_without_buffers(rate, size):
    array = SystolicArray(8, 8, dram_bytes_per_s=rate, bytes_per_element=size)
    with_buffer = dataclasses.replace(array, buffer_bytes=2.0**30)
    plain, buffered = summarise(skipping(), array), summarise(skipping(), with_buffer)
    assert plain.at_hand == buffered.cost.dram_bytes - plain.cost.dram_bytes == 576 * size
    assert buffered.at_hand == 0
    text = plain.document().below["not counted"]
    assert f"{in_unit(576 * size, BYTES, 4)} that skip connections read" in text
    gap = plain.cost.memory_cycles * rate / array.clock_hz - plain.cost.dram_bytes if rate < math.inf else 0
    assert (f"{in_unit(gap, BYTES, 4)} of inputs that strides leave out" in text) == (rate < math.inf)
    assert "not counted" not in buffered.document().below
    chain = Network.of_layers("chain", {"a": Linear(8, 8), "b": Linear(8, 4)}, is_chain=True)
    assert "not counted" not in summarise(chain, array).document().below
