"""Every term that a device has is explained, with cycles that add up; those that it leaves out are named."""

from __future__ import annotations

import dataclasses
import itertools
import json

import machines
import pytest

from hwcost import DATAFLOWS, FOLD_TIMINGS, Conv2d, SystolicArray, layer_cost
from hwcost.cli import main
from hwcost.cli.explain import explain
from hwcost.cli.formula import formula
from hwcost.devices import device_names, load_device
from hwcost.machine import adapt
from hwcost.model.formula import price
from hwcost.model.layout import lay_out
from hwcost.model.overheads import OVERHEADS
from hwcost.model.traffic import MEMORY
from hwcost.units import number

LAYER = Conv2d(20, 36, 3, height=10, width=12, padding=1, batch=2)
ALL = machines.ALL | {name: load_device(name) for name in device_names()}
over_all = pytest.mark.parametrize("array", ALL.values(), ids=list(ALL))
BARE = SystolicArray(8, 16, fold_timing="serial")
NEXT = dict.fromkeys(("joules_per_mac", "joules_per_sram_byte", "joules_per_dram_byte"), 1e-12)
FIELDS = {
    "lowering": ("kernel-position", {}, "for each position of the kernel"),
    "row_stairs": (0.5, {}, "0.5 * ceil(180 / 8)"),
    "col_stairs": (0.5, {}, "0.5 * ceil(36 / 16)"),
    "max_streamed": (50, {}, "ceil(240 / 50) = 5 along time"),
    "min_streamed": (500.0, {}, "500 row"),
    "drains_outputs": (True, {"dataflow": "os"}, "yes"),
    "starts_up": (True, {}, "start-up: "),
    "counts_last_fold": (False, {}, "no"),
    "cycles_per_row": (1.5, {}, "1.5 cycle"),
    "cycles_per_fold": (7.0, {}, "7 cycle"),
    "cycles_per_layer": (90.0, {}, "for each layer: 90 cycles"),
    "accumulators": (512, {"cycles_per_block": 5.0}, "512"),
    "cycles_per_block": (5.0, {}, "blocks: "),
    "cycles_per_output_block": (5.0, {}, "output blocks: "),
    "fold_latency": (900.0, {"accumulators": 512, "cycles_per_block": 5.0}, "900 cycle"),
    "readers": (8, {"readers": 8, "single_block": 20, "input_bytes_per_s": 1e9}, "read an operand at once: 8"),
    "single_block": (20, {"readers": 8, "single_block": 20, "input_bytes_per_s": 1e9}, "side of such a block: 20"),
    "rereads_inputs": (True, {"accumulators": 64, "cycles_per_block": 1.0, "input_bytes_per_s": 1e9}, "inputs again: "),
    "dram_bytes_per_s": (2e9, {}, "2 GB/s"),
    "weight_bytes_per_s": (3e9, {}, "weights: "),
    "input_bytes_per_s": (3e9, {}, "inputs: "),
    "output_bytes_per_s": (3e9, {}, "outputs: "),
    "reread_bytes_per_s": (7e9, {"filter_block": 10.0, "input_bytes_per_s": 1e9}, "7 GB/s"),
    "filter_block": (10.0, {"input_bytes_per_s": 1e9}, "inputs again: "),
    "reread_stairs": (1.0, {"filter_block": 10.0, "input_bytes_per_s": 1e9}, "14,400 bytes"),
    "channel_multiple": (8, {}, "216"),
    "col_table": ((1.0, 2.0, 1.5), {}, "1, 2, 1.5"),
    "patch_height": (7, {}, "7"),
    "patch_width": (7, {}, "7"),
    "positions_at_once": (4, {"lowering": "kernel-position"}, "share the rows of the array: 4"),
    "depthwise_columns": (True, {}, "yes"),
    "spreads_vectors": (True, {"dataflow": "os"}, "yes"),
    "pipeline_cycles": (333.0, {"dram_bytes_per_s": 1e9}, "333 cycle"),
    "cycles_per_output": (2.5, {}, "2.5 cycle"),
    "tile_bytes": (9000.0, {"input_bytes_per_s": 1e9}, "inputs again: "),
    "bank_bytes": (3000.0, {"tile_bytes": 9000.0, "input_bytes_per_s": 1e9}, "3 kB"),
    "burst_bytes": (64.0, {"tile_bytes": 9000.0, "input_bytes_per_s": 1e9}, "64 B"),
    "run_channels": (23, {"tile_bytes": 9000.0, "input_bytes_per_s": 1e9}, "one run, unless a tile has them all: 23"),
    "weights_apart": (True, {"dram_bytes_per_s": 1e9}, "weights have a memory of their own"),
    "start_up_cycles": (40.0, {"starts_up": True}, "40 cycle"),
    "weights_ahead": (True, {"tile_bytes": 9000.0, "dram_bytes_per_s": 1e9, "starts_up": True}, "layer starts: yes"),
    "parallel_operands": (True, {"dram_bytes_per_s": 1e9}, "the longest of weights, inputs and outputs"),
    "arrays": (4, {}, " over 4 of 4 arrays: at most "),
    "bandwidth_per_array": (True, {"arrays": 3, "dram_bytes_per_s": 1e9}, "for each array"),
    "overlap": (0.25, {"dram_bytes_per_s": 1e9}, "0.25 of the shorter"),
    "bytes_per_element": (2.0, {"weight_bytes_per_s": 1e9}, "2 B"),
    "vector_bytes_per_s": (5e9, {}, "5 GB/s"),
    "cycles_per_run": (777.0, {}, "777 cycle"),
    "host_bytes_per_s": (3e8, {}, "300 MB/s"),
    "weight_capacity_bytes": (8e6, {"spill_bytes_per_s": 1e8}, "8 MB"),
    "filter_multiple": (59, {"weight_capacity_bytes": 9e6, "spill_bytes_per_s": 1e8}, "59"),
    "spill_bytes_per_s": (1.4e8, {"weight_capacity_bytes": 9e6}, "140 MB/s"),
    "bytes_per_output": (3.0, {}, "3 B"),
    "partial_bytes": (2.0, {}, "2 B"),
    "buffer_bytes": (4000.0, {}, "tiling: "),
    "weight_buffer_bytes": (4000.0, {}, "tiling: "),
    "input_buffer_bytes": (4000.0, {}, "tiling: "),
    "output_buffer_bytes": (4000.0, {}, "tiling: "),
    "double_buffered": (True, {"buffer_bytes": 5000.0}, "yes"),
    "reload_weight": (0.5, {"buffer_bytes": 5000.0}, "0.5"),
    "joules_per_mac": (7e-12, NEXT, "7 pJ"),
    **dict.fromkeys(("joules_per_sram_byte", "joules_per_dram_byte"), (7e-12, NEXT, "7 pJ/B")),
    "joules_per_sram_byte_written": (5e-12, NEXT, "5 pJ/B"),
    "joules_per_accumulator_byte": (5e-12, NEXT, "5 pJ/B"),
    "idle_watts": (0.3, NEXT, "300 mW"),
}
"""For each field a value, the fields next to it, and words or figures that it brings."""


