"""The mode that a module is measured in, and batch norms whose statistics are those of another network after a cut."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hwcost.errors import InvalidValueError
from hwcost.pruning.batches import Batch, Measured, device_of

__all__ = ["evaluated", "of_the_batch", "re_estimate", "re_estimate_if_better"]


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [each for each in model.modules() if isinstance(each, _BatchNorm) and each.track_running_stats]


@contextlib.contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Context manager in which a module is in evaluation mode; then every part of it gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def of_the_batch(model: nn.Module) -> Iterator[None]:
    """Context manager in which a module is evaluated, and its batch norms use the statistics of each batch."""
    momenta = {norm: norm.momentum for norm in _norms(model)}
    counts = {norm: norm.num_batches_tracked.clone() for norm in momenta if norm.num_batches_tracked is not None}
    with evaluated(model):
        for norm in momenta:
            norm.train()
            norm.momentum = 0.0  # the running statistics stay
        try:
            yield
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum
            for norm, count in counts.items():
                norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]


def re_estimate(model: nn.Module, batches: Iterable[Batch]) -> bool:
    """Replaces the running statistics of all batch norms by the means over batches; returns whether there are any.

    Source: Li et al., EagleEye, ECCV 2020: a pruned network is judged wrongly without this.
    """
    momenta = {norm: norm.momentum for norm in _norms(model)}
    if not momenta:
        return False
    with evaluated(model), torch.no_grad():
        for norm in momenta:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # a mean over all batches
        try:
            for batch in (each.to(device_of(model)) for each in batches):
                model(*batch.args, **batch.named)
        finally:
            for norm, momentum in momenta.items():
                norm.momentum = momentum
    return True


def re_estimate_if_better(
    model: nn.Module, batches: Iterable[Batch], before: Measured, measured: Callable[[], Measured]
) -> tuple[Measured, bool]:
    """As :func:`re_estimate`, but the statistics stay as they were unless the loss is lower with the new ones.

    After a short training the running ones lag behind the weights; after a long one they are as good.

    Args:
        model: the module.
        batches: to estimate on.
        before: what was measured of it.
        measured: measures it anew.

    Returns:
        What is measured of the module in the end, and whether the statistics are new.
    """
    old = [(each, each.clone()) for norm in _norms(model) for each in norm.buffers(recurse=False)]
    if re_estimate(model, batches):
        with contextlib.suppress(InvalidValueError):  # no finite loss
            if (after := measured()).loss < before.loss:
                return after, True
        for buffer, value in old:
            buffer.copy_(value)
    return before, False
