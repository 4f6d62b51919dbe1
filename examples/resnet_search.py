"""Widths and kernels of a small ResNet, searched with the latency in the loss: a plain PyTorch loop.

    python examples/resnet_search.py
    python examples/resnet_search.py --array 8x8 --lambda 3 --epochs 20

Three stages of one residual block each, for images of 3 x 16 x 16 pixels in ten classes (made here, so that nothing is
downloaded). The network is written once, as modules at its largest sizes. ``hwcost.from_torch`` reads it and finds the
widths that have to stay equal; ``space`` opens in each stage

- the channels that run along the shortcuts (all layers whose outputs are added share this one width),
- the channels between the two convolutions of the block,
- the kernel of the first convolution.

The same modules are the super-network: a width is the expected mask on the channels (FBNetV2), a smaller kernel is the
centre of the largest. In each epoch the weights train on four fifths of the images, then the alphas on the rest, where
the latency enters: the exact expectation over the probabilities, nothing smoothed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwcost import Network, SystolicArray, from_torch
from hwcost.torch import LatencyLoss, check_gradient

SIDE, CLASSES = 16, 10
KERNELS = (3, 5)
WIDTHS = {"stage1": (4, 8, 12, 16), "stage2": (8, 12, 16, 24), "stage3": (16, 20, 24, 32)}
# the channels along the shortcuts are named after the first layer that makes them
OUTER = {"stage1": "stem", "stage2": "stage2.second", "stage3": "stage3.second"}
Masks = Mapping[str, Tensor]


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, name: str, before: int, width: int) -> None:
        super().__init__()
        self.name, stride = name, 1 if before == width else 2
        self.first = nn.Conv2d(before, width, KERNELS[-1], stride=stride, padding=KERNELS[-1] // 2)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(before, width, 1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """The map of a stage, (batch, width, height, width)."""
        kernel = masked(self.first.weight, masks, f"{self.name}.first.kernel_size")
        y = F.conv2d(x, kernel, self.first.bias, stride=self.first.stride, padding=self.first.padding)
        y = self.second(masked(F.relu(y), masks, f"{self.name}.first"))
        return masked(F.relu(y + self.shortcut(x)), masks, OUTER[self.name])


class ResNet(nn.Module):
    """Every network of the search space in one set of weights; without masks the widest one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS["stage1"][-1], 3, padding=1)
        before = WIDTHS["stage1"][-1]
        for stage, widths in WIDTHS.items():
            self.add_module(stage, Block(stage, before, widths[-1]))
            before = widths[-1]
        self.head = nn.Linear(before, CLASSES)

    def forward(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Logits (batch, classes) of images (batch, 3, 16, 16)."""
        x = masked(F.relu(self.stem(images)), masks, OUTER["stage1"])
        for stage in WIDTHS:
            x = self.get_submodule(stage)(x, masks)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def masked(x: Tensor, masks: Masks | None, name: str) -> Tensor:
    """A tensor with the channels, or the border of the kernels, that its mask leaves."""
    return x if masks is None else x * masks[name]


def search_space(model: ResNet) -> Network:
    """The network as it is read, with widths and kernels open."""
    options = {}
    for stage, widths in WIDTHS.items():
        options |= {OUTER[stage]: widths, f"{stage}.first": widths, f"{stage}.first.kernel_size": KERNELS}
    return from_torch(model, (1, 3, SIDE, SIDE)).space(options)


class MasksOf(nn.Module):
    """Turns the probabilities of all options into masks."""

    def __init__(self, space: Network) -> None:
        super().__init__()
        for name, options in space.options.items():
            sizes = torch.arange(options[-1])
            if name.endswith("kernel_size"):  # a ring is one pixel of a kernel's border
                ring = (sizes - options[-1] // 2).abs()
                ring = torch.maximum(ring[:, None], ring[None, :])
                masks = torch.stack([(ring <= option // 2).float() for option in options])
            else:
                masks = torch.stack([(sizes < option).float() for option in options])[:, :, None, None]
            self.register_buffer(name.replace(".", "_"), masks)

    def forward(self, gates: Mapping[str, Tensor]) -> Masks:
        """The expected mask of every decision."""
        return {name: torch.tensordot(gate, self.get_buffer(name.replace(".", "_")), 1) for name, gate in gates.items()}


@dataclass(frozen=True)
class Images:
    """Noisy copies of ten random patterns, moved about by up to two pixels."""

    pixels: Tensor
    labels: Tensor

    @classmethod
    def generate(cls, count: int, seed: int) -> Images:
        """``count`` images; the patterns are always the same."""
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
    """The probability of every option of every decision."""
    return {name: alpha.softmax(0) for name, alpha in alphas.items()}


def winner(space: Network, alphas: Mapping[str, Tensor]) -> dict[str, int]:
    """The largest alpha of every decision."""
    return {name: options[int(alphas[name].argmax())] for name, options in space.options.items()}


def one_hot(space: Network, choice: Mapping[str, int]) -> dict[str, Tensor]:
    """The gates that pick one network."""
    options = space.options.items()
    return {name: F.one_hot(torch.tensor(o.index(choice[name])), len(o)).float() for name, o in options}


def describe(space: Network, choice: Mapping[str, int]) -> str:
    """A choice in one line: width/inner, kernel, stage by stage."""
    sizes = {name: width.size for name, width in space.widths.items()} | dict(choice)
    return "  ".join(f"{sizes[OUTER[s]]}/{sizes[f'{s}.first']} k{sizes[f'{s}.first.kernel_size']}" for s in WIDTHS)


def accuracy(model: ResNet, images: Images, masks: Masks) -> float:
    """The share of images whose class is found."""
    with torch.no_grad():
        return (model(images.pixels, masks).argmax(1) == images.labels).float().mean().item()


def announce(latency: LatencyLoss, alphas: Mapping[str, Tensor]) -> None:
    """Prints which alphas the term reaches, and the cost of the widest network."""
    print(check_gradient(latency(probabilities(alphas)), alphas))
    print(f"widest network   {describe(latency.network, {})}: {latency.exact({}).total.cycles:,} cycles")


def summarise(
    model: ResNet, masks_of: MasksOf, latency: LatencyLoss, alphas: Mapping[str, Tensor], images: Images
) -> None:
    """Prints the network found, its exact cost, and its accuracy after two epochs with nothing else."""
    choice = winner(latency.network, alphas)
    gates = one_hot(latency.network, choice)
    print(f"searched network {describe(latency.network, choice)}: {latency.exact(choice).total.cycles:,} cycles")
    optimiser, random = torch.optim.Adam(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for _ in range(2):
        train_weights(model, masks_of(gates), images, optimiser, random)
    found = accuracy(model, Images.generate(500, 2), masks_of(gates))
    print(f"its accuracy on unseen images, after two more epochs: {found:.1%}")


def train_weights(
    model: ResNet, masks: Masks, images: Images, optimiser: torch.optim.Optimizer, random: torch.Generator
) -> None:
    """One epoch under fixed masks."""
    for pixels, labels in images.batches(64, random):
        optimiser.zero_grad()
        F.cross_entropy(model(pixels, masks), labels).backward()
        optimiser.step()


def array_of(shape: str) -> SystolicArray:
    """An array from its rows x columns."""
    rows, cols = map(int, shape.split("x"))
    return SystolicArray(rows, cols)


def options(description: str | None) -> argparse.Namespace:
    """The options of both examples."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--lambda", dest="weight", type=float, default=1.0)
    parser.add_argument("--array", default="16x16", help="rows x columns (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", asked.array):
        parser.error(f"--array is {asked.array}; allowed: ROWSxCOLS, as 16x16")
    return asked


