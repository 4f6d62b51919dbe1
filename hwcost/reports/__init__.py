"""A network on an array, row by row: the cost of each operation, its bound, where its PE-cycles go, its traffic.

>>> from hwcost import Linear, SystolicArray
>>> from hwcost.reports import summarise
>>> summary = summarise({"body.a": Linear(64, 40), "body.b": Linear(40, 8), "head": Linear(8, 8)}, SystolicArray(8, 8))
>>> [(row.name, row.shape, row.cost.cycles, f"{summary.share(row):.0%}") for row in summary.rows]
[('body.a', '64 -> 40', 40, '87%'), ('body.b', '40 -> 8', 5, '11%'), ('head', '8 -> 8', 1, '2%')]
>>> [(module.path, module.cost.cycles) for module in summary.tree.modules]
[('body', 45), ('head', 1)]
"""

from typing import Any

from hwcost.model.shapes import layer_shape
from hwcost.reports.comparison import Comparison, Pair, compare_networks
from hwcost.reports.making import summarise, with_device
from hwcost.reports.rows import Summary
from hwcost.reports.tree import Module, Row

__all__ = [
    "Comparison",
    "Module",
    "Pair",
    "Row",
    "Summary",
    "compare_networks",
    "layer_shape",
    "summarise",
    "with_device",
]

__dir__ = [*__all__, "html"].copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """The package inside is loaded when it is asked for."""
    if name == "html":
        import hwcost.reports.html

        return hwcost.reports.html
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
