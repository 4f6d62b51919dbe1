"""Parsers of option values: sizes, lists and ranges of sizes, frequencies, temperatures."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.console import note
from hwcost.errors import Faults, InvalidValueError, check_one_of
from hwcost.relaxation import RELAXATIONS, Relaxation

__all__ = [
    "ALLOWED_SIZES", "INT64_MAX", "INTEGER", "REAL", "Sizes", "listed", "number_of", "parse_array", "parse_bytes",
    "parse_clock", "parse_engine", "parse_file", "parse_folder", "parse_member", "parse_name", "parse_number",
    "parse_object", "parse_padding", "parse_relaxations", "parse_seeds", "parse_several_bytes", "parse_size",
    "parse_sizes", "parse_sizes_by_name", "parse_stride",
]  # fmt: skip

ALLOWED_SIZES = "an integer of at least 1, a list like 8,16,32 or a range like 1:256 or 1:256:8"
INT64_MAX = 2**63 - 1
MAX_DIGITS = 300
TEMPERATURES = (1.0, 1e6)
"""Below 1 the smooth steps would be wider than the stairs they replace."""

_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_UNITS = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9, "thz": 1e12}


class Sizes(NamedTuple):
    """The value of a size option: a number, or the numbers of a sweep in order.

    >>> list(parse_sizes("--f", "1:3,8,16:32:8").numbers())
    [1, 2, 3, 8, 16, 24, 32]
    """

    option: str
    ranges: tuple[range, ...]
    is_sweep: bool

    def numbers(self) -> Iterator[int]:
        """The numbers in order."""
        return itertools.chain.from_iterable(self.ranges)

    @property
    def number(self) -> int:
        """The number, or the first of a sweep."""
        return self.ranges[0][0]

    @property
    def points(self) -> int:
        """How many numbers there are; unlike ``len``, not limited to 64 bits."""
        return sum((r.stop - r.start + r.step - 1) // r.step for r in self.ranges)

    @property
    def largest(self) -> int:
        """The largest number."""
        return max(r[-1] if r.stop <= INT64_MAX else r.stop - 1 for r in self.ranges)

    def array(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The numbers as an array."""
        return np.fromiter(self.numbers(), dtype=np.int64, count=self.points)


def parse_name(option: str, text: str, table: Collection[str]) -> str:
    """A name that a table has."""
    check_one_of(option, text, table)
    return text


def parse_member(option: str, text: str) -> tuple[str, str]:
    """A Python file and a name in it.

    >>> parse_member("--data", "net.py:loader")
    ('net.py', 'loader')
    """
    path, _, name = text.rpartition(":")
    if not path.lower().endswith(".py") or not name.isidentifier():
        raise InvalidValueError(option, text, "FILE.py:NAME, a Python file and a name in it")
    return path, name


def parse_object(option: str, text: str) -> tuple[str, str]:
    """As :func:`parse_member`, of a file that is there and, as far as its text shows, has the name."""
    from hwcost.importers.sources import check_member

    path, name = parse_member(option, text)
    try:
        check_member(path, name, "the file", "object")
    except InvalidValueError as error:
        raise InvalidValueError(option, text, "name another object", reason=str(error)) from None
    return path, name


def parse_file(option: str, text: str) -> str:
    """The path of a file that can be read."""
    from hwcost.files import check_given

    check_given(text, None, option)
    return text


