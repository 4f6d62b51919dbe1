"""Terms of a run: a slow count by hand, what adds layers up and what does not, and limits that hold them."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from refusals import refused
from trying import tried

from hwcost import (
    Conv2d,
    InvalidValueError,
    Linear,
    MatMul,
    Network,
    SystolicArray,
    from_torch,
    layer_cost,
    network_cost,
)
from hwcost.advice import advise
from hwcost.model.moves import Move
from hwcost.network.operations import MemoryOnly, Operation
from hwcost.network.pricing import network_figure
from hwcost.network.run import (
    Ends,
    RunLayers,
    run_of,
    spilled_weights,
    stored_by_layer,
    stored_elements,
    tied_layers,
)
from hwcost.reports import summarise
from hwcost.sweep import sweep

MACHINE = SystolicArray(
    8, 16, clock_hz=2e8, cycles_per_run=700.0, host_bytes_per_s=4e8, weight_capacity_bytes=9000.0, filter_multiple=16,
    spill_bytes_per_s=1e8, vector_bytes_per_s=8e8, bytes_per_element=2.0,
)  # fmt: skip
LAYERS = {
    "conv": Conv2d(3, 20, 3, height=12, width=10, padding=1),
    "relu": MemoryOnly("relu", 2400, 2400),
    "grouped": Conv2d(20, 30, 3, height=12, width=10, groups=5),
    "scores": MatMul(m=5, n=7, k=9, batch=4),
    "fc": Linear(60, 50, batch=2),
    "head": Linear(50, 10, batch=2),
    "softmax": MemoryOnly("softmax", 20, 20),
}


def stored_by_hand(layer, multiple):
    """Elements of weights, filter by filter."""
    if isinstance(layer, (MemoryOnly, MatMul)):
        return 0
    filters = layer.out_channels if isinstance(layer, Conv2d) else layer.out_features
    while filters % multiple:
        filters += 1
    if isinstance(layer, Linear):
        return layer.in_features * filters
    return math.prod(layer.kernel_size) * layer.in_channels // layer.groups * filters


def run_by_hand(layers, array, ends):
    """Seconds on top of the products, and the layers that do not fit."""
    size = array.bytes_per_element
    seconds = array.cycles_per_run / array.clock_hz + size * sum(ends) / array.host_bytes_per_s
    for layer in layers.values():
        if isinstance(layer, MemoryOnly):
            seconds += size * (layer.reads + layer.writes) / array.vector_bytes_per_s
    kept = list(layers)
    while kept and sum(stored_by_hand(layers[name], array.filter_multiple) for name in kept) * size > (
        array.weight_capacity_bytes
    ):
        kept.pop()
    left = [name for name in layers if name not in kept and stored_by_hand(layers[name], array.filter_multiple)]
    bytes_left = size * sum(stored_by_hand(layers[name], array.filter_multiple) for name in left)
    return seconds + bytes_left / array.spill_bytes_per_s, left


@given(
    capacity=st.sampled_from([1.0, 500.0, 2000.0, 9000.0, 13000.0, 1e9]),
    multiple=st.sampled_from([1, 16, 64]),
    names=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, unique=True),
)
@tried(60)
def test_a_run_by_hand(capacity, multiple, names):
    layers = {name: LAYERS[name] for name in LAYERS if name in names}
    assume(not all(isinstance(layer, MemoryOnly) for layer in layers.values()))
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=capacity, filter_multiple=multiple)
    bare = SystolicArray(8, 16, clock_hz=2e8)
    report = network_cost(layers, array)
    seconds, left = run_by_hand(layers, array, _ends(layers))
    assert report.total.seconds == pytest.approx(network_cost(layers, bare).total.seconds + seconds)
    assert list(report.run.spilled) == left
    assert network_figure(layers, array) == report.total.cycles
    summary = summarise(Network.of_layers("net", layers), array)
    assert summary.cost.cycles == report.total.cycles
    assert sum(row.cost.cycles for row in summary.rows) == pytest.approx(report.total.cycles)
    assert summary.breakdown.pe_cycles == pytest.approx(report.total.pe_cycles)


def _ends(layers):
    own = list(layers.values())
    sides = [
        (e.reads, e.writes)
        if isinstance(e, MemoryOnly)
        else (e.gemms()[0].elements("inputs"), e.gemms()[-1].elements("outputs"))
        for e in own
    ]
    return sides[0][0], sides[-1][1]


def test_a_layer_alone_has_no_term_of_a_run():
    bare = SystolicArray(8, 16, clock_hz=2e8)
    for layer in (LAYERS["conv"], LAYERS["fc"]):
        assert layer_cost(layer, MACHINE).cycles == layer_cost(layer, bare).cycles
    assert layer_cost(LAYERS["relu"], MACHINE).seconds == pytest.approx(2 * 4800 / 8e8)
    assert layer_cost(LAYERS["relu"], bare).cycles == 0


def test_a_machine_without_such_terms_has_no_run():
    report = network_cost(LAYERS, SystolicArray(8, 16, vector_bytes_per_s=1e9))
    assert report.run is None
    assert report.layers["relu"].cycles > 0
    assert report.total.cycles == pytest.approx(sum(cost.cycles for cost in report.layers.values()))


def test_the_ends_that_a_network_states_count():
    network = Network("net", {name: Operation(layer) for name, layer in LAYERS.items()}, ends=Ends(5000, 3000))
    shorter = dataclasses.replace(network, ends=Ends(0, 0))
    more = network_cost(network, MACHINE).total.seconds - network_cost(shorter, MACHINE).total.seconds
    assert more == pytest.approx(2 * 8000 / 4e8)
    assert network_cost(network.at({}), MACHINE).total == network_cost(network, MACHINE).total
    with refused("Network.ends"):
        dataclasses.replace(network, ends=(1, 2))


def test_sizes_as_arrays_are_the_same_one_by_one():
    widths, array = np.array([4, 20, 33, 64]), dataclasses.replace(MACHINE, weight_capacity_bytes=3000.0)
    layers = {"a": Linear(40, widths), "b": Linear(widths, 30), "c": Linear(30, 16)}
    whole = network_cost(layers, array)
    for index, width in enumerate(widths.tolist()):
        one = network_cost({"a": Linear(40, width), "b": Linear(width, 30), "c": Linear(30, 16)}, array)
        assert whole.total.cycles[index] == pytest.approx(one.total.cycles)


def test_reports_name_what_does_not_fit():
    summary = summarise(LAYERS, dataclasses.replace(MACHINE, weight_capacity_bytes=3000.0))
    rows = {row.name: row for row in summary.of("run")}
    assert set(rows) == {"(run)", "(weights)"}
    assert "grouped" in rows["(weights)"].shape
    assert "head" in rows["(weights)"].shape
    assert rows["(weights)"].cost.bound == "memory"
    machine = dataclasses.replace(MACHINE, weight_capacity_bytes=3000.0)
    size = machine.bytes_per_element
    stored = size * sum(stored_elements(layer, machine) for layer in LAYERS.values())
    spilled = size * run_of(LAYERS, machine).spilled_elements
    words = rows["(weights)"].shape
    assert words.startswith(f"{spilled / 1e3:.3g} kB of ")
    assert (
        f": {stored / 1e3:.3g} kB stored with filters padded to a multiple of {machine.filter_multiple}, room for 3 kB"
        in words
    )
    plain = summarise(LAYERS, dataclasses.replace(machine, filter_multiple=1))
    assert "padded" not in {row.name: row for row in plain.rows}["(weights)"].shape


def test_sweeps_are_the_network_on_each_array():
    found = sweep(LAYERS, rows=[8, 16, 40], cols=[8, 20], base=MACHINE)
    for rows, cols, cycles in zip(found.rows, found.cols, found.cycles, strict=True):
        array = dataclasses.replace(MACHINE, rows=int(rows), cols=int(cols))
        assert cycles == network_cost(LAYERS, array).total.cycles


SPACE = {
    "a.out_features": (8, 16, 40), "b.in_features": (10, 90), "b.out_features": (8, 33, 64), "c.out_features": (4, 30)
}  # fmt: skip


def _network():
    return Network.of_layers("net", {"a": Linear(30, 40), "b": Linear(90, 64), "c": Linear(64, 30)})


@given(
    capacity=st.sampled_from([100.0, 1500.0, 4000.0, 7000.0]),
    rate=st.sampled_from([3e6, 1e8]),
    budget=st.sampled_from([0.3, 0.5, 0.7, 0.9]),
)
@tried(25, deadline=None)
def test_budgets_hold_with_weights_that_do_not_fit(capacity, rate, budget):
    network = _network().space(SPACE)
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=capacity, spill_bytes_per_s=rate, bytes_per_element=1.0)
    today = network_cost(network, array).total
    choices = [dict(zip(SPACE, sizes, strict=True)) for sizes in itertools.product(*SPACE.values())]
    totals = [network_cost(network.at(choice), array).total for choice in choices]
    within = [total for total in totals if total.cycles <= budget * today.cycles]
    assume(within)
    found = advise(network, array, budget=budget).budget
    after = network_cost(network.at(found.sizes), array).total
    assert found.cycles == after.cycles <= budget * today.cycles
    best = max(total.macs for total in within)
    assert found.macs == after.macs <= best <= found.macs * (1 + found.gap) * (1 + 1e-9)


TIED = Network(
    "tied",
    {
        "a": Operation(Linear(40, 64), {"in_features": "w", "out_features": "h"}, weights="one"),
        "b": Operation(Linear(64, 30), {"in_features": "h", "out_features": "v"}),
        "again": Operation(Linear(40, 64), {"in_features": "w", "out_features": "h"}, weights="one"),
        "other": Operation(Linear(64, 30), {"in_features": "h", "out_features": "v"}, weights="other"),
    },
)


def test_weights_that_layers_share_are_stored_once():
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=2.0 * 40 * 64, filter_multiple=1)
    assert spilled_weights(TIED.at({}), array) == (("b", "other"), 2 * 64 * 30)
    apart = {name: each.layer for name, each in TIED.operations.items()}
    assert spilled_weights(apart, array) == (("b", "again", "other"), 40 * 64 + 2 * 64 * 30)
    assert spilled_weights(TIED.at({}).only(["again", "other"]), array) == (("other",), 64 * 30)
    run = network_cost(TIED, array).run
    assert (run.spilled, run.spilled_elements) == (("b", "other"), 2 * 64 * 30)
    row = next(row for row in summarise(TIED, array).rows if row.name == "(weights)")
    assert f"{2 * (40 * 64 + 2 * 64 * 30) / 1e3:.3g} kB stored" in row.shape
    points = sweep(TIED, rows=[8], cols=[16], base=array)
    assert points.cycles[0] == pytest.approx(network_cost(TIED, array).total.cycles)
    with pytest.raises(InvalidValueError, match="weights"):
        Operation(Linear(4, 4), weights=3)


@given(
    capacity=st.sampled_from([100.0, 2000.0, 4000.0, 7000.0]),
    rate=st.sampled_from([3e6, 1e8]),
    budget=st.sampled_from([0.3, 0.5, 0.7, 0.9]),
)
@tried(20, deadline=None)
def test_budgets_hold_with_weights_that_layers_share(capacity, rate, budget):
    options = {"w": (8, 24, 40), "h": (16, 33, 64), "v": (4, 30)}
    network = TIED.space(options)
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=capacity, spill_bytes_per_s=rate, bytes_per_element=1.0)
    choices = [dict(zip(options, sizes, strict=True)) for sizes in itertools.product(*options.values())]
    totals = [network_cost(network.at(choice), array).total for choice in choices]
    limit = budget * network_cost(network, array).total.cycles
    within = [total for total in totals if total.cycles <= limit]
    assume(within)
    found = advise(network, array, budget=budget).budget
    best = max(total.macs for total in within)
    assert network_cost(network.at(found.sizes), array).total.cycles == found.cycles <= limit
    assert found.macs <= best <= found.macs * (1 + found.gap) * (1 + 1e-9)


def test_an_importer_knows_weights_that_modules_share():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(16, 16) for _ in range(3))
            self.b.weight = self.a.weight
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
            self.own = nn.Parameter(torch.ones(32, 16))

        def forward(self, x):
            x = self.c(self.c(self.b(self.a(x))))
            first, second = self.own.chunk(2)
            x = nn.functional.linear(nn.functional.linear(x, first), second)
            return self.attention(x, x, x)[0]

    network = from_torch(Tied(), (1, 4, 16))
    tied = tied_layers(network)
    assert tied == {"b", "c (2)"}
    stored = stored_by_layer(network.at({}), MACHINE)
    assert stored["a"] == stored["c"] == 256
    assert stored["b"] == stored["c (2)"] == 0
    assert sum(stored.values()) == sum(p.numel() for n, p in Tied().named_parameters() if "bias" not in n)
    assert TIED.space(step=8).weights == TIED.weights == {"a": "one", "again": "one", "other": "other"}


def test_files_know_weights_that_operators_share():
    pytest.importorskip("onnx")
    import graphs
    import onnx

    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["y"]),
        onnx.helper.make_node("MatMul", ["y", "w"], ["z"]),
        onnx.helper.make_node("MatMul", ["z", "v"], ["out"]),
    ]
    weights = [graphs.tensor(name, (8, 8)) for name in "wv"]
    read = graphs.network_of(graphs.build(nodes, {"x": ((4, 8),)}, weights))
    assert len(tied_layers(read)) == 1
    assert sum(stored_by_layer(read.at({}), dataclasses.replace(MACHINE, filter_multiple=1)).values()) == 128


def test_tflite_files_know_weights_that_operators_share():
    pytest.importorskip("tflite")
    import lite

    net = lite.Net("FLOAT32")
    net.linear(net.linear(net.linear(net.input("x", (1, 8)), "a", 8), "b", 8), "c", 8)
    assert not tied_layers(lite.network_of(net))
    net.tensors["b/w"]["data"] = net.tensors["a/w"]["data"]
    read = lite.network_of(net)
    assert len(tied_layers(read)) == 1
    assert sum(stored_by_layer(read.at({}), dataclasses.replace(MACHINE, filter_multiple=1)).values()) == 128


def test_steps_of_advice_save_what_does_not_fit_any_more():
    network = Network.of_layers("net", {"a": Linear(100, 64), "b": Linear(64, 17)})
    array = SystolicArray(
        8, 8, weight_capacity_bytes=100 * 64 + 64 * 16.0, filter_multiple=16, spill_bytes_per_s=1e6, clock_hz=1e6
    )
    step = advise(network, array)["b.out_features"].cheaper
    saved = (
        network_cost(network, array).total.cycles - network_cost(network.at({"b.out_features": 16}), array).total.cycles
    )
    assert (step.size, step.saved) == (16, saved)
    assert saved > 64 * 16


@pytest.mark.parametrize("capacity", [150.0, 2000.0, 6500.0])
def test_a_loss_at_whole_sizes_is_the_cost(capacity):
    torch = pytest.importorskip("torch")
    from hwcost.torch import LatencyLoss

    network = _network().space(SPACE)
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=capacity, bytes_per_element=1.0)
    loss = LatencyLoss(network, array).eval()
    totals = {}
    for places in itertools.product(*(range(len(sizes)) for sizes in SPACE.values())):
        probs = {name: torch.eye(len(sizes))[i] for (name, sizes), i in zip(SPACE.items(), places, strict=True)}
        choice = {name: sizes[i] for (name, sizes), i in zip(SPACE.items(), places, strict=True)}
        totals[tuple(choice.values())] = loss.exact(choice).total.cycles
        assert float(loss.cycles(probs)) == pytest.approx(totals[tuple(choice.values())], rel=1e-5)
    assert loss.floor == pytest.approx(min(totals.values()))
    soft = {name: torch.full((len(sizes),), 1 / len(sizes), requires_grad=True) for name, sizes in SPACE.items()}
    loss.cycles(soft).backward()
    assert all(torch.isfinite(each.grad).all() for each in soft.values())
    for target in (0.2, 0.5, 0.8):
        limited = LatencyLoss(network, array, target=target)
        chosen = limited.choose({name: each.detach() for name, each in soft.items()})
        if chosen is None:
            assert limited.floor > limited.limit.cycles
        else:
            assert totals[tuple(chosen[name] for name in SPACE)] <= limited.limit.cycles


def test_smooth_sizes_have_a_gradient_through_what_does_not_fit():
    torch = pytest.importorskip("torch")
    width = torch.tensor(60.0, requires_grad=True)
    array = SystolicArray(8, 8, weight_capacity_bytes=3000.0, spill_bytes_per_s=1e6)
    elements = spilled_weights(
        RunLayers({"a": Linear(40, width), "b": Linear(width, 40)}.items()), array, _relaxation("shifted")
    )[1]
    elements.backward()
    assert 1800 <= elements.item() <= 1900
    assert float(width.grad) == pytest.approx(80, rel=0.05)


def _relaxation(name):
    from hwcost.relaxation import RELAXATIONS

    return RELAXATIONS[name]


def test_a_module_is_pruned_to_a_limit_with_all_of_these_terms():
    torch = pytest.importorskip("torch")
    from hwcost import from_torch
    from hwcost.torch import prune

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(32, 10),
    ).eval()  # fmt: skip
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=3000.0)
    images = torch.rand(2, 3, 8, 8)
    network = from_torch(model, example_inputs=images)
    assert network.ends == Ends(images.numel(), 20)
    today = network_cost(network, array).total.cycles
    with pytest.warns(UserWarning, match="no data"):
        found = prune(model, images, array, target=0.6)
    after = from_torch(found.model, example_inputs=images)
    assert after.ends == network.ends
    assert network_cost(after, array).total.cycles <= 0.6 * today


# ---------------------------------------------------------------- what a review found


def test_the_expectation_of_a_small_space_counts_what_does_not_fit_exactly():
    torch = pytest.importorskip("torch")
    from hwcost.torch import LatencyLoss

    network = _network().space(SPACE)
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=2000.0, bytes_per_element=1.0, spill_bytes_per_s=1e6)
    loss = LatencyLoss(network, array).eval()
    shares = {
        name: np.linspace(1, 2, len(sizes)) / np.linspace(1, 2, len(sizes)).sum() for name, sizes in SPACE.items()
    }
    mean = 0.0
    for places in itertools.product(*(range(len(sizes)) for sizes in SPACE.values())):
        choice = {name: sizes[i] for (name, sizes), i in zip(SPACE.items(), places, strict=True)}
        weight = math.prod(shares[name][i] for name, i in zip(SPACE, places, strict=True))
        mean += weight * loss.exact(choice).total.cycles
    assert float(loss.cycles({name: torch.tensor(own) for name, own in shares.items()})) == pytest.approx(mean)


def test_a_large_space_takes_what_does_not_fit_at_the_expected_sizes(monkeypatch):
    torch = pytest.importorskip("torch")
    import hwcost.torch.loss as module

    monkeypatch.setattr(module, "MOST_JOINT", 1)
    network = _network().space(SPACE)
    array = dataclasses.replace(MACHINE, weight_capacity_bytes=2000.0, bytes_per_element=1.0)
    loss = module.LatencyLoss(network, array, target=0.5)
    even = {name: torch.full((len(sizes),), 1 / len(sizes)) for name, sizes in SPACE.items()}
    chosen = loss.choose(even)
    assert chosen is None or loss.exact(chosen).total.cycles <= loss.limit.cycles
    one = {name: torch.eye(len(sizes))[-1] for name, sizes in SPACE.items()}
    largest = {name: sizes[-1] for name, sizes in SPACE.items()}
    assert float(loss.eval().cycles(one)) == pytest.approx(loss.exact(largest).total.cycles, rel=1e-5)


@pytest.mark.parametrize("last", ["conv", "relu"])
def test_ends_that_a_network_does_not_state_follow_its_widths(last):
    conv = Conv2d(3, 16, 3, height=9, width=9, padding=1)
    layers = {"conv": Operation(conv, {"out_channels": "width"})}
    if last == "relu":
        layers["relu"] = Operation(
            MemoryOnly("relu", 16 * 81, 16 * 81), {"reads": ("width", 81), "writes": ("width", 81)}
        )
    network = Network("net", layers)
    for width in (4, 16):
        at = network.at({"width": width})
        operation = network.costing(MACHINE)["(run)"]
        assert operation.at({"width": width}) == Ends(3 * 81, 81 * width)
        assert network_cost(at, MACHINE).run.ends.cycles == layer_cost(Ends(243, 81 * width), MACHINE).cycles


def test_an_open_kernel_keeps_the_ends():
    network = Network.of_layers("net", {"conv": Conv2d(3, 16, 3, height=9, width=9, padding=1)})
    space = network.space({"conv.kernel_size": (1, 3), "conv.out_channels": (4, 16)})
    operation = space.costing(MACHINE)["(run)"]
    assert operation.at({"conv.out_channels": 4, "conv.in_channels": 3}) == Ends(243, 4 * 81)


def test_sizes_without_products_may_be_arrays_at_the_ends():
    reads = np.array([8, 9])
    found = network_cost({"l": Linear(reads, 4), "m": MemoryOnly("relu", reads, np.array([4, 5]))}, MACHINE).total
    for index in (0, 1):
        one = network_cost({"l": Linear(8 + index, 4), "m": MemoryOnly("relu", 8 + index, 4 + index)}, MACHINE).total
        assert found.cycles[index] == pytest.approx(one.cycles)


@pytest.mark.parametrize("rate", ["dram_bytes_per_s", "input_bytes_per_s", "vector_bytes_per_s"])
def test_a_move_of_a_layer_of_ones_own_counts_in_layer_and_network(rate):
    @dataclasses.dataclass(frozen=True)
    class Moves(Linear):
        def moves(self):
            return (Move(1000, rate),)

    array, plain = SystolicArray(8, 8, dram_bytes_per_s=1e9, vector_bytes_per_s=1e9), Linear(20, 30)
    layer = Moves(20, 30)
    assert layer_cost(layer, array).cycles == layer_cost(plain, array).cycles + 1000
    assert network_cost([layer], array).total.cycles == layer_cost(layer, array).cycles
