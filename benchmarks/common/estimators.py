"""Latency estimators on problems with a known optimum, and the search that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from common.problems import Cycles, Problems, Setting
from hwcost import RELAXATIONS, Relaxation, SystolicArray, network_cost
from hwcost.torch import expected_cost

# ---------------------------------------------------------------- the estimators


def of_nothing(setting: Setting) -> Cycles:
    """No latency term."""
    return lambda probs: 0 * probs.sum((1, 2))


def by_expectation(setting: Setting) -> Cycles:
    """The exact expectation: p^T R q for every layer."""
    tables = setting.tables

    def one(probs: Tensor) -> Tensor:
        return expected_cost(tables, {f"w{index}": row for index, row in enumerate(probs.unbind(0))})

    return torch.func.vmap(one)


def at_expected_widths(relaxation: Relaxation, *, memory: bool = True) -> Callable[[Setting], Cycles]:
    """The cost at the expected widths by a relaxation; without its memory where that is left out."""

    def make(setting: Setting) -> Cycles:
        space, options = setting.space, torch.tensor(setting.options)
        array = setting.array if memory else SystolicArray(setting.array.rows, setting.array.cols)

        def cycles(probs: Tensor) -> Tensor:
            widths = probs @ options.to(probs)
            sizes = {f"w{index}": column for index, column in enumerate(widths.unbind(1))}
            found: Tensor = network_cost(space.at(sizes), array, relaxation=relaxation).total.cycles
            return found

        return cycles

    return make


ESTIMATORS: Mapping[str, Callable[[Setting], Cycles]] = MappingProxyType(
    {
        "none": of_nothing,
        "FLOPs": at_expected_widths(RELAXATIONS["linear"], memory=False),
        "roofline": at_expected_widths(RELAXATIONS["linear"]),
        "straight-through": at_expected_widths(RELAXATIONS["straight-through"]),
        "logistic": at_expected_widths(RELAXATIONS["logistic"]),
        "shifted": at_expected_widths(RELAXATIONS["shifted"]),
        "generalized": at_expected_widths(RELAXATIONS["generalized"]),
        "expectation": by_expectation,
    }
)
"""Every estimator by name. A new one is a function of the setting, and a row here."""

Estimators = Mapping[str, Callable[[Setting], Cycles]]


# ---------------------------------------------------------------- the search


@dataclass(frozen=True)
class Search:
    """How all estimators search alike: Adam, and a softmax that gets ever sharper."""

    steps: int = 3000
    learning_rate: float = 0.01
    hottest: float = 2.0
    coldest: float = 0.5

    def tau(self, step: int) -> float:
        """The temperature of the softmax at a step, geometric."""
        return self.hottest * (self.coldest / self.hottest) ** (step / max(1, self.steps - 1))


class Condition(NamedTuple):
    """What differs between searches that run side by side."""

    estimator: str
    gumbel: bool
    data: str


def expected_loss(given: Problems, probs: Tensor) -> Tensor:
    """What is lost on average over the options: what a network sees whose options are drawn."""
    return (given.table * probs).sum((-2, -1))


def loss_at_expected_width(given: Problems, probs: Tensor) -> Tensor:
    """What is lost at the expected widths: what a network sees whose options are blended."""
    return given.losses(probs @ given.options).sum(-1)


DATA_TERMS = MappingProxyType({"expected loss": expected_loss, "expected width": loss_at_expected_width})


def search(
    given: Problems,
    setting: Setting,
    conditions: Sequence[Condition],
    how: Search,
    signal: Tensor,
    seed: int,
    estimators: Estimators = ESTIMATORS,
) -> tuple[Tensor, Tensor]:
    """Every condition on every problem: the options with the largest parameters, and the expected widths at the end.

    Noise and samples depend on seed, step and problem alone, so that all conditions see the same.

    Args:
        given: the problems, a batch.
        setting: of these problems.
        conditions: estimators and what goes with them.
        how: the optimiser.
        signal: mean over root mean square of the data term's gradient for each problem, (batch,).
        seed: of noise and samples.
        estimators: what the names in the conditions stand for.

    Returns:
        Indices and widths, both (conditions, batch, layers).
    """
    random = torch.Generator().manual_seed(seed)
    shape, dtype = given.table.shape, given.table.dtype
    sampled = torch.tensor([condition.gumbel for condition in conditions], dtype=dtype)[:, None, None, None]
    terms = _latencies(given, setting, conditions, estimators)
    deviation = deviations(given, signal)
    alpha = torch.zeros((len(conditions), *shape), dtype=dtype, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], lr=how.learning_rate)
    for step in range(how.steps):
        uniform = torch.rand(shape, generator=random, dtype=dtype).clamp_(1e-7, 1 - 1e-7)
        noise = deviation * torch.randn(shape, generator=random, dtype=dtype)
        probs = torch.softmax((alpha - sampled * torch.log(-torch.log(uniform))) / how.tau(step), -1)
        loss = (noise * probs).sum()
        for data, chosen in _groups(condition.data for condition in conditions):
            loss = loss + DATA_TERMS[data](given, probs[chosen]).sum()
        for cycles, chosen in terms:
            loss = loss + (given.weight * cycles(probs[chosen].flatten(0, 1)).unflatten(0, (-1, shape[0]))).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return alpha.detach().argmax(-1), torch.softmax(alpha.detach() / how.coldest, -1) @ given.options


def deviations(given: Problems, signal: Tensor) -> Tensor:
    """The deviation of the noise on what each option loses, (batch, layers, 1).

    A mean over root mean square of s means noise sqrt(1 / s^2 - 1) times as large as what is to be seen, which is how
    the options differ.
    """
    times = torch.sqrt(signal.to(given.table.dtype) ** -2 - 1).where(signal.isfinite(), 0.0)
    return times[:, None, None] * given.table.std(2, keepdim=True)


def _groups(labels: Iterable[str]) -> list[tuple[str, list[int]]]:
    """The positions of each label."""
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        found.setdefault(label, []).append(index)
    return list(found.items())


def _latencies(
    given: Problems, setting: Setting, conditions: Sequence[Condition], estimators: Estimators
) -> list[tuple[Cycles, list[int]]]:
    """Each estimator over its own cost of the reference network, and the conditions that it belongs to."""
    middle = torch.zeros((1, *given.table.shape[1:]), dtype=given.table.dtype)
    middle[:, :, len(setting.options) // 2] = 1
    found = []
    for name, chosen in _groups(condition.estimator for condition in conditions):
        cycles = estimators[name](setting)
        unit = cycles(middle).item() or 1.0
        found.append((lambda probs, cycles=cycles, unit=unit: cycles(probs) / unit, chosen))
    return found


def rounded_up(given: Problems, choice: Tensor) -> Tensor:
    """Every width grown through the options as far as the exact cycles stay equal, the last layer first."""
    before = None
    while before is None or not torch.equal(before, choice):
        before = choice.clone()
        for layer in reversed(range(choice.shape[1])):
            options = torch.arange(len(given.options)).repeat(len(choice), 1)
            tried = choice[:, None, :].repeat(1, len(given.options), 1)
            tried[:, :, layer] = options
            cycles = given.cycles(tried.flatten(0, 1)).unflatten(0, (len(choice), -1))
            as_fast = cycles <= given.cycles(choice)[:, None]
            choice[:, layer] = options.where(as_fast, 0).amax(1)
    return choice
