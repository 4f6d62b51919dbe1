"""Activations that stay between layers, against every choice there is; peak memory; networks that keep them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from hwcost import EXACT, Conv2d, InvalidValueError, Linear, Network, SystolicArray, layer_cost, network_cost
from hwcost.devices import read_device
from hwcost.model.formula import price
from hwcost.network.operations import MemoryOnly, Operation
from hwcost.network.peak import peak_of
from hwcost.network.residency import plan_of
from hwcost.reports import compare_networks, summarise


def chain(rng, length):
    """Pointwise and 3 x 3 convolutions one after the other."""
    side, channels = int(rng.integers(6, 14)), int(rng.integers(8, 40))
    layers = {}
    for index in range(length):
        filters, kernel = int(rng.integers(8, 80)), int(rng.choice([1, 3]))
        layers[f"l{index}"] = Conv2d(channels, filters, kernel, height=side, width=side, padding="same")
        channels = filters
    return Network.of_layers("chain", layers, is_chain=True)


def alone(layers, array, kept):
    """What layers move one by one if some results stay, written down once more."""
    names, moved = list(layers), 0.0
    for place, (_name, layer) in enumerate(layers.items()):
        held = [each for each in (place - 1, place) if each in kept]
        taken = sum(float(layers[names[each]].gemms()[0].elements("outputs")) for each in held)
        if array.buffer_bytes - taken <= 0:
            return np.inf
        on_chip = (*(["inputs"] if place - 1 in kept else []), *(["outputs"] if place in kept else []))
        machine = dataclasses.replace(array, buffer_bytes=array.buffer_bytes - taken)
        try:
            moved += price(layer.gemms()[0].with_sizes(on_chip=on_chip), machine, EXACT).cost.dram_bytes
        except InvalidValueError:
            return np.inf
    return moved


@pytest.mark.parametrize("seed", range(6))
def test_no_choice_of_results_in_a_chain_moves_less(seed):
    rng = np.random.default_rng(seed)
    network = chain(rng, 5)
    array = SystolicArray(8, 8, buffer_bytes=float(rng.integers(4_000, 16_000)))
    found = plan_of(network, array)
    subsets = itertools.chain.from_iterable(itertools.combinations(range(4), size) for size in range(5))
    best = min(alone(dict(network), array, set(kept)) for kept in subsets)
    # tilings are chosen with the weight of loading the array, so that bytes may differ a little
    assert found.bytes == pytest.approx(best, rel=0.01)
    assert found.bytes_alone == alone(dict(network), array, set())
    report = network_cost(network, array, keep_activations=True)
    assert report.total.dram_bytes == pytest.approx(found.bytes, rel=1e-12)
    assert report.total.macs == network_cost(network, array).total.macs


def residual(side=14, channels=32):
    """A block of two convolutions whose input is added to their output, and a layer after it."""
    conv = Conv2d(channels, channels, 3, height=side, width=side, padding="same")

    size = channels * side * side
    operations = {
        "stem": Operation(conv, inputs=("",)),
        "a": Operation(conv, inputs=("stem",)),
        "relu": Operation(MemoryOnly("relu", size, size), inputs=("a",)),
        "b": Operation(conv, inputs=("relu",)),
        "add": Operation(MemoryOnly("add", 2 * size, size), inputs=("b", "stem")),
        "last": Operation(conv, inputs=("add",)),
    }
    return Network("residual", operations, outputs=("last",))


def test_a_skip_connection_stays_or_is_read_again():
    network, size = residual(), 32 * 14 * 14
    roomy = plan_of(network, SystolicArray(8, 8, buffer_bytes=1e6))
    weights, ends = 4 * 9 * 32 * 32, 2 * size
    assert roomy.bytes == weights + ends
    assert {kept.name: kept.until for kept in roomy.kept} == {"stem": "b", "relu": "b", "add": "last"}
    # each layer alone reads and writes its own, and the block reads the other side of its sum
    assert roomy.bytes_alone == weights + 8 * size + size
    tight = plan_of(network, SystolicArray(8, 8, buffer_bytes=3000.0))
    assert not tight.kept
    assert tight.bytes == tight.bytes_alone


def test_bytes_and_energy_follow_what_stays():
    network = residual()
    array = SystolicArray(
        8, 8, buffer_bytes=60_000.0, dram_bytes_per_s=1e8, joules_per_mac=1e-13, joules_per_sram_byte=1e-12,
        joules_per_dram_byte=1e-10,
    )  # fmt: skip
    kept, plain = network_cost(network, array, keep_activations=True), network_cost(network, array)
    assert kept.total.dram_bytes == kept.plan.bytes < plain.total.dram_bytes
    assert kept.total.dram_joules == pytest.approx(1e-10 * kept.plan.bytes)
    assert kept.total.energy_joules < plain.total.energy_joules
    assert kept.total.cycles < plain.total.cycles
    assert plain.plan is None
    slow = dataclasses.replace(array, vector_bytes_per_s=1e9)
    apart = network_cost(network, slow, keep_activations=True)
    assert apart.total.dram_bytes == pytest.approx(apart.plan.bytes)
    assert set(apart.plan.steps) == set(network)


def test_the_peak_is_what_is_alive_at_once():
    network, size = residual(), 32 * 14 * 14
    peak = peak_of(network, SystolicArray(8, 8, buffer_bytes=1e6))
    assert peak.activations == {"stem": 2 * size, "a": 2 * size, "b": 3 * size, "last": 2 * size}
    assert (peak.layer, peak.weights, peak.fits) == ("b", 4 * 9 * 32 * 32, True)
    assert not peak_of(network, SystolicArray(8, 8, buffer_bytes=5e4)).fits


def test_what_cannot_be_planned_is_refused():
    unknown = Network.of_layers("unknown", {"a": Linear(8, 8), "b": Linear(8, 8)})
    with pytest.raises(InvalidValueError, match="which layer reads what"):
        plan_of(unknown, SystolicArray(8, 8, buffer_bytes=1e5))
    known = Network.of_layers("known", dict(unknown), is_chain=True)
    for array in (SystolicArray(8, 8), SystolicArray(8, 8, buffer_bytes=1e5, output_buffer_bytes=1e5)):
        with pytest.raises(InvalidValueError, match="nothing can stay"):
            plan_of(known, array)
    wide = Network.of_layers("wide", {"a": Linear(1, 10_000), "b": Linear(10_000, 1)}, is_chain=True)
    with pytest.raises(InvalidValueError, match=r"buffer_bytes.*fits"):
        plan_of(wide, SystolicArray(64, 64, buffer_bytes=30.0))
    assert layer_cost(Linear(1, 10), SystolicArray(8, 8)).dram_bytes == 21


@pytest.mark.parametrize(
    "fields",
    [{"channel_multiple": 16}, {"bytes_per_output": 4.0}, {"bytes_per_element": 2.0}, {"double_buffered": True},
     {"weight_buffer_bytes": 9e3}, {"partial_bytes": 2.0}],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_is_planned_is_what_is_priced(fields):
    rng = np.random.default_rng(11)
    for buffer in (6_000.0, 20_000.0, 80_000.0):
        array = SystolicArray(16, 16, buffer_bytes=buffer, dram_bytes_per_s=1e9, **fields)
        for network in (chain(rng, 4), residual()):
            report = network_cost(network, array, keep_activations=True)
            assert report.total.dram_bytes == pytest.approx(report.plan.bytes, rel=1e-12)
            assert report.plan.bytes <= report.plan.bytes_alone


def graph(rng, length):
    """Convolutions, activations and sums of earlier results, one of them perhaps of a result with itself."""
    side, channels = int(rng.integers(4, 12)), int(rng.integers(4, 40))
    size, made, operations = channels * side * side, [""], {}
    for index in range(length):
        kind, other = rng.integers(4), made[int(rng.integers(max(0, len(made) - 3), len(made)))]
        if kind == 0 and len(made) > 2:
            layer, inputs = MemoryOnly("add", 2 * size, size), tuple(dict.fromkeys((made[-1], other)))
        elif kind == 1:
            layer, inputs = MemoryOnly("relu", size, size), (made[-1],)
        else:
            kernel = int(rng.choice([1, 3]))
            layer, inputs = Conv2d(channels, channels, kernel, height=side, width=side, padding="same"), (other,)
        operations[f"o{index}"] = Operation(layer, inputs=inputs)
        made.append(f"o{index}")
    operations["end"] = Operation(Conv2d(channels, channels, 1, height=side, width=side), inputs=(made[-1],))
    return Network("graph", operations, outputs=("end",))


ENERGY = {"joules_per_mac": 1e-13, "joules_per_sram_byte": 1e-12, "joules_per_dram_byte": 1e-10}
MACHINES = (
    {}, {"channel_multiple": 16}, {"bytes_per_output": 4.0}, {"double_buffered": True}, {"arrays": 3},
    {"vector_bytes_per_s": 1e9}, {"vector_bytes_per_s": 1e9, "bytes_per_output": 2.0}, {"weight_buffer_bytes": 9e3},
    {"arrays": 4, "dram_bytes_per_s": 1e9}, ENERGY,
)  # fmt: skip


@pytest.mark.parametrize("fields", MACHINES, ids=lambda fields: "-".join(fields) or "plain")
def test_what_may_stay_never_moves_more(fields):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = graph(rng, int(rng.integers(3, 9))) if seed % 3 else chain(rng, 4)
        array = SystolicArray(8, 8, buffer_bytes=float(int(np.exp(rng.uniform(7.5, 11)))), **fields)
        try:
            plain = network_cost(network, array)
        except InvalidValueError:  # no tile fits
            continue
        kept = network_cost(network, array, keep_activations=True)
        assert kept.plan.bytes_alone == pytest.approx(plain.total.dram_bytes, rel=1e-12)
        assert kept.plan.bytes == pytest.approx(kept.total.dram_bytes, rel=1e-12)
        assert kept.total.dram_bytes <= plain.total.dram_bytes
        if fields is ENERGY:
            assert kept.total.dram_joules <= plain.total.dram_joules


def test_the_other_side_of_a_sum_takes_bytes_and_energy_and_no_time():
    network, size = residual(), 32 * 14 * 14
    array = SystolicArray(8, 8, buffer_bytes=1e6, dram_bytes_per_s=1e8, **ENERGY)
    whole = network_cost(network, array)
    layers = [layer_cost(layer, array) for layer in dict(network).values() if layer.gemms()]
    assert whole.total.dram_bytes == sum(cost.dram_bytes for cost in layers) + size
    assert whole.total.dram_joules == pytest.approx(sum(cost.dram_joules for cost in layers) + 1e-10 * size)
    assert whole.total.cycles == sum(cost.cycles for cost in layers)
    assert whole.layers["b"].dram_input_bytes == 2 * size
    # without a buffer nothing but operands of products is counted, nor where it is not known what reads what
    unbuffered = dataclasses.replace(array, buffer_bytes=np.inf)
    assert network_cost(network, unbuffered).total.dram_bytes == whole.total.dram_bytes - size
    assert network_cost(dict(network), array).total.dram_bytes == whole.total.dram_bytes - size
    from hwcost.sweep import sweep

    assert summarise(network, array).cost.dram_bytes == whole.total.dram_bytes
    assert sweep(network, rows=[8], cols=[8], base=array).dram_bytes[0] == whole.total.dram_bytes
    swept = dataclasses.replace(array, buffer_bytes=np.array([1e6, 2e6]))
    assert (network_cost(network, swept).total.dram_bytes == whole.total.dram_bytes).all()


def test_operands_that_are_results_are_known_apart():
    """A product of two results reads each as what it is, in the order in which it takes them."""
    from hwcost import MatMul

    operations = {
        "values": Operation(Linear(64, 48, batch=20), inputs=("",)),
        "scores": Operation(Linear(64, 20, batch=20), inputs=("",)),
        "mixed": Operation(MatMul(m=20, n=48, k=20), inputs=("scores", "values")),
    }
    network = Network("attention", operations, outputs=("mixed",))
    report = network_cost(network, SystolicArray(8, 8, buffer_bytes=2.0e3), keep_activations=True)
    kept = {each.name for each in report.plan.kept}
    names = {"inputs": "scores", "weights": "values"}
    assert {names[operand] for operand in report.plan.steps["mixed"].operands if operand in names} == kept & {
        "scores", "values"
    }  # fmt: skip


def test_plans_are_made_of_numbers_and_exactly():
    network = residual()
    array = SystolicArray(8, 8, buffer_bytes=60_000.0)
    with pytest.raises(InvalidValueError, match="keep_activations"):
        network_cost(network, array, keep_activations=True, relaxation="logistic")
    swept = dataclasses.replace(array, buffer_bytes=np.array([5e4, 6e4]))
    with pytest.raises(InvalidValueError, match="keep_activations"):
        network_cost(network, swept, keep_activations=True)


def test_the_indices_of_a_pooling_layer_are_not_moved():
    torch = pytest.importorskip("torch")
    from hwcost import from_torch

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 8, 1))
    network = from_torch(model, (1, 3, 16, 16))
    peak = peak_of(network, SystolicArray(8, 8, buffer_bytes=1e5))
    assert peak.activations == {"0": 3 * 16 * 16 + 8 * 8 * 8, "2": 2 * 8 * 8 * 8}


def test_all_buffers_together_hold_a_network_or_do_not():
    own = {f"{operand}_buffer_bytes": 4096.0 for operand in ("weight", "input", "output")}
    assert not peak_of(residual(), SystolicArray(8, 8, **own)).fits
    assert peak_of(residual(), SystolicArray(8, 8, **dict.fromkeys(own, 1e6))).fits


def test_a_network_fits_into_the_memory_that_a_chip_states():
    layers = {"a": Linear(4096, 4096, batch=8), "b": Linear(4096, 100, batch=8)}
    network = Network.of_layers("two", layers, is_chain=True)
    for name, fits in {"tpu-v1": True, "gemmini": False}.items():
        device = read_device(name)
        peak = summarise(network, device).peak
        assert peak.is_stated
        assert peak.buffer == device.memory_bytes
        assert peak.fits is fits
        assert peak.bytes == 8 * 2 * 4096 * device.array.bytes_per_element
        words = "; all of it fits" if fits else "; not all of it fits"
        assert f"{words} into the" in str(summarise(network, device))
        assert compare_networks(network, device).records()[0]["fits"] is fits


BUFFERED = SystolicArray(8, 8, buffer_bytes=1e5)


@pytest.mark.parametrize(
    ("machines", "into"),
    [
        (["gemmini"], ["the memory that the chip states"]),
        ([BUFFERED], ["the buffer"]),
        (["gemmini", BUFFERED], ["the buffer", "the memory that the chip states"]),
        ([SystolicArray(8, 8)], []),
    ],
    ids=["chip", "buffer", "both", "none"],
)
def test_the_legend_names_what_a_network_has_to_fit_into(machines, into):
    network = Network.of_layers("one", {"a": Linear(64, 64)}, is_chain=True)
    terms = compare_networks(network, machines).document().terms
    assert terms.get("fits", "").partition("fit at once into ")[2].split(", or else into ") == (into or [""])


def test_weights_are_said_to_be_padded_where_they_are_stored_so():
    network = Network.of_layers("one", {"a": Linear(64, 10)}, is_chain=True)
    assert "640 B of weights;" in str(summarise(network, "gemmini"))
    padded = str(summarise(network, "edge-tpu", extrapolate=True))
    assert "4.096 kB of weights with filters padded to a multiple of 64;" in padded


def test_a_chip_that_states_no_memory_has_no_peak():
    network = Network.of_layers("one", {"a": Linear(64, 64)}, is_chain=True)
    assert summarise(network, "eyeriss").peak is None or read_device("eyeriss").memory_bytes
    assert summarise(network, SystolicArray(8, 8)).peak is None
