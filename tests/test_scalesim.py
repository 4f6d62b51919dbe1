"""SCALE-Sim: its numbers, its files, its report."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from common import measured_data
from hwcost import Gemm, HwcostError, SystolicArray, layer_cost, network_cost
from hwcost.errors import MISSING, InvalidValueError
from hwcost.model.formula import layer_traffic
from hwcost.scalesim import (
    Configuration,
    Topology,
    TopologyLayer,
    compute_report,
    counts,
    cycles_with_prefetch,
    dram_output_writes,
    dram_weight_reads,
    read_configuration,
    read_topology,
    serial_array,
    write_compute_report,
    write_configuration,
    write_topology,
)

DATA = measured_data.DATA / measured_data.FILES["scalesim"]
DATAFLOWS = ("ws", "os", "is")
SIZES = ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride_h", "stride_w")
CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
GEMM = "Layer, M, N, K,\n"
CONFIG = """\
[general]
run_name = small

[architecture_presets]
ArrayHeight: 12
ArrayWidth: 14
IfmapSramSzkB: 64
FilterSramSzkB: 32
OfmapSramSzkB: 16
Dataflow : os

[sparsity]
SparsitySupport : false

[run_presets]
InterfaceBandwidth: CALC
"""

names = st.text(st.sampled_from("abcXYZ019_-/ .é"), max_size=8).map(str.strip)
sizes = st.integers(1, 40)


@st.composite
def convolutions(draw):
    kernel, spare = draw(st.tuples(sizes, sizes)), draw(st.tuples(sizes, sizes))
    stride, channels, depthwise = draw(sizes), draw(sizes), draw(st.booleans())
    name = draw(names) + ("DP" if depthwise else "")
    height, width = (kernel[axis] + spare[axis] - 1 for axis in range(2))
    count, channels = (channels, 1) if depthwise else (1, channels)
    return TopologyLayer(name, height, width, *kernel, channels, draw(sizes), stride, stride, count)


products = st.builds(TopologyLayer.product, names, m=sizes, n=sizes, k=sizes)
topologies = st.one_of(
    st.builds(Topology, st.just("net"), st.just("conv"), st.lists(convolutions(), min_size=1, max_size=5).map(tuple)),
    st.builds(Topology, st.just("net"), st.just("gemm"), st.lists(products, min_size=1, max_size=5).map(tuple)),
)


@pytest.fixture
def file(tmp_path):
    def write(text, name="net.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(**options))
        return path

    return write


# ---------------------------------------------------------------- the numbers of the simulator


@pytest.fixture(scope="module")
def recorded():
    if not DATA.exists():
        pytest.skip(f"the simulator's numbers are not at {DATA}")
    with DATA.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {flow: [row for row in rows if row["dataflow"] == flow] for flow in DATAFLOWS}


def column(rows, name, kind=np.int64):
    return np.array([kind(row[name]) for row in rows])


def layers_of(rows, dataflow):
    layer = TopologyLayer("all", *(column(rows, name) for name in SIZES))
    return layer.gemms()[0], serial_array(column(rows, "array_h"), column(rows, "array_w"), dataflow)


def test_the_recorded_numbers_are_all_there(recorded):
    assert {flow: len(rows) for flow, rows in recorded.items()} == {"ws": 869, "os": 450, "is": 313}


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_every_recorded_row(recorded, dataflow):
    rows = recorded[dataflow]
    gemm, array = layers_of(rows, dataflow)
    for letter in ("m", "n", "k"):
        np.testing.assert_array_equal(getattr(gemm, letter), column(rows, letter.upper()))
    found = counts(gemm, array)
    for name, theirs in {
        "total_cycles": "total_cycles",
        "sram_input_reads": "sram_ifmap_reads",
        "sram_weight_reads": "sram_filter_reads",
        "sram_output_writes": "sram_ofmap_writes",
    }.items():
        np.testing.assert_array_equal(getattr(found, name), column(rows, theirs), err_msg=name)
    for name in ("overall_util", "mapping_eff", "compute_util"):
        np.testing.assert_allclose(getattr(found, name), column(rows, name, float), rtol=1e-12, atol=0, err_msg=name)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(
    ("name", "figure"), [("dram_filter_reads", dram_weight_reads), ("dram_ofmap_writes", dram_output_writes)]
)
def test_every_recorded_access_to_memory(recorded, dataflow, name, figure):
    rows = [row for row in recorded[dataflow] if row[name]]
    assert len(rows) > 50
    np.testing.assert_array_equal(figure(*layers_of(rows, dataflow), 64), column(rows, name))


def test_cycles_are_those_of_hwcost_less_one():
    gemm = Gemm(m=100, n=30, k=50)
    for flow in DATAFLOWS:
        array = SystolicArray(8, 16, dataflow=flow, fold_timing="serial")
        assert counts(gemm, array).total_cycles == layer_cost(gemm, array).cycles - 1


def test_counts_are_of_one_product_and_of_any_magnitude():
    array = serial_array(8, 8)
    assert counts(Gemm(m=9, n=3, k=7, count=5), array) == counts(Gemm(m=9, n=3, k=7), array)
    huge = counts(Gemm(m=2**70, n=8, k=8), array)
    assert huge.total_cycles == 2**70 + 2 * 8 + 8 - 2 - 1
    assert huge.overall_util == pytest.approx(100)


def test_counts_refuse_other_folds_and_no_cycles():
    for figure in (counts, dram_weight_reads, dram_output_writes):
        with refused("fold_timing of the array", "ideal", "serial"):
            figure(Gemm(m=9, n=3, k=7), SystolicArray(8, 8))
    with refused("the cycles that SCALE-Sim counts", 0, "at least 1"):
        counts(Gemm(m=1, n=1, k=1), serial_array(1, 1, "os"))
    with pytest.raises(InvalidValueError, match="allowed: integers that 64 bits hold"):
        dram_weight_reads(Gemm(m=9, n=3, k=2**80), serial_array(8, 8))
    with refused("sram_kb", 0, "at least 1"):
        dram_output_writes(Gemm(m=9, n=3, k=7), serial_array(8, 8), 0)


# ---------------------------------------------------------------- twins that go step by step


def walk(gemm, rows, cols, dataflow):
    """Folds in the simulator's order, each as the indices along rows, along columns and in time."""
    letters = {"ws": "knm", "os": "mnk", "is": "kmn"}[dataflow]
    extents = [getattr(gemm, letter) for letter in letters]
    for col in range(0, extents[1], cols):
        for row in range(0, extents[0], rows):
            spans = (
                range(row, min(row + rows, extents[0])),
                range(col, min(col + cols, extents[1])),
                range(extents[2]),
            )
            yield dict(zip(letters, spans, strict=True))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(m=st.integers(1, 6), n=st.integers(1, 6), k=st.integers(1, 6), rows=st.integers(1, 4), cols=st.integers(1, 4))
