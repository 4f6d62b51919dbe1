"""A network over sizes of the buffer: bytes that cross DRAM, and time."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwcost.plot.style import COLOURS, GREY, new_figure
from hwcost.units import BYTES, SIZES, TIMES, in_unit, unit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["buffers_figure"]


def buffers_figure(points: Sequence[Any], title: str = "") -> Figure:
    """Bytes of DRAM by operand, and time, for each size of the buffer.

    Args:
        points: from :func:`hwcost.network.buffers.buffer_curve`.
        title: above the picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    >>> from hwcost import Linear, SystolicArray
    >>> from hwcost.network.buffers import buffer_curve
    >>> points = buffer_curve({"a": Linear(512, 512, batch=196)}, SystolicArray(16, 16), [32768, 262144])
    >>> len(buffers_figure(points).axes)
    2
    """
    sizes = [point.buffer_bytes for point in points]
    places = range(len(sizes))
    parts = {
        "weights": [float(point.cost.dram_weight_bytes) for point in points],
        "inputs": [float(point.cost.dram_input_bytes) for point in points],
        "outputs": [float(point.cost.dram_output_bytes) for point in points],
        "partial sums": [float(point.cost.dram_partial_bytes) for point in points],
    }
    seconds = [float(point.cost.seconds) for point in points]
    with new_figure(max(6.0, 3.0 + 0.7 * len(sizes)), 5.0) as figure:
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
        lowest = [0.0] * len(sizes)
        for (name, values), colour in zip(parts.items(), COLOURS, strict=False):
            if any(values):
                above.bar(places, values, 0.7, bottom=lowest, color=colour, label=name)
                lowest = [low + value for low, value in zip(lowest, values, strict=True)]
        for place, whole in zip(places, lowest, strict=True):
            above.annotate(in_unit(whole, BYTES, 3), (place, whole), ha="center", va="bottom", fontsize=8, color=GREY)
        above.set_ylim(0, 1.3 * max(lowest))
        above.yaxis.set_major_formatter(lambda value, _: in_unit(value, BYTES, 3) if value else "0")
        above.set_ylabel("bytes of DRAM")
        above.legend(fontsize=8, loc="upper right", ncols=4)
        scale, unit = unit_of(max(seconds), TIMES)
        below.plot(places, [each / scale for each in seconds], marker="o", color=COLOURS[0])
        below.set_ylim(0, 1.15 * max(seconds) / scale)
        below.set_ylabel(f"time [{unit}]")
        below.set_xticks(places, [in_unit(size, SIZES, 4) for size in sizes])
        below.set_xlabel("buffer")
        for axes in (above, below):
            axes.grid(visible=False, axis="x")
        above.set_title(textwrap.fill(title, 10 * int(figure.get_figwidth())), loc="left")
    return figure
