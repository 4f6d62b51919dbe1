"""The buffer with which a product reads each operand once."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from hwcost.machine.array import SystolicArray
from hwcost.model.gemm import Gemm
from hwcost.model.given import Given, given_of, problem_of
from hwcost.model.least import best_of
from hwcost.model.tilings import TILINGS, Problem, Tile, Tiling, held
from hwcost.relaxation import EXACT

__all__ = ["room_to_read_once"]

_GRID, _ROUNDS = 24, 4
"""Sizes that are tried at once, and how often between two of them: to a ten-thousandth."""


def room_to_read_once(gemm: Gemm, array: SystolicArray) -> float:
    """Bytes of a shared buffer with which the tiling that is taken for a product reads each operand once.

    With a ``reload_weight`` that is more than the least for which there is such a tiling: in a buffer of that size one
    may be taken that moves a little more, for longer streams.

    Args:
        gemm: the product, with numbers as sizes.
        array: the machine; its own buffers do not count.

    >>> array = SystolicArray(16, 16, buffer_bytes=65536.0)
    >>> room_to_read_once(Gemm(m=196, n=1152, k=384), array)
    81664.0
    """
    given = given_of(gemm.merged() if gemm.shares_operands else gemm, array)
    return _room_to_read_once(given._replace(rooms=(), sharing=(("inputs", "weights", "outputs"),)))


@functools.lru_cache(maxsize=1024)
def _room_to_read_once(given: Given) -> float:
    low, high = _least(given), 2.0 * _all(given)  # whatever is held twice
    found = low
    for _ in range(_ROUNDS):
        rooms = np.geomspace(low, high, _GRID)
        is_once, held_bytes = _is_once(given, rooms)
        first = int(np.argmax(is_once))
        if first == 0:
            return low
        low, high, found = float(rooms[first - 1]), float(rooms[first]), float(held_bytes[first])
    return found if _is_once(given, np.array([found]))[0][0] else float(math.ceil(high))


def _is_once(given: Given, rooms: Any) -> tuple[Any, Any]:
    """Whether the tilings that are taken with buffers of some bytes read nothing again, and what they hold."""
    best, strips = best_of(given._replace(rooms=(rooms,)), EXACT), given.strips
    inputs = given.channels * strips.width * strips.rows / strips.of_image * strips.height
    again = (best.weights - 1.0) + (best.inputs / inputs - 1.0) + best.partials
    return again < 1e-9, best.room


def _all(given: Given) -> float:
    """Bytes of all operands of a product: with them, nothing is read or loaded again."""
    strips = given.strips
    inputs = given.channels * strips.width * strips.rows / strips.of_image * strips.height
    weights = given.channels * given.positions * given.filters
    sums = strips.rows * strips.positions * given.filters
    return float(given.input_size * inputs + given.weight_size * weights + given.partial_size * sums)


def _least(given: Given) -> float:
    """The least bytes that a tiling holds which reads each operand once."""
    problem = problem_of(given.map(np.asarray), has_stairs=True)
    return min(float(sum(held(row, problem, _once(row, problem)).values())) for row in TILINGS)


def _once(row: Tiling, problem: Problem) -> Tile:
    """The smallest tile of a row that reads each operand once: what is cut in parts is whole, what streams is small."""
    tile = Tile(problem.rows_at_once, problem.rows_at_once, problem.channels_at_once, problem.filters_at_once)
    whole = {"m": ("rows", problem.strips.rows), "k": ("channels", problem.channels)}[row.tries]
    solved = {"n": ("filters", problem.filters), "m": ("rows", problem.strips.rows)}[row.solves]
    tile = tile._replace(**dict((whole, solved)))
    if row.stays == "weights" and not row.slides:  # smaller strips overlap
        rows = np.maximum(problem.rows_at_once, problem.strips.of_image)
        tile = tile._replace(stream=np.where(problem.strips.halo > 0, rows, tile.stream))
    return tile
