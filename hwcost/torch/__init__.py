"""Latency as a loss term in PyTorch: cost tables, the exact expectation, smooth costs, and :class:`LatencyLoss`."""

from __future__ import annotations

from hwcost.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401  # first, so that the error names the extra to install
except ImportError as error:
    raise MissingDependencyError("PyTorch", "torch", "hwcost.torch") from error

from hwcost.torch.gradient_check import GradientCheck, check_gradient
from hwcost.torch.loss import LatencyLoss
from hwcost.torch.sums import SumAxis
from hwcost.torch.tables import CostTable, cost_table, expected_cost, expected_sizes, space_tables

__all__ = [
    "CostTable", "GradientCheck", "LatencyLoss", "SumAxis", "check_gradient", "cost_table", "expected_cost",
    "expected_sizes", "space_tables",
]  # fmt: skip
