"""How every work on a module begins: it is read, its limit found, and what its channels are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torch import nn

from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.tables import Allowed, CostSource, check_source
from hwcost.devices import DeviceFile
from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.importers import from_torch
from hwcost.importers.torch.reader import unwrapped
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Loss
from hwcost.pruning.building import Open, check_examples, open_widths
from hwcost.pruning.choosing import check_floor, limit_of
from hwcost.pruning.folder import Losses
from hwcost.pruning.importance import SCORES, Figures, check_kind
from hwcost.pruning.tuning import trainable
from hwcost.pruning.valuing import Work, held_out_batches, values_of

__all__ = [
    "Begun", "begun", "check_scored", "notes_of", "opened", "read", "read_within", "valued", "words_of",
]  # fmt: skip


def read(model: nn.Module, example_inputs: Any, name: str | None) -> Network:
    """The network that a module is.

    Raises:
        InvalidValueError: examples that are a shape, a module that cannot be read, or one in a wrapper, whose
            parameters have other names than the network.
    """
    check_examples(example_inputs)
    if isinstance(model, nn.Module) and (inner := unwrapped(model)) is not model:
        path = next(name for name, each in model.named_modules() if each is inner)
        reason = f"it wraps the module that is to be cut, a {type(inner).__name__}"
        raise InvalidValueError("model", type(model).__name__, f"pass model.{path}, and wrap the result", reason=reason)
    return from_torch(model, example_inputs=example_inputs, name=name)


class Within(NamedTuple):
    """What a limit is measured with.

    Attributes:
        source: what says how much a layer costs.
        limit: on the network.
        device: the one that was named; None for an array or a table.
    """

    source: CostSource
    limit: Limit
    device: DeviceFile | None


def read_within(network: Network, array: CostSource | str, **limit: float | None) -> Within:
    """What says how much a layer costs, and the limit on the network.

    Raises:
        InvalidValueError: as :func:`hwcost.advice.tables.check_source` and :func:`hwcost.pruning.choosing.limit_of`.
    """
    device = named_device(array)
    source = check_source(network, array if device is None else device.array, skip_unsupported=False)
    return Within(source, limit_of(network, source, **limit), device)


def check_scored(model: nn.Module, importance: Any) -> str:
    """An importance for a training, in words: one of :data:`hwcost.pruning.importance.SCORES` or the caller's own.

    Raises:
        InvalidValueError: another importance, a module without a parameter to train.
    """
    check_kind(importance)
    if isinstance(importance, str):
        check_one_of("importance", importance, list(SCORES))
    trainable(model)
    return words_of(importance)


def words_of(importance: Any) -> str:
    """An importance for reports."""
    return importance if isinstance(importance, str) else "scores of the caller's own"


def notes_of(network: Network, array: CostSource | None = None) -> list[str]:
    """What else to know of a network, and of a table of costs."""
    return [*network.notes, *(array.notes(network) if isinstance(array, MeasuredCosts) else ())]


class Begun(NamedTuple):
    """Widths that may change, and what they are worth.

    Attributes:
        own: the widths.
        held_out: batches to measure on.
        notes: on these.
        scores: of the channels of each width.
        values: of the sizes of each width.
    """

    own: Open
    held_out: list[Batch]
    notes: list[str]
    scores: dict[str, Figures]
    values: dict[str, Figures]


def opened(
    work: Work,
    example_inputs: Any,
    allowed: Allowed,
    options_of: Callable[[Allowed], dict[str, Figures]],
    within: tuple[CostSource, Limit] | None = None,
) -> Open:
    """The widths of a module that may change, before anything is measured; arguments are those of :func:`begun`.

    Raises:
        InvalidValueError: no width can change, a limit below the floor.
    """
    own = open_widths(work.model, example_inputs, work.network, allowed, options_of)
    if within is not None:
        check_floor(work.network, *within, own.allowed)
    return own


def valued(
    work: Work,
    own: Open,
    importance: Callable[[list[str]], Any],
    held_out: Sequence[Batch],
    *,
    within: tuple[CostSource, Limit] | None = None,
    known_losses: Losses | None = None,
    progress: Callable[[int, int], Any] | None = None,
    prefix: str = "",
) -> tuple[Open, dict[str, Figures], dict[str, Figures]]:
    """The widths that have scores, the scores of their channels, and the values of their sizes.

    Arguments are those of :func:`begun`; ``prefix`` is that of :func:`hwcost.pruning.curves.measured_values`.

    Raises:
        InvalidValueError: scores that do not fit, a limit below the floor of the widths that have some.
    """
    scores, values = values_of(
        work, importance(list(own.options)), own.options, held_out, known_losses, progress, prefix
    )
    scored = own.scored(scores)
    if within is not None and scored.allowed != own.allowed:  # widths without scores stay
        check_floor(work.network, *within, scored.allowed)
    return scored, scores, values


def begun(
    work: Work,
    example_inputs: Any,
    allowed: Allowed,
    options_of: Callable[[Allowed], dict[str, Figures]],
    importance: Callable[[list[str]], Any],
    loss: Loss,
    held_out: Iterable[Any] | None,
    *,
    within: tuple[CostSource, Limit] | None = None,
    known_losses: Losses | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Begun:
    """The widths of a module that may change, and what they are worth.

    Args:
        work: the module and its task.
        example_inputs: for one inference.
        allowed, options_of: as for :func:`hwcost.pruning.building.open_widths`.
        importance: from the names of widths to what decides, as for :func:`hwcost.pruning.valuing.values_of`.
        loss, held_out: batches to measure on and their loss, as for :func:`hwcost.torch.prune`.
        within: costs and a limit. If it is below the floor, this is found before anything is measured.
        known_losses, progress: as for :func:`hwcost.torch.prune`.

    Raises:
        InvalidValueError: no width can change, a limit below the floor, data or scores that do not fit.
    """
    own = opened(work, example_inputs, allowed, options_of, within)
    held, notes = held_out_batches(work.task, held_out, work.model, loss, work.seed)
    scored, scores, values = valued(
        work, own, importance, held, within=within, known_losses=known_losses, progress=progress
    )
    return Begun(scored, held, notes, scores, values)
