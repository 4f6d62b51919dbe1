"""On from a pruning: in steps, with optimizers that go on warm, and with checkpoints of wrapped modules."""

from __future__ import annotations

import copy
import itertools
import json
import warnings

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn, optim  # noqa: E402
from torch.optim import lr_scheduler  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402

from hwcost import InvalidValueError, MeasuredCosts, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402
from hwcost.torch import prune, pruned, schedule  # noqa: E402

ARRAY = SystolicArray(8, 8)
IMAGE = torch.zeros(1, 3, 8, 8)


class Grouped(nn.Module):
    """A grouped convolution, that a small limit leaves with one channel for each group, and a residual one."""

    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.c2, self.b2 = nn.Conv2d(16, 32, 3, padding=1, groups=4), nn.BatchNorm2d(32)
        self.c3, self.b3 = nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 4)

    def forward(self, x):
        x = F.relu(self.b1(self.c1(x)))
        x = F.relu(self.b2(self.c2(x)))
        x = x + F.relu(self.b3(self.c3(x)))
        return self.fc(x.mean((2, 3)))


def made(seed=0):
    torch.manual_seed(seed)
    return Grouped().eval()


def batches(count=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [(torch.randn(16, 3, 8, 8, generator=random), torch.randint(4, (16,), generator=random))
            for _ in range(count)]  # fmt: skip


def quietly(call, *args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no data
        return list(call(*args, **settings)) if call is schedule else call(*args, **settings)


def same(a, b):
    one, other = a.state_dict(), b.state_dict()
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def train(model, optimizer, steps=2):
    for x, y in batches(steps, seed=3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


# ---------------------------------------------------------------- optimizers

OPTIMIZERS = {
    "sgd": lambda own: optim.SGD(own, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "plain sgd": lambda own: optim.SGD(own, 0.1, momentum=0.0),
    "adam": lambda own: optim.Adam(own, 0.01),
    "adamw": lambda own: optim.AdamW(own, torch.tensor(0.01), amsgrad=True, foreach=False),
    "nadam": lambda own: optim.NAdam(own, 0.01),
    "radam": lambda own: optim.RAdam(own, 0.01),
    "rmsprop": lambda own: optim.RMSprop(own, 0.01, momentum=0.9, centered=True),
    "adagrad": lambda own: optim.Adagrad(own, 0.01),
    "rprop": lambda own: optim.Rprop(own, 0.01),
    "asgd": lambda own: optim.ASGD(own, 0.01),
}
SCHEDULERS = {
    "none": lambda optimizer: None,
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 1),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10, cycle_momentum=False),
}


def check_next_step(large, before, result, cut):
    """One step with the same gradients moves the smaller module as the larger one, and neither moves the other."""
    small = result.map_optimizer(before)
    assert type(small) is type(before)
    random = torch.Generator().manual_seed(5)
    gradients = {name: torch.randn(each.shape, generator=random) for name, each in large.named_parameters()}
    for module, own in ((large, gradients), (result.model, cut(gradients))):
        for name, each in module.named_parameters():
            each.grad = own[name].clone()
    old, old_small = copy.deepcopy(large), copy.deepcopy(result.model)
    small.step()
    assert same(large, old)
    assert not same(result.model, old_small)
    moved = copy.deepcopy(result.model)
    before.step()
    assert same(result.model, moved)
    expected = cut(dict(large.named_parameters()))
    for name, each in result.model.named_parameters():
        torch.testing.assert_close(each, expected[name])
    rate = [float(group["lr"]) for group in before.param_groups]
    for group in small.param_groups:
        group["lr"] *= 0.5
    assert [float(group["lr"]) for group in before.param_groups] == rate


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_next_step_of_a_mapped_optimizer_is_that_of_the_old_one(kind, scheduler):
    model = made()
    optimizer = OPTIMIZERS[kind](model.parameters())
    rates = SCHEDULERS[scheduler](optimizer)
    train(model, optimizer)
    if rates is not None:
        rates.step()
    result = quietly(prune, model, IMAGE, ARRAY, target=0.5)
    assert "c1" in result.sizes
    check_next_step(model, optimizer, result, result.cut)


def test_a_new_scheduler_goes_on_and_hooks_stay():
    model, calls = made(), []
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    optimizer.register_step_post_hook(lambda *args: calls.append(1))
    rates = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    train(model, optimizer)
    rates.step()
    calls.clear()
    result = quietly(prune, model, IMAGE, ARRAY, target=0.5)
    small = result.map_optimizer(optimizer)
    more = lr_scheduler.StepLR(small, 1, gamma=0.5, last_epoch=rates.last_epoch)
    train(result.model, small)
    more.step()
    assert not calls
    assert not hasattr(result.map_optimizer(optimizer), "_opt_called")
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert small.param_groups[0]["lr"] < 0.05


def test_factors_of_squares_are_cut():
    model = made()
    optimizer = optim.Adafactor(model.parameters(), 0.01)
    train(model, optimizer)
    result = quietly(prune, model, IMAGE, ARRAY, target=0.5)
    before, small = copy.deepcopy(model), result.map_optimizer(optimizer)
    own, old = result.model.c3.weight, model.c3.weight
    rows = optimizer.state[old]["row_var"][torch.as_tensor(result.kept["c3"] if "c3" in result.kept
                                                           else result.kept["c2"])]  # fmt: skip
    assert small.state[own]["row_var"].shape[0] == own.shape[0] == len(rows)
    train(result.model, small)
    assert same(model, before)


class Ahead(optim.SGD):
    """An optimizer that keeps another one."""

    def __init__(self, own):
        own = list(own)
        super().__init__(own, 0.1)
        self.inner = optim.SGD(own, 0.1)


class Odd(optim.SGD):
    """An optimizer with a state of a shape of its own."""

    @torch.no_grad()
    def step(self, closure=None):
        for each in self.param_groups[0]["params"]:
            self.state[each]["sketch"] = torch.zeros(7, 3)


NOT_MAPPED = {
    "lbfgs": (optim.LBFGS, False, "LBFGS keeps tensors of all parameters as '_params'"),
    "lbfgs that went on": (optim.LBFGS, True, "LBFGS keeps tensors of all parameters"),
    "another inside": (Ahead, False, "keeps tensors of all parameters as 'inner'"),
    "another shape": (lambda own: Odd(own, 0.1), True, r"keeps 'sketch' of \(7, 3\) for a parameter"),
}


@pytest.mark.parametrize("name", NOT_MAPPED)
def test_optimizers_that_cannot_be_cut(name):
    make, goes_on, words = NOT_MAPPED[name]
    model = made()
    optimizer = make(model.parameters())
    if goes_on:
        x, y = batches(1)[0]

        def loss():
            optimizer.zero_grad()
            value = F.cross_entropy(model(x), y)
            value.backward()
            return value

        optimizer.step(loss)
    with pytest.raises(InvalidValueError, match=f"{words}.*an optimizer with a state for each parameter"):
        quietly(prune, model, IMAGE, ARRAY, target=0.5).map_optimizer(optimizer)


# ---------------------------------------------------------------- steps


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def test_the_floor_of_later_steps_is_that_of_the_first_module():
    """The cheapest size of all is above those that the first step leaves: the second step alone has another floor."""
    measured = {
        "0": {(8, 4): 6.0, (8, 8): 7.0, (8, 12): 8.0, (8, 16): 10.0},
        "2": {(4, 4): 7.9, (8, 4): 8.0, (12, 4): 1.0, (16, 4): 10.0},
    }
    scores = {"0": torch.ones(16)}
    costs, x = MeasuredCosts(measured, "cycles"), torch.zeros(1, 8)
    steps = list(schedule(two_layers(), x, costs, targets=(0.76, 0.7), importance=scores))
    assert [(dict(step.sizes), step.report.after.cycles) for step in steps] == [({"0": 8}, 15), ({"0": 4}, 13.9)]
    assert [step.report.floor for step in steps] == [9, 9]
    assert [step.report.as_dict()["floor_cycles"] for step in steps] == [9, 9]


def test_a_step_that_may_cut_more_has_a_lower_floor():
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    x, array = torch.zeros(1, 16), SystolicArray(4, 4)
    first = prune(net, x, array, target=0.8, importance={"0": torch.ones(32)}, keep=("2",), least=0)
    both = {name: torch.ones(32) for name in ("0", "2")}
    second = prune(net, x, array, target=0.3, importance=both, after=first, least=0)
    alone = prune(net, x, array, target=0.3, importance=both, least=0)
    assert first.report.floor > second.report.floor == alone.report.floor


@pytest.mark.parametrize("importance", ["taylor", "curves"])
def test_steps_of_grouped_convolutions_are_parts_of_the_first_module(importance, tmp_path):
    """The first step leaves one channel for each group, which read anew is a depthwise convolution."""
    model, results, x = made(), [], batches(1)[0][0]
    for step in schedule(
        model, IMAGE, ARRAY, targets=(0.3, 0.12), data=batches(), held_out=batches(1, seed=9), importance=importance,
        least=0.05,
    ):  # fmt: skip
        results.append(step)
        assert step.model.c2.groups == 4
        fresh = made(seed=8)
        small = resized(fresh, step.network, keep=step.kept)
        assert {name: each.shape for name, each in small.state_dict().items()} == {
            name: each.shape for name, each in step.model.state_dict().items()
        }
        small.load_state_dict(step.cut(fresh.state_dict()))
        assert same(small, resized(fresh, step.network, keep=step.kept))
        step.fine_tune(epochs=1)
        whole = step.undo()
        assert same(resized(whole, step.network, keep=step.kept), step.model)
        masked = step.network.masked(whole, step.kept)
        torch.testing.assert_close(step.model(x), masked(x), rtol=1e-4, atol=1e-5)
        step.save(tmp_path)
        assert same(pruned(tmp_path, made(seed=8)), step.model)
    first, second = results
    assert first.model.c2.in_channels == 4
    assert second.model.c2.out_channels < first.model.c2.out_channels
    assert second.report.after.cycles <= 0.12 * second.report.before.cycles
    for name in second.kept:
        assert set(second.kept[name]) <= set(first.kept.get(name, second.kept[name]))


def test_every_step_names_the_device():
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 8))
    ones = lambda model, network: {name: torch.ones(network.widths[name].size) for name in ("0", "2")}  # noqa: E731
    steps = list(schedule(model, torch.zeros(1, 64), "gemmini-firesim", targets=(0.75, 0.5), importance=ones))
    assert [step.report.array for step in steps] == [steps[0].report.array] * 2
    assert all(step.report.measured == "gemmini-firesim" for step in steps)


