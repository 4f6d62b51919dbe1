"""Files that are read up to a limit, and replaced in one step or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from hwcost.errors import InvalidValueError

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "check_given", "digest", "digest_of", "new_folder", "read_file", "read_given", "read_json", "read_signed", "sealed",
    "toml_of", "unsealed", "unusable", "write_given", "write_json", "write_json_lines", "write_signed", "write_whole",
]  # fmt: skip

Path: TypeAlias = str | os.PathLike[str]


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger; ``strerror`` states which.
    """
    _check_regular(path)
    try:
        with open(path, "rb") as file:
            content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)  # memory is taken for all of it
    except ValueError as error:  # a null byte, or characters that no file name can have
        raise OSError(None, str(error)) from None
    if len(content) > most:
        raise OSError(None, f"it has more than {most} bytes")
    return content


def read_json(path: Path, most: int) -> Any:
    """The JSON document in a file of at most ``most`` bytes.

    Raises:
        OSError: as :func:`read_file`, or a file that holds something else.
    """
    try:
        return json.loads(read_file(path, most))
    except (ValueError, RecursionError) as error:
        raise OSError(None, f"it is not JSON: {error}") from None


def read_signed(path: Path, schema: str, most: int) -> dict[str, Any]:
    """What :func:`write_signed` wrote, without the digest.

    Raises:
        OSError: as :func:`read_json`, or a document that is of another schema, or was changed since.
    """
    content = read_json(path, most)
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise OSError(None, f"it is not of schema {schema!r}")
    if content.pop("digest", None) != digest_of(content):
        raise OSError(None, "it was changed after it was written")
    return content


def digest_of(content: Any) -> str:
    """The SHA-256 of plain data.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return digest(json.dumps(content, sort_keys=True).encode()).hex()


def toml_of(content: bytes, where: str) -> dict[str, Any]:
    """The TOML document in the content of a file ``where``.

    Raises:
        InvalidValueError: the content is something else; the error is that of ``where``.
    """
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason, advice = f"byte {error.start}, on line {line}, is not UTF-8", "save it as UTF-8"
    except (ValueError, RecursionError) as error:  # bad syntax; numbers of thousands of digits; tables too deep
        reason, advice = f"it is not a TOML document ({error})", "correct its syntax"
    raise InvalidValueError(where, content, advice, reason=reason)


def digest(*parts: bytes) -> bytes:
    """The SHA-256 of bytes, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def sealed(content: bytes, owner: bytes) -> bytes:
    """Content after a checksum of it and of what it belongs to."""
    return digest(owner, content) + content


def unsealed(found: bytes, owner: bytes) -> bytes | None:
    """What was :func:`sealed`; None if it is damaged, or belongs to something else.

    >>> unsealed(sealed(b"cycles", b"a sweep"), b"a sweep"), unsealed(sealed(b"cycles", b"a sweep"), b"another")
    (b'cycles', None)
    """
    content = found[hashlib.sha256().digest_size :]
    return content if found == sealed(content, owner) else None


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes a file atomically: to a temporary file in the same folder, which then replaces the file.

    A crash, a full disk or a second writer leaves either the old file or the new one. A file that exists keeps its
    permissions; a new one gets those of the umask. A link is replaced, and what it points to is left alone. Temporary
    files of processes that were killed are removed by the next that writes to the folder.

    Args:
        path: the file to write.
        content: all bytes, or an iterable of parts.

    Raises:
        OSError: the file cannot be written; ``strerror`` states why. An existing file is unchanged.
    """
    target = os.path.abspath(path)
    _check_regular(target)
    mode = _mode_of(target)
    _remove_leftovers(os.path.dirname(target))
    temporary, handle = _temporary(os.path.dirname(target), 0o666 if mode is None else 0o600)
    try:
        with open(handle, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


_PREFIX = ".hwcost-"


def _mode_of(target: str) -> int | None:
    """The permissions of a file; None if there is none, or a link."""
    try:
        found = os.lstat(target).st_mode
    except FileNotFoundError:
        return None
    except ValueError as error:  # a null byte, or characters that no file name can have
        raise OSError(None, str(error)) from None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None


def _temporary(folder: str, mode: int) -> tuple[str, int]:
    """A new file of a name that nobody can foresee, locked for as long as it is open."""
    while True:
        path = os.path.join(folder, f"{_PREFIX}{os.urandom(8).hex()}")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
        if _lock(handle) is not False and os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # removed as a leftover before it was locked


def _lock(handle: int) -> bool | None:
    """Locks an open file: False if another process or thread has locked it, None if there are no locks."""
    if fcntl is None:
        return None  # type: ignore[unreachable]  # elsewhere
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return True


def _remove_leftovers(folder: str) -> None:
    """Removes the temporary files that no process has open."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder) if fcntl is not None else ():
            if not name.startswith(_PREFIX):
                continue
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if _lock(handle):
                        os.unlink(path)
                finally:
                    os.close(handle)


def unusable(field: str, path: Path, how: str, error: Exception) -> InvalidValueError:
    """The error for a file or folder, given as ``field``, that cannot be "read" or "written", as ``how`` states.

    >>> str(unusable("model", "net.onnx", "read", OSError(2, "No such file or directory")))
    "model 'net.onnx' cannot be read: No such file or directory"
    """
    reason = getattr(error, "strerror", None) or str(error)
    form = f"{{field}} {{value}} cannot be {how}: {{reason}}"
    return InvalidValueError(field, os.fspath(path), f"a path that can be {how}", reason=reason, form=form)


def read_given(path: Path, most: int, field: str) -> bytes:
    """As :func:`read_file`, of a path that was given as ``field``.

    Raises:
        InvalidValueError: the file cannot be read.
    """
    try:
        return read_file(path, most)
    except OSError as error:
        raise unusable(field, path, "read", error) from None


def check_given(path: Path, most: int | None, field: str) -> None:
    """Raises what :func:`read_given` would, without reading the file; ``most`` is None for one of any size.

    Raises:
        InvalidValueError: the file cannot be read.
    """
    try:
        _check_regular(path)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise unusable(field, path, "read", error) from None
    if most is not None and size > most:
        raise unusable(field, path, "read", OSError(None, f"it has more than {most} bytes"))


def write_given(path: Path, content: bytes | Iterable[bytes], field: str) -> None:
    """As :func:`write_whole`, to a path that was given as ``field``.

    Raises:
        InvalidValueError: the file cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise unusable(field, path, "written", error) from None


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[pathlib.Path]:
    """A temporary folder to fill, which is renamed to ``path`` once it is complete, and removed if it is not.

    Raises:
        OSError: ``path`` holds something or cannot be made; ``strerror`` states why.
    """
    import shutil
    import tempfile

    target = pathlib.Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OSError(None, "it exists and is not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    made = begun / "made"  # with the permissions of the umask
    try:
        made.mkdir()
        yield made
        made.rename(target)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Writes one indented JSON document, as :func:`write_whole` does."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_signed(path: Path, content: Any) -> None:
    """Writes one JSON object with a digest of what it holds, as :func:`write_whole` does."""
    plain = json.loads(json.dumps(content))  # as it is read again: keys become texts
    write_json(path, {**plain, "digest": digest_of(plain)})


def write_json_lines(path: Path, records: Iterable[Any]) -> None:
    """Writes one JSON document per line, as :func:`write_whole` does."""
    write_whole(path, ((json.dumps(record, allow_nan=False) + "\n").encode() for record in records))


def _check_regular(path: Path) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(None, "it is not a regular file")
