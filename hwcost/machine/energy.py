"""What a machine spends: joules of a multiply-accumulate and of a byte at each memory, and watts at all times."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.fields import POSITIVE, QUANTITY, Need, Part, declare, part

__all__ = ["NEEDED", "Energy"]

NEEDED = ("joules_per_mac", "joules_per_sram_byte", "joules_per_dram_byte")
"""The figures without which there is no energy."""


def _is_whole(array: Any) -> bool:
    return bool(array.has_energy)


_ALL = Need(f"{NEEDED[0]}, {NEEDED[1]} and {NEEDED[2]}, all three", _is_whole)


def _joules(unit: str, words: str, more: str = "", **options: Any) -> Any:
    return declare(POSITIVE, unit, words, more, default=None, need=_ALL, **options)


@part
class Energy(Part):
    """Energy of what a machine does; there is none by default, and no figure is guessed.

    >>> Energy(joules_per_mac=2.3e-13, joules_per_sram_byte=1e-12, joules_per_dram_byte=1e-10).has_energy
    True
    >>> Energy(joules_per_mac=2.3e-13).has_energy
    False
    """

    _: KW_ONLY
    joules_per_mac: Size | None = _joules("J", "energy of a multiply-accumulate", "registers included")
    joules_per_sram_byte: Size | None = _joules("J/B", "energy of a byte read from the memories next to the array")
    joules_per_sram_byte_written: Size | None = _joules(
        "J/B", "energy of a byte written there", "if it differs", fallback="joules_per_sram_byte"
    )
    joules_per_accumulator_byte: Size | None = _joules(
        "J/B", "energy of a byte of outputs and sums, read or written", "if they have a memory of their own",
        fallback="joules_per_sram_byte",
    )  # fmt: skip
    joules_per_dram_byte: Size | None = _joules("J/B", "energy of a byte that crosses to or from DRAM")
    idle_watts: Size = declare(
        QUANTITY, "W", "power at all times", "on top of what is done: leakage, clocks, idle memory", default=0.0,
        need=_ALL,
    )  # fmt: skip

    @property
    def has_energy(self) -> bool:
        """Whether a multiply-accumulate and a byte at both memories have a figure."""
        return self.stated_names.issuperset(NEEDED)
