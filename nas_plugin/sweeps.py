"""Many searches side by side: methods x arrays x targets (or lambdas) x seeds, each winner trained several times.

A sweep is a folder of tasks, each with a folder and a result file of its own. A task that has its result file is done;
one that was stopped goes on from its checkpoint; so a sweep that was killed goes on where it was. Tasks run in parallel
through joblib, one thread each. What they have in common is done once: a super-network serves all arrays and targets
of its seed, and a network that several searches found is trained once a training seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from hwcost import InvalidValueError, SystolicArray
from nas_plugin.arch_def import ArchDef, Choice, parse_arch_def
from nas_plugin.data import Dataset, load
from nas_plugin.errors import RunError
from nas_plugin.files import write_json, write_json_lines, write_whole
from nas_plugin.folders import load_checkpoint, made_with, new_folder, read_folder, save_checkpoint, threads
from nas_plugin.methods import RIVALS, Searcher, check, needs_target, searcher, winner_of
from nas_plugin.one_shot import OneShotSearch, SuperNetworkTraining
from nas_plugin.result import array_dict
from nas_plugin.settings import Settings
from nas_plugin.targets import Target
from nas_plugin.training import Record, Training, accuracy

__all__ = ["Sweep", "SweepProgress", "SweepSettings", "Task", "run_sweep"]

SCHEMA = "nas_plugin.sweep/3"
LOG = "log.jsonl"
BEGUN = ".begun"
"""In the folder of a task that a sweep works on: the process of the sweep."""

SweepProgress = Callable[[int, int, str], None]
"""Called after each task with how many are done, how many there are at most, and a line about it.

How many networks are to be trained is known when all searches have ended; until then each is taken to find its own.
Where nothing ends for :data:`QUIET` seconds, it is called from a second thread, though never twice at once, with a line
about what is being worked on.
"""
QUIET = 20.0


@dataclass(frozen=True)
class SweepSettings:
    """What is compared.

    Attributes:
        data: the source of the images.
        count: training images that are used.
        methods: names in :data:`nas_plugin.methods.RIVALS`.
        targets: limits on the winners' exact cost; or
        weights: lambdas, where there are no targets.
        seeds: of the searches.
        train_seeds: each winner, and the reference, is trained with seeds 0, 1, ... so many times.
        given: settings that all searches share and that were not left to their defaults.
    """

    data: str
    count: int
    methods: tuple[str, ...]
    targets: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    train_seeds: int = 3
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(str(Target.parse(target)) for target in self.targets))
        for name in ("methods", "seeds"):
            _check_list(name, getattr(self, name))
        for name in _OWN:
            if name in self.given:
                raise InvalidValueError(name, self.given[name], "nothing: a sweep sets it for each of its searches")
        for method in self.methods:
            if method not in RIVALS:
                raise InvalidValueError("methods", method, f"one of: {', '.join(RIVALS)}")
        if bool(self.targets) == bool(self.weights):
            raise InvalidValueError("targets", list(self.targets), "targets or lambdas, one of the two")
        _check_list("targets" if self.targets else "weights", self.targets or self.weights)
        if type(self.train_seeds) is not int or not 1 <= self.train_seeds <= 100:
            raise InvalidValueError("train_seeds", self.train_seeds, "an integer from 1 to 100")
        for method, limit, seed in itertools.product(self.methods, self.limits, self.seeds):
            self.search(method, limit, seed)
            if needs_target(method) and not self.targets:
                raise InvalidValueError("methods", method, "methods that know lambda; this one needs targets")

    @property
    def limits(self) -> tuple[dict[str, Any], ...]:
        """The targets, or the lambdas, as settings."""
        if self.targets:
            return tuple({"target": target} for target in self.targets)
        return tuple({"weight": weight} for weight in self.weights)

    def search(self, method: str, limit: Mapping[str, Any], seed: int) -> Settings:
        """The settings of one search."""
        return self._settings(seed, **RIVALS[method], **limit)

    def training(self, seed: int) -> Settings:
        """The settings of one training."""
        return self._settings(seed)

    def super_network(self, seed: int) -> Settings:
        """The settings of one super-network: those of any one-shot search with the seed."""
        return self._settings(seed, method="one-shot")

    def _settings(self, seed: int, **own: Any) -> Settings:
        return Settings.for_size(self.count, data=self.data, seed=seed, **(dict(self.given) | own))

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON."""
        return dataclasses.asdict(self)


_OWN = ("data", "method", "latency", "snaps", "seed", "target")


