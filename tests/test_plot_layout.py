"""All figures, for several data each: what legends cover, what axes say, axes of one's own, and notebooks."""

from __future__ import annotations

import dataclasses
import itertools
import re

import drawn
import numpy as np
import pytest
from nets import LENET, residual
from refusals import refused

import hwcost
from hwcost import Conv2d, Linear, Network, SystolicArray
from hwcost.devices import read_device
from hwcost.machine.energies import with_energy
from hwcost.network.buffers import buffer_curve
from hwcost.plot import (
    buffers_figure,
    calibration_figure,
    ceiling_figure,
    comparison_figure,
    fields_figure,
    load_matplotlib,
    memory_data,
    memory_figure,
    network_data,
    network_figure,
    pruning_figure,
    stairs_figure,
    sweep_figure,
    timeline_data,
    timeline_figure,
)
from hwcost.reports import summarise

pytest.importorskip("matplotlib")

from matplotlib import cbook
from matplotlib.collections import PathCollection
from matplotlib.path import Path
from matplotlib.transforms import Bbox

ARRAY = SystolicArray(16, 16, buffer_bytes=16384.0, dram_bytes_per_s=4e9)
DECODER = {f"blocks.{i}.{name}": Linear(256, 256) for i in range(3) for name in "qkvo"} | {"emb": Linear(256, 8000)}
_SIZES = {"height": 16, "width": 16, "padding": "same"}
CHAIN = Network.of_layers(
    "chain",
    {"a": Conv2d(3, 32, 3, **_SIZES), "b": Conv2d(32, 48, 3, **_SIZES), "c": Conv2d(48, 8, 1, **_SIZES)},
    is_chain=True,
)

WIDE = Network.of_layers("a wide one", {f"fc{i}": Linear(3456, 3456, batch=345) for i in range(4)}, is_chain=True)
DEVICES = ["gemmini", "tpu-v1", "tpu-v5e", "nvdla-small", "eyeriss", "ethos-u55-256-network"]


def column(seed, ends=(-6.0, -2.0), count=60):
    return 10 ** np.random.default_rng(seed).uniform(*ends, count)


def comparison(networks, arrays, seed, named=None, **more):
    shape = (networks, arrays)
    seconds, used = (
        column(seed + i, ends, networks * arrays).reshape(shape) for i, ends in enumerate([(-4, -1), (-2, 0)])
    )
    names = [[f"{kind} {i}" for i in range(count)] for kind, count in (("network", networks), ("array", arrays))]
    names = names if named is None else [names[0], named]
    return lambda ax=None: comparison_figure(drawn.comparison(*names, seconds, used, **more), ax=ax)


def swept(flows, falls):
    rows, cols, of = (each.ravel() for each in np.meshgrid([8, 16, 24, 64], [8, 12, 40, 90], range(flows)))
    seconds = (0.9**of) / (rows * cols) ** (1.0 if falls else 0.1)
    found = drawn.sweep(rows, cols, seconds, of, ("ws", "os", "is")[:flows], pe_budget=999)
    return lambda ax=None: sweep_figure(found, ax=ax)


def fields(seed, count, *, falls):
    codes, flow = np.tile(np.arange(count), 3), np.repeat(np.arange(3), count)
    seconds = column(seed, (-3, -2), 3 * count) / (1 + codes) ** (2.0 if falls else 0.0)
    more = {"flow": flow, "dataflows": ("ws", "os", "is"), "dram_bytes": 1 / seconds}
    found = drawn.over("buffer_bytes", [1024.0 * 2**i for i in range(count)], codes, seconds, **more)
    return lambda ax=None: fields_figure(found, ax=ax)


def pruned(count):
    cost, small = ({"cycles": c, "utilization": c / 400, "seconds": c * 1e-9} for c in (100.0, 60.0))
    report = {
        "network": "net", "array": "8 x 8", "before": cost, "after": small,
        "widths": {f"block.{i}": {"before": 64, "after": 16 + i % 48} for i in range(count)},
        "layers": [{"name": f"block.{i}", "before": cost, "after": small} for i in range(count)],
    }  # fmt: skip
    return lambda ax=None: pruning_figure(report, ax=ax)


