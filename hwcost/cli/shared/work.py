"""Work on a trained module of a user's that takes long: in a folder, from which it goes on if it was stopped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hwcost.cli.shared.machines import CostTable, Machine
from hwcost.cli.shared.networks import changed_lines
from hwcost.cli.shared.options import option_names
from hwcost.cli.shared.progress import waiting
from hwcost.cli.shared.trained import Source, errors_of_users, identity_of, parse_torch_device, read_source
from hwcost.cli.shared.values import parse_member
from hwcost.console import note, user_code
from hwcost.pruning import Pruned
from hwcost.pruning.folder import RunFolder

__all__ = ["OPTIONS", "Ask", "changed_text", "document_of", "work_on"]

OPTIONS = {name: f"--{name.replace('_', '-')}" for name in (
    "target", "data", "held_out", "keep", "least", "multiple", "seed", "weights",
)} | {
    "folder": "--out", "checkpoint": "--out", "a batch of data": "--data", "a batch of held_out": "--held-out",
}  # fmt: skip
"""The option behind each field of an error, of those that all such commands have."""


class Ask(NamedTuple):
    """What a command works on, as typed.

    Attributes:
        source: FILE.py:NAME.
        inputs: of the module.
        weights: the file of its weights.
        seed: of weights that are random.
        members: the objects of other options by name, each as a file and a name in it.
        out: the folder; None keeps nothing.
        torch_device: where PyTorch computes.
        options: the option behind each field of an error, in addition to :data:`OPTIONS`.
    """

    source: str
    inputs: Sequence[str]
    weights: str | None
    seed: int
    members: Mapping[str, tuple[str, str] | None]
    out: str | os.PathLike[str] | None
    torch_device: str | None
    options: Mapping[str, str]


@contextlib.contextmanager
def work_on(
    ask: Ask, machine: Machine | CostTable, settings: Mapping[str, Any], later: Mapping[str, Any]
) -> Iterator[tuple[Source, RunFolder | None]]:
    """The module and the folder of a run, for a body that runs code of the user's.

    Errors of the body name options, and lines of the user's files. If it is interrupted, a note says how to go on.

    Args:
        ask: what the command works on.
        machine: what says how much a layer costs.
        settings: the other options that everything follows from, as plain data.
        later: those that may change until the fine-tuning has begun.
    """
    own = [parse_member("model", ask.source)[0], *(each[0] for each in ask.members.values() if each is not None)]
    folder: RunFolder | None = None
    try:
        with option_names({**OPTIONS, **ask.options}), errors_of_users(ask.source, own), user_code():
            device = parse_torch_device("--torch-device", "cpu" if ask.torch_device is None else ask.torch_device)
            with waiting(f"reading {ask.source} with PyTorch"):
                given = read_source(ask.source, ask.inputs, ask.weights, ask.seed, device)
            if ask.out is not None:
                identity = identity_of(given, ask.inputs, machine, ask.members)
                folder = RunFolder(ask.out, {**identity, **settings}, later)
            yield given, folder
    except KeyboardInterrupt:
        if folder is not None and folder.has_begun:
            note(f"stopped; run the same command again with --out {ask.out} to go on")
        elif folder is None:
            note("stopped; with --out FOLDER a run can go on from where it was stopped")
        raise
    finally:
        if folder is not None:
            folder.close()


def document_of(result: Pruned) -> dict[str, Any]:
    """Everything about a result as plain data."""
    changes = {path: {name: list(pair) for name, pair in own.items()} for path, own in result.changed_numbers.items()}
    return {**result.report.as_dict(), "changed_numbers": changes}


def changed_text(result: Pruned, of: str = "") -> list[str]:
    """The blocks to leave out of the code of the module and the numbers to change in it, for people."""
    lines = ["", f"blocks to leave out of the code{of}:", *(f"  {name}" for name in result.dropped)]
    return [
        *(lines if result.dropped else []),
        "",
        f"numbers to change in the code{of}:",
        *changed_lines(result.changed_numbers),
    ]
