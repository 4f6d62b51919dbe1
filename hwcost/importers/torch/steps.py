"""The operations of a run in order: their names, and the steps of recurrent nets merged into one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hwcost.importers.attention import name_attention
from hwcost.importers.lowered import LoweredLayer, Sources, Step, named, sources_by_name, times_over
from hwcost.importers.naming import UniqueNames
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Linear
from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation, Unsupported

__all__ = ["Part", "Steps", "named_after", "public_name", "repeated"]


def public_name(parameter: str) -> str:
    """A parameter's name as its module shows it, if a parametrization keeps it elsewhere.

    >>> public_name("conv.parametrizations.weight.original1")
    'conv.weight'
    """
    if "parametrizations." not in parameter:
        return parameter
    return re.sub(r"(^|\.)parametrizations\.(\w+)\.original\d*$", r"\1\2", parameter)


def named_after(parameter: str) -> str:
    """The name of a product with a parameter: that of the parameter's module, if the parameter is called weight.

    >>> named_after("features.0.weight"), named_after("attention.in_proj_weight")
    ('features.0', 'attention:in_proj_weight')
    """
    owner, _, own = public_name(parameter).rpartition(".")
    return own if not owner else owner if own == "weight" else f"{owner}:{own}"


class Part(NamedTuple):
    """Operations that were taken back.

    Attributes:
        steps: in order.
        unnamed: those of them without weights, whose names are not given yet.
    """

    steps: list[Step]
    unnamed: list[Step]

    @property
    def layers(self) -> list[Any]:
        """The layers of the operations."""
        return [step.layer for step in self.steps]

    def repeated(self, times: int, widths: AxisTracker) -> Part:
        """The same operations as often as a body runs."""
        own, found = set(map(id, self.unnamed)), Part([], [])
        for step in self.steps if times else ():
            made = list(times_over(step, times, widths, "runs of a body"))
            found.steps.extend(made)
            found.unnamed.extend(made if id(step) in own else ())
        return found


class Steps:
    """What ran, in order. The steps of one call of a recurrent module are one operation.

    >>> steps, fc = Steps(), LoweredLayer(Linear(4, 2), "linear")
    >>> first, second = (steps.add_layer("fc", "fc", fc, ()) for _ in range(2))
    >>> relu = steps.add_other("fc", "fc", MemoryOnly("relu", 2, 2), "relu", (second,))
    >>> {name: each.inputs for name, each in steps.operations(AxisTracker()).items()}
    {'fc': (), 'fc (2)': (), 'fc:relu': ('fc (2)',)}
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._unnamed: list[Step] = []
        self._unique = UniqueNames()
        self._groups: dict[tuple[Any, ...], tuple[str, list[Step]]] = {}

    def add_layer(
        self,
        name: str,
        path: str,
        lowered: LoweredLayer,
        sources: Sources,
        call: int | None = None,
        weights: str = "",
        named_as: Callable[[str], str] | None = None,
    ) -> Step:
        """Adds a priced operation, by its name, or that with a number if the name is taken.

        Args:
            name, path: of the operation, and of its module.
            lowered: what it comes down to.
            sources: what made that which it reads.
            call: a number for the call of a recurrent module that it is a step of.
            weights: the parameter that all of its weights are, if they are one.
            named_as: its name as a part of attention, if it may be one; it has none of its own until all others have.
        """
        own = Step("", lowered.kind, path, lowered.layer, lowered.sizes, weights, sources, named_as)
        found = self._added(name, own, call)
        if found.name == "":
            found.name = self._unique(name) if named_as is None else name
            self._unnamed += [found] if named_as is not None else ()
        return found

    def add_other(
        self,
        name: str,
        path: str,
        layer: MemoryOnly | Unsupported,
        kind: str,
        sources: Sources | None = None,
        call: int | None = None,
    ) -> Step:
        """Adds an operation without products; its name is free until all layers have theirs."""
        found = self._added(name, Step("", kind, path, layer, sources=sources), call)
        if found.name == "":
            found.name = name
            self._unnamed.append(found)
        return found

    def _added(self, name: str, step: Step, call: int | None) -> Step:
        """The step, which has no name yet, or the first of those that are merged with it."""
        if call is not None and isinstance(step.layer, (Linear, MemoryOnly)):
            _, own = self._groups.setdefault((call, name, step.kind, step.layer), (name, []))
            own.append(step)
            if len(own) > 1:
                own[0].sources = tuple(dict.fromkeys((*(own[0].sources or ()), *(step.sources or ()))))
                return own[0]
        self._steps.append(step)
        return step

    def operations(self, widths: AxisTracker) -> dict[str, Operation]:
        """All operations in order, by name."""
        name_attention(self._steps)
        for step in self._unnamed:
            is_taken = step.name == step.path and step.name in self._unique
            step.name = self._unique(f"{step.name}:{step.kind}" if is_taken else step.name)
        self._unnamed = []
        self._merge()
        return named(self._steps, widths)

    def names(self, sources: Sources) -> tuple[str, ...] | None:
        """The names of operations, once they are given, but for inputs of the network; None if one is not there."""
        found = sources_by_name(sources, {step: place for place, step in enumerate(self._steps)})
        return found and tuple(filter(None, found))

    def _merge(self) -> None:
        for base, own in self._groups.values():
            own[0].layer, own[0].sizes = repeated(own[0].layer, own[0].sizes, len(own), "weight_ih" in base)
        self._groups = {}

    def mark(self) -> tuple[int, int, UniqueNames]:
        """The place that the next operation gets."""
        self._merge()
        return len(self._steps), len(self._unnamed), self._unique.copy()

    def take_back(self, mark: tuple[int, int, UniqueNames]) -> Part:
        """Removes and returns the operations from a place on, whose names are free again."""
        self._merge()
        first, unnamed, self._unique = mark
        part = Part(self._steps[first:], self._unnamed[unnamed:])
        del self._steps[first:], self._unnamed[unnamed:]
        return part

    def give_back(self, part: Part) -> None:
        """Adds operations that were taken back."""
        own = set(map(id, part.unnamed))
        for step in part.steps:
            step.name = step.name if id(step) in own else self._unique(step.name)
        self._steps += part.steps
        self._unnamed += part.unnamed


def repeated(
    layer: Linear | MemoryOnly, sizes: Mapping[str, Axis], times: int, at_once: bool
) -> tuple[Any, dict[str, Axis]]:
    """A layer of one step of a recurrent net for all steps.

    The products with the input are one, since all steps are known beforehand; those with the state wait for each other.

    >>> repeated(Linear(8, 64, batch=2), {}, 10, at_once=True)[0]
    Linear(in_features=8, out_features=64, batch=20)
    >>> repeated(Linear(16, 64, batch=2), {}, 10, at_once=False)[0]
    Gemm(m=2, n=64, k=16, count=10)
    """
    if times == 1:
        return layer, dict(sizes)
    if isinstance(layer, MemoryOnly):
        return MemoryOnly(layer.kind, times * layer.reads, times * layer.writes), dict(sizes)
    if at_once:
        return Linear(layer.in_features, layer.out_features, batch=times * layer.batch), dict(sizes)
    letters = {"in_features": "k", "out_features": "n", "batch": "m"}
    gemm = Gemm(m=layer.batch, n=layer.out_features, k=layer.in_features, count=times)
    return gemm, {letters[name]: axis for name, axis in sizes.items()}
