"""LeNet-5 as people write it, and other files that a user may point at."""

from __future__ import annotations

import torch
from torch import nn


class LeNet(nn.Module):
    """LeNet-5 for 28 x 28 images: 416,520 MACs by hand."""

    def __init__(self, widths: tuple[int, ...] = (6, 16, 120, 84)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.features = nn.Sequential(
            nn.Conv2d(1, a, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(a, b, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(nn.Linear(25 * b, c), nn.ReLU(), nn.Linear(c, d), nn.ReLU(), nn.Linear(d, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).flatten(1))


def small() -> nn.Module:
    """A function that makes a module."""
    return LeNet((3, 8, 60, 42))


ready = LeNet()


class WithWeightsAtHand(nn.Module):
    """Its constructor looks at values, so that it cannot be made without memory."""

    def __init__(self) -> None:
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        self.drop = nn.Dropout(rates[1])
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(x))


def needs_widths(widths):
    return LeNet(widths)


def makes_a_number():
    return 3


class Raises(nn.Module):
    """Its forward fails."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), Failing())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the coffee is cold\nand the second line does not matter")


class LooksAtValues(nn.Module):
    """Its path depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if x.sum().item() > 0 else x


class Endless(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)


class Exits(nn.Module):
    """It would end the program."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise SystemExit(3)


def breaks():
    raise ValueError("no luck today")


def breaks_in_a_library():
    first, second = RuntimeError("operator lib::nms does not exist"), ImportError("no lib")
    second.__cause__ = first
    raise ImportError("no module 'Net'") from second
