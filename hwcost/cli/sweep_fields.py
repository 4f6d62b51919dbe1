"""The fields that ``hwcost sweep`` varies: their options, and values as lists, ranges that double or have a step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from hwcost.cli.shared.values import (
    INT64_MAX,
    REAL,
    listed,
    parse_bytes,
    parse_clock,
    parse_name,
    parse_number,
    parse_sizes,
)
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import Declaration
from hwcost.sweep.fields import SWEPT

__all__ = ["OPTION_OF", "option_of", "parse_rate", "parse_several", "parse_vary", "swept_fields", "values_of"]

Parse: TypeAlias = Callable[[str, str], float]

_MOST = 100_000
"""The most values that a range may have."""
_RATES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_SWITCHES = {"yes": True, "no": False, "true": True, "false": False}
OPTION_OF = {"buffer_bytes": "--buffer", "dram_bytes_per_s": "--bandwidth", "clock_hz": "--clock"}
"""The fields that have an option of their own, on top of ``--vary``."""
_OWN_OPTIONS = {"rows": "--rows", "cols": "--cols", "dataflow": "--dataflow"}


def option_of(name: str) -> str:
    """The option that gives the values of a field."""
    return OPTION_OF.get(name, f"--vary {name}")


def swept_fields(texts: Mapping[str, str | None], vary: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The values of every field that the options name.

    Args:
        texts: of the options of ``OPTION_OF``, by field; None for those that are not given.
        vary: texts of ``--vary``.

    Raises:
        InvalidValueError: values that are not allowed, or a field that is named twice.

    >>> swept_fields({"buffer_bytes": "32k:128k", "clock_hz": None}, ["overlap=0,0.5"])
    {'buffer_bytes': (32768.0, 65536.0, 131072.0), 'overlap': (0.0, 0.5)}
    """
    found = {name: values_of(OPTION_OF[name], name, text) for name, text in texts.items() if text is not None}
    for text in vary:
        name, values = parse_vary("--vary", text)
        if name in found:
            reason = f"{option_of(name)} is given as well" if name in OPTION_OF else f"{name} is given twice"
            raise InvalidValueError("--vary", text, "give all values of a field in one place", reason=reason)
        found[name] = values
    return found


def parse_rate(option: str, text: str) -> float:
    """Bytes per second, of which ``k``, ``M``, ``G`` and ``T`` are powers of 1000, as for data sheets.

    >>> parse_rate("--bandwidth", "16GB/s"), parse_rate("--bandwidth", "2.5e9")
    (16000000000.0, 2500000000.0)
    """
    allowed = "a number of bytes per second above 0, like 8e9 or 16GB/s"
    number = text.lower().removesuffix("/s").removesuffix("b").strip()
    unit = number[-1:] if number[-1:].isalpha() else ""
    try:
        rate = parse_number(option, number.removesuffix(unit).strip(), allowed) * _RATES[unit]
    except (InvalidValueError, KeyError):
        rate = math.inf
    if math.isinf(rate):
        raise InvalidValueError(option, text, allowed)
    return rate


def parse_several(option: str, text: str, parse: Parse) -> tuple[float, ...]:
    """Values between commas, each once, in ascending order: numbers, and ranges of them.

    LOW:HIGH doubles LOW as long as that is at most HIGH; LOW:HIGH:STEP adds STEP.

    >>> parse_several("--buffer", "32k:256k,1M", parse_bytes)
    (32768.0, 65536.0, 131072.0, 262144.0, 1048576.0)
    >>> parse_several("--bandwidth", "8e9:16e9:4e9", parse_rate)
    (8000000000.0, 12000000000.0, 16000000000.0)
    """
    ranges = listed(lambda _, part: list(_range(option, part, parse)))(option, text)
    found = list(itertools.chain.from_iterable(ranges))
    if len(found) > _MOST:
        raise InvalidValueError(option, text, f"at most {_MOST} values")
    return tuple(sorted(set(found)))


