"""Measurements as columns: all products of all of them are one product whose sizes are arrays, priced in one call.

A measurement is a run of a network, be it of one layer: what a run takes on top of its layers is part of it
(:mod:`hwcost.network.run`), and so is the time of operations without products.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from hwcost.calibration.measurements import Measurement
from hwcost.calibration.result import Array
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.formula import price
from hwcost.model.gemm import Gemm
from hwcost.model.moves import Move, move_cycles, moves_of
from hwcost.network.run import Ends, ends_of, spill_move, spilled_weights

__all__ = ["Stack"]

_MOST = 100_000
"""Products of all rows that are priced in one call."""


@dataclass(frozen=True)
class Stack:
    """Measurements as one product whose sizes are arrays.

    Attributes:
        gemm: all their products as one, each size a float array over them (floats, since they never overflow).
        owner: for each product the position of its measurement.
        seconds: measured, for each measurement.
        fields: fields of the device that differ between measurements, an array over the products each.
        moved: elements of operations without products, for each measurement.
        ends: elements of the inputs and outputs of each measurement.
        layers: the layers of each measurement, whose weights may not fit.
    """

    gemm: Gemm
    owner: Array
    seconds: Array
    fields: dict[str, Array]
    moved: Array
    ends: Array
    layers: tuple[tuple[Any, ...], ...]
    _known: dict[Any, Array] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, measurements: Sequence[Measurement], device: SystolicArray) -> Stack:
        """The measurements in order.

        Raises:
            InvalidValueError: measurements without any product, one without a field that others have, or without a
                product among others on different machines.
        """
        gemms = [(i, gemm) for i, one in enumerate(measurements) for layer in one.layers for gemm in layer.gemms()]
        if not gemms:
            allowed = "at least one of a layer with products"
            raise InvalidValueError("measurements", len(measurements), allowed, reason="none of them has a product")
        owner = np.array([index for index, _ in gemms])
        stacked = Gemm.stack([gemm for _, gemm in gemms], lambda columns: [np.array(c, dtype=float) for c in columns])
        names = dict.fromkeys(name for one in measurements for name in one.device)
        fields = {name: np.array([_field_of(measurements[i], name, device) for i in owner]) for name in names}
        if names and len(set(owner.tolist())) < len(measurements):
            allowed = f"none beside a column for the machine of each row ({', '.join(names)})"
            raise InvalidValueError("a measurement without products", len(measurements), allowed)
        ends = (ends_of(_named(one.layers)) for one in measurements)
        return cls(
            stacked,
            owner,
            np.array([one.seconds for one in measurements]),
            fields,
            np.array([_moved(one) for one in measurements], dtype=float),
            np.array([each.inputs + each.outputs for each in ends], dtype=float),
            tuple(tuple(one.layers) for one in measurements),
        )

    def predict(self, machine: SystolicArray, numbers: Mapping[str, Array] = MappingProxyType({})) -> Array:
        """Seconds of every measurement on a machine with the fields that differ between measurements as arrays.

        Args:
            machine: with these fields.
            numbers: fields to set, each an array with a row for each device to price, and a column for each product or
                one for all. The result has the same rows.
        """
        rows = max(map(len, numbers.values()), default=1)
        at_once = max(1, _MOST // len(self.owner))
        parts = []
        for start in range(0, rows, at_once):
            own: dict[str, Any] = {name: number[start : start + at_once] for name, number in numbers.items()}
            parts.append(self._predict(dataclasses.replace(machine, **own), min(at_once, rows - start)))
        return np.concatenate(parts)

    def _predict(self, machine: SystolicArray, rows: int) -> Array:
        cycles = np.broadcast_to(price(self.gemm, machine).cycles, (rows, len(self.owner)))
        owners, first = np.unique(self.owner, return_index=True)
        found = np.zeros((rows, len(self.seconds)))
        found[:, owners] = np.add.reduceat(cycles, first, axis=1)
        if is_finite(machine.vector_bytes_per_s) or machine.has_run:
            found = found + self._beyond_products(machine, first)
        return np.asarray(found / machine.clock_hz)

    def _beyond_products(self, machine: SystolicArray, first: Array) -> Any:
        """The cycles of operations without products, and of what a run takes on top of its layers."""
        # all products of a measurement are of one machine
        own = ((name, value) for name, value in machine.stated() if name in self.fields)
        arrays: Any = {name: value[..., first] for name, value in own if isinstance(value, np.ndarray)}
        machine = dataclasses.replace(machine, **arrays)
        moves = [Move(self.moved, "vector_bytes_per_s"), *Ends(self.ends, 0.0).moves()]
        if machine.may_spill:
            moves.append(spill_move(self._spilled(machine)))
        return sum(cycles for move in moves for cycles in move_cycles(move, machine))

    def _spilled(self, machine: SystolicArray) -> Array:
        """Elements of the weights that do not fit, for each measurement; no fit changes them, so they are kept."""
        key = tuple(str(getattr(machine, name)) for name in _STORES)
        if key not in self._known:
            sizes = np.broadcast_arrays(*(getattr(machine, name) for name in _STORES), self.seconds)[:-1]
            rows = zip(self.layers, *(own.tolist() for own in sizes), strict=True)
            self._known[key] = np.array([_spilled_elements(layers, own) for layers, *own in rows])
        return self._known[key]


_STORES = ("weight_capacity_bytes", "filter_multiple", "bytes_per_element")


def _spilled_elements(layers: Sequence[Any], stores: Sequence[Any]) -> float:
    own = dict(zip(_STORES, stores, strict=True))
    machine = SystolicArray(1, 1, spill_bytes_per_s=1.0, **own | {"filter_multiple": int(own["filter_multiple"])})
    return float(spilled_weights(_named(layers), machine)[1])


def _named(layers: Sequence[Any]) -> dict[str, Any]:
    return {str(index): layer for index, layer in enumerate(layers)}


def _moved(one: Measurement) -> float:
    return float(sum(move.elements for layer in one.layers for move in moves_of(layer)))


def _field_of(one: Measurement, name: str, device: SystolicArray) -> Any:
    """The field of the machine of a measurement; that of the device if the measurement does not give it."""
    if name in one.device:
        return one.device[name]
    value = device.effective(name)
    if value is None:
        where = f"{one.source}: {name}" if one.source else f"Measurement.device[{name!r}]"
        raise InvalidValueError(where, MISSING, "a number in every measurement, since the device has none")
    return value
