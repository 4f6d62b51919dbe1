"""Where the PE-cycles of a layer go: cycles times processing elements (PE), by what the elements do in them.

A product folds over an R x C array so that its extents S_R, S_C lie along rows and columns and T streams, with A_R
folds along rows and A_C along columns (:mod:`hwcost.model.formula`), ``count`` times:

    useful          count * S_R * S_C * T                        the MACs
    ragged rows     count * (A_R * R - S_R) * S_C * T            rows that the extent does not fill
    ragged columns  count * A_R * R * (A_C * C - S_C) * T        columns that it does not fill, over all rows
    ragged arrays   arrays * MACs of the longest part - MACs     arrays with less to do than another, or nothing
    slow rows       the streaming of rows that take longer than a cycle (``cycles_per_row``), beyond that one cycle
    fill and drain  all other cycles of the folds beyond one for each of the T rows of each fold, times R * C
    overhead        cycles on top of those of the folds, times R * C: start-up, constants
    waiting         cycles in which the array waits for memory, times R * C

All eight are ``Cost.pe_cycles``, and none is below zero. If several arrays share the product, the letters are those of
the longest part, and all kinds but the first count for every array. Fill and drain holds all that a fold takes in
addition to streaming, also what a device adds to every fold.

Folds may take less than the PE-cycles of the first five kinds: if an array leaves its last fold out of the count
(``counts_last_fold``), if rows stream faster than one per cycle, or by a table of folds (``col_table``). Then what the
useful ones leave of them is shared out in proportion to ragged and slow rows. If not even the useful ones fit, as much
of overhead and waiting is useful.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwcost.arrays import Size, Table, is_number, maximum, product, total, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import check, may_be_too_few, price
from hwcost.model.layers import Layer
from hwcost.model.layout import lowered
from hwcost.model.pricing import Pricing
from hwcost.model.sums import Sums, where
from hwcost.tables import Facts
from hwcost.units import number, percent

__all__ = ["KINDS", "CycleBreakdown", "breakdown", "layer_breakdown"]

KINDS: Mapping[str, str] = Table(
    {
        "useful": "useful",
        "ragged_rows": "ragged rows",
        "ragged_cols": "ragged columns",
        "ragged_arrays": "ragged arrays",
        "slow_rows": "slow rows",
        "fill_and_drain": "fill and drain",
        "overhead": "overhead",
        "waiting": "waiting for memory",
    }
)
"""The fields of :class:`CycleBreakdown` and their names in words."""


@dataclass(frozen=True, eq=False, repr=False)
class CycleBreakdown(Sums, Facts):
    """PE-cycles, one field for each term above: numbers, or arrays for a sweep. They add and scale, like costs.

    >>> one = CycleBreakdown(useful=2400, ragged_rows=32)
    >>> (one + one).pe_cycles, (3 * one).idle, one.shares["useful"] == 2400 / 2432
    (4864, 96, True)
    """

    useful: Size = 0
    ragged_rows: Size = 0
    ragged_cols: Size = 0
    ragged_arrays: Size = 0
    slow_rows: Size = 0
    fill_and_drain: Size = 0
    overhead: Size = 0
    waiting: Size = 0

    @property
    def in_words(self) -> str:
        """How much there is, and how much of it is useful, on one line."""
        whole = self.pe_cycles
        if not is_number(whole):
            return f"arrays of shape {tuple(whole.shape)}"
        return f"{number(whole)} PE-cycles, {percent(self.shares['useful'])} % useful"

    def facts(self) -> dict[str, str]:
        """Each kind with its share; none if they are arrays."""
        if not is_number(self.pe_cycles):
            return {}
        return {
            KINDS[name]: f"{percent(share)} %, {number(getattr(self, name))} PE-cycles"
            for name, share in self.shares.items()
            if getattr(self, name)
        }

    @property
    def pe_cycles(self) -> Size:
        """All of them: cycles times processing elements."""
        return total(*self.figures().values(), what="the PE-cycles")

    @property
    def idle(self) -> Size:
        """All that are not useful."""
        return total(*(getattr(self, name) for name in KINDS if name != "useful"), what="the idle PE-cycles")

    @property
    def shares(self) -> dict[str, Size]:
        """Each kind over all PE-cycles; 0 if there are none."""
        whole = self.pe_cycles
        if is_number(whole) and whole == 0:
            return dict.fromkeys(KINDS, 0.0)
        return {name: true_divide(part, whole, what=KINDS[name]) for name, part in self.figures().items()}


def layer_breakdown(layer: Layer, array: SystolicArray | str) -> CycleBreakdown:
    """Where the PE-cycles of a layer go.

    Args:
        layer: anything with ``gemms()``; its sizes may be arrays, and so may those of the array.
        array: the accelerator, or the name of a device.

    Returns:
        PE-cycles that add up to those of :func:`hwcost.layer_cost`: exactly in integers, unless they had to be shared
        out, else to rounding.

    Raises:
        InvalidValueError: something that is not a layer, or a total too large for the integer arrays it is computed in.

    >>> from hwcost import Linear
    >>> breakdown = layer_breakdown(Linear(12, 6), SystolicArray(8, 8))
    >>> {name: value for name, value in breakdown.figures().items() if value}
    {'useful': 72, 'ragged_rows': 24, 'ragged_cols': 32}
    """
    array = check(layer, array)
    return sum((breakdown(price(gemm, array)) for gemm in layer.gemms()), start=CycleBreakdown())


def breakdown(pricing: Pricing) -> CycleBreakdown:
    """Where the PE-cycles of a product go, from its exact price."""
    found: CycleBreakdown = pricing.pick(_breakdown)
    return found


def _breakdown(pricing: Pricing) -> CycleBreakdown:
    array, folds, macs = pricing.work.array, pricing.work.folds, pricing.work.gemm.macs
    flow, laid = folds.dataflow, lowered(pricing.work.part, array)  # without channels that only pad
    rows_extent, cols_extent, time = (getattr(laid, letter) for letter in (flow.rows, flow.cols, flow.time))
    rows = product(folds.along_rows, folds.rows, what="the rows of all folds")
    cols = product(folds.along_cols, folds.cols, what="the columns of all folds")
    count = product(array.arrays, folds.count)
    ragged_rows = product(count, _left(rows, rows_extent), cols_extent, time)
    ragged_cols = product(count, rows, _left(cols, cols_extent), time)
    streaming = total(product(count, rows_extent, cols_extent, time), ragged_rows, ragged_cols)
    per_row = array.cycles_per_row
    is_slow = not (type(per_row) is float and per_row <= 1)
    ragged_arrays = _left(product(array.arrays, pricing.work.part.macs), macs)
    slow_rows = product(streaming, maximum(total(per_row, -1), 0)) if is_slow else 0
    in_folds: tuple[Size, ...] = ragged_rows, ragged_cols, ragged_arrays, slow_rows
    of_folds = _of_pes(pricing.compute, array)
    others = tuple(_of_pes(cycles, array) for cycles in (pricing.overhead_cycles, pricing.waiting))
    if may_be_too_few(array):
        in_folds = _within(in_folds, _left(of_folds, macs))
        others = _within(others, total(*others, -_left(macs, of_folds)))
        of_folds = maximum(of_folds, macs)
    ragged_rows, ragged_cols, ragged_arrays, slow_rows = in_folds
    overhead, waiting = others
    return CycleBreakdown(
        useful=macs,
        ragged_rows=ragged_rows,
        ragged_cols=ragged_cols,
        ragged_arrays=ragged_arrays,
        slow_rows=slow_rows,
        fill_and_drain=_left(of_folds, total(macs, *in_folds)),
        overhead=overhead,
        waiting=waiting,
    )


def _within(parts: tuple[Size, ...], most: Size) -> tuple[Size, ...]:
    """Parts whose sum is at most ``most``: as they are, or less of each in proportion."""
    whole = total(*parts)
    if is_number(whole) and is_number(most) and whole <= most:
        return parts
    share = true_divide(most, maximum(whole, 1))
    return tuple(where(whole > most, product(part, share), part) for part in parts)


def _left(size: Size, extent: Size) -> Size:
    """What the extent leaves empty; at least 0, since partial folds are rounded."""
    return maximum(total(size, -extent, what="what is left of the folds"), 0)


def _of_pes(cycles: Size, array: SystolicArray) -> Size:
    return product(cycles, array.pes, what="cycles * PEs")
