"""The search as a function."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hwcost import SystolicArray
from nas_plugin.arch_def import ArchDef, load_arch_def
from nas_plugin.data import CUT, FULL, load
from nas_plugin.result import SearchResult
from nas_plugin.run import Progress, RunFolder, execute
from nas_plugin.settings import Settings

__all__ = ["prepare", "resume", "search"]


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

    >>> result = search(epochs=3, train_epochs=1, batch=512)
    >>> len(result.log), result.cycles_ratio < 2
    (5, True)
    """
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
    source = arch.data if data is None else str(data)
    if source not in (CUT, FULL):
        source = str(Path(source).absolute())  # a run may go on from another folder
    train, _ = load(source, classes=arch.classes, shape=(arch.height, arch.width))
    return arch, Settings.for_size(len(train), data=source, **given)
