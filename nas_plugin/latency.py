"""The latency term by name: which of hwcost's stand-ins prices the expected network. No hardware arithmetic here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwcost import InvalidValueError
from hwcost.torch import LatencyLoss
from nas_plugin.arch_def import ArchDef, Choice

__all__ = ["LATENCIES", "Latency", "latency_loss", "round_up"]


@dataclass(frozen=True)
class Latency:
    """A row of :data:`LATENCIES`: a relaxation of hwcost at the expected widths, or None for the exact expectation."""

    relaxation: str | None
    summary: str


LATENCIES: Mapping[str, Latency] = MappingProxyType(
    {
        "logistic": Latency("logistic", "the author's smooth ceiling at the expected widths"),
        "shifted": Latency("shifted", "the same moved right, so that a full tile costs what it costs"),
        "generalized": Latency("generalized", "the asymmetric smooth ceiling of U-Boost NAS"),
        "straight-through": Latency("straight-through", "the exact stairs with the slope of a line"),
        "expectation": Latency(None, "the expected exact cycles over all choices; nothing is smoothed"),
        "flops": Latency("linear", "no stairs: proportional to MACs, for comparison"),
    }
)
"""What ``--latency`` may be."""


def latency_loss(arch: ArchDef, latency: str, weight: float) -> LatencyLoss:
    """The latency term of a search, in units of the reference network's exact cycles on the same array.

    Raises:
        InvalidValueError: an unknown latency, or a weight that is negative or not finite.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> loss = latency_loss(load_arch_def(), "shifted", 0.1)
    >>> loss.exact(load_arch_def().reference).total.cycles
    2822
    """
    if latency not in LATENCIES:
        raise InvalidValueError("latency", latency, f"one of: {', '.join(LATENCIES)}")
    return LatencyLoss(
        arch.space, arch.array, relaxation=LATENCIES[latency].relaxation, reference=arch.reference, weight=weight
    )


def round_up(arch: ArchDef, loss: LatencyLoss, choice: Choice) -> dict[str, int]:
    """The choice with every width grown as far as the exact cycles stay equal: capacity that costs no time.

    Widths may end between the options, and end at the largest at most. In the result no width below its largest option
    can grow by one at equal cycles.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> arch = load_arch_def()
    >>> grown = round_up(arch, latency_loss(arch, "shifted", 0.1), arch.reference)
    >>> {name: (arch.reference[name], size) for name, size in grown.items() if size != arch.reference[name]}
    {'fc1.width': (120, 128), 'fc2.width': (84, 96)}
    """
    grown = dict(choice)
    cycles = loss.exact(grown).total.cycles
    changed = True
    while changed:
        changed = False
        for block in reversed(arch.blocks):
            name, size = block.width_decision, grown[block.width_decision]
            while size < block.widths[-1] and loss.exact(grown | {name: size + 1}).total.cycles <= cycles:
                size, changed = size + 1, True
            grown[name] = size
    return grown
