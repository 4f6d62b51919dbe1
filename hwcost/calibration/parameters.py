"""The numbers that a calibration may set free: a table of rows, each a physical quantity with a start and a spread.

A number that is positive is searched as start * exp(x), a share between 0 and 1 as 1 / (1 + exp(-(logit(start) + x))),
so that x = 0 is what the device says before any measurement. Where the device says nothing (no bandwidth, no overhead),
the start is a round number of the order that such machines have; the table says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hwcost.arrays import Size, is_number
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray

__all__ = ["DEFAULT_FREE", "FIT_PARAMETERS", "MOST_FREE", "FitParameter", "checked_free"]

MOST_FREE = 8
"""More numbers than that, measurements of layers do not tell apart."""


_EDGE = 1e-6
"""How near to 0 and 1 a share may start that several machines say differently."""


@dataclass(frozen=True)
class FitParameter:
    """A row of :data:`FIT_PARAMETERS`.

    Attributes:
        name: what a fit calls it: mostly a field of the device.
        fields: the fields that it sets.
        start: where the search starts if the device says nothing.
        is_share: whether it lies between 0 and 1.
        spread: how far it may stray, in units of the prior: standard deviation of log or logit.
        summary: one line for people, with the start.
    """

    name: str
    fields: tuple[str, ...]
    start: Callable[[SystolicArray], Size]
    summary: str
    is_share: bool = False
    spread: float = 1.0

    def start_of(self, array: SystolicArray) -> Size:
        """What the device says, or the start of the table where it says nothing that could be scaled."""
        value = getattr(array, self.fields[0])
        if value is None or (is_number(value) and not self._can_start_from(value)):
            return self.start(array)
        return np.clip(value, _EDGE, 1 - _EDGE) if self.is_share and not is_number(value) else value

    def _can_start_from(self, value: float) -> bool:
        return 0 < value < (1 if self.is_share else math.inf)

    def value(self, start: Size, x: float) -> Size:
        """The number at a distance x from its start.

        >>> FIT_PARAMETERS["cycles_per_row"].value(2.0, 0.0), FIT_PARAMETERS["overlap"].value(0.5, 0.0)
        (2.0, 0.5)
        """
        if not self.is_share:
            return start * math.exp(x)
        odds = start / (1 - start) * np.exp(x)
        return odds / (1 + odds) if not is_number(start) else float(odds / (1 + odds))

    def settings(self, value: Size) -> dict[str, Size]:
        """The fields of the device that the number sets."""
        return dict.fromkeys(self.fields, value)


def _one(value: float) -> Callable[[SystolicArray], float]:
    return lambda array: value


def _rows(array: SystolicArray) -> Size:
    return 1.0 * array.rows


def _bandwidth(array: SystolicArray) -> Any:
    """The shared bandwidth, or a byte a cycle for every column."""
    shared = array.dram_bytes_per_s
    return array.cols * array.clock_hz if is_number(shared) and shared == math.inf else shared


def _drain(array: SystolicArray) -> Size:
    """Shifting out what the accumulators hold takes a cycle a row."""
    return 100.0 if array.accumulators is None else array.accumulators / array.cols


FIT_PARAMETERS: Mapping[str, FitParameter] = MappingProxyType(
    {
        row.name: row
        for row in (
            FitParameter(
                "cycles_per_row",
                ("cycles_per_row",),
                _one(1.0),
                "cycles that a streamed row takes; from 1",
                spread=0.4,
            ),
            FitParameter("cycles_per_fold", ("cycles_per_fold",), _rows, "cycles that each fold adds; from the rows"),
            FitParameter(
                "min_streamed", ("min_streamed",), _rows, "rows that a fold takes the time of at least; from the rows"
            ),
            FitParameter(
                "cycles_per_layer", ("cycles_per_layer",), _one(1000.0), "cycles that each layer adds; from 1000"
            ),
            FitParameter("cycles_per_block", ("cycles_per_block",), _drain, "cycles that each block of outputs adds"),
            *(
                FitParameter(
                    f"{what}_bytes_per_s", fields, _bandwidth, f"bandwidth of {words}; from a byte a cycle and column"
                )
                for what, fields, words in (
                    ("weight", ("weight_bytes_per_s",), "weights"),
                    ("input", ("input_bytes_per_s",), "inputs"),
                    ("output", ("output_bytes_per_s",), "outputs"),
                    ("activation", ("input_bytes_per_s", "output_bytes_per_s"), "inputs and outputs"),
                    ("reread", ("reread_bytes_per_s",), "inputs that are read again"),
                    ("dram", ("dram_bytes_per_s",), "all three"),
                )
            ),
            FitParameter(
                "filter_block",
                ("filter_block",),
                lambda array: 4.0 * array.cols,
                "filters that inputs are read again for; from four times the columns",
            ),
            FitParameter(
                "overlap",
                ("overlap",),
                _one(0.5),
                "how much of the shorter of compute and memory adds; from 0.5",
                is_share=True,
                spread=2.0,
            ),
            *(
                FitParameter(
                    name, fields, _one(0.8), f"how much of the stair is felt along {along}; from 0.8", True, 2.0
                )
                for name, fields, along in (
                    ("row_stairs", ("row_stairs",), "rows"),
                    ("col_stairs", ("col_stairs",), "columns"),
                    ("stairs", ("row_stairs", "col_stairs"), "both"),
                )
            ),
        )
    }
)
"""Every number that can be fitted, by name. A new one is a row here."""

DEFAULT_FREE = (
    "cycles_per_row",
    "cycles_per_fold",
    "cycles_per_layer",
    "weight_bytes_per_s",
    "activation_bytes_per_s",
    "overlap",
    "row_stairs",
    "col_stairs",
)


def checked_free(names: Any) -> tuple[FitParameter, ...]:
    """The rows that are named.

    Raises:
        InvalidValueError: no name, an unknown one, one twice, two that set the same field, or more than eight.
    """
    if isinstance(names, str) or not names:
        raise InvalidValueError("free", names, f"a sequence of at least one of: {', '.join(FIT_PARAMETERS)}")
    rows = []
    taken: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or name not in FIT_PARAMETERS:
            raise InvalidValueError("free", name, f"one of: {', '.join(FIT_PARAMETERS)}")
        for field in FIT_PARAMETERS[name].fields:
            if field in taken:
                raise InvalidValueError(
                    "free", name, f"one that sets other fields than {taken[field]!r} does ({field})"
                )
            taken[field] = name
        rows.append(FIT_PARAMETERS[name])
    if len(rows) > MOST_FREE:
        raise InvalidValueError("free", tuple(names), f"at most {MOST_FREE} names: measurements tell no more apart")
    return tuple(rows)
