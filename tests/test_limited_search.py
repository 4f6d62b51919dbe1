"""A limit in a search: the weight that follows it, and the most probable network within it, against brute force."""

from __future__ import annotations

import copy
import io
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_budget_solver import everything, problem
from trying import tried

from hwcost import Conv2d, InvalidValueError, Linear, Network, Operation, SystolicArray, load_device
from hwcost.elimination import window
from hwcost.elimination.prices import Costs, Program
from hwcost.elimination.window import best_between
from hwcost.network.limits import Limit

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from hwcost.torch import LatencyLoss, TargetWeight  # noqa: E402
from hwcost.torch.adapters import (  # noqa: E402
    BlockCosts,
    effective_cost,
    plinio_costs,
    relaxed_choice,
    relaxed_penalty,
)
from hwcost.torch.choosing import most_probable  # noqa: E402

ARRAY = SystolicArray(4, 4)
SEEDS = st.integers(0, 2**32 - 1)
WIDTHS = (4, 6, 8, 12)


def chain(count=4):
    """Convolutions whose widths follow each other, and a kernel."""
    layers = {}
    for i in range(count):
        follows = {"out_channels": f"w{i}"} | ({"in_channels": f"w{i - 1}"} if i else {"kernel_size": "k"})
        layers[f"conv{i}"] = Operation(Conv2d(8 if i else 3, 8, 3, height=8, width=8, padding="same"), follows)
    return Network("chain", layers).space({**{f"w{i}": WIDTHS for i in range(count)}, "k": (1, 3, 5)})


def dense(count=4):
    """Every convolution takes the concatenation of all before it."""
    layers = {}
    for i in range(count):
        rule = tuple((f"w{j}", 1) for j in range(i))
        follows = {"out_channels": f"w{i}"} | ({"in_channels": rule} if i else {})
        layers[f"conv{i}"] = Operation(Conv2d(8 * i or 3, 8, 3, height=8, width=8, padding="same"), follows)
    return Network("dense", layers).space({f"w{i}": WIDTHS for i in range(count)})


def shared():
    """A depthwise convolution, whose inputs, outputs and groups are one decision, between two others."""
    middle = Conv2d(8, 8, 3, height=8, width=8, padding="same", groups=8)
    layers = {
        "first": Operation(Conv2d(3, 8, 3, height=8, width=8, padding="same"), {"out_channels": "a"}),
        "middle": Operation(middle, dict.fromkeys(("in_channels", "out_channels", "groups"), "a")),
        "fixed": Operation(Linear(8, 8)),
        "last": Operation(Conv2d(8, 8, 1, height=8, width=8), {"in_channels": "a", "out_channels": "b"}),
    }
    return Network("shared", layers).space({"a": (2, 5, 8, 11), "b": WIDTHS})


SPACES = {"chain": chain(), "dense": dense(), "shared": shared()}


def probabilities(network, seed):
    rng = torch.Generator().manual_seed(seed)
    return {name: (2 * torch.randn(len(own), generator=rng)).softmax(0) for name, own in network.options.items()}


def best_by_hand(loss, probs):
    """Every network with its exact cycles; the most probable one of those that the limit allows."""
    options, limit = loss.network.options, loss.limit.cycles
    found = []
    for index in itertools.product(*(range(len(own)) for own in options.values())):
        choice = {name: own[i] for i, (name, own) in zip(index, options.items(), strict=True)}
        chance = math.fsum(float(probs[name][i].double().log()) for i, name in zip(index, options, strict=True))
        found.append((float(loss.exact(choice).total.cycles), chance, choice))
    within = [each for each in found if each[0] <= limit]
    near = [each for each in within if each[0] >= 0.97 * limit]
    floor = min(cycles for cycles, _, _ in found)
    return floor, max(near or within, key=lambda each: each[1], default=None)


# ---------------------------------------------------------------- the exact choice


