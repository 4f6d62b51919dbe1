"""An accelerator as a value: the array, how products lie on it, what a fold costs, what memory delivers."""

from __future__ import annotations

from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.machine.folds import FOLD_TIMINGS, Folds, FoldTiming
from hwcost.machine.grid import Clock, Grid
from hwcost.machine.lowering import LOWERINGS, Lowering
from hwcost.machine.memory import Memory
from hwcost.machine.terms import Term, Transfer
from hwcost.machine.tiler import Tiler
from hwcost.machine.timing import Timing

__all__ = [
    "DATAFLOWS",
    "FOLD_TIMINGS",
    "LOWERINGS",
    "Clock",
    "Dataflow",
    "FoldTiming",
    "Folds",
    "Grid",
    "Lowering",
    "Memory",
    "SystolicArray",
    "Term",
    "Tiler",
    "Timing",
    "Transfer",
    "adapt",
]
