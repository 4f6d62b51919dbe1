"""Options that the commands share, and how they become a search space on an array."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError, SystolicArray
from hwcost.cli.shared.machines import DATAFLOW, DEVICE, FOLD_TIMING, ArrayOptions
from hwcost.cli.shared.networks import note_extrapolation
from hwcost.cli.shared.options import Command, added, option
from hwcost.cli.shared.values import INTEGER, REAL

if TYPE_CHECKING:
    from nas_plugin.space.arch_def import ArchDef

NAMES = {"weight": "lambda", "weights": "lambdas", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}
"""Options whose names differ from those of the settings behind them."""

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
    option("--candidates", "N", "Networks that prune and one-shot score.  [default: 100]", INTEGER),
    option("--finalists", "N", "Networks in the finals of both; with 1 there are none.  [default: 8]", INTEGER),
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
    named = {name: given.pop(name, None) for name in ("device", "dataflow", "fold_timing")}
    machine = ArrayOptions(**named).read(bare=arch.array)
    note_extrapolation(arch.space, machine)
    array = machine.array
    arrays = [dataclasses.replace(array, rows=rows, cols=cols) for rows, cols in sizes or [(array.rows, array.cols)]]
    return dataclasses.replace(arch, array=arrays[0]), arrays
