"""The finished chunks of a sweep in a folder, so that an interrupted sweep can resume.

A chunk is a checksum and, for each figure, the type of its numbers, and the numbers. There is nothing to parse in it,
so that any thread may read it at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost._version import __version__
from hwcost.errors import InvalidValueError
from hwcost.files import digest, read_file, read_json, sealed, unsealed, unusable, write_json, write_whole
from hwcost.sweep.pricing import Column

__all__ = ["ChunkStore"]

SCHEMA = "hwcost.sweep-chunks/3"
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

    def read(self, index: int, length: int, figures: int) -> tuple[Column, ...] | None:
        """The columns of a chunk, one for each figure; None if it is not finished or its file is damaged."""
        size = len(_TYPES[0]) + 8 * length
        most = len(sealed(b"", b"")) + figures * size
        try:
            content = unsealed(read_file(self._path(index), most), self.digest.encode()) or b""
        except OSError:
            return None
        parts = [content[start : start + size] for start in range(0, len(content), size)]
        if len(content) != figures * size or not all(part.startswith(_TYPES) for part in parts):
            return None
        kinds = [part[: len(_TYPES[0])].decode() for part in parts]
        pairs = zip(kinds, parts, strict=True)
        return tuple(np.frombuffer(part[len(kind) :], kind).astype(kind[1:]) for kind, part in pairs)

    def write(self, index: int, columns: Sequence[Column]) -> None:
        """Stores the columns of a chunk.

        Raises:
            InvalidValueError: the file cannot be written.
        """
        kinds = [_TYPES[column.dtype.kind == "f"] for column in columns]
        content = b"".join(
            kind + column.astype(kind.decode()).tobytes() for kind, column in zip(kinds, columns, strict=True)
        )
        try:
            write_whole(self._path(index), sealed(content, self.digest.encode()))
        except OSError as error:
            raise unusable("keep", self.folder, "written", error) from None
