"""Tables of measured costs: looked up exactly, searched exactly, read and written with errors that name the line."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from machines import BARE, RICH
from refusals import refused as refuses
from trying import tried

from hwcost import (
    Conv2d,
    InvalidValueError,
    Linear,
    MatMul,
    Network,
    Operation,
    SystolicArray,
    Width,
    advise,
    read_network,
)
from hwcost.advice import MeasuredCosts, filling, tabulate
from hwcost.advice.budget import best_sizes
from hwcost.advice.tables import Allowed, candidates
from hwcost.devices import Entry, Fit, Range, read_device, write_device
from hwcost.importers.lists import read_costs, write_costs
from hwcost.network.pricing import network_cost


def conv(c, f, ins, outs, **more):
    return Operation(Conv2d(c, f, 3, height=6, width=6, padding=1, **more), {"in_channels": ins, "out_channels": outs})


def rule(*names):
    return tuple((name, Fraction(1)) for name in names)


def network():
    """Two branches that are concatenated, a depthwise convolution, and a classifier behind a flattened map."""
    depthwise = Conv2d(5, 5, 3, height=6, width=6, padding=1, groups=5)
    return Network(
        "branches",
        {
            "a": conv(3, 5, "image", "a"),
            "b": conv(3, 4, "image", "b"),
            "dw": Operation(depthwise, dict.fromkeys(("in_channels", "out_channels", "groups"), "a")),
            "joined": conv(9, 6, rule("a", "b"), "c"),
            "again": conv(6, 6, "c", "c"),
            "fc": Operation(Linear(6 * 36, 10), {"in_features": ("c", 36), "out_features": "classes"}),
        },
        {"image": Width(3, fixed="an input"), "classes": Width(10, fixed="an output of the network")},
    )


def sides(layer):
    return tuple(getattr(layer, field) for field in layer.WIDTHS)


def everything(net, least=1):
    """Every set of sizes up to today's."""
    names = [name for name, width in net.widths.items() if not width.fixed]
    for sizes in itertools.product(*(range(least, net.widths[name].size + 1) for name in names)):
        yield dict(zip(names, sizes, strict=True))


def table(seed, missing=0.0, whole=False):
    """Random costs of the network at all sizes but some; today's are there. Nothing rises with the size."""
    net, rng = network(), np.random.default_rng(seed)
    today = {name: sides(each.layer) for name, each in net.priced.items()}
    rows = {
        name: {today[name]: float(rng.integers(5, 100))} for name in today if rng.random() > 0.1 or name == "joined"
    }
    for at in everything(net):
        for name, layer in net.at(at).items():
            if name in rows and sides(layer) not in rows[name]:
                rows[name][sides(layer)] = float(rng.integers(1, 100)) if rng.random() >= missing else math.inf
    found = {name: {pair: cost for pair, cost in own.items() if cost < math.inf} for name, own in rows.items()}
    if whole:
        return net, MeasuredCosts(found, "cycles")
    return net, MeasuredCosts({name: {k: 1e-3 * v / 7 for k, v in own.items()} for name, own in found.items()})


def cost_of(net, costs, at):
    """By plain lookups; infinite where a size is missing."""
    total = 0.0
    for name, layer in net.at(at).items():
        if name in costs.layers:
            rows = {(int(i), int(o)): cost for i, o, cost in costs.layers[name]}
            total += rows.get(sides(layer), math.inf)
    return total


def macs(net, at):
    return sum(gemm.macs for layer in net.at(at).values() for gemm in layer.gemms())


# ---------------------------------------------------------------- the solver


@pytest.mark.parametrize(("least", "multiple"), [(0.0, 1), (0.5, 1), (0.7, 1), (0.0, 2), (0.5, 2), (0.6, 3)])
def test_sizes_that_were_measured_and_are_allowed(least, multiple):
    net, costs = table(7, whole=True)
    for name in ("a", "b", "c"):
        size = net.widths[name].size
        found = candidates(net, name, size, Allowed(multiple, least), costs).tolist()
        assert found == [n for n in range(1, size + 1) if n == size or (n >= least * size and n % multiple == 0)]


