"""TFLite files: sizes that are open, graphs in operators, damaged files, and the commands that read them."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tflite")

import tflite
from lite import CODES, OPTIONS, SAME, Net, lenet, mobilenet, network_of, resnet
from running import python

from hwcost import Conv2d, InvalidValueError, Linear, SystolicArray, from_tflite, network_cost, read_network

# ---------------------------------------------------------------- sizes that are open


def dynamic(batch=1, side=9):
    """A net whose batch and side are open; the file has 1 where a size is, as converters write it."""
    net, rows = Net(), batch
    x = net.input("image", (rows, side, side, 3), signature=(-1, -1, -1, 3))
    x = net.conv(x, "conv", 8, stride=(2, 2))
    x = net.depthwise(x, "dw")
    x = net.pool(x, "pool", padding=SAME)
    shape = net.op("SHAPE", [x], {"shape": ("INT32", (4,))})
    ends = [net.numbers(name, [value]) for name, value in (("from", 0), ("to", 1), ("by", 1))]
    size = net.op("STRIDED_SLICE", [shape, *ends], {"size": ("INT32", ())}, ShrinkAxisMask=1)
    target = net.op("PACK", [size, net.numbers("rest", -1)], {"target": ("INT32", (2,))}, Axis=0, ValuesCount=2)
    flat = net.op("RESHAPE", [x, target], {"flat": (rows, net.shape(x)[1] * net.shape(x)[2] * 8)})
    x = net.mean(net.elementwise("ADD", "sum", x, x), "mean")
    net.linear(x, "fc", 10, rows)
    net.op("SOFTMAX", [flat], {"soft": net.shape(flat)})
    for name in ("conv/Conv2D", "dw/depthwise", "pool", "sum", "mean", "fc/MatMul", "flat", "soft"):
        shape = net.shape(name)
        net.tensors[name] |= {"shape": (1,) * len(shape), "signature": (-1,) * (len(shape) - 1) + shape[-1:]}
    net.tensors["image"]["shape"] = (1, 1, 1, 3)
    return net


@pytest.mark.parametrize(("batch", "side"), [(1, 9), (4, 9), (2, 17)])
def test_sizes_that_are_open(batch, side):
    dims = {"image:0": batch, "image:1": side, "image:2": side}
    network = network_of(dynamic(), dims=dims, outputs=["fc/MatMul"])
    assert network["conv"].gemms() == Conv2d(3, 8, 3, side, side, batch, stride=2, padding="same").gemms()
    half = (side + 1) // 2
    assert network["dw"].gemms() == Conv2d(8, 8, 3, half, half, batch, padding="same", groups=8).gemms()
    assert network["fc"] == Linear(8, 10, batch=batch)
    assert network.memory_only["soft"].layer.reads == batch * 8 * ((half + 1) // 2) ** 2
    assert network.at({"conv": 6})["fc"] == Linear(6, 10, batch=batch)
    assert not network.notes


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ({}, "the size of dimension 'image:0', the size of dimension 'image:1', the size of dimension 'image:2' is"),
        ({}, "--dim image:0=1 --dim image:1=1 --dim image:2=1"),
        ({"image:0": 1, "image:1": 9}, "the size of dimension 'image:2' is missing"),
        ({"image:3": 4}, "dims['image:3'] is 4; allowed: 3"),
        ({"batch": 4}, "unknown name 'batch' in dims; known: image:0"),
        ({"image:0": -1}, "dims['image:0'] is -1"),
    ],
)  # fmt: skip
def test_bad_dims(dims, words):
    with pytest.raises(InvalidValueError) as caught:
        network_of(dynamic(), dims=dims)
    assert words in str(caught.value)


def test_shapes_that_depend_on_values():
    net = Net()
    x = net.linear(net.input("x", (5, 4)), "first", 1, 5)
    found = net.op("WHERE", [x], {"places": ("INT64", (1, 2))}, {"places": (-1, 2)})
    y = net.op("CAST", [found], {"cast": (1, 2)}, {"cast": (-1, 2)})
    net.op("FULLY_CONNECTED", [y, net.weight("w", (3, 2)), None], {"y": (1, 3)}, {"y": (-1, 3)})
    network = network_of(net)
    assert "the shape of 'cast' is not known" in str(network["y"])
    assert any("reads and writes are not counted" in note for note in network.notes)


# ---------------------------------------------------------------- graphs in operators


def body(features, name, out=None):
    """A graph of one layer."""
    net = Net()
    net.linear(net.input(f"{name}/in", (1, 8)), name, out or features)
    return net


def test_branches():
    """The larger of two is priced; one whose condition is known is followed."""
    small, large = body(8, "small"), Net()
    x = large.linear(large.input("in", (1, 8)), "up", 32)
    large.linear(x, "down", 8)
    for known in (None, True, False):
        net = Net()
        x = net.input("x", (1, 8))
        condition = net.input("c", (), "BOOL") if known is None else net.numbers("c", known, "BOOL")
        net.op("IF", [condition, x], {"y": (1, 8)}, ThenSubgraphIndex=1, ElseSubgraphIndex=2)
        network = network_of(net, small, large)
        assert list(network) == (["small"] if known else ["up", "down"])
        assert bool(network.notes) == (known is None)
        assert known is not None or "then branch of 64 MACs or its else branch of 512 MACs" in network.notes[0]


def loop(limit):
    """A loop over a layer, with a number of runs that is known, or is an input."""
    net, condition, once = Net(), Net(), Net()
    count = net.numbers("count", 0)
    most = net.numbers("most", limit) if limit is not None else net.input("most", (), "INT32")
    shapes = {"n": ("INT32", ()), "m": ("INT32", ()), "y": (1, 8)}
    net.op("WHILE", [count, most, net.input("x", (1, 8))], shapes, CondSubgraphIndex=1, BodySubgraphIndex=2)
    n, most, _ = condition.input("n", (), "INT32"), condition.input("m", (), "INT32"), condition.input("s", (1, 8))
    condition.op("LESS", [n, most], {"again": ("BOOL", ())})
    n, most, x = once.input("n", (), "INT32"), once.input("m", (), "INT32"), once.input("s", (1, 8))
    once.op("ADD", [n, once.numbers("one", 1)], {"next": ("INT32", ())})
    once.linear(x, "again", 8)
    return net, condition, (once, ["next", "m", "again/MatMul"])


def test_loops():
    for runs in (0, 1, 3):
        net, *others = loop(runs)
        done = net.op("EQUAL", ["n", net.numbers("runs", runs)], {"done": ("BOOL", ())})
        net.op("IF", [done, "y"], {"z": (1, 8)}, ThenSubgraphIndex=3, ElseSubgraphIndex=4)
        network = network_of(net, *others, body(8, "last"), body(8, "never"), outputs=["z"])
        assert list(network)[runs:] == ["last"]
        assert network.macs == (runs + 1) * 64
    net, *others = loop(None)
    network = network_of(net, *others, outputs=["y"])
    assert "its graph runs as often as values decide, with 64 MACs each time" in str(network["n"])
    net, *others = loop(10**9)
    assert "as often as values decide" in str(network_of(net, *others, outputs=["y"])["n"])


def test_states_that_take_each_others_place_have_one_width():
    net, condition, swap = Net(), Net(), Net()
    x = net.input("x", (1, 4))
    inputs = [net.linear(x, "a", 8), net.linear(x, "b", 8), net.input("again", (), "BOOL")]
    shapes = {"one": (1, 8), "two": (1, 8), "end": ("BOOL", ())}
    net.op("WHILE", inputs, shapes, CondSubgraphIndex=1, BodySubgraphIndex=2)
    net.linear("one", "last", 3)
    for graph in (condition, swap):
        graph.input("p", (1, 8)), graph.input("q", (1, 8)), graph.input("c", (), "BOOL")
    condition.op("LOGICAL_NOT", ["c"], {"not": ("BOOL", ())})
    swap.op("LOGICAL_NOT", ["c"], {"not": ("BOOL", ())})
    network = network_of(net, condition, (swap, ["q", "p", "not"]), outputs=["last/MatMul"])
    layers = network.at({"a": 5})
    assert (layers["b"].out_features, layers["last"].in_features) == (5, 5)


def test_calls_and_composites():
    for kind, option in (("CALL", "Subgraph"), ("STABLEHLO_COMPOSITE", "DecompositionSubgraphIndex")):
        net = Net()
        x = net.linear(net.input("x", (1, 4)), "first", 8)
        y = net.op(kind, [net.op(kind, [x], {"once": (1, 8)}, **{option: 1})], {"twice": (1, 8)}, **{option: 1})
        net.linear(y, "last", 3)
        network = network_of(net, body(8, "inner"))
        assert list(network) == ["first", "inner", "inner (2)", "last"]
        assert network.at({"first": 5})["inner (2)"] == Linear(5, 5)  # both calls have one weight


def test_what_runs_once_is_not_counted():
    net = Net()
    net.op("CALL_ONCE", [], {}, InitSubgraphIndex=1)
    net.linear(net.input("x", (1, 4)), "first", 8)
    network = network_of(net, body(8, "inner"))
    assert list(network) == ["first"]
    assert "is not counted" in network.notes[0]


@pytest.mark.parametrize("number", [-1, 7])
def test_a_graph_that_is_not_there(number):
    net = Net()
    net.op("CALL", [net.input("x", (1, 4))], {"y": (1, 8)}, Subgraph=number % 2**32)
    with pytest.raises(InvalidValueError, match="the number of a graph"):
        network_of(net)


def test_graphs_without_an_end():
    """Each call runs the same graph twice: 2 ** 32 of them, if nothing ended it."""
    net, again = Net(), Net()
    net.op("CALL", [net.linear(net.input("x", (1, 8)), "first", 8)], {"y": (1, 8)}, Subgraph=1)
    x = again.op("CALL", [again.input("a", (1, 8))], {"b": (1, 8)}, Subgraph=1)
    again.op("CALL", [x], {"c": (1, 8)}, Subgraph=1)
    network = network_of(net, again)
    assert all("too many" in str(each.layer) for each in network.unsupported.values())


# ---------------------------------------------------------------- files that are refused


def refused(content):
    with pytest.raises(InvalidValueError) as caught:
        from_tflite(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_models(tmp_path):
    whole = lenet().content()
    for content in (b"", b"\0" * 100, b"not a model at all", whole[:200], whole[4:], whole[: len(whole) // 2]):
        path = tmp_path / "net.tflite"
        path.write_bytes(content)
        with pytest.raises(InvalidValueError) as caught:
            from_tflite(path)
        assert "net.tflite" in str(caught.value)
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "none.tflite", f"{tmp_path}/\0.tflite"):
        with pytest.raises(InvalidValueError, match="cannot be read"):
            from_tflite(path)
    with pytest.raises(InvalidValueError, match="the path of a TFLite file, or its content"):
        from_tflite(3)


def broken():
    """Graphs that are impossible, and words of the error about each."""
    net = Net()
    net.operators.append(("RELU", ["gone"], ["y"], {}))
    net.tensor("gone", (1, 4)), net.tensor("y", (1, 4))
    yield net, "a tensor that is used is 'gone'"
    net = Net()
    x = net.input("x", (1, 4))
    net.op("RELU", [x], {"y": (1, 4)})
    net.operators.append(("RELU", ["x"], ["y"], {}))
    yield net, "the tensor 'y' cannot be used: it is made twice"
    net = Net()
    net.op("RELU", [net.input("x", (1, 4))], {"y": (1, 4)})
    yield net, "multiplies nothing"
    net = Net()
    net.input("x", (1, 4))
    yield net, "the number of operators is 0"
    net = Net()
    net.linear(net.input("x", (1, 4)), "fc", 3)
    net.tensors["fc/w"]["shape"] = (3, 5)
    yield net, "the constant 'fc/w' has 48 bytes, and its shape needs 60"
    net = Net()
    net.linear(net.input("x", (1, 4)), "fc", 3)
    net.tensors["x"]["shape"] = (1, -4)
    yield net, "the shape of 'x' is '1x-4'"


@pytest.mark.parametrize(("net", "words"), list(broken()), ids=lambda value: value if isinstance(value, str) else "")
def test_broken_graphs(net, words):
    assert words in refused(net.content(outputs=["y"] if "y" in net.tensors else None if net.operators else ["x"]))


@pytest.mark.parametrize("number", [400_000, 2**31])
@pytest.mark.parametrize(("slot", "field"), [(4, "tensors"), (10, "operators")])
def test_a_length_that_is_wrong_takes_neither_time_nor_memory(slot, field, number):
    """Behind the tables are zeros, of which each is a table without fields."""
    net = Net()
    net.linear(net.input("x", (1, 1000)), "fc", 1000)
    content = bytearray(net.content())
    graph = tflite.Model.GetRootAs(content).Subgraphs(0)
    at = graph._tab.Vector(graph._tab.Offset(slot)) - 4
    content[at : at + 4] = number.to_bytes(4, "little")
    assert f"its tables hold more {field} than a file can have" in refused(bytes(content))


SMALL = [
    Net.content(each)
    for each in (lenet(2, 3, 4, 5), mobilenet((2, 3, 4, 5), "INT8", 16), resnet((2, 3, 4), inner=(2, 3, 4)))
] + [loop(2)[0].content(*loop(2)[1:]), dynamic().content()]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(range(len(SMALL))))
def test_damaged_files_are_refused_or_are_networks(seed, which):
    """Bytes are changed, left out, or cut off: no other exception, and no time or memory without bounds."""
    rng, content = random.Random(seed), bytearray(SMALL[which])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(content) - 8)
        how = rng.randrange(4)
        if how == 0:
            content[at] = rng.randrange(256)
        elif how == 1:
            content[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"))
        elif how == 2:
            del content[at : at + rng.choice((1, 2, 4, 8))]
        elif rng.random() < 0.2:
            del content[at + 8 :]
    with contextlib.suppress(InvalidValueError):
        network_cost(from_tflite(bytes(content)), SystolicArray(8, 8), skip_unsupported=True)


NONSENSE = ((), (0,), (3,), (1, 4), (4, 8), (2, 0, 3), (1, 5, 6, 8), (1, 3, 3, 8), (2, 1, 5, 6, 8))


SWITCHES = (
    "AdjX", "AdjY", "AsymmetricQuantizeInputs", "DiagonalRecurrentTensors", "KeepDims", "KeepNumDims", "MergeOutputs",
    "Offset", "PotScaleInt16", "TimeMajor",
)  # fmt: skip


def numbers_of(kind):
    """The attributes of an operator that are one number."""
    known = vars(getattr(tflite, OPTIONS[kind])) if kind in OPTIONS else {}
    names = (name for name in known if hasattr(tflite, f"{OPTIONS[kind]}Add{name}"))
    return [name for name in names if f"{name}Length" not in known and name not in ("Name", "CompositeAttributes")]


@pytest.mark.parametrize("kind", sorted(CODES))
def test_operators_with_nonsense(kind):
    """Whatever an operator gets, it ends as a network or as one line that says what is wrong."""
    rng = random.Random(kind)
    for _ in range(settings().max_examples // 4):
        net = Net()
        net.linear(net.input("x", (1, 4)), "first", 8)
        inputs = ["first/MatMul"] * (rng.random() < 0.3)
        for index in range(rng.randrange(6)):
            shape, name = rng.choice(NONSENSE), f"in{index}"
            how = rng.randrange(4)
            if how == 0:
                inputs.append(net.input(name, shape))
            elif how == 1:
                inputs.append(net.weight(name, shape))
            elif how == 2:
                inputs.append(None)
            else:
                inputs.append(net.numbers(name, rng.choices((-9, -1, 0, 1, 2, 3, 7, 2**31 - 1), k=rng.randrange(5))))
        options = {name: rng.choice((0, 1) if name in SWITCHES else (0, 1, 2, 3)) for name in numbers_of(kind)}
        signature = rng.choice((None, "open"))
        shapes = {f"out{index}": rng.choice(NONSENSE) for index in range(rng.randrange(1, 3))}
        signatures = {name: (-1,) * len(shape) for name, shape in shapes.items()} if signature else None
        net.op(kind, inputs, shapes, signatures, **options)
        try:
            network = network_of(net, outputs=["first/MatMul", *shapes])
        except InvalidValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        network_cost(network, SystolicArray(8, 8), skip_unsupported=True)
        assert network["first"] == Linear(4, 8)


# ---------------------------------------------------------------- commands


def test_without_the_library_the_error_states_what_to_install(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(lenet().content())
    code = (
        "import sys\nsys.modules['tflite'] = None\nimport hwcost\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        hwcost.read_network(path)\n"
        "    except hwcost.HwcostError as error:\n        print(error)\n"
    )
    done = python(code, str(path), str(tmp_path / "none.tflite"))
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == 'reading a TFLite file needs tflite; install it with: pip install "hwcost[tflite]"'
    assert "none.tflite" in second


ON = ("--s1", "16", "--s2", "16")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a net of fixed sizes and one of open ones, in which commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.tflite").write_bytes(lenet(kind="INT8").content())
    (tmp_path / "open.tflite").write_bytes(dynamic().content())
    return tmp_path


def test_reading_by_ending(files):
    assert read_network("net.tflite").name == "net"
    assert read_network("net.tflite").macs == 416_520


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("model", "net.tflite", *ON), "416,520 MACs: 2822 cycles"),
        (("advise", "net.tflite", *ON, "--budget", "0.8"), "conv1"),
        (("compare", "net.tflite", *ON), "2822"),
        (("sweep", "net.tflite", "--rows", "16", "--cols", "8,16", "--csv"), "2822"),
        (("table", "net.tflite", *ON, "--out", "costs.csv"), ""),
        (("model", "open.tflite", *ON, "--dim", "image:0=2", "--dim", "image:1=9", "--dim", "image:2=9"), "conv"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_commands(hwcost, files, line, words):
    code, out, err = hwcost(*line)
    assert code == 0, err
    assert words in out


def test_sizes_go_to_the_files_that_have_them(hwcost, files):
    dims = [text for place in ("image:0=2", "image:1=9", "image:2=9") for text in ("--dim", place)]
    code, out, err = hwcost("compare", "open.tflite", "net.tflite", *ON, *dims)
    assert code == 0, err
    assert "2822" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("model", "open.tflite"), "--dim image:0=1"),
        (("model", "net.tflite", "--dim", "x:0=4"), "dim"),
        (("model", "net.tflite", "--input", "1,28,28,1"), "is not a PyTorch module"),
        (("model", "half.tflite"), "not a complete TFLite file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(hwcost, files, line, words):
    content = lenet().content()
    (files / "half.tflite").write_bytes(content[: len(content) // 2])
    code, out, err = hwcost(*line, *ON)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert words in err
