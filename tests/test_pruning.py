"""Networks that are pruned: the limit, what channels are worth, data, the report, measured costs."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from machines import BARE, RICH  # noqa: E402
from pruned import ARRAY, HELD_OUT, IMAGE, images, loader, made, quietly, same, table_of  # noqa: E402
from torch import nn  # noqa: E402

import hwcost.torch  # noqa: E402
from hwcost import InvalidValueError, MeasuredCosts, SystolicArray, from_torch, network_cost, tabulate  # noqa: E402
from hwcost.devices import read_device  # noqa: E402
from hwcost.importers.torch.resize import changed_numbers, resized  # noqa: E402
from hwcost.pruning.batches import Task  # noqa: E402
from hwcost.pruning.curves import best_channels, summed_values  # noqa: E402
from hwcost.torch import prune, schedule  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return made()


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("importance", ["curves", "taylor", "magnitude", "norm"])
@pytest.mark.parametrize("target", [0.8, 0.5])
def test_the_limit_is_kept_and_used(net, target, importance):
    before = copy.deepcopy(net)
    result = prune(net, IMAGE, ARRAY, target=target, data=loader(), held_out=HELD_OUT, importance=importance, least=0.1)
    report = result.report
    priced = network_cost(from_torch(result.model, example_inputs=IMAGE), ARRAY).total
    today = network_cost(from_torch(net, example_inputs=IMAGE), ARRAY).total
    assert report.after.cycles == priced.cycles <= target * today.cycles
    assert report.before.cycles == today.cycles
    assert report.used >= 0.97
    assert same(net, before)
    assert not any(module.training for module in net.modules())
    assert [stage.name for stage in report.stages] == ["original", "pruned, norms re-estimated"]
    masked = result.network.masked(net, result.kept)
    assert result.model(HELD_OUT[0][0]).shape == masked(HELD_OUT[0][0]).shape


@pytest.mark.parametrize("name", [*BARE, *RICH])
def test_the_limit_is_kept_on_every_machine(name, net):
    array = {**BARE, **RICH}[name]
    today = network_cost(from_torch(net, example_inputs=IMAGE), array).total.cycles
    result = quietly(net, IMAGE, array, target=0.7)
    assert result.report.after.cycles <= 0.7 * today
    assert (
        result.report.after.cycles == network_cost(from_torch(result.model, example_inputs=IMAGE), array).total.cycles
    )


def test_cycles_seconds_and_devices(net):
    array = SystolicArray(8, 8, clock_hz=1e6)
    today = network_cost(from_torch(net, example_inputs=IMAGE), array).total
    by_share = quietly(net, IMAGE, array, target=0.6)
    assert quietly(net, IMAGE, array, cycles=0.6 * today.cycles).sizes == by_share.sizes
    assert quietly(net, IMAGE, array, seconds=0.6 * today.seconds).sizes == by_share.sizes
    assert quietly(net, IMAGE, "gemmini", target=0.8).report.used <= 1


@pytest.mark.parametrize("device", ["gemmini", "gemmini-firesim", "tpu-v2/array"])
def test_the_device_is_named_as_reports_name_it(net, device):
    result = quietly(net, IMAGE, device, target=0.8, least=0)
    label = hwcost.report(result.network, read_device(device), extrapolate=True).label
    assert result.report.array == label
    assert device in label
    assert str(result.report).splitlines()[0] == f"{result.report.name} on {label}"


@pytest.mark.parametrize("fields", [{}, {"buffer_bytes": 65536.0}])
def test_an_array_is_named_as_reports_name_it(net, fields):
    array = dataclasses.replace(ARRAY, **fields)
    assert quietly(net, IMAGE, array, target=0.8).report.array == array.in_words


def test_the_floor_is_said_first_and_a_limit_below_it_is_refused(net):
    result = quietly(net, IMAGE, SystolicArray(64, 64), target=0.9, least=0)
    floor = network_cost(result.network.at({name: width.multiple for name, width in result.network.widths.items()
                                            if not width.fixed}), SystolicArray(64, 64)).total.cycles  # fmt: skip
    assert result.report.floor == floor
    assert re.match(r"floor +\S+ % of the cycles are left with every width at", str(result.report).splitlines()[2])
    with pytest.raises(InvalidValueError, match="no widths can save the rest"):
        quietly(net, IMAGE, SystolicArray(64, 64), cycles=floor - 1, least=0)


def test_widths_and_modules_can_be_kept_and_sizes_are_multiples(net):
    result = quietly(net, IMAGE, ARRAY, target=0.85, keep=["stem", "blocks.1"], multiple=2, least=0.5)
    assert {"stem.0", "blocks.1.up"}.isdisjoint(result.sizes)
    assert all(size % 2 == 0 and 2 * size >= result.network.widths[name].size for name, size in result.sizes.items())
    assert result.report.left_alone["stem.0"] == "kept as asked"
    assert result.report.left_alone["head"] == "an output of the network"


# ---------------------------------------------------------------- what channels are worth


def test_channels_with_the_best_scores_stay(net):
    scores = {"blocks.0.up": np.arange(24.0), "grouped": np.arange(16.0)[::-1]}
    result = prune(net, IMAGE, ARRAY, target=0.8, data=loader(), importance=scores)
    assert set(result.sizes) <= set(scores)
    for name, size in result.sizes.items():
        assert sorted(scores[name][result.kept[name]]) == sorted(scores[name])[-size:]
    again = prune(net, IMAGE, ARRAY, target=0.8, data=loader(), importance=lambda model, network: scores)
    assert same(result.model, again.model)


def test_groups_keep_their_own_best_channels():
    scores = np.array([9.0, 8.0, 7.0, 1.0, 2.0, 3.0])
    assert best_channels(scores, 2, 2).tolist() == [0, 5]
    assert summed_values(scores, 2).tolist() == [0.0, 12.0, 12.0, 22.0, 22.0, 30.0]


def test_a_channel_that_does_nothing_goes_first(net):
    for importance in ("taylor", "magnitude", "norm"):
        model = copy.deepcopy(net)
        dead = [3, 11, 17]
        block = model.blocks[0]
        with torch.no_grad():
            for norm in (block.n1, block.n2):
                norm.weight[dead], norm.bias[dead] = 0.0, 0.0
            block.up.weight[dead] *= 1e-3
            block.dw.weight[dead] *= 1e-3
            block.down.weight[:, dead] *= 1e-3
        settings = {"data": loader(), "importance": importance, "keep": ["stem", "blocks.1", "grouped"]}
        result = prune(model, IMAGE, ARRAY, target=0.97, **settings)
        assert set(result.sizes) == {"blocks.0.up"}
        gone = set(range(24)) - set(result.kept["blocks.0.up"].tolist())
        assert len(gone & set(dead)) == min(len(gone), len(dead))


def test_taylor_scores_are_gradients_times_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    x, y = torch.randn(8, 6), torch.randint(4, (8,))
    from hwcost.pruning.importance import scores_of

    network, task = from_torch(model, (1, 6)), Task([(x, y)], F.cross_entropy)
    found = scores_of("taylor", model, network, ["0"], task, lambda: task.batches(torch.device("cpu")))["0"]
    F.cross_entropy(model(x), y).backward()
    weight, bias = model[0].weight, model[0].bias
    expected = ((weight * weight.grad).sum(1) + bias * bias.grad).abs()
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-5)


def test_without_data_it_is_said(net):
    with pytest.warns(UserWarning, match="knows nothing of the task"):
        result = prune(net, IMAGE, ARRAY, target=0.7)
    assert any("knows nothing of the task" in note for note in result.report.notes)
    assert result.report.stages == []


def test_losses_that_are_known_are_not_measured_again(net):
    known, counts = {}, []
    first = prune(net, IMAGE, ARRAY, target=0.6, data=loader(), held_out=HELD_OUT, known_losses=known)
    kept = json.loads(json.dumps(known))
    again = {name: {int(size): loss for size, loss in own.items()} for name, own in kept.items()}

    def loss(outputs, targets):
        counts.append(1)
        return F.cross_entropy(outputs, targets)

    second = prune(net, IMAGE, ARRAY, target=0.6, data=loader(), held_out=HELD_OUT, loss=loss, known_losses=again)
    assert same(first.model, second.model)
    assert len(counts) < 16 + 8  # the scores, and both stages


# ---------------------------------------------------------------- data of any kind


class Pair(nn.Module):
    """Two inputs, and outputs that are no scores of classes."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(5, 16), nn.Linear(16, 2)

    def forward(self, one, other):
        return {"values": self.out((self.a(one) + self.b(other)).relu())}


