"""The accelerators that a twin of Vela exists for: what a fit starts from, and the layers that are priced for it.

What is built in (dot products, the memory next to the array, bursts) is taken from the tables that come with Vela;
rates and latencies start from the numbers of its configuration file and are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from hwcost.arrays import Table
from hwcost.devices import FIELD_UNITS, DeviceFile, Entry
from hwcost.model.layers import Conv2d

__all__ = ["ACCELERATORS", "FREE", "Accelerator", "described", "design"]

FREE = (
    "cycles_per_row", "cycles_per_output", "start_up_cycles", "weight_bytes_per_s", "input_bytes_per_s",
    "output_bytes_per_s",
)  # fmt: skip
"""The numbers that are fitted."""
_TABLES = "architecture tables of Vela 5.2.0, https://pypi.org/project/ethos-u-vela/"
_CONFIGURATION = "vela.ini of Vela 5.2.0, https://pypi.org/project/ethos-u-vela/"
_SOURCES = {
    "rows": f"Channels of one dot product times the cycles of one: {_TABLES}.",
    "cols": f"Depth of a block of outputs that is computed at once: {_TABLES}.",
    "clock_hz": f"core_clock: {_CONFIGURATION}.",
    "dataflow": "Weights are held while a block of outputs is computed.",
    "fold_timing": "The cost of a fold is part of cycles_per_row and min_streamed.",
    "lowering": "Channels are summed for each position of the kernel, or for a group of positions.",
    "weights_ahead": "Vela moves weights while the operator before runs.",
    "burst_bytes": f"burst_length: {_CONFIGURATION}.",
}


class Accelerator(NamedTuple):
    """A row of ``ACCELERATORS``.

    Attributes:
        name: as Vela calls it.
        macs: multiply-accumulates in a cycle.
        fields: of the machine that a fit starts from.
    """

    name: str
    macs: int
    fields: Mapping[str, Any]

    @property
    def device(self) -> DeviceFile:
        """The machine before the fit, with the source of each number."""
        entries = {
            name: Entry(value, FIELD_UNITS[name], _status(name), _SOURCES.get(name, f"From the {_TABLES}."))
            for name, value in self.fields.items()
        }
        peak = Entry(2.0 * self.macs * self.fields["clock_hz"], "op/s", "derived", "MACs in a cycle times the clock.")
        arrays = Entry(1, "1", "derived", "One core of the accelerator, as its name says.")
        return DeviceFile(
            self.name, f"Arm {self.name}", (), entries, {"arrays_per_chip": arrays, "peak_ops_per_s": peak}
        )


def _status(name: str) -> str:
    """Of an entry: stated in a file of Vela, or taken from what one states."""
    return "published" if name in ("clock_hz", "burst_bytes") else "derived"


_EVERY = {
    "dataflow": "ws", "fold_timing": "ideal", "lowering": "kernel-position", "depthwise_columns": True,
    "patch_width": 2, "run_channels": 16, "starts_up": True,
}  # fmt: skip
_U55 = {
    **_EVERY, "rows": 32, "cols": 8, "clock_hz": 500e6, "positions_at_once": 4, "burst_bytes": 32.0,
    "weights_apart": True, "start_up_cycles": 64.0, "weight_bytes_per_s": 0.5e9, "input_bytes_per_s": 4e9,
    "output_bytes_per_s": 4e9,
}  # fmt: skip
_OF_256 = {
    "patch_height": 2, "cycles_per_row": 1.0, "min_streamed": 32.0, "cycles_per_output": 0.25, "tile_bytes": 40960.0,
    "bank_bytes": 16384.0,
}  # fmt: skip

ACCELERATORS: Mapping[str, Accelerator] = Table(
    {
        row.name: row
        for row in (
            Accelerator("ethos-u55-128", 128, {
                **_U55, "cycles_per_row": 2.0, "min_streamed": 16.0, "cycles_per_output": 0.5, "tile_bytes": 20480.0,
                "bank_bytes": 8192.0,
            }),
            Accelerator("ethos-u55-256", 256, {**_U55, **_OF_256}),
            Accelerator("ethos-u65-256", 256, {
                **_U55, **_OF_256, "clock_hz": 1e9, "burst_bytes": 128.0, "weights_apart": False,
                "start_up_cycles": 750.0, "weight_bytes_per_s": 12e9, "input_bytes_per_s": 12e9,
                "output_bytes_per_s": 12e9,
            }),
            Accelerator("ethos-u85-256", 256, {
                **_EVERY, "rows": 64, "cols": 16, "clock_hz": 1e9, "positions_at_once": 9, "patch_height": 2,
                "cycles_per_row": 4.0, "min_streamed": 32.0, "cycles_per_output": 0.5, "tile_bytes": 32768.0,
                "bank_bytes": 16384.0, "burst_bytes": 128.0, "parallel_operands": True, "start_up_cycles": 750.0,
                "weight_bytes_per_s": 3e9, "input_bytes_per_s": 3e9, "output_bytes_per_s": 10e9,
            }),
        )
    }
)  # fmt: skip
"""Every accelerator, by the name that Vela has for it."""


def described(accelerator: str, found: Any) -> dict[str, Any]:
    """What a device file says of a fit: arguments of :func:`hwcost.calibration.device_file`.

    Args:
        accelerator: its name.
        found: what :func:`hwcost.calibration.vela.vela_measurements` returns next to the measurements.
    """
    version = found.settings["version"]
    stated = ", ".join(f"{name} {value}" for name, value in found.settings.items() if name != "version")
    return {
        "data": f"{len(found.cycles)} convolutions of int8, priced one by one by Vela {version}",
        "source": f"Arm's compiler Vela, PyPI ethos-u-vela {version}, with its defaults: {stated}",
        "licence": "Apache-2.0 (Vela); the numbers were made for this file",
        "summary": f"Arm {accelerator} as its compiler Vela {version} estimates it, int8",
        "notes": (
            f"A twin of Vela {version}, and not of silicon: cycles are the compiler's own estimates, with its default "
            f"settings ({stated}).",
            "Weights were random, which does not compress; those of a trained layer do, and take less where the memory "
            "of the weights is the bound.",
            "Images are taken to be square. Each layer was a network of its own, whose input and output lie in the "
            f"memory for feature maps. {accelerator}-network is the twin for networks.",
            "rows x cols is what one step of the dot products covers; cycles_per_row is the cycles of a step for an "
            "output position.",
        ),
    }


_KINDS = (
    (3, 1, False), (1, 1, False), (3, 1, True), (5, 1, False), (3, 2, False), (1, 1, False), (5, 2, True),
    (3, 1, False), (1, 2, False), (3, 2, True), (5, 2, False), (3, 1, False), (5, 1, True),
)  # fmt: skip
"""Kernel, stride and whether it is depthwise, in turn."""
_STAIRS = (8, 15, 16, 24, 32, 40, 64, 96)
_RANGES = {2: (7, 64), 3: (3, 256), 5: (4, 256)}


def design(count: int = 64) -> list[Conv2d]:
    """The layers that are priced: steps of one layer, and a spread over sizes, widths, kernels and strides.

    Args:
        count: how many; at most 64 are needed.

    >>> {layer.kernel_size[0] for layer in design()}, max(layer.height for layer in design())
    ({1, 3, 5}, 60)
    """
    found = [Conv2d(32, filters, 3, 28, 28, padding="same") for filters in _STAIRS][:count]
    for index in range(1, count - len(found) + 1):
        kernel, stride, depthwise = _KINDS[index % len(_KINDS)]
        size, channels, filters = (_spread(index, base) for base in _RANGES)
        if index % 2:  # widths of networks are multiples more often than not
            channels, filters = (max(8, 8 * round(width / 8)) for width in (channels, filters))
        groups, filters = (channels, channels) if depthwise else (1, filters)
        found.append(
            Conv2d(channels, filters, kernel, size, size, stride=stride, padding="same", groups=max(1, groups))
        )
    return found


def _spread(index: int, base: int) -> int:
    """A size of a low-discrepancy sequence (Halton's), even in its logarithm."""
    low, high = _RANGES[base]
    place, scale = 0.0, 1.0
    while index:
        scale /= base
        place, index = place + scale * (index % base), index // base
    return round(low * math.pow(high / low, place))