def calibrated(spread, count):
    measured = column(count, (-5, -3), count)
    predicted = measured * np.exp(np.random.default_rng(1).normal(0, spread, count))
    return lambda ax=None: calibration_figure(drawn.calibration(measured, predicted, 0.1), "mine", ax=ax)


SUMMARIES = {
    "chain": lambda: summarise(CHAIN, with_energy(ARRAY, "45nm-textbook"), keep_activations=True),
    "decoder": lambda: summarise(DECODER, SystolicArray(128, 128, dram_bytes_per_s=8e9)),
    "ResNet": lambda: summarise(residual(), SystolicArray(32, 32, dram_bytes_per_s=30e9)),
}
STAIRS = {
    "falling": (Conv2d(6, 16, 5, 14, 14), SystolicArray(8, 8), "out_channels", range(1, 65)),
    "gaps": (Linear(64, 64), SystolicArray(8, 8, fold_timing="serial"), "in_features", [8, 9, 30, 64]),
}
FIGURES = {
    "ceilings": lambda ax=None: ceiling_figure(ax=ax),
    "one ceiling": lambda ax=None: ceiling_figure(["linear"], 2, ax=ax),
    **{f"stairs: {name}": lambda ax=None, each=each: stairs_figure(*each, ax=ax) for name, each in STAIRS.items()},
    "calibration": calibrated(0.1, 20), "bad calibration": calibrated(0.8, 200), "few points": calibrated(0.02, 2),
    "two by five": comparison(2, 5, 0), "nine by nine": comparison(9, 9, 2), "one by one": comparison(1, 1, 4),
    "twenty by two": comparison(20, 2, 6),
    "names of many lengths": comparison(2, 6, 5, DEVICES, extrapolated=np.ones((2, 6), bool)),
    "names that touch": comparison(1, 4, 5, DEVICES[2:], extrapolated=np.ones((1, 4), bool)),
    "names with room": comparison(1, 2, 5, DEVICES[:2]),
    "with energy": comparison(2, 3, 8, joules=[[1e-3, 5e-3, np.nan], [1e-6, 1, 2]], extrapolated=np.eye(2, 3) > 0),
    "sweep": swept(1, falls=True), "three dataflows": swept(3, falls=True), "flat sweep": swept(2, falls=False),
    "fields": fields(0, 6, falls=True), "flat fields": fields(1, 3, falls=False),
    "buffers": lambda ax=None: buffers_figure(buffer_curve(LENET, ARRAY, [2048, 4096, 8192]), "t", ax=ax),
    "memory": lambda ax=None: memory_figure(CHAIN, ARRAY, ax=ax),
    "memory of many bytes": lambda ax=None: memory_figure(WIDE, SystolicArray(16, 16, buffer_bytes=2.0**21), ax=ax),
    "memory without a buffer": lambda ax=None: memory_figure(CHAIN, SystolicArray(8, 8), ax=ax),
    "pruning": pruned(5), "long pruning": pruned(60),
    **{f"network: {name}": lambda ax=None, of=of: network_figure(of(), "net", ax=ax) for name, of in SUMMARIES.items()},
    **{f"timeline: {name}": lambda ax=None, of=of: timeline_figure(of(), ax=ax) for name, of in SUMMARIES.items()},
}  # fmt: skip
over_figures = pytest.mark.parametrize("name", FIGURES)


def legends_of(figure):
    return [*figure.legends, *(each.get_legend() for each in figure.axes if each.get_legend())] + [
        legend for part in figure.subfigs for legend in part.legends
    ]


def shapes_of(axes):
    """The outlines of lines, points and bars in pixels; areas such as bands and maps are not among them."""
    for line in axes.get_lines():
        x, y = cbook.STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_xydata().T)
        if len(x):
            yield line.get_transform().transform_path(Path(np.column_stack([x, y])))
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            for place in collection.get_offset_transform().transform(collection.get_offsets()):
                yield Path.circle(tuple(place), 4)
    for patch in axes.patches:
        if patch.get_visible():
            yield patch.get_transform().transform_path(patch.get_path())


