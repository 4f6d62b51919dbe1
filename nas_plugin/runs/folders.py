"""The folder of a run or sweep: owned by one process, with files that are used as they were written or not at all.

A JSON file holds a digest of its content. A checkpoint begins with one of its bytes and of what it belongs to; its
content executes nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hwcost import files
from hwcost.pruning.folder import lock_of
from hwcost.pruning.identity import made_with
from hwcost.pruning.weights import state_bytes, state_of
from nas_plugin.errors import RunError

CHECKPOINT = "checkpoint.pt"
UNCHANGED = "what was there before is unchanged"
_MOST_BYTES = 2**32
_MOST_JSON = 2**26
_WRITERS: dict[type, Callable[[Path, Any], None]] = {
    bytes: files.write_whole, dict: files.write_json, list: files.write_json_lines
}  # fmt: skip


@contextlib.contextmanager
def usable(path: Path, how: str, advice: str) -> Iterator[None]:
    """Turns the error of a file or folder into a RunError with advice; ``how`` is "read", "written" or "made"."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be {how}: {error.strerror}; {advice}") from None


def save(path: Path, content: bytes | dict[str, Any] | list[dict[str, Any]]) -> None:
    """Writes a file atomically: bytes, one JSON document, or one document per line. Raises RunError if it cannot."""
    with usable(path, "written", UNCHANGED):
        _WRITERS[type(content)](path, content)


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Writes one JSON document with its digest atomically. Raises RunError if it cannot."""
    with usable(path, "written", UNCHANGED):
        files.write_signed(path, content)


def read_content(path: Path, advice: str, most: int = _MOST_BYTES) -> bytes:
    """The bytes of a file. Raises RunError with advice if it cannot be read."""
    with usable(path, "read", advice):
        return files.read_file(path, most)


def read_json(path: Path, schema: str, advice: str) -> dict[str, Any]:
    """What :func:`save_json` wrote. Raises RunError if it is damaged, of another schema, or was changed since."""
    with usable(path, "read", advice):
        return files.read_signed(path, schema, _MOST_JSON)


def save_checkpoint(folder: Path, owner: Mapping[str, Any], **state: Any) -> None:
    """Writes a state, and to what it belongs, atomically."""
    save(folder / CHECKPOINT, state_bytes(state, files.digest_of(owner).encode()))


def load_checkpoint(folder: Path, owner: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last checkpoint, or None. Raises RunError if it is damaged, or belongs to something else."""
    path, advice = folder / CHECKPOINT, "delete it and resume"
    if not path.exists():
        return None
    state = state_of(read_content(path, advice), files.digest_of(owner).encode())
    if state is None:
        raise RunError(f"{path} cannot be read as a checkpoint of this task: it is damaged or another's; {advice}")
    return state


def check_made_with(others: Mapping[str, str], where: str) -> None:
    """Raises RunError if versions and device are others here than ``where`` a run or sweep was begun."""
    here = made_with()
    for name in [*here, *others]:
        if here.get(name) != others.get(name):
            versions = f"{name} here is {here.get(name)}, and {others.get(name)} where {where}"
            raise RunError(f"{versions}; install the same, or begin in another folder")


@dataclass(frozen=True)
class Owner:
    """The process that runs the tasks of a folder, as its workers know it.

    Attributes:
        folder: of the run or sweep.
        token: the content of the folder's file ``.owner``; another one means that another process has taken over.
        process: its number if all workers are its children; None on a cluster.
    """

    folder: Path
    token: bytes
    process: int | None

    def check(self) -> None:
        """Raises RunError in a worker whose sweep is gone, so that a resumed one has the folder for itself."""
        token = b""
        with contextlib.suppress(OSError):
            token = (self.folder / ".owner").read_bytes()
        if token != self.token or self.process not in (None, os.getpid(), os.getppid()):
            raise RunError(f"the process that ran {self.folder} is gone, or its folder is not shared with this machine")


@contextlib.contextmanager
def only_one(folder: Path, *, local: bool = True) -> Iterator[Owner]:
    """Takes a folder for this process alone; ``local`` if all workers are its children.

    Raises RunError if another process works in it, or nothing can be written there.
    """
    owner = Owner(folder, secrets.token_bytes(8), os.getpid() if local else None)
    with contextlib.ExitStack() as stack:
        try:
            stack.callback(lock_of(folder).release)
        except OSError as error:
            raise RunError(f"{folder} cannot be written to: {error.strerror}") from None
        stack.callback((folder / ".owner").unlink, missing_ok=True)
        save(folder / ".owner", owner.token)
        yield owner


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limits torch to ``count`` threads, and restores the limit afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
