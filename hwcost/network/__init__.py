"""Networks: operations whose sizes follow named widths, and what they cost together."""

from __future__ import annotations

from hwcost.network.buffers import BufferPoint, buffer_curve, enough_for
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly, Operation, Unsupported, Width
from hwcost.network.peak import Peak, peak_of
from hwcost.network.pricing import Report, network_cost
from hwcost.network.residency import Plan, plan_of

__all__ = [
    "BufferPoint", "MemoryOnly", "Network", "Operation", "Peak", "Plan", "Report", "Unsupported", "Width",
    "buffer_curve", "enough_for", "network_cost", "peak_of", "plan_of",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers
