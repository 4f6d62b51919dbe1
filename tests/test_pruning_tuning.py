"""Pruned networks: norms, fine-tuning, checkpoints, folders and steps; what happens meanwhile has no effect."""

from __future__ import annotations

import copy
import functools
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from pruned import ARRAY, HELD_OUT, IMAGE, Net, images, loader, made, quietly, same  # noqa: E402
from torch import nn  # noqa: E402

import hwcost.torch  # noqa: E402
from hwcost import InvalidValueError, from_torch, network_cost  # noqa: E402
from hwcost.importers.torch.resize import changed_numbers, cut_in_place, resized  # noqa: E402
from hwcost.network.channels import first_channels  # noqa: E402
from hwcost.pruning.batches import Batch, Task  # noqa: E402
from hwcost.pruning.choosing import Choice  # noqa: E402
from hwcost.pruning.identity import identity_of  # noqa: E402
from hwcost.pruning.norms import of_the_batch, re_estimate, re_estimate_if_better  # noqa: E402
from hwcost.pruning.steps import weights_of  # noqa: E402
from hwcost.pruning.tuning import Tuning  # noqa: E402
from hwcost.torch import prune, pruned, schedule  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return made()


# ---------------------------------------------------------------- norms


def test_norms_are_those_of_the_new_network(net):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT, least=0.1)
    cut = resized(net, result.network, keep=result.kept).eval()
    x = torch.cat([batch[0] for batch in loader(192)])
    inner = result.model.blocks[0].n1
    hidden = {}
    handle = inner.register_forward_pre_hook(lambda module, args: hidden.update(x=args[0]))
    result.model(x)
    handle.remove()
    mean = hidden["x"].mean((0, 2, 3))
    assert (inner.running_mean - mean).abs().max() < (cut.blocks[0].n1.running_mean - mean).abs().max() + 0.05
    assert inner.momentum == 0.1


def test_measuring_leaves_norms_as_they_are(net):
    before = copy.deepcopy(net)
    with of_the_batch(net):
        assert net.stem[1].training
        net(images(16)[0])
    assert same(net, before)
    assert not net.stem[1].training
    assert not re_estimate(nn.Linear(2, 2), [])


def late(net):
    """A module whose norms learn their statistics slowly."""
    for each in net.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.momentum = 0.001
    return net


def test_statistics_are_new_only_if_that_is_better(net):
    task, held_out = Task(loader(192), F.cross_entropy), [Batch((x,), {}, y, len(x)) for x, y in HELD_OUT]
    own, before = list(task.batches(torch.device("cpu"))), copy.deepcopy(net)
    first = task.measured(net, held_out)
    strange = [each._replace(args=(100 * each.args[0],)) for each in own]
    assert re_estimate_if_better(net, strange, first, lambda: task.measured(net, held_out)) == (first, False)
    assert same(net, before)
    lagging = copy.deepcopy(net)
    lagging.stem[1].running_var.mul_(50)
    first = task.measured(lagging, held_out)
    after, is_new = re_estimate_if_better(lagging, own, first, lambda: task.measured(lagging, held_out))
    assert is_new
    assert after.loss < first.loss
    assert after == task.measured(lagging, held_out)
    broken = [each._replace(args=(each.args[0] * float("nan"),)) for each in own]
    assert not re_estimate_if_better(net, broken, first, lambda: task.measured(net, held_out))[1]
    assert same(net, before)


def test_norms_that_lag_after_a_fine_tuning_are_estimated_anew():
    settings = {"target": 0.5, "data": loader(), "held_out": HELD_OUT, "importance": "norm"}
    with_new, as_trained = (prune(late(made()), IMAGE, ARRAY, **settings) for _ in range(2))
    with_new.fine_tune(epochs=2)
    as_trained.fine_tune(epochs=2, norms=False)
    one, other = (each.report.stages[-1] for each in (with_new, as_trained))
    assert (one.name, other.name) == ("fine-tuned, 2 epochs, norms re-estimated", "fine-tuned, 2 epochs")
    assert one.measured.loss < other.measured.loss
    assert one.measured == Task(HELD_OUT, F.cross_entropy).measured(
        with_new.model, Task(HELD_OUT, F.cross_entropy).batches(torch.device("cpu"))
    )
    pairs = zip(with_new.model.parameters(), as_trained.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_teacher_whose_norms_lag_is_told():
    net = late(made())
    net.stem[1].running_var.mul_(500)
    before = copy.deepcopy(net)
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(192), held_out=HELD_OUT, importance="norm")
    result.fine_tune(epochs=1)
    assert any("norms lag behind" in note and "update_bn" in note for note in result.report.notes)
    assert same(net, before)


