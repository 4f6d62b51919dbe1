"""The formula of one point with its numbers put in.

The formula is not written here a second time. Its own functions are run on numbers that remember how they came about,
so that the text is right for every dataflow and fold timing, those that are yet to be added included.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

from hwcost.arrays import product
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import lay_out
from hwcost.model.layers import Conv2d, Gemm

__all__ = ["formula"]

SUM, PRODUCT, ATOM = range(3)


class Traced(int):
    """An integer that knows its text: once with every ceiling spelt out, once with just its value."""

    spelt: str
    short: str
    binds: int
    negated: Traced | None

    def __new__(cls, value: int, spelt: str | None = None, short: str | None = None, binds: int = ATOM) -> Traced:
        """``binds`` says how tightly the text holds together: whether it needs brackets in a product."""
        traced = super().__new__(cls, value)
        traced.spelt = str(value) if spelt is None else spelt
        traced.short = str(value) if short is None else short
        traced.binds = binds
        traced.negated = None
        return traced

    def __eq__(self, other: object) -> bool:
        """Just itself: a factor of one is part of the formula, and must not be dropped as needless."""
        return self is other

    __hash__ = int.__hash__

    def __neg__(self) -> Traced:
        negative = Traced(-int(self), f"-({self.spelt})", f"-({self.short})", PRODUCT)
        negative.negated = self
        return negative

    def __add__(self, other: int) -> Traced:
        return _join(self, other, "+", SUM)

    def __radd__(self, other: int) -> Traced:
        return _join(other, self, "+", SUM)

    def __sub__(self, other: int) -> Traced:
        return _join(self, other, "-", SUM)

    def __mul__(self, other: int) -> Traced:
        return _join(self, other, "*", PRODUCT)

    def __rmul__(self, other: int) -> Traced:
        return _join(other, self, "*", PRODUCT)


def _join(left: int, right: int, sign: str, binds: int) -> Traced:
    if sign == "+" and int(right) < 0:  # a + -b reads better as a - b
        negated = right.negated if isinstance(right, Traced) else Traced(-right)
        right, sign = (right, sign) if negated is None else (negated, "-")
    value = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](int(left), int(right))
    a, b = (side if isinstance(side, Traced) else Traced(side) for side in (left, right))
    right_binds = binds + (sign == "-")

    def text(which: str) -> str:
        return f"{_bracketed(a, which, binds)} {sign} {_bracketed(b, which, right_binds)}"

    return Traced(value, text("spelt"), text("short"), binds)


def _bracketed(traced: Traced, which: str, binds: int) -> str:
    text: str = getattr(traced, which)
    return text if traced.binds >= binds else f"({text})"


def _maximum(a: int, b: int) -> Traced:
    x, y = (side if isinstance(side, Traced) else Traced(side) for side in (a, b))
    return Traced(max(int(x), int(y)), f"max({x.spelt}, {y.spelt})", f"max({x.short}, {y.short})")


def formula(layer: Conv2d, array: SystolicArray) -> str | None:
    """The cycles of a convolution as a formula in numbers, and as its value.

    None for an array that adds terms to the folds: then the formula is longer than a line, and ``--explain`` tells it.

    >>> formula(Conv2d(6, 16, 5, 1, 1, padding="same"), SystolicArray(8, 8))
    'ceil(5*5*6 / 8) * ceil(16 / 8) * 1 * 1 * 1 = 19 * 2 * 1 = 38 cycles'
    """
    if _adds_terms(array):
        return None
    (gemm,) = layer.gemms()
    by_position = array.lowering == "kernel-position"
    lowered = array.lowering_row.lower(gemm)
    flow, folds = array.dataflow_row, lay_out(gemm, array)
    letters = {name: _extent(name, layer, lowered, by_position) for name in ("m", "n", "k")}
    rows, cols = Traced(array.rows), Traced(array.cols)
    streamed = letters[flow.time]
    spelt_out = streamed.spelt.replace("*", " * ")
    most = None if array.max_streamed is None else Traced(array.max_streamed)
    traced = dataclasses.replace(
        folds,
        along_rows=_ceiling(folds.along_rows, letters[flow.rows], rows),
        along_cols=_ceiling(folds.along_cols, letters[flow.cols], cols),
        in_time=1 if most is None else _ceiling(folds.in_time, streamed, most),
        rows_extent=letters[flow.rows],
        cols_extent=letters[flow.cols],
        streamed=Traced(streamed, spelt_out, binds=PRODUCT if "*" in spelt_out else ATOM),
        most_streamed=most,
        rows=rows,
        cols=cols,
        maximum=_maximum,
    )
    cycles: Any = array.fold_timing_row.cycles(traced)
    for count in (*(layer.kernel_size if by_position else ()), layer.groups):
        if count > 1:
            cycles = product(Traced(count), cycles)
    return f"{cycles.spelt} = {cycles.short} = {int(cycles)} cycles"


_TOLD = {"rows", "cols", "clock_hz", "dataflow", "fold_timing", "lowering", "max_streamed", "drains_outputs"}
_IDLE = {"bytes_per_element", "accumulators"}
"""Fields that change no cycle unless another field does."""


def _adds_terms(array: SystolicArray) -> bool:
    """Whether the device says anything that this formula does not tell."""
    return not array.as_dict().keys() <= _TOLD | _IDLE


def _extent(letter: str, layer: Conv2d, gemm: Gemm, by_position: bool) -> Traced:
    height, width = layer.out_size
    k1, k2 = layer.kernel_size
    shares = (
        str(channels) if layer.groups == 1 else f"({channels} / {layer.groups})"
        for channels in (layer.in_channels, layer.out_channels)
    )
    c, f = shares
    text = {"m": f"{height}*{width}*{layer.batch}", "n": f, "k": c if by_position else f"{k1}*{k2}*{c}"}[letter]
    return Traced(getattr(gemm, letter), text, binds=PRODUCT if "*" in text else ATOM)


def _ceiling(folds: int, extent: Traced, size: int) -> Traced:
    return Traced(folds, f"ceil({extent.spelt} / {size})")
