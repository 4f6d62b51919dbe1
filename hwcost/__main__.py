"""``python -m hwcost``, and the command ``hwcost``."""

import signal
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["guarded", "main"]


def guarded(run: Callable[[], int]) -> int:
    """What a function that imports and runs a command returns, or 130 if Ctrl-C was pressed.

    An interrupt within an import can come out as any error; it is remembered, so that none of them is taken for one.
    """
    interrupted = False

    def interrupt(*_: Any) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        code = run()
    except BaseException:
        if not interrupted:
            raise
    return 130 if interrupted else code


def _run() -> int:
    from hwcost.cli import main

    return main()


def main() -> int:
    """Runs the command line and returns its exit code."""
    return guarded(_run)


if __name__ == "__main__":
    sys.exit(main())
