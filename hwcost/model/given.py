"""A product on a machine with buffers, as the sizes that its tilings depend on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from hwcost.arrays import Size, is_float, is_number, namespace, true_divide
from hwcost.machine.array import SystolicArray
from hwcost.model.gemm import Gemm, share
from hwcost.model.strips import Strips, least, strips_of
from hwcost.model.tilings import Problem

__all__ = ["MOST", "Given", "given_of", "problem_of"]

MOST = 2.0**40
"""A number above all sizes of tiles."""
_KEPT = 1e-12
"""The share of its size that an operand takes which is there already; not 0, so that nothing divides by it."""


class Given(NamedTuple):
    """What the tiling of a product depends on: floats, or arrays of them."""

    strips: Strips
    channels: Any
    filters: Any
    positions: Any
    m: Any
    n: Any
    k: Any
    """what the array takes of each letter"""
    input_size: Any
    weight_size: Any
    partial_size: Any
    reload_weight: Any
    rooms: tuple[Any, ...]
    sharing: tuple[tuple[str, ...], ...]
    is_doubled: bool
    is_plain: bool

    @property
    def sizes(self) -> list[Any]:
        """All sizes."""
        return [*self.strips, *(getattr(self, name) for name in _SIZES), *self.rooms]

    def map(self, function: Callable[[Any], Any]) -> Given:
        """The same with a function applied to each size."""
        return self._replace(
            strips=Strips(*map(function, self.strips)),
            rooms=tuple(map(function, self.rooms)),
            **{name: function(getattr(self, name)) for name in _SIZES},
        )


_SIZES = (
    "channels",
    "filters",
    "positions",
    "m",
    "n",
    "k",
    "input_size",
    "weight_size",
    "partial_size",
    "reload_weight",
)


def given_of(gemm: Gemm, array: SystolicArray, kept: Collection[str] = ()) -> Given:
    """What the tilings of a product on a machine depend on; operands that are ``kept`` need no tile."""
    flow = array.dataflow_row
    sides: dict[str, Size] = {flow.rows: array.rows, flow.cols: array.cols}
    is_plain = not gemm.image or all(type(size) is int and size == 1 for size in gemm.image[5:])
    m, n, k = (least(_soft(sides.get(letter, 1)), _soft(getattr(gemm, letter))) for letter in "mnk")
    size = _soft(array.bytes_per_element)
    return Given(
        strips=Strips(*map(_soft, strips_of(gemm))),
        channels=_soft(share(gemm.k, gemm.positions)),
        filters=_soft(gemm.n),
        positions=_soft(gemm.positions),
        m=m,
        n=n,
        k=k,
        input_size=size * (_KEPT if "inputs" in kept else 1.0),
        weight_size=size * (_KEPT if "weights" in kept else 1.0),
        partial_size=_soft(array.partial_bytes),
        reload_weight=_soft(array.reload_weight),
        rooms=tuple(_soft(room) for room, _ in array.rooms),
        sharing=tuple(operands for _, operands in array.rooms),
        is_doubled=array.double_buffered,
        is_plain=is_plain,
    )


def _soft(size: Size) -> Any:
    return float(size) if is_number(size) else size if is_float(size) else true_divide(size, 1)


def problem_of(given: Given, *, has_stairs: bool) -> Problem:
    """The problem of sizes that are arrays of one library."""
    xp, strips = namespace(given.channels), given.strips
    one = xp.ones_like(given.channels)
    up = xp.ceil if has_stairs else (lambda size: size)
    rows = xp.maximum(xp.ceil(given.m / strips.positions), one)
    if not given.is_plain:  # whole images, or a strip of one
        rows = xp.where(rows > strips.of_image, xp.ceil(rows / strips.of_image) * strips.of_image, rows)
    cuts_images = has_stairs and not given.is_plain
    channels = xp.minimum(xp.maximum(xp.ceil(given.k / given.positions), one), given.channels)
    return Problem(
        strips=strips,
        channels=given.channels,
        filters=given.filters,
        positions=given.positions,
        input_bytes=given.input_size,
        weight_bytes=given.weight_size,
        partial_bytes=given.partial_size,
        rows_at_once=rows,
        channels_at_once=channels,
        filters_at_once=given.n,
        sum_at_once=given.k,
        units_of_rows=strips.units(rows, xp) if cuts_images else up(xp.maximum(strips.rows / rows, one)),
        units_of_channels=up(given.channels / channels),
        units_of_filters=up(given.filters / given.n),
        rooms=given.rooms,
        sharing=given.sharing,
        is_doubled=given.is_doubled,
        is_plain=given.is_plain,
        one=one,
        most=one * MOST,
        xp=xp,
    )
