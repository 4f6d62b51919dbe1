"""The search and the sweep as functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwcost import InvalidValueError, SystolicArray
from nas_plugin import pictures
from nas_plugin.arch_def import ArchDef, load_arch_def
from nas_plugin.comparison import Comparison, compare
from nas_plugin.data import CUT, FULL, load
from nas_plugin.files import write_json, write_whole
from nas_plugin.folders import only_one
from nas_plugin.methods import check, needs_target
from nas_plugin.result import SearchResult
from nas_plugin.run import Progress, RunFolder, execute
from nas_plugin.settings import Settings
from nas_plugin.sweeps import Sweep, SweepProgress, SweepSettings, run_sweep

__all__ = ["SWEPT", "prepare", "read_sweep", "resume", "resume_sweep", "search", "sweep"]

SWEPT = ("one-shot", "expectation", "shifted", "flops", "flops-snap", "most-macs")
"""The methods of a sweep where none are named."""


def search(
    *,
    arch_def: str | Path | ArchDef | None = None,
    data: str | Path | None = None,
    array: SystolicArray | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> SearchResult:
    """Searches, derives the winner, and trains it and the reference to completion.

    Args:
        arch_def: an architecture file, or one that is read already; None takes the LeNet of the package.
        data: "fashion-mnist-cut", "fashion-mnist", or a folder with IDX files; None takes the arch_def's.
        array: the accelerator; None takes the arch_def's.
        out: the run folder, new or empty; None keeps everything in memory.
        progress: called after each epoch with stage, epoch, epochs and the epoch's record.
        settings: of :class:`Settings`, for example ``weight=0.2, latency="expectation", epochs=5, seed=1``; what is not
            given follows from the number of training images.

    Returns:
        The same as the run folder holds.

    Raises:
        ArchDefError, DataError, RunError: files that cannot be used.
        InvalidValueError: a setting outside of what is allowed.

    >>> result = search(method="darts", epochs=3, train_epochs=1, batch=512)
    >>> len(result.log), result.cycles_ratio < 2
    (5, True)
    """
    if not isinstance(array, SystolicArray | None):
        raise InvalidValueError("array", array, "a SystolicArray")
    arch, chosen = prepare(arch_def, data, array, settings)
    folder = None if out is None else RunFolder(Path(out))
    if folder is not None:
        folder.create(arch, chosen)
    return execute(arch, chosen, folder, progress)


def resume(run: str | Path, progress: Progress | None = None) -> SearchResult:
    """Goes on with a run that was stopped, and ends with the same result as if it had not been.

    Raises:
        RunError: no run folder, or a damaged one.
    """
    folder = RunFolder(Path(run))
    arch, settings = folder.open()
    return execute(arch, settings, folder, progress)


def prepare(
    arch_def: str | Path | ArchDef | None, data: str | Path | None, array: SystolicArray | None, given: dict[str, Any]
) -> tuple[ArchDef, Settings]:
    """The search space on its array, and the settings that follow from what is given and from the data.

    Raises:
        InvalidValueError: an unknown setting, or one outside of what is allowed.
    """
    arch = arch_def if isinstance(arch_def, ArchDef) else load_arch_def(arch_def)
    if array is not None:
        arch = dataclasses.replace(arch, array=array)
    source = source_of(arch, data)
    train, _ = load(source, classes=arch.classes, shape=(arch.height, arch.width), images=given.get("images"))
    settings = Settings.for_size(len(train), data=source, **given)
    check(arch, settings)
    return arch, settings


def sweep(
    *,
    out: str | Path,
    methods: Sequence[str] | None = None,
    targets: Sequence[str | float] = (),
    lambdas: Sequence[float] = (),
    seeds: Sequence[int] = (0, 1, 2),
    train_seeds: int = 3,
    arch_def: str | Path | ArchDef | None = None,
    data: str | Path | None = None,
    arrays: Sequence[SystolicArray] | None = None,
    jobs: int = 1,
    progress: SweepProgress | None = None,
    **settings: Any,
) -> Comparison:
    """Searches by many methods, limits and seeds, trains every winner several times, and compares.

    Args:
        out: the sweep's folder, new or empty.
        methods: names in :data:`nas_plugin.RIVALS`; None takes one-shot, expectation, shifted, flops, flops-snap and,
            where targets are given, most-macs.
        targets: limits, as of ``search``; or ``lambdas``; without either, targets of 0.5 and 0.75.
        seeds: of the searches.
        train_seeds: trainings of each winner and of the reference.
        arch_def, data: as of ``search``.
        arrays: the accelerators; None takes the arch_def's.
        jobs: searches and trainings at a time, each with one thread.
        progress: called after each task with how many are done, how many there are at most, and a line; where nothing
            has ended for a while, from a second thread too, though never twice at once.
        settings: of :class:`Settings`, for all searches.

    Raises:
        ArchDefError, DataError, RunError: files that cannot be used.
        InvalidValueError: a setting outside of what is allowed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "sweep"
    >>> found = sweep(out=folder, methods=["most-macs"], seeds=[0], train_seeds=1, images=500, train_epochs=1)
    >>> [one.winner["conv2.width"] for one in found.found], (folder / "pareto.png").exists()
    ([16, 32], True)
    """
    arch = arch_def if isinstance(arch_def, ArchDef) else load_arch_def(arch_def)
    limits: dict[str, Any] = {"targets": tuple(map(str, targets)), "weights": tuple(lambdas)}
    if not targets and not lambdas:
        limits["targets"] = ("0.5", "0.75")
    if methods is None:
        methods = [name for name in SWEPT if not lambdas or not needs_target(name)]
    source = source_of(arch, data)
    train, _ = load(source, classes=arch.classes, shape=(arch.height, arch.width), images=settings.get("images"))
    swept = SweepSettings(
        source, len(train), tuple(methods), **limits, seeds=tuple(seeds), train_seeds=train_seeds, given=settings
    )
    begun = Sweep.create(Path(out), arch, [arch.array] if arrays is None else arrays, swept)
    return finish_sweep(begun, jobs, progress)


def resume_sweep(folder: str | Path, jobs: int = 1, progress: SweepProgress | None = None) -> Comparison:
    """Goes on with a sweep that was stopped.

    Raises:
        RunError: no sweep, or a damaged one.
    """
    return finish_sweep(Sweep.open(Path(folder)), jobs, progress)


def finish_sweep(begun: Sweep, jobs: int, progress: SweepProgress | None) -> Comparison:
    """Does what is left of a sweep, and writes results.json, results.md and pareto.png into its folder."""
    with only_one(begun.path):
        run_sweep(begun, jobs, progress)
        found = compare(begun)
        write_json(begun.path / "results.json", found.as_dict())
        write_whole(begun.path / "results.md", found.tables().encode())
        pictures.save(pictures.sweep_figure(found), begun.path / "pareto.png")
    return found


def read_sweep(folder: str | Path) -> Comparison:
    """What a finished sweep found, from its folder.

    Raises:
        RunError: no sweep, or one that has not ended.
    """
    return compare(Sweep.open(Path(folder)))


def source_of(arch: ArchDef, data: str | Path | None) -> str:
    """The source of the images: what is given, or what the search space says; folders by their whole path."""
    source = arch.data if data is None else str(data)
    if source in (CUT, FULL):
        return source
    return str(Path(source).absolute())  # a run may go on from another folder