def test_an_optimizer_goes_on_from_step_to_step():
    model = made()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    train(model, optimizer)
    steps = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no data
        for step in schedule(model, IMAGE, ARRAY, targets=(0.7, 0.3, 0.12), least=0.05):
            optimizer = step.map_optimizer(optimizer)
            train(step.model, optimizer)
            steps.append((step, optimizer))
    for (before, old), (after, _) in itertools.pairwise(steps):
        again = quietly(prune, model, IMAGE, ARRAY, cycles=after.report.limit, after=before, least=0.05)
        assert again.sizes == after.sizes
        kept = {name: [list(before.kept.get(name, range(again.network.widths[name].size))).index(each)
                       for each in own] for name, own in again.kept.items()}  # fmt: skip

        def cut(state, before=before, again=again, kept=kept):
            own = _part(before, again, kept)
            return {name: own(name, each) for name, each in state.items()}

        check_next_step(before.model, old, again, cut)
    last, far = steps[-1][0], steps[0][1]
    assert [each.shape for group in last.map_optimizer(far).param_groups for each in group["params"]] == [
        each.shape for each in last.model.parameters()
    ]


def _part(before, after, kept):
    """What is left of a tensor of the step before, found by numbering its entries."""
    numbers = {name: torch.arange(each.numel()).reshape(each.shape).double()
               for name, each in before.original.state_dict().items()}  # fmt: skip
    one, other = before.cut(numbers), after.cut(numbers)

    def own(name, tensor):
        places = torch.searchsorted(one[name].flatten(), other[name].flatten())
        return tensor.detach().flatten()[places].reshape(other[name].shape)

    return own


def test_a_target_that_is_met_already_changes_nothing():
    model = made()
    settings = {"data": batches(), "held_out": batches(1, seed=9), "importance": "taylor"}
    met = quietly(prune, model, IMAGE, ARRAY, target=0.5, **settings)
    share = met.report.after.cycles / met.report.before.cycles
    steps = []
    for step in schedule(model, IMAGE, ARRAY, targets=(0.5, (share + 0.5) / 2, share, 0.3), **settings):
        step.fine_tune(epochs=1)
        steps.append(step)
    first, second, third, last = steps
    assert second.sizes == third.sizes == first.sizes
    assert second.model is not first.model
    assert not same(second.model, first.model)  # each was trained on
    assert [sum("is met already" in note for note in step.report.notes) for step in steps] == [0, 1, 1, 0]
    assert f"target {(share + 0.5) / 2:g} is met already: nothing was cut" in second.report.notes
    assert second.report.used <= 1
    assert third.report.used == pytest.approx(1)
    assert last.report.after.cycles <= 0.3 * last.report.before.cycles
    assert sum(stage.name.startswith("fine-tuned, 1 epoch") for stage in first.report.stages) == 1
    third.map_optimizer(OPTIMIZERS["adam"](first.model.parameters()))


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 8))


def test_the_least_size_is_a_share_of_the_first_width():
    model, example = layers(), torch.zeros(1, 8)
    steps = quietly(schedule, model, example, ARRAY, targets=(0.75, 0.5), least=0.5)
    assert [step.sizes for step in steps] == [{"0": 48}, {"0": 32}]
    network = from_torch(model, example_inputs=example)
    floor = network_cost(network.at({"0": 32}), ARRAY).total.cycles
    assert [step.report.floor for step in steps] == [floor, floor]
    assert "50.00 % of the cycles are left" in str(steps[1].report)


