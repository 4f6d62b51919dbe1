"""Pruning: a trained module cut to widths whose exact cycles are within a limit, or within many.

    batches      data and loss of the user's own
    images       folders of images and data sets as batches
    idx          files of the MNIST family
    importance   scores of channels
    curves       values of sizes: sums of scores, or losses that were measured
    valuing      either of the two, and the examples that they take
    choosing     the sizes within the limit that are worth most
    beginning    a module is read, its limit found, and what its channels are worth
    blocks       those of residual networks that can be dropped
    fitting      the sizes of a module with all or some of its blocks
    depth        how many blocks go, and which
    building     the smaller module: cut, read and priced again
    cutting      all of it, and in steps
    steps        from a pruned module on to a smaller one
    slicing      parts of a module that share its weights
    sharing      their training
    candidates   sets of sizes within a limit
    supernetwork one training for many limits
    masking      channels that count by the probabilities of sizes
    searching    widths by gradient descent on these
    splitting    data in two parts
    result       the smaller module: fine-tuning, state dicts, optimizers, files
    optimizers   momenta cut as the weights are
    norms        statistics of batch norms
    tuning       epochs of training that can stop and go on
    identity     what a loss is, and versions, so that a checkpoint goes on with the same
    weights      safetensors into a module and out of it
    recipe       files that build the module again
    folder       a run that was stopped and goes on
    within       one module within several limits, by several methods
    exporting    ONNX files of the result
    report       before and after

Everything here is also in :mod:`hwcost.torch`.
"""

from __future__ import annotations

from hwcost.pruning.cutting import prune, schedule
from hwcost.pruning.recipe import load_pruned as pruned
from hwcost.pruning.report import PruningReport
from hwcost.pruning.result import Pruned
from hwcost.pruning.searching import darts
from hwcost.pruning.slicing import Sliced
from hwcost.pruning.supernetwork import SuperNet, supernet

__all__ = ["Pruned", "PruningReport", "Sliced", "SuperNet", "darts", "prune", "pruned", "schedule", "supernet"]

__dir__ = __all__.copy  # what tab completion offers
