"""Draws the pictures of docs/how-true.md into docs/images, from the data in the folder DATA.

python tools/draw_how_true.py [--data FOLDER] [--to FOLDER]

The same data make the same files. Fits take about a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "benchmarks"))

import numpy as np  # noqa: E402  # the benchmarks are found by the path above

from common.measured_data import (  # noqa: E402
    AUTO,
    BEST,
    DATA,
    EDGE,
    EDGE_SHARP,
    RTL,
    TILERS,
    edge_networks,
    gemmini_layers,
    missing,
    rows_of,
    rtl_products,
    without_stairs,
)
from common.simulated import UBOOST_ARRAY, uboost_layers  # noqa: E402
from hwcost import Conv2d, Gemm, SystolicArray, layer_cost  # noqa: E402
from hwcost.model.formula import layer_cycles  # noqa: E402
from hwcost.plot import style  # noqa: E402
from hwcost.plot.canvas import say_logarithmic  # noqa: E402
from hwcost.scalesim import TopologyLayer  # noqa: E402
from hwcost.units import percent  # noqa: E402

BLUE, ORANGE, GREEN = style.COLOURS[:3]
BLACK, GREY = style.BLACK, style.GREY
BELOW: Mapping[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}


def canvas(width: float, height: float) -> Any:
    figure = style.load_matplotlib().figure.Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(**style.MARGINS)
    return figure


# ---------------------------------------------------------------- the stairs of the Edge TPU


def edge_chain(filters: int) -> tuple[Conv2d, ...]:
    channels = (3, *(filters,) * 4)
    return tuple(Conv2d(c, filters, 3, height=64, width=64, padding="same") for c in channels)


def edge_stairs(folder: Path) -> Any:
    """The measured sweep over curves, and all of it over the fit without stairs, where the steps show."""
    measured = edge_networks(folder)
    filters = np.array([one.layers[0].out_channels for one in measured])
    milliseconds = 1e3 * np.array([one.seconds for one in measured])
    whole = EDGE_SHARP.without("stairs").with_device(row_stairs=1.0, col_stairs=1.0)
    forms = {"blend": EDGE_SHARP, "whole": whole, "none": without_stairs(EDGE_SHARP)}
    devices = {name: form.fitted(measured, fold_seeds=(0,)).device for name, form in forms.items()}
    widths = np.arange(24, 457)

    def curve(device: SystolicArray, relaxation: str = "exact") -> Any:
        layers = (edge_chain(int(width)) for width in widths)
        soft = [sum(layer_cost(layer, device, relaxation=relaxation).seconds for layer in chain) for chain in layers]
        return 1e3 * np.array(soft, dtype=float)

    curves = {name: curve(device) for name, device in devices.items()} | {"smooth": curve(devices["whole"], "logistic")}
    share = devices["blend"].row_stairs
    styles: Mapping[str, dict[str, Any]] = {
        "whole": {"color": BLACK, "linewidth": 1.2, "label": "whole stairs, fitted"},
        "smooth": {"color": GREEN, "linewidth": 1.6, "label": "the same machine, logistic ceiling"},
        "blend": {"color": BLUE, "linewidth": 2.0, "label": f"blend, fitted: {100 * share:.0f} % of the stair"},
        "none": {"color": GREY, "linewidth": 1.6, "linestyle": (0, (5, 2)), "label": "no stairs, fitted"},
    }
    figure = canvas(8.4, 7.0)
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 4)})
    base = np.interp(filters, widths, curves["none"])
    for name, look in styles.items():
        above.plot(widths, curves[name], **look)
        below.plot(widths, 100 * (curves[name] / curves["none"] - 1), **look)
    dots = {"marker": "o", "linestyle": "none", "markersize": 4.2, "color": ORANGE, "label": "measured", "zorder": 5}
    above.plot(filters, milliseconds, **dots)
    below.plot(filters, 100 * (milliseconds / base - 1), **dots)
    for axes in (above, below):
        axes.set_xlim(24, 456)
    below.set_xticks(range(64, 449, 64))
    below.set_ylim(-26, 15)
    above.set_ylabel("latency [ms]")
    above.set_ylim(bottom=0)
    below.set_ylabel("above the fit without stairs [%]")
    below.set_xlabel("filters in each of the five layers")
    figure.suptitle("Coral Edge TPU: measured latency against the width of a network", fontsize=13)
    above.set_title("five 3 x 3 convolutions on 64 x 64 inputs, int8", color="#444444")
    handles, labels = above.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


# ---------------------------------------------------------------- predicted against measured


def held_out(folder: Path) -> Any:
    """Small multiples: every data set, predicted by fits to the other folds, against measured."""
    panels = {
        "Gemmini, best mappings": (BEST, gemmini_layers(folder, "best_cycles")),
        "Gemmini, default tiler": (AUTO, gemmini_layers(folder, "auto_cycles_med")),
        "Edge TPU": (EDGE, edge_networks(folder)),
        **{f"Gemmini builds, {tiler}": (RTL, rtl_products(folder, tiler)) for tiler in TILERS},
    }
    figure = canvas(10.8, 7.2)
    for axes, (name, (form, measurements)) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        found = form.fitted(measurements)
        scale, unit = (1e3, "ms") if name == "Edge TPU" else (1e6, "thousand cycles")
        x, y = scale * np.array(found.measured), scale * np.array(found.predicted)
        ends = np.array([min(x.min(), y.min()) / 1.4, max(x.max(), y.max()) * 1.4])
        axes.plot(ends, ends, color=GREY, linewidth=1.2)
        axes.plot(x, y, "o", color=BLUE, markersize=3.6, alpha=0.7, markeredgewidth=0)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.set_box_aspect(1)
        axes.set_title(f"{name}\nmean error {percent(found.scores.mape)} % ({found.scores.count})")
        axes.set_xlabel(f"measured [{unit}]")
        axes.set_ylabel(f"predicted [{unit}]")
        style.plain_ticks(axes.xaxis, axes.yaxis)
    figure.suptitle("Predicted against measured; each layer predicted by a fit that excludes it", fontsize=13)
    return figure


# ---------------------------------------------------------------- the simulators


def simulators(folder: Path) -> Any:
    """The author's formula over SCALE-Sim by size of the array; hwcost and a smooth model over a cycle simulator."""
    figure = canvas(9.6, 5.4)
    left, right = figure.subplots(1, 2)
    ratios = scalesim_ratios(folder)
    sizes = sorted(ratios)
    random = np.random.default_rng(0)
    for place, size in enumerate(sizes):
        spread = place + random.uniform(-0.28, 0.28, len(ratios[size]))
        left.plot(spread, ratios[size], "o", color=ORANGE, markersize=2.6, alpha=0.35, markeredgewidth=0)
        median = float(np.median(ratios[size]))
        left.plot([place - 0.36, place + 0.36], [median, median], color=BLACK, linewidth=2)
    left.axhline(1, color=BLUE, linewidth=2)
    left.set_xticks(range(len(sizes)), [f"{size} x {size}" for size in sizes])
    left.set_ylim(0, 1.08)
    left.set_xlabel("array")
    left.set_ylabel("cycles over SCALE-Sim's")
    left.set_title("SCALE-Sim 3.0.0")
    line = style.load_matplotlib().lines.Line2D
    left.legend(
        handles=[
            line([], [], color=BLUE, linewidth=2, label="serial folds: equal on every row"),
            line([], [], color=ORANGE, marker="o", linestyle="none", markersize=4, label="the author's formula"),
            line([], [], color=BLACK, linewidth=2, label="its median"),
        ],
        **BELOW,
        ncols=1,
    )
    for label, colour in (("U-Boost NAS's smooth model", ORANGE), ("hwcost", BLUE)):
        for _, simulated, models in uboost_layers(folder):
            y = np.asarray(models[label], dtype=float) / simulated
            right.plot(simulated, y, "o", color=colour, markersize=2.4, alpha=0.3, markeredgewidth=0)
        right.plot([], [], "o", color=colour, markersize=4, label=label)
    right.set(xscale="log", yscale="log")
    style.plain_ticks(right.xaxis, right.yaxis)
    right.set_xlabel("cycles of the simulator")
    right.set_ylabel("cycles over the simulator's")
    right.set_title(f"U-Boost NAS's cycle simulator, {UBOOST_ARRAY.rows} x {UBOOST_ARRAY.cols}")
    right.legend(**BELOW, ncols=1)
    figure.suptitle("Two simulators, nothing fitted", fontsize=13)
    return figure


