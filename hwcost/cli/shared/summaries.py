"""What the commands that price whole networks share: the price, and what is to be said beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.tables import printable
from hwcost.cli.shared.values import check_writable
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.reports import Summary, summarise

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile

__all__ = ["check_picture", "priced", "say_extrapolation", "written"]


def priced(network: Network, array: SystolicArray, *, skip_unsupported: bool) -> Summary:
    """The network on the array.

    Raises:
        InvalidValueError: an operation that is not supported, in the words of the command line.
    """
    try:
        return summarise(network, array, skip_unsupported=skip_unsupported)
    except InvalidValueError as error:
        if "skip_unsupported=True" not in error.allowed:
            raise
        allowed = printable(error.allowed.replace("skip_unsupported=True", "--skip-unsupported"))
        raise InvalidValueError(f"{error.field} in {printable(network.name)}", error.value, allowed) from None


def say_extrapolation(network: Network, file: DeviceFile | None) -> None:
    """Says on stderr how many layers are beyond those that a calibrated device was measured with."""
    if file is None or file.fit is None:
        return
    beyond = {
        name: sentences
        for name, each in network.priced.items()
        if (sentences := [s for g in each.layer.gemms() for s in file.beyond(g.m, g.n, g.k, g.count)])
    }
    if beyond:
        first, sentences = next(iter(beyond.items()))
        click.echo(
            f"Note: an extrapolation: {len(beyond)} of {len(network.priced)} layers of {printable(network.name)} "
            f"are beyond those that "
            f"{file.name} was measured with, like {printable(first)}: {sentences[0]}",
            err=True,
        )


def check_picture(option: str, path: str | None) -> None:
    """Raises before any work where the ending of a picture says nothing, or it could not be written."""
    if path is None:
        return
    from hwcost.plot import check_path

    try:
        check_path(path)
    except InvalidValueError as error:
        raise error.at(option) from None
    check_writable(option, path)


def written(option: str, path: str, write: Callable[[str], Any]) -> Any:
    """Writes a file and says so on stderr.

    Raises:
        InvalidValueError: a file that cannot be written, by the option that named it.
    """
    try:
        result = write(path)
    except InvalidValueError as error:
        if error.field != "path":
            raise
        raise error.at(option) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValueError(option, path, f"a file that can be written ({reason})") from None
    click.echo(f"wrote {path}", err=True)
    return result
