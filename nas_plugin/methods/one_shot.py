"""One super-network for every array and every limit: trained once, then asked which network within a limit is best.

What is searched are the networks within the exact limit that use all that their cycles pay for.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hwcost.network.limits import FILL
from hwcost.torch.lookup import Costs, Rows, within
from hwcost.torch.ranking import apart, predicted
from nas_plugin.images import Dataset
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.training import Record, Resumable, SuperNetworkTraining, Training, generator, held_out
from nas_plugin.space.arch_def import ArchDef, Choice

__all__ = ["OneShotSearch", "pool_of", "ranked_by"]

ROUND = 30  # networks that are scored before all others are predicted again
LARGEST = 1.5  # without a target, candidates take up to this many times the reference's cycles
GENTLE = 0.4  # the learning rate of fine-tuning, in units of a training's


def pool_of(arch: ArchDef, settings: SearchSettings) -> tuple[Costs, Rows, NDArray[np.float64]]:
    """The candidates, and lambda * latency to add to their loss (reference = 1), which is 0 with a target.

    They are within the target, or else up to a limit on cycles, and none of their widths can grow for free.
    """
    costs, reference, target = arch.costs(), arch.reference_cycles, settings.target
    limit = LARGEST * reference if target is None else arch.limit(target)
    least, weight = (0.0, settings.weight) if target is None else (FILL * limit, 0.0)
    pool = np.unique(costs.saturated(within(costs, costs.tread_ends(), limit, least=least)), axis=0)
    return costs, pool, weight * costs.of(pool) / reference


def ranked_by(settings: SearchSettings) -> str:
    """What the candidates are ranked by, in words."""
    return "held-out loss + lambda * latency" if settings.target is None else "held-out loss"


class OneShotSearch(Resumable):
    """Trains a super-network, scores networks with its weights, lets the best meet in two finals, and takes the best.

    After each round of scores a quadratic form in the logarithms of the sizes is fitted to them, and the next round
    takes mostly the networks that it predicts to be best, in turn for every set of kernels. The first final fine-tunes
    the best from the super-network's weights, which does not compare sets of kernels, since these weights fit some
    better than others. So the best of the best sets reach the second final, which trains them from scratch. What counts
    is L_data on the held-out images, plus lambda * latency if there is no target.

    ``weights`` are those of a super-network trained with the same seed; None trains one.
    """

    TRAINING: ClassVar[type[SuperNetworkTraining]] = SuperNetworkTraining
    SECOND = 4  # networks of the second final; all but one of the places are for the best of different kernels
    STATE = ("step", "training", "losses", "finetuned_losses", "scratch_losses")

    def __init__(
        self, arch: ArchDef, settings: SearchSettings, train: Dataset, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        self.arch, self.settings = arch, settings
        self.training = self.TRAINING(arch, settings, train)
        if weights is not None:
            self.training.network.load_state_dict(weights)
            self.training.step = settings.epochs
        self.costs, self.pool, self.price = pool_of(arch, settings)
        logs = np.log(self.pool)
        spread = logs.std(axis=0)
        self._x = (logs - logs.mean(axis=0))[:, spread > 0] / spread[spread > 0]  # standardised
        kernels = np.delete(self.pool, self.costs.widths, axis=1)
        self._family = np.unique(kernels, axis=0, return_inverse=True)[1].reshape(-1)
        self.losses: dict[int, float] = {}  # held-out, by place in the pool, with the super-network's weights
        self.finetuned_losses: dict[int, float] = {}  # in the first final
        self.scratch_losses: dict[int, float] = {}  # in the second final
        self._scored = min(settings.candidates, len(self.pool))
        finalists = min(settings.finalists, self._scored)
        self._finalists = finalists if finalists > 1 else 0
        self._tuned = self._finalists if self._finalists > self.SECOND else 0  # else all reach the second final anyway
        self._second = min(self.SECOND, self._finalists)
        epochs = settings.epochs - self.training.step
        self.steps, self.step = epochs + -(-self._scored // ROUND) + self._tuned + self._second, 0

    def run_epoch(self) -> Record:
        """Runs an epoch of the super-network, a round of scores, or one network of a final; returns its log record."""
        if not self.training.done:
            record = self.training.run_epoch()
        elif len(self.losses) < self._scored:
            record = self._score_round()
        elif len(self.finetuned_losses) < self._tuned:
            epochs, lr = self.settings.finalist_epochs, GENTLE * self.settings.lr
            gentle = dataclasses.replace(self.settings, train_epochs=epochs, lr=lr)
            record = self._trial("fine-tuning", int(self._first_final()[len(self.finetuned_losses)]), gentle)
        else:
            record = self._trial("trial", int(self._second_final()[len(self.scratch_losses)]), self.settings)
        self.step += 1
        return record | {"epoch": self.step}

    def _score_round(self) -> Record:
        seed = generator(self.settings.seed, "candidates", len(self.losses) // ROUND).initial_seed()
        random = np.random.default_rng(seed)
        for place in self._next(random, min(ROUND, self._scored - len(self.losses))):
            self.losses[place] = self.score(self.costs.choice(self.pool[place]))
        return {"part": "scores", "scored": len(self.losses), "of": len(self.pool)} | self._best(self.losses)

    def score(self, choice: Choice) -> float:
        """The held-out loss of a network in nats, with the super-network's weights."""
        return held_out(functools.partial(self.training.network.at, choice=choice), self.training.held_out)[0]

    def _next(self, random: np.random.Generator, count: int) -> list[int]:
        """Places to score: at first the largest networks and random ones, then those predicted to be best."""
        fresh = np.setdiff1d(np.arange(len(self.pool)), np.fromiter(self.losses, dtype=np.int64))
        if self.losses:
            worth, lead = self._predicted()[fresh] + self.price[fresh], count - count // 5
        else:
            worth, lead = -self.arch.macs.of(self.pool[fresh]), count // 2
        first = apart(self._dealt(fresh[np.argsort(worth, kind="stable")]), self._x, lead)
        rest = np.setdiff1d(fresh, first)
        return [*first.tolist(), *random.choice(rest, min(count - len(first), len(rest)), replace=False).tolist()]

    def _predicted(self) -> NDArray[np.float64]:
        """The held-out loss of the whole pool, by the scores so far."""
        return predicted(self._x, list(self.losses), np.array(list(self.losses.values())))

    def _dealt(self, ranked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ranked places, the first of every set of kernels, then the second of every set, and so on.

        A super-network that favours some kernels errs about all of their networks alike; so each set is scored, and
        the best of each can reach the finals.
        """
        families = self._family[ranked]
        turn = np.zeros(len(ranked), dtype=np.int64)
        for family in np.unique(families):
            turn[families == family] = np.arange((families == family).sum())
        return np.take(ranked, np.argsort(turn, kind="stable"))

    def _order(self, losses: Mapping[int, float]) -> NDArray[np.int64]:
        """Places from best to worst."""
        return np.array(sorted(losses, key=lambda place: (losses[place] + self.price[place], place)), dtype=np.int64)

    def _best(self, losses: Mapping[int, float]) -> Record:
        best = int(self._order(losses)[0])
        choice, objective = self.costs.choice(self.pool[best]), losses[best] + float(self.price[best])
        found = {"choice": choice, "held_out_loss": losses[best], "exact_cycles": self.costs.one(choice)}
        return found | {"best_objective": objective, "ranked_by": ranked_by(self.settings)}

    def _trial(self, part: str, place: int, settings: SearchSettings) -> Record:
        """Trains one network of a final, from the super-network's weights or from scratch."""
        choice, tunes = self.costs.choice(self.pool[place]), part == "fine-tuning"
        losses = self.finetuned_losses if tunes else self.scratch_losses
        losses[place], accuracy = self._training(choice, settings, tunes).finish(self.training.held_out)
        tried = {"part": part, "accuracy": accuracy, "tried": choice, "loss": losses[place]}
        tried |= {"objective": losses[place] + float(self.price[place]), "epochs": settings.train_epochs}
        return tried | self._best(losses)

    def _training(self, choice: Choice, settings: SearchSettings, tunes: bool) -> Training:
        start = self.training.network.slice(choice) if tunes else None
        return Training(self.arch, choice, settings, self.training.weight_data, start)

    def _first_final(self) -> NDArray[np.int64]:
        """By score: the best of each set of kernels for up to half of the places, then others that are apart."""
        return apart(self._leaders_first(self._order(self.losses), -(-self._finalists // 2)), self._x, self._finalists)

    def _second_final(self) -> NDArray[np.int64]:
        """The best of each of the three best sets of kernels, then the next."""
        if not self._tuned:
            return self._first_final()
        return self._leaders_first(self._order(self.finetuned_losses), self.SECOND - 1)[: self._second]

    def _leaders_first(self, ranked: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Ranked places with the first of each set of kernels, for up to ``most`` sets, before all others."""
        leaders = np.sort(np.unique(self._family[ranked], return_index=True)[1])[:most]
        return np.concatenate([ranked[leaders], np.delete(ranked, leaders)])

    def derived(self) -> dict[str, int]:
        """The best of the last final, or of the scored networks if there are no finals."""
        losses = self.scratch_losses or self.finetuned_losses or self.losses
        return self.costs.choice(self.pool[int(self._order(losses)[0])])

    def scores(self) -> list[dict[str, Any]]:
        """Every network that was scored: choice, exact cycles, held-out losses by its score and in the finals."""
        tuned, trained, cycles = self.finetuned_losses, self.scratch_losses, self.costs.of(self.pool)
        return [
            {"choice": self.costs.choice(self.pool[place]), "cycles": float(cycles[place]), "held_out_loss": loss}
            | {"lambda_latency": float(self.price[place]), "ranked_by": ranked_by(self.settings)}
            | {"tuned_loss": tuned.get(place), "trained_loss": trained.get(place)}
            for place, loss in self.losses.items()
        ]
