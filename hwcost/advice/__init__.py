"""Advice on widths: where a channel fewer saves a fold, where channels are free, and which widths to take for a budget.

    tables   the cycles and MACs of layers over the sizes of the widths that they follow
    steps    for each width the next cheaper size, the best one, and the largest at today's cycles
    budget   the set of widths that reaches a share of today's cycles at the least loss of MACs

A width is shared by all layers that have to agree on it, as the importer found them by following the graph, so that
what is advised is a network that can be built.
"""

from __future__ import annotations

from hwcost.advice.budget import Budget
from hwcost.advice.steps import Advice, Step, WidthAdvice, advise

__all__ = ["Advice", "Budget", "Step", "WidthAdvice", "advise"]