def test_sram_accesses_fold_by_fold(dataflow, m, n, k, rows, cols):
    """Every fold touches each of the elements of an operand that it works with once."""
    gemm, tally = Gemm(m=m, n=n, k=k), dict.fromkeys(("mk", "kn", "mn"), 0)
    for fold in walk(gemm, rows, cols, dataflow):
        for operand in tally:
            tally[operand] += len(set(itertools.product(*(fold[letter] for letter in operand))))
    found = layer_traffic(gemm, SystolicArray(rows, cols, dataflow=dataflow)).elements
    assert [found["sram", operand] for operand in ("inputs", "weights", "outputs")] == list(tally.values())


def test_sram_accesses_of_windows_are_those_of_the_product():
    (gemm,) = TopologyLayer("conv", 6, 6, 3, 3, 2, 4).gemms()
    assert layer_traffic(gemm, SystolicArray(64, 64)).elements["sram", "inputs"] == 16 * 18


class ReadMemory:
    """Filled with what it does not hold; emptied as a whole when 50 of its hundredths are full."""

    def __init__(self, sram_kb):
        self.room, self.held, self.reads = 50 * (1024 * sram_kb // 100), set(), 0

    def read(self, element):
        if element not in self.held:
            self.held.add(element)
            self.reads += 1
            if len(self.held) == self.room:
                self.held = set()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(
    m=st.integers(1, 30), n=st.integers(1, 60), k=st.integers(1, 90), rows=st.integers(1, 9), cols=st.integers(1, 30)
)
def test_weights_read_from_memory_element_by_element(dataflow, m, n, k, rows, cols):
    gemm, memory = Gemm(m=m, n=n, k=k), ReadMemory(1)
    for fold in walk(gemm, rows, cols, dataflow):
        for element in itertools.product(fold["k"], fold["n"]):
            memory.read(element)
    assert dram_weight_reads(gemm, serial_array(rows, cols, dataflow), 1) == memory.reads


def writes(gemm, rows, cols, dataflow):
    """The cycle of every output, in order."""
    fold_cycles = {"ws": gemm.m + rows, "os": gemm.k, "is": gemm.n + rows}[dataflow] + rows + cols - 2
    for number, fold in enumerate(walk(gemm, rows, cols, dataflow)):
        first = {"os": gemm.k - 1 + rows - len(fold["m"])}.get(dataflow, 2 * rows - 1)
        down, across = {"ws": "mn", "os": "mn", "is": "nm"}[dataflow]
        yield from sorted(
            number * fold_cycles + first + i + j for i in range(len(fold[down])) for j in range(len(fold[across]))
        )


def drained(cycles, last_cycle, cols, half):
    """Elements written to memory and the last cycle of it, by keeping every line of the write memory."""
    lines, filled, counted, end = [], 0, 0, 0
    free = 2 * half

    def drain(start):
        nonlocal counted, free, end
        out = [lines.pop(0) for _ in range(min(math.ceil(half / cols), len(lines)))]
        elements = len(out) * cols - (cols - out[-1])
        counted, free, end = counted + elements, free + elements, max(end, start + len(out) - 1)

    busy_until = 0
    for cycle in cycles:
        if filled == 0:
            lines.append(0)
        lines[-1] += 1
        filled = (filled + 1) % cols
        free -= 1
        if cycle >= busy_until and free < half:
            filled = 0
            drain(cycle)
            busy_until = end
    start = last_cycle
    while lines:
        drain(start)
        start = max(end, start) + 1
    return counted, end


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@given(
    m=st.integers(1, 60), n=st.integers(1, 40), k=st.integers(1, 20), rows=st.integers(1, 9), cols=st.integers(1, 40)
)
def test_outputs_written_to_memory_element_by_element(dataflow, m, n, k, rows, cols):
    gemm, array = Gemm(m=m, n=n, k=k), serial_array(rows, cols, dataflow)
    last = layer_cost(gemm, array).cycles - 1
    counted, end = drained(writes(gemm, rows, cols, dataflow), last, cols, half=512)
    assert dram_output_writes(gemm, array, 1) == counted
    layer = TopologyLayer.product("twin", m=m, n=n, k=k)
    fetched = [
        10 * math.ceil(elements / 10) if elements < 500 else 500 for elements in (m * k, n * k)
    ]  # 1024 elements are sets of 10, of which 50 are fetched at first; 10 elements arrive in a cycle
    late = {"ws": (rows, rows - min(k, rows)), "os": (0, 0), "is": (rows - min(k, rows), rows)}[dataflow]
    starts = [
        (first if elements >= 500 else 0) - ahead // 10
        for elements, ahead, first in zip((m * k, n * k), fetched, late, strict=True)
    ]
    kb = {"input_kb": 1, "weight_kb": 1, "output_kb": 1}
    assert cycles_with_prefetch(layer, array, **kb) == end - min(starts)


@given(layer=convolutions())
def test_touched_inputs_window_by_window(layer):
    def touched(size, kernel, stride, out):
        return len({o * stride + r for o in range(out) for r in range(kernel) if o * stride + r < size})

    height, width = layer.out_size
    assert layer.touched_inputs == (
        layer.channels
        * touched(layer.height, layer.kernel_height, layer.stride_height, height)
        * touched(layer.width, layer.kernel_width, layer.stride_width, width)
    )


def test_figures_of_arrays_are_those_of_their_entries():
    layers = [TopologyLayer("a", 9 + i, 20, 3, 2, 1 + 5 * i, 70 - i, 1 + i % 3, 2) for i in range(12)]
    stacked = TopologyLayer("all", *np.array([dataclasses.astuple(layer)[1:] for layer in layers]).T)
    for flow in DATAFLOWS:
        array = serial_array(4, 6, flow)
        kb = {"input_kb": 1, "weight_kb": 2, "output_kb": 1}
        together = cycles_with_prefetch(stacked, array, **kb)
        assert together.tolist() == [cycles_with_prefetch(layer, array, **kb) for layer in layers]


# ---------------------------------------------------------------- layers


def test_the_output_is_rounded_up():
    assert TopologyLayer("x", 6, 7, 3, 3, 1, 1, 2, 2).out_size == (3, 3)


def test_a_topology_layer_is_priced_like_any_other():
    layer = TopologyLayer("DP", 8, 8, 3, 3, 1, 2, count=5)
    array = serial_array(4, 4)
    assert layer_cost(layer, array).cycles == 5 * layer_cost(Gemm(m=36, n=2, k=9), array).cycles
    assert network_cost({"a": layer, "b": layer}, array).total.macs == 2 * 5 * 36 * 2 * 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, r"TopologyLayer.height is 0; allowed: an integer of at least 1"),
        ({"kernel_width": 9}, r"TopologyLayer.kernel_width is 9; allowed: at most the width of the input"),
        ({"kernel_height": np.array([3, 9])}, r"TopologyLayer.kernel_height is array"),
    ],
)
def test_layers_that_cannot_be(changes, message):
    with pytest.raises(InvalidValueError, match=message):
        dataclasses.replace(TopologyLayer("x", 8, 8, 3, 3, 1, 1), **changes)


