"""TFLite networks: the same as in PyTorch, widths, names, and what is free or not known."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("tflite")

from lite import CODES, Net, lenet, mobilenet, network_of, resnet

from hwcost import Linear, SystolicArray, network_cost
from hwcost.importers.tflite import free
from hwcost.importers.tflite.bodies import HOLD_GRAPHS
from hwcost.importers.tflite.products import PRODUCTS
from hwcost.importers.tflite.table import AXES, FREE
from hwcost.network.operations import MemoryOnly, size_at

# ---------------------------------------------------------------- the same networks in PyTorch


def torch_networks():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    def conv(a, b, side, stride=1, groups=1):
        return nn.Conv2d(a, b, side, stride, padding=side // 2, groups=groups)

    class Block(nn.Module):
        def __init__(self, a, own, b, stride):
            super().__init__()
            self.a, self.b = conv(a, own, 3, stride), conv(own, b, 3)
            self.short = nn.Identity() if a == b and stride == 1 else conv(a, b, 1, stride)

        def forward(self, x):
            return self.short(x) + self.b(self.a(x))

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    small_lenet = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10),
    )  # fmt: skip
    widths, blocks = (8, 16, 24, 32), []
    for a, b, stride in zip(widths, widths[1:], (1, 2, 2), strict=False):
        blocks += [conv(a, a, 3, stride, groups=a), conv(a, b, 1)]
    small_mobilenet = nn.Sequential(conv(3, 8, 3, 2), *blocks, Mean(), nn.Linear(32, 10))
    eight = nn.Sequential(
        conv(3, 16, 3), Block(16, 16, 16, 1), Block(16, 32, 32, 2), Block(32, 64, 64, 2), Mean(), nn.Linear(64, 10)
    )
    image = (1, 3, 32, 32)
    return {"lenet": (small_lenet, (1, 1, 28, 28)), "mobilenet": (small_mobilenet, image), "resnet": (eight, image)}


LITE = {"lenet": lenet, "mobilenet": mobilenet, "resnet": resnet}
ARRAYS = (
    SystolicArray(16, 16),
    SystolicArray(8, 32, dataflow="os", fold_timing="serial"),
    SystolicArray(128, 128, dataflow="is", dram_bytes_per_s=1e9),
)


@pytest.mark.parametrize("kind", ["FLOAT32", "INT8"])
@pytest.mark.parametrize("name", LITE)
def test_the_same_network_in_pytorch_takes_the_same_cycles(name, kind):
    from hwcost import from_torch

    module, shape = torch_networks()[name]
    other, network = from_torch(module, shape), network_of(LITE[name](kind=kind))
    assert network.macs == other.macs
    products = [[g for each in some.priced.values() for g in each.layer.gemms()] for some in (network, other)]
    sizes = [sorted((g.m, g.n, g.k, g.count) for g in each) for each in products]
    assert sizes[0] == sizes[1]
    for array in ARRAYS:
        assert network_cost(network, array).total.cycles == network_cost(other, array).total.cycles
    open_widths = [sorted(width.size for width in some.widths.values() if not width.fixed) for some in (network, other)]
    assert open_widths[0] == open_widths[1]


# ---------------------------------------------------------------- random networks


def plan(rng):
    """Blocks of a random network: their kind, channels, side of the kernel and stride."""
    kinds = ["conv", *rng.choices(("conv", "depthwise", "residual", "concat", "pool", "grouped"), k=rng.randint(1, 6))]
    return [(kind, 2 * rng.randint(1, 6), rng.choice((1, 3, 5)), rng.choice((1, 1, 2))) for kind in kinds]


def as_lite(blocks):
    net = Net()
    x = net.input("x", (2, 21, 20, 4))
    for index, (kind, channels, side, stride) in enumerate(blocks):
        kernel, strides, name = (side, side), (stride, stride), f"n{index}"
        if kind in ("conv", "grouped"):
            x = net.conv(x, name, channels, kernel, strides, groups=2 if kind == "grouped" else 1)
        elif kind == "depthwise":
            x = net.depthwise(x, name, kernel, strides)
        elif kind == "residual":
            y = net.conv(net.conv(x, f"{name}a", channels, kernel), f"{name}b", net.shape(x)[3], kernel)
            x = net.elementwise("ADD", name, x, y)
        elif kind == "concat":
            parts = [net.conv(x, f"{name}a", channels, kernel), net.conv(x, f"{name}b", channels + 2, kernel)]
            x = net.op("CONCATENATION", parts, {name: (*net.shape(x)[:3], 2 * channels + 2)}, Axis=-1)
        else:
            x = net.pool(x, name, strides, strides)
    net.linear(net.linear(net.mean(x, "mean"), "fc", 6, 2), "head", 3, 2)
    return net


def as_torch(blocks):
    """The same as a function of a module that holds its layers."""
    from torch import nn
    from torch.nn import functional

    class Built(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.last, now = nn.ModuleList(), nn.ModuleList(), 4
            for kind, channels, side, stride in blocks:
                own = self.layers.append(nn.ModuleList())[-1]

                def conv(a, b, by=1, groups=1, own=own, side=side):
                    own.append(nn.Conv2d(a, b, side, by, side // 2, groups=groups))

                if kind in ("conv", "grouped"):
                    conv(now, channels, stride, 2 if kind == "grouped" else 1)
                    now = channels
                elif kind == "depthwise":
                    conv(now, now, stride, now)
                elif kind == "residual":
                    conv(now, channels)
                    conv(channels, now)
                elif kind == "concat":
                    conv(now, channels)
                    conv(now, channels + 2)
                    now = 2 * channels + 2
            self.last.extend([nn.Linear(now, 6), nn.Linear(6, 3)])

        def forward(self, x):
            import torch

            for (kind, _, _, stride), own in zip(blocks, self.layers, strict=True):
                if kind == "residual":
                    x = x + own[1](own[0](x))
                elif kind == "concat":
                    x = torch.cat([own[0](x), own[1](x)], 1)
                else:
                    x = own[0](x) if own else functional.max_pool2d(x, stride)
            return self.last[1](self.last[0](x.mean((2, 3))))

    return Built()


@pytest.mark.parametrize("seed", range(25))
def test_random_networks_are_those_of_pytorch_at_all_widths(seed):
    pytest.importorskip("torch")
    from hwcost import from_torch

    rng = random.Random(seed)
    blocks = plan(rng)
    one, other = network_of(as_lite(blocks)), from_torch(as_torch(blocks), (2, 4, 21, 20))
    for sizes in ([], rng.choices(range(1, 5), k=50)):
        found = []
        for network in (one, other):
            names = [name for name in network.priced if name in network.widths and not network.widths[name].fixed]
            at = {name: size * network.widths[name].multiple for name, size in zip(names, sizes, strict=False)}
            layers, places = network.at(at), list(network.priced)
            gemms = [[(g.m, g.n, g.k, g.count) for g in layers[name].gemms()] for name in places]
            found.append((gemms, [places.index(name) for name in names]))
        assert found[0] == found[1]


# ---------------------------------------------------------------- widths


def products(layers):
    """The products of all layers that have any."""
    found = {name: [(g.m, g.n, g.k, g.count) for g in layer.gemms()] for name, layer in layers.items()}
    return {name: gemms for name, gemms in found.items() if gemms}


@pytest.mark.parametrize(
    ("large", "small", "widths"),
    [
        (lenet(), lenet(5, 12, 100, 40), {"conv1": 5, "conv2": 12, "fc1": 100, "fc2": 40}),
        (mobilenet(), mobilenet((6, 10, 20, 30)), {"stem": 6, "pw0": 10, "pw1": 20, "pw2": 30}),
        (
            resnet(),
            resnet((12, 20, 40), inner=(10, 30, 50)),
            {"stem": 12, "a0": 10, "a1": 30, "b1": 20, "a2": 50, "b2": 40},
        ),
    ],
    ids=["lenet", "mobilenet", "resnet"],
)
def test_other_widths_are_the_same_network_built_smaller(large, small, widths):
    network, expected = network_of(large), network_of(small)
    assert products(network.at({})) == products(network)
    assert products(network.at(widths)) == products(expected)
    assert {name for name, width in network.widths.items() if not width.fixed} == set(widths)


def branches(a=8, b=12):
    """Two halves that are joined, cut and joined again; then blocks, a scale and a flattened map."""
    net = Net()
    x = net.conv(net.input("x", (1, 8, 8, 3)), "stem", a)
    left, right = net.conv(x, "left", b), net.conv(x, "right", a)
    x = net.op("CONCATENATION", [left, right], {"cat": (1, 8, 8, a + b)}, Axis=3)
    begin, sizes = net.numbers("begin", [0, 0, 0, b]), net.numbers("sizes", [-1, -1, -1, a])
    y = net.op("SLICE", [x, begin, sizes], {"slice": (1, 8, 8, a)})
    y = net.elementwise("MUL", "scaled", y, net.weight("scale", (a,)))
    inputs = [x, net.numbers("parts", [b, a]), net.numbers("along", 3)]
    parts = net.op("SPLIT_V", inputs, {"one": (1, 8, 8, b), "two": (1, 8, 8, a)}, NumSplits=2)
    y = net.elementwise("ADD", "sum", y, "two")
    y = net.op("SPACE_TO_DEPTH", [y], {"deep": (1, 4, 4, 4 * a)}, BlockSize=2)
    y = net.conv(y, "last", b, (1, 1))
    y = net.op("TRANSPOSE", [y, net.numbers("order", [0, 3, 1, 2])], {"turned": (1, b, 4, 4)})
    y = net.linear(net.reshape(y, "flat", (1, 16 * b), [1, -1]), "fc", 9)
    net.linear(net.mean(parts, "mean"), "other", 5)
    net.elementwise("RELU", "out", y)
    return net


def test_widths_through_joined_and_cut_channels():
    network = network_of(branches())
    widths = {"left": 10, "right": 6, "stem": 7, "last": 5}
    smaller = network.at(widths)
    assert smaller["last"].in_channels == 4 * 6
    assert smaller["fc"].in_features == 16 * 5
    assert smaller["other"].in_features == 10
    assert smaller["left"].in_channels == 7


def test_channels_that_become_a_larger_map():
    net = Net()
    x = net.conv(net.input("x", (1, 5, 6, 3)), "first", 8)
    net.conv(net.op("DEPTH_TO_SPACE", [x], {"wide": (1, 10, 12, 2)}, BlockSize=2), "second", 5)
    network = network_of(net)
    assert network.widths["first"].multiple == 4
    assert network.at({"first": 12})["second"].in_channels == 3


@pytest.mark.parametrize("side", [1, 3, 8])
def test_a_map_that_is_flattened_by_the_layer_behind_it(side):
    net = Net()
    x = net.conv(net.input("x", (2, side, side, 3)), "conv", 8)
    net.linear(x, "fc", 5, 2)
    network = network_of(net)
    assert network["fc"] == Linear(8 * side**2, 5, batch=2)
    assert network.at({"conv": 6})["fc"] == Linear(6 * side**2, 5, batch=2)


@pytest.mark.parametrize("kind", ["PACK", "UNPACK", "SPLIT", "GATHER", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE"])
def test_widths_through_views(kind):
    """A layer behind each of them follows the width before it, which for equal parts is that of a part."""
    net, a = Net(), 8
    x = net.linear(net.input("x", (4, 6)), "first", a, 4)
    if kind == "PACK":
        y = net.op(kind, [x, x], {"y": (2, 4, a)}, Axis=0, ValuesCount=2)
    elif kind == "UNPACK":
        y = net.op(kind, [x], {f"y{index}": (a,) for index in range(4)}, Axis=0, Num=4)
        y = net.op("EXPAND_DIMS", [y, net.numbers("at", 0)], {"row": (1, a)})
    elif kind == "SPLIT":
        y = net.op(kind, [net.numbers("at", 1), x], {"y": (4, a // 2), "z": (4, a // 2)}, NumSplits=2)
    elif kind == "GATHER":
        y = net.op(kind, [x, net.numbers("at", [0, 2, 2])], {"y": (3, a)}, Axis=0)
    elif kind == "SQUEEZE":
        y = net.op("EXPAND_DIMS", [x, net.numbers("at", 1)], {"wide": (4, 1, a)})
        y = net.op(kind, [y], {"y": (4, a)}, SqueezeDims=[1])
    elif kind == "EXPAND_DIMS":
        y = net.op(kind, [x, net.numbers("at", -2)], {"y": (4, 1, a)})
    else:
        ends = [net.numbers(name, values) for name, values in (("b", [1, 0]), ("e", [3, 0]), ("s", [1, 1]))]
        y = net.op(kind, [x, *ends], {"y": (2, a)}, EndMask=2)
    rows = 1
    for size in net.shape(y)[:-1]:
        rows *= size
    net.linear(y, "second", 5, rows)
    network = network_of(net, outputs=["second/MatMul"])
    layers = network.at({"first": 3})
    assert layers["second"].in_features == 3
    assert layers["first"].out_features == (6 if kind == "SPLIT" else 3)


def test_what_cannot_change_says_why():
    net = Net()
    x = net.conv(net.input("x", (1, 8, 8, 3)), "first", 8)
    x = net.op("PAD", [x, net.numbers("around", [[0, 0], [0, 0], [0, 0], [0, 4]])], {"padded": (1, 8, 8, 12)})
    net.conv(x, "second", 5)
    widths = network_of(net).widths
    assert widths["first"].fixed == "PAD"
    assert widths["second"].fixed == "an output of the network"


def test_parameters_follow_widths():
    network = network_of(mobilenet())
    now = {name: width.size for name, width in network.widths.items()}
    sizes = {name: [size_at(axis, now) for axis in axes] for name, axes in network.parameters.items()}
    assert sizes["pw0/w"] == [16, 1, 1, 8]
    assert sizes["dw0/w"] == [1, 3, 3, 8]
    assert [name for axis in network.parameters["dw1/w"] for name, _ in axis][-1] == "pw0"


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("output", "weight", "name"),
    [
        ("net/act/Relu6;net/bn/FusedBatchNormV3;net/conv1/Conv2D", "w", "net.conv1"),
        ("net/dw/BiasAdd;net/conv2/Conv2D;net/dw/depthwise", "net/dw/depthwise1", "net.dw"),
        ("StatefulPartitionedCall:0", "net/dense/MatMul", "net.dense"),
        ("StatefulPartitionedCall:0", "arith.constant3", "StatefulPartitionedCall:0"),
        ("model/conv/Relu", "arith.constant3", "model.conv"),
        ("", "w", "tensor"),
    ],
)
def test_names(output, weight, name):
    net = Net()
    inputs = [net.input("x", (1, 9, 8, 4)), net.weight(weight, (6, 3, 3, 4))]
    net.op("CONV_2D", inputs, {output: (1, 9, 8, 6)}, StrideH=1, StrideW=1, DilationHFactor=1, DilationWFactor=1)
    assert list(network_of(net)) == [name]


def test_operations_have_the_path_of_their_module():
    operations = network_of(resnet()).operations
    assert operations["a0"].path == "a0"
    assert operations["add0:ADD"].path == "add0"
    assert operations["mean"].path == ""


# ---------------------------------------------------------------- what is free, and what is not known


def test_the_tables_know_real_operators():
    names = set(CODES)
    for table in (*(getattr(free, each) for each in free.__all__), PRODUCTS, AXES, HOLD_GRAPHS):
        assert set(table) <= names
    assert set(AXES) <= FREE
    assert not FREE & set(PRODUCTS)
    unknown = {name for name in names - FREE - set(PRODUCTS) - set(HOLD_GRAPHS) if not name.startswith("STABLEHLO")}
    assert unknown == {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", "RFFT2D"}


def test_reads_and_writes():
    network = network_of(lenet())
    assert network.memory_only["pool1"].layer == MemoryOnly("MAX_POOL_2D", 28 * 28 * 6, 14 * 14 * 6)
    assert network.memory_only["flat"].layer == MemoryOnly("RESHAPE")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("MyOperator", "MyOperator (a custom operator)"),
        ("STABLEHLO_DOT_GENERAL", "STABLEHLO_DOT_GENERAL (not known to be free)"),
        ("RFFT2D", "RFFT2D (not known to be free)"),
    ],
)
def test_what_is_not_known_is_named(kind, words):
    net = Net()
    x = net.linear(net.input("x", (1, 4)), "first", 8)
    net.linear(net.op(kind, [x], {"odd": (1, 8)}), "second", 3)
    network = network_of(net)
    assert str(network["odd"]) == words
    assert network.widths["first"].fixed == kind


def test_an_operator_of_ones_own():
    from hwcost.importers import rules

    net = Net()
    x = net.op("MyProduct", [net.input("x", (3, 4)), net.weight("w", (4, 8))], {"mine": (3, 8)})
    net.linear(x, "second", 5, 3)
    row = {"MyProduct": lambda call: rules.matmul(call, call[0], call[1])}
    network = network_of(net, operators=row)
    assert network["mine"] == Linear(4, 8, batch=3)
    assert network.at({"mine": 6})["second"] == Linear(6, 5, batch=3)


def test_weights_that_are_computed():
    """Weights of 16 bits are converted when a model is loaded; the layer has the same widths as with the constant."""
    net = Net()
    net.linear(net.input("x", (1, 4)), "first", 8)
    weight = net.op("DEQUANTIZE", [net.weight("half", (6, 8), "INT8")], {"w": (6, 8)})
    y = net.op("FULLY_CONNECTED", ["first/MatMul", weight], {"second/MatMul": (1, 6)})
    square = net.op("FULLY_CONNECTED", [weight, net.weight("v", (3, 8))], {"once": (6, 3)})
    turned = net.op("TRANSPOSE", [square, net.numbers("order", [1, 0])], {"t": (3, 6)})
    net.op("FULLY_CONNECTED", [y, turned], {"y": (1, 3)})
    network = network_of(net)
    assert list(network) == ["first", "second", "y"]
    assert network.at({"first": 5})["second"] == Linear(5, 6)
    assert any("computed once" in note for note in network.notes)


def test_equal_biases_are_no_bond():
    net = Net()
    x, bias = net.input("x", (1, 4)), net.weight("zeros", (8,))
    for name in ("a", "b"):
        inputs = [x, net.weight(f"{name}/w", (8, net.shape(x)[1])), bias]
        x = net.op("FULLY_CONNECTED", inputs, {f"{name}/MatMul": (1, 8)})
    net.linear(x, "c", 3)
    network = network_of(net)
    assert network.at({"a": 5})["b"] == Linear(5, 8)
