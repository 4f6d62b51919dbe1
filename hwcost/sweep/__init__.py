"""The cycles of a network on every array of a design space, and the Pareto front of these arrays.

Rows, columns, dataflows and any other fields of the machine span the space. All arrays of a chunk are priced in one
vectorised call per distinct product of the network. Chunks are independent of each other: they run in this process, in
several, or on the workers of a Dask cluster, and can be stored, so that an interrupted sweep resumes.

>>> from hwcost import Conv2d, Linear
>>> from hwcost.sweep import sweep
>>> network = {"conv": Conv2d(6, 16, 5, height=14, width=14), "fc": Linear(400, 120)}
>>> found = sweep(network, rows=range(8, 17), cols=[8, 16], pe_budget=128)
>>> len(found), found.macs
(10, 288000)
>>> for point in found.points(found.front[-2:]):
...     print(point["rows"], point["cols"], point["dataflow"], point["cycles"], round(point["utilization"], 3))
15 8 ws 2405 0.998
8 16 ws 2300 0.978
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcost.sweep.engines import ENGINES, MOST_SECONDS
from hwcost.sweep.fields import MOST_POINTS, SWEPT
from hwcost.sweep.front import nondominated, pareto_front
from hwcost.sweep.objectives import OBJECTIVES
from hwcost.sweep.points import SCHEMA, Sweep
from hwcost.sweep.pricing import CHUNK, figures_of
from hwcost.sweep.running import count_points

if TYPE_CHECKING:
    from hwcost.twins import sweep

__all__ = [
    "CHUNK",
    "ENGINES",
    "MOST_POINTS",
    "MOST_SECONDS",
    "OBJECTIVES",
    "SCHEMA",
    "SWEPT",
    "Sweep",
    "count_points",
    "figures_of",
    "nondominated",
    "pareto_front",
    "sweep",
]

__dir__ = __all__.copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """The function that takes modules too is above the importers, and is loaded when it is asked for."""
    if name == "sweep":
        from hwcost.twins import sweep

        globals()["sweep"] = sweep
        return sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
