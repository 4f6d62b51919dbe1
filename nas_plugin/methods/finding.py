"""From settings to a search, and from the network it derives to the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hwcost import InvalidValueError
from hwcost.errors import MISSING
from nas_plugin.images import Dataset
from nas_plugin.methods.baselines import MostMacs, RandomSearch
from nas_plugin.methods.darts import DartsSearch
from nas_plugin.methods.latency import LatencyTerm
from nas_plugin.methods.one_shot import OneShotSearch
from nas_plugin.methods.settings import LEAST, SearchSettings, Target
from nas_plugin.methods.table import SEARCHES
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import costs_of, reference_cycles

__all__ = ["check", "searcher", "winner_of"]

SEARCHES |= {"darts": DartsSearch, "one-shot": OneShotSearch, "random": RandomSearch, "most-macs": MostMacs}


def check(arch: ArchDef, settings: SearchSettings) -> None:
    """Refuses what a search could only fail at, before any work is done or any folder made.

    Raises InvalidValueError for a method that needs a target and has none, or a target that not even the smallest
    network meets, or that the largest one cannot use.
    """
    method = settings.method_row
    if settings.target is None:
        if method.needs_target:
            raise InvalidValueError("target", MISSING, f"a limit like 0.75 or 2000cycles for method {method.name!r}")
        return
    reference, limit = reference_cycles(arch), Target.parse(settings.target).cycles(arch)
    costs, scale = costs_of(arch), 1.0
    if not settings.snaps:  # then the latency term is the judge
        term = LatencyTerm(arch, settings.latency_row)
        costs, scale = term.costs(), reference / term.reference
    ends = [{name: sizes[end] for name, sizes in costs.sizes.items()} for end in (0, -1)]
    least, most = (costs.one(choice) * scale for choice in ends)
    if least > limit or LEAST * limit > most:
        low, high = math.ceil(1000 * least / reference) / 1000, math.floor(1000 * most / reference) / 1000
        smallest = f"at least {math.ceil(least):,} cycles ({low:.3f} of the reference's), as the smallest network"
        largest = f"at most {math.floor(most):,} cycles ({high:.3f}), as the largest"
        ms = [1e3 * cycles / arch.array.clock_hz for cycles in (math.ceil(least), math.floor(most))]
        advice = f"that is {ms[0]:.6g}ms to {ms[1]:.6g}ms; a number alone is a share, write 2100cycles for cycles"
        raise InvalidValueError("target", settings.target, f"{smallest}, and {largest}; {advice}")


def searcher(arch: ArchDef, settings: SearchSettings, train: Dataset, weights: Mapping[str, Any] | None = None) -> Any:
    """The search that the settings name, checked; ``weights`` of a super-network are for a method that takes them."""
    check(arch, settings)
    return settings.method_row.make(arch, settings, train, *([] if weights is None else [weights]))


def winner_of(arch: ArchDef, settings: SearchSettings, derived: Mapping[str, int]) -> dict[str, int]:
    """The network with its free capacity used: every width grown at equal exact cycles."""
    if not settings.snaps:
        return dict(derived)
    costs = costs_of(arch)
    return costs.choice(costs.saturated(costs.rows([derived]))[0])
