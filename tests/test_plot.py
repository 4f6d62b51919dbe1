"""Plots: the data drawn against the model, the files, and ``hwcost plot``."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import drawn
import machines
import numpy as np
import pytest
from drawn import comparison as compared
from nets import LENET, ODD, TREE, residual
from refusals import refused

from hwcost import (
    RELAXATIONS,
    Conv2d,
    InvalidValueError,
    Linear,
    MissingDependencyError,
    MixedLibrariesError,
    Network,
    Relaxation,
    SystolicArray,
    layer_cost,
    network_cost,
    plot,
)
from hwcost.machine.energies import with_energy
from hwcost.model.breakdown import KINDS, layer_breakdown
from hwcost.network.buffers import buffer_curve
from hwcost.network.operations import MemoryOnly
from hwcost.plot import (
    ENDINGS,
    PICTURES,
    calibration_figure,
    ceiling_data,
    ceiling_figure,
    check_path,
    comparison_figure,
    load_matplotlib,
    network_data,
    network_figure,
    pruning_data,
    pruning_figure,
    save,
    stairs_data,
    stairs_figure,
    svg,
    sweep_figure,
)
from hwcost.relaxation import SmoothCeiling
from hwcost.reports import Comparison, summarise
from hwcost.units import percent, shorten_name

pytest.importorskip("matplotlib")

LAYER = Conv2d(6, 16, 5, 14, 14)
ARRAY = SystolicArray(8, 8)
ONES = [[1.0, 1.0]]
ALONE = compared(["d"], ["b"], ONES, ONES)
START = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def hwcost(hwcost, tmp_path, monkeypatch):
    """The command line, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return hwcost


# ---------------------------------------------------------------- data


@pytest.mark.parametrize("name", RELAXATIONS)
def test_ceiling_data_are_value_and_slope(name):
    data = ceiling_data([name], maximum=3)
    x = np.asarray(data["x"])
    (curve,) = data["curves"]
    assert (x[0], x[-1]) == (0, 3)
    assert curve["relaxation"] == name
    assert data["exact"] == np.ceil(x).tolist()
    assert curve["value"] == RELAXATIONS[name].value(x).tolist()
    assert curve["slope"] == RELAXATIONS[name].slope(x).tolist()


@pytest.mark.parametrize("along", ["in_channels", "out_channels"])
@pytest.mark.parametrize("timing", ["ideal", "serial"])
def test_stairs_data_are_the_model_at_every_width(along, timing):
    array = SystolicArray(8, 4, fold_timing=timing)
    data = stairs_data(LAYER, array, along, range(1, 20), ["logistic", "straight-through"])
    for width, cycles, utilization in zip(data["widths"], *data["exact"].values(), strict=True):
        cost = layer_cost(_with(along, width), array)
        assert (cycles, utilization) == (cost.cycles, pytest.approx(cost.utilization))
    assert [curve["relaxation"] for curve in data["curves"]] == ["logistic", "straight-through", "linear"]
    for curve in data["curves"]:
        for i in (0, 77, 400, 800):
            width = np.asarray([data["soft_widths"][i]])
            cost = layer_cost(_with(along, width), array, relaxation=curve["relaxation"])
            assert curve["cycles"][i] == pytest.approx(float(cost.cycles[0]))
            assert curve["utilization"][i] == pytest.approx(float(cost.utilization[0]))


def _with(along, width):
    channels = {"in_channels": 6, "out_channels": 16} | {along: width}
    return Conv2d(**channels, kernel_size=5, height=14, width=14)


def test_flops_like_sees_no_stairs_and_full_utilization():
    linear = stairs_data(LAYER, ARRAY, "out_channels", range(1, 65))["curves"][-1]
    assert linear["utilization"] == pytest.approx([1.0] * len(linear["utilization"]))
    assert np.ptp(np.diff(linear["cycles"])) == pytest.approx(0, abs=1e-6)


def test_sharpness_names_an_option_of_the_relaxation():
    for row in RELAXATIONS.values():
        name = row.sharpness
        assert name is None or row.with_options(**{name: 50.0}).options[name] == 50.0
    assert {name for name, row in RELAXATIONS.items() if row.sharpness is None} == {
        "exact",
        "straight-through",
        "linear",
    }


# ---------------------------------------------------------------- prunings


