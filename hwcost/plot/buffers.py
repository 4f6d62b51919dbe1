"""A network over sizes of the buffer: bytes that cross DRAM, and time."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from hwcost.errors import InvalidValueError
from hwcost.network.buffers import BufferPoint
from hwcost.plot.canvas import canvas, stacked
from hwcost.plot.style import COLOURS, GREY
from hwcost.units import BYTES, SIZES, TIMES, in_unit, unit_of

__all__ = ["buffers_figure"]


def buffers_figure(points: Sequence[BufferPoint], title: str = "", *, ax: Any = None) -> Any:
    """Bytes of DRAM by operand, and time, for each size of the buffer.

    Args:
        points: from :func:`hwcost.network.buffers.buffer_curve`.
        title: above the picture.
        ax: two Axes, for the bytes and the time; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: something else than such points, or another number of axes.
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear, SystolicArray
    >>> from hwcost.network.buffers import buffer_curve
    >>> points = buffer_curve({"a": Linear(512, 512, batch=196)}, SystolicArray(16, 16), [32768, 262144])
    >>> len(buffers_figure(points).axes)
    2
    """
    if not isinstance(points, Sequence) or not points or not all(isinstance(each, BufferPoint) for each in points):
        raise InvalidValueError("points", points, "what hwcost.network.buffer_curve(network, array, sizes) returns")
    sizes = [point.buffer_bytes for point in points]
    places = range(len(sizes))
    moved = [point.cost.dram_parts for point in points]
    parts = {words: [float(each[words]) for each in moved] for words in moved[0]}
    seconds = [float(point.cost.seconds) for point in points]
    size = max(6.0, 3.0 + 0.7 * len(sizes)), 5.0
    with canvas(ax, ("bytes of DRAM", "time"), size, stacked(3, 2)) as drawing:
        above, below = drawing.panels
        lowest = [0.0] * len(sizes)
        for (name, values), colour in zip(parts.items(), COLOURS, strict=False):
            if any(values):
                above.bar(places, values, 0.7, bottom=lowest, color=colour, label=name)
                lowest = [low + value for low, value in zip(lowest, values, strict=True)]
        for place, whole in zip(places, lowest, strict=True):
            above.annotate(in_unit(whole, BYTES, 3), (place, whole), ha="center", va="bottom", fontsize=8, color=GREY)
        above.set_ylim(0, 1.1 * max(lowest))
        above.yaxis.set_major_formatter(lambda value, _: in_unit(value, BYTES, 3) if value else "0")
        above.set_ylabel("bytes of DRAM")
        scale, unit = unit_of(max(seconds), TIMES)
        below.plot(places, [each / scale for each in seconds], marker="o", color=COLOURS[0])
        below.set_ylim(0, 1.15 * max(seconds) / scale)
        below.set_ylabel(f"time [{unit}]")
        for axes in drawing.lowest(drawing.panels):
            axes.set_xticks(places, [in_unit(size, SIZES, 4) for size in sizes])
            axes.set_xlabel("buffer")
        for axes in drawing.panels:
            axes.grid(visible=False, axis="x")
        drawing.title(textwrap.fill(title, 10 * int(size[0])), 10.5)
        drawing.legend([above])
    return drawing.drawn
