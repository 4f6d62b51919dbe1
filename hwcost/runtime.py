"""THE formula. Every price in the project comes out of these lines; nothing else multiplies folds by cycles.

For a product (m x k)(k x n), laid on an R x C array so that its extents S_R, S_C lie along rows and columns
and T streams:

    folds  = ceil(S_R / R) * ceil(S_C / C)
    cycles = count * folds * (T + what the fold timing adds)

with every ceiling and maximum taken by a relaxation. For a convolution on a weight-stationary array with ideal folds:

    RUNTIME = ceil(k1 * k2 * c / s1) * ceil(f / s2) * h * w * B.
"""

from __future__ import annotations

import functools

from hwcost._arrays import Size, in_blocks, product, total, true_divide
from hwcost.cost import Cost
from hwcost.dataflow import Folds
from hwcost.device import SystolicArray
from hwcost.errors import InvalidValueError
from hwcost.layers import Conv2d, Gemm, Layer, is_layer
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["gemm_cost", "lay_out", "layer_cost", "runtime"]


def lay_out(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Folds:
    """How the product folds over the array: its extents along rows and in time, and the folds along rows and columns.

    >>> folds = lay_out(Gemm(m=1, n=16, k=150), SystolicArray(8, 8))
    >>> folds.along_rows, folds.along_cols, folds.streamed
    (19, 2, 1)
    """
    flow = array.dataflow_row
    rows_extent, cols_extent = getattr(gemm, flow.rows), getattr(gemm, flow.cols)
    along_rows, along_cols = relaxation.ceil_divs((rows_extent, cols_extent), (array.rows, array.cols))
    return Folds(
        along_rows=along_rows,
        along_cols=along_cols,
        rows_extent=rows_extent,
        streamed=getattr(gemm, flow.time),
        rows=array.rows,
        cols=array.cols,
        dataflow=flow,
        maximum=relaxation.maximum,
    )


def gemm_cycles(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT, folds: Folds | None = None) -> Size:
    """The cycles of one product (or of a whole stack of them); ``folds`` where its lay-out is known already."""
    folds = lay_out(gemm, array, relaxation) if folds is None else folds
    return product(gemm.count, array.fold_timing_row.cycles(folds), what="the cycles")


def gemm_cost(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Cost:
    """The cost of one product (or of a whole stack of them, its sizes being arrays)."""
    folds = lay_out(gemm, array, relaxation)
    cycles = gemm_cycles(gemm, array, relaxation, folds)
    return Cost(
        macs=gemm.macs,
        cycles=cycles,
        seconds=true_divide(cycles, array.clock_hz, what="the cycles"),
        folds=product(gemm.count, folds.along_rows, folds.along_cols, what="the folds"),
        pe_cycles=product(cycles, array.pes, what="cycles * PEs"),
    )


def layer_cost(layer: Layer, array: SystolicArray, *, relaxation: Relaxation | str = EXACT) -> Cost:
    """What one layer costs on the array.

    Args:
        layer: anything with ``gemms()``: :class:`Conv2d`, :class:`Linear`, :class:`MatMul`, :class:`Gemm`, your own.
        array: the accelerator.
        relaxation: how ceilings and maxima are taken; exact by default.

    Raises:
        InvalidValueError: something that is no layer, or a total too large for the integer arrays it is computed in.

    >>> layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8)).cycles
    3800
    """
    _check(layer, array)
    relaxation = as_relaxation(relaxation)
    return sum((gemm_cost(gemm, array, relaxation) for gemm in layer.gemms()), start=Cost())


def layer_cycles(layer: Layer, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Just the cycles of :func:`layer_cost`, by the same lines."""
    cycles = [gemm_cycles(gemm, array, relaxation) for gemm in layer.gemms()]
    return total(*cycles, what="the cycles")


def _check(layer: object, array: object) -> None:
    if not is_layer(layer):
        raise InvalidValueError("layer", layer, "a layer: something with gemms(), like Conv2d, Linear or MatMul")
    if not isinstance(array, SystolicArray):
        raise InvalidValueError("array", array, "a SystolicArray")


def runtime(
    *,
    k1: Size,
    k2: Size,
    c: Size,
    f: Size,
    h: Size = 1,
    w: Size = 1,
    batch: Size = 1,
    s1: Size,
    s2: Size,
    relaxation: Relaxation | str = EXACT,
) -> Size:
    """The author's formula: ceil(k1*k2*c / s1) * ceil(f / s2) * h * w * B cycles.

    It is a ``Conv2d`` with "same" padding on a weight-stationary array with ideal folds, and is computed as one.

    Args:
        k1, k2: kernel height and width.
        c, f: input channels and filters.
        h, w: height and width of the input, equal to those of the output; output positions in general.
        batch: B.
        s1, s2: rows and columns of the array.
        relaxation: how ceilings are taken.

    Returns:
        Integers in, an exact integer out; arrays broadcast; tensors carry gradients.

    Raises:
        InvalidValueError: a size that is not a positive integer or an array of positive numbers (the values of float
            tensors of torch and JAX are not looked at).
        MixedLibrariesError: arrays of two libraries.

    >>> runtime(k1=5, k2=5, c=6, f=16, s1=8, s2=8)
    38
    >>> runtime(k1=1, k2=1, c=2**70, f=1, s1=2, s2=1)
    590295810358705651712
    """
    relaxation = as_relaxation(relaxation)
    sizes = {"k1": k1, "k2": k2, "c": c, "f": f, "h": h, "w": w, "batch": batch, "s1": s1, "s2": s2}
    return in_blocks(functools.partial(_runtime, relaxation), sizes)


def _runtime(
    relaxation: Relaxation, *, k1: Size, k2: Size, c: Size, f: Size, h: Size, w: Size, batch: Size, s1: Size, s2: Size
) -> Size:
    try:
        layer = Conv2d(c, f, (k1, k2), height=h, width=w, batch=batch, padding="same")
        array = SystolicArray(s1, s2)
    except InvalidValueError as error:
        raise InvalidValueError(_LETTERS[error.field], error.value, error.allowed) from None
    return layer_cycles(layer, array, relaxation)


_LETTERS = {
    "Conv2d.in_channels": "c",
    "Conv2d.out_channels": "f",
    "Conv2d.kernel_size": "k1 or k2",
    "Conv2d.height": "h",
    "Conv2d.width": "w",
    "Conv2d.batch": "batch",
    "SystolicArray.rows": "s1",
    "SystolicArray.cols": "s2",
}
