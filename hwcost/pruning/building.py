"""A smaller module from a choice of sizes: checked before, cut, read and priced again, and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from hwcost._version import __version__
from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.tables import Allowed, CostSource, Figures, cost_report, machine_of, measure_of
from hwcost.devices import DeviceFile
from hwcost.errors import InvalidValueError
from hwcost.importers import from_torch
from hwcost.importers.torch.resize import resized
from hwcost.model.cost import Cost
from hwcost.model.shapes import layer_shape
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.network.operations import MemoryOnly
from hwcost.network.pricing import Report
from hwcost.pruning.batches import Batch, Loss, Task, device_of
from hwcost.pruning.blocks import network_without, without
from hwcost.pruning.choosing import Choice, check_room, kept_widths
from hwcost.pruning.curves import best_channels
from hwcost.pruning.norms import evaluated, re_estimate
from hwcost.pruning.report import Depth, PrunedLayer, PruningReport, Stage
from hwcost.pruning.result import Pruned
from hwcost.pruning.valuing import Work
from hwcost.units import plural

__all__ = ["Problem", "built", "check_examples", "open_widths", "settings_of", "with_stages"]

NORM_BATCHES = 32
ROUNDING = 1e-9  # of sums in another order
_REBUILT = "a module whose forward has no sizes written into it; keep=[...] leaves widths as they are"


class Problem(NamedTuple):
    """What is cut to which limit.

    Attributes:
        model: the trained module.
        example_inputs: for one inference.
        network: what was read from it.
        array: what says how much a layer costs.
        limit: on the cost.
        kept_by: the widths that stay, each with the reason.
        notes: what else to know.
        depth: the blocks that go, and those that stay, if they were looked for.
        device: the one that the array is of, if it was named.
    """

    model: nn.Module
    example_inputs: Any
    network: Network
    array: CostSource
    limit: Limit
    kept_by: Mapping[str, str]
    notes: Sequence[str]
    depth: Depth | None = None
    device: DeviceFile | None = None

    @property
    def dropped(self) -> tuple[str, ...]:
        """The blocks that go."""
        return () if self.depth is None else self.depth.dropped

    @property
    def part(self) -> Network:
        """The network without them."""
        return network_without(self.network, self.dropped)


def check_examples(example_inputs: Any) -> None:
    """Raises if examples are a shape."""
    if isinstance(example_inputs, (tuple, list)) and all(isinstance(each, int) for each in example_inputs):
        allowed = f"tensors, as torch.zeros{tuple(example_inputs)}"
        raise InvalidValueError("example_inputs", example_inputs, allowed, reason="it is a shape")


class Open(NamedTuple):
    """The widths that may change.

    Attributes:
        allowed: the sizes that they may take.
        options: the sizes of each width that are worth trying, today's last.
        kept_by: the other widths that could change, each with the reason why it stays.
    """

    allowed: Allowed
    options: dict[str, Figures]
    kept_by: dict[str, str]

    def scored(self, scores: Mapping[str, Any]) -> Open:
        """Those of the widths that have scores; the others stay."""
        others = [name for name in self.options if name not in scores]
        kept_by = self.kept_by | dict.fromkeys(others, "there are no scores of its channels")
        options = {name: own for name, own in self.options.items() if name in scores}
        return Open(self.allowed._replace(keep=tuple(kept_by)), options, kept_by)


def open_widths(
    model: nn.Module,
    example_inputs: Any,
    network: Network,
    allowed: Allowed,
    options_of: Callable[[Allowed], dict[str, Figures]],
) -> Open:
    """The widths of a module that may change.

    Args:
        model, example_inputs, network: as in :class:`Problem`.
        allowed: what the caller allows, whose ``keep`` may name modules too.
        options_of: the options of each width that ``allowed`` does not keep.

    Raises:
        InvalidValueError: names that are unknown, no width that can change, or that is allowed to.
    """
    allowed = allowed._replace(keep=kept_widths(network, allowed.keep))
    check_room(network, allowed, options_of)
    options = options_of(allowed)
    kept_by = dict.fromkeys(allowed.keep, "kept as asked")
    if broken := _widths_that_break(model, example_inputs, network, options):
        kept_by |= dict.fromkeys(broken, "the code of the module depends on its size")
        allowed = allowed._replace(keep=tuple(kept_by))
        options = {name: own for name, own in options.items() if name not in broken}
    if not options:
        reasons = ", ".join(list(dict.fromkeys(each.fixed for each in network.widths.values() if each.fixed))[:3])
        raise InvalidValueError("model", network.name, "another module", reason=f"no width can change ({reasons})")
    return Open(allowed, options, kept_by)


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


def built(
    problem: Problem,
    choice: Choice,
    scores: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    seed: int,
    weights: nn.Module | None = None,
) -> Pruned:
    """The module at the sizes of a choice, which is read and priced again, and has to cost what was predicted.

    Args:
        problem: what is cut.
        choice: the sizes.
        scores: of channels; the best ones of each width stay.
        settings: for the report.
        seed: of a fine-tuning.
        weights: a module of the same shapes whose weights are taken, and which nobody changes; the original one by
            default.

    Raises:
        InvalidValueError: a module that cannot be rebuilt, or one above the limit.
    """
    model, network = problem.model, problem.part
    choice = choice._replace(sizes={name: size for name, size in choice.sizes.items() if name in network.widths})
    kept = {
        width: best_channels(scores[width], network.widths[width].multiple, size)
        for width, size in choice.sizes.items()
    }
    whole = model if weights is None else weights
    with without(whole, problem.dropped):
        small = resized(whole, network, keep=kept).eval()
    after = _priced_anew(small, problem, choice.sizes)
    report = _report(problem, choice, after, small, settings)
    found = Pruned(small, model, problem.network, kept, report, seed, problem.dropped)
    return found._cut_from(weights)


def with_stages(result: Pruned, work: Work, held_out: Sequence[Batch], loss: Loss, word: str = "pruned") -> Pruned:
    """The result with its task, and the original and the new module measured on held-out examples.

    The norms of the second one are estimated anew.
    """
    if held_out:
        task = Task(held_out, loss)
        with evaluated(result.original):
            before = Stage("original", task.measured(result.original, held_out))
        is_new = work.task is not None and re_estimate(result.model, work.batches("norms", NORM_BATCHES))
        after = task.measured(result.model, held_out)
        result.report.stages += [before, Stage(f"{word}, norms re-estimated" if is_new else word, after)]
    return result._with_task(work.task, held_out)


def settings_of(model: nn.Module, allowed: Allowed, keep: Sequence[str], **more: Any) -> dict[str, Any]:
    """What a result follows from, for its report."""
    of_torch = {"device": str(device_of(model)), "torch": torch.__version__}
    widths = {"keep": list(keep), "least": allowed.least, "multiple": allowed.multiple}
    return {"version": __version__, **more, **widths, **of_torch}


def _priced_anew(small: nn.Module, problem: Problem, sizes: Mapping[str, int]) -> Network:
    """The network of the new module, which has to cost what was predicted, and at most the limit."""
    network, array, limit = problem.part, problem.array, problem.limit
    wanted = network.at(sizes)
    try:
        found = from_torch(small, example_inputs=problem.example_inputs, name=network.name)
    except InvalidValueError as error:
        raise InvalidValueError("the pruned module", network.name, _REBUILT, reason=str(error)) from error
    for name, layer in wanted.items():  # sizes without products are those of today, and only bound the new ones
        if isinstance(layer, MemoryOnly) and isinstance(found.get(name), MemoryOnly):
            wanted[name] = found[name]
    predicted, priced = (cost_report(each, array).total for each in (wanted, found))
    measure = measure_of(array)
    one, other = (getattr(each, measure) for each in (predicted, priced))
    if one != other or predicted.macs != priced.macs:
        layer = next((each for each in {**wanted, **found} if wanted.get(each) != found.get(each)), network.name)
        reason = f"it takes {other} {measure} and not {one} as predicted: {layer!r} differs"
        raise InvalidValueError("the pruned module", network.name, _REBUILT, reason=reason)
    if other > limit.cycles * (1 + ROUNDING):
        reason = f"the sizes found take {other} {measure}, and the limit is {limit.cycles}"
        raise InvalidValueError(limit.field, limit.value, "report it: this is a fault of hwcost", reason=reason)
    return found


def _report(
    problem: Problem, choice: Choice, after: Network, small: nn.Module, settings: Mapping[str, Any]
) -> PruningReport:
    network, array, limit = problem.network, problem.array, problem.limit
    old, new = cost_report(network, array), cost_report(after, array)
    followed = {width for each in problem.part.priced.values() for width in each.widths}
    left = {}
    for name, width in network.widths.items():
        is_outside = name == f"{width.fixed} ({width.size})"  # of the inputs, of a kernel: no width of any layer's own
        if name in followed and name not in choice.sizes and width.size > 1 and not is_outside:
            left[name] = width.fixed or problem.kept_by.get(name) or _why_not_smaller(network, array, name)
    report = PruningReport(
        name=network.name,
        array=_words(array),
        measure=measure_of(array),
        asked=limit.asked,
        limit=limit.cycles,
        floor=choice.floor,
        before=old.total,
        after=new.total,
        parameters=(_count(problem.model), _count(small)),
        sizes={name: (network.widths[name].size, size) for name, size in choice.sizes.items()},
        layers=tuple(_layer(name, old, new, network, after) for name in network.priced),
        left_alone=left,
        gap=choice.gap,
        notes=list(problem.notes),
        settings=dict(settings),
        depth=problem.depth,
    )
    if problem.device is not None:
        report.on(problem.device, as_fitted=True)
    return report


def _layer(name: str, old: Report, new: Report, network: Network, after: Network) -> PrunedLayer:
    """A layer before and after; one that is not there any more costs nothing."""
    shapes = layer_shape(network[name]), layer_shape(after[name]) if name in after else "dropped"
    layers = network[name], after.get(name)
    return PrunedLayer(name, old.layers[name], new.layers.get(name, Cost()), shapes, layers)


def _why_not_smaller(network: Network, array: CostSource, width: str) -> str:
    if isinstance(array, MeasuredCosts) and not (array.sizes(network, width) < network.widths[width].size).any():
        return "no smaller size of it was measured"
    return f"no smaller size is worth its {'time' if measure_of(array) == 'seconds' else 'cycles'}"


def _words(array: CostSource) -> str:
    if isinstance(array, MeasuredCosts):
        return f"a table of measured costs: {plural(array.rows, 'row')} of {plural(len(array.layers), 'layer')}"
    return machine_of(array).in_words


def _count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
