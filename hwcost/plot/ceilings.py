"""Smooth ceilings, the exact one, and their slopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hwcost.errors import InvalidValueError
from hwcost.plot.canvas import canvas
from hwcost.plot.style import COLOURS, LIGHT
from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation, as_relaxation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Relaxations", "ceiling_data", "ceiling_figure", "check_relaxations", "describe", "sharpness_label"]

Relaxations: TypeAlias = Relaxation | str | Iterable[Relaxation | str]

_SLOPE_FLOOR = 1e-4
_CURVES = tuple(
    RELAXATIONS[name].with_options(**{option: temperature})
    for name, option in (("logistic", "temperature"), ("shifted", "temperature"), ("generalized", "b"))
    for temperature in (10.0, 20.0, 100.0)
)


def ceiling_data(relaxations: Relaxations = _CURVES, maximum: float = 5.0) -> dict[str, Any]:
    """Value and slope of relaxations, and the exact ceiling, from 0 to ``maximum``.

    Returns:
        Lists of numbers ``x`` and ``exact``; ``curves``, each with its ``relaxation``, ``options``, ``value`` and
        ``slope``.

    >>> data = ceiling_data(["logistic", "linear"], maximum=2)
    >>> data["x"][-1], data["exact"][-1], [curve["value"][-1] for curve in data["curves"]]
    (2.0, 2.0, [2.5, 2.0])
    """
    rows = check_relaxations(relaxations)
    if not 0 < maximum <= 1000:
        raise InvalidValueError("maximum", maximum, "a number above 0, at most 1000")
    x = np.linspace(0.0, maximum, min(20_001, 1 + 240 * max(1, round(maximum))))
    with np.errstate(all="ignore"):
        curves = [describe(row) | {"value": row.value(x).tolist(), "slope": row.slope(x).tolist()} for row in rows]
    return {"x": x.tolist(), "exact": EXACT.value(x).tolist(), "curves": curves}


def ceiling_figure(relaxations: Relaxations = _CURVES, maximum: float = 5.0, *, ax: Any = None) -> Any:
    """Smooth stand-ins and the exact ceiling, with their slopes below; one column per kind of relaxation.

    Args:
        relaxations: the curves; those of one kind at several temperatures share a column.
        maximum: the end of the horizontal axis.
        ax: two Axes for each kind of relaxation: those of the values, then those of the slopes; by default those of a
            new figure.

    Returns:
        The figure, or the axes given.

    Raises:
        InvalidValueError: an unknown relaxation, or another number of axes.
        MissingDependencyError: matplotlib is not installed.
    """
    data = ceiling_data(relaxations, maximum)
    kinds = list(dict.fromkeys(curve["relaxation"] for curve in data["curves"]))
    labels = list(dict.fromkeys(map(sharpness_label, data["curves"])))
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    names = [f"{what} of {kind}" for what in ("value", "slope") for kind in kinds]
    size = 1.2 + 2.6 * max(2, len(kinds)), 5.6
    grid: dict[str, Any] = {"sharex": True, "sharey": "row", "squeeze": False, "height_ratios": (3, 2)}
    with canvas(ax, names, size, lambda figure: figure.subplots(2, len(kinds), **grid).flat) as drawing:
        upper, lower = drawing.panels[: len(kinds)], drawing.panels[len(kinds) :]
        for above, below, kind in zip(upper, lower, kinds, strict=True):
            _draw_ceilings(above, below, kind, data, colours)
        upper[0].set_ylabel("value")
        lower[0].set_ylabel("slope")
        drawing.title("Smooth ceilings against the exact one, and their gradients", 13)
        drawing.legend(upper)
    return drawing.drawn


def _draw_ceilings(above: Axes, below: Axes, kind: str, data: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    stop = data["x"][-1]
    whole = np.append(np.arange(np.ceil(stop)), stop)
    above.step(whole, np.ceil(whole), where="pre", color=LIGHT, linewidth=3.5, label="exact (slope 0)")
    for curve in (each for each in data["curves"] if each["relaxation"] == kind):
        label = sharpness_label(curve)
        style: dict[str, Any] = {"color": colours[label], "linewidth": 1.7, "label": label}
        above.plot(data["x"], curve["value"], **style)
        below.plot(data["x"], np.clip(curve["slope"], _SLOPE_FLOOR / 100, None), **style)
    above.set_title(kind if kind != "generalized" else "generalized (temperature: b)")
    above.set_xlim(0, stop)
    above.set_ylim(0, np.ceil(stop) + 0.6)
    below.set_xlim(0, stop)
    below.set_yscale("log")
    below.set_ylim(bottom=_SLOPE_FLOOR)
    below.set_xlabel("x = extent / array size")


def sharpness_label(curve: Mapping[str, Any]) -> str:
    """The temperature of a curve as a legend entry."""
    value = next((curve["options"][name] for name in ("temperature", "b") if name in curve["options"]), None)
    return "no temperature" if value is None else f"temperature {value:g}"


def check_relaxations(relaxations: Relaxations) -> list[Relaxation]:
    """The relaxations by value or name, at least one."""
    if isinstance(relaxations, (Relaxation, str)):
        relaxations = [relaxations]
    if isinstance(relaxations, type) or not isinstance(relaxations, Iterable):
        raise InvalidValueError("relaxations", relaxations, f"some of: {', '.join(RELAXATIONS)}; or a Relaxation")
    rows = [as_relaxation(relaxation) for relaxation in relaxations]
    if not rows:
        raise InvalidValueError("relaxations", [], "at least one relaxation")
    return rows


def describe(relaxation: Relaxation) -> dict[str, Any]:
    """Name and options as plain data."""
    return {
        "relaxation": relaxation.name,
        "options": {name: value for name, value in relaxation.options.items() if value is not None},
    }
