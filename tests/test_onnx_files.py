"""ONNX files: those of exporters, those that are refused, and models in memory."""

from __future__ import annotations

import sys
import warnings

import pytest
from running import python

from hwcost import Conv2d, InvalidValueError, Linear
from hwcost.importers import read_network

onnx = pytest.importorskip("onnx")

from graphs import (  # noqa: E402
    FLOAT,
    build,
    info,
    lenet,
    network_of,
    node,
    numbers,
    only,
    sizes_of,
    tensor,
)
from onnx import TensorProto, helper  # noqa: E402

from hwcost.importers import from_onnx  # noqa: E402

# ---------------------------------------------------------------- files that are refused


def broken():
    """Models that are impossible, and words of the error about each."""
    linear = node("MatMul", ["x", "w"], ["y"], name="fc")
    good = {"x": [(3, 4)]}
    weights = [tensor("w", (4, 5))]
    circle = [node("Add", ["x", "b"], ["a"], name="one"), node("Relu", ["a"], ["b"])]
    yield build([*circle, linear], good, weights), "the node 'one' cannot be used: it needs its own result"
    yield build([node("MatMul", ["x", "gone"], ["y"])], good), "a value that is used is 'gone'"
    yield build([linear, linear], good, weights), "the value 'y' cannot be used: two nodes make it"
    yield build([linear], {"x": [(3, 6)]}, weights), "its inputs of 3x6, 4x5"
    yield build([], good, weights), "the number of nodes is 0"
    yield build([node("Relu", ["x"], ["y"])], good), "multiplies nothing"
    yield build([linear], good, weights, opset=999), "the version of the operators is 999"
    foreign = node("Fast", ["x"], ["y"], domain="my.domain")
    yield (
        build([foreign], good),
        "the domain of Fast is 'my.domain'; allowed: one that the file gives a version of",
    )
    yield build([linear], good, weights, [info("else", [3])]), "a value that is used is 'else'"


@pytest.mark.parametrize(("model", "words"), list(broken()), ids=lambda value: value if isinstance(value, str) else "")
def test_broken_graphs(model, words):
    with pytest.raises(InvalidValueError) as caught:
        network_of(model)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nodes_in_another_order():
    nodes = [node("MatMul", ["h", "w"], ["y"], name="second"), node("MatMul", ["x", "v"], ["h"], name="first")]
    network = network_of(build(nodes, {"x": [(3, 4)]}, [tensor("w", (5, 6)), tensor("v", (4, 5))]))
    assert list(network) == ["first", "second"]


def test_files_that_are_no_models(tmp_path):
    whole = lenet().SerializeToString()
    for content in (b"", b"\0" * 100, b"not a model", whole[: len(whole) // 2], whole[:-1], b"\x08"):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        with pytest.raises(InvalidValueError) as caught:
            from_onnx(path)
        assert "\n" not in str(caught.value)
        assert "net.onnx" in str(caught.value)
    for path in (tmp_path, tmp_path / "none.onnx", f"{tmp_path}/\0.onnx"):
        with pytest.raises(InvalidValueError, match="cannot be read"):
            from_onnx(path)


def test_names_that_are_no_texts(tmp_path):
    """A domain of operators, a function, a node in it and one in a branch."""
    functions = list(_doubling(1))
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["inside"])], "body", [], [info("inside", None)])
    nodes = [
        helper.make_node("If", ["w"], ["u"], then_branch=branch, else_branch=branch),
        helper.make_node("f0", ["x"], ["y"], domain="own"),
    ]
    path = _written(tmp_path, nodes, functions)
    whole = path.read_bytes()
    for text in (b"own", b"f0", b"inside", b"Identity", b"else_branch"):
        for place in (whole.index(text), whole.rindex(text)):
            path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
            with pytest.raises(InvalidValueError) as caught:
                from_onnx(path)
            assert "\n" not in str(caught.value)


def test_external_weights_are_not_opened(tmp_path):
    model = lenet()
    for weight in model.graph.initializer:
        onnx.external_data_helper.set_external_data(weight, "weights that are not there")
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_network(str(path)).macs == 416_520


# ---------------------------------------------------------------- what PyTorch's exporters write


