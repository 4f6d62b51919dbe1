"""Pictures: what stands in for the ceiling, the stairs that a layer's cost climbs as it gets wider, how good a fit is.

The functions return matplotlib figures without touching pyplot: no global state, no window. :func:`save` writes one to
a file. matplotlib is loaded on the first call.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hwcost.device import SystolicArray
from hwcost.errors import InvalidValueError, MissingDependencyError, MixedLibrariesError
from hwcost.layers import Conv2d, Layer
from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation, as_relaxation
from hwcost.runtime import layer_cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ENDINGS",
    "calibration_figure",
    "ceiling_data",
    "ceiling_figure",
    "check_path",
    "load_matplotlib",
    "save",
    "stairs_data",
    "stairs_figure",
]

ENDINGS = ("png", "svg", "pdf")
"""Of the files that can be written."""

MOST_WIDTHS = 100_000

Relaxations: TypeAlias = Sequence[Relaxation | str]

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart; without its yellow.
_BLACK, _GREY, _LIGHT = "#000000", "#767676", "#B8B8B8"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "hwcost",
}
_MARGINS = {"w_pad": 0.12, "h_pad": 0.08}
_SLOPE_FLOOR = 1e-4
_MOST_TICKS = 12
_SMALL: Mapping[str, Any] = {"png": {"pil_kwargs": {"optimize": True}}}
_NO_DATE: Mapping[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def load_matplotlib() -> Any:
    """The library, loaded.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import matplotlib.figure
    except ImportError:
        raise MissingDependencyError("matplotlib", "plot", "a plot") from None
    return matplotlib


# ---------------------------------------------------------------- the smooth ceilings

_CURVES = tuple(
    RELAXATIONS[name].with_options(**{option: temperature})
    for name, option in (("logistic", "temperature"), ("shifted", "temperature"), ("generalized", "b"))
    for temperature in (10.0, 20.0, 100.0)
)


def ceiling_data(relaxations: Relaxations = _CURVES, maximum: float = 5.0) -> dict[str, Any]:
    """Value and slope of relaxations, and the ceiling itself, from 0 to ``maximum``.

    Returns:
        Lists of numbers: ``x``, ``exact``, and for each of the ``curves`` its ``relaxation`` and ``options``, ``value``
        and ``slope``.

    >>> data = ceiling_data(["logistic", "linear"], maximum=2)
    >>> data["x"][-1], data["exact"][-1], [curve["value"][-1] for curve in data["curves"]]
    (2.0, 2.0, [2.5, 2.0])
    """
    rows = _checked(relaxations)
    if not 0 < maximum <= 1000:
        raise InvalidValueError("maximum", maximum, "a number above 0, at most 1000")
    x = np.linspace(0.0, maximum, min(20_001, 1 + 240 * max(1, round(maximum))))
    with np.errstate(all="ignore"):
        curves = [_described(row) | {"value": row.value(x).tolist(), "slope": row.slope(x).tolist()} for row in rows]
    return {"x": x.tolist(), "exact": EXACT.value(x).tolist(), "curves": curves}


