"""Random command lines and damaged files: a small part of benchmarks/fuzz.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from common.fuzzing import READERS, Tally, command_lines, damaged, run_file, run_line, twin_cycles, write_files


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)


def faults(tally):
    return [f"{line}\n{fault}" for line, fault in tally.faults]


@pytest.mark.parametrize("seed", range(4))
def test_command_lines_are_priced_right_or_refused_in_one_line(seed):
    tally, rng = Tally(), random.Random(seed)
    for line, _ in zip(command_lines(rng), range(100), strict=False):
        run_line(line, twin_cycles, tally)
    assert not faults(tally)
    assert min(tally.counts["accepted"], tally.counts["refused"]) > 10
    assert tally.counts["cycles counted by the twin"] > 10


@pytest.mark.parametrize("name", [name for name in READERS if name != "measured.csv"])
def test_damaged_files_are_read_right_or_refused_in_one_line(name):
    if name == "arch_def.toml":
        pytest.importorskip("torch")
    tally, rng = Tally(), random.Random(name)
    good = Path(name).read_bytes()
    run_file(name, good, twin_cycles, tally)
    assert tally.counts["accepted"] == 1
    for _ in range(40):
        run_file(name, damaged(rng, good), twin_cycles, tally)
    assert not faults(tally)