def pruned_report(layers, widths):
    """A report as plain data, with layers that take half the cycles after."""
    cost = {"cycles": 100.0, "utilization": 0.25, "seconds": 1e-6}
    small = {"cycles": 50.0, "utilization": 0.5, "seconds": 5e-7}
    return {
        "network": "net", "array": "8 x 8", "before": cost, "after": small,
        "widths": {f"block.{i}.conv": {"before": 64, "after": 16 + i % 48} for i in range(widths)},
        "layers": [{"name": f"block.{i}.conv", "before": cost, "after": small} for i in range(layers)],
    }  # fmt: skip


@pytest.mark.parametrize(("layers", "widths"), [(1, 1), (5, 3), (60, 35), (200, 90)])
def test_a_pruning_is_drawn_width_by_width_and_layer_by_layer(layers, widths):
    report = pruned_report(layers, widths)
    data = pruning_data(report)
    assert data["title"] == "net: 100 to 50 cycles (50.00 %) on 8 x 8"
    assert data["layers"][0]["cycles"] == (100.0, 50.0)
    figure = pruning_figure(report)
    stays, cycles, used = figure.axes
    heights = [patch.get_height() for patch in stays.patches]
    assert heights == [100.0] * widths + [100 * (16 + i % 48) / 64 for i in range(widths)]
    assert [patch.get_height() for patch in cycles.patches] == [100.0] * layers + [50.0] * layers
    points = [line.get_ydata().tolist() for line in used.lines if len(line.get_xdata()) == layers]
    assert points[:2] == [[25.0] * layers, [50.0] * layers]
    numbered = [text.get_text() for text in stays.texts]
    assert numbered == ([f"{16 + i % 48} of 64" for i in range(widths)] if widths <= 40 else [])
    assert svg(figure).startswith(START["svg"].decode())


def test_a_report_without_changes_is_refused():
    for report in (pruned_report(3, 0), {}, None):
        with pytest.raises(InvalidValueError, match="report is"):
            pruning_figure(report)


# ---------------------------------------------------------------- figures


def test_ceiling_figure_has_a_column_for_each_kind_and_its_curves_in_both_rows():
    rows = [RELAXATIONS["logistic"].with_options(temperature=t) for t in (5.0, 20.0)] + ["linear", "shifted"]
    figure = ceiling_figure(rows, maximum=4)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["logistic", "linear", "shifted"]
    above, below = figure.axes[0], figure.axes[3]
    assert [line.get_label() for line in above.get_lines()] == ["exact (slope 0)", "temperature 5", "temperature 20"]
    values = RELAXATIONS["logistic"].with_options(temperature=5.0).value(np.asarray(above.get_lines()[1].get_xdata()))
    assert np.array_equal(above.get_lines()[1].get_ydata(), values)
    assert len(below.get_lines()) == 2
    assert len(figure.axes[1].get_lines()) == 2
    assert below.get_yscale() == "log"


def test_a_line_that_memory_bends_is_not_called_flops_like():
    layer = Conv2d(16, 32, 3, height=8, width=8)
    for array in (ARRAY, "gemmini"):
        data = stairs_data(layer, array, "out_channels", range(1, 65))
        figure = stairs_figure(layer, array, "out_channels", range(1, 65))
        line = figure.axes[0].get_lines()[-1]
        slopes = np.diff(data["curves"][-1]["cycles"])
        assert line.get_label() == ("FLOPs-like (linear)" if np.ptp(slopes) < 1e-6 else "without steps (linear)")
        assert (array == "gemmini") == line.get_label().startswith("without")


def test_stairs_figure_draws_exact_smooth_and_flops_like_in_both_panels():
    figure = stairs_figure(LAYER, ARRAY, "out_channels", range(1, 65), ["logistic", "shifted"])
    above, below = figure.axes
    labels = ["exact", "logistic, temperature 20", "shifted, temperature 20", "FLOPs-like (linear)"]
    for axes in (above, below):
        assert [line.get_label() for line in axes.get_lines()] == labels
    stair = above.get_lines()[0]
    assert stair.get_drawstyle() == "steps-pre"
    assert list(stair.get_ydata()) == [layer_cost(_with("out_channels", f), ARRAY).cycles for f in range(1, 65)]
    assert max(below.get_lines()[0].get_ydata()) == pytest.approx(100 * 3800 * 0.9868421 / 3800)
    assert list(below.get_xticks()) == [1, 8, 16, 24, 32, 40, 48, 56, 64]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels


def test_widths_with_gaps_are_points_since_the_stair_between_is_unknown():
    stair = stairs_figure(LAYER, ARRAY, "out_channels", range(4, 65, 4)).axes[0].get_lines()[0]
    assert (stair.get_linestyle(), stair.get_marker()) == ("None", "o")


def test_any_layer_with_widths_can_be_drawn():
    figure = stairs_figure(Linear(400, 120), ARRAY, "in_features", range(1, 30))
    assert figure.axes[1].get_xlabel() == "number of in features"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: ceiling_figure([]), "relaxations"),
        (lambda: ceiling_figure(["smooth"]), "relaxation"),
        (lambda: ceiling_figure(maximum=0), "maximum"),
        (lambda: ceiling_figure(maximum=float("nan")), "maximum"),
        (lambda: stairs_figure(LAYER, ARRAY, "batch", range(1, 9)), "along"),
        (lambda: stairs_figure(LAYER, ARRAY, "out_channels", [8]), "the number of widths"),
        (lambda: stairs_figure(LAYER, ARRAY, "out_channels", range(1, 200_000)), "the number of widths"),
        (lambda: stairs_figure(LAYER, ARRAY, "out_channels", [0, 1, 2]), "Conv2d.out_channels"),
        (lambda: network_figure(summarise(LENET, ARRAY), pictures=["pie"]), "pictures"),
        (lambda: network_figure(summarise(LENET, ARRAY), pictures=[]), "pictures"),
        (lambda: network_figure(summarise(LENET, ARRAY), pictures="roofs"), "pictures"),
        (lambda: comparison_figure(Comparison((*compared(["a"], ["b", "c"], ONES, ONES), *ALONE))), "comparison"),
        (lambda: check_path("stairs.jpg"), "path"),
        (lambda: check_path("stairs"), "path"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, field):
    with pytest.raises(InvalidValueError) as caught:
        call()
    assert caught.value.field == field


NETWORK = Network.of_layers("net", {"a": Linear(64, 32), "b": Linear(32, 8)}, is_chain=True)
RESULTS = {
    "a report": lambda: summarise(NETWORK, ARRAY),
    "a comparison": lambda: compared(["a"], ["b"], [[1.0]], [[1.0]]),
    "a sweep": lambda: drawn.sweep([8, 16], [8, 8], [2.0, 1.0]),
    "a sweep of a field": lambda: drawn.over("buffer_bytes", [1024.0, 2048.0], [0, 1], [2.0, 1.0]),
    "a calibration": lambda: drawn.calibration([1e-3] * 9, [1e-3] * 9, 0.1),
    "points": lambda: buffer_curve(LENET, ARRAY, [2048, 4096]),
    "costs": lambda: network_cost(LENET, ARRAY),
    "a network": lambda: NETWORK,
    "layers": lambda: LENET,
    "a layer": lambda: LAYER,
    "an array": lambda: ARRAY,
    "a name": lambda: "gemmini",
    "a relaxation": lambda: "logistic",
    "a module": lambda: pytest.importorskip("torch").nn.Linear(8, 8),
    "a class": lambda: Comparison,
    "a column": lambda: np.ones(3),
    "numbers": lambda: [1.0, 2.0],
    "an empty list": list,
    "a number": lambda: 3,
    "nothing": lambda: None,
}
TAKEN = {
    "buffers": ({"points"}, (), "hwcost.network.buffer_curve"),
    "calibration": ({"a calibration"}, (), "hwcost.calibration.fit"),
    "ceiling": ({"a relaxation"}, (), "elaxation"),
    "comparison": ({"a comparison"}, (), "hwcost.compare"),
    "fields": ({"a sweep of a field"}, (), "sweep"),
    "memory": ({"a network"}, (ARRAY,), "from_torch|is a class"),
    "network": ({"a report"}, (), "hwcost.report"),
    "pruning": (set(), (), "hwcost.torch.prune"),
    "stairs": ({"a layer"}, (ARRAY, "out_channels", [8, 16]), "hwcost.Conv2d"),
    "sweep": ({"a sweep", "a sweep of a field"}, (), "hwcost.sweep.sweep"),
    "timeline": ({"a report"}, (), "hwcost.report"),
}
"""For each picture the results that it takes, what else, and what the error about others names."""


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("name", [each for each in plot.__all__ if each.endswith(("_figure", "_data"))])
def test_a_picture_takes_a_result_or_says_what_makes_it(name, result):
    taken, more, makes = TAKEN[name.rpartition("_")[0]]
    draw, given = getattr(plot, name), RESULTS[result]()
    if result in taken:
        assert draw(given, *more)
    else:
        with pytest.raises(InvalidValueError, match=makes):
            draw(given, *more)


