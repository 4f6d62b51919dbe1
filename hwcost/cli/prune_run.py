"""The work of ``hwcost prune``: the user's objects, the folder that a run goes on from, and the result."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hwcost._version import __version__
from hwcost.cli.prune_options import ChoiceOptions, FileOptions, LimitOptions, TaskOptions, TuningOptions
from hwcost.cli.shared.machines import CostTable, Machine
from hwcost.cli.shared.networks import changed_lines, missing_text
from hwcost.cli.shared.options import option_names
from hwcost.cli.shared.outputs import write_output
from hwcost.cli.shared.progress import progress_of_unknown
from hwcost.cli.shared.values import parse_member
from hwcost.console import note, user_code
from hwcost.errors import MISSING, HwcostError, InvalidValueError, first_line
from hwcost.files import digest, read_given
from hwcost.importers import from_torch
from hwcost.importers.lists.costs import costs_csv
from hwcost.importers.torch.inputs import InputSpec, examples
from hwcost.importers.torch.loading import line_in, load_model, load_object
from hwcost.network.network import Network
from hwcost.pruning import Pruned
from hwcost.pruning import prune as prune_module
from hwcost.pruning.batches import Task
from hwcost.pruning.exporting import export_onnx
from hwcost.pruning.folder import RunFolder
from hwcost.pruning.recipe import RECIPE, WEIGHTS, load_pruned
from hwcost.pruning.tuning import default_optimizer
from hwcost.pruning.weights import load_weights, weights_digest

__all__ = ["Found", "run"]

_MOST_BYTES = 2**26
_OPTIONS = {name: f"--{name.replace('_', '-')}" for name in (
    "target", "cycles", "seconds", "data", "held_out", "loss", "importance", "keep", "least", "multiple", "seed",
    "weights",
)} | {
    "the table of costs": "--table",
    "folder": "--out", "checkpoint": "--out", "fine-tuning": "--fine-tune", "a batch of data": "--data",
    "a batch of held_out": "--held-out",
}  # fmt: skip
"""The option behind each field of an error."""


class Found(NamedTuple):
    """The result of a run.

    Attributes:
        network: of the module as it was.
        document: plain data.
        lines: for people.
    """

    network: Network
    document: Mapping[str, Any]
    lines: Sequence[str]


class Source(NamedTuple):
    """The module to prune, with its weights.

    Attributes:
        name: the file and the name in it, as given.
        files: those that ran.
        model: in evaluation mode.
        inputs: examples.
        network: what was read from it.
        notes: what is to be said of its weights.
    """

    name: str
    files: dict[str, ModuleType]
    model: nn.Module
    inputs: Any
    network: Network
    notes: list[str]


def run(
    source: str,
    inputs: Sequence[str],
    machine: Machine | CostTable,
    task: TaskOptions,
    limit: LimitOptions,
    choice: ChoiceOptions,
    tuning: TuningOptions,
    files: FileOptions,
) -> Found:
    """Prunes, or goes on, or reads what is there already; writes the folder and the ONNX file."""
    own = [parse_member("model", source)[0], *(each[0] for each in task[1:] if each is not None)]
    folder: RunFolder | None = None
    try:
        with option_names(_OPTIONS), _errors_of_users(source, own):
            with user_code():
                given = _source(source, inputs, task.weights, choice.seed)
            if files.out is not None:
                settings = _identity(given, inputs, machine, task, limit, choice)
                epochs, distil, rate = tuning.values()
                later = {"fine-tune": epochs, "distil": distil, "learning rate": rate}
                folder = RunFolder(files.out, settings, later)
            with user_code():
                if folder is not None and folder.is_finished:
                    document, lines = folder.result()
                    model = None
                else:
                    result = _pruned(given, machine, task, limit, choice, tuning, folder)
                    document, lines = _document(given, result), _lines(result)
                    model = result.model
                    if folder is not None:
                        folder.begin()
                        result.save(folder.path)
                        folder.finish(document, lines, [RECIPE, WEIGHTS])
                if files.onnx is not None and isinstance(machine, Machine):
                    model = load_pruned(files.out, given.model) if model is None and files.out else model
                    assert model is not None
                    with write_output("--onnx", files.onnx):
                        export_onnx(model, given.inputs, files.onnx, machine.array, document["after"]["cycles"])
    except KeyboardInterrupt:
        if folder is not None and folder.has_begun:
            note(f"stopped; run the same command again to go on from {files.out}")
        else:
            note("stopped; with --out FOLDER a run can go on from where it was stopped")
        raise
    return Found(given.network, document, lines)


@contextlib.contextmanager
def _errors_of_users(source: str, files: Sequence[str]) -> Iterator[None]:
    """Errors of the code of users in the body become one line each, with the place in their files."""
    try:
        yield
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        first = error if not isinstance(error, HwcostError) else error.__cause__
        places = [(path, line) for path in dict.fromkeys(files) if first and (line := line_in(path, first))]
        if isinstance(error, HwcostError) and not places:
            raise
        assert first is not None
        where = f"line {places[0][1]} of {places[0][0]}" if places else "it"
        reason = f"{where} raises {first_line(first)}"
        raise InvalidValueError(source, source, "correct the code", reason=reason) from error


def _source(source: str, inputs: Sequence[str], weights: str | None, seed: int) -> Source:
    """The module with its weights, and the network that it is."""
    path, name = parse_member("model", source)
    if not inputs:
        raise InvalidValueError("--input", MISSING, "the shape of each input, like --input 1,3,224,224")
    specs = [InputSpec.parse(text) for text in inputs]
    files: dict[str, ModuleType] = {}
    torch.manual_seed(seed)  # weights that are random are the same whenever a run goes on
    model = load_model(path, name, with_values=True, files=files)
    found, notes = getattr(files[path], name), []
    if weights is not None:
        load_weights(model, weights, "the weights of this module, as safetensors.torch.save_model writes them")
    elif inspect.isclass(found):
        notes.append(f"THE WEIGHTS ARE RANDOM: {name} is a class, and --weights is not given; accuracy has no meaning")
    elif not isinstance(found, nn.Module):
        notes.append(f"the weights are those that {name}() gives: random ones, unless it loads some")
    example = examples(specs, model)
    try:
        network = from_torch(model, example_inputs=example, name=name)
    except InvalidValueError as error:  # a part of a module cannot be pruned
        raise error.at(error.field, allowed=error.allowed.partition(", or ask for what ran")[0]) from error
    if network.unsupported:
        missing = missing_text({name: str(each.layer) for name, each in network.unsupported.items()})
        raise InvalidValueError(source, source, "a module whose operations all have a price", reason=missing)
    return Source(source, files, model, example, network, notes)


def _identity(
    given: Source,
    inputs: Sequence[str],
    machine: Machine | CostTable,
    task: TaskOptions,
    limit: LimitOptions,
    choice: ChoiceOptions,
) -> dict[str, Any]:
    """Everything that a pruning follows from, as plain data."""
    members = {"model": parse_member("model", given.name), **{name: getattr(task, name) for name in task._fields[1:]}}
    found: dict[str, Any] = {"version": __version__, "torch": torch.__version__, "inputs": list(inputs)}
    for name, member in members.items():
        if member is None:
            continue
        content = read_given(member[0], _MOST_BYTES, "the file")
        found[name] = f"{os.path.basename(member[0])}:{member[1]}"
        found[f"file of {name}"] = digest(content).hex()
    network = given.network
    parts = (network.name, network.operations, network.widths, network.parameters)
    found["network"] = digest(repr(parts).encode()).hex()
    found["weights"] = weights_digest(given.model)
    found["array"] = _array_text(machine)
    return found | limit._asdict() | choice._asdict()


def _array_text(machine: Machine | CostTable) -> str:
    if isinstance(machine, Machine):
        return repr(machine.array)
    return digest(costs_csv(machine.array).encode()).hex()


def _pruned(
    given: Source,
    machine: Machine | CostTable,
    task: TaskOptions,
    limit: LimitOptions,
    choice: ChoiceOptions,
    tuning: TuningOptions,
    folder: RunFolder | None,
) -> Pruned:
    """Cuts and trains the module."""
    data, held_out = (_object(option, member, given.files) for option, member in (
        ("--data", task.data), ("--held-out", task.held_out)
    ))  # fmt: skip
    loss = F.cross_entropy if task.loss is None else _object("--loss", task.loss, given.files, made=False)
    notes = list(given.notes)
    if data is None:
        notes.append("NO DATA: channels are chosen by their weights alone, which know nothing of the task")
    elif tuning.epochs is not None:
        Task(data, loss).length  # noqa: B018  # raises before anything is measured
    known = {} if folder is None else folder.losses()
    with progress_of_unknown("measurements", only_on_terminals=True) as show, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no data: ", UserWarning)  # said above

        def say() -> None:  # once all arguments are checked, and before the work that takes long
            while notes:
                note(notes.pop(0))

        def measured(done: int, whole: int) -> None:
            say()
            if folder is not None:
                folder.keep(known)
            show(done, whole)

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
            seed=choice.seed,
            name=given.network.name,
            known_losses=known,
            progress=measured,
        )
        say()
    result.report.array = machine.label
    result.report.notes[:0] = given.notes
    if tuning.epochs is not None:
        epochs, distil, rate = tuning.values()
        checkpoint = None if folder is None else folder.checkpoint
        with progress_of_unknown("batches", only_on_terminals=True) as show:
            result.fine_tune(
                epochs=epochs,
                distil=distil,
                optimizer=functools.partial(default_optimizer, learning_rate=rate),
                checkpoint=checkpoint,
                progress=show,
            )
    return result


def _object(option: str, member: tuple[str, str] | None, files: dict[str, ModuleType], *, made: bool = True) -> Any:
    """The object of an option."""
    if member is None:
        return None
    try:
        return load_object(*member, made=made, files=files)
    except InvalidValueError as error:
        raise InvalidValueError(option, ":".join(member), "name another object", reason=str(error)) from error


def _document(given: Source, result: Pruned) -> dict[str, Any]:
    """Everything about a result as plain data."""
    changes = {path: {name: list(pair) for name, pair in own.items()} for path, own in result.changed_numbers.items()}
    return {"model": given.name, **result.report.as_dict(), "changed_numbers": changes}


def _lines(result: Pruned) -> list[str]:
    """The report for people, with the numbers to change."""
    return [*result.report.lines(), "", "numbers to change in the code:", *changed_lines(result.changed_numbers)]
