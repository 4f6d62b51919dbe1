"""ONNX graphs as networks: every node priced, known to be free, or unsupported and named."""
