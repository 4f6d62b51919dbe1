"""What ``hwcost sweep`` knows of its sweep: the network and the machine, and what is known from measurements."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hwcost.machine.words import title_of, value_text
from hwcost.sweep import Sweep
from hwcost.sweep.measured import layers_beyond
from hwcost.units import CLOCKS, MARK, in_unit, plural, printable, shorten_name

if TYPE_CHECKING:
    from hwcost.cli.shared.machines import Machine
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

    @property
    def legend(self) -> Iterator[str]:
        """What the mark before figures says; nothing if no point has one."""
        file = self.machine.file
        if file is not None and self.found.is_beyond.any():
            yield (
                f"{MARK} an extrapolation: {file.name} was measured at {file.array.rows} x {file.array.cols}; at other "
                f"sizes its bandwidths and constants are an assumption; {layers_beyond(file, self.network)} of "
                f"{plural(len(self.network.priced), 'layer')} are beyond the measured ones"
            )

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
