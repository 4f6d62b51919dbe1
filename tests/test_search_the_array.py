"""The example that searches the array: its optimum is one, its gradient is that of a difference, its answer is near."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np
import pytest
from running import printed

torch = pytest.importorskip("torch")
import search_the_array as example  # noqa: E402
from hwcost import SystolicArray, network_cost  # noqa: E402

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def landscape():
    rows, cols = example.all_arrays()
    return rows, cols, *example.best_of_arrays(rows, cols)


def price(rows, cols, widths):
    """J of one network on one array, in Python numbers."""
    named = dict(zip(example.CHAIN, map(int, widths), strict=True))
    cycles = network_cost(example.SPACE.at(named), SystolicArray(int(rows), int(cols))).total.cycles
    data = sum(example.WORTH[name] * (width / example.LENET_5[name]) ** -0.5 for name, width in named.items())
    return data + example.WEIGHT * cycles / example.REFERENCE


def test_the_widths_of_an_array_are_the_best_of_all(monkeypatch):
    few = {"conv1": (2, 6, 7), "conv2": (8, 16, 23), "fc1": (40, 120), "fc2": (48, 84, 96)}
    monkeypatch.setattr(example, "SPACE", example.SPACE.space(few))
    rows, cols = np.array([8, 50, 113]), np.array([100, 20, 9])
    values, widths = example.best_of_arrays(rows, cols)
    for index in range(len(rows)):
        scores = [price(rows[index], cols[index], sizes) for sizes in itertools.product(*few.values())]
        assert values[index] == pytest.approx(min(scores), rel=1e-12)
        assert price(rows[index], cols[index], widths[index]) == pytest.approx(min(scores), rel=1e-12)


def test_all_arrays_are_within_the_budget(landscape):
    rows, cols, values, widths = landscape
    assert (rows * cols).max() <= example.BUDGET
    assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == len(rows)
    for index in np.random.default_rng(0).choice(len(rows), 20, replace=False):
        assert values[index] == pytest.approx(price(rows[index], cols[index], widths[index]), rel=1e-12)


@pytest.mark.parametrize("relaxation", ["logistic", "shifted", "generalized"])
def test_rows_cols_and_widths_have_the_gradient_of_a_difference(relaxation):
    def value(sizes):
        rows, cols, *widths = sizes
        return example.objective(dict(zip(example.CHAIN, widths, strict=True)), rows, cols, relaxation, 12.0)

    sizes = torch.tensor([31.3, 32.6, 6.4, 15.7, 118.2, 83.1], dtype=torch.float64)
    leaves = [size.clone().requires_grad_() for size in sizes]
    value(leaves).backward()
    for index, leaf in enumerate(leaves):
        step = torch.zeros(6, dtype=torch.float64)
        step[index] = 1e-5
        slope = (value(list(sizes + step)) - value(list(sizes - step))) / 2e-5
        assert leaf.grad.item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-9)
    assert leaves[0].grad.abs() > 1e-6
    assert leaves[1].grad.abs() > 1e-6


def test_a_cost_by_macs_has_no_gradient_along_the_budget():
    """What the smooth ceiling is for here: rows * cols is all that a cost without stairs sees of an array."""
    slopes = {}
    for relaxation in ("linear", "logistic"):
        rows = torch.tensor(40.0, dtype=torch.float64, requires_grad=True)
        example.objective(example.LENET_5, rows, example.BUDGET / rows, relaxation, 10.0).backward()
        slopes[relaxation] = abs(rows.grad.item())
    assert slopes["linear"] < 1e-12
    assert slopes["logistic"] > 1e-4


def test_the_search_comes_near_the_optimum_within_the_budget(landscape):
    found = example.search("logistic", starts=24, steps=600)
    assert (found.rows * found.cols <= example.BUDGET).all()
    assert (np.diff(found.values) >= 0).all()
    assert found.values[0] == pytest.approx(price(found.rows[0], found.cols[0], found.widths[0]), rel=1e-12)
    best = landscape[2].min()
    assert best <= found.values[0] <= 1.01 * best


def test_polishing_never_makes_it_worse():
    sizes = np.array([40, 25, 6, 16, 120, 84])
    moved = example.polish(sizes)
    assert example.exact(moved) < example.exact(sizes)
    assert np.array_equal(example.polish(moved), moved)


def test_the_command_draws(tmp_path):
    picture, script = tmp_path / "array.png", EXAMPLES / "search_the_array.py"
    out = printed(script, "--starts", "2", "--steps", "5", "--picture", picture, out=tmp_path / "out")
    assert "of all 3,517 arrays" in out
    assert picture.stat().st_size > 10_000
