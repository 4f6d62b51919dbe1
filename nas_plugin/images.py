"""Images and labels, each set in one tensor."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwcost import InvalidValueError
from hwcost.pruning.idx import read_idx
from nas_plugin.errors import DataError
from nas_plugin.sources import FILES, find

__all__ = ["Dataset", "load", "split"]


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

    def take(self, index: Tensor) -> Dataset:
        """The images at the given positions."""
        return Dataset(self.images[index], self.labels[index])


def load(
    source: str | Path, *, classes: int, shape: tuple[int, int], images: int | None = None
) -> tuple[Dataset, Dataset]:
    """Training and test set of a source, normalised by mean and deviation of the training images.

    Args:
        source: :data:`CUT`, :data:`FULL`, or a folder with the four IDX files.
        classes: their number; labels run from 0.
        shape: height and width of the images.
        images: size of a fixed sample of the training images; None takes all.

    Raises:
        DataError: files that are missing or damaged, or that do not fit each other or the classes and shape.
        InvalidValueError: fewer than two images, or more than there are.
    """
    folder = find(source)
    try:
        arrays = {name: read_idx(folder / file, 3 if "images" in name else 1) for name, file in FILES.items()}
    except InvalidValueError as error:
        advice = f"a data folder holds: {', '.join(FILES.values())}"
        raise DataError(f"{error.value} cannot be read: {error.reason}; {advice}") from None
    for part in ("train", "test"):
        pictures, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        where, count = folder / FILES[f"{part}_images"], len(pictures)
        if count != len(labels) or count == 0:
            raise DataError(f"{where} holds {count} images for {len(labels)} labels; each image needs one label")
        if pictures.shape[1:] != shape:
            raise DataError(f"{where} holds images of {pictures.shape[1:]}; [input] of the arch_def gives {shape}")
        if (largest := labels.max()) >= classes:
            raise DataError(f"{folder / FILES[f'{part}_labels']} holds label {largest}; there are {classes} classes")
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
    """Seeded positions of images for the weights, and of those held out; InvalidValueError for fewer than two."""
    if count < 2:
        raise InvalidValueError("images", count, "at least 2 training images, one for the weights and one held out")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    cut = min(max(round(share * count), 1), count - 1)
    return order[:cut], order[cut:]
