"""What run folders and sweep folders share: made whole, with checkpoints that are read without executing anything."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy
import torch

import hwcost
from nas_plugin.errors import RunError
from nas_plugin.files import write_whole

__all__ = ["load_checkpoint", "made_with", "new_folder", "only_one", "read_folder", "save_checkpoint", "threads"]

CHECKPOINT = "checkpoint.pt"
KINDS = {
    "settings.json": ("run folder", "run", "nas-plugin search --resume"),
    "sweep.json": ("folder of a sweep", "sweep", "nas-plugin sweep --resume"),
}
"""The file that a folder is known by: what the folder is called, what it holds, and what resumes that."""


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside ``path``, which takes its place when all of it is there.

    Raises:
        RunError: ``path`` holds something already, or cannot be made.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is not empty; resume it with --resume, or choose another --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}; choose another --out") from None
    try:
        yield begun
        begun.chmod(0o755)
        begun.rename(path)  # with all that a run needs to go on, or not at all
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}; choose another --out") from None
    finally:
        shutil.rmtree(begun, ignore_errors=True)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """A folder that no other process works in meanwhile.

    Raises:
        RunError: one does, or nothing can be written there.
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"another process works in {folder}; wait for it, or stop it and resume") from None
    except OSError as error:
        raise RunError(f"{folder} cannot be written to: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def read_folder(path: Path, name: str, schema: str) -> tuple[dict[str, Any], str]:
    """The file that a folder is known by, and the text of its search space.

    Raises:
        RunError: no such folder, or one of another kind or version.
    """
    kind, held, _ = KINDS[name]
    file = path / name
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        file = path / "arch_def.toml"
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = f"{file}: {getattr(error, 'strerror', None) or error}"
        others = (KINDS[other][2] for other in KINDS.keys() - {name} if (path / other).exists())
        advice = "".join(f"; {command} {path} goes on with it" for command in others)
        raise RunError(f"{path} is no {kind}: {reason}{advice}") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise RunError(f"{path / name} is not of schema {schema!r}; start a new {held}")
    return content, text


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes the state whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(folder / CHECKPOINT, buffer.getvalue())


def load_checkpoint(folder: Path, advice: str = "start a new run") -> dict[str, Any] | None:
    """The last checkpoint; None where there is none yet. ``advice`` ends the error about one that cannot be used.

    Raises:
        RunError: a damaged file.
    """
    path = folder / CHECKPOINT
    try:
        state = torch.load(path, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # torch raises whatever its reader meets in a damaged file
        raise RunError(f"{path} cannot be read as a checkpoint: it is damaged; {advice}") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is no checkpoint; {advice}")
    return state


def made_with() -> dict[str, str]:
    """Versions and device: what a number in a result file depends on besides the settings."""
    return {
        "hwcost": hwcost.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": "cpu",
    }


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch limited to so many threads; as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