def _check_list(name: str, values: Sequence[Any]) -> None:
    if not values or len(set(values)) != len(values):
        raise InvalidValueError(name, list(values), "at least one, each once")


def size_of(array: SystolicArray) -> str:
    """Rows x columns, as in file names."""
    return f"{array.rows}x{array.cols}"


@dataclass(frozen=True)
class Task:
    """One piece of a sweep: where its result goes, and what makes it.

    Attributes:
        folder: of the task, below the sweep's.
        result: the name of its result file.
        arch: the search space on its array.
        settings: of the search or training.
        kind: "super-network", "search" or "training".
        label: for people.
        choice: of a training.
        super_network: the file that a one-shot search takes its weights from.
    """

    folder: Path
    result: str
    arch: ArchDef
    settings: Settings
    kind: str
    label: str
    choice: Choice | None = None
    super_network: Path | None = None

    @property
    def path(self) -> Path:
        """Of the result file."""
        return self.folder / self.result

    @property
    def done(self) -> bool:
        """Whether it has been made."""
        return self.path.exists()

    def read(self) -> dict[str, Any]:
        """The result.

        Raises:
            RunError: a damaged file.
        """
        try:
            content: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path} cannot be read: {error}; delete it and resume the sweep") from None
        if not isinstance(content, dict) or content.get("schema") != f"{SCHEMA}/{self.kind}":
            raise RunError(f"{self.path} holds no result of a {self.kind}; delete it and resume the sweep")
        return content


@functools.lru_cache(maxsize=1)
def _images(data: str, classes: int, shape: tuple[int, int], images: int | None) -> tuple[Dataset, Dataset]:
    return load(data, classes=classes, shape=shape, images=images)


def images_of(arch: ArchDef, settings: Settings) -> tuple[Dataset, Dataset]:
    """Training and test images; kept, since a worker does several tasks."""
    return _images(settings.data, arch.classes, (arch.height, arch.width), settings.images)


def perform(task: Task, owner: int) -> str:
    """Does a task from its last checkpoint on, and writes its result; returns a line about it.

    Args:
        task: what to do.
        owner: the process that runs the sweep. When it is gone, however it went, its workers stop at the end of
            the step they are in and write nothing, so that a resumed sweep has the folder for itself.
    """
    with threads(task.settings.threads):
        task.folder.mkdir(parents=True, exist_ok=True)
        _check_owner(task, owner)
        write_whole(task.folder / BEGUN, str(owner).encode())
        return _KINDS[task.kind](task, owner)


def _advance(work: Any, task: Task, owner: int) -> list[Record]:
    """Runs what is left of something that learns, with a checkpoint after each step; returns its log."""
    log: list[Record] = []
    state = load_checkpoint(task.folder, advice="delete it and resume the sweep")
    if state is not None:
        work.load_state_dict(state["work"])
        log = list(state["log"])
    while not work.done:
        log.append(work.run_epoch())
        _check_owner(task, owner)
        write_json_lines(task.folder / LOG, log)
        save_checkpoint(task.folder, {"work": work.state_dict(), "log": log})
    return log


def _check_owner(task: Task, owner: int) -> None:
    if owner not in (os.getpid(), os.getppid()):
        raise RunError(f"the process that ran the sweep {task.folder.parent.parent} is gone")


def _finish(task: Task, content: dict[str, Any], log: list[Record]) -> None:
    head = {"schema": f"{SCHEMA}/{task.kind}", "settings": task.settings.as_dict(), "made_with": made_with()}
    write_json_lines(task.folder / LOG, log)
    write_json(task.path, head | content)
    for name in ("checkpoint.pt", BEGUN):
        (task.folder / name).unlink(missing_ok=True)


def _super_network(task: Task, owner: int) -> str:
    training = SuperNetworkTraining(task.arch, task.settings, images_of(task.arch, task.settings)[0])
    log = _advance(training, task, owner)
    weights = {name: tensor.contiguous() for name, tensor in training.network.state_dict().items()}
    write_whole(task.folder / "weights.safetensors", safetensors.torch.save(weights))
    _finish(task, {"accuracy_of_reference_sizes": log[-1]["accuracy"] if log else None}, log)
    return task.label


