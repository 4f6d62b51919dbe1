"""The figures of a column of a table: one number of decimals for all of them, so that their points line up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from hwcost.units import Units, number, percent, unit_of

__all__ = ["Text", "even", "even_percent", "even_unit", "lined_up"]

Text: TypeAlias = Callable[[float], str]
"""From a figure of the column to its text."""

_DIGITS, _MOST = 4, 3
_WHOLE = 1000
"""A column whose largest figure is that large has no decimals."""
_ROUNDING = 0.01
"""A figure that is rounded by less is shown like the others."""
_LEAST_PERCENT = 0.01
_LONGEST = 1e-6
"""Smaller figures are written with an exponent."""
_FIGURE = re.compile(r"[~(<]*[\d,]+(\.?\d*\)?)")


def even(values: Iterable[float], digits: int = _DIGITS) -> Text:
    """The text of the figures of a column.

    The largest has ``digits`` significant digits, with one decimal more, up to three, if the smallest has two digits
    then; there are no decimals from 1000 on, and none that are zero in every figure. A figure that would have fewer
    than two digits, or be zero next to whole ones, has two digits of its own: only zero is shown as 0.

    Args:
        values: all figures of the column.
        digits: of the largest one.

    >>> list(map(even([66.06, 75, 85.5]), [66.06, 75, 85.5]))
    ['66.06', '75.00', '85.50']
    >>> list(map(even([17408, 32.25, 0.25]), [17408, 32.25, 0.25]))
    ['17,408', '32', '0.25']
    >>> list(map(even([1.41, 1, 0.000466], 3), [1.41, 1, 0.000466]))
    ['1.41', '1.00', '0.00047']
    """
    own = [abs(value) for value in values if value and math.isfinite(value)]
    decimals = _decimals(own, digits)
    while decimals and all(f"{size:.{decimals}f}"[-1] == "0" for size in own):
        decimals -= 1
    least = 10.0 ** (1 - decimals) if decimals else 1

    def text(value: float) -> str:
        if not value:
            return "0"
        shown = f"{value:.{decimals}f}"
        if abs(value) < least and abs(float(shown) - value) > _ROUNDING * abs(value):
            return _of_its_own(value)
        if decimals or not math.isfinite(value):
            return shown
        return number(value if abs(value) >= _WHOLE else round(value))

    return text


def even_unit(values: Iterable[float], units: Units, digits: int = _DIGITS) -> tuple[str, Text]:
    """The unit of a column, and the text of its figures, which are given in the base unit.

    >>> from hwcost.units import TIMES
    >>> unit, text = even_unit([0.0004165, 0.00916, 5.013e-05], TIMES)
    >>> unit, text(0.0004165), text(0.00916), text(5.013e-05)
    ('ms', '0.416', '9.160', '0.050')
    """
    own = list(values)
    scale, unit = unit_of(max(own, default=0.0), units)
    text = even((value / scale for value in own), digits)
    return unit, lambda value: text(value / scale)


def even_percent(shares: Iterable[float]) -> Text:
    """The text of the shares of a column as percentages.

    There is one decimal; none if all are whole, and more if all are so small that the largest would have one digit.

    >>> text = even_percent([1, 0.6756, 0.0004, 0])
    >>> text(1), text(0.6756), text(0.0004), text(0)
    ('100.0', '67.6', '0.04', '0')
    >>> text = even_percent([0.00055, 0.00064])
    >>> text(0.00055), text(0.00064)
    ('0.055', '0.064')
    """
    own = [100 * share for share in shares]
    largest = max(own, default=0.0)
    decimals = int(any(f"{value:.1f}"[-1] != "0" for value in own))
    if _LEAST_PERCENT < largest < 1:
        decimals = 1 - _place(largest)

    def text(share: float) -> str:
        shown = f"{100 * share:.{decimals}f}"
        return shown if float(shown) else percent(share)

    return text


def lined_up(cells: Sequence[str]) -> list[str]:
    """The cells of a column, filled up behind their figures so that the points of right-aligned ones line up.

    >>> lined_up(["66.1", "0.00047", "(12.5)", "-"])
    ['66.1   ', '0.00047', '(12.5)  ', '-']
    """
    tails = [len(found[1]) if (found := _FIGURE.fullmatch(cell)) else None for cell in cells]
    longest = max((tail for tail in tails if tail is not None), default=0)
    return [cell + " " * (0 if tail is None else longest - tail) for cell, tail in zip(cells, tails, strict=True)]


def _decimals(sizes: list[float], digits: int) -> int:
    if not sizes or max(sizes) >= _WHOLE:
        return 0
    of_largest, of_least = (_place(size) for size in (max(sizes), min(sizes)))
    usual = max(digits - 1 - of_largest, 0)
    return usual + (1 - of_least == usual + 1 <= _MOST)


def _place(size: float) -> int:
    """The power of ten of the first digit."""
    return math.floor(math.log10(size))


def _of_its_own(value: float) -> str:
    """Two significant digits."""
    return f"{value:.{1 - _place(abs(value))}f}" if abs(value) >= _LONGEST else f"{value:.1e}"
