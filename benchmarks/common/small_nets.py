"""Two small networks for images of 28 x 28, in the style of ResNet and of MobileNetV2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NETS", "MobileNet", "ResNet"]


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.norm2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        changes = stride > 1 or before != after
        pieces = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)] if changes else []
        self.short = nn.Sequential(*pieces)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.short(x))


class ResNet(nn.Module):
    """16, 32 and 64 channels, and one block a stage or more."""

    def __init__(self, blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        stages = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        more = blocks - 1
        pieces = [[_Residual(*stage), *(_Residual(stage[1], stage[1], 1) for _ in range(more))] for stage in stages]
        self.body = nn.Sequential(*(block for stage in pieces for block in stage))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of ten classes."""
        scores: Tensor = self.head(self.body(self.stem(x)).mean((2, 3)))
        return scores


class _Inverted(nn.Module):
    def __init__(self, before: int, after: int, stride: int, times: int) -> None:
        super().__init__()
        wide = times * before
        self.is_residual = stride == 1 and before == after
        self.run = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.run(x)
        return x + out if self.is_residual else out


class MobileNet(nn.Module):
    """Five inverted residuals, of which the expanded widths are depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.body = nn.Sequential(
            _Inverted(16, 16, 1, 2), _Inverted(16, 24, 2, 4), _Inverted(24, 24, 1, 4),
            _Inverted(24, 40, 2, 4), _Inverted(40, 40, 1, 4),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Conv2d(40, 96, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU6())
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of ten classes."""
        scores: Tensor = self.head(self.last(self.body(self.stem(x))).mean((2, 3)))
        return scores


NETS = {"resnet": ResNet, "mobilenet": MobileNet}
