"""Pruning of a trained module to an exact limit."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hwcost._version import __version__
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.tables import Allowed, CostSource, check_source, cost_report, measure_of
from hwcost.errors import InvalidValueError
from hwcost.importers import from_torch
from hwcost.importers.torch.resize import resized
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Loss, Task, device_of
from hwcost.pruning.choosing import Choice, check_floor, choose, kept_widths, limit_of, stairs
from hwcost.pruning.curves import best_channels
from hwcost.pruning.importance import SCORES
from hwcost.pruning.norms import evaluated, re_estimate
from hwcost.pruning.recipe import composed
from hwcost.pruning.report import PrunedLayer, PruningReport, Stage
from hwcost.pruning.result import Pruned
from hwcost.pruning.valuing import CURVES, Work, held_out_batches, values_of
from hwcost.reports.shapes import layer_shape
from hwcost.units import plural

__all__ = ["Importance", "prune", "schedule"]

Importance = str | Mapping[str, Any] | Callable[[nn.Module, Network], Mapping[str, Any]]

NORM_BATCHES = 32
LEAST = 0.25
_REBUILT = "a module whose forward has no sizes written into it; keep=[...] leaves widths as they are"


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
    known_losses: dict[str, dict[int, float]] | None = None,
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
        keep: names of widths, or of modules whose widths stay.
        least: the smallest share of a width that stays; 0.25 by default, or 0 with curves, which need no floor.
        multiple: new sizes are multiples of this number.
        seed: of the order of data.
        effort: of the solver; see :func:`hwcost.advise`.
        name: of the network; the module's class by default.
        known_losses: losses of "curves" that were measured before, to which new ones are added: a run that was stopped
            goes on from them.
        progress: called with the number of measurements done and that of all.

    Raises:
        InvalidValueError: a limit that widths cannot meet (the message has the floor), a module that cannot be read or
            rebuilt, data that are no batches.

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
    if isinstance(example_inputs, (tuple, list)) and all(isinstance(each, int) for each in example_inputs):
        allowed = f"tensors, as torch.zeros{tuple(example_inputs)}"
        raise InvalidValueError("example_inputs", example_inputs, allowed, reason="it is a shape")
    network = from_torch(model, example_inputs=example_inputs, name=name)
    array = check_source(network, array, skip_unsupported=False)
    limit = limit_of(network, array, target=target, cycles=cycles, seconds=seconds)
    task = None if data is None else Task(data, loss)
    method = importance if importance is not None else CURVES if data is not None else "magnitude"
    notes = [*network.notes, *(array.notes(network) if isinstance(array, MeasuredCosts) else ())]
    if data is None and isinstance(method, str):
        if method not in SCORES or SCORES[method][1]:
            allowed = "pass data, or one of 'magnitude' and 'norm', or scores of your own"
            raise InvalidValueError("importance", method, allowed, reason="it needs data")
        text = f"no data: channels are chosen by {method} alone, which knows nothing of the task"
        notes.append(text)
        warnings.warn(text, UserWarning, stacklevel=2)
    share = (0.0 if method == CURVES else LEAST) if least is None else least
    allowed_sizes = Allowed.checked(multiple, share, keep)
    allowed_sizes = allowed_sizes._replace(keep=kept_widths(network, allowed_sizes.keep))
    options = stairs(network, array, allowed_sizes)
    kept_by = dict.fromkeys(allowed_sizes.keep, "kept as asked")
    if broken := _widths_that_break(model, example_inputs, network, options):
        kept_by |= dict.fromkeys(broken, "the code of the module depends on its size")
        allowed_sizes = allowed_sizes._replace(keep=tuple(kept_by))
        options = {name: own for name, own in options.items() if name not in broken}
    if not options:
        reasons = ", ".join(list(dict.fromkeys(each.fixed for each in network.widths.values() if each.fixed))[:3])
        raise InvalidValueError("model", network.name, "another module", reason=f"no width can change ({reasons})")
    check_floor(network, array, limit, allowed_sizes)
    held, held_note = held_out_batches(task, held_out, model, loss, seed)
    notes += held_note
    work = Work(model, network, task, seed)
    scores, values = values_of(work, method, options, held, known_losses, progress)
    choice = choose(network, array, limit, allowed_sizes, values, effort)
    kept = {
        width: best_channels(scores[width], network.widths[width].multiple, size)
        for width, size in choice.sizes.items()
    }
    small = resized(model, network, keep=kept).eval()
    after = _priced_anew(small, example_inputs, network, array, choice.sizes)
    settings = {
        "version": __version__,
        "importance": method if isinstance(method, str) else "scores of the caller's own",
        "keep": list(keep), "least": share, "multiple": multiple, "seed": seed, "effort": effort,
        "device": str(device_of(model)), "torch": torch.__version__,
    }  # fmt: skip
    report = _report(network, array, limit, choice, after, (model, small), kept_by, notes, settings)
    if held:
        report.stages += _stages(work, small, held, loss)
    return Pruned(small, model, network, kept, report, seed)._with_task(task, held)


def _stages(work: Work, small: nn.Module, held_out: Sequence[Batch], loss: Loss) -> list[Stage]:
    """The original and the pruned module on held-out examples; the norms of the second one are estimated anew."""
    task = Task(held_out, loss)
    with evaluated(work.model):
        before = Stage("original", task.measured(work.model, held_out))
    is_new = work.task is not None and re_estimate(small, work.batches("norms", NORM_BATCHES))
    return [before, Stage("pruned, norms re-estimated" if is_new else "pruned", task.measured(small, held_out))]


def _widths_that_break(
    model: nn.Module, example_inputs: Any, network: Network, options: Mapping[str, Any]
) -> list[str]:
    """The widths whose cut leaves a forward that does not run, or multiplies something else: sizes in its code.

    All widths are tried at once with their least sizes, and one by one only if that fails.
    """

    def breaks(names: Iterable[str]) -> bool:
        sizes = {name: int(options[name][0]) for name in names}
        wanted = network.at(sizes)
        try:
            found = from_torch(resized(model, network, sizes).eval(), example_inputs=example_inputs)
        except InvalidValueError:
            return True
        return any(name not in found or found[name].gemms() != wanted[name].gemms() for name in network.priced)

    return [name for name in options if breaks([name])] if breaks(options) else []


def _priced_anew(
    small: nn.Module, example_inputs: Any, network: Network, array: CostSource, sizes: Mapping[str, int]
) -> Network:
    """The network of the new module, which has to cost what was predicted."""
    wanted = network.at(sizes)
    try:
        found = from_torch(small, example_inputs=example_inputs, name=network.name)
    except InvalidValueError as error:
        raise InvalidValueError("the pruned module", network.name, _REBUILT, reason=str(error)) from error
    predicted, priced = (cost_report(each, array).total for each in (wanted, found))
    measure = measure_of(array)
    one, other = (getattr(each, measure) for each in (predicted, priced))
    if one != other or predicted.macs != priced.macs:
        layer = next((each for each in {**wanted, **found} if wanted.get(each) != found.get(each)), network.name)
        reason = f"it takes {other} {measure} and not {one} as predicted: {layer!r} differs"
        raise InvalidValueError("the pruned module", network.name, _REBUILT, reason=reason)
    return found


def _report(
    network: Network,
    array: CostSource,
    limit: Limit,
    choice: Choice,
    after: Network,
    modules: tuple[nn.Module, nn.Module],
    kept_by: Mapping[str, str],
    notes: list[str],
    settings: Mapping[str, Any],
) -> PruningReport:
    old, new = cost_report(network, array), cost_report(after, array)
    followed = {width for each in network.priced.values() for width in each.widths}
    left = {}
    for name, width in network.widths.items():
        is_outside = name == f"{width.fixed} ({width.size})"  # of the inputs, of a kernel: no width of any layer's own
        if name in followed and name not in choice.sizes and width.size > 1 and not is_outside:
            left[name] = width.fixed or kept_by.get(name) or _why_not_smaller(network, array, name)
    return PruningReport(
        name=network.name,
        array=_words(array),
        measure=measure_of(array),
        asked=limit.asked,
        limit=limit.cycles,
        floor=choice.floor,
        before=old.total,
        after=new.total,
        parameters=(_count(modules[0]), _count(modules[1])),
        sizes={name: (network.widths[name].size, size) for name, size in choice.sizes.items()},
        layers=tuple(
            PrunedLayer(
                name, old.layers[name], new.layers[name], (layer_shape(network[name]), layer_shape(after[name]))
            )
            for name in network.priced
        ),
        left_alone=left,
        gap=choice.gap,
        notes=notes,
        settings=settings,
    )


def _why_not_smaller(network: Network, array: CostSource, width: str) -> str:
    if isinstance(array, MeasuredCosts) and not (array.sizes(network, width) < network.widths[width].size).any():
        return "no smaller size of it was measured"
    return f"no smaller size is worth its {'time' if measure_of(array) == 'seconds' else 'cycles'}"


def _words(array: CostSource) -> str:
    if isinstance(array, MeasuredCosts):
        return f"a table of measured costs: {plural(array.rows, 'row')} of {plural(len(array.layers), 'layer')}"
    return f"{array.rows} x {array.cols}, {array.dataflow_row.summary}, {array.fold_timing} folds"


def _count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


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

    >>> from hwcost import SystolicArray
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    >>> scores = lambda model, network: {name: torch.ones(network.widths[name].size) for name in ("0", "2")}
    >>> steps = schedule(model, torch.zeros(1, 64), SystolicArray(8, 8), targets=(0.75, 0.5), importance=scores)
    >>> [step.sizes for step in steps]
    [{'2': 32}, {'2': 32, '0': 40}]
    """
    targets = list(targets)
    if not targets or any(a <= b for a, b in itertools.pairwise([1.0, *targets])):
        raise InvalidValueError("targets", targets, "shares below 1, each smaller than the one before")
    if "known_losses" in settings:
        allowed = "leave it out: each step measures another module"
        raise InvalidValueError("known_losses", settings["known_losses"], allowed)
    network = from_torch(model, example_inputs=example_inputs)
    array = check_source(network, array, skip_unsupported=False)
    measure = measure_of(array)
    today = float(getattr(cost_report(network, array).total, measure))
    first: Pruned | None = None
    start = model
    for target in targets:
        step = prune(start, example_inputs, array, **(settings | {measure: target * today}))
        step.report.asked = f"target {target:g}"
        if first is not None:
            step = step._seen_from(first, composed(first.network, first.kept, step.kept))
        yield step
        first, start = step, step.model
