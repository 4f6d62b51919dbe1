"""An ONNX graph followed from node to node: what each comes down to, and what it does to the axes of its values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from hwcost.errors import HwcostError, InvalidValueError
from hwcost.importers.lowered import Step
from hwcost.importers.naming import UniqueNames
from hwcost.importers.onnx.calls import Node, Values
from hwcost.importers.onnx.free import LOOK_UPS, VIEWS
from hwcost.importers.onnx.loading import plain_domain
from hwcost.importers.onnx.names import operation_name
from hwcost.importers.onnx.shapes import ShapeFinder, Value, attributes_of, of_tensor, with_type
from hwcost.importers.onnx.table import AXES, FREE, PRODUCTS
from hwcost.importers.rules import CannotPriceError, LoweredLayer, free
from hwcost.importers.rules.own import OwnRows
from hwcost.network.operations import MemoryOnly, Operation, SizeExpression, Unsupported

__all__ = ["Tracer"]

_AN_INPUT, _AN_OUTPUT = "an input", "an output of the network"
_OWN_DOMAINS = ("", "com.microsoft")
_DEEPEST = 32


class Tracer:
    """Follows a graph of ``load_graph`` whose inputs have sizes; ``where`` is its file, for errors.

    Raises:
        InvalidValueError: shapes that do not go together.
    """

    def __init__(self, model: onnx.ModelProto, where: str, own_rows: OwnRows) -> None:
        self.values = Values()
        self._where, self._shapes, self._own_rows = where, ShapeFinder(model, where), own_rows
        self._steps: list[Step] = []
        self._unique = UniqueNames()
        self._parameters = _tensors(model.graph)
        known = self.values.by_name
        known.update(self._parameters)
        for value in model.graph.input:
            if value.name not in known:
                given = known[value.name] = with_type(value.name, value.type)
                if given.shape is not None:
                    given.axes = tuple(self.values.widths.fixed(size, _AN_INPUT) for size in given.shape)
        self._run(model.graph.node, 0)
        for value in model.graph.output:
            self.values.fix(known[value.name], _AN_OUTPUT)

    def _run(self, nodes: Iterable[onnx.NodeProto], depth: int) -> None:
        for node in nodes:
            try:
                self._run_one(node, depth)
            except HwcostError:
                raise
            except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError) as error:
                # onnx checks what a node may hold as far as it goes; the rest shows when the node is read
                where = f"{self._where}: the node {str(node.name or node.output[:1])!r} ({node.op_type})"
                reason = f"reading it raises {type(error).__name__}: {error}"
                allowed = "check its attributes and inputs"
                raise InvalidValueError(where, str(node.op_type), allowed, reason=reason) from error

    def _run_one(self, node: onnx.NodeProto, depth: int) -> None:
        known = self.values.by_name
        inputs = [known[name] if name else None for name in node.input]
        if node.op_type == "If" and not node.domain and depth < _DEEPEST and self._branch(node, inputs, depth):
            return
        outputs = self._shapes.outputs(node, inputs)
        call = Node(node, inputs, outputs, self.values)
        origin = _origin(node, call.inputs)
        for value in outputs:
            value.origin = origin
            self.values.copies.pop(id(value), None)
            known[value.name] = value
        are_known = bool(outputs) and all(value.constant is not None for value in outputs)
        self._note(node, call, made_once=bool(origin) or are_known)  # a compiler keeps what it knows

    def _branch(self, node: onnx.NodeProto, inputs: Sequence[Value | None], depth: int) -> bool:
        """Follows the branch of an If whose condition is known; returns whether it is."""
        condition = inputs[0] if inputs else None
        if condition is None or condition.constant is None or condition.constant.size != 1:
            return False
        taken = "then_branch" if bool(condition.constant.ravel()[0]) else "else_branch"
        graph, known = attributes_of(node)[taken], self.values.by_name
        known.update(_tensors(graph))
        self._run(graph.node, depth + 1)
        known.update((name, known[value.name]) for name, value in zip(node.output, graph.output, strict=True) if name)
        return True

    def _note(self, node: onnx.NodeProto, call: Node, *, made_once: bool) -> None:
        domain = plain_domain(node.domain)
        own = self._own_rows.get(f"{domain or 'ai.onnx'}::{call.kind}")
        priced = own or PRODUCTS.get(f"{domain}::{call.kind}" if domain else call.kind)
        reason = "" if priced else self._reason(node, domain, call)
        layers: tuple[LoweredLayer, ...] = ()
        try:
            layers = tuple((priced or (free if reason else AXES.get(call.kind, free)))(call) or ())
        except (CannotPriceError, InvalidValueError) as error:  # the second: a layer of sizes that are 0
            if own and isinstance(error, InvalidValueError):
                raise
            if priced or isinstance(error, InvalidValueError):
                reason = str(error)
            call.fix(*call.inputs, *call.outputs)
        call.fix_new_outputs()
        if made_once and not (reason and call.inputs):
            return
        if reason:
            name = f"{domain}.{call.kind}" if domain else call.kind
            self._add(node, LoweredLayer(Unsupported(name, reason), call.kind))
        for layer in layers if not reason else ():
            self._add(node, layer)
        if not reason and not layers:
            self._add(node, LoweredLayer(_moved(call), call.kind))

    def _reason(self, node: onnx.NodeProto, domain: str, call: Node) -> str:
        """Why a node without a handler is not supported; empty if it is known to be free."""
        if call.kind in ("If", "Loop", "Scan") and not domain:
            graphs = (value for value in call.attributes.values() if isinstance(value, onnx.GraphProto))
            inside = (each for graph in graphs for each in graph.node)
            if all(each.op_type in FREE and not plain_domain(each.domain) for each in inside):
                return ""
            return "its body runs as often as values decide, and holds more than free operators"
        if domain in _OWN_DOMAINS and call.kind in FREE and (domain or self._shapes.has_operator(node)):
            return ""
        if domain:
            return "not one of ONNX's operators"
        return "not known to be free" if self._shapes.has_operator(node) else "not an operator of this version of ONNX"

    def _add(self, node: onnx.NodeProto, lowered: LoweredLayer) -> None:
        weight = "" if lowered.weight is None else lowered.weight.origin
        name, path = operation_name(node, weight, lowered.part)
        step = Step(self._unique(name), lowered.kind, path, lowered.layer, lowered.sizes)
        self._steps.append(step)
        if lowered.output_axis is not None and weight:
            self.values.widths.call(lowered.output_axis, step.name)

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name."""
        return {step.name: step.operation(self.values.widths) for step in self._steps}

    def parameters(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of initializers, as far as nodes stated any."""
        return {
            name: tuple(map(self.values.widths.rule, value.axes))
            for name, value in self._parameters.items()
            if value.axes and not value.is_integer
        }


def _tensors(graph: onnx.GraphProto) -> dict[str, Value]:
    """The initializers by name."""
    found = {tensor.name: of_tensor(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        of_type = onnx.helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))
        found[sparse.values.name] = with_type(sparse.values.name, of_type, origin=sparse.values.name)
    return found


def _origin(node: onnx.NodeProto, inputs: Sequence[Value]) -> str:
    """The parameter that outputs are made of: the first, if all inputs are parameters; a constant is its own."""
    if not inputs:
        return next((name for name in node.output if name), "") if not node.op_type.startswith("Random") else ""
    return inputs[0].origin if all(value.origin for value in inputs) else ""


def _moved(call: Node) -> MemoryOnly:
    """The elements that a node without products reads and writes, if shapes are known."""
    if call.kind in VIEWS:
        return MemoryOnly(call.kind)
    if any(value.shape is None for value in (*call.inputs, *call.outputs)):
        call.note("where a shape depends on values, reads and writes are not counted")
    return call.moved(call.kind, is_look_up=call.kind in LOOK_UPS)
