"""Figures and names as text: units of time, frequency and memory, counts, lists of names that are cut short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from hwcost.errors import cut

__all__ = [
    "BYTES", "CLOCKS", "ENDS", "ENERGIES", "MARK", "NOT_SHOWN", "POWERS", "TIMES", "Units", "as_cell", "be", "between",
    "in_unit", "labelled", "layer_name", "marked", "number", "of_cell", "percent", "plural", "printable",
    "shorten_name", "shortlist", "unit_of", "with_unit",
]  # fmt: skip

Units: TypeAlias = Sequence[tuple[float, str]]
"""Pairs of a scale and its name, from the largest to the smallest."""

TIMES: Units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
CLOCKS: Units = ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"))
ENERGIES: Units = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ"), (1e-12, "pJ"), (1e-15, "fJ"))
POWERS: Units = ((1e3, "kW"), (1.0, "W"), (1e-3, "mW"), (1e-6, "uW"))
BYTES: Units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))

SIZES: Units = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))

ENDS = ("seconds_90_low", "seconds_90_high")
"""The names, in rows of data, of the ends between which a latency lies with 90 %."""
MARK, NOT_SHOWN = "~", "-"
"""What stands before a figure beyond what was measured, and in the place of a figure that is not shown."""

_GROUPED, _WHOLE = 10_000, 1000
"""From which on digits are grouped, and numbers have no decimals."""
_LEAST_PERCENT, _NOTHING = 0.01, 1e-9
_SCALED = ("Hz", "B", "B/s", "op/s")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
_SMALL = ("J", "J/B", "W")
_SMALL_PREFIXES = (*_PREFIXES, (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def unit_of(largest: float, units: Units) -> tuple[float, str]:
    """The largest unit in which ``largest`` is at least 1, or the smallest unit.

    >>> unit_of(0.02, TIMES)
    (0.001, 'ms')
    """
    return next((unit for unit in units if largest >= unit[0]), units[-1])


def in_unit(value: float, units: Units, digits: int = 6) -> str:
    """A value with its unit, to ``digits`` significant digits.

    >>> in_unit(3.8e-08, TIMES), in_unit(25_600_000, BYTES, 4)
    ('38 ns', '25.6 MB')
    """
    scale, unit = unit_of(value, units)
    try:
        return f"{value / scale:.{digits}g} {unit}"
    except OverflowError:  # an integer above all floats
        from decimal import Decimal  # few need it, and a start of the command line takes a half of a per cent less

        return f"{Decimal(value) / Decimal(scale):.{digits}g} {unit}"


def between(interval: tuple[float, float] | None) -> str:
    """An interval of seconds in words, behind a time; empty if there is none.

    >>> between((0.0109, 0.0138)), between(None)
    (' (90 %: 10.9 ms to 13.8 ms)', '')
    """
    return "" if interval is None else f" (90 %: {' to '.join(in_unit(end, TIMES, 3) for end in interval)})"


def marked(text: str, is_beyond: object) -> str:
    """A figure with a mark if it is beyond what was measured.

    >>> marked("12.3 ms", 0.7), marked("12.3 ms", None)
    ('~12.3 ms', '12.3 ms')
    """
    return f"{MARK}{text}" if is_beyond and text not in {"", NOT_SHOWN} else text


def with_unit(value: object, unit: str) -> str:
    """A value of a field or a fact for people: with a prefix and its unit, as text, or as yes or no.

    >>> with_unit(819e9, "B/s"), with_unit(16, "PE"), with_unit(0.5, "1"), with_unit("ws", ""), with_unit(True, "")
    ('819 GB/s', '16 PE', '0.5', 'ws', 'yes')
    >>> with_unit(65536, "B"), with_unit(64e3, "B")
    ('64 KiB', '64 kB')
    >>> with_unit(2.3e-13, "J"), with_unit(163e-12, "J/B"), with_unit(0.3, "W")
    ('230 fJ', '163 pJ/B', '300 mW')
    >>> with_unit(1234567.0, "cycle"), with_unit(1293.88, "cycle")
    ('1,234,567 cycle', '1293.88 cycle')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ", ".join(with_unit(each, unit) for each in value)
    if not isinstance(value, (int, float)):
        return str(value)
    if unit in _SCALED and math.isfinite(value):
        is_binary = unit == "B" and value and value % SIZES[-2][0] == 0
        return in_unit(value, SIZES if is_binary else [(scale, prefix + unit) for scale, prefix in _PREFIXES])
    if unit in _SMALL and value > 0:
        return in_unit(value, [(scale, prefix + unit) for scale, prefix in _SMALL_PREFIXES])
    text = number(value) if _GROUPED <= abs(value) < math.inf else f"{value:.6g}"
    return f"{text} {unit}" if unit not in ("", "1") else text


