"""TFLite operators: products and recurrent nets, counted by hand, and what cannot be."""

from __future__ import annotations

import pytest

pytest.importorskip("tflite")

from lite import SAME, VALID, Net, network_of, only

from hwcost import Conv2d, Gemm, Linear, MatMul

# ---------------------------------------------------------------- products


@pytest.mark.parametrize("kind", ["FLOAT32", "INT8"])
@pytest.mark.parametrize(
    ("options", "layer"),
    [
        ({}, Conv2d(4, 6, 3, 9, 8, padding="same")),
        ({"stride": (2, 3)}, Conv2d(4, 6, 3, 9, 8, stride=(2, 3), padding="same")),
        ({"padding": VALID}, Conv2d(4, 6, 3, 9, 8)),
        ({"padding": VALID, "stride": (2, 2)}, Conv2d(4, 6, 3, 9, 8, stride=2)),
        ({"padding": VALID, "dilation": (2, 1)}, Conv2d(4, 6, 3, 9, 8, dilation=(2, 1))),
        ({"dilation": (2, 2)}, Conv2d(4, 6, 3, 9, 8, dilation=2, padding="same")),
        ({"kernel": (1, 5)}, Conv2d(4, 6, (1, 5), 9, 8, padding="same")),
        ({"groups": 2}, Conv2d(4, 6, 3, 9, 8, groups=2, padding="same")),
        ({"groups": 4, "filters": 8}, Conv2d(4, 8, 3, 9, 8, groups=4, padding="same")),
    ],
)
def test_convolutions(kind, options, layer):
    net = Net(kind)
    options = {"filters": 6, **options}
    net.conv(net.input("x", (1, 9, 8, 4)), "conv", options.pop("filters"), **options)
    network = network_of(net)
    assert network["conv"].gemms() == layer.gemms()
    assert network["conv"].out_size == net.shape("conv/Conv2D")[1:3]


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("padding", [SAME, VALID])
def test_depthwise_convolutions(multiplier, padding):
    """Each output channel is 9 multiplications at each of 5 x 4 or 4 x 3 positions."""
    net = Net()
    net.depthwise(net.input("x", (2, 9, 8, 4)), "dw", stride=(2, 2), multiplier=multiplier, padding=padding)
    layer = only(network_of(net))
    out = (5, 4) if padding == SAME else (4, 3)
    image = (2, *out, 9, 8, 3, 3, 2, 2, 1, 1)
    expected = Gemm(2 * out[0] * out[1], multiplier, 9, count=4, window=(3, 3), inputs=(2, 4, 9, 8), image=image)
    assert layer.gemms()[0] == expected


def test_a_depthwise_convolution_of_one_channel_is_an_ordinary_one():
    net = Net()
    net.depthwise(net.input("x", (1, 9, 8, 1)), "dw", multiplier=5)
    assert only(network_of(net)) == Conv2d(1, 5, 3, 9, 8, padding="same", stride=(1, 1), dilation=(1, 1))


@pytest.mark.parametrize(("padding", "sides"), [(SAME, (18, 16)), (VALID, (19, 17)), (VALID, (20, 18))])
def test_transposed_convolutions(padding, sides):
    """Each of 9 x 8 positions is multiplied by the whole kernel, whatever the output's size is."""
    net = Net()
    x, weight, bias = net.input("x", (1, 9, 8, 4)), net.weight("w", (6, 3, 3, 4)), net.weight("b", (6,))
    shape = (1, *sides, 6)
    inputs = [net.numbers("s", shape), weight, x, bias]
    net.op("TRANSPOSE_CONV", inputs, {"y": shape}, StrideH=2, StrideW=2, Padding=padding)
    assert only(network_of(net)) == Gemm(72, 6 * 9, 4)


def test_volumes():
    net = Net()
    x, weight = net.input("x", (1, 5, 9, 8, 4)), net.weight("w", (2, 3, 3, 4, 6))
    net.op("CONV_3D", [x, weight], {"y": (1, 4, 7, 6, 6)}, StrideD=1, StrideH=1, StrideW=1, Padding=VALID)
    assert network_of(net).macs == 4 * 7 * 6 * 6 * 2 * 9 * 4
    net = Net()
    x, weight, shape = net.input("x", (1, 5, 9, 8, 4)), net.weight("w", (2, 3, 3, 6, 4)), (1, 10, 18, 16, 6)
    strides = {"StrideD": 2, "StrideH": 2, "StrideW": 2, "Padding": SAME}
    net.op("CONV_3D_TRANSPOSE", [net.numbers("s", shape), weight, x], {"y": shape}, **strides)
    assert network_of(net).macs == 5 * 9 * 8 * 4 * 2 * 9 * 6


