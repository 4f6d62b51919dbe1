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
