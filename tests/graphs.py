"""ONNX graphs for tests: their parts, and the networks that they are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from hwcost.importers import from_onnx

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
INT8, UINT8, BOOL = TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL
MS = "com.microsoft"
node = helper.make_node


def tensor(name, shape, kind=FLOAT):
    """A weight whose values are of no interest."""
    values = np.zeros(shape, dtype=helper.tensor_dtype_to_np_dtype(kind))
    return onnx.numpy_helper.from_array(values, name)


def numbers(name, values, kind=np.int64):
    return onnx.numpy_helper.from_array(np.asarray(values, dtype=kind), name)


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def untyped(name):
    return helper.make_value_info(name, onnx.TypeProto())


def inner(nodes, outputs, inputs=(), weights=()):
    """A graph inside of a node; inputs and outputs are names or have types."""
    inputs, outputs = (
        [untyped(each) if isinstance(each, str) else each for each in some] for some in (inputs, outputs)
    )
    return helper.make_graph(list(nodes), "inner", inputs, outputs, list(weights))


def build(nodes, inputs, weights=(), outputs=None, *, opset=21, domains=(MS,), functions=(), values=()):
    """A model of these nodes; what nobody uses comes out of it."""
    used = {name for each in nodes for name in each.input}
    made = [name for each in nodes for name in each.output if name and name not in used]
    graph = helper.make_graph(
        list(nodes),
        "net",
        [info(name, shape, *kind) for name, (shape, *kind) in inputs.items()],
        [untyped(name) for name in made] if outputs is None else outputs,
        list(weights),
        value_info=list(values),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def network_of(model, **more):
    """The network that a model is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        return from_onnx(path, **more)


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


GEMM = node("Gemm", ["a", "w"], ["g"], name="gemm")


def only(network):
    """The one priced layer of a network, or all if there are several."""
    layers = [each.layer for each in network.priced.values()]
    return layers[0] if len(layers) == 1 else layers


def sizes_of(network):
    return {name: [(g.m, g.n, g.k, g.count) for g in network[name].gemms()] for name in network.priced}
