"""Readers of models state which operation reads which result: through views, in bodies, where it is overwritten."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

from hwcost import Linear, from_torch
from hwcost.importers import from_onnx, rules
from hwcost.network.flow import flow_without, liveness, tensors_of
from hwcost.network.operations import MemoryOnly, Unsupported

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("tflite")

import graphs  # noqa: E402
import lite  # noqa: E402
from graphs import MS, build, info, inner, node, numbers, tensor  # noqa: E402
from torch import nn  # noqa: E402
from torch._higher_order_ops.map import map as torch_map  # noqa: E402
from torch._higher_order_ops.scan import scan  # noqa: E402
from torch._higher_order_ops.while_loop import while_loop  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from common import real_models  # noqa: E402


class Net(nn.Module):
    """Layers, and a forward that is given."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
        self.register_buffer("kept", torch.zeros(4, 8))
        self.norm = nn.BatchNorm1d(8)
        self.function = forward
        self.eval()

    def forward(self, *x):
        return self.function(self, *x)


def of(forward, *shapes, **more):
    return from_torch(Net(forward), list(shapes or ((4, 8),)), **more)


def edges(network):
    return {name: each.inputs for name, each in network.operations.items()}


def shape_of(network, gone=()):
    """The edges by the places of operations: those of two networks whose operations have other names."""
    flow = flow_without(network.flow, gone)
    places = {name: place for place, name in enumerate(flow.inputs)} | {"": -1}
    return [tuple(places[each] for each in reads) for reads in flow.inputs.values()], [
        places[each] for each in flow.outputs
    ]


# ---------------------------------------------------------------- whole networks


def loaded(name, **sizes):
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return getattr(real_models.loaded("torchvision"), name)(**sizes).eval()


