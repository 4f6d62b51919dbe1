"""Which channels stay: a module that is cut computes what it computes with the other channels masked."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import InvalidValueError
from hwcost.network.channels import first_channels, staying
from hwcost.network.operations import Width

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from hwcost import from_torch  # noqa: E402
from hwcost.importers.torch.resize import resized  # noqa: E402


class Of(nn.Module):
    """Layers and a forward over them."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def normed(channels):
    """A batch norm with statistics of its own."""
    norm = nn.BatchNorm2d(channels)
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.uniform_(0.5, 1.5)
    return norm


class PartsGoOn(nn.Module):
    """Two halves, one of which goes through further layers; all of it is concatenated, as in YOLOv8."""

    def __init__(self):
        super().__init__()
        self.a, self.n, self.last = nn.Conv2d(3, 8, 1), normed(8), nn.Conv2d(16, 4, 1)
        self.more = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), normed(4)) for _ in range(2)])

    def forward(self, x):
        parts = list(self.n(self.a(x)).chunk(2, 1))
        parts.extend(more(parts[-1]).relu() for more in self.more)
        return self.last(torch.cat(parts, 1))


def tied():
    model = Of(lambda m, x: m.c(m.b(m.a(x)).relu()), a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 6, 1), c=nn.Conv2d(6, 6, 1))
    model.c.weight = model.b.weight
    return model


IMAGE = (2, 3, 6, 6)
CASES = {
    "grouped": (
        lambda: Of(
            lambda m, x: m.c(m.b(m.a(x))),
            a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 8, 1, groups=2), c=nn.Conv2d(8, 4, 1),
        ),
        IMAGE,
    ),
    "groups of groups": (
        lambda: Of(
            lambda m, x: m.d(torch.sigmoid(m.c(m.n(m.b(m.a(x)))))),
            a=nn.Conv2d(3, 12, 1), b=nn.Conv2d(12, 24, 3, groups=4, padding=1), n=normed(24),
            c=nn.Conv2d(24, 12, 3, groups=6), d=nn.Conv2d(12, 4, 1),
        ),
        IMAGE,
    ),
    "transposed in groups": (
        lambda: Of(
            lambda m, x: m.c(m.b(m.a(x)).relu()),
            a=nn.Conv2d(3, 8, 1), b=nn.ConvTranspose2d(8, 12, 2, 2, groups=4), c=nn.Conv2d(12, 4, 1),
        ),
        IMAGE,
    ),
    "groups on a sequence": (
        lambda: Of(
            lambda m, x: m.c(m.b(m.a(x.flatten(2)))),
            a=nn.Conv1d(3, 8, 3), b=nn.Conv1d(8, 16, 3, groups=4), c=nn.Conv1d(16, 2, 1),
        ),
        IMAGE,
    ),
    "depthwise with a multiplier": (
        lambda: Of(
            lambda m, x: m.c(m.n(m.b(m.a(x)))),
            a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 12, 3, groups=6), n=normed(12), c=nn.Conv2d(12, 4, 1),
        ),
        IMAGE,
    ),
    "residual": (
        lambda: Of(
            lambda m, x: m.head(F.adaptive_avg_pool2d(m.s(x) + m.n(m.b(m.a(m.s(x)).relu())), 1).flatten(1)),
            s=nn.Conv2d(3, 8, 1), a=nn.Conv2d(8, 10, 3, padding=1), b=nn.Conv2d(10, 8, 3, padding=1), n=normed(8),
            head=nn.Linear(8, 4),
        ),
        IMAGE,
    ),
    "concatenated and flattened": (
        lambda: Of(
            lambda m, x: m.head(torch.cat([m.a(x), m.b(x), m.a(x)], 1).flatten(1)),
            a=nn.Conv2d(3, 5, 3), b=nn.Conv2d(3, 7, 3), head=nn.Linear(17 * 16, 4),
        ),
        IMAGE,
    ),
    "a gate": (
        lambda: Of(
            lambda m, x: m.c(m.a(x) * torch.sigmoid(m.up(m.down(m.a(x).mean((2, 3), keepdim=True)).relu()))),
            a=nn.Conv2d(3, 8, 1), down=nn.Conv2d(8, 4, 1), up=nn.Conv2d(4, 8, 1), c=nn.Conv2d(8, 4, 1),
        ),
        IMAGE,
    ),
    "halves": (
        lambda: Of(
            lambda m, x: m.c(torch.mul(*m.a(x).chunk(2, 1))) + m.e(F.glu(m.d(x), 1)),
            a=nn.Conv2d(3, 12, 1), c=nn.Conv2d(6, 4, 1), d=nn.Conv2d(3, 10, 1), e=nn.Conv2d(5, 4, 1),
        ),
        IMAGE,
    ),
    "thirds": (
        lambda: Of(
            lambda m, x: m.c(torch.addcmul(*torch.chunk(m.b(m.n(m.a(x))), 3, dim=1))),
            a=nn.Conv2d(3, 8, 1), n=normed(8), b=nn.Conv2d(8, 18, 1), c=nn.Conv2d(6, 4, 1),
        ),
        IMAGE,
    ),
    "parts that go on": (PartsGoOn, IMAGE),
    "tied": (
        tied,
        IMAGE,
    ),
}  # fmt: skip


