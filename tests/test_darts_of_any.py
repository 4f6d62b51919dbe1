"""Widths of any module by gradient descent: masks are cuts at their corners, limits are exact, searches go on."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from pruned import ARRAY, HELD_OUT, IMAGE, Net, images, loader, made, same  # noqa: E402
from test_channels import CASES  # noqa: E402
from torch import nn  # noqa: E402

from hwcost import InvalidValueError, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.advice import tabulate  # noqa: E402
from hwcost.pruning.batches import seeded  # noqa: E402
from hwcost.pruning.curves import best_channels  # noqa: E402
from hwcost.pruning.masking import Masked  # noqa: E402
from hwcost.pruning.splitting import split  # noqa: E402
from hwcost.torch import darts, resized  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return made()


# ---------------------------------------------------------------- masks


def opened(model, shape, seed=0):
    """A network with three sizes of every width that can change, and scores of its channels."""
    network, rng = from_torch(model, example_inputs=torch.zeros(shape)), np.random.default_rng(seed)
    free = {name: width for name, width in network.widths.items() if not width.fixed and width.size > width.multiple}
    options = {}
    for name, width in free.items():
        units = np.unique([1, 1 + width.size // width.multiple // 2, width.size // width.multiple])
        options[name] = tuple(int(width.multiple * unit) for unit in units)
    return network.space(options), {name: rng.random(width.size) for name, width in free.items()}


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", [*sorted({*CASES} - {"tied"}), "residual, depthwise and grouped"])
def test_masks_at_a_corner_are_a_cut(name, mode):
    make, shape = CASES.get(name, (Net, (2, 3, 8, 8)))
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(shape)
    space, scores = opened(model, shape)
    model.train(mode)
    masked = Masked(model, space, scores)
    torch.testing.assert_close(masked(x), model(x))
    rng = np.random.default_rng(1)
    for _ in range(6):
        sizes = {width: int(rng.choice(own)) for width, own in space.options.items()}
        masked.probs = {
            width: F.one_hot(torch.tensor(own.index(sizes[width])), len(own)).float()
            for width, own in space.options.items()
        }
        kept = {width: best_channels(scores[width], space.widths[width].multiple, size)
                for width, size in sizes.items()}  # fmt: skip
        small = resized(model, space, keep=kept)
        torch.testing.assert_close(masked(x), small(x), rtol=1e-4, atol=1e-5)


def test_a_channel_counts_by_the_sizes_that_keep_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    space = from_torch(model, (1, 3)).space({"0": (1, 3, 4)})
    masked = Masked(model, space, {"0": np.array([0.1, 0.4, 0.2, 0.3])})
    probs = torch.tensor([0.5, 0.3, 0.2], requires_grad=True)
    masked.probs = {"0": probs}
    x = torch.randn(5, 3)
    mask = torch.tensor([0.2, 1.0, 0.5, 0.5])
    torch.testing.assert_close(masked(x), model[2](model[:2](x) * mask))
    masked(x).square().sum().backward()
    assert (probs.grad != 0).all()


# ---------------------------------------------------------------- data in two parts


@pytest.mark.parametrize("shuffles", [True, False])
def test_examples_of_a_loader_are_in_one_part(shuffles):
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(50.0)), 4, shuffle=shuffles)
    one, other, is_apart = split(data, 0)
    values = [set(torch.cat([each for (each,) in part]).tolist()) for part in (one, other)]
    assert is_apart
    assert [len(each) for each in values] == [40, 10]
    assert values[0] | values[1] == set(range(50))
    assert (len(one), len(other)) == (10, 3)
    assert [set(torch.cat([each for (each,) in part]).tolist()) for part in split(data, 0)[:2]] == values
    assert set(torch.cat([each for (each,) in split(data, 1)[1]]).tolist()) != values[1]


def test_batches_of_other_data_are_in_one_part():
    one, other, is_apart = split(list(range(11)), 0)
    assert (list(one), list(other), is_apart) == ([1, 2, 3, 4, 6, 7, 8, 9], [0, 5, 10], True)
    assert (len(one), len(other)) == (8, 3)
    assert not split(Unplaced(), 0)[2]


class Unplaced:
    """Data of a user's own without places."""

    def __iter__(self):
        return iter(range(3))


class Backwards:
    """A sampler of a user's own, whose places are tensors."""

    def __iter__(self):
        return iter(torch.arange(60).flip(0))

    def __len__(self):
        return 60


class Buckets:
    """Batches of neighbours, as those of texts of like length."""

    def __iter__(self):
        starts = torch.randperm(12).tolist()
        return (list(range(5 * each, 5 * each + 5)) for each in starts)

    def __len__(self):
        return 12


def numbers(**more):
    values = torch.utils.data.TensorDataset(torch.arange(60.0))
    return torch.utils.data.DataLoader(values, **{"batch_size": 4, **more})