def ceiling_figure(relaxations: Relaxations = _CURVES, maximum: float = 5.0) -> Figure:
    """Smooth stand-ins over the ceiling itself, their slopes below; one column for each kind of relaxation.

    Args:
        relaxations: what to draw; the same kind at several temperatures shares a column.
        maximum: where the horizontal axis ends.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    data = ceiling_data(relaxations, maximum)
    kinds = list(dict.fromkeys(curve["relaxation"] for curve in data["curves"]))
    colours = _colours_by_label([_sharpness_label(curve) for curve in data["curves"]])
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(1.2 + 2.6 * max(2, len(kinds)), 5.6), layout="constrained")
        axes = figure.subplots(
            2, len(kinds), sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 2)}
        )
        for (above, below), kind in zip(axes.T, kinds, strict=True):
            _draw_ceilings(above, below, kind, data, colours)
        axes[0, 0].set_ylabel("value")
        axes[1, 0].set_ylabel("slope (log scale)")
        figure.get_layout_engine().set(**_MARGINS)
        figure.suptitle("Smooth ceilings against the exact one, and their gradients", fontsize=13)
        handles = {line.get_label(): line for row in axes[0] for line in row.get_lines()}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 4))
    return figure  # type: ignore[no-any-return]


def _draw_ceilings(above: Axes, below: Axes, kind: str, data: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    stop = data["x"][-1]
    whole = np.append(np.arange(np.ceil(stop)), stop)
    above.step(whole, np.ceil(whole), where="pre", color=_LIGHT, linewidth=3.5, label="exact (slope 0)")
    for curve in data["curves"]:
        if curve["relaxation"] != kind:
            continue
        label = _sharpness_label(curve)
        style: dict[str, Any] = {"color": colours[label], "linewidth": 1.7, "label": label}
        above.plot(data["x"], curve["value"], **style)
        below.plot(data["x"], np.clip(curve["slope"], _SLOPE_FLOOR / 100, None), **style)
    above.set_title(kind if kind != "generalized" else "generalized (temperature: b)")
    above.set_xlim(0, stop)
    above.set_ylim(0, np.ceil(stop) + 0.6)
    below.set_yscale("log")
    below.set_ylim(bottom=_SLOPE_FLOOR)
    below.set_xlabel("x = extent / array size")


def _sharpness_label(curve: Mapping[str, Any]) -> str:
    value = next((curve["options"][name] for name in ("temperature", "b") if name in curve["options"]), None)
    return "no temperature" if value is None else f"temperature {value:g}"


def _colours_by_label(labels: Sequence[str]) -> dict[str, str]:
    return {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(dict.fromkeys(labels))}


# ---------------------------------------------------------------- the stairs

_AXES = {"out_channels": "filters", "in_channels": "input channels"}


def stairs_data(
    layer: Layer, array: SystolicArray, along: str, widths: Sequence[int], relaxations: Relaxations = ("logistic",)
) -> dict[str, Any]:
    """Cycles and utilization of a layer against one of its widths.

    Args:
        layer: the layer; whatever it holds at ``along`` is replaced.
        array: the accelerator.
        along: the field to vary: "in_channels" or "out_channels" of a :class:`hwcost.Conv2d`.
        widths: the integers to price exactly; relaxations are priced between them as well.
        relaxations: the smooth curves.

    Returns:
        Lists of numbers: ``widths``, ``exact`` and, on the finer ``soft_widths``, each of the ``curves``. The last
        curve is the linear one: what a cost in proportion to the FLOPs says.

    Raises:
        InvalidValueError: a field that is no width of this layer, fewer than two widths, a width that is not allowed.

    >>> data = stairs_data(Conv2d(6, 1, 5, 14, 14), SystolicArray(8, 8), "out_channels", [8, 9, 16])
    >>> data["exact"]["cycles"]
    [1900, 3800, 3800]
    """
    rows = [row for row in _checked(relaxations) if row.name not in ("exact", "linear")] + [RELAXATIONS["linear"]]
    known = getattr(layer, "WIDTHS", ())
    if along not in known:
        raise InvalidValueError("along", along, f"one of: {', '.join(known)}")
    if not 2 <= len(widths) <= MOST_WIDTHS:
        raise InvalidValueError("the number of widths", len(widths), f"from 2 to {MOST_WIDTHS}")
    counted = np.unique(np.asarray(widths))
    soft = np.linspace(float(counted[0]), float(counted[-1]), min(4001, max(801, 8 * len(counted))))
    with np.errstate(all="ignore"):
        exact = _stair(layer, array, along, counted, EXACT)
        curves = [_described(row) | _stair(layer, array, along, soft, row) for row in rows]
    return {
        "along": along,
        "widths": counted.tolist(),
        "exact": exact,
        "soft_widths": soft.tolist(),
        "curves": curves,
    }


def _stair(layer: Layer, array: SystolicArray, along: str, widths: Any, relaxation: Relaxation) -> dict[str, Any]:
    wide: Layer = dataclasses.replace(layer, **{along: widths})  # type: ignore[type-var]
    try:
        cost = layer_cost(wide, array, relaxation=relaxation)
        finite = bool(np.all(np.isfinite(cost.cycles)))
    except MixedLibrariesError:  # complex numbers: roots of sizes that the relaxation made negative
        finite = False
    if not finite:
        raise InvalidValueError(
            f"the cycles by relaxation {relaxation.name}",
            np.nan,
            "finite numbers; take another relaxation or temperature",
        )
    return {
        "cycles": np.broadcast_to(cost.cycles, widths.shape).tolist(),
        "utilization": np.broadcast_to(cost.utilization, widths.shape).tolist(),
    }


def stairs_figure(
    layer: Layer, array: SystolicArray, along: str, widths: Sequence[int], relaxations: Relaxations = ("logistic",)
) -> Figure:
    """Cycles, and below them utilization, of a layer against one of its widths: exact, smooth and FLOPs-like.

    The arguments are those of :func:`stairs_data`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    data = stairs_data(layer, array, along, widths, relaxations)
    *smooth, linear = data["curves"]
    counted = np.asarray(data["widths"])
    label = _AXES.get(along, along.replace("_", " "))
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(7.6, 6.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
        for axes, figure_name, scale in ((above, "cycles", 1), (below, "utilization", 100)):
            draw = functools.partial(_draw, axes, scale, figure_name)
            draw(data["soft_widths"], linear, color=_GREY, linestyle=(0, (5, 2)), label="FLOPs-like (linear)")
            draw(counted, data["exact"], color=_BLACK, label="exact", **_exact_style(counted, figure_name))
            for curve, colour in zip(smooth, _COLOURS * len(smooth), strict=False):
                name = f"{curve['relaxation']}, {_sharpness_label(curve)}"
                draw(data["soft_widths"], curve, color=colour, linewidth=1.6, label=name)
        above.set_ylabel("cycles")
        above.set_ylim(bottom=0)
        below.set_ylabel("utilization, %")
        top = max(line.get_ydata().max() for line in below.get_lines())
        below.set_ylim(0, max(106, 1.06 * top) if top > 50 else 1.25 * top)
        below.set_xlabel(f"number of {label}")
        below.set_xlim(0 if counted[0] < 0.1 * counted[-1] else counted[0], counted[-1])
        risers = [*counted[:-1][np.diff(data["exact"]["cycles"]) > 0].tolist(), data["widths"][-1]]
        if len(counted) > 2 * len(risers) and len(risers) <= _MOST_TICKS:
            below.set_xticks([data["widths"][0], *risers])
        figure.get_layout_engine().set(**_MARGINS)
        figure.suptitle(f"Cycles and utilization against the number of {label}", fontsize=13)
        above.set_title(_setting(layer, array, along), color="#444444")
        handles, labels = above.get_legend_handles_labels()
        order = [1, *range(2, len(handles)), 0]
        figure.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="outside lower center",
            ncols=3,
        )
    return figure  # type: ignore[no-any-return]


