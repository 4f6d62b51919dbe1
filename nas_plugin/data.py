"""Images and labels, each set in one tensor.

Files are in the IDX format of the MNIST family, gzip-compressed: a big-endian magic number (two zero bytes, the type
8 = unsigned byte, the number of axes), the length of each axis, then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwcost import InvalidValueError
from nas_plugin.errors import DataError

__all__ = ["CUT", "DEBIAN_FOLDER", "FULL", "Dataset", "load", "read_idx", "split"]

CUT = "fashion-mnist-cut"
"""The source that ships with the package: 4,000 training and 1,000 test images of Fashion-MNIST, classes balanced."""

FULL = "fashion-mnist"
"""The source of the full set, from a system package."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist installs the full set."""

FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


@dataclass(frozen=True)
class Dataset:
    """One labelled set of images.

    Attributes:
        images: float32, (count, 1, height, width), channels last in memory, normalised.
        labels: int64, (count,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> int:
        """A checksum over all images and labels."""
        return zlib.crc32(self.labels.numpy().tobytes(), zlib.crc32(self.images.numpy().tobytes()))

    def take(self, index: Tensor | slice) -> Dataset:
        """The images at the given positions."""
        return Dataset(self.images[index], self.labels[index])


def read_idx(path: Path, axes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Reads a gzip-compressed IDX file of unsigned bytes with the given number of axes.

    Raises:
        DataError: a missing file, damaged compression, another magic number, or another number of bytes than announced.
    """
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; a data folder holds: {', '.join(FILES.values())}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a gzip file ({error}); fetch it again") from None
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes((0, 0, 8, axes)):
        raise DataError(f"{path} is no IDX file of unsigned bytes with {axes} axes; fetch it again")
    shape = struct.unpack(f">{axes}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape))} bytes and holds {len(content) - header}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def find(source: str | Path) -> Path:
    """The folder of a named source, or the folder itself."""
    if source == CUT:
        return Path(str(resources.files("nas_plugin"))) / "data" / CUT
    folder = DEBIAN_FOLDER if source == FULL else Path(source)
    if not folder.is_dir():
        hint = "install Debian's dataset-fashion-mnist, or pass a folder" if source == FULL else "pass a folder"
        raise DataError(
            f"{folder} is no folder; {hint} with {', '.join(FILES.values())} by --data, or use the embedded {CUT!r}"
        )
    return folder


def load(
    source: str | Path, *, classes: int, shape: tuple[int, int], images: int | None = None
) -> tuple[Dataset, Dataset]:
    """Training and test set of a source, normalised by mean and deviation of the training images.

    Args:
        source: :data:`CUT`, "fashion-mnist", or a folder with the four IDX files.
        classes: how many there are; labels run from 0.
        shape: height and width of the images.
        images: size of a fixed sample of the training images; None takes all.

    Raises:
        DataError: files that are missing or damaged, or that do not fit each other or the classes and shape.
        InvalidValueError: fewer than two images, or more than there are.
    """
    folder = find(source)
    arrays = {name: read_idx(folder / file, 3 if "images" in name else 1) for name, file in FILES.items()}
    for part in ("train", "test"):
        pictures, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        where = folder / FILES[f"{part}_images"]
        if len(pictures) != len(labels) or len(pictures) == 0:
            raise DataError(
                f"{where} holds {len(pictures)} images for {len(labels)} labels; there must be one label for each image"
            )
        if pictures.shape[1:] != shape:
            raise DataError(f"{where} holds images of {pictures.shape[1:]}; [input] of the arch_def gives {shape}")
        if labels.max() >= classes:
            raise DataError(
                f"{folder / FILES[f'{part}_labels']} holds label {labels.max()}; there are {classes} classes"
            )
    pixels = arrays["train_images"].astype(np.float32)
    mean, deviation = float(pixels.mean()), float(pixels.std())
    if deviation == 0:
        raise DataError(f"{folder / FILES['train_images']} holds images without any contrast; fetch it again")

    def dataset(part: str) -> Dataset:
        images = torch.from_numpy((arrays[f"{part}_images"].astype(np.float32) - mean) / deviation).unsqueeze(1)
        labels = torch.from_numpy(arrays[f"{part}_labels"].astype(np.int64))
        return Dataset(images.contiguous(memory_format=torch.channels_last), labels)

    train = dataset("train")
    if images is not None:
        if type(images) is not int or not 2 <= images <= len(train):
            allowed = f"an integer from 2 to {len(train)}, the training images in {folder}"
            raise InvalidValueError("images", images, allowed)
        train = train.take(torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:images])
    return train, dataset("test")


def split(count: int, seed: int, share: float = 0.8) -> tuple[Tensor, Tensor]:
    """Positions of the images for the weights and for the architecture: a seeded split into two parts, neither empty.

    Raises:
        InvalidValueError: fewer than two images.

    >>> weights, architecture = split(10, seed=0)
    >>> len(weights), len(architecture), sorted([*weights.tolist(), *architecture.tolist()]) == list(range(10))
    (8, 2, True)
    """
    if count < 2:
        raise InvalidValueError("images", count, "at least 2 training images, one for the weights and one held out")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    cut = min(max(round(share * count), 1), count - 1)
    return order[:cut], order[cut:]
