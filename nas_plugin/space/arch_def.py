"""The search space as a value: the kinds of block, blocks in order, what each may become, and the array.

A block has one weight tensor, which the super-network holds at the largest width and kernel. A plain network or a
choice uses the first channels and the centre of the kernel, so a kind only states how a weight of any size is applied
and which layer hwcost prices for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Conv2d, InvalidValueError, Linear, Network, Operation, SystolicArray, network_cost
from hwcost.arrays import Table
from hwcost.machine.rows import Row, table
from hwcost.network.limits import Limit, Target
from hwcost.tables import Facts
from hwcost.torch.lookup import Choice, Costs
from hwcost.units import number, plural

__all__ = ["CLASSIFIER", "KINDS", "ArchDef", "Block", "BlockKind", "Choice", "centred_conv"]

CLASSIFIER = "classifier"
"""The name of the last layer, which every network has."""


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
        """The name of the decision on the kernel."""
        return f"{self.name}.kernel"


@dataclass(frozen=True)
class BlockKind(Row):
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

    functions = Table({"module": "three sizes", "apply": "a block and three tensors", "layer": "two sizes"})
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


def _linear_layer(height: int, width: int) -> Linear:
    return Linear(1, 1)


def _conv_layer(height: int, width: int) -> Conv2d:
    # the size of the output does not depend on the kernel, so "same" padding at that size has the same products
    return Conv2d(1, 1, 1, height=height, width=width, padding="same")


KINDS: Mapping[str, BlockKind] = table(
    BlockKind("conv", "convolution, ReLU, max-pooling", True, nn.Conv2d, _conv, _conv_layer),
    BlockKind("linear", "fully connected layer, ReLU", False, _linear_module, _linear, _linear_layer),
)
"""The kinds of block that ship, by name."""


@dataclass(frozen=True, repr=False)
class ArchDef(Facts):
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
    def in_words(self) -> str:
        """The network, how many there are to choose from, and the array, on one line."""
        networks = math.prod(map(len, self.decisions.values()))
        blocks = plural(len(self.blocks), "block")
        return f"{self.name}: {blocks}, {number(networks)} networks on {self.array.size_in_words}"

    def facts(self) -> dict[str, str]:
        """The images, the array, and the options of every decision."""
        return {
            "images": f"{self.channels} x {self.height} x {self.width}, {self.classes} classes, from {self.data}",
            "array": self.array.in_words,
            **{name: ", ".join(map(str, sizes)) for name, sizes in self.decisions.items()},
        }

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

    @property
    def reference_cycles(self) -> float:
        """The exact cycles of the reference network, whose widths need not be among the options."""
        return float(self.cycles(self.reference))

    def limit(self, target: str | float) -> float:
        """A target in cycles of the array.

        >>> from nas_plugin import load_arch_def
        >>> [round(load_arch_def().limit(target), 1) for target in (0.75, "0.002ms", "2100cycles")]
        [2116.5, 2000.0, 2100.0]
        """
        return Limit.of(self.reference_cycles, float(self.array.clock_hz), **Target.parse(target).given).cycles

    def costs(self, array: SystolicArray | None = None, relaxation: Any = "exact") -> Costs:
        """The costs of all networks by look-up, by default on the space's array; a ``relaxation`` estimates them.

        >>> from nas_plugin import load_arch_def
        >>> load_arch_def().costs().one(load_arch_def().reference)
        2822.0
        """
        return Costs(self.space, self.array if array is None else array, relaxation)

    @property
    def macs(self) -> Costs:
        """Multiply-accumulates by look-up: the cycles of a single processing element."""
        return self.costs(SystolicArray(1, 1))

    @property
    def space(self) -> Network:
        """The network with open widths and kernels; its sizes today are those of the reference.

        Raises InvalidValueError if nothing is left of a map.
        """
        operations: dict[str, Operation] = {}
        source, (height, width) = None, (self.height, self.width)
        for block in (*self.blocks, None):  # None: the classifier
            if block is not None and block.kind.on_maps:
                out, pixels = _out_size(block, height, width), 1
                height, width = (side // block.pool for side in out)
            else:  # the first layer on vectors takes a flattened map; elsewhere a channel, or neuron, is one input
                out, pixels = (1, 1), height * width
                height = width = 1
            layer = Linear(1, self.classes) if block is None else block.kind.layer(*out)
            incoming, outgoing = layer.WIDTHS
            today = {incoming: pixels * (self.channels if source is None else source.reference["width"])}
            sizes: dict[str, Any] = {} if source is None else {incoming: (source.width_decision, pixels)}
            if block is not None and block.kind.on_maps:
                today["kernel_size"], sizes["kernel_size"] = block.reference["kernel"], block.kernel_decision
            if block is not None:
                today[outgoing], sizes[outgoing] = block.reference["width"], block.width_decision
            replaced = dataclasses.replace(layer, **today)  # type: ignore[arg-type]
            operations[CLASSIFIER if block is None else block.name] = Operation(replaced, sizes)
            source = block
        return Network(self.name, operations).space(self.decisions)


def _out_size(block: Block, height: int, width: int) -> tuple[int, int]:
    """Height and width of a convolution's output, of which pooling must leave something."""
    grown = 2 * block.padding + 1 - block.kernels[-1]
    size = min(height, width) + grown
    if size < 1:
        allowed = f"at most {size + block.kernels[-1] - 1}, the size of the padded map that reaches {block.name}"
        raise InvalidValueError("block.kernels", block.kernels[-1], allowed)
    if block.pool > size:
        raise InvalidValueError("block.pool", block.pool, f"at most {size}, the size of {block.name}'s map")
    return height + grown, width + grown
