"""The least traffic of a product by trying everything: all tiles, all orders of their loops, all places of operands.

A nest has three loops over tiles and, within, three over what the array takes at once. Every operand is held at one
level of the nest: what the loops within go over is in the buffer, and each turn of a loop outside that changes it
loads it anew. Rows of inputs that slide within a tile are kept.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from hwcost import Gemm, SystolicArray
from hwcost.model.given import given_of, problem_of

LETTERS = "mnk"
OF_OPERAND = {"inputs": "mk", "weights": "kn", "outputs": "mn"}


class Case(NamedTuple):
    """A product: rows (of ``positions`` outputs), filters and channels (of ``window`` products), and a machine.

    The rows are those of all ``images``. ``height``, ``width``, ``reach`` and ``step`` are those of the rows of inputs.
    ``granules`` are what the array takes of m, n and k (rows, filters, channels), ``sizes`` the bytes of an input, a
    weight and a partial sum.
    """

    rows: int
    filters: int
    channels: int
    room: float
    granules: tuple[int, int, int]
    positions: int = 1
    window: int = 1
    sum_at_once: int = 0
    height: int = 0
    width: int = 1
    reach: int = 1
    step: int = 1
    sizes: tuple[float, float, float] = (1.0, 1.0, 4.0)
    images: int = 1

    @property
    def of_image(self) -> int:
        """Rows of an image."""
        return self.rows // self.images


def case_of(gemm: Gemm, array: SystolicArray) -> Case:
    """A product on a machine whose operands share a buffer."""
    problem = problem_of(given_of(gemm, array).map(np.asarray), has_stairs=True)
    rows, of_image, positions, height, width, reach, step = (int(size) for size in problem.strips)
    return Case(
        rows=rows, filters=int(gemm.n), channels=int(problem.channels), room=float(array.buffer_bytes),
        granules=(int(problem.rows_at_once), int(problem.filters_at_once), int(problem.channels_at_once)),
        positions=positions, window=int(problem.positions), sum_at_once=int(problem.sum_at_once), height=height,
        width=width, reach=reach, step=step,
        sizes=(array.bytes_per_element, array.bytes_per_element, array.partial_bytes), images=rows // of_image,
    )  # fmt: skip


def _read(case: Case, rows: Any) -> Any:
    height = case.height or case.rows
    few = np.minimum((rows - 1) * case.step + case.reach, height)
    return np.where(rows <= case.of_image, few, np.ceil(rows / case.of_image) * height)


def _passed(case: Case, rows: Any) -> Any:
    strips = np.maximum(np.ceil(case.of_image / rows), 1)
    return case.images * ((case.height or case.rows) + (strips - 1) * (case.reach - case.step))


def _row_cuts(case: Case) -> list[tuple[int, int]]:
    """Rows and numbers of equal tiles of whole images, and of strips of an image."""
    unit, found = case.granules[0], _cuts(case.rows, max(case.granules[0], case.of_image))
    if unit < case.of_image:
        found += [(rows, count * case.images) for rows, count in _cuts(case.of_image, unit)]
    return sorted(set(found))


def least_bytes(case: Case) -> float:
    """The least bytes that cross the memory, without the outputs themselves."""
    totals = dict(zip(LETTERS, (case.rows, case.filters, case.channels), strict=True))
    once = dict(zip(LETTERS, case.granules, strict=True))
    cuts = {"m": _row_cuts(case), "n": _cuts(case.filters, once["n"]), "k": _cuts(case.channels, once["k"])}
    places = np.meshgrid(*(np.arange(len(cuts[name])) for name in LETTERS), indexing="ij")
    sizes = {name: np.array(cuts[name])[place.ravel()].T for name, place in zip(LETTERS, places, strict=True)}
    tiles = {name: sizes[name][0] for name in LETTERS}
    outer = {name: sizes[name][1].astype(float) for name in LETTERS}
    inner = {name: np.ceil(tiles[name] / once[name]) for name in LETTERS}
    if once["m"] < case.of_image:  # the last of the rows of each image may be fewer
        whole = tiles["m"] / case.of_image * math.ceil(case.of_image / once["m"])
        inner["m"] = np.where(tiles["m"] > case.of_image, whole, inner["m"])
    units = {name: max(count for _, count in cuts[name]) for name in LETTERS}
    best = math.inf
    for first in itertools.permutations(LETTERS):
        for second in itertools.permutations(LETTERS):
            loops = [(name, True) for name in first] + [(name, False) for name in second]
            held, moved = [], []
            for operand in OF_OPERAND:
                sizes, costs = zip(
                    *(_at(case, loops, level, operand, tiles, outer, inner, totals, once, units) for level in range(7)),
                    strict=True,
                )
                held.append(np.stack(sizes))
                moved.append(np.stack(costs))
            room = held[0][:, None, None] + held[1][None, :, None] + held[2][None, None]
            cost = moved[0][:, None, None] + moved[1][None, :, None] + moved[2][None, None]
            fits = room <= case.room
            if fits.any():
                best = min(best, cost[fits].min())
    return best


def least_of_classes(case: Case) -> float:
    """The same for products of many tiles: every tile, but only the orders of loops in which one operand stays."""
    rows = np.array(_row_cuts(case)).T
    filters = np.array(_cuts(case.filters, case.granules[1])).T
    channels = np.array(_cuts(case.channels, case.granules[2])).T
    (t_m, n_m), (t_n, n_n), (t_k, n_k) = rows, filters, channels
    g_m, g_n, g_k = case.granules
    of_input, of_weight, of_sum = case.sizes
    of_sum = of_sum * case.positions
    at_once = of_weight * min(case.sum_at_once or g_k, case.channels * case.window)  # weights of a filter
    weights = of_weight * case.channels * case.window * case.filters
    again = 2 * of_sum * case.rows * case.filters * (n_k - 1)

    def lines(count):
        return of_input * case.width * _read(case, np.asarray(count))

    halos = of_input * case.width * case.channels * _passed(case, t_m)
    once = of_input * case.width * case.channels * case.images * (case.height or case.rows)
    found = []

    def add(held, moves):
        fits = held <= case.room
        found.append(np.where(fits, moves, np.inf).min())

    # sums stay: rows down, filters across
    m, n = (t_m[:, None], lines(t_m)[:, None], halos[:, None], n_m[:, None]), (t_n[None], n_n[None])
    streams = np.minimum(m[1] * g_k + at_once * g_n, lines(g_m) * g_k + at_once * n[0])
    add(of_sum * m[0] * n[0] + streams, m[2] * n[1] + weights * m[3])
    # inputs stay: rows down, channels across
    k = t_k[None]
    streams = np.minimum(at_once * g_n + of_sum * m[0] * g_n, of_weight * k * case.window * g_n + of_sum * g_m * g_n)
    add(m[1] * k + streams, m[2] + weights * m[3] + again[None])
    # weights stay: channels down, filters across; then rows of all channels slide, or strips of a few overlap
    k, n = (t_k[:, None], again[:, None]), (t_n[None], n_n[None])
    stays = of_weight * k[0] * case.window * n[0]
    add(stays + lines(g_m) * k[0] + of_sum * g_m * g_n, once * n[1] + weights + k[1])
    for strip, read in zip(t_m, halos, strict=True):
        add(stays + lines(strip) * g_k + of_sum * strip * n[0], read * n[1] + weights + k[1])
    return float(min(found))


def _cuts(total: int, unit: int) -> list[tuple[int, int]]:
    """Sizes and numbers of equal tiles of whole units, each number with its smallest tile."""
    units = math.ceil(total / unit)
    return sorted({(min(math.ceil(units / count) * unit, total), math.ceil(units / math.ceil(units / count)))
                   for count in range(1, units + 1)})  # fmt: skip


def _at(case, loops, level, operand, tiles, outer, inner, totals, once, units):
    """What an operand takes in the buffer, and moves, if it is held at a level of the nest."""
    own = OF_OPERAND[operand]
    extents = {}
    for name in LETTERS:
        places = {is_outer: loops.index((name, is_outer)) for is_outer in (True, False)}
        extents[name] = totals[name] if places[True] >= level else tiles[name] if places[False] >= level else once[name]
    # loops outside that change the operand: all down to the innermost of its own that turns more than once
    ones = np.ones_like(tiles["m"], dtype=float)
    times, pending, innermost = ones, ones, np.full(ones.shape, -1)
    for index, (name, is_outer) in enumerate(loops[:level]):
        turns = outer[name] if is_outer else inner[name]
        if name in own:
            changes = turns > 1
            times = np.where(changes, times * pending, times)
            pending = np.where(changes, ones, pending)
            innermost = np.where(changes, index, innermost)
        else:
            # both loops of a letter go over all of it, in whole steps
            both = not is_outer
            turns = np.where(outer[name] > 0, units[name] / outer[name], turns) if both else turns
            pending = pending * turns
    first, second = (extents[name] for name in own)
    if operand == "inputs":
        bytes_held = case.sizes[0] * case.width * _read(case, np.minimum(first, case.rows)) * second
        slides = innermost == loops.index(("m", False))
        rows = np.where(slides, tiles["m"], first)
        moved = case.sizes[0] * case.width * case.channels * _passed(case, np.minimum(rows, case.rows)) * times
        return bytes_held * ones, moved
    length = case.channels * case.window
    if operand == "weights":
        least_sum = case.sum_at_once or case.granules[2]
        held_sum = np.where(np.asarray(first) * ones == once["k"], np.minimum(least_sum, length), first * case.window)
        return case.sizes[1] * held_sum * second * ones, case.sizes[1] * length * case.filters * times
    outputs = case.rows * case.positions * case.filters
    return case.sizes[2] * first * case.positions * second * ones, case.sizes[2] * outputs * 2 * (times - 1)
