from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwcost import InvalidValueError
from hwcost.pruning.idx import read_idx
from nas_plugin.errors import DataError
from nas_plugin.images import load, split
from nas_plugin.sources import CUT, DEBIAN_FOLDER, FILES, find

from .conftest import write_idx, write_images

SHAPE = {"classes": 3, "shape": (12, 12)}


def test_the_cut_is_balanced_and_whole() -> None:
    train, test = load(CUT, classes=10, shape=(28, 28))
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    assert train.images.shape == (4000, 1, 28, 28)
    assert train.images.dtype == torch.float32
    assert abs(float(train.images.mean())) < 1e-5
    assert abs(float(train.images.std()) - 1) < 1e-3


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_cut_is_part_of_the_full_set() -> None:
    full = read_idx(DEBIAN_FOLDER / FILES["train_images"], 3)
    cut = read_idx(find(CUT) / FILES["train_images"], 3)
    known = {image.tobytes() for image in full}
    assert all(image.tobytes() in known for image in cut)
    assert len({image.tobytes() for image in cut}) > 3_990
    assert [len(part) for part in load("fashion-mnist", classes=10, shape=(28, 28))] == [60_000, 10_000]


@given(st.integers(2, 500), st.integers(0, 2**40))
def test_split_is_disjoint_seeded_and_leaves_nothing_out(count: int, seed: int) -> None:
    weights, rest = split(count, seed)
    assert sorted([*weights.tolist(), *rest.tolist()]) == list(range(count))
    assert len(weights) == (1 if count == 2 else round(0.8 * count))  # neither part is ever empty
    again = split(count, seed)
    assert torch.equal(weights, again[0])
    assert torch.equal(rest, again[1])


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_neither_part_of_a_split_is_empty(share: float) -> None:
    assert sorted(map(len, split(40, 0, share))) == [1, 39]
    with pytest.raises(InvalidValueError, match="images is 1; allowed: at least 2"):
        split(1, 0)


def test_some_of_the_images_are_the_same_ones_each_time(images: Path) -> None:
    whole, test = load(images, **SHAPE)
    part, again = load(images, **SHAPE, images=50), load(images, **SHAPE, images=60)
    assert [len(part[0]), len(part[1])] == [50, len(test)]
    known = {image.numpy().tobytes(): int(label) for image, label in zip(whole.images, whole.labels, strict=True)}
    for image, label in zip(part[0].images, part[0].labels, strict=True):
        assert known[image.numpy().tobytes()] == label  # normalised by all training images, as they are
    assert torch.equal(again[0].images[:50], part[0].images)
    assert not torch.equal(whole.images[:50], part[0].images)


@pytest.mark.parametrize("count", [-1, 0, 1, 241, 10**9, True, 2.0, "5"])
def test_a_number_of_images_that_cannot_be(images: Path, count: object) -> None:
    with pytest.raises(
        InvalidValueError, match=r"images is .*; allowed: an integer from 2 to 240, the training images"
    ):
        load(images, **SHAPE, images=count)  # type: ignore[arg-type]


def test_split_depends_on_the_seed() -> None:
    assert not torch.equal(split(100, 0)[0], split(100, 1)[0])


def broken(folder: Path, file: str, content: bytes | None) -> None:
    path = folder / FILES[file]
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


WHOLE = gzip.compress(bytes((0, 0, 8, 1, 0, 0, 0, 2)) + bytes(2))

DAMAGE = [
    ("train_images", None, "is missing"),
    ("test_labels", None, "is missing"),
    ("train_images", b"", "is not an IDX file"),
    ("train_images", b"not gzip", "is no gzip file"),
    ("train_images", WHOLE[:-5], "is no gzip file"),
    ("train_images", gzip.compress(b"\0\0\x0d\x03" + bytes(12)), "is not an IDX file of unsigned bytes with 3 axes"),
    ("train_labels", gzip.compress(bytes((0, 0, 8, 1, 0, 0, 0, 9)) + bytes(2)), "announces 9 bytes and holds 2"),
    ("train_labels", WHOLE, "holds 240 images for 2 labels"),
    ("test_labels", gzip.compress(bytes((0, 0, 8, 1, 0, 0, 0, 60)) + bytes([7] * 60)), "holds label 7"),
]


@pytest.mark.parametrize(("file", "content", "message"), DAMAGE, ids=[f"{one[0]}-{one[2]}" for one in DAMAGE])
def test_damaged_files_are_named(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    write_images(tmp_path)
    broken(tmp_path, file, content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, **SHAPE)
    assert str(tmp_path) in str(caught.value)


def test_a_gzip_file_with_a_flipped_bit(tmp_path: Path) -> None:
    write_images(tmp_path)
    path = tmp_path / FILES["train_images"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="fetch it again"):
        load(tmp_path, **SHAPE)


def test_images_of_another_size_or_without_contrast(tmp_path: Path) -> None:
    write_images(tmp_path)
    with pytest.raises(DataError, match=r"images of \(12, 12\)"):
        load(tmp_path, classes=3, shape=(28, 28))
    write_idx(tmp_path / FILES["train_images"], np.zeros((240, 12, 12)))
    with pytest.raises(DataError, match="without any contrast"):
        load(tmp_path, **SHAPE)


def test_a_source_that_is_no_folder() -> None:
    with pytest.raises(DataError, match="no-such-place is not a folder; pass a folder with train-images"):
        load("no-such-place", classes=10, shape=(28, 28))


def test_a_file_that_unpacks_to_more_than_it_announces_is_refused_early(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes((0, 0, 8, 1)) + (10).to_bytes(4, "big") + bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(InvalidValueError, match="announces 10 bytes and holds more"):
        read_idx(path, 1)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_file_that_announces_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.gz"
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 12))
    with pytest.raises(InvalidValueError, match="are read"):
        read_idx(path, 3)
