"""Graphs inside of operators: of two branches the larger one, and bodies that run as often as values decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from hwcost.importers.graph.record import Operations
from hwcost.importers.graph.values import GraphValue, GraphValues
from hwcost.importers.lowered import Step, larger_of, size_of
from hwcost.network.operations import MemoryOnly, Unsupported
from hwcost.units import plural

__all__ = ["grown", "larger_branch", "truth", "unknown_runs"]

_WHY = "a graph in a node"

ValueT = TypeVar("ValueT", bound=GraphValue)


def truth(value: GraphValue | None) -> bool | None:
    """The truth value that a value holds; None if it is unknown."""
    known = None if value is None else value.constant
    return None if known is None or known.size != 1 else bool(known.ravel()[0])


def larger_branch(
    label: str,
    branches: Mapping[str, Callable[[], Sequence[ValueT]]],
    operations: Operations,
    values: GraphValues,
    *,
    is_made_once: bool,
) -> list[ValueT]:
    """Follows two branches, keeps the operations of the larger one, and returns what holds for the outputs of both.

    What cannot be priced in the other one is kept, too.

    Args:
        label: of the operator, for the note.
        branches: by name: a function that follows the branch and returns its outputs.
        operations: of the graph so far.
        values: of the graph.
        is_made_once: whether parameters alone decide.
    """
    tried = {}
    for name, run in branches.items():
        mark = operations.mark()
        outputs = run()
        tried[name] = outputs, operations.take_back(mark)
    sizes = {name: size_of(step.layer for step, _ in made) for name, (_, made) in tried.items()}
    larger, smaller = larger_of(sizes)
    (taken, made), (left, others) = tried[larger], tried[smaller]
    operations.give_back([*made, *(each for each in others if isinstance(each[0].layer, Unsupported))])
    if sizes[larger][0]:
        texts = " or ".join(f"its {name} of {plural(sizes[name][0], 'MAC')}" for name in branches)
        values.notes[f"values decide whether {label!r} runs {texts}: the {larger} is priced"] = None
    return [_either(values, a, b, is_made_once=is_made_once) for a, b in zip(taken, left, strict=True)]


def _either(values: GraphValues, taken: ValueT, other: ValueT, *, is_made_once: bool) -> ValueT:
    """The output of one branch, with that which holds for the other, too."""
    values.join(taken, other, _WHY)
    origin = taken.origin if is_made_once and other.origin else ""
    if taken is other:
        return dataclasses.replace(taken, origin=origin)
    return taken.unknown(origin)


def grown(values: GraphValues, old: ValueT, new: ValueT) -> ValueT:
    """A state after a run; an axis that has another size after each run cannot change otherwise."""
    if old.shape is None or new.shape is None or len(old.shape) != len(new.shape) or old.shape == new.shape:
        return new
    widths, axes = values.widths, values.axes(new)
    for axis, before, after in zip(axes, old.shape, new.shape, strict=True):
        if before != after:
            widths.fix(axis, "runs of a graph")
    fixed = (
        axis if before == after else widths.fixed(after, "runs of a graph")
        for axis, before, after in zip(axes, old.shape, new.shape, strict=True)
    )
    return dataclasses.replace(new, axes=tuple(fixed))


def unknown_runs(kind: str, steps: Sequence[Step], values: GraphValues) -> Unsupported | MemoryOnly | None:
    """What the operations of a body are that runs as often as values decide; None if there are none."""
    macs, _ = size_of(step.layer for step in steps)
    if macs or any(isinstance(step.layer, Unsupported) for step in steps):
        reason = f"its graph runs as often as values decide, with {plural(macs, 'MAC')} each time"
        return Unsupported(kind, reason)
    if steps:
        values.notes["where values decide how often a graph runs, reads and writes are not counted"] = None
        return MemoryOnly(kind)
    return None
