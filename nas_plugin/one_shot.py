"""One super-network for every array and every limit: trained once, then asked which network within a limit is best.

The super-network holds one weight tensor a block; a network is its first channels and the centre of its kernels, with
no gates and no alpha. Training follows the sandwich rule: each step trains the widest network on the labels, and the
narrowest and two random ones on the labels and on the widest one's soft output. Its weights then rank networks without
any training. What is searched are the networks within the exact limit that use all that their cycles pay for.

Sources: Yu and Huang, Universally slimmable networks, ICCV 2019 (sandwich rule, in-place distillation); Cai et al.,
Once-for-all, ICLR 2020 (nested kernels).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nas_plugin.arch_def import ArchDef
from nas_plugin.candidates import Costs, Rows, macs_of, reference_cycles, tread_ends, within
from nas_plugin.data import Dataset, split
from nas_plugin.networks import Network, SuperNetwork
from nas_plugin.settings import Settings, generator
from nas_plugin.targets import LEAST, Target
from nas_plugin.training import Epochs, Record, batches, held_out, seeded, trial

__all__ = ["OneShotSearch", "SuperNetworkTraining", "pool_of", "price_of"]

ROUND = 30
"""Networks that are scored before the guess at all others is made anew."""
LARGEST = 1.5
"""Without a target, networks up to so many times the reference's cycles are looked at."""
RIDGE = 1e-2
APART = 0.5
"""How far apart, in standard deviations of the candidates' log sizes, networks are that are looked at together.

Without it one family of near-equal networks takes all places, and another that would do better after training is never
looked at.
"""
SECOND = 4
"""So many networks come to the second final; all but one of the places are for the best of different kernels."""
GENTLE = 0.4
"""The learning rate of fine-tuning, in units of a training's."""


class SuperNetworkTraining(Epochs):
    """The training of a super-network by the sandwich rule. It knows nothing of arrays and limits.

    Args:
        arch: the search space.
        settings: of the run.
        train: its images; those for the weights are taken here.
    """

    def __init__(self, arch: ArchDef, settings: Settings, train: Dataset) -> None:
        self.arch = arch
        weights, rest = split(len(train), settings.seed, settings.share)
        self.weight_data, self.held_out = train.take(weights), train.take(rest)
        self.network: SuperNetwork = seeded(settings.seed, "search", lambda: SuperNetwork(arch))
        super().__init__(self.network, settings, self.weight_data, settings.epochs)
        costs = Costs(arch)
        self.widest = {name: sizes[-1] for name, sizes in costs.sizes.items()}
        self.narrowest = {name: sizes[0] for name, sizes in costs.sizes.items()}
        self._sizes = costs.sizes

    def run_epoch(self) -> Record:
        """One epoch; returns what is logged of it."""
        random = generator(self.settings.seed, "super-network", self.epoch)
        totals = np.zeros(3)
        for step, (images, labels) in enumerate(batches(self.weight_data, self.settings.batch, random)):
            losses = self._losses(images, labels, random)
            self.descent.step(torch.stack(losses).sum(), self.epoch * self.batches + step)
            widest, narrowest, *others = (float(loss.detach()) for loss in losses)
            totals += np.array([widest, narrowest, sum(others) / len(others)]) * len(labels)
        self.epoch += 1
        means = dict(zip(("widest", "narrowest", "random"), (totals / len(self.weight_data)).tolist(), strict=True))
        known = {name: min(size, self.widest[name]) for name, size in self.arch.reference.items()}
        reference = held_out(lambda images: self.network.at(images, known), self.held_out)
        return {"part": "super-network", "epoch": self.epoch, "losses": means, "accuracy": reference[1]}

    def _losses(self, images: Tensor, labels: Tensor, random: torch.Generator) -> list[Tensor]:
        widest = self.network.at(images, self.widest)
        soft = widest.detach().softmax(1)
        losses = [F.cross_entropy(widest, labels)]
        for choice in (self.narrowest, self._random(random), self._random(random)):
            logits = self.network.at(images, choice)
            losses.append((F.cross_entropy(logits, labels) + F.cross_entropy(logits, soft)) / 2)
        return losses

    def _random(self, random: torch.Generator) -> dict[str, int]:
        draws = torch.rand(len(self._sizes), generator=random).tolist()
        sizes = self._sizes.items()
        return {name: s[min(int(u * len(s)), len(s) - 1)] for u, (name, s) in zip(draws, sizes, strict=True)}


