"""PyTorch modules within a limit: latency as a loss term, and pruning.

Cost tables, the exact expectation, smooth costs and :class:`LatencyLoss`, :class:`EnergyLoss` and
:class:`EnergyDelayLoss`, with a weight or a limit, are for searches.
:func:`prune` cuts a trained module to an exact limit, :func:`supernet` is one training for many limits,
:func:`darts` finds widths by gradient descent, and :func:`resized` cuts to any widths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcost.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401  # first, so that the error names the extra to install
except ImportError as error:
    raise MissingDependencyError("PyTorch", "torch", "hwcost.torch") from error

from hwcost.torch.energy import EnergyDelayLoss, EnergyLoss
from hwcost.torch.gradient_check import GradientCheck, check_gradient
from hwcost.torch.loss import LatencyLoss
from hwcost.torch.sums import SumAxis
from hwcost.torch.tables import CostTable, cost_table, expected_cost, expected_sizes, space_tables
from hwcost.torch.target import TargetWeight

if TYPE_CHECKING:
    from hwcost.importers.torch.resize import resized
    from hwcost.pruning import Pruned, PruningReport, Sliced, SuperNet, darts, prune, pruned, schedule, supernet

__all__ = [
    "CostTable", "EnergyDelayLoss", "EnergyLoss", "GradientCheck", "LatencyLoss", "Pruned", "PruningReport", "Sliced",
    "SumAxis", "SuperNet", "TargetWeight", "check_gradient", "cost_table", "darts", "expected_cost", "expected_sizes",
    "prune", "pruned", "resized", "schedule", "space_tables", "supernet",
]  # fmt: skip

__dir__ = [*__all__, "adapters"].copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """What rooms above this one make is loaded when it is asked for."""
    if name in __all__:
        globals().update(_from_above())
        return globals()[name]
    if name == "adapters":
        import hwcost.torch.adapters

        return hwcost.torch.adapters
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _from_above() -> dict[str, Any]:
    from hwcost import pruning
    from hwcost.importers.torch import resize

    return {name: getattr(pruning, name) for name in pruning.__all__} | {"resized": resize.resized}
