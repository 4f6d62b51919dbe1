"""Latency and utilization of a network under search as terms of a loss, in a form that an inner loop adds quickly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hwcost.machine.array import SystolicArray
from hwcost.network.network import Network
from hwcost.network.pricing import network_cost
from hwcost.torch.lookup import Costs
from hwcost.torch.loss import LatencyLoss

__all__ = ["SpaceTerm"]


class SpaceTerm:
    """lambda * latency + mu * (1 - utilization).

    Every latency is divided by its own value for a reference network. Utilization is MACs / (estimated cycles * PEs),
    which is always 1 for an estimator without stairs.

    Args:
        space: a network with options.
        array: what the estimator knows of the accelerator.
        relaxation: of the latency, at the expected sizes; None for the exact expectation.
        reference: the sizes of the reference network, which need not be options.
        utilization: mu.
    """

    def __init__(
        self, space: Network, array: SystolicArray, relaxation: Any, reference: Mapping[str, int], utilization: float
    ) -> None:
        self.space, self.array, self.utilization = space, array, utilization
        self.relaxation = relaxation or "exact"
        self.loss = LatencyLoss(space, array, relaxation=relaxation, reference=1.0)
        of_macs = None if relaxation is None else "linear"
        self.macs = LatencyLoss(space, SystolicArray(1, 1), relaxation=of_macs, reference=1.0)
        soft = {name: torch.tensor(float(size)) for name, size in reference.items()}
        layers = space.at(reference if relaxation is None else soft)
        self.reference = float(network_cost(layers, array, relaxation=self.relaxation).total.cycles)

    def of(self, row: Tensor) -> Tensor:
        """The estimated latency, reference network = 1, of gates or probabilities in a row."""
        return self.loss.cycles(row) / self.reference

    def added(self, loss: Tensor, row: Tensor, weight: float) -> Tensor:
        """The sum of a scalar loss and the term, with ``weight`` as lambda; below 0 it asks for more cycles."""
        if weight == 0 and self.utilization == 0:
            return loss
        cycles = self.loss.cycles(row)
        loss = torch.add(loss, cycles, alpha=weight / self.reference)
        if self.utilization > 0:
            used = self.macs.cycles(row) / (cycles * float(self.array.pes))
            loss = torch.add(loss, 1 - used, alpha=self.utilization)
        return loss

    def costs(self) -> Costs:
        """The estimate for every whole network, in the estimator's own cycles."""
        return Costs(self.space, self.array, self.relaxation)