# ---------------------------------------------------------------- topologies


@given(topology=topologies)
def test_a_topology_reads_as_it_was_written(tmp_path, topology):
    path = tmp_path / "net.csv"
    write_topology(path, topology)
    found = read_topology(path)
    assert (found.name, found.kind, found.layers) == (topology.name, topology.kind, topology.layers)


@given(
    topology=topologies,
    separator=st.sampled_from([",", ", ", " ,  ", "\t", "\t ", ";"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n \n", "\n,,,,\n"]),
    end=st.sampled_from(["", ",", ",,", " , "]),
    quote=st.sampled_from(["", '"']),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    title=st.sampled_from(["", "A network\n", "A network,,\nby hand,\n", "\n\n"]),
    case=st.sampled_from([str, str.upper, str.lower]),
)
def test_untidy_topologies_read_the_same(tmp_path, topology, separator, line_end, end, quote, encoding, title, case):
    path = tmp_path / "net.csv"
    write_topology(path, topology)
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    end = end.replace(",", separator)

    def untidy(line):
        return separator.join(f"{quote}{cell}{quote}" for cell in line.rstrip(",").split(",")) + end

    text = title + line_end.join(map(untidy, [case(header), *rows])) + line_end
    path.write_bytes(text.encode(encoding))
    assert read_topology(path).layers == topology.layers


def test_the_two_kinds(file):
    conv = read_topology(file(CONV + "Conv1, 224, 224, 11, 11, 3, 96, 4,\n"))
    assert conv == Topology("net", "conv", (TopologyLayer("Conv1", 224, 224, 11, 11, 3, 96, 4, 4),))
    gemm = read_topology(file(GEMM + "fc, 128, 1, 32,\n"))
    assert gemm == Topology("net", "gemm", (TopologyLayer.product("fc", m=128, n=1, k=32),))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a, 9, 8, 7,\n", "gemm"), ("x, y, z, t\na, 9, 8, 7, 2:4\n", "gemm"), ("a, 9, 8, 7, 6, 5, 4, 3\n", "conv")],
)
def test_without_headings_the_columns_tell(file, text, kind):
    assert read_topology(file(text)).kind == kind
    assert read_topology(file(text), kind).kind == kind


def test_the_kind_can_be_given(file):
    path = file("a, 9, 8, 7, 6, 5, 4, 3\n")
    with pytest.raises(InvalidValueError, match="column 5"):
        read_topology(path, "gemm")
    with refused("kind", "mlp", "conv, gemm"):
        read_topology(path, "mlp")


def test_depthwise_by_name(file):
    topology = read_topology(file(CONV + "c1_DP, 8, 8, 3, 3, 32, 2, 1,\nc2_dw, 8, 8, 3, 3, 32, 2, 1,\n"))
    assert [(layer.count, layer.channels) for layer in topology.layers] == [(32, 1), (1, 32)]
    assert topology.notes == ("layers whose name contains DP are depthwise: one layer for each channel",)
    assert read_topology(file(GEMM + "DP, 3, 4, 5,\n")).layers[0].count == 1


@pytest.mark.parametrize(
    ("header", "row", "stride_width", "note"),
    [
        ("Strides", "2, 2", 2, None),
        ("Stride height, Stride width", "2, 3,", 3, None),
        ("Strides, Strides", "2, 3,", 3, None),
        ("Strides, Sparsity", "2, 2:4,", 2, "sparsity ratios"),
        ("Strides, Sparsity", "2, 1,", 2, "sparsity ratios"),
        ("Strides", "2, 1:4,", 2, "sparsity ratios"),
        ("Strides, Batch Size", "2, 1,", 2, None),
        ("Strides, Padding", "2, 0,", 2, None),
        ("Strides, Batch Size", "2,", 2, None),
        ("Strides,,, Eh, Ew", "2,,, 110, x", 2, "the column 'Eh' is ignored"),
        ("Strides", "2,#dw", 2, None),
        ("Strides", "2,, # depthwise, of old", 2, None),
        ("Strides", "2.0,", 2, None),
    ],
)
def test_further_columns(file, header, row, stride_width, note):
    text = CONV.replace("Strides,", header) + f"c, 9, 9, 3, 3, 4, 5, {row}\n"
    topology = read_topology(file(text))
    assert topology.layers == (TopologyLayer("c", 9, 9, 3, 3, 4, 5, 2, stride_width),)
    assert (note or "") in " ".join(topology.notes)
    assert bool(topology.notes) == bool(note)


def test_comments_and_repeated_headings(file):
    text = f"# of a paper\n{GEMM}a, 1, 2, 3,\n{GEMM}#b, 1, 2, 3\nc, 4, 5, 6,\n"
    topology = read_topology(file(text))
    assert [layer.name for layer in topology.layers] == ["a", "c"]
    assert [note.partition(" starts")[0] for note in topology.notes] == ["line 1", "line 5"]


def test_names_that_repeat(file):
    topology = read_topology(file(GEMM + "a,1,1,1\na,2,2,2\na (2),3,3,3\na,4,4,4\n"))
    assert list(topology.by_name()) == ["a", "a (2)", "a (2) (2)", "a (3)"]
    assert sum(layer.gemms()[0].m for layer in topology.by_name().values()) == 10


ROW = "c, 9, 9, 3, 3, 4, 5, 2,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the topology {path} cannot be used: it is empty"),
        (CONV, "the topology {path} cannot be used: it has headings only"),
        (
            CONV + ROW + "d, 9, 9, 3, 3, 4, 5,\n",
            "Strides in {path}, line 3 (d), is missing; needed: an integer from 1",
        ),
        (CONV + "\n\n" + "d, 9, x, 3, 3, 4, 5, 1,\n", "IFMAP Width in {path}, line 4 (d), is 'x'; allowed: an integer"),
        (CONV + "d, 9, 9, 3, 3, 0, 5, 1,\n", "Channels in {path}, line 2 (d), is '0'; allowed: an integer from 1 to"),
        (CONV + "d, 9, 9, 3, 3, -4, 5, 1,\n", "Channels in {path}, line 2 (d), is '-4'"),
        (CONV + "d, 9, 9, 3, 3, 4.5, 5, 1,\n", "Channels in {path}, line 2 (d), is '4.5'"),
        (CONV + "d, 9, 9, 3, 3, 1e3, 5, 1,\n", "Channels in {path}, line 2 (d), is '1e3'"),
        (CONV + f"d, 9, 9, 3, 3, {10**30}, 5, 1,\n", "Channels in {path}, line 2 (d), is '1000000"),
        (CONV + "d, 9, 9, 3, 3, ٣, 5, 1,\n", "Channels in {path}, line 2 (d), is '٣'"),
        (
            CONV + "d, 9, 9, 3, 10, 4, 5, 1,\n",
            "kernel width in {path}, line 2 (d), is 10; allowed: at most the width of",
        ),
        (CONV + "text alone\n", "IFMAP Height in {path}, line 2 (text alone), is missing"),
        (CONV + ", 9, 9, 3, 3, 4, 5\n", "Strides in {path}, line 2 (no name), is missing"),
        (
            CONV + "d, 9, 9, 3, 3, 4, 5, 2, 3\n",
            "column 9 (without a heading) in {path}, line 2 (d), is '3'; allowed: an empty",
        ),
        (CONV + "d, 9, 9, 3, 3, 4, 5, 2, , 3\n", "column 10 (without a heading) in {path}, line 2 (d), is '3'"),
        (
            CONV + "d, 9, 9, 3, 3, 4, 5, 2, 2:x\n",
            "the sparsity ratio in {path}, line 2 (d), is '2:x'; allowed: a ratio",
        ),
        (
            CONV[:-1] + "Batch,\nd, 9, 9, 3, 3, 4, 5, 2, 4\n",
            "Batch in {path}, line 2 (d), is '4'; allowed: 1: SCALE-Sim",
        ),
        (
            CONV[:-1] + "Padding,\nd, 9, 9, 3, 3, 4, 5, 2, 1\n",
            "Padding in {path}, line 2 (d), is '1'; allowed: 0: SCALE",
        ),
        (CONV[:-1] + "Stride width,\nd, 9, 9, 3, 3, 4, 5, 2, x\n", "Stride width in {path}, line 2 (d), is 'x'"),
        ('Layer, M, N, K\n"a, 1, 2, 3\n', "{path}, line 2, is '\"a, 1, 2, 3'; allowed: cells whose quotes are closed"),
        ("Layer, M, K, N,\na, 1, 2, 3\n", "column 3 of {path}, line 1, is 'K'; allowed: 'N', in the order M, N, K"),
        (
            CONV.replace("Height, IFMAP Width", "Width, IFMAP Height") + ROW,
            "column 2 of {path}, line 1, is 'IFMAP Width'",
        ),
        (
            CONV.replace("Channels, Num Filter", "Num Filter, Channels") + ROW,
            "column 6 of {path}, line 1, is 'Num Filter'",
        ),
        ("a, 1, 2,\n", "{path}, line 1, is 'a, 1, 2'; allowed: 3 sizes of a product or 7 of a convolution"),
        ("a, 1, 2, 3, 4, 5\n", "{path}, line 1, is 'a, 1, 2, 3, 4, 5'"),
        ("some text\nmore text\na, 1, 2, 3\n", "{path}, line 2, is 'more text'; allowed: headings like 'Layer, IFMAP"),
        (b"\xff\xfe\x00", "{path}, line 1, is b'\\x00'; allowed: text in UTF-16"),
        (b"Layer, M, N, K,\n\xe9, 1, 2, 3,\n", "{path}, line 2, is b'\\xe9'; allowed: text in UTF-8"),
    ],
)
def test_topologies_that_are_not_understood(file, text, message):
    path = file(text)
    with pytest.raises(HwcostError) as caught:
        read_topology(path)
    assert message.format(path=path) in str(caught.value)
    assert isinstance(caught.value, InvalidValueError)