def drawn(network, seed):
    """Channels at random for every width that can change, equally many of each part."""
    rng, kept = np.random.default_rng(seed), {}
    for name, width in network.widths.items():
        if not width.fixed:
            parts = np.arange(width.size).reshape(width.multiple, -1)
            count = rng.integers(1, parts.shape[1] + 1)
            kept[name] = np.concatenate([rng.permutation(part)[:count] for part in parts])
    return kept


@pytest.mark.parametrize("name", CASES)
def test_a_module_that_is_cut_is_the_masked_one(name):
    make, shape = CASES[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(shape)
    network = from_torch(model, shape)
    for seed in range(8):
        kept = drawn(network, seed)
        small, masked = resized(model, network, keep=kept), network.masked(model, kept)
        torch.testing.assert_close(small(x), masked(x), rtol=1e-5, atol=1e-5)
        again = from_torch(small, shape)
        sizes = {width: len(channels) for width, channels in kept.items()}
        assert {key: again[key] for key in again.priced} == {key: network.at(sizes)[key] for key in network.priced}
        assert all(len(kept[width]) <= own.size for width, own in network.widths.items() if width in kept)


@pytest.mark.parametrize("name", CASES)
def test_channels_in_another_order_are_the_same_network(name):
    """All channels, in any order: nothing changes, and nothing is permuted either, as channels are put in order."""
    make, shape = CASES[name]
    model, x = make().eval(), torch.randn(shape)
    network = from_torch(model, shape)
    kept = {width: np.random.default_rng(0).permutation(own.size) for width, own in network.widths.items()
            if not own.fixed}  # fmt: skip
    for same in (resized(model, network, keep=kept), network.masked(model, kept)):
        assert torch.equal(same(x), model(x))


@pytest.mark.parametrize("name", ["halves", "thirds", "parts that go on"])
def test_equal_parts_are_free(name):
    make, shape = CASES[name]
    widths = from_torch(make(), shape).widths
    assert {"halves": 2, "thirds": 2, "parts that go on": 3}[name] == sum(not each.fixed for each in widths.values())


def test_parts_of_a_size_in_the_code_are_fixed():
    model = Of(lambda m, x: m.c(torch.mul(*m.a(x).split(6, 1))), a=nn.Conv2d(3, 12, 1), c=nn.Conv2d(6, 4, 1))
    assert from_torch(model, IMAGE).widths["a"].fixed == "split"
    assert "chunk" not in vars(torch.Tensor)


def test_without_a_choice_the_first_channels_of_every_group_stay():
    make, shape = CASES["grouped"]
    model = make().eval()
    network = from_torch(model, shape)
    small = resized(model, network, {"a": 4, "b": 2})
    assert torch.equal(small.a.weight, model.a.weight[[0, 1, 4, 5]])
    assert torch.equal(small.b.weight, model.b.weight[[0, 4]][:, :2])
    assert torch.equal(small.c.weight, model.c.weight[:, [0, 4]])
    assert (small.b.in_channels, small.b.out_channels, small.b.groups) == (4, 2, 2)


@pytest.mark.parametrize("cut", ["cat", "repeat"])
def test_channels_that_would_change_their_group_are_fixed(cut):
    """Groups of a concatenation or of repeated channels: fewer channels in one piece would move the others."""
    if cut == "cat":
        run = lambda m, x: m.g(torch.cat([m.a(x), m.b(x)], 1))  # noqa: E731
    else:
        run = lambda m, x: m.g(m.a(x).repeat_interleave(2, 1))  # noqa: E731
    model = Of(run, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), g=nn.Conv2d(8, 4, 1, groups=2))
    network = from_torch(model, IMAGE)
    assert network.widths["a"].fixed


