"""Random command lines over all commands, and damaged files of every kind that they read; faults are listed.

    python benchmarks/fuzz.py [--inputs 10000] [--files 4000]

Writes benchmarks/results/fuzz.json with counts; a fault is a traceback, an exit code that is not documented, a number
that is not finite, cycles other than those that the loop twin of the tests counts, or an input of more than 30 s.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the loop twin

from common.fuzzing import READERS, Tally, command_lines, damaged, run_file, run_line, twin_cycles, write_files
from common.side_by_side import report

GOALS = {"faults": ("<=", 0), "seconds of the slowest input": ("<=", 30), "peak memory [GB]": ("<=", 2)}


@click.command()
@click.option("--inputs", default=10_000, show_default=True)
@click.option("--files", default=4_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(inputs: int, files: int, seed: int) -> None:
    """Runs the inputs and writes the counts."""
    lines, read, rng = Tally(), Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_files(Path(folder))
        for _, line in zip(range(inputs), command_lines(rng), strict=False):
            run_line(line, twin_cycles, lines)
        good = {name: Path(name).read_bytes() for name in READERS}
        for _ in range(files):
            name = rng.choice(list(good))
            run_file(name, damaged(rng, good[name]), twin_cycles, read)
            Path(name).write_bytes(good[name])
        os.chdir("/")
    faults = [*lines.faults, *read.faults]
    for line, fault in faults:
        print(line, fault, sep="\n", file=sys.stderr)
    figures = {f"{what}: {name}": n for what, tally in (("command lines", lines), ("files", read))
               for name, n in sorted(tally.counts.items())}  # fmt: skip
    figures |= {
        "faults": len(faults),
        "seconds of the slowest input": max(lines.slowest, read.slowest),
        "peak memory [GB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    settings = {"inputs": inputs, "files": files, "seed": seed}
    sys.exit(not report("fuzz", settings, figures, GOALS))


if __name__ == "__main__":
    main()
