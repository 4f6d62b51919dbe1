"""What a picture is drawn of: the result of a function, known by what it has."""

from __future__ import annotations

from typing import Any

from hwcost.errors import InvalidValueError

__all__ = ["check_has", "check_summary", "check_sweep"]


def check_has(field: str, given: Any, names: tuple[str, ...], makes: str) -> None:
    """Raises unless a value has some attributes.

    Args:
        field: the name of the argument.
        given: what was given.
        names: attributes of the results that are drawn.
        makes: what to pass instead, with the call that makes it.

    >>> check_has("points", 3, ("buffer_bytes",), "what hwcost.network.buffer_curve(network, array, sizes) returns")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: points is 3; allowed: what hwcost.network.buffer_curve(network, array, sizes)
    returns
    """
    if isinstance(given, type) or not all(hasattr(given, name) for name in names):
        raise InvalidValueError(field, given, makes)


def check_summary(given: Any) -> None:
    """Raises unless a value is the report of a network on an array.

    >>> check_summary("gemmini")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: summary is 'gemmini'; allowed: what hwcost.report(network, array) returns
    """
    check_has("summary", given, ("rows", "cost", "is_withheld"), "what hwcost.report(network, array) returns")


def check_sweep(given: Any) -> None:
    """Raises unless a value is the result of a sweep."""
    makes = "what hwcost.sweep.sweep(network, rows=..., cols=...) returns"
    check_has("found", given, ("front", "rows", "dataflows"), makes)