@given(SEEDS, st.floats(-0.1, 1.1), st.floats(0.3, 1), st.booleans())
def test_the_best_between_two_limits_against_all(seed, share, fill, rules_out):
    rng, counts, costs = problem(seed)
    if rules_out:
        ruled = [np.where(rng.random(each.worth.shape) < 0.2, -np.inf, each.worth) for each in costs]
        for worth in ruled:
            worth.flat[0] = 0.0  # so that something is left
        costs = [Costs(each.widths, each.cycles, worth) for each, worth in zip(costs, ruled, strict=True)]
    sets = [each for each in everything(counts, costs) if each[2] > -np.inf]
    lowest, highest = (pick(cycles for _, cycles, _ in sets) for pick in (min, max))
    limit = lowest + share * (highest - lowest)
    found = best_between(Program.of(costs, counts, limit), fill * limit).choice
    worth = [worth for _, cycles, worth in sets if fill * limit <= cycles <= limit]
    assert (found is None) == (not worth)
    if found is not None:
        cycles, own = next((c, w) for choice, c, w in sets if choice == found)
        assert fill * limit <= cycles <= limit
        assert own == pytest.approx(max(worth), abs=1e-6)


@given(SEEDS, st.floats(0, 1))
@tried(30)
def test_the_best_between_two_limits_in_small_parts(seed, share):
    _, counts, costs = problem(seed)
    limit = share * max(cycles for _, cycles, _ in everything(counts, costs))
    program = Program.of(costs, counts, limit)
    whole = best_between(program, 0.9 * limit).choice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "FIRST", 1)
        patch.setattr(window, "MOST", 2)
        parts = best_between(program, 0.9 * limit).choice
    assert (whole is None) == (parts is None)
    if whole is not None:
        assert program.at(whole).worth == pytest.approx(program.at(parts).worth, abs=1e-6)


@given(SEEDS, st.floats(0, 1), st.integers(0, 200))
def test_the_best_between_two_limits_is_bounded_if_effort_ends(seed, share, effort):
    _, counts, costs = problem(seed)
    sets = list(everything(counts, costs))
    limit = share * max(cycles for _, cycles, _ in sets)
    inside = [worth for _, cycles, worth in sets if 0.9 * limit <= cycles <= limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "FIRST", 2)
        found = best_between(Program.of(costs, counts, limit), 0.9 * limit, effort)
    assert found.bound >= max(inside, default=-math.inf) - 1e-6
    if found.choice is not None:
        cycles, worth = next((c, w) for choice, c, w in sets if choice == found.choice)
        assert 0.9 * limit <= cycles <= limit
        assert worth <= found.bound + 1e-6


@pytest.mark.parametrize("array", [ARRAY, SystolicArray(8, 4, dataflow="os", fold_timing="serial"), load_device("gemmini")])  # fmt: skip  # noqa: E501
@pytest.mark.parametrize("name", SPACES)
def test_the_most_probable_network_within_a_target_against_all(name, array):
    for seed, target in enumerate((0.2, 0.5, 0.75, 1.0, 1.6, 9.0)):
        loss = LatencyLoss(SPACES[name], array, target=target)
        probs = probabilities(loss.network, seed)
        floor, best = best_by_hand(loss, probs)
        found = loss.choose(probs)
        assert loss.floor == pytest.approx(floor)
        assert found == loss.choose(torch.cat([*probs.values()]))
        assert (found is None) == (best is None)
        if best is not None:
            chance = sum(float(p.double().log()[loss.network.options[k].index(found[k])]) for k, p in probs.items())
            assert chance == pytest.approx(best[1], abs=1e-6)
            assert loss.exact(found).total.cycles <= loss.limit.cycles


def test_no_network_is_within_a_limit_below_the_floor():
    loss = LatencyLoss(SPACES["chain"], ARRAY, cycles=LatencyLoss(SPACES["chain"], ARRAY).floor)
    probs = probabilities(loss.network, 0)
    assert loss.choose(probs) == {name: own[0] for name, own in loss.network.options.items()}
    below = LatencyLoss(SPACES["chain"], ARRAY, cycles=loss.floor - 1)
    assert below.choose(probs) is None
    assert below.floor == loss.floor


def test_without_a_limit_every_decision_takes_its_largest_probability():
    loss = LatencyLoss(SPACES["dense"], ARRAY)
    probs = probabilities(loss.network, 3)
    assert loss.limit is None
    assert loss.choose(probs) == {name: WIDTHS[int(p.argmax())] for name, p in probs.items()}


