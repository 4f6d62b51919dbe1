"""Networks that the tests of reports, comparisons and pages share."""

from __future__ import annotations

from hwcost import Conv2d, Gemm, Linear, MatMul
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported

LENET = {
    "conv1": Conv2d(1, 6, 5, height=28, width=28, padding=2),
    "conv2": Conv2d(6, 16, 5, height=14, width=14),
    "fc1": Linear(400, 120),
    "fc2": Linear(120, 84),
    "fc3": Linear(84, 10),
}

MIXED = {
    "conv": Conv2d(20, 36, 3, height=10, width=12, padding=1, batch=2),
    "strided": Conv2d(3, 64, 7, height=56, width=56, stride=2, padding=3),
    "groups": Conv2d(20, 36, 3, height=10, width=12, groups=4),
    "depthwise": Conv2d(24, 24, 3, height=9, width=9, padding="same", groups=24),
    "fc": Linear(512, 1024, batch=64),
    "vector": Linear(512, 1000),
    "scores": MatMul(m=10, n=40, k=16, batch=4),
    "shared weights": MatMul(m=1, n=40, k=16, batch=12, weights_shared_by=4),
    "shared inputs": MatMul(m=40, n=3, k=16, batch=12, inputs_shared_by=6),
    "gemm": Gemm(m=30, n=50, k=36, count=3, window=(3, 3)),
}
"""A layer of every kind."""


def residual(blocks=(3, 4, 6, 3)) -> dict[str, object]:
    """The layers of a ResNet-50, or of one with other numbers of blocks."""
    layers: dict[str, object] = {"conv1": Conv2d(3, 64, 7, 224, 224, stride=2, padding=3)}
    channels, size = 64, 56
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
        for block in range(count):
            stride, path = 2 if block == 0 and stage > 1 else 1, f"layer{stage}.{block}"
            after = size // stride
            layers[f"{path}.conv1"] = Conv2d(channels, width, 1, size, size)
            layers[f"{path}.conv2"] = Conv2d(width, width, 3, size, size, stride=stride, padding=1)
            layers[f"{path}.conv3"] = Conv2d(width, 4 * width, 1, after, after)
            if block == 0:
                layers[f"{path}.downsample.0"] = Conv2d(channels, 4 * width, 1, size, size, stride=stride)
            channels, size = 4 * width, after
    return layers | {"fc": Linear(2048, 1000)}


SEARCHED = Network(
    "searched",
    {
        "conv": Operation(
            Conv2d(3, 16, 5, height=8, width=8, padding="same"), {"out_channels": "width", "kernel_size": "kernel"}
        ),
        "head": Operation(Linear(16, 10), {"in_features": "width"}),
    },
).space({"width": (8, 12, 16), "kernel": (3, 5)})
"""Two layers with a width and a kernel that are open to choice."""

TREE = Network(
    "tree",
    {
        "stem": Operation(Conv2d(3, 16, 3, 8, 8, padding=1), kind="convolution", path="stem"),
        "stem:relu": Operation(MemoryOnly("relu", reads=1024, writes=1024), kind="relu", path="stem"),
        "body.0.attn:bmm": Operation(MatMul(m=10, n=10, k=16, batch=4), kind="bmm", path="body.0.attn"),
        "body.0.attn:bmm (2)": Operation(MatMul(m=10, n=16, k=10, batch=4), kind="bmm", path="body.0.attn"),
        "body.0.fc": Operation(Linear(64, 40, batch=10), kind="linear", path="body.0.fc"),
        "body.1.fc": Operation(Linear(40, 8, batch=10), kind="linear", path="body.1.fc"),
        "head": Operation(Gemm(m=1, n=10, k=80), kind="addmm", path="head"),
    },
    notes=("read with care",),
)
"""Three levels of modules, products without a module of their own, an operation that only moves memory."""

HOSTILE = "<script>alert(1)</script>"
ODD = Network(
    "odd <&\"'",
    {
        f"a.{HOSTILE}": Operation(Linear(40, 30), kind="linear", path="a"),
        "b\x1b[31m.fc": Operation(Linear(4, 3), kind="linear", path="b\x1b[31m"),
        '数.$x$,"q"': Operation(Linear(9, 9), kind="linear", path="数"),
        "a.fft": Operation(Unsupported("fft", "no <b>product</b>"), kind="fft", path="a"),
    },
)
"""Names that mean something to terminals, pages, tables and plots; and an operation that cannot be priced."""
