"""The benchmark with a known optimum: its optimum is one, its batch searches as a single search does, and the order."""

from __future__ import annotations

import itertools
import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import known_optimum  # noqa: E402
import when_smooth_helps as smooth  # noqa: E402
from common import estimators, problems, regret  # noqa: E402
from hwcost import RELAXATIONS, SystolicArray, network_cost  # noqa: E402
from hwcost.torch import LatencyLoss  # noqa: E402
from nas_plugin import load_arch_def  # noqa: E402

PROJECT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tiny():
    """Five options of every width on a small array: 625 networks, few enough to try all."""
    return problems.Setting("tiny", (3, 8, 9, 15, 16), SystolicArray(8, 8))


def price(setting, given, row, widths):
    """J of one network, written out: the twin of the vectorised one."""
    scale, power = given.scale[row].tolist(), given.power[row].tolist()
    data = sum(a * ((w / setting.options[-1]) ** -b - 1) for a, b, w in zip(scale, power, widths, strict=True))
    sizes = {f"w{index}": width for index, width in enumerate(widths)}
    cycles = network_cost(setting.space.at(sizes), setting.array).total.cycles
    return data + given.weight[row].item() * cycles / given.reference


def test_the_optimum_is_that_of_all_networks(tiny):
    given = problems.problems(tiny, instances=2, seed=3)
    choice, value = problems.optimum(given)
    networks = list(itertools.product(tiny.options, repeat=4))
    for row in range(0, len(value), 3):
        scores = [price(tiny, given, row, widths) for widths in networks]
        assert value[row].item() == pytest.approx(min(scores), rel=1e-12)
        found = tuple(tiny.options[index] for index in choice[row])
        assert price(tiny, given, row, found) == pytest.approx(min(scores), rel=1e-12)
        assert given.of_random[row].item() == pytest.approx(np.mean(scores), rel=1e-9)


def test_data_runs_from_1_to_0(tiny):
    given = problems.problems(tiny, instances=4, seed=0)
    assert given.table[:, :, 0].sum(1).tolist() == pytest.approx([1.0] * len(given.weight))
    assert given.table[:, :, -1].abs().max() == 0
    assert (given.table.diff(dim=2) < 0).all()


@pytest.mark.parametrize("name", ["FLOPs", "straight-through", "logistic", "shifted", "generalized", "expectation"])
def test_a_batch_is_priced_as_the_latency_loss_prices_one(tiny, name):
    torch.manual_seed(0)
    alpha = torch.randn(3, 4, 5, dtype=torch.float64)
    rows = {"FLOPs": RELAXATIONS["linear"], "expectation": None}
    relaxation = rows.get(name, RELAXATIONS.get(name))
    loss = LatencyLoss(tiny.space, tiny.array, relaxation=relaxation, reference=1.0)
    batch = alpha.clone().requires_grad_()
    cycles = estimators.ESTIMATORS[name](tiny)(batch.softmax(2))
    cycles.sum().backward()
    for index in range(3):
        one = alpha[index].clone().requires_grad_()
        expected = loss.cycles({f"w{layer}": one[layer].softmax(0) for layer in range(4)})
        expected.backward()
        torch.testing.assert_close(cycles[index].detach(), expected.detach())
        torch.testing.assert_close(batch.grad[index], one.grad)


def test_rounding_up_costs_nothing_and_ends_where_nothing_grows(tiny):
    given = problems.problems(tiny, instances=2, seed=1)
    choice = torch.randint(5, (len(given.weight), 4), generator=torch.Generator().manual_seed(0))
    grown = estimators.rounded_up(given, choice.clone())
    cycles = given.cycles(grown)
    assert (grown >= choice).all()
    assert (grown > choice).any()
    assert torch.equal(cycles, given.cycles(choice))
    for layer in range(4):
        wider = grown.clone()
        wider[:, layer] = (wider[:, layer] + 1).clamp(max=4)
        assert (given.cycles(wider) > cycles)[grown[:, layer] < 4].all()


