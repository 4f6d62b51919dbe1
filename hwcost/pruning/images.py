"""Images of a user's own as batches: a folder with one folder a class, or a data set of PyTorch's."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from hwcost.errors import InvalidValueError, require
from hwcost.files import digest, unusable
from hwcost.units import be, plural

__all__ = ["Examples", "ImageFolder", "examples_of", "folder_digest"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
HELD_OUT = 10
MEASURED = 1000


class Examples(NamedTuple):
    """Batches to train on, and others to measure on.

    Attributes:
        data: a loader.
        held_out: batches to measure on; None leaves the choice to the work.
        notes: what else to know.
    """

    data: Iterable[Any]
    held_out: Iterable[Any] | None
    notes: tuple[str, ...] = ()


def examples_of(data: Any, batch: int, seed: int, held_out: Any = None) -> Examples:
    """A data set of PyTorch's as batches; loaders and lists of batches as they are.

    Args:
        data: a data set with a length, of pairs of an input and a target; or something to iterate over.
        batch: examples in a batch of a data set.
        seed: of the examples that are held out.
        held_out: a data set or batches to measure on; then all of ``data`` is trained on. By default a tenth of a data
            set is held out.

    Raises:
        InvalidValueError: a data set of fewer than two examples.

    >>> pairs = torch.utils.data.TensorDataset(torch.zeros(40, 3), torch.arange(40))
    >>> found = examples_of(pairs, 8, 0)
    >>> len(found.data), sum(len(labels) for _, labels in found.held_out)
    (4, 4)
    """
    if _has_places(held_out):
        held_out = list(DataLoader(held_out, batch))
    if not _has_places(data):
        return Examples(data, held_out)
    count = len(data)
    if count < 2:
        raise InvalidValueError("data", count, "at least 2 examples, one to train on and one that is held out")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    cut = max(1, count // HELD_OUT) if held_out is None else 0
    train, rest = Subset(data, order[cut:]), Subset(data, order[:cut])
    is_whole = len(train) >= batch  # then the last batch, which may have one example only, is left out
    loader = DataLoader(train, batch, shuffle=True, drop_last=is_whole)
    if held_out is not None:
        return Examples(loader, held_out)
    return Examples(loader, list(DataLoader(rest, batch)), (f"{cut} of {count} examples {be(cut)} held out",))


def _has_places(data: Any) -> bool:
    """Whether something is a data set whose examples are had by their places."""
    return isinstance(data, Dataset) and not isinstance(data, IterableDataset)


class ImageFolder(Dataset[Any]):
    """The images of a folder that has a folder of images for each class, as tensors and the number of the class.

    Images are turned upright as their EXIF data say, scaled so that they cover the shape, cropped in the middle, and
    normalised by the mean and deviation of each channel.

    Args:
        folder: with at least two folders, whose names in order are classes 0, 1, 2, ...
        shape: of one image: 1 or 3 channels, height and width.
        seed: of the 1,000 images over which mean and deviation are taken.

    Attributes:
        classes: the names of the folders.
        mean, deviation: of each channel, of values from 0 to 1.

    Raises:
        InvalidValueError: a folder that cannot be read or has no such images, another shape.
        MissingDependencyError: Pillow is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], shape: Sequence[int], seed: int) -> None:
        require("PIL", "nas", "a folder of images")
        if len(shape) != 3 or shape[0] not in {1, 3}:
            allowed = "the shape of a batch of images: N,1,H,W for grey ones, N,3,H,W for those with colours"
            raise InvalidValueError("the shape of an image", tuple(shape), allowed)
        self.shape, path, where = tuple(shape), pathlib.Path(folder), os.fspath(folder)
        try:
            folders = [each for each in sorted(path.iterdir()) if each.is_dir()]
            files = {each.name: [file for file in files_in(each) if is_image(file)] for each in folders}
        except (OSError, ValueError) as error:
            raise unusable("folder of images", path, "read", error) from None
        self.classes = [name for name, found in files.items() if found and not name.startswith(".")]
        self._files = [(each, place) for place, name in enumerate(self.classes) for each in files[name]]
        if len(self.classes) < 2:
            reason = f"it has images ({', '.join(ENDINGS)}) in {plural(len(self.classes), 'folder')}"
            allowed = "a folder with a folder of images for each of at least two classes"
            raise InvalidValueError("folder of images", where, allowed, reason=reason)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:MEASURED]
        pixels = torch.stack([self._pixels(place) for place in order.tolist()]).transpose(0, 1).flatten(1)
        self.mean, self.deviation = pixels.mean(1), pixels.std(1).clamp_min(1e-3)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        pixels = (self._pixels(place) - self.mean[:, None, None]) / self.deviation[:, None, None]
        return pixels, self._files[place][1]

    def _pixels(self, place: int) -> Tensor:
        """An image, of values from 0 to 1: shape (channels, height, width)."""
        from PIL import Image, ImageOps

        path, (channels, height, width) = self._files[place][0], self.shape
        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)  # as cameras note how they were held
                fitted = ImageOps.fit(upright.convert("L" if channels == 1 else "RGB"), (width, height))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise unusable("image", path, "read", error) from None
        values = torch.from_numpy(np.array(fitted, dtype=np.float32) / 255)
        return values.reshape(height, width, channels).permute(2, 0, 1).contiguous()

    @property
    def words(self) -> str:
        """How images are prepared."""
        mean, deviation = (", ".join(f"{each:.3f}" for each in own.tolist()) for own in (self.mean, self.deviation))
        shown = f"{plural(len(self), 'image')} of {len(self.classes)} classes"
        return f"{shown}, normalised by mean {mean} and deviation {deviation}"


def is_image(file: pathlib.Path) -> bool:
    """Whether a file is an image by its name."""
    return file.suffix.lower() in ENDINGS


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder and of those in it, sorted; a link to a folder is not followed.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(each for each in folder.rglob("*") if each.is_file())


def folder_digest(folder: str | os.PathLike[str]) -> str:
    """The SHA-256 of the names and contents of all images in the folders of a folder.

    Raises:
        InvalidValueError: a folder that cannot be read.
    """
    path, found = pathlib.Path(folder), hashlib.sha256()
    try:
        for file in filter(is_image, files_in(path)):
            with open(file, "rb") as content:
                own = hashlib.file_digest(content, "sha256").digest()
            found.update(digest(file.relative_to(path).as_posix().encode(), own))
    except OSError as error:
        raise unusable("folder of images", path, "read", error) from None
    return found.hexdigest()
