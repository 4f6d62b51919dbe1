"""ONNX operators of newer versions and of ONNX Runtime, and sequences of tensors."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from graphs import BOOL, FLOAT, INT8, INT32, INT64, MS, UINT8, build, info, inner, network_of, node, numbers, tensor  # noqa: E402
from onnx import helper  # noqa: E402

from hwcost import Conv2d, Gemm, Linear, MatMul  # noqa: E402
from hwcost.network.operations import MemoryOnly  # noqa: E402

# ---------------------------------------------------------------- attention with grouped queries


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("past", "total", "keys"), [(0, None, 3), (5, None, 8), (5, 8, 8), (64, 8, 8)])
def test_grouped_queries_of_onnx_runtime(packed, past, total, keys):
    """32 columns of 4 heads of queries and 2 of keys; the past may be kept in a buffer that is longer than it."""
    names = (
        ["q", "", "", "pk", "pv", "lengths", "total" if total else ""]
        if packed
        else ["q", "k", "v", "pk", "pv", "lengths"]
    )
    if not packed and total:
        names.append("total")
    inputs = {"q": [(2, 3, 64 if packed else 32)], "lengths": [(2,), INT32]}
    inputs |= {} if packed else {"k": [(2, 3, 16)], "v": [(2, 3, 16)]}
    inputs |= {"pk": [(2, 2, past, 8)], "pv": [(2, 2, past, 8)]}
    nodes = [
        node("GroupQueryAttention", names, ["a", "nk", "nv"], name="att", domain=MS, num_heads=4, kv_num_heads=2),
        node("MatMul", ["a", "w"], ["y"], name="out"),
        node("MatMul", ["nk", "u"], ["z"], name="cache"),
    ]
    weights = [tensor("w", (32, 5)), tensor("u", (8, 2)), *([numbers("total", total, "int32")] if total else [])]
    network = network_of(build(nodes, inputs, weights))
    assert network["att:scores"] == MatMul(3, keys, 8, batch=8, weights_shared_by=2)
    assert network["att:values"] == MatMul(3, 8, keys, batch=8, weights_shared_by=2)
    assert network["out"] == Linear(32, 5, batch=6)
    assert network["cache"] == Linear(8, 2, batch=4 * max(past, keys))


@pytest.mark.parametrize("heads", [(0, 2), (4, 0), (4, 3), (5, 5)])
def test_heads_that_do_not_go_with_queries_are_named(heads):
    many, few = heads
    nodes = [
        node("GroupQueryAttention", ["q", "k", "v"], ["a"], name="att", domain=MS, num_heads=many, kv_num_heads=few)
    ]
    inputs = {"q": [(2, 3, 32)], "k": [(2, 3, 16)], "v": [(2, 3, 16)]}
    assert "heads do not go with" in str(network_of(build(nodes, inputs))["att"])


# ---------------------------------------------------------------- quantized by ONNX Runtime


def test_quantized_attention():
    names = ["x", "w", "b", "xs", "ws", "", "xz", "wz", "past"]
    nodes = [
        node("QAttention", names, ["a", "present"], name="att", domain=MS, num_heads=4),
        node("MatMul", ["a", "v"], ["y"], name="out"),
    ]
    weights = [tensor("w", (64, 192), INT8), tensor("b", (192,)), tensor("v", (64, 5))]
    weights += [tensor(name, (), kind) for name, kind in (("xs", FLOAT), ("ws", FLOAT), ("xz", INT8), ("wz", INT8))]
    network = network_of(build(nodes, {"x": [(2, 10, 64), INT8], "past": [(2, 2, 4, 6, 16)]}, weights))
    assert {name: network[name] for name in network.priced} == {
        "att:projection": Linear(64, 192, batch=20),
        "att:scores": MatMul(10, 16, 16, batch=8),
        "att:values": MatMul(10, 16, 16, batch=8),
        "out": Linear(64, 5, batch=20),
    }


def test_quantized_recurrence():
    names = ["x", "w", "r", "b", "", "", "", "", "s", "z", "s", "z"]
    nodes = [
        node("DynamicQuantizeLSTM", names, ["y", "h"], name="rnn", domain=MS, hidden_size=6, direction="bidirectional"),
        node("Squeeze", ["h", "first"], ["f"]),
        node("MatMul", ["y", "v"], ["z2"], name="all"),
    ]
    weights = [tensor("w", (2, 5, 24), INT8), tensor("r", (2, 6, 24), INT8), tensor("b", (2, 48)), tensor("v", (6, 3))]
    weights += [tensor("s", (2,)), tensor("z", (2,), INT8), numbers("first", [0])]
    network = network_of(build(nodes[::2], {"x": [(7, 2, 5)]}, weights))
    expected = {"input": Linear(5, 24, batch=14), "state": Gemm(2, 24, 6, count=7)}
    assert [network[name] for name in list(network.priced)[:4]] == [*expected.values(), *expected.values()]
    assert network["all"] == Linear(6, 3, batch=7 * 2 * 2)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("DynamicQuantizeMatMul", ["x", "w", "s", "z", "bias"]),
        ("DynamicQuantizeMatMul", ["x", "w", "s"]),
        ("MatMulIntegerToFloat", ["x", "w", "s", "s", "z", "z", "bias"]),
        ("MatMulIntegerToFloat", ["x", "w", "s", "s"]),
    ],
)
def test_quantized_products(kind, names):
    nodes = [node(kind, names, ["h"], name="fc", domain=MS), node("MatMul", ["h", "v"], ["y"], name="behind")]
    weights = [
        tensor("w", (4, 5), INT8),
        tensor("v", (5, 2)),
        tensor("s", ()),
        tensor("z", (), INT8),
        tensor("bias", (5,)),
    ]
    network = network_of(build(nodes, {"x": [(2, 3, 4), UINT8 if kind[0] == "M" else FLOAT]}, weights))
    assert dict(network) == {"fc": Linear(4, 5, batch=6), "behind": Linear(5, 2, batch=6)}
    assert network.at({"fc": 3})["behind"] == Linear(3, 2, batch=6)


def test_a_quantized_concatenation():
    nodes = [
        node("QLinearConcat", ["s", "z", "x", "s", "z", "y", "s", "z"], ["c"], name="cat", domain=MS, axis=1),
        node("QLinearMatMul", ["c", "s", "z", "w", "s", "z", "s", "z"], ["out"], name="fc"),
    ]
    weights = [tensor("s", ()), tensor("z", (), INT8), tensor("w", (7, 5), INT8)]
    network = network_of(build(nodes, {"x": [(2, 3), INT8], "y": [(2, 4), INT8]}, weights))
    assert network["fc"] == Linear(7, 5, batch=2)


def test_weights_that_nodes_of_onnx_runtime_quantize():
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], domain=MS),
        node("DequantizeLinear", ["q", "s", "z"], ["d"], domain=MS),
        node("DequantizeLinear", ["w", "s", "z"], ["v"], domain=MS),
        node("MatMul", ["d", "v"], ["y"], name="fc"),
    ]
    weights = [tensor("w", (4, 5), INT8), tensor("s", ()), tensor("z", (), INT8)]
    assert network_of(build(nodes, {"x": [(3, 4)]}, weights))["fc"] == Linear(4, 5, batch=3)


# ---------------------------------------------------------------- of ONNX itself


@pytest.mark.parametrize("mask", [False, True])
def test_a_deformable_convolution_is_the_convolution(mask):
    shapes = {"x": (1, 6, 9, 8), "offset": (1, 18, 5, 4), "mask": (1, 9, 5, 4)}
    names = ["x", "w", "offset", "b", "mask"][: 5 if mask else 4]
    stated = {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2}
    nodes = [node("DeformConv", names, ["y"], name="conv", **stated)]
    inputs = {name: [shape] for name, shape in shapes.items() if name in names}
    network = network_of(build(nodes, inputs, [tensor("w", (4, 3, 3, 3)), tensor("b", (4,))], opset=22))
    assert network["conv"] == Conv2d(6, 4, 3, 9, 8, stride=2, padding=1, groups=2)


def test_a_grid_of_an_affine_map():
    nodes = [node("AffineGrid", ["theta", "size"], ["y"], name="grid")]
    network = network_of(build(nodes, {"theta": [(3, 2, 3)]}, [numbers("size", [3, 4, 5, 6])]))
    assert network["grid"] == MatMul(30, 2, 3, batch=3)


# ---------------------------------------------------------------- sequences


def test_sequences_are_followed():
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="first"),
        node("SequenceConstruct", ["x", "h"], ["s"]),
        node("SequenceInsert", ["s", "x", "zero"], ["t"]),
        node("SequenceErase", ["t"], ["u"]),
        node("SequenceInsert", ["u", "h"], ["all"]),
        node("ConcatFromSequence", ["all"], ["c"], axis=1),
        node("MatMul", ["c", "b"], ["y"], name="second"),
        node("SequenceAt", ["all", "last"], ["l"]),
        node("MatMul", ["l", "c2"], ["z"], name="third"),
        node("ConcatFromSequence", ["some"], ["stacked"], axis=0, new_axis=1),
        node("SequenceConstruct", ["x", "x", "x"], ["some"]),
        node("MatMul", ["stacked", "d"], ["w"], name="fourth"),
    ]
    weights = [tensor("a", (4, 6)), tensor("b", (14, 5)), tensor("c2", (6, 2)), tensor("d", (4, 3))]
    weights += [numbers("zero", 0), numbers("last", -1)]
    network = network_of(build(nodes, {"x": [(3, 4)]}, weights))
    assert not network.unsupported
    assert {name: network[name] for name in network.priced} == {
        "first": Linear(4, 6, batch=3),
        "second": Linear(14, 5, batch=3),
        "third": Linear(6, 2, batch=3),
        "fourth": Linear(4, 3, batch=9),
    }
    assert network.at({"first": 2})["second"] == Linear(10, 5, batch=3)


@pytest.mark.parametrize(
    ("sizes", "keeps", "shapes"), [([2, 3], 1, [2, 3]), (2, 1, [2, 2, 1]), (None, 1, [1] * 5), (None, 0, [])]
)
def test_pieces_of_a_tensor_in_a_sequence(sizes, keeps, shapes):
    names = ["x"] if sizes is None else ["x", "sizes"]
    nodes = [
        node("SplitToSequence", names, ["s"], axis=1, keepdims=keeps),
        node("SequenceAt", ["s", "last"], ["l"]),
        node("MatMul", ["l", "w"], ["y"], name="fc"),
        node("SequenceLength", ["s"], ["n"]),
    ]
    weights = [tensor("w", (shapes[-1] if shapes else 4, 6)), numbers("last", -1)]
    weights += [] if sizes is None else [numbers("sizes", sizes)]
    network = network_of(build(nodes, {"x": [(4, 5)]}, weights))
    assert network["fc"] == Linear(shapes[-1], 6, batch=4) if shapes else Linear(4, 6)


def test_many_pieces_take_no_memory():
    nodes = [
        node("SplitToSequence", ["x"], ["s"], axis=1),
        node("SequenceAt", ["s", "zero"], ["first"]),
        node("MatMul", ["first", "w"], ["y"], name="fc"),
        node("MatMul", ["v", "w"], ["z"], name="other"),
    ]
    network = network_of(build(nodes, {"x": [(4, 2**40)], "v": [(2, 1)]}, [tensor("w", (1, 6)), numbers("zero", 0)]))
    assert dict(network.priced).keys() == {"fc", "other"}
    assert network["fc"] == Linear(1, 6, batch=4)


def test_a_loop_that_appends_to_a_sequence():
    """What a scripted loop over a list becomes."""
    step = [info("i", (), INT64), info("c", (), BOOL)]
    nodes = [
        node("Gather", ["x", "i"], ["row"], axis=0),
        node("MatMul", ["row", "w"], ["h"], name="cell"),
        node("SequenceInsert", ["list", "h"], ["longer"]),
        node("Identity", ["c"], ["go"]),
    ]
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    body = inner(nodes, ["go", helper.make_value_info("longer", kind)], [*step, helper.make_value_info("list", kind)])
    around = [
        node("SequenceEmpty", [], ["none"]),
        node("Loop", ["times", "", "none"], ["full"], name="loop", body=body),
        node("ConcatFromSequence", ["full"], ["all"], axis=0, new_axis=1),
        node("MatMul", ["all", "v"], ["y"], name="behind"),
    ]
    inputs, weights = {"x": [(5, 3, 4)]}, [tensor("w", (4, 6)), tensor("v", (6, 2)), numbers("times", 5)]
    network = network_of(build(around, inputs, weights))
    assert network.macs == 5 * 3 * 4 * 6 + 15 * 6 * 2
    assert network["behind"] == Linear(6, 2, batch=15)
    open_ended = network_of(build(around, inputs | {"times": [(), INT64]}, weights[:2]))
    assert list(open_ended.unsupported) == ["loop", "behind"]


def test_free_operators_on_texts_and_options():
    nodes = [
        node("OptionalHasElement", ["x"], ["has"], name="has"),
        node("MelWeightMatrix", ["bins", "length", "rate", "low", "high"], ["mel"], name="mel"),
        node("MatMul", ["x", "w"], ["y"], name="fc"),
    ]
    weights = [tensor("w", (4, 5)), numbers("bins", 8), numbers("length", 16), numbers("rate", 8000)]
    weights += [tensor("low", ()), tensor("high", ())]
    network = network_of(build(nodes, {"x": [(3, 4)]}, weights))
    assert not network.unsupported
    assert network["has"] == MemoryOnly("OptionalHasElement")