@pytest.mark.parametrize(
    ("shape", "inner", "out", "keeps", "rows"),
    [
        ((1, 12), 12, (1, 5), False, 1),
        ((3, 12), 12, (3, 5), False, 3),
        ((1, 2, 3, 2), 12, (1, 5), False, 1),
        ((2, 3, 12), 12, (6, 5), False, 6),
        ((2, 3, 12), 12, (2, 3, 5), True, 6),
        ((4, 3), 12, (1, 5), False, 1),
    ],
)
def test_fully_connected(shape, inner, out, keeps, rows):
    net = Net("INT8")
    weight = net.weight("w", (5, inner))
    net.op("FULLY_CONNECTED", [net.input("x", shape), weight, None], {"y": out}, KeepNumDims=keeps)
    assert only(network_of(net)) == Linear(inner, 5, batch=rows)


@pytest.mark.parametrize(("adj_x", "adj_y"), [(False, False), (True, False), (False, True), (True, True)])
def test_products_in_batches(adj_x, adj_y):
    net = Net()
    a = net.input("a", (2, 4, 7, 6) if adj_x else (2, 4, 6, 7))
    b = net.input("b", (2, 4, 5, 7) if adj_y else (2, 4, 7, 5))
    net.op("BATCH_MATMUL", [a, b], {"y": (2, 4, 6, 5)}, AdjX=adj_x, AdjY=adj_y)
    assert only(network_of(net)) == MatMul(6, 5, 7, batch=8)


def test_a_product_in_batches_with_a_constant_is_fully_connected():
    net = Net()
    net.op("BATCH_MATMUL", [net.input("a", (2, 6, 7)), net.weight("w", (7, 5))], {"y": (2, 6, 5)})
    assert only(network_of(net)) == Linear(7, 5, batch=12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"StrideH": 0}, "Conv2d.stride is 0"),
        ({"StrideW": -1}, "Conv2d.stride is -1"),
        ({"Padding": 7}, "its padding is number 7, neither SAME nor VALID"),
        ({"StrideH": 2}, "its output is 1x9x8x6, and its inputs and options make 1x5x8x6"),
        ({"Padding": VALID}, "its output is 1x9x8x6, and its inputs and options make 1x7x6x6"),
    ],
)
def test_convolutions_that_cannot_be(options, words):
    net = Net()
    net.conv(net.input("x", (1, 9, 8, 4)), "conv", 6)
    net.operators[0][3].update(options)
    assert words in str(network_of(net)["conv:CONV_2D"])


# ---------------------------------------------------------------- recurrent nets


def lstm(net, in_sequence, *, time_major=False, gates=4, projection=0, cells=6, features=5, batch=2, steps=7):
    """The inputs of an LSTM, and the shape of its output."""
    width = projection or cells
    shape = ((steps, batch) if time_major else (batch, steps)) if in_sequence else (batch,)
    first = 4 - gates
    own = [net.weight(f"i{gate}", (cells, features)) if gate >= first else None for gate in range(4)]
    own += [net.weight(f"r{gate}", (cells, width)) if gate >= first else None for gate in range(4)]
    own += [None] * 3 + [net.weight(f"b{gate}", (cells,)) if gate >= first else None for gate in range(4)]
    own += [net.weight("p", (projection, cells)) if projection else None, None]
    states = [net.tensor("s", (batch, width), variable=True), net.tensor("c", (batch, cells), variable=True)]
    return [net.input("x", (*shape, features)), *own, *states], (*shape, width)