def parse_folder(option: str, text: str) -> str:
    """A folder that is there, or may be made."""
    if not text.strip() or "\0" in text:
        raise InvalidValueError(option, text, "a folder")
    from hwcost.files import unusable

    place = os.path.abspath(text)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise unusable(option, text, "written", OSError(None, f"{place} is not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise unusable(option, text, "written", OSError(None, f"{place} cannot be written to"))
    return text


def parse_engine(option: str, text: str) -> str:
    """Where work runs: the name of an engine, with the address that it takes."""
    from hwcost.sweep.engines import engine_of

    try:
        engine_of(text)
    except InvalidValueError as error:
        raise error.at(option) from None
    return text


def parse_sizes(option: str, text: str) -> Sizes:
    """An integer, or integers and ranges ``low:high`` and ``low:high:step`` (both ends included) between commas."""
    if "," not in text and ":" not in text:
        return _one(option, _integer(option, text, 1, ALLOWED_SIZES))
    return Sizes(option, listed(_range)(option, text), is_sweep=True)


def parse_size(option: str, text: str, least: int = 1, most: int | None = None) -> int:
    """One integer, from ``least`` to ``most``."""
    allowed = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
    number = _integer(option, text, least, allowed)
    if most is not None and number > most:
        raise InvalidValueError(option, text, allowed)
    return number


def parse_sizes_by_name(option: str, texts: Iterable[str], example: str, least: int = 1) -> dict[str, int]:
    """Sizes of at least ``least`` that are given as NAME=SIZE, each name once.

    >>> parse_sizes_by_name("--dim", ["batch=1", "length=128"], "batch=1")
    {'batch': 1, 'length': 128}
    """
    sizes: dict[str, int] = {}
    faults = Faults()
    for text in texts:
        with faults.caught():
            name, equals, size = text.rpartition("=")
            if not equals or not name:
                raise InvalidValueError(option, text, f"a name and a size, like {example}")
            if name in sizes:
                raise InvalidValueError(option, text, f"one size for {name}, which has {sizes[name]} already")
            sizes[name] = parse_size(f"{option} {name}", size, least)
    faults.check()
    return sizes


def _range(option: str, text: str) -> range:
    parts = text.split(":")
    if len(parts) > 3:
        raise InvalidValueError(option, text, ALLOWED_SIZES)
    low = _integer(option, parts[0], 1, ALLOWED_SIZES)
    if len(parts) == 1:
        return range(low, low + 1)
    try:
        high = _integer(option, parts[1], 1, "a range with an integer of at least 1 at both ends, like 1:8")
        step = _integer(option, parts[-1], 1, "a range low:high:step with a step of at least 1")
    except InvalidValueError as error:  # the range as it was written
        raise InvalidValueError(option, text, error.allowed) from None
    step = step if len(parts) == 3 else 1
    if high < low:
        raise InvalidValueError(option, text, f"a range from the lower to the higher end, {high}:{low}")
    return range(low, high + 1, step)


def _integer(option: str, text: str, minimum: int, allowed: str) -> int:
    text = text.strip()
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidValueError(option, text, allowed)
    if len(digits) > MAX_DIGITS:
        raise InvalidValueError(option, text, f"{allowed}, of at most {MAX_DIGITS} digits")
    if int(digits) < minimum:
        raise InvalidValueError(option, text, allowed)
    return int(digits)


def _one(option: str, number: int) -> Sizes:
    return Sizes(option, (range(number, number + 1),), is_sweep=False)


def parse_stride(option: str, text: str) -> tuple[Sizes, Sizes]:
    """Strides along height and width: one for both, a pair like ``1x2``, or a sweep."""
    if "x" not in text:
        return (parse_sizes(option, text),) * 2
    allowed = "an integer of at least 1, a pair like 1x2, or a list or range of integers"
    height, width = (_one(option, size) for size in _pair(option, text, 1, allowed))
    return height, width


def parse_padding(option: str, text: str) -> str | int | tuple[int, int]:
    """``same``, ``valid``, pixels on every side, or a pair like ``1x2`` for height and width."""
    if text in ("same", "valid"):
        return text
    allowed = 'an integer of at least 0, a pair like 1x2, "same" or "valid" (padding cannot be swept)'
    return _pair(option, text, 0, allowed) if "x" in text else _integer(option, text, 0, allowed)


def _pair(option: str, text: str, minimum: int, allowed: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2:
        raise InvalidValueError(option, text, allowed)
    height, width = (_integer(option, part, minimum, allowed) for part in parts)
    return height, width


def parse_number(option: str, text: str, allowed: str, low: float = 0.0, high: float = math.inf) -> float:
    """A real number from ``low`` to ``high``; neither 0 nor infinity."""
    try:
        number = math.nan if "_" in text or not text.isascii() else float(text)
    except ValueError:
        number = math.nan
    if not (low <= number <= high and 0 < number < math.inf):
        raise InvalidValueError(option, text, allowed)
    return number


def parse_share(option: str, text: str, of: str = "of today's sizes ") -> float:
    """A share from 0 to 1.

    >>> parse_share("--least", "0"), parse_share("--least", "0.25")
    (0.0, 0.25)
    """
    is_zero = text.isascii() and text.strip("+0.") == "" and "0" in text
    return 0.0 if is_zero else parse_number(option, text, f"a share {of}from 0 to 1, like 0.25", 0.0, 1.0)


def parse_clock(option: str, text: str) -> float:
    """A frequency in hertz, given as hertz or with a unit.

    >>> parse_clock("--clock", "700MHz")
    700000000.0
    """
    allowed = "a finite number of hertz above 0, like 1e9, 700MHz or 1GHz"
    unit = text.lstrip("+-.0123456789eE").strip()
    scale = _UNITS.get(unit.lower(), math.inf)
    hertz = scale if math.isinf(scale) else parse_number(option, text.removesuffix(unit), allowed) * scale
    if math.isinf(hertz):
        raise InvalidValueError(option, text, allowed)
    if 1e-3 < hertz < 1e3 and not unit:
        note(f"{option} {text} is {hertz:g} hertz; with a unit it is {option} {text}MHz")
    return hertz


def parse_bytes(option: str, text: str) -> float:
    """Bytes, of which ``k``, ``M`` and ``G`` are powers of 1024.

    >>> parse_bytes("--buffer", "64k"), parse_bytes("--buffer", "1.5MB")
    (65536.0, 1572864.0)
    """
    allowed = "a number of bytes above 0, like 65536, 64k or 1M"
    number = text.lower().removesuffix("b")
    unit = number[-1:] if number[-1:] in ("k", "m", "g") else ""
    try:
        return parse_number(option, number.removesuffix(unit).strip(), allowed) * _BYTES[unit]
    except InvalidValueError:
        raise InvalidValueError(option, text, allowed) from None


def parse_several_bytes(option: str, text: str) -> float | tuple[float, ...]:
    """Bytes, or several sizes between commas, each once.

    >>> parse_several_bytes("--buffer", "1k"), parse_several_bytes("--buffer", "1k,2k")
    (1024.0, (1024.0, 2048.0))
    """
    sizes = listed(parse_bytes)(option, text)
    if len(set(sizes)) < len(sizes):
        raise InvalidValueError(option, text, "sizes that differ")
    return sizes if len(sizes) > 1 else sizes[0]


def parse_relaxations(
    names: Iterable[str], temperatures: Iterable[str] | None, default: Sequence[float] = ()
) -> list[Relaxation]:
    """Relaxations, each at each temperature if it has one.

    Args:
        names: the values of ``--relaxation``.
        temperatures: the values of ``--temperature``; None if it was not given.
        default: temperatures to use then, instead of those of the table.
    """
    rows = [RELAXATIONS[parse_name("--relaxation", name, RELAXATIONS)] for name in dict.fromkeys(names)]
    sharp = default if temperatures is None else tuple(dict.fromkeys(map(_temperature, temperatures)))
    if temperatures is not None and not any(row.sharpness for row in rows):
        reason = f"{rows[0].name} has no temperature"
        raise InvalidValueError("--temperature", sharp[0], "leave it out", reason=reason)
    return [each for row in rows for each in ([_at(row, t) for t in sharp] if row.sharpness and sharp else [row])]


def _temperature(text: str) -> float:
    return parse_number("--temperature", text, "a number from 1 to 1e6", *TEMPERATURES)


def _at(relaxation: Relaxation, temperature: float) -> Relaxation:
    try:
        return relaxation.at_temperature(temperature)
    except InvalidValueError as error:
        raise error.at("--temperature") from None


def parse_array(option: str, text: str) -> tuple[int, int]:
    """Rows and columns in a text like 16x16."""
    match = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})", text.lower(), re.ASCII)
    if not match or 0 in (sizes := (int(match[1]), int(match[2]))):
        raise InvalidValueError(option, text, "ROWSxCOLS, two integers from 1 to 9999999, like 16x16")
    return sizes


def number_of(kind: type[int | float]) -> Callable[[str, str], Any]:
    """A parser of numbers whose range something else checks; digits of other scripts and underscores are refused."""

    def read(option: str, text: str) -> Any:
        with contextlib.suppress(ValueError):
            if text.isascii() and "_" not in text:
                return kind(text)
        raise InvalidValueError(option, text, "an integer" if kind is int else "a number")

    return read


INTEGER, REAL = number_of(int), number_of(float)


def listed(of: Callable[[str, str], Any] = lambda _, text: text) -> Callable[[str, str], tuple[Any, ...]]:
    """A parser of values between commas, each read by a parser of its own; all that are wrong are told at once."""

    def read(option: str, text: str) -> tuple[Any, ...]:
        found, faults = [], Faults()
        for part in text.split(","):
            with faults.caught():
                found.append(of(option, part.strip()))
        faults.check()
        return tuple(found)

    return read


def parse_seeds(option: str, text: str) -> tuple[int, ...]:
    """``0,1,2`` or ``0:5``, the end left out as in Python.

    >>> parse_seeds("--seeds", "0:3,7")
    (0, 1, 2, 7)
    """
    return tuple(itertools.chain.from_iterable(listed(_seeds)(option, text)))


def _seeds(option: str, text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,9})(?::([0-9]{1,9}))?", text, re.ASCII)
    if not match or (match[2] and not 0 < int(match[2]) - int(match[1]) <= 10_000):
        raise InvalidValueError(option, text, "integers from 0 on, like 0,1,2, or a range like 0:5")
    return range(int(match[1]), int(match[2] or int(match[1]) + 1))
