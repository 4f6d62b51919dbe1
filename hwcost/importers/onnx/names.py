"""Names of operations from an ONNX graph, and the module of the model that each comes from.

PyTorch's exporters leave the module's path: as "/layer1/layer1.0/conv1/Conv" in the node's name, or as scopes in its
metadata. The name of a weight is the best source, if it still is "layer1.0.conv1.weight".
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

import onnx

__all__ = ["operation_name", "path_of_scopes"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def operation_name(node: onnx.NodeProto, weight: str, part: str = "") -> tuple[str, str]:
    """The name of an operation, before it is made unique, and its module path.

    Args:
        node: of the graph.
        weight: the name of its parameter; empty if it has none.
        part: of the node, if it is several operations.

    >>> node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="/layer1/layer1.0/conv1/Conv")
    >>> operation_name(node, "onnx::Conv_193"), operation_name(node, "")
    (('layer1.0.conv1', 'layer1.0.conv1'), ('layer1.0.conv1:Conv', 'layer1.0.conv1'))
    >>> operation_name(onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="Conv_0"), "features.0.weight")
    ('Conv_0', 'features.0')
    """
    path = _recorded_path(node)
    owner = weight.rpartition(".")[0] if "/" not in weight and ":" not in weight else ""
    if path is None:
        name = node.name or next((name for name in node.output if name), "") or node.op_type
        return f"{name}:{part}" if part else name, owner
    if owner and weight == f"{owner}.weight":  # a norm behind it, folded into it, would give it its own path
        path = owner
    what = part or ("" if weight and path else node.op_type)
    return ":".join(filter(None, (path, what))), path


def _recorded_path(node: onnx.NodeProto) -> str | None:
    """The module path that an exporter recorded; None if none did."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = _texts(entry.value)
            if scopes is not None:
                return path_of_scopes(scopes[:-1])
    name = node.name or next((name for name in node.output if name), "")
    return path_of_scopes(name.split("/")[:-1]) if "/" in name else None


def _texts(text: str) -> list[str] | None:
    try:
        scopes = ast.literal_eval(text) if len(text) < 10_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return scopes if isinstance(scopes, list) and all(isinstance(each, str) for each in scopes) else None


def path_of_scopes(scopes: Sequence[str]) -> str:
    """The path of nested modules, some of which are named with their own full path.

    >>> path_of_scopes(["", "layer1", "layer1.0", "conv1"])
    'layer1.0.conv1'
    >>> path_of_scopes(["", "layer1", "layer1.0", "layer1.0.conv1"])
    'layer1.0.conv1'
    """
    path: list[str] = []
    for scope in filter(None, scopes):
        if path and (scope.startswith((f"{path[-1]}.", ".".join(path) + "."))):
            inside = scope.startswith(".".join(path) + ".")
            path = [scope] if inside else [*path[:-1], scope]
        else:
            path.append(scope)
    return ".".join(path)