def test_impossible_options_are_taken_only_if_nothing_else_is_left():
    network = SPACES["chain"]
    probs = {name: torch.eye(len(own))[-1] for name, own in network.options.items()}  # the largest of all
    loss = LatencyLoss(network, ARRAY, target=0.5)
    found = loss.choose(probs)
    assert 0.97 <= loss.exact(found).total.cycles / loss.limit.cycles <= 1


def test_sixty_layers_with_16_widths_each():
    layers = {}
    for i in range(60):
        follows = {"out_channels": f"w{i}"} | ({"in_channels": f"w{i - 1}"} if i else {})
        layers[f"conv{i}"] = Operation(Conv2d(64 if i else 3, 64, 3, height=8, width=8, padding="same"), follows)
    network = Network("long", layers).space({f"w{i}": tuple(range(8, 136, 8)) for i in range(60)})
    for target in (0.3, 2.0):
        loss = LatencyLoss(network, SystolicArray(16, 16), target=target)
        found = loss.choose(probabilities(network, 5))
        assert 0.97 <= loss.exact(found).total.cycles / loss.limit.cycles <= 1


def test_more_options_than_there_is_room_for_are_refused(monkeypatch):
    monkeypatch.setattr("hwcost.torch.choosing.MOST_ENTRIES", 50)
    loss = LatencyLoss(SPACES["dense"], ARRAY, target=0.5)
    with pytest.raises(InvalidValueError, match=r"number of options.*fewer options"):
        loss.choose(probabilities(loss.network, 0))


@pytest.mark.parametrize("bad", [{}, {"w0": torch.ones(3)}, {"k": torch.tensor([1.0, 2.0, 3.0])}, 7])
def test_choose_refuses_what_the_loss_refuses(bad):
    loss = LatencyLoss(SPACES["chain"], ARRAY, target=0.5)
    probs = bad if bad == 7 or not bad else probabilities(loss.network, 0) | bad
    with pytest.raises(InvalidValueError, match="probs"):
        loss.choose(probs)


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"target": 0}, "target"), ({"target": -1.0}, "target"), ({"target": math.nan}, "target"),
        ({"target": True}, "target"), ({"target": "0.5"}, "target"), ({"cycles": math.inf}, "cycles"),
        ({"seconds": 0.0}, "seconds"), ({"target": 0.5, "cycles": 100}, "target"),
    ],
)  # fmt: skip
def test_limits_that_are_refused(given, field):
    with pytest.raises(InvalidValueError) as error:
        LatencyLoss(SPACES["chain"], ARRAY, **given)
    assert error.value.field == field


def test_a_limit_in_shares_cycles_and_seconds():
    array = SystolicArray(4, 4, clock_hz=2e8)
    limits = [LatencyLoss(SPACES["chain"], array, reference=3000.0, **given).limit.cycles for given in ({"target": 0.5}, {"cycles": 1500}, {"seconds": 7.5e-6})]  # fmt: skip  # noqa: E501
    assert limits == [1500, 1500, pytest.approx(1500)]
    assert Limit.of(3000.0, array.clock_hz, target=0.5).asked == "target 0.5"


# ---------------------------------------------------------------- the weight


def searched(loss, steps, start=None, scale=1.0):
    """Adam on alphas that alone would go to the largest options, each step up worth less than the one before."""
    options = loss.network.options
    alphas = start or {name: nn.Parameter(torch.zeros(len(own))) for name, own in options.items()}
    optimiser = torch.optim.Adam(alphas.values(), lr=0.05)
    for _ in range(steps):
        probs = {name: alpha.softmax(0) for name, alpha in alphas.items()}
        sizes = [
            p @ torch.tensor(own, dtype=torch.float32) for p, own in zip(probs.values(), options.values(), strict=True)
        ]
        total, _ = loss.penalise(-scale * torch.stack(sizes).log().sum(), probs)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return alphas, {name: alpha.detach().softmax(0) for name, alpha in alphas.items()}


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("target", [0.6, 0.8])
def test_the_expected_cycles_go_to_the_target(target, scale):
    space = SPACES["chain"].space({f"w{i}": tuple(range(4, 33, 4)) for i in range(4)})
    loss = LatencyLoss(space, ARRAY, target=target, reference=60_000.0)
    _, probs = searched(loss, 500, scale=scale)
    assert loss.eval().cycles(probs).item() / loss.limit.cycles == pytest.approx(1, abs=0.08)
    assert 0.97 <= loss.exact(loss.choose(probs)).total.cycles / loss.limit.cycles <= 1
    assert loss.weight == loss.target_weight.weight != 0.1


