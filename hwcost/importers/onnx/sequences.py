"""Sequences of tensors in an ONNX graph: which tensors each holds, as far as that does not depend on values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import onnx

from hwcost.importers.onnx.shapes import Value, attributes_of, known_value, with_type

__all__ = ["SEQUENCES", "with_elements"]

_MOST = 4096
"""Pieces of a tensor that are followed."""

Places: TypeAlias = Sequence[Value | None]


def _empty(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    return dataclasses.replace(made, items=())


def _construct(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    return dataclasses.replace(made, items=tuple(value for value in inputs if value is not None))


def _identity(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    return made if inputs[0] is None else dataclasses.replace(made, items=inputs[0].items)


def _held(sequence: Value | None) -> list[Value] | None:
    """The tensors that a sequence holds; None if they are unknown."""
    return None if sequence is None or sequence.items is None else list(sequence.items)


def _place(value: Value | None) -> int | None:
    """A place in a sequence; None if it is unknown."""
    return None if value is None or value.constant is None else int(value.constant.ravel()[0])


def _insert(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    held, value, at = _held(inputs[0]), inputs[1], inputs[2]
    place = len(held or ()) if at is None else _place(at)
    if held is None or value is None or place is None:
        return made
    held.insert(place, value)
    return dataclasses.replace(made, items=tuple(held))


def _erase(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    held, place = _held(inputs[0]), -1 if inputs[1] is None else _place(inputs[1])
    if held is None or place is None:
        return made
    del held[place]
    return dataclasses.replace(made, items=tuple(held))


def _at(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    held, place = _held(inputs[0]), _place(inputs[1])
    return made if held is None or place is None else held[place]


def _length(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    held = _held(inputs[0])
    return made if held is None else known_value(made.name, np.asarray(len(held)))


def _split(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    x, sizes = inputs[0], inputs[1]
    if x is None or x.shape is None or (sizes is not None and sizes.constant is None):
        return made
    stated = attributes_of(node)
    axis = stated.get("axis", 0) % len(x.shape)
    whole, is_kept = x.shape[axis], sizes is not None or stated.get("keepdims", 1)
    if sizes is not None and sizes.constant is not None and sizes.constant.shape:
        parts = [int(size) for size in sizes.constant]
    else:
        part = 1 if sizes is None or sizes.constant is None else max(int(sizes.constant), 1)
        if whole > _MOST * part:
            return made
        parts = [min(part, whole - start) for start in range(0, whole, part)]
    held = x.held or onnx.TensorProto.FLOAT
    shapes = ((*x.shape[:axis], *([part] if is_kept else ()), *x.shape[axis + 1 :]) for part in parts)
    types = (onnx.helper.make_tensor_type_proto(held, list(shape)) for shape in shapes)
    return dataclasses.replace(made, items=tuple(with_type(made.name, each, origin=x.origin) for each in types))


def _concatenate(node: onnx.NodeProto, inputs: Places, made: Value) -> Value:
    shapes = [value.shape for value in _held(inputs[0]) or ()]
    first, stated = shapes[0] if shapes else None, attributes_of(node)
    known = [shape for shape in shapes if shape is not None]
    if first is None or len(known) < len(shapes):
        return made
    is_new = stated.get("new_axis", 0)
    axis = stated["axis"] % (len(first) + bool(is_new))
    size = len(known) if is_new else sum(shape[axis] for shape in known)
    made.set_shape((*first[:axis], size, *first[axis + (not is_new) :]))
    return made


SEQUENCES: Mapping[str, Callable[[onnx.NodeProto, Places, Value], Value]] = MappingProxyType(
    {
        "Identity": _identity,
        "SequenceEmpty": _empty,
        "SequenceConstruct": _construct,
        "SequenceInsert": _insert,
        "SequenceErase": _erase,
        "SequenceAt": _at,
        "SequenceLength": _length,
        "SplitToSequence": _split,
        "ConcatFromSequence": _concatenate,
    }
)
"""What is made of sequences, and which tensors it holds: functions of a node, its inputs, and its output."""


def with_elements(node: onnx.NodeProto, inputs: Places, outputs: Sequence[Value]) -> tuple[Places, Sequence[Value]]:
    """The inputs and outputs of a node, with the tensors that are joined or cut in place of their sequence."""
    if node.op_type == "ConcatFromSequence":
        return _held(inputs[0]) or inputs, outputs
    if node.op_type == "SplitToSequence":
        return inputs, outputs[0].items or outputs
    return inputs, outputs
