"""TFLite files for tests, written with the builder classes of the schema, and the networks that they are."""

from __future__ import annotations

import math

import flatbuffers
import numpy as np
import tflite

from hwcost.importers import from_tflite

CODES = {name: code for code, name in tflite.BUILTIN_OPCODE2NAME.items()}
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
OPTIONS = {
    "ADD": "AddOptions", "AVERAGE_POOL_2D": "Pool2DOptions", "BATCH_MATMUL": "BatchMatMulOptions",
    "CALL": "CallOptions", "CALL_ONCE": "CallOnceOptions", "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions", "CONV_3D": "Conv3DOptions", "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions", "GATHER": "GatherOptions", "IF": "IfOptions", "LSTM": "LSTMOptions",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "BidirectionalSequenceLSTMOptions",
    "BIDIRECTIONAL_SEQUENCE_RNN": "BidirectionalSequenceRNNOptions", "RNN": "RNNOptions",
    "MAX_POOL_2D": "Pool2DOptions", "MEAN": "ReducerOptions", "PACK": "PackOptions", "RESHAPE": "ReshapeOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions", "SPLIT": "SplitOptions", "SPLIT_V": "SplitVOptions",
    "SQUEEZE": "SqueezeOptions", "STABLEHLO_COMPOSITE": "StableHLOCompositeOptions",
    "STRIDED_SLICE": "StridedSliceOptions", "SUM": "ReducerOptions", "SVDF": "SVDFOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions", "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions", "UNPACK": "UnpackOptions", "WHILE": "WhileOptions",
}  # fmt: skip
DTYPES = {"FLOAT32": np.float32, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}


