"""Searches side by side, methods x arrays x limits x seeds, and the trainings of what they find, as tasks in a folder.

This is the one engine: a single run is a sweep of one method, one limit, one seed and one training seed. What tasks
have in common is done once: a super-network that several searches share is trained once a seed, and a network that
several searches found is trained once a training seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcost import SystolicArray
from hwcost.sweep import engines
from nas_plugin.errors import RunError
from nas_plugin.methods.finding import check
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import method_of
from nas_plugin.runs.folders import Owner, made_with, new_folder, save
from nas_plugin.runs.progress import Report
from nas_plugin.runs.settings import SweepSettings, check_list
from nas_plugin.runs.task import SCHEMA, OnStep, Task, images_of, key_of, perform
from nas_plugin.space.arch_def import ArchDef, BlockKind, Choice
from nas_plugin.space.reader import parse_arch_def

__all__ = ["SearchSweep", "run_sweep", "size_of"]

NAME = "sweep.json"


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

        Raises:
            RunError: the folder is not empty, or cannot be made.
            InvalidValueError: the same array twice, or none; a target that no network meets on one of them.
        """
        check_list("array", [size_of(array) for array in arrays])
        for array, method, limit in itertools.product(arrays, settings.methods, settings.limits):
            check(dataclasses.replace(arch, array=array), settings.search(method, limit, settings.seeds[0]))
        sweep = cls(path.absolute(), arch, tuple(arrays), settings, images=_checksums(arch, settings))
        content = {
            "schema": SCHEMA,
            "sweep": settings.as_dict(),
            "arrays": [array.as_dict() for array in arrays],
            "space": zlib.crc32(arch.text.encode()),
            "images": sweep.images,
            "made_with": sweep.made_with,
        }
        with new_folder(path) as begun:
            save(begun / "arch_def.toml", arch.text.encode())
            save(begun / NAME, content)
        return sweep

    @classmethod
    def open(cls, path: Path, rows: Sequence[Any] = ()) -> SearchSweep:
        """A sweep that was begun.

        Args:
            path: its folder.
            rows: methods, latency terms and block kinds of your own that it uses.

        Raises:
            RunError: no sweep, or a damaged one.
        """
        try:
            content = json.loads((path / NAME).read_text(encoding="utf-8"))
            text = (path / "arch_def.toml").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is no folder of a search or sweep: {error}") from None
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise RunError(f"{path / NAME} is not of schema {SCHEMA!r}; start anew in another folder")
        try:
            settings = SweepSettings.from_dict(content["sweep"], {row.name: row for row in rows})
            arrays = tuple(SystolicArray(**array) for array in content["arrays"])
            more = dict(content["made_with"]), tuple(content["images"])
            array = arrays[0]
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            advice = "start anew in another folder, or pass the rows of your own that it uses"
            raise RunError(f"{path / NAME} cannot be used: {error}; {advice}") from None
        if content.get("space") != zlib.crc32(text.encode()):
            raise RunError(f"{path / 'arch_def.toml'} is not the one that the run began with; start anew")
        kinds = [row for row in rows if isinstance(row, BlockKind)]
        arch = parse_arch_def(text, str(path / "arch_def.toml"), array, kinds=kinds)
        return cls(path.absolute(), arch, arrays, settings, *more)

    def check_images(self) -> None:
        """Makes sure that the images are those the sweep began with.

        Raises:
            RunError: they are others.
        """
        if self.images != _checksums(self.arch, self.settings):
            data = self.settings.data
            raise RunError(f"{self.path} was begun with other images than {data} holds now; start anew")

    def _super_network(self, settings: SearchSettings) -> Path | None:
        """Folder of the super-network that a search shares with others; None if there is none."""
        sharing = len(self.arrays) * len(self.settings.limits) * len(self.settings.takers)
        shares = method_of(settings).takes_weights and sharing > 1
        return self.path / "super-networks" / f"seed{settings.seed}" if shares else None

    def super_networks(self) -> list[Task]:
        """One a seed, if several searches share it."""
        tasks = []
        for settings, seed in itertools.product(self.settings.takers[:1], self.settings.seeds):
            own = dataclasses.replace(settings, seed=seed, target=None)
            if (folder := self._super_network(own)) is not None:
                tasks.append(Task("super-network", folder, self.arch, own, f"super-network, seed {seed}"))
        return tasks

    def searches(self) -> Iterator[tuple[str, Task]]:
        """Every search with the name of its method."""
        methods, limits, seeds = self.settings.methods, self.settings.limits, self.settings.seeds
        for array, method, limit, seed in itertools.product(self.arrays, methods, limits, seeds):
            settings = self.settings.search(method, limit, seed)
            ((kind, value),) = limit.items()
            kind, size = {"weight": "lambda"}.get(kind, kind), size_of(array)
            folder = self.path / "searches" / f"{size}-{method}-{kind}{value}-seed{seed}"
            arch, label = (
                dataclasses.replace(self.arch, array=array),
                f"{method} on {size}, {kind} {value}, seed {seed}",
            )
            yield method, Task("search", folder, arch, settings, label, None, self._super_network(settings))

    def trainings(self, choice: Choice) -> list[Task]:
        """The trainings of one network."""
        key, tasks = key_of(choice), []
        for seed in self.settings.train_seeds:
            folder, label = self.path / "trainings" / f"{key}-seed{seed}", f"training {key}, seed {seed}"
            tasks.append(Task("training", folder, self.arch, self.settings.training(seed), label, choice))
        return tasks

    def only_search(self) -> Task:
        """The search of a run.

        Raises:
            RunError: there are several searches or trainings.
        """
        (_, search), *more = self.searches()
        if more or len(self.settings.train_seeds) > 1:
            advice = f"nas-plugin sweep --resume {self.path} goes on with it"
            raise RunError(f"{self.path} is no run folder but holds a sweep; {advice}")
        return search

    def finished(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """The results of tasks.

        Raises:
            RunError: one is not done, or damaged.
        """
        if not all(task.done for task in tasks):
            raise RunError(f"{self.path} has not ended; go on with --resume {self.path}")
        return [task.read() for task in tasks]


def _checksums(arch: ArchDef, settings: SweepSettings) -> tuple[int, ...]:
    return tuple(part.fingerprint for part in images_of(arch, settings.training(0), fresh=True))


def run_sweep(
    sweep: SearchSweep,
    owner: Owner,
    report: Report,
    *,
    engine: str = "serial",
    jobs: int | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Does all that is left of a sweep.

    Args:
        sweep: made by :meth:`SearchSweep.create` or :meth:`SearchSweep.open`.
        owner: of its folder.
        report: counts the tasks.
        engine, jobs: where tasks run, as :func:`hwcost.sweep.engines.run` takes them.
        on_step: called after each step of a task, with engine "serial".

    Raises:
        RunError: a file is damaged, or a training diverged.
        InvalidValueError: an engine that cannot be used.
    """
    searches = [task for _, task in sweep.searches()]
    early = [*sweep.super_networks(), *(task for task in searches if task.super_network is None)]
    late = [task for task in searches if task.super_network is not None]
    report.total = len(early) + len(late) + len(sweep.settings.train_seeds) * (len(searches) + 1)
    run = functools.partial(_run, owner=owner, report=report, engine=engine, jobs=jobs, on_step=on_step)
    run(early)
    run(late)
    networks = [*(task.read()["winner"] for task in searches), sweep.arch.reference]
    trainings = {task.folder: task for network in networks for task in sweep.trainings(network)}
    report.total = len(early) + len(late) + len(trainings)
    run(list(trainings.values()))


def _run(
    tasks: Sequence[Task], owner: Owner, report: Report, engine: str, jobs: int | None, on_step: OnStep | None
) -> None:
    left = [task for task in tasks if not task.done]
    for task in tasks:
        if task.done:
            report.ended(f"{task.label}: was done")

    def under_way() -> str:
        return "; ".join(f"{task.label}, step {len(task.log())}" for task in left if task.is_under_way(owner))

    calls = [functools.partial(perform, task, owner, on_step) for task in left]
    if calls:
        with report.watching(under_way), contextlib.closing(engines.run(engine, calls, len(calls), jobs)) as lines:
            for line in lines:
                report.ended(line)
