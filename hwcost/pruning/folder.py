"""A folder from which a pruning that was stopped goes on, and that has the result in the end.

    run.json       what the run is: settings, digests of weights and network, and of the result once it is finished
    losses.json    the losses of "curves" that were measured so far
    fine-tuning    the state after the last epoch
    .lock          held by the process that works in the folder
    recipe.json, weights.safetensors, report.json    the result

Each JSON file that is read again has a digest of its content, and each file of a result one in ``run.json``: what was
edited, damaged, or belongs to another run is refused.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import filelock

from hwcost.errors import InvalidValueError
from hwcost.files import digest, digest_of, read_given, read_signed, unusable, write_given, write_signed

__all__ = ["REPORT", "Losses", "RunFolder", "keeping", "lock_of"]

SCHEMA = "hwcost.pruning-run/1"
RUN, LOSSES, CHECKPOINT, REPORT = "run.json", "losses.json", "fine-tuning", "report.json"
Losses = dict[str, dict[int, float]]
"""Losses by width and size."""

_MOST = 2**37


def lock_of(folder: str | os.PathLike[str]) -> filelock.BaseFileLock:
    """A folder taken for one process alone, by a lock on its file ``.lock``, until it is released.

    Raises:
        OSError: another process works in the folder, or nothing can be written there; ``strerror`` states which.
    """
    lock = filelock.FileLock(os.path.join(folder, ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OSError(None, "another process works in it; wait for it, or stop it") from None
    return lock


class RunFolder:
    """The folder of a run; it is made when there is something to keep, and then taken for this process alone.

    Args:
        path: of the folder.
        settings: plain data that everything follows from.
        tuning: the settings of the fine-tuning, which may change until it has begun.

    Raises:
        InvalidValueError: a folder that cannot be used, or holds something else or another run.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any], tuning: Mapping[str, Any]) -> None:
        self.path = pathlib.Path(path)
        self.settings: dict[str, Any] = json.loads(json.dumps({**settings, **tuning}))
        self._run = digest_of({name: self.settings[name] for name in settings})
        self._known = 0
        self._lock: filelock.BaseFileLock | None = None
        self._found: dict[str, Any] = {}
        try:
            holds = self.path.exists() and [each for each in os.listdir(path) if not each.startswith(".")]
        except (OSError, ValueError) as error:
            raise unusable("folder", path, "read", error) from None
        if not holds:
            return
        if RUN not in holds:
            raise self._refused(f"it holds other files, like {holds[0]!r}")
        self._found = self._read(RUN)
        has_begun = CHECKPOINT in holds or self.is_finished
        self._check({name: value for name, value in self.settings.items() if has_begun or name in settings})

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Raises if the folder is of a run with other settings."""
        theirs = self._found.get("settings", {})
        for name, value in settings.items():
            if theirs.get(name) != value:
                change = "" if len(f"{theirs.get(name)}{value}") > 100 else f": {theirs.get(name)!r}, not {value!r}"
                raise self._refused(f"it is of a run with another {name}{change}")

    def _refused(self, reason: str) -> InvalidValueError:
        return InvalidValueError("folder", os.fspath(self.path), "give another folder", reason=reason)

    @property
    def is_finished(self) -> bool:
        """Whether the folder has a result."""
        return bool(self._found.get("files"))

    @property
    def has_begun(self) -> bool:
        """Whether there is something to go on from."""
        return (self.path / RUN).exists()

    @property
    def checkpoint(self) -> pathlib.Path:
        """Where the state of the fine-tuning is kept."""
        self.begin()
        return self.path / CHECKPOINT

    def losses(self) -> Losses:
        """Those that were measured."""
        if not (self.path / LOSSES).exists():
            return {}
        found = self._read(LOSSES)
        if found.get("run") != self._run:
            raise self._refused(f"{LOSSES} is of another run")
        losses = {name: {int(size): float(loss) for size, loss in own.items()} for name, own in found["losses"].items()}
        self._known = _count(losses)
        return losses

    def keep(self, losses: Losses) -> None:
        """Writes the losses if there are new ones."""
        if _count(losses) == self._known:
            return
        self.begin()
        self._write(LOSSES, {"run": self._run, "losses": losses})
        self._known = _count(losses)

    def finish(self, report: Mapping[str, Any], lines: Sequence[str], files: Sequence[str]) -> None:
        """Writes the report, and the digests of all files of the result.

        Args:
            report: plain data.
            lines: the report for people.
            files: the names of the other files of the result.
        """
        self.begin()
        content = json.dumps(report, indent=2, allow_nan=False) + "\n"
        write_given(self.path / REPORT, content.encode(), "folder")
        digests = {name: digest(self._bytes(name)).hex() for name in (*files, REPORT)}
        self._found = {"settings": self.settings, "files": digests, "lines": list(lines)}
        self._write(RUN, self._found)
        for name in (LOSSES, CHECKPOINT):
            (self.path / name).unlink(missing_ok=True)

    def result(self) -> tuple[dict[str, Any], list[str]]:
        """The report of a finished run, as plain data and for people.

        Raises:
            InvalidValueError: a file of the result that is missing or not as it was written.
        """
        contents = {name: self._bytes(name) for name in self._found["files"]}
        for name, expected in self._found["files"].items():
            if digest(contents[name]).hex() != expected:
                raise self._refused(f"{name} is not as it was written")
        return json.loads(contents[REPORT]), self._found["lines"]

    def begin(self) -> None:
        """Makes the folder, with what the run is, and takes it until :meth:`close`.

        Raises:
            InvalidValueError: a folder that cannot be written to, or that another process works in.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock or lock_of(self.path)
        except OSError as error:
            raise unusable("folder", self.path, "written", error) from None
        if self._found.get("settings") == self.settings:
            return
        self._found = {"settings": self.settings}
        self._write(RUN, self._found)

    def close(self) -> None:
        """Leaves the folder to others."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _bytes(self, name: str) -> bytes:
        return read_given(self.path / name, _MOST, "folder")

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        try:
            write_signed(self.path / name, {"schema": SCHEMA, **content})
        except OSError as error:
            raise unusable("folder", self.path / name, "written", error) from None

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return read_signed(self.path / name, SCHEMA, _MOST)
        except OSError as error:
            raise self._refused(f"{name} cannot be used: {error.strerror}") from None


def keeping(folder: RunFolder | None, losses: Losses, show: Callable[[int, int], Any]) -> Callable[[int, int], None]:
    """Progress that also keeps the losses measured so far, if there is a folder."""

    def progress(done: int, whole: int) -> None:
        if folder is not None:
            folder.keep(losses)
        show(done, whole)

    return progress


def _count(losses: Losses) -> int:
    return sum(map(len, losses.values()))