def formula_of(layer, array):
    folds = lay_out(*layer.gemms(), array)
    figures = {f"folds_{name}": getattr(folds, name) for name in ("along_rows", "along_cols", "in_time")}
    return formula(layer, array, figures | {"cycles": layer_cost(layer, array).cycles})


def explain_layer(layer, array):
    return explain(price(*layer.gemms(), array))


def text_of(array):
    return "\n".join(f"{sentence.name}: {sentence.text}" for sentence in explain_layer(LAYER, array))


def test_every_field_is_tried():
    assert set(FIELDS) == set(SystolicArray.declarations) - {
        "rows", "cols", "clock_hz", "dataflow", "fold_timing", "terms"
    }  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_explained(name):
    value, fields, words = FIELDS[name]
    array = dataclasses.replace(BARE, **fields | {name: value})
    without = adapt(array, **{name: SystolicArray.declarations[name].neutral}).array
    assert words in text_of(array)
    assert words not in text_of(without)
    if name != "lowering":
        assert f"{SystolicArray.declarations[name].words}: " in text_of(array)
        assert f"{SystolicArray.declarations[name].words}: " not in text_of(without)


@over_all
def test_cycles_add_up(array):
    cost, cycles = layer_cost(LAYER, array), {each.name: each.cycles for each in explain_layer(LAYER, array)}
    memory, overhead = ([cycles.get(term.name, 0) for term in table] for table in (MEMORY, OVERHEADS))
    assert cycles["total"] == cost.cycles
    assert cycles["compute"] == cost.compute_cycles
    channels = dict.fromkeys(("weights", "inputs", "outputs"), 0)
    for moving, term in zip(memory, MEMORY, strict=True):
        channels[term.operand.replace("partials", "outputs")] += moving
    longest = max(channels.values())
    apart = max(cycles.get("weights", 0), sum(memory) - cycles.get("weights", 0))
    joined = longest if array.parallel_operands else apart if array.weights_apart else sum(memory)
    assert joined == pytest.approx(cost.memory_cycles)
    assert sum(overhead) == pytest.approx(cost.overhead_cycles)
    assert f"bound by {cost.bound}" in text_of(array)


