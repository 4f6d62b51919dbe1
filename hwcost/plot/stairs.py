"""Cycles and utilization of a layer against one of its widths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcost.devices import DeviceFile
from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError, MixedLibrariesError, check_one_of
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import as_array, check_layer, layer_cost
from hwcost.model.layers import Conv2d, Layer
from hwcost.plot.canvas import canvas, stacked
from hwcost.plot.ceilings import Relaxations, check_relaxations, describe, sharpness_label
from hwcost.plot.style import BEYOND, BLACK, COLOURS, GREY, HOLLOW, LIGHT, percent_limits
from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation
from hwcost.units import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["stairs_data", "stairs_figure"]

MOST_WIDTHS = 100_000
_MOST_TICKS = 12
_AXES = {"out_channels": "filters", "in_channels": "input channels"}


def stairs_data(
    layer: Layer,
    array: SystolicArray | str,
    along: str,
    widths: Sequence[int],
    relaxations: Relaxations = ("logistic",),
    *,
    device: DeviceFile | None = None,
) -> dict[str, Any]:
    """Cycles and utilization of a layer against one of its widths.

    Args:
        layer: the layer; its value of ``along`` is replaced.
        array: the accelerator, or the name of a device.
        along: the field to vary, such as "in_channels" or "out_channels" of a :class:`hwcost.Conv2d`.
        widths: the integers to price exactly; relaxations are also priced between them.
        relaxations: the smooth curves.
        device: the calibrated device that the array is of; by default that of the name, if ``array`` is one.

    Returns:
        Lists of numbers: ``widths``, ``exact`` and, on the finer ``soft_widths``, each of the ``curves``. The last
        curve is the linear one, without steps: as FLOPs have it, where memory is not what bounds the layer. On a
        calibrated device ``extrapolated`` says of each width whether it is beyond what was measured, and ``cycles_90``
        has the ends between which its exact latency lies with 90 %, in cycles; both are None on others.

    Raises:
        InvalidValueError: a field that is not a width of this layer, fewer than two widths, an invalid width.

    >>> data = stairs_data(Conv2d(6, 1, 5, 14, 14), SystolicArray(8, 8), "out_channels", [8, 9, 16])
    >>> data["exact"]["cycles"]
    [1900, 3800, 3800]
    """
    device, array = device or named_device(array), as_array(array)
    rows = [row for row in check_relaxations(relaxations) if row.name not in ("exact", "linear")] + [
        RELAXATIONS["linear"]
    ]
    check_layer(layer)
    check_one_of("along", along, getattr(layer, "WIDTHS", ()))
    if not isinstance(widths, (Sequence, np.ndarray)):
        raise InvalidValueError("widths", widths, "integers in a range or a list")
    if not 2 <= len(widths) <= MOST_WIDTHS:
        raise InvalidValueError("the number of widths", len(widths), f"from 2 to {MOST_WIDTHS}")
    counted = np.unique(np.asarray(widths))
    if len(counted) < 2:
        raise InvalidValueError("the number of widths", 1, f"from 2 to {MOST_WIDTHS} that differ")
    soft = np.linspace(float(counted[0]), float(counted[-1]), min(4001, max(801, 8 * len(counted))))
    with np.errstate(all="ignore"):
        exact = _stair(layer, array, along, counted, EXACT)
        curves = [describe(row) | _stair(layer, array, along, soft, row) for row in rows]
    return {
        "along": along,
        "widths": counted.tolist(),
        "exact": exact,
        "soft_widths": soft.tolist(),
        "curves": curves,
        **_measured(dataclasses.replace(layer, **{along: counted}), array, device, exact["cycles"]),  # type: ignore[type-var]
    }


def _measured(layer: Layer, array: SystolicArray, device: DeviceFile | None, cycles: list[float]) -> dict[str, Any]:
    """What is known of the points of a stair from the measurements of a device."""
    found: dict[str, Any] = {"extrapolated": None, "cycles_90": None}
    if device is None or device.fit is None:
        return found
    ends = device.interval([(layer, np.asarray(cycles, dtype=float))]) if device.array == array else None
    beyond = np.broadcast_to(device.is_beyond(layer), len(cycles))
    return {"extrapolated": beyond.tolist(), "cycles_90": ends and [each.tolist() for each in ends]}


def _stair(layer: Layer, array: SystolicArray, along: str, widths: Any, relaxation: Relaxation) -> dict[str, Any]:
    wide: Layer = dataclasses.replace(layer, **{along: widths})  # type: ignore[type-var]
    try:
        cost = layer_cost(wide, array, relaxation=relaxation)
    except (InvalidValueError, MixedLibrariesError) as error:
        if getattr(error, "field", "the cost") != "the cost":
            raise
        # also complex numbers: roots of sizes that the relaxation made negative
        reason = "its cycles are not finite numbers at these widths"
        advice = "use another relaxation or temperature"
        raise InvalidValueError("relaxations", relaxation.name, advice, reason=reason) from None
    return {
        "cycles": np.broadcast_to(cost.cycles, widths.shape).tolist(),
        "utilization": np.broadcast_to(cost.utilization, widths.shape).tolist(),
    }


def stairs_figure(
    layer: Layer,
    array: SystolicArray | str,
    along: str,
    widths: Sequence[int],
    relaxations: Relaxations = ("logistic",),
    *,
    device: DeviceFile | None = None,
    ax: Any = None,
) -> Any:
    """Cycles, and below them utilization, of a layer against one of its widths: exact, smooth and FLOPs-like.

    Widths beyond what a calibrated device was measured with are hatched.

    Args:
        layer, array, along, widths, relaxations, device: as for :func:`stairs_data`.
        ax: two Axes, for the cycles and the utilization; by default those of a new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: as :func:`stairs_data`, or another number of axes.
        MissingDependencyError: matplotlib is not installed.
    """
    device, array = device or named_device(array), as_array(array)
    data = stairs_data(layer, array, along, widths, relaxations, device=device)
    counted = np.asarray(data["widths"])
    width = _AXES.get(along, along.replace("_", " "))
    line = np.asarray(data["curves"][-1]["cycles"], dtype=float)
    is_straight = np.allclose(np.diff(line, 2), 0, atol=1e-6 * np.ptp(line))
    # memory may take longer than computing at some of the widths, which bends the line
    no_steps = "FLOPs-like (linear)" if is_straight else "without steps (linear)"
    with canvas(ax, ("cycles", "utilization"), (7.6, 6.2), stacked(3, 2)) as drawing:
        above, below = drawing.panels
        for axes, figure_name, scale in ((above, "cycles", 1), (below, "utilization", 100)):
            curves = (data["exact"], *data["curves"])
            exact, *smooth, linear = (scale * np.asarray(curve[figure_name], dtype=float) for curve in curves)
            axes.plot(counted, exact, color=BLACK, label="exact", **_exact_style(counted, figure_name))
            for curve, height, colour in zip(data["curves"], smooth, COLOURS * len(smooth), strict=False):
                label = f"{curve['relaxation']}, {sharpness_label(curve)}"
                axes.plot(data["soft_widths"], height, color=colour, linewidth=1.6, label=label)
            below_others: dict[str, Any] = {"color": GREY, "linestyle": (0, (5, 2)), "zorder": 1.5}
            axes.plot(data["soft_widths"], linear, label=no_steps, **below_others)
        _draw_measured(above, below, counted, data)
        above.set_ylabel("cycles")
        above.yaxis.set_major_formatter(lambda value, _: number(value))
        above.set_ylim(bottom=0)
        below.set_ylabel("utilization [%]")
        percent_limits(below, 100 * max(max(curve["utilization"]) for curve in (data["exact"], *data["curves"])))
        risers = [*counted[:-1][np.diff(data["exact"]["cycles"]) > 0].tolist(), data["widths"][-1]]
        for axes in drawing.lowest(drawing.panels):
            axes.set_xlabel(f"number of {width}")
            axes.set_xlim(0 if counted[0] < 0.1 * counted[-1] else counted[0], counted[-1])
            if len(counted) > 2 * len(risers) and len(risers) <= _MOST_TICKS:
                axes.set_xticks([data["widths"][0], *risers])
        setting = _setting(layer, array, along, device)
        if drawing.figure is None:
            drawing.title(setting)
        else:
            drawing.title(f"Cycles and utilization against the number of {width}", 13)
            above.set_title(setting, color="#444444")
        drawing.legend([above], 3)
    return drawing.drawn


def _draw_measured(above: Axes, below: Axes, counted: Any, data: dict[str, Any]) -> None:
    """Draws the interval around the exact cycles, and hatches the widths beyond what was measured."""
    if data["cycles_90"]:
        low, high = data["cycles_90"]
        above.fill_between(counted, low, high, step="pre", color=LIGHT, alpha=0.5, linewidth=0, label="90 % interval")
    beyond = np.flatnonzero(data["extrapolated"] or ())
    for run in np.split(beyond, np.flatnonzero(np.diff(beyond) > 1) + 1) if len(beyond) else ():
        first, last = counted[max(run[0] - 1, 0)], counted[run[-1]]
        for axes in (above, below):
            label = BEYOND if axes is above and run[0] == beyond[0] else None
            axes.axvspan(first, last, zorder=0.5, edgecolor=LIGHT, label=label, **HOLLOW)


def _exact_style(widths: Any, figure_name: str) -> dict[str, Any]:
    """A stair for consecutive widths; points for widths with gaps, because the stair between them is unknown."""
    if np.any(np.diff(widths) != 1):
        return {"linestyle": "none", "marker": "o", "markersize": 3.5}
    return {"linewidth": 1.3, "drawstyle": "steps-pre" if figure_name == "cycles" else "default"}


def _setting(layer: Layer, array: SystolicArray, along: str, device: DeviceFile | None) -> str:
    name = f"{device.name}: " if device is not None and device.array == array else ""
    place = f"{name}{array.size_in_words}, {array.dataflow_row.summary}, {array.fold_timing} folds"
    if not isinstance(layer, Conv2d):
        return place
    k1, k2 = layer.kernel_size
    other = f"{layer.in_channels} channels" if along == "out_channels" else f"{layer.out_channels} filters"
    height, width = layer.out_size
    shape = f"{k1} x {k2} kernel, {other}, {height} x {width} output"
    return f"{shape}, {place}" if len(shape) + len(place) < 88 else f"{shape},\n{place}"
