"""Widths and kernels of a small ResNet, searched with the latency in the loss: a plain PyTorch loop.

    python examples/resnet_search.py
    python examples/resnet_search.py --array 8x8 --lambda 3 --epochs 20

Three stages of one residual block each, for images of 3 x 16 x 16 pixels in ten classes (made here, so that nothing is
downloaded). What is open in each stage:

- ``width``: channels that run along the shortcuts. All layers whose outputs are added share this one decision.
- ``inner``: channels between the two convolutions of the block.
- ``kernel``: size of the first convolution.

The super-network has one weight tensor a layer, at the largest sizes. A width is the expected mask on the channels
(FBNetV2); a smaller kernel is the centre of the largest. In each epoch the weights train on four fifths of the images,
then the alphas on the rest, where the latency enters: the exact expectation over the probabilities, nothing smoothed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Conv2d, Linear, SearchedLayer, SearchSpace, SystolicArray
from hwcost.torch import LatencyLoss, check_gradient

STAGES = ("stage1", "stage2", "stage3")
SIDE, CLASSES = 16, 10
WIDTHS = {"stage1": (4, 8, 12, 16), "stage2": (8, 12, 16, 24), "stage3": (16, 20, 24, 32)}
KERNELS = (3, 5)
WIDEST = {f"{stage}.{part}": WIDTHS[stage][-1] for stage in STAGES for part in ("width", "inner")}
WIDEST |= {f"{stage}.kernel": KERNELS[-1] for stage in STAGES}


def search_space() -> SearchSpace:
    """The same network as layers of hwcost, whose sizes follow the decisions."""
    decisions: dict[str, tuple[int, ...]] = {}
    stem = Conv2d(3, 1, 3, height=SIDE, width=SIDE, padding="same")
    layers = {"stem": SearchedLayer(stem, {"out_channels": "stage1.width"})}
    side, before = SIDE, "stage1.width"
    for stage in STAGES:
        width, inner, kernel = (f"{stage}.{part}" for part in ("width", "inner", "kernel"))
        decisions |= {width: WIDTHS[stage], inner: WIDTHS[stage], kernel: KERNELS}
        stride = 1 if stage == STAGES[0] else 2
        first = Conv2d(1, 1, 3, height=side, width=side, stride=stride, padding="same")
        second = Conv2d(1, 1, 3, height=side // stride, width=side // stride, padding="same")
        shortcut = Conv2d(1, 1, 1, height=side, width=side, stride=stride)
        sizes = {"in_channels": before, "out_channels": inner, "kernel_size": kernel}
        layers[f"{stage}.first"] = SearchedLayer(first, sizes)
        layers[f"{stage}.second"] = SearchedLayer(second, {"in_channels": inner, "out_channels": width})
        if stride > 1:
            layers[f"{stage}.shortcut"] = SearchedLayer(shortcut, {"in_channels": before, "out_channels": width})
        side, before = side // stride, width
    layers["head"] = SearchedLayer(Linear(1, CLASSES), {"in_features": before})
    return SearchSpace(decisions, layers)


class SuperResNet(nn.Module):
    """All networks of the search space in one set of weights; the gates say which, softly."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        for name, options in space.decisions.items():
            sizes = torch.arange(options[-1])
            if name.endswith("kernel"):  # a ring is one pixel of a kernel's border
                ring = (sizes - options[-1] // 2).abs()
                ring = torch.maximum(ring[:, None], ring[None, :])
                masks = torch.stack([(ring <= option // 2).float() for option in options])
            else:
                masks = torch.stack([(sizes < option).float() for option in options])[:, :, None, None]
            self.register_buffer(_buffer(name), masks, persistent=False)
        layers = {name: searched.at(WIDEST) for name, searched in space.layers.items()}
        self.layers = nn.ModuleDict({_buffer(name): _module(layer) for name, layer in layers.items()})

    def mask(self, name: str, gates: Mapping[str, Tensor]) -> Tensor:
        """What a decision multiplies by: channels by the expected width, a kernel by its expected size."""
        return torch.tensordot(gates[name], self.get_buffer(_buffer(name)), 1)

    def forward(self, images: Tensor, gates: Mapping[str, Tensor]) -> Tensor:
        """Logits (batch, classes) of images (batch, 3, 16, 16) under the gates."""
        x = F.relu(self.layers["stem"](images)) * self.mask("stage1.width", gates)
        for stage in STAGES:
            first, second = self.layers[f"{stage}_first"], self.layers[f"{stage}_second"]
            kernel = first.weight * self.mask(f"{stage}.kernel", gates)
            y = F.conv2d(x, kernel, first.bias, stride=first.stride, padding=first.padding)
            y = second(F.relu(y) * self.mask(f"{stage}.inner", gates))
            shortcut = self.layers[f"{stage}_shortcut"](x) if f"{stage}_shortcut" in self.layers else x
            x = F.relu(y + shortcut) * self.mask(f"{stage}.width", gates)
        logits: Tensor = self.layers["head"](x.mean((2, 3)))
        return logits


def _buffer(name: str) -> str:
    return name.replace(".", "_")


def _module(layer: Conv2d | Linear) -> nn.Module:
    if isinstance(layer, Linear):
        return nn.Linear(layer.in_features, layer.out_features)
    size, stride = layer.kernel_size[0], layer.stride[0]
    return nn.Conv2d(layer.in_channels, layer.out_channels, size, stride=stride, padding=size // 2)


@dataclass(frozen=True)
class Images:
    """Noisy copies of ten random patterns, moved about by up to two pixels."""

    pixels: Tensor
    labels: Tensor

    @classmethod
    def made(cls, count: int, seed: int) -> Images:
        """So many of them; the patterns are always the same."""
        random = torch.Generator().manual_seed(seed)
        patterns = torch.randn(CLASSES, 3, 6, 6, generator=torch.Generator().manual_seed(7))
        patterns = F.interpolate(patterns, size=SIDE, mode="bilinear", align_corners=False)
        labels = torch.randint(CLASSES, (count,), generator=random)
        shifts = torch.randint(-2, 3, (count, 2), generator=random).tolist()
        moved = [patterns[label].roll(shift, (1, 2)) for label, shift in zip(labels.tolist(), shifts, strict=True)]
        return cls(torch.stack(moved) + 1.0 * torch.randn(count, 3, SIDE, SIDE, generator=random), labels)

    def split(self) -> tuple[Images, Images]:
        """Four fifths for the weights, the rest for the alphas."""
        cut = len(self.labels) * 4 // 5
        return Images(self.pixels[:cut], self.labels[:cut]), Images(self.pixels[cut:], self.labels[cut:])

    def batches(self, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All of them once, in random order."""
        for index in torch.randperm(len(self.labels), generator=random).split(size):
            yield self.pixels[index], self.labels[index]


def probabilities(alphas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of every option of every decision."""
    return {name: alpha.softmax(0) for name, alpha in alphas.items()}


def winner(space: SearchSpace, alphas: Mapping[str, Tensor]) -> dict[str, int]:
    """The largest alpha of every decision."""
    return {name: options[int(alphas[name].argmax())] for name, options in space.decisions.items()}


def one_hot(space: SearchSpace, choice: Mapping[str, int]) -> dict[str, Tensor]:
    """The gates that pick one network."""
    decisions = space.decisions.items()
    return {name: F.one_hot(torch.tensor(o.index(choice[name])), len(o)).float() for name, o in decisions}


def describe(choice: Mapping[str, int]) -> str:
    """A choice in one line: width/inner, kernel, stage by stage."""
    return "  ".join(f"{choice[f'{s}.width']}/{choice[f'{s}.inner']} k{choice[f'{s}.kernel']}" for s in STAGES)


def accuracy(network: SuperResNet, images: Images, gates: Mapping[str, Tensor]) -> float:
    """The share of images whose class is found."""
    with torch.no_grad():
        return (network(images.pixels, gates).argmax(1) == images.labels).float().mean().item()


def summarise(network: SuperResNet, latency: LatencyLoss, alphas: Mapping[str, Tensor], images: Images) -> None:
    """What was found, what it costs exactly, and how good it is after two epochs of its own."""
    choice = winner(latency.space, alphas)
    gates = one_hot(latency.space, choice)
    print(f"searched network {describe(choice)}: {latency.exact(choice).total.cycles:,} cycles")
    optimiser, random = torch.optim.Adam(network.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for _ in range(2):
        train_weights(network, gates, images, optimiser, random)
    print(f"its accuracy on unseen images, after two more epochs: {accuracy(network, Images.made(500, 2), gates):.1%}")


def train_weights(
    network: SuperResNet,
    gates: Mapping[str, Tensor],
    images: Images,
    optimiser: torch.optim.Optimizer,
    random: torch.Generator,
) -> None:
    """One epoch under fixed gates."""
    for pixels, labels in images.batches(64, random):
        optimiser.zero_grad()
        F.cross_entropy(network(pixels, gates), labels).backward()
        optimiser.step()


def array_of(shape: str) -> SystolicArray:
    """An array from its rows x columns."""
    rows, cols = map(int, shape.split("x"))
    return SystolicArray(rows, cols)


def options(description: str | None) -> argparse.Namespace:
    """What both examples ask."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--lambda", dest="weight", type=float, default=1.0)
    parser.add_argument("--array", default="16x16", help="rows x columns (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", asked.array):
        parser.error(f"--array is {asked.array}; it is ROWSxCOLS, as 16x16")
    return asked


def main() -> None:
    asked = options(__doc__)
    torch.manual_seed(asked.seed)
    random = torch.Generator().manual_seed(asked.seed)
    space = search_space()
    train, held_out = Images.made(asked.images, seed=1).split()

    network = SuperResNet(space)
    alphas = {name: nn.Parameter(torch.zeros(len(sizes))) for name, sizes in space.decisions.items()}
    latency = LatencyLoss(space, array_of(asked.array), reference=WIDEST, weight=asked.weight)
    weight_optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    alpha_optimiser = torch.optim.Adam(alphas.values(), lr=0.05)

    print(check_gradient(latency(probabilities(alphas)), alphas))
    print(f"widest network   {describe(WIDEST)}: {latency.exact(WIDEST).total.cycles:,} cycles")
    for epoch in range(asked.epochs):
        fixed = {name: gate.detach() for name, gate in probabilities(alphas).items()}
        train_weights(network, fixed, train, weight_optimiser, random)
        for pixels, labels in held_out.batches(64, random):
            gates = probabilities(alphas)
            loss, details = latency.penalise(F.cross_entropy(network(pixels, gates), labels), gates)
            alpha_optimiser.zero_grad()
            loss.backward()
            alpha_optimiser.step()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch + 1:3}: loss {details['task_loss']:.3f}, latency {details['latency']:.3f} of the widest"
            )

    summarise(network, latency, alphas, train)


if __name__ == "__main__":
    main()
