"""The parts of the budget's solver, each against trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from trying import tried

from hwcost import Linear
from hwcost.advice import filling, search
from hwcost.advice.choices import Table, most_options
from hwcost.advice.exact import _count_at_least, _most_each, _Rows, _Search, best_within
from hwcost.advice.walk import Walk
from hwcost.elimination import factors as elimination
from hwcost.elimination.factors import Elimination, Factor, at_least, elimination_order, maximum
from hwcost.elimination.prices import PRICES, Costs, Program, best_price, worth_keeping
from hwcost.network.operations import Operation

SEEDS = st.integers(0, 2**32 - 1)


def problem(seed):
    """Random costs over one to four widths: cycles and MACs that need not rise with the options."""
    rng = np.random.default_rng(seed)
    counts = {name: int(rng.integers(1, 5)) for name in "abcd"[: rng.integers(1, 5)]}
    scopes = [tuple(sorted(rng.permutation(list(counts))[: rng.integers(1, 4)])) for _ in range(rng.integers(1, 5))]
    scopes += [(name,) for name in counts if not any(name in scope for scope in scopes)]
    costs = []
    for scope in scopes:
        shape = tuple(counts[name] for name in scope)
        costs.append(Costs(scope, rng.integers(1, 40, shape).astype(float), rng.integers(1, 60, shape).astype(float)))
    return rng, counts, costs


def everything(counts, costs):
    """All choices with their cycles and MACs."""
    for indices in itertools.product(*map(range, counts.values())):
        choice = dict(zip(counts, indices, strict=True))
        yield choice, *map(sum, zip(*(each.at(choice) for each in costs), strict=True))


@given(SEEDS)
def test_an_elimination_finds_the_maximum_and_that_of_each_option(seed):
    _, counts, costs = problem(seed)
    factors = [*(each.priced(0.7) for each in costs), Factor((), np.asarray(3.0))]
    order, entries = elimination_order((each.widths for each in factors), counts)
    found = Elimination(factors, order, counts)
    values = [(choice, 3 + worth - 0.7 * cycles) for choice, cycles, worth in everything(counts, costs)]
    assert found.value == pytest.approx(max(value for _, value in values))
    assert dict(values_of(values))[tuple(found.best[name] for name in counts)] == pytest.approx(found.value)
    for name, own, outside in zip(order, found.factors, found.outside(), strict=True):
        each_option = maximum([*own, outside], (name,), counts).values
        for index, value in enumerate(each_option):
            assert value == pytest.approx(max(v for choice, v in values if choice[name] == index))
    assert entries == sum(
        math.prod(counts[each] for each in {name, *message.widths})
        for name, message in zip(order, found.messages, strict=True)
    )


def values_of(values):
    return ((tuple(choice.values()), value) for choice, value in values)


@given(SEEDS, st.sampled_from([1, 3, 1 << 20]), st.integers(0, 4))
def test_sums_of_factors_in_blocks_of_any_size(seed, block, kept):
    rng, counts, costs = problem(seed)
    factors = [Factor(each.widths, each.worth) for each in costs]
    whole = {tuple(choice.values()): worth for choice, _, worth in everything(counts, costs)}
    keep = tuple(rng.permutation(list(counts))[:kept])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elimination, "BLOCK", block)
        found = maximum(factors, keep, counts)
        at, values = at_least(factors, tuple(counts), counts, float(np.median(list(whole.values()))))
    for indices in itertools.product(*(range(counts[name]) for name in keep)):
        fixed = dict(zip(keep, indices, strict=True))
        best = max(v for c, v in whole.items() if fixed.items() <= dict(zip(counts, c, strict=True)).items())
        assert found.values[indices] == best
    reached = dict(zip(zip(*map(np.ndarray.tolist, at), strict=True), values, strict=True))
    assert reached == {choice: v for choice, v in whole.items() if v >= np.median(list(whole.values()))}


def test_the_smallest_table_comes_first_then_the_one_with_the_smallest_message():
    counts = {"a": 9, "b": 2, "c": 3, "d": 3}
    found = elimination_order([("a", "b"), ("b", "c"), ("c", "d")], counts)
    assert found == (["d", "c", "a", "b"], 3 * 3 + 2 * 3 + 9 * 2 + 2)


@given(SEEDS, st.floats(0, 1))
def test_prices_bound_the_best_set_and_keep_its_options(seed, share):
    _, counts, costs = problem(seed)
    sets = list(everything(counts, costs))
    lowest, highest = (pick(cycles for _, cycles, _ in sets) for pick in (min, max))
    limit = lowest + share * (highest - lowest)
    program = Program.of(costs, counts, limit)
    found = best_price(program)
    best = max(worth for _, cycles, worth in sets if cycles <= limit)

    def bound(price):
        return max(worth - price * (cycles - limit) for _, cycles, worth in sets)

    slopes = [
        (m - n) / (c - d)
        for (_, c, m), (_, d, n) in itertools.combinations(sets, 2)
        if c != d and (m - n) / (c - d) > 0
    ]
    assert found.bound == pytest.approx(min(map(bound, [0.0, *slopes])))
    assert found.bound == pytest.approx(bound(found.price))
    assert found.bound >= best - 1e-9
    for least in (best, best + 1):
        kept = worth_keeping(program, found.price, least)
        for name in counts:
            for index in range(counts[name]):
                reaches = all(
                    max(m - found.price * factor * (c - limit) for choice, c, m in sets if choice[name] == index)
                    >= least - 1e-6
                    for factor in PRICES
                )
                assert (index in kept[name]) == reaches
    left = {name: np.arange(0, counts[name], 2) for name in counts}
    smaller = program.over(left)
    assert smaller.counts == {name: len(own) for name, own in left.items()}
    own = {
        tuple(left[name][i] for name, i in choice.items()): figures
        for choice, *figures in everything(smaller.counts, smaller.costs)
    }
    assert own == {tuple(c.values()): figures for c, *figures in sets if not any(i % 2 for i in c.values())}


def test_no_set_within_the_limit_has_no_bound():
    _, counts, costs = problem(3)
    least = min(cycles for _, cycles, _ in everything(counts, costs))
    assert best_price(Program.of(costs, counts, least - 0.5)).bound == -math.inf
    assert best_price(Program.of(costs, counts, least)).bound > 0


@given(SEEDS, st.floats(0, 1), st.sampled_from([1, 2, 3, 5, 1000]))
def test_the_exact_solver_finds_the_best_set_or_bounds_it(seed, share, effort):
    _, counts, costs = problem(seed)
    sets = list(everything(counts, costs))
    lowest, highest = (pick(cycles for _, cycles, _ in sets) for pick in (min, max))
    limit = lowest + share * (highest - lowest)
    program = Program.of(costs, counts, limit)
    best = max(worth for _, cycles, worth in sets if cycles <= limit)
    figures = {tuple(choice.values()): (cycles, worth) for choice, cycles, worth in sets}
    for least in (0, best, best + 1):
        found = best_within(program, best_price(program).price, least, effort)
        if found.choice is None:
            assert found.worth == -math.inf
        else:
            cycles, worth = figures[tuple(found.choice[name] for name in counts)]
            assert cycles <= limit
            assert worth == found.worth <= best
        if least <= best:
            assert max(found.worth, found.left_out) >= best - 1e-9
        if effort == 1000:
            assert found.left_out == -math.inf
            assert found.worth == best or least > best


def chain(seed):
    """Widths one after the other, each with many options, as in a deep network."""
    rng = np.random.default_rng(seed)
    counts = {name: int(rng.integers(3, 8)) for name in "abcde"}
    costs = []
    for scope in [("a", "b"), ("b", "c"), ("c", "d"), ("c", "e"), ("d",), ("e",)]:
        shape = tuple(counts[name] for name in scope)
        sizes = np.sort(rng.integers(1, 300, shape).astype(float))
        costs.append(Costs(scope, sizes, np.round(sizes * rng.uniform(0.5, 2, shape))))
    return counts, costs


@given(SEEDS, st.floats(0.2, 0.9), st.sampled_from([1, 7, 30, 10_000]))
def test_the_exact_solver_on_chains(seed, share, effort):
    counts, costs = chain(seed)
    axes = dict(zip(counts, np.ix_(*map(range, counts.values())), strict=True))
    cycles, worth = (
        sum(getattr(each, what)[tuple(axes[name] for name in each.widths)] for each in costs)
        for what in ("cycles", "worth")
    )
    limit = cycles.min() + share * (cycles.max() - cycles.min())
    best = worth[cycles <= limit].max()
    program = Program.of(costs, counts, float(limit))
    price = best_price(program)
    assert price.bound >= best - 1e-6
    for least in (0.9 * best, best):
        found = best_within(program, price.price, least, effort)
        assert found.worth <= best <= max(found.worth, found.left_out) + 1e-6
        if found.choice is not None:
            assert cycles[tuple(found.choice[name] for name in counts)] <= limit
        if effort == 10_000:
            assert found.worth == best


@given(SEEDS)
def test_rows_of_a_message_fall_in_value(seed):
    counts, costs = chain(seed)
    own = _Search(Program.of(costs, counts, 1e9), 0.8, 0.0, 10_000)
    own.result()
    for rows in own.rows[:-1]:
        value = rows.worth - 0.8 * rows.cycles
        assert (np.lexsort((-value, rows.key)) == np.arange(len(value))).all()
    assert max(len(rows.key) for rows in own.rows) > 20


@given(SEEDS, st.floats(0.2, 0.9))
def test_little_effort_ends_with_the_bound_of_the_best_price(seed, share):
    counts, costs = chain(seed)
    ends = [sum(float(pick(each.cycles)) for each in costs) for pick in (np.min, np.max)]
    own = search._Search(tables_of(costs, counts), counts, ends[0] + share * (ends[1] - ends[0]), 1)
    found = own.run({name: count - 1 for name, count in counts.items()})
    bound = best_price(Program.of(costs, counts, own.limit)).bound
    assert found.bound <= max(bound, found.worth) * (1 + 1e-6)


@given(SEEDS, st.floats(0, 1))
def test_joined_rows_are_the_pairs_that_reach_the_threshold(seed, share):
    rng = np.random.default_rng(seed)
    counts, costs = chain(seed)
    own = _Search(Program.of(costs, counts, 1e9), 0.8, 0.0, 10_000)

    def rows(key):
        cycles, worth = (rng.integers(1, 90, len(key)).astype(float) for _ in range(2))
        return _Rows(key, cycles, worth, np.zeros(len(key), dtype=np.int64))

    child, keys, rest = rows(rng.integers(0, 3, 20)), rng.integers(0, 3, 6), rng.integers(0, 9, 6).astype(float)
    child = child.take(np.lexsort((0.8 * child.cycles - child.worth, child.key)))
    first = rows(np.arange(6))
    pairs = [
        (i, first.cycles[i] + child.cycles[j], first.worth[i] + child.worth[j])
        for i, j in itertools.product(range(6), range(20))
        if child.key[j] == keys[i]
    ]
    bounds = [worth - 0.8 * cycles + rest[i] for i, cycles, worth in pairs]
    own.threshold = float(np.quantile(bounds or [0.0], share))
    joined = own._join(first, child, keys, rest)
    reach = [pair for pair, bound in zip(pairs, bounds, strict=True) if bound >= own.threshold - 1e-9]
    wanted = {
        (i, c, w) for i, c, w in reach
        if not any(i == k and d <= c and v >= w and (d, v) != (c, w) for k, d, v in reach)
    }  # fmt: skip
    assert set(zip(joined.key, joined.cycles, joined.worth, strict=True)) == wanted


@given(SEEDS)
def test_rows_that_nothing_dominates(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 12))
    key, cycles, worth = (rng.integers(0, most, count) for most in (3, 5, 5))
    rows = _Rows(key, cycles.astype(float), worth.astype(float), np.arange(count))
    kept = rows.undominated()
    wanted = {
        (k, c, m)
        for k, c, m in zip(key, cycles, worth, strict=True)
        if not any(j == k and d <= c and n >= m and (d, n) != (c, m)
                   for j, d, n in zip(key, cycles, worth, strict=True))
    }  # fmt: skip
    assert list(zip(kept.key, kept.cycles, kept.worth, strict=True)) == sorted(wanted)
    assert all(rows.key[kept.option] == kept.key)


@given(SEEDS)
def test_counts_in_falling_runs(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.sort(rng.integers(0, 6, 5))[::-1] for _ in range(3)])
    first = rng.integers(0, 3, 8) * 5
    last, least = first + rng.integers(0, 6, 8), rng.integers(-1, 8, 8)
    found = _count_at_least(values, first, last, least)
    assert found.tolist() == [int((values[a:b] >= c).sum()) for a, b, c in zip(first, last, least, strict=True)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any), st.data())
def test_the_largest_share_that_fits(count, data):
    total = data.draw(st.integers(0, sum(count) - 1))
    sums = [sum(min(each, most) for each in count) for most in range(11)]
    assert _most_each(np.array(count), total) == max(most for most, each in enumerate(sums) if each <= total)


def tables_of(costs, counts):
    return [
        Table(tuple({name: np.arange(counts[name])} for name in each.widths), each.cycles, each.worth) for each in costs
    ]


@tried(200)
@given(
    SEEDS, st.floats(0.02, 1), st.sampled_from([0.5, 0.9, 0.97]), st.sampled_from(["all", "little effort", "no room"])
)
def test_the_best_set_that_fills_a_limit_or_its_bound(seed, share, fill, room):
    _, counts, costs = problem(seed)
    sets = {tuple(choice.values()): (cycles, worth) for choice, cycles, worth in everything(counts, costs)}
    lowest, highest = (pick(cycles for cycles, _ in sets.values()) for pick in (min, max))
    limit = lowest + share * (highest - lowest)
    options = {name: np.arange(count) for name, count in counts.items()}

    def tables(some):
        own = [each.over(some) for each in costs]
        return tables_of(own, {name: len(each) for name, each in some.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "MOST_OF_A_PART", 0 if room == "no room" else filling.MOST_OF_A_PART)
        patch.setattr(filling, "PARTIAL", 1 if room == "little effort" else 16)
        found = filling.best_that_fills(options, tables, 10**6, limit, 1 if room == "little effort" else 10_000, fill)
    inside = [worth for cycles, worth in sets.values() if fill * limit <= cycles <= limit]
    assert sets[tuple(found.choice[name] for name in counts)] == (found.cycles, found.worth)
    if found.cycles >= fill * limit:
        assert found.worth <= max(inside) <= found.bound * (1 + 1e-9)
    else:
        assert (
            found.worth <= max(worth for cycles, worth in sets.values() if cycles <= limit) <= found.bound * (1 + 1e-9)
        )
    if room == "all":
        assert (found.cycles >= fill * limit) == bool(inside)
        assert found.bound == pytest.approx(found.worth)


def narrowed_by_hand(counts, sets, choice, limit):
    """One option after the other, by the most cycles saved up to the limit for each bit of worth lost."""
    while sets[tuple(choice.values())][0] > limit:
        cycles, worth = sets[tuple(choice.values())]
        tried = [choice | {name: index} for name, count in counts.items() for index in range(count)]
        tried = [each for each in tried if sets[tuple(each.values())][0] < cycles]
        if not tried:
            break
        figures = [sets[tuple(each.values())] for each in tried]
        rates = [min(cycles - c, cycles - limit) / max(worth - w, 1e-9) for c, w in figures]
        choice = tried[rates.index(max(rates))]
    return choice


@given(SEEDS, st.floats(0, 1), st.booleans())
def test_a_walk_ends_where_no_move_of_one_or_two_widths_gains(seed, share, met):
    rng, counts, costs = problem(seed)
    sets = {tuple(c.values()): (cycles, worth) for c, cycles, worth in everything(counts, costs)}
    limit = min(c for c, _ in sets.values()) * (1 - share) + max(c for c, _ in sets.values()) * share
    if met:  # a set takes exactly as much as it may
        limit = max(c for c, _ in sets.values() if c <= limit)
    walk, start = (
        Walk(tables_of(costs, counts), counts),
        {name: int(rng.integers(count)) for name, count in counts.items()},
    )
    narrowed = walk.down(start, limit)
    assert narrowed == narrowed_by_hand(counts, sets, start, limit)
    assert sets[tuple(narrowed.values())][0] <= max(limit, sets[tuple(start.values())][0])
    if sets[tuple(start.values())][0] <= limit:
        assert narrowed == start
    if sets[tuple(narrowed.values())][0] > limit:
        near = [c for c in sets if sum(a != b for a, b in zip(c, narrowed.values(), strict=True)) <= 1]
        assert min(sets[c][0] for c in near) == sets[tuple(narrowed.values())][0]
        return
    end = tuple(walk.up(narrowed, limit).values())
    assert sets[end][0] <= limit
    assert sets[end][1] >= sets[tuple(narrowed.values())][1]
    near = [c for c in sets if sum(a != b for a, b in zip(c, end, strict=True)) <= 2 and sets[c][0] <= limit]
    assert max(sets[c][1] for c in near) == sets[end][1]


@given(SEEDS)
def test_the_fewest_cycles_of_any_set(seed):
    _, counts, costs = problem(seed)
    least, tables = min(cycles for _, cycles, _ in everything(counts, costs)), tables_of(costs, counts)
    assert search.least_cycles(tables, counts) == least
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MOST_OF_A_PART", 0)
        assert search.least_cycles(tables, counts) == sum(each.cycles.min() for each in tables) <= least


@given(SEEDS, st.floats(0, 1))
def test_bounds_of_tables_that_choose_alone(seed, share):
    _, counts, costs = problem(seed)
    sets = list(everything(counts, costs))
    lowest, highest = (pick(cycles for _, cycles, _ in sets) for pick in (min, max))
    assume(lowest < highest)
    own = search._Search(tables_of(costs, counts), counts, lowest + share * (highest - lowest), 10)
    best = max(worth for _, cycles, worth in sets if cycles <= own.limit)
    assert own._loose_bound() >= best - 1e-9
    assert sorted({c for _, c, _ in sets if c <= own.limit}) == sorted(
        {c for _, c, _ in sets if c <= lowest + share * (highest - lowest)}
    )
    found = own.run({name: count - 1 for name, count in counts.items()})
    assert found.worth <= best <= found.bound
    assert found.combined == sum(counts.values())


@pytest.mark.parametrize(
    ("arrays", "step"),
    [([[3, 9], [4, 4, 10]], 6), ([[3, 9], [4, 8]], 2), ([[1, 1.5]], 0), ([[7, 7]], 0), ([[0.5, 2.5]], 2)],
)
def test_the_step_that_all_cycles_share(arrays, step):
    assert search._common_step([np.array(each, dtype=float) for each in arrays]) == step


def operations(*sizes):
    """Linear layers that follow widths: those of their inputs, and that of their outputs."""
    return {
        str(i): Operation(Linear(8, 8), {"in_features": ins, "out_features": out}) for i, (ins, out) in enumerate(sizes)
    }


@pytest.mark.parametrize(
    ("sizes", "entries"),
    [
        ([("a", "b")], lambda most: min(most, 20) * min(most, 9)),
        (
            [("a", "b"), ("b", "c"), ("a", "b")],
            lambda most: min(most, 20) * min(most, 9) + min(most, 9) * min(most, 30),
        ),
        ([((("a", 1), ("b", 2)), "c")], lambda most: (1 + 19 + 2 * 8) * min(most, 30)),
    ],
)
@pytest.mark.parametrize("room", [1, 60, 179, 180, 300, 450, 1000, 10**6])
def test_there_are_as_many_options_as_tables_have_room_for(sizes, entries, room):
    options = {"a": np.arange(1, 21), "b": np.arange(1, 10), "c": np.arange(1, 31)}
    most = most_options(options, operations(*sizes), room)
    steps = [30]
    while steps[-1] > 2:
        steps.append(steps[-1] * 3 // 4)
    assert most == next((each for each in steps if entries(each) <= room), steps[-1])
