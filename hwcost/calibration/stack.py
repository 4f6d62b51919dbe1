"""Measurements as columns: all layers of all of them as one product whose sizes are arrays, priced in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import is_number
from hwcost.calibration.measurements import Measurement
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import price
from hwcost.model.gemm import Gemm

__all__ = ["Stack", "medians_of_repeats"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Stack:
    """Measurements as one product whose sizes are arrays.

    Attributes:
        gemm: all their products as one, each size a float array over them (floats, since they never overflow).
        owner: for each product the position of its measurement.
        seconds: measured, for each measurement.
        fields: fields of the device that differ between measurements, an array over the products each.
    """

    gemm: Gemm
    owner: Array
    seconds: Array
    fields: dict[str, Array]

    @classmethod
    def of(cls, measurements: Sequence[Measurement], device: SystolicArray) -> Stack:
        """The measurements in order."""
        gemms = [(i, gemm) for i, one in enumerate(measurements) for layer in one.layers for gemm in layer.gemms()]
        owner = np.array([index for index, _ in gemms])
        stacked = Gemm.stack([gemm for _, gemm in gemms], lambda columns: [np.array(c, dtype=float) for c in columns])
        names = dict.fromkeys(name for one in measurements for name in one.device)
        fields = {name: np.array([_field_of(measurements[i], name, device) for i in owner]) for name in names}
        seconds = np.array([one.seconds for one in measurements])
        return cls(stacked, owner, seconds, fields)

    def at(self, which: Array) -> Stack:
        """The stack of some of the measurements, by position."""
        products = np.flatnonzero(np.isin(self.owner, which))
        position = {int(index): new for new, index in enumerate(which)}
        return Stack(
            self.gemm.map(lambda size: size if is_number(size) else size[products]),
            np.array([position[int(index)] for index in self.owner[products]]),
            self.seconds[which],
            {name: column[products] for name, column in self.fields.items()},
        )

    def predict(self, machine: SystolicArray) -> Array:
        """Seconds of every measurement on a machine with the fields that differ between measurements as arrays."""
        cycles = price(self.gemm, machine).cycles
        return np.bincount(self.owner, weights=cycles, minlength=len(self.seconds)) / machine.clock_hz


def _field_of(one: Measurement, name: str, device: SystolicArray) -> Any:
    """The field of the machine of a measurement; that of the device if the measurement does not give it."""
    if name in one.device:
        return one.device[name]
    value = getattr(device, name)
    if value is None and name in ("weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s"):
        value = device.dram_bytes_per_s
    if value is None:
        where = f"{one.source}: {name}" if one.source else f"Measurement.device[{name!r}]"
        raise InvalidValueError(where, MISSING, "a number in every measurement, since the device has none")
    return value


def medians_of_repeats(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Repeats merged: the median of their seconds, in the place of the first.

    >>> from hwcost import Linear
    >>> [m.seconds for m in medians_of_repeats([Measurement((Linear(8, 8),), s) for s in (1.0, 9.0, 2.0)])]
    [2.0]
    """
    repeats: dict[Any, list[Measurement]] = {}
    for one in measurements:
        key = (tuple(gemm for layer in one.layers for gemm in layer.gemms()), tuple(sorted(one.device.items())))
        repeats.setdefault(key, []).append(one)
    return tuple(
        dataclasses.replace(same[0], seconds=float(np.median([one.seconds for one in same])))
        for same in repeats.values()
    )
