"""ONNX graphs: hand counts, and every operator that multiplies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import Conv2d, Gemm, Linear, MatMul, SystolicArray, network_cost
from hwcost.network.operations import MemoryOnly

onnx = pytest.importorskip("onnx")

from graphs import (  # noqa: E402
    GEMM,
    INT8,
    MS,
    UINT8,
    attention,
    build,
    lenet,
    network_of,
    node,
    numbers,
    only,
    sizes_of,
    tensor,
)
from onnx import helper  # noqa: E402

from hwcost.importers import from_onnx  # noqa: E402

# ---------------------------------------------------------------- networks


def test_lenet_by_hand():
    network = network_of(lenet())
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


def test_attention_by_hand():
    network = network_of(attention())
    assert network.macs == 176_640
    assert network["scores"] == MatMul(10, 10, 16, batch=4)
    assert network["values"] == MatMul(10, 16, 10, batch=4)
    assert network["q"] == Linear(64, 64, batch=10)
    assert network_of(attention(hidden=128)).macs == 340_480
    assert [n for n, w in network_of(attention(hidden=128)).widths.items() if not w.fixed] == ["fc1"]


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
def test_convolutions(x, w, stated, layer):
    network = network_of(build([node("Conv", CONV, ["y"], name="conv", **stated)], {"x": [x]}, [tensor("w", w)]))
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
def test_transposed_convolutions(x, w, stated, layer):
    assert (
        only(network_of(build([node("ConvTranspose", CONV, ["y"], **stated)], {"x": [x]}, [tensor("w", w)]))) == layer
    )


def layers_of(kind, a, b, *, domain="", b_is_weight, **stated):
    inputs = {"a": [a]} if b_is_weight else {"a": [a], "b": [b]}
    return only(
        network_of(
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
        ((2, 1, 3, 4), (7, 4, 5), Gemm(3, 5, 4, 14, weights_shared_by=2), MatMul(3, 5, 4, 14, inputs_shared_by=7)),
        ((3, 4), (7, 4, 5), Gemm(3, 5, 4, 7), MatMul(3, 5, 4, 7, inputs_shared_by=7)),
        ((4,), (4, 5), Linear(4, 5), MatMul(1, 5, 4)),
        ((3, 4), (4,), Linear(4, 1, batch=3), MatMul(3, 1, 4)),
        ((4,), (4,), Linear(4, 1), MatMul(1, 1, 4)),
        ((4,), (6, 4, 5), Gemm(1, 5, 4, 6), MatMul(1, 5, 4, 6, inputs_shared_by=6)),
    ],
)
def test_products_of_matrices(a, b, of_weight, of_activations):
    assert layers_of("MatMul", a, b, b_is_weight=True) == of_weight
    assert layers_of("MatMul", a, b, b_is_weight=False) == of_activations


def test_weights_on_the_left():
    """The weights are the same for the whole batch: its columns are one product."""
    network = network_of(build([node("MatMul", ["w", "x"], ["y"])], {"x": [(2, 7, 4, 5)]}, [tensor("w", (3, 4))]))
    assert only(network) == Linear(4, 3, batch=2 * 7 * 5)
    network = network_of(build([node("Gemm", ["w", "x"], ["y"], transA=1)], {"x": [(4, 5)]}, [tensor("w", (4, 3))]))
    assert only(network) == Linear(4, 3, batch=5)


@pytest.mark.parametrize(("swap_a", "swap_b"), list(itertools.product([0, 1], [0, 1])))
@pytest.mark.parametrize("kind", ["Gemm", "FusedGemm", "FusedMatMul"])
def test_operands_the_other_way_round(kind, swap_a, swap_b):
    a, b = (4, 3) if swap_a else (3, 4), (5, 4) if swap_b else (4, 5)
    stated = {"transA": swap_a, "transB": swap_b, "domain": "" if kind == "Gemm" else MS}
    assert layers_of(kind, a, b, b_is_weight=True, **stated) == Linear(4, 5, batch=3)
    assert layers_of(kind, a, b, b_is_weight=False, **stated) == MatMul(3, 5, 4)
    if kind == "FusedMatMul":
        assert layers_of(kind, (2, *a), b, b_is_weight=True, **stated) == Linear(4, 5, batch=6)


def quantized(kind, x, w, y_places, **stated):
    """A node with scales and zero points behind its operands."""
    names = ["x", "s", "z", "w", "s", "z", *(["s", "z"] if y_places else [])]
    weights = [tensor("w", w, INT8), tensor("s", ()), tensor("z", (), INT8)]
    return build([node(kind, names, ["y"], name="q", **stated)], {"x": [x, INT8]}, weights)


def test_quantized_operators():
    conv = Conv2d(3, 4, 3, 9, 8, padding=1)
    assert only(network_of(quantized("QLinearConv", (1, 3, 9, 8), (4, 3, 3, 3), True, pads=[1] * 4))) == conv
    assert only(network_of(quantized("QLinearMatMul", (2, 3, 4), (4, 5), True))) == Linear(4, 5, batch=6)
    assert only(network_of(quantized("QGemm", (3, 4), (5, 4), False, transB=1, domain=MS))) == Linear(4, 5, batch=3)
    inputs = {"x": [(1, 3, 9, 8), UINT8]}
    model = build([node("ConvInteger", CONV, ["y"], pads=[1] * 4)], inputs, [tensor("w", (4, 3, 3, 3), UINT8)])
    assert only(network_of(model)) == conv
    model = build([node("MatMulInteger", CONV, ["y"])], {"x": [(3, 4), UINT8]}, [tensor("w", (4, 5), UINT8)])
    assert only(network_of(model)) == Linear(4, 5, batch=3)


def test_weights_that_are_quantized_by_other_nodes():
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

    network = network_of(made(16))
    assert sizes_of(network) == {"conv": [(42, 16, 27, 1)], "fc": [(1, 7, 16, 1)]}
    smaller = network_of(made(11))
    at = network.at({"conv": 11})
    assert [at[name] for name in network.priced] == [smaller[name] for name in smaller.priced]


@pytest.mark.parametrize(
    ("kind", "layout", "direction"),
    list(itertools.product(["RNN", "GRU", "LSTM"], [0, 1], ["forward", "bidirectional"])),
)
def test_recurrent(kind, layout, direction):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    steps, batch, features, hidden, directions = 7, 2, 5, 6, 1 + (direction == "bidirectional")
    weights = [tensor("w", (directions, gates * hidden, features)), tensor("r", (directions, gates * hidden, hidden))]
    shape = (batch, steps, features) if layout else (steps, batch, features)
    stated = {"hidden_size": hidden, "direction": direction, "layout": layout}
    nodes = [node(kind, ["x", "w", "r"], ["y"], name="rnn", **stated)]
    network = network_of(build(nodes, {"x": [shape]}, weights))
    assert network.macs == directions * steps * batch * gates * hidden * (features + hidden)
    assert network["rnn:input"] == Linear(features, gates * hidden, batch=steps * batch)
    first = 2 if kind == "GRU" else gates
    assert network["rnn:state"] == Gemm(batch, first * hidden, hidden, count=steps)
    assert len(network.priced) == directions * (3 if kind == "GRU" else 2)
    if kind == "GRU":  # the state goes into all three gates at once where the reset comes behind the product
        nodes[0].attribute.append(helper.make_attribute("linear_before_reset", 1))
        assert network_of(build(nodes, {"x": [shape]}, weights))["rnn:state"] == Gemm(
            batch, 3 * hidden, hidden, count=steps
        )


def test_attention_as_one_operator():
    inputs = {"q": [(2, 10, 64)], "k": [(2, 12, 32)], "v": [(2, 12, 48)]}
    nodes = [node("Attention", ["q", "k", "v"], ["y"], name="att", q_num_heads=4, kv_num_heads=2)]
    network = network_of(build(nodes, inputs, opset=23))
    assert network["att:scores"] == MatMul(10, 12, 16, batch=8, weights_shared_by=2)
    assert network["att:values"] == MatMul(10, 24, 12, batch=8, weights_shared_by=2)
    inputs = {"q": [(2, 4, 10, 16)], "k": [(2, 4, 12, 16)], "v": [(2, 4, 12, 8)]}
    network = network_of(build([node("Attention", ["q", "k", "v"], ["y"], name="att")], inputs, opset=23))
    assert (network["att:scores"], network["att:values"]) == (MatMul(10, 12, 16, 8), MatMul(10, 8, 12, 8))
    inputs |= {"pk": [(2, 4, 5, 16)], "pv": [(2, 4, 5, 8)]}
    nodes = [node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], name="att")]
    assert network_of(build(nodes, inputs, opset=23))["att:scores"] == MatMul(10, 17, 16, 8)


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
def test_axes_of_one_are_told_apart(added, left_out, opset):
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
    network = network_of(build(nodes, {"x": [(2, 3, 5, 6)]}, weights, opset=opset))
    is_gone = added != left_out and added != -1
    assert network.widths["one"].fixed == ("a squeeze" if is_gone else "")
    if not is_gone:
        assert network.at({"one": 7})["next"].in_channels == 7


@pytest.mark.parametrize("repeated", REPEATED)
@pytest.mark.parametrize("use", USES)
def test_every_way_to_repeat_heads_is_shared(use, repeated):
    lists = {"times": [1, 4, 1, 1], "axis": [2], "wide": [2, 2, 4, 6, 16], "heads": [2, 8, 6, 16]}
    inputs = {"q": [(2, 8, 10, 16)], "k": [(2, 2, 6, 16)], "v": [(2, 8, 6, 5)]}
    ints = [numbers(name, each) for name, each in lists.items()]
    network = network_of(build([*REPEATED[repeated], *USES[use]], inputs, ints, opset=23))
    layer = next(iter(network.priced.values())).layer
    (gemm,) = layer.gemms()
    assert gemm.macs == 2 * 8 * 10 * 6 * 16
    operand = "inputs" if use == "other order" else "weights"
    assert gemm.elements(operand) == 2 * 2 * 6 * 16
    assert f"{operand}_shared_by=4" in repr(layer)


def test_operands_that_products_share():
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
    network = network_of(build(nodes, inputs, ints))
    assert network["scores"] == MatMul(10, 6, 16, batch=16, weights_shared_by=4)
    assert network["values"] == MatMul(10, 5, 6, batch=16, weights_shared_by=2)
    # an expansion moves nothing, and of a copy each element once
    assert [each for each in network.values() if isinstance(each, MemoryOnly)] == [
        MemoryOnly("Unsqueeze"), MemoryOnly("Expand"), MemoryOnly("Reshape"), MemoryOnly("Transpose", 384, 384),
    ]  # fmt: skip


def test_attention_of_onnx_runtime():
    nodes = [node("Attention", ["x", "w", "b"], ["y"], name="att", domain=MS, num_heads=4)]
    network = network_of(build(nodes, {"x": [(2, 10, 64)]}, [tensor("w", (64, 192)), tensor("b", (192,))]))
    assert network["att:projection"] == Linear(64, 192, batch=20)
    assert network["att:scores"] == MatMul(10, 10, 16, batch=8)
    inputs = {"q": [(2, 10, 64)], "k": [(2, 12, 64)], "v": [(2, 12, 32)]}
    nodes = [
        node("MultiHeadAttention", ["q", "k", "v"], ["a"], name="att", domain=MS, num_heads=4),
        node("MatMul", ["a", "w"], ["y"], name="out"),
    ]
    network = network_of(build(nodes, inputs, [tensor("w", (32, 5))]))
    assert (network["att:scores"], network["att:values"]) == (MatMul(10, 12, 16, 8), MatMul(10, 8, 12, 8))
    assert network["out"] == Linear(32, 5, batch=20)


def test_what_onnx_runtime_fuses():
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
    network = network_of(build(nodes, {"x": [(1, 3, 9, 8)], "z": [(1, 4, 9, 8)]}, weights))
    assert {name: network[name] for name in network.priced} == {
        "conv": Conv2d(3, 4, 3, 9, 8, padding=1),
        "fc": Linear(288, 5),
        "packed": Linear(5, 7),
    }
    assert not network.unsupported


# ---------------------------------------------------------------- einsum


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
        ("bhqd,bhkd->bhqk", (2, 3, 4, 8), (2, 3, 5, 8), Gemm(4, 5, 8, 6), MatMul(4, 5, 8, 6)),
        ("bqhd, bkhd -> bhqk", (2, 4, 3, 8), (2, 5, 3, 8), Gemm(4, 5, 8, 6), MatMul(4, 5, 8, 6)),
        ("abc,cbd->ad", (2, 3, 4), (4, 3, 5), Linear(12, 5, batch=2), MatMul(2, 5, 12)),
        ("i,i->", (4,), (4,), Linear(4, 1), MatMul(1, 1, 4)),
        ("ij,jk", (3, 4), (4, 5), Linear(4, 5, batch=3), MatMul(3, 5, 4)),
        ("nctv,vw->nctw", (2, 3, 4, 5), (5, 6), Linear(5, 6, batch=24), MatMul(24, 6, 5)),
    ],
)
def test_einsum(equation, a, b, of_weight, of_activations):
    weight = layers_of("Einsum", a, b, b_is_weight=True, equation=equation)
    activations = layers_of("Einsum", a, b, b_is_weight=False, equation=equation)
    assert (weight, activations) == (of_weight, of_activations)
    assert sum(gemm.macs for gemm in activations.gemms()) == macs_of(equation, a, b)


def test_einsum_with_dots():
    assert layers_of("Einsum", (2, 7, 3, 4), (4, 5), b_is_weight=True, equation="...ij,jk->...ik") == Linear(
        4, 5, batch=42
    )
    assert layers_of("Einsum", (2, 3, 4), (2, 4, 5), b_is_weight=False, equation="...ij,...jk") == MatMul(3, 5, 4, 2)


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
def test_einsum_of_any_operands(equation, shapes, products):
    inputs = {f"x{i}": [shape] for i, shape in enumerate(shapes)}
    nodes = [node("Einsum", list(inputs), ["y"], name="e", equation=equation), GEMM]
    network = network_of(build(nodes, inputs | {"a": [(2, 3)]}, [tensor("w", (3, 4))]))
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


def test_einsum_of_three_with_weights():
    """The weights that come first are multiplied once; an activation meets weights in a linear layer."""
    weights = [tensor("a", (3, 4)), tensor("b", (4, 5))]
    nodes = [node("Einsum", ["a", "b", "x"], ["y"], name="e", equation="ij,jk,nk->ni")]
    assert only(network_of(build(nodes, {"x": [(7, 5)]}, weights))) == Linear(5, 3, batch=7)
    nodes = [node("Einsum", ["x", "b", "a"], ["y"], name="e", equation="nk,jk,ij->ni")]
    assert only(network_of(build(nodes, {"x": [(7, 5)]}, weights))) == [Linear(5, 4, batch=7), Linear(4, 3, batch=7)]


def test_einsum_that_is_free():
    nodes = [
        node("Einsum", ["x"], ["t"], name="transpose", equation="ij->ji"),
        node("Einsum", ["t", "t"], ["m"], name="multiply", equation="ij,ij->ij"),
        node("MatMul", ["m", "w"], ["y"], name="fc"),
    ]
    network = network_of(build(nodes, {"x": [(3, 4)]}, [tensor("w", (3, 5))]))
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
