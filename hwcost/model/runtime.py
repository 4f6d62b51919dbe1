"""The author's formula as a function of its letters."""

from __future__ import annotations

import functools

from hwcost.arrays import Size, in_blocks
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cycles
from hwcost.model.layers import Conv2d
from hwcost.relaxation import EXACT, Relaxation, as_relaxation

__all__ = ["runtime"]


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
        batch: images at once, B in the formula.
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
        raise error.at(_LETTERS[error.field]) from None
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