WEIGHTS = torch.linspace(0, 1, 60)
SAMPLERS = {
    "weighted": lambda: numbers(sampler=torch.utils.data.WeightedRandomSampler(WEIGHTS, 200)),
    "with replacement": lambda: numbers(
        sampler=torch.utils.data.RandomSampler(range(60), replacement=True, num_samples=90)
    ),
    "a part": lambda: numbers(sampler=torch.utils.data.SubsetRandomSampler(range(20, 40))),
    "distributed": lambda: numbers(
        sampler=torch.utils.data.DistributedSampler(range(60), num_replicas=2, rank=1, shuffle=True)
    ),
    "custom": lambda: numbers(sampler=Backwards()),
    "custom batches": lambda: torch.utils.data.DataLoader(numbers().dataset, batch_sampler=Buckets()),
    "no batches": lambda: numbers(batch_size=None, shuffle=True),
    "last one dropped": lambda: numbers(batch_size=7, shuffle=True, drop_last=True),
    "collated": lambda: numbers(collate_fn=lambda items: (torch.stack([each for (each,) in items]) + 1000,)),
    "a generator": lambda: numbers(shuffle=True, generator=torch.Generator().manual_seed(3)),
}


def values_of(part, passes=5):
    found = []
    for number in range(passes):
        with seeded(part, 0, "pass", number):
            found.append(torch.cat([each.reshape(-1) for (each,) in part]).tolist())
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_whatever_a_loader_samples_no_example_is_in_both_parts(name):
    data = SAMPLERS[name]()
    one, other, is_apart = split(data, 0)
    assert is_apart
    first, second = ({value for each in values_of(part) for value in each} for part in (one, other))
    assert first
    assert second
    assert not first & second
    assert first | second <= {value for each in values_of(data, 50) for value in each}
    assert all(values_of(part) == values_of(split(data, 0)[place]) for place, part in enumerate((one, other)))
    for part in (one, other):
        assert len(part) == pytest.approx(len(list(part)), rel=0.4)
    if name == "weighted":  # those with a larger weight come more often, in both parts
        drawn = [value for each in values_of(one, 20) for value in each]
        assert sum(value >= 30 for value in drawn) > 2 * sum(value < 30 for value in drawn)
        assert len(one) == pytest.approx(40, abs=4)
    if name == "a part":
        assert (len(one), len(other)) == (4, 1)
        assert first | second == set(range(20, 40))
    if name == "distributed":
        assert len(first | second) == 30
    if name == "custom":
        assert values_of(one)[0] == sorted(first, reverse=True)
    if name == "custom batches":
        assert all(len({int(value) // 5 for value in batch}) == 1 for (batch,) in one)
    if name == "last one dropped":
        assert {len(batch) for (batch,) in one} == {7}
    if name == "collated":
        assert min(first | second) == 1000
    assert type(one) is type(data)


class NoPlaces(Backwards):
    def __iter__(self):
        return iter([object() for _ in range(60)])


def test_loaders_that_cannot_be_split_are_refused():
    with pytest.raises(InvalidValueError, match="at least 2 batches, one for each part, or a DataLoader"):
        split([(torch.zeros(4, 1), torch.zeros(4))], 0)
    with pytest.raises(InvalidValueError, match="told apart by their values"):
        split(numbers(sampler=NoPlaces()), 0)
    with pytest.raises(InvalidValueError, match="at least 2 different examples"):
        split(numbers(sampler=torch.utils.data.SubsetRandomSampler([7])), 0)


# ---------------------------------------------------------------- the search


def search(net, array=ARRAY, **more):
    settings = {"target": 0.5, "data": loader(192), "held_out": HELD_OUT, "epochs": 3, "options": 5} | more
    return darts(net, IMAGE, array, **settings)


def test_a_device_is_named(net):
    found = search(net, "gemmini", target=0.75, epochs=1).report
    assert found.array.startswith("gemmini: 16 x 16, ")


@pytest.mark.parametrize("target", [0.75, 0.5])
def test_the_limit_is_kept_and_used(net, target):
    before = made()
    result = search(net, target=target)
    priced = network_cost(from_torch(result.model, example_inputs=IMAGE), ARRAY).total
    assert result.report.after.cycles == priced.cycles <= target * network_cost(result.network, ARRAY).total.cycles
    assert result.report.used >= 0.97
    assert same(net, before)
    assert [stage.name for stage in result.report.stages] == ["original", "found by darts, norms re-estimated"]
    loss = result.report.stages[-1].measured.loss
    result.fine_tune(epochs=2, optimizer=lambda own: torch.optim.SGD(own, 1e-3), distil=0)
    assert result.report.stages[-1].measured.loss < loss
    gone = sorted(set(range(24)) - set(result.kept["blocks.0.up"].tolist()))
    assert gone
    assert not torch.equal(result.undo().blocks[0].up.weight[gone], net.blocks[0].up.weight[gone])  # as the search left


@pytest.mark.parametrize("entries", [400, 120, 60])
@pytest.mark.parametrize("target", [0.7, 0.5])
def test_the_limit_is_kept_if_tables_leave_sizes_out(net, monkeypatch, entries, target):
    monkeypatch.setattr("hwcost.pruning.candidates.MOST_ENTRIES", entries)
    result = darts(net, IMAGE, SystolicArray(2, 2), target=target, data=loader(32), held_out=HELD_OUT, epochs=1)
    assert result.report.used <= 1


def test_a_network_above_the_limit_is_an_error_and_no_result(net, monkeypatch):
    monkeypatch.setattr("hwcost.pruning.searching.Pool.grown", lambda pool, *given: tuple(
        int(own[-1]) for own in pool.options.values()
    ))  # fmt: skip
    with pytest.raises(InvalidValueError, match="and the limit is"):
        search(net, epochs=1)


def test_a_limit_below_the_floor_of_widths_with_scores_is_refused_before_the_training(net):
    scores, seen = {"blocks.0.up": np.arange(24.0)}, []
    more = {"importance": scores, "epochs": 1, "progress": lambda done, of: seen.append(done)}
    with pytest.raises(InvalidValueError, match=r"but for stem\.0, .* no widths can save the rest"):
        search(net, target=0.4, **more)
    assert seen == []
    result = search(net, target=0.9, **more)
    assert set(result.sizes) == {"blocks.0.up"}
    assert result.report.left_alone["stem.0"] == "there are no scores of its channels"


def test_a_width_that_the_task_needs_stays(net):
    """One width is worth everything, and another of the same cost nothing: alpha finds it."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(16, 32)
            self.c, self.d = nn.Linear(32, 4), nn.Linear(32, 4)

        def forward(self, x):
            return self.c(self.a(x[:, 0]).relu()) + self.d(self.b(x[:, 1]).relu())

    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(512, 2, 16, generator=random), torch.randint(4, (512,), generator=random)
    teacher = torch.randn(16, 4, generator=random)
    y = (x[:, 0] @ teacher).argmax(1)  # of the second input nothing is needed
    torch.manual_seed(0)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    result = darts(Two(), torch.zeros(1, 2, 16), SystolicArray(4, 4), target=0.6, data=batches, epochs=20, least=0.1)
    assert result.sizes.get("a", 32) >= 2 * result.sizes["b"]


def test_a_search_that_was_stopped_ends_with_the_same_bits(net, tmp_path):
    for number, data in enumerate((loader(192), loader(192, generator=torch.Generator().manual_seed(3)))):
        whole = search(net, data=data)
        path = tmp_path / f"state{number}"

        def progress(done, of):
            if done == 25:
                assert of == 30
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search(net, checkpoint=path, progress=progress, data=data)
        torch.manual_seed(np.random.default_rng().integers(1000))  # what else happens has no effect
        again = search(net, checkpoint=path, data=data)
        assert same(again.model, whole.model)
        assert again.sizes == whole.sizes
    for change in ({"epochs": 4}, {"seed": 1}, {"target": 0.6}, {"alpha_lr": 0.2}, {"options": 4}):
        with pytest.raises(InvalidValueError, match="of another fine-tuning"):
            search(net, checkpoint=tmp_path / "state0", **change)


def test_data_whose_parts_cannot_be_kept_apart_are_noted(net):
    class Stream:
        def __len__(self):
            return 10

        def __iter__(self):
            pictures, labels = images(80)
            order = torch.randperm(80)
            return zip(pictures[order].split(8), labels[order].split(8), strict=True)

    result = search(net, data=Stream(), epochs=1)
    assert any("same examples" in note for note in result.report.notes)
    assert not any("same examples" in note for note in search(net, epochs=1).report.notes)


def test_what_cannot_be_asked(net):
    with pytest.raises(InvalidValueError, match="no widths can save the rest"):
        search(net, target=0.01)
    with pytest.raises(InvalidValueError, match="options"):
        search(net, options=0)
    table = tabulate(from_torch(net, example_inputs=IMAGE), ARRAY)
    with pytest.raises(InvalidValueError, match="costs need a gradient"):
        darts(net, IMAGE, table, target=0.5, data=loader())
    with pytest.raises(InvalidValueError, match="target"):
        search(net, cycles=1000)
    for settings, words in (
        ({"alpha_lr": -1}, "alpha_lr is -1; allowed: a number above 0"), ({"alpha_lr": "x"}, "alpha_lr is 'x'"),
        ({"seed": -1}, "seed is -1"), ({"importance": [1, 2]}, "a mapping from widths"),
        ({"importance": np.ones(8)}, "a mapping from widths"),
    ):  # fmt: skip
        with pytest.raises(InvalidValueError, match=words):
            search(net, **settings)
