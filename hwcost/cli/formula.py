"""The formula of one point with its numbers put in: the text of a fold timing with the sizes of a convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.machine.folds import FoldTexts
from hwcost.machine.tiler import LOWERINGS
from hwcost.model.layers import Conv2d
from hwcost.model.layout import Work
from hwcost.units import number

__all__ = ["formula", "split_text"]

_SPELT = {
    "rows", "cols", "clock_hz", "dataflow", "fold_timing", "lowering", "max_streamed", "drains_outputs",
    "bytes_per_element",
}  # fmt: skip
"""The fields that the text spells out, and one that changes no cycles."""


def formula(layer: Conv2d, array: SystolicArray, figures: Mapping[str, Any]) -> str | None:
    """The cycles of a convolution as a formula in numbers, and as its value.

    Args:
        layer: the convolution.
        array: the accelerator.
        figures: its cycles and folds: "cycles", "folds_along_rows", "folds_along_cols", "folds_in_time".

    Returns:
        None for an array that adds terms to the folds (then the formula does not fit on a line; ``--explain`` lists
        them), and for a fold timing without text.

    >>> figures = {"cycles": 38, "folds_along_rows": 19, "folds_along_cols": 2, "folds_in_time": 1}
    >>> formula(Conv2d(6, 16, 5, 1, 1, padding="same"), SystolicArray(8, 8), figures)
    'ceil(5*5*6 / 8) * ceil(16 / 8) * 1 * 1 * 1 = 19 * 2 * 1 = 38 cycles'
    """
    text = array.fold_timing_row.formula
    if text is None or array.lowering not in LOWERINGS or any(name not in _SPELT for name, _ in array.stated()):
        return None
    spelt, short = (text(_texts(layer, array, figures, spelt=each)) for each in (True, False))
    counts = [*(layer.kernel_size if array.lowering == "kernel-position" else ()), layer.groups]
    before = "".join(f"{count} * " for count in reversed(counts) if count > 1)
    return f"{before}{spelt} = {before}{short} = {number(figures['cycles'])} cycles"


def split_text(work: Work) -> str:
    """How the arrays of a chip share a product, in words.

    >>> from hwcost import Gemm
    >>> from hwcost.model.formula import price
    >>> split_text(price(Gemm(m=49, n=512, k=3), SystolicArray(8, 8, arrays=4)).work)
    'n over 4 of 4 arrays: at most (49 x 3)(3 x 128) on each'
    """
    arrays, part = work.array.arrays, work.part
    if not work.letter:
        return f"whole, on one of {arrays} arrays"
    what = {"count": "products", "k": "the channels of k"}.get(work.letter, work.letter)
    of_each = f"({number(part.m)} x {number(part.k)})({number(part.k)} x {number(part.n)})"
    several = f"{number(part.count)} of " if part.count > 1 else ""
    return f"{what} over {work.parts} of {arrays} arrays: at most {several}{of_each} on each"


def _texts(layer: Conv2d, array: SystolicArray, figures: Mapping[str, Any], *, spelt: bool) -> FoldTexts:
    (gemm,) = layer.gemms()
    flow, lowered = array.dataflow_row, array.lowering_row.lower(gemm)
    names = {letter: _extent(letter, layer, array) if spelt else str(getattr(lowered, letter)) for letter in "mnk"}
    rows, cols, time = names[flow.rows], names[flow.cols], names[flow.time]
    most = "" if array.max_streamed is None else str(array.max_streamed)

    def folds(extent: str, size: object, figure: str) -> str:
        return f"ceil({extent} / {size})" if spelt else str(figures[figure])

    passes = f"{array.rows}" if flow.row_passes == 1 else f"{flow.row_passes} * {array.rows}"
    return FoldTexts(
        along_rows=folds(rows, array.rows, "folds_along_rows"),
        along_cols=folds(cols, array.cols, "folds_along_cols"),
        in_time=most and folds(time, most, "folds_in_time"),
        rows_extent=rows,
        rows=str(array.rows),
        streamed=time.replace("*", " * "),
        most_streamed=most,
        fill_and_drain=f"{passes} + {array.cols} - 2",
    )


def _extent(letter: str, layer: Conv2d, array: SystolicArray) -> str:
    (height, width), (k1, k2) = layer.out_size, layer.kernel_size
    both = (layer.in_channels, layer.out_channels)
    c, f = (str(channels) if layer.groups == 1 else f"({channels} / {layer.groups})" for channels in both)
    k = c if array.lowering == "kernel-position" else f"{k1}*{k2}*{c}"
    return {"m": f"{height}*{width}*{layer.batch}", "n": f, "k": k}[letter]
