"""The super-network that is searched, and the plain networks that it contains.

The super-network holds one weight tensor a block, at the largest width and kernel (DMasking, FBNetV2, Wan et al., CVPR
2020). A choice enters as gates, one vector a decision, one entry an option:

- width: the output is multiplied by sum_i g_i * mask_i AFTER the activation, mask_i being 1 on the first w_i channels.
  There the mask of a closed channel still receives a gradient (its activation); folded into the weights before a ReLU
  it would not. Max-pooling commutes with the multiplication, since a mask is constant over a channel and not negative,
  so the mask is applied to the pooled map, which is smaller.
- kernel: sizes share one weight tensor, a smaller kernel being the centre of the largest. Convolution is linear in its
  weights, so mixing the outputs of all sizes is one convolution with the gated weights: half the work of two, and every
  step trains the shared centre.

There is no batch normalisation: its statistics under a random mask are not those of the network that is derived.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import InvalidValueError
from nas_plugin.arch_def import CLASSIFIER, ArchDef, Block, Choice

__all__ = ["Network", "SuperNetwork", "one_hot"]

Gates = Mapping[str, Tensor]
"""A vector of gates for every decision, as long as the decision has options."""


def one_hot(arch: ArchDef, choice: Choice) -> dict[str, Tensor]:
    """The gates that pick one choice.

    >>> from nas_plugin.arch_def import load_arch_def
    >>> one_hot(load_arch_def(), load_arch_def().reference)["conv1.kernel"]
    tensor([0., 1.])
    """
    return {
        name: F.one_hot(torch.tensor(options.index(choice[name])), len(options)).float()
        for name, options in arch.decisions.items()
    }


class _Chain(nn.Module):
    """Blocks and a classifier at given sizes; what super-network and plain network share."""

    def __init__(self, arch: ArchDef, widths: Mapping[str, int], kernels: Mapping[str, int]) -> None:
        super().__init__()
        self.arch = arch
        self.incoming = {
            name: pixels * (arch.channels if source is None else widths[source.name])
            for name, (source, pixels) in arch.inputs.items()
        }
        self.blocks = nn.ModuleDict()
        for block in arch.blocks:
            incoming, width = self.incoming[block.name], widths[block.name]
            conv = block.kind == "conv"
            self.blocks[block.name] = (
                nn.Conv2d(incoming, width, kernels[block.name]) if conv else nn.Linear(incoming, width)
            )
        self.classifier = nn.Linear(self.incoming[CLASSIFIER], arch.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layer(self, block: Block) -> tuple[Tensor, Tensor]:
        """Weight and bias of a block."""
        layer = self.blocks[block.name]
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        assert layer.bias is not None
        return layer.weight, layer.bias


def _conv(block: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The block's convolution: a smaller kernel looks at the centre of the window that the largest would look at."""
    margin = block.padding - (block.kernels[-1] - weight.shape[-1]) // 2
    if margin < 0:
        x, margin = F.pad(x, [margin] * 4), 0
    return F.conv2d(x, weight, bias, padding=margin)


def _activated(block: Block, x: Tensor) -> Tensor:
    x = F.relu(x)
    return F.max_pool2d(x, block.pool) if block.pool > 1 else x


class SuperNetwork(_Chain):
    """All networks of a search space in one set of weights.

    Args:
        arch: the search space.
    """

    def __init__(self, arch: ArchDef) -> None:
        super().__init__(
            arch,
            {block.name: block.widths[-1] for block in arch.blocks},
            {block.name: block.kernels[-1] for block in arch.blocks if block.kind == "conv"},
        )
        for block in arch.blocks:
            sizes = torch.arange(block.widths[-1])
            masks = torch.stack([(sizes < width).float() for width in block.widths])
            self.register_buffer(f"{block.name}_width_masks", masks, persistent=False)
            if block.kind == "conv":
                ring = (torch.arange(block.kernels[-1]) - block.kernels[-1] // 2).abs()
                ring = torch.maximum(ring[:, None], ring[None, :])
                masks = torch.stack([(ring <= kernel // 2).float() for kernel in block.kernels])
                self.register_buffer(f"{block.name}_kernel_masks", masks, persistent=False)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width) under the gates."""
        for block in self.arch.blocks:
            weight, bias = self.layer(block)
            mask = gates[block.width_decision] @ self.get_buffer(f"{block.name}_width_masks")
            if block.kind == "conv":
                kernel = torch.tensordot(gates[block.kernel_decision], self.get_buffer(f"{block.name}_kernel_masks"), 1)
                x = _activated(block, _conv(block, x, weight * kernel, bias)) * mask[:, None, None]
            else:
                x = F.relu(F.linear(x.flatten(1), weight, bias)) * mask
        logits: Tensor = self.classifier(x.flatten(1))
        return logits

    def at(self, x: Tensor, choice: Choice) -> Tensor:
        """Logits (batch, classes) of one network: the first channels, and the centre of the kernels, of every block.

        Raises:
            InvalidValueError: a width above the super-network's.
        """
        for block in self.arch.blocks:
            weight, bias = self._cut(block, choice, x.shape[1] if block.kind == "conv" else x[0].numel())
            if block.kind == "conv":
                x = _activated(block, _conv(block, x, weight, bias))
            else:
                x = F.relu(F.linear(x.flatten(1), weight, bias))
        x = x.flatten(1)
        logits: Tensor = F.linear(x, self.classifier.weight[:, : x.shape[1]], self.classifier.bias)
        return logits

    def _cut(self, block: Block, choice: Choice, incoming: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a block at the sizes of a choice: views, through which gradients flow."""
        weight, bias = self.layer(block)
        width = choice[block.width_decision]
        if not 1 <= width <= len(bias):
            raise InvalidValueError(block.width_decision, width, f"a width from 1 to {len(bias)}")
        margin = (block.kernels[-1] - choice[block.kernel_decision]) // 2 if block.kind == "conv" else 0
        inner = [slice(margin, size - margin) for size in weight.shape[2:]]
        return weight[(slice(width), slice(incoming), *inner)], bias[:width]

    def slice(self, choice: Choice) -> Network:
        """The plain network of a choice, with the super-network's weights cut to its sizes."""
        network = Network(self.arch, choice)
        with torch.no_grad():
            for block in self.arch.blocks:
                for target, own in zip(
                    network.layer(block), self._cut(block, choice, network.incoming[block.name]), strict=True
                ):
                    target.copy_(own)
            network.classifier.weight.copy_(self.classifier.weight[:, : network.incoming[CLASSIFIER]])
            network.classifier.bias.copy_(self.classifier.bias)
        return network


class Network(_Chain):
    """One network of the search space, at exactly its sizes.

    Args:
        arch: the search space.
        choice: a width for every block (any, not just options) and a kernel for every conv block.
    """

    def __init__(self, arch: ArchDef, choice: Choice) -> None:
        super().__init__(
            arch,
            {block.name: choice[block.width_decision] for block in arch.blocks},
            {block.name: choice[block.kernel_decision] for block in arch.blocks if block.kind == "conv"},
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width)."""
        for block in self.arch.blocks:
            weight, bias = self.layer(block)
            if block.kind == "conv":
                x = _activated(block, _conv(block, x, weight, bias))
            else:
                x = F.relu(F.linear(x.flatten(1), weight, bias))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters())