@tried(25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.9]), st.booleans(), st.floats(0.15, 0.95))
def test_a_budget_on_costs_that_do_not_rise_is_what_trying_every_set_finds(seed, missing, whole, share):
    net, costs = table(seed, missing, whole)
    tried = [(cost_of(net, costs, at), macs(net, at)) for at in everything(net)]
    limit = share * cost_of(net, costs, {})
    within = [each for cost, each in tried if cost <= limit * (1 - 1e-9)]
    least = min(cost for cost, _ in tried)
    found = best_sizes(net, costs, net.priced, limit, 100_000, Allowed())
    assert found.floor == pytest.approx(least)
    if not within:
        assert found.cycles > limit * (1 - 1e-9)
        return
    assert found.cycles <= limit
    assert cost_of(net, costs, found.sizes) == pytest.approx(found.cycles)
    assert macs(net, found.sizes) >= max(within)
    assert found.gap < 1e-5


@tried(40)
@given(
    st.integers(0, 2**32 - 1), st.floats(0.3, 0.9), st.sampled_from([0.0, 0.5]), st.booleans(),
    st.sampled_from([100_000, 4, 1]), st.booleans(),
)  # fmt: skip
def test_of_sets_that_fill_a_limit_the_best_is_taken_or_bounded(seed, share, missing, whole, effort, has_room):
    net, costs = table(seed, missing, whole)
    limit = share * cost_of(net, costs, {})
    rng = np.random.default_rng(seed)
    names = [name for name in "abc" if len(costs.sizes(net, name)) > 1]
    assume(names)
    value = {name: np.sort(rng.integers(0, 10**8, net.widths[name].size)).astype(float) for name in names}
    tried = []
    for at in everything(net):
        if all(at[name] == net.widths[name].size for name in "abc" if name not in names):
            worth = sum(value[name][at[name] - 1] for name in names)
            tried.append((cost_of(net, costs, at), worth + round(macs(net, at) * 1e4 / net.macs)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "MOST_OF_A_PART", filling.MOST_OF_A_PART if has_room else 0)
        patch.setattr(filling, "PARTIAL", 16 if effort == 100_000 else 1)
        found = best_sizes(net, costs, net.priced, limit, effort, Allowed(), value=value, fill=0.97)
    assert (found.cycles <= limit) == any(cost <= limit for cost, _ in tried)
    if found.cycles > limit:
        return
    inside = [worth for cost, worth in tried if 0.97 * limit <= cost <= limit * (1 - 1e-9)]
    if has_room and effort == 100_000:
        assert (found.cycles >= 0.97 * limit) == any(0.97 * limit <= cost <= limit for cost, _ in tried)
    best = max(inside if found.cycles >= 0.97 * limit and inside else [w for c, w in tried if c <= limit * (1 - 1e-9)])
    own = sum(value[name][found.sizes.get(name, net.widths[name].size) - 1] for name in names)
    assert best <= (own + 1e4 + 20) * (1 + found.gap)
    if has_room and effort == 100_000:
        assert own + 1e4 + 20 >= best
        assert found.gap == 0


def counted_twice(inputs, whole, pixels=1):
    """A layer whose outputs are used twice, or halved, by the next one; its rows are of sizes that both have."""
    first = Operation(Linear(3, whole), {"out_features": rule("a", "a") if whole == 12 else "a"})
    other = Operation(Linear(3, 5), {"out_features": "b"})
    size = sum({"a": 6, "b": 5}[name] * factor for name, factor in inputs)
    joined = Operation(Linear(int(size) * pixels, 4), {"in_features": tuple((n, f * pixels) for n, f in inputs)})
    return Network("twice", {"first": first, "other": other, "joined": joined})


TWICE = {
    "a gated unit": counted_twice(rule("a"), 12),
    "a layer joined to its negative": counted_twice(rule("a", "a"), 6),
    "a flattened one": counted_twice(rule("a", "a"), 6, pixels=9),
    "around another layer": counted_twice(rule("a", "b", "a"), 6),
    "halves": counted_twice((("a", Fraction(1, 2)), ("a", Fraction(1, 2))), 6),
}


@pytest.mark.parametrize("name", TWICE)
@pytest.mark.parametrize("seed", range(4))
def test_a_width_may_count_twice_in_a_layer(name, seed):
    net, rng = TWICE[name], np.random.default_rng(seed)
    rows = {name: {} for name in net.priced}
    for at in everything(net):
        for layer, each in net.at(at).items() if name != "halves" or at["a"] % 2 == 0 else ():
            rows[layer].setdefault(sides(each), float(rng.integers(1, 100)))
    costs = MeasuredCosts(rows, "cycles")
    tried = [(cost_of(net, costs, at), macs(net, at)) for at in everything(net) if name != "halves" or at["a"] % 2 == 0]
    assert costs.sizes(net, "a").tolist() == ([2, 4, 6] if name == "halves" else list(range(1, 7)))
    for share in (0.4, 0.7, 0.9):
        limit = share * cost_of(net, costs, {})
        found = best_sizes(net, costs, net.priced, limit, 100_000, Allowed())
        assert found.floor == min(cost for cost, _ in tried)
        if found.floor <= limit:
            assert found.cycles == cost_of(net, costs, found.sizes) <= limit
            assert macs(net, found.sizes) == max(each for cost, each in tried if cost <= limit)


@pytest.mark.parametrize("name", TWICE)
def test_the_table_of_an_array_has_what_counts_twice(name):
    net, array = TWICE[name], SystolicArray(2, 2)
    costs = tabulate(net, array, step=1, least=0)
    for at in (at for at in everything(net) if name != "halves" or at["a"] % 2 == 0):
        assert costs.report(net.at(at)).total.cycles == network_cost(net.at(at), array).total.cycles
    one, other = (advise(net, each, budget=0.7).budget for each in (array, costs))
    assert (one.macs, one.cycles) == (other.macs, other.cycles)


@pytest.mark.parametrize("seed", range(3))
def test_advice_on_a_table(seed):
    net, costs = table(seed, 0.2)
    advice = advise(net, costs, budget=0.8)
    today = cost_of(net, costs, {})
    assert advice.total.seconds == pytest.approx(today)
    assert advice.budget.cycles == advise(net, costs).array.report(net.at(advice.budget.sizes)).total.seconds
    assert advice.budget.cycles <= advice.budget.limit == pytest.approx(0.8 * today)
    for width in advice.widths:
        size = net.widths[width.name].size
        below = [each for each in range(1, size) if cost_of(net, costs, {width.name: each}) < today - 1e-12]
        assert (width.cheaper.size if width.cheaper else None) == (max(below) if below else None)
        if width.cheaper:
            assert width.cheaper.saved == pytest.approx(today - cost_of(net, costs, {width.name: width.cheaper.size}))
    assert advice.as_dict()["measure"] == "seconds"
    missing = [name for name in net.priced if name not in costs.layers]
    assert [note for note in advice.notes if "no costs of" in note] == (
        [f"the table has no costs of {', '.join(missing)}: they count as nothing"] if missing else []
    )


def test_a_wider_layer_may_be_the_faster_one():
    net = Network.of_layers("one", {"fc": Linear(4, 4)})
    costs = MeasuredCosts({"fc": {(4, 4): 9.0, (4, 3): 2.0, (4, 2): 5.0, (4, 1): 4.0}}, "cycles")
    advice = advise(net, costs, budget=0.5)
    assert advice.budget.sizes == {"fc.out_features": 3}
    assert (advice.budget.cycles, advice.budget.floor, advice.total.cycles) == (2, 2, 9)
    assert advice["fc.out_features"].cheaper.size == 3
    assert advice["fc.in_features"].cheaper is None


# ---------------------------------------------------------------- tables of an array

ARRAYS = {**BARE, **RICH}
LAYER_BY_LAYER = [name for name, array in ARRAYS.items() if not array.has_run]
"""The others take more than their layers, which no row of a table has."""


@pytest.mark.parametrize("name", LAYER_BY_LAYER)
def test_a_table_of_an_array_gives_what_the_array_gives(name, tmp_path):
    net, array = network(), ARRAYS[name]
    write_costs(tmp_path / "costs.csv", tabulate(net, array, step=1, least=0))
    costs = read_costs(tmp_path / "costs.csv")
    assert costs.report(net).total.cycles == pytest.approx(advise(net, array).total.cycles)
    assert costs.report(net).total.seconds == pytest.approx(advise(net, array).total.seconds)
    for at in itertools.islice(everything(net), 0, None, 17):
        by_array = advise(Network("n", Network.of_layers("n", net.at(at)).operations), array).layers
        assert {each: cost.cycles for each, cost in costs.report(net.at(at)).layers.items()} == pytest.approx(by_array)
    for share in (0.75, 0.9):
        one, other = (advise(net, each, budget=share).budget for each in (array, costs))
        assert one.macs == other.macs
        assert one.cycles == pytest.approx(other.cycles)


def test_the_rows_of_a_table_are_the_pairs_that_widths_give():
    costs = tabulate(network(), SystolicArray(2, 2), widths=["a", "c"], step=2, least=0.5)
    pairs = {name: [tuple(map(int, row[:2])) for row in own] for name, own in costs.layers.items()}
    assert pairs["a"] == [(3, 4), (3, 5)]
    assert pairs["b"] == [(3, 4)]
    assert pairs["dw"] == [(4, 4), (5, 5)]
    assert pairs["joined"] == [(8, 4), (8, 6), (9, 4), (9, 6)]
    assert pairs["again"] == [(4, 4), (6, 6)]
    assert pairs["fc"] == [(144, 10), (216, 10)]


def test_a_width_that_is_more_than_an_input_or_output_keeps_its_size():
    heads = Operation(MatMul(8, 8, 4, batch=6), {"batch": "heads", "k": "depth"})
    net = Network("attention", {"scores": heads, "out": Operation(Linear(6, 3), {"in_features": "heads"})})
    costs = tabulate(net, SystolicArray(2, 2), step=1, least=0)
    assert set(costs.layers["scores"][:, 0]) == {1, 2, 3, 4}
    assert costs.layers["out"].tolist() == [[6, 3, 6]]
    assert costs.sizes(net, "heads").tolist() == [6]
    assert costs.sizes(net, "depth").tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": ["nope"]}, "unknown width that can change 'nope'"),
        ({"widths": ["image"]}, "unknown width that can change 'image'"),
        ({"widths": "a"}, "in a list"),
        ({"step": 0}, "step"),
        ({"least": 2}, "least"),
    ],
)
def test_tables_that_cannot_be_made(settings, words):
    with pytest.raises(InvalidValueError, match=words):
        tabulate(network(), SystolicArray(2, 2), **settings)


