"""The fields of a machine: each has an effect or is refused, and is declared in one place."""

from __future__ import annotations

import dataclasses
import inspect
import math
import types

import machines
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from trying import tried

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    Conv2d,
    Gemm,
    InvalidValueError,
    Linear,
    SystolicArray,
    layer_cost,
)
from hwcost.devices import FIELD_UNITS
from hwcost.machine import Buffers, Clock, Energy, Grid, Memory, Run, Tiler, Tiles, Timing, adapt
from hwcost.machine.array import IdleFieldError
from hwcost.network.operations import MemoryOnly
from hwcost.reports import summarise

PARTS = (Grid, Clock, Tiler, Timing, Tiles, Memory, Buffers, Run, Energy)
NEEDED = ("joules_per_mac", "joules_per_sram_byte", "joules_per_dram_byte")
ENERGIES = (*NEEDED, "joules_per_sram_byte_written", "joules_per_accumulator_byte")
BUFFERS = ("buffer_bytes", "weight_buffer_bytes", "input_buffer_bytes", "output_buffer_bytes")
RATES = st.sampled_from([1e8, 3e9, math.inf])
VALUES = {
    "row_stairs": st.sampled_from([0.0, 0.4]), "col_stairs": st.sampled_from([0.0, 0.4]),
    "lowering": st.just("kernel-position"), "max_streamed": st.integers(2, 40), "accumulators": st.integers(1, 400),
    "filter_block": st.floats(1, 9), "rereads_inputs": st.just(True), "min_streamed": st.floats(300, 900),
    "drains_outputs": st.just(True), "counts_last_fold": st.just(False), "starts_up": st.just(True),
    "cycles_per_row": st.floats(1.5, 3), "cycles_per_fold": st.floats(1, 50), "cycles_per_layer": st.floats(1, 500),
    "cycles_per_block": st.floats(1, 90), "bytes_per_element": st.sampled_from([2.0, 4.0]), "dram_bytes_per_s": RATES,
    "weight_bytes_per_s": RATES, "input_bytes_per_s": RATES, "output_bytes_per_s": RATES, "reread_bytes_per_s": RATES,
    "overlap": st.sampled_from([0.3, 1.0]), "reread_stairs": st.sampled_from([0.5, 1.0]),
    "channel_multiple": st.sampled_from([3, 8]), "parallel_operands": st.just(True), "arrays": st.integers(2, 9),
    "bandwidth_per_array": st.just(True),
    "vector_bytes_per_s": RATES, "cycles_per_run": st.floats(1, 500), "host_bytes_per_s": RATES,
    "weight_capacity_bytes": st.floats(1, 4000), "filter_multiple": st.sampled_from([2, 7]), "spill_bytes_per_s": RATES,
    "col_table": st.sampled_from([(1.0, 3.0, 2.0), (0.75,)]), "patch_height": st.sampled_from([3, 7]),
    "patch_width": st.sampled_from([3, 7]), "positions_at_once": st.sampled_from([4, 9]),
    "depthwise_columns": st.just(True), "spreads_vectors": st.just(True), "pipeline_cycles": st.floats(5, 900),
    "cycles_per_output": st.sampled_from([30.0, 90.0]),
    "tile_bytes": st.sampled_from([3000.0, 9000.0]), "bank_bytes": st.sampled_from([700.0, 2000.0]),
    "burst_bytes": st.sampled_from([64.0, 512.0]), "run_channels": st.sampled_from([2, 24]),
    "readers": st.sampled_from([2, 8]), "single_block": st.sampled_from([9, 60]),
    "cycles_per_output_block": st.floats(1, 90), "fold_latency": st.floats(20000, 90000),
    "weights_apart": st.just(True), "weights_ahead": st.just(True), "start_up_cycles": st.sampled_from([40.0, 700.0]),
    "bytes_per_output": st.sampled_from([2.0, 4.0]), "partial_bytes": st.sampled_from([1.0, 2.0]),
    "buffer_bytes": st.sampled_from([1500.0, 2500.0]), "weight_buffer_bytes": st.sampled_from([500.0, 700.0]),
    "input_buffer_bytes": st.sampled_from([500.0, 700.0]), "output_buffer_bytes": st.sampled_from([600.0, 900.0]),
    "double_buffered": st.just(True), "reload_weight": st.just(1.0),
    **{name: st.sampled_from([2e-12, 7e-12]) for name in ENERGIES}, "idle_watts": st.sampled_from([0.1, 3.0]),
}  # fmt: skip
LAYERS = (
    Conv2d(20, 70, 3, height=10, width=12, padding=1), Conv2d(16, 16, 5, height=9, width=9, groups=4),
    Linear(300, 500, batch=3), Linear(300, 70), Gemm(200, 9, 7),
    Conv2d(12, 12, 3, height=9, width=11, padding=1, groups=12),
)  # fmt: skip


