"""The picture of a sweep shows its points, for lists and ranges, and is the same file each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from nets import LENET, residual

from hwcost import DATAFLOWS, SystolicArray, network_cost
from hwcost.plot import ENDINGS, save, svg
from hwcost.plot.sweep import sweep_data, sweep_figure
from hwcost.sweep import sweep

pytest.importorskip("matplotlib")


def line(axes, label):
    return next(each for each in axes.get_lines() if each.get_label() == label)


def maps(figure):
    return [axes for axes in figure.axes if axes.get_xlabel() == "columns"]


def at(figure, label):
    return next(axes for axes in figure.axes if axes.get_title() == label)


SPACES = {
    "ranges": {"rows": range(8, 65), "cols": range(8, 65), "dataflows": ("ws", "os", "is"), "pe_budget": 1024},
    "lists": {"rows": [8, 16, 32, 64], "cols": [8, 32, 128]},
    "a list and a range": {"rows": range(8, 129, 4), "cols": [8, 16, 32], "dataflows": ("os", "ws")},
    "one array": {"rows": 16, "cols": 16, "pe_budget": 256},
    "one column": {"rows": range(1, 40), "cols": 16},
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("timing", ["ideal", "serial"])
def test_the_map_holds_the_time_of_every_array(name, timing):
    found = sweep(LENET, base=SystolicArray(1, 1, fold_timing=timing), **SPACES[name])
    data = sweep_data(found)
    assert list(data["seconds"]) == list(found.dataflows)
    cells = {
        (flow, rows, cols): seconds
        for flow, rows_of_it in data["seconds"].items()
        for rows, line_of_it in zip(data["rows"], rows_of_it, strict=True)
        for cols, seconds in zip(data["cols"], line_of_it, strict=True)
        if not math.isnan(seconds)
    }
    assert len(cells) == len(found)
    for flow, rows, cols in list(cells)[:: max(1, len(cells) // 20)]:
        array = SystolicArray(rows, cols, dataflow=flow, fold_timing=timing)
        assert cells[flow, rows, cols] == pytest.approx(network_cost(LENET, array).total.seconds, rel=1e-14)


@pytest.mark.parametrize("name", SPACES)
def test_each_dataflow_has_a_map_and_every_point_of_the_front_a_dot(name):
    found = sweep(LENET, **SPACES[name])
    figure = sweep_figure(found)
    panels = maps(figure)
    assert [axes.get_title() for axes in panels] == [DATAFLOWS[name].summary for name in found.dataflows]
    dots = sum(len(each.get_xdata()) for axes in panels for each in axes.get_lines() if each.get_marker() == "D")
    assert dots == len(found.front)
    bounds = sum(each.get_marker() == "None" for axes in panels for each in axes.get_lines())
    assert bounds == (len(panels) if found.pe_budget is not None else 0)
    svg(figure)  # drawing itself raises on a layout that does not fit


def test_dots_lie_where_their_sizes_are_on_true_axes():
    found = sweep(LENET, **SPACES["ranges"])
    for axes, name in zip(maps(sweep_figure(found)), found.dataflows, strict=True):
        own = found.front[found.dataflow[found.front] == name]
        dots = [each for each in axes.get_lines() if each.get_marker() == "D"]
        places = {(x, y) for each in dots for x, y in zip(each.get_xdata(), each.get_ydata(), strict=True)}
        assert places == set(zip(found.cols[own].tolist(), found.rows[own].tolist(), strict=True))


def test_few_sizes_lie_side_by_side_with_their_names():
    found = sweep(LENET, **SPACES["lists"])
    (panel,) = maps(sweep_figure(found))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["8", "32", "128"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["8", "16", "32", "64"]
    (dots,) = (each for each in panel.get_lines() if each.get_marker() == "D")
    assert set(dots.get_xdata()) <= {0, 1, 2}
    assert set(dots.get_ydata()) <= {0, 1, 2, 3}


def test_the_budget_is_where_rows_times_columns_are():
    found = sweep(LENET, **SPACES["ranges"])
    figure = sweep_figure(found)
    for axes in maps(figure):
        (bound,) = (each for each in axes.get_lines() if each.get_marker() == "None")
        x, y = bound.get_xdata(), bound.get_ydata()
        np.testing.assert_allclose(x * y, 1024)
        assert x.min() >= 16  # beyond, no number of rows is within it
    assert set(line(at(figure, "least time within a number of PEs"), "budget: 1024 PEs").get_xdata()) == {1024}


def test_the_least_time_falls_and_is_that_of_the_fastest_array_within_the_pes():
    found = sweep(residual(), **SPACES["ranges"])
    left = at(sweep_figure(found), "least time within a number of PEs")
    scale = 1e3 if "[ms]" in left.get_ylabel() else 1e6
    for index, name in enumerate(found.dataflows):
        of_it = line(left, DATAFLOWS[name].summary)
        pes, least = of_it.get_xdata(), of_it.get_ydata()
        assert np.all(np.diff(least) <= 0)
        for size in (64, 300, 1024):
            slow_twin = found.seconds[(found.flow == index) & (found.pes <= size)].min()
            assert least[pes <= size][-1] == pytest.approx(scale * slow_twin, rel=1e-12)


def test_more_sizes_than_pixels_are_thinned_out_and_the_largest_is_kept():
    found = sweep(LENET, rows=range(1, 2000), cols=[16, 32])
    data = sweep_data(found)
    assert len(data["rows"]) <= 601
    assert (data["rows"][0], data["rows"][-1]) == (1, 1999)
    by_rows = {rows: seconds for rows, cols, seconds in zip(found.rows, found.cols, found.seconds, strict=True)
               if cols == 16}  # fmt: skip
    assert [row[0] for row in data["seconds"]["ws"]] == [by_rows[rows] for rows in data["rows"]]
    # a point of the front that no cell was left for has a dot all the same
    (panel,) = maps(sweep_figure(found))
    dots = [each for each in panel.get_lines() if each.get_marker() == "D"]
    assert sum(len(each.get_xdata()) for each in dots) == len(found.front)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_sweep_makes_the_same_file(tmp_path, ending):
    found = sweep(LENET, **SPACES["a list and a range"])
    for name in ("a", "b"):
        save(sweep_figure(found, title="a $ in a title"), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_the_map_has_the_least_time_over_other_fields():
    rates = [1e8, 1e9, 1e12]
    found = sweep(LENET, rows=[8, 16], cols=[8, 16], fields={"dram_bytes_per_s": rates})
    fastest = sweep(LENET, rows=[8, 16], cols=[8, 16], base=SystolicArray(1, 1, dram_bytes_per_s=1e12))
    assert sweep_data(found) == sweep_data(fastest)


def test_the_front_has_a_look_of_its_own_in_the_legend():
    found = sweep(LENET, **SPACES["ranges"])
    figure = sweep_figure(found)
    (legend,) = (each for part in (figure, *figure.subfigs) for each in part.legends)
    handles = dict(zip((text.get_text() for text in legend.get_texts()), legend.legend_handles, strict=True))
    front = handles[f"front: {len(found.front)} points"]
    others = {each.get_color() for label, each in handles.items() if "stationary" in label}
    assert len(others) == 3
    assert front.get_marker() == "D"
    assert front.get_markerfacecolor() not in others
    for axes in maps(figure):
        dots = [each for each in axes.get_lines() if each.get_marker() == "D"]
        assert {each.get_markerfacecolor() for each in dots} <= {front.get_markerfacecolor()}
