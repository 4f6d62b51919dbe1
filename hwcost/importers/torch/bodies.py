"""Operators of torch that run functions: branches, loops, and attention with a function of the scores.

A branch whose condition is known is followed; of two that values decide between, the larger one is priced. A body whose
number of runs is known from shapes is followed once and counted as often as it runs; a loop is followed while its
condition is known, and named if values decide how often it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from hwcost.importers.lowered import Step, larger_of, size_of, stand_for
from hwcost.importers.rules import Handler
from hwcost.importers.torch.calls import OperatorCall
from hwcost.importers.torch.inputs import without_data
from hwcost.importers.torch.operators import Operator, tensors_in
from hwcost.importers.torch.steps import Steps
from hwcost.importers.torch.table import attention
from hwcost.importers.torch.tensors import Tensors
from hwcost.network.operations import Unsupported
from hwcost.units import plural

__all__ = ["BODIES"]

_MOST_RUNS = 1000
_FLEX = Operator("higher_order::flex_attention", "flex_attention", arguments=dict.fromkeys(("query", "key", "value")))


class Running(Protocol):
    """What these operators need of the tracer of a run.

    Attributes:
        tensors: what is known about all tensors.
        steps: what ran.
        notes: remarks on how it was interpreted.
    """

    tensors: Tensors
    steps: Steps
    notes: dict[str, None]

    def run(self, function: Any, *args: Any) -> Any:
        """The result of a function, whose operators are seen."""

    def record(self, call: OperatorCall, handler: Handler) -> None:
        """Records a call."""

    def add_unsupported(self, layer: Unsupported) -> Step:
        """Names what cannot be priced."""

    def joined(self, kind: str) -> str:
        """A name for an operator of the running module."""


def _cond(tracer: Running, condition: Any, if_true: Any, if_false: Any, operands: Sequence[Any] = ()) -> Any:
    known = _truth(tracer, condition)
    if known is not None:
        return tracer.run(if_true if known else if_false, *operands)
    made, outputs = {}, {}
    for name, function in (("true", if_true), ("false", if_false)):
        mark = tracer.steps.mark()
        outputs[name] = tracer.run(function, *operands)
        made[name] = tracer.steps.take_back(mark)
    sizes = {name: size_of(each.layers) for name, each in made.items()}
    larger, smaller = larger_of(sizes)
    tracer.steps.give_back(made[larger])
    for each in made[smaller].layers:
        if isinstance(each, Unsupported):
            tracer.add_unsupported(each)
    if sizes[larger][0]:
        texts = " or ".join(f"its {name} branch of {plural(size, 'MAC')}" for name, (size, _) in sizes.items())
        tracer.notes[f"values decide whether {tracer.joined('cond')!r} runs {texts}: the larger is priced"] = None
    return _fresh(tracer, outputs[larger], outputs[smaller])


def _while_loop(tracer: Running, goes_on: Any, body: Any, states: Sequence[Any], others: Sequence[Any] = ()) -> Any:
    states = tuple(states)
    for _ in range(_MOST_RUNS):
        known = _truth(tracer, tracer.run(goes_on, *states, *others))
        if known is None:
            break
        if not known:
            return states
        states = _as_tuple(tracer.run(body, *states, *others))
    mark = tracer.steps.mark()
    states = _fresh(tracer, states)
    made = _as_tuple(tracer.run(body, *states, *others))
    part = tracer.steps.take_back(mark)
    each_time, _ = size_of(part.layers)
    reason = f"its body runs as often as values decide, with {plural(each_time, 'MAC')} each time"
    step, last = tracer.add_unsupported(Unsupported("while_loop", reason)), _fresh(tracer, states, made)
    stand_for(part.steps, step)
    for tensor in tensors_in(last):
        tracer.tensors.makers.wrote(tensor, (step,))
    return last


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _scan(tracer: Running, body: Any, states: Sequence[Any], slices: Sequence[Tensor], others: Sequence[Any]) -> Any:
    def run() -> Any:
        given = _fresh(tracer, list(states))
        return given, tracer.run(body, *given, *_rows(tracer, slices), *others)

    given, made = _counted(tracer, len(slices[0]), run)
    last = _fresh(tracer, list(made[: len(given)]), given)
    return (*last, *_stacked(tracer, made[len(given) :], len(slices[0])))


def _map(tracer: Running, body: Any, slices: Sequence[Tensor], others: Sequence[Any]) -> Any:
    made = _counted(tracer, len(slices[0]), lambda: tracer.run(body, *_rows(tracer, slices), *others))
    return _stacked(tracer, made, len(slices[0]))


def _flex_attention(tracer: Running, query: Tensor, key: Tensor, value: Tensor, *others: Any) -> Any:
    """Attention in full, whatever its mask leaves out; what is done to single scores is not counted."""
    out = torch.empty((*query.shape[:-1], value.shape[-1]), dtype=query.dtype, device="meta")
    sums = [torch.empty(query.shape[:-1], dtype=torch.float32, device="meta") for _ in range(2)]
    inputs = (query, key, value)
    tracer.record(OperatorCall(_FLEX, inputs, {}, inputs, (out, *sums), tracer.tensors), attention)
    return out, *sums


def _truth(tracer: Running, condition: Any) -> bool | None:
    """The truth value of a condition; None if it is unknown."""
    value = tracer.tensors.values.get(condition) if isinstance(condition, Tensor) else condition
    return None if value is None else bool(value)


def _fresh(tracer: Running, values: Any, others: Any = None) -> Any:
    """Tensors in place of others, of which only the axes are known, and those of what may stand there too."""
    flat, spec = tree_flatten(values)
    also = flat if others is None else tree_flatten(others)[0]
    return tree_unflatten([_one(tracer, each, other) for each, other in zip(flat, also, strict=True)], spec)


def _one(tracer: Running, value: Any, other: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    tensors, new = tracer.tensors, without_data(value)
    tensors.add(new, "")
    tensors.makers.handed_on((new,), (value,))
    tensors.give(new, tensors.axes(value), "")
    if isinstance(other, Tensor) and other.shape == value.shape:
        tensors.give(new, tensors.axes(other), "a branch")
    elif isinstance(other, Tensor):
        tensors.fix(other, "another shape elsewhere")
        tensors.fix(new, "another shape elsewhere")
    return new


def _counted(tracer: Running, times: int, run: Callable[[], Any]) -> Any:
    """The result of a run, whose operations are counted as often as it runs."""
    mark = tracer.steps.mark()
    result = run()
    tracer.steps.give_back(tracer.steps.take_back(mark).repeated(times, tracer.tensors.widths))
    return result


def _rows(tracer: Running, slices: Iterable[Tensor]) -> list[Tensor]:
    """What one run gets of tensors that are cut along their first axis."""
    found = []
    for each in slices:
        axes = tracer.tensors.axes(each)
        tracer.tensors.widths.fix(axes[0], "runs of a body")
        row = torch.empty(each.shape[1:], dtype=each.dtype, device="meta")
        tracer.tensors.add(row, tracer.tensors.origin([each]))
        tracer.tensors.give(row, axes[1:], "")
        tracer.tensors.makers.handed_on((row,), (each,))
        found.append(row)
    return found


def _stacked(tracer: Running, values: Any, times: int) -> Any:
    """The results of all runs, side by side along a new first axis."""
    flat, spec = tree_flatten(values)
    found = []
    for each in flat:
        all_runs = torch.empty((times, *each.shape), dtype=each.dtype, device="meta")
        tracer.tensors.add(all_runs, "")
        tracer.tensors.makers.handed_on((all_runs,), (each,))
        count = tracer.tensors.widths.fixed(times, "runs of a body")
        tracer.tensors.give(all_runs, (count, *tracer.tensors.axes(each)), "")
        found.append(all_runs)
    return tree_unflatten(found, spec)


def _called(first: int) -> Callable[..., Any]:
    """A function that is only wrapped, behind arguments that say how."""
    return lambda tracer, *args, **options: tracer.run(*args[first:])


BODIES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "cond": _cond,
        "while_loop": _while_loop,
        "scan": _scan,
        "map_impl": _map,
        "flex_attention": _flex_attention,
        "wrap_with_set_grad_enabled": _called(1),
        "wrap_with_autocast": _called(4),
    }
)
"""Operators that run functions: each takes the tracer and their arguments."""
