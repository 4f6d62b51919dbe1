"""What ``hwcost sweep`` knows of its sweep: the network and the machine, and what is known from measurements."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.cli.shared.machines import ENDS
from hwcost.machine.energies import without_energy
from hwcost.machine.words import title_of, value_text
from hwcost.sweep import Sweep
from hwcost.units import CLOCKS, MARK, in_unit, plural, printable, shorten_name

if TYPE_CHECKING:
    from hwcost.cli.shared.machines import Machine
    from hwcost.devices import DeviceFile
    from hwcost.network.network import Network

__all__ = ["Context"]

_FEW = 4
"""Values of a field that the head names one by one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """The points found in a sweep of a network, read from a source, on a machine except for its rows and columns."""

    network: Network
    source: str
    machine: Machine
    found: Sweep

    @functools.cached_property
    def layers_beyond(self) -> int:
        """The number of layers beyond what the device was measured with."""
        file = self.machine.file
        return 0 if file is None else sum(bool(file.beyond(each.layer)) for each in self.network.priced.values())

    @functools.cached_property
    def seconds_90(self) -> tuple[float, float] | None:
        """The ends between which the latency on the device as it was fitted lies with 90 %; None if it has none."""
        from hwcost.reports import summarise

        file = self.machine.file
        if file is None or file.fit is None:
            return None
        same = {name: getattr(file.array, name) for name in ("rows", "cols", "dataflow", *self.found.fields)}
        if without_energy(dataclasses.replace(self.machine.array, **same)) != without_energy(file.array):
            return None
        return summarise(self.network, file, skip_unsupported=True, extrapolate=True).seconds_90

    def _is_fitted(self, file: DeviceFile, indices: Any) -> Any:
        """Whether each of some points is the array that was fitted."""
        found, fitted = self.found, file.array
        flows = np.asarray([name == fitted.dataflow for name in found.dataflows])[found.flow[indices]]
        same = (found.rows[indices] == fitted.rows) & (found.cols[indices] == fitted.cols) & flows
        for name, values in found.fields.items():
            same &= np.asarray([value == getattr(fitted, name) for value in values])[found.codes[name][indices]]
        return same

    def extrapolated(self, indices: Any) -> list[bool] | None:
        """Whether each of some points is beyond what a calibrated device was measured with: its layers, or its array.

        None for a device that was not fitted to measurements.
        """
        file = self.machine.file
        if file is None or file.fit is None:
            return None
        beyond: list[bool] = (~self._is_fitted(file, indices) | bool(self.layers_beyond)).tolist()
        return beyond

    def points(self, indices: Any) -> list[dict[str, Any]]:
        """Points; on a calibrated device with what is known from its measurements."""
        points, file = list(self.found.points(indices)), self.machine.file
        beyond = self.extrapolated(indices)
        if beyond is not None:
            points = [point | {"extrapolated": flag} for point, flag in zip(points, beyond, strict=True)]
        if file is None or self.seconds_90 is None:
            return points
        ends = dict(zip(ENDS, self.seconds_90, strict=True))
        fitted = self._is_fitted(file, indices).tolist()
        return [
            point | (ends if is_fitted else dict.fromkeys(ENDS))
            for point, is_fitted in zip(points, fitted, strict=True)
        ]

    @property
    def legend(self) -> Iterator[str]:
        """What the mark before figures says; nothing if no point has one."""
        file = self.machine.file
        if file is not None and any(self.extrapolated(np.arange(len(self.found))) or ()):
            yield (
                f"{MARK} an extrapolation: {file.name} was measured at {file.array.rows} x {file.array.cols}; at other "
                f"sizes its bandwidths and constants are an assumption; {self.layers_beyond} of "
                f"{plural(len(self.network.priced), 'layer')} are beyond the measured ones"
            )

    @functools.cached_property
    def uncharged(self) -> tuple[str, ...]:
        """What times leave out, so that they are lower bounds; nothing on a device that was fitted to measurements."""
        file = self.machine.file
        return () if file is not None and file.fit is not None else self.found.uncharged

    @property
    def title(self) -> str:
        """The network and the settings that all arrays share, on one line."""
        base, swept = self.found.base, self.found.fields
        texts = {
            "arrays": f"{base.arrays} arrays" if base.arrays > 1 else "",
            "fold_timing": f"{base.fold_timing} folds",
            "clock_hz": in_unit(base.clock_hz, CLOCKS),
            "buffer_bytes": f"buffer {value_text('buffer_bytes', base.buffer_bytes)}" if base.has_buffers else "",
            "dram_bytes_per_s": value_text("dram_bytes_per_s", base.dram_bytes_per_s) if self._has_rate else "",
        }
        energy = str(self.found.energy or self.machine.energy)
        parts = [self.machine.name or "", *(text for name, text in texts.items() if name not in swept)]
        parts.append(f"energy of {energy}" if energy else "")
        name = shorten_name(printable(self.network.name), 100)
        return f"{name}: {', '.join(filter(None, parts))}" if any(parts) else name

    @property
    def _has_rate(self) -> bool:
        """Whether the machine has a bandwidth that is not from a device."""
        rate = self.found.base.dram_bytes_per_s
        return math.isfinite(rate) and (self.machine.file is None or self.machine.file.array.dram_bytes_per_s != rate)

    @property
    def over(self) -> str:
        """The swept fields with their values in words; empty without any."""
        texts = []
        for name, values in self.found.fields.items():
            known = [value_text(name, value) for value in values]
            several = f"{len(known)} values of {title_of(name)} from {known[0]} to {known[-1]}"
            texts.append(several if len(known) > _FEW else f"{title_of(name)} {', '.join(known)}")
        return "; ".join(texts)

    @property
    def varied(self) -> tuple[str, ...]:
        """The swept fields that have several values."""
        return tuple(name for name, values in self.found.fields.items() if len(values) > 1)
