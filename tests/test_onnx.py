"""ONNX graphs: hand counts, every operator that multiplies, widths that follow, and files that are refused."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import python

from hwcost import Conv2d, Gemm, InvalidValueError, Linear, MatMul, SystolicArray, network_cost
from hwcost.importers import read_network
from hwcost.network.operations import MemoryOnly, Unsupported

onnx = pytest.importorskip("onnx")

from graphs import FLOAT, INT8, INT64, MS, UINT8, build, info, node, numbers, tensor  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from hwcost.importers import from_onnx  # noqa: E402
from hwcost.importers.naming import words  # noqa: E402
from hwcost.importers.onnx.table import AXES, FREE, PRODUCTS  # noqa: E402


@pytest.fixture
def read(tmp_path):
    """Writes a model and reads it."""
    count = itertools.count()

    def reading(model, **more):
        path = tmp_path / f"net{next(count)}.onnx"
        path.write_bytes(model.SerializeToString())
        return from_onnx(path, **more)

    return reading


def only(network):
    """The one priced layer of a network, or all if there are several."""
    layers = [each.layer for each in network.priced.values()]
    return layers[0] if len(layers) == 1 else layers


def sizes_of(network):
    return {name: [(g.m, g.n, g.k, g.count) for g in network[name].gemms()] for name in network.priced}


# ---------------------------------------------------------------- networks


def lenet(conv1=6, conv2=16, fc1=120, fc2=84, batch=1):
    nodes = [
        node("Conv", ["x", "conv1.weight", "conv1.bias"], ["c1"], name="conv1", pads=[2, 2, 2, 2]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "conv2.weight"], ["c2"], name="conv2"),
        node("AveragePool", ["c2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p2"], ["flat"]),
        node("Gemm", ["flat", "fc1.weight", "fc1.bias"], ["f1"], name="fc1", transB=1),
        node("MatMul", ["f1", "fc2.weight"], ["m2"], name="fc2"),
        node("Add", ["m2", "fc2.bias"], ["f2"]),
        node("Gemm", ["f2", "fc3.weight"], ["y"], name="fc3"),
    ]
    weights = [
        tensor("conv1.weight", (conv1, 1, 5, 5)), tensor("conv1.bias", (conv1,)),
        tensor("conv2.weight", (conv2, conv1, 5, 5)), tensor("fc1.weight", (fc1, conv2 * 25)),
        tensor("fc1.bias", (fc1,)), tensor("fc2.weight", (fc1, fc2)), tensor("fc2.bias", (fc2,)),
        tensor("fc3.weight", (fc2, 10)),
    ]  # fmt: skip
    return build(nodes, {"x": [(batch, 1, 28, 28)]}, weights)


def test_lenet_by_hand(read):
    network = read(lenet())
    assert network.macs == 416_520
    assert {name: network[name] for name in network.priced} == {
        "conv1": Conv2d(1, 6, 5, height=28, width=28, padding=2),
        "conv2": Conv2d(6, 16, 5, height=14, width=14),
        "fc1": Linear(400, 120),
        "fc2": Linear(120, 84),
        "fc3": Linear(84, 10),
    }
    assert network["relu1"] == MemoryOnly("Relu", 4704, 4704)
    assert network["flat"] == MemoryOnly("Flatten")
    assert network_cost(network, SystolicArray(16, 16)).total.cycles == 2822
    assert {name for name, width in network.widths.items() if not width.fixed} == {"conv1", "conv2", "fc1", "fc2"}


def attention(width=64, heads=4, tokens=10, hidden=0):
    """Multi-head attention, and where ``hidden`` is above 0 the feed-forward part behind it."""

    def linear(x, y, n, k):
        weights.append(tensor(f"{y}.weight", (k, n)))
        weights.append(tensor(f"{y}.bias", (n,)))
        nodes.append(node("MatMul", [x, f"{y}.weight"], [f"{y}.m"], name=y))
        nodes.append(node("Add", [f"{y}.m", f"{y}.bias"], [y]))

    nodes, weights = [], [numbers("heads", [0, 0, heads, width // heads]), numbers("all", [0, 0, width])]
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        linear("x", name, width, width)
        nodes.append(node("Reshape", [name, "heads"], [f"{name}.r"]))
        nodes.append(node("Transpose", [f"{name}.r"], [f"{name}.t"], perm=order))
    nodes += [
        node("MatMul", ["q.t", "k.t"], ["scores"], name="scores"),
        node("Softmax", ["scores"], ["p"]),
        node("MatMul", ["p", "v.t"], ["values"], name="values"),
        node("Transpose", ["values"], ["values.t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["values.t", "all"], ["joined"]),
    ]
    linear("joined", "out", width, width)
    last = "out"
    if hidden:
        nodes.append(node("Add", ["x", "out"], ["sum"]))
        weights.extend([tensor("scale", (width,)), tensor("shift", (width,))])
        nodes.append(node("LayerNormalization", ["sum", "scale", "shift"], ["norm"], axis=-1))
        linear("norm", "fc1", hidden, width)
        nodes.append(node("Gelu", ["fc1"], ["g"]))
        linear("g", "fc2", width, hidden)
        nodes.append(node("Add", ["norm", "fc2"], ["y"]))
        last = "y"
    return build(nodes, {"x": [(1, tokens, width)]}, weights, [helper.make_value_info(last, onnx.TypeProto())])


def test_attention_by_hand(read):
    network = read(attention())
    assert network.macs == 176_640
    assert network["scores"] == MatMul(10, 10, 16, batch=4)
    assert network["values"] == MatMul(10, 16, 10, batch=4)
    assert network["q"] == Linear(64, 64, batch=10)
    assert read(attention(hidden=128)).macs == 340_480
    assert [n for n, w in read(attention(hidden=128)).widths.items() if not w.fixed] == ["fc1"]


# ---------------------------------------------------------------- every product

CONV = ["x", "w"]


@pytest.mark.parametrize(
    ("x", "w", "stated", "layer"),
    [
        ((2, 3, 9, 8), (4, 3, 3, 2), {}, Conv2d(3, 4, (3, 2), 9, 8, batch=2)),
        ((1, 6, 9, 8), (4, 3, 3, 3), {"group": 2, "strides": [2, 1]}, Conv2d(6, 4, 3, 9, 8, stride=(2, 1), groups=2)),
        ((1, 6, 9, 8), (12, 1, 3, 3), {"group": 6, "dilations": [2, 1]},
         Conv2d(6, 12, 3, 9, 8, dilation=(2, 1), groups=6)),
        ((1, 3, 9, 8), (4, 3, 3, 3), {"pads": [1, 0, 1, 0]}, Conv2d(3, 4, 3, 9, 8, padding=(1, 0))),
        ((1, 3, 9, 8), (4, 3, 3, 3), {"pads": [0, 1, 1, 1]}, Conv2d(3, 4, 3, 10, 8, padding=(0, 1))),
        ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
         Conv2d(3, 4, (4, 3), 9, 8, stride=(2, 3), padding="same")),
        ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_LOWER"}, Conv2d(3, 4, (4, 3), 9, 8, padding="same")),
        ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "VALID"}, Conv2d(3, 4, (4, 3), 9, 8)),
        ((2, 3, 20), (4, 3, 5), {"pads": [2, 2], "strides": [2]},
         Conv2d(3, 4, (1, 5), 1, 20, batch=2, stride=(1, 2), padding=(0, 2))),
        ((2, 3, 20), (4, 3, 5), {"pads": [4, 0], "dilations": [2]},
         Conv2d(3, 4, (1, 5), 1, 24, batch=2, dilation=(1, 2))),
        ((2, 4, 6, 7, 8), (6, 2, 3, 3, 2), {"group": 2, "strides": [1, 2, 1]},
         Gemm(2 * 4 * 3 * 7, 3, 2 * 18, 2, window=(3, 3, 2), inputs=(2, 4, 6, 7, 8))),
    ],
)  # fmt: skip
def test_convolutions(read, x, w, stated, layer):
    network = read(build([node("Conv", CONV, ["y"], name="conv", **stated)], {"x": [x]}, [tensor("w", w)]))
    assert only(network) == layer
    assert only(network).gemms() == layer.gemms()
    pads = stated.get("pads", [])
    assert bool(network.notes) == (pads[: len(pads) // 2] != pads[len(pads) // 2 :])


@pytest.mark.parametrize(
    ("x", "w", "stated", "layer"),
    [
        ((2, 6, 5, 4), (6, 8, 3, 2), {"strides": [2, 2], "output_padding": [1, 1]}, Gemm(2 * 20, 48, 6)),
        ((1, 6, 5, 4), (6, 4, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}, Gemm(20, 36, 3, 2)),
        ((1, 6, 5), (6, 4, 3), {}, Gemm(5, 12, 6)),
        ((1, 6, 2, 5, 4), (6, 4, 3, 3, 3), {}, Gemm(40, 108, 6)),
    ],
)
def test_transposed_convolutions(read, x, w, stated, layer):
    assert only(read(build([node("ConvTranspose", CONV, ["y"], **stated)], {"x": [x]}, [tensor("w", w)]))) == layer


def layers_of(read, kind, a, b, *, domain="", b_is_weight, **stated):
    inputs = {"a": [a]} if b_is_weight else {"a": [a], "b": [b]}
    return only(
        read(
            build(
                [node(kind, ["a", "b"], ["y"], domain=domain, **stated)],
                inputs,
                [tensor("b", b)] if b_is_weight else [],
            )
        )
    )


@pytest.mark.parametrize(
    ("a", "b", "of_weight", "of_activations"),
    [
        ((3, 4), (4, 5), Linear(4, 5, batch=3), MatMul(3, 5, 4)),
        ((2, 3, 4), (4, 5), Linear(4, 5, batch=6), MatMul(6, 5, 4)),
        ((2, 7, 3, 4), (1, 1, 4, 5), Linear(4, 5, batch=42), MatMul(42, 5, 4)),
        ((2, 1, 3, 4), (7, 4, 5), MatMul(3, 5, 4, 14, 2), MatMul(3, 5, 4, 14, inputs_shared_by=7)),
        ((3, 4), (7, 4, 5), MatMul(3, 5, 4, 7), MatMul(3, 5, 4, 7, inputs_shared_by=7)),
        ((4,), (4, 5), Linear(4, 5), MatMul(1, 5, 4)),
        ((3, 4), (4,), Linear(4, 1, batch=3), MatMul(3, 1, 4)),
        ((4,), (4,), Linear(4, 1), MatMul(1, 1, 4)),
        ((4,), (6, 4, 5), MatMul(1, 5, 4, 6), MatMul(1, 5, 4, 6, inputs_shared_by=6)),
    ],
)
def test_products_of_matrices(read, a, b, of_weight, of_activations):
    assert layers_of(read, "MatMul", a, b, b_is_weight=True) == of_weight
    assert layers_of(read, "MatMul", a, b, b_is_weight=False) == of_activations


def test_weights_on_the_left(read):
    """The weights are the same for the whole batch: its columns are one product."""
    network = read(build([node("MatMul", ["w", "x"], ["y"])], {"x": [(2, 7, 4, 5)]}, [tensor("w", (3, 4))]))
    assert only(network) == Linear(4, 3, batch=2 * 7 * 5)
    network = read(build([node("Gemm", ["w", "x"], ["y"], transA=1)], {"x": [(4, 5)]}, [tensor("w", (4, 3))]))
    assert only(network) == Linear(4, 3, batch=5)


@pytest.mark.parametrize(("swap_a", "swap_b"), list(itertools.product([0, 1], [0, 1])))
@pytest.mark.parametrize("kind", ["Gemm", "FusedGemm", "FusedMatMul"])
def test_operands_the_other_way_round(read, kind, swap_a, swap_b):
    a, b = (4, 3) if swap_a else (3, 4), (5, 4) if swap_b else (4, 5)
    stated = {"transA": swap_a, "transB": swap_b, "domain": "" if kind == "Gemm" else MS}
    assert layers_of(read, kind, a, b, b_is_weight=True, **stated) == Linear(4, 5, batch=3)
    assert layers_of(read, kind, a, b, b_is_weight=False, **stated) == MatMul(3, 5, 4)
    if kind == "FusedMatMul":
        assert layers_of(read, kind, (2, *a), b, b_is_weight=True, **stated) == Linear(4, 5, batch=6)


def quantized(kind, x, w, y_places, **stated):
    """A node with scales and zero points behind its operands."""
    names = ["x", "s", "z", "w", "s", "z", *(["s", "z"] if y_places else [])]
    weights = [tensor("w", w, INT8), tensor("s", ()), tensor("z", (), INT8)]
    return build([node(kind, names, ["y"], name="q", **stated)], {"x": [x, INT8]}, weights)


def test_quantized_operators(read):
    conv = Conv2d(3, 4, 3, 9, 8, padding=1)
    assert only(read(quantized("QLinearConv", (1, 3, 9, 8), (4, 3, 3, 3), True, pads=[1] * 4))) == conv
    assert only(read(quantized("QLinearMatMul", (2, 3, 4), (4, 5), True))) == Linear(4, 5, batch=6)
    assert only(read(quantized("QGemm", (3, 4), (5, 4), False, transB=1, domain=MS))) == Linear(4, 5, batch=3)
    inputs = {"x": [(1, 3, 9, 8), UINT8]}
    model = build([node("ConvInteger", CONV, ["y"], pads=[1] * 4)], inputs, [tensor("w", (4, 3, 3, 3), UINT8)])
    assert only(read(model)) == conv
    model = build([node("MatMulInteger", CONV, ["y"])], {"x": [(3, 4), UINT8]}, [tensor("w", (4, 5), UINT8)])
    assert only(read(model)) == Linear(4, 5, batch=3)


def test_weights_that_are_quantized_by_other_nodes(read):
    """QuantizeLinear and DequantizeLinear around everything, as tools for quantization leave them."""

    def made(filters):
        nodes = [
            node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            node("DequantizeLinear", ["w", "ws"], ["wd"], axis=0),
            node("Conv", ["xd", "wd"], ["c"], name="conv"),
            node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
            node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
            node("GlobalAveragePool", ["cd"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("DequantizeLinear", ["v", "vs"], ["vd"], axis=0),
            node("Gemm", ["f", "vd"], ["y"], name="fc", transB=1),
        ]
        weights = [tensor("w", (filters, 3, 3, 3), INT8), tensor("ws", (filters,)), tensor("v", (7, filters), INT8)]
        weights += [tensor("vs", (7,)), tensor("s", ()), tensor("z", (), INT8)]
        return build(nodes, {"x": [(1, 3, 9, 8)]}, weights)

    network = read(made(16))
    assert sizes_of(network) == {"conv": [(42, 16, 27, 1)], "fc": [(1, 7, 16, 1)]}
    smaller = read(made(11))
    at = network.at({"conv": 11})
    assert [at[name] for name in network.priced] == [smaller[name] for name in smaller.priced]


@pytest.mark.parametrize(
    ("kind", "layout", "direction"),
    list(itertools.product(["RNN", "GRU", "LSTM"], [0, 1], ["forward", "bidirectional"])),
)
def test_recurrent(read, kind, layout, direction):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    steps, batch, features, hidden, directions = 7, 2, 5, 6, 1 + (direction == "bidirectional")
    weights = [tensor("w", (directions, gates * hidden, features)), tensor("r", (directions, gates * hidden, hidden))]
    shape = (batch, steps, features) if layout else (steps, batch, features)
    stated = {"hidden_size": hidden, "direction": direction, "layout": layout}
    nodes = [node(kind, ["x", "w", "r"], ["y"], name="rnn", **stated)]
    network = read(build(nodes, {"x": [shape]}, weights))
    assert network.macs == directions * steps * batch * gates * hidden * (features + hidden)
    assert network["rnn:input"] == Linear(features, gates * hidden, batch=steps * batch)
    first = 2 if kind == "GRU" else gates
    assert network["rnn:state"] == Gemm(batch, first * hidden, hidden, count=steps)
    assert len(network.priced) == directions * (3 if kind == "GRU" else 2)
    if kind == "GRU":  # the state goes into all three gates at once where the reset comes behind the product
        nodes[0].attribute.append(helper.make_attribute("linear_before_reset", 1))
        assert read(build(nodes, {"x": [shape]}, weights))["rnn:state"] == Gemm(batch, 3 * hidden, hidden, count=steps)


def test_attention_as_one_operator(read):
    inputs = {"q": [(2, 10, 64)], "k": [(2, 12, 32)], "v": [(2, 12, 48)]}
    nodes = [node("Attention", ["q", "k", "v"], ["y"], name="att", q_num_heads=4, kv_num_heads=2)]
    network = read(build(nodes, inputs, opset=23))
    assert network["att:scores"] == MatMul(10, 12, 16, batch=8, weights_shared_by=2)
    assert network["att:values"] == MatMul(10, 24, 12, batch=8, weights_shared_by=2)
    inputs = {"q": [(2, 4, 10, 16)], "k": [(2, 4, 12, 16)], "v": [(2, 4, 12, 8)]}
    network = read(build([node("Attention", ["q", "k", "v"], ["y"], name="att")], inputs, opset=23))
    assert (network["att:scores"], network["att:values"]) == (MatMul(10, 12, 16, 8), MatMul(10, 8, 12, 8))
    inputs |= {"pk": [(2, 4, 5, 16)], "pv": [(2, 4, 5, 8)]}
    nodes = [node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], name="att")]
    assert read(build(nodes, inputs, opset=23))["att:scores"] == MatMul(10, 17, 16, 8)


REPEATED = {
    "Tile": [node("Tile", ["k", "times"], ["r"])],
    "Concat": [node("Concat", ["k"] * 4, ["r"], axis=1)],
    "Expand": [
        node("Unsqueeze", ["k", "axis"], ["a"]),
        node("Expand", ["a", "wide"], ["b"]),
        node("Reshape", ["b", "heads"], ["r"]),
    ],
}
USES = {
    "MatMul": [node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "t"], ["y"])],
    "Einsum": [node("Einsum", ["q", "r"], ["y"], equation="bhqd,bhkd->bhqk")],
    "other order": [node("Einsum", ["r", "q"], ["y"], equation="bhkd,bhqd->hbkq")],
    "Attention": [node("Attention", ["q", "r", "v"], ["y"])],
}


@pytest.mark.parametrize("opset", [11, 21])
@pytest.mark.parametrize(("added", "left_out"), [(1, 2), (2, 1), (2, 2), (1, 1), (-1, 4)])
def test_axes_of_one_are_told_apart(read, added, left_out, opset):
    """A channel of 1 that is squeezed away has to stay 1; a new axis of 1 is not taken for it."""
    lists = [] if opset < 13 else [numbers("added", [added]), numbers("out", [left_out])]
    kinds = {"axes": [added]}, {"axes": [left_out]}
    nodes = [
        node("Conv", ["x", "w1"], ["c"], name="one"),
        node("Unsqueeze", ["c", "added"] if lists else ["c"], ["u"], **({} if lists else kinds[0])),
        node("Squeeze", ["u", "out"] if lists else ["u"], ["s"], **({} if lists else kinds[1])),
        node("Conv", ["s", "w2"], ["y"], name="next"),
    ]
    weights = [tensor("w1", (1, 3, 1, 1)), tensor("w2", (4, 1, 1, 1)), *lists]
    network = read(build(nodes, {"x": [(2, 3, 5, 6)]}, weights, opset=opset))
    is_gone = added != left_out and added != -1
    assert network.widths["one"].fixed == ("a squeeze" if is_gone else "")
    if not is_gone:
        assert network.at({"one": 7})["next"].in_channels == 7


@pytest.mark.parametrize("repeated", REPEATED)
@pytest.mark.parametrize("use", USES)
def test_every_way_to_repeat_heads_is_shared(read, use, repeated):
    lists = {"times": [1, 4, 1, 1], "axis": [2], "wide": [2, 2, 4, 6, 16], "heads": [2, 8, 6, 16]}
    inputs = {"q": [(2, 8, 10, 16)], "k": [(2, 2, 6, 16)], "v": [(2, 8, 6, 5)]}
    ints = [numbers(name, each) for name, each in lists.items()]
    network = read(build([*REPEATED[repeated], *USES[use]], inputs, ints, opset=23))
    layer = next(iter(network.priced.values())).layer
    (gemm,) = layer.gemms()
    assert gemm.macs == 2 * 8 * 10 * 6 * 16
    operand = "inputs" if use == "other order" else "weights"
    assert gemm.elements(operand) == 2 * 2 * 6 * 16
    assert f"{operand}_shared_by=4" in repr(layer)


def test_operands_that_products_share(read):
    sizes = {"axis": [2], "wide": [2, 2, 4, 6, 16], "heads": [2, 8, 6, 16]}
    ints = [onnx.numpy_helper.from_array(np.array(each), name) for name, each in sizes.items()]
    nodes = [
        node("Unsqueeze", ["k", "axis"], ["a"]),
        node("Expand", ["a", "wide"], ["b"]),
        node("Reshape", ["b", "heads"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "d"], ["scores"], name="scores"),
        node("MatMul", ["scores", "v"], ["y"], name="values"),
    ]
    inputs = {"q": [(2, 8, 10, 16)], "k": [(2, 2, 6, 16)], "v": [(8, 6, 5)]}
    network = read(build(nodes, inputs, ints))
    assert network["scores"] == MatMul(10, 6, 16, batch=16, weights_shared_by=4)
    assert network["values"] == MatMul(10, 5, 6, batch=16, weights_shared_by=2)
    # an expansion moves nothing, and of a copy each element once
    assert [each for each in network.values() if isinstance(each, MemoryOnly)] == [
        MemoryOnly("Unsqueeze"), MemoryOnly("Expand"), MemoryOnly("Reshape"), MemoryOnly("Transpose", 384, 384),
    ]  # fmt: skip


def test_attention_of_onnx_runtime(read):
    nodes = [node("Attention", ["x", "w", "b"], ["y"], name="att", domain=MS, num_heads=4)]
    network = read(build(nodes, {"x": [(2, 10, 64)]}, [tensor("w", (64, 192)), tensor("b", (192,))]))
    assert network["att:projection"] == Linear(64, 192, batch=20)
    assert network["att:scores"] == MatMul(10, 10, 16, batch=8)
    inputs = {"q": [(2, 10, 64)], "k": [(2, 12, 64)], "v": [(2, 12, 32)]}
    nodes = [
        node("MultiHeadAttention", ["q", "k", "v"], ["a"], name="att", domain=MS, num_heads=4),
        node("MatMul", ["a", "w"], ["y"], name="out"),
    ]
    network = read(build(nodes, inputs, [tensor("w", (32, 5))]))
    assert (network["att:scores"], network["att:values"]) == (MatMul(10, 12, 16, 8), MatMul(10, 8, 12, 8))
    assert network["out"] == Linear(32, 5, batch=20)


def test_what_onnx_runtime_fuses(read):
    nodes = [
        node("FusedConv", ["x", "w", "b", "z"], ["c"], name="conv", domain=MS, activation="Relu", pads=[1, 1, 1, 1]),
        node("Gelu", ["c"], ["g"], domain=MS),
        node("Flatten", ["g"], ["f"]),
        node("FusedGemm", ["f", "v"], ["h"], name="fc", domain=MS, activation="Relu"),
        node("SkipLayerNormalization", ["h", "h", "s"], ["n"], domain=MS),
        node("MatMulNBits", ["n", "packed", "s"], ["y"], name="packed", domain=MS, K=5, N=7, bits=4, block_size=16),
    ]
    weights = [tensor("w", (4, 3, 3, 3)), tensor("b", (4,)), tensor("v", (288, 5)), tensor("s", (5,))]
    weights.append(tensor("packed", (7, 1, 8), UINT8))
    network = read(build(nodes, {"x": [(1, 3, 9, 8)], "z": [(1, 4, 9, 8)]}, weights))
    assert {name: network[name] for name in network.priced} == {
        "conv": Conv2d(3, 4, 3, 9, 8, padding=1),
        "fc": Linear(288, 5),
        "packed": Linear(5, 7),
    }
    assert not network.unsupported


# ---------------------------------------------------------------- einsum

GEMM = node("Gemm", ["a", "w"], ["g"], name="gemm")


def macs_of(equation, *shapes):
    """Multiplications of a contraction: every combination of all letters."""
    left = equation.replace(" ", "").partition("->")[0].split(",")
    sizes = {
        letter: size for term, shape in zip(left, shapes, strict=True) for letter, size in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values())


@pytest.mark.parametrize(
    ("equation", "a", "b", "of_weight", "of_activations"),
    [
        ("ij,jk->ik", (3, 4), (4, 5), Linear(4, 5, batch=3), MatMul(3, 5, 4)),
        ("ij,kj->ik", (3, 4), (5, 4), Linear(4, 5, batch=3), MatMul(3, 5, 4)),
        ("bij,jk->bik", (2, 3, 4), (4, 5), Linear(4, 5, batch=6), MatMul(6, 5, 4)),
        ("bhqd,bhkd->bhqk", (2, 3, 4, 8), (2, 3, 5, 8), MatMul(4, 5, 8, 6), MatMul(4, 5, 8, 6)),
        ("bqhd, bkhd -> bhqk", (2, 4, 3, 8), (2, 5, 3, 8), MatMul(4, 5, 8, 6), MatMul(4, 5, 8, 6)),
        ("abc,cbd->ad", (2, 3, 4), (4, 3, 5), Linear(12, 5, batch=2), MatMul(2, 5, 12)),
        ("i,i->", (4,), (4,), Linear(4, 1), MatMul(1, 1, 4)),
        ("ij,jk", (3, 4), (4, 5), Linear(4, 5, batch=3), MatMul(3, 5, 4)),
        ("nctv,vw->nctw", (2, 3, 4, 5), (5, 6), Linear(5, 6, batch=24), MatMul(24, 6, 5)),
    ],
)
def test_einsum(read, equation, a, b, of_weight, of_activations):
    weight = layers_of(read, "Einsum", a, b, b_is_weight=True, equation=equation)
    activations = layers_of(read, "Einsum", a, b, b_is_weight=False, equation=equation)
    assert (weight, activations) == (of_weight, of_activations)
    assert sum(gemm.macs for gemm in activations.gemms()) == macs_of(equation, a, b)


def test_einsum_with_dots(read):
    assert layers_of(read, "Einsum", (2, 7, 3, 4), (4, 5), b_is_weight=True, equation="...ij,jk->...ik") == Linear(
        4, 5, batch=42
    )
    assert layers_of(read, "Einsum", (2, 3, 4), (2, 4, 5), b_is_weight=False, equation="...ij,...jk") == MatMul(
        3, 5, 4, 2
    )


@pytest.mark.parametrize(
    ("equation", "shapes", "products"),
    [
        ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)], [MatMul(3, 5, 4), MatMul(3, 6, 5)]),
        ("bi,bj,ijk->bk", [(7, 3), (7, 4), (3, 4, 5)], [MatMul(7, 5, 12)]),  # the first two are only multiplied
        ("ij,jk,kl,lm->im", [(3, 4), (4, 5), (5, 6), (6, 2)], [MatMul(3, 5, 4), MatMul(3, 6, 5), MatMul(3, 2, 6)]),
        ("ij,jk,jl->ikl", [(3, 4), (4, 5), (4, 6)], [MatMul(15, 6, 4)]),
        ("bij,bjk,bkl->il", [(2, 3, 4), (2, 4, 5), (2, 5, 6)], [MatMul(3, 5, 4, 2), MatMul(3, 6, 10)]),
        ("ii,ij->j", [(3, 3), (3, 5)], [MatMul(1, 5, 3)]),  # of the diagonal
        ("ij,jk->k", [(3, 4), (4, 5)], [MatMul(1, 5, 4)]),  # of the sum of all rows
        ("ij,kl->", [(3, 4), (4, 5)], []),
        ("ij,jk,kl->", [(3, 4), (4, 5), (5, 6)], [MatMul(1, 5, 4), MatMul(1, 1, 5)]),
    ],
)
def test_einsum_of_any_operands(read, equation, shapes, products):
    inputs = {f"x{i}": [shape] for i, shape in enumerate(shapes)}
    nodes = [node("Einsum", list(inputs), ["y"], name="e", equation=equation), GEMM]
    network = read(build(nodes, inputs | {"a": [(2, 3)]}, [tensor("w", (3, 4))]))
    assert not network.unsupported
    assert [each.layer for name, each in network.priced.items() if name != "gemm"] == products


@given(st.data())
def test_einsum_multiplies_what_pytorch_counts(tmp_path_factory, data):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    sizes = dict(zip("abcdef", (2, 3, 4, 5, 6, 7), strict=True))
    terms = data.draw(st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=4))
    result = data.draw(st.lists(st.sampled_from(sorted(set("".join(terms)))), max_size=3, unique=True))
    equation = f"{','.join(terms)}->{''.join(result)}"
    shapes = [[sizes[letter] for letter in term] for term in terms]
    inputs = {f"x{i}": [shape] for i, shape in enumerate(shapes)}
    nodes = [node("Einsum", list(inputs), ["y"], name="e", equation=equation), GEMM]
    path = tmp_path_factory.mktemp("einsum") / "net.onnx"
    path.write_bytes(build(nodes, inputs | {"a": [(2, 3)]}, [tensor("w", (3, 4))]).SerializeToString())
    counter = FlopCounterMode(display=False)
    with torch.backends.opt_einsum.flags(enabled=False), counter:
        torch.einsum(equation, *map(torch.zeros, shapes))
    network = from_onnx(path)
    assert (network.macs - 24, network.unsupported) == (counter.get_total_flops() // 2, {})


def test_einsum_of_three_with_weights(read):
    """The weights that come first are multiplied once; an activation meets weights in a linear layer."""
    weights = [tensor("a", (3, 4)), tensor("b", (4, 5))]
    nodes = [node("Einsum", ["a", "b", "x"], ["y"], name="e", equation="ij,jk,nk->ni")]
    assert only(read(build(nodes, {"x": [(7, 5)]}, weights))) == Linear(5, 3, batch=7)
    nodes = [node("Einsum", ["x", "b", "a"], ["y"], name="e", equation="nk,jk,ij->ni")]
    assert only(read(build(nodes, {"x": [(7, 5)]}, weights))) == [Linear(5, 4, batch=7), Linear(4, 3, batch=7)]


def test_einsum_that_is_free(read):
    nodes = [
        node("Einsum", ["x"], ["t"], name="transpose", equation="ij->ji"),
        node("Einsum", ["t", "t"], ["m"], name="multiply", equation="ij,ij->ij"),
        node("MatMul", ["m", "w"], ["y"], name="fc"),
    ]
    network = read(build(nodes, {"x": [(3, 4)]}, [tensor("w", (3, 5))]))
    assert list(network.memory_only) == ["transpose", "multiply"]


# ---------------------------------------------------------------- random graphs of convolutions

small = st.integers(1, 4)


@st.composite
def chains(draw):
    """Convolutions behind each other, with everything that a convolution can have."""
    rank = draw(st.integers(1, 2))
    channels = draw(small)
    nodes, weights, name = [], [], "x"
    first = (draw(small), channels, *(draw(st.integers(40, 60)) for _ in range(rank)))
    for index in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([each for each in range(1, channels + 1) if channels % each == 0]))
        filters = groups * draw(small)
        kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
        stated = {"group": groups, "strides": [draw(st.integers(1, 2)) for _ in range(rank)]}
        how = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
        if how == "NOTSET":
            stated["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
        else:
            stated["auto_pad"] = how
        if not how.startswith("SAME"):  # the library's rule for both is another one
            stated["dilations"] = [draw(st.integers(1, 2)) for _ in range(rank)]
        weights.append(tensor(f"w{index}", (filters, channels // groups, *kernel)))
        nodes.append(node("Conv", [name, f"w{index}"], [f"y{index}"], name=f"conv{index}", **stated))
        name, channels = f"y{index}", filters
    return build(nodes, {"x": [first]}, weights)


@given(chains())
def test_products_have_as_many_rows_as_outputs_have_positions(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    path.write_bytes(model.SerializeToString())
    network = from_onnx(path)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    weights = {each.name: each.dims for each in model.graph.initializer}
    for each, value in zip(model.graph.node, [*inferred.value_info, *inferred.output], strict=True):
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        (gemm,) = network[each.name].gemms()
        filters = weights[each.input[1]]
        assert value.name == each.output[0]
        assert gemm.m == shape[0] * math.prod(shape[2:])
        assert gemm.n * gemm.count == shape[1] == filters[0]
        assert gemm.k == math.prod(filters[1:])


# ---------------------------------------------------------------- widths


def residual(a=8, b=12):
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="stem"),
        node("BatchNormalization", ["c1", "s", "s2", "s3", "s4"], ["n1"]),
        node("Conv", ["n1", "w2"], ["c2"], name="inner", pads=[1, 1, 1, 1]),
        node("Clip", ["c2", "", "six"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["c3"], name="back"),
        node("Add", ["n1", "c3"], ["sum"]),
        node("GlobalAveragePool", ["sum"], ["pool"]),
        node("Squeeze", ["pool", "axes"], ["flat"]),
        node("Gemm", ["flat", "w4"], ["y"], name="head", transB=1),
    ]
    weights = [tensor("w1", (a, 3, 3, 3)), tensor("w2", (b, a, 3, 3)), tensor("w3", (a, b, 1, 1)), tensor("b3", (a,))]
    weights += [tensor(name, (a,)) for name in ("s", "s2", "s3", "s4")]
    weights += [tensor("w4", (10, a)), tensor("six", ()), numbers("axes", [2, 3])]
    return build(nodes, {"x": [(1, 3, 12, 12)]}, weights)


def depthwise(a=8, b=24):
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="expand"),
        node("HardSwish", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], name="depthwise", group=b, pads=[1, 1, 1, 1]),
        node("ReduceMean", ["c2", "axes"], ["m"], keepdims=1),
        node("Conv", ["m", "w3"], ["s1"], name="squeeze"),
        node("Conv", ["s1", "w4"], ["s2"], name="excite"),
        node("Mul", ["s2", "c2"], ["c3"]),
        node("Conv", ["c3", "w5"], ["c4"], name="project"),
        node("Conv", ["c4", "w6"], ["y"], name="head"),
    ]
    weights = [tensor("w1", (b, 3, 1, 1)), tensor("w2", (b, 1, 3, 3)), tensor("w3", (a, b, 1, 1))]
    weights += [tensor("w4", (b, a, 1, 1)), tensor("w5", (16, b, 1, 1)), tensor("w6", (4, 16, 1, 1))]
    return build(nodes, {"x": [(1, 3, 12, 12)]}, [*weights, numbers("axes", [2, 3])])


def concatenated(a=8, b=12):
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="left"),
        node("Conv", ["x", "w2"], ["c2"], name="right"),
        node("Concat", ["c1", "c2"], ["cat"], axis=1),
        node("Conv", ["cat", "w3"], ["c3"], name="both"),
        node("Split", ["cat", "sizes"], ["s1", "s2"], axis=1),
        node("Conv", ["s2", "w4"], ["c4"], name="second"),
        node("Slice", ["cat", "zero", "a", "one"], ["s3"]),
        node("Conv", ["s3", "w5"], ["c5"], name="first"),
        node("Flatten", ["cat"], ["flat"]),
        node("MatMul", ["flat", "w6"], ["y"], name="fc"),
    ]
    weights = [tensor("w1", (a, 3, 3, 3)), tensor("w2", (b, 3, 3, 3)), tensor("w3", (5, a + b, 1, 1))]
    weights += [tensor("w4", (5, b, 1, 1)), tensor("w5", (5, a, 1, 1)), tensor("w6", ((a + b) * 36, 7))]
    weights += [numbers("sizes", [a, b]), numbers("zero", [0]), numbers("a", [a]), numbers("one", [1])]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in ("c3", "c4", "c5", "y")]
    return build(nodes, {"x": [(1, 3, 8, 8)]}, weights, outputs)


def shuffled(a=32, b=12):
    """Channels in groups, in blocks, transposed, and normalised in groups."""
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="wide"),
        node("GroupNormalization", ["c1", "g", "h"], ["n1"], num_groups=4),
        node("DepthToSpace", ["n1"], ["d"], blocksize=2),
        node("Conv", ["d", "w2"], ["c2"], name="grouped", group=2),
        node("SpaceToDepth", ["c2"], ["s"], blocksize=2),
        node("Transpose", ["s"], ["t"], perm=[0, 2, 3, 1]),
        node("LayerNormalization", ["t", "l", "l2"], ["n2"]),
        node("MatMul", ["n2", "w3"], ["m"], name="mixed"),
        node("Add", ["bias", "m"], ["y"]),
    ]
    weights = [tensor("w1", (a, 3, 1, 1)), tensor("g", (a,)), tensor("h", (a,)), tensor("w2", (b, a // 8, 1, 1))]
    weights += [tensor("l", (4 * b,)), tensor("l2", (4 * b,)), tensor("w3", (4 * b, 6)), tensor("bias", (6,))]
    return build(nodes, {"x": [(1, 3, 6, 6)]}, weights)


def upsampled(a=8, b=6):
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="down", strides=[2, 2]),
        node("Resize", ["c1", "", "scales"], ["u"], mode="nearest"),
        node("ConvTranspose", ["u", "w2", "b2"], ["c2"], name="up", strides=[2, 2]),
        node("Pad", ["c2", "pads"], ["p"], mode="reflect"),
        node("PRelu", ["p", "slope"], ["r"]),
        node("Conv", ["r", "w3"], ["y"], name="last"),
    ]
    weights = [tensor("w1", (a, 3, 2, 2)), tensor("w2", (a, b, 2, 2)), tensor("b2", (b,)), tensor("w3", (1, b, 3, 3))]
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    weights += [scales, numbers("pads", [0, 0, 1, 1, 0, 0, 1, 1]), tensor("slope", (b, 1, 1))]
    return build(nodes, {"x": [(1, 3, 8, 8)]}, weights)


@pytest.mark.parametrize(
    ("make", "small_sizes", "widths"),
    [
        (lenet, {"conv1": 3, "conv2": 7, "fc1": 50, "fc2": 9}, ["conv1", "conv2", "fc1", "fc2"]),
        (residual, {"a": 5, "b": 3}, ["stem", "inner"]),
        (depthwise, {"a": 3, "b": 7}, ["squeeze", "expand"]),
        (concatenated, {"a": 5, "b": 6}, ["left", "right"]),
        (shuffled, {"a": 16, "b": 6}, ["wide", "grouped"]),
        (upsampled, {"a": 5, "b": 3}, ["down", "up"]),
    ],
)
def test_other_widths_are_the_same_network_built_smaller(read, make, small_sizes, widths):
    network = read(make())
    smaller = read(make(**small_sizes))
    at = network.at(dict(zip(widths, small_sizes.values(), strict=True)))
    assert [at[name] for name in network.priced] == [smaller[name] for name in smaller.priced]
    assert list(network.priced) == list(smaller.priced)
    array = SystolicArray(8, 8)
    priced = {name: at[name] for name in network.priced}
    assert network_cost(priced, array).total == network_cost({n: smaller[n] for n in smaller.priced}, array).total


def test_what_cannot_change_says_why(read):
    network = read(concatenated())
    assert network.widths["fc"].fixed == "an output of the network"
    assert read(shuffled()).widths["wide"].multiple == 8
    assert read(shuffled()).widths["grouped"].multiple == 2
    assert read(attention()).widths["q"].fixed == "a reshape"


def test_parameters_follow_widths(read):
    network = read(lenet())
    from fractions import Fraction

    assert network.parameters["fc1.weight"] == ((("fc1", Fraction(1)),), (("conv2", Fraction(25)),))
    assert network.parameters["conv1.bias"] == ((("conv1", Fraction(1)),),)


def test_equal_biases_are_no_bond(read):
    """Exporters keep one of several equal vectors: layers with the same zeros as biases need not be equally wide."""
    nodes = [
        node("Conv", ["x", "w1", "zeros"], ["c1"], name="first"),
        node("Identity", ["zeros"], ["other"]),
        node("Conv", ["c1", "w2", "other"], ["c2"], name="second"),
        node("Conv", ["c2", "w3"], ["y"], name="third"),
    ]
    weights = [
        tensor("w1", (8, 3, 1, 1)),
        tensor("zeros", (8,)),
        tensor("w2", (8, 8, 1, 1)),
        tensor("w3", (2, 8, 1, 1)),
    ]
    network = read(build(nodes, {"x": [(1, 3, 5, 5)]}, weights))
    assert network.at({"first": 5})["second"] == Conv2d(5, 8, 1, 5, 5)


# ---------------------------------------------------------------- shapes that are computed


def test_shapes_that_the_graph_computes(read):
    """What exporters leave of ``x.view(x.shape[0], -1)`` and of a loop over heads."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Unsqueeze", ["n", "first"], ["n1"]),
        node("Constant", [], ["minus"], value_ints=[-1]),
        node("Concat", ["n1", "minus"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"], name="fc"),
    ]
    weights = [numbers("zero", 0), numbers("first", [0]), tensor("w", (3 * 64, 10))]
    network = read(build(nodes, {"x": [("batch", 3, 8, 8)]}, weights), dims={"batch": 6})
    assert only(network) == Linear(192, 10, batch=6)
    assert list(network) == ["flat", "fc"]  # what is computed beforehand runs never


def test_branches_whose_condition_is_known(read):
    def branch(name, weight):
        return helper.make_graph([node("MatMul", ["x", weight], [name], name=name)], name, [], [info(name, None)])

    nodes = [
        node("Size", ["x"], ["size"]),
        node("Equal", ["size", "twelve"], ["is"]),
        node("If", ["is"], ["out"], name="if", then_branch=branch("then", "w1"), else_branch=branch("else", "w2")),
        node("MatMul", ["out", "w3"], ["y"], name="behind"),
    ]
    weights = [numbers("twelve", 12), tensor("w1", (4, 5)), tensor("w2", (4, 6)), tensor("w3", (5, 7))]
    network = read(build(nodes, {"x": [(3, 4)]}, weights))
    assert dict(network) == {"then": Linear(4, 5, batch=3), "behind": Linear(5, 7, batch=3)}


def test_behind_what_is_not_known(read):
    nodes = [
        node("NonZero", ["x"], ["places"], name="places"),
        node("Cast", ["places"], ["floats"], to=FLOAT),
        node("MatMul", ["w", "floats"], ["y"], name="fc"),
    ]
    network = read(build(nodes, {"x": [(3, 4)]}, [tensor("w", (5, 2))]))
    assert str(network["fc"]) == "MatMul (the shape of 'floats' is not known)"
    assert isinstance(network["places"], MemoryOnly)
    assert network.notes == ("where a shape depends on values, reads and writes are not counted",)


def test_functions_are_written_out(read):
    function = helper.make_function(
        "mine", "Layer", ["a", "b"], ["c"],
        [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["c"])], [helper.make_opsetid("", 21)],
    )  # fmt: skip
    nodes = [
        node("Layer", ["x", "w"], ["h"], domain="mine", name="one"),
        node("Layer", ["h", "v"], ["y"], domain="mine"),
    ]
    weights = [tensor("w", (4, 5)), tensor("v", (5, 6))]
    network = read(build(nodes, {"x": [(3, 4)]}, weights, domains=("mine",), functions=[function]))
    assert only(network) == [Linear(4, 5, batch=3), Linear(5, 6, batch=3)]


