"""Devices by name: files that say what a machine is, with a unit, a status and a source beside each number.

>>> from hwcost.devices import load_device
>>> array = load_device("tpu-v1")
>>> array.rows, array.cols, array.clock_hz
(256, 256, 700000000.0)

A device file is TOML. ``[array.FIELD]`` gives a field of :class:`hwcost.SystolicArray`, ``[facts.NAME]`` a number that
is no field (the published peak, how many arrays the chip has), ``[fit]`` what a calibrated device was fitted to. Files
that ship with the package lie in ``hwcost/devices``; a new one there is found, and tested, by its name.
"""

from __future__ import annotations

from hwcost.devices.files import device_names, load_device, read_device, write_device
from hwcost.devices.values import (
    FACT_UNITS,
    FIELD_UNITS,
    STATUSES,
    UNITS,
    DeviceFile,
    Entry,
    Fit,
    Range,
    beyond_ranges,
)

__all__ = [
    "FACT_UNITS",
    "FIELD_UNITS",
    "STATUSES",
    "UNITS",
    "DeviceFile",
    "Entry",
    "Fit",
    "Range",
    "beyond_ranges",
    "device_names",
    "load_device",
    "read_device",
    "write_device",
]
