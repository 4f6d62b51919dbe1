"""What the nodes of an ONNX graph are called, and which module of the model each comes from.

PyTorch's exporters leave the module's path: as "/layer1/layer1.0/conv1/Conv" in the node's name, or as scopes in its
metadata. The name of a weight says it best, where that is "layer1.0.conv1.weight" still.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

import onnx

__all__ = ["named", "path_of_scopes"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def named(node: onnx.NodeProto, weight: str, part: str = "") -> tuple[str, str]:
    """The name of an operation, before it is made unique, and its module path.

    Args:
        node: of the graph.
        weight: the name of its parameter; empty where it has none.
        part: of the node, where it is several operations.

    >>> node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="/layer1/layer1.0/conv1/Conv")
    >>> named(node, "onnx::Conv_193"), named(node, "")
    (('layer1.0.conv1', 'layer1.0.conv1'), ('layer1.0.conv1:Conv', 'layer1.0.conv1'))
    >>> named(onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="Conv_0"), "features.0.weight")
    ('Conv_0', 'features.0')
    """
    path = _told_path(node)
    owner = weight.rpartition(".")[0] if "/" not in weight and ":" not in weight else ""
    if path is None:
        name = node.name or next((name for name in node.output if name), "") or node.op_type
        return f"{name}:{part}" if part else name, owner
    if owner and weight == f"{owner}.weight":  # a norm behind it, folded into it, would give it its own path
        path = owner
    what = part or ("" if weight and path else node.op_type)
    return ":".join(filter(None, (path, what))), path


def _told_path(node: onnx.NodeProto) -> str | None:
    """The module path that an exporter left; None where none did."""
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
    """The path of modules in each other, some of which are named with all that they are in.

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