def test_the_least_size_is_no_share_of_a_share():
    """The first width is worth nothing, and still keeps half of its channels in all steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    scores = {"0": torch.full((64,), 1e-6), "2": torch.ones(64)}
    steps = quietly(schedule, model, torch.zeros(1, 8), ARRAY, targets=(0.7, 0.56, 0.4), least=0.5, importance=scores)
    assert [step.sizes["0"] for step in steps[1:]] == [32, 32]
    assert 32 <= steps[2].sizes["2"] < steps[1].sizes.get("2", 64)


def test_what_one_step_keeps_may_be_smaller_already():
    first = quietly(prune, layers(), torch.zeros(1, 8), ARRAY, target=0.75)
    with pytest.raises(InvalidValueError, match="every width would stay"):
        quietly(prune, first.original, torch.zeros(1, 8), ARRAY, target=0.5, after=first, keep=["0"])


def test_a_last_target_below_the_floor_is_refused_before_the_first_step():
    steps = schedule(layers(), torch.zeros(1, 8), ARRAY, targets=(0.75, 0.3), least=0.5)
    with pytest.raises(InvalidValueError, match=r"still takes 0\.5 of its cycles.*at least 0\.5 of today's"):
        quietly(next, steps)


def test_scores_of_the_first_module_are_for_all_steps():
    model, example = layers(), torch.zeros(1, 8)
    scores = {"0": torch.randperm(64, generator=torch.Generator().manual_seed(1)).double()}
    for step, size in zip(quietly(schedule, model, example, ARRAY, targets=(0.75, 0.5), importance=scores), (48, 32),
                          strict=True):  # fmt: skip
        assert sorted(scores["0"][step.kept["0"]]) == list(range(64 - size, 64))


def test_frozen_weights_stay_frozen_in_the_next_step():
    model = made()
    first = quietly(prune, model, IMAGE, ARRAY, target=0.7)
    first.model.c1.weight.requires_grad_(False)
    second = quietly(prune, model, IMAGE, ARRAY, target=0.4, after=first)
    assert [name for name, each in second.model.named_parameters() if not each.requires_grad] == ["c1.weight"]
    assert all(each.requires_grad for each in model.parameters())


def test_a_result_of_another_module_is_no_step():
    first = quietly(prune, made(), IMAGE, ARRAY, target=0.7)
    for after in (first, 1):
        with pytest.raises(InvalidValueError, match="a result of prune for the same module"):
            quietly(prune, made(), IMAGE, ARRAY, target=0.5, after=after)


# ---------------------------------------------------------------- checkpoints


def test_state_dicts_of_wrapped_modules_are_cut_under_their_prefix():
    model = made()
    result = quietly(prune, model, IMAGE, ARRAY, target=0.5)
    average = AveragedModel(model)
    average.update_parameters(model)
    small = AveragedModel(result.model)
    small.load_state_dict(result.cut(average.state_dict()))
    assert small.n_averaged == 1
    assert same(small.module, result.model)
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        found = result.cut({f"{prefix}{name}": each for name, each in model.state_dict().items()})
        assert list(found) == [f"{prefix}{name}" for name in model.state_dict()]
        assert all(torch.equal(found[f"{prefix}{name}"], each) for name, each in result.model.state_dict().items())


NO_STATE = {
    "a list": ([1], "a state dict of the module that was pruned"),
    "another name": ({"c9.weight": torch.zeros(1)}, "names of the module that was pruned, with or without 'module.'"),
    "another prefix": ({"net.c1.bias": torch.zeros(16)}, "names of the module that was pruned"),
    "a number for a name": ({1: torch.zeros(16)}, "names of the module that was pruned"),
    "another shape": ({"module.c1.bias": torch.zeros(3)}, r"module\.c1\.bias.*a tensor of shape \(16,\)"),
    "no tensor": ({"c1.bias": 3}, "a tensor of shape"),
}


@pytest.mark.parametrize("name", NO_STATE)
def test_what_is_no_state_dict_of_the_module(name):
    state, words = NO_STATE[name]
    with pytest.raises(InvalidValueError, match=words):
        quietly(prune, made(), IMAGE, ARRAY, target=0.5).cut(state)


def test_frozen_parameters_are_frozen_in_a_folder(tmp_path):
    model = made()
    model.c1.weight.requires_grad_(False)
    model.b2.bias.requires_grad_(False)
    result = quietly(prune, model, IMAGE, ARRAY, target=0.5)
    result.save(tmp_path)
    fresh = made(seed=1)
    fresh.fc.bias.requires_grad_(False)
    again = pruned(tmp_path, fresh)
    assert [name for name, each in again.named_parameters() if not each.requires_grad] == ["c1.weight", "b2.bias"]
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    del recipe["frozen"]  # as recipes had none at first
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    again = pruned(tmp_path, fresh)
    assert [name for name, each in again.named_parameters() if not each.requires_grad] == ["fc.bias"]
