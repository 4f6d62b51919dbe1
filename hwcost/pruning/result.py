"""The result of a pruning: a smaller module, and the ways on from it."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hwcost.errors import InvalidValueError
from hwcost.importers.torch.resize import changed_numbers, cut_tensor
from hwcost.network.channels import Channels, staying
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Loss, Task, device_of, seeded
from hwcost.pruning.blocks import is_inside, network_without, without
from hwcost.pruning.norms import evaluated, re_estimate, re_estimate_if_better
from hwcost.pruning.optimizers import mapped
from hwcost.pruning.recipe import save_pruned
from hwcost.pruning.report import PruningReport, Stage
from hwcost.pruning.tuning import DISTIL, MakeOptimizer, Tuning
from hwcost.pruning.weights import weights_digest
from hwcost.tables import Documents, Records
from hwcost.units import plural

__all__ = ["Pruned"]

_MET = " is met already: nothing was cut"
_WORSE = "the teacher is worse than its pupil, and teaches nothing: fine-tuning is by labels alone"
_LAGS = "the teacher's batch norms lag behind its weights (torch.optim.swa_utils.update_bn before pruning mends it)"
_TRY = "try fewer epochs, a smaller learning rate or more data"
_WRAPPED = re.compile(r"^(?:module\.|_orig_mod\.)+")
_OF_AVERAGES = ("n_averaged",)


class _Start(NamedTuple):
    """What a fine-tuning began with: the digest of the weights, their held-out loss, notes on a teacher that is worse.

    Without notes the original teaches.
    """

    weights: str
    loss: float | None = None
    of_the_teacher: tuple[str, ...] = ()


@dataclass(repr=False)
class Pruned(Records):
    """A module that was pruned; prints as its report.

    Attributes:
        model: the smaller module, in evaluation mode.
        original: the module that was pruned, which is as it was.
        network: what was read from it.
        kept: for every width that was cut the channels of the original that stay.
        report: before and after; ``print(result.report)``.
        seed: of the fine-tuning.
        dropped: the blocks of the original that are not there any more; in their places modules pass on what they get.
    """

    model: nn.Module
    original: nn.Module
    network: Network
    kept: Mapping[str, Channels]
    report: PruningReport
    seed: int = 0
    dropped: tuple[str, ...] = ()
    _task: Task | None = field(default=None, init=False, repr=False)
    _held_out: tuple[Batch, ...] = field(default=(), init=False, repr=False)
    _starts: dict[str, _Start] = field(default_factory=dict, init=False, repr=False)
    _earlier: tuple[Pruned, ...] = field(default=(), init=False, repr=False)
    _whole: nn.Module | None = field(default=None, init=False, repr=False)

    def document(self) -> Documents:
        """That of the report."""
        return self.report.document()

    def records(self) -> list[dict[str, Any]]:
        """Those of the report."""
        return self.report.records()

    def lines(self) -> Iterator[str]:
        """Those of the report."""
        return self.report.lines()

    @property
    def in_words(self) -> str:
        """What was left of the cost on one line."""
        return self.report.in_words

    def _with_task(self, task: Task | None, held_out: Sequence[Batch]) -> Pruned:
        """This result, with the data and loss of the pruning, and the held-out examples."""
        self._task, self._held_out = task, tuple(held_out)
        return self

    def _cut_from(self, whole: nn.Module | None) -> Pruned:
        """This result as one whose weights were those of a module that was trained before it was cut."""
        self._whole = whole
        return self

    def _following(self, before: Pruned | None) -> Pruned:
        """This result as one that goes on from that of an earlier step."""
        self._earlier = () if before is None else (*before._earlier, before)
        return self

    def _unchanged(self, limit: Limit) -> Pruned:
        """This result for another limit, which is met already: a copy of the module as it is."""
        notes = [each for each in self.report.notes if not each.endswith(_MET)]
        report = replace(
            self.report, asked=limit.asked, limit=limit.cycles, notes=[*notes, f"{limit.asked}{_MET}"],
            stages=list(self.report.stages),
        )  # fmt: skip
        found = replace(self, model=copy.deepcopy(self.model), report=report)
        return found._with_task(self._task, self._held_out)._following(self)._cut_from(self._whole)

    @property
    def part(self) -> Network:
        """The network without the blocks that were dropped, with all widths as they were."""
        return network_without(self.network, self.dropped)

    @property
    def sizes(self) -> dict[str, int]:
        """The new size of every width that was cut."""
        return {name: len(channels) for name, channels in self.kept.items()}

    @property
    def changed_numbers(self) -> dict[str, dict[str, tuple[int, int]]]:
        """The numbers to change in the code of the model, by module: those before and after."""
        with without(self.original, self.dropped):
            return changed_numbers(self.original, self.model, self.network.numbers)

    def fine_tune(
        self,
        data: Any = None,
        epochs: int = 3,
        *,
        loss: Loss | None = None,
        distil: float | None = None,
        optimizer: MakeOptimizer | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], Any] | None = None,
        norms: bool = True,
    ) -> Pruned:
        """Trains the smaller module on labels and on the outputs of the original one; returns this result.

        The learning rate rises and falls once over all epochs. Held-out examples are measured before and after; if the
        loss on them is higher then, a note of the report says so.

        Args:
            data: batches, as for :func:`prune`; those of the pruning by default.
            epochs: passes over the data.
            loss: of outputs and targets; that of the pruning by default.
            distil: the share of the loss that is the distance of scores of classes to those of the original module;
                for other outputs it is not used. 0.7 by default, or 0 if the original is worse on the held-out
                examples than the module to train, which the report then says.
            optimizer: from parameters to an optimizer; SGD with momentum and a learning rate of 0.05 by default. Its
                learning rates are the largest of the schedule.
            checkpoint: a file to write after each epoch. If it is there already, the work goes on from it, and ends
                with the same weights as one that was not stopped.
            progress: called with the number of batches done and that of all.
            norms: whether batch norms are estimated anew in the end, over 16 batches, if that makes the loss on the
                held-out examples lower: after a short training their running statistics lag behind the weights.

        Raises:
            InvalidValueError: no data, data without a length, no parameter to train, a loss that is not finite, a
                checkpoint that is damaged, of another fine-tuning, or of one that began with other weights.
        """
        task = self._task_of(data, loss)
        tuning = Tuning(
            self.model, self.original, task, epochs, distil=DISTIL if distil is None else distil,
            make_optimizer=optimizer, seed=self.seed,
        )  # fmt: skip
        where = None if checkpoint is None else os.path.abspath(checkpoint)
        start = self._starts.get(where) if where is not None and os.path.exists(where) else None  # stopped before
        if start is None:
            start = self._start(task, "" if where is None else weights_digest(self.model))
        is_alone = distil is None and bool(start.of_the_teacher)
        if is_alone:
            tuning.without_teacher()
        identity: dict[str, Any] = {"epochs": epochs, "weights at the start": start.weights, **tuning.identity}
        if where is not None:
            self._starts[where] = start
            kept = {name: each.tolist() for name, each in self.kept.items()}
            identity |= {"channels": kept, "dropped": list(self.dropped)}
            identity |= {"teacher": tuning.teacher and weights_digest(tuning.teacher)}
        tuning.run(checkpoint, identity, progress)
        self._starts.pop(where or "", None)
        name = f"fine-tuned, {plural(epochs, 'epoch')}"
        if is_alone:
            name += ", on labels alone"
            self.report.notes += [each for each in start.of_the_teacher if each not in self.report.notes]
        if start.loss is not None:
            self._measure(name, task, start.loss, norms)
        return self

    def _task_of(self, data: Any, loss: Loss | None) -> Task:
        if data is None and self._task is None:
            raise InvalidValueError("data", data, "batches to train on: the pruning had none")
        if data is None:
            assert self._task is not None
            return self._task if loss is None else Task(self._task.data, loss)
        default = torch.nn.functional.cross_entropy if self._task is None else self._task.loss
        return Task(data, loss or default)

    def _start(self, task: Task, digest: str) -> _Start:
        """Where a fine-tuning begins, as measured now: an original with random weights may be worse than its pupil."""
        if not self._held_out:
            return _Start(digest)
        with evaluated(self.original), evaluated(self.model):
            teacher, pupil = (task.measured(each, self._held_out) for each in (self.original, self.model))
        if teacher.accuracy is None or teacher.loss <= pupil.loss:  # other outputs are not learnt
            return _Start(digest, pupil.loss)
        notes = [_WORSE]
        other = copy.deepcopy(self.original).eval()
        with self._batches_of_norms(task, other) as own:
            measured, is_new = re_estimate_if_better(other, own, teacher, lambda: task.measured(other, self._held_out))
        if is_new and measured.loss <= pupil.loss:
            notes.append(f"{_LAGS}: its held-out loss is {teacher.loss:.4f}, and {measured.loss:.4f} with new ones")
        return _Start(digest, pupil.loss, tuple(notes))

    def _measure(self, name: str, task: Task, before: float, norms: bool) -> None:
        """Adds a stage, after the norms were estimated anew if they may be and that is better."""
        measured, is_new = task.measured(self.model, self._held_out), False
        if norms:
            with self._batches_of_norms(task, self.model) as own:
                measured, is_new = re_estimate_if_better(
                    self.model, own, measured, lambda: task.measured(self.model, self._held_out)
                )
        self.report.stages.append(Stage(f"{name}, norms re-estimated" if is_new else name, measured))
        if measured.loss > before:
            self.report.notes.append(f"{name}: the held-out loss rose from {before:.4f} to {measured.loss:.4f}; {_TRY}")

    @contextlib.contextmanager
    def _batches_of_norms(self, task: Task, model: nn.Module, count: int = 16) -> Iterator[Iterator[Batch]]:
        with seeded(task.data, self.seed, "norms"):
            yield itertools.islice(task.batches(device_of(model)), count)

    def re_estimate_norms(self, data: Any = None, batches: int = 16) -> bool:
        """Replaces the statistics of batch norms by means over some batches; returns whether there are any norms."""
        with self._batches_of_norms(self._task_of(data, None), self.model, batches) as own:
            return re_estimate(self.model, own)

    def cut(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of the original module, or of a part of it, cut to the smaller one.

        Names may have the prefix of a wrapper, as ``module.`` of DistributedDataParallel; it stays. What is of blocks
        that were dropped is left out.

        Raises:
            InvalidValueError: no state dict, a name that the original does not have, a tensor of another shape.

        A checkpoint of the same class, as an average of its weights over time, so fits the smaller module::

            torch.optim.swa_utils.AveragedModel(result.model).load_state_dict(result.cut(average.state_dict()))
        """
        if not isinstance(state, Mapping):
            raise InvalidValueError("state", type(state).__name__, "a state dict of the module that was pruned")
        whole = self.original.state_dict()
        found = {}
        for key, value in state.items():
            name = key if key in whole else _WRAPPED.sub("", str(key))
            if name not in whole and name not in _OF_AVERAGES:
                allowed = "names of the module that was pruned, with or without 'module.' before them"
                raise InvalidValueError("state", key, allowed)
            if isinstance(own := whole.get(name), Tensor):
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                if shape != tuple(own.shape):
                    raise InvalidValueError(f"state[{key!r}]", shape, f"a tensor of shape {tuple(own.shape)}")
            if is_inside(name, self.dropped):
                continue
            stays = self._stays(name)
            found[key] = cut_tensor(value, stays) if stays else value
        return found

    def _stays(self, name: str, since: Pruned | None = None) -> dict[int, Any]:
        """The masks of what stays of a parameter, by axis: of the original's, or of that of an earlier step."""
        stays = staying(self.network.parameters.get(name, ()), self.network.widths, self.kept)
        before = {} if since is None else since._stays(name)
        return {
            axis: rows[before[axis]].reshape(len(rows), -1) if axis in before else rows for axis, rows in stays.items()
        }

    def map_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """An optimizer of the smaller module that goes on where one of the original module is.

        Momenta and the like are cut as the parameters are, so that training does not start cold. Hooks and learning
        rate schedulers stay with the optimizer that has them: make new ones for this one, whose groups have the
        learning rates of today. Parameters of blocks that were dropped are left out.

        Args:
            optimizer: over parameters of the original module, or of the module of an earlier step; it is not changed.

        Raises:
            InvalidValueError: a parameter that the module does not have, an optimizer with tensors that belong to no
                one parameter, as LBFGS.
        """
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        for since in (None, *self._earlier):
            own = self.original if since is None else since.model
            names = {id(each): name for name, each in own.named_parameters()}
            if all(id(each) in names for each in parameters):
                new = dict(self.model.named_parameters(remove_duplicate=False))
                return mapped(optimizer, names, new, functools.partial(self._stays, since=since))
        others = [each for each in parameters if id(each) not in {id(own) for own in self.original.parameters()}]
        allowed = "an optimizer over parameters of the module that was pruned"
        raise InvalidValueError("optimizer", tuple(others[0].shape), allowed)

    def undo(self) -> nn.Module:
        """All of the original module, with the trained weights back in the places of the channels that stayed.

        The channels that were cut, and the blocks that were dropped, have the weights that they had then: those of the
        original; of a super-network or a search, those that its training gave them, to which the others have grown
        used; of a step of :func:`hwcost.torch.schedule`, those of the step before.
        """
        whole = copy.deepcopy(self.original if self._whole is None else self._whole)
        target = {**dict(whole.named_parameters(remove_duplicate=False)), **dict(whole.named_buffers())}
        source = {**dict(self.model.named_parameters(remove_duplicate=False)), **dict(self.model.named_buffers())}
        with torch.no_grad():
            for name, small in source.items():
                stays = self._stays(name)
                mask = torch.ones_like(target[name], dtype=torch.bool)
                for axis, rows in stays.items():
                    for part, row in zip(mask.chunk(len(rows)), rows, strict=True):
                        own = torch.from_numpy(row).to(part.device)
                        part.logical_and_(own.reshape(-1, *[1] * (part.dim() - axis - 1)))
                target[name].masked_scatter_(mask, small.to(target[name]))
        return whole

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the recipe and the weights into a folder; :func:`hwcost.torch.pruned` builds the module again.

        Raises:
            InvalidValueError: the folder cannot be written to.
            MissingDependencyError: safetensors is not installed.
        """
        save_pruned(folder, self.model, self.network, self.kept, self.dropped)
