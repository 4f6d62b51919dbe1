"""Errors of the search that a user can mend."""

from __future__ import annotations

from hwcost.errors import HwcostError

__all__ = ["ArchDefError", "DataError", "RunError"]


class ArchDefError(HwcostError, ValueError):
    """An architecture file that cannot be used; the message names file, key and what is allowed."""


class DataError(HwcostError, ValueError):
    """Image files that are missing or damaged; the message names the file."""


class RunError(HwcostError, RuntimeError):
    """A run folder that cannot be written, or from which a run cannot resume."""