def covers(box, axes):
    """Whether something drawn in the axes lies in a box."""
    inside = Bbox.intersection(box, axes.get_window_extent())
    if inside is None or not inside.width or not inside.height:
        return False
    return any(path.intersects_bbox(inside, filled=True) for path in shapes_of(axes))


def words_of(axes):
    """The texts around an axes: those at ticks are drawn only within its ends."""
    found = [axes.title, axes.xaxis.label, axes.yaxis.label]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in found if text.get_text() and text.get_visible()]


def crowded(axes):
    """Names and numbers at the horizontal axis that lie on each other."""
    low, high = sorted(axes.get_xlim())
    ticks = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    shown = [text for text in ticks if text.get_text() and text.get_visible()]
    pairs = itertools.combinations(shown, 2)
    return [(a.get_text(), b.get_text()) for a, b in pairs if a.get_window_extent().overlaps(b.get_window_extent())]


def check_layout(figure):
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    for legend in legends_of(figure):
        box = legend.get_window_extent()
        assert [axes for axes in figure.axes if covers(box, axes)] == []
        assert [text for text in texts if text.get_window_extent().overlaps(box)] == []
        for axes in figure.axes:
            assert not any(text.get_window_extent().overlaps(box) for text in words_of(axes))
        assert figure.bbox.padded(2).contains(*box.min)
        assert figure.bbox.padded(2).contains(*box.max)
    if figure.get_suptitle():
        box = figure._suptitle.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, figure.get_suptitle()
    for axes in figure.axes:
        assert crowded(axes) == []
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    for title in titles:
        box = title.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1, title
        assert not any(text.get_window_extent().overlaps(box) for text in texts), title
    for legend, other in itertools.combinations(legends_of(figure), 2):
        assert not legend.get_window_extent().overlaps(other.get_window_extent())


@over_figures
def test_legends_lie_on_nothing_that_is_drawn_and_within_the_picture(name):
    check_layout(FIGURES[name]())


def test_the_check_of_legends_finds_one_on_a_curve():
    figure = load_matplotlib().figure.Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], drawstyle="steps-post", label="a curve")
    axes.legend(loc="center")
    figure.draw_without_rendering()
    assert covers(axes.get_legend().get_window_extent(), axes) is False  # between the steps
    axes.legend(loc="lower right")
    figure.draw_without_rendering()
    assert covers(axes.get_legend().get_window_extent(), axes)


def test_names_stay_level_where_they_have_room():
    for name, is_turned in {"names with room": False, "names of many lengths": True}.items():
        figure = FIGURES[name]()
        assert {label.get_rotation() for label in figure.axes[-1].get_xticklabels()} == {90.0 if is_turned else 0.0}


@over_figures
def test_logarithmic_axes_say_so(name):
    figure = FIGURES[name]()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            is_log = axis.get_scale() == "log"
            assert axis.get_label_text().endswith(", log scale") == (is_log and bool(axis.get_label_text()))


@over_figures
def test_each_figure_is_drawn_on_axes_of_ones_own(name):
    """With the same lines, points and bars as in a figure of its own, which holds nothing else."""
    own = FIGURES[name]()
    bars = [axes for axes in own.axes if axes.get_label() == "<colorbar>"]
    count = len(own.axes) - len(bars)
    figure = load_matplotlib().figure.Figure(figsize=(12, 3.6 * count), layout="constrained")
    given = figure.subplots(count, squeeze=False).ravel()
    of_mine = FIGURES[name](given)
    assert of_mine is given[0] if count == 1 else of_mine == tuple(given)
    assert (figure.get_suptitle(), figure.legends) == ("", [])
    for one, other in zip((axes for axes in own.axes if axes not in bars), given, strict=True):
        assert (len(one.patches), len(one.collections)) == (len(other.patches), len(other.collections))
        lines = ([np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()] for axes in (one, other))
        assert next(lines) == next(lines)
        assert (one.get_ylabel(), one.get_yscale()) == (other.get_ylabel(), other.get_yscale())
    check_layout(figure)


