"""What a long run has done so far, on a terminal alone: a pipe gets the results and nothing else."""

from __future__ import annotations

import sys

from hwcost.cli.shared.progress import progress_of

__all__ = ["progress_of", "tell"]


def tell(*words: object) -> None:
    """Prints a line on stderr if that is a terminal."""
    if sys.stderr.isatty():
        print(*words, file=sys.stderr)