@over_all
def test_the_formula_gives_the_cycles_or_is_not_there(array):
    for layer in (LAYER, dataclasses.replace(LAYER, groups=4), Conv2d(3, 5, 1, 1, 1)):
        text = formula_of(layer, array)
        if text is None:
            continue
        *forms, value = text.removesuffix(" cycles").split(" = ")
        cycles = layer_cost(layer, array).cycles
        assert value == number(cycles)
        for form in forms:
            assert eval(form, {"ceil": lambda x: -int(-x // 1), "max": max}) == cycles, form


@pytest.mark.parametrize("name", FIELDS)
def test_the_formula_of_every_field(name):
    value, fields, _ = FIELDS[name]
    array = dataclasses.replace(BARE, **fields | {name: value})
    text = formula_of(LAYER, array)
    assert text is None or text.endswith(f"= {number(layer_cost(LAYER, array).cycles)} cycles")


@pytest.mark.parametrize(("dataflow", "timing"), list(itertools.product(DATAFLOWS, FOLD_TIMINGS)))
def test_terms_that_are_left_out_are_named(dataflow, timing):
    drains, starts = (dataflow, timing) == ("os", "serial"), dataflow != "os"
    array = SystolicArray(8, 8, dataflow=dataflow, fold_timing=timing, drains_outputs=drains, starts_up=starts)
    left_out = text_of(array).rpartition("left out: ")[2]
    assert ("start-up" in left_out) == (dataflow == "os")
    assert ("filling and draining" in left_out) == (timing != "serial")
    assert "memory" in left_out
    undrained = text_of(dataclasses.replace(array, drains_outputs=False)).rpartition("left out: ")[2]
    assert ("shifting the outputs out" in undrained) == drains
    assert "shifting the outputs out" not in left_out


def test_rows_that_take_more_than_a_cycle_and_parts_of_folds_are_explained(hwcost):
    array = SystolicArray(8, 8, cycles_per_row=2.5, row_stairs=0.25)
    (gemm,) = Conv2d(6, 16, 5, height=14, width=14).gemms()
    said = {each.name: each.text for each in explain(price(gemm, array))}
    assert "T is the rows at 2.5 cycles each" in said["compute"]
    table = dataclasses.replace(array, col_table=(0.5, 1.25))
    said = {each.name: each.text for each in explain(price(gemm, table))}
    assert "10 along columns by the table for 16" in said["folds"]
    assert "cycles each" not in {each.name: each.text for each in explain(price(gemm, SystolicArray(8, 8)))}["compute"]
    out = hwcost("estimate", "--k", "3", "--c", "70", "--f", "70", "--device", "edge-tpu")[1]
    assert "in part: row_stairs hides 42.7 % of a step" in next(x for x in out.splitlines() if x.startswith("folds"))


def test_tpu_v1_moves_weights_alone():
    assert "moving inputs and outputs" in text_of(load_device("tpu-v1")).rpartition("left out: ")[2]


def test_explain_on_the_command_line(capsys):
    args = ["estimate", "--device", "gemmini", "--k", "3", "--c", "20", "--f", "36", "--explain"]
    assert main(args) == 0
    text = capsys.readouterr().out
    assert "  lowering   a product with k = channels" in text
    assert main([*args, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [term["name"] for term in content["terms"]][:4] == ["lowering", "layout", "folds", "compute"]
    assert main([*args, "--csv"]) == 2
    assert capsys.readouterr().err.startswith("Error: --explain ")
    assert main(["estimate", "--device", "gemmini", "--k", "3", "--c", "20", "--f", "3,4", "--explain"]) == 2
    assert capsys.readouterr().err.startswith("Error: --explain ")


@over_all
@pytest.mark.parametrize("stride", [1, 2])
def test_inputs_that_take_time_are_told_from_those_that_are_read(array, stride):
    layer = Conv2d(20, 36, 1, height=32, width=32, stride=stride)
    priced = price(*layer.gemms(), array)
    said = {each.name: each.text for each in explain(priced)}
    read = priced.traffic.elements.get(("dram", "inputs"), 0)
    moved = priced.moved["inputs"] if "inputs" in priced.memory else read
    assert (" of them read (strides" in said.get("inputs", "")) == (read < moved)
    assert read == moved or (stride > 1 and not array.has_buffers)
    if read < moved:
        assert f", {number(read * array.bytes_per_element)} of them read" in said["inputs"]