def _search(task: Task, owner: int) -> str:
    train, _ = images_of(task.arch, task.settings)
    work: Searcher
    if task.super_network is None:
        work = searcher(task.arch, task.settings, train)
    else:
        work = OneShotSearch(task.arch, task.settings, train, _weights(task.super_network))
    log = _advance(work, task, owner)
    derived = work.derived()
    winner = winner_of(task.arch, task.settings, derived)
    cycles, reference = task.arch.cycles(winner), task.arch.cycles(task.arch.reference)
    content = {
        "array": array_dict(task.arch.array),
        "derived": derived,
        "winner": winner,
        "cycles": cycles,
        "cycles_ratio": cycles / reference,
    }
    if task.settings.target is not None:
        content["share_of_target"] = cycles / Target.parse(task.settings.target).cycles(task.arch)
    if isinstance(work, OneShotSearch):
        content["scores"] = work.scores()
    _finish(task, content, log)
    return f"{task.label}: {key_of(winner)}, {cycles / reference:.3f} of the reference's cycles"


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}; delete {path.parent} and resume the sweep") from None
    return weights


def _training(task: Task, owner: int) -> str:
    assert task.choice is not None
    train, test = images_of(task.arch, task.settings)
    training = Training(task.arch, task.choice, task.settings, train)
    log = _advance(training, task, owner)
    found = accuracy(training.network, test)  # the only look at the test images
    content = {"choice": dict(task.choice), "seed": task.settings.seed, "test_accuracy": found}
    _finish(task, content | {"parameters": training.network.parameter_count}, log)
    return f"{task.label}: {100 * found:.2f} %"


_KINDS: Mapping[str, Callable[[Task, int], str]] = {
    "super-network": _super_network,
    "search": _search,
    "training": _training,
}


def key_of(choice: Choice) -> str:
    """A network's sizes in the order of the decisions, as in file names.

    >>> key_of({"conv1.width": 6, "conv1.kernel": 5, "fc1.width": 120})
    '6-5-120'
    """
    return "-".join(str(size) for size in choice.values())