def test_a_table_of_too_many_rows_is_refused():
    net = Network.of_layers("wide", {"fc": Linear(4000, 4000)})
    with refuses("the number of rows", 16_000_000, "larger step"):
        tabulate(net, SystolicArray(2, 2), step=1, least=0)
    assert tabulate(net, SystolicArray(2, 2), step=8, least=0).rows == 250_000


# ---------------------------------------------------------------- values


def test_tables_are_values():
    costs = MeasuredCosts({"fc": {(8, 4): 2.0, (8, 2): 3.0}}, "cycles", 1e9)
    assert pickle.loads(pickle.dumps(costs)) == costs == MeasuredCosts({"fc": [[8, 2, 3], [8, 4, 2]]}, "cycles", 1e9)
    assert costs != MeasuredCosts({"fc": {(8, 4): 2.0, (8, 2): 3.5}}, "cycles", 1e9)
    assert costs.at("fc", 2**70, np.array([4])).tolist() == [costs.unmeasured]
    with pytest.raises(ValueError, match="read-only"):
        costs.layers["fc"][0, 2] = 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (({},), "costs by layer"),
        (([1],), "costs by layer"),
        (({"fc": {}},), "costs by pairs"),
        (({"fc": {(1, 2): "x"}},), "costs by pairs"),
        (({"fc": {(1, 0): 1}},), "integers from 1"),
        (({"fc": {(1, 2**31): 1}},), "integers from 1"),
        (({"fc": {(1.5, 2): 1}},), "integers from 1"),
        (({"fc": {(1, 2): -1}},), "at least 0"),
        (({"fc": {(1, 2): math.nan}},), "at least 0"),
        (({"fc": [[1, 2, 3], [1, 2, 4]]},), "there twice"),
        (({"fc": {(1, 2): 1}}, "ms"), "seconds, cycles"),
        (({"fc": {(1, 2): 1}}, "seconds", 1e9), "clock"),
        (({"fc": {(1, 2): 1}}, "cycles", 0), "clock"),
    ],
)
def test_tables_that_cannot_be(given, words):
    with pytest.raises(InvalidValueError, match=words):
        MeasuredCosts(*given)


