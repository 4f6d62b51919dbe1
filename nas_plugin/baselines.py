"""Rivals that a search has to beat: networks drawn at random at equal compute, and no search at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_plugin.arch_def import ArchDef
from nas_plugin.candidates import Rows, macs_of
from nas_plugin.data import Dataset, split
from nas_plugin.errors import RunError
from nas_plugin.one_shot import pool_of, price_of
from nas_plugin.settings import Settings, generator
from nas_plugin.training import Record, trial

__all__ = ["MostMacs", "RandomSearch", "search_macs"]


def search_macs(arch: ArchDef, settings: Settings, weight_images: int, alpha_images: int) -> float:
    """Multiply-accumulates of the forward passes of the author's search: the compute that a random search may use.

    Each image costs what the widest network costs; a training step is about three forward passes in both, so the factor
    falls out.
    """
    widest = macs_of(arch)
    each = float(widest.of(widest.rows([{name: sizes[-1] for name, sizes in arch.decisions.items()}]))[0])
    images = settings.epochs * weight_images + max(settings.epochs - settings.weight_only_epochs, 0) * alpha_images
    return each * images


class RandomSearch:
    """Trains networks drawn from those that the one-shot search chooses among, and takes the one that does best.

    Each is trained for ``finalist_epochs`` on the images for the weights and scored on the held-out ones. Their number
    follows from the compute of the author's search with the same settings.

    Args:
        arch: the search space on its array.
        settings: of the run.
        train: the training images, which are split here.
    """

    def __init__(self, arch: ArchDef, settings: Settings, train: Dataset) -> None:
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
    def steps(self) -> int:
        """Networks to train."""
        return len(self.tried)

    @property
    def done(self) -> bool:
        """Whether all are trained."""
        return len(self.losses) >= self.steps

    def run_epoch(self) -> Record:
        """Trains one network; returns what is logged of it."""
        choice = self.costs.choice(self.tried[len(self.losses)])
        short = dataclasses.replace(self.settings, train_epochs=self.settings.finalist_epochs)
        loss, accuracy = trial(self.arch, choice, short, self.weight_data, self.held_out)
        self.losses.append(loss)
        best = self.derived()
        cycles = float(self.costs.of(self.costs.rows([best]))[0])
        record = {"part": "random", "epoch": len(self.losses), "tried": choice, "loss": loss, "accuracy": accuracy}
        return record | {"choice": best, "exact_cycles": cycles}

    def derived(self) -> dict[str, int]:
        """The best so far."""
        worth = np.array(self.losses) + self.price[: len(self.losses)]
        return self.costs.choice(self.tried[int(worth.argmin())])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest depends on."""
        return {"losses": list(self.losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.losses = list(state["losses"])


class MostMacs:
    """No search: of the networks within the exact limit the one with the most multiply-accumulates.

    Among equals the one with fewer cycles. It needs a target: without a limit it is the largest network.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> from nas_plugin.data import CUT, load
    >>> arch = load_arch_def()
    >>> train, _ = load(CUT, classes=10, shape=(28, 28))
    >>> MostMacs(arch, Settings(CUT, target="0.5"), train).derived()["conv2.width"]
    16
    """

    steps = 0
    done = True

    def __init__(self, arch: ArchDef, settings: Settings, train: Dataset) -> None:
        self.costs, self.pool = pool_of(arch, settings)
        self.macs = macs_of(arch).of(self.pool)

    def run_epoch(self) -> Record:
        """There is none.

        Raises:
            RunError: always.
        """
        raise RunError("most-macs has no steps")

    def derived(self) -> dict[str, int]:
        """The network."""
        order = np.lexsort((self.costs.of(self.pool), -self.macs))
        return self.costs.choice(self.pool[order[0]])

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""
