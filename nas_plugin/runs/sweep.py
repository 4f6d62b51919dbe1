"""Searches side by side, methods x arrays x limits x seeds, and the trainings of what they find, as tasks in a folder.

This is the one engine: a single run is a sweep of one method, one limit, one seed and one training seed. What tasks
have in common is done once: a super-network that several searches share is trained once per seed, and a network that
several searches found is trained once per training seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcost import InvalidValueError, SystolicArray
from hwcost.files import new_folder
from hwcost.machine.rows import Row, with_rows
from hwcost.pruning.identity import made_with
from hwcost.sweep import engines
from nas_plugin.errors import RunError
from nas_plugin.methods.finding import check, shared_training
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.runs.folders import Owner, check_made_with, read_content, read_json, save, save_json, usable
from nas_plugin.runs.settings import FILE, SweepSettings, another_folder, check_list
from nas_plugin.runs.task import SCHEMA, OnStep, Task, images_of, key_of, perform
from nas_plugin.space.arch_def import ArchDef, BlockKind, Choice
from nas_plugin.space.reader import parse_arch_def

__all__ = ["SearchSweep", "SweepProgress", "run_sweep", "size_of"]

MOST_BYTES = 2**20
ROWS = {name: declared.kind for name, declared in SystolicArray.declarations.items() if declared.kind.rows}
"""The fields of a machine that may hold rows of the caller's, of which a file holds the names."""


def size_of(array: SystolicArray) -> str:
    """Rows x columns, as in file names."""
    return f"{array.rows}x{array.cols}"


@dataclass(frozen=True)
class SearchSweep:
    """A sweep in its folder.

    Attributes:
        path: the folder.
        arch: the search space.
        arrays: the accelerators.
        settings: what is compared.
        made_with: versions and device.
        images: checksums of the images that it began with.
    """

    path: Path
    arch: ArchDef
    arrays: tuple[SystolicArray, ...]
    settings: SweepSettings
    made_with: Mapping[str, str] = dataclasses.field(default_factory=made_with)
    images: tuple[int, ...] = ()

    @classmethod
    def create(cls, path: Path, arch: ArchDef, arrays: Sequence[SystolicArray], settings: SweepSettings) -> SearchSweep:
        """A new folder with the settings.

        Raises RunError if the folder cannot be used, and InvalidValueError for the same array twice, no array, or a
        target that no network meets on one of them.
        """
        check_list("array", [size_of(array) for array in arrays])
        for array, method, limit in itertools.product(arrays, settings.methods, settings.limits):
            check(dataclasses.replace(arch, array=array), settings.search(method, limit, settings.seeds[0]))
        sweep = cls(path.absolute(), arch, tuple(arrays), settings, images=_checksums(arch, settings))
        content: dict[str, Any] = {"schema": SCHEMA, "sweep": settings.as_dict(), "made_with": sweep.made_with}
        content |= {"arrays": [array.as_dict() for array in arrays], "images": sweep.images}
        with usable(path, "made", another_folder(path)), new_folder(path) as begun:
            save(begun / "arch_def.toml", arch.text.encode())
            save_json(begun / FILE, content | {"space": zlib.crc32(arch.text.encode())})
        return sweep

    @classmethod
    def open(cls, path: Path, rows: Sequence[Row] = (), *, to_go_on: bool = False) -> SearchSweep:
        """A sweep that was begun, with the ``rows`` of your own that it uses; ``to_go_on`` if tasks may be left.

        Raises RunError if there is none, it is damaged, or, ``to_go_on``, if the images or versions are others now,
        and InvalidValueError for something that is not a row.
        """
        for row in rows:
            if not isinstance(row, Row):
                raise InvalidValueError("rows", row, "rows of your own, such as a Method, a Latency or a Dataflow")
        try:
            content = read_json(path / FILE, SCHEMA, "begin in another")
            text = read_content(path / "arch_def.toml", "begin in another", MOST_BYTES)
        except RunError as error:
            raise RunError(f"{path} is not the folder of a search or sweep: {error}") from None
        try:
            settings = SweepSettings.from_dict(content["sweep"], rows)
            arrays = tuple(SystolicArray(**with_rows(array, ROWS, rows)) for array in content["arrays"])
            more = dict(content["made_with"]), tuple(content["images"])
            array = arrays[0]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            advice = "begin in another folder, or pass the rows of your own that it uses"
            raise RunError(f"{path / FILE} cannot be used: {error}; {advice}") from None
        if content.get("space") != zlib.crc32(text):
            raise RunError(f"{path / 'arch_def.toml'} is not the one that the run began with; begin in another folder")
        kinds = [row for row in rows if isinstance(row, BlockKind)]
        arch = parse_arch_def(text.decode(), str(path / "arch_def.toml"), array, kinds=kinds)
        if to_go_on:
            check_made_with(more[0], f"{path} was begun")
        if to_go_on and more[1] != _checksums(arch, settings):
            advice = f"{settings.data} holds now; begin in another folder"
            raise RunError(f"{path} was begun with other images than {advice}")
        return cls(path.absolute(), arch, arrays, settings, *more)

    def _task(self, kind: str, folder: str, *of: Any, **more: Any) -> Task:
        more |= {"images": self.images, "made_with": self.made_with}
        return Task(kind, self.path / folder, *of, **more)

    def super_networks(self) -> dict[tuple[type, int], Task]:
        """One per seed for each way to train them, if several searches share it."""
        limits, seeds = self.settings.limits, self.settings.seeds
        each = [self.settings.search(method, limits[0], seeds[0]) for method in self.settings.methods]
        takers = [settings for settings in each if settings.method_row.takes_weights]
        found: dict[tuple[type, int], Task] = {}
        for training in dict.fromkeys(map(shared_training, takers)):
            own = [settings for settings in takers if shared_training(settings) is training]
            if len(self.arrays) * len(limits) * len(own) > 1:
                found |= {(training, seed): self._super_network(training.KIND, own[0], seed) for seed in seeds}
        return found

    def _super_network(self, name: str, settings: SearchSettings, seed: int) -> Task:
        own = dataclasses.replace(settings, seed=seed, target=None)
        return self._task("super-network", f"{name}s/seed{seed}", self.arch, own, f"{name}, seed {seed}")

    def searches(self) -> Iterator[tuple[str, Task]]:
        """Every search with the name of its method."""
        methods, limits, seeds = self.settings.methods, self.settings.limits, self.settings.seeds
        shared = self.super_networks()
        for array, method, limit, seed in itertools.product(self.arrays, methods, limits, seeds):
            settings, size = self.settings.search(method, limit, seed), size_of(array)
            kind, value = ("target", limit["target"]) if "target" in limit else ("lambda", limit["weight"])
            folder = f"searches/{size}-{method}-{kind}{value}-seed{seed}"
            label = f"{method} on {size}, {kind} {value}, seed {seed}"
            takes = settings.method_row.takes_weights
            network = shared.get((shared_training(settings), seed)) if takes else None
            arch = dataclasses.replace(self.arch, array=array)
            yield method, self._task("search", folder, arch, settings, label, super_network=network)

    def trainings(self, choice: Choice, search: Task | None = None) -> list[Task]:
        """The trainings of a network, one per training seed; with the weights of ``search`` if its method keeps any."""
        start = search if search is not None and search.settings.method_row.keeps_weights else None
        key = key_of(choice) if start is None else f"{start.folder.name}-{key_of(choice)}"
        own = [self.settings.training(seed) for seed in self.settings.train_seeds]
        of = ((f"trainings/{key}-seed{s.seed}", self.arch, s, f"training {key}, seed {s.seed}", choice) for s in own)
        return [self._task("training", *each, start=start) for each in of]

    def only_search(self) -> Task:
        """The search of a run. Raises RunError if there are several searches or trainings."""
        (_, search), *more = self.searches()
        if more or len(self.settings.train_seeds) > 1:
            advice = f"nas-plugin sweep --resume {self.path} goes on with it"
            raise RunError(f"{self.path} is not the folder of a run but holds a sweep; {advice}")
        return search

    def finished(self, task: Task) -> dict[str, Any]:
        """The result of a task. Raises RunError if it is not done, or damaged."""
        if not task.done:
            raise RunError(f"{self.path} has not ended; go on with --resume {self.path}")
        return task.read()