def exported(model, shape, path, how):
    torch = pytest.importorskip("torch")
    if how == "dynamo":
        pytest.importorskip("onnxscript")
    more = {"dynamo": True, "verbose": False, "external_data": False} if how == "dynamo" else {"dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(shape),), str(path), **more)
    return path


def torch_models():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Residual(nn.Module):
        def __init__(self, a=8, b=12):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, a, 3, bias=False), nn.BatchNorm2d(a), nn.ReLU6())
            self.inner = nn.Conv2d(a, b, 3, padding=1, groups=2)
            self.back = nn.Conv2d(b, a, 1)
            self.deconv = nn.ConvTranspose2d(a, 6, 3, stride=2, output_padding=1)
            self.head = nn.Linear(6, 10)

        def forward(self, x):
            x = self.stem(x)
            x = self.deconv(x + self.back(self.inner(x)))
            return self.head(x.mean((2, 3)))

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(12, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    return {
        "residual": (Residual, (2, 3, 16, 16)),
        "encoder": (lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), (1, 10, 64)),
        "attention": (lambda: nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Conv1d(10, 4, 3)), (1, 10, 64)),
        "recurrent": (Recurrent, (2, 7, 5)),
    }


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("residual", "script"), ("residual", "dynamo"), ("attention", "script"), ("attention", "dynamo"),
        ("recurrent", "script"), ("recurrent", "dynamo"), ("encoder", "dynamo"),
    ],
)  # fmt: skip
def test_exported_modules_are_what_the_modules_are(tmp_path, name, how):
    torch = pytest.importorskip("torch")
    from hwcost.importers import from_torch

    make, shape = torch_models()[name]
    torch.manual_seed(0)
    model = make().eval()
    for tensor_ in (*model.parameters(), *(each for each in model.buffers() if each.is_floating_point())):
        tensor_.data = torch.rand_like(tensor_) + 0.5  # equal tensors become one in the file
    network = from_onnx(exported(model, shape, tmp_path / "net.onnx", how))
    expected = from_torch(model, shape)
    assert not network.unsupported
    assert network.macs == expected.macs
    if name in ("residual", "attention"):
        assert sizes_of(network) == sizes_of(expected)
        free = {key: width for key, width in network.widths.items() if not width.fixed}
        assert free == {key: width for key, width in expected.widths.items() if not width.fixed}
    if name == "encoder":
        assert network.macs == 340_480


@pytest.mark.parametrize("how", ["script", "dynamo"])
@pytest.mark.parametrize("rows", ["x.shape[0]", "4"])
def test_an_exported_latent_that_is_drawn(tmp_path, how, rows):
    """What is behind it depends on no input, and runs each time."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Linear(8, 8)
            self.dec = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))

        def forward(self, x):
            drawn = torch.randn(x.shape[0], 64) if rows == "x.shape[0]" else torch.randn(4, 64)
            return self.enc(x) + self.dec(drawn)

    network = from_onnx(exported(Decoder().eval(), (4, 8), tmp_path / "net.onnx", how))
    assert network.macs == 9472
    assert not network.unsupported


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_branch_on_a_buffer(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("big", torch.rand(5000))
            self.first, self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 6), nn.Linear(8, 6)

        def forward(self, x):
            x = self.first(x)
            if bool(self.big.max() > 0.5):
                return self.a(x)
            return self.b(x)

    network = from_onnx(exported(torch.jit.script(Net().eval()), (4, 8), tmp_path / "net.onnx", "script"))
    assert network.macs == 448
    assert "then_branch of 192 MACs" in network.notes[0]


@pytest.mark.parametrize(("library", "name"), [("onnx", "net.onnx"), ("torch", "net.py")])
def test_a_missing_file_is_named_before_a_missing_library(tmp_path, library, name):
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from hwcost import HwcostError\n"
        "from hwcost.importers import read_network\n"
        "try: read_network(sys.argv[2])\n"
        "except HwcostError as error: print(error)"
    )
    source = f"{tmp_path / name}{':Net' if library == 'torch' else ''}"
    assert "No such file" in python(code, library, source).stdout
    (tmp_path / name).touch()
    assert f'pip install "hwcost[{library}]"' in python(code, library, source).stdout


# ---------------------------------------------------------------- files that somebody made to do harm


def _written(tmp_path, nodes, functions=(), inputs=(("x", (1, 4, 8, 8)), ("w", (4, 4, 3, 3)))):
    given = [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs]
    graph = helper.make_graph(nodes, "net", given, [helper.make_tensor_value_info("y", 1, None)])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=list(functions), opset_imports=opsets)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_no_groups_at_all_is_one_line(tmp_path):
    path = _written(tmp_path, [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=0)])
    with pytest.raises(InvalidValueError, match="conv"):
        from_onnx(path)


def test_an_if_without_branches_is_one_line(tmp_path):
    always = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", 9, (), [True]))
    path = _written(tmp_path, [always, helper.make_node("If", ["c"], ["y"], name="choice")])
    with pytest.raises(InvalidValueError):
        from_onnx(path)


def _doubling(depth, last="Relu"):
    """Functions each of which calls the one before twice."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    for i in range(depth):
        called, domain = (f"f{i - 1}", "own") if i else (last, "")
        nodes = [
            helper.make_node(called, ["a"], ["b"], domain=domain),
            helper.make_node(called, ["b"], ["c"], domain=domain),
        ]
        yield helper.make_function("own", f"f{i}", ["a"], ["c"], nodes, opsets)


