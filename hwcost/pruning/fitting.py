"""The widths of a module, with all or only some of its blocks, that are within a limit and worth most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from hwcost.advice.measured import MeasuredCosts
from hwcost.advice.tables import Allowed, CostSource, changeable, cost_report, measure_of
from hwcost.errors import InvalidValueError
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.pruning.batches import Batch, Task
from hwcost.pruning.beginning import opened, valued
from hwcost.pruning.blocks import network_without, without
from hwcost.pruning.building import Open
from hwcost.pruning.choosing import Choice, choose, least_cost, stairs
from hwcost.pruning.curves import best_channels
from hwcost.pruning.folder import Losses
from hwcost.pruning.importance import Figures
from hwcost.pruning.result import Pruned
from hwcost.pruning.steps import of_the_part
from hwcost.pruning.valuing import Work

__all__ = ["Cutting", "Fit"]

_MET = "the limit is met without a cut"


class Fit(NamedTuple):
    """Sizes of widths for a module without some blocks.

    Attributes:
        dropped: the blocks.
        choice: the sizes.
        scores: of the channels of each width.
        kept_by: the widths that stay, each with the reason.
    """

    dropped: tuple[str, ...]
    choice: Choice
    scores: Mapping[str, Figures]
    kept_by: Mapping[str, str]

    def channels(self, network: Network) -> dict[str, Any]:
        """The channels that stay of each width that is cut: those with the best scores."""
        sizes = self.choice.sizes.items()
        return {name: best_channels(self.scores[name], network.widths[name].multiple, size) for name, size in sizes}


class Cutting(NamedTuple):
    """What is cut, to which limit and by what; ``dropped`` of its methods are the blocks that are not there.

    Attributes:
        model: the module, with its weights.
        example_inputs: for one inference.
        network: what was read from it.
        array: what says how much a layer costs.
        limit: on the cost.
        allowed: the sizes that widths may take.
        task: data and loss, if there are any.
        method: what decides; see :func:`hwcost.torch.prune`.
        seed, effort: see :func:`hwcost.torch.prune`.
        known: losses that were measured before, to which new ones are added.
        after: the result of the step before, if there is one.
    """

    model: nn.Module
    example_inputs: Any
    network: Network
    array: CostSource
    limit: Limit
    allowed: Allowed
    task: Task | None
    method: Any
    seed: int
    effort: int
    known: Losses
    after: Pruned | None

    def part(self, dropped: tuple[str, ...]) -> tuple[Network, CostSource]:
        """The network without these blocks, and what says how much its layers cost."""
        part = network_without(self.network, dropped)
        if not isinstance(self.array, MeasuredCosts) or part.keys() >= self.array.layers.keys():
            return part, self.array
        rows = {name: own for name, own in self.array.layers.items() if name in part}
        return part, MeasuredCosts(rows, self.array.measure, self.array.clock_hz)

    def cost(self, dropped: tuple[str, ...]) -> float:
        """What the network costs without these blocks; 0 if nothing is left of it."""
        part = network_without(self.network, dropped)
        return float(getattr(cost_report(part, self.array).total, measure_of(self.array))) if part.priced else 0.0

    def floor(self, dropped: tuple[str, ...]) -> float:
        """The same with every width at its least size."""
        if not (cost := self.cost(dropped)):
            return 0.0
        try:
            return least_cost(*self.part(dropped), self._opened(dropped).allowed)
        except InvalidValueError:  # no width can change
            return cost

    def opened(self, dropped: tuple[str, ...] = ()) -> Open:
        """The widths that may change; none if the limit is met without it.

        Raises:
            InvalidValueError: no width can change, or the limit is below the floor.
        """
        if self.cost(dropped) <= self.limit.cycles:
            return Open(self.allowed, {}, dict.fromkeys(changeable(self.part(dropped)[0]), _MET))
        return self._opened(dropped, self.limit)

    def _opened(self, dropped: tuple[str, ...], limit: Limit | None = None) -> Open:
        part, array = self.part(dropped)
        left = self.allowed.keep if not dropped else [name for name in self.allowed.keep if name in part.widths]
        allowed = self.allowed._replace(keep=tuple(left))
        with without(self.model, dropped):
            return opened(
                self._work(part), self.example_inputs, allowed, lambda each: stairs(part, array, each),
                None if limit is None else (array, limit),
            )  # fmt: skip

    def _work(self, part: Network) -> Work:
        return Work(self.model, part, self.task, self.seed)

    def _importance(self, names: list[str], dropped: tuple[str, ...]) -> Any:
        """What decides, for widths of these names: of scores, those of channels that are still there."""
        method = self.method
        if not isinstance(method, Mapping):
            return method
        if dropped:
            known = {*names, *(method.keys() - self.network.widths.keys())}
            method = {name: each for name, each in method.items() if name in known}
        return method if self.after is None else of_the_part(self.after, method, names)

    def fitted(
        self,
        own: Open,
        held_out: Sequence[Batch],
        progress: Callable[[int, int], Any] | None,
        dropped: tuple[str, ...] = (),
    ) -> Fit:
        """The sizes within the limit that are worth most.

        Args:
            own: the widths that may change.
            held_out, progress: see :func:`hwcost.torch.prune`.
            dropped: the blocks.

        Raises:
            InvalidValueError: scores that do not fit, a limit that widths with scores cannot meet.
        """
        part, array = self.part(dropped)
        if not own.options:  # the limit is met
            return Fit(dropped, Choice({}, self.cost(dropped), self.cost(dropped), 0.0), {}, own.kept_by)
        with without(self.model, dropped):
            scored, scores, values = valued(
                self._work(part), own, lambda names: self._importance(names, dropped), held_out,
                within=(array, self.limit), known_losses=self.known, progress=progress, prefix=self.key(dropped),
            )  # fmt: skip
        choice = choose(part, array, self.limit, scored.allowed, values, self.effort)
        return Fit(dropped, choice, scores, scored.kept_by)

    def key(self, dropped: tuple[str, ...]) -> str:
        """What the keys of losses begin with that were measured without these blocks."""
        return f"without {', '.join(dropped)}: " if dropped else ""
