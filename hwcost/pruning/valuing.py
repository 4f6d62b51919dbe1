"""What the sizes of widths are worth, by scores or measured losses, and the examples that this takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from hwcost.errors import InvalidValueError
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Loss, Task, device_of, seeded
from hwcost.pruning.curves import measured_values, sizes_to_measure, summed_values
from hwcost.pruning.importance import SCORES, Figures, check_scores, scores_of

__all__ = ["CURVES", "EXAMPLES", "STAIRS", "Work", "held_out_batches", "of_at_most", "values_of"]

CURVES = "curves"
STAIRS = 8
EXAMPLES = 500
HELD_OUT, MOST_HELD_OUT = 10, 2000
SCORE_BATCHES = 16


class Work:
    """A module and its task, with batches for one purpose that are the same whenever they are asked for."""

    def __init__(self, model: nn.Module, network: Network, task: Task | None, seed: int) -> None:
        self.model, self.network, self.task, self.seed = model, network, task, seed

    def batches(self, purpose: str, most: int) -> list[Batch]:
        """The first batches of a pass over the data."""
        assert self.task is not None
        with seeded(self.task.data, self.seed, purpose):
            return list(itertools.islice(self.task.batches(device_of(self.model)), most))


def values_of(
    work: Work,
    method: Any,
    options: Mapping[str, Figures],
    held_out: Sequence[Batch],
    known_losses: dict[str, dict[int, float]] | None,
    progress: Callable[[int, int], Any] | None,
    prefix: str = "",
) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """The scores of channels, and the values of sizes, of each width.

    Args:
        work: the module and its task.
        method: as for :func:`hwcost.torch.prune`.
        options: the sizes of each width at the ends of its stairs.
        held_out, known_losses, progress: for curves; see :func:`hwcost.torch.prune`.
        prefix: of the keys of losses; see :func:`hwcost.pruning.curves.measured_values`.

    Raises:
        InvalidValueError: a method that is unknown, or scores that do not fit.
    """
    model, network, task = work.model, work.network, work.task
    names = list(options)
    if callable(method) and not isinstance(method := method(model, network), Mapping):
        raise InvalidValueError("importance", method, "a function that returns scores by width")
    if isinstance(method, Mapping):
        scores = check_scores(method, network, names)
    elif method == CURVES or method in SCORES:
        kind = "taylor" if method == CURVES else method
        scores = scores_of(kind, model, network, names, task, lambda: iter(work.batches("scores", SCORE_BATCHES)))
    else:
        allowed = f"one of {', '.join(map(repr, (CURVES, *SCORES)))}, scores by width, or a function that returns them"
        raise InvalidValueError("importance", method, allowed)
    if method != CURVES:
        return scores, {name: summed_values(own, network.widths[name].multiple) for name, own in scores.items()}
    sizes = {name: sizes_to_measure(own, STAIRS) for name, own in options.items()}
    whole, done = 1 + sum(map(len, sizes.values())), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, whole)

    assert task is not None
    some = of_at_most(held_out, EXAMPLES)
    known = {} if known_losses is None else known_losses
    return scores, measured_values(model, network, scores, sizes, task, some, advance, known, prefix)


def held_out_batches(
    task: Task | None, held_out: Iterable[Any] | None, model: nn.Module, loss: Loss, seed: int
) -> tuple[list[Batch], list[str]]:
    """The held-out batches, and a note if they are also trained on."""
    if held_out is not None:
        own = Task(held_out, loss, "held_out")
        with seeded(held_out, seed, "held out"):
            return list(own.batches(device_of(model))), []
    if task is None:
        return [], []
    with seeded(task.data, seed, "held out"):
        some = of_at_most(itertools.islice(task.batches(device_of(model)), 0, None, HELD_OUT), MOST_HELD_OUT)
    return some, ["held-out examples are every tenth batch of data: they may be trained on, and are no test"]


def of_at_most(batches: Iterable[Batch], examples: int) -> list[Batch]:
    """The first batches, as many as it takes to have this number of examples."""
    found: list[Batch] = []
    for batch in batches:
        found.append(batch)
        if sum(each.examples for each in found) >= examples:
            break
    return found
