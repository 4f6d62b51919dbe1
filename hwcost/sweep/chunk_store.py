"""The finished chunks of a sweep in a folder, so that an interrupted sweep can resume."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hwcost._version import __version__
from hwcost.errors import InvalidValueError
from hwcost.files import read_file, write_json, write_whole
from hwcost.sweep.pricing import Column

__all__ = ["ChunkStore"]

SCHEMA = "hwcost.sweep-chunks/1"
_MOST_BYTES = 10_000_000
_OVERHEAD = 10_000


class ChunkStore(NamedTuple):
    """A folder of chunks of one sweep.

    Attributes:
        folder: the folder.
        digest: of everything that the chunks depend on.
    """

    folder: str
    digest: str

    @classmethod
    def at(cls, folder: str, identity: Mapping[str, Any]) -> ChunkStore:
        """Opens a folder, or makes it.

        Args:
            folder: where the chunks are, or will be.
            identity: everything that the chunks depend on: numpy columns, and values with an exact ``repr``.

        Raises:
            InvalidValueError: a folder of another sweep, or one that cannot be made or read.
        """
        digest = hashlib.sha256()
        for name, value in identity.items():
            content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            digest.update(f"{name} {len(content)} ".encode() + content)
        described = {"schema": SCHEMA, "version": __version__, "digest": digest.hexdigest()}
        path = os.path.join(folder, "sweep.json")
        try:
            os.makedirs(folder, exist_ok=True)
            if not os.listdir(folder):
                write_json(path, described)
            found = json.loads(read_file(path, _MOST_BYTES))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            allowed = f"a new or empty folder that can be written, or one that a sweep has left ({reason})"
            raise InvalidValueError("keep", folder, allowed) from None
        if found != described:
            allowed = "a folder with chunks of this sweep; it has those of another sweep or version: remove the folder"
            raise InvalidValueError("keep", folder, f"{allowed} to start anew")
        return cls(folder, digest.hexdigest())

    def _path(self, index: int) -> str:
        return os.path.join(self.folder, f"chunk-{index:06}.npz")

    def read(self, index: int, length: int) -> Column | None:
        """The cycles of a chunk; None if it is not finished or its file is damaged."""
        try:
            content = io.BytesIO(read_file(self._path(index), 8 * length + _OVERHEAD))
            with np.load(content, allow_pickle=False) as file:
                cycles, digest = file["cycles"], str(file["digest"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        is_whole = cycles.shape == (length,) and cycles.dtype in (np.int64, np.float64) and digest == self.digest
        return cycles if is_whole else None

    def write(self, index: int, cycles: Column) -> None:
        """Stores the cycles of a chunk.

        Raises:
            InvalidValueError: the file cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, cycles=cycles, digest=np.asarray(self.digest))
        try:
            write_whole(self._path(index), content.getvalue())
        except OSError as error:
            raise InvalidValueError("keep", self.folder, f"a folder that can be written ({error.strerror})") from None
