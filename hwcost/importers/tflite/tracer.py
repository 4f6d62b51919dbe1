"""The graphs of a TFLite file followed from operator to operator: what each comes down to, and what it does to axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hwcost.errors import HwcostError, InvalidValueError
from hwcost.importers.graph.record import Operations, ends_between, layers_of, moved, origin_of, sources_of
from hwcost.importers.lowered import Sources, Step, add_layers
from hwcost.importers.rules import MADE_ONCE, LoweredLayer, free
from hwcost.importers.rules.own import OwnRows
from hwcost.importers.tflite.bodies import HOLD_GRAPHS, follow
from hwcost.importers.tflite.calls import OperatorCall, Value, Values, constant_of
from hwcost.importers.tflite.folding import fold
from hwcost.importers.tflite.free import DRAWS, LOOK_UPS, VIEWS
from hwcost.importers.tflite.loading import Graph, Operator, Tensor, library_version
from hwcost.importers.tflite.names import operation_name
from hwcost.importers.tflite.products import PRODUCTS
from hwcost.importers.tflite.shapes import shapes_of
from hwcost.importers.tflite.table import AXES, FREE
from hwcost.network.operations import AN_INPUT, AN_OUTPUT, SizeExpression, Unsupported

__all__ = ["Tracer"]

_AT_ONCE = 1000
_STATES = ("RESOURCE", "VARIANT")
"""Types of tensors that stand for something outside of the graph, and have no elements."""


class Tracer:
    """Follows the main graph of a file.

    Args:
        graphs: of the file.
        shapes: of the main graph's inputs.
        where: the file, for errors.
        own_rows: of the caller.
        progress: called with the number of operators that were followed and that of all, again and again.

    Raises:
        InvalidValueError: graphs that do not go together.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        shapes: Sequence[tuple[int, ...]],
        where: str,
        own_rows: OwnRows,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self.values, self.operations = Values(), Operations(_shared(graphs))
        self.depth = self.runs = 0
        self._graphs, self._where, self._own_rows = graphs, where, own_rows
        self._progress = progress
        self._constants: dict[int, dict[int, Value]] = {}
        main, given = graphs[0], []
        for number, shape in zip(main.inputs, shapes, strict=True):
            axes = tuple(self.values.widths.fixed(size, AN_INPUT) for size in shape)
            given.append(Value(main.tensors[number].name, main.tensors[number].type, shape, axes=axes, sources=(None,)))
        self.outputs = list(self._follow(0, given))
        for value in self.outputs:
            self.values.fix(value, AN_OUTPUT)
        self.values.ends = ends_between(given, self.outputs)

    def parameters(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of constants, as far as operators stated any."""
        return self.values.rules_of({value.name: value for value in self._constants_of(0).values()})

    def size(self, number: int) -> int:
        """The operators of a graph of the file, and one more."""
        return 1 + len(self._graph(number).operators)

    def run(self, number: int, given: Sequence[Value]) -> list[Value]:
        """The outputs of a graph that an operator runs."""
        self.runs += self.size(number)
        self.depth += 1
        made = self._follow(number, given)
        self.depth -= 1
        return made

    def add(self, operator: Operator, label: str, lowered: LoweredLayer, sources: Sources | None = None) -> Step:
        """Adds an operation that an operator comes down to, which reads what was made by these.

        ``label`` is the tensor that the operator makes.
        """
        weight = "" if lowered.weight is None else lowered.weight.origin
        return self.operations.add(partial(operation_name, operator.kind, label, weight), lowered, sources)

    def _graph(self, number: int) -> Graph:
        if not 0 <= number < len(self._graphs):
            allowed = f"from 0 to {len(self._graphs) - 1}: the file has no more"
            raise InvalidValueError(f"{self._where}: the number of a graph", number, allowed)
        return self._graphs[number]

    def _constants_of(self, number: int) -> dict[int, Value]:
        """The constants of a graph, which are the same each time that it runs."""
        if number not in self._constants:
            self._constants[number] = {
                at: Value(tensor.name, tensor.type, tensor.shape, constant_of(tensor), tensor.name)
                for at, tensor in enumerate(self._graphs[number].tensors)
                if not tensor.is_variable and (tensor.data is not None or 0 in tensor.shape)
            }
        return self._constants[number]

    def _follow(self, number: int, given: Sequence[Value]) -> list[Value]:
        graph = self._graph(number)
        if len(given) != len(graph.inputs):
            allowed = f"{len(graph.inputs)}, as the graph has"
            raise InvalidValueError(f"{self._where}: the number of inputs of a graph", len(given), allowed)
        known = {at: self._value(tensor) for at, tensor in enumerate(graph.tensors) if tensor.is_variable}
        known.update(self._constants_of(number))
        for at, value in zip(graph.inputs, given, strict=True):
            known[at] = value
            if value.shape is None and (shape := self._shape(graph.tensors[at])) is not None:
                value.set_shape(shape)
        for index, operator in enumerate(graph.operators, 1):
            self._run(graph, operator, known)
            if (
                self._progress is not None
                and not self.depth
                and (index % _AT_ONCE == 0 or operator is graph.operators[-1])
            ):
                self._progress(index, len(graph.operators))
        return [known[at] for at in graph.outputs]

    def _value(self, tensor: Tensor) -> Value:
        return Value(tensor.name, tensor.type, self._shape(tensor))

    def _shape(self, tensor: Tensor) -> tuple[int, ...] | None:
        """The shape that the file has; None if a size is open, or it may be no shape at all."""
        if tensor.type in _STATES:
            return ()
        return tensor.shape if -1 not in tensor.signature and (tensor.shape or tensor.has_rank) else None

    def _run(self, graph: Graph, operator: Operator, known: dict[int, Value]) -> None:
        label = graph.tensors[operator.outputs[0]].name if operator.outputs else operator.kind
        try:
            self._run_one(graph, operator, label, known)
        except HwcostError:
            raise
        except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError) as error:
            # what an operator may hold is checked as far as rules need it; the rest shows when it is read
            where = f"{self._where}: the operator that makes {label!r} ({operator.kind})"
            reason = f"reading it raises {type(error).__name__}: {error}"
            raise InvalidValueError(where, operator.kind, "check its options and inputs", reason=reason) from error

    def _run_one(self, graph: Graph, operator: Operator, label: str, known: dict[int, Value]) -> None:
        inputs = [None if at < 0 else known[at] for at in operator.inputs]
        outputs = [self._value(graph.tensors[at]) for at in operator.outputs]
        own, reason = self._own_rows.get(operator.kind), ""
        if own is None and operator.kind in HOLD_GRAPHS and not operator.is_custom:
            made = follow(self, operator, label, [value for value in inputs if value is not None])
            if not isinstance(made, str):
                self._bind(operator, outputs, made, known)
                return
            reason = made
        call = OperatorCall(operator, inputs, outputs, self.values)
        row = own or (None if operator.is_custom else PRODUCTS.get(operator.kind))
        if row is None:
            reason = reason or _reason(operator)
        found = None if operator.is_custom else shapes_of(call)
        contradiction = _contradiction(call, found or ())
        if found is not None and not contradiction:
            fold(call)
        origin = "" if reason or operator.kind in DRAWS else origin_of(call.inputs)
        for at, value in zip(operator.outputs, outputs, strict=True):
            value.origin = origin
            known[at] = value
        are_known = bool(outputs) and all(value.constant is not None for value in outputs)
        handler = row or (free if reason else AXES.get(operator.kind, free))
        layers, reason = layers_of(call, handler, reason, is_row=row is not None, is_own=own is not None)
        if row is not None and own is None:
            reason = reason or contradiction
        if not origin and not are_known:
            sources = self._record(operator, label, call, layers, reason)
            for value in outputs:
                value.sources = sources
        elif layers or reason:  # a compiler keeps what it knows
            self.values.notes[MADE_ONCE] = None

    def _bind(
        self, operator: Operator, outputs: Sequence[Value], found: Sequence[Value], known: dict[int, Value]
    ) -> None:
        """States the outputs of an operator that runs graphs."""
        if len(found) != len(outputs):
            allowed = f"{len(outputs)}, as the operator that runs it has"
            raise InvalidValueError(f"{self._where}: the number of outputs of a graph", len(found), allowed)
        for at, stated, value in zip(operator.outputs, outputs, found, strict=True):
            if value.shape is None and stated.shape is not None:
                value.set_shape(stated.shape)
            known[at] = value

    def _record(
        self, operator: Operator, label: str, call: OperatorCall, layers: Sequence[LoweredLayer], reason: str
    ) -> Sources:
        """Adds what an operator comes down to, and returns the operations that make its result."""
        if reason:
            layers = (LoweredLayer(Unsupported(operator.kind, reason), operator.kind),)
        elif not layers:
            is_view, is_look_up = operator.kind in VIEWS, operator.kind in LOOK_UPS
            layers = (LoweredLayer(moved(call, is_view=is_view, is_look_up=is_look_up), operator.kind),)
        return add_layers(layers, call.inputs, sources_of, partial(self.add, operator, label))


def _reason(operator: Operator) -> str:
    """Why an operator without a row is not supported; empty if it is known to be free."""
    if operator.is_custom:
        return "a custom operator"
    if operator.kind in FREE:
        return ""
    if operator.kind.startswith("operator "):
        return f"not an operator of TFLite {library_version()}; a newer release of the package tflite may know it"
    return "not known to be free"


def _contradiction(call: OperatorCall, shapes: Sequence[tuple[int, ...]]) -> str:
    """States the shapes of outputs that the file leaves open; returns how the shapes contradict it."""
    for value, shape in zip(call.outputs, shapes, strict=False):
        if value.shape is None:
            value.set_shape(shape)
        elif value.shape != shape:
            sizes = ["x".join(map(str, each)) for each in (value.shape, shape)]
            return f"its output is {sizes[0]}, and its inputs and options make {sizes[1]}"
    return ""


def _shared(graphs: Sequence[Graph]) -> dict[str, str]:
    """For each constant the first one that lies in the same buffer."""
    first: dict[int, str] = {}
    return {
        tensor.name: first.setdefault(id(tensor.data), tensor.name)
        for graph in graphs
        for tensor in graph.tensors
        if tensor.data is not None
    }
