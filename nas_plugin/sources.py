"""Where images are: the sets by name, and folders with IDX files. It loads no torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from nas_plugin.errors import DataError

__all__ = ["CUT", "DEBIAN_FOLDER", "FILES", "FULL", "check_files", "find"]

CUT = "fashion-mnist-cut"
"""The source that ships with the package: 4,000 training and 1,000 test images of Fashion-MNIST, classes balanced."""
FULL = "fashion-mnist"
"""The source of the full set, from Debian's package dataset-fashion-mnist."""
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
"""The files of a folder."""


def find(source: str | Path) -> Path:
    """The folder of a named source, or the folder itself."""
    named = {CUT: Path(str(resources.files("nas_plugin"))) / "data" / CUT, FULL: DEBIAN_FOLDER}
    folder = named.get(str(source), Path(source))
    if not folder.is_dir():
        advice = f"pass a folder with {', '.join(FILES.values())} by --data, or use the embedded {CUT!r}"
        raise DataError(f"{folder} is not a folder; {advice}; {FULL!r} needs Debian's dataset-fashion-mnist")
    return folder


def check_files(source: str | Path) -> None:
    """Raises unless the folder of a source has all files."""
    folder = find(source)
    for name in FILES.values():
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name} cannot be read: it is missing; a data folder holds: {', '.join(FILES.values())}"
            )
