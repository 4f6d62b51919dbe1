"""Names of operations from a TFLite file, whose operators have none: those of the tensors that they make.

The converter of TensorFlow joins the names of what it fuses, as "net/conv/Relu6;net/conv/BiasAdd;net/conv/Conv2D", and
names a weight after the product that it is for.
"""

from __future__ import annotations

__all__ = ["operation_name"]

_PRODUCTS = ("BatchMatMul", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2d", "MatMul", "conv2d_transpose", "depthwise",
             "separable_conv2d")  # fmt: skip
"""What the last part of a name begins with if TensorFlow gave it to a product."""


def operation_name(kind: str, output: str, weight: str = "", part: str = "") -> tuple[str, str]:
    """The name of an operation, before it is made unique, and its module path.

    Args:
        kind: the operator.
        output: the name of the first tensor that it makes.
        weight: the name of its parameter; empty if it has none.
        part: of the operator, if it is several operations.

    >>> operation_name("CONV_2D", "net/bn1/Relu6;net/bn1/FusedBatchNormV3;net/conv1/Conv2D", "arith.constant")
    ('net.conv1', 'net.conv1')
    >>> operation_name("ADD", "net/block1/add"), operation_name("SOFTMAX", "Identity")
    (('net.block1:ADD', 'net.block1'), ('Identity', ''))
    """
    fused = [text for text in output.split(";") if text] or [kind]
    named = [text for text in (*weight.split(";"), *fused) if text.rpartition("/")[2].startswith(_PRODUCTS)]
    text = named[0] if weight and named else fused[0]
    path = ".".join(filter(None, text.rpartition("/")[0].split("/")))
    what = part or ("" if weight and path else kind if path else "")
    return ":".join(filter(None, (path or text, what))), path