def _complex(x):
    raise MixedLibrariesError("complex")


@pytest.mark.parametrize("value", [lambda x: x * np.nan, _complex])
def test_what_a_relaxation_cannot_say_is_not_drawn(value):
    odd = Relaxation("odd", "no numbers", lambda: SmoothCeiling(value, lambda x: 0 * x))
    with pytest.raises(InvalidValueError, match=r"relaxations cannot be used.*finite"):
        stairs_data(LAYER, ARRAY, "out_channels", [8, 16], [odd])


def test_figures_leave_no_trace_in_matplotlib():
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams.copy()\n"
        "from hwcost.plot import ceiling_figure; ceiling_figure()\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- networks


over_arrays = pytest.mark.parametrize("array", machines.ALL.values(), ids=list(machines.ALL))


@over_arrays
def test_network_data_are_the_model_for_every_layer(array):
    data, total = network_data(summarise(TREE, array)), network_cost(TREE, array).total
    priced = {name: layer for name, layer in TREE.items() if not isinstance(layer, MemoryOnly)}
    of_layers = [figures for figures in data["layers"] if figures["name"] in priced]
    for figures, (name, layer) in zip(of_layers, priced.items(), strict=True):
        cost = layer_cost(layer, array)
        assert (figures["name"], figures["seconds"], figures["bound"]) == (name, cost.seconds, cost.bound)
        assert (figures["utilization"], figures["macs"]) == (cost.utilization, cost.macs)
        assert figures["shares"] == layer_breakdown(layer, array).shares
    assert sum(figures["share"] for figures in data["layers"]) == pytest.approx(1)
    assert sum(data["total"].values()) == pytest.approx(1)
    assert data["utilization"] == total.utilization
    json.dumps(data, allow_nan=False)


@over_arrays
def test_no_layer_is_above_the_roof_or_the_fastest_memory(array):
    data = network_data(summarise(residual((1, 1, 1, 1)), array))
    assert data["roof"] == array.pes * array.clock_hz
    assert bool(data["slopes"]) == any(rate < np.inf for rate in array.rates)
    for layer in data["layers"]:
        attained = layer["macs"] / layer["seconds"]
        assert attained <= data["roof"] * (1 + 1e-9)
        for slope in data["slopes"][:1]:
            assert attained <= slope["bytes_per_s"] * layer["macs"] / layer["bytes"] * (1 + 1e-9)


def test_slopes_are_bandwidths_with_what_they_limit():
    array = SystolicArray(8, 8, dram_bytes_per_s=4e9, output_bytes_per_s=2e9)
    data = network_data(summarise(LENET, array))
    assert data["slopes"] == [
        {"bytes_per_s": 4e9, "operands": ["weights", "inputs"]},
        {"bytes_per_s": 2e9, "operands": ["outputs"]},
    ]
    assert data["operands"] == ["weights", "inputs", "outputs"]
    one = network_data(summarise(LENET, SystolicArray(8, 8, weight_bytes_per_s=1e9, bytes_per_element=2.0)))
    assert one["operands"] == ["weights"]
    assert one["layers"][0]["bytes"] == 2 * 150


def test_network_figure_has_a_bar_for_every_layer_and_a_point_for_every_place():
    data = network_data(summarise(LENET, ARRAY))
    time, used, waste, moved, roofline = network_figure(summarise(LENET, ARRAY), "LeNet-5").axes
    assert sum(bar.get_height() for bar in moved.patches) == pytest.approx(
        summarise(LENET, ARRAY).cost.dram_bytes / 1e3
    )
    assert [bar.get_height() for bar in used.patches] == pytest.approx(
        [100 * each["utilization"] for each in data["layers"]]
    )
    assert sum(bar.get_height() for bar in time.patches) == pytest.approx(
        1e6 * sum(each["seconds"] for each in data["layers"])
    )
    heights = np.zeros(6)
    for container in waste.containers:
        heights += [bar.get_height() for bar in container]
    assert heights == pytest.approx([100] * 6)
    assert [text.get_text() for text in moved.get_xticklabels()] == [*LENET, "all layers"]
    points = np.concatenate([each.get_offsets() for each in roofline.collections])
    assert points[:, 1].max() <= data["roof"] / 1e9
    assert len(points) == 5
    legend = [text.get_text() for text in roofline.get_legend().get_texts()]
    assert legend[0] == "all PEs busy: 64 GMAC/s"
    shares = sorted(data["layers"], key=lambda each: -each["share"])
    assert legend[-5:] == [f"{each['name']}: {percent(each['share'])} %" for each in shares]


