"""Nodes that hold graphs: the branches of an ``If``, and the bodies of a ``Loop`` and a ``Scan``.

A branch whose condition is known is followed; of two that values decide between, the larger one is priced. A body runs
as often as the graph states; products in one that runs as often as values decide are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import onnx

from hwcost.importers.graph.branches import grown, larger_branch, truth, unknown_runs
from hwcost.importers.graph.record import sources_of
from hwcost.importers.lowered import LoweredLayer, Step, stand_for, times_over
from hwcost.importers.onnx.dims import fixed_shape
from hwcost.importers.onnx.loading import graphs_of
from hwcost.importers.onnx.record import Record
from hwcost.importers.onnx.shapes import Value, attributes_of, known_value, with_type

__all__ = ["follow"]

_MOST_RUNS, _MOST_TRIALS = 20_000, 50_000
"""Nodes of bodies that are followed, counted in each run: above the first, one run is counted as often as needed."""
_DEEPEST = 32
"""Graphs inside of each other that are followed."""
_WHY = "a graph in a node"
_SLICES = 9
"""The version of the operators from which on a Scan has no axis for batches."""


def follow(record: Record, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> str:
    """Follows the graphs of a node and binds its outputs; returns why it cannot, or an empty text."""
    if record.depth >= _DEEPEST:
        return f"it is inside of {_DEEPEST} other graphs"
    if node.op_type == "If":
        return _branch(record, node, inputs)
    if node.op_type == "Loop":
        return _run(record, node, _loop(node, inputs))
    if record.shapes.version < _SLICES:
        return "a Scan of this version runs over batches"
    return _run(record, node, _scan(record, node, inputs))


# ---------------------------------------------------------------- branches


def _branch(record: Record, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> str:
    stated, names, condition = attributes_of(node), ("then_branch", "else_branch"), inputs[0]
    known = truth(condition)
    if known is not None:
        record.bind(node, record.run_body(stated[names[0 if known else 1]], ()))
        return ""
    branches = {name: partial(record.run_body, stated[name], ()) for name in names}
    is_made_once = condition is not None and bool(condition.origin)
    record.bind(
        node,
        larger_branch(record.label(node), branches, record.operations, record.values, is_made_once=is_made_once),
    )
    return ""


# ---------------------------------------------------------------- bodies that run again and again


@dataclass(frozen=True)
class _Body:
    """How a graph runs again and again.

    Args:
        graph: whose inputs are the number of the run and a condition, if it decides; the states; and the slices.
        times: the number of runs, or the most of them if it decides; None if it is unknown.
        states: of the first run.
        slices: of the run with this number, or of any run.
        axes: along which each output behind the states is stacked.
        decides: whether its first output is a condition.
        starts: whether it runs at all; None if it is unknown.
        ends: whether ``times`` is a limit at all.
    """

    graph: onnx.GraphProto
    times: int | None
    states: Sequence[Value]
    slices: Callable[[int | None], Sequence[Value]]
    axes: Sequence[int]
    decides: bool = False
    starts: bool | None = True
    ends: bool = True

    @cached_property
    def size(self) -> int:
        """The nodes of one run, and one more."""
        return _nodes(self.graph)

    def made(self, outputs: list[Value]) -> tuple[bool | None, list[Value]]:
        """Whether it runs again, and the other outputs of a run."""
        return (truth(outputs[0]), outputs[1:]) if self.decides else (True, outputs)

    def given(self, index: int | None, states: Sequence[Value]) -> list[Value]:
        """The inputs of one run; None: of any."""
        return [*(_heads(self.graph, index) if self.decides else ()), *states, *self.slices(index)]


def _heads(graph: onnx.GraphProto, index: int | None) -> list[Value]:
    """The number of a run, and the condition under which it runs."""
    shape = fixed_shape(graph.input[0].type) if graph.input else None
    number = np.zeros(shape if shape == (1,) else (), np.int64)
    return [
        known_value("a run", number + (index or 0), is_known=index is not None),
        known_value("a condition", np.asarray(True)),
    ]


def _loop(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> _Body:
    limit, condition = [*inputs, None, None][:2]
    graph = attributes_of(node)["body"]
    states = [value for value in inputs[2:] if value is not None]
    times = None if limit is None or limit.constant is None else max(int(limit.constant.ravel()[0]), 0)
    starts = True if condition is None else truth(condition)
    axes = [0] * (len(graph.output) - 1 - len(states))
    return _Body(graph, times, states, lambda index: (), axes, True, starts, limit is not None)


def _scan(record: Record, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> _Body:
    stated, values = attributes_of(node), [value for value in inputs if value is not None]
    graph, count = stated["body"], stated["num_scan_inputs"]
    if not 0 < count <= len(values):
        raise ValueError(f"num_scan_inputs is {count}, and it has {len(values)} inputs")
    states, scanned = values[: len(values) - count], values[len(values) - count :]
    along = stated.get("scan_input_axes") or [0] * count
    lengths = set()
    for value, axis in zip(scanned, along, strict=True):
        lengths.add(None if value.shape is None else value.shape[axis])
        if value.shape is not None:
            record.values.widths.fix(record.values.axes(value)[axis], "Scan")

    def slices(index: int | None) -> list[Value]:
        return [_slice(record, value, axis) for value, axis in zip(scanned, along, strict=True)]

    made = len(graph.output) - len(states)
    times = lengths.pop() if len(lengths) == 1 else None
    return _Body(graph, times, states, slices, stated.get("scan_output_axes") or [0] * made)


def _slice(record: Record, value: Value, axis: int) -> Value:
    """What one run gets of a value that is cut along an axis."""
    of_type = onnx.helper.make_tensor_type_proto(value.held or 1, None)
    found = Value(value.name, of_type, origin=value.origin, sources=value.sources)
    if value.shape is not None:
        axis %= len(value.shape)
        found.set_shape(value.shape[:axis] + value.shape[axis + 1 :])
        axes = record.values.axes(value)
        found.axes = axes[:axis] + axes[axis + 1 :]
    return found


def _run(record: Record, node: onnx.NodeProto, body: _Body) -> str:
    """Follows a body as often as it runs, or once if that is more often than can be followed, or unknown."""
    is_long = not body.ends or (body.times is not None and record.runs + body.times * body.size > _MOST_RUNS)
    if is_long and _run_once(record, node, body, only_if_known=True):
        return ""
    if _run_all(record, node, body) or _run_once(record, node, body):
        return ""
    return "its graph is one of too many in each other that run as often as values decide"


def _run_all(record: Record, node: onnx.NodeProto, body: _Body) -> bool:
    """Follows all runs; returns whether their number is known, and small."""
    if body.times is None and body.ends:
        return False
    mark, states, goes_on, count = record.operations.mark(), list(body.states), body.starts, 0
    rows: list[Sequence[Value]] = []
    kept: dict[str, Value] = {}
    while goes_on and count != body.times and record.runs + body.size <= _MOST_RUNS:
        record.runs += body.size
        goes_on, made = body.made(record.run_body(body.graph, body.given(count, states), kept))
        states = [grown(record.values, old, new) for old, new in zip(states, made, strict=False)]
        count += 1
        rows.append(made[len(states) :])
    if goes_on is not False and count != body.times:
        record.operations.take_back(mark)
        return False
    columns = list(zip(*rows, strict=True)) or [() for _ in body.axes]
    record.bind(node, [*states, *_stacked(record, body, columns, count)])
    return True


def _nodes(graph: onnx.GraphProto) -> int:
    """The nodes of a graph and of the graphs in them, and one more."""
    return 1 + sum(1 + sum(map(_nodes, graphs_of(node))) for node in graph.node)


def _stacked(record: Record, body: _Body, columns: Sequence[Sequence[Value]], count: int | None) -> list[Value]:
    """The outputs of all runs, which are side by side along a new axis."""
    outputs = body.graph.output[len(body.graph.output) - len(body.axes) :]
    return [
        _stack(record, values or [with_type(output.name, output.type)], axis, count)
        for values, axis, output in zip(columns, body.axes, outputs, strict=True)
    ]


def _stack(record: Record, values: Sequence[Value], axis: int, count: int | None) -> Value:
    first, held = values[0], values[0].held or onnx.TensorProto.FLOAT
    is_made_once = count is not None and all(value.origin for value in values)
    origin, of_type = is_made_once * first.origin, onnx.helper.make_tensor_type_proto(held, None)
    found = Value(first.name, of_type, origin=origin, sources=sources_of(values))
    for value in values[1:]:
        record.values.join(first, value, _WHY)
    if first.shape is not None and count is not None and len({value.shape for value in values}) == 1:
        axis %= len(first.shape) + 1
        found.set_shape((*first.shape[:axis], count, *first.shape[axis:]))
        own, axes = record.values.widths.fixed(count, "runs of a graph"), record.values.axes(first)
        found.axes = (*axes[:axis], own, *axes[axis:])
    return found


def _run_once(record: Record, node: onnx.NodeProto, body: _Body, *, only_if_known: bool = False) -> bool:
    """Follows any run, and counts it as often as the body runs; if values decide on that, its products are named.

    Returns whether it could, and if asked for, whether the number of runs is known, if only to be without an end.
    """
    mark = record.operations.mark()
    states = [value.unknown() for value in body.states]
    while True:
        record.runs += body.size
        if record.runs > _MOST_TRIALS:
            return False
        goes_on, made = body.made(record.run_body(body.graph, body.given(None, states)))
        steps = [step for step, _ in record.operations.take_back(mark)]
        pairs = list(zip(states, made, strict=False))
        changed = [old for old, new in pairs if old.shape is not None and old.shape != new.shape]
        if not changed:
            break
        for value in changed:  # then it has another one in each run
            value.shape, value.axes = None, None
            value.type = onnx.helper.make_tensor_type_proto(value.held or onnx.TensorProto.FLOAT, None)
    times = body.times if body.starts and goes_on and body.ends else None
    if only_if_known and times is None and (body.ends or not goes_on):
        return False
    for old, new in pairs:
        record.values.join(old, new, _WHY)
    for step in _counted(record, node, steps, times):
        record.operations.give_back([(step, None)])
    made = [value.unknown() for value in made]
    rows = [[value] for value in made[len(states) :]]
    record.bind(node, [*made[: len(states)], *_stacked(record, body, rows, times)])
    return True


def _counted(record: Record, node: onnx.NodeProto, steps: Sequence[Step], times: int | None) -> Iterable[Step]:
    """The operations of one run, all times that it runs."""
    if times is None:
        layer = unknown_runs(node.op_type, steps, record.values)
        if layer is not None:
            stand_for(steps, record.add(node, LoweredLayer(layer, node.op_type)))
        return
    for step in steps if times else ():
        yield from times_over(step, times, record.values.widths, node.op_type)
