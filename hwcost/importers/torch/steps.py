"""The operations that a run of a module gave, in order: their names, and the steps of recurrent nets as one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwcost.importers.torch.products import repeated
from hwcost.model.layers import Linear
from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import MemoryOnly, Operation

__all__ = ["Steps", "named_after", "public_name"]


def public_name(parameter: str) -> str:
    """A parameter's name as its module shows it, where a parametrization keeps it elsewhere.

    >>> public_name("conv.parametrizations.weight.original1")
    'conv.weight'
    """
    return re.sub(r"(^|\.)parametrizations\.(\w+)\.original\d*$", r"\1\2", parameter)


def named_after(parameter: str) -> str:
    """The name of a product with a parameter: that of the module it belongs to, where it is called weight.

    >>> named_after("features.0.weight"), named_after("attention.in_proj_weight")
    ('features.0', 'attention:in_proj_weight')
    """
    owner, _, own = public_name(parameter).rpartition(".")
    if not owner:
        return own
    return owner if own == "weight" else f"{owner}:{own}"


@dataclass
class _Step:
    """An operation before it has its final name and rules."""

    name: str
    kind: str
    path: str
    layer: Any
    sizes: dict[str, Axis] = field(default_factory=dict)
    is_named: bool = True


class Steps:
    """What ran, in order.

    >>> steps = Steps()
    >>> steps.add_product("fc", "linear", "fc", Linear(4, 2)), steps.add_product("fc", "linear", "fc", Linear(4, 2))
    ('fc', 'fc (2)')
    >>> steps.add_other("fc", "relu", "fc", MemoryOnly("relu", 2, 2))
    >>> list(steps.operations(recurrent=set(), widths=AxisTracker()))
    ['fc', 'fc (2)', 'fc:relu']
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._names: Counter[str] = Counter()

    def add_product(self, name: str, kind: str, path: str, layer: Any, sizes: Mapping[str, Axis] | None = None) -> str:
        """Adds a priced operation, and gives its name, with a number where it is not the first of that name."""
        step = _Step(self._unique(name), kind, path, layer, dict(sizes or {}))
        self._steps.append(step)
        return step.name

    def add_other(self, name: str, kind: str, path: str, layer: Any) -> None:
        """Adds an operation without products; its name is free until all products have theirs."""
        self._steps.append(_Step(name, kind, path, layer, is_named=False))

    def operations(self, recurrent: set[str], widths: AxisTracker) -> dict[str, Operation]:
        """All operations in order, by name.

        Args:
            recurrent: paths of the modules whose steps are put together.
            widths: what the sizes refer to.
        """
        for step in self._steps:
            if not step.is_named:
                own = f"{step.name}:{step.kind}" if step.name == step.path and self._names[step.name] else step.name
                step.name, step.is_named = self._unique(own), True
        return {
            step.name: Operation(
                step.layer, {name: widths.rule(axis) for name, axis in step.sizes.items()}, step.kind, step.path
            )
            for step in _together(self._steps, recurrent, widths)
        }

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} ({self._names[name]})"


def _together(steps: Sequence[_Step], recurrent: set[str], widths: AxisTracker) -> list[_Step]:
    """The same steps, but each product and each other operator of one recurrent module once."""
    found: list[_Step] = []
    groups: dict[tuple[Any, ...], list[_Step]] = {}
    for step in steps:
        if step.path not in recurrent or not isinstance(step.layer, (Linear, MemoryOnly)):
            found.append(step)
            continue
        base = step.name.rpartition(" (")[0] if step.name.endswith(")") else step.name
        rules = tuple((name, widths.rule(axis)) for name, axis in step.sizes.items())
        own = groups.setdefault((base, step.kind, step.layer, rules), [])
        if not own:
            found.append(step)
        own.append(step)
    for (base, *_), own in groups.items():
        own[0].layer, own[0].sizes = repeated(own[0].layer, own[0].sizes, len(own), "weight_ih" in base)
    return found
