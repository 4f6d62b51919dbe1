"""Texts: words as a table, each name given once."""

from __future__ import annotations

__all__ = ["UniqueNames", "words"]


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

    def copy(self) -> UniqueNames:
        """Another one that has given the same names."""
        other = UniqueNames()
        other._given, other._times = set(self._given), dict(self._times)
        return other

    def __contains__(self, name: str) -> bool:
        """Whether a name was given."""
        return name in self._given
