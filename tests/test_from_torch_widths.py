"""Networks out of PyTorch modules: widths that follow, and modules that are built smaller."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch_modules import Of, lenet  # noqa: E402

from hwcost import InvalidValueError, Linear, SystolicArray, from_torch, network_cost  # noqa: E402
from hwcost.importers.torch.resize import changed_numbers, resized  # noqa: E402

# ---------------------------------------------------------------- widths


class Residual(nn.Module):
    """Two blocks with additions, the second of which changes the number of channels."""

    def __init__(self, stem=8, inner=(6, 10), wide=12):
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.a1, self.a2 = nn.Conv2d(stem, inner[0], 3, padding=1), nn.Conv2d(inner[0], stem, 3, padding=1)
        self.b1, self.b2 = nn.Conv2d(stem, inner[1], 3, stride=2, padding=1), nn.Conv2d(inner[1], wide, 3, padding=1)
        self.down = nn.Conv2d(stem, wide, 1, stride=2)
        self.fc = nn.Linear(wide, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = (x + self.a2(self.a1(x).relu_())).relu()
        x = self.down(x) + self.b2(F.relu(self.b1(x)))
        return self.fc(x.mean((2, 3)))


class Inverted(nn.Module):
    """MobileNetV2's block with squeeze and excitation."""

    def __init__(self, channels=6, wide=20, squeezed=4):
        super().__init__()
        self.expand, self.dw = nn.Conv2d(channels, wide, 1), nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.squeeze, self.excite = nn.Conv2d(wide, squeezed, 1), nn.Conv2d(squeezed, wide, 1)
        self.project, self.norm = nn.Conv2d(wide, channels, 1), nn.GroupNorm(2, channels)
        self.stem, self.fc = nn.Conv2d(3, channels, 1), nn.Linear(channels * 16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = F.hardswish(self.dw(F.relu6(self.expand(x))))
        y = y * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return self.fc(self.norm(x + self.project(y)).flatten(1))


class Dense(nn.Module):
    """Concatenations."""

    def __init__(self, stem=8, growth=(4, 5), last=9):
        super().__init__()
        self.stem = nn.Conv2d(3, stem, 3, padding=1)
        self.one = nn.Conv2d(stem, growth[0], 3, padding=1)
        self.two = nn.Conv2d(stem + growth[0], growth[1], 3, padding=1)
        self.norm = nn.BatchNorm2d(stem + sum(growth))
        self.last, self.fc = nn.Conv2d(stem + sum(growth), last, 1), nn.Linear(last * 4, 3)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([x, self.one(x)], 1)
        x = torch.cat([x, self.two(x)], 1)
        return self.fc(torch.flatten(F.max_pool2d(self.last(self.norm(x)), 2), 1))


class Grouped(nn.Module):
    """ResNeXt's grouped convolution, and a transposed one."""

    def __init__(self, a=16, b=24, c=10):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, a, 1), nn.Conv2d(a, b, 3, groups=4, padding=1)
        self.up, self.last = nn.ConvTranspose2d(b, c, 2, stride=2), nn.Conv2d(c, 2, 1)

    def forward(self, x):
        return self.last(self.up(self.b(self.a(x))))


class FeedForward(nn.Module):
    """An encoder layer, whose inner width alone can change."""

    def __init__(self, hidden=48):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, hidden, batch_first=True)

    def forward(self, x):
        return self.layer(x)


WIDTH_CASES = {
    "lenet": (lambda **kw: lenet(tuple(kw.get("widths", (6, 16, 120, 84)))), (1, 1, 28, 28),
              {"features.0": 3, "features.3": 7, "classifier.0": 50, "classifier.2": 33}, {"widths": (3, 7, 50, 33)}),
    "residual": (Residual, (2, 3, 8, 8), {"stem": 5, "a1": 3, "b1": 7, "down": 6},
                 {"stem": 5, "inner": (3, 7), "wide": 6}),
    "inverted": (Inverted, (1, 3, 4, 4), {"stem": 4, "expand": 11, "squeeze": 3},
                 {"channels": 4, "wide": 11, "squeezed": 3}),
    "dense": (Dense, (1, 3, 4, 4), {"stem": 3, "one": 2, "two": 4, "last": 6},
              {"stem": 3, "growth": (2, 4), "last": 6}),
    "grouped": (Grouped, (1, 3, 4, 4), {"a": 8, "b": 12, "up": 7}, {"a": 8, "b": 12, "c": 7}),
    "feed forward": (FeedForward, (1, 5, 16), {"layer.linear1": 17}, {"hidden": 17}),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDTH_CASES)
def test_widths_are_those_of_the_same_architecture_built_smaller(name):
    make, shape, sizes, arguments = WIDTH_CASES[name]
    network = from_torch(make(), shape)
    assert {width for width, each in network.widths.items() if not each.fixed} == set(sizes)
    smaller = from_torch(make(**arguments), shape)
    changed = network.at(sizes)
    assert list(changed) == list(smaller)
    for operation in network.priced:
        assert changed[operation] == smaller[operation], operation


@pytest.mark.parametrize("name", WIDTH_CASES)
def test_rebuilt_modules_run_and_are_what_was_predicted(name):
    make, shape, sizes, _ = WIDTH_CASES[name]
    model = make().eval()
    network = from_torch(model, shape)
    small = resized(model, network, sizes)
    again = from_torch(small, shape)
    assert {key: again[key] for key in again.priced} == {key: network.at(sizes)[key] for key in network.priced}
    array = SystolicArray(7, 5, fold_timing="serial")
    assert network_cost(network.at(sizes), array).total == network_cost(again, array).total
    assert small(torch.zeros(shape)).shape == model(torch.zeros(shape)).shape
    assert sum(p.numel() for p in model.parameters()) > sum(p.numel() for p in small.parameters())


