"""Options that the commands share, and how they become a search space on an array."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError, SystolicArray
from hwcost.cli.shared.machines import DATAFLOW, DEVICE, FOLD_TIMING, ArrayOptions
from hwcost.cli.shared.networks import note_extrapolation
from hwcost.cli.shared.options import Command, added, option, value_of
from hwcost.cli.shared.values import INTEGER, REAL, parse_folder
from hwcost.errors import Faults
from hwcost.files import read_given, toml_of, unusable
from hwcost.network.limits import Target
from nas_plugin.errors import DataError
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.runs.settings import FILE, another_folder
from nas_plugin.sources import check_files

if TYPE_CHECKING:
    from nas_plugin.space.arch_def import ArchDef

_NOT_SETTINGS = ("source", "out", "resume", "as_json", "jobs", "engine")
"""Arguments of commands that a run does not keep."""
NAMES = {"weight": "lambda", "inputs": "input"}
"""Options whose names differ from those of the settings behind them."""
_OF_ERRORS = {"weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
"""Options behind fields of errors."""
MOST_BYTES = 2**20
"""Of an architecture file."""


def setting(name: str) -> Callable[[str, str], Any]:
    """A parser of a setting of searches, which takes what :class:`SearchSettings` does."""
    declared = {field.name: field for field in dataclasses.fields(SearchSettings)}[name]
    number = REAL if isinstance(declared.default, float) else INTEGER

    def read(option: str, text: str) -> Any:
        return declared.metadata["kind"].check(number(option, text), option, declared.default)

    return read


def target(option: str, text: str) -> str:
    """A limit, which is passed on as it is."""
    with value_of(option, text):
        Target.parse(text)
    return text


def _arch_def(option: str, text: str) -> Path:
    """An architecture file, as far as it can be checked without torch."""
    toml_of(read_given(text, MOST_BYTES, option), text)
    return Path(text)


def _out(option: str, text: str) -> Path:
    return Path(parse_folder(option, text))


SHARED = (
    option("--arch-def", "FILE", "The search space, as a TOML file.  [default: LeNet]", _arch_def),
    option("--data", "NAME|FOLDER", "fashion-mnist-cut, fashion-mnist, or a folder of images.  [default: the first]"),
    option("--images", "N", "Train on a fixed sample of N images.  [default: all]", setting("images")),
    DEVICE,
    DATAFLOW,
    FOLD_TIMING,
    option(
        "--utilization",
        "WEIGHT",
        "Weight of 1 - utilization in the loss of darts.  [default: 0]",
        setting("utilization"),
    ),
    option("--epochs", "N", "Epochs of a search.  [default: by method and number of images]", setting("epochs")),
    option(
        "--train-epochs", "N", "Epochs of a full training.  [default: by number of images]", setting("train_epochs")
    ),
    option("--candidates", "N", "Networks that prune and one-shot score.  [default: 100]", setting("candidates")),
    option(
        "--finalists", "N", "Networks in the finals of both; with 1 there are none.  [default: 8]", setting("finalists")
    ),
    option("--out", "FOLDER", "Write into this folder, new or empty.  [default: a new one in runs/]", _out),
    option("--resume", "FOLDER", "Go on with what was stopped in this folder, with its settings.", type=Path),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def shared_options(command: Command) -> Command:
    """Space, images, array, length of search and trainings, folder and form of the result."""
    return added(command, *SHARED)


@contextlib.contextmanager
def of_command_line(**names: str) -> Iterator[None]:
    """Makes errors name the option rather than the setting behind it; ``names`` adds to these."""
    try:
        yield
    except InvalidValueError as error:
        if error.field.startswith("--"):
            raise
        option = (_OF_ERRORS | names).get(error.field, error.field)
        raise error.at(option_name(option)) from None


def given_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a search that are given."""
    return {name: value for name, value in options.items() if name not in _NOT_SETTINGS and value not in (None, ())}


def check_resume(known: Mapping[str, Any], faults: Faults) -> None:
    """Raises if there is no folder to resume, and for each option that is given as well."""
    resume = known.get("resume")
    if resume is None:
        return
    if not os.path.isfile(os.path.join(resume, FILE)):
        error = OSError(None, f"it is not the folder of a search or sweep, which has a file {FILE}")
        faults.add(unusable("--resume", resume, "read", error))
    given = given_in(known) | ({} if known.get("out") is None else {"out": known["out"]})
    for name, value in given.items():
        reason = "--resume keeps the settings of the run"
        faults.add(InvalidValueError(option_name(name), value, "leave it out", reason=reason))


def settings_in(known: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that the command has an option for; None unless all of them can be read."""
    declared = {field.name for field in dataclasses.fields(SearchSettings)} - {"data", "target"}
    names = declared.intersection(param.name or "" for param in click.get_current_context().command.params)
    return {name: known[name] for name in names} if names <= known.keys() else None


def check_folder(out: Path | None, resume: Path | None) -> None:
    """Raises if the folder of a new run or sweep holds something."""
    if out is not None and resume is None and out.is_dir() and any(out.iterdir()):
        raise InvalidValueError("--out", str(out), another_folder(out), reason=f"{out} exists and is not empty")


def check_images(data: str | None) -> None:
    """Raises unless ``--data`` is a set by name, or a folder."""
    if data is not None:
        try:
            check_files(data)
        except DataError as error:
            reason, _, advice = str(error).partition("; ")
            raise InvalidValueError("--data", data, advice, reason=reason) from None


def check_machine(device: str | None, dataflow: str | None, fold_timing: str | None) -> None:
    """Raises if the dataflow or the fold timing do not go with the device."""
    ArrayOptions(device, dataflow=dataflow, fold_timing=fold_timing).read(bare=SystolicArray(1, 1))


def option_name(name: str) -> str:
    """The option behind an argument of the command or a setting.

    >>> option_name("weight"), option_name("train_epochs"), option_name("inputs")
    ('--lambda', '--train-epochs', '--input')
    """
    return f"--{NAMES.get(name, name).replace('_', '-')}"


def space_on_arrays(given: dict[str, Any], sizes: Sequence[tuple[int, int]]) -> tuple[ArchDef, list[SystolicArray]]:
    """The search space on the device that is given, and its arrays of some sizes; takes out of ``given`` what it uses.

    Without sizes the array is the device's. A note names what a calibrated device was not fitted to.
    """
    from nas_plugin.space.reader import load_arch_def

    arch = load_arch_def(given.pop("arch_def", None))
    named = {name: given.pop(name, None) for name in ("device", "dataflow", "fold_timing")}
    machine = ArrayOptions(**named).read(bare=arch.array)
    note_extrapolation(arch.space, machine)
    array = machine.array
    arrays = [dataclasses.replace(array, rows=rows, cols=cols) for rows, cols in sizes or [(array.rows, array.cols)]]
    return dataclasses.replace(arch, array=arrays[0]), arrays
