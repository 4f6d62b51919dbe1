"""The costs of the networks of a search space, by look-up."""

from __future__ import annotations

from typing import Any

from hwcost import SystolicArray
from hwcost.torch.lookup import Costs
from nas_plugin.space.arch_def import ArchDef

__all__ = ["costs_of", "macs_of", "reference_cycles"]


def costs_of(arch: ArchDef, array: SystolicArray | None = None, relaxation: Any = "exact") -> Costs:
    """The costs on an array, that of the search space if None; another ``relaxation`` gives its own estimate.

    >>> from nas_plugin import load_arch_def
    >>> costs_of(load_arch_def()).one(load_arch_def().reference)
    2822.0
    """
    return Costs(arch.space, arch.array if array is None else array, relaxation)


def reference_cycles(arch: ArchDef) -> float:
    """The exact cycles of the reference network, whose widths need not be among the options."""
    return float(arch.cycles(arch.reference))


def macs_of(arch: ArchDef) -> Costs:
    """Multiply-accumulates by look-up: the cycles of a single processing element."""
    return costs_of(arch, SystolicArray(1, 1))
