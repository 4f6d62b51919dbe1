"""Devices by name: files that describe a machine, with a unit, a status and a source for each number.

>>> from hwcost.devices import load_device
>>> array = load_device("tpu-v1")
>>> array.rows, array.cols, array.clock_hz
(256, 256, 700000000.0)

A device file is TOML. ``[array.FIELD]`` gives a field of :class:`hwcost.SystolicArray`, ``[facts.NAME]`` a number that
is not a field (the published peak, the number of arrays), ``[fit]`` the measurements of a calibrated device. The files
that ship are in ``hwcost/devices``; a new one there is found and tested by its name.
"""

from __future__ import annotations

from hwcost.devices.files import device_names, load_device, read_device, write_device
from hwcost.devices.measured import ExtrapolationWarning, Fit, Range, beyond_ranges
from hwcost.devices.values import FACT_UNITS, FIELD_UNITS, STATUSES, UNITS, DeviceFile, Entry

__all__ = [
    "FACT_UNITS",
    "FIELD_UNITS",
    "STATUSES",
    "UNITS",
    "DeviceFile",
    "Entry",
    "ExtrapolationWarning",
    "Fit",
    "Range",
    "beyond_ranges",
    "device_names",
    "load_device",
    "read_device",
    "write_device",
]

__dir__ = __all__.copy  # what tab completion offers
