"""Any field of a machine is swept: each point is that machine, and machines that are the same are taken once."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import machines
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from hwcost import Conv2d, InvalidValueError, Linear, MatMul, Network, SystolicArray, network_cost
from hwcost.machine import FoldTiming
from hwcost.machine.array import adapt
from hwcost.machine.energies import EnergyTable, Figure, with_energy
from hwcost.model.formula import price
from hwcost.network.operations import MemoryOnly, Operation
from hwcost.sweep import SWEPT, nondominated, sweep

NET = {
    "conv": Conv2d(12, 40, 3, height=14, width=14, padding=1),
    "depthwise": Conv2d(32, 32, 3, height=7, width=7, padding="same", groups=32),
    "scores": MatMul(m=9, n=9, k=13, batch=4),
    "fc": Linear(400, 120, batch=3),
    "again": Conv2d(12, 40, 3, height=14, width=14, padding=1),
}
FIGURES = ("dram_bytes", "sram_bytes", "energy_joules")
MEMORY = SystolicArray(1, 1, dram_bytes_per_s=2e9)
MEMORY_OF_64K = dataclasses.replace(MEMORY, buffer_bytes=65536.0)


def agrees(found, network=NET):
    """Every point is what network_cost gives for its array, to the last bit."""
    for index, point in enumerate(found.points()):
        array = found.array(index)
        total = network_cost(network, array).total
        assert point["cycles"] == total.cycles, array
        for name in FIGURES:
            if name in point:
                assert point[name] == getattr(total, name), (name, array)
        assert point["seconds"] == pytest.approx(total.seconds, rel=1e-12)
        assert (point["pes"], point["rows"], point["dataflow"]) == (array.pes, array.rows, array.dataflow)
        for name in found.fields:
            assert point[name] == getattr(array, name)


def slow_twin(base, fields, rows, cols, flows):
    """The distinct machines, found one by one."""
    known = SystolicArray.declarations
    fields = {
        name: [value if value is None else known[name].check(value, name) for value in values]
        for name, values in fields.items()
    }
    seen = {}
    for flow, *values in itertools.product(flows, *fields.values(), rows, cols):
        *own, r, c = values
        array = adapt(base, dict(zip(fields, own, strict=True)), dataflow=flow, rows=r, cols=c).array
        seen.setdefault((flow, *(getattr(array, name) for name in fields), r, c), array)
    return seen


def test_a_sweep_of_fields():
    fields = {"buffer_bytes": [2**18, 2**14], "clock_hz": [5e8, 1e9], "fold_timing": ["serial", "ideal"]}
    found = sweep(NET, rows=[8, 12], cols=16, dataflows=["ws", "os"], base=MEMORY, fields=fields)
    assert len(found) == 32
    assert found.columns == (
        "rows", "cols", "dataflow", *fields, "pes", "cycles", "seconds", "utilization", "dram_bytes", "sram_bytes",
    )  # fmt: skip
    agrees(found)
    assert found.column("buffer_bytes").tolist()[:9] == [2.0**14] * 8 + [2.0**18]
    assert found.column("fold_timing").tolist()[:4] == ["serial", "serial", "ideal", "ideal"]
    assert found.seconds.tolist() == (found.cycles / found.column("clock_hz")).tolist()
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["settings"]["fields"] == {name: found._listed(name) and list(found.fields[name]) for name in fields}
    assert document["columns"]["clock_hz"] == found.column("clock_hz").tolist()
    assert "clock_hz" not in document["settings"]["array"]
    assert found.at(np.array([3])).array(0) == found.array(3)
    with refused("name", "buffers", "buffer_bytes"):
        found.column("buffers")


VALUES = {
    "min_streamed": [0, 7.5, 20], "cycles_per_fold": [0, 1.5], "cycles_per_layer": [3, 0, 10.25],
    "clock_hz": [3e8, 1e9], "cycles_per_row": [1, 1.5, 0.5], "row_stairs": [0, 0.3, 1], "col_stairs": [0.25, 0.8],
    "arrays": [1, 3], "lowering": ["im2col", "kernel-position"], "fold_timing": ["serial", "double-buffered"],
    "max_streamed": [None, 5, 9], "drains_outputs": [True, False], "counts_last_fold": [True, False],
    "starts_up": [True], "channel_multiple": [1, 4, 3], "dram_bytes_per_s": [1e9, math.inf, 3e9],
    "overlap": [0, 0.3, 1], "pipeline_cycles": [0, 100, 250.5], "weight_bytes_per_s": [None, 5e8, math.inf],
    "bytes_per_element": [1, 2, 1.5], "parallel_operands": [False, True], "accumulators": [64, 300],
    "rereads_inputs": [True], "reread_stairs": [0, 0.5, 1], "filter_block": [20, math.inf, 6.5],
    "buffer_bytes": [3e4, 5e4, 2e5, math.inf], "output_buffer_bytes": [None, 2e4], "partial_bytes": [2, 4],
    "double_buffered": [True, False], "reload_weight": [0, 0.02, 0.1], "vector_bytes_per_s": [1e9, math.inf],
    "host_bytes_per_s": [3e8, 1e9], "cycles_per_run": [0, 9.5], "weight_capacity_bytes": [2e4, 4e4],
    "spill_bytes_per_s": [2e8, 1e9], "filter_multiple": [1, 16], "idle_watts": [0, 0.5, 1.5],
    "bytes_per_output": [None, 4], "joules_per_dram_byte": [1e-10, 2e-10],
    "joules_per_accumulator_byte": [None, 1e-12, 3e-12], "fold_latency": [0, 200, 300.5],
    "cycles_per_output": [0.25, 0.5], "patch_height": [1, 2, 3], "patch_width": [1, 2], "tile_bytes": [9000, 4e4],
    "burst_bytes": [0, 32, 64], "depthwise_columns": [True, False], "readers": [1, 4], "single_block": [8, 60],
    "positions_at_once": [1, 2, 4], "bandwidth_per_array": [False, True], "start_up_cycles": [0, 90],
    "cycles_per_block": [0, 50], "cycles_per_output_block": [0, 11.5],
}  # fmt: skip
BASES = [SystolicArray(1, 1), MEMORY, *machines.RICH.values()]


@given(
    base=st.sampled_from(BASES),
    names=st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True),
    flows=st.sampled_from([["ws"], ["ws", "os"], ["os", "is"]]),
    chunk=st.sampled_from([1, 3, 50]),
    with_figures=st.booleans(),
)
def test_any_fields_of_any_machine(base, names, flows, chunk, with_figures):
    base = dataclasses.replace(base, rows=1, cols=1)
    fields = {name: VALUES[name] for name in names}
    figures = FIGURES[:2] if with_figures else None
    twins = slow_twin(base, fields, [7], [5, 16], flows)
    fitting = [array for array in twins.values() if _fits(array)]
    idle = [name for name in names if not any(_has_effect(name, array) for array in twins.values())]
    space = {"rows": [7], "cols": [5, 16], "dataflows": flows, "fields": fields}
    if idle or not fitting:
        with pytest.raises(InvalidValueError, match="." if idle else "no tile fits") as caught:
            sweep(NET, base=base, figures=figures, chunk=chunk, **space)
        assert not idle or caught.value.field in idle
        return
    found = sweep(NET, base=base, figures=figures, chunk=chunk, **space)
    agrees(found)
    machines_found = {found.array(index) for index in range(len(found))}
    assert len(machines_found) == len(found)
    assert machines_found == set(fitting)
    assert found.left_out == len(twins) - len(fitting)


def _has_effect(name, array):
    return SystolicArray.declarations[name].need is None or name in array.stated_names


def _fits(array):
    try:
        network_cost(NET, array)
    except InvalidValueError as error:
        if "no tile fits" not in str(error):
            raise
        return False
    return True


def test_every_field_can_be_swept():
    assert set(VALUES) <= set(SWEPT)
    left = set(SystolicArray.declarations) - set(SWEPT)
    assert left == {"rows", "cols", "dataflow", "col_table", "terms"}


@pytest.mark.parametrize("field", ["clock_hz", "dram_bytes_per_s", "bytes_per_element"])
def test_values_that_are_numbers_are_priced_in_one_call(calls_of, field):
    fields = {field: np.linspace(2, 9, 500) * (1 if field == "bytes_per_element" else 1e8)}
    with calls_of(price) as calls:
        found = sweep(NET, rows=[8, 16], cols=8, base=MEMORY, fields=fields)
    assert (len(found), len(calls)) == (1000, len(NET) + 4)  # a check of the layers, and the products that differ


# ---------------------------------------------------------------- fields without effect


def test_a_field_without_effect_under_a_dataflow_is_neutral_there():
    fields = {"drains_outputs": [False, True], "fold_timing": ["serial"]}
    found = sweep(NET, rows=8, cols=[4, 8], dataflows=["ws", "os"], fields=fields)
    listed = [(p["dataflow"], p["drains_outputs"], p["cols"]) for p in found.points()]
    assert listed == [
        ("ws", False, 4), ("ws", False, 8),
        ("os", False, 4), ("os", False, 8), ("os", True, 4), ("os", True, 8),
    ]  # fmt: skip
    assert found.idle == {"drains_outputs": ("ws",)}
    agrees(found)


def test_a_field_without_effect_beside_a_value_of_another():
    found = sweep(NET, rows=8, cols=8, fields={"overlap": [0.2, 0.9], "dram_bytes_per_s": [1e9, 2e9, math.inf]})
    pairs = list(zip(found.column("overlap").tolist(), found.column("dram_bytes_per_s").tolist(), strict=True))
    assert pairs == [(0.0, math.inf), (0.2, 1e9), (0.2, 2e9), (0.9, 1e9), (0.9, 2e9)]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["columns"]["dram_bytes_per_s"][0] is None


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    [
        ({"overlap": [0.2]}, "overlap", "finite bandwidth"),
        ({"double_buffered": [True, False]}, "double_buffered", "buffer_bytes"),
        ({"buffer_bytes": [math.inf]}, "buffer_bytes", "does nothing"),
        ({"filter_block": [4.0], "dram_bytes_per_s": [1e9], "buffer_bytes": [2e4]}, "buffer_bytes", "two models"),
    ],
)
def test_a_field_without_effect_on_any_machine_is_refused(fields, field, text):
    with pytest.raises(InvalidValueError) as caught:
        sweep(NET, rows=8, cols=8, fields=fields)
    assert caught.value.field == field
    assert text in str(caught.value)


MANY = np.arange(1.0, 1000.0)
BAD = [
    ([("buffer_bytes", 1)], "fields", "a mapping"),
    ({"buffer_byte": 1}, "fields", "did you mean 'buffer_bytes'"),
    ({"terms": ()}, "fields", "holds a number"),
    ({"rows": [8]}, "fields", "pass it as rows="),
    ({"dataflow": ["ws"]}, "fields", "pass it as dataflows="),
    ({"buffer_bytes": []}, "buffer_bytes", "at least one value"),
    ({"buffer_bytes": [-1]}, "buffer_bytes", "above 0"),
    ({"buffer_bytes": [[1, 2]]}, "buffer_bytes", "numbers"),
    ({"buffer_bytes": ["64k"]}, "buffer_bytes", "numbers"),
    ({"buffer_bytes": [None]}, "buffer_bytes", "numbers"),
    ({"clock_hz": [0]}, "clock_hz", "above 0"),
    ({"arrays": [1.5]}, "arrays", "an integer"),
    ({"fold_timing": ["seriall"]}, "fold_timing", "did you mean 'serial'"),
    ({"drains_outputs": [1]}, "drains_outputs", "True or False"),
    (dict.fromkeys(("clock_hz", "cycles_per_layer", "bytes_per_element"), MANY), "the number of points", "at most"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field", "text"), BAD)
def test_bad_fields(fields, field, text):
    with pytest.raises(InvalidValueError) as caught:
        sweep(NET, rows=8, cols=8, fields=fields)
    assert caught.value.field == field
    assert text in str(caught.value)


def test_values_that_are_too_extreme_are_an_error_without_a_warning():
    with pytest.raises(InvalidValueError, match="cycles are not finite"):
        sweep(NET, rows=8, cols=8, fields={"dram_bytes_per_s": [1e-305, 1e9]})


# ---------------------------------------------------------------- buffers and energy


def test_arrays_whose_buffers_no_tile_fits_are_left_out():
    space = {"rows": [4, 8], "cols": [8, 64], "fields": {"buffer_bytes": [200, 400, 6000, 2**17]}}
    found = sweep(NET, **space, base=MEMORY)
    all_of = slow_twin(MEMORY, space["fields"], [4, 8], [8, 64], ["ws"])
    fitting = [key for key, array in all_of.items() if _fits(array)]
    assert 0 < len(fitting) < len(all_of)
    assert [("ws", p["buffer_bytes"], p["rows"], p["cols"]) for p in found.points()] == fitting
    assert found.left_out == len(all_of) - len(fitting) == found.settings()["left_out"]
    agrees(found)
    with pytest.raises(InvalidValueError, match="no tile fits") as caught:
        sweep(NET, rows=8, cols=64, fields={"buffer_bytes": [20, 30]})
    assert caught.value.field == "SystolicArray.buffer_bytes"


def test_the_other_side_of_a_residual_sum_is_counted():
    fc, add = Linear(64, 64, batch=9), MemoryOnly("add", 2 * 576, 576)
    operations = {
        "a": Operation(fc, inputs=("",)),
        "sum": Operation(add, inputs=("a", "")),
        "b": Operation(fc, inputs=("sum",)),
    }
    network = Network("residual", operations, outputs=("b",))
    fields = {"buffer_bytes": [4096, 16384, math.inf], "bytes_per_element": [1, 2, 3]}
    found = sweep(
        network, rows=[8, 16], cols=8, base=with_energy(MEMORY_OF_64K, "45nm-textbook"), fields=fields, chunk=4
    )
    assert len(found) == 18
    agrees(found, network)
    assert found.dram_bytes[0] > sweep(dict(network), rows=8, cols=8, fields={"buffer_bytes": [4096]}).dram_bytes[0]


@pytest.mark.parametrize("energy", ["45nm-textbook", "40nm-accelergy"])
def test_figures_of_energy_follow_the_fields(energy):
    fields = {"buffer_bytes": [16384, 65536], "bytes_per_element": [1], "idle_watts": [0, 0.25]}
    found = sweep(NET, rows=8, cols=[8, 16], base=MEMORY, fields=fields, energy=energy)
    assert len(found) == 8
    agrees(found)
    for index, point in enumerate(found.points()):
        array = dataclasses.replace(MEMORY, rows=8, cols=point["cols"], buffer_bytes=point["buffer_bytes"])
        assert found.array(index) == dataclasses.replace(with_energy(array, energy), idle_watts=point["idle_watts"])


def test_a_table_of_the_callers_may_read_any_field(tmp_path):
    def leaks(array):
        each = Figure(1e-12, "assumed", "")
        watts = Figure(1e-3 * array.rows * array.cols + 1e-7 * array.buffer_bytes, "assumed", "")
        return dict.fromkeys(("joules_per_mac", "joules_per_sram_byte", "joules_per_dram_byte"), each) | {
            "idle_watts": watts
        }

    table = EnergyTable("mine", "none", "none", leaks, "none")
    space = {"rows": [4, 8], "cols": 8, "fields": {"buffer_bytes": [16384, 65536]}, "energy": table}
    agrees(sweep(NET, **space))
    with refused("keep", "mine", "leave it out"):
        sweep(NET, **space, keep=tmp_path / "kept")


def test_figures_on_demand():
    found = sweep(NET, rows=[4, 8], cols=[4, 8], dataflows=["ws", "os"], figures=["dram_bytes", "sram_bytes"])
    agrees(found)
    assert len(set(found.dram_bytes.tolist())) == 1
    assert len(set(found.sram_bytes.tolist())) > 2
    assert sweep(NET, rows=8, cols=8).dram_bytes is None
    for figures, text in ((["bytes"], "one of: cycles"), (["energy_joules"], "no figures of energy")):
        with pytest.raises(InvalidValueError, match=text):
            sweep(NET, rows=8, cols=8, figures=figures)


# ---------------------------------------------------------------- other parts


def test_arrays_count_in_the_budget():
    found = sweep(NET, rows=[8, 16], cols=8, fields={"arrays": [1, 2]}, pe_budget=130)
    assert [(p["arrays"], p["rows"], p["pes"]) for p in found.points()] == [(1, 8, 64), (1, 16, 128), (2, 8, 128)]
    agrees(found)
    with pytest.raises(InvalidValueError, match="at least 128, the smallest array"):
        sweep(NET, rows=8, cols=8, fields={"arrays": [2, 3]}, pe_budget=100)


def test_whole_cycles_stay_integers():
    found = sweep(NET, rows=8, cols=8, fields={"fold_timing": ["ideal", "serial"], "cycles_per_layer": [0]})
    assert found.cycles.dtype == np.int64
    assert sweep(NET, rows=8, cols=8, fields={"cycles_per_layer": [0, 1]}).cycles.dtype == np.float64


FOLDER = {"rows": [4, 8], "cols": [8, 64], "fields": {"buffer_bytes": [1500, 6000, 2**17], "clock_hz": [1e9, 2e9]}}


def test_a_folder_knows_the_fields(tmp_path):
    whole = sweep(NET, **FOLDER, base=MEMORY, chunk=3, keep=tmp_path / "kept")
    seen = []
    again = sweep(NET, **FOLDER, base=MEMORY, chunk=3, keep=tmp_path / "kept", progress=seen.append)
    assert again == whole
    assert sum(seen) == len(whole) + whole.left_out
    changed = [
        FOLDER["fields"] | {"buffer_bytes": [1500, 6000, 2**18]}, FOLDER["fields"] | {"overlap": [0.5]},
        {"buffer_bytes": FOLDER["fields"]["buffer_bytes"]},
    ]  # fmt: skip
    for fields in changed:
        with pytest.raises(InvalidValueError, match="another sweep"):
            sweep(NET, **FOLDER | {"fields": fields}, base=MEMORY, chunk=3, keep=tmp_path / "kept")
    with pytest.raises(InvalidValueError, match="another sweep"):
        sweep(NET, **FOLDER, base=MEMORY, chunk=3, keep=tmp_path / "kept", energy="45nm-textbook")
    own = FoldTiming("mine", lambda folds: folds.of_one_product * folds.streamed, "a row of the caller's")
    with refused("keep", "mine", "leave it out"):
        sweep(NET, rows=8, cols=8, fields={"fold_timing": [own]}, keep=tmp_path / "other")
    assert sweep(NET, rows=8, cols=8, fields={"fold_timing": [own, "ideal"]}).as_dict()["columns"]["fold_timing"] == [
        "mine", "ideal",
    ]  # fmt: skip


def test_processes_give_the_same_bits():
    pytest.importorskip("joblib")
    whole, other = (sweep(NET, **FOLDER, base=MEMORY, chunk=5, engine=engine) for engine in ("serial", "processes"))
    assert other == whole


# ---------------------------------------------------------------- fronts


@given(
    st.integers(1, 5).flatmap(
        lambda k: st.lists(
            st.tuples(*[st.one_of(st.integers(1, 4), st.integers(1, 50), st.just(math.inf))] * k),
            min_size=1,
            max_size=60,
        )
    )
)
def test_the_front_of_any_columns_is_that_of_all_pairs(points):
    columns = [np.array(column, dtype=float) for column in zip(*points, strict=True)]
    stacked = np.stack(columns, axis=1)
    no_worse = (stacked[:, None] <= stacked[None]).all(axis=2)
    better = (stacked[:, None] < stacked[None]).any(axis=2)
    expected = np.flatnonzero(~(no_worse & better).any(axis=0))
    assert nondominated(columns).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["any", "all on it", "many equal"])
def test_blocks_of_points_change_nothing(monkeypatch, kind):
    rng = np.random.default_rng(0)
    points = rng.random((4000, 4)) if kind != "many equal" else rng.integers(0, 5, (4000, 4)).astype(float)
    if kind == "all on it":
        points = 1 - points / np.linalg.norm(points, axis=1)[:, None]
    whole = nondominated(list(points.T))
    for size in (7, 100, 3999):
        monkeypatch.setattr("hwcost.sweep.front._BLOCK", size)
        assert np.array_equal(nondominated(list(points.T)), whole)
    assert (len(whole) == 4000) == (kind == "all on it")


def test_objectives_are_chosen():
    space = {
        "rows": [4, 8, 16],
        "cols": [8, 16],
        "fields": {"buffer_bytes": [16384, 65536], "output_buffer_bytes": [None, 8192]},
    }
    found = sweep(NET, **space, base=MEMORY, energy="45nm-textbook")
    assert found.objectives == ("time", "pes", "energy", "buffer")
    buffers = found.all_buffer_bytes
    assert set(buffers.tolist()) == {16384.0, 65536.0, 16384.0 + 8192, 65536.0 + 8192}
    expected = nondominated([found.cycles, found.pes, found.energy_joules, buffers])
    assert sorted(found.front.tolist()) == expected.tolist()
    few = sweep(NET, **space, base=MEMORY, objectives=["dram", "buffer"])
    assert sorted(few.front.tolist()) == nondominated([few.dram_bytes, few.all_buffer_bytes]).tolist()
    bare = sweep(NET, rows=[4, 8], cols=8, objectives=["time", "sram"])
    assert bare.columns[-1] == "sram_bytes"
    assert bare.settings()["objectives"] == ["time", "sram"]


@pytest.mark.parametrize(
    ("objectives", "text"),
    [
        (["times"], "did you mean 'time'"), ([], "each once"), (["time", "time"], "each once"), ("time", "each once"),
        (["energy"], "no figures of energy"), (["time", "buffer"], "no buffer is swept"),
    ],
)  # fmt: skip
def test_bad_objectives(objectives, text):
    with pytest.raises(InvalidValueError, match=text) as caught:
        sweep(NET, rows=8, cols=8, objectives=objectives)
    assert caught.value.field == "objectives"


def test_clocks_decide_what_is_fast():
    found = sweep(NET, rows=[4, 8], cols=8, fields={"clock_hz": [1e8, 1e9]})
    assert found.array(found.fastest()).clock_hz == 1e9
    assert found.array(found.fastest(32)).pes == 32
    assert found.ranked[0] == found.fastest()
    assert {found.array(index).clock_hz for index in found.front.tolist()} == {1e9}
