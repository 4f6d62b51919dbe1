"""Sizes and their arithmetic: Python integers of any magnitude, or arrays of one library.

The only part of the core that names array libraries. :mod:`~hwcost.arrays.backends` finds the library of an array,
:mod:`~hwcost.arrays.sizes` checks sizes, :mod:`~hwcost.arrays.arithmetic` computes with them without silent overflow,
and :mod:`~hwcost.arrays.batches` puts many through one call or one large one through in blocks.
"""

from hwcost.arrays.arithmetic import (
    ceil_divide,
    floor_divide,
    maximum,
    product,
    remainder,
    total,
    total_over_first_axis,
    true_divide,
)
from hwcost.arrays.backends import BACKENDS, Array, Backend, Size, backend_of, has_library, is_number, namespace
from hwcost.arrays.batches import are_few, in_blocks, stack
from hwcost.arrays.sizes import (
    as_quantity,
    as_size,
    check_finite,
    check_plain_array,
    constant_while_tracing,
    frozen,
    if_concrete,
    is_float,
    is_plain,
    is_real,
    to_numpy,
)
from hwcost.arrays.values import Table, Value, brief

__all__ = [
    "BACKENDS", "Array", "Backend", "Size", "Table", "Value", "are_few", "as_quantity", "as_size", "backend_of",
    "brief", "ceil_divide", "check_finite", "check_plain_array", "constant_while_tracing", "floor_divide", "frozen",
    "has_library", "if_concrete", "in_blocks", "is_float", "is_number", "is_plain", "is_real", "maximum", "namespace",
    "product", "remainder", "stack", "to_numpy", "total", "total_over_first_axis", "true_divide",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers
