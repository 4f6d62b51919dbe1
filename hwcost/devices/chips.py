"""One array of a chip of several, as a device of its own."""

from __future__ import annotations

import dataclasses

from hwcost.devices.values import DeviceFile, Entry
from hwcost.machine.memory import Memory

__all__ = ["PART", "one_array"]

PART = "/array"
"""What the name of one array ends in, behind that of its chip."""
_RATES = {name for name, declared in Memory.declarations.items() if declared.unit == "B/s"}


def one_array(chip: DeviceFile) -> DeviceFile:
    """One array of a chip, with its share of the chip's bandwidth: what it has while all arrays work.

    Args:
        chip: a device whose ``arrays`` is above 1.

    >>> from hwcost.devices import read_device
    >>> device = one_array(read_device("tpu-v4"))
    >>> device.name, device.array.arrays, device.entries["dram_bytes_per_s"].in_words
    ('tpu-v4/array', 1, '150 GB/s')
    """
    several = chip.entries["arrays"]
    is_shared = "bandwidth_per_array" not in chip.entries
    shared = _RATES if is_shared else {"vector_bytes_per_s"}
    entries = {
        name: _share(entry, several) if name in shared else entry
        for name, entry in chip.entries.items()
        if name not in ("arrays", "bandwidth_per_array")
    }
    more = "; one that works alone can have more" if is_shared else ""
    note = f"One of the chip's {several.value} arrays, with the bandwidth that it has while all of them work{more}."
    return dataclasses.replace(
        chip,
        name=f"{chip.name}{PART}",
        summary=f"one of the {several.value} arrays of {chip.name}",
        notes=(note, *chip.notes),
        entries=entries,
        facts={"arrays_per_chip": several, **chip.facts},
        fit=None,
    )


def _share(entry: Entry, several: Entry) -> Entry:
    """A bandwidth of one of several arrays."""
    source = f"The chip's {entry.in_words}, over its {several.value} arrays. The chip: {entry.source}"
    return Entry(entry.value / several.value, entry.unit, "derived", source)  # type: ignore[operator]
