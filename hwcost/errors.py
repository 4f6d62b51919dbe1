"""Errors that state the fault, its place, the allowed values, and what to do next.

Every error of the package derives from :class:`HwcostError` and from the builtin that Python users expect
(``ValueError``, ``TypeError``, ``ImportError``), so that both ``except HwcostError`` and ``except ValueError`` work.

Bad input raises :class:`InvalidValueError`. Its message takes one of three forms:

- a wrong value: ``InvalidValueError("stride", 0, "an integer of at least 1")``;
- no value: ``InvalidValueError("stride", MISSING, "an integer of at least 1")``;
- anything else: ``InvalidValueError("--plot", path, "leave it out, or pass --budget", reason="there is no budget")``,
  where the third argument states what to do.

To raise an error again under the name that the caller knows, use :meth:`InvalidValueError.at`.
"""

from __future__ import annotations

import enum
import functools
from typing import Any, Final

__all__ = [
    "MISSING",
    "HwcostError",
    "InvalidValueError",
    "MissingDependencyError",
    "MixedLibrariesError",
    "NoGradientError",
]


class _Missing(enum.Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""Stands for a value that was not given."""


class HwcostError(Exception):
    """Base class of the errors that hwcost raises on purpose."""


class InvalidValueError(HwcostError, ValueError):
    """A value that is not allowed, or not there.

    >>> str(InvalidValueError("Conv2d.stride", 0, "an integer of at least 1"))
    'Conv2d.stride is 0; allowed: an integer of at least 1'
    >>> str(InvalidValueError("--input", MISSING, "the input shape, such as 1,3,224,224"))
    '--input is missing; needed: the input shape, such as 1,3,224,224'
    >>> str(InvalidValueError("--dim", "batch=8", "leave it out", reason="the model has no dynamic sizes"))
    '--dim cannot be used: the model has no dynamic sizes; leave it out'

    Attributes:
        field: the argument, option, key or cell.
        value: the value given there, or ``hwcost.errors.MISSING``.
        allowed: the values allowed there; with a ``reason``, what to do instead.
        reason: why ``field`` cannot be used, if the value alone does not show it; empty otherwise.
    """

    def __init__(self, field: str, value: object, allowed: str, *, reason: str = "") -> None:
        if reason:
            message = f"{field} cannot be used: {reason}; {allowed}"
        elif value is MISSING:
            message = f"{field} is missing; needed: {allowed}"
        else:
            message = f"{field} is {shorten(value)}; allowed: {allowed}"
        super().__init__(message)
        self.field = field
        self.value = value
        self.allowed = allowed
        self.reason = reason

    def at(self, field: str, *, allowed: str | None = None) -> InvalidValueError:
        """The same error under another name of the field, and optionally with other allowed values.

        >>> error = InvalidValueError("Conv2d.stride", 0, "an integer of at least 1")
        >>> str(error.at("--stride"))
        '--stride is 0; allowed: an integer of at least 1'
        """
        return InvalidValueError(field, self.value, allowed or self.allowed, reason=self.reason)

    def __reduce__(self) -> tuple[Any, ...]:  # by default, an exception is rebuilt from its message alone
        return functools.partial(type(self), reason=self.reason), (self.field, self.value, self.allowed)


class MixedLibrariesError(HwcostError, TypeError):
    """Arrays of two libraries, such as numpy and torch, in one call."""


class MissingDependencyError(HwcostError, ImportError):
    """An optional library that is needed and not installed; the message gives the command that installs it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {library}; install it with: pip install "hwcost[{extra}]"')
        self.library = library
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.library, self.extra, self.purpose)


class NoGradientError(HwcostError, RuntimeError):
    """A latency term without a gradient, in a place that trains by it."""


def shorten(value: object, limit: int = 60) -> str:
    """``value`` on one line, cut in the middle if it is long; a huge integer is described rather than printed.

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
