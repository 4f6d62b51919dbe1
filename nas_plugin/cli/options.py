"""Options that the commands share, and how they become a search space on an array."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hwcost import DATAFLOWS, FOLD_TIMINGS, InvalidValueError
from hwcost.devices import read_device
from hwcost.machine import adapt
from nas_plugin.methods.table import METHODS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from nas_plugin.space.arch_def import ArchDef

NAMES = {"weight": "lambda", "weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
"""Options whose names differ from those of the settings behind them."""

Command = TypeVar("Command", bound=Callable[..., Any])
Show = Callable[[str, int, int, str], None]
"""Shows progress: what has a bar, steps done, steps in all, and a line with both and more."""


class ArraySize(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, plain before
    """ROWSxCOLS, as 16x16."""

    name = "rowsxcols"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Rows and columns."""
        match = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})", str(value).lower(), re.ASCII)
        if not match or 0 in (sizes := (int(match[1]), int(match[2]))):
            raise InvalidValueError("--array", value, "ROWSxCOLS, two integers from 1 to 9999999, as 16x16")
        return sizes


class OneOf(click.Choice):  # type: ignore[type-arg]
    """A name of a table, with the error that all commands print."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if the table has it."""
        if value not in self.choices:
            raise InvalidValueError(param.opts[0] if param else "", value, self.choices)
        return str(value)


SHARED = (
    click.option("--arch-def", type=click.Path(path_type=Path), help="Architecture file (TOML).  [default: LeNet]"),
    click.option("--data", help="Folder with the four IDX .gz files, or fashion-mnist, or fashion-mnist-cut."),
    click.option("--images", type=int, help="Size of a fixed sample of the training images.  [default: all]"),
    click.option("--device", metavar="NAME|FILE", help="A device that hwcost devices lists, or its TOML file."),
    click.option("--dataflow", type=OneOf(DATAFLOWS), help="[default: the device's or arch_def's, ws]"),
    click.option("--fold-timing", type=OneOf(FOLD_TIMINGS), help="[default: the device's or arch_def's, ideal]"),
    click.option("--utilization", type=float, help="Weight of 1 - utilization in darts.  [default: 0]"),
    click.option("--epochs", type=int, help="Of a search.  [default: by method and number of images]"),
    click.option("--train-epochs", type=int, help="Of each full training.  [default: by number of images]"),
    click.option("--candidates", type=int, help="Networks that one-shot scores.  [default: 100]"),
    click.option("--finalists", type=int, help="The best of them, which reach the finals; 1: none.  [default: 8]"),
    click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: a new one in runs/]"),
    click.option(
        "--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Continue what this folder holds."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


def shared_options(command: Command) -> Command:
    """Space, images, array, length of search and trainings, folder and form of the result."""
    for option in reversed(SHARED):
        command = option(command)
    return command


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
    tasks: dict[str, TaskID] = {}
    with contextlib.ExitStack() as stack:
        bars = stack.enter_context(_bars()) if sys.stderr.isatty() else None

        def show(title: str, done: int, total: int, line: str) -> None:
            if bars is None:
                click.echo(line, err=True)
                return
            if title not in tasks:
                tasks[title] = bars.add_task(line)
            bars.update(tasks[title], completed=done, total=total, description=line)

        try:
            yield show
        except KeyboardInterrupt:
            click.echo(f"Stopped. Go on with: nas-plugin {command} --resume {folder}", err=True)
            raise


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True))


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that does not exist."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder for folder in map(Path("runs").joinpath, names) if not folder.exists())


def refuse_with_resume(given: dict[str, Any], out: Path | None) -> None:
    """Raises InvalidValueError if an option is given: a run keeps its settings."""
    for name, value in (given if out is None else given | {"out": out}).items():
        typed = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        option = NAMES.get(name, name).replace("_", "-")
        raise InvalidValueError(f"--{option}", typed, "nothing with --resume: a run keeps its settings")


def refuse_unused(given: dict[str, Any], methods: Iterable[str], typed: str) -> None:
    """Raises InvalidValueError for an option that none of the methods uses; ``typed`` is what selects the methods."""
    used = {name for method in methods for name in METHODS[method].uses}
    for name, value in given.items():
        users = [method.name for method in METHODS.values() if name in method.uses]
        if users and name not in used:
            raise InvalidValueError(f"--{name}", value, f"nothing with {typed}; it is for {' and '.join(users)}")


def set_up_array(given: dict[str, Any]) -> ArchDef:
    """The search space on the device that is given; takes out of ``given`` what it uses.

    Notes sizes of the reference network that a calibrated device was not fitted to.
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
    return dataclasses.replace(arch, array=adapt(arch.array, **changes).array)
