"""Machines that know less: what an estimator without stairs sees of an accelerator."""

from __future__ import annotations

import dataclasses

from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.memory import Memory
from hwcost.machine.terms import Transfer

__all__ = ["behind_memory", "without_stairs"]


def without_stairs(array: SystolicArray) -> SystolicArray:
    """The array as a FLOP count sees it: a number of PEs, never idle."""
    return SystolicArray(array.rows, array.cols, array.clock_hz, arrays=array.arrays)


def behind_memory(array: SystolicArray) -> SystolicArray:
    """PEs that are never idle behind the array's memory; if it has no bandwidth, one row of weights enters a cycle."""
    memory = {name for name, declared in Memory.declarations.items() if declared.unit in ("B", "B/s")}
    memory.add("bandwidth_per_array")
    transfers = tuple(term for term in array.terms if isinstance(term, Transfer))
    memory.update(*(transfer.reads for transfer in transfers))
    kept = {name: value for name, value in array.stated() if name in memory} | {"terms": transfers}
    bare = adapt(without_stairs(array), kept).array
    edge = array.cols * array.bytes_per_element * array.clock_hz
    return bare if bare.has_memory_limit else dataclasses.replace(bare, dram_bytes_per_s=edge)
