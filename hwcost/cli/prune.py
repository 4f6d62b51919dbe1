"""``hwcost prune``: a trained module cut to an exact limit of cycles."""

from __future__ import annotations

import math
from typing import Any

import click

from hwcost.cli.prune_options import (
    DISTIL,
    LEARNING_RATE,
    ChoiceOptions,
    FileOptions,
    LimitOptions,
    TaskOptions,
    TuningOptions,
)  # fmt: skip
from hwcost.cli.shared.documents import json_document
from hwcost.cli.shared.machines import BUFFER, TABLE, ArrayOptions, CostTable, Machine, timed_options
from hwcost.cli.shared.networks import INPUT, ModelOptions, check_inputs
from hwcost.cli.shared.options import TORCH_DEVICE, block, default_option, option, parsed_by, size_option
from hwcost.cli.shared.outputs import check_outputs, output_option, write_output
from hwcost.cli.shared.progress import waiting
from hwcost.cli.shared.values import (
    parse_file,
    parse_folder,
    parse_member,
    parse_name,
    parse_number,
    parse_object,
    parse_share,
    parse_size,
)
from hwcost.console import checked
from hwcost.errors import MISSING, Faults, InvalidValueError, check_all, require
from hwcost.importers.sources import check_member

__all__ = ["prune"]

SCHEMA = "hwcost.prune/1"
IMPORTANCE = ("curves", "taylor", "magnitude", "norm")
_WITH_DATA = IMPORTANCE[:2]
_MOST = 10_000
_SEED = (parse_size, 0, _MOST)
_SHARE = ("a share of today's cycles between 0 and 1, like 0.5", 0.0, math.nextafter(1.0, 0.0))
_OBJECT = parsed_by(parse_object)

_EXAMPLES = """\b
Examples:
  hwcost prune net.py:Net --weights w.safetensors --data net.py:data --input 1,3,32,32 --device gemmini --target 0.5
  hwcost prune net.py:Net --data net.py:data --input 1,3,32,32 --s1 8 --s2 8 --target 0.5 --fine-tune 3 --out run
  hwcost prune net.py:Net --input 1,3,32,32 --s1 16 --s2 16 --target 0.75 --multiple 8 --onnx out.onnx --plot out.png
"""


def _check_source(source: str) -> None:
    try:
        path, name = parse_member("model", source)
    except InvalidValueError as error:
        raise error.at("model", allowed=f"{error.allowed}; only modules of PyTorch have weights to cut") from None
    check_member(path, name, "the model's file", "model")


def _check_limit(limit: LimitOptions) -> None:
    given = [f"--{name}" for name, value in limit._asdict().items() if value is not None]
    if not given:
        raise InvalidValueError("--target", MISSING, "a share of today's cycles, or --cycles, or --seconds")
    if len(given) > 1:
        raise InvalidValueError(given[1], getattr(limit, given[1][2:]), "leave one out", reason=f"{given[0]} is given")


def _check_effects(task: TaskOptions, choice: ChoiceOptions, tuning: TuningOptions) -> None:
    """Raises for each option that needs another one."""
    has_data, tunes = task.data is not None, tuning.epochs is not None
    has_examples = has_data or task.held_out is not None
    needs: list[tuple[str, Any, bool, str, str]] = [
        ("--fine-tune", tuning.epochs, has_data, "there are no data", "--data FILE.py:NAME"),
        ("--loss", task.loss, has_examples, "there are no data", "--data FILE.py:NAME"),
        ("--depth", choice.depth or None, has_examples, "there are no data", "--data FILE.py:NAME"),
        ("--importance", choice.importance, has_data or choice.importance not in _WITH_DATA, "it needs data", "--data"),
        ("--distil", tuning.distil, tunes, "there is no fine-tuning", "--fine-tune EPOCHS"),
        ("--learning-rate", tuning.learning_rate, tunes, "there is no fine-tuning", "--fine-tune EPOCHS"),
    ]
    check_all(
        InvalidValueError(option, value, f"add {other}, or leave it out", reason=reason)
        for option, value, is_met, reason, other in needs
        if value is not None and not is_met
    )


def _check_files(source: str, task: TaskOptions, files: FileOptions) -> None:
    """Raises for files that would overwrite one another, and for libraries that are missing."""
    check_outputs([source], {"--onnx": files.onnx, "--plot": files.picture})
    require("torch", "torch", "hwcost prune")
    if task.weights is not None or files.out is not None:
        require("safetensors", "torch", "--out" if task.weights is None else "--weights")
    for library in ("onnx", "onnxscript") if files.onnx is not None else ():
        require(library, "export", "--onnx")


def _read_machine(array: ArrayOptions, table: str | None, files: FileOptions) -> Machine | CostTable:
    """The machine, or the table in its place; raises for an option that goes only with an array."""
    if table is None:
        return array.read()
    faults = Faults()
    for name, value, why in (
        ("--onnx", files.onnx, "the file names its layers otherwise than the table"),
        ("--plot", files.picture, "the picture shows utilization, and a table has none"),
    ):
        if value is not None:
            faults.add(InvalidValueError(name, value, "leave out this option or --table", reason=why))
    with faults.caught():
        costs = array.read_table(table)
    faults.check()
    return costs


