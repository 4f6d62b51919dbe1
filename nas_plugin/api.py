"""The search and the sweep as functions."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hwcost import SystolicArray
from hwcost.machine.rows import Row
from hwcost.model.formula import as_array
from hwcost.plot import save as save_picture
from hwcost.sweep.engines import engine_for, engine_of
from nas_plugin.images import load
from nas_plugin.methods.finding import check
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import Latency, Method
from nas_plugin.methods.training import Record
from nas_plugin.pictures import search_figure, sweep_figure, winner_figure
from nas_plugin.runs.comparison import Comparison, compare
from nas_plugin.runs.folders import only_one, save
from nas_plugin.runs.result import SearchResult, result_of, write_result
from nas_plugin.runs.settings import SweepSettings
from nas_plugin.runs.sweep import SearchSweep, SweepProgress, run_sweep
from nas_plugin.runs.task import Task
from nas_plugin.sources import CUT, FULL
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.reader import load_arch_def

__all__ = ["Progress", "read_run", "read_sweep", "resume", "resume_sweep", "search", "sweep"]

Progress = Callable[[str, int, int, Record], None]
"""Called after each step with stage ("search", "winner", "reference"), step, number of steps, and the log record."""


def search(
    *,
    arch_def: str | Path | ArchDef | None = None,
    data: str | Path | None = None,
    array: SystolicArray | str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> SearchResult:
    """Searches, derives the winner, and trains it and the reference to completion.

    Args:
        arch_def: an architecture file, or one that is read already; None takes the LeNet of the package.
        data: "fashion-mnist-cut", "fashion-mnist", or a folder with IDX files; None takes the arch_def's.
        array: the accelerator, or the name of a device; None takes the arch_def's.
        out: the run folder, new or empty; None keeps nothing on disk.
        progress: called after each step.
        settings: of :class:`SearchSettings`, for example ``weight=0.2, latency="expectation", epochs=5, seed=1``; the
            others follow from the number of training images. ``method`` and ``latency`` also take a row of your own, a
            :class:`Method` or :class:`Latency`.

    Returns:
        The same as the run folder holds.

    Raises:
        ArchDefError, DataError, RunError: files that cannot be used.
        InvalidValueError: a setting outside of what is allowed.

    >>> result = search(method="darts", epochs=3, train_epochs=1, batch=512)
    >>> len(result.log), result.cycles_ratio < 2
    (5, True)
    """
    arch, source, count = _space(arch_def, data, settings.get("images"))
    arch = arch if array is None else dataclasses.replace(arch, array=as_array(array))
    chosen = SearchSettings.for_size(count, data=source, **settings)
    check(arch, chosen)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run" if out is None else Path(out)
        begun = SearchSweep.create(folder, arch, [arch.array], SweepSettings.of_run(chosen, count))
        return _finish_run(begun, progress, pictures=out is not None)


def resume(run: str | Path, progress: Progress | None = None, *, rows: Sequence[Row] = ()) -> SearchResult:
    """Continues a run that was stopped; the result is the same as if it had not been.

    Args:
        run: the run folder.
        progress: as of :func:`search`.
        rows: all rows of your own that the run uses (methods, latency terms, block kinds, and the dataflow, fold
            timing, lowering and terms of the array), since a folder holds their names only.

    Raises:
        RunError: no run folder, a damaged one, or one that uses rows that were not given.
        InvalidValueError: something that is not a row.
    """
    return _finish_run(SearchSweep.open(Path(run), rows, to_go_on=True), progress)


def _finish_run(begun: SearchSweep, progress: Progress | None, *, pictures: bool = True) -> SearchResult:
    search = begun.only_search()

    def on_step(task: Task, step: int, steps: int, record: Record) -> None:
        trained = "reference" if task.choice == begun.arch.reference else "winner"
        stage = "search" if task == search else trained
        if progress is not None:
            progress(stage, step, steps, {"stage": stage} | record)

    with only_one(begun.path) as owner:
        run_sweep(begun, owner, on_step=on_step)
        result = result_of(begun)
        write_result(begun.path, result)
        if pictures:
            if (course := search_figure(result)) is not None:
                save_picture(course, begun.path / "search.png")
            save_picture(winner_figure(result), begun.path / "winner.png")
    return result


def read_run(path: str | Path, *, rows: Sequence[Row] = ()) -> SearchResult:
    """The result of a finished run, from its folder; ``rows`` as of :func:`resume`.

    Raises:
        RunError, InvalidValueError: as of :func:`resume`, or a run that has not ended.
    """
    return result_of(SearchSweep.open(Path(path), rows))


def sweep(
    *,
    out: str | Path,
    methods: Sequence[str | Method | Latency] | None = None,
    targets: Sequence[str | float] = (),
    lambdas: Sequence[float] = (),
    seeds: Sequence[int] = (0, 1, 2),
    train_seeds: int = 3,
    arch_def: str | Path | ArchDef | None = None,
    data: str | Path | None = None,
    arrays: Sequence[SystolicArray | str] | None = None,
    jobs: int = 1,
    engine: str | None = None,
    progress: SweepProgress | None = None,
    **settings: Any,
) -> Comparison:
    """Searches by many methods, limits and seeds, trains every winner several times, and compares.

    Args:
        out: the sweep's folder, new or empty.
        methods: names in :data:`nas_plugin.SWEEP_METHODS`, or rows of your own; None takes prune, one-shot,
            expectation, shifted, flops, flops-snap and, with targets, most-macs.
        targets: limits, as of ``search``; or ``lambdas``; without either, targets of 0.5 and 0.75.
        seeds: of the searches.
        train_seeds: trainings of each winner and of the reference.
        arch_def, data: as of ``search``.
        arrays: the accelerators, or names of devices; None takes the arch_def's.
        jobs: searches and trainings at a time on this machine, each with one thread.
        engine: where they run, one of :data:`hwcost.sweep.ENGINES`; None for this machine. With "dask://HOST:PORT"
            all workers must see ``out`` and the images under the same paths.
        progress: called after each task with the number done, the number in all, and a line; while no task ends, from
            a second thread too, though never twice at once.
        settings: of :class:`SearchSettings`, for all searches.

    Raises:
        ArchDefError, DataError, RunError: files that cannot be used.
        InvalidValueError: a setting outside of what is allowed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "sweep"
    >>> found = sweep(out=folder, methods=["most-macs"], seeds=[0], train_seeds=1, images=500, train_epochs=1)
    >>> [one.winner["conv2.width"] for one in found.found], (folder / "pareto.png").exists()
    ([16, 32], True)
    """
    engine, workers = engine_for(engine, jobs)
    arch, source, count = _space(arch_def, data, settings.get("images"))
    limits: dict[str, Any] = {"targets": targets, "weights": lambdas}
    swept = SweepSettings.of_sweep(
        source, count, methods, train_seeds=train_seeds, given=settings, seeds=seeds, **limits
    )
    begun = SearchSweep.create(Path(out), arch, [arch.array] if arrays is None else [*map(as_array, arrays)], swept)
    return _finish_sweep(begun, engine, workers, progress)


def resume_sweep(
    folder: str | Path,
    jobs: int = 1,
    progress: SweepProgress | None = None,
    *,
    engine: str | None = None,
    rows: Sequence[Row] = (),
) -> Comparison:
    """Continues the sweep in a folder; ``rows`` as of :func:`resume`, and all else as of :func:`sweep`.

    Raises:
        RunError, InvalidValueError: as of :func:`resume`, or an engine that cannot be used.
    """
    engine, workers = engine_for(engine, jobs)
    begun = SearchSweep.open(Path(folder), rows, to_go_on=True)
    return _finish_sweep(begun, engine, workers, progress)


def _finish_sweep(begun: SearchSweep, engine: str, workers: int | None, progress: SweepProgress | None) -> Comparison:
    with only_one(begun.path, local=not engine_of(engine)[0].takes_address) as owner:
        run_sweep(begun, owner, progress, engine=engine, jobs=workers)
        found = compare(begun)
        save(begun.path / "results.json", found.as_dict())
        save(begun.path / "results.md", found.tables().encode())
        save_picture(sweep_figure(found), begun.path / "pareto.png")
    return found


def read_sweep(folder: str | Path, *, rows: Sequence[Row] = ()) -> Comparison:
    """The results of a finished sweep, or run, from its folder; ``rows`` as of :func:`resume`.

    Raises:
        RunError, InvalidValueError: as of :func:`resume`, or a sweep that has not ended.
    """
    return compare(SearchSweep.open(Path(folder), rows))


def _space(
    arch_def: str | Path | ArchDef | None, data: str | Path | None, images: int | None
) -> tuple[ArchDef, str, int]:
    """The search space, the source of the images, a folder by its absolute path, and the number of training images."""
    arch = arch_def if isinstance(arch_def, ArchDef) else load_arch_def(arch_def)
    source = arch.data if data is None else str(data)
    if source not in (CUT, FULL):
        source = str(Path(source).absolute())  # a run may be resumed from another folder
    return arch, source, len(load(source, classes=arch.classes, shape=(arch.height, arch.width), images=images)[0])
