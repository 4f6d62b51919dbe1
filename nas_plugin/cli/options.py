"""Options that the commands share, and how they become a search space on an array."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hwcost import DATAFLOWS, FOLD_TIMINGS, InvalidValueError, MissingDependencyError
from hwcost.devices import read_device
from hwcost.machine import adapt
from nas_plugin.methods.table import METHODS

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile
    from nas_plugin.space.arch_def import ArchDef

__all__ = ["ArraySize", "OneOf", "accelerator", "data_options", "search_options", "set_up_array"]

NAMES = {"weight": "lambda", "weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
"""Options that are named otherwise than the settings behind them."""

Command = TypeVar("Command", bound=Callable[..., Any])


class ArraySize(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, plain before
    """ROWSxCOLS, as 16x16."""

    name = "rowsxcols"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Rows and columns."""
        match = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})", str(value).lower(), re.ASCII)
        if not match or 0 in (sizes := (int(match[1]), int(match[2]))):
            raise InvalidValueError("--array", value, "ROWSxCOLS, two integers from 1 to 9999999, as 16x16")
        return sizes


class OneOf(click.ParamType):  # type: ignore[type-arg]
    """A name of a table."""

    name = "name"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if the table has it."""
        if value not in self.names:
            option = "" if param is None else param.opts[0]
            raise InvalidValueError(option, value, f"one of: {', '.join(self.names)}")
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names."""
        return f"[{'|'.join(self.names)}]"


def _add(command: Command, *options: Callable[[Any], Any]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def data_options(command: Command) -> Command:
    """The search space and its images."""
    return _add(
        command,
        click.option("--arch-def", type=click.Path(path_type=Path), help="Architecture file (TOML).  [default: LeNet]"),
        click.option("--data", help="Folder with the four IDX .gz files, or fashion-mnist, or fashion-mnist-cut."),
        click.option("--images", type=int, help="Size of a fixed sample of the training images.  [default: all]"),
    )


def accelerator(command: Command) -> Command:
    """Everything about the array but its size."""
    return _add(
        command,
        click.option("--device", metavar="NAME|FILE", help="A device that hwcost devices lists, or its TOML file."),
        click.option("--dataflow", type=OneOf(DATAFLOWS), help="[default: the device's or arch_def's, ws]"),
        click.option("--fold-timing", type=OneOf(FOLD_TIMINGS), help="[default: the device's or arch_def's, ideal]"),
    )


def search_options(command: Command) -> Command:
    """The length of the search and of the trainings."""
    return _add(
        command,
        click.option("--utilization", type=float, help="Weight of 1 - utilization in darts.  [default: 0]"),
        click.option("--epochs", type=int, help="Of a search.  [default: by method and number of images]"),
        click.option("--train-epochs", type=int, help="Of each full training.  [default: by number of images]"),
        click.option("--candidates", type=int, help="Networks that one-shot scores.  [default: 100]"),
        click.option("--finalists", type=int, help="The best of them, which reach the finals; 1: none.  [default: 8]"),
    )


@contextlib.contextmanager
def needs_extra(command: str) -> Iterator[None]:
    """Turns a failed import into an error that names the missing extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), "nas", command) from None


@contextlib.contextmanager
def of_command_line(**names: str) -> Iterator[None]:
    """Makes errors name the option rather than the setting behind it; ``names`` adds to :data:`NAMES`."""
    try:
        yield
    except InvalidValueError as error:
        if error.field.startswith("--"):
            raise
        option = (NAMES | names).get(error.field, error.field).replace("_", "-")
        raise error.at(f"--{option}") from None


@contextlib.contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """Tells whoever stops the command how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"Stopped. Go on with: nas-plugin {command} --resume {folder}", err=True)
        raise


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that does not exist."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def refuse_with_resume(given: dict[str, Any]) -> None:
    """A run keeps its settings.

    Raises:
        InvalidValueError: an option is given.
    """
    for name, value in given.items():
        typed = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        option = NAMES.get(name, name).replace("_", "-")
        raise InvalidValueError(f"--{option}", typed, "nothing with --resume: a run keeps its settings")


def refuse_unused(given: dict[str, Any], methods: Iterable[str], typed: str) -> None:
    """An option that none of the methods uses is a misunderstanding.

    Args:
        given: settings by name.
        methods: names in the table of methods.
        typed: the option that selects the methods, for the error.

    Raises:
        InvalidValueError: there is such an option.
    """
    chosen = [METHODS[name] for name in methods]
    for name in dict.fromkeys(name for method in METHODS.values() for name in method.uses):
        if name in given and not any(name in method.uses for method in chosen):
            meant = " and ".join(method.name for method in METHODS.values() if name in method.uses)
            raise InvalidValueError(f"--{name}", given[name], f"nothing with {typed}; it is for {meant}")


def set_up_array(given: dict[str, Any]) -> ArchDef:
    """The search space on the device that is given; takes out of ``given`` what it uses."""
    from nas_plugin.space.reader import load_arch_def

    arch = load_arch_def(given.pop("arch_def", None))
    if "device" in given:
        device = read_device(given.pop("device"), field="--device")
        arch = dataclasses.replace(arch, array=device.array)
        _note_extrapolation(arch, device)
    changes = {name: given.pop(name) for name in ("dataflow", "fold_timing") if name in given}
    return dataclasses.replace(arch, array=adapt(arch.array, **changes).array)


def _note_extrapolation(arch: ArchDef, device: DeviceFile) -> None:
    """Notes sizes of the reference network that a calibrated device was not fitted to."""
    for name, layer in arch.space.at(arch.reference).items():
        for sentence in device.beyond(layer):
            click.echo(f"Note: an extrapolation in {name}: {sentence}", err=True)