def _checksums(arch: ArchDef, settings: SweepSettings) -> tuple[int, ...]:
    return tuple(part.fingerprint for part in images_of(arch, settings.training(0), fresh=True))


SweepProgress = Callable[[int, int, str], None]
"""Called after each task with the number done, the number in all, and a line about it; never twice at once.

The number in all assumes, until all searches have ended, that each finds a network that no other finds. While no task
ends, a second thread calls it with a line about what is under way.
"""


def run_sweep(
    sweep: SearchSweep,
    owner: Owner,
    progress: SweepProgress | None = None,
    *,
    engine: str = "serial",
    jobs: int | None = None,
    on_step: OnStep | None = None,
    quiet: float = 20.0,
) -> None:
    """Does all that is left of a sweep.

    ``engine`` and ``jobs`` are those of :func:`hwcost.sweep.engines.run`; ``on_step`` needs engine "serial". After
    ``quiet`` seconds without an ended task ``progress`` is called with those under way. Raises RunError if a file is
    damaged or a training diverged, InvalidValueError for an engine that cannot be used, and what ``progress`` raises.
    """
    searches = [task for _, task in sweep.searches()]
    early = [*sweep.super_networks().values(), *(task for task in searches if task.super_network is None)]
    late = [task for task in searches if task.super_network is not None]
    done, total = 0, len(early) + len(late) + len(sweep.settings.train_seeds) * (len(searches) + 1)
    lock = threading.Lock()

    def report(ended: int, line: str) -> None:
        nonlocal done
        with lock:
            done += ended
            if progress is not None:
                progress(done, total, line)

    def run(tasks: Sequence[Task]) -> None:
        left = [task for task in tasks if not task.done]
        for task in tasks:
            if task.done:
                task.read()  # raises if the result is not that of the task
                report(1, f"{task.label}: was done")
        old, seen = [task.steps for task in left], done

        def under_way() -> None:
            nonlocal seen
            steps = [(task.label, 0 if task.done else task.steps) for task in left]
            begun = [f"{label}, step {n}" for (label, n), first in zip(steps, old, strict=True) if n not in (0, first)]
            if seen == done and begun:
                report(0, "; ".join(begun))
            seen = done

        calls = [functools.partial(perform, task, owner, on_step) for task in left]
        if calls:
            lines = engines.run(engine, calls, len(calls), jobs)
            with engines.every(quiet, under_way), contextlib.closing(lines):
                for line in lines:
                    report(1, line)

    run(early)
    run(late)
    of = [*(sweep.trainings(task.read()["winner"], task) for task in searches), sweep.trainings(sweep.arch.reference)]
    trainings = {task.folder: task for tasks in of for task in tasks}
    total = len(early) + len(late) + len(trainings)
    run(list(trainings.values()))