@pytest.mark.parametrize(
    "given", [np.ones((2, 3, 4)), np.ones(3), np.ones((0, 3)), np.ones((2, 4)), {}, {(1, 2, 3): 1}]
)
def test_what_is_no_table_of_pairs_is_refused(given):
    with pytest.raises(InvalidValueError, match=r"layers\['a'\].*; allowed: costs by pairs of sizes"):
        MeasuredCosts({"a": given})


def test_a_table_of_another_network_is_refused():
    net = network()
    with refuses("the table of costs", "conv", "joined"):
        advise(net, MeasuredCosts({"conv": {(1, 1): 1.0}}))
    with pytest.raises(InvalidValueError, match="no row with in 3 and out 5"):
        advise(net, MeasuredCosts({"a": {(3, 4): 1.0}}))


# ---------------------------------------------------------------- files


def written(tmp_path, text):
    path = tmp_path / "costs.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("column", "cell", "expected", "measure"),
    [
        ("ms", "1.5", 1.5e-3, "seconds"),
        ("us", "3", 3e-6, "seconds"),
        ("s", "2", 2, "seconds"),
        ("cycles", "7", 7, "cycles"),
    ],
)
def test_units_are_named_by_the_header(tmp_path, column, cell, expected, measure):
    costs = read_costs(written(tmp_path, f"Layer,out,in,{column}\nfc,4,8,{cell}\n"))
    assert (costs.measure, costs.layers["fc"].tolist()) == (measure, [[8, 4, pytest.approx(expected)]])


