"""An ONNX graph followed from node to node: what each is, and what it says about the axes of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from hwcost.errors import HwcostError, InvalidValueError
from hwcost.importers.naming import UniqueNames
from hwcost.importers.onnx.axes import AXES
from hwcost.importers.onnx.calls import Axes, Call, CannotPriceError, LoweredLayer
from hwcost.importers.onnx.free import FREE, LOOK_UPS, VIEWS
from hwcost.importers.onnx.names import named
from hwcost.importers.onnx.products import PRODUCTS
from hwcost.importers.onnx.shapes import ShapeFinder, Value, attributes_of, of_tensor, with_type
from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation, SizeExpression, Unsupported

__all__ = ["Tracer"]

_AN_INPUT, _AN_OUTPUT, _A_CONSTANT = "an input", "an output of the network", "a constant"
_FREE_DOMAINS = ("", "com.microsoft")
_DEEPEST = 32


@dataclass
class _Step:
    """An operation before it has its rules."""

    name: str
    kind: str
    path: str
    layer: Any
    sizes: dict[str, Axis] = field(default_factory=dict)


class Tracer:
    """Follows one graph.

    Args:
        model: as ``load_graph`` gives it, its inputs with sizes.
        where: the file, for errors.

    Raises:
        InvalidValueError: shapes that do not go together.
    """

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.widths = AxisTracker()
        self.notes: list[str] = []
        self._where, self._shapes = where, ShapeFinder(model, where)
        self._values: dict[str, Value] = {}
        self._steps: list[_Step] = []
        self._unique = UniqueNames()
        self._parameters = _tensors(model.graph)
        self._values.update(self._parameters)
        for value in model.graph.input:
            if value.name not in self._values:
                given = self._values[value.name] = with_type(value.name, value.type)
                if given.shape is not None:
                    given.axes = tuple(self.widths.fixed(size, _AN_INPUT) for size in given.shape)
        self._run(model.graph.node, 0)
        for value in model.graph.output:
            self._fix(self._values[value.name], _AN_OUTPUT)

    # ---------------------------------------------------------------- what operators ask for

    def note(self, text: str) -> None:
        """Something that is to be said, once."""
        if text not in self.notes:
            self.notes.append(text)

    def axes(self, value: Value) -> Axes:
        """The axes of a value.

        Those of a parameter of which nothing was said yet are its own, but for those of 1, which are there to be
        stretched, and those of tables of integers. Vectors among parameters are new each time: exporters keep equal
        ones once, and two layers whose biases are all zeros need not be as wide as each other.

        Raises:
            CannotPriceError: its shape is not known.
        """
        if value.axes is not None and not _is_vector(value):
            return value.axes
        if value.shape is None:
            raise CannotPriceError(f"the shape of {value.name!r} is not known")
        own = bool(value.origin) and not value.is_integer
        axes = tuple(
            self.widths.new(size) if own and size > 1 else self.widths.fixed(size, _A_CONSTANT) for size in value.shape
        )
        if not _is_vector(value):
            value.axes = axes
        return axes

    def give(self, value: Value, axes: Axes, reason: str) -> None:
        """Says what the axes of a value are; those of one that has some already become the same."""
        if value.shape != tuple(map(self.widths.size, axes)):
            shape = "x".join(str(self.widths.size(axis)) for axis in axes)
            raise CannotPriceError(f"{value.name!r} has the shape {value.shape}, not {shape}")
        if value.axes is None or _is_vector(value):
            value.axes = axes
            return
        for old, new in zip(value.axes, axes, strict=True):
            self.widths.join(old, new, reason)

    def _fix(self, value: Value, reason: str) -> None:
        if value.shape is not None:
            for axis in self.axes(value):
                self.widths.fix(axis, reason)

    # ---------------------------------------------------------------- nodes

    def _run(self, nodes: Iterable[onnx.NodeProto], depth: int) -> None:
        for node in nodes:
            try:
                self._run_one(node, depth)
            except (HwcostError, CannotPriceError):
                raise
            except (ArithmeticError, LookupError, TypeError, AttributeError, ValueError) as error:
                # what a node may hold is checked by onnx as far as it goes; the rest shows when it is read
                where = f"{self._where}: the node {str(node.name or node.output[:1])!r} ({node.op_type})"
                allowed = f"attributes and inputs that go together ({type(error).__name__}: {error})"
                raise InvalidValueError(where, str(node.op_type), allowed) from error

    def _run_one(self, node: onnx.NodeProto, depth: int) -> None:
        inputs = [self._values[name] if name else None for name in node.input]
        if node.op_type == "If" and not node.domain and depth < _DEEPEST and self._branch(node, inputs, depth):
            return
        outputs = self._shapes.outputs(node, inputs)
        present = [value for value in inputs if value is not None]
        origin = _origin(node, present)
        for value in outputs:
            value.origin = origin
            self._values[value.name] = value
        domain = "" if node.domain == "ai.onnx" else node.domain
        call = Call(node.op_type, attributes_of(node), inputs, outputs, self)
        self._note(node, domain, call, made_once=bool(origin) or _is_known(outputs))

    def _branch(self, node: onnx.NodeProto, inputs: Sequence[Value | None], depth: int) -> bool:
        """Follows the branch of an If whose condition is known; whether it is."""
        condition = inputs[0] if inputs else None
        if condition is None or condition.constant is None or condition.constant.size != 1:
            return False
        taken = "then_branch" if bool(condition.constant.ravel()[0]) else "else_branch"
        graph = attributes_of(node)[taken]
        self._values.update(_tensors(graph))
        self._run(graph.node, depth + 1)
        for name, value in zip(node.output, graph.output, strict=True):
            if name:
                self._values[name] = self._values[value.name]
        return True

    def _note(self, node: onnx.NodeProto, domain: str, call: Call, *, made_once: bool) -> None:
        products: list[LoweredLayer] = []
        reason = self._reason(node, domain, call)
        try:
            if (domain, call.kind) in PRODUCTS:
                products += PRODUCTS[domain, call.kind](call)
            elif not reason and call.kind in AXES and domain in _FREE_DOMAINS:
                AXES[call.kind](call)
            else:
                call.fix_all()
        except CannotPriceError as error:
            reason = str(error) if (domain, call.kind) in PRODUCTS else reason
            self._cannot(call)
        except InvalidValueError as error:  # a layer that cannot be: sizes of 0
            reason = str(error)
            self._cannot(call)
        for value in call.outputs:
            if value.axes is None and value.shape is not None:
                value.axes = call.fixed(value.shape, call.kind)
        if made_once and not (reason and call.given):
            return
        if reason:
            self._add(node, "", Unsupported(_full_name(domain, call.kind), reason), call.kind)
        elif products:
            for product in products:
                self._add_product(node, product)
        else:
            self._add(node, "", _moved(call), call.kind)

    def _cannot(self, call: Call) -> None:
        for value in (*call.given, *call.outputs):
            self._fix(value, call.kind)

    def _reason(self, node: onnx.NodeProto, domain: str, call: Call) -> str:
        """Why a node is not supported; empty where it is."""
        if (domain, call.kind) in PRODUCTS:
            return ""
        if call.kind in ("If", "Loop", "Scan") and not domain:
            free = all(self._is_free(graph) for graph in _graphs_of(call))
            return "" if free else "its body is run as often as values say, and has more than free operators in it"
        if domain in _FREE_DOMAINS and call.kind in FREE and (domain or self._shapes.has_operator(node)):
            return ""
        if domain:
            return f"an operator of {domain}"
        return "not known to be free" if self._shapes.has_operator(node) else "no operator of this version of ONNX"

    def _is_free(self, graph: onnx.GraphProto) -> bool:
        return all(node.op_type in FREE and node.domain in ("", "ai.onnx") for node in graph.node)

    def _add_product(self, node: onnx.NodeProto, product: LoweredLayer) -> None:
        weight = product.weight.origin if product.weight is not None else ""
        step = self._add(node, weight, product.layer, product.kind, product.part)
        step.sizes = dict(product.sizes)
        if product.output_axis is not None and weight:
            self.widths.call(product.output_axis, step.name)

    def _add(self, node: onnx.NodeProto, weight: str, layer: Any, kind: str, part: str = "") -> _Step:
        name, path = named(node, weight, part)
        step = _Step(self._unique(name), kind, path, layer)
        self._steps.append(step)
        return step

    # ---------------------------------------------------------------- what comes out

    def operations(self) -> dict[str, Operation]:
        """All operations in order, by name."""
        return {
            step.name: Operation(
                step.layer, {name: self.widths.rule(axis) for name, axis in step.sizes.items()}, step.kind, step.path
            )
            for step in self._steps
        }

    def parameters(self) -> dict[str, tuple[SizeExpression, ...]]:
        """The rules of the axes of initializers, as far as nodes said any."""
        return {
            name: tuple(map(self.widths.rule, value.axes))
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
    """The parameter that outputs are made of: the first one, if all inputs are; a constant is its own."""
    if not inputs:
        return next((name for name in node.output if name), "") if not node.op_type.startswith("Random") else ""
    return inputs[0].origin if all(value.origin for value in inputs) else ""


def _is_vector(value: Value) -> bool:
    """Whether it is a parameter along one axis: a bias, a scale."""
    return bool(value.origin and value.shape is not None) and sum(size > 1 for size in value.shape or ()) <= 1


def _is_known(outputs: Sequence[Value]) -> bool:
    """Whether what comes out is known beforehand: a compiler keeps it."""
    return bool(outputs) and all(value.constant is not None for value in outputs)


def _graphs_of(call: Call) -> list[onnx.GraphProto]:
    return [value for value in call.attributes.values() if isinstance(value, onnx.GraphProto)]


def _full_name(domain: str, kind: str) -> str:
    return f"{domain}.{kind}" if domain else kind


def _moved(call: Call) -> MemoryOnly:
    """What a node without products reads and writes, where shapes are known."""
    if call.kind in VIEWS:
        return MemoryOnly(call.kind)
    reads, writes = sum(value.size for value in call.given), sum(value.size for value in call.outputs)
    if any(value.shape is None for value in (*call.given, *call.outputs)):
        call.tracer.note("where a shape depends on values, what is read and written is not counted")
    return MemoryOnly(call.kind, min(reads, 2 * writes) if call.kind in LOOK_UPS else reads, writes)
