"""The author's search under a target: the price that follows it, and the network that is within it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from hwcost import network_cost
from nas_plugin import LATENCIES, ArchDef, SearchSettings
from nas_plugin.images import Dataset, load
from nas_plugin.methods.darts import DartsSearch, LatencyTerm


@pytest.fixture(scope="module")
def train(small: ArchDef) -> Dataset:
    return load(small.data, classes=3, shape=(12, 12))[0]


def search_of(small: ArchDef, train: Dataset, **changes: Any) -> DartsSearch:
    settings = dataclasses.replace(
        SearchSettings(
            small.data, method="darts", epochs=40, weight_only_epochs=1, batch=64, alpha_batch=8, target="0.75"
        ),
        **changes,
    )
    return DartsSearch(small, settings, train)


def cycles(arch: ArchDef, choice: dict[str, int]) -> float:
    return float(network_cost(arch.space.at(choice), arch.array).total.cycles)


@pytest.mark.parametrize(
    ("latency", "target", "weight"),
    [("expectation", "0.75", 0.1), ("expectation", "0.6", 0.1), ("shifted", "0.75", 0.0), ("none", "0.9", 0.1)],
)
def test_the_price_leads_the_expected_cycles_to_the_target(
    small: ArchDef, train: Dataset, latency: str, target: str, weight: float
) -> None:
    search = search_of(small, train, latency=latency, target=target, weight=weight)
    assert search.target is not None
    assert search.target.target == float(target) * cycles(small, small.reference)
    lambdas = set()
    while not search.done:
        lambdas.add(search.run_epoch()["lambda"])
    with torch.no_grad():
        expected = float(search.judge.loss.cycles(search.alphas.probabilities()))
    assert len(lambdas) > 30
    if latency != "none":  # which does not listen to the price
        assert expected / search.target.target == pytest.approx(1, abs=0.12)


def test_the_price_rises_above_the_target_and_falls_below_it(small: ArchDef, train: Dataset) -> None:
    prices = {}
    for target in ("0.3", "1.0"):
        search = search_of(small, train, target=target)
        assert search.target is not None
        start = search.target.weight
        asked = search.price(search.alphas.probabilities())
        prices[target] = (search.target.weight / start, asked)
    assert prices["0.3"][0] > 1 > prices["1.0"][0]
    assert prices["0.3"][1] > 0.1 > prices["1.0"][1]
    without = search_of(small, train, target=None)
    assert without.price(without.alphas.probabilities()) == 0.1


def test_the_price_goes_on_after_a_stop(small: ArchDef, train: Dataset) -> None:
    whole, first, second = (search_of(small, train, epochs=8) for _ in range(3))
    records = [whole.run_epoch() for _ in range(8)]
    assert len({record["lambda"] for record in records}) > 6
    for _ in range(5):
        first.run_epoch()
    second.load_state_dict(first.state_dict())
    assert second.target is not None
    assert second.target.weight == records[4]["lambda"]
    assert [second.run_epoch() for _ in range(3)] == records[5:]
    assert second.derived() == whole.derived()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("target", ["0.45", "0.5", "0.75", "1"])
def test_the_most_probable_network_within_the_target_against_brute_force(
    small: ArchDef, train: Dataset, target: str, seed: int
) -> None:
    search = search_of(small, train, target=target)
    with torch.no_grad():
        search.alphas.alpha.normal_(generator=torch.Generator().manual_seed(seed))
    limit = float(target) * cycles(small, small.reference)
    choices = [dict(zip(small.decisions, row, strict=True)) for row in itertools.product(*small.decisions.values())]
    within = [choice for choice in choices if cycles(small, choice) <= limit]
    near = [choice for choice in within if cycles(small, choice) >= 0.97 * limit]
    shares = search.alphas.split(search.alphas.probabilities().detach())

    def chance(choice: dict[str, int]) -> float:
        chances = [shares[name][small.decisions[name].index(size)] for name, size in choice.items()]
        return float(torch.stack(chances).double().prod())

    assert search.derived() == max(near or within, key=chance)


def test_a_search_that_does_not_know_the_array_keeps_to_its_own_cost(small: ArchDef, train: Dataset) -> None:
    search = search_of(small, train, latency="flops", snaps=False, target="0.6", epochs=3)
    while not search.done:
        search.run_epoch()
    assert search.target is not None
    term = LatencyTerm(small, LATENCIES["flops"])
    assert search.target.target == pytest.approx(0.6 * term.reference, rel=1e-6)
    macs = [
        network_cost(small.space.at(choice), small.array).total.macs for choice in (search.derived(), small.reference)
    ]
    assert macs[0] <= 0.6 * macs[1]
