"""From layers to costs: layers are matrix products, products fold over an array, folds and traffic take cycles."""

from __future__ import annotations

from hwcost.model.breakdown import CycleBreakdown, layer_breakdown
from hwcost.model.cost import Cost
from hwcost.model.formula import layer_cost, layer_traffic, price
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Layer, Linear, MatMul
from hwcost.model.layout import Work
from hwcost.model.least import Chosen, tiling_of
from hwcost.model.moves import Move, moves_of
from hwcost.model.pricing import Pricing
from hwcost.model.rooms import room_to_read_once
from hwcost.model.splits import Split, splits_of
from hwcost.model.tilings import TILINGS, Tiling
from hwcost.model.traffic import Traffic, memory_cycles

__all__ = [
    "TILINGS", "Chosen", "Conv2d", "Cost", "CycleBreakdown", "Gemm", "Layer", "Linear", "MatMul", "Move", "Pricing",
    "Split", "Tiling", "Traffic", "Work", "layer_breakdown", "layer_cost", "layer_traffic", "memory_cycles", "moves_of",
    "price", "room_to_read_once", "splits_of", "tiling_of",
]  # fmt: skip

__dir__ = __all__.copy  # what tab completion offers
