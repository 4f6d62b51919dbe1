from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import InvalidValueError, SystolicArray, load_device, network_cost
from hwcost.machine import Transfer
from hwcost.torch.alphas import Alphas
from nas_plugin import LATENCIES, ArchDef, SearchSettings, load_arch_def
from nas_plugin.methods.darts import LatencyTerm
from nas_plugin.space.reader import parse_arch_def

from .conftest import SMALL, one_hot

LENET = load_arch_def()
ARRAYS = {
    "16x16": SystolicArray(16, 16),
    "8x8 serial": SystolicArray(8, 8, fold_timing="serial"),
    "gemmini": load_device("gemmini"),
    "tpu-v1": load_device("tpu-v1"),
}
STAIRS = ("logistic", "shifted", "generalized", "straight-through", "expectation", "expectation-sample")
EXACT = ("expectation", "expectation-sample", "straight-through")
CHOICES = st.fixed_dictionaries({name: st.sampled_from(options) for name, options in LENET.decisions.items()})


def on(array: SystolicArray) -> ArchDef:
    return dataclasses.replace(LENET, array=array)


def row_of(arch: ArchDef, choice: dict[str, int]) -> torch.Tensor:
    return torch.cat([*one_hot(arch, choice).values()])


def probabilities(arch: ArchDef, seed: int) -> torch.Tensor:
    alphas = Alphas(arch.decisions)
    with torch.no_grad():
        alphas.alpha.normal_(generator=torch.Generator().manual_seed(seed))
    return alphas.probabilities().detach()


def split_add(term: LatencyTerm, sample: torch.Tensor, probs: torch.Tensor, weight: float) -> tuple[float, list[bool]]:
    """What a term adds to a loss of 2, and whether a gradient reaches the sample and the probabilities."""
    leaves = [sample.clone().requires_grad_(), probs.clone().requires_grad_()]
    total = term.add(torch.tensor(2.0), *leaves, weight)
    reached = [False, False]
    if total.requires_grad:
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        reached = [g is not None and bool((g != 0).any()) for g in gradients]
    return total.item() - 2, reached


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("latency", LATENCIES)
def test_the_reference_counts_as_one(latency: str, array: str) -> None:
    arch = on(ARRAYS[array])
    with torch.no_grad():
        assert LatencyTerm(arch, LATENCIES[latency]).of(row_of(arch, arch.reference)).item() == pytest.approx(
            1, abs=1e-6
        )


@pytest.mark.parametrize("width", [12, 40, 2])
@pytest.mark.parametrize("latency", LATENCIES)
def test_a_reference_that_is_no_option_counts_as_one(latency: str, width: int) -> None:
    arch = parse_arch_def(SMALL.replace("width = 13", f"width = {width}"), "x")
    term = LatencyTerm(arch, LATENCIES[latency])
    relaxation = term.estimator.relaxation or "exact"
    expected = network_cost(arch.space.at(arch.reference), term.array, relaxation=relaxation).total.cycles
    assert term.reference == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("latency", EXACT)
@tried(4)
@given(CHOICES)
def test_exact_estimators_are_exact_where_all_is_decided(latency: str, choice: dict[str, int]) -> None:
    cost, reference = (network_cost(LENET.space.at(one), LENET.array).total for one in (choice, LENET.reference))
    with torch.no_grad():
        found = LatencyTerm(LENET, LATENCIES[latency]).of(row_of(LENET, choice)).item()
    assert found == pytest.approx(cost.cycles / reference.cycles, rel=1e-6)


