"""A product that is priced on an array: its cycles in all, and what they consist of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hwcost.arrays import Size, product, total, true_divide
from hwcost.model.cost import Cost
from hwcost.model.layout import Work
from hwcost.model.spent import spent
from hwcost.model.sums import where
from hwcost.model.traffic import Traffic, moving_cycles, traffic_of

__all__ = ["Pricing"]


class Pricing(NamedTuple):
    """A product (or a whole stack of them) on an array, priced once; the rest is derived when it is asked for.

    Attributes:
        work: the product, and how it lies on the array.
        cycles: in all.
        compute: cycles of the folds.
        waiting: cycles in which the array waits for memory, at least 0 unless the maximum is a smooth one.
        memory, overhead: cycles of each transfer and each overhead by name; those that do not occur are left out.
        moved: elements of each transfer by name; empty on a machine without a memory limit.
        layouts: if products share an operand and sizes are arrays: where the second of two pricings is cheaper, and
            the two.
    """

    work: Work
    cycles: Size
    compute: Size
    waiting: Size
    memory: Mapping[str, Size]
    overhead: Mapping[str, Size]
    moved: Mapping[str, Size]
    layouts: tuple[Any, Pricing, Pricing] | None = None

    def pick(self, figure: Callable[[Pricing], Any]) -> Any:
        """A figure of the layout that is taken."""
        if self.layouts is None:
            return figure(self)
        second_is_cheaper, first, second = self.layouts
        return where(second_is_cheaper, second.pick(figure), first.pick(figure))

    @property
    def memory_cycles(self) -> Size:
        """The cycles in which operands move; 0 without a memory limit."""
        return moving_cycles(self.memory, self.work) if self.memory else 0

    @property
    def overhead_cycles(self) -> Size:
        """The cycles of all overheads."""
        return total(*self.overhead.values(), what="the overhead cycles") if self.overhead else 0

    @property
    def cost(self) -> Cost:
        """The cost."""
        gemm, array = self.work.gemm, self.work.array
        seconds = true_divide(self.cycles, array.clock_hz, what="the cycles")
        idle = product(array.idle_watts, seconds) if array.has_energy else None
        return Cost(
            macs=gemm.macs,
            cycles=self.cycles,
            seconds=seconds,
            folds=self.pick(lambda one: product(one.work.folds.count, one.work.folds.of_one_product, what="the folds")),
            pe_cycles=product(self.cycles, array.pes, what="cycles * PEs"),
            compute_cycles=self.compute,
            memory_cycles=self.memory_cycles,
            overhead_cycles=self.overhead_cycles,
            waiting_cycles=self.waiting,
            idle_joules=idle,
            **self.pick(lambda one: spent(one.work, one.moved or None)).figures(),
        )

    @property
    def traffic(self) -> Traffic:
        """The elements that cross each level of the memory."""
        traffic: Traffic = self.pick(lambda one: traffic_of(one.work, one.moved or None))
        return traffic
