"""What a search has to beat: networks drawn at random at equal compute, and no search at all."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas_plugin.data import Dataset, split
from nas_plugin.errors import RunError
from nas_plugin.methods.one_shot import pool_of, price_of
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record, Resumable, Training, generator, trial
from nas_plugin.space.arch_def import ArchDef
from nas_plugin.space.costs import Rows, macs_of

__all__ = ["MostMacs", "RandomSearch", "search_macs"]


def search_macs(arch: ArchDef, settings: SearchSettings, weight_images: int, alpha_images: int) -> float:
    """Multiply-accumulates of the forward passes of the author's search: the compute that a random search may use.

    Each image costs one pass of the widest network; a training step is about three forward passes in both searches, so
    the factor cancels.
    """
    widest = macs_of(arch)
    each = float(widest.of(widest.rows([{name: sizes[-1] for name, sizes in arch.decisions.items()}]))[0])
    images = settings.epochs * weight_images + max(settings.epochs - settings.weight_only_epochs, 0) * alpha_images
    return each * images


class RandomSearch(Resumable):
    """Trains networks drawn from the candidates of the one-shot search, and takes the best.

    Each is trained for ``finalist_epochs`` on the images for the weights and scored on the held-out ones. Their number
    follows from the compute of the author's search with the same settings.

    Args:
        arch: the search space on its array.
        settings: of the run.
        train: the training images, which are split here.
    """

    STATE = ("losses",)

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch, self.settings = arch, settings
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.held_out = train.take(weights), train.take(rest)
        self.costs, pool = pool_of(arch, settings)
        self.tried = self._draw(pool, search_macs(arch, settings, len(weights), len(rest)))
        self.price = price_of(arch, settings, self.costs, self.tried)
        self.losses: list[float] = []

    def _draw(self, pool: Rows, macs: float) -> Rows:
        random = np.random.default_rng(generator(self.settings.seed, "random search").initial_seed())
        order = random.permutation(len(pool))
        each = macs_of(self.arch).of(pool[order]) * len(self.weight_data) * self.settings.finalist_epochs
        count = max(1, int(np.searchsorted(each.cumsum(), macs, side="right")))
        return pool[order[:count]]

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Networks to train."""
        return len(self.tried)

    @property
    def step(self) -> int:  # type: ignore[override]
        """Networks trained."""
        return len(self.losses)

    def run_epoch(self) -> Record:
        """Trains one network; returns its log record."""
        choice = self.costs.choice(self.tried[len(self.losses)])
        short = dataclasses.replace(self.settings, train_epochs=self.settings.finalist_epochs)
        loss, accuracy = trial(Training(self.arch, choice, short, self.weight_data), self.held_out)
        self.losses.append(loss)
        best = self.derived()
        cycles = float(self.costs.of(self.costs.rows([best]))[0])
        record = {"part": "random", "epoch": len(self.losses), "tried": choice, "loss": loss, "accuracy": accuracy}
        return record | {"choice": best, "exact_cycles": cycles}

    def derived(self) -> dict[str, int]:
        """The best so far."""
        worth = np.array(self.losses) + self.price[: len(self.losses)]
        return self.costs.choice(self.tried[int(worth.argmin())])


class MostMacs(Resumable):
    """No search: the network within the exact limit with the most multiply-accumulates, and with fewer cycles in a tie.

    It needs a target: without a limit it is the largest network.

    >>> from nas_plugin import load_arch_def
    >>> from nas_plugin.data import CUT, load
    >>> arch = load_arch_def()
    >>> train, _ = load(CUT, classes=10, shape=(28, 28))
    >>> MostMacs(arch, SearchSettings(CUT, target="0.5"), train).derived()["conv2.width"]
    16
    """

    steps = step = 0

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.costs, self.pool = pool_of(arch, settings)
        self.macs = macs_of(arch).of(self.pool)

    def run_epoch(self) -> Record:
        """Raises RunError, as there are no steps."""
        raise RunError("most-macs has no steps")

    def derived(self) -> dict[str, int]:
        """The network."""
        order = np.lexsort((self.costs.of(self.pool), -self.macs))
        return self.costs.choice(self.pool[order[0]])
