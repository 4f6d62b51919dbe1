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

if TYPE_CHECKING:
    from hwcost.devices import DeviceFile
    from nas_plugin.arch_def import ArchDef

__all__ = [
    "LATENCY_NAMES",
    "METHOD_NAMES",
    "ArraySize",
    "OneOf",
    "accelerator",
    "data_options",
    "needs_extra",
    "of_command_line",
    "refuse_beside_resume",
    "refuse_what_does_nothing",
    "resumable",
    "set_up_array",
]

LATENCY_NAMES = (
    "logistic",
    "shifted",
    "generalized",
    "straight-through",
    "expectation",
    "expectation-sample",
    "flops",
    "roofline",
    "none",
)
METHOD_NAMES = ("darts", "one-shot", "random", "most-macs")
"""The tables' names, for which nothing needs to be loaded."""
MEANT_FOR = {
    "latency": ("darts",),
    "utilization": ("darts",),
    "candidates": ("one-shot",),
    "finalists": ("one-shot",),
    "epochs": ("darts", "one-shot", "random"),
}
"""The methods that an option means something to; given without one of them it would do nothing, and is refused."""

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
        """The name, if it is there."""
        if value not in self.names:
            option = "" if param is None else param.opts[0]
            raise InvalidValueError(option, value, f"one of: {', '.join(self.names)}")
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names."""
        return f"[{'|'.join(self.names)}]"


def data_options(command: Command) -> Command:
    """The search space and its images."""
    for option in (
        click.option("--images", type=int, help="Of the training images, so many.  [default: all]"),
        click.option("--data", help="Folder with the four IDX .gz files, or fashion-mnist, or fashion-mnist-cut."),
        click.option("--arch-def", type=click.Path(path_type=Path), help="Architecture file (TOML).  [default: LeNet]"),
    ):
        command = option(command)
    return command


def accelerator(command: Command) -> Command:
    """What the array is besides its size."""
    for option in (
        click.option("--fold-timing", type=OneOf(FOLD_TIMINGS), help="[default: the device's or arch_def's, ideal]"),
        click.option("--dataflow", type=OneOf(DATAFLOWS), help="[default: the device's or arch_def's, ws]"),
        click.option("--device", metavar="NAME|FILE", help="A device that hwcost devices lists, or its TOML file."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def needs_extra(command: str) -> Iterator[None]:
    """What cannot be imported is a missing extra, and the error says which."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), "nas", command) from None


@contextlib.contextmanager
def of_command_line(**names: str) -> Iterator[None]:
    """Errors name the option rather than the setting behind it; ``names`` says where one command calls it otherwise."""
    try:
        yield
    except InvalidValueError as error:
        known = {"weight": "lambda", "weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
        known |= names
        if error.field.startswith("--"):
            raise
        option = known.get(error.field, error.field).replace("_", "-")
        raise error.at(f"--{option}") from None


@contextlib.contextmanager
def resumable(command: str, folder: Path) -> Iterator[None]:
    """Whoever stops the command is told how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"Stopped. Go on with: nas-plugin {command} --resume {folder}", err=True)
        raise


def refuse_beside_resume(given: dict[str, Any]) -> None:
    """A run keeps its settings.

    Raises:
        InvalidValueError: anything is given.
    """
    for name, value in given.items():
        option = {"weight": "--lambda"}.get(name, f"--{name.replace('_', '-')}")
        typed = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        raise InvalidValueError(option, typed, "nothing beside --resume: a run keeps its settings")


def refuse_what_does_nothing(given: dict[str, Any], methods: Iterable[str], beside: str) -> None:
    """An option that none of the methods looks at is a misunderstanding.

    Raises:
        InvalidValueError: one is given; ``beside`` says in words what it stands beside.
    """
    asked = set(methods)
    for name, meant in MEANT_FOR.items():
        if name in given and not asked & set(meant):
            raise InvalidValueError(
                f"--{name}", given[name], f"nothing beside {beside}; it is for {' and '.join(meant)}"
            )


def set_up_array(given: dict[str, Any]) -> ArchDef:
    """The search space on the device that is given; takes out of ``given`` what it uses."""
    from nas_plugin.arch_def import load_arch_def

    arch = load_arch_def(given.pop("arch_def", None))
    if "device" in given:
        device = read_device(given.pop("device"), field="--device")
        arch = dataclasses.replace(arch, array=device.array)
        _say_extrapolation(arch, device)
    changes = {name: given.pop(name) for name in ("dataflow", "fold_timing") if name in given}
    return dataclasses.replace(arch, array=dataclasses.replace(arch.array, **changes))


def _say_extrapolation(arch: ArchDef, device: DeviceFile) -> None:
    """Says where the reference network has sizes that a calibrated device was not fitted to."""
    for name, layer in arch.space.at(arch.reference).items():
        for gemm in layer.gemms():
            for sentence in device.beyond(gemm.m, gemm.n, gemm.k, gemm.count):
                click.echo(f"Note: an extrapolation in {name}: {sentence}", err=True)
