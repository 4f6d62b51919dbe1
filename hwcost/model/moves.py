"""Elements that move without a product: activations and norms, the way to the host, weights that do not fit.

A layer may have ``moves()`` on top of ``gemms()``. A :class:`Move` names the field of the machine that limits it; where
that is infinite, as by default, it takes no time. Moves follow one another and the products, and hide behind nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hwcost.arrays import Size, product, total, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.cost import Cost
from hwcost.model.layout import is_zero

__all__ = ["Move", "move_cost", "move_cycles", "move_figure", "moves_of", "reading_cost"]


class Move(NamedTuple):
    """Elements that move at a bandwidth of the machine.

    Attributes:
        elements: how many.
        rate: the field with the bandwidth in bytes per second.
        cycles: a field with cycles that the move takes in addition; empty for none.
        dram: the bytes of a cost that it counts in: "weight", "input" or "output"; empty if it does not cross DRAM.
    """

    elements: Size
    rate: str
    cycles: str = ""
    dram: str = ""


def moves_of(layer: Any) -> tuple[Move, ...]:
    """The moves of a layer; most have none."""
    moves = getattr(layer, "moves", None)
    return () if moves is None else moves()


def move_cycles(move: Move, array: SystolicArray) -> tuple[Size, Size]:
    """The cycles in which elements move, and those on top.

    >>> move_cycles(Move(1000, "host_bytes_per_s"), SystolicArray(8, 8, host_bytes_per_s=5e8))
    (2000.0, 0)
    """
    rate = array.effective(move.rate)
    moving: Size = 0
    if is_finite(rate) and not is_zero(move.elements):
        moving = true_divide(product(move_bytes(move, array), array.clock_hz), rate)
    return moving, getattr(array, move.cycles) if move.cycles else 0


def move_figure(move: Move, array: SystolicArray, figure: str) -> Size:
    """A figure of :func:`move_cost`; 0 for one that it does not have."""
    if figure == "cycles":
        return total(*move_cycles(move, array), what="the cycles")
    found = getattr(move_cost(move, array), figure)
    return 0.0 if found is None else found


def move_bytes(move: Move, array: SystolicArray) -> Size:
    """The bytes that move."""
    return product(array.bytes_per_element, move.elements, what="the bytes")


def reading_cost(size: Size, array: SystolicArray) -> Cost:
    """The cost of bytes that an operation fused with a layer reads from DRAM: energy, and no time, as it takes none."""
    if not array.has_energy:
        return Cost(dram_input_bytes=size)
    joules = product(size, array.joules_per_dram_byte)
    return Cost(dram_input_bytes=size, dram_joules=joules, mac_joules=0.0, sram_joules=0.0, idle_joules=0.0)


def move_cost(move: Move, array: SystolicArray) -> Cost:
    """The cost of a move, in which the array waits; empty if it takes no time."""
    moving, more = move_cycles(move, array)
    cycles = total(moving, more, what="the cycles")
    if is_zero(cycles):
        return Cost()
    seconds = true_divide(cycles, array.clock_hz, what="the cycles")
    moved = move_bytes(move, array) if move.dram else 0
    bytes_moved: dict[str, Any] = {f"dram_{move.dram}_bytes": moved} if move.dram else {}
    joules: dict[str, Any] = {}
    if array.has_energy:
        joules = {"mac_joules": 0.0, "sram_joules": 0.0, "dram_joules": product(moved, array.joules_per_dram_byte),
                  "idle_joules": product(array.idle_watts, seconds)}  # fmt: skip
    return Cost(
        cycles=cycles,
        seconds=seconds,
        **bytes_moved,
        **joules,
        pe_cycles=product(cycles, array.pes, what="cycles * PEs"),
        memory_cycles=moving,
        overhead_cycles=more,
        waiting_cycles=moving,
    )
