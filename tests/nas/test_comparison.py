"""Figures that compare methods, on points whose answer is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwcost import SystolicArray
from hwcost.plot import save
from nas_plugin import ArchDef, Comparison
from nas_plugin.pictures import sweep_figure
from nas_plugin.runs.comparison import TOLERANCE, SearchRow
from nas_plugin.runs.settings import SweepSettings
from nas_plugin.runs.sweep import SearchSweep

METHODS = ("one-shot", "random")
Point = tuple[str, str, int, float, float]
"""Method, limit, seed, cycles in units of the reference's, accuracy."""


def comparison_of(
    small: ArchDef, points: list[Point], reference: float = 0.9, *, methods: tuple[str, ...] = METHODS, arrays: int = 1
) -> Comparison:
    seeds = tuple(sorted({point[2] for point in points}))
    targets = tuple(dict.fromkeys(point[1] for point in points))
    settings = SweepSettings(
        "x", 1000, {name: {"method": name} for name in methods}, targets=targets, seeds=seeds, train_seeds=(0, 1)
    )
    sizes = [SystolicArray(4, 4), SystolicArray(8, 8)][:arrays]
    found = [
        SearchRow(
            f"{array.rows}x{array.cols}",
            method,
            limit,
            seed,
            {"fc1.width": round(1e6 * ratio), "other": round(1e6 * accuracy)},
            ratio * 980,
            ratio,
            None,
            (accuracy - 0.001, accuracy + 0.001),
        )
        for array in sizes
        for method, limit, seed, ratio, accuracy in points
    ]
    sweep = SearchSweep(Path("nowhere"), small, tuple(sizes), settings)
    return Comparison(sweep, tuple(found), (reference - 0.002, reference + 0.002))


def rows_of(comparison: Comparison) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in comparison.methods()}


def test_the_hypervolume_of_points_whose_area_is_known(small: ArchDef) -> None:
    """Worst cycles 1.2, worst error 0.3; best 0.4 and 0.1: a rectangle of 0.8 by 0.2, shared by both methods.

    one-shot: (0.4, 0.3 error) adds nothing, (0.6, 0.2) an area of 0.6 by 0.1, (1.0, 0.1) another 0.2 by 0.1.
    random: (1.2, 0.2) lies on the edge; (0.8, 0.25) has 0.4 by 0.05.
    """
    comparison = comparison_of(
        small,
        [
            ("one-shot", "0.4", 0, 0.4, 0.7),
            ("one-shot", "0.6", 0, 0.6, 0.8),
            ("one-shot", "1", 0, 1.0, 0.9),
            ("random", "0.4", 0, 0.8, 0.75),
            ("random", "0.6", 0, 0.8, 0.75),
            ("random", "1", 0, 1.2, 0.8),
        ],
        reference=0.9,
    )
    rows = rows_of(comparison)
    assert rows["one-shot"]["reference_point"] == pytest.approx([1.2, 0.3])
    assert rows["random"]["reference_point"] == rows["one-shot"]["reference_point"]
    assert rows["one-shot"]["hypervolume"] == pytest.approx((0.6 * 0.1 + 0.2 * 0.1) / (0.8 * 0.2))
    assert rows["random"]["hypervolume"] == pytest.approx(0.4 * 0.05 / (0.8 * 0.2))
    assert rows["random"]["hypervolume_deviation"] == 0  # of one seed


