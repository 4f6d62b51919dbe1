"""The accelerator that the options of a command describe."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hwcost.arrays import Table
from hwcost.cli.shared.options import block, option, option_names, parsed_by, size_option, value_of
from hwcost.cli.shared.values import parse_bytes, parse_clock, parse_name, parse_several_bytes
from hwcost.console import note
from hwcost.errors import MISSING, Faults, InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.buffers import rivals_of
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.energies import ENERGIES, Figure, figures_of, with_energy, without_energy
from hwcost.machine.energy import Energy
from hwcost.machine.folds import FOLD_TIMINGS
from hwcost.model.words import uncharged
from hwcost.units import CLOCKS, in_unit, plural, printable

if TYPE_CHECKING:
    from hwcost.advice import MeasuredCosts
    from hwcost.devices import DeviceFile

__all__ = [
    "ARRAYS",
    "BUFFER",
    "BUFFERS",
    "CLOCK",
    "DATAFLOW",
    "DEVICE",
    "ENERGY",
    "FOLD_TIMING",
    "TABLE",
    "ArrayOptions",
    "CostTable",
    "Machine",
    "adapted_device",
    "array_options",
    "check_array",
    "model_array_options",
    "parse_device",
    "parse_devices",
    "timed_options",
]

_DATAFLOWS, _FOLD_TIMINGS = ", ".join(DATAFLOWS), ", ".join(FOLD_TIMINGS)


def parse_device(option: str, text: str) -> str:
    """The name of a device, or the path of its file, which is checked."""
    from hwcost.devices import read_device

    context = click.get_current_context(silent=True)
    takes_several = context is not None and any("--devices" in each.opts for each in context.command.params)
    if option == "--device" and takes_several and (text == "all" or "," in text):
        raise InvalidValueError(option, text, f"several devices: --devices {text}", reason="it takes one")
    with value_of(option, text):
        read_device(text, field=option)
    return text


def parse_devices(option: str, text: str) -> tuple[str, ...]:
    """Devices between commas, or all that ship, each checked."""
    from hwcost.devices import device_names

    if text == "all":
        return device_names()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise InvalidValueError(option, text, "names separated by commas, each once, like tpu-v1,gemmini")
    faults = Faults()
    for name in names:
        with faults.caught():
            parse_device(option, name)
    faults.check()
    return names


DEVICE = option("--device", "NAME|FILE", "The machine: a name from hwcost devices, or a TOML file.", parse_device)
ARRAYS = size_option("--arrays", help="Arrays that share each layer.  [default: the device's, or 1]")
DATAFLOW = click.option(
    "--dataflow", metavar="NAME", callback=parsed_by(parse_name, DATAFLOWS),
    help=f"The mapping, one of: {_DATAFLOWS}.  [default: the device's, or ws]",
)  # fmt: skip
FOLD_TIMING = click.option(
    "--fold-timing", metavar="NAME", callback=parsed_by(parse_name, FOLD_TIMINGS),
    help=f"How folds overlap, one of: {_FOLD_TIMINGS}.  [default: the device's, or ideal]",
)  # fmt: skip
CLOCK = click.option(
    "--clock", metavar="FREQUENCY", callback=parsed_by(parse_clock),
    help="Clock frequency, like 1e9 or 700MHz.  [default: the device's, or 1GHz]",
)  # fmt: skip


BUFFER = click.option(
    "--buffer", metavar="BYTES", callback=parsed_by(parse_bytes),
    help="Buffer for tiles next to the array, like 64k (of 1024 bytes) or 1M.  [default: the device's, or no limit]",
)  # fmt: skip
BUFFERS = click.option(
    "--buffer", metavar="BYTES", callback=parsed_by(parse_several_bytes),
    help="Buffer for tiles next to the array, like 64k (of 1024 bytes) or 1M; several, as 64k,256k,1M, print a "
    "line for each.  [default: the device's, or no limit]",
)  # fmt: skip
ENERGY = click.option(
    "--energy", metavar="NAME", callback=parsed_by(parse_name, ENERGIES),
    help=f"Figures of energy, one of: {', '.join(ENERGIES)}.  [default: the device's, or none]",
)  # fmt: skip


class Machine(NamedTuple):
    """An array, and the device file that it was read from.

    Attributes:
        array: the accelerator, with the changes that the options make.
        file: the device; None for an array that is made of options alone.
        energy: the name of the table that its figures of energy are from; empty for those of the device.
        figures: these figures.
        memory_bytes: the size of the memory that they are for, if the array states no buffer.
    """

    array: SystolicArray
    file: DeviceFile | None
    energy: str = ""
    figures: Mapping[str, Figure] = Table({})
    memory_bytes: float | None = None

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
        name = "" if self.file is None else f"{self.file.name}{self._changes()}: "
        energy = f", energy of {self.energy}" if self.energy else ""
        return f"{name}{self.array.in_words}{energy}"

    @property
    def uncharged(self) -> tuple[str, ...]:
        """What times leave out, so that they are lower bounds; nothing for a device that was fitted to measurements."""
        return () if self.file is not None and self.file.fit is not None else uncharged(self.array)

    @property
    def energy_settings(self) -> dict[str, Any]:
        """Where the figures of energy are from, as plain data: the table and, for each of them, status and source."""
        entries = {} if self.file is None or self.energy else self.file.entries
        figures: Mapping[str, Any] = self.figures or {
            name: entries[name] for name in Energy.declarations if name in entries
        }
        if not figures:
            return {"energy": None, "energy_source": None}
        row = ENERGIES[self.energy] if self.energy else None
        return {
            "energy": self.energy or None,
            "energy_source": {
                "node": None if row is None else row.node,
                "source": f"the device {self.name}" if row is None else row.source,
                "memory_bytes": self.memory_bytes,
                "figures": {
                    name: {"value": each.value, "unit": Energy.declarations[name].unit, "status": each.status,
                           "source": each.source}
                    for name, each in figures.items()
                },
            },
        }  # fmt: skip

    def interval(self, parts: Iterable[tuple[Any, float]]) -> tuple[float, float] | None:
        """The ends between which the latency of layers lies with 90 %; None unless they are those of the fitted device.

        Args:
            parts: layers with their seconds.
        """
        is_fitted = self.file is not None and without_energy(self.file.array) == without_energy(self.array)
        return self.file.interval(parts) if self.file is not None and is_fitted else None

    def _changes(self) -> str:
        """What differs from the device of that name."""
        array, device = self.array, self.file.array if self.file is not None else self.array
        words = {
            "rows": f"{array.rows} rows", "cols": f"{array.cols} columns", "arrays": plural(array.arrays, "array"),
            "dataflow": f"dataflow {array.dataflow}",
            "fold_timing": f"{array.fold_timing} folds", "clock_hz": in_unit(array.clock_hz, CLOCKS),
        }  # fmt: skip
        changed = [text for name, text in words.items() if getattr(array, name) != getattr(device, name)]
        return f" with {', '.join(changed)}" if changed else ""


class CostTable(NamedTuple):
    """A table of measured costs in place of a machine.

    Attributes:
        array: the costs, which stand in for an array.
        path: of the file.
    """

    array: MeasuredCosts
    path: str

    @property
    def label(self) -> str:
        """The table on one line."""
        rows, layers = plural(self.array.rows, "row"), plural(len(self.array.layers), "layer")
        return f"{printable(self.path)}: measured costs, {rows} of {layers}"


OPTIONS = (
    "--device", "--s1", "--s2", "--arrays", "--dataflow", "--fold-timing", "--clock", "--buffer", "--energy",
)  # fmt: skip
"""The options that describe one array."""


class ArrayOptions(NamedTuple):
    """The values of the options that describe one array; None for those that were not given."""

    device: str | None = None
    array_rows: int | None = None
    array_cols: int | None = None
    arrays: int | None = None
    dataflow: str | None = None
    fold_timing: str | None = None
    clock: float | None = None
    buffer: float | tuple[float, ...] | None = None
    energy: str | None = None

    def read_table(self, path: str) -> CostTable:
        """The table of measured costs given as --table; raises if there are options of an array as well."""
        from hwcost.importers.lists import read_costs

        faults = Faults()
        for name, value in zip(OPTIONS, self, strict=True):
            if value is not None:
                reason = "--table is given as well"
                faults.add(InvalidValueError(name, value, "leave one of them out", reason=reason))
        with (
            faults.caught(),
            option_names({"the table of costs": "--table"}),
            warnings.catch_warnings(record=True) as found,
        ):
            warnings.simplefilter("always", UserWarning)
            costs = read_costs(path)
        faults.check()
        for each in found:
            note(str(each.message))
        return CostTable(costs, path)

    def read(self, option: str = "--device", bare: SystolicArray | None = None) -> Machine:
        """The machine; raises if there is no device, and neither both sizes nor a bare array to change.

        Args:
            option: the one that gives the device, for errors.
            bare: the array to change if there is no device.
        """
        file = None
        if self.device is not None:
            from hwcost.devices import read_device

            with value_of(option, self.device):
                file = read_device(self.device, field=option)
            if file.doubts:
                note(f"{file.name} is in doubt: {'; '.join(file.doubts)}")
        base = bare if file is None else file.array
        if base is None:
            if self.array_rows is None or self.array_cols is None:
                missing = "--s1" if self.array_rows is None else "--s2"
                raise InvalidValueError(missing, MISSING, "the rows and columns of an array, or a --device")
            base = SystolicArray(self.array_rows, self.array_cols)
        names = ("rows", "cols", "arrays", "dataflow", "fold_timing", "clock_hz", "buffer_bytes")
        changes = {name: value for name, value in zip(names, self[1:-1], strict=True) if value is not None}
        memory: Any = None
        machine = "this machine" if file is None else file.name
        if self.energy is not None and (rivals := rivals_of(base)):  # it has a model of what a buffer would do
            memory = changes.pop("buffer_bytes", None)
            if memory is not None:
                note(
                    f"--buffer is for --energy alone on {machine}: what is read again follows from the device's "
                    f"{', '.join(rivals)}"
                )
        with option_names({"SystolicArray.buffer_bytes": "--buffer", "energy": "--energy"}):
            array = adapted_device(base, **changes)
            if self.energy is None:
                return Machine(array, file)
            if memory is None and not array.has_buffers and file is not None:
                memory = file.memory_bytes
            figures = figures_of(array, self.energy, memory_bytes=memory)
            array = with_energy(array, self.energy, memory_bytes=memory)
            for name, each in figures.items():
                if each.status == "assumed":
                    note(f"energy: {name} of {self.energy} is assumed for {machine}: {each.source}")
        return Machine(array, file, self.energy, figures, memory)


_TIMED = (
    DEVICE,
    size_option("--s1", "--rows", "array_rows", help="Rows of the array.  [default: the device's]"),
    size_option("--s2", "--cols", "array_cols", help="Columns of the array.  [default: the device's]"),
    ARRAYS,
    DATAFLOW,
    FOLD_TIMING,
    CLOCK,
)
timed_options = block("array", ArrayOptions, *_TIMED)
"""Adds the options that describe one array; the command takes them as ``array``, and may have ``BUFFER`` as well."""
array_options = block("array", ArrayOptions, *_TIMED, BUFFER, ENERGY)
"""The same for a command that tells the energy."""
model_array_options = block("array", ArrayOptions, *_TIMED, BUFFERS, ENERGY)
"""The same with several sizes of the buffer: one is a number, more are a tuple."""
TABLE = option(
    "--table",
    "FILE.csv",
    "Measured costs in place of an array: a row for each layer, in and out, with s, ms, us or cycles.",
)


def check_array(array: ArrayOptions) -> None:
    """Raises if the options describe no machine."""
    array.read()


def adapted_device(base: SystolicArray, **changes: Any) -> SystolicArray:
    """The device with some fields changed; a note on stderr names those that then have no effect."""
    array, dropped = adapt(base, **changes)
    for name in dropped:
        given = ", ".join(f"{key} {value}" for key, value in changes.items())
        note(f"the device's {name} has no effect with {given} and is left out")
    return array