def test_functions_that_grow_without_bounds_are_refused(tmp_path):
    path = _written(tmp_path, [helper.make_node("f39", ["x"], ["y"], domain="own")], _doubling(40))
    with pytest.raises(InvalidValueError, match="with its functions inlined, it has more than 1000000 nodes"):
        from_onnx(path)


def test_functions_that_call_themselves(tmp_path):
    function = helper.make_function(
        "own", "f0", ["a"], ["b"], [helper.make_node("f0", ["a"], ["b"], domain="own")], [helper.make_opsetid("own", 1)]
    )
    path = _written(tmp_path, [helper.make_node("f0", ["x"], ["y"], domain="own")], [function])
    with pytest.raises(InvalidValueError, match="f0"):
        from_onnx(path)


def test_functions_that_grow_inside_of_branches_are_refused(tmp_path):
    def both(graph):
        return helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)

    *functions, _ = _doubling(41)
    body = helper.make_graph([helper.make_node("f39", ["x"], ["z"], domain="own")], "body", [], [info("z", None)])
    with pytest.raises(InvalidValueError, match="it has more than 1000000 nodes"):
        from_onnx(_written(tmp_path, [both(body)], functions))
    functions[0].node[0].CopyFrom(both(body))
    with pytest.raises(InvalidValueError, match="it calls itself"):
        from_onnx(_written(tmp_path, [helper.make_node("f39", ["x"], ["y"], domain="own")], functions))


