"""SCALE-Sim's configurations: the array and its memories, read and written."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwcost.errors import MISSING, InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.scalesim.counting import serial_array
from hwcost.scalesim.files import INTEGER_ALLOWED, PathLike, read_text, size, write_text

__all__ = ["Configuration", "read_configuration", "write_configuration"]


@dataclass(frozen=True)
class Configuration:
    """The part of a configuration that matters for stall-free cycles, and the sizes of the memories.

    Attributes:
        run_name: of the run; SCALE-Sim names the folder of its reports after it.
        array: with serial folds.
        input_kb, weight_kb, output_kb: sizes of the memories (IFMAP, filter, OFMAP) in units of 1024 elements; None
            if the file does not state them.
        notes: settings of the file that do not change stall-free cycles and are ignored.
    """

    run_name: str
    array: SystolicArray
    input_kb: int | None = None
    weight_kb: int | None = None
    output_kb: int | None = None
    notes: tuple[str, ...] = ()


MEMORIES = {"input_kb": "IfmapSramSzkB", "weight_kb": "FilterSramSzkB", "output_kb": "OfmapSramSzkB"}
"""The option that gives the size of each memory, by the field of :class:`Configuration`."""

_GENERAL, _ARCHITECTURE, _RUN, _SPARSITY, _LAYOUT = "general", "architecturepresets", "runpresets", "sparsity", "layout"


def read_configuration(path: PathLike) -> Configuration:
    """The array of a configuration file.

    Needed are ArrayHeight, ArrayWidth and Dataflow in [architecture_presets]. Names of sections and options may be
    written in any case, with or without underscores and spaces. The rest may be missing.

    Args:
        path: of the file.

    Raises:
        InvalidValueError: a file that cannot be read, an option that is missing or invalid, or one that would change
            the cycles and is not covered here: SparsitySupport. The error names file and line.
    """
    options = _Options(Path(path))
    if options.flag(_SPARSITY, "SparsitySupport"):
        raise options.error(_SPARSITY, "SparsitySupport", "false: sparsity changes the cycles, and is not covered here")
    rows, cols = (options.integer(_ARCHITECTURE, name) for name in ("ArrayHeight", "ArrayWidth"))
    dataflow = options.choice(_ARCHITECTURE, "Dataflow", tuple(DATAFLOWS))
    given = {field: name for field, name in MEMORIES.items() if options.get(_ARCHITECTURE, name) is not None}
    return Configuration(
        run_name=options.get(_GENERAL, "run_name") or "scale_run",
        array=serial_array(rows, cols, dataflow),
        notes=tuple(_notes(options)),
        **{field: options.integer(_ARCHITECTURE, name) for field, name in given.items()},
    )


def _notes(options: _Options) -> Iterator[str]:
    if (
        options.get(_RUN, "InterfaceBandwidth")
        and options.choice(_RUN, "InterfaceBandwidth", ("calc", "user")) == "user"
    ):
        yield "InterfaceBandwidth is USER: bandwidths are ignored, cycles are those without stalls"
    if options.flag(_RUN, "UseRamulatorTrace"):
        yield "UseRamulatorTrace is ignored: it changes stalls only"
    for name in ("IfmapCustomLayout", "FilterCustomLayout"):
        if options.flag(_LAYOUT, name) or options.flag(_ARCHITECTURE, name):
            yield f"{name} is ignored: it changes stalls only"


class _Options:
    """The options of a configuration file by section and name, both in small letters and without underscores."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = [line.strip() for line in read_text(path, "configuration").splitlines()]
        parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
        parser.optionxform = _plain_name  # type: ignore[assignment,method-assign]
        try:
            parser.read_string("\n".join(lines), source=str(path))
        except configparser.Error as error:
            line = getattr(error, "lineno", None) or error.errors[0][0]  # type: ignore[attr-defined]
            allowed = "[sections] with options like ArrayHeight = 32, each once"
            raise InvalidValueError(f"{path}, line {line},", lines[line - 1], allowed) from None
        self._lines = dict(_option_lines(lines))
        self._values: dict[tuple[str, str], str] = {}
        for section in parser.sections():
            for name, value in parser.items(section):
                key = _plain_name(section), name
                if key in self._values:
                    raise self.error(*key, "each option once; its section is there more than once")
                self._values[key] = value.strip("\"'").strip()

    def get(self, section: str, name: str) -> str | None:
        return self._values.get((section, _plain_name(name)))

    def error(self, section: str, name: str, allowed: str | Sequence[str]) -> InvalidValueError:
        value, line = self.get(section, name), self._lines.get((section, _plain_name(name)))
        where = f"{name} in {self.path}" + ("" if line is None else f", line {line},")
        return InvalidValueError(where, MISSING if value is None else value, allowed)

    def integer(self, section: str, name: str) -> int:
        found = size(self.get(section, name) or "")
        if found is None:
            raise self.error(section, name, INTEGER_ALLOWED)
        return found

    def choice(self, section: str, name: str, allowed: tuple[str, ...]) -> str:
        value = (self.get(section, name) or "").lower()
        if value not in allowed:
            raise self.error(section, name, allowed)
        return value

    def flag(self, section: str, name: str) -> bool:
        value = (self.get(section, name) or "false").lower()
        if value not in configparser.ConfigParser.BOOLEAN_STATES:
            raise self.error(section, name, "true or false")
        return configparser.ConfigParser.BOOLEAN_STATES[value]


def _plain_name(name: str) -> str:
    return re.sub(r"[\s_]+", "", name).lower()


def _option_lines(lines: list[str]) -> Iterator[tuple[tuple[str, str], int]]:
    """The line of every option, which configparser does not keep."""
    section = ""
    for number, line in enumerate(lines, start=1):
        if heading := re.match(r"\[([^\]]+)\]", line):
            section = _plain_name(heading[1])
        elif option := re.match(r"([^=:]+)[=:]", line):
            yield (section, _plain_name(option[1])), number


def check_memories(config: Configuration) -> None:
    """Raises unless a configuration gives the size of each memory."""
    for field, option in MEMORIES.items():
        if getattr(config, field) is None:
            allowed = f"the size of the memory in kB, {option} under [architecture_presets]"
            raise InvalidValueError(f"Configuration.{field}", MISSING, allowed)


def write_configuration(path: PathLike, config: Configuration) -> None:
    """Writes a configuration with everything that SCALE-Sim requires, in calculated-bandwidth mode.

    Raises:
        InvalidValueError: a memory without a size, or a file that cannot be written.
    """
    check_memories(config)
    sizes = "".join(f"{option} = {getattr(config, field)}\n" for field, option in MEMORIES.items())
    array = config.array
    write_text(path, _TEMPLATE.format(config.run_name, array.rows, array.cols, array.dataflow, sizes))


_TEMPLATE = """\
[general]
run_name = {}

[architecture_presets]
ArrayHeight = {}
ArrayWidth = {}
Dataflow = {}
{}IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = 10
ReadRequestBuffer = 64
WriteRequestBuffer = 64

[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2

[sparsity]
SparsitySupport = false

[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
