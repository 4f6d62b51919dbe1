"""Options that the commands share, and how they become a search space on an array."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError, SystolicArray
from hwcost.cli.shared.machines import DATAFLOW, DEVICE, FOLD_TIMING
from hwcost.cli.shared.options import Command, Decorator, added, parsed_by
from hwcost.devices import read_device
from hwcost.machine import adapt

if TYPE_CHECKING:
    from nas_plugin.space.arch_def import ArchDef

NAMES = {"weight": "lambda", "weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
"""Options whose names differ from those of the settings behind them."""

Show = Callable[[str, int, int, str], None]
"""Shows progress: what has a bar, steps done, steps in all, and a line with both and more."""


def array_size(option: str, text: str) -> tuple[int, int]:
    """Rows and columns in a text like 16x16."""
    match = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})", text.lower(), re.ASCII)
    if not match or 0 in (sizes := (int(match[1]), int(match[2]))):
        raise InvalidValueError(option, text, "ROWSxCOLS, two integers from 1 to 9999999, like 16x16")
    return sizes


def number(kind: type[int | float]) -> Callable[[str, str], Any]:
    """Reads a number; digits of other scripts and underscores, which Python reads too, are refused."""

    def read(option: str, text: str) -> Any:
        with contextlib.suppress(ValueError):
            if text.isascii() and "_" not in text:
                return kind(text)
        raise InvalidValueError(option, text, "an integer" if kind is int else "a number")

    return read


INTEGER, REAL = number(int), number(float)


def option(names: str, metavar: str, words: str, *parser: Any, **more: Any) -> Decorator:
    """An option, by default without a value; ``parser`` is a function and its rules, as for :func:`parsed_by`."""
    callback = parsed_by(*parser) if parser else None
    return click.option(*names.split(), callback=callback, metavar=metavar, help=words, **more)


SHARED = (
    option("--arch-def", "FILE", "The search space, as a TOML file.  [default: LeNet]", type=Path),
    option("--data", "NAME|FOLDER", "fashion-mnist-cut, fashion-mnist, or a folder of images.  [default: the first]"),
    option("--images", "N", "Train on a fixed sample of N images.  [default: all]", INTEGER),
    DEVICE,
    DATAFLOW,
    FOLD_TIMING,
    option("--utilization", "WEIGHT", "Weight of 1 - utilization in the loss of darts.  [default: 0]", REAL),
    option("--epochs", "N", "Epochs of a search.  [default: by method and number of images]", INTEGER),
    option("--train-epochs", "N", "Epochs of a full training.  [default: by number of images]", INTEGER),
    option("--candidates", "N", "Networks that one-shot scores.  [default: 100]", INTEGER),
    option("--finalists", "N", "Networks in the finals of one-shot; with 1 there are none.  [default: 8]", INTEGER),
    option("--out", "FOLDER", "Write into this folder, new or empty.  [default: a new one in runs/]", type=Path),
    option("--resume", "FOLDER", "Go on with what was stopped in this folder, with its settings.", type=Path),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def shared_options(command: Command) -> Command:
    """Space, images, array, length of search and trainings, folder and form of the result."""
    return added(command, *SHARED)


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
def showing(command: str, folder: Path) -> Iterator[Show]:
    """Progress on stderr: a bar for each title on a terminal, lines elsewhere; and how to continue after a stop."""
    from rich.console import Console
    from rich.progress import Progress

    bars, titles = Progress(console=Console(stderr=True)), dict[str, Any]()

    def show(title: str, done: int, total: int, line: str) -> None:
        if not sys.stderr.isatty():
            click.echo(line, err=True)
            return
        if title not in titles:
            titles[title] = bars.add_task(line)
        bars.update(titles[title], completed=done, total=total, description=line)

    with bars if sys.stderr.isatty() else contextlib.nullcontext():
        try:
            yield show
        except KeyboardInterrupt:
            click.echo(f"Stopped. Go on with: nas-plugin {command} --resume {folder}", err=True)
            raise


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that does not exist."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder for folder in map(Path("runs").joinpath, names) if not folder.exists())


def given_with(resume: Path | None, out: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are given. Raises InvalidValueError if one is together with ``--resume``."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in () if resume is None else (given if out is None else given | {"out": out}).items():
        option = NAMES.get(name, name).replace("_", "-")
        raise InvalidValueError(f"--{option}", value, "leave it out", reason="--resume keeps the settings of the run")
    return given


def space_on_arrays(given: dict[str, Any], sizes: Sequence[tuple[int, int]]) -> tuple[ArchDef, list[SystolicArray]]:
    """The search space on the device that is given, and its arrays of some sizes; takes out of ``given`` what it uses.

    Without sizes the array is the device's. A note names what a calibrated device was not fitted to.
    """
    from nas_plugin.space.reader import load_arch_def

    arch = load_arch_def(given.pop("arch_def", None))
    if "device" in given:
        device = read_device(given.pop("device"), field="--device")
        arch = dataclasses.replace(arch, array=device.array)
        for name, layer in arch.space.at(arch.reference).items():
            for sentence in device.beyond(layer):
                click.echo(f"Note: an extrapolation in {name}: {sentence}", err=True)
    changes = {name: given.pop(name) for name in ("dataflow", "fold_timing") if name in given}
    array = adapt(arch.array, **changes).array
    arrays = [dataclasses.replace(array, rows=rows, cols=cols) for rows, cols in sizes or [(array.rows, array.cols)]]
    return dataclasses.replace(arch, array=arrays[0]), arrays
