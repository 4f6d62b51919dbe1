"""What points of a sweep are compared in: columns of which less is better."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from hwcost.arrays import Table
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.sweep.fields import BUFFERS

__all__ = ["DEFAULT", "OBJECTIVES", "Objective", "check_objectives"]

DEFAULT = ("time", "pes")
"""The objectives of every sweep, unless others are chosen."""


class Objective(NamedTuple):
    """A row of :data:`OBJECTIVES`.

    Attributes:
        words: for titles.
        column: the attribute of a :class:`hwcost.sweep.Sweep`.
        figure: the figure that has to be priced for it; empty for none.
    """

    words: str
    column: str
    figure: str = ""


OBJECTIVES = Table({
    "time": Objective("time", "time"),
    "pes": Objective("PEs", "pes"),
    "energy": Objective("energy", "energy_joules", "energy_joules"),
    "edp": Objective("energy times delay", "energy_delay", "energy_joules"),
    "buffer": Objective("bytes of buffers", "all_buffer_bytes"),
    "dram": Objective("bytes of DRAM", "dram_bytes", "dram_bytes"),
    "sram": Objective("bytes of SRAM", "sram_bytes", "sram_bytes"),
})  # fmt: skip
"""What a front may be of, by name."""


def check_objectives(chosen: Collection[str] | None, fields: Collection[str], *, has_energy: bool) -> tuple[str, ...]:
    """The objectives of a front: those chosen or, by default, time, PEs, energy if it is known, and swept buffers.

    Args:
        chosen: names; None for the default.
        fields: that are swept.
        has_energy: whether there are figures of energy.

    Raises:
        InvalidValueError: an unknown name, none or one twice, energy without figures, buffers that are not swept.

    >>> check_objectives(None, ["buffer_bytes"], has_energy=False)
    ('time', 'pes', 'buffer')
    """
    has_buffers = not set(BUFFERS).isdisjoint(fields)
    if chosen is None:
        return (*DEFAULT, *["energy"] * has_energy, *["buffer"] * has_buffers)
    if isinstance(chosen, str) or not chosen or len(set(chosen)) < len(chosen):
        raise InvalidValueError("objectives", chosen, f"some of {', '.join(OBJECTIVES)}, each once")
    for name in chosen:
        check_one_of("objectives", name, OBJECTIVES)
    of_energy = [name for name in chosen if OBJECTIVES[name].figure == "energy_joules"]
    if of_energy and not has_energy:
        reason = "there are no figures of energy"
        raise InvalidValueError(
            "objectives",
            of_energy[0],
            "figures of energy: those of the machine, or of a table (energy=, --energy)",
            reason=reason,
        )
    if "buffer" in chosen and not has_buffers:
        raise InvalidValueError("objectives", "buffer", "leave it out, or sweep a buffer", reason="no buffer is swept")
    return tuple(chosen)
