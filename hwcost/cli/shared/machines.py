"""The accelerator that the options of a command describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hwcost.cli.shared.options import block, size_option, value_of
from hwcost.cli.shared.values import parse_clock, parse_name
from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.folds import FOLD_TIMINGS

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile

__all__ = [
    "CLOCK", "DATAFLOW", "DEVICE", "FOLD_TIMING", "ArrayOptions", "Machine", "adapted_device", "array_options",
    "changed_device", "read_device_option",
]  # fmt: skip

DEVICE = click.option("--device", metavar="NAME|FILE", help="The machine: a name from hwcost devices, or a TOML file.")
DATAFLOW = click.option(
    "--dataflow", metavar="NAME", help=f"The mapping, one of: {', '.join(DATAFLOWS)}.  [default: the device's, or ws]"
)
FOLD_TIMING = click.option(
    "--fold-timing",
    metavar="NAME",
    help=f"How folds overlap, one of: {', '.join(FOLD_TIMINGS)}.  [default: the device's, or ideal]",
)
CLOCK = click.option(
    "--clock", metavar="FREQUENCY", help="Clock frequency, like 1e9 or 700MHz.  [default: the device's, or 1GHz]"
)


class Machine(NamedTuple):
    """An array, and the device file that it was read from.

    Attributes:
        array: the accelerator, with the changes that the options make.
        file: the device; None for an array that is made of options alone.
    """

    array: SystolicArray
    file: DeviceFile | None

    @property
    def name(self) -> str | None:
        """The name of the device."""
        return None if self.file is None else self.file.name

    @property
    def label(self) -> str:
        """The accelerator on one line.

        >>> Machine(SystolicArray(8, 16), None).label
        '8 x 16, weight stationary, ideal folds'
        """
        array = self.array
        name = "" if self.file is None else f"{self.file.name}: "
        return f"{name}{array.rows} x {array.cols}, {array.dataflow_row.summary}, {array.fold_timing} folds"


class ArrayOptions(NamedTuple):
    """The values of the options that describe one array; None for those that were not given."""

    device: str | None
    s1: int | None
    s2: int | None
    dataflow: str | None
    fold_timing: str | None
    clock: str | None

    def read(self, option: str = "--device") -> Machine:
        """The machine; raises if there is neither a device nor both sizes. Errors in the device name the option."""
        file = None if self.device is None else read_device_option(self.device, option)
        sizes = {name: size for name, size in (("rows", self.s1), ("cols", self.s2)) if size is not None}
        if file is None and len(sizes) < 2:
            missing = "--s2" if "rows" in sizes else "--s1"
            raise InvalidValueError(missing, MISSING, "the rows and columns of an array, or a --device")
        base = SystolicArray(sizes["rows"], sizes["cols"]) if file is None else file.array
        changed = changed_device(base, dataflow=self.dataflow, fold_timing=self.fold_timing, clock=self.clock, **sizes)
        return Machine(changed, file)


array_options = block(
    "array",
    ArrayOptions,
    DEVICE,
    size_option("--s1", "--rows", "s1", help="Rows of the array.  [default: the device's]"),
    size_option("--s2", "--cols", "s2", help="Columns of the array.  [default: the device's]"),
    DATAFLOW,
    FOLD_TIMING,
    CLOCK,
)
"""Adds the options that describe one array; the command takes them as ``array``."""


def read_device_option(device: str, option: str = "--device") -> DeviceFile:
    """The device that an option names."""
    from hwcost.devices import read_device

    with value_of(option, device):
        return read_device(device, field=option)


def changed_device(
    base: SystolicArray,
    *,
    dataflow: str | None = None,
    fold_timing: str | None = None,
    clock: str | None = None,
    **sizes: int,
) -> SystolicArray:
    """The device with the changes that the options make; ``sizes`` are rows and columns."""
    changes: dict[str, Any] = dict(sizes)
    for name, value, table in (("dataflow", dataflow, DATAFLOWS), ("fold_timing", fold_timing, FOLD_TIMINGS)):
        if value is not None:
            changes[name] = parse_name(f"--{name.replace('_', '-')}", value, table)
    if clock is not None:
        changes["clock_hz"] = parse_clock("--clock", clock)
    return adapted_device(base, **changes)


def adapted_device(base: SystolicArray, **changes: Any) -> SystolicArray:
    """The device with some fields changed; a note on stderr names those that then have no effect."""
    array, dropped = adapt(base, **changes)
    for name in dropped:
        given = ", ".join(f"{key} {value}" for key, value in changes.items())
        click.echo(f"Note: the device's {name} has no effect with {given} and is left out", err=True)
    return array
