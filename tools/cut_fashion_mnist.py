"""Makes the cut of Fashion-MNIST that ships with nas_plugin: the first images of each class, in their order.

python tools/cut_fashion_mnist.py FOLDER-OF-THE-FULL-SET nas_plugin/data/fashion-mnist-cut
"""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from hwcost.pruning.idx import read_idx
from nas_plugin.sources import FILES

PER_CLASS = {"train": 400, "test": 100}


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0))


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for part, count in PER_CLASS.items():
        images = read_idx(source / FILES[f"{part}_images"], 3)
        labels = read_idx(source / FILES[f"{part}_labels"], 1)
        keep = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
        write_idx(target / FILES[f"{part}_images"], images[keep])
        write_idx(target / FILES[f"{part}_labels"], labels[keep])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
