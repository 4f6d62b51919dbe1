"""The command line of the search: ``nas-plugin search`` and ``nas-plugin sweep``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hwcost import __version__
from hwcost.console import Commands, run_command

__all__ = ["group", "main"]

__dir__ = __all__.copy  # what tab completion offers


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="nas-plugin", message="%(prog)s %(version)s")
def group() -> None:
    """Search for networks that are fast on a systolic array."""


@group.on_use("search")
def _() -> click.Command:
    from nas_plugin.cli.search import search

    return search


@group.on_use("sweep")
def _() -> click.Command:
    from nas_plugin.cli.sweep import sweep

    return sweep


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(group, "nas-plugin", args)