# ---------------------------------------------------------------- the three bins


def test_the_tables_know_real_operators():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    of_runtime = words(
        """
        BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BitmaskDropout CropAndResize EmbedLayerNormalization
        ExpandDims FastGelu GatherBlockQuantized GroupNorm IsAllFinite MaxpoolWithMask MurmurHash3 NGramRepeatBlock
        NhwcMaxPool QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
        QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuickGelu RemovePadding RestorePadding SampleOp
        SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization Tokenizer
        UnfoldTensor
        """
    )
    newer = {
        "BitCast",
        "CumProd",
        "TensorScatter",
        "Swish",
        "SwiGLU",
        "RotaryEmbedding",
        "RMSNormalization",
    }  # than some onnx
    assert FREE - known - of_runtime <= newer
    assert set(AXES) <= FREE
    assert {kind for kind in PRODUCTS if "::" not in kind} <= known
    assert not FREE & {kind.rpartition("::")[2] for kind in PRODUCTS}


def test_what_is_not_known_is_named(read):
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Fast", ["c"], ["f"], name="own", domain="my.domain"),
        node("Conv", ["f", "v"], ["y"], name="behind"),
        node("DFT", ["c"], ["d"], name="fourier"),
        node("MadeUp", ["c"], ["e"], name="made up"),
    ]
    weights = [tensor("w", (4, 3, 3, 3)), tensor("v", (5, 4, 1, 1))]
    network = read(build(nodes, {"x": [(1, 3, 8, 8)]}, weights, domains=("my.domain",)))
    assert {name: str(network[name]) for name in network.unsupported} == {
        "own": "my.domain.Fast (not one of ONNX's operators)",
        "behind": "Conv (the shape of 'f' is not known)",
        "fourier": "DFT (not known to be free)",
        "made up": "MadeUp (not an operator of this version of ONNX)",
    }
    with pytest.raises(InvalidValueError, match="own"):
        network_cost(network, SystolicArray(8, 8))
    with_shape = build(
        nodes[:3], {"x": [(1, 3, 8, 8)]}, weights, domains=("my.domain",), values=[info("f", [1, 4, 6, 6])]
    )
    assert read(with_shape)["behind"] == Conv2d(4, 5, 1, 6, 6)