def test_a_machine_with_figures_of_energy_has_bars_of_it():
    array = with_energy(SystolicArray(16, 16, buffer_bytes=16384.0), "45nm-textbook")
    summary = summarise(LENET, array)
    moved, energy = network_figure(summary, pictures=["memory"]).axes
    assert (moved.get_ylabel(), energy.get_ylabel()) == ("DRAM [kB]", "energy [uJ]")
    height = sum(bar.get_height() for bar in energy.patches)
    assert height == pytest.approx(1e6 * summary.cost.energy_joules)


def test_layers_at_one_place_are_one_point():
    layers = {f"layer{i}": Linear(64, 64) for i in range(40)}
    roofline = network_figure(summarise(layers, ARRAY), pictures="roofline").axes[0]
    assert sum(len(each.get_offsets()) for each in roofline.collections) == 1
    assert "layer0: 2.5 %\n39 like it: 97.5 %" in [text.get_text() for text in roofline.get_legend().get_texts()]


def test_no_two_names_below_bars_are_closer_than_can_be_read():
    summary = summarise(residual((3, 8, 36, 3)), ARRAY)
    figure = network_figure(summary, pictures=["time"])
    below = figure.axes[-1]
    ticks = below.get_xticks()
    assert len(below.patches) == 156
    assert 40 <= len(ticks) <= 65
    assert np.diff(ticks).min() >= 156 / 64
    assert (
        network_data(summarise(residual((3, 8, 36, 3)), ARRAY))["layers"][0]["name"]
        == below.get_xticklabels()[0].get_text()
    )


def check_drawing(array, pictures):
    odd = {name: layer for name, layer in ODD.items() if hasattr(layer, "gemms")}
    text = svg(network_figure(summarise(odd, array), "odd $x$ <b>", pictures=pictures))
    assert text.startswith("<?xml")
    assert "<script" not in text


@over_arrays
def test_any_network_can_be_drawn_on_any_array(array):
    check_drawing(array, PICTURES)


@pytest.mark.parametrize("name", ["ws-ideal", "channels", "runs"])
@pytest.mark.parametrize("picture", PICTURES)
def test_each_picture_can_be_drawn_alone(name, picture):
    check_drawing(machines.ALL[name], [picture])


def test_the_same_network_makes_the_same_svg():
    one, two = (svg(network_figure(summarise(TREE, ARRAY))) for _ in range(2))
    assert one == two


def test_coordinates_that_differ_in_the_last_bits_make_the_same_svg():
    def drawn(left):
        figure = load_matplotlib().figure.Figure()
        figure.add_axes((left, 0.1, 0.7, 0.7)).plot([0, 1], [0, 1], "o")
        return svg(figure)

    assert drawn(0.1) == drawn(math.nextafter(0.1, 1))
    assert drawn(0.1) != drawn(0.2)


def test_the_names_in_an_svg_are_its_own():
    texts = [svg(network_figure(summarise(TREE, array))) for array in (ARRAY, SystolicArray(3, 5))]
    ids = [set(re.findall(r'id="(n[^"]+)"', text)) for text in texts]
    assert all(ids)
    assert not ids[0] & ids[1]
    for text in texts:
        assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_an_array_that_leaves_out_its_only_fold_can_be_drawn_too():
    array = SystolicArray(8, 8, counts_last_fold=False)
    assert svg(network_figure(summarise({"fc": Linear(3, 3)}, array))).startswith("<?xml")


def test_what_cannot_be_priced_is_left_out_of_a_picture_where_that_is_asked_for():
    assert len(network_data(summarise(ODD, ARRAY, skip_unsupported=True))["layers"]) == 3


