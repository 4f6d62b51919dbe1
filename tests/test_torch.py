"""The latency loss against brute force, and the input that it refuses."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from trying import tried

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    RELAXATIONS,
    Conv2d,
    InvalidValueError,
    Linear,
    MatMul,
    Network,
    NoGradientError,
    Operation,
    SystolicArray,
    layer_cost,
    load_device,
    network_cost,
)

torch = pytest.importorskip("torch")

from hwcost.devices import read_device  # noqa: E402
from hwcost.network.operations import MemoryOnly, Unsupported, Width  # noqa: E402
from hwcost.torch import (  # noqa: E402
    CostTable,
    LatencyLoss,
    cost_table,
    expected_cost,
    expected_sizes,
    space_tables,
)
from hwcost.torch.adapters.plinio import plinio_costs  # noqa: E402

ARRAY = SystolicArray(8, 8)
MODES = [None, *RELAXATIONS]
COMPILES = pytest.mark.skipif(
    torch.__version__ < (2, 13),
    reason="torch.compile(fullgraph=True) of a LatencyLoss works in PyTorch 2.13 and fails in 2.6 to 2.9",
)


OPTIONS = {"a": (4, 8, 12), "b": (6, 17), "k": (3, 5), "c": (8, 9, 16, 33)}


def layers():
    """A chain of four layers whose widths follow each other; the second also has a kernel to choose."""
    return {
        "conv1": Operation(Conv2d(1, 4, 5, height=12, width=12, padding="same"), {"out_channels": "a"}),
        "conv2": Operation(
            Conv2d(4, 6, 3, height=12, width=12, padding="same"),
            {"in_channels": "a", "out_channels": "b", "kernel_size": "k"},
        ),
        "fc1": Operation(Linear(216, 8), {"in_features": ("b", 36), "out_features": "c"}),
        "fc2": Operation(Linear(8, 10), {"in_features": "c"}),
    }


def chain():
    """The four layers with their widths and one kernel open."""
    return Network("chain", layers()).space(OPTIONS)


def random_probs(space, seed=0, dtype=torch.float64, grad=False):
    generator = torch.Generator().manual_seed(seed)
    probs = {}
    for name, options in space.options.items():
        p = torch.rand(len(options), generator=generator, dtype=torch.float64).softmax(0)
        probs[name] = p.to(dtype).requires_grad_(grad)
    return probs


def choices(space):
    for values in itertools.product(*space.options.values()):
        yield dict(zip(space.options, values, strict=True))


def one_hot(space, choice, dtype=torch.float64):
    return {
        name: torch.tensor([float(value == choice[name]) for value in options], dtype=dtype)
        for name, options in space.options.items()
    }


# ---------------------------------------------------------------- tables

TEMPLATES = [
    Conv2d(4, 4, 3, height=9, width=9, stride=2, padding=1),
    Conv2d(4, 4, 3, height=9, width=9, groups=2),
    Linear(4, 4, batch=3),
    MatMul(m=5, n=4, k=4, batch=2),
]


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: type(t).__name__)
def test_tables_hold_the_cost_of_every_pair(template, dataflow, timing):
    ins, outs = [2, 8, 10, 64], [2, 4, 18]
    array = SystolicArray(8, 16, dataflow=dataflow, fold_timing=timing)
    for relaxation in ("exact", "shifted"):
        table = cost_table(template, ins, outs, array=array, relaxation=relaxation)
        assert table.decisions == ("in", "out")
        assert table.values.dtype == torch.float64
        assert table.values.shape == (4, 3)
        for i, j in itertools.product(range(4), range(3)):
            sizes = dict(zip(template.WIDTHS, (ins[i], outs[j]), strict=True))
            layer = type(template)(**{**vars(template), **sizes})
            cycles = layer_cost(layer, array, relaxation=relaxation).cycles
            assert table.values[i, j].item() == pytest.approx(cycles, rel=0 if relaxation == "exact" else 1e-14)


def test_a_shared_decision_is_the_diagonal():
    options = [4, 8, 9, 40]
    layer = Conv2d(4, 4, 3, height=9, width=9)
    full = cost_table(layer, options, options, array=ARRAY).values
    shared = cost_table(layer, options, options, array=ARRAY, decisions=("w", "w"))
    assert shared.decisions == ("w",)
    assert torch.equal(shared.values, full.diagonal())
    with pytest.raises(InvalidValueError, match="shared decision"):
        cost_table(layer, options, options[:-1], array=ARRAY, decisions=("w", "w"))


@pytest.mark.parametrize("bad", ["conv", None, Operation(Linear(4, 4))])
def test_a_table_needs_a_layer_with_widths(bad):
    with pytest.raises(InvalidValueError, match="WIDTHS"):
        cost_table(bad, [4], [4], array=ARRAY)


@pytest.mark.parametrize("bad", [[0], [], [4, 4], [2.5], [True], ["8"]])
def test_options_of_a_table_are_sizes(bad):
    with pytest.raises(InvalidValueError, match="'in'"):
        cost_table(Linear(4, 4), bad, [4], array=ARRAY)
    with pytest.raises(InvalidValueError, match="'out'"):
        cost_table(Linear(4, 4), [4], bad, array=ARRAY)


def test_tables_of_a_space_hold_the_cost_of_every_choice():
    space = chain()
    tables = space_tables(space, ARRAY)
    assert {name: table.decisions for name, table in tables.items()} == {
        "conv1": ("a",), "conv2": ("a", "b", "k"), "fc1": ("b", "c"), "fc2": ("c",),
    }  # fmt: skip
    for choice in choices(space):
        report = network_cost(space.at(choice), ARRAY)
        for name, table in tables.items():
            index = tuple(space.options[d].index(choice[d]) for d in table.decisions)
            assert table.values[index].item() == report.layers[name].cycles


# ---------------------------------------------------------------- the expectation


def brute_force(space, array, probs):
    total = 0.0
    for choice in choices(space):
        weight = math.prod(float(probs[d][space.options[d].index(v)].detach()) for d, v in choice.items())
        total += weight * network_cost(space.at(choice), array).total.cycles
    return total


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_the_expectation_is_the_mean_over_all_networks(dataflow, timing):
    space, array = chain(), SystolicArray(8, 16, dataflow=dataflow, fold_timing=timing)
    probs = random_probs(space)
    expected = brute_force(space, array, probs)
    assert expected_cost(space_tables(space, array).values(), probs).item() == pytest.approx(expected, rel=1e-12)
    loss = LatencyLoss(space, array, reference=1000).eval()
    assert loss(probs).item() == pytest.approx(expected / 1000, rel=1e-12)


@given(st.integers(0, 10**6))
@tried(20)
def test_the_expectation_holds_for_any_probabilities(seed):
    space = chain()
    probs = random_probs(space, seed)
    cost = expected_cost(space_tables(space, ARRAY).values(), probs)
    assert cost.item() == pytest.approx(brute_force(space, ARRAY, probs), rel=1e-12)


def test_the_expectation_has_the_right_gradient():
    space = chain()
    tables, probs = space_tables(space, ARRAY), random_probs(space, grad=True)

    def price(*vectors):
        return expected_cost(tables.values(), dict(zip(probs, vectors, strict=True)))

    assert torch.autograd.gradcheck(price, tuple(probs.values()))
    assert torch.autograd.gradgradcheck(price, tuple(probs.values()))
    # multilinear: the slope along one option is the cost of having it for sure
    (slope,) = torch.autograd.grad(price(*probs.values()), probs["a"])
    for i in range(3):
        sure = probs | {"a": torch.eye(3, dtype=torch.float64)[i]}
        other = expected_cost([t for t in tables.values() if "a" in t.decisions], sure)
        assert slope[i].item() == pytest.approx(other.item(), rel=1e-12)


def test_two_tables_may_share_decisions():
    table = CostTable(torch.arange(6.0).reshape(2, 3), ("p", "q"))
    probs = {"p": torch.tensor([0.25, 0.75]), "q": torch.tensor([0.5, 0.0, 0.5])}
    one = 0.25 * (0 + 2) / 2 + 0.75 * (3 + 5) / 2
    assert expected_cost(table, probs).item() == one
    assert expected_cost([table, table], probs).item() == 2 * one
    cube = CostTable(torch.arange(8.0).reshape(2, 2, 2), ("p", "r", "s"))
    assert expected_cost(cube, dict.fromkeys("prs", probs["p"])).shape == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_expectation_has_the_dtype_of_the_probabilities(dtype):
    space = chain()
    fixed = Network("fixed", layers() | {"fixed": Operation(Linear(100, 10))}).space(OPTIONS)
    probs = random_probs(space, dtype=dtype)
    for searched in (space, fixed):
        cost = expected_cost(space_tables(searched, ARRAY).values(), probs)
        assert cost.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)  # half precision blurs the stairs
        assert cost.shape == ()
    open_ones, fixed_ones = (expected_cost(space_tables(s, ARRAY).values(), probs).item() for s in (space, fixed))
    assert fixed_ones - open_ones == pytest.approx(13 * 2, rel=0.02, abs=64 if dtype == torch.bfloat16 else 1e-2)


def test_errors_of_the_expectation_name_the_decision_and_the_shape():
    table = CostTable(torch.ones(2, 3), ("p", "q"))
    p, q = torch.ones(2), torch.ones(3)
    with pytest.raises(InvalidValueError, match="'q'"):
        expected_cost(table, {"p": p})
    with refused("probs['q']", (2,), "(3,)"):
        expected_cost(table, {"p": p, "q": p})
    with pytest.raises(InvalidValueError, match=r"shape \(3,\)"):
        expected_cost(table, {"p": p, "q": [0.1, 0.2, 0.7]})
    with pytest.raises(InvalidValueError, match=r"shape \(3,\)"):
        expected_cost(table, {"p": p, "q": q[:, None]})
    with pytest.raises(InvalidValueError, match="at least one table"):
        expected_cost([], {"p": p})


def test_expected_sizes():
    sizes = expected_sizes({"a": (4, 8), "b": [1, 2, 3]}, {"a": torch.tensor([0.25, 0.75]), "b": torch.eye(3)[2]})
    assert {name: size.item() for name, size in sizes.items()} == {"a": 7.0, "b": 3.0}


# ---------------------------------------------------------------- the smooth cost


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_the_smooth_cost_is_the_cost_at_the_expected_sizes(relaxation):
    space = chain()
    probs = random_probs(space)
    report = network_cost(space.at(expected_sizes(space.options, probs)), ARRAY, relaxation=relaxation)
    widths = {name: np.array([float(p @ torch.tensor(space.options[name]).double())]) for name, p in probs.items()}
    expected = network_cost(space.at(widths), ARRAY, relaxation=relaxation)
    assert report.total.cycles.item() == pytest.approx(expected.total.cycles[0], rel=1e-12)
    for name, cost in report.layers.items():
        assert cost.cycles.item() == pytest.approx(expected.layers[name].cycles[0], rel=1e-12)
    loss = LatencyLoss(space, ARRAY, relaxation=relaxation).eval()
    assert loss.cycles(probs).item() == pytest.approx(report.total.cycles.item(), rel=1e-12)
    with pytest.raises(InvalidValueError, match=r"probs\['b'\] is missing"):
        expected_sizes(space.options, {"a": probs["a"]})


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_has_the_right_gradient(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=100)
    probs = random_probs(space, seed=5, grad=True)

    def price(*vectors):
        return loss(dict(zip(probs, vectors, strict=True)))

    row = None if mode is None else RELAXATIONS[mode]
    if row is None or (row.slope(0.3) != 0 and row.value(0.3) != 1.0):
        assert torch.autograd.gradcheck(price, tuple(probs.values()), rtol=1e-4)
    elif mode != "exact":
        price(*probs.values()).backward()
        assert all(bool(torch.isfinite(p.grad).all()) and p.grad.abs().sum() > 0 for p in probs.values())


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("mode", MODES)
def test_one_hot_probabilities_cost_the_choice(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1).eval()
    for choice in itertools.islice(choices(space), 0, None, 7):
        exact = loss.exact(choice)
        assert exact.total == network_cost(space.at(choice), ARRAY).total
        assert type(exact.total.cycles) is int
        got = loss(one_hot(space, choice)).item()
        if mode in (None, "exact", "straight-through"):
            assert got == exact.total.cycles
        elif mode == "shifted":
            assert got == pytest.approx(exact.total.cycles, rel=0.3)


def test_the_reference_may_be_cycles_or_a_choice():
    space = chain()
    probs = random_probs(space)
    choice = {"a": 8, "b": 6, "k": 3, "c": 9}
    by_choice = LatencyLoss(space, ARRAY, reference=choice).eval()
    assert by_choice.reference == by_choice.exact(choice).total.cycles
    by_number = LatencyLoss(space, ARRAY, reference=by_choice.reference).eval()
    assert by_choice(probs) == by_number(probs)
    assert by_choice(one_hot(space, choice)).item() == 1.0
    off_grid = LatencyLoss(space, ARRAY, reference={"a": 5, "b": 6, "k": 4, "c": 100})
    assert off_grid.reference > 0


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, True, "100"])
def test_bad_references_are_refused(bad):
    with pytest.raises(InvalidValueError, match="reference is"):
        LatencyLoss(chain(), ARRAY, reference=bad)


def test_the_default_reference_is_the_network_as_it_is():
    loss = LatencyLoss(chain(), ARRAY)
    assert loss.reference == network_cost(Network("chain", layers()), ARRAY).total.cycles
    assert LatencyLoss(chain(), ARRAY, reference={"b": 17}).reference == loss.exact({"b": 17}).total.cycles


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, True, "1", None])
def test_bad_weights_are_refused(bad):
    with pytest.raises(InvalidValueError, match="weight is"):
        LatencyLoss(chain(), ARRAY, reference=1, weight=bad)


def test_unknown_relaxations_are_refused():
    with pytest.raises(InvalidValueError, match="relaxation"):
        LatencyLoss(chain(), ARRAY, reference=1, relaxation="nope")


@pytest.mark.parametrize("weight", [0, 0.5, 3])
def test_penalise_adds_the_weighted_latency(weight):
    space = chain()
    loss = LatencyLoss(space, ARRAY, reference=1000, weight=weight)
    probs = random_probs(space, grad=True)
    parameter = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    total, details = loss.penalise(parameter**2, probs)
    latency = loss(probs).item()
    assert total.item() == pytest.approx(4.0 + weight * latency)
    assert {name: value.item() for name, value in details.items()} == {
        "task_loss": 4.0, "latency": pytest.approx(latency), "penalty": pytest.approx(weight * latency),
    }  # fmt: skip
    assert all(value.shape == () and not value.requires_grad for value in details.values())
    total.backward()
    assert parameter.grad.item() == 4.0
    alone = {name: p.detach().clone().requires_grad_() for name, p in probs.items()}
    loss(alone).backward()
    for name, p in probs.items():
        torch.testing.assert_close(p.grad, weight * alone[name].grad)


@pytest.mark.parametrize("mode", MODES)
def test_probabilities_without_gradient_are_refused_in_training(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1000)
    probs = random_probs(space)
    with pytest.raises(NoGradientError, match=r"eval\(\)"):
        loss(probs)
    with pytest.raises(NoGradientError):
        loss.penalise(torch.tensor(1.0), one_hot(space, {"a": 4, "b": 6, "k": 3, "c": 8}))
    with torch.no_grad():
        quiet = loss(probs)
    assert loss.eval()(probs) == quiet
    loss.train()
    mixed = probs | {"a": probs["a"].clone().requires_grad_()}
    assert loss(mixed) == quiet


def test_decisions_are_exactly_those_of_the_space():
    space = chain()
    probs = random_probs(space, grad=True)
    for mode in (None, "shifted"):
        loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1)
        for given_probs, field in (
            ({}, "probs['a']"),
            ({k: p for k, p in probs.items() if k != "c"}, "probs['c']"),
            (probs | {"more": probs["a"]}, "probs"),
        ):
            with pytest.raises(InvalidValueError) as caught:
                loss(given_probs)
            assert caught.value.field == field
        with pytest.raises(InvalidValueError, match=r"probs\['a'\] is \(2,\)"):
            loss(probs | {"a": probs["b"]})
        with pytest.raises(InvalidValueError, match=r"shape \(3,\)"):
            loss(probs | {"a": torch.ones(1, 3, requires_grad=True)})
        with pytest.raises(InvalidValueError, match="'more'"):
            loss.exact({"more": 4})


# ---------------------------------------------------------------- as a module


def test_tables_are_buffers():
    loss = LatencyLoss(chain(), ARRAY, reference=1000)
    state = loss.state_dict()
    assert not list(loss.parameters())
    stored = [value for name, value in state.items() if name.startswith("table_")]
    assert len(stored) == len(loss.tables) == 4
    for table, value in zip(loss.tables, stored, strict=True):
        assert torch.equal(table.values, value)
    other = LatencyLoss(chain(), SystolicArray(4, 4), reference=1000)
    probs = random_probs(chain())
    assert other.eval()(probs) != loss.eval()(probs)
    single = random_probs(chain(), dtype=torch.float32)
    assert other(single) != loss(single)
    other.load_state_dict(state)
    assert other(probs) == loss(probs)
    assert other(single) == loss(single)
    other.load_state_dict({name: 2 * value for name, value in state.items()}, assign=True)
    assert other(single) == 2 * loss(single)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_latency_has_the_dtype_of_the_probabilities(mode, dtype):
    loss = LatencyLoss(chain(), ARRAY, relaxation=mode, reference=1000).eval()
    expected = loss(random_probs(chain())).item()
    moved = copy.deepcopy(loss).to(dtype)
    assert all(table.values.dtype == dtype for table in moved.tables)
    for module in (loss, moved):
        latency = module(random_probs(chain(), dtype=dtype))
        assert latency.dtype == dtype
        assert latency.shape == ()
        assert latency.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_copies_and_pickles_give_the_same_latency(mode):
    loss = LatencyLoss(chain(), ARRAY, relaxation=mode, reference=1000).eval()
    probs = random_probs(chain())
    for copied in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert copied(probs) == loss(probs)
        assert copied.network == loss.network


@COMPILES
@pytest.mark.parametrize("mode", [None, "exact", "straight-through", "shifted"])
def test_compiles_without_graph_breaks(mode, compiled):
    """The loss without a relaxation, with one of each kind; every relaxation is traced in test_relaxation.py."""
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1000)
    pairs = []
    for call in (loss, compiled(loss)):
        probs = random_probs(space, dtype=torch.float32, grad=True)
        latency = call(probs)
        if latency.requires_grad:
            latency.backward()
        pairs.append([latency.detach(), *(p.grad for p in probs.values())])
    for eager, traced in zip(*pairs, strict=True):
        torch.testing.assert_close(traced, eager)


@pytest.mark.parametrize("mode", MODES)
def test_vmap_and_grad_transforms(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1000)
    batch = [random_probs(space, seed) for seed in range(3)]
    stacked = {name: torch.stack([probs[name] for probs in batch]) for name in space.options}
    with torch.no_grad():
        latencies = torch.func.vmap(loss)(stacked)
        torch.testing.assert_close(latencies, torch.stack([loss(probs) for probs in batch]))
    if mode == "exact":
        return
    gradients = torch.func.vmap(torch.func.grad(loss))(stacked)
    for i, probs in enumerate(batch):
        leaves = {name: p.clone().requires_grad_() for name, p in probs.items()}
        loss(leaves).backward()
        for name, leaf in leaves.items():
            torch.testing.assert_close(gradients[name][i], leaf.grad)


def test_functional_call_uses_the_given_buffers():
    loss = LatencyLoss(chain(), ARRAY, reference=1000).eval()
    probs = random_probs(chain())
    doubled = {name: 2 * value for name, value in loss.state_dict().items()}
    assert torch.func.functional_call(loss, doubled, (probs,)) == 2 * loss(probs)
    single = random_probs(chain(), dtype=torch.float32)
    expected = loss(single)
    for factor in (2.0, 4.0, 8.0, 0.5, 1.0):
        state = {name: factor * value for name, value in loss.state_dict().items()}
        assert torch.func.functional_call(loss, state, (single,)) == factor * expected
        del state
    assert loss(single) == expected


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "exact"])
def test_descent_finds_the_cheapest_network(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference={"a": 4, "b": 6, "k": 3, "c": 8})
    alpha = {name: torch.zeros(len(options), requires_grad=True) for name, options in space.options.items()}
    optimizer = torch.optim.Adam(alpha.values(), lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        loss({name: a.softmax(0) for name, a in alpha.items()}).backward()
        optimizer.step()
    found = {name: space.options[name][int(a.argmax())] for name, a in alpha.items()}
    assert found == {"a": 4, "b": 6, "k": 3, "c": 8} or loss.exact(found).total.cycles == min(
        loss.exact(choice).total.cycles for choice in choices(space)
    )


@pytest.mark.parametrize("bad", [Network("closed", layers()), layers(), None, "resnet18", Linear(4, 4)], ids=repr)
def test_the_error_for_closed_networks_shows_how_to_open_them(bad):
    for call in (LatencyLoss, space_tables):
        with pytest.raises(InvalidValueError, match=r"network\.space\(") as raised:
            call(bad, ARRAY)
        assert raised.value.field.startswith("network")


@pytest.mark.parametrize("bad", ["8x8", None, SystolicArray(np.array([8, 16]), 8)], ids=repr)
def test_the_array_is_one_machine(bad):
    with pytest.raises(InvalidValueError, match="array"):
        LatencyLoss(chain(), bad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("mode", MODES)
def test_the_latency_on_a_gpu_is_the_same(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1000).eval()
    probs = random_probs(space)
    expected = loss(probs)
    on_gpu = copy.deepcopy(loss).cuda()({name: p.cuda() for name, p in probs.items()})
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), expected)


def test_probabilities_in_one_row_give_the_same_latency():
    space = chain()
    probs = random_probs(space)
    row = torch.cat(list(probs.values())).detach().requires_grad_()
    for relaxation in (None, *RELAXATIONS):
        loss = LatencyLoss(space, ARRAY, relaxation=relaxation, reference=1000.0)
        assert torch.equal(loss(row), loss.eval()(probs))
    loss.train()
    with pytest.raises(InvalidValueError, match="a tensor of shape"):
        loss(row[:-1])
    with pytest.raises(NoGradientError):
        loss(row.detach())


@pytest.mark.parametrize("relaxation", [None, "shifted", "logistic"])
def test_autocast_does_not_blur_the_stairs(relaxation):
    space = chain()
    probs = random_probs(space, dtype=torch.float32)
    loss = LatencyLoss(space, ARRAY, relaxation=relaxation, reference=1.0).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(probs)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(probs))


def test_a_shared_depthwise_table_stays_depthwise():
    template = Conv2d(8, 8, 3, height=6, width=6, padding=1, groups=8)
    table = cost_table(template, [8, 16, 24], [8, 16, 24], array=ARRAY, decisions=("w", "w"))
    for width, cycles in zip((8, 16, 24), table.values.tolist(), strict=True):
        layer = Conv2d(width, width, 3, height=6, width=6, padding=1, groups=width)
        assert cycles == layer_cost(layer, ARRAY).cycles


def test_tables_may_be_a_mapping_or_a_list():
    space = chain()
    tables, probs = space_tables(space, ARRAY), random_probs(space)
    assert torch.equal(expected_cost(tables, probs), expected_cost(list(tables.values()), probs))


def test_a_shared_decision_in_a_full_table_is_its_diagonal():
    table = CostTable(torch.tensor([[1.0, 9.0], [3.0, 4.0]]), ("a", "a"))
    assert expected_cost(table, {"a": torch.tensor([0.5, 0.5])}).item() == 2.5
    cube = CostTable(torch.arange(12.0).reshape(2, 3, 2), ("a", "b", "a"))
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([0.2, 0.3, 0.5])
    expected = torch.einsum("aba,a,b->", cube.values, p, q)
    assert torch.allclose(expected_cost(cube, {"a": p, "b": q}), expected)


# ---------------------------------------------------------------- sizes that are sums of widths


def branches():
    """A concatenation of three widths: read by one layer, kept by the next, produced by another; and half a width."""
    a, b, c = (("a", 1), ("b", 1), ("c", 2))
    depthwise = Conv2d(22, 22, 3, height=6, width=6, padding=1, groups=22)
    joined = Operation(Conv2d(22, 4, 3, height=6, width=6, padding=1), {"in_channels": (a, b, c), "out_channels": "a"})
    return Network(
        "branches",
        {
            "a": Operation(Linear(9, 4, batch=7), {"out_features": "a"}),
            "b": Operation(Linear(9, 8, batch=7), {"out_features": "b"}),
            "c": Operation(Linear(9, 5, batch=7), {"out_features": "c"}),
            "joined": joined,
            "depthwise": Operation(depthwise, dict.fromkeys(("in_channels", "out_channels", "groups"), (a, b, c))),
            "half": Operation(
                Linear(16 + 4, 22), {"in_features": (("b", 2), ("d", Fraction(1, 2))), "out_features": (a, b, c)}
            ),
            "d": Operation(Linear(9, 8), {"out_features": "d"}),
        },
    )


def test_the_expectation_over_sums_is_the_mean_over_all_networks():
    array = SystolicArray(8, 8, dram_bytes_per_s=4e8)
    options = {"a": (4, 1, 9), "b": (8, 3), "c": (5, 2, 7), "d": (8, 4)}
    space = branches().space(options)
    tables = space_tables(space, array)
    for seed in range(3):
        probs = random_probs(space, seed)
        expected = brute_force(space, array, probs)
        assert expected_cost(tables, probs).item() == pytest.approx(expected, rel=1e-12)
        assert LatencyLoss(space, array, reference=1.0).eval()(probs).item() == pytest.approx(expected, rel=1e-12)
    fixed = branches().space({name: options[name] for name in ("a", "c")})  # the other widths stay as they are
    probs = random_probs(fixed)
    assert expected_cost(space_tables(fixed, array), probs).item() == pytest.approx(brute_force(fixed, array, probs))


def test_a_sum_has_one_axis_of_its_distinct_values():
    table = space_tables(branches().space({"a": (4, 8), "b": (4, 8), "c": (2, 4)}), ARRAY)["depthwise"]
    assert table.values.shape == (4,)  # 12, 16, 20, 24
    assert table.decisions == ("a", "b", "c")
    (axis,) = table.axes
    assert axis.length == 4
    assert axis.decisions == ("a", "b", "c")


def test_many_widths_in_a_sum_take_little_memory():
    names = [f"w{i}" for i in range(60)]
    layers = {name: Operation(Linear(8, 32), {"out_features": name}) for name in names}
    layers["sum"] = Operation(Linear(32 * 60, 8), {"in_features": tuple((name, 1) for name in names)})
    space = Network("dense", layers).space(step=8)
    table = space_tables(space, ARRAY)["sum"]
    assert table.values.shape == (60 * 3 + 1,)  # of 4 ** 60 networks
    uniform = {name: torch.full((4,), 0.25, dtype=torch.float64) for name in names}
    by_sum = [layer_cost(Linear(8 * i, 8), ARRAY).cycles for i in range(60, 241)]
    counts = np.ones(1)
    for _ in names:
        counts = np.convolve(counts, [0.25] * 4)
    assert expected_cost(table, uniform).item() == pytest.approx(float(counts @ by_sum), rel=1e-12)


@COMPILES
def test_sums_compile_without_graph_breaks(compiled):
    space = branches().space({"a": (4, 1), "b": (8, 3), "c": (5, 2), "d": (8, 4)})
    loss, probs = LatencyLoss(space, ARRAY), random_probs(space, grad=True)
    torch.testing.assert_close(compiled(loss)(probs), loss(probs))


def test_sums_have_higher_gradients_and_transforms():
    space = branches().space({"a": (4, 1), "b": (8, 3), "c": (5, 2), "d": (8, 4)})
    loss = LatencyLoss(space, ARRAY)
    probs = random_probs(space, grad=True)

    def price(*vectors):
        return loss(dict(zip(probs, vectors, strict=True)))

    assert torch.autograd.gradcheck(price, tuple(probs.values()))
    assert torch.autograd.gradgradcheck(price, tuple(probs.values()))
    batch = [random_probs(space, seed) for seed in range(3)]
    stacked = {name: torch.stack([each[name] for each in batch]) for name in space.options}
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(loss)(stacked), torch.stack([loss(each) for each in batch]))
    for copied in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(copied(probs), loss(probs))


def test_free_operations_are_left_out_and_unsupported_ones_named():
    layers = chain().operations | {"relu": Operation(MemoryOnly("relu", 8, 8))}
    with_relu = Network("relu", layers).space(OPTIONS)
    probs = random_probs(with_relu)
    assert LatencyLoss(with_relu, ARRAY).eval()(probs) == LatencyLoss(chain(), ARRAY).eval()(probs)
    unknown = Network("fft", layers | {"spectrum": Operation(Unsupported("fft", "not a product"))}).space(OPTIONS)
    for mode in (None, "shifted"):
        with pytest.raises(InvalidValueError, match=r"'spectrum'.*fft.*skip_unsupported"):
            LatencyLoss(unknown, ARRAY, relaxation=mode)
        loss = LatencyLoss(unknown, ARRAY, relaxation=mode, skip_unsupported=True).eval()
        assert loss(probs) == LatencyLoss(with_relu, ARRAY, relaxation=mode).eval()(probs)
        assert loss.exact({}).unsupported == ("spectrum",)
    only = Network("relu", {"relu": layers["relu"]}, {"w": Width(8)}).space({"w": (4, 8)})
    with pytest.raises(InvalidValueError, match="at least one layer"):
        LatencyLoss(only, ARRAY)


def no_shares(space):
    """Values that are no probabilities, each by the decision that is named."""
    probs = random_probs(space, grad=True)
    for values in ([0.0, 0.0, 0.0], [-1.0, 1.5, 0.5], [1.0, 1.0, 1.0], [0.4, math.nan, 0.6]):
        yield probs | {"a": torch.tensor(values, dtype=torch.float64, requires_grad=True)}


@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_no_probabilities_are_refused(mode):
    space = chain()
    loss = LatencyLoss(space, ARRAY, relaxation=mode, reference=1000)
    tables = space_tables(space, ARRAY)
    for probs in no_shares(space):
        row = torch.cat(list(probs.values()))
        for call in (
            lambda probs=probs: loss(probs),
            lambda row=row: loss(row),
            lambda probs=probs: loss.penalise(torch.tensor(1.0), probs),
            lambda probs=probs: expected_cost(tables, probs),
            lambda probs=probs: expected_sizes(space.options, probs),
        ):
            with pytest.raises(InvalidValueError, match=r"pass softmax\(logits\)") as caught:
                call()
            assert (caught.value.field, len(caught.value.value)) == ("probs['a']", 3)
        loss(random_probs(space, grad=True))  # so that the second round is not the first call


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("hard", [False, True])
def test_samples_in_any_precision_are_probabilities(dtype, hard):
    space = chain()
    loss, tables = LatencyLoss(space, ARRAY, reference=1000), space_tables(space, ARRAY)
    for seed in range(20):
        torch.manual_seed(seed)
        logits = {name: torch.randn(len(sizes), dtype=dtype) for name, sizes in space.options.items()}
        probs = {
            name: torch.nn.functional.gumbel_softmax(each.requires_grad_(), hard=hard) for name, each in logits.items()
        }
        assert loss(probs) > 0
        assert expected_cost(tables, probs) > 0


def test_the_loss_of_the_task_is_a_tensor():
    with pytest.raises(InvalidValueError) as caught:
        LatencyLoss(chain(), ARRAY).penalise(0.7, random_probs(chain(), grad=True))
    assert (caught.value.field, caught.value.value) == ("task_loss", 0.7)


def test_a_device_can_be_given_by_name():
    named, loaded = (LatencyLoss(chain(), each) for each in ("gemmini", load_device("gemmini")))
    assert (named.array, named.reference) == (loaded.array, loaded.reference)
    tables = [cost_table(Linear(8, 8), [8], [8, 24], array=each).values for each in ("gemmini", load_device("gemmini"))]
    assert torch.equal(*tables)
    costs = [plinio_costs(each)["LinearGeneric"] for each in ("gemmini", load_device("gemmini"))]
    layer = {"in_features": torch.tensor(12.0), "out_features": 8, "output_shape": (1, 8)}
    assert costs[0](layer) == costs[1](layer)
    with pytest.raises(InvalidValueError, match="did you mean 'gemmini'") as caught:
        LatencyLoss(chain(), "gemini")
    assert caught.value.field == "array"


def test_sizes_for_which_no_tile_fits_are_refused_on_every_replay():
    """Recorded operations have no checks, and an infinite minimum becomes NaN."""
    conv = Operation(Conv2d(39, 8, 5, height=13, width=13), {"out_channels": "width"})
    space = Network("one", {"conv": conv}).space({"width": (1, 48)})
    # 722 bytes hold a tile of every option, and 204 one of a single filter
    array = SystolicArray(8, 8, dataflow="os", buffer_bytes=722.0, double_buffered=True, dram_bytes_per_s=1e9)
    loss = LatencyLoss(space, array, relaxation="linear")
    loss.array = dataclasses.replace(array, buffer_bytes=500.0)  # a loss refuses options that do not fit
    few, many = (torch.tensor(row, requires_grad=True) for row in ([1.0, 0.0], [0.0, 1.0]))
    for row in (few, many, few):
        if row is many:
            for call in (loss._cost, loss):
                with pytest.raises(InvalidValueError, match=r"buffer_bytes.*no tile fits"):
                    call(row)
        else:
            assert loss.cycles(row).item() == pytest.approx(loss._cost(row).item())


def test_a_loss_names_the_device_that_it_was_given_by_name():
    network = Network.of_layers("mlp", {"a": Linear(8, 8), "b": Linear(8, 4)}, is_chain=True)
    space = network.space({"a.out_features": [4, 8]})
    named, plain = LatencyLoss(space, "gemmini"), LatencyLoss(space, read_device("gemmini").array)
    assert "on gemmini: 16 x 16" in repr(named)
    assert named.facts()["array"] == f"gemmini: {plain.facts()['array']}"
    assert "gemmini" not in repr(plain)
