"""Lists of layers: read, refused, written, and read back as the same products."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import DATAFLOWS, Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, network_cost
from hwcost.importers import read_network
from hwcost.importers.lists import read_layers, write_layers, write_scalesim
from hwcost.importers.lists.scalesim import topology_of
from hwcost.network.network import UNCONNECTED, Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported, Width
from hwcost.scalesim import TopologyLayer, counts, read_topology, serial_array

CSV = """\
name,kind,k,k1,k2,c,f,h,w,batch,stride,padding,groups,dilation,m,n,count,window,inputs
stem,conv2d,7,,,3,64,224,224,2,2,3,,,,,,,
a.conv,conv2d,,1,3,64,32,56,28,,1x2,valid,4,1x2,,,,,
a.dw,depthwise,3,,,32,,56,56,,,,,,,,,,
head,linear,,,,2048,1000,,,8,,,,,,,,,
scores,matmul,64,,,,,,,12,,,,,10,10,,,
up,gemm,64,,,,,,,,,,,,100,16,4,,
volume,gemm,54,,,,,,,,,,,,8,4,,3x3x3,1x2x4x4x4
"""
LAYERS = {
    "stem": Conv2d(3, 64, 7, height=224, width=224, batch=2, stride=2, padding=3),
    "a.conv": Conv2d(64, 32, (1, 3), 56, 28, stride=(1, 2), padding="valid", groups=4, dilation=(1, 2)),
    "a.dw": Conv2d(32, 32, 3, height=56, width=56, padding="same", groups=32),
    "head": Linear(2048, 1000, batch=8),
    "scores": MatMul(10, 10, 64, batch=12),
    "up": Gemm(100, 16, 64, 4),
    "volume": Gemm(8, 4, 54, window=(3, 3, 3), inputs=(1, 2, 4, 4, 4)),
}


def toml_of(text):
    """The same list as TOML, by hand: numbers bare, the rest as texts."""
    header, *rows = (line.split(",") for line in text.splitlines())
    tables = []
    for row in rows:
        cells = [(key, cell) for key, cell in zip(header, row, strict=True) if cell]
        tables.append("".join(f"{key} = {cell if cell.isdigit() else repr(cell)}\n" for key, cell in cells))
    return "".join(f"[[layer]]\n{table}" for table in tables)


def gemms_of(network):
    return {name: network[name].gemms() for name in network.priced}


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("form", ["csv", "toml"])
def test_every_kind_is_read(tmp_path, form):
    path = tmp_path / f"net.{form}"
    path.write_text(CSV if form == "csv" else toml_of(CSV))
    network = read_network(str(path))
    assert dict(network) == LAYERS
    assert network.name == "net"
    assert network.notes == (UNCONNECTED,)
    assert network.source == str(path)
    assert [each.path for each in network.operations.values()] == list(LAYERS)


def test_spreadsheets_leave_their_marks(tmp_path):
    """A byte order mark, line ends of Windows, quotes, spaces, capitals, empty lines, zeros behind a point."""
    path = tmp_path / "net.csv"
    path.write_bytes('\ufeff"Name", KIND,c,F\r\n\r\n fc ,"Linear",400.0,120\r\n,,,\r\n'.encode())
    assert dict(read_layers(path)) == {"fc": Linear(400, 120)}


def test_what_runs_several_times_has_its_widths_once(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("name,kind,c,f,count\nb.fc,linear,4,8,3\nb.fc,linear,5,6,\n,linear,2,3,\n")
    network = read_layers(path)
    assert list(network) == ["b.fc", "b.fc (2)", "b.fc (3)", "b.fc (4)", "layer 3"]
    assert [network[name].in_features for name in network] == [4, 4, 4, 5, 2]
    assert {each.path for each in network.operations.values()} == {"b.fc", "layer 3"}
    at = network.at({"b.fc.out_features": 7})
    assert [at[name].out_features for name in at] == [7, 7, 7, 6, 3]


def test_widths_of_a_depthwise_row_and_of_groups(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(toml_of(CSV))
    network = read_layers(path)
    assert network.widths["a.conv.out_channels"] == Width(32, 4)
    assert network.at({"a.dw.channels": 5})["a.dw"] == Conv2d(5, 5, 3, 56, 56, padding="same", groups=5)


def test_columns_of_measurements_are_ignored(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("kind,c,f,cycles,group,rows,network\nlinear,4,8,900,a,16,n\n")
    network = read_layers(path)
    assert dict(network) == {"layer 1": Linear(4, 8)}
    assert network.notes[:-1] == tuple(
        f"the column {name!r} is ignored" for name in ("cycles", "group", "rows", "network")
    )


@pytest.mark.parametrize(
    ("kind", "text", "products"),
    [
        ("conv", "conv1, 9, 9, 3, 3, 4, 8, 2,\ndw DP, 9, 9, 3, 3, 6, 1, 1,\n", [Gemm(16, 8, 36), Gemm(49, 1, 9, 6)]),
        ("gemm", "fc, 5, 7, 11,\n", [Gemm(5, 7, 11)]),
    ],
)
def test_topologies(tmp_path, kind, text, products):
    headings = {
        "conv": "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n",
        "gemm": "Layer, M, N, K,\n",
    }
    path = tmp_path / "net.csv"
    path.write_text(headings[kind] + text)
    network = read_layers(path)
    found = [gemm for layer in network.values() for gemm in layer.gemms()]
    assert [(g.m, g.n, g.k, g.count) for g in found] == [(g.m, g.n, g.k, g.count) for g in products]
    assert network.notes[-1] == UNCONNECTED
    for name, operation in network.operations.items():
        sizes = dict.fromkeys(operation.widths, 1)
        (gemm,) = network.at(sizes)[name].gemms()
        assert gemm.n == 1
        assert gemm.k * gemm.count in (1, 9)  # one channel is left, under the kernel


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("net.csv", "", "is empty; write rows below a header"),
        ("net.csv", " \n,,\n", "is empty"),
        ("net.csv", "name,kind,c,f\n", "the number of layers is 0; allowed: from 1 to 100000, as rows"),
        ("net.csv", "kind,c,f\nlinear,4\n", "line 2: the number of cells is 2; allowed: 3"),
        ("net.csv", "kind,c,f\nconv2,4,5\n", "line 2: kind is 'conv2' (did you mean 'conv2d'?); allowed: one of: "),
        ("net.csv", "kind,c,f\nLiner,4,5\n", "did you mean 'linear'?"),
        ("net.csv", "kind,c,f,h\nlinear,4,5,6\n", "line 2: h cannot be used: linear does not have it"),
        ("net.csv", "kind,c,f\nlinear,4,\n", "line 2: f is missing; needed: an integer"),
        ("net.csv", "kind,c,f\nlinear,4,0\n", "line 2: Linear.out_features is 0"),
        ("net.csv", "kind,c,f\nlinear,4,1.5\n", "line 2: f is '1.5'; allowed: an integer"),
        ("net.csv", "kind,c,f\nlinear,4,nan\n", "line 2: f is 'nan'; allowed: a finite number"),
        ("net.csv", "kind,c,f,count\nlinear,4,5,0\n", "line 2: count is '0'; allowed: an integer from 1"),
        ("net.csv", "kind,c,f,count\nlinear,4,5,1000000\n", "count is '1000000'"),
        ("net.csv", "kind,c,f,count\nlinear,4,5,60000\nlinear,4,5,60000\n", "the number of layers is 120000"),
        ("net.csv", "kind,c,f,group\nconv2d,4,5,2\n", "unknown column 'group' in"),
        ("net.csv", "kind,c,f,strid\nlinear,4,5,2\n", "did you mean 'stride'?"),
        ("net.csv", "kind,c,f,c\nlinear,4,5,2\n", "the column 'c' is there twice"),
        ("net.csv", "kind;c;f\nlinear;4;5\n", "columns between commas"),
        ("net.csv", 'kind,c,f\nlinear,"4,5\n', "line 2"),
        ("net.csv", "kind,k,c,f,h,w,stride\nconv2d,3,1,1,8,8,1x2x3\n", "stride is '1x2x3'; allowed: an integer, or a"),
        ("net.csv", "kind,k,c,f,h,w\nconv2d,9,1,1,4,4\nconv2d,x,1,1,4,4\n", "line 3: k is 'x'"),
        ("net.csv", "kind,k,c,f,h,w,padding\nconv2d,9,1,1,4,4,0\n", "at most the padded input"),
        ("net.csv", "kind,m,n,k,window\ngemm,2,3,4,3\n", "line 2: Gemm.k is 4; allowed: a multiple"),
        ("net.csv", "name,c,f\nfc,4,5\n", "add a column 'kind'"),
        ("net.csv", "a,b\n1,2\n", "read as a SCALE-Sim topology, since no header has a column 'kind'"),
        ("net.csv", b"kind,c,f\nlinear,4,\xff\n", "UTF-8"),
        ("net.csv", "kind,c,f\nlinear,4,5\0\n", "line 2"),
        ("net.toml", "", "the number of layers is 0; allowed: from 1 to 100000, as rows"),
        ("net.toml", "[[layer]\n", "a TOML document"),
        ("net.toml", b"\xff", "UTF-8"),
        ("net.toml", "x = " + "[" * 20000, "a TOML document"),
        ("net.toml", 'schema = "hwcost.device/1"\n', "schema is 'hwcost.device/1'; allowed: 'hwcost.layers/1'"),
        ("net.toml", "name = 3\n", "name is 3; allowed: a text"),
        ("net.toml", "[layer]\nc = 3\n", "a table [[layer]] for each layer"),
        ("net.toml", "[[layers]]\nc = 3\n", "(did you mean 'layer'?); known: schema, version, name, layer"),
        ("net.toml", '[[layer]]\nkind = "linear"\nc = 3\nf = true\n', "layer 1: f is True; allowed: an integer"),
        ("net.toml", '[[layer]]\nkind = "linear"\nc = 3\nf = []\n', "layer 1: f is []; allowed: an integer"),
        ("net.toml", '[[layer]]\nkind = "linear"\nc = 3\nf = inf\n', "layer 1: f is 'inf'; allowed: a finite number"),
        ("net.toml", '[[layer]]\nkind = "linear"\nname = "a"\nd = 3\n', "unknown key 'd' in"),
        ("net.toml", '[[layer]]\nkind = 3\n', "layer 1: kind is 3; allowed: a text"),
        ("net.toml", '[[layer]]\nc = 3\n', "layer 1: kind is missing; needed: one of: conv2d"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidValueError) as caught:
        read_layers(path)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert path.name in message


@pytest.mark.parametrize("name", ["none.csv", "none.toml", "", "a\0.csv", "a\0.toml"])
def test_files_that_are_not_there(tmp_path, name):
    with pytest.raises(InvalidValueError, match="cannot be read"):
        read_layers(str(tmp_path / name) if name else str(tmp_path))


# ---------------------------------------------------------------- writing and reading back

sizes = st.integers(1, 20)
pairs = st.tuples(sizes, sizes)


@st.composite
def convolutions(draw):
    groups, dilation, kernel = draw(st.integers(1, 4)), draw(pairs), draw(pairs)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height, width = (draw(st.integers(least, least + 20)) for least in reach)
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    depthwise = draw(st.booleans())
    channels, filters = (groups, groups * draw(st.integers(1, 2))) if depthwise else (groups * draw(sizes), groups * 3)
    return Conv2d(channels, filters, kernel, height, width, draw(sizes), draw(pairs), padding, dilation, groups)


@st.composite
def products(draw):
    window = tuple(draw(st.lists(sizes, max_size=3)))
    k = draw(sizes)
    for size in window:
        k *= size
    return Gemm(
        draw(sizes), draw(sizes), k, draw(sizes), window=window, inputs=tuple(draw(st.lists(sizes, max_size=5)))
    )


topology_rows = st.builds(
    lambda kernel, spare, channels, stride, count: TopologyLayer(
        "row", kernel[0] + spare[0], kernel[1] + spare[1], *kernel, channels, 5, *stride, count
    ),
    pairs, pairs, sizes, pairs, sizes,
)  # fmt: skip
layers = st.one_of(
    convolutions(),
    st.builds(Linear, sizes, sizes, sizes),
    st.builds(MatMul, sizes, sizes, sizes, sizes),
    products(),
    topology_rows,
)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=9)
names = names.filter(lambda name: name.strip() == name and name.isprintable())
networks = st.dictionaries(names, layers, min_size=1, max_size=6).map(lambda named: Network.of_layers("a net", named))


@given(networks, st.sampled_from(["csv", "toml"]))
def test_what_is_written_is_read_back(tmp_path_factory, network, form):
    path = tmp_path_factory.mktemp("lists") / f"net.{form}"
    notes = write_layers(path, network)
    again = read_layers(path)
    assert gemms_of(again) == gemms_of(network)
    kept = {name for name, layer in network.items() if not isinstance(layer, TopologyLayer)}
    assert all(again[name].gemms() == network[name].gemms() for name in network)
    assert bool(notes) == (len(kept) < len(network))
    if form == "toml":
        assert again.name == network.name
    for name in kept:
        if not isinstance(network[name], Conv2d):
            assert again[name] == network[name]


class _Two:
    """A layer of two products, as somebody may write one."""

    def gemms(self):
        return Gemm(1, 2, 3), Gemm(4, 5, 6, 7)


def test_nothing_is_lost_without_a_note(tmp_path):
    network = Network(
        "net",
        {
            "two": Operation(_Two(), kind="two"),
            "relu": Operation(MemoryOnly("relu", 3, 3), kind="relu"),
            "two (2)": Operation(Linear(2, 3), kind="linear"),
            "fft": Operation(Unsupported("fft", "not a product"), kind="fft"),
        },
    )
    path = tmp_path / "net.csv"
    assert write_layers(path, network) == (
        "relu is left out: without products",
        "fft is left out: not supported",
        "two is written as matrix products",
    )
    again = read_layers(path)
    assert {name: layer.gemms() for name, layer in again.items()} == {
        "two": (Gemm(1, 2, 3),),
        "two (3)": (Gemm(4, 5, 6, 7),),
        "two (2)": (Gemm(1, 3, 2),),
    }
    assert write_scalesim(path, network)[:2] == ("relu is left out: without products", "fft is left out: not supported")


@pytest.mark.parametrize("write", [write_layers, write_scalesim])
def test_what_cannot_be_written(tmp_path, write):
    import numpy as np

    good = Network.of_layers("net", {"fc": Linear(3, 4)})
    with pytest.raises(InvalidValueError, match="at least one layer that is priced"):
        write(tmp_path / "net.csv", Network("net", {"relu": Operation(MemoryOnly("relu"), kind="relu")}))
    with pytest.raises(InvalidValueError, match="cannot be written"):
        write(tmp_path, good)
    with pytest.raises(InvalidValueError, match="cannot be written"):
        write(tmp_path / "none" / "net.csv", good)
    with pytest.raises(InvalidValueError, match=r"layer 'fc'.*integer"):
        write(tmp_path / "net.csv", Network.of_layers("net", {"fc": Linear(3, np.arange(1, 5))}))
    with pytest.raises(InvalidValueError, match="layer 'fc'"):
        write(tmp_path / "net.csv", Network.of_layers("net", {"fc": Linear(3, 10**18)}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", " a", "a\nb"])
def test_names_that_a_list_cannot_hold(tmp_path, name):
    with pytest.raises(InvalidValueError, match="the name of a layer"):
        write_layers(tmp_path / "net.csv", Network.of_layers("net", {name: Linear(3, 4)}))


# ---------------------------------------------------------------- SCALE-Sim


def resnet_like():
    return {
        "stem": Conv2d(3, 64, 7, height=56, width=56, stride=2, padding=3),
        "layer1.0.conv1": Conv2d(64, 64, 3, height=14, width=14, padding=1),
        "layer2.0.conv1": Conv2d(64, 128, 3, height=14, width=14, padding="same", stride=2),
        "layer2.0.down": Conv2d(64, 128, 1, height=14, width=14, stride=2),
        "atrous": Conv2d(128, 32, 3, height=7, width=7, padding=2, dilation=2),
        "grouped": Conv2d(128, 256, 3, height=7, width=7, padding=1, groups=32),
        "uneven": Conv2d(128, 16, (3, 1), height=7, width=9, stride=(2, 1), batch=2),
        "fc": Linear(512, 1000, batch=4),
    }


def mobilenet_like():
    return {
        "features.0": Conv2d(3, 32, 3, height=32, width=32, stride=2, padding=1, batch=3),
        "features.1.DPW": Conv2d(32, 32, 3, height=16, width=16, padding=1, groups=32, batch=3),
        "features.1.multiplied": Conv2d(8, 24, 5, height=16, width=16, padding="same", groups=8),
        "ADPoint": Conv2d(32, 64, 1, height=16, width=16, batch=3),
        'odd, "name" #': Linear(64, 10),
    }


def attention():
    return {
        "qkv": Linear(64, 192, batch=10),
        "scores": MatMul(10, 10, 16, batch=4),
        "values": MatMul(10, 16, 10, batch=4),
        "one head": MatMul(5, 6, 7),
        "up": Gemm(49, 36, 8, 2),
    }


NETWORKS = {function.__name__: function for function in (resnet_like, mobilenet_like, attention)}


@pytest.mark.parametrize("net", NETWORKS)
def test_topologies_take_the_same_cycles(tmp_path, net):
    network = Network.of_layers(net, NETWORKS[net]())
    path = tmp_path / "net.csv"
    write_scalesim(path, network)
    again = read_layers(path)
    assert [each.path for each in again.operations.values()] == [layer.name for layer in topology_of(network).layers]
    for (rows, cols), dataflow in itertools.product([(8, 8), (12, 14), (128, 128), (3, 50)], DATAFLOWS):
        array = serial_array(rows, cols, dataflow)
        here = sum(
            (counts(gemm, array).total_cycles + 1) * gemm.count for layer in network.values() for gemm in layer.gemms()
        )
        assert network_cost(network, array).total.cycles == here
        assert network_cost(again, array).total.cycles == here
    ideal = SystolicArray(16, 16)
    here, there = (network_cost(each, ideal).total.figures() for each in (network, again))
    # a topology has padded images
    assert {name: size for name, size in there.items() if "input" not in name and "activation" not in name} == {
        name: size for name, size in here.items() if "input" not in name and "activation" not in name
    }


@given(networks)
def test_topologies_hold_the_same_products(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("lists") / "net.csv"
    write_scalesim(path, network)
    found = [gemm for layer in read_topology(path).layers for gemm in layer.gemms()]
    there = [gemm for layer in network.values() for gemm in layer.gemms()]
    assert [(g.m, g.n, g.k, g.count) for g in found] == [(g.m, g.n, g.k, g.count) for g in there]


def test_a_topology_comes_back_as_it_was(tmp_path):
    rows = (TopologyLayer("conv", 9, 9, 3, 3, 4, 8, 2, 2), TopologyLayer("dw DP", 9, 8, 3, 3, 1, 2, 2, 2, 6))
    path = tmp_path / "net.csv"
    assert write_scalesim(path, Network.of_layers("net", {row.name: row for row in rows})) == ()
    assert read_topology(path).layers == rows


@pytest.mark.parametrize("ending", ["csv", "toml"])
def test_shared_operands_are_kept(tmp_path, ending):
    layers = {
        "scores": MatMul(1, 4096, 128, batch=32, weights_shared_by=4),
        "inputs": MatMul(5, 6, 7, batch=8, inputs_shared_by=8),
        "gemm": Gemm(5, 6, 7, count=9, weights_shared_by=3),
    }
    path = tmp_path / f"net.{ending}"
    write_layers(path, Network.of_layers("net", layers))
    assert dict(read_layers(path)) == layers


def test_other_forms_are_noted():
    notes = topology_of(Network.of_layers("net", resnet_like() | mobilenet_like() | attention())).notes
    texts = Counter(note.partition(":")[0] for note in notes)
    assert texts == Counter(
        {
            "padding is part of the input": 1,
            "a dilated kernel is written as one without gaps": 1,
            "the images of a batch are stacked": 1,
            "convolutions that SCALE-Sim has no row for, written as their products": 1,
            "several equal products are one row with DP in its name, as kernels of 1 x k "
            "(on devices that step through kernel positions, such a row differs)": 1,
            "renamed, since names hold no commas and quotes, and DP only if depthwise": 1,
        }
    )


@pytest.mark.parametrize("name", ["=cmd()|calc!A1", "+1", "-x", "@SUM(A1)", "'=x", "'"])
def test_cells_that_a_spreadsheet_would_run_are_quoted_and_read_back(name, tmp_path):
    for ending in ("csv", "toml"):
        path = tmp_path / f"net.{ending}"
        write_layers(path, Network.of_layers("net", {name: Linear(3, 4)}))
        assert list(read_layers(path)) == [name]
    assert "'" + name in (tmp_path / "net.csv").read_text()


@pytest.mark.parametrize("name", ["net.csv", "net.toml"])
def test_a_fault_of_many_rows_is_told_once_for_all_of_them(tmp_path, name):
    text = "name,kind,c,f\n" + "".join(f"a{n},lin,3,4\nb{n},linear,{-n},4\n" for n in range(30))
    path = tmp_path / name
    path.write_text(toml_of(text) if name.endswith("toml") else text)
    with pytest.raises(InvalidValueError) as caught:
        read_layers(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 20  # each of the others is another number
    assert " and 29 more: kind is 'lin'" in lines[0]
    assert not any(" more: " in line for line in lines[1:])
