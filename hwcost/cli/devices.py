"""``hwcost devices``: the machines that ship with the package, and every number of one with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hwcost.cli.shared.documents import json_document
from hwcost.console import Commands
from hwcost.errors import InvalidValueError
from hwcost.tables import Column, is_terminal, table, terminal_width

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile

__all__ = ["devices"]

SCHEMA = "hwcost.devices/1"

_EXAMPLE = """\b
Example:
  hwcost devices show gemmini
"""


_COLUMNS = [
    Column["DeviceFile"]("device", lambda file: file.name, to_the_left=True),
    Column["DeviceFile"]("array", lambda file: file.array.size_in_words, to_the_left=True),
    Column["DeviceFile"]("clock[MHz]", lambda file: f"{file.array.clock_hz / 1e6:.6g}"),
    Column["DeviceFile"](
        "what it is", lambda file: file.summary + " (calibrated)" * (file.fit is not None), to_the_left=True
    ),
]


class _Devices(Commands):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first; a device in its place is pointed to the command that shows it."""
        from hwcost.devices import device_names

        if args[0] in device_names() or args[0].endswith(".toml"):
            raise InvalidValueError("command", args[0], f"hwcost devices show {args[0]}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Devices, listing=True, epilog=_EXAMPLE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def devices(ctx: click.Context, *, as_json: bool) -> None:
    """List the machines that --device takes.

    They ship with the package; --device takes a TOML file of your own as well.
    """
    from hwcost.devices import device_names, read_device

    if ctx.invoked_subcommand is not None:
        if as_json:
            allowed = f"give it last: hwcost devices {ctx.invoked_subcommand} ... --json"
            raise InvalidValueError("--json", True, allowed, reason="it stands before the command")
        return
    files = [read_device(name) for name in device_names()]
    if as_json:
        click.echo(json_document(SCHEMA, {"devices": [file.as_dict() for file in files]}))
        return
    click.echo("\n".join(table(_COLUMNS, files, coloured=is_terminal())))


@devices.command()
@click.argument("device", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(device: str, *, as_json: bool) -> None:
    """Print every number of a device, with its source.

    Each has a unit and a status: published, derived or assumed.
    """
    from hwcost.devices import read_device

    file = read_device(device, field="device")
    click.echo(json_document(SCHEMA, file.as_dict()) if as_json else "\n".join(_lines(file)))


def _lines(file: DeviceFile) -> Iterator[str]:
    width = terminal_width() or 100
    yield f"{file.name}: {file.summary}"
    for title, entries in (("the array", file.entries), ("the chip", file.facts)):
        if entries:
            yield ""
            yield title
        for name, entry in entries.items():
            yield f"  {name:<20} {entry.in_words:<18} {entry.status}"
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
        yield from _wrapped(note, width, 4, bullet="- ")


def _wrapped(text: str, width: int, indent: int, bullet: str = "") -> list[str]:
    import textwrap

    blank = " " * indent
    first = blank[len(bullet) :] + bullet
    return textwrap.wrap(text, max(width, 40), initial_indent=first, subsequent_indent=blank)
