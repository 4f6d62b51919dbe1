"""Which way of laying out a product is cheapest: among the cuts for several arrays, and of two layouts.

Sizes may be arrays: the choice is then made for every element of its own. A smooth relaxation chooses smoothly.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from hwcost.arrays import Size, is_number, product, total, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.model.gemm import Gemm
from hwcost.model.pricing import Pricing
from hwcost.model.splits import Split, splits_of
from hwcost.model.sums import where
from hwcost.relaxation import Relaxation

__all__ = ["cheaper", "fastest_cut"]


class PriceOne(Protocol):
    """Prices a product that lies on the arrays in one way."""

    def __call__(
        self, gemm: Gemm, array: SystolicArray, relaxation: Relaxation, split: Split | None = None
    ) -> Pricing: ...


def fastest_cut(one: PriceOne, gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Pricing:
    """The price of a product that is cut for the arrays of a chip in the way that takes the fewest cycles.

    ``one`` prices a product that is cut in a given way, or not at all.
    """
    best = one(gemm, array, relaxation)
    for split in splits_of(gemm, array, relaxation):
        other = one(gemm, array, relaxation, split)
        differ, faster, as_fast = split.parts > 1, other.cycles < best.cycles, other.cycles == best.cycles
        gains = differ & (faster | (as_fast & (other.compute < best.compute)))
        best = cheaper(best, other, gains, differ, relaxation)
    return best


class _Later(Mapping[str, Size]):
    """Figures that are made when they are asked for: most callers ask for cycles alone."""

    def __init__(self, make: Callable[[], dict[str, Size]]) -> None:
        self._make: Callable[[], dict[str, Size]] = make
        self._found: dict[str, Size] | None = None  # not a cached property, whose lock stops torch.compile

    @property
    def _made(self) -> dict[str, Size]:
        if self._found is None:
            self._found = self._make()
        return self._found

    def __getitem__(self, name: str) -> Size:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def cheaper(first: Pricing, second: Pricing, gains: Size, differ: Size, relaxation: Relaxation) -> Pricing:
    """The cheaper of two layouts of the same products, element by element; ``gains`` says where it is the second.

    A smooth relaxation takes the smooth minimum of the cycles where the layouts ``differ``, and scales the parts of
    the cheaper layout with it.
    """
    if not relaxation.smooths_maximum and is_number(first.cycles) and is_number(second.cycles):
        return second if gains else first
    least = cycles = where(gains, second.cycles, first.cycles)
    if relaxation.smooths_maximum:
        smooth = total(first.cycles, second.cycles, -relaxation.maximum(first.cycles, second.cycles))
        cycles = where(differ, smooth, least)
    scale = true_divide(cycles, least) if relaxation.smooths_maximum else 1

    def picked(of: Callable[[Pricing], Mapping[str, Size]], scale: Size = 1) -> Mapping[str, Size]:
        def make() -> dict[str, Size]:
            a, b = of(second), of(first)
            return {name: product(scale, where(gains, a.get(name, 0), b.get(name, 0))) for name in {**b, **a}}

        return _Later(make)

    return Pricing(
        first.work,
        cycles,
        product(scale, where(gains, second.compute, first.compute)),
        product(scale, where(gains, second.waiting, first.waiting)),
        picked(operator.attrgetter("memory")),
        picked(operator.attrgetter("overhead"), scale),
        picked(operator.attrgetter("moved")),
        layouts=(gains, first, second),
    )
