"""One node of an ONNX graph, as the rules see it, and what is known about the values of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from hwcost.importers.graph.values import GraphCall, GraphValues
from hwcost.importers.onnx.shapes import Value, attributes_of

__all__ = ["Node", "Values"]


class Values(GraphValues):
    """What is known about the values of a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, Value] = {}

    def fix(self, value: Value, reason: str) -> None:
        """Nothing about a value can change, or about those that it holds as a sequence."""
        super().fix(value, reason)
        for item in value.items or ():
            super().fix(item, reason)


class Node(GraphCall):
    """A node of the graph; ``places`` are its inputs in order, None for one that is left out."""

    def __init__(
        self, node: onnx.NodeProto, places: Sequence[Value | None], outputs: Sequence[Value], values: Values
    ) -> None:
        super().__init__(str(node.op_type), places, outputs, attributes_of(node), values)