@given(
    line=st.text(st.sampled_from('ab,;\t"#:. \r019-MNKx\x00\ufeff'), max_size=30),
    header=st.sampled_from([CONV, GEMM, ""]),
)
def test_any_text_is_read_or_refused(tmp_path, line, header):
    path = tmp_path / "net.csv"
    path.write_text(f"{header}{line}\n", encoding="utf-8", newline="")
    try:
        topology = read_topology(path)
    except InvalidValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert topology.layers
        assert network_cost(topology.by_name(), serial_array(8, 8)).total.cycles > 0


def test_the_wrong_kind_is_refused(file):
    with refused(mock.ANY, allowed="those of a gemm topology"):
        read_topology(file(CONV + ROW), "gemm")


def test_files_that_are_not_there(tmp_path):
    for read in (read_topology, read_configuration):
        for path in (tmp_path / "none", tmp_path):
            with refused(mock.ANY, str(path), "can be read"):
                read(path)


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (Topology("n", "conv", (TopologyLayer("a,b", 9, 9, 3, 3, 1, 1),)), "the name of a layer is 'a,b'"),
        (Topology("n", "conv", (TopologyLayer("a\n", 9, 9, 3, 3, 1, 1),)), "the name of a layer is"),
        (Topology("n", "conv", (TopologyLayer("a", 9, 9, 3, 3, 1, 1, count=2),)), "more than once is 'a'"),
        (Topology("n", "conv", (TopologyLayer("DP", 9, 9, 3, 3, 2, 1),)), "with channels is 'DP'"),
        (Topology("n", "conv", (TopologyLayer("a", 9, 9, 3, 3, 1, 1, 1, 2),)), "the second stride of 'a' is 2"),
        (Topology("n", "gemm", (TopologyLayer("a", 9, 9, 3, 3, 1, 1),)), "allowed: a product"),
    ],
)
def test_topologies_that_cannot_be_written(tmp_path, topology, message):
    with pytest.raises(InvalidValueError, match=message):
        write_topology(tmp_path / "net.csv", topology)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    layers = (TopologyLayer.product("a", m=1, n=2, k=3),)
    config = Configuration("run", serial_array(8, 8), 1, 1, 1)
    with pytest.raises(InvalidValueError, match="cannot be written"):
        write_topology(tmp_path, Topology("n", "gemm", layers))
    with pytest.raises(InvalidValueError, match="cannot be written"):
        write_configuration(tmp_path, config)
    (tmp_path / "file").write_text("")
    with refused("folder", str(tmp_path / "file"), "can be written"):
        write_compute_report(tmp_path / "file", layers, config)


