"""Fine-tuning: the smaller module learns from the labels and from the outputs of the original one."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError
from hwcost.files import read_given, write_given
from hwcost.pruning.batches import Batch, Task, are_scores, device_of, seeded
from hwcost.pruning.identity import identity_of
from hwcost.pruning.norms import evaluated
from hwcost.pruning.weights import state_bytes, state_of

__all__ = ["DISTIL", "MakeOptimizer", "Tuning", "default_optimizer", "descended", "distance", "trainable"]

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""From parameters to an optimizer, whose learning rates are the largest of the schedule."""

_OWNER = b"hwcost.fine-tuning/1"
MOST_BYTES = 2**37
CLIP = 5.0
DISTIL = 0.7
WARM_UP = 0.3


def default_optimizer(parameters: Iterable[nn.Parameter], learning_rate: float = 0.05) -> torch.optim.Optimizer:
    """SGD with momentum; the learning rate is the largest one of the schedule."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, weight_decay=1e-4, nesterov=True)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn.

    Raises:
        InvalidValueError: all of them are frozen.
    """
    found = [each for each in model.parameters() if each.requires_grad]
    if not found:
        allowed = "call requires_grad_(True) on those to train"
        reason = "all of its parameters are frozen, and training would change nothing"
        raise InvalidValueError("model", type(model).__name__, allowed, reason=reason)
    return found


