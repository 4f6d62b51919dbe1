"""The least that a product moves through a buffer next to the array: the best of all tilings that fit.

A tiling cuts outputs into tiles of t_m rows and t_n filters and sums into parts of t_k, N_m, N_n and N_k of them. One
operand stays in the buffer while the others stream past it. With A, B and C for the bytes of inputs, weights and
outputs, p for those of a partial sum, and g for what the array takes at once, the rows of :data:`TILINGS` are

    stays    moves                            holds
    sums     A N_n + B N_m + C                p t_m t_n   and    a t_m g_k + b g_k g_n   or   a g_m g_k + b g_k t_n
    weights  A N_n + B + C + P (N_k - 1)      b t_k t_n   and    a g_m t_k + p g_m t_n   or   a g_m t_k + p g_m g_n
                                                           or    a g_m g_k + p g_m t_n
    inputs   A + B N_m + C + P (N_k - 1)      a t_m t_k   and    b g_k g_n + p t_m g_n   or   b t_k g_n + p g_m g_n

with P = 2 p m n: partial sums that leave come back. Where a tile spans k, or all of an operand, this is a class of its
own in the literature: a strip of inputs or weights (N_k = 1) or a panel of them (N_m = 1, N_n = 1). One count of each
row is tried and the other tile is as large as fits. Rows g_m that stream may be more than the array needs: what is left
of the buffer holds more of them, so that weights are loaded into the array less often.

Inputs of a convolution are cut into strips of rows that overlap (:mod:`hwcost.model.strips`). They are read once more
for every strip, unless all their channels slide through the buffer.

A smooth relaxation takes counts without stairs and a soft minimum over rows and counts. Smooth ceilings of counts were
tried: their gradient in the size of the buffer is mostly wrong.

Source: the classes follow from the six orders of three loops with tiles at two levels; a search over all of them in
benchmarks/common/every_tiling.py finds nothing less.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hwcost.model.strips import Strips

__all__ = ["TILINGS", "Moved", "Problem", "Tile", "Tiling", "held", "moved"]

_A_LITTLE = 1e-9
"""What rounding may take from a quotient of whole numbers, relative to it."""
_NOTHING = 1e-18
"""Of a byte: what rows of outputs take that are in another buffer; not 0, so that nothing divides by it."""


class Tiling(NamedTuple):
    """A row of :data:`TILINGS`: what of each operand is held, which count is tried, and what comes more than once.

    Attributes:
        name: of the row.
        stays: the operand that stays while the others stream past it.
        inputs: rows and channels of the inputs that are held: those of a tile, what streams, or what the array takes.
        weights: channels and filters of the weights that are held.
        sums: rows and filters of the outputs that are held.
        tries, solves: the letter whose count is tried, and the one whose tile is as large as fits.
        slides: whether rows of inputs slide through the buffer with all that they are needed for.
        summary: one line for people.
    """

    name: str
    stays: str
    inputs: tuple[str, str]
    weights: tuple[str, str]
    sums: tuple[str, str]
    tries: str
    solves: str
    slides: bool
    summary: str


TILINGS = (
    Tiling("sums", "outputs", ("tile", "granule"), ("granule", "granule"), ("tile", "tile"), "m", "n", False,
           "a tile of sums stays; weights stream past a slice of inputs"),
    Tiling("sums, inputs stream", "outputs", ("stream", "granule"), ("granule", "tile"), ("tile", "tile"), "m", "n",
           False, "a tile of sums stays; inputs stream past a slice of weights"),
    Tiling("weights", "weights", ("stream", "tile"), ("tile", "tile"), ("stream", "tile"), "k", "n", True,
           "a tile of weights stays; rows of inputs and sums of all its filters stream"),
    Tiling("weights, filter by filter", "weights", ("stream", "tile"), ("tile", "tile"), ("stream", "granule"), "k",
           "n", True, "a tile of weights stays; rows of inputs stream, and sums of a few filters"),
    Tiling("weights, channel by channel", "weights", ("stream", "granule"), ("tile", "tile"), ("stream", "tile"), "k",
           "n", False, "a tile of weights stays; sums of all its filters stream, and a few channels of inputs"),
    Tiling("inputs", "inputs", ("tile", "tile"), ("granule", "granule"), ("tile", "granule"), "k", "m", False,
           "a tile of inputs stays; weights stream, and sums of all its rows"),
    Tiling("inputs, row by row", "inputs", ("tile", "tile"), ("tile", "granule"), ("stream", "granule"), "k", "m",
           False, "a tile of inputs stays; weights of all its channels stream, and a few sums"),
)  # fmt: skip
"""Every tiling that is tried."""


class Problem(NamedTuple):
    """A product and the buffers of a machine, as arrays.

    Attributes:
        strips: rows of inputs and outputs.
        channels, filters, positions: channels of the inputs, filters, and positions of the kernel.
        input_bytes, weight_bytes, partial_bytes: of an element of each.
        rows_at_once, channels_at_once, filters_at_once, sum_at_once: what the array takes: rows of outputs, channels,
            filters, and elements of a sum.
        units_of_rows, units_of_channels, units_of_filters: how many of these there are; whole numbers with stairs.
        rooms: bytes of each buffer.
        sharing: the operands in each buffer.
        is_doubled: whether tiles are held twice.
        is_plain: whether no rows of inputs overlap.
        one, most: arrays of 1 and of a number above all sizes.
        xp: the namespace of the arrays.
    """

    strips: Strips
    channels: Any
    filters: Any
    positions: Any
    input_bytes: Any
    weight_bytes: Any
    partial_bytes: Any
    rows_at_once: Any
    channels_at_once: Any
    filters_at_once: Any
    sum_at_once: Any
    units_of_rows: Any
    units_of_channels: Any
    units_of_filters: Any
    rooms: tuple[Any, ...]
    sharing: tuple[tuple[str, ...], ...]
    is_doubled: bool
    is_plain: bool
    one: Any
    most: Any
    xp: Any

    def input_rows(self, rows: Any) -> Any:
        """Input rows that some output rows need."""
        return rows if self.is_plain else self.strips.read(rows, self.xp)


class Tile(NamedTuple):
    """Rows of a tile and of what streams, its channels and its filters."""

    rows: Any
    stream: Any
    channels: Any
    filters: Any


class Moved(NamedTuple):
    """What tilings of a row move.

    Attributes:
        fits: whether the buffers hold them.
        inputs: elements of the inputs that are read.
        weights: how often each weight is read.
        partials: how often each sum leaves before it is complete, and comes back.
        reloads: how often each weight is loaded into the array.
        m, n, k: the number of parts.
        tile: the sizes of a tile.
    """

    fits: Any
    inputs: Any
    weights: Any
    partials: Any
    reloads: Any
    m: Any
    n: Any
    k: Any
    tile: Tile


def moved(row: Tiling, problem: Problem, count: Any, *, is_whole: bool, has_stairs: bool) -> Moved:
    """What the tilings of a row move in which a letter has some counts.

    Args:
        row: of ``TILINGS``.
        problem: whose arrays broadcast with the counts.
        count: of the letter that the row tries.
        is_whole: whether the tile that is solved for spans all filters or rows, so that no second one is held.
        has_stairs: whether tiles are whole multiples of what the array takes, and counts are integers.
    """
    p, one, strips = problem, problem.one, problem.strips
    ceil, floor = (p.xp.ceil, p.xp.floor) if has_stairs else (_same, _same)
    tile = Tile(p.rows_at_once, p.rows_at_once, p.channels_at_once, p.filters_at_once)

    name, total, unit, units = _along(row.tries, p)
    parts, size = _cut(row.tries, p, count, has_stairs=has_stairs)
    counts = {"m": one, "n": one, "k": one, row.tries: parts}
    tile, fits = tile._replace(**{name: size}), count <= units

    name, total, unit, units = _along(row.solves, p)
    most = _most(row, p, tile._replace(**{name: total}) if is_whole else tile, name)
    if is_whole:
        tile, fits = tile._replace(**{name: total}), fits & (most >= total)
    else:
        if row.solves == "m" and has_stairs and not p.is_plain:
            count = strips.fewest(unit, most, p.xp)
        else:
            whole = p.xp.where(most >= total, units, floor(most / unit))
            count = ceil(units / p.xp.maximum(whole, one))
        counts[row.solves], size = _cut(row.solves, p, count, has_stairs=has_stairs)
        tile = tile._replace(**{name: size})
        fits = fits & (most >= unit)

    within, reloads = strips.rows if row.stays == "weights" else tile.rows, counts["m"]
    stream = within
    if "stream" in (row.inputs[0], row.sums[0]):
        longest = _most(row, p, tile, "stream")
        if has_stairs and not p.is_plain:
            stream, times = strips.streamed(p.rows_at_once, longest, within, p.xp)
        else:
            stream = floor(longest / p.rows_at_once) * p.rows_at_once
            stream = p.xp.maximum(p.rows_at_once, p.xp.minimum(stream, within))
            times = ceil(within / stream)
        tile, reloads = tile._replace(stream=stream), reloads * times
    strip = tile.rows if row.stays != "weights" else strips.rows if row.slides else stream
    height = strips.height
    if not p.is_plain:
        height = strips.passed(strip, ceil(strips.of_image / p.xp.minimum(strip, strips.of_image)), p.xp)
    read = p.channels * strips.width * height
    return Moved(
        fits=fits,
        inputs=read if row.stays == "inputs" else read * counts["n"],
        weights=one if row.stays == "weights" else counts["m"],
        partials=2.0 * (counts["k"] - 1.0),
        reloads=reloads,
        **counts,
        tile=tile,
    )


def _cut(letter: str, p: Problem, count: Any, *, has_stairs: bool) -> tuple[Any, Any]:
    """The number and the size of equal tiles along a letter: ``count`` of them, or fewer of the same size."""
    _, total, unit, units = _along(letter, p)
    if not has_stairs:
        return count, p.xp.minimum(units / count * unit, total)
    if letter == "m" and not p.is_plain:
        return p.strips.cut(unit, count, p.xp)
    whole = p.xp.ceil(units / count)
    return p.xp.ceil(units / whole), p.xp.minimum(whole * unit, total)


def _along(letter: str, p: Problem) -> tuple[str, Any, Any, Any]:
    """The size of a tile along a letter by name, the whole of it, what the array takes, and how many units it has."""
    return {
        "m": ("rows", p.strips.rows, p.rows_at_once, p.units_of_rows),
        "n": ("filters", p.filters, p.filters_at_once, p.units_of_filters),
        "k": ("channels", p.channels, p.channels_at_once, p.units_of_channels),
    }[letter]


# ---------------------------------------------------------------- what fits


def held(row: Tiling, p: Problem, tile: Tile) -> dict[str, Any]:
    """The bytes of each operand that a tile holds; twice on a machine that does so, unless it holds all of it."""
    channels = {"tile": tile.channels, "granule": p.channels_at_once}
    sums = {"tile": tile.channels * p.positions, "granule": p.sum_at_once}
    rows = {"tile": tile.rows, "stream": tile.stream}
    filters = {"tile": tile.filters, "granule": p.filters_at_once}
    extents = {
        "inputs": (rows[row.inputs[0]], channels[row.inputs[1]]),
        "weights": (sums[row.weights[0]], filters[row.weights[1]]),
        "outputs": (rows[row.sums[0]], filters[row.sums[1]]),
    }
    found = {
        "inputs": p.input_bytes * p.strips.width * extents["inputs"][1] * p.input_rows(extents["inputs"][0]),
        "weights": p.weight_bytes * extents["weights"][0] * extents["weights"][1],
        "outputs": p.partial_bytes * p.strips.positions * extents["outputs"][0] * extents["outputs"][1],
    }
    if not p.is_doubled:
        return found
    whole = {
        "inputs": (p.strips.rows, p.channels),
        "weights": (p.channels * p.positions, p.filters),
        "outputs": (p.strips.rows, p.filters),
    }
    return {
        name: p.xp.where((extents[name][0] >= first) & (extents[name][1] >= second), found[name], 2.0 * found[name])
        for name, (first, second) in whole.items()
    }


def _most(row: Tiling, p: Problem, tile: Tile, name: str) -> Any:
    """The most filters or rows with which a tile fits, if it is held as often as the given one."""
    now = held(row, p, tile)
    kinds = {"weights": row.weights[1], "outputs": row.sums[1]}
    if name != "filters":
        kinds = {"inputs": row.inputs[0], "outputs": row.sums[0]}
    word = "stream" if name == "stream" else "tile"
    found: Any = None
    for room, operands in zip(p.rooms, p.sharing, strict=True):
        growing = [each for each in operands if kinds.get(each) == word]
        left = room
        for each in operands:
            if each not in growing:
                left = left - now[each]
        fits = _fitting(p, tile, name, growing, now, left) if growing else p.xp.where(left >= 0, p.most, -p.one)
        found = fits if found is None else p.xp.minimum(found, fits)
    return found


def _fitting(p: Problem, tile: Tile, name: str, growing: list[str], now: dict[str, Any], left: Any) -> Any:
    size = getattr(tile, name)
    if name == "filters" or p.is_plain:
        taken = now[growing[0]] if len(growing) == 1 else now[growing[0]] + now[growing[1]]
        return left * (1 + _A_LITTLE) * size / taken
    per_output = now["outputs"] / size if "outputs" in growing else _NOTHING * p.partial_bytes
    if "inputs" not in growing:
        return left * (1 + _A_LITTLE) / per_output
    per_input = now["inputs"] / p.input_rows(size)
    return p.strips.fitting(left, per_input, per_output, p.xp) * (1 + _A_LITTLE)


def _same(size: Any) -> Any:
    return size
