"""Device files: those that ship, the round trip, and bad files that end in an error of hwcost."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import os
import pathlib
import pickle
import subprocess
import sys
import tomllib
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import (
    Conv2d,
    Gemm,
    HwcostError,
    InvalidValueError,
    Linear,
    MissingDependencyError,
    Network,
    SystolicArray,
    advise,
    layer_cost,
    network_cost,
    tabulate,
)
from hwcost.devices import (
    FACT_UNITS,
    FIELD_UNITS,
    STATUSES,
    UNITS,
    DeviceFile,
    Entry,
    Fit,
    Range,
    device_names,
    load_device,
    read_device,
    write_device,
)
from hwcost.devices.chips import one_array
from hwcost.model.breakdown import layer_breakdown
from hwcost.model.formula import layer_traffic
from hwcost.network.pricing import price_network
from hwcost.plot.stairs import stairs_data
from hwcost.reports import summarise
from hwcost.sweep import sweep

tomli_w = pytest.importorskip("tomli_w")

FOLDER = pathlib.Path(__file__).parents[1] / "hwcost" / "devices"
NAMES = device_names()
FILES = [name for name in NAMES if not name.endswith("/array")]
CHIPS = {name: read_device(name) for name in FILES if read_device(name).array.arrays > 1}
LAYERS = {"conv": Conv2d(3, 65, 3, height=8, width=8), "fc": Linear(2340, 10)}
BY_NAME = {
    "layer_cost": lambda array: layer_cost(LAYERS["fc"], array),
    "layer_breakdown": lambda array: layer_breakdown(LAYERS["fc"], array),
    "layer_traffic": lambda array: layer_traffic(LAYERS["fc"], array),
    "network_cost": lambda array: network_cost(LAYERS, array).total,
    "price_network": lambda array: [each.compute for each in price_network(LAYERS, array)["conv"]],
    "summarise": lambda array: summarise(LAYERS, array).as_dict(),
    "advise": lambda array: advise(Network.of_layers("net", LAYERS), array, budget=0.8).as_dict(),
    "tabulate": lambda array: tabulate(Network.of_layers("net", LAYERS), array),
    "stairs_data": lambda array: stairs_data(LAYERS["conv"], array, "out_channels", range(8, 20)),
    "sweep": lambda base: sweep(LAYERS, rows=[8, 16], cols=[8], base=base).cycles.tolist(),
}


@pytest.mark.parametrize("function", BY_NAME.values(), ids=BY_NAME)
def test_a_device_can_be_given_by_name_wherever_an_array_can(function, tmp_path):
    expected = function(load_device("gemmini"))
    assert function("gemmini") == expected
    (tmp_path / "mine.toml").write_bytes((FOLDER / "gemmini.toml").read_bytes())
    assert function(tmp_path / "mine.toml") == expected
    with pytest.raises(InvalidValueError, match=r"is 'gemini' \(did you mean 'gemmini'\?\); .*edge-tpu, ") as caught:
        function("gemini")
    assert caught.value.field in ("array", "base")
    with pytest.raises(InvalidValueError, match="SystolicArray, or the name of a device"):
        function(8)


SHIPPED = (
    "edge-tpu", "ethos-u55-128", "ethos-u55-128-network", "ethos-u55-256", "ethos-u55-256-network", "ethos-u65-256",
    "ethos-u65-256-network", "ethos-u85-256", "ethos-u85-256-network", "eyeriss", "gemmini",
    "gemmini-firesim", "nvdla-large", "nvdla-small", "tpu-v1", "tpu-v2", "tpu-v3", "tpu-v4",
    "tpu-v4i", "tpu-v5e", "tpu-v5p", "tpu-v6e",
)  # fmt: skip


def entry(value, unit, status="assumed", source="a test"):
    return Entry(value, unit, status, source)


FIT = Fit(
    data="40 layers",
    source="a test bench",
    licence="CC0-1.0",
    errors={"median_relative_error": 0.04, "layers": 40},
    identified=("cycles_per_row", "overlap"),
    not_identified=("filter_block",),
    ranges={"m": Range(16, 12544), "n": Range(8, 512), "k": Range(27, 4608), "macs": Range(10**5, 10**9)},
    doubts=("rows with tiler = a take 2 times as long as predicted",),
)
MACHINE = {
    "rows": entry(16, "PE"),
    "cols": entry(8, "PE"),
    "clock_hz": entry(1e9, "Hz"),
    "dataflow": entry("os", ""),
    "fold_timing": entry("serial", ""),
}
OPTIONS = {
    "lowering": entry("kernel-position", ""),
    "row_stairs": entry(0.25, "1"),
    "col_stairs": entry(1.0, "1"),
    "max_streamed": entry(512, "row"),
    "min_streamed": entry(9.5, "row"),
    "drains_outputs": entry(True, ""),
    "starts_up": entry(False, ""),
    "counts_last_fold": entry(False, ""),
    "cycles_per_row": entry(1.05, "cycle"),
    "cycles_per_fold": entry(10.5, "cycle"),
    "cycles_per_layer": entry(900.0, "cycle"),
    "accumulators": entry(8192, "1"),
    "cycles_per_block": entry(144.0, "cycle"),
    "cycles_per_output_block": entry(12.5, "cycle"),
    "fold_latency": entry(700.0, "cycle"),
    "readers": entry(8, "1"),
    "single_block": entry(512, "1"),
    "rereads_inputs": entry(True, ""),
    "bytes_per_element": entry(0.5, "B"),
    "dram_bytes_per_s": entry(math.inf, "B/s"),
    "weight_bytes_per_s": entry(16e9, "B/s"),
    "input_bytes_per_s": entry(8e9, "B/s"),
    "output_bytes_per_s": entry(4e9, "B/s"),
    "reread_bytes_per_s": entry(12e9, "B/s"),
    "filter_block": entry(64.0, "filter"),
    "overlap": entry(0.3, "1"),
    "reread_stairs": entry(0.5, "1"),
    "channel_multiple": entry(4, "1"),
    "parallel_operands": entry(False, ""),
    "arrays": entry(1, "1"),
    "bandwidth_per_array": entry(False, ""),
    "vector_bytes_per_s": entry(9e9, "B/s"),
    "cycles_per_run": entry(1e5, "cycle"),
    "host_bytes_per_s": entry(3e8, "B/s"),
    "weight_capacity_bytes": entry(8e6, "B"),
    "filter_multiple": entry(64, "1"),
    "spill_bytes_per_s": entry(1.4e8, "B/s"),
    "col_table": entry((1.0, 3, 2.5), "1"),
    "patch_height": entry(2, "1"),
    "patch_width": entry(3, "1"),
    "positions_at_once": entry(1, "1"),
    "depthwise_columns": entry(True, ""),
    "spreads_vectors": entry(True, ""),
    "pipeline_cycles": entry(800.0, "cycle"),
    "cycles_per_output": entry(0.25, "cycle"),
    "tile_bytes": entry(4e4, "B"),
    "bank_bytes": entry(16384.0, "B"),
    "burst_bytes": entry(32.0, "B"),
    "run_channels": entry(16, "1"),
    "weights_apart": entry(True, ""),
    "weights_ahead": entry(False, ""),
    "start_up_cycles": entry(0.0, "cycle"),
    "bytes_per_output": entry(2.0, "B"),
    "partial_bytes": entry(4.0, "B"),
    "joules_per_mac": entry(2.3e-13, "J", "published"),
    "joules_per_sram_byte": entry(2e-12, "J/B", "derived"),
    "joules_per_sram_byte_written": entry(3e-12, "J/B"),
    "joules_per_accumulator_byte": entry(1e-12, "J/B"),
    "joules_per_dram_byte": entry(1.6e-10, "J/B"),
    "idle_watts": entry(0.3, "W"),
}
BUFFERS = {
    "buffer_bytes": entry(65536.0, "B"),
    "weight_buffer_bytes": entry(32768.0, "B"),
    "input_buffer_bytes": entry(8192.0, "B"),
    "output_buffer_bytes": entry(4096.0, "B"),
    "double_buffered": entry(True, ""),
    "reload_weight": entry(0.05, "1"),
}
"""What no machine has with other fields for what is read again."""
FACTS = {"peak_ops_per_s": entry(256e9, "op/s", "derived"), "made_by": entry("nobody", ""), "power": entry(0.3, "W")}
FULL = DeviceFile("full", "Everything that a file can say", ("one", "two\nlines"), MACHINE | OPTIONS, FACTS, FIT)
BUFFERED, APART = (
    DeviceFile(name, "Buffers for tiles", (), MACHINE | {key: BUFFERS[key] for key in BUFFERS if key != without})
    for name, without in (("buffered", "output_buffer_bytes"), ("apart", "buffer_bytes"))
)


@pytest.fixture
def document():
    """A whole document that is right, to be spoilt."""
    return document_of(FULL)


def listed(entry):
    """TOML has lists, and no tuples."""
    return entry | ({"value": list(entry["value"])} if isinstance(entry["value"], tuple) else {})


def document_of(device):
    """By hand, so that the writer is not its own judge."""
    fit = device.fit
    return {
        "schema": "hwcost.device/1",
        "name": device.name,
        "summary": device.summary,
        "notes": list(device.notes),
        "array": {name: listed(dataclasses.asdict(value)) for name, value in device.entries.items()},
        "facts": {name: dataclasses.asdict(value) for name, value in device.facts.items()},
        "fit": {
            "data": fit.data,
            "source": fit.source,
            "licence": fit.licence,
            "errors": dict(fit.errors),
            "doubts": list(fit.doubts),
            "identified": list(fit.identified),
            "not_identified": list(fit.not_identified),
            "range": {name: dataclasses.asdict(ends) for name, ends in fit.ranges.items()},
        },
    }


def read_text(folder, text, name="x.toml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_device(path)


def refusal(folder, content):
    """The error that a document or text ends in."""
    with pytest.raises(InvalidValueError) as caught:
        read_text(folder, tomli_w.dumps(content) if isinstance(content, dict) else content)
    return str(caught.value)


# ---------------------------------------------------------------- shipped devices


def test_shipped_files_are_listed():
    assert set(SHIPPED) <= set(NAMES)
    assert sorted(NAMES) == list(NAMES)
    assert {path.name for path in FOLDER.glob("*.toml")} == {f"{name}.toml" for name in FILES}
    assert set(NAMES) - set(FILES) == {f"{name}/array" for name in CHIPS}
    assert set(CHIPS) == {name for name in SHIPPED if name.startswith("tpu")} - {"tpu-v1"}


@pytest.mark.parametrize("name", NAMES)
def test_shipped_device_loads(name):
    device = read_device(name)
    assert device.name == name
    assert device.notes, "every model of a chip has limits"
    assert load_device(name) == device.array
    if name in FILES:
        assert read_device(FOLDER / f"{name}.toml") == device
        assert read_device(str(FOLDER / f"{name}.toml")) == device
    cost = layer_cost(Conv2d(64, 100, 3, height=28, width=28, padding=1), device.array)
    assert 0 < cost.utilization <= 1
    assert cost.seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_number_has_a_unit_a_status_and_a_source(name):
    device = read_device(name)
    for key, value in (device.entries | device.facts).items():
        assert value.status in STATUSES, key
        assert len(value.source) > 10, key
        if value.status == "published":
            assert "http" in value.source, f"{name}: {key} is published, but not where"
        assert value.unit == (FIELD_UNITS | FACT_UNITS)[key], key
    given = {key for key, value in dataclasses.asdict(device.array).items() if value != DEFAULTS.get(key)}
    assert given <= set(device.entries)


DEFAULTS = {field.name: field.default for field in dataclasses.fields(SystolicArray)}


@pytest.mark.parametrize("name", NAMES)
def test_shipped_peak_is_what_the_arrays_explain(name):
    device = read_device(name)
    array, peak = device.array, device.facts["peak_ops_per_s"].value
    arrays = device.facts["arrays_per_chip"].value if "arrays_per_chip" in device.facts else 1
    fit = device.fit
    was_fitted = fit is not None and "cycles_per_row" in fit.identified + fit.not_identified
    per_row = 1 if was_fitted else array.cycles_per_row  # a peak is what was designed, not what was measured
    per_row = round(array.cycles_per_row) if array.has_tiles else per_row  # whose steps take several cycles by design
    explained = arrays * array.pes * 2 * array.clock_hz / per_row
    assert explained == pytest.approx(peak, rel=0.01)
    if device.entries["clock_hz"].status == "derived":  # such a clock makes any peak agree; the file has to say so
        assert "peak" in device.entries["clock_hz"].source
        assert any("clock" in note for note in device.notes)


@pytest.mark.parametrize("name", [name for name in NAMES if "dram_bytes_per_s" in read_device(name).facts])
def test_shipped_chips_have_their_bandwidth_and_one_array_its_share(name):
    device = read_device(name)
    arrays = device.facts["arrays_per_chip"].value if "arrays_per_chip" in device.facts else 1
    assert device.array.dram_bytes_per_s == device.facts["dram_bytes_per_s"].value / arrays


@pytest.mark.parametrize("name", CHIPS)
def test_one_array_of_a_chip_is_a_device(name, tmp_path):
    chip, device = CHIPS[name], read_device(f"{name}/array")
    arrays = chip.array.arrays
    share = chip.array.dram_bytes_per_s / arrays
    assert device.array == dataclasses.replace(chip.array, arrays=1, dram_bytes_per_s=share)
    assert device.entries["dram_bytes_per_s"].status == "derived"
    assert str(arrays) in device.summary
    assert device.notes[1:] == chip.notes
    assert device.facts == {"arrays_per_chip": chip.entries["arrays"], **chip.facts}
    layer = Conv2d(1024, 1024, 3, height=56, width=56, padding=1)  # large enough for every array to be full
    cost, whole = (layer_cost(layer, each.array) for each in (device, chip))
    assert arrays * 0.9 < cost.cycles / whole.cycles <= arrays
    write_device(tmp_path / "one.toml", device)
    assert read_device(tmp_path / "one.toml") == device


def test_one_array_of_a_chip_with_a_memory_for_each():
    entries = MACHINE | {
        "arrays": entry(4, "1"), "dram_bytes_per_s": entry(8e9, "B/s"), "bandwidth_per_array": entry(True, ""),
    }  # fmt: skip
    device = one_array(DeviceFile("mine", "My chip", (), entries))
    assert device.array == SystolicArray(**{name: each.value for name, each in MACHINE.items()}, dram_bytes_per_s=8e9)


def test_a_device_of_one_array_has_none_apart():
    for name in ("gemmini/array", "tpu-v4/array/array", "tpu-v4/rows", "tpu-v4/"):
        with pytest.raises(InvalidValueError) as caught:
            read_device(name)
        assert name in str(caught.value)


def test_published_numbers():
    for name, size, clock, arrays, peak in (
        ("tpu-v1", (256, 256), 700e6, 1, 92e12),
        ("tpu-v2", (128, 128), 700e6, 2, 46e12),
        ("tpu-v3", (128, 128), 940e6, 4, 123e12),
        ("tpu-v4i", (128, 128), 1050e6, 4, 138e12),
        ("tpu-v4", (128, 128), 1050e6, 8, 275e12),
        ("tpu-v5e", (128, 128), 1500e6, 4, 197e12),
        ("tpu-v5p", (128, 128), 1750e6, 8, 459e12),
        ("tpu-v6e", (256, 256), 3500e6, 2, 918e12),
        ("eyeriss", (12, 14), 200e6, 1, 67.2e9),
        ("gemmini", (16, 16), 1e9, 1, 512e9),
        ("nvdla-small", (8, 8), 1e9, 1, 128e9),
        ("nvdla-large", (64, 32), 1e9, 1, 4.096e12),
        ("uboost-csim", (128, 128), 1e9, 1, 32.768e12),
    ):
        device = read_device(name)
        assert (device.array.rows, device.array.cols) == size, name
        assert device.array.clock_hz == clock, name
        assert device.array.arrays == arrays, name
        assert device.facts["peak_ops_per_s"].value == peak, name


@pytest.mark.parametrize("name", ["edge-tpu", "gemmini", "gemmini-firesim", "nvdla-small", "nvdla-large"])
def test_a_clock_that_nobody_published_is_assumed(name):
    assert read_device(name).entries["clock_hz"].status == "assumed"


# ---------------------------------------------------------------- tables


def test_every_field_of_an_array_has_a_unit():
    assert set(FIELD_UNITS) == {field.name for field in dataclasses.fields(SystolicArray)} - {"terms"}
    assert set(FIELD_UNITS.values()) | set(FACT_UNITS.values()) <= set(UNITS)
    assert set(MACHINE | OPTIONS | BUFFERS) == set(FIELD_UNITS)


@pytest.mark.parametrize("name", MACHINE | OPTIONS)
def test_every_field_arrives_in_the_array(name):
    assert getattr(FULL.array, name) == (MACHINE | OPTIONS)[name].value


@pytest.mark.parametrize("name", BUFFERS)
def test_every_buffer_arrives_in_the_array(name):
    of_all = {getattr(each.array, name) for each in (BUFFERED, APART) if name in each.entries}
    assert of_all == {BUFFERS[name].value}


def test_buffers_and_blocks_of_filters_are_two_models(tmp_path):
    block = {"filter_block": entry(64.0, "filter"), "dram_bytes_per_s": entry(1e9, "B/s")}
    entries = MACHINE | block | {"buffer_bytes": BUFFERS["buffer_bytes"]}
    whole = {name: dataclasses.asdict(value) for name, value in entries.items()}
    spoilt = document_of(dataclasses.replace(BUFFERED, fit=FIT)) | {"array": whole}
    message = refusal(tmp_path, spoilt)
    assert "x.toml: array.buffer_bytes.value" in message
    assert "buffers and filter_block are two models of the same memory" in message


def test_a_field_without_effect_is_refused_with_its_place(tmp_path):
    entries = {
        name: value
        for name, value in OPTIONS.items()
        if name not in ("rereads_inputs", "cycles_per_block", "fold_latency")
    }
    spoilt = document_of(dataclasses.replace(FULL, entries=MACHINE | OPTIONS))
    spoilt["array"] = {name: dataclasses.asdict(value) for name, value in (MACHINE | entries).items()}
    message = refusal(tmp_path, spoilt)
    assert "x.toml: array.accumulators.value" in message
    assert "cycles_per_block, rereads_inputs or fold_latency" in message


# ---------------------------------------------------------------- round trip


@pytest.mark.parametrize("device", [*map(read_device, NAMES), FULL, BUFFERED, APART], ids=lambda device: device.name)
def test_round_trip(device, tmp_path):
    path = tmp_path / "device.toml"
    write_device(path, device)
    again = read_device(path)
    assert again == device
    assert again.array == device.array
    assert list(tmp_path.iterdir()) == [path]
    first = path.read_bytes()
    write_device(str(path), again)
    assert path.read_bytes() == first


def test_the_written_document(tmp_path):
    write_device(tmp_path / "full.toml", FULL)
    assert tomllib.loads((tmp_path / "full.toml").read_text(encoding="utf-8")) == document_of(FULL)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_devices_copy_and_pickle(again):
    assert again(FULL) == FULL
    assert again(FULL).array == FULL.array
    assert dataclasses.replace(FULL, name="other").fit == FIT


def test_devices_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.name = "other"
    with pytest.raises(TypeError):
        FULL.entries["rows"] = entry(1, "PE")
    with pytest.raises(TypeError):
        FIT.errors["other"] = 1


def test_numbers_of_numpy_become_pythons(tmp_path):
    fit = dataclasses.replace(FIT, errors={"mean": np.float64(0.25)}, ranges={"m": Range(np.int64(1), np.float32(2))})
    machine = MACHINE | {"rows": entry(np.int32(4), "PE"), "row_stairs": entry(np.float64(0.5), "1")}
    device = DeviceFile("numpy", "numpy", (), machine, fit=fit)
    assert {type(device.entries[name].value) for name in ("rows", "row_stairs")} == {int, float}
    write_device(tmp_path / "numpy.toml", device)
    assert read_device(tmp_path / "numpy.toml") == device


text = st.text(min_size=1, max_size=20).filter(lambda value: value.strip() and "\ud800" not in value)


@given(
    source=text,
    note=text,
    clock=st.floats(min_value=1e-300, max_value=1e300),
    overlap=st.floats(0, 1),
    rows=st.integers(1, 2**63 - 1),
    fact=st.one_of(text, st.booleans()),
)
def test_round_trip_of_anything(tmp_path_factory, source, note, clock, overlap, rows, fact):
    machine = MACHINE | {
        "rows": Entry(rows, "PE", "derived", source),
        "clock_hz": entry(clock, "Hz"),
        "overlap": entry(overlap, "1"),
        "dram_bytes_per_s": entry(1e9, "B/s"),
    }
    device = DeviceFile("any", "any", (note,), machine, {"fact": Entry(fact, "", "assumed", note)})
    path = tmp_path_factory.mktemp("round") / "any.toml"
    write_device(path, device)
    assert read_device(path) == device


# ---------------------------------------------------------------- names and paths


def test_an_unknown_name_lists_the_names_and_suggests_one():
    for wrong, right in (("tpu-v11", "tpu-v1"), ("TPU-V4i", "tpu-v4i"), ("nvdla_small", "nvdla-small")):
        with pytest.raises(InvalidValueError, match=rf"did you mean '{right}'\?") as caught:
            load_device(wrong)
        assert all(name in str(caught.value) for name in NAMES)
        assert ".toml" in str(caught.value)
    with pytest.raises(InvalidValueError) as caught:
        load_device("qqqqqqqq")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, b"tpu-v1", b"x.toml", "", ["tpu-v1"], types.SimpleNamespace()])
def test_neither_name_nor_path(value):
    with pytest.raises(InvalidValueError, match="device is "):
        read_device(value)


def test_a_path_of_bytes():
    class Path:
        def __fspath__(self):
            return b"x.toml"

    with pytest.raises(InvalidValueError, match=r"the path of a \.toml file"):
        read_device(Path())


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_device("mine.toml", FULL)
    write_device("tpu-v1", FULL)
    assert read_device("mine.toml") == FULL
    assert read_device(os.path.join(".", "tpu-v1")) == FULL
    assert read_device(pathlib.Path("tpu-v1")) == FULL
    assert read_device("tpu-v1") != FULL


@pytest.mark.parametrize(
    "path", ["missing.toml", "no/such/folder.toml", "null\0.toml", "x" * 5000 + ".toml", "\ud800.toml"]
)
def test_files_that_cannot_be_read(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match=r"device file .* cannot be read"):
        read_device(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InvalidValueError, match="regular file"):
        read_device(tmp_path)
    with pytest.raises(InvalidValueError, match="cannot be written"):
        write_device(tmp_path, FULL)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InvalidValueError, match="regular file"):
        read_device(tmp_path / "pipe.toml")


def test_a_huge_file_is_not_read_whole(tmp_path):
    with pytest.raises(InvalidValueError, match="more than 1048576 bytes"):
        read_text(tmp_path, "#" * (2**20 + 1))


# ---------------------------------------------------------------- what a file may not say


def test_not_utf8_is_refused_with_its_line(tmp_path):
    message = refusal(tmp_path, b'schema = "hwcost.device/1"\nname = "\xff"\n')
    assert "not UTF-8" in message
    assert "line 2" in message
    assert "x.toml" in message


@pytest.mark.parametrize("content", ['schema = "a"\nname = \n', "[array\n", "a = 1\n\na = 2\n"])
def test_bad_syntax_is_refused_with_its_line(content, tmp_path):
    message = refusal(tmp_path, content)
    assert "not a TOML document" in message
    assert "x.toml" in message
    assert "line" in message


@pytest.mark.parametrize("content", ["a = " + "[" * 5000, "a = " + "1" * 5000, "a = 2020-13-41", "", "a = 1e99999"])
def test_other_bad_documents(content, tmp_path):
    assert "x.toml" in refusal(tmp_path, content)


@pytest.mark.parametrize("schema", ["hwcost.device/2", 1, [], None])
def test_the_schema(schema, document, tmp_path):
    if schema is None:
        del document["schema"]
    else:
        document["schema"] = schema
    message = refusal(tmp_path, document)
    assert "x.toml: schema is " in message
    assert "'hwcost.device/1'" in message


@pytest.mark.parametrize("key", ["name", "summary", "array"])
def test_missing_keys(key, document, tmp_path):
    del document[key]
    assert f"x.toml: {key} is missing" in refusal(tmp_path, document)


@pytest.mark.parametrize("key", ["notes", "facts", "fit"])
def test_what_may_be_left_out(key, document, tmp_path):
    del document[key]
    assert not getattr(read_text(tmp_path, tomli_w.dumps(document)), key)


@pytest.mark.parametrize("key", MACHINE)
def test_fields_that_a_machine_needs(key, document, tmp_path):
    del document["array"][key]
    assert f"x.toml: array.{key} is missing" in refusal(tmp_path, document)


@pytest.mark.parametrize("table", ["array.rows", "facts.power", "fit", "fit.range.m"])
def test_every_missing_key_of_a_table_is_named(table, document, tmp_path):
    needed = {"fit": ("data", "source", "licence", "errors"), "fit.range.m": ("low", "high")}
    for key in needed.get(table, ("value", "unit", "status", "source")):
        spoilt = copy.deepcopy(document)
        del inside(spoilt, table)[key]
        assert f"x.toml: {table}.{key} is missing" in refusal(tmp_path, spoilt)


def test_a_field_with_a_typo_is_not_reported_as_missing(document, tmp_path):
    document["array"]["rowz"] = document["array"].pop("rows")
    message = refusal(tmp_path, document)
    assert "unknown key 'rowz' in " in message
    assert "x.toml: array (did you mean 'rows'?); known: rows, " in message


@pytest.mark.parametrize(
    ("key", "field"),
    [("bandwith", "dram_bytes_per_s"), ("bandwidth", "dram_bytes_per_s"), ("dram_byte_per_s", "dram_bytes_per_s")],
)
def test_a_field_is_offered_by_a_word_of_its_meaning_too(document, tmp_path, key, field):
    document["array"][key] = copy.deepcopy(document["array"]["rows"])
    assert f"(did you mean {field!r}" in refusal(tmp_path, document)


@pytest.mark.parametrize("key", ["zzz", "tops"])
def test_a_field_that_resembles_none_is_offered_none(document, tmp_path, key):
    document["array"][key] = copy.deepcopy(document["array"]["rows"])
    message = refusal(tmp_path, document)
    assert f"unknown key {key!r}" in message
    assert "did you mean" not in message


@pytest.mark.parametrize("content", ["[array\n", "\ufeffa = \n"])
@pytest.mark.usefixtures("networks")
def test_the_command_names_a_file_of_bad_syntax(refused, tmp_path, content):
    (tmp_path / "bad.toml").write_text(content)
    path = tmp_path / "bad.toml"
    for option in ("--device", "--devices"):
        error = refused("compare", "lenet.csv", option, path)
        assert error.startswith(f"Error: {path} cannot be used: it is not a TOML document")


def inside(content, table):
    for key in filter(None, table.split(".")):
        content = content[key]
    return content


@pytest.mark.parametrize(
    ("table", "place", "listed"),
    [
        ("", "x.toml", "summary"),
        ("array", "x.toml: array", "clock_hz"),
        ("array.rows", "x.toml: array.rows", "status"),
        ("facts.power", "x.toml: facts.power", "source"),
        ("fit", "x.toml: fit", "licence"),
        ("fit.range", "x.toml: fit.range", "macs"),
        ("fit.range.m", "x.toml: fit.range.m", "low"),
    ],
)
def test_unknown_keys_come_with_the_list(table, place, listed, document, tmp_path):
    inside(document, table)["rowz"] = {"value": 1, "unit": "1", "status": "assumed", "source": "a test"}
    message = refusal(tmp_path, document)
    closest = " (did you mean 'rows'?)" if table == "array" else ""
    assert f"unknown key 'rowz' in {tmp_path}/{place}{closest}; known: " in message
    assert listed in message


@pytest.mark.parametrize(
    "table", ["array", "array.rows", "facts", "facts.power", "fit", "fit.range", "fit.range.m", "fit.errors"]
)
@pytest.mark.parametrize("value", [3, "text", [1, 2], True])
def test_tables_that_are_none(table, value, document, tmp_path):
    parent, _, key = table.rpartition(".")
    inside(document, parent)[key] = value
    message = refusal(tmp_path, document)
    assert f"x.toml: {table} is " in message
    assert "a table" in message


@pytest.mark.parametrize(
    ("place", "value", "allowed"),
    [
        ("name", "", "letters"),
        ("name", "a b", "letters"),
        ("name", 3, "letters"),
        ("summary", "", "one line"),
        ("summary", "two\nlines", "one line"),
        ("summary", True, "one line"),
        ("notes", "one", "array of texts"),
        ("notes", 1, "array of texts"),
        ("array.rows.value", "16", "an integer"),
        ("array.rows.value", 16.0, "an integer"),
        ("array.rows.value", True, "an integer"),
        ("array.rows.value", [16], "an integer"),
        ("array.rows.value", 0, "at least 1"),
        ("array.dataflow.value", "wt", "is"),
        ("array.rows.value", -1, "at least 1"),
        ("array.rows.value", 2**63, "64 bits"),
        ("array.rows.value", 10**400, "64 bits"),
        ("array.max_streamed.value", 0, "at least 1"),
        ("array.max_streamed.value", math.inf, "an integer"),
        ("array.clock_hz.value", "1 GHz", "a number"),
        ("array.clock_hz.value", False, "a number"),
        ("array.clock_hz.value", 0, "above 0"),
        ("array.clock_hz.value", -1e9, "above 0"),
        ("array.clock_hz.value", math.nan, "above 0"),
        ("array.clock_hz.value", math.inf, "finite"),
        ("array.overlap.value", 1.5, "1"),
        ("array.dram_bytes_per_s.value", 0.0, "above 0"),
        ("array.dram_bytes_per_s.value", -math.inf, "above 0"),
        ("array.dataflow.value", "rs", "ws"),
        ("array.dataflow.value", 1, "a text"),
        ("array.dataflow.value", "", "ws"),
        ("array.fold_timing.value", "fast", "double-buffered"),
        ("array.lowering.value", "winograd", "kernel-position"),
        ("array.starts_up.value", 1, "true or false"),
        ("array.starts_up.value", "yes", "true or false"),
        ("array.rows.unit", "Hz", "'PE'"),
        ("array.clock_hz.unit", "MHz", "Hz"),
        ("array.clock_hz.unit", "", "'Hz'"),
        ("array.dataflow.unit", "1", "''"),
        ("array.rows.unit", 1, "'PE'"),
        ("array.rows.status", "guessed", "published, derived, assumed"),
        ("array.rows.status", [], "published, derived, assumed"),
        ("array.rows.source", "", "not empty"),
        ("array.rows.source", "  ", "not empty"),
        ("array.rows.source", 2017, "a text"),
        ("facts.power.value", math.inf, "finite"),
        ("facts.power.value", math.nan, "at least 0"),
        ("facts.power.value", -1, "at least 0"),
        ("facts.power.unit", "", "one of"),
        ("facts.power.unit", "horse", "one of"),
        ("facts.made_by.unit", "W", "''"),
        ("facts.peak_ops_per_s.unit", "1", "op/s"),
        ("facts.peak_ops_per_s.value", "much", "a finite number"),
        ("facts.peak_ops_per_s.value", True, "a finite number"),
        ("fit.data", "", "not empty"),
        ("fit.source", 1, "a text"),
        ("fit.licence", [], "a text"),
        ("fit.errors.layers", "few", "number"),
        ("fit.errors.layers", math.inf, "finite"),
        ("fit.errors.layers", math.nan, "at least 0"),
        ("fit.errors.layers", True, "number"),
        ("fit.identified", "overlap", "array of texts"),
        ("fit.range.m.low", -1, "at least 0"),
        ("fit.range.m.low", 10**6, "at most 12544"),
        ("fit.range.m.high", math.inf, "finite"),
        ("fit.range.m.high", "many", "number"),
    ],
)
def test_values_that_are_not_allowed(place, value, allowed, document, tmp_path):
    table, _, key = place.rpartition(".")
    inside(document, table)[key] = value
    message = refusal(tmp_path, document)
    assert f"x.toml: {place} is " in message
    assert allowed in message.partition("allowed:")[2]
    assert "array of them" not in message
    assert "Dataflow" not in message


@pytest.mark.parametrize(("wrong", "right"), [("colz", "cols"), ("dataflo", "dataflow"), ("Rows", "rows")])
def test_a_misspelt_field_is_named_with_the_right_one(document, tmp_path, wrong, right):
    document["array"][wrong] = document["array"]["rows"]
    message = refusal(tmp_path, document)
    assert f"unknown key '{wrong}' in " in message
    assert f"array (did you mean '{right}'?); known: rows, " in message


def test_a_unit_is_one_of_its_quantity(document, tmp_path):
    """Of a field or a known fact there is one; of another fact any, of which the closest is offered."""
    for place, unit, allowed in [
        ("array.clock_hz", "MHz", "; allowed: 'Hz'"),
        ("facts.peak_ops_per_s", "Top/s", " (did you mean 'op/s'?); allowed: one of: op/s"),
    ]:
        wrong = copy.deepcopy(document)
        inside(wrong, place)["unit"] = unit
        assert refusal(tmp_path, wrong).endswith(f"{place}.unit is {unit!r}{allowed}")


def test_places_in_arrays(document, tmp_path):
    spoilt = copy.deepcopy(document)
    spoilt["notes"] = ["fine", ""]
    assert "x.toml: notes[1] is ''" in refusal(tmp_path, spoilt)
    document["fit"]["identified"] = ["overlap", "speed"]
    message = refusal(tmp_path, document)
    assert "x.toml: fit.identified[1] is 'speed'" in message
    assert "cycles_per_row" in message


def test_dates_are_no_values(tmp_path):
    lines = tomli_w.dumps(document_of(FULL)).replace("value = 16\n", "value = 2017-06-24\n")
    assert "array.rows.value is datetime.date" in refusal(tmp_path, lines)


def test_names_of_facts(document, tmp_path):
    document["facts"]["Two words"] = document["facts"]["power"]
    assert "a key of facts is 'Two words'" in refusal(tmp_path, document)


# ---------------------------------------------------------------- values that are refused


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeviceFile("x", "x", (), []),
        lambda: DeviceFile("x", "x", (), {1: entry(1, "PE")}),
        lambda: DeviceFile("x", "x", (), MACHINE | {"rows": 16}),
        lambda: DeviceFile("x", "x", (), MACHINE, {"power": 3}),
        lambda: DeviceFile("x", "x", (), MACHINE, fit={}),
        lambda: DeviceFile("x", "x", None, MACHINE),
        lambda: DeviceFile("x", "lone \ud800", (), MACHINE),
        lambda: DeviceFile("x\n", "x", (), MACHINE),
        lambda: entry(np.arange(3), "PE"),
        lambda: entry(None, "PE"),
        lambda: entry(1 + 2j, "PE"),
        lambda: dataclasses.replace(FIT, ranges={"m": (1, 2)}),
        lambda: dataclasses.replace(FIT, ranges={"q": Range(1, 2)}),
        lambda: dataclasses.replace(FIT, errors={"": 1}),
        lambda: dataclasses.replace(FIT, errors={1: 1}),
        lambda: Range(2, 1),
        lambda: Range(True, 2),
    ],
)
def test_values_that_cannot_be_made(make):
    with pytest.raises(InvalidValueError):
        make()


# ---------------------------------------------------------------- measured sizes


def test_without_a_fit_nothing_is_beyond():
    assert read_device("tpu-v4").beyond(Gemm(10**9, 1, 1)) == []
    assert dataclasses.replace(FULL, fit=dataclasses.replace(FIT, ranges={})).beyond(Gemm(1, 1, 1)) == []


def test_inside_of_what_was_measured():
    assert FULL.beyond(Gemm(16, 512, 27)) == []
    layer = Conv2d(64, 64, 3, height=28, width=28, padding=1)
    assert FULL.beyond(layer) == []


def test_outside_of_what_was_measured():
    assert FULL.beyond(Gemm(m=15, n=512, k=27)) == ["m is 15, but layers of 16 to 12,544 were measured"]
    found = FULL.beyond(Gemm(m=10**5, n=10**5, k=10**5))
    assert [sentence.split()[0] for sentence in found] == ["m", "n", "k", "macs"]
    assert "1,000,000,000,000,000" in found[-1]
    assert FULL.beyond(Gemm(100, 100, 100, count=10**4)) == [
        "macs is 10,000,000,000, but layers of 100,000 to 1,000,000,000 were measured"
    ]


def test_sweeps_and_what_was_measured(library):
    widths = library.array([8, 64, 513], "int64")
    assert FULL.beyond(Gemm(100, widths, 1000)) == ["n runs from 8 to 513, but layers of 8 to 512 were measured"]
    soft = library.array([100.5, 200.25])
    assert FULL.beyond(Gemm(100, soft, 1000)) == []


def test_soft_widths_with_a_gradient():
    torch = pytest.importorskip("torch")
    soft = torch.tensor(600.0, requires_grad=True)
    assert FULL.beyond(Gemm(100, soft, 1000)) == ["n is 600, but layers of 8 to 512 were measured"]


def test_a_sweep_of_nothing_is_inside():
    assert FULL.beyond(Gemm(np.zeros(0, dtype=int), 512, 27)) == []


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("value", [None, "tpu-v1", SystolicArray(8, 8)])
def test_only_devices_are_written(value, tmp_path):
    with pytest.raises(InvalidValueError, match="a DeviceFile"):
        write_device(tmp_path / "x.toml", value)


@pytest.mark.parametrize("path", ["", "no/such/folder.toml", "null\0.toml", "x" * 5000 + ".toml", "\ud800.toml", 3])
def test_paths_that_cannot_be_written(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match="device"):
        write_device(path, FULL)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.toml"
    write_device(path, FULL)

    def full(*_):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(InvalidValueError, match="No space left on device"):
                write_device(path, read_device("tpu-v1"))
        assert read_device(path) == FULL
        assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced(tmp_path):
    target, link = tmp_path / "target.toml", tmp_path / "link.toml"
    write_device(target, FULL)
    link.symlink_to(target)
    write_device(link, read_device("tpu-v1"))
    assert not link.is_symlink()
    assert (read_device(link).name, read_device(target)) == ("tpu-v1", FULL)


def test_without_the_writer_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hwcost\[fit\]"'):
        write_device(tmp_path / "x.toml", FULL)
    assert read_device("tpu-v1")


def test_the_module_loads_no_parser():
    code = (
        "import sys, hwcost.devices\n"
        "heavy = {'tomllib', 'tomli_w', 'importlib.resources', 'difflib', 'torch', 'scipy'} & set(sys.modules)\n"
        "import numpy, array_api_compat\n"
        "print(*heavy)\n"
    )
    bare = "import sys, hwcost; print(*{'importlib.resources', 'difflib'} & set(sys.modules))"
    runs = [subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True) for c in (code, bare)]
    assert set(runs[0].stdout.split()) <= set(runs[1].stdout.split())


# ---------------------------------------------------------------- damaged files

junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from(["", "PE", "Hz", "ws", "published", "hwcost.device/1", "nan", "\x00", "\u2028"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.dates(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["value", "unit", "low", "rows", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def spots(content, path=()):
    """Every place in a document: the keys that lead there."""
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from spots(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from spots(value, (*path, index))


SPOTS = [path for path in spots(document_of(FULL)) if path]


@given(data=st.data())
def test_mutated_documents_end_in_a_device_or_an_error_of_hwcost(tmp_path_factory, data):
    content = document_of(FULL)
    for path in data.draw(st.lists(st.sampled_from(SPOTS), min_size=1, max_size=3)):
        parent = content
        try:
            for key in path[:-1]:
                parent = parent[key]
            what = data.draw(st.sampled_from(["replace", "replace", "drop", "add"]))
            if what == "drop":
                del parent[path[-1]]
            elif what == "add" and isinstance(parent, dict):
                parent[data.draw(st.sampled_from(["rows", "value", "more", "", "m"]))] = without_none(data.draw(junk))
            else:
                parent[path[-1]] = without_none(data.draw(junk))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    check(tmp_path_factory, tomli_w.dumps(content).encode())


def without_none(value):
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return "none" if value is None else value


@given(data=st.data())
def test_damaged_bytes_end_in_a_device_or_an_error_of_hwcost(tmp_path_factory, data):
    content = bytearray((FOLDER / f"{data.draw(st.sampled_from(FILES))}.toml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 30))] = data.draw(
            st.one_of(
                st.binary(max_size=6), st.sampled_from([b'"', b"\n", b"[", b"]]", b"=", b"nan", b"-", b"_", b"{"])
            )
        )
    check(tmp_path_factory, bytes(content))


def check(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    device = message = None
    try:
        device = read_device(path)
    except HwcostError as error:
        message = str(error)
    if device is None:
        assert "fuzz.toml" in message
    else:
        write_device(path, device)
        assert read_device(path) == device


NO_ENTRY = object()
SPOILT = {
    "schema": NO_ENTRY, "summary": NO_ENTRY, "name": "a b", "notes": "a note", "chip": {"x": 1}, "array.rows.value": 0,
    "array.cols": NO_ENTRY, "array.clock_hz.unit": "MHz", "array.clock_hz.note": "mine", "facts.power.status": "found",
    "fit.licence": NO_ENTRY, "fit.range.m.low": -1, "fit.other": 3,
}  # fmt: skip
"""Faults by their place; keys that are not known are named by their last part."""


@pytest.mark.parametrize("pair", list(itertools.combinations(SPOILT, 2)), ids=" and ".join)
def test_two_faults_of_a_file_are_told_at_once(pair, document, tmp_path):
    for place in pair:
        table, _, key = place.rpartition(".")
        if SPOILT[place] is NO_ENTRY:
            del inside(document, table)[key]
        else:
            inside(document, table)[key] = SPOILT[place]
    message = refusal(tmp_path, document)
    for place in pair:
        unknown = place.rpartition(".")[2] in ("chip", "note", "other")
        assert (f"unknown key '{place.rpartition('.')[2]}'" if unknown else f"x.toml: {place} is ") in message
    assert len(message.splitlines()) == 2


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    content = {"chip": {"x": 1}, "array": {"rows": {"value": 0, "unit": "PE"}, "clock_hz": 3}, "notes": 4}
    message = refusal(tmp_path, content)
    for words in ("schema is", "name is missing", "summary is missing", "'chip'", "notes is 4", "array.rows.value is 0",
                  "array.rows.status is missing", "array.cols is missing", "array.clock_hz is 3"):  # fmt: skip
        assert words in message
