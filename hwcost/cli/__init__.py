"""The command line ``hwcost``: with that of the search, the only part of the project that prints."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hwcost._version import __version__
from hwcost.console import Commands, run_command

__all__ = ["cli", "main"]


_MODULES = {
    "advise": "hwcost.cli.advise",
    "calibrate": "hwcost.cli.calibrate",
    "compare": "hwcost.cli.compare",
    "devices": "hwcost.cli.devices",
    "estimate": "hwcost.cli.estimate",
    "model": "hwcost.cli.model",
    "plot": "hwcost.cli.plot",
    "sweep": "hwcost.cli.sweep",
}


@click.group(
    cls=Commands,
    modules=_MODULES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hwcost", message="%(prog)s %(version)s")
def cli() -> None:
    """What neural-network layers cost on a systolic array."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(cli, "hwcost", args)
