"""What is found while an ONNX graph is followed: its values, and its operations in order."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import onnx

from hwcost.importers.lowered import LoweredLayer, Step
from hwcost.importers.naming import UniqueNames
from hwcost.importers.onnx.calls import Values
from hwcost.importers.onnx.loading import fixed_shape
from hwcost.importers.onnx.names import operation_name
from hwcost.importers.onnx.shapes import ShapeFinder, Value
from hwcost.network.axes import Axis
from hwcost.network.operations import Operation

__all__ = ["Made", "Record"]

Made: TypeAlias = tuple[Step, Axis | None]
"""An operation, and the width that is named after it."""


class Record(ABC):
    """The values and operations of a graph.

    Attributes:
        values: what is known about the values of the graph.
        shapes: finds their shapes.
        depth: of the graph inside of nodes that is followed; 0 in the outermost.
        runs: nodes of graphs that run again and again, counted for each run.
    """

    def __init__(self, shapes: ShapeFinder) -> None:
        self.values, self.shapes = Values(), shapes
        self.depth = self.runs = 0
        self._made: list[Made] = []

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

    def mark(self) -> int:
        """The place that the next operation gets."""
        return len(self._made)

    def take_back(self, mark: int) -> list[Made]:
        """Removes and returns the operations from a place on."""
        made = self._made[mark:]
        del self._made[mark:]
        return made

    def give_back(self, made: Iterable[Made]) -> None:
        """Adds operations that were taken back."""
        self._made += made

    def note(self, text: str) -> None:
        """A remark on how the graph was interpreted, made once."""
        self.values.notes[text] = None

    def label(self, node: onnx.NodeProto) -> str:
        """The name of a node, or of its first output."""
        return str(node.name or next(iter(node.output), node.op_type))

    def add(self, node: onnx.NodeProto, lowered: LoweredLayer) -> None:
        """Adds an operation that a node comes down to."""
        weight = "" if lowered.weight is None else lowered.weight.origin
        name, path = operation_name(node, weight, lowered.part)
        step = Step(name, lowered.kind, path, lowered.layer, lowered.sizes)
        self._made.append((step, lowered.output_axis if weight else None))

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name."""
        unique = UniqueNames()
        for step, output_axis in self._made:
            step.name = unique(step.name)
            if output_axis is not None:
                self.values.widths.call(output_axis, step.name)
        return {step.name: step.operation(self.values.widths) for step, _ in self._made}