WHOLE = {  # convolutions, products and norms read one result, additions two, and a dense layer all before it
    "resnet18": ({}, 64, 68 + 8),
    "mobilenet_v2": ({}, 64, 151 + 10),
    "densenet121": ({}, 64, 430 + sum(n * (n + 1) // 2 for n in (6, 12, 24, 16))),
    "VisionTransformer": (
        {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32},
        32,
        37 + 2 * 4,
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_operation_of_a_real_network_has_a_known_producer(name):
    sizes, side, count = WHOLE[name]
    network = from_torch(loaded(name, **sizes), (1, 3, side, side))
    found = edges(network)
    first, *others = found.items()
    assert first[1] == ("",)
    assert all(reads and "" not in reads for _, reads in others)
    adds = [name for name, each in network.operations.items() if each.kind == "add"]
    assert all(len(found[each]) == 2 for each in adds if each != "encoder:add")  # that adds a parameter
    assert sum(map(len, found.values())) == count
    tensors = tensors_of(network)
    assert len(tensors) == len(network) + 1
    assert [each.producer for each in tensors if each.is_output] == list(network)[-1:]
    assert [each.producer for each in tensors if not each.consumers] == list(network)[-1:]
    assert sum(len(each.consumers) for each in tensors) == count


def test_the_peak_of_a_real_network():
    """At the first norm: the map of 64 channels that it reads, and that which it makes."""
    alive = liveness(from_torch(loaded("resnet18"), (1, 3, 64, 64)))
    assert max(sum(each.elements for each in tensors) for tensors in alive.values()) == 2 * 64 * 32 * 32


@pytest.mark.parametrize("how", ["script", "dynamo"])
def test_an_exported_network_has_the_same_graph(tmp_path, how):
    if how == "dynamo":
        pytest.importorskip("onnxscript")
    model, path = loaded("resnet18"), str(tmp_path / "net.onnx")
    more = {"dynamo": True, "verbose": False, "external_data": False} if how == "dynamo" else {"dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 64, 64),), path, **more)
    network, expected = from_onnx(path), from_torch(model, (1, 3, 64, 64))
    norms = [name for name, each in expected.operations.items() if each.kind == "native_batch_norm"]
    views = [name for name, each in network.memory_only.items() if each.layer == MemoryOnly(each.kind)]
    assert len(views) == 1
    assert shape_of(network, views) == shape_of(expected, norms)
    assert list(network.priced) == list(expected.priced)
    consumers = [len(each.consumers) for each in tensors_of(network)]
    assert consumers == [len(each.consumers) for each in tensors_of(expected) if each.producer not in norms]


def test_a_tflite_file_has_the_same_graph():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
            self.head = nn.Linear(8, 10)

        def forward(self, x):
            x = self.stem(x)
            return self.head((self.a(x) + self.b(x)).mean((2, 3)))

    net = lite.Net()
    x = net.conv(net.input("x", (1, 9, 9, 3)), "stem", 8)
    both = [net.conv(x, name, 8, padding=lite.VALID) for name in ("a", "b")]
    net.linear(net.mean(net.elementwise("ADD", "add", *both), "mean"), "head", 10)
    assert shape_of(lite.network_of(net)) == shape_of(from_torch(Residual().eval(), (1, 3, 9, 9)))


def test_a_residual_network_of_tflite():
    network = lite.network_of(lite.resnet())
    adds = {name: reads for name, reads in edges(network).items() if network.operations[name].kind == "ADD"}
    assert adds == {
        "add0:ADD": ("stem", "b0"), "add1:ADD": ("short1", "b1"), "add2:ADD": ("short2", "b2")
    }  # fmt: skip
    assert network.outputs == ("head",)


def test_attention_in_a_graph():
    network = graphs.network_of(graphs.attention(hidden=128))
    found = edges(network)
    assert found["scores"] == ("q.t", "k.t")
    assert found["values"] == ("p", "v.t")
    assert (found["sum"], found["y"]) == (("", "out (2)"), ("norm", "fc2 (2)"))
    (given, *_) = tensors_of(network)
    assert given.consumers == ("q", "k", "v", "sum")
    by_name = {each.producer: each for each in tensors_of(network)}
    assert by_name["q (2)"].consumers == ("q.t",)  # through a reshape
    assert "q.r" not in by_name


# ---------------------------------------------------------------- what is written to in place


def test_a_module_that_is_called_twice():
    network = of(lambda self, x: self.a(self.a(x).relu()) + x)
    assert edges(network) == {"a": ("",), "relu": ("a",), "a (2)": ("relu",), "add": ("a (2)", "")}


def test_in_place_operators_make_what_their_memory_holds():
    def forward(self, x):
        y = self.a(x)
        flat = y.view(-1)
        y.relu_()
        return self.b(flat.view(4, 8)) + y

    assert edges(of(forward)) == {"a": ("",), "relu": ("a",), "b": ("relu",), "add": ("b", "relu")}


def test_writing_to_a_part_leaves_the_rest():
    def forward(self, x):
        y = self.a(x)
        y[:, :3] = self.b(x)[:, :3]
        return self.c(y)

    assert edges(of(forward)) == {"a": ("",), "b": ("",), "copy": ("b",), "c": ("a", "copy")}


def test_writing_to_the_whole_replaces_it():
    def forward(self, x):
        y = self.a(x)
        y.copy_(self.b(x))
        return self.c(y)

    assert edges(of(forward)) == {"a": ("",), "b": ("",), "copy": ("b",), "c": ("copy",)}
    assert edges(of(lambda self, x: self.c(self.a(x).zero_() + x)))["add"] == ("",)


def test_parts_that_are_written_to_a_new_tensor():
    def forward(self, x):
        y = torch.empty(4, 16)
        y[:, :8], y[:, 8:] = self.a(x), self.b(x)
        return y.clone()

    assert edges(of(forward))["clone"] == ("copy", "copy (2)")


def test_a_buffer_that_is_written_to():
    def forward(self, x):
        self.kept[:2] = self.a(x)[:2]
        return self.b(self.kept)

    assert edges(of(forward)) == {"a": ("",), "copy": ("a",), "b": ("copy",)}


def test_a_constant_with_values_that_is_written_to():
    def forward(self, x):
        table = torch.ones(4, 8, device="cpu")
        table[1:] = self.a(x)[1:]
        return self.b(table.to(x.device))

    found = edges(of(forward))
    assert found["copy"] == ("a",)
    assert found["b"] in (("copy",), ("to_copy",))


def test_operators_that_write_to_an_argument():
    def forward(self, x):
        y = torch.empty(4, 8, device=x.device)
        torch.mul(self.a(x), self.b(x), out=y)
        return self.c(y)

    found = edges(of(forward))
    assert (found["mul"], found["c"]) == (("a", "b"), ("mul",))


def test_statistics_of_norms_are_no_results():
    model = Net(lambda self, x: self.norm(self.a(self.norm(x)))).train()
    found = edges(from_torch(model, (4, 8)))
    assert found == {"norm": ("",), "a": ("norm",), "norm:native_batch_norm": ("a",)}


# ---------------------------------------------------------------- views, parts and constants


def test_views_are_passed_through():
    def forward(self, x):
        q, k, v = torch.cat([self.a(x), self.b(x), self.c(x)], 1).chunk(3, 1)
        return (q @ k.t()).softmax(-1) @ v, q.detach()[0]

    network = of(forward)
    assert edges(network) == {
        "a": ("",), "b": ("",), "c": ("",), "cat": ("a", "b", "c"), "scores": ("cat",),
        "softmax": ("scores",), "values": ("softmax", "cat"),
    }  # fmt: skip
    assert network.outputs == ("values", "cat")


def test_what_is_returned_as_it_came_is_no_result():
    assert of(lambda self, x: (self.a(x), x)).outputs == ("a",)


def test_constants_and_parameters_are_no_inputs():
    def forward(self, x):
        mask = torch.arange(8, device=x.device) > 3
        return self.b(self.a(x).masked_fill(mask, 0) + torch.ones_like(x) + self.kept + self.c.weight[:4])

    found = edges(of(forward))
    assert (found["gt"], found["masked_fill"]) == ((), ("a", "gt"))
    assert found["b"] == ("add (3)",)
    assert found["add"] == ("masked_fill",)
    assert found["add (3)"] == ("add (2)",)


def test_products_of_two_results_read_both():
    found = edges(of(lambda self, x, y: self.a(x) @ self.b(y).t(), (4, 8), (5, 8)))
    assert found["mm"] == ("a", "b")


def test_repeated_heads_are_passed_through():
    def forward(self, x):
        k = self.a(x).view(2, 1, 4, 4).expand(2, 3, 4, 4).reshape(6, 4, 4)
        return k @ k.mT

    assert edges(of(forward))["bmm"] == ("a",)


# ---------------------------------------------------------------- operators of several layers


def test_attention_as_one_operator():
    from torch.nn.attention.flex_attention import flex_attention

    def forward(self, x):
        q, k, v = (layer(x).view(1, 1, 16, 8) for layer in (self.a, self.b, self.c))
        return flex_attention(q, k, v)

    network = of(forward, (16, 8))
    scores, values = list(network)[-2:]
    assert edges(network)[scores] == ("a", "b")
    assert edges(network)[values] == (scores, "c")
    assert network.outputs == (values,)


def test_a_product_of_three_operands():
    x = {"x": [(4, 5)], "y": [(5, 6)], "z": [(6, 7)]}
    nodes = [node("Relu", [name], [f"{name}r"], name=f"{name}r") for name in x]
    nodes.append(node("Einsum", ["xr", "yr", "zr"], ["out"], name="sum", equation="ab,bc,cd->ad"))
    network = graphs.network_of(build(nodes, x))
    first, last = list(network)[-2:]
    assert (edges(network)[first], edges(network)[last]) == (("xr", "yr"), (first, "zr"))
    nodes[-1] = node("Einsum", ["xr", "yr", "zr"], ["out"], name="sum", equation="ab,bc,ab->ac")
    network = graphs.network_of(build(nodes, x | {"z": [(4, 5)]}))
    assert set(edges(network)[list(network)[-1]]) >= {"yr", "zr"}


def recurrent(**more):
    directions = 2 if more else 1
    weights = [tensor("w", (directions, 4 * 6, 5)), tensor("r", (directions, 4 * 6, 6))]
    nodes = [node("Relu", ["x"], ["xr"], name="first")]
    nodes.append(node("LSTM", ["xr", "w", "r"], ["y"], name="rnn", hidden_size=6, **more))
    nodes.append(node("Relu", ["y"], ["out"], name="last"))
    return graphs.network_of(build(nodes, {"x": [(7, 2, 5)]}, weights))


def test_a_recurrent_net_of_a_graph():
    network = recurrent()
    found = edges(network)
    assert list(found.values()) == [("",), ("first",), ("rnn:input",), ("rnn:state",)]
    network = recurrent(direction="bidirectional")
    found = edges(network)
    assert found["last"] == ("rnn:state", "rnn:state (2)")
    assert (found["rnn:input (2)"], found["rnn:state (2)"]) == (("first",), ("rnn:input (2)",))


def test_projection_and_attention_of_one_node():
    nodes = [
        node("Relu", ["x"], ["xr"], name="first"),
        node("Attention", ["xr", "w", "b"], ["y"], name="attn", domain=MS, num_heads=2),
    ]
    network = graphs.network_of(build(nodes, {"x": [(1, 4, 8)]}, [tensor("w", (8, 24)), tensor("b", (24,))]))
    assert list(edges(network).values()) == [
        ("",), ("first",), ("attn:projection",), ("attn:scores", "attn:projection")
    ]  # fmt: skip
    assert network.outputs == ("attn:values",)


def test_attention_with_a_past():
    nodes = [node("Relu", [name], [f"{name}r"], name=name) for name in ("q", "k", "v", "pk", "pv")]
    nodes.append(node("Attention", ["qr", "kr", "vr", "", "pkr", "pvr"], ["y", "nk", "nv"], name="attn"))
    inputs = {name: [(1, 2, 4, 8)] for name in ("q", "k", "v", "pk", "pv")}
    network = graphs.network_of(build(nodes, inputs, opset=23))
    assert edges(network)["attn:scores"] == ("q", "k", "pk")
    assert edges(network)["attn:values"] == ("attn:scores", "v", "pv")


def test_a_recurrent_net_of_torch():
    network = from_torch(nn.Sequential(nn.Linear(5, 5), nn.GRU(5, 6)).eval(), (7, 2, 5))
    found = edges(network)
    assert all(reads is not None for reads in found.values())
    assert found["1:weight_ih_l0"] == ("0",)
    assert set(found["1"]) == {"1:weight_ih_l0", "1:weight_hh_l0"}  # their sum
    assert set(network.outputs) == {name for name in found if name.startswith("1:stack")}


def test_rows_of_the_callers_own():
    def two(call):
        first = rules.LoweredLayer(Linear(8, 8, batch=4), "one")
        return [first, rules.LoweredLayer(Linear(8, 8, batch=4), "two")]

    def apart(call):
        return [rules.LoweredLayer(Linear(8, 8, batch=4), kind, reads=call.inputs) for kind in ("one", "two")]

    def forward(self, x):
        return self.b(self.norm(self.a(x)))

    for row, reads, last in ((two, "norm:one", ("norm:two",)), (apart, "a", ("norm:one", "norm:two"))):
        found = edges(of(forward, modules={nn.BatchNorm1d: row}))
        assert found == {"a": ("",), "norm:one": ("a",), "norm:two": (reads,), "b": last}


# ---------------------------------------------------------------- smaller networks


def test_a_network_without_blocks_is_that_of_the_module_without_them():
    from hwcost.pruning.blocks import network_without

    model = loaded("resnet18")
    network = network_without(from_torch(model, (1, 3, 64, 64)), ["layer1.1", "layer3.1"])
    model.layer1[1], model.layer3[1] = nn.Identity(), nn.Identity()
    expected = from_torch(model, (1, 3, 64, 64))
    assert edges(network) == edges(expected)
    assert tensors_of(network) == tensors_of(expected)


def test_a_smaller_network_keeps_its_edges():
    from hwcost.importers.torch.resize import resized
    from hwcost.pruning.steps import at_sizes

    model = loaded("resnet18")
    network = from_torch(model, (1, 3, 64, 64))
    sizes = {"conv1": 48, "layer2.0.conv1": 64}
    smaller = at_sizes(network, sizes)
    assert edges(smaller) == edges(from_torch(resized(model, network, sizes), (1, 3, 64, 64))) == edges(network)
    assert tensors_of(smaller) == tensors_of(network.at(sizes))


# ---------------------------------------------------------------- bodies


def test_branches():
    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda x: self.b(self.a(x)), self.c, (x,))
        return self.c(y)

    found = edges(of(forward))
    assert (found["b"], found["c"]) == (("a",), ("b",))


def test_bodies_that_run_often():
    def forward(self, x):
        rows = torch_map(lambda row: self.b(self.a(row)), self.c(x))
        return rows + x

    found = edges(of(forward, (5, 4, 8)))
    assert (found["a"], found["b"], found["add"]) == (("c",), ("a",), ("b", ""))


def test_a_scan_over_rows():
    def forward(self, x):
        last, rows = scan(lambda h, x: (self.a(h) + x, self.b(x)), self.kept, x)
        return last, rows

    network = of(forward, (5, 4, 8))
    found = edges(network)
    assert (found["a"], found["b"]) == ((), ("",))
    assert set(network.outputs) == {"add", "b"}


def test_a_loop_that_values_end_is_one_operation():
    def forward(self, x):
        (y,) = while_loop(lambda y: y.sum() < 5, lambda y: (self.a(y),), (self.b(x),))
        return self.c(y)

    network = of(forward)
    (loop,) = network.unsupported
    found = edges(network)
    assert (found[loop], found["c"]) == (("b",), (loop,))
    assert tensors_of(network) is None


def test_what_ran_before_an_error():
    def forward(self, x):
        return self.b(x[: int(self.a(x).sum())])

    network = of(forward, partial=True)
    assert network.outputs is None
    assert edges(network)["the rest"] is None
    assert tensors_of(network) is None


def scanned(times):
    body = inner(
        [node("MatMul", ["s", "w"], ["m"], name="product"), node("Add", ["m", "row"], ["t"], name="sum"),
         node("Identity", ["t"], ["u"])],
        [info("t", (1, 8)), info("u", (1, 8))], [info("s", (1, 8)), info("row", (1, 8))],
    )  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["xr"], name="first"),
        node("Scan", ["start", "xr"], ["last", "rows"], body=body, num_scan_inputs=1, name="scan"),
        node("Add", ["last", "rows"], ["out"], name="out"),
    ]
    return graphs.network_of(build(nodes, {"x": [(times, 1, 8)], "start": [(1, 8)]}, [tensor("w", (8, 8))]))


def test_a_scan_of_a_graph_run_by_run():
    found = edges(scanned(3))
    assert (found["product"], found["product (2)"]) == (("",), ("sum",))
    assert found["sum (3)"] == ("product (3)", "first")
    assert set(found["out"]) == {"sum (3)", *(name for name in found if name.startswith("u"))}


def test_a_long_scan_of_a_graph():
    found = edges(scanned(30_000))
    assert found["sum"] == ("product", "first")
    assert found["product"] == ("",)  # and the state of the former run
    assert "sum" in found["out"]


def test_a_branch_of_a_graph():
    branches = {
        f"{name}_branch": inner([node("MatMul", ["xr", weight], [f"{name}m"], name=name)], [info(f"{name}m", (4, 8))])
        for name, weight in (("then", "w"), ("else", "w"))
    }
    nodes = [
        node("Relu", ["x"], ["xr"], name="first"),
        node("If", ["yes"], ["y"], **branches),
        node("Relu", ["y"], ["out"], name="last"),
    ]
    inputs = {"x": [(4, 8)], "yes": [(), graphs.BOOL]}
    network = graphs.network_of(build(nodes, inputs, [tensor("w", (8, 8))]))
    (taken,) = network.priced
    assert edges(network) == {"first": ("",), taken: ("first",), "last": (taken,)}


def test_a_loop_of_a_graph_that_values_end():
    body = inner(
        [node("MatMul", ["s", "w"], ["m"], name="product"), node("ReduceSum", ["m"], ["sum"], keepdims=0),
         node("Less", ["sum", "limit"], ["goes"])],
        [info("goes", (), graphs.BOOL), info("m", (4, 8))],
        [info("i", (), graphs.INT64), info("c", (), graphs.BOOL), info("s", (4, 8))],
    )  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["xr"], name="first"),
        node("Loop", ["", "", "xr"], ["y"], body=body, name="loop"),
        node("Relu", ["y"], ["out"], name="last"),
    ]
    weights = [tensor("w", (8, 8)), numbers("limit", 5.0, "float32")]
    network = graphs.network_of(build(nodes, {"x": [(4, 8)]}, weights))
    assert isinstance(network["loop"], Unsupported)
    assert edges(network) == {"first": ("",), "loop": ("first",), "last": ("loop",)}


