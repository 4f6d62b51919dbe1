"""``hwcost devices``: the machines that come with the package, and every number of one with its source."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost._console import Commands
from hwcost.cli.workload import read_device_option
from hwcost.errors import InvalidValueError

if TYPE_CHECKING:
    from hwcost.presets import DeviceFile, Entry

__all__ = ["devices"]

SCHEMA = "hwcost.devices/1"

_SCALED = ("Hz", "B", "B/s", "op/s")
_PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


@click.group(cls=Commands, listing=True, short_help="The machines that --device knows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def devices(ctx: click.Context, *, as_json: bool) -> None:
    """Lists the devices that come with the package; hwcost devices show NAME tells all of one."""
    from hwcost.presets import device_names, read_device

    if ctx.invoked_subcommand is not None:
        if as_json:
            raise InvalidValueError(
                "--json", "before the command", f"behind it: hwcost devices {ctx.invoked_subcommand}"
            )
        return
    files = [read_device(name) for name in device_names()]
    if as_json:
        click.echo(_json({"devices": [_as_dict(file) for file in files]}))
        return
    width = max(len(file.name) for file in files)
    for file in files:
        array = file.array
        size = f"{array.rows} x {array.cols}"
        calibrated = " (calibrated)" if file.fit is not None else ""
        click.echo(f"{file.name:<{width}}  {size:<9}  {array.clock_hz / 1e6:>6.6g} MHz  {file.summary}{calibrated}")


@devices.command(short_help="Every number of one device, with its source.")
@click.argument("device", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(device: str, *, as_json: bool) -> None:
    """Every number of a device with its unit, its source, and whether it was published, derived or assumed."""
    try:
        file = read_device_option(device)
    except InvalidValueError as error:
        field = "NAME|FILE" if error.field == "--device" else error.field
        raise InvalidValueError(field, error.value, error.allowed) from None
    click.echo(_json(_as_dict(file)) if as_json else "\n".join(_lines(file)))


def _json(content: Mapping[str, Any]) -> str:
    import json

    from hwcost import __version__

    return json.dumps({"schema": SCHEMA, "version": __version__, **content}, indent=2, allow_nan=False, default=str)


def _as_dict(file: DeviceFile) -> dict[str, Any]:
    fit = file.fit
    return {
        "name": file.name,
        "summary": file.summary,
        "notes": list(file.notes),
        "array": {name: _entry(entry) for name, entry in file.entries.items()},
        "facts": {name: _entry(entry) for name, entry in file.facts.items()},
        "fit": None
        if fit is None
        else {
            "data": fit.data,
            "source": fit.source,
            "licence": fit.licence,
            "errors": dict(fit.errors),
            "identified": list(fit.identified),
            "not_identified": list(fit.not_identified),
            "range": {name: {"low": ends.low, "high": ends.high} for name, ends in fit.ranges.items()},
        },
    }


def _entry(entry: Entry) -> dict[str, Any]:
    value = entry.value if entry.value != float("inf") else "inf"
    return {"value": value, "unit": entry.unit, "status": entry.status, "source": entry.source}


def _lines(file: DeviceFile) -> Iterator[str]:
    import shutil

    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    yield f"{file.name}: {file.summary}"
    for title, entries in (("the array", file.entries), ("the chip", file.facts)):
        if entries:
            yield ""
            yield title
        for name, entry in entries.items():
            yield f"  {name:<20} {_value(entry):<18} {entry.status}"
            yield from _wrapped(entry.source, width, 23)
    if file.fit is not None:
        yield ""
        yield "calibrated"
        yield from _wrapped(f"to {file.fit.data}; {file.fit.source}; licence: {file.fit.licence}", width, 2)
        for name, figure in file.fit.errors.items():
            yield f"  {name:<30} {figure:.4g}"
        for name, ends in file.fit.ranges.items():
            yield f"  measured {name:<21} {ends.low:g} to {ends.high:g}"
        yield f"  {'determined by the data':<30} {', '.join(file.fit.identified) or 'nothing'}"
        yield f"  {'not determined by the data':<30} {', '.join(file.fit.not_identified) or 'nothing'}"
    if file.notes:
        yield ""
        yield "notes"
    for note in file.notes:
        yield from _wrapped(note, width, 4, first="  - ")


def _value(entry: Entry) -> str:
    value = entry.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if entry.unit in _SCALED and math.isfinite(value):
        scale, prefix = next(((s, p) for s, p in _PREFIXES if value >= s), (1, ""))
        return f"{value / scale:.6g} {prefix}{entry.unit}"
    return f"{value:.6g} {entry.unit}" if entry.unit not in ("", "1") else f"{value:.6g}"


def _wrapped(text: str, width: int, indent: int, first: str | None = None) -> list[str]:
    import textwrap

    blank = " " * indent
    return textwrap.wrap(
        text, max(width, 40), initial_indent=blank if first is None else first, subsequent_indent=blank
    )