@pytest.mark.parametrize("relaxation", ["shifted", "logistic", "linear", "straight-through"])
def test_the_weight_follows_the_exact_cycles_whatever_the_relaxation(relaxation):
    exact, soft = (LatencyLoss(SPACES["chain"], ARRAY, relaxation=each, target=0.9) for each in (None, relaxation))
    probs = {name: p.requires_grad_() for name, p in probabilities(exact.network, 4).items()}
    for loss in (exact, soft):
        loss.penalise(torch.tensor(0.0), probs)
    assert soft.weight == exact.weight != 0.1
    assert soft.cycles(probs).item() != exact.cycles(probs).item()


def test_the_weight_moves_in_steps_of_a_training_only():
    loss = LatencyLoss(SPACES["chain"], ARRAY, target=0.5)
    probs = {name: p.requires_grad_() for name, p in probabilities(loss.network, 0).items()}
    task = torch.tensor(1.0)
    total, details = loss.penalise(task, probs)
    moved = loss.weight
    off = min(loss.cycles(probs).item() / loss.limit.cycles - 1, 1.0)
    assert moved == pytest.approx(0.1 * math.exp(0.02 * off))
    assert details["penalty"].item() == pytest.approx(
        (moved + max(1, moved) * off) * details["latency"].item(), rel=1e-5
    )
    assert total.item() == pytest.approx(1 + details["penalty"].item(), rel=1e-5)
    loss.eval()
    looked = loss.penalise(task, probs)[1]
    assert loss.weight == moved
    assert looked["penalty"].item() == pytest.approx(moved * looked["latency"].item(), rel=1e-5)
    with torch.no_grad():
        loss.train().penalise(task, probs)
    assert loss.weight == moved
    loss.weight = 0.3
    assert loss.target_weight.weight == 0.3


def test_far_below_the_target_the_penalty_asks_for_more_cycles():
    loss = LatencyLoss(SPACES["chain"], ARRAY, target=5.0)
    probs = {name: p.requires_grad_() for name, p in probabilities(loss.network, 0).items()}
    assert loss.penalise(torch.tensor(0.0), probs)[0].item() < 0


def test_a_search_goes_on_after_a_stop_bit_for_bit():
    whole, first = (LatencyLoss(SPACES["dense"], ARRAY, target=0.6) for _ in range(2))
    alphas, _ = searched(whole, 20)
    alphas, _ = searched(whole, 20, alphas)
    half, _ = searched(first, 20)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = LatencyLoss(SPACES["dense"], ARRAY, target=0.6)
    second.load_state_dict(torch.load(file, weights_only=True))
    half, _ = searched(second, 20, half)
    assert second.weight == whole.weight
    assert all(torch.equal(alphas[name], half[name]) for name in alphas)
    assert copy.deepcopy(second).weight == second.weight


def test_without_a_limit_the_state_is_that_of_the_tables_alone():
    loss = LatencyLoss(SPACES["chain"], ARRAY)
    assert all(isinstance(each, torch.Tensor) for each in loss.state_dict().values())
    assert not [name for name in loss.state_dict() if "weight" in name]
    assert loss.target_weight is None


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", True])
def test_targets_of_a_weight_that_are_refused(bad):
    for wrong in ({"target": bad}, {"target": 1.0, "reference": bad}):
        with pytest.raises(InvalidValueError, match="allowed: a finite number above 0"):
            TargetWeight(**wrong)
    with pytest.raises(InvalidValueError, match="weight"):
        TargetWeight(1.0, weight=-1)


def test_a_cost_that_is_no_number_is_refused():
    target = TargetWeight(1.0)
    for cost in (math.nan, torch.tensor(math.inf)):
        with pytest.raises(InvalidValueError, match="cost is"):
            target.step(cost)
    assert target.weight == 0.1


# ---------------------------------------------------------------- in other search code