def _range(option: str, text: str, parse: Parse) -> Iterator[float]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) > 3:
        raise InvalidValueError(option, text, "a range LOW:HIGH, whose values double, or LOW:HIGH:STEP")
    low, *more = (_finite(option, part, parse) for part in parts)
    if not more:
        yield low
        return
    high, step = more[0], more[1] if len(more) > 1 else None
    if high < low:
        raise InvalidValueError(option, text, f"a range from the lower to the higher end, {parts[1]}:{parts[0]}")
    if low <= 0 if step is None else step <= 0:
        raise InvalidValueError(option, text, "a range LOW:HIGH above 0, whose values double, or LOW:HIGH:STEP")
    count = math.log2(high) - math.log2(low) if step is None else (high - low) / step
    if count > _MOST:
        raise InvalidValueError(option, text, f"at most {_MOST} values")
    for i in range(math.floor(count + 1e-9) + 1):
        yield (
            math.ldexp(low, i) if step is None else float(f"{low + i * step:.12g}")
        )  # 0.3, and not 0.30000000000000004


def _finite(option: str, text: str, parse: Parse) -> float:
    if math.isfinite(value := parse(option, text)):
        return value
    raise InvalidValueError(option, text, "a finite number")


# ---------------------------------------------------------------- fields


def parse_vary(option: str, text: str) -> tuple[str, tuple[Any, ...]]:
    """A field of the machine and its values.

    >>> parse_vary("--vary", "cycles_per_layer=0:1000:500"), parse_vary("--vary", "fold_timing=serial,ideal")
    (('cycles_per_layer', (0.0, 500.0, 1000.0)), ('fold_timing', ('serial', 'ideal')))
    """
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or not values.strip():
        raise InvalidValueError(option, text, "FIELD=VALUES, like cycles_per_layer=0,500,1000")
    if name in _OWN_OPTIONS:
        reason = f"{name} has an option of its own"
        raise InvalidValueError(option, text, f"use {_OWN_OPTIONS[name]}", reason=reason)
    if name not in SWEPT:
        allowed = "a field of the machine that holds a number, a name or a switch, as in the documentation of devices"
        raise InvalidValueError(
            option, name, allowed, names=(*SWEPT, *_OWN_OPTIONS),
            form="unknown field {value} in {field}{closest}; allowed: {allowed}",
        )  # fmt: skip
    return name, values_of(f"{option} {name}", name, values.strip())


def values_of(option: str, name: str, text: str) -> tuple[Any, ...]:
    """The values of a field in a text, by its unit and kind: "none" for a field that is not set, "inf" for no limit."""
    declared = SystolicArray.declarations[name]
    if declared.kind.names:
        names = declared.kind.names
        return tuple(dict.fromkeys(listed(lambda _, part: parse_name(option, part, names))(option, text)))
    if declared.kind.types == (bool,):
        return tuple(dict.fromkeys(listed(_switch)(option, text.lower())))
    parts = [part.strip() for part in text.split(",")]
    special = [_SPECIAL[part] for part in parts if _is_special(part, declared)]
    numbers = ",".join(part for part in parts if not _is_special(part, declared))
    if len(special) == len(parts):
        return tuple(dict.fromkeys(special))
    found: tuple[Any, ...]
    if declared.kind.types == (int,):
        sizes = parse_sizes(option, numbers)
        if sizes.largest > INT64_MAX or sizes.points > _MOST:
            raise InvalidValueError(option, text, f"at most {_MOST} sizes up to {INT64_MAX}")
        found = tuple(dict.fromkeys(sizes.numbers()))
    else:
        found = parse_several(option, numbers, _PARSERS.get(declared.unit, REAL))
    return (*(value for value in special if value is None), *found, *(value for value in special if value is not None))


_SPECIAL: dict[str, float | None] = {"none": None, "inf": math.inf}
_PARSERS: dict[str, Parse] = {"B": parse_bytes, "B/s": parse_rate, "Hz": parse_clock}


def _is_special(part: str, declared: Declaration) -> bool:
    return part in _SPECIAL and (declared.neutral == _SPECIAL[part] or (part == "inf" and declared.unit == "B/s"))


def _switch(option: str, text: str) -> bool:
    check_one_of(option, text, ("yes", "no"))
    return _SWITCHES[text]
