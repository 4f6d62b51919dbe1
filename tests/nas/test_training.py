from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import InvalidValueError, SystolicArray, network_cost
from nas_plugin import LATENCIES, METHODS, SWEEP_METHODS, ArchDef, Method, SearchSettings, load_arch_def
from nas_plugin.images import Dataset, load
from nas_plugin.methods.darts import DartsSearch
from nas_plugin.methods.finding import searcher, winner_of
from nas_plugin.methods.training import Training, generator, held_out
from nas_plugin.runs.settings import SweepSettings


def search_of(small: ArchDef, **changes: object) -> DartsSearch:
    settings = dataclasses.replace(
        SearchSettings(small.data, method="darts", epochs=6, train_epochs=3, batch=32, alpha_batch=16), **changes
    )
    return DartsSearch(small, settings, load(small.data, classes=3, shape=(12, 12))[0])


def test_weights_and_alpha_learn_from_different_images(small: ArchDef) -> None:
    search = search_of(small)
    train = load(small.data, classes=3, shape=(12, 12))[0]
    whole = {image.numpy().tobytes() for image in train.images}
    first = {image.numpy().tobytes() for image in search.weight_data.images}
    second = {image.numpy().tobytes() for image in search.alpha_data.images}
    assert first.isdisjoint(second)
    assert first | second == whole
    assert len(search.weight_data) == round(0.8 * len(train))


def test_the_weight_step_never_sees_the_latency(small: ArchDef) -> None:
    trained = []
    for changes in ({"weight": 0.0}, {"weight": 1e6}, {"latency": "shifted", "utilization": 5.0, "target": "0.5"}):
        search = search_of(small, **changes)
        before = [p.clone() for p in search.network.parameters()]
        search.train_weights(1.0, generator(0, "x"))
        trained.append(list(search.network.parameters()))
        assert all(not torch.equal(a, b) for a, b in zip(before, trained[-1], strict=True))
        assert (search.alphas.alpha == 0).all()
    for other in trained[1:]:
        assert all(torch.equal(a, b) for a, b in zip(trained[0], other, strict=True))


def test_the_alpha_step_moves_alpha_only_and_feels_lambda(small: ArchDef) -> None:
    moved = {}
    for weight in (0.0, 5.0):
        search = search_of(small, weight=weight)
        before = [p.clone() for p in search.network.parameters()]
        for epoch in range(4):
            search.train_alpha(1.0, generator(0, "x", epoch))
        assert all(torch.equal(a, b) for a, b in zip(before, search.network.parameters(), strict=True))
        moved[weight] = search.latency.of(search.alphas.probabilities()).item()
    assert moved[5.0] < 0.8 * moved[0.0]


def test_weight_only_epochs_let_alpha_rest(small: ArchDef) -> None:
    search = search_of(small, weight_only_epochs=2)
    for epoch in range(3):
        record = search.run_epoch()
        assert (record["alpha_loss"] is None) == (epoch < 2)
        assert bool((search.alphas.alpha == 0).all()) == (epoch < 2)


def test_every_epoch_logs_what_people_ask_for(small: ArchDef) -> None:
    search = search_of(small)
    record = search.run_epoch()
    choice = search.alphas.choice()
    assert record["choice"] == choice
    assert record["exact_cycles"] == network_cost(small.space.at(choice), small.array).total.cycles
    reference = network_cost(small.space.at(small.reference), small.array).total.cycles
    assert record["exact_latency"] == record["exact_cycles"] / reference
    assert record["soft_latency"] == pytest.approx(search.latency.of(search.alphas.probabilities()).item())
    assert record["accuracy"] == held_out(lambda images: search.network.at(images, choice), search.alpha_data)[1]
    assert record["entropy"] == search.alphas.entropy()


def test_a_search_learns(small: ArchDef) -> None:
    search = search_of(small, epochs=20)
    while not search.done:
        record = search.run_epoch()
    assert record["accuracy"] > 0.7  # of three classes
    assert record["entropy"] < 0.9


def test_a_search_and_a_training_go_on_from_their_state(small: ArchDef) -> None:
    train = load(small.data, classes=3, shape=(12, 12))[0]
    for build in (
        lambda: search_of(small),
        lambda: Training(small, small.reference, SearchSettings(small.data, train_epochs=5, batch=32), train),
    ):
        whole, first, second = build(), build(), build()
        records = [whole.run_epoch() for _ in range(5)]
        for _ in range(3):
            first.run_epoch()
        torch.rand(7)  # the global generator plays no part
        second.load_state_dict(first.state_dict())
        assert [second.run_epoch(), second.run_epoch()] == records[3:]
        for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
            assert torch.equal(a, b)