def test_reads_and_writes(read):
    nodes = [
        node("Gather", ["table", "ids"], ["e"], name="look up"),
        node("Reshape", ["e", "to"], ["r"], name="view"),
        node("Concat", ["r", "r"], ["c"], name="cat", axis=1),
        node("MatMul", ["c", "w"], ["y"], name="fc"),
    ]
    weights = [tensor("table", (1000, 8)), numbers("to", [6, 8]), tensor("w", (16, 4))]
    network = read(build(nodes, {"ids": [(2, 3), INT64]}, weights))
    assert network["look up"] == MemoryOnly("Gather", 96, 48)
    assert network["view"] == MemoryOnly("Reshape")
    assert network["cat"] == MemoryOnly("Concat", 96, 96)
    ((table, _),), _ = network.parameters["table"]
    assert network.widths[table].fixed == "a look-up"


def outcome(read, model):
    """The network, or None where the file is refused, which takes one line."""
    try:
        return read(model)
    except InvalidValueError as error:
        message = str(error)
    assert "\n" not in message
    return None


@pytest.mark.parametrize("kind", sorted(FREE))
def test_free_operators_with_nonsense(read, kind):
    """Whatever stands in a file ends in an answer or in one line."""
    for count, shape in itertools.product((1, 2, 3), ((2, 4, 6, 6), (3,), ())):
        nodes = [GEMM, node(kind, ["x", "y", "z"][:count], ["out"], name="it")]
        inputs = {"a": [(2, 3)], "x": [shape], "y": [shape], "z": [shape]}
        network = outcome(read, build(nodes, inputs, [tensor("w", (3, 4))]))
        if network is not None:
            assert list(network.priced) == ["gemm"]
            assert isinstance(network.get("it", MemoryOnly(kind)), (MemoryOnly, Unsupported))