def test_flops_are_macs_whatever_the_array() -> None:
    macs = {
        name: network_cost(LENET.space.at(choice), LENET.array).total.macs
        for name, choice in (("own", {n: options[1] for n, options in LENET.decisions.items()}), ("5", LENET.reference))
    }
    row = row_of(LENET, {n: options[1] for n, options in LENET.decisions.items()})
    for array in ARRAYS.values():
        with torch.no_grad():
            found = LatencyTerm(on(array), LATENCIES["flops"]).of(row).item()
        assert found == pytest.approx(macs["own"] / macs["5"], rel=1e-5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("array", [*ARRAYS, "4x4"])
def test_a_roofline_is_nowhere_below_its_macs(array: str, seed: int) -> None:
    arch = on(ARRAYS.get(array, SystolicArray(4, 4)))
    row = probabilities(arch, seed)
    with torch.no_grad():
        flops, roofline = (LatencyTerm(arch, LATENCIES[name]).loss.cycles(row).item() for name in ("flops", "roofline"))
    assert roofline >= flops * (1 - 1e-6)


def test_a_roofline_of_a_stated_memory_by_hand() -> None:
    """Without stairs a layer takes the longer of its MACs and its bytes."""
    array = SystolicArray(16, 16, clock_hz=1e9, bytes_per_element=2, dram_bytes_per_s=4e9, fold_timing="serial")
    term = LatencyTerm(on(array), LATENCIES["roofline"])
    row = row_of(LENET, LENET.reference)
    expected = 0.0
    for name, layer in LENET.space.at(LENET.reference).items():
        cost = network_cost({name: layer}, term.array, relaxation="linear").total
        (gemm,) = layer.gemms()
        assert cost.compute_cycles == pytest.approx(gemm.m * gemm.n * gemm.k / 256)
        assert cost.memory_cycles >= 2 * gemm.n * gemm.k / 4  # the weights alone, at 4 bytes a cycle
        expected += max(cost.compute_cycles, cost.memory_cycles)
    with torch.no_grad():
        assert term.loss.cycles(row).item() == pytest.approx(expected, rel=1e-5)
        plenty = LatencyTerm(on(dataclasses.replace(array, dram_bytes_per_s=1e15)), LATENCIES["roofline"])
        flops = LatencyTerm(on(array), LATENCIES["flops"])
        assert plenty.loss.cycles(row).item() == pytest.approx(flops.loss.cycles(row).item(), rel=1e-5)
        slow = LatencyTerm(on(dataclasses.replace(array, dram_bytes_per_s=2e9)), LATENCIES["roofline"])
        assert slow.loss.cycles(row).item() > 1.5 * term.loss.cycles(row).item()


SPILL = Transfer(
    "spills",
    lambda work: work.gemm.m * work.gemm.n * work.gemm.count * work.array.bytes_per_element,
    lambda array: array.clock_hz / 64,
    "partial sums that do not fit",
    operand="outputs",
    level="spill",
)


@pytest.mark.parametrize(
    "memory",
    [
        {"terms": (SPILL,)},
        {"terms": (SPILL,), "dram_bytes_per_s": 4e9},
        {"weight_bytes_per_s": 4e9},
        {"bytes_per_element": 2.0, "output_bytes_per_s": 1e8, "overlap": 0.5},
        {"reread_bytes_per_s": 1e8, "filter_block": 32},
    ],
)
def test_a_roofline_knows_every_limit_of_the_memory(memory: dict[str, Any]) -> None:
    """Each machine waits for its memory, and so does its roofline, terms of a caller included."""
    arch = on(SystolicArray(16, 16, fold_timing="serial", **memory))
    row = row_of(arch, arch.reference)
    flops, roofline = (LatencyTerm(arch, LATENCIES[name]) for name in ("flops", "roofline"))
    assert {term.name for term in roofline.array.terms} == {term.name for term in arch.array.terms}
    with torch.no_grad():
        assert roofline.loss.cycles(row).item() > 1.1 * flops.loss.cycles(row).item()


@pytest.mark.parametrize("latency", [name for name in LATENCIES if name != "none"])
def test_the_term_is_lambda_times_the_latency_of_sample_or_probabilities(latency: str) -> None:
    term = LatencyTerm(LENET, LATENCIES[latency])
    sample, probs = probabilities(LENET, 1), probabilities(LENET, 2)
    sees_sample = latency != "expectation"
    with torch.no_grad():
        own = term.of(sample if sees_sample else probs).item()
    for weight in (0.3, -0.7):
        added, reached = split_add(term, sample, probs, weight)
        assert added == pytest.approx(weight * own, rel=1e-4)
        assert reached == [sees_sample, not sees_sample]
    loss = torch.tensor(2.0)
    assert term.add(loss, sample, probs, 0.0) is loss


def test_no_latency_leaves_the_loss_alone() -> None:
    term, loss = LatencyTerm(LENET, LATENCIES["none"]), torch.tensor(2.0)
    assert term.add(loss, probabilities(LENET, 1), probabilities(LENET, 2), 0.5) is loss


@pytest.mark.parametrize("choice", [LENET.reference, {name: options[1] for name, options in LENET.decisions.items()}])
@pytest.mark.parametrize("array", ["16x16", "8x8 serial"])
@pytest.mark.parametrize("latency", [*EXACT, "none"])
def test_the_utilization_term_by_hand(latency: str, array: str, choice: dict[str, int]) -> None:
    arch = on(ARRAYS[array])
    row = row_of(arch, choice)
    total = network_cost(arch.space.at(choice), arch.array).total
    idle = 1 - total.macs / (total.cycles * arch.array.pes)
    term = LatencyTerm(arch, LATENCIES[latency], utilization=0.4)
    with_both, _ = split_add(term, row, row, 0.3)
    latency_alone, _ = split_add(LatencyTerm(arch, LATENCIES[latency]), row, row, 0.3)
    assert with_both - latency_alone == pytest.approx(0.4 * idle, abs=1e-5)
    assert idle == pytest.approx(1 - total.utilization)


@pytest.mark.parametrize("latency", [*STAIRS, "none"])
def test_the_utilization_term_trains_where_there_are_stairs(latency: str) -> None:
    term = LatencyTerm(LENET, LATENCIES[latency], utilization=1.0)
    added, reached = split_add(term, probabilities(LENET, 1), probabilities(LENET, 2), 0.0)
    assert 0 < added < 1
    assert any(reached)


def test_without_stairs_all_of_the_array_is_always_used() -> None:
    row = probabilities(LENET, 1).requires_grad_()
    added = LatencyTerm(LENET, LATENCIES["flops"], utilization=1.0).add(torch.tensor(0.0), row, row, 0.0)
    (gradient,) = torch.autograd.grad(added, [row])
    assert added.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6
    row = probabilities(LENET, 1).requires_grad_()
    added = LatencyTerm(LENET, LATENCIES["expectation"], utilization=1.0).add(torch.tensor(0.0), row, row, 0.0)
    assert torch.autograd.grad(added, [row])[0].abs().max() > 1e-2


@pytest.mark.parametrize("latency", LATENCIES)
def test_costs_of_whole_networks_are_the_estimator_s(latency: str) -> None:
    term = LatencyTerm(LENET, LATENCIES[latency])
    costs = term.costs()
    choices = [LENET.reference, {name: options[1] for name, options in LENET.decisions.items()}]
    with torch.no_grad():
        expected = [term.loss.cycles(row_of(LENET, choice)).item() for choice in choices]
    assert costs.of(costs.rows(choices)) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_latency() -> None:
    with pytest.raises(InvalidValueError, match="latency is 'fast'; allowed: one of: logistic, shifted"):
        SearchSettings("x", latency="fast")
