"""The measurements to which a device was fitted, and the sizes that they cover."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwcost.arrays import Size, Table, if_concrete, is_number, is_real, to_numpy
from hwcost.devices.checks import FIELDS, as_plain, check_number, check_text, checked_table, checked_texts
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.tables import Facts
from hwcost.units import MARK, layer_name, number, percent, plural, printable

__all__ = [
    "COVERAGE",
    "MARGIN",
    "MEASURED",
    "MOST_BEYOND",
    "PRINTS_IT",
    "ExtrapolationWarning",
    "Fit",
    "Range",
    "beyond_ranges",
    "doubts",
    "error_in_words",
    "is_beyond",
    "legend",
    "margin_at",
    "unfitted",
    "withheld",
]

MEASURED = ("m", "n", "k", "macs")
"""The sizes of a layer of which a file gives the measured range."""
COVERAGE, MARGIN = 0.9, "log_margin_90"
"""The share of layers whose latency lies within an interval, and the name of its half width among the errors."""
_ERRORS: Mapping[str, tuple[str, Callable[[float], str]]] = Table({
    "mape": ("mean error", lambda figure: f"{percent(figure, 2)} %"),
    "median": ("median error", lambda figure: f"{percent(figure, 2)} %"),
    "spearman": ("rank correlation", lambda figure: f"{figure:.4f}"),
    "kendall": ("Kendall's tau", lambda figure: f"{figure:.4f}"),
    "count": ("measurements", number),
    "utilization": ("largest utilization", lambda figure: f"{percent(figure)} %"),
    MARGIN: ("90 % interval", lambda figure: f"{math.exp(-figure):.3f} to {math.exp(figure):.3f} times the prediction"),
})  # fmt: skip
"""The figures of a fit in words, and as text."""
WIDER = 0.25
"""What the half width grows by with every factor of two beyond the measured range."""
MOST_BEYOND = 0.5
"""The share of a total up to which it may come from layers beyond the measured range."""
PRINTS_IT = "extrapolate=True (--extrapolate) prints it"
"""What gives a total that comes from there for the most part."""
WORST_ERROR, LEAST_CORRELATION, LEAST_UTILIZATION, WORST_MARGIN = 0.3, 0.5, 0.01, math.log(4)
"""A fit that is worse than one of these is in doubt."""


class ExtrapolationWarning(UserWarning):
    """A figure for layers outside of the measured sizes."""


@dataclass(frozen=True)
class Range:
    """The smallest and the largest size among the measured layers.

    Raises:
        InvalidValueError: an end that is not a finite number of at least 0, or a low end above the high one.

    >>> Range(16, 12544)
    Range(low=16, high=12544)
    """

    low: int | float
    high: int | float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, as_plain(getattr(self, name)))
            check_number(getattr(self, name), f"Range.{name}")
        if self.low > self.high:
            raise InvalidValueError("Range.low", self.low, f"at most {self.high}, the high end")

    @property
    def in_words(self) -> str:
        """Both ends as text.

        >>> Range(27, 46080).in_words, Range(8, 8).in_words
        ('27 to 46,080', '8')
        """
        return number(self.low) if self.low == self.high else f"{number(self.low)} to {number(self.high)}"


def error_in_words(name: str, figure: float) -> tuple[str, str]:
    """A figure of a fit in words, and as text.

    >>> error_in_words("mape", 0.0975), error_in_words("my own", 0.5)
    (('mean error', '9.75 %'), ('my own', '0.5'))
    """
    words, text = _ERRORS.get(name, (printable(name), lambda figure: f"{figure:.4g}"))
    return words, text(figure)


@dataclass(frozen=True, repr=False)
class Fit(Facts):
    """The measurements to which a device was fitted, and how well it fits them.

    Args:
        data: the measurements, in words.
        source: where they come from.
        licence: their licence.
        errors: figures by name; relative errors as fractions: 0.05 is 5 %.
        identified: fields of the array that the data determine.
        not_identified: fields that other values would fit as well.
        ranges: the ranges of m, n, k and macs of the measured layers; any of the four.
        doubts: sentences on why the fit is not to be believed, in addition to what its errors say.

    Raises:
        InvalidValueError: an empty text, an unknown field, a figure that is not a number.

    >>> import dataclasses
    >>> from hwcost import Gemm
    >>> from hwcost.devices import read_device
    >>> fit = Fit("40 layers", "our test bench", "CC0-1.0", {"median": 0.04}, ranges={"k": Range(27, 4608)})
    >>> machine = read_device("gemmini")
    >>> dataclasses.replace(machine, fit=fit).beyond(Gemm(m=100, n=64, k=9216))
    ['k is 9216, but layers of 27 to 4608 were measured']
    """

    data: str
    source: str
    licence: str
    errors: Mapping[str, int | float]
    identified: tuple[str, ...] = ()
    not_identified: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data", "source", "licence"):
            check_text(getattr(self, name), f"Fit.{name}")
        errors = {key: as_plain(value) for key, value in checked_table(self.errors, "Fit.errors").items()}
        for key, value in errors.items():
            check_text(key, "Fit.errors", one_line=True)
            check_number(abs(value) if is_real(value) else value, f"Fit.errors.{key}")  # correlations may be below 0
        for name in ("identified", "not_identified"):
            fields = checked_texts(getattr(self, name), f"Fit.{name}")
            for index, text in enumerate(fields):
                check_one_of(f"Fit.{name}[{index}]", text, FIELDS)
            object.__setattr__(self, name, fields)
        object.__setattr__(self, "doubts", checked_texts(self.doubts, "Fit.doubts"))
        ranges = checked_table(self.ranges, "Fit.range")
        for key, value in ranges.items():
            check_one_of("Fit.range", key, MEASURED, what="key")
            if not isinstance(value, Range):
                raise InvalidValueError(f"Fit.range.{key}", value, "a Range")
        object.__setattr__(self, "errors", Table(errors))
        object.__setattr__(self, "ranges", Table(ranges))

    @property
    def in_words(self) -> str:
        """What it was fitted to, and the mean error if it is known, on one line."""
        error = f"; mean error {percent(self.errors['mape'])} % held out" if "mape" in self.errors else ""
        return f"to {self.data}{error}"

    def facts(self) -> dict[str, str]:
        """The source, the errors, and how far the measurements reach."""
        measured = {f"measured {name}": known.in_words for name, known in self.ranges.items()}
        return {
            "source": self.source,
            "licence": self.licence,
            **dict(error_in_words(*each) for each in self.errors.items()),
            **measured,
            "determined by the data": ", ".join(self.identified) or "nothing",
            "not determined": ", ".join(self.not_identified) or "nothing",
            **({"in doubt": "; ".join(self.doubts)} if self.doubts else {}),
        }

    def as_dict(self) -> dict[str, Any]:
        """The fit as plain values."""
        return {
            "data": self.data,
            "source": self.source,
            "licence": self.licence,
            "identified": list(self.identified),
            "not_identified": list(self.not_identified),
            "errors": dict(self.errors),
            "doubts": list(self.doubts),
            "range": {name: dataclasses.asdict(ends) for name, ends in self.ranges.items()},
        }


def margin_at(errors: Mapping[str, int | float], ranges: Mapping[str, Range], layer: Any) -> Any:
    """Half the width of the interval of a layer's latency, as a logarithm; None if the fit has none.

    Within the measured range it is that of the held-out measurements; beyond, it grows with each factor of two by which
    a size is outside: a layer of four times the size can be off by half. Sizes may be arrays; so is then the result.

    >>> from hwcost import Gemm
    >>> [margin_at({MARGIN: 0.1}, {"m": Range(16, 100)}, Gemm(m=m, n=8, k=8)) for m in (50, 400)]
    [0.1, 0.6]
    """
    if MARGIN not in errors:
        return None
    farthest: Any = 0.0
    for gemm in layer.gemms():
        for name, known in ranges.items():
            if known.low > 0:
                size = np.maximum(np.asarray(getattr(gemm, name), dtype=float), 1.0)
                farthest = np.maximum(farthest, np.maximum(np.log2(size / known.high), np.log2(known.low / size)))
    margin = errors[MARGIN] + WIDER * farthest
    return margin if np.ndim(margin) else float(margin)


def doubts(errors: Mapping[str, int | float]) -> list[str]:
    """Sentences on why a fit with these errors is not to be believed; none if it may be.

    Args:
        errors: of held-out measurements: "mape", "spearman", and "utilization", the largest of a measured layer. One
            that is missing raises no doubt.

    >>> doubts({"mape": 0.85, "spearman": 0.9})
    ['layers that the fit has not seen are off by 85 % on average']
    >>> doubts({"mape": 0.1, "spearman": 0.99, "utilization": 0.6})
    []
    """
    found = []
    if errors.get("mape", 0) > WORST_ERROR:
        found.append(f"layers that the fit has not seen are off by {100 * errors['mape']:.3g} % on average")
    if errors.get("spearman", 1) < LEAST_CORRELATION:
        found.append(f"their order is not that of the predictions (rank correlation {errors['spearman']:.2g})")
    if errors.get(MARGIN, 0) > WORST_MARGIN:
        found.append(f"9 of 10 layers are only known to a factor of {math.exp(errors[MARGIN]):.3g}")
    if errors.get("utilization", 1) < LEAST_UTILIZATION:
        busy = 100 * errors["utilization"]
        found.append(f"no measured layer uses more than {busy:.2g} % of the array: are its unit and the device right?")
    return found


def _between(known: Range) -> str:
    return known.in_words if known.low < known.high else f"{known.in_words} alone"


def beyond_ranges(ranges: Mapping[str, Range], layer: Any) -> list[str]:
    """A sentence for each size of a layer (with ``gemms()``) outside of the measured range; sizes may be arrays.

    >>> from hwcost import Gemm
    >>> beyond_ranges({"m": Range(16, 100)}, Gemm(m=400, n=8, k=8))
    ['m is 400, but layers of 16 to 100 were measured']
    """
    found = ((name, _ends(getattr(gemm, name)), known) for gemm in layer.gemms() for name, known in ranges.items())
    return [
        f"{name} {_compared(*ends)}, but layers of {_between(known)} were measured"
        for name, ends, known in found
        if ends is not None and not (known.low <= ends[0] and ends[1] <= known.high)
    ]


def is_beyond(ranges: Mapping[str, Range], layer: Any) -> Any:
    """Whether a size of a layer (with ``gemms()``) is outside of the measured range; an array if sizes are arrays.

    >>> from hwcost import Gemm
    >>> [is_beyond({"m": Range(16, 100)}, Gemm(m=m, n=8, k=8)) for m in (50, 400)]
    [False, True]
    """
    found: Any = False
    for gemm in layer.gemms():
        for name, known in ranges.items():
            size = getattr(gemm, name)
            found = found | (size < known.low) | (size > known.high)
    return found


def unfitted(rates: Iterable[str], fitted: Iterable[str], published: Iterable[str]) -> list[str]:
    """A sentence for each field of a machine that limits what a layer moves, and that no measurement gave.

    >>> unfitted(["host_bytes_per_s", "cycles_per_run"], ["cycles_per_run"], [])
    ['host_bytes_per_s is neither published nor fitted to measurements']
    """
    known = {*fitted, *published}
    return [f"{name} is neither published nor fitted to measurements" for name in rates if name not in known]


def legend(device: str, layers: int, beyond: Mapping[str, Sequence[str]]) -> str:
    """What the mark before figures says; empty if no layer is beyond what was measured.

    Args:
        device: its name; empty for none in the text.
        layers: their number.
        beyond: for each layer that is, why.
    """
    if not beyond:
        return ""
    name, (reason, *_) = next(iter(beyond.items()))
    measured = f"what {device} was measured with" if device else "what was measured"
    count = f"{len(beyond)} of {plural(layers, 'layer')}"
    return f"{MARK} an extrapolation: {count} beyond {measured}, like {layer_name(name, 100)}: {reason}"


def withheld(share: float | None) -> str:
    """Why a total of which this share is beyond what was measured is not shown; empty if it is.

    >>> withheld(0.71), withheld(0.5)
    ('71 % of it is beyond what was measured', '')
    """
    return f"{100 * share:.0f} % of it is beyond what was measured" if share is not None and share > MOST_BEYOND else ""


def _ends(size: Size) -> tuple[Any, Any] | None:
    """The smallest and the largest value; None for an empty array, or while a compiler traces."""
    if is_number(size):
        return size, size

    def look() -> tuple[Any, Any] | None:
        values = to_numpy(size)
        return (values.min().item(), values.max().item()) if values.size else None

    return if_concrete(size, look)


def _compared(low: Any, high: Any) -> str:
    return f"is {number(low)}" if low == high else f"runs from {number(low)} to {number(high)}"