@pytest.mark.parametrize(("in_sequence", "time_major"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("projection", [0, 3])
def test_lstms(in_sequence, time_major, gates, projection):
    """All inputs at once; and in each of 7 steps, the state of 2 sequences, and its projection."""
    net, kind = Net(), "UNIDIRECTIONAL_SEQUENCE_LSTM" if in_sequence else "LSTM"
    inputs, shape = lstm(net, in_sequence, time_major=time_major, gates=gates, projection=projection)
    net.op(kind, inputs, {"y": shape}, **({"TimeMajor": time_major} if in_sequence else {}))
    steps = 7 if in_sequence else 1
    network = network_of(net)
    assert network["y:input"] == Linear(5, gates * 6, batch=2 * steps)
    assert network["y:state"] == Gemm(2, gates * 6, projection or 6, count=steps)
    assert network.get("y:projection") == (Gemm(2, 3, 6, count=steps) if projection else None)


def test_an_lstm_of_one_matrix():
    net = Net()
    inputs = [net.input("x", (2, 5)), net.input("h", (2, 6)), net.weight("w", (24, 11)), net.weight("b", (24,))]
    inputs.append(net.input("c", (2, 6)))
    made = {name: (2, 24 if name == "concat" else 6) for name in ("y", "state", "concat", "gates")}
    net.op("LSTM", inputs, made, KernelType=1)
    assert only(network_of(net, outputs=["y"])) == Linear(11, 24, batch=2)


def test_lstms_in_both_directions():
    net = Net()
    inputs, _ = lstm(net, True)
    weights = inputs[1:18]
    states = [net.tensor(name, (2, 6), variable=True) for name in ("fs", "fc", "bs", "bc")]
    whole = [inputs[0], *weights, *weights, *states, *[None] * 9]
    options = {"TimeMajor": False, "MergeOutputs": True}
    net.op("BIDIRECTIONAL_SEQUENCE_LSTM", whole, {"y": (2, 7, 12)}, **options)
    once = [Linear(5, 24, batch=14), Gemm(2, 24, 6, count=7)]
    assert only(network_of(net)) == once + once
    net.operators[0][1][39] = net.input("second", (2, 7, 3))
    assert "it has a second input" in str(network_of(net)["y"])


@pytest.mark.parametrize("time_major", [False, True])
def test_recurrent_nets(time_major):
    shape = (7, 2) if time_major else (2, 7)
    inputs = [("x", (*shape, 5)), ("w", (6, 5)), ("r", (6, 6)), ("b", (6,))]
    net = Net()
    names = [net.input(*inputs[0]), *(net.weight(*each) for each in inputs[1:]), net.tensor("h", (2, 6), variable=True)]
    net.op("UNIDIRECTIONAL_SEQUENCE_RNN", names, {"y": (*shape, 6)}, TimeMajor=time_major)
    once = [Linear(5, 6, batch=14), Gemm(2, 6, 6, count=7)]
    assert only(network_of(net)) == once
    both = Net()
    names = [both.input(*inputs[0]), *(both.weight(*each) for each in inputs[1:])]
    names += [both.tensor("h", (2, 6), variable=True), *names[1:], both.tensor("g", (2, 6), variable=True)]
    options = {"TimeMajor": time_major, "MergeOutputs": True}
    both.op("BIDIRECTIONAL_SEQUENCE_RNN", [*names, None, None, None], {"y": (*shape, 12)}, **options)
    assert only(network_of(both)) == once + once


def test_one_step_of_a_recurrent_net():
    net = Net()
    names = [net.input("x", (2, 5)), net.weight("w", (6, 5)), net.weight("r", (6, 6)), net.weight("b", (6,))]
    net.op("RNN", [*names, net.tensor("h", (2, 6), variable=True)], {"y": (2, 6)})
    assert only(network_of(net)) == [Linear(5, 6, batch=2), Gemm(2, 6, 6)]


def test_svdf():
    """8 filters of rank 2 are products of 5 features, and of their last 10 results."""
    net = Net()
    names = [net.input("x", (3, 5)), net.weight("w", (8, 5)), net.weight("t", (8, 10)), net.weight("b", (4,))]
    net.op("SVDF", [*names, net.tensor("s", (3, 80), variable=True)], {"y": (3, 4)}, Rank=2)
    assert only(network_of(net)) == [Linear(5, 8, batch=3), Gemm(3, 1, 10, count=8)]


def test_weights_that_do_not_go_with_a_recurrent_net():
    net = Net()
    names = [net.input("x", (2, 5)), net.weight("w", (6, 4)), net.weight("r", (6, 6)), net.weight("b", (6,))]
    net.op("RNN", [*names, net.tensor("h", (2, 6), variable=True)], {"y": (2, 6)})
    assert "its weights 'w' are 6 x 4, not None x 5" in str(network_of(net)["y"])
