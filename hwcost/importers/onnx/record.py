"""What is found while an ONNX graph is followed: its values, and its operations in order."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import onnx

from hwcost.importers.graph.record import Operations
from hwcost.importers.lowered import LoweredLayer, Sources, Step
from hwcost.importers.onnx.calls import Values
from hwcost.importers.onnx.dims import fixed_shape
from hwcost.importers.onnx.names import operation_name
from hwcost.importers.onnx.shapes import ShapeFinder, Value

__all__ = ["Record"]


class Record(ABC):
    """The values and operations of a graph.

    Attributes:
        values: what is known about the values of the graph.
        shapes: finds their shapes.
        operations: that were found.
        depth: of the graph inside of nodes that is followed; 0 in the outermost.
        runs: nodes of graphs that run again and again, counted for each run.
    """

    def __init__(self, shapes: ShapeFinder) -> None:
        self.values, self.shapes, self.operations = Values(), shapes, Operations()
        self.depth = self.runs = 0

    @abstractmethod
    def run_body(
        self, graph: onnx.GraphProto, given: Sequence[Value], kept: dict[str, Value] | None = None
    ) -> list[Value]:
        """The outputs of a graph inside of a node; its constants are in ``kept`` if it ran before."""

    def bind(self, node: onnx.NodeProto, values: Sequence[Value]) -> None:
        """States the outputs of a node that holds graphs."""
        for name, value in zip(node.output, values, strict=False):
            stated = fixed_shape(self.shapes.best(name, None)) if value.shape is None else None
            known = value if stated is None else dataclasses.replace(value)
            if stated is not None:
                known.set_shape(stated)
            if name:
                self.values.by_name[name] = known

    def label(self, node: onnx.NodeProto) -> str:
        """The name of a node, or of its first output."""
        return str(node.name or next(iter(node.output), node.op_type))

    def add(self, node: onnx.NodeProto, lowered: LoweredLayer, sources: Sources | None = None) -> Step:
        """Adds an operation that a node comes down to, which reads what was made by these."""
        weight = "" if lowered.weight is None else lowered.weight.origin
        return self.operations.add(partial(operation_name, node, weight), lowered, sources)
