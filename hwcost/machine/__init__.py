"""An accelerator as a value: the array, how products lie on it, what a fold costs, what memory delivers."""

from __future__ import annotations

from hwcost.machine.array import Clock, Grid, adapt
from hwcost.machine.buffers import Buffers
from hwcost.machine.dataflow import Dataflow
from hwcost.machine.energy import Energy
from hwcost.machine.folds import Folds, FoldTexts, FoldTiming
from hwcost.machine.memory import Memory
from hwcost.machine.run import Run
from hwcost.machine.terms import Term, Transfer
from hwcost.machine.tiler import Lowering, Tiler
from hwcost.machine.tiles import Tiles
from hwcost.machine.timing import Timing

__all__ = [
    "Buffers",
    "Clock",
    "Dataflow",
    "Energy",
    "FoldTexts",
    "FoldTiming",
    "Folds",
    "Grid",
    "Lowering",
    "Memory",
    "Run",
    "Term",
    "Tiler",
    "Tiles",
    "Timing",
    "Transfer",
    "adapt",
]

__dir__ = __all__.copy  # what tab completion offers
