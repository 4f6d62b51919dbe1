"""The blocks that a network consists of, and the kinds of block that a search space may name.

A block has one weight tensor, which the super-network holds at the largest width and kernel. A plain network or a
choice uses the first channels and the centre of the kernel, so a kind only states how a weight of any size is applied
and which layer hwcost prices for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Conv2d, Linear

__all__ = ["KINDS", "Block", "BlockKind", "centred_conv"]


@dataclass(frozen=True)
class Block:
    """One block and what it may become.

    Attributes:
        name: as logs show it.
        kind: a row of :data:`KINDS`, or one of your own.
        widths: candidate channel or neuron counts, ascending.
        kernels: candidate odd kernel sizes, ascending; empty if the kind has no kernel.
        padding: of the largest kernel.
        pool: side of the max-pooling window; 1 for none.
        reference: the reference network's width, and its kernel if there is one.
    """

    name: str
    kind: BlockKind
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = ()
    padding: int = 0
    pool: int = 1
    reference: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def width_decision(self) -> str:
        """The name of the decision on the width."""
        return f"{self.name}.width"

    @property
    def kernel_decision(self) -> str:
        """The name of the decision on the kernel size."""
        return f"{self.name}.kernel"


@dataclass(frozen=True)
class BlockKind:
    """A row of :data:`KINDS`.

    Attributes:
        name: as an architecture file gives it.
        summary: what it is, in words.
        on_maps: whether it takes maps (batch, channels, height, width) and has kernels, padding and pooling; otherwise
            it takes vectors (batch, features).
        module: makes a module from incoming channels, width and kernel (1 if there is none). The module holds
            ``weight`` (width, incoming, ...) and ``bias`` (width).
        apply: the output of a block for an input, a weight and a bias, each cut to some size.
        layer: the layer that hwcost prices, for a map of the given height and width, with channels and kernel 1.
    """

    name: str
    summary: str
    on_maps: bool
    module: Callable[[int, int, int], nn.Module]
    apply: Callable[[Block, Tensor, Tensor, Tensor], Tensor]
    layer: Callable[[int, int], Conv2d | Linear]


def centred_conv(block: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution of a block; a smaller kernel sees the centre of the window that the largest one sees."""
    margin = block.padding - (block.kernels[-1] - weight.shape[-1]) // 2
    if margin < 0:
        x, margin = F.pad(x, [margin] * 4), 0
    return F.conv2d(x, weight, bias, padding=margin)


def _conv(block: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x = F.relu(centred_conv(block, x, weight, bias))
    return F.max_pool2d(x, block.pool) if block.pool > 1 else x


def _linear(block: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.relu(F.linear(x.flatten(1), weight, bias))


def _linear_module(incoming: int, width: int, _: int) -> nn.Linear:
    return nn.Linear(incoming, width)


def _linear_layer(*_: int) -> Linear:
    return Linear(1, 1)


def _conv_layer(height: int, width: int) -> Conv2d:
    # the size of the output does not depend on the kernel, so "same" padding at that size has the same products
    return Conv2d(1, 1, 1, height=height, width=width, padding="same")


KINDS: Mapping[str, BlockKind] = MappingProxyType(
    {
        row.name: row
        for row in (
            BlockKind("conv", "convolution, ReLU, max-pooling", True, nn.Conv2d, _conv, _conv_layer),
            BlockKind("linear", "fully connected layer, ReLU", False, _linear_module, _linear, _linear_layer),
        )
    }
)
"""The kinds of block that ship, by name."""
