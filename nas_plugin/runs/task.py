"""One piece of work in its own folder: train a super-network, search, or train a network.

A task that has its result file is done; one that was stopped resumes from its checkpoint. Its result depends neither on
where it runs nor on how often it was stopped: each step ends with an atomic checkpoint of everything that the rest
depends on, and randomness is a function of seed, purpose and step.
"""

from __future__ import annotations

import functools
import json
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from nas_plugin.runs.folders import (
    CHECKPOINT,
    Owner,
    digest_of,
    load_checkpoint,
    made_with,
    read_content,
    read_json,
    save,
    save_checkpoint,
    save_json,
    threads,
)
from nas_plugin.space.arch_def import ArchDef, Choice

__all__ = ["SCHEMA", "OnStep", "Task", "images_of", "key_of", "perform", "read_weights", "weights_of"]

SCHEMA = "nas_plugin.sweep/5"
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
        super_network: the task whose weights a search takes; None trains its own, if it needs one.
        images: checksums of the images.
        made_with: versions and device.
    """

    kind: str
    folder: Path
    arch: ArchDef
    settings: SearchSettings
    label: str
    choice: Choice | None = None
    super_network: Task | None = None
    images: tuple[int, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=made_with)

    @property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on, in values that JSON knows; a file of another identity is another's."""
        content = {
            "settings": self.settings.as_dict(),
            "array": self.arch.array.as_dict() if self.kind == "search" else None,
            "space": zlib.crc32(self.arch.text.encode()),
            "images": self.images,
            "choice": self.choice,
            "super_network": self.super_network and self.super_network.identity,
            "made_with": dict(self.made_with),
        }
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain

    @property
    def path(self) -> Path:
        """Of the result file."""
        return self.folder / f"{self.kind}.json"

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.path.exists()

    def read(self) -> dict[str, Any]:
        """The result. Raises RunError if the file is damaged, was changed, or is that of another task."""
        try:
            content = read_json(self.path, f"{SCHEMA}/{self.kind}")
        except RunError as error:
            raise RunError(f"{error}; delete it and resume") from None
        for name, value in self.identity.items():
            if content.get(name) != value:
                advice = "delete it and resume, or begin in another folder"
                raise RunError(f"{self.path} holds the result of another task: its {name!r} differs; {advice}")
        return content

    def file(self, name: str) -> bytes:
        """A file of a finished task. Raises RunError if it is not the one that the task wrote."""
        path, advice = self.folder / name, f"delete {self.folder} and resume"
        try:
            content = read_content(path)
        except RunError as error:
            raise RunError(f"{error}; {advice}") from None
        if digest_of(content) != self.read()["files"].get(name):
            raise RunError(f"{path} cannot be used: it was changed after it was written; {advice}")
        return content

    def log(self) -> list[Record]:
        """A record for each step of a finished task."""
        return [json.loads(line) for line in self.file(LOG).splitlines()]

    @property
    def steps(self) -> int:
        """The number of steps done so far."""
        path = self.folder / LOG
        return path.read_bytes().count(b"\n") if path.exists() else 0


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
        save(task.folder / LOG, log)
        files = {name: digest_of(path.read_bytes()) for name in (LOG, WEIGHTS) if (path := task.folder / name).exists()}
        save_json(task.path, {"schema": f"{SCHEMA}/{task.kind}"} | task.identity | content | {"files": files})
        (task.folder / CHECKPOINT).unlink(missing_ok=True)
        return f"{task.label}{line}"


def _advance(work: Any, task: Task, owner: Owner, on_step: OnStep | None) -> list[Record]:
    """Runs the steps that are left, with a checkpoint after each; returns the log of all."""
    owns = {"kind": task.kind} | task.identity
    state = load_checkpoint(task.folder, owns)
    if state is not None:
        try:
            work.load_state_dict(state["work"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # a row of the caller's
            what = f"{task.folder / CHECKPOINT} does not fit {task.settings.method}"
            raise RunError(f"{what}: {error}; delete it and resume") from None
    log: list[Record] = [] if state is None else list(state["log"])
    while not work.done:
        log.append(work.run_epoch())
        owner.check()
        save(task.folder / LOG, log)
        save_checkpoint(task.folder, owns, work=work.state_dict(), log=log)
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
    content: dict[str, Any] = {"derived": derived, "winner": winner}
    content |= {"cycles": cycles, "cycles_ratio": ratio}
    if target is not None:
        content["share_of_target"] = cycles / Target.parse(target).cycles(arch)
    if hasattr(work, "scores"):
        content["scores"] = work.scores()
    return content, f": {key_of(winner)}, {ratio:.3f} of the reference's cycles"


def _trained(task: Task, work: Training, test: Dataset) -> tuple[dict[str, Any], str]:
    found = held_out(work.network, test)[1]  # the only look at the test images
    save(task.folder / WEIGHTS, weights_of(work.network))
    return {"test_accuracy": found, "parameters": work.network.parameter_count}, f": {100 * found:.2f} %"


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


def read_weights(task: Task) -> dict[str, Tensor]:
    """The weights that a finished task wrote. Raises RunError if the file is damaged or another's."""
    return safetensors.torch.load(task.file(WEIGHTS))