def test_cycles_count_if_a_clock_explains_them(tmp_path):
    header = "layer,in,out,ms,cycles\n"
    one = read_costs(written(tmp_path, f"{header}fc,8,4,0.002,2000\nfc,8,3,0.001,1000\n"))
    assert (one.measure, one.clock_hz) == ("cycles", pytest.approx(1e9))
    path = written(tmp_path, f"{header}fc,8,4,0.002,2000\nfc,8,3,0.001,1500\n")
    with pytest.warns(UserWarning, match="ms and cycles of .* disagree.*; ms counts"):
        other = read_costs(path)
    assert other.measure == "seconds"


def test_the_command_prints_its_notes_as_json_too(hwcost, tmp_path, networks):
    entries = {"cycles_per_run": Entry(500.0, "cycle", "assumed", "a test")}
    known = read_device("gemmini")
    fit = Fit("layers", "us", "CC0-1.0", {}, ranges={"m": Range(1, 100)})
    device = dataclasses.replace(known, name="mine", entries={**known.entries, **entries}, fit=fit)
    write_device(tmp_path / "mine.toml", device)
    args = ("table", "lenet.csv", "--device", str(tmp_path / "mine.toml"))
    code, out, err = hwcost(*args, "--json", "--out", "costs.csv")
    assert (code, [line for line in err.splitlines() if not line.startswith("wrote")]) == (0, [])
    content = json.loads(out)
    assert [note for note in content["notes"] if "no row has what a run takes" in note]
    assert content["beyond"]["conv1"] == [f"m is {28 * 28}, but layers of 1 to 100 were measured"]
    costs = read_costs("costs.csv")
    assert content["columns"] == ["in", "out", "cycles"]
    assert {name: np.array(rows) == pytest.approx(costs.layers[name]) for name, rows in content["layers"].items()}
    _, out, err = hwcost(*args)
    assert out.startswith("layer,in,out,ms,cycles")
    assert "no row has what a run takes" in err
    plain = json.loads(hwcost("table", "lenet.csv", "--s1", "8", "--s2", "8", "--json")[1])
    assert (plain["beyond"], plain["device"]) == (None, None)


def test_the_command_says_that_time_and_cycles_disagree(hwcost, tmp_path, networks):
    assert hwcost("table", "lenet.csv", "--s1", "8", "--s2", "8", "--step", "4", "--out", "costs.csv")[0] == 0
    costs = read_costs("costs.csv")
    rows = [f"{layer},{row[0]:.0f},{row[1]:.0f},{row[2]},7" for layer, own in costs.layers.items() for row in own]
    written(tmp_path, "\n".join(["layer,in,out,ms,cycles", *rows, ""]))
    code, _, err = hwcost("advise", "lenet.csv", "--table", "costs.csv")
    assert (code, err.count("disagree")) == (0, 1)
    assert err.startswith("Note: ")


