"""``python -m nas_plugin``, and the command ``nas-plugin``."""

import sys

from hwcost.__main__ import guarded

__all__ = ["main"]


def _run() -> int:
    from nas_plugin.cli import main

    return main()


def main() -> int:
    """Runs the command line and returns its exit code."""
    return guarded(_run)


if __name__ == "__main__":
    sys.exit(main())
