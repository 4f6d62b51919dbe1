"""Tables of TOML files, checked by what is declared of each of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from hwcost.errors import MISSING, InvalidValueError

__all__ = ["ANY", "TABLE", "TEXT", "Key", "checked", "integer", "one_of"]


class Key(NamedTuple):
    """The values that a key takes, in words and as a check, and its default; without one it must be given."""

    allowed: str
    check: Callable[[Any], bool]
    default: Any = MISSING


def integer(least: int = 1, default: Any = MISSING) -> Key:
    """An integer of at least ``least``."""
    return Key(f"an integer of at least {least}", lambda v: type(v) is int and v >= least, default)


def one_of(values: Iterable[Any], words: str = "") -> Key:
    """One of some values, in ``words`` if they are given."""
    known = list(values)
    return Key(words or " or ".join(f'"{value}"' for value in known), lambda v: type(v) in (int, str) and v in known)


ANY = Key("anything", lambda v: True)
TEXT = Key("a text in quotes", lambda v: isinstance(v, str) and v != "")
TABLE = Key("a table", lambda v: isinstance(v, dict))


def checked(table: Mapping[str, Any], place: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a table by key, with defaults.

    Args:
        table: as it was read.
        place: of the table, in front of the names of keys in errors.
        keys: all that the table may have.

    Raises:
        InvalidValueError: a key that is missing or unknown, or holds what is not allowed.

    >>> checked({"rows": 8}, "array.", {"rows": integer(), "cols": integer(default=4)})
    {'rows': 8, 'cols': 4}
    """
    values = {name: table.get(name, key.default) for name, key in keys.items()}
    for name, value in values.items():
        if value is MISSING or not keys[name].check(value):
            raise InvalidValueError(place + name, value, keys[name].allowed)
    for name in table:
        if name not in keys:
            allowed = f"allowed here: {', '.join(sorted(keys))}"
            raise InvalidValueError(place + name, name, allowed, reason="the key is unknown")
    return values