def figures(array):
    """All that a user sees of a machine: costs, and the bytes of a report."""
    network = {str(index): layer for index, layer in enumerate((*LAYERS, MemoryOnly("relu", 900, 900)))}
    report = summarise(network, array).as_dict()
    report.pop("array", None)
    return [layer_cost(layer, array).as_dict() for layer in LAYERS], report


def idle_fields(array, **changes):
    """The fields that would have no effect on a machine with some changes, by the table in docs/devices.md."""
    fields = types.SimpleNamespace(**{name: getattr(array, name) for name in SystolicArray.declarations} | changes)
    own = {operand: getattr(fields, f"{operand}_bytes_per_s") for operand in ("weight", "input", "output")}
    shared = fields.dram_bytes_per_s
    rates = {operand: shared if rate is None else rate for operand, rate in own.items()}
    reread = rates["input"] if fields.reread_bytes_per_s is None else fields.reread_bytes_per_s
    repeats = fields.filter_block != math.inf or fields.rereads_inputs
    rivals = repeats or fields.tile_bytes != math.inf or fields.bandwidth_per_array
    buffers = [getattr(fields, name) for name in BUFFERS]
    has_buffers = any(size not in (None, math.inf) for size in buffers)
    has_energy = None not in [getattr(fields, name) for name in NEEDED]
    idle = {
        "accumulators": not (fields.cycles_per_block or fields.rereads_inputs or fields.fold_latency),
        "fold_latency": fields.accumulators is None,
        "readers": min(*rates.values(), reread) == math.inf or fields.single_block is None,
        "single_block": fields.readers == 1,
        "filter_block": reread == math.inf,
        "rereads_inputs": reread == math.inf,
        "reread_stairs": reread == math.inf or not repeats,
        "parallel_operands": min(*rates.values(), reread) == math.inf,
        "bandwidth_per_array": fields.arrays == 1 or min(*rates.values(), reread) == math.inf,
        "drains_outputs": not (fields.dataflow == "os" and fields.fold_timing == "serial"),
        "starts_up": fields.dataflow == "os",
        "start_up_cycles": not fields.starts_up,
        "col_stairs": bool(fields.col_table),
        "positions_at_once": fields.lowering != "kernel-position" or fields.dataflow == "os",
        "tile_bytes": min(*rates.values(), reread) == math.inf or fields.arrays > 1,
        "bank_bytes": fields.tile_bytes == math.inf,
        "burst_bytes": fields.tile_bytes == math.inf,
        "run_channels": fields.tile_bytes == math.inf,
        "weights_apart": min(*rates.values(), reread) == math.inf or fields.parallel_operands,
        "weights_ahead": fields.tile_bytes == math.inf or not fields.starts_up or rates["weight"] == math.inf,
        "dram_bytes_per_s": None not in own.values(),
        "reread_bytes_per_s": not repeats,
        "overlap": min(*rates.values(), reread) == math.inf,
        "pipeline_cycles": min(*rates.values(), reread) == math.inf,
        "spreads_vectors": fields.dataflow != "os",
        "weight_capacity_bytes": fields.spill_bytes_per_s == math.inf,
        "filter_multiple": fields.weight_capacity_bytes == math.inf,
        "spill_bytes_per_s": fields.weight_capacity_bytes == math.inf,
        "buffer_bytes": rivals or None not in buffers[1:],
        "double_buffered": not has_buffers,
        "reload_weight": not has_buffers,
        **{name: rivals or {getattr(fields, name), fields.buffer_bytes} <= {math.inf} for name in BUFFERS[1:]},
        **dict.fromkeys((*ENERGIES, "idle_watts"), not has_energy),
    } | {f"{operand}_bytes_per_s": rate == shared == math.inf for operand, rate in own.items()}
    stated = {name for name in idle if getattr(fields, name) != SystolicArray.declarations[name].neutral}
    return {name for name in stated if idle[name]}


