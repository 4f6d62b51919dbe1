"""Every term that a device has is told in words, with cycles that add up; none is told that it does not have."""

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
from hwcost.model.formula import MEMORY, OVERHEADS

LAYER = Conv2d(20, 36, 3, height=10, width=12, padding=1, batch=2)
ALL = machines.ALL | {name: load_device(name) for name in device_names()}
over_all = pytest.mark.parametrize("array", ALL.values(), ids=list(ALL))
BARE = SystolicArray(8, 16, fold_timing="serial")
WORDS = {
    "lowering": ("kernel-position", {}, "for each position of the kernel"),
    "row_stairs": (0.5, {}, "0.5 * ceil(180 / 8)"),
    "col_stairs": (0.5, {}, "0.5 * ceil(36 / 16)"),
    "max_streamed": (50, {}, "at most 50 rows going into one"),
    "min_streamed": (500.0, {}, "time of 500 rows at least"),
    "drains_outputs": (True, {"dataflow": "os"}, "the outputs are shifted out after each fold"),
    "starts_up": (True, {}, "arrives for the first fold and is loaded, a cycle a row (weights)"),
    "counts_last_fold": (False, {}, "left out as the last"),
    "cycles_per_row": (1.5, {}, "a streamed row taking 1.5 cycles"),
    "cycles_per_fold": (7.0, {}, "7 cycles more a fold"),
    "cycles_per_layer": (90.0, {}, "for each layer: 90 cycles"),
    "accumulators": (512, {"cycles_per_block": 5.0}, "512 at once"),
    "cycles_per_block": (5.0, {}, "for each product: 5 cycles"),
    "rereads_inputs": (True, {"accumulators": 64, "input_bytes_per_s": 1e9}, "every further block of filters"),
    "dram_bytes_per_s": (2e9, {}, "bytes at 2 a cycle"),
    "weight_bytes_per_s": (3e9, {}, "bytes at 3 a cycle"),
    "input_bytes_per_s": (3e9, {}, "bytes at 3 a cycle"),
    "output_bytes_per_s": (3e9, {}, "bytes at 3 a cycle"),
    "reread_bytes_per_s": (7e9, {"filter_block": 10.0}, "bytes at 7 a cycle"),
    "filter_block": (10.0, {"input_bytes_per_s": 1e9}, "every further block of filters"),
    "overlap": (0.25, {"dram_bytes_per_s": 1e9}, "0.25 of the shorter"),
    "bytes_per_element": (2.0, {"weight_bytes_per_s": 1e9}, "12960 bytes at 1 a cycle"),
}


def text_of(array):
    return "\n".join(f"{sentence.name}: {sentence.text}" for sentence in explain(LAYER, array))


def test_every_field_is_tried():
    fields = {field.name for field in dataclasses.fields(SystolicArray)}
    assert set(WORDS) == fields - {"rows", "cols", "clock_hz", "dataflow", "fold_timing", "terms"}


@pytest.mark.parametrize("name", WORDS)
def test_every_field_is_told(name):
    value, beside, words = WORDS[name]
    without = dataclasses.replace(BARE, **beside)
    array = dataclasses.replace(without, **{name: value})
    assert words in text_of(array)
    assert words not in text_of(without)


@over_all
def test_cycles_add_up(array):
    cost, told = layer_cost(LAYER, array), {each.name: each.cycles for each in explain(LAYER, array)}
    memory, overhead = ([told.get(term.name, 0) for term in table] for table in (MEMORY, OVERHEADS))
    assert told["total"] == cost.cycles
    assert told["compute"] == cost.compute_cycles
    assert sum(memory) == pytest.approx(cost.memory_cycles)
    assert sum(overhead) == pytest.approx(cost.overhead_cycles)
    assert f"bound by {cost.bound}" in text_of(array)


@over_all
def test_the_formula_gives_the_cycles_or_is_not_there(array):
    for layer in (LAYER, dataclasses.replace(LAYER, groups=4), Conv2d(3, 5, 1, 1, 1)):
        text = formula(layer, array)
        if text is None:
            continue
        *forms, value = text.removesuffix(" cycles").split(" = ")
        assert float(value) == layer_cost(layer, array).cycles
        for form in forms:
            assert eval(form, {"ceil": lambda x: -int(-x // 1), "max": max}) == float(value), form


@pytest.mark.parametrize("name", WORDS)
def test_the_formula_of_every_field(name):
    value, beside, _ = WORDS[name]
    array = dataclasses.replace(BARE, **beside, **{name: value})
    text = formula(LAYER, array)
    assert text is None or text.endswith(f"= {layer_cost(LAYER, array).cycles} cycles")


@pytest.mark.parametrize(("dataflow", "timing"), list(itertools.product(DATAFLOWS, FOLD_TIMINGS)))
def test_what_is_not_there_is_said_to_be_left_out(dataflow, timing):
    array = SystolicArray(8, 8, dataflow=dataflow, fold_timing=timing, drains_outputs=True, starts_up=True)
    text = text_of(array)
    left_out = text.rpartition("left out: ")[2]
    assert ("shifted out" in text) == (dataflow == "os" and timing == "serial")
    assert ("start-up" in left_out) == (dataflow == "os")
    assert ("filling and draining" in left_out) == (timing != "serial")
    assert "memory" in left_out
    undrained = text_of(dataclasses.replace(array, drains_outputs=False)).rpartition("left out: ")[2]
    assert ("shifting the outputs out" in undrained) == (dataflow == "os" and timing == "serial")


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
    assert capsys.readouterr().err.startswith("Error: --explain is 'given'")
    assert main(["estimate", "--device", "gemmini", "--k", "3", "--c", "20", "--f", "3,4", "--explain"]) == 2
    assert capsys.readouterr().err.startswith("Error: --explain is 'given'")