def test_a_residual_of_groups_and_a_concatenation_is_fixed():
    model = Of(
        lambda m, x: m.g(y := m.s(x)) + m.t(torch.cat([m.a(x), m.b(x)], 1) + y),
        s=nn.Conv2d(3, 8, 1), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), g=nn.Conv2d(8, 8, 1, groups=2),
        t=nn.Conv2d(8, 8, 1),
    )  # fmt: skip
    network = from_torch(model, IMAGE)
    assert network.widths["a"].fixed
    assert network.widths["b"].fixed


@given(parts=st.integers(1, 6), size=st.integers(1, 8), data=st.data())
def test_the_first_channels_are_the_first_of_each_part(parts, size, data):
    count = data.draw(st.integers(1, size))
    kept = first_channels(Width(parts * size, multiple=parts), parts * count)
    assert kept.tolist() == [part * size + i for part in range(parts) for i in range(count)]


REFUSED = {
    "an unknown width": ({"z": [0]}, "unknown width 'z'"),
    "a width that is fixed": ({"c": [0]}, "cannot change"),
    "no channel": ({"a": []}, "different integers from 0 to 7"),
    "a channel twice": ({"a": [1, 1]}, "different integers from 0 to 7"),
    "a channel that is not there": ({"a": [0, 8]}, "different integers from 0 to 7"),
    "a negative channel": ({"a": [-1, 2]}, "different integers from 0 to 7"),
    "a mask": ({"a": [True, 0.5]}, "different integers from 0 to 7"),
    "a text": ({"a": "01"}, "different integers from 0 to 7"),
    "a number": ({"a": 4}, "different integers from 0 to 7"),
    "groups that keep different numbers": ({"a": [0, 1, 2, 4]}, "equally many channels of each of 2 equal parts"),
    "no mapping": ([0, 1], "the channels that stay by width"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_channels_that_cannot_stay(name):
    keep, words = REFUSED[name]
    make, shape = CASES["grouped"]
    model = make()
    network = from_torch(model, shape)
    with pytest.raises(InvalidValueError, match=words):
        resized(model, network, keep=keep)
    with pytest.raises(InvalidValueError, match=words):
        network.masked(model, keep)


def test_sizes_and_channels_go_together():
    make, shape = CASES["residual"]
    model = make()
    network = from_torch(model, shape)
    small = resized(model, network, {"a": 6, "s": 4}, keep={"s": [7, 0, 2, 1]})
    assert torch.equal(small.s.weight, model.s.weight[[0, 1, 2, 7]])
    with pytest.raises(InvalidValueError, match="4, as many as keep has"):
        resized(model, network, {"s": 5}, keep={"s": [0, 1, 2, 7]})
    with pytest.raises(InvalidValueError, match="sizes or keep"):
        resized(model, network)
    with pytest.raises(InvalidValueError, match="the module that was imported"):
        network.masked(nn.Linear(2, 2), {"s": [0]})


def test_pieces_of_other_widths_stay_whole():
    widths, one = {"a": Width(4), "b": Width(3)}, Fraction(1)
    found = staying([(("b", one),), (("a", one), ("b", 2 * one))], widths, {"a": np.array([1, 3])})
    assert {axis: mask.astype(int).tolist() for axis, mask in found.items()} == {1: [[0, 1, 0, 1, 1, 1, 1, 1, 1, 1]]}


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_a_norm_has_as_many_features_as_channels_stay(options):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, **options), nn.Conv2d(8, 2, 1)).eval()
    smaller = resized(model, from_torch(model, (1, 3, 4, 4)), {"0": 5})
    assert smaller[1].num_features == 5
    smaller(torch.zeros(1, 3, 4, 4))