@pytest.mark.parametrize("norms", [True, False])
def test_a_fine_tuning_that_makes_it_worse_is_told(net, norms):
    result = prune(net, IMAGE, ARRAY, target=0.8, data=loader(), held_out=HELD_OUT, importance="norm")
    first = result.report.stages[-1].measured.loss
    result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.SGD(own, 1e-4), norms=norms)
    after = result.report.stages[-1].measured.loss
    assert any("rose" in note for note in result.report.notes) == (after > first)
    result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.SGD(own, 30.0), norms=norms)
    last = result.report.stages[-1].measured.loss
    assert last > after
    note = result.report.notes[-1]
    assert f"rose from {after:.4f} to {last:.4f}; try fewer epochs, a smaller learning rate" in note


class Remembers(nn.Module):
    """A module whose forward writes to an attribute, a list, and a buffer that two names share; weights are tied."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
        self.c, self.out = nn.Linear(8, 8), nn.Linear(8, 4)
        self.c.weight = self.b.weight
        self.calls, self.seen = 0, []
        self.register_buffer("steps", torch.zeros(1))
        self.same = self.steps

    def forward(self, x):
        self.calls += 1
        self.seen.append(len(x))
        self.steps.add_(1)
        return self.out(self.c(self.b(self.norm(self.a(x)).relu())).relu())


@pytest.mark.parametrize("make", [made, Remembers])
def test_a_module_cut_in_place_is_its_copy_to_the_bit_and_then_as_it_was(make):
    net, x = make().eval(), images(16)[0] if make is made else torch.randn(16, 6)
    network = from_torch(net, example_inputs=x[:1])
    before = copy.deepcopy(net.train())
    names = [name for name, width in network.widths.items() if not width.fixed]
    pointers = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    assert len(names) > 1 or make is not made
    for name in names:
        keep = {name: first_channels(network.widths[name], network.widths[name].size // 2)}
        small = resized(net, network, keep=keep)
        with cut_in_place(net, network, keep), of_the_batch(net):
            found, numbers = net(x), changed_numbers(before, net)
        assert numbers == changed_numbers(before, small) != {}
        with of_the_batch(small):
            assert torch.equal(found, small(x))
    assert same(net, before)
    assert net.training
    assert not changed_numbers(before, net)
    assert pointers == {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    if make is Remembers:
        assert (net.calls, net.seen, net.steps.item()) == (0, [], 0)
        assert net.same is net.steps
        assert net.c.weight is net.b.weight


def test_a_module_is_as_it_was_after_an_error_while_it_is_cut():
    net = Net()
    network = from_torch(net, example_inputs=IMAGE)
    with pytest.raises(KeyError), cut_in_place(net, network, {"stem.0": [0, 6]}):
        raise KeyError
    assert net.stem[0].out_channels == len(net.stem[0].weight) == 12


# ---------------------------------------------------------------- what happens meanwhile has no effect


class Noisy(torch.utils.data.Dataset):
    """Images whose transform draws random numbers, and that count how often a pass over them begins."""

    def __init__(self):
        self.pictures, self.labels = images()

    def __len__(self):
        return 96

    def __getitem__(self, place):
        return self.pictures[place] + 0.1 * torch.randn(3, 8, 8), self.labels[place]


def test_random_numbers_of_others_are_left_alone_and_have_no_effect(net):
    noisy = torch.utils.data.DataLoader(Noisy(), 16, shuffle=True)
    results = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        result = prune(net, IMAGE, ARRAY, target=0.6, data=noisy, held_out=noisy, importance="taylor")
        result.fine_tune(epochs=1)
        result.re_estimate_norms()
        assert torch.equal(torch.get_rng_state(), before)
        results.append(result)
    assert results[0].report.stages == results[1].report.stages
    assert same(results[0].model, results[1].model)
    other = prune(net, IMAGE, ARRAY, target=0.6, data=noisy, held_out=noisy, importance="taylor", seed=1)
    assert other.report.stages[0] != results[0].report.stages[0]


def test_a_task_does_not_begin_a_pass():
    passes = []

    class Data:
        def __iter__(self):
            passes.append(1)
            return iter([images(16)])

    task = Task(Data(), F.cross_entropy)
    assert passes == []
    assert len(list(task.batches(torch.device("cpu")))) == len(passes) == 1


def test_batches_that_are_not_finite_leave_the_module_as_it_was(net):
    before = copy.deepcopy(net)
    bad = [(images(16)[0] * float("inf"), images(16)[1])]
    with pytest.raises(InvalidValueError, match="without nan"):
        prune(net, IMAGE, ARRAY, target=0.6, data=loader(), held_out=bad)
    assert same(net, before)


def test_a_choice_above_the_limit_is_an_error_and_no_result(net, monkeypatch):
    monkeypatch.setattr("hwcost.pruning.fitting.choose", lambda *given: Choice({"blocks.0.up": 23}, 0, 0, None))
    with pytest.raises(InvalidValueError, match="and the limit is"):
        quietly(net, IMAGE, ARRAY, target=0.6)


# ---------------------------------------------------------------- ways on


def test_fine_tuning_lowers_the_loss_and_is_the_same_every_time(net):
    results = [prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT) for _ in range(2)]
    for result in results:
        torch.manual_seed(np.random.default_rng().integers(1000))  # what else happens has no effect
        assert result.fine_tune(epochs=2) is result
    assert same(*(result.model for result in results))
    stages = results[0].report.stages
    assert stages[-1].name.startswith("fine-tuned, 2 epochs")
    assert stages[-1].measured.loss < stages[-2].measured.loss
    assert not results[0].model.training


@pytest.mark.parametrize("generator", [None, 3])
def test_fine_tuning_that_was_stopped_ends_with_the_same_bits(net, tmp_path, generator):
    own = {} if generator is None else {"generator": torch.Generator().manual_seed(generator)}
    whole, stopped = (prune(net, IMAGE, ARRAY, target=0.5, data=loader(**own), held_out=HELD_OUT) for _ in range(2))
    whole.fine_tune(epochs=3)
    path, seen = tmp_path / "state", []

    def progress(done, of):
        seen.append((done, of))
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.fine_tune(epochs=3, checkpoint=path, progress=progress)
    again = prune(net, IMAGE, ARRAY, target=0.5, data=loader(**own), held_out=HELD_OUT)
    again.fine_tune(epochs=3, checkpoint=path)
    assert same(whole.model, again.model)
    assert seen[0] == (1, 18)


def test_checkpoints_of_others_and_damaged_ones_are_refused(net, tmp_path):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT)
    path = tmp_path / "state"
    result.fine_tune(epochs=1, checkpoint=path)
    with pytest.raises(InvalidValueError, match="its epochs differs"):
        result.fine_tune(epochs=2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidValueError, match="state is damaged"):
        result.fine_tune(epochs=1, checkpoint=path)


def test_a_checkpoint_goes_on_from_its_own_start_alone(net, tmp_path):
    path, settings = tmp_path / "state", {"target": 0.5, "data": loader(), "held_out": HELD_OUT, "importance": "norm"}

    def stop(done, of):
        if done == 8:
            raise KeyboardInterrupt

    whole, result = (prune(net, IMAGE, ARRAY, **settings) for _ in range(2))
    whole.fine_tune(epochs=2)
    with pytest.raises(KeyboardInterrupt):
        result.fine_tune(epochs=2, checkpoint=path, progress=stop)
    changed = prune(net, IMAGE, ARRAY, **settings)
    with torch.no_grad():
        changed.model.head.bias.add_(1.0)
    for other, more, words in (
        (changed, {}, "weights at the start"),
        (prune(net, IMAGE, ARRAY, **settings), {"distil": 0.5}, "distil"),
        (prune(net, IMAGE, ARRAY, **settings), {"loss": lambda outputs, wanted: outputs.square().mean()}, "loss"),
    ):
        with pytest.raises(InvalidValueError, match=f"of another fine-tuning: its {words} differs"):
            other.fine_tune(epochs=2, checkpoint=path, **more)
    assert same(result.fine_tune(epochs=2, checkpoint=path).model, whole.model)  # in the same session
    with pytest.raises(InvalidValueError, match="its weights at the start differs"):
        result.fine_tune(epochs=2, checkpoint=path)


class Smooth(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by, self.inner = by, nn.CrossEntropyLoss(label_smoothing=by / 2)

    def forward(self, outputs, wanted):
        return self.by * self.inner(outputs, wanted)


def distance(by):
    def inner(outputs, wanted, power=by):
        return (outputs - wanted).abs().pow(power).mean()

    return inner


class Bound:
    def loss(self, outputs, wanted):
        return F.cross_entropy(outputs, wanted)

    def other(self, outputs, wanted):
        return F.mse_loss(outputs, wanted)


def losses():
    """Losses that differ from each other, made anew."""
    return [
        F.cross_entropy, F.mse_loss, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss(),
        nn.CrossEntropyLoss(weight=torch.ones(4)), nn.CrossEntropyLoss(weight=torch.arange(4.0)), Smooth(0.1),
        Smooth(0.2), distance(1), distance(2), functools.partial(F.cross_entropy, label_smoothing=0.1),
        functools.partial(F.cross_entropy, label_smoothing=0.2), Bound().loss, Bound().other,
        lambda outputs, wanted: (outputs - wanted).mean(), lambda outputs, wanted: (outputs + wanted).mean(),
        lambda outputs, wanted: F.l1_loss(outputs, wanted) if wanted.dtype in {1, "a", "b"} else 0,
    ]  # fmt: skip


def test_losses_are_told_apart():
    texts = list(map(identity_of, losses()))
    assert texts == list(map(identity_of, losses()))
    assert len(set(texts)) == len(texts)
    assert not any(" at 0x" in text for text in texts)


def test_a_loss_that_holds_itself_is_told():
    def inner(outputs, wanted):
        return inner(outputs, wanted)

    def early():
        def held(outputs, wanted):
            return later

        text = identity_of(held)
        later = 1
        return text

    assert identity_of(inner) == identity_of(inner)
    assert "held" in early()


def test_a_teacher_is_measured_and_an_explicit_share_is_obeyed(net):
    settings = {"target": 0.5, "data": loader(), "held_out": HELD_OUT, "importance": "norm"}
    torch.manual_seed(0)
    text = "the teacher is worse than its pupil"

    def found(model, change=lambda result: None, **more):
        result = prune(model, IMAGE, ARRAY, **settings)
        change(result)
        result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.SGD(own, 1e-3), **more)
        name = result.report.stages[-1].name
        name = name.removesuffix(", norms re-estimated")
        assert any(text in note for note in result.report.notes) == name.endswith(", on labels alone")
        return result.model, name

    def misled(result):  # of figures in the report nothing follows
        first = result.report.stages[0]
        result.report.stages[0] = first._replace(measured=first.measured._replace(loss=1e9))

    taught, name = found(net)
    assert name == "fine-tuned, 1 epoch"
    assert same(found(net, misled)[0], taught)
    assert same(found(net, distil=0.7)[0], taught)
    assert not same(found(net, distil=0)[0], taught)

    def better(result):
        result.fine_tune(epochs=3, distil=0)

    bad = Net()
    assert found(bad, better)[1].endswith(", on labels alone")
    assert found(bad, better, distil=0.7)[1] == "fine-tuned, 1 epoch"
    assert not same(found(bad, better, distil=0.7)[0], found(bad, better)[0])
    assert same(found(bad, better, distil=0.0)[0], found(bad, better)[0])


def test_fine_tuning_leaves_the_modes_of_the_original_alone():
    net = made().train()
    net.stem[1].eval()
    modes = [module.training for module in net.modules()]
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT, importance="norm")
    result.fine_tune(epochs=1)
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(InvalidValueError, match="a smaller learning rate"):
        result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.SGD(own, 1e12))
    assert [module.training for module in net.modules()] == modes


def test_a_frozen_module_has_nothing_to_train(net):
    model = copy.deepcopy(net).requires_grad_(False)
    result = prune(model, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT, importance="norm")
    with pytest.raises(InvalidValueError, match="all of its parameters are frozen"):
        result.fine_tune(epochs=1)
    for search in (hwcost.torch.supernet, functools.partial(hwcost.torch.darts, array=ARRAY, target=0.5)):
        with pytest.raises(InvalidValueError, match="all of its parameters are frozen"):
            search(model, IMAGE, data=loader())


def test_an_optimizer_of_the_users_own_and_no_teacher(net):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT)
    before = copy.deepcopy(result.model)
    result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.AdamW(own, 1e-3), distil=0)
    assert not same(before, result.model)
    for settings, words in (({"epochs": 0}, "at least 1"), ({"distil": 2}, "a share"), ({"epochs": True}, "at least")):
        with pytest.raises(InvalidValueError, match=words):
            result.fine_tune(**settings)
    with pytest.raises(InvalidValueError, match="a smaller learning rate"):
        result.fine_tune(epochs=1, optimizer=lambda own: torch.optim.SGD(own, 1e12), distil=0)


def test_a_state_dict_is_cut_and_put_back(net):
    result = quietly(net, IMAGE, ARRAY, target=0.5)
    plain = resized(net, result.network, keep=result.kept)
    assert same(result.model, plain)
    plain.load_state_dict(result.cut(net.state_dict()))
    assert same(result.model, plain)
    with torch.no_grad():
        for tensor in result.model.parameters():
            tensor.add_(1.0)
    whole = result.undo()
    assert whole(IMAGE).shape == net(IMAGE).shape
    assert same(resized(whole, result.network, keep=result.kept), result.model)
    gone = sorted(set(range(24)) - set(result.kept["blocks.0.up"].tolist()))
    assert torch.equal(whole.blocks[0].up.weight[gone], net.blocks[0].up.weight[gone])
    with pytest.raises(InvalidValueError, match="a tensor of shape"):
        result.cut({"head.weight": torch.zeros(2, 2)})


class Elsewhere(nn.Module):
    """A module on a device without values, which takes only what is there, and whose outputs are on the CPU."""

    def __init__(self):
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.ones(4, 3, device="meta")), nn.BatchNorm2d(3)
        self.seen = 0

    def forward(self, x):
        assert x.device.type == "meta"
        self.seen += 1
        return torch.zeros(len(x), 4)


def first_outputs(outputs, targets):
    return outputs.mean()


def test_batches_follow_the_module(net):
    """A fine-tuned module may be on another device than the original and the data."""
    moved = Elsewhere()
    task = Task(loader(), first_outputs)
    held = list(task.batches(torch.device("cpu")))
    assert task.measured(moved, [each._replace(targets=each.targets.float()) for each in held]).loss == 0
    assert re_estimate(moved, held)
    assert moved.seen == 2 * len(held)
    assert all(each.args[0].device.type == each.targets.device.type == "cpu" for each in held)
    batch = Batch((held[0].args[0],), {"mask": [held[0].targets, 3]}, held[0].targets, 16).to(torch.device("meta"))
    assert batch.args[0].is_meta
    assert batch.named["mask"][0].is_meta
    assert batch.named["mask"][1] == 3
    assert batch.targets.is_meta


def test_an_original_teaches_from_its_own_device(net):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT)
    teacher = Elsewhere()
    tuning = Tuning(result.model, teacher, Task(loader(), F.cross_entropy), 1)
    tuning.run_epoch()
    assert teacher.seen == len(loader())


def test_a_step_stays_where_the_last_one_is(net, monkeypatch):
    first = quietly(net, IMAGE, ARRAY, target=0.8)
    asked = []

    def there(model):
        asked.append(model)
        return torch.device("meta")

    monkeypatch.setattr("hwcost.pruning.steps.device_of", there)
    assert {each.device.type for each in weights_of(first).state_dict().values()} == {"meta"}
    assert asked == [first.model]
    assert {each.device.type for each in first.undo().state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("make", [
    lambda own: torch.optim.SGD(own, 0.1, momentum=0.9), lambda own: torch.optim.AdamW(own, 0.01)
], ids=["sgd", "adamw"])  # fmt: skip
def test_an_optimizer_goes_on_where_it_was(make):
    """One step of the smaller module is that of the masked one: weights, momenta and counts are cut alike."""
    net = made(1).eval()
    optimizer = make(net.parameters())
    x, y = images(32)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    result = quietly(net, IMAGE, ARRAY, target=0.5)
    small = result.map_optimizer(optimizer)
    assert type(small) is type(optimizer)
    old = {name: optimizer.state[each] for name, each in net.named_parameters()}
    for name, each in result.model.named_parameters():
        for key, value in small.state[each].items():
            expected = result.cut({name: old[name][key]})[name] if value.shape == each.shape else old[name][key]
            assert torch.equal(value, expected), (name, key)
    before = copy.deepcopy(result.model)
    small.zero_grad()
    F.cross_entropy(result.model(x), y).backward()
    small.step()
    assert not same(before, result.model)
    with pytest.raises(InvalidValueError, match="of the module that was pruned"):
        result.map_optimizer(make(nn.Linear(2, 2).parameters()))


def test_a_folder_builds_the_module_again(net, tmp_path):
    result = prune(net, IMAGE, ARRAY, target=0.5, data=loader(), held_out=HELD_OUT)
    result.fine_tune(epochs=1)
    result.save(tmp_path / "out")
    again = pruned(tmp_path / "out", Net())
    assert same(again, result.model)
    assert torch.equal(again(IMAGE), result.model(IMAGE))
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["recipe.json", "weights.safetensors"]


def tied():
    model = nn.Sequential(
        nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.Linear(24, 4)
    )
    model[4].weight = model[2].weight
    return model


def test_tied_weights_stay_tied_in_a_folder(tmp_path):
    model = tied()
    result = quietly(model, torch.zeros(1, 8), ARRAY, target=0.6)
    assert result.model[4].weight is result.model[2].weight
    result.save(tmp_path)
    again = pruned(tmp_path, tied())
    assert again[4].weight is again[2].weight
    assert same(again, result.model)


def damaged(name, change):
    def apply(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return apply


DAMAGED = {
    "no recipe": (lambda folder: (folder / "recipe.json").unlink(), "cannot be read"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "cannot be read"),
    "half a recipe": (damaged("recipe.json", lambda text: text[:100]), "no recipe"),
    "half of the weights": (damaged("weights.safetensors", lambda data: data[:100]), "damaged"),
    "a recipe of another kind": (damaged("recipe.json", lambda text: b"[]"), "no recipe"),
    "another schema": (damaged("recipe.json", lambda text: text.replace(b"pruning/1", b"pruning/9")), "schema"),
    "other sizes": (damaged("recipe.json", lambda text: text.replace(b'"size": 24', b'"size": 8')), "different int"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_folders_that_are_damaged(name, net, tmp_path):
    change, words = DAMAGED[name]
    quietly(net, IMAGE, ARRAY, target=0.5).save(tmp_path)
    change(tmp_path)
    with pytest.raises(InvalidValueError, match=words):
        pruned(tmp_path, Net())


def test_a_folder_of_another_class_is_refused(net, tmp_path):
    quietly(net, IMAGE, ARRAY, target=0.5).save(tmp_path)
    with pytest.raises(InvalidValueError, match="the module that was imported"):
        pruned(tmp_path, nn.Linear(2, 2))
    with pytest.raises(InvalidValueError, match="a new module"):
        pruned(tmp_path, Net)


# ---------------------------------------------------------------- in steps


def test_steps_are_those_of_the_first_module(net):
    targets, results = (0.8, 0.6, 0.45), []
    settings = {"data": loader(), "held_out": HELD_OUT, "importance": "taylor", "least": 0.1}
    for step in schedule(net, IMAGE, ARRAY, targets=targets, **settings):
        step.fine_tune(epochs=1)
        results.append(step)
    today = network_cost(from_torch(net, example_inputs=IMAGE), ARRAY).total.cycles
    for target, step in zip(targets, results, strict=True):
        cycles = network_cost(from_torch(step.model, example_inputs=IMAGE), ARRAY).total.cycles
        assert 0.9 * target * today < cycles <= target * today
        assert step.original is net
        assert step.report.before.cycles == today
        assert step.report.after.cycles == cycles
        assert {name: (step.network.widths[name].size, size) for name, size in step.sizes.items()} == step.report.sizes
        assert not step.report.left_alone.keys() & step.sizes.keys()
        assert step.report.layers[0].before == results[0].report.layers[0].before
        shapes = {name: each.shape for name, each in resized(net, step.network, keep=step.kept).state_dict().items()}
        assert {name: each.shape for name, each in step.model.state_dict().items()} == shapes
        assert same(resized(step.undo(), step.network, keep=step.kept), step.model)
    for before, after in itertools.pairwise(results):
        for name in after.kept:
            assert set(after.kept[name]) <= set(before.kept.get(name, after.kept[name]))
        left = sorted(set(before.kept["blocks.0.up"]) - set(after.kept["blocks.0.up"]))  # cut in this step
        one, other = (each.undo().blocks[0].up.weight[left] for each in (before, after))
        assert left
        assert torch.equal(one, other)
        assert not torch.equal(one, net.blocks[0].up.weight[left])
    with pytest.raises(InvalidValueError, match="each step measures another module"):
        next(schedule(net, IMAGE, ARRAY, targets=(0.5,), known_losses={}))
    for targets in ((), (0.5, 0.6), (1.0,), 0.5, "half", ["half"]):
        with pytest.raises(InvalidValueError, match="each smaller than"):
            next(schedule(net, IMAGE, ARRAY, targets=targets))