@pytest.mark.parametrize(("domain", "kind"), [(*kind.rpartition("::")[::2],) for kind in sorted(PRODUCTS)])
def test_products_with_nonsense(read, domain, kind):
    for count, shape in itertools.product((1, 2, 3, 8), ((2, 4, 6, 6), (4, 4), (2, 3, 4), (3,), (), (0, 4))):
        names = [f"x{i}" for i in range(count)]
        nodes = [GEMM, node(kind, names, ["out"], name="it", domain=domain)]
        inputs = {"a": [(2, 3)]} | {name: [shape] for name in names}
        network = outcome(read, build(nodes, inputs, [tensor("w", (3, 4))], opset=23))
        assert network is None or any(name.startswith("it") for name in network)


# ---------------------------------------------------------------- names


def test_names_and_paths(read):
    nodes = [
        node("Conv", ["x", "onnx::Conv_1"], ["a"], name="/layer1/layer1.0/conv1/Conv"),
        node("Relu", ["a"], ["b"], name="/layer1/layer1.0/relu/Relu"),
        node("Conv", ["b", "layer1.1.conv.weight"], ["c"], name="Conv_3"),
        node("Conv", ["c", "v"], ["out/of/Conv"]),
        node("Conv", ["out/of/Conv", "v"], ["d"], name="Conv_3"),
        node("Conv", ["d", "v"], ["e"]),
    ]
    weights = [
        tensor("onnx::Conv_1", (3, 3, 1, 1)),
        tensor("layer1.1.conv.weight", (3, 3, 1, 1)),
        tensor("v", (3, 3, 1, 1)),
    ]
    network = read(build(nodes, {"x": [(1, 3, 8, 8)]}, weights))
    assert {name: each.path for name, each in network.operations.items()} == {
        "layer1.0.conv1": "layer1.0.conv1",
        "layer1.0.relu:Relu": "layer1.0.relu",
        "Conv_3": "layer1.1.conv",
        "out.of": "out.of",
        "Conv_3 (2)": "",
        "e": "",
    }
    assert network.name == "net0"
    assert read(build(nodes, {"x": [(1, 3, 8, 8)]}, weights), name="mine").name == "mine"


