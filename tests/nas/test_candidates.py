from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trying import tried

from hwcost import InvalidValueError, SystolicArray, load_device, network_cost
from hwcost.torch.lookup import within
from nas_plugin import ArchDef, load_arch_def
from nas_plugin.space.reader import parse_arch_def

from .conftest import SMALL

LENET = load_arch_def()
ARRAYS = {
    "16x16": SystolicArray(16, 16),
    "8x8 serial": SystolicArray(8, 8, fold_timing="serial"),
    "12x14 os": SystolicArray(12, 14, dataflow="os", fold_timing="double-buffered"),
    "4x32 is": SystolicArray(4, 32, dataflow="is", fold_timing="serial"),
    "gemmini": load_device("gemmini"),
    "tpu-v1": load_device("tpu-v1"),
    "edge-tpu": load_device("edge-tpu"),
}


def on(arch: ArchDef, array: str) -> ArchDef:
    return dataclasses.replace(arch, array=ARRAYS[array])


def any_of(arch: ArchDef) -> st.SearchStrategy[dict[str, int]]:
    """Networks of a search space, widths between the options among them."""
    return st.fixed_dictionaries(
        {
            name: st.sampled_from(options) if "kernel" in name else st.integers(options[0], options[-1])
            for name, options in arch.decisions.items()
        }
    )


def cycles(arch: ArchDef, choice: Mapping[str, int]) -> float:
    return float(network_cost(arch.space.at(choice), arch.array).total.cycles)


def everything(arch: ArchDef) -> list[dict[str, int]]:
    """Every network of a small search space, one by one."""
    sizes = {
        name: options if "kernel" in name else range(options[0], options[-1] + 1)
        for name, options in arch.decisions.items()
    }
    return [dict(zip(sizes, row, strict=True)) for row in itertools.product(*sizes.values())]


def can_grow(arch: ArchDef, choice: Mapping[str, int]) -> bool:
    """Whether any width can grow by one at equal cost."""
    return any(
        choice[block.width_decision] < block.widths[-1]
        and cycles(arch, {**choice, block.width_decision: choice[block.width_decision] + 1}) <= cycles(arch, choice)
        for block in arch.blocks
    )


@pytest.mark.parametrize("array", ARRAYS)
@tried(10)
@given(st.lists(any_of(LENET), min_size=1, max_size=8))
def test_costs_are_those_of_the_network(array: str, choices: list[dict[str, int]]) -> None:
    arch = on(LENET, array)
    costs = arch.costs()
    rows = costs.rows(choices)
    assert costs.of(rows) == pytest.approx([cycles(arch, choice) for choice in choices], rel=1e-12)
    assert [costs.choice(row) for row in rows] == choices


@tried(10)
@given(any_of(LENET))
def test_macs_are_those_of_the_network(choice: dict[str, int]) -> None:
    macs = on(LENET, "gemmini").macs  # whatever the array
    assert macs.of(macs.rows([choice])).tolist() == [network_cost(LENET.space.at(choice), LENET.array).total.macs]


@pytest.mark.parametrize("relaxation", ["linear", "shifted", "logistic"])
def test_costs_as_a_relaxation_sees_them(relaxation: str) -> None:
    costs = LENET.costs(SystolicArray(8, 4), relaxation)
    found = costs.of(costs.rows([LENET.reference]))[0]
    expected = network_cost(LENET.space.at(LENET.reference), SystolicArray(8, 4), relaxation=relaxation).total.cycles
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("decision", "sizes"),
    [("fc1.width", (161, 162, 1000, 15, 1, 0, -1, -2)), ("conv1.width", (17, 1)), ("conv2.kernel", (1, 4, 6, 7))],
)
def test_a_size_outside_of_the_space_costs_infinitely_much(decision: str, sizes: tuple[int, ...]) -> None:
    costs = LENET.costs()
    rows = costs.rows([LENET.reference, *({**LENET.reference, decision: size} for size in sizes)])
    assert costs.of(rows).tolist() == [2822.0] + [np.inf] * len(sizes)


def test_a_reference_need_not_be_an_option() -> None:
    for width in (12, 40, 2):
        arch = parse_arch_def(SMALL.replace("width = 13", f"width = {width}"), "x")
        assert arch.reference_cycles == cycles(arch, arch.reference)
    assert LENET.reference_cycles == 2822


@pytest.mark.parametrize("array", ARRAYS)
def test_saturated_networks_against_a_slow_twin(array: str) -> None:
    arch = on(parse_arch_def(SMALL, "x"), array)
    costs, choices = arch.costs(), everything(arch)
    found = costs.saturated(costs.rows(choices))
    for choice, row in zip(choices, found, strict=True):
        grown, changed, most = dict(choice), True, cycles(arch, choice) * (1 + 1e-12)
        while changed:  # the last block first, each as far as it goes, until none goes further
            changed = False
            for block in reversed(arch.blocks):
                name = block.width_decision
                while grown[name] < block.widths[-1] and cycles(arch, grown | {name: grown[name] + 1}) <= most:
                    grown[name] += 1
                    changed = True
        assert costs.choice(row) == grown
    assert (found >= costs.rows(choices)).all()


