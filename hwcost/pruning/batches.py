"""Data and loss of a task: batches of a loader of the user's own, and what a module makes of them."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from hwcost.errors import InvalidValueError, first_line
from hwcost.files import digest

__all__ = ["Batch", "Loss", "Measured", "Task", "seed_of", "seeded"]

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""A function of a module's outputs and the targets (of a batch that is a mapping: all of it) to a scalar."""

_PAIRS = "batches of inputs and targets, as (images, labels), or mappings of keyword arguments"


class Batch(NamedTuple):
    """A batch: the arguments of a module, what the loss compares its outputs with, and how many examples it has."""

    args: tuple[Any, ...]
    named: Mapping[str, Any]
    targets: Any
    examples: int

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        args, named, targets = _on(device, (self.args, dict(self.named), self.targets))
        return Batch(args, named, targets, self.examples)

    @property
    def shapes(self) -> str:
        """The shapes of its tensors, in words."""
        leaves = tree_leaves((self.args, dict(self.named), self.targets))
        return ", ".join("x".join(map(str, leaf.shape)) for leaf in leaves if isinstance(leaf, Tensor)) or "no tensors"


class Measured(NamedTuple):
    """What a module makes of examples.

    Attributes:
        loss: the mean over the examples.
        accuracy: the share whose largest output is that of the label; None unless outputs are scores of classes.
    """

    loss: float
    accuracy: float | None


class Task:
    """A loss, and batches of some data.

    Args:
        data: something to iterate over, again and again, as a loader.
        loss: of outputs and targets; a mean over the batch.
        field: what the data are called in errors.

    Raises:
        InvalidValueError: data that are no batches.
    """

    def __init__(self, data: Iterable[Any], loss: Loss, field: str = "data") -> None:
        if not isinstance(data, Iterable) or isinstance(data, (str, Mapping, Tensor)):
            raise InvalidValueError(field, data, f"a loader or a list: {_PAIRS}")
        if isinstance(data, Iterator):  # to call iter() would start the workers of a loader
            allowed = "a loader or a list, which can be iterated over again"
            raise InvalidValueError(field, data, allowed, reason="an iterator ends after one pass")
        if isinstance(data, (list, tuple)) and len(data) == 2 and all(isinstance(each, Tensor) for each in data):
            allowed = "a list of batches: [(inputs, targets)]"
            raise InvalidValueError(field, "two tensors", allowed, reason="they are one batch, and no list of batches")
        if not callable(loss):
            raise InvalidValueError("loss", loss, "a function of outputs and targets, like F.cross_entropy")
        self.data, self.loss, self.field = data, loss, field

    @property
    def length(self) -> int:
        """The number of batches of one pass.

        Raises:
            InvalidValueError: data without a length.
        """
        try:
            return len(self.data)  # type: ignore[arg-type]
        except TypeError:
            allowed = "a loader or list with a length: the learning rate follows it"
            raise InvalidValueError(self.field, type(self.data).__name__, allowed) from None

    def batches(self, device: torch.device) -> Iterator[Batch]:
        """All batches of one pass, on a device."""
        is_empty = True
        for given in self.data:
            is_empty = False
            yield self._batch(_on(device, given))
        if is_empty:
            raise InvalidValueError(self.field, self.data, _PAIRS, reason="there are none")

    def _batch(self, given: Any) -> Batch:
        if isinstance(given, Mapping):
            return Batch((), given, given, _count(tuple(given.values())))
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
            raise InvalidValueError(f"a batch of {self.field}", type(given).__name__, _PAIRS)
        inputs, targets = given
        args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        return Batch(args, {}, targets, _count(args))

    def of(self, model: nn.Module, batch: Batch) -> tuple[Any, Tensor]:
        """Outputs and loss of a module on a batch.

        Raises:
            InvalidValueError: the module or the loss does not take the batch, a loss that is not one number.
        """
        try:
            outputs = model(*batch.args, **batch.named)
        except Exception as error:
            allowed = "batches that the module takes"
            raise InvalidValueError(f"a batch of {self.field}", batch.shapes, allowed, reason=_raises(error)) from error
        try:
            loss = self.loss(outputs, batch.targets)
        except Exception as error:
            allowed = "a function that takes the module's outputs and the targets"
            raise InvalidValueError(
                f"the loss of a batch of {self.field}", batch.shapes, allowed, reason=_raises(error)
            ) from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InvalidValueError("loss", loss, "a function that returns a mean over the batch as a tensor")
        return outputs, loss.reshape(())

    def measured(self, model: nn.Module, batches: Iterable[Batch]) -> Measured:
        """The mean loss and the accuracy of a module over batches, on its device; it runs in its present mode."""
        device = device_of(model)
        total, hits, count, labelled = 0.0, 0, 0, 0
        with torch.no_grad():
            for batch in (each.to(device) for each in batches):
                outputs, loss = self.of(model, batch)
                total, count = total + float(loss) * batch.examples, count + batch.examples
                if are_scores(outputs, batch.targets):
                    hits += int((outputs.argmax(1) == batch.targets).sum())
                    labelled += batch.examples
        if not count:
            raise InvalidValueError(self.field, self.data, _PAIRS, reason="there are no examples in it")
        if not math.isfinite(total):
            allowed = "data, weights and a loss without nan and infinity"
            raise InvalidValueError(f"the loss on batches of {self.field}", total, allowed)
        return Measured(total / count, hits / labelled if labelled == count else None)


def _on(device: torch.device, content: Any) -> Any:
    """Tensors in plain containers on a device, each contiguous in memory."""
    return tree_map_only(Tensor, lambda each: each.to(device).contiguous(), content)


def _raises(error: Exception) -> str:
    return f"it raises {first_line(error)}"


def are_scores(outputs: Any, targets: Any) -> bool:
    """Whether outputs are scores of classes, and targets are their labels."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return False
    return outputs.dim() == 2 and targets.shape == outputs.shape[:1] and not targets.is_floating_point()


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter of a module is."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def seed_of(given: Any) -> int:
    """A seed, checked.

    Raises:
        InvalidValueError: no integer from 0 to 2**63 - 1.
    """
    if not isinstance(given, (int, np.integer)) or isinstance(given, bool) or not 0 <= given < 2**63:
        raise InvalidValueError("seed", given, "an integer from 0 to 2**63 - 1")
    return int(given)


@contextlib.contextmanager
def seeded(data: Any, seed: int, purpose: str, number: int = 0) -> Iterator[None]:
    """Context manager in which all random numbers are a function of a seed, a purpose and a number.

    A loader that shuffles, and transforms that draw, give the same batches again. The states of all generators are
    restored afterwards, but for those that the loader and its sampler have of their own.
    """
    start = int.from_bytes(digest(f"{seed}/{purpose}/{number}".encode())[:4], "big")
    python, own = random.getstate(), np.random.get_state()  # noqa: NPY002  # what transforms use
    try:
        with torch.random.fork_rng():
            torch.manual_seed(start)
            random.seed(start)
            np.random.seed(start)  # noqa: NPY002
            for owner in (data, getattr(data, "sampler", None)):
                if isinstance(own_generator := getattr(owner, "generator", None), torch.Generator):
                    own_generator.manual_seed(start)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(own)  # noqa: NPY002


def _count(args: tuple[Any, ...]) -> int:
    """The number of examples: the first size of the first tensor."""
    shapes = (leaf.shape for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.dim())
    return int(next(shapes, (1,))[0])