# ---------------------------------------------------------------- configurations


def test_a_configuration(file):
    assert read_configuration(file(CONFIG)) == Configuration("small", serial_array(12, 14, "os"), 64, 32, 16)


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda text: text.replace("ArrayHeight", "array_height").replace("ArrayWidth", "Array Width"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(": 12", " =   12  ; rows"),
        lambda text: text.replace(": os", ': "OS"'),
        lambda text: "\n".join("   " + line for line in text.splitlines()),
        lambda text: text.replace("[run_presets]\nInterfaceBandwidth: CALC\n", ""),
        lambda text: text.replace("[sparsity]\nSparsitySupport : false\n", ""),
        lambda text: text.replace("Dataflow", "Bandwidth : 10%\nIfmapOffset : 0\nDataflow"),
    ],
)
def test_untidy_configurations_read_the_same(file, change):
    assert read_configuration(file(change(CONFIG))) == read_configuration(file(CONFIG, "tidy.cfg"))


@given(
    st.builds(
        Configuration,
        names.filter(bool),
        st.builds(serial_array, sizes, sizes, st.sampled_from(DATAFLOWS)),
        sizes,
        sizes,
        sizes,
    )
)
def test_a_configuration_reads_as_it_was_written(tmp_path, config):
    write_configuration(tmp_path / "scale.cfg", config)
    assert read_configuration(tmp_path / "scale.cfg") == config