def test_seeds_repeat_and_differ(small: ArchDef) -> None:
    assert search_of(small).run_epoch() == search_of(small).run_epoch()
    assert search_of(small).run_epoch() != search_of(small, seed=1).run_epoch()


@pytest.mark.parametrize("latency", LATENCIES)
def test_every_latency_trains(small: ArchDef, latency: str) -> None:
    search = search_of(small, latency=latency)
    for _ in range(3):
        record = search.run_epoch()
    assert math.isfinite(record["soft_latency"])
    assert record["lambda"] == 0.1  # without a target it stays
    assert (search.alphas.alpha[~search.alphas.absent] != 0).any()


LENET = load_arch_def()


@tried(20)
@given(
    st.fixed_dictionaries({name: st.sampled_from(options) for name, options in LENET.decisions.items()}),
    st.sampled_from([(16, 16), (8, 8), (12, 14)]),
    st.sampled_from(["ideal", "serial", "double-buffered"]),
)
def test_rounding_up_is_free_and_complete(choice: dict[str, int], size: tuple[int, int], timing: str) -> None:
    arch = dataclasses.replace(LENET, array=SystolicArray(*size, fold_timing=timing))
    grown = winner_of(arch, SearchSettings("x"), choice)

    def cycles(choice: dict[str, int]) -> int:
        return network_cost(arch.space.at(choice), arch.array).total.cycles

    assert cycles(grown) == cycles(choice)
    for block in arch.blocks:
        name = block.width_decision
        assert choice[name] <= grown[name] <= block.widths[-1]
        assert grown[name] == block.widths[-1] or cycles(grown | {name: grown[name] + 1}) > cycles(choice)
        if block.kind == "conv":
            assert grown[block.kernel_decision] == choice[block.kernel_decision]


def test_gumbel_temperature_falls_geometrically_to_its_floor() -> None:
    settings = SearchSettings("x", epochs=10, weight_only_epochs=2)
    taus = [settings.tau(epoch) for epoch in range(10)]
    assert taus[:3] == [2.0, 2.0, 2.0]
    assert taus[-1] == pytest.approx(0.5)
    ratios = [b / a for a, b in pairwise(taus[2:])]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert min(taus) >= 0.5 - 1e-12


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("epochs", 2.5),
        ("train_epochs", 0),
        ("seed", -1),
        ("threads", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("alpha_lr", -1.0),
        ("weight", -0.1),
        ("weight", float("inf")),
        ("share", 1.0),
        ("weight_only_epochs", 30),
        ("utilization", -1.0),
        ("utilization", 2e9),
        ("candidates", 0),
        ("finalists", 0),
        ("finalist_epochs", 0),
        ("images", 1),
        ("images", True),
        ("target", "fast"),
        ("target", 0),
    ],
)
def test_settings_outside_of_what_is_allowed(name: str, value: object) -> None:
    method = "one-shot" if name in ("candidates", "finalists", "finalist_epochs") else "darts"
    with pytest.raises(InvalidValueError, match=f"{name} is .*; allowed: "):
        SearchSettings("x", method=method, **{name: value})


def test_settings_follow_the_number_of_images() -> None:
    assert SearchSettings.for_size(60_000, data="x", method="darts").alpha_lr == 0.03
    assert SearchSettings.for_size(4_000, data="x").alpha_lr == 0.1
    assert SearchSettings.for_size(60_000, data="x", alpha_lr=0.2, epochs=None).alpha_lr == 0.2
    assert SearchSettings.for_size(4_000, data="x", method="darts", epochs=1).weight_only_epochs == 0
    assert SearchSettings.for_size(60_000, data="x").method == "prune"
    assert SearchSettings.for_size(60_000, data="x", latency="none").method == "darts"
    assert SearchSettings.for_size(60_000, data="x", utilization=0.0).method == "darts"
    assert SearchSettings.for_size(60_000, data="x", epochs=3, candidates=5).method == "prune"
    assert SearchSettings.for_size(60_000, data="x", method="one-shot").epochs == 6
    assert SearchSettings.for_size(4_000, data="x", method="one-shot").epochs == 20
    assert SearchSettings.for_size(4_000, data="x", target=0.75).target == "0.75"