def main() -> None:
    asked = options(__doc__)
    torch.manual_seed(asked.seed)
    random = torch.Generator().manual_seed(asked.seed)
    train, held_out = Images.generate(asked.images, seed=1).split()

    model = ResNet()
    space = search_space(model)
    masks_of = MasksOf(space)
    latency = LatencyLoss(space, array_of(asked.array), weight=asked.weight)
    alphas = {name: nn.Parameter(torch.zeros(len(sizes))) for name, sizes in space.options.items()}
    weight_optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    alpha_optimiser = torch.optim.Adam(alphas.values(), lr=0.05)

    announce(latency, alphas)
    for epoch in range(asked.epochs):
        fixed = masks_of({name: gate.detach() for name, gate in probabilities(alphas).items()})
        train_weights(model, fixed, train, weight_optimiser, random)
        for pixels, labels in held_out.batches(64, random):
            gates = probabilities(alphas)
            loss, details = latency.penalise(F.cross_entropy(model(pixels, masks_of(gates)), labels), gates)
            alpha_optimiser.zero_grad()
            loss.backward()
            alpha_optimiser.step()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch + 1:3}: loss {details['task_loss']:.3f}, latency {details['latency']:.3f} of the widest"
            )

    summarise(model, masks_of, latency, alphas, train)


if __name__ == "__main__":
    main()