def test_what_may_be_missing(file):
    text = "[architecture_presets]\nArrayHeight=8\nArrayWidth=8\nDataflow=ws\n"
    assert read_configuration(file(text)) == Configuration("scale_run", serial_array(8, 8))


def test_what_is_ignored_is_noted(file):
    text = CONFIG.replace("CALC", "USER\nUseRamulatorTrace: True") + "[layout]\nIfmapCustomLayout: True\n"
    notes = read_configuration(file(text)).notes
    assert [note.split()[0] for note in notes] == ["InterfaceBandwidth", "UseRamulatorTrace", "IfmapCustomLayout"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ArrayHeight: 12", "", "ArrayHeight in {path} is missing; needed: an integer from 1"),
        ("ArrayHeight: 12", "ArrayHeight: 0", "ArrayHeight in {path}, line 5, is '0'; allowed: an integer from 1"),
        ("ArrayHeight: 12", "ArrayHeight: twelve", "ArrayHeight in {path}, line 5, is 'twelve'"),
        ("Dataflow : os", "", "Dataflow in {path} is missing; needed: one of: ws, os, is"),
        ("Dataflow : os", "Dataflow : rs", "Dataflow in {path}, line 10, is 'rs'; allowed: one of: ws, os, is"),
        ("Dataflow : os", "Dataflow :", "Dataflow in {path}, line 10, is ''; allowed: one of: ws, os, is"),
        ("CALC", "AUTO", "InterfaceBandwidth in {path}, line 16, is 'AUTO'; allowed: one of: calc, user"),
        (
            ": false",
            ": true",
            "SparsitySupport in {path}, line 13, is 'true'; allowed: false: sparsity changes the cycles",
        ),
        (": false", ": perhaps", "SparsitySupport in {path}, line 13, is 'perhaps'; allowed: true or false"),
        ("OfmapSramSzkB: 16", "OfmapSramSzkB: 16kB", "OfmapSramSzkB in {path}, line 9, is '16kB'"),
        ("[general]", "", "{path}, line 2, is 'run_name = small'; allowed: [sections] with options"),
        ("Dataflow : os", "Dataflow", "{path}, line 10, is 'Dataflow'; allowed: [sections] with options"),
        ("Dataflow : os", "Array_Height = 3", "{path}, line 10, is 'Array_Height = 3'; allowed: [sections]"),
        ("[sparsity]", "[ArchitecturePresets]\nArrayWidth = 3", "each option once"),
    ],
)
def test_configurations_that_are_not_understood(file, old, new, message):
    assert old in CONFIG
    path = file(CONFIG.replace(old, new), "bad.cfg")
    with pytest.raises(HwcostError) as caught:
        read_configuration(path)
    assert message.format(path=path) in str(caught.value)


