"""One training for many limits: a super-network over any module, and the best part of it within each limit."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import nn

from hwcost.advice.tables import Allowed, CostSource, Figures, candidates, changeable, check_source
from hwcost.errors import InvalidValueError
from hwcost.importers.torch.resize import cut_in_place
from hwcost.machine.array import SystolicArray
from hwcost.network.channels import Channels
from hwcost.network.limits import FILL
from hwcost.network.network import Network
from hwcost.network.operations import whole
from hwcost.pruning.batches import Batch, Loss, Task, seed_of
from hwcost.pruning.beginning import begun, check_scored, notes_of, read, read_within
from hwcost.pruning.building import Open, Problem, built, settings_of, with_stages
from hwcost.pruning.candidates import Pool, Sizes, lowest
from hwcost.pruning.choosing import check_floor, choose, effort_of, stairs
from hwcost.pruning.curves import best_channels, measured_values, sizes_to_measure
from hwcost.pruning.folder import Losses
from hwcost.pruning.norms import of_the_batch
from hwcost.pruning.result import Pruned
from hwcost.pruning.sharing import SharedTuning
from hwcost.pruning.slicing import Sliced
from hwcost.pruning.tuning import MakeOptimizer
from hwcost.pruning.valuing import EXAMPLES, STAIRS, Work, of_at_most
from hwcost.pruning.weights import weights_digest

__all__ = ["SuperNet", "supernet"]

_OF_SETS = "sizes "


def supernet(
    model: nn.Module,
    example_inputs: Any,
    *,
    data: Iterable[Any],
    loss: Loss = F.cross_entropy,
    held_out: Iterable[Any] | None = None,
    epochs: int = 3,
    importance: Any = "taylor",
    keep: Sequence[str] = (),
    least: float = 0.25,
    multiple: int = 1,
    distil: float = 0.7,
    optimizer: MakeOptimizer | None = None,
    seed: int = 0,
    name: str | None = None,
    known_losses: Losses | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> SuperNet:
    """Trains a module together with its parts, so that each of them works without a training of its own.

    It starts from trained weights. No array and no limit is known in the training; :meth:`SuperNet.within` then finds
    the best part within each. For one limit try :func:`prune` with fine-tuning first, which puts all training into one
    network; this is for many.

    Args:
        model: a trained module; it is not changed.
        example_inputs: as for :func:`prune`.
        data, loss, held_out: as for :func:`prune`.
        epochs: passes over the data. In each step three networks learn: all of the module, the smallest part of it and
            a random one.
        importance: which channels stay in smaller parts: "taylor", "magnitude", "norm", or scores, as for
            :func:`prune`.
        keep: names of widths, or of modules whose widths stay.
        least: the smallest share of a width that a part has.
        multiple: sizes of parts are multiples of this number.
        distil: the share of the loss of parts that is the distance of their outputs to those of all of the module.
        optimizer: from parameters to an optimizer, as for :meth:`Pruned.fine_tune`.
        seed: of the order of data, and of the parts that are trained.
        name: of the network.
        known_losses: losses that were measured before, to which new ones are added.
        checkpoint: a file to write after each epoch. If it is there already, the training goes on from it, and ends
            with the same bits.
        progress: called with the number of batches done and that of all.

    Raises:
        InvalidValueError: as :func:`prune`; a checkpoint that is damaged or of another training.

    >>> import torch
    >>> from hwcost import SystolicArray
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    >>> batches = [(torch.randn(16, 8), torch.randint(2, (16,))) for _ in range(4)]
    >>> shared = supernet(model, torch.zeros(1, 8), data=batches, epochs=1)
    >>> found = [shared.within(SystolicArray(4, 4), target=share, candidates=8) for share in (0.75, 0.5)]
    >>> [each.report.after.cycles <= share * each.report.before.cycles for each, share in zip(found, (0.75, 0.5))]
    [True, True]
    """
    network = read(model, example_inputs, name)
    check_source(network, SystolicArray(1, 1), skip_unsupported=False)
    of_scores, seed, task = check_scored(model, importance), seed_of(seed), Task(data, loss)
    work = Work(model, network, task, seed)
    own, held, notes, scores, _ = begun(
        work,
        example_inputs,
        Allowed.checked(multiple, least, keep),
        lambda allowed: _grid(network, allowed),
        lambda names: importance,
        loss,
        held_out,
    )
    settings = settings_of(
        model, own.allowed, keep, importance=of_scores, seed=seed, epochs=epochs, distil=distil, method="super-network"
    )
    shared = copy.deepcopy(model)
    known = {} if known_losses is None else known_losses
    found = SuperNet(shared, model, network, example_inputs, scores)
    found._search = _Search(own, work, task, held, notes, settings, known)
    tuning = SharedTuning(
        shared, found.part, own.options, task, epochs, distil=distil, make_optimizer=optimizer, seed=seed
    )
    identity = tuning.identity | {"importance": of_scores}
    if checkpoint is not None:
        more = {name: (sizes.tolist(), scores[name].tolist()) for name, sizes in own.options.items()}
        identity["weights"] = weights_digest(model, more)
    tuning.run(checkpoint, identity, progress)
    found._measured_with = weights_digest(shared)
    return found


def _grid(network: Network, allowed: Allowed) -> dict[str, Figures]:
    """The sizes of every width that may change."""
    any_array = SystolicArray(1, 1)
    found = {
        name: candidates(network, name, network.widths[name].size, allowed, any_array)
        for name in changeable(network, allowed.keep)
    }
    return {name: sizes for name, sizes in found.items() if len(sizes) > 1}


class _Search(NamedTuple):
    """What the search for parts needs: the widths that change, the task, and losses that are known."""

    own: Open
    work: Work
    task: Task
    held_out: Sequence[Batch]
    notes: Sequence[str]
    settings: Mapping[str, Any]
    known: Losses


@dataclass
class SuperNet:
    """A module that was trained together with its parts.

    Attributes:
        model: all of it, with the shared weights, in evaluation mode.
        original: the module that it began with, which is as it was.
        network: what was read from it.
        example_inputs: for one inference.
        scores: of the channels of each width; parts have the best ones.
    """

    model: nn.Module
    original: nn.Module
    network: Network
    example_inputs: Any = field(repr=False)
    scores: Mapping[str, Any] = field(repr=False)
    _search: _Search = field(init=False, repr=False)
    _measured_with: str = field(default="", init=False, repr=False)

    def part(self, sizes: Mapping[str, int]) -> Sliced:
        """The part with these sizes of widths; the others have today's. It shares the weights."""
        return Sliced(self.model, self.network, keep=self._kept(sizes))

    def _kept(self, sizes: Mapping[str, int]) -> dict[str, Channels]:
        """The channels of a part."""
        kept = {}
        for name, size in sizes.items():
            if name not in self.scores:
                raise InvalidValueError("sizes", name, f"widths that can change: {', '.join(self.scores)}")
            self.network.widths[name].check(size, f"sizes[{name!r}]")
            kept[name] = best_channels(self.scores[name], self.network.widths[name].multiple, size)
        return kept

    def loss_of(self, sizes: Mapping[str, int]) -> float:
        """The loss of a part on 500 held-out examples, with batch norms estimated anew; measured once."""
        self._forget_if_changed()
        return self._loss_of(sizes)

    def _forget_if_changed(self) -> None:
        """Forgets the losses of weights that were trained on since."""
        now = weights_digest(self.model)
        if now != self._measured_with:
            self._search.known.clear()
            self._measured_with = now

    def _loss_of(self, sizes: Mapping[str, int]) -> float:
        key = _OF_SETS + "-".join(str(sizes.get(name, self.network.widths[name].size)) for name in self.scores)
        known = self._search.known
        if key not in known:
            kept, some = self._kept(sizes), of_at_most(self._search.held_out, EXAMPLES)
            with cut_in_place(self.model, self.network, kept), of_the_batch(self.model):  # whatever batches do to norms
                known[key] = {0: self._search.task.measured(self.model, some).loss}
        return known[key][0]

    def within(
        self,
        array: CostSource | str,
        *,
        target: float | None = None,
        cycles: float | None = None,
        seconds: float | None = None,
        candidates: int = 60,
        effort: int = 300_000,
        progress: Callable[[int, int], Any] | None = None,
    ) -> Pruned:
        """The best part within an exact limit, as a module of its own that can be fine-tuned.

        The first candidate is that of the exact solver, by the loss with one width alone cut; half of the others are
        the best of many random ones by the same losses, and the rest is close to the best ones so far. All use at least
        97 % of the limit, if any sizes do. The candidate with the lowest held-out loss is taken.

        Args:
            array, target, cycles, seconds, effort: as for :func:`prune`.
            candidates: sets of sizes whose loss is measured.
            progress: called with the number of measurements done and that of all.

        Raises:
            InvalidValueError: a limit that widths cannot meet.
        """
        count = whole(candidates, "candidates")
        network, search = self.network, self._search
        allowed, task = search.own.allowed, search.task
        array, limit, device = read_within(network, array, target=target, cycles=cycles, seconds=seconds)
        effort = effort_of(effort)
        check_floor(network, array, limit, allowed)
        self._forget_if_changed()
        options = {name: own for name, own in stairs(network, array, allowed).items() if name in self.scores}
        measured = {name: sizes_to_measure(own, STAIRS) for name, own in options.items()}
        done, all_of_them = 0, 1 + sum(map(len, measured.values())) + count

        def advance(number: int) -> None:
            nonlocal done
            done += number
            if progress is not None:
                progress(done, all_of_them)

        some = of_at_most(search.held_out, EXAMPLES)
        worth = measured_values(self.model, network, self.scores, measured, task, some, advance, search.known)
        choice = choose(network, array, limit, allowed, worth, effort)

        def loss_of(sizes: Sizes) -> float:
            found = self._loss_of(dict(zip(options, sizes, strict=True)))
            advance(1)
            return found

        first = tuple(int(choice.sizes.get(name, network.widths[name].size)) for name in options)
        pool = Pool(options, network, array, limit.cycles, first)
        least = min(FILL * limit.cycles, choice.cycles)
        best = lowest(pool, first, least, worth, loss_of, count, int(search.settings["seed"]))
        sizes = {name: size for name, size in zip(options, best, strict=True) if size != network.widths[name].size}
        notes = [*notes_of(network, array), *search.notes]
        kept_by = search.own.kept_by
        problem = Problem(self.original, self.example_inputs, network, array, limit, kept_by, notes, device=device)
        result = built(
            problem, choice._replace(sizes=sizes, gap=None), self.scores, {**search.settings, "candidates": count},
            seed=search.work.seed, weights=copy.deepcopy(self.model),
        )  # fmt: skip
        return with_stages(result, search.work, search.held_out, task.loss, "part of the super-network")