def area(points: list[tuple[float, float]], worst: np.ndarray, best: np.ndarray, count: int = 400) -> float:
    """The share of a grid of points that some winner dominates: slow, and by definition."""
    shares = (np.arange(count) + 0.5) / count
    x, y = (best[axis] + shares * (worst[axis] - best[axis]) for axis in (0, 1))
    covered = np.zeros((count, count), dtype=bool)
    for cycles, error in points:
        covered |= (x[:, None] >= cycles) & (y[None, :] >= error)
    return float(covered.mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_hypervolume_against_a_slow_twin(small: ArchDef, seed: int) -> None:
    random = np.random.default_rng(seed)
    points: list[Point] = [
        (method, limit, search, float(random.uniform(0.4, 1.1)), float(random.uniform(0.8, 0.95)))
        for method in METHODS
        for limit in ("0.4", "0.6", "0.8", "1")
        for search in (0, 1, 2)
    ]
    rows = rows_of(comparison_of(small, points, reference=0.88))
    everything = np.array([(ratio, 1 - accuracy) for *_, ratio, accuracy in points] + [(1.0, 0.12)])
    worst, best = everything.max(0), everything.min(0)
    for method in METHODS:
        by_seed = [
            area([(p[3], 1 - p[4]) for p in points if (p[0], p[2]) == (method, search)], worst, best)
            for search in (0, 1, 2)
        ]
        assert rows[method]["hypervolume_by_seed"] == pytest.approx(by_seed, abs=0.01)
        assert rows[method]["hypervolume"] == pytest.approx(np.mean(rows[method]["hypervolume_by_seed"]))
        assert rows[method]["hypervolume_deviation"] == pytest.approx(
            np.std(rows[method]["hypervolume_by_seed"], ddof=1)
        )


def test_cycles_at_iso_accuracy(small: ArchDef) -> None:
    close = 0.9 - TOLERANCE
    comparison = comparison_of(
        small,
        [
            ("one-shot", "0.4", 0, 0.4, close - 1e-4),
            ("one-shot", "1", 0, 0.8, close + 1e-4),
            ("one-shot", "0.4", 1, 0.5, close + 1e-4),
            ("one-shot", "1", 1, 0.9, 0.95),
            ("random", "0.4", 0, 0.4, 0.5),
            ("random", "1", 0, 0.9, close - 1e-4),
            ("random", "0.4", 1, 0.4, 0.5),
            ("random", "1", 1, 0.9, 0.5),
        ],
    )
    rows = rows_of(comparison)
    assert rows["one-shot"]["iso_accuracy_cycles_by_seed"] == [0.8, 0.5]
    assert rows["one-shot"]["iso_accuracy_cycles"] == pytest.approx(0.65)
    assert rows["random"]["iso_accuracy_cycles_by_seed"] == [None, None]
    assert rows["random"]["iso_accuracy_cycles"] == 1  # the reference is always there
    table = [[cell.strip() for cell in line.split("|")[2:7]] for line in comparison.tables().splitlines()[4:6]]
    assert [(row[0], row[3], row[4]) for row in table] == [
        ("one-shot", "0.650", "2 of 2"),
        ("random", "1.000", "0 of 2"),
    ]
    within = {(row["method"], row["limit"]): row["within_tolerance"] for row in comparison.winners()}
    assert within == {("one-shot", "0.4"): 1, ("one-shot", "1"): 2, ("random", "0.4"): 0, ("random", "1"): 0}


def test_means_and_spreads_of_winners(small: ArchDef) -> None:
    points: list[Point] = [("one-shot", "0.5", seed, 0.4 + 0.1 * seed, 0.8 + 0.02 * seed) for seed in range(3)]
    points += [("random", "0.5", seed, 0.5, 0.85) for seed in range(3)]
    rows = {row["method"]: row for row in comparison_of(small, points).winners()}
    first = rows["one-shot"]
    assert first["cycles_ratio"] == pytest.approx(0.5)
    assert first["cycles_ratio_range"] == pytest.approx([0.4, 0.6])
    assert first["accuracy"] == pytest.approx(0.82)
    assert first["accuracy_range"] == pytest.approx([0.8, 0.84])
    assert first["accuracy_deviation"] == pytest.approx(0.02)
    assert (first["seeds"], first["different_winners"]) == (3, 3)
    assert rows["random"]["different_winners"] == 1
    assert rows["random"]["accuracy_deviation"] == pytest.approx(0)


def test_ties_share_what_they_reach(small: ArchDef) -> None:
    points: list[Point] = [
        (m, limit, 0, float(limit), 0.6 + 0.4 * float(limit)) for m in METHODS for limit in ("0.5", "0.7")
    ]
    rows = rows_of(comparison_of(small, points))
    assert rows["one-shot"]["hypervolume"] == rows["random"]["hypervolume"] > 0


def test_one_method_whose_winners_are_all_the_reference(small: ArchDef) -> None:
    comparison = comparison_of(small, [("random", "1", 0, 1.0, 0.9)], methods=("random",))
    (row,) = comparison.methods()
    assert row["hypervolume"] == 0  # there is no area to have a share of
    assert row["iso_accuracy_cycles"] == 1
    assert comparison.tables().count("\n| 4x4") == 2
    assert "a seed without such a winner counts 1" in comparison.tables()
    assert "does not keep the limit" not in comparison.tables()
    json.dumps(comparison.as_dict(), allow_nan=False)


def test_arrays_are_apart(small: ArchDef) -> None:
    comparison = comparison_of(small, [("random", "0.5", 0, 0.5, 0.8), ("one-shot", "0.5", 0, 0.5, 0.9)], arrays=2)
    shifted = [
        dataclasses.replace(found, cycles_ratio=found.cycles_ratio + 0.2) if found.array == "8x8" else found
        for found in comparison.found
    ]
    comparison = dataclasses.replace(comparison, found=tuple(shifted))
    assert comparison.arrays == ("4x4", "8x8")
    assert [found.cycles_ratio for found in comparison.of("8x8", "random")] == [0.7]
    assert [(row["array"], row["method"]) for row in comparison.methods()] == [
        (array, method) for array in ("4x4", "8x8") for method in METHODS
    ]
    assert comparison.reference_accuracy == pytest.approx(0.9)
    assert "reference network: 90.00 % (mean of 2 trainings, 89.80 to 90.20 %)" in comparison.tables()


@pytest.mark.parametrize("arrays", [1, 2])
def test_the_picture_shows_every_method_and_the_reference(small: ArchDef, tmp_path: Path, arrays: int) -> None:
    points: list[Point] = [
        (method, limit, seed, float(limit) - 0.01 * seed, 0.8 + 0.01 * number + 0.005 * seed)
        for number, method in enumerate(METHODS)
        for limit in ("0.5", "0.75")
        for seed in (0, 1)
    ]
    comparison = comparison_of(small, points, arrays=arrays)
    figure = sweep_figure(comparison)
    clouds, strips = figure.axes[:arrays], figure.axes[arrays:]
    assert [axes.get_title() for axes in clouds] == ["4x4 array", "8x8 array"][:arrays]
    assert len(strips) == arrays
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reference network", *METHODS]
    for axes in clouds:
        marks = np.concatenate([np.column_stack(line.get_data()) for line in axes.get_lines()])
        for *_, ratio, accuracy in points:
            assert np.isclose(marks, [ratio, 100 * accuracy]).all(1).any()
        assert np.isclose(marks, [1, 90]).all(1).any()
    assert [label.get_text() for label in strips[0].get_yticklabels()] == list(METHODS)
    for axes in strips:
        assert [text.get_text() for text in axes.texts] == ["0.5", "0.75"] * len(METHODS)
        rows: dict[float, set[float]] = {}
        for line in axes.get_lines():
            for x, y in np.column_stack(line.get_data()).tolist():
                rows.setdefault(y, set()).add(round(x, 6))
        assert len(rows) == 2 * len(METHODS)  # no method lies on another
        drawn = [rows[height] for height in sorted(rows)]
        for index, method in enumerate(METHODS):
            for place, limit in enumerate(("0.5", "0.75")):
                own = {round(100 * one[-1], 6) for one in points if one[:2] == (method, limit)}
                assert own <= drawn[2 * index + place]
    save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
