"""One piece of work in its own folder: train a super-network, search, or train a network.

A task that has its result file is done; one that was stopped resumes from its checkpoint. Its result depends neither on
where it runs nor on how often it was stopped: each step ends with an atomic checkpoint of everything that the rest
depends on, and randomness is a function of seed, purpose and step.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
from torch import Tensor

from hwcost.files import digest
from hwcost.pruning.identity import made_with
from hwcost.pruning.weights import saved_weights
from nas_plugin.errors import RunError
from nas_plugin.images import Dataset, load
from nas_plugin.methods.finding import searcher, shared_training, winner_of
from nas_plugin.methods.pruning import tuned
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record, SuperNetworkTraining, Training, held_out
from nas_plugin.runs import folders
from nas_plugin.runs.folders import CHECKPOINT, Owner, save
from nas_plugin.space.arch_def import ArchDef, Choice

__all__ = ["SCHEMA", "OnStep", "Task", "images_of", "key_of", "perform", "read_weights"]

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
        start: the search whose weights a training goes on from; None starts from new ones.
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
    start: Task | None = None
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
            "start": self.start and self.start.identity,
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
        return os.path.exists(self.path)  # False for a name that is too long

    def read(self) -> dict[str, Any]:
        """The result. Raises RunError if the file is damaged, was changed, or is that of another task."""
        content = folders.read_json(self.path, f"{SCHEMA}/{self.kind}", "delete it and resume")
        for name, value in self.identity.items():
            if content.get(name) != value:
                advice = "delete it and resume, or begin in another folder"
                raise RunError(f"{self.path} holds the result of another task: its {name!r} differs; {advice}")
        try:
            fits = _KINDS[self.kind].fits(self, content)
        except (AttributeError, KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise RunError(f"{self.path} cannot be used: its figures do not fit the task; delete it and resume")
        return content

    def file(self, name: str) -> bytes:
        """A file of a finished task. Raises RunError if it is not the one that the task wrote."""
        path, advice = self.folder / name, f"delete {self.folder} and resume"
        content = folders.read_content(path, advice)
        if digest(content).hex() != self.read()["files"].get(name):
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
    with _ONE_AT_A_TIME, folders.threads(task.settings.threads):
        folders.check_made_with(task.made_with, "the sweep was started")
        owner.check()
        if task.done:  # another worker did it, and was lost before it could say so
            (task.folder / CHECKPOINT).unlink(missing_ok=True)
            return f"{task.label}: was done"
        with folders.usable(task.folder, "made", "let this user write there and resume"):
            task.folder.mkdir(parents=True, exist_ok=True)
        kind, (train, test) = _KINDS[task.kind], images_of(task.arch, task.settings)
        work = kind.begin(task, train)
        log = _advance(work, task, owner, on_step)
        content, line = kind.end(task, work, test)
        save(task.folder / LOG, log)
        written = [task.folder / name for name in (LOG, WEIGHTS) if (task.folder / name).exists()]
        files = {path.name: digest(path.read_bytes()).hex() for path in written}
        folders.save_json(task.path, {"schema": f"{SCHEMA}/{task.kind}"} | task.identity | content | {"files": files})
        (task.folder / CHECKPOINT).unlink(missing_ok=True)
        return f"{task.label}{line}"


def _advance(work: Any, task: Task, owner: Owner, on_step: OnStep | None) -> list[Record]:
    """Runs the steps that are left, with a checkpoint after each; returns the log of all."""
    owns = {"kind": task.kind} | task.identity
    state = folders.load_checkpoint(task.folder, owns)
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
        folders.save_checkpoint(task.folder, owns, work=work.state_dict(), log=log)
        if on_step is not None:
            on_step(task, len(log), work.steps, log[-1])
    return log


def _training(task: Task, train: Dataset) -> Training:
    choice, start = task.choice or {}, task.start
    if start is None:
        return Training(task.arch, choice, task.settings, train)
    trained: Training = tuned(task.arch, choice, task.settings, train, read_weights(start))
    return trained


def _search(task: Task, train: Dataset) -> Any:
    weights = None if task.super_network is None else read_weights(task.super_network)
    return searcher(task.arch, task.settings, train, weights)


def _found(task: Task, work: Any, test: Dataset) -> tuple[dict[str, Any], str]:
    derived = work.derived()
    winner = winner_of(task.arch, task.settings, derived)
    content = {"derived": derived, "winner": winner} | _figures(task, winner)
    if task.settings.method_row.keeps_weights:
        save(task.folder / WEIGHTS, saved_weights(work.weights()))
    if hasattr(work, "scores"):
        content["scores"] = work.scores()
    return content, f": {key_of(winner)}, {content['cycles_ratio']:.3f} of the reference's cycles"


def _figures(task: Task, winner: Choice) -> dict[str, Any]:
    arch, target, cycles = task.arch, task.settings.target, task.arch.cycles(winner)
    share = {} if target is None else {"share_of_target": cycles / arch.limit(target)}
    return {"cycles": cycles, "cycles_ratio": cycles / arch.cycles(arch.reference)} | share


def _search_fits(task: Task, content: dict[str, Any]) -> bool:
    """Whether the networks are of the search space, and the figures are those of the winner."""
    for choice in (content["derived"], content["winner"]):
        sizes = [(choice[name], options) for name, options in task.arch.decisions.items()]
        if len(choice) > len(sizes) or any(type(s) is not int or not o[0] <= s <= o[-1] for s, o in sizes):
            return False
    return bool(content.items() >= _figures(task, content["winner"]).items())


def _trained(task: Task, work: Training, test: Dataset) -> tuple[dict[str, Any], str]:
    found = held_out(work.network, test)[1]  # the only look at the test images
    save(task.folder / WEIGHTS, saved_weights(work.network))
    return {"test_accuracy": found, "parameters": work.network.parameter_count}, f": {100 * found:.2f} %"


def _super_network(task: Task, work: SuperNetworkTraining, test: Dataset) -> tuple[dict[str, Any], str]:
    save(task.folder / WEIGHTS, saved_weights(work.network))
    return {}, ""


class _Kind(NamedTuple):
    """What advances step by step, the content of the result and the end of the line for people, and its check."""

    begin: Callable[[Task, Dataset], Any]
    end: Callable[[Task, Any, Dataset], tuple[dict[str, Any], str]]
    fits: Callable[[Task, dict[str, Any]], bool] = lambda task, content: True


_KINDS: Mapping[str, _Kind] = {
    "super-network": _Kind(
        lambda task, train: shared_training(task.settings)(task.arch, task.settings, train), _super_network
    ),
    "search": _Kind(_search, _found, _search_fits),
    "training": _Kind(
        _training,
        _trained,
        lambda task, content: 0 <= content["test_accuracy"] <= 1,
    ),
}


def read_weights(task: Task) -> dict[str, Tensor]:
    """The weights that a finished task wrote. Raises RunError if the file is damaged or another's."""
    return safetensors.torch.load(task.file(WEIGHTS))
