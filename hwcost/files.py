"""Files that are written whole or not at all, and read up to a limit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

__all__ = ["read_file", "write_whole"]


def read_file(path: str, most: int) -> bytes:
    """All bytes of a regular file that is not larger than ``most``.

    Raises:
        OSError: a file that cannot be read, is none, or is larger; ``strerror`` says which.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(None, "it is no file")
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except ValueError as error:  # a null byte, or characters that no file name can have
        raise OSError(None, str(error)) from None
    if len(content) > most:
        raise OSError(None, f"it has more than {most} bytes")
    return content


def write_whole(path: str, content: bytes | Iterable[bytes]) -> None:
    """Writes a file beside its place and then moves it there, so that what stands there is never half of one.

    Args:
        path: where to; a link is followed.
        content: all of it, or piece by piece.

    Raises:
        OSError: what cannot be written.
        ValueError: a path that no file can have.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(None, "it is no file")
    beside = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.unlink(beside)
