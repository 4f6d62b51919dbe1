"""What the values of a device file are checked with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError, faults_of, together
from hwcost.machine.array import SystolicArray

__all__ = [
    "FIELDS",
    "as_plain",
    "check_number",
    "check_text",
    "checked_table",
    "checked_texts",
    "errors_at",
]

FIELDS = {name: each for name, each in SystolicArray.declarations.items() if each.kind.types}
"""The fields of an array that a file can hold, and their declarations."""


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Renames the fields of errors: ``Entry.unit`` becomes ``PLACE.unit``."""
    try:
        yield
    except InvalidValueError as error:
        raise together(each.at(place + each.field.partition(".")[2]) for each in faults_of(error)) from None


def check_text(value: Any, place: str, *, one_line: bool = False) -> None:
    """Raises unless the value is a text that is not empty."""
    allowed = f"a text in quotes that is not empty{', on one line' if one_line else ''}"
    if not isinstance(value, str) or not value.strip() or (one_line and len(value.splitlines()) > 1):
        raise InvalidValueError(place, value, allowed)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(place, value, f"{allowed}, of characters that UTF-8 can hold") from None


def checked_table(value: Any, place: str) -> dict[str, Any]:
    """A table with texts as keys."""
    if not isinstance(value, Mapping):
        raise InvalidValueError(place, value, "a table")
    for key in value:
        if not isinstance(key, str):
            raise InvalidValueError(f"a key of {place}", key, "a text")
    return dict(value)


def checked_texts(value: Any, place: str) -> tuple[str, ...]:
    """An array of texts that are not empty."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValueError(place, value, "an array of texts")
    for index, text in enumerate(value):
        check_text(text, f"{place}[{index}]")
    return tuple(value)


def as_plain(value: Any) -> Any:
    """NumPy numbers as Python numbers, which files can hold; anything else unchanged."""
    if is_real(value) and type(value) not in (int, float):
        return int(value) if hasattr(value, "__index__") else float(value)
    return value


def check_number(value: Any, place: str, *, finite: bool = True) -> None:
    """Raises unless the value is a number of at least 0 that a file can hold."""
    allowed = f"a {'finite ' if finite else ''}number of at least 0"
    if type(value) is int:
        if not 0 <= value < 2**63:
            raise InvalidValueError(place, value, f"{allowed}, integers in 64 bits")
    elif type(value) is not float or not 0 <= value <= math.inf or (finite and value == math.inf):
        raise InvalidValueError(place, value, allowed)