class Tuning:
    """Epochs of training, which can stop after each and go on.

    The learning rate rises over the first 30 % of the steps and then falls to 0 along a cosine. Batches are a function
    of the seed and the epoch, so that a run that was stopped ends with the same weights.

    Args:
        model: the smaller module, trained in place.
        teacher: the original one; None trains on labels alone.
        task: data and loss.
        epochs: of all.
        distil: the share of the loss that is the distance to the teacher's outputs; where outputs are no scores of
            classes, it is not used.
        make_optimizer: of the parameters.
        seed: of batches.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module | None,
        task: Task,
        epochs: int,
        *,
        distil: float = DISTIL,
        make_optimizer: MakeOptimizer | None = None,
        seed: int = 0,
    ) -> None:
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise InvalidValueError("epochs", epochs, "an integer of at least 1")
        if not is_real(distil) or not 0 <= distil <= 1:
            raise InvalidValueError("distil", distil, "a share from 0 to 1")
        self.model, self.task, self.epochs, self.seed = model, task, epochs, seed
        self.teacher, self.distil = (None, 0.0) if distil == 0 else (teacher, float(distil))
        self.trained = trainable(model)
        self.optimizer = (make_optimizer or default_optimizer)(self.trained)
        self.highest = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch = 0

    def without_teacher(self) -> None:
        """Trains on labels alone."""
        self.teacher, self.distil = None, 0.0

    @property
    def identity(self) -> dict[str, Any]:
        """What a training follows from, but for data and weights, as plain data."""
        return {
            "epochs": self.epochs, "distil": self.distil, "seed": self.seed, "batches": self.task.length,
            "optimizer": type(self.optimizer).__name__, "learning rates": self.highest,
            "loss": identity_of(self.task.loss),
        }  # fmt: skip

    def run_epoch(self, advance: Callable[[int], Any] = lambda count: None) -> None:
        """One pass over the data.

        Raises:
            InvalidValueError: data without a length, a loss that is not finite.
        """
        length = self.task.length
        self.model.train()
        with (
            seeded(self.task.data, self.seed, "fine-tuning", self.epoch),
            contextlib.nullcontext() if self.teacher is None else evaluated(self.teacher),
        ):
            for number, batch in enumerate(self.task.batches(device_of(self.model))):
                place = (self.epoch + min(number, length - 1) / length) / self.epochs
                for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
                    group["lr"] = highest * _of_the_highest(place)
                self.optimizer.zero_grad(set_to_none=True)
                if not math.isfinite(value := self._backward(batch, number)):
                    where = f"epoch {self.epoch + 1}, batch {number + 1}"
                    reason = f"the loss is {value} in {where}"
                    raise InvalidValueError("fine-tuning", value, "a smaller learning rate", reason=reason)
                nn.utils.clip_grad_norm_(self.trained, CLIP)
                self.optimizer.step()
                advance(1)
        self.epoch += 1
        self.model.eval()

    def _backward(self, batch: Batch, number: int) -> float:
        """The loss of a batch, whose gradients are added to the parameters."""
        outputs, loss = self.task.of(self.model, batch)
        if self.teacher is not None and are_scores(outputs, batch.targets):
            own = batch.to(device_of(self.teacher))  # the original may have stayed where it was
            with torch.no_grad():
                wanted = self.teacher(*own.args, **own.named)
            loss = self._taught(outputs, wanted.to(outputs.device), loss)
        return descended(loss)

    def _taught(self, outputs: Tensor, wanted: Tensor, loss: Tensor) -> Tensor:
        """The loss of outputs that a teacher's outputs are wanted of."""
        return self.distil * distance(outputs, wanted) + (1 - self.distil) * loss

    def run(
        self,
        checkpoint: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
        progress: Callable[[int, int], Any] | None,
    ) -> None:
        """All epochs, or those that are left of a checkpoint, which is written after each.

        Args:
            checkpoint: a file; None keeps nothing.
            identity: what the training follows from, as plain data.
            progress: called with the number of batches done and that of all.

        Raises:
            InvalidValueError: as :meth:`run_epoch` and :meth:`load`.
        """
        if checkpoint is not None and os.path.exists(checkpoint):
            self.load(checkpoint, identity)
        done, whole = self.epoch * self.task.length, self.epochs * self.task.length

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, whole)

        while self.epoch < self.epochs:
            self.run_epoch(advance)
            if checkpoint is not None:
                self.save(checkpoint, identity)
        self.model.eval()

    def save(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        """Writes everything that the rest of the work depends on."""
        state = {
            "identity": dict(identity),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "more": self.more_state(),
        }
        write_given(path, state_bytes(state, _OWNER), "checkpoint")

    def more_state(self) -> dict[str, Any]:
        """What else the rest of the work depends on, as tensors and plain data."""
        return {}

    def load_more_state(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`more_state` gave."""

    def load(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        """Goes back to where :meth:`save` was called.

        Raises:
            InvalidValueError: a file that is damaged, or of another fine-tuning.
        """
        content = read_given(path, MOST_BYTES, "checkpoint")
        file, again = os.path.basename(path), "give another path"
        try:
            state = state_of(content, _OWNER, device_of(self.model)) or {}
            found = state["identity"]
        except Exception as error:
            raise InvalidValueError("checkpoint", os.fspath(path), again, reason=f"{file} is damaged") from error
        for name, value in identity.items():
            if found.get(name) != value:
                reason = f"{file} is of another fine-tuning: its {name} differs"
                raise InvalidValueError("checkpoint", os.fspath(path), again, reason=reason)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.load_more_state(state["more"])
            self.epoch = int(state["epoch"])
        except Exception as error:
            raise InvalidValueError("checkpoint", os.fspath(path), again, reason=f"{file} does not fit") from error
        self.model.eval()


def descended(loss: Tensor) -> float:
    """A scalar loss, whose gradients are added to the parameters if it is finite."""
    if math.isfinite(value := float(loss.detach())):
        loss.backward()  # type: ignore[no-untyped-call]
    return value


def _of_the_highest(place: float) -> float:
    """The learning rate as a share of the highest one; ``place`` is the share of all steps that are done."""
    if place < WARM_UP:
        return 0.04 + 0.96 * place / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (place - WARM_UP) / (1 - WARM_UP)))


def distance(outputs: Tensor, wanted: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of two distributions over classes, a mean over the batch."""
    return F.kl_div(outputs.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
