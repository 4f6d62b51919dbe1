"""PyTorch modules that several tests read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
from torch import nn

MODELS = Path(__file__).parent / "models"


class Of(nn.Module):
    """A module of one function."""

    def __init__(self, function, *inner):
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(inner)

    def forward(self, *args):
        return self.function(*args)


def lenet(widths=(6, 16, 120, 84)):
    spec = importlib.util.spec_from_file_location("lenet_model", MODELS / "lenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LeNet(widths)
