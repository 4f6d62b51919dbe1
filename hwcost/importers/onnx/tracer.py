"""An ONNX graph followed from node to node: what each comes down to, and what it does to the axes of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import onnx

from hwcost.errors import HwcostError, InvalidValueError
from hwcost.importers.graph.record import ends_between, layers_of, moved, origin_of, sources_of
from hwcost.importers.lowered import Sources, add_layers
from hwcost.importers.onnx import bodies
from hwcost.importers.onnx.calls import Node
from hwcost.importers.onnx.free import DRAWS, LOOK_UPS, TRAINED, VIEWS
from hwcost.importers.onnx.loading import plain_domain
from hwcost.importers.onnx.record import Record
from hwcost.importers.onnx.sequences import SEQUENCES, with_elements
from hwcost.importers.onnx.shapes import ShapeFinder, Value, of_tensor, with_type
from hwcost.importers.onnx.table import AXES, FREE, PRODUCTS
from hwcost.importers.rules import MADE_ONCE, LoweredLayer, free
from hwcost.importers.rules.own import OwnRows
from hwcost.network.operations import AN_INPUT, AN_OUTPUT, SizeExpression, Unsupported

__all__ = ["Tracer"]

_OWN_DOMAINS = ("", "com.microsoft")
_HOLD_GRAPHS = ("If", "Loop", "Scan")
_AT_ONCE = 1000
_OFTEN_TRAINED = 7
"""The version of the operators from which on a Dropout without further inputs draws nothing."""


class Tracer(Record):
    """Follows a graph of ``load_graph`` whose inputs have sizes; ``where`` is its file, for errors.

    ``progress`` is called with the number of nodes that were followed and that of all, again and again.

    Raises:
        InvalidValueError: shapes that do not go together.
    """

    def __init__(
        self, model: onnx.ModelProto, where: str, own_rows: OwnRows, progress: Callable[[int, int], object] | None
    ) -> None:
        super().__init__(ShapeFinder(model, where))
        self._where, self._own_rows = where, own_rows
        self._parameters = _tensors(model.graph)
        known = self.values.by_name
        known.update(self._parameters)
        inputs = []
        for value in model.graph.input:
            if value.name not in known:
                given = known[value.name] = with_type(value.name, value.type)
                inputs.append(given)
                given.sources = (None,)
                if given.shape is not None:
                    given.axes = tuple(self.values.widths.fixed(size, AN_INPUT) for size in given.shape)
        nodes = list(model.graph.node)
        for start in range(0, len(nodes), _AT_ONCE):
            self._run(nodes[start : start + _AT_ONCE])
            if progress is not None:
                progress(min(start + _AT_ONCE, len(nodes)), len(nodes))
        outputs = [known[value.name] for value in model.graph.output]
        for each in outputs:
            self.values.fix(each, AN_OUTPUT)
        self.values.ends = ends_between(inputs, outputs)
        self.outputs = outputs

    def _run(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            try:
                self._run_one(node)
            except HwcostError:
                raise
            except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError) as error:
                # onnx checks what a node may hold as far as it goes; the rest shows when the node is read
                where = f"{self._where}: the node {self.label(node)!r} ({node.op_type})"
                reason = f"reading it raises {type(error).__name__}: {error}"
                allowed = "check its attributes and inputs"
                raise InvalidValueError(where, str(node.op_type), allowed, reason=reason) from error

    def _run_one(self, node: onnx.NodeProto) -> None:
        known = self.values.by_name
        inputs = [known[name] if name else None for name in node.input]
        domain, cannot = plain_domain(node.domain), ""
        own = self._own_rows.get(f"{domain or 'ai.onnx'}::{node.op_type}")
        if node.op_type in _HOLD_GRAPHS and not domain and own is None:
            cannot = bodies.follow(self, node, inputs)
            if not cannot:
                return
        outputs = self.shapes.outputs(node, inputs)
        call = Node(node, inputs, outputs, self.values)
        if node.op_type in SEQUENCES and not domain and own is None and len(outputs) == 1:
            outputs = [SEQUENCES[node.op_type](node, [*inputs, None, None], outputs[0])]
            call = Node(node, *with_elements(node, inputs, outputs), self.values)
        row = own or PRODUCTS.get(f"{domain}::{call.kind}" if domain else call.kind)
        reason = "" if row else cannot or self._reason(node, domain, call)
        origin = "" if reason or _draws(node, call, self.shapes.version) else _origin(node, call.inputs)
        for name, value in zip(filter(None, node.output), outputs, strict=True):
            if name == value.name:  # else it is one that is there already
                value.origin = origin
                self.values.copies.pop(id(value), None)
            known[name] = value
        are_known = bool(outputs) and all(value.constant is not None for value in outputs)
        handler = row or (free if reason else AXES.get(call.kind, free))
        layers, reason = layers_of(call, handler, reason, is_row=row is not None, is_own=own is not None)
        if not origin and not are_known:
            sources = self._record(node, call, layers, reason)
            for value in (*outputs, *call.outputs):
                if value.name in node.output:  # else it is one that is there already
                    value.sources = sources
        elif layers or reason:  # a compiler keeps what it knows
            self.values.notes[MADE_ONCE] = None

    def run_body(
        self, graph: onnx.GraphProto, given: Sequence[Value], kept: dict[str, Value] | None = None
    ) -> list[Value]:
        """The outputs of a graph inside of a node; its constants are in ``kept`` if it ran before."""
        known, again = self.values.by_name, bool(kept)
        own = kept if kept else _tensors(graph)
        names = {value.name for value in graph.input} | own.keys()
        names.update(name for node in graph.node for name in node.output)
        known.update(own)
        known.update((value.name, each) for value, each in zip(graph.input, given, strict=True))
        self.shapes.record(graph)
        self.depth += 1
        self._run(node for node in graph.node if not (again and node.op_type == "Constant"))
        self.depth -= 1
        made = [known[value.name] for value in graph.output]
        if kept is not None and not again:
            constants = (name for node in graph.node if node.op_type == "Constant" for name in node.output)
            kept.update({**own, **{name: known[name] for name in constants}})
        for name in names:
            known.pop(name, None)
        return made

    def _reason(self, node: onnx.NodeProto, domain: str, call: Node) -> str:
        """Why a node without a row is not supported; empty if it is known to be free."""
        if domain in _OWN_DOMAINS and call.kind in FREE and (domain or self.shapes.has_operator(node)):
            return ""
        if domain:
            return "not one of ONNX's operators"
        return "not known to be free" if self.shapes.has_operator(node) else "not an operator of this version of ONNX"

    def _record(self, node: onnx.NodeProto, call: Node, layers: Sequence[LoweredLayer], reason: str) -> Sources:
        """Adds what a node comes down to, and returns the operations that make its result."""
        if reason:
            domain = plain_domain(node.domain)
            name = f"{domain}.{call.kind}" if domain else call.kind
            layers = (LoweredLayer(Unsupported(name, reason), call.kind),)
        elif not layers:
            is_view, is_look_up = call.kind in VIEWS, call.kind in LOOK_UPS
            layers = (LoweredLayer(moved(call, is_view=is_view, is_look_up=is_look_up), call.kind),)
        return add_layers(layers, call.inputs, sources_of, partial(self.add, node))

    def parameters(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of initializers, as far as nodes stated any."""
        return self.values.rules_of(self._parameters)


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
        return next((name for name in node.output if name), "")
    return origin_of(inputs)


def _draws(node: onnx.NodeProto, call: Node, version: int) -> bool:
    """Whether a node gives other values each time that it runs."""
    if node.op_type in TRAINED:
        mode = call.get(TRAINED[node.op_type])
        is_old = version < _OFTEN_TRAINED and not call.attributes.get("is_test")
        return is_old if mode is None else mode.constant is None or bool(mode.constant.any())
    return node.op_type in DRAWS
