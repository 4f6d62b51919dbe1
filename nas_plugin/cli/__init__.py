"""The command line of the search: ``nas-plugin search`` and ``nas-plugin sweep``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hwcost import __version__
from hwcost.console import Commands, run_command

__all__ = ["group", "main"]


def _load(name: str) -> click.Command | None:
    """Imports a command when it is used."""
    match name:
        case "search":
            from nas_plugin.cli.search import search as command
        case "sweep":
            from nas_plugin.cli.sweep import sweep as command
        case _:
            return None
    return command


@click.group(
    cls=Commands,
    names=("search", "sweep"),
    load=_load,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="nas-plugin", message="%(prog)s %(version)s")
def group() -> None:
    """Searches for networks that are fast on a systolic array."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(group, "nas-plugin", args)