@dataclass(frozen=True)
class Sweep:
    """A sweep in its folder.

    Attributes:
        path: the folder.
        arch: the search space.
        arrays: the accelerators.
        settings: what is compared.
    """

    path: Path
    arch: ArchDef
    arrays: tuple[SystolicArray, ...]
    settings: SweepSettings

    @classmethod
    def create(cls, path: Path, arch: ArchDef, arrays: Sequence[SystolicArray], settings: SweepSettings) -> Sweep:
        """A new folder with the settings.

        Raises:
            RunError: the folder holds something already, or cannot be made.
            InvalidValueError: the same array twice, or none; a target that no network meets on one of them.
        """
        _check_list("array", [size_of(array) for array in arrays])
        for array, method, limit in itertools.product(arrays, settings.methods, settings.limits):
            check(dataclasses.replace(arch, array=array), settings.search(method, limit, settings.seeds[0]))
        content = {
            "schema": SCHEMA,
            "sweep": settings.as_dict(),
            "arrays": [array_dict(array) for array in arrays],
            "images": fingerprint(arch, settings),
            "made_with": made_with(),
        }
        with new_folder(path) as begun:
            write_whole(begun / "arch_def.toml", arch.text.encode())
            write_json(begun / "sweep.json", content)
        return cls(path, arch, tuple(arrays), settings)

    @classmethod
    def open(cls, path: Path) -> Sweep:
        """A sweep that was begun.

        Raises:
            RunError: no sweep, a damaged one, or one of other images than are there now.
        """
        content, text = read_folder(path, "sweep.json", SCHEMA)
        try:
            given = content["sweep"].items()
            lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
            settings = SweepSettings(**lists)
            arrays = tuple(SystolicArray(**array) for array in content["arrays"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{path / 'sweep.json'} is damaged: {error}; start a new sweep") from None
        arch = parse_arch_def(text, str(path / "arch_def.toml"), arrays[0])
        if content.get("images") != fingerprint(arch, settings):
            raise RunError(f"{path} was begun with other images than {settings.data} holds now; start a new sweep")
        return cls(path, arch, arrays, settings)

    def on(self, array: SystolicArray) -> ArchDef:
        """The search space on one of the arrays."""
        return dataclasses.replace(self.arch, array=array)

    def super_networks(self) -> list[Task]:
        """One a seed, where a one-shot search asks for it."""
        if "one-shot" not in self.settings.methods:
            return []
        return [
            Task(
                self.path / "super-networks" / f"seed{seed}",
                "super-network.json",
                self.arch,
                self.settings.super_network(seed),
                "super-network",
                f"super-network, seed {seed}",
            )
            for seed in self.settings.seeds
        ]

    def searches(self) -> Iterator[tuple[str, Task]]:
        """Every search with the name of its method."""
        for array, method, limit, seed in itertools.product(
            self.arrays, self.settings.methods, self.settings.limits, self.settings.seeds
        ):
            settings = self.settings.search(method, limit, seed)
            ((kind, value),) = limit.items()
            kind = {"weight": "lambda"}.get(kind, kind)
            name = f"{size_of(array)}-{method}-{kind}{value}-seed{seed}"
            weights = self.path / "super-networks" / f"seed{seed}" / "weights.safetensors"
            label = f"{method} on {size_of(array)}, {kind} {value}, seed {seed}"
            yield (
                method,
                Task(
                    self.path / "searches" / name,
                    "search.json",
                    self.on(array),
                    settings,
                    "search",
                    label,
                    super_network=weights if method == "one-shot" else None,
                ),
            )

    def trainings(self, choice: Choice) -> list[Task]:
        """The trainings of one network."""
        return [
            Task(
                self.path / "trainings" / f"{key_of(choice)}-seed{seed}",
                "training.json",
                self.arch,
                self.settings.training(seed),
                "training",
                f"training {key_of(choice)}, seed {seed}",
                choice=choice,
            )
            for seed in range(self.settings.train_seeds)
        ]


def fingerprint(arch: ArchDef, settings: SweepSettings) -> list[int]:
    """Of the images: a sweep must go on with those it began with."""
    parts = images_of(arch, settings.training(0))
    return [part.fingerprint for part in parts]


def run_sweep(sweep: Sweep, jobs: int = 1, progress: SweepProgress | None = None) -> None:
    """Does all that is left of a sweep.

    Args:
        sweep: made by :meth:`Sweep.create` or :meth:`Sweep.open`.
        jobs: tasks at a time.
        progress: called after each task.

    Raises:
        RunError: a file is damaged.
    """
    searches = [task for _, task in sweep.searches()]
    early = [*sweep.trainings(sweep.arch.reference), *sweep.super_networks()]
    early += [task for task in searches if task.super_network is None]
    late = [task for task in searches if task.super_network is not None]
    before = len(early) + len(late)
    report = _Report(progress, before + sweep.settings.train_seeds * len(searches))
    for phase in (early, late):
        _run(phase, jobs, report)
    found = {key_of(task.read()["winner"]): task.read()["winner"] for task in searches}
    found.pop(key_of(sweep.arch.reference), None)
    trainings = [task for choice in found.values() for task in sweep.trainings(choice)]
    report.total = before + len(trainings)
    _run(trainings, jobs, report)


@dataclass
class _Report:
    """Counts tasks for whoever watches; trainings of winners join the total when all winners are known."""

    progress: SweepProgress | None
    total: int
    done: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def __call__(self, line: str, ended: int = 1) -> None:
        """Something ended, or with 0 goes on."""
        with self.lock:
            self.done += ended
            if self.progress is not None:
                self.progress(self.done, self.total, line)


def _run(tasks: Sequence[Task], jobs: int, report: _Report) -> None:
    import joblib  # type: ignore[import-untyped]

    for task in tasks:
        if task.done:
            report(f"{task.label}: was done")
    left = [joblib.delayed(perform)(task, os.getpid()) for task in tasks if not task.done]
    if left:
        with _heartbeat([task for task in tasks if not task.done], report) as beat:
            for line in joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(left):
                beat()
                report(line)


@contextlib.contextmanager
def _heartbeat(tasks: Sequence[Task], report: _Report) -> Iterator[Callable[[], None]]:
    """Says what is being worked on where nothing has ended for a while; what it gives says that something has."""
    ended, over = threading.Event(), threading.Event()
    broken: list[BaseException] = []

    def watch() -> None:
        while not over.is_set() and not broken:
            if ended.wait(QUIET):
                ended.clear()
                continue
            under_way = [f"{task.label}, step {_steps_of(task)}" for task in tasks if _is_under_way(task)]
            if under_way:
                try:
                    report("; ".join(under_way), ended=0)
                except BaseException as error:  # whatever the caller's function raises goes to the caller
                    broken.append(error)

    def beat() -> None:
        ended.set()
        if broken:
            raise broken[0]

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield beat
    finally:
        over.set()
        ended.set()
        watcher.join()
    if broken:
        raise broken[0]


def _is_under_way(task: Task) -> bool:
    try:
        return (task.folder / BEGUN).read_text(encoding="utf-8") == str(os.getpid())
    except OSError:
        return False


def _steps_of(task: Task) -> int:
    """How many steps a task has done."""
    try:
        return len((task.folder / LOG).read_bytes().splitlines())
    except OSError:
        return 0
