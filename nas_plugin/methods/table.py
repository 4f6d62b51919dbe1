"""The search methods and the latency terms by name, and what a sweep may compare.

It loads no torch: the searches are added when :mod:`nas_plugin.methods.finding` is loaded, which starts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hwcost import SystolicArray
from hwcost.arrays import Table
from hwcost.errors import check_one_of
from hwcost.machine.bare import behind_memory, without_stairs
from hwcost.machine.rows import Row, table

__all__ = ["DEFAULT_METHODS", "LATENCIES", "METHODS", "SEARCHES", "SWEEP_METHODS", "Latency", "Method", "changes_of"]


@dataclass(frozen=True)
class Latency(Row):
    """A row of :data:`LATENCIES`.

    Attributes:
        name: as people write it.
        relaxation: of hwcost, at the expected widths; None for the exact expectation over all choices.
        summary: what it is, in words.
        of: whether it prices the Gumbel sample of a step, as the images see it, or the probabilities behind it.
        array: what it knows of the accelerator; None if all of it.
        counts: whether it enters the loss at all.
    """

    relaxation: Any
    summary: str
    of: Literal["sample", "probabilities"] = "sample"
    array: Callable[[SystolicArray], SystolicArray] | None = None
    counts: bool = True


LATENCIES: Mapping[str, Latency] = table(
    Latency("logistic", "logistic", "the author's smooth ceiling at the expected widths"),
    Latency("shifted", "shifted", "the same moved right, so that a full tile costs what it costs"),
    Latency("generalized", "generalized", "the asymmetric smooth ceiling of U-Boost NAS"),
    Latency("straight-through", "straight-through", "the exact stairs with the slope of a line"),
    Latency("expectation", None, "expected exact cycles over all choices, not smoothed", of="probabilities"),
    Latency("expectation-sample", None, "the same under the Gumbel sample of each step"),
    Latency("flops", "linear", "no stairs: proportional to MACs, for comparison", array=without_stairs),
    Latency("roofline", "linear", "no stairs: MACs or bytes, the longer, for comparison", array=behind_memory),
    Latency("none", None, "no latency at all, for comparison", of="probabilities", counts=False),
)
"""What ``--latency`` may be."""


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
        keeps_weights: whether the winner is cut from the super-network ``weights()`` of the search and trained on, as
            ``nas_plugin.methods.pruning.tuned`` does it; others are trained from scratch.
    """

    functions = Table({"make": "a search space, settings and images that returns a search"})
    summary: str
    make: Callable[..., Any]
    uses: tuple[str, ...] = ()
    epochs: tuple[int, int] = (30, 12)
    needs_target: bool = False
    moves_weight: bool = False
    takes_weights: bool = False
    keeps_weights: bool = False

    def reads(self, setting: str, given: Mapping[str, Any]) -> bool:
        """Whether a setting has an effect, among all that are given."""
        if setting == "weight" and given.get("target") is not None:
            return self.moves_weight
        return setting in self.uses or all(setting not in method.uses for method in METHODS.values())


SEARCHES: dict[str, Callable[..., Any]] = {}
"""The classes of the searches that ship, which load torch and which :mod:`nas_plugin.methods.finding` adds."""


@dataclass(frozen=True)
class _Shipped:
    """The maker of a search of the package, as a value that pickles and compares."""

    name: str

    def __call__(self, *given: Any) -> Any:
        return SEARCHES[self.name](*given)


_OF_ALPHA = ("alpha_batch", "alpha_lr", "tau_first", "tau_last")
METHODS: Mapping[str, Method] = table(
    Method(
        *("darts", "the author's: alpha by gradient on L_data + lambda * L_latency", _Shipped("darts")),
        uses=("latency", "utilization", "epochs", "weight_only_epochs", "share", *_OF_ALPHA),
        moves_weight=True,
    ),
    Method(
        *("one-shot", "one super-network trained once, then a choice within the exact limit", _Shipped("one-shot")),
        uses=("candidates", "finalists", "finalist_epochs", "epochs", "share"),
        epochs=(20, 6),
        takes_weights=True,
    ),
    Method(
        *("prune", "the widest network trained, cut to the exact limit and trained on", _Shipped("prune")),
        uses=("candidates", "finalists", "finalist_epochs", "epochs", "share"),
        epochs=(30, 15),
        takes_weights=True,
        keeps_weights=True,
    ),
    Method(
        *("random", "random networks in the limit, as much compute as darts", _Shipped("random")),
        uses=("epochs", "weight_only_epochs", "finalist_epochs", "share"),
    ),
    Method("most-macs", "no search: the most MACs within the exact limit", _Shipped("most-macs"), needs_target=True),
)
"""What ``--method`` may be."""

SWEEP_METHODS: Mapping[str, Mapping[str, Any]] = Table(
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

DEFAULT_METHODS = ("prune", "one-shot", "expectation", "shifted", "flops", "flops-snap", "most-macs")
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
