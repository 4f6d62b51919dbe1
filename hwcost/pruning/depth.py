"""How many blocks a residual network does without, and which: by losses that are measured.

Blocks are dropped one after the other: each time the one whose loss is the smallest for the cycles that it takes. Then
widths are cut to the limit with none, some or all of them dropped, and what has the lowest loss is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.importers.torch.resize import cut_in_place
from hwcost.network.limits import FILL
from hwcost.pruning.batches import Batch, Task
from hwcost.pruning.blocks import find_blocks, is_inside, without
from hwcost.pruning.building import Open
from hwcost.pruning.choosing import below_the_floor, kept_widths
from hwcost.pruning.fitting import Cutting, Fit
from hwcost.pruning.norms import of_the_batch
from hwcost.pruning.report import Block, Depth, Tried
from hwcost.pruning.valuing import EXAMPLES, of_at_most
from hwcost.units import percent

__all__ = ["Blocked", "best_depth", "with_blocks"]

MOST_TRIED = 4
_KEPT = "kept as asked"
_FREE = "its layers cost nothing"
_LESS = f"others went first; without it as well, less than {percent(FILL)} % of the limit is used"
_BETTER = "at the limit, the loss is lower with it"


class Blocked(NamedTuple):
    """What is cut, and the blocks that may go.

    Attributes:
        cutting: what is cut, to which limit; widths that stay have their own names.
        blocks: all that were found.
        stay: those of them that stay, each with the reason.
        floor: the cost that neither blocks nor widths can save.
    """

    cutting: Cutting
    blocks: tuple[str, ...]
    stay: Mapping[str, str]
    floor: float

    @property
    def free(self) -> tuple[str, ...]:
        """The blocks that may go."""
        return tuple(each for each in self.blocks if each not in self.stay)


def with_blocks(cutting: Cutting) -> Blocked:
    """Finds the blocks of a module.

    Names to keep are those of widths, and of modules with widths or blocks. A block stays if its own name is among
    them, that of a module around it, or that of anything inside it.

    Raises:
        InvalidValueError: a name to keep that is neither; a limit that no blocks and widths can meet.
    """
    found = find_blocks(cutting.model, cutting.example_inputs, cutting.network)
    widths: dict[str, None] = {}
    stay = dict(found.needed)
    for name in cutting.allowed.keep:
        own = [each for each in found.can_go if is_inside(each, [name]) or is_inside(name, [each])]
        stay |= dict.fromkeys(own, _KEPT)
        try:
            widths |= dict.fromkeys(kept_widths(cutting.network, [name]))
        except InvalidValueError:
            if not own:
                raise
    cutting = cutting._replace(allowed=cutting.allowed._replace(keep=tuple(widths)))
    blocks = (*found.can_go, *found.needed)
    free = tuple(each for each in blocks if each not in stay)
    floor, limit = cutting.floor(free), cutting.limit
    if floor > limit.cycles:
        names = [*(name for name, why in stay.items() if why == _KEPT), *widths]
        allowed = cutting.allowed._replace(keep=tuple(names))
        raise below_the_floor(cutting.network, cutting.array, limit, floor, allowed, len(free))
    return Blocked(cutting, blocks, stay, floor)


class _Search:
    """Losses without blocks, and the widths that may change then; each is found once."""

    def __init__(
        self, cutting: Cutting, judge: Task, held_out: Sequence[Batch], progress: Callable[[int, int], Any] | None
    ) -> None:
        self.cutting, self.judge, self.progress = cutting, judge, progress
        self.held_out = of_at_most(held_out, EXAMPLES)
        self.opens: dict[tuple[str, ...], Open | InvalidValueError] = {}
        self.done = 0

    def loss(self, dropped: tuple[str, ...], later: int, fit: Fit | None = None) -> float:
        """The held-out loss without blocks, with the widths that a fit has; ``later`` measurements follow."""
        sizes = "" if fit is None else ", ".join(f"{name}={size}" for name, size in fit.choice.sizes.items())
        own = self.cutting.known.setdefault(f"{self.cutting.key(dropped)}{sizes}", {})
        model, (part, _) = self.cutting.model, self.cutting.part(dropped)
        if 0 not in own:
            keep = {} if fit is None else fit.channels(part)
            with without(model, dropped), cut_in_place(model, part, keep), of_the_batch(model):
                own[0] = self.judge.measured(model, self.held_out).loss
        self.tell(0, later)
        return own[0]

    def tell(self, done: int, whole: int) -> None:
        """Says that one more measurement is done, after which ``whole - done`` follow."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.done + whole - done)

    def followed_by(self, later: int) -> Callable[[int, int], Any]:
        """The progress of work that ``later`` measurements follow."""
        return lambda done, whole: self.tell(done, whole + later)

    def open(self, dropped: tuple[str, ...]) -> Open | InvalidValueError:
        """The widths that may change, or why they cannot reach the limit."""
        if dropped not in self.opens:
            try:
                self.opens[dropped] = self.cutting.opened(dropped)
            except InvalidValueError as error:
                self.opens[dropped] = error
        return self.opens[dropped]

    def steps(self, blocks: Sequence[str], alone: dict[str, float]) -> list[tuple[str, ...]]:
        """Sets of blocks to drop, each with one more block than the one before; the first is empty.

        A block goes only if then at least 97 % of the limit can be used; or if nothing before has met the limit.
        ``alone`` gets the loss that each block alone costs.
        """
        cutting = self.cutting
        steps: list[tuple[str, ...]] = [()]
        least = FILL * cutting.limit.cycles
        before = self.loss((), len(blocks))
        while True:
            now = steps[-1]
            cost = cutting.cost(now)
            rests = {each: cutting.cost((*now, each)) for each in blocks if each not in now}
            rests = {each: rest for each, rest in rests.items() if 0 < rest < cost}
            some = [each for each, rest in rests.items() if rest >= least]
            if not some and not any(isinstance(self.open(each), Open) for each in steps):
                some = list(rests)
            if not some:
                return steps
            losses = {}
            for at, each in enumerate(some, 1):
                losses[each] = self.loss(_ordered((*now, each), blocks), len(some) - at)
            if not now:
                alone |= {each: loss - before for each, loss in losses.items()}
            best = min(some, key=lambda each: (losses[each] - before) / (cost - rests[each]))
            before = losses[best]
            steps.append(_ordered((*now, best), blocks))