def number(value: float) -> str:
    """A count for people: digits in groups from five on, no digits that nobody reads.

    >>> number(3800), number(25090.0), number(115605504), number(37.5), number(13813.5), number(1.25e18)
    ('3800', '25,090', '115,605,504', '37.5', '13,814', '1.25e+18')
    """
    if isinstance(value, int) or (value < 1e15 and value == int(value)):
        return f"{int(value):,}" if abs(value) >= _GROUPED else f"{int(value)}"
    if value >= 1e15:
        return f"{value:.4g}"
    return f"{value:,.0f}" if value >= _GROUPED else f"{value:.0f}" if value >= _WHOLE else f"{value:.4g}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage without its sign: small ones in two significant digits, so that none is shown as 0.

    >>> percent(0.6756), percent(0.0004), percent(1e-9), percent(0.0), percent(1.0)
    ('67.6', '0.04', '<0.01', '0', '100')
    """
    value = 100 * share
    if value in {0, 100}:
        return f"{value:.0f}"
    if 0 < value < _LEAST_PERCENT:
        return "0" if value < _NOTHING else f"<{_LEAST_PERCENT:g}"
    return f"{value:.{digits}f}" if abs(value) >= 0.5 * 10 ** (1 - digits) else f"{value:.2g}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "layer"), plural(3, "layer")
    ('1 layer', '3 layers')
    """
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def be(count: int) -> str:
    """The verb behind a count, as "1 of 5 layers is".

    >>> be(1), be(0), be(2)
    ('is', 'are', 'are')
    """
    return "is" if count == 1 else "are"


def shortlist(names: Sequence[str], most: int, separator: str = ",") -> str:
    """The first names, and the number of those left out.

    >>> shortlist(["a", "b"], 2), shortlist(["a", "b", "c"], 2), shortlist(["a", "b", "c"], 1, ";")
    ('a, b', 'a, b and 1 more', 'a; and 2 more')
    """
    shown = f"{separator} ".join(names[:most])
    more = len(names) - most
    return shown if more <= 0 else f"{shown}{';' if separator == ';' else ''} and {more} more"


def labelled(label: str, text: str) -> str:
    """A line of a report: a label, and a text that is aligned with those of other lines."""
    return f"{label:<13}{text}"


_RUN = ("=", "+", "-", "@", "\t", "\r", "'")


def as_cell(text: str) -> str:
    """A text as a cell of a CSV file, with an apostrophe before what a spreadsheet would take for a formula.

    >>> as_cell("=cmd()"), as_cell("conv1")
    ("'=cmd()", 'conv1')
    """
    return f"'{text}" if text.startswith(_RUN) else text


def of_cell(cell: str) -> str:
    """The text that :func:`as_cell` made a cell of.

    >>> of_cell("'=cmd()"), of_cell("conv1")
    ('=cmd()', 'conv1')
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RUN) else cell


def printable(name: str) -> str:
    r"""A name on one line, with every character that is not printable escaped.

    >>> printable("a\n\x1b[31mb")
    'a\\n\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def shorten_name(name: str, longest: int | None = 30) -> str:
    """The name on one line, cut to a length unless that is None; its end stays: there the names of layers differ.

    >>> shorten_name("encoder.layers.11.feed_forward.dense_out", 24)
    'enco...forward.dense_out'
    """
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    return line if longest is None else cut(line, longest, start=0.2)


def layer_name(name: str, longest: int = 30) -> str:
    """The name of a layer, cut to a length, for a text in which one that is only a number would pass for a figure.

    >>> layer_name("fc"), layer_name("0"), layer_name("3.conv"), layer_name("3.0")
    ('fc', 'layer 0', '3.conv', 'layer 3.0')
    """
    short = shorten_name(name, longest)
    return f"layer {short}" if name.replace(".", "").isdecimal() else short
