"""A sweep equals network_cost on every single array; its front equals that of a comparison of every pair."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pickle
import sys
import tracemalloc

import machines
import nets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from trying import tried

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    Conv2d,
    Gemm,
    InvalidValueError,
    Linear,
    MatMul,
    MissingDependencyError,
    SystolicArray,
    load_device,
    network_cost,
)
from hwcost.machine import Dataflow, Term, adapt
from hwcost.sweep import ENGINES, MOST_POINTS, Sweep, count_points, engines, pareto_front, sweep
from hwcost.sweep.chunk_store import ChunkStore
from hwcost.sweep.pricing import CHUNK, Chunk, UniqueGemms, chunk_size, price

SMALL = {
    "conv": Conv2d(3, 20, 5, height=14, width=14, stride=2, padding=2),
    "depthwise": Conv2d(32, 32, 3, height=7, width=7, padding="same", groups=32),
    "scores": MatMul(m=9, n=9, k=13, batch=4),
    "fc": Linear(130, 10, batch=3),
    "again": Conv2d(3, 20, 5, height=14, width=14, stride=2, padding=2),
    "fc too": Linear(130, 10, batch=3),
}
FIGURES = ("cycles", "seconds", "utilization", "macs")


def agrees(found, network, indices):
    """The cycles to the last bit, and what follows from them to rounding."""
    for index, point in zip(indices, found.points(np.asarray(indices)), strict=True):
        array = found.array(index)
        total = network_cost(network, array, skip_unsupported=True).total
        assert point["cycles"] == total.cycles, array
        assert (point["rows"], point["cols"], point["dataflow"]) == (array.rows, array.cols, array.dataflow)
        assert point["pes"] == array.pes
        assert point["seconds"] == pytest.approx(total.seconds, rel=1e-12)
        assert point["utilization"] == pytest.approx(total.utilization, rel=1e-12)
        assert found.macs == total.macs


# ---------------------------------------------------------------- cycles


@pytest.mark.parametrize("name", machines.ALL)
def test_every_point_is_what_network_cost_gives(name):
    base = machines.ALL[name]
    found = sweep(SMALL, rows=(1, 7, 8, 33), cols=(3, 16, 64), dataflows=tuple(DATAFLOWS), base=base, chunk=5)
    assert len(found) == 36
    agrees(found, SMALL, range(36))


sizes = st.lists(st.integers(1, 300), min_size=1, max_size=5)
layers = st.lists(
    st.one_of(
        st.builds(Gemm, *[st.integers(1, 400)] * 3, st.integers(1, 5)),
        st.builds(Conv2d, st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.just(9), st.integers(4, 11)),
    ),
    min_size=1,
    max_size=5,
)


@given(
    layers=layers,
    repeated=st.integers(1, 3),
    rows=sizes,
    cols=sizes,
    base=st.sampled_from(list(machines.ALL.values())),
    timing=st.sampled_from(list(FOLD_TIMINGS)),
    chunk=st.integers(1, 30),
)
def test_any_network_on_any_machine(layers, repeated, rows, cols, base, timing, chunk):
    roomy = {name: 100 * size for name, size in base.stated() if name.endswith("buffer_bytes")}  # so that tiles fit
    base, network = adapt(base, fold_timing=timing, **roomy).array, layers * repeated
    found = sweep(network, rows=rows, cols=cols, dataflows=tuple(DATAFLOWS), base=base, chunk=chunk)
    assert len(found) == 3 * len(set(rows)) * len(set(cols))
    agrees(found, network, range(len(found)))


def test_devices_keep_their_terms():
    for name in ("gemmini", "tpu-v1"):
        base = load_device(name)
        found = sweep(SMALL, rows=(8, 100), cols=(8, 100), base=base)
        assert found.dataflows == (base.dataflow,)
        assert found.array(0) == dataclasses.replace(base, rows=8, cols=8)
        agrees(found, SMALL, range(4))


def test_a_residual_network():
    network = nets.residual()
    found = sweep(network, rows=range(8, 257), cols=range(8, 257), dataflows=("ws", "os", "is"), pe_budget=30_000)
    assert len(found) > 90_000
    assert found.pes.max() <= 30_000
    agrees(found, network, np.random.default_rng(0).integers(0, len(found), 40).tolist())
    assert found.macs == 4_089_184_256


def test_chunks_change_nothing():
    base = machines.RICH["by position"]
    whole, *others = (sweep(SMALL, rows=range(1, 20), cols=range(1, 20), base=base, chunk=n) for n in (None, 1, 7, 361))
    for other in others:
        assert other.cycles.tobytes() == whole.cycles.tobytes()


def test_memory_is_bounded():
    few, many = ([Gemm(1, 1, k) for k in range(1, count + 1)] for count in (10, 5000))
    assert chunk_size(UniqueGemms.of(few)) == CHUNK
    assert chunk_size(UniqueGemms.of(many)) * 8 * 5000 <= 64 * 2**20
    assert chunk_size(UniqueGemms.of(few * 1000)) == CHUNK


def test_memory_of_a_sweep_does_not_grow_with_its_points():
    def in_addition_to_the_results(most):
        tracemalloc.start()
        found = sweep(SMALL, rows=range(1, most), cols=range(1, 401), base=machines.RICH["by position"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - 60 * len(found)

    assert in_addition_to_the_results(1001) <= 1.2 * max(in_addition_to_the_results(201), 10e6)


def test_products_that_occur_again_are_priced_once():
    work = UniqueGemms.of([gemm for layer in nets.residual().values() for gemm in layer.gemms()])
    assert (len(work.products), len(work.order)) == (24, 54)


def test_whole_cycles_stay_integers_beyond_floating_point():
    network = [Gemm(2**40, 1, 2**20 + 1)]
    found = sweep(network, rows=[1, 2], cols=1)
    assert found.cycles.dtype == np.int64
    agrees(found, network, range(2))
    assert found.cycles[0] == 2**40 * (2**20 + 1)


def test_overflow_is_an_error():
    with pytest.raises(InvalidValueError, match="the cycles"):
        sweep([Gemm(2**40, 2**20, 2**20)], rows=[1, 2], cols=[1, 2])
    with pytest.raises(InvalidValueError, match="9223372036854775807"):
        sweep([Gemm(2**62, 1, 1)] * 3, rows=[1, 2], cols=[1, 2])


# ---------------------------------------------------------------- the space


def test_sizes_are_sorted_and_taken_once():
    found = sweep(SMALL, rows=[16, 8, 16], cols=(c for c in (4, 2)), dataflows=["os", "ws", "os"])
    assert found.rows.tolist() == [8, 8, 16, 16] * 2
    assert found.cols.tolist() == [2, 4] * 4
    assert found.dataflow.tolist() == ["os"] * 4 + ["ws"] * 4
    numbers = sweep(SMALL, rows=np.array([8, 16]), cols=4)
    assert numbers.pes.tolist() == [32, 64]


@given(sizes, sizes, st.integers(1, 3000))
def test_a_budget_leaves_out_larger_arrays(rows, cols, budget):
    expected = [(r, c) for r in sorted(set(rows)) for c in sorted(set(cols)) if r * c <= budget]
    assert count_points(rows, cols, ["ws", "os"], budget) == 2 * len(expected)
    if not expected:
        with pytest.raises(InvalidValueError, match="smallest array"):
            sweep(SMALL, rows=rows, cols=cols, pe_budget=budget)
        return
    found = sweep([Gemm(4, 5, 6)], rows=rows, cols=cols, pe_budget=budget)
    assert list(zip(found.rows.tolist(), found.cols.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rows": []}, r"rows is \[\]; allowed: at least one integer"),
        ({"rows": [0, 4]}, "rows is 0"),
        ({"cols": [2.5]}, "cols is 2.5"),
        ({"cols": np.array([2.5])}, "cols"),
        ({"cols": [2**70]}, "at most 9223372036854775807"),
        ({"rows": [True]}, "rows is True"),
        ({"rows": "8"}, "rows is '8'"),
        ({"rows": range(1, 100_000), "cols": range(1, 100_000)}, "number of points is 9999800001"),
        ({"rows": range(1, MOST_POINTS + 3)}, "number of rows"),
        ({"dataflows": ["xs"]}, "dataflows is 'xs'; allowed: one of: ws, os, is"),
        ({"dataflows": []}, "dataflows"),
        ({"pe_budget": 0}, "pe_budget is 0"),
        ({"pe_budget": 3}, "pe_budget is 3; allowed: at least 4"),
        ({"base": "tpu"}, "base is 'tpu'"),
        ({"base": SystolicArray(1, 1, row_stairs=np.array([0.1, 0.2]))}, "each field but rows and columns"),
        ({"network": []}, "layers"),
        ({"network": {"a": Linear(4, 4), "b": "?"}}, "layer 'b'"),
        ({"network": [Linear(np.array([4, 5]), 3)]}, "a size of the network"),
        ({"engine": "slurm"}, r"engine is 'slurm'; allowed: one of: serial, processes, dask://ADDRESS"),
        ({"engine": "dask"}, "dask://ADDRESS"),
        ({"engine": "dask://"}, "dask://ADDRESS"),
        ({"engine": "serial://x"}, "dask://ADDRESS"),
        ({"jobs": 2}, "jobs cannot be used: engine serial takes no number of processes"),
        ({"jobs": 0, "engine": "processes"}, "jobs is 0"),
        ({"chunk": 0}, "chunk is 0"),
    ],
    ids=str,
)
def test_bad_input(changes, text):
    arguments = {"network": SMALL, "rows": [2], "cols": [2]} | changes
    with pytest.raises(InvalidValueError, match=text):
        sweep(arguments.pop("network"), **arguments)


def test_what_is_not_understood_is_named():
    network = nets.ODD
    with pytest.raises(InvalidValueError, match="skip_unsupported"):
        sweep(network, rows=8, cols=8)
    found = sweep(network, rows=[8, 9], cols=8, skip_unsupported=True)
    assert found.unsupported == ("a.fft",)
    agrees(found, network, range(2))


def test_what_only_moves_memory_takes_no_cycles():
    found = sweep(nets.TREE, rows=[8, 9], cols=8)
    agrees(found, nets.TREE, range(2))


# ---------------------------------------------------------------- the front


def by_pairs(cycles, pes, macs):
    """The front of all three by a look at every pair."""
    utilization = macs / (np.asarray(cycles, dtype=float) * pes)
    points = list(zip(cycles, pes, -utilization, strict=True))

    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return {i for i, point in enumerate(points) if not any(beats(other, point) for other in points)}


numbers = st.one_of(st.integers(1, 12), st.integers(1, 2**40))


@given(st.lists(st.tuples(numbers, st.integers(1, 12)), min_size=1, max_size=40), st.booleans())
@tried(300)
def test_the_front_is_that_of_all_pairs(points, floating):
    cycles, pes = (np.array(column) for column in zip(*points, strict=True))
    cycles = cycles / 3 if floating else cycles
    front = pareto_front(cycles, pes)
    assert len(set(front.tolist())) == len(front)
    assert set(front.tolist()) == by_pairs(cycles.tolist(), pes.tolist(), 1000.0)
    assert np.all(np.diff(pes[front]) >= 0)
    assert np.all(np.diff(cycles[front]) <= 0)


def test_equal_points_are_all_on_the_front():
    assert pareto_front(np.array([3, 3, 4, 3]), np.array([2, 2, 2, 9])).tolist() == [0, 1]


def test_the_front_of_a_sweep():
    found = sweep(SMALL, rows=range(1, 12), cols=range(1, 12), dataflows=("ws", "os"), base=machines.RICH["waits"])
    assert set(found.front.tolist()) == by_pairs(found.cycles.tolist(), found.pes.tolist(), float(found.macs))


def test_the_front_of_many_points():
    random = np.random.default_rng(0)
    pes = random.integers(1, 70_000, 400_000)
    cycles = random.integers(1, 10**9, 400_000) // pes
    front = pareto_front(cycles, pes)
    some = random.integers(0, 400_000, 300)
    on_it = set(front.tolist())
    for index in some.tolist():
        beaten = (cycles <= cycles[index]) & (pes <= pes[index]) & ((cycles < cycles[index]) | (pes < pes[index]))
        assert (index in on_it) == (not beaten.any())


def test_the_fastest():
    found = sweep(SMALL, rows=range(1, 40), cols=range(1, 40), dataflows=("ws", "os"))
    for pes in (1, 7, 100, 5000, None):
        within = np.flatnonzero(found.pes <= (pes or 10**9))
        order = np.lexsort((found.pes[within], found.cycles[within]))
        best = within[order[0]]
        assert found.cycles[found.fastest(pes)] == found.cycles[best]
        assert found.pes[found.fastest(pes)] == found.pes[best]
    assert found.ranked[0] == found.fastest()
    with refused("pes", 0, "at least 1"):
        found.fastest(0)


# ---------------------------------------------------------------- out


def test_one_point_is_told_as_one():
    network = {"a": Linear(64, 40)}
    assert sweep(network, rows=[8], cols=[8]).in_words.startswith("1 point, on the Pareto front of ")
    assert sweep(network, rows=[8, 16], cols=[8]).in_words.startswith("2 points, 2 of them on the Pareto front of ")


def test_as_data():
    base = SystolicArray(1, 1, clock_hz=7e8, dram_bytes_per_s=1e9, weight_bytes_per_s=float("inf"))
    found = sweep(SMALL, rows=[8, 16], cols=[8], base=base, dataflows=("ws", "os"))
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document["schema"] == "hwcost.sweep/1"
    assert document["settings"]["array"]["weight_bytes_per_s"] is None
    assert document["settings"]["array"]["clock_hz"] == 7e8
    assert document["columns"]["cycles"] == found.cycles.tolist()
    assert document["front"] == found.front.tolist()
    rows = [dict(zip(document["columns"], row, strict=True)) for row in zip(*document["columns"].values(), strict=True)]
    assert rows == list(found.points())
    assert list(found.points(np.array([2, 0]))) == [rows[2], rows[0]]


def test_progress_counts_points():
    seen = []
    found = sweep(SMALL, rows=range(1, 20), cols=range(1, 4), dataflows=("ws", "is"), chunk=10, progress=seen.append)
    assert sum(seen) == len(found) == 114
    assert max(seen) == 10


# ---------------------------------------------------------------- kept chunks


class Broken(Exception):
    pass


def breaks_after(points):
    done = 0

    def progress(count):
        nonlocal done
        done += count
        if done >= points:
            raise Broken

    return progress


SPACE = {"rows": range(1, 30), "cols": range(1, 20), "dataflows": ("ws", "os"), "chunk": 50}


def test_a_sweep_that_broke_off_goes_on(tmp_path):
    keep, base = tmp_path / "kept", machines.RICH["by position"]
    whole = sweep(SMALL, base=base, **SPACE)
    with pytest.raises(Broken):
        sweep(SMALL, base=base, **SPACE, keep=keep, progress=breaks_after(400))
    finished = {path: path.stat().st_mtime_ns for path in keep.glob("chunk-*.bin")}
    assert len(finished) == 8
    again = sweep(SMALL, base=base, **SPACE, keep=keep)
    assert again.cycles.tobytes() == whole.cycles.tobytes()
    assert again.cycles.dtype == whole.cycles.dtype
    assert len(list(keep.glob("chunk-*.bin"))) == 24
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # none of them is priced again


DAMAGES = {
    "empty": lambda content: b"",
    "zeros": lambda content: b"\0" * len(content),
    "cut": lambda content: content[:-40],
    "longer": lambda content: content + b"\0" * 8,
    "a bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "another type": lambda content: content.replace(b"<i8", b"<f8"),
    "a pickle": lambda content: pickle.dumps([1, 2, 3]),
}


@pytest.mark.parametrize("damage", [*DAMAGES.values(), None], ids=[*DAMAGES, "another sweep"])
def test_a_chunk_that_is_not_whole_is_priced_again(tmp_path, damage):
    whole = sweep(SMALL, **SPACE, keep=tmp_path / "kept")
    sweep(SMALL, **SPACE, base=SystolicArray(1, 1, fold_timing="serial"), keep=tmp_path / "other")
    path, other = (tmp_path / folder / "chunk-000003.bin" for folder in ("kept", "other"))
    good = path.read_bytes()
    path.write_bytes(damage(good) if damage else other.read_bytes())
    assert path.read_bytes() != good
    assert sweep(SMALL, **SPACE, keep=tmp_path / "kept").cycles.tobytes() == whole.cycles.tobytes()
    assert path.read_bytes() == good


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_a_chunk_is_read_as_it_was_written(tmp_path, kind):
    cycles, joules = np.array([1, 2**62, 3], kind), np.array([0.1, 0.2, np.inf])
    store = ChunkStore.at(str(tmp_path / "kept"), {"x": 1})
    store.write(7, [cycles, joules])
    for found, written in zip(store.read(7, 3, 2), (cycles, joules), strict=True):
        assert (found.dtype, found.tobytes()) == (written.dtype, written.tobytes())
    assert store.read(7, 3, 1) is store.read(7, 2, 3) is store.read(7, 4, 2) is store.read(6, 3, 2) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": range(1, 31)},
        {"dataflows": ("os", "ws")},
        {"chunk": 51},
        {"pe_budget": 100},
        {"base": SystolicArray(1, 1, fold_timing="serial")},
        {"base": SystolicArray(1, 1, cycles_per_layer=1.0)},
        {"network": {**SMALL, "more": Linear(3, 3)}},
        {"network": dict(reversed(SMALL.items()))},
    ],
    ids=str,
)
def test_chunks_of_another_sweep_are_not_mixed_in(tmp_path, changes):
    sweep(SMALL, **SPACE, keep=tmp_path / "kept")
    arguments = {"network": SMALL, **SPACE, **changes}
    with pytest.raises(InvalidValueError, match=r"another sweep.*remove the folder"):
        sweep(arguments.pop("network"), **arguments, keep=tmp_path / "kept")


def test_sharing_of_operands_makes_another_sweep(tmp_path):
    plain, shared = ([Gemm(8, 8, 8, count=4, weights_shared_by=by)] for by in (1, 2))
    sweep(plain, **SPACE, keep=tmp_path / "kept")
    with pytest.raises(InvalidValueError, match="another sweep"):
        sweep(shared, **SPACE, keep=tmp_path / "kept")


def test_chunks_of_another_version(tmp_path):
    sweep(SMALL, **SPACE, keep=tmp_path / "kept")
    file = tmp_path / "kept" / "sweep.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"version": "9.9.9", "digest": content["digest"][::-1]}))
    with pytest.raises(InvalidValueError, match="another sweep"):
        sweep(SMALL, **SPACE, keep=tmp_path / "kept")


def test_folders_that_cannot_keep(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "sweep.json").write_text("[1]")
    for name in ("file", "full", "odd", "a\0b"):
        with pytest.raises(InvalidValueError, match="keep is"):
            sweep(SMALL, **SPACE, keep=tmp_path / name if "\0" not in name else name)
    assert (tmp_path / "full" / "letter.txt").exists()


# ---------------------------------------------------------------- engines


def test_engines_have_names():
    assert list(ENGINES) == ["serial", "processes", "dask"]
    assert all(row.name == name and row.summary for name, row in ENGINES.items())


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_processes_give_the_same_bits(jobs):
    pytest.importorskip("joblib")
    base = machines.RICH["by position"]
    whole = sweep(SMALL, base=base, **SPACE)
    other = sweep(SMALL, base=base, **SPACE, engine="processes", jobs=jobs)
    assert isinstance(other, Sweep)
    assert other.cycles.tobytes() == whole.cycles.tobytes()


def test_processes_that_are_broken_off(tmp_path):
    pytest.importorskip("joblib")
    whole = sweep(SMALL, **SPACE)
    with pytest.raises(Broken):
        sweep(SMALL, **SPACE, engine="processes", jobs=2, keep=tmp_path / "kept", progress=breaks_after(200))
    assert len(list((tmp_path / "kept").glob("chunk-*.bin"))) == 4
    again = sweep(SMALL, **SPACE, engine="processes", jobs=2, keep=tmp_path / "kept")
    assert again.cycles.tobytes() == whole.cycles.tobytes()


def _square(number):
    return number * number


def _dies_once(marker, number):
    """Kills its process the first time anyone calls it."""
    if number == 3 and not marker.exists():
        marker.touch()
        os._exit(1)
    return _square(number)


def _always_dies():
    os._exit(1)


@pytest.mark.parametrize(("engine", "jobs"), [("serial", None), ("processes", 1), ("processes", 2)])
def test_engines_run_any_call(engine, jobs):
    calls = [functools.partial(_square, number) for number in range(7)]
    assert sorted(engines.run(engine, calls, 7, jobs)) == [number**2 for number in range(7)]
    assert list(engines.run(engine, [], 0, jobs)) == []


def test_the_calls_of_a_killed_process_run_again(tmp_path):
    pytest.importorskip("joblib")
    calls = (functools.partial(_dies_once, tmp_path / "died", number) for number in range(9))
    assert sorted(engines.run("processes", calls, 9, 2)) == [number**2 for number in range(9)]
    assert (tmp_path / "died").exists()


def test_a_call_that_kills_every_process_is_an_error():
    pytest.importorskip("joblib")
    with pytest.raises(InvalidValueError, match="lack of memory") as caught:
        list(engines.run("processes", [_always_dies] * 3, 3, 2))
    assert (caught.value.field, caught.value.value) == ("engine", "processes")


def test_an_error_in_a_process_is_that_of_the_chunk():
    pytest.importorskip("joblib")
    with pytest.raises(InvalidValueError, match="the cycles"):
        sweep([Gemm(2**40, 2**20, 2**20)], rows=[1, 2], cols=[1, 2], engine="processes", jobs=2)


@pytest.mark.parametrize(("engine", "library"), [("processes", "joblib"), ("dask://h:1", "distributed")])
def test_missing_libraries_are_named(monkeypatch, engine, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"{library}; install it with: pip install \"hwcost\[cluster\]\""):
        sweep(SMALL, rows=8, cols=8, engine=engine)


def test_another_version_on_a_worker():
    chunk = Chunk(0, "0.0.1", UniqueGemms.of([Gemm(1, 2, 3)]), SystolicArray(8, 8))
    with pytest.raises(InvalidValueError, match=r"that of the sweep, 0\.0\.1"):
        price(chunk)


OWN_FLOW = Dataflow("mine", rows="k", cols="n", time="m", row_passes=2, summary="a row of the caller's")
OWN_TERM = Term("mine", lambda work: 7, "a term of the caller's")


@pytest.mark.parametrize("given", [{"dataflow": OWN_FLOW}, {"terms": (OWN_TERM,)}])
def test_a_folder_cannot_identify_rows_of_the_callers(tmp_path, given):
    base = SystolicArray(8, 8, **given)
    assert len(sweep(SMALL, rows=(8, 16), cols=8, base=base).cycles) == 2
    with pytest.raises(InvalidValueError) as caught:
        sweep(SMALL, rows=(8, 16), cols=8, base=base, keep=tmp_path / "kept")
    assert caught.value.field == "keep"
    assert "mine" in str(caught.value)


def test_dataflows_of_one_name():
    with pytest.raises(InvalidValueError, match="dataflows"):
        sweep(SMALL, rows=8, cols=8, dataflows=[OWN_FLOW, dataclasses.replace(OWN_FLOW, row_passes=9)])