def _ordered(dropped: Sequence[str], blocks: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in blocks if each in dropped)


def best_depth(
    given: Blocked, judge: Task, held_out: Sequence[Batch], progress: Callable[[int, int], Any] | None
) -> tuple[Fit, Depth]:
    """The sizes of widths with the lowest loss, with as many blocks dropped as lead to it.

    Args:
        given: what is cut, and the blocks that may go.
        judge: with the loss.
        held_out: examples to measure on.
        progress: see :func:`hwcost.torch.prune`.

    Returns:
        The sizes with the blocks that go, and what is known of each block.

    Raises:
        InvalidValueError: a limit that no blocks and widths can meet.
    """
    cutting, alone = given.cutting, dict[str, float]()
    search = _Search(cutting, judge, held_out, progress)
    steps = search.steps(given.free, alone)
    found = [(each, own) for each in steps if isinstance(own := search.open(each), Open)]
    if not found:
        error = search.open(steps[-1])
        assert isinstance(error, InvalidValueError)
        raise error
    fits, tried = [], []
    for later, (dropped, own) in reversed(list(enumerate(reversed(_some_of(found))))):
        fits.append(cutting.fitted(own, held_out, search.followed_by(later + 1), dropped))
        tried.append(Tried(dropped, cutting.cost(dropped), search.loss(dropped, later, fits[-1])))
    best = min(range(len(tried)), key=lambda at: tried[at].loss)
    whole = cutting.cost(())
    rows = []
    for name in given.blocks:
        cost = whole - cutting.cost((name,))
        why = _FREE if cost <= 0 else _BETTER if name in steps[-1] else _LESS
        stays = "" if name in tried[best].dropped else given.stay.get(name, why)
        rows.append(Block(name, cost, alone.get(name), stays, name not in given.stay))
    return fits[best], Depth(tuple(rows), tuple(tried))


def _some_of(found: Sequence[Any]) -> list[Any]:
    """The first one, and at most four of the others, the last one among them."""
    others = found[1:]
    places: Any = np.unique(np.round(np.linspace(0, len(others) - 1, MOST_TRIED)).astype(int)) if others else []
    return [found[0], *(others[place] for place in places)]
