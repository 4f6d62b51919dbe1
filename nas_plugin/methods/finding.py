"""From settings to a search, and from the network it derives to the winner.

Here are also the two searches that every other has to beat: networks drawn at random at equal compute, and no search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcost import InvalidValueError
from hwcost.errors import MISSING
from hwcost.network.limits import FILL
from hwcost.units import number
from nas_plugin.images import Dataset, split
from nas_plugin.methods.darts import DartsSearch, judge_of
from nas_plugin.methods.one_shot import OneShotSearch, pool_of, ranked_by
from nas_plugin.methods.pruning import PruneSearch
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import SEARCHES
from nas_plugin.methods.training import Record, Resumable, SuperNetworkTraining, Training, generator
from nas_plugin.space.arch_def import ArchDef

__all__ = ["MostMacs", "RandomSearch", "check", "search_macs", "searcher", "shared_training", "winner_of"]


def search_macs(arch: ArchDef, settings: SearchSettings, weight_images: int, alpha_images: int) -> float:
    """Multiply-accumulates of the forward passes of the author's search: the compute that a random search may use.

    Each image costs one pass of the widest network. A training step is about three passes in both searches, so the
    factor cancels.
    """
    each = arch.macs.one({name: sizes[-1] for name, sizes in arch.decisions.items()})
    images = settings.epochs * weight_images + max(settings.epochs - settings.weight_only_epochs, 0) * alpha_images
    return each * images


class RandomSearch(Resumable):
    """Trains networks drawn from the candidates of the one-shot search, and takes the best.

    Each is trained for ``finalist_epochs`` on the images for the weights and scored on the held-out ones. Their number
    follows from the compute of the author's search with the same settings.
    """

    STATE = ("step", "losses")

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch, self.settings = arch, settings
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.held_out = train.take(weights), train.take(rest)
        self.costs, pool, price = pool_of(arch, settings)
        macs = search_macs(arch, settings, len(weights), len(rest))
        seed = generator(settings.seed, "random search").initial_seed()
        order = np.random.default_rng(seed).permutation(len(pool))
        each = arch.macs.of(pool[order]) * len(weights) * settings.finalist_epochs
        count = max(1, int(np.searchsorted(each.cumsum(), macs, side="right")))
        self.tried, self.price = pool[order[:count]], price[order[:count]]
        self.losses: list[float] = []
        self.steps, self.step = count, 0

    def run_epoch(self) -> Record:
        """Trains one network; returns its log record."""
        choice, price = self.costs.choice(self.tried[self.step]), float(self.price[self.step])
        short = dataclasses.replace(self.settings, train_epochs=self.settings.finalist_epochs)
        loss, accuracy = Training(self.arch, choice, short, self.weight_data).finish(self.held_out)
        self.losses.append(loss)
        self.step += 1
        best, worth = self.derived(), float(self._worth().min())
        record = {"part": "random", "epoch": self.step, "tried": choice, "loss": loss, "accuracy": accuracy}
        record |= {"epochs": short.train_epochs, "choice": best, "exact_cycles": self.costs.one(best)}
        return record | {"objective": loss + price, "best_objective": worth, "ranked_by": ranked_by(self.settings)}

    def _worth(self) -> NDArray[np.float64]:
        """What the networks tried so far are ranked by."""
        return np.array(self.losses) + self.price[: self.step]

    def derived(self) -> dict[str, int]:
        """The best so far."""
        return self.costs.choice(self.tried[int(self._worth().argmin())])


class MostMacs(Resumable):
    """No search: the network within the exact limit with the most MACs, and with fewer cycles in a tie."""

    steps = step = 0

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.costs, self.pool, _ = pool_of(arch, settings)
        self.macs = arch.macs.of(self.pool)

    def derived(self) -> dict[str, int]:
        """The network."""
        order = np.lexsort((self.costs.of(self.pool), -self.macs))
        return self.costs.choice(self.pool[order[0]])


SEARCHES |= {"darts": DartsSearch, "one-shot": OneShotSearch, "prune": PruneSearch, "random": RandomSearch}
SEARCHES |= {"most-macs": MostMacs}


def shared_training(settings: SearchSettings) -> type[SuperNetworkTraining]:
    """What trains the weights that the searches of a method share."""
    return getattr(SEARCHES.get(str(settings.method)), "TRAINING", SuperNetworkTraining)


def check(arch: ArchDef, settings: SearchSettings) -> None:
    """Refuses what a search could only fail at, before any work is done or any folder made.

    Raises InvalidValueError for a method that needs a target and has none, or a target that not even the smallest
    network meets, or that the largest one cannot use.
    """
    method = settings.method_row
    if settings.target is None:
        if method.needs_target:
            raise InvalidValueError("target", MISSING, f"a limit like 0.75 or 2000cycles for method {method.name!r}")
        return
    reference, limit = arch.reference_cycles, arch.limit(settings.target)
    judge = judge_of(arch, settings)
    costs, scale = judge.costs(), reference / judge.reference
    least, most = (scale * costs.one({name: sizes[end] for name, sizes in costs.sizes.items()}) for end in (0, -1))
    if least > limit or FILL * limit > most:
        low, high = math.ceil(1000 * least / reference) / 1000, math.floor(1000 * most / reference) / 1000
        smallest = f"at least {number(math.ceil(least))} cycles ({low:.3f} of the reference's), as the smallest network"
        largest = f"at most {number(math.floor(most))} cycles ({high:.3f}), as the largest"
        ms = [1e3 * cycles / arch.array.clock_hz for cycles in (math.ceil(least), math.floor(most))]
        advice = f"that is {ms[0]:.6g}ms to {ms[1]:.6g}ms; a number alone is a share, write 2100cycles for cycles"
        raise InvalidValueError("target", settings.target, f"{smallest}, and {largest}; {advice}")


def searcher(arch: ArchDef, settings: SearchSettings, train: Dataset, weights: Mapping[str, Any] | None = None) -> Any:
    """The search that the settings name, checked; ``weights`` of a super-network are for a method that takes them."""
    check(arch, settings)
    return settings.method_row.make(arch, settings, train, *([] if weights is None else [weights]))


def winner_of(arch: ArchDef, settings: SearchSettings, derived: Mapping[str, int]) -> dict[str, int]:
    """The network with its free capacity used: every width grown at equal exact cycles."""
    if not settings.snaps:
        return dict(derived)
    costs = arch.costs()
    return costs.choice(costs.saturated(costs.rows([derived]))[0])
