"""Networks out of ONNX graphs: every node priced, known to be free, or named as not supported."""

from hwcost.importers.onnx.reader import from_onnx

__all__ = ["from_onnx"]
