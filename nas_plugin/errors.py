"""Errors of the search that a user can mend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hwcost.errors import HwcostError, MissingDependencyError

__all__ = ["ArchDefError", "DataError", "RunError"]


class ArchDefError(HwcostError, ValueError):
    """An architecture file that cannot be used; the message names file, key and what is allowed."""


class DataError(HwcostError, ValueError):
    """Image files that are missing or damaged; the message names the file."""


class RunError(HwcostError, RuntimeError):
    """A run folder that cannot be written, or from which a run cannot resume."""


@contextlib.contextmanager
def needs_extra(purpose: str) -> Iterator[None]:
    """Turns a failed import into an error that names the missing library and the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), "nas", purpose) from None
