"""The command line ``hwcost``; with that of the search, the only part of the project that prints."""

from __future__ import annotations

from collections.abc import Sequence

import click

from hwcost._version import __version__
from hwcost.console import Commands, run_command

__all__ = ["cli", "main"]

__dir__ = __all__.copy  # what tab completion offers


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hwcost", message="%(prog)s %(version)s")
def cli() -> None:
    """Price neural networks on systolic arrays.

    hwcost COMMAND --help explains a command, with examples.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(cli, "hwcost", args)


@cli.on_use("advise")
def _() -> click.Command:
    from hwcost.cli.advise import advise

    return advise


@cli.on_use("calibrate")
def _() -> click.Command:
    from hwcost.cli.calibrate import calibrate

    return calibrate


@cli.on_use("compare")
def _() -> click.Command:
    from hwcost.cli.compare import compare

    return compare


@cli.on_use("devices")
def _() -> click.Command:
    from hwcost.cli.devices import devices

    return devices


@cli.on_use("estimate")
def _() -> click.Command:
    from hwcost.cli.estimate import estimate

    return estimate


@cli.on_use("model")
def _() -> click.Command:
    from hwcost.cli.model import model

    return model


@cli.on_use("plot")
def _() -> click.Command:
    from hwcost.cli.plot import plot

    return plot


@cli.on_use("prune")
def _() -> click.Command:
    from hwcost.cli.prune import prune

    return prune


@cli.on_use("sweep")
def _() -> click.Command:
    from hwcost.cli.sweep import sweep

    return sweep


@cli.on_use("table")
def _() -> click.Command:
    from hwcost.cli.table import table

    return table
