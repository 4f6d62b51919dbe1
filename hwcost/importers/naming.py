"""Names: each given once, and the known one that a misspelt one is close to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UniqueNames", "close_match", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a text, as a table of names."""
    return frozenset(text.split())


class UniqueNames:
    """Gives each name once: a name that comes again gets a number.

    >>> unique = UniqueNames()
    >>> [unique(name) for name in ("conv", "fc", "conv", "conv")]
    ['conv', 'fc', 'conv (2)', 'conv (3)']
    """

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._times: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        """The name, or the name with a number."""
        unique = name
        while unique in self._given:
            self._times[name] = self._times.get(name, 1) + 1
            unique = f"{name} ({self._times[name]})"
        self._given.add(unique)
        return unique

    def __contains__(self, name: str) -> bool:
        """Whether a name was given."""
        return name in self._given


def close_match(name: str, known: Iterable[str]) -> str:
    """A question that offers the known name closest to an unknown one; empty if none is close.

    >>> close_match("con2d", ["conv2d", "linear"])
    "; did you mean 'conv2d'?"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
