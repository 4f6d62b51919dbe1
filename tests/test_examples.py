"""The examples and the README's commands run as they stand."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))


def run(script: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, check=False, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(script: Path) -> None:
    assert run(script).count("\n") > 3


def test_the_priced_network_is_lenet_5() -> None:
    assert "2,822" in run(PROJECT / "examples" / "price_a_network.py")


def test_the_shape_of_an_array_is_the_best_of_all() -> None:
    from hwcost import SystolicArray, network_cost
    from price_a_network import LENET_5

    first = run(PROJECT / "examples" / "shape_of_an_array.py").splitlines()[1]
    rows, cols = (int(part) for part in first.split(":")[0].split("x"))
    cycles = int(first.split(":")[1].split()[0].replace(",", ""))
    assert network_cost(LENET_5, SystolicArray(rows, cols)).total.cycles == cycles
    others = ((r, 1024 // r) for r in range(4, 257))  # no smaller shape is faster than the widest of its height
    assert cycles == min(network_cost(LENET_5, SystolicArray(r, c)).total.cycles for r, c in others if 4 <= c <= 256)


def test_the_readme_has_commands_that_are_run_elsewhere() -> None:
    spec = importlib.util.spec_from_file_location("readme_commands", PROJECT / ".ci" / "readme_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.commands((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert "hwcost estimate --k 5 --c 6 --f 16 --s1 8 --s2 8" in found
    assert sum(command.startswith("nas-plugin search") for command in found) == 3
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)


def test_the_readme_s_commands_for_networks_run_from_the_checkout(capsys, monkeypatch, tmp_path) -> None:
    import re
    import shlex

    from hwcost.cli import main

    for library in ("torch", "scipy", "matplotlib"):
        pytest.importorskip(library)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ hwcost (.*)$", text, flags=re.MULTILINE)
    assert len(commands) >= 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
        assert "extrapolation" not in capsys.readouterr().err
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".html"}