def scalesim_ratios(folder: Path) -> dict[int, list[float]]:
    ratios: dict[int, list[float]] = {}
    names = ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride_h", "stride_w")
    for row in rows_of(folder, "scalesim"):
        if row["array_h"] == row["array_w"]:
            size = int(row["array_h"])
            (gemm,) = TopologyLayer("one", *(int(row[name]) for name in names)).gemms()
            ideal = layer_cycles(gemm, SystolicArray(size, size, dataflow=row["dataflow"]))
            ratios.setdefault(size, []).append(ideal / float(row["total_cycles"]))
    return ratios


# ---------------------------------------------------------------- what the formula leaves out


def left_out(folder: Path) -> Any:
    """The share of the cycles that ideal folds count, over what streams through a fold, for several arrays."""
    del folder  # nothing was measured here
    streamed = np.unique(np.round(np.logspace(0, 5, 201)).astype(int))
    sizes = (8, 16, 32, 64, 128, 256)
    colours = style.load_matplotlib().colormaps["viridis"](np.linspace(0.0, 0.88, len(sizes)))
    figure = canvas(9.6, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, timing in zip(panels, ("serial", "double-buffered"), strict=True):
        for size, colour in zip(sizes, colours, strict=True):
            gemm = Gemm(m=streamed, n=4 * size, k=4 * size)
            ideal, other = (layer_cycles(gemm, SystolicArray(size, size, fold_timing=t)) for t in ("ideal", timing))
            axes.plot(streamed, 100 * ideal / other, color=colour, linewidth=1.9, label=f"{size} x {size}")
        axes.set_xscale("log")
        axes.set_xlim(1, 1e5)
        style.plain_ticks(axes.xaxis)
        axes.set_ylim(0, 104)
        axes.set_xlabel("T: rows that stream through a fold")
        axes.set_title(f"{timing} folds")
    panels[0].set_ylabel("ideal cycles, % of the cycles")
    figure.suptitle("Share of the cycles that the author's formula counts", fontsize=13)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


# ---------------------------------------------------------------- files


def intervals(folder: Path) -> Any:
    """For each source the ratios of held-out predictions, in order, over the interval that holds nine of ten."""
    rows = json.loads((PROJECT / "benchmarks" / "results" / "calibrate_default.json").read_text())["rows"]
    figure = canvas(9.6, 7.4)
    grid = figure.subplots(3, 3, sharey=True, squeeze=False)
    for axes, (name, row) in zip(grid.flat, rows.items(), strict=True):
        ratios, half = np.array(row["predicted_over_measured"]), np.exp(row["log_margin_90"])
        place, outside = np.arange(len(ratios)), (ratios > half) | (ratios < 1 / half)
        axes.axhspan(1 / half, half, color=BLUE, alpha=0.15, linewidth=0)
        axes.axhline(1, color=GREY, linewidth=0.8)
        for which, colour in ((~outside, BLUE), (outside, ORANGE)):
            axes.plot(place[which], ratios[which], ".", color=colour, markersize=4)
        axes.set(yscale="log", ylim=(0.25, 4), title=f"{name}: {100 * (1 - outside.mean()):.0f} %")
        axes.set_yticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
        axes.minorticks_off()
        axes.tick_params(bottom=False, labelbottom=False)
    for axes in grid[:, 0]:
        axes.set_ylabel("predicted / measured")
    grid[-1, 1].set_xlabel("measurements that were held out, in order; share within the interval")
    return figure


PICTURES: Mapping[str, tuple[tuple[str, ...], Callable[[Path], Any]]] = {
    "true-edge-stairs.png": (("edge",), edge_stairs),
    "true-held-out.png": (("gemmini", "edge", "rtl"), held_out),
    "true-simulators.png": (("scalesim", "uboost"), simulators),
    "true-left-out.png": ((), left_out),
    "true-intervals.png": ((), intervals),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "images", help="(default: %(default)s)")
    args = parser.parse_args()
    for name, (needed, draw) in PICTURES.items():
        if absent := [why for data in needed if (why := missing(args.data, data))]:
            print(f"left out: {name}: {absent[0]}")
            continue
        with style.load_matplotlib().rc_context(style.STYLE):
            figure = draw(args.data)
        say_logarithmic(figure.axes)
        style.save(figure, args.to / name)
        print(f"drawn: {name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
