"""The regret of an estimator: evaluated, averaged over instances, and in its best combination of settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.estimators import DATA_TERMS, ESTIMATORS, Condition, Estimators, Search, by_expectation, rounded_up, search
from common.problems import KERNELS, Setting, optimum, problems

# ---------------------------------------------------------------- what comes out


def evaluate(
    setting: Setting,
    signals: Sequence[float],
    how: Search,
    instances: int,
    seed: int,
    conditions: Sequence[Condition] | None = None,
    estimators: Estimators = ESTIMATORS,
) -> list[dict[str, Any]]:
    """A row for each condition and noise: regret by three ways to derive a network, and where the widths settle.

    Without conditions all estimators are searched with, in all combinations of sampling and data term.
    """
    conditions = conditions or [Condition(n, g, d) for g in (False, True) for d in DATA_TERMS for n in estimators]
    once = problems(setting, instances, seed)
    best, least = optimum(once)
    given, best, least = once.repeated(len(signals)), best.repeat(len(signals), 1), least.repeat(len(signals))
    unit = given.of_random - least
    signal = torch.tensor(signals).repeat_interleave(len(once.weight))
    found, soft = search(given.in_single(), setting, conditions, how, signal, seed, estimators)
    rows = []
    for condition, choice, widths in zip(conditions, found, soft.double(), strict=True):
        derived = {
            "regret": choice,
            "regret, nearest to the expected width": (widths[:, :, None] - given.options).abs().argmin(2),
            "regret, rounded up": rounded_up(given, choice.clone()),
        }
        regrets = {name: (given.objective(option) - least) / unit for name, option in derived.items()}
        relative = (given.objective(choice) - least) / least
        for index, level in enumerate(signals):
            part = slice(index * len(once.weight), (index + 1) * len(once.weight))
            rows.append(
                {"setting": setting.name, **condition._asdict(), "signal": None if math.isinf(level) else level}
                | _figures(regrets["regret"][part], instances)
                | {name: regret[part].mean().item() for name, regret in regrets.items() if name != "regret"}
                | {"J above the optimum's": relative[part].mean().item()}
                | {"share of optima found": (regrets["regret"][part] < 1e-9).double().mean().item()}
                | _places(setting, given.options, choice[part], best[part])
            )
    return rows


def _figures(regret: Tensor, instances: int) -> dict[str, float]:
    """Mean, deviation between instances (each averaged over lambdas), and the worst of all."""
    by_instance = regret.reshape(instances, -1).mean(1)
    deviation = by_instance.std().item() if instances > 1 else 0.0
    return {"regret": regret.mean().item(), "deviation": deviation, "worst": regret.max().item()}


def _places(setting: Setting, options: Tensor, choice: Tensor, best: Tensor) -> dict[str, float | None]:
    """Where widths lie between two tile boundaries along the columns; those at an end of the options aside."""
    tiles, inner = options[choice] / setting.array.cols, (choice > 0) & (choice < len(options) - 1)
    beyond = (tiles - tiles.floor())[inner]
    kinds = {
        "widths at a full tile": beyond == 0,
        "widths up to 1/4 tile past one": (beyond > 0) & (beyond <= 0.25),
        "widths up to 1/4 tile short of one": beyond >= 0.75,
    }
    shares = {name: kind.double().mean().item() if len(beyond) else None for name, kind in kinds.items()}
    off = (options[choice] - options[best]) / setting.array.cols
    return shares | {"tiles wider than the optimum": off.mean().item()}


def over_counts(setting: Setting) -> dict[str, float]:
    """How much more than the exact cycles each estimator counts where all columns are full, on average of networks."""
    full = [index for index, option in enumerate(setting.options) if option % setting.array.cols == 0]
    choice = torch.cartesian_prod(*[torch.tensor(full)] * len(KERNELS))
    probs = torch.nn.functional.one_hot(choice, len(setting.options)).double()
    exact = by_expectation(setting)(probs)
    return {name: (make(setting)(probs) / exact - 1).mean().item() for name, make in ESTIMATORS.items()}


def best_combinations(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The combination of sampling and data term that suits each estimator best, on average over rows."""
    found: dict[str, dict[str, Any]] = {}
    for name in ESTIMATORS:
        own = [row for row in rows if row["estimator"] == name]
        scores = {
            (gumbel, data): np.mean([r["regret"] for r in own if r["gumbel"] == gumbel and r["data"] == data])
            for gumbel in (False, True)
            for data in DATA_TERMS
        }
        gumbel, data = min(scores, key=lambda key: scores[key])
        found[name] = {"gumbel": gumbel, "data": data}
    return found
