"""ONNX graphs: widths that follow, shapes that are computed, operators by kind, names and dims."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwcost import Conv2d, InvalidValueError, Linear, SystolicArray, network_cost
from hwcost.network.operations import MemoryOnly, Unsupported

onnx = pytest.importorskip("onnx")

from graphs import FLOAT, GEMM, INT64, attention, build, info, lenet, network_of, node, numbers, only, tensor  # noqa: E402
from onnx import helper  # noqa: E402

from hwcost.importers.naming import words  # noqa: E402
from hwcost.importers.onnx.table import AXES, FREE, PRODUCTS  # noqa: E402

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
def test_other_widths_are_the_same_network_built_smaller(make, small_sizes, widths):
    network = network_of(make())
    smaller = network_of(make(**small_sizes))
    at = network.at(dict(zip(widths, small_sizes.values(), strict=True)))
    assert [at[name] for name in network.priced] == [smaller[name] for name in smaller.priced]
    assert list(network.priced) == list(smaller.priced)
    array = SystolicArray(8, 8)
    priced = {name: at[name] for name in network.priced}
    assert network_cost(priced, array).total == network_cost({n: smaller[n] for n in smaller.priced}, array).total


def test_what_cannot_change_says_why():
    network = network_of(concatenated())
    assert network.widths["fc"].fixed == "an output of the network"
    assert network_of(shuffled()).widths["wide"].multiple == 8
    assert network_of(shuffled()).widths["grouped"].multiple == 2
    assert network_of(attention()).widths["q"].fixed == "a reshape"


def test_parameters_follow_widths():
    network = network_of(lenet())
    from fractions import Fraction

    assert network.parameters["fc1.weight"] == ((("fc1", Fraction(1)),), (("conv2", Fraction(25)),))
    assert network.parameters["conv1.bias"] == ((("conv1", Fraction(1)),),)


def test_equal_biases_are_no_bond():
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
    network = network_of(build(nodes, {"x": [(1, 3, 5, 5)]}, weights))
    assert network.at({"first": 5})["second"] == Conv2d(5, 8, 1, 5, 5)


# ---------------------------------------------------------------- shapes that are computed


def test_shapes_that_the_graph_computes():
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
    network = network_of(build(nodes, {"x": [("batch", 3, 8, 8)]}, weights), dims={"batch": 6})
    assert only(network) == Linear(192, 10, batch=6)
    assert list(network) == ["flat", "fc"]  # what is computed beforehand runs never


def test_branches_whose_condition_is_known():
    def branch(name, weight):
        return helper.make_graph([node("MatMul", ["x", weight], [name], name=name)], name, [], [info(name, None)])

    nodes = [
        node("Size", ["x"], ["size"]),
        node("Equal", ["size", "twelve"], ["is"]),
        node("If", ["is"], ["out"], name="if", then_branch=branch("then", "w1"), else_branch=branch("else", "w2")),
        node("MatMul", ["out", "w3"], ["y"], name="behind"),
    ]
    weights = [numbers("twelve", 12), tensor("w1", (4, 5)), tensor("w2", (4, 6)), tensor("w3", (5, 7))]
    network = network_of(build(nodes, {"x": [(3, 4)]}, weights))
    assert dict(network) == {"then": Linear(4, 5, batch=3), "behind": Linear(5, 7, batch=3)}


def test_behind_what_is_not_known():
    nodes = [
        node("NonZero", ["x"], ["places"], name="places"),
        node("Cast", ["places"], ["floats"], to=FLOAT),
        node("MatMul", ["w", "floats"], ["y"], name="fc"),
    ]
    network = network_of(build(nodes, {"x": [(3, 4)]}, [tensor("w", (5, 2))]))
    assert str(network["fc"]) == "MatMul (the shape of 'floats' is not known)"
    assert isinstance(network["places"], MemoryOnly)
    assert network.notes == ("where a shape depends on values, reads and writes are not counted",)


def test_functions_are_written_out():
    function = helper.make_function(
        "mine", "Layer", ["a", "b"], ["c"],
        [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["c"])], [helper.make_opsetid("", 21)],
    )  # fmt: skip
    nodes = [
        node("Layer", ["x", "w"], ["h"], domain="mine", name="one"),
        node("Layer", ["h", "v"], ["y"], domain="mine"),
    ]
    weights = [tensor("w", (4, 5)), tensor("v", (5, 6))]
    network = network_of(build(nodes, {"x": [(3, 4)]}, weights, domains=("mine",), functions=[function]))
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


def test_what_is_not_known_is_named():
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv"),
        node("Fast", ["c"], ["f"], name="own", domain="my.domain"),
        node("Conv", ["f", "v"], ["y"], name="behind"),
        node("DFT", ["c"], ["d"], name="fourier"),
        node("MadeUp", ["c"], ["e"], name="made up"),
    ]
    weights = [tensor("w", (4, 3, 3, 3)), tensor("v", (5, 4, 1, 1))]
    network = network_of(build(nodes, {"x": [(1, 3, 8, 8)]}, weights, domains=("my.domain",)))
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
    assert network_of(with_shape)["behind"] == Conv2d(4, 5, 1, 6, 6)


def test_reads_and_writes():
    nodes = [
        node("Gather", ["table", "ids"], ["e"], name="look up"),
        node("Reshape", ["e", "to"], ["r"], name="view"),
        node("Concat", ["r", "r"], ["c"], name="cat", axis=1),
        node("MatMul", ["c", "w"], ["y"], name="fc"),
    ]
    weights = [tensor("table", (1000, 8)), numbers("to", [6, 8]), tensor("w", (16, 4))]
    network = network_of(build(nodes, {"ids": [(2, 3), INT64]}, weights))
    assert network["look up"] == MemoryOnly("Gather", 96, 48)
    assert network["view"] == MemoryOnly("Reshape")
    assert network["cat"] == MemoryOnly("Concat", 96, 96)
    ((table, _),), _ = network.parameters["table"]
    assert network.widths[table].fixed == "a look-up"


def outcome(model):
    """The network, or None where the file is refused, which takes one line."""
    try:
        return network_of(model)
    except InvalidValueError as error:
        message = str(error)
    assert "\n" not in message
    return None


@pytest.mark.parametrize("kind", sorted(FREE))
def test_free_operators_with_nonsense(kind):
    """Whatever stands in a file ends in an answer or in one line."""
    for count, shape in itertools.product((1, 2, 3), ((2, 4, 6, 6), (3,), ())):
        nodes = [GEMM, node(kind, ["x", "y", "z"][:count], ["out"], name="it")]
        inputs = {"a": [(2, 3)], "x": [shape], "y": [shape], "z": [shape]}
        network = outcome(build(nodes, inputs, [tensor("w", (3, 4))]))
        if network is not None:
            assert list(network.priced) == ["gemm"]
            assert isinstance(network.get("it", MemoryOnly(kind)), (MemoryOnly, Unsupported))


@pytest.mark.parametrize(("domain", "kind"), [(*kind.rpartition("::")[::2],) for kind in sorted(PRODUCTS)])
def test_products_with_nonsense(domain, kind):
    for count, shape in itertools.product((1, 2, 3, 8), ((2, 4, 6, 6), (4, 4), (2, 3, 4), (3,), (), (0, 4))):
        names = [f"x{i}" for i in range(count)]
        nodes = [GEMM, node(kind, names, ["out"], name="it", domain=domain)]
        inputs = {"a": [(2, 3)]} | {name: [shape] for name in names}
        network = outcome(build(nodes, inputs, [tensor("w", (3, 4))], opset=23))
        assert network is None or any(name.startswith("it") for name in network)


# ---------------------------------------------------------------- names


def test_names_and_paths():
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
    network = network_of(build(nodes, {"x": [(1, 3, 8, 8)]}, weights))
    assert {name: each.path for name, each in network.operations.items()} == {
        "layer1.0.conv1": "layer1.0.conv1",
        "layer1.0.relu:Relu": "layer1.0.relu",
        "Conv_3": "layer1.1.conv",
        "out.of": "out.of",
        "Conv_3 (2)": "",
        "e": "",
    }
    assert network.name == "net"
    assert network_of(build(nodes, {"x": [(1, 3, 8, 8)]}, weights), name="mine").name == "mine"


# ---------------------------------------------------------------- dims


def dynamic(*shape):
    return build([node("MatMul", ["x", "w"], ["y"], name="fc")], {"x": [shape]}, [tensor("w", (4, 5))])


def test_dims():
    assert only(network_of(dynamic("batch", "tokens", 4), dims={"batch": 2, "tokens": 3})) == Linear(4, 5, batch=6)
    assert only(network_of(dynamic(None, 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    assert only(network_of(dynamic("batch", 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    assert only(network_of(dynamic(2, 3, 4), dims={"x:0": 2})) == Linear(4, 5, batch=6)
    shapeless = build([node("MatMul", ["x", "w"], ["y"])], {"x": [None]}, [tensor("w", (4, 5))])
    assert only(network_of(shapeless, dims={"x:0": 2, "x:1": 4})) == Linear(4, 5, batch=2)


@pytest.mark.parametrize(
    ("shape", "dims", "words"),
    [
        (("batch", 3, 4), {}, "dimension 'batch' (axis 0 of 'x') is missing; needed: a size, as "
         "dims={'batch': 1}, on the command line --dim batch=1"),
        ((None, "n", 4), {"n": 3}, "dimension 'x:0' is missing"),
        (("a", "b", 4), {}, "--dim a=1 --dim b=1"),
        (("batch", 3, 4), {"bach": 1}, "unknown name 'bach' in dims (did you mean 'batch'?); known: batch, x:0, "
         "x:1, x:2"),
        (("batch", 3, 4), {"batch": -1}, "dims['batch'] is -1"),
        (("batch", 3, 4), {"batch": 2.5}, "dims['batch'] is 2.5"),
        ((2, 3, 4), {"x:0": 1}, "dims['x:0'] is 1; allowed: 2"),
        (None, {}, "the shape of 'x' is missing"),
    ],
)  # fmt: skip
def test_bad_dims(shape, dims, words):
    model = (
        dynamic(*shape) if shape else build([node("MatMul", ["x", "w"], ["y"])], {"x": [None]}, [tensor("w", (4, 5))])
    )
    with pytest.raises(InvalidValueError) as caught:
        network_of(model, dims=dims)
    assert words in str(caught.value)
