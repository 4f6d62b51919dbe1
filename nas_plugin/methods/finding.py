"""From settings to a searcher, and from the network it derives to the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hwcost import InvalidValueError
from nas_plugin.data import Dataset
from nas_plugin.methods.latencies import latency_of
from nas_plugin.methods.latency import LatencyTerm
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import Searcher, method_of
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import Costs, reference_cycles
from nas_plugin.space.targets import LEAST, Target

__all__ = ["check", "searcher", "winner_of"]


def check(arch: ArchDef, settings: SearchSettings) -> None:
    """Refuses what a search could only fail at, before any work is done or any folder made.

    Raises:
        InvalidValueError: an unknown method or latency, a method that needs a target and has none, or a target that
            not even the smallest network meets, or that the largest one cannot use.
    """
    method, latency = method_of(settings), latency_of(settings)
    if settings.target is None:
        if method.needs_target:
            allowed = f"a limit, as 0.75 or 2000cycles; method {method.name!r} needs one"
            raise InvalidValueError("target", settings.target, allowed)
        return
    reference, limit = reference_cycles(arch), Target.parse(settings.target).cycles(arch)
    costs, scale = Costs(arch), 1.0
    if not settings.snaps:  # then the latency term is the judge
        term = LatencyTerm(arch, latency)
        costs, scale = term.costs(), reference / term.reference
    ends = [{name: sizes[end] for name, sizes in costs.sizes.items()} for end in (0, -1)]
    least, most = (costs.of(costs.rows(ends)) * scale).tolist()
    if least > limit:
        share = math.ceil(1000 * least / reference) / 1000
        allowed = f"at least {math.ceil(least):,} cycles ({share:.3f} of the reference's), as the smallest network"
        raise InvalidValueError("target", settings.target, allowed)
    if LEAST * limit > most:
        allowed = (
            f"at most {math.floor(most):,} cycles ({most / reference:.3f} of the reference's), as the largest network; "
            "a number alone is a share of the reference's cycles, write 2100cycles for cycles"
        )
        raise InvalidValueError("target", settings.target, allowed)


def searcher(
    arch: ArchDef, settings: SearchSettings, train: Dataset, weights: Mapping[str, Any] | None = None
) -> Searcher:
    """The searcher that the settings name.

    Args:
        arch: the search space on its array.
        settings: of the search.
        train: the training images.
        weights: of a super-network, for a method that takes them.

    Raises:
        InvalidValueError: as :func:`check`.
    """
    check(arch, settings)
    given = (arch, settings, train)
    return method_of(settings).make(*given) if weights is None else method_of(settings).make(*given, weights)


def winner_of(arch: ArchDef, settings: SearchSettings, derived: Mapping[str, int]) -> dict[str, int]:
    """The network with its free capacity used: every width grown at equal exact cycles.

    >>> from nas_plugin import load_arch_def
    >>> arch = load_arch_def()
    >>> grown = winner_of(arch, SearchSettings("fashion-mnist-cut"), arch.reference)
    >>> {name: (arch.reference[name], size) for name, size in grown.items() if size != arch.reference[name]}
    {'fc1.width': (120, 128), 'fc2.width': (84, 96)}
    """
    if not settings.snaps:
        return dict(derived)
    costs = Costs(arch)
    return costs.choice(costs.saturated(costs.rows([derived]))[0])
