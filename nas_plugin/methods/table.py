"""The search methods by name, and what a sweep may compare.

It loads no torch: the searches are added when :mod:`nas_plugin.methods.finding` is loaded, which starts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hwcost.errors import check_one_of
from hwcost.machine.rows import Row, table
from nas_plugin.methods.latencies import LATENCIES, Latency

__all__ = ["DEFAULT_METHODS", "METHODS", "SEARCHES", "SWEEP_METHODS", "Method", "changes_of"]


@dataclass(frozen=True)
class Method(Row):
    """A row of :data:`METHODS`.

    Attributes:
        name: as people write it.
        summary: what it does, in words.
        make: makes the search, a :class:`nas_plugin.methods.training.Resumable` with a method ``derived()`` that
            returns the network found, from a search space on its array, settings and training images. A sweep on
            several processes sends it there, so it is a function of a module.
        uses: the settings it uses of those that not every method does; any other of them is refused.
        epochs: of a search, known to work for fewer than 20,000 training images, and for more.
        needs_target: whether lambda alone means nothing to it.
        moves_weight: whether lambda has an effect with a target too, which it then follows.
        takes_weights: whether ``make`` also takes the weights of a super-network, which a sweep trains once per seed.
    """

    functions = MappingProxyType({"make": "a search space, settings and images that returns a search"})
    summary: str
    make: Callable[..., Any]
    uses: tuple[str, ...] = ()
    epochs: tuple[int, int] = (30, 12)
    needs_target: bool = False
    moves_weight: bool = False
    takes_weights: bool = False

    def reads(self, setting: str, given: Mapping[str, Any]) -> bool:
        """Whether a setting has an effect, among all that are given."""
        if setting == "weight" and given.get("target") is not None:
            return self.moves_weight
        return setting in self.uses or all(setting not in method.uses for method in METHODS.values())


SEARCHES: dict[str, Callable[..., Any]] = {}
"""The classes of the searches that ship, which load torch and which :mod:`nas_plugin.methods.finding` adds."""


def _shipped(name: str) -> Callable[..., Any]:
    """The maker of a search of the package."""

    def make(*given: Any) -> Any:
        return SEARCHES[name](*given)

    return make


_OF_ALPHA = ("alpha_batch", "alpha_lr", "tau_first", "tau_last")
METHODS: Mapping[str, Method] = table(
    Method(
        *("darts", "the author's: alpha by gradient on L_data + lambda * L_latency", _shipped("darts")),
        uses=("latency", "utilization", "epochs", "weight_only_epochs", "share", *_OF_ALPHA),
        moves_weight=True,
    ),
    Method(
        *("one-shot", "one super-network trained once, then a choice within the exact limit", _shipped("one-shot")),
        uses=("candidates", "finalists", "finalist_epochs", "epochs", "share"),
        epochs=(20, 6),
        takes_weights=True,
    ),
    Method(
        *("random", "random networks in the limit, as much compute as darts", _shipped("random")),
        uses=("epochs", "weight_only_epochs", "finalist_epochs", "share"),
    ),
    Method("most-macs", "no search: the most MACs within the exact limit", _shipped("most-macs"), needs_target=True),
)
"""What ``--method`` may be."""

SWEEP_METHODS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **{name: {"method": name} for name in METHODS if name != "darts"},
        **{name: {"method": "darts", "latency": name} for name in LATENCIES if name != "flops"},
        "flops": {"method": "darts", "latency": "flops", "snaps": False},
        "flops-snap": {"method": "darts", "latency": "flops"},
    }
)
"""What a sweep may name, with its settings: a method, or a latency term under the author's search.

``flops`` is a search that knows nothing of the array: its network is chosen by MACs and stays as it is. ``flops-snap``
descends the gradient of MACs too, but its lambda follows the exact expected cycles, as that of every other method does,
and it takes the most probable network within the exact limit, widths rounded up.
"""

DEFAULT_METHODS = ("one-shot", "expectation", "shifted", "flops", "flops-snap", "most-macs")
"""The methods of a sweep that names none."""


def changes_of(method: str | Method | Latency) -> tuple[str, dict[str, Any]]:
    """The name of a sweep's method, and its settings; raises InvalidValueError for an unknown name.

    >>> changes_of("shifted")
    ('shifted', {'method': 'darts', 'latency': 'shifted'})
    """
    if isinstance(method, (Method, Latency)):
        own: dict[str, Any] = {"method": "darts", "latency": method}
        return method.name, own if isinstance(method, Latency) else {"method": method}
    check_one_of("methods", method, SWEEP_METHODS)
    return method, dict(SWEEP_METHODS[method])
