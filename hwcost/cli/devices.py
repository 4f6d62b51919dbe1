"""``hwcost devices``: the machines that ship with the package, and every number of one with its source."""

from __future__ import annotations

from typing import Any

import click

from hwcost.cli.shared.documents import json_document
from hwcost.cli.shared.machines import parse_device
from hwcost.cli.shared.options import parsed_by
from hwcost.console import Commands
from hwcost.errors import InvalidValueError
from hwcost.tables import LONGEST, Column, is_terminal, table, terminal_width

__all__ = ["devices"]

SCHEMA = "hwcost.devices/1"
_SHOW_SCHEMA = "hwcost.devices-show/1"

_EXAMPLE = """\b
Example:
  hwcost devices show gemmini
"""


_COLUMNS = [
    Column[Any]("device", lambda file: file.name, to_the_left=True),
    Column[Any]("array", lambda file: file.array.size_in_words, to_the_left=True),
    Column[Any]("clock[MHz]", lambda file: f"{file.array.clock_hz / 1e6:.6g}"),
    Column[Any]("what it is", lambda file: file.summary + " (calibrated)" * (file.fit is not None), to_the_left=True),
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
    longest = LONGEST if terminal_width() else None
    click.echo("\n".join(table(_COLUMNS, files, coloured=is_terminal(), longest=longest)))


@devices.command()
@click.argument("device", metavar="NAME|FILE", callback=parsed_by(parse_device))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(device: str, *, as_json: bool) -> None:
    """Print every number of a device, with its source.

    Each has a unit and a status: published, derived or assumed.
    """
    from hwcost.devices import read_device

    file = read_device(device, field="device")
    if as_json:
        click.echo(json_document(_SHOW_SCHEMA, file.as_dict()))
    else:
        click.echo("\n".join(file.lines(terminal_width() or 100)))
