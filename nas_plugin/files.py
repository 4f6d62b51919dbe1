"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas_plugin.errors import RunError

__all__ = ["json_line", "write_json", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside the file, then renames: a crash or full disk leaves the old file as it was.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror}; what was there before is unchanged") from None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """One readable JSON document."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def json_line(record: dict[str, Any]) -> str:
    """One line of a JSON-lines file."""
    return json.dumps(record, allow_nan=False) + "\n"


def write_json_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """One JSON document a line."""
    write_whole(path, "".join(map(json_line, records)).encode())