@pytest.mark.parametrize("array", ARRAYS)
@tried(6)
@given(any_of(LENET))
def test_saturated_networks_cost_the_same_and_none_can_grow(array: str, choice: dict[str, int]) -> None:
    arch = on(LENET, array)
    costs = arch.costs()
    (row,) = costs.saturated(costs.rows([choice]))
    grown = costs.choice(row)
    assert cycles(arch, grown) == pytest.approx(cycles(arch, choice), rel=1e-12)
    assert not can_grow(arch, grown)
    assert {name: grown[name] for name in grown if "kernel" in name} == {n: choice[n] for n in grown if "kernel" in n}
    assert costs.saturated(row[None])[0].tolist() == row.tolist()


def test_no_networks_stay_no_networks() -> None:
    costs = LENET.costs()
    assert costs.saturated(np.empty((0, 6), dtype=np.int64)).shape == (0, 6)


@pytest.mark.parametrize("array", ["16x16", "8x8 serial", "4x32 is", "gemmini"])
def test_tread_ends_against_a_slow_twin(array: str) -> None:
    arch = on(parse_arch_def(SMALL, "x"), array)
    found, all_cycles = arch.costs().tread_ends(), {tuple(c.values()): cycles(arch, c) for c in everything(arch)}
    for column, (name, options) in enumerate(arch.decisions.items()):
        if "kernel" in name:
            assert found[name] == options
            continue
        ends = set()
        for key, own in all_cycles.items():
            wider = (*key[:column], key[column] + 1, *key[column + 1 :])
            if wider not in all_cycles or all_cycles[wider] > own:
                ends.add(key[column])
        assert found[name] == tuple(sorted(ends))


@pytest.mark.parametrize("array", ["16x16", "8x8 serial", "4x32 is", "gemmini"])
def test_saturated_tread_ends_are_all_networks_that_cannot_grow(array: str) -> None:
    arch = on(parse_arch_def(SMALL, "x"), array)
    costs = arch.costs()
    found = np.unique(costs.saturated(within(costs, costs.tread_ends(), np.inf)), axis=0)
    expected = [choice for choice in everything(arch) if not can_grow(arch, choice)]
    assert found.tolist() == sorted(costs.rows(expected).tolist())


LIMITS = (201, 204, 205, 400, 450, 461.5, 700, 915, 962, 1028, 5000)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97, 1.0])
def test_networks_within_a_limit_against_brute_force(small: ArchDef, limit: float, share: float) -> None:
    costs = small.costs()
    found = within(costs, small.decisions, limit, least=share * limit)
    networks = [dict(zip(small.decisions, row, strict=True)) for row in itertools.product(*small.decisions.values())]
    affordable = [choice for choice in networks if cycles(small, choice) <= limit]
    expected = [choice for choice in affordable if cycles(small, choice) >= share * limit]
    if not expected:  # those that come closest from below
        most = max(cycles(small, choice) for choice in affordable)
        expected = [choice for choice in affordable if cycles(small, choice) == most]
    assert sorted(found.tolist()) == sorted(costs.rows(expected).tolist())


def test_a_limit_that_no_network_meets(small: ArchDef) -> None:
    with pytest.raises(
        InvalidValueError,
        match="target is '200 cycles'; allowed: at least 201 cycles, which the smallest network takes",
    ):
        within(small.costs(), small.decisions, 200)


def test_a_sample_of_a_large_set(small: ArchDef) -> None:
    costs = small.costs()
    all_rows = {tuple(row) for row in within(costs, costs.sizes, 500, least=400).tolist()}
    found = within(costs, costs.sizes, 500, least=400, most=60)
    assert {tuple(row) for row in found.tolist()} < all_rows
    assert len({tuple(row) for row in found.tolist()}) > 10
    assert found.tolist() == within(costs, costs.sizes, 500, least=400, most=60).tolist()
    other = within(costs, costs.sizes, 500, least=400, most=61)
    assert found.tolist() != other.tolist()
    assert within(costs, costs.sizes, 500, least=400, most=182).tolist() == [
        list(row) for row in sorted(all_rows)
    ]  # no more than are looked at: all of them


def test_a_sample_that_misses_the_limit_still_finds_the_smallest(small: ArchDef) -> None:
    costs = small.costs()
    smallest = costs.rows([{name: options[0] for name, options in small.decisions.items()}])
    assert costs.of(smallest).tolist() == [201]
    draws = [within(costs, costs.sizes, 201, most=most) for most in range(1, 21)]
    assert any(drawn.tolist() == smallest.tolist() for drawn in draws)
    assert all((costs.of(drawn) <= 201).all() for drawn in draws)
    with pytest.raises(InvalidValueError, match="at least 201 cycles"):
        within(costs, costs.sizes, 200, most=1)