@pytest.mark.parametrize("index", [0, 1])
def test_the_exact_expectation_finds_it_and_flops_do_not(index):
    rows = known_optimum.quick(problems.SETTINGS[index], names=("expectation", "FLOPs", "none"))
    regret = {(row["estimator"], row["gumbel"], row["data"]): row["regret"] for row in rows}
    ways = list(itertools.product((False, True), estimators.DATA_TERMS))
    assert max(regret["expectation", *way] for way in ways) <= 0.05
    assert min(regret["FLOPs", *way] for way in ways) > 0.05
    assert min(regret["none", *way] for way in ways) > 1


def test_noise_has_the_given_signal_ratio():
    """Mean over root mean square of the gradient at the start, measured over draws, is the signal asked for."""
    setting, signal = problems.SETTINGS[1], 0.27
    given = problems.problems(setting, instances=2, seed=0)
    table = given.table
    probs = torch.full_like(table, 1 / table.shape[2])
    random = torch.Generator().manual_seed(0)
    draws = torch.randn(4000, *table.shape, generator=random, dtype=torch.float64)
    noisy = table + estimators.deviations(given, torch.full((len(given.weight),), signal)) * draws
    gradient = probs * (noisy - (probs * noisy).sum(-1, keepdim=True))  # of sum_i p_i t_i in alpha
    ratio = gradient.mean(0).square().mean(-1).sqrt() / gradient.square().mean((0, -1)).sqrt()
    assert ratio.mean().item() == pytest.approx(signal, rel=0.05)


# ---------------------------------------------------------------- pages


def result(name):
    return json.loads((PROJECT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def shown(page, tables):
    """The rows of the page's tables that have figures, by the marks above them."""
    text = (PROJECT / "docs" / "results" / f"{page}.md").read_text(encoding="utf-8")
    found = {}
    for name in tables:
        body = text.partition(f"<!-- {name} -->\n")[2].lstrip("\n").partition("\n\n")[0]
        found[name] = [line for line in body.splitlines() if line.startswith("|")]
    return found


def test_the_page_on_estimators_shows_the_results():
    content = result("known_optimum")
    rows, best = content["rows"], content["best combination"]
    large, small = (setting.name for setting in problems.SETTINGS[:2])
    main = [row for row in rows if row["setting"] in (large, small)]
    memory = [row for row in rows if row["setting"] not in (large, small)]
    expected = {
        "regret": known_optimum.table(main, best, "regret"),
        "memory": known_optimum.table(memory, best, "regret"),
        "rounded": known_optimum.table(main, best, "regret, rounded up"),
        "places": known_optimum.places_table(rows, best, large),
    }
    assert shown("known-optimum", expected) == expected
    assert best == regret.best_combinations(main)
    assert all(content["met"].values())


def test_the_page_on_smooth_ceilings_shows_the_results():
    content = result("when_smooth_helps")
    columns = {
        "widths": ("setting", "relaxation", "temperature", *smooth.FINISHES),
        "options": ("setting", "estimator", "regret", "regret, rounded up"),
        "array": ("search", "temperature", "best start", "median start"),
    }
    for name, lines in shown("when-smooth-helps", columns).items():
        assert len(lines) > 8
        assert set(lines) <= set(smooth.markdown(content[name], columns[name]).splitlines())


def test_the_search_of_the_array_is_as_on_the_page():
    text = (PROJECT / "docs" / "results" / "array-search.md").read_text(encoding="utf-8")
    rows = result("when_smooth_helps")["array"]
    (row,) = (r for r in rows if r["search"] == "logistic" and r["temperature"] == "10 to 80")
    (square,) = (r for r in rows if r["search"] == "every width on 32 x 32")
    shown_there = f"best start {row['best start']:.2%}, median {row['median start']:.2%}"
    assert shown_there in text
    assert f"best widths for it: {square['best start']:.2%}" in text


def test_cycles_counted_again_are_equal():
    content = result("recount_scalesim")
    assert content["settings"]["simulator"]["scalesim"] == "3.0.0"
    assert len(content["networks"]) >= 6
    for network in content["networks"]:
        array = SystolicArray(**network["array"], fold_timing="serial")
        layers = load_arch_def().space.at(network["choice"])
        ours = {name: cost.cycles for name, cost in network_cost(layers, array).layers.items()}
        assert ours == {name: counts["SCALE-Sim"] for name, counts in network["layers"].items()}