def test_batches_of_several_inputs_and_of_keyword_arguments():
    torch.manual_seed(0)
    model = Pair().eval()
    rows = [torch.randn(8, 6), torch.randn(8, 5), torch.randn(8, 2)]
    inputs = (torch.zeros(1, 6), torch.zeros(1, 5))
    by_place = prune(
        model, inputs, ARRAY, target=0.6, data=[((rows[0], rows[1]), rows[2])],
        loss=lambda outputs, wanted: F.mse_loss(outputs["values"], wanted),
    )  # fmt: skip
    by_name = prune(
        model, inputs, ARRAY, target=0.6, data=[{"one": rows[0], "other": rows[1]}],
        loss=lambda outputs, batch: F.mse_loss(outputs["values"], rows[2]),
    )  # fmt: skip
    assert by_place.sizes == by_name.sizes == {"a": 8}
    assert same(by_place.model, by_name.model)
    assert by_place.report.stages[0].measured.accuracy is None
    by_place.fine_tune(epochs=2)


BAD_DATA = {
    "a tensor": (torch.zeros(3), "a loader or a list"),
    "an iterator": (iter([(1, 2)]), "an iterator ends"),
    "nothing": ([], "there are none"),
    "triples": ([(1, 2, 3)], "batches of inputs and targets"),
    "numbers": ([1.0], "batches of inputs and targets"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_are_no_batches(name, net):
    data, words = BAD_DATA[name]
    with pytest.raises(InvalidValueError, match=words):
        prune(net, IMAGE, ARRAY, target=0.6, data=data)


REFUSED = {
    "no limit": ({}, "one of target"),
    "two limits": ({"target": 0.5, "cycles": 100}, "one of target"),
    "more than today": ({"target": 1.2}, "a share below 1"),
    "many seconds": ({"seconds": 1.0}, "less than it takes today"),
    "a text": ({"target": "half"}, "a number above 0"),
    "an importance": ({"target": 0.5, "importance": "size"}, "pass data, or one of"),
    "scores of no width": ({"target": 0.5, "importance": {}}, "at least one width"),
    "scores of another": ({"target": 0.5, "importance": {"z": [1]}}, "unknown width that can change 'z'"),
    "too few scores": ({"target": 0.5, "importance": {"grouped": [1.0]}}, "16 finite numbers"),
    "negative scores": ({"target": 0.5, "importance": {"grouped": [-1.0] * 16}}, "16 finite numbers"),
    "a width to keep": ({"target": 0.5, "keep": ["z"]}, "names of widths or modules"),
    "a share": ({"target": 0.5, "least": 2}, "a share of today's sizes"),
    "a multiple": ({"target": 0.5, "multiple": 0}, "an integer of at least 1"),
    "scores without widths": ({"target": 0.5, "importance": [1, 2]}, "a mapping from widths to scores"),
    "scores in an array": ({"target": 0.5, "importance": np.ones(8)}, "a mapping from widths to scores"),
    "a function of one array": ({"target": 0.5, "importance": lambda *given: np.ones(8)}, "returns scores by width"),
    "a seed that is a text": ({"target": 0.5, "seed": "x"}, "seed is 'x'; allowed: an integer from 0"),
    "a seed below 0": ({"target": 0.5, "seed": -1}, "seed is -1"),
    "no effort": ({"target": 0.5, "effort": 0}, "effort is 0; allowed: an integer of at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_be(name, net):
    settings, words = REFUSED[name]
    with pytest.raises(InvalidValueError, match=words):
        quietly(net, IMAGE, ARRAY, **settings)


def test_a_loss_that_is_no_number(net):
    with pytest.raises(InvalidValueError, match="a mean over the batch"):
        prune(net, IMAGE, ARRAY, target=0.5, data=loader(), loss=lambda outputs, targets: outputs)


# ---------------------------------------------------------------- the report


def test_the_report_is_data_and_text(net):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), least=0.1)
    data = json.loads(json.dumps(result.report.as_dict(), allow_nan=False))
    assert data["after"]["cycles"] == result.report.after.cycles
    assert set(data["widths"]) == set(result.sizes)
    assert [each["name"] for each in data["layers"]] == list(result.network.priced)
    text = str(result.report)
    assert all(name in text for name in (*result.sizes, "held-out examples", "left alone", "utilization"))
    assert "every tenth batch" in text
    assert data["settings"]["seed"] == 0
    assert not [name for name, why in data["left_alone"].items() if name.startswith(f"{why} (")]


@pytest.mark.parametrize(
    ("gap", "said"), [(None, None), (0.0, None), (9e-6, None), (0.0123, "1.23 %"), (2.0, "200.00 %")]
)
def test_what_is_not_proven_is_said_with_its_gap(net, gap, said):
    report = quietly(net, IMAGE, ARRAY, target=0.5, least=0.1).report
    lines = [each for each in dataclasses.replace(report, gap=gap).lines() if "not proven" in each]
    assert len(lines) == (said is not None)
    assert all(f"at most {said} more" in each for each in lines)


def test_the_report_lists_what_changed_and_the_rest_once(net):
    report = quietly(net, IMAGE, ARRAY, target=0.8, multiple=4).report
    tables = {lines[0].split("  ")[0]: lines for lines in map(str.splitlines, str(report).split("\n\n"))}
    heads = re.split(" {2,}", tables["layer"][0])
    assert len(set(heads)) == len(heads)
    named = {line.split()[0] for line in tables["layer"][1:]}
    changed = {each.name for each in report.layers if each.shapes[0] != each.shapes[1]}
    assert named == changed
    assert 0 < len(changed) < len(report.layers)
    (line,) = tables["unchanged"]
    assert all(each.name in line for each in report.layers if each.name not in changed)
    reasons = list(report.left_alone.values())
    assert [str(report).count(f"{why}: ") for why in set(reasons)] == [1] * len(set(reasons))
    assert "left: what stays" in str(report)


@pytest.mark.parametrize("width", [50, 80, 160])
def test_the_report_is_as_wide_as_the_terminal(net, width):
    document = quietly(net, IMAGE, ARRAY, target=0.8).report.document()
    lines = list(document.lines(width=width, elsewhere="--json"))
    assert max(map(len, lines)) <= width
    assert any(line.startswith("not shown    ") for line in lines) == (width < 160)


@pytest.mark.parametrize("least", [0.0, 0.1, 0.3, 0.45])
@pytest.mark.parametrize("keep", [(), ("stem",)])
@pytest.mark.parametrize("measured", [False, True])
def test_the_share_in_a_refusal_is_accepted(net, least, keep, measured):
    array = ARRAY
    if measured:
        costs = tabulate(from_torch(net, example_inputs=IMAGE), ARRAY, step=4, least=0)
        array = MeasuredCosts({name: rows * [1, 1, 1e-7 / 3] for name, rows in costs.layers.items()})
    with pytest.raises(InvalidValueError, match="no widths can save the rest") as refusal:
        quietly(net, IMAGE, array, target=1e-6, least=least, keep=keep)
    text = str(refusal.value)
    share = float(text.partition("at least ")[2].split()[0])
    report = quietly(net, IMAGE, array, target=share, least=least, keep=keep).report
    assert report.floor <= report.limit <= report.floor + 2e-4 * report.limit / share
    assert ("a smaller least" in text) == (least > 0)
    assert ("fewer widths that stay" in text) == bool(keep)
    assert "depth=True (--depth)" in text


def test_what_is_handed_on():
    assert hwcost.torch.resized is resized
    assert {"prune", "pruned", "resized", "schedule"} <= set(dir(hwcost.torch))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hwcost.torch.nothing  # noqa: B018


class Written(nn.Module):
    """A forward with a size written into it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        y = self.b(self.a(x).relu())
        return self.c(y * torch.ones(16)) if y.shape[-1] == 16 else self.c(y)[..., :2]


def test_a_module_with_sizes_in_its_code_is_refused_and_not_pruned_wrongly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = prune(Written(), torch.zeros(1, 8), ARRAY, target=0.8)
    assert (
        result.report.after.cycles
        == network_cost(from_torch(result.model, example_inputs=torch.zeros(1, 8)), ARRAY).total.cycles
    )


# ---------------------------------------------------------------- measured costs


def uneven(net, seed=0, missing=0.3):
    """Times that do not rise with the width, of all layers but the last, without some sizes below today's."""
    rng, today, tables = np.random.default_rng(seed), from_torch(net, example_inputs=IMAGE), {}
    for name, rows in table_of(net).layers.items():
        sides = [getattr(today[name], field) for field in today[name].WIDTHS]
        stays = (rows[:, :2] == sides).all(1) | (rng.random(len(rows)) >= missing)
        seconds = rows[:, 2] * rng.uniform(0.5e-6, 1.5e-6, len(rows))
        tables[name] = np.column_stack([rows[:, :2], seconds])[stays]
    del tables["head"]
    return hwcost.MeasuredCosts(tables)


@pytest.mark.parametrize("target", [0.8, 0.5])
def test_the_written_table_of_an_array_prunes_as_the_array_does(net, tmp_path, target):
    hwcost.write_costs(tmp_path / "costs.csv", table_of(net))
    costs = hwcost.read_costs(tmp_path / "costs.csv")
    one, other = (quietly(net, IMAGE, each, target=target, least=0.1) for each in (ARRAY, costs))
    assert dict(one.sizes) == dict(other.sizes)
    assert one.report.after.cycles == other.report.after.cycles
    assert one.report.after.seconds == pytest.approx(other.report.after.seconds)
    assert same(one.model, other.model)


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_on_measured_times_is_kept_and_looked_up_anew(net, seed):
    costs = uneven(net, seed)
    result = quietly(net, IMAGE, costs, target=0.6, least=0)
    rows = {name: {(int(i), int(o)): cost for i, o, cost in own} for name, own in costs.layers.items()}

    def time(module):
        layers = from_torch(module, example_inputs=IMAGE)
        return sum(rows[name][tuple(getattr(layers[name], f) for f in layers[name].WIDTHS)] for name in rows)

    report = result.report
    assert time(net) == pytest.approx(report.before.seconds)
    assert time(result.model) == pytest.approx(report.after.seconds)
    assert report.limit == pytest.approx(0.6 * time(net))
    assert 0.97 <= report.used <= 1
    text = str(report)
    assert " ms" in text
    assert "cycles" not in text
    assert "no costs of head" in text
    assert report.as_dict()["limit_seconds"] == report.limit
    smaller = list(schedule(net, IMAGE, costs, targets=(0.8, 0.6), importance=ones))
    assert all(step.report.after.seconds <= share * time(net) for step, share in zip(smaller, (0.8, 0.6), strict=True))
    assert smaller[0].report.floor == smaller[1].report.floor


def ones(model, network):
    return {name: torch.ones(width.size) for name, width in network.widths.items()
            if not width.fixed and any(name in each.widths for each in network.priced.values())}  # fmt: skip


def test_what_a_table_cannot_give(net):
    costs = uneven(net)
    with pytest.raises(InvalidValueError, match="pass target or seconds"):
        quietly(net, IMAGE, costs, cycles=1000)
    with pytest.raises(InvalidValueError, match="pass target or cycles"):
        quietly(net, IMAGE, hwcost.MeasuredCosts(dict(table_of(net).layers), "cycles"), seconds=1e-6)
    with pytest.raises(InvalidValueError, match="at the cheapest sizes that were measured"):
        quietly(net, IMAGE, costs, target=0.01, least=0)
    with pytest.raises(InvalidValueError, match=r"unknown layer 'stem' in the table of costs.*did you mean 'stem\.0'"):
        quietly(net, IMAGE, hwcost.MeasuredCosts({"stem": {(3, 12): 1.0}}), target=0.5)


def test_widths_that_were_measured_at_one_size_stay(net):
    costs = table_of(net, widths=["blocks.0.up"])
    result = quietly(net, IMAGE, costs, target=0.8, least=0)
    assert list(result.sizes) == ["blocks.0.up"]
    assert result.report.left_alone["blocks.1.up"] == "no smaller size of it was measured"


def test_transposed_convolutions_have_their_numbers():
    for groups in (1, 2):
        model = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.ConvTranspose2d(12, 8, 2, 2, groups=groups), nn.Conv2d(8, 4, 1)
        )
        network = from_torch(model, (1, 3, 8, 8))
        small = resized(model, network, {"0": 6, "1": 4})
        assert (small[1].in_channels, small[1].out_channels) == (6, 4)
        changes = changed_numbers(model, small)
        assert changes["1"] == {"in_channels": (12, 6), "out_channels": (8, 4)}
        small(torch.zeros(1, 3, 8, 8))


PICTURES, LABELS = images(16)
UNUSABLE = {
    "nan": ([(PICTURES * float("nan"), LABELS)], "without nan"),
    "other inputs": ([(PICTURES[:, :2], LABELS)], "a batch of data .* it raises RuntimeError"),
    "other labels": ([(PICTURES, LABELS + 90)], "the loss of a batch of data .* it raises IndexError"),
    "labels that are no integers": ([(PICTURES, LABELS.float())], "the loss of a batch of data .* it raises"),
}


@pytest.mark.parametrize("importance", ["curves", "taylor"])
@pytest.mark.parametrize("name", UNUSABLE)
def test_batches_that_cannot_be_used(name, importance, net):
    data, words = UNUSABLE[name]
    with pytest.raises(InvalidValueError, match=words):
        prune(net, IMAGE, ARRAY, target=0.6, data=data, importance=importance)


def test_weights_that_are_not_finite(net):
    model = copy.deepcopy(net)
    model.stem[0].weight.data[0, 0, 0, 0] = float("nan")
    for settings in ({"data": loader()}, {"importance": "magnitude"}):
        with pytest.raises(InvalidValueError, match="without nan"):
            quietly(model, IMAGE, ARRAY, target=0.6, **settings)


def test_a_shape_is_no_example(net):
    with pytest.raises(InvalidValueError, match=r"it is a shape; .*torch\.zeros"):
        quietly(net, (1, 3, 8, 8), ARRAY, target=0.6)
