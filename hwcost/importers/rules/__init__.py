"""The rules that all readers share: what operators do to axes, and which layers they come down to.

A reader translates the arguments of its operators into calls of these rules; that is one row of a table for each
operator. A caller's own operator goes in the same way: a function of the call that states the axes of its outputs and
returns :class:`LoweredLayer` objects, or nothing if it multiplies no matrices. Ready-made rows are :func:`elementwise`,
:func:`same`, :func:`resizing`, :func:`reshape`, :func:`expand`, :func:`channel_norm`, and :func:`free` for an operator
whose axes cannot change.
"""

from hwcost.importers import lowered
from hwcost.importers.lowered import *  # noqa: F403
from hwcost.importers.rules import axes, call, products
from hwcost.importers.rules.axes import *  # noqa: F403
from hwcost.importers.rules.call import *  # noqa: F403
from hwcost.importers.rules.contraction import einsum
from hwcost.importers.rules.copies import Copies, distinct
from hwcost.importers.rules.products import *  # noqa: F403

__all__ = ["Copies", "distinct", "einsum"]

__dir__ = __all__.copy  # what tab completion offers
__all__ += axes.__all__ + call.__all__ + lowered.__all__ + products.__all__
