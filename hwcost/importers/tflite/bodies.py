"""Operators that run other graphs of the file: ``IF``, ``WHILE``, ``CALL`` and composites, and ``CALL_ONCE``.

A branch whose condition is known is followed; of two that values decide between, the larger one is priced. A ``WHILE``
is followed run by run as long as its condition is known; products in one that runs as often as values decide are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from hwcost.importers.graph.branches import grown, larger_branch, truth, unknown_runs
from hwcost.importers.graph.record import Operations
from hwcost.importers.lowered import LoweredLayer, Step, stand_for
from hwcost.importers.tflite.calls import Value, Values
from hwcost.importers.tflite.loading import Operator

__all__ = ["HOLD_GRAPHS", "Runner", "follow"]

HOLD_GRAPHS = ("CALL", "CALL_ONCE", "IF", "STABLEHLO_COMPOSITE", "WHILE")
_MOST_RUNS, _MOST_TRIALS = 20_000, 50_000
"""Operators in graphs that are followed, counted in each run: above the first, one run is counted as unknown."""
_DEEPEST = 32
"""Graphs inside of each other that are followed."""
_TOO_MANY = "its graph is one of too many in each other"
_RUN_ONCE = "what runs once, before the first run of the network, is not counted"


class Runner(Protocol):
    """What follows graphs.

    Attributes:
        values, operations: of the graph so far.
        depth: of the graph that is followed; 0 in the outermost.
        runs: operators of graphs inside of others, counted for each run.
    """

    values: Values
    operations: Operations
    depth: int
    runs: int

    def run(self, number: int, given: Sequence[Value]) -> list[Value]:
        """The outputs of a graph of the file."""
        ...

    def size(self, number: int) -> int:
        """The operators of a graph of the file, and one more."""
        ...

    def add(self, operator: Operator, label: str, lowered: LoweredLayer) -> Step:
        """Adds an operation."""
        ...


def follow(runner: Runner, operator: Operator, label: str, inputs: Sequence[Value]) -> list[Value] | str:
    """The outputs of an operator that runs graphs, or why it cannot be followed."""
    if runner.depth >= _DEEPEST or runner.runs > _MOST_TRIALS:
        return _TOO_MANY
    options = operator.options
    if operator.kind == "CALL_ONCE":
        runner.values.notes[_RUN_ONCE] = None
        return []
    if operator.kind == "IF":
        return _branch(runner, operator, label, inputs)
    if operator.kind == "WHILE":
        return _while(runner, operator, label, inputs)
    name = "Subgraph" if operator.kind == "CALL" else "DecompositionSubgraphIndex"
    return runner.run(options.get(name, -1), inputs)


def _branch(runner: Runner, operator: Operator, label: str, inputs: Sequence[Value]) -> list[Value]:
    numbers = {name: operator.options.get(f"{name}SubgraphIndex", -1) for name in ("Then", "Else")}
    condition, given = inputs[0], inputs[1:]
    known = truth(condition)
    if known is not None:
        return runner.run(numbers["Then" if known else "Else"], given)
    branches = {f"{name.lower()} branch": partial(runner.run, number, given) for name, number in numbers.items()}
    is_made_once = bool(condition.origin)
    return larger_branch(label, branches, runner.operations, runner.values, is_made_once=is_made_once)


def _while(runner: Runner, operator: Operator, label: str, inputs: Sequence[Value]) -> list[Value] | str:
    condition, body = (operator.options.get(f"{name}SubgraphIndex", -1) for name in ("Cond", "Body"))
    mark, states = runner.operations.mark(), list(inputs)
    size = runner.size(condition) + runner.size(body)
    while runner.runs + size <= _MOST_RUNS:
        goes_on = truth(runner.run(condition, states)[0])
        if goes_on is None:
            break
        if not goes_on:
            return states
        made = runner.run(body, states)
        states = [grown(runner.values, old, new) for old, new in zip(states, made, strict=True)]
    runner.operations.take_back(mark)
    return _while_unknown(runner, operator, label, (condition, body), inputs)


def _while_unknown(
    runner: Runner, operator: Operator, label: str, numbers: tuple[int, int], inputs: Sequence[Value]
) -> list[Value] | str:
    """Follows any run of a loop that runs as often as values decide, whose products are named."""
    mark, states = runner.operations.mark(), [value.unknown() for value in inputs]
    while True:
        if runner.runs > _MOST_TRIALS:
            return _TOO_MANY
        runner.run(numbers[0], states)
        made = runner.run(numbers[1], states)
        steps = [step for step, _ in runner.operations.take_back(mark)]
        pairs = list(zip(states, made, strict=True))
        changed = [old for old, new in pairs if old.shape is not None and old.shape != new.shape]
        if not changed:
            break
        for value in changed:  # then it has another one in each run
            value.shape, value.axes = None, None
    for old, new in pairs:
        runner.values.join(old, new, operator.kind)
    layer = unknown_runs(operator.kind, steps, runner.values)
    if layer is not None:
        stand_for(steps, runner.add(operator, label, LoweredLayer(layer, operator.kind)))
    return [value.unknown() for value in made]
