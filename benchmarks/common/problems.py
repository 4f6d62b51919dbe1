"""Problems with a known optimum: a chain of convolutions, a data term, and dynamic programming over the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwcost import Conv2d, Network, Operation, SystolicArray, network_cost
from hwcost.torch import CostTable, space_tables

KERNELS = (3, 1, 3, 1)
MAP = 14
LAMBDAS = (0.05, 0.1, 0.2, 0.5, 1.0)
SIGNALS = (math.inf, 0.27, 0.12)
"""Mean over root mean square of the data term's gradient; infinite without noise. The others are the ends of what
searches on images have."""

Cycles = Callable[[Tensor], Tensor]
"""Probabilities (batch, layers, options) in, cycles (batch,) out."""


# ---------------------------------------------------------------- the problem


@dataclass(frozen=True)
class Setting:
    """Options of every width, and the machine."""

    name: str
    options: tuple[int, ...]
    array: SystolicArray

    @property
    def space(self) -> Network:
        """Four convolutions in a chain; the first reads as many channels as the array has rows."""
        operations, before = {}, int(self.array.rows)
        for index, kernel in enumerate(KERNELS):
            width = self.reference[f"w{index}"]
            layer = Conv2d(before, width, kernel, height=MAP, width=MAP, padding="same")
            sizes = {"out_channels": f"w{index}"} | ({"in_channels": f"w{index - 1}"} if index else {})
            operations[f"conv{index}"], before = Operation(layer, sizes), width
        return Network(self.name, operations).space({f"w{index}": self.options for index in range(len(KERNELS))})

    @property
    def reference(self) -> dict[str, int]:
        """The network in the middle of the options."""
        return {f"w{index}": self.options[len(self.options) // 2] for index in range(len(KERNELS))}

    @property
    def tables(self) -> dict[str, CostTable]:
        """Exact cycles of every layer, its input along the first axis and its output along the last."""
        found = space_tables(self.space, self.array)
        return {name: _in_chain_order(table) for name, table in found.items()}


def _in_chain_order(table: CostTable) -> CostTable:
    order = sorted(range(len(table.decisions)), key=lambda axis: table.decisions[axis])
    return CostTable(table.values.permute(order), tuple(table.decisions[axis] for axis in order))


def _machine(size: int, **more: Any) -> SystolicArray:
    return SystolicArray(size, size, **more)


LARGE, SMALL = tuple(range(64, 281, 8)), tuple(range(4, 65, 4))
SETTINGS = (
    Setting("128x128", LARGE, _machine(128)),
    Setting("16x16", SMALL, _machine(16)),
    # as many bytes a cycle as the array has rows: some layers of these networks wait for memory, some do not
    Setting("128x128 with memory", LARGE, _machine(128, dram_bytes_per_s=128e9)),
    Setting("16x16 with memory", SMALL, _machine(16, dram_bytes_per_s=16e9)),
)


@dataclass(frozen=True)
class Problems:
    """A batch of objectives over one setting.

    Attributes:
        scale, power: a_l and b_l, (batch, layers).
        weight: lambda, (batch,).
        options: (options,).
        tables: exact cycles of each layer.
        reference: exact cycles of the reference network.
    """

    scale: Tensor
    power: Tensor
    weight: Tensor
    options: Tensor
    tables: Mapping[str, CostTable]
    reference: float

    def losses(self, widths: Tensor) -> Tensor:
        """What each layer loses at those widths, (..., batch, layers); 0 at the largest."""
        return self.scale * ((widths / self.options[-1]) ** -self.power - 1)

    @property
    def table(self) -> Tensor:
        """The same for every option, (batch, layers, options)."""
        return self.losses(self.options[:, None, None]).movedim(0, -1)

    def objective(self, choice: Tensor) -> Tensor:
        """J of the options with those indices, (batch, layers) -> (batch,)."""
        data = self.losses(self.options[choice]).sum(1)
        return data + self.weight * self.cycles(choice) / self.reference

    def cycles(self, choice: Tensor) -> Tensor:
        """Exact cycles of the options with those indices."""
        axes = {f"w{index}": column for index, column in enumerate(choice.unbind(1))}
        return torch.stack(
            [table.values[tuple(axes[name] for name in table.decisions)] for table in self.tables.values()]
        ).sum(0)

    @property
    def of_random(self) -> Tensor:
        """J of a network drawn at random, on average: every option as likely as any other."""
        cycles = sum(table.values.mean() for table in self.tables.values())
        return self.table.mean(2).sum(1) + self.weight * cycles / self.reference

    def repeated(self, times: int) -> Problems:
        """The batch several times, one after the other."""
        rows = (part.repeat(times, *(1,) * (part.ndim - 1)) for part in (self.scale, self.power, self.weight))
        return Problems(*rows, self.options, self.tables, self.reference)

    def in_single(self) -> Problems:
        """The same in single precision, which is enough for a search."""
        rows = (part.float() for part in (self.scale, self.power, self.weight, self.options))
        return Problems(*rows, self.tables, self.reference)


def problems(setting: Setting, instances: int, seed: int) -> Problems:
    """Random instances by all lambdas: a_l log-uniform from 0.3 to 3 and b_l uniform from 0.3 to 1, then scaled."""
    random = np.random.default_rng(seed)
    shape = (instances, len(KERNELS))
    scale = np.exp(random.uniform(math.log(0.3), math.log(3), shape))
    power = random.uniform(0.3, 1.0, shape)
    spread = scale * ((setting.options[0] / setting.options[-1]) ** -power - 1)
    scale /= spread.sum(1, keepdims=True)
    weight = torch.tensor(LAMBDAS, dtype=torch.float64).repeat(instances)
    reference = network_cost(setting.space.at(setting.reference), setting.array).total.cycles
    return Problems(
        *(torch.from_numpy(part).repeat_interleave(len(LAMBDAS), 0) for part in (scale, power)),
        weight,
        torch.tensor(setting.options, dtype=torch.float64),
        setting.tables,
        float(reference),
    )


def optimum(given: Problems) -> tuple[Tensor, Tensor]:
    """The choice with the smallest J, and that J, by dynamic programming along the chain.

    best[j] is the smallest sum over all layers so far that ends in option j; each layer adds its loss and its cycles.
    """
    data, price = given.table, (given.weight / given.reference)[:, None, None]
    costs = [
        price * (table.values if table.values.ndim == 2 else table.values[None]) for table in given.tables.values()
    ]
    best = data[:, 0] + costs[0][:, 0]
    came_from = []
    for layer, cost in enumerate(costs[1:], 1):
        both = best[:, :, None] + cost
        smallest = both.min(1)
        best = smallest.values + data[:, layer]
        came_from.append(smallest.indices)
    value, last = best.min(1)
    choice = [last]
    for previous in reversed(came_from):
        choice.append(previous.gather(1, choice[-1][:, None])[:, 0])
    return torch.stack(choice[::-1], 1), value
