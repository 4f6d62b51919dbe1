"""Networks of the command tests that only a PyTorch module has: a tree, hostile names, operations without a price."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

HOSTILE = "<script>alert(1)</script>"


class Stem(nn.Conv2d):
    """A convolution and an activation in one module."""

    def forward(self, x):
        return functional.relu(super().forward(x))


class Attention(nn.Module):
    """Two products without a module of their own."""

    def forward(self, x):
        heads = x.view(16, 4, 16).transpose(0, 1)
        scores = torch.bmm(heads, heads.transpose(1, 2))
        return torch.bmm(scores, heads).transpose(0, 1).reshape(16, 64)


class Block(nn.Module):
    """Attention and a linear layer."""

    def __init__(self):
        super().__init__()
        self.attn, self.fc = Attention(), nn.Linear(64, 40)

    def forward(self, x):
        return self.fc(self.attn(x))


class Second(nn.Module):
    """A module of one layer."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(40, 8)

    def forward(self, x):
        return self.fc(x)


class Tree(nn.Module):
    """Three levels of modules; takes 1 x 3 x 8 x 8."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = (
            Stem(3, 16, 3, padding=1),
            nn.Sequential(Block(), Second()),
            nn.Linear(128, 10),
        )

    def forward(self, x):
        return self.head(self.body(self.stem(x).view(16, 64)).flatten())


class Odd(nn.Module):
    """Names that mean something to terminals and pages, and an operation without a price; takes 1 x 40."""

    def __init__(self):
        super().__init__()
        self.add_module(HOSTILE, nn.Linear(40, 30))
        self.add_module("b\x1b[31m", nn.Linear(30, 9))
        self.add_module('数,$x$,"q"', nn.Linear(9, 9))

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return torch.fft.fft(x).real


class Nothing(nn.Module):
    """An operation without a price and nothing else; takes any shape."""

    def forward(self, x):
        return torch.fft.fft(x).real


class Many(nn.Module):
    """A layer and 30 operations without a price; takes 1 x 4."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.fc(x)
        for _ in range(30):
            x = torch.fft.fft(x).real
        return x


class Plain(nn.Sequential):
    """Two convolutions that can be pruned."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.Flatten(), nn.Linear(384, 4))


class Decoder(nn.Module):
    """A step of a language model: tokens, causal attention of 4 heads with a residual sum, a head; takes 1 x 16 ids."""

    def __init__(self):
        super().__init__()
        self.tokens, self.qkv = nn.Embedding(50, 32), nn.Linear(32, 96)
        self.out, self.head = nn.Linear(32, 32), nn.Linear(32, 50)

    def forward(self, ids):
        x = self.tokens(ids)
        heads = (each.view(1, -1, 4, 8).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        attended = functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.head(x + self.out(attended.transpose(1, 2).reshape(1, -1, 32)))


batches = [(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))]
