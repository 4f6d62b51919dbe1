"""The work of ``hwcost prune``: the user's objects, the folder that a run goes on from, and the result."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils._pytree import tree_map_only

from hwcost.cli.prune_options import ChoiceOptions, FileOptions, LimitOptions, TaskOptions, TuningOptions
from hwcost.cli.shared.machines import CostTable, Machine
from hwcost.cli.shared.outputs import write_output
from hwcost.cli.shared.progress import progress_of_unknown, waiting
from hwcost.cli.shared.trained import Source, object_of
from hwcost.cli.shared.work import Ask, changed_text, document_of, work_on
from hwcost.console import note
from hwcost.pruning import Pruned
from hwcost.pruning import prune as prune_module
from hwcost.pruning.batches import Task
from hwcost.pruning.exporting import export_onnx
from hwcost.pruning.folder import RunFolder, keeping
from hwcost.pruning.recipe import RECIPE, WEIGHTS, load_pruned
from hwcost.pruning.tuning import default_optimizer, trainable
from hwcost.tables import Document, Documents

__all__ = ["Found", "run"]

_OPTIONS = {name: f"--{name}" for name in ("cycles", "seconds", "loss", "importance", "depth")} | {
    "the table of costs": "--table", "fine-tuning": "--fine-tune",
}  # fmt: skip
"""The option behind each field of an error, of those that only this command has."""


class Found(NamedTuple):
    """The result of a run.

    Attributes:
        document: plain data.
        shown: for people: a document, or the lines of one that were kept in a folder.
    """

    document: Mapping[str, Any]
    shown: Documents | Sequence[str]

    def for_stdout(self) -> str:
        """The text."""
        return self.shown.for_stdout("--json") if isinstance(self.shown, Documents) else "\n".join(self.shown)


def run(
    source: str,
    inputs: Sequence[str],
    machine: Machine | CostTable,
    task: TaskOptions,
    limit: LimitOptions,
    choice: ChoiceOptions,
    tuning: TuningOptions,
    files: FileOptions,
    *,
    as_json: bool,
) -> Found:
    """Prunes, or goes on, or reads what is there already; writes the folder and the ONNX file.

    Notes are in the text for people; they are on stderr too with ``as_json``, and before work that takes long.
    """
    members = {name: getattr(task, name) for name in task._fields[1:]}
    ask = Ask(source, inputs, task.weights, choice.seed, members, files.out, tuning.torch_device, _OPTIONS)
    later = dict(zip(("fine-tune", "distil", "learning rate"), tuning.values(), strict=True))
    with work_on(ask, machine, limit._asdict() | choice._asdict(), later) as (given, folder):
        shown: Documents | Sequence[str]
        if folder is not None and folder.is_finished:
            document, shown = folder.result()
            model = None
        else:
            result = _pruned(given, machine, task, limit, choice, tuning, folder, as_json=as_json)
            document = {"model": given.name, **document_of(result)}
            shown = Documents([*result.document().parts, Document(below=_numbered(changed_text(result)))])
            model = result.model
            if folder is not None:
                folder.begin()
                result.save(folder.path)
                folder.finish(document, str(shown).splitlines(), [RECIPE, WEIGHTS])
        if files.onnx is not None and isinstance(machine, Machine):
            model = load_pruned(files.out, given.model) if model is None and files.out else model
            assert model is not None
            inputs_there = tree_map_only(torch.Tensor, torch.Tensor.cpu, given.inputs)
            with write_output("--onnx", files.onnx):
                export_onnx(model.cpu(), inputs_there, files.onnx, machine.array, document["after"]["cycles"])
    return Found(document, shown)


def _numbered(lines: Iterable[str]) -> dict[str, str]:
    """Lines that have no labels, without the blank one before them."""
    return {f" {index}": line for index, line in enumerate(lines) if index or line}


def _pruned(
    given: Source,
    machine: Machine | CostTable,
    task: TaskOptions,
    limit: LimitOptions,
    choice: ChoiceOptions,
    tuning: TuningOptions,
    folder: RunFolder | None,
    *,
    as_json: bool,
) -> Pruned:
    """Cuts and trains the module."""
    data, held_out = (object_of(option, member, given.files) for option, member in (
        ("--data", task.data), ("--held-out", task.held_out)
    ))  # fmt: skip
    loss = F.cross_entropy if task.loss is None else object_of("--loss", task.loss, given.files, made=False)
    notes = list(given.notes)
    if data is None:
        notes.append("NO DATA: channels are chosen by their weights alone, which know nothing of the task")
    elif tuning.epochs is not None:
        Task(data, loss).length  # noqa: B018  # raises before anything is measured
        trainable(given.model)
    known = {} if folder is None else folder.losses()
    alone = waiting("choosing channels") if data is None else contextlib.nullcontext()  # nothing is measured
    with alone, progress_of_unknown("measurements") as show, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no data: ", UserWarning)  # said above
        kept = keeping(folder, known, show)

        def say() -> None:  # once all arguments are checked, and before the work that takes long
            while notes:
                note(notes.pop(0))

        def measured(done: int, whole: int) -> None:
            say()
            kept(done, whole)

        result = prune_module(
            given.model,
            given.inputs,
            machine.array,
            **limit._asdict(),
            data=data,
            loss=loss,
            held_out=held_out,
            importance=choice.importance,
            keep=choice.keep,
            least=choice.least,
            multiple=choice.multiple or 1,
            depth=choice.depth,
            seed=choice.seed,
            name=given.network.name,
            known_losses=known,
            progress=measured,
        )
        if as_json:
            say()
    if isinstance(machine, Machine) and machine.file is not None:
        result.report.on(machine.file, as_fitted=machine.array == machine.file.array)
    result.report.array = machine.label
    result.report.notes[:0] = given.notes
    if tuning.epochs is not None:
        epochs, distil, rate = tuning.values()
        checkpoint = None if folder is None else folder.checkpoint
        with progress_of_unknown("batches") as show:
            result.fine_tune(
                epochs=epochs,
                distil=distil,
                optimizer=functools.partial(default_optimizer, learning_rate=rate),
                checkpoint=checkpoint,
                progress=show,
            )
    return result
