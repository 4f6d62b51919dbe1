"""The finished chunks of a sweep in a folder, so that an interrupted sweep can resume.

A chunk is a checksum, the type of its numbers, and the numbers. There is nothing to parse in it, so that any thread may
read it at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hwcost._version import __version__
from hwcost.errors import InvalidValueError
from hwcost.files import digest, read_file, read_json, sealed, unsealed, unusable, write_json, write_whole
from hwcost.sweep.pricing import Column

__all__ = ["ChunkStore"]

SCHEMA = "hwcost.sweep-chunks/2"
_MOST_BYTES = 10_000_000
_TYPES = (b"<i8", b"<f8")


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
        contents = {
            name: value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            for name, value in identity.items()
        }
        parts = (f"{name} {len(content)} ".encode() + content for name, content in contents.items())
        described = {"schema": SCHEMA, "version": __version__, "digest": digest(*parts).hex()}
        path = os.path.join(folder, "sweep.json")
        try:
            os.makedirs(folder, exist_ok=True)
            if not os.listdir(folder):
                write_json(path, described)
            found = read_json(path, _MOST_BYTES)
        except (OSError, ValueError) as error:  # the latter of a null byte in the name
            reason = getattr(error, "strerror", None) or error
            allowed = f"a new or empty folder that can be written, or one that a sweep has left ({reason})"
            raise InvalidValueError("keep", folder, allowed) from None
        if found != described:
            allowed = "a folder with chunks of this sweep; it has those of another sweep or version: remove the folder"
            raise InvalidValueError("keep", folder, f"{allowed} to start again")
        return cls(folder, described["digest"])

    def _path(self, index: int) -> str:
        return os.path.join(self.folder, f"chunk-{index:06}.bin")

    def read(self, index: int, length: int) -> Column | None:
        """The cycles of a chunk; None if it is not finished or its file is damaged."""
        most = len(sealed(_TYPES[0], b"")) + 8 * length
        try:
            content = unsealed(read_file(self._path(index), most), self.digest.encode()) or b""
        except OSError:
            return None
        kind, numbers = content[:3], content[3:]
        if kind not in _TYPES or len(numbers) != 8 * length:
            return None
        return np.frombuffer(numbers, kind.decode()).astype(kind.decode()[1:])

    def write(self, index: int, cycles: Column) -> None:
        """Stores the cycles of a chunk.

        Raises:
            InvalidValueError: the file cannot be written.
        """
        kind = _TYPES[cycles.dtype.kind == "f"]
        content = kind + cycles.astype(kind.decode()).tobytes()
        try:
            write_whole(self._path(index), sealed(content, self.digest.encode()))
        except OSError as error:
            raise unusable("keep", self.folder, "written", error) from None
