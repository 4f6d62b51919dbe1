"""The cost of a layer or a network, as a value that adds and scales."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import Size, check_finite, frozen, is_number, product, to_numpy, total, true_divide
from hwcost.model.shown import cost_facts, cost_words
from hwcost.model.sums import Sums
from hwcost.tables import Facts

__all__ = ["AS_WEIGHTS", "BYTES", "ENERGY", "JOULES", "MOVED", "PARTS", "Cost"]

PARTS = ("compute", "memory", "overhead")
"""The parts of a cost that can bound a layer."""
MOVED = {"weight": "weights", "input": "inputs", "output": "outputs", "partial": "partial sums"}
BYTES = tuple(MOVED)
"""What moves, in the names of the figures of bytes; and the same in words."""
AS_WEIGHTS = "activations as weights"
"""The second operands of products of two activations, as keys and values of attention."""
JOULES = ("mac", "sram", "dram", "idle")
"""The parts of the energy."""
ENERGY = ("energy_joules", "average_watts", "energy_delay")
"""The figures that follow from the energy."""


@dataclass(frozen=True, eq=False, repr=False)
class Cost(Sums, Facts):
    """Sums over layers; ratios are derived from the sums and never averaged.

    Attributes:
        macs: multiply-accumulates that the layer needs.
        cycles: clock cycles on the array.
        seconds: the same at the array's clock.
        folds: passes over the array; if several share a layer, over the one that has the most to do.
        pe_cycles: cycles times processing elements: the MACs that the array could have done in that time.
        compute_cycles: cycles of the folds.
        memory_cycles: cycles in which weights, inputs and outputs move, most of which hide behind compute; 0 without a
            memory limit.
        overhead_cycles: cycles on top of both: start-up, blocks, a constant.
        waiting_cycles: cycles in which the array waits for memory, neither compute nor overhead.
        dram_weight_bytes, dram_input_bytes, dram_output_bytes, dram_partial_bytes: bytes to and from DRAM;
            weights are the second operands of products, partial sums those that leave a buffer before they are
            complete, and come back.
        sram_weight_bytes, sram_input_bytes, sram_output_bytes, sram_partial_bytes: bytes that the memories next to the
            array read and write: what the array takes and gives, and what DRAM does.
        dram_activation_weight_bytes, sram_activation_weight_bytes: of the bytes of weights those of operands that are
            activations in their place: the keys and values of attention.
        mac_joules, sram_joules, dram_joules, idle_joules: energy; None on a machine without figures of energy.

    ``cycles`` is compute + overhead + waiting, to the rounding of floats. :mod:`hwcost.model.spent` has the counts of
    bytes.
    Each is a number, or an array for a sweep or a soft width. Costs add, and scale by a number:

    >>> layer = Cost(macs=2400, cycles=38, seconds=38e-9, folds=38, pe_cycles=2432)
    >>> (layer + layer).cycles, (3 * layer).macs, sum([layer, layer]).folds
    (76, 7200, 76)
    >>> round(layer.utilization, 4)
    0.9868

    It prints as its figures in people's units; ``as_dict()`` has them all.

    >>> layer
    <Cost: 2400 MACs, 38 cycles, 38 ns, 98.7 % utilization>
    """

    macs: Size = 0
    cycles: Size = 0
    seconds: Size = 0.0
    folds: Size = 0
    pe_cycles: Size = 0
    compute_cycles: Size = 0
    memory_cycles: Size = 0
    overhead_cycles: Size = 0
    waiting_cycles: Size = 0
    dram_weight_bytes: Size = 0
    dram_input_bytes: Size = 0
    dram_output_bytes: Size = 0
    dram_partial_bytes: Size = 0
    sram_weight_bytes: Size = 0
    sram_input_bytes: Size = 0
    sram_output_bytes: Size = 0
    sram_partial_bytes: Size = 0
    dram_activation_weight_bytes: Size = 0
    sram_activation_weight_bytes: Size = 0
    mac_joules: Size | None = None
    sram_joules: Size | None = None
    dram_joules: Size | None = None
    idle_joules: Size | None = None

    def __post_init__(self) -> None:
        for name, figure in vars(self).items():
            if figure is not None and type(figure) is not int:
                check_finite(figure, name)
                if not is_number(figure):
                    object.__setattr__(self, name, frozen(figure))

    @property
    def bound(self) -> Any:
        """The longest of compute, memory and overhead: its name, or an array of names for a sweep.

        >>> Cost(cycles=10, compute_cycles=4, memory_cycles=9, overhead_cycles=1).bound
        'memory'
        """
        parts = [getattr(self, f"{name}_cycles") for name in PARTS]
        if all(map(is_number, parts)):
            return PARTS[parts.index(max(parts))]
        columns = np.broadcast_arrays(*map(to_numpy, parts))
        return np.asarray(PARTS)[np.argmax(np.stack(columns), axis=0)]

    @property
    def utilization(self) -> Size:
        """MACs over cycles x PEs: the share of the array's work that was needed; 0 for no work at all."""
        if is_number(self.pe_cycles) and self.pe_cycles == 0:
            return 0.0
        return true_divide(self.macs, self.pe_cycles, what="the MACs")

    @property
    def dram_bytes(self) -> Size:
        """Bytes to and from DRAM."""
        return self._all("dram", "bytes")

    @property
    def sram_bytes(self) -> Size:
        """Bytes that the memories next to the array read and write."""
        return self._all("sram", "bytes")

    @property
    def dram_parts(self) -> dict[str, Size]:
        """Bytes to and from DRAM by what moves, in words; activations in the place of weights are no weights.

        >>> from hwcost import MatMul, SystolicArray, layer_cost
        >>> layer_cost(MatMul(m=10, n=12, k=16), SystolicArray(8, 8)).dram_parts
        {'weights': 0, 'inputs': 160, 'outputs': 120, 'partial sums': 0, 'activations as weights': 192}
        """
        no_weights = self.dram_activation_weight_bytes
        parts = {words: getattr(self, f"dram_{kind}_bytes") for kind, words in MOVED.items()}
        weights = total(parts["weights"], product(-1, no_weights))
        return parts | {"weights": weights, AS_WEIGHTS: no_weights}

    def _all(self, level: str, unit: str) -> Size:
        return total(*(getattr(self, f"{level}_{kind}_{unit}") for kind in BYTES))

    @property
    def memory_figures(self) -> dict[str, Size]:
        """Bytes at both levels, in all and by what moves, and the energy and its parts if there are figures of it."""
        levels = {"dram": self.dram_bytes, "sram": self.sram_bytes}
        found: dict[str, Size] = {}
        for level, whole in levels.items():
            parts = (f"{level}_{kind}_bytes" for kind in BYTES)
            found |= {f"{level}_bytes": whole} | {name: getattr(self, name) for name in parts}
        names = () if self.energy_joules is None else (*ENERGY, *(f"{part}_joules" for part in JOULES))
        return found | {name: getattr(self, name) for name in names}

    @property
    def energy_joules(self) -> Size | None:
        """Energy; None on a machine without figures of energy.

        >>> Cost(cycles=10, mac_joules=0.25, sram_joules=0.5, dram_joules=2.0, idle_joules=0.0).energy_joules
        2.75
        """
        parts = [getattr(self, f"{part}_joules") for part in JOULES]
        return None if any(part is None for part in parts) else total(*parts)

    @property
    def average_watts(self) -> Size | None:
        """Energy over time; None without energy, or if there is no time."""
        energy = self.energy_joules
        no_time = is_number(self.seconds) and self.seconds == 0
        return None if energy is None or no_time else true_divide(energy, self.seconds)

    @property
    def energy_delay(self) -> Size | None:
        """Energy times latency (EDP) in joule seconds; None without energy."""
        energy = self.energy_joules
        return None if energy is None else product(energy, self.seconds)

    @property
    def in_words(self) -> str:
        """The cost on one line."""
        return cost_words(self)

    def facts(self) -> dict[str, str]:
        """The figures in people's units, by name; none if they are arrays."""
        return cost_facts(self)

    def figures(self) -> Mapping[str, Size]:
        """The figures by name; without those of energy on a machine that has none."""
        return {name: figure for name, figure in vars(self).items() if figure is not None}

    def __add__(self, other: object) -> Cost:
        added = super().__add__(other)
        if isinstance(other, Cost) and (self.mac_joules is None) != (other.mac_joules is None):
            without = self if self.mac_joules is None else other
            if not (is_number(without.cycles) and without.cycles == 0):  # energy of a part would pass for that of all
                return dataclasses.replace(added, **dict.fromkeys((f"{part}_joules" for part in JOULES), None))
        return added

    def as_dict(self) -> dict[str, Any]:
        """Every figure by name, derived ones included; needs values, which a tracing compiler does not have."""
        derived = ("dram_bytes", "sram_bytes", *ENERGY, "bound", "utilization")
        return {**vars(self), **{name: getattr(self, name) for name in derived}}
