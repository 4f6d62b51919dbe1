"""Energy as what a search, or advice, saves: losses and advice against the exact energy of whole networks."""

import itertools
import json
import math

import pytest
import torch

from hwcost import Conv2d, Linear, Network, Operation, SystolicArray, advise, layer_cost, network_cost
from hwcost.advice import MeasuredCosts
from hwcost.errors import InvalidValueError
from hwcost.machine.energies import with_energy
from hwcost.network.buffers import curve_of
from hwcost.network.operations import MemoryOnly
from hwcost.torch import EnergyDelayLoss, EnergyLoss, LatencyLoss

OPTIONS = {"a": (3, 4, 8), "b": (6, 16), "c": (8, 9, 24)}
BUFFERED = with_energy(SystolicArray(8, 4, buffer_bytes=2048.0, idle_watts=0.0), "45nm-textbook")
MACHINES = {
    "no buffer": with_energy(SystolicArray(8, 4), "45nm-textbook", memory_bytes=65536.0),
    "a buffer": BUFFERED,
    "fold by fold": with_energy(
        SystolicArray(4, 8, dataflow="os", fold_timing="serial", dram_bytes_per_s=2e9, buffer_bytes=4096.0),
        "40nm-accelergy",
    ),
    "a run": with_energy(
        SystolicArray(8, 4, cycles_per_run=500.0, host_bytes_per_s=1e9, vector_bytes_per_s=1e9),
        "45nm-textbook",
        memory_bytes=65536.0,
    ),
    "weights that spill": with_energy(
        SystolicArray(8, 4, weight_capacity_bytes=2000.0, spill_bytes_per_s=1e8), "45nm-textbook", memory_bytes=65536.0
    ),
}
PROBS = {"a": [0.2, 0.5, 0.3], "b": [0.6, 0.4], "c": [0.1, 0.2, 0.7]}


def network():
    layers = {
        "conv1": Operation(Conv2d(1, 8, 5, height=12, width=12, padding="same"), {"out_channels": "a"}),
        "conv2": Operation(
            Conv2d(8, 16, 3, height=12, width=12, padding="same"), {"in_channels": "a", "out_channels": "b"}
        ),
        "fc1": Operation(Linear(576, 24), {"in_features": ("b", 36), "out_features": "c"}),
        "fc2": Operation(Linear(24, 10), {"in_features": "c"}),
    }
    return Network("chain", layers)


SPACE = network().space(OPTIONS)


def residual():
    """A stem, a block whose sum is fused with its second convolution, and a head."""
    conv = {"in_channels": "a", "out_channels": "a"}
    operations = {
        "stem": Operation(Conv2d(1, 8, 3, height=12, width=12, padding=1), {"out_channels": "a"}, inputs=("",)),
        "first": Operation(
            Conv2d(8, 16, 3, height=12, width=12, padding=1),
            {"in_channels": "a", "out_channels": "b"},
            inputs=("stem",),
        ),
        "second": Operation(
            Conv2d(16, 8, 3, height=12, width=12, padding=1),
            {"in_channels": "b", "out_channels": "a"},
            inputs=("first",),
        ),
        "sum": Operation(MemoryOnly("add", 2 * 8 * 144, 8 * 144), {}, inputs=("stem", "second")),
        "head": Operation(Conv2d(8, 8, 1, height=12, width=12), dict(conv), inputs=("sum",)),
    }
    return Network("residual", operations, outputs=("head",)).space({"a": (4, 6, 8), "b": (5, 16)})


def test_what_a_residual_sum_reads_counts_in_tables_and_smooth_costs():
    space, array = residual(), BUFFERED
    every = [dict(zip(space.options, sizes, strict=True)) for sizes in itertools.product(*space.options.values())]
    exact = [network_cost(space.at(each), array).total.energy_joules for each in every]
    alone = [sum(layer_cost(layer, array).energy_joules or 0 for layer in space.at(each).values()) for each in every]
    assert all(whole > part * 1.001 for whole, part in zip(exact, alone, strict=True))
    loss = EnergyLoss(space, array).eval()
    for each, energy in zip(every, exact, strict=True):
        row = {name: torch.tensor([float(size == each[name]) for size in own]) for name, own in space.options.items()}
        assert loss.joules(row).item() == pytest.approx(energy, rel=1e-6)
    smooth = EnergyLoss(space, array, relaxation="straight-through").eval().joules(row).item()
    assert smooth == pytest.approx(exact[-1], rel=0.1)
    assert smooth > alone[-1]
    found = advise(space, array, objective="energy", budget=0.7)
    assert sum(found.layers.values()) == pytest.approx(exact[-1])
    for width in found.widths:
        after = network_cost(space.at({width.name: width.cheaper.size}), array).total.energy_joules
        assert width.cheaper.saved == pytest.approx(exact[-1] - after)
    fits = [each for each, energy in zip(every, exact, strict=True) if energy <= 0.7 * exact[-1]]
    assert {"a": 8, "b": 16} | dict(found.budget.sizes) in fits


