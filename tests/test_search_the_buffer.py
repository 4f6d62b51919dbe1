"""The example that searches array and buffer: its values are exact, its gradient is that of a difference."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from running import printed

torch = pytest.importorskip("torch")
import search_the_buffer as example  # noqa: E402
from hwcost import RELAXATIONS, SystolicArray, network_cost  # noqa: E402
from hwcost.machine.energies import with_energy  # noqa: E402

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
BUDGET = 1024.0 * 160


def test_all_machines_are_within_the_area_and_priced_exactly():
    machines = example.all_machines(BUDGET)
    assert (example.area(*machines.T) <= BUDGET).all()
    own = machines[np.random.default_rng(0).choice(len(machines), 5, replace=False)]
    for objective in example.OBJECTIVES:
        for (rows, cols, banks), found in zip(own.tolist(), example.exact(objective, own), strict=True):
            array = SystolicArray(rows, cols, buffer_bytes=8192.0 * banks, dram_bytes_per_s=example.BANDWIDTH)
            report = network_cost(example.LAYERS, with_energy(array, "45nm-textbook"))
            total = sum(example.COUNTS.get(name, 1) * cost for name, cost in report.layers.items())
            assert found == pytest.approx(getattr(total, objective), rel=1e-12)


@pytest.mark.parametrize("objective", example.OBJECTIVES)
def test_rows_cols_and_buffer_have_the_gradient_of_a_difference(objective):
    smooth = RELAXATIONS["logistic"].at_temperature(8.0)
    sizes = torch.tensor([13.3, 21.6, 70_000.0], dtype=torch.float64)

    def value(factors):
        return example.value_of(objective, *(sizes * factors), smooth).log()

    factors = torch.ones(3, dtype=torch.float64, requires_grad=True)
    value(factors).backward()
    for index in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[index] = 1e-4
        with torch.no_grad():
            difference = (value(1 + step) - value(1 - step)) / 2e-4
        assert factors.grad[index].item() == pytest.approx(difference.item(), rel=0.05, abs=0.01)


def test_the_command_draws_and_is_near_the_optimum(tmp_path):
    picture, script = tmp_path / "buffer.png", EXAMPLES / "search_the_buffer.py"
    options = ("--area", "96", "--starts", "6", "--steps", "50", "--picture", picture)
    out = printed(script, *options, out=tmp_path / "out")
    assert picture.stat().st_size > 10_000
    best = float(out.partition("best start ")[2].partition("%")[0])
    assert 0 <= best < 5
