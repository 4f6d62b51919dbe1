"""The folder of a run or sweep: owned by one process, with files that are used as they were written or not at all.

A JSON file holds a digest of its content. A checkpoint begins with one of its bytes and of what it belongs to; its
content executes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy
import torch

from hwcost import __version__
from hwcost.files import read_file, write_json, write_json_lines, write_whole
from nas_plugin.errors import RunError

__all__ = [
    "Owner", "differing", "digest_of", "load_checkpoint", "made_with", "only_one", "read_content", "read_json", "save",
    "save_checkpoint", "save_json", "threads",
]  # fmt: skip

CHECKPOINT = "checkpoint.pt"
_MOST_BYTES = 2**32
_MOST_JSON = 2**26


def save(path: Path, content: bytes | dict[str, Any] | list[dict[str, Any]]) -> None:
    """Writes a file atomically: bytes, one JSON document, or one document per line. Raises RunError if it cannot."""
    writers: dict[type, Callable[[Path, Any], None]] = {bytes: write_whole, dict: write_json, list: write_json_lines}
    try:
        writers[type(content)](path, content)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was there before is unchanged") from None


def digest_of(content: bytes | Mapping[str, Any], *more: bytes) -> str:
    """The SHA-256 of bytes, or of values that JSON knows, and of more bytes."""
    first = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(b"".join((first, *more))).hexdigest()


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Writes one JSON document with its digest atomically."""
    save(path, content | {"digest": digest_of(content)})


def read_content(path: Path, most: int = _MOST_BYTES) -> bytes:
    """The bytes of a file. Raises RunError if it cannot be read."""
    try:
        return read_file(path, most)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None


def read_json(path: Path, schema: str) -> dict[str, Any]:
    """What :func:`save_json` wrote. Raises RunError if it is damaged, of another schema, or was changed since."""
    try:
        content = json.loads(read_content(path, _MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise RunError(f"{path} is not of schema {schema!r}")
    digest = content.pop("digest", None)
    if digest != digest_of(content):
        raise RunError(f"{path} was changed after it was written")
    return content


def save_checkpoint(folder: Path, owner: Mapping[str, Any], **state: Any) -> None:
    """Writes a state, and to what it belongs, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    save(folder / CHECKPOINT, digest_of(owner, content).encode() + content)


def load_checkpoint(folder: Path, owner: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last checkpoint, or None. Raises RunError if it is damaged, or belongs to something else."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    found = read_content(path)
    digest, content = found[: len(digest_of(b""))], found[len(digest_of(b"")) :]
    if digest != digest_of(owner, content).encode():
        advice = "delete it and resume"
        raise RunError(f"{path} cannot be read as a checkpoint of this task: it is damaged or another's; {advice}")
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return state


def made_with() -> dict[str, str]:
    """Versions and device: what a figure in a result file depends on besides the settings."""
    versions = {"hwcost": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    return versions | {"python": platform.python_version(), "machine": platform.machine(), "device": "cpu"}


@dataclass(frozen=True)
class Owner:
    """The process that runs the tasks of a folder, as its workers know it.

    Attributes:
        folder: of the run or sweep.
        token: the content of the folder's file ``.owner``; another one means that another process has taken over.
        process: its number if all workers are its children; None on a cluster.
        made_with: versions and device.
    """

    folder: Path
    token: str
    process: int | None
    made_with: Mapping[str, str] = field(default_factory=made_with)

    def check(self) -> None:
        """Raises RunError in a worker whose sweep is gone, so that a resumed one has the folder for itself."""
        if self.made_with != made_with():
            raise RunError(f"{differing(self.made_with)} where the sweep was started; install the same")
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


def differing(others: Mapping[str, str]) -> str:
    """What of other versions and device is not as here, like "torch here is 2.13.0, and 2.12.0".

    >>> differing(made_with() | {"hwcost": "0.9"}).endswith(", and 0.9")
    True
    """
    here = made_with()
    name = next(name for name in [*here, *others] if here.get(name) != others.get(name))
    return f"{name} here is {here.get(name)}, and {others.get(name)}"


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limits torch to ``count`` threads, and restores the limit afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
