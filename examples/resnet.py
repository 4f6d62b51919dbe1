"""ResNet-18 as one would write it: a model file for hwcost to read.

    hwcost model examples/resnet.py:ResNet18 --input 1,3,224,224 --device tpu-v5e --plot resnet.png
    hwcost advise examples/resnet.py:ResNet18 --input 1,3,224,224 --device gemmini --budget 0.9 --apply

The architecture: He et al., "Deep residual learning for image recognition", CVPR 2016.
"""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Two 3 x 3 convolutions, to whose output the input is added."""

    def __init__(self, channels: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wide, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != wide:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map of as many channels as the block is wide."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet18(nn.Module):
    """For images of 224 x 224 pixels, 1,000 classes."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512), classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = widths[0]
        for index, wide in enumerate(widths):
            blocks += [Block(channels, wide, 1 if index == 0 else 2), Block(wide, wide, 1)]
            channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """A number for each class."""
        return self.fc(self.pool(self.blocks(self.stem(images))).flatten(1))


if __name__ == "__main__":
    from hwcost import from_torch, load_device, network_cost

    network = from_torch(ResNet18(), (1, 3, 224, 224))
    print(f"{network.macs:,} MACs in {len(network.priced)} layers")
    for device in ("tpu-v1", "tpu-v5e", "gemmini"):
        total = network_cost(network, load_device(device)).total
        print(f"{device:8} {total.cycles:>12,.0f} cycles {1e3 * total.seconds:8.3f} ms  {total.utilization:.1%}")
