"""What SCALE-Sim's two kinds of files share: text read in whole, written, and the integers in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

from hwcost.errors import InvalidValueError
from hwcost.files import read_given, write_given

PathLike: TypeAlias = "str | os.PathLike[str]"

INTEGER_ALLOWED = "an integer from 1 to 10**18 - 1"
_MOST_BYTES = 2**26
_INTEGER = re.compile(r"\+?([0-9]{1,18})(\.0*)?", re.ASCII)


def integer(text: str) -> int | None:
    """The integer in ``text``, with zeros behind a point as spreadsheets write them; None if there is none.

    >>> integer("224"), integer("224.0"), integer("0x10"), integer("-1")
    (224, 224, None, None)
    """
    match = _INTEGER.fullmatch(text)
    return None if match is None else int(match[1])


def size(text: str) -> int | None:
    """The integer that ``text`` is if it is at least 1, else None."""
    return integer(text) or None


def read_text(path: Path, what: str) -> str:
    """The text of a file, in UTF-8 or, with a byte order mark, UTF-16.

    Raises:
        InvalidValueError: a file that cannot be read, or is not such a text.
    """
    data = read_given(str(path), _MOST_BYTES, f"the {what}")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found = data[error.start : error.end]
        raise InvalidValueError(f"{path}, line {line},", found, f"text in {encoding[:6].upper().rstrip('-')}") from None


def write_text(path: PathLike, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all.

    Raises:
        InvalidValueError: a file that cannot be written.
    """
    write_given(path, text.encode(), "the file")