@click.command(epilog=_EXAMPLES)
@click.argument("source", metavar="FILE.py:NAME")
@block("options", ModelOptions, INPUT)
@block(
    "task",
    TaskOptions,
    option("--weights", "FILE.safetensors", "The trained weights of the module.", parse_file),
    click.option(
        "--data", metavar="FILE.py:NAME", callback=_OBJECT,
        help="Batches to train on: a loader or a list, or a function that returns one.",
    ),
    click.option(
        "--held-out", metavar="FILE.py:NAME", callback=_OBJECT,
        help="Batches to measure on.  [default: every tenth of --data]",
    ),
    click.option(
        "--loss", metavar="FILE.py:NAME", callback=_OBJECT,
        help="A function of outputs and targets.  [default: cross entropy]",
    ),
)  # fmt: skip
@timed_options
@BUFFER
@TABLE
@block(
    "limit",
    LimitOptions,
    click.option(
        "--target", metavar="SHARE", callback=parsed_by(parse_number, *_SHARE),
        help="The limit as a share of today's cycles, like 0.5.",
    ),
    click.option(
        "--cycles", metavar="N", callback=parsed_by(parse_number, "a number of cycles above 0"),
        help="The limit in cycles, instead of --target.",
    ),
    click.option(
        "--seconds", metavar="T", callback=parsed_by(parse_number, "a number of seconds above 0, like 2e-3"),
        help="The limit in seconds, instead of --target.",
    ),
)  # fmt: skip
@block(
    "choice",
    ChoiceOptions,
    click.option(
        "--importance", metavar="NAME", callback=parsed_by(parse_name, IMPORTANCE),
        help=f"What a channel is worth, one of: {', '.join(IMPORTANCE)}.  [default: curves; without --data magnitude]",
    ),
    click.option("--keep", multiple=True, metavar="NAME", help="A width, or a module, that stays. Can be repeated."),
    click.option(
        "--least", metavar="SHARE", callback=parsed_by(parse_share),
        help="Keep at least this share of each width.  [default: 0.25, or 0 with curves]",
    ),
    click.option(
        "--depth", is_flag=True,
        help="Whole blocks of residual networks may be dropped too. Needs --data or --held-out.",
    ),
    size_option("--multiple", help="Take only sizes that are multiples of N, like 8.  [default: 1]"),
    default_option("--seed", default="0", metavar="N", words="Seed of the order of data.", parser=_SEED),
)  # fmt: skip
@block(
    "tuning",
    TuningOptions,
    click.option(
        "--fine-tune", "epochs", metavar="EPOCHS", callback=parsed_by(parse_size, 1, _MOST),
        help="Train the pruned module this many times over the data.",
    ),
    click.option(
        "--distil", metavar="SHARE", callback=parsed_by(parse_share, ""),
        help=f"Share of the loss that is the distance to the original's outputs.  [default: {DISTIL}, or 0 if the "
        "original is worse on held-out batches]",
    ),
    click.option(
        "--learning-rate", metavar="RATE", callback=parsed_by(parse_number, "a number above 0, like 0.01"),
        help=f"Highest learning rate of the fine-tuning.  [default: {LEARNING_RATE}]",
    ),
    TORCH_DEVICE,
)  # fmt: skip
@block(
    "files",
    FileOptions,
    output_option(
        "--onnx", ends=("onnx",), metavar="FILE.onnx", words="Export the pruned module, and price the file again."
    ),
    output_option("--plot", "picture", words="Draw what stays, before and after: .png, .svg or .pdf."),
    option("--out", "FOLDER", "Keep the result here. Resumes a run that was stopped.", parse_folder),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@checked(_check_source, check_inputs, _check_limit, _check_effects, _check_files, _read_machine)
def prune(
    *,
    source: str,
    options: ModelOptions,
    task: TaskOptions,
    array: ArrayOptions,
    table: str | None,
    limit: LimitOptions,
    choice: ChoiceOptions,
    tuning: TuningOptions,
    files: FileOptions,
    as_json: bool,
) -> None:
    """Cut a trained PyTorch module to an exact limit of cycles.

    The widths within the limit that are worth most are found, the channels that matter most stay, and the smaller
    module is priced anew: it has to take what was predicted. With --fine-tune it is trained on. The floor is printed
    first: what no widths can save. With --depth, whole blocks may go too. Python files are run.
    """
    machine = _read_machine(array, table, files)
    with waiting("starting PyTorch"):
        from hwcost.cli.prune_run import run

    found = run(source, options.inputs, machine, task, limit, choice, tuning, files, as_json=as_json)
    if files.picture is not None:
        from hwcost import plot

        with write_output("--plot", files.picture):
            plot.save(plot.pruning_figure(found.document), files.picture)
    if as_json:
        written: dict[str, Any] = {"out": files.out, "onnx": files.onnx, "plot": files.picture}
        click.echo(json_document(SCHEMA, {**found.document, "files": written}))
    else:
        click.echo(found.for_stdout())