@pytest.mark.parametrize("device", ["gemmini", "tpu-v1", "nvdla-small", "edge-tpu"])
def test_the_parts_of_every_bar_of_waste_add_up(device):
    summary = summarise(LENET, device)
    waste = network_figure(summary, pictures="waste").axes[0]
    heights = np.sum([[bar.get_height() for bar in container] for container in waste.containers], axis=0)
    assert heights == pytest.approx(100.0)
    kinds = [kind for kind in KINDS if any(row.breakdown.shares[kind] > 0 for row in summary.rows)]
    assert len(waste.containers) == len(kinds)


def test_kinds_of_waste_have_a_colour():
    from hwcost.plot.bars import _WASTE

    assert tuple(_WASTE) == tuple(KINDS)


def test_comparison_figure_groups_what_there_is_more_of():
    seconds, used = [[1e-3, 2e-3, 4e-3], [1e-2, 2e-2, 9e-2]], [[0.5, 0.2, 0.1], [0.9, 0.8, 0.7]]
    above, below = comparison_figure(compared(["small", "large"], ["a", "b", "c"], seconds, used)).axes
    assert [text.get_text() for text in below.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["small", "large"]
    assert above.get_yscale() == "log"
    assert not above.containers
    assert above.get_lines()[1].get_ydata() == pytest.approx([10, 20, 90])
    assert [text.get_text() for text in above.texts] == ["1 ms", "2 ms", "4 ms", "10 ms", "20 ms", "90 ms"]
    assert [bar.get_height() for bar in below.containers[0]] == pytest.approx([50, 20, 10])
    assert comparison_figure(compared(["one"], ["a"], [[0.5]], [[1.0]])).axes[0].get_legend() is None
    names = [f"n{i}" for i in range(9)], [f"a{i}" for i in range(9)]
    many = comparison_figure(compared(*names, np.ones((9, 9)), np.ones((9, 9))))
    assert len({(bars[0].get_facecolor(), bars[0].get_hatch()) for bars in many.axes[0].containers}) == 9


def test_a_comparison_has_energies_where_they_are_known():
    figures = ["net"], ["a", "b", "c"], [[1e-3, 2e-3, np.nan]], [[0.5, 0.2, np.nan]]
    above, energy, _ = comparison_figure(compared(*figures, joules=[[5e-3, np.nan, np.nan]])).axes
    assert (above.get_ylabel(), energy.get_ylabel()) == ("time [ms]", "energy [mJ]")
    assert [bar.get_height() for bar in energy.containers[0]] == [5]
    assert [text.get_text().strip() for text in energy.texts] == [
        "5",
        "no figures of energy",
        "not shown",
    ]
    assert "beyond what was measured" in [text.get_text().strip() for text in above.texts]
    assert len(comparison_figure(compared(*figures)).axes) == 2


@pytest.mark.parametrize("spread", [2.0, 100.0])
@pytest.mark.parametrize("joules", [None, [[5e-3, np.nan, np.nan]]])
def test_what_is_beyond_the_measurements_is_said_inside_of_the_panels(spread, joules):
    seconds, used = [[1e-3, spread * 1e-3, np.nan]], [[0.5, 0.2, np.nan]]
    pairs = compared(["net"], ["a", "b", "c"], seconds, used, joules, [[True, True, True]])
    figure = comparison_figure(pairs)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for text in axes.texts:
            assert text.get_window_extent().y1 <= axes.bbox.y1 + 1, text.get_text()
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["beyond what was measured"]
    dots = legend.findobj(lambda each: hasattr(each, "get_marker") and each.get_marker() == "o")
    assert bool(dots) is (spread > 30)


def test_small_utilizations_fill_the_picture():
    for used in (1e-6, 0.003, 0.2, 0.6, 1.0, 1.2):
        below = comparison_figure(compared(["a"], ["b"], [[1.0]], [[used]])).axes[1]
        assert 0.4 <= 100 * used / below.get_ylim()[1] <= 0.99


SPANS = (1.001, 1.2, 3.0, 20.0, 300.0, 1e6)


def spread(span):
    """Latencies from 0.3 ms, and predictions of them."""
    latencies = 3e-4 * span ** np.linspace(0, 1, 16)
    return latencies, latencies * np.resize([0.9, 1.1], 16)


def swept(span):
    rows, cols = (each.ravel() for each in np.meshgrid([8, 16, 24, 64], [8, 12, 40, 90]))
    return drawn.sweep(rows, cols, span ** np.linspace(1, 0, 16))


LOGARITHMIC = {
    "calibration": lambda span: calibration_figure(drawn.calibration(*spread(span)), "mine"),
    "sweep": lambda span: sweep_figure(swept(span)),
    "comparison": lambda span: comparison_figure(compared(["a", "b"], ["c"], [[1e-3], [1e-3 * span]], [[0.5], [0.1]])),
}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("name", LOGARITHMIC)
def test_figures_at_the_ticks_do_not_overlap(name, span):
    figure = LOGARITHMIC[name](span)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = [text for text in axis.get_ticklabels(which="both") if text.get_visible() and text.get_text()]
            boxes = [text.get_window_extent() for text in shown]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), [axis, *shown]
            assert shown or axis.get_scale() != "log"
            assert not any("\\" in text.get_text() for text in shown)


