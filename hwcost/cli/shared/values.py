"""What people type, turned into numbers: sizes, lists and ranges, frequencies, temperatures."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.relaxation import RELAXATIONS, Relaxation

__all__ = [
    "INT64_MAX",
    "Sizes",
    "allowed_sizes",
    "at_temperature",
    "check_outputs",
    "check_writable",
    "parse_clock",
    "parse_number",
    "parse_padding",
    "parse_relaxation",
    "parse_relaxations",
    "parse_sizes",
    "parse_stride",
    "parse_temperature",
    "parse_temperatures",
]

INT64_MAX = 2**63 - 1
MAX_DIGITS = 300
TEMPERATURES = (1.0, 1e6)

_UNITS = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9, "thz": 1e12}


@dataclass(frozen=True)
class Sizes:
    """What one option holds: a number, or the numbers of a sweep in order.

    >>> list(parse_sizes("--f", "1:3,8,16:32:8"))
    [1, 2, 3, 8, 16, 24, 32]
    """

    option: str
    ranges: tuple[range, ...]
    is_sweep: bool

    def __iter__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self.ranges)

    @property
    def number(self) -> int:
        """The number, or the first of a sweep."""
        return self.ranges[0][0]

    @property
    def count(self) -> int:
        """How many numbers there are; unlike ``len``, for ranges of any length."""
        return sum((r.stop - r.start + r.step - 1) // r.step for r in self.ranges)

    @property
    def largest(self) -> int:
        """The largest number."""
        return max(r[-1] if r.stop <= INT64_MAX else r.stop - 1 for r in self.ranges)

    def array(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The numbers as one column."""
        return np.fromiter(self, dtype=np.int64, count=self.count)


def allowed_sizes(minimum: int) -> str:
    """What a size option may hold, in words."""
    return f"an integer of at least {minimum}, a list like 8,16,32 or a range like 1:256 or 1:256:8"


def parse_sizes(option: str, text: str, minimum: int = 1) -> Sizes:
    """A whole number, or numbers and ranges ``low:high`` and ``low:high:step`` (both ends included) between commas.

    Raises:
        InvalidValueError: anything else, an empty or backward range, a step that is not positive.
    """
    if "," not in text and ":" not in text:
        return _one(option, _integer(option, text, minimum, allowed_sizes(minimum)))
    return Sizes(option, tuple(_range(option, item, minimum) for item in text.split(",")), is_sweep=True)


def _range(option: str, text: str, minimum: int) -> range:
    parts = text.split(":")
    if len(parts) > 3:
        raise InvalidValueError(option, text, allowed_sizes(minimum))
    low = _integer(option, parts[0], minimum, allowed_sizes(minimum))
    if len(parts) == 1:
        return range(low, low + 1)
    high = _integer(option, parts[1], minimum, f"a range with an integer of at least {minimum} at both ends, like 1:8")
    step = _integer(option, parts[2], 1, "a range low:high:step with a step of at least 1") if len(parts) == 3 else 1
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
        number = math.nan if "_" in text else float(text)
    except ValueError:
        number = math.nan
    if not (low <= number <= high and 0 < number < math.inf):
        raise InvalidValueError(option, text, allowed)
    return number


def parse_clock(option: str, text: str) -> float:
    """Cycles a second: hertz, or a number with a unit.

    >>> parse_clock("--clock", "700MHz")
    700000000.0
    """
    allowed = "a finite number of hertz above 0, like 1e9, 700MHz or 1GHz"
    unit = text.lstrip("+-.0123456789eE").strip()
    if text.endswith(("e", "E")) or unit.lower() not in _UNITS:
        raise InvalidValueError(option, text, allowed)
    hertz = parse_number(option, text.removesuffix(unit), allowed) * _UNITS[unit.lower()]
    if math.isinf(hertz):
        raise InvalidValueError(option, text, allowed)
    return hertz


def parse_temperature(option: str, text: str) -> float:
    """The sharpness of smooth steps; below 1 they are wider than the stairs that they stand for."""
    low, high = TEMPERATURES
    return parse_number(option, text, f"a number from {low:g} to {high:g}", low, high)


def parse_temperatures(option: str, text: str) -> tuple[float, ...]:
    """Temperatures between commas, each once."""
    return tuple(dict.fromkeys(parse_temperature(option, item) for item in text.split(",")))


def parse_relaxation(option: str, name: str, temperature: str | None) -> Relaxation:
    """The named relaxation, at a temperature where one is given.

    Raises:
        InvalidValueError: an unknown name, or a temperature that this relaxation does not have or does not allow.
    """
    if name not in RELAXATIONS:
        raise InvalidValueError(option, name, f"one of: {', '.join(RELAXATIONS)}")
    row = RELAXATIONS[name]
    if temperature is None:
        return row
    if row.sharpness is None:
        raise InvalidValueError("--temperature", temperature, f"none for {name}, which has no temperature")
    return at_temperature(row, parse_temperature("--temperature", temperature))


def parse_relaxations(option: str, text: str) -> tuple[str, ...]:
    """Names of relaxations between commas, each once."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        parse_relaxation(option, name, None)
    return names


def at_temperature(relaxation: Relaxation, temperature: float) -> Relaxation:
    """The relaxation at another temperature; one without any as it is."""
    try:
        return relaxation if relaxation.sharpness is None else relaxation.at_temperature(temperature)
    except InvalidValueError as error:
        raise InvalidValueError("--temperature", temperature, error.allowed) from None


def check_writable(option: str, path: str) -> None:
    """Raises, before work starts whose results could not be kept, where a file cannot be written.

    Raises:
        InvalidValueError: a folder, a file in a folder that is not there or that nobody may write to.
    """
    folder = os.path.dirname(path) or "."
    if "\0" in path or os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise InvalidValueError(option, path, "a file in a folder that is there and can be written")


def check_outputs(sources: Iterable[str], outputs: Mapping[str, str | None]) -> None:
    """Raises, before any work, where files cannot be written, would take each other's place, or that of a model.

    Args:
        sources: the models as they were given; of ``FILE.py:NAME`` the file counts.
        outputs: the path that each option was given.

    Raises:
        InvalidValueError: such a file.
    """
    taken = {}
    for source in sources:
        before, colon, _ = source.rpartition(":")
        file = before if colon and before.lower().endswith(".py") else source
        taken[os.path.realpath(file.replace("\0", ""))] = "the model"
    for option, path in outputs.items():
        if path is None:
            continue
        check_writable(option, path)
        place = os.path.realpath(path)
        if place in taken:
            raise InvalidValueError(option, path, f"a file of its own: this one is that of {taken[place]}")
        taken[place] = option
