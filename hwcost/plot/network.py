"""A network on an array: time layer by layer, where the PE-cycles go, and every layer under the array's roof."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.arrays import is_number
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import REUSE_LETTER
from hwcost.model.breakdown import KINDS, CycleBreakdown, layer_breakdown
from hwcost.model.cost import Cost
from hwcost.model.layers import is_layer
from hwcost.network.operations import MemoryOnly
from hwcost.network.pricing import network_cost
from hwcost.plot.bars import draw_time, draw_utilization, draw_waste, name_layers
from hwcost.plot.roofline import draw_roofline
from hwcost.plot.style import MARGINS, STYLE, load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "network_data", "network_figure"]

PICTURES = ("time", "waste", "roofline")
"""What :func:`network_figure` can draw."""

_PANELS = {"time": (2.5, 1.3), "waste": (2.4,)}
_NAMES = 1.5
_ROOFLINE = 4.4
_WIDTH = 11.0


def network_data(network: Mapping[str, Any], array: SystolicArray, *, skip_unsupported: bool = False) -> dict[str, Any]:
    """What :func:`network_figure` draws, as plain data.

    Args:
        network: from names to layers; those without products are left out.
        array: the accelerator.
        skip_unsupported: leave out what cannot be priced instead of raising.

    Returns:
        ``layers``: for each its name, ``seconds``, ``share`` of the time, ``utilization``, ``bound``, ``macs``,
        ``bytes`` of what ``operands`` says and ``shares`` of the PE-cycles; ``total``: such shares of all layers;
        ``roof``: the most MACs a second; ``slopes``: bytes a second from and to memory, by operands.

    Raises:
        InvalidValueError: nothing to price, what is no layer, an array of several machines.

    >>> from hwcost import Linear
    >>> data = network_data({"fc": Linear(12, 8)}, SystolicArray(8, 8))
    >>> data["layers"][0]["shares"]["ragged_rows"], data["roof"], data["slopes"]
    (0.25, 64000000000.0, [])
    """
    priced = {name: layer for name, layer in network.items() if not isinstance(layer, MemoryOnly)}
    report = network_cost(priced, array, skip_unsupported=skip_unsupported)
    if array.sweeps or not is_number(report.total.cycles):
        raise InvalidValueError("network", network, "layers and an array with a number in every field")
    priced = {name: layer for name, layer in priced.items() if is_layer(layer)}
    slopes = _slopes(array)
    operands = [operand for slope in slopes for operand in slope["operands"]] or list(REUSE_LETTER)
    wastes = {name: layer_breakdown(layer, array) for name, layer in priced.items()}
    return {
        "layers": [
            _layer_data(name, layer, report.layers[name], report.total, wastes[name], _moved(layer, array, operands))
            for name, layer in priced.items()
        ],
        "total": sum(wastes.values(), start=CycleBreakdown()).shares,
        "utilization": report.total.utilization,
        "operands": operands,
        "roof": float(array.pes * array.clock_hz),
        "slopes": slopes,
    }


def _layer_data(name: str, layer: Any, cost: Cost, total: Cost, waste: CycleBreakdown, moved: float) -> dict[str, Any]:
    return {
        "name": name,
        "seconds": cost.seconds,
        "share": float(cost.cycles / total.cycles) if total.cycles else 0.0,
        "utilization": cost.utilization,
        "bound": cost.bound,
        "macs": float(cost.macs),
        "bytes": moved,
        "shares": waste.shares,
    }


def _slopes(array: SystolicArray) -> list[dict[str, Any]]:
    """The limits of memory, fastest first, each with the operands that it limits."""
    rates: dict[float, list[str]] = {}
    for operand, rate in zip(REUSE_LETTER, array.bytes_per_cycle, strict=True):
        if rate != math.inf:
            rates.setdefault(float(rate * array.clock_hz), []).append(operand)
    return [{"bytes_per_s": rate, "operands": rates[rate]} for rate in sorted(rates, reverse=True)]


def _moved(layer: Any, array: SystolicArray, operands: Sequence[Any]) -> float:
    elements = sum(gemm.elements(operand) for gemm in layer.gemms() for operand in operands)
    return float(elements * array.bytes_per_element)


def network_figure(
    network: Mapping[str, Any],
    array: SystolicArray,
    title: str = "",
    *,
    pictures: Sequence[str] = PICTURES,
    skip_unsupported: bool = False,
) -> Figure:
    """A network on an array, on one page.

    Args:
        network, array, skip_unsupported: as :func:`network_data` takes them.
        title: above all pictures.
        pictures: some of :data:`PICTURES`: time and utilization of every layer; where its PE-cycles go, and those of
            the whole network; every layer under the roof of the array and of its memory.

    Raises:
        InvalidValueError: an unknown picture, and what :func:`network_data` raises.
        MissingDependencyError: matplotlib is not installed.
    """
    if not pictures or not set(pictures) <= set(PICTURES):
        raise InvalidValueError("pictures", list(pictures), f"some of: {', '.join(PICTURES)}")
    matplotlib = load_matplotlib()
    data = network_data(network, array, skip_unsupported=skip_unsupported)
    panels = [height for name in _PANELS if name in pictures for height in _PANELS[name]]
    above = sum(panels) + _NAMES if panels else 0.0
    heights = [height for height in (above, _ROOFLINE if "roofline" in pictures else 0.0) if height]
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(_WIDTH, sum(heights) + 0.4), layout="constrained")
        parts = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
        figure.get_layout_engine().set(**MARGINS)
        if panels:
            _draw_panels(parts[0], data, pictures, panels)
        if "roofline" in pictures:
            draw_roofline(parts[-1].subplots(), data)
        if title:
            figure.suptitle(title, fontsize=13)
    return figure  # type: ignore[no-any-return]


def _draw_panels(part: Any, data: Mapping[str, Any], pictures: Sequence[str], panels: Sequence[float]) -> None:
    """The pictures that have a place for every layer, below each other."""
    axes = list(part.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": panels}).flat)
    lowest = axes[-1]
    if "time" in pictures:
        draw_time(axes.pop(0), data)
        draw_utilization(axes.pop(0), data)
    if "waste" in pictures:
        draw_waste(axes.pop(0), data, KINDS)
    name_layers(lowest, data, with_total="waste" in pictures)