@pytest.mark.parametrize("span", SPANS)
def test_no_legend_covers_a_curve_of_a_sweep(span):
    figure = LOGARITHMIC["sweep"](span)
    figure.draw_without_rendering()
    legends = [legend for part in (figure, *figure.subfigs) for legend in part.legends]
    assert len(legends) == 1
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert not axes.get_window_extent().overlaps(legends[0].get_window_extent())


@pytest.mark.parametrize("script", ["draw_reports.py", "draw_how_true.py"])
def test_the_pictures_of_the_pages_are_drawn(script, tmp_path):
    """Those that need measurements are left out without them."""
    tool = Path(__file__).parent.parent / "tools" / script
    more = ["--data", tmp_path / "none"] if script == "draw_how_true.py" else []
    subprocess.run([sys.executable, tool, "--to", tmp_path, *more], capture_output=True, check=True, timeout=600)
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("name", ["layer", "a" * 200, "encoder.layers.11.feed_forward.dense_out", "a\nb"])
def test_shortened_names_fit(name):
    assert len(shorten_name(name)) <= 30
    assert shorten_name(name).isprintable()
    assert shorten_name(name)[-5:] == name[-5:].replace("\n", " ")


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ENDINGS)
def test_saving_makes_the_same_file_each_time_and_no_other(tmp_path, ending):
    for name in ("one", "two"):
        save(ceiling_figure(["logistic"], 2), tmp_path / f"{name}.{ending}")
    one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
    assert one.startswith(START[ending])
    assert one == two
    assert sorted(os.listdir(tmp_path)) == [f"one.{ending}", f"two.{ending}"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("folder.png", "nowhere/a.png"):
        with pytest.raises(InvalidValueError, match="path"):
            save(ceiling_figure(["logistic"], 1), tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_link_is_replaced(tmp_path):
    (tmp_path / "real.svg").write_text("theirs")
    (tmp_path / "link.svg").symlink_to(tmp_path / "real.svg")
    save(ceiling_figure(["logistic"], 1), tmp_path / "link.svg")
    assert not (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "link.svg").read_bytes().startswith(START["svg"])
    assert (tmp_path / "real.svg").read_text() == "theirs"


@pytest.mark.parametrize(
    "call",
    [
        ceiling_figure,
        lambda: stairs_figure(LAYER, ARRAY, "out_channels", [1, 2]),
        lambda: network_figure(summarise(LENET, ARRAY)),
        lambda: comparison_figure(compared(["a"], ["b"], [[1.0]], [[1.0]])),
    ],
)
def test_without_matplotlib_the_error_states_what_to_install(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hwcost\[plot\]"'):
        call()


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("plot", ["ceiling", "stairs"])
def test_plots_go_to_a_file_of_their_name(hwcost, tmp_path, plot):
    assert hwcost("plot", plot) == (0, f"{plot}.png\n", "")
    assert (tmp_path / f"{plot}.png").read_bytes().startswith(START["png"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_ending_chooses_the_format(hwcost, tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    assert hwcost("plot", "stairs", "--f", "1:9", "-o", path) == (0, f"{path}\n", "")
    assert path.read_bytes().startswith(START[ending])


def test_json_of_the_ceiling_is_the_data_drawn(hwcost, tmp_path):
    args = ("--temperature", "10,40", "--relaxation", "logistic,linear,generalized", "--max", "2", "-o", "a.svg")
    code, out, err = hwcost("plot", "ceiling", *args, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["schema"], document["plot"], document["file"]) == ("hwcost.plot/1", "ceiling", "a.svg")
    assert (tmp_path / "a.svg").exists()
    rows = [RELAXATIONS["logistic"].with_options(temperature=t) for t in (10.0, 40.0)]
    rows += ["linear"] + [RELAXATIONS["generalized"].with_options(b=t) for t in (10.0, 40.0)]
    assert document["data"] == ceiling_data(rows, 2.0)


@pytest.mark.parametrize(
    ("args", "along", "layer", "widths"),
    [
        ((), "out_channels", Conv2d(6, 1, 5, 1, 1, padding="same"), range(1, 65)),
        (("--c", "1:9"), "in_channels", Conv2d(1, 16, 5, 1, 1, padding="same"), range(1, 10)),
        (("--f", "4,8", "--k1", 3, "--k2", 2), "out_channels", Conv2d(6, 1, (3, 2), 1, 1, padding="same"), [4, 8]),
        (
            ("--f", "2:8:2", "--groups", 2, "--h", 9),
            "out_channels",
            Conv2d(6, 2, 5, 9, 1, padding="same", groups=2),
            [2, 4, 6, 8],
        ),
    ],
)
def test_json_of_the_stairs_is_the_data_drawn(hwcost, args, along, layer, widths):
    code, out, err = hwcost("plot", "stairs", *args, "--json", "--temperature", "30")
    assert (code, err) == (0, "")
    row = RELAXATIONS["logistic"].with_options(temperature=30.0)
    assert json.loads(out)["data"] == stairs_data(layer, ARRAY, along, widths, [row])


BAD = [
    (["ceiling", "-o", "a.jpg"], "--output"),
    (["ceiling", "-o", "png"], "--output"),
    (["ceiling", "-o", ""], "--output"),
    (["ceiling", "-o", "missing/a.png"], "--output"),
    (["ceiling", "-o", "folder.png"], "--output"),
    (["ceiling", "--relaxation", "smooth"], "--relaxation"),
    (["ceiling", "--relaxation", "logistic,,"], "--relaxation"),
    (["ceiling", "--temperature", "0"], "--temperature"),
    (["ceiling", "--temperature", "10,nan"], "--temperature"),
    (["ceiling", "--temperature", "10,"], "--temperature"),
    (["ceiling", "--temperature", "5", "--relaxation", "logistic,shifted"], "--temperature"),
    (["ceiling", "--temperature", "20", "--relaxation", "linear,exact"], "--temperature"),
    (["ceiling", "--max", "0"], "--max"),
    (["ceiling", "--max", "1e9"], "--max"),
    (["stairs", "-o", "a.txt"], "--output"),
    (["stairs", "--f", "16"], "--f"),
    (["stairs", "--f", "8:8"], "widths"),
    (["stairs", "--f", "1:8", "--c", "1:8"], "--f"),
    (["stairs", "--f", "1:8", "--s1", "4,8"], "--s1"),
    (["stairs", "--f", "1:200000"], "widths"),
    (["stairs", "--f", "8:1"], "--f"),
    (["stairs", "--f", "0:8"], "--f"),
    (["stairs", "--f", "1:8", "--groups", "2"], "--f"),
    (["stairs", "--padding", "valid"], "--k"),
    (["stairs", "--k", "3", "--k1", "3"], "--k"),
    (["stairs", "--dataflow", "rs"], "--dataflow"),
    (["stairs", "--temperature", "20", "--relaxation", "linear"], "--temperature"),
    (["stairs", "--f", "1:8", "--h", str(10**40)], "--h"),
    (["stairs", "--f", "1:8", "--h", str(2**62), "--w", "4"], "the cycles"),
]


@pytest.mark.parametrize(("args", "field"), BAD, ids=lambda value: " ".join(value) if type(value) is list else "")
def test_bad_input_is_one_line_exit_code_2_and_no_file(hwcost, tmp_path, args, field):
    (tmp_path / "folder.png").mkdir()
    code, out, err = hwcost("plot", *args)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert field in err
    assert os.listdir(tmp_path) == ["folder.png"]


def test_without_matplotlib_it_is_one_line(hwcost, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = hwcost("plot", "stairs")
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.endswith('needs matplotlib; install it with: pip install "hwcost[plot]"\n')


def test_a_figure_shows_in_a_notebook_without_pyplot():
    figure = calibration_figure(drawn.calibration([1e-3, 2e-3], [1.1e-3, 1.9e-3], error=0.0923), "mine")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "9.23 %" in figure.get_suptitle()


def test_one_width_given_several_times_is_one():
    with refused("the number of widths", 1):
        stairs_data(LAYER, ARRAY, "out_channels", [3, 3, 3])
