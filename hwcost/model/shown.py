"""A cost for people: on one line, and figure by figure."""

from __future__ import annotations

from typing import Any, TypeAlias

from hwcost.arrays import is_number
from hwcost.units import BYTES, ENERGIES, TIMES, in_unit, number, percent

__all__ = ["SPENT", "cost_facts", "cost_words"]

Cost_: TypeAlias = Any
"""A Cost, whose module imports this one."""

_CYCLES = ("compute", "overhead", "waiting")
SPENT = {"mac": "MACs", "sram": "next to the array", "dram": "DRAM", "idle": "at all times"}
"""The parts of the energy in words."""


def cost_words(cost: Cost_) -> str:
    """The cost on one line.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> cost_words(layer_cost(Linear(400, 120), SystolicArray(8, 8)))
    '48,000 MACs, 750 cycles, 750 ns, 100 % utilization'
    """
    if not all(is_number(figure) for figure in cost.figures().values()):
        return f"arrays of shape {_shape(cost)}"
    used = f", {percent(cost.utilization)} % utilization" if cost.pe_cycles else ""
    return f"{number(cost.macs)} MACs, {number(cost.cycles)} cycles, {in_unit(cost.seconds, TIMES, 4)}{used}"


def _shape(cost: Cost_) -> tuple[int, ...]:
    """The longest of the shapes of its figures."""
    return max((tuple(getattr(figure, "shape", ())) for figure in cost.figures().values()), key=len)


def cost_facts(cost: Cost_) -> dict[str, str]:
    """The figures with their units, by name; none for arrays."""
    if not all(is_number(figure) for figure in cost.figures().values()):
        return {}
    facts = {"MACs": number(cost.macs), "cycles": number(cost.cycles)}
    parts = {name: getattr(cost, f"{name}_cycles") for name in _CYCLES}
    if sum(map(bool, parts.values())) > 1:
        facts["cycles"] += f" = {' + '.join(f'{number(each)} {name}' for name, each in parts.items() if each)}"
    facts["time"] = in_unit(cost.seconds, TIMES, 4)
    if cost.pe_cycles:
        facts["utilization"] = f"{percent(cost.utilization)} %"
    if cost.memory_cycles or cost.overhead_cycles:
        facts["bound"] = f"by {cost.bound}"
    facts["folds"] = number(cost.folds)
    facts |= {"DRAM": in_unit(cost.dram_bytes, BYTES, 4)} | {
        f"  {name}": in_unit(size, BYTES, 4) for name, size in cost.dram_parts.items() if size
    }
    facts["next to the array"] = in_unit(cost.sram_bytes, BYTES, 4)
    if cost.energy_joules is not None:
        facts["energy"] = in_unit(cost.energy_joules, ENERGIES, 4)
        joules = {words: getattr(cost, f"{name}_joules") for name, words in SPENT.items()}
        facts |= {f"  {words}": in_unit(each, ENERGIES, 4) for words, each in joules.items() if each}
    return facts