@given(text=st.text(st.sampled_from("[]=:;#ab \n1%AryHeigtWd"), max_size=40))
def test_any_configuration_is_read_or_refused(tmp_path, text):
    path = tmp_path / "any.cfg"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidValueError, match=r"any\.cfg"):
        read_configuration(path)


def test_a_configuration_without_memories_cannot_be_written(tmp_path):
    with refused("Configuration.weight_kb", MISSING):
        write_configuration(tmp_path / "scale.cfg", Configuration("run", serial_array(8, 8), 1, None, 1))


# ---------------------------------------------------------------- the report

# What scalesim 3.0.0 wrote itself, under Python 3.11.
REPORT = """\
LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %,\
 Compute Util %,
0, 3705, 3599, 0, 53.58631365855595, 85.7142857142857, 48.51752021563346,
1, 434, 377, 0, 8.355437665782494, 58.333333333333336, 6.730769230769232,
2, 434, 377, 0, 8.355437665782494, 58.333333333333336, 6.730769230769232,
3, 1504, 1391, 0, 69.01509705248023, 100.0, 63.49206349206346,
"""
REPORTED = (
    TopologyLayer("conv", 20, 17, 3, 2, 5, 30, 2, 2),
    TopologyLayer("DPconv", 9, 9, 3, 3, 1, 3, 1, 1, 2),
    TopologyLayer("gaps", 16, 16, 2, 2, 7, 40, 3, 3),
)


