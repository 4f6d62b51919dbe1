"""The ways to a network: a table of methods, and of what a comparison of them calls a rival."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from hwcost import InvalidValueError
from nas_plugin.arch_def import ArchDef
from nas_plugin.baselines import MostMacs, RandomSearch
from nas_plugin.candidates import Costs, reference_cycles
from nas_plugin.darts import DartsSearch
from nas_plugin.data import Dataset
from nas_plugin.latency import LATENCIES, LatencyTerm
from nas_plugin.one_shot import OneShotSearch
from nas_plugin.settings import Settings
from nas_plugin.targets import LEAST, Target
from nas_plugin.training import Record

__all__ = ["METHODS", "RIVALS", "Method", "Searcher", "check", "needs_target", "searcher", "winner_of"]


class Searcher(Protocol):
    """Something that finds a network step by step, and can stop and go on between steps."""

    @property
    def steps(self) -> int:
        """How many steps there are in all."""

    @property
    def done(self) -> bool:
        """Whether all steps have run."""

    def run_epoch(self) -> Record:
        """One step; returns what is logged of it."""

    def derived(self) -> dict[str, int]:
        """The network found."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest depends on."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""


@dataclass(frozen=True)
class Method:
    """A row of :data:`METHODS`.

    Attributes:
        build: makes the searcher of a search space, settings and training images.
        summary: what it does, in words.
        needs_target: whether it has no use for lambda.
    """

    build: Callable[[ArchDef, Settings, Dataset], Searcher]
    summary: str
    needs_target: bool = False


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "darts": Method(DartsSearch, "the author's: alpha by gradient on L_data + lambda * L_latency"),
        "one-shot": Method(OneShotSearch, "one super-network trained once, then a choice within the exact limit"),
        "random": Method(RandomSearch, "networks within the limit at random, as much compute as darts"),
        "most-macs": Method(MostMacs, "no search: the most MACs within the exact limit", needs_target=True),
    }
)
"""What ``--method`` may be."""

RIVALS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **{name: MappingProxyType({"method": name}) for name in METHODS if name != "darts"},
        **{name: MappingProxyType({"method": "darts", "latency": name}) for name in LATENCIES if name != "flops"},
        "flops": MappingProxyType({"method": "darts", "latency": "flops", "snaps": False}),
        "flops-snap": MappingProxyType({"method": "darts", "latency": "flops"}),
    }
)
"""What a comparison may name: a method, or a latency term under the author's search.

``flops`` is a search that knows nothing of the array: its network is chosen by MACs and stays as it is. ``flops-snap``
descends the gradient of MACs too, but its lambda follows the exact expected cycles, as that of every other method does,
and it takes the most probable network within the exact limit, widths rounded up.
"""


def needs_target(rival: str) -> bool:
    """Whether a row of :data:`RIVALS` has no use for lambda.

    >>> [name for name in RIVALS if needs_target(name)]
    ['most-macs']
    """
    return METHODS[RIVALS[rival]["method"]].needs_target


def check(arch: ArchDef, settings: Settings) -> None:
    """Refuses, before any work is done and any folder made, what a search could only fail at.

    Raises:
        InvalidValueError: an unknown method or latency, a method that needs a target without one, or a target that not
            even the smallest network meets, or that the largest one cannot use.
    """
    if settings.method not in METHODS:
        raise InvalidValueError("method", settings.method, f"one of: {', '.join(METHODS)}")
    if settings.latency not in LATENCIES:
        raise InvalidValueError("latency", settings.latency, f"one of: {', '.join(LATENCIES)}")
    if settings.target is None:
        if METHODS[settings.method].needs_target:
            raise InvalidValueError(
                "target", settings.target, f"a limit, as 0.75 or 2000cycles; method {settings.method!r} needs one"
            )
        return
    reference = reference_cycles(arch)
    costs, scale = Costs(arch), 1.0
    if not settings.snaps:  # then the latency term is the judge
        term = LatencyTerm(arch, settings.latency)
        costs, scale = term.costs(), reference / term.reference
    smallest = {name: min(sizes) for name, sizes in costs.sizes.items()}
    least = float(costs.of(costs.rows([smallest]))[0]) * scale
    if least > Target.parse(settings.target).cycles(arch):
        share = math.ceil(1000 * least / reference) / 1000
        allowed = f"at least {math.ceil(least):,} cycles ({share:.3f} of the reference's), as the smallest network"
        raise InvalidValueError("target", settings.target, allowed)
    largest = {name: max(sizes) for name, sizes in costs.sizes.items()}
    most = float(costs.of(costs.rows([largest]))[0]) * scale
    if LEAST * Target.parse(settings.target).cycles(arch) > most:
        allowed = (
            f"at most {math.floor(most):,} cycles ({most / reference:.3f} of the reference's), as the largest network; "
            "a number alone is a share of the reference's cycles, write 2100cycles for cycles"
        )
        raise InvalidValueError("target", settings.target, allowed)


def searcher(arch: ArchDef, settings: Settings, train: Dataset) -> Searcher:
    """The searcher that the settings name.

    Raises:
        InvalidValueError: as :func:`check`.
    """
    check(arch, settings)
    return METHODS[settings.method].build(arch, settings, train)


def winner_of(arch: ArchDef, settings: Settings, derived: Mapping[str, int]) -> dict[str, int]:
    """The network with its free capacity used: every width grown while the exact cycles stay equal.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> arch = load_arch_def()
    >>> grown = winner_of(arch, Settings("fashion-mnist-cut"), arch.reference)
    >>> {name: (arch.reference[name], size) for name, size in grown.items() if size != arch.reference[name]}
    {'fc1.width': (120, 128), 'fc2.width': (84, 96)}
    """
    if not settings.snaps:
        return dict(derived)
    costs = Costs(arch)
    return costs.choice(costs.saturated(costs.rows([derived]))[0])
