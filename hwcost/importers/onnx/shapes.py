"""Shapes of all values of an ONNX graph, node by node, with the small integers that shapes are computed from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnx
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference

from hwcost.errors import InvalidValueError, first_line
from hwcost.importers.graph.values import GraphValue
from hwcost.importers.naming import words
from hwcost.importers.onnx.dims import fixed_shape
from hwcost.importers.onnx.loading import plain_domain

__all__ = ["ShapeFinder", "Value", "attributes_of", "known_value", "with_type"]

_MOST_ELEMENTS = 4096
_MOST_FLOATS = 64
_FOLDED = words(
    """
    Abs Add And Cast Ceil Clip Concat Constant ConstantOfShape Div Equal Expand Flatten Floor Gather GatherElements
    GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not Or Pow Range ReduceMax
    ReduceMin ReduceProd ReduceSum Reshape Round Sign Slice Split Sqrt Squeeze Sub Tile Transpose Trilu Unsqueeze
    Where Xor
    """
)
"""Operators that compute shapes."""
_OF_TYPE = {
    "DequantizeLinear": 1, "MatMulIntegerToFloat": 2, "QAttention": 2, "QLinearConcat": 2, "QLinearWhere": 1,
    "QuantizeLinear": 2,
}  # fmt: skip
"""The input whose type the output of an operator of ONNX Runtime has, where it is not the first."""


@dataclass(eq=False)
class Value(GraphValue):
    """A tensor of the graph; its type is that of protobuf.

    Attributes:
        items: the tensors that it holds, if it is a sequence and they are known.
    """

    items: tuple[Value, ...] | None = None

    @property
    def held(self) -> int:
        """The type of the elements, by its number; 0 if it is unknown."""
        return 0 if self.type is None else int(self.type.tensor_type.elem_type)

    def set_shape(self, shape: tuple[int, ...]) -> None:
        """States a shape that was unknown."""
        self.shape = shape
        self.type = onnx.helper.make_tensor_type_proto(self.held or onnx.TensorProto.FLOAT, list(shape))

    def unknown(self, origin: str = "") -> Self:
        """The same without its elements, and made of another parameter."""
        return dataclasses.replace(super().unknown(origin), items=None)

    @property
    def is_integer(self) -> bool:
        """Whether it holds 64-bit integers, truth values or texts: sizes and places, not weights."""
        return self.held in (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)


def with_type(name: str, of_type: Any, *, origin: str = "") -> Value:
    """A value of a type."""
    return Value(name, of_type, fixed_shape(of_type), origin=origin)


def of_tensor(tensor: onnx.TensorProto) -> Value:
    """An initializer or a constant."""
    of_type = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    value = Value(tensor.name, of_type, tuple(tensor.dims), origin=tensor.name)
    if _is_small(value) and tensor.data_location != onnx.TensorProto.EXTERNAL:
        try:
            value.constant = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError):  # no data, too little for its shape, of an unknown type
            value.constant = None
    return value


def known_value(name: str, array: np.ndarray[Any, Any], *, is_known: bool = True) -> Value:
    """A value that the reader makes; its elements need not be known."""
    value = Value(name)
    _set_constant(value, array)
    if not is_known:
        value.constant = None
    return value


def _is_small(value: Value) -> bool:
    return value.shape is not None and value.size <= (_MOST_ELEMENTS if value.is_integer else _MOST_FLOATS)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values; bytes are decoded."""
    found = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


