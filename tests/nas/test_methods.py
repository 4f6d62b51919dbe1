"""Every method under a target: the winner's exact cycles are within it and use it up."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from hwcost import InvalidValueError, SystolicArray, load_device, network_cost
from nas_plugin import ArchDef, SearchSettings, load_arch_def
from nas_plugin.images import Dataset, load
from nas_plugin.methods.finding import check, searcher, winner_of
from nas_plugin.methods.table import LATENCIES, METHODS, SWEEP_METHODS
from nas_plugin.sources import CUT
from nas_plugin.space.reader import parse_arch_def

from .conftest import SMALL, used
from .test_candidates import can_grow, cycles

LENET = load_arch_def()
TARGETS = ("0.4", "0.5", "0.62", "0.75", "0.88", "1.0")
KNOW_THE_ARRAY = [name for name in SWEEP_METHODS if name != "flops"]
FEW = {
    "epochs": 2,
    "weight_only_epochs": 0,
    "candidates": 3,
    "finalists": 1,
    "finalist_epochs": 1,
    "batch": 32,
    "alpha_batch": 8,
}


@pytest.fixture(scope="module")
def few_small(small: ArchDef) -> Dataset:
    return load(small.data, classes=3, shape=(12, 12), images=30)[0]


@pytest.fixture(scope="module")
def few_lenet() -> Dataset:
    return load(CUT, classes=10, shape=(28, 28), images=24)[0]


def winner(arch: ArchDef, train: Dataset, rival: str, **changes: Any) -> dict[str, int]:
    settings = SearchSettings(arch.data, **used(**FEW | dict(SWEEP_METHODS[rival]) | changes))
    search = searcher(arch, settings, train)
    if rival == "random":
        search.steps = min(search.steps, 2)  # each costs a training
    steps = 0
    while not search.done:
        search.run_epoch()
        steps += 1
    assert steps == search.steps
    return winner_of(arch, settings, search.derived())


@pytest.mark.parametrize("target", ["0.4", "0.5", "0.75", "1.0"])
@pytest.mark.parametrize("rival", KNOW_THE_ARRAY)
def test_winners_on_the_small_space_meet_the_target(
    small: ArchDef, few_small: Dataset, rival: str, target: str
) -> None:
    limit = float(target) * cycles(small, small.reference)
    options = [dict(zip(small.decisions, row, strict=True)) for row in itertools.product(*small.decisions.values())]
    reachable = any(0.97 * limit <= cycles(small, choice) <= limit for choice in options)
    found = winner(small, few_small, rival, target=target, seed=TARGETS.index(target), epochs=1)
    assert cycles(small, found) <= limit
    assert not can_grow(small, found)
    if reachable:
        assert cycles(small, found) >= 0.97 * limit


@pytest.mark.parametrize("run", range(2))
@pytest.mark.parametrize("rival", KNOW_THE_ARRAY)
def test_winners_on_lenet_use_the_target_up(few_lenet: Dataset, rival: str, run: int) -> None:
    seed = KNOW_THE_ARRAY.index(rival) + run
    target = TARGETS[(seed + 2 * run) % len(TARGETS)]
    found = winner(LENET, few_lenet, rival, target=target, seed=seed, epochs=1)
    assert 0.97 * float(target) * 2822 <= cycles(LENET, found) <= float(target) * 2822
    assert not can_grow(LENET, found)


@pytest.mark.parametrize("rival", ["one-shot", "expectation"])
@pytest.mark.parametrize(
    "array",
    [
        SystolicArray(8, 8),
        SystolicArray(12, 14, dataflow="os", fold_timing="serial"),
        load_device("gemmini"),
        load_device("tpu-v1"),
    ],
    ids=["8x8", "12x14", "gemmini", "tpu-v1"],
)
def test_winners_on_other_arrays_use_the_target_up(few_lenet: Dataset, rival: str, array: SystolicArray) -> None:
    arch = dataclasses.replace(LENET, array=array)
    limit = 0.7 * cycles(arch, arch.reference)
    spread = [cycles(arch, {name: options[end] for name, options in arch.decisions.items()}) for end in (0, -1)]
    assert spread[0] < limit < spread[1]
    found = winner(arch, few_lenet, rival, target="0.7")
    assert 0.97 * limit <= cycles(arch, found) <= limit


@pytest.mark.parametrize("target", ["2000cycles", "0.002ms"])
def test_targets_with_units(few_lenet: Dataset, target: str) -> None:
    for rival in ("expectation", "one-shot"):
        assert 1940 <= cycles(LENET, winner(LENET, few_lenet, rival, target=target)) <= 2000


@pytest.mark.parametrize("target", TARGETS)
def test_a_search_without_the_array_keeps_to_its_own_cost(few_lenet: Dataset, target: str) -> None:
    found = winner(LENET, few_lenet, "flops", target=target)
    share = network_cost(LENET.space.at(found), LENET.array).total.macs / 416_520
    assert 0.97 * float(target) <= share <= float(target)
    assert all(size in LENET.decisions[name] for name, size in found.items())  # and stays as it is


def test_a_winner_that_snaps_and_one_that_does_not() -> None:
    assert winner_of(LENET, SearchSettings(CUT, snaps=False), LENET.reference) == LENET.reference
    grown = winner_of(LENET, SearchSettings(CUT), LENET.reference)
    assert grown == LENET.reference | {"fc1.width": 128, "fc2.width": 96}


def test_rivals_are_methods_and_latencies() -> None:
    for name, given in SWEEP_METHODS.items():
        settings = SearchSettings(CUT, target="0.75", **given)
        check(LENET, settings)
        assert settings.method in METHODS
        assert settings.latency in LATENCIES
        assert settings.snaps == (name != "flops")
        assert name in {settings.method, settings.latency, f"{settings.latency}-snap"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "method is 'guess'; allowed: one of: darts, one-shot, prune, random, most-macs"),
        ({"latency": "guess"}, "latency is 'guess'; allowed: one of: logistic, "),
        (
            {"method": "most-macs"},
            "target is missing; needed: a limit like 0.75 or 2000cycles for method 'most-macs'",
        ),
        ({"target": "0.35"}, r"target is '0.35'; allowed: at least 993 cycles \(0.352 of the reference's\)"),
        ({"target": "992.9cycles", "method": "one-shot"}, "target is '992.9cycles'; allowed: at least 993 cycles"),
        ({"target": "1e-9ms", "method": "random"}, "target is '1e-09ms'; allowed: at least 993 cycles"),
        (dict(SWEEP_METHODS["flops"]) | {"target": "1e-9"}, "target is '1e-09'; allowed: at least"),
    ],
)
def test_what_can_only_fail_is_refused_before(few_lenet: Dataset, changes: dict[str, Any], message: str) -> None:
    for call in (lambda s: check(LENET, s), lambda s: searcher(LENET, s, few_lenet)):
        with pytest.raises(InvalidValueError, match=message):
            call(SearchSettings(CUT, **changes))


def test_the_smallest_network_is_a_target_that_can_be_met(few_lenet: Dataset) -> None:
    for rival in ("expectation", "flops-snap", "one-shot", "prune", "random", "most-macs"):
        assert cycles(LENET, winner(LENET, few_lenet, rival, target="993cycles")) == 993


def test_a_search_without_the_array_may_ask_for_less_than_any_network_takes_there(few_lenet: Dataset) -> None:
    """It counts MACs, of which the smallest network has a far smaller share."""
    found = winner(LENET, few_lenet, "flops", target="0.2")
    assert 0.194 <= network_cost(LENET.space.at(found), LENET.array).total.macs / 416_520 <= 0.2
    with pytest.raises(InvalidValueError, match=r"target is '0.2'; allowed: at least 993 cycles"):
        winner(LENET, few_lenet, "flops-snap", target="0.2")


@pytest.mark.parametrize("width", [12, 40])
@pytest.mark.parametrize("limit", [{"target": "0.9"}, {"weight": 0.2}])
def test_every_method_with_a_reference_that_is_no_option(
    small: ArchDef, few_small: Dataset, width: int, limit: dict[str, Any]
) -> None:
    text = SMALL.replace("width = 13", f"width = {width}").replace("SOURCE", small.data)
    arch = parse_arch_def(text, "x")
    for rival in SWEEP_METHODS:
        if rival != "most-macs" or "target" in limit:
            found = winner(arch, few_small, rival, **limit)
            assert (
                "target" not in limit or rival == "flops" or (cycles(arch, found) <= 0.9 * cycles(arch, arch.reference))
            )
