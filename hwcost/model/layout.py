"""How a product lies on an array: its extents along rows, along columns and in time, and the folds that they need.

Folds along the columns may be a table of widths, of any shape. Its steps t_1, t_2 - t_1, ... recur with its length P:

    f(n) = sum_r (t_{r+1} - t_r) * ceil((n - r) / P),        t_0 = 0

so that a relaxation that knows a ceiling knows every table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hwcost.arrays import Size, ceil_divide, maximum, product, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.folds import Folds, last_fold
from hwcost.machine.rows import called
from hwcost.model.gemm import Gemm, share
from hwcost.model.splits import Split
from hwcost.model.sums import where
from hwcost.model.tiles import Tile, patched, tile_of
from hwcost.relaxation import EXACT, Relaxation

if TYPE_CHECKING:
    from hwcost.model.least import Chosen

__all__ = ["Work", "is_depthwise", "is_zero", "lay_out", "lowered", "output_blocks", "padded", "partly", "tabled"]

_LOWERING = frozenset({"lowering", "depthwise_columns", "spreads_vectors"})
"""Fields of a machine that lay something else than the product itself on the array."""
_NUMBERS: Any = (int, float, np.generic)  # tested in line: the checks run for every product


class Work(NamedTuple):
    """What a term of the model sees: a product (or a whole stack of them) and how it lies on an array.

    Attributes:
        gemm: the product.
        array, folds, relaxation: the array, how the product lies on it, and how ceilings are taken.
        padded: the product with its channels padded to the array's multiple: what is stored, moved and laid out.
        part: the longest part of the product if several arrays share it, or else the product.
        letter, parts: along which letter it is cut ("m", "n", "k" or "count"; empty if it is whole), and how often.
        tile: the outputs that are worked on at a time; None on a machine without tiles.
        tiling: what the tiling moves that moves least; None on a machine without buffers.
    """

    gemm: Gemm
    array: SystolicArray
    folds: Folds
    relaxation: Relaxation
    padded: Gemm
    part: Gemm
    letter: str = ""
    parts: Size = 1
    tile: Tile | None = None
    tiling: Chosen | None = None

    @classmethod
    def of(cls, gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT, split: Split | None = None) -> Work:
        """A product on an array, or the longest part of it on one of several; ``folds`` are those of this array."""
        whole = padded(gemm, array, relaxation)
        tiling = _tiling_of(whole, array, relaxation, gemm.on_chip) if array.has_buffers else None
        if split is None:
            tile = _tile_of(whole, array, relaxation) if array.has_tiles else None
            return cls(gemm, array, lay_out(whole, array, relaxation), relaxation, whole, gemm, "", 1, tile, tiling)
        letter, parts, part = split
        folds = lay_out(padded(part, array, relaxation, gemm.count), array, relaxation)
        return cls(gemm, array, folds, relaxation, whole, part, letter, parts, tiling=tiling)

    @property
    def alone(self) -> Work:
        """The longest part as if it were the whole product."""
        whole = padded(self.part, self.array, self.relaxation, self.gemm.count)
        return self._replace(gemm=self.part, padded=whole, letter="", parts=1)


def _tiling_of(gemm: Gemm, array: SystolicArray, relaxation: Relaxation, on_chip: tuple[str, ...]) -> Chosen:
    from hwcost.model.least import tiling_of  # five modules that a machine without buffers does not start with

    return tiling_of(gemm, array, relaxation, on_chip)


def padded(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT, groups: Size | None = None) -> Gemm:
    """The product with its channels padded to the array's multiple; one of several groups stays as it is.

    ``groups`` are those of the layer if the product is a part of it, or else ``gemm.count``.

    >>> array = SystolicArray(8, 8, channel_multiple=4)
    >>> padded(Gemm(m=100, n=16, k=75, window=(5, 5)), array)
    Gemm(m=100, n=16, k=100, count=1)
    """
    multiple = array.channel_multiple
    if type(multiple) is int and multiple == 1:
        return gemm
    channels = share(gemm.k, gemm.positions)
    more = product(relaxation.ceil_div(channels, multiple), multiple)
    more = where((gemm.count if groups is None else groups) > 1, channels, more)
    inputs = (product(share(product(*gemm.inputs), channels), more),) if gemm.inputs else ()
    return gemm.with_sizes(k=product(gemm.positions, more), inputs=inputs)


def lay_out(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Folds:
    """The folds of a product on an array.

    >>> folds = lay_out(Gemm(m=1, n=16, k=150), SystolicArray(8, 8))
    >>> folds.along_rows, folds.along_cols, folds.streamed
    (19, 2, 1)
    """
    flow, laid = array.dataflow_row, lowered(gemm, array)
    if not (_is_one(array.patch_height) and _is_one(array.patch_width)):
        laid = laid.with_sizes(m=patched(laid.m, array, relaxation))
    rows_extent, cols_extent = getattr(laid, flow.rows), getattr(laid, flow.cols)
    streamed = getattr(laid, flow.time)
    along_rows, along_cols = relaxation.ceil_divs((rows_extent, cols_extent), (array.rows, array.cols))
    if not _is_one(array.positions_at_once):
        along_rows = _least(along_rows, _sharing(gemm, array, relaxation), relaxation)
    if array.col_table:
        along_cols = tabled(cols_extent, array.col_table, relaxation)
    in_time = 1 if array.max_streamed is None else relaxation.ceil_div(streamed, array.max_streamed)
    streamed, most = _lengthened(streamed, in_time, array, relaxation)
    return Folds(
        count=laid.count,
        along_rows=partly(along_rows, rows_extent, array.rows, array.row_stairs),
        along_cols=along_cols if array.col_table else partly(along_cols, cols_extent, array.cols, array.col_stairs),
        in_time=in_time,
        rows_extent=rows_extent,
        cols_extent=cols_extent,
        streamed=_times(array.cycles_per_row, streamed),
        most_streamed=None if most is None else _times(array.cycles_per_row, most),
        rows=array.rows,
        cols=array.cols,
        dataflow=flow,
        maximum=relaxation.maximum,
    )


def output_blocks(gemm: Gemm, array: SystolicArray, relaxation: Relaxation = EXACT) -> Size:
    """Blocks of rows x cols outputs of a product.

    >>> output_blocks(Gemm(m=17, n=16, k=150), SystolicArray(8, 8))
    6
    """
    along_rows, along_cols = relaxation.ceil_divs((gemm.m, gemm.n), (array.rows, array.cols))
    return product(along_rows, along_cols, what="the blocks of outputs")


def lowered(gemm: Gemm, array: SystolicArray) -> Gemm:
    """The product that is laid on the array.

    >>> depthwise = Gemm(m=100, n=1, k=9, count=32, window=(3, 3))
    >>> lowered(depthwise, SystolicArray(8, 8, depthwise_columns=True))
    Gemm(m=100, n=32, k=9, count=1)
    """
    if array.stated_names.isdisjoint(_LOWERING):  # the product itself, and most are
        return gemm
    laid, row = _in_columns(gemm, array), array.lowering
    found = array.lowering_row.lower(laid) if isinstance(row, str) else called(row, "lower", laid)
    if not isinstance(found, Gemm):
        raise InvalidValueError(f"Lowering.lower of {str(array.lowering)!r}", found, "a Gemm")
    return _spread(found, array) if array.spreads_vectors else found


def _spread(gemm: Gemm, array: SystolicArray) -> Gemm:
    """The product with its filters along rows and columns if it has a single row; as many MACs in all."""
    rows, is_vector = -maximum(-array.rows, -gemm.n), gemm.m == 1
    filters = where(is_vector, true_divide(gemm.n, rows), gemm.n)
    return gemm.with_sizes(m=where(is_vector, rows, gemm.m), n=filters)


def _tile_of(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Tile:
    depthwise = array.depthwise_columns and is_depthwise(gemm)
    laid, sharing = _in_columns(gemm, array), _shares_rows(gemm, array)
    return tile_of(laid, array, relaxation, shares=sharing, is_depthwise=depthwise)


def is_depthwise(gemm: Gemm) -> Any:
    """Whether a product is one of several of a single channel each."""
    return (share(gemm.k, gemm.positions) == 1) & (gemm.count > 1)


def _in_columns(gemm: Gemm, array: SystolicArray) -> Gemm:
    if not array.depthwise_columns:
        return gemm
    found = is_depthwise(gemm)
    filters = where(found, product(gemm.n, gemm.count, what="the filters"), gemm.n)
    return gemm.with_sizes(n=filters, count=where(found, 1, gemm.count))


def _sharing(gemm: Gemm, array: SystolicArray, relaxation: Relaxation) -> Size:
    """Folds along rows for each position of the kernel, if several share the rows."""
    positions, channels = gemm.positions, share(gemm.k, gemm.positions)
    at_once = -maximum(-array.positions_at_once, -positions)
    folds = relaxation.ceil_div(product(at_once, channels), array.rows)
    return true_divide(product(ceil_divide(positions, at_once), folds), positions)


def _shares_rows(gemm: Gemm, array: SystolicArray) -> Any:
    if _is_one(array.positions_at_once):
        return False
    alone = ceil_divide(share(gemm.k, gemm.positions), array.rows)
    return total(alone, -_sharing(gemm, array, EXACT)) > 0


def _least(a: Size, b: Size, relaxation: Relaxation) -> Size:
    return total(a, b, -relaxation.maximum(a, b))


def tabled(extent: Size, table: tuple[float, ...], relaxation: Relaxation = EXACT) -> Size:
    """Folds of an extent by a table of them.

    >>> [tabled(n, (1.0, 3.0, 2.0)) for n in (1, 2, 3, 4, 7)]
    [1.0, 3.0, 2.0, 3.0, 5.0]
    """
    steps = [after - before for before, after in zip((0.0, *table), table, strict=False)]
    found = [
        product(step, maximum(relaxation.ceil_div(total(extent, -index), len(table)), 0))
        for index, step in enumerate(steps)
        if step
    ]
    return total(*found, what="the folds")


def _is_one(size: Size) -> bool:
    return type(size) is int and size == 1


def _lengthened(
    streamed: Size, in_time: Size, array: SystolicArray, relaxation: Relaxation
) -> tuple[Size, Size | None]:
    """The rows charged for all folds in time, and for the longest of them; each is charged min_streamed at least."""
    most, least = array.max_streamed, array.min_streamed
    if is_zero(least):
        return streamed, most
    if most is None:
        return relaxation.maximum(streamed, least), None
    whole, last = (relaxation.maximum(rows, least) for rows in (most, last_fold(in_time, most, streamed)))
    return total(product(total(in_time, -1), whole), last), whole


def partly(folds: Size, extent: Size, size: Size, stairs: Size) -> Size:
    """Alpha * ceil(x) + (1 - alpha) * x: the folds if hardware hides part of the step."""
    if type(stairs) is float and stairs == 1.0:
        return folds
    return total(product(stairs, folds), product(1 - stairs, true_divide(extent, size)))


def _times(factor: Size, size: Size) -> Size:
    return size if type(factor) is float and factor == 1.0 else product(factor, size)


def is_zero(size: Size) -> bool:
    """Whether a size is the number 0."""
    return isinstance(size, _NUMBERS) and bool(size == 0)
