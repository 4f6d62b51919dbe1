"""Small int8 TFLite files, written with the classes of the schema that come with Vela.

Weights are random, since Vela compresses them and its cycles follow what they compress to: uniform int8 does not
compress, and those of a trained layer do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.model.layers import Conv2d

__all__ = ["Step", "outputs_of", "tflite_of"]


class Step(NamedTuple):
    """An operator of a file.

    Attributes:
        kind: "conv", "depthwise" or "add".
        layer: of a convolution; None for a sum.
        reads: the steps whose outputs it takes, by number; none of them: an input of the network of its own.
    """

    kind: str
    layer: Conv2d | None
    reads: tuple[int, ...] = ()

    @classmethod
    def of(cls, layer: Conv2d, *reads: int) -> Step:
        """A convolution of int8, with "same" padding."""
        return cls("depthwise" if layer.is_depthwise else "conv", layer, reads)


class _Writer:
    """A TFLite file in the making; ``s`` holds the modules of the schema."""

    def __init__(self, schema: Any) -> None:
        import flatbuffers

        self.s, self.builder, self.random = schema, flatbuffers.Builder(1 << 16), np.random.default_rng(0)
        self.buffers, self.codes = [self._buffer(b"")], list[int]()
        self.tensors, self.operators = list[int](), list[int]()

    def _buffer(self, content: bytes) -> int:
        data = self.builder.CreateByteVector(content) if content else None
        self.s.Buffer.BufferStart(self.builder)
        if data is not None:
            self.s.Buffer.BufferAddData(self.builder, data)
        return int(self.s.Buffer.BufferEnd(self.builder))

    def _vector(self, start: Any, values: Sequence[int], *, offsets: bool = False) -> int:
        start(self.builder, len(values))
        prepend = self.builder.PrependUOffsetTRelative if offsets else self.builder.PrependInt32
        for value in reversed(values):
            prepend(value)
        return int(self.builder.EndVector())

    def tensor(self, shape: Sequence[int], content: Any = None, scale: float = 0.02, name: str = "") -> int:
        """A tensor; its number in the graph."""
        s, builder, buffer = self.s, self.builder, 0
        if content is not None:
            self.buffers.append(self._buffer(content.tobytes()))
            buffer = len(self.buffers) - 1
        of_int32 = content is not None and content.dtype == np.int32
        text = builder.CreateString(name or f"t{len(self.tensors)}")
        s.QuantizationParameters.QuantizationParametersStartScaleVector(builder, 1)
        builder.PrependFloat32(scale)
        scales = builder.EndVector()
        s.QuantizationParameters.QuantizationParametersStartZeroPointVector(builder, 1)
        builder.PrependInt64(0)
        zeros = builder.EndVector()
        s.QuantizationParameters.QuantizationParametersStart(builder)
        s.QuantizationParameters.QuantizationParametersAddScale(builder, scales)
        s.QuantizationParameters.QuantizationParametersAddZeroPoint(builder, zeros)
        quantization = s.QuantizationParameters.QuantizationParametersEnd(builder)
        sizes, kinds = self._vector(s.Tensor.TensorStartShapeVector, shape), s.TensorType.TensorType
        s.Tensor.TensorStart(builder)
        s.Tensor.TensorAddShape(builder, sizes)
        s.Tensor.TensorAddType(builder, kinds.INT32 if of_int32 else kinds.INT8)
        s.Tensor.TensorAddBuffer(builder, buffer)
        s.Tensor.TensorAddName(builder, text)
        s.Tensor.TensorAddQuantization(builder, quantization)
        self.tensors.append(s.Tensor.TensorEnd(builder))
        return len(self.tensors) - 1

    def convolution(self, step: Step, image: int, shape: Sequence[int], name: str) -> int:
        """A convolution with random weights; the number of its output."""
        layer: Any = step.layer
        kernel = list(layer.kernel_size)
        one, code = step.kind == "depthwise", self.s.BuiltinOperator.BuiltinOperator
        filters, channels = layer.out_channels, layer.in_channels
        sizes = [1, *kernel, filters] if one else [filters, *kernel, channels]
        weights = self.random.integers(-127, 128, sizes).astype(np.int8)
        bias = self.random.integers(-999, 999, [filters]).astype(np.int32)
        given = [image, self.tensor(sizes, weights), self.tensor([filters], bias, 0.02 * 0.02)]
        made = self.tensor(shape, name=name)
        kind = "DepthwiseConv2DOptions" if one else "Conv2DOptions"
        more = {"DepthMultiplier": 1} if one else {}
        stride = {"StrideH": layer.stride[0], "StrideW": layer.stride[1]}
        dilation = {"DilationHFactor": 1, "DilationWFactor": 1}
        options = self._options(kind, {"Padding": self.s.Padding.Padding.SAME, **stride, **dilation, **more})
        self._operator(code.DEPTHWISE_CONV_2D if one else code.CONV_2D, given, made, kind, options)
        return made

    def addition(self, given: Sequence[int], shape: Sequence[int], name: str) -> int:
        """A sum; the number of its output."""
        made = self.tensor(shape, scale=0.04, name=name)
        self._operator(
            self.s.BuiltinOperator.BuiltinOperator.ADD, given, made, "AddOptions", self._options("AddOptions", {})
        )
        return made

    def _options(self, name: str, values: dict[str, Any]) -> int:
        module = getattr(self.s, name)
        getattr(module, f"{name}Start")(self.builder)
        for key, value in values.items():
            getattr(module, f"{name}Add{key}")(self.builder, value)
        return int(getattr(module, f"{name}End")(self.builder))

    def _operator(self, code: int, given: Sequence[int], made: int, name: str, options: int) -> None:
        s, builder = self.s, self.builder
        if code not in self.codes:
            self.codes.append(code)
        inputs = self._vector(s.Operator.OperatorStartInputsVector, given)
        outputs = self._vector(s.Operator.OperatorStartOutputsVector, [made])
        s.Operator.OperatorStart(builder)
        s.Operator.OperatorAddOpcodeIndex(builder, self.codes.index(code))
        s.Operator.OperatorAddInputs(builder, inputs)
        s.Operator.OperatorAddOutputs(builder, outputs)
        s.Operator.OperatorAddBuiltinOptionsType(builder, getattr(s.BuiltinOptions.BuiltinOptions, name))
        s.Operator.OperatorAddBuiltinOptions(builder, options)
        self.operators.append(s.Operator.OperatorEnd(builder))

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        s, builder = self.s, self.builder
        tensors = self._vector(s.SubGraph.SubGraphStartTensorsVector, self.tensors, offsets=True)
        given = self._vector(s.SubGraph.SubGraphStartInputsVector, inputs)
        made = self._vector(s.SubGraph.SubGraphStartOutputsVector, outputs)
        operators = self._vector(s.SubGraph.SubGraphStartOperatorsVector, self.operators, offsets=True)
        s.SubGraph.SubGraphStart(builder)
        s.SubGraph.SubGraphAddTensors(builder, tensors)
        s.SubGraph.SubGraphAddInputs(builder, given)
        s.SubGraph.SubGraphAddOutputs(builder, made)
        s.SubGraph.SubGraphAddOperators(builder, operators)
        graphs = [s.SubGraph.SubGraphEnd(builder)]
        codes = []
        for code in self.codes:
            s.OperatorCode.OperatorCodeStart(builder)
            s.OperatorCode.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
            s.OperatorCode.OperatorCodeAddBuiltinCode(builder, code)
            s.OperatorCode.OperatorCodeAddVersion(builder, 1)
            codes.append(s.OperatorCode.OperatorCodeEnd(builder))
        vectors = [
            self._vector(start, values, offsets=True)
            for start, values in (
                (s.Model.ModelStartOperatorCodesVector, codes),
                (s.Model.ModelStartSubgraphsVector, graphs),
                (s.Model.ModelStartBuffersVector, self.buffers),
            )
        ]
        s.Model.ModelStart(builder)
        s.Model.ModelAddVersion(builder, 3)
        for add, vector in zip(("OperatorCodes", "Subgraphs", "Buffers"), vectors, strict=True):
            getattr(s.Model, f"ModelAdd{add}")(builder, vector)
        builder.Finish(s.Model.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())


def outputs_of(steps: Sequence[Step]) -> list[str]:
    """The names of the outputs of operators in a file."""
    return [f"step{index}" for index in range(len(steps))]


def tflite_of(steps: Sequence[Step], schema: Any) -> bytes:
    """A TFLite file of int8 operators.

    Args:
        steps: the operators in order; a step that reads none has an input of the network of its own, and the outputs
            that none reads are those of the network.
        schema: a package with the modules of the schema, like ``ethosu.vela.tflite``.
    """
    writer, made, shapes, inputs = _Writer(schema), list[int](), list[list[int]](), list[int]()
    for name, step in zip(outputs_of(steps), steps, strict=True):
        if step.layer is None:
            shapes.append(shapes[step.reads[0]])
            made.append(writer.addition([made[index] for index in step.reads], shapes[-1], name))
            continue
        layer = step.layer
        image = made[step.reads[0]] if step.reads else writer.tensor([1, layer.height, layer.width, layer.in_channels])
        if not step.reads:
            inputs.append(image)
        out = [math.ceil(size / by) for size, by in zip((layer.height, layer.width), layer.stride, strict=True)]
        shapes.append([1, *out, layer.out_channels])
        made.append(writer.convolution(step, image, shapes[-1], name))
    read = {index for step in steps for index in step.reads}
    return writer.content(inputs, [tensor for index, tensor in enumerate(made) if index not in read])