def given_fields(array):
    return {name: value for name, value in array.stated() if name in VALUES}


def a_machine(data):
    first = {
        "dataflow": data.draw(st.sampled_from(sorted(DATAFLOWS))),
        "fold_timing": data.draw(st.sampled_from(sorted(FOLD_TIMINGS))),
    }
    machine = SystolicArray(8, 4, **first)
    for name in data.draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=8, unique=True)):
        try:
            machine = dataclasses.replace(machine, **{name: data.draw(VALUES[name])})
        except InvalidValueError:
            continue
    return machine


def test_every_field_has_values():
    assert set(VALUES) == set(SystolicArray.declarations) - {
        "rows", "cols", "clock_hz", "dataflow", "fold_timing", "terms"
    }  # fmt: skip


NEEDS = {
    "accumulators": {"cycles_per_block": 9.0}, "fold_latency": {"accumulators": 40, "cycles_per_block": 9.0},
    "readers": {"readers": 3, "single_block": 60, "dram_bytes_per_s": 1e8},
    "single_block": {"readers": 8, "single_block": 1, "dram_bytes_per_s": 1e8}, "overlap": {"dram_bytes_per_s": 1e8},
    "pipeline_cycles": {"dram_bytes_per_s": 1e8},
    "filter_block": {"dram_bytes_per_s": 1e8}, "reread_bytes_per_s": {"filter_block": 2.0, "dram_bytes_per_s": 4e7},
    "reread_stairs": {"filter_block": 8.0, "dram_bytes_per_s": 1e7}, "parallel_operands": {"dram_bytes_per_s": 1e7},
    "rereads_inputs": {"accumulators": 64, "cycles_per_block": 9.0, "dram_bytes_per_s": 1e8},
    "drains_outputs": {"dataflow": "os", "fold_timing": "serial"}, "lowering": {"fold_timing": "serial"},
    "spreads_vectors": {"dataflow": "os"},
    "bandwidth_per_array": {"arrays": 3, "dram_bytes_per_s": 1e7},
    "weight_capacity_bytes": {"weight_capacity_bytes": 1e5, "spill_bytes_per_s": 1e8},
    "filter_multiple": {"weight_capacity_bytes": 2e3, "spill_bytes_per_s": 1e8},
    "spill_bytes_per_s": {"weight_capacity_bytes": 2e3, "spill_bytes_per_s": 3.1e9},
    "positions_at_once": {"lowering": "kernel-position"}, "tile_bytes": {"dram_bytes_per_s": 1e7},
    "bank_bytes": {"tile_bytes": 6000.0, "dram_bytes_per_s": 1e7},
    "burst_bytes": {"tile_bytes": 6000.0, "dram_bytes_per_s": 1e7},
    "run_channels": {"tile_bytes": 6000.0, "dram_bytes_per_s": 1e7}, "weights_apart": {"dram_bytes_per_s": 1e7},
    "start_up_cycles": {"starts_up": True},
    "weights_ahead": {"tile_bytes": 6000.0, "dram_bytes_per_s": 1e7, "starts_up": True},
    **{name: {"buffer_bytes": 4000.0} for name in ("weight_buffer_bytes", "double_buffered", "reload_weight")},
    **dict.fromkeys((*ENERGIES, "idle_watts"), dict.fromkeys(NEEDED, 1e-12)),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@tried(10)
def test_a_field_has_an_effect_where_its_needs_are_met(name, data):
    base = SystolicArray(8, 4, **NEEDS.get(name, {}))
    value = data.draw(VALUES[name])
    assume(value != SystolicArray.declarations[name].neutral and not idle_fields(base, **{name: value}))
    assert figures(dataclasses.replace(base, **{name: value})) != figures(base)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@tried(15)
def test_a_field_is_refused_if_and_only_if_it_has_no_effect(name, data):
    machine, value = a_machine(data), data.draw(VALUES[name])
    if idle := idle_fields(machine, **{name: value}):
        with pytest.raises(IdleFieldError) as caught:
            dataclasses.replace(machine, **{name: value})
        assert caught.value.field.removeprefix("SystolicArray.") in idle
    else:
        assert getattr(dataclasses.replace(machine, **{name: value}), name) == value


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"overlap": 0.5}, "bandwidth"),
        ({"filter_block": 4}, "input_bytes_per_s"),
        ({"filter_block": 4, "weight_bytes_per_s": 1e9}, "input_bytes_per_s"),
        ({"reread_bytes_per_s": 1}, "filter_block"),
        ({"accumulators": 64}, "cycles_per_block"),
        ({"rereads_inputs": True}, "input_bytes_per_s"),
        ({"reread_stairs": 0.5, "dram_bytes_per_s": 1e9}, "filter_block"),
        ({"parallel_operands": True}, "bandwidth"),
        ({"pipeline_cycles": 100.0}, "bandwidth"),
        ({"bandwidth_per_array": True, "dram_bytes_per_s": 1e9}, "arrays"),
        ({"bandwidth_per_array": True, "arrays": 2}, "bandwidth"),
        ({"weight_capacity_bytes": 8e6}, "spill_bytes_per_s"),
        ({"spill_bytes_per_s": 8e6}, "weight_capacity_bytes"),
        ({"filter_multiple": 64}, "weight_capacity_bytes"),
        ({"drains_outputs": True, "fold_timing": "serial"}, "os"),
        ({"drains_outputs": True, "dataflow": "os"}, "serial"),
        ({"starts_up": True, "dataflow": "os"}, "ws"),
        ({"weight_bytes_per_s": math.inf}, "dram_bytes_per_s"),
        ({"weight_buffer_bytes": math.inf}, "buffer_bytes"),
        ({"buffer_bytes": 100.0} | dict.fromkeys(BUFFERS[1:], 90.0), "operand"),
        ({"double_buffered": True}, "buffer_bytes"),
        ({"joules_per_mac": 1e-12}, "joules_per_dram_byte"),
        ({"idle_watts": 1.0}, "joules_per_mac"),
        ({f"{name}_bytes_per_s": 1e9 for name in ("dram", "weight", "input", "output")}, "operand"),
    ],
    ids=str,
)
def test_fields_without_effect_are_refused_with_what_they_need(fields, needs):
    with pytest.raises(InvalidValueError) as caught:
        SystolicArray(8, 8, **fields)
    name = caught.value.field.removeprefix("SystolicArray.")
    assert caught.value.value == fields[name]
    assert needs in caught.value.allowed


