"""The folder of a run or sweep: made whole, owned by one process, with checkpoints that execute nothing."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy
import torch

from hwcost import __version__
from hwcost.files import write_json, write_json_lines, write_whole
from nas_plugin.errors import RunError

__all__ = ["Owner", "load_checkpoint", "made_with", "only_one", "save", "save_checkpoint", "threads"]

CHECKPOINT = "checkpoint.pt"


def save(path: Path, content: bytes | dict[str, Any] | list[dict[str, Any]]) -> None:
    """Writes a file atomically: bytes, one JSON document, or one document per line. Raises RunError if it cannot."""
    writers: dict[type, Callable[[Path, Any], None]] = {bytes: write_whole, dict: write_json, list: write_json_lines}
    try:
        writers[type(content)](path, content)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was there before is unchanged") from None


def save_checkpoint(folder: Path, **state: Any) -> None:
    """Writes a state atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    save(folder / CHECKPOINT, buffer.getvalue())


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint, or None. Raises RunError if it is damaged."""
    path = folder / CHECKPOINT
    try:
        state = torch.load(path, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # torch raises whatever its reader meets in a damaged file
        state = None
    if not isinstance(state, dict):
        raise RunError(f"{path} cannot be read as a checkpoint: it is damaged; delete it and resume")
    return state


@dataclass(frozen=True)
class Owner:
    """The process that runs the tasks of a folder, as its workers know it.

    Attributes:
        folder: of the run or sweep.
        token: the content of the folder's file ``.owner``; another one means that another process has taken over.
        process: its number if all workers are its children; None on a cluster.
        version: of the package.
    """

    folder: Path
    token: str
    process: int | None
    version: str = __version__

    def check(self) -> None:
        """Raises RunError in a worker whose sweep is gone, so that a resumed one has the folder for itself."""
        if self.version != __version__:
            raise RunError(f"hwcost here is {__version__}, and {self.version} where the sweep was started; install one")
        try:
            token = (self.folder / ".owner").read_text(encoding="utf-8")
        except OSError:
            token = ""
        if token != self.token or self.process not in (None, os.getpid(), os.getppid()):
            raise RunError(f"the process that ran {self.folder} is gone, or its folder is not shared with this machine")


@contextlib.contextmanager
def only_one(folder: Path, *, local: bool = True) -> Iterator[Owner]:
    """Takes a folder for this process alone; ``local`` if all workers are its children.

    Raises RunError if another process works in it, or nothing can be written there.
    """
    owner = Owner(folder, secrets.token_hex(8), os.getpid() if local else None)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(folder / ".lock", timeout=0))
        except filelock.Timeout:
            raise RunError(f"another process works in {folder}; wait for it, or stop it and resume") from None
        except OSError as error:
            raise RunError(f"{folder} cannot be written to: {error.strerror}") from None
        stack.callback((folder / ".owner").unlink, missing_ok=True)
        save(folder / ".owner", owner.token.encode())
        yield owner


def made_with() -> dict[str, str]:
    """Versions and device: what a figure in a result file depends on besides the settings."""
    versions = {"hwcost": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    return versions | {"python": platform.python_version(), "machine": platform.machine(), "device": "cpu"}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limits torch to ``count`` threads, and restores the limit afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
