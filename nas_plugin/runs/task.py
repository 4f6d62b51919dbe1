"""One piece of work in its own folder: train a super-network, search, or train a network.

A task that has its result file is done; one that was stopped resumes from its checkpoint. Its result depends neither on
where it runs nor on how often it was stopped: each step ends with an atomic checkpoint of everything that the rest
depends on, and randomness is a function of seed, purpose and step.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from nas_plugin.errors import RunError
from nas_plugin.images import Dataset, load
from nas_plugin.methods.finding import searcher, winner_of
from nas_plugin.methods.settings import SearchSettings, Target
from nas_plugin.methods.training import Record, SuperNetworkTraining, Training, held_out
from nas_plugin.runs.folders import CHECKPOINT, Owner, load_checkpoint, made_with, save, save_checkpoint, threads
from nas_plugin.space.arch_def import ArchDef, Choice

__all__ = ["SCHEMA", "OnStep", "Task", "images_of", "key_of", "perform", "read_weights", "weights_of"]

SCHEMA = "nas_plugin.sweep/4"
LOG = "log.jsonl"
WEIGHTS = "weights.safetensors"

OnStep = Callable[["Task", int, int, Record], None]
"""Called after each step of a task, in its process, with the step, the number of steps and the log record."""

_ONE_AT_A_TIME = threading.Lock()
"""Tasks set torch's threads and seeds, which are the process's: a worker with several threads runs one task."""


@dataclass(frozen=True)
class Task:
    """A task and what it needs; it can travel to another process or machine that shares the folder.

    Attributes:
        kind: "super-network", "search" or "training".
        folder: of the task, an absolute path.
        arch: the search space on its array.
        settings: of the search or training.
        label: for people.
        choice: of a training.
        super_network: folder of the task whose weights a search takes; None trains its own, if it needs one.
    """

    kind: str
    folder: Path
    arch: ArchDef
    settings: SearchSettings
    label: str
    choice: Choice | None = None
    super_network: Path | None = None

    @property
    def path(self) -> Path:
        """Of the result file."""
        return self.folder / f"{self.kind}.json"

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.path.exists()

    def read(self) -> dict[str, Any]:
        """The result. Raises RunError if the file is damaged."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path} cannot be read: {error}; delete it and resume") from None
        if not isinstance(content, dict) or content.get("schema") != f"{SCHEMA}/{self.kind}":
            raise RunError(f"{self.path} does not hold the result of a {self.kind}; delete it and resume")
        return content

    def log(self) -> list[Record]:
        """A record for each step done so far."""
        path = self.folder / LOG
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def key_of(choice: Choice) -> str:
    """A network's sizes in the order of the decisions, as in file names.

    >>> key_of({"conv1.width": 6, "conv1.kernel": 5, "fc1.width": 120})
    '6-5-120'
    """
    return "-".join(str(size) for size in choice.values())


@functools.lru_cache(maxsize=1)
def _images(data: str, classes: int, shape: tuple[int, int], images: int | None) -> tuple[Dataset, Dataset]:
    return load(data, classes=classes, shape=shape, images=images)


def images_of(arch: ArchDef, settings: SearchSettings, *, fresh: bool = False) -> tuple[Dataset, Dataset]:
    """Training and test images; kept for the next task of the process, unless ``fresh`` reads them again."""
    if fresh:
        _images.cache_clear()
    return _images(settings.data, arch.classes, (arch.height, arch.width), settings.images)


def perform(task: Task, owner: Owner, on_step: OnStep | None = None) -> str:
    """Does what is left of a task and writes its result; returns a line for people.

    Raises RunError if the owner is gone, a file cannot be used, or a training diverged.
    """
    with _ONE_AT_A_TIME, threads(task.settings.threads):
        owner.check()
        try:
            task.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{task.folder} cannot be made: {error.strerror}") from None
        (begin, end), (train, test) = _KINDS[task.kind], images_of(task.arch, task.settings)
        work = begin(task, train)
        log = _advance(work, task, owner, on_step)
        content, line = end(task, work, test)
        head = {"schema": f"{SCHEMA}/{task.kind}", "settings": task.settings.as_dict(), "made_with": made_with()}
        save(task.folder / LOG, log)
        save(task.path, head | content)
        (task.folder / CHECKPOINT).unlink(missing_ok=True)
        return f"{task.label}{line}"


def _advance(work: Any, task: Task, owner: Owner, on_step: OnStep | None) -> list[Record]:
    """Runs the steps that are left, with a checkpoint after each; returns the log of all."""
    state = load_checkpoint(task.folder)
    if state is not None:
        work.load_state_dict(state["work"])
    log: list[Record] = [] if state is None else list(state["log"])
    while not work.done:
        log.append(work.run_epoch())
        owner.check()
        save(task.folder / LOG, log)
        save_checkpoint(task.folder, work=work.state_dict(), log=log)
        if on_step is not None:
            on_step(task, len(log), work.steps, log[-1])
    return log


def _search(task: Task, train: Dataset) -> Any:
    weights = None if task.super_network is None else read_weights(task.super_network)
    return searcher(task.arch, task.settings, train, weights)


def _found(task: Task, work: Any, test: Dataset) -> tuple[dict[str, Any], str]:
    arch, target, derived = task.arch, task.settings.target, work.derived()
    winner = winner_of(arch, task.settings, derived)
    cycles, ratio = arch.cycles(winner), arch.cycles(winner) / arch.cycles(arch.reference)
    content: dict[str, Any] = {"array": arch.array.as_dict(), "derived": derived, "winner": winner}
    content |= {"cycles": cycles, "cycles_ratio": ratio}
    if target is not None:
        content["share_of_target"] = cycles / Target.parse(target).cycles(arch)
    if hasattr(work, "scores"):
        content["scores"] = work.scores()
    return content, f": {key_of(winner)}, {ratio:.3f} of the reference's cycles"


def _trained(task: Task, work: Training, test: Dataset) -> tuple[dict[str, Any], str]:
    found = held_out(work.network, test)[1]  # the only look at the test images
    save(task.folder / WEIGHTS, weights_of(work.network))
    content = {"choice": task.choice, "seed": task.settings.seed, "test_accuracy": found}
    return content | {"parameters": work.network.parameter_count}, f": {100 * found:.2f} %"


def _super_network(task: Task, work: SuperNetworkTraining, test: Dataset) -> tuple[dict[str, Any], str]:
    save(task.folder / WEIGHTS, weights_of(work.network))
    return {}, ""


_KINDS: Mapping[str, tuple[Callable[..., Any], Callable[..., tuple[dict[str, Any], str]]]] = {
    "super-network": (lambda task, train: SuperNetworkTraining(task.arch, task.settings, train), _super_network),
    "search": (_search, _found),
    "training": (lambda task, train: Training(task.arch, task.choice or {}, task.settings, train), _trained),
}
"""What advances step by step, and at the end the content of the result file and the end of the line for people."""


def weights_of(network: nn.Module) -> bytes:
    """The weights of a network as the content of a safetensors file."""
    return safetensors.torch.save({name: each.contiguous() for name, each in network.state_dict().items()})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that a task wrote. Raises RunError if the file is damaged."""
    path = folder / WEIGHTS
    try:
        return safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}; delete {folder} and resume") from None
