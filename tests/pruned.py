"""A small network, its data and shorthands that the tests of pruning share."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import hwcost.torch  # noqa: E402
from hwcost import SystolicArray, from_torch  # noqa: E402
from hwcost.torch import prune  # noqa: E402

ARRAY = SystolicArray(8, 8)


IMAGE = torch.zeros(1, 3, 8, 8)


class Block(nn.Module):
    """A residual block with a depthwise convolution, norms and a gate."""

    def __init__(self, channels, wide):
        super().__init__()
        self.up, self.n1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.dw, self.n2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide)
        self.down, self.n3 = nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.n3(self.down(self.n2(self.dw(self.n1(self.up(x)).relu())).relu()))


class Net(nn.Module):
    """A stem, two blocks, a grouped convolution, and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.Sequential(Block(12, 24), Block(12, 20))
        self.grouped, self.head = nn.Conv2d(12, 16, 3, groups=2), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.grouped(self.blocks(self.stem(x))).relu().mean((2, 3)))


def images(count=96, seed=0):
    """Images of four classes that a small network can tell apart."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=random)
    pictures = torch.randn(count, 3, 8, 8, generator=random)
    pictures[torch.arange(count), labels % 3] += 1.0 + labels.float()[:, None, None]
    return pictures, labels


def loader(count=96, batch=16, **more):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*images(count)), batch, shuffle=True, **more)


def made(seed=0):
    """A network that was trained a little."""
    torch.manual_seed(seed)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for x, y in loader(192):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


HELD_OUT = [images(32, seed=7)]


def quietly(*args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prune(*args, **settings)


def same(a, b):
    one, other = a.state_dict(), b.state_dict()
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def table_of(net, **settings):
    return hwcost.tabulate(from_torch(net, example_inputs=IMAGE), ARRAY, step=1, least=0, **settings)
