"""Cycles that Arm's compiler Vela estimates for layers: a program for an interpreter that has ethos-u-vela.

    python vela_layers.py LAYERS.json ACCELERATOR

The file holds lists of layers: {"kind": "conv" or "depthwise" or "linear", "height", "width", "channels", "filters",
"kernel", "stride"}; padding is "same". Each list becomes a TFLite file of int8 operators that do not feed each other,
with random weights (Vela compresses weights, and its cycles follow what they compress to). Prints a JSON list of the
cycles of each.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ethosu.vela.tflite import (
    Buffer,
    BuiltinOperator,
    BuiltinOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    Model,
    Operator,
    OperatorCode,
    Padding,
    QuantizationParameters,
    SubGraph,
    Tensor,
    TensorType,
)

CODES = {
    "conv": BuiltinOperator.BuiltinOperator.CONV_2D,
    "depthwise": BuiltinOperator.BuiltinOperator.DEPTHWISE_CONV_2D,
    "linear": BuiltinOperator.BuiltinOperator.FULLY_CONNECTED,
}


class Writer:
    """A TFLite file of operators that do not feed each other."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self.buffers, self.tensors, self.operators = [self._buffer(b"")], [], []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.random = np.random.default_rng(0)

    def _buffer(self, content: bytes) -> int:
        data = self.builder.CreateByteVector(content) if content else None
        Buffer.BufferStart(self.builder)
        if data is not None:
            Buffer.BufferAddData(self.builder, data)
        return int(Buffer.BufferEnd(self.builder))

    def _ints(self, start: Any, values: list[int]) -> int:
        start(self.builder, len(values))
        for value in reversed(values):
            self.builder.PrependInt32(value)
        return int(self.builder.EndVector())

    def _offsets(self, start: Any, values: list[int]) -> int:
        start(self.builder, len(values))
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        return int(self.builder.EndVector())

    def tensor(self, shape: list[int], content: np.ndarray | None = None, scale: float = 0.02) -> int:
        """A tensor; its number in the graph."""
        buffer = 0
        if content is not None:
            self.buffers.append(self._buffer(content.tobytes()))
            buffer = len(self.buffers) - 1
        kind = TensorType.TensorType.INT32 if content is not None and content.dtype == np.int32 else None
        name = self.builder.CreateString(f"t{len(self.tensors)}")
        QuantizationParameters.QuantizationParametersStartScaleVector(self.builder, 1)
        self.builder.PrependFloat32(scale)
        scales = self.builder.EndVector()
        QuantizationParameters.QuantizationParametersStartZeroPointVector(self.builder, 1)
        self.builder.PrependInt64(0)
        zeros = self.builder.EndVector()
        QuantizationParameters.QuantizationParametersStart(self.builder)
        QuantizationParameters.QuantizationParametersAddScale(self.builder, scales)
        QuantizationParameters.QuantizationParametersAddZeroPoint(self.builder, zeros)
        quantization = QuantizationParameters.QuantizationParametersEnd(self.builder)
        sizes = self._ints(Tensor.TensorStartShapeVector, shape)
        Tensor.TensorStart(self.builder)
        Tensor.TensorAddShape(self.builder, sizes)
        Tensor.TensorAddType(self.builder, TensorType.TensorType.INT8 if kind is None else kind)
        Tensor.TensorAddBuffer(self.builder, buffer)
        Tensor.TensorAddName(self.builder, name)
        Tensor.TensorAddQuantization(self.builder, quantization)
        self.tensors.append(Tensor.TensorEnd(self.builder))
        return len(self.tensors) - 1

    def layer(self, kind: str, *, channels: int, filters: int, height: int = 1, width: int = 1, kernel: int = 1,
              stride: int = 1) -> None:  # fmt: skip
        """A layer with an input and an output of its own."""
        if kind == "linear":
            shape, image, out = [filters, channels], [1, channels], [1, filters]
        else:
            image = [1, height, width, channels]
            out = [1, math.ceil(height / stride), math.ceil(width / stride), filters]
            shape = [1, kernel, kernel, filters] if kind == "depthwise" else [filters, kernel, kernel, channels]
        weights = self.random.integers(-127, 128, shape).astype(np.int8)
        bias = self.random.integers(-999, 999, [filters]).astype(np.int32)
        given = [self.tensor(image), self.tensor(shape, weights), self.tensor([filters], bias, 0.02 * 0.02)]
        made = self.tensor(out, scale=0.5)
        options, code = self._options(kind, stride)
        inputs = self._ints(Operator.OperatorStartInputsVector, given)
        outputs = self._ints(Operator.OperatorStartOutputsVector, [made])
        Operator.OperatorStart(self.builder)
        Operator.OperatorAddOpcodeIndex(self.builder, list(CODES).index(kind))
        Operator.OperatorAddInputs(self.builder, inputs)
        Operator.OperatorAddOutputs(self.builder, outputs)
        Operator.OperatorAddBuiltinOptionsType(self.builder, code)
        Operator.OperatorAddBuiltinOptions(self.builder, options)
        self.operators.append(Operator.OperatorEnd(self.builder))
        self.inputs.append(given[0])
        self.outputs.append(made)

    def _options(self, kind: str, stride: int) -> tuple[int, int]:
        builder, kinds = self.builder, BuiltinOptions.BuiltinOptions
        if kind == "linear":
            FullyConnectedOptions.FullyConnectedOptionsStart(builder)
            return FullyConnectedOptions.FullyConnectedOptionsEnd(builder), kinds.FullyConnectedOptions
        if kind == "conv":
            Conv2DOptions.Conv2DOptionsStart(builder)
            Conv2DOptions.Conv2DOptionsAddPadding(builder, Padding.Padding.SAME)
            Conv2DOptions.Conv2DOptionsAddStrideW(builder, stride)
            Conv2DOptions.Conv2DOptionsAddStrideH(builder, stride)
            Conv2DOptions.Conv2DOptionsAddDilationWFactor(builder, 1)
            Conv2DOptions.Conv2DOptionsAddDilationHFactor(builder, 1)
            return Conv2DOptions.Conv2DOptionsEnd(builder), kinds.Conv2DOptions
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsStart(builder)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddPadding(builder, Padding.Padding.SAME)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddStrideW(builder, stride)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddStrideH(builder, stride)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddDepthMultiplier(builder, 1)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddDilationWFactor(builder, 1)
        DepthwiseConv2DOptions.DepthwiseConv2DOptionsAddDilationHFactor(builder, 1)
        return DepthwiseConv2DOptions.DepthwiseConv2DOptionsEnd(builder), kinds.DepthwiseConv2DOptions

    def content(self) -> bytes:
        """The file."""
        builder = self.builder
        tensors = self._offsets(SubGraph.SubGraphStartTensorsVector, self.tensors)
        inputs = self._ints(SubGraph.SubGraphStartInputsVector, self.inputs)
        outputs = self._ints(SubGraph.SubGraphStartOutputsVector, self.outputs)
        operators = self._offsets(SubGraph.SubGraphStartOperatorsVector, self.operators)
        SubGraph.SubGraphStart(builder)
        SubGraph.SubGraphAddTensors(builder, tensors)
        SubGraph.SubGraphAddInputs(builder, inputs)
        SubGraph.SubGraphAddOutputs(builder, outputs)
        SubGraph.SubGraphAddOperators(builder, operators)
        graph = SubGraph.SubGraphEnd(builder)
        codes = []
        for code in CODES.values():
            OperatorCode.OperatorCodeStart(builder)
            OperatorCode.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
            OperatorCode.OperatorCodeAddBuiltinCode(builder, code)
            OperatorCode.OperatorCodeAddVersion(builder, 1)
            codes.append(OperatorCode.OperatorCodeEnd(builder))
        codes = self._offsets(Model.ModelStartOperatorCodesVector, codes)
        graphs = self._offsets(Model.ModelStartSubgraphsVector, [graph])
        buffers = self._offsets(Model.ModelStartBuffersVector, self.buffers)
        Model.ModelStart(builder)
        Model.ModelAddVersion(builder, 3)
        Model.ModelAddOperatorCodes(builder, codes)
        Model.ModelAddSubgraphs(builder, graphs)
        Model.ModelAddBuffers(builder, buffers)
        builder.Finish(Model.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())


def priced(layers: list[dict[str, Any]], accelerator: str, folder: Path) -> float:
    """The cycles of some layers, one after the other."""
    writer = Writer()
    for layer in layers:
        writer.layer(**layer)
    (folder / "net.tflite").write_bytes(writer.content())
    command = [sys.executable, "-m", "ethosu.vela", str(folder / "net.tflite"), "--accelerator-config", accelerator]
    done = subprocess.run([*command, "--output-dir", str(folder)], capture_output=True, text=True, check=False)
    (table,) = folder.glob("net_summary_*.csv") if not done.returncode else (None,)
    if table is None:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    with table.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    return float(row["cycles_total"])


def main() -> None:
    networks = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    cycles = []
    for layers in networks:
        with tempfile.TemporaryDirectory() as folder:
            cycles.append(priced(layers, sys.argv[2], Path(folder)))
    print(json.dumps(cycles))


if __name__ == "__main__":
    main()
