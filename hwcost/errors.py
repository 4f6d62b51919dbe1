"""Errors that say what is wrong, where, what is allowed and what to do next.

Every error of the package derives from :class:`HwcostError` and from the builtin that Python users expect
(``ValueError``, ``TypeError``, ``ImportError``), so that both ``except HwcostError`` and ``except ValueError`` work.
"""

from __future__ import annotations

from typing import Any

__all__ = ["HwcostError", "InvalidValueError", "MissingDependencyError", "MixedLibrariesError", "NoGradientError"]


class HwcostError(Exception):
    """Base of all errors raised on purpose by hwcost."""


class InvalidValueError(HwcostError, ValueError):
    """A value outside of what is allowed.

    ``field`` names where it stood, ``value`` what was given, ``allowed`` what may stand there.

    >>> str(InvalidValueError("Conv2d.stride", 0, "an integer of at least 1"))
    'Conv2d.stride is 0; allowed: an integer of at least 1'
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} is {shorten(value)}; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is otherwise made anew from its message alone
        return type(self), (self.field, self.value, self.allowed)


class MixedLibrariesError(HwcostError, TypeError):
    """Arrays of two libraries (numpy and torch, say) met in one call."""


class MissingDependencyError(HwcostError, ImportError):
    """An optional library is needed and not installed; the message says what to install."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {library}; install it with: pip install "hwcost[{extra}]"')
        self.library = library
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.library, self.extra, self.purpose)


class NoGradientError(HwcostError, RuntimeError):
    """A latency term was asked to train something that it has no gradient for."""


def shorten(value: object, limit: int = 60) -> str:
    """One line that shows ``value``, cut in the middle when it is long (a huge integer is not printed in full).

    >>> shorten("a" * 100, limit=20)
    "'aaaaaaa...aaaaaaaa'"
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**limit:
        return f"an integer of {value.bit_length()} bits"
    text = " ".join(repr(value).split())
    if len(text) <= limit:
        return text
    keep = limit - 3
    return f"{text[: keep // 2]}...{text[-(keep - keep // 2) :]}"
