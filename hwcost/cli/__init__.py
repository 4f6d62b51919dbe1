"""The command line ``hwcost``: with that of the search, the only part of the project that prints."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hwcost._version import __version__
from hwcost.console import Commands, run_command

__all__ = ["cli", "main"]


_NAMES = ("advise", "calibrate", "compare", "devices", "estimate", "model", "plot", "sweep")


def _load(name: str) -> click.Command | None:
    """Imports a command when it is used, so that none waits for the others."""
    match name:
        case "advise":
            from hwcost.cli.advise import advise as command
        case "calibrate":
            from hwcost.cli.calibrate import calibrate as command
        case "compare":
            from hwcost.cli.compare import compare as command
        case "devices":
            from hwcost.cli.devices import devices as command
        case "estimate":
            from hwcost.cli.estimate import estimate as command
        case "model":
            from hwcost.cli.model import model as command
        case "plot":
            from hwcost.cli.plot import plot as command
        case "sweep":
            from hwcost.cli.sweep import sweep as command
        case _:
            return None
    return command


@click.group(
    cls=Commands,
    names=_NAMES,
    load=_load,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hwcost", message="%(prog)s %(version)s")
def cli() -> None:
    """What neural-network layers cost on a systolic array."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(cli, "hwcost", args)
