"""Checks that a wheel and a source archive hold every file of the packages that git tracks.

python .ci/built_files.py dist/*.whl dist/*.tar.gz
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = ("hwcost", "nas_plugin")


def names(archive: Path) -> set[str]:
    """The files in an archive, without the folder that a source archive wraps them in."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as found:
        return {name.partition("/")[2] for name in found.getnames()}


def main(archives: list[Path]) -> int:
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for archive in archives:
        if missing := sorted(set(tracked) - names(archive)):
            print(f"{archive.name} lacks {', '.join(missing)}", file=sys.stderr)
            return 1
        print(f"{archive.name} holds all {len(tracked)} files of {' and '.join(PACKAGES)}")
    return 0 if tracked and archives else 1


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
