"""The rules that all readers share: what operators do to axes, and which layers they come down to.

A reader translates the arguments of its operators into calls of these rules; that is one row of a table for each
operator. A caller's own operator goes in the same way: a function of the call that states the axes of its outputs and
returns :class:`LoweredLayer` objects, or nothing if it multiplies no matrices. Ready-made rows are :func:`elementwise`,
:func:`same`, :func:`kept`, :func:`reshape`, :func:`expand`, :func:`channel_norm`, and :func:`free` for an operator
whose axes cannot change.
"""

from hwcost.importers.lowered import CannotPriceError, LoweredLayer
from hwcost.importers.rules.axes import (
    channel_norm,
    concatenation,
    elementwise,
    embedding,
    expand,
    free,
    group_norm,
    kept,
    kept_axes,
    layer_norm,
    lookup,
    permute,
    position,
    reduction,
    reshape,
    same,
    split,
    stack,
)
from hwcost.importers.rules.call import Axes, Call, Handler, Tensors, checked_handlers
from hwcost.importers.rules.einsum import einsum
from hwcost.importers.rules.products import (
    Matrix,
    Window,
    attention,
    convolution,
    matmul,
    matrix_product,
    transposed_convolution,
)

__all__ = [
    "Axes",
    "Call",
    "CannotPriceError",
    "Handler",
    "LoweredLayer",
    "Matrix",
    "Tensors",
    "Window",
    "attention",
    "channel_norm",
    "checked_handlers",
    "concatenation",
    "convolution",
    "einsum",
    "elementwise",
    "embedding",
    "expand",
    "free",
    "group_norm",
    "kept",
    "kept_axes",
    "layer_norm",
    "lookup",
    "matmul",
    "matrix_product",
    "permute",
    "position",
    "reduction",
    "reshape",
    "same",
    "split",
    "stack",
    "transposed_convolution",
]