def _chain(depth):
    """Functions of which each calls the one before."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    calls = [helper.make_node("Relu", ["a"], ["b"])]
    calls += [helper.make_node(f"f{i}", ["a"], ["b"], domain="own") for i in range(depth - 1)]
    return [helper.make_function("own", f"f{i}", ["a"], ["b"], [call], opsets) for i, call in enumerate(calls)]


def test_functions_may_call_functions(tmp_path):
    nodes = [helper.make_node("f79", ["x"], ["h"], domain="own"), helper.make_node("Conv", ["h", "w"], ["y"])]
    network = from_onnx(_written(tmp_path, nodes, _chain(80)))
    assert next(iter(network.priced.values())).layer == Conv2d(4, 4, 3, height=8, width=8)


@pytest.mark.parametrize("depth", [200, 3000, 20_000])
def test_a_chain_of_functions_is_one_line(tmp_path, depth):
    node = helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="own")
    with pytest.raises(InvalidValueError, match="100 deep"):
        from_onnx(_written(tmp_path, [node], _chain(depth)))


@pytest.mark.parametrize("kind", ["Concat", "Tile", "Gather"])
def test_a_shape_that_doubles_takes_no_memory(kind):
    """What is known about small integers is not kept once they are many."""
    steps = {
        "Concat": lambda i: node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0),
        "Tile": lambda i: node("Tile", [f"s{i}", "two"], [f"s{i + 1}"]),
        "Gather": lambda i: node("Gather", [f"s{i}", "places"], [f"s{i + 1}"]),
    }
    nodes = [node("Shape", ["x"], ["s0"], start=0, end=1), *map(steps[kind], range(41))]
    weights = [tensor("w", (4, 5)), numbers("two", [2]), numbers("places", [0, 0])]
    network = network_of(build([*nodes, node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [(3, 4)]}, weights))
    assert only(network) == Linear(4, 5, batch=3)


def test_a_circle_behind_a_long_chain():
    chain = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(30_000)]
    circle = [node("Add", ["v7", "b"], ["c"], name="one"), node("Relu", ["c"], ["b"])]
    with pytest.raises(InvalidValueError, match="'one' cannot be used: it needs its own result"):
        network_of(build([*chain, *circle], {"v0": [(3, 4)]}))


def test_a_long_graph_shows_progress_on_a_terminal(tmp_path, capsys, monkeypatch):
    from hwcost.cli import main

    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    chain = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(20_000)]
    nodes = [node("MatMul", ["x", "w"], ["v0"]), *chain]
    path = tmp_path / "long.onnx"
    path.write_bytes(build(nodes, {"x": [(3, 4)]}, [tensor("w", (4, 5))]).SerializeToString())
    assert main(["model", str(path), "--s1", "4", "--s2", "4", "--top", "1"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "of 20,001 nodes" in line]
    assert len(lines) == 10
    assert lines[-1] == "100 % of 20,001 nodes"


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize(("directions", "direction"), [(2**40, "forward"), (3, "bidirectional"), (2, "reverse")])
def test_weights_of_other_directions_are_refused(kind, gates, directions, direction):
    weights = [
        TensorProto(name=name, dims=(directions, gates, size), data_type=FLOAT) for name, size in (("w", 4), ("r", 1))
    ]
    nodes = [node(kind, ["x", "w", "r"], ["y"], name="rnn", hidden_size=1, direction=direction)]
    network = network_of(build(nodes, {"x": [(3, 2, 4)]}, weights))
    assert "direction" in str(network["rnn"])


# ---------------------------------------------------------------- compared


def test_graphs_with_other_dynamic_sizes_are_compared(tmp_path, capsys, monkeypatch):
    from hwcost.cli import main

    monkeypatch.chdir(tmp_path)
    for name, dim in (("n", "N"), ("b", "B"), ("fixed", 2)):
        given = [helper.make_tensor_value_info("x", 1, (dim, 4)), helper.make_tensor_value_info("w", 1, (4, 3))]
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], name, given, [helper.make_tensor_value_info("y", 1, None)]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    models = ["n.onnx", "b.onnx", "fixed.onnx", "--s1", "4", "--s2", "4"]
    assert main(["compare", *models, "--dim", "N=1", "--dim", "B=2", "--json"]) == 0
    capsys.readouterr()
    assert main(["compare", *models, "--dim", "N=1", "--dim", "B=2", "--dim", "C=3"]) == 2
    assert "'C'" in capsys.readouterr().err
    assert main(["compare", *models, "--dim", "N=1"]) == 2
    assert "'B'" in capsys.readouterr().err


def test_channels_among_the_rows_of_a_product_stay_free():
    """A product over positions: the images and the channels are its rows."""
    nodes = [node("Conv", ["x", "v"], ["a"], name="a"), node("MatMul", ["a", "w"], ["b"], name="b"),
             node("Conv", ["b", "u"], ["c"], name="c")]  # fmt: skip
    weights = [tensor("v", (8, 3, 1)), tensor("w", (5, 7)), tensor("u", (2, 8, 1))]
    network = network_of(build(nodes, {"x": [(4, 3, 5)]}, weights))
    assert network["b"] == Linear(5, 7, batch=4 * 8)
    assert network.at({"a": 6})["b"] == Linear(5, 7, batch=4 * 6)


# ---------------------------------------------------------------- graphs in memory


def test_a_model_in_memory_is_read_as_its_file_and_stays_as_it_is():
    model = build([node("Conv", ["x", "w"], ["y"])], {"x": [(1, 3, 8, 8)]}, [tensor("w", (64, 3, 7, 7))])
    before = model.SerializeToString(deterministic=True)
    assert dict(from_onnx(model).items()) == dict(network_of(model).items())
    assert model.SerializeToString(deterministic=True) == before
    assert from_onnx(model).name == model.graph.name


def test_what_an_export_returns_is_read():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(torch.nn.Linear(6, 5).eval(), (torch.zeros(2, 6),), dynamo=True, verbose=False)
    assert only(from_onnx(program)) == Linear(6, 5, batch=2)


@pytest.mark.parametrize("source", [3, None, b"net.onnx", ["net.onnx"]], ids=repr)
def test_what_is_no_graph_is_refused(source):
    with pytest.raises(InvalidValueError, match=r"the path of an ONNX file, an onnx\.ModelProto"):
        from_onnx(source)