def _draw(axes: Axes, scale: float, figure_name: str, widths: Any, curve: Mapping[str, Any], **style: Any) -> None:
    axes.plot(widths, scale * np.asarray(curve[figure_name], dtype=float), **style)


def _exact_style(widths: Any, figure_name: str) -> dict[str, Any]:
    """Neighbouring widths make a stair; widths with gaps between them are points, since the stair is unknown there."""
    if np.any(np.diff(widths) != 1):
        return {"linestyle": "none", "marker": "o", "markersize": 3.5}
    return {"linewidth": 1.3, "drawstyle": "steps-pre" if figure_name == "cycles" else "default"}


def _setting(layer: Layer, array: SystolicArray, along: str) -> str:
    place = f"{array.rows} x {array.cols} array, {array.dataflow_row.summary}, {array.fold_timing} folds"
    if not isinstance(layer, Conv2d):
        return place
    k1, k2 = layer.kernel_size
    other = f"{layer.in_channels} channels" if along == "out_channels" else f"{layer.out_channels} filters"
    height, width = layer.out_size
    shape = f"{k1} x {k2} kernel, {other}, {height} x {width} output"
    return f"{shape}, {place}" if len(shape) + len(place) < 88 else f"{shape},\n{place}"


# ---------------------------------------------------------------- calibration


