"""Pictures of searches and sweeps: nothing is empty, ticks of epochs are whole, legends lie off the curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hwcost import InvalidValueError, network_cost
from nas_plugin import ArchDef, Method, SearchResult, SearchSettings, search, sweep
from nas_plugin.images import Dataset
from nas_plugin.methods.training import Resumable
from nas_plugin.pictures import search_figure, sweep_figure, winner_figure

FEW: dict[str, Any] = {"images": 60, "train_epochs": 1}
CHOICE: dict[str, Any] = {"candidates": 35, "finalists": 5, "finalist_epochs": 1}
RUNS: dict[str, dict[str, Any]] = {
    "darts, 1 epoch": {"method": "darts", "epochs": 1},
    "darts, 4 epochs and a target": {"method": "darts", "epochs": 4, "target": 0.9, "batch": 30},
    "one-shot, 1 epoch": {"method": "one-shot", "epochs": 1, **CHOICE},
    "one-shot without finals": {"method": "one-shot", "epochs": 2, "target": 0.9, "candidates": 3, "finalists": 1},
    "random": {"method": "random", "epochs": 30, "finalist_epochs": 1},
}


@pytest.fixture(scope="module", params=RUNS)
def result(request: pytest.FixtureRequest, small: ArchDef) -> SearchResult:
    return search(arch_def=small, **FEW, **RUNS[request.param])


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    figure.savefig("/dev/null", format="png")  # lays the figure out
    return figure


def points(axes: Axes) -> Iterator[tuple[float, float]]:
    """What is marked or joined, in pixels; lines that cross the whole picture at many places."""
    for line in axes.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if line.get_linestyle() != "None" and len(x) > 1:
            steps = np.linspace(0, len(x) - 1, 200)
            x, y = np.interp(steps, np.arange(len(x)), x), np.interp(steps, np.arange(len(y)), y)
        yield from line.get_transform().transform(np.column_stack([x, y]))


def check(figure: Figure) -> None:
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        assert axes.has_data(), axes.get_title()
        assert all(line.get_marker() != "None" or len(line.get_xdata()) > 1 for line in axes.lines), axes.get_title()
        legend = axes.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= width, axes.get_title()
            assert 0 <= box.y0 < box.y1 <= height, axes.get_title()
            assert not any(box.contains(*point) for point in points(axes)), axes.get_title()
        if axes.get_xlabel() == "epoch":
            assert all(tick == round(tick) for tick in axes.get_xticks())
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert all(box.x0 >= 0 and box.x1 <= width for box in titles)
    assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[:i])


def test_the_course_of_a_search(result: SearchResult) -> None:
    figure = drawn(search_figure(result))
    check(figure)
    if "objective" in result.log[-3]:
        assert figure.axes[-1].get_ylabel() == f"{result.log[-3]['ranked_by']} [nats]"
        *_, (ring, label) = zip(*figure.axes[-1].get_legend_handles_labels(), strict=True)
        how = label.removeprefix("found: the lowest ")
        (dots,) = [line for line in figure.axes[-1].lines if str(line.get_label()).startswith(f"{how}, ")]
        assert min(dots.get_ydata()) == min(ring.get_ydata())  # networks trained in another way may lie lower


def test_the_winner_on_the_stairs(result: SearchResult) -> None:
    figure = drawn(winner_figure(result))
    check(figure)
    assert len(figure.axes) == len(result.arch.blocks)
    reference = result.cost(result.reference).total.cycles
    for axes, block in zip(figure.axes, result.arch.blocks, strict=True):
        labels = [line.get_label() for line in axes.lines]
        assert any(each.startswith("found by") for each in labels) == (block.width_decision in result.rounded)
        exact = axes.lines[labels.index("exact")]
        assert exact.get_drawstyle() == "steps-pre"
        for width, height in zip(exact.get_xdata(), exact.get_ydata(), strict=True):
            choice = result.winner.choice | {block.width_decision: int(width)}
            cost = network_cost(result.arch.space.at(choice), result.arch.array)
            assert height == cost.total.cycles / reference


def test_a_width_that_grew_for_free_is_told_from_the_winners(result: SearchResult) -> None:
    name, before = result.arch.blocks[0].width_decision, result.winner.choice[result.arch.blocks[0].width_decision] - 1
    grown = dataclasses.replace(result, derived=result.winner.choice | {name: before})
    first, *others = drawn(winner_figure(grown)).axes
    (line,) = [line for line in first.lines if str(line.get_label()).startswith("found by the search, before")]
    assert set(line.get_xdata()) == {before}
    assert not any("found by" in str(line.get_label()) for axes in others for line in axes.lines)


@pytest.mark.parametrize("draw", [search_figure, winner_figure])
def test_pictures_of_a_search_on_axes_of_ones_own(result: SearchResult, draw: Any) -> None:
    check_own_axes(draw, result)


def check_own_axes(draw: Any, given: Any) -> None:
    bars = ("probability",)  # of colours, which are axes too
    own = [axes for axes in draw(given).axes if axes.get_ylabel() not in bars and axes.get_label() != "<colorbar>"]
    figure = Figure(layout="constrained", figsize=(12, 9))
    axes = figure.subplots(len(own), squeeze=False)[:, 0]
    found = draw(given, ax=axes)
    assert (found if isinstance(found, tuple) else (found,)) == tuple(axes)
    assert [each.get_title() for each in axes] == [each.get_title() for each in own]
    assert figure.get_suptitle() == ""
    with pytest.raises(InvalidValueError, match="matplotlib Axes"):
        draw(given, ax=[])


@pytest.mark.parametrize("draw", [search_figure, winner_figure, sweep_figure])
@pytest.mark.parametrize("given", [None, 3, "run", SearchResult])
def test_a_picture_of_something_else_says_what_makes_it(draw: Any, given: Any) -> None:
    with pytest.raises(InvalidValueError, match="nas_plugin.sweep" if draw is sweep_figure else "nas_plugin.search"):
        draw(given)


class Reference(Resumable):
    """Finds the reference in one step."""

    STATE = ("step",)
    steps, step = 1, 0

    def __init__(self, arch: ArchDef, settings: SearchSettings, train: Dataset) -> None:
        self.arch = arch

    def run_epoch(self) -> dict[str, Any]:
        self.step += 1
        return {"part": "looking"}

    def derived(self) -> dict[str, int]:
        return self.arch.reference


def test_a_search_without_figures_has_no_picture(small: ArchDef, tmp_path: Path) -> None:
    found = search(arch_def=small, method=Method("own", "in one line", Reference), out=tmp_path / "run", **FEW)
    assert search_figure(found) is None
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {"winner.png"}


@pytest.mark.parametrize("given", [{"targets": ["0.9"]}, {"targets": ["0.6", "0.9"], "train_seeds": 2}])
def test_a_sweep(small: ArchDef, tmp_path: Path, given: dict[str, Any]) -> None:
    found = sweep(
        arch_def=small, out=tmp_path / "run", methods=["most-macs"], seeds=[0], **{"train_seeds": 1} | FEW | given
    )
    check(drawn(sweep_figure(found)))
    check_own_axes(sweep_figure, found)


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ({"method": "one-shot", "finalists": 3, "candidates": 8}, ["from scratch, 1 epoch"]),
        ({"method": "one-shot", "finalists": 6, "candidates": 8}, ["fine-tuned, 2 epochs", "from scratch, 1 epoch"]),
        ({"method": "random"}, ["trained, 2 epochs"]),
    ],
)
def test_the_picture_of_the_choice_rings_the_network_found(
    small: ArchDef, given: dict[str, Any], groups: list[str]
) -> None:
    result = search(arch_def=small, epochs=1, train_epochs=1, finalist_epochs=2, **given)
    lines = {line.get_label(): line for line in drawn(search_figure(result)).axes[-1].get_lines()}
    assert [label for label in lines if "epoch" in str(label)] == groups
    (ring,) = (line.get_xydata() for label, line in lines.items() if str(label).startswith("found: the lowest "))
    assert len(ring) == 1
    assert ring[0].tolist() in lines[groups[-1]].get_xydata().tolist()
