"""Measurements as values: layers, and the time that they took together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwcost.arrays import Table, as_quantity, is_number, is_real
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.importers.lists.rows import LARGEST
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import COUNT
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Layer, is_layer
from hwcost.model.moves import moves_of
from hwcost.model.shapes import layer_shape
from hwcost.units import TIMES, in_unit, plural, printable

__all__ = ["FIELDS", "Measurement", "median_of", "medians_of_repeats", "repeats_of"]

FIELDS = {name: each for name, each in SystolicArray.declarations.items() if each.kind.sweeps and each.unit != "Hz"}
"""The fields of a machine that may differ between measurements."""


@dataclass(frozen=True, repr=False)
class Measurement:
    """Layers that were run one after the other, and their latency.

    Args:
        layers: one or more layers of plain numbers.
        seconds: their latency.
        name: a label.
        group: measurements of one group are held out together when a fit is validated; empty: a group of one.
        device: fields of the measured device that differ from the fitted one.
        source: its place in errors, such as "measured.csv, line 3".
        labels: what else is known, by name, like {"tiler": "a"}: a fit does not use it, and says if its errors differ
            by it.

    Raises:
        InvalidValueError: no layers, something that is not a layer, seconds that are not a finite number above 0, an
            unknown field.

    >>> from hwcost import Linear
    >>> Measurement((Linear(400, 120),), seconds=3e-6, name="fc1").seconds
    3e-06
    """

    layers: tuple[Layer, ...]
    seconds: float
    name: str = ""
    group: str = ""
    device: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (tuple, list)) or not self.layers:
            raise InvalidValueError(self._field("layers"), self.layers, "a sequence of at least one layer")
        object.__setattr__(self, "layers", tuple(self.layers))
        for layer in self.layers:
            if not is_layer(layer) or not all(map(_is_plain, layer.gemms())):
                raise InvalidValueError(self._field("layers"), layer, "layers whose sizes are single integers")
        if not is_real(self.seconds):
            raise InvalidValueError(self._field("seconds"), self.seconds, "a finite number of seconds above 0")
        seconds = as_quantity(self.seconds, self._field("seconds"), unit="seconds", above_0=True)
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "device", Table(dict(self.device)))
        object.__setattr__(self, "labels", Table({str(name): str(value) for name, value in self.labels.items()}))
        self._check_device()

    def _check_device(self) -> None:
        for name, value in self.device.items():
            check_one_of(self._field("device"), name, FIELDS, what="field")
            if not is_real(value) or (value > LARGEST and FIELDS[name].kind is COUNT):
                raise InvalidValueError(self._field(name), value, f"a number, integers up to {LARGEST:g}")
            FIELDS[name].check(value, self._field(name))

    def _field(self, name: str) -> str:
        return f"{self.source}: {name}" if self.source else f"Measurement.{name}"

    def __repr__(self) -> str:
        layers = layer_shape(self.layers[0]) if len(self.layers) == 1 else plural(len(self.layers), "layer")
        name = f"{printable(self.name)}: " if self.name else ""
        return f"<Measurement: {name}{layers}, {in_unit(self.seconds, TIMES, 4)}>"

    @property
    def depth(self) -> int:
        """The number of its layers with products."""
        return sum(bool(layer.gemms()) for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all its layers."""
        return sum(gemm.macs for layer in self.layers for gemm in layer.gemms())


def _is_plain(gemm: Gemm) -> bool:
    return all(is_number(size) for size in (gemm.m, gemm.n, gemm.k, gemm.count, *gemm.window, *gemm.inputs))


def medians_of_repeats(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Repeats merged: the median of their seconds, in the place of the first.

    >>> from hwcost import Linear
    >>> [m.seconds for m in medians_of_repeats([Measurement((Linear(8, 8),), s) for s in (1.0, 9.0, 2.0)])]
    [2.0]
    """
    return tuple(map(median_of, repeats_of(measurements)))


def median_of(repeats: Sequence[Measurement]) -> Measurement:
    """The first of several repeats, with the median of their seconds."""
    return dataclasses.replace(repeats[0], seconds=statistics.median(one.seconds for one in repeats))


def repeats_of(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """The measurements by what was measured, in the order of the first of each."""
    repeats: dict[Any, list[Measurement]] = {}
    for one in measurements:
        work = tuple(each for layer in one.layers for each in (*layer.gemms(), *moves_of(layer)))
        key = (work, tuple(sorted(one.device.items())))
        repeats.setdefault(key, []).append(one)
    return list(repeats.values())
