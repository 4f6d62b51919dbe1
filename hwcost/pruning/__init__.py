"""Pruning: a trained module cut to widths whose exact cycles are within a limit.

    batches      data and loss of the user's own
    importance   scores of channels
    curves       values of sizes: sums of scores, or losses that were measured
    valuing      any of both, and the examples that they take
    choosing     the sizes within the limit that are worth most
    cutting      all of it, and in steps
    result       the smaller module: fine-tuning, state dicts, optimizers, files
    norms        statistics of batch norms
    tuning       epochs of training that can stop and go on
    weights      safetensors into a module and out of it
    recipe       files that build the module again
    folder       a run that was stopped and goes on
    exporting    ONNX files of the result
    report       before and after

Everything here is also in :mod:`hwcost.torch`.
"""

from __future__ import annotations

from hwcost.pruning.cutting import prune, schedule
from hwcost.pruning.recipe import load_pruned as pruned
from hwcost.pruning.report import PruningReport
from hwcost.pruning.result import Pruned

__all__ = ["Pruned", "PruningReport", "prune", "pruned", "schedule"]