@pytest.mark.parametrize("name", ["methods", "latencie", "qqq"])
def test_an_unknown_setting(name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        SearchSettings.for_size(4_000, data="x", **{name: 3})
    assert caught.value.value == name
    closest = {"methods": " (did you mean 'method'?)", "latencie": " (did you mean 'latency'?)"}
    assert f"unknown setting {name!r} in the settings{closest.get(name, '')}; known: data, " in str(caught.value)
    assert str(caught.value).endswith("threads")


# ---------------------------------------------------------------- which settings a method uses

OTHER: dict[str, Any] = {
    "latency": "shifted",
    "utilization": 5.0,
    "candidates": 7,
    "finalists": 2,
    "finalist_epochs": 2,
    "epochs": 5,
    "weight_only_epochs": 3,
    "alpha_batch": 5,
    "alpha_lr": 0.7,
    "tau_first": 5.0,
    "tau_last": 0.1,
    "share": 0.5,
    "weight": 3.0,
    "batch": 7,
}


@pytest.fixture(scope="module")
def few(small: ArchDef) -> Dataset:
    return load(small.data, classes=3, shape=(12, 12), images=60)[0]


@pytest.mark.parametrize("target", [None, "0.9"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_uses_what_its_row_names(small: ArchDef, few: Dataset, method: Method, target: str | None) -> None:
    if method.needs_target and target is None:
        return
    given = {"epochs": 4, "weight_only_epochs": 0, "candidates": 12, "finalists": 5, "finalist_epochs": 1}
    lax = dataclasses.replace(method, name="lax", uses=tuple(OTHER), moves_weight=True)  # refuses nothing
    base = SearchSettings(small.data, method=lax, target=target, train_epochs=1, batch=32, alpha_batch=8, **given)

    def course(**changes: Any) -> Any:
        search = searcher(small, dataclasses.replace(base, **changes), few)
        return [search.run_epoch() for _ in range(search.steps)], search.derived()

    known = course()
    for name in {*OTHER} - {"batch"} if target is None or method.needs_target else ["weight"]:
        assert (course(**{name: OTHER[name]}) != known) == method.reads(name, {"target": target}), name


def one_method(method: str | Method, **given: Any) -> None:
    SearchSettings.for_size(4_000, data="x", method=method, **given)


def directly(method: str | Method, **given: Any) -> None:
    SearchSettings("x", method=method, **given)


def a_sweep(method: str | Method, **given: Any) -> None:
    if (target := given.pop("target", None)) is not None:
        given |= {"targets": [target]}
    more = {"targets": given.pop("targets", ())}
    more["weights"] = () if more["targets"] else (0.1,)
    SweepSettings.of_sweep("x", 4_000, [method], train_seeds=1, given=given, **more)


@pytest.mark.parametrize("call", [one_method, directly, a_sweep])
@pytest.mark.parametrize("target", [None, "0.9"])
@pytest.mark.parametrize("name", OTHER)
def test_a_setting_without_effect_is_refused(call: Any, target: str | None, name: str) -> None:
    for method in METHODS.values():
        if call is a_sweep and (method.name == "darts" or name == "latency" or (name, target) == ("weight", None)):
            continue
        given = {name: OTHER[name], "target": "0.9" if method.needs_target else target}
        if method.reads(name, given):
            call(method.name, **given)
            continue
        with pytest.raises(InvalidValueError) as caught:
            call(method.name, **given)
        assert (caught.value.field, caught.value.value) == (name, OTHER[name])
        assert caught.value.reason.startswith(f"{method.name} does not use it")
        known = SWEEP_METHODS if call is a_sweep else METHODS
        for label in known:
            row = METHODS[SWEEP_METHODS[label]["method"] if call is a_sweep else label]
            assert (label in caught.value.allowed.replace(",", " ").split()) == row.reads(name, given)


def test_a_method_of_ones_own_states_what_it_uses() -> None:
    uses = ("latency", "epochs", "weight_only_epochs")
    own = Method("own", "in one line", print, uses=uses, epochs=(7, 3), moves_weight=True)
    given = {"latency": "shifted", "weight_only_epochs": 2, "target": "0.5", "weight": 0.2}
    settings = SearchSettings.for_size(4_000, data="x", method=own, **given)
    assert (settings.epochs, settings.latency, settings.weight) == (7, "shifted", 0.2)
    assert SearchSettings.for_size(20_000, data="x", method=own).epochs == 3
    assert list(SweepSettings.of_run(settings, 4_000).methods) == ["own"]
    assert SweepSettings.of_run(settings, 4_000).search("own", {"target": "0.5"}, 0) == settings
    for name, value in {"candidates": 4, "utilization": 0.0}.items():
        with pytest.raises(InvalidValueError) as caught:
            SearchSettings.for_size(4_000, data="x", method=own, **{name: value})
        assert (caught.value.field, caught.value.value) == (name, value)
    with pytest.raises(InvalidValueError) as caught:
        SearchSettings.for_size(4_000, data="x", method=own, weight_only_epochs=7)
    assert caught.value.field == "weight_only_epochs"
