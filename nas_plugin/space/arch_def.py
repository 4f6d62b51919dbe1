"""The search space as a value: blocks in order, what each may become, the array and the source of the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwcost import Conv2d, Linear, Network, Operation, SystolicArray, network_cost
from nas_plugin.space.blocks import Block

__all__ = ["CLASSIFIER", "ArchDef", "Choice"]

CLASSIFIER = "classifier"
"""The name of the last layer, which every network has."""

Choice = Mapping[str, int]
"""A size for every decision: ``{"conv1.width": 6, "conv1.kernel": 5, ...}``."""


@dataclass(frozen=True)
class ArchDef:
    """A checked search space.

    Attributes:
        name: of the network.
        channels, height, width, classes: of the images.
        blocks: those on maps first, then those on vectors; the classifier after them is implied.
        array: the accelerator.
        data: where the images come from.
        text: the architecture file, kept so that a run can be repeated.
    """

    name: str
    channels: int
    height: int
    width: int
    classes: int
    blocks: tuple[Block, ...]
    array: SystolicArray
    data: str
    text: str = dataclasses.field(repr=False)

    @property
    def decisions(self) -> dict[str, tuple[int, ...]]:
        """Every decision with its options: all widths, and the kernels of blocks on maps."""
        options: dict[str, tuple[int, ...]] = {}
        for block in self.blocks:
            options[block.width_decision] = block.widths
            if block.kind.on_maps:
                options[block.kernel_decision] = block.kernels
        return options

    @property
    def reference(self) -> dict[str, int]:
        """The reference network (LeNet-5) as a choice."""
        return {f"{block.name}.{part}": size for block in self.blocks for part, size in block.reference.items()}

    def cycles(self, choice: Choice) -> Any:
        """The exact cycles of a network on the array; its widths need not be among the options."""
        return network_cost(self.space.at(choice), self.array).total.cycles

    def map_sizes(self) -> Iterator[tuple[Block, tuple[int, int], tuple[int, int]]]:
        """Each block on maps with the height and width of its convolution's output and of its pooled output."""
        height, width = self.height, self.width
        for block in self.blocks:
            if block.kind.on_maps:
                largest = Conv2d(1, 1, block.kernels[-1], height=height, width=width, padding=block.padding)
                out = largest.out_size
                height, width = out[0] // block.pool, out[1] // block.pool
                yield block, (out[0], out[1]), (height, width)

    @property
    def flat_size(self) -> int:
        """Pixels of one channel where the last map is flattened."""
        maps = list(self.map_sizes())
        height, width = maps[-1][2] if maps else (self.height, self.width)
        return height * width

    @property
    def inputs(self) -> dict[str, tuple[Block | None, int]]:
        """For every block and the classifier: what feeds it (None: the image), and how many inputs a channel gives.

        The first layer on vectors takes a flattened map; elsewhere a channel, or neuron, is one input.
        """
        feeds: dict[str, tuple[Block | None, int]] = {}
        source, flat = None, False
        for block in (*self.blocks, None):
            on_maps = block is not None and block.kind.on_maps
            feeds[CLASSIFIER if block is None else block.name] = (source, 1 if on_maps or flat else self.flat_size)
            source, flat = block, flat or not on_maps
        return feeds

    @property
    def space(self) -> Network:
        """The network with open widths and kernels; its sizes today are those of the reference."""
        blocks = {block.name: block for block in self.blocks}
        maps = {block.name: out for block, out, _ in self.map_sizes()}
        operations = {}
        for name, (source, pixels) in self.inputs.items():
            block = blocks.get(name)  # None: the classifier
            layer = Linear(1, self.classes) if block is None else block.kind.layer(*maps.get(name, (1, 1)))
            incoming, outgoing = layer.WIDTHS
            today = {incoming: pixels * (self.channels if source is None else source.reference["width"])}
            sizes: dict[str, Any] = {} if source is None else {incoming: (source.width_decision, pixels)}
            if block is not None and block.kind.on_maps:
                today["kernel_size"], sizes["kernel_size"] = block.reference["kernel"], block.kernel_decision
            if block is not None:
                today[outgoing], sizes[outgoing] = block.reference["width"], block.width_decision
            operations[name] = Operation(dataclasses.replace(layer, **today), sizes)  # type: ignore[arg-type]
        return Network(self.name, operations).space(self.decisions)