def test_pictures_next_to_each_other_leave_room():
    figure = load_matplotlib().figure.Figure(figsize=(13, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    network_figure(SUMMARIES["ResNet"](), "a roofline", pictures=["roofline"], ax=left)
    FIGURES["memory"](right)
    check_layout(figure)


@over_figures
def test_another_number_of_axes_is_refused(name):
    with refused("ax", "0 (nothing)"):
        FIGURES[name]([])


def test_an_error_of_axes_names_the_panels():
    figure = load_matplotlib().figure.Figure()
    for wrong in ("axes", 3, [None, None], [figure, figure]):
        with refused("ax"):
            stairs_figure(*STAIRS["gaps"], ax=wrong)
    with refused("ax", "1 (Axes)", "cycles, utilization") as found:
        stairs_figure(*STAIRS["gaps"], ax=figure.subplots())
    assert str(found.value).startswith("ax is 1 (Axes), but the picture has 2 panels; needed: 2 matplotlib Axes")


def test_the_last_line_of_a_cell_shows_a_figure():
    formatters = pytest.importorskip("IPython.core.formatters")
    found, _ = formatters.DisplayFormatter().format(FIGURES["few points"]())
    assert found["image/png"].startswith(b"\x89PNG")


# ---------------------------------------------------------------- what pictures show


def test_small_shares_fill_their_panel():
    used = network_figure(SUMMARIES["decoder"](), pictures=["time"]).axes[1]
    assert 0 < used.get_ylim()[1] < 1.5
    assert "network: 0." in used.get_legend().get_texts()[0].get_text()


def test_the_roofline_names_the_largest_layer_by_itself():
    """Though others are at its place."""
    summary = SUMMARIES["decoder"]()
    (roofline,) = network_figure(summary, pictures=["roofline"]).axes
    first = next(text.get_text() for text in roofline.get_legend().get_texts() if "emb" in text.get_text())
    share = next(layer["share"] for layer in network_data(summary)["layers"] if layer["name"] == "emb")
    assert first.startswith(f"emb: {100 * share:.1f} %")
    assert roofline.texts[0].get_text() == "A"


@pytest.mark.parametrize("rate", [2e9, 8e9, 40e9])
def test_the_roofline_names_a_layer_of_each_bound(rate):
    layers = {f"conv{i}": Conv2d(64 + i, 64, 3, height=30, width=30) for i in range(14)}
    summary = summarise(layers | {"fc": Linear(400, 10)}, SystolicArray(16, 16, dram_bytes_per_s=rate))
    (roofline,) = network_figure(summary, pictures=["roofline"]).axes
    marked = {tuple(np.round(text.xy, 6)) for text in roofline.texts}
    for collection in roofline.collections:  # one for each bound
        assert marked & {tuple(each) for each in np.round(collection.get_offsets(), 6).tolist()}
    assert len(marked) == len(roofline.texts)


def test_numbers_in_pictures_are_no_names_of_layers():
    """Layers of an nn.Sequential have numbers for names: points have letters, which the legend leads to the layers."""
    layers = {str(i): Linear(2 ** (i + 3), 2 ** (7 - i) + i, batch=3 * i + 1) for i in range(5)}
    summary = summarise(layers, SystolicArray(8, 8))
    (roofline,) = network_figure(summary, pictures=["roofline"]).axes
    marks = sorted(text.get_text() for text in roofline.texts)
    assert marks == list("ABCDE")
    legend = roofline.get_legend()
    named = zip(legend.legend_handles, legend.get_texts(), strict=True)
    of_layers = [(each.get_marker(), text.get_text()) for each, text in named if "layer " in text.get_text()]
    assert [mark.strip("$") for mark, _ in of_layers] == [rf"\mathbf{{{letter}}}" for letter in marks]
    assert {text.partition(":")[0] for _, text in of_layers} == {f"layer {name}" for name in layers}
    (above,) = timeline_figure(summary).axes
    assert {text.get_text().partition(",")[0] for text in above.texts} <= {f"layer {name}" for name in layers}
    assert above.texts


def test_letters_of_a_roofline_stay_apart():
    figure = FIGURES["network: ResNet"]()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent().padded(-1) for text in figure.axes[-1].texts]
    assert len(boxes) == 8
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_timeline_is_the_network_in_order():
    summary = SUMMARIES["chain"]()
    data = timeline_data(summary)
    layers = data["layers"]
    assert [layer["name"] for layer in layers] == [row.name for row in summary.rows if row.cost.cycles]
    assert layers[-1]["ends"] == pytest.approx(summary.cost.seconds)
    assert all(one["ends"] == other["starts"] for one, other in itertools.pairwise(layers))
    assert [layer["alive"] for layer in layers] == [summary.peak.activations[layer["name"]] for layer in layers]
    assert [layer["kept"] for layer in layers] == [summary.plan.steps[layer["name"]].resident for layer in layers]
    assert data["buffer"] == 16384.0
    above, below = timeline_figure(summary).axes
    area = sum(bar.get_width() * bar.get_height() for bar in above.patches)
    assert area / above.get_xlim()[1] == pytest.approx(100 * summary.cost.utilization)
    assert (above.get_ylabel(), below.get_ylabel()) == ("utilization [%]", "memory")
    assert len(timeline_figure(summarise(LENET, SystolicArray(8, 8))).axes) == 1


def test_blocks_of_a_timeline_without_work_are_seen():
    layers = {f"layer{i}": Conv2d(3, 3, 3, 64, 64, groups=3) if i % 2 else Linear(256, 256, batch=96) for i in range(9)}
    summary = summarise(layers, SystolicArray(32, 32))
    (above,) = timeline_figure(summary).axes
    drawn = sum(len(each.get_segments()) for each in above.collections)
    flat = [row.name for row in summary.rows if row.cost.utilization < 0.01]
    assert drawn == len(flat) == 4


def test_stairs_name_the_device_as_it_is():
    layer, device = Conv2d(16, 16, 3, height=8, width=8), read_device("gemmini")
    for given in ({"array": "gemmini"}, {"array": device.array, "device": device}):
        above, _ = stairs_figure(layer, given.pop("array"), "out_channels", range(1, 33), **given).axes
        assert "gemmini: 16 x 16, weight stationary" in above.get_title()
    changed = dataclasses.replace(device.array, rows=8)
    for given in ({}, {"device": device}):
        assert "gemmini" not in stairs_figure(layer, changed, "out_channels", range(1, 33), **given).axes[0].get_title()


def test_a_device_by_name_gives_its_memory_and_its_name():
    device = read_device("gemmini")
    named, plain = memory_figure(CHAIN, "gemmini"), memory_figure(CHAIN, device.array)
    labels = [[text.get_text() for text in each.legends[0].get_texts()] for each in (named, plain)]
    assert set(labels[0]) - set(labels[1]) == {"memory of the chip, 320 KiB"}
    assert named.get_suptitle().startswith(f"chain on gemmini: {device.array.in_words}\n")
    assert plain.get_suptitle().startswith(f"chain on {device.array.in_words}\n")
    assert memory_data(CHAIN, "gemmini") == memory_data(CHAIN, device.array, device.memory_bytes)
    assert memory_data(CHAIN, "gemmini", 4096)["buffer"] == 4096
    kept = memory_figure(CHAIN, ARRAY).get_suptitle()
    assert re.search(r"; [\d.]+ % fewer DRAM bytes than layer by layer$", kept)


def test_the_memory_of_a_chip_is_no_buffer():
    summary = hwcost.report(
        Network.of_layers("chain", {"a": Linear(64, 32), "b": Linear(32, 8)}, is_chain=True), "gemmini"
    )
    labels = timeline_figure(summary).axes[-1].get_legend_handles_labels()[1]
    assert "memory of the chip, 320 KiB" in labels
    assert timeline_data(SUMMARIES["chain"]())["of_the_chip"] is False


def test_a_timeline_without_time_says_so():
    (axes,) = timeline_figure(dataclasses.replace(SUMMARIES["decoder"](), rows=())).axes
    assert [text.get_text() for text in axes.texts] == ["no layer takes any time"]
