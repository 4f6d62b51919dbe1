"""The training of a super-network over any module: all its parts share their weights.

Each step trains the whole module on the labels, and the smallest part and a random one on the labels and on the
whole one's outputs. Source: Yu and Huang, Universally slimmable networks, ICCV 2019 (sandwich rule, in-place
distillation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from hwcost.elimination.factors import Figures
from hwcost.pruning.batches import Batch, Task, are_scores
from hwcost.pruning.tuning import Tuning, descended

__all__ = ["SharedTuning"]


class SharedTuning(Tuning):
    """Epochs of training of a module and its parts, which can stop after each and go on.

    The parts of a step are a function of the seed, the epoch and the number of the batch.

    Args:
        model: the whole module, trained in place.
        part: from sizes of widths to a module that shares its weights.
        options: the sizes of each width, ascending.
        task, epochs, more: as for :class:`hwcost.pruning.tuning.Tuning`.
    """

    def __init__(
        self,
        model: nn.Module,
        part: Callable[[Mapping[str, int]], nn.Module],
        options: Mapping[str, Figures],
        task: Task,
        epochs: int,
        **more: Any,
    ) -> None:
        super().__init__(model, None, task, epochs, **more)
        self._part, self._options = part, options
        self._smallest = part({name: int(sizes[0]) for name, sizes in options.items()})

    def _backward(self, batch: Batch, number: int) -> float:
        random = np.random.default_rng((self.seed, self.epoch, number))
        drawn = self._part({name: int(random.choice(sizes)) for name, sizes in self._options.items()})
        wanted, loss = self.task.of(self.model, batch)
        total = descended(loss)
        for part in (self._smallest, drawn):
            outputs, loss = self.task.of(part, batch)
            if are_scores(outputs, batch.targets):
                loss = self._taught(outputs, wanted.detach(), loss)
            total += descended(loss)
        return total
