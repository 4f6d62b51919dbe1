"""Networks cut from the widest one: the order of its channels, the final, and the training of the winner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas_plugin import ArchDef, SearchSettings, sweep
from nas_plugin.images import Dataset, load
from nas_plugin.methods.pruning import BATCHES, PruneSearch, WidestTraining, sort_channels, tuned
from nas_plugin.methods.training import Training, held_out
from nas_plugin.runs.sweep import SearchSweep
from nas_plugin.runs.task import read_weights
from nas_plugin.space.networks import SuperNetwork

from .test_candidates import can_grow, cycles

FEW: dict[str, Any] = {"epochs": 3, "train_epochs": 2, "batch": 32, "candidates": 12, "finalists": 4}
WIDEST = {"conv1.width": 8, "conv1.kernel": 5, "fc1.width": 16}


@pytest.fixture(scope="module")
def train(small: ArchDef) -> Dataset:
    return load(small.data, classes=3, shape=(12, 12), images=120)[0]


def settings_of(small: ArchDef, **changes: Any) -> SearchSettings:
    return SearchSettings(small.data, method="prune", **{"target": "500cycles", "finalist_epochs": 1, **FEW, **changes})


def scores(network: SuperNetwork, train: Dataset, batch: int) -> dict[str, np.ndarray]:
    """|sum of gradient * weight| of each channel, a mean over batches."""
    found = {"conv1": np.zeros(8), "fc1": np.zeros(16)}
    parts = list(zip(torch.split(train.images, batch), torch.split(train.labels, batch), strict=True))[:BATCHES]
    for images, labels in parts:
        network.zero_grad()
        F.cross_entropy(network.at(images, WIDEST), labels).backward()  # type: ignore[no-untyped-call]
        for name in ("conv1", "fc1"):
            own = [network.get_parameter(f"blocks.{name}.{kind}") for kind in ("weight", "bias")]
            products = [(each * each.grad).detach().flatten(1 if each.dim() > 1 else 0) for each in own]  # type: ignore[operator]
            total = products[0].sum(1) + products[1]
            found[name] += total.abs().numpy() / len(parts)
    return found


def test_channels_are_put_in_the_order_of_their_worth_and_outputs_stay(small: ArchDef, train: Dataset) -> None:
    torch.manual_seed(0)
    network = SuperNetwork(small)
    before = network.at(train.images, WIDEST).detach()
    worth = scores(network, train, 32)
    assert any((np.diff(each) > 0).any() for each in worth.values())  # else nothing has to move
    sort_channels(network, train, 32)
    assert network.at(train.images, WIDEST).detach() == pytest.approx(before, abs=1e-5)
    after = scores(network, train, 32)
    for name, each in worth.items():
        assert after[name] == pytest.approx(-np.sort(-each), rel=1e-4, abs=1e-8)


def test_the_widest_network_alone_is_trained(small: ArchDef, train: Dataset) -> None:
    training = WidestTraining(small, settings_of(small), train)
    seen = []
    real = training.network.at

    def spy(images: torch.Tensor, choice: Mapping[str, int]) -> torch.Tensor:
        seen.append(dict(choice))
        return real(images, choice)

    training.network.at = spy  # type: ignore[method-assign, assignment]
    records = [training.run_epoch() for _ in range(3)]
    assert all(choice | {"conv1.kernel": 5} == WIDEST for choice in seen)
    assert {choice["conv1.kernel"] for choice in seen} == {3, 5}
    assert training.done
    assert [list(record["losses"]) for record in records] == [["widest"]] * 3
    assert records[-1]["losses"]["widest"] < records[0]["losses"]["widest"]
    ordered = scores(training.network, training.weight_data, 32)
    for each in ordered.values():
        assert (np.diff(each) <= 1e-6).all()


def test_a_search_takes_the_best_of_its_final_and_goes_on_from_its_state(small: ArchDef, train: Dataset) -> None:
    whole, first, second = (PruneSearch(small, settings_of(small), train) for _ in range(3))
    log = [whole.run_epoch() for _ in range(whole.steps)]
    final = [record for record in log if record["part"] == "fine-tuning"]
    assert len(log) == 3 + 1 + 4
    assert len(final) == 4
    found = whole.derived()
    assert found == min(final, key=lambda record: record["loss"])["tried"]
    assert 485 <= cycles(small, found) <= 500
    assert not can_grow(small, found)
    for _ in range(5):
        first.run_epoch()
    second.load_state_dict(first.state_dict())
    assert [second.run_epoch() for _ in range(3)] == log[5:]
    assert second.derived() == found


def test_a_network_of_the_final_begins_with_the_weights_that_it_keeps(small: ArchDef, train: Dataset) -> None:
    search = PruneSearch(small, settings_of(small), train)
    while not search.training.done:
        search.run_epoch()
    choice = {"conv1.width": 5, "conv1.kernel": 3, "fc1.width": 9}
    start = search._training(choice, search.settings, True).network
    whole = search.weights().state_dict()
    assert torch.equal(start.get_parameter("blocks.conv1.weight"), whole["blocks.conv1.weight"][:5, :, 1:4, 1:4])
    assert torch.equal(start.classifier.weight, whole["classifier.weight"][:, :9])


def test_a_winner_is_trained_on_labels_and_on_the_widest_network(small: ArchDef, train: Dataset) -> None:
    search = PruneSearch(small, settings_of(small), train)
    while not search.training.done:
        search.run_epoch()
    network, settings = search.weights(), settings_of(small, batch=1000)
    choice = {"conv1.width": 5, "conv1.kernel": 5, "fc1.width": 9}
    training = tuned(small, choice, settings, train, network.state_dict())
    with torch.no_grad():
        outputs, wanted = network.at(train.images, choice), network.at(train.images, WIDEST)
        log_p = wanted.log_softmax(1)
        distance = (log_p.exp() * (log_p - outputs.log_softmax(1))).sum(1).mean()
        expected = 0.7 * distance + 0.3 * F.cross_entropy(outputs, train.labels)
    assert training.run_epoch()["loss"] == pytest.approx(float(expected), rel=1e-4)  # one batch: before any step
    plain = Training(small, choice, settings, train, network.slice(choice))
    assert plain.run_epoch()["loss"] == pytest.approx(float(F.cross_entropy(outputs, train.labels)), rel=1e-4)


@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_trains_each_kind_of_shared_weights_once_and_winners_from_their_own(
    small: ArchDef, tmp_path: Path
) -> None:
    given = FEW | {"arch_def": small, "images": 120, "train_seeds": 2}
    found = sweep(out=tmp_path / "s", methods=["one-shot", "prune"], targets=["500cycles", "0.9"], seeds=[3], **given)
    assert sorted(path.name for path in (tmp_path / "s").glob("*-networks")) == ["super-networks", "widest-networks"]
    folders = {path.name for path in (tmp_path / "s" / "trainings").iterdir()}
    for row in found.of("4x4", "prune"):
        own = [name for name in folders if name.startswith(f"4x4-prune-target{row.limit}-seed3-")]
        assert len(own) == 2
        for name in own:
            content = json.loads((tmp_path / "s" / "trainings" / name / "training.json").read_text())
            assert content["choice"] == row.winner
            assert content["start"]["settings"]["method"] == "prune"
            assert content["test_accuracy"] in row.accuracies
    begun = SearchSweep.open(tmp_path / "s")
    (task,) = [task for method, task in begun.searches() if method == "prune" and task.settings.target == "0.9"]
    kept = SuperNetwork(small)
    kept.load_state_dict(read_weights(task))
    (shared,) = [task for (kind, _), task in begun.super_networks().items() if kind is WidestTraining]
    assert all(torch.equal(each, read_weights(shared)[name]) for name, each in kept.state_dict().items())
    assert held_out(lambda images: kept.at(images, WIDEST), load(small.data, classes=3, shape=(12, 12))[0])[1] > 0.4