class ShapeFinder:
    """Infers the outputs of one node of a model after another; ``where`` is its file, for errors."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self._where, self._ir = where, model.ir_version
        self._opsets = list(model.opset_import)
        self._versions = {plain_domain(each.domain): each.version for each in model.opset_import}
        self._recorded: dict[str, Any] = {}
        self.record(model.graph)

    def record(self, graph: onnx.GraphProto) -> None:
        """Takes the types that a graph states of its values, before its nodes are followed."""
        for value in (*graph.output, *graph.value_info):
            if fixed_shape(value.type) is not None or value.name not in self._recorded:
                self._recorded[value.name] = value.type

    @property
    def version(self) -> int:
        """The version of ONNX's own operators."""
        return int(self._versions.get("", 1))

    def has_operator(self, node: onnx.NodeProto) -> bool:
        """Whether the operator is one of ONNX, in the version that the file asks for."""
        return self._schema(node) is not None

    def outputs(self, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> list[Value]:
        """The values that a node makes, in order; those without a name are left out.

        Raises:
            InvalidValueError: inputs whose shapes do not go together.
        """
        types = self._types(node, inputs)
        found = [with_type(name, self.best(name, types.get(name))) for name in node.output if name]
        self._fold(node, inputs, found)
        return found

    def best(self, name: str, found: Any) -> Any:
        """The type of a value: that which was found, or the one in the file if it alone has a shape."""
        recorded = self._recorded.get(name)
        return recorded if fixed_shape(found) is None and fixed_shape(recorded) is not None else found or recorded

    def _types(self, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> dict[str, Any]:
        given = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
        if node.domain == "com.microsoft":  # unknown to the onnx library: the rules state the shapes
            rest = inputs[_OF_TYPE.get(node.op_type, 0) :]
            held = next((value.held for value in rest if value is not None and value.held), onnx.TensorProto.FLOAT)
            return {name: onnx.helper.make_tensor_type_proto(held, None) for name in node.output[:1]}
        schema = self._schema(node)
        has_graphs = any(attribute.HasField("g") for attribute in node.attribute)
        if schema is None or has_graphs or any(each.type is None for each in given.values()):
            return {}
        if schema.has_type_and_shape_inference_function:
            return self._inferred(schema, node, given)
        first = inputs[0] if inputs else None
        # the library has no rule for two norms, whose output has the shape of the input
        is_norm = node.op_type in ("GroupNormalization", "MeanVarianceNormalization")
        return {node.output[0]: first.type} if is_norm and first is not None else {}

    def _inferred(self, schema: Any, node: onnx.NodeProto, given: Mapping[str, Value]) -> dict[str, Any]:
        types = {name: value.type for name, value in given.items()}
        data = {
            name: onnx.numpy_helper.from_array(value.constant, name)
            for name, value in given.items()
            if value.constant is not None and value.constant.dtype != object
        }
        try:
            infer = onnx.shape_inference.infer_node_outputs
            return dict(infer(schema, node, types, data, opset_imports=self._opsets, ir_version=self._ir))
        except Exception as error:  # the library's own type, and others
            field = f"{self._where}: the node {node.name or node.output[0]!r} ({node.op_type})"
            shapes = ", ".join("x".join(map(str, each.shape or ())) or "a number" for each in given.values())
            reason = f"its inputs of {shapes} do not go with it: {first_line(error, with_type=False)}"
            raise InvalidValueError(field, shapes, "check its inputs and attributes", reason=reason) from None

    def _schema(self, node: onnx.NodeProto) -> Any:
        domain = plain_domain(node.domain)
        try:
            return onnx.defs.get_schema(node.op_type, self._versions.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return None

    def _fold(self, node: onnx.NodeProto, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> None:
        """Computes the elements of small outputs whose inputs are known."""
        if plain_domain(node.domain):
            return
        if node.op_type in ("Shape", "Size"):
            _fold_shape(node, inputs, outputs)
            return
        given = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
        if node.op_type not in _FOLDED or any(each.constant is None for each in given.values()):
            return
        if node.op_type == "Constant":
            _fold_constant(node, outputs)
        elif node.op_type == "Identity" and given and outputs:
            outputs[0].constant = next(iter(given.values())).constant
        elif all(map(_is_small, outputs)) or (node.op_type == "NonZero" and given):
            self._evaluate(node, given, outputs)

    def _evaluate(self, node: onnx.NodeProto, named: Mapping[str, Value], outputs: Sequence[Value]) -> None:
        from onnx.reference import ReferenceEvaluator

        given = [onnx.helper.make_value_info(name, value.type) for name, value in named.items()]
        wanted = [onnx.helper.make_value_info(value.name, value.type or onnx.TypeProto()) for value in outputs]
        graph = onnx.helper.make_graph([node], "one", given, wanted)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
        try:
            with np.errstate(all="ignore"):
                arrays = ReferenceEvaluator(model).run(None, {name: value.constant for name, value in named.items()})
        except Exception:  # then it is unknown
            return
        for value, array in zip(outputs, arrays, strict=True):
            if isinstance(array, (np.ndarray, np.generic)):
                _set_constant(value, np.asarray(array))


def _set_constant(value: Value, array: np.ndarray[Any, Any]) -> None:
    value.constant = array
    value.shape = array.shape
    held = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    value.type = onnx.helper.make_tensor_type_proto(held, list(array.shape))


def _fold_shape(node: onnx.NodeProto, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> None:
    value = inputs[0] if inputs else None
    if value is None or value.shape is None or not outputs:
        return
    if node.op_type == "Size":
        _set_constant(outputs[0], np.asarray(value.size, dtype=np.int64))
        return
    stated = attributes_of(node)
    _set_constant(outputs[0], np.asarray(value.shape[stated.get("start", 0) : stated.get("end")], dtype=np.int64))


def _fold_constant(node: onnx.NodeProto, outputs: Sequence[Value]) -> None:
    for name, value in attributes_of(node).items():
        if name == "value":
            constant = of_tensor(value)
            outputs[0].type, outputs[0].shape, outputs[0].constant = constant.type, constant.shape, constant.constant
        elif name in ("value_int", "value_ints"):
            _set_constant(outputs[0], np.asarray(value, dtype=np.int64))
        elif name in ("value_float", "value_floats"):
            _set_constant(outputs[0], np.asarray(value, dtype=np.float32))
