"""Advice on widths: where one channel fewer saves a fold, where channels are free, and which widths fit a budget.

    tables   cycles and MACs of layers over the sizes of the widths that they follow
    steps    for each width, the next cheaper size, the best one, and the largest at today's cycles
    budget   the widths that fit a share of today's cycles at the least loss of MACs

All layers that must agree on a width share it, so that the advised network can be built.
"""

from __future__ import annotations

from hwcost.advice.budget import Budget
from hwcost.advice.steps import Advice, Step, WidthAdvice, advise

__all__ = ["Advice", "Budget", "Step", "WidthAdvice", "advise"]
