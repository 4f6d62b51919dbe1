"""The super-network that is searched, and the plain networks that it contains.

The super-network holds one weight tensor per block, at the largest width and kernel (DMasking, FBNetV2, Wan et al.,
CVPR 2020). A choice enters as gates, one vector per decision, one entry per option:

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
from nas_plugin.space.arch_def import CLASSIFIER, ArchDef, Block, Choice

__all__ = ["SuperNetwork", "TrainableNetwork"]

Gates = Mapping[str, Tensor]
"""A vector of gates for every decision, as long as the decision has options."""


class _Chain(nn.Module):
    """Blocks and a classifier at given sizes."""

    def __init__(self, arch: ArchDef, sizes: Choice) -> None:
        super().__init__()
        self.arch = arch
        layers = arch.space.at(sizes)
        self.incoming: dict[str, int] = {name: getattr(layer, layer.WIDTHS[0]) for name, layer in layers.items()}
        self.blocks = nn.ModuleDict()
        for block in arch.blocks:
            width, kernel = sizes[block.width_decision], sizes.get(block.kernel_decision, 1)
            self.blocks[block.name] = block.kind.module(self.incoming[block.name], width, kernel)
        self.classifier = nn.Linear(self.incoming[CLASSIFIER], arch.classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layer(self, block: Block) -> tuple[Tensor, Tensor]:
        """Weight and bias of a block."""
        module = self.blocks[block.name]
        return module.get_parameter("weight"), module.get_parameter("bias")

    def _classify(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return F.linear(x, self.classifier.weight[:, : x.shape[1]], self.classifier.bias)


class SuperNetwork(_Chain):
    """All networks of a search space in one set of weights."""

    def __init__(self, arch: ArchDef) -> None:
        super().__init__(arch, {name: options[-1] for name, options in arch.decisions.items()})
        for block in arch.blocks:
            masks = torch.arange(block.widths[-1]) < torch.tensor(block.widths)[:, None]
            self.register_buffer(f"{block.name}_width_masks", masks.float(), persistent=False)
            if block.kind.on_maps:
                ring = (torch.arange(block.kernels[-1]) - block.kernels[-1] // 2).abs()
                ring = torch.maximum(ring[:, None], ring[None, :])
                masks = ring <= torch.tensor(block.kernels)[:, None, None] // 2
                self.register_buffer(f"{block.name}_kernel_masks", masks.float(), persistent=False)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width) under the gates."""
        for block in self.arch.blocks:
            weight, bias = self.layer(block)
            mask = gates[block.width_decision] @ self.get_buffer(f"{block.name}_width_masks")
            if block.kind.on_maps:
                kernels = self.get_buffer(f"{block.name}_kernel_masks")
                weight = weight * torch.tensordot(gates[block.kernel_decision], kernels, 1)
                mask = mask[:, None, None]
            x = block.kind.apply(block, x, weight, bias) * mask
        return self._classify(x)

    def at(self, x: Tensor, choice: Choice) -> Tensor:
        """Logits (batch, classes) of one network: the first channels, and the centre of the kernels, of every block.

        Raises InvalidValueError for a width above the super-network's.
        """
        for block in self.arch.blocks:
            weight, bias = self._cut(block, choice, x.shape[1] if block.kind.on_maps else x[0].numel())
            x = block.kind.apply(block, x, weight, bias)
        return self._classify(x)

    def _cut(self, block: Block, choice: Choice, incoming: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a block at the sizes of a choice: views, through which gradients flow."""
        weight, bias = self.layer(block)
        width = choice[block.width_decision]
        if not 1 <= width <= len(bias):
            raise InvalidValueError(block.width_decision, width, f"a width from 1 to {len(bias)}")
        margin = (block.kernels[-1] - choice[block.kernel_decision]) // 2 if block.kind.on_maps else 0
        inner = [slice(margin, size - margin) for size in weight.shape[2:]]
        return weight[(slice(width), slice(incoming), *inner)], bias[:width]

    def slice(self, choice: Choice) -> TrainableNetwork:
        """The plain network of a choice, with the super-network's weights cut to its sizes."""
        network = TrainableNetwork(self.arch, choice)
        with torch.no_grad():
            for block in self.arch.blocks:
                cut = self._cut(block, choice, network.incoming[block.name])
                for target, own in zip(network.layer(block), cut, strict=True):
                    target.copy_(own)
            network.classifier.weight.copy_(self.classifier.weight[:, : network.incoming[CLASSIFIER]])
            network.classifier.bias.copy_(self.classifier.bias)
        return network


class TrainableNetwork(_Chain):
    """One network of the search space, at exactly the sizes of a choice; its widths need not be options."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width)."""
        for block in self.arch.blocks:
            x = block.kind.apply(block, x, *self.layer(block))
        return self._classify(x)

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters())