@pytest.mark.parametrize("name", ["bytes_per_element", "bytes_per_output", "partial_bytes", *BUFFERS, *NEEDED])
def test_bytes_and_joules_take_no_time_without_a_bandwidth(name):
    array = SystolicArray(8, 4, **NEEDS.get(name, {}))
    value = {"bytes_per_element": 2.0, "bytes_per_output": 2.0, "partial_bytes": 2.0}.get(name, 5000.0)
    changed = dataclasses.replace(array, **{name: value})
    for layer in LAYERS:
        assert layer_cost(layer, changed).cycles == layer_cost(layer, array).cycles


@pytest.mark.parametrize("rival", [
    {"filter_block": 4.0}, {"rereads_inputs": True}, {"tile_bytes": 9000.0}, {"arrays": 2, "bandwidth_per_array": True},
])  # fmt: skip
@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_are_another_model_of_what_is_read_again(rival, name):
    with pytest.raises(IdleFieldError, match="two models of the same memory") as caught:
        SystolicArray(8, 8, dram_bytes_per_s=1e9, **rival, **{name: 4096.0})
    (field,) = set(rival) - {"arrays"}
    assert caught.value.field == f"SystolicArray.{name}"
    assert field in caught.value.reason
    assert field in caught.value.allowed


def test_a_sweep_over_a_field_states_it():
    swept = SystolicArray(8, 8, dram_bytes_per_s=np.array([1e9, math.inf]), overlap=0.5)
    assert len(swept.sweeps) == 1


