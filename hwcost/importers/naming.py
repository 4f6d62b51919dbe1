"""Texts: words as a table, each name given once, errors in one line."""

from __future__ import annotations

__all__ = ["UniqueNames", "first_line", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a text, as a table of names."""
    return frozenset(text.split())


def first_line(error: BaseException, *, with_type: bool = True) -> str:
    r"""An error in one line: its type, and the first line of its message.

    >>> first_line(ValueError("one\ntwo")), first_line(ValueError("one\ntwo"), with_type=False)
    ('ValueError: one', 'one')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__] * (with_type or not lines) + lines[:1])


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
