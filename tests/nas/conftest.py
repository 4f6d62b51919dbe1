"""A small search space and small images that a network can learn: a search on them takes a second."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_plugin import METHODS, ArchDef
from nas_plugin.sources import FILES
from nas_plugin.space.reader import parse_arch_def


def one_hot(arch: ArchDef, choice: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """The gates that pick one choice."""
    return {name: torch.eye(len(sizes))[sizes.index(choice[name])] for name, sizes in arch.decisions.items()}


SMALL = """
schema = "nas_plugin.arch_def/1"
name = "small"
input = { channels = 1, height = 12, width = 12, classes = 3 }
array = { rows = 4, cols = 4 }
data = { source = "SOURCE" }

[[block]]
name = "conv1"
kind = "conv"
widths = [2, 3, 5, 8]
kernels = [3, 5]
padding = 0
pool = 2
reference = { width = 5, kernel = 5 }

[[block]]
name = "fc1"
kind = "linear"
widths = { first = 4, last = 16, step = 3 }
reference = { width = 13 }
"""


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_images(folder: Path, train: int = 240, test: int = 60) -> None:
    """Bars in three directions under noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        labels = random.integers(0, 3, count)
        images = random.integers(0, 120, (count, 12, 12))
        for image, label in zip(images, labels, strict=True):
            place = random.integers(2, 10)
            bars = (image[place, :], image[:, place], np.einsum("ii->i", image))
            bars[label][...] = 255
        write_idx(folder / FILES[f"{part}_images"], images)
        write_idx(folder / FILES[f"{part}_labels"], labels)


class Ended(list[tuple[int, int, str]]):
    """Collects the progress of a sweep, without lines about what is under way, which a slow machine adds."""

    def __call__(self, done: int, total: int, line: str) -> None:
        if done > len(self):
            self.append((done, total, line))


def used(**given: Any) -> dict[str, Any]:
    """The settings without those that their method would refuse."""
    method = METHODS[given["method"]]
    return {name: value for name, value in given.items() if method.reads(name, given)}


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, which takes longer than a small search; other tests look at the pictures."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b""))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="session")
def small_text(images: Path) -> str:
    return SMALL.replace("SOURCE", str(images))


@pytest.fixture(scope="session")
def small(small_text: str) -> ArchDef:
    return parse_arch_def(small_text, "small.toml")


@pytest.fixture
def small_file(small_text: str, tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(small_text)
    return path
