from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwcost import network_cost
from nas_plugin import ArchDef, SearchSettings, load_arch_def
from nas_plugin.images import Dataset, load, split
from nas_plugin.methods.finding import MostMacs, RandomSearch, search_macs
from nas_plugin.methods.one_shot import pool_of
from nas_plugin.methods.training import Training, held_out

from .test_candidates import can_grow, cycles, everything


@pytest.fixture(scope="module")
def train(small: ArchDef) -> Dataset:
    return load(small.data, classes=3, shape=(12, 12))[0]


def settings_of(small: ArchDef, **changes: Any) -> SearchSettings:
    given = {"epochs": 4, "weight_only_epochs": 1, "batch": 64, "finalist_epochs": 2} | changes
    return SearchSettings(small.data, **{"method": "random", "target": "500cycles"} | given)


def macs(arch: ArchDef, choice: dict[str, int]) -> int:
    return int(network_cost(arch.space.at(choice), arch.array).total.macs)


def run(search: RandomSearch) -> list[dict[str, Any]]:
    log = []
    while not search.done:
        log.append(search.run_epoch())
    return log


def test_the_compute_of_the_authors_search_by_hand() -> None:
    arch = load_arch_def()
    widest = {name: options[-1] for name, options in arch.decisions.items()}
    settings = SearchSettings("x", epochs=10, weight_only_epochs=2)
    assert search_macs(arch, settings, 3_200, 800) == macs(arch, widest) * (10 * 3_200 + 8 * 800)


@pytest.mark.parametrize("changes", [{}, {"epochs": 9}, {"finalist_epochs": 1}, {"target": None}, {"seed": 3}])
def test_random_networks_take_as_much_compute_as_a_search(
    small: ArchDef, train: Dataset, changes: dict[str, Any]
) -> None:
    settings = settings_of(small, **changes)
    search = RandomSearch(small, settings, train)
    tried = [search.costs.choice(row) for row in search.tried]
    pool = [search.costs.choice(row) for row in pool_of(small, settings)[1]]
    budget = search_macs(small, settings, 192, 48)
    each = [macs(small, choice) * 192 * settings.finalist_epochs for choice in tried]
    assert sum(each) <= budget
    assert len({tuple(choice.values()) for choice in tried}) == len(tried)  # none twice
    assert all(choice in pool for choice in tried)
    if len(tried) < len(pool):  # then the next one would have been too much
        largest = max(macs(small, choice) for choice in pool) * 192 * settings.finalist_epochs
        assert sum(each) + largest > budget


def test_at_least_one_network_is_tried(small: ArchDef, train: Dataset) -> None:
    search = RandomSearch(small, settings_of(small, finalist_epochs=10**6), train)
    assert search.steps == 1


def test_more_compute_tries_more_networks_in_the_same_order(small: ArchDef, train: Dataset) -> None:
    few = RandomSearch(small, settings_of(small, target=None, epochs=2), train)
    many = RandomSearch(small, settings_of(small, target=None, epochs=4), train)
    assert 1 < few.steps < many.steps
    assert many.tried[: few.steps].tolist() == few.tried.tolist()
    other = RandomSearch(small, settings_of(small, target=None, epochs=4, seed=1), train)
    assert other.tried[: few.steps].tolist() != few.tried.tolist()


@pytest.mark.parametrize("target", ["500cycles", "970cycles", "0.7"])
def test_networks_that_are_tried_are_within_the_window_and_cannot_grow(
    small: ArchDef, train: Dataset, target: str
) -> None:
    search = RandomSearch(small, settings_of(small, target=target, epochs=20), train)
    for row in search.tried:
        choice = search.costs.choice(row)
        assert not can_grow(small, choice)
        low, high = {"500cycles": (485, 500), "970cycles": (940.9, 970), "0.7": (500, 686)}[target]
        assert low <= cycles(small, choice) <= high


@pytest.mark.parametrize("weight", [None, 0.5])
def test_the_best_on_held_out_images_wins(small: ArchDef, train: Dataset, weight: float | None) -> None:
    changes = {} if weight is None else {"target": None, "weight": weight}
    settings = settings_of(small, **changes)
    search = RandomSearch(small, settings, train)
    log = run(search)
    weights, rest = split(len(train), 0)
    worth = []
    for record, row in zip(log, search.tried, strict=True):
        assert record["tried"] == search.costs.choice(row)
        training = Training(small, record["tried"], dataclasses.replace(settings, train_epochs=2), train.take(weights))
        while not training.done:
            training.run_epoch()
        loss = held_out(training.network, train.take(rest))[0]
        assert record["loss"] == loss
        worth.append(loss + (weight or 0) * cycles(small, record["tried"]) / cycles(small, small.reference))
    assert len(worth) > 3
    assert search.derived() == log[int(np.argmin(worth))]["tried"] == log[-1]["choice"]
    assert log[-1]["exact_cycles"] == cycles(small, search.derived())


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_random_search_goes_on_from_its_state(small: ArchDef, train: Dataset, stop: int) -> None:
    whole, first, second = (RandomSearch(small, settings_of(small), train) for _ in range(3))
    log = run(whole)
    for _ in range(stop):
        first.run_epoch()
    second.load_state_dict(first.state_dict())
    assert run(second) == log[stop:]
    assert second.derived() == whole.derived()


@pytest.mark.parametrize("target", ["201cycles", "0.4", "0.5", "500cycles", "0.7", "970cycles", "1"])
def test_the_most_macs_against_brute_force(small: ArchDef, train: Dataset, target: str) -> None:
    """Within the window, that is: where several use the limit up, the one that does most with it."""
    found = MostMacs(small, settings_of(small, target=target), train).derived()
    limit = float(target[:-6]) if target.endswith("cycles") else float(target) * cycles(small, small.reference)
    choices = [choice for choice in everything(small) if cycles(small, choice) <= limit]
    near = [choice for choice in choices if cycles(small, choice) >= 0.97 * limit]
    if not near:
        most = max(cycles(small, choice) for choice in choices)
        near = [choice for choice in choices if cycles(small, choice) == most]
    best = max((macs(small, choice), -cycles(small, choice)) for choice in near)
    assert (macs(small, found), -cycles(small, found)) == best
    assert not can_grow(small, found)


def test_no_search_has_no_steps(small: ArchDef, train: Dataset) -> None:
    search = MostMacs(small, settings_of(small), train)
    assert (search.steps, search.done, search.state_dict()) == (0, True, {})
    search.load_state_dict({})
