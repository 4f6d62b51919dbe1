"""Pruning of a trained module to an exact limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import nn

from hwcost.advice.tables import Allowed, CostSource, cost_report, measure_of
from hwcost.arrays import is_real
from hwcost.errors import InvalidValueError, warn_caller
from hwcost.network.network import Network
from hwcost.pruning.batches import Loss, Task, seed_of
from hwcost.pruning.beginning import notes_of, read, read_within, words_of
from hwcost.pruning.building import Problem, built, settings_of, with_stages
from hwcost.pruning.choosing import below_the_floor, effort_of
from hwcost.pruning.depth import Blocked, best_depth, with_blocks
from hwcost.pruning.fitting import Cutting
from hwcost.pruning.importance import SCORES, check_kind
from hwcost.pruning.result import Pruned
from hwcost.pruning.steps import at_sizes, check_after, of_the_whole, weights_of
from hwcost.pruning.valuing import CURVES, Work, held_out_batches

__all__ = ["Importance", "prune", "schedule"]

Importance = str | Mapping[str, Any] | Callable[[nn.Module, Network], Mapping[str, Any]]

LEAST = 0.25
NO_BLOCKS = "no block can be dropped: no module gives back what it gets once its weights are 0"


def prune(
    model: nn.Module,
    example_inputs: Any,
    array: CostSource | str,
    *,
    target: float | None = None,
    cycles: float | None = None,
    seconds: float | None = None,
    data: Iterable[Any] | None = None,
    loss: Loss = F.cross_entropy,
    held_out: Iterable[Any] | None = None,
    importance: Importance | None = None,
    keep: Sequence[str] = (),
    least: float | None = None,
    multiple: int = 1,
    seed: int = 0,
    effort: int = 300_000,
    name: str | None = None,
    depth: bool = False,
    known_losses: dict[str, dict[int, float]] | None = None,
    after: Pruned | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Pruned:
    """Cuts a trained module to widths whose exact cycles are within a limit.

    What a size of a width is worth is measured (or scored), the sizes within the limit that are worth most are found by
    the exact solver, of which those are taken that use at least 97 % of the limit if any do, and the channels with the
    best scores stay. The new module is read and priced again, and has to cost what was predicted.

    Args:
        model: a trained module; it is not changed.
        example_inputs: as for :func:`hwcost.from_torch`, for one inference: a tensor, a sequence or a mapping.
        array: the accelerator, or the name of a device; or :class:`hwcost.MeasuredCosts`, with which widths take only
            sizes that were measured.
        target: the limit as a share of today's cycles (of today's time, if that was measured); or
        cycles: the limit in cycles; or
        seconds: the limit in seconds.
        data: batches to train on, as a loader: pairs of inputs and targets, or mappings of keyword arguments. Without
            data, channels are chosen by the magnitude of their weights, which knows nothing of the task.
        loss: a function of outputs and targets (of the whole batch if it is a mapping) that returns a mean.
        held_out: batches to measure on. By default every tenth batch of ``data``: then numbers on them are no test.
        importance: what decides. "curves" (the default with data): the loss on 500 held-out examples with one width
            alone cut to each of at most 8 of its stairs. "taylor", "magnitude" (the default without data), "norm": sums
            of the scores of channels. A mapping from widths to scores of their channels (other widths stay), or a
            function of model and network that returns one.
        keep: names of widths, or of modules whose widths (and which themselves) stay.
        least: the smallest share of a width that stays; 0.25 by default, or 0 with curves, which need no floor.
        multiple: new sizes are multiples of this number.
        seed: of the order of data.
        effort: of the solver; see :func:`hwcost.advise`.
        name: of the network; the module's class by default.
        depth: whether whole blocks of a residual network may go too: those that give back what they get once their
            weights are 0. They are dropped one by one, the one first that adds least to the held-out loss for its
            cycles; widths are cut to the limit with none and up to four larger numbers of blocks dropped; and what has
            the lowest held-out loss is taken. So limits can be met that widths alone cannot meet.
        known_losses: losses of "curves" that were measured before, to which new ones are added: a run that was stopped
            goes on from them.
        after: the result of an earlier pruning of ``model``, to go on from its smaller module, which may have been
            trained since. The limit, ``least`` and the result are those of ``model``. If the limit is met already,
            nothing is cut, and the report says so.
        progress: called with the number of measurements done and that of all.

    Raises:
        InvalidValueError: a limit that widths cannot meet (the message has the floor), a module that cannot be read or
            rebuilt, data that are no batches, ``depth`` with nothing to measure on, a result of another module to go on
            from.

    >>> import warnings, torch
    >>> from hwcost import SystolicArray
    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(4608, 4))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # there are no data
    ...     result = prune(model, torch.zeros(1, 3, 16, 16), SystolicArray(8, 8), target=0.5)
    >>> result.report.after.cycles <= 0.5 * result.report.before.cycles
    True
    >>> result.model[0].out_channels == result.sizes.get("0", 16)
    True
    """
    if importance is not None:
        check_kind(importance)
    seed, effort = seed_of(seed), effort_of(effort)
    _check_depth(depth, data is not None or held_out is not None)
    whole = read(model, example_inputs, name) if after is None else check_after(after, model).network
    array, limit, device = read_within(whole, array, target=target, cycles=cycles, seconds=seconds)
    start, network = (model, whole) if after is None else (after.model, at_sizes(after.part, after.sizes))
    if after is not None and getattr(cost_report(network, array).total, measure_of(array)) <= limit.cycles:
        return after._unchanged(limit)
    task = None if data is None else Task(data, loss)
    method = importance if importance is not None else CURVES if data is not None else "magnitude"
    notes = notes_of(whole, array)
    if data is None and isinstance(method, str):
        if method not in SCORES or SCORES[method][1]:
            allowed = "pass data, or one of 'magnitude' and 'norm', or scores of your own"
            raise InvalidValueError("importance", method, allowed, reason="it needs data")
        text = f"no data: channels are chosen by {method} alone, which knows nothing of the task"
        notes.append(text)
        warn_caller(text)
    share = (0.0 if method == CURVES else LEAST) if least is None else least
    sizes = {each: width.size for each, width in whole.widths.items()}
    own = Allowed.checked(multiple, share, keep)._replace(whole=sizes)
    known = {} if known_losses is None else known_losses
    cutting = Cutting(start, example_inputs, network, array, limit, own, task, method, seed, effort, known, after)
    given = with_blocks(cutting) if depth else cutting.opened()
    held, held_note = held_out_batches(task, held_out, start, loss, seed)
    found, floor = None, math.inf
    if isinstance(given, Blocked):  # depth
        fit, found = best_depth(given, Task(held, loss), held, progress)
        notes += [] if given.blocks else [NO_BLOCKS]
        floor = given.floor
    else:
        fit = cutting.fitted(given, held, progress)
    choice, scores = fit.choice, fit.scores
    if after is not None:
        choice, scores = of_the_whole(after, choice, scores)
        found = after.report.depth if found is None else found.after(after.report.depth)
    choice = choice._replace(floor=min(choice.floor, floor))
    problem = Problem(model, example_inputs, whole, array, limit, fit.kept_by, notes + held_note, found, device)
    settings = settings_of(model, own, keep, importance=words_of(method), seed=seed, effort=effort, depth=depth)
    weights = None if after is None else weights_of(after)
    result = built(problem, choice, scores, settings, seed=seed, weights=weights)
    return with_stages(result._following(after), Work(start, network, task, seed), held, loss)


def _check_depth(depth: Any, is_measured: bool) -> None:
    """Raises unless a depth is False, or True where there is something to measure on."""
    if not isinstance(depth, bool):
        raise InvalidValueError("depth", depth, "True or False")
    if depth and not is_measured:
        allowed = "pass data or held_out, or leave it out"
        raise InvalidValueError("depth", depth, allowed, reason="what a network is worth without a block is measured")


def schedule(
    model: nn.Module, example_inputs: Any, array: CostSource | str, *, targets: Sequence[float], **settings: Any
) -> Iterator[Pruned]:
    """Prunes in steps, each from the module of the step before: fine-tune each one before you take the next.

    Args:
        model, example_inputs, array: as for :func:`prune`.
        targets: shares of the cycles of ``model``, each smaller than the one before.
        settings: the other arguments of :func:`prune`.

    Yields:
        A result for each target; its ``kept``, ``report`` and the like are those of ``model``, not of the last step.
        One whose target the step before has met already is a copy of that, and says so in a note.

    Raises:
        InvalidValueError: as :func:`prune`; a last target that no widths can meet is refused before the first step.

    >>> import torch
    >>> from hwcost import SystolicArray
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    >>> scores = lambda model, network: {name: torch.ones(network.widths[name].size) for name in ("0", "2")}
    >>> steps = schedule(model, torch.zeros(1, 64), SystolicArray(8, 8), targets=(0.75, 0.5), importance=scores)
    >>> [step.sizes for step in steps]
    [{'2': 32}, {'2': 32, '0': 40}]
    """
    shares = list(targets) if isinstance(targets, Iterable) else []
    if not shares or not all(map(is_real, shares)) or any(a <= b for a, b in itertools.pairwise([1.0, *shares])):
        raise InvalidValueError("targets", targets, "a list of shares below 1, each smaller than the one before")
    if "known_losses" in settings:
        allowed = "leave it out: each step measures another module"
        raise InvalidValueError("known_losses", settings["known_losses"], allowed)
    step: Pruned | None = None
    for number, target in enumerate(shares):
        step = prune(model, example_inputs, array, target=target, after=step, **settings)
        if number == 0:
            source, last, _ = read_within(step.network, array, target=shares[-1])
            if step.report.floor > last.cycles:
                report = step.report
                own = Allowed(least=report.settings["least"], keep=tuple(settings.get("keep", ())))
                blocks = None if report.depth is None else report.blocks_that_go
                raise below_the_floor(step.network, source, last, report.floor, own, blocks)
        yield step
