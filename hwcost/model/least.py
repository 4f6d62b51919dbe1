"""The tiling of a product that moves least, chosen from :data:`hwcost.model.tilings.TILINGS`."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from hwcost.arrays import Size, backend_of, if_concrete, is_number, namespace, product, to_numpy
from hwcost.errors import NoTileError
from hwcost.machine.array import SystolicArray
from hwcost.model.blocks import each_once, in_blocks
from hwcost.model.gemm import Gemm
from hwcost.model.given import MOST, Given, given_of, problem_of
from hwcost.model.tilings import TILINGS, Moved, Problem, Tile, Tiling, held, moved
from hwcost.relaxation import Relaxation
from hwcost.units import number

__all__ = ["Chosen", "best_of", "no_tile_fits", "tiling_of"]

_ALL = 32
"""Counts up to this are all tried; larger ones grow by a tenth, up to tiles of one unit."""
_BLOCKS = (2**9, 2**12)
"""Products that are cut at once, with stairs and without, so that what is computed for them stays in a cache."""
_STEP = 1.25
"""The ratio of counts without stairs."""
_SOFT = 0.05
"""The width of the soft minimum, relative to the least."""


class Chosen(NamedTuple):
    """The tiling of a product that moves least, and what that is, for all products of a layer.

    Attributes:
        inputs: elements of the inputs that are needed: without those that strides leave out.
        weights_again, inputs_again: elements that are read more than once.
        partials: partial sums that leave and come back.
        reloads: how often each weight is loaded into the array.
        row: the index of the tiling in ``TILINGS``; of a soft minimum, that of the least.
        m, n, k: the number of parts.
        room: bytes that are held.
        weighed: bytes that one product moves, reloads included by their weight; infinite if no tile fits.
    """

    inputs: Size
    weights_again: Size
    inputs_again: Size
    partials: Size
    reloads: Size
    row: Size
    m: Size
    n: Size
    k: Size
    room: Size
    weighed: Size = 0.0


def tiling_of(
    gemm: Gemm, array: SystolicArray, relaxation: Relaxation, kept: Collection[str] = (), *, must_fit: bool = True
) -> Chosen:
    """The tiling of a product that moves least through the buffers of a machine.

    Products that share an operand are cut as the one product that they make together.

    Args:
        gemm, array: the product and the machine.
        relaxation: smooth ones choose smoothly.
        kept: operands that are on the chip, apart from the buffers: they need no tile.
        must_fit: raise if no tile fits; else what moves is infinite.

    Raises:
        InvalidValueError: buffers that are too small for what the array takes at once.

    >>> from hwcost.relaxation import EXACT
    >>> array = SystolicArray(16, 16, buffer_bytes=65536.0)
    >>> chosen = tiling_of(Gemm(m=196, n=1152, k=384), array, EXACT)
    >>> TILINGS[int(chosen.row)].name, chosen.m, chosen.weights_again
    ('inputs', 2.0, 442368.0)
    """
    gemm = gemm.merged() if gemm.shares_operands else gemm
    given = given_of(gemm, array, kept)
    found = best_of(given, relaxation)
    if must_fit:
        _check_fits(found.weighed, given)
    strips, count = given.strips, gemm.count
    once = given.channels * strips.width * strips.rows / strips.of_image * strips.height
    weights = given.channels * given.positions * given.filters
    sums = strips.rows * strips.positions * given.filters
    return Chosen(
        inputs=product(count, once),
        weights_again=product(count, (found.weights - 1.0) * weights),
        inputs_again=product(count, found.inputs - once),
        partials=product(count, found.partials * sums),
        reloads=found.reloads,
        row=found.row,
        m=found.m,
        n=found.n,
        k=found.k,
        room=found.room,
        weighed=found.weighed,
    )


# ---------------------------------------------------------------- the choice


class _Best(NamedTuple):
    """What the best tiling moves; fields as in :class:`Moved` and :class:`Chosen`."""

    weighed: Any
    row: Any
    inputs: Any
    weights: Any
    partials: Any
    reloads: Any
    m: Any
    n: Any
    k: Any
    room: Any


def best_of(given: Given, relaxation: Relaxation) -> _Best:
    """The best tilings of products as they are given."""
    arrays = [size for size in given.sizes if not is_number(size)]
    if not arrays:
        return _of_numbers(given, relaxation.is_ceiling)
    like = arrays[0]
    constant = backend_of(like).constant
    given = given.map(lambda size: constant(size, like) if is_number(size) else size)
    if not relaxation.is_ceiling:
        return in_blocks(given, _softly, _BLOCKS[1])
    hard = each_once(given, _exactly, _BLOCKS[0])
    if not relaxation.passes_gradient:
        return hard
    stop, soft = backend_of(like).stop_gradient, in_blocks(given, _softly, _BLOCKS[1])
    return _Best(*(a + (b - stop(b)) for a, b in zip(hard, soft, strict=True)))._replace(
        row=hard.row, weighed=hard.weighed
    )


@functools.lru_cache(maxsize=4096)
def _of_numbers(given: Given, is_ceiling: bool) -> _Best:
    with np.errstate(invalid="ignore"):  # where nothing fits
        found = (_exactly if is_ceiling else _softly)(given.map(np.asarray))
    return _Best(*(float(np.ravel(size)[0]) for size in found))._replace(row=int(np.ravel(found.row)[0]))


def _counts(*, has_stairs: bool) -> tuple[float, ...]:
    found = [float(count) for count in range(1, _ALL + 1)] if has_stairs else [1.0]
    while found[-1] < MOST:
        found.append(float(math.floor(found[-1] * 1.1)) if has_stairs else found[-1] * _STEP)
    return tuple(found)


_COUNTS = {has_stairs: _counts(has_stairs=has_stairs) for has_stairs in (True, False)}
"""The counts that are tried, with stairs and without."""


def _tried(problem: Problem, row: Tiling, axes: int, *, has_stairs: bool) -> tuple[Any, Any]:
    """The units that a row cuts, and the counts that are tried, along an axis before those of the units.

    The largest is no smaller than any number of units: a count above it stands for tiles of one unit.
    """
    xp, units = problem.xp, problem.units_of_rows if row.tries == "m" else problem.units_of_channels
    largest = if_concrete(units, lambda: math.ceil(float(xp.max(backend_of(units).stop_gradient(units))))) or MOST
    every = _COUNTS[has_stairs]
    counts = every[: sum(count < largest for count in every) + 1]  # not by bisect, which a compiler does not trace
    return units, xp.reshape(backend_of(units).constant(counts, units), (-1, *(1,) * axes))


def _ways(problem: Problem, *, has_stairs: bool) -> Iterator[tuple[int, Tiling, bool]]:
    """Every row with its index, and tiles that are a part of their operand or, where that differs, all of it."""
    for index, row in enumerate(TILINGS):
        if has_stairs and problem.is_plain and row.name == "weights":
            continue  # "channel by channel" holds less for the same traffic if no rows slide
        for is_whole in (False, True) if problem.is_doubled else (False,):
            yield index, row, is_whole


def _weighed(problem: Problem, found: Moved, given: Given) -> Any:
    """The bytes that tilings move; infinite if they do not fit."""
    weights = problem.weight_bytes * problem.channels * problem.positions * problem.filters
    sums = problem.partial_bytes * problem.strips.rows * problem.strips.positions * problem.filters
    times = found.weights + given.reload_weight * found.reloads
    moving = problem.input_bytes * found.inputs + sums * found.partials + weights * times
    return problem.xp.where(found.fits, moving, problem.one * math.inf)


def _exactly(given: Given) -> _Best:
    """The best of all rows and counts."""
    problem = problem_of(given, has_stairs=True)
    xp, axes = problem.xp, max(len(size.shape) for size in given.sizes)
    best: _Best | None = None
    for index, row, is_whole in _ways(problem, has_stairs=True):
        units, counts = _tried(problem, row, axes, has_stairs=True)
        way = functools.partial(moved, row, problem, is_whole=is_whole, has_stairs=True)
        first = xp.argmin(_weighed(problem, way(xp.minimum(counts, units)), given), axis=0)
        count = xp.reshape(xp.take(xp.reshape(counts, (-1,)), xp.reshape(first, (-1,)), axis=0), first.shape)
        count = xp.minimum(count, units)
        found, zero = way(count), 0.0 * count
        weighed, room = _weighed(problem, found, given), _sum(held(row, problem, found.tile))
        figures = (size + zero for size in (zero + index, *found[1:-1], room))
        new = _Best(weighed + zero, *figures)
        best = (
            new
            if best is None
            else _Best(*(xp.where(new.weighed < best.weighed, a, b) for a, b in zip(new, best, strict=True)))
        )
    assert best is not None
    return best


def _softly(given: Given) -> _Best:
    """The mean of the best counts of all rows and their neighbours, of which each weighs the less the more it moves.

    The counts are chosen without a gradient: that of a minimum is the gradient of what attains it. Only tiles of one
    unit follow the number of units.
    """
    plain = given.map(lambda size: backend_of(size).stop_gradient(size))
    chosen, problem = problem_of(plain, has_stairs=False), problem_of(given, has_stairs=False)
    xp, axes = problem.xp, max(len(size.shape) for size in given.sizes)
    weighed, figures, rows = [], [], []
    for index, row, is_whole in _ways(problem, has_stairs=False):
        way = functools.partial(moved, row, is_whole=is_whole, has_stairs=False)
        units, counts = _tried(chosen, row, axes, has_stairs=False)
        first = xp.argmin(_weighed(chosen, way(chosen, xp.minimum(counts, units)), plain), axis=0)
        steps = xp.stack([first + step for step in (-1, 0, 1)])
        near = xp.clip(steps, 0, counts.shape[0] - 1)  # where this differs, a count would be taken twice
        counts = xp.reshape(xp.take(xp.reshape(counts, (-1,)), xp.reshape(near, (-1,)), axis=0), near.shape)
        is_new = (near == steps) & (counts < units * _STEP)  # not the second that stands for tiles of one unit
        units = problem.units_of_rows if row.tries == "m" else problem.units_of_channels
        counts = xp.minimum(counts, units)
        found = way(problem, counts)
        found = found._replace(fits=found.fits & is_new)
        columns = [*found[1:-1], _sum(held(row, problem, found.tile))]
        all_of = xp.broadcast_arrays(_weighed(problem, found, given), counts * 0.0 + index, *columns)
        weighed.append(all_of[0])
        rows.append(all_of[1])
        figures.append([xp.where(found.fits, each, xp.zeros_like(each)) for each in all_of[2:]])
    moving = xp.concat(weighed)
    low = xp.min(backend_of(moving).stop_gradient(moving), axis=0)
    # the gradient of a soft minimum is the mean of those of its members: shares have none of their own
    shares = xp.exp((1.0 - backend_of(moving).stop_gradient(moving) / low) / _SOFT)
    shares = shares / xp.sum(shares, axis=0)
    means = [xp.sum(shares * xp.concat(list(each)), axis=0) for each in zip(*figures, strict=True)]
    nearest = xp.max(xp.where(moving == low, xp.concat(rows), xp.zeros_like(moving)), axis=0)
    return _Best(low, nearest, *means)


def _sum(sizes: dict[str, Any]) -> Any:
    return sizes["inputs"] + sizes["weights"] + sizes["outputs"]


def _check_fits(weighed: Any, given: Given) -> None:
    if is_number(weighed):
        fails: Any = math.isinf(weighed)
    else:
        xp = namespace(weighed)
        fails = if_concrete(weighed, lambda: bool(xp.any(xp.isinf(weighed))))
    if fails:
        none = np.isinf(to_numpy(weighed))
        first = int(np.argmax(none))
        one = given.map(lambda size: np.broadcast_to(to_numpy(size), none.shape).ravel()[first])
        raise no_tile_fits(map(float, one.rooms), _smallest(one))


def _smallest(given: Given) -> list[float]:
    """The bytes of each buffer that the smallest tile of a product takes."""
    p = problem_of(given.map(np.asarray), has_stairs=True)
    # a whole one is held once where a part is held twice
    sides = (p.rows_at_once, p.strips.rows), (p.channels_at_once, p.channels), (p.filters_at_once, p.filters)
    found = []
    for row in TILINGS:
        for rows, channels, filters in itertools.product(*sides):
            sizes = held(row, p, Tile(rows, p.rows_at_once, channels, filters))
            found.append([float(sum(sizes[name] for name in own)) for own in p.sharing])
    return min(found, key=lambda needed: max(n / float(room) for n, room in zip(needed, p.rooms, strict=True)))


def no_tile_fits(rooms: Iterable[float], needed: Collection[float] = ()) -> NoTileError:
    """The error about buffers that are too small for what the array takes at once, and what that needs of each."""
    takes = f"takes {' and '.join(number(math.ceil(size)) for size in needed)} bytes: " if needed else "is "
    allowed = f"larger buffers; the smallest tile {takes}a row of outputs for as many filters as the array has columns"
    sizes = ", ".join(number(room) for room in rooms)
    error = NoTileError("SystolicArray.buffer_bytes", sizes, allowed, reason="no tile fits")
    error.needed = sum(needed)
    return error
