"""Other ways to choose the widths of a pruned network, all within the same exact limit of cycles.

Each takes a :class:`Problem` and returns sizes of widths, or a module. Those that return sizes keep the same channels:
the best by Taylor scores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from hwcost import InvalidValueError, SystolicArray, advise, from_torch, network_cost
from hwcost.advice.budget import best_sizes, check_values
from hwcost.advice.tables import Allowed, changeable
from hwcost.importers.torch.resize import resized
from hwcost.network.network import Network
from hwcost.pruning.batches import Task
from hwcost.pruning.choosing import stairs
from hwcost.pruning.curves import best_channels, summed_values
from hwcost.pruning.importance import scores_of
from hwcost.pruning.norms import of_the_batch

Sizes = dict[str, int]
EFFORT = 300_000


@dataclass
class Problem:
    """A trained module, the machine, the limit, and the data that a method may look at."""

    model: nn.Module
    example: torch.Tensor
    array: SystolicArray
    target: float
    task: Task
    held_out: Sequence[Any]
    seed: int
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        self.network = from_torch(self.model, example_inputs=self.example)
        self.today = float(network_cost(self.network, self.array).total.cycles)
        self.limit = self.target * self.today
        self.names = changeable(self.network)

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Taylor scores of all channels."""
        batches = list(self.task.batches(torch.device("cpu")))[:16]
        return scores_of("taylor", self.model, self.network, self.names, self.task, lambda: iter(batches))

    @cached_property
    def values(self) -> dict[str, Any]:
        """What each size is worth by these scores."""
        return {name: summed_values(own, self.network.widths[name].multiple) for name, own in self.scores.items()}

    @cached_property
    def options(self) -> dict[str, Any]:
        """The ends of the stairs of every width."""
        return stairs(self.network, self.array, Allowed())

    def cycles(self, sizes: Mapping[str, int]) -> float:
        """The exact cycles at some sizes."""
        return float(network_cost(self.network.at(sizes), self.array).total.cycles)

    def cut(self, sizes: Mapping[str, int]) -> nn.Module:
        """The module with the best channels of every width."""
        kept = {name: best_channels(self.scores[name], self.network.widths[name].multiple, size)
                for name, size in sizes.items()}  # fmt: skip
        return resized(self.model, self.network, keep=kept)

    def loss(self, module: nn.Module) -> float:
        """The held-out loss with the statistics of each batch, before any fine-tuning."""
        batches = list(Task(self.held_out, self.task.loss).batches(torch.device("cpu")))
        with of_the_batch(module):
            return self.task.measured(module, batches[:2]).loss


def uniform(problem: Problem) -> Sizes:
    """All widths times one number, the largest that fits."""

    def at(share: float) -> Sizes:
        widths = {name: problem.network.widths[name] for name in problem.names}
        parts = {name: max(1, round(share * own.size / own.multiple)) for name, own in widths.items()}
        return {name: parts[name] * own.multiple for name, own in widths.items()}

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if problem.cycles(at(middle)) <= problem.limit else (low, middle)
    return at(low)


def filled(problem: Problem, sizes: Sizes) -> Sizes:
    """Every width to the end of its stair, and then further up, most score first, while the limit holds."""
    ends = problem.options
    sizes = {name: int(ends[name][np.searchsorted(ends[name], size)]) for name, size in sizes.items()}
    while problem.cycles(sizes) > problem.limit:  # the ends of stairs alone are those of today's other widths
        sizes = {name: _before(problem.options[name], size) for name, size in sizes.items()}
    while True:
        steps = []
        for name, size in sizes.items():
            above = problem.options[name][problem.options[name] > size]
            if len(above) and problem.cycles(wider := sizes | {name: int(above[0])}) <= problem.limit:
                steps.append((problem.values[name][int(above[0]) - 1] - problem.values[name][size - 1], name, wider))
        if not steps:
            return sizes
        sizes = max(steps)[2]


def _before(options: Any, size: int) -> int:
    below = options[options < size]
    return int(below[-1]) if len(below) else size


def uniform_filled(problem: Problem) -> Sizes:
    """The uniform multiplier, filled."""
    return filled(problem, uniform(problem))


def by_macs(problem: Problem) -> Sizes:
    """The most score within a share of the MACs, at least a quarter of each width; the largest share that fits."""
    values = check_values(problem.network, problem.values, problem.names)
    one = SystolicArray(1, 1)  # its cycles are the MACs

    def at(share: float) -> Sizes:
        limit = share * network_cost(problem.network, one).total.cycles
        best = best_sizes(problem.network, one, problem.network.priced, limit, 20_000, Allowed(1, 0.25), value=values)
        today = {name: problem.network.widths[name].size for name in problem.names}
        return today | dict(best.sizes)

    low, high = 0.02, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if problem.cycles(at(middle)) <= problem.limit else (low, middle)
    return at(low)


def macs_filled(problem: Problem) -> Sizes:
    """The most score within a share of the MACs, filled: the honest rival."""
    return filled(problem, by_macs(problem))


def advised(problem: Problem) -> Sizes:
    """The most MACs within the cycles."""
    budget = advise(problem.network, problem.array, budget=problem.target).budget
    assert budget is not None
    return dict(budget.sizes)


def random_best(problem: Problem) -> Sizes:
    """Of 12 random sets that use at least 90 % of the limit, the one with the lowest held-out loss."""
    random, found = np.random.default_rng(problem.seed), []
    for _ in range(100_000):
        share = random.uniform(0.1, 1.0, len(problem.names))
        widths = [problem.network.widths[name] for name in problem.names]
        sizes = {
            name: max(own.multiple, int(each * own.size) // own.multiple * own.multiple)
            for name, own, each in zip(problem.names, widths, share, strict=True)
        }
        if 0.9 * problem.limit <= problem.cycles(sizes) <= problem.limit:
            found.append(sizes)
            if len(found) == 12:
                break
    return min(found, key=lambda sizes: problem.loss(problem.cut(sizes)))


def torch_pruning(problem: Problem) -> nn.Module:
    """Torch-Pruning by its own global Taylor scores, the smallest ratio whose exact cycles fit."""
    import torch_pruning as tp

    def at(ratio: float) -> nn.Module:
        module = copy.deepcopy(problem.model).eval()
        head = [each for each in module.modules() if isinstance(each, nn.Linear)][-1]
        pruner = tp.BasePruner(
            module, problem.example, importance=tp.importance.TaylorImportance(), global_pruning=True,
            pruning_ratio=ratio, max_pruning_ratio=0.95, ignored_layers=[head],
        )  # fmt: skip
        for batch in list(problem.task.batches(torch.device("cpu")))[:16]:
            problem.task.of(module, batch)[1].backward()
        pruner.step()
        module.zero_grad(set_to_none=True)
        return module

    def cycles(module: nn.Module) -> float:
        return float(network_cost(from_torch(module, example_inputs=problem.example), problem.array).total.cycles)

    low, high, best = 0.0, 0.99, None
    for _ in range(10):
        middle = (low + high) / 2
        module = at(middle)
        if cycles(module) <= problem.limit:
            high, best = middle, module
        else:
            low = middle
    if best is None:
        raise InvalidValueError("target", problem.target, "a larger one", reason="Torch-Pruning meets it at no ratio")
    return best


RIVALS: Mapping[str, Callable[[Problem], Sizes | nn.Module]] = {
    "Torch-Pruning": torch_pruning,
    "uniform": uniform,
    "uniform, filled": uniform_filled,
    "MACs, filled": macs_filled,
    "advise --budget": advised,
    "random": random_best,
}