# ---------------------------------------------------------------- dims


def dynamic(*shape):
    return build([node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [shape]}, [tensor("w", (4, 5))])


def test_dims(read):
    assert only(read(dynamic("batch", "tokens", 4), dims={"batch": 2, "tokens": 3})) == Linear(4, 5, batch=6)
    assert only(read(dynamic(None, 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    assert only(read(dynamic("batch", 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    assert only(read(dynamic(2, 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    shapeless = build([node("MatMul", ["x", "w"], ["y"])], {"x": [None]}, [tensor("w", (4, 5))])
    assert only(read(shapeless, dims={"x:0": 2, "x:1": 4})) == Linear(4, 5, batch=2)


@pytest.mark.parametrize(
    ("shape", "dims", "words"),
    [
        (("batch", 3, 4), {}, "dimension 'batch' (axis 0 of 'x') is missing; needed: a size, as "
         "dims={'batch': 1}, on the command line --dim batch=1"),
        ((None, "n", 4), {"n": 3}, "dimension 'x:0' is missing"),
        (("a", "b", 4), {}, "--dim a=1 --dim b=1"),
        (("batch", 3, 4), {"bach": 1}, "unknown name 'bach' in dims; known: batch, x:0, x:1, x:2; did you mean "
         "'batch'?"),
        (("batch", 3, 4), {"batch": -1}, "dims['batch'] is -1"),
        (("batch", 3, 4), {"batch": 2.5}, "dims['batch'] is 2.5"),
        ((2, 3, 4), {"x:0": 1}, "dims['x:0'] is 1; allowed: 2"),
        (None, {}, "the shape of 'x' is missing"),
    ],
)  # fmt: skip
def test_bad_dims(read, shape, dims, words):
    model = (
        dynamic(*shape) if shape else build([node("MatMul", ["x", "w"], ["y"])], {"x": [None]}, [tensor("w", (4, 5))])
    )
    with pytest.raises(InvalidValueError) as caught:
        read(model, dims=dims)
    assert words in str(caught.value)


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
def test_broken_graphs(read, model, words):
    with pytest.raises(InvalidValueError) as caught:
        read(model)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nodes_in_another_order(read):
    nodes = [node("MatMul", ["h", "w"], ["y"], name="second"), node("MatMul", ["x", "v"], ["h"], name="first")]
    network = read(build(nodes, {"x": [(3, 4)]}, [tensor("w", (5, 6)), tensor("v", (4, 5))]))
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
def test_a_shape_that_doubles_takes_no_memory(read, kind):
    """What is known about small integers is not kept once they are many."""
    steps = {
        "Concat": lambda i: node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0),
        "Tile": lambda i: node("Tile", [f"s{i}", "two"], [f"s{i + 1}"]),
        "Gather": lambda i: node("Gather", [f"s{i}", "places"], [f"s{i + 1}"]),
    }
    nodes = [node("Shape", ["x"], ["s0"], start=0, end=1), *map(steps[kind], range(41))]
    weights = [tensor("w", (4, 5)), numbers("two", [2]), numbers("places", [0, 0])]
    network = read(build([*nodes, node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [(3, 4)]}, weights))
    assert only(network) == Linear(4, 5, batch=3)


def test_a_circle_behind_a_long_chain(read):
    chain = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(30_000)]
    circle = [node("Add", ["v7", "b"], ["c"], name="one"), node("Relu", ["c"], ["b"])]
    with pytest.raises(InvalidValueError, match="'one' cannot be used: it needs its own result"):
        read(build([*chain, *circle], {"v0": [(3, 4)]}))


def test_a_long_graph_shows_progress(tmp_path, capsys):
    from hwcost.cli import main

    chain = [node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(20_000)]
    nodes = [node("MatMul", ["x", "w"], ["v0"]), *chain]
    path = tmp_path / "long.onnx"
    path.write_bytes(build(nodes, {"x": [(3, 4)]}, [tensor("w", (4, 5))]).SerializeToString())
    assert main(["model", str(path), "--s1", "4", "--s2", "4", "--top", "1"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "of 20001 nodes" in line]
    assert len(lines) == 10
    assert lines[-1] == "100 % of 20001 nodes"


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize(("directions", "direction"), [(2**40, "forward"), (3, "bidirectional"), (2, "reverse")])
def test_weights_of_other_directions_are_refused(read, kind, gates, directions, direction):
    weights = [
        TensorProto(name=name, dims=(directions, gates, size), data_type=FLOAT) for name, size in (("w", 4), ("r", 1))
    ]
    nodes = [node(kind, ["x", "w", "r"], ["y"], name="rnn", hidden_size=1, direction=direction)]
    network = read(build(nodes, {"x": [(3, 2, 4)]}, weights))
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


def test_channels_among_the_rows_of_a_product_stay_free(read):
    """A product over positions: the images and the channels are its rows."""
    nodes = [node("Conv", ["x", "v"], ["a"], name="a"), node("MatMul", ["a", "w"], ["b"], name="b"),
             node("Conv", ["b", "u"], ["c"], name="c")]  # fmt: skip
    weights = [tensor("v", (8, 3, 1)), tensor("w", (5, 7)), tensor("u", (2, 8, 1))]
    network = read(build(nodes, {"x": [(4, 3, 5)]}, weights))
    assert network["b"] == Linear(5, 7, batch=4 * 8)
    assert network.at({"a": 6})["b"] == Linear(5, 7, batch=4 * 6)


# ---------------------------------------------------------------- graphs in memory


def test_a_model_in_memory_is_read_as_its_file_and_stays_as_it_is(read):
    model = build([node("Conv", ["x", "w"], ["y"])], {"x": [(1, 3, 8, 8)]}, [tensor("w", (64, 3, 7, 7))])
    before = model.SerializeToString(deterministic=True)
    assert dict(from_onnx(model).items()) == dict(read(model).items())
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
