"""What a search has to beat: networks drawn at random at equal compute, and no search at all."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas_plugin.images import Dataset, split
from nas_plugin.methods.one_shot import pool_of, ranked_by
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record, Resumable, Training, generator
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import macs_of

__all__ = ["MostMacs", "RandomSearch", "search_macs"]


def search_macs(arch: ArchDef, settings: SearchSettings, weight_images: int, alpha_images: int) -> float:
    """Multiply-accumulates of the forward passes of the author's search: the compute that a random search may use.

    Each image costs one pass of the widest network. A training step is about three passes in both searches, so the
    factor cancels.
    """
    each = macs_of(arch).one({name: sizes[-1] for name, sizes in arch.decisions.items()})
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
        each = macs_of(arch).of(pool[order]) * len(weights) * settings.finalist_epochs
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
        best = self.derived()
        record = {"part": "random", "epoch": self.step, "tried": choice, "loss": loss, "accuracy": accuracy}
        record |= {"epochs": short.train_epochs, "choice": best, "exact_cycles": self.costs.one(best)}
        return record | {"objective": loss + price, "ranked_by": ranked_by(self.settings)}

    def derived(self) -> dict[str, int]:
        """The best so far."""
        worth = np.array(self.losses) + self.price[: self.step]
        return self.costs.choice(self.tried[int(worth.argmin())])


class MostMacs(Resumable):
    """No search: the network within the exact limit with the most MACs, and with fewer cycles in a tie."""

    steps = step = 0

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.costs, self.pool, _ = pool_of(arch, settings)
        self.macs = macs_of(arch).of(self.pool)

    def derived(self) -> dict[str, int]:
        """The network."""
        order = np.lexsort((self.costs.of(self.pool), -self.macs))
        return self.costs.choice(self.pool[order[0]])