def choices():
    for sizes in itertools.product(*OPTIONS.values()):
        yield dict(zip(OPTIONS, sizes, strict=True))


def probability(choice):
    return math.prod(PROBS[name][OPTIONS[name].index(size)] for name, size in choice.items())


def tensors(grad=False):
    return {name: torch.tensor(own, dtype=torch.float64, requires_grad=grad) for name, own in PROBS.items()}


def one_hot(choice):
    return {name: torch.tensor([float(each == choice[name]) for each in own]) for name, own in OPTIONS.items()}


def joules(choice, array):
    return network_cost(SPACE.at(choice), array).total.energy_joules


@pytest.mark.parametrize("array", MACHINES.values(), ids=MACHINES)
def test_the_expected_energy_is_the_mean_over_all_networks(array):
    loss = EnergyLoss(SPACE, array)
    mean = sum(probability(choice) * joules(choice, array) for choice in choices())
    assert loss.joules(tensors(grad=True)).item() == pytest.approx(mean, rel=1e-12)
    assert loss(tensors(grad=True)).item() == pytest.approx(mean / joules({}, array), rel=1e-12)
    assert loss.floor == pytest.approx(min(joules(choice, array) for choice in choices()))


@pytest.mark.parametrize("array", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("share", [0.6, 0.9, 1.5])
def test_the_chosen_network_is_the_most_probable_one_within_the_energy(array, share):
    loss = EnergyLoss(SPACE, array, target=share)
    within = [choice for choice in choices() if joules(choice, array) <= loss.limit.cycles]
    filling = [choice for choice in within if joules(choice, array) >= 0.97 * loss.limit.cycles]
    found = loss.choose(tensors())
    if not within:
        assert found is None
    else:
        assert joules(found, array) <= loss.limit.cycles
        assert probability(found) == pytest.approx(max(map(probability, filling or within)))


def test_the_gradient_of_the_energy_is_right():
    loss = EnergyLoss(SPACE, BUFFERED, reference=1e-6)
    values = tensors(grad=True)
    assert torch.autograd.gradcheck(lambda *own: loss(dict(zip(values, own, strict=True))), tuple(values.values()))


@pytest.mark.parametrize("relaxation", ["linear", "shifted", "logistic"])
def test_the_smooth_energy_is_that_of_the_expected_sizes(relaxation):
    loss = EnergyLoss(SPACE, BUFFERED, relaxation=relaxation)
    sizes = {name: torch.tensor(OPTIONS[name]).double() @ own for name, own in tensors().items()}
    expected = network_cost(SPACE.at(sizes), BUFFERED, relaxation=relaxation).total.energy_joules
    values = tensors(grad=True)
    found = loss.joules(values)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    found.backward()
    assert all(torch.isfinite(own.grad).all() for own in values.values())
    # more probability for a wider layer takes more energy
    assert all(own.grad[-1] > own.grad[0] for own in values.values())


def test_a_limit_in_joules_moves_the_weight():
    loss = EnergyLoss(SPACE, BUFFERED, joules=0.5 * joules({}, BUFFERED))
    before = loss.weight
    total, details = loss.penalise(torch.tensor(1.0), tensors(grad=True))
    assert set(details) == {"task_loss", "energy", "penalty"}
    assert loss.weight > before
    assert total > 1.0


def test_energy_times_delay():
    loss = EnergyDelayLoss(SPACE, BUFFERED, weight=0.25)
    today = network_cost(network(), BUFFERED).total.energy_delay
    for choice in choices():
        exact = network_cost(SPACE.at(choice), BUFFERED).total.energy_delay
        assert loss.eval()(one_hot(choice)).item() == pytest.approx(exact / today, rel=1e-5)
    assert loss.choose(tensors()) == {"a": 4, "b": 6, "c": 24}
    loss.train()
    values = tensors(grad=True)
    total, details = loss.penalise(torch.tensor(2.0), values)
    assert total.item() == pytest.approx(2 + 0.25 * details["energy"].item() * details["latency"].item())
    total.backward()
    assert all(own.grad[-1] > own.grad[0] for own in values.values())


def test_descent_finds_the_network_that_takes_least_energy():
    loss = EnergyLoss(SPACE, BUFFERED)
    logits = {name: torch.zeros(len(own), requires_grad=True) for name, own in OPTIONS.items()}
    optimiser = torch.optim.Adam(logits.values(), lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        loss({name: own.softmax(0) for name, own in logits.items()}).backward()
        optimiser.step()
    found = loss.choose({name: own.softmax(0) for name, own in logits.items()})
    assert joules(found, BUFFERED) == pytest.approx(loss.floor)


def test_a_machine_without_figures_is_refused():
    for kind in (EnergyLoss, EnergyDelayLoss):
        with pytest.raises(InvalidValueError, match="no figures of energy"):
            kind(SPACE, SystolicArray(8, 4))
    with pytest.raises(InvalidValueError, match="no figures of energy"):
        advise(network(), SystolicArray(8, 4), objective="energy")
    with pytest.raises(InvalidValueError, match="reference"):
        EnergyDelayLoss(SPACE, BUFFERED, reference=1e-6)
    with pytest.raises(InvalidValueError, match="weight"):
        EnergyDelayLoss(SPACE, BUFFERED, weight=-1)
    with pytest.raises(InvalidValueError, match="task_loss"):
        EnergyDelayLoss(SPACE, BUFFERED).penalise(1.0, tensors(grad=True))


def test_joules_limit_no_latency():
    with pytest.raises(TypeError, match="joules"):
        LatencyLoss(SPACE, BUFFERED, joules=1.0)


# ---------------------------------------------------------------- advice


@pytest.mark.parametrize("array", MACHINES.values(), ids=MACHINES)
def test_advice_on_energy_is_that_of_whole_networks(array):
    found = advise(network(), array, objective="energy")
    today = network_cost(network(), array).total.energy_joules
    assert found.measure == "energy_joules"
    spilled = 0.0 if not array.may_spill else today - sum(found.layers.values())
    assert sum(found.layers.values()) + spilled == pytest.approx(today)
    for each in found.widths:
        for step in (each.cheaper, each.best):
            after = network_cost(network().at({each.name: step.size}), array).total.energy_joules
            assert step.saved == pytest.approx(today - after)
            assert step.network_speed_up == pytest.approx(today / after)


@pytest.mark.parametrize("array", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_budget_of_energy_against_all_networks(array, share):
    found = advise(SPACE, array, objective="energy", budget=share).budget
    today = network_cost(network(), array).total.energy_joules
    fits = [each for each in choices() if joules(each, array) <= share * today]
    best = max(sum(gemm.macs for layer in SPACE.at(each).values() for gemm in layer.gemms()) for each in fits)
    assert found.cycles <= share * today
    assert best <= found.macs * (1 + found.gap) + 1e-9
    assert found.gap > 0 or found.macs == best


def test_advice_names_the_buffer_with_which_layers_read_once():
    array = SystolicArray(8, 4, buffer_bytes=1024.0)
    found = advise(network(), array)
    (point,) = curve_of(network(), [array])
    assert found.buffers
    assert set(found.buffers) <= set(point.again)
    for name, enough in found.buffers.items():
        layer = network()[name]
        once = layer_cost(layer, SystolicArray(8, 4, buffer_bytes=1e9)).dram_bytes
        assert layer_cost(layer, SystolicArray(8, 4, buffer_bytes=enough, reload_weight=0.0)).dram_bytes == once
        assert layer_cost(layer, SystolicArray(8, 4, buffer_bytes=0.95 * enough, reload_weight=0.0)).dram_bytes > once
    assert advise(network(), SystolicArray(8, 4)).buffers == {}


def test_measured_costs_have_no_energy():
    with pytest.raises(InvalidValueError, match="objective"):
        advise(network(), MeasuredCosts({"fc2": {(8, 10): 1e-6}}), objective="energy")
    with pytest.raises(InvalidValueError, match="one of: time, energy"):
        advise(network(), BUFFERED, objective="power")


LIST = "name,kind,k,c,f,h,w\nconv,conv2d,3,16,65,14,14\nhead,linear,,9360,10,,\n"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "net.csv"
    file.write_text(LIST)
    return str(file)


def test_the_command_counts_joules(path, hwcost):
    machine = ["--s1", "16", "--s2", "16", "--buffer", "4k", "--energy", "45nm-textbook"]
    code, shown, err = hwcost("advise", path, *machine, "--for", "energy")
    assert code == 0
    assert err.startswith("Note: energy: joules_per_sram_byte of 45nm-textbook is assumed")  # below 8 kB
    assert " uJ, " in shown.splitlines()[0]
    assert "with a larger buffer it would not: conv" in shown
    found = json.loads(hwcost("advise", path, *machine, "--for", "energy", "--json")[1])
    assert found["measure"] == "energy_joules"
    assert found["buffers"]["conv"] > 4096


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--s1", "8", "--s2", "8", "--for", "energy"], "add --energy, one of: 45nm-textbook"),
        (["--s1", "8", "--s2", "8", "--for", "watts"], "one of: time, energy"),
        (["--device", "gemmini", "--for", "energy"], "gemmini has no figures of energy"),
    ],
)
def test_energy_that_is_not_known_is_refused(path, args, words, refused):
    assert words in refused("advise", path, *args)
