"""Finished chunks in a folder, so that a sweep that was broken off goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.files import read_file, write_whole
from hwcost.sweep.pricing import Column

__all__ = ["ChunkStore"]

SCHEMA = "hwcost.sweep-chunks/1"
_NAME = "sweep.json"
_MOST_BYTES = 10_000_000
_OVERHEAD = 10_000


@dataclass(frozen=True)
class ChunkStore:
    """A folder of chunks that all belong to one sweep.

    Attributes:
        folder: where they are.
        digest: of all that they depend on.
    """

    folder: str
    digest: str

    @classmethod
    def at(cls, folder: str, identity: Mapping[str, Any]) -> ChunkStore:
        """The folder, made where there is none.

        Args:
            folder: where the chunks are, or will be.
            identity: all that they depend on, in columns and values that JSON knows.

        Raises:
            InvalidValueError: a folder of another sweep, or one that cannot be made or read.
        """
        digest = _digest(identity)
        path = os.path.join(folder, _NAME)
        content = {"schema": SCHEMA, "version": identity["version"], "digest": digest}
        try:
            os.makedirs(folder, exist_ok=True)
            if not os.path.exists(path):
                if os.listdir(folder):
                    raise InvalidValueError("keep", folder, "a new or empty folder, or one that a sweep has left")
                write_whole(path, json.dumps(content, indent=2).encode())
            found = _read(path)
        except (OSError, ValueError) as error:
            if isinstance(error, InvalidValueError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise InvalidValueError("keep", folder, f"a folder that can be written ({reason})") from None
        if found != content:
            by = f" by version {found['version']}" if found.get("version") != content["version"] else ""
            raise InvalidValueError(
                "keep", folder, f"no chunks of another sweep, as it has{by}; remove the folder to start anew"
            )
        return cls(folder, digest)

    def _path(self, index: int) -> str:
        return os.path.join(self.folder, f"chunk-{index:06}.npz")

    def read(self, index: int, length: int) -> Column | None:
        """The cycles of a chunk; None where it was not finished, or its file is not whole."""
        try:
            content = io.BytesIO(read_file(self._path(index), 8 * length + _OVERHEAD))
            with np.load(content, allow_pickle=False) as file:
                cycles, digest = file["cycles"], str(file["digest"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        whole = cycles.shape == (length,) and cycles.dtype in (np.int64, np.float64) and digest == self.digest
        return cycles if whole else None

    def write(self, index: int, cycles: Column) -> None:
        """Keeps the cycles of a chunk.

        Raises:
            InvalidValueError: the file cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, cycles=cycles, digest=np.asarray(self.digest))
        try:
            write_whole(self._path(index), content.getvalue())
        except OSError as error:
            raise InvalidValueError("keep", self.folder, f"a folder that can be written ({error.strerror})") from None

    def remove(self) -> None:
        """Removes the folder, if it is still there."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def _digest(identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, value in identity.items():
        content = value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value).encode()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _read(path: str) -> dict[str, Any]:
    content = json.loads(read_file(path, _MOST_BYTES))
    if not isinstance(content, dict):
        raise ValueError("it holds no description of a sweep")  # noqa: TRY004
    return content