def test_the_first_channels_stay():
    model = lenet()
    network = from_torch(model, (1, 1, 28, 28))
    small = resized(model, network, {"features.3": 5})
    assert torch.equal(small.features[3].weight, model.features[3].weight[:5])
    assert torch.equal(small.classifier[0].weight, model.classifier[0].weight[:, : 5 * 25])
    assert small.classifier[0].in_features == 125
    assert model.features[3].out_channels == 16


def test_widths_that_cannot_be_cut():
    model = lenet()
    network = from_torch(model, (1, 1, 28, 28))
    for sizes in ({"features.0": 7}, {"classifier.4": 5}, {"nowhere": 1}):
        with pytest.raises(InvalidValueError, match="width"):
            resized(model, network, sizes)
    with pytest.raises(InvalidValueError, match="the module that was imported"):
        resized(nn.Linear(2, 2), network, {"features.0": 3})


class Conv1D(nn.Module):
    """A linear layer with its weights the other way round, as transformers writes it."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


def test_numbers_of_transposed_linear_layers_are_renewed():
    model = nn.Sequential(nn.Linear(6, 8), Conv1D(12, 8), nn.Linear(12, 3))
    network = from_torch(model, (2, 6))
    small = resized(model, network, {"0": 5, "1": 7})
    assert (small[1].nx, small[1].nf) == (5, 7)
    assert changed_numbers(model, small)["1"] == {"nx": (8, 5), "nf": (12, 7)}
    assert small(torch.zeros(2, 6)).shape == (2, 3)


def test_reshapes_that_mix_axes_fix_them():
    heads = Of(lambda x: inner(x).view(1, 5, 4, 4).transpose(1, 2).sum((0, 2)), inner := nn.Linear(8, 16))
    network = from_torch(heads, (1, 5, 8))
    assert {name for name, width in network.widths.items() if not width.fixed} == set()
    assert network.widths["inner.0"].fixed


@pytest.mark.parametrize("size", [(-1, 36), (2, -1), (2, 36)])
def test_numbers_in_a_reshape_of_the_code(size):
    """A size next to one that is computed is a number in the code; flattening computes all of them."""
    conv, fc = nn.Conv2d(3, 4, 1), nn.Linear(36, 5)
    network = from_torch(Of(lambda x: fc(conv(x).view(*size)), conv, fc), (2, 3, 3, 3))
    fixed = network.widths["inner.0"].fixed
    assert fixed == ("a number in the code" if size == (-1, 36) else "")


class Reduced(nn.Module):
    """Attention whose keys come from a smaller map, which is reshaped with the sizes of the input, as in PVT."""

    def __init__(self, width=16, own=16):
        super().__init__()
        self.smaller, self.key, self.value = nn.Conv2d(width, own, 2, 2), nn.Linear(own, 8), nn.Linear(own, 8)

    def forward(self, x):
        batch, _, width = x.shape
        y = self.smaller(x.transpose(1, 2).reshape(batch, width, 4, 4)).reshape(batch, width, -1).transpose(1, 2)
        return self.key(y) @ self.value(y).mT


class OneHead(nn.Module):
    """Attention with one head, whose size is read off the keys, as in the autoencoders of diffusers."""

    def __init__(self, width=8, inner=16):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner) for _ in range(3))
        self.to_out = nn.Linear(inner, width)

    def forward(self, x):
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        q, k, v = (each.view(len(x), -1, 1, k.shape[-1]).transpose(1, 2) for each in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.to_out(y.reshape(len(x), -1, k.shape[-1]))


class Flattened(nn.Module):
    """Tokens in one axis for a while, with a last axis that is the tensor's own."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        y = self.up(x)
        return self.down(y.view(-1, y.shape[-1])).view(x.shape)


class Modulated(nn.Module):
    """A norm without parameters, whose scale and shift follow from a condition, as in diffusion transformers."""

    def __init__(self, norm):
        super().__init__()
        self.up, self.condition, self.down = nn.Linear(8, 16), nn.Linear(8, 32), nn.Linear(16, 8)
        self.norm = norm

    def forward(self, x):
        up = self.norm(self.up(x))
        scale, shift = self.condition(x.mean(1, keepdim=True)).chunk(2, -1)
        return self.down(up * scale + shift)


@pytest.mark.parametrize(
    ("model", "shape", "opened"),
    [
        (Reduced(), (2, 16, 16), set()),
        (OneHead(), (2, 5, 8), set()),
        (Flattened(), (2, 5, 8), {"up"}),
        (Modulated(nn.LayerNorm(16, elementwise_affine=False)), (2, 5, 8), set()),
        (Modulated(nn.LayerNorm(16)), (2, 5, 8), {"up"}),
        (Modulated(nn.RMSNorm(16, elementwise_affine=False)), (2, 5, 8), set()),
    ],
)
def test_widths_that_can_change_run_when_the_code_reshapes(model, shape, opened):
    """Each width alone: a size next to one that is computed may be that of another tensor."""
    network = from_torch(model, shape)
    assert {name for name, width in network.widths.items() if not width.fixed and width.size == 16} == opened
    for name, width in network.widths.items():
        if not width.fixed:
            expected = network.at(sizes := {name: width.size - width.multiple})
            again = from_torch(resized(model, network, sizes), shape)
            assert all(again[each] == expected[each] for each in network.priced)


def test_channels_that_are_cut_in_between_are_followed():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            left, right = torch.cat([self.a(x), self.b(x)], -1).chunk(2, -1)
            return self.c(left * right.sigmoid())

    network = from_torch(Gated(), (2, 4))
    assert network.at({"a": 5})["b"] == Linear(4, 5, batch=2)
    assert network.at({"a": 5})["c"] == Linear(5, 3, batch=2)