@pytest.mark.parametrize("name", ["fc", "=cmd()", "'quoted", "a,b", "block.0 (2)"])
def test_names_of_layers_survive_a_file(tmp_path, name):
    costs = MeasuredCosts({name: {(8, 4): 0.1 / 3, (8, 2): 3.0}})
    write_costs(tmp_path / "costs.csv", costs)
    assert ",=" not in (tmp_path / "costs.csv").read_text().replace("\n", ",")
    again = read_costs(tmp_path / "costs.csv")
    assert list(again.layers) == [name]
    assert again.layers[name] == pytest.approx(costs.layers[name])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer,in,out,ms\n", "has no rows"),
        ("layer,in,ms\nfc,8,1\n", "the columns layer, in, out"),
        ("layer,in,out\nfc,8,1\n", "one of s, ms, us and cycles"),
        ("layer,in,out,msec\nfc,8,1,2\n", "unknown column 'msec'.*did you mean 'ms'"),
        ("layer;in;out;ms\nfc;8;1;0,2\n", "the header is 'layer;in;out;ms'; allowed: .*, between commas"),
        ("layer\tin\tout\tms\nfc\t8\t1\t2\n", "between commas"),
        ("layer,in,out,ms,us\nfc,8,1,2,3\n", "'ms' and 'us' are both times"),
        ("layer,in,out,ms\nfc,8,4,1\n,8,4,1\n", "line 3: layer is missing"),
        ("layer,in,out,ms\nfc,8,4,1\n\nfc,0,4,1\n", "line 4: in is '0'; allowed: an integer from 1"),
        ("layer,in,out,ms\nfc,8,4.5,1\n", "line 2: out is '4.5'"),
        ("layer,in,out,ms\nfc,8,2147483648,1\n", "line 2: out is '2147483648'"),
        ("layer,in,out,ms\nfc,8,4,-1\n", "line 2: ms is '-1'"),
        ("layer,in,out,ms\nfc,8,4,nan\n", "line 2: ms is 'nan'"),
        ("layer,in,out,ms\nfc,8,4\n", "line 2: the number of cells is 3"),
        ("layer,in,out,ms\nfc,8,4,1\nfc,8,4,2\n", "line 3 cannot be used: line 2 has 'fc' with in 8 and out 4"),
    ],
)
def test_faults_of_a_file_are_named_with_their_line(tmp_path, text, words):
    with pytest.raises(InvalidValueError, match=words):
        read_costs(written(tmp_path, text))


# ---------------------------------------------------------------- the command


def test_the_command_writes_what_is_read_back(hwcost, good, networks):
    code, text, err = hwcost("table", "lenet.csv", "--s1", "8", "--s2", "8", "--step", "4", "--out", "costs.csv")
    assert (code, err) == (0, "wrote costs.csv\n")
    costs, net = read_costs("costs.csv"), read_network("lenet.csv")
    assert costs == tabulate(net, SystolicArray(8, 8), step=4)
    assert f"{costs.rows} rows of {len(costs.layers)} layers on 8 x 8" in text
    printed = good("table", "lenet.csv", "--s1", "8", "--s2", "8", "--step", "4")
    assert printed == (networks / "costs.csv").read_text()


def test_the_command_takes_some_widths(good, networks):
    net = read_network("lenet.csv")
    name = next(each for each, width in net.widths.items() if not width.fixed)
    lines = good("table", "lenet.csv", "--s1", "8", "--s2", "8", "--widths", name, "--step", "1").splitlines()
    width = net.widths[name].size
    assert len(lines) == 1 + len(net.priced) + width - math.ceil(width / 4)


def test_a_table_that_is_too_long_names_the_option(refused, networks):
    (networks / "wide.csv").write_text("name,kind,c,f\nfc,linear,4000,4000\n")
    assert "--step" in refused("table", "wide.csv", "--s1", "8", "--s2", "8", "--step", "1")
