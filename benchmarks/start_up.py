"""Start-up of the command line against that of the libraries it cannot do without.

    python benchmarks/start_up.py

Whole processes in turn: the command of the README, and ``python -c "import numpy, click"``. Both may cache compiled
modules, as an installed package has them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from common.side_by_side import in_turn, ratio, report

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ESTIMATE = ["estimate", "--k", "5", "--c", "6", "--f", "16", "--s1", "8", "--s2", "8"]


def process(*command: str) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    cases = {
        "estimate": process(str(Path(sys.executable).parent / "hwcost"), *ESTIMATE),
        "imports": process(sys.executable, "-c", "import numpy, click"),
    }
    seconds = in_turn(cases, options.rounds)
    figures = {"hwcost estimate / import numpy, click": ratio(seconds, "estimate", "imports")}
    goals = {"hwcost estimate / import numpy, click": ("<=", 1.45)}
    sys.exit(0 if report("start_up", {"rounds": options.rounds}, figures, goals) else 1)


if __name__ == "__main__":
    main()