def test_the_report_byte_for_byte(tmp_path):
    config = Configuration("run", serial_array(7, 6, "is"), 1, 1, 1)
    path = write_compute_report(tmp_path / "new" / "folder", REPORTED, config)
    assert path == tmp_path / "new" / "folder" / "COMPUTE_REPORT.csv"
    assert path.read_bytes() == REPORT.encode()
    assert [file.name for file in path.parent.iterdir()] == ["COMPUTE_REPORT.csv"]


@given(layers=st.lists(convolutions(), min_size=1, max_size=4), flow=st.sampled_from(DATAFLOWS))
def test_the_report_holds_what_is_counted(layers, flow):
    config = Configuration("run", serial_array(5, 9, flow), 1, 2, 1)
    _, *lines = compute_report(layers, config)
    found = [[float(cell) for cell in line.rstrip(",\n").split(", ")] for line in lines]
    assert [cells[0] for cells in found] == list(range(sum(layer.count for layer in layers)))
    kb = {"input_kb": 1, "weight_kb": 2, "output_kb": 1}
    expected = []
    for layer in layers:
        own = counts(layer.gemms()[0], config.array)
        whole = (cycles_with_prefetch(layer, config.array, **kb), own.total_cycles, 0)
        expected += [(*whole, own.overall_util, own.mapping_eff, own.compute_util)] * layer.count
    np.testing.assert_allclose([cells[1:] for cells in found], expected, rtol=1e-12)


def test_the_report_of_many_folds_comes_from_the_closed_form():
    layer = TopologyLayer.product("big", m=10**5, n=10**5, k=10)
    config = Configuration("run", serial_array(2, 2, "os"), 64, 64, 64)
    line = list(compute_report([layer], config))[1]
    own = counts(layer.gemms()[0], config.array)
    assert [float(cell) for cell in line.split(",")[4:7]] == pytest.approx(
        [own.overall_util, own.mapping_eff, own.compute_util]
    )


@pytest.mark.parametrize(
    ("layers", "config", "message"),
    [
        ((), Configuration("r", serial_array(8, 8), 1, 1, 1), r"layers is \(\); allowed: at least one layer"),
        (REPORTED, Configuration("r", serial_array(8, 8), 1, 1), "Configuration.output_kb is missing"),
        (
            (TopologyLayer("x", np.array([9]), 9, 3, 3, 1, 1),),
            Configuration("r", serial_array(8, 8), 1, 1, 1),
            "layer 'x' is .*; allowed: a layer whose sizes are single integers",
        ),
        (
            (TopologyLayer.product("x", m=10**12, n=10**12, k=10**12),),
            Configuration("r", serial_array(8, 8), 1, 1, 1),
            "allowed: at most 9223372036854775807 in integer arrays",
        ),
        (
            (TopologyLayer.product("x", m=1, n=1, k=1),),
            Configuration("r", serial_array(1, 1, "os"), 1, 1, 1),
            "the cycles that SCALE-Sim counts is 0",
        ),
    ],
)
def test_reports_that_cannot_be(tmp_path, layers, config, message):
    before = tmp_path / "COMPUTE_REPORT.csv"
    before.write_text("of before")
    with pytest.raises(InvalidValueError, match=message):
        write_compute_report(tmp_path, layers, config)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(before.name, "of before")]


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    before = tmp_path / "COMPUTE_REPORT.csv"
    before.write_text("of before")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InvalidValueError, match="No space left on device"):
        write_compute_report(tmp_path, REPORTED, Configuration("r", serial_array(8, 8), 1, 1, 1))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(before.name, "of before")]


@pytest.mark.parametrize("more", [{"drains_outputs": True}, {"max_streamed": 8}, {"dram_bytes_per_s": 1e9}])
def test_arrays_that_scalesim_does_not_simulate_are_refused(more):
    array = dataclasses.replace(serial_array(8, 8, "os"), **more)
    with refused("the array", array, next(iter(more))):
        counts(Gemm(9, 9, 9), array)