def calibration_figure(
    measured: Sequence[float], predicted: Sequence[float], name: str = "", error: float | None = None
) -> Figure:
    """Predicted against measured latency, and how far off each prediction is.

    Args:
        measured, predicted: seconds, each of the same measurements; predictions should be of held-out ones.
        name: of the device.
        error: the mean absolute relative error, for the title.

    Raises:
        InvalidValueError: no measurements, or not as many predictions.
        MissingDependencyError: matplotlib is not installed.

    >>> figure = calibration_figure([1e-3, 2e-3], [1.1e-3, 1.9e-3], "mine", 0.075)
    >>> len(figure.axes)
    2
    """
    x, y = (np.asarray(seconds, dtype=float) for seconds in (measured, predicted))
    if x.shape != y.shape or x.ndim != 1 or not len(x) or not (np.all(x > 0) and np.all(y > 0)):
        raise InvalidValueError("predicted", predicted, "as many latencies above 0 as there are measured ones")
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(9.0, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
        left.plot(ends, ends, color=_GREY, linewidth=1)
        left.plot(x, y, "o", color=_COLOURS[0], markersize=4, alpha=0.75)
        left.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        left.set(xlabel="measured latency [s]", ylabel="predicted, held out [s]")
        right.axhline(0, color=_GREY, linewidth=1)
        off = 100 * (y / x - 1)
        right.plot(x, off, "o", color=_COLOURS[0], markersize=4, alpha=0.75)
        most = max(10.0, 1.15 * np.abs(off).max())
        right.set(xscale="log", xlabel="measured latency [s]", ylabel="predicted / measured - 1 [%]")
        right.set_ylim(-most, most)
        mean = "" if error is None else f": mean error {100 * error:.1f} % on held-out measurements"
        figure.suptitle(f"{name or 'fitted device'}{mean}")
    return figure  # type: ignore[no-any-return]


# ---------------------------------------------------------------- files


def check_path(path: str | os.PathLike[str]) -> str:
    """The format that the ending of ``path`` stands for.

    >>> check_path("stairs.SVG")
    'svg'

    Raises:
        InvalidValueError: an ending that is none of :data:`ENDINGS`.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise InvalidValueError("path", os.fspath(path), f"a file name ending in .{', .'.join(ENDINGS)}")
    return ending


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, SVG or PDF, going by the ending; the file is written whole or not at all.

    The same figure makes the same file: no dates, no random names.

    Raises:
        InvalidValueError: an unknown ending, or a file that cannot be written.
    """
    ending = check_path(path)
    matplotlib = load_matplotlib()
    try:
        with _written_whole(Path(path)) as beside, matplotlib.rc_context(_STYLE):
            figure.savefig(beside, format=ending, dpi=120, metadata=_NO_DATE[ending], **_SMALL.get(ending, {}))
    except OSError as error:
        raise InvalidValueError("path", os.fspath(path), f"a file that can be written ({error.strerror})") from None


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place once it is complete."""
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


# ---------------------------------------------------------------- both


def _checked(relaxations: Relaxations) -> list[Relaxation]:
    rows = [as_relaxation(relaxation) for relaxation in relaxations]
    if not rows:
        raise InvalidValueError("relaxations", [], "at least one relaxation")
    return rows


def _described(relaxation: Relaxation) -> dict[str, Any]:
    return {
        "relaxation": relaxation.name,
        "options": {name: value for name, value in relaxation.options.items() if value is not None},
    }
