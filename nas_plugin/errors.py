"""Errors of the search that a user can mend."""

from __future__ import annotations

from hwcost.errors import HwcostError, InvalidValueError

__all__ = ["ArchDefError", "DataError", "InvalidValueError", "PluginError", "RunError"]


class PluginError(HwcostError):
    """Base of the errors that nas_plugin raises on purpose."""


class ArchDefError(PluginError, ValueError):
    """An architecture file that cannot be used; the message names file, key and what is allowed."""


class DataError(PluginError, ValueError):
    """Image files that are missing or damaged; the message names the file."""


class RunError(PluginError, RuntimeError):
    """A run folder that cannot be written, or from which a run cannot resume."""