def test_alphas_of_darts_within_a_limit():
    loss = LatencyLoss(SPACES["chain"], ARRAY, target=0.5)
    alphas = {name: nn.Parameter(p.log()) for name, p in probabilities(loss.network, 1).items()}
    weight = loss.weight
    penalty = relaxed_penalty(loss, alphas)
    penalty.backward()
    assert loss.weight != weight
    assert all(alpha.grad.abs().max() > 0 for alpha in alphas.values())
    assert relaxed_choice(loss, alphas) == loss.choose({name: alpha.softmax(0) for name, alpha in alphas.items()})
    with pytest.raises(InvalidValueError, match="alphas"):
        relaxed_choice(loss, alphas | {"k": torch.zeros(2)})


BLOCK = {
    "large": Conv2d(8, 8, 5, height=4, width=4, padding="same"),
    "small": Conv2d(8, 8, 3, height=4, width=4, padding="same"),
    "skip": None,
}


@pytest.mark.parametrize("seed", range(5))
def test_candidates_of_blocks_within_a_limit_against_all(seed):
    costs = BlockCosts.of([BLOCK] * 4, ARRAY)
    weights = torch.rand(4, 3, generator=torch.Generator().manual_seed(seed))
    limit = float(costs.tables["0"].values.sum()) * 1.1
    cycles = [costs.tables[str(b)].values.tolist() for b in range(4)]
    every = [(sum(cycles[b][i] for b, i in enumerate(row)), row) for row in itertools.product(range(3), repeat=4)]
    near = [row for total, row in every if 0.97 * limit <= total <= limit] or [r for t, r in every if t <= limit]
    best = max(near, key=lambda row: math.prod(float(weights[b, i]) for b, i in enumerate(row)))
    assert costs.choose(weights, limit) == {str(b): list(BLOCK)[i] for b, i in enumerate(best)}
    assert costs.floor == 0
    one = weights[0]
    alike = costs.choose([one] * 4, limit)
    assert len(set(alike.values())) == 1


@pytest.mark.parametrize("limit", [0, -1, math.nan, "1", None])
def test_limits_of_blocks_that_are_refused(limit):
    with pytest.raises(InvalidValueError, match="limit is"):
        BlockCosts.of([BLOCK], ARRAY).choose(torch.ones(1, 3), limit)


def test_a_limit_below_the_floor_of_blocks():
    costs = BlockCosts.of([{name: BLOCK[name] for name in ("large", "small")}], ARRAY)
    assert costs.choose(torch.ones(1, 2), costs.floor - 1) is None
    assert costs.choose(torch.ones(1, 2), costs.floor) == {"0": "small"}


def soft_cycles(host, width):
    """The cycles of a convolution of a soft width, as U-Boost NAS and PLiNIO ask for them."""
    layer, shape = nn.Conv2d(16, 32, 3, padding=1), (1, 32, 8, 8)
    if host == "uboost":
        return effective_cost(layer, 16, width, shape, array=ARRAY, relaxation="linear").cycles
    spec = {**vars(layer), "out_channels": width, "output_shape": shape}
    return plinio_costs(ARRAY, relaxation="linear")["Conv2dGeneric"](spec)


@pytest.mark.parametrize("host", ["uboost", "plinio"])
def test_soft_widths_go_to_a_target(host):
    full = soft_cycles(host, torch.tensor(32.0)).item()
    target = TargetWeight(0.6 * full)
    alpha = nn.Parameter(torch.tensor(2.0))
    optimiser = torch.optim.Adam([alpha], lr=0.02)
    for _ in range(800):
        width = 32 * alpha.sigmoid()
        optimiser.zero_grad()
        (-(width / 32).log() + target.penalty(soft_cycles(host, width))).backward()
        optimiser.step()
    assert soft_cycles(host, 32 * alpha.sigmoid()).item() / full == pytest.approx(0.6, abs=0.03)


def test_more_than_one_table_of_a_decision_counts():
    tables = BlockCosts.of({"a": BLOCK, "b": BLOCK}, ARRAY).tables
    probs = {"a": torch.tensor([0.5, 0.3, 0.2])}
    both = [table._replace(axes=("a",)) for table in tables.values()]
    cycles = [2 * float(c) for c in tables["a"].values]
    assert most_probable(both, probs, cycles[0]) == {"a": 0}
    assert most_probable(both, probs, cycles[0] - 1) == {"a": 1}
    assert most_probable(both, probs, math.inf) == {"a": 0}
