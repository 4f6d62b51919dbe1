"""Tables on pages, in Markdown, made from the package so that they cannot fall behind it.

A page has two lines between which a table belongs. ``tools/refresh_pages.py`` puts it there, and a test compares:

    <!-- table-of: shipped-devices -->

    <!-- end of table -->
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import hwcost
import hwcost.calibration
import nas_plugin
from hwcost import SystolicArray
from hwcost.devices import FACT_UNITS, FIELD_UNITS, DeviceFile, Entry, device_names, read_device
from hwcost.devices.chips import PART
from hwcost.devices.values import REQUIRED
from hwcost.machine.energies import ENERGIES
from hwcost.machine.fields import Declaration
from hwcost.tables import markdown_table


def filled(text: str) -> str:
    r"""A page with its tables as they are now.

    >>> print(filled("<!-- table-of: lowerings -->\n<!-- end of table -->").splitlines()[2])
    | name | what it is |
    """
    return _PLACE.sub(lambda found: f"{found[1]}\n\n{TABLES[found[2]]()}\n\n{found[3]}", text)


_PLACE = re.compile(r"^(<!-- table-of: (\S+) -->)\n.*?^(<!-- end of table -->)$", flags=re.MULTILINE | re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""A table in Markdown.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def people_s(entry: Entry) -> str:
    """A value in the units that people read; names as code.

    >>> people_s(Entry("ws", "", "published", "a page"))
    '`ws`'
    """
    return f"`{entry.in_words}`" if isinstance(entry.value, str) else entry.in_words


def shipped_devices() -> str:
    """A row for each device that ships with the package; one array of a chip is not listed."""

    def row(file: DeviceFile) -> tuple[str, ...]:
        of_array = (people_s(file.entries[name]) for name in ("clock_hz", "dataflow", "fold_timing"))
        size = file.array.size_in_words
        return f"[`{file.name}`](device-sources.md#{_slug(file.name)})", size, *of_array, _memory(file), _peak(file)

    head = ["device", "array", "clock", "dataflow", "fold timing", "memory", "peak"]
    return table(head, map(row, map(read_device, _files())))


def device_fields() -> str:
    """A row for each field that a device file can hold, from its declaration: unit, default and words."""

    def row(name: str) -> tuple[str, ...]:
        declared = SystolicArray.declarations[name]
        default = "needed" if name in REQUIRED else _default(declared.neutral)
        return f"`{name}`", declared.unit and f"`{declared.unit}`", default, _linked(declared.text), _need(declared)

    return table(["field", "unit", "left out", "what it is", "needs"], map(row, FIELD_UNITS))


def rows_of(rows: Mapping[str, Any]) -> str:
    r"""The rows of one of the package's tables: name and summary.

    >>> print(rows_of(hwcost.LOWERINGS).splitlines()[2])
    | `im2col` | one product with k = kernel height \* kernel width \* channels |
    """
    return table(["name", "what it is"], ((f"`{name}`", _linked(row.summary)) for name, row in rows.items()))


def fitted() -> str:
    """A row for each number that can be fitted, with the unit of its field."""

    def row(name: str, parameter: hwcost.calibration.FitParameter) -> tuple[str, ...]:
        unit = SystolicArray.declarations[parameter.fields[0]].unit
        return f"`{name}`", unit and f"`{unit}`", _linked(parameter.summary)

    return table(["name", "unit", "what it is"], itertools.starmap(row, hwcost.calibration.FIT_PARAMETERS.items()))


def common_facts() -> str:
    """A row for each fact that means the same in every file."""
    return table(["fact", "unit"], ((f"`{name}`", f"`{unit}`") for name, unit in FACT_UNITS.items()))


def device_sources() -> str:
    """A section for each shipped device: every value with its status and source, and the notes."""
    return "\n\n".join(map(_section, map(read_device, _files())))


def schemas() -> str:
    """The JSON Schemas, each by the name that a document has."""
    files = sorted((Path(__file__).parent / "schemas").iterdir())
    names = [json.loads(path.read_text(encoding="utf-8"))["title"] for path in files]
    rows = [(f"`{name}`", f"[{path.name}](schemas/{path.name})") for name, path in zip(names, files, strict=True)]
    return markdown_table([("schema of a document", "JSON Schema"), *rows])


TABLES: Mapping[str, Callable[[], str]] = {
    "shipped-devices": shipped_devices,
    "device-fields": device_fields,
    "common-facts": common_facts,
    "device-sources": device_sources,
    "dataflows": functools.partial(rows_of, hwcost.DATAFLOWS),
    "fold-timings": functools.partial(rows_of, hwcost.FOLD_TIMINGS),
    "lowerings": functools.partial(rows_of, hwcost.LOWERINGS),
    "energies": functools.partial(rows_of, ENERGIES),
    "relaxations": functools.partial(rows_of, hwcost.RELAXATIONS),
    "fitted": fitted,
    "forms": functools.partial(rows_of, hwcost.calibration.FORMS),
    "latencies": lambda: rows_of(nas_plugin.LATENCIES),
    "methods": lambda: rows_of(nas_plugin.METHODS),
    "schemas": schemas,
}
"""Every table by the name that pages use."""


# ---------------------------------------------------------------- parts


def _files() -> list[str]:
    """The devices that have a file of their own."""
    return [name for name in device_names() if not name.endswith(PART)]


def _memory(file: DeviceFile) -> str:
    rates = {"": "dram_bytes_per_s"} | {f"{what}s ": f"{what}_bytes_per_s" for what in ("weight", "input", "output")}
    known = [f"{what}{people_s(file.entries[name])}" for what, name in rates.items() if name in file.entries]
    return ", ".join(known) or "not limited"


def _peak(file: DeviceFile) -> str:
    if "peak_ops_per_s" not in file.facts:
        return ""
    return people_s(file.facts["peak_ops_per_s"])


def _section(file: DeviceFile) -> str:
    entries = [*file.entries.items(), *((f"{name} (fact)", entry) for name, entry in file.facts.items())]
    rows = (
        (f"`{name}`".replace(" (fact)`", "` (fact)"), people_s(e), e.status, _linked(e.source)) for name, e in entries
    )
    parts = [f"## {file.name}", _linked(file.summary), table(["", "value", "status", "source"], rows)]
    return "\n\n".join([*parts, "\n".join(f"- {_linked(note)}" for note in file.notes)])


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", name.lower())


def _linked(text: str) -> str:
    r"""Text of a device file as Markdown: addresses are links, and nothing else is markup.

    >>> _linked("2 * 3, see https://nvdla.org")
    '2 \\* 3, see <https://nvdla.org>'
    """
    parts = re.split(r"(https?://\S*[^\s.,;)])", text)
    return "".join(
        f"<{part}>" if index % 2 else re.sub(r"([\\`*_<\[])", r"\\\1", part) for index, part in enumerate(parts)
    )


def _need(declared: Declaration) -> str:
    return "" if declared.need is None else _linked(declared.need.words)


def _default(value: object) -> str:
    if value is None or value == math.inf:
        return "none" if value is None else "no limit"
    if isinstance(value, bool) or value == ():
        return "no" if not value else "yes"
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"
