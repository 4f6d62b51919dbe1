"""Advice on widths: where one channel fewer saves a fold, where channels are free, and which widths fit a budget.

    measured     a table of measured costs, which stands in for an array
    tabulating   such a table, from an array
    tables       cycles and MACs of layers over the sizes of a width
    steps        for each width, the next cheaper size, the best one, and the largest at today's cycles
    beyond       how far advice is beyond what a calibrated device was measured with
    budget       the widths that fit a share of today's cycles at the least loss of MACs
    choices      the options of each width for a budget, and tables of cost over them
    search       a walk over all options, then the exact solver over those that it has room for
    filling      the best set of those that use a limit
    shown        advice as a table, and what stands below it
    walk         a greedy walk with local moves
    exact        the best set within a limit, by hwcost.elimination

All layers that must agree on a width share it, so that the advised network can be built.
"""

from __future__ import annotations

from hwcost.advice.beyond import with_device
from hwcost.advice.budget import Budget
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.result import Advice, Step, WidthAdvice
from hwcost.advice.steps import advise
from hwcost.advice.tabulating import tabulate

__all__ = ["Advice", "Budget", "MeasuredCosts", "Step", "WidthAdvice", "advise", "tabulate", "with_device"]

__dir__ = __all__.copy  # what tab completion offers