class Net:
    """A graph; tensors are named, and a method that adds an operator returns the name of its output."""

    def __init__(self, kind="FLOAT32"):
        self.kind = kind
        self.tensors, self.operators, self.inputs = {}, [], []

    def tensor(self, name, shape, kind=None, *, data=None, signature=None, variable=False, rank=True):
        self.tensors[name] = {
            "shape": tuple(shape), "kind": kind or self.kind, "data": data, "signature": signature,
            "variable": variable, "rank": rank,
        }  # fmt: skip
        return name

    def input(self, name, shape, kind=None, signature=None):
        self.inputs.append(name)
        return self.tensor(name, shape, kind, signature=signature)

    def weight(self, name, shape, kind=None):
        """A constant whose elements are of no interest."""
        kind = kind or self.kind
        return self.tensor(name, shape, kind, data=np.zeros(shape, DTYPES[kind]))

    def numbers(self, name, values, kind="INT32"):
        values = np.asarray(values, DTYPES[kind])
        return self.tensor(name, values.shape, kind, data=values)

    def op(self, kind, inputs, outputs, signatures=None, **options):
        """Adds an operator; outputs are shapes, or (type, shape), by name; an input that is None is left out."""
        for name, given in outputs.items():
            has_kind = len(given) == 2 and isinstance(given[0], str)
            of_kind, shape = given if has_kind else (None, given)
            self.tensor(name, shape, of_kind, signature=(signatures or {}).get(name))
        self.operators.append((kind, list(inputs), list(outputs), options))
        return next(iter(outputs), None)

    # ------------------------------------------------------------ layers

    def shape(self, name):
        return self.tensors[name]["shape"]

    def window(self, x, kernel, stride, dilation, padding):
        sizes = zip(self.shape(x)[1:3], kernel, stride, dilation, strict=True)
        if padding == SAME:
            return tuple(math.ceil(size / by) for size, _, by, _ in sizes)
        return tuple(math.ceil((size - (side - 1) * apart) / by) for size, side, by, apart in sizes)

    def conv(self, x, name, filters, kernel=(3, 3), stride=(1, 1), dilation=(1, 1), padding=SAME, groups=1, out=None):
        batch, channels = self.shape(x)[0], self.shape(x)[3]
        weight = self.weight(f"{name}/w", (filters, *kernel, channels // groups))
        bias = self.weight(f"{name}/b", (filters,), "INT32" if self.kind == "INT8" else None)
        shape = (batch, *self.window(x, kernel, stride, dilation, padding), filters)
        options = {"StrideH": stride[0], "StrideW": stride[1], "Padding": padding}
        options |= {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
        return self.op("CONV_2D", [x, weight, bias], {out or f"{name}/Conv2D": shape}, **options)

    def depthwise(self, x, name, kernel=(3, 3), stride=(1, 1), multiplier=1, padding=SAME, dilation=(1, 1)):
        batch, channels = self.shape(x)[0], self.shape(x)[3]
        weight = self.weight(f"{name}/w", (1, *kernel, channels * multiplier))
        bias = self.weight(f"{name}/b", (channels * multiplier,), "INT32" if self.kind == "INT8" else None)
        shape = (batch, *self.window(x, kernel, stride, dilation, padding), channels * multiplier)
        options = {"StrideH": stride[0], "StrideW": stride[1], "Padding": padding, "DepthMultiplier": multiplier}
        options |= {"DilationHFactor": dilation[0], "DilationWFactor": dilation[1]}
        return self.op("DEPTHWISE_CONV_2D", [x, weight, bias], {f"{name}/depthwise": shape}, **options)

    def linear(self, x, name, features, rows=1):
        inner = math.prod(self.shape(x)) // rows
        weight = self.weight(f"{name}/w", (features, inner))
        bias = self.weight(f"{name}/b", (features,), "INT32" if self.kind == "INT8" else None)
        return self.op("FULLY_CONNECTED", [x, weight, bias], {f"{name}/MatMul": (rows, features)})

    def pool(self, x, name, kernel=(2, 2), stride=(2, 2), padding=VALID, kind="MAX_POOL_2D"):
        shape = (self.shape(x)[0], *self.window(x, kernel, stride, (1, 1), padding), self.shape(x)[3])
        options = {"StrideH": stride[0], "StrideW": stride[1], "Padding": padding}
        return self.op(kind, [x], {name: shape}, FilterHeight=kernel[0], FilterWidth=kernel[1], **options)

    def mean(self, x, name):
        """The mean of a map."""
        axes = self.numbers(f"{name}/axes", [1, 2])
        return self.op("MEAN", [x, axes], {name: (self.shape(x)[0], self.shape(x)[3])})

    def reshape(self, x, name, shape, target=None):
        target = self.numbers(f"{name}/shape", shape if target is None else target)
        return self.op("RESHAPE", [x, target], {name: shape}, NewShape=list(shape))

    def elementwise(self, kind, name, *inputs):
        return self.op(kind, inputs, {name: np.broadcast_shapes(*map(self.shape, inputs))})

    # ------------------------------------------------------------ files

    def outputs(self):
        used = {name for _, inputs, _, _ in self.operators for name in inputs}
        return [name for _, _, made, _ in self.operators for name in made if name not in used]

    def content(self, *more, outputs=None):
        """The file with this graph and more of them."""
        return written([(self, outputs)] + [each if isinstance(each, tuple) else (each, None) for each in more])


def written(graphs):
    builder = flatbuffers.Builder(1024)
    kinds = list(dict.fromkeys(kind for graph, _ in graphs for kind, *_ in graph.operators))
    buffers, made, places = [_buffer(builder, b"")], [], {}
    for graph, outputs in graphs:
        numbers = {name: number for number, name in enumerate(graph.tensors)}
        tensors = []
        for name, tensor in graph.tensors.items():
            data = tensor["data"]
            if data is not None and id(data) not in places:  # tensors with one array share its buffer
                buffers.append(_buffer(builder, np.ascontiguousarray(data).tobytes()))
                places[id(data)] = len(buffers) - 1
            at = 0 if data is None else places[id(data)]
            tensors.append(_tensor(builder, name, tensor, at))
        operators = [_operator(builder, kinds, numbers, *each) for each in graph.operators]
        fields = {
            "Tensors": _offsets(builder, tensors), "Operators": _offsets(builder, operators),
            "Inputs": _ints(builder, [numbers[name] for name in graph.inputs]),
            "Outputs": _ints(builder, [numbers[name] for name in outputs or graph.outputs()]),
        }  # fmt: skip
        made.append(_table(builder, "SubGraph", fields))
    codes = [_code(builder, kind) for kind in kinds]
    fields = {
        "OperatorCodes": _offsets(builder, codes), "Subgraphs": _offsets(builder, made),
        "Buffers": _offsets(builder, buffers), "Version": 3,
    }  # fmt: skip
    builder.Finish(_table(builder, "Model", fields), b"TFL3")
    return bytes(builder.Output())


def _table(builder, name, fields):
    getattr(tflite, f"{name}Start")(builder)
    for field, value in fields.items():
        if value is not None:
            getattr(tflite, f"{name}Add{field}")(builder, value)
    return getattr(tflite, f"{name}End")(builder)


def _offsets(builder, values):
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependUOffsetTRelative(value)
    return builder.EndVector()


def _ints(builder, values):
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependInt32(int(value))
    return builder.EndVector()


def _buffer(builder, content):
    data = builder.CreateByteVector(content) if content else None
    return _table(builder, "Buffer", {"Data": data})


def _tensor(builder, name, tensor, at):
    fields = {
        "Name": builder.CreateString(name), "Shape": _ints(builder, tensor["shape"]),
        "ShapeSignature": None if tensor["signature"] is None else _ints(builder, tensor["signature"]),
        "Type": getattr(tflite.TensorType, tensor["kind"]), "Buffer": at, "HasRank": tensor["rank"],
        "IsVariable": tensor["variable"],
    }  # fmt: skip
    return _table(builder, "Tensor", fields)


def _code(builder, kind):
    custom = None if kind in CODES else builder.CreateString(kind)
    code = CODES.get(kind, CODES["CUSTOM"])
    fields = {"DeprecatedBuiltinCode": min(code, 127), "BuiltinCode": code, "CustomCode": custom, "Version": 1}
    return _table(builder, "OperatorCode", fields)


def _operator(builder, kinds, numbers, kind, inputs, outputs, options):
    name, fields = OPTIONS.get(kind), {}
    if name:
        vectors = {each: _ints(builder, value) for each, value in options.items() if isinstance(value, list)}
        table = _table(builder, name, {**options, **vectors})
        second = hasattr(tflite.BuiltinOptions2, name)
        union, field = (
            (tflite.BuiltinOptions2, "BuiltinOptions2") if second else (tflite.BuiltinOptions, "BuiltinOptions")
        )
        fields = {f"{field}Type": getattr(union, name), field: table}
    fields |= {
        "OpcodeIndex": kinds.index(kind),
        "Inputs": _ints(builder, [-1 if each is None else numbers[each] for each in inputs]),
        "Outputs": _ints(builder, [numbers[each] for each in outputs]),
    }
    return _table(builder, "Operator", fields)


# ---------------------------------------------------------------- networks


def network_of(net, *more, outputs=None, **options):
    return from_tflite(net.content(*more, outputs=outputs), name="net", **options)


def only(network):
    """The one priced layer of a network, or all if there are several."""
    layers = [each.layer for each in network.priced.values()]
    return layers[0] if len(layers) == 1 else layers


def lenet(conv1=6, conv2=16, fc1=120, fc2=84, kind="FLOAT32", batch=1):
    net = Net(kind)
    x = net.pool(net.conv(net.input("x", (batch, 28, 28, 1)), "conv1", conv1, (5, 5)), "pool1")
    x = net.pool(net.conv(x, "conv2", conv2, (5, 5), padding=VALID), "pool2", kind="AVERAGE_POOL_2D")
    x = net.linear(net.reshape(x, "flat", (batch, 25 * conv2)), "fc1", fc1, batch)
    net.linear(net.linear(x, "fc2", fc2, batch), "fc3", 10, batch)
    return net


def mobilenet(widths=(8, 16, 24, 32), kind="FLOAT32", size=32, classes=10):
    """A MobileNetV1 in small: blocks of a depthwise convolution and one of 1 x 1."""
    net = Net(kind)
    x = net.conv(net.input("x", (1, size, size, 3)), "stem", widths[0], stride=(2, 2))
    for index, (width, stride) in enumerate(zip(widths[1:], (1, 2, 2), strict=True)):
        x = net.conv(net.depthwise(x, f"dw{index}", stride=(stride, stride)), f"pw{index}", width, (1, 1))
    net.linear(net.mean(x, "mean"), "head", classes)
    return net


def resnet(widths=(16, 32, 64), kind="FLOAT32", inner=(16, 32, 64)):
    """ResNet-8 for images of 32 x 32, as in MLPerf Tiny."""
    net = Net(kind)
    x = net.conv(net.input("x", (1, 32, 32, 3)), "stem", widths[0])
    for index, (width, own) in enumerate(zip(widths, inner, strict=True)):
        stride = (1, 1) if not index else (2, 2)
        y = net.conv(x, f"a{index}", own, stride=stride)
        y = net.conv(y, f"b{index}", width)
        short = x if not index else net.conv(x, f"short{index}", width, (1, 1), stride=stride)
        x = net.elementwise("ADD", f"add{index}/add", short, y)
    net.linear(net.mean(x, "mean"), "head", 10)
    return net