# ---------------------------------------------------------------- parts and declarations


def test_an_array_is_its_parts():
    names = [name for part in PARTS for name in part.declarations]
    assert len(set(names)) == len(names)
    assert set(names) | {"terms"} == set(SystolicArray.declarations)
    positional = [name for name, each in inspect.signature(SystolicArray).parameters.items() if each.kind.value == 1]
    assert positional == ["rows", "cols", "clock_hz", "dataflow", "fold_timing"]


@pytest.mark.parametrize("part", PARTS)
def test_parts_check_their_fields(part):
    for name, declared in part.declarations.items():
        good = {"rows": 8, "cols": 8} if part is Grid else {}
        with pytest.raises(InvalidValueError) as caught:
            part(**good | {name: "?"})
        assert caught.value.field == f"{part.__name__}.{name}"
        assert part(**good | {name: 8 if name in good else declared.neutral}).as_dict().keys() >= good.keys()


def test_every_declaration_is_used():
    text = SystolicArray.__doc__
    for name, declared in SystolicArray.declarations.items():
        unit = f" [{declared.unit}]" if declared.unit not in {"", "1"} else ""
        assert f"{name}: {declared.text}{unit}." in text
    assert set(FIELD_UNITS) == set(SystolicArray.declarations) - {"terms"}


# ---------------------------------------------------------------- adapted machines


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("array", machines.ALL.values(), ids=list(machines.ALL))
def test_a_machine_is_adapted_to_a_dataflow(array, dataflow):
    adapted, dropped = adapt(array, dataflow=dataflow)
    assert adapted.dataflow == dataflow
    assert set(given_fields(array)) - set(given_fields(adapted)) == set(dropped)
    assert set(dropped) <= {"drains_outputs", "starts_up", "start_up_cycles", "positions_at_once", "spreads_vectors"}
    for name in dropped:
        with pytest.raises(InvalidValueError):
            dataclasses.replace(array, dataflow=dataflow)
        assert getattr(array, name) != SystolicArray.declarations[name].neutral
    if not dropped:
        assert adapted == dataclasses.replace(array, dataflow=dataflow)


def test_a_change_without_effect_is_refused():
    with pytest.raises(InvalidValueError) as caught:
        adapt(SystolicArray(8, 8), overlap=0.5)
    assert caught.value.field == "SystolicArray.overlap"


@pytest.mark.parametrize("name", machines.RICH)
def test_a_machine_is_shown_as_the_call_that_makes_it(name):
    array = machines.RICH[name]
    shown = repr(array)
    assert eval(shown, {"SystolicArray": SystolicArray, "inf": math.inf}) == array
    assert ("cycles_per_layer" in shown) == (array.cycles_per_layer != 0)


@pytest.mark.parametrize("name", [name for name, each in SystolicArray.declarations.items() if each.start is not None])
def test_fits_start_from_a_value_that_can_be_scaled(name):
    declared = SystolicArray.declarations[name]
    start = declared.start.value(SystolicArray(8, 16)) if callable(declared.start.value) else declared.start.value
    assert declared.kind.check(start, name, declared.unit) == start
    assert 0 < start < (1 if declared.kind.is_share else math.inf)
    assert declared.kind.is_share == (name in {"row_stairs", "col_stairs", "overlap"})