def test_sequences_hold_results():
    nodes = [
        node("Relu", ["x"], ["a"], name="a"),
        node("Sigmoid", ["x"], ["b"], name="b"),
        node("SequenceConstruct", ["a", "b"], ["both"]),
        node("SequenceAt", ["both", "one"], ["c"]),
        node("MatMul", ["c", "w"], ["d"], name="d"),
        node("ConcatFromSequence", ["both"], ["e"], name="e", axis=0),
        node("SplitToSequence", ["d"], ["parts"], name="split", axis=0),
        node("ConcatFromSequence", ["parts"], ["f"], name="f", axis=0),
    ]
    network = graphs.network_of(build(nodes, {"x": [(4, 8)]}, [tensor("w", (8, 8)), numbers("one", 1)]))
    found = edges(network)
    assert (found["d"], found["e"], found["f"]) == (("b",), ("a", "b"), ("split",))


def test_what_a_graph_makes_of_weights_alone_is_no_input():
    nodes = [node("Relu", ["w"], ["wr"]), node("MatMul", ["x", "wr"], ["y"], name="fc")]
    network = graphs.network_of(build(nodes, {"x": [(4, 8)]}, [tensor("w", (8, 8))]))
    assert edges(network) == {"fc": ("",)}


def test_called_graphs_of_tflite():
    net, body = lite.Net(), lite.Net()
    body.linear(body.input("y", (4, 8)), "inner", 8, 4)
    x = net.elementwise("RELU", "first", net.input("x", (4, 8)))
    x = net.op("CALL", [x], {"called": (4, 8)}, Subgraph=1)
    net.linear(x, "last", 3, 4)
    network = lite.network_of(net, body)
    assert edges(network) == {"first": ("",), "inner": ("first",), "last": ("inner",)}