def pool_of(arch: ArchDef, settings: Settings) -> tuple[Costs, Rows]:
    """The networks to choose among: within the target, or without one up to some cycles; all of them saturated."""
    costs = Costs(arch)
    if settings.target is None:
        limit, least = LARGEST * reference_cycles(arch), 0.0
    else:
        limit = Target.parse(settings.target).cycles(arch)
        least = LEAST * limit
    rows = within(costs, tread_ends(costs), limit, least=least)
    return costs, np.unique(costs.saturated(rows), axis=0)


def price_of(arch: ArchDef, settings: Settings, costs: Costs, rows: Rows) -> NDArray[np.float64]:
    """Lambda * latency of networks, reference = 1, which is added to their loss; nothing where a target limits it."""
    if settings.target is not None:
        return np.zeros(len(rows))
    price: NDArray[np.float64] = settings.weight * costs.of(rows) / reference_cycles(arch)
    return price


class OneShotSearch:
    """Trains a super-network, scores networks with its weights, lets the best meet in two finals, and takes the best.

    Which networks are scored is guided: after each round a quadratic form in the logarithms of the sizes is fitted to
    the scores so far, and the next ones are mostly those that it says are best, in turn for every set of kernels. The
    first final fine-tunes the best, on from the super-network's weights: all begin alike, which is meant to tell
    near-equal networks of one set of kernels apart. Sets of kernels are not compared by that, for the shared weights
    fit some better than others: the best of the best sets come to the second final, which trains them from scratch, as
    the winner will be. What counts is L_data on the held-out images, plus lambda * latency where there is no target.

    Args:
        arch: the search space on its array.
        settings: of the run.
        train: the training images, which are split here.
        weights: of a super-network that was trained before with the same seed; None trains one.
    """

    def __init__(
        self, arch: ArchDef, settings: Settings, train: Dataset, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        self.arch, self.settings = arch, settings
        self.training = SuperNetworkTraining(arch, settings, train)
        if weights is not None:
            self.training.network.load_state_dict(weights)
            self.training.epoch = settings.epochs
        self._skipped = settings.epochs if weights is not None else 0
        self.costs, self.pool = pool_of(arch, settings)
        self.price = price_of(arch, settings, self.costs, self.pool)
        self._x = _standardised(self.pool)
        kernels = np.delete(self.pool, self.costs.widths, axis=1)
        self._family = np.unique(kernels, axis=0, return_inverse=True)[1].reshape(-1)
        self.losses: dict[int, float] = {}
        """Held-out loss by place in the pool, with the super-network's weights."""
        self.finals: dict[int, float] = {}
        """The same of the finalists, after fine-tuning."""
        self.seconds: dict[int, float] = {}
        """The same of those in the second final, after a training from scratch."""

    @property
    def _scored(self) -> int:
        return min(self.settings.candidates, len(self.pool))

    @property
    def _rounds(self) -> int:
        return -(-self._scored // ROUND)

    @property
    def _finalists(self) -> int:
        count = min(self.settings.finalists, self._scored)
        return count if count > 1 else 0

    @property
    def _tuned(self) -> int:
        """Of so few finalists that all come to the second final none is fine-tuned."""
        return self._finalists if self._finalists > SECOND else 0

    @property
    def _second(self) -> int:
        return min(SECOND, self._finalists)

    @property
    def steps(self) -> int:
        """Epochs of the super-network, rounds of scoring, and networks of the finals."""
        return self.settings.epochs - self._skipped + self._rounds + self._tuned + self._second

    @property
    def step(self) -> int:
        """How many of them are done."""
        rounds = -(-len(self.losses) // ROUND)
        return self.training.epoch - self._skipped + rounds + len(self.finals) + len(self.seconds)

    @property
    def done(self) -> bool:
        """Whether the best is known."""
        return self.step >= self.steps

    def run_epoch(self) -> Record:
        """An epoch of the super-network, a round of scores, or one network of a final; returns what is logged of it."""
        if not self.training.done:
            record = self.training.run_epoch()
        elif len(self.losses) < self._scored:
            record = self._score_round()
        elif len(self.finals) < self._tuned:
            record = self._tune(self._first_final()[len(self.finals)])
        else:
            record = self._train(self._second_final()[len(self.seconds)])
        return record | {"epoch": self.step}

    def _score_round(self) -> Record:
        number = len(self.losses) // ROUND
        random = np.random.default_rng(generator(self.settings.seed, "candidates", number).initial_seed())
        places = self._next(random, min(ROUND, self._scored - len(self.losses)))
        for place in places:
            network = functools.partial(self.training.network.at, choice=self.costs.choice(self.pool[place]))
            self.losses[place] = held_out(network, self.training.held_out)[0]
        return {"part": "scores", "scored": len(self.losses), "of": len(self.pool)} | self._best(self.losses)

    def _next(self, random: np.random.Generator, count: int) -> list[int]:
        """Places to score: at first the largest networks and random ones, then those that the fit says are best."""
        fresh = np.setdiff1d(np.arange(len(self.pool)), np.fromiter(self.losses, dtype=np.int64))
        if self.losses:
            worth = self._predicted()[fresh] + self.price[fresh]
            lead = count - count // 5
        else:
            macs = macs_of(self.arch)
            worth = -macs.of(self.pool[fresh])
            lead = count // 2
        first = self._apart(self._dealt(fresh[np.argsort(worth, kind="stable")]), lead)
        rest = np.setdiff1d(fresh, first)
        return [*first.tolist(), *random.choice(rest, min(count - len(first), len(rest)), replace=False).tolist()]

    def _predicted(self) -> NDArray[np.float64]:
        """The held-out loss of the whole pool, by ridge regression on a quadratic form of the scores so far."""
        x = self._x
        pairs = np.triu_indices(x.shape[1])
        features = np.concatenate([x, x[:, pairs[0]] * x[:, pairs[1]]], axis=1)
        seen, scores = list(self.losses), np.array(list(self.losses.values()))
        middle = scores.mean()
        a = features[seen] - features[seen].mean(axis=0)
        ridge = RIDGE * len(seen) * np.eye(a.shape[1])
        slopes = np.linalg.solve(a.T @ a + ridge, a.T @ (scores - middle))
        predicted: NDArray[np.float64] = middle + (features - features[seen].mean(axis=0)) @ slopes
        return predicted

    def _dealt(self, ranked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ranked places, the first of every set of kernels, then the second of every set, and so on.

        A super-network that likes some kernels less than others errs about all of their networks alike; each set is
        therefore scored, and the best of each can come to the finals.
        """
        families = self._family[ranked]
        turn = np.zeros(len(ranked), dtype=np.int64)
        for family in np.unique(families):
            turn[families == family] = np.arange((families == family).sum())
        dealt: NDArray[np.int64] = ranked[np.argsort(turn, kind="stable")]
        return dealt

    def _apart(self, ranked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The first ``count`` of ranked places that are apart from each other, filled up with the first of the rest."""
        left = ranked
        picked: list[int] = []
        while len(left) and len(picked) < count:
            picked.append(int(left[0]))
            left = left[np.linalg.norm(self._x[left] - self._x[left[0]], axis=1) >= APART]
        rest = ranked[~np.isin(ranked, picked)][: count - len(picked)]
        return np.array([*picked, *rest.tolist()], dtype=np.int64)

    def _order(self, losses: Mapping[int, float]) -> NDArray[np.int64]:
        """Places from best to worst."""
        return np.array(sorted(losses, key=lambda place: (losses[place] + self.price[place], place)), dtype=np.int64)

    def _best(self, losses: Mapping[int, float]) -> Record:
        best = int(self._order(losses)[0])
        row = self.pool[best]
        cycles = float(self.costs.of(row[None])[0])
        return {"choice": self.costs.choice(row), "held_out_loss": losses[best], "exact_cycles": cycles}

    def _tune(self, place: int) -> Record:
        """A fine-tuning of the first final."""
        settings = self.settings
        gentle = dataclasses.replace(settings, train_epochs=settings.finalist_epochs, lr=GENTLE * settings.lr)
        start = self.training.network.slice(self.costs.choice(self.pool[place]))
        return {"part": "fine-tuning"} | self._trial(place, gentle, self.finals, start)

    def _train(self, place: int) -> Record:
        """A training of the second final."""
        return {"part": "trial"} | self._trial(place, self.settings, self.seconds)

    def _trial(self, place: int, settings: Settings, losses: dict[int, float], start: Network | None = None) -> Record:
        choice, images = self.costs.choice(self.pool[place]), self.training
        loss, accuracy = trial(self.arch, choice, settings, images.weight_data, images.held_out, start)
        losses[place] = loss
        tried = {"accuracy": accuracy, "tried": choice, "loss": loss, "epochs": settings.train_epochs}
        return tried | self._best(losses)

    def _first_final(self) -> list[int]:
        """By score the best of each set of kernels, then those that are apart from each other, then what fills up.

        The best of a set come first in at most half of the places.
        """
        ranked = self._leaders_first(self._order(self.losses), -(-self._finalists // 2))
        places: list[int] = self._apart(ranked, self._finalists).tolist()
        return places

    def _second_final(self) -> list[int]:
        """The best of each of the three best sets of kernels, then the next."""
        if not self._tuned:
            return self._first_final()
        places: list[int] = self._leaders_first(self._order(self.finals), SECOND - 1)[: self._second].tolist()
        return places

    def _leaders_first(self, ranked: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Ranked places, the first of each set of kernels before all others, but of no more sets than ``most``."""
        leaders = np.sort(np.unique(self._family[ranked], return_index=True)[1])[:most]
        return np.concatenate([ranked[leaders], np.delete(ranked, leaders)])

    def derived(self) -> dict[str, int]:
        """The best of the second final; where there are no finals, the best of the scored networks."""
        return self.costs.choice(self.pool[int(self._order(self.seconds or self.losses)[0])])

    def scores(self) -> list[dict[str, Any]]:
        """Every network that was scored: choice, exact cycles, held-out losses by its score and in the finals."""
        cycles = self.costs.of(self.pool)
        return [
            {
                "choice": self.costs.choice(self.pool[place]),
                "cycles": float(cycles[place]),
                "held_out_loss": loss,
                "tuned_loss": self.finals.get(place),
                "trained_loss": self.seconds.get(place),
            }
            for place, loss in self.losses.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on."""
        scores = {"losses": dict(self.losses), "finals": dict(self.finals), "seconds": dict(self.seconds)}
        return {"training": self.training.state_dict()} | scores

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`state_dict` was taken."""
        self.training.load_state_dict(state["training"])
        for name in ("losses", "finals", "seconds"):
            setattr(self, name, dict(state[name]))


def _standardised(pool: Rows) -> NDArray[np.float64]:
    """The logarithms of the sizes, each column in standard deviations; columns in which all agree are left out."""
    logs = np.log(pool)
    spread = logs.std(axis=0)
    x: NDArray[np.float64] = (logs - logs.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    return x
